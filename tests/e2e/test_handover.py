"""One server takes over from another that shares its listening socket: clients notice nothing but "Connection: close"."""

import os
import signal
import socket
import time
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

import harness
from harness import LOST, OK_BODY, Client, Server, request, wait_until
from test_stop import IDS, SIGNALS, refuses

Start = Callable[..., Server]
LONG = "86400000"

ASKS = [
    ("GET", "/sync", b""),
    ("GET", "/async", b""),
    ("GET", "/sleep?ms=5", b""),
    ("POST", "/echo", b"body"),
    ("GET", "/stream?chunks=3&bytes=9", b""),
    ("GET", "/big?bytes=300000", b""),
    ("HEAD", "/json", b""),
    ("GET", "/stats", b""),
    ("GET", "/no/such", b""),
]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket that several servers share."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(200)
        yield listener


@pytest.fixture
def share(start: Start, listener: socket.socket) -> Start:
    """Starts a demo that accepts from the shared socket."""

    def share(kind: str, *flags: str) -> Server:
        server = start(kind, "--fd", str(listener.fileno()), *flags, pass_fds=[listener.fileno()])
        server.address = listener.getsockname()
        return server

    return share


def holds(server: Server, listener: socket.socket) -> bool:
    """Whether the server has the socket open."""
    socket_name = os.readlink(f"/proc/self/fd/{listener.fileno()}")
    for fd in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            if os.readlink(fd) == socket_name:
                return True
        except FileNotFoundError:
            pass  # closed meanwhile
    return False


def connected(server: Server, count: int) -> List[Client]:
    """So many clients, every second of which has had an answer."""
    clients = [server.client() for _ in range(count)]
    for client in clients[::2]:
        answer = client.request()
        assert answer.body == OK_BODY and answer.keeps_alive
    wait_until(lambda: server.stats()["connections"] == count + 1, "all are accepted")
    return clients


def expect_last(client: Client, method: str = "GET", target: str = "/json", body: bytes = b"") -> None:
    answer = client.request(target, method, body=body)
    assert answer.status == (404 if target == "/no/such" else 200)
    assert answer.get("Connection") == "close"
    client.expect_end()
    client.close()


# -- drain_idle_ms --


def test_idle_connection_has_its_next_request_answered(start: Start, kind: str) -> None:
    server = start(kind, "--drain-idle-ms", LONG, "--idle-timeout-ms", "0", "--drain-timeout-ms", LONG)
    clients = connected(server, 2 * len(ASKS))
    server.signal(signal.SIGTERM)
    wait_until(lambda: refuses(server), "the listener is closed")
    for i, client in enumerate(clients):
        assert server.process.poll() is None
        expect_last(client, *ASKS[i // 2])
    assert server.wait() == 0


def test_pipelined_requests_are_answered_and_the_last_one_closes(start: Start, kind: str) -> None:
    server = start(kind, "--drain-idle-ms", LONG, "--idle-timeout-ms", "0", "--drain-timeout-ms", LONG)
    (client,) = connected(server, 1)
    server.signal(signal.SIGTERM)
    wait_until(lambda: refuses(server), "the listener is closed")
    client.send(request("/sync") + request("/sleep?ms=20") + request("/async") + request("/no/such") + request("/sync"))
    answers = [client.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200]
    assert [answer.keeps_alive for answer in answers] == [True, True, True, True, False]
    client.expect_end()
    client.close()
    assert server.wait() == 0


def test_silent_connection_is_closed_without_a_word(start: Start, kind: str) -> None:
    server = start(kind, "--drain-idle-ms", "200", "--drain-timeout-ms", LONG)
    clients = connected(server, 10)
    begun = time.monotonic()
    server.signal(signal.SIGTERM)
    for client in clients:
        client.expect_end()
        assert time.monotonic() - begun >= 0.2
        client.close()
    assert server.wait() == 0


def test_drain_ends_at_its_timeout_also_with_silent_connections(start: Start, kind: str) -> None:
    server = start(kind, "--drain-idle-ms", LONG, "--drain-timeout-ms", "200")
    with server.client() as asleep, server.client() as silent:
        asleep.send(request("/sleep?ms=60000"))
        assert silent.request().body == OK_BODY
        wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 1, "in flight")
        server.signal(signal.SIGTERM)
        assert server.wait() == LOST  # the sleeper; a silent connection owes nothing
        silent.expect_end()
    assert server.totals(code=LOST).abandoned == 1


@pytest.mark.parametrize("number", SIGNALS, ids=IDS)
def test_second_signal_ends_the_wait_for_silent_connections(start: Start, kind: str, number: int) -> None:
    server = start(kind, "--drain-idle-ms", LONG, "--drain-timeout-ms", LONG)
    (client,) = connected(server, 1)
    server.signal(signal.SIGTERM)
    wait_until(lambda: refuses(server), "the listener is closed")
    assert server.process.poll() is None
    server.signal(number)
    assert server.wait() == 0
    client.expect_end()
    client.close()


# -- one listening socket, two servers --


def test_clients_move_to_the_next_server(share: Start, kind: str, listener: socket.socket) -> None:
    old = share(kind, "--drain-idle-ms", LONG, "--idle-timeout-ms", "0", "--drain-timeout-ms", LONG)
    clients = connected(old, 10)
    new = share(kind)
    old.signal(signal.SIGTERM)
    wait_until(lambda: not holds(old, listener), "the old one has closed it")
    for client in clients:
        assert old.process.poll() is None
        expect_last(client)
        answer = new.get("/json")
        assert answer.body == OK_BODY and answer.keeps_alive
    assert old.wait() == 0


def test_accept_queue_outlives_the_server(share: Start, kind: str, listener: socket.socket) -> None:
    """Who waits there is nobody's loss: the queue is the socket's, and the next server's."""
    old = share(kind, "--connections-max", "1")
    with old.client() as served:
        assert served.request().body == OK_BODY
        waiting = [old.client() for _ in range(20)]
        for client in waiting:
            client.send(request())
        assert served.request("/stats").json()["connections"] == 1
        old.signal(signal.SIGTERM)
        served.expect_end()
    assert old.wait() == 0
    share(kind)
    for client in waiting:
        assert client.answer().body == OK_BODY
        client.close()
