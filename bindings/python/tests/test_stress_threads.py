"""Shards, pool threads, stats, starts and stops at once, on objects that all of them share: every answer, every counter.

Meant for Pythons without a GIL (make test-freethreaded), and true on all. STRESS_ROUNDS: of each test (default: 2).
"""

import asyncio
import http.client
import itertools
import json
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import pytest
import turbo

ROUNDS = int(os.environ.get("STRESS_ROUNDS", "2"))
SHARDS, CLIENTS, READERS = 4, 8, 3
REQUESTS = 150  # of each client, in each round
BIG = bytes(range(256)) * 128  # is lent, not copied
NAMES = [f"name-{i}" for i in range(40)]

Check = Callable[[int, bytes], None]


class Counter:
    """A number that any thread may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, more: int = 1) -> None:
        with self._lock:
            self.value += more


class Shared:
    """An app, and what its handlers share on purpose."""

    def __init__(self) -> None:
        self.app = turbo.App()
        self.background = Counter()
        self.wrong: List[str] = []
        self.kept: List[turbo.Request] = []  # of other shards, and answered long ago
        self.readers = ThreadPoolExecutor(READERS * 4)
        self.response = turbo.Response({"shared": True}, 201, {"X-Shared": "yes", "X-Too": "ü"})
        self.value = {name: [i, str(i), {"ä": i}] for i, name in enumerate(NAMES)}
        self._add_routes(self.app)

    def read(self, request: turbo.Request) -> Tuple[Any, ...]:
        """What is made when it is first asked for."""
        headers = request.headers
        assert headers["x-number"] == request.query["number"] and len(headers.items()) == len(headers)
        return request.path, request.query, headers, request.path_params, request.body

    def read_at_once(self, request: turbo.Request) -> Tuple[Any, ...]:
        """By several threads that begin together: all get the same objects."""
        gate = threading.Barrier(READERS, timeout=60)

        def read() -> Tuple[Any, ...]:
            gate.wait()
            return self.read(request)

        first, *others = [each.result(60) for each in [self.readers.submit(read) for _ in range(READERS)]]
        if any(a is not b for other in others for a, b in zip(first, other)):
            self.wrong.append(f"{request!r}: an attribute was made twice")
        return first

    def _add_routes(self, app: turbo.App) -> None:
        @app.post("/sync/{number}")
        def sync(request: turbo.Request) -> Dict[str, Any]:
            request.background(self.background.add)
            return {"number": request.path_params["number"], "body": request.text, "all": self.value}

        @app.post("/async/{number}")
        async def aio(request: turbo.Request) -> bytes:
            task = asyncio.current_task()
            assert task is not None and task.get_name()
            request.background(self.background.add, 1)
            await asyncio.sleep(0)
            assert asyncio.current_task() is task
            return request.path_params["number"].encode() + b" " + request.body

        @app.post("/pool/{number}", threads=3)
        def pool(request: turbo.Request) -> str:
            request.background(self.background.add)
            params, body = self.read_at_once(request)[3:]
            self.kept.append(request)
            return f"{params['number']} {body.decode()}"

        @app.post("/later/{number}", threads=2)
        def later(request: turbo.Request) -> Any:
            return aio(request)  # goes on, on the shard's loop

        @app.post("/shared/{number}")
        def shared(request: turbo.Request) -> turbo.Response:
            return self.response

        @app.post("/pooled-shared/{number}", threads=2)
        def pooled_shared(request: turbo.Request) -> turbo.Response:
            return self.response

        @app.post("/big/{number}")
        async def big(request: turbo.Request) -> bytes:
            return BIG

        @app.post("/batch/{number}", batch=8, batch_wait_ms=1)
        def batch(requests: List[turbo.Request]) -> List[Any]:
            return [request.path_params["number"] + " " + request.text for request in requests]

        @app.post("/stream/{number}")
        async def stream(request: turbo.Request) -> turbo.StreamingResponse:
            return turbo.StreamingResponse(self.parts(request.path_params["number"]))

        @app.post("/fail/{number}")
        def fail(request: turbo.Request) -> bytes:
            raise LookupError(request.path_params["number"])

        @app.post("/pool-fail/{number}", threads=2)
        def pool_fail(request: turbo.Request) -> bytes:
            raise LookupError(request.path_params["number"])

        @app.exception_handler(LookupError)
        def lookup(request: turbo.Request, exception: LookupError) -> turbo.Response:
            return turbo.Response(str(exception.args[0]), 409)

    async def parts(self, number: str) -> Any:
        for i in range(4):
            yield f"{number}-{i} "
            await asyncio.sleep(0)


PATHS = ("sync", "async", "pool", "later", "shared", "pooled-shared", "big", "batch", "stream", "fail", "pool-fail")
IN_BACKGROUND = {"sync", "async", "pool", "later"}


def expected(shared: Shared, path: str, number: str, body: bytes) -> Tuple[int, Optional[bytes]]:
    if path in ("async", "pool", "later", "batch"):
        return 200, number.encode() + b" " + body
    if path == "big":
        return 200, BIG
    if path == "stream":
        return 200, "".join(f"{number}-{i} " for i in range(4)).encode()
    return (409, number.encode()) if "fail" in path else (201, None) if "shared" in path else (200, None)


def check(shared: Shared, path: str, number: str, body: bytes, answer: http.client.HTTPResponse) -> None:
    content, (status, wanted) = answer.read(), expected(shared, path, number, body)
    assert answer.status == status, (path, answer.status, content[:200])
    if wanted is not None:
        assert content == wanted, (path, content[:200])
    elif path == "sync":
        assert json.loads(content) == {"number": number, "body": body.decode(), "all": shared.value}
    else:
        assert json.loads(content) == {"shared": True} and answer.getheader("X-Too") == "ü"


class Client(threading.Thread):
    """Sends requests on one connection, and checks what comes. until: None, or when set, an end of the server is no error."""

    def __init__(self, shared: Shared, port: int, index: int, until: Optional[threading.Event] = None) -> None:
        super().__init__(name=f"client-{index}", daemon=True)
        self.shared, self.port, self.index, self.until = shared, port, index, until
        self.answered: Dict[str, int] = dict.fromkeys(PATHS, 0)
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            for i in itertools.count() if self.until is not None else range(REQUESTS):
                self.ask(connection, i)
        except BaseException as error:
            ended = self.until is not None and self.until.is_set()
            if not (ended and isinstance(error, (OSError, http.client.HTTPException))):
                self.error = error
        finally:
            connection.close()

    def ask(self, connection: http.client.HTTPConnection, i: int) -> None:
        path, number = PATHS[(i * 7 + self.index) % len(PATHS)], f"{self.index}-{i}"
        body = number.encode() * (1 + i % 5)
        connection.request("POST", f"/{path}/{number}?number={number}", body, {"X-Number": number})
        check(self.shared, path, number, body, connection.getresponse())
        self.answered[path] += 1


class Watcher(threading.Thread):
    """Looks at everything that may be looked at from anywhere, until told to end."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(name="watcher", daemon=True)
        self.shared, self.end, self.error = shared, threading.Event(), None  # type: Shared, threading.Event, Any

    def run(self) -> None:
        try:
            before = -1
            while not self.end.is_set():
                before = self.look(before)
        except BaseException as error:
            self.error = error

    def look(self, before: int) -> int:
        answered = self.shared.app.stats()["answered"]
        assert answered >= before
        for shard in self.shared.app.shards:
            stats = shard.stats()
            assert stats["requests"] >= 0 and shard.queued >= 0 and shard.inflight >= 0 and shard.closed in (True, False)
            loop = shard.loop
            assert loop is None or hasattr(loop, "call_soon")
        for request in self.shared.kept[-20:]:
            self.shared.read(request)
        return answered


