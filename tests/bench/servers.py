"""The servers that are measured, and how each is started."""

import http.client
import os
import pwd
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Set

import processes

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bench"
PROGRAMS = ROOT / "build/release/tests/bench"
DEMO = ROOT / "build/release/examples/demo"
PYTHON = ROOT / "build/venv/bin/python"
VENV = ROOT / "build/venv-bench"
SCRATCH = ROOT / "build/bench"
NGINX = "/usr/sbin/nginx"
SECONDS_TO_START = 30
BODY = b'{"ok":true}'
RAW = "application/octet-stream"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(venv: Path, *packages: str) -> str:
    """Packages from PyPI into an environment, made when it is missing; done once. Returns why it failed, or ""."""
    stamp = venv / f"{packages[0]}.installed"
    if stamp.exists():
        return ""
    print(f"bench: installing {', '.join(packages)} into {venv.relative_to(ROOT)}", flush=True)
    if not (venv / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *packages], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 0:
        stamp.touch()
        return ""
    return next((line for line in reversed(done.stdout.splitlines()) if "ERROR" in line), "pip failed")


def make_venv() -> None:
    """build/venv-bench with uvicorn and what makes it fast."""
    why = install(VENV, "uvicorn", "uvloop", "httptools")
    if why:
        raise RuntimeError(f"uvicorn: {why}")


# -- their command lines: a port of 0 is one that the program prints --


def bare(port: int) -> List[str]:
    return [str(PROGRAMS / "bare")]


def demo_c(*flags: str) -> Callable[[int], List[str]]:
    return lambda port: [str(DEMO), "--port", "0", *flags]


def demo_python(*flags: str) -> Callable[[int], List[str]]:
    return lambda port: [str(PYTHON), str(ROOT / "examples/demo.py"), "--port", "0", *flags]


def sweep_app(port: int) -> List[str]:
    return [str(PYTHON), str(HERE / "sweep_app.py"), "--port", "0"]


def nginx(port: int) -> List[str]:
    SCRATCH.mkdir(parents=True, exist_ok=True)
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""  # valgrind writes a file as the worker
    text = (HERE / "nginx.conf.in").read_text()
    for name, value in (("@DIR@", str(SCRATCH)), ("@PORT@", str(port)), ("@USER@", user)):
        text = text.replace(name, value)
    config = SCRATCH / "nginx.conf"
    config.write_text(text)
    return [NGINX, "-e", "stderr", "-p", str(SCRATCH), "-c", str(config)]


def uvicorn(port: int) -> List[str]:
    make_venv()
    return [str(VENV / "bin/python"), "-m", "uvicorn", "--app-dir", str(HERE / "peers"), "--host", "127.0.0.1",
            "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
            "asgi:app"]


class Program(NamedTuple):
    command: Callable[[int], List[str]]
    what: str
    prints_address: bool = True
    echoes: bool = True  # False: answers every request the same
    ready: str = "/async"  # answered 200 as soon as it serves


PROGRAMS_BY_NAME: Dict[str, Program] = {
    "bare": Program(bare, "bare epoll loop, fixed answer", echoes=False),
    "bare-again": Program(bare, "the same program a second time", echoes=False),
    "nginx": Program(nginx, "nginx, one worker, return 200", False, False),
    "uvicorn": Program(uvicorn, "uvicorn, uvloop, httptools, the least ASGI application", False),
    "c-inline": Program(demo_c("--executor", "inline", "--shards", "1", "--io-threads", "1"),
                        "C demo, handlers on the I/O loop"),
    "c-shard": Program(demo_c("--shards", "1", "--io-threads", "1"), "C demo, I/O loop and one shard"),
    "c-io0": Program(demo_c("--shards", "1", "--io-threads", "0"), "C demo, one shard that does its own I/O"),
    "py": Program(demo_python(), "Python demo, defaults"),
    "py-14": Program(demo_python("--shards", "14"), "Python demo, 14 shards"),
}


