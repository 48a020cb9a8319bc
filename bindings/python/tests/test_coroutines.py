"""Async handlers: context, current task, cancellation, concurrency, on both loops and both kinds of task."""

import asyncio
import contextvars
import threading
import time
from typing import Any, Dict, List

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until

variable: "contextvars.ContextVar[str]" = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def run(serve: Serve, loop_name: str, task_name: str) -> Any:
    """run(coroutine function) serves it at "/" and returns a Client."""

    def start(handler: Any, **settings: Any) -> Client:
        app = turbo.App()
        app.route("/")(handler)
        return serve(app, loop=loop_name, task=task_name, **settings)

    return start


def test_current_task_is_the_same_before_and_after_an_await(run: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        before = asyncio.current_task()
        assert before is not None and before.get_loop() is asyncio.get_running_loop() and not before.done()
        await asyncio.sleep(0)
        return {"same": asyncio.current_task() is before, "listed": before in asyncio.all_tasks()}

    assert run(handler).get("/").body == b'{"same":true,"listed":true}'


def test_every_request_has_a_task_of_its_own(serve: Serve, loop_name: str, task_name: str) -> None:
    app = turbo.App()
    tasks: List[Any] = []

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        tasks.append(asyncio.current_task())
        return b""

    client = serve(app, loop=loop_name, task=task_name)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 10)
        s.shutdown(1)
        read_answer(s)
    assert len({id(task) for task in tasks}) == 10
    client.app.stop()
    assert all(task.done() and not task.cancelled() for task in tasks)


def test_sync_handlers_have_no_current_task(serve: Serve, loop_name: str, task_name: str) -> None:
    app = turbo.App()

    @app.get("/a")
    async def coroutine(request: turbo.Request) -> bytes:
        return b"task" if asyncio.current_task() else b"none"

    @app.get("/s")
    def sync(request: turbo.Request) -> bytes:
        return b"task" if asyncio.current_task() else b"none"

    with serve(app, loop=loop_name, task=task_name).socket() as s:
        s.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % name for name in (b"a", b"s", b"a", b"a", b"s")))
        s.shutdown(1)
        answer = read_answer(s)
    assert [piece[-4:] for piece in answer.split(b"HTTP/1.1 ")[1:]] == [b"task", b"none", b"task", b"task", b"none"]


def test_context_variables_do_not_leak_between_requests(run: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        seen = variable.get()
        variable.set("mine")
        if request.query.get("await"):
            await asyncio.sleep(0.001)
        return [seen, variable.get()]

    client = run(handler)
    for path in ("/", "/", "/?await=1", "/?await=1", "/"):
        assert client.get(path).body == b'["unset","mine"]'


def test_exceptions_after_an_await_are_500_and_logged(run: Any, failures: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        await asyncio.sleep(0)
        raise RuntimeError("late")

    assert run(handler).get("/").status == 500
    record = failures()[0]
    assert str(record.exc_info[1]) == "late" and record.getMessage() == "handler failed: GET /"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, StopIteration])
@pytest.mark.parametrize("wait", [False, True])
def test_no_exception_ends_a_shard(serve: Serve, failures: Any, error: Any, wait: bool, loop_name: str) -> None:
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> Any:
        if wait:
            await asyncio.sleep(0)
        raise error()

    @app.get("/sync")
    def sync(request: turbo.Request) -> Any:
        raise error()

    client = serve(app, loop=loop_name)
    assert client.get("/").status == 500 and client.get("/sync").status == 500
    assert client.get("/").status == 500 and len(failures()) == 3


