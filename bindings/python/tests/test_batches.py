"""Batch handlers."""

import asyncio
import threading
from typing import Any, List

import pytest
import turbo
from conftest import Client, Serve


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
