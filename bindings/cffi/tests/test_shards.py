"""Executors of Python's, driven shards, posted functions and timers."""

import asyncio
import selectors
import socket
import struct
import threading
from typing import Any, List

import pytest
import turbo_cffi
from conftest import DEADLINE, Client, Serve
from turbo_cffi import Executor, Request, RouteOptions, Server, Shard, lib


class Driven(Executor):
    driven = True

    def __init__(self) -> None:
        self.said: List[Any] = []

    def start_shard(self, shard: Shard) -> None:
        self.said.append(("start", shard.index))

    def batch(self, shard: Shard, requests: List[Request]) -> None:
        self.said.append(("batch", len(requests), threading.current_thread().name))
        shard.run(requests)

    def stop_shard(self, shard: Shard) -> None:
        self.said.append(("stop", shard.index))


@pytest.mark.parametrize("io_threads", [0, 1])
def test_driven_shards_in_python_threads(serve: Serve, io_threads: int) -> None:
    executor = Driven()
    server = Server(shards=2, io_threads=io_threads, placement="round_robin")
    server.set_executor(executor)
    server.route("GET", "/", lambda request: request.reply(200, threading.current_thread().name))
    client = serve(server)
    threads = server.drive_in_threads()
    names = {client.get("/").body for _ in range(8)}
    assert names <= {b"turbo-driven-0", b"turbo-driven-1"} and (io_threads == 0 or len(names) == 2)
    with pytest.raises(turbo_cffi.Error) as caught:
        server.shards[0].poll()
    assert caught.value.code == lib.TURBO_ESTATE, "the shard is another thread's"
    server.stop()
    server.wait()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert sorted(executor.said[:2]) == [("start", 0), ("start", 1)]
    assert sorted(executor.said[-2:]) == [("stop", 0), ("stop", 1)]
    assert sum(entry[1] for entry in executor.said if entry[0] == "batch") == 8


class WithPool(Driven):
    hosts_pool = True


@pytest.mark.parametrize("hosted", [True, False])
def test_pool_of_the_hosts_threads_or_of_the_librarys(serve: Serve, hosted: bool) -> None:
    server = Server(shards=1)
    server.set_executor(WithPool() if hosted else Driven())
    server.route("GET", "/", lambda request: request.reply(200, threading.current_thread().name), RouteOptions(threads=2))
    client = serve(server)
    shard = server.shards[0]
    assert shard.pool_threads == 2
    threads = server.drive_in_threads()
    if hosted:
        threads += [threading.Thread(target=shard.run_pool, name=f"lent-{i}", daemon=True) for i in range(2)]
        for thread in threads[1:]:
            thread.start()
    names = {client.get("/").body.decode() for _ in range(6)}
    assert all(name.startswith("lent-" if hosted else "Dummy") for name in names), names
    assert shard.stats()["pool_requests"] == 6
    server.stop()
    server.wait()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    if not hosted:
        with pytest.raises(turbo_cffi.Error, match="TURBO_ESTATE"):
            shard.run_pool()


def test_driven_shard_in_a_selector_loop(serve: Serve) -> None:
    """The host's own loop, on the main thread, with a timer of the shard's."""
    server = Server(shards=1)
    server.set_executor(Driven())
    seen: List[int] = []

    def handler(request: Request) -> None:
        seen.append(threading.get_ident())
        request.shard.timer(5, lambda shard, status: request.reply(200, b"from a timer"))  # type: ignore[union-attr]

    server.route("GET", "/", handler)
    client = serve(server)
    shard = server.shards[0]
    bodies: List[bytes] = []

    def ask() -> None:
        bodies.append(client.get("/").body)
        server.stop()

    asker = threading.Thread(target=ask)
    asker.start()
    with selectors.DefaultSelector() as selector:
        selector.register(shard, selectors.EVENT_READ)
        more = True
        try:
            while True:
                wait = 0 if more else shard.timeout_ms
                selector.select(None if wait < 0 else wait / 1000)
                more = shard.poll()
        except turbo_cffi.Error as error:
            assert error.code == lib.TURBO_ECLOSED
    asker.join(DEADLINE)
    server.wait()
    assert bodies == [b"from a timer"] and seen == [threading.get_ident()]


