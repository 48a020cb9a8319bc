"""The C API as it is: lib and ffi, with the trampolines of turbo_cffi.callbacks."""

import http.client
import os
import select
import signal
import socket
import threading
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
import turbo_cffi
from conftest import DEADLINE
from turbo_cffi import ffi, lib
from turbo_cffi.callbacks import Kept, once

NULL = ffi.NULL


def text(value: Any) -> Optional[bytes]:
    return None if value.data == NULL else ffi.buffer(value.data, value.len)[:]


def ok(code: int) -> int:
    assert code >= 0, ffi.string(lib.turbo_errname(code))
    return code


class Raw:
    """A server made by lib alone; run inside threads of the library."""

    def __init__(self, *settings: Tuple[bytes, int]) -> None:
        out = ffi.new("turbo_options **")
        ok(lib.turbo_options_new(out))
        for name, value in ((b"shards", 1), (b"io_threads", 1), *settings):
            ok(lib.turbo_options_set_u64(out[0], name, value))
        server = ffi.new("turbo_server **")
        ok(lib.turbo_server_new(server, out[0]))
        lib.turbo_options_free(out[0])
        self.server = server[0]
        self.kept: List[Kept] = []

    def route(self, pattern: bytes, handler: Any, options: Any = NULL) -> Kept:
        self.kept.append(Kept(handler))
        ok(lib.turbo_server_route(self.server, NULL, pattern, options, lib.turbo_py_handler, self.kept[-1].pointer))
        return self.kept[-1]

    def start(self) -> None:
        ok(lib.turbo_server_listen(self.server, b"127.0.0.1:0"))
        ok(lib.turbo_server_start(self.server))

    def get(self, path: str) -> Tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", lib.turbo_server_port(self.server), timeout=DEADLINE)
        connection.request("GET", path, headers={"X-Name": "value"})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self) -> None:
        if lib.turbo_server_stop(self.server, NULL, NULL) == 0:
            ok(lib.turbo_server_wait(self.server))
        lib.turbo_server_release(self.server)


@pytest.fixture
def raw() -> Iterator[Raw]:
    server = Raw()
    yield server
    server.end()


def test_versions_and_errors() -> None:
    assert lib.turbo_version() >= lib.TURBO_VERSION_NUMBER
    assert ffi.string(lib.turbo_version_string()).count(b".") == 2
    assert ffi.string(lib.turbo_errname(lib.TURBO_EAGAIN)) == b"TURBO_EAGAIN"
    assert ffi.string(lib.turbo_strerror(12345)) == b"unknown error"


def test_settings() -> None:
    names = [ffi.string(lib.turbo_setting_name(i)) for i in range(lib.turbo_setting_count())]
    assert lib.turbo_setting_name(len(names)) == NULL
    i = names.index(b"placement")
    assert lib.turbo_setting_type(i) == lib.TURBO_SETTING_ENUM
    assert b"round_robin" in ffi.string(lib.turbo_setting_choices(i)).split(b"|")
    i = names.index(b"head_timeout_ms")
    assert lib.turbo_setting_type(i) == lib.TURBO_SETTING_UINT
    assert ffi.string(lib.turbo_setting_unit(i)) == b"ms"
    assert len(ffi.string(lib.turbo_setting_doc(i))) > 10
    value = ffi.new("uint64_t *")
    assert lib.turbo_setting_range(i, NULL, NULL, value) == 0 and value[0] == 10000
    assert lib.turbo_setting_range(len(names), NULL, NULL, value) == lib.TURBO_ENOENT


