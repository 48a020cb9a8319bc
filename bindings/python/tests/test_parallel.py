"""Which way shards run side by side, apps by import string, and python -m turbo."""

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_programs import GIL_IS_BACK
from turbo import parallel, runner
from turbo.config import make_config
from turbo.gil import gil_enabled
from turbo.loading import load
from turbo.parallel import Choice, choose

TIMEOUT = 30  # seconds; nothing takes that long
needs_gil = pytest.mark.skipif(not gil_enabled(), reason="needs a GIL")

# -- the choice --


def loads(named: str) -> Optional[str]:
    return None


def refuses(named: str) -> Optional[str]:
    return f"{named} imports refuser"


def unasked(named: str) -> Optional[str]:
    raise AssertionError("nobody has to know")


def set_up(monkeypatch: pytest.MonkeyPatch, has_gil: bool, old: bool = False) -> None:
    """An interpreter with a GIL or without, of a CPython that can have others with their own or not."""
    monkeypatch.setattr(parallel, "gil_enabled", lambda: has_gil)
    monkeypatch.setattr(parallel, "_too_old", lambda: "too old" if old else None)


@pytest.mark.parametrize("named", [None, "m:app"])
@pytest.mark.parametrize("shards", [None, 1, 4])
def test_auto_without_a_gil(monkeypatch: pytest.MonkeyPatch, named: Optional[str], shards: Optional[int]) -> None:
    set_up(monkeypatch, has_gil=False)
    assert choose("auto", named, shards, unasked) == Choice("free-threaded", "the GIL is off")


@pytest.mark.parametrize(
    "named, shards, probe, old, name, word",
    [
        (None, None, unasked, False, "gil", "one shard unless told"),
        ("m:app", None, unasked, False, "gil", "one shard unless told"),
        ("m:app", 1, unasked, False, "gil", "one shard"),
        (None, 2, unasked, False, "gil", "import string"),
        ("m:app", 2, loads, False, "interpreters", "loads"),
        ("m:app", 2, refuses, False, "processes", "m:app imports refuser"),
        ("m:app", 2, unasked, True, "processes", "too old"),
    ],
)
def test_auto_with_a_gil(
    monkeypatch: pytest.MonkeyPatch, named: Any, shards: Any, probe: Any, old: bool, name: str, word: str
) -> None:
    set_up(monkeypatch, True, old)
    choice = choose("auto", named, shards, probe)
    assert choice.name == name and word in choice.why and str(choice) == f"{name}: {choice.why}"


def test_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, has_gil=True)
    for name in ("gil", "interpreters", "processes"):
        assert choose(name, "m:app", None, unasked) == Choice(name, "as asked")
    set_up(monkeypatch, has_gil=False)
    for name in ("free-threaded", "processes"):
        assert choose(name, "m:app", None, unasked) == Choice(name, "as asked")


@pytest.mark.parametrize(
    "wanted, named, has_gil, old, words",
    [
        ("best", None, True, False, ["'best'", "auto, gil, free-threaded, interpreters, processes"]),
        ("gil", None, False, False, ["the GIL is off", "PYTHON_GIL=1"]),
        ("interpreters", "m:app", False, False, ["the GIL is off"]),
        ("interpreters", "m:app", True, True, ["too old"]),
        ("interpreters", None, True, False, ['turbo.run("module:app")']),
        ("free-threaded", None, True, False, ["GIL"]),
    ],
)
def test_what_cannot_be(
    monkeypatch: pytest.MonkeyPatch, wanted: str, named: Any, has_gil: bool, old: bool, words: List[str]
) -> None:
    set_up(monkeypatch, has_gil, old)
    with pytest.raises(ValueError) as caught:
        choose(wanted, named, None, unasked)
    assert [word for word in ["parallel", *words] if word not in str(caught.value)] == []


