"""Start, stop, signals, and the end of the interpreter."""

import asyncio
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List, Type

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until
from turbo.config import make_config
from turbo.executor import Executor
from turbo.posting import Post


def hello() -> turbo.App:
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        await asyncio.sleep(0)
        return b"hello"

    @app.get("/slow")
    async def slow(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.3)
        return b"slow"

    @app.get("/never")
    async def never(request: turbo.Request) -> bytes:
        await asyncio.sleep(60)
        return b"never"

    return app


def test_start_and_stop_again_and_again() -> None:
    app = hello()
    before = threading.active_count()
    for _ in range(5):
        with app.start(port=0) as same:
            assert same is app and Client(app).get("/").body == b"hello"
        assert threading.active_count() == before


def test_the_first_request_finds_a_running_server() -> None:
    app = turbo.App()
    app.get("/")(lambda request: f"{app.port} {len(app.shards)} {app.stats()['taken']}")
    first: List[socket.socket] = []

    class Slow(Executor):
        """A request comes before start() has returned."""

        def start(self) -> None:
            super().start()
            first.append(socket.create_connection(("127.0.0.1", self._server.port), timeout=10))
            first[0].sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            time.sleep(0.3)  # for a handler to run too early

    app._start(make_config("127.0.0.1", 0, {"shards": 1}), lambda: None, Slow)
    try:
        with first[0]:
            assert read_answer(first[0]).endswith(f"{app.port} 1 1".encode())
    finally:
        app.stop()


def test_what_needs_a_running_server() -> None:
    app = hello()
    for read in (lambda: app.port, lambda: app.shards, lambda: app.stats()):
        with pytest.raises(RuntimeError, match="not been started"):
            read()
    app.stop()


def test_a_second_start_is_refused(serve: Serve) -> None:
    client = serve(hello())
    with pytest.raises(RuntimeError, match="runs already"):
        client.app.start(port=0)
    assert client.get("/").status == 200


def test_several_apps_side_by_side(serve: Serve) -> None:
    clients = [serve(hello()) for _ in range(3)]
    assert [client.get("/").status for client in clients] == [200] * 3


def test_stop_answers_what_was_taken(serve: Serve) -> None:
    client = serve(hello())
    sockets = [client.socket() for _ in range(8)]
    for s in sockets:
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_until(lambda: client.app.shards[0].inflight == 8)
    client.app.stop()
    for s in sockets:
        answer = read_answer(s)
        s.close()
        assert answer.endswith(b"slow") and b"Connection: close" in answer
    stats = client.app.stats()
    assert stats["taken"] == stats["answered"] == 8


