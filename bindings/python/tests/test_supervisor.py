"""parallel="processes": how workers are started and stopped, and what they share. test_replacing.py has the rest."""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import List, Set

import pytest
import turbo
from conftest import read_answer
from supervised import APP, SHORT_GRACE, Load, Processes, ask, serving, where  # noqa: F401 - a fixture
from test_parallel import TIMEOUT, Turbo, write
from turbo import supervisor
from turbo.config import Config
from turbo.gil import gil_enabled
from turbo.worker import describe, rebuild

# -- start --


def test_as_many_processes_as_were_asked_for(where: Path) -> None:
    with Processes(where, "--shards", "3") as program:
        port = program.serve()
        assert "(3 processes, " in program.banner and "; processes: as asked)" in program.banner
        pids = serving(port, 3)
        assert pids == set(program.workers())
        said = ask(port)
        assert said["parent"] == program.process.pid and said["shards"] == 1
        assert len(os.listdir(f"/proc/{program.process.pid}/task")) == 1, "the supervisor has no threads"
        log = program.stop()
    assert log.count(" serves\n") == 3 and log.count("stopped: ") == 3 and "WARNING" not in log and "ERROR" not in log


def test_one_process_for_each_cpu_unless_told(where: Path) -> None:
    with Processes(where) as program:
        program.serve()
        assert len(program.workers()) == len(os.sched_getaffinity(0))
        program.stop()


@pytest.mark.skipif(sys.version_info >= (3, 13) or not gil_enabled(), reason="needs a CPython that has only this way")
def test_auto_with_an_import_string(where: Path) -> None:
    with Turbo(where, "main:app", "--port", "0", "--shards", "2") as program:
        port = program.serve()
        assert "(2 processes, " in program.banner and "; processes: interpreters need CPython 3.13)" in program.banner
        assert len(serving(port, 2)) == 2
        code, _, errors = program.end(signal.SIGTERM)
    assert code == 0 and "INFO: parallel: processes: interpreters need CPython 3.13\n" in errors


def test_only_what_is_shared_is_open_in_a_worker(where: Path) -> None:
    with Processes(where, "--shards", "3") as program:
        program.serve()
        os.kill(program.workers()[0], signal.SIGKILL)  # the one that follows is forked when the supervisor has more open
        program.logged(" serves\n", 4)
        workers, of_supervisor = program.workers(), sockets(program.process.pid)
        shared = [sockets(pid) & of_supervisor for pid in workers]
        assert [len(inodes) for inodes in shared] == [1, 1, 1], "its own that listens; of channels each side has its own end"
        assert len(set.union(*shared)) == 3
        program.stop(3)


def sockets(pid: int) -> Set[str]:
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return {link for link in found if link.startswith("socket:")}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "", "localhost"])
def test_hosts(where: Path, host: str) -> None:
    with Processes(where, "--shards", "2", "--host", host) as program:
        line = program.line()
        port = int(re.findall(r":(\d+) \(2 processes", line)[0])
        for client in {"": ["127.0.0.1", "::1"], "localhost": ["127.0.0.1"]}.get(host, [host]):
            with socket.create_connection((client, port), TIMEOUT) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert read_answer(s).startswith(b"HTTP/1.1 200 ")
        program.stop()


def test_a_unix_socket_is_removed_at_the_end(where: Path) -> None:
    path = where / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with Processes(where, "--shards", "2", "--unix", str(path)) as program:
        assert f"unix:{path} (2 processes" in program.line()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert read_answer(s).startswith(b"HTTP/1.1 200 ")
            program.process.send_signal(signal.SIGHUP)
            program.logged("stopped: ", 2)
        assert path.exists()
        program.stop()
        assert not path.exists()


