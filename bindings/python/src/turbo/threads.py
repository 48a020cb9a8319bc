"""Threads with a loop: a shard's, and what all of them have in common."""

import asyncio
import contextlib
import logging
import threading
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from . import draining
from ._native import Server, Shard, main_interpreter
from .background import END_TIMEOUT, Background, Drain, wait_for_end
from .config import Config, loop_factory
from .errors import logger
from .lifecycle import Hook, Stage, call
from .posting import Post
from .slow import debug_loop

LOOK_EVERY = 0.2  # seconds, of a main thread that waits for others, for signals
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


def forward_logs(server: Server) -> None:
    """Hand the library's messages to Python's logging."""
    for level, text in server.take_logs():
        logger.log(_LEVELS[level], "%s", text)


def end_tasks(loop: asyncio.AbstractEventLoop, name: str, left_alone: "Set[asyncio.Future[Any]]") -> None:
    """Cancel what else is left on a loop that has stopped, and wait for it. Its thread; name is for the log."""
    left: "Set[asyncio.Future[Any]]" = {task for task in asyncio.all_tasks(loop) if task not in left_alone}
    for task in left:
        task.cancel()
    loop.run_until_complete(wait_for_end(left, f"tasks of {name}"))
    loop.run_until_complete(loop.shutdown_asyncgens())
    try:
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_default_executor(), END_TIMEOUT))
    except asyncio.TimeoutError:
        logger.warning("%s: threads of the loop's executor have not ended", name)


def wait_for(event: threading.Event) -> None:
    """Wait, and run signals' handlers meanwhile: of two signals that come at once the kernel may give the second one to another
    thread, which wakes nobody who waits for a lock."""
    while not event.wait(LOOK_EVERY):
        pass


def nothing() -> None:
    """What is called where nobody wants to know."""


class LoopThread(threading.Thread):
    """A thread that makes a loop, runs it and cleans up after it.

    A daemon, so that an interpreter that ends is not held up by it; App stops it at exit. Other interpreters than the main one
    have no daemons.
    """

    def __init__(self, name: str, config: Config, stages: List[Stage], drain: Drain) -> None:
        super().__init__(name=name, daemon=bool(main_interpreter))
        self._drain = drain
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.post: Optional[Post] = None  # to the loop, from other threads
        self.error: Optional[BaseException] = None
        self.stages = stages
        self.on_exit = nothing  # called when a callback on the loop has asked for the program's end
        self.stopped = threading.Event()  # nothing of the application's runs here any more, but for what is cancelled
        self._config = config
        self._ready = threading.Event()
        self._may_end = threading.Lock()  # taken once
        self._to_end = False  # it is we who stop the loop; its thread
        self._start_ended = False
        self._starting: Optional["asyncio.Task[Any]"] = None  # a function of on_start
        self._left_alone: "Set[asyncio.Future[Any]]" = set()  # has had its time to end

    def run(self) -> None:
        try:
            self.loop = self._make_loop()
            self.post = Post(self.loop)
            draining.attach(self._drain, self.post)
            self._before_start()
            for stage in self.stages:
                stage.start(self._run_start)
        except BaseException as error:
            self.error = error
        finally:
            for stage in self.stages:
                stage.begun.set()
            self._ready.set()
        if self.loop is not None and self.post is not None:
            self._run_loop(self.loop)
            self.post.close()
        self.stopped.set()
        self._ended()

    def wait_ready(self) -> None:
        """Wait until the loop is there and on_start has returned; or `error` is what its factory, or on_start, raised."""
        wait_for(self._ready)

    def was_cancelled(self) -> bool:
        """Whether `error` is that on_start was cancelled."""
        return isinstance(self.error, asyncio.CancelledError)

    def cancel_start_soon(self) -> None:
        """Cancel on_start: a coroutine at once, and a function by not calling the next one. Any thread."""
        self._start_ended = True
        if self.post is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self.post.call_soon(self._cancel_start)

    def end_soon(self) -> None:
        """End the loop, as soon as it is there. Any thread; a second call, which could end on_stop, does nothing."""
        self._ready.wait()
        if self.loop is not None and self.post is not None and self._may_end.acquire(blocking=False):
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self.post.call_soon(self._stop_loop)

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        loop = loop_factory(self._config.loop)()
        asyncio.set_event_loop(loop)
        if self._config.debug:
            debug_loop(loop, self._config.slow_ms or 0)
        return loop

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._run_to_end(loop)
            self._end(loop)
        except BaseException:
            logger.critical("the loop of %s has failed", self.name, exc_info=True)
        finally:
            self._before_close()
            asyncio.set_event_loop(None)

    def _run_to_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until somebody stops the loop, and its shard has ended.

        SystemExit and KeyboardInterrupt of a callback or a task come out of run_forever(): a program that one thread ran
        would end with them; so it would with a handler that calls loop.stop(). So the app stops, in order, for which its
        loops have to go on.
        """
        while True:
            try:
                loop.run_forever()
                if self._to_end:
                    return
                logger.critical("loop.stop() on %s: stopping", self.name)
                self.on_exit()
            except (SystemExit, KeyboardInterrupt) as error:
                logger.critical("%s on %s: stopping", type(error).__name__, self.name, exc_info=True)
                self.on_exit()

    def _stop_loop(self) -> None:
        assert self.loop is not None
        self._to_end = True
        self.loop.stop()

    def _cancel_start(self) -> None:
        self._start_ended = True
        if self._starting is not None:
            self._starting.cancel()

    def _run_start(self, fn: Hook, *args: Any) -> None:
        if self._start_ended:
            raise asyncio.CancelledError
        self._run_hook(self._note_start, fn, *args)

    async def _note_start(self, fn: Hook, *args: Any) -> None:
        self._starting = asyncio.current_task()
        try:
            await call(fn, *args)
        finally:
            self._starting = None

    def _run_hook(self, fn: Hook, *args: Any) -> None:
        assert self.loop is not None
        self.loop.run_until_complete(call(fn, *args))

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop has stopped, and can still run coroutines."""
        self._stop_stages()
        end_tasks(loop, self.name, self._left_alone)

    def _stop_stages(self) -> None:
        for stage in reversed(self.stages):
            stage.stop(self._run_hook)

    def _before_start(self) -> None:
        """The loop is there."""

    def _before_close(self) -> None:
        """The loop will not run any more."""

    def _ended(self) -> None:
        """The thread's last words."""


