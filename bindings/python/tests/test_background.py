"""request.background(): calls after the answer."""

import asyncio
import contextvars
import socket
import struct
import threading
import time
import types
from typing import Any, AsyncIterator, Dict, Iterator, List

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_hooks import mode  # noqa: F401 - a fixture
from test_streaming import wait_until
from turbo.background import Background, Calls, Drain
from turbo.posting import Post

name: "contextvars.ContextVar[str]" = contextvars.ContextVar("name", default="nobody")


def noting_app() -> "tuple[turbo.App, List[Any]]":
    app, notes = turbo.App(), []

    def note(*args: Any, **kwargs: Any) -> None:
        notes.append((args, kwargs, name.get(), threading.current_thread().name))

    async def note_later(*args: Any) -> None:
        await asyncio.sleep(0.001)
        note(*args)

    def broken() -> None:
        raise LookupError("in the background")

    async def broken_later() -> None:
        await asyncio.sleep(0)
        raise LookupError("in the background")

    @app.get("/sync")
    def sync(request: turbo.Request) -> bytes:
        request.background(note, 1, two=2)
        request.background(note_later, 3)
        request.background(note, 4)
        return b"sync"

    @app.get("/async")
    async def no_await(request: turbo.Request) -> Dict[str, int]:
        name.set("async")
        request.background(note_later, request.path)
        return {"a": 1}

    @app.get("/awaits")
    async def awaits(request: turbo.Request) -> turbo.Response:
        name.set("awaits")
        await asyncio.sleep(0.001)
        request.background(note, request)
        return turbo.Response(b"awaits")

    @app.get("/pool", threads=2)
    def pool(request: turbo.Request) -> bytes:
        request.background(note, "pool")
        return b"pool"

    @app.get("/fail")
    def fail(request: turbo.Request) -> None:
        request.background(note, "failed")
        raise turbo.HTTPError(400, "bad")

    @app.get("/broken")
    def broken_call(request: turbo.Request) -> bytes:
        request.background(broken)
        request.background(broken_later)
        request.background(note, "after")
        return b"broken"

    @app.get("/stream")
    def stream(request: turbo.Request) -> turbo.StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"one"
            notes.append("part")
            yield b"two"

        request.background(note, "streamed")
        return turbo.StreamingResponse(parts())

    @app.post("/batch", batch=4)
    def batch(requests: List[turbo.Request]) -> List[bytes]:
        for request in requests:
            request.background(note, request.body)
        return [b""] * len(requests)

    return app, notes


def test_calls_are_made_in_order(serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, loop=loop_name, task=task_name, **mode)
    assert client.get("/sync").body == b"sync"
    wait_until(lambda: len(notes) == 3)
    assert [note[:2] for note in notes] == [((1,), {"two": 2}), ((3,), {}), ((4,), {})]
    thread = "turbo-loop" if "mode" in mode else "turbo-shard"
    assert all(note[3].startswith(thread) for note in notes)


@pytest.mark.parametrize("path", ["/async", "/awaits"])
def test_calls_of_coroutines_have_their_context(
    serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str, path: str  # noqa: F811
) -> None:
    app, notes = noting_app()
    client = serve(app, loop=loop_name, task=task_name, **mode)
    assert client.get(path).status == 200
    wait_until(lambda: len(notes) == 1)
    assert notes[0][2] == path[1:]


def test_the_loop_makes_calls_of_pool_handlers(serve: Serve, mode: Dict[str, Any]) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, **mode)
    assert client.get("/pool").body == b"pool"
    wait_until(lambda: len(notes) == 1)
    assert notes[0][0] == ("pool",) and not notes[0][3].startswith("turbo-pool")


def test_calls_are_made_whatever_the_answer_is(serve: Serve, mode: Dict[str, Any], failures: Any) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, **mode)
    assert client.get("/fail").status == 400
    wait_until(lambda: len(notes) == 1)
    assert notes[0][0] == ("failed",) and failures() == []