def test_options(monkeypatch: pytest.MonkeyPatch) -> None:
    out, value = ffi.new("turbo_options **"), ffi.new("uint64_t *")
    ok(lib.turbo_options_new(out))
    options = out[0]
    assert lib.turbo_options_set(options, b"batch_max", b"0x10") == lib.TURBO_EINVAL
    assert b"batch_max" in ffi.string(lib.turbo_options_error(options))
    monkeypatch.setenv("TURBO_BATCH_MAX", "64")
    ok(lib.turbo_options_load_env(options))
    assert lib.turbo_options_get_u64(options, b"batch_max", value) == 0 and value[0] == 64
    words = [ffi.new("char[]", word) for word in (b"prog", b"--batch-max=65", b"rest")]
    argc, argv = ffi.new("int *", 3), ffi.new("char *[]", [*words, NULL])
    ok(lib.turbo_options_load_args(options, argc, argv))
    assert argc[0] == 2 and ffi.string(argv[1]) == b"rest" and argv[2] == NULL
    assert lib.turbo_options_get_u64(options, b"batch_max", value) == 0 and value[0] == 65
    assert lib.turbo_options_set_u64(options, b"nonsense", 1) == lib.TURBO_ENOENT
    lib.turbo_options_free(options)


def test_accessors_of_a_request(raw: Raw) -> None:
    seen: Dict[str, Any] = {}

    def handler(req: Any) -> None:
        for name in ("method", "target", "path", "query", "host", "body"):
            seen[name] = text(getattr(lib, f"turbo_request_{name}")(req))
        seen["value"] = text(lib.turbo_request_query_value(req, b"b"))
        seen["version"] = lib.turbo_request_version(req)
        seen["route"] = ffi.string(lib.turbo_request_route(req))
        seen["user"] = lib.turbo_request_user(req)
        seen["shard"] = lib.turbo_request_shard(req)
        seen["param"] = text(lib.turbo_request_param(req, b"id"))
        seen["field"] = text(lib.turbo_request_field(req, b"x-name"))
        pair = ffi.new("turbo_str[2]")
        assert lib.turbo_request_param_count(req) == 1
        assert lib.turbo_request_param_at(req, 0, pair, pair + 1) == 0
        seen["param_at"] = text(pair[0]), text(pair[1])
        count = lib.turbo_request_field_count(req)
        assert lib.turbo_request_field_at(req, count, pair, pair + 1) == lib.TURBO_ENOENT
        assert lib.turbo_request_field_at(req, count - 1, pair, pair + 1) == 0
        seen["field_at"] = text(pair[0]), text(pair[1])
        peer = ffi.new("char[64]")
        assert lib.turbo_request_peer(req, peer, 64) == 0
        seen["peer"] = ffi.string(peer)
        assert lib.turbo_request_cancelled(req) == 0
        assert lib.turbo_request_data(req) == NULL
        lib.turbo_request_data_set(req, ffi.cast("void *", 77))
        seen["data"] = turbo_cffi.callbacks.number_of(lib.turbo_request_data(req))
        ok(lib.turbo_request_reply(req, 201, b"text/plain", b"made", 4))

    kept = raw.route(b"/users/{id}", handler)
    raw.start()
    assert raw.get("/users/a%20b?a=1&b=2") == (201, b"made")
    assert seen.pop("peer").startswith(b"127.0.0.1:")
    assert seen.pop("host").startswith(b"127.0.0.1:")
    assert seen == {
        "method": b"GET",
        "target": b"/users/a%20b?a=1&b=2",
        "path": b"/users/a%20b",
        "query": b"a=1&b=2",
        "body": None,
        "value": b"2",
        "version": 11,
        "route": b"/users/{id}",
        "user": kept.pointer,
        "shard": lib.turbo_server_shard(raw.server, 0),
        "param": b"a b",
        "param_at": (b"id", b"a b"),
        "field": b"value",
        "field_at": (b"X-Name", b"value"),
        "data": 77,
    }


