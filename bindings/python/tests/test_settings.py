"""Settings and route options: the table, the environment, and errors that say what is wrong."""

import asyncio
import os
import socket
import subprocess
import sys
import sysconfig
from typing import Any, List

import pytest
import turbo
from conftest import HAS_UVLOOP, Serve
from turbo import config
from turbo.gil import gil_enabled


def hello() -> turbo.App:
    app = turbo.App()

    @app.get("/")
    def handler(request: turbo.Request) -> bytes:
        return type(request.shard.loop).__module__.encode()

    return app


def test_the_table() -> None:
    table = {setting.name: setting for setting in turbo.settings()}
    batch_max = table["batch_max"]
    assert (batch_max.type, batch_max.unit, batch_max.choices, batch_max.default) == ("int", "requests", (), 128)
    assert batch_max.min <= 1 and batch_max.max >= 128 and batch_max.doc
    placement = table["placement"]
    assert placement.type == "choice" and "route" in placement.choices and placement.default in placement.choices


@pytest.mark.parametrize(
    "settings, kind, words",
    [
        ({"batch_max": 0}, ValueError, ["batch_max", "0", "1", "65536"]),
        ({"batch_max": -1}, ValueError, ["batch_max", "-1", "65536"]),
        ({"batch_max": 2**70}, ValueError, ["batch_max", str(2**70)]),
        ({"batch_max": "many"}, ValueError, ["batch_max", "many"]),
        ({"batch_max": 1.5}, TypeError, ["batch_max", "1.5", "float"]),
        ({"batch_max": True}, TypeError, ["batch_max", "bool"]),
        ({"batch_max": None}, TypeError, ["batch_max", "NoneType"]),
        ({"placement": "best"}, ValueError, ["placement", "best", "round_robin"]),
        ({"nonsense": 1}, TypeError, ["nonsense"]),
        ({"io_threads": 0}, ValueError, ["io_threads", "0", "1 to 256", "Python"]),
        ({"loop": "twisted"}, ValueError, ["loop", "twisted", "auto, uvloop, asyncio"]),
        ({"task": "green"}, ValueError, ["task", "green", "turbo, stock"]),
        ({"port": 65536}, ValueError, ["port", "65536", "65535"]),
        ({"port": -1}, ValueError, ["port", "-1"]),
        ({"port": "80"}, TypeError, ["port", "str"]),
        ({"port": True}, TypeError, ["port", "bool"]),
        ({"switch_interval_us": -1}, ValueError, ["switch_interval_us", "-1", "1000000"]),
        ({"switch_interval_us": 1000001}, ValueError, ["switch_interval_us", "1000001", "1000000"]),
        ({"switch_interval_us": 0.5}, TypeError, ["switch_interval_us", "float"]),
        ({"host": None}, TypeError, ["host", "NoneType"]),
        ({"host": "no.such.host.invalid"}, OSError, ["no.such.host.invalid"]),
        ({"fd": 99999}, ValueError, []),
    ],
)
def test_bad_settings_say_what_is_wrong(settings: Any, kind: Any, words: List[str]) -> None:
    with pytest.raises(kind) as caught:
        hello().start(**{"port": 0, **settings})
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "options, kind, words",
    [
        ({"batch": "x"}, TypeError, ["batch", "str"]),
        ({"batch": 0}, ValueError, ["batch_max", "0", "65536"]),
        ({"batch": 65537}, ValueError, ["batch_max", "65537"]),
        ({"batch_wait_ms": 50}, ValueError, ["batch_wait_ms", "for batch handlers only"]),
        ({"batch": True, "batch_wait_ms": -1}, ValueError, ["batch_wait_ms", "-1", "10000"]),
        ({"batch": True, "batch_wait_ms": "1"}, TypeError, ["batch_wait_ms", "str"]),
        ({"executor": "inline"}, ValueError, ["executor", "inline", "shard"]),
        ({"placement": "best"}, ValueError, ["placement", "best"]),
        ({"spill_percent": 50}, ValueError, ["spill_percent", "50"]),
        ({"nonsense": 1}, TypeError, ["nonsense"]),
        ({"body_max_bytes": 1.0}, TypeError, ["body_max_bytes", "float"]),
        ({"content_type": 1}, TypeError, ["content_type", "int"]),
    ],
)
def test_bad_route_options_say_what_is_wrong(options: Any, kind: Any, words: List[str]) -> None:
    app = turbo.App()
    with pytest.raises(kind) as caught:
        app.get("/", **options)(lambda request: None)
        app.start(port=0)
    assert [word for word in words if word not in str(caught.value)] == []


