"""make bench-memory: what idle connections, clients that never read, and large answers cost a server's memory.

idle        growth of RSS over 5,000 connections that have had one answer each, by connection (goal: 256 bytes)
unread      growth over 4 s in which one client pipelines and reads nothing (goal: less than 1 MiB)
large       what 16 pipelined /big?bytes=67108864 hold at most, on one connection whose client reads slowly (goal: 64 MiB)
beside      CPU time of a request beside 10,000 idle connections, against none

RSS is that of the server's processes (Linux counts pages), the kernel's socket buffers are not in it. The demos' large
answers are zeros that no page stands for until somebody writes them: so `large` also tells the growth of the address space,
which is what handlers hold that fill their answers.
"""

import argparse
import contextlib
import resource
import selectors
import socket
import time
from pathlib import Path
from typing import Iterator, List

import processes
from loads import Wrk
from servers import Program, Server, demo_c, demo_python, nginx

KIB, MIB = 1024, 1024 * 1024
GET = b"GET /sync HTTP/1.1\r\nHost: idle\r\n\r\n"
FLAGS = ("--idle-timeout-ms", "600000")



def nginx_many(port: int) -> List[str]:
    argv = nginx(port)
    config = Path(argv[-1])
    config.write_text(config.read_text().replace("worker_connections 4096", "worker_connections 16384")
                      .replace("keepalive_timeout 60s", "keepalive_timeout 600s"))
    return argv


SERVERS = {
    "c-shards": Program(demo_c("--shards", "2", "--io-threads", "1", *FLAGS), "C demo, 2 shards"),
    "c-inline": Program(demo_c("--shards", "1", "--io-threads", "1", "--executor", "inline", *FLAGS), "C demo, inline"),
    "c-io0": Program(demo_c("--shards", "1", "--io-threads", "0", *FLAGS), "C demo, a shard that does its own I/O"),
    "python": Program(demo_python(*FLAGS), "Python demo"),
    "nginx": Program(nginx_many, "nginx, one worker", False, False),
}
PER_ADDRESS = 20000  # connections from one source address: the kernel has about 28,000 ports
UNREAD_SECONDS = 4
LARGE_COUNT, LARGE_BYTES = 16, 64 * MIB


def pages(server: Server, column: int) -> int:
    """Bytes of a column of statm, of all its processes."""
    statms = (Path(f"/proc/{pid}/statm").read_text().split() for pid in processes.tree(server.pid))
    return sum(int(statm[column]) for statm in statms) * resource.getpagesize()


def rss(server: Server) -> int:
    return pages(server, 1)


def connect(server: Server, number: int, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.bind((f"127.0.0.{2 + number // PER_ADDRESS}", 0))
    sock.connect(("127.0.0.1", server.port))
    return sock


@contextlib.contextmanager
def idle(server: Server, count: int) -> Iterator[None]:
    """Connections that have had one answer, a hundred at a time."""
    socks: List[socket.socket] = []
    try:
        while len(socks) < count:
            fresh = [connect(server, len(socks)) for _ in range(min(100, count - len(socks)))]
            socks += fresh
            for sock in fresh:
                sock.sendall(GET)
            for sock in fresh:
                assert sock.recv(4096).startswith(b"HTTP/1.1 200"), "an idle connection was not answered"
        yield
    finally:
        for sock in socks:
            sock.close()


def quiet_rss(server: Server) -> int:
    """The same three times in a row."""
    last: List[int] = []
    while len(last) < 3 or len(set(last[-3:])) > 1:
        time.sleep(0.3)
        last.append(rss(server))
    return last[-1]


def measure_idle(server: Server, count: int) -> str:
    with idle(server, 100):
        pass  # what the first connections bring is not counted
    before = quiet_rss(server)
    with idle(server, count):
        after = quiet_rss(server)
    return f"{(after - before) / count:8.0f} bytes a connection over {count} ({before / MIB:.1f} -> {after / MIB:.1f} MiB)"


def measure_unread(server: Server) -> str:
    """The most that RSS is above where it began, looked at every 10 ms."""
    before, most, sent = quiet_rss(server), 0, 0
    with connect(server, 0, 4096) as sock:
        sock.setblocking(False)
        end = time.monotonic() + UNREAD_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                while time.monotonic() < end:
                    sent += sock.send(GET * 500)
            most = max(most, rss(server) - before)
            time.sleep(0.01)
    return f"{most / KIB:8.0f} KiB more at most, {sent / KIB:.0f} KiB of requests sent in {UNREAD_SECONDS} s"


def measure_large(server: Server) -> str:
    before, size, total = quiet_rss(server), pages(server, 0), LARGE_COUNT * LARGE_BYTES
    most = space = seen = 0
    with connect(server, 0) as sock, selectors.DefaultSelector() as selector:
        sock.sendall(b"GET /big?bytes=%d HTTP/1.1\r\nHost: large\r\n\r\n" % LARGE_BYTES * LARGE_COUNT)
        selector.register(sock, selectors.EVENT_READ)
        begun = time.monotonic()
        while seen < total:
            most, space = max(most, rss(server) - before), max(space, pages(server, 0) - size)
            if time.monotonic() - begun < 1:  # in which nothing is read
                time.sleep(0.005)
                continue
            assert selector.select(30), "no answer in 30 s"
            piece = sock.recv(4 * MIB)
            assert piece, f"ended behind {seen} bytes"
            seen += len(piece)
        spent = time.monotonic() - begun - 1
    return (f"{most / MIB:8.1f} MiB more at most, {space / MIB:.0f} MiB of address space, {total / MIB / spent:.0f} MiB/s")


def cpu_us(server: Server, seconds: int) -> float:
    """CPU time of the server for a request of wrk's."""
    before = processes.cpu_time(server.pid)
    result = Wrk(16, 1, "16 connections").run(server.url("/sync"), None, seconds)
    return processes.cpu_between(before, processes.cpu_time(server.pid)) / 1000 / max(1, result.requests)


def measure_beside(server: Server, count: int) -> str:
    cpu_us(server, 1)
    without = [cpu_us(server, 2) for _ in range(3)]
    with idle(server, count):
        beside = [cpu_us(server, 2) for _ in range(3)]
    return f"{sorted(beside)[1]:8.1f} us a request beside {count} idle connections, {sorted(without)[1]:.1f} us without"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(SERVERS), help="[%(default)s]")
    parser.add_argument("--what", default="idle,unread,large,beside", help="[%(default)s]")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections whose memory is measured [%(default)s]")
    parser.add_argument("--beside", type=int, default=10000, help="idle connections beside traffic [%(default)s]")
    return parser.parse_args()


def measure(what: str, server: Server, args: argparse.Namespace) -> str:
    if what == "idle":
        return measure_idle(server, args.idle)
    if what == "unread":
        return measure_unread(server)
    if what == "large":
        return measure_large(server)
    return measure_beside(server, args.beside)


def main() -> None:
    args = arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the servers inherit it
    processes.unwind_on_signals()
    for name in args.servers.split(","):
        for what in args.what.split(","):
            if what == "large" and name == "nginx":
                continue  # has no such path
            server = Server(name, None, program=SERVERS[name])  # fresh for each: memory that one left would hide another's
            try:
                print(f"{name:9} {what:7} {measure(what, server, args)}", flush=True)
            finally:
                server.stop()


if __name__ == "__main__":
    main()