def test_failing_calls_are_logged_and_the_rest_is_made(serve: Serve, mode: Dict[str, Any], failures: Any) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, **mode)
    assert client.get("/broken").body == b"broken"
    wait_until(lambda: len(notes) == 1)
    assert len(failures()) == 2 and all("GET /broken" in record.getMessage() for record in failures())


def test_calls_of_streams_come_after_the_last_part(serve: Serve, mode: Dict[str, Any]) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, **mode)
    assert client.get("/stream").body == b"onetwo"
    wait_until(lambda: len(notes) == 2)
    assert notes[0] == "part" and notes[1][0] == ("streamed",)
    assert client.ask("HEAD", "/stream").body == b""
    wait_until(lambda: len(notes) == 3)


def test_calls_of_batches(serve: Serve, mode: Dict[str, Any]) -> None:  # noqa: F811
    app, notes = noting_app()
    client = serve(app, **mode)
    for body in (b"x", b"y"):
        assert client.post("/batch", body).status == 200
    wait_until(lambda: len(notes) == 2)
    assert [note[0] for note in notes] == [(b"x",), (b"y",)]


def test_the_answer_leaves_before_a_call_begins(serve: Serve, mode: Dict[str, Any], loop_name: str) -> None:  # noqa: F811
    """The call blocks the loop until the client has its answer."""
    app, outcome = turbo.App(), []
    got = {path: threading.Event() for path in ("/sync", "/awaits")}

    def block(path: str) -> None:
        outcome.append(got[path].wait(10))

    @app.get("/sync")
    def sync(request: turbo.Request) -> bytes:
        request.background(block, request.path)
        return b"answer"

    @app.get("/awaits")
    async def awaits(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.001)
        request.background(block, request.path)
        return b"answer"

    client = serve(app, loop=loop_name, **mode)
    for path in got:
        assert client.get(path).body == b"answer"
        got[path].set()
    wait_until(lambda: outcome == [True, True])


def test_a_client_that_goes_does_not_cancel_calls(serve: Serve) -> None:
    app, notes = turbo.App(), []

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        request.background(notes.append, "called")
        notes.append("begun")
        try:
            await asyncio.sleep(60)
        finally:
            notes.append("cancelled")
        return b""

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: notes == ["begun"])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with RST: it wants no answer
    wait_until(lambda: notes == ["begun", "cancelled", "called"])


def test_what_cannot_be(serve: Serve) -> None:
    app, kept, errors = turbo.App(), [], []

    @app.get("/")
    def handler(request: turbo.Request) -> bytes:
        kept.append(request)
        for wrong in ((), (7,)):
            try:
                request.background(*wrong)
            except TypeError as error:
                errors.append(str(error))
        return b""

    client = serve(app)
    client.get("/")
    assert errors == ["background() takes a function, and its arguments"] * 2
    with pytest.raises(RuntimeError, match="has been answered"):
        kept[0].background(print)


