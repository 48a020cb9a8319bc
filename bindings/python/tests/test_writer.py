"""Answers that handlers write themselves, trailer fields, server-sent events."""

import asyncio
import dataclasses
import json
import socket
import threading
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest
import turbo
from conftest import Serve, read_answer

GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def serve_one(serve: Serve, handler: Callable[..., Any], options: Any = None, **settings: Any) -> Any:
    app = turbo.App()
    app.get("/", **(options or {}))(handler)
    return serve(app, **settings)


def ask(client: Any, text: bytes = GET) -> bytes:
    with client.socket() as s:
        s.sendall(text)
        return bytes(read_answer(s))


# -- request.respond() --


def test_a_handler_writes(serve: Serve, task_name: str, loop_name: str) -> None:
    async def handler(request: turbo.Request) -> None:
        response = request.respond(201, {"X-A": "1"}, "text/x")
        assert isinstance(response, turbo.ResponseWriter)
        for part in (b"a", "\u00e9", bytearray(b"b"), memoryview(b"c"), b"", b"d" * 300_000):
            await response.write(part)
            await asyncio.sleep(0)

    answer = serve_one(serve, handler, task=task_name, loop=loop_name).get("/")
    assert (answer.status, answer.headers["x-a"], answer.headers["content-type"]) == (201, "1", "text/x")
    assert answer.body == b"a\xc3\xa9bc" + b"d" * 300_000


def test_fields_come_before_the_first_part(serve: Serve) -> None:
    go_on = threading.Event()

    async def handler(request: turbo.Request) -> None:
        response = request.respond(content_type="text/x")
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        await response.write(b"late")

    with serve_one(serve, handler).socket() as s:
        s.sendall(GET)
        assert s.recv(65536).startswith(b"HTTP/1.1 200 ")
        go_on.set()
        assert read_answer(s).endswith(b"4\r\nlate\r\n0\r\n\r\n")


