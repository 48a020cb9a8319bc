"""on_start and on_stop, per shard and per process."""

import asyncio
import gc
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until

MODES: List[Dict[str, Any]] = [{"shards": 1}, {"shards": 3}, {"mode": "single", "shards": 3}]


@pytest.fixture(params=MODES, ids=["one", "three", "single"])
def mode(request: pytest.FixtureRequest) -> Dict[str, Any]:
    """Designs, and numbers of shards."""
    return dict(request.param)


class Book:
    """Who was called, in order, by any thread."""

    def __init__(self) -> None:
        self.lines: List[str] = []
        self.places: Dict[str, Tuple[str, Optional[asyncio.AbstractEventLoop]]] = {}

    def write(self, line: str) -> None:
        try:
            loop: Optional[asyncio.AbstractEventLoop] = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self.places[line] = (threading.current_thread().name, loop)
        self.lines.append(line)

    def of(self, word: str) -> List[str]:
        return [line for line in self.lines if word in line]


def booked_app() -> Tuple[turbo.App, Book]:
    app, book = turbo.App(), Book()

    @app.on_start
    def first(shard: turbo.Shard) -> None:
        shard.state["n"] = 100 + shard.index
        book.write(f"start 1 {shard.index}")

    @app.on_start()
    async def second(shard: turbo.Shard) -> None:
        await asyncio.sleep(0.001)
        shard.state["n"] += 1
        book.write(f"start 2 {shard.index}")

    @app.on_start(per="process")
    async def process() -> None:
        await asyncio.sleep(0.001)
        book.write("process start 1")

    @app.on_start(per="process")
    def process_sync() -> None:
        book.write("process start 2")

    @app.on_stop
    async def stop(shard: turbo.Shard) -> None:
        await asyncio.sleep(0.001)
        assert shard.loop is not None and shard.inflight == 0
        book.write(f"stop 1 {shard.index}")

    @app.on_stop(per="shard")
    def stop_sync(shard: turbo.Shard) -> None:
        book.write(f"stop 2 {shard.index}")

    @app.on_stop(per="process")
    async def process_stop() -> None:
        await asyncio.sleep(0.001)
        book.write("process stop 1")

    @app.on_stop(per="process")
    def process_stop_sync() -> None:
        book.write("process stop 2")

    @app.get("/", placement="round_robin")
    def state(request: turbo.Request) -> Any:
        book.write("request")
        return [request.shard.index, request.shard.state["n"]]

    return app, book


def test_the_order_of_all(serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str) -> None:
    app, book = booked_app()
    client = serve(app, loop=loop_name, task=task_name, **mode)
    shards = range(len(app.shards))
    for _ in shards:
        index, n = eval(client.get("/").body)
        assert n == 101 + index
    app.stop()
    count = 2 * len(shards)
    starts, rest = book.lines[2 : 2 + count], book.lines[2 + count :]
    assert book.lines[:2] == ["process start 1", "process start 2"]
    assert sorted(starts) == sorted(f"start {n} {i}" for n in (1, 2) for i in shards)
    assert rest[: len(shards)] == ["request"] * len(shards)
    stops = rest[len(shards) : -2]
    assert sorted(stops) == sorted(f"stop {n} {i}" for n in (1, 2) for i in shards)
    for i in shards:
        assert [line[-3] for line in starts if line.endswith(str(i))] == ["1", "2"]
        assert [line[-3] for line in stops if line.endswith(str(i))] == ["2", "1"]
    assert book.lines[-2:] == ["process stop 2", "process stop 1"]


def test_the_threads_and_loops(serve: Serve, mode: Dict[str, Any], loop_name: str) -> None:
    app, book = booked_app()
    serve(app, loop=loop_name, **mode)
    loops = [shard.loop for shard in app.shards]
    app.stop()
    single = "mode" in mode
    for i in range(len(app.shards)):
        thread = f"turbo-shard-{i}"
        sync, coroutine = ((thread, None), ("turbo-loop", book.places["process start 1"][1])) if single else (
            (thread, loops[i]), (thread, loops[i]))
        assert book.places[f"start 1 {i}"] == book.places[f"stop 2 {i}"] == sync
        assert book.places[f"start 2 {i}"] == book.places[f"stop 1 {i}"] == coroutine
    process = ("turbo-loop", book.places["start 2 0"][1]) if single else ("turbo-shard-0", loops[0])
    assert {book.places[line] for line in book.of("process")} == {process}


