"""From C to Python: one C function for each callback type of libturbo.

    kept = callbacks.Kept(function)
    lib.turbo_server_route(server, b"GET", b"/", ffi.NULL, lib.turbo_py_handler, kept.pointer)

`lib.turbo_py_<type>` calls `function` with the arguments of turbo_<type>_fn but for `user`; the functions of an
executor table are lib.turbo_py_executor_*, and call the methods of the kept object. C gets a number as `user`, never an
address: a callback that comes when its Kept is gone finds nothing and does nothing (a handler: 500). Who
makes a Kept keeps it for as long as the callback is wanted; `once()` is for those that are called exactly once.

Threads: libturbo calls on its own threads, and each trampoline takes the GIL there (cffi does it by PyGILState). So a
callback waits for other Python threads, and the loop of libturbo that called waits with it. The extension module of
bindings/python does without this; where requests per second count, use that.

Exceptions never cross C: they are logged with their traceback to the logger "turbo_cffi", and C gets TURBO_EUSER where
the callback has a result. That holds for KeyboardInterrupt and SystemExit too.
"""

import collections
import itertools
import logging
import threading
import weakref
from typing import Any, Callable, Deque, Dict, Iterable, MutableMapping, Optional, Tuple

from ._turbo import ffi, lib

log = logging.getLogger("turbo_cffi")


class Kept:
    """An object that C can call as long as this lives. `pointer` is what to hand over as `user` or `self`."""

    __slots__ = ("__weakref__", "pointer", "target")

    def __init__(self, target: Any) -> None:
        number = next(_numbers)
        self.target = target
        self.pointer = ffi.cast("void *", number)
        _kept[number] = self


_numbers = itertools.count(1)
_kept: MutableMapping[int, Kept] = weakref.WeakValueDictionary()
_once: Dict[int, Kept] = {}


