"""@app.exception_handler: answers for what handlers raise."""

import asyncio
import threading
from typing import Any, AsyncIterator, Dict, List

import pytest
import turbo
from conftest import Serve, read_answer
from test_hooks import mode  # noqa: F401 - a fixture
from test_streaming import wait_until


class Missing(LookupError):
    """Raised by handlers."""


class VeryMissing(Missing, OSError):
    """The handler of Missing comes before that of OSError."""


KINDS: Dict[str, Any] = {
    "missing": Missing,
    "very": VeryMissing,
    "key": KeyError,
    "os": OSError,
    "value": ValueError,
    "type": TypeError,
    "http": lambda text: turbo.HTTPError(418, text),
}


def failing_app() -> turbo.App:
    app = turbo.App()

    def fail(request: turbo.Request) -> bytes:
        raise KINDS[request.query["kind"]]("why")

    app.get("/sync")(fail)
    app.get("/pool", threads=2)(fail)

    @app.get("/async")
    async def no_await(request: turbo.Request) -> bytes:
        return fail(request)

    @app.get("/awaits")
    async def awaits(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.001)
        return fail(request)

    @app.get("/batch", batch=4)
    def batch(requests: List[turbo.Request]) -> List[Any]:
        return [fail(request) for request in requests]

    @app.get("/batch-one", batch=4)
    async def batch_one(requests: List[turbo.Request]) -> List[Any]:
        await asyncio.sleep(0.001)
        return [KINDS[request.query["kind"]]("why") for request in requests]

    @app.get("/json")
    def bad(request: turbo.Request) -> Any:
        return request.json()

    @app.get("/no-answer")
    def no_answer(request: turbo.Request) -> Any:
        return object()

    @app.exception_handler(LookupError)
    def lookup(request: turbo.Request, exception: LookupError) -> Any:
        return turbo.Response(f"lookup {type(exception).__name__} {request.path}", 404, {"x-by": "lookup"})

    @app.exception_handler(Missing)
    async def missing(request: turbo.Request, exception: Missing) -> Any:
        return {"missing": str(exception)}

    @app.exception_handler(OSError)
    async def os_error(request: turbo.Request, exception: OSError) -> Any:
        await asyncio.sleep(0.001)
        return turbo.Response(b"os", 503)

    @app.exception_handler(turbo.HTTPError)
    def http(request: turbo.Request, exception: turbo.HTTPError) -> Any:
        return turbo.Response({"status": exception.status}, exception.status)

    @app.exception_handler(ValueError)
    def broken(request: turbo.Request, exception: ValueError) -> Any:
        raise RuntimeError("in the exception handler")

    return app


PATHS = ["/sync", "/pool", "/async", "/awaits", "/batch", "/batch-one"]


@pytest.mark.parametrize("path", PATHS)
def test_the_nearest_class_answers(
    serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str, path: str, failures: Any  # noqa: F811
) -> None:
    client = serve(failing_app(), loop=loop_name, task=task_name, **mode)

    def ask(kind: str) -> Any:
        answer = client.get(f"{path}?kind={kind}")
        return answer.status, answer.body

    assert ask("missing") == ask("very") == (200, b'{"missing":"why"}')
    assert ask("key") == (404, b"lookup KeyError " + path.encode())
    assert ask("os") == (503, b"os")
    assert ask("http") == (418, b'{"status":418}')
    assert failures() == []
    assert ask("type")[0] == 500 and len(failures()) == 1
    assert ask("value") == (500, b"Internal Server Error\n")
    record = failures()[1]
    assert "in the exception handler" in str(record.exc_info[1])
    assert isinstance(record.exc_info[1].__context__, ValueError)


def test_what_the_library_raises_for_handlers(serve: Serve, failures: Any) -> None:
    client = serve(failing_app())
    assert client.ask("GET", "/json", b"{").body == b'{"status":400}'
    assert client.get("/no-answer").status == 500 and len(failures()) == 1
    assert client.get("/nowhere").body != b'{"status":404}', "no exception was raised there"