def test_again_and_again(mode: Dict[str, Any]) -> None:
    app, book = booked_app()
    before = threading.active_count()
    for _ in range(3):
        with app.start(port=0, **mode):
            assert Client(app).get("/").status == 200
        assert threading.active_count() == before
    assert len(book.of("process start 1")) == len(book.of("process stop 1")) == 3


def test_the_loop_runs_on_from_start_to_stop(serve: Serve, mode: Dict[str, Any], loop_name: str) -> None:
    """A task that on_start makes works until on_stop ends it."""
    app, seen = turbo.App(), []

    @app.on_start
    async def start(shard: turbo.Shard) -> None:
        async def count() -> None:
            try:
                while True:
                    shard.state["count"] = shard.state.get("count", 0) + 1
                    await asyncio.sleep(0.001)
            finally:
                seen.append("ended")

        shard.state["task"] = asyncio.ensure_future(count())

    @app.on_stop
    async def stop(shard: turbo.Shard) -> None:
        before = shard.state["count"]
        while shard.state["count"] == before:
            await asyncio.sleep(0.001)
        shard.state["task"].cancel()
        await asyncio.wait({shard.state["task"]})
        seen.append("stopped")

    serve(app, loop=loop_name, **mode)
    wait_until(lambda: all(shard.state["count"] > 3 for shard in app.shards))
    app.stop()
    assert sorted(seen) == ["ended"] * len(app.shards) + ["stopped"] * len(app.shards)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def assert_nothing_left(port: int, threads: int) -> None:
    assert threading.active_count() == threads
    with socket.socket() as s:  # without SO_REUSEADDR: nobody has listened there
        s.bind(("127.0.0.1", port))


def fails_at(per: str, is_async: bool) -> Tuple[turbo.App, Book]:
    app, book = booked_app()

    def broken(*args: Any) -> None:
        if not args or args[0].index == 0:
            raise LookupError("no start")

    async def broken_later(*args: Any) -> None:
        await asyncio.sleep(0.001)
        broken(*args)

    app.on_start(per=per)(broken_later if is_async else broken)
    return app, book


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("per", ["shard", "process"])
def test_a_failing_start_leaves_nothing(mode: Dict[str, Any], loop_name: str, per: str, is_async: bool) -> None:
    app, book = fails_at(per, is_async)
    threads, port = threading.active_count(), free_port()
    with pytest.raises(LookupError, match="no start"):
        app.start(port=port, loop=loop_name, **mode)
    assert_nothing_left(port, threads)
    with pytest.raises(RuntimeError, match="not been started"):
        app.port
    others = 0 if per == "process" else mode["shards"] - 1
    whole = sorted(line[-1] for line in book.lines if line.startswith("start 2 ") and line != "start 2 0")
    assert sorted(line[-1] for line in book.lines if line.startswith("stop 1 ")) == whole, "only where the start was whole"
    assert len(whole) in (0, others), "shard 0 may have failed before the others were begun"
    assert len(book.of("process stop")) == (2 if per == "shard" else 0)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_start_that_exits(error: BaseException, failures: Any) -> None:
    app, threads = turbo.App(), threading.active_count()

    @app.on_start
    def leave(shard: turbo.Shard) -> None:
        raise error

    with pytest.raises(type(error)):
        app.start(port=0)
    assert threading.active_count() == threads


