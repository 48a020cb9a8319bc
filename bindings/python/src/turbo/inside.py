"""What runs in a shard's interpreter: it imports the app again, and serves the shard with it."""

import _thread
import asyncio
import contextlib
import importlib.machinery
import itertools
import json
import threading
import traceback
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Optional, Tuple

from . import output
from ._native import Server, Shard
from .app import App
from .background import Drain
from .config import Config
from .errors import log_to_stderr, logger
from .executor import set_switch_interval
from .gil import SwitchInterval
from .lifecycle import Hook, Stage
from .links import Link
from .loading import load
from .slow import Watch
from .threads import PoolThread, ShardThread, nothing

REFUSED_MAX = 100  # of which the exceptions are kept: an app may try again and again

Refused = Deque[Tuple[BaseException, str]]


@contextlib.contextmanager
def noting_refusals() -> Iterator[Refused]:
    """While entered, extension modules that do not load are noted: with what they raised, by name."""
    loader = importlib.machinery.ExtensionFileLoader
    create, execute = loader.create_module, loader.exec_module
    refused: Refused = deque(maxlen=REFUSED_MAX)

    def create_module(self: Any, spec: Any) -> Any:
        try:
            return create(self, spec)
        except ImportError as error:
            refused.append((error, spec.name))
            raise

    def exec_module(self: Any, module: Any) -> Any:
        try:
            return execute(self, module)
        except ImportError as error:
            refused.append((error, module.__name__))
            raise

    loader.create_module, loader.exec_module = create_module, exec_module  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        loader.create_module, loader.exec_module = create, execute  # type: ignore[method-assign]


def culprit(error: Optional[BaseException], refused: Refused) -> Optional[str]:
    """The extension module behind an exception, if there is one."""
    while error is not None:
        for noted, name in refused:
            if noted is error:
                return name
        error = error.__cause__ or error.__context__
    return None


def failure(error: BaseException, refused: Refused) -> str:
    """What went wrong, for the main interpreter."""
    said = "".join(traceback.format_exception_only(type(error), error)).strip()
    whole = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    cancelled = isinstance(error, asyncio.CancelledError)
    return json.dumps({"module": culprit(error, refused), "said": said, "whole": whole, "cancelled": cancelled})


class Others:
    """The other shards, as far as the process's on_stop is concerned."""

    def __init__(self) -> None:
        self.stopped = threading.Event()


class Work:
    """What else runs while the shard does: the threads of its pool, and the one that looks for slow handlers."""

    def __init__(self, shard: Shard, config: Config, watch: Optional[Watch]) -> None:
        self._shard = shard
        self._watch = watch
        self._pool: List[PoolThread] = []
        self._switch_interval = SwitchInterval()
        self._wanted = config.switch_interval_us

    def begin(self) -> None:
        """The server has started, and knows how large the pool is."""
        set_switch_interval(self._switch_interval, self._wanted, 1 + self._shard.pool_threads)
        for i in range(self._shard.pool_threads):
            worker = PoolThread(self._shard, i)
            worker.start()
            self._pool.append(worker)
        if self._watch is not None:
            self._watch.start()

    def end(self) -> None:
        """The shard has ended."""
        for worker in self._pool:
            worker.join()
        if self._watch is not None:
            self._watch.stop()
        self._switch_interval.unset()


