"""make chaos: good clients beside ones that break off, stall, flood, send nonsense and never read.

A quiet phase, two of chaos, a quiet one. What must hold: of the good requests none is lost and none is answered wrong;
behind it connections and descriptors are as many as before; memory has grown by no more than --growth-mib, and by no more
than a quarter of that since the first half of the chaos; the server ends well, and its counts add up. How the good clients' latency changes is printed, and not judged.

A turn is one request, or a few that are pipelined; its latency runs from sending to the last byte of the last answer.
What each kind of bad client does stands in bad.py.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import good  # noqa: E402
import harness  # noqa: E402
from harness import SAID, Server, totals_of, wait_until  # noqa: E402

# Short, so that the server's own timeouts are met in a run of seconds; no good client is as slow.
FLAGS = ["--head-timeout-ms", "1500", "--body-stall-timeout-ms", "1500", "--idle-timeout-ms", "3000"]
HEAP_PROBE = ROOT / "build/asan/tests/soak/libheap_probe.so"
# So that glibc gives back what is freed: without them it keeps what once was a large answer of the Python demo.
GIVE_BACK = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
REPORTED = 5  # wrong answers that are printed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demos", default="shards,inline,io0,python", help="kinds of tests/e2e/harness.py [%(default)s]")
    parser.add_argument("--seconds", type=float, default=60, help="of chaos, for each demo [%(default)s]")
    parser.add_argument("--good", type=int, default=20, help="good clients [%(default)s]")
    parser.add_argument("--bad", type=int, default=4, help="bad clients of each kind [%(default)s]")
    parser.add_argument("--growth-mib", type=float, default=12, help="that memory may grow by [%(default)s]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asan", action="store_true", help="the C demos of build/asan")
    return parser.parse_args()


class Chaos:
    """One demo from its start to its end."""

    def __init__(self, kind: str, args: argparse.Namespace) -> None:
        self.kind = kind
        self.args = args
        self.problems: List[str] = []
        self.heap_file = tempfile.NamedTemporaryFile("r")
        env = dict(GIVE_BACK)
        self.probed = harness.SANITIZED and kind not in harness.PYTHON_KINDS
        if self.probed:
            env.update(LD_PRELOAD=str(HEAP_PROBE), SOAK_HEAP_FILE=self.heap_file.name,
                       ASAN_OPTIONS="verify_asan_link_order=0:detect_leaks=1")
        self.server = harness.demo(kind, *FLAGS, env=env)

    def say(self, text: str) -> None:
        print(f"{self.kind}: {text}", flush=True)

    def judge(self, right: bool, text: str) -> None:
        self.say(text if right else f"{text}  <-- FAILED")
        if not right:
            self.problems.append(f"{self.kind}: {text}")

    def memory(self) -> Tuple[str, int]:
        """With ASan freed memory stays in a quarantine: there the bytes that are allocated count."""
        if not self.probed:
            return "RSS", self.server.rss_bytes()
        path = Path(self.heap_file.name)
        path.write_text("")
        self.server.signal(signal.SIGUSR2)
        wait_until(lambda: path.read_text().endswith("\n"), "the heap's size")
        return "allocated", int(path.read_text())

    def settle(self) -> None:
        """Until the server has no connection but the one that asks."""
        wait_until(lambda: self.server.stats()["connections"] == 1, "no connection is left")

    def resources(self) -> Tuple[int, int]:
        """Descriptors and threads, the same twice in a row: the asker's own connection is gone, too."""
        now = (0, 0)
        while now != (now := (self.server.fds(), len(self.server.threads()))):
            time.sleep(0.2)
        return now

    def phase(self, name: str, seconds: float) -> good.Tally:
        tally = good.run(self.server.address, name, seconds, self.args.good)
        mix = ", ".join(f"{count} {what}" for what, count in sorted(tally.count_of.items()))
        self.judge(not tally.failures and tally.sent == tally.right,
                   f"{name}: {tally.sent} good requests, {tally.sent - tally.right} lost or wrong; turns p50 "
                   f"{tally.percentile(0.5):.1f} ms, p99 {tally.percentile(0.99):.1f} ms, most "
                   f"{tally.percentile(1):.1f} ms ({mix})")
        for text in tally.failures[:REPORTED]:
            self.say(f"    {text}")
        return tally

    def chaos(self, name: str, seconds: float, seed: int) -> good.Tally:
        numbers = (*self.server.address, seconds, self.args.bad, seed)
        argv = [sys.executable, str(Path(__file__).with_name("bad.py")), *map(str, numbers)]
        bad = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            tally = self.phase(name, seconds)
            out, _ = bad.communicate(timeout=60)
        finally:
            bad.kill()
            bad.wait()
        counts = json.loads(out)
        self.judge(all(count > 0 for kind, count in counts.items() if kind != "refused") and not counts["refused"],
                   "bad clients: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
        return tally

    def run(self) -> None:
        quiet = max(2.0, self.args.seconds / 4)
        self.phase("warm", quiet)
        self.settle()
        before, (what, memory) = self.resources(), self.memory()
        first = self.phase("before", quiet)
        halves = [self.chaos("chaos1", self.args.seconds / 2, self.args.seed)]
        self.settle()
        half = self.memory()[1]
        halves.append(self.chaos("chaos2", self.args.seconds / 2, self.args.seed + 1000))
        self.settle()
        self.phase("after", quiet)
        self.settle()
        after, left = self.resources(), self.memory()[1]
        ratio = max(tally.percentile(0.99) for tally in halves) / max(first.percentile(0.99), 0.001)
        self.say(f"p99 in chaos {ratio:.1f} x that before it (not judged)")
        self.judge(before == after, f"descriptors {before[0]} before, {after[0]} after; threads {before[1]}, {after[1]}")
        growth = self.args.growth_mib * 2**20
        self.judge(left - memory <= growth and left - half <= growth / 4,
                   f"{what} {memory / 2**20:.2f} MiB before, {half / 2**20:.2f} MiB after half of it, {left / 2**20:.2f} "
                   f"MiB at the end")
        self.end()

    def end(self) -> None:
        stats = self.server.stats()
        ends = stats["answered"] + stats["shed"] + stats["dropped"] + stats["abandoned"]
        self.judge(stats["taken"] - 1 == ends and stats["abandoned"] == 0,  # the one that asks is not answered yet
                   f"server: {stats['taken']} taken, {stats['answered']} answered, {stats['shed']} shed, "
                   f"{stats['dropped']} dropped, {stats['abandoned']} abandoned")
        try:
            errors = self.server.stop()
            if self.kind not in harness.PYTHON_KINDS:
                totals_of(errors)
            rest = [line for line in errors.splitlines() if not any(word in line for word in SAID)]
            self.judge(not rest, f"standard error: {rest[:5] if rest else 'nothing'}")
        except AssertionError as error:
            self.judge(False, f"end: {error}")


def run(kind: str, args: argparse.Namespace) -> List[str]:
    chaos = Chaos(kind, args)
    try:
        chaos.run()
    except BaseException:
        print(chaos.server.errors() if not chaos.server.stderr.closed else "", file=sys.stderr)
        chaos.server.kill()
        raise
    return chaos.problems


def main() -> int:
    args = arguments()
    if args.asan and not harness.SANITIZED:  # the harness takes the demo from the environment when it is loaded
        os.environ["TURBO_DEMO"] = str(ROOT / "build/asan/examples/demo")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    failed = [problem for kind in args.demos.split(",") for problem in run(kind, args)]
    print("chaos: " + ("passed" if not failed else f"{len(failed)} failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
