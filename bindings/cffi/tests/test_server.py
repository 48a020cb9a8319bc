"""Servers, handlers, batch callbacks and streamed answers by the classes of turbo_cffi."""

import socket
import struct
import threading
from typing import Any, Callable, List, Optional

import pytest
import turbo_cffi
from conftest import DEADLINE, Serve
from turbo_cffi import Request, Response, RouteOptions, Server, Shard, lib

Failures = Callable[[], List[str]]


def test_handler_sees_the_request_and_answers_it(serve: Serve) -> None:
    seen: List[Any] = []

    def handler(request: Request) -> None:
        seen.extend([request.method, request.path, request.query, request.query_value("b"), request.params])
        seen.extend([request.param("id"), request.param("none"), request.field("x-a"), request.route, request.version])
        seen.append([value for name, value in request.fields if name.lower() == b"x-a"])
        seen.extend([request.target, request.cancelled, request.shard, request.peer.startswith("127.0.0.1:")])
        seen.append(request.host == request.field("host") != None)  # noqa: E711
        response = Response(201, [("X-One", "1"), ("x-one", b"2")])
        response.set_body(request.body[::-1])
        assert (response.status, response.field("X-ONE"), response.body) == (201, b"1", b"cba")
        request.respond(response)

    server = Server(shards=1)
    server.route("POST", "/users/{id}/{rest...}", handler)
    answer = serve(server).ask("POST", "/users/%41/x/y?a&b=2", b"abc", X_A="value")
    assert (answer.status, answer.body, answer.field("X-One")) == (201, b"cba", "1")
    assert seen == [
        b"POST", b"/users/%41/x/y", b"a&b=2", b"2", {"id": b"A", "rest": b"x/y"},
        b"A", None, b"value", "/users/{id}/{rest...}", 11,
        [b"value"],
        b"/users/%41/x/y?a&b=2", False, server.shards[0], True, True,
    ]  # fmt: skip


def test_trailers_are_apart_from_fields(serve: Serve) -> None:
    seen: List[Any] = []

    def handler(request: Request) -> None:
        seen.extend([request.trailers, request.trailer("x-sum"), request.trailer("host"), request.field("x-sum")])
        request.reply(200)

    server = Server(shards=1)
    server.route("POST", "/", handler)
    client = serve(server)
    with socket.create_connection(("127.0.0.1", client.port), DEADLINE) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"0\r\nX-Sum: 1\r\nHost: evil\r\nx-sum: \xe9\r\n\r\n")  # fmt: skip
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
    assert client.ask("POST", "/", b"x").status == 200
    assert seen == [[(b"X-Sum", b"1"), (b"x-sum", b"\xe9")], b"1", None, None, [], None, None, None]


def test_bytes_text_and_views_can_be_sent(serve: Serve) -> None:
    views = {"array": bytearray(b"xyz"), "view": memoryview(b"abcd")[1:3]}
    bodies: Any = {"bytes": b"a\0b", "text": "\u00e4", **views, "none": b""}
    server = Server()
    server.route("GET", "/{kind}", lambda request: request.reply(200, bodies[request.param("kind").decode()], "a/b"))
    client = serve(server)
    assert [client.get(f"/{kind}").body for kind in bodies] == [b"a\0b", "\u00e4".encode(), b"xyz", b"bc", b""]
    assert client.get("/text").field("Content-Type") == "a/b"


def test_handler_that_raises_is_a_500_and_is_logged(serve: Serve, failures: Failures) -> None:
    def handler(request: Request) -> None:
        raise {b"key": KeyError("gone"), b"exit": SystemExit(3)}[request.param("kind")]

    server = Server(shards=1)
    server.route("GET", "/{kind}", handler)
    server.route("GET", "/type/error", lambda request: "text")  # type: ignore[arg-type, return-value]
    server.route("GET", "/code/only", lambda request: int(lib.TURBO_EUSER))
    client = serve(server)
    assert client.get("/key").status == 500
    assert client.get("/exit").status == 500
    assert client.get("/type/error").status == 500
    assert client.get("/code/only").status == 500
    assert [text.split(",")[0] for text in failures()[:2]] == ["KeyError('gone')", "SystemExit(3)"]
    assert "handler returned 'text'" in failures()[2] and len(failures()) == 3


