"""Calls that other threads have for a loop."""

import asyncio
import threading
from typing import Any, Callable


class Post:
    """What other threads have a loop call, until it is closed.

    loop.call_soon_threadsafe() writes to a descriptor that loop.close() closes, in the middle of such a call if it comes so:
    by then the number may be that of a client's connection. So there is no close() while a call is made, and none after it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.RLock()  # a signal's handler may have a call in the middle of another
        self._closed = False

    def call_soon(self, fn: Callable[..., Any], *args: Any, **context: Any) -> None:
        """Have the loop call fn, and wake it for that. Any thread. RuntimeError: it is closed."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the loop has ended")
            self.loop.call_soon_threadsafe(fn, *args, **context)

    def close(self) -> None:
        """Close the loop, which is not running. Its thread."""
        with self._lock:
            self._closed = True
        self.loop.close()
