"""Shards in processes of their own, and the one that starts, watches and replaces them.

The supervisor serves nothing and starts no thread. It binds the sockets and forks; each worker imports the app itself when
it has an import string, and says when its on_start has returned. Connections are accepted once all have. A supervisor that
is gone is noticed by the end of a worker's channel. Orders come by the channel and not by signals: a terminal, or systemd,
sends signals to all processes of a group, and a second one would end a drain.
"""

import ctypes
import dataclasses
import gc
import json
import logging
import os
import selectors
import signal
import socket
import threading
import time
from typing import Any, Dict, List, Optional, Union

from . import output
from . import worker as child
from ._native import Server
from .app import App
from .config import Config
from .errors import logger
from .listening import Listeners
from .parallel import Choice
from .signals import Signals
from .worker import ABORT, DRAIN, END_GRACE, FORK_BLOCKS, GO

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
BACK_OFF_MIN = 0.1  # seconds, doubled by each death that follows soon
BACK_OFF_MAX = 5.0
LIVED = 10.0  # seconds that a worker has served, behind which its death is a first one again
# Of settings, for a process that is one of several. Idle connections are not cut while their clients may be sending.
FALLBACKS: Dict[str, Union[int, str]] = {"io_threads": 1, "drain_idle_ms": 1000}

GET_CHILD_SUBREAPER = 37  # prctl()

STARTING, READY, LEAVING = "starting", "ready", "leaving"


class Process:
    """A worker as its supervisor sees it."""

    def __init__(self, slot: "Slot", pid: int, end: socket.socket, generation: int) -> None:
        self.slot = slot
        self.pid = pid
        self.end = end
        self.generation = generation
        self.state = STARTING
        self.waits = False  # for GO
        self.went = False  # GO was sent: it may have taken requests
        self.ready_at = 0.0
        self.tired = False  # max_requests
        self.replaced = False  # it leaves because another one has taken its place
        self.kill_at: Optional[float] = None
        self.killed = False
        self.failure: Optional[Dict[str, Any]] = None
        self.abandoned: Optional[int] = None  # what it said at its end
        self._got = b""

    def order(self, what: bytes) -> None:
        """Tell it; does not wait."""
        try:
            self.end.send(what)
        except OSError:
            pass  # it is gone, or does not read: there is a time limit, too

    def kill(self, number: int) -> None:
        """It has not been waited for: the number is its own."""
        os.kill(self.pid, number)

    def messages(self) -> List[Dict[str, Any]]:
        """What it has said since the last time."""
        while True:
            try:
                part = self.end.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                break
            if not part:
                break
            self._got += part
        *lines, self._got = self._got.split(b"\n")
        return [json.loads(line) for line in lines]

    def __str__(self) -> str:
        return f"worker {self.slot.number} (pid {self.pid})"


class Slot:
    """A place for one worker, and for the one that is to follow it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Optional[Process] = None
        self.next: Optional[Process] = None  # started to replace it
        self.start_at: Optional[float] = None  # of a new one
        self.retry_at = 0.0  # of a replacement
        self._back_off = 0.0

    def back_off(self, lived: float) -> float:
        """How long to wait, when a worker has served for so long."""
        if lived >= LIVED:
            self._back_off = 0.0
        self._back_off = min(max(2 * self._back_off, BACK_OFF_MIN), BACK_OFF_MAX)
        return self._back_off


def serve(target: Union[App, str], config: Config, choice: Choice) -> int:
    """Serve until SIGINT or SIGTERM. Returns how many requests that were taken had no answer, as far as that is known: a
    worker that died counts as one."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("processes are for the main thread, whose signals they need")
    if threading.active_count() > 1:
        logger.warning("forking with %d threads: a lock that one of them holds stays locked", threading.active_count())
    count = config.units()
    config = dataclasses.replace(config, settings={**config.settings, "shards": 1}, fallbacks=FALLBACKS)
    seconds = _check(target, config) / 1000
    with Signals(SIGNALS) as signals:
        listeners = Listeners(config, count)
        try:
            supervisor = Supervisor(target, config, choice, listeners, signals, count, seconds)
            return supervisor.run()
        finally:
            listeners.close()