def test_run_raises_what_on_start_raised(mode: Dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    app, _ = fails_at("shard", True)
    threads, port = threading.active_count(), free_port()
    with pytest.raises(LookupError, match="no start"):
        app.run(port=port, **mode)
    assert_nothing_left(port, threads)
    assert capfd.readouterr().out == ""


def test_nothing_listens_before_on_start_has_returned(mode: Dict[str, Any]) -> None:
    app, port, refused = turbo.App(), free_port(), []

    @app.on_start
    def connect(shard: turbo.Shard) -> None:
        with socket.socket() as s:
            refused.append(s.connect_ex(("127.0.0.1", port)) != 0)

    with app.start(port=port, **mode):
        assert Client(app).get("/").status == 404
    assert refused == [True] * mode["shards"]


def test_an_address_in_use_stops_what_was_started(mode: Dict[str, Any]) -> None:
    app, book = booked_app()
    threads = threading.active_count()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        with pytest.raises(OSError):
            app.start(port=s.getsockname()[1], **mode)
    assert threading.active_count() == threads
    assert len(book.of("stop 1")) == mode["shards"] + 1


def test_a_failing_stop_is_logged_and_the_stop_goes_on(serve: Serve, mode: Dict[str, Any], failures: Any) -> None:
    app, book = booked_app()

    @app.on_stop
    def broken(shard: turbo.Shard) -> None:
        raise LookupError(f"shard {shard.index} will not stop")

    @app.on_stop(per="process")
    async def broken_process() -> None:
        await asyncio.sleep(0)
        raise SystemExit("not now")

    serve(app, **mode)
    app.stop()
    assert len(failures()) == mode["shards"] + 1
    assert len(book.of("stop 1")) == mode["shards"] + 1


def test_on_stop_comes_after_the_last_answer(serve: Serve, mode: Dict[str, Any]) -> None:
    app, order = turbo.App(), []

    @app.get("/slow")
    async def slow(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.1)
        order.append("handler")
        return b"slow"

    @app.on_stop
    def stop(shard: turbo.Shard) -> None:
        order.append("stop")

    client = serve(app, **mode)
    with client.socket() as s:
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: sum(shard.inflight for shard in app.shards) == 1)
        app.stop()
        assert read_answer(s).endswith(b"slow")
    busy = [name for name in order if name == "handler"]
    assert len(busy) == 1 and order[-1] == "stop" and len(order) == 1 + mode["shards"]
    assert mode["shards"] > 1 or order == ["handler", "stop"]


def test_process_stop_runs_also_when_nobody_waits(serve: Serve, mode: Dict[str, Any]) -> None:
    app, book = booked_app()

    @app.get("/stop")
    def stop(request: turbo.Request) -> bytes:
        app.stop()
        return b"stopping"

    client = serve(app, **mode)
    assert client.get("/stop").body == b"stopping"
    wait_until(lambda: book.lines[-1] == "process stop 1")


def test_a_long_stop_is_not_cancelled_by_the_end_of_the_drain(serve: Serve, mode: Dict[str, Any]) -> None:
    app, ends = turbo.App(), []

    @app.on_stop
    async def stop(shard: turbo.Shard) -> None:
        await asyncio.sleep(0.4)
        ends.append(shard.index)

    serve(app, drain_timeout_ms=50, **mode)
    app.stop()
    assert sorted(ends) == list(range(mode["shards"]))


def test_what_cannot_be() -> None:
    app = turbo.App()
    with pytest.raises(ValueError, match="per: 'thread' is not one of shard, process"):
        app.on_start(per="thread")
    with pytest.raises(TypeError, match="not callable: 7"):
        app.on_stop(7)  # type: ignore[type-var]


def test_a_stopped_app_with_hooks_is_freed() -> None:
    import weakref

    app, _ = booked_app()
    with app.start(port=0, shards=2):
        Client(app).get("/")
    reference = weakref.ref(app)
    del app, _
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("mode", ["sharded", "single"])
@pytest.mark.parametrize(
    "name", ["turbo-shard-0", "turbo-shard-2", "turbo-loop", "turbo-pool-0-0", "turbo-pool-1-1", "turbo-watch"]
)
def test_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, mode: str, name: str) -> None:
    app, port, before = turbo.App(), free_port(), threading.active_count()
    app.get("/pool", threads=2)(lambda request: b"pool")
    start, failed = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            failed.append(name)
            raise RuntimeError("can't start new thread")
        start(thread)

    settings: Dict[str, Any] = {"port": port, "shards": 3, "slow_ms": 1000, "mode": mode}
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        if (name, mode) != ("turbo-loop", "sharded"):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                app.start(**settings)
            assert failed == [name]
    assert_nothing_left(port, before)
    with app.start(**settings):
        assert Client(app).get("/pool").body == b"pool"


def test_a_failed_start_can_be_tried_again(mode: Dict[str, Any]) -> None:
    app, tries, port = turbo.App(), [], free_port()

    @app.on_start(per="process")
    def once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("not yet")

    try:
        app.start(port=port, **mode)
    except LookupError as error:
        kept = error  # and with it the frames in which it was raised
    with app.start(port=port, **mode):
        assert Client(app).get("/").status == 404
    assert kept.args == ("not yet",)
