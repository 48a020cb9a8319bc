"""Every route of both demos, as a client sees it; and that the twins answer alike."""

import json
import re
from collections import Counter
from typing import Iterator, Tuple

import pytest

import harness
from harness import OK_BODY, Client, Server, chunked, request, wait_until

MIB = 1 << 20
ALL_BYTES = bytes(range(256))

# -- plain answers --


def test_index_names_the_routes(client: Client) -> None:
    answer = client.request("/")
    assert answer.status == 200
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    for route in ("/json", "/sync", "/async", "/sleep", "/span", "/users/{id}", "/reflect", "/big", "/stream", "/nothing",
                  "/cached", "/fail", "/stats", "/metrics", "/echo", "/batch"):
        assert route.encode() in answer.body


@pytest.mark.parametrize("target", ["/json", "/sync", "/async", "/sleep", "/sleep?ms=0", "/r/0", "/r/15"])
def test_ok_routes(client: Client, target: str) -> None:
    answer = client.request(target)
    assert (answer.status, answer.reason, answer.body) == (200, "OK", OK_BODY)
    assert answer.get("Content-Type") == "application/json"
    assert answer.get("Content-Length") == "11"


def test_sleep_takes_its_time_and_others_do_not_wait_for_it(server: Server) -> None:
    with server.client() as sleeper, server.client() as other:
        sleeper.send(request("/sleep?ms=300"))
        assert other.request("/sleep?ms=1").status == 200
        sleeper.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            sleeper.socket.recv(1)
        sleeper.socket.settimeout(harness.TIMEOUT)
        assert sleeper.answer().body == OK_BODY


@pytest.mark.parametrize("route", ["/block?ms=1", "/spin?us=10"])
def test_busy_routes_say_where_they_ran(server: Server, route: str) -> None:
    place = server.get(route).json()
    assert 0 <= place["shard"] < harness.SHARDS_OF[server.kind]
    assert place["thread"] in server.threads()


def test_nothing_is_204_without_a_body(client: Client) -> None:
    answer = client.request("/nothing")
    assert (answer.status, answer.get("Content-Length"), answer.get("Transfer-Encoding")) == (204, None, None)
    assert client.request().body == OK_BODY  # framed right: the connection goes on


def test_cached_is_304_without_a_body(client: Client) -> None:
    answer = client.request("/cached")
    assert (answer.status, answer.get("Transfer-Encoding")) == (304, None)
    assert client.request().body == OK_BODY


def test_failing_handler_is_500_and_the_connection_lives_on(client: Client) -> None:
    for _ in range(3):
        answer = client.request("/fail")
        assert answer.status == 500
        assert b"handler fails" not in answer.body  # nothing of the inside gets out
    assert client.request().body == OK_BODY


@pytest.mark.parametrize(
    "segment",
    ["7", "a%20b", "%22%5C%2F%08%0C%0A%0D%09%01%1f%7f", "%C3%A9", "%F0%9F%98%80", "%2F", "a+b", "%FF", "a%C3", "%E2%82x",
     "%ED%A0%80", "%F4%90%80%80", "%C0%80", "%F0%80%80%80", "%E2%82%AC%E2", ".", "..", "~!$&'()*,;=:@-_"],
)
def test_users_id_is_decoded_and_escaped(client: Client, segment: str) -> None:
    raw = re.sub(rb"%(..)", lambda escape: bytes([int(escape[1], 16)]), segment.encode())
    assert client.request(f"/users/{segment}").json() == {"id": raw.decode("utf-8", "replace")}


@pytest.mark.parametrize("segment,status", [("%zz", 400), ("%", 400), ("%4", 400), ("%00", 400), ("", 404), ("a/b", 404)])
def test_users_without_a_good_id(client: Client, segment: str, status: int) -> None:
    assert client.request(f"/users/{segment}").status == status


