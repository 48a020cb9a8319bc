"""Measure uvloop beside asyncio under the Python demo on a free-threaded build. docs/benchmarks.md explains it.

    make bench-loops
    LOOPS_ROUNDS=9 make bench-loops
    python3 tests/bench/bench_loops.py --python build/venv-3.13t/bin/python --only c64,free,2 --rounds 3
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple

import bench
import machine
import processes
import report
from loads import LOADS, measure
from servers import ROOT, Program, Server

NAMES = ("c64", "x16")  # of loads
PATHS = ("sync", "async", "sleep")
LOOPS = ("asyncio", "uvloop")


class Kind(NamedTuple):
    """What both loops run under."""

    gil: bool
    shards: int


# With a GIL is what importing turbo makes of a free-threaded build.
KINDS: Dict[str, Kind] = {"free-1": Kind(False, 1), "free-2": Kind(False, 2), "gil-1": Kind(True, 1)}


def program(python: Path, kind: Kind, loop: str) -> Program:
    argv = [str(python), "-X", f"gil={int(kind.gil)}", str(ROOT / "examples/demo.py"), "--port", "0", "--loop", loop,
            "--shards", str(kind.shards)]
    return Program(lambda port: argv, " ".join(argv[1:]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=ROOT / "build/venv-3.13t/bin/python",
                        help="a free-threaded build (default: that of build/venv-3.13t)")
    parser.add_argument("--only", default="", metavar="NAMES", help="of loads, kinds and paths, comma-separated")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("LOOPS_ROUNDS", "5")), help="default: 5")
    parser.add_argument("--seconds", type=int, default=1, help="length of each load (default: 1)")
    parser.add_argument("--json", type=Path, default=ROOT / "build/loops.json", metavar="PATH",
                        help="default: build/loops.json")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds take numbers from 1")
    args.only = [word for word in args.only.split(",") if word]
    for word in args.only:
        if not bench.chosen([word], [*NAMES, *KINDS, *PATHS]):
            parser.error(f"--only: {word} is none of {' '.join([*NAMES, *KINDS, *PATHS])}")
    return args


def run_rounds(args: argparse.Namespace) -> List[dict]:
    """Both loops one after the other at each point, so that what moves the machine moves both."""
    kinds, paths = bench.chosen(args.only, KINDS) or list(KINDS), bench.chosen(args.only, PATHS) or list(PATHS)
    todo = {load: [f"{kind} {path} {loop}" for kind in kinds for path in paths for loop in LOOPS]
            for load in bench.chosen(args.only, NAMES) or NAMES}
    samples = []
    with contextlib.ExitStack() as stack:
        servers = {}
        for kind in kinds:
            for loop in LOOPS:
                servers[kind, loop] = Server(f"{kind} {loop}", None, program=program(args.python, KINDS[kind], loop))
                stack.callback(servers[kind, loop].stop)
        every = bench.turns(todo, args.rounds)
        for done, (number, load, target) in enumerate(every):
            bench.show_progress(done, len(every), f"round {number + 1}  {load} {target}")
            kind, path, loop = target.split()
            sample = measure(LOADS[load], servers[kind, loop], f"/{path}", processes.Cpus(None, None), args.seconds)
            samples.append({"load": load, "target": target, "round": number, **sample})
        bench.show_progress(len(every), len(every), "")
    return samples


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
    seconds, cpu = time.monotonic() - begun, about["machine"]["cpu"]
    print(f"\n{args.rounds} rounds in {seconds:.0f} s on {os.cpu_count()} CPUs ({cpu})")
    bench.write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, "summary": rows,
                                 "samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(bench.guarded(main))
