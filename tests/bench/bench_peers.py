"""Measure Python servers side by side: turbo, uvicorn, and others from PyPI. docs/benchmarks.md explains it.

    make bench-peers
    PEERS_ROUNDS=9 make bench-peers
    python3 tests/bench/bench_peers.py --only async,py,granian-rsgi --rounds 3

--only takes names of loads and servers, also the part before a hyphen (granian). The bare loop always runs.
"""

import argparse
import contextlib
import json
import sys
import time
from typing import Callable, Dict, List, NamedTuple, Optional

import bench
import machine
import processes
import report
import rounds
from loads import Wrk, measure
from servers import BODY, HERE, PROGRAMS_BY_NAME, ROOT, Program, Server, demo_python, install, make_venv

VENV = ROOT / "build/venv-peers"
APPS = HERE / "peers"
SECONDS_TO_STOP = 2  # robyn never ends by SIGTERM
PACKAGES = ("granian", "fastpysgi", "socketify", "robyn", "django-bolt")

LOADS: Dict[str, Wrk] = {
    "sync": Wrk(64, 1, "wrk -t1 -c64, a def handler"),
    "async": Wrk(64, 1, "wrk -t1 -c64, an async def handler that awaits nothing"),
    "sleep": Wrk(64, 1, "wrk -t1 -c64, an async def handler that sleeps 1 ms (bare and nginx answer at once)"),
    "echo": Wrk(64, 1, "wrk -t1 -c64, POST of 1 KiB, the body comes back (bare, nginx: 11 bytes)", bodies=(b"x" * 1024,)),
}


def script(*argv: str) -> Callable[[int], List[str]]:
    """A program of the environment; PORT stands for the port."""
    return lambda port: [word.replace("{port}", str(port)) for word in argv]


def granian(interface: str, app: str, *flags: str) -> Callable[[int], List[str]]:
    return script(str(VENV / "bin/python"), "-m", "granian", "--interface", interface, "--http", "1", "--no-ws",
                  "--workers", "1", "--loop", "uvloop", "--log-level", "error", "--working-dir", str(APPS),
                  "--host", "127.0.0.1", "--port", "{port}", *flags, f"{app}:app")


def own(name: str, *argv: str) -> Callable[[int], List[str]]:
    return script(str(VENV / "bin/python"), str(APPS / name), *argv)


class Peer(NamedTuple):
    program: Program
    package: str = ""  # of PACKAGES
    loads: tuple = tuple(LOADS)


PEERS: Dict[str, Peer] = {
    **{name: Peer(PROGRAMS_BY_NAME[name]) for name in ("bare", "nginx", "py")},
    "py-single": Peer(Program(demo_python("--mode", "single"), 'Python demo, mode="single"')),
    "uvicorn": Peer(PROGRAMS_BY_NAME["uvicorn"], "", ("async", "sleep", "echo")),
    "granian-asgi": Peer(Program(granian("asginl", "asgi"), "granian, ASGI, uvloop", False),
                         "granian", ("async", "sleep", "echo")),
    "granian-rsgi": Peer(Program(granian("rsgi", "rsgi"), "granian, RSGI, uvloop", False),
                         "granian", ("async", "sleep", "echo")),
    "granian-wsgi": Peer(Program(granian("wsgi", "wsgi", "--blocking-threads", "1"), "granian, WSGI", False),
                         "granian", ("sync", "echo")),
    "fastpysgi-asgi": Peer(Program(own("fastpysgi_app.py", "asgi", "{port}"), "fastpysgi, ASGI", False),
                           "fastpysgi", ("async", "sleep", "echo")),
    "fastpysgi-wsgi": Peer(Program(own("fastpysgi_app.py", "wsgi", "{port}"), "fastpysgi, WSGI", False),
                           "fastpysgi", ("sync", "echo")),
    "socketify": Peer(Program(own("socketify_app.py", "{port}"), "socketify, its own interface", False), "socketify"),
    "robyn": Peer(Program(script("env", "ROBYN_PORT={port}", str(VENV / "bin/python"), str(APPS / "robyn_app.py"),
                                 "--disable-openapi", "--log-level", "ERROR"), "robyn", False), "robyn"),
    "django-bolt": Peer(Program(own("bolt_app.py", "{port}"), "django-bolt", False), "django-bolt"),
    "bare-again": Peer(PROGRAMS_BY_NAME["bare-again"]),
}


def arguments() -> argparse.Namespace:
    flags = rounds.parser(__doc__, "peers", 3, "loads and servers")
    flags.add_argument("--markdown", action="store_true", help="only print the table of the JSON file")
    return rounds.parse(flags, [*LOADS, *PEERS])


