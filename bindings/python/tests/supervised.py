"""Programs with parallel="processes", and clients of them that take any failure as one."""

import http.client
import json
import signal
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Set

import pytest
from test_parallel import TIMEOUT, Turbo, write

APP = """
import asyncio, os, signal, turbo

VERSION = 1
app = turbo.App()
app.route_stats()


@app.get("/")
def who(request):
    return {"pid": os.getpid(), "version": VERSION, "parent": os.getppid(), "shards": request.shard.index + 1}


@app.get("/wait")
async def wait(request):
    print("begun", os.getpid(), flush=True)
    await asyncio.sleep(float(request.query["s"]))
    return {"pid": os.getpid()}


@app.get("/die")
def die(request):
    os.kill(os.getpid(), signal.SIGKILL)


@app.get("/stop")
def stop(request):
    app.stop()
    return {"pid": os.getpid()}

"""

SHORT_GRACE = """
import logging
import turbo, turbo.supervisor, turbo.worker

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    turbo.supervisor.END_GRACE = turbo.worker.END_GRACE = 0.5
    turbo.run("main:app", port=0, parallel="processes", shards=2, drain_timeout_ms=%d)
"""


def wait_until(condition: Callable[[], object]) -> None:
    """Until it is true; fails after TIMEOUT."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


class Processes(Turbo):
    """python -m turbo with workers."""

    def __init__(self, where: Path, *flags: str, program: Any = ("-m", "turbo"), pass_fds: Any = ()) -> None:
        self.log_path = where / "log"
        self.log_file = open(self.log_path, "w")
        flags = ("main:app", "--port", "0", "--parallel", "processes", *flags)
        super().__init__(where, *flags, program=program, stderr=self.log_file, pass_fds=pass_fds)

    def log(self) -> str:
        return self.log_path.read_text()

    def logged(self, words: str, count: int = 1) -> None:
        """Wait until the log says so, as often."""
        wait_until(lambda: self.log().count(words) >= count)

    def workers(self) -> List[int]:
        """Process ids of the children."""
        return children(self.process.pid)

    def ended(self, code: int) -> str:
        """Wait for the end. Returns the log."""
        self.process.wait(TIMEOUT)
        log = self.log()
        assert self.process.returncode == code, log
        assert "Traceback" not in log or code != 0, log
        return log

    def stop(self, code: int = 0) -> str:
        self.process.send_signal(signal.SIGTERM)
        return self.ended(code)

    def __exit__(self, *error: Any) -> None:
        left = self.workers() if self.process.poll() is None else []
        super().__exit__()
        self.log_file.close()
        for pid in left:
            wait_until(lambda: not is_alive(pid))


def children(pid: int) -> List[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Runs, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def where(tmp_path: Path) -> Path:
    write(tmp_path / "main.py", APP)
    return tmp_path


class Connection:
    """A client that keeps its connection for as long as the server does."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def ask(self, path: str = "/") -> Any:
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        return json.loads(body)

    def close(self) -> None:
        self.connection.close()


def ask(port: int, path: str = "/") -> Any:
    connection = Connection(port)
    try:
        return connection.ask(path)
    finally:
        connection.close()


class Load:
    """Clients that ask all the time, each on its own connection; any failure is one."""

    def __init__(self, port: int, clients: int = 8) -> None:
        self.port = port
        self.answers = 0
        self.pids: Set[int] = set()
        self.versions: Set[int] = set()
        self.failures: List[str] = []
        self._end = False
        self._threads = [threading.Thread(target=self._client, args=(i,)) for i in range(clients)]

    def _client(self, number: int) -> None:
        connection = Connection(self.port)
        try:
            while not self._end:
                said = connection.ask()
                self.pids.add(said["pid"])
                self.versions.add(said["version"])
                self.answers += 1
                if number % 2 and self.answers % 10 == 0:
                    connection.close()  # and a new one, which has to be accepted
        except Exception as error:
            self.failures.append(repr(error))
        finally:
            connection.close()

    def goes_on(self, count: int = 100) -> None:
        """Wait for so many more answers."""
        before = self.answers
        wait_until(lambda: self.answers >= before + count or self.failures)
        assert not self.failures

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._end = True
        for thread in self._threads:
            thread.join()


def serving(port: int, count: int) -> Set[int]:
    """Wait until so many workers have answered."""
    pids: Set[int] = set()
    wait_until(lambda: pids.add(ask(port)["pid"]) or len(pids) >= count)
    return pids
