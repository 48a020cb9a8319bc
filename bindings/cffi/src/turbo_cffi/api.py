"""libturbo's objects as Python objects: thin, one method a function.

Three things are added to the C API. Errors raise: a negative result is an Error with its code, name and sentence.
References are held: an object that is in use keeps what it needs alive, so the objects may be dropped in any order, by
hand or by the garbage collector. And callables are taken for callbacks; callbacks.py says what their exceptions become.

Bytes stay bytes: what came from a client is not decoded. Names, patterns and addresses are str. Unless a docstring says
otherwise a method may be called on any thread, does not block, and raises Error with the codes that the header of its C
function lists; calls that block release the GIL.
"""

import threading
from typing import Any, Callable, Dict, List, Optional, Union

from ._turbo import ffi, lib
from .callbacks import Kept
from .core import Core, running
from .errors import NULL, Error, check, maybe_text, members_of, new_struct, string_of, text
from .options import Options, RouteOptions, Setting, settings
from .request import Done, DoneCall, Request, Response
from .shard import Executor, ExecutorTable, Shard, Timer

__all__ = [
    "Error",
    "Executor",
    "Options",
    "Request",
    "Response",
    "RouteOptions",
    "Server",
    "Setting",
    "Shard",
    "Timer",
    "check",
    "library_version",
    "new_struct",
    "settings",
]

Handler = Callable[[Request], Optional[int]]
BatchHandler = Callable[[Shard, List[Request]], object]

library_version: str = string_of(lib.turbo_version_string())


