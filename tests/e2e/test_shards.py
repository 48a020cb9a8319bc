"""Shards really work: where requests run, in which batches, on how many CPUs."""

import json
import os
import time
from typing import Dict, Iterator, List, Set

import pytest

import harness
from harness import Server, load

SHARDS = 14


@pytest.fixture(scope="module")
def fourteen() -> Iterator[Server]:
    with harness.shards("--shards", str(SHARDS), "--io-threads", "1") as server:
        yield server


class Counters:
    """What the shards have done since a moment."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.before = server.stats()["shards"]

    def since(self, what: str) -> List[int]:
        after = self.server.stats()["shards"]
        return [new[what] - old[what] for new, old in zip(after, self.before)]


def run_sixteen_routes(server: Server) -> Dict[int, Set[int]]:
    """Ask each of 16 routes several times. Returns the threads that each shard was seen on."""
    threads: Dict[int, Set[int]] = {}
    for i in range(16):
        for status, body in load(server, f"/r/{i}", connections=2, requests=5):
            assert status == 200
            place = json.loads(body)
            threads.setdefault(place["shard"], set()).add(place["thread"])
    return threads


def test_sixteen_routes_use_at_least_eight_of_fourteen_shards(fourteen: Server) -> None:
    counters = Counters(fourteen)
    threads = run_sixteen_routes(fourteen)
    requests = counters.since("requests")
    assert sum(requests) == 16 * 2 * 5
    assert sum(count > 0 for count in requests) >= 8, requests
    assert {shard for shard, count in enumerate(requests) if count} == set(threads)


def test_each_shard_is_a_thread_of_its_own(fourteen: Server) -> None:
    threads = run_sixteen_routes(fourteen)
    assert all(len(tids) == 1 for tids in threads.values()), threads
    assert len(set.union(*threads.values())) == len(threads)
    names = fourteen.threads()
    for shard, (tid,) in threads.items():
        assert names[tid] == f"turbo-shard-{shard}"


@pytest.mark.parametrize("kind", [kind for kind in harness.KINDS if kind in ("shards", "io0", "python")])
def test_demos_use_fourteen_shards(start, kind: str) -> None:
    server = start(kind, "--shards", str(SHARDS), "--placement", "route")
    for i in range(16):
        assert server.get(f"/r/{i}").status == 200
    assert sum(shard["requests"] > 0 for shard in server.stats()["shards"]) >= 8


@pytest.mark.parametrize("target", ["/home?wait=500", "/home?us=500"])
def test_slow_handler_is_given_big_batches(fourteen: Server, target: str) -> None:
    counters = Counters(fourteen)
    assert len(load(fourteen, target, connections=64, requests=15)) == 64 * 15
    requests, batches = sum(counters.since("requests")), sum(counters.since("batches"))
    assert requests == 64 * 15
    assert requests / batches > 8


@pytest.mark.parametrize("connections", [50, 100])
def test_one_hot_route_uses_most_shards(fourteen: Server, connections: int) -> None:
    counters = Counters(fourteen)
    total = connections * 30
    assert len(load(fourteen, "/hot?wait=1000", connections, requests=30)) == total
    used = [count for count in counters.since("requests") if count > total / SHARDS / 10]
    assert len(used) > SHARDS / 2, used


@pytest.mark.parametrize("connections", [50, 100])
def test_one_hot_route_that_must_not_spill_stays_on_one(fourteen: Server, connections: int) -> None:
    counters = Counters(fourteen)
    load(fourteen, "/home?wait=1000", connections, requests=5)
    requests = counters.since("requests")
    assert sorted(requests) == [0] * (SHARDS - 1) + [connections * 5]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU")
def test_cpu_bound_route_uses_two_cpus() -> None:
    """What the machine gives the process is not ours, but how it is shared between the shards is."""
    with harness.shards("--shards", "2", "--io-threads", "1") as server:
        start, cpu = time.monotonic(), server.cpu_seconds()
        answers = load(server, "/hot?us=1000", connections=64, seconds=2.5)
        wall = time.monotonic() - start
        spent = [server.thread_cpu_seconds(f"turbo-shard-{i}") for i in range(2)]
        print(f"{(server.cpu_seconds() - cpu) / wall:.0%} CPU, {len(answers) / wall:.0f} requests/s, shards {spent}")
        assert sum(spent) >= 0.1, "too little to compare"
        # Without bounded load one has nothing at all. How evenly busy neighbours let the two run is not asked.
        assert min(spent) > 0.25 * sum(spent), spent
