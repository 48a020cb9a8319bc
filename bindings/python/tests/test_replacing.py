"""parallel="processes": workers that are replaced, that die, and that stop by themselves."""

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from conftest import read_answer
from supervised import APP, SHORT_GRACE, Connection, Load, Processes, ask, is_alive, serving, wait_until
from supervised import where  # noqa: F401 - a fixture
from test_parallel import TIMEOUT, write

# -- replacing --


def test_sighup_under_load_loses_nothing_and_takes_new_code(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        before = set(program.workers())
        with Load(port) as load:
            load.goes_on()
            write(where / "main.py", APP.replace("VERSION = 1", "VERSION = 2"))
            program.process.send_signal(signal.SIGHUP)
            wait_until(lambda: load.failures or not before & set(program.workers()))
            load.goes_on()
            load.versions.clear()
            load.goes_on()
            assert load.versions == {2} and len(program.workers()) == 2
        log = program.stop()
    assert log.count(" 0 abandoned") == 4 and log.count(" serves\n") == 4


def test_sighup_twice(where: Path) -> None:
    """The second one counts for workers that the first has brought, too."""
    with Processes(where, "--shards", "2") as program:
        program.serve()
        program.process.send_signal(signal.SIGHUP)
        program.logged(" serves\n", 3)
        pids = set(program.workers())
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not pids & set(program.workers()))
        program.logged("stopped: ", 3)
        program.stop()


@pytest.mark.parametrize("text", ["1 / 0", APP + "\n@app.on_start\ndef fail(shard):\n    1 / 0\n"], ids=["import", "on_start"])
def test_a_replacement_that_fails_leaves_the_old_one(where: Path, text: str) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        before = set(program.workers())
        with Load(port) as load:
            write(where / "main.py", text)
            program.process.send_signal(signal.SIGHUP)
            program.logged("could not start")
            load.goes_on()
            wait_until(lambda: set(program.workers()) == before)  # it says what is wrong, and then ends
            assert load.pids <= before
            write(where / "main.py", APP.replace("VERSION = 1", "VERSION = 2"))
            program.process.send_signal(signal.SIGHUP)
            wait_until(lambda: load.failures or not before & set(program.workers()))
            load.goes_on()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0
    log = program.log()
    assert "ZeroDivisionError" in log and log.count("could not start") == 1


WAITS = """
@app.on_start
async def wait(shard):
    os.write(1, b"waits\\n")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
"""


def test_a_replacement_that_does_not_get_ready_is_killed(where: Path) -> None:
    with Processes(where, "--shards", "2", "--start-timeout-ms", "1000") as program:
        port = program.serve()
        before = set(program.workers())
        write(where / "main.py", APP + WAITS)
        program.process.send_signal(signal.SIGHUP)
        assert program.line() == "waits\n"
        program.logged("has not started in time: SIGKILL")
        program.logged("stays: not ready in 1 s (start_timeout_ms)")
        assert serving(port, 2) == before == set(program.workers())
        log = program.stop()
    assert log.count("could not start") == 1


def test_a_worker_that_does_not_start_again_is_killed(where: Path) -> None:
    with Processes(where, "--shards", "2", "--start-timeout-ms", "1000") as program:
        program.serve()
        write(where / "main.py", APP + WAITS)
        os.kill(program.workers()[0], signal.SIGKILL)
        assert program.line() == "waits\n"
        program.logged("could not start: not ready in 1 s")
        assert program.line() == "waits\n", "it is tried again"
        (where / "go").touch()
        program.logged(" serves\n", 3)
        program.stop(3)


def test_sighup_while_a_replacement_does_not_get_ready(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        before = set(program.workers())
        write(where / "main.py", APP + WAITS)
        program.process.send_signal(signal.SIGHUP)
        assert program.line() == "waits\n"
        write(where / "main.py", APP.replace("VERSION = 1", "VERSION = 2"))
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not before & set(program.workers()))
        wait_until(lambda: program.log().count(" serves\n") >= 4)
        assert ask(port)["version"] == 2
        (where / "go").touch()
        log = program.stop()
    assert "could not start" not in log and log.count("a new one takes its place") == 1


