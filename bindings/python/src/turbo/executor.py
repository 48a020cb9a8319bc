"""The threads behind a server: one for each shard, and in mode="single" that of the loop which they share."""

import sys
import threading
from typing import Callable, List, Optional

from ._native import Server, Shard
from .config import Config, gil_enabled
from .errors import logger
from .single import SharedLoop, WorkerThread
from .threads import PoolThread, ShardThread, forward_logs

SWITCH_INTERVAL = 0.0005  # seconds; at Python's 5 ms a CPU-bound handler on one shard stalls the others
GRACE = 0.1  # seconds after the end of a drain, by when the library has given up what is not answered


class Executor:
    """All shards of one server."""

    def __init__(self, server: Server, config: Config, on_end: Callable[[], None]) -> None:
        self._server = server
        self._config = config
        self._on_end = on_end
        self._lock = threading.Lock()
        self._running = 0
        self._threads: List[ShardThread] = []
        self._pool: List[PoolThread] = []
        self._shared: Optional[SharedLoop] = None
        self._switch_interval: Optional[float] = None

    def start(self) -> None:
        """Make the loops, start the server, connect the two. What goes wrong is raised, with nothing left behind."""
        self._running = len(self._server.shards)
        try:
            if self._config.mode == "single":
                self._shared = self._start_shared()
            self._threads = [self._make_thread(shard) for shard in self._server.shards]
            for thread in self._threads:
                thread.start()
            for thread in self._threads:
                thread.wait_ready()
            self._server.start()
        except BaseException:
            self._give_up()
            raise
        self._shorten_switch_interval()
        self._pool = [PoolThread(shard, i) for shard in self._server.shards for i in range(shard.pool_threads)]
        for worker in self._pool:
            worker.start()
        for thread in self._threads:
            thread.attach_soon(self._server if thread.shard.index == 0 else None)

    def stop(self) -> None:
        """Begin to stop. Any thread; does not wait."""
        self._server.stop()
        if self._shared is not None:
            self._shared.cancel_soon(self._server.drain_timeout_ms / 1000 + GRACE)

    def abort(self) -> None:
        """Do not wait for answers any longer. Any thread; does not wait."""
        self._server.abort()
        if self._shared is not None:
            self._shared.cancel_soon(GRACE)

    def is_own_thread(self) -> bool:
        """Whether the caller is one of our threads, which cannot wait for itself."""
        current = threading.current_thread()
        return current is self._shared or current in self._threads or current in self._pool

    def join(self) -> None:
        """Wait for the end of the threads, ours first, then the library's."""
        self._join_threads()
        self._server.wait()
        for shard in self._server.shards:
            shard.forget()
        forward_logs(self._server)
        if self._switch_interval is not None:
            sys.setswitchinterval(self._switch_interval)

    def loop_name(self) -> str:
        """The module of the class of the loops, for the line that says where the server listens."""
        loop = (self._shared or self._threads[0]).loop
        return type(loop).__module__.split(".")[0]

    def _start_shared(self) -> SharedLoop:
        shared = SharedLoop(self._config)
        shared.start()
        shared.wait_ready()
        return shared

    def _make_thread(self, shard: Shard) -> ShardThread:
        if self._shared is not None:
            return WorkerThread(shard, self._config, self._thread_ended, self._shared)
        return ShardThread(shard, self._config, self._thread_ended)

    def _thread_ended(self) -> None:
        with self._lock:
            self._running -= 1
            last = self._running == 0
        if last:
            self._on_end()

    def _join_threads(self) -> None:
        for thread in self._threads:
            thread.join()
        for worker in self._pool:
            worker.join()
        if self._shared is not None:
            self._shared.end_soon()
            self._shared.join()

    def _give_up(self) -> None:
        for thread in self._threads:
            thread.end_soon()
        self._join_threads()

    def _shorten_switch_interval(self) -> None:
        if len(self._threads) == 1 or not gil_enabled() or sys.getswitchinterval() <= SWITCH_INTERVAL:
            return
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        logger.info("%d shards share the GIL: switch interval %g ms", len(self._threads), SWITCH_INTERVAL * 1000)
