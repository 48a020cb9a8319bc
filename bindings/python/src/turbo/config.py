"""What a run of an App is given: where it listens, its loops, and the settings of libturbo's table."""

import os
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import asyncio

from ._native import Setting, settings
from .errors import logger
from .gil import gil_enabled
from .parallel import CHOICES, Choice, Probe, choose, cpu_count

LoopChoice = Union[str, Callable[[], asyncio.AbstractEventLoop]]
SettingValue = Union[int, str]

LOOPS = ("auto", "uvloop", "asyncio")
TASKS = ("turbo", "stock")
MODES = ("sharded", "single")
SINGLE_WORKERS = 140  # what the old design ran with
SLOW_MS = 100  # with debug=True
SLOW_MS_MAX = 60000
SWITCH_INTERVAL_US_MAX = 1000000
MAX_REQUESTS_MAX = 1 << 40
START_TIMEOUT_MS = 60000
START_TIMEOUT_MS_MAX = 86400000


def _choice(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(allowed)}")


def _check_int(name: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: {value!r} is {type(value).__name__}, expected int")
    if not 0 <= value <= most:
        raise ValueError(f"{name}: {value} is out of range, allowed are 0 to {most}")


@dataclass
class Config:
    """One run. Settings are checked by the library when the server is made."""

    host: str = "127.0.0.1"
    port: int = 8000
    unix: Optional[str] = None
    fd: Optional[int] = None
    loop: LoopChoice = "auto"
    task: str = "turbo"
    mode: str = "sharded"
    debug: bool = False
    slow_ms: Optional[int] = None
    switch_interval_us: Optional[int] = None  # None: 500, where several threads run handlers; 0: Python's own
    parallel: str = "auto"
    max_requests: int = 0
    max_requests_jitter: int = 0
    start_timeout_ms: int = START_TIMEOUT_MS
    settings: Dict[str, SettingValue] = field(default_factory=dict)
    # What a supervisor adds for its processes.
    sockets: Tuple[int, ...] = ()  # descriptors that listen, instead of host, port, unix and fd
    before_listening: Optional[Callable[[], None]] = None  # called when on_start has returned
    stopping: Optional[Callable[[], None]] = None  # called when a stop begins, by any thread, and perhaps again
    fallbacks: Dict[str, SettingValue] = field(default_factory=dict)  # of settings; weaker than the environment

    def __post_init__(self) -> None:
        if not isinstance(self.host, str):
            raise TypeError(f"host: {self.host!r} is {type(self.host).__name__}, expected str")
        _check_int("port", self.port, 65535)
        if not callable(self.loop):
            _choice("loop", self.loop, LOOPS)
        _choice("task", self.task, TASKS)
        _choice("mode", self.mode, MODES)
        _choice("parallel", self.parallel, CHOICES)
        if not isinstance(self.debug, bool):
            raise TypeError(f"debug: {self.debug!r} is {type(self.debug).__name__}, expected bool")
        if self.slow_ms is None:
            self.slow_ms = SLOW_MS if self.debug else 0
        _check_int("slow_ms", self.slow_ms, SLOW_MS_MAX)
        if self.switch_interval_us is not None:
            _check_int("switch_interval_us", self.switch_interval_us, SWITCH_INTERVAL_US_MAX)
        _check_int("max_requests", self.max_requests, MAX_REQUESTS_MAX)
        _check_int("max_requests_jitter", self.max_requests_jitter, MAX_REQUESTS_MAX)
        if self.max_requests_jitter and not self.max_requests:
            raise ValueError(f"max_requests_jitter: {self.max_requests_jitter} needs max_requests, to which it is added")
        _check_int("start_timeout_ms", self.start_timeout_ms, START_TIMEOUT_MS_MAX)

    def choose(self, named: Optional[str], probe: Probe) -> Choice:
        """Which way the run takes, logged; see parallel.choose(). ValueError when it cannot be."""
        choice = self._choose_single() if self.mode == "single" else self._choose_sharded(named, probe)
        if self.max_requests and choice.name != "processes":
            raise ValueError(f'max_requests: {self.max_requests} needs parallel="processes", not {choice}')
        logger.info("parallel: %s", choice)
        return choice

    def _choose_sharded(self, named: Optional[str], probe: Probe) -> Choice:
        if not callable(self.loop):
            return choose(self.parallel, named, self.shards(), probe)
        reason = "loop: a function of this interpreter cannot make the loops of others"
        choice = choose(self.parallel, named, self.shards(), lambda named: reason)
        if choice.name == "interpreters":
            raise ValueError(f'parallel: "interpreters" cannot be: {reason}')
        return choice

    def _choose_single(self) -> Choice:
        if self.parallel in ("interpreters", "processes"):
            raise ValueError(f'parallel: "{self.parallel}" cannot be: with mode="single" all shards have one loop')
        return Choice("gil" if gil_enabled() else "free-threaded", 'mode="single"')

    def shards(self) -> Optional[int]:
        """How many were asked for, by argument or environment; None when nothing was, or no number."""
        try:
            return self._number("shards")
        except (TypeError, ValueError):
            return None  # the library says what is wrong with it

    def units(self) -> int:
        """How many interpreters or processes there are to be. ValueError for a number that is none of theirs."""
        row, given = _rows()["shards"], self.settings.get("shards", os.environ.get("TURBO_SHARDS"))
        if given is None:
            return cpu_count()
        count = self.shards()
        if count is None or not row.min <= count <= row.max:
            raise ValueError(f"shards: {given!r} is out of range, allowed are {row.min} to {row.max}")
        return count

    def number(self, name: str) -> int:
        """A setting with a default, of a table that the library has taken already."""
        found = self._number(name)
        return int(_rows()[name].default) if found is None else found

    def _number(self, name: str) -> Optional[int]:
        text = self.settings.get(name, os.environ.get("TURBO_" + name.upper()))
        return None if text is None else int(text)

    def defaults(self) -> Dict[str, SettingValue]:
        """What Python changes of the table's defaults.

        With a GIL more shards cost more than they bring. Workers of mode="single" take requests in turn: one that waits
        for a coroutine can do nothing else.
        """
        if self.mode == "single":
            return {"shards": SINGLE_WORKERS, "placement": "round_robin"}
        return {"shards": 1, **self.fallbacks} if gil_enabled() else dict(self.fallbacks)

    def addresses(self) -> List[str]:
        """Where to bind, in the library's words; without `unix` and `fd`, host and port."""
        if self.sockets:
            return []
        if self.unix is not None:
            return [f"unix:{os.fspath(self.unix)}"]
        if self.fd is not None:
            return []
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return [f"{host}:{self.port}"]

    def banner(self, port: int, count: int, unit: str, loop: str, choice: Choice) -> str:
        """The line that says where `count` units of this name listen."""
        where = f"unix:{self.unix}" if self.unix is not None else f"http://{_url_host(self.host)}:{port}"
        units = unit if count == 1 else unit + ("es" if unit.endswith("s") else "s")
        return f"turbo listens on {where} ({count} {units}, {loop}; {choice})"


def _rows() -> Dict[str, Setting]:
    return {row.name: row for row in settings()}


def _url_host(host: str) -> str:
    if host == "":
        return "0.0.0.0"
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


_OURS = ("host", "port", "settings", "sockets", "before_listening", "stopping", "fallbacks")
_NAMED = [one.name for one in fields(Config) if one.name not in _OURS]


def make_config(host: str, port: int, given: Dict[str, Any]) -> Config:
    """A Config of arguments by keyword: those of its own, and settings of the table."""
    named = {name: value for name, value in given.items() if name in _NAMED}
    table = {name: value for name, value in given.items() if name not in _NAMED}
    return Config(host, port, settings=table, **named)


def loop_factory(choice: LoopChoice) -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes a shard's loop. ImportError when uvloop is asked for by name and missing.

    "auto" is uvloop with a GIL and without: `make bench-loops` has it at half to three quarters of asyncio's CPU for a
    handler that sleeps, and no difference for others above that of the rounds. It leaves the GIL off.
    """
    if callable(choice):
        return choice
    if choice == "asyncio":
        return asyncio.SelectorEventLoop
    try:
        import uvloop
    except ImportError:
        if choice == "uvloop":
            raise
        return asyncio.SelectorEventLoop
    make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return make