def number_of(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def once(target: Callable[..., object]) -> Kept:
    """Keep a function until it was called: for turbo_shard_post(), turbo_shard_timer(), turbo_request_new(),
    turbo_server_stop() and turbo_response_body_ref(). forget() when the call that it was made for has failed."""
    kept = Kept(target)
    hold(kept)
    return kept


def hold(kept: Kept) -> bool:
    """Keep what was made before, until it was called. False when it was kept already."""
    number = number_of(kept.pointer)
    if number in _once:
        return False
    _once[number] = kept
    return True


def forget(kept: Kept) -> None:
    """Drop what once() keeps."""
    _once.pop(number_of(kept.pointer), None)


def _find(pointer: Any) -> Optional[Any]:
    kept = _kept.get(number_of(pointer))
    return None if kept is None else kept.target


def _take(pointer: Any) -> Optional[Any]:
    kept = _once.pop(number_of(pointer), None)
    return _find(pointer) if kept is None else kept.target


# -- giving things back --


class _Here(threading.local):
    """Whether this thread is in a callback that must not call the library."""

    depth = 0


_here = _Here()
_later: Deque[Tuple[Callable[[Any], object], Any]] = collections.deque()


class GiveBack:
    """A destructor that calls a function of the library which any thread may call. Garbage is collected anywhere, also
    inside callbacks that must not call the library: what is given back there waits until the next call elsewhere.

    It holds all that it needs: when the interpreter exits, the names of modules go before the last objects."""

    __slots__ = ("_here", "_later", "_release")

    def __init__(self, release: Callable[[Any], object]) -> None:
        self._release, self._later, self._here = release, _later, _here

    def __call__(self, pointer: Any) -> None:
        self._later.append((self._release, pointer))
        self.flush()

    def flush(self) -> None:
        """Give back what has been waiting, unless this is such a callback."""
        while self._later and self._here.depth == 0:
            try:
                release, pointer = self._later.popleft()
            except IndexError:  # another thread was faster
                return
            release(pointer)


# -- running Python --


def log_failure(what: str, error: BaseException) -> None:
    """Say that a callback has failed. Logging itself must not raise into C."""
    try:
        log.error("%s failed", what, exc_info=error)
    except BaseException:  # noqa: B902
        pass


def _status(what: str, function: Optional[Callable[..., Any]], *arguments: Any, most: int = 0) -> int:
    """Call for a result: None is 0."""
    try:
        if function is None:
            return int(lib.TURBO_EUSER)
        result = function(*arguments)
        if result is None:
            return 0
        if isinstance(result, int) and result <= most:
            return int(result)
        raise TypeError(f"{what} returned {result!r}, and may return None, {'1, ' * most}0 or a negative number")
    except BaseException as error:  # noqa: B902
        log_failure(what, error)
        return int(lib.TURBO_EUSER)


def _call(what: str, function: Optional[Callable[..., Any]], *arguments: Any) -> None:
    try:
        if function is not None:
            function(*arguments)
    except BaseException as error:  # noqa: B902
        log_failure(what, error)


def _call_apart(what: str, function: Optional[Callable[..., Any]], *arguments: Any) -> None:
    """Call for a callback that must not call the library."""
    _here.depth += 1
    try:
        _call(what, function, *arguments)
    finally:
        _here.depth -= 1


def fail_all(requests: Iterable[Any]) -> None:
    """What becomes of a batch whose function has failed: 500 for each that has no answer."""
    for req in requests:
        lib.turbo_request_fail(req)  # TURBO_ESTATE: it has one


# -- the trampolines --


@ffi.def_extern(error=lib.TURBO_EUSER)
def turbo_py_handler(req: Any, user: Any) -> int:
    return _status("handler", _find(user), req)


@ffi.def_extern()
def turbo_py_batch(shard: Any, reqs: Any, n: int, user: Any) -> None:
    _run_batch("batch callback", _find(user), shard, reqs, n)


@ffi.def_extern()
def turbo_py_request(req: Any, user: Any) -> None:
    _call("callback of a request", _find(user), req)


@ffi.def_extern()
def turbo_py_done(req: Any, status: int, response: Any, user: Any) -> None:
    _call("done callback", _take(user), req, status, response)


@ffi.def_extern()
def turbo_py_shard(shard: Any, status: int, user: Any) -> None:
    _call("function on a shard", _take(user), shard, status)


@ffi.def_extern()
def turbo_py_stopped(server: Any, user: Any) -> None:
    _call("stopped callback", _take(user), server)


@ffi.def_extern()
def turbo_py_free(user: Any) -> None:
    _call_apart("free callback", _take(user))


@ffi.def_extern()
def turbo_py_log(user: Any, level: int, message: Any) -> None:
    _call_apart("log callback", _find(user), level, message)


@ffi.def_extern()
def turbo_py_placement(req: Any, shards: int, user: Any) -> int:
    """A placement that fails, or returns no number, means shard 0."""
    function = _find(user)
    try:
        return 0 if function is None else int(function(req, shards)) % shards
    except BaseException as error:  # noqa: B902
        log_failure("placement", error)
        return 0


@ffi.def_extern(error=lib.TURBO_EUSER)
def turbo_py_weight(out: Any, req: Any, user: Any) -> int:
    return _status("weight function", _find(user), out, req, most=1)


@ffi.def_extern(error=lib.TURBO_EUSER)
def turbo_py_executor_start_shard(self: Any, shard: Any) -> int:
    return _status("start_shard", getattr(_find(self), "start_shard", None), shard)


@ffi.def_extern()
def turbo_py_executor_batch(self: Any, shard: Any, reqs: Any, n: int) -> None:
    _run_batch("executor", getattr(_find(self), "batch", None), shard, reqs, n)


@ffi.def_extern()
def turbo_py_executor_stop_shard(self: Any, shard: Any) -> None:
    _call("stop_shard", getattr(_find(self), "stop_shard", None), shard)


@ffi.def_extern()
def turbo_py_executor_events(self: Any, shard: Any, req: Any, events: int) -> None:
    _call("events", getattr(_find(self), "events", None), shard, req, events)


def _run_batch(what: str, function: Optional[Callable[..., Any]], shard: Any, reqs: Any, n: int) -> None:
    """Each request is held meanwhile: the function may answer it and then fail."""
    held = [lib.turbo_request_retain(reqs[i]) for i in range(n)]
    try:
        if function is None:
            raise LookupError("the callback is gone")
        function(shard, reqs, n)
    except BaseException as error:  # noqa: B902
        log_failure(what, error)
        fail_all(held)
    finally:
        for req in held:
            lib.turbo_request_release(req)
