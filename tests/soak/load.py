"""A mixed load over many connections, every answer checked; it can be paused, with the connections open and quiet."""

import random
import re
import selectors
import socket
import struct
import time
from typing import Callable, List, NamedTuple, Optional, Tuple

from harness import OK_BODY, chunked, request

PIPELINE_MAX = 4
RESET_SHARE = 0.002  # of the bursts: the client goes in the middle
CLOSE_SHARE = 0.01  # of the bursts: the connection is closed behind it, and a new one opened
STALL = 30  # seconds without any answer


class Expected(NamedTuple):
    status: int
    body: Optional[bytes]  # None: any
    length: int = -1  # of the body, where it is not compared; -1: any


class Reader:
    """Takes answers apart as their bytes come."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def next(self) -> Optional[Tuple[int, bytes]]:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.buffer[: end + 2])
        status = int(head[9:12])
        if b"\r\nTransfer-Encoding: chunked\r\n" in head:
            return self._chunks(status, end + 4)
        found = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        size = int(found[1]) if found and status != 304 else 0
        if len(self.buffer) < end + 4 + size:
            return None
        body = bytes(self.buffer[end + 4 : end + 4 + size])
        del self.buffer[: end + 4 + size]
        return status, body

    def _chunks(self, status: int, at: int) -> Optional[Tuple[int, bytes]]:
        parts = []
        while (line := self.buffer.find(b"\r\n", at)) >= 0:
            size = int(self.buffer[at:line], 16)
            stop = line + 2 + size
            if len(self.buffer) < stop + 2:
                return None
            parts.append(bytes(self.buffer[line + 2 : stop]))
            at = stop + 2
            if size == 0:
                del self.buffer[:at]
                return status, b"".join(parts)
        return None


def _echo(chance: random.Random) -> Tuple[bytes, Expected]:
    body = chance.randbytes(chance.choice((0, 10, 500, 5000, 30000)))
    if chance.random() < 0.3:
        return request("/echo", "POST", ["Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"") + chunked(
            [body[at : at + 7000] for at in range(0, len(body), 7000)]
        ), Expected(200, body)
    return request("/echo", "POST", body=body), Expected(200, body)


def _big(chance: random.Random) -> Tuple[bytes, Expected]:
    n = chance.choice((1, 4096, 4097, 40000))
    return request(f"/big?bytes={n}"), Expected(200, None, n)


def _stream(chance: random.Random) -> Tuple[bytes, Expected]:
    count, size = chance.randint(1, 8), chance.choice((1, 100, 3000))
    return request(f"/stream?chunks={count}&bytes={size}"), Expected(200, None, count * size)


def _user(chance: random.Random) -> Tuple[bytes, Expected]:
    name = str(chance.randrange(10**9))
    return request(f"/users/{name}"), Expected(200, b'{"id":"%b"}' % name.encode())


def _ok(target: str) -> Callable[[random.Random], Tuple[bytes, Expected]]:
    wire = request(target)
    return lambda chance: (wire, Expected(200, OK_BODY))


def _status(target: str, method: str, status: int) -> Callable[[random.Random], Tuple[bytes, Expected]]:
    wire = request(target, method)
    return lambda chance: (wire, Expected(status, None))


MIX: List[Tuple[int, Callable[[random.Random], Tuple[bytes, Expected]]]] = [
    (20, _ok("/json")),
    (10, _ok("/sync")),
    (20, _ok("/async")),
    (10, _ok("/sleep?ms=3")),
    (10, _user),
    (10, _echo),
    (5, _big),
    (5, _stream),
    (2, _status("/nothing", "GET", 204)),
    (2, _status("/cached", "GET", 304)),
    (2, _status("/reflect?a=b", "PUT", 200)),
    (2, _status("/batch", "POST", 200)),
    (1, _status("/absent", "GET", 404)),
    (1, _status("/json", "DELETE", 405)),
    (1, _status("/stats", "GET", 200)),
]


class Connection:
    def __init__(self, address: Tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader()
        self.expected: List[Expected] = []


class Load:
    """Connections, each with a burst of requests under way while the load runs."""

    def __init__(self, address: Tuple[str, int], connections: int, seed: int = 1) -> None:
        self.address = address
        self.chance = random.Random(seed)
        self.makers = [make for _, make in MIX]
        self.weights = [weight for weight, _ in MIX]
        self.selector = selectors.DefaultSelector()
        self.sent = self.answered = self.reset = self.opened = 0
        self.running = False
        self.connections: List[Connection] = []
        for _ in range(connections):
            self._open()

    def _open(self) -> Connection:
        connection = Connection(self.address)
        self.connections.append(connection)
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.opened += 1
        return connection

    def _drop(self, connection: Connection) -> None:
        self.selector.unregister(connection.socket)
        self.connections.remove(connection)
        connection.socket.close()

    def _send(self, connection: Connection) -> None:
        wires = []
        for make in self.chance.choices(self.makers, self.weights, k=self.chance.randint(1, PIPELINE_MAX)):
            wire, expected = make(self.chance)
            wires.append(wire)
            connection.expected.append(expected)
        self.sent += len(wires)
        connection.socket.sendall(b"".join(wires))
        if self.chance.random() < RESET_SHARE:
            self.reset += len(wires)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._drop(connection)
            self._send(self._open())

    def _take(self, connection: Connection) -> None:
        piece = connection.socket.recv(262144)
        assert piece, "the server ended a connection of the load"
        connection.reader.buffer += piece
        while connection.expected and (answer := connection.reader.next()) is not None:
            expected = connection.expected.pop(0)
            status, body = answer
            assert status == expected.status, (status, body[:200], expected)
            assert expected.body is None or body == expected.body, (body[:200], expected)
            assert expected.length in (-1, len(body)), (len(body), expected)
            self.answered += 1
        if connection.expected:
            return
        assert not connection.reader.buffer, bytes(connection.reader.buffer[:200])
        if not self.running:
            return
        if self.chance.random() < CLOSE_SHARE:
            self._drop(connection)
            connection = self._open()
        self._send(connection)

    def _turn(self) -> None:
        ready = self.selector.select(STALL)
        assert ready, f"no answer in {STALL} s"
        for key, _ in ready:
            self._take(key.data)

    def run(self, seconds: float) -> None:
        """Run for so long, then take the answers that are owed."""
        end = time.monotonic() + seconds
        self.running = True
        for connection in list(self.connections):
            self._send(connection)
        while time.monotonic() < end:
            self._turn()
        self.running = False
        while any(connection.expected for connection in self.connections):
            self._turn()

    def close(self) -> None:
        for connection in list(self.connections):
            self._drop(connection)
        self.selector.close()
