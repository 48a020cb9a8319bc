"""Shards in interpreters of their own, each with its own GIL.

The main interpreter has the server and nothing of its requests: it imports the app for its routes, listens, starts, stops,
takes signals and the library's messages. Each shard's thread makes an interpreter and runs turbo/inside.py in it, which
imports the app again and serves the shard with it. Between the two there is a link for lines of text, and libturbo.
"""

import functools
import json
import os
import selectors
import socket
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from . import errors
from ._native import Server, Shard, run_interpreter
from .config import Config
from .errors import logger
from .executor import Executor
from .links import Link
from .loading import load, parse
from .parallel import Choice
from .threads import forward_logs, wait_for


def _job(target: str, **more: Any) -> str:
    return json.dumps({"path": sys.path, "target": target, "log_level": errors.stderr_level, **more})


def _found(text: str) -> Dict[str, Any]:
    """What an interpreter has said of its failure: see inside.failure()."""
    try:
        found: Dict[str, Any] = json.loads(text)
    except ValueError:
        found = {"module": None, "said": "it could not be set up", "whole": text, "cancelled": False}
    return found


def _error(text: str, name: str) -> Exception:
    """The exception of that."""
    found = _found(text)
    if found["module"] is not None:
        message = f'{name}: "{found["module"]}" does not load in an interpreter of its own'
        return ImportError(f"{message}\n\n{found['whole']}", name=found["module"])
    return RuntimeError(f"{name} could not start in an interpreter of its own: {found['said']}\n\n{found['whole']}")


def _short(error: Exception) -> str:
    """One line of it."""
    return str(error).split("\n", 1)[0]


def _named_main(target: str) -> Optional[str]:
    if parse(target)[0] != "__main__":
        return None
    return 'other interpreters have another "__main__": name the app by a module that can be imported'


def refusal(target: str) -> Optional[str]:
    """Why the app of that import string does not load in an interpreter of its own, or None if it does."""
    said: List[Optional[str]] = []

    def probe() -> None:
        try:
            said.append(run_interpreter(None, _job(target)))
        except Exception as error:
            said.append(str(error))

    reason = _named_main(target)
    if reason is not None:
        return reason
    thread = threading.Thread(target=probe, name="turbo-probe")
    thread.start()
    thread.join()
    return None if said[0] is None else _short(_error(said[0], f'"{target}"'))


class ShardInterpreter(threading.Thread):
    """A shard's thread, as the main interpreter sees it: what executor.Executor has for shards of its own."""

    def __init__(self, server: Server, shard: Shard, job: Callable[..., str], on_end: Callable[[], None]) -> None:
        super().__init__(name=f"turbo-shard-{shard.index}", daemon=True)
        self.shard = shard
        self.error: Optional[BaseException] = None
        self.stopped = False  # nothing of the application's runs there any more
        self.loop_name = ""
        self._cancelled = False
        self._ours, self._theirs = socket.socketpair()
        self.link = Link(self._ours.fileno())
        self._server = server
        self._job = job
        self._on_end = on_end
        self._ready = threading.Event()

    def run(self) -> None:
        try:
            text = run_interpreter(self._server, self._job(index=self.shard.index, fd=self._theirs.fileno()))
            if text is not None:
                self.error, self._cancelled = _error(text, f"shard {self.shard.index}"), _found(text)["cancelled"]
        except BaseException as error:
            self.error = error
        self._theirs.close()
        self._ready.set()
        self._on_end()

    def heard(self, words: List[str]) -> None:
        """A line has come. The thread of Messages."""
        if words[0] == "ready":
            self.loop_name = words[1]
            self._ready.set()
        elif words[0] == "stopped":
            self.stopped = True

    def wait_ready(self) -> None:
        """Wait until on_start has returned there, or `error` is what has gone wrong."""
        wait_for(self._ready)

    def was_cancelled(self) -> bool:
        """Whether `error` is that on_start was cancelled."""
        return self._cancelled

    def cancel_start_soon(self) -> None:
        """Cancel on_start, if it has not returned: a coroutine at once, else before the next function."""
        self.link.say("cancel")

    def drive_soon(self, server: Optional[Server]) -> None:
        """The server has started. Its messages are the main interpreter's."""
        self.link.say("drive")

    def end_soon(self) -> None:
        """The start has failed."""
        self.link.say("end")

    def abort_soon(self) -> None:
        """Wait no longer."""
        self.link.say("abort")

    def close(self) -> None:
        """The thread has ended, or was never started."""
        self.link.fd = -1  # what is said now is not for whoever gets the number
        self._ours.close()
        self._theirs.close()


