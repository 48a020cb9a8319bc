"""Requests and answers."""

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from . import callbacks
from ._turbo import ffi, lib
from .callbacks import GiveBack, Kept
from .errors import NULL, Body, Error, bytes_of, check, maybe_text, string_of, text

if TYPE_CHECKING:
    from .core import Core
    from .shard import Shard

Text = Union[str, bytes]
Done = Callable[["Request", int, Optional["Response"]], object]


class Response:
    """An answer: Response(200, [("Content-Type", "text/plain")], b"hello"). Built by one thread at a time.
    Request.respond() and begin() take it, after which it cannot be used. The one that a done callback gets is valid
    during that call only."""

    def __init__(self, status: int, fields: Iterable[Tuple[Text, Text]] = (), body: Body = b"") -> None:
        out = ffi.new("turbo_response **")
        check(lib.turbo_response_new(out, status), f"status {status}")
        self._ptr = self._own(out[0])
        for name, value in fields:
            self.add(name, value)
        if body:
            self.set_body(body)

    @staticmethod
    def _own(ptr: Any) -> Any:
        return ffi.gc(ptr, free_response)

    @classmethod
    def _borrow(cls, ptr: Any) -> "Response":
        self = cls.__new__(cls)
        self._ptr = ptr
        return self

    @property
    def ptr(self) -> Any:
        if self._ptr is None:
            raise Error(lib.TURBO_ESTATE, "the response was sent, or was valid during a callback only")
        return self._ptr

    def add(self, name: Text, value: Text) -> None:
        """Add a field; repeated names are sent each on a line of its own."""
        n = name.encode() if isinstance(name, str) else name
        v = value.encode("latin-1") if isinstance(value, str) else value
        check(lib.turbo_response_field_add(self.ptr, n, len(n), v, len(v)), f"field {name!r}: {value!r}")

    def set_body(self, body: Body) -> None:
        """Set the body; it is copied."""
        check(lib.turbo_response_body_copy(self.ptr, ffi.from_buffer(body), memoryview(body).nbytes))

    def set_body_file(self, fd: int, offset: int, length: int) -> None:
        """Set the body to a piece of an open file, whose descriptor is the library's from now on."""
        check(lib.turbo_response_body_file(self.ptr, fd, offset, length))

    def set_file(self, request: "Request", path: str) -> None:
        """Make it an answer to this request that is a file, or the part that the request asks for. Blocks as the file
        system does."""
        check(lib.turbo_response_file(self.ptr, request.ptr, text(path)), path)

    @property
    def status(self) -> int:
        return int(lib.turbo_response_status(self.ptr))

    def field(self, name: str) -> Optional[bytes]:
        """The first field of a name, without regard to case."""
        return bytes_of(lib.turbo_response_field(self.ptr, text(name)))

    @property
    def body(self) -> bytes:
        return bytes_of(lib.turbo_response_body(self.ptr)) or b""

    def _give(self, take: Callable[[Any, Any], int], req: Any) -> None:
        """Hand over to a function of the library, which owns it from then on unless it fails."""
        raw = self.ptr
        ffi.gc(raw, None)  # at no time do both own it
        code = take(req, raw)
        self._ptr = None if code == 0 else self._own(raw)
        check(code)


