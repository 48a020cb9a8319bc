"""What the threads of a server do about the GIL that they share."""

import asyncio
import ctypes
import logging
import os
import selectors
import subprocess
import sys
from typing import Any, List, Optional

import pytest
import turbo
from conftest import Client, Serve
from turbo.gil import SwitchInterval, gil_enabled

needs_gil = pytest.mark.skipif(not gil_enabled(), reason="needs a GIL")


def hello(**options: Any) -> turbo.App:
    app = turbo.App()
    app.get("/", **options)(lambda request: b"hello")
    return app


# -- the switch interval --


@needs_gil
@pytest.mark.parametrize("options, shards", [({}, 2), ({"threads": 1}, 1)], ids=["shards", "pool"])
def test_the_interval_is_shortened_while_threads_share_the_gil(
    serve: Serve, caplog: pytest.LogCaptureFixture, options: Any, shards: int
) -> None:
    caplog.set_level(logging.INFO, logger="turbo")
    before = sys.getswitchinterval()
    client = serve(hello(**options), shards=shards)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert "2 threads run handlers: GIL switch interval 0.5 ms" in caplog.text
    client.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


@needs_gil
def test_one_thread_leaves_it(serve: Serve) -> None:
    before = sys.getswitchinterval()
    serve(hello())
    assert sys.getswitchinterval() == pytest.approx(before)


@needs_gil
def test_one_that_is_shorter_stays(serve: Serve) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    try:
        serve(hello(), shards=2).app.stop()
        assert sys.getswitchinterval() == pytest.approx(0.0001)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("us, expected", [(0, None), (1, 1e-6), (100, 1e-4), (1000000, 1.0)])
def test_it_is_a_setting(serve: Serve, us: int, expected: Optional[float]) -> None:
    before = sys.getswitchinterval()
    client = serve(hello(), shards=2, switch_interval_us=us)
    assert sys.getswitchinterval() == pytest.approx(before if expected is None else expected)
    client.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_of_several_servers_the_shortest_counts(serve: Serve) -> None:
    before = sys.getswitchinterval()
    first, second = serve(hello(), switch_interval_us=300), serve(hello(), switch_interval_us=200)
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    first.app.stop()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    second.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_wish_that_was_never_made_can_be_withdrawn() -> None:
    before = sys.getswitchinterval()
    SwitchInterval().unset()
    assert sys.getswitchinterval() == before


# -- who takes it --

ASK_WHILE_IT_IS_HELD = """
import http.client, os, sys
port, held, let_go = map(int, sys.argv[1:])
holder = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
holder.request("GET", "/hold")
assert os.read(held, 1) == b"h"
try:
    for path, status in (("/none", 404), ("/stats", 200), ("/none", 404)):
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        one.request("GET", path)
        answer = one.getresponse()
        assert answer.status == status, answer.status
        answer.read()
        one.close()
finally:
    os.write(let_go, b"l")
assert holder.getresponse().read() == b"held"
"""


@needs_gil
def test_io_threads_work_while_a_handler_keeps_the_gil(serve: Serve) -> None:
    """The handler is in one call of C, which keeps the GIL until the client has its answers."""
    app, libc = turbo.App(), ctypes.PyDLL(None)
    app.route_stats("/stats")
    held_r, held_w = os.pipe()
    let_go_r, let_go_w = os.pipe()
    byte = ctypes.create_string_buffer(1)

    @app.get("/hold")
    def hold(request: turbo.Request) -> bytes:
        libc.write(held_w, b"h", 1)
        libc.read(let_go_r, byte, 1)
        return b"held"

    port = serve(app).port
    argv = [sys.executable, "-c", ASK_WHILE_IT_IS_HELD, str(port), str(held_r), str(let_go_w)]
    try:
        done = subprocess.run(argv, pass_fds=(held_r, let_go_w), stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        for fd in (held_r, held_w, let_go_r, let_go_w):
            os.close(fd)
    assert (done.returncode, done.stderr) == (0, "")


class CountingSelector(selectors.DefaultSelector):
    """Each select() lets go of the GIL and takes it again."""

    calls = 0

    def select(self, timeout: Optional[float] = None) -> Any:
        self.calls += 1
        return super().select(timeout)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_gil_is_taken_once_a_batch(serve: Serve, is_async: bool) -> None:
    selectors_made: List[CountingSelector] = []

    def make_loop() -> asyncio.AbstractEventLoop:
        selectors_made.append(CountingSelector())
        return asyncio.SelectorEventLoop(selectors_made[-1])

    async def no_await(request: turbo.Request) -> bytes:
        return b"hello"

    app = turbo.App()
    app.get("/")(no_await if is_async else lambda request: b"hello")
    client = serve(app, loop=make_loop)
    client.get("/")  # the server has settled
    shard, calls = client.app.shards[0], selectors_made[0].calls
    batches = shard.stats()["batches"]
    ask_pipelined(client, 256)
    batches, calls = shard.stats()["batches"] - batches, selectors_made[0].calls - calls
    assert 256 / 128 <= batches <= 64, "several requests came in one batch"
    assert calls <= 2 * batches + 1, "one wake-up a batch, and the loop's own look when nothing is left"


def ask_pipelined(client: Client, count: int) -> None:
    with client.socket() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        got = b""
        while got.count(b"\r\n\r\nhello") < count:
            part = connection.recv(65536)
            assert part, got[-200:]
            got += part
