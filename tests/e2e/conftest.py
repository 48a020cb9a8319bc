"""Fixtures of the end-to-end tests: a demo of each kind, started once, and a way to start others."""

from typing import Callable, Iterator, List

import pytest

import harness
from harness import Client, Server


@pytest.fixture(scope="session", params=harness.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of demo."""
    return request.param


@pytest.fixture(scope="session")
def server(kind: str) -> Iterator[Server]:
    """A demo with default settings, which the tests of a session share; it must end well."""
    server = harness.demo(kind)
    server.kind = kind
    yield server
    errors = server.stop()
    if kind not in harness.PYTHON_KINDS:
        assert harness.totals_of(errors).abandoned == 0


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts demos of this test's own; those that it does not stop itself are stopped, and must end well."""
    servers: List[Server] = []

    def start(kind: str, *flags: str, **options) -> Server:
        servers.append(harness.demo(kind, *flags, **options))
        return servers[-1]

    yield start
    for server in servers:
        if not server.process.stdout.closed:  # also one that has ended by itself: its exit code and reports count
            server.stop()


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """A kind that the environment leaves out is left out where a test names it, too."""
    for item in items:
        named = getattr(item, "callspec", None) and item.callspec.params.get("topology")
        if named and named not in harness.KINDS:
            item.add_marker(pytest.mark.skip(reason=f"TURBO_E2E_KINDS leaves {named} out"))
