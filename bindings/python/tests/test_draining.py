"""What is told that a stop has begun, and ends: the stop has nothing to wait for then."""

import asyncio
from typing import Any, AsyncIterator, List

import pytest
import turbo
from conftest import Serve, read_answer
from in_interpreters import Start, needs_interpreters, start  # noqa: F401
from test_parallel import here  # noqa: F401
from test_streaming import wait_until

MODES = ["sharded", "single"]
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
FOR_EVER = {"drain_timeout_ms": 86_400_000}


def events(ends: List[str], **options: Any) -> turbo.App:
    """An endless stream on /: one event, then nothing, which the end of the generator is noted of."""
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> turbo.EventStream:
        async def content() -> AsyncIterator[str]:
            try:
                yield "first"
                await asyncio.Event().wait()
            finally:
                ends.append("closed")

        return turbo.EventStream(content(), **options)

    return app


def read_first(connection: Any) -> bytes:
    got = b""
    while b"first" not in got:
        got += connection.recv(65536)
    return got


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shards", [1, 2])
def test_event_streams_end_when_a_stop_begins(serve: Serve, mode: str, shards: int) -> None:
    ends: List[str] = []
    client = serve(events(ends), mode=mode, shards=shards, placement="round_robin", **FOR_EVER)
    sockets = [client.socket() for _ in range(shards)]
    got = []
    for s in sockets:
        s.sendall(GET)
        got.append(read_first(s))
    assert ends == []
    client.app.stop()
    for s, answer in zip(sockets, got):
        assert (answer + read_answer(s)).endswith(b"data: first\n\n\r\n0\r\n\r\n"), "whole, and nothing behind it"
        s.close()
    assert ends == ["closed"] * shards
    stats = client.app.stats()
    assert stats["answered"] == shards and stats["abandoned"] == 0


def test_event_streams_may_go_on_in_a_drain(serve: Serve) -> None:
    ends: List[str] = []
    client = serve(events(ends, ends_on_drain=False), drain_timeout_ms=300)
    with client.socket() as s:
        s.sendall(GET)
        got = read_first(s)
        client.app.stop()
        assert not (got + read_answer(s)).endswith(b"0\r\n\r\n"), "cut off at its time"
    assert ends == ["closed"] and client.app.stats()["abandoned"] == 1


def test_busy_event_streams_end_behind_an_event(serve: Serve) -> None:
    app = turbo.App()

    @app.get("/")
    async def handler(request: turbo.Request) -> turbo.EventStream:
        async def content() -> AsyncIterator[str]:
            yield "first"
            while True:
                yield "more"
                await asyncio.sleep(0)

        return turbo.EventStream(content())

    client = serve(app, **FOR_EVER)
    with client.socket() as s:
        s.sendall(GET)
        got = read_first(s)
        client.app.stop(wait=False)
        assert (got + read_answer(s)).endswith(b"data: more\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("mode", MODES)
def test_handlers_and_background_calls_can_wait_for_a_stop(serve: Serve, mode: str, task_name: str) -> None:
    app = turbo.App()
    seen: List[str] = []

    async def behind_the_answer() -> None:
        await turbo.wait_draining()
        seen.append("background")

    @app.get("/")
    async def handler(request: turbo.Request) -> bytes:
        request.background(behind_the_answer)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(turbo.wait_draining(), 0.01)
        seen.append("waits")
        await turbo.wait_draining()
        await turbo.wait_draining()  # at once
        assert request.shard.draining
        return b"bye"

    client = serve(app, mode=mode, shards=1, task=task_name if mode == "sharded" else "turbo", **FOR_EVER)
    with client.socket() as s:
        s.sendall(GET)
        wait_until(lambda: seen == ["waits"])
        client.app.stop()
        assert read_answer(s).endswith(b"bye")
    assert seen == ["waits", "background"]


def test_a_second_start_is_told_of_its_own_stop(serve: Serve) -> None:
    ends: List[str] = []
    app = events(ends)
    for count in (1, 2):
        client = serve(app, **FOR_EVER)
        with client.socket() as s:
            s.sendall(GET)
            got = read_first(s)
            app.stop()
            assert (got + read_answer(s)).endswith(b"0\r\n\r\n")
        assert ends == ["closed"] * count


@needs_interpreters
def test_interpreters_are_told(start: Start) -> None:  # noqa: F811
    run = start(
        "@app.get('/')\n"
        "async def handler(request):\n"
        "    async def content():\n"
        "        yield 'first'\n"
        "        await asyncio.Event().wait()\n"
        "    return turbo.EventStream(content())\n",
        placement="round_robin",
        **FOR_EVER,
    )
    sockets = [run.client().socket() for _ in range(2)]
    got = []
    for s in sockets:
        s.sendall(GET)
        got.append(read_first(s))
    run.stop()
    for s, answer in zip(sockets, got):
        assert (answer + read_answer(s)).endswith(b"0\r\n\r\n")
        s.close()
    assert run.lost == 0