# -- reflection --


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_reflect_takes_any_method(client: Client, method: str) -> None:
    seen = client.request("/reflect?a=1&b=%20", method, ["X-One: 1", "x-two:  2 ", "X-One: 3", "X-None:"], b"body").json()
    assert list(seen) == ["method", "path", "query", "headers", "body", "trailers"]
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == (method, "/reflect", "a=1&b=%20", "body")
    assert seen["headers"] == [["Host", "localhost"], ["X-One", "1"], ["x-two", "2"], ["X-One", "3"], ["X-None", ""],
                               ["Content-Length", "4"]]


def test_reflect_head_is_a_head(client: Client) -> None:
    answer = client.request("/reflect", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.get("Content-Length") or 0) > 0
    assert client.request().body == OK_BODY


def test_reflect_loses_no_byte(client: Client) -> None:
    value = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)]))
    answer = client.request("/reflect", "POST", [f"X-Bytes: {value}"], ALL_BYTES)
    seen = answer.json()
    assert seen["body"] == ALL_BYTES.decode("latin-1")
    assert ["X-Bytes", value] in seen["headers"]


def test_reflect_without_query_and_body(client: Client) -> None:
    seen = client.request("/reflect").json()
    assert (seen["query"], seen["body"], seen["trailers"]) == ("", "", [])
    assert client.request("/reflect?").json()["query"] == ""


# -- large and streamed answers --


@pytest.mark.parametrize("size", [0, 1, 1023, 4095, 4096, 4097, 16383, 16384, 16385, 65536, 262144, 3_000_000])
def test_big_has_its_bytes(client: Client, size: int) -> None:
    for _ in range(2):
        answer = client.request(f"/big?bytes={size}")
        assert answer.get("Content-Length") == str(size)
        assert answer.get("Content-Type") == "application/octet-stream"
        assert answer.body == bytes(size)


def test_big_goes_to_64_mib_and_not_beyond(server: Server) -> None:
    assert server.get("/big").body == bytes(1024)
    assert server.get(f"/big?bytes={64 * MIB}").body == bytes(64 * MIB)
    assert server.get(f"/big?bytes={64 * MIB + 1}").status == 400


def test_stream_is_chunked(client: Client) -> None:
    answer = client.request("/stream?chunks=3&bytes=10")
    assert answer.get("Transfer-Encoding") == "chunked"
    assert answer.get("Content-Type") == "application/octet-stream"
    assert (answer.chunks, answer.body) == ([10, 10, 10, 0], bytes(30))
    assert client.request().body == OK_BODY


@pytest.mark.parametrize("query,size", [("", 10240), ("?chunks=0", 0), ("?bytes=0", 0), ("?chunks=1&bytes=1", 1),
                                        ("?chunks=2000&bytes=1", 2000), ("?chunks=300&bytes=5000", 1_500_000),
                                        ("?chunks=2&bytes=2000000", 4_000_000)])
def test_stream_sizes(client: Client, query: str, size: int) -> None:
    assert client.request(f"/stream{query}").body == bytes(size)
    assert client.request().body == OK_BODY


def test_stream_to_http_1_0_ends_with_the_connection(client: Client) -> None:
    client.send(b"GET /stream?chunks=3&bytes=10 HTTP/1.0\r\n\r\n")
    answer = client.answer()
    assert (answer.get("Transfer-Encoding"), answer.get("Content-Length")) == (None, None)
    assert answer.body == bytes(30)


def sent_between(server: Server) -> int:
    """Bytes sent between two looks at the counters, without what the first look itself was answered."""
    first = server.get("/stats")
    return server.stats()["bytes_out"] - first.json()["bytes_out"] - len(first.body)


def test_stream_waits_for_a_slow_client(server: Server) -> None:
    total = 100 * 200_000
    with server.client(receive_buffer=8192) as client:
        client.send(request("/stream?chunks=100&bytes=200000"))
        client.head()
        before = server.rss_bytes()
        wait_until(lambda: sent_between(server) < 50_000, "a pause")
        assert server.get("/async").body == OK_BODY  # nobody else waits
        assert server.rss_bytes() - before < total / 2  # it is not all gathered for the client
        size = 0
        while not client.buffer.endswith(b"\r\n0\r\n\r\n"):
            client._more()
            size += len(client.buffer) - 7
            del client.buffer[:-7]
        assert size >= total


