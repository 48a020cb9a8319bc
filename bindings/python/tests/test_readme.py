"""README.md's examples run as printed, each after the quickstart."""

import re
import time
from pathlib import Path
from typing import Any, Dict

import turbo
from conftest import Client, Serve, read_answer
from test_streaming import wait_until

README = Path(__file__).resolve().parent.parent / "README.md"
QUICKSTART, WITH_BLOCK, *SECTIONS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(*examples: str) -> Dict[str, Any]:
    """The names that the examples leave behind."""
    names: Dict[str, Any] = {"__name__": "readme", "time": time}
    for example in (QUICKSTART, *examples):
        exec(example, names)
    return names


def section(word: str) -> Dict[str, Any]:
    """The same of the one section whose example has the word."""
    (found,) = [example for example in SECTIONS if word in example]
    return run(found)


def test_quickstart(serve: Serve) -> None:
    client = serve(run(WITH_BLOCK)["app"])
    assert client.get("/").body == b"hello\n"
    assert client.get("/users/7?v").body == b'{"id":"7","verbose":true}'
    assert client.post("/predict", b"abc").body == b'{"length":3}'


def test_answers_in_parts(serve: Serve) -> None:
    client = serve(section("respond(")["app"])
    answer = client.get("/numbers")
    assert answer.headers["x-kind"] == "numbers" and answer.body.split() == [b"%d" % i for i in range(1000)]
    assert client.get("/ticks").body == b"".join(b'id: %d\ndata: {"tick":%d}\n\n' % (i, i) for i in range(3))


def test_pool(serve: Serve) -> None:
    assert serve(section("threads=")["app"]).get("/report").body == b"done\n"


def test_streamed_bodies(serve: Serve) -> None:
    answer = serve(section("request.stream()")["app"]).post("/digest", b"abc")
    assert answer.body.startswith(b'{"bytes":3,"sha256":"ba7816bf')


def test_start_and_stop(serve: Serve) -> None:
    app = section("on_start")["app"]
    assert serve(app).get("/queue").body == b'{"queued":0,"name":"example"}'
    app.stop()
    assert "queue" not in app.shards[0].state


def test_long_polls_end_with_a_stop(serve: Serve) -> None:
    (start,) = [example for example in SECTIONS if "on_start" in example]
    (poll,) = [example for example in SECTIONS if "wait_draining" in example]
    client = serve(run(start, poll)["app"])
    with client.socket() as one:
        one.sendall(b"GET /poll HTTP/1.1\r\nHost: h\r\n\r\n")
        wait_until(lambda: client.app.shards[0].inflight == 1)
        client.app.stop()
        assert read_answer(one).startswith(b"HTTP/1.1 503 ")


def test_exception_handlers(serve: Serve) -> None:
    answer = serve(section("exception_handler")["app"]).get("/members/7")
    assert (answer.status, answer.body) == (404, b'{"no such user":"7"}')


def test_middleware(serve: Serve) -> None:
    app = section("middleware")["app"]
    client = serve(app)
    assert client.get("/?forbidden").status == 403 and client.get("/users/7?v").status == 200
    assert 0 < app.shards[0].state["last"] < 10  # uvloop counts in whole milliseconds: its sleep may end early


def test_background(serve: Serve) -> None:
    names = section("background")
    assert serve(names["app"]).post("/register", b"a@example.org").status == 201
    wait_until(lambda: names["sent"] == ["a@example.org"])


def test_every_example_is_run() -> None:
    assert len(SECTIONS) == 8


def test_every_setting_that_the_readme_names_exists() -> None:
    names = {setting.name for setting in turbo.settings()}
    assert {"shards", "io_threads", "inflight_max", "batch_max"} <= names