class Messages(threading.Thread):
    """Hears what shards say, and the library."""

    def __init__(self, server: Server, on_stop: Callable[[], None]) -> None:
        super().__init__(name="turbo-messages", daemon=True)
        self._server = server
        self._on_stop = on_stop
        self._shards: List[ShardInterpreter] = []
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC)

    def listen(self, shards: List[ShardInterpreter]) -> None:
        """Begin with these."""
        self._shards = shards
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._server.log_fd, selectors.EVENT_READ)
        for shard in shards:
            self._selector.register(shard.link.fd, selectors.EVENT_READ, shard)
        self.start()

    def end(self) -> None:
        """Wait for the thread's end, whether it was started or not. Once."""
        os.close(self._wake)
        if self.ident is not None:
            self.join()
        os.close(self._woken)
        self._selector.close()

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._woken:
                    return
                if key.data is None:
                    forward_logs(self._server)
                else:
                    self._hear(key.data)

    def _hear(self, shard: ShardInterpreter) -> None:
        lines = shard.link.hear()
        if not lines:
            self._selector.unregister(shard.link.fd)
            shard.stopped = True
        for line in lines:
            if line == "stop":
                self._on_stop()
            shard.heard(line.split())
        self.tell_first()

    def tell_first(self) -> None:
        """The process's on_stop, which shard 0 calls, waits for all others."""
        if self._shards and all(shard.stopped for shard in self._shards[1:]):
            self._shards[0].link.say("others")


class Interpreters(Executor):
    """All shards of one server."""

    def __init__(self, target: str, routes: List[str], server: Server, config: Config, *rest: Any) -> None:
        super().__init__(server, config, *rest)
        self._watch = None  # each interpreter has one
        own = {name: getattr(config, name) for name in ("loop", "task", "debug", "slow_ms", "switch_interval_us")}
        self._job = functools.partial(_job, target, routes=routes, config=own)
        self._messages = Messages(server, self.stop)
        self._interpreters: List[ShardInterpreter] = []
        self._may_close = threading.Lock()  # taken once: of several join() one closes

    def stop(self) -> None:
        super().stop()
        for thread in self._interpreters:
            thread.link.say("stop")

    def join(self) -> None:
        super().join()
        self._close()

    def loop_name(self) -> str:
        return self._interpreters[0].loop_name

    def _start_threads(self) -> None:
        """Shard 0 first, whose interpreter runs the process's on_start: most of what can go wrong does so there, once."""
        for shard in self._server.shards:
            self._interpreters.append(ShardInterpreter(self._server, shard, self._job, self._thread_ended))
        self._messages.listen(self._interpreters)
        for threads in self._interpreters[:1], self._interpreters[1:]:
            for thread in threads:
                self._start_one(thread, self._threads)
                if self._start_ended:  # it was not there then
                    thread.cancel_start_soon()
            self._wait_ready(threads)

    def _start_work(self) -> None:
        """All of it is the interpreters'."""

    def _give_up(self) -> None:
        for thread in self._interpreters:
            thread.stopped = thread.stopped or thread not in self._threads
        self._messages.tell_first()
        super()._give_up()
        forward_logs(self._server)
        self._close()

    def _close(self) -> None:
        if not self._may_close.acquire(blocking=False):
            return
        self._messages.end()
        for thread in self._interpreters:
            thread.close()


def serve(target: str, config: Config, choice: Choice) -> int:
    """Serve until SIGINT or SIGTERM. Returns how many requests that were taken had no answer."""
    reason = _named_main(target)
    if reason is not None:
        raise ValueError(f'parallel: "interpreters" cannot be: {reason}')
    config.fallbacks = {**config.fallbacks, "shards": config.units()}
    app = load(target)
    return app._run(config, choice, functools.partial(Interpreters, target, app._describe()))
