"""Coroutines that the C side starts: sending an answer part by part, and awaiting what is not a coroutine."""

import asyncio
from typing import Any, AsyncIterable, Awaitable, Iterable

from ._native import Request
from ._types import Content, Part

TURN = 64  # parts after which other coroutines get their turn, though the client takes everything


async def _pump_async(request: Request, content: AsyncIterable[Part]) -> None:
    count = 0
    async for part in content:
        while not request._write(part):
            await request._writable()
        count += 1
        if count % TURN == 0:
            await asyncio.sleep(0)


async def _pump_sync(request: Request, content: Iterable[Part]) -> None:
    for count, part in enumerate(content, 1):
        while not request._write(part):
            await request._writable()
        if count % TURN == 0:
            await asyncio.sleep(0)


async def pump(request: Request, content: Content) -> None:
    """Send every part; ask for the next one only when the client has taken enough of those before.

    Generators are closed at the end, however it comes: they may hold files.
    """
    try:
        if isinstance(content, AsyncIterable):
            await _pump_async(request, content)
        else:
            await _pump_sync(request, content)
    finally:
        aclose = getattr(content, "aclose", None)
        close = getattr(content, "close", None)
        if aclose is not None:
            await aclose()
        elif close is not None:
            close()


async def await_any(awaitable: Awaitable[Any]) -> Any:
    """Make a coroutine of an awaitable that a handler returned."""
    return await awaitable
