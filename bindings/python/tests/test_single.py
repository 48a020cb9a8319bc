"""mode="single": one loop for all coroutines, posted there by workers. The end-to-end tests run in it as a whole, too."""

import asyncio
import sys
import threading
import time
from typing import Any, AsyncIterator, List, Set

import pytest
import turbo
from conftest import Client, Serve
from test_streaming import wait_until


def loops_app() -> turbo.App:
    app = turbo.App()

    @app.get("/async")
    async def where(request: turbo.Request) -> List[int]:
        await asyncio.sleep(0)
        return [id(asyncio.get_running_loop()), threading.get_ident(), request.shard.index]

    @app.get("/sync")
    def sync(request: turbo.Request) -> List[int]:
        return [threading.get_ident(), request.shard.index]

    @app.get("/fail")
    async def fail(request: turbo.Request) -> None:
        raise KeyError("lost")

    @app.get("/http")
    async def http(request: turbo.Request) -> None:
        raise turbo.HTTPError(418, "no coffee")

    @app.get("/never")
    async def never(request: turbo.Request) -> None:
        await asyncio.sleep(60)

    return app


def test_all_coroutines_run_on_one_loop_of_one_thread(serve: Serve, loop_name: str) -> None:
    client = serve(loops_app(), mode="single", loop=loop_name, shards=4)
    seen = [client.get("/async").body for _ in range(12)]
    places = [tuple(eval(body)) for body in seen]
    assert len({place[:2] for place in places}) == 1, "one loop, one thread"
    assert {place[2] for place in places} == {0, 1, 2, 3}, "posted by every worker in turn"


def test_sync_handlers_run_on_their_worker(serve: Serve) -> None:
    client = serve(loops_app(), mode="single", shards=4)
    places = [eval(client.get("/sync").body) for _ in range(12)]
    threads: Set[Any] = {tuple(place) for place in places}
    assert len(threads) == 4 and len({thread for thread, _ in threads}) == 4


def test_workers_are_140_unless_told(serve: Serve) -> None:
    client = serve(loops_app(), mode="single")
    assert len(client.app.shards) == 140
    assert client.get("/async").status == 200


def test_as_many_wait_as_there_are_workers(serve: Serve) -> None:
    app = turbo.App()
    inside: List[int] = []
    most: List[int] = []

    @app.get("/")
    async def wait(request: turbo.Request) -> bytes:
        inside.append(1)
        most.append(len(inside))
        await asyncio.sleep(0.05)
        inside.pop()
        return b""

    client = serve(app, mode="single", shards=3)
    clients = [client.socket() for _ in range(9)]
    for s in clients:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    for s in clients:
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
        s.close()
    assert max(most) == 3


def test_failures_are_answered_as_in_shards(serve: Serve, failures: Any) -> None:
    client = serve(loops_app(), mode="single", shards=2)
    assert client.get("/fail").status == 500
    assert client.get("/http").status == 418
    assert len(failures()) == 1 and "lost" in str(failures()[0].exc_info[1])


def test_streams_wait_for_room_without_holding_their_worker(serve: Serve) -> None:
    app = loops_app()
    sent: List[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for i in range(400):
            sent.append(i)
            yield bytes(65536)

    @app.get("/stream")
    async def stream(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(parts())

    client = serve(app, mode="single", shards=1)
    with client.socket() as s:
        s.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        wait_until(lambda: len(sent) > 5)
        before = -1
        while before != len(sent):  # until the buffers between us are full
            before = len(sent)
            time.sleep(0.1)
        assert len(sent) < 400, "it did not wait"
        assert client.get("/sync").status == 200, "the worker is free meanwhile"
        total = 0
        while True:
            data = s.recv(1 << 20)
            if not data:
                break
            total += len(data)
    assert total > 400 * 65536 and len(sent) == 400


def test_room_that_comes_while_it_is_asked_for_is_not_missed(serve: Serve) -> None:
    """The worker hears of it, and the loop's thread waits for it: a client that takes all at once makes both happen together."""
    app = loops_app()

    @app.get("/stream")
    async def stream(request: turbo.Request) -> turbo.StreamingResponse:
        return turbo.StreamingResponse(bytes(65536) for _ in range(100))

    client = serve(app, mode="single", shards=1, unsent_max_bytes=65536)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            assert len(client.get("/stream").body) == 100 * 65536
    finally:
        sys.setswitchinterval(before)


def test_drain_ends_at_its_time_out(serve: Serve) -> None:
    client = serve(loops_app(), mode="single", shards=2, drain_timeout_ms=200)
    with client.socket() as s:
        s.sendall(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: sum(shard.inflight for shard in client.app.shards) == 1)
        client.app.stop()
    assert client.app.stats()["abandoned"] == 1


def test_no_thread_is_left(serve: Serve) -> None:
    app, before = loops_app(), threading.active_count()
    for _ in range(3):
        with app.start(port=0, mode="single", shards=5):
            assert Client(app).get("/async").status == 200
        assert threading.active_count() == before


def test_what_cannot_be(serve: Serve) -> None:
    with pytest.raises(ValueError, match="mode: 'double' is not one of sharded, single"):
        serve(loops_app(), mode="double")

    def broken() -> asyncio.AbstractEventLoop:
        raise OSError("no loop")

    before = threading.active_count()
    with pytest.raises(OSError, match="no loop"):
        serve(loops_app(), mode="single", loop=broken)
    assert threading.active_count() == before
