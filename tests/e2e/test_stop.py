"""Stopping, as clients see it: what was sent before the signal is answered, and nothing is reset."""

import selectors
import signal
from typing import Callable, List

import pytest

import harness
from harness import LOST, OK_BODY, TIMEOUT, Client, Closed, Server, request, wait_until

SIGNALS = [signal.SIGTERM, signal.SIGINT]
IDS = ["SIGTERM", "SIGINT"]
Start = Callable[..., Server]


def refuses(server: Server) -> bool:
    """Whether nobody listens any more."""
    try:
        server.client().close()
        return False
    except ConnectionResetError:  # connected after the signal, while the listener was being closed
        return False
    except ConnectionRefusedError:
        return True


def answers_until_end(client: Client) -> int:
    """Read good answers until the connection ends in order; a reset is an error."""
    count = 0
    while True:
        try:
            answer = client.answer()
        except Closed:
            assert not client.buffer, "cut off within an answer"
            return count
        assert (answer.status, answer.body) == (200, OK_BODY)
        count += 1


def run_load(clients: List[Client], wires: List[bytes], answers: int) -> List[int]:
    """Keep requests under way on all clients until so many answers came in all. Returns how many each is owed."""
    owed = [0] * len(clients)
    total = 0
    with selectors.DefaultSelector() as selector:
        for i, client in enumerate(clients):
            client.send(wires[i] * 4)
            owed[i] += 4
            selector.register(client.socket, selectors.EVENT_READ, i)
        while total < answers:
            ready = selector.select(TIMEOUT)
            assert ready, "no answer"
            for key, _ in ready:
                i = key.data
                assert clients[i].answer().body == OK_BODY
                clients[i].send(wires[i])
                total += 1
    return owed


@pytest.mark.parametrize("number", SIGNALS, ids=IDS)
@pytest.mark.parametrize("target", ["/sync", "/async", "/sleep?ms=20", "mixed"])
def test_everything_sent_before_the_signal_is_answered(start: Start, kind: str, target: str, number: int) -> None:
    server = start(kind)
    targets = ["/sync", "/async", "/sleep?ms=30", "/json"] if target == "mixed" else [target]
    wires = [request(targets[i % len(targets)]) for i in range(60)]
    clients = [server.client() for _ in range(40)]
    owed = run_load(clients, wires, answers=400)
    for _ in range(20):  # these may still be in the accept queue
        clients.append(server.client())
        clients[-1].send(wires[len(clients) - 1])
        owed.append(1)
    server.signal(number)
    assert [answers_until_end(client) for client in clients] == owed
    for client in clients:
        client.close()
    assert server.wait() == 0
    totals = server.totals()
    assert (totals.taken, totals.abandoned, totals.dropped) == (totals.answered, 0, 0)


def test_clients_that_go_on_sending_lose_nothing_sent_before(start: Start, kind: str) -> None:
    """They send until they are told to close, as clients do; the server must not reset what it still owes."""
    server = start(kind)
    clients = [server.client() for _ in range(30)]
    owed = run_load(clients, [request("/sleep?ms=5")] * 30, answers=200)
    server.signal(signal.SIGTERM)
    for client, before in zip(clients, owed):
        count = 0
        try:
            while True:
                answer = client.answer()
                assert answer.body == OK_BODY
                count += 1
                if answer.keeps_alive:
                    client.send(request("/sync"))
        except (Closed, ConnectionResetError, BrokenPipeError):
            pass  # what was sent after the signal may be lost
        assert count >= before
        client.close()
    assert server.wait() == 0


def test_last_answer_says_close(start: Start, kind: str) -> None:
    server = start(kind)
    with server.client() as client:
        client.send(request("/sleep?ms=400"))
        wait_until(lambda: server.stats()["taken"] >= 1, "taken")
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server), "the listener is closed")
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        client.expect_end()


def test_request_that_has_begun_is_answered(start: Start, kind: str) -> None:
    """Taken is a request whose first byte has come: its rest may come during the drain."""
    server = start(kind)
    with server.client() as head, server.client() as body, server.client() as idle:
        assert idle.request().body == OK_BODY
        head.send(b"GET /json HT")
        body.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        wait_until(lambda: server.stats()["taken"] >= 4, "both have begun")
        server.signal(signal.SIGTERM)
        idle.expect_end()
        head.send(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert head.answer().body == OK_BODY
        head.expect_end()
        body.send(b"cd")
        assert body.answer().body == b"abcd"
        body.expect_end()


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind != "single"])
def test_a_body_whose_answer_was_sent_holds_nothing_up(start: Start, kind: str) -> None:
    server = start(kind, "--drain-timeout-ms", "86400000", "--body-stall-timeout-ms", "0")
    with server.client() as client:
        client.send(b"POST /upload?take=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na")
        assert client.answer().json()["bytes"] == 1
        server.signal(signal.SIGTERM)
        client.expect_end()
        assert server.wait() == 0


def test_big_answer_under_way_is_sent_whole(start: Start, kind: str) -> None:
    server = start(kind)
    with server.client(receive_buffer=8192) as big, server.client(receive_buffer=8192) as stream:
        big.send(request("/big?bytes=20000000"))
        stream.send(request("/stream?chunks=200&bytes=50000"))
        wait_until(lambda: server.stats()["taken"] >= 2, "taken")
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server), "the listener is closed")
        assert big.answer().body == bytes(20_000_000)
        assert stream.answer().body == bytes(10_000_000)


@pytest.mark.parametrize("number", SIGNALS, ids=IDS)
def test_second_signal_ends_the_drain(start: Start, kind: str, number: int) -> None:
    server = start(kind, "--drain-timeout-ms", "86400000")
    with server.client() as client:
        client.send(request("/sleep?ms=60000"))
        wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 1, "in flight")
        server.signal(signal.SIGTERM)
        wait_until(lambda: refuses(server), "the listener is closed")
        assert server.process.poll() is None
        server.signal(number)
        assert server.wait() == LOST
    assert server.totals(code=LOST).abandoned == 1


def test_drain_ends_at_its_timeout(start: Start, kind: str) -> None:
    server = start(kind, "--drain-timeout-ms", "300")
    with server.client() as asleep, server.client() as half:
        asleep.send(request("/sleep?ms=60000"))
        half.send(b"GET / HT")
        wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 1, "in flight")
        wait_until(lambda: server.stats()["taken"] >= 4, "both taken")
        server.signal(signal.SIGTERM)
        assert server.wait() == LOST
    assert server.totals(code=LOST).abandoned == 2


def test_signal_right_behind_the_address_line(kind: str) -> None:
    """Whoever reads the line may stop the server: no signal is lost between start and run."""
    for _ in range(3):
        harness.demo(kind).stop()


def test_stop_with_nothing_to_do_closes_idle_connections(start: Start, kind: str) -> None:
    server = start(kind)
    clients = [server.client() for _ in range(50)]
    for client in clients[::2]:
        assert client.request().body == OK_BODY
    wait_until(lambda: server.stats()["connections"] == 51, "all accepted")
    server.signal(signal.SIGTERM)
    for client in clients:
        client.expect_end()
        client.close()
    assert server.wait() == 0
