"""The threads behind a server: one for each shard, and in mode="single" that of the loop which they share."""

import logging
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from ._native import Server, Shard
from .background import Drain
from .config import Config
from .errors import logger
from .gil import SwitchInterval, asked_for, free_threaded, gil_enabled, why_enabled
from .lifecycle import Hook, Lifecycle, Stage
from .single import SharedLoop, WorkerThread
from .slow import Watch
from .threads import LoopThread, PoolThread, ShardThread, forward_logs, wait_for

SWITCH_INTERVAL_US = 500  # at Python's 5000 a CPU-bound handler on one thread stalls the others; docs/benchmarks.md has figures
GRACE = 0.1  # seconds after the end of a drain, by when the library has given up what is not answered


def set_switch_interval(interval: SwitchInterval, wanted: Optional[int], threads: int) -> None:
    """Threads that run handlers let each other go on sooner than Python would have them."""
    if wanted is None and threads > 1 and gil_enabled() and sys.getswitchinterval() * 1e6 > SWITCH_INTERVAL_US:
        wanted = SWITCH_INTERVAL_US
    if wanted:
        interval.set(wanted / 1e6)
        logger.info("%d threads run handlers: GIL switch interval %g ms", threads, wanted / 1000)


class StartEnded(Exception):
    """A start came to no server, as end_start() was called."""


