"""That a stop has begun, on the loops that run coroutines: what answers without an end of their own wait for."""

import asyncio
import contextlib
import threading
from typing import Set

from .background import Drain
from .posting import Post


class _Here(threading.local):
    """Of the loop that this thread runs."""

    def __init__(self) -> None:
        self.begun = False
        self.waiting: "Set[asyncio.Future[None]]" = set()

    def begin(self) -> None:
        """Tell all that wait. The thread that runs the loop."""
        self.begun = True
        while self.waiting:
            future = self.waiting.pop()
            if not future.done():
                future.set_result(None)


_here = _Here()


def attach(drain: Drain, post: Post) -> None:
    """Tell those on this thread's loop when the drain begins."""

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            post.call_soon(_here.begin)

    drain.listen(tell)


def told() -> "asyncio.Future[None]":
    """A future of the running loop that is done once a stop has begun; forget() it when nobody waits for it any more."""
    future: "asyncio.Future[None]" = asyncio.get_running_loop().create_future()
    if _here.begun:
        future.set_result(None)
    else:
        _here.waiting.add(future)
    return future


def forget(future: "asyncio.Future[None]") -> None:
    """It need not be told."""
    _here.waiting.discard(future)


async def wait_draining() -> None:
    """Return when a stop of the app has begun: at once, when it has before.

    For coroutines on the app's loops: handlers, the contents of streams, background calls, tasks of theirs. What has no end of its
    own (events, a long poll) waits for this beside its own news and ends, or it is cut off at drain_timeout_ms.
    """
    future = told()
    try:
        await future
    finally:
        forget(future)
