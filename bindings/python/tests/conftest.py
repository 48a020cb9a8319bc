"""Fixtures: servers that are stopped at the end of their test, and clients that say exactly what they are told."""

import http.client
import importlib.util
import logging
import socket
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest
import turbo

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None
LOOPS = ["asyncio", "uvloop"] if HAS_UVLOOP else ["asyncio"]

Serve = Callable[..., "Client"]


class Answer(NamedTuple):
    """What a client got."""

    status: int
    headers: Dict[str, str]
    body: bytes


class Client:
    """A server that runs, and requests to it. Each request has a connection of its own."""

    def __init__(self, app: turbo.App) -> None:
        self.app = app
        self.port = app.port

    def ask(self, method: str, path: str, body: Optional[bytes] = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def socket(self) -> socket.socket:
        """A connection, for bytes of the test's own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(app, **settings) starts an app on a free port and returns a Client."""
    apps: List[turbo.App] = []

    def start(app: turbo.App, **settings: Any) -> Client:
        app.start(port=0, **settings)
        apps.append(app)
        return Client(app)

    yield start
    for app in apps:
        app.stop()


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """Every loop that a shard may have here."""
    return str(request.param)


@pytest.fixture(params=["turbo", "stock"])
def task_name(request: pytest.FixtureRequest) -> str:
    """Both kinds of task; asyncio's own is the oracle."""
    return str(request.param)


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Callable[[], List[logging.LogRecord]]:
    """What the logger "turbo" was told at level ERROR."""
    caplog.set_level(logging.DEBUG, logger="turbo")
    return lambda: [record for record in caplog.records if record.name == "turbo" and record.levelno >= logging.ERROR]


def read_answer(connection: socket.socket) -> bytes:
    """All bytes until the server closes."""
    parts = []
    while True:
        part = connection.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def wait_until(condition: Callable[[], object]) -> None:
    """Until it is true; fails after ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.001)
