"""Every limit at n - 1, n and n + 1; every timeout."""

import select
import socket
import time
from typing import Iterator, List

import pytest

import harness
from harness import OK_BODY, Client, Server, chunked, request, wait_until

MIB = 1 << 20

SMALL = {"body_max_bytes": 100, "target_max_bytes": 50, "head_max_bytes": 300, "fields_max": 5}


def flags(settings: dict) -> list:
    return [word for name, value in settings.items() for word in ("--" + name.replace("_", "-"), str(value))]


@pytest.fixture(scope="module")
def small(kind: str) -> Iterator[Server]:
    with harness.demo(kind, *flags(SMALL)) as server:
        yield server


def judge(client: Client, status: int, too_much: int) -> None:
    """Read an answer; a refusal ends the connection, anything else does not."""
    answer = client.answer()
    assert answer.status == status
    if status == too_much:
        assert answer.get("Connection") == "close"
        client.expect_end()
    else:
        assert client.request().body == OK_BODY


CASES = [(-1, 200), (0, 200), (1, 413)]


@pytest.mark.parametrize("more,status", CASES)
@pytest.mark.parametrize("framing", ["length", "chunked", "many chunks"])
def test_body_limit(small: Server, more: int, status: int, framing: str) -> None:
    body = b"b" * (SMALL["body_max_bytes"] + more)
    with small.client() as client:
        if framing == "length":
            client.send(request("/reflect", "POST", body=body))
        else:
            parts = [body] if framing == "chunked" else [bytes([byte]) for byte in body]
            client.send(b"PUT /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(parts))
        judge(client, status, 413)


@pytest.mark.parametrize("more,status", CASES)
@pytest.mark.parametrize("target,most", [("/reflect", MIB), ("/echo", 16 * MIB)])
def test_body_limits_of_the_demo(server: Server, target: str, most: int, more: int, status: int) -> None:
    with server.client() as client:
        client.send(request(target, "POST", body=bytes(most + more)))
        judge(client, status, 413)


def test_body_limit_of_nothing(start, kind: str) -> None:
    server = start(kind, "--body-max-bytes", "0")
    assert server.get("/reflect", method="POST").status == 200
    assert server.get("/reflect", method="POST", body=b"x").status == 413


@pytest.mark.parametrize("more,status", [(-1, 200), (0, 200), (1, 414)])
def test_target_limit(small: Server, more: int, status: int) -> None:
    with small.client() as client:
        client.send(request("/users/" + "u" * (SMALL["target_max_bytes"] + more - len("/users/"))))
        judge(client, status, 414)


@pytest.mark.parametrize("more,status", [(-1, 200), (0, 200), (1, 431)])
@pytest.mark.parametrize("bytewise", [False, True])
def test_head_limit(small: Server, more: int, status: int, bytewise: bool) -> None:
    rest = len(request(fields=["A: "]))
    wire = request(fields=["A: " + "a" * (SMALL["head_max_bytes"] + more - rest)])
    assert len(wire) == SMALL["head_max_bytes"] + more
    with small.client() as client:
        (client.send_bytewise if bytewise else client.send)(wire)
        judge(client, status, 431)


@pytest.mark.parametrize("more,status", [(-1, 200), (0, 200), (1, 431)])
def test_fields_limit(small: Server, more: int, status: int) -> None:
    with small.client() as client:
        client.send(request(fields=["A: b"] * (SMALL["fields_max"] + more - 1)))  # and Host
        judge(client, status, 431)


@pytest.mark.parametrize("what", ["extension", "trailer"])
def test_chunk_overhead_limit(small: Server, what: str) -> None:
    """Around head_max_bytes, line ends counted or not, there is one size above which all are refused."""
    statuses = []
    for size in range(SMALL["head_max_bytes"] - 8, SMALL["head_max_bytes"] + 3):
        text = b"x" * (size - 2)
        body = b"1;" + text + b"\r\na\r\n0\r\n\r\n" if what == "extension" else b"0\r\nA:" + text + b"\r\n\r\n"
        with small.client() as client:
            client.send(b"POST /reflect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            statuses.append(client.answer().status)
    assert statuses == sorted(statuses) and (statuses[0], statuses[-1]) == (200, 431), statuses


def test_endless_head_is_refused_before_its_end(server: Server) -> None:
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"A: " + b"a" * 995 + b"\r\n") * 70)
        assert client.answer().status == 431
        client.expect_end()


@pytest.fixture(scope="module", params=[1000, 100_000])
def little_memory(kind: str, request: pytest.FixtureRequest) -> Iterator[Server]:
    with harness.demo(kind, "--body-memory-max-bytes", str(request.param)) as server:
        server.most = request.param
        yield server


