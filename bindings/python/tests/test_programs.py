"""turbo.run() as a program: signals, and the end of the interpreter."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List

import pytest
import turbo
from conftest import read_answer

PROGRAM = """
import asyncio, sys, turbo
app = turbo.App()

@app.get("/")
async def hello(request):
    return b"hello"

@app.get("/slow")
async def slow(request):
    await asyncio.sleep(float(request.query.get("s", "0.5")))
    return b"slow"

{body}
"""


GIL_IS_BACK = "ignore:The global interpreter lock (GIL) has been enabled:RuntimeWarning"  # free-threaded builds


class Program:
    """A Python process with a server; its first line of output says where."""

    def __init__(self, body: str = 'app.run(port=0, **eval(sys.argv[1]))', settings: str = "{}", **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(body=body), settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": GIL_IS_BACK, **env},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().decode()
        self.port = int(self.line.split("http://127.0.0.1:")[1].split()[0]) if "http://" in self.line else 0

    def end(self, timeout: float = 10) -> "tuple[int, str]":
        """Exit code, and standard error but for what a debug loop says of a machine that gives it no CPU for 100 ms."""
        self.out, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, re.sub(r"(?m)^Executing <.*> took \d+\.\d+ seconds\n", "", errors.decode())

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *error: Any) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_signal_answers_what_was_taken_and_ends(number: int, shards: int) -> None:
    with Program(settings=f"dict(shards={shards})", PYTHONDEVMODE="1") as program:
        assert program.line.startswith("turbo listens on http://127.0.0.1:")
        with socket.create_connection(("127.0.0.1", program.port), 10) as s:
            s.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            time.sleep(0.2)
            program.process.send_signal(number)
            assert read_answer(s).endswith(b"slow")
        assert program.end() == (0, "")


def test_a_second_signal_ends_the_drain() -> None:
    with Program() as program:
        with socket.create_connection(("127.0.0.1", program.port), 10) as s:
            s.sendall(b"GET /slow?s=60 HTTP/1.1\r\nHost: h\r\n\r\n")
            time.sleep(0.2)
            program.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert program.process.poll() is None
            program.process.send_signal(signal.SIGTERM)
            code, errors = program.end()
    assert code == 0 and "stopping at once" in errors and "1 abandoned" in errors


BLOCKS = """
@app.get("/block", **eval(sys.argv[1]))
def block(request):
    print("begun", flush=True)
    time.sleep(60)

import time
app.run(port=0, drain_timeout_ms=100)
"""


@pytest.mark.parametrize("options", ["{}", "dict(threads=1)"])
def test_a_third_signal_ends_a_process_that_a_function_holds_up(options: str) -> None:
    with Program(BLOCKS, options) as program:
        with socket.create_connection(("127.0.0.1", program.port), 10) as s:
            s.sendall(b"GET /block HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.process.stdout is not None and program.process.stdout.readline() == b"begun\n"
            for number in (signal.SIGINT, signal.SIGTERM):
                program.process.send_signal(number)
                time.sleep(0.5)
                assert program.process.poll() is None
            assert read_answer(s) == b""  # it is let go all the same
            program.process.send_signal(signal.SIGTERM)
            assert program.end()[0] == -signal.SIGTERM


STARTS = """
import os, time

@app.on_start{per}
async def up(*args):
    try:
        os.write(1, b"starting\\n")
        {waits}
    finally:
        os.write(1, b"start ends\\n")

app.on_stop(lambda shard: print("stop", flush=True))
app.run(port=0, **eval(sys.argv[1]))
print("returned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "per, settings, count",
    [
        ("", "dict(shards=1)", 1),
        ("", "dict(shards=3)", 3),
        ("(per='process')", "dict(shards=1)", 1),
        ("(per='process')", "dict(shards=3)", 1),
        ("(per='process')", "dict(shards=3, mode='single')", 1),
    ],
)
def test_a_signal_ends_the_start(number: int, per: str, settings: str, count: int) -> None:
    with Program(STARTS.format(per=per, waits="await asyncio.sleep(60)"), settings, PYTHONDEVMODE="1") as program:
        assert program.process.stdout is not None
        lines = [program.line, *(program.process.stdout.readline().decode() for _ in range(count - 1))]
        assert lines == ["starting\n"] * count
        program.process.send_signal(number)
        assert program.end() == (0, "")
        assert program.out.decode() == "start ends\n" * count + "returned\n"