def test_http_errors_are_answers(run: Any, failures: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        await asyncio.sleep(0)
        raise turbo.HTTPError(418, {"tea": True}, {"X-Pot": "short"})

    answer = run(handler).get("/")
    assert (answer.status, answer.body, answer.headers["x-pot"], failures()) == (418, b'{"tea":true}', "short", [])


def test_a_bad_http_error_is_500(run: Any, failures: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        raise turbo.HTTPError(99)

    assert run(handler).get("/").status == 500 and len(failures()) == 1


def test_any_awaitable_is_awaited(serve: Serve, task_name: str) -> None:
    app = turbo.App()

    class Later:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return b"later"

    @app.get("/object")
    def make_object(request: turbo.Request) -> Any:
        return Later()

    @app.get("/future")
    def make_future(request: turbo.Request) -> Any:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, future.set_result, b"future")
        return future

    @app.get("/coroutine")
    def make_coroutine(request: turbo.Request) -> Any:
        async def inner() -> bytes:
            await asyncio.sleep(0)
            return b"coroutine"

        return inner()

    client = serve(app, task=task_name)
    assert [client.get(path).body for path in ("/object", "/future", "/coroutine")] == [b"later", b"future", b"coroutine"]


def test_callable_objects_and_methods_are_handlers(serve: Serve) -> None:
    class Handlers:
        async def method(self, request: turbo.Request) -> bytes:
            return b"method"

        async def __call__(self, request: turbo.Request) -> bytes:
            return b"call"

    app, handlers = turbo.App(), Handlers()
    app.get("/m")(handlers.method)
    app.get("/c")(handlers)
    client = serve(app)
    assert (client.get("/m").body, client.get("/c").body) == (b"method", b"call")


def test_client_gone_cancels_the_task(run: Any, failures: Any) -> None:
    seen: List[Any] = []

    async def handler(request: turbo.Request) -> Any:
        seen.append("begun")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append(request.cancelled)
            raise

    client = run(handler)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: seen == ["begun"])
        s.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: RST, since a FIN is only a half-close
    wait_until(lambda: seen == ["begun", True])
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert failures() == []


