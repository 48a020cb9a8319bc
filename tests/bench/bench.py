"""Measure the demos beside a bare epoll loop, nginx and uvicorn, in interleaved rounds. docs/benchmarks.md explains it.

    make bench
    BENCH_ROUNDS=15 make bench
    python3 tests/bench/bench.py --only c64,c-inline,nginx --rounds 3

--only takes names of loads and servers, also the part before a hyphen (ab, py); without a load all run, without a
server too.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import machine
import processes
import report
from loads import LOADS, measure
from servers import PROGRAMS, ROOT, TARGETS, Server, make_venv


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAMES", help="loads and servers, comma-separated")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")), help="default: 5")
    parser.add_argument("--seconds", type=int, default=1, help="length of each wrk load (default: 1)")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench.json", metavar="PATH",
                        help="default: build/bench.json")
    parser.add_argument("--pin", action="store_true", help="servers on one CPU, loads on another (for a quiet machine)")
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds take numbers from 1")
    args.only = [word for word in args.only.split(",") if word]
    for word in args.only:
        if not chosen([word], [*LOADS, *TARGETS, "micro"]):
            parser.error(f"--only: {word} is none of {' '.join([*LOADS, *TARGETS, 'micro'])}")
    return args


def chosen(words: List[str], names) -> List[str]:
    return [name for name in names if any(name == word or name.startswith(word + "-") for word in words)]


def plan(only: List[str]) -> Dict[str, List[str]]:
    """Which targets each load runs against. The bare loop always runs: without it a figure says little."""
    if only == ["micro"]:
        return {}
    loads = chosen(only, LOADS) or list(LOADS)
    targets = chosen(only, TARGETS) or list(TARGETS)
    return {load: [t for t in LOADS[load].targets if t in targets or t.startswith("bare")] for load in loads}


def turns(todo: Dict[str, List[str]], rounds: int) -> List[Tuple[int, str, str]]:
    """Round by round; the order of the targets is turned on each time, so that none always comes first."""
    every = []
    for number in range(rounds):
        for load, targets in todo.items():
            first = number % len(targets) if targets else 0
            every += [(number, load, target) for target in targets[first:] + targets[:first]]
    return every


def show_progress(done: int, total: int, what: str) -> None:
    """One line that is written over on a terminal, else a line every tenth of the way."""
    if sys.stdout.isatty():
        line = f"bench: {done}/{total}  {what}" if done < total else ""
        print(f"\r{line:60}\r", end="", flush=True)
    elif done == total or done * 10 // total != (done - 1) * 10 // total:
        print(f"bench: {done}/{total}  {what}".rstrip(), flush=True)


def run_rounds(todo: Dict[str, List[str]], args: argparse.Namespace, cpus: processes.Cpus) -> List[dict]:
    samples = []
    with contextlib.ExitStack() as stack:
        servers = {}
        for program in dict.fromkeys(TARGETS[t].program for targets in todo.values() for t in targets):
            servers[program] = Server(program, cpus.server)
            stack.callback(servers[program].stop)
        every = turns(todo, args.rounds)
        for done, (number, load, target) in enumerate(every):
            where = TARGETS[target]
            show_progress(done, len(every), f"round {number + 1}  {load} {target}")
            sample = measure(LOADS[load], servers[where.program], where.path, cpus, args.seconds)
            samples.append({"load": load, "target": target, "round": number, **sample})
        show_progress(len(every), len(every), "")
    return samples


def run_micro() -> List[dict]:
    done = processes.run([str(PROGRAMS / "micro")], None, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"micro: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_noise(samples: List[dict]) -> None:
    others = statistics.median(s["other_cpus"] for s in samples)
    worst = max(s["other_cpus"] for s in samples)
    print(f"\nOther programs on this machine used {others:.2f} CPUs meanwhile (median; {worst:.2f} at worst).")
    for load in dict.fromkeys(s["load"] for s in samples):
        if {"bare", "bare-again"} <= {s["target"] for s in samples if s["load"] == load and s["requests"]}:
            row = next(r for r in report.summarize(samples) if (r["load"], r["target"]) == (load, "bare-again"))
            spread = row["cpu_us_x_bare"]
            print(f"{load}: the bare loop against itself: {spread['median']:.2f} ({spread['least']:.2f}-"
                  f"{spread['most']:.2f}). Ratios that differ by less than that are the same.")


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    begun = time.monotonic()
    todo, cpus = plan(args.only), processes.choose_cpus(args.pin)
    if any("uvicorn" in targets for targets in todo.values()):
        make_venv()
    about = machine.describe()
    samples = run_rounds(todo, args, cpus) if todo else []
    rows = report.summarize(samples)
    if samples:
        report.print_tables(rows, LOADS)
        print_noise(samples)
    micro = run_micro() if not args.only or "micro" in args.only else []
    if micro:
        print("\nmicro: CPU time of an operation, median (least)")
        for one in micro:
            print(f"  {one['bench']:20} {one['ns']:9.1f} ns ({one['ns_least']:.1f})")
    where = f"servers on CPU {min(cpus.server)}, loads on {min(cpus.load)}" if cpus.server else "not pinned"
    print(f"\n{args.rounds if todo else 0} rounds in {time.monotonic() - begun:.0f} s on {os.cpu_count()} CPUs"
          f" ({about['machine']['cpu']}), {where}")
    write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, "pinned": bool(cpus.server),
                           "summary": rows, "samples": samples, "micro": micro})
    return 0


def guarded(run: Callable[[], int]) -> int:
    """The exit status of a benchmark; what it started has ended by then."""
    try:
        return run()
    except KeyboardInterrupt:
        print("\nbench: interrupted; servers ended", file=sys.stderr)
        return 130
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(guarded(main))
