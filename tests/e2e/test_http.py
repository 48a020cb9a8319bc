"""HTTP/1 as a client sees it that sends what clients do not: connections, refusals, bodies, cuts."""

import re
import socket
import time
from email.utils import parsedate_to_datetime
from typing import Iterator

import pytest

import harness
from harness import OK_BODY, Answer, Client, Server, chunked, request, wait_until

# -- Date --

LARGE = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
ANY_STATUS = [
    (request("/json"), 200), (request("/nothing"), 204), (request("/cached"), 304),
    (b"GET / HTTP/1.1\r\n\r\n", 400), (request("/none"), 404), (request("/json", "POST", body=b"x"), 405),
    (LARGE % b"/json", 405), (LARGE % b"/reflect", 413), (request("/" + "a" * 8192), 414),
    (request("/", fields=["Expect: wonders"]), 417), (request("/", fields=["A: b"] * 100), 431),
    (request("/fail"), 500), (request("/", "FOO"), 501), (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
]


@pytest.mark.parametrize("wire,status", ANY_STATUS, ids=lambda value: str(value) if isinstance(value, int) else "")
def test_every_answer_has_a_date(client: Client, wire: bytes, status: int) -> None:
    before = int(time.time())
    client.send(wire)
    answer = client.answer()
    assert answer.status == status
    date = answer.get("Date") or ""
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date), date
    # Texts are cached for a second, and clocks of the kernel differ by a tick.
    assert before - 2 <= parsedate_to_datetime(date).timestamp() <= time.time() + 1


# -- connections --


def lives(client: Client) -> bool:
    """Whether the connection serves another request; if not it has ended in order."""
    try:
        return client.request().body == OK_BODY
    except (harness.Closed, BrokenPipeError):
        return False


@pytest.mark.parametrize(
    "version,connection,alive,said",
    [
        ("1.1", None, True, None), ("1.1", "keep-alive", True, None), ("1.1", "close", False, "close"),
        ("1.1", "CLOSE", False, "close"), ("1.1", "x-other, Close", False, "close"),
        ("1.1", "keep-alive, close", False, "close"), ("1.1", "closer", True, None),
        ("1.0", None, False, "close"), ("1.0", "close", False, "close"), ("1.0", "keep-alive", True, "keep-alive"),
        ("1.0", "Keep-Alive, x-other", True, "keep-alive"), ("1.2", None, True, None), ("1.2", "close", False, "close"),
    ],
)
@pytest.mark.parametrize("target", ["/json", "/async", "/none"])
def test_connection_field(client: Client, version: str, connection: str, alive: bool, said: str, target: str) -> None:
    field = f"Connection: {connection}\r\n" if connection else ""
    client.send(f"GET {target} HTTP/{version}\r\nHost: x\r\n{field}\r\n".encode())
    answer = client.answer()
    assert answer.status == (404 if target == "/none" else 200)
    assert answer.get("Connection") == said
    if alive:
        assert lives(client)
    else:
        client.expect_end()


def test_nothing_behind_a_close_is_served(client: Client) -> None:
    client.send(request(fields=["Connection: close"]) + request("/fail"))
    assert client.answer().body == OK_BODY
    client.expect_end()


def test_one_connection_serves_many_requests(server: Server) -> None:
    accepted = server.stats()["accepted"]
    with server.client() as client:
        for i in range(500):
            assert client.request(f"/users/{i}").json() == {"id": str(i)}
    assert server.stats()["accepted"] == accepted + 2  # this one, and the one that asks


def test_half_close_is_answered(client: Client) -> None:
    client.send(request("/sleep?ms=50") + request("/users/1") + request("/sync"))
    client.end_sending()
    assert client.answer().body == OK_BODY
    assert client.answer().json() == {"id": "1"}
    assert client.answer().body == OK_BODY
    client.expect_end()


def test_half_close_within_a_request_is_the_end(client: Client) -> None:
    client.send(request() + b"GET /json HTT")
    client.end_sending()
    assert client.answer().body == OK_BODY
    client.expect_end()


def test_a_client_that_closed_is_found_out_and_one_that_half_closed_is_answered(start, kind: str) -> None:
    drain = ("--drain-timeout-ms", "1000") if kind == "single" else ()  # whose worker waits on for its coroutine
    server = start(kind, "--tcp-keepalive-s", "1", *drain)
    with server.client() as half, server.client() as gone:
        gone.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)  # seconds; the system's default is 60
        half.send(request("/sleep?ms=3000"))
        gone.send(request("/sleep?ms=60000"))
        wait_until(lambda: server.stats()["taken"] >= 2, "taken")
        half.end_sending()
        gone.close()
        assert half.answer().status == 200  # it was probed, too
        wait_until(lambda: server.stats()["dropped"] == 1, "dropped")