def test_driven_shard_in_asyncio(serve: Serve) -> None:
    """Handlers become tasks of the loop that drives the shard; late answers leave by flush()."""

    async def answer(request: Request) -> None:
        await asyncio.sleep(0.001)
        request.reply(200, b"async")
        request.shard.flush()  # type: ignore[union-attr]

    async def main(client: Client, server: Server) -> List[bytes]:
        loop, shard, ended = asyncio.get_running_loop(), server.shards[0], asyncio.Event()
        timer: List[asyncio.TimerHandle] = []

        def poll() -> None:
            for handle in timer:
                handle.cancel()
            timer.clear()
            try:
                more = shard.poll()
            except turbo_cffi.Error:
                loop.remove_reader(shard)
                ended.set()
                return
            wait = 0 if more else shard.timeout_ms
            if wait >= 0:
                timer.append(loop.call_later(wait / 1000, poll))

        loop.add_reader(shard, poll)
        poll()
        found = await asyncio.gather(*(loop.run_in_executor(None, client.get, "/") for _ in range(10)))
        server.stop()
        await asyncio.wait_for(ended.wait(), DEADLINE)
        return [answer.body for answer in found]

    server = Server(shards=1)
    server.set_executor(Driven())
    tasks: List[Any] = []
    server.route("GET", "/", lambda request: tasks.append(asyncio.get_running_loop().create_task(answer(request))))
    assert asyncio.run(main(serve(server), server)) == [b"async"] * 10


def test_executor_with_its_own_threads(serve: Serve) -> None:
    names: List[str] = []

    class Pool(Executor):
        def batch(self, shard: Shard, requests: List[Request]) -> None:
            for request in requests:
                threading.Thread(target=request.run, name="worker").start()

    def handler(request: Request) -> None:
        names.append(threading.current_thread().name)
        request.reply(200)

    server = Server(shards=1)
    server.set_executor(Pool())
    server.route("GET", "/", handler)
    assert serve(server).get("/").status == 200
    assert names == ["worker"]


def test_executor_that_fails(serve: Serve, failures: Any) -> None:
    class Broken(Executor):
        def batch(self, shard: Shard, requests: List[Request]) -> None:
            raise RuntimeError("broken")

        def stop_shard(self, shard: Shard) -> None:
            raise RuntimeError("stop")

    server = Server(shards=1)
    server.set_executor(Broken())
    server.route("GET", "/", lambda request: request.reply(200))
    assert serve(server).get("/").status == 500
    server.stop()
    server.wait()
    assert failures() == ["RuntimeError('broken')", "RuntimeError('stop')"]


@pytest.mark.parametrize("driven", [False, True])
def test_start_raises_what_start_shard_raised(driven: bool, failures: Any) -> None:
    class NoStart(Executor):
        def start_shard(self, shard: Shard) -> None:
            raise LookupError("no model")

    executor = NoStart()
    executor.driven = driven
    server = Server(shards=2)
    server.set_executor(executor)
    with pytest.raises(LookupError, match="no model"):
        server.start()
    with pytest.raises(turbo_cffi.Error):
        server.start()
    server.release()


def test_events_go_to_the_executor(serve: Serve) -> None:
    """An executor with `events` is told of a client that has gone."""
    told = threading.Event()

    class Watching(Executor):
        def events(self, shard: Shard, request: Request, events: int) -> None:
            if events & lib.TURBO_EVENT_GONE:
                request.fail()
                told.set()

    taken = threading.Event()
    server = Server(shards=1)
    server.set_executor(Watching())
    server.route("GET", "/", lambda request: taken.set())
    connection = socket.create_connection(("127.0.0.1", serve(server).port), timeout=DEADLINE)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert taken.wait(DEADLINE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # RST
    assert told.wait(DEADLINE)


def test_posts_and_timers(serve: Serve, failures: Any) -> None:
    over = threading.Event()
    said: List[Any] = []

    def posted(shard: Shard, status: int) -> None:
        said.append(("post", status))
        early = shard.timer(1, lambda shard, status: said.append("must not run"))
        assert early.cancel() and not early.cancel()
        shard.timer(1, failing)

    def failing(shard: Shard, status: int) -> None:
        last.append(shard.timer(1, lambda shard, status: (said.append(("timer", status)), over.set())))
        raise ValueError("timer")

    last: List[turbo_cffi.Timer] = []
    server = Server(shards=1)
    serve(server)
    shard = server.shards[0]
    shard.post(posted)
    assert over.wait(DEADLINE)
    assert said == [("post", 0), ("timer", 0)]
    assert failures() == ["ValueError('timer')"]
    assert not last[0].cancel(), "it was called"
    ended = threading.Event()
    armed = threading.Event()
    def cut_short(shard: Shard, status: int) -> None:
        if status == lib.TURBO_ECLOSED:
            ended.set()

    shard.post(lambda shard, status: (shard.timer(600000, cut_short), armed.set()))
    assert armed.wait(DEADLINE)
    server.stop()
    server.wait()
    assert ended.is_set(), "a timer is told of the shard's end"
    with pytest.raises(turbo_cffi.Error):
        shard.post(posted)
    assert not turbo_cffi.callbacks._once