def test_bad_routes() -> None:
    app = turbo.App()
    with pytest.raises(TypeError, match="not callable"):
        app.get("/")(1)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="methods"):
        app.route("/", "GET")
    with pytest.raises(TypeError, match='with parentheses'):
        app.get(print)  # type: ignore[arg-type]
    for pattern in ("nothing", "/{a}/{a}", "/{"):
        broken = turbo.App()
        broken.get(pattern)(lambda request: None)
        with pytest.raises(ValueError, match="."):
            broken.start(port=0)


def test_errors_of_start_name_the_route(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/typo/{id}", thread=3)
    def handler(request: turbo.Request) -> None: ...

    with pytest.raises(TypeError) as caught:
        app.start(port=0)
    words = ["GET /typo/{id} (", "handler", f"{__file__}:{handler.__code__.co_firstlineno}", '"thread"']
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_path_that_is_no_utf8_names_the_route(serve: Serve) -> None:
    app = turbo.App()
    app.get("/\udc80")(lambda request: None)
    with pytest.raises(ValueError, match="GET /\udc80 .*: .*surrogates"):
        app.start(port=0)


def test_a_route_that_is_registered_twice(serve: Serve) -> None:
    app = hello()
    app.get("/")(lambda request: None)
    with pytest.raises(ValueError, match="GET / "):
        app.start(port=0)


def test_settings_reach_the_library(serve: Serve) -> None:
    app = turbo.App()

    @app.post("/small", body_max_bytes=3)
    @app.post("/usual")
    def handler(request: turbo.Request) -> bytes:
        return request.body

    client = serve(app, body_max_bytes="5", shards=2)
    assert [client.post("/small", b"x" * n).status for n in (3, 4)] == [200, 413]
    assert [client.post("/usual", b"x" * n).status for n in (5, 6)] == [200, 413]
    assert len(client.app.shards) == 2


def test_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBO_SHARDS", "3")
    assert len(serve(hello()).app.shards) == 3
    assert len(serve(hello(), shards=2).app.shards) == 2
    monkeypatch.setenv("TURBO_SHARDS", "none")
    with pytest.raises(ValueError, match="shards"):
        hello().start(port=0)


@pytest.mark.skipif(not gil_enabled(), reason="needs a GIL")
def test_one_shard_by_default_with_a_gil(serve: Serve) -> None:
    assert len(serve(hello()).app.shards) == 1


def test_loops(serve: Serve) -> None:
    assert serve(hello(), loop="asyncio").get("/").body == b"asyncio.unix_events"
    assert serve(hello(), loop=asyncio.SelectorEventLoop).get("/").body == b"asyncio.unix_events"
    if HAS_UVLOOP:
        assert serve(hello(), loop="uvloop").get("/").body.startswith(b"uvloop")
        assert serve(hello()).get("/").body.startswith(b"uvloop")


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert config.loop_factory("auto") is asyncio.SelectorEventLoop
    with pytest.raises(ImportError):
        config.loop_factory("uvloop")
    with pytest.raises(ImportError):
        hello().start(port=0, loop="uvloop")


@pytest.mark.skipif(not HAS_UVLOOP, reason="needs uvloop")
@pytest.mark.parametrize("gil", [True, False])
def test_auto_is_uvloop_with_and_without_a_gil(monkeypatch: pytest.MonkeyPatch, gil: bool) -> None:
    monkeypatch.setattr(config, "gil_enabled", lambda: gil)
    assert config.loop_factory("auto").__module__.startswith("uvloop")


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED") or not HAS_UVLOOP, reason="needs a build without a GIL")
def test_uvloop_leaves_the_gil_off() -> None:
    """Or "auto" would have to be asyncio there: what shards are for is worth more than a faster loop."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}  # which would keep it off anyway
    code = "import sys, uvloop; print(sys._is_gil_enabled())"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, timeout=60).stdout == b"False\n"


def test_a_loop_factory_that_fails_leaves_nothing_behind() -> None:
    import threading

    def factory() -> Any:
        raise RuntimeError("no loop today")

    before = threading.active_count()
    app = hello()
    with pytest.raises(RuntimeError, match="no loop today"):
        app.start(port=0, loop=factory, shards=3)
    assert threading.active_count() == before
    with app.start(port=0):
        assert app.port > 0


def test_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use") as caught:
            hello().start(port=taken.getsockname()[1])
    import errno

    assert caught.value.errno == errno.EADDRINUSE


def test_listening_descriptor(serve: Serve) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    client = serve(hello(), fd=taken.detach())
    client.port = port
    assert client.get("/").status == 200


def test_addresses() -> None:
    assert config.Config("::1", 80).addresses() == ["[::1]:80"]
    assert config.Config("", 80).addresses() == [":80"]
    assert config.Config(unix="/tmp/x").addresses() == ["unix:/tmp/x"]
