"""A process that serves for a supervisor: loads the app, serves, and ends when it is told to."""

import atexit
import builtins
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import threading
import traceback
from typing import Any, Dict, List, NoReturn, Optional, Union

from . import output
from .app import App
from .background import END_TIMEOUT
from .config import Config
from .errors import logger
from .loading import load
from .signals import Signals, ignore, wait_readable

# What a worker is told, a byte each; the end of the channel, when its supervisor is gone, means DRAIN.
GO = b"g"  # listen
DRAIN = b"d"  # answer what was taken, then end
ABORT = b"a"  # do not wait for answers any longer

LOOK_EVERY = 0.1  # seconds, between two looks at how many requests were answered; only with max_requests
END_GRACE = 3 * END_TIMEOUT  # seconds behind drain_timeout_ms for clean-up and on_stop, then the process is killed
FAILED = 1  # exit code of a worker that could not start


class Channel:
    """A worker's end of the socket that it shares with its supervisor: JSON lines up, bytes down."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._end = end
        self._lock = threading.Lock()  # of what follows; leave() is for any thread
        self._ready = False
        self._leaving: Optional[str] = None

    def fileno(self) -> int:
        """For poll()."""
        return self._end.fileno()

    def send(self, **what: Any) -> None:
        """Tell the supervisor, if it is still there."""
        try:
            self._end.sendall(json.dumps(what).encode() + b"\n")
        except OSError:
            pass

    def ready(self, loop: str) -> None:
        """Connections are accepted."""
        with self._lock:
            self._ready = True
            self.send(ready=True, loop=loop)
            if self._leaving is not None:
                self.send(leaving=self._leaving)

    def leave(self, why: str) -> None:
        """The end has begun; told once, and not before ready(). Any thread."""
        with self._lock:
            if self._leaving is None:
                self._leaving = why
                if self._ready:
                    self.send(leaving=why)

    def take(self) -> bytes:
        """Orders; waits for one."""
        try:
            return self._end.recv(64) or DRAIN
        except OSError:
            return DRAIN

    def ends(self) -> bool:
        """Whether the supervisor is gone, so that there is nothing more to take."""
        try:
            return self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def describe(error: BaseException) -> Dict[str, Any]:
    """An exception for another process, which may not have its class."""
    args = list(error.args)
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        args.append(error.filename)
    plain = all(isinstance(arg, (str, int, type(None))) for arg in args)
    known = plain and getattr(builtins, type(error).__name__, None) is type(error) and isinstance(error, Exception)
    return {
        "type": type(error).__name__ if known else None,
        "args": args if known else [],
        "text": "".join(traceback.format_exception_only(type(error), error)).strip(),
        "trace": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


class Stopped(Exception):
    """The worker is not to serve any more, and has not begun to."""


class _Trace(Exception):
    """A traceback of another process, as the cause of its exception here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def rebuild(told: Dict[str, Any]) -> Exception:
    """The exception that describe() was given, or RuntimeError for one of a class that is not built in."""
    error: Exception = RuntimeError(f"a worker could not start: {told['text']}")
    if told["type"] is not None:
        with contextlib.suppress(TypeError):  # its arguments were changed: not what its class is made of
            error = getattr(builtins, told["type"])(*told["args"])
    error.__cause__ = _Trace(told["trace"])
    return error


class Worker:
    """One run of the app."""

    def __init__(self, app: App, config: Config, channel: Channel, signals: Signals) -> None:
        self._app = app
        self._config = config
        self._channel = channel
        self._signals = signals
        self._open = True  # the channel
        self._draining = False
        self._limit = 0  # answers; 0: none
        if config.max_requests:
            self._limit = config.max_requests + random.SystemRandom().randint(0, config.max_requests_jitter)

    def run(self) -> None:
        """Until the app has ended."""
        while True:
            readable = self._wait()
            if self._signals in readable:
                taken = self._signals.take()
                if 0 in taken:
                    return
                if signal.SIGTERM in taken:
                    self._drain("SIGTERM")
            if self._channel in readable:
                self._obey()
            if self._limit and not self._draining and self._app.stats()["answered"] >= self._limit:
                self._limit = 0
                self._channel.send(tired=True)

    def _wait(self) -> List[Any]:
        sources: List[Any] = [self._signals, self._channel] if self._open else [self._signals]
        return wait_readable(sources, LOOK_EVERY if self._limit else None)

    def _obey(self) -> None:
        self._open = not self._channel.ends()
        if not self._open:
            logger.warning("the supervisor is gone: worker %d ends", os.getpid())
            self._end_in_time()
        orders = self._channel.take()
        if DRAIN in orders or not self._open:
            self._drain("as it was told to")
        if ABORT in orders:
            self._app._abort()

    def _end_in_time(self) -> None:
        """As the supervisor would see to: a handler that blocks holds up the end for ever."""

        def end() -> None:
            logger.error("worker %d has not ended in time", os.getpid())
            os._exit(FAILED)

        timer = threading.Timer(self._app._made().drain_timeout_ms / 1000 + END_GRACE, end)
        timer.daemon = True
        timer.start()

    def _drain(self, why: str) -> None:
        if self._draining:
            return
        self._draining = True
        self._channel.leave(why)
        self._app.stop(wait=False)


def _serve(target: Union[App, str], config: Config, channel: Channel) -> int:
    """Exit code."""

    def wait_for_go() -> None:
        channel.send(started=True)
        sources: List[Any] = [signals, channel]
        if signals in wait_readable(sources) or channel.take() != GO:
            raise Stopped()

    try:
        app = load(target) if isinstance(target, str) else target
        signals = Signals([signal.SIGTERM])
        signals.__enter__()  # to the end of the process
        config = dataclasses.replace(
            config, before_listening=wait_for_go, stopping=lambda: channel.leave("it has stopped by itself")
        )
        app._start(config, signals.end)
    except Stopped:
        return 0
    except BaseException as error:
        channel.send(failed=describe(error))
        return FAILED
    channel.ready(app._loop_name())
    Worker(app, config, channel, signals).run()
    app.stop()
    channel.send(abandoned=app.stats()["abandoned"])
    return 0


def main(target: Union[App, str], config: Config, end: socket.socket) -> NoReturn:
    """What a process does that was forked, with SIGTERM blocked: it never returns to what the supervisor was doing.

    Until the app is loaded SIGTERM ends it at once; SIGINT and SIGHUP are the supervisor's, though a terminal sends them
    to both.
    """
    atexit._clear()  # those are for the end of the supervisor
    code = FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ignore)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORK_BLOCKS)
        code = _serve(target, config, Channel(end))
    except BaseException:
        logger.critical("worker %d has failed", os.getpid(), exc_info=True)
    finally:
        _end_process(code)


FORK_BLOCKS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}


def _end_process(code: int) -> NoReturn:
    """As an interpreter ends, but for what is left of the supervisor's stack."""
    try:
        wait: Optional[Any] = getattr(threading, "_shutdown", None)
        if wait is not None:
            wait()
        atexit._run_exitfuncs()
        output.flush()
    finally:
        os._exit(code)
