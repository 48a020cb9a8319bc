"""Shards, and the executors that run their requests."""

import select
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

from . import callbacks
from ._turbo import ffi, lib
from .callbacks import Kept
from .errors import check, members_of, new_struct
from .request import Request

if TYPE_CHECKING:
    from .core import Core


class Timer:
    """A function that a shard will call. Shard's thread only."""

    _kept: Kept

    def __init__(self) -> None:
        self._ptr: Any = None

    def cancel(self) -> bool:
        """The function will not be called. False when it was already."""
        if self._ptr is None:
            return False
        ptr, self._ptr = self._ptr, None
        lib.turbo_timer_cancel(ptr)
        callbacks.forget(self._kept)
        return True


class Shard:
    """A shard of a server, and a reference to the server's memory. `ptr` is the turbo_shard *."""

    __slots__ = ("_core", "ptr")

    def __init__(self, ptr: Any, core: Optional["Core"]) -> None:
        self.ptr = ptr
        self._core = core

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shard) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    index = property(lambda self: lib.turbo_shard_index(self.ptr), doc="Its number.")
    queued = property(lambda self: lib.turbo_shard_queued(self.ptr), doc="Requests that wait, at this moment.")
    pool_threads = property(lambda self: lib.turbo_shard_pool_threads(self.ptr), doc="Threads of its pool; 0: none.")
    draining = property(lambda self: lib.turbo_shard_draining(self.ptr) != 0, doc="Whether a stop has begun.")
    inflight = property(lambda self: lib.turbo_shard_inflight(self.ptr), doc="Requests with the executor, likewise.")

    def submit(self, request: Request) -> None:
        """Give a request to the shard, from any thread. TURBO_EAGAIN is raised when its queue is full; then the request
        may be submitted again."""
        kept = request._done
        held = kept is not None and callbacks.hold(kept)  # before the call: the answer may come during it
        code = lib.turbo_shard_submit(self.ptr, request.ptr)
        if kept is not None and held and code < 0:
            callbacks.forget(kept)
        check(code)

    def post(self, function: Callable[["Shard", int], object]) -> None:
        """Call function(shard, status) on the shard's thread; status is TURBO_ECLOSED when the shard ends."""
        self._once(lambda kept: lib.turbo_shard_post(self.ptr, lib.turbo_py_shard, kept.pointer), function)

    def timer(self, delay_ms: int, function: Callable[["Shard", int], object]) -> Timer:
        """Call function(shard, status) after a time. Shard's thread only."""
        timer, out = Timer(), ffi.new("turbo_timer **")

        def due(shard: "Shard", status: int) -> None:
            timer._ptr = None
            function(shard, status)

        def give(kept: Kept) -> int:
            return int(lib.turbo_shard_timer(out, self.ptr, delay_ms, lib.turbo_py_shard, kept.pointer))

        timer._kept = self._once(give, due)
        timer._ptr = out[0]
        return timer

    def _once(self, give: Callable[[Kept], int], function: Callable[["Shard", int], object]) -> Kept:
        core = self._core
        kept = callbacks.once(lambda ptr, status: function(Shard(ptr, core), status))
        code = give(kept)
        if code < 0:
            callbacks.forget(kept)
        check(code)
        return kept

    def flush(self) -> None:
        """Send the answers made since the last flush. Shard's thread only."""
        lib.turbo_shard_flush(self.ptr)

    def run(self, requests: Sequence[Request]) -> None:
        """Run the routes' handlers: what an executor does with its batch by default. Shard's thread only."""
        lib.turbo_shard_run(self.ptr, [request.ptr for request in requests], len(requests))

    def run_pool(self) -> None:
        """Be one of the threads of the pool until the shard ends, for an executor with hosts_pool; blocks."""
        out = ffi.new("turbo_request **")
        while True:
            code = lib.turbo_shard_pool_next(self.ptr, out[0], out)
            if code == lib.TURBO_ECLOSED:
                return
            check(code)
            lib.turbo_request_run(out[0])

    def stats(self) -> Dict[str, Any]:
        """The counters: turbo_shard_stats as a dictionary."""
        out = new_struct("turbo_shard_stats")
        check(lib.turbo_shard_stats_get(self.ptr, out))
        return members_of(out)

    def fileno(self) -> int:
        """Of a driven shard: readable when poll() has something to do. So selectors and asyncio take the shard."""
        return check(lib.turbo_shard_fd(self.ptr))

    @property
    def timeout_ms(self) -> int:
        """Of a driven shard: how long its host may sleep; -1 until it is readable. Shard's thread only."""
        return int(lib.turbo_shard_timeout_ms(self.ptr))

    def poll(self) -> bool:
        """Of a driven shard: do what is due. True: call again soon. Raises TURBO_ECLOSED when the shard has ended. The
        thread of the first call becomes the shard's."""
        return check(lib.turbo_shard_poll(self.ptr)) == 1

    def drive(self) -> None:
        """Be the thread of a driven shard until it ends; blocks."""
        driving = set() if self._core is None else self._core.driving
        ready = select.poll()
        ready.register(self.fileno(), select.POLLIN)
        driving.add(self.index)
        try:
            while True:
                code = lib.turbo_shard_poll(self.ptr)
                if code == lib.TURBO_ECLOSED:
                    return
                if check(code) == 0:
                    ready.poll(self.timeout_ms)
        finally:
            driving.discard(self.index)


class Executor:
    """What runs the requests of a server; subclass it. Methods are called on the shard's thread. `driven`: the host
    gives each shard its thread (Shard.drive(), or poll() in a loop of its own). `hosts_pool`: it also gives the pool its
    threads (Shard.run_pool())."""

    driven = False
    hosts_pool = False

    def start_shard(self, shard: Shard) -> Optional[int]:
        """A shard begins. An exception ends Server.start(), which raises it. Driven: on the thread of start()."""
        return None

    def batch(self, shard: Shard, requests: List[Request]) -> None:
        """Answer the requests, now or later. An exception is a 500 for those that have no answer."""
        shard.run(requests)

    def stop_shard(self, shard: Shard) -> None:
        """The shard will get no more requests."""

    events: Optional[Callable[[Shard, Request, int], object]] = None  # or a method; None: on_writable, on_body, on_gone work


class ExecutorTable:
    """An Executor as callbacks.py calls it."""

    def __init__(self, core: "Core", executor: Executor) -> None:
        self.core = core
        self.executor = executor

    def start_shard(self, shard: Any) -> Optional[int]:
        try:
            return self.executor.start_shard(Shard(shard, self.core))
        except BaseException as error:
            self.core.start_error = error
            raise

    def batch(self, shard: Any, reqs: Any, n: int) -> None:
        self.executor.batch(Shard(shard, self.core), [Request(reqs[i], self.core) for i in range(n)])

    def stop_shard(self, shard: Any) -> None:
        self.executor.stop_shard(Shard(shard, self.core))

    def events(self, shard: Any, req: Any, events: int) -> None:
        function = self.executor.events
        if function is not None:
            function(Shard(shard, self.core), Request(req, self.core), events)
