"""handler_timeout_ms: the client has 504, the handler is told, and its place is free again when it is done."""

from typing import Callable

import pytest

import harness
from harness import OK_BODY, Server, request, wait_until

Start = Callable[..., Server]
# In mode="single" a shard waits for its coroutine, and looks at nothing meanwhile.
KINDS = [kind for kind in harness.KINDS if kind != "single"]
ONE = ("--shards", "1")


def shard_of(server: Server) -> dict:
    return server.stats()["shards"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_slow_handler_is_answered_504_and_told(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--handler-timeout-ms", "150")
    with server.client() as client:
        client.send(request("/sleep?ms=60000") * 3 + request("/sync"))
        for _ in range(3):
            answer = client.answer()
            assert (answer.status, answer.keeps_alive, answer.get("Retry-After")) == (504, True, None)
        assert client.answer().body == OK_BODY
        assert client.request("/async").body == OK_BODY  # the connection goes on
    wait_until(lambda: shard_of(server)["inflight"] == 0, "their timers, or tasks, were cancelled")
    stats = server.stats()
    assert stats["timeouts_handler"] == stats["shards"][0]["timed_out"] == 3
    assert 'turbo_shard_timed_out_total{shard="0"} 3\n' in server.get("/metrics").body.decode()
    if kind not in harness.PYTHON_KINDS:
        totals = server.totals()
        assert (totals.taken, totals.abandoned) == (totals.answered, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_handler_in_time_is_not_disturbed(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--handler-timeout-ms", "20000")
    assert server.get("/sleep?ms=300").body == OK_BODY
    assert server.get("/sync").body == OK_BODY
    assert server.stats()["timeouts_handler"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_stream_that_has_begun_has_all_the_time(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--handler-timeout-ms", "200")
    with server.client(receive_buffer=4096) as slow, server.client() as other:
        slow.send(request("/stream?chunks=400&bytes=40000"))
        head = slow.head()
        assert head.status == 200
        assert other.request("/sleep?ms=60000").status == 504  # more time than a handler has, has passed
        slow._read_chunks(head)
        assert len(head.body) == 16_000_000
    assert server.stats()["timeouts_handler"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_handler_that_blocks_a_thread_is_answered_and_keeps_its_place(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--handler-timeout-ms", "150")
    with server.client() as client:
        assert client.request("/pool?ms=1000").status == 504
        shard = shard_of(server)
        assert (shard["pool_busy"], shard["inflight"]) == (1, 1), "it cannot be interrupted"
        wait_until(lambda: shard_of(server)["inflight"] == 0, "it is done")
        assert client.request("/pool?ms=1").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_handler_that_blocks_its_shard_is_in_time_all_the_same(start: Start, kind: str) -> None:
    """Nobody is there to answer in its place; what it answers then is the answer."""
    server = start(kind, *ONE, "--handler-timeout-ms", "50")
    assert server.get("/block?ms=300").status == 200
    assert server.stats()["timeouts_handler"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_drain_waits_for_nobody_who_was_told(start: Start, kind: str) -> None:
    server = start(kind, *ONE, "--handler-timeout-ms", "300", "--drain-timeout-ms", "86400000")
    with server.client() as client:
        client.send(request("/sleep?ms=60000"))
        wait_until(lambda: shard_of(server)["inflight"] == 1, "in flight")
        server.stop()
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (504, "close")
        client.expect_end()
