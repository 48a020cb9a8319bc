"""The threads behind a server: one for each shard, with an asyncio loop that drives it."""

import asyncio
import logging
import signal
import sys
import threading
from typing import Callable, List, Optional, Set

from ._native import Server, Shard
from .config import Config, gil_enabled, loop_factory
from .errors import logger

SWITCH_INTERVAL = 0.0005  # seconds; at Python's 5 ms a CPU-bound handler on one shard stalls the others
END_TIMEOUT = 5.0  # seconds that cancelled coroutines, and threads of the loop's executor, get to end

_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


def forward_logs(server: Server) -> None:
    """Hand the library's messages to Python's logging."""
    for level, text in server.take_logs():
        logger.log(_LEVELS[level], "%s", text)


class ShardThread(threading.Thread):
    """A shard's thread: makes the loop, drives the shard by it, and cleans up after both.

    A daemon, so that an interpreter that ends is not held up by it; App stops it at exit.
    """

    def __init__(self, shard: Shard, config: Config, on_end: Callable[[], None]) -> None:
        super().__init__(name=f"turbo-shard-{shard.index}", daemon=True)
        self.shard = shard
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.error: Optional[BaseException] = None
        self._config = config
        self._on_end = on_end
        self._ready = threading.Event()
        self._fd = -1

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # the main thread's
        try:
            self.loop = loop_factory(self._config.loop)()
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()
        if self.loop is not None:
            self._run_loop(self.loop)
        self._on_end()

    def wait_ready(self) -> None:
        """Wait until the loop is there; raise what its factory raised."""
        self._ready.wait()
        if self.error is not None:
            raise self.error

    def attach_soon(self, server: Optional[Server]) -> None:
        """Begin to drive the shard, and take the server's messages if it is given. Any thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._attach, server)

    def end_soon(self) -> None:
        """End the thread though the shard has not ended, because the server could not start. Any thread."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            self._end_tasks(loop)
        except BaseException:
            logger.critical("the loop of shard %d has failed", self.shard.index, exc_info=True)
        finally:
            self.shard.detach()
            asyncio.set_event_loop(None)
            loop.close()

    def _attach(self, server: Optional[Server]) -> None:
        assert self.loop is not None
        self._fd = self.shard.attach(self.loop, self._shard_ended, self._config.task == "stock")
        self.loop.add_reader(self._fd, self.shard.poll)
        if server is not None:
            self.loop.add_reader(server.log_fd, forward_logs, server)
            self._log_fd: Optional[int] = server.log_fd
        else:
            self._log_fd = None
        self.shard.poll()

    def _shard_ended(self) -> None:
        assert self.loop is not None
        self.loop.remove_reader(self._fd)
        if self._log_fd is not None:
            self.loop.remove_reader(self._log_fd)
        self.loop.stop()

    def _end_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        self.shard.cancel_tasks()
        left: Set["asyncio.Task[object]"] = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=END_TIMEOUT))
        loop.run_until_complete(loop.shutdown_asyncgens())
        try:
            loop.run_until_complete(asyncio.wait_for(loop.shutdown_default_executor(), END_TIMEOUT))
        except asyncio.TimeoutError:
            logger.warning("shard %d: threads of the loop's executor have not ended", self.shard.index)


class Executor:
    """All shards of one server."""

    def __init__(self, server: Server, config: Config, on_end: Callable[[], None]) -> None:
        self._server = server
        self._config = config
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running = 0
        self._threads: List[ShardThread] = []
        self._switch_interval: Optional[float] = None

    def start(self) -> None:
        """Make the loops, start the server, connect the two. What goes wrong is raised, with nothing left behind."""
        self._running = len(self._server.shards)
        self._threads = [ShardThread(shard, self._config, self._thread_ended) for shard in self._server.shards]
        for thread in self._threads:
            thread.start()
        try:
            for thread in self._threads:
                thread.wait_ready()
            self._server.start()
        except BaseException:
            self._give_up()
            raise
        self._shorten_switch_interval()
        for thread in self._threads:
            thread.attach_soon(self._server if thread.shard.index == 0 else None)

    def stop(self) -> None:
        """Begin to stop. Any thread; does not wait."""
        self._server.stop()

    def abort(self) -> None:
        """Do not wait for answers any longer. Any thread; does not wait."""
        self._server.abort()

    def is_own_thread(self) -> bool:
        """Whether the caller is a shard's thread, which cannot wait for itself."""
        return threading.current_thread() in self._threads

    def join(self) -> None:
        """Wait for the end of the threads, ours first, then the library's."""
        for thread in self._threads:
            thread.join()
        self._server.wait()
        for shard in self._server.shards:
            shard.forget()
        forward_logs(self._server)
        if self._switch_interval is not None:
            sys.setswitchinterval(self._switch_interval)

    def loop_name(self) -> str:
        """The module of the loop's class, for the line that says where the server listens."""
        loop = self._threads[0].loop
        return type(loop).__module__.split(".")[0]

    def _thread_ended(self) -> None:
        with self._lock:
            self._running -= 1
            last = self._running == 0
        if last:
            self._on_end()

    def _give_up(self) -> None:
        for thread in self._threads:
            thread._ready.wait()
            thread.end_soon()
        for thread in self._threads:
            thread.join()

    def _shorten_switch_interval(self) -> None:
        if len(self._threads) == 1 or not gil_enabled() or sys.getswitchinterval() <= SWITCH_INTERVAL:
            return
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        logger.info("%d shards share the GIL: switch interval %g ms", len(self._threads), SWITCH_INTERVAL * 1000)
