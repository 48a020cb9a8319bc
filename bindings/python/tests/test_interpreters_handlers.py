"""Shards in interpreters of their own: every kind of handler."""

import http.client
import json
import threading
from pathlib import Path
from typing import Any, List

import pytest
from conftest import Client, read_answer
from in_interpreters import HANDLERS, SHARDS, TURN, Run, Start, needs_interpreters, on_both, start, wait_for  # noqa: F401
from test_parallel import here  # noqa: F401

pytestmark = needs_interpreters


@pytest.fixture
def handlers(start: Start) -> Run:
    return start(HANDLERS, placement="round_robin")


def test_sync_handlers_and_globals(handlers: Run) -> None:
    answers = [json.loads(handlers.client().get("/sync").body) for _ in range(6)]
    assert {answer["shard"] for answer in answers} == {0, 1}
    for shard in 0, 1:
        mine = [answer for answer in answers if answer["shard"] == shard]
        assert [answer["count"] for answer in mine] == [1, 2, 3], "module globals are the interpreter's"
        assert [answer["seen"] for answer in mine] == [1, 2, 3], "and so is what the shard owns"
    assert all(shard.state == {} for shard in handlers.app.shards), "the main interpreter has served nothing"


def test_async_handlers(handlers: Run) -> None:
    answers = on_both(handlers, lambda client: client.get("/async/it"))
    assert {answer.body.decode() for answer in answers} == {"it on turbo-shard-0", "it on turbo-shard-1"}
    for answer in on_both(handlers, lambda client: client.get("/context")):
        assert answer.body == b"unset True"


@pytest.mark.parametrize("task", ["turbo", "stock"])
def test_both_kinds_of_task(start: Start, task: str) -> None:
    run = start(
        "@app.get('/')\nasync def it(request):\n await asyncio.sleep(0.001)\n return type(asyncio.current_task()).__module__",
        task=task,
        placement="round_robin",
    )
    for answer in on_both(run, lambda client: client.get("/")):
        assert answer.body == (b"turbo" if task == "turbo" else b"_asyncio")


def pipelined(client: Client, path: str, bodies: List[bytes]) -> bytes:
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s"
    with client.socket() as s:
        for number, body in enumerate(bodies, 1):
            close = b"Connection: close\r\n" if number == len(bodies) else b""
            s.sendall(head % (path.encode(), len(body), close, body))
        return read_answer(s)


def test_batches(handlers: Run) -> None:
    for _ in range(SHARDS):
        whole = pipelined(handlers.client(), "/batch", [b"first-", b"second-", b"third-"])
        assert whole.count(b"HTTP/1.1 200") == 3
        assert 0 < whole.index(b"first-") < whole.index(b"second-") < whole.index(b"third-")


def test_weights(handlers: Run) -> None:
    for _ in range(SHARDS):  # each interpreter weighs by its own function
        whole = pipelined(handlers.client(), "/weighed", [b"12", b"34", b"5"])
        assert whole.count(b"1 True") == 3  # POSTs of a connection share no batch