def test_a_second_signal_ends_a_start_that_blocks() -> None:
    """Python takes them in the order of their numbers."""
    with Program(STARTS.format(per="", waits="time.sleep(60)")) as program:
        assert program.line == "starting\n"
        program.process.send_signal(signal.SIGINT)
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == (-signal.SIGTERM, "")


def test_a_signal_ends_a_start_that_has_failed() -> None:
    waits = "if args[0].index == 0: raise LookupError('no start')\n        await asyncio.sleep(60)"
    with Program(STARTS.format(per="", waits=waits), "dict(shards=2)") as program:
        assert program.process.stdout is not None
        lines = [program.line, *(program.process.stdout.readline().decode() for _ in range(2))]
        assert sorted(lines) == ["start ends\n", "starting\n", "starting\n"]
        program.process.send_signal(signal.SIGTERM)
        code, errors = program.end()
    assert code == 1 and "LookupError: no start" in errors and "CancelledError" not in errors


def test_former_signal_handlers_are_put_back() -> None:
    body = """
import os, signal, threading
before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
def later():
    import time
    time.sleep(0.3)
    app.stop()
threading.Thread(target=later).start()
app.run(port=0)
assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
assert signal.set_wakeup_fd(-1) == -1
print("ended", flush=True)
"""
    with Program(body) as program:
        assert program.end() == (0, "")


def test_run_with_many_descriptors() -> None:
    """More than select.select() takes."""
    body = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
left = [os.dup(0) for _ in range(1100)]
app.run(port=0)
"""
    with Program(body) as program:
        assert program.port > 0
        program.process.send_signal(signal.SIGTERM)
        assert program.end() == (0, "")


def test_run_outside_the_main_thread() -> None:
    body = """
import threading, time
thread = threading.Thread(target=app.run, kwargs={"port": 0})
thread.start()
time.sleep(0.3)
app.stop()
thread.join()
"""
    with Program(body, PYTHONDEVMODE="1") as program:
        assert program.port > 0 and program.end() == (0, "")


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "raise RuntimeError('on purpose')"])
def test_an_interpreter_that_ends_stops_the_server_first(ending: str) -> None:
    body = f"""
import http.client
app.start(port=0, shards=2)
connection = http.client.HTTPConnection("127.0.0.1", app.port)
connection.request("GET", "/")
print(connection.getresponse().read(), flush=True)
connection.close()
{ending}
"""
    with Program(body, PYTHONDEVMODE="1") as program:
        assert program.line == "b'hello'\n"
        code, errors = program.end()
    assert code == {"": 0, "raise SystemExit(3)": 3}.get(ending, 1)
    assert ("on purpose" in errors) if "Runtime" in ending else errors == ""


def test_settings_errors_of_run_leave_nothing_behind() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="batch_max"):
        turbo.App().run(port=0, batch_max=0)
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1


def test_unix_socket_line(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    with Program(settings=f"dict(unix={path!r})") as program:
        assert f"unix:{path}" in program.line
        program.process.terminate()
        assert program.end() == (0, "")
    assert not os.path.exists(path)


def test_load_under_devmode_and_debug_loops() -> None:
    with Program(settings="dict(loop='asyncio')", PYTHONDEVMODE="1", PYTHONASYNCIODEBUG="1") as program:
        results: Dict[int, int] = {}

        def client(index: int) -> None:
            with socket.create_connection(("127.0.0.1", program.port), 10) as s:
                s.sendall((b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /slow?s=0.001 HTTP/1.1\r\nHost: h\r\n\r\n") * 50)
                s.shutdown(1)
                results[index] = read_answer(s).count(b"200 OK")

        threads: List[threading.Thread] = [threading.Thread(target=client, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        program.process.terminate()
        assert program.end() == (0, "") and set(results.values()) == {100}
