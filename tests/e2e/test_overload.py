"""A full queue answers 503 with Retry-After, and every request ends in exactly one of the four counts."""

from collections import Counter
from typing import Callable, List

import pytest

import harness
from harness import Answer, Server, Totals, load, request, wait_until

ONE_SHARD = ("--shards", "1", "--batch-max", "1")


def totals(server: Server, asked: int) -> Totals:
    """What became of the requests, without those that asked for the counters; `asked` of these came before."""
    stats = server.stats()
    ends = [stats[end] for end in ("answered", "shed", "dropped", "abandoned")]
    assert stats["taken"] - 1 == sum(ends)  # the one that asks is not answered yet
    return Totals(stats["taken"] - 1 - asked, ends[0] - asked, *ends[1:])


def check_shed(answers: List[Answer]) -> Counter:
    for answer in answers:
        assert answer.status in (200, 503), answer
        if answer.status == 503:
            assert (answer.get("Retry-After"), answer.keeps_alive) == ("1", True)
    return Counter(answer.status for answer in answers)


@pytest.mark.parametrize("queue_max", [1, 5])
def test_pipelined_requests_beyond_the_queue(start: Callable[..., Server], kind: str, queue_max: int) -> None:
    server = start(kind, *ONE_SHARD, "--queue-max", str(queue_max))
    with server.client() as client:
        client.send(request("/block?ms=20") * 40)
        seen = check_shed([client.answer() for _ in range(40)])
    assert seen[200] >= queue_max and seen[503] > 0
    assert totals(server, 0) == Totals(40, seen[200], seen[503], 0, 0)


@pytest.mark.skipif("io0" not in harness.KINDS, reason="TURBO_E2E_KINDS leaves io0 out")
@pytest.mark.parametrize("count,shed", [(3, 0), (4, 0), (5, 1), (7, 3)])
def test_queue_takes_exactly_its_limit(start: Callable[..., Server], count: int, shed: int) -> None:
    """Where a shard reads for itself, what came in one read is queued before any of it runs."""
    server = start("io0", *ONE_SHARD, "--queue-max", "4")
    with server.client() as client:
        client.send(request("/sync") * count)
        seen = check_shed([client.answer() for _ in range(count)])
    assert seen == Counter({200: count - shed, 503: shed}) - Counter()


def test_load_beyond_the_queue_loses_nothing(start: Callable[..., Server], kind: str) -> None:
    server = start(kind, *ONE_SHARD, "--queue-max", "8")
    answers = load(server, "/block?ms=2", connections=30, requests=20, depth=4)
    seen = Counter(status for status, _ in answers)
    assert set(seen) == {200, 503} and sum(seen.values()) == 600
    assert totals(server, 0) == Totals(600, seen[200], seen[503], 0, 0)
    assert server.stats()["shards"][0]["queued_max"] <= 8
    assert server.get("/sync").status == 200  # and it goes on


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind in ("shards", "inline", "python")])
def test_clients_that_leave_the_queue_are_dropped(start: Callable[..., Server], kind: str) -> None:
    server = start(kind, *ONE_SHARD, "--queue-max", "4", "--io-threads", "1")
    with server.client() as first:
        first.send(request("/block?ms=900"))
        wait_until(lambda: server.stats()["shards"][0]["inflight"] == 1, "the shard is busy")
        queued = []
        for n in range(1, 5):
            queued.append(server.client())
            queued[-1].send(request("/block?ms=0"))
            wait_until(lambda: server.stats()["shards"][0]["queued"] == n, f"{n} queued")
        refused = [server.get("/block?ms=0") for _ in range(3)]  # at once, while the shard is busy
        assert check_shed(refused) == {503: 3}
        before = server.stats()
        assert before["shards"][0]["inflight"] == 1, "the machine was too slow for this test"
        for client in queued[:2]:
            client.reset()
        wait_until(lambda: server.stats()["dropped"] == 2, "two dropped")
        answers = [first.answer()] + [client.answer() for client in queued[2:]]
        assert check_shed(answers) == {200: 3}
        for client in queued[2:]:
            client.close()
    wait_until(lambda: server.stats()["shards"][0]["dropped"] == 2, "two taken from the queue")
    assert server.stats()["shards"][0]["requests"] == 3  # no handler ran for those who left
    stats = server.stats()
    assert stats["taken"] - 1 == stats["answered"] + stats["shed"] + stats["dropped"] + stats["abandoned"]
    assert (stats["shed"], stats["dropped"], stats["abandoned"]) == (3, 2, 0)


@pytest.mark.parametrize("kind", harness.C_KINDS)
def test_totals_at_the_end_equal_the_client_s(start: Callable[..., Server], kind: str) -> None:
    server = start(kind, *ONE_SHARD, "--queue-max", "3")
    answers = load(server, "/block?ms=1", connections=20, requests=10, depth=2)
    seen = Counter(status for status, _ in answers)
    with server.client() as client:  # refused ones are answered, too
        client.send(b"nonsense\r\n\r\n")
        assert client.answer().status == 400
    assert server.totals() == Totals(201, seen[200] + 1, seen[503], 0, 0)
