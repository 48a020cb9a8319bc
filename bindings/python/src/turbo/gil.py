"""How threads that run Python take turns, where an interpreter runs one at a time."""

import sys
import threading
from typing import Callable, List, Optional

_lock = threading.Lock()
_wanted: List[float] = []  # seconds, of all servers that run
_before: float = 0  # what was set when the first of them came


def gil_enabled() -> bool:
    """Whether this interpreter runs one thread at a time."""
    check: Optional[Callable[[], bool]] = getattr(sys, "_is_gil_enabled", None)
    return True if check is None else check()


class SwitchInterval:
    """A wish for sys.setswitchinterval(), which is one for the process: of several the shortest counts.

    A thread that waits for the GIL asks the one that has it to let go after so long. When the last wish is withdrawn,
    what was set before the first comes back.
    """

    def __init__(self) -> None:
        self._seconds: Optional[float] = None

    def set(self, seconds: float) -> None:
        """Any thread, once."""
        global _before
        with _lock:
            if not _wanted:
                _before = sys.getswitchinterval()
            self._seconds = seconds
            _wanted.append(seconds)
            sys.setswitchinterval(min(_wanted))

    def unset(self) -> None:
        """Any thread; does nothing when nothing was set."""
        with _lock:
            if self._seconds is None:
                return
            _wanted.remove(self._seconds)
            self._seconds = None
            sys.setswitchinterval(min(_wanted, default=_before))
