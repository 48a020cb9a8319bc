"""turbo.Task behaves as asyncio.Task does: every behaviour of behaviours.py, on both, compared."""

import asyncio
import logging
from typing import Any, Dict, List, Tuple

import pytest
import turbo
from behaviours import BEHAVIOURS, KEPT
from conftest import LOOPS, Client


def outcome_of(error: BaseException) -> str:
    return f"{type(error).__name__}({error})"


def make_app(outcomes: List[str]) -> turbo.App:
    app = turbo.App()

    @app.get("/{name}")
    async def handler(request: turbo.Request) -> bytes:
        kind = type(asyncio.current_task())
        try:
            result = repr(await BEHAVIOURS[request.path_params["name"]]())
        except BaseException as error:
            outcomes.append(outcome_of(error))
            raise
        outcomes.append(result)
        return kind.__name__.encode()

    return app


@pytest.fixture(scope="module", params=LOOPS)
def both(request: pytest.FixtureRequest) -> Any:
    """Two servers that run all the module: turbo's tasks and the oracle's."""
    running: Dict[str, Tuple[Client, List[str]]] = {}
    for kind in ("turbo", "stock"):
        outcomes: List[str] = []
        app = make_app(outcomes)
        app.start(port=0, loop=request.param, task=kind)
        running[kind] = (Client(app), outcomes)
    yield running
    for client, _ in running.values():
        client.app.stop()


def run(client: Client, outcomes: List[str], name: str) -> Tuple[int, str]:
    outcomes.clear()
    answer = client.get("/" + name)
    return answer.status, outcomes[0]


def test_there_are_enough_behaviours() -> None:
    assert len(BEHAVIOURS) >= 44


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_behaviour(both: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="turbo")
    if name.startswith("anyio"):
        pytest.importorskip("anyio")
    mine, oracle = run(*both["turbo"], name), run(*both["stock"], name)
    assert mine == oracle


def test_the_kinds_differ(both: Any) -> None:
    assert both["turbo"][0].get("/returns_at_once").body == b"Task"
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> str:
        return type(asyncio.current_task()).__module__

    with app.start(port=0):
        assert Client(app).get("/").body == b"turbo"
    with app.start(port=0, task="stock"):
        assert Client(app).get("/").body in (b"_asyncio", b"asyncio.tasks")


def test_done_callbacks_were_told(both: Any) -> None:
    KEPT.clear()
    for client, outcomes in both.values():
        run(client, outcomes, "tells_its_done_callbacks")
    both["turbo"][0].get("/returns_after_a_tick")
    both["stock"][0].get("/returns_after_a_tick")
    assert [future.done() for future in KEPT] == [True, True]


def test_a_finished_task_that_was_kept() -> None:
    app = turbo.App()
    kept: Dict[str, Any] = {}

    @app.get("/{name}")
    async def handler(request: turbo.Request) -> bytes:
        name = request.path_params["name"]
        kept[name] = asyncio.current_task()
        if name == "late":
            await asyncio.sleep(0)
        if name == "fails":
            raise LookupError("kept")
        return name.encode()

    with app.start(port=0):
        client = Client(app)
        for name in ("early", "late", "fails", "other"):
            client.get("/" + name)
    assert (kept["early"].result(), kept["late"].result(), kept["other"].result()) == (b"early", b"late", b"other")
    assert kept["early"].exception() is None and str(kept["fails"].exception()) == "kept"
    with pytest.raises(LookupError):
        kept["fails"].result()
    assert not kept["early"].cancel() and kept["late"].done() and "finished" in repr(kept["late"])
    with pytest.raises(AttributeError):
        del kept["early"]._asyncio_future_blocking


def test_aiohttp_client_in_a_handler() -> None:
    aiohttp = pytest.importorskip("aiohttp")
    app = turbo.App()

    @app.get("/inner")
    async def inner(request: turbo.Request) -> Any:
        await asyncio.sleep(float(request.query.get("s", "0")))
        return {"inner": True}

    @app.get("/outer")
    async def outer(request: turbo.Request) -> Any:
        url = f"http://127.0.0.1:{app.port}/inner"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
            async with session.get(url) as answer:
                found = await answer.json()
            try:
                await session.get(url + "?s=5")
            except asyncio.TimeoutError:
                found["timeout"] = True
        return found

    with app.start(port=0, drain_timeout_ms=100):
        assert Client(app).get("/outer").body == b'{"inner":true,"timeout":true}'


def test_httpx_client_in_a_handler() -> None:
    httpx = pytest.importorskip("httpx")
    app = turbo.App()

    @app.post("/inner")
    async def inner(request: turbo.Request) -> Any:
        return request.json()

    @app.get("/outer")
    async def outer(request: turbo.Request) -> Any:
        async with httpx.AsyncClient() as session:
            answers = await asyncio.gather(
                *[session.post(f"http://127.0.0.1:{app.port}/inner", json=[i]) for i in range(5)]
            )
        return [answer.json()[0] for answer in answers]

    with app.start(port=0):
        assert Client(app).get("/outer").body == b"[0,1,2,3,4]"
