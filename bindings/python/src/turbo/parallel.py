"""How shards run Python side by side: the ways there are, and which one a run takes."""

import os
import sys
import sysconfig
from dataclasses import dataclass
from typing import Callable, Optional

from .gil import gil_enabled

WAYS = ("gil", "free-threaded", "interpreters", "processes")
CHOICES = ("auto", *WAYS)
INTERPRETERS_FROM = (3, 13)  # of CPython: 3.12 corrupts its heap when an interpreter that has imported asyncio ends

Probe = Callable[[str], Optional[str]]


@dataclass(frozen=True)
class Choice:
    """A way, and in a few words why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def cpu_count() -> int:
    """CPUs that this process may use: how many processes, or interpreters, there are unless told."""
    return len(os.sched_getaffinity(0))


def why_gil() -> str:
    """Why this interpreter runs one thread at a time."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this build of CPython has a GIL"
    if os.environ.get("PYTHON_GIL") == "1" or sys._xoptions.get("gil") == "1":
        return "PYTHON_GIL=1 or -X gil=1 has turned the GIL on"
    return "a module that was imported has turned the GIL on; PYTHON_GIL=0 keeps it off"


def _too_old() -> Optional[str]:
    if sys.version_info >= INTERPRETERS_FROM:
        return None
    return "interpreters need CPython {}.{}".format(*INTERPRETERS_FROM)


def _check(wanted: str, named: Optional[str]) -> None:
    """ValueError for a way that cannot be."""
    reason = None
    if wanted == "free-threaded" and gil_enabled():
        reason = why_gil()
    elif wanted == "gil" and not gil_enabled():
        reason = "the GIL is off; PYTHON_GIL=1 turns it on"
    elif wanted == "interpreters" and not gil_enabled():
        reason = "the GIL is off, and threads run side by side without interpreters of their own"
    elif wanted == "interpreters":
        reason = _too_old()
        if reason is None and named is None:
            reason = 'each interpreter imports the app: name it by its import string, turbo.run("module:app")'
    if reason is not None:
        raise ValueError(f'parallel: "{wanted}" cannot be: {reason}')


def _choose(named: Optional[str], shards: Optional[int], probe: Probe) -> Choice:
    if not gil_enabled():
        return Choice("free-threaded", "the GIL is off")
    if shards is None:
        return Choice("gil", "with a GIL one shard unless told")
    if shards <= 1:
        return Choice("gil", "one shard")
    if named is None:
        return Choice("gil", "the app is an object; name it by import string for interpreters or processes")
    reason = _too_old()
    if reason is None:
        reason = probe(named)
    if reason is None:
        return Choice("interpreters", "the app loads in one of its own")
    return Choice("processes", reason)


def choose(wanted: str, named: Optional[str], shards: Optional[int], probe: Probe) -> Choice:
    """Which way a run takes.

    wanted   one of CHOICES
    named    the app's import string; None for one that was given as an object
    shards   how many were asked for: threads, interpreters or processes; None: as many as is usual for the way
    probe    says why an app does not load in an interpreter of its own, or None if it does; called only by "auto"

    Raises ValueError, which says why, for a way that cannot be here.
    """
    if wanted not in CHOICES:
        raise ValueError(f"parallel: {wanted!r} is not one of {', '.join(CHOICES)}")
    if wanted == "auto":
        return _choose(named, shards, probe)
    _check(wanted, named)
    return Choice(wanted, "as asked")
