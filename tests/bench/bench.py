"""Measure the demos beside a bare epoll loop, nginx and uvicorn, in interleaved rounds. docs/benchmarks.md explains it.

    make bench
    BENCH_ROUNDS=15 make bench
    python3 tests/bench/bench.py --only c64,c-inline,nginx --rounds 3

--only takes names of loads and servers, also the part before a hyphen (ab, py); without a load all run, without a
server too.
"""

import argparse
import json
import os
import statistics
import sys
import time
from typing import Dict, List

import machine
import processes
import report
import rounds
from loads import LOADS, measure
from servers import PROGRAMS, PROGRAMS_BY_NAME, TARGETS, make_venv


def arguments() -> argparse.Namespace:
    flags = rounds.parser(__doc__, "bench", 5, "loads and servers")
    flags.add_argument("--pin", action="store_true", help="servers on one CPU, loads on another (for a quiet machine)")
    return rounds.parse(flags, [*LOADS, *TARGETS, "micro"])


def plan(only: List[str]) -> Dict[str, List[str]]:
    """Which targets each load runs against. The bare loop always runs: without it a figure says little."""
    if only == ["micro"]:
        return {}
    loads = rounds.chosen(only, LOADS) or list(LOADS)
    targets = rounds.chosen(only, TARGETS) or list(TARGETS)
    return {load: [t for t in LOADS[load].targets if t in targets or t.startswith("bare")] for load in loads}


def run_rounds(todo: Dict[str, List[str]], args: argparse.Namespace, cpus: processes.Cpus) -> List[dict]:
    needed = {TARGETS[target].program for targets in todo.values() for target in targets}
    with rounds.serving({n: p for n, p in PROGRAMS_BY_NAME.items() if n in needed}, cpus.server) as servers:
        def take(load: str, target: str) -> dict:
            where = TARGETS[target]
            return measure(LOADS[load], servers[where.program], where.path, cpus, args.seconds)

        return rounds.run(todo, args.rounds, take)


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
    rounds.write_json(args.json, {**about, "rounds": args.rounds, "seconds": args.seconds, "pinned": bool(cpus.server),
                                  "summary": rows, "samples": samples, "micro": micro})
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