def test_handler_that_raises_after_its_answer_changes_nothing(serve: Serve, failures: Failures) -> None:
    def handler(request: Request) -> None:
        request.reply(200, b"fine")
        raise ValueError("late")

    server = Server()
    server.route("GET", "/", handler)
    assert serve(server).get("/").body == b"fine"
    server.stop()
    server.wait()
    assert failures() == ["ValueError('late')"]


def test_second_answer_is_refused(serve: Serve) -> None:
    codes: List[int] = []

    def handler(request: Request) -> None:
        request.reply(200, b"first")
        spare = Response(200)
        for again in (lambda: request.reply(200, b"second"), lambda: request.respond(spare), request.fail):
            with pytest.raises(turbo_cffi.Error) as caught:
                again()
            codes.append(caught.value.code)
        spare.set_body(b"still mine")

    server = Server()
    server.route("GET", "/", handler)
    assert serve(server).get("/").body == b"first"
    server.stop()
    server.wait()
    assert codes == [lib.TURBO_ESTATE] * 3


def test_answer_from_another_thread(serve: Serve) -> None:
    threads: List[threading.Thread] = []

    def handler(request: Request) -> None:
        threads.append(threading.Thread(target=request.reply, args=(200, b"later")))
        threads[-1].start()

    server = Server()
    server.route("GET", "/", handler)
    client = serve(server)
    assert [client.get("/").body for _ in range(20)] == [b"later"] * 20
    for thread in threads:
        thread.join(DEADLINE)


def test_batch_callback_gets_requests_together(serve: Serve) -> None:
    """The shard is held by a first request until all others wait: they must come as one batch."""
    held, go = threading.Event(), threading.Event()
    sizes: List[int] = []

    def batch(shard: Shard, requests: List[Request]) -> None:
        assert shard.index == 0
        sizes.append(len(requests))
        for request in requests:
            request.reply(200, b"%d of %d" % (int(request.body), len(requests)))

    def hold(request: Request) -> None:
        held.set()
        go.wait(DEADLINE)
        request.reply(204)

    server = Server(shards=1)
    server.route("GET", "/hold", hold)
    server.route_batch("POST", "/batch", batch)
    serve(server)
    shard = server.shards[0]
    answers: "dict[int, bytes]" = {}
    over = threading.Event()

    def done(number: int) -> Any:
        def store(request: Request, status: int, response: Any) -> None:
            answers[number] = response.body
            if len(answers) == 10:
                over.set()

        return store

    shard.submit(server.request("GET", "/hold", lambda request, status, response: None))
    assert held.wait(DEADLINE)
    for number in range(10):
        request = server.request("POST", "/batch", done(number))
        request.set_body(b"%d" % number)
        shard.submit(request)
    assert shard.queued == 10
    go.set()
    assert over.wait(DEADLINE)
    assert answers == {number: b"%d of 10" % number for number in range(10)}
    assert sizes == [10]


def test_batches_are_bounded_by_weight(serve: Serve, failures: Failures) -> None:
    """The shard is held by a first request until all others wait."""
    held, go, over = threading.Event(), threading.Event(), threading.Event()
    sizes: List[int] = []
    answers: List[int] = []

    def batch(shard: Shard, requests: List[Request]) -> None:
        sizes.append(len(requests))
        for request in requests:
            request.reply(200)

    def weigh(request: Request) -> Optional[int]:
        if request.body == b"own":
            request.reply(413)
            return None
        return int(request.body)

    def hold(request: Request) -> None:
        held.set()
        go.wait(DEADLINE)
        request.reply(204)

    def done(request: Request, status: int, response: Any) -> None:
        answers.append(response.status)
        if len(answers) == 9:
            over.set()

    server = Server(shards=1)
    server.route("GET", "/hold", hold)
    server.route_batch("POST", "/batch", batch, RouteOptions(weight=weigh, batch_weight_max=10))
    serve(server)
    shard = server.shards[0]
    shard.submit(server.request("GET", "/hold", lambda request, status, response: None))
    assert held.wait(DEADLINE)
    for body in (b"4", b"5", b"2", b"own", b"none", b"-1", b"99", b"1", b"9"):
        request = server.request("POST", "/batch", done)
        request.set_body(body)
        shard.submit(request)
    go.set()
    assert over.wait(DEADLINE)
    assert sizes == [2, 1, 1, 2]
    assert sorted(answers) == [200] * 6 + [413] + [500] * 2
    assert len(failures()) == 2
    stats = shard.stats()
    assert (stats["closed_weight"], stats["batch_calls"], stats["batch_call_requests"]) == (4, 4, 6)


