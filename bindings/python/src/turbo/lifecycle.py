"""What an App was told to call when shards and the process start and stop."""

import inspect
import threading
from typing import Any, Awaitable, Callable, List, Tuple

from .errors import logger

Hook = Callable[..., Any]
Run = Callable[..., None]

PER = ("shard", "process")


async def call(fn: Hook, *args: Any) -> None:
    """Call a function, and await what it returns if that can be awaited."""
    result = fn(*args)
    if inspect.isawaitable(result):
        await result


async def awaited(awaitable: Awaitable[Any]) -> None:
    """A coroutine of any awaitable."""
    await awaitable


class Stage:
    """Functions that one thread calls at its start, in order, and at its end, in reverse.

    Those of the end are called only when all of the start have returned: then what they take down is there. `run` calls
    a function with a loop running, and waits for it.
    """

    def __init__(self, name: str, start: List[Hook], stop: List[Hook], *args: Any) -> None:
        self.begun = threading.Event()  # or has failed
        self._name = name
        self._start, self._stop = list(start), list(stop)
        self._args: Tuple[Any, ...] = args
        self._up = False

    def start(self, run: Run) -> None:
        """Raises what one of them raises."""
        for fn in self._start:
            run(fn, *self._args)
        self._up = True
        self.begun.set()

    def stop(self, run: Run) -> None:
        """What one of them raises is logged."""
        if not self._up:
            return
        for fn in reversed(self._stop):
            try:
                run(fn, *self._args)
            except BaseException:
                logger.error("on_stop failed, for %s: %r", self._name, fn, exc_info=True)

    def is_empty(self) -> bool:
        """Whether it calls nothing."""
        return not self._start and not self._stop


class Lifecycle:
    """The functions by when they are called."""

    def __init__(self) -> None:
        self._start: List[Tuple[str, Hook]] = []
        self._stop: List[Tuple[str, Hook]] = []

    def add_start(self, per: str, fn: Hook) -> None:
        """Called at the start."""
        self._start.append((per, fn))

    def add_stop(self, per: str, fn: Hook) -> None:
        """Called at the end."""
        self._stop.append((per, fn))

    def stage(self, per: str, name: str, *args: Any) -> Stage:
        """Those of a process, or of one shard, to be called with args."""
        start = [fn for each, fn in self._start if each == per]
        stop = [fn for each, fn in self._stop if each == per]
        return Stage(name, start, stop, *args)


def check_hook(fn: Any, per: Any) -> None:
    """ValueError, TypeError for what a decorator cannot take."""
    if per not in PER:
        raise ValueError(f"per: {per!r} is not one of {', '.join(PER)}")
    if not callable(fn):
        raise TypeError(f"not callable: {fn!r}")
