"""turbo_shard_submit() from several threads; requests without a connection."""

import threading
from typing import Any, Dict, List, Optional

import pytest
import turbo_cffi
from conftest import DEADLINE, Serve
from turbo_cffi import Error, Executor, Request, Response, Server, Shard, lib

THREADS, EACH = 4, 500


@pytest.mark.parametrize("settings", [{"shards": 1}, {"shards": 3}, {"shards": 2, "io_threads": 0}])
def test_four_threads_with_unique_ids(serve: Serve, settings: Dict[str, int]) -> None:
    """Every id comes back exactly once, with its own answer."""
    server = Server(**settings)
    server.route("POST", "/echo/{id}", lambda r: r.reply(200, r.param("id") + b":" + r.body))
    serve(server)
    answers: Dict[int, List[Any]] = {i: [] for i in range(THREADS * EACH)}
    left = threading.Semaphore(0)

    def submit_all(first: int) -> None:
        shards = server.shards
        for i in range(first, THREADS * EACH, THREADS):

            def done(request: Request, status: int, response: Optional[Response], i: int = i) -> None:
                answers[i].append((status, response.status if response else None, response.body if response else None))
                left.release()

            request = server.request("POST", f"/echo/{i}", done)
            request.set_body(b"body %d" % i)
            while True:
                try:
                    shards[i % len(shards)].submit(request)
                    break
                except Error as error:
                    assert error.code == lib.TURBO_EAGAIN

    threads = [threading.Thread(target=submit_all, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    for _ in answers:
        assert left.acquire(timeout=DEADLINE)
    assert answers == {i: [(0, 200, b"%d:body %d" % (i, i))] for i in range(THREADS * EACH)}
    server.stop()
    server.wait()
    totals = server.stats()
    assert totals["taken"] == totals["answered"] == THREADS * EACH
    assert not turbo_cffi.callbacks._once, "what was called is kept no more"


def test_refused_requests(serve: Serve) -> None:
    server = Server()
    server.route("POST", "/", lambda request: request.reply(200), turbo_cffi.RouteOptions(body_max_bytes=3))
    serve(server)
    done = lambda request, status, response: None  # noqa: E731
    for method, target, name in (("POST", "/none", "TURBO_ENOENT"), ("BAD METHOD", "/", "TURBO_EINVAL")):
        with pytest.raises(Error) as caught:
            server.request(method, target, done)
        assert caught.value.name == name
    request = server.request("POST", "/", done)
    with pytest.raises(Error) as caught:
        request.set_body(b"1234")
    assert caught.value.code == lib.TURBO_ETOOBIG
    request.set_body(b"123")
    server.shards[0].submit(request)
    with pytest.raises(Error) as caught:
        server.shards[0].submit(request)
    assert caught.value.code == lib.TURBO_ESTATE
    waiting = server.request("POST", "/", done)
    answered = threading.Event()
    request = server.request("POST", "/", lambda *end: answered.set())
    server.shards[0].submit(request)
    assert answered.wait(DEADLINE)
    with pytest.raises(Error):
        server.shards[0].submit(request)
    server.stop()
    server.wait()
    with pytest.raises(Error) as caught:
        server.shards[0].submit(waiting)
    assert caught.value.code == lib.TURBO_ECLOSED
    with pytest.raises(Error) as caught:
        server.request("POST", "/", done)
    assert caught.value.code == lib.TURBO_ECLOSED
    assert not turbo_cffi.callbacks._once


def test_answer_that_is_streamed_or_cut_off(serve: Serve, failures: Any) -> None:
    over = threading.Semaphore(0)
    ends: List[Any] = []

    def done(request: Request, status: int, response: Optional[Response]) -> None:
        ends.append((status, response.body if response else None, response.field("X-A") if response else None))
        kept.append(response)
        over.release()

    def handler(request: Request) -> None:
        request.begin(Response(200, [("X-A", "b")], b"1"))
        request.write(b"2")
        if request.query == b"fail":
            raise ValueError("in the middle")
        request.end()

    kept: List[Optional[Response]] = []
    server = Server(shards=1)
    server.route("GET", "/", handler)
    serve(server)
    for target in ("/", "/?fail"):
        server.shards[0].submit(server.request("GET", target, done))
        assert over.acquire(timeout=DEADLINE)
    assert ends == [(0, b"12", b"b"), (lib.TURBO_EUSER, None, None)]
    with pytest.raises(Error, match="during a callback"):
        kept[0].body  # type: ignore[union-attr]
    assert failures() == ["ValueError('in the middle')"]


def test_full_queue_and_a_stop_before_the_answer(serve: Serve) -> None:
    """A driven shard that nobody drives yet: its queue fills, and a refused request can be submitted again."""

    class Driven(Executor):
        driven = True

    server = Server(shards=1, queue_max=2, drain_timeout_ms=0)
    server.set_executor(Driven())
    server.route("GET", "/", lambda request: request.reply(200))
    server.start()
    shard, ends = server.shards[0], []  # type: Shard, List[int]
    requests = [server.request("GET", "/", lambda r, status, response: ends.append(status)) for _ in range(3)]
    shard.submit(requests[0])
    shard.submit(requests[1])
    with pytest.raises(Error) as caught:
        shard.submit(requests[2])
    assert caught.value.code == lib.TURBO_EAGAIN
    while shard.poll():
        pass
    assert ends == [0, 0]
    shard.submit(requests[2])
    server.abort()
    shard.drive()
    server.wait()
    assert ends[2:] in ([0], [lib.TURBO_ECLOSED]) and len(ends) == 3
    server.release()


def test_request_may_be_answered_by_its_maker(serve: Serve) -> None:
    server = Server()
    server.route("GET", "/", lambda request: None)
    serve(server)
    ends: List[Any] = []
    request = server.request("GET", "/", lambda r, status, response: ends.append((r.ptr == request.ptr, response.body)))
    request.reply(200, b"own")
    assert ends == [(True, b"own")]


def test_done_that_raises_is_logged(serve: Serve, failures: Any) -> None:
    server = Server()
    server.route("GET", "/", lambda request: request.reply(200))
    serve(server)

    def done(request: Request, status: int, response: Optional[Response]) -> None:
        raise OSError("no room")

    server.shards[0].submit(server.request("GET", "/", done))
    server.stop()
    server.wait()
    assert failures() == ["OSError('no room')"]