def finish(threads: List[Any]) -> None:
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), f"{thread.name} hangs"
        if thread.error is not None:
            raise thread.error


def stop_from_many(app: turbo.App) -> None:
    """All of them return when it has stopped."""
    gate, left = threading.Barrier(4, timeout=60), []

    def stop() -> None:
        gate.wait()
        app.stop()
        left.extend(shard for shard in app.shards if not shard.closed or shard.loop is not None)

    stoppers = [threading.Thread(target=stop, daemon=True) for _ in range(4)]
    for stopper in stoppers:
        stopper.start()
    for stopper in stoppers:
        stopper.join(120)
        assert not stopper.is_alive(), "stop() hangs"
    assert left == []


def sum_of(clients: List[Client], paths: Set[str]) -> int:
    return sum(client.answered[path] for client in clients for path in paths)


@pytest.fixture
def shared() -> Any:
    state = Shared()
    yield state
    state.app.stop()
    state.readers.shutdown()


def serve_rounds(shared: Shared, **settings: Any) -> None:
    """Every answer is right, and counted once."""
    app = shared.app
    for _ in range(ROUNDS):
        shared.background.value = 0
        app.start(port=0, shards=SHARDS, **settings)
        watcher = Watcher(shared)
        clients = [Client(shared, app.port, i) for i in range(CLIENTS)]
        for thread in (watcher, *clients):
            thread.start()
        finish(clients)
        stop_from_many(app)
        watcher.end.set()
        finish([watcher])
        stats = app.stats()
        assert stats["taken"] == stats["answered"] == CLIENTS * REQUESTS
        assert sum(shard.stats()["requests"] for shard in app.shards) == CLIENTS * REQUESTS
        assert shared.background.value == sum_of(clients, IN_BACKGROUND)
        assert shared.wrong == []


def errors_of(caplog: pytest.LogCaptureFixture) -> List[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def test_every_answer_is_right_and_counted_once(shared: Shared, loop_name: str, task_name: str,
                                                caplog: pytest.LogCaptureFixture) -> None:
    serve_rounds(shared, loop=loop_name, task=task_name)
    assert errors_of(caplog) == []


def test_so_it_is_where_one_loop_serves_all_workers(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    serve_rounds(shared, mode="single")
    assert errors_of(caplog) == []


def test_stops_in_the_middle(shared: Shared) -> None:
    """Whatever was answered was answered right, and nothing of what was taken is missing."""
    app = shared.app
    for _ in range(ROUNDS * 3):
        app.start(port=0, shards=SHARDS, drain_timeout_ms=20000)
        stopped = threading.Event()
        clients = [Client(shared, app.port, i, stopped) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        while app.stats()["answered"] < CLIENTS * 10:
            stopped.wait(0.001)
        stopped.set()
        stop_from_many(app)
        finish(clients)
        stats = app.stats()
        assert stats["taken"] == stats["answered"] + stats["shed"] + stats["dropped"] + stats["abandoned"]
        assert stats["abandoned"] == 0
        assert sum_of(clients, set(PATHS)) <= stats["answered"]
        assert shared.wrong == []


def test_a_shard_is_driven_by_its_own_thread_only(shared: Shared) -> None:
    """Its methods for that thread refuse others."""
    shared.app.start(port=0, shards=1)
    shard: Any = shared.app.shards[0]
    for method in (shard.poll, shard._late, shard._on_timer, shard.tasks, shard.detach):
        with pytest.raises(RuntimeError, match="not the shard's thread"):
            method()
    with pytest.raises(RuntimeError, match="has a loop"):
        shard.forget()
