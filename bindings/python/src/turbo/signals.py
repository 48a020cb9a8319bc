"""Signals that come through a pipe: for a main thread that waits for them, or for something else."""

import os
import select
import signal
import threading
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_END = b"\0"  # no signal's number


def ignore(number: int, frame: Any) -> None:
    """A handler, and not SIG_IGN, which programs that are started would inherit."""


def wait_readable(sources: Sequence[Any], seconds: Optional[float] = None) -> List[Any]:
    """As select.select(), which does not take descriptors from 1024 on. Returns those that have something, or have ended."""
    poll = select.poll()
    by_fd = {one.fileno(): one for one in sources}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(None if seconds is None else seconds * 1000)]


class Signals:
    """While entered, these signals do nothing but make this readable. Outside the main thread only end() does."""

    def __init__(self, numbers: Sequence[int] = SIGNALS) -> None:
        self._numbers = tuple(numbers)
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: Dict[int, Any] = {}
        self._old_fd = -1

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._old = {number: signal.signal(number, self._handle) for number in self._numbers}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
        if self._old:
            signal.set_wakeup_fd(self._old_fd)
        self.close()

    def _handle(self, number: int, frame: Any) -> None:
        """What the signal's handler does besides."""

    def close(self) -> None:
        """In a process that was forked: the other one's signals do not come here."""
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)

    def fileno(self) -> int:
        """For poll(): readable when take() has something."""
        return self._read

    def end(self) -> None:
        """Have take() give a 0. Any thread."""
        if self._write >= 0:
            os.write(self._write, _END)

    def take(self) -> List[int]:
        """The signals that have come, in order, and a 0 for each end(). Does not wait."""
        try:
            got = os.read(self._read, 512)
        except BlockingIOError:
            return []
        return [number for number in got if number == 0 or number in self._numbers]


class StopSignals(Signals):
    """SIGINT and SIGTERM, for a thread that has nothing else to do. A third one ends the process, as it would without us: nobody
    may be there to take it, and a handler that blocks its thread holds up every other end."""

    _count = 0

    def _handle(self, number: int, frame: Any) -> None:
        self._count += 1
        if self._count == 2:
            for each in self._numbers:
                signal.signal(each, signal.SIG_DFL)

    def __enter__(self) -> "StopSignals":
        super().__enter__()
        return self

    def wait(self) -> bool:
        """Wait; True: one of the signals came. False: end() was called."""
        while True:
            wait_readable([self])
            for number in os.read(self._read, 1):
                if number in SIGNALS:
                    return True
                if number == 0:
                    return False
