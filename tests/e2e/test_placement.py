"""Each placement does what its name says, and each of these tests fails when round_robin takes its place."""

from collections import Counter
from typing import Callable, Iterator, List

import pytest

import harness
from harness import Server

SHARDS = 4


def shards_of(server: Server, target: str, count: int = 2 * SHARDS) -> List[int]:
    """Where requests on one connection run, one after the other."""
    with server.client() as client:
        return [client.request(target).json()["shard"] for _ in range(count)]


def check_route(server: Server, target: str = "/route") -> None:
    """Without load a route stays on its home shard, whatever the connection."""
    seen = {shard for _ in range(6) for shard in shards_of(server, target, 5)}
    assert len(seen) == 1, seen


def check_round_robin(server: Server, target: str = "/round_robin") -> None:
    """One connection's requests go once round."""
    seen = shards_of(server, target)
    assert sorted(seen[:SHARDS]) == list(range(SHARDS)), seen
    assert seen[SHARDS:] == seen[:SHARDS]


def check_local(server: Server, target: str = "/local") -> None:
    """A connection's requests run on one shard, and connections are on several."""
    seen = [set(shards_of(server, target)) for _ in range(40)]
    assert all(len(shards) == 1 for shards in seen), seen
    assert len(set.union(*seen)) > 1


def check_callback(server: Server) -> None:
    """The callback's index counts, modulo the number of shards."""
    with server.client() as client:
        for to in (3, 3, 0, 1, 1, 1, 2, 0, 7, 1000001):
            assert client.request(f"/callback?to={to}").json()["shard"] == to % SHARDS


CHECKS = {"route": check_route, "round_robin": check_round_robin, "local": check_local, "callback": check_callback}


@pytest.fixture(scope="module", params=["1 I/O thread", "2 I/O threads", "0 I/O threads"])
def flags(request: pytest.FixtureRequest) -> List[str]:
    return ["--shards", str(SHARDS), "--io-threads", request.param[0]]


@pytest.fixture(scope="module")
def placed(flags: List[str]) -> Iterator[Server]:
    with harness.shards(*flags) as server:
        server.io_threads = int(flags[-1])
        yield server


@pytest.fixture(scope="module")
def round_robin(flags: List[str]) -> Iterator[Server]:
    with harness.shards("--override", "round_robin", *flags) as server:
        yield server


@pytest.fixture(scope="module")
def by_route(flags: List[str]) -> Iterator[Server]:
    with harness.shards("--override", "route", *flags) as server:
        yield server


@pytest.mark.parametrize("name", ["route", "round_robin", "callback"])
def test_placement(placed: Server, name: str) -> None:
    CHECKS[name](placed)


def test_local(placed: Server) -> None:
    if placed.io_threads == 1:
        assert len({shard for _ in range(10) for shard in shards_of(placed, "/local")}) == 1
    else:
        check_local(placed)


@pytest.mark.parametrize("name", ["route", "local", "callback"])
def test_check_fails_when_replaced_by_round_robin(round_robin: Server, name: str) -> None:
    check: Callable[[Server], None] = CHECKS[name]
    with pytest.raises(AssertionError):
        check(round_robin)


def test_round_robin_check_fails_when_replaced_by_route(by_route: Server) -> None:
    with pytest.raises(AssertionError):
        check_round_robin(by_route)


def test_round_robin_is_even_over_connections(placed: Server) -> None:
    seen = Counter(shard for _ in range(20) for shard in shards_of(placed, "/round_robin", 4 * SHARDS))
    assert seen == {shard: 80 for shard in range(SHARDS)}


DEMOS = [kind for kind in harness.KINDS if kind in ("shards", "io0", "python")]


@pytest.mark.parametrize("demo", DEMOS)
@pytest.mark.parametrize("placement", ["route", "round_robin", "local"])
def test_demos_take_the_setting(start, demo: str, placement: str) -> None:
    server = start(demo, "--placement", placement, "--shards", str(SHARDS))
    if placement == "local" and demo != "io0":
        assert len({shard for _ in range(10) for shard in shards_of(server, "/spin?us=0")}) == 1
    else:
        CHECKS[placement](server, "/spin?us=0")


@pytest.mark.parametrize("demo", DEMOS)
def test_default_placement(start, demo: str) -> None:
    """route, and local when every shard does its own I/O."""
    server = start(demo, "--shards", str(SHARDS))
    (check_local if demo == "io0" else check_route)(server, "/spin?us=0")
