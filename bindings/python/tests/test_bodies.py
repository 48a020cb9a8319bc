"""Bodies that are read while they come: parts, pace, ends good and bad."""

import asyncio
import socket
import struct
import threading
import time
from typing import Any, AsyncIterator, Callable, Dict, List

import pytest
import turbo
from conftest import Client, Serve, read_answer, wait_until

STREAMED: Dict[str, Any] = {"body": "streamed"}
HEAD = b"POST %s HTTP/1.1\r\nHost: h\r\n"


def send(client: Client, path: str, fields: bytes, body: bytes = b"") -> socket.socket:
    s = client.socket()
    s.sendall(HEAD % path.encode() + fields + b"\r\n\r\n" + body)
    return s


def reset(s: socket.socket) -> None:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def reading_app(**options: Any) -> turbo.App:
    app = turbo.App()

    @app.post("/stream", **{**STREAMED, **options})
    async def stream(request: turbo.Request) -> Dict[str, Any]:
        parts = [part async for part in request.stream()]
        assert all(isinstance(part, bytes) and part for part in parts)
        again = [part async for part in request.stream()]
        return {"parts": len(parts), "bytes": sum(map(len, parts)), "again": len(again), "t": request.trailers.items()}

    @app.post("/read", **{**STREAMED, **options})
    async def read(request: turbo.Request) -> bytes:
        body = await request.read()
        assert body is await request.read() and body is request.body and body.decode() == request.text
        assert bytes(memoryview(request)) == body
        assert [part async for part in request.stream()] == ([body] if body else [])
        return body[::-1]

    @app.post("/gathered")
    async def gathered(request: turbo.Request) -> bytes:
        for _ in range(2):
            assert [part async for part in request.stream()] == ([request.body] if request.body else [])
            assert await request.read() == request.body
        return request.body[::-1]

    return app


def test_all_of_it_on_every_loop_and_task(serve: Serve, loop_name: str, task_name: str) -> None:
    client = serve(reading_app(body_max_bytes=10_000_000), loop=loop_name, task=task_name)
    body = bytes(range(256)) * 20_000
    answer = client.post("/stream", body)
    assert answer.status == 200 and b'"bytes":5120000,"again":0' in answer.body
    text = b"abc" * 1_000_000
    assert client.post("/read", text).body == text[::-1]
    for path in ("/read", "/gathered"):
        assert client.post(path, b"abc").body == b"cba"
        assert client.post(path, b"").body == b""


def test_the_handler_begins_before_the_body(serve: Serve, loop_name: str, task_name: str) -> None:
    app, seen = turbo.App(), []

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        seen.append(b"")
        async for part in request.stream():
            seen.append(part)
        return b"done"

    with send(serve(app, loop=loop_name, task=task_name), "/", b"Content-Length: 6") as s:
        wait_until(lambda: len(seen) == 1)
        s.sendall(b"abc")
        wait_until(lambda: len(seen) == 2)
        s.sendall(b"def")
        assert s.recv(1000).endswith(b"done")
    assert seen == [b"", b"abc", b"def"]