class Server:
    """A server: route(), listen(), start(), ..., stop(), wait(). Set up by one thread.

    Dropping it stops it, unless a handler refers to it; release() does so always. What was taken is still answered."""

    def __init__(self, options: Optional[Options] = None, **values: Union[int, str]) -> None:
        """Server(options), or Server(shards=2, ...)."""
        if values:
            if options is not None:
                raise TypeError("options or settings, not both")
            options = Options(**values)
        self._core: Optional[Core] = None
        self._core = Core(options)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        """Stop, wait, release."""
        core = self._core
        if core is not None and core in running:
            self.stop()
            self.wait()
        self.release()

    def __del__(self) -> None:
        self.release()

    @property
    def core(self) -> Core:
        if self._core is None:
            raise Error(lib.TURBO_ESTATE, "the server was released")
        return self._core

    @property
    def ptr(self) -> Any:
        """The turbo_server *, for lib. It lives as long as this cdata object."""
        return self.core.ptr

    def _check(self, code: int) -> None:
        if code < 0:
            raise Error(code, string_of(lib.turbo_server_error(self.ptr)))

    # set-up

    def listen(self, address: str) -> None:
        """Listen on "127.0.0.1:8000", "localhost:0", ":8000", "unix:/path". Blocks while a name is resolved."""
        self._check(lib.turbo_server_listen(self.ptr, text(address)))

    def listen_fd(self, fd: int) -> None:
        """Take over a socket that listens; the library closes it: pass socket.detach()."""
        self._check(lib.turbo_server_listen_fd(self.ptr, fd))

    def route(
        self, method: Optional[str], pattern: str, handler: Handler, options: Optional[RouteOptions] = None
    ) -> None:
        """Register handler(request), which answers now or later and returns None. An exception is logged and answered
        500. Runs on the shard's thread; on the I/O loop for executor `inline`."""
        core = self.core

        def run(req: Any) -> Optional[int]:
            try:
                return handler(Request(req, core))
            except BaseException:  # callbacks.py logs it, and the library answers
                core.unwatch(req)
                raise

        self._route(lib.turbo_server_route, method, pattern, options, lib.turbo_py_handler, core.keep(run))

    def route_batch(
        self, method: Optional[str], pattern: str, handler: BatchHandler, options: Optional[RouteOptions] = None
    ) -> None:
        """Register handler(shard, requests), which gets all requests of the route that one batch holds, on the shard's
        thread. An exception is logged, and answered 500 for those that have no answer."""
        core = self.core

        def run(shard: Any, reqs: Any, n: int) -> None:
            handler(Shard(shard, core), [Request(reqs[i], core) for i in range(n)])

        self._route(lib.turbo_server_route_batch, method, pattern, options, lib.turbo_py_batch, core.keep(run))

    def _route(
        self,
        register: Any,
        method: Optional[str],
        pattern: str,
        options: Optional[RouteOptions],
        function: Any,
        kept: Kept,
    ) -> None:
        if options is not None:
            self.core.kept.extend(options.kept.values())
        terms = NULL if options is None else options.ptr
        self._check(register(self.ptr, maybe_text(method), text(pattern), terms, function, kept.pointer))

    def route_stats(self, json_path: Optional[str] = None, metrics_path: Optional[str] = None) -> None:
        """Serve the counters as JSON and as Prometheus text."""
        self._check(lib.turbo_server_route_stats(self.ptr, maybe_text(json_path), maybe_text(metrics_path)))

    def route_static(self, pattern: str, root: str, options: Optional[RouteOptions] = None) -> None:
        """Serve the files below a directory; the pattern ends in {name...}. The server's executor runs handlers of the
        library, which one of Python's does by Request.run()."""
        terms = NULL if options is None else options.ptr
        self._check(lib.turbo_server_route_static(self.ptr, text(pattern), text(root), terms))

    def set_executor(self, executor: Executor) -> None:
        """Run requests by an executor of Python's."""
        ops = new_struct("turbo_executor_ops")
        ops.start_shard = lib.turbo_py_executor_start_shard
        ops.batch = lib.turbo_py_executor_batch
        ops.stop_shard = lib.turbo_py_executor_stop_shard
        ops.events = NULL if executor.events is None else lib.turbo_py_executor_events
        ops.flags = (lib.TURBO_EXECUTOR_DRIVEN if executor.driven else 0) | (
            lib.TURBO_EXECUTOR_HOSTS_POOL if executor.hosts_pool else 0
        )
        kept = self.core.keep(ExecutorTable(self.core, executor))
        self._check(lib.turbo_server_set_executor(self.ptr, ops, kept.pointer))
        self.core.driven = executor.driven

    def on_drain(self, function: Optional[Callable[[Shard], object]]) -> None:
        """Have function(shard) called on each shard's thread when a stop begins: answers without an end of their own end then."""
        if function is None:
            self._check(lib.turbo_server_on_drain(self.ptr, NULL, NULL))
            return
        core, tell = self.core, function
        kept = core.keep(lambda shard, status: tell(Shard(shard, core)))
        self._check(lib.turbo_server_on_drain(self.ptr, lib.turbo_py_shard, kept.pointer))

    def set_log(self, level: int, function: Optional[Callable[[int, str], object]]) -> None:
        """Send messages up to a level to function(level, message), on whichever thread speaks; it must not call the
        server. None: to standard error."""
        if function is None:
            self._check(lib.turbo_server_set_log(self.ptr, level, NULL, NULL))
            return
        tell = function
        kept = self.core.keep(lambda level, message: tell(level, string_of(message)))
        self._check(lib.turbo_server_set_log(self.ptr, level, lib.turbo_py_log, kept.pointer))

    # life

    def start(self) -> None:
        """Start the threads. Blocks until all have started. Raises what an executor's start_shard raised."""
        self.core.run(lib.turbo_server_start)

    def run(self) -> None:
        """Serve until SIGINT, SIGTERM or stop(); blocks. libturbo handles both signals meanwhile."""
        self.core.run(lib.turbo_server_run)
        self.core.settle()

    def drive_in_threads(self) -> List[threading.Thread]:
        """Give each shard of a driven server a daemon thread that runs Shard.drive()."""
        core = self.core
        core.driving.update(shard.index for shard in self.shards)  # from now on, not from their first poll
        threads = [
            threading.Thread(target=shard.drive, name=f"turbo-driven-{shard.index}", daemon=True)
            for shard in self.shards
        ]
        for thread in threads:
            thread.start()
        return threads

    def stop(self, function: Optional[Callable[[], object]] = None) -> None:
        """Begin to stop; function() is called once the server has stopped, on a thread of the library."""
        self.core.stop(function)

    def abort(self) -> None:
        """End a drain now: what is not answered is abandoned."""
        check(lib.turbo_server_abort(self.ptr))
        self.core.stop()

    def wait(self) -> None:
        """Until the server has stopped and its threads have ended; blocks. TURBO_ESTATE on the library's threads."""
        core = self.core
        check(lib.turbo_server_wait(core.ptr))
        core.settle()

    def release(self) -> None:
        """Give the server back, from any thread: one that runs begins to stop. No other method may follow."""
        core, self._core = self.__dict__.get("_core"), None
        if core is not None:
            core.close()

    # requests without a connection, and what there is to see

    def request(self, method: str, target: str, done: Done) -> Request:
        """Make a request for Shard.submit(). done(request, status, response) is called exactly once, on the thread that
        answered: status 0 and a response, else None and TURBO_ECLOSED (stopped before) or TURBO_EUSER (cut off). It is
        not called for a request that is dropped without having been submitted or answered."""
        out = ffi.new("turbo_request **")
        kept = Kept(DoneCall(self.core, done))
        check(lib.turbo_request_new(out, self.ptr, text(method), text(target), lib.turbo_py_done, kept.pointer))
        request = Request(out[0], self.core)
        lib.turbo_request_release(out[0])  # the wrapper has taken its own
        request._done = kept
        return request

    @property
    def port(self) -> int:
        """Of the first TCP listener, for port 0; 0 without one."""
        return int(lib.turbo_server_port(self.ptr))

    @property
    def shards(self) -> List[Shard]:
        core = self.core
        count = lib.turbo_server_shard_count(core.ptr)
        return [Shard(lib.turbo_server_shard(core.ptr, i), core) for i in range(count)]

    def stats(self) -> Dict[str, Any]:
        """The counters: turbo_stats as a dictionary."""
        out = new_struct("turbo_stats")
        check(lib.turbo_server_stats(self.ptr, out))
        return members_of(out)

    def stats_text(self, text_format: int) -> str:
        """The counters as TURBO_STATS_JSON or TURBO_STATS_PROMETHEUS."""
        out, size = ffi.new("char **"), ffi.new("size_t *")
        check(lib.turbo_server_stats_text(self.ptr, text_format, out, size))
        text: str = ffi.unpack(out[0], size[0]).decode()
        lib.turbo_free(out[0])
        return text
