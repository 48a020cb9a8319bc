"""What the end-to-end tests share: a demo as a process, a client that sends any bytes, a load that counts its answers.

Where the programs are comes from the environment, so that any build can be tested:

TURBO_DEMO       the C demo                       (build/examples/demo)
TURBO_EXAMPLES   directory of the other examples  (beside the demo)
TURBO_PYTHON     python with turbo installed      (build/venv/bin/python)
TURBO_E2E_KINDS  which demos, comma-separated     (shards,inline,io0,hop,python,single)
"""

import json
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

ROOT = Path(__file__).resolve().parents[2]
DEMO = os.environ.get("TURBO_DEMO", str(ROOT / "build/examples/demo"))
EXAMPLES = Path(os.environ.get("TURBO_EXAMPLES", str(Path(DEMO).parent)))
SHARDS = str(EXAMPLES.resolve().parent / "tests/e2e/shards")  # shards.c
PYTHON = os.environ.get("TURBO_PYTHON", str(ROOT / "build/venv/bin/python"))

COMMANDS: Dict[str, List[str]] = {
    "shards": [DEMO, "--shards", "2", "--io-threads", "1"],
    "inline": [DEMO, "--shards", "2", "--io-threads", "2", "--executor", "inline"],
    "io0": [DEMO, "--shards", "2", "--io-threads", "0"],
    "hop": [DEMO, "--shards", "2", "--io-threads", "0", "--placement", "round_robin"],
    "python": [PYTHON, str(ROOT / "examples/demo.py"), "--shards", "2"],
    "single": [PYTHON, str(ROOT / "examples/demo.py"), "--mode", "single"],
    "processes": [PYTHON, str(ROOT / "examples/demo.py"), "--parallel", "processes", "--shards", "2"],
}
TESTED = [kind for kind in COMMANDS if kind != "processes"]  # whose counters are of whichever process was asked
KINDS = os.environ.get("TURBO_E2E_KINDS", ",".join(TESTED)).split(",")
SHARDS_OF = {kind: 2 for kind in COMMANDS}
SHARDS_OF["single"] = 140
IN_PYTHON = ("python", "single", "processes")
PYTHON_KINDS = [kind for kind in KINDS if kind in IN_PYTHON]
C_KINDS = [kind for kind in KINDS if kind not in PYTHON_KINDS]

SANITIZED = b"__asan_init" in Path(DEMO).read_bytes() if os.path.exists(DEMO) else False
QUARANTINE_MIB = 16  # of freed memory that AddressSanitizer keeps (256 unless told): tests measure memory
SLACK_MIB = 2 * QUARANTINE_MIB if SANITIZED else 0  # that such a test allows for it

TIMEOUT = 30  # seconds; nothing takes that long: what hangs fails here
OK_BODY = b'{"ok":true}'

Address = Union[str, Tuple[str, int]]