@pytest.mark.parametrize("again", ["read", "stream", "both"])
def test_a_read_that_is_cancelled_loses_nothing(serve: Serve, again: str, task_name: str) -> None:
    app, tried = turbo.App(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> Any:
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(request.read(), 0.1)
        with pytest.raises(RuntimeError, match="request.read"):
            request.body
        tried.set()
        if again == "read":
            body = await request.read()
            assert body is request.body
            return body
        parts = []
        async for part in request.stream():
            parts.append(part)
            if again == "both":
                with pytest.raises(RuntimeError, match="taken already"):
                    await request.read()
        assert parts[0] == b"abc"
        return b"".join(parts)

    with send(serve(app, task=task_name), "/", b"Content-Length: 6", b"abc") as s:
        assert tried.wait(10)
        s.sendall(b"def")
        assert s.recv(1000).endswith(b"\r\n\r\nabcdef")


def test_no_read_is_whole_behind_a_stream(serve: Serve, task_name: str) -> None:
    """Also behind a read() that was cancelled before anything had come."""
    app, tried, taken = turbo.App(), threading.Event(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(request.read(), 0.1)
        tried.set()
        async for part in request.stream():
            assert part == b"abc"
            break
        taken.set()
        with pytest.raises(RuntimeError, match="taken already"):
            await request.read()
        with pytest.raises(RuntimeError, match="request.read"):
            request.body
        return b"|".join([part async for part in request.stream()])

    with send(serve(app, task=task_name), "/", b"Content-Length: 6") as s:
        assert tried.wait(10)
        s.sendall(b"abc")
        assert taken.wait(10)
        s.sendall(b"def")
        assert s.recv(1000).endswith(b"\r\n\r\ndef")


def test_no_read_is_whole_behind_one_that_a_stream_has_ended(serve: Serve) -> None:
    app, begun = turbo.App(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        reading = asyncio.ensure_future(request.read())
        await asyncio.sleep(0.1)
        parts = [await request.stream().__anext__()]
        begun.set()
        for read in (reading, request.read()):
            with pytest.raises(RuntimeError, match="taken already"):
                await read
        parts += [part async for part in request.stream()]
        return b"|".join(parts)

    with send(serve(app), "/", b"Content-Length: 6", b"abc") as s:
        assert begun.wait(10)
        s.sendall(b"def")
        assert s.recv(1000).endswith(b"\r\n\r\nabc|def")


def test_a_stream_that_begins_while_a_read_waits_has_every_part(serve: Serve) -> None:
    app, begun = turbo.App(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        reading = asyncio.ensure_future(request.read())
        await asyncio.sleep(0.1)
        stream = request.stream()
        parts = [await stream.__anext__()]
        begun.set()
        with pytest.raises(RuntimeError, match="taken already"):
            await reading
        parts += [part async for part in stream]
        return b"|".join(parts)

    with send(serve(app), "/", b"Content-Length: 6", b"abc") as s:
        assert begun.wait(10)
        s.sendall(b"def")
        assert s.recv(1000).endswith(b"\r\n\r\nabc|def")


def test_trailers_are_there_behind_the_body(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> Dict[str, Any]:
        before = request.trailers.items()
        body = await request.read()
        return {"before": before, "body": body.decode(), "behind": request.trailers.items()}

    with send(serve(app), "/", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\nSum: 7\r\n\r\n") as s:
        assert s.recv(1000).endswith(b'{"before":[],"body":"abc","behind":[["Sum","7"]]}')


def test_100_continue_is_sent_when_the_handler_reads(serve: Serve) -> None:
    app, go_on = turbo.App(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return await request.read()

    with send(serve(app), "/", b"Content-Length: 3\r\nExpect: 100-continue") as s:
        s.settimeout(0.1)
        with pytest.raises(socket.timeout):
            s.recv(1)
        s.settimeout(10)
        go_on.set()
        assert s.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"abc")
        assert s.recv(1000).endswith(b"\r\n\r\nabc")


def test_who_does_not_read_holds_up_the_client(serve: Serve) -> None:
    app, go_on = turbo.App(), threading.Event()

    @app.post("/", body="streamed", body_max_bytes=1 << 30, body_window_bytes=10_000)
    async def handler(request: turbo.Request) -> Dict[str, int]:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return {"bytes": sum([len(part) async for part in request.stream()])}

    client = serve(app)
    size = 32 << 20  # more than the sockets take
    with send(client, "/", b"Content-Length: %d" % size) as s:
        sent = 0
        s.settimeout(0.3)
        with pytest.raises(socket.timeout):
            while sent < size:
                sent += s.send(bytes(65536))
        assert client.app.stats()["bytes_in"] < 10_000 + 65536 + 200
        go_on.set()
        s.settimeout(10)
        s.sendall(bytes(size - sent))
        assert s.recv(1000).endswith(b'{"bytes":33554432}')


def test_the_attributes_say_what_to_use(serve: Serve) -> None:
    app, texts = turbo.App(), []

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> None:
        uses: List[Callable[[], Any]] = [lambda: request.body, lambda: request.text, request.json]
        for use in [*uses, lambda: memoryview(request)]:
            with pytest.raises(RuntimeError) as caught:
                use()
            texts.append(str(caught.value))
        async for _ in request.stream():
            break
        with pytest.raises(RuntimeError, match="taken"):
            await request.read()

    assert serve(app).post("/", b"abc").status == 204
    assert len(texts) == 4 and all("request.stream()" in text for text in texts)


def test_two_coroutines_cannot_wait_for_one_body(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> str:
        first = asyncio.ensure_future(request.read())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another coroutine"):
            await request._readable()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        parts = request.stream()
        try:  # one that was cancelled is in nobody's way
            await asyncio.wait_for(parts.__anext__(), 0.01)
        except asyncio.TimeoutError:
            pass
        return "ok"

    with send(serve(app), "/", b"Content-Length: 3") as s:
        assert b"200 OK" in s.recv(1000)


def test_another_thread_cannot_read(serve: Serve) -> None:
    app, raised = turbo.App(), []

    def elsewhere(request: turbo.Request) -> None:
        with pytest.raises(RuntimeError, match="on the loop of the request's shard") as caught:
            asyncio.run(request.read())
        raised.append(caught.value)

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        await asyncio.get_running_loop().run_in_executor(None, elsewhere, request)
        return await request.read()

    assert serve(app).post("/", b"whole").body == b"whole" and len(raised) == 1


@pytest.mark.parametrize(
    "options", [{"batch": True}, {"threads": 2}, {"batch": 4}, {}], ids=["batch", "threads", "batch 4", "sync"]
)
def test_what_cannot_wait_is_refused(options: Dict[str, Any]) -> None:
    app = turbo.App()
    with pytest.raises(ValueError, match="body"):
        app.post("/", **STREAMED, **options)(lambda request: None)


def test_bad_options_are_named(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/", body="streams")
    async def handler(request: turbo.Request) -> None: ...

    with pytest.raises(ValueError, match="body.*streams.*gathered"):
        serve(app)


def test_the_single_mode_refuses(serve: Serve) -> None:
    with pytest.raises(ValueError, match="single.*/stream"):
        serve(reading_app(), mode="single")


# -- ends --


BAD_BODIES = [
    (b"b\r\nhello world\r\n", 413),
    (b"3\r\nabc\r\nx\r\n", 400),
    (b"3\r\nabc\r\n3;x=" + b"y" * 2000, 431),
    (b"3\r\nabc\r\n0\r\nX: " + b"y" * 2000, 431),
    (b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 101, 431),
    (b"3\r\nabc\r\n", 408),
]


@pytest.mark.parametrize("body, status", BAD_BODIES)
@pytest.mark.parametrize("path", ["/stream", "/read"])
def test_a_bad_body_is_answered_for(serve: Serve, failures: Any, path: str, body: bytes, status: int) -> None:
    stall = {"body_stall_timeout_ms": 50} if status == 408 else {}
    client = serve(reading_app(body_max_bytes=10), head_max_bytes=1024, **stall)
    with send(client, path, b"Transfer-Encoding: chunked", body) as s:
        answer = read_answer(s)
    assert answer.startswith(b"HTTP/1.1 %d " % status) and b"Connection: close" in answer
    assert failures() == []


@pytest.mark.parametrize("body, status", BAD_BODIES[1:])
def test_the_error_names_what_it_may_be(serve: Serve, body: bytes, status: int) -> None:
    app = turbo.App()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> str:
        with pytest.raises(turbo.BodyError) as caught:
            await request.read()
        return str(caught.value)

    client = serve(app, head_max_bytes=1024, body_stall_timeout_ms=50)
    with send(client, "/", b"Transfer-Encoding: chunked", body) as s:
        answer = read_answer(s)
    assert all(word in answer for word in (b"malformed", b"trailers or chunk extensions are too large", b"stalled"))


def test_memory_for_bodies_is_bounded(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.post("/", body="streamed")
    async def handler(request: turbo.Request) -> None:
        await asyncio.sleep(0.05)
        await request.read()

    with send(serve(app, body_memory_max_bytes=1000), "/", b"Content-Length: 50000", bytes(50000)) as s:
        answer = read_answer(s)
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in answer
    assert failures() == []


def test_a_handler_may_take_a_bad_body_for_good(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/", body="streamed", body_max_bytes=5)
    async def handler(request: turbo.Request) -> str:
        got = b""
        try:
            async for part in request.stream():
                got += part
        except turbo.BodyError as error:
            return f"{got.decode()}, then: {error}"
        return "all"

    with send(serve(app), "/", b"Transfer-Encoding: chunked", b"3\r\nabc\r\n3\r\n") as s:
        answer = read_answer(s)
    assert answer.endswith(b"abc, then: the request body is longer than body_max_bytes")


def test_an_exception_handler_may_answer(serve: Serve) -> None:
    app = reading_app(body_max_bytes=5)

    @app.exception_handler(turbo.BodyError)
    async def handler(request: turbo.Request, error: turbo.BodyError) -> turbo.Response:
        return turbo.Response("mine", 422)

    with send(serve(app), "/read", b"Transfer-Encoding: chunked", b"6\r\n") as s:
        assert read_answer(s).startswith(b"HTTP/1.1 422 ")


def test_a_client_that_goes_cancels_who_waits(serve: Serve, failures: Any, loop_name: str, task_name: str) -> None:
    app, ends, begun = turbo.App(), [], threading.Semaphore(0)

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> None:
        try:
            asyncio.get_running_loop().call_soon(begun.release)  # when it waits, not before
            await request.read()
        except asyncio.CancelledError:
            ends.append("cancelled")
            with pytest.raises(turbo.ClientDisconnect) as caught:
                async for _ in request.stream():
                    pass
            assert isinstance(caught.value, ConnectionError)
            ends.append("disconnect")
            raise

    client = serve(app, loop=loop_name, task=task_name)
    s = send(client, "/", b"Content-Length: 9", b"abc")
    assert begun.acquire(timeout=10)
    reset(s)
    wait_until(lambda: len(ends) == 2)
    s = send(client, "/", b"Content-Length: 9", b"abc")
    assert begun.acquire(timeout=10)
    s.shutdown(socket.SHUT_WR)
    assert read_answer(s) == b""
    s.close()
    wait_until(lambda: len(ends) == 4)
    assert ends == ["cancelled", "disconnect"] * 2
    assert failures() == []
    stats = client.app.stats()
    assert stats["taken"] == stats["dropped"] == 2


def test_a_disconnect_that_nobody_takes_is_not_logged(serve: Serve, failures: Any) -> None:
    app, ends, begun = turbo.App(), [], threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> None:
        begun.set()
        while not request.cancelled:  # it does not suspend: so it is not cancelled
            time.sleep(0.001)
        ends.append(1)
        async for _ in request.stream():
            pass

    s = send(serve(app), "/", b"Content-Length: 9", b"abc")
    assert begun.wait(10)
    reset(s)
    wait_until(lambda: ends == [1])
    client = serve(reading_app())
    assert client.post("/read", b"ab").body == b"ba"
    assert failures() == []


@pytest.mark.parametrize("how", ["returns", "raises", "leaves"])
def test_an_early_answer_and_what_follows(serve: Serve, failures: Any, how: str, task_name: str) -> None:
    app = turbo.App()

    @app.post("/", body="streamed", body_window_bytes=1000, body_max_bytes=1 << 30)
    async def handler(request: turbo.Request) -> str:
        if how == "leaves":
            async for _ in request.stream():
                break
        if how == "raises":
            async for _ in request.stream():
                raise KeyError("in mid stream")
        return "early"

    @app.get("/next")
    async def following(request: turbo.Request) -> str:
        return "next"

    client = serve(app, task=task_name)
    status = b"500" if how == "raises" else b"200"
    with send(client, "/", b"Content-Length: 600", b"x" * 300) as s:
        answer = s.recv(1000)
        assert answer.startswith(b"HTTP/1.1 " + status) and b"Connection: close" not in answer
        s.sendall(b"x" * 300 + b"GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert read_answer(s).endswith(b"next")
    with send(client, "/", b"Content-Length: 6000000", b"x" * 300) as s:
        answer = read_answer(s)
        assert answer.startswith(b"HTTP/1.1 " + status) and b"Connection: close" in answer
    assert len(failures()) == (2 if how == "raises" else 0)


def test_a_task_that_reads_on_behind_the_answer_is_told(serve: Serve) -> None:
    app, ends, tasks = turbo.App(), [], []

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> str:
        async def read_on() -> None:
            try:
                await request.read()
            except turbo.BodyError as error:
                ends.append(str(error))

        tasks.append(asyncio.ensure_future(read_on()))
        await asyncio.sleep(0)
        return "early"

    with send(serve(app), "/", b"Content-Length: 9", b"abc") as s:
        assert b"early" in s.recv(1000)
        wait_until(lambda: len(ends) == 1)
    assert "answered before" in ends[0]


def test_an_overdue_handler_reads_no_more(serve: Serve, failures: Any, task_name: str) -> None:
    app, ends = turbo.App(), []

    @app.post("/", body="streamed", handler_timeout_ms=50)
    async def handler(request: turbo.Request) -> bytes:
        try:
            return await request.read()
        except asyncio.CancelledError:
            try:
                async for _ in request.stream():
                    pass
            except turbo.BodyError as error:
                ends.append(str(error))
            raise

    with send(serve(app, task=task_name), "/", b"Content-Length: 9", b"abc") as s:
        assert s.recv(1000).startswith(b"HTTP/1.1 504 ")
        wait_until(lambda: len(ends) == 1)
    assert "answered before" in ends[0] and failures() == []


def test_the_body_may_go_into_the_answer(serve: Serve, task_name: str) -> None:
    app = turbo.App()

    @app.post("/", body="streamed", body_max_bytes=1 << 30)
    async def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(request.stream())

    @app.post("/upper", body="streamed", body_max_bytes=1 << 30)
    async def upper(request: turbo.Request) -> turbo.StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            async for part in request.stream():
                yield part.upper()

        return turbo.StreamingResponse(content())

    client = serve(app, task=task_name)
    body = bytes(range(256)) * 4096
    assert client.post("/", body).body == body
    assert client.post("/upper", body).body == body.upper()


def test_a_drain_lets_a_body_end(serve: Serve) -> None:
    app, begun = turbo.App(), threading.Event()

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        begun.set()
        return await request.read()

    client = serve(app)
    with send(client, "/", b"Content-Length: 6", b"abc") as s:
        assert begun.wait(10)
        stopper = threading.Thread(target=app.stop)
        stopper.start()
        s.sendall(b"def")
        assert read_answer(s).endswith(b"\r\n\r\nabcdef")
        stopper.join(10)
    assert app.stats()["abandoned"] == 0


def test_a_drain_has_an_end(serve: Serve, failures: Any, task_name: str) -> None:
    app, ends = turbo.App(), []

    @app.post("/", **STREAMED)
    async def handler(request: turbo.Request) -> bytes:
        try:
            return await request.read()
        finally:
            ends.append(1)

    client = serve(app, drain_timeout_ms=50, task=task_name)
    with send(client, "/", b"Content-Length: 6", b"abc"):
        wait_until(lambda: app.stats()["taken"] == 1)
        wait_until(lambda: app.shards[0].inflight == 1)
        app.stop()
    assert ends == [1] and app.stats()["abandoned"] == 1 and failures() == []
