"""How handlers that keep the GIL slow down the ones that do not. docs/benchmarks.md explains it.

    make bench-convoy
    CONVOY_ROUNDS=9 make bench-convoy

A fast handler is measured alone, then while two connections always ask for one that keeps the GIL for 5 ms: by
computing in Python, which lets go of it whenever the switch interval has passed and somebody waits, or in one call of
C, which does not. /stats is answered by the I/O loop, in C.
"""

import argparse
import concurrent.futures
import sys
import time
from typing import Dict, List, NamedTuple, Tuple

import machine
import processes
import report
import rounds
from bench_python import program
from loads import Wrk
from servers import Program, Server

HOG_US = 5000
FAST = Wrk(8, 1, "wrk -t1 -c8")
HOG = Wrk(2, 1, "wrk -t1 -c2")
HOGS = ("nothing", "compute", "hold")
KEYS = [str(i) for i in range(64)]


class Row(NamedTuple):
    """Where the fast handler runs, and where the other one."""

    program: Program
    what: str
    pool: bool = False  # the other one runs on the pool
    fast: str = "/fast/{fast}"

    def paths(self, keys: Tuple[str, str], hog: str) -> Tuple[str, str]:
        where = f"/pool/{hog}" if self.pool else f"/{hog}/{keys[1]}"
        return self.fast.format(fast=keys[0]), f"{where}/{HOG_US}"


ROWS: Dict[str, Row] = {
    "one": Row(program("shards=1"), "1 shard runs both"),
    "pool-5000": Row(program("shards=1", "switch_interval_us=0"), "1 shard, the other on its pool, Python's 5 ms", True),
    "pool-500": Row(program("shards=1", "switch_interval_us=500"), "1 shard, the other on its pool, 0.5 ms", True),
    "two-5000": Row(program("shards=2", "switch_interval_us=0"), "2 shards, Python's 5 ms"),
    "two-500": Row(program("shards=2", "switch_interval_us=500"), "2 shards, 0.5 ms"),
    "two-100": Row(program("shards=2", "switch_interval_us=100"), "2 shards, 0.1 ms"),
    "stats": Row(program("shards=1"), "/stats", fast="/stats"),
}


def two_keys(server: Server) -> Tuple[str, str]:
    """Keys that different shards own; with one shard, any."""
    homes = {server.get(f"/where/{key}"): key for key in KEYS}
    return min(homes.values()), max(homes.values())


def measure(server: Server, fast: str, hog: str, seconds: int) -> dict:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        other = threads.submit(HOG.run, server.url(hog), None, seconds) if hog else None
        result = FAST.run(server.url(fast), None, seconds)
        others = other.result() if other else None
    return {**result._asdict(), "per_second": result.requests / result.seconds,
            "others_per_second": others.requests / others.seconds if others else 0}


def run_rounds(names: List[str], args: argparse.Namespace) -> List[dict]:
    with rounds.serving({name: ROWS[name].program for name in names}) as servers:
        keys = {name: two_keys(servers[name]) for name in names}

        def take(hog: str, name: str) -> dict:
            fast, other = ROWS[name].paths(keys[name], hog)
            return measure(servers[name], fast, "" if hog == "nothing" else other, args.seconds)

        return rounds.run({hog: names for hog in HOGS}, args.rounds, take)


def print_tables(rows: List[dict]) -> None:
    whats = {"nothing": "the fast handler alone", "compute": f"beside one that computes {HOG_US} us in Python",
             "hold": f"beside one that keeps the GIL for {HOG_US} us in C"}
    for hog in HOGS:
        print(f"\n{hog}: {whats[hog]}")
        report.print_lines(["", "requests/s", "p50", "p95", "p99", "failed", "the other's requests/s", ""],
                           [[*report.cells(row)[:6], f"{row['others_per_second']:.0f}", ROWS[row["target"]].what]
                            for row in rows if row["load"] == hog])


def main() -> int:
    args = rounds.parse(rounds.parser(__doc__, "convoy", 3, "rows", seconds=2), ROWS)
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    samples = run_rounds(rounds.chosen(args.only, ROWS) or list(ROWS), args)
    rows = report.summarize(samples, (), (*report.KEYS[:4], "others_per_second"))
    print_tables(rows)
    rounds.finish(args, about, begun, summary=rows, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
