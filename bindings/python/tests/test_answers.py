"""What a handler may return, and what is sent then."""

import array
from typing import Any, Callable

import pytest
import turbo
from conftest import Client, Serve, read_answer

BIG = 200_000  # well above what is copied


@pytest.fixture
def answering(serve: Serve) -> Callable[..., Client]:
    """answering(make) serves "/" (sync) and "/async" with what make() returns."""

    def start(make: Callable[[], Any], **options: Any) -> Client:
        app = turbo.App()

        @app.route("/", **options)
        def handler(request: turbo.Request) -> Any:
            return make()

        @app.route("/async", **options)
        async def coroutine(request: turbo.Request) -> Any:
            return make()

        return serve(app)

    return start


CASES = [
    (lambda: b"x", 200, "application/octet-stream", b"x"),
    (lambda: b"", 200, "application/octet-stream", b""),
    (lambda: bytearray(b"xy"), 200, "application/octet-stream", b"xy"),
    (lambda: memoryview(b"xyz")[::2], 200, "application/octet-stream", b"xz"),
    (lambda: array.array("b", [97, 98]), 200, "application/octet-stream", b"ab"),
    (lambda: "é", 200, "text/plain; charset=utf-8", "é".encode()),
    (lambda: {"ok": True}, 200, "application/json", b'{"ok":true}'),
    (lambda: [1, "a", None], 200, "application/json", b'[1,"a",null]'),
    (lambda: None, 204, None, b""),
    (lambda: turbo.Response(), 200, None, b""),
    (lambda: turbo.Response(b"x", 201), 201, "application/octet-stream", b"x"),
    (lambda: turbo.Response({"a": 1}, content_type="application/x+json"), 200, "application/x+json", b'{"a":1}'),
    (lambda: turbo.Response("x", headers={"Content-Type": "text/html"}), 200, "text/html", b"x"),
    (lambda: turbo.Response("x", headers={"X-A": "1"}), 200, "text/plain; charset=utf-8", b"x"),
    (lambda: turbo.Response(status=304), 304, None, b""),
    (lambda: turbo.Response(b"x" * BIG, 203, {"X-A": "1"}), 203, "application/octet-stream", b"x" * BIG),
    (lambda: b"x" * BIG, 200, "application/octet-stream", b"x" * BIG),
    (lambda: bytearray(BIG), 200, "application/octet-stream", bytes(BIG)),
    (lambda: "é" * BIG, 200, "text/plain; charset=utf-8", ("é" * BIG).encode()),
    (lambda: ["x" * BIG], 200, "application/json", b'["' + b"x" * BIG + b'"]'),
    (lambda: b"x" * (16384 - 1), 200, "application/octet-stream", b"x" * (16384 - 1)),
    (lambda: b"x" * 16384, 200, "application/octet-stream", b"x" * 16384),
    (lambda: ["x" * 16380], 200, "application/json", b'["' + b"x" * 16380 + b'"]'),
]


@pytest.mark.parametrize("path", ["/", "/async"])
@pytest.mark.parametrize("make, status, content_type, body", CASES)
def test_results(answering: Any, path: str, make: Any, status: int, content_type: str, body: bytes) -> None:
    answer = answering(make).get(path)
    assert (answer.status, answer.headers.get("content-type"), answer.body) == (status, content_type, body)


@pytest.mark.parametrize("make", [lambda: b"x", lambda: "x", lambda: b"x" * BIG])
def test_route_content_type_is_for_bytes_and_text(answering: Any, make: Any) -> None:
    assert answering(make, content_type="text/css").get("/").headers["content-type"] == "text/css"


def test_route_content_type_is_not_for_json(answering: Any) -> None:
    assert answering(lambda: {}, content_type="text/css").get("/").headers["content-type"] == "application/json"