def test_on_fin_cancel_gives_up(start, kind: str) -> None:
    drain = ("--drain-timeout-ms", "1000") if kind == "single" else ()  # whose worker waits on for its coroutine
    server = start(kind, "--on-fin", "cancel", *drain)
    with server.client() as client:
        client.send(request("/sleep?ms=60000"))
        wait_until(lambda: server.stats()["taken"] >= 1, "taken")
        client.end_sending()
        client.expect_end()
    wait_until(lambda: server.stats()["dropped"] == 1, "dropped")


def test_head_has_the_fields_of_get_and_no_body(client: Client) -> None:
    for target in ("/json", "/big?bytes=5000", "/users/1", "/none", "/fail", "/stream?chunks=2&bytes=3", "/nothing"):
        get, head = client.request(target), client.request(target, "HEAD")
        assert (head.status, head.body) == (get.status, b"")
        for name in ("Content-Type", "Content-Length", "Transfer-Encoding"):
            assert head.get(name) == get.get(name), (target, name)
    assert lives(client)


def test_empty_lines_before_a_request_are_skipped(client: Client) -> None:
    client.send(b"\r\n" + request() + b"\r\n\r\n" + request())
    assert client.answer().body == client.answer().body == OK_BODY


# -- refusals --

HOST = b"Host: x\r\n"
REFUSED = [
    (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400), (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400), (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n", 400), (b"GET / HTTP/1.1\n" + HOST + b"\r\n", 400),
    (b"GET /\r\n\r\n", 400), (b"hello\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1x\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /echo HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505), (b"GET / HTTX/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 65536 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 100 + b"\r\n", 431),
]


@pytest.mark.parametrize("wire,status", REFUSED)
def test_refused_request_ends_the_connection_with_its_status(client: Client, wire: bytes, status: int) -> None:
    client.send(wire)
    answer = client.answer()
    assert (answer.status, answer.get("Connection")) == (status, "close")
    client.expect_end()


@pytest.mark.parametrize("wire,status", REFUSED)
def test_refusal_leaves_behind_unfinished_answers(client: Client, wire: bytes, status: int) -> None:
    client.send(request("/sleep?ms=40") + request("/users/1") + wire + request("/users/2"))
    assert client.answer().body == OK_BODY
    assert client.answer().json() == {"id": "1"}
    answer = client.answer()
    assert (answer.status, answer.get("Connection")) == (status, "close")
    client.expect_end()


@pytest.mark.parametrize(
    "target,method,status,allow",
    [("/json", "POST", 405, "GET, HEAD, OPTIONS"), ("/echo", "GET", 405, "OPTIONS, POST"),
     ("/users/1", "DELETE", 405, "GET, HEAD, OPTIONS"), ("/none", "GET", 404, None), ("/json/", "GET", 404, None),
     ("/json", "OPTIONS", 204, "GET, HEAD, OPTIONS"), ("/json", "TRACE", 405, "GET, HEAD, OPTIONS"),
     ("/json", "FOO", 501, None), ("/none", "get", 501, None)],
)
def test_no_such_route_or_method(client: Client, target: str, method: str, status: int, allow: str) -> None:
    answer = client.request(target, method)
    assert (answer.status, answer.get("Allow")) == (status, allow)
    assert lives(client)


def test_body_of_a_refused_request_is_no_request(client: Client) -> None:
    body = request("/users/inside")
    for target, status in (("/none", 404), ("/json", 405)):
        assert client.request(target, "POST", body=body).status == status
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head.encode() + chunked([body]))
        assert client.answer().status == status
    assert client.request("/users/outside").json() == {"id": "outside"}


