"""make chaos-processes: parallel="processes" while workers are replaced, told to end, and killed, under load.

Events come at random: SIGHUP to the supervisor, SIGTERM or SIGKILL to a worker; max_requests replaces workers all the time.
The judge is the client: a request may fail only on a connection to a worker that was killed. Connections that no worker has
accepted survive. At the end all workers serve, no process and no descriptor is left over, nothing
was abandoned, and the supervisor's exit code says whether workers had been killed.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import harness  # noqa: E402
from harness import LOST, Server, wait_until  # noqa: E402

ANSWER_SECONDS = 30  # a request may wait until a worker has come back
DRAIN_IDLE_MS = 5000  # longer than any client is silent, also on a machine that is very busy
DIED = re.compile(r"worker \d+ \(pid \d+\) has (died|ended): SIGKILL$", re.M)
NOT_STARTED = re.compile(r"could not start(, worker \d+ \(pid \d+\) stays)?: (SIGKILL|SIGTERM|exit code 0)$")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="servers, one after the other [%(default)s]")
    parser.add_argument("--events", type=int, default=50, help="of each [%(default)s]")
    parser.add_argument("--seconds", type=float, default=20, help="that they are spread over [%(default)s]")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--max-requests", type=int, default=400, help="and up to as many more [%(default)s]")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Tally:
    """What all clients of a run have seen."""

    def __init__(self) -> None:
        self.right = 0
        self.connections = 0
        self.pids: Dict[int, int] = {}  # answers by process
        self.killed: Dict[int, float] = {}  # when, by process
        self.lost_with_it: List[str] = []  # in flight on a worker that was killed
        self.failures: List[str] = []

    def was_killed(self, pid: Optional[int], since: float) -> bool:
        """Whether the worker of a connection was killed; while that is not known, whether any was since it was made."""
        return pid in self.killed if pid is not None else any(at >= since for at in self.killed.values())


class Client:
    """One connection at a time, kept for as long as the server keeps it."""

    def __init__(self, address: Tuple[str, int], number: int, seed: int, tally: Tally) -> None:
        self.address = address
        self.number = number
        self.chance = random.Random(seed * 1000 + number)
        self.tally = tally
        self.count = 0
        self.reader: Optional[asyncio.StreamReader] = None
        self.writer: Optional[asyncio.StreamWriter] = None
        self.pid: Optional[int] = None  # of the worker at the other end, once it has answered
        self.sent_at = 0.0

    def make(self) -> Tuple[str, bytes, int]:
        """Id, bytes, checksum of the body."""
        self.count += 1
        name = f"{self.number}-{self.count}"
        kind = self.chance.choices(("now", "wait", "sum"), (60, 20, 20))[0]
        if kind == "sum":
            body = self.chance.randbytes(self.chance.choice((1, 1000, 50000)))
            head = f"POST /sum/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
            return name, head.encode() + body, zlib.adler32(body)
        query = f"?ms={self.chance.choice((1, 10, 100))}" if kind == "wait" else ""
        return name, f"GET /{kind}/{name}{query} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), zlib.adler32(b"")

    async def ask(self) -> None:
        name, wire, total = self.make()
        self.sent_at = time.monotonic()
        if self.reader is not None and self.reader.at_eof() and self.tally.was_killed(self.pid, 0):
            self.close()  # seen before it was used again
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(*self.address)
            self.tally.connections += 1
        assert self.reader is not None
        self.writer.write(wire)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise ValueError(f"{name}: {head!r}")
        answer = json.loads(await self.reader.readexactly(int(length[1])))
        if (answer["id"], answer["sum"]) != (name, total) or self.pid not in (None, answer["pid"]):
            raise ValueError(f"{name} of {self.pid}: {answer}")
        self.pid = answer["pid"]
        self.tally.right += 1
        self.tally.pids[answer["pid"]] = self.tally.pids.get(answer["pid"], 0) + 1
        if b"\r\nConnection: close\r\n" in head or self.chance.random() < 0.05:
            self.close()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = self.pid = None

    async def run(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            try:
                await asyncio.wait_for(self.ask(), ANSWER_SECONDS)
            except (OSError, EOFError, ValueError, KeyError, asyncio.TimeoutError) as error:
                died = isinstance(error, (OSError, EOFError)) and self.tally.was_killed(self.pid, self.sent_at)
                text = f"client {self.number}, worker {self.pid}: {error!r}"
                (self.tally.lost_with_it if died else self.tally.failures).append(text)
                self.close()
            await asyncio.sleep(self.chance.random() * 0.02)
        self.close()


class Run:
    """One server from its start to its end."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        self.args = args
        self.seed = seed
        self.chance = random.Random(seed)
        self.tally = Tally()
        self.events: Dict[str, int] = {"SIGHUP": 0, "SIGTERM": 0, "SIGKILL": 0}
        self.problems: List[str] = []
        flags = {"shards": args.workers, "max-requests": args.max_requests, "max-requests-jitter": args.max_requests,
                 "drain-idle-ms": DRAIN_IDLE_MS, "port": 0, "parallel": "processes"}
        argv = [harness.PYTHON, "-m", "turbo", "processes_app:app"]
        argv += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        self.server = Server(argv, env={"PYTHONPATH": str(Path(__file__).parent)})

    def judge(self, right: bool, text: str) -> None:
        print(f"  {text}" if right else f"  {text}  <-- FAILED", flush=True)
        if not right:
            self.problems.append(text)

    def workers(self) -> List[int]:
        pid = self.server.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def event(self) -> None:
        kind = self.chance.choices(("SIGHUP", "SIGTERM", "SIGKILL"), (40, 20, 40))[0]
        workers = self.workers()
        if len(workers) < 2:  # the others wait for their back-off
            kind = "SIGHUP"
        pid = self.server.pid if kind == "SIGHUP" else self.chance.choice(workers)
        self.events[kind] += 1
        if kind == "SIGKILL":
            self.tally.killed[pid] = float("inf")  # from before it dies on
        try:
            os.kill(pid, getattr(signal, kind))
        except ProcessLookupError:
            pass  # ended meanwhile, and reaped
        if kind == "SIGKILL":
            self.tally.killed[pid] = time.monotonic()

    async def disturb(self, ended: asyncio.Event) -> None:
        for _ in range(self.args.events):
            await asyncio.sleep(self.chance.uniform(0, 2 * self.args.seconds / self.args.events))
            self.event()
        await asyncio.sleep(1)
        ended.set()

    async def load(self) -> None:
        ended = asyncio.Event()
        clients = [Client(self.server.address, i, self.seed, self.tally) for i in range(self.args.clients)]
        await asyncio.gather(self.disturb(ended), *(client.run(ended) for client in clients))

    def settle(self, descriptors: int) -> None:
        """All workers are there again, and none that is leaving."""
        count = self.args.workers
        wait_until(lambda: len(self.workers()) == count and self.server.fds() == descriptors, "as at the start")
        self.judge(True, f"{count} workers and {descriptors} descriptors of the supervisor, as at the start")

    def run(self) -> List[str]:
        try:
            descriptors = self.server.fds()
            asyncio.run(self.load())
            self.settle(descriptors)
            self.server.signal(signal.SIGTERM)
            code = self.server.wait()
            errors = self.server.stop(code)
        except BaseException:
            self.server.kill()
            raise
        self.report(errors, code)
        return self.problems

    def report(self, errors: str, code: int) -> None:
        tally = self.tally
        events = ", ".join(f"{count} {kind}" for kind, count in self.events.items())
        print(f"seed {self.seed}: {events}; {len(tally.pids)} workers answered on {tally.connections} connections")
        self.judge(not tally.failures and tally.right > 0,
                   f"{tally.right} right answers, {len(tally.failures)} failures, {len(tally.lost_with_it)} lost in flight on "
                   "a worker that was killed")
        for text in tally.failures[:5]:
            print(f"    {text}")
        counts = re.findall(r"stopped: .*, (\d+) abandoned", errors)
        self.judge(len(counts) >= self.args.workers and set(counts) == {"0"}, f"{len(counts)} drains, nothing abandoned")
        died = len(DIED.findall(errors))  # others were killed before they served, or had just ended
        self.judge(code == (LOST if died else 0), f"exit code {code}, {died} workers have died while they served")
        rest = [line for line in errors.splitlines()
                if not (": INFO: " in line or DIED.search(line) or NOT_STARTED.search(line))]
        self.judge(not rest, f"log: {rest[:5] if rest else 'nothing that should not be there'}")


def main() -> int:
    args = arguments()
    failed = [problem for number in range(args.runs) for problem in Run(args, args.seed + number).run()]
    print("chaos-processes: " + ("passed" if not failed else f"{len(failed)} failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