def plan(only: List[str]) -> Dict[str, List[str]]:
    peers = rounds.chosen(only, PEERS) or list(PEERS)
    return {load: [name for name in PEERS if load in PEERS[name].loads and (name in peers or name.startswith("bare"))]
            for load in rounds.chosen(only, LOADS) or LOADS}


class Bench:
    """The servers, frozen but for the one that is measured. A load that a server fails is left out, with the reason."""

    def __init__(self, todo: Dict[str, List[str]]) -> None:
        self.todo = todo
        self.stack = contextlib.ExitStack()
        self.servers: Dict[str, Server] = {}
        self.reasons: Dict[str, str] = {}

    def start(self) -> None:
        missing = {package: why for package in PACKAGES if (why := self._install(package))}
        for name in dict.fromkeys(name for names in self.todo.values() for name in names):
            if PEERS[name].package in missing:
                self.reasons[name] = missing[PEERS[name].package]
            else:
                self._start_one(name)

    def _start_one(self, name: str) -> None:
        try:
            server = Server(name, None, program=PEERS[name].program)
        except RuntimeError as error:
            self.reasons[name] = _brief(error)
            return
        self.stack.callback(server.stop, SECONDS_TO_STOP if PEERS[name].package else 20)
        self.servers[name] = server
        processes.freeze(processes.tree(server.pid))

    def _install(self, package: str) -> str:
        needed = any(PEERS[name].package == package for names in self.todo.values() for name in names)
        more = ("uvloop",) if package == "granian" else ()
        return install(VENV, package, *more) if needed else ""

    def measure(self, load: str, name: str, seconds: int) -> Optional[dict]:
        server = self.servers.get(name)
        if server is None or f"{name}, {load}" in self.reasons:
            return None
        pids = processes.tree(server.pid)
        processes.wake(pids)
        try:
            expect = LOADS[load].bodies[0] if LOADS[load].bodies and PEERS[name].program.echoes else BODY
            sample = measure(LOADS[load], server, f"/{load}", processes.Cpus(None, None), seconds, expect)
            if server.process.poll() is not None:
                raise RuntimeError(f"crashes: ends with {server.process.returncode}")
        except (RuntimeError, OSError) as error:
            self.reasons[f"{name}, {load}"] = _brief(error)
            del self.servers[name]
            processes.kill_left(pids)
            self._start_one(name)
            return None
        processes.freeze(pids)
        return sample

    def run(self, count: int, seconds: int) -> List[dict]:
        with self.stack:
            self.start()
            return rounds.run(self.todo, count, lambda load, name: self.measure(load, name, seconds))


def _brief(error: Exception) -> str:
    """The last line says it, be it ours or a traceback's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else type(error).__name__


def print_markdown(rows: List[dict]) -> None:
    """A row for each server, a column for each load: CPU time of a request (x bare); requests/s, p95."""
    by_name = {(row["target"], row["load"]): row for row in rows}
    print("| | " + " | ".join(LOADS) + " |\n|---|" + "---|" * len(LOADS))
    for name in PEERS:
        row = (by_name.get((name, load)) for load in LOADS)
        print(f"| {name} | " + " | ".join(_cell(one) if one else "-" for one in row) + " |")


def _cell(row: dict) -> str:
    _, per_second, _, p95, _, failed, cpu = report.cells(row)
    ratio = report.ratio(row.get("cpu_us_x_bare"))
    return f"{cpu} ({ratio}), {per_second}/s, {p95}" + (f", {failed} failed" if row["failed"] else "")


def main() -> int:
    args = arguments()
    if args.markdown:
        print_markdown(json.loads(args.json.read_text())["summary"])
        return 0
    processes.unwind_on_signals()
    begun = time.monotonic()
    todo = plan(args.only)
    if any("uvicorn" in names for names in todo.values()):
        make_venv()
    about = machine.describe()
    about["versions"]["peers"] = {}
    peers = Bench(todo)
    samples = peers.run(args.rounds, args.seconds)
    for package in PACKAGES:
        about["versions"]["peers"].update(machine.packages(str(VENV / "bin/python"), package))
    rows = report.summarize(samples)
    report.print_tables(rows, LOADS)
    bench.print_noise(samples)
    for name, why in peers.reasons.items():
        print(f"left out: {name}: {why}")
    print("\n" + ", ".join(f"{name} {version}" for name, version in about["versions"]["peers"].items()))
    rounds.finish(args, about, begun, left_out=peers.reasons, summary=rows, samples=samples)
    return 0


if __name__ == "__main__":
    sys.exit(rounds.guarded(main))