def test_why_there_is_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: 0)
    assert "this build" in parallel.why_gil()
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: 1)
    monkeypatch.setenv("PYTHON_GIL", "1")
    assert "PYTHON_GIL=1" in parallel.why_gil()
    monkeypatch.delenv("PYTHON_GIL")
    monkeypatch.setattr(sys, "_xoptions", {"gil": "1"})
    assert "-X gil=1" in parallel.why_gil()
    monkeypatch.setattr(sys, "_xoptions", {})
    assert "a module" in parallel.why_gil()


def test_interpreters_need_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 9))
    assert parallel._too_old() == "interpreters need CPython 3.13"
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert parallel._too_old() is None


def test_how_many_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURBO_SHARDS", raising=False)
    assert make_config("", 0, {}).shards() is None
    assert make_config("", 0, {"shards": "3"}).shards() == 3
    monkeypatch.setenv("TURBO_SHARDS", "4")
    assert make_config("", 0, {}).shards() == 4
    assert make_config("", 0, {"shards": 2}).shards() == 2
    assert make_config("", 0, {"shards": "many"}).shards() is None
    assert make_config("", 0, {"shards": "3"}).units() == 3
    monkeypatch.delenv("TURBO_SHARDS")
    assert make_config("", 0, {}).units() == len(os.sched_getaffinity(0))
    for bad in ("many", 0, -1, 1025):
        with pytest.raises(ValueError, match="shards: .* 1 to 1024"):
            make_config("", 0, {"shards": bad}).units()
        with pytest.raises(ValueError, match="shards: .* 1 to 1024"):
            turbo.run("m:app", parallel="processes", shards=bad)


@pytest.mark.parametrize(
    "probe, reason",
    [
        (lambda named: None, None),
        (lambda named: f"{named} has numpy", "m:app has numpy"),
        (lambda named: 1 / 0, "the probe has failed: ZeroDivisionError('division by zero')"),
        (lambda named: os.kill(os.getpid(), signal.SIGKILL), "the probe has died: SIGKILL"),
        (lambda named: os._exit(7), "the probe has died: exit code 7"),
        (lambda named: time.sleep(60), "loading the app in one of its own, and its end, took over 0.5 s"),
        (lambda named: "x" * 100000, "x" * 100000),
    ],
)
def test_a_probe_is_made_elsewhere(monkeypatch: pytest.MonkeyPatch, probe: Any, reason: Optional[str]) -> None:
    pids: List[int] = []
    monkeypatch.setattr(runner.interpreters, "refusal", lambda named: (pids.append(os.getpid()), probe(named))[1])
    monkeypatch.setattr(runner, "PROBE_TIMEOUT", 0.5 if "0.5" in str(reason) else TIMEOUT)
    before = os.listdir("/proc/self/fd")
    said = runner.refusal("m:app")
    assert said == reason or (said or "").startswith(f"{reason}:")
    assert pids == [] and os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_probe_ends_with_its_parent(tmp_path: Path) -> None:
    """SIGTERM while a probe waits: its default is the end of the process."""
    program = """
import time
from turbo import runner
def refusal(target):
    print("probing", flush=True)
    time.sleep(600)
runner.interpreters.refusal = refusal
runner.refusal("m:app")
"""
    with Turbo(tmp_path, program=("-c", program)) as parent:
        assert parent.line() == "probing\n"
        parent.process.send_signal(signal.SIGTERM)
        assert parent.process.wait(TIMEOUT) == -signal.SIGTERM
        assert parent.process.stdout is not None
        assert parent.process.stdout.read() == "", "its end: the probe has it, too, for as long as it runs"


# -- an App --


def hello() -> turbo.App:
    app = turbo.App()
    app.get("/")(lambda request: b"hello")
    return app


def test_the_choice_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="turbo")
    assert serve(hello(), shards=1).get("/").body == b"hello"
    assert f"parallel: {'gil: one shard' if gil_enabled() else 'free-threaded: the GIL is off'}" in caplog.messages


