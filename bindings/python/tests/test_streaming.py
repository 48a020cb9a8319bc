"""Answers in parts: order, back-pressure, ends good and bad."""

import asyncio
import logging
import socket
import struct
import threading
import time
from typing import Any, AsyncIterator, Iterator, List

import pytest
import turbo
from conftest import Serve, read_answer, wait_until


def parts(*items: Any) -> turbo.App:
    app = turbo.App()

    @app.get("/sync")
    def sync(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(iter(items), content_type="text/x", headers={"X-A": "1"})

    @app.get("/async")
    async def coroutine(request: turbo.Request) -> turbo.StreamingResponse:
        async def content() -> AsyncIterator[Any]:
            for item in items:
                await asyncio.sleep(0)
                yield item

        return turbo.StreamingResponse(content(), content_type="text/x", headers={"X-A": "1"})

    return app


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_parts_of_every_kind_in_order(serve: Serve, path: str, task_name: str) -> None:
    answer = serve(parts(b"a", "é", bytearray(b"b"), memoryview(b"c"), b"", b"d" * 300_000), task=task_name).get(path)
    assert answer.status == 200 and answer.headers["content-type"] == "text/x" and answer.headers["x-a"] == "1"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"a\xc3\xa9bc" + b"d" * 300_000


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_no_parts(serve: Serve, path: str) -> None:
    assert serve(parts()).get(path).body == b""


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_a_part_that_is_no_bytes_cuts_the_connection(serve: Serve, failures: Any, path: str) -> None:
    with serve(parts(b"abc", 1)).socket() as s:
        s.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = read_answer(s)
    assert answer.endswith(b"3\r\nabc\r\n") and "not int" in str(failures()[0].exc_info[1])


def test_known_length(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse([b"ab", b"c"], headers={"Content-Length": "3"})

    answer = serve(app).get("/")
    assert answer.body == b"abc" and answer.headers["content-length"] == "3" and "transfer-encoding" not in answer.headers


def test_more_than_the_length_is_an_error(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse([b"ab", b"cd"], headers={"Content-Length": "3"})

    with serve(app).socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(s).endswith(b"ab")
    assert isinstance(failures()[0].exc_info[1], ValueError)


def test_head_asks_for_no_parts(serve: Serve) -> None:
    app = turbo.App()
    asked: List[int] = []

    def content() -> Iterator[bytes]:
        asked.append(1)
        yield b"x"

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(content())

    client = serve(app)
    assert client.ask("HEAD", "/").status == 200
    assert asked == [] and client.get("/").body == b"x"


class Content:
    """Content that says when it is closed; its parts are an asynchronous iterator's with kind "aclose"."""

    def __init__(self, closed: List[str], kind: str) -> None:
        async def aclose() -> None:
            await asyncio.sleep(0.001)
            closed.append(kind)

        if kind == "aclose":
            self.aclose = aclose
        self.close = lambda: closed.append("close")

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"x"])


@pytest.mark.parametrize("kind", ["close", "aclose"])
@pytest.mark.parametrize("mode", ["sharded", "single"])
def test_content_is_closed_whatever_becomes_of_the_answer(serve: Serve, kind: str, mode: str) -> None:
    app = turbo.App()
    closed: List[str] = []

    def answer(status: int = 200, **arguments: Any) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(Content(closed, kind), status, **arguments)

    app.get("/")(lambda request: answer())
    app.get("/204")(lambda request: answer(204))
    app.get("/304")(lambda request: answer(304))
    app.get("/refused")(lambda request: answer(headers={"a b": "x"}))
    app.get("/batch", batch=True)(lambda requests: [answer() for _ in requests])
    app.get("/pool", threads=1)(lambda request: answer(content_type="\n"))
    client = serve(app, mode=mode, shards=1)
    asked = [("GET", "/", 200), ("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/refused", 500)]
    for i, (method, path, status) in enumerate([*asked, ("GET", "/batch", 500), ("GET", "/pool", 500)]):
        assert client.ask(method, path).status == status
        wait_until(lambda: len(closed) > i)
        assert closed == [kind] * (i + 1)


def test_content_is_closed_when_the_time_of_its_handler_was_over(serve: Serve) -> None:
    app = turbo.App()
    closed: List[str] = []

    @app.get("/", handler_timeout_ms=50)
    async def handler(request: turbo.Request) -> turbo.StreamingResponse:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        return turbo.StreamingResponse(Content(closed, "close"))

    assert serve(app).get("/").status == 504
    wait_until(lambda: closed == ["close"])


def test_content_is_closed_when_the_client_left_before_it_was_begun(serve: Serve, task_name: str) -> None:
    app, begun = turbo.App(), threading.Event()
    closed: List[str] = []

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        begun.set()
        wait_until(lambda: request.is_disconnected)
        return turbo.StreamingResponse(Content(closed, "aclose"))

    with serve(app, shards=1, task=task_name).socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert begun.wait(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: closed == ["aclose"])


def test_content_that_fails_when_it_is_closed_is_logged(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    class Bad:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise LookupError("closing")

    app.get("/")(lambda request: turbo.StreamingResponse(Bad()))
    assert serve(app).ask("HEAD", "/").status == 200
    wait_until(lambda: failures() != [])
    assert str(failures()[0].exc_info[1]) == "closing"


def test_a_slow_client_is_waited_for(serve: Serve) -> None:
    app = turbo.App()
    made: List[int] = []

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        def content() -> Iterator[bytes]:
            for i in range(400):
                made.append(i)
                yield bytes(100_000)

        return turbo.StreamingResponse(content())

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        time.sleep(0.3)
        before = len(made)
        assert before < 200  # what the sockets' buffers take, and 256 KiB
        assert client.get("/nope").status == 404
        assert len(read_answer(s)) > 40_000_000
    assert len(made) == 400


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_client_that_leaves_ends_the_generator(serve: Serve, failures: Any, kind: str, task_name: str) -> None:
    app = turbo.App()
    closed: List[str] = []

    @app.get("/sync")
    def sync(request: turbo.Request) -> turbo.StreamingResponse:
        def content() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(100_000)
            finally:
                closed.append("sync")

        return turbo.StreamingResponse(content())

    @app.get("/async")
    def coroutine(request: turbo.Request) -> turbo.StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            try:
                while True:
                    await asyncio.sleep(0.001)
                    yield b"x"
            finally:
                closed.append("async")

        return turbo.StreamingResponse(content())

    client = serve(app, task=task_name)
    with client.socket() as s:
        s.sendall(b"GET /" + kind.encode() + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        s.recv(1000)
    wait_until(lambda: closed == [kind])
    assert failures() == []


def test_a_generator_that_fails_is_logged_and_cuts_the_connection(
    serve: Serve, failures: Any, caplog: pytest.LogCaptureFixture, task_name: str
) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            yield b"abc"
            await asyncio.sleep(0.01)
            raise RuntimeError("no more")

        return turbo.StreamingResponse(content())

    client = serve(app, task=task_name)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_answer(s).endswith(b"3\r\nabc\r\n")
    assert str(failures()[0].exc_info[1]) == "no more"
    app.stop()  # with which all is heard that the library says
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == ["handler failed: GET /"]


def test_one_part_is_no_content(serve: Serve, failures: Any) -> None:
    """It would be a stream of numbers."""
    app = turbo.App()
    app.get("/")(lambda request: turbo.StreamingResponse(b"abc"))
    assert serve(app).get("/").status == 500
    assert "use turbo.Response" in str(failures()[0].exc_info[1])


def test_a_batch_handler_cannot_stream(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.post("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [turbo.StreamingResponse([b"x"]) for _ in requests]

    assert serve(app).post("/").status == 500
    assert "batch" in str(failures()[0].exc_info[1])


def test_streams_of_many_small_parts_leave_room_for_others(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(b"x" for _ in range(20_000))

    assert len(serve(app).get("/").body) == 20_000
