"""Threads with a loop: a shard's, and what all of them have in common."""

import asyncio
import logging
import signal
import threading
from typing import Callable, Optional, Set

from ._native import Server, Shard
from .config import Config, loop_factory
from .errors import logger

END_TIMEOUT = 5.0  # seconds that cancelled coroutines, and threads of the loop's executor, get to end

_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


def forward_logs(server: Server) -> None:
    """Hand the library's messages to Python's logging."""
    for level, text in server.take_logs():
        logger.log(_LEVELS[level], "%s", text)


def cancel_all(loop: asyncio.AbstractEventLoop) -> Set["asyncio.Task[object]"]:
    """Cancel every task of a loop; returns them. The loop's thread."""
    left: Set["asyncio.Task[object]"] = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    return left


def end_tasks(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Cancel what is left on a loop that has stopped, and wait for it. Its thread; name is for the log."""
    left = cancel_all(loop)
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=END_TIMEOUT))
    loop.run_until_complete(loop.shutdown_asyncgens())
    try:
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_default_executor(), END_TIMEOUT))
    except asyncio.TimeoutError:
        logger.warning("%s: threads of the loop's executor have not ended", name)


class LoopThread(threading.Thread):
    """A thread that makes a loop, runs it and cleans up after it.

    A daemon, so that an interpreter that ends is not held up by it; App stops it at exit.
    """

    def __init__(self, name: str, config: Config) -> None:
        super().__init__(name=name, daemon=True)
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.error: Optional[BaseException] = None
        self._config = config
        self._ready = threading.Event()

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # the main thread's
        try:
            self.loop = self._make_loop()
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()
        if self.loop is not None:
            self._run_loop(self.loop)
        self._ended()

    def wait_ready(self) -> None:
        """Wait until the loop is there; raise what its factory raised."""
        self._ready.wait()
        if self.error is not None:
            raise self.error

    def end_soon(self) -> None:
        """End the loop, as soon as it is there. Any thread."""
        self._ready.wait()
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        loop = loop_factory(self._config.loop)()
        asyncio.set_event_loop(loop)
        return loop

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
            self._end_tasks(loop)
        except BaseException:
            logger.critical("the loop of %s has failed", self.name, exc_info=True)
        finally:
            self._before_close()
            asyncio.set_event_loop(None)
            loop.close()

    def _end_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        end_tasks(loop, self.name)

    def _before_close(self) -> None:
        """The loop will not run any more."""

    def _ended(self) -> None:
        """The thread's last words."""


class PoolThread(threading.Thread):
    """One of the threads of a shard's pool, which run the handlers of routes with threads=."""

    def __init__(self, shard: Shard, number: int) -> None:
        super().__init__(name=f"turbo-pool-{shard.index}-{number}", daemon=True)
        self._shard = shard

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # the main thread's
        self._shard.run_pool()


class ShardThread(LoopThread):
    """A shard's thread: its loop drives the shard, and ends with it."""

    def __init__(self, shard: Shard, config: Config, on_end: Callable[[], None]) -> None:
        super().__init__(f"turbo-shard-{shard.index}", config)
        self.shard = shard
        self._on_end = on_end
        self._fd = -1
        self._log_fd: Optional[int] = None

    def attach_soon(self, server: Optional[Server]) -> None:
        """Begin to drive the shard, and take the server's messages if it is given. Any thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._attach, server)

    def _attach(self, server: Optional[Server]) -> None:
        assert self.loop is not None
        self._fd = self.shard.attach(self.loop, self._shard_ended, self._tasks())
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
        self.loop.stop()

    def _tasks(self) -> str:
        return self._config.task

    def _end_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        self.shard.cancel_tasks()
        super()._end_tasks(loop)

    def _before_close(self) -> None:
        self.shard.detach()

    def _ended(self) -> None:
        self._on_end()
