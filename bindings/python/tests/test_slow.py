"""slow_ms and debug: handlers that block their shard are logged."""

import asyncio
import logging
import threading
import time
from typing import Any, Callable, Dict, List

import pytest
import turbo
from conftest import Client, Serve
from turbo.gil import gil_enabled
from test_streaming import wait_until

MODES: List[Dict[str, Any]] = [{"shards": 1}, {"mode": "single", "shards": 1}]

Lines = Callable[[], List[str]]


@pytest.fixture(params=MODES, ids=["sharded", "single"])
def mode(request: pytest.FixtureRequest) -> Dict[str, Any]:
    """Designs."""
    return dict(request.param)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the logger "turbo" was told at level WARNING."""
    caplog.set_level(logging.WARNING, logger="turbo")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "turbo"]


def always() -> bool:
    return True


def slow_app(seen: Callable[[], object] = always) -> turbo.App:
    """Handlers that compute for 0.2 s, and on until `seen` is true: on a busy machine who looks may come late."""
    app = turbo.App()

    def spin_here(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end or (not seen() and time.monotonic() < end + 4):
            pass

    @app.get("/sync/{n}")
    def sync(request: turbo.Request) -> bytes:
        spin_here(0.2)
        return b"sync"

    @app.get("/async")
    async def first(request: turbo.Request) -> bytes:
        spin_here(0.2)
        return b"async"

    @app.get("/later")
    async def later(request: turbo.Request) -> bytes:
        for _ in range(3):
            await asyncio.sleep(0.001)
        spin_here(0.2)
        await asyncio.sleep(0.001)
        return b"later"

    @app.get("/batch", batch=4)
    def batch(requests: List[turbo.Request]) -> List[bytes]:
        spin_here(0.2)
        return [b"batch"] * len(requests)

    @app.get("/fail")
    def fail(request: turbo.Request) -> bytes:
        raise LookupError

    @app.exception_handler(LookupError)
    def lookup(request: turbo.Request, exception: LookupError) -> bytes:
        spin_here(0.2)
        return b"fail"

    @app.get("/waits")
    async def waits(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.2)
        return b"waits"

    @app.get("/pool", threads=1)
    def pool(request: turbo.Request) -> bytes:
        time.sleep(0.2)
        return b"pool"

    @app.get("/quick")
    async def quick(request: turbo.Request) -> bytes:
        return b"quick"

    return app


@pytest.mark.parametrize("path", ["/sync/1", "/async", "/later", "/batch", "/fail"])
def test_what_blocks_is_logged(serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str, path: str,
                               warnings: Lines) -> None:
    client = serve(slow_app(warnings), slow_ms=40, loop=loop_name, task=task_name, **mode)
    assert client.get(path).status == 200
    wait_until(lambda: len(warnings()) == 2)
    while_it_blocks, after = warnings()
    route = "/sync/{n}" if "sync/" in path else path
    assert "over 40 ms" in while_it_blocks
    assert (", at:\n" in while_it_blocks and "in spin_here" in while_it_blocks) == gil_enabled()
    for line in (while_it_blocks, after):
        assert f"GET {path} ({route}) block" in line or f"batch of 1 for GET {route} block" in line
    taken = int(after.split(" for ")[-1].split(" ms")[0])
    assert 200 <= taken < 5000 and "shard 0" in after


@pytest.mark.parametrize("path", ["/waits", "/pool", "/quick"])
def test_what_does_not_block_is_not(serve: Serve, mode: Dict[str, Any], loop_name: str, task_name: str, path: str,
                                    warnings: Lines) -> None:
    client = serve(slow_app(), slow_ms=150, loop=loop_name, task=task_name, **mode)
    assert client.get(path).status == 200
    assert warnings() == []


def test_it_is_off_by_default(serve: Serve, warnings: Lines) -> None:
    client = serve(slow_app())
    assert not any(thread.name == "turbo-watch" for thread in threading.enumerate())
    assert client.get("/sync/1").status == 200 and warnings() == []


def test_debug_means_100_ms_and_the_loops_own_debug_mode(serve: Serve, loop_name: str, warnings: Lines) -> None:
    app = slow_app(warnings)
    client = serve(app, debug=True, loop=loop_name)
    loop = app.shards[0].loop
    assert loop is not None and loop.get_debug()
    assert client.get("/async").status == 200
    wait_until(lambda: len(warnings()) == 2)
    assert "over 100 ms" in warnings()[0]


def test_slow_ms_alone_leaves_the_loops_alone(serve: Serve) -> None:
    app = slow_app()
    serve(app, slow_ms=50)
    assert app.shards[0].loop is not None and not app.shards[0].loop.get_debug()


def test_debug_without_slow_ms(serve: Serve, warnings: Lines) -> None:
    client = serve(slow_app(), debug=True, slow_ms=0)
    assert client.get("/sync/1").status == 200 and warnings() == []


def test_no_thread_is_left() -> None:
    app, before = slow_app(), threading.active_count()
    for _ in range(2):
        with app.start(port=0, slow_ms=50):
            assert Client(app).get("/quick").status == 200
        assert threading.active_count() == before


def test_coroutines_behave_as_ever(serve: Serve, loop_name: str, task_name: str) -> None:
    """The steps are noted by a coroutine around the handler's."""
    app, seen = turbo.App(), []

    @app.get("/")
    async def handler(request: turbo.Request) -> Any:
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        except asyncio.TimeoutError:
            seen.append("timeout")
        try:
            await asyncio.gather(asyncio.sleep(0), broken())
        except LookupError:
            seen.append("gathered")
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "set")
        seen.append(await future)
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
        return seen

    async def broken() -> None:
        await asyncio.sleep(0)
        raise LookupError

    client = serve(app, slow_ms=10000, loop=loop_name, task=task_name)
    assert client.get("/").body == b'["timeout","gathered","set","cancelled"]'


@pytest.mark.parametrize(
    "value, error, message",
    [
        (-1, ValueError, "slow_ms: -1 is out of range, allowed are 0 to 60000"),
        (60001, ValueError, "slow_ms: 60001 is out of range"),
        ("9", TypeError, "slow_ms: '9' is str, expected int"),
        (True, TypeError, "slow_ms: True is bool, expected int"),
    ],
)
def test_what_cannot_be(value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        slow_app().start(port=0, slow_ms=value)
    with pytest.raises(TypeError, match="debug: 1 is int, expected bool"):
        slow_app().start(port=0, debug=1)  # type: ignore[arg-type]