def test_kinds_of_bodies(raw: Raw) -> None:
    """copy, static, ref and lend, each larger than what is copied into the connection's buffer."""
    data = ffi.new("char[]", b"x" * 9999)
    given_back = threading.Event()
    released = threading.Event()

    def answer(req: Any) -> None:
        out = ffi.new("turbo_response **")
        ok(lib.turbo_response_new(out, 200))
        kind = text(lib.turbo_request_param(req, b"kind"))
        if kind == b"copy":
            ok(lib.turbo_response_body_copy(out[0], data, 9999))
        elif kind == b"static":
            ok(lib.turbo_response_body_static(out[0], data, 9999))
        elif kind == b"ref":
            free = once(given_back.set)
            ok(lib.turbo_response_body_ref(out[0], data, 9999, lib.turbo_py_free, free.pointer))
        else:
            ok(lib.turbo_response_body_lend(out[0], data, 9999))
        ok(lib.turbo_response_field_add(out[0], b"X-Kind", 6, kind, len(kind)))
        assert text(lib.turbo_response_field(out[0], b"x-kind")) == kind
        assert lib.turbo_response_status(out[0]) == 200
        assert lib.turbo_response_body(out[0]).len == 9999
        ok(lib.turbo_request_respond(req, out[0]))

    class Table:
        def batch(self, shard: Any, reqs: Any, n: int) -> None:
            lib.turbo_shard_run(shard, reqs, n)

        def events(self, shard: Any, req: Any, events: int) -> None:
            if events & lib.TURBO_EVENT_RELEASE:
                released.set()

    table = Kept(Table())
    ops = turbo_cffi.new_struct("turbo_executor_ops")
    ops.batch, ops.events = lib.turbo_py_executor_batch, lib.turbo_py_executor_events
    ok(lib.turbo_server_set_executor(raw.server, ops, table.pointer))
    raw.route(b"/{kind}", answer)
    raw.start()
    for kind in ("copy", "static", "ref", "lend"):
        assert raw.get(f"/{kind}") == (200, b"x" * 9999)
    assert given_back.wait(DEADLINE)
    assert released.wait(DEADLINE)


def test_response_that_is_not_sent_gives_its_body_back() -> None:
    given_back: List[bool] = []
    out = ffi.new("turbo_response **")
    ok(lib.turbo_response_new(out, 200))
    free = once(lambda: given_back.append(True))
    ok(lib.turbo_response_body_ref(out[0], ffi.from_buffer(b"abc"), 3, lib.turbo_py_free, free.pointer))
    assert not given_back
    lib.turbo_response_free(out[0])
    assert given_back == [True]
    assert lib.turbo_response_new(out, 99) == lib.TURBO_EINVAL


def test_route_options_and_placement(raw: Raw) -> None:
    out = ffi.new("turbo_route_options **")
    ok(lib.turbo_route_options_new(out))
    options = out[0]
    ok(lib.turbo_route_options_set(options, b"executor", b"inline"))
    assert lib.turbo_route_options_set(options, b"executor", b"nowhere") == lib.TURBO_EINVAL
    assert b"nowhere" in ffi.string(lib.turbo_route_options_error(options))
    ok(lib.turbo_route_options_set_u64(options, b"body_max_bytes", 10))
    shards: List[Any] = []
    handler = lambda req: shards.append(lib.turbo_request_shard(req)) or ok(  # noqa: E731
        lib.turbo_request_reply(req, 204, NULL, NULL, 0)
    )
    raw.route(b"/inline", handler, options)
    lib.turbo_route_options_free(options)
    ok(lib.turbo_route_options_new(out))
    placed: List[int] = []
    place = Kept(lambda req, shards: placed.append(shards) or 7)
    ok(lib.turbo_route_options_set_placement(out[0], lib.turbo_py_placement, place.pointer))
    raw.route(b"/placed", handler, out[0])
    lib.turbo_route_options_free(out[0])
    raw.start()
    assert raw.get("/inline")[0] == 204
    assert raw.get("/placed")[0] == 204
    assert shards == [NULL, lib.turbo_server_shard(raw.server, 0)]
    assert placed == [1]


