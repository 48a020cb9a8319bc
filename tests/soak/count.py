"""make soak-python: one process of the Python demo answers very many requests; its memory must not grow.

The requests go in a hundred slices. A slice is a share of each load in LOADS, sent by tests/bench/load.c, then a moment
of the mixed load of `make soak` (streams, big answers, chunked bodies, connections that close, clients that reset).
After each slice, with nothing connected, RSS is read. What must hold:

- every answer has its status, and the server counts at least as many as the clients got;
- the median RSS of the last tenth of the slices is less than 2 MiB above that of the second tenth (the first warms up);
- descriptors and threads at the end are as many as after the first slice (which starts what is started on demand);
- standard error has the tracebacks of /fail, the lines of start and stop, and nothing else.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness import SAID, Server, wait_until  # noqa: E402
from load import Load as MixedLoad  # noqa: E402

PROGRAM = ROOT / "build/release/tests/bench/load"
SLICES = 100
MIXED_SECONDS = 0.2
MIXED_CONNECTIONS = 50
GROWTH_BYTES = 2 << 20
SECONDS_MAX = 600  # of one load of a slice: what takes longer hangs


class Load(NamedTuple):
    share: float  # of all requests
    path: str
    depth: int  # requests at once on each of 64 connections
    body: int = 0
    status: int = 200


LOADS = (
    Load(0.30, "/async", 16),
    Load(0.10, "/async", 1),
    Load(0.25, "/sync", 16),
    Load(0.05, "/sync", 1),
    Load(0.05, "/sleep?ms=1", 4),
    Load(0.10, "/echo", 4, body=1024),
    Load(0.08, "/reflect?a=b", 8),
    Load(0.0695, "/users/42", 8),
    Load(0.0005, "/fail", 1, status=500),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2_000_000, help="default: 2000000")
    parser.add_argument("--python", default=str(ROOT / "build/venv/bin/python"), help="default: build/venv's")
    args = parser.parse_args()
    if args.requests < 200_000:
        parser.error("--requests: from 200000, or a slice has no request of some load")
    return args


def send(server: Server, load: Load, count: int) -> int:
    numbers = (64, load.depth, count, load.body, load.status)
    argv = [str(PROGRAM), str(server.port), load.path, *map(str, numbers)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS_MAX)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv[2:])}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)["requests"]


def mix(server: Server, seed: int) -> int:
    load = MixedLoad(server.address, MIXED_CONNECTIONS, seed)
    load.run(MIXED_SECONDS)
    load.close()
    return load.answered


def resources(server: Server) -> Tuple[int, int]:
    """Descriptors and threads, once the connection that asked for the counts is gone, too: the same twice in a row."""
    now = (0, 0)
    while now != (now := (server.fds(), len(server.threads()))):
        time.sleep(0.2)
    return now


def verdict(rss: List[int], before: Tuple[int, int], after: Tuple[int, int]) -> List[str]:
    tenth = len(rss) // 10
    early, late = median(rss[tenth : 2 * tenth]), median(rss[-tenth:])
    print(f"RSS, median of the second tenth {early / 2**20:.2f} MiB, of the last {late / 2**20:.2f} MiB, change "
          f"{(late - early) / 2**10:+.0f} KiB; least {min(rss) / 2**20:.2f}, most {max(rss) / 2**20:.2f} MiB")
    print(f"descriptors {before[0]} before, {after[0]} after; threads {before[1]}, {after[1]}")
    problems = []
    if late - early >= GROWTH_BYTES:
        problems.append(f"memory grew by {(late - early) / 2**20:.2f} MiB")
    if after != before:
        problems.append("descriptors or threads are left")
    return problems


def check_counts(stats: dict, answered: int) -> List[str]:
    """A client that resets may have been answered, and is not in `answered`; the request for the counts is open."""
    print(f"answers that clients got {answered:,}; server: {stats['taken']:,} taken, {stats['answered']:,} answered, "
          f"{stats['dropped']:,} dropped, {stats['shed']} shed, {stats['abandoned']} abandoned")
    good = stats["taken"] == stats["answered"] + stats["dropped"] + 1 and stats["answered"] >= answered
    return [] if good else ["the counts do not fit"]


def check_errors(errors: str, failures: int) -> List[str]:
    told = errors.count("RuntimeError: this handler fails")
    known = ("Traceback (most recent call last):", "RuntimeError: this handler fails", "handler failed: GET /fail", *SAID)
    rest = [line for line in errors.splitlines() if line and line[0] != " " and not any(word in line for word in known)]
    problems = [f"standard error: {rest[:5]}"] if rest else []
    return problems + ([f"{failures} failures, {told} of them told"] if told != failures else [])


def run_slice(server: Server, requests: int, seed: int) -> int:
    answered = sum(send(server, load, round(requests * load.share / SLICES)) for load in LOADS)
    answered += mix(server, seed)
    wait_until(lambda: server.stats()["connections"] == 1, "all connections closed")
    return answered


def run(args: argparse.Namespace) -> List[str]:
    rss, answered, before = [], 0, (0, 0)
    argv = [args.python, str(ROOT / "examples/demo.py"), "--host", "127.0.0.1", "--port", "0"]
    with Server(argv) as server:
        begun = time.monotonic()
        for number in range(SLICES):
            answered += run_slice(server, args.requests, number)
            before = before if number else resources(server)
            rss.append(server.rss_bytes())
            if (number + 1) % 10 == 0:
                spent = time.monotonic() - begun
                print(f"{answered:,} answers in {spent:.0f} s, RSS {rss[-1] / 2**20:.2f} MiB", flush=True)
        problems = verdict(rss, before, resources(server))
        problems += check_counts(server.stats(), answered)
        failures = SLICES * sum(round(args.requests * load.share / SLICES) for load in LOADS if load.status == 500)
        return problems + check_errors(server.stop(), failures)


def main() -> int:
    args = arguments()
    version = subprocess.run([args.python, "-V"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    print(f"soak-python: {version}, {args.requests:,} requests", flush=True)
    problems = run(args)
    for problem in problems:
        print(f"FAILED: {problem}")
    print(f"soak-python: {version} " + ("failed" if problems else "passed"), flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
