"""Reading request bodies: what request.stream() and request.read() are."""

from typing import List, Optional

from ._native import Request

__all__ = ["BodyStream", "read_body"]


class BodyStream:
    """The parts of a body, for `async for`. Leaving it early leaves the rest unread; another one goes on there."""

    __slots__ = ("_request", "_whole")

    def __init__(self, request: Request, whole: Optional[bytes]) -> None:
        self._request = request
        self._whole = whole

    def __aiter__(self) -> "BodyStream":
        return self

    async def __anext__(self) -> bytes:
        if self._whole is not None:  # it is one part
            part, self._whole = self._whole, b""
        else:
            part = await next_part(self._request)
        if not part:
            raise StopAsyncIteration
        return part


async def next_part(request: Request) -> bytes:
    """The next part when it comes; b"" at the end."""
    while True:
        part = request._read()
        if part is not None:
            return part
        await request._readable()


async def read_body(request: Request, whole: Optional[bytes]) -> bytes:
    """The whole body, which the request keeps."""
    if whole is not None:
        return whole
    if request._body_taken:
        raise RuntimeError("parts of the body were taken already: read() would not have them")
    parts: List[bytes] = []
    while True:
        part = await next_part(request)
        if not part:
            break
        parts.append(part)
    body = b"".join(parts)
    request._keep(body)
    return body