class Request:
    """A request, and a reference to it: it may be kept, answered later on any thread, and dropped at any time. `ptr` is
    the turbo_request *; the contracts are in turbo/request.h and turbo/response.h."""

    __slots__ = ("__weakref__", "_core", "_done", "ptr")

    def __init__(self, ptr: Any, core: Optional["Core"]) -> None:
        """For code that got a turbo_request * from lib. The reference is taken here."""
        self.ptr = ffi.gc(lib.turbo_request_retain(ptr), release_request)
        self._core = core
        self._done: Optional[Kept] = None  # of a request that Server.request() made

    method = property(lambda self: bytes_of(lib.turbo_request_method(self.ptr)), doc="As sent: b'GET'.")
    target = property(lambda self: bytes_of(lib.turbo_request_target(self.ptr)), doc="As sent: path and query.")
    path = property(lambda self: bytes_of(lib.turbo_request_path(self.ptr)), doc="As sent, without the query.")
    query = property(lambda self: bytes_of(lib.turbo_request_query(self.ptr)), doc="As sent; None without '?'.")
    host = property(
        lambda self: bytes_of(lib.turbo_request_host(self.ptr)), doc="Of the absolute form, else of Host; or None."
    )
    body = property(lambda self: bytes_of(lib.turbo_request_body(self.ptr)) or b"", doc="Whole; copied on each call. b'' where bodies are streamed.")
    version = property(lambda self: lib.turbo_request_version(self.ptr), doc="10 or 11.")
    route = property(lambda self: string_of(lib.turbo_request_route(self.ptr)), doc="The pattern that matched.")
    cancelled = property(lambda self: lib.turbo_request_cancelled(self.ptr) != 0, doc="Whether an answer would be thrown away.")

    timed_out = property(lambda self: lib.turbo_request_timed_out(self.ptr) != 0, doc="Whether its handler took too long.")
    deadline_ms = property(lambda self: lib.turbo_request_deadline_ms(self.ptr), doc="Left to its handler; -1: no limit.")

    def query_value(self, name: str) -> Optional[bytes]:
        """The first value of a name in the query, as sent."""
        return bytes_of(lib.turbo_request_query_value(self.ptr, text(name)))

    def param(self, name: str) -> Optional[bytes]:
        """A path parameter, percent-decoded."""
        return bytes_of(lib.turbo_request_param(self.ptr, text(name)))

    @property
    def params(self) -> Dict[str, bytes]:
        pairs = self._pairs(lib.turbo_request_param_count, lib.turbo_request_param_at)
        return {name.decode(): value for name, value in pairs}

    def field(self, name: str) -> Optional[bytes]:
        """The first header field of a name, without regard to case."""
        return bytes_of(lib.turbo_request_field(self.ptr, text(name)))

    @property
    def fields(self) -> List[Tuple[bytes, bytes]]:
        """Every header field, in order."""
        return self._pairs(lib.turbo_request_field_count, lib.turbo_request_field_at)

    def trailer(self, name: str) -> Optional[bytes]:
        """The first trailer field of a name, without regard to case."""
        return bytes_of(lib.turbo_request_trailer(self.ptr, text(name)))

    @property
    def trailers(self) -> List[Tuple[bytes, bytes]]:
        """Every trailer field of a chunked body, in order, apart from the header fields."""
        return self._pairs(lib.turbo_request_trailer_count, lib.turbo_request_trailer_at)

    def _pairs(self, count: Any, at: Any) -> List[Tuple[bytes, bytes]]:
        pair = ffi.new("turbo_str[2]")
        found = []
        for i in range(count(self.ptr)):
            check(at(self.ptr, i, pair, pair + 1))
            found.append((bytes_of(pair[0]) or b"", bytes_of(pair[1]) or b""))
        return found

    @property
    def peer(self) -> str:
        """The client's address: "127.0.0.1:4711", "unix:", "" without a connection."""
        out = ffi.new("char[64]")
        check(lib.turbo_request_peer(self.ptr, out, 64))
        return string_of(out)

    @property
    def shard(self) -> Optional["Shard"]:
        """Where the request was given to; None on an I/O loop, and before it was submitted."""
        from .shard import Shard  # which is made of this module

        ptr = lib.turbo_request_shard(self.ptr)
        return None if ptr == NULL else Shard(ptr, self._core)

    def reply(self, status: int, body: Union[Body, str] = b"", content_type: Optional[str] = None) -> None:
        """Answer in one call. str is sent as UTF-8."""
        data = body.encode() if isinstance(body, str) else body
        size = memoryview(data).nbytes
        check(lib.turbo_request_reply(self.ptr, status, maybe_text(content_type), ffi.from_buffer(data), size))
        self._over()

    def respond(self, response: Response) -> None:
        """Answer with a response."""
        response._give(lib.turbo_request_respond, self.ptr)
        self._over()

    def begin(self, response: Response) -> None:
        """Begin a streamed answer: write(), then end()."""
        response._give(lib.turbo_request_respond_begin, self.ptr)

    def write(self, data: Body) -> bool:
        """Send a part of a streamed answer. False (TURBO_EAGAIN): nothing was taken, on_writable() tells when to go on.
        Raises TURBO_ECLOSED when the client has gone; end() is still due then. One thread at a time for one request."""
        code = lib.turbo_request_respond_write(self.ptr, ffi.from_buffer(data), memoryview(data).nbytes)
        if code == lib.TURBO_EAGAIN:
            return False
        check(code)
        return True

    def add_trailer(self, name: str, value: str) -> None:
        """Add a field behind the body of a streamed answer (RFC 9110 6.5), sent when that is chunked."""
        field = [text.encode("latin-1") for text in (name, value)]
        check(lib.turbo_request_respond_trailer(self.ptr, field[0], len(field[0]), field[1], len(field[1])))

    def end(self) -> None:
        """End a streamed answer."""
        check(lib.turbo_request_respond_end(self.ptr))
        self._over()

    def fail(self) -> None:
        """What an exception in the handler does: 500, or the answer that has begun is cut off."""
        check(lib.turbo_request_fail(self.ptr))
        self._over()

    def read(self) -> Optional[bytes]:
        """The next part of the body, b"" at its end; None (TURBO_EAGAIN): nothing is there yet, on_body() tells when it is.
        Raises TURBO_ECLOSED when the client has gone, TURBO_ETOOBIG and others as turbo_request_body_read(). One thread at
        a time for one request; where bodies are gathered the whole is one part."""
        out = ffi.new("turbo_str *")
        code = lib.turbo_request_body_read(self.ptr, out)
        if code == lib.TURBO_EAGAIN:
            return None
        check(code)
        return bytes_of(out[0]) or b"" if code > 0 else b""

    def read_all(self, done: Callable[["Request", Optional[bytes]], object]) -> None:
        """Read the body to its end, and call done(request, body) then, on the request's shard or here; body is None when
        it came to no good end. Instead of on_body(). The shard's thread only."""
        parts: List[bytes] = []

        def go_on(request: "Request") -> None:
            try:
                while (part := request.read()) != b"":
                    if part is None:
                        return
                    parts.append(part)
            except Error:
                parts.clear()
                part = None
            request.on_body(None)
            done(request, None if part is None else b"".join(parts))

        self.on_body(go_on)
        go_on(self)

    def on_body(self, function: Optional[Callable[["Request"], object]]) -> None:
        """Call function(request) after a read() that returned None, when it may go on; on the request's shard."""
        self._watch("body", lib.turbo_request_on_body, function)

    def on_writable(self, function: Optional[Callable[["Request"], object]]) -> None:
        """Call function(request) for each write() that returned False, when it may go on; on the request's shard."""
        self._watch("writable", lib.turbo_request_on_writable, function)

    def on_gone(self, function: Optional[Callable[["Request"], object]]) -> None:
        """Call function(request) once on the request's shard, when the client goes before the answer was made. Shard's
        thread only, as on_writable()."""
        self._watch("gone", lib.turbo_request_on_gone, function)

    def run(self) -> None:
        """Run the route's handler here; for executors with threads of their own."""
        lib.turbo_request_run(self.ptr)

    def set_body(self, body: Body) -> None:
        """Give a request made by Server.request() its body, before it is submitted."""
        check(lib.turbo_request_body_set(self.ptr, ffi.from_buffer(body), memoryview(body).nbytes))

    def _watch(self, what: str, register: Any, function: Optional[Callable[["Request"], object]]) -> None:
        if self._core is None:
            raise Error(lib.TURBO_ESTATE, "the request belongs to no Server")
        key = (callbacks.number_of(self.ptr), what)
        if function is None:
            check(register(self.ptr, NULL, NULL))
            self._core.watches.pop(key, None)
            return
        core, call = self._core, function

        def happened(req: Any) -> None:
            if what == "gone":  # comes once
                core.watches.pop(key, None)
            call(Request(req, core))

        kept = Kept(happened)
        check(register(self.ptr, lib.turbo_py_request, kept.pointer))
        core.watches[key] = kept

    def _over(self) -> None:
        """Answered: nothing is watched any more."""
        if self._core is not None:
            self._core.unwatch(self.ptr)


free_response = GiveBack(lib.turbo_response_free)
release_request = GiveBack(lib.turbo_request_release)


class DoneCall:
    """The done callback of a request without a connection. Its maker's Request keeps it, and from submit() on
    callbacks.py does, until it was called."""

    __slots__ = ("core", "function")

    def __init__(self, core: "Core", function: Done) -> None:
        self.core = core
        self.function = function

    def __call__(self, req: Any, status: int, response: Any) -> None:
        view = None if response == NULL else Response._borrow(response)
        try:
            self.function(Request(req, self.core), status, view)
        finally:
            if view is not None:
                view._ptr = None
