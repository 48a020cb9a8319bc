"""make bench-transfers GIB=10: very long bodies up and down, and what they cost the server's memory at most.

up          POST /upload with a Content-Length; the demo answers how many bytes it has read, and their sum
up-chunked  the same in chunks of 1 MiB
down        GET /stream, in chunks of 1 MiB, which the client counts

The peak is VmHWM, set back before (proc(5), clear_refs). Ends with 1 when a byte is missing, or the peak has grown by more
than 8 MiB.
"""

import argparse
import json
import socket
import sys
import time
import zlib
from pathlib import Path
from typing import Callable, Dict, List

import processes
from servers import Program, Server, demo_c, demo_python

MIB, GIB = 1 << 20, 1 << 30
GROWTH_MAX = 8 * MIB
PIECE = bytes(range(256)) * (MIB // 256)
SERVERS = {
    "c-shards": Program(demo_c("--shards", "2", "--io-threads", "1"), "C demo, 2 shards"),
    "c-inline": Program(demo_c("--shards", "1", "--io-threads", "1", "--executor", "inline"), "C demo, inline"),
    "c-io0": Program(demo_c("--shards", "1", "--io-threads", "0"), "C demo, a shard that does its own I/O"),
    "python": Program(demo_python(), "Python demo"),
}


def peak(server: Server) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def forget_peak(server: Server) -> None:
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")


def answer(sock: socket.socket) -> bytes:
    """The body of an answer that ends the connection."""
    got = b""
    while piece := sock.recv(65536):
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head[:200]
    return body


def upload(sock: socket.socket, count: int, framing: bytes, before: bytes, behind: bytes, end: bytes) -> None:
    """Send `count` pieces, and look at what the server has counted of them."""
    sock.sendall(b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + framing + b"\r\n\r\n")
    total = 1  # Adler-32, RFC 1950
    for _ in range(count):
        sock.sendall(before + PIECE + behind)
        total = zlib.adler32(PIECE, total)
    sock.sendall(end)
    said, expected = json.loads(answer(sock)), {"bytes": count * MIB, "sum": total}
    assert said == expected, f"the server has read {said} of {expected}"


def up(sock: socket.socket, count: int) -> None:
    upload(sock, count, b"Content-Length: %d" % (count * MIB), b"", b"", b"")


def up_chunked(sock: socket.socket, count: int) -> None:
    upload(sock, count, b"Transfer-Encoding: chunked", b"%x\r\n" % MIB, b"\r\n", b"0\r\n\r\n")


def down(sock: socket.socket, count: int) -> None:
    sock.sendall(b"GET /stream?chunks=%d&bytes=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % (count, MIB))
    room, got, last = bytearray(4 * MIB), 0, b""
    while n := sock.recv_into(room):
        got += n
        last = (last + bytes(room[max(0, n - 5) : n]))[-5:]
    framing = count * len(b"100000\r\n\r\n") + len(b"0\r\n\r\n")
    assert last == b"0\r\n\r\n" and 0 < got - framing - count * MIB < 500, f"{got} bytes have come, ended by {last!r}"


WAYS: Dict[str, Callable[[socket.socket, int], None]] = {"up": up, "up-chunked": up_chunked, "down": down}


def measure(server: Server, way: str, gib: float) -> int:
    """@return by how many bytes the peak has grown."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        WAYS[way](sock, 64)  # what first uses bring is in both
    forget_peak(server)
    before, begun = peak(server), time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        WAYS[way](sock, int(gib * GIB / MIB))
    seconds, grown = time.monotonic() - begun, peak(server) - before
    memory = f"peak {before / MIB:.1f} MiB + {grown / 1024:.0f} KiB"
    print(f"{server.name:9} {way:11} {gib:g} GiB, {gib / seconds:5.2f} GiB/s, {memory}", flush=True)
    return grown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(SERVERS), help="[%(default)s]")
    parser.add_argument("--ways", default=",".join(WAYS), help="[%(default)s]")
    parser.add_argument("--gib", type=float, default=10, help="of each body [%(default)s]")
    args = parser.parse_args()
    processes.unwind_on_signals()
    grown: List[int] = []
    for name in args.servers.split(","):
        for way in args.ways.split(","):
            server = Server(name, None, program=SERVERS[name])  # fresh for each: what one has left would hide another's
            try:
                grown.append(measure(server, way, args.gib))
            finally:
                server.stop()
    return 1 if max(grown) > GROWTH_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
