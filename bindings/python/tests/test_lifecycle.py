"""Start and stop, in one program; those of whole programs: test_programs.py."""

import asyncio
import gc
import socket
import subprocess
import threading
import time
from typing import Any, List, Type

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until
from turbo.config import make_config
from turbo.executor import Executor
from turbo.posting import Post


def hello() -> turbo.App:
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        await asyncio.sleep(0)
        return b"hello"

    @app.get("/slow")
    async def slow(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.3)
        return b"slow"

    @app.get("/never")
    async def never(request: turbo.Request) -> bytes:
        await asyncio.sleep(60)
        return b"never"

    return app


def test_start_and_stop_again_and_again() -> None:
    app = hello()
    before = threading.active_count()
    for _ in range(5):
        with app.start(port=0) as same:
            assert same is app and Client(app).get("/").body == b"hello"
        assert threading.active_count() == before


def test_the_first_request_finds_a_running_server() -> None:
    app = turbo.App()
    app.get("/")(lambda request: f"{app.port} {len(app.shards)} {app.stats()['taken']}")
    first: List[socket.socket] = []

    class Slow(Executor):
        """A request comes before start() has returned."""

        def start(self) -> None:
            super().start()
            first.append(socket.create_connection(("127.0.0.1", self._server.port), timeout=10))
            first[0].sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            time.sleep(0.3)  # for a handler to run too early

    app._start(make_config("127.0.0.1", 0, {"shards": 1}), lambda: None, Slow)
    try:
        with first[0]:
            assert read_answer(first[0]).endswith(f"{app.port} 1 1".encode())
    finally:
        app.stop()


def test_what_needs_a_running_server() -> None:
    app = hello()
    for read in (lambda: app.port, lambda: app.shards, lambda: app.stats()):
        with pytest.raises(RuntimeError, match="not been started"):
            read()
    app.stop()


def test_a_second_start_is_refused(serve: Serve) -> None:
    client = serve(hello())
    with pytest.raises(RuntimeError, match="runs already"):
        client.app.start(port=0)
    assert client.get("/").status == 200


def test_several_apps_side_by_side(serve: Serve) -> None:
    clients = [serve(hello()) for _ in range(3)]
    assert [client.get("/").status for client in clients] == [200] * 3


def test_stop_answers_what_was_taken(serve: Serve) -> None:
    client = serve(hello())
    sockets = [client.socket() for _ in range(8)]
    for s in sockets:
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_until(lambda: client.app.shards[0].inflight == 8)
    client.app.stop()
    for s in sockets:
        answer = read_answer(s)
        s.close()
        assert answer.endswith(b"slow") and b"Connection: close" in answer
    stats = client.app.stats()
    assert stats["taken"] == stats["answered"] == 8


