"""handler_timeout_ms, and clients that go: what handlers are told, on both loops and with both kinds of task. What a route says
of those that wait for their handler."""

import asyncio
import threading
import time
from typing import Any, List

import pytest
import turbo
from conftest import Serve
from test_streaming import wait_until


def test_task_is_cancelled_and_its_answer_thrown_away(serve: Serve, loop_name: str, task_name: str, failures: Any) -> None:
    app = turbo.App()
    seen: List[Any] = []

    @app.get("/", handler_timeout_ms=100)
    async def handler(request: turbo.Request) -> bytes:
        seen.append(request.time_left)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # it is cancelled once, and may await while it cleans up
            seen.append((request.timed_out, request.cancelled, request.is_disconnected, request.time_left))
        return b"late"

    client = serve(app, loop=loop_name, task=task_name)
    answer = client.get("/")
    assert (answer.status, answer.body) == (504, b"Gateway Timeout: the handler took too long\n")
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert 0 < seen[0] <= 0.1
    assert seen[1] == (True, True, False, 0.0)
    assert client.app.stats()["timeouts_handler"] == 1
    assert failures() == []


def test_task_that_does_not_catch_it_is_no_failure(serve: Serve, loop_name: str, task_name: str, failures: Any) -> None:
    app = turbo.App()

    @app.get("/", handler_timeout_ms=50)
    async def handler(request: turbo.Request) -> None:
        await asyncio.sleep(30)

    client = serve(app, loop=loop_name, task=task_name)
    assert client.get("/").status == 504
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert failures() == []


def test_late_answers_of_every_kind_are_thrown_away(serve: Serve, failures: Any) -> None:
    app = turbo.App()
    late = {
        "plain": lambda: {"ok": True},
        "big": lambda: bytes(100_000),
        "response": lambda: turbo.Response(bytes(100_000), headers={"A": "b"}),
        "stream": lambda: turbo.StreamingResponse(iter([b"x"])),
    }

    @app.get("/{kind}", handler_timeout_ms=50)
    async def handler(request: turbo.Request) -> Any:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            pass
        return late[request.path_params["kind"]]()

    client = serve(app)
    for kind in late:
        assert client.get(f"/{kind}").status == 504, kind
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert failures() == []


def test_routes_have_their_own_time(serve: Serve) -> None:
    app = turbo.App()

    async def handler(request: turbo.Request) -> Any:
        await asyncio.sleep(0.3)
        return {"left": request.time_left}

    app.get("/short")(handler)
    app.get("/never", handler_timeout_ms=0)(handler)
    client = serve(app, handler_timeout_ms=50)
    assert client.get("/short").status == 504
    assert client.get("/never").body == b'{"left":null}'


def waiting_app(go_on: threading.Event, **options: Any) -> turbo.App:
    """/own has the options and /other none; of each one request is worked on at a time, until go_on."""
    app = turbo.App()

    async def handler(request: turbo.Request) -> bytes:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return b"done"

    app.get("/own", inflight_max=1, **options)(handler)
    app.get("/other", inflight_max=1)(handler)
    return app