class Target(NamedTuple):
    """A row of the tables: a path of a program."""

    program: str
    path: str
    what: str


TARGETS: Dict[str, Target] = {
    **{name: Target(name, "/async", program.what) for name, program in PROGRAMS_BY_NAME.items() if name[:2] != "c-"},
    **{name: Target(name, "/sync", program.what) for name, program in PROGRAMS_BY_NAME.items() if name[:2] == "c-"},
    "py-sync": Target("py", "/sync", "Python demo, defaults, def handler that returns a dict"),
    "py-async": Target("py", "/async", "Python demo, defaults, async def handler that returns bytes"),
}

# No row of bench.py's tables: sweep.py starts it with other flags each time.
PROGRAMS_BY_NAME["py-sweep"] = Program(sweep_app, "Python demo with more routes")


# -- running them --


class Server:
    """A running program, until stop(). `wrapper` runs it (valgrind, strace); `flags`: more flags."""

    def __init__(self, name: str, cpus: Optional[Set[int]], wrapper: Sequence[str] = (), flags: Sequence[str] = (),
                 program: Optional[Program] = None):
        program = program or PROGRAMS_BY_NAME[name]
        self.name = name
        self.traced = wrapper[:1] == ["strace"]  # which stays a process of its own, above the server's
        self.port = 0 if program.prints_address else free_port()
        self.stderr = tempfile.TemporaryFile()
        argv = [*wrapper, *program.command(self.port), *flags]
        env = {key: value for key, value in os.environ.items() if not key.startswith("TURBO_")}  # settings
        self.process = processes.start(argv, cpus, stdout=subprocess.PIPE, stderr=self.stderr, env=env)
        try:
            if program.prints_address:
                self.port = self._read_port()
            self._wait_until_it_answers(program.ready)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, seconds: float = 20) -> None:
        below = processes.children(self.pid) if self.traced and self.process.poll() is None else []
        every = processes.tree(self.pid) if self.process.poll() is None else []
        processes.wake(every)
        processes.end(self.process, *below[:1], seconds=seconds)
        processes.kill_left(every[1:])
        self.process.stdout.close()
        self.stderr.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _fail(self, why: str) -> None:
        self.stderr.seek(0)
        raise RuntimeError(f"{self.name}: {why}\n{self.stderr.read().decode(errors='replace')}")

    def _read_port(self) -> int:
        line = b""
        end = time.monotonic() + SECONDS_TO_START
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(end - time.monotonic()):
                    self._fail(f"printed no address in {SECONDS_TO_START} s")
                piece = os.read(self.process.stdout.fileno(), 1)
                if not piece:
                    self._fail("ended before it served")
                line += piece
        return int(line.split(b"127.0.0.1:")[1].split()[0])

    def _wait_until_it_answers(self, path: str) -> None:
        end = time.monotonic() + SECONDS_TO_START
        while True:
            try:
                return self.check(path, BODY if path == "/async" else None)
            except OSError as error:
                if self.process.poll() is not None:
                    self._fail(f"ended with {self.process.returncode}")
                if time.monotonic() > end:
                    self._fail(f"does not answer after {SECONDS_TO_START} s: {error}")
            time.sleep(0.05)  # between two looks at it

    def get(self, path: str, sent: bytes = b"", content_type: str = RAW) -> bytes:
        """The body of an answer 200; a body is posted."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_TO_START)
        try:
            client.request("POST" if sent else "GET", path, sent or None, {"Content-Type": content_type} if sent else {})
            answer = client.getresponse()
            body = answer.read()
        finally:
            client.close()
        if answer.status != 200:
            self._fail(f"{path} was answered {answer.status} {body!r}")
        return body

    def check(self, path: str, expect: Optional[bytes] = BODY, sent: bytes = b"", content_type: str = RAW) -> None:
        """One request: what is measured must answer right. None: with any body."""
        body = self.get(path, sent, content_type)
        if expect is not None and body != expect:
            self._fail(f"{path} was answered {body!r}")
