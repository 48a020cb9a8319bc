"""What the threads of a server do about the GIL that they share."""

import asyncio
import ctypes
import logging
import os
import selectors
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest
import turbo
from conftest import Client, Serve
from turbo import _native
from turbo.gil import SwitchInterval, counts_constants, free_threaded, gil_enabled

needs_gil = pytest.mark.skipif(not gil_enabled(), reason="needs a GIL")
needs_free_threaded = pytest.mark.skipif(not free_threaded(), reason="needs a free-threaded build")


def hello(**options: Any) -> turbo.App:
    app = turbo.App()
    app.get("/", **options)(lambda request: b"hello")
    return app


# -- the switch interval --


@needs_gil
@pytest.mark.parametrize("options, shards", [({}, 2), ({"threads": 1}, 1)], ids=["shards", "pool"])
def test_the_interval_is_shortened_while_threads_share_the_gil(
    serve: Serve, caplog: pytest.LogCaptureFixture, options: Any, shards: int
) -> None:
    caplog.set_level(logging.INFO, logger="turbo")
    before = sys.getswitchinterval()
    client = serve(hello(**options), shards=shards)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert "2 threads run handlers: GIL switch interval 0.5 ms" in caplog.text
    client.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


@needs_gil
def test_one_thread_leaves_it(serve: Serve) -> None:
    before = sys.getswitchinterval()
    serve(hello())
    assert sys.getswitchinterval() == pytest.approx(before)


@needs_gil
def test_one_that_is_shorter_stays(serve: Serve) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    try:
        serve(hello(), shards=2).app.stop()
        assert sys.getswitchinterval() == pytest.approx(0.0001)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("us, expected", [(0, None), (1, 1e-6), (100, 1e-4), (1000000, 1.0)])
def test_it_is_a_setting(serve: Serve, us: int, expected: Optional[float]) -> None:
    before = sys.getswitchinterval()
    client = serve(hello(), shards=2, switch_interval_us=us)
    assert sys.getswitchinterval() == pytest.approx(before if expected is None else expected)
    client.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_of_several_servers_the_shortest_counts(serve: Serve) -> None:
    before = sys.getswitchinterval()
    first, second = serve(hello(), switch_interval_us=300), serve(hello(), switch_interval_us=200)
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    first.app.stop()
    assert sys.getswitchinterval() == pytest.approx(0.0002)
    second.app.stop()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_wish_that_was_never_made_can_be_withdrawn() -> None:
    before = sys.getswitchinterval()
    SwitchInterval().unset()
    assert sys.getswitchinterval() == before


# -- builds that can do without --

START = """
import logging, sys, turbo
logging.basicConfig(format="%(levelname)s %(message)s")
app = turbo.App()
if len(sys.argv) > 1:
    sys.path.insert(0, sys.argv[1])
    import wants_gil
with app.start(port=0, shards=2):
    print(sys._is_gil_enabled(), len(app.shards))
"""

# What many extension modules still are: made in two phases, without a word on the GIL.
WANTS_GIL = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "wants_gil", .m_slots = slots};
PyMODINIT_FUNC PyInit_wants_gil(void) { return PyModuleDef_Init(&def); }
"""


def start_in_process(*options: str, code: str = START, args: Tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    return subprocess.run([sys.executable, *options, "-c", code, *args], capture_output=True, text=True, timeout=60, env=env,
                          check=True)


@needs_free_threaded
def test_importing_turbo_leaves_the_gil_off() -> None:
    done = start_in_process("-W", "error")
    assert done.stdout.splitlines() == ["False 2"] and done.stderr == ""


@needs_free_threaded
def test_a_gil_that_was_asked_for_is_told_of_once() -> None:
    """As information: it is no mistake."""
    done = start_in_process("-X", "gil=1", code=START.replace("basicConfig(", "basicConfig(level=logging.INFO, "))
    assert done.stdout.splitlines() == ["True 2"]
    (line,) = [line for line in done.stderr.splitlines() if "the GIL of this free-threaded Python is on" in line]
    assert line.startswith("INFO") and "the 2 threads that run handlers take turns" in line
    assert "PYTHON_GIL=1 or -X gil=1 asks for it" in line


@needs_free_threaded
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_module_that_turns_it_on_is_named(tmp_path: Path) -> None:
    source, include = tmp_path / "wants_gil.c", sysconfig.get_paths()["include"]
    source.write_text(WANTS_GIL)
    target = tmp_path / f"wants_gil{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", "-o", str(target), str(source)], check=True, timeout=60)
    done = start_in_process("-W", "ignore", args=(str(tmp_path),))
    assert done.stdout.splitlines() == ["True 2"]
    assert "the GIL of this free-threaded Python is on: importing wants_gil has turned it on;" in done.stderr


APP = """
import turbo
app = turbo.App()

