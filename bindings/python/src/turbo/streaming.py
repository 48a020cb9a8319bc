"""Answers in parts: coroutines that the C side starts, and what a handler writes to itself."""

import asyncio
from typing import Any, AsyncIterable, Awaitable, Callable, Iterable, Optional

from ._native import Request, Response
from ._types import Content, Headers, HeaderText, Part, Trailers
from .lifecycle import call

TURN = 64  # parts after which other coroutines get their turn, though the client takes everything


async def _pump_async(request: Request, content: AsyncIterable[Part]) -> None:
    count = 0
    async for part in content:
        while (room := request._write(part)) is not None:
            await room
        count += 1
        if count % TURN == 0:
            await asyncio.sleep(0)


async def _pump_sync(request: Request, content: Iterable[Part]) -> None:
    for count, part in enumerate(content, 1):
        while (room := request._write(part)) is not None:
            await room
        if count % TURN == 0:
            await asyncio.sleep(0)


def _send_trailers(request: Request, trailers: Optional[Trailers]) -> None:
    fields: Any = trailers() if callable(trailers) else trailers
    if fields is None:
        return
    for name, value in fields.items() if hasattr(fields, "items") else fields:
        request._trailer(name, value)


def _closing(content: Content) -> Optional[Callable[[], Any]]:
    """What closes it, if anything does. Generators, and files, are to be closed whatever becomes of their answer."""
    close: Optional[Callable[[], Any]] = getattr(content, "aclose", None) or getattr(content, "close", None)
    return close


def discard(request: Request, content: Content) -> None:
    """Have content closed of which nothing is sent: for HEAD, or as its answer was refused. When the request is answered."""
    close = _closing(content)
    if close is not None:
        request.background(close)


async def pump(request: Request, trailers: Optional[Trailers]) -> None:
    """Send every part; ask for the next one only when the client has taken enough of those before. Then the trailers.

    The content is closed at the end, however it comes: the C side does so when we do not come to begin.
    """
    content = request._take_content()
    if content is None:
        return
    try:
        if isinstance(content, AsyncIterable):
            await _pump_async(request, content)
        else:
            await _pump_sync(request, content)
        _send_trailers(request, trailers)
    finally:
        request._learn(None)
        close = _closing(content)
        if close is not None:
            await call(close)


class ResponseWriter:
    """An answer that its handler writes: what request.respond() returns. For the shard's thread, and until the handler returns."""

    __slots__ = ("_count", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._count = 0

    async def write(self, part: Part) -> None:
        """Send bytes, or str as UTF-8. Waits while unsent_max_bytes (256 KiB) of the answer wait for the client.

        Several coroutines may write: a part is sent whole, and those of one coroutine in order. One that is cancelled while it
        waits has not sent its part, and the others go on.

        Raises ConnectionError when the client has gone, RuntimeError when the answer has ended, ValueError for more than
        a Content-Length among the headers said.
        """
        try:
            while (room := self._request._write(part)) is not None:
                await asyncio.shield(room)  # others may wait for it
        except ConnectionError:
            self._request._learn(asyncio.current_task())
            raise
        self._count += 1
        if self._count % TURN == 0:
            await asyncio.sleep(0)

    def add_trailer(self, name: HeaderText, value: HeaderText) -> None:
        """Add a field behind the body (RFC 9110 6.5), which is sent when the answer is chunked.

        Raises ValueError for a field that is malformed, or may not be a trailer.
        """
        self._request._trailer(name, value)


def respond(
    request: Request, status: int = 200, headers: Optional[Headers] = None, content_type: Optional[str] = None
) -> ResponseWriter:
    """request.respond(): send status and fields, and let the handler write the body."""
    request._begin(Response(None, status, headers, content_type))
    return ResponseWriter(request)


async def await_any(awaitable: Awaitable[Any]) -> Any:
    """Make a coroutine of an awaitable that a handler returned."""
    return await awaitable
