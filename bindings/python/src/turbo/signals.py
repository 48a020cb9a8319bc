"""Waiting for SIGINT and SIGTERM, or for the end, in the main thread."""

import os
import select
import signal
import threading
from types import TracebackType
from typing import Any, Dict, Optional, Type

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_END = b"\0"  # no signal's number


def _ignore(number: int, frame: Any) -> None:
    """The signal's number comes through the pipe."""


class StopSignals:
    """While entered, the two signals do nothing but end wait(). Outside the main thread only end() does."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old: Dict[int, Any] = {}
        self._old_fd = -1

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._old_fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._old = {number: signal.signal(number, _ignore) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
        if self._old:
            signal.set_wakeup_fd(self._old_fd)
        os.close(self._read)
        write, self._write = self._write, -1
        os.close(write)

    def end(self) -> None:
        """Have wait() return False. Any thread."""
        if self._write >= 0:
            os.write(self._write, _END)

    def wait(self) -> bool:
        """Wait; True: one of the signals came. False: end() was called."""
        while True:
            select.select([self._read], [], [])
            for number in os.read(self._read, 1):
                if number in SIGNALS:
                    return True
                if number == 0:
                    return False
