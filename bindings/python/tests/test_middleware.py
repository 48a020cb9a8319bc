"""@app.middleware: functions around handlers."""

import asyncio
import inspect
from typing import Any, AsyncIterator, Awaitable, Dict, Iterator, List

import pytest
import turbo
from conftest import Serve
from test_hooks import mode  # noqa: F401 - a fixture


def app_with_handlers() -> turbo.App:
    app = turbo.App()

    @app.get("/sync")
    def sync(request: turbo.Request) -> str:
        return "sync"

    @app.get("/async")
    async def no_await(request: turbo.Request) -> str:
        return "async"

    @app.get("/awaits")
    async def awaits(request: turbo.Request) -> str:
        await asyncio.sleep(0.001)
        return "awaits"

    @app.get("/future")
    def future(request: turbo.Request) -> Any:
        async def later() -> str:
            return "future"

        return later()

    @app.get("/fail")
    def fail(request: turbo.Request) -> None:
        raise LookupError("in the handler")

    @app.get("/batch", batch=4)
    def batch(requests: List[turbo.Request]) -> List[str]:
        return ["batch"] * len(requests)

    return app


def sync_mark(app: turbo.App, name: str) -> None:
    @app.middleware
    def mark(request: turbo.Request, call_next: Any) -> Any:
        result = call_next(request)
        if inspect.isawaitable(result):
            return result
        return f"{name}({result})"


def async_mark(app: turbo.App, name: str) -> None:
    @app.middleware
    async def mark(request: turbo.Request, call_next: Any) -> str:
        result = await call_next(request)
        await asyncio.sleep(0)
        return f"{name}({result})"


PATHS = ["/sync", "/async", "/awaits", "/future"]


@pytest.mark.parametrize("path", PATHS)
def test_the_first_is_outermost(serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str, path: str) -> None:  # noqa: F811
    app = app_with_handlers()
    for name in "abc":
        async_mark(app, name)
    client = serve(app, loop=loop_name, task=task_name, **mode)
    assert client.get(path).body.decode() == f"a(b(c({path[1:]})))"


def test_sync_ones_around_sync_and_async_handlers(serve: Serve, mode: Dict[str, Any], task_name: str) -> None:  # noqa: F811
    app = app_with_handlers()
    sync_mark(app, "a")
    sync_mark(app, "b")
    client = serve(app, task=task_name, **mode)
    assert [client.get(path).body for path in PATHS] == [b"a(b(sync))", b"async", b"awaits", b"future"]


@pytest.mark.parametrize("path", PATHS)
def test_mixed(serve: Serve, task_name: str, path: str) -> None:
    app = app_with_handlers()
    async_mark(app, "a")
    sync_mark(app, "b")  # around c's coroutine, which it returns
    async_mark(app, "c")
    sync_mark(app, "d")
    inner = "d(sync)" if path == "/sync" else path[1:]
    assert serve(app, task=task_name).get(path).body.decode() == f"a(c({inner}))"


def test_a_sync_one_may_wrap_the_awaitable(serve: Serve) -> None:
    app = app_with_handlers()

    @app.middleware
    def loud(request: turbo.Request, call_next: Any) -> Any:
        async def finish(result: Awaitable[str]) -> str:
            return (await result).upper()

        result = call_next(request)
        return finish(result) if inspect.isawaitable(result) else result.upper()

    client = serve(app)
    assert [client.get(path).body for path in PATHS] == [b"SYNC", b"ASYNC", b"AWAITS", b"FUTURE"]


def test_an_answer_without_the_handler(serve: Serve) -> None:
    app = app_with_handlers()

    @app.middleware
    def guard(request: turbo.Request, call_next: Any) -> Any:
        if "key" not in request.query:
            raise turbo.HTTPError(403, "no key")
        return turbo.Response("mine", 201) if "mine" in request.query else call_next(request)

    client = serve(app)
    for path in PATHS:
        assert client.get(path).status == 403
        assert client.get(path + "?key&mine").status == 201
        assert client.get(path + "?key").body == path[1:].encode()


@pytest.mark.parametrize("is_async", [False, True])
def test_exceptions_pass_through(serve: Serve, is_async: bool, failures: Any) -> None:
    app, seen = app_with_handlers(), []
    if is_async:

        @app.middleware
        async def look(request: turbo.Request, call_next: Any) -> Any:
            try:
                return await call_next(request)
            except LookupError as error:
                seen.append(error)
                raise

    else:

        @app.middleware
        def look_sync(request: turbo.Request, call_next: Any) -> Any:
            try:
                return call_next(request)
            except LookupError as error:
                seen.append(error)
                raise

    @app.exception_handler(LookupError)
    def lookup(request: turbo.Request, exception: LookupError) -> str:
        seen.append(exception)
        return "answered"

    assert serve(app).get("/fail").body == b"answered"
    assert len(seen) == 2 and seen[0] is seen[1] and failures() == []


