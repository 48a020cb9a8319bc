"""slow_ms: tells of handlers that hold up their shard's loop. What is here runs only when it is asked for."""

import asyncio
import inspect
import sys
import threading
import time
import traceback
import types
from typing import Any, Callable, Coroutine, Dict, Generator, List, Optional, Union

from ._native import Request, main_interpreter
from .errors import logger
from .gil import gil_enabled

Owner = Union[Request, List[Request]]
Handler = Callable[..., Any]

LOOKS = 4  # how often the thread looks at a shard in slow_ms


def _name(owner: Owner) -> str:
    if isinstance(owner, list):
        return f"batch of {len(owner)} for {owner[0].method} {owner[0].route}" if owner else "batch"
    return f"{owner.method} {owner.path} ({owner.route})"


def _shard(owner: Owner) -> int:
    request = owner[0] if isinstance(owner, list) else owner
    return request.shard.index


def _stack(thread: int) -> Optional[str]:
    """Where a thread is; None: it is not there. With a GIL only: frames that run meanwhile cannot be looked at."""
    frame = sys._current_frames().get(thread)
    return None if frame is None else "".join(traceback.format_stack(frame))


class Step:
    """What a thread does now: a call of a handler, or a step of its coroutine."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.since = time.monotonic()
        self.told = False


class Watch:
    """Every step is noted at its begin and end; a thread looks for those that take too long."""

    def __init__(self, slow_ms: int) -> None:
        self._limit = slow_ms / 1000
        self._steps: Dict[int, Step] = {}  # by thread
        self._end = threading.Event()
        self._thread: Optional[threading.Thread] = None

    # -- the thread --

    def start(self) -> None:
        """Begin to look."""
        if not main_interpreter:
            return  # sys._current_frames() goes through all interpreters, whose objects are not ours to hold; see _leave()
        thread = threading.Thread(target=self._look, name="turbo-watch", daemon=True)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """Wait for the thread's end. Does nothing when it was not started."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(self._limit / LOOKS):
            now = time.monotonic()
            for thread, step in self._steps.copy().items():
                if not step.told and now - step.since > self._limit:
                    self._tell(thread, step)

    def _tell(self, thread: int, step: Step) -> None:
        where = _stack(thread) if gil_enabled() else ""
        if where is None or self._steps.get(thread) is not step:
            return  # it has ended just now, and tells so itself
        step.told = True
        ms, at = self._limit * 1000, f", at:\n{where}" if where else ""
        logger.warning("%s blocks shard %d for over %g ms%s", _name(step.owner), _shard(step.owner), ms, at)

    # -- the handlers' threads --

    def wrap(self, handler: Handler) -> Handler:
        """A handler, or an exception handler, whose steps are noted. It is a plain function."""

        def watched(owner: Owner, *args: Any) -> Any:
            step = self._enter(owner)
            try:
                result = handler(owner, *args)
            finally:
                self._leave(step)
            if inspect.iscoroutine(result):
                return self._watch(owner, result)
            return self._watch(owner, _wait(result)) if inspect.isawaitable(result) else result

        return watched

    async def _watch(self, owner: Owner, coro: Coroutine[Any, Any, Any]) -> Any:
        return await self._steps_of(owner, coro)

    @types.coroutine
    def _steps_of(self, owner: Owner, coro: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """What `yield from coro` does, each step noted."""
        value, error = None, None
        while True:
            step = self._enter(owner)
            try:
                yielded = coro.send(value) if error is None else coro.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                self._leave(step)
            try:
                value, error = (yield yielded), None
            except GeneratorExit:
                coro.close()
                raise
            except BaseException as thrown:
                value, error = None, thrown

    def _enter(self, owner: Owner) -> Step:
        step = self._steps[threading.get_ident()] = Step(owner)
        return step

    def _leave(self, step: Step) -> None:
        taken = time.monotonic() - step.since
        self._steps.pop(threading.get_ident(), None)
        if taken > self._limit:
            ms, where = taken * 1000, "" if step.told else ", where is not known"
            logger.warning("%s blocked shard %d for %.0f ms%s", _name(step.owner), _shard(step.owner), ms, where)


async def _wait(awaitable: Any) -> Any:
    return await awaitable


def debug_loop(loop: asyncio.AbstractEventLoop, slow_ms: int) -> None:
    """asyncio's own debug mode; it tells of other callbacks that take as long."""
    loop.set_debug(True)
    if slow_ms > 0:
        loop.slow_callback_duration = slow_ms / 1000
