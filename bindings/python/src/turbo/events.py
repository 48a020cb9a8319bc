"""Server-sent events: WHATWG HTML, section 9.2."""

import asyncio
from dataclasses import dataclass
from typing import Any, AsyncIterable, Dict, List, Optional, Union

from . import draining
from ._native import StreamingResponse, json_encode
from ._types import Headers

PING = b": ping\n\n"  # a comment: clients read over it


def _one_line(name: str, text: Optional[str]) -> None:
    if text is None:
        return
    if not isinstance(text, str):
        raise TypeError(f"{name}: {text!r} is {type(text).__name__}, expected str")
    if "\n" in text or "\r" in text:
        raise ValueError(f"{name}: {text!r} has more than one line")


@dataclass(frozen=True)  # what was checked stays
class Event:
    """One event. data is text of any number of lines, or a dict or list, which is sent as JSON, as in other answers.

    event names its type ("message" without one). id is what a client that connects again says in Last-Event-ID. retry is after
    how many milliseconds it does so. They cannot be changed afterwards; dataclasses.replace() makes another event.

    Raises TypeError for an event or id that is no str, ValueError for what would be read as another field.
    """

    data: Union[str, Dict[str, Any], List[Any]] = ""
    event: Optional[str] = None
    id: Optional[str] = None
    retry: Optional[int] = None

    def __post_init__(self) -> None:
        _one_line("event", self.event)
        _one_line("id", self.id)
        if self.id is not None and "\0" in self.id:
            raise ValueError(f"id: {self.id!r} has a NUL, so clients would not keep it")
        if self.retry is not None and (isinstance(self.retry, bool) or not isinstance(self.retry, int) or self.retry < 0):
            raise ValueError(f"retry: {self.retry!r} is not a number of milliseconds")

    def encode(self) -> bytes:
        """The event as it is sent."""
        data = self.data if isinstance(self.data, str) else json_encode(self.data).decode()
        lines = [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        for name, value in (("retry", self.retry), ("id", self.id), ("event", self.event)):
            if value is not None:
                lines.insert(0, f"{name}: {value}")
        return ("\n".join(lines) + "\n\n").encode()


EventLike = Union[Event, str, Dict[str, Any], List[Any]]


def _encode(item: EventLike) -> bytes:
    return (item if isinstance(item, Event) else Event(item)).encode()


class _Parts:
    """The events of content as bytes, and a ping whenever it has none for so many seconds.

    The iterator's next step goes on while pings are sent: it is waited for, never cancelled, until the stream ends. aclose()
    closes the iterator, also one that was not begun: a generator of ours would not hear of its own end then.
    """

    def __init__(self, content: AsyncIterable[EventLike], ping: Optional[float], ends_on_drain: bool) -> None:
        self._iterator = content.__aiter__()
        self._ping = ping
        self._ends_on_drain = ends_on_drain
        self._draining: "Optional[asyncio.Future[None]]" = None
        self._step: Optional["asyncio.Future[EventLike]"] = None

    def __aiter__(self) -> "_Parts":
        return self

    async def __anext__(self) -> bytes:
        if self._step is None and not self._is_over():
            self._step = asyncio.ensure_future(self._iterator.__anext__())
        waits = [future for future in (self._step, self._draining) if future is not None]
        done = (await asyncio.wait(waits, timeout=self._ping, return_when=asyncio.FIRST_COMPLETED))[0]
        if self._step is not None and self._step in done:
            step, self._step = self._step, None
            return _encode(step.result())  # or StopAsyncIteration
        if done:
            raise StopAsyncIteration
        return PING

    def _is_over(self) -> bool:
        """Whether a stop has begun, with which the stream ends."""
        if self._ends_on_drain and self._draining is None:
            self._draining = draining.told()
        return self._draining is not None and self._draining.done()

    async def aclose(self) -> None:
        """At the end, however it comes."""
        if self._draining is not None:
            draining.forget(self._draining)
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait([self._step])
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await aclose()


class EventStream(StreamingResponse):
    """An answer of server-sent events (text/event-stream).

    content is an asynchronous iterable of turbo.Event, str, dict or list. While it has nothing for `ping` seconds a comment
    is sent, so that proxies keep the connection, and a client that has gone is noticed; None sends none. Cache-Control:
    no-store is sent unless headers have one.

    When a stop of the app begins the stream ends behind the event that is there, and content is closed: a browser connects again, to
    the server that takes this one's place. With ends_on_drain=False content has to end by itself (turbo.wait_draining()), or the
    stream is cut off at drain_timeout_ms.
    """

    def __init__(
        self,
        content: AsyncIterable[EventLike],
        *,
        ping: Optional[float] = 15.0,
        headers: Optional[Headers] = None,
        ends_on_drain: bool = True,
    ) -> None:
        if not hasattr(content, "__aiter__"):
            raise TypeError(f"content is an asynchronous iterable of events, not {type(content).__name__}")
        if ping is not None and ping <= 0:
            raise ValueError(f"ping: {ping!r} is not a time in seconds")
        super().__init__(_Parts(content, ping, ends_on_drain), 200, headers, "text/event-stream")
        if not any(_lower(name) == "cache-control" for name, _ in self.headers):
            self.headers.append(("Cache-Control", "no-store"))


def _lower(name: Union[str, bytes]) -> str:
    return (name.decode("latin-1") if isinstance(name, bytes) else name).lower()
