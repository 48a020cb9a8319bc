"""Bodies that the handler reads while they come: every framing and pace, early answers, ends good and bad."""

import select
import signal
import socket
import zlib
from typing import Callable, Iterator, List

import pytest

import harness
from harness import LOST, OK_BODY, Answer, Client, Closed, Server, chunked, request, wait_until

Start = Callable[..., Server]

WINDOW = 262144  # body_window_bytes
READ = 65536  # what one read of the server's may bring on top
KINDS = [kind for kind in harness.KINDS if kind != "single"]  # which has no streamed bodies
BODY = bytes(range(256)) * 32768  # 8 MiB
TERM = "POST /upload{} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n"


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with harness.demo(request.param) as server:
        server.kind = request.param
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client


def head(fields: str, query: str = "") -> bytes:
    return TERM.format(query, fields).encode()


def check(answer: Answer, body: bytes) -> None:
    assert answer.status == 200
    assert answer.json() == {"bytes": len(body), "sum": zlib.adler32(body)}


def split(body: bytes, size: int) -> List[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


# -- whole uploads --


@pytest.mark.parametrize("size", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, WINDOW * 4 + 7, len(BODY)])
@pytest.mark.parametrize("framing", ["length", "one chunk", "chunks"])
def test_every_byte_arrives_once(client: Client, size: int, framing: str) -> None:
    body = BODY[:size]
    if framing == "length":
        wire = head(f"Content-Length: {size}") + body
    else:
        parts = split(body, 1000) if framing == "chunks" else [body] if body else []
        wire = head("Transfer-Encoding: chunked") + chunked(parts)
    client.send(wire + request())
    check(client.answer(), body)
    assert client.answer().body == OK_BODY


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_long_ones_take_little_memory(server: Server, framing: str) -> None:
    def send(count: int) -> None:
        with server.client() as client:
            length = f"Content-Length: {count * len(BODY)}" if framing == "length" else "Transfer-Encoding: chunked"
            client.send(head(length))
            total = 1
            for _ in range(count):
                client.send(BODY if framing == "length" else chunked(split(BODY, 1 << 20))[: -len(b"0\r\n\r\n")])
                total = zlib.adler32(BODY, total)
            client.send(b"" if framing == "length" else b"0\r\n\r\n")
            assert client.answer().json() == {"bytes": count * len(BODY), "sum": total}

    send(4)  # what first uses bring is in both
    server.forget_peak()
    before = server.peak_bytes()
    send(16)
    assert server.peak_bytes() - before < (4 + harness.SLACK_MIB) << 20


def test_byte_by_byte_with_trailers(client: Client) -> None:
    client.send_bytewise(head("Transfer-Encoding: chunked") + chunked([b"abc", b"d" * 20])[:-2] + b"Sum: 1\r\n\r\n" + request())
    check(client.answer(), b"abc" + b"d" * 20)
    assert client.answer().body == OK_BODY


def test_pipelined_uploads_stay_in_order(client: Client) -> None:
    sizes = [0, 1, 300_000, 5, 70_000]
    wire = b"".join(request() + head(f"Content-Length: {size}") + BODY[:size] for size in sizes)
    client.send(wire)
    for size in sizes:
        assert client.answer().body == OK_BODY
        check(client.answer(), BODY[:size])


def test_many_at_once(server: Server) -> None:
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.send(head("Content-Length: 400000"))
    for part in split(BODY[:400_000], 50_000):
        for client in clients:
            client.send(part)
    for client in clients:
        check(client.answer(), BODY[:400_000])
        client.close()


# -- pace --


def send_until_it_stops(client: Client, data: bytes) -> int:
    """Send what the other end takes. Returns how much that was."""
    sent = 0
    client.socket.setblocking(False)
    while sent < len(data) and select.select([], [client.socket], [], 0.3)[1]:
        sent += client.socket.send(data[sent : sent + 65536])
    client.socket.settimeout(harness.TIMEOUT)
    return sent


def test_a_handler_that_does_not_read_holds_up_its_client(start: Start, server: Server) -> None:
    server = start(server.kind)
    assert server.get("/json").body == OK_BODY
    before, body = server.rss_bytes(), BODY * 4
    with server.client() as client:
        client.send(head(f"Content-Length: {len(body)}", "?ms=3000"))
        sent = send_until_it_stops(client, body)
        assert sent < len(body)
        assert server.stats()["bytes_in"] < WINDOW + READ + 2000
        assert server.rss_bytes() - before < (4 + harness.SLACK_MIB) << 20
        client.send(body[sent:])
        check(client.answer(), body)


def test_a_slow_client_holds_up_nobody(server: Server, client: Client) -> None:
    client.send(head("Content-Length: 50"))
    for i in range(50):
        client.send(b"x")
        assert server.get("/json").body == OK_BODY
    check(client.answer(), b"x" * 50)


def test_who_is_not_read_is_not_called_slow(start: Start, server: Server) -> None:
    server = start(server.kind, "--body-stall-timeout-ms", "100")
    with server.client() as client:
        client.send(head(f"Content-Length: {len(BODY)}", "?ms=1000"))
        client.send(BODY)
        check(client.answer(), BODY)


# -- 100 Continue --


