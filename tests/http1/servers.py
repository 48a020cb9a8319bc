"""The servers that the battery can start: the demos, and others to compare with."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Iterator, List, Sequence, Tuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402

PEERS = ROOT / "build/peers"
TIMEOUTS = ["--head-timeout-ms", "3000", "--body-stall-timeout-ms", "3000", "--idle-timeout-ms", "5000"]
TURBO = frozenset({"body-limit", "turbo-limits", "timeouts", "trailers", "files"})
FILES = {"ten": b"0123456789", "data": bytes(i * 7 % 251 for i in range(100000))}  # below /files/, for cases/files.py
FILES_CHANGED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


class Running:
    """A server, for as long as the with statement lasts."""

    def __init__(self, name: str, address: Tuple[str, int], has: FrozenSet[str], stop: Callable[[], object]) -> None:
        self.name = name
        self.address = address
        self.has = has
        self._stop = stop

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()


def start_plain(kind: str, *flags: str) -> harness.Server:
    """A demo of one of DEMOS, with these flags alone."""
    return harness.demo(kind[2:] if kind.startswith("c-") else kind, *flags)


def write_files(folder: str) -> None:
    for name, content in FILES.items():
        path = Path(folder, name)
        path.write_bytes(content)
        os.utime(path, (FILES_CHANGED, FILES_CHANGED))


def start_demo(kind: str) -> Running:
    folder = tempfile.TemporaryDirectory(prefix="http1-files-")
    write_files(folder.name)
    server = start_plain(kind, *TIMEOUTS, "--files", folder.name)

    def stop() -> None:
        server.stop()
        folder.cleanup()

    return Running(kind, server.address, TURBO, stop)


# -- others --


def start_go() -> Running:
    PEERS.mkdir(parents=True, exist_ok=True)
    program = PEERS / "go"
    subprocess.run(["go", "build", "-o", str(program), str(HERE / "peers/main.go")], check=True)
    server = harness.Server([str(program)])
    return Running("go", server.address, frozenset({"body-limit", "timeouts"}), server.kill)


def start_uvicorn(http: str) -> Running:
    venv = PEERS / "venv"
    if not (venv / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin/pip"), "install", "-q", "--disable-pip-version-check", "uvicorn", "httptools"],
            check=True)
        (venv / "installed").touch()
    server = harness.Server([str(venv / "bin/python"), str(HERE / "peers/asgi.py"), http])
    return Running("uvicorn" if http == "httptools" else f"uvicorn-{http}", server.address, frozenset(), server.kill)


def start_nginx() -> Running:
    """nginx answers some routes itself and hands the others to a backend of ours; it inherits its listening socket."""
    backend = harness.Server([sys.executable, str(HERE / "peers/backend.py")])
    listener = socket.create_server(("127.0.0.1", 0), backlog=511)
    folder = tempfile.TemporaryDirectory(prefix="http1-nginx-")
    os.chmod(folder.name, 0o755)
    config = (HERE / "peers/nginx.conf").read_text()
    for name, value in (("PORT", listener.getsockname()[1]), ("BACKEND", backend.port), ("FOLDER", folder.name)):
        config = config.replace(f"@{name}@", str(value))
    Path(folder.name, "nginx.conf").write_text(config)
    Path(folder.name, "root").mkdir()
    for name in ("json", "sync", "async"):
        Path(folder.name, "root", name).write_bytes(harness.OK_BODY)
    nginx = subprocess.Popen(
        ["nginx", "-p", folder.name, "-c", f"{folder.name}/nginx.conf", "-e", f"{folder.name}/error.log"],
        env={**os.environ, "NGINX": f"{listener.fileno()};"}, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def stop() -> None:
        nginx.terminate()
        nginx.wait(harness.TIMEOUT)
        listener.close()
        backend.kill()
        folder.cleanup()

    return Running("nginx", listener.getsockname(), frozenset({"body-limit", "timeouts"}), stop)


DEMOS = ("c-shards", "c-inline", "c-io0", "python")
OTHERS: Dict[str, Callable[[], Running]] = {
    "nginx": start_nginx,
    "go": start_go,
    "uvicorn": lambda: start_uvicorn("httptools"),
    "uvicorn-h11": lambda: start_uvicorn("h11"),
}


def start_all(targets: Sequence[str], demos: Sequence[str], peers: Sequence[str], has: str) -> Iterator[Running]:
    """Each server in turn, started when the one before it is done with."""
    for target in targets:
        host, _, port = target.rpartition(":")
        yield Running(target, (host.strip("[]"), int(port)), frozenset(filter(None, has.split(","))), lambda: None)
    for kind in expand(demos, DEMOS):
        yield start_demo(kind)
    for name in expand(peers, tuple(OTHERS)):
        yield OTHERS[name]()


def expand(asked: Sequence[str], known: Sequence[str]) -> List[str]:
    names = list(known) if "all" in asked else list(asked)
    for name in names:
        if name not in known:
            raise SystemExit(f"battery: {name} is none of {', '.join(known)}")
    return names
