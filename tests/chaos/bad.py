"""Bad clients: they break off, stall, flood, send nonsense and never read. A process of its own, ended by its time.

usage: bad.py HOST PORT SECONDS CLIENTS SEED     prints how often each was run, as JSON
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time
from typing import Awaitable, Callable, Dict, List, Tuple

HEAD = b"GET /users/7 HTTP/1.1\r\nHost: bad\r\nAccept: */*\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: bad\r\nContent-Length: 50000\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: bad\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW_SECONDS = 4  # the longest that one of them stays
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcdXX",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\r\n" * 5000,
    b"GET /users/%ff%00%zz HTTP/1.1\r\nHost: a\r\n\r\n",
)


class Bad:
    """A socket that does as it likes. What the server does with it is the server's affair: errors are no news."""

    def __init__(self, address: Tuple[str, int], chance: random.Random) -> None:
        self.address = address
        self.chance = chance

    async def _connect(self, receive_buffer: int = 0) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _send(self, sock: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, data)

    async def _read(self, sock: socket.socket, most: int) -> int:
        seen = 0
        while seen < most:
            piece = await asyncio.get_running_loop().sock_recv(sock, min(65536, most - seen))
            if not piece:
                break
            seen += len(piece)
        return seen

    def _reset(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    async def _with(self, what: Callable[[socket.socket], Awaitable[None]], receive_buffer: int = 0) -> None:
        """Connect, act, and go with a reset as often as not."""
        sock = await self._connect(receive_buffer)
        try:
            await asyncio.wait_for(what(sock), SLOW_SECONDS)
        except (OSError, asyncio.TimeoutError):
            pass
        finally:
            self._reset(sock) if self.chance.random() < 0.5 else sock.close()

    async def _drip(self, sock: socket.socket, data: bytes) -> None:
        for at in range(len(data)):
            await self._send(sock, data[at : at + 1])
            await asyncio.sleep(0.1)

    async def slow_head(self) -> None:
        await self._with(lambda sock: self._drip(sock, HEAD[:40]))

    async def slow_body(self) -> None:
        async def act(sock: socket.socket) -> None:
            await self._send(sock, self.chance.choice((POST, CHUNKED + b"1000\r\n")))
            await self._drip(sock, bytes(30))

        await self._with(act)

    async def silent(self) -> None:
        async def act(sock: socket.socket) -> None:
            await self._send(sock, self.chance.choice((b"", b"G", HEAD[:-2], POST, POST + bytes(3000))))
            await self._read(sock, 1 << 20)

        await self._with(act)

    async def reset_in_head(self) -> None:
        sock = await self._connect()
        await self._send(sock, HEAD * self.chance.randint(0, 3) + HEAD[: self.chance.randint(0, len(HEAD) - 1)])
        self._reset(sock)

    async def reset_in_body(self) -> None:
        sock = await self._connect()
        await self._send(sock, self.chance.choice((POST, CHUNKED + b"c350\r\n")) + bytes(self.chance.randint(0, 49999)))
        self._reset(sock)

    async def reset_in_answer(self) -> None:
        target, most = self.chance.choice((
            (b"/big?bytes=8000000", 100000), (b"/stream?chunks=2000&bytes=5000", 100000), (b"/sleep?ms=20", 0),
            (b"/users/1", 0), (b"/stream?chunks=100000&bytes=10", 1000), (b"/pool?ms=5", 0), (b"/block?ms=1", 0),
        ))
        sock = await self._connect(8192)
        try:
            await self._send(sock, b"GET %b HTTP/1.1\r\nHost: bad\r\n\r\n" % target * self.chance.choice((1, 1, 5)))
            await asyncio.wait_for(self._read(sock, most), SLOW_SECONDS)
            if most == 0:
                await asyncio.sleep(self.chance.random() * 0.03)
        finally:
            self._reset(sock)

    async def garbage(self) -> None:
        async def act(sock: socket.socket) -> None:
            noise = self.chance.choice((*GARBAGE, self.chance.randbytes(2000), HEAD + self.chance.randbytes(200)))
            await self._send(sock, noise)
            await self._read(sock, 1 << 20)

        await self._with(act)

    async def huge_head(self) -> None:
        async def act(sock: socket.socket) -> None:
            line = self.chance.choice((b"GET /" + b"a" * 300000, b"X-Long: " + b"b" * 300000 + b"\r\n",
                                       b"X-Many: 1\r\n" * 5000, b"X" * 200000))
            start = b"" if line.startswith(b"GET") else b"GET / HTTP/1.1\r\nHost: bad\r\n"
            await self._send(sock, start + line)
            await self._read(sock, 1 << 20)

        await self._with(act)

    async def flood(self) -> None:
        """Connections that are closed at once."""
        for _ in range(40):
            sock = await self._connect()
            self._reset(sock) if self.chance.random() < 0.5 else sock.close()

    async def never_read(self) -> None:
        """Pipelines for as long as the server takes it, and reads nothing."""
        async def act(sock: socket.socket) -> None:
            wire = self.chance.choice((HEAD, b"GET /big?bytes=60000 HTTP/1.1\r\nHost: bad\r\n\r\n",
                                       b"GET /stream?chunks=100&bytes=1000 HTTP/1.1\r\nHost: bad\r\n\r\n"))
            while True:
                await self._send(sock, wire * 100)

        await self._with(act, 4096)

    async def half_close(self) -> None:
        """Ends its sending side, within a message or behind one, and reads to the end."""
        async def act(sock: socket.socket) -> None:
            await self._send(sock, self.chance.choice((HEAD, HEAD * 5, HEAD[:30], POST + bytes(100), CHUNKED, b"")))
            sock.shutdown(socket.SHUT_WR)
            await self._read(sock, 1 << 20)

        await self._with(act)

    async def trickle(self) -> None:
        """Reads a large answer in small pieces."""
        async def act(sock: socket.socket) -> None:
            await self._send(sock, b"GET /big?bytes=3000000 HTTP/1.1\r\nHost: bad\r\n\r\n")
            while await self._read(sock, 2000):
                await asyncio.sleep(0.02)

        await self._with(act, 4096)


KINDS = ("slow_head", "slow_body", "silent", "reset_in_head", "reset_in_body", "reset_in_answer", "garbage", "huge_head",
         "flood", "never_read", "half_close", "trickle")


async def _client(bad: Bad, kind: str, end: float, counts: Dict[str, int]) -> None:
    while time.monotonic() < end:
        try:
            await getattr(bad, kind)()
            counts[kind] += 1
        except OSError:
            counts["refused"] += 1
        await asyncio.sleep(bad.chance.random() * 0.1)


async def _run(address: Tuple[str, int], seconds: float, clients: int, seed: int) -> Dict[str, int]:
    """`clients` of each kind."""
    end = time.monotonic() + seconds
    counts = {kind: 0 for kind in (*KINDS, "refused")}
    bad: List[Awaitable[None]] = [
        _client(Bad(address, random.Random(seed + i)), kind, end, counts) for i in range(clients) for kind in KINDS
    ]
    await asyncio.gather(*bad)
    return counts


def main() -> None:
    host, port, seconds, clients, seed = sys.argv[1:]
    counts = asyncio.run(_run((host, int(port)), float(seconds), int(clients), int(seed)))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
