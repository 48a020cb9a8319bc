"""At most inflight_max requests of a shard are worked on, and a shard is woken at most once a batch."""

from typing import Iterator

import pytest

import harness
from harness import OK_BODY, load

KINDS = [kind for kind in harness.KINDS if kind in ("shards", "io0", "python")]


def shard_of(server: harness.Server) -> dict:
    return server.stats()["shards"][0]


@pytest.fixture(scope="module", params=KINDS)
def crowded(request: pytest.FixtureRequest) -> Iterator[dict]:
    """The counters of a shard that has had 1,500 sleepers at once."""
    with harness.demo(request.param, "--shards", "1") as server:
        answers = load(server, "/sleep?ms=50", connections=1500, requests=1)
        assert answers == [(200, OK_BODY)] * 1500
        yield shard_of(server)


def test_1500_sleepers_reach_512_and_never_513(crowded: dict) -> None:
    assert crowded["inflight_max"] == 512
    assert crowded["requests"] == 1500


def test_full_gate_is_not_woken_for_every_request(crowded: dict) -> None:
    assert crowded["wakeups"] <= crowded["batches"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [1, 7])
def test_small_limits_hold(start, kind: str, most: int) -> None:
    server = start(kind, "--shards", "1", "--inflight-max", str(most))
    assert load(server, "/sleep?ms=1", connections=20, requests=10, depth=2) == [(200, OK_BODY)] * 200
    assert shard_of(server)["inflight_max"] == most
    assert shard_of(server)["inflight"] == 0


@pytest.mark.skipif("python" not in harness.KINDS, reason="TURBO_E2E_KINDS leaves python out")
@pytest.mark.parametrize("target", ["/sync", "/async", "/sleep?ms=1"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_python_is_woken_once_a_batch(start, target: str, loop: str) -> None:
    server = start("python", "--shards", "1", "--loop", loop)
    assert load(server, target, connections=32, requests=40) == [(200, OK_BODY)] * 1280
    shard = shard_of(server)
    assert shard["requests"] == 1280
    assert 0 < shard["wakeups"] <= shard["batches"]
