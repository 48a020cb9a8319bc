"""Apps that turbo.run() serves in interpreters, on a thread of the test."""

import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
import turbo
from conftest import Answer, Client
from test_parallel import write
from turbo.gil import gil_enabled
from turbo.loading import load
from turbo.parallel import INTERPRETERS_FROM

needs_interpreters = pytest.mark.skipif(
    sys.version_info < INTERPRETERS_FROM or not gil_enabled(),
    reason="interpreters with a GIL of their own need CPython 3.13 or later, with a GIL",
)

TIMEOUT = 60  # seconds; nothing takes that long
SHARDS = 2


class Run:
    """turbo.run() on a thread."""

    def __init__(self, target: str, **settings: Any) -> None:
        self.app = load(target)
        self.error: Optional[BaseException] = None
        self.lost: Optional[int] = None
        self._thread = threading.Thread(target=self._run, args=(target, {"shards": SHARDS, **settings}))
        self._thread.start()
        wait_for(lambda: self.app._executor is not None or not self._thread.is_alive())
        if self.error is not None:
            raise self.error

    def _run(self, target: str, settings: Dict[str, Any]) -> None:
        try:
            self.lost = turbo.run(target, port=0, parallel="interpreters", **settings)
        except BaseException as error:
            self.error = error

    def client(self) -> Client:
        return Client(self.app)

    def stop(self) -> None:
        self.app.stop()
        self.ended()

    def ended(self) -> None:
        """Wait for the end, however it comes."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive() and self.error is None


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.005)


Start = Callable[..., Run]


@pytest.fixture
def start(here: Path) -> Iterator[Start]:
    """start(module's text, **settings) serves its `app` in interpreters."""
    runs: List[Run] = []

    def serve(text: str, **settings: Any) -> Run:
        name = f"served{len(runs)}_{time.monotonic_ns()}"
        write(here / f"{name}.py", "import asyncio, threading, turbo\napp = turbo.App()\n" + text)
        runs.append(Run(f"{name}:app", **settings))
        return runs[-1]

    yield serve
    for run in runs:
        run.stop()


def on_both(run: Run, ask: Callable[[Client], Answer]) -> List[Answer]:
    """One answer of each shard: the app places its requests in turn."""
    client = run.client()
    return [ask(client) for _ in range(SHARDS)]


TURN = {"placement": "round_robin"}

# Every kind of handler.
HANDLERS = '''
import contextvars, logging

count = 0


class Mistake(Exception):
    pass


@app.middleware
def mark(request, call_next):
    request.shard.state["seen"] = request.shard.state.get("seen", 0) + 1
    return call_next(request)


@app.exception_handler(Mistake)
async def made(request, error):
    await asyncio.sleep(0)
    return turbo.Response(f"mistake of shard {request.shard.index}: {error}", 418)


@app.get("/sync")
def sync(request):
    global count
    count += 1
    return {"shard": request.shard.index, "count": count, "seen": request.shard.state["seen"]}


@app.get("/async/{name}")
async def coro(request):
    await asyncio.sleep(0.001)
    return f"{request.path_params['name']} on {threading.current_thread().name}"


@app.post("/batch", batch=8, batch_wait_ms=20)
async def batch(requests):
    await asyncio.sleep(0)
    return [request.body + str(len(requests)).encode() for request in requests]


@app.post("/batch-sync", batch=8)
def batch_sync(requests):
    return [ValueError("one of them") if request.body == b"bad" else request.body for request in requests]


weighed = []


def weigh(request):
    weighed.append(request)
    return len(request.body)


@app.post("/weighed", batch=8, batch_wait_ms=20, weight=weigh, weight_max=4)
def by_weight(requests):
    mine = all(request in weighed for request in requests)
    return [f"{len(requests)} {mine}" for request in requests]


@app.get("/raises")
def raises(request):
    raise ValueError("a handler's")


@app.get("/raises-async")
async def raises_async(request):
    await asyncio.sleep(0)
    raise ValueError("a coroutine's")


@app.get("/mistake")
def mistake(request):
    raise Mistake("mine")


@app.get("/teapot")
def teapot(request):
    raise turbo.HTTPError(418, {"short": True})


@app.post("/upload", body="streamed")
async def upload(request):
    size = 0
    async for part in request.stream():
        size += len(part)
    return str(size)


@app.post("/json")
def parsed(request):
    return {"sum": sum(request.json()["numbers"])}


@app.get("/big")
def big(request):
    return bytes([request.shard.index + 65]) * 3_000_000


@app.get("/big-json")
def big_json(request):
    return {"numbers": list(range(100000))}


@app.get("/parts")
def parts(request):
    async def make():
        for number in range(100):
            await asyncio.sleep(0)
            yield str(number % 10) * 1000
    return turbo.StreamingResponse(make())


@app.get("/written")
async def written(request):
    writer = request.respond()
    for _ in range(300):
        await writer.write(b"y" * 10000)


@app.get("/pooled", threads=2)
def pooled(request):
    return f"{request.shard.index} {threading.current_thread().name} {threading.current_thread().daemon}"


later = {}


async def work(key, value):
    await asyncio.sleep(0.001)
    later[key] = value


@app.get("/background/{key}", placement="local")
def background(request):
    request.background(work, request.path_params["key"], request.shard.index)
    return b"begun"


@app.get("/later/{key}", placement="local")
async def look(request):
    return {"value": later.get(request.path_params["key"])}


@app.get("/app")
def about(request):
    return {"port": app.port, "shards": len(app.shards), "taken": app.stats()["taken"], "main": turbo._native.main_interpreter}


variable = contextvars.ContextVar("variable", default="unset")


@app.get("/context")
async def context(request):
    before = variable.get()
    variable.set("set")
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    return f"{before} {asyncio.current_task() in asyncio.all_tasks()}"


app.route_stats()
'''