@pytest.mark.parametrize("make", [lambda: b"xyz", lambda: b"x" * BIG, lambda: turbo.Response(b"x" * BIG, 200, {"a": "b"})])
def test_head_sends_the_length_and_no_body(answering: Any, make: Any) -> None:
    client = answering(make)
    length = client.get("/").headers["content-length"]
    with client.socket() as s:
        s.sendall(b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        head = read_answer(s)
    assert head.endswith(b"\r\n\r\n") and b"Content-Length: " + length.encode() in head


def test_headers_in_order_with_repeats(answering: Any) -> None:
    pairs = [("X-A", "1"), (b"x-b", b"\xff"), ("X-A", "é")]
    client = answering(lambda: turbo.Response(b"", headers=pairs))
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        head = read_answer(s)
    assert b"X-A: 1\r\nx-b: \xff\r\nX-A: \xe9\r\n" in head


def test_upgrade_is_named_in_connection(answering: Any) -> None:
    client = answering(lambda: turbo.Response(b"", 426, {"Upgrade": "HTTP/2.0"}))
    answer = client.get("/")
    assert (answer.status, answer.headers["upgrade"], answer.headers["connection"]) == (426, "HTTP/2.0", "upgrade")
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b"\r\nConnection: close, upgrade\r\n" in read_answer(s)


BAD_RESULTS = [
    (lambda: 1, "not int"),
    (lambda: ("a", 201), "not tuple"),
    (lambda: object(), "not object"),
    (lambda: turbo.Response(1), "not int"),
    (lambda: "\ud800", "surrogates"),
    (lambda: {"a": object()}, ""),
    (lambda: turbo.Response(b"", headers={"a b": "c"}), "malformed"),
    (lambda: turbo.Response(b"", headers={"a": "b\r\nc: d"}), "malformed"),
    (lambda: turbo.Response(b"", headers={"Transfer-Encoding": "chunked"}), "library's"),
    (lambda: turbo.Response(b"", headers={"a": 1}), "str or bytes"),
    (lambda: turbo.Response(b"", headers=["abc"]), "pair"),
    (lambda: turbo.Response(b"", headers=[1]), "pair"),
    (lambda: turbo.Response(b"", headers={"a": "\u20ac"}), "latin-1"),
    (lambda: turbo.Response(b"x" * BIG, headers={"a b": "c"}), "malformed"),
    (lambda: turbo.Response(b"", content_type="a\nb"), ""),
    (lambda: turbo.Response(b"", headers={"content-type": "a/b"}, content_type="c/d"), "is given too"),
    (lambda: turbo.Response(b"", content_type="a\nb", headers={"a": "b"}), "no field value"),
    (lambda: turbo.Response.__new__(turbo.Response), "__init__"),
]


@pytest.mark.parametrize("path", ["/", "/async"])
@pytest.mark.parametrize("make, reason", BAD_RESULTS)
def test_bad_results_are_500_and_logged(answering: Any, failures: Any, path: str, make: Any, reason: str) -> None:
    client = answering(make)
    answer = client.get(path)
    assert (answer.status, answer.body) == (500, b"Internal Server Error\n")
    assert [reason in str(record.exc_info[1]) for record in failures()] == [True]
    assert client.get("/none").status == 404


class Broken:
    """Not what it promises."""

    def items(self) -> Any:
        raise RuntimeError("no items")


BAD_RESPONSES = [
    (lambda: turbo.Response(status=199), ValueError, "status: 199 is out of range, allowed are 200 to 599"),
    (lambda: turbo.Response(status=600), ValueError, "status"),
    (lambda: turbo.Response(status="200"), TypeError, "int"),
    (lambda: turbo.Response(content_type=1), TypeError, "content_type"),
    (lambda: turbo.Response(headers=1), TypeError, "not iterable"),
    (lambda: turbo.Response(headers=Broken()), RuntimeError, "no items"),
    (lambda: turbo.Response(nobody=1), TypeError, "nobody"),
    (lambda: turbo.StreamingResponse(1), TypeError, "iterable"),
    (lambda: turbo.StreamingResponse(b"abc"), TypeError, "which is bytes: use turbo.Response"),
    (lambda: turbo.StreamingResponse(bytearray(b"abc")), TypeError, "which is bytearray"),
    (lambda: turbo.StreamingResponse(memoryview(b"abc")), TypeError, "which is memoryview"),
    (lambda: turbo.StreamingResponse("abc"), TypeError, "which is str"),
    (lambda: turbo.StreamingResponse(), TypeError, "content"),
]


@pytest.mark.parametrize("make, kind, text", BAD_RESPONSES)
def test_responses_check_their_arguments(make: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        make()


def test_response_attributes() -> None:
    response = turbo.Response("x", 201, {"a": "b"}, "text/css")
    assert (response.body, response.status, response.headers, response.content_type) == (
        "x",
        201,
        [("a", "b")],
        "text/css",
    )
    response.status = 404
    response.headers.append(("c", "d"))
    assert (response.status, repr(response)) == (404, "<turbo.Response 404>")
    with pytest.raises(ValueError):
        response.status = 99
    with pytest.raises(TypeError):
        response.status = "x"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        del response.status


def test_response_subclass(answering: Any) -> None:
    class Html(turbo.Response):
        def __init__(self, body: str) -> None:
            super().__init__(body, content_type="text/html")

    answer = answering(lambda: Html("x")).get("/")
    assert (answer.headers["content-type"], answer.body) == ("text/html", b"x")


def test_deleted_attributes_are_500(answering: Any, failures: Any) -> None:
    def make() -> turbo.Response:
        response = turbo.Response(b"x", headers={"a": "b"})
        del response.headers
        return response

    assert answering(make).get("/").status == 500
    assert "lost an attribute" in str(failures()[0].exc_info[1])


def test_a_lent_bytearray_is_locked_until_it_is_sent(serve: Serve) -> None:
    body = bytearray(8_000_000)
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> bytearray:
        return body

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        s.recv(1000)
        with pytest.raises(BufferError):
            body.append(1)
        assert len(read_answer(s)) > 7_900_000
    client.app.stop()
    body.append(1)


def test_echo_of_the_request_buffer(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/", body_max_bytes=1 << 24)
    def handler(request: turbo.Request) -> Any:
        return memoryview(request)

    client = serve(app)
    for size in (0, 1, 16384, 5_000_000):
        body = bytes(range(256)) * (size // 256 + 1)
        assert client.post("/", body[:size]).body == body[:size]


def test_an_answer_to_a_client_that_leaves_while_a_big_body_is_sent(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> bytes:
        return bytes(30_000_000)

    client = serve(app)
    for _ in range(5):
        with client.socket() as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            s.recv(1000)
    assert len(client.get("/").body) == 30_000_000
    assert failures() == []


def test_pipelined_answers_keep_their_order(serve: Serve) -> None:
    import asyncio

    app = turbo.App()

    @app.get("/{ms}")
    async def handler(request: turbo.Request) -> str:
        ms = request.path_params["ms"]
        await asyncio.sleep(int(ms) / 1000)
        return ms

    with serve(app).socket() as s:
        s.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % ms for ms in (50, 1, 20, 0)))
        s.sendall(b"GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = read_answer(s)
    assert [part.split(b"\r\n\r\n")[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"50", b"1", b"20", b"0", b"3"]


