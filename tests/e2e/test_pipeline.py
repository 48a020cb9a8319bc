"""Many requests behind each other on one connection, and clients that read slowly or not at all."""

import socket

import pytest

import harness
from harness import OK_BODY, Client, Server, request, wait_until

MIB = 1 << 20


def test_slow_first_answer_leaves_first(client: Client) -> None:
    client.send(request("/sleep?ms=80") + request("/sync") + request("/users/2") + request("/none") + request("/async"))
    assert client.answer().body == OK_BODY
    assert client.answer().body == OK_BODY
    assert client.answer().json() == {"id": "2"}
    assert client.answer().status == 404
    assert client.answer().body == OK_BODY


def test_nothing_overtakes_a_slow_answer(client: Client) -> None:
    client.send(request("/sleep?ms=300") + request("/sync"))
    client.socket.settimeout(0.1)
    with pytest.raises(socket.timeout):
        client.socket.recv(1)
    client.socket.settimeout(harness.TIMEOUT)
    assert client.answer().body == client.answer().body == OK_BODY


def spans(client: Client, *requests: str) -> list:
    """When each ran, on the clock of /span. A request is METHOD MS."""
    asked = [line.split() for line in requests]
    client.send(b"".join(request(f"/span?ms={ms}", method, body=b"x") for method, ms in asked))
    return [client.answer().json() for _ in asked]


def test_nothing_runs_beside_a_post(client: Client) -> None:
    """RFC 9112 9.3.2: nor beside anything else that is not safe."""
    done = -1
    for span in spans(client, "POST 60", "GET 30", "PUT 0", "POST 30", "DELETE 0", "GET 0"):
        assert done < span["begun"] < span["ended"]
        done = span["ended"]


def test_gets_run_together_until_a_post_waits_for_them(client: Client) -> None:
    *gets, post, last = spans(client, "GET 200", "GET 200", "GET 200", "POST 0", "GET 0")
    assert max(get["begun"] for get in gets) < min(get["ended"] for get in gets)
    assert max(get["ended"] for get in gets) < post["begun"]
    assert post["ended"] < last["begun"]


def test_other_connections_do_not_wait(server: Server) -> None:
    with server.client() as slow, server.client() as other:
        slow.send(request("/span?ms=400", "POST", body=b"x") + request("/span?ms=0"))
        wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 1, "the first is worked on")
        beside = other.request("/span?ms=0", "POST", body=b"x").json()
        first, behind = slow.answer().json(), slow.answer().json()
        assert first["begun"] < beside["begun"] < beside["ended"] < first["ended"] < behind["begun"]


