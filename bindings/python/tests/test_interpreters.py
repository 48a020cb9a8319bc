"""Shards in interpreters of their own: how they start and end, what goes wrong, and many cycles."""

import gc
import http.client
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import pytest
import turbo
from conftest import read_answer
from in_interpreters import (  # noqa: F401
    HANDLERS,
    SHARDS,
    TIMEOUT,
    TURN,
    Run,
    Start,
    needs_interpreters,
    on_both,
    start,
    wait_for,
)
from test_parallel import PROGRAM, Turbo, ask, here, write  # noqa: F401
from turbo import interpreters, runner
from turbo.config import make_config
from turbo.gil import free_threaded

pytestmark = needs_interpreters

# -- on_start and on_stop --

HOOKS = '''
import os


def say(text):
    os.write(1, f"{text}\\n".encode())


@app.on_start(per="process")
async def process_up():
    say("process up")


@app.on_start
async def up(shard):
    await asyncio.sleep(0)
    say(f"up {shard.index}")


@app.on_stop
def down(shard):
    say(f"down {shard.index}")


@app.on_stop(per="process")
def process_down():
    say("process down")


app.get("/")(lambda request: b"x")
'''


def test_hooks(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    run = start(HOOKS)
    run.stop()
    lines = [line for line in capfd.readouterr().out.splitlines() if "listens" not in line]
    assert lines[:3] == ["process up", "up 0", "up 1"]
    assert sorted(lines[3:5]) == ["down 0", "down 1"] and lines[5:] == ["process down"]


@pytest.mark.parametrize("index", [0, 1])
def test_an_on_start_that_raises(start: Start, here: Path, capfd: pytest.CaptureFixture[str], index: int) -> None:  # noqa: F811
    text = HOOKS + f"\n@app.on_start\ndef fails(shard):\n    if shard.index == {index}: raise ValueError('not here')\n"
    with pytest.raises(RuntimeError) as caught:
        start(text)
    words = [f"shard {index} could not start", "ValueError: not here", "in fails"]
    assert [word for word in words if word not in str(caught.value)] == []
    lines = capfd.readouterr().out.splitlines()
    if index == 0:
        assert lines == ["process up", "up 0", "process down"]
    else:
        assert lines == ["process up", "up 0", "up 1", "down 0", "process down"]
    assert start(HOOKS).client().get("/").body == b"x"


def test_a_port_that_is_taken(start: Start, here: Path, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    port = start(HOOKS).app.port
    write(here / "second.py", "import turbo\napp = turbo.App()\napp.get('/')(lambda request: b'x')")
    with pytest.raises(OSError):
        turbo.run("second:app", port=port, parallel="interpreters", shards=SHARDS)


def test_a_handler_stops_the_app(start: Start) -> None:
    run = start("@app.get('/stop')\ndef stop(request):\n    app.stop()\n    return b'stopping'")
    assert run.client().get("/stop").body == b"stopping"
    run.ended()
    assert run.lost == 0


def test_exit_in_a_callback_stops_the_app_in_order(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    run = start(
        "def leave():\n    raise SystemExit(3)\n"
        "@app.get('/leave')\nasync def it(request):\n    asyncio.get_running_loop().call_soon(leave)\n"
        "    await asyncio.sleep(0.05)\n    return b'behind it'"
    )
    assert run.client().get("/leave").body == b"behind it"
    run.ended()
    assert run.lost == 0
    assert "SystemExit on turbo-shard-" in capfd.readouterr().err


def test_requests_are_answered_in_a_stop(start: Start) -> None:
    run = start("@app.get('/')\nasync def slow(request):\n    await asyncio.sleep(0.3)\n    return b'done'", **TURN)
    sockets = [run.client().socket() for _ in range(4)]
    for s in sockets:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_for(lambda: run.app.stats()["taken"] == 4)
    run.stop()
    for s in sockets:
        assert read_answer(s).endswith(b"done")
        s.close()
    assert run.lost == 0


def test_the_end_of_a_drain(start: Start) -> None:
    text = """
    @app.get('/')
    async def never(request):
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.01)
    """
    run = start(text.replace("\n    ", "\n"), drain_timeout_ms=100, **TURN)
    sockets = [run.client().socket() for _ in range(4)]
    for s in sockets:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_for(lambda: run.app.stats()["taken"] == 4)
    run.stop()
    for s in sockets:
        s.close()
    assert run.lost == 4


# -- what cannot be --


def run_of(target: str, **settings: Any) -> int:
    return turbo.run(target, port=0, parallel="interpreters", shards=SHARDS, **settings)


def test_routes_that_differ(here: Path) -> None:  # noqa: F811
    text = "import turbo\napp = turbo.App()\napp.get('/a', {})(lambda request: b'')\nif {}: app.get('/b')(lambda request: b'')"
    write(here / "more.py", text.format("threads=1", "not turbo._native.main_interpreter"))
    with pytest.raises(RuntimeError, match='routes of "more:app" are not the same.*"none" in the main.*GET /b'):
        run_of("more:app")
    write(here / "other.py", text.format("threads=1 + turbo._native.main_interpreter", "False"))
    with pytest.raises(RuntimeError, match="threads=2.*threads=1"):
        run_of("other:app")


IMPORTS = "import turbo\nimport {}\napp = turbo.App()\napp.get('/')(lambda request: b'')"


def test_a_module_that_does_not_load(here: Path) -> None:  # noqa: F811
    pytest.importorskip("orjson")
    write(here / "plain.py", IMPORTS.format("json"))
    write(here / "deep.py", IMPORTS.format("between"))
    write(here / "between.py", "import orjson")
    with pytest.raises(ImportError, match='"orjson.orjson" does not load in an interpreter of its own') as caught:
        run_of("deep:app")
    assert caught.value.name == "orjson.orjson" and "between.py" in str(caught.value), "and who has imported it"
    assert interpreters.refusal("plain:app") is None
    assert interpreters.refusal("deep:app") == '"deep:app": "orjson.orjson" does not load in an interpreter of its own'


def test_a_module_that_is_imported_by_on_start(start: Start) -> None:
    pytest.importorskip("orjson")
    with pytest.raises(ImportError, match='shard 0: "orjson.orjson" does not load'):
        start("@app.on_start\ndef up(shard):\n    import orjson\n")


def test_auto_probes(here: Path) -> None:  # noqa: F811
    pytest.importorskip("orjson")
    write(here / "plain.py", IMPORTS.format("json"))
    write(here / "deep.py", IMPORTS.format("orjson"))
    config = make_config("127.0.0.1", 0, {"shards": SHARDS})
    assert config.choose("plain:app", interpreters.refusal).name == "interpreters"
    choice = config.choose("deep:app", interpreters.refusal)
    assert choice.name == "processes" and "orjson.orjson" in choice.why


def test_auto_does_not_wait_for_threads_of_an_import(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The end of an interpreter waits for its threads that are no daemons."""
    monkeypatch.setattr(runner, "PROBE_TIMEOUT", 2.0)
    text = "import threading, turbo\napp = turbo.App()\nthreading.Thread(target=threading.Event().wait).start()\n"
    write(here / "polls.py", text)
    choice = make_config("", 0, {"shards": 2}).choose("polls:app", runner.refusal)
    assert choice.name == "processes" and "took over 2 s" in choice.why


def test_an_import_that_fails_in_one_interpreter(here: Path) -> None:  # noqa: F811
    text = "import threading, turbo\napp = turbo.App()\napp.get('/')(lambda request: b'')\n"
    write(here / "fails.py", text + "if threading.current_thread().name == 'turbo-shard-1': 1 / 0")
    for _ in range(3):
        with pytest.raises(RuntimeError, match="shard 1 could not start.*ZeroDivisionError"):
            run_of("fails:app")


def test_names_and_loops_that_cannot_go_there(here: Path) -> None:  # noqa: F811
    import asyncio

    write(here / "plain.py", IMPORTS.format("json"))
    with pytest.raises(ValueError, match="__main__"):
        run_of("__main__:app")
    assert "__main__" in str(interpreters.refusal("__main__:app"))
    with pytest.raises(ValueError, match="loop: a function"):
        run_of("plain:app", loop=asyncio.new_event_loop)
    config = make_config("127.0.0.1", 0, {"shards": SHARDS, "loop": asyncio.new_event_loop})
    assert config.choose("plain:app", interpreters.refusal).name == "processes"


# -- watching --


def test_programs_that_handlers_start_hear_signals(start: Start) -> None:
    run = start("""
import subprocess

@app.get("/")
def ended(request):
    with subprocess.Popen(["sleep", "60"]) as child:
        child.terminate()
        try:
            return str(child.wait(timeout=10))
        finally:
            child.kill()
""")
    assert run.client().get("/").body == b"-15"


def test_slow_handlers_are_told(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    text = "import time\n@app.get('/')\ndef slow(request):\n    time.sleep(0.05)\n    return b''"
    run = start(text, slow_ms=10, debug=True, **TURN)
    on_both(run, lambda client: client.get("/"))
    run.stop()
    errors = capfd.readouterr().err
    assert "GET / (/) blocked shard 0 for" in errors and "GET / (/) blocked shard 1 for" in errors


def test_a_thread_that_cannot_be_started_there(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    text = """
app.get("/", threads=2)(lambda request: b"")
real = threading.Thread.start
def refuse(thread):
    if thread.name == "turbo-pool-1-1":
        raise RuntimeError("can't start new thread")
    real(thread)
if not turbo._native.main_interpreter:
    threading.Thread.start = refuse
"""
    start(text).ended()
    errors = capfd.readouterr().err
    assert "turbo-shard-1 has not all of its threads: stopping" in errors and "can't start new thread" in errors


def test_messages_of_the_library(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="turbo")
    start("app.get('/')(lambda request: b'x')").stop()
    assert any("0 abandoned" in message for message in caplog.messages)


# -- processes that are started for it --

SLOW_IMPORT = """
import os, sys, time, turbo
app = turbo.App()
app.get("/")(lambda request: b"hello")
os.write(1, b"importing\\n")
if not turbo._native.main_interpreter:
    time.sleep(0.3)
"""


def test_a_signal_while_it_loads(tmp_path: Path) -> None:
    write(tmp_path / "main.py", SLOW_IMPORT)
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "2", "--parallel", "interpreters") as program:
        assert program.line() == program.line() == "importing\n", "in the main interpreter, and in that of shard 0"
        code, out, errors = program.end(signal.SIGTERM)
    assert code == 0 and "Traceback" not in errors and "stopped: a signal has ended the start" in errors


SLOW_START = """
import asyncio, os, time, turbo
app = turbo.App()

@app.on_start
async def up(shard):
    os.write(1, b"starting\\n")
    if shard.index == 0:
        return
    try:
        {waits}
    finally:
        os.write(1, b"start ends\\n")

app.on_stop(lambda shard: os.write(1, b"stop %d\\n" % shard.index))
"""


def started(program: Turbo) -> Turbo:
    """Behind on_start of shard 0, and the begin of those of two others."""
    assert program.line() == program.line() == program.line() == "starting\n"
    return program


def test_a_signal_ends_the_start(tmp_path: Path) -> None:
    write(tmp_path / "main.py", SLOW_START.format(waits="await asyncio.sleep(60)"))
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "3", "--parallel", "interpreters") as program:
        code, out, errors = started(program).end(signal.SIGTERM)
    assert (code, out) == (0, "start ends\n" * 2 + "stop 0\n"), errors
    assert "Traceback" not in errors and "stopped: a signal has ended the start" in errors


def test_a_signal_ends_a_start_that_has_failed(tmp_path: Path) -> None:
    waits = "if shard.index == 2: raise LookupError('no start')\n        await asyncio.sleep(60)"
    write(tmp_path / "main.py", SLOW_START.format(waits=waits))
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "3", "--parallel", "interpreters") as program:
        lines = sorted(program.line() for _ in range(4))
        assert lines == ["start ends\n", *["starting\n"] * 3]
        code, out, errors = program.end(signal.SIGTERM)
    assert (code, out) == (1, "start ends\nstop 0\n") and "LookupError: no start" in errors
    assert "CancelledError" not in errors


def test_a_second_signal_ends_a_start_that_blocks(tmp_path: Path) -> None:
    write(tmp_path / "main.py", SLOW_START.format(waits="time.sleep(60)"))
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "3", "--parallel", "interpreters") as program:
        started(program).process.send_signal(signal.SIGINT)
        code, _, _ = program.end(signal.SIGTERM)
    assert code == -signal.SIGTERM


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    write(tmp_path / "main.py", SLOW_IMPORT + "@app.get('/bad')\ndef bad(request): raise ValueError('told')\n")
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "2") as program:
        while "listens" not in (line := program.line()):
            assert line == "importing\n"
        assert "(2 shards, asyncio; interpreters: the app loads in one of its own)" in line
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/bad")
        assert connection.getresponse().status == 500
        connection.close()
        code, _, errors = program.end(signal.SIGTERM)
    assert code == 0
    assert "ERROR: handler failed: GET /bad\nTraceback" in errors and "ValueError: told" in errors
    assert "Exception ignored" not in errors and "Warning" not in errors


def test_a_handler_prints_and_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    write(tmp_path / "main.py", PROGRAM.replace('return b"hello"', 'print("said", hello); return b"hello"'))
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "2", "--parallel", "interpreters") as program:
        port = program.serve()
        assert program.process.stdout is not None
        program.process.stdout.close()
        assert ask(port) == ask(port) == b"hello"
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0


def fds() -> List[str]:
    return os.listdir("/proc/self/fd")


def test_cycles_leave_nothing_behind(here: Path) -> None:  # noqa: F811
    """Starts, stops and starts that fail, in turn."""
    write(here / "whole.py", "import asyncio, threading, turbo\napp = turbo.App()\n" + HANDLERS)
    write(here / "fails.py", "import turbo\napp = turbo.App()\n@app.on_start\ndef up(shard): shard.index and 1 / 0\n")

    def cycle() -> None:
        run = Run("whole:app", placement="round_robin")
        for path in "/sync", "/async/it", "/big", "/parts", "/pooled", "/mistake":
            assert all(answer.status in (200, 418) for answer in on_both(run, lambda client: client.get(path)))
        run.stop()
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            Run("fails:app")
        gc.collect()

    cycle()
    before, threads = len(fds()), threading.active_count()
    for _ in range(6):
        cycle()
    assert (len(fds()), threading.active_count()) == (before, threads)


GROWTH = """
import _interpreters, asyncio, gc, http.client, os, sys, threading, time
import turbo
from turbo.loading import load

CYCLES = 8
BARE = "import sys; sys.path[:] = {!r}\\nimport asyncio, served, turbo.inside\\nasyncio.run(asyncio.sleep(0))"


def bare():
    number = _interpreters.create("isolated")
    assert _interpreters.exec(number, BARE.format(sys.path)) is None
    _interpreters.destroy(number)


def ours():
    app = load("served:app")
    thread = threading.Thread(target=turbo.run, args=("served:app",), kwargs=dict(port=0, shards=1, parallel="interpreters"))
    thread.start()
    while app._executor is None:
        time.sleep(0.005)
    connection = http.client.HTTPConnection("127.0.0.1", app.port)
    for _ in range(300):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"x" * 20000
    connection.close()
    app.stop()
    thread.join()


def growth(fn):
    fn()
    fn()
    gc.collect()
    before = rss()
    for _ in range(CYCLES):
        fn()
    gc.collect()
    return (rss() - before) / CYCLES


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


results = growth(bare), growth(ours)
sys.stderr.write(" ".join(str(round(result)) for result in results))
"""


@pytest.mark.skipif(free_threaded(), reason="such a build has one allocator, with and without its GIL")
def test_interpreters_of_shards_cost_no_more_than_others(tmp_path: Path) -> None:
    """CPython 3.13 does not give back all memory of an interpreter that ends: those of shards leave no more than others.

    With malloc() for objects, of which CPython gives back more than of its own arenas.
    """
    write(tmp_path / "served.py", "import turbo\napp = turbo.App()\napp.get('/')(lambda request: b'x' * 20000)\n")
    write(tmp_path / "growth.py", GROWTH)
    done = subprocess.run(
        [sys.executable, "growth.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONMALLOC": "malloc"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    bare, ours = map(int, done.stderr.split())
    assert ours < 2 * bare + 2**20, "bytes a cycle"
