"""What a request costs without the noise of time: user instructions (callgrind) and system calls (strace).

    make bench-instructions

Each server serves the same load at two lengths; the difference divided by the difference in requests leaves out
start-up, connections and the end. load.c sends the exact numbers. docs/benchmarks.md says how to read the result.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple

import machine
import processes
from servers import PROGRAMS, ROOT, SCRATCH, TARGETS, Server

CONNECTIONS = 64
SYSCALLS_SHOWN = 4


class Load(NamedTuple):
    depth: int
    requests: int  # of the short run
    what: str


LOADS: Dict[str, Load] = {
    "c64": Load(1, 10000, "64 connections, one request each in flight"),
    "x16": Load(16, 64 * 16 * 20, "64 connections, 16 requests each pipelined"),
}
SERVERS = ("bare", "nginx", "c-inline", "c-shard", "c-io0")


def send(server: Server, load: Load, requests: int) -> None:
    path = TARGETS[server.name].path
    argv = [str(PROGRAMS / "load"), str(server.port), path, str(CONNECTIONS), str(load.depth), str(requests)]
    done = processes.run(argv, None, timeout=600)
    if done.returncode != 0 or json.loads(done.stdout) != {"requests": requests, "failed": 0}:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")


def run_under(name: str, wrapper: List[str], load: Load, requests: int) -> None:
    server = Server(name, None, wrapper)
    try:
        send(server, load, requests)
    finally:
        server.stop()


# -- counting --


def callgrind(name: str, load: Load, requests: int) -> int:
    """User instructions of all threads and processes."""
    for old in SCRATCH.glob("callgrind.out*"):
        old.unlink()
    # --fair-sched: valgrind runs one thread at a time; they shall take turns as they come, not starve each other.
    run_under(name, ["valgrind", "--tool=callgrind", "--fair-sched=yes", "--trace-children=yes", "--quiet",
                     f"--callgrind-out-file={SCRATCH}/callgrind.out.%p"], load, requests)
    totals = [re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE) for file in SCRATCH.glob("callgrind.out.*")]
    if not any(totals):
        raise RuntimeError(f"{name}: callgrind wrote no totals")
    return sum(int(total.group(1)) for total in totals if total)


def strace(name: str, load: Load, requests: int) -> Dict[str, int]:
    """System calls by name, of all threads and processes."""
    table = SCRATCH / "strace.txt"
    run_under(name, ["strace", "-f", "-c", "-qq", "-o", str(table)], load, requests)
    counts = {}
    for line in table.read_text().splitlines():
        cells = line.split()
        if len(cells) >= 5 and cells[3].isdigit() and cells[-1] != "total":
            counts[cells[-1]] = int(cells[3])
    if not counts:
        raise RuntimeError(f"{name}: strace counted nothing")
    return counts


def instructions_per_request(name: str, load: Load) -> float:
    short, long = (callgrind(name, load, load.requests * times) for times in (1, 3))
    return (long - short) / (2 * load.requests)


def syscalls_per_request(name: str, load: Load) -> Dict[str, float]:
    short, long = (strace(name, load, load.requests * times) for times in (1, 3))
    each = {call: (long[call] - short.get(call, 0)) / (2 * load.requests) for call in long}
    return {call: value for call, value in sorted(each.items(), key=lambda pair: -pair[1]) if value >= 0.001}


def measure(name: str, load: Load) -> dict:
    calls = syscalls_per_request(name, load)
    return {"instructions": instructions_per_request(name, load), "syscalls": sum(calls.values()), "by_name": calls}


# -- printing --


def print_row(name: str, row: dict, bare: dict) -> None:
    shown = ", ".join(f"{call} {value:.3f}" for call, value in list(row["by_name"].items())[:SYSCALLS_SHOWN])
    above = row["instructions"] - bare["instructions"]
    print(f"  {name:10}{row['instructions']:10,.0f}{above:+12,.0f}{row['syscalls']:11.3f}   {shown}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SERVERS), metavar="NAMES", help="servers, comma-separated")
    parser.add_argument("--json", type=Path, default=ROOT / "build/bench-instructions.json", metavar="PATH")
    args = parser.parse_args()
    args.only = args.only.split(",")
    if not set(args.only) <= set(SERVERS):
        parser.error(f"--only takes {' '.join(SERVERS)}")
    return args


def main() -> int:
    args = arguments()
    processes.unwind_on_signals()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    about, rows = machine.describe(), []
    for load_name, load in LOADS.items():
        print(f"\n{load_name}: {load.what}")
        print(f"  {'':10}{'user instr':>10}{'above bare':>12}{'syscalls':>11}   per request")
        bare = None
        for name in dict.fromkeys(["bare", *args.only]):
            row = measure(name, load)
            bare = bare or row
            print_row(name, row, bare)
            rows.append({"load": load_name, "target": name, **row})
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {args.json}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninstructions: interrupted; servers ended", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"\ninstructions: {error}", file=sys.stderr)
        sys.exit(1)
