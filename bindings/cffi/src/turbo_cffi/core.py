"""What a server needs to outlive its Server object."""

import atexit
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import callbacks
from ._turbo import ffi, lib
from .callbacks import GiveBack, Kept
from .errors import NULL, Error, check, string_of
from .options import Options


class Core:
    """A turbo_server and all that C may call because of it. Kept in `running` from start until it has stopped, so that
    dropping the Server in between is safe."""

    running: "Set[Core]" = set()

    def __init__(self, options: Optional[Options]) -> None:
        out = ffi.new("turbo_server **")
        check(lib.turbo_server_new(out, NULL if options is None else options.ptr))
        self.ptr = ffi.gc(out[0], release_server)
        self.lock = threading.RLock()  # the garbage collector may drop the Server while it is held
        self.kept: List[Kept] = []
        self.watches: Dict[Tuple[int, str], Kept] = {}
        self.start_error: Optional[BaseException] = None
        self.stop_given = False
        self.stopped_functions: List[Callable[[], object]] = []
        self.stopped = threading.Event()  # and every function has been called
        self.stopping_thread = 0
        self.driven = False
        self.drain_ms = (Options() if options is None else options).get("drain_timeout_ms")
        self.driving: Set[int] = set()  # driven shards that Shard.drive() has in hand, or will have
        self.ended: Set[int] = set()  # driven shards that poll_here() has seen the end of

    def keep(self, target: Any) -> Kept:
        kept = Kept(target)
        self.kept.append(kept)
        return kept

    def unwatch(self, ptr: Any) -> None:
        if self.watches:
            number = callbacks.number_of(ptr)
            for what in ("writable", "gone", "body"):
                self.watches.pop((number, what), None)

    def run(self, function: Callable[[Any], int]) -> None:
        """Call turbo_server_start() or turbo_server_run()."""
        with self.lock:
            fresh = self not in running
            running.add(self)
        code = function(self.ptr)
        if code == 0:
            return
        if fresh:
            running.discard(self)
        if self.start_error is not None:
            error, self.start_error = self.start_error, None
            raise error
        raise Error(code, string_of(lib.turbo_server_error(self.ptr)))

    def stop(self, function: Optional[Callable[[], object]] = None) -> None:
        """Ask once to be told, whatever the number of those who want to know."""
        with self.lock:
            over = self.stopped.is_set()
            if function is not None and not over:
                self.stopped_functions.append(function)
            first, self.stop_given = not self.stop_given, True
        if over:
            if function is not None:
                function()
            return
        if not first:
            return
        kept = callbacks.once(lambda ptr: self.on_stopped())
        code = lib.turbo_server_stop(self.ptr, lib.turbo_py_stopped, kept.pointer)
        if code < 0:
            callbacks.forget(kept)
            with self.lock:
                self.stop_given = False
                if function is not None:
                    self.stopped_functions.remove(function)
            raise Error(code)

    def on_stopped(self) -> None:
        """No other thread of the server is left."""
        self.stopping_thread = threading.get_ident()
        try:
            while True:
                with self.lock:
                    if not self.stopped_functions:
                        self.stopped.set()
                        break
                    function = self.stopped_functions.pop(0)
                callbacks._call("stopped function", function)
        finally:
            self.kept.clear()
            self.watches.clear()
            running.discard(self)

    def settle(self) -> None:
        """Behind turbo_server_wait(): until on_stopped() is through, too."""
        try:
            self.stop()
        except Error:  # lib.turbo_server_stop() was given a function by somebody else
            self.on_stopped()
        if self.stopping_thread != threading.get_ident():
            self.stopped.wait()

    def close(self) -> None:
        """The Server is dropped."""
        if self in self.running:
            GiveBack(Core.stop_quietly)(self)

    def stop_quietly(self) -> None:
        try:
            self.stop()
        except Error:  # it was stopped by lib, or its start has failed
            pass

    # at exit

    def poll_here(self) -> None:
        """Poll the driven shards that no other thread polls: this thread drove them, or nobody did yet."""
        for i in range(lib.turbo_server_shard_count(self.ptr)):
            if i in self.ended or i in self.driving:
                continue
            if lib.turbo_shard_poll(lib.turbo_server_shard(self.ptr, i)) == lib.TURBO_ECLOSED:
                self.ended.add(i)

    def end(self) -> None:
        """Wait for the end, as long as a drain may take."""
        deadline = time.monotonic() + self.drain_ms / 1000 + MORE_THAN_A_DRAIN
        while not self.stopped.is_set() and time.monotonic() < deadline:
            if self.driven:
                self.poll_here()
            self.stopped.wait(0.01 if self.driven else max(0.0, deadline - time.monotonic()))


running = Core.running
release_server = GiveBack(lib.turbo_server_release)
MORE_THAN_A_DRAIN = 5.0  # seconds


@atexit.register
def end_all() -> None:
    """No thread of libturbo may call Python when the interpreter goes."""
    cores = list(running)
    for core in cores:
        core.stop_quietly()
    for core in cores:
        core.end()
    release_server.flush()
