"""make soak: both demos under a long mixed load, then idle.

What must hold: every answer is right; nothing is written to standard error that an operator would worry about; memory
grows by less than 1 MiB from the first 10 seconds to the end; descriptors and threads are as many as before; an idle
server makes no system call in 5 seconds.

Memory is measured in pauses, with all connections open and no request under way: the most of five pauses in the first
10 seconds against the end, for what a burst leaves with an allocator differs by a MiB from burst to burst. RSS is judged
where it says something: the release build and Python. With ASan freed memory stays in a quarantine, so there the bytes
that are allocated count (heap_probe.c), and RSS is only printed.

SOAK_SECONDS (60), SOAK_CONNECTIONS (200), SOAK_KINDS (release,asan,python)
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, Tuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness import SAID, Server, totals_of, wait_until  # noqa: E402
from load import Load  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
CONNECTIONS = int(os.environ.get("SOAK_CONNECTIONS", "200"))
KINDS = os.environ.get("SOAK_KINDS", "release,asan,python").split(",")

FIRST_SECONDS = min(10.0, SECONDS / 2)
FIRST_PAUSES = 5
IDLE_SECONDS = 5
SETTLE_SECONDS = 2  # of quiet, in which the last timers of closed connections run out
MEMORY_BYTES = 1 << 20
SLOW = re.compile(r"Executing <.*> took \d\.\d+ seconds$")
FLAGS = ["--host", "127.0.0.1", "--port", "0"]


class Failed(Exception):
    pass


def start(kind: str, heap_file: str) -> Server:
    if kind == "python":
        return Server([str(ROOT / "build/venv/bin/python"), str(ROOT / "examples/demo.py"), *FLAGS],
                      env={"PYTHONDEVMODE": "1"})
    if kind == "release":
        return Server([str(ROOT / "build/release/examples/demo"), *FLAGS])
    probe = ROOT / "build/asan/tests/soak/libheap_probe.so"
    return Server([str(ROOT / "build/asan/examples/demo"), *FLAGS],
                  env={"LD_PRELOAD": str(probe), "SOAK_HEAP_FILE": heap_file,
                       "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1"})


def heap_bytes(server: Server, heap_file: str) -> int:
    """What an ASan build has allocated."""
    path = Path(heap_file)
    path.write_text("")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: path.read_text().endswith("\n"), "the heap's size")
    return int(path.read_text())


def count_syscalls(pid: int) -> Tuple[int, str]:
    """What strace -f -c sees in IDLE_SECONDS."""
    with tempfile.NamedTemporaryFile("r") as out:
        strace = subprocess.Popen(["strace", "-f", "-c", "-p", str(pid), "-o", out.name], stderr=subprocess.PIPE, text=True)
        line = strace.stderr.readline()
        if "attached" not in line:
            raise Failed(f"strace: {line}")
        time.sleep(IDLE_SECONDS)
        strace.send_signal(signal.SIGINT)
        strace.wait()
        strace.stderr.close()
        text = out.read()
    total = re.search(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)(?:\s+\d+)?\s+total$", text, re.M)
    return int(total[1]) if total else 0, text


def check_errors(kind: str, errors: str) -> str:
    """Nothing but the counts of the C demo. Returns them."""
    if kind == "python":
        # asyncio's debug mode times its callbacks, and here the load's own process takes the processors.
        slow, rest = 0, []
        for line in errors.splitlines():
            if any(word in line for word in SAID):
                continue
            slow, rest = (slow + 1, rest) if SLOW.match(line) else (slow, [*rest, line])
        if rest:
            raise Failed(f"standard error: {rest[:20]}")
        return f" ({slow} remarks on slow callbacks)" if slow else ""
    totals = totals_of(errors)
    rest = [line for line in errors.splitlines() if "stopped: " not in line]
    if rest or totals.shed or totals.abandoned:
        raise Failed(f"standard error: {errors[:2000]}")
    return f", server: {totals.taken} taken, {totals.answered} answered, {totals.dropped} dropped"


class Soak:
    """One demo from its start to its end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.problems: List[str] = []
        self.heap_file = tempfile.NamedTemporaryFile("r")
        self.server = start(kind, self.heap_file.name)

    def say(self, text: str) -> None:
        print(f"{self.kind}: {text}", flush=True)

    def judge(self, good: bool, text: str) -> None:
        self.say(text if good else f"{text}  <-- FAILED")
        if not good:
            self.problems.append(text)

    def memory(self) -> Dict[str, int]:
        out = {"RSS": self.server.rss_bytes()}
        if self.kind == "asan":
            out["allocated"] = heap_bytes(self.server, self.heap_file.name)
        return out

    def resources(self) -> Tuple[int, int]:
        return self.server.fds(), len(self.server.threads())

    def load(self) -> None:
        load = Load(self.server.address, CONNECTIONS)
        begun = time.monotonic()
        early = self.memory()
        for _ in range(FIRST_PAUSES):
            load.run(FIRST_SECONDS / FIRST_PAUSES)
            early = {name: max(early[name], now) for name, now in self.memory().items()}
        load.run(SECONDS - FIRST_SECONDS)
        late = self.memory()
        spent = time.monotonic() - begun
        self.say(f"{load.answered} answers in {spent:.1f} s on {CONNECTIONS} connections ({load.opened} opened in all, "
                 f"{load.sent - load.answered} requests reset)")
        for name in early:
            judged = name == "allocated" or self.kind != "asan"
            change = late[name] - early[name]
            self.judge(not judged or change <= MEMORY_BYTES,
                       f"{name} in the first {FIRST_SECONDS:.0f} s {early[name] / 2**20:.2f} MiB, at the end "
                       f"{late[name] / 2**20:.2f} MiB, change {change / 2**10:+.0f} KiB{'' if judged else ' (not judged)'}")
        load.close()

    def idle(self) -> None:
        calls, text = count_syscalls(self.server.pid)
        self.judge(calls == 0, f"{calls} system calls in {IDLE_SECONDS} s idle")
        if calls:
            print(text)

    def settled_resources(self) -> Tuple[int, int]:
        """Behind the address line the demo still opens a descriptor, to wait for signals."""
        now = (0, 0)
        while now != (now := self.resources()):
            time.sleep(0.5)
        return now

    def run(self) -> None:
        before = self.settled_resources()
        self.load()
        try:
            wait_until(lambda: self.resources() == before, "as many descriptors and threads as before")
        except AssertionError:
            pass
        after = self.resources()
        self.judge(after == before, f"descriptors {before[0]} before, {after[0]} after; threads {before[1]}, {after[1]}")
        time.sleep(SETTLE_SECONDS)
        self.idle()
        self.judge_end()

    def judge_end(self) -> None:
        try:
            errors = self.server.stop()
            self.say("no errors" + check_errors(self.kind, errors))
        except (AssertionError, Failed) as error:
            self.judge(False, f"end: {error}")


def run(kind: str) -> List[str]:
    soak = Soak(kind)
    try:
        soak.run()
    except BaseException:
        print(soak.server.errors(), file=sys.stderr)
        soak.server.kill()
        raise
    return soak.problems


def main() -> int:
    failed = [f"{kind}: {problem}" for kind in KINDS for problem in run(kind)]
    print("soak: " + ("passed" if not failed else f"{len(failed)} failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
