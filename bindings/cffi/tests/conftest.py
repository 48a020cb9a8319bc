"""Fixtures: servers that are stopped at the end of their test, and a record of which functions of the library were
called.

Every access to turbo_cffi.lib, by tests and by the package's own modules, goes through a Recorder. So test_exports.py
knows what has really been called, rather than what is written down somewhere.
"""

import http.client
import logging
import re
import sys
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Set

import pytest
import turbo_cffi

TESTS = Path(__file__).resolve().parent
DEADLINE = 20  # seconds; nothing takes that long: what hangs fails here
called: Set[str] = set()


class Recorder:
    """lib, but for the functions of the library, which note that they were called."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._lib, name)
        if not re.match(r"turbo_(?!py_)", name):
            return value

        def record(*arguments: Any) -> Any:
            called.add(name)
            return value(*arguments)

        setattr(self, name, record)
        return record


real = turbo_cffi.lib
for name, module in list(sys.modules.items()):
    if re.match(r"turbo_cffi(?!\._turbo)", name) and getattr(module, "lib", None) is real:
        setattr(module, "lib", Recorder(real))


class Answer(NamedTuple):
    status: int
    fields: List[Any]
    body: bytes

    def field(self, name: str) -> Optional[str]:
        return next((value for known, value in self.fields if known.lower() == name.lower()), None)


class Client:
    """A server that runs, and requests to it. Each request has a connection of its own."""

    def __init__(self, server: turbo_cffi.Server) -> None:
        self.server = server
        self.port = server.port

    def ask(self, method: str, path: str, body: Optional[bytes] = None, **fields: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in fields.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def get(self, path: str, **fields: str) -> Answer:
        return self.ask("GET", path, **fields)


Serve = Callable[[turbo_cffi.Server], Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(server) starts a server on a free port and returns a Client."""
    servers: List[turbo_cffi.Server] = []

    def start(server: turbo_cffi.Server) -> Client:
        server.listen("127.0.0.1:0")
        server.start()
        servers.append(server)
        return Client(server)

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Callable[[], List[str]]:
    """The exceptions that callbacks have raised, as text."""
    caplog.set_level(logging.ERROR, logger="turbo_cffi")
    return lambda: [
        repr(record.exc_info[1]) for record in caplog.records if record.name == "turbo_cffi" and record.exc_info
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    """test_exports.py judges what all others have called: it runs last, and only when all others ran."""
    items.sort(key=lambda item: item.path.name == "test_exports.py")
    whole = {path.name for path in TESTS.glob("test_*.py")} == {item.path.name for item in items}
    if not whole or config.option.keyword or config.option.markexpr or any("::" in str(arg) for arg in config.args):
        for item in items:
            if item.path.name == "test_exports.py":
                item.add_marker(pytest.mark.skip(reason="needs a run of all tests"))