@pytest.mark.parametrize(
    "options, status, retry_after",
    [
        ({}, 503, b"1"),
        ({"shed_status": 429}, 429, b"1"),
        ({"retry_after_s": 7}, 503, b"7"),
        ({"shed_status": 429, "retry_after_s": 0}, 429, None),
    ],
)
def test_routes_say_how_long_requests_wait_and_what_they_have_then(
    serve: Serve, options: Any, status: int, retry_after: Any
) -> None:
    go_on = threading.Event()
    client = serve(waiting_app(go_on, queue_timeout_ms=50, **options), shards=1)
    with client.socket() as own, client.socket() as other, client.socket() as late, client.socket() as waits:
        for s, path in ((own, b"/own"), (other, b"/other")):
            s.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == 2)
        waits.sendall(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].queued == 1)
        late.sendall(b"GET /own HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = late.recv(65536)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nRetry-After: %s\r\n" % retry_after in answer if retry_after else b"Retry-After" not in answer
        go_on.set()
        assert [s.recv(65536).split()[1] for s in (own, other, waits)] == [b"200"] * 3  # the other route has no limit
    assert client.app.stats()["timeouts_queue"] == 1


def test_routes_may_have_none_of_the_settings_limit(serve: Serve) -> None:
    go_on = threading.Event()
    client = serve(waiting_app(go_on, queue_timeout_ms=0), shards=1, queue_timeout_ms=50, shed_status=429, retry_after_s=3)
    with client.socket() as s, client.socket() as waits, client.socket() as late:
        s.sendall(b"GET /own HTTP/1.1\r\nHost: h\r\n\r\nGET /other HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == 2)
        waits.sendall(b"GET /own HTTP/1.1\r\nHost: h\r\n\r\n")
        late.sendall(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = late.recv(65536)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: 3\r\n" in answer
        go_on.set()
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ") and waits.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "option, value", [("queue_timeout_ms", -1), ("shed_status", 500), ("shed_status", "503 "), ("retry_after_s", 86401)]
)
def test_bad_values_of_a_route_are_named(serve: Serve, option: str, value: Any) -> None:
    app = turbo.App()
    app.get("/", **{option: value})(lambda request: b"")
    with pytest.raises(ValueError, match=option):
        serve(app)


def test_batch_is_cancelled_once_when_its_time_is_over(serve: Serve, task_name: str, failures: Any) -> None:
    app = turbo.App()
    cancels: List[int] = []

    @app.get("/", batch=2, batch_wait_us=5_000_000, handler_timeout_ms=100)
    async def handler(requests: List[turbo.Request]) -> List[bytes]:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancels.append(len(requests))
            await asyncio.sleep(0.05)  # a second cancel would end this
            cancels.append(0)
            raise
        return [b""] * len(requests)

    client = serve(app, task=task_name, shards=1)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        text = b""
        while text.count(b"HTTP/1.1 504") < 2:
            text += s.recv(65536)
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert cancels == [2, 0]
    assert failures() == []


@pytest.mark.parametrize("options", [{}, {"threads": 2}], ids=["sync", "threads"])
def test_sync_handlers_see_that_the_client_has_gone(serve: Serve, options: Any) -> None:
    """The flag is set by the I/O loop, whatever the handler's thread does meanwhile."""
    app = turbo.App()
    begun, seen = threading.Event(), []

    @app.get("/", **options)
    def handler(request: turbo.Request) -> None:
        seen.append(request.is_disconnected)
        begun.set()
        end = time.monotonic() + 10
        while not request.is_disconnected and time.monotonic() < end:
            time.sleep(0.001)
        seen.append((request.is_disconnected, request.cancelled, request.timed_out))

    client = serve(app, io_threads=1)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert begun.wait(10)
        s.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: RST, since a FIN is only a half-close
    wait_until(lambda: len(seen) == 2)
    assert seen == [False, (True, True, False)]


def test_threads_handler_that_looks_can_end_itself(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/", threads=1, handler_timeout_ms=50)
    def handler(request: turbo.Request) -> bytes:
        while not request.timed_out:
            time.sleep(0.001)
        return b"late"

    client = serve(app)
    assert client.get("/").status == 504
    wait_until(lambda: client.app.shards[0].inflight == 0)


def test_a_stream_without_an_end_sees_the_stop(serve: Serve, loop_name: str) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        async def ticks() -> Any:
            while not request.shard.draining:
                yield b"tick"
                await asyncio.sleep(0.001)
            yield b"end"

        return turbo.StreamingResponse(ticks())

    client = serve(app, loop=loop_name)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        text = s.recv(65536)
        app.stop()
        while part := s.recv(65536):
            text += part
    assert text.endswith(b"end\r\n0\r\n\r\n")
    assert app.stats()["abandoned"] == 0