def test_sighup_while_a_worker_does_not_start_again(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        program.serve()
        write(where / "main.py", APP + WAITS)
        os.kill(program.workers()[0], signal.SIGKILL)
        assert program.line() == "waits\n"
        write(where / "main.py", APP)
        program.process.send_signal(signal.SIGHUP)
        program.logged(" serves\n", 4)
        (where / "go").touch()
        program.stop(3)


def test_sighup_while_a_broken_replacement_starts(where: Path) -> None:
    """The failure of the older code says nothing of the newer."""
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        before = set(program.workers())
        write(where / "main.py", APP + WAITS + "\n    1 / 0\n")
        program.process.send_signal(signal.SIGHUP)
        assert program.line() == "waits\n"
        write(where / "main.py", APP.replace("VERSION = 1", "VERSION = 2"))
        program.process.send_signal(signal.SIGHUP)
        program.logged("SIGHUP: ", 2)
        (where / "go").touch()
        wait_until(lambda: not before & set(program.workers()))
        assert ask(port)["version"] == 2
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0


def test_max_requests_under_load(where: Path) -> None:
    with Processes(where, "--shards", "2", "--max-requests", "300", "--max-requests-jitter", "200") as program:
        with Load(program.serve()) as load:
            wait_until(lambda: load.failures or len(load.pids) >= 6)
            assert not load.failures
        log = program.stop()
    counts = [int(text) for text in re.findall(r"stopped: \d+ requests taken, (\d+) answered", log)]
    assert log.count("has answered max_requests") >= 4 and len([count for count in counts if count >= 300]) >= 4


# -- death --


def test_a_crash_leaves_the_others_and_a_new_one_comes(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
            s.sendall(b"GET /die HTTP/1.1\r\nHost: h\r\n\r\n")
            try:
                assert read_answer(s) == b""
            except ConnectionResetError:
                pass
        assert ask(port)["version"] == 1, "whoever is left answers"
        program.logged("starts again in 0.1 s")
        program.logged(" serves\n", 3)
        assert serving(port, 2) == set(program.workers())
        log = program.stop(3)  # the request of the one that died
    assert "has died: SIGKILL" in log


def test_crashes_that_follow_wait_longer(where: Path) -> None:
    with Processes(where, "--shards", "1") as program:
        program.serve()
        for number, seconds in enumerate(["0.1", "0.2", "0.4"], 1):
            program.logged(" serves\n", number)
            os.kill(program.workers()[0], signal.SIGABRT)
            program.logged(f"starts again in {seconds} s")
        program.logged(" serves\n", 4)
        log = program.stop(3)
    assert log.count("has died: SIGABRT") == 3


def test_a_fork_that_fails_is_tried_again(where: Path) -> None:
    write(where / "run.py", APP + """

forks, fork = 0, os.fork

def fail_at_times():
    global forks
    forks += 1
    if forks in (3, 4, 6):  # behind the first two: in the place of one that died, and of one that is replaced
        raise BlockingIOError(11, "no more processes")
    return fork()

if __name__ == "__main__":
    import logging
    logging.basicConfig(level=logging.INFO)
    os.fork = fail_at_times
    turbo.run("main:app", port=0, parallel="processes", shards=2)
""")
    with Processes(where, program=["run.py"]) as program:
        port = program.serve()
        os.kill(program.workers()[0], signal.SIGKILL)
        program.logged("cannot be started: [Errno 11] no more processes", 2)
        program.logged(" serves\n", 3)
        program.process.send_signal(signal.SIGHUP)
        program.logged("cannot be replaced: [Errno 11] no more processes")
        assert ask(port)["version"] == 1
        program.logged(" serves\n", 5)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 0


def test_code_that_breaks_later_does_not_end_it(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        write(where / "main.py", "1 / 0")
        os.kill(program.workers()[0], signal.SIGKILL)
        program.logged("could not start", 2)
        assert ask(port)["version"] == 1
        write(where / "main.py", APP)
        program.logged(" serves\n", 3)
        assert len(serving(port, 2)) == 2
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(TIMEOUT) == 3


def test_workers_end_when_the_supervisor_is_killed(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        workers = program.workers()
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
            s.sendall(b"GET /wait?s=0.5 HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line().startswith("begun ")
            program.process.kill()
            assert read_answer(s).startswith(b"HTTP/1.1 200 "), "what was taken is answered"
        wait_until(lambda: not any(is_alive(pid) for pid in workers))
        with pytest.raises(ConnectionRefusedError):
            ask(port)
    assert program.log().count("the supervisor is gone") == 2


def test_a_worker_that_is_stuck_ends_when_the_supervisor_is_killed(where: Path) -> None:
    write(where / "run.py", SHORT_GRACE % 100)
    write(where / "main.py", APP + """
import time
@app.get("/block")
def block(request):
    print("begun", flush=True)
    time.sleep(60)
""")
    with Processes(where, program=["run.py"]) as program:
        port = program.serve()
        workers = program.workers()
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s:
            s.sendall(b"GET /block HTTP/1.1\r\nHost: h\r\n\r\n")
            assert program.line() == "begun\n"
            program.process.kill()
            wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert program.log().count("has not ended in time") == 1


def test_connections_are_spread(where: Path) -> None:
    """Of a burst nobody takes all; a worker that is not there gets none."""
    write(where / "main.py", APP + """
import time
if os.path.exists("slow"):
    time.sleep(60)
""")
    with Processes(where, "--shards", "2") as program:
        port = program.serve()

        def burst() -> "dict[int, int]":
            connections = [Connection(port) for _ in range(100)]
            for connection in connections:
                connection.connection.connect()
            pids = [connection.ask()["pid"] for connection in connections]
            for connection in connections:
                connection.close()
            return {pid: pids.count(pid) for pid in pids}

        counts = burst()
        assert set(counts) == set(program.workers()) and min(counts.values()) >= 20, counts  # 20 of 100: 1 in 10^9
        (where / "slow").touch()
        first, second = program.workers()
        os.kill(first, signal.SIGKILL)
        program.logged("starts again")
        wait_until(lambda: len(program.workers()) == 2)  # and one of them sleeps
        assert burst() == {second: 100}
        program.stop(3)


def test_a_worker_that_is_told_to_end_by_somebody_else(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        with Load(port) as load:
            load.goes_on()
            first, second = program.workers()
            os.kill(first, signal.SIGTERM)
            program.logged("ends: SIGTERM")
            program.logged(" serves\n", 3)
            wait_until(lambda: not is_alive(first))
            load.goes_on()
        workers = program.workers()  # before it is asked: it may have ended when the answer is here
        assert ask(port, "/stop")["pid"] in workers
        program.logged("has stopped by itself")
        program.logged(" serves\n", 4)
        program.stop()


STOPS = """
@app.get("/loop-stop")
async def loop_stop(request):
    asyncio.get_running_loop().stop()
    return {"pid": os.getpid()}
"""


@pytest.mark.parametrize("path", ["/stop", "/loop-stop"])
def test_a_worker_that_stops_by_itself_is_replaced_at_once(where: Path, path: str) -> None:
    """And gets no more connections, however long its on_stop takes."""
    write(where / "main.py", APP + STOPS + """
@app.on_stop
async def wait(shard):
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
""")
    with Processes(where, "--shards", "2") as program:
        port = program.serve()
        pid = ask(port, path)["pid"]
        program.logged("ends: it has stopped by itself")
        program.logged(" serves\n", 3)
        assert is_alive(pid) and pid not in serving(port, 2)
        (where / "go").touch()
        wait_until(lambda: not is_alive(pid))
        log = program.stop()
    assert "ERROR" not in log and ("loop.stop() on turbo-shard-0" in log) == (path == "/loop-stop")


def test_a_worker_that_stops_by_itself_and_cannot_end(where: Path) -> None:
    write(where / "run.py", SHORT_GRACE % 100)
    write(where / "main.py", APP + "\nimport time\napp.on_stop(lambda shard: time.sleep(60))\n")
    with Processes(where, program=["run.py"]) as program:
        port = program.serve()
        pid = ask(port, "/stop")["pid"]
        program.logged(f"(pid {pid}) has not ended in time: SIGKILL")
        program.logged(" serves\n", 3)
        assert len(serving(port, 2)) == 2
        program.process.send_signal(signal.SIGTERM)
        program.process.wait(TIMEOUT)


def test_nothing_is_left_behind(where: Path) -> None:
    """Descriptors of the supervisor, and zombies, behind many workers."""
    with Processes(where, "--shards", "2") as program:
        program.serve()

        def fds() -> int:
            return len(os.listdir(f"/proc/{program.process.pid}/fd"))

        before = fds()
        for number in range(1, 4):
            program.process.send_signal(signal.SIGHUP)
            program.logged("stopped: ", 2 * number)
        wait_until(lambda: fds() == before and len(program.workers()) == 2)
        program.stop()


def test_orphans_that_it_adopts_are_waited_for(where: Path) -> None:
    """As process 1 would; here it is a subreaper."""
    write(where / "main.py", APP + """
import subprocess

@app.get("/orphan")
def orphan(request):
    waits = "(while [ ! -e go ]; do sleep 0.01; done) >&- 2>&- &"
    return {"pid": int(subprocess.check_output(["sh", "-c", waits + " echo $!"]))}
""")
    write(where / "run.py", """
import ctypes, logging, turbo
if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
    turbo.run("main:app", port=0, parallel="processes", shards=2)
""")
    with Processes(where, program=["run.py"]) as program:
        port = program.serve()
        orphans = {ask(port, "/orphan")["pid"] for _ in range(5)}
        assert orphans <= set(program.workers()), "they are its children"
        (where / "go").touch()
        wait_until(lambda: not orphans & set(program.workers()))
        os.kill(program.workers()[0], signal.SIGKILL)
        program.logged("has died: SIGKILL")
        program.logged(" serves\n", 3)
        program.stop(0)


def test_counters_are_of_one_process(where: Path) -> None:
    with Processes(where, "--shards", "2") as program:
        connection = Connection(program.serve())
        pids = {connection.ask()["pid"] for _ in range(5)}
        stats = connection.ask("/stats")
        assert stats["answered"] == 5 and {stats["pid"]} == pids
        connection.close()
        program.stop()
