"""Measure what features of the Python binding cost a request. docs/benchmarks.md explains it.

    make bench-python
    PYTHON_ROUNDS=9 make bench-python
    python3 tests/bench/bench_python.py --only x16,sync,async --rounds 3
"""

import argparse
import sys
import time
from typing import Dict, List, NamedTuple, Tuple

import bench
import machine
import processes
import report
import rounds
from loads import LOADS, measure
from servers import HERE, PROGRAMS_BY_NAME, PYTHON, Program

NAMES = ("c64", "x16")  # of loads
LEAST_US, LEAST_RATIO = 0.5, 0.8  # what a coroutine that awaits nothing may cost over a function, and keep of its requests/s


def program(*options: str) -> Program:
    return Program(lambda port: [str(PYTHON), str(HERE / "python_app.py"), "--port", "0", *options], " ".join(options))


SERVERS: Dict[str, Program] = {
    "bare": PROGRAMS_BY_NAME["bare"],
    "plain": program(),
    "stock": program("task=stock"),
    "asyncio": program("loop=asyncio"),
    "function": program("middleware=function"),
    "coroutine": program("middleware=coroutine"),
    "slow": program("slow_ms=100"),
    "bare-again": PROGRAMS_BY_NAME["bare-again"],
}


class Row(NamedTuple):
    server: str
    path: str
    what: str


ROWS: Dict[str, Row] = {
    "bare": Row("bare", "/async", "the bare loop"),
    "sync": Row("plain", "/sync", "def handler"),
    "async": Row("plain", "/async", "async def handler that awaits nothing"),
    "async-stock": Row("stock", "/async", 'the same, task="stock"'),
    "async-asyncio": Row("asyncio", "/async", 'the same, loop="asyncio"'),
    "sync-function": Row("function", "/sync", "def handler, a function around it that returns call_next(request)"),
    "async-function": Row("function", "/async", "the same around the async def handler"),
    "sync-coroutine": Row("coroutine", "/sync", "def handler, a coroutine function around it that awaits call_next(request)"),
    "async-coroutine": Row("coroutine", "/async", "the same around the async def handler"),
    "sync-slow": Row("slow", "/sync", "def handler, slow_ms=100"),
    "async-slow": Row("slow", "/async", "async def handler, slow_ms=100"),
    "bare-again": Row("bare-again", "/async", "a second process of the bare loop"),
}


def plan(only: List[str]) -> Dict[str, List[str]]:
    rows = rounds.chosen(only, ROWS) or list(ROWS)
    return {load: [name for name in ROWS if name in rows or name.startswith("bare")]
            for load in rounds.chosen(only, NAMES) or NAMES}


def run_rounds(todo: Dict[str, List[str]], args: argparse.Namespace) -> List[dict]:
    needed = {ROWS[row].server for rows in todo.values() for row in rows}
    with rounds.serving({name: program for name, program in SERVERS.items() if name in needed}) as servers:
        def take(load: str, row: str) -> dict:
            where = ROWS[row]
            return measure(LOADS[load], servers[where.server], where.path, processes.Cpus(None, None), args.seconds)

        return rounds.run(todo, args.rounds, take)


def print_table(rows: List[dict], load: str) -> None:
    print(f"\n{load}: {LOADS[load].what}")
    report.print_lines(
        ["", "requests/s", "p50", "p95", "p99", "failed", "CPU/request", "CPU x bare", "CPU x sync", "req/s x sync"],
        [[*report.cells(row), report.ratio(row.get("cpu_us_x_bare"), True), report.ratio(row.get("cpu_us_x_sync"), True),
          report.ratio(row.get("per_second_x_sync"), True)] for row in rows if row["load"] == load])


def goals(samples: List[dict], rows: List[dict]) -> List[Tuple[str, bool]]:
    """A coroutine that awaits nothing beside a function that does the same."""
    out = []
    for load in dict.fromkeys(s["load"] for s in samples):
        more = report.differences(samples, load, "async", "sync", "cpu_us")
        if more is not None:
            out.append((f"{load}: async - sync {more['median']:+.2f} us ({more['least']:+.2f} to {more['most']:+.2f}), "
                        f"goal at most +{LEAST_US}", more["median"] <= LEAST_US))
    for row in rows:
        if (row["load"], row["target"]) == ("x16", "async") and row.get("per_second_x_sync"):
            value = row["per_second_x_sync"]["median"]
            out.append((f"x16: async {value:.2f} of sync's requests/s, goal at least {LEAST_RATIO}", value >= LEAST_RATIO))
    return out


def main() -> int:
    args = rounds.parse(rounds.parser(__doc__, "python", 5, "loads and rows"), [*NAMES, *ROWS])
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    todo = plan(args.only)
    samples = run_rounds(todo, args)
    rows = report.summarize(samples, ("bare", "sync"))
    for load in todo:
        print_table(rows, load)
    print()
    for name, row in ROWS.items():
        print(f"  {name:16} {row.what}")
    bench.print_noise(samples)
    checked = goals(samples, rows)
    for text, good in checked:
        print(f"{'reached' if good else 'MISSED '}  {text}")
    rounds.finish(args, about, begun, summary=rows, goals=checked, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