def test_drain_timeout_cancels_what_is_left(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app, ends = hello(), []

    @app.get("/stubborn")
    async def stubborn(request: turbo.Request) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append(asyncio.current_task() is not None)
        return b""

    caplog.set_level("INFO", logger="turbo")
    client = serve(app, drain_timeout_ms=100, shards=1)
    with client.socket() as s:
        s.sendall(b"GET /stubborn HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == 1)
        begin = time.monotonic()
        client.app.stop()
        assert time.monotonic() - begin < 3
    assert ends == [True] and client.app.stats()["abandoned"] == 1
    assert "1 abandoned" in caplog.text


def test_what_does_not_end_is_waited_for_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, task_name: str
) -> None:
    app, go_on = turbo.App(), threading.Event()
    cancelled: List[str] = []

    async def stubborn(name: str) -> None:
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                cancelled.append(name)

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        request.shard.state["task"] = asyncio.ensure_future(stubborn("task"))
        await stubborn("handler")

    @app.get("/background")
    def background(request: turbo.Request) -> bytes:
        request.background(stubborn, "background")
        return b""

    monkeypatch.setattr("turbo.background.END_TIMEOUT", 0.2)
    app.on_stop(lambda shard: cancelled.append("on_stop"))
    client = serve(app, drain_timeout_ms=100, shards=1, task=task_name, loop="asyncio")
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.get("/background").status == 200
        wait_until(lambda: client.app.shards[0].inflight == 1)
        client.app.stop()
    go_on.set()
    assert cancelled == ["handler", "background", "on_stop", "task"]
    said = [r.getMessage() for r in caplog.records if "have not ended" in r.getMessage()]
    assert [text.split(" have")[0] for text in said] == ["handlers of turbo-shard-0", "background calls", "tasks of turbo-shard-0"]
    assert all(text.endswith(": 1 left alone") for text in said)


def test_stop_from_a_handler(serve: Serve) -> None:
    app = hello()

    @app.get("/stop")
    def stop(request: turbo.Request) -> bytes:
        app.stop()
        return b"stopping"

    client = serve(app)
    assert client.get("/stop").body == b"stopping"
    wait_until(lambda: client.app.shards[0].closed)
    app.stop()
    with pytest.raises(OSError):
        client.get("/")


@pytest.mark.parametrize("mode", ["sharded", "single"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_in_a_callback_stops_the_app_in_order(
    serve: Serve, failures: Any, loop_name: str, mode: str, error: Type[BaseException]
) -> None:
    app, stopped = hello(), []
    app.on_stop(stopped.append)

    def leave() -> None:
        raise error(3)

    @app.get("/leave")
    async def handler(request: turbo.Request) -> bytes:
        asyncio.get_running_loop().call_soon(leave)
        await asyncio.sleep(0.05)
        return b"answered behind it"

    client = serve(app, loop=loop_name, mode=mode, shards=2)
    assert client.get("/leave").body == b"answered behind it"
    wait_until(lambda: all(shard.closed for shard in app.shards))
    app.stop()
    assert sorted(shard.index for shard in stopped) == [0, 1]
    (record,) = failures()
    assert f"{error.__name__} on turbo-" in record.getMessage()
    assert client.app.stats()["answered"] == client.app.stats()["taken"] == 1


def test_stop_without_waiting(serve: Serve) -> None:
    client = serve(hello())
    client.app.stop(wait=False)
    wait_until(lambda: client.app.shards[0].closed)


def test_background_tasks_are_cancelled_at_the_end() -> None:
    app, seen = hello(), []

    @app.get("/spawn")
    async def spawn(request: turbo.Request) -> bytes:
        async def forever() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        request.shard.state["task"] = asyncio.ensure_future(forever())
        return b""

    with app.start(port=0):
        assert Client(app).get("/spawn").status == 200
        wait_until(lambda: True)
    assert seen == ["cancelled"]


def test_an_app_that_was_stopped_is_freed() -> None:
    import weakref

    app = hello()
    with app.start(port=0):
        Client(app).get("/")
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None


def test_objects_do_not_pile_up(serve: Serve, task_name: str) -> None:
    client = serve(hello(), task=task_name)

    def load(count: int) -> int:
        with client.socket() as s:
            for _ in range(count // 50):
                s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
                left = 50
                while left:
                    left -= s.recv(65536).count(b"HTTP/1.1 ")
        gc.collect()
        return len(gc.get_objects())

    load(500)
    before = load(50)
    assert abs(load(2000) - before) < 50


def test_stats(serve: Serve) -> None:
    app = hello()
    app.route_stats("/stats", "/metrics")
    client = serve(app)
    client.get("/")
    assert client.app.stats()["answered"] == 1
    shard = client.app.shards[0].stats()
    assert shard["requests"] == shard["batches"] == shard["batch_sizes"][0] == 1 and sum(shard["latency"]) == 1
    assert client.get("/stats").body.startswith(b"{") and b"turbo_" in client.get("/metrics").body


@pytest.mark.parametrize("path", ["/leave", "/shard"])
@pytest.mark.parametrize("mode", ["sharded", "single"])
def test_a_handler_that_stops_its_loop_stops_the_app_in_order(
    serve: Serve, failures: Any, loop_name: str, mode: str, path: str
) -> None:
    app, stopped = hello(), []
    app.on_stop(stopped.append)

    @app.get("/leave")
    async def handler(request: turbo.Request) -> bytes:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.05)
        return b"answered behind it"

    @app.get("/shard")
    def sync(request: turbo.Request) -> bytes:
        assert request.shard.loop is not None
        request.shard.loop.stop()
        return b"answered behind it"

    client = serve(app, loop=loop_name, mode=mode, shards=2)
    assert client.get(path).body == b"answered behind it"
    wait_until(lambda: all(shard.closed for shard in app.shards))
    app.stop()
    assert sorted(shard.index for shard in stopped) == [0, 1]
    (record,) = failures()
    assert "loop.stop() on turbo-" in record.getMessage()


# -- calls of other threads while a loop ends --


class SlowToTell(asyncio.SelectorEventLoop):
    """A loop that goes on while call_soon_threadsafe() is still at work, as it may at any time."""

    closed_inside: List[int] = []

    def __init__(self) -> None:
        super().__init__()
        self.telling = 0
        self.lock = threading.Lock()  # of several threads that tell

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            self.telling += 1
        try:
            return super().call_soon_threadsafe(*args, **kwargs)
        finally:
            time.sleep(0.2)
            with self.lock:
                self.telling -= 1

    def close(self) -> None:
        self.closed_inside.append(self.telling)
        super().close()


def test_no_loop_is_closed_while_its_thread_is_told_of_the_end(serve: Serve) -> None:
    """What call_soon_threadsafe() writes to could be a client's connection by then."""
    SlowToTell.closed_inside = []
    client = serve(hello(), mode="single", shards=2, loop=SlowToTell)
    assert client.get("/").body == b"hello"
    client.app.stop()
    assert SlowToTell.closed_inside == [0]


def test_no_loop_is_closed_while_a_pool_hands_over(serve: Serve) -> None:
    SlowToTell.closed_inside = []
    app = turbo.App()
    begun, go_on = threading.Event(), threading.Event()

    @app.get("/", threads=1)
    def late(request: turbo.Request) -> Any:
        begun.set()
        go_on.wait()
        return turbo.StreamingResponse(iter([b"late"]))  # only the shard's loop can send it

    client = serve(app, shards=1, loop=SlowToTell, drain_timeout_ms=100)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        begun.wait()
        threading.Timer(0.05, go_on.set).start()
        client.app.stop()
    assert SlowToTell.closed_inside == [0]


def test_a_post_to_a_loop_that_has_ended() -> None:
    post = Post(asyncio.new_event_loop())
    post.call_soon(post.loop.stop)
    post.loop.run_forever()
    post.close()
    assert post.loop.is_closed()
    with pytest.raises(RuntimeError, match="the loop has ended"):
        post.call_soon(print)


def test_programs_that_handlers_start_hear_signals(serve: Serve) -> None:
    """A mask of the shard's thread would be theirs, too."""
    app = turbo.App()

    def ended() -> bytes:
        with subprocess.Popen(["sleep", "60"]) as child:
            child.terminate()
            try:
                return str(child.wait(timeout=10)).encode()
            finally:
                child.kill()

    app.get("/shard")(lambda request: ended())
    app.get("/pool", threads=1)(lambda request: ended())

    @app.get("/loop")
    async def loop(request: turbo.Request) -> bytes:
        child = await asyncio.create_subprocess_exec("sleep", "60")
        child.terminate()
        return str(await asyncio.wait_for(child.wait(), 10)).encode()

    client = serve(app, loop="asyncio")
    assert [client.get(path).body for path in ("/shard", "/pool", "/loop")] == [b"-15"] * 3
