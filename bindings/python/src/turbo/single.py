"""mode="single": the design that libturbo replaces, kept so that both can be measured on the same handlers.

Each shard is a worker: a thread with a queue of its own that takes its requests in order. A coroutine is posted to the
one asyncio loop that all workers share, by loop.call_soon_threadsafe(), and the worker waits for its future: one a request.
Sync handlers run on the worker itself. Everything below, and around, is what mode="sharded" has.

A worker that waits sees nothing else: a client that goes does not cancel the handler, and inflight_max counts one.
"""

import asyncio
import concurrent.futures
import heapq
import inspect
import os
import select
import threading
import time
from collections import deque
from typing import Any, Callable, Coroutine, Deque, Dict, List, Optional, Sequence, Set, Tuple

from .lifecycle import Hook, awaited
from .posting import Post
from .threads import LoopThread, ShardThread

Callback = Callable[..., Any]


class Posted:
    """A coroutine on the shared loop, as its worker sees it: what turbo.Shard uses of a task."""

    def __init__(self, worker: "WorkerLoop", coro: Coroutine[Any, Any, Any]) -> None:
        self._worker = worker
        self._future = asyncio.run_coroutine_threadsafe(coro, worker.shared)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    def cancel(self) -> bool:
        """Cancel the task on the shared loop. Any thread."""
        return self._future.cancel()

    def result(self) -> Any:
        """Wait for the end; return or raise what the coroutine did."""
        try:
            return self._future.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None

    def add_done_callback(self, fn: Callback) -> None:
        """Have the worker call fn(self) when it has ended."""
        self._future.add_done_callback(lambda _: self._worker.call_soon_threadsafe(fn, self))


class RoomFuture(asyncio.Future):  # type: ignore[type-arg]
    """A future of the shared loop that a worker may finish: what a writer of a streamed answer waits for."""

    def set_result(self, result: Any) -> None:
        """Any thread."""
        try:
            self.get_loop().call_soon_threadsafe(self._finish, result)
        except RuntimeError:
            pass  # the loop is closed, and nobody waits any more

    def _finish(self, result: Any) -> None:
        if not self.done():
            super().set_result(result)


class Timer:
    """A call that is due at a time of the worker's loop."""

    def __init__(self, at: float, fn: Callback) -> None:
        self.at = at
        self.fn: Optional[Callback] = fn

    def cancel(self) -> None:
        """It will not be called. The worker's thread."""
        self.fn = None

    def __lt__(self, other: "Timer") -> bool:
        return self.at < other.at