@app.get("/")
def hello(request):
    return b"hello" * 65521
"""

START_NAMED = """
import logging, sys
logging.basicConfig(level=logging.INFO)
sys.path.insert(0, sys.argv[1])
from counted import app
with app.start(port=0, shards=int(sys.argv[2])):
    pass
"""


@needs_free_threaded
@pytest.mark.parametrize("options, shards, told", [((), "2", True), ((), "1", False), (("-X", "gil=1"), "2", False)])
def test_constants_that_threads_would_count_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Tuple[str, ...], shards: str, told: bool
) -> None:
    """Until the app comes from bytecode."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "counted.py").write_text(APP)
    said = [
        start_in_process(*options, code=START_NAMED, args=(str(tmp_path), shards)).stderr for _ in ("compiled", "read")
    ]
    line = "constants of hello have reference counts, which 2 threads pass to and fro"
    assert [line in text for text in said] == [told, False]
    assert len(list(tmp_path.rglob("*.pyc"))) == 1


def test_whose_constants_are_counted() -> None:
    names: Any = {}
    exec(compile("def answer(request): return 65521.5", "answer.py", "exec"), names)
    assert counts_constants(names["answer"]) is (not gil_enabled())
    assert not counts_constants(len) and not counts_constants(lambda request: None)


def test_which_modules_need_it() -> None:
    assert _native.needs_gil(_native) is (False if free_threaded() else None)
    with pytest.raises(TypeError, match="a module, not int"):
        _native.needs_gil(1)  # type: ignore[arg-type]


# -- who takes it --

ASK_WHILE_IT_IS_HELD = """
import http.client, os, sys
port, held, let_go = map(int, sys.argv[1:])
holder = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
holder.request("GET", "/hold")
assert os.read(held, 1) == b"h"
try:
    for path, status in (("/none", 404), ("/stats", 200), ("/none", 404)):
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        one.request("GET", path)
        answer = one.getresponse()
        assert answer.status == status, answer.status
        answer.read()
        one.close()
finally:
    os.write(let_go, b"l")
assert holder.getresponse().read() == b"held"
"""


@needs_gil
def test_io_threads_work_while_a_handler_keeps_the_gil(serve: Serve) -> None:
    """The handler is in one call of C, which keeps the GIL until the client has its answers."""
    app, libc = turbo.App(), ctypes.PyDLL(None)
    app.route_stats("/stats")
    held_r, held_w = os.pipe()
    let_go_r, let_go_w = os.pipe()
    byte = ctypes.create_string_buffer(1)

    @app.get("/hold")
    def hold(request: turbo.Request) -> bytes:
        libc.write(held_w, b"h", 1)
        libc.read(let_go_r, byte, 1)
        return b"held"

    port = serve(app).port
    argv = [sys.executable, "-c", ASK_WHILE_IT_IS_HELD, str(port), str(held_r), str(let_go_w)]
    try:
        done = subprocess.run(argv, pass_fds=(held_r, let_go_w), stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        for fd in (held_r, held_w, let_go_r, let_go_w):
            os.close(fd)
    assert (done.returncode, done.stderr) == (0, "")


class CountingSelector(selectors.DefaultSelector):
    """Each select() lets go of the GIL and takes it again."""

    calls = 0

    def select(self, timeout: Optional[float] = None) -> Any:
        self.calls += 1
        return super().select(timeout)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_the_gil_is_taken_once_a_batch(serve: Serve, is_async: bool) -> None:
    selectors_made: List[CountingSelector] = []

    def make_loop() -> asyncio.AbstractEventLoop:
        selectors_made.append(CountingSelector())
        return asyncio.SelectorEventLoop(selectors_made[-1])

    async def no_await(request: turbo.Request) -> bytes:
        return b"hello"

    app = turbo.App()
    app.get("/")(no_await if is_async else lambda request: b"hello")
    client = serve(app, loop=make_loop)
    client.get("/")  # the server has settled
    shard, calls = client.app.shards[0], selectors_made[0].calls
    batches = shard.stats()["batches"]
    ask_pipelined(client, 256)
    batches, calls = shard.stats()["batches"] - batches, selectors_made[0].calls - calls
    assert 256 / 128 <= batches <= 64, "several requests came in one batch"
    assert calls <= 2 * batches + 1, "one wake-up a batch, and the loop's own look when nothing is left"


def ask_pipelined(client: Client, count: int) -> None:
    with client.socket() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * count)
        got = b""
        while got.count(b"\r\n\r\nhello") < count:
            part = connection.recv(65536)
            assert part, got[-200:]
            got += part
