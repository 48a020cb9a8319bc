"""make stop: SIGTERM under load, many times; nothing that was sent before the signal may be lost.

Clients send one request after the other, or a few at once, until the server ends their connection. The judge is the client: what it
had sent before the signal has to be answered, byte for byte; what it sends behind it may be refused, or its connection
end, but no answer may be cut. The server has to end with 0, and has abandoned nothing (the C demo says so).
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import good  # noqa: E402
import harness  # noqa: E402


class Run:
    """One server, from its start to its end."""

    def __init__(self, kind: str, clients: int, seed: int) -> None:
        self.server = harness.demo(kind)
        self.clients = clients
        self.chance = random.Random(seed)
        self.tallies: List[good.Tally] = []
        self.signal_at = 0.0
        self.before = 0  # turns that were under way at the signal
        self.lost: List[str] = []

    async def client(self, number: int) -> None:
        tally = good.Tally()
        self.tallies.append(tally)
        client = good.Client(self.server.address, number, "stop", tally)
        while not tally.failures:
            await client.turn()
            in_time = 0 < client.sent_at and (not self.signal_at or client.sent_at < self.signal_at)
            if self.signal_at and in_time:
                self.before += 1
            if tally.failures and in_time:
                self.lost.append(f"{client.owed} of {tally.failures[-1]}")
            await asyncio.sleep(client.maker.chance.random() * 0.002)
        client.close()

    async def stop(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.2, 0.6))
        self.signal_at = time.monotonic()
        self.server.signal(signal.SIGTERM)

    async def load(self) -> None:
        await asyncio.gather(self.stop(), *(self.client(i) for i in range(self.clients)))

    def run(self, kind: str) -> None:
        try:
            asyncio.run(self.load())
            errors = self.server.stop()
        except BaseException:
            self.server.kill()
            raise
        if kind not in harness.IN_PYTHON:
            assert harness.totals_of(errors).abandoned == 0, errors
        wrong = [text for tally in self.tallies for text in tally.wrong + tally.refused]
        assert not wrong, wrong[:5]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demos", default="shards,inline,io0,python,processes", help="kinds of tests/e2e/harness.py [%(default)s]")
    parser.add_argument("--runs", type=int, default=20, help="of each demo [%(default)s]")
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--asan", action="store_true", help="the C demos of build/asan")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.asan and not harness.SANITIZED:  # the harness takes the demo from the environment when it is loaded
        os.environ["TURBO_DEMO"] = str(ROOT / "build/asan/examples/demo")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    lost = 0
    for kind in args.demos.split(","):
        right = before = 0
        bad: List[str] = []
        for number in range(args.runs):
            run = Run(kind, args.clients, number)
            run.run(kind)
            right, before, bad = right + sum(t.right for t in run.tallies), before + run.before, bad + run.lost
        print(f"{kind}: {args.runs} x SIGTERM, {right} right answers, {before} turns under way at the signal, {len(bad)} lost",
              flush=True)
        for text in bad[:5]:
            print(f"    {text}")
        lost += len(bad)
    print("stop: " + ("passed" if not lost else f"{lost} lost"))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
