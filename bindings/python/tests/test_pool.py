"""Routes with threads=: functions that block, on the threads of their shard's pool."""

import asyncio
import threading
import time
from typing import Any, Iterator, List

import pytest
import turbo
from conftest import Serve, read_answer
from test_streaming import wait_until


def pool_app() -> turbo.App:
    app = turbo.App()

    @app.get("/where", threads=2)
    def where(request: turbo.Request) -> str:
        return threading.current_thread().name

    @app.get("/shard")
    def shard(request: turbo.Request) -> str:
        return threading.current_thread().name

    @app.get("/json", threads=2)
    def json(request: turbo.Request) -> Any:
        return {"n": list(range(int(request.query.get("n", "3"))))}

    @app.get("/big", threads=2)
    def big(request: turbo.Request) -> bytes:
        return b"x" * 1_000_000

    @app.get("/fail", threads=2)
    def fail(request: turbo.Request) -> None:
        raise KeyError("lost")

    @app.get("/http", threads=2)
    def http(request: turbo.Request) -> None:
        raise turbo.HTTPError(418, "no coffee")

    @app.get("/nonsense", threads=2)
    def nonsense(request: turbo.Request) -> Any:
        return object()

    @app.get("/stream", threads=2)
    def stream(request: turbo.Request) -> turbo.StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield threading.current_thread().name.encode()
            yield b" made it"

        return turbo.StreamingResponse(parts())

    @app.get("/later", threads=2)
    def later(request: turbo.Request) -> Any:
        async def answer() -> str:
            await asyncio.sleep(0)
            return threading.current_thread().name

        return answer()

    @app.post("/echo", threads=2)
    def echo(request: turbo.Request) -> turbo.Response:
        return turbo.Response(request.body, 201, {"X-Path": request.path})

    return app


def test_handlers_run_on_the_pools_threads(serve: Serve, loop_name: str) -> None:
    client = serve(pool_app(), loop=loop_name, shards=1)
    assert client.get("/where").body.startswith(b"turbo-pool-0-")
    assert client.get("/shard").body == b"turbo-shard-0"
    assert client.app.shards[0].pool_threads == 2
    stats = client.app.shards[0].stats()
    assert (stats["pool_threads"], stats["pool_requests"]) == (2, 1)


def test_answers_of_every_kind(serve: Serve) -> None:
    client = serve(pool_app())
    assert client.get("/json").body == b'{"n":[0,1,2]}'
    assert len(client.get("/json?n=20000").body) > 100_000
    assert client.get("/big").body == b"x" * 1_000_000
    echo = client.post("/echo", b"body" * 10_000)
    assert (echo.status, echo.headers["x-path"], echo.body) == (201, "/echo", b"body" * 10_000)


def test_failures(serve: Serve, failures: Any) -> None:
    client = serve(pool_app())
    assert client.get("/fail").status == 500
    assert client.get("/http").status == 418 and client.get("/http").body == b"no coffee"
    assert client.get("/nonsense").status == 500
    assert [str(record.exc_info[1]) for record in failures()][0] == "'lost'"
    assert len(failures()) == 2


def test_what_needs_the_loop_goes_on_there(serve: Serve, loop_name: str, task_name: str) -> None:
    client = serve(pool_app(), loop=loop_name, task=task_name)
    assert client.get("/stream").body == b"turbo-shard-0 made it"
    assert client.get("/later").body == b"turbo-shard-0"


def test_both_in_mode_single(serve: Serve) -> None:
    client = serve(pool_app(), mode="single", shards=2)
    assert client.get("/where").body.startswith(b"turbo-pool-")
    assert client.get("/later").body == b"turbo-loop"
    assert client.get("/stream").body == b"turbo-loop made it"


def test_handlers_that_block_do_not_hold_up_the_shard(serve: Serve) -> None:
    app, go, inside = turbo.App(), threading.Event(), []  # type: turbo.App, threading.Event, List[int]

    @app.get("/block", threads=3)
    def block(request: turbo.Request) -> bytes:
        inside.append(1)
        assert go.wait(10)
        return b"done"

    @app.get("/")
    async def quick(request: turbo.Request) -> bytes:
        await asyncio.sleep(0)
        return b"quick"

    client = serve(app, shards=1)
    sockets = [client.socket() for _ in range(5)]
    for s in sockets:
        s.sendall(b"GET /block HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    wait_until(lambda: len(inside) == 3)
    assert client.get("/").body == b"quick"
    assert len(inside) == 3
    go.set()
    for s in sockets:
        assert read_answer(s).endswith(b"done")
        s.close()


def test_many_answers_at_once_are_each_their_own(serve: Serve) -> None:
    """Threads of the pool and the shard write JSON at the same time."""
    app = turbo.App()

    def same(request: turbo.Request) -> Any:
        return {"who": request.path_params["who"], "list": [request.path_params["who"]] * 50}

    app.get("/a/{who}", threads=4)(same)
    app.get("/b/{who}")(same)
    client = serve(app, shards=2)
    wrong: List[bytes] = []

    def ask(route: str, base: int) -> None:
        for i in range(60):
            who = str(base + i)
            body = client.get(f"/{route}/{who}").body
            if body.count(b'"' + who.encode() + b'"') != 51:
                wrong.append(body)

    threads = [threading.Thread(target=ask, args=("ab"[n % 2], n * 1000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_stop_waits_for_a_handler_that_blocks(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/", threads=1)
    def slow(request: turbo.Request) -> bytes:
        time.sleep(0.3)
        return b"slow"

    client, before = serve(app, shards=1), threading.active_count()
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].stats()["pool_busy"] == 1)
        client.app.stop()
        assert read_answer(s).endswith(b"slow")
    assert threading.active_count() == before - 2


def test_stop_from_a_thread_of_the_pool_only_begins(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/", threads=1)
    def end(request: turbo.Request) -> bytes:
        app.stop()
        return b"ends"

    client = serve(app)
    assert client.get("/").body == b"ends"
    app.stop()


def test_what_cannot_be(serve: Serve) -> None:
    app = turbo.App()

    async def coroutine(request: turbo.Request) -> None:
        pass

    with pytest.raises(ValueError, match="threads: not possible for coroutine functions"):
        app.get("/", threads=2)(coroutine)
    with pytest.raises(ValueError, match="threads: not possible"):
        app.post("/", threads=2, batch=8)(lambda requests: [])
    app.get("/", threads=0)(lambda request: b"")
    with pytest.raises(ValueError, match="threads: 0 is out of range, allowed are 1 to 1024"):
        serve(app)