@pytest.mark.parametrize("count", [63, 64, 65, 300])
def test_answers_come_in_order_beyond_every_cap(client: Client, count: int) -> None:
    """pipeline_max is 64: what is above it is read later."""
    wire = b"".join(request(f"/sleep?ms={i % 5}") + request(f"/users/{i}") for i in range(count // 2))
    client.send(wire + request("/users/last"))
    for i in range(count // 2):
        assert client.answer().body == OK_BODY
        assert client.answer().json() == {"id": str(i)}
    assert client.answer().json() == {"id": "last"}


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_small_caps_lose_nothing(start, kind: str, cap: int) -> None:
    server = start(kind, "--pipeline-max", str(cap), "--unsent-max-bytes", "1024")
    with server.client() as client:
        client.send(b"".join(request(f"/sleep?ms={i % 3}") + request("/reflect", "POST", body=b"%d" % i)
                             for i in range(60)))
        for i in range(60):
            assert client.answer().body == OK_BODY
            assert client.answer().json()["body"] == str(i)


def test_no_more_than_the_cap_is_worked_on(start, kind: str) -> None:
    server = start(kind, "--pipeline-max", "4")
    with server.client() as client:
        client.send(request("/sleep?ms=100") * 20)
        for _ in range(20):
            assert client.answer().body == OK_BODY
    assert 1 <= max(shard["inflight_max"] for shard in server.stats()["shards"]) <= 4


@pytest.mark.parametrize("count", [3, 4, 5])
def test_exactly_the_cap_is_worked_on(start, kind: str, count: int) -> None:
    server = start(kind, "--pipeline-max", "4", "--shards", "1")
    with server.client() as client:
        client.send(request("/sleep?ms=300") * count)
        for _ in range(count):
            assert client.answer().body == OK_BODY
    assert server.stats()["shards"][0]["inflight_max"] == min(count, 4)


def test_mixed_bodies_in_order(client: Client) -> None:
    sizes = [0, 1, 5000, 300_000, 3, 70_000]
    pairs = [request(f"/big?bytes={size}") + request("/echo", "POST", body=b"y" * (size % 9001)) for size in sizes]
    client.send(b"".join(pairs))
    for size in sizes:
        assert client.answer().body == bytes(size)
        assert client.answer().body == b"y" * (size % 9001)


def test_big_answers_to_a_slow_reader(server: Server) -> None:
    with server.client(receive_buffer=4096) as slow:
        slow.send((request("/big?bytes=3000000") + request("/echo", "POST", body=b"z" * 100_000)) * 3)
        for _ in range(3):
            answer = slow.head()
            left = int(answer.get("Content-Length") or 0) - len(slow.buffer)
            assert slow.buffer == bytes(len(slow.buffer))
            slow.buffer.clear()
            while left > 0:
                piece = slow.socket.recv(min(left, 4096))
                assert piece and piece == bytes(len(piece))
                left -= len(piece)
            assert server.get("/sync").body == OK_BODY  # the others do not wait
            assert slow.answer().body == b"z" * 100_000


def stuff(client: Client, wire: bytes) -> int:
    """Send, and never read, until neither side moves any more. Returns the number of bytes sent."""
    sent = 0
    client.socket.setblocking(False)

    def is_stuck() -> bool:
        nonlocal sent
        before = sent
        try:
            while True:
                sent += client.socket.send(wire[sent % len(wire) :] or wire)
        except BlockingIOError:
            pass
        return sent == before

    wait_until(is_stuck, "the server takes no more")
    wait_until(is_stuck, "and still not")
    return sent


# Bytes that one connection may cost: 256 KiB of unsent answers, 64 KiB that were read, 64 heads.
BOUND = MIB
STREAM = "/stream?chunks=1000&bytes=5000"


def growth(server: Server, target: str) -> float:
    """By how many bytes the server grows for each client that sends and never reads."""
    server.get(target)
    before = server.rss_bytes()
    wire = request(target, fields=["X-Fill: " + "f" * 2000]) * 50
    clients = [server.client(receive_buffer=4096) for _ in range(4)]
    try:
        for client in clients:
            assert stuff(client, wire) > 0
        grown = server.rss_bytes() - before
        assert server.get("/sync").body == OK_BODY
    finally:
        for client in clients:
            client.reset()
    wait_until(lambda: server.stats()["connections"] == 1, "all closed")
    return grown / len(clients)


not_sanitized = pytest.mark.skipif(harness.SANITIZED, reason="AddressSanitizer keeps freed memory")


@not_sanitized
@pytest.mark.parametrize(
    "target,bound",
    [("/sync", BOUND), ("/async", BOUND), ("/reflect", BOUND), ("/big?bytes=200000", BOUND), (STREAM, BOUND)],
)
def test_pipeliner_that_never_reads_is_stopped(server: Server, target: str, bound: int) -> None:
    if server.kind in harness.PYTHON_KINDS and target.startswith("/big"):
        bound += 64 * 200_000  # there the answers under way own their bodies
    if server.kind in harness.PYTHON_KINDS and target == STREAM:
        bound += 64 * 10_000  # there each has a suspended coroutine, and a part that it could not write yet
    if server.kind == "single":
        bound += 2 * MIB  # each of its 140 threads keeps some memory
    assert growth(server, target) < bound
