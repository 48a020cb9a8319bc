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


def check_path(server: Server) -> None:
    """One path runs on one shard, whatever the connection; many paths use all shards."""
    seen = [{shard for _ in range(2) for shard in shards_of(server, f"/path/{i}", 3)} for i in range(30)]
    assert all(len(shards) == 1 for shards in seen), seen
    assert set.union(*seen) == set(range(SHARDS))


def keyed(server: Server, name: str, key: str) -> List[int]:
    """Where requests with a key run, each on a connection of its own."""
    target = f"/param/{key}" if name == "param" else f"/{name}"
    fields = {"param": [], "field": [f"x-user: {key}"], "cookie": [f"Cookie: a=1; sid={key}; b=2"]}[name]
    return [server.get(target, fields=fields).json()["shard"] for _ in range(3)]


def check_key(server: Server, name: str) -> None:
    """One key runs on one shard, and keys are on all of them."""
    seen = [set(keyed(server, name, f"user-{i}")) for i in range(30)]
    assert all(len(shards) == 1 for shards in seen), seen
    assert set.union(*seen) == set(range(SHARDS))


def check_key_at_its_load(server: Server) -> None:
    """A key does not leave its shard, though a slow handler keeps that busy and others are idle."""
    clients = [server.client() for _ in range(12)]
    for client in clients:
        client.send(harness.request("/param/busy?wait=20000"))
    seen = {client.answer().json()["shard"] for client in clients}
    for client in clients:
        client.close()
    assert len(seen) == 1, seen


def check_connection(server: Server) -> None:
    """A connection's requests run on one shard, and connections are on all of them."""
    seen = [set(shards_of(server, "/connection", 4)) for _ in range(16)]
    assert all(len(shards) == 1 for shards in seen), seen
    assert set.union(*seen) == set(range(SHARDS))


def check_least(server: Server) -> None:
    """Nothing is sent to a shard that is busy, as long as others are not."""
    with server.client() as busy, server.client() as other:
        busy.send(harness.request("/least?wait=400000"))
        harness.wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 1, "it works")
        seen = {other.request("/least").json()["shard"] for _ in range(40)}
        where = busy.answer().json()["shard"]
    assert where not in seen, (where, seen)
    assert len(seen) == SHARDS - 1, seen


def check_callback(server: Server) -> None:
    """The callback's index counts, modulo the number of shards."""
    with server.client() as client:
        for to in (3, 3, 0, 1, 1, 1, 2, 0, 7, 1000001):
            assert client.request(f"/callback?to={to}").json()["shard"] == to % SHARDS


CHECKS = {"route": check_route, "round_robin": check_round_robin, "local": check_local, "callback": check_callback,
          "path": check_path, "param": lambda server: check_key(server, "param"),
          "field": lambda server: check_key(server, "field"), "cookie": lambda server: check_key(server, "cookie"),
          "busy key": check_key_at_its_load, "connection": check_connection, "least": check_least}
NEW = ["path", "param", "field", "cookie", "busy key", "connection", "least"]


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


@pytest.mark.parametrize("name", ["route", "round_robin", "callback", *NEW])
def test_placement(placed: Server, name: str) -> None:
    if name == "least" and placed.io_threads == 0:
        pytest.skip("a busy shard that does its own I/O may be the one that is asked how busy it is")
    CHECKS[name](placed)


def test_local(placed: Server) -> None:
    if placed.io_threads == 1:
        assert len({shard for _ in range(10) for shard in shards_of(placed, "/local")}) == 1
    else:
        check_local(placed)


@pytest.mark.parametrize("name", ["route", "local", "callback", *NEW])
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