class InsideShard(ShardThread):
    """A shard on a thread that runs already: run() is called there, and start() never."""

    def __init__(
        self,
        shard: Shard,
        config: Config,
        stages: List[Stage],
        handlers: Dict[type, Hook],
        drain: Drain,
        link: Link,
        work: Work,
    ) -> None:
        super().__init__(shard, config, stages, handlers, drain, nothing)  # the main interpreter sees the end
        self._link = link
        self._work = work
        self._stopped_others = Others()
        self._gives_up = False  # another shard has failed to start
        self.others = [self._stopped_others]

    def _before_start(self) -> None:
        super()._before_start()
        assert self.loop is not None
        self.loop.add_reader(self._link.fd, self._hear)

    def _hear(self) -> None:
        for line in self._link.hear() or ["end"]:
            self._heard(line)

    def _heard(self, line: str) -> None:
        if line == "drive":
            self._begin()
        elif line == "stop":
            self._drain.begin()
            self._drain.tell()
        elif line == "abort":
            self._drain.abort()
            self.abort_soon()
        elif line == "cancel":
            self._cancel_start()
        elif line == "others":
            self._stopped_others.stopped.set()
        elif self._ready.is_set():
            self.end_soon()
        else:
            self._gives_up = True

    def _begin(self) -> None:
        try:
            self._work.begin()
        except Exception:
            logger.critical("%s has not all of its threads: stopping", self.name, exc_info=True)
            self.on_exit()
        self._drive(None)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.error is None:
            self._link.say(f"ready {type(loop).__module__.split('.')[0]}")
        else:
            self._stopped_others.stopped.set()  # shard 0 starts before the others, which have nothing to stop then
        if self.error is not None or self._gives_up:
            self.end_soon()
        super()._run_loop(loop)

    def _stop_stages(self) -> None:
        super()._stop_stages()
        self._link.say("stopped")

    def _before_close(self) -> None:
        assert self.loop is not None
        self.loop.remove_reader(self._link.fd)
        super()._before_close()


class InsideExecutor:
    """What App.stop() needs, for a handler that calls it."""

    def __init__(self, server: Server, drain: Drain, link: Link) -> None:
        self._server = server
        self._drain = drain
        self._link = link

    def stop(self) -> None:
        """Begin to stop all shards. Any thread; does not wait."""
        self._drain.begin()
        self._server.stop()
        self._drain.tell()
        self._link.say("stop")

    def is_own_thread(self) -> bool:
        """Nobody can wait for the end in here."""
        return True

    def loop_name(self) -> str:
        """For a line that the main interpreter prints."""
        return ""


def check_routes(app: App, expected: List[str], target: str) -> None:
    """RuntimeError when the app has other routes here than in the main interpreter, which has told the library."""
    found = app._describe()
    for there, here in itertools.zip_longest(expected, found, fillvalue="none"):
        if there != here:
            raise RuntimeError(
                f'the routes of "{target}" are not the same in every interpreter: "{there}" in the main one is "{here}" here'
            )


def serve(server: Server, app: App, job: Dict[str, Any]) -> Optional[BaseException]:
    """Serve one shard to its end. What has kept it from starting is returned."""
    index, config = job["index"], Config(**job["config"])
    shard, link, drain = server.shards[index], Link(job["fd"]), Drain(server.drain_timeout_ms / 1000)
    watch = Watch(config.slow_ms) if config.slow_ms else None
    executor = InsideExecutor(server, drain, link)
    handlers = app._join(server, watch, executor)
    stages = [app._lifecycle.stage("shard", f"shard {index}", shard)]
    if index == 0:
        process = app._lifecycle.stage("process", "the process")
        stages = stages if process.is_empty() else [process, *stages]
    work = Work(shard, config, watch)
    thread = InsideShard(shard, config, stages, handlers, drain, link, work)
    thread.on_exit = executor.stop
    thread.run()
    work.end()
    return thread.error


def do(server: Optional[Server], job: Dict[str, Any]) -> Optional[str]:
    """All of main(), on a thread that was started here."""
    refused: Refused = deque(maxlen=REFUSED_MAX)
    try:
        if job["log_level"] is not None:
            log_to_stderr(job["log_level"])
        with noting_refusals() as refused:
            app = load(job["target"])
            if server is None:
                return None
            check_routes(app, job["routes"], job["target"])
            error = serve(server, app, job)
    except BaseException as raised:
        error = raised
    return None if error is None else failure(error, refused)


def main(server: Optional[Server], job: Dict[str, Any]) -> Optional[str]:
    """What the main interpreter has this one do. Returns None, or what went wrong at the start as failure() has it.

    Without a server the app is imported, and that is all.

    The calling thread was not started here: threading.current_thread() would make up one for it, and complain at the
    interpreter's end. So it only waits, with a plain lock.
    """
    results: List[Optional[str]] = []
    done = _thread.allocate_lock()

    def work() -> None:
        try:
            results.append(do(server, job))
            output.flush()
        finally:
            done.release()

    done.acquire()
    name = "turbo-probe" if server is None else f"turbo-shard-{job['index']}"
    threading.Thread(target=work, name=name, daemon=False).start()
    done.acquire()
    return results[0]