def unaccounted(stats: dict) -> int:
    return stats["taken"] - sum(stats[end] for end in ("answered", "shed", "dropped", "abandoned"))


@pytest.mark.parametrize(
    "target,end",
    # An answer that the connection has been given whole counts as answered, whatever the client reads of it.
    [("/stream?chunks=1000&bytes=60000", "dropped"), ("/big?bytes=60000000", "answered"),
     ("/sleep?ms=60000", "dropped")],
)
def test_client_that_goes_away_costs_nothing(server: Server, target: str, end: str) -> None:
    if server.kind == "single" and target.startswith("/sleep"):
        pytest.skip("a worker that waits for its coroutine does not see the client go")
    before = server.stats()
    for _ in range(5):
        client = server.client(receive_buffer=8192)
        client.send(request(target))
        if not target.startswith("/sleep"):
            client.head()
        client.reset()
    wait_until(lambda: server.stats()[end] >= before[end] + 5, f"five {end}")
    wait_until(lambda: server.stats()["connections"] == 1, "the connections closed")
    wait_until(lambda: sum(shard["inflight"] for shard in server.stats()["shards"]) == 0, "nothing in flight")
    after = server.stats()
    assert unaccounted(after) == 1  # the one that asks
    if end == "answered":
        assert after["dropped"] == before["dropped"]
    assert server.get("/async").body == OK_BODY