def test_shard_posts_timers_and_data(raw: Raw) -> None:
    said: List[Any] = []
    over = threading.Event()

    def late(shard: Any, status: int) -> None:
        said.append(("timer", status, turbo_cffi.callbacks.number_of(lib.turbo_shard_data(shard))))
        over.set()

    def posted(shard: Any, status: int) -> None:
        said.append(("post", status, lib.turbo_shard_index(shard)))
        lib.turbo_shard_data_set(shard, ffi.cast("void *", 5))
        out = ffi.new("turbo_timer **")
        cancelled = once(lambda shard, status: said.append("must not run"))
        ok(lib.turbo_shard_timer(out, shard, 1, lib.turbo_py_shard, cancelled.pointer))
        lib.turbo_timer_cancel(out[0])
        turbo_cffi.callbacks.forget(cancelled)
        ok(lib.turbo_shard_timer(NULL, shard, 5, lib.turbo_py_shard, once(late).pointer))
        lib.turbo_shard_flush(shard)

    raw.start()
    shard = lib.turbo_server_shard(raw.server, 0)
    ok(lib.turbo_shard_post(shard, lib.turbo_py_shard, once(posted).pointer))
    assert over.wait(DEADLINE)
    assert said == [("post", 0, 0), ("timer", 0, 5)]
    assert lib.turbo_shard_queued(shard) == 0 and lib.turbo_shard_inflight(shard) == 0
    assert lib.turbo_shard_fd(shard) == lib.TURBO_ESTATE  # not driven
    assert lib.turbo_server_shard(raw.server, 1) == NULL


def test_request_without_a_connection(raw: Raw) -> None:
    answers: List[Any] = []
    over = threading.Event()

    def done(req: Any, status: int, response: Any) -> None:
        answers.append((status, lib.turbo_response_status(response), text(lib.turbo_response_body(response))))
        over.set()

    def echo(req: Any) -> None:
        body = lib.turbo_request_body(req)
        ok(lib.turbo_request_reply(req, 200, NULL, body.data, body.len))

    raw.route(b"/echo", echo)
    out = ffi.new("turbo_request **")
    end = once(done)

    def new() -> int:
        return int(lib.turbo_request_new(out, raw.server, b"POST", b"/echo", lib.turbo_py_done, end.pointer))

    assert new() == lib.TURBO_ESTATE
    raw.start()
    ok(new())
    ok(lib.turbo_request_body_set(out[0], ffi.from_buffer(b"body"), 4))
    ok(lib.turbo_shard_submit(lib.turbo_server_shard(raw.server, 0), out[0]))
    assert over.wait(DEADLINE)
    assert answers == [(0, 200, b"body")]
    lib.turbo_request_release(out[0])


def test_streaming(raw: Raw) -> None:
    def handler(req: Any) -> None:
        out = ffi.new("turbo_response **")
        ok(lib.turbo_response_new(out, 200))
        ok(lib.turbo_request_on_writable(req, NULL, NULL))
        ok(lib.turbo_request_on_gone(req, NULL, NULL))
        ok(lib.turbo_request_respond_begin(req, out[0]))
        for part in (b"one,", b"two"):
            ok(lib.turbo_request_respond_write(req, part, len(part)))
        ok(lib.turbo_request_respond_trailer(req, b"X-Sum", 5, b"7", 1))
        assert lib.turbo_request_respond_trailer(req, b"Host", 4, b"x", 1) == lib.TURBO_EINVAL
        ok(lib.turbo_request_respond_end(req))
        assert lib.turbo_request_fail(req) == lib.TURBO_ESTATE

    raw.route(b"/stream", handler)
    raw.start()
    assert raw.get("/stream") == (200, b"one,two")


def test_streamed_body(raw: Raw) -> None:
    options = ffi.new("turbo_route_options **")
    ok(lib.turbo_route_options_new(options))
    ok(lib.turbo_route_options_set(options[0], b"body", b"streamed"))
    part = ffi.new("turbo_str *")
    found: List[Any] = []

    def handler(req: Any) -> None:
        ok(lib.turbo_request_on_body(req, NULL, NULL))
        found.append(lib.turbo_request_body_read(req, part))
        ok(lib.turbo_request_reply(req, 200, NULL, b"ok", 2))

    raw.route(b"/", handler, options[0])
    lib.turbo_route_options_free(options[0])
    raw.start()
    assert raw.get("/") == (200, b"ok")
    assert found == [0], "no body is at its end"


