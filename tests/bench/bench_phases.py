"""The goals of the work that libturbo comes from, on its own loads, nginx beside. docs/benchmarks.md explains it.

    make bench-phases
    PHASES_ROUNDS=9 make bench-phases

The loads are ab without keep-alive; when ab keeps a CPU busy it is the limit and not the server, so wrk sends the same
(a connection for each request) and with keep-alive, and CPU time of a request is shown.
"""

import argparse
import sys
import time
from typing import Dict, List, NamedTuple, Tuple

import bench
import loads
import machine
import processes
import report
import rounds
from servers import PROGRAMS_BY_NAME, Program, demo_python

SERVERS: Dict[str, Program] = {
    "single": Program(demo_python("--mode", "single", "--loop", "asyncio"), 'mode="single", 140 workers, asyncio'),
    "A": Program(demo_python("--shards", "14", "--loop", "asyncio"), "phase A: 14 shards, asyncio"),
    "B": Program(demo_python("--shards", "14", "--loop", "uvloop", "--inflight-max", "512"),
                 "phase B: 14 shards, uvloop, at most 512 in flight"),
    "C": Program(demo_python("--loop", "uvloop"), "phase C: a handler that returns bytes, uvloop, default shards"),
    "nginx": PROGRAMS_BY_NAME["nginx"],
}

LOADS: Dict[str, object] = {
    **{name: loads.LOADS[name] for name in ("ab-5000-50", "ab-10000-100", "ab-10000-200")},
    **{f"close-{c}": loads.Wrk(c, 1, f"wrk -t1 -c{c}, a connection for each request", close=True)
       for c in (50, 100, 200)},
    **{f"keep-{c}": loads.Wrk(c, 1, f"wrk -t1 -c{c}, keep-alive") for c in (50, 100, 200)},
}


class Goal(NamedTuple):
    server: str
    least: float
    what: str
    key: str = "per_second"


GOALS = (
    Goal("A", 1.77, "times mode=single", "per_second_x_single"),
    Goal("A", 5000, "requests/s (5-6 thousand)"),
    Goal("B", 7000, "requests/s (7-9 thousand)"),
    Goal("C", 10000, "requests/s (10-15 thousand)"),
)
BUSY = 0.9  # CPUs: a generator with one thread that uses so much is the limit


def run_rounds(names: List[str], args: argparse.Namespace) -> List[dict]:
    with rounds.serving(SERVERS) as servers:
        def take(load: str, name: str) -> dict:
            return loads.measure(LOADS[load], servers[name], "/async", processes.Cpus(None, None), args.seconds)

        return rounds.run({load: list(SERVERS) for load in names}, args.rounds, take)


def print_tables(rows: List[dict]) -> None:
    for load in dict.fromkeys(row["load"] for row in rows):
        print(f"\n{load}: {LOADS[load].what}")
        report.print_lines(
            ["", "requests/s", "p50", "p95", "p99", "failed", "CPU/request", "req/s x single", "CPU x single",
             "req/s x nginx", "load's CPUs"],
            [[*report.cells(row), report.ratio(row.get("per_second_x_single"), True),
              report.ratio(row.get("cpu_us_x_single")), report.ratio(row.get("per_second_x_nginx")),
              f"{row['load_cpus']:.2f}" if row["load_cpus"] else "-"] for row in rows if row["load"] == load])


def reached(rows: List[dict]) -> List[Tuple[str, bool]]:
    """Each goal on each of ab's loads."""
    out = []
    nginx = {row["load"]: row["per_second"] for row in rows if row["target"] == "nginx"}
    for row in rows:
        for goal in GOALS:
            if row["target"] == goal.server and row["load"].startswith("ab-") and row["per_second"]:
                value = row[goal.key]["median"] if goal.key != "per_second" else row[goal.key]
                text = f"{goal.server} on {row['load']}: {value:,.2f} {goal.what}, goal {goal.least:,.2f}"
                if value < goal.least and goal.key == "per_second":
                    text += f" (nginx in the same run: {nginx[row['load']] or 0:,.0f})"
                if value < goal.least and row["load_cpus"] >= BUSY:
                    text += f" (ab itself used {row['load_cpus']:.2f} CPUs)"
                out.append((text, value >= goal.least))
    return out


def main() -> int:
    args = rounds.parse(rounds.parser(__doc__, "phases", 3, "loads; ab, close, keep: all such"), LOADS)
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    samples = run_rounds(rounds.chosen(args.only, LOADS) or list(LOADS), args)
    rows = report.summarize(samples, ("single", "nginx"), (*report.KEYS, "load_cpus"))
    print_tables(rows)
    bench.print_noise(samples)
    print()
    for text, good in reached(rows):
        print(f"{'reached' if good else 'MISSED '}  {text}")
    for name, program in SERVERS.items():
        print(f"{name:7} {program.what}")
    rounds.finish(args, about, begun, goals=reached(rows), summary=rows, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