class Executor:
    """All shards of one server."""

    def __init__(
        self,
        server: Server,
        config: Config,
        lifecycle: Lifecycle,
        handlers: Dict[type, Hook],
        watch: Optional[Watch],
        on_end: Callable[[], None],
    ) -> None:
        self._server = server
        self._config = config
        self._lifecycle = lifecycle
        self._handlers = handlers
        self._watch = watch
        self._on_end = on_end
        self._drain = Drain(server.drain_timeout_ms / 1000)
        self._lock = threading.Lock()
        self._join_lock = threading.Lock()
        self._joined = False
        self._start_ended = False
        self._running = len(server.shards)
        self._threads: List[Any] = []  # ShardThread, or what else has its methods
        self._pool: List[PoolThread] = []
        self._shared: Optional[SharedLoop] = None
        self._switch_interval = SwitchInterval()

    def start(self) -> None:
        """Make the loops, run on_start, listen, start the server. Handlers run from drive() on.

        What goes wrong is raised, with nothing left behind: nothing listens before on_start has returned.
        """
        started = False
        try:
            self._start_threads()
            for address in self._config.addresses():
                self._server.listen(address)
            self._adopt_sockets()
            self._server.start()
            started = True
            self._start_work()
        except BaseException:
            self._end_started() if started else self._give_up()
            raise

    def drive(self) -> None:
        """Have the shards take requests. Once, after start()."""
        for thread in self._threads:
            thread.drive_soon(self._server if thread.shard.index == 0 else None)

    def end_start(self) -> None:
        """Have start() raise StartEnded, if the server has not started. Any thread, and a signal's handler.

        Coroutines of on_start are cancelled; functions are waited for. A failure that start() would tell of behind that is logged.
        """
        self._start_ended = True
        for thread in self._threads + ([] if self._shared is None else [self._shared]):
            thread.cancel_start_soon()
            if thread.error is not None and not thread.was_cancelled():
                logger.error("%s could not start, and others have not come so far", thread.name, exc_info=thread.error)

    def stop(self) -> None:
        """Begin to stop. Any thread; does not wait."""
        if self._config.stopping is not None:
            self._config.stopping()
        self._drain.begin()
        self._server.stop()
        self._drain.tell()
        if self._shared is not None:
            self._shared.cancel_soon(self._server.drain_timeout_ms / 1000 + GRACE, self._threads)

    def abort(self) -> None:
        """Do not wait for answers and background calls any longer. Any thread; does not wait."""
        self._drain.abort()
        self._server.abort()
        self._drain.tell()
        if self._shared is not None:
            self._shared.cancel_soon(GRACE, self._threads)
        for thread in self._threads:
            thread.abort_soon()

    def is_own_thread(self) -> bool:
        """Whether the caller is one of our threads, which cannot wait for itself."""
        current = threading.current_thread()
        return current is self._shared or current in self._threads or current in self._pool

    def join(self) -> None:
        """Wait for the end of the threads, ours first, then the library's. Any thread; a second one waits for the first."""
        with self._join_lock:
            if not self._joined:
                self._join_all()
            self._joined = True

    def loop_name(self) -> str:
        """The module of the class of the loops, for the line that says where the server listens."""
        loop = (self._shared or self._threads[0]).loop
        return type(loop).__module__.split(".")[0]

    # -- inside --

    def _adopt_sockets(self) -> None:
        config = self._config
        if config.before_listening is not None:
            config.before_listening()
        for fd in config.sockets:
            self._server.listen_fd(fd)
        if config.fd is not None and not config.sockets:
            self._server.listen_fd(config.fd)

    def _start_one(self, thread: Any, among: List[Any]) -> None:
        """Have a thread run as one of these. RuntimeError: it cannot be started, and nobody is to wait for it."""
        among.append(thread)  # first: it may ask whether it is one of ours
        try:
            thread.start()
        except Exception:
            among.remove(thread)
            raise

    def _wait_ready(self, threads: List[Any]) -> None:
        """Wait until on_start of these has returned. Raises what one of them raised, or StartEnded."""
        for thread in threads:
            thread.wait_ready()
        for thread in threads:
            if thread.error is not None and not (self._start_ended and thread.was_cancelled()):
                raise thread.error
        if self._start_ended:
            raise StartEnded

    def _start_threads(self) -> None:
        """Every loop is there, and on_start has returned: the process's first, then those of all shards at once."""
        process = self._lifecycle.stage("process", "the process")
        if self._config.mode == "single":
            shared = SharedLoop("turbo-loop", self._config, [process], self._drain)
            shared.on_exit = self.stop
            shared.start()
            self._shared = shared
            if self._start_ended:  # it was not there then
                shared.cancel_start_soon()
            self._wait_ready([shared])
        for shard in self._server.shards:
            thread = self._make_thread(shard, process)
            thread.on_exit = self.stop
            self._start_one(thread, self._threads)
            if self._start_ended:
                thread.cancel_start_soon()
            if shard.index == 0 and not process.is_empty():
                wait_for(process.begun)
                if thread.error is not None:
                    break
            if self._start_ended:
                break
        self._wait_ready(self._threads)

    def _start_work(self) -> None:
        """What else runs handlers, or looks at them."""
        for shard in self._server.shards:
            for i in range(shard.pool_threads):
                self._start_one(PoolThread(shard, i), self._pool)
        threads = len(self._threads) + len(self._pool)
        self._tell_of_gil()
        set_switch_interval(self._switch_interval, self._config.switch_interval_us, threads)
        if self._watch is not None:
            self._watch.start()

    def _make_thread(self, shard: Shard, process: Stage) -> ShardThread:
        stages = [self._lifecycle.stage("shard", f"shard {shard.index}", shard)]
        rest = (self._handlers, self._drain, self._thread_ended)
        if self._shared is not None:
            return WorkerThread(self._shared, shard, self._config, stages, *rest)
        if shard.index > 0 or process.is_empty():
            return ShardThread(shard, self._config, stages, *rest)
        thread = ShardThread(shard, self._config, [process, *stages], *rest)
        thread.others = self._threads
        return thread

    def _thread_ended(self) -> None:
        with self._lock:
            self._running -= 1
            last = self._running == 0
        if last and self._shared is not None:
            self._shared.end_soon()
        if last:
            self._on_end()

    def _join_all(self) -> None:
        self._join_threads()
        self._server.wait()
        for shard in self._server.shards:
            shard.forget()
        forward_logs(self._server)
        self._switch_interval.unset()

    def _join_threads(self) -> None:
        for thread in self._threads:
            thread.join()
        for worker in self._pool:
            worker.join()
        if self._shared is not None:
            self._shared.end_soon()
            self._shared.join()
        if self._watch is not None:
            self._watch.stop()

    def _give_up(self) -> None:
        for thread in self._threads:
            thread.end_soon()
        self._join_threads()

    def _end_started(self) -> None:
        """The server has started, and cannot go on: it ends as one that is told to stop and not to wait."""
        self.drive()
        self.stop()
        self.abort()
        self.join()

    def _tell_of_gil(self) -> None:
        """Whoever runs a free-threaded build wants handlers to run in parallel, or has asked for a GIL."""
        if free_threaded() and gil_enabled():
            threads = len(self._threads) + len(self._pool)
            logger.log(
                logging.INFO if asked_for() else logging.WARNING,
                "the GIL of this free-threaded Python is on: %s; so the %d threads that run handlers take turns, and use "
                "one CPU between them",
                why_enabled(),
                threads,
            )
