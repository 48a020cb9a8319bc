"""make stop: one server takes over from another under load, many times; no client may notice.

Both accept from one listening socket. The next one is started, the old one gets SIGTERM, and has drain_idle_ms for clients
that are silent just then. Clients keep their connections, leave one only when its answer says so or when they find it closed
before they send, and repeat nothing: a refused connection, a reset, a missing or a wrong answer is a failure. Half of
them send without pause, half with pauses of up to a second. At the end the servers' counts must be what the clients count.
"""

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import good  # noqa: E402
import harness  # noqa: E402

PAUSES = (0.002, 1.0)  # the longest ones, in seconds, of every second client each


class Relay:
    """Servers, one after the other, and the clients of all of them."""

    def __init__(self, kind: str, args: argparse.Namespace) -> None:
        self.kind = kind
        self.args = args
        self.chance = random.Random(kind)
        self.tally = good.Tally()
        self.told = self.stale = 0  # connections that clients left: told to, or found closed before they sent
        self.ended: List[str] = []  # what servers have written
        self.slowest = 0.0
        self.running = True
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1024)
        self.server = self.start()

    def start(self) -> harness.Server:
        fd = self.listener.fileno()
        return harness.demo(self.kind, "--fd", str(fd), "--drain-idle-ms", str(self.args.drain_idle_ms), pass_fds=[fd])

    async def client(self, number: int) -> None:
        client = good.Client(self.listener.getsockname(), number, "handover", self.tally)
        while self.running:
            if client.reader is not None and client.reader.at_eof():
                self.stale += 1
                client.close()
            await client.turn()
            self.told += client.was_told
            await asyncio.sleep(client.maker.chance.random() * PAUSES[number % 2])
        client.close()

    def stop(self, server: harness.Server) -> None:
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        self.ended.append(server.stop())
        self.slowest = max(self.slowest, time.monotonic() - begun)

    async def handovers(self) -> None:
        for _ in range(self.args.runs):
            await asyncio.sleep(self.chance.uniform(0.1, 0.5))
            old, self.server = self.server, await asyncio.to_thread(self.start)
            await asyncio.to_thread(self.stop, old)
        self.running = False

    async def load(self) -> None:
        await asyncio.gather(self.handovers(), *(self.client(i) for i in range(self.args.clients)))

    def check_counts(self) -> None:
        totals = [harness.totals_of(errors) for errors in self.ended]
        assert all(t.taken == t.answered for t in totals), totals
        assert sum(t.answered for t in totals) == self.tally.right, (totals, self.tally.right)

    def run(self) -> int:
        """How many requests failed."""
        try:
            asyncio.run(self.load())
            self.stop(self.server)
        except BaseException:
            self.server.kill()
            raise
        finally:
            self.listener.close()
        failures = self.tally.failures
        print(f"{self.kind}: {self.args.runs} handovers, {self.tally.right} right answers, {self.told} connections told to "
              f"close, {self.stale} found closed; {len(failures)} failed; a stop took up to {self.slowest:.1f} s", flush=True)
        for text in failures[:5]:
            print(f"    {text}")
        if not failures and self.kind not in harness.PYTHON_KINDS:
            self.check_counts()
        return len(failures)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demos", default="shards,inline,io0,python", help="kinds of tests/e2e/harness.py [%(default)s]")
    parser.add_argument("--runs", type=int, default=20, help="handovers of each demo [%(default)s]")
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--drain-idle-ms", type=int, default=3000, help="0 shows what goes wrong without it [%(default)s]")
    parser.add_argument("--asan", action="store_true", help="the C demos of build/asan")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.asan and not harness.SANITIZED:  # the harness takes the demo from the environment when it is loaded
        os.environ["TURBO_DEMO"] = str(ROOT / "build/asan/examples/demo")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    failed = sum(Relay(kind, args).run() for kind in args.demos.split(","))
    print("handover: " + ("passed" if not failed else f"{failed} failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