def test_continue_is_said_when_the_handler_reads(client: Client) -> None:
    for _ in range(2):
        client.send(head("Expect: 100-continue\r\nContent-Length: 2"))
        assert client.head().status == 100
        client.send(b"ok")
        check(client.answer(), b"ok")


def test_no_continue_for_who_answers_without_reading(client: Client) -> None:
    client.send(head("Expect: 100-continue\r\nContent-Length: 2", "?take=0"))
    answer = client.answer()
    assert (answer.status, answer.get("Connection")) == (200, "close")
    client.expect_end()


# -- early answers --


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_is_left_is_read_away_when_it_is_short(client: Client, framing: str) -> None:
    body = BODY[:200_000]
    if framing == "length":
        first, rest = head(f"Content-Length: {len(body)}", "?take=10") + body[:1000], body[1000:]
    else:
        wire = chunked(split(body, 10_000))
        first, rest = head("Transfer-Encoding: chunked", "?take=10") + wire[:1000], wire[1000:]
    client.send(first)
    answer = client.answer()
    assert answer.status == 200 and answer.keeps_alive and answer.json()["bytes"] >= 10
    client.send(rest + request())
    assert client.answer().body == OK_BODY


def test_the_connection_ends_when_it_is_long(server: Server) -> None:
    with server.client() as client:
        client.send(head(f"Content-Length: {len(BODY)}", "?take=10") + BODY[:1000])
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        client.expect_end()
    with server.client() as client:  # how long it is comes out later
        client.send(head("Transfer-Encoding: chunked", "?take=10") + b"a\r\n0123456789\r\n")
        assert client.answer().status == 200
        client.send(b"%x\r\n" % (WINDOW + 1))
        client.expect_end()


def test_a_client_that_sends_on_gets_its_early_answer(server: Server) -> None:
    with server.client() as client:
        client.send(head(f"Content-Length: {len(BODY)}", "?take=10"))
        client.send(BODY)  # all of it, before it looks
        assert client.answer().status == 200
        client.expect_end()


# -- bad ends --


@pytest.mark.parametrize("body,status", [(b"10000000001\r\n", 413), (b"3\r\nabc\r\nx\r\n", 400), (b"3\r\nabcd\r\n", 400)])
def test_a_bad_body_has_its_status(client: Client, body: bytes, status: int) -> None:
    client.send(head("Transfer-Encoding: chunked") + body)
    answer = client.answer()
    assert (answer.status, answer.get("Connection")) == (status, "close")
    client.expect_end()


def test_too_long_by_its_length_is_413_at_once(client: Client) -> None:
    client.send(head(f"Expect: 100-continue\r\nContent-Length: {(1 << 40) + 1}"))
    assert client.answer().status == 413


def test_stalled_is_408(start: Start, server: Server) -> None:
    server = start(server.kind, "--body-stall-timeout-ms", "100")
    with server.client() as client:
        client.send(head("Content-Length: 10") + b"abc")
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")


@pytest.mark.parametrize("flags,status,retry_after", [([], 503, "1"), (["--shed-status", "429", "--retry-after-s", "5"], 429, "5")])
def test_no_memory_is_shed_status(start: Start, server: Server, flags: List[str], status: int, retry_after: str) -> None:
    server = start(server.kind, "--body-memory-max-bytes", "50000", *flags)
    with server.client() as client:
        client.send(head("Content-Length: 200000", "?ms=200") + BODY[:200_000])
        answer = client.answer()
        assert (answer.status, answer.get("Retry-After"), answer.get("Connection")) == (status, retry_after, "close")
    check(server.get("/upload", method="POST", body=b"abc"), b"abc")


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize("query", ["", "?ms=300"])
def test_a_client_that_goes_in_mid_body(server: Server, how: str, query: str) -> None:
    before = server.stats()["dropped"]
    client = server.client()
    client.send(head("Content-Length: 1000000", query) + BODY[:1000])
    wait_until(lambda: any(shard["inflight"] for shard in server.stats()["shards"]), "the handler has begun")
    if how == "reset":
        client.reset()
    else:
        client.end_sending()
        client.expect_end()
        client.close()
    wait_until(lambda: server.stats()["dropped"] == before + 1, "it is counted")
    check(server.get("/upload", method="POST", body=b"abc"), b"abc")


def test_an_upload_ends_in_a_drain(start: Start, server: Server) -> None:
    server = start(server.kind)
    with server.client() as client:
        client.send(head("Content-Length: 1000000") + BODY[:1000])
        wait_until(lambda: server.stats()["taken"] >= 1, "taken")
        server.signal(signal.SIGTERM)
        client.send(BODY[1000:1_000_000])
        check(client.answer(), BODY[:1_000_000])
        client.expect_end()
    assert server.wait() == 0


def test_a_drain_does_not_wait_for_ever(start: Start, server: Server) -> None:
    server = start(server.kind, "--drain-timeout-ms", "200")
    with server.client() as client:
        client.send(head("Content-Length: 1000000") + BODY[:1000])
        wait_until(lambda: server.stats()["taken"] >= 1, "taken")
        server.signal(signal.SIGTERM)
        try:
            assert client.rest() == b""
        except (Closed, ConnectionError, socket.timeout) as error:
            assert not isinstance(error, socket.timeout)
    assert server.wait() == LOST
    assert server.totals(code=LOST).abandoned == 1