def test_every_request_of_a_batch_gets_an_answer_of_its_own(serve: Serve, loop_name: str, task_name: str) -> None:
    app = turbo.App()

    @app.get("/{n}", batch=8, batch_wait_ms=200)
    async def batch(requests: List[turbo.Request]) -> List[bytes]:
        await asyncio.sleep(0.001)
        raise LookupError(len(requests))

    @app.exception_handler(LookupError)
    async def lookup(request: turbo.Request, exception: LookupError) -> str:
        await asyncio.sleep(0.001)
        return f"{request.path_params['n']} of {exception.args[0]};"

    client = serve(app, loop=loop_name, task=task_name)
    with client.socket() as s:
        s.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(8)))
        s.shutdown(1)
        answers = read_answer(s)
    assert [b"%d of 8;" % n in answers for n in range(8)] == [True] * 8


def test_the_default_by_raising_again(serve: Serve, failures: Any) -> None:
    app = failing_app()

    @app.exception_handler(TypeError)
    async def again(request: turbo.Request, exception: TypeError) -> Any:
        await asyncio.sleep(0)
        raise exception

    @app.exception_handler(turbo.HTTPError)
    def http(request: turbo.Request, exception: turbo.HTTPError) -> Any:
        raise exception

    @app.exception_handler(OSError)
    def other(request: turbo.Request, exception: OSError) -> Any:
        raise turbo.HTTPError(409, "other")

    client = serve(app)
    assert client.get("/sync?kind=http").body == b"why" and failures() == []
    assert client.get("/sync?kind=os").status == 409 and failures() == []
    assert client.get("/sync?kind=type").status == 500
    assert len(failures()) == 1 and isinstance(failures()[0].exc_info[1], TypeError)


@pytest.mark.parametrize("path", PATHS[:4])
def test_an_exception_handler_may_stream(serve: Serve, mode: Dict[str, Any], path: str) -> None:  # noqa: F811
    app = failing_app()

    @app.exception_handler(LookupError)
    def lookup(request: turbo.Request, exception: LookupError) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one "
            await asyncio.sleep(0.001)
            yield b"two"

        return turbo.StreamingResponse(parts(), 404)

    client = serve(app, **mode)
    answer = client.get(f"{path}?kind=key")
    assert (answer.status, answer.body) == (404, b"one two")


def test_streams_that_have_begun_are_no_exception_handlers_business(serve: Serve, failures: Any) -> None:
    app, called = turbo.App(), []

    @app.get("/")
    async def stream(request: turbo.Request) -> turbo.StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"one"
            raise LookupError("too late")

        return turbo.StreamingResponse(parts())

    @app.exception_handler(Exception)
    def anything(request: turbo.Request, exception: Exception) -> bytes:
        called.append(exception)
        return b""

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"one" in read_answer(s)
    assert called == [] and len(failures()) == 1


def test_cancelled_handlers_are_no_exception_handlers_business(serve: Serve) -> None:
    app, called, begun = turbo.App(), [], []

    @app.get("/")
    async def wait(request: turbo.Request) -> bytes:
        begun.append(1)
        await asyncio.sleep(60)
        return b""

    @app.exception_handler(Exception)
    def anything(request: turbo.Request, exception: Exception) -> bytes:
        called.append(exception)
        return b""

    client = serve(app, drain_timeout_ms=50)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: begun == [1])
        app.stop()
    assert called == []


def test_an_exception_handler_is_not_in_the_handlers_task(serve: Serve, loop_name: str, task_name: str) -> None:
    app = turbo.App()

    @app.get("/")
    async def fail(request: turbo.Request) -> bytes:
        raise LookupError

    @app.exception_handler(LookupError)
    def lookup(request: turbo.Request, exception: LookupError) -> str:
        return f"{asyncio.current_task()} {threading.current_thread().name}"

    client = serve(app, loop=loop_name, task=task_name)
    assert client.get("/").body == b"None turbo-shard-0"


def test_what_cannot_be() -> None:
    app = turbo.App()
    for wrong in (7, int, BaseException, asyncio.CancelledError):
        with pytest.raises(TypeError, match="below Exception"):
            app.exception_handler(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not callable"):
        app.exception_handler(KeyError)(7)  # type: ignore[type-var]
