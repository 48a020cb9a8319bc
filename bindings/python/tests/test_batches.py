"""Batch handlers."""

import asyncio
import contextlib
import socket
import threading
import weakref
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until


def ask_together(client: Client, count: int, path: str = "/") -> List[Any]:
    """`count` requests in one packet on one connection, so that they share a batch (as POSTs they would not)."""
    with client.socket() as s:
        s.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % (path.encode(), i % 10) for i in range(count)))
        s.shutdown(1)
        data = b""
        while part := s.recv(65536):
            data += part
    answers = [piece.split(b"\r\n\r\n", 1) for piece in data.split(b"HTTP/1.1 ")[1:]]
    return [(int(head[:3]), body) for head, body in answers]


def test_requests_that_come_together_share_a_batch(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [{"batch": len(requests), "body": request.text} for request in requests]

    client = serve(app)
    answers = ask_together(client, 8)
    assert answers == [(200, b'{"batch":8,"body":"%d"}' % i) for i in range(8)]


def test_batch_limit(serve: Serve) -> None:
    app = turbo.App()
    sizes: List[int] = []

    @app.get("/", batch=3)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        sizes.append(len(requests))
        return [None] * len(requests)

    assert [status for status, _ in ask_together(serve(app), 8)] == [204] * 8
    assert sizes == [3, 3, 2]


@pytest.mark.parametrize("wait", [{"batch_wait_ms": 50}, {"batch_wait_us": 50_000}, {"batch_wait_ms": 50.0}])
def test_batch_wait_gathers_requests_that_come_one_by_one(serve: Serve, loop_name: str, wait: Any) -> None:
    app = turbo.App()

    @app.post("/", batch=4, **wait)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [str(len(requests))] * len(requests)

    client = serve(app, loop=loop_name)
    found: List[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(client.post("/").body)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"3"] * 3 or b"1" not in found


def test_async_batch_handler(serve: Serve, task_name: str) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    async def handler(requests: List[turbo.Request]) -> List[Any]:
        await asyncio.sleep(0.01)
        return [request.body for request in requests]

    assert ask_together(serve(app, task=task_name), 5) == [(200, b"%d" % i) for i in range(5)]


@pytest.mark.parametrize(
    "result, reason",
    [(lambda n: [b""] * (n - 1), "got 4 requests and returned 3 answers"), (lambda n: b"", "not bytes"), (lambda n: None, "not NoneType")],
)
def test_a_wrong_number_of_answers_is_500_for_all(serve: Serve, failures: Any, result: Any, reason: str) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> Any:
        return result(len(requests))

    assert ask_together(serve(app), 4) == [(500, b"Internal Server Error\n")] * 4
    assert len(failures()) == 1 and reason in str(failures()[0].exc_info[1])
    assert failures()[0].getMessage() == "handler failed: batch of 4 for GET /"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_exception_is_500_for_all_and_logged_once(serve: Serve, failures: Any, kind: str) -> None:
    app = turbo.App()

    def sync(requests: List[turbo.Request]) -> Any:
        raise RuntimeError("all of them")

    async def coroutine(requests: List[turbo.Request]) -> Any:
        sync(requests)

    app.get("/", batch=True)(sync if kind == "sync" else coroutine)
    assert [status for status, _ in ask_together(serve(app), 4)] == [500] * 4
    assert len(failures()) == 1


def test_an_http_error_answers_all(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> Any:
        raise turbo.HTTPError(429, "later\n")

    assert ask_together(serve(app), 3) == [(429, b"later\n")] * 3 and failures() == []


def test_one_bad_answer_is_500_for_its_request_only(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [b"a", object(), ValueError("one"), turbo.HTTPError(404, "none\n"), (b"e")][: len(requests)]

    assert ask_together(serve(app), 5) == [
        (200, b"a"),
        (500, b"Internal Server Error\n"),
        (500, b"Internal Server Error\n"),
        (404, b"none\n"),
        (200, b"e"),
    ]
    assert len(failures()) == 2


def test_what_the_handler_does_to_its_list_changes_nothing(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        count = len(requests)
        requests.clear()
        return [b"x"] * count

    assert ask_together(serve(app), 3) == [(200, b"x")] * 3


def test_batches_and_single_requests_side_by_side(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/b", batch=True)
    async def many(requests: List[turbo.Request]) -> List[Any]:
        return [b"b"] * len(requests)

    @app.get("/a")
    async def one(request: turbo.Request) -> bytes:
        return b"a"

    with serve(app).socket() as s:
        s.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" % name for name in (b"a", b"b", b"a", b"b")))
        s.shutdown(1)
        data = b""
        while part := s.recv(65536):
            data += part
    assert [piece[-1:] for piece in data.split(b"HTTP/1.1 ")[1:]] == [b"a", b"b", b"a", b"b"]


def test_pipelined_posts_share_no_batch(serve: Serve) -> None:
    """They are worked on one by one (RFC 9112 9.3.2)."""
    app = turbo.App()

    @app.post("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [str(len(requests))] * len(requests)

    with serve(app).socket() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" * 5)
        s.shutdown(1)
        data = b""
        while part := s.recv(65536):
            data += part
    assert [piece[-1:] for piece in data.split(b"HTTP/1.1 ")[1:]] == [b"1"] * 5


# -- when a batch closes, as the counters say --

REASONS = ("full", "turn", "timer", "gate", "drained", "weight")
LONG = 10_000  # ms; no test waits for it


def closed(shard: turbo.Shard) -> Dict[str, int]:
    """Why batches closed: those reasons that there were."""
    stats = shard.stats()
    found = {reason: stats["closed_" + reason] for reason in REASONS if stats["closed_" + reason]}
    assert sum(found.values()) == stats["batch_calls"] == sum(stats["batch_call_sizes"])
    return found


def answer_all(requests: List[turbo.Request]) -> List[Any]:
    return [str(len(requests))] * len(requests)


def test_closed_when_full_and_at_the_end_of_the_turn(serve: Serve) -> None:
    app = turbo.App()
    app.get("/", batch=3)(answer_all)
    app.route_stats()
    client = serve(app)
    assert [body for _, body in ask_together(client, 8)] == [b"3"] * 6 + [b"2"] * 2
    shard = client.app.shards[0]
    assert closed(shard) == {"full": 2, "turn": 1}
    assert shard.stats()["batch_call_requests"] == 8
    assert shard.stats()["batch_call_sizes"][:3] == [0, 3, 0]
    metrics = client.get("/metrics").body
    assert b'turbo_shard_batch_closed_total{shard="0",reason="full"} 2\n' in metrics
    assert b'turbo_shard_batch_call_size_sum{shard="0"} 8\n' in metrics
    assert b'"closed_full":2,"closed_turn":1,' in client.get("/stats").body


def test_closed_by_the_timer(serve: Serve, loop_name: str) -> None:
    app = turbo.App()
    app.post("/", batch=8, batch_wait_ms=20)(answer_all)
    client = serve(app, loop=loop_name)
    assert client.post("/").body == b"1"
    assert closed(client.app.shards[0]) == {"timer": 1}


def test_closed_by_a_stop(serve: Serve, loop_name: str) -> None:
    app = turbo.App()
    app.get("/", batch=8, batch_wait_ms=LONG)(answer_all)
    client = serve(app, loop=loop_name)
    shard = client.app.shards[0]
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: shard.inflight == 1)
        app.stop()
        assert read_answer(s).endswith(b"\r\n\r\n1")
    assert closed(shard) == {"drained": 1}
    assert app.stats()["abandoned"] == 0


@pytest.mark.parametrize("of_route", [False, True], ids=["shard", "route"])
def test_closed_at_a_full_gate(serve: Serve, of_route: bool) -> None:
    """batch_wait_ms would be over only after ten seconds."""
    app = turbo.App()
    limit = {"inflight_max": 3}
    app.get("/", batch=8, batch_wait_ms=LONG, **(limit if of_route else {}))(answer_all)
    client = serve(app, **({} if of_route else limit))
    assert [body for _, body in ask_together(client, 6)] == [b"3"] * 6
    assert closed(client.app.shards[0]) == {"gate": 2}


def test_async_batches_wait_while_others_hold_the_gate(serve: Serve) -> None:
    app = turbo.App()
    go: List[asyncio.Event] = []

    @app.get("/one")
    async def one(request: turbo.Request) -> bytes:
        go.append(asyncio.Event())
        await go[0].wait()
        return b"one"

    app.get("/", batch=8, batch_wait_ms=LONG)(answer_all)
    client = serve(app, inflight_max=3)
    shard = client.app.shards[0]
    with client.socket() as s:
        s.sendall(b"GET /one HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        s.shutdown(1)
        wait_until(lambda: (shard.inflight, shard.queued) == (3, 1))
        assert closed(shard) == {}
        shard.loop.call_soon_threadsafe(go[0].set)  # type: ignore[union-attr]
        assert [piece[-1:] for piece in read_answer(s).split(b"HTTP/1.1 ")[1:]] == [b"e", b"3", b"3", b"3"]
    assert closed(shard) == {"gate": 1}


# -- order, shards --


def test_order_of_requests_and_of_batches(serve: Serve) -> None:
    app = turbo.App()
    seen: List[bytes] = []

    @app.get("/", batch=3)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        seen.append(b"".join(request.body for request in requests))
        return [request.body for request in requests]

    ask_together(serve(app), 8)
    assert seen == [b"012", b"345", b"67"]


def test_async_batches_overlap(serve: Serve, task_name: str) -> None:
    app = turbo.App()
    events: List[str] = []
    both: List[asyncio.Event] = []

    @app.get("/", batch=2)
    async def handler(requests: List[turbo.Request]) -> List[Any]:
        both.append(asyncio.Event())
        events.append("begin")
        if len(both) == 2:
            both[0].set()
        await both[0].wait()
        events.append("end")
        return [request.body for request in requests]

    assert ask_together(serve(app, task=task_name), 4) == [(200, b"%d" % i) for i in range(4)]
    assert events == ["begin", "begin", "end", "end"]


@pytest.mark.parametrize(
    "options, sizes",
    [({"placement": "round_robin"}, [2, 2]), ({"placement": "route", "spill_percent": 0}, [4])],
    ids=["round_robin", "home"],
)
def test_each_shard_gathers_for_itself(serve: Serve, options: Any, sizes: List[int]) -> None:
    app = turbo.App()
    seen: List[Tuple[int, int]] = []

    @app.get("/", batch=8, batch_wait_ms=200, **options)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        seen.append((requests[0].shard.index, len(requests)))
        assert {request.shard.index for request in requests} == {requests[0].shard.index}
        return [b""] * len(requests)

    ask_together(serve(app, shards=2, io_threads=1), 4)
    assert sorted(size for _, size in seen) == sizes
    assert len({shard for shard, _ in seen}) == len(sizes)


# -- clients that go --


@contextlib.contextmanager
def asking(client: Client, count: int) -> Iterator[socket.socket]:
    """A client whose request is with the shard, as the count-th."""
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == count)
        yield s


def leave(client: Client, s: socket.socket, count: int) -> None:
    """End a connection by RST, since a FIN is only a half-close, as the count-th."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
    wait_until(lambda: client.app.stats()["dropped"] == count)


@pytest.mark.parametrize("weight", [{}, {"weight": lambda request: 1, "weight_max": 100}], ids=["plain", "weighed"])
def test_gone_before_the_call_is_left_out(serve: Serve, weight: Any) -> None:
    app = turbo.App()
    app.get("/", batch=3, batch_wait_ms=LONG, **weight)(answer_all)
    client = serve(app)
    shard = client.app.shards[0]
    with asking(client, 1) as first, asking(client, 2) as second:
        leave(client, first, 1)
        assert client.get("/").body == b"2"
        assert second.recv(65536).endswith(b"2")
    assert closed(shard) == {"full": 1}
    assert shard.stats()["dropped"] == 1 and shard.stats()["batch_call_requests"] == 2
    assert shard.inflight == 0


def test_all_gone_before_the_call_there_is_none(serve: Serve) -> None:
    app = turbo.App()
    called: List[int] = []

    @app.get("/", batch=3, batch_wait_ms=LONG)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        called.append(len(requests))
        return answer_all(requests)

    client = serve(app)
    shard = client.app.shards[0]
    with asking(client, 1) as s:
        leave(client, s, 1)
    app.stop()
    assert called == [] and closed(shard) == {} and shard.stats()["dropped"] == 1


def test_gone_during_the_call_the_others_are_answered(serve: Serve, task_name: str, failures: Any) -> None:
    app = turbo.App()
    go: List[asyncio.Event] = []
    seen: List[List[bool]] = []

    @app.get("/", batch=2, batch_wait_ms=LONG)
    async def handler(requests: List[turbo.Request]) -> List[Any]:
        go.append(asyncio.Event())
        await go[0].wait()
        seen.append([request.is_disconnected for request in requests])
        return [b"done"] * 2

    client = serve(app, task=task_name)
    with asking(client, 1) as first, asking(client, 2) as second:
        wait_until(lambda: go)
        leave(client, first, 1)
        client.app.shards[0].loop.call_soon_threadsafe(go[0].set)  # type: ignore[union-attr]
        assert second.recv(65536).endswith(b"done")
    assert seen == [[True, False]] and failures() == []


def test_all_gone_during_the_call_it_is_cancelled_once(serve: Serve, task_name: str, failures: Any) -> None:
    app = turbo.App()
    seen: List[str] = []

    @app.get("/", batch=2, batch_wait_ms=LONG)
    async def handler(requests: List[turbo.Request]) -> List[Any]:
        seen.append("begin")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # a second cancel would end this
            seen.append("cancelled")
            raise
        return answer_all(requests)

    client = serve(app, task=task_name)
    with asking(client, 1) as first, asking(client, 2) as second:
        wait_until(lambda: seen == ["begin"])
        leave(client, first, 1)
        leave(client, second, 2)
    wait_until(lambda: client.app.shards[0].inflight == 0)
    assert seen == ["begin", "cancelled"] and failures() == []


# -- what may be in the list --


def test_every_kind_of_answer(serve: Serve, failures: Any, tmp_path: Path) -> None:
    app = turbo.App()
    (tmp_path / "file").write_bytes(b"in a file")

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> Tuple[Any, ...]:
        return (
            None,
            "text",
            {"a": 1},
            turbo.Response(b"made", 201),
            turbo.FileResponse(tmp_path / "file"),
            turbo.StreamingResponse(iter([b"parts"])),
            turbo.HTTPError(418, "tea\n"),
            ValueError("one"),
            ValueError,
            asyncio.CancelledError(),
        )

    answers = ask_together(serve(app), 10)
    assert [status for status, _ in answers] == [204, 200, 200, 201, 200, 500, 418, 500, 500, 500]
    assert [body for _, body in answers[1:5]] == [b"text", b'{"a":1}', b"made", b"in a file"]
    assert answers[6][1] == b"tea\n", "an HTTPError is an answer"
    kinds = [record.exc_info[0] for record in failures()]
    assert kinds == [TypeError, ValueError, TypeError, asyncio.CancelledError], "neither streams nor classes are"


def test_exceptions_in_the_list_meet_the_apps_handlers(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.exception_handler(KeyError)
    async def missing(request: turbo.Request, error: KeyError) -> Any:
        await asyncio.sleep(0)
        return turbo.Response(f"no {error.args[0]}", 404)

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [KeyError("a"), b"b", KeyError("c")]

    assert ask_together(serve(app), 3) == [(404, b"no a"), (200, b"b"), (404, b"no c")]
    assert failures() == []


@pytest.mark.parametrize("result", [lambda n: iter([b""] * n), lambda n: {i: b"" for i in range(n)}, lambda n: [b""] * (n + 1)])
def test_anything_but_a_list_of_as_many_is_500_for_all(serve: Serve, failures: Any, result: Any) -> None:
    app = turbo.App()

    @app.get("/", batch=True)
    def handler(requests: List[turbo.Request]) -> Any:
        return result(len(requests))

    assert [status for status, _ in ask_together(serve(app), 3)] == [500] * 3
    assert len(failures()) == 1


# -- weights --


def test_batches_are_bounded_by_weight(serve: Serve) -> None:
    app = turbo.App()
    seen: List[bytes] = []

    @app.get("/", batch=100, weight=lambda request: int(request.body), weight_max=10)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        seen.append(b"".join(request.body for request in requests))
        return [request.body for request in requests]

    client = serve(app)
    assert ask_together(client, 8) == [(200, b"%d" % i) for i in range(8)]
    assert seen == [b"01234", b"5", b"6", b"7"], "just as heavy as it may be, then one each"
    assert closed(client.app.shards[0]) == {"weight": 3, "turn": 1}


def test_weight_and_number_and_wait_hold_together(serve: Serve) -> None:
    app = turbo.App()
    app.get("/", batch=3, batch_wait_ms=20, weight=lambda request: 1, weight_max=5)(answer_all)
    client = serve(app)
    assert [body for _, body in ask_together(client, 4)] == [b"3", b"3", b"3", b"1"]
    assert closed(client.app.shards[0]) == {"full": 1, "timer": 1}


class Index:
    """An integer of another library's."""

    def __index__(self) -> int:
        return 7


def test_weights_of_every_size(serve: Serve) -> None:
    app = turbo.App()
    weights: Iterator[Any] = iter([1, 1 << 70, Index(), 2, 1])
    app.get("/", batch=100, weight=lambda request: next(weights), weight_max=10)(answer_all)
    assert [body for _, body in ask_together(serve(app), 5)] == [b"1", b"1", b"3", b"3", b"3"]


def test_handler_gets_the_requests_that_were_weighed(serve: Serve) -> None:
    app = turbo.App()
    rows: "weakref.WeakKeyDictionary[turbo.Request, Any]" = weakref.WeakKeyDictionary()

    def weigh(request: turbo.Request) -> int:
        rows[request] = request.json()
        return 1

    def handler(requests: List[turbo.Request]) -> List[Any]:
        return [[rows[request]] for request in requests]

    app.get("/a", batch=3, weight=weigh, weight_max=2)(handler)
    app.get("/b", batch=3, weight=weigh, weight_max=2)(handler)
    client = serve(app)
    with client.socket() as s:
        s.sendall(b"".join(b"GET /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n%d" % (b"ab"[i % 2 : i % 2 + 1], i) for i in range(9)))
        s.shutdown(1)
        assert [piece[-3:] for piece in read_answer(s).split(b"HTTP/1.1 ")[1:]] == [b"[%d]" % i for i in range(9)]
    client.app.stop()
    wait_until(lambda: len(rows) == 0)


def test_what_a_weight_function_raises_is_for_its_request(serve: Serve, failures: Any) -> None:
    app = turbo.App()
    sizes: List[int] = []

    def weigh(request: turbo.Request) -> Any:
        kind = int(request.body)
        if kind == 1:
            raise turbo.HTTPError(413, "too long\n")
        if kind == 2:
            raise RuntimeError("weighing")
        return {3: -1, 4: "5", 5: 1.5, 6: None}.get(kind, 1)

    @app.get("/", batch=True, weight=weigh, weight_max=10)
    def handler(requests: List[turbo.Request]) -> List[Any]:
        sizes.append(len(requests))
        return [b"good"] * len(requests)

    answers = ask_together(serve(app), 8)
    assert [status for status, _ in answers] == [200, 413, 500, 500, 500, 500, 500, 200]
    assert answers[1][1] == b"too long\n" and answers[7][1] == b"good"
    assert sizes == [2], "the others go on, together"
    assert [str(record.exc_info[1]) for record in failures()] == [
        "weighing",
        "a weight is 0 or more, not -1",
        "a weight is an int, not str",
        "a weight is an int, not float",
        "a weight is an int, not NoneType",
    ]


def test_a_failed_weight_meets_the_apps_handlers(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.exception_handler(ZeroDivisionError)
    async def divided(request: turbo.Request, error: ZeroDivisionError) -> Any:
        await asyncio.sleep(0.01)
        return turbo.Response(b"zero", 400)

    app.get("/", batch=True, weight=lambda request: 9 // int(request.body), weight_max=100)(answer_all)
    assert ask_together(serve(app), 3) == [(400, b"zero"), (200, b"2"), (200, b"2")]
    assert failures() == []


def test_malformed_json_in_a_weight_is_400(serve: Serve, failures: Any) -> None:
    app = turbo.App()
    app.post("/", batch=True, weight=lambda request: len(request.json()), weight_max=10)(answer_all)
    client = serve(app)
    assert client.post("/", b"[1, 2").status == 400
    assert client.post("/", b"[1, 2]").body == b"1"
    assert failures() == []


def test_weighed_requests_that_are_left_out_are_let_go(serve: Serve) -> None:
    app = turbo.App()
    seen: "weakref.WeakSet[turbo.Request]" = weakref.WeakSet()

    def weigh(request: turbo.Request) -> int:
        seen.add(request)
        return 1

    app.get("/", batch=100, batch_wait_ms=LONG, weight=weigh, weight_max=100)(answer_all)
    client = serve(app)
    with asking(client, 1) as s:
        assert len(seen) == 1
        leave(client, s, 1)
    client.app.stop()
    assert len(seen) == 0


@pytest.mark.parametrize(
    "options, kind, reason",
    [
        ({"batch": True, "weight": len}, ValueError, "weight_max need each other"),
        ({"batch": True, "weight_max": 5}, ValueError, "weight_max need each other"),
        ({"weight": len, "weight_max": 5}, ValueError, "for batch handlers only"),
        ({"batch": True, "weight": 5, "weight_max": 5}, TypeError, "no plain function"),
        ({"batch": True, "weight": asyncio.sleep, "weight_max": 5}, TypeError, "no plain function"),
        ({"batch": True, "weight": len, "weight_max": "5"}, TypeError, "is str, expected int"),
        ({"batch": True, "weight": len, "weight_max": True}, TypeError, "is bool, expected int"),
        ({"batch": True, "weight": len, "weight_max": 0}, ValueError, "allowed are 1 to 1099511627776"),
        ({"batch": True, "weight": len, "weight_max": (1 << 40) + 1}, ValueError, "allowed are 1 to 1099511627776"),
    ],
)
def test_options_of_weights(options: Any, kind: type, reason: str) -> None:
    app = turbo.App()
    with pytest.raises(kind, match=reason):
        app.post("/", **options)(answer_all)
