"""Handlers that block, on the threads of their shard's pool."""

from typing import Callable, Dict, List

import pytest

import harness
from harness import OK_BODY, Client, Server, request, wait_until

KINDS = [kind for kind in harness.KINDS if kind in ("shards", "io0", "python", "single")]
Start = Callable[..., Server]


def shard_of(server: Server) -> Dict[str, int]:
    return server.stats()["shards"][0]


def answers(clients: List[Client]) -> List[Dict[str, int]]:
    places = []
    for client in clients:
        answer = client.answer()
        assert answer.status == 200
        places.append(answer.json())
        client.close()
    return places


def ask(server: Server, count: int, target: str) -> List[Client]:
    clients = [server.client() for _ in range(count)]
    for client in clients:
        client.send(request(target))
    return clients


@pytest.mark.parametrize("kind", KINDS)
def test_shard_goes_on_while_its_pool_blocks(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "1")
    assert shard_of(server)["pool_threads"] == 4
    clients = ask(server, 10, "/pool?ms=1000")
    wait_until(lambda: shard_of(server)["pool_busy"] == 4, "four run")
    assert shard_of(server)["pool_queued"] == 6
    for _ in range(20):
        assert server.get("/sync").body == OK_BODY
    assert shard_of(server)["pool_requests"] == 4, "all of that was answered while the first four slept"
    places = answers(clients)
    wait_until(lambda: shard_of(server)["pool_busy"] == 0, "the pool has nothing to do")
    shard = shard_of(server)
    assert (shard["pool_requests"], shard["pool_queued"]) == (10, 0)
    assert len({place["thread"] for place in places}) == 4
    if kind in harness.C_KINDS:  # Python tells the system the names of its threads only from 3.14 on
        assert {server.threads()[place["thread"]] for place in places} == {"turbo-pool-0"}


@pytest.mark.parametrize("kind", KINDS)
def test_pools_are_their_shards_own(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "2", "--placement", "round_robin")
    places = answers(ask(server, 16, "/pool?ms=20"))
    by_shard = [{place["thread"] for place in places if place["shard"] == shard} for shard in range(2)]
    assert all(1 <= len(threads) <= 4 for threads in by_shard)
    assert not by_shard[0] & by_shard[1]


@pytest.mark.parametrize("kind", KINDS)
def test_busy_pool_passes_requests_on_to_the_next_shard(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "2", "--placement", "route")
    clients = ask(server, 16, "/pool?ms=1000")
    wait_until(lambda: sum(shard["pool_busy"] for shard in server.stats()["shards"]) == 8, "both pools are full")
    answers(clients)


@pytest.mark.parametrize("kind", KINDS)
def test_client_that_goes_while_it_waits_takes_no_thread(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "1")
    clients = ask(server, 4, "/pool?ms=1000")
    wait_until(lambda: shard_of(server)["pool_busy"] == 4, "four run")
    gone = ask(server, 3, "/pool?ms=1000")
    wait_until(lambda: shard_of(server)["pool_queued"] == 3, "three wait")
    for client in gone:
        client.reset()
    answers(clients)
    wait_until(lambda: shard_of(server)["pool_dropped"] == 3, "they were dropped")
    assert shard_of(server)["pool_requests"] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_stop_answers_what_the_pool_has(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "1")
    clients = ask(server, 9, "/pool?ms=100")
    wait_until(lambda: shard_of(server)["pool_busy"] == 4, "four run")
    server.stop()
    assert len(answers(clients)) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_bad_number_is_400_from_the_pool_too(start: Start, kind: str) -> None:
    server = start(kind, "--shards", "1")
    assert server.get("/pool?ms=x").status == 400
    assert server.get("/pool?ms=1").status == 200