def test_an_inherited_socket(where: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Processes(where, "--shards", "2", "--fd", str(server.fileno()), pass_fds=(server.fileno(),)) as program:
            port = program.serve()
            assert port == server.getsockname()[1] and len(serving(port, 2)) == 2
            program.stop()


def test_an_app_that_was_made_before(where: Path) -> None:
    write(where / "run.py", APP.replace("VERSION = 1", "VERSION = 7") + """

if __name__ == "__main__":
    import atexit, sys
    atexit.register(print, "the end of", os.getpid(), flush=True)
    lost = app.run(port=0, parallel="processes", shards=2)
    print("lost", lost, flush=True)
""")
    with Turbo(where, program=["run.py"]) as program:
        port = program.serve()
        assert "(2 processes" in program.banner and len(serving(port, 2)) == 2 and ask(port)["version"] == 7
        code, out, errors = program.end(signal.SIGTERM)
    assert (code, errors) == (0, "") and out == f"lost 0\nthe end of {program.process.pid}\n"


def test_an_app_with_many_descriptors(where: Path) -> None:
    """More than select.select() takes, for a worker that waits until all have started, and then for orders."""
    write(where / "main.py", APP + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
left = [os.dup(0) for _ in range(1100)]
""")
    with Processes(where, "--shards", "2", "--max-requests", "5") as program:
        port = program.serve()
        for _ in range(20):
            ask(port)
        program.logged(" serves\n", 3)
        program.stop()


def test_what_the_app_registers_for_the_end_of_a_process(where: Path) -> None:
    write(where / "main.py", APP + """
import atexit


def say(what):
    os.write(1, f"{what} {os.getpid()}\\n".encode())  # at once, as another process writes there, too


atexit.register(say, "the end of")
app.on_start(lambda shard: say("on_start"))
app.on_stop(lambda shard: say("on_stop"))
""")
    with Processes(where, "--shards", "2") as program:
        starts = {program.line(), program.line()}
        program.serve()
        pids = program.workers()
        program.stop()
        _, out, _ = program.end()
    assert starts == {f"on_start {pid}\n" for pid in pids}
    assert sorted(out.splitlines()) == sorted(f"{what} {pid}" for what in ("on_stop", "the end of") for pid in pids)


BAD_STARTS = {
    "import": ("import no_such_module_at_all", ["ImportError", "no_such_module_at_all", "main.py"]),
    "raises": (APP + "\n1 / 0\n", ["ZeroDivisionError", "main.py"]),
    "exits": ("import sys\nsys.exit('on purpose')", ["a worker could not start: SystemExit: on purpose"]),
    "own class": ("class Own(Exception): pass\nraise Own('on purpose')", ["a worker could not start: main.Own: on purpose"]),
    "on_start": (APP + "\n@app.on_start\ndef fail(shard):\n    raise LookupError('on purpose')\n", ["LookupError: on purpose"]),
    "signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", ["a worker could not start: SIGSEGV"]),
    "no app": ("app = 7", ["TypeError", "expected turbo.App"]),
    "second": (
        APP + "\nimport os\n@app.on_start\ndef once(shard):\n    os.close(os.open('once', os.O_CREAT | os.O_EXCL))\n",
        ["FileExistsError"],
    ),
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_a_first_start_that_fails_ends_it(tmp_path: Path, name: str) -> None:
    text, words = BAD_STARTS[name]
    write(tmp_path / "main.py", text)
    with Processes(tmp_path, "--shards", "2") as program:
        assert program.line() == ""
        log = program.ended(1)
    assert [word for word in words if word not in log] == [], log
    assert "starts again" not in log


def test_a_worker_that_failed_and_cannot_end(where: Path) -> None:
    """The failure is told at once; the thread of the app's that does not end ends with it soon."""
    write(where / "run.py", SHORT_GRACE % 60000)
    write(where / "main.py", APP + """
import threading, time
threading.Thread(target=time.sleep, args=(60,)).start()

@app.on_start
def fail(shard):
    raise LookupError("on purpose")
""")
    with Processes(where, program=["run.py"]) as program:
        log = program.ended(1)
    assert re.search(r"worker \d \(pid \d+\) could not start: LookupError: on purpose\n", log)
    assert log.rstrip().endswith("LookupError: on purpose") and "has not ended in time: SIGKILL" in log


def test_a_first_start_that_fails_waits_for_no_requests(where: Path) -> None:
    """Another worker is in on_start, and nothing has been taken."""
    write(where / "run.py", SHORT_GRACE % 60000)
    write(where / "main.py", APP + """
import time

@app.on_start
def fail(shard):
    try:
        os.close(os.open("first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.close(os.open("second", os.O_CREAT))
        time.sleep(60)
    while not os.path.exists("second"):
        time.sleep(0.01)
    raise LookupError("on purpose")
""")
    with Processes(where, program=["run.py"]) as program:
        begun = time.monotonic()
        log = program.ended(1)
        assert time.monotonic() - begun < TIMEOUT / 2
    assert log.rstrip().endswith("LookupError: on purpose") and "has not ended in time: SIGKILL" in log


@pytest.mark.parametrize(
    "flags, code, words",
    [
        (["--batch-max", "0"], 2, ["batch_max", "1 to 65536"]),
        (["--shards", "0"], 2, ["shards", "1 to 1024"]),
        (["--shards", "x"], 2, ["shards"]),
        (["--mode", "single"], 2, ["parallel", "single"]),
        (["--max-requests", "-1"], 2, ["max_requests"]),
        (["--host", "no.such.host.invalid"], 1, ["no.such.host.invalid"]),
        (["--unix", "/no/such/directory/socket"], 1, ["cannot listen on unix:/no/such/directory/socket"]),
        (["--fd", "99"], 1, ["fd: 99"]),
        (["--fd", "0"], 1, ["fd: 0"]),
    ],
)
def test_bad_arguments(where: Path, flags: List[str], code: int, words: List[str]) -> None:
    with Processes(where, *flags) as program:
        log = program.ended(code)
    assert [word for word in words if word not in log] == [], log


def test_exceptions_come_from_workers_as_they_were() -> None:
    """What run() raises; the traceback of the other process is its cause."""

    def there(error: Exception) -> Exception:
        return rebuild(json.loads(json.dumps(describe(error))))

    missing = FileNotFoundError(2, "No such file or directory", "/etc/app.toml")
    assert type(there(missing)) is FileNotFoundError and str(there(missing)) == str(missing)
    assert str(there(OSError(98, "Address already in use"))) == "[Errno 98] Address already in use"
    odd = UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")
    odd.args = ("app.toml: bad",)
    for error in odd, json.JSONDecodeError("bad", "x", 0):
        assert type(there(error)) is RuntimeError and "bad" in str(there(error))
    assert "FileNotFoundError" in str(there(missing).__cause__)


def test_a_port_that_is_in_use(where: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Processes(where, "--port", str(server.getsockname()[1])) as program:
            log = program.ended(1)
    assert "cannot listen on 127.0.0.1:" in log and "in use" in log


def test_only_in_the_main_thread() -> None:
    app, seen = turbo.App(), []

    def run() -> None:
        with pytest.raises(RuntimeError, match="main thread"):
            app.run(port=0, parallel="processes")
        seen.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [True]


# -- stop --


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_what_was_taken(where: Path, number: int) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
            s.sendall(b"GET /wait?s=0.5 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line().startswith("begun ")
            for pid in [program.process.pid, *program.workers()]:  # as a terminal, or systemd, does
                with contextlib.suppress(ProcessLookupError):  # one that is idle has ended, by the supervisor's order
                    os.kill(pid, number)
            assert read_answer(s).startswith(b"HTTP/1.1 200 ")
        log = program.ended(0)
    assert "stopping at once" not in log and "1 answered" in log


def test_a_second_signal_ends_the_drain(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        with socket.create_connection(("127.0.0.1", program.serve()), TIMEOUT) as s:
            s.sendall(b"GET /wait?s=60 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line().startswith("begun ")
            program.process.send_signal(signal.SIGTERM)
            program.logged("stopping: ")
            program.process.send_signal(signal.SIGTERM)
            log = program.ended(3)
    assert "stopping at once" in log and "has left 1 requests without an answer" in log


def test_a_second_signal_gives_nobody_more_time() -> None:
    boss = supervisor.Supervisor("main:app", Config(), None, None, None, 1, 30.0)  # type: ignore[arg-type]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = supervisor.Process(supervisor.Slot(0), os.getpid(), ours, 0)
        boss._processes[process.pid] = process
        for before in (time.monotonic() + 1, time.monotonic() + 1000):
            process.kill_at = before
            boss._abort()
            assert process.kill_at == before if before < time.monotonic() + 10 else process.kill_at < before
        assert theirs.recv(10) == supervisor.ABORT * 2


def test_a_third_signal_kills(where: Path) -> None:
    write(where / "main.py", APP + """
import time
@app.get("/block")
def block(request):
    print("begun", flush=True)
    time.sleep(60)
""")
    with Processes(where, "--shards", "2") as program:
        with socket.create_connection(("127.0.0.1", program.serve()), TIMEOUT) as s:
            s.sendall(b"GET /block HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line() == "begun\n"
            for words in ("stopping: ", "stopping at once", ""):
                program.process.send_signal(signal.SIGTERM)
                program.logged(words)
            program.ended(3)


def test_drain_timeout(where: Path) -> None:
    with Processes(where, "--shards", "2", "--drain-timeout-ms", "100") as program:
        with socket.create_connection(("127.0.0.1", program.serve()), TIMEOUT) as s:
            s.sendall(b"GET /wait?s=60 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line().startswith("begun ")
            log = program.stop(3)
    assert "1 abandoned" in log and "has left 1 requests without an answer" in log


def test_stop_under_load(where: Path) -> None:
    """What was sent before the signal is answered; behind it a connection may end."""
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        sent: List[socket.socket] = []
        with Load(port) as load:
            load.goes_on()
            for _ in range(20):
                s = socket.create_connection(("127.0.0.1", port), TIMEOUT)
                s.sendall(b"GET /wait?s=0.3 HTTP/1.1\r\nHost: h\r\n\r\n")
                sent.append(s)
            program.process.send_signal(signal.SIGTERM)
            for s in sent:
                assert read_answer(s).startswith(b"HTTP/1.1 200 ")
                s.close()
            log = program.ended(0)
        assert "abandoned" in log and " 0 abandoned" in log
        with pytest.raises(ConnectionRefusedError):
            ask(port)


def test_nothing_listens_before_all_of_on_start(where: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    write(where / "main.py", APP + """
@app.on_start
async def wait(shard):
    os.write(1, b"waits\\n")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
""")
    with Processes(where, "--shards", "2", "--port", str(port)) as program:
        assert program.line() == "waits\n" and program.line() == "waits\n"
        with pytest.raises(ConnectionRefusedError):
            ask(port)
        (where / "go").touch()
        assert program.serve() == port and ask(port)["version"] == 1
        program.stop()


def test_a_stop_before_it_listens(where: Path) -> None:
    """on_start of one has returned, that of the other has not."""
    write(where / "main.py", APP + """
@app.on_start
async def wait(shard):
    try:
        os.close(os.open("first", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        os.write(1, b"waits\\n")
        while not os.path.exists("go"):
            await asyncio.sleep(0.01)

app.on_stop(lambda shard: os.write(1, b"on_stop\\n"))
""")
    with Processes(where, "--shards", "2") as program:
        assert program.line() == "waits\n"
        program.process.send_signal(signal.SIGTERM)
        program.logged("stopping: ")
        assert program.line() == "on_stop\n"
        (where / "go").touch()
        assert program.line() == "on_stop\n"
        log = program.ended(0)
    assert "WARNING" not in log and "ERROR" not in log


def test_a_stop_while_workers_load_the_app(tmp_path: Path) -> None:
    write(tmp_path / "main.py", "import os, time\nos.write(1, b'begun\\n')\ntime.sleep(60)")
    with Processes(tmp_path, "--shards", "2") as program:
        assert program.line() == "begun\n" and program.line() == "begun\n"
        log = program.stop()
    assert "WARNING" not in log and "ERROR" not in log
