"""What a handler can read from a request."""

import json
import weakref
from typing import Any, Dict, List

import pytest
import turbo
from conftest import Serve, read_answer


def seen(serve: Serve, look: Any, target: str = "/x", method: str = "GET", body: bytes = b"", **headers: str) -> Any:
    """What `look` returns for a request, through repr."""
    found: List[Any] = []
    app = turbo.App()

    @app.route("/x")
    @app.route("/x/{id}")
    @app.route("/deep/{name}/{rest...}")
    def handler(request: turbo.Request) -> None:
        found.append(look(request))

    client = serve(app, shards=1)
    assert client.ask(method, target, body, **headers).status == 204
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PURGE"])
def test_method_is_as_sent(serve: Serve, method: str) -> None:
    assert seen(serve, lambda r: r.method, method=method) == method


def test_path_keeps_escapes_and_leaves_the_query(serve: Serve) -> None:
    assert seen(serve, lambda r: (r.path, r.query_string, r.target), "/x/a%20b?c=%20d") == (
        "/x/a%20b",
        "c=%20d",
        "/x/a%20b?c=%20d",
    )


def test_query_string_is_empty_without_a_query(serve: Serve) -> None:
    assert seen(serve, lambda r: (r.query_string, len(r.query))) == ("", 0)


def test_path_params_are_decoded(serve: Serve) -> None:
    assert seen(serve, lambda r: r.path_params, "/deep/a%2Fb%C3%A9/c/d") == {"name": "a/bé", "rest": "c/d"}


def test_path_params_are_made_once(serve: Serve) -> None:
    assert seen(serve, lambda r: r.path_params is r.path_params, "/x/1")


def test_query_parameters_are_decoded_in_order(serve: Serve) -> None:
    items = seen(serve, lambda r: r.query.items(), "/x?a=1&b=x+y&a=%C3%A9&c&=d&&e=%zz&f=%4")
    assert items == [("a", "1"), ("b", "x y"), ("a", "é"), ("c", ""), ("", "d"), ("e", "%zz"), ("f", "%4")]


def test_query_parameter_longer_than_the_stack_buffer(serve: Serve) -> None:
    assert seen(serve, lambda r: r.query["a"], "/x?a=" + "%41" * 1000) == "A" * 1000


def test_query_names_are_case_sensitive(serve: Serve) -> None:
    assert seen(serve, lambda r: (r.query.get("A"), r.query.get("a", "none")), "/x?A=1") == ("1", "none")


def test_header_names_are_not_case_sensitive(serve: Serve) -> None:
    assert seen(serve, lambda r: (r.headers["x-one"], r.headers.get("X-ONE"), "X-One" in r.headers), X_One="1") == (
        "1",
        "1",
        True,
    )


def test_headers_keep_order_and_repeats(serve: Serve) -> None:
    app = turbo.App()
    found: List[Any] = []

    @app.get("/")
    def handler(request: turbo.Request) -> None:
        fields = request.headers
        found.append((fields.items(), fields.getall("a"), len(fields), list(fields), fields.values(), fields.keys()))

    client = serve(app)
    with client.socket() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nb: \xe9\r\na:  2 \r\nConnection: close\r\n\r\n")
        assert read_answer(s).startswith(b"HTTP/1.1 204")
    names = ["Host", "A", "b", "a", "Connection"]
    values = ["h", "1", "é", "2", "close"]
    assert found == [(list(zip(names, values)), ["1", "2"], 5, names, values, names)]


def test_trailers_are_apart_from_headers(serve: Serve) -> None:
    app = turbo.App()
    found: List[Any] = []

    @app.post("/")
    def handler(request: turbo.Request) -> None:
        fields = request.trailers
        found.append((fields.items(), fields.getall("a"), fields["B"], len(fields), "host" in fields, repr(fields)))
        found.append((request.headers.getall("a"), request.body, request.trailers is fields))

    client = serve(app)
    with client.socket() as s:
        s.sendall(
            b"POST / HTTP/1.1\r\nHost: h\r\nA: 0\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"2\r\nxy\r\n0\r\nA: 1\r\nb: \xe9\r\nHost: evil\r\na:  2 \r\n\r\n"
        )
        assert read_answer(s).startswith(b"HTTP/1.1 204")
    pairs = [("A", "1"), ("b", "é"), ("a", "2")]
    assert found == [(pairs, ["1", "2"], "é", 3, False, f"<turbo.Fields {pairs!r}>"), (["0"], b"xy", True)]


def test_a_request_without_trailers_has_none(serve: Serve) -> None:
    look = seen(serve, lambda r: (r.trailers.items(), len(r.trailers), r.trailers.get("host"), list(r.trailers)))
    assert look == ([], 0, None, [])


def test_trailers_outlive_the_request(serve: Serve) -> None:
    app = turbo.App()
    kept: List[Any] = []

    @app.post("/")
    def handler(request: turbo.Request) -> None:
        kept.append(request.trailers)

    client = serve(app)
    with client.socket() as s:
        s.sendall(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\nA: 1\r\n\r\n"
        )
        read_answer(s)
    assert kept[0]["a"] == "1"
    with pytest.raises(KeyError, match="host"):
        kept[0]["host"]


