"""How threads that run Python take turns, where an interpreter runs one at a time."""

import importlib.machinery
import sys
import sysconfig
import threading
import types
from typing import Any, Callable, List, Optional

from ._native import needs_gil

IMMORTAL = 1 << 31  # sys.getrefcount() of what is never freed is at least this, where there is no GIL

_lock = threading.Lock()
_wanted: List[float] = []  # seconds, of all servers that run
_before: float = 0  # what was set when the first of them came


def gil_enabled() -> bool:
    """Whether this interpreter runs one thread at a time."""
    check: Optional[Callable[[], bool]] = getattr(sys, "_is_gil_enabled", None)
    return True if check is None else check()


def free_threaded() -> bool:
    """Whether this Python was built so that it can do without a GIL."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def asked_for() -> bool:
    """Whether who started this Python wants a GIL."""
    return getattr(sys.flags, "gil", None) == 1


def why_enabled() -> str:
    """What has turned the GIL of a free-threaded build on, as far as that can be known."""
    if asked_for():
        return "PYTHON_GIL=1 or -X gil=1 asks for it"
    modules = [module for module in sys.modules.copy().values() if _is_extension(module)]
    needing = sorted(module.__name__ for module in modules if needs_gil(module))
    if needing:
        return f"importing {', '.join(needing)} has turned it on"
    unknown = sorted(module.__name__ for module in modules if needs_gil(module) is None)
    return f"importing {' or '.join(unknown)} may have turned it on" if unknown else "what has turned it on is not known"


def counts_constants(fn: Any) -> bool:
    """Whether threads that run a function at the same time pass reference counts of its constants to and fro.

    Without a GIL, CPython 3.13 and 3.14 make constants immortal when code is read from bytecode (a .pyc), and leave those that
    compile() has made as they are, also when it is an import that calls it.
    """
    constants = getattr(getattr(fn, "__code__", None), "co_consts", ())
    return not gil_enabled() and any(
        sys.getrefcount(constant) < IMMORTAL for constant in constants if not isinstance(constant, types.CodeType)
    )


def _is_extension(module: object) -> bool:
    spec = getattr(module, "__spec__", None)
    loader = getattr(spec, "loader", None)
    return isinstance(module, types.ModuleType) and isinstance(loader, importlib.machinery.ExtensionFileLoader)


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
