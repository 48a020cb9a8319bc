"""Measure what a second shard brings to handlers that use the CPU. docs/benchmarks.md explains it.

    make bench-parallel
    make bench-parallel DOCS=1        # the table goes to docs/benchmarks.md too
    python3 tests/bench/bench_parallel.py --mode "stock=build/venv/bin/python" --mode "asyncio=build/venv/bin/python -- loop=asyncio"

A mode is NAME=INTERPRETER [its options] [-- arguments of parallel_app.py behind the number of shards].
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from typing import List, NamedTuple, Sequence

import bench
import machine
import processes
import report
import rounds
from loads import Wrk, measure
from servers import HERE, ROOT, SCRATCH, Program

PAGE = ROOT / "docs/benchmarks.md"
SHARDS = (1, 2)
CONNECTIONS = 16
LOADS = {
    "one route": Wrk(CONNECTIONS, 1, f"wrk -t1 -c{CONNECTIONS} on one hot route"),
    "16 routes": Wrk(CONNECTIONS, 1, f"wrk -t1 -c{CONNECTIONS} on sixteen routes in turn", routes=16),
}
# Environments below build/.
STOCK, NEWER, FREE, FREE_NEWER = "venv", "venv-3.13", "venv-3.13t", "venv-3.14t"


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
    """Each way, as far as there is a Python for it."""
    modes = []
    for way, venv in (("gil", STOCK), ("processes", STOCK), ("interpreters", NEWER), ("free-threaded", FREE),
                      ("free-threaded", FREE_NEWER)):
        python = ROOT / "build" / venv / "bin/python"
        name = venv.replace("venv", way, 1)
        if python.exists():
            modes.append(Mode(name, [str(python)], [f"parallel={way}"]))
        else:
            print(f"left out: {name}, as there is no {python}")
    return modes


def program(mode: Mode, shards: int) -> Program:
    argv = [*mode.interpreter, str(HERE / "parallel_app.py"), str(shards), *mode.arguments]
    return Program(lambda port: argv, " ".join(argv))


def arguments() -> argparse.Namespace:
    flags = rounds.parser(__doc__, "parallel", 9, "ways", seconds=1)
    flags.add_argument("--mode", action="append", type=parse, metavar="NAME=INTERPRETER ...", help="may be repeated")
    flags.add_argument("--docs", action="store_true", default=os.environ.get("DOCS") == "1", help="write docs/, too")
    modes = flags.parse_args().mode or defaults()
    args = rounds.parse(flags, [mode.name for mode in modes])
    args.mode = [mode for mode in modes if not args.only or mode.name in rounds.chosen(args.only, [mode.name])]
    if len({mode.name for mode in args.mode}) < len(args.mode):
        flags.error("--mode: two have the same name")
    return args


def use_bytecode(modes: Sequence[Mode]) -> None:
    """Have the servers load the app as from their second start on: without a GIL, constants of a module that was compiled as it
    was imported have reference counts, which threads pass to and fro; those of one that came from a .pyc have none."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(SCRATCH / "pycache")
    for mode in modes:
        subprocess.run([*mode.interpreter, "-c", "import parallel_app"], check=True, cwd=HERE)


def run_rounds(args: argparse.Namespace) -> List[dict]:
    """One and two shards of a mode follow each other in each round, so that what moves the machine moves both."""
    programs = {f"{mode.name}/{shards}": program(mode, shards) for mode in args.mode for shards in SHARDS}
    with rounds.serving(programs) as servers:

        def take(load: str, target: str) -> dict:
            return measure(LOADS[load], servers[target], "/cpu/0", processes.Cpus(None, None), args.seconds)

        return rounds.run({load: list(programs) for load in LOADS}, args.rounds, take)


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
    PAGE.write_text(report.fill(PAGE.read_text(), "parallel: figures", text))
    print(f"written: {PAGE}")


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    begun = time.monotonic()
    about = machine.describe()
    use_bytecode(args.mode)
    samples = run_rounds(args)
    keys = (*report.KEYS, "server_cpus", "load_cpus", "other_cpus")
    rows = report.summarize(samples, [f"{mode.name}/1" for mode in args.mode], keys)
    for load in LOADS:
        print(f"\n{load}: {LOADS[load].what}")
        report.print_lines(HEADS, lines_of(rows, load))
    bench.print_noise(samples)
    rounds.finish(args, about, begun, summary=rows, samples=samples,
                  modes={mode.name: [*mode.interpreter, "--", *mode.arguments] for mode in args.mode})
    if args.docs:
        what = f"{args.rounds} rounds of {args.seconds} s on {os.cpu_count()} CPUs ({about['machine']['cpu']})"
        write_docs(markdown(rows, f"Medians of {what}; the range of a ratio is that of the rounds."))
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