def wait_until(condition: Callable[[], object], what: str, seconds: float = TIMEOUT) -> None:
    """Wait for something that can only be asked for (a counter, /proc)."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


# -- the server --


# In lines that demos write at the level INFO.
SAID = ("stopped: ", "stopping: ", "threads run handlers: ", "parallel: ", "have reference counts, which")
LOST = 3  # exit code of a demo that has left requests without an answer


class Totals(NamedTuple):
    """What became of the requests, as the server says when it has stopped."""

    taken: int
    answered: int
    shed: int
    dropped: int
    abandoned: int


class Server:
    """A program that prints where it listens, until stop()."""

    def __init__(self, argv: Sequence[str], nofile: int = 0, pass_fds: Sequence[int] = (), env: Dict[str, str] = {}):
        if nofile:
            argv = ["sh", "-c", f'ulimit -n {nofile}; exec "$@"', "sh", *argv]
        asan = f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb={QUARANTINE_MIB}"
        self.stopping = False
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, pass_fds=pass_fds,
            env={**os.environ, "ASAN_OPTIONS": asan, **env}
        )
        try:
            self.line = self._first_line()
            self.address = _address_of(self.line)
        except BaseException:
            self.kill()
            raise

    def _first_line(self) -> str:
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(TIMEOUT):
                    raise AssertionError(f"no address line in {TIMEOUT} s\n{self.errors()}")
                piece = os.read(self.process.stdout.fileno(), 1)
                if not piece:
                    self.process.wait(TIMEOUT)
                    raise AssertionError(f"ended with {self.process.returncode} before it served\n{self.errors()}")
                line += piece
        return line.decode().rstrip("\n")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return self.address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options) -> "Client":
        return Client(self.address, **options)

    def get(self, target: str, **options) -> "Answer":
        """One request on a connection of its own."""
        with self.client() as client:
            return client.request(target, **options)

    def stats(self) -> dict:
        return json.loads(self.get("/stats").body)

    def errors(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def signal(self, number: int) -> None:
        self.stopping |= number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(TIMEOUT)

    def stop(self, code: int = 0) -> str:
        """End it as an operator does; it must end well, or as `code` says. Returns what it wrote to standard error."""
        if self.process.poll() is None and not self.stopping:  # a second signal would end the drain
            self.signal(signal.SIGTERM)
        try:
            ended = self.wait()
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"did not stop in {TIMEOUT} s\n{self.errors()}") from None
        finally:
            self.process.stdout.close()
        errors = self.errors()
        self.stderr.close()
        assert ended == code, f"ended with {ended}\n{errors}"
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors
        return errors

    def totals(self, code: int = 0) -> Totals:
        """Stop, and read the library's last words."""
        return totals_of(self.stop(code))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if self.process.returncode is None and error is None:
            self.stop()
        elif error is not None:
            self.kill()

    # -- /proc --

    def thread_cpu_seconds(self, name: str) -> float:
        """CPU time of the thread of that name."""
        (tid,) = [tid for tid, comm in self.threads().items() if comm == name]
        fields = Path(f"/proc/{self.pid}/task/{tid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """The most that RSS has been since forget_peak()."""
        return int(Path(f"/proc/{self.pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self) -> Dict[int, str]:
        """Name of each thread by its id."""
        tasks = Path(f"/proc/{self.pid}/task")
        return {int(task.name): (task / "comm").read_text().strip() for task in tasks.iterdir()}


def _address_of(line: str) -> Address:
    if found := re.search(r"unix:(\S+)", line):
        return found[1]
    if found := re.search(r"http://(.+?):(\d+)(?!\S)", line):
        return found[1].strip("[]"), int(found[2])
    return "", 0


def totals_of(errors: str) -> Totals:
    found = re.search(
        r"stopped: (\d+) requests taken, (\d+) answered, (\d+) shed, (\d+) dropped by clients, (\d+) abandoned", errors
    )
    assert found, f"no counts at the end\n{errors}"
    totals = Totals(*map(int, found.groups()))
    assert totals.taken == sum(totals[1:]), totals
    return totals


def demo(kind: str, *flags: str, **options) -> Server:
    """Start a demo on a free port; flags come behind those of its kind, and win."""
    argv = COMMANDS[kind]
    if not any(flag in ("--host", "--fd") for flag in flags):
        flags = ("--host", "127.0.0.1", *flags)
    return Server([*argv, "--port", "0", *flags], **options)


def shards(*flags: str) -> Server:
    """Start shards.c, which shows where requests run."""
    return Server([SHARDS, *flags])


# -- the client --


class Closed(Exception):
    """The server has ended the connection, in order."""


class Answer:
    """A response, taken apart."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        found = re.fullmatch(r"HTTP/(\d\.\d) (\d{3}) (.*)", lines[0])
        assert found, f"bad status line {lines[0]!r}"
        self.version = found[1]
        self.status = int(found[2])
        self.reason = found[3]
        self.fields: List[Tuple[str, str]] = []
        for line in lines[1:]:
            name, colon, value = line.partition(": ")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"bad field {line!r}"
            self.fields.append((name, value))
        self.body = b""
        self.chunks: List[int] = []

    def all(self, name: str) -> List[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> Optional[str]:
        values = self.all(name)
        assert len(values) <= 1, f"{name} {len(values)} times"
        return values[0] if values else None

    def json(self):
        assert self.get("Content-Type") == "application/json"
        return json.loads(self.body)

    @property
    def keeps_alive(self) -> bool:
        connection = (self.get("Connection") or "").lower()
        return connection == "keep-alive" if self.version == "1.0" else connection != "close"

    def __repr__(self) -> str:
        return f"<{self.status} {self.fields} {self.body[:60]!r}>"


class Client:
    """A connection that sends any bytes and reads answers one by one, strictly."""

    def __init__(self, address: Address, timeout: float = TIMEOUT, receive_buffer: int = 0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_bytewise(self, data: bytes) -> None:
        for i in range(len(data)):
            self.socket.sendall(data[i : i + 1])

    def end_sending(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self) -> None:
        piece = self.socket.recv(262144)
        if not piece:
            raise Closed(f"closed behind {bytes(self.buffer[:100])!r}")
        self.buffer += piece

    def _until(self, mark: bytes) -> bytes:
        at = 0
        while (found := self.buffer.find(mark, at)) < 0:
            at = max(0, len(self.buffer) - len(mark))
            self._more()
        return self._take(found + len(mark))[: -len(mark)]

    def _take(self, n: int) -> bytes:
        while len(self.buffer) < n:
            self._more()
        taken = bytes(self.buffer[:n])
        del self.buffer[:n]
        return taken

    def head(self) -> Answer:
        """Read the head of an answer, and nothing else."""
        return Answer(self._until(b"\r\n\r\n"))

    def answer(self, method: str = "GET") -> Answer:
        """Read an answer, framed by RFC 9112 6.3."""
        answer = self.head()
        coding, length = answer.get("Transfer-Encoding"), answer.get("Content-Length")
        assert not (coding and length), answer
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if coding is not None:
            assert coding == "chunked", answer
            self._read_chunks(answer)
        elif length is not None:
            answer.body = self._take(int(length))
        else:
            assert not answer.keeps_alive, answer
            answer.body = self.rest()
        return answer

    def _read_chunks(self, answer: Answer) -> None:
        parts = []
        while True:
            size = int(self._until(b"\r\n"), 16)
            answer.chunks.append(size)
            part = self._take(size + 2)
            assert part.endswith(b"\r\n")
            if size == 0:
                break
            parts.append(part[:-2])
        answer.body = b"".join(parts)

    def request(self, target: str = "/json", method: str = "GET", fields: Sequence[str] = (), body: bytes = b"") -> Answer:
        self.send(request(target, method, fields, body))
        return self.answer(method)

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        try:
            while True:
                self._more()
        except Closed:
            taken = bytes(self.buffer)
            self.buffer.clear()
            return taken

    def expect_end(self) -> None:
        """The server ends the connection, without a reset and without a byte more."""
        rest = self.rest()
        assert rest == b"", f"{rest[:200]!r} before the end"

    def reset(self) -> None:
        """Go away as a process that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error) -> None:
        self.close()


def request(target: str = "/json", method: str = "GET", fields: Sequence[str] = (), body: bytes = b"") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(parts: Sequence[bytes]) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


# -- load --


class _Loader:
    """One connection of a load."""

    def __init__(self, address: Address) -> None:
        self.client = Client(address)
        self.client.socket.setblocking(False)
        self.buffer = bytearray()
        self.left = 0  # requests to send
        self.pending = 0  # answers to come

    def take(self) -> List[Tuple[int, bytes]]:
        """The whole answers (status, body) in the buffer; they all have a Content-Length."""
        out = []
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end])
            length = re.search(rb"\r\nContent-Length: (\d+)", head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                break
            out.append((int(head[9:12]), bytes(self.buffer[end + 4 : size])))
            del self.buffer[:size]
        return out


def load(server: Server, target: str, connections: int, requests: int = 0, seconds: float = 0.0,
         depth: int = 1) -> List[Tuple[int, bytes]]:
    """Keep `depth` requests under way on each connection, each one until it has had `requests` answers, or for a time.

    Returns all answers. A reset, or a connection that ends early, is an error.
    """
    wire = request(target)
    answers: List[Tuple[int, bytes]] = []
    end = time.monotonic() + (seconds or TIMEOUT * 2)
    with selectors.DefaultSelector() as selector:
        loaders = [_Loader(server.address) for _ in range(connections)]
        for loader in loaders:
            first = min(depth, requests) if requests else depth
            loader.left = (requests or 1 << 60) - first
            loader.pending = first
            loader.client.socket.send(wire * first)
            selector.register(loader.client.socket, selectors.EVENT_READ, loader)
        open_count = connections
        while open_count:
            ready = selector.select(TIMEOUT)
            assert ready, f"no answer in {TIMEOUT} s"
            late = time.monotonic() > end
            assert seconds or not late, "the load takes too long"
            for key, _ in ready:
                loader: _Loader = key.data
                piece = loader.client.socket.recv(65536)
                assert piece, "the server ended a connection of the load"
                loader.buffer += piece
                new = loader.take()
                answers += new
                loader.pending -= len(new)
                again = 0 if seconds and late else min(len(new), loader.left)
                if again:
                    loader.left -= again
                    loader.pending += again
                    loader.client.socket.send(wire * again)
                elif loader.pending == 0:
                    selector.unregister(loader.client.socket)
                    loader.client.close()
                    open_count -= 1
    return answers
