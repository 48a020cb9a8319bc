"""The application: routes, and the life of the server that serves them."""

import atexit
import threading
import weakref
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type, TypeVar, Union, overload

from ._native import Server, Shard
from .config import Config, LoopChoice, make_config
from .errors import check_exception_class, keep_context, logger
from .executor import Executor, StartEnded
from .files import PathText, StaticRoute, make_static_route
from .gil import counts_constants
from .lifecycle import Lifecycle, check_hook
from .middleware import Middleware, check_middleware
from .output import announce
from .parallel import Choice
from .routes import Handler, Route, make_route
from .signals import StopSignals
from .slow import Watch
from .starting import StartSignals
from .threads import nothing

__all__ = ["App"]

H = TypeVar("H", bound=Handler)
F = TypeVar("F", bound=Callable[..., Any])

_running: "weakref.WeakSet[App]" = weakref.WeakSet()
_running_lock = threading.Lock()


@atexit.register
def _stop_all() -> None:
    """Before the interpreter goes: its threads must not be in the middle of a request then."""
    with _running_lock:
        apps = list(_running)
    for app in apps:
        app.stop()


def _no_probe(named: str) -> Optional[str]:
    """An App that is there already has no import string to ask for."""
    return None


class App:
    """Routes and their server.

    A handler takes a turbo.Request and returns an answer: bytes, bytearray, memoryview (application/octet-stream), str
    (text/plain), dict or list (JSON), None (204), turbo.Response, turbo.StreamingResponse or turbo.FileResponse; or raises
    turbo.HTTPError.
    Any other exception is logged and answered 500. It may be a coroutine function: then it runs as a task of its
    shard's asyncio loop.

    Every decorator takes the options of a route as keyword arguments:

    batch           True or 1 to 65536: the handler gets a list of requests and returns a list of as many answers
    batch_wait_ms   0 to 10000: how long a batch may wait for more requests (also batch_wait_us)
    weight          with weight_max: a function of a request that says how heavy it is (rows, tokens, bytes): an int. What it
                    raises is answered, and no part of the batch; the handler gets the same request object
    weight_max      1 to 1099511627776: most that a batch weighs; a heavier request has a batch of its own
    body            "gathered", or "streamed": the handler, a coroutine function, begins when the head is there, and reads
                    the body while it comes: request.stream(), request.read()
    body_max_bytes  largest request body; above it 413
    body_window_bytes  1 to 1073741824: of a streamed body, what may wait for the handler; then the client waits
    placement       "default", "route", "round_robin", "local", "path", "key", "connection", "least": how a request's
                    shard is chosen
    key             "param:id", "field:X-User", "cookie:sid": one shard for each value, always (placement "key")
    spill_percent   0, or 100 to 10000: load of the home shard that sends requests on; 0 never
    inflight_max    1 to 1048576: most requests of the route that a shard works on at once; others wait, in order
    queue_timeout_ms    0 to 86400000: a request that has waited longer for its handler is answered without it; 0 never
    handler_timeout_ms  0 to 86400000: a handler that has not answered, or begun to, is cancelled, and its client has 504; 0 never
    shed_status     503 or 429: the status of what is answered without its handler, as it waited too long, or the queue or the
                    memory for bodies is full
    retry_after_s   0 to 86400: Retry-After of those answers; 0: they have none
    threads         1 to 1024: the handler, a function that blocks, runs on threads of its shard's pool, so many at once
    content_type    Content-Type of answers that are bytes or str
    middleware      False: none around this handler; there is never any around batches, which is logged unless this says so

    All methods but stop() are for one thread at a time.
    """

    def __init__(self) -> None:
        self._routes: List[Union[Route, StaticRoute]] = []
        self._middleware: List[Middleware] = []
        self._exception_handlers: Dict[type, Handler] = {}
        self._lifecycle = Lifecycle()
        self._stats_paths: Optional[Tuple[Optional[str], Optional[str]]] = None
        self._server: Optional[Server] = None
        self._executor: Optional[Executor] = None

    # -- routes --

    def route(self, path: str, methods: Optional[Iterable[str]] = None, **options: Any) -> Callable[[H], H]:
        """Register a handler for methods; None: for every method without a handler of its own, but TRACE."""

        def register(handler: H) -> H:
            for method in [None] if methods is None else list(methods):
                self._routes.append(make_route(method, path, handler, options))
            return handler

        if not isinstance(path, str):
            raise TypeError(f'a path is expected, not {path!r}: @app.get("/path"), with parentheses')
        if isinstance(methods, str):
            raise TypeError(f"methods: {methods!r} is str, expected a list of str")
        return register

    def get(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for GET; it answers HEAD too, unless there is a handler for that."""
        return self.route(path, ["GET"], **options)

    def post(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for POST."""
        return self.route(path, ["POST"], **options)

    def put(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for PUT."""
        return self.route(path, ["PUT"], **options)

    def delete(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for DELETE."""
        return self.route(path, ["DELETE"], **options)

    def patch(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for PATCH."""
        return self.route(path, ["PATCH"], **options)

    def head(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for HEAD."""
        return self.route(path, ["HEAD"], **options)

    def options(self, path: str, **options: Any) -> Callable[[H], H]:
        """Register a handler for OPTIONS; without one, Allow is answered."""
        return self.route(path, ["OPTIONS"], **options)

    def route_stats(self, json: Optional[str] = "/stats", metrics: Optional[str] = "/metrics") -> None:
        """Serve the counters: JSON at one path, Prometheus text at the other; None for neither."""
        self._stats_paths = (json, metrics)

    def static(
        self,
        path: str,
        directory: PathText,
        *,
        index: Optional[str] = None,
        dot_files: bool = False,
        cache_control: Optional[str] = None,
    ) -> None:
        """Serve the files below a directory, for GET and HEAD, as turbo.FileResponse does, and never one outside it.

        index is the name of the file that a directory is answered with; without it that is 404, and nothing is ever
        listed. Names that begin with "." are not served unless dot_files says so. cache_control is sent with every file.
        None of it runs Python: files are opened and sent on the I/O threads, and no middleware is around them.
        """
        self._routes.append(make_static_route(path, directory, index, dot_files, cache_control))

    # -- around handlers --

    def middleware(self, fn: F) -> F:
        """Have fn(request, call_next) called instead of every handler, but for batches; the first one is outermost.

        call_next(request) is the next middleware, or the handler, and gives what that returned: not an answer yet.
        A coroutine function awaits it, whatever the handler is. A plain function gets an awaitable from a coroutine
        function, and may return that.
        """
        check_middleware(fn)
        self._middleware.append(fn)
        return fn

    def exception_handler(self, kind: Type[Exception]) -> Callable[[F], F]:
        """Have fn(request, exception) answer for handlers that raise a `kind`, which may be turbo.HTTPError.

        The nearest class of an exception that has a handler counts. fn may be a coroutine function. What it raises is
        answered as usual, 500 and logged, but by no exception handler; so raising it again means the default.
        """

        def register(fn: F) -> F:
            if not callable(fn):
                raise TypeError(f"an exception handler is not callable: {fn!r}")
            self._exception_handlers[kind] = fn
            return fn

        check_exception_class(kind)
        return register

    # -- start and stop --

    @overload
    def on_start(self, fn: F) -> F: ...

    @overload
    def on_start(self, *, per: str = "shard") -> Callable[[F], F]: ...

    def on_start(self, fn: Optional[F] = None, *, per: str = "shard") -> Union[F, Callable[[F], F]]:
        """Have fn(shard) called on every shard's thread, with its loop running, before it takes a request; or awaited.

        per="process": fn() is called once, on shard 0's thread and loop, before all those. What it raises, start() and
        run() raise, with nothing left behind. Several are called in order.
        """
        return self._hook(self._lifecycle.add_start, fn, per)

    @overload
    def on_stop(self, fn: F) -> F: ...

    @overload
    def on_stop(self, *, per: str = "shard") -> Callable[[F], F]: ...

    def on_stop(self, fn: Optional[F] = None, *, per: str = "shard") -> Union[F, Callable[[F], F]]:
        """Have fn(shard) called on every shard's thread, with its loop running, after its last answer; or awaited.

        per="process": fn() is called once, on shard 0's thread and loop, after all those. What it raises is logged.
        Several are called in reverse order. It is called only where all of on_start have returned.
        """
        return self._hook(self._lifecycle.add_stop, fn, per)

    def _hook(self, add: Callable[[str, F], None], fn: Optional[F], per: str) -> Union[F, Callable[[F], F]]:
        def register(fn: F) -> F:
            check_hook(fn, per)
            add(per, fn)
            return fn

        check_hook(register, per)
        return register if fn is None else register(fn)

    # -- life --

    def start(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        unix: Optional[str] = None,
        fd: Optional[int] = None,
        loop: LoopChoice = "auto",
        task: str = "turbo",
        mode: str = "sharded",
        debug: bool = False,
        slow_ms: Optional[int] = None,
        switch_interval_us: Optional[int] = None,
        parallel: str = "auto",
        **settings: Any,
    ) -> "App":
        """Serve in threads of its own, until stop(). Returns self, which is a context manager that stops.

        port 0 picks a free one, see `port`. `unix` is the path of a socket to use instead, `fd` a listening socket, which is
        taken over. `loop` is "auto" (uvloop where it is installed), "uvloop", "asyncio", or a function that makes a
        loop. `task` is "turbo", or "stock" for asyncio's own tasks. `mode` is "sharded", or "single": one loop runs all
        coroutines, and the shards (140) only post them there, each waiting for its own. `slow_ms` has handlers logged
        that hold up their shard for longer; 0 does not, and is the default, or 100 with `debug`, which turns on the
        debug mode of the loops, too. `switch_interval_us` is after how long a thread that runs Python lets go of the
        GIL when others wait; 0 leaves Python's (5000), and the default is 500 where several threads run handlers. It is
        the process's: of several servers the shortest counts. `parallel` is how shards run side by side: "auto", "gil" or
        "free-threaded"; turbo.run() has other ways. `settings` are those of turbo.settings(); where one is not
        given, the environment counts (TURBO_BATCH_MAX=64), then the default.

        Raises ValueError and TypeError that name a bad setting, OSError when the address cannot be used, RuntimeError
        when the app runs already, and what on_start raised.
        """
        if parallel == "processes":
            raise ValueError('parallel: start() serves in this process; for "processes" use run()')
        named = {"unix": unix, "fd": fd, "loop": loop, "task": task, "mode": mode, "debug": debug, "slow_ms": slow_ms}
        given = {**settings, **named, "switch_interval_us": switch_interval_us, "parallel": parallel}
        config = make_config(host, port, given)
        config.choose(None, _no_probe)
        self._start(config, nothing)
        return self

    def run(self, host: str = "127.0.0.1", port: int = 8000, **settings: Any) -> int:
        """Serve until SIGINT or SIGTERM, or until stop() by another thread; as turbo.run(), which says more."""
        from .runner import run

        return run(self, host, port, **settings)

    def stop(self, wait: bool = True) -> None:
        """Answer what was taken, then end all threads. Any thread; does nothing when the app does not run.

        On a shard's thread, and with wait=False, it only begins.
        """
        executor = self._executor
        if executor is None:
            return
        executor.stop()
        if not wait or executor.is_own_thread():
            return
        executor.join()
        with _running_lock:
            if self._executor is executor:  # else another thread has stopped it too, and it was started again
                self._executor = None
                _running.discard(self)

    def __enter__(self) -> "App":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.stop()

    # -- looking --

    @property
    def port(self) -> int:
        """The port that is listened on; 0 without one (unix), RuntimeError before start()."""
        return self._made().port

    @property
    def shards(self) -> Tuple[Shard, ...]:
        """The shards, by number."""
        return self._made().shards

    def stats(self) -> Dict[str, int]:
        """The server's counters, since start(). Any thread."""
        return self._made().stats()

    def _made(self) -> Server:
        if self._server is None:
            raise RuntimeError("the app has not been started")
        return self._server

    # -- inside --

    def _make_server(self, config: Config, watch: Optional[Watch]) -> Server:
        server = Server(config.settings, config.defaults())
        for route in self._routes:
            route.register(server, self._middleware, watch)
        if self._stats_paths is not None:
            server.route_stats(*self._stats_paths)
        return server

    def _describe(self) -> List[str]:
        """All that a server is told of the app."""
        routes = [route.describe(self._middleware) for route in self._routes]
        return routes + ([] if self._stats_paths is None else [f"stats {self._stats_paths}"])

    def _join(self, server: Server, watch: Optional[Watch], executor: Any) -> Dict[type, Handler]:
        """Take part in a server of another interpreter, which has the same routes. Returns the exception handlers."""
        for route in self._routes:
            if isinstance(route, Route):  # of files the library knows all there is
                route.register(server, self._middleware, watch)
        self._server, self._executor = server, executor
        return self._make_exception_handlers(watch)

    def _make_exception_handlers(self, watch: Optional[Watch]) -> Dict[type, Handler]:
        handlers = {kind: keep_context(fn) for kind, fn in self._exception_handlers.items()}
        return handlers if watch is None else {kind: watch.wrap(fn) for kind, fn in handlers.items()}

    def _start(self, config: Config, on_end: Callable[[], None], make: Callable[..., Executor] = Executor) -> None:
        if self._executor is not None:
            raise RuntimeError("the app runs already")
        watch = Watch(config.slow_ms) if config.slow_ms else None
        self._check_mode(config)
        server = self._make_server(config, watch)
        handlers = self._make_exception_handlers(watch)
        executor = make(server, config, self._lifecycle, handlers, watch, on_end)
        executor.start()
        with _running_lock:
            self._server, self._executor, self._config = server, executor, config
            _running.add(self)
        executor.drive()
        self._tell_of_constants(len(server.shards))

    def _run(self, config: Config, choice: Choice, make: Callable[..., Executor] = Executor) -> int:
        """Serve in this process until a signal, or stop(). Returns how many requests had no answer."""
        with StopSignals() as signals:
            try:
                with StartSignals(make) as starting:
                    self._start(config, signals.end, starting.make)
            except StartEnded:
                logger.info("stopped: a signal has ended the start")
                return 0
            announce(self._banner(choice))
            try:
                self._wait(signals)
            finally:
                self.stop()
        return self.stats()["abandoned"]

    def _abort(self) -> None:
        """End a stop that has begun. Any thread."""
        if self._executor is not None:
            self._executor.abort()

    def _loop_name(self) -> str:
        return self._executor.loop_name() if self._executor is not None else ""

    def _check(self, config: Config) -> Server:
        """A server that is not started. Raises what is wrong with settings and routes."""
        self._check_mode(config)
        return self._make_server(config, None)

    def _check_mode(self, config: Config) -> None:
        for route in self._routes:
            if route.streamed and config.mode == "single":
                raise ValueError(
                    f'mode: "single" cannot serve {route.pattern}, whose bodies are streamed: a worker that waits for a '
                    "handler hears of nothing else"
                )

    def _tell_of_constants(self, threads: int) -> None:
        """A start without bytecode: the next one may be faster."""
        names = [
            getattr(route.handler, "__qualname__", "?")
            for route in self._routes
            if isinstance(route, Route) and counts_constants(route.handler)
        ]
        if names and threads > 1:
            logger.info(
                "constants of %s have reference counts, which %d threads pass to and fro: the code was compiled in this process; "
                "read from bytecode (python -m compileall) it has none",
                names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more handlers",
                threads,
            )

    def _wait(self, signals: StopSignals) -> None:
        assert self._executor is not None
        if not signals.wait():
            return
        logger.info("stopping: answering what was taken")
        self._executor.stop()
        while signals.wait():
            logger.warning("stopping at once")
            self._abort()

    def _banner(self, choice: Choice) -> str:
        return self._config.banner(self.port, len(self.shards), "shard", self._loop_name(), choice)
