"""Objects may be dropped in any order, by hand or by the garbage collector, while the library still uses them."""

import gc
import itertools
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import Any, Callable, List

import pytest
import turbo_cffi
from conftest import DEADLINE, Client, Serve
from turbo_cffi import Executor, Request, Response, RouteOptions, Server, core


def wait_until(condition: Callable[[], object]) -> None:
    """For what is only to be asked for: a server that has ended by itself."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        gc.collect()
        time.sleep(0.005)


def make(**settings: int) -> Server:
    """A server with a handler that keeps its request for later."""
    server = Server(shards=1, **settings)
    server.route("GET", "/", lambda request: request.reply(200, b"ok"))
    server.listen("127.0.0.1:0")
    server.start()
    return server


def test_dropped_server_stops_and_is_freed() -> None:
    server = make()
    assert Client(server).get("/").body == b"ok"
    freed = weakref.ref(server.core)
    assert freed() in core.running
    del server
    wait_until(lambda: freed() is None)


def test_server_in_a_cycle_is_freed() -> None:
    """Never started: only the garbage collector can see that its handler, which refers to it, is not needed."""
    server = Server()
    server.route("GET", "/", lambda request: request.reply(200, str(server.port)))
    freed = weakref.ref(server.core)
    kept = weakref.ref(server.core.kept[0])
    del server
    wait_until(lambda: freed() is None and kept() is None)


def test_handlers_outlive_the_names_of_everything() -> None:
    """Handler, options, placement, weight and response are held by nobody else, and garbage is collected between requests."""
    server = Server(shards=2)

    class Handler:
        def __call__(self, request: Request) -> None:
            gc.collect()
            request.respond(Response(200, [("X", "y")], b"still here"))

    class Place:
        def __call__(self, request: Request, shards: int) -> int:
            return 1

    class Weigh:
        def __call__(self, request: Request) -> int:
            return 1

    terms = RouteOptions(placement=Place(), weight=Weigh(), batch_weight_max=5)
    server.route("GET", "/", Handler(), RouteOptions(placement=Place()))
    server.route_batch("GET", "/batch", lambda shard, requests: [r.reply(200, b"batch") for r in requests], terms)
    del terms
    server.set_executor(Executor())
    server.set_log(4, lambda level, message: None)
    gc.collect()
    with server:
        server.listen("127.0.0.1:0")
        server.start()
        client = Client(server)
        for _ in range(50):
            gc.collect()
            assert client.get("/").body == b"still here"
            assert client.get("/batch").body == b"batch"


@pytest.mark.parametrize("order", list(itertools.permutations(["server", "shard", "request", "made"])))
def test_release_in_any_order(order: List[str]) -> None:
    """A request of a client and one of our own are unanswered while their owners go."""
    got: List[Request] = []
    taken = threading.Semaphore(0)
    server = Server(shards=1, drain_timeout_ms=200)
    server.route("GET", "/", lambda request: (got.append(request), taken.release()) and None)
    server.listen("127.0.0.1:0")
    server.start()
    ends: List[int] = []
    port, answers = server.port, []  # type: int, List[Any]

    class Address:
        pass

    address: Any = Address()
    address.port = port

    def ask() -> None:
        try:
            answers.append(Client(address).get("/").status)
        except OSError as error:
            answers.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    assert taken.acquire(timeout=DEADLINE)
    made = server.request("GET", "/", lambda request, status, response: ends.append(status))
    server.shards[0].submit(made)
    assert taken.acquire(timeout=DEADLINE)
    held = {"server": server, "shard": server.shards[0], "request": got.pop(0), "made": [made, got.pop(0)]}
    freed = weakref.ref(server.core)
    del server, made
    for name in order:
        value = held.pop(name)
        if name == "server":
            value.release()
            with pytest.raises(turbo_cffi.Error, match="released"):
                value.stats()
        elif name == "shard":
            assert value.index == 0 and value.inflight <= 2
        elif name == "request":
            assert value.path == b"/"
            value.reply(200)
        else:
            value[1].reply(200)
        del value
        gc.collect()
    asker.join(DEADLINE)
    wait_until(lambda: freed() is None)
    assert ends == [0] and len(answers) == 1


def test_request_kept_beyond_its_server() -> None:
    kept: List[Request] = []
    server = make()
    server.stop()
    server.wait()
    server.release()
    server = Server(shards=1)
    server.route("POST", "/x/{id}", lambda request: (kept.append(request), request.reply(200)) and None)
    server.listen("127.0.0.1:0")
    server.start()
    assert Client(server).ask("POST", "/x/5", b"body").status == 200
    server.stop()
    server.wait()
    freed = weakref.ref(server.core)
    server.release()
    del server
    gc.collect()
    assert (kept[0].body, kept[0].param("id"), kept[0].route) == (b"body", b"5", "/x/{id}")
    with pytest.raises(turbo_cffi.Error):
        kept[0].reply(200)
    kept.clear()
    wait_until(lambda: freed() is None)


def test_done_is_called_when_nobody_holds_the_request(serve: Serve) -> None:
    server = Server(shards=1)
    server.route("GET", "/", lambda request: request.reply(200))
    serve(server)
    ended = threading.Event()
    server.shards[0].submit(server.request("GET", "/", lambda request, status, response: ended.set()))
    gc.collect()
    assert ended.wait(DEADLINE)


def test_unsubmitted_request_is_freed_without_a_call(serve: Serve) -> None:
    server = Server(shards=1)
    server.route("GET", "/", lambda request: request.reply(200))
    serve(server)
    calls: List[int] = []
    request = server.request("GET", "/", lambda request, status, response: calls.append(status))
    freed = weakref.ref(request._done)  # type: ignore[arg-type]
    del request
    wait_until(lambda: freed() is None)
    assert calls == []


def test_nothing_is_given_back_inside_a_log_callback(serve: Serve) -> None:
    """The last reference to a request goes in a callback that must not call the library: its release comes later."""
    kept: List[Request] = []
    depths: List[int] = []
    server = Server(shards=1)
    server.route("GET", "/", lambda request: (kept.append(request), request.reply(200)) and None)

    def log(level: int, message: str) -> None:
        kept.clear()
        depths.append(len(turbo_cffi.callbacks._later))

    server.set_log(turbo_cffi.lib.TURBO_LOG_INFO, log)
    assert serve(server).get("/").status == 200
    server.stop()
    server.wait()
    assert depths[-1] == 1
    core.release_server.flush()
    assert not turbo_cffi.callbacks._later


def test_stopped_functions() -> None:
    server = make()
    said: List[str] = []
    server.stop(lambda: said.append("first"))
    server.stop(lambda: said.append("second"))
    server.wait()
    assert said == ["first", "second"]
    server.stop(lambda: said.append("third"))
    assert said[2:] == ["third"]


def test_wait_in_a_handler_is_refused(serve: Serve) -> None:
    codes: List[int] = []
    server = Server(shards=1)

    def handler(request: Request) -> None:
        with pytest.raises(turbo_cffi.Error) as caught:
            server.wait()
        codes.append(caught.value.code)
        request.reply(200)

    server.route("GET", "/", handler)
    assert serve(server).get("/").status == 200
    assert codes == [turbo_cffi.lib.TURBO_ESTATE]


EXITS = {
    "running": "server.start()",
    "stopping": "server.start(); server.stop()",
    "request kept": "server.start(); client.get('/keep')",
    "driven by a thread": "server.set_executor(Driven()); server.start(); server.drive_in_threads()",
    "driven by nobody": "server.set_executor(Driven()); server.start()",
    "driven by this thread": "server.set_executor(Driven()); server.start(); server.shards[0].poll()",
    "never started": "pass",
}


@pytest.mark.parametrize("what", list(EXITS))
def test_interpreter_may_exit_at_any_time(what: str) -> None:
    """Handlers refer to their server, so that only the exit can end it."""
    program = f"""
        import turbo_cffi

        class Driven(turbo_cffi.Executor):
            driven = True

        class client:
            @staticmethod
            def get(path):
                server.shards[0].submit(server.request("GET", path, lambda *end: None))
                taken.acquire()

        import threading
        taken = threading.Semaphore(0)
        kept = []
        server = turbo_cffi.Server(shards=1, drain_timeout_ms=100)
        server.route("GET", "/", lambda request: request.reply(200, str(server.port)))
        server.route("GET", "/keep", lambda request: (kept.append(request), taken.release()) and None)
        server.set_log(0, None)
        server.listen("127.0.0.1:0")
        {EXITS[what]}
        print("end of the program", flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(program)], timeout=DEADLINE, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end of the program\n", "")