def test_one_of_a_batch_fails(handlers: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(SHARDS):
        whole = pipelined(handlers.client(), "/batch-sync", [b"good", b"bad", b"fine"])
        assert whole.count(b"HTTP/1.1 200") == 2 and whole.count(b"HTTP/1.1 500") == 1
        assert whole.index(b"good") < whole.index(b"HTTP/1.1 500") < whole.index(b"fine")
    handlers.stop()
    assert capfd.readouterr().err.count("ValueError: one of them") == SHARDS


@pytest.mark.parametrize("path, text", [("/raises", "a handler's"), ("/raises-async", "a coroutine's")])
def test_failures_reach_standard_error(handlers: Run, capfd: pytest.CaptureFixture[str], path: str, text: str) -> None:
    assert [answer.status for answer in on_both(handlers, lambda client: client.get(path))] == [500, 500]
    handlers.stop()
    errors = capfd.readouterr().err
    assert errors.count(f"handler failed: GET {path}") == 2 and errors.count(f"ValueError: {text}") == 2


def test_exceptions_that_are_answers(handlers: Run) -> None:
    texts = {answer.body for answer in on_both(handlers, lambda client: client.get("/mistake"))}
    assert texts == {b"mistake of shard 0: mine", b"mistake of shard 1: mine"}
    for answer in on_both(handlers, lambda client: client.get("/teapot")):
        assert (answer.status, answer.body) == (418, b'{"short":true}')


def test_bodies(handlers: Run) -> None:
    for answer in on_both(handlers, lambda client: client.post("/upload", b"z" * 900_000)):
        assert answer.body == b"900000"
    for answer in on_both(handlers, lambda client: client.post("/json", b'{"numbers": [1, 2, 3]}')):
        assert json.loads(answer.body) == {"sum": 6}
    assert [answer.status for answer in on_both(handlers, lambda client: client.post("/json", b"{"))] == [400, 400]


def test_lent_answers(handlers: Run) -> None:
    for _ in range(5):
        bodies = {answer.body for answer in on_both(handlers, lambda client: client.get("/big"))}
        assert bodies == {b"A" * 3_000_000, b"B" * 3_000_000}
    for answer in on_both(handlers, lambda client: client.get("/big-json")):
        assert json.loads(answer.body)["numbers"][-1] == 99999


def test_a_client_that_goes_while_it_is_sent_a_lent_answer(handlers: Run) -> None:
    for _ in range(6):
        with handlers.client().socket() as s:
            s.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
            assert s.recv(1000)
    assert on_both(handlers, lambda client: client.get("/big"))[0].status == 200


def test_answers_in_parts(handlers: Run) -> None:
    expected = b"".join(b"%d" % (number % 10) * 1000 for number in range(100))
    for answer in on_both(handlers, lambda client: client.get("/parts")):
        assert answer.body == expected
    for answer in on_both(handlers, lambda client: client.get("/written")):
        assert answer.body == b"y" * 3_000_000


def test_pools(handlers: Run) -> None:
    answers = {answer.body.decode() for _ in range(4) for answer in on_both(handlers, lambda client: client.get("/pooled"))}
    assert {answer.split()[0] for answer in answers} == {"0", "1"}
    for answer in answers:
        index, name, daemon = answer.split()
        assert name.startswith(f"turbo-pool-{index}-") and daemon == "False"


def test_background_calls(handlers: Run) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", handlers.app.port, timeout=10)
    connection.request("GET", "/background/k")
    assert connection.getresponse().read() == b"begun"

    def value() -> Any:
        connection.request("GET", "/later/k")  # by this connection: placement "local" keeps its shard
        return json.loads(connection.getresponse().read())["value"]

    wait_for(lambda: value() is not None)
    connection.close()


def test_what_handlers_see_of_the_app(handlers: Run) -> None:
    for answer in on_both(handlers, lambda client: client.get("/app")):
        seen = json.loads(answer.body)
        assert seen["port"] == handlers.app.port and seen["shards"] == SHARDS and seen["main"] == 0
        assert seen["taken"] > 0


def test_counters(handlers: Run) -> None:
    on_both(handlers, lambda client: client.get("/sync"))
    assert handlers.app.stats()["answered"] >= 2
    assert json.loads(handlers.client().get("/stats").body)
    assert [shard.index for shard in handlers.app.shards] == [0, 1]


def test_many_clients_at_once(handlers: Run) -> None:
    wrong: List[Any] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", handlers.app.port, timeout=30)
        paths = ["/sync", f"/async/{number}", "/parts", "/big", "/context", "/mistake", "/pooled"]
        for turn in range(100):
            path = paths[(turn + number) % len(paths)]
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != (418 if path == "/mistake" else 200) or not body:
                wrong.append((path, answer.status))
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_static_files(start: Start, here: Path) -> None:  # noqa: F811
    (here / "files").mkdir()
    (here / "files/a.txt").write_text("a file")
    run = start("app.static('/s', 'files')\napp.get('/')(lambda request: b'x')", **TURN)
    assert run.client().get("/s/a.txt").body == b"a file" and run.client().get("/").body == b"x"


def test_no_noise_about_what_does_not_load(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """uvloop and orjson do not, and asyncio and json are there."""
    run = start("@app.get('/')\nasync def it(request):\n return {'loop': str(request.shard.loop)}", **TURN)
    for answer in on_both(run, lambda client: client.get("/")):
        assert "_UnixSelectorEventLoop" in json.loads(answer.body)["loop"]
    run.stop()
    assert capfd.readouterr().err == ""