def test_batch_callback_that_raises_answers_the_rest_with_500(serve: Serve, failures: Failures) -> None:
    def batch(shard: Shard, requests: List[Request]) -> None:
        for request in requests:
            if request.query == b"good":
                request.reply(200, b"good")
        raise RuntimeError("half way")

    server = Server(shards=1)
    server.route_batch("GET", "/", batch, RouteOptions(batch_max=8))
    client = serve(server)
    assert client.get("/?good").status == 200
    assert client.get("/?bad").status == 500
    assert failures() == ["RuntimeError('half way')"] * 2


def test_streamed_answer(serve: Serve) -> None:
    def handler(request: Request) -> None:
        request.begin(Response(200, [("Content-Type", "text/plain")], b"first,"))
        assert all(request.write(b"%d," % i) for i in range(3))
        request.add_trailer("X-Count", "3")
        with pytest.raises(turbo_cffi.Error):
            request.add_trailer("Content-Length", "3")
        request.end()
        with pytest.raises(turbo_cffi.Error):
            request.write(b"more")

    server = Server()
    server.route("GET", "/", handler)
    answer = serve(server).get("/")
    assert answer.body == b"first,0,1,2,"
    assert answer.field("Transfer-Encoding") == "chunked"


def test_streamed_answer_waits_for_a_slow_client(serve: Serve) -> None:
    """8 MiB to a client that reads nothing at first: write() must say no, and on_writable() must end the waiting."""
    part, parts = b"x" * 65536, 128
    refused, state = threading.Event(), {"sent": 0, "calls": 0}

    def go_on(request: Request) -> None:
        while state["sent"] < parts:
            if not request.write(part):
                refused.set()
                return
            state["sent"] += 1
        request.end()

    def writable(request: Request) -> None:
        state["calls"] += 1
        go_on(request)

    def handler(request: Request) -> None:
        request.on_writable(writable)
        request.begin(Response(200, [("Connection", "close")]))
        go_on(request)

    server = Server(shards=1)
    server.route("GET", "/", handler)
    client = serve(server)
    with socket.create_connection(("127.0.0.1", client.port), timeout=DEADLINE) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert refused.wait(DEADLINE)
        assert state["sent"] < parts
        size = 0
        while True:
            data = connection.recv(1 << 20)
            if not data:
                break
            size += len(data)
    assert state["sent"] == parts and state["calls"] > 0
    assert size > parts * len(part)
    assert not server.core.watches, "an answered request is watched no more"


def test_gone_client_is_told_of(serve: Serve) -> None:
    taken, gone = threading.Event(), threading.Event()
    kept: List[Request] = []

    def handler(request: Request) -> None:
        kept.append(request)
        request.on_gone(lambda request: gone.set())
        taken.set()

    server = Server(shards=1)
    server.route("GET", "/", handler)
    client = serve(server)
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=DEADLINE)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert taken.wait(DEADLINE)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()  # RST
    assert gone.wait(DEADLINE)
    assert kept[0].cancelled
    kept[0].reply(200)
    assert not server.core.watches