def test_what_call_next_returns_is_what_the_handler_returned(serve: Serve) -> None:
    app, seen = app_with_handlers(), []

    @app.get("/stream")
    def stream(request: turbo.Request) -> turbo.StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"part"

        return turbo.StreamingResponse(parts())

    @app.get("/dict")
    async def answer(request: turbo.Request) -> Dict[str, int]:
        return {"a": 1}

    @app.middleware
    async def look(request: turbo.Request, call_next: Any) -> Any:
        seen.append(await call_next(request))
        return seen[-1]

    client = serve(app)
    assert client.get("/stream").body == b"part" and client.get("/dict").body == b'{"a":1}'
    assert type(seen[0]) is turbo.StreamingResponse and seen[1] == {"a": 1}


def test_not_around_batches_and_the_librarys_own_answers(serve: Serve) -> None:
    app, seen = app_with_handlers(), []

    @app.middleware
    def look(request: turbo.Request, call_next: Any) -> Any:
        seen.append(request.path)
        return call_next(request)

    client = serve(app)
    assert client.get("/batch").body == b"batch" and client.get("/nowhere").status == 404
    assert seen == []


def test_around_handlers_of_the_pool(serve: Serve) -> None:
    import threading

    app, seen = turbo.App(), []

    @app.get("/pool", threads=2)
    def pool(request: turbo.Request) -> bytes:
        return b"pool"

    @app.middleware
    def look(request: turbo.Request, call_next: Any) -> Any:
        seen.append(threading.current_thread().name)
        return call_next(request)

    assert serve(app).get("/pool").body == b"pool" and seen[0].startswith("turbo-pool")

    @app.middleware
    async def look_async(request: turbo.Request, call_next: Any) -> Any:
        return await call_next(request)

    app.stop()
    with pytest.raises(ValueError, match="threads: /pool cannot have .*look_async"):
        app.start(port=0)


def test_routes_without(serve: Serve) -> None:
    app = app_with_handlers()
    async_mark(app, "a")

    @app.get("/pool", threads=2, middleware=False)
    def pool(request: turbo.Request) -> str:
        return "pool"

    @app.get("/plain", middleware=False)
    async def plain(request: turbo.Request) -> str:
        return "plain"

    client = serve(app)
    assert [client.get(path).body for path in ("/pool", "/plain", "/sync")] == [b"pool", b"plain", b"a(sync)"]


def test_batches_without_are_told_of(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = app_with_handlers()
    async_mark(app, "a")

    @app.post("/batch", batch=True)
    def batch(requests: List[turbo.Request]) -> List[str]:
        return ["batch"] * len(requests)

    app.post("/meant", batch=True, middleware=False)(batch)
    assert serve(app).post("/batch").body == b"batch"
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.split(" (")[0] for text in warnings] == [f"no middleware is around {method} /batch" for method in ("GET", "POST")]
    assert all(__file__ in text for text in warnings)
    with pytest.raises(ValueError, match="middleware: True is not possible for batch handlers"):
        app.post("/", batch=8, middleware=True)(batch)


def test_objects_as_middleware(serve: Serve) -> None:
    class Sync:
        def __call__(self, request: turbo.Request, call_next: Any) -> Any:
            return call_next(request)

    class Async:
        async def __call__(self, request: turbo.Request, call_next: Any) -> Any:
            return f"object({await call_next(request)})"

    app = app_with_handlers()
    app.middleware(Sync())
    app.middleware(Async())
    client = serve(app)
    assert [client.get(path).body for path in PATHS] == [f"object({path[1:]})".encode() for path in PATHS]


def test_cancelling_reaches_the_handler(serve: Serve) -> None:
    app, seen = turbo.App(), []

    @app.get("/")
    async def wait(request: turbo.Request) -> bytes:
        try:
            seen.append("begun")
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")
        return b""

    @app.middleware
    async def look(request: turbo.Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        finally:
            seen.append("middleware")

    from test_streaming import wait_until

    client = serve(app, drain_timeout_ms=50)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: seen == ["begun"])
        app.stop()
    assert seen == ["begun", "cancelled", "middleware"]


def test_what_cannot_be() -> None:
    app = turbo.App()
    with pytest.raises(TypeError, match="not callable: 7"):
        app.middleware(7)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="middleware: 0 is int, expected bool"):
        app.get("/", middleware=0)(print)
    with pytest.raises(TypeError, match="takes a request and call_next"):
        app.middleware(lambda request: None)
