"""Requests that wait too long for their handler; what is answered to those, and to others that no handler is run for."""

from collections import Counter
from typing import Callable

import pytest

import harness
from harness import OK_BODY, Server, Totals, request, wait_until

Start = Callable[..., Server]
ONE = ("--shards", "1")


def shard_of(server: Server) -> dict:
    return server.stats()["shards"][0]


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind != "inline"])
def test_late_requests_are_answered_without_their_handler(start: Start, kind: str) -> None:
    """The shard is kept busy by handlers that block: those behind them are late when it comes to them."""
    server = start(kind, *ONE, "--batch-max", "1", "--queue-timeout-ms", "100")
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.send(request("/block?ms=300"))
    answers = [client.answer() for client in clients]
    seen = Counter(answer.status for answer in answers)
    assert set(seen) == {200, 503} and seen[503] >= 4, seen
    for answer in answers:
        if answer.status == 503:
            assert (answer.get("Retry-After"), answer.keeps_alive) == ("1", True)
    for client in clients:
        assert client.request("/sync").body == OK_BODY  # and the connection goes on
        client.close()
    stats = server.stats()
    assert stats["timeouts_queue"] == stats["shed"] == seen[503]
    assert stats["shards"][0]["expired"] == seen[503]
    assert f'turbo_shard_expired_total{{shard="0"}} {seen[503]}\n' in server.get("/metrics").body.decode()
    if kind not in harness.PYTHON_KINDS:
        assert server.totals() == Totals(18, 18 - seen[503], seen[503], 0, 0)


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind != "single"])
def test_a_full_gate_holds_nobody_for_ever(start: Start, kind: str) -> None:
    """The handler that is in flight is in no hurry, and none that waits is let in."""
    server = start(kind, *ONE, "--inflight-max", "1", "--queue-timeout-ms", "200", "--drain-timeout-ms", "100")
    with server.client() as busy, server.client() as late:
        busy.send(request("/sleep?ms=2500"))
        wait_until(lambda: shard_of(server)["inflight"] == 1, "the gate is full")
        late.send(request("/async") * 3)
        assert [late.answer().status for _ in range(3)] == [503] * 3
        assert shard_of(server)["inflight"] == 1, "the machine was too slow for this test"
        assert shard_of(server)["queued"] == 0 and server.stats()["timeouts_queue"] == 3
        assert busy.answer().body == OK_BODY
        assert late.request("/async").body == OK_BODY


def limit_of(server: Server) -> int:
    return shard_of(server)["patience_limit_ms"]


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind in ("shards", "python")])
@pytest.mark.parametrize("patience,status", [("learn", 503), ("off", 200)])
def test_clients_that_leave_teach_how_long_others_may_wait(start: Start, kind: str, patience: str, status: int) -> None:
    """They are given to the handler one by one, late, and leave while it works; the last six wait on."""
    server = start(kind, *ONE, "--inflight-max", "1", "--queue-patience", patience)
    clients = [server.client() for _ in range(30)]
    for n, client in enumerate(clients, 1):
        client.send(request("/sleep?ms=120"))
        wait_until(lambda: sum(map(shard_of(server).get, ("queued", "requests"))) >= n, f"{n} are there")
    for n, client in enumerate(clients[:24], 1):
        wait_until(lambda: shard_of(server)["requests"] >= n or limit_of(server), f"{n} were begun")
        if limit_of(server):
            break
        client.close()
    statuses = [client.answer().status for client in clients[24:]]
    assert statuses[1:] == [status] * 5
    assert (limit_of(server) > 0) == (status == 503)
    for client in clients[24:]:
        client.close()


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind != "inline"])
def test_without_a_timeout_they_wait(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--batch-max", "1")
    clients = [server.client() for _ in range(3)]
    for client in clients:
        client.send(request("/block?ms=300"))
    assert [client.answer().status for client in clients] == [200] * 3
    for client in clients:
        client.close()


STATUSES = [([], 503, "1"), (["--shed-status", "429", "--retry-after-s", "30"], 429, "30"), (["--retry-after-s", "0"], 503, None)]


@pytest.mark.parametrize("flags,status,retry_after", STATUSES)
def test_status_and_retry_after_of_a_full_queue(start: Start, kind: str, flags: list, status: int, retry_after) -> None:
    server = start(kind, *ONE, "--batch-max", "1", "--queue-max", "1", *flags)
    with server.client() as client:
        client.send(request("/block?ms=20") * 20)
        answers = [client.answer() for _ in range(20)]
    refused = [answer for answer in answers if answer.status != 200]
    assert refused and {(answer.status, answer.get("Retry-After")) for answer in refused} == {(status, retry_after)}
    assert server.stats()["shed"] == len(refused)


@pytest.mark.parametrize("flags,status,retry_after", STATUSES)
def test_status_and_retry_after_of_body_memory(start: Start, kind: str, flags: list, status: int, retry_after) -> None:
    server = start(kind, "--body-memory-max-bytes", "1000", *flags)
    with server.client() as client:
        answer = client.request("/echo", "POST", body=bytes(1001))
        assert (answer.status, answer.get("Retry-After")) == (status, retry_after)
        client.expect_end()
    assert server.stats()["shed"] == 1


@pytest.mark.parametrize("flag,value", [("--shed-status", "500"), ("--retry-after-s", "86401"), ("--queue-timeout-ms", "-1")])
def test_bad_values_are_refused(kind: str, flag: str, value: str) -> None:
    with pytest.raises(AssertionError, match=flag[2:].replace("-", "_")):
        harness.demo(kind, flag, value)
