"""A client that goes: its handler is told once, by an exception or by being cancelled, and cleans up in peace."""

import asyncio
import socket
import struct
import threading
from typing import Any, Awaitable, Callable, List

import pytest
import turbo
from conftest import Serve, wait_until

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n"


async def clean_up(seen: List[str]) -> None:
    for _ in range(3):
        await asyncio.sleep(0.02)
    seen.append("clean")


def stay_until_gone(request: turbo.Request) -> None:
    """Nothing else runs on the loop meanwhile: what it is told of the client waits behind this handler."""
    wait_until(lambda: request.is_disconnected)


def run(serve: Serve, task: str, handler: Callable[[turbo.Request, threading.Event, List[str]], Awaitable[Any]]) -> List[str]:
    """Serve one request, whose client goes as soon as the handler says that it has begun. Returns what the handler has seen."""
    app, begun, over = turbo.App(), threading.Event(), threading.Event()
    seen: List[str] = []

    @app.post("/", body="streamed")
    async def route(request: turbo.Request) -> Any:
        try:
            return await handler(request, begun, seen)
        finally:
            over.set()

    with serve(app, shards=1, task=task).socket() as s:
        s.sendall(HEAD)
        assert begun.wait(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert over.wait(10)
    return seen


@pytest.mark.parametrize("how", ["write", "read", "stream"])
@pytest.mark.parametrize("suspends", [False, True])
def test_who_learns_it_from_an_exception_is_not_cancelled_as_well(
    serve: Serve, failures: Any, how: str, suspends: bool, task_name: str
) -> None:
    async def handler(request: turbo.Request, begun: threading.Event, seen: List[str]) -> None:
        if suspends:
            await asyncio.sleep(0)
        response = request.respond() if how == "write" else None
        begun.set()
        stay_until_gone(request)
        try:
            if response is not None:
                await response.write(b"x")
            elif how == "read":
                await request.read()
            else:
                async for _ in request.stream():
                    seen.append("part")
        except ConnectionError:
            seen.append("told")
            raise
        finally:
            await clean_up(seen)

    assert run(serve, task_name, handler) == ["told", "clean"]
    assert failures() == []


def test_who_goes_on_all_the_same_is_cancelled(serve: Serve, failures: Any, task_name: str) -> None:
    async def handler(request: turbo.Request, begun: threading.Event, seen: List[str]) -> None:
        response = request.respond()
        begun.set()
        stay_until_gone(request)
        try:
            while True:
                try:
                    await response.write(b"x")
                except ConnectionError:
                    seen.append("told")
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            for _ in range(3):
                with pytest.raises(ConnectionError):
                    await response.write(b"x")
            await clean_up(seen)

    assert run(serve, task_name, handler) == ["told", "told", "cancelled", "clean"]
    assert failures() == []


def test_what_another_task_has_learned_does_not_count(serve: Serve, failures: Any, task_name: str) -> None:
    async def handler(request: turbo.Request, begun: threading.Event, seen: List[str]) -> None:
        response = request.respond()

        async def write() -> None:
            begun.set()
            stay_until_gone(request)
            try:
                await response.write(b"x")
            except ConnectionError:
                seen.append("told")

        task = asyncio.ensure_future(write())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            await task
            await clean_up(seen)

    assert run(serve, task_name, handler) == ["told", "cancelled", "clean"]
    assert failures() == []
