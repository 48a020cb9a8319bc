"""System calls and allocations of the C demo fail, while clients check every answer.

What a server can do over again (EINTR, a short write, no descriptor for a new connection) no client may notice. What ends a
connection may cost what was under way on it, and nothing else: no answer is wrong, and behind the faults everything is
as it was. TURBO_FAULTY_DEMO: the program (build/release/tests/faults/faulty_demo; that of build/asan finds leaks, too).
"""

import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/chaos")]

import good  # noqa: E402
from harness import COMMANDS, Client, Server, chunked, request, totals_of, wait_until  # noqa: E402

PROGRAM = os.environ.get("TURBO_FAULTY_DEMO", str(ROOT / "build/release/tests/faults/faulty_demo"))
KINDS = ("ACCEPT_FULL", "ACCEPT_ABORTED", "RECV_INTR", "RECV_RESET", "SEND_SHORT", "SEND_INTR", "SEND_NOBUFS", "SEND_RESET",
         "POLL_ADD", "POLL_INTR", "ALLOC", "OPEN", "LISTEN", "THREAD")  # as in faults.c
ROW = struct.Struct("4I")  # every, nth, fired, reserved
TOPOLOGIES = ("shards", "inline", "io0")
NTH_MAX = 2000
UNSEEN = ("ACCEPT_FULL", "ACCEPT_ABORTED", "RECV_INTR", "SEND_SHORT", "SEND_INTR", "SEND_NOBUFS", "POLL_INTR")


class Faults:
    """What the program shares with us."""

    def __init__(self) -> None:
        self.file = tempfile.NamedTemporaryFile()
        self.file.truncate(mmap.PAGESIZE)
        self.map = mmap.mmap(self.file.fileno(), mmap.PAGESIZE)

    @property
    def env(self) -> dict:
        return {"FAULTS_FILE": self.file.name}

    def set(self, kind: str, every: int = 0, nth: int = 0) -> None:
        ROW.pack_into(self.map, KINDS.index(kind) * ROW.size, every, nth, 0, 0)

    def fired(self, kind: str) -> int:
        return ROW.unpack_from(self.map, KINDS.index(kind) * ROW.size)[2]

    def off(self) -> None:
        for kind in KINDS:
            self.set(kind)


@pytest.fixture
def faults() -> Iterator[Faults]:
    out = Faults()
    yield out
    out.map.close()
    out.file.close()


def start(topology: str, faults: Faults) -> Server:
    argv = [PROGRAM, *COMMANDS[topology][1:], "--host", "127.0.0.1", "--port", "0", "--body-stall-timeout-ms", "2000"]
    return Server(argv, env=faults.env)


def check_well(server: Server) -> None:
    """Good clients are served, nothing is left behind, the counts add up, and the end is in order."""
    tally = good.run(server.address, "well", 0.3, clients=5, pause=0.01)
    assert not tally.failures and tally.right == tally.sent > 0
    wait_until(lambda: server.stats()["connections"] == 1, "no connection is left")
    stats = server.stats()
    assert stats["taken"] - 1 == stats["answered"] + stats["shed"] + stats["dropped"]
    assert (stats["abandoned"], stats["body_memory"]) == (0, 0)
    totals_of(server.stop())


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_clients_do_not_notice_what_can_be_done_again(topology: str, faults: Faults) -> None:
    with start(topology, faults) as server:
        for kind in UNSEEN:
            faults.set(kind, every=4)
        tally = good.run(server.address, "again", 2, clients=10, pause=0.01)
        fired = {kind: faults.fired(kind) for kind in UNSEEN}
        faults.off()
        assert all(fired.values()), fired
        assert not tally.failures and tally.right == tally.sent > 0, tally.failures[:5]
        check_well(server)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("kind,every", [("RECV_RESET", 40), ("SEND_RESET", 40), ("POLL_ADD", 3), ("ALLOC", 60)])
