"""Measure what a second shard brings to handlers that use the CPU. docs/benchmarks.md explains it.

    make bench-parallel
    make bench-parallel DOCS=1        # the table goes to docs/benchmarks.md too
    python3 tests/bench/bench_parallel.py --mode "stock=build/venv/bin/python" --mode "asyncio=build/venv/bin/python -- loop=asyncio"

A mode is NAME=INTERPRETER [its options] [-- arguments of parallel_app.py behind the number of shards].
"""

import argparse
import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import bench
import machine
import processes
import report
from loads import Wrk, measure
from servers import HERE, ROOT, Program, Server

PAGE = ROOT / "docs/benchmarks.md"
MARK, END = "<!-- parallel: figures -->\n", "<!-- parallel: end -->"
SHARDS = (1, 2)
CONNECTIONS = 16
LOADS = {
    "one route": Wrk(CONNECTIONS, 1, f"wrk -t1 -c{CONNECTIONS} on one hot route"),
    "16 routes": Wrk(CONNECTIONS, 1, f"wrk -t1 -c{CONNECTIONS} on sixteen routes in turn", routes=16),
}
FREE = ROOT / "build/venv-3.13t/bin/python"


class Mode(NamedTuple):
    """How shards run."""

    name: str
    interpreter: Sequence[str]
    arguments: Sequence[str]  # of the app, behind the shards


def parse(text: str) -> Mode:
    name, mark, rest = text.partition("=")
    words = shlex.split(rest)
    if not (name and mark and words):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=INTERPRETER [OPTIONS] [-- ARGUMENTS]")
    at = words.index("--") if "--" in words else len(words)
    return Mode(name, words[:at], words[at + 1:])


def defaults() -> List[Mode]:
    return [Mode("stock, one GIL", [str(ROOT / "build/venv/bin/python")], []), Mode("free-threaded", [str(FREE)], [])]


def program(mode: Mode, shards: int) -> Program:
    argv = [*mode.interpreter, str(HERE / "parallel_app.py"), str(shards), *mode.arguments]
    return Program(lambda port: argv, " ".join(argv))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", action="append", type=parse, metavar="NAME=INTERPRETER ...", help="may be repeated")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("PARALLEL_ROUNDS", "5")), help="default: 5")
    parser.add_argument("--seconds", type=int, default=3, help="length of each load (default: 3)")
    parser.add_argument("--docs", action="store_true", default=os.environ.get("DOCS") == "1", help="write docs/, too")
    parser.add_argument("--json", type=Path, default=ROOT / "build/parallel.json", metavar="PATH",
                        help="default: build/parallel.json")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds take numbers from 1")
    args.mode = args.mode or defaults()
    if len({mode.name for mode in args.mode}) < len(args.mode):
        parser.error("--mode: two have the same name")
    return args


def run_rounds(args: argparse.Namespace) -> List[dict]:
    """One and two shards of a mode follow each other in each round, so that what moves the machine moves both."""
    modes = {mode.name: mode for mode in args.mode}
    todo = {load: [f"{name}/{shards}" for name in modes for shards in SHARDS] for load in LOADS}
    samples = []
    with contextlib.ExitStack() as stack:
        servers: Dict[str, Server] = {}
        for name, mode in modes.items():
            for shards in SHARDS:
                target = f"{name}/{shards}"
                servers[target] = Server(target, None, program=program(mode, shards))
                stack.callback(servers[target].stop)
        every = bench.turns(todo, args.rounds)
        for done, (number, load, target) in enumerate(every):
            bench.show_progress(done, len(every), f"round {number + 1}  {load} {target}")
            sample = measure(LOADS[load], servers[target], "/cpu/0", processes.Cpus(None, None), args.seconds)
            samples.append({"load": load, "target": target, "round": number, **sample})
        bench.show_progress(len(every), len(every), "")
    return samples


HEADS = ["", "shards", "requests/s", "x 1 shard", "p50", "p99", "failed", "CPU/request", "CPUs of the server", "of the load"]


def lines_of(rows: List[dict], load: str) -> List[List[str]]:
    lines = []
    for row in (row for row in rows if row["load"] == load):
        name, shards = row["target"].rsplit("/", 1)
        _, rate, p50, _, p99, failed, cpu = report.cells(row)
        lines.append([name, shards, rate, report.ratio(row.get(f"per_second_x_{name}/1"), True), p50, p99, failed, cpu,
                      f"{row['server_cpus']:.2f}", f"{row['load_cpus']:.2f}"])
    return lines


def markdown(rows: List[dict], about: str) -> str:
    parts = [about + "\n"]
    for load in LOADS:
        parts.append(f"\n{LOADS[load].what}:\n\n")
        table = [["mode", *HEADS[1:]], ["---"] * len(HEADS), *lines_of(rows, load)]
        parts += ["| " + " | ".join(line) + " |\n" for line in table]
    return "".join(parts)


def write_docs(text: str) -> None:
    before, mark, rest = PAGE.read_text().partition(MARK)
    if not mark:
        raise RuntimeError(f"{PAGE} has no mark {MARK.strip()}")
    PAGE.write_text(before + MARK + text + END + rest.partition(END)[2])
    print(f"written: {PAGE}")


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    samples = run_rounds(args)
    keys = (*report.KEYS, "server_cpus", "load_cpus", "other_cpus")
    rows = report.summarize(samples, [f"{mode.name}/1" for mode in args.mode], keys)
    for load in LOADS:
        print(f"\n{load}: {LOADS[load].what}")
        report.print_lines(HEADS, lines_of(rows, load))
    bench.print_noise(samples)
    what = f"{args.rounds} rounds of {args.seconds} s on {os.cpu_count()} CPUs ({about['machine']['cpu']})"
    print(f"\n{what}, in {time.monotonic() - begun:.0f} s")
    bench.write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, "summary": rows,
                                 "modes": {mode.name: [*mode.interpreter, "--", *mode.arguments] for mode in args.mode},
                                 "samples": samples})
    if args.docs:
        write_docs(markdown(rows, f"Medians of {what}; the range of a ratio is that of the rounds."))
    return 0


if __name__ == "__main__":
    sys.exit(bench.guarded(main))