def test_drain_timeout_cancels_what_is_left(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app, ends = hello(), []

    @app.get("/stubborn")
    async def stubborn(request: turbo.Request) -> bytes:
        try:
            await asyncio.sleep(60)
        finally:
            ends.append(asyncio.current_task() is not None)
        return b""

    caplog.set_level("INFO", logger="turbo")
    client = serve(app, drain_timeout_ms=100, shards=1)
    with client.socket() as s:
        s.sendall(b"GET /stubborn HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == 1)
        begin = time.monotonic()
        client.app.stop()
        assert time.monotonic() - begin < 3
    assert ends == [True] and client.app.stats()["abandoned"] == 1
    assert "1 abandoned" in caplog.text


def test_what_does_not_end_is_waited_for_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, task_name: str
) -> None:
    app, go_on = turbo.App(), threading.Event()
    cancelled: List[str] = []

    async def stubborn(name: str) -> None:
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                cancelled.append(name)

    @app.get("/")
    async def handler(request: turbo.Request) -> None:
        request.shard.state["task"] = asyncio.ensure_future(stubborn("task"))
        await stubborn("handler")

    @app.get("/background")
    def background(request: turbo.Request) -> bytes:
        request.background(stubborn, "background")
        return b""

    monkeypatch.setattr("turbo.background.END_TIMEOUT", 0.2)
    app.on_stop(lambda shard: cancelled.append("on_stop"))
    client = serve(app, drain_timeout_ms=100, shards=1, task=task_name, loop="asyncio")
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.get("/background").status == 200
        wait_until(lambda: client.app.shards[0].inflight == 1)
        client.app.stop()
    go_on.set()
    assert cancelled == ["handler", "background", "on_stop", "task"]
    said = [r.getMessage() for r in caplog.records if "have not ended" in r.getMessage()]
    assert [text.split(" have")[0] for text in said] == ["handlers of turbo-shard-0", "background calls", "tasks of turbo-shard-0"]
    assert all(text.endswith(": 1 left alone") for text in said)


def test_stop_from_a_handler(serve: Serve) -> None:
    app = hello()

    @app.get("/stop")
    def stop(request: turbo.Request) -> bytes:
        app.stop()
        return b"stopping"

    client = serve(app)
    assert client.get("/stop").body == b"stopping"
    wait_until(lambda: client.app.shards[0].closed)
    app.stop()
    with pytest.raises(OSError):
        client.get("/")


@pytest.mark.parametrize("mode", ["sharded", "single"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_in_a_callback_stops_the_app_in_order(
    serve: Serve, failures: Any, loop_name: str, mode: str, error: Type[BaseException]
) -> None:
    app, stopped = hello(), []
    app.on_stop(stopped.append)

    def leave() -> None:
        raise error(3)

    @app.get("/leave")
    async def handler(request: turbo.Request) -> bytes:
        asyncio.get_running_loop().call_soon(leave)
        await asyncio.sleep(0.05)
        return b"answered behind it"

    client = serve(app, loop=loop_name, mode=mode, shards=2)
    assert client.get("/leave").body == b"answered behind it"
    wait_until(lambda: all(shard.closed for shard in app.shards))
    app.stop()
    assert sorted(shard.index for shard in stopped) == [0, 1]
    (record,) = failures()
    assert f"{error.__name__} on turbo-" in record.getMessage()
    assert client.app.stats()["answered"] == client.app.stats()["taken"] == 1


def test_stop_without_waiting(serve: Serve) -> None:
    client = serve(hello())
    client.app.stop(wait=False)
    wait_until(lambda: client.app.shards[0].closed)


def test_background_tasks_are_cancelled_at_the_end() -> None:
    app, seen = hello(), []

    @app.get("/spawn")
    async def spawn(request: turbo.Request) -> bytes:
        async def forever() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        request.shard.state["task"] = asyncio.ensure_future(forever())
        return b""

    with app.start(port=0):
        assert Client(app).get("/spawn").status == 200
        wait_until(lambda: True)
    assert seen == ["cancelled"]


def test_an_app_that_was_stopped_is_freed() -> None:
    import weakref

    app = hello()
    with app.start(port=0):
        Client(app).get("/")
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None


def test_objects_do_not_pile_up(serve: Serve, task_name: str) -> None:
    client = serve(hello(), task=task_name)

    def load(count: int) -> int:
        with client.socket() as s:
            for _ in range(count // 50):
                s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
                left = 50
                while left:
                    left -= s.recv(65536).count(b"HTTP/1.1 ")
        gc.collect()
        return len(gc.get_objects())

    load(500)
    before = load(50)
    assert abs(load(2000) - before) < 50


def test_stats(serve: Serve) -> None:
    app = hello()
    app.route_stats("/stats", "/metrics")
    client = serve(app)
    client.get("/")
    assert client.app.stats()["answered"] == 1
    shard = client.app.shards[0].stats()
    assert shard["requests"] == shard["batches"] == shard["batch_sizes"][0] == 1 and sum(shard["latency"]) == 1
    assert client.get("/stats").body.startswith(b"{") and b"turbo_" in client.get("/metrics").body


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


@pytest.mark.parametrize("path", ["/leave", "/shard"])
@pytest.mark.parametrize("mode", ["sharded", "single"])
def test_a_handler_that_stops_its_loop_stops_the_app_in_order(
    serve: Serve, failures: Any, loop_name: str, mode: str, path: str
) -> None:
    app, stopped = hello(), []
    app.on_stop(stopped.append)

    @app.get("/leave")
    async def handler(request: turbo.Request) -> bytes:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.05)
        return b"answered behind it"

    @app.get("/shard")
    def sync(request: turbo.Request) -> bytes:
        assert request.shard.loop is not None
        request.shard.loop.stop()
        return b"answered behind it"

    client = serve(app, loop=loop_name, mode=mode, shards=2)
    assert client.get(path).body == b"answered behind it"
    wait_until(lambda: all(shard.closed for shard in app.shards))
    app.stop()
    assert sorted(shard.index for shard in stopped) == [0, 1]
    (record,) = failures()
    assert "loop.stop() on turbo-" in record.getMessage()


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
    import socket

    with Program(settings=f"dict(shards={shards})", PYTHONDEVMODE="1") as program:
        assert program.line.startswith("turbo listens on http://127.0.0.1:")
        with socket.create_connection(("127.0.0.1", program.port), 10) as s:
            s.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            time.sleep(0.2)
            program.process.send_signal(number)
            assert read_answer(s).endswith(b"slow")
        assert program.end() == (0, "")


def test_a_second_signal_ends_the_drain() -> None:
    import socket

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
        hello().run(port=0, batch_max=0)
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
    import socket

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


# -- calls of other threads while a loop ends --


class SlowToTell(asyncio.SelectorEventLoop):
    """A loop that goes on while call_soon_threadsafe() is still at work, as it may at any time."""

    closed_inside: List[int] = []

    def __init__(self) -> None:
        super().__init__()
        self.telling = 0
        self.lock = threading.Lock()  # of several threads that tell

    def call_soon_threadsafe(self, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            self.telling += 1
        try:
            return super().call_soon_threadsafe(*args, **kwargs)
        finally:
            time.sleep(0.2)
            with self.lock:
                self.telling -= 1

    def close(self) -> None:
        self.closed_inside.append(self.telling)
        super().close()


def test_no_loop_is_closed_while_its_thread_is_told_of_the_end(serve: Serve) -> None:
    """What call_soon_threadsafe() writes to could be a client's connection by then."""
    SlowToTell.closed_inside = []
    client = serve(hello(), mode="single", shards=2, loop=SlowToTell)
    assert client.get("/").body == b"hello"
    client.app.stop()
    assert SlowToTell.closed_inside == [0]


def test_no_loop_is_closed_while_a_pool_hands_over(serve: Serve) -> None:
    SlowToTell.closed_inside = []
    app = turbo.App()
    begun, go_on = threading.Event(), threading.Event()

    @app.get("/", threads=1)
    def late(request: turbo.Request) -> Any:
        begun.set()
        go_on.wait()
        return turbo.StreamingResponse(iter([b"late"]))  # only the shard's loop can send it

    client = serve(app, shards=1, loop=SlowToTell, drain_timeout_ms=100)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        begun.wait()
        threading.Timer(0.05, go_on.set).start()
        client.app.stop()
    assert SlowToTell.closed_inside == [0]


def test_a_post_to_a_loop_that_has_ended() -> None:
    post = Post(asyncio.new_event_loop())
    post.call_soon(post.loop.stop)
    post.loop.run_forever()
    post.close()
    assert post.loop.is_closed()
    with pytest.raises(RuntimeError, match="the loop has ended"):
        post.call_soon(print)


def test_programs_that_handlers_start_hear_signals(serve: Serve) -> None:
    """A mask of the shard's thread would be theirs, too."""
    app = turbo.App()

    def ended() -> bytes:
        with subprocess.Popen(["sleep", "60"]) as child:
            child.terminate()
            try:
                return str(child.wait(timeout=10)).encode()
            finally:
                child.kill()

    app.get("/shard")(lambda request: ended())
    app.get("/pool", threads=1)(lambda request: ended())

    @app.get("/loop")
    async def loop(request: turbo.Request) -> bytes:
        child = await asyncio.create_subprocess_exec("sleep", "60")
        child.terminate()
        return str(await asyncio.wait_for(child.wait(), 10)).encode()

    client = serve(app, loop="asyncio")
    assert [client.get(path).body for path in ("/shard", "/pool", "/loop")] == [b"-15"] * 3