def test_executor_with_a_thread_of_its_own(raw: Raw) -> None:
    threads: List[int] = []

    class Table:
        def batch(self, shard: Any, reqs: Any, n: int) -> None:
            for i in range(n):
                req = lib.turbo_request_retain(reqs[i])
                threading.Thread(target=self.work, args=(req,)).start()

        def work(self, req: Any) -> None:
            lib.turbo_request_run(req)
            lib.turbo_request_release(req)

    def handler(req: Any) -> None:
        threads.append(threading.get_ident())
        ok(lib.turbo_request_reply(req, 200, NULL, b"ok", 2))

    table = Kept(Table())
    ops = turbo_cffi.new_struct("turbo_executor_ops")
    assert lib.turbo_server_set_executor(raw.server, ops, table.pointer) == lib.TURBO_EINVAL
    assert ffi.string(lib.turbo_server_error(raw.server))
    ops.batch = lib.turbo_py_executor_batch
    ok(lib.turbo_server_set_executor(raw.server, ops, table.pointer))
    raw.route(b"/", handler)
    raw.start()
    assert raw.get("/") == (200, b"ok")
    assert len(threads) == 1


def test_batch_callback(raw: Raw) -> None:
    def batch(shard: Any, reqs: Any, n: int) -> None:
        assert shard == lib.turbo_server_shard(raw.server, 0)
        for i in range(n):
            ok(lib.turbo_request_reply(reqs[i], 200, NULL, b"batch", 5))

    kept = Kept(batch)
    ok(lib.turbo_server_route_batch(raw.server, b"GET", b"/", NULL, lib.turbo_py_batch, kept.pointer))
    raw.start()
    assert raw.get("/") == (200, b"batch")


def test_batch_by_weight(raw: Raw) -> None:
    weighed: List[bytes] = []

    def weigh(out: Any, req: Any) -> Optional[int]:
        weighed.append(text(lib.turbo_request_query(req)))
        if weighed[-1] == b"own":
            return ok(lib.turbo_request_reply(req, 413, NULL, NULL, 0))
        out[0] = int(weighed[-1])
        return 1

    def batch(shard: Any, reqs: Any, n: int) -> None:
        ok(lib.turbo_request_reply(reqs[0], 200, NULL, b"batch", 5))

    kept, weight = Kept(batch), Kept(weigh)
    out = ffi.new("turbo_route_options **")
    ok(lib.turbo_route_options_new(out))
    ok(lib.turbo_route_options_set_u64(out[0], b"batch_weight_max", 10))
    assert lib.turbo_server_route_batch(
        raw.server, b"GET", b"/", out[0], lib.turbo_py_batch, kept.pointer
    ) == lib.TURBO_EINVAL, "a function belongs to it"
    ok(lib.turbo_route_options_set_weight(out[0], lib.turbo_py_weight, weight.pointer))
    ok(lib.turbo_server_route_batch(raw.server, b"GET", b"/", out[0], lib.turbo_py_batch, kept.pointer))
    lib.turbo_route_options_free(out[0])
    raw.start()
    assert raw.get("/?5") == (200, b"batch")
    assert raw.get("/?own")[0] == 413
    assert raw.get("/?many")[0] == 500
    assert weighed == [b"5", b"own", b"many"]
    stats = turbo_cffi.new_struct("turbo_shard_stats")
    ok(lib.turbo_shard_stats_get(lib.turbo_server_shard(raw.server, 0), stats))
    assert (stats.batch_calls, stats.batch_call_requests, stats.closed_turn) == (1, 1, 1)