def send_in_vain(client: Client, head: bytes, size: int) -> Answer:
    """Send a request that is refused early, all of it as a simple client does, and only then read."""
    client.send(head)
    piece = b"x" * 65536
    for _ in range(size // len(piece)):
        client.send(piece)
    return client.answer()


@pytest.mark.parametrize(
    "head,status",
    [(b"POST /reflect HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n", 413),
     (b"POST /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n", 413),
     (b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n", 404),
     (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505)],
)
def test_lone_refusal_is_not_eaten_by_a_reset(server: Server, head: bytes, status: int) -> None:
    for _ in range(3):
        with server.client() as client:
            assert send_in_vain(client, head, 8 << 20).status == status
            client.expect_end()


# -- bodies --


@pytest.mark.parametrize("sizes", [[], [1], [1, 2, 3], [5000, 1, 70000], [1] * 300])
def test_chunked_body(client: Client, sizes: list) -> None:
    parts = [bytes([65 + i % 26]) * size for i, size in enumerate(sizes)]
    head = b"PUT /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
    for _ in range(2):
        client.send(head + chunked(parts))
        assert client.answer().json()["body"] == b"".join(parts).decode()


def test_chunk_extensions_are_read_over_and_trailers_stand_apart(client: Client) -> None:
    client.send(b"PUT /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"2;a=b\r\nhe\r\n0003;c=\"d\"\r\nllo\r\n0\r\nX-Trailer: 1\r\nHost: y\r\nx-trailer:  \xe9 \r\n\r\n" + request("/users/1"))
    seen = client.answer().json()
    assert seen["body"] == "hello"
    assert seen["headers"] == [["Host", "x"], ["Transfer-Encoding", "chunked"]]
    assert seen["trailers"] == [["X-Trailer", "1"], ["x-trailer", "\xe9"]]
    assert client.answer().json() == {"id": "1"}


EXPECT = "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"


def test_continue_is_said_before_the_body(client: Client) -> None:
    for _ in range(2):
        client.send(EXPECT.format("/echo", 2).encode())
        assert client.head().status == 100
        client.send(b"ok")
        assert client.answer().body == b"ok"


def test_client_that_does_not_wait_to_continue_is_served(client: Client) -> None:
    """A server may leave the 100 out then, and may say it (RFC 9110 10.1.1); it has to be said once at most."""
    client.send(EXPECT.format("/echo", 2).encode() + b"ok" + EXPECT.format("/echo", 0).encode() + request())
    answer = client.answer()
    if answer.status == 100:
        answer = client.answer()
    assert (answer.status, answer.body) == (200, b"ok")
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"")  # there is nothing to wait for
    assert client.answer().body == OK_BODY


@pytest.mark.parametrize("target,length,status", [("/echo", 1 << 30, 413), ("/none", 2, 404), ("/json", 2, 405)])
def test_no_continue_for_what_is_refused(client: Client, target: str, length: int, status: int) -> None:
    client.send(EXPECT.format(target, length).encode())
    answer = client.answer()
    assert (answer.status, answer.get("Connection")) == (status, "close")
    client.expect_end()


def test_continue_waits_for_the_answers_before_it(client: Client) -> None:
    client.send(request("/sleep?ms=60") + EXPECT.format("/echo", 2).encode())
    assert client.answer().body == OK_BODY
    assert client.head().status == 100
    client.send(b"ok")
    assert client.answer().body == b"ok"


def test_http_1_0_gets_no_continue(client: Client) -> None:
    client.send(EXPECT.format("/echo", 2).replace("HTTP/1.1", "HTTP/1.0").encode() + b"ok")
    assert client.answer().body == b"ok"


# -- cuts --

CUT = [
    request("/users/7?x=1", fields=["A: b"]),
    request("/reflect", "POST", ["Content-Type: text/plain"], b"a body"),
    b"PUT /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([b"ab", b"c" * 17]),
]


class Watch:
    """Tells when the server has read what was sent: the next bytes then come in another read."""

    def __init__(self, server: Server) -> None:
        self.client = server.client()
        self.wire = request("/stats")
        self.asked = 0
        self.base = self.read()

    def read(self) -> int:
        """All bytes that the server has read, but for our own."""
        self.asked += 1
        self.client.send(self.wire)
        return self.client.answer().json()["bytes_in"] - self.asked * len(self.wire)

    def wait(self, sent: int) -> None:
        wait_until(lambda: self.read() - self.base >= sent, f"{sent} bytes read")


@pytest.fixture
def watch(server: Server) -> Iterator[Watch]:
    watch = Watch(server)
    yield watch
    watch.client.close()


@pytest.mark.parametrize("wire", CUT, ids=["plain", "length", "chunked"])
def test_request_cut_at_every_byte(client: Client, watch: Watch, wire: bytes) -> None:
    client.send(wire)
    whole = client.answer()
    sent = len(wire)
    for cut in range(1, len(wire)):
        client.send(wire[:cut])
        watch.wait(sent + cut)
        client.send(wire[cut:])
        answer = client.answer()
        assert (answer.status, answer.body) == (200, whole.body), cut
        sent += len(wire)


@pytest.mark.parametrize("wire", CUT, ids=["plain", "length", "chunked"])
def test_request_byte_by_byte(client: Client, wire: bytes) -> None:
    client.send(wire)
    whole = client.answer()
    client.send_bytewise(wire + wire)
    assert client.answer().body == client.answer().body == whole.body


def test_two_requests_cut_anywhere(client: Client) -> None:
    wire = request("/users/1") + CUT[2] + request("/users/2")
    for cut in range(1, len(wire)):
        client.send(wire[:cut])
        client.send(wire[cut:])
        assert client.answer().json() == {"id": "1"}
        assert client.answer().json()["body"] == "ab" + "c" * 17
        assert client.answer().json() == {"id": "2"}


def test_peer_that_only_connects_costs_nothing(server: Server) -> None:
    taken = server.stats()["taken"]
    for _ in range(20):
        server.client().close()
        with server.client() as client:
            client.socket.shutdown(socket.SHUT_WR)
            client.expect_end()
    assert server.stats()["taken"] == taken + 1  # the one that asks
