"""SIGINT and SIGTERM while on_start runs, which may take its time."""

import signal
import threading
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Type

from .executor import Executor
from .signals import SIGNALS

Make = Callable[..., Executor]


class StartSignals:
    """While entered, within StopSignals, the first of these signals ends the start of the executor that was made with make(),
    and a second one the process, as it would without us. Does nothing outside the main thread."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._executor: Optional[Executor] = None
        self._old: Dict[int, Any] = {}
        self._come = False

    def make(self, *args: Any) -> Executor:
        """The executor."""
        executor = self._executor = self._make(*args)
        if self._come:
            executor.end_start()
        return executor

    def __enter__(self) -> "StartSignals":
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)

    def _take(self, number: int, frame: Any) -> None:
        if self._come:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._come = True
        if self._executor is not None:
            self._executor.end_start()