class WorkerLoop:
    """What turbo.Shard and its thread ask of a loop: poll() over descriptors and a pipe, callbacks, timers.

    For one thread, but for call_soon() and call_soon_threadsafe().
    """

    time = staticmethod(time.monotonic)

    def __init__(self, shared: Optional[asyncio.AbstractEventLoop]) -> None:
        assert shared is not None
        self.shared = shared
        self.posted: Optional[Coroutine[Any, Any, Any]] = None  # the last one that it waited for, or waits for
        self._ready: Deque[Tuple[Callback, Tuple[Any, ...]]] = deque()
        self._timers: List[Timer] = []
        self._readers: Dict[int, Tuple[Callback, Tuple[Any, ...]]] = {}
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self.add_reader(self._wake_read, self._drain_pipe)
        self._lock = threading.Lock()
        self._closed = self._stopping = False

    # -- for the shard --

    def run_posted(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run a handler's coroutine on the shared loop and wait for it."""
        self.posted = coro
        return Posted(self, coro).result()

    def run_shared(self, coro: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the shared loop and wait for it; one that the end of a drain does not cancel."""
        Posted(self, coro).result()

    def create_task(self, coro: Coroutine[Any, Any, Any]) -> Posted:
        """Run a coroutine on the shared loop and do not wait: the parts of a streamed answer."""
        return Posted(self, coro)

    def create_future(self) -> RoomFuture:
        """For a coroutine on the shared loop, on its thread."""
        return RoomFuture(loop=self.shared)

    def get_task_factory(self) -> Callback:
        """create_task() is to be used, not a task type of turbo's."""
        return self.create_task

    def call_soon(self, fn: Callback, *args: Any) -> None:
        """Call fn in the next turn. From another thread it does not wake the worker."""
        self._ready.append((fn, args))

    def call_soon_threadsafe(self, fn: Callback, *args: Any) -> None:
        """Call fn, and wake the worker for it. Any thread."""
        self._ready.append((fn, args))
        with self._lock:
            if not self._closed:
                self._write_pipe()

    def call_later(self, delay: float, fn: Callback) -> Timer:
        """Call fn in `delay` seconds."""
        timer = Timer(self.time() + delay, fn)
        heapq.heappush(self._timers, timer)
        return timer

    # -- running --

    def add_reader(self, fd: int, fn: Callback, *args: Any) -> None:
        """Call fn while fd is readable."""
        self._readers[fd] = (fn, args)
        self._poll.register(fd, select.POLLIN)

    def remove_reader(self, fd: int) -> None:
        """Do not any longer."""
        del self._readers[fd]
        self._poll.unregister(fd)

    def run_forever(self) -> None:
        """Until stop(), whose turn is made to its end; once more when it is called again."""
        while True:
            for fd, _ in self._poll.poll(self._timeout_ms()):
                reader = self._readers.get(fd)
                if reader is not None:
                    reader[0](*reader[1])
            self._run_timers()
            for _ in range(len(self._ready)):
                fn, args = self._ready.popleft()
                fn(*args)
            if self._stopping:
                self._stopping = False
                return

    def stop(self) -> None:
        """End run_forever() after this turn. The worker's thread."""
        self._stopping = True

    def close(self) -> None:
        """Close the pipe. The worker's thread, not running."""
        with self._lock:
            self._closed = True
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _timeout_ms(self) -> Optional[float]:
        if self._ready or self._stopping:
            return 0
        if not self._timers:
            return None
        return max(0.0, (self._timers[0].at - self.time()) * 1000)

    def _run_timers(self) -> None:
        while self._timers and (self._timers[0].fn is None or self._timers[0].at <= self.time()):
            fn = heapq.heappop(self._timers).fn
            if fn is not None:
                fn()

    def _write_pipe(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass  # full: the worker will wake

    def _drain_pipe(self) -> None:
        try:
            while len(os.read(self._wake_read, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass


class SharedLoop(LoopThread):
    """The thread of the one loop that runs every coroutine."""

    def cancel_soon(self, delay: float, workers: Sequence[LoopThread]) -> None:
        """Cancel handlers in so many seconds: workers wait for them, and see no end of the drain. Any thread."""
        assert self.loop is not None and self.post is not None
        try:
            self.post.call_soon(self.loop.call_later, delay, self._cancel_posted, workers)
        except RuntimeError:
            pass  # it is closed: nothing is left to cancel

    def _cancel_posted(self, workers: Sequence[LoopThread]) -> None:
        posted = {id(getattr(worker.loop, "posted", None)) for worker in workers}  # None: it has ended
        tasks: Set["asyncio.Task[object]"] = asyncio.all_tasks(self.loop)
        for task in tasks:
            if id(task.get_coro()) in posted:
                task.cancel()


class WorkerThread(ShardThread):
    """A shard's thread that runs no coroutines itself."""

    loop: Any

    def __init__(self, shared: SharedLoop, *args: Any) -> None:
        super().__init__(*args)
        self._shared = shared

    def _make_loop(self) -> Any:
        return WorkerLoop(self._shared.loop)

    def _tasks(self) -> str:
        return "posted"

    def _background_post(self) -> Post:
        assert self._shared.post is not None
        return self._shared.post

    def _run_start(self, fn: Hook, *args: Any) -> None:
        if self._start_ended:
            raise asyncio.CancelledError
        self._run_hook(fn, *args)  # a coroutine of it runs on another loop, and is not cancelled

    def _run_hook(self, fn: Hook, *args: Any) -> None:
        result = fn(*args)
        if inspect.isawaitable(result):
            self.loop.run_shared(awaited(result))

    def _end(self, loop: Any) -> None:
        self._run_hook(self._end_work)
        self._stop_stages()

    async def _end_work(self) -> None:
        assert self._background is not None
        await self._background.end()
