"""Reading request bodies: what request.stream() and request.read() are."""

import asyncio
from typing import List, Optional

from ._native import Request
from .errors import ClientDisconnect

__all__ = ["BodyStream", "read_body"]


class BodyStream:
    """The parts of a body, for `async for`. Leaving it early leaves the rest unread; another one goes on there. What a read()
    had when it was cancelled comes first, as one part."""

    __slots__ = ("_request", "_whole")

    def __init__(self, request: Request, whole: Optional[bytes]) -> None:
        self._request = request
        self._whole = whole

    def __aiter__(self) -> "BodyStream":
        return self

    async def __anext__(self) -> bytes:
        request = self._request
        if self._whole is not None:  # it is one part
            part, self._whole = self._whole, b""
        else:
            part = b"" if request._parts else await next_part(request)
            part, request._parts = b"".join([*(request._parts or ()), part]), None  # no read() may go on behind what we took
        if not part:
            raise StopAsyncIteration
        return part


async def next_part(request: Request) -> bytes:
    """The next part when it comes; b"" at the end."""
    while True:
        try:
            part = request._read()
        except ClientDisconnect:
            request._learn(asyncio.current_task())
            raise
        if part is not None:
            return part
        await request._readable()


async def read_body(request: Request, whole: Optional[bytes]) -> bytes:
    """The whole body, which the request keeps. One that is cancelled leaves what it has to the next read(), or stream()."""
    if whole is not None:
        return whole
    if request._parts is None and not request._body_taken:
        request._parts = []
    parts = request._parts
    while isinstance(parts, list):
        part = await next_part(request)
        if request._parts is not parts:  # a stream() has begun meanwhile, and goes on here: it, and no other read()
            request._parts = (part,)
            break
        if not part:
            body = b"".join(parts)
            request._keep(body)
            request._parts = None
            return body
        parts.append(part)
    raise RuntimeError("parts of the body were taken already: read() would not have them")