def test_a_sync_handler_may_begin_one_too(serve: Serve) -> None:
    def handler(request: turbo.Request) -> None:
        request.respond(202).add_trailer("X-Sum", "1")

    assert ask(serve_one(serve, handler)).endswith(b"\r\n\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_write_waits_for_a_slow_client(serve: Serve, task_name: str) -> None:
    written: List[int] = []

    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        for i in range(400):
            await response.write(bytes(100_000))
            written.append(i)

    client = serve_one(serve, handler, task=task_name)
    with client.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(GET)
        assert s.recv(1)
        before = -1
        while len(written) != before:  # until it stands still
            before = len(written)
            assert client.get("/nope").status == 404
            threading.Event().wait(0.1)
        assert len(written) < 200  # what the sockets' buffers take, and 256 KiB
        assert len(read_answer(s)) > 40_000_000
    assert len(written) == 400


def standstill(written: List[Any]) -> None:
    """Wait until nothing more is written."""
    before = -1
    while len(written) != before:
        before = len(written)
        threading.Event().wait(0.1)


def test_several_coroutines_write(serve: Serve, task_name: str, loop_name: str) -> None:
    """Parts of 4 bytes that say whose they are, many at a time: more of each than the sockets hold."""
    written: List[int] = []

    async def handler(request: turbo.Request) -> None:
        response = request.respond()

        async def write(number: int) -> None:
            for i in range(60):
                await response.write((number * 1000 + i).to_bytes(4, "big") * 25_000)
                written.append(number)

        await asyncio.gather(*(write(number) for number in range(3)))

    with serve_one(serve, handler, task=task_name, loop=loop_name).socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(GET.replace(b"1.1", b"1.0"))  # no chunks
        assert s.recv(1)
        standstill(written)
        assert len(written) < 180
        body = read_answer(s).partition(b"\r\n\r\n")[2]
    parts = [body[i : i + 100_000] for i in range(0, len(body), 100_000)]
    assert all(part == part[:4] * 25_000 for part in parts)
    numbers = [int.from_bytes(part[:4], "big") for part in parts]
    for number in range(3):
        assert [n for n in numbers if n // 1000 == number] == [number * 1000 + i for i in range(60)]


def test_a_writer_that_is_cancelled_leaves_the_others(serve: Serve, task_name: str) -> None:
    part = b"x" * 100_000
    sent: List[Any] = []
    go_on = threading.Event()

    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        waiting: List["asyncio.Future[None]"] = []
        while len(waiting) < 4:
            waiting.append(asyncio.ensure_future(response.write(part)))
            await asyncio.wait(waiting, timeout=0.1)
            sent.extend(one for one in waiting if one.done())
            waiting = [one for one in waiting if not one.done()]
        for one in waiting[:2]:
            one.cancel()
        await asyncio.wait(waiting[:2])
        assert [one.cancelled() for one in waiting] == [True, True, False, False]
        go_on.set()
        sent.extend(waiting[2:])
        await asyncio.gather(*waiting[2:])

    with serve_one(serve, handler, task=task_name).socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(GET.replace(b"1.1", b"1.0"))
        assert go_on.wait(30)
        assert read_answer(s).partition(b"\r\n\r\n")[2] == part * len(sent)


def test_who_still_writes_when_the_handler_returns_is_told(serve: Serve) -> None:
    told: List[Any] = []
    over = threading.Event()

    async def handler(request: turbo.Request) -> None:
        response = request.respond()

        async def fill() -> None:
            try:
                while True:
                    await response.write(b"x" * 100_000)
            except Exception as error:
                told.append(error)
            over.set()

        request.shard.state["tasks"] = [asyncio.ensure_future(fill()) for _ in range(2)]
        await asyncio.sleep(0.2)

    with serve_one(serve, handler).socket() as s:
        s.sendall(GET)
        assert read_answer(s).endswith(b"0\r\n\r\n") and over.wait(10)
    assert isinstance(told[0], RuntimeError)


def test_writing_much_lets_others_work(serve: Serve) -> None:
    other = threading.Event()
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        while not other.is_set():
            await response.write(b"")

    @app.get("/other")
    async def set_other(request: turbo.Request) -> bytes:
        other.set()
        return b""

    client = serve(app)
    with client.socket() as s:
        s.sendall(GET)
        assert s.recv(1)
        assert client.get("/other").status == 200
        assert read_answer(s).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("task", ["turbo", "stock"])
def test_a_client_that_leaves_ends_the_handler(serve: Serve, failures: Any, task: str) -> None:
    over = threading.Event()
    seen: List[str] = []

    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        try:
            while True:
                await response.write(bytes(100_000))
        except (asyncio.CancelledError, ConnectionError) as error:
            seen.append(type(error).__name__)
            raise
        finally:
            over.set()

    with serve_one(serve, handler, task=task).socket() as s:
        s.sendall(GET)
        assert s.recv(1)
    assert over.wait(10) and seen[0] in ("CancelledError", "ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError")
    assert failures() == []


@pytest.mark.parametrize("suspends", [False, True])
def test_an_exception_cuts_the_answer_off(serve: Serve, failures: Any, suspends: bool) -> None:
    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        await response.write(b"abc")
        if suspends:
            await asyncio.sleep(0.001)
        raise LookupError("in the middle")

    assert ask(serve_one(serve, handler)).endswith(b"3\r\nabc\r\n")
    assert isinstance(failures()[0].exc_info[1], LookupError)


def test_an_exception_handler_is_not_asked_when_the_answer_has_begun(serve: Serve, failures: Any) -> None:
    asked: List[Exception] = []
    app = turbo.App()

    @app.exception_handler(LookupError)
    def answer(request: turbo.Request, error: Exception) -> bytes:
        asked.append(error)
        return b"handled"

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        await request.respond().write(b"abc")
        raise LookupError("in the middle")

    assert ask(serve(app)).endswith(b"3\r\nabc\r\n")
    assert asked == [] and len(failures()) == 1


def test_an_exception_handler_may_write(serve: Serve) -> None:
    app = turbo.App()

    @app.exception_handler(LookupError)
    async def answer(request: turbo.Request, error: Exception) -> None:
        await request.respond(404).write(str(error))

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        raise LookupError("not here")

    answer_ = serve(app).get("/")
    assert (answer_.status, answer_.body) == (404, b"not here")


@pytest.mark.parametrize("result", [b"more", turbo.Response(b"more"), turbo.StreamingResponse([b"more"])], ids=repr)
def test_a_result_besides_is_a_mistake(serve: Serve, failures: Any, result: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        await request.respond().write(b"abc")
        return result

    assert ask(serve_one(serve, handler)).endswith(b"3\r\nabc\r\n")
    assert "returns None" in str(failures()[0].exc_info[1])


def test_only_one_answer(serve: Serve) -> None:
    seen: List[Exception] = []

    async def handler(request: turbo.Request) -> None:
        response = request.respond()
        with pytest.raises(RuntimeError) as caught:
            request.respond()
        seen.append(caught.value)
        await response.write(b"ok")

    assert serve_one(serve, handler).get("/").body == b"ok" and len(seen) == 1


def test_after_the_end_nothing_is_written(serve: Serve) -> None:
    kept: List[turbo.ResponseWriter] = []
    seen: List[Exception] = []
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        kept.append(request.respond())

    @app.get("/again")
    async def again(request: turbo.Request) -> bytes:
        for call in (lambda: kept[0].write(b"x").send(None), lambda: kept[0].add_trailer("X", "1")):
            with pytest.raises(RuntimeError) as caught:
                call()
            seen.append(caught.value)
        return b""

    client = serve(app)
    assert client.get("/").body == b"" and client.get("/again").status == 200 and len(seen) == 2


def test_known_length(serve: Serve) -> None:
    seen: List[Exception] = []

    async def handler(request: turbo.Request) -> None:
        response = request.respond(headers={"Content-Length": "3"})
        await response.write(b"abc")
        with pytest.raises(ValueError) as caught:
            await response.write(b"d")
        seen.append(caught.value)

    answer = serve_one(serve, handler).get("/")
    assert answer.body == b"abc" and "transfer-encoding" not in answer.headers and len(seen) == 1


def test_less_than_the_length_is_cut_off(serve: Serve) -> None:
    async def handler(request: turbo.Request) -> None:
        await request.respond(headers={"Content-Length": "5"}).write(b"abc")

    assert ask(serve_one(serve, handler), GET.replace(b"Connection: close\r\n", b"")).endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize("arguments", [{"status": 199}, {"status": 600}, {"headers": {"a b": "x"}}, {"content_type": "a\n"}])
def test_bad_heads_are_refused_and_another_answer_is_possible(serve: Serve, arguments: Any) -> None:
    async def handler(request: turbo.Request) -> bytes:
        with pytest.raises(ValueError):
            request.respond(**arguments)
        return b"still"

    assert serve_one(serve, handler).get("/").body == b"still"


@pytest.mark.parametrize("status, body", [(204, b""), (304, b""), (200, b"part")])
def test_head_and_statuses_without_a_body(serve: Serve, status: int, body: bytes) -> None:
    async def handler(request: turbo.Request) -> None:
        response = request.respond(status)
        for _ in range(100):
            await response.write(bytes(100_000) if not body else body)

    client = serve_one(serve, handler)
    assert client.get("/").body == body * 100
    head = client.ask("HEAD", "/")
    assert (head.status, head.body) == (status, b"")


def test_where_it_is_not_possible(serve: Serve) -> None:
    seen: List[str] = []
    app = turbo.App()

    def begin(request: turbo.Request) -> bytes:
        with pytest.raises(RuntimeError) as caught:
            request.respond()
        seen.append(str(caught.value))
        return b"ok"

    @app.get("/batch", batch=True)
    def batch(requests: List[turbo.Request]) -> List[bytes]:
        return [begin(request) for request in requests]

    app.get("/pool", threads=1)(begin)
    app.get("/single")(begin)
    client = serve(app)
    assert client.get("/batch").body == b"ok" and client.get("/pool").body == b"ok"
    client.app.stop()
    assert serve(app, mode="single", shards=2).get("/single").body == b"ok"
    assert ["batch" in seen[0], "thread" in seen[1], "single" in seen[2]] == [True] * 3


def test_background_calls_come_after_it(serve: Serve) -> None:
    order: List[str] = []
    done = threading.Event()

    def after() -> None:
        order.append("after")
        done.set()

    async def handler(request: turbo.Request) -> None:
        request.background(after)
        response = request.respond()
        await asyncio.sleep(0.001)
        await response.write(b"x")
        order.append("written")

    assert serve_one(serve, handler).get("/").body == b"x"
    assert done.wait(10) and order == ["written", "after"]


# -- trailers --


@pytest.mark.parametrize(
    "trailers", [{"X-Sum": "7"}, [("X-Sum", b"7")], lambda: {"X-Sum": "7"}, lambda: [(b"X-Sum", "7")]], ids=repr
)
def test_trailers_of_a_streaming_response(serve: Serve, trailers: Any) -> None:
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse([b"abc"], headers={"Trailer": "X-Sum"}, trailers=trailers)

    answer = ask(serve_one(serve, handler))
    assert b"\r\nTrailer: X-Sum\r\n" in answer and answer.endswith(b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")


def test_a_function_makes_them_when_the_parts_are_sent(serve: Serve) -> None:
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        total: List[int] = []

        def content() -> Iterator[bytes]:
            for i in range(3):
                total.append(i)
                yield b"x"

        return turbo.StreamingResponse(content(), trailers=lambda: {"X-Count": str(len(total))})

    assert ask(serve_one(serve, handler)).endswith(b"0\r\nX-Count: 3\r\n\r\n")


@pytest.mark.parametrize("trailers", [{"Content-Length": "1"}, {"a b": "1"}, {"X": "1\r\n"}, {"X": 1}, [("X",)], 5])
def test_bad_trailers_cut_the_answer_off(serve: Serve, failures: Any, trailers: Any) -> None:
    def handler(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse([b"abc"], trailers=trailers)

    assert ask(serve_one(serve, handler)).endswith(b"3\r\nabc\r\n")
    assert len(failures()) == 1


# -- server-sent events --


@pytest.mark.parametrize(
    "event, text",
    [
        (turbo.Event("a"), "data: a\n\n"),
        (turbo.Event(""), "data: \n\n"),
        (turbo.Event("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (turbo.Event({"a": [1, "\u00e9\n"]}), 'data: {"a":[1,"\u00e9\\n"]}\n\n'),
        (turbo.Event({"a": float("nan"), "b": float("inf")}), 'data: {"a":null,"b":null}\n\n'),
        (turbo.Event("a", event="tick", id="7", retry=100), "event: tick\nid: 7\nretry: 100\ndata: a\n\n"),
        (turbo.Event("\u00e9"), "data: \u00e9\n\n"),
    ],
)
def test_an_event_as_it_is_sent(event: turbo.Event, text: str) -> None:
    assert event.encode() == text.encode()


@pytest.mark.parametrize(
    "arguments", [{"event": "a\nb"}, {"id": "a\r"}, {"id": "a\0"}, {"retry": -1}, {"retry": "1"}, {"retry": True}]
)
def test_what_would_break_the_stream_is_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        turbo.Event("x", **arguments)


@pytest.mark.parametrize("name", ["event", "id"])
def test_what_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}: 5 is int, expected str"):
        turbo.Event("x", **{name: 5})


@pytest.mark.parametrize("name", ["data", "event", "id", "retry"])
def test_an_event_stays_as_it_was_checked(name: str) -> None:
    event = turbo.Event("x", id="1")
    with pytest.raises(AttributeError):
        setattr(event, name, "1\ndata: evil")
    assert event.encode() == b"id: 1\ndata: x\n\n"
    assert dataclasses.replace(event, id="2").encode() == b"id: 2\ndata: x\n\n"


def test_events(serve: Serve, task_name: str, loop_name: str) -> None:
    async def ticks() -> AsyncIterator[Any]:
        yield "one"
        await asyncio.sleep(0.001)
        yield {"n": 2}
        yield turbo.Event("three", id="3")

    async def handler(request: turbo.Request) -> turbo.EventStream:
        return turbo.EventStream(ticks())

    answer = serve_one(serve, handler, task=task_name, loop=loop_name).get("/")
    assert answer.headers["content-type"] == "text/event-stream" and answer.headers["cache-control"] == "no-store"
    assert answer.body == b'data: one\n\ndata: {"n":2}\n\nid: 3\ndata: three\n\n'


def test_pings_while_there_is_nothing_and_the_step_goes_on(serve: Serve) -> None:
    cancelled: List[bool] = []

    async def slow() -> AsyncIterator[str]:
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        yield "late"

    def handler(request: turbo.Request) -> turbo.EventStream:
        return turbo.EventStream(slow(), ping=0.01, headers=[(b"cache-control", "private")])

    answer = serve_one(serve, handler).get("/")
    assert answer.body.startswith(b": ping\n\n: ping\n\n") and answer.body.endswith(b"data: late\n\n")
    assert cancelled == [] and answer.headers["cache-control"] == "private"


@pytest.mark.parametrize("ping", [0.01, None])
def test_a_client_that_leaves_ends_the_events(serve: Serve, failures: Any, ping: Any) -> None:
    over = threading.Event()
    begun = threading.Event()

    async def forever() -> AsyncIterator[str]:
        try:
            yield "first"
            begun.set()
            await asyncio.sleep(3600)
        finally:
            over.set()

    def handler(request: turbo.Request) -> turbo.EventStream:
        return turbo.EventStream(forever(), ping=ping)

    with serve_one(serve, handler).socket() as s:
        s.sendall(GET)
        assert s.recv(1) and begun.wait(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert over.wait(10)
    assert failures() == []


def test_events_that_are_not_asked_for_are_closed(serve: Serve) -> None:
    closed = threading.Event()

    class Events:
        """As a subscription would: it is there before the first event is asked for."""

        def __aiter__(self) -> "Events":
            return self

        async def __anext__(self) -> str:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.set()

    client = serve_one(serve, lambda request: turbo.EventStream(Events()))
    assert client.ask("HEAD", "/").status == 200 and closed.wait(10)
    closed.clear()
    assert client.get("/").body == b"" and closed.wait(10)


def test_an_exception_ends_the_events(serve: Serve, failures: Any) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "first"
        raise LookupError("no more")

    def handler(request: turbo.Request) -> turbo.EventStream:
        return turbo.EventStream(broken())

    assert ask(serve_one(serve, handler)).endswith(b"data: first\n\n\r\n")
    assert isinstance(failures()[0].exc_info[1], LookupError)


def test_a_browser_that_comes_again_says_where_it_was(serve: Serve) -> None:
    async def after(last: int) -> AsyncIterator[turbo.Event]:
        for i in range(last + 1, last + 3):
            yield turbo.Event({"n": i}, id=str(i))

    def handler(request: turbo.Request) -> turbo.EventStream:
        return turbo.EventStream(after(int(request.headers.get("Last-Event-ID", "0"))))

    client = serve_one(serve, handler)
    body = client.get("/", Last_Event_ID="5").body.decode()
    assert [json.loads(line[6:])["n"] for line in body.splitlines() if line.startswith("data: ")] == [6, 7]


@pytest.mark.parametrize("arguments, kind", [((["a"],), TypeError), ((None,), TypeError)])
def test_what_gives_no_events(arguments: Any, kind: Any) -> None:
    with pytest.raises(kind):
        turbo.EventStream(*arguments)


def test_a_ping_takes_time() -> None:
    async def nothing() -> AsyncIterator[str]:
        return
        yield ""

    with pytest.raises(ValueError, match="ping"):
        turbo.EventStream(nothing(), ping=0)