# -- bodies --


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 4097, 65536, 1_000_001, 16 * MIB])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_echo(client: Client, size: int, framing: str) -> None:
    body = (ALL_BYTES * (size // 256 + 1))[:size]
    if framing == "length":
        client.send(request("/echo", "POST", ["Content-Type: x/y; z=1"], body))
    else:
        third = size // 3 + 1
        parts = [part for part in (body[i : i + third] for i in range(0, size, third)) if part]
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: x/y; z=1\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + chunked(parts))
    answer = client.answer()
    assert (answer.status, answer.get("Content-Type"), answer.get("Content-Length")) == (200, "x/y; z=1", str(size))
    assert answer.body == body


def test_echo_without_content_type(client: Client) -> None:
    assert client.request("/echo", "POST", body=b"abc").get("Content-Type") == "application/octet-stream"


CLOSED = ["closed_" + why for why in ("full", "weight", "turn", "timer", "gate", "drained")]


def test_batch_answers_agree_on_their_batches(server: Server) -> None:
    before = server.stats()["shards"]
    clients = [server.client() for _ in range(40)]
    for client in clients:
        client.send(request("/batch", "POST"))
    sizes = Counter(client.answer("POST").json()["batch"] for client in clients)
    for client in clients:
        client.close()
    assert all(count % size == 0 for size, count in sizes.items()), sizes
    after = server.stats()["shards"]
    more = {name: sum(b[name] - a[name] for a, b in zip(before, after)) for name in ["batch_calls", "batch_call_requests", *CLOSED]}
    assert more["batch_call_requests"] == 40
    assert more["batch_calls"] == more["closed_turn"] == sum(count // size for size, count in sizes.items())
    assert more["batch_calls"] == sum(more[name] for name in CLOSED)


# -- numbers in the query --


@pytest.mark.parametrize(
    "target,name,most",
    [(f"/sleep?ms={bad}", "ms", 60000) for bad in ("x", "", "-1", "1.5", "+1", "60001", "1" * 30, "0x10", "1_000")]
    + [("/big?bytes=67108865", "bytes", 64 * MIB), ("/big?bytes=a", "bytes", 64 * MIB),
       ("/stream?chunks=1000001", "chunks", 1000000), ("/stream?bytes=-1", "bytes", 64 * MIB),
       ("/block?ms=1001", "ms", 1000), ("/spin?us=1000001", "us", 1000000)],
)
def test_bad_number_is_400(client: Client, target: str, name: str, most: int) -> None:
    answer = client.request(target)
    assert (answer.status, answer.body.decode()) == (400, f"{name}: a number from 0 to {most}\n")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert client.request().body == OK_BODY


# -- counters --


def test_stats_count(server: Server) -> None:
    before = server.stats()
    with server.client() as client:
        for _ in range(10):
            client.request("/async")
    after = server.stats()
    # Those that asked are counted too: taken at the first byte, answered only once the text was made.
    assert after["taken"] - before["taken"] == 11
    assert after["answered"] - before["answered"] == 11
    assert after["bytes_in"] > before["bytes_in"] and after["bytes_out"] > before["bytes_out"]
    assert len(after["shards"]) == harness.SHARDS_OF[server.kind]
    total = sum(shard["requests"] for shard in after["shards"])
    assert total - sum(shard["requests"] for shard in before["shards"]) >= 10
    for shard in after["shards"]:
        assert sum(shard["batch_sizes"]) == shard["batches"] <= shard["requests"]


def test_metrics_are_prometheus_text(server: Server) -> None:
    answer = server.get("/metrics")
    assert (answer.get("Content-Type") or "").startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    assert text.endswith("\n")
    typed = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in typed, f"{name} twice"
            typed.add(name)
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r"([a-z_]+)(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? [0-9.e+-]+", line)
            assert found, line
            family = re.sub(r"_(bucket|sum|count)$", "", found[1])
            assert found[1] in typed or family in typed, f"{line}: no TYPE"
    assert "turbo_taken_total" in typed


# -- the twins --

TWIN_REQUESTS = [
    request("/"), request("/json"), request("/sync"), request("/async"), request("/sleep?ms=2"), request("/r/3"),
    request("/users/x%22y"), request("/users/%FF%C3%A9"), request("/users/%00"), request("/nothing"),
    request("/cached"), request("/fail"), request("/none"), request("/json", "POST", body=b"x"),
    request("/json", "OPTIONS"), request("/reflect", "OPTIONS"), request("/big?bytes=10"), request("/big?bytes=x"),
    request("/stream?chunks=2&bytes=3"), request("/stream?chunks=1000001"), request("/sleep?ms=60001"),
    request("/batch", "POST"), request("/echo", "POST", ["Content-Type: a/b"], b"abc"), request("/echo", "POST", body=b"abc"),
    request("/echo", "POST", body=b""), request("/block?ms=1001"), request("/spin?us=x"),
    b"GET /json HTTP/1.0\r\n\r\n", b"GET /json HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /json HTTP/1.1\r\n\r\n", b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.fixture(scope="module")
def twins() -> Iterator[Tuple[Server, Server]]:
    if not {"shards", "python"} <= set(harness.KINDS):
        pytest.skip("TURBO_E2E_KINDS leaves a twin out")
    with harness.demo("shards") as c, harness.demo("python") as python:
        yield c, python


@pytest.mark.parametrize("wire", TWIN_REQUESTS, ids=lambda wire: wire.split(b" HTTP")[0].decode())
def test_twins_answer_alike(twins: Tuple[Server, Server], wire: bytes) -> None:
    seen = []
    for server in twins:
        with server.client() as client:
            client.send(wire)
            answer = client.answer()
        fields = sorted((name.lower(), value) for name, value in answer.fields if name.lower() != "date")
        seen.append((answer.version, answer.status, answer.reason, fields, answer.body))
    assert seen[0] == seen[1]


def test_twins_reflect_alike(twins: Tuple[Server, Server]) -> None:
    seen = []
    for server in twins:
        answer = server.get("/reflect?x=%41&y", method="PUT", fields=["X-One: \xe9"], body=ALL_BYTES)
        seen.append(json.loads(answer.body))
    assert seen[0] == seen[1]
