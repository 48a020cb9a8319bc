"""request.background(): calls that wait for their request's answer, and then run on the loop."""

import asyncio
import contextvars
import inspect
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ._native import Request
from .errors import logger
from .posting import Post

EARLY = 0.1  # seconds that the library's clock of a drain may be ahead of ours
END_TIMEOUT = 5.0  # seconds that cancelled coroutines get to end

Call = Tuple[Callable[..., Any], Tuple[Any, ...], Dict[str, Any]]


async def wait_for_end(tasks: "Set[asyncio.Future[Any]]", what: str) -> "Set[asyncio.Future[Any]]":
    """Wait for what was cancelled. Returns what has not ended in time, and is not to be waited for again; that is logged."""
    if not tasks:
        return set()
    left = (await asyncio.wait(tasks, timeout=END_TIMEOUT))[1]
    if left:
        logger.warning("%s have not ended %g s after they were cancelled: %d left alone", what, END_TIMEOUT, len(left))
    return left


class Drain:
    """By when what was taken must have ended."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: Optional[float] = None
        self._lock = threading.RLock()  # of writers; a signal's handler may begin in the middle of another call
        self._told = False
        self._listeners: List[Callable[[], None]] = []

    def begin(self) -> None:
        """The stop begins now, unless it has before. Any thread."""
        with self._lock:
            if self._deadline is None:
                self._deadline = time.monotonic() + self._seconds

    def listen(self, fn: Callable[[], None]) -> None:
        """Call fn, on any thread, by tell(); now, if that has been called. Any thread."""
        with self._lock:
            if not self._told:
                self._listeners.append(fn)
                return
        fn()

    def tell(self) -> None:
        """The library knows of the stop, too. Any thread."""
        with self._lock:
            self._told = True
            listeners, self._listeners = self._listeners, []
        for fn in listeners:
            fn()

    def abort(self) -> None:
        """The time is up. Any thread."""
        with self._lock:
            self._deadline = time.monotonic()

    def left(self) -> float:
        """Seconds; 0 when the time is up. Any thread."""
        deadline = self._deadline
        return float("inf") if deadline is None else max(0.0, deadline - time.monotonic())


class Calls:
    """The calls of one request, made one after the other. The C side keeps it until the answer was handed over."""

    def __init__(self, owner: "Background") -> None:
        self._owner = owner
        self._calls: List[Call] = []
        self._begun = False
        self._lock = threading.Lock()  # of the two above, and of when it is owed
        self._context = contextvars.copy_context()  # the handler's, as it is now
        self._name = "?"

    def add(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> None:
        """One more: a function and its arguments. Any thread. RuntimeError: too late."""
        with self._lock:
            if self._begun:
                raise RuntimeError("background(): the request has been answered")
            self._calls.append((args[0], args[1:], kwargs))
            self._owner.owe(self)

    def begin(self, request: Request) -> None:
        """The answer was handed over. Any thread."""
        with self._lock:
            self._begun = True
        self._name = f"{request.method} {request.path}"
        if self._owner.drops(request.cancelled):
            self._owner.forget(self, "their request was given up")
            return
        try:
            self._owner.post.call_soon(self._owner.start, self, context=self._context)
        except RuntimeError:
            self._owner.forget(self, "the loop has ended")

    def __repr__(self) -> str:
        return self._name

    async def run(self) -> None:
        """Each call is its own: one that fails does not keep the others from being made."""
        for fn, args, kwargs in self._calls:
            try:
                result = fn(*args, **kwargs)
                if inspect.isawaitable(result):
                    await result
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException:
                logger.error("background call failed: %s: %r", self._name, fn, exc_info=True)


class Background:
    """All calls of one shard. For the loop's thread, but for calls()."""

    def __init__(self, post: Post, drain: Drain) -> None:
        self.post = post
        self._drain = drain
        self._owed: Set[Calls] = set()  # from the request's first call of background() on
        self._tasks: Set["asyncio.Task[None]"] = set()
        self._idle: Optional["asyncio.Future[None]"] = None

    def calls(self) -> Calls:
        """For a request that wants calls. Any thread; of several that ask at once for one request the first is heard."""
        return Calls(self)

    def owe(self, calls: Calls) -> None:
        """A stop waits for them from now on. Any thread."""
        self._owed.add(calls)

    def drops(self, cancelled: bool) -> bool:
        """Whether a request that ends now was given up by a stop whose time is up. Any thread."""
        left = self._drain.left()
        return left == 0 or (cancelled and left < EARLY)

    def forget(self, calls: Calls, why: str) -> None:
        """The request's calls will not be made. Any thread: end() has a deadline, if it waits for them already."""
        logger.warning("background calls dropped, as %s: %r", why, calls)
        self._owed.discard(calls)

    def start(self, calls: Calls) -> None:
        """Make the calls, in the context that is current."""
        task = self.post.loop.create_task(calls.run())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, calls))

    async def end(self) -> "Set[asyncio.Future[Any]]":
        """Wait until every call has been made, or until the end of the drain: then cancel them. As wait_for_end()."""
        self._drain.begin()
        if self._owed and self._drain.left() > 0:
            self._idle = self.post.loop.create_future()
            await asyncio.wait({self._idle}, timeout=self._drain.left())
        if not self._owed:
            return set()
        logger.warning("background calls of %d requests are cancelled", len(self._owed))
        tasks: "Set[asyncio.Future[Any]]" = set(self._tasks)
        for task in tasks:
            task.cancel()
        return await wait_for_end(tasks, "background calls")

    def abort(self) -> None:
        """Let end() wait no longer."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _ended(self, task: "asyncio.Task[None]", calls: Calls) -> None:
        self._tasks.discard(task)
        self._owed.discard(calls)
        if not self._owed:
            self.abort()