def test_handler_that_takes_too_long_is_told(serve: Serve) -> None:
    told = threading.Event()
    kept: List[Request] = []
    left: List[int] = []

    def handler(request: Request) -> None:
        kept.append(request)
        left.append(request.deadline_ms)
        request.on_gone(lambda request: told.set())

    server = Server(shards=1, handler_timeout_ms=50)
    server.route("GET", "/", handler)
    server.route("GET", "/never", lambda request: request.reply(200, str(request.deadline_ms)),
                 RouteOptions(handler_timeout_ms=0))
    client = serve(server)
    assert client.get("/").status == 504
    assert told.wait(DEADLINE)
    assert 0 < left[0] <= 50
    assert kept[0].timed_out and kept[0].cancelled and kept[0].deadline_ms == 0
    assert server.shards[0].inflight == 1, "its handler is not done"
    assert not server.shards[0].draining
    kept[0].reply(200)  # thrown away
    assert server.shards[0].inflight == 0
    assert client.get("/never").body == b"-1"


def test_each_shard_is_told_that_a_stop_has_begun() -> None:
    told: List[int] = []

    def on_drain(shard: Shard) -> None:
        assert shard.draining
        told.append(shard.index)

    server = Server(shards=2)
    server.route("GET", "/", lambda request: request.reply(200, b"x"))
    server.on_drain(lambda shard: None)
    server.on_drain(None)
    server.on_drain(on_drain)
    server.start()
    with pytest.raises(turbo_cffi.Error) as error:
        server.on_drain(on_drain)
    assert error.value.code == lib.TURBO_ESTATE and not told
    server.stop()
    server.wait()
    assert sorted(told) == [0, 1]
    server.release()


def test_routes_say_what_late_requests_have(serve: Serve) -> None:
    kept: List[Request] = []
    begun = threading.Event()

    def handler(request: Request) -> None:
        kept.append(request)
        begun.set()

    server = Server(shards=1)
    options = RouteOptions(inflight_max=1, queue_timeout_ms=50, shed_status="429", retry_after_s=7)
    server.route("GET", "/", handler, options)
    client = serve(server)
    first = threading.Thread(target=client.get, args=("/",))
    first.start()
    assert begun.wait(DEADLINE)
    answer = client.get("/")
    assert (answer.status, answer.field("Retry-After")) == (429, "7")
    kept[0].reply(200)
    first.join()


def test_inline_route_and_placement_function(serve: Serve, failures: Failures) -> None:
    def place(request: Request, shards: int) -> int:
        return int(request.query_value("shard") or b"")

    server = Server(shards=3)
    server.route("GET", "/inline", lambda r: r.reply(200, str(r.shard)), RouteOptions(executor="inline"))
    server.route("GET", "/placed", lambda r: r.reply(200, str(r.shard.index)), RouteOptions(placement=place))
    client = serve(server)
    assert client.get("/inline").body == b"None"
    assert [client.get(f"/placed?shard={i}").body for i in (0, 1, 2, 4)] == [b"0", b"1", b"2", b"1"]
    assert client.get("/placed").body == b"0", "a placement that raises means shard 0"
    assert len(failures()) == 1


def test_counters(serve: Serve) -> None:
    server = Server(shards=2)
    server.route("GET", "/", lambda request: request.reply(200, b"x"))
    server.route_stats("/stats", "/metrics")
    client = serve(server)
    for _ in range(5):
        client.get("/")
    assert client.get("/stats").body.startswith(b"{")
    assert client.get("/metrics").status == 200
    totals = server.stats()
    assert (totals["taken"], totals["answered"]) == (7, 7)
    assert sum(shard.stats()["requests"] for shard in server.shards) == 5
    assert sum(sum(shard.stats()["batch_sizes"]) for shard in server.shards) == 5
    assert '"taken"' in server.stats_text(lib.TURBO_STATS_JSON)
    assert "turbo_" in server.stats_text(lib.TURBO_STATS_PROMETHEUS)


def test_log_function(serve: Serve) -> None:
    said: List[Any] = []
    server = Server()
    server.set_log(lib.TURBO_LOG_INFO, lambda level, message: said.append((level, message)))
    serve(server)
    server.stop()
    server.wait()
    assert said[0][0] == lib.TURBO_LOG_INFO and said[0][1].startswith("stopped: ")