def test_what_is_there_can_be_asked_for(serve: Serve) -> None:
    assert serve(hello(), shards=2, parallel="gil" if gil_enabled() else "free-threaded").get("/").body == b"hello"


@pytest.mark.parametrize(
    "settings, kind, words",
    [
        ({"parallel": "threads"}, ValueError, ["parallel", "'threads'", "auto, gil"]),
        ({"parallel": "processes"}, ValueError, ["parallel", "this process", "run()"]),
        ({"parallel": "interpreters"}, ValueError, ["parallel", "interpreters"]),
        ({"parallel": "interpreters", "mode": "single"}, ValueError, ["parallel", "single"]),
        ({"max_requests": 5}, ValueError, ["max_requests", '"processes"']),
        ({"max_requests": -1}, ValueError, ["max_requests", "-1"]),
        ({"max_requests": "5"}, TypeError, ["max_requests", "str"]),
        ({"max_requests_jitter": -1}, ValueError, ["max_requests_jitter", "-1"]),
        ({"max_requests_jitter": 5}, ValueError, ["max_requests_jitter", "needs max_requests"]),
        ({"start_timeout_ms": -1}, ValueError, ["start_timeout_ms", "-1"]),
        ({"start_timeout_ms": "5"}, TypeError, ["start_timeout_ms", "str"]),
    ],
)
def test_bad_arguments_of_start(settings: Any, kind: Any, words: List[str]) -> None:
    with pytest.raises(kind) as caught:
        hello().start(port=0, **settings)
    assert [word for word in words if word not in str(caught.value)] == []


@needs_gil
def test_free_threads_with_a_gil_are_refused() -> None:
    with pytest.raises(ValueError, match="free-threaded.*GIL"):
        hello().run(port=0, parallel="free-threaded")