def _check(target: Union[App, str], config: Config) -> int:
    """Have the library look at the settings, and at the routes if they are there. Returns drain_timeout_ms."""
    if isinstance(target, str):
        timeout = Server(config.settings, config.defaults()).drain_timeout_ms
    else:
        timeout = target._check(config).drain_timeout_ms
    gc.collect()  # that server is a cycle, and has descriptors
    return timeout


class Supervisor:
    """All of it: one turn for each thing that happens."""

    def __init__(
        self,
        target: Union[App, str],
        config: Config,
        choice: Choice,
        listeners: Listeners,
        signals: Signals,
        count: int,
        drain_seconds: float,
    ) -> None:
        self._target = target
        self._config = config
        self._choice = choice
        self._listeners = listeners
        self._signals = signals
        self._drain_seconds = drain_seconds
        self._start_seconds = config.start_timeout_ms / 1000
        self._slots = [Slot(i) for i in range(count)]
        self._processes: Dict[int, Process] = {}  # all that have not been waited for
        self._generation = 0  # SIGHUPs
        self._listening = False  # on_start of all has returned
        self._serving = False  # all have been ready once
        self._stops = 0  # signals that asked for the end
        self._error: Optional[Exception] = None
        self._lost = 0
        self._adopts = _adopts()

    def run(self) -> int:
        """Until the last process has ended."""
        try:
            for slot in self._slots:
                slot.current = self._fork(slot)
            while self._processes or not self._stops:
                self._turn()
        finally:
            self._end_left()
        if self._error is not None:
            raise self._error
        return self._lost

    def _turn(self) -> None:
        for process in self._wait():
            for message in process.messages():
                self._told(process, message)
        self._obey(self._signals.take())
        self._reap()
        now = time.monotonic()
        for process in self._processes.values():
            if process.kill_at is not None and process.kill_at <= now:
                process.kill_at = None
                process.killed = True
                what = "started" if process.state == STARTING else "ended"
                logger.error("%s has not %s in time: SIGKILL", process, what)
                process.kill(signal.SIGKILL)
        if not self._stops:
            self._start_due(now)
            self._replace_one(now)
            self._spread()

    # -- waiting --

    def _wait(self) -> List[Process]:
        """Until something has happened. Returns the workers that have said something."""
        with selectors.PollSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            for process in self._processes.values():
                selector.register(process.end, selectors.EVENT_READ, process)
            return [key.data for key, _ in selector.select(self._timeout()) if key.data is not None]

    def _timeout(self) -> Optional[float]:
        now = time.monotonic()
        times = [process.kill_at for process in self._processes.values()]
        if not self._stops:
            times += [slot.start_at for slot in self._slots]
            times += [slot.retry_at for slot in self._slots if slot.retry_at > now and self._is_due(slot)]
        left = [at - now for at in times if at is not None]
        return max(0.0, min(left)) if left else None

    # -- processes --

    def _fork(self, slot: Slot) -> Process:
        """OSError: the system has no more processes, or descriptors."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        output.flush()
        old = signal.pthread_sigmask(signal.SIG_BLOCK, FORK_BLOCKS)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_worker(slot.number, ours, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
            theirs.close()
        process = Process(slot, pid, ours, self._generation)
        if self._serving and self._start_seconds:
            process.kill_at = time.monotonic() + self._start_seconds
        self._processes[pid] = process
        return process

    def _become_worker(self, number: int, ours: socket.socket, theirs: socket.socket) -> None:
        """In the child. Nothing of the supervisor's may stay open: others would not see that it is gone."""
        try:
            ours.close()
            for process in self._processes.values():
                process.end.close()
            self._signals.close()
            config = dataclasses.replace(self._config, sockets=self._listeners.keep(number))
        except BaseException:
            logger.critical("a worker has failed", exc_info=True)
            os._exit(child.FAILED)
        child.main(self._target, config, theirs)

    def _reap(self) -> None:
        for process in list(self._processes.values()):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid == 0:
                continue
            for message in process.messages():
                self._told(process, message)
            process.end.close()
            del self._processes[pid]
            self._ended(process, status)
        if self._adopts:
            self._reap_adopted()

    def _reap_adopted(self) -> None:
        """What workers, and those before them, have started and left behind."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in self._processes:  # that one has its turn, and then the next
                return
            os.waitpid(found.si_pid, 0)

    def _end_left(self) -> None:
        """Only when this process fails itself: workers whose channel ends answer what they have taken."""
        for process in self._processes.values():
            process.end.close()
        for pid in self._processes:
            os.waitpid(pid, 0)

    # -- what they say --

    def _told(self, process: Process, message: Dict[str, Any]) -> None:
        if "started" in message:
            process.waits = True
            self._let_listen()
        elif "ready" in message:
            self._is_ready(process, str(message["loop"]))
        elif "failed" in message:
            process.failure = message["failed"]
            if process.state == STARTING:  # it may take its time to end
                self._failed_to_start(process, process.failure["trace"].rstrip())
        elif "tired" in message:
            logger.info("%s has answered max_requests", process)
            process.tired = True
        elif "leaving" in message and process.state == READY:
            logger.info("%s ends: %s", process, message["leaving"])
            self._let_go(process)
            self._start_later(process)
        elif "abandoned" in message:
            process.abandoned = int(message["abandoned"])

    def _let_listen(self) -> None:
        waiting = [process for process in self._processes.values() if process.waits]
        if not self._listening and len(waiting) == len(self._slots):
            self._listening = True
            self._listeners.listen()
        if self._listening:
            for process in waiting:
                process.waits = False
                process.went = True
                process.order(GO)

    def _is_ready(self, process: Process, loop: str) -> None:
        slot = process.slot
        process.ready_at = time.monotonic()
        if process.state != STARTING:  # it has been told to end
            return
        process.state = READY
        process.kill_at = None
        logger.info("%s serves", process)
        if slot.next is process:
            slot.next = None
            old, slot.current = slot.current, process
            if old is not None:
                old.replaced = True
                self._drain(old)
        if not self._serving and all(s.current and s.current.state == READY for s in self._slots):
            self._serving = True
            self._spread()
            banner = self._config.banner(self._listeners.port, len(self._slots), "process", loop, self._choice)
            output.announce(banner)

    def _spread(self) -> None:
        """New connections are for those that serve."""
        self._listeners.spread([slot.number for slot in self._slots if slot.current and slot.current.state == READY])

    def _ended(self, process: Process, status: int) -> None:
        clean = status == 0 and process.abandoned is not None
        self._count(process, clean)
        if self._stops or process.state == LEAVING:
            self._vacate(process)
            level = logging.DEBUG if clean or process.killed or not process.ready_at else logging.WARNING
            logger.log(level, "%s has ended: %s", process, status_text(status))
        elif process.state == STARTING:
            late = f"not ready in {self._start_seconds:g} s (start_timeout_ms)"
            self._failed_to_start(process, late if process.killed else status_text(status))
        else:
            self._vacate(process)
            if clean:
                logger.info("%s has stopped by itself", process)
            else:
                logger.error("%s has died: %s", process, status_text(status))
            self._start_later(process)

    def _count(self, process: Process, clean: bool) -> None:
        """Requests that had no answer."""
        if process.abandoned:
            logger.warning("%s has left %d requests without an answer", process, process.abandoned)
            self._lost += process.abandoned
        elif not clean and process.ready_at:
            self._lost += 1

    def _failed_to_start(self, process: Process, why: str) -> None:
        """It has ended, or has said why and is about to."""
        slot = process.slot
        was_next = slot.next is process
        self._let_go(process)
        if not self._serving:
            failure = process.failure
            logger.error("%s could not start: %s", process, why if failure is None else failure["text"])
            self._error = RuntimeError(f"a worker could not start: {why}") if failure is None else child.rebuild(failure)
            self._stop()
        elif was_next and slot.current is not None:
            logger.error("%s could not start, %s stays: %s", process, slot.current, why)
            if process.generation == self._generation:  # else there is newer code
                slot.retry_at = time.monotonic() + slot.back_off(0)
            for other in self._slots:  # the rest would fare no better, and one that serves is worth more
                if other.current is not None:
                    other.current.generation = max(other.current.generation, process.generation)
        else:
            logger.error("%s could not start: %s", process, why)
            self._start_later(process)

    # -- starting and replacing --

    def _start_later(self, process: Process) -> None:
        slot = process.slot
        if slot.next is not None:  # it comes anyway
            slot.current, slot.next = slot.next, None
            return
        wait = slot.back_off(time.monotonic() - process.ready_at if process.ready_at else 0)
        slot.start_at = time.monotonic() + wait
        logger.info("worker %d starts again in %g s", slot.number, wait)

    def _start_due(self, now: float) -> None:
        for slot in self._slots:
            if slot.start_at is None or slot.start_at > now:
                continue
            try:
                slot.current = self._fork(slot)
                slot.start_at = None
            except OSError as error:
                logger.error("worker %d cannot be started: %s", slot.number, error)
                slot.start_at = now + slot.back_off(0)

    def _is_due(self, slot: Slot) -> bool:
        """Whether its worker is to be replaced."""
        current = slot.current
        return current is not None and current.state == READY and (current.tired or current.generation < self._generation)

    def _replace_one(self, now: float) -> None:
        """One at a time: until the one before has ended the next one waits."""
        busy = any(slot.next is not None for slot in self._slots) or any(p.replaced for p in self._processes.values())
        if busy or not self._serving:
            return
        for slot in self._slots:
            if slot.retry_at > now or not self._is_due(slot):
                continue
            try:
                slot.next = self._fork(slot)
                slot.retry_at = 0.0
            except OSError as error:
                logger.error("%s cannot be replaced: %s", slot.current, error)
                slot.retry_at = now + slot.back_off(0)
            return

    def _vacate(self, process: Process) -> None:
        slot = process.slot
        if slot.current is process:
            slot.current = None
        if slot.next is process:
            slot.next = None

    def _let_go(self, process: Process) -> None:
        """Of what has taken nothing there is nothing to wait for."""
        process.state = LEAVING
        process.kill_at = time.monotonic() + END_GRACE + (self._drain_seconds if process.went else 0)
        self._vacate(process)

    def _drain(self, process: Process) -> None:
        if process.state == STARTING:
            process.kill(signal.SIGTERM)  # at once while it loads the app, else the same as the order
        self._let_go(process)
        process.order(DRAIN)

    # -- signals --

    def _obey(self, numbers: List[int]) -> None:
        if signal.SIGINT in numbers or signal.SIGTERM in numbers:  # that come at once are one
            self._stops += 1
            (self._stop, self._abort, self._kill)[min(self._stops, 3) - 1]()
        elif signal.SIGHUP in numbers and not self._stops:
            self._generation += 1
            logger.info("SIGHUP: replacing %d workers, one after the other", len(self._slots))
            for slot in self._slots:
                slot.retry_at = 0.0
                self._start_anew(slot)

    def _start_anew(self, slot: Slot) -> None:
        """The code of a worker that has yet to start is old: it may be the reason why it does not get ready."""
        for process in (slot.current, slot.next):
            if self._serving and process is not None and process.state == STARTING and not process.went:
                logger.info("%s has not started yet: a new one takes its place", process)
                if slot.current is process:
                    slot.start_at = time.monotonic()
                self._drain(process)

    def _stop(self) -> None:
        self._stops = max(self._stops, 1)
        logger.info("stopping: answering what was taken")
        self._listeners.close()  # the workers' stay until each has emptied the queue
        for process in self._processes.values():
            if process.state != LEAVING:
                self._drain(process)

    def _abort(self) -> None:
        logger.warning("stopping at once")
        for process in self._processes.values():
            soon = time.monotonic() + END_GRACE
            process.kill_at = soon if process.kill_at is None else min(soon, process.kill_at)
            process.order(ABORT)

    def _kill(self) -> None:
        for process in self._processes.values():
            process.killed = True
            process.kill(signal.SIGKILL)


def _adopts() -> bool:
    """Whether processes become children of this one when their parents end: in a container, mostly."""
    found = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    return os.getpid() == 1 or bool(found.value)


def status_text(status: int) -> str:
    """How a process has ended, by what waitpid() says."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
    return f"exit code {os.WEXITSTATUS(status)}"
