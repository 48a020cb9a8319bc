"""How handlers that keep the GIL slow down the ones that do not. docs/benchmarks.md explains it.

    make bench-convoy
    CONVOY_ROUNDS=9 make bench-convoy

A fast handler is measured alone, then while two connections always ask for one that keeps the GIL for 5 ms: by
computing in Python, which lets go of it whenever the switch interval has passed and somebody waits, or in one call of
C, which does not. /stats is answered by the I/O loop, in C.
"""

import argparse
import concurrent.futures
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import bench
import machine
import processes
import report
from bench_python import program
from loads import Wrk
from servers import ROOT, Program, Server

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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAMES", help="rows, comma-separated")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("CONVOY_ROUNDS", "3")), help="default: 3")
    parser.add_argument("--seconds", type=int, default=2, help="length of each load (default: 2)")
    parser.add_argument("--json", type=Path, default=ROOT / "build/convoy.json", metavar="PATH",
                        help="default: build/convoy.json")
    args = parser.parse_args()
    args.only = bench.chosen([word for word in args.only.split(",") if word], ROWS) or list(ROWS)
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds take numbers from 1")
    return args


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


def run_rounds(names: List[str], rounds: int, seconds: int) -> List[dict]:
    samples = []
    with contextlib.ExitStack() as stack:
        servers, keys = {}, {}
        for name in names:
            servers[name] = Server(name, None, program=ROWS[name].program)
            stack.callback(servers[name].stop)
            keys[name] = two_keys(servers[name])
        every = bench.turns({hog: names for hog in HOGS}, rounds)
        for done, (number, hog, name) in enumerate(every):
            bench.show_progress(done, len(every), f"round {number + 1}  {hog} {name}")
            fast, other = ROWS[name].paths(keys[name], hog)
            sample = measure(servers[name], fast, "" if hog == "nothing" else other, seconds)
            samples.append({"load": hog, "target": name, "round": number, **sample})
        bench.show_progress(len(every), len(every), "")
    return samples


def print_tables(rows: List[dict]) -> None:
    whats = {"nothing": "the fast handler alone", "compute": f"beside one that computes {HOG_US} us in Python",
             "hold": f"beside one that keeps the GIL for {HOG_US} us in C"}
    for hog in HOGS:
        print(f"\n{hog}: {whats[hog]}")
        report.print_lines(["", "requests/s", "p50", "p95", "p99", "failed", "the other's requests/s", ""],
                           [[*report.cells(row)[:6], f"{row['others_per_second']:.0f}", ROWS[row["target"]].what]
                            for row in rows if row["load"] == hog])


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    samples = run_rounds(args.only, args.rounds, args.seconds)
    rows = report.summarize(samples, (), (*report.KEYS[:4], "others_per_second"))
    print_tables(rows)
    print(f"\n{args.rounds} rounds in {time.monotonic() - begun:.0f} s on {os.cpu_count()} CPUs "
          f"({about['machine']['cpu']}); load average {about['machine']['load_average']:.1f} at the start")
    bench.write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, "summary": rows,
                                 "samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(bench.guarded(main))
