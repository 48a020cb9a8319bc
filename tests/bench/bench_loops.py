"""Measure uvloop beside asyncio under the Python demo on a free-threaded build. docs/benchmarks.md explains it.

    make bench-loops
    LOOPS_ROUNDS=9 make bench-loops
    python3 tests/bench/bench_loops.py --python build/venv-3.13t/bin/python --only c64,free,2 --rounds 3
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple

import bench
import machine
import processes
import report
import rounds
from loads import LOADS, measure
from servers import ROOT, Program

NAMES = ("c64", "x16")  # of loads
PATHS = ("sync", "async", "sleep")
LOOPS = ("asyncio", "uvloop")


class Kind(NamedTuple):
    """What both loops run under."""

    gil: bool
    shards: int


# With a GIL is what other extension modules may make of a free-threaded build.
KINDS: Dict[str, Kind] = {"free-1": Kind(False, 1), "free-2": Kind(False, 2), "gil-1": Kind(True, 1)}


def program(python: Path, kind: Kind, loop: str) -> Program:
    argv = [str(python), "-X", f"gil={int(kind.gil)}", str(ROOT / "examples/demo.py"), "--port", "0", "--loop", loop,
            "--shards", str(kind.shards)]
    return Program(lambda port: argv, " ".join(argv[1:]))


def arguments() -> argparse.Namespace:
    flags = rounds.parser(__doc__, "loops", 5, "of loads, kinds and paths")
    flags.add_argument("--python", type=Path, default=ROOT / "build/venv-3.13t/bin/python",
                       help="a free-threaded build (default: that of build/venv-3.13t)")
    return rounds.parse(flags, [*NAMES, *KINDS, *PATHS])


def run_rounds(args: argparse.Namespace) -> List[dict]:
    """Both loops one after the other at each point, so that what moves the machine moves both."""
    kinds, paths = rounds.chosen(args.only, KINDS) or list(KINDS), rounds.chosen(args.only, PATHS) or list(PATHS)
    todo = {load: [f"{kind} {path} {loop}" for kind in kinds for path in paths for loop in LOOPS]
            for load in rounds.chosen(args.only, NAMES) or NAMES}
    programs = {f"{kind} {loop}": program(args.python, KINDS[kind], loop) for kind in kinds for loop in LOOPS}
    with rounds.serving(programs) as servers:
        def take(load: str, target: str) -> dict:
            kind, path, loop = target.split()
            return measure(LOADS[load], servers[f"{kind} {loop}"], f"/{path}", processes.Cpus(None, None), args.seconds)

        return rounds.run(todo, args.rounds, take)


def print_table(rows: List[dict], load: str) -> None:
    print(f"\n{load}: {LOADS[load].what}")
    lines = []
    for row in (row for row in rows if row["load"] == load):
        other = row["target"].replace("uvloop", "asyncio")
        lines.append([*report.cells(row), report.ratio(row.get(f"cpu_us_x_{other}"), True),
                      report.ratio(row.get(f"per_second_x_{other}"), True)])
    heads = ["", "requests/s", "p50", "p95", "p99", "failed", "CPU/request", "CPU x asyncio", "req/s x asyncio"]
    report.print_lines(heads, lines)


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    samples = run_rounds(args)
    yardsticks = [target for target in dict.fromkeys(s["target"] for s in samples) if target.endswith(" asyncio")]
    rows = report.summarize(samples, yardsticks)
    for load in dict.fromkeys(row["load"] for row in rows):
        print_table(rows, load)
    bench.print_noise(samples)
    rounds.finish(args, about, begun, summary=rows, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