def test_a_task_that_cancels_itself_is_500(run: Any, failures: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    assert run(handler).get("/").status == 500
    assert isinstance(failures()[0].exc_info[1], asyncio.CancelledError)


def test_a_task_that_is_cancelled_and_ends_without_noticing_is_500(run: Any, failures: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return b"done"

    assert run(handler).get("/").status == 500 and len(failures()) == 1


def test_1500_sleepers_reach_512_in_flight_and_never_513(serve: Serve, loop_name: str, task_name: str) -> None:
    inside = most = 0

    async def handler(request: turbo.Request) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.05)
        inside -= 1
        return b"ok"

    app = turbo.App()
    app.get("/sleep")(handler)
    client = serve(app, loop=loop_name, task=task_name, shards=1)
    sockets = [client.socket() for _ in range(1500)]
    for s in sockets:
        s.sendall(b"GET /sleep?ms=50 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    answers = [read_answer(s) for s in sockets]
    for s in sockets:
        s.close()
    assert all(answer.endswith(b"\r\n\r\nok") for answer in answers)
    stats = client.app.shards[0].stats()
    assert (most, stats["inflight_max"], stats["requests"]) == (512, 512, 1500)


def test_inflight_limit_is_first_come_first_served(serve: Serve, task_name: str) -> None:
    order: List[int] = []

    async def handler(request: turbo.Request) -> bytes:
        order.append(int(request.query["i"]))
        await asyncio.sleep(0.001)
        return b""

    app = turbo.App()
    app.get("/")(handler)
    with serve(app, inflight_max=2, task=task_name, shards=1).socket() as s:
        s.sendall(b"".join(b"GET /?i=%d HTTP/1.1\r\nHost: h\r\n\r\n" % i for i in range(40)))
        s.shutdown(1)
        assert read_answer(s).count(b"200 OK") == 40
    assert order == list(range(40))


def test_one_wake_up_a_batch(serve: Serve, loop_name: str) -> None:
    async def handler(request: turbo.Request) -> bytes:
        await asyncio.sleep(0.001)
        return b""

    app = turbo.App()
    app.get("/")(handler)
    client = serve(app, loop=loop_name)
    for _ in range(20):
        with client.socket() as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 32)
            s.shutdown(1)
            assert read_answer(s).count(b"200 OK") == 32
    stats = client.app.shards[0].stats()
    assert stats["requests"] == 640 and stats["wakeups"] <= stats["batches"]


def test_a_task_factory_of_the_user_wins(serve: Serve, loop_name: str) -> None:
    made: List[Any] = []

    class Mine(asyncio.Task):  # type: ignore[type-arg]
        pass

    def factory(loop: Any, coro: Any, **kwargs: Any) -> Any:
        made.append(coro)
        return Mine(coro, loop=loop, **kwargs)

    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        return b"mine" if isinstance(asyncio.current_task(), Mine) else b"other"

    @app.get("/set")
    def set_factory(request: turbo.Request) -> None:
        asyncio.get_running_loop().set_task_factory(factory)

    client = serve(app, loop=loop_name, shards=1)
    assert client.get("/").body == b"other"
    assert client.get("/set").status == 204
    assert client.get("/").body == b"mine" and len(made) == 1


def test_handlers_of_a_shard_run_on_its_thread(serve: Serve, loop_name: str) -> None:
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> Any:
        before = threading.current_thread().name
        await asyncio.sleep(0)
        assert request.shard.loop is asyncio.get_running_loop()
        return [before, threading.current_thread().name]

    assert serve(app, loop=loop_name).get("/").body == b'["turbo-shard-0","turbo-shard-0"]'


def test_shard_state_is_kept(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> str:
        request.shard.state["n"] = request.shard.state.get("n", 0) + 1
        return str(request.shard.state["n"])

    client = serve(app)
    assert [client.get("/").body for _ in range(3)] == [b"1", b"2", b"3"]


def test_many_shards_run_handlers_in_threads_of_their_own(serve: Serve, loop_name: str) -> None:
    app = turbo.App()
    seen: Dict[int, str] = {}

    @app.get("/", placement="round_robin")
    async def handler(request: turbo.Request) -> bytes:
        await asyncio.sleep(0)
        seen[request.shard.index] = threading.current_thread().name
        return b""

    client = serve(app, shards=4, loop=loop_name)
    for _ in range(16):
        assert client.get("/").status == 200
    assert seen == {i: f"turbo-shard-{i}" for i in range(4)}


def test_background_tasks_of_a_handler_go_on_after_its_answer(run: Any) -> None:
    answered, done = threading.Event(), threading.Event()

    async def background() -> None:
        while not answered.is_set():
            await asyncio.sleep(0.001)
        done.set()

    keep: List[Any] = []

    async def handler(request: turbo.Request) -> bytes:
        keep.append(asyncio.ensure_future(background()))
        return b""

    assert run(handler).get("/").status == 200 and not done.is_set()
    answered.set()
    assert done.wait(5)


def test_a_handler_may_await_another_handlers_task(run: Any) -> None:
    waiting: List[Any] = []

    async def handler(request: turbo.Request) -> Any:
        if request.method == "GET":
            waiting.append(asyncio.current_task())
            await asyncio.sleep(0.05)
            return b"first"
        return await waiting[0]

    client = run(handler)
    found: List[bytes] = []
    thread = threading.Thread(target=lambda: found.append(client.get("/").body))
    thread.start()
    wait_until(lambda: waiting)
    assert client.post("/").body == b"first"
    thread.join()
    assert found == [b"first"]


def test_blocking_code_in_the_default_executor(run: Any) -> None:
    async def handler(request: turbo.Request) -> Any:
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
        return b"slept"

    assert run(handler).get("/").body == b"slept"


def test_a_route_may_have_fewer_in_flight(serve: Serve) -> None:
    app, order, most = turbo.App(), [], []  # type: turbo.App, List[str], List[int]
    inside: List[str] = []

    @app.get("/few/{n}", inflight_max=2)
    async def few(request: turbo.Request) -> bytes:
        inside.append("few")
        order.append(request.path_params["n"])
        most.append(len(inside))
        await asyncio.sleep(0.02)
        inside.pop()
        return b"few"

    @app.get("/free")
    async def free(request: turbo.Request) -> bytes:
        await asyncio.sleep(0)
        return b"free"

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"".join(b"GET /few/%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(10)))
        wait_until(lambda: len(order) >= 2)
        assert client.get("/free").body == b"free"
        answers = b""
        while answers.count(b"few") < 10:
            answers += s.recv(65536)
    assert max(most) == 2 and order == [str(n) for n in range(10)]