class PoolThread(threading.Thread):
    """One of the threads of a shard's pool, which run the handlers of routes with threads=."""

    def __init__(self, shard: Shard, number: int) -> None:
        super().__init__(name=f"turbo-pool-{shard.index}-{number}", daemon=bool(main_interpreter))
        self._shard = shard

    def run(self) -> None:
        self._shard.run_pool()


class ShardThread(LoopThread):
    """A shard's thread: its loop drives the shard, and ends with it.

    The end, in this order: handlers' coroutines that were cancelled, background calls, the functions of on_stop, what
    else is on the loop. With `lead` the thread runs the process's functions too, and waits for the other threads first.
    """

    def __init__(
        self,
        shard: Shard,
        config: Config,
        stages: List[Stage],
        handlers: Dict[type, Hook],
        drain: Drain,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(f"turbo-shard-{shard.index}", config, stages, drain)
        self.shard = shard
        self.others: Sequence[Any] = ()  # threads whose end the process's on_stop waits for
        self._handlers = handlers
        self._on_end = on_end
        self._background: Optional[Background] = None
        self._fd = -1
        self._log_fd: Optional[int] = None

    def drive_soon(self, server: Optional[Server]) -> None:
        """Begin to drive the shard, and take the server's messages if it is given. Any thread."""
        assert self.post is not None
        self.post.call_soon(self._drive, server)

    def abort_soon(self) -> None:
        """Do not wait for background calls. Any thread."""
        if self._background is None:
            return
        try:
            self._background.post.call_soon(self._background.abort)
        except RuntimeError:
            pass  # the loop has ended

    def _before_start(self) -> None:
        assert self.loop is not None and self.post is not None
        self._background = Background(self._background_post(), self._drain)
        make = self._background.calls
        self.shard.attach(self.loop, self.post.call_soon, self._shard_ended, self._tasks(), make, self._handlers)

    def _drive(self, server: Optional[Server]) -> None:
        assert self.loop is not None
        self._fd = self.shard.drive()
        self.loop.add_reader(self._fd, self.shard.poll)
        if server is not None:
            self._log_fd = server.log_fd
            self.loop.add_reader(self._log_fd, forward_logs, server)
        self.shard.poll()

    def _shard_ended(self) -> None:
        assert self.loop is not None
        self.loop.remove_reader(self._fd)
        if self._log_fd is not None:
            self.loop.remove_reader(self._log_fd)
        self._stop_loop()

    def _tasks(self) -> str:
        return self._config.task

    def _background_post(self) -> Post:
        assert self.post is not None
        return self.post

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._run_hook(self._end_work)
        self._stop_stages()
        end_tasks(loop, self.name, self._left_alone)

    async def _end_work(self) -> None:
        """Wait for handlers' coroutines, which the end of the drain has cancelled: once, so that they can clean up."""
        assert self._background is not None
        self._left_alone |= await wait_for_end(self.shard.tasks(), f"handlers of {self.name}")
        self._left_alone |= await self._background.end()

    def _stop_stages(self) -> None:
        *first, own = self.stages
        own.stop(self._run_hook)
        self.stopped.set()
        for stage in first:  # the process's
            self._run_hook(self._wait_for_others)
            stage.stop(self._run_hook)

    async def _wait_for_others(self) -> None:
        while not all(thread.stopped.is_set() for thread in self.others):
            await asyncio.sleep(0.005)

    def _before_close(self) -> None:
        self.shard.detach()

    def _ended(self) -> None:
        self._on_end()