def test_threads_that_ask_at_once_leave_nothing_owed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find that the request has no calls yet, and make some; one of them is heard."""
    app, made = turbo.App(), []
    both = threading.Barrier(2)

    @app.get("/")
    def handler(request: turbo.Request) -> bytes:
        others = [threading.Thread(target=request.background, args=(made.append, i)) for i in range(2)]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()
        return b"ok"

    make = Background.calls

    def calls(self: Background) -> Calls:
        both.wait(10)
        return make(self)

    monkeypatch.setattr(Background, "calls", calls)
    client = serve(app)
    assert client.get("/").body == b"ok"
    wait_until(lambda: sorted(made) == [0, 1])
    begun = time.monotonic()
    client.app.stop()
    assert time.monotonic() - begun < 5, "the drain, which has 30 s, was waited for"


def test_calls_that_come_too_late_are_refused() -> None:
    post = Post(asyncio.new_event_loop())
    calls = Background(post, Drain(0)).calls()
    post.close()
    calls.begin(types.SimpleNamespace(method="GET", path="/", cancelled=False))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has been answered"):
        calls.add((print,), {})


def test_requests_with_calls_are_freed(serve: Serve) -> None:
    import gc
    import weakref

    app, references = turbo.App(), []

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        references.append(weakref.ref(request))
        request.background(lambda held: None, request)
        return b""

    client = serve(app)
    for _ in range(10):
        client.get("/")
    wait_until(lambda: gc.collect() >= 0 and [r() for r in references] == [None] * 10)


# -- the end --


def slow_app(seconds: float) -> "tuple[turbo.App, List[str]]":
    app, order = turbo.App(), []

    async def work() -> None:
        try:
            order.append("background begins")
            await asyncio.sleep(seconds)
            order.append("background ends")
        except asyncio.CancelledError:
            await asyncio.sleep(0.02)
            order.append("background cancelled")
            raise

    @app.get("/")
    def handler(request: turbo.Request) -> bytes:
        request.background(work)
        return b"answer"

    @app.get("/stubborn")
    async def stubborn(request: turbo.Request) -> bytes:
        try:
            order.append("handler begins")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)
            order.append("handler cancelled")
        return b""

    @app.on_start
    async def start(shard: turbo.Shard) -> None:
        async def poll() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                order.append("task cancelled")

        shard.state["task"] = asyncio.ensure_future(poll())
        await asyncio.sleep(0)

    @app.on_stop
    async def stop(shard: turbo.Shard) -> None:
        await asyncio.sleep(0.02)
        order.append("stop")

    @app.on_stop(per="process")
    async def process_stop() -> None:
        order.append("process stop")

    return app, order


ONE: List[Dict[str, Any]] = [{"shards": 1}, {"mode": "single", "shards": 1}]


@pytest.mark.parametrize("one", ONE, ids=["sharded", "single"])
def test_a_stop_waits_for_calls(serve: Serve, one: Dict[str, Any], loop_name: str, task_name: str) -> None:
    app, order = slow_app(0.2)
    client = serve(app, loop=loop_name, task=task_name, **one)
    assert client.get("/").body == b"answer"
    app.stop()
    assert order == ["background begins", "background ends", "stop", "process stop", "task cancelled"]


@pytest.mark.parametrize("one", ONE, ids=["sharded", "single"])
def test_a_stop_cancels_calls_at_the_end_of_the_drain(
    serve: Serve, one: Dict[str, Any], loop_name: str, task_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, order = slow_app(60)
    client = serve(app, loop=loop_name, task=task_name, drain_timeout_ms=100, **one)
    assert client.get("/").body == b"answer"
    wait_until(lambda: order == ["background begins"])
    with client.socket() as s:
        s.sendall(b"GET /stubborn HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: "handler begins" in order)
        begun = time.monotonic()
        app.stop()
        assert time.monotonic() - begun < 5
    last = ["handler cancelled", "background cancelled", "stop", "process stop", "task cancelled"]
    assert order == ["background begins", "handler begins", *last]
    assert "background calls of 1 requests are cancelled" in caplog.text


def test_an_aborted_stop_cancels_calls() -> None:
    from test_programs import Program
    import signal

    body = """
async def work():
    print("begun", flush=True)
    await asyncio.sleep(60)

@app.get("/work")
def handler(request):
    request.background(work)
    return b""

app.run(port=0)
"""
    import http.client

    with Program(body) as program:
        connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
        connection.request("GET", "/work")
        assert connection.getresponse().read() == b""
        connection.close()
        assert program.process.stdout is not None
        assert program.process.stdout.readline() == b"begun\n"
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)  # two signals that are pending at once are one
        assert program.process.poll() is None
        program.process.send_signal(signal.SIGTERM)
        code, errors = program.end()
    assert code == 0 and "background calls of 1 requests are cancelled" in errors


def test_calls_of_requests_cancelled_by_the_stop_are_dropped(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app, notes = turbo.App(), []

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        request.background(notes.append, "called")
        notes.append("begun")
        await asyncio.sleep(60)
        return b""

    client = serve(app, drain_timeout_ms=50)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: notes == ["begun"])
        app.stop()
    assert notes == ["begun"] and "background calls dropped, as their request was given up: GET /" in caplog.text