@pytest.mark.parametrize("more,status", [(-1, 200), (0, 200), (1, 503)])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_memory_limit(little_memory: Server, more: int, status: int, framing: str) -> None:
    body = b"b" * (little_memory.most + more)
    with little_memory.client() as client:
        if framing == "length":
            client.send(request("/echo", "POST", body=body))
        else:
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([body]))
        answer = client.answer()
        assert (answer.status, answer.get("Retry-After")) == (status, "1" if status == 503 else None)
        if status == 503:
            client.expect_end()
    wait_until(lambda: little_memory.stats()["body_memory"] == 0, "the memory is given back")


def test_body_memory_of_the_server(start, kind: str) -> None:
    """Above it: 503 with Retry-After, for that request alone, and all of it is given back."""
    server = start(kind, "--body-memory-max-bytes", "1000000")
    with server.client() as first, server.client() as second:
        first.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + bytes(800_000))
        wait_until(lambda: server.stats()["body_memory"] >= 800_000, "the first body is gathered")
        second.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000))
        answer = second.answer()
        assert (answer.status, answer.get("Retry-After")) == (503, "1")
        first.send(bytes(100_000))
        assert first.answer().body == bytes(900_000)
    wait_until(lambda: server.stats()["body_memory"] == 0, "the memory is given back")
    assert server.stats()["shed"] == 1


def test_connections_max_makes_others_wait(start, kind: str) -> None:
    server = start(kind, "--connections-max", "2")
    clients = [server.client() for _ in range(2)]
    for client in clients:
        assert client.request().body == OK_BODY
    with server.client() as third:
        third.send(request())
        clients[0].close()
        assert third.answer().body == OK_BODY  # once a place is free
    assert clients[1].request("/stats").json()["connections"] <= 2
    clients[1].close()


def answered(clients: List[Client], most: int) -> List[Client]:
    """Those of the clients, each of which has asked, that are answered: `most` of them, and no other comes in while these stay."""
    by_socket = {client.socket: client for client in clients}
    found: List[Client] = []
    while by_socket:
        ready, _, _ = select.select(list(by_socket), [], [], harness.TIMEOUT if len(found) < most else 0.1)
        if not ready:
            break
        for served in ready:
            found.append(by_socket.pop(served))
            assert found[-1].answer().body == OK_BODY
    assert len(found) == most
    return found


@pytest.mark.parametrize("most", [1, 3])
def test_connections_max_is_exact(start, kind: str, most: int) -> None:
    """Also where several loops accept at once, and when places come free together."""
    server = start(kind, "--connections-max", str(most))
    clients = [server.client() for _ in range(4 * most)]
    for client in clients:
        client.send(request())
    while clients:
        served = answered(clients, most)
        clients = [client for client in clients if client not in served]
        for client in served:
            client.close()


@pytest.mark.parametrize("most", [1, 2, 5])
def test_connections_of_an_address_are_exact(start, kind: str, most: int) -> None:
    server = start(kind, "--connections-per-address-max", str(most))
    clients = [server.client() for _ in range(most)]
    for client in clients:
        assert client.request().body == OK_BODY
    for _ in range(2):
        with server.client() as more:
            assert more.rest() == b""  # closed at once, without an answer
    assert clients[-1].request("/stats").json()["refused"] == 2
    assert clients[-1].request("/stats").json()["connections"] == most
    if kind not in ("python", "single"):  # another address has its own share
        with socket.socket() as other:
            other.settimeout(harness.TIMEOUT)
            other.bind(("127.0.0.2", 0))
            other.connect(server.address)
            other.sendall(request())
            assert other.recv(65536).startswith(b"HTTP/1.1 200 ")
    clients.pop().close()
    for client in clients:
        assert client.request().body == OK_BODY
        client.close()

    def comes_in() -> bool:
        with server.client() as again:
            again.send(request())
            try:
                return again.answer().body == OK_BODY
            except (harness.Closed, ConnectionError):
                return False

    wait_until(comes_in, "the place is free again")


def test_unix_sockets_have_no_address(start, kind: str, tmp_path) -> None:
    server = start(kind, "--host", f"unix:{tmp_path}/s", "--connections-per-address-max", "1")
    with server.client() as first, server.client() as second:
        assert first.request().body == second.request().body == OK_BODY


# -- timeouts --


def drip(client: Client, data: bytes, seconds: float) -> None:
    """Send a byte at a time, evenly over a time, until the server answers or all is sent."""
    for i in range(len(data)):
        client.socket.settimeout(seconds / len(data))
        try:
            piece = client.socket.recv(65536)
            client.buffer += piece
            break
        except socket.timeout:
            client.send(data[i : i + 1])
    client.socket.settimeout(harness.TIMEOUT)


def test_unfinished_head_is_408(start, kind: str) -> None:
    server = start(kind, "--head-timeout-ms", "300")
    with server.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost:")
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")
        client.expect_end()
    assert server.stats()["timeouts_head"] == 1