def test_run_takes_apps_and_import_strings() -> None:
    with pytest.raises(TypeError, match="expected turbo.App"):
        turbo.run(7, port=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no import string"):
        turbo.run("nonsense", port=0)
    with pytest.raises(ValueError, match="single"):
        turbo.run(hello(), port=0, mode="single", parallel="processes")


# -- import strings --

MODULE = """
import turbo

app = turbo.App()


class holder:
    inner = app


def make():
    return app


def make_none():
    return None


number = 7
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory, modules of which are forgotten behind the test."""
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.mark.parametrize("target", ["one:app", "one:holder.inner", "one:make()", "pack.two:app"])
def test_an_app_by_import_string(here: Path, target: str) -> None:
    write(here / "one.py", MODULE)
    write(here / "pack/__init__.py", "")
    write(here / "pack/two.py", MODULE)
    assert isinstance(load(target), turbo.App) and load(target) is load(target)


@pytest.mark.parametrize("target", ["", "one", ":app", "one:", "one:app:x", "one/two:app", "one.py:app.", "one:make(1)"])
def test_no_import_string(target: str) -> None:
    with pytest.raises(ValueError, match="package.module:attribute"):
        load(target)


@pytest.mark.parametrize(
    "target, kind, words",
    [
        ("missing:app", ImportError, ['no module "missing"']),
        ("pack.missing:app", ImportError, ['no module "pack.missing"']),
        ("needs:app", ImportError, ['"needs" cannot be imported', "no_such_thing"]),
        ("takes:app", ImportError, ['"takes" cannot be imported', "nothing_of_it"]),
        ("raises:app", ZeroDivisionError, []),
        ("one:nothing", ImportError, ['no "nothing"', "apps in it: app"]),
        ("pack:app", ImportError, ["apps in it: none"]),
        ("one:number", TypeError, ["of type int", "expected turbo.App"]),
        ("one:number()", TypeError, ["of type int", "not a function"]),
        ("one:holder", TypeError, ["the class holder"]),
        ("one:make", TypeError, ["of type function", '"one:make()"']),
        ("one:make_none()", TypeError, ["of type NoneType"]),
    ],
)
def test_what_cannot_be_loaded(here: Path, target: str, kind: Any, words: List[str]) -> None:
    write(here / "one.py", MODULE)
    write(here / "pack/__init__.py", "")
    write(here / "needs.py", "import no_such_thing")
    write(here / "takes.py", "from os import nothing_of_it")
    write(here / "raises.py", "1 / 0")
    with pytest.raises(kind) as caught:
        load(target)
    assert [word for word in words if word not in str(caught.value)] == []
    assert kind is not ImportError or caught.value.__cause__ is not None, "the chain is kept"


def test_a_module_that_runs_when_it_is_imported(here: Path) -> None:
    write(here / "loop.py", 'import turbo\napp = turbo.App()\napp.run(port=0)')
    with pytest.raises(RuntimeError, match='"loop" calls run.*__main__'):
        turbo.run("loop:app", port=0)


# -- python -m turbo --

PROGRAM = """
import asyncio, turbo

app = turbo.App()


@app.get("/")
def hello(request):
    return b"hello"


@app.get("/never", body="gathered")
async def never(request):
    print("begun", flush=True)
    await asyncio.sleep(60)
"""


class Turbo:
    """python -m turbo, or another program, as a process in a directory of its own."""

    def __init__(
        self, where: Path, *flags: str, program: Any = ("-m", "turbo"), stderr: Any = subprocess.PIPE, pass_fds: Any = ()
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program, *flags],
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            pass_fds=pass_fds,
            env={**os.environ, "PYTHONWARNINGS": GIL_IS_BACK, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def serve(self) -> int:
        """Wait until it listens. Returns the port."""
        self.banner = self.line()
        assert "http://127.0.0.1:" in self.banner, self.banner + self.end()[2]
        return int(self.banner.split("http://127.0.0.1:")[1].split()[0])

    def end(self, number: int = 0) -> "tuple[int, str, str]":
        """Exit code, standard output and error; with a signal, after that."""
        if number:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, out, errors

    def __enter__(self) -> "Turbo":
        return self

    def __exit__(self, *error: Any) -> None:
        self.process.kill()
        self.process.communicate()


class Port:
    """What a Client needs to know of a server."""

    def __init__(self, port: int) -> None:
        self.port = port


def ask(port: int, path: str = "/") -> bytes:
    return Client(Port(port)).get(path).body  # type: ignore[arg-type]


def test_serve_and_stop(tmp_path: Path) -> None:
    write(tmp_path / "main.py", PROGRAM)
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "1", "--loop", "asyncio") as program:
        assert ask(program.serve()) == b"hello"
        way = "gil: one shard" if gil_enabled() else "free-threaded: the GIL is off"
        assert f"(1 shard, asyncio; {way})" in program.banner
        code, out, errors = program.end(signal.SIGTERM)
    assert (code, out) == (0, "") and f"INFO: parallel: {way}\n" in errors and "1 answered" in errors


WAYS = ["gil" if gil_enabled() else "free-threaded", "processes"]
if gil_enabled() and sys.version_info >= parallel.INTERPRETERS_FROM:
    WAYS.append("interpreters")

OUTPUTS = {
    "closed": "os.close(1)",
    "all closed": "os.closerange(0, 3)",
    "nobody reads": "read, write = os.pipe(); os.dup2(write, 1); os.close(write); os.close(read)",
}
INSTEAD = """
import os, sys
os.environ.pop("PYTHONUNBUFFERED", None)
{}
os.execv(sys.executable, [sys.executable, "-m", "turbo", *sys.argv[1:]])
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_nobody_hears_where_it_listens(tmp_path: Path, way: str, output: str) -> None:
    write(tmp_path / "main.py", PROGRAM)
    program = ("-c", INSTEAD.format(OUTPUTS[output]))
    flags = ("main:app", "--unix", "s", "--shards", "2", "--parallel", way)
    with open(tmp_path / "log", "w") as log, Turbo(tmp_path, *flags, program=program, stderr=log) as served:
        assert ask_at(tmp_path / "s", served).endswith(b"hello")
        while output == "nobody reads" and "WARNING: standard output does not take it" not in (tmp_path / "log").read_text():
            assert served.process.poll() is None
            time.sleep(0.01)
        code, _, _ = served.end(signal.SIGTERM)
    said = (tmp_path / "log").read_text()
    assert code == 0 and "Traceback" not in said and "Exception ignored" not in said


def ask_at(path: Path, program: Turbo) -> bytes:
    """The answer to GET / at a Unix socket, as soon as there is one."""
    while True:
        assert program.process.poll() is None, program.end()
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(str(path))
            except OSError:
                time.sleep(0.01)
                continue
            s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return read_answer(s)


def test_lost_requests_are_in_the_exit_code(tmp_path: Path) -> None:
    write(tmp_path / "main.py", PROGRAM)
    with Turbo(tmp_path, "main:app", "--port", "0", "--shards", "1", "--drain-timeout-ms", "50") as program:
        with Client(Port(program.serve())).socket() as s:  # type: ignore[arg-type]
            s.sendall(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line() == "begun\n"
            code, _, errors = program.end(signal.SIGTERM)
    assert code == 3 and "1 abandoned" in errors


@pytest.mark.parametrize(
    "flags, code, words",
    [
        ([], 2, ["usage", "app"]),
        (["main"], 2, ["no import string"]),
        (["main:app", "--nonsense"], 2, ["--nonsense"]),
        (["main:app", "--port", "x"], 2, ["--port"]),
        (["main:app", "--port", "70000"], 2, ["port: 70000"]),
        (["main:app", "--batch-max", "0"], 2, ["batch_max", "1 to 65536"]),
        (["main:app", "--placement", "best"], 2, ["placement", "best"]),
        (["main:app", "--parallel", "best"], 2, ["--parallel", "best"]),
        (["main:app", "--max-requests", "5"], 2, ["max_requests", "processes"]),
        (["missing:app"], 1, ['no module "missing"', "Traceback"]),
        (["raises:app"], 1, ["ZeroDivisionError"]),
        (["exits:app"], 1, ["could not be loaded", "SystemExit: 0"]),
        (["begins:app", "--port", "0"], 1, ["could not be", "SystemExit: 3"]),
        (["main:app", "--host", "no.such.host.invalid"], 1, ["no.such.host.invalid"]),
    ],
)
def test_exit_codes(tmp_path: Path, flags: List[str], code: int, words: List[str]) -> None:
    write(tmp_path / "main.py", PROGRAM)
    write(tmp_path / "raises.py", "1 / 0")
    write(tmp_path / "exits.py", "import sys\nsys.exit(0)")
    write(tmp_path / "begins.py", "import sys, turbo\napp = turbo.App()\napp.on_start(lambda shard: sys.exit(3))")
    with Turbo(tmp_path, *flags) as program:
        ended, _, errors = program.end()
    assert ended == code and [word for word in words if word not in errors] == []


def test_help_lists_every_setting(tmp_path: Path) -> None:
    with Turbo(tmp_path, "--help") as program:
        code, out, _ = program.end()
    ours = ["host", "port", "unix", "fd", "parallel", "max_requests", "start_timeout_ms"]
    flags = [*(setting.name for setting in turbo.settings()), *ours]
    assert code == 0 and "exit codes" in out
    assert [flag for flag in flags if f"--{flag.replace('_', '-')} " not in out] == []


def test_a_probe_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(os, "fork", fork)
    before = len(os.listdir("/proc/self/fd"))
    reason = runner.refusal("some:app")
    assert reason is not None and "no more processes" in reason
    assert len(os.listdir("/proc/self/fd")) == before