def test_a_fault_costs_its_connection_and_nothing_else(kind: str, every: int, topology: str, faults: Faults) -> None:
    with start(topology, faults) as server:
        faults.set(kind, every=every)
        tally = good.run(server.address, "lossy", 1.5, clients=10, pause=0.01)
        fired = faults.fired(kind)
        faults.off()
        assert fired > 0 and tally.lost, "nothing was lost: the faults did not get where they should"
        assert not tally.wrong, tally.wrong[:5]
        assert kind == "ALLOC" or not tally.refused, tally.refused[:5]
        check_well(server)


# -- each call in turn --

SCRIPT = [
    (request("/users/a1"), b'{"id":"a1"}'),
    (request("/stream?chunks=3&bytes=5000"), bytes(15000)),
    (request("/big?bytes=300000"), bytes(300000)),
    (request("/sleep?ms=1"), b'{"ok":true}'),
    (request("/echo", "POST", ["Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
     + chunked([b"x" * 3000, b"y" * 70000]), b"x" * 3000 + b"y" * 70000),
    (request("/users/b2", fields=["Connection: close"]), b'{"id":"b2"}'),
]


def play(server: Server) -> Tuple[int, List[int]]:
    """The script, pipelined. Returns how many were answered right, and the other statuses; anything else is an error."""
    count, statuses = 0, []
    try:
        with Client(server.address, receive_buffer=16384) as client:
            client.send(b"".join(wire for wire, _ in SCRIPT))
            for _, body in SCRIPT:
                answer = client.answer()
                if answer.status == 200:
                    assert answer.body == body
                    count += 1
                else:
                    statuses.append(answer.status)
    except TimeoutError:
        raise AssertionError("the server stalls") from None
    except Exception as error:
        if isinstance(error, AssertionError):
            raise
    return count, statuses


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("kind", ["RECV_INTR", "RECV_RESET", "SEND_SHORT", "SEND_INTR", "SEND_NOBUFS", "SEND_RESET", "POLL_ADD",
                                  "POLL_INTR", "ALLOC"])
def test_each_call_fails_in_turn(kind: str, topology: str, faults: Faults) -> None:
    with start(topology, faults) as server:
        for nth in range(1, NTH_MAX):
            faults.set(kind, nth=nth)
            count, statuses = play(server)
            fired = faults.fired(kind)
            faults.off()
            assert set(statuses) <= ({500, 503} if kind == "ALLOC" else set()), (nth, statuses)
            if kind in UNSEEN or not fired:
                assert (count, statuses) == (len(SCRIPT), []), nth
            if not fired or (kind in ("POLL_INTR", "SEND_SHORT") and nth == 30):  # there is always another
                break
        assert nth > 1 and nth < NTH_MAX - 1
        check_well(server)


@pytest.mark.parametrize("flags", [("--shards", "2", "--io-threads", "2"), ("--shards", "2", "--io-threads", "0")],
                         ids=["io2", "io0"])
@pytest.mark.parametrize("kind", ["OPEN", "LISTEN", "THREAD"])
def test_a_start_that_fails_says_why_and_leaves_nothing(kind: str, flags: Sequence[str], faults: Faults) -> None:
    argv = [PROGRAM, "--host", "127.0.0.1", "--port", "0", *flags]
    for nth in range(1, NTH_MAX):
        faults.set(kind, nth=nth)
        with open(os.devnull) as nothing:
            done = subprocess.Popen(argv, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env={**os.environ, **faults.env})
        line = done.stdout.readline()
        if line:
            done.terminate()
        out, errors = done.communicate(timeout=30)
        fired = faults.fired(kind)
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors
        if done.returncode == 0:
            assert line and "stopped: " in errors, (nth, errors)
        else:  # without the line, or as soon as it runs
            assert done.returncode == 1 and fired and re.search("^demo: .", errors, re.M), (nth, done.returncode, errors)
        if not fired:
            break
    assert 1 < nth < NTH_MAX - 1