def test_dripped_head_gets_no_more_time(start, kind: str) -> None:
    server = start(kind, "--head-timeout-ms", "500")
    with server.client() as client:
        drip(client, b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1000, seconds=30)
        assert client.answer().status == 408
        client.expect_end()


def test_head_timeout_is_for_a_pipelined_head_too(start, kind: str) -> None:
    server = start(kind, "--head-timeout-ms", "300")
    with server.client() as client:
        client.send(request("/sleep?ms=10") + b"GET / HT")
        assert client.answer().body == OK_BODY
        assert client.answer().status == 408
        client.expect_end()


@pytest.mark.parametrize("head", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_stalled_body_is_408(start, kind: str, head: str) -> None:
    server = start(kind, "--body-stall-timeout-ms", "300")
    with server.client() as client:
        client.send(f"POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + b"1")
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")
        client.expect_end()
    assert server.stats()["timeouts_body"] == 1


def test_body_that_goes_on_has_all_the_time(start, kind: str) -> None:
    server = start(kind, "--body-stall-timeout-ms", "1000", "--head-timeout-ms", "1000", "--idle-timeout-ms", "1000")
    with server.client() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n")
        drip(client, b"123456789012345", seconds=2.2)
        assert client.answer().body == b"123456789012345"


@pytest.mark.parametrize("head", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_dripped_body_gets_no_more_time(start, kind: str, head: str) -> None:
    server = start(kind, "--body-timeout-ms", "500")
    with server.client() as client:
        client.send(f"POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        drip(client, b"a" * 1000 if head.startswith("Content") else b"1\r\na\r\n" * 200, seconds=30)
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (408, "close")
        client.expect_end()
    assert server.stats()["timeouts_body"] == 1


def test_body_timeout_is_for_each_body(start, kind: str) -> None:
    """Not for a connection, and not for what its handler takes."""
    server = start(kind, "--body-timeout-ms", "1000", "--body-stall-timeout-ms", "1000")
    with server.client() as client:
        for _ in range(3):
            client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
            drip(client, b"1234", seconds=0.4)
            assert client.answer().body == b"1234"
        assert client.request("/sleep?ms=1500").body == OK_BODY
    assert server.stats()["timeouts_body"] == 0


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_refused_client_may_send_on_for_a_while(start, kind: str, framing: str) -> None:
    """Clients that send everything before they read: cut off too early, they would see a broken pipe and no answer."""
    server = start(kind)
    head = "Content-Length: 2000000" if framing == "length" else "Transfer-Encoding: chunked"
    piece = b"x" * 50000 if framing == "length" else b"c350\r\n" + b"x" * 50000 + b"\r\n"
    with server.client() as client:
        client.send(request("/reflect", "DELETE", fields=[head]))
        for _ in range(40):  # 4 s: longer than what a client that has gone silent is given
            client.send(piece)
            time.sleep(0.1)
        answer = client.answer()
        assert (answer.status, answer.get("Connection")) == (413, "close")
        client.expect_end()


def test_client_that_takes_no_answer_is_left(start, kind: str) -> None:
    server = start(kind, "--body-stall-timeout-ms", "300")
    with server.client(receive_buffer=4096):
        with server.client(receive_buffer=4096) as stuck:
            stuck.send(request("/big?bytes=30000000"))
            stuck.head()
            wait_until(lambda: server.stats()["timeouts_body"] == 1, "a timeout")
            wait_until(lambda: server.stats()["connections"] == 2, "the stuck one closed")


def test_idle_connection_is_closed_without_a_word(start, kind: str) -> None:
    server = start(kind, "--idle-timeout-ms", "300")
    with server.client() as fresh, server.client() as used:
        assert used.request().body == OK_BODY
        used.expect_end()
        fresh.expect_end()
    assert server.stats()["timeouts_idle"] == 2


def test_request_that_is_worked_on_is_not_idle(start, kind: str) -> None:
    server = start(kind, "--idle-timeout-ms", "200", "--head-timeout-ms", "200", "--body-stall-timeout-ms", "200")
    assert server.get("/sleep?ms=900").body == OK_BODY


def test_no_timeouts_at_zero(start, kind: str) -> None:
    server = start(kind, "--idle-timeout-ms", "0", "--head-timeout-ms", "0", "--body-stall-timeout-ms", "0")
    with server.client() as idle, server.client() as head, server.client() as body:
        head.send(b"GET /json HTTP/1.1\r\n")
        body.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        time.sleep(0.5)  # what must not happen has to be given its time
        head.send(b"Host: x\r\n\r\n")
        body.send(b"2")
        assert head.answer().body == idle.request().body == OK_BODY
        assert body.answer().body == b"12"