def test_set_up_errors_say_what_is_wrong() -> None:
    server = Server()
    handler = lambda request: request.reply(200)  # noqa: E731
    server.route("GET", "/a", handler)
    for call, name in (
        (lambda: server.route("GET", "/a", handler), "TURBO_EEXIST"),
        (lambda: server.route("GET", "no-slash", handler), "TURBO_EINVAL"),
        (lambda: server.listen("nonsense"), "TURBO_EADDR"),
        (lambda: server.listen_fd(0), "TURBO_EINVAL"),
        (lambda: server.set_log(99, None), "TURBO_EINVAL"),
        (server.stop, "TURBO_ESTATE"),
        (server.wait, "TURBO_ESTATE"),
        (lambda: server.request("GET", "/a", lambda *_: None), "TURBO_ESTATE"),
    ):
        with pytest.raises(turbo_cffi.Error) as caught:
            call()
        assert caught.value.name == name
        assert str(caught.value).startswith(name + ": ") and len(caught.value.detail) > 5
    with pytest.raises(ValueError, match="NUL"):
        server.route("GET", "/a\0b", handler)


def test_response_errors() -> None:
    with pytest.raises(turbo_cffi.Error, match="status 99"):
        Response(99)
    response = Response(200)
    with pytest.raises(turbo_cffi.Error, match="Transfer-Encoding"):
        response.add("Transfer-Encoding", "chunked")
    with pytest.raises(turbo_cffi.Error, match="X-A"):
        response.add("X-A", "a\r\nB: c")


def test_a_streamed_body_is_read_part_by_part(serve: Serve) -> None:
    """1 MiB to a handler that reads it all; then a client that goes in the middle."""
    sizes: List[int] = []
    calls: List[int] = []
    closed, begun = threading.Event(), threading.Event()

    def go_on(request: Request) -> None:
        calls.append(1)
        try:
            while True:
                part = request.read()
                if part is None:
                    return
                if not part:
                    break
                sizes.append(len(part))
        except turbo_cffi.Error as error:
            assert error.code == lib.TURBO_ECLOSED
            request.fail()  # nobody reads it, but it ends the request: a stop would wait for it
            closed.set()
            return
        request.reply(200, f"{sum(sizes)} {request.body!r} {request.trailers}")

    def handler(request: Request) -> None:
        request.on_body(go_on)
        go_on(request)
        begun.set()

    server = Server(shards=1)
    server.route("POST", "/", handler, RouteOptions(body="streamed", body_window_bytes=1000))
    client = serve(server)
    assert client.ask("POST", "/", b"x" * 1048576).body == b"1048576 b'' []"
    assert len(sizes) > 1 and len(calls) > 1
    assert not server.core.watches, "an answered request is watched no more"
    with socket.create_connection(("127.0.0.1", client.port), DEADLINE) as s:
        begun.clear()
        s.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        assert begun.wait(DEADLINE), "one that goes sooner is dropped before its handler"
    assert closed.wait(DEADLINE)


def test_read_all_gathers_a_body_on_any_route(serve: Serve) -> None:
    bodies: List[Any] = []
    over = threading.Event()

    def done(request: Request, body: Any) -> None:
        bodies.append(body)
        if body is None:
            request.fail()
        else:
            request.reply(200, body[::-1])
        over.set()

    server = Server(shards=1)
    server.route("POST", "/streamed", lambda request: request.read_all(done), RouteOptions(body="streamed"))
    server.route("POST", "/gathered", lambda request: request.read_all(done))
    client = serve(server)
    for path in ("/streamed", "/gathered"):
        assert client.ask("POST", path, b"abc").body == b"cba"
        assert client.ask("POST", path, b"").body == b""
    with socket.create_connection(("127.0.0.1", client.port), DEADLINE) as s:
        s.sendall(b"POST /streamed HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 400")
    assert bodies == [b"abc", b"", b"abc", b"", None]
    assert not server.core.watches