def test_a_missing_header_is_a_key_error(serve: Serve) -> None:
    def look(request: turbo.Request) -> Any:
        with pytest.raises(KeyError, match="nothing"):
            request.headers["nothing"]
        return request.headers.get("nothing"), request.headers.getall("nothing"), "nothing" in request.headers

    assert seen(serve, look) == (None, [], False)


def test_fields_check_their_arguments(serve: Serve) -> None:
    def look(request: turbo.Request) -> Any:
        for bad in (lambda: request.headers.get(1), lambda: request.headers.get(), lambda: request.query[b"a"]):
            with pytest.raises(TypeError):
                bad()
        return 1 in request.headers

    assert seen(serve, look) is False


def test_fields_outlive_the_request(serve: Serve) -> None:
    fields = seen(serve, lambda r: (r.headers, r.query), "/x?a=1", X_One="1")
    assert (fields[0]["x-one"], fields[1]["a"]) == ("1", "1")
    assert "('a', '1')" in repr(fields[1])


def test_the_request_outlives_its_answer(serve: Serve) -> None:
    request = seen(serve, lambda r: r, "/x/7?a=1", "POST", b"body")
    assert (request.method, request.path_params, request.body, request.query["a"]) == ("POST", {"id": "7"}, b"body", "1")


def test_body_forms(serve: Serve) -> None:
    body = "é".encode()
    assert seen(serve, lambda r: (r.body, r.text, bytes(memoryview(r)), r.body is r.body), "/x", "POST", body) == (
        body,
        "é",
        body,
        True,
    )


def test_an_empty_body(serve: Serve) -> None:
    assert seen(serve, lambda r: (r.body, r.text, bytes(memoryview(r)))) == (b"", "", b"")


def test_a_view_of_the_body_is_read_only_and_keeps_it(serve: Serve) -> None:
    view = seen(serve, memoryview, "/x", "POST", b"kept")
    assert view.readonly and bytes(view) == b"kept"


def test_json(serve: Serve) -> None:
    assert seen(serve, lambda r: r.json(), "/x", "POST", b'{"a": [1, "\xc3\xa9"]}') == {"a": [1, "é"]}


def test_malformed_json_is_answered_400_and_not_logged(serve: Serve, failures: Any) -> None:
    app = turbo.App()

    @app.post("/")
    def handler(request: turbo.Request) -> Any:
        return request.json()

    answer = serve(app).post("/", b"{")
    assert answer.status == 400 and answer.body.startswith(b"malformed JSON")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert failures() == []


def test_json_error_has_its_cause(serve: Serve) -> None:
    def look(request: turbo.Request) -> Any:
        with pytest.raises(turbo.HTTPError) as caught:
            request.json()
        return caught.value.status, isinstance(caught.value.__cause__, ValueError)

    assert seen(serve, look, "/x", "POST", b"[") == (400, True)


def test_circumstances(serve: Serve) -> None:
    found = seen(
        serve, lambda r: (r.version, r.route, r.client[0], r.peer == "%s:%d" % r.client, r.cancelled, r.shard.index)
    )
    assert found == ("1.1", "/x", "127.0.0.1", True, False, 0)


@pytest.mark.parametrize(
    ("head", "host"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test:80\r\n", "'a.test:80'"),
        (b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n", "'b.test'"),
        (b"GET / HTTP/1.0\r\n", "None"),
    ],
)
def test_host_is_that_of_the_target_else_of_the_field(serve: Serve, head: bytes, host: str) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> str:
        return repr(request.host)

    with serve(app).socket() as s:
        s.sendall(head + b"Connection: close\r\n\r\n")
        assert read_answer(s).endswith(b"\r\n\r\n" + host.encode())


def test_version_10(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> str:
        return request.version

    with serve(app).socket() as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_answer(s).endswith(b"\r\n\r\n1.0")


def test_no_client_over_a_unix_socket(serve: Serve, tmp_path: Any) -> None:
    import socket

    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> Dict[str, Any]:
        return {"client": request.client, "peer": request.peer}

    path = str(tmp_path / "s")
    serve(app, unix=path)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = read_answer(s)
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"client": None, "peer": "unix:"}


def test_repr(serve: Serve) -> None:
    assert seen(serve, repr, "/x?a") == "<turbo.Request GET /x?a>"


def test_requests_can_be_referenced_weakly_and_are_freed(serve: Serve) -> None:
    reference = seen(serve, weakref.ref)
    for _ in range(100):  # the shard drops its reference just behind the answer
        if reference() is None:
            break
        import time

        time.sleep(0.01)
    assert reference() is None


@pytest.mark.parametrize("name", ["Request", "Fields", "Shard", "Task"])
def test_types_that_only_the_server_makes(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(turbo, name)()