def test_driven_shard(raw: Raw) -> None:
    class Table:
        def batch(self, shard: Any, reqs: Any, n: int) -> None:
            lib.turbo_shard_run(shard, reqs, n)

    table = Kept(Table())
    ops = turbo_cffi.new_struct("turbo_executor_ops")
    ops.batch, ops.flags = lib.turbo_py_executor_batch, lib.TURBO_EXECUTOR_DRIVEN
    ok(lib.turbo_server_set_executor(raw.server, ops, table.pointer))
    raw.route(b"/", lambda req: ok(lib.turbo_request_reply(req, 200, NULL, b"driven", 6)))
    raw.start()
    assert lib.turbo_server_run(raw.server) == lib.TURBO_ENOTSUP
    shard = lib.turbo_server_shard(raw.server, 0)
    codes: List[int] = []

    def drive() -> None:
        ready = select.poll()
        ready.register(ok(lib.turbo_shard_fd(shard)), select.POLLIN)
        while not codes or codes[-1] >= 0:
            codes.append(lib.turbo_shard_poll(shard))
            if codes[-1] == 0:
                ready.poll(lib.turbo_shard_timeout_ms(shard))

    thread = threading.Thread(target=drive)
    thread.start()
    assert raw.get("/") == (200, b"driven")
    ok(lib.turbo_server_stop(raw.server, NULL, NULL))
    ok(lib.turbo_server_wait(raw.server))
    thread.join(DEADLINE)
    assert codes[-1] == lib.TURBO_ECLOSED


def test_counters_and_their_routes(raw: Raw) -> None:
    ok(lib.turbo_server_route_stats(raw.server, b"/stats", b"/metrics"))
    raw.start()
    assert raw.get("/stats")[1].startswith(b"{")
    assert b"turbo_" in raw.get("/metrics")[1]
    totals, shard = turbo_cffi.new_struct("turbo_stats"), turbo_cffi.new_struct("turbo_shard_stats")
    ok(lib.turbo_server_stats(raw.server, totals))
    ok(lib.turbo_shard_stats_get(lib.turbo_server_shard(raw.server, 0), shard))
    assert totals.taken == 2 and shard.requests == 0
    assert lib.turbo_server_shard_count(raw.server) == 1
    out, size = ffi.new("char **"), ffi.new("size_t *")
    assert lib.turbo_server_stats_text(raw.server, 99, out, size) == lib.TURBO_EINVAL
    ok(lib.turbo_server_stats_text(raw.server, lib.TURBO_STATS_JSON, out, size))
    assert len(ffi.string(out[0])) == size[0]
    lib.turbo_free(out[0])


def test_log_abort_and_stopped(raw: Raw) -> None:
    said: List[Tuple[int, bytes]] = []
    kept = Kept(lambda level, message: said.append((level, ffi.string(message))))
    assert lib.turbo_server_set_log(raw.server, 9, NULL, NULL) == lib.TURBO_EINVAL
    ok(lib.turbo_server_set_log(raw.server, lib.TURBO_LOG_INFO, lib.turbo_py_log, kept.pointer))
    assert lib.turbo_server_abort(raw.server) == lib.TURBO_ESTATE
    raw.start()
    stopped = threading.Event()
    end = once(lambda server: stopped.set())
    ok(lib.turbo_server_stop(raw.server, lib.turbo_py_stopped, end.pointer))
    ok(lib.turbo_server_abort(raw.server))
    assert stopped.wait(DEADLINE)
    assert [level for level, message in said] == [lib.TURBO_LOG_INFO] and b"stopped" in said[0][1]


def test_run_until_a_signal(raw: Raw) -> None:
    """turbo_server_run() takes SIGTERM; the signal is sent by a request, so that the server does run."""
    raw.route(
        b"/", lambda req: ok(lib.turbo_request_reply(req, 204, NULL, NULL, 0)) or os.kill(os.getpid(), signal.SIGTERM)
    )
    ok(lib.turbo_server_listen(raw.server, b"127.0.0.1:0"))
    client = threading.Thread(target=raw.get, args=("/",))
    client.start()  # the socket listens already
    assert lib.turbo_server_run(raw.server) == 0
    client.join(DEADLINE)


def test_listening_on_an_inherited_socket(raw: Raw) -> None:
    raw.route(b"/", lambda req: ok(lib.turbo_request_reply(req, 200, NULL, b"fd", 2)))
    assert lib.turbo_server_listen_fd(raw.server, 0) == lib.TURBO_EINVAL
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ok(lib.turbo_server_listen_fd(raw.server, os.dup(listener.fileno())))
    ok(lib.turbo_server_start(raw.server))
    assert raw.get("/") == (200, b"fd")
