"""A strict reader of HTTP/1 responses, written from RFC 9112: what it cannot frame without doubt is an error."""

import json
import re
from typing import Dict, List, Optional, Sequence, Tuple

STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9][0-9]) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[\t \x21-\x7e\x80-\xff]*)?")


class Malformed(Exception):
    """The bytes are no HTTP response."""


class Response:
    """One response; the interim ones (1xx) that came before it hang on it."""

    def __init__(self, version: str, status: int, reason: str, fields: List[Tuple[str, str]]) -> None:
        self.version = version
        self.status = status
        self.reason = reason
        self.fields = fields
        self.interim: List["Response"] = []
        self.body = b""
        self.chunked = False
        self.until_close = False

    def all(self, name: str) -> List[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> Optional[str]:
        values = self.all(name)
        return values[0] if values else None

    def tokens(self, name: str) -> List[str]:
        """The members of a comma-separated list, in lower case."""
        return [token.strip().lower() for value in self.all(name) for token in value.split(",") if token.strip()]

    def json(self) -> Dict:
        return json.loads(self.body)

    def __str__(self) -> str:
        mark = "".join(f"{i.status}, " for i in self.interim)
        close = ", close" if "close" in self.tokens("Connection") else ""
        return f"[{mark}{self.status} {self.body[:120]!r}{close}]"


def _take_fields(lines: Sequence[bytes]) -> List[Tuple[str, str]]:
    fields = []
    for line in lines:
        found = FIELD.fullmatch(line)
        if not found:
            raise Malformed(f"bad field line {line[:80]!r}")
        fields.append((found[1].decode("latin-1"), found[2].decode("latin-1")))
    return fields


def _read_head(head: bytes) -> Response:
    lines = head.split(b"\r\n")
    found = STATUS_LINE.fullmatch(lines[0])
    if not found:
        raise Malformed(f"bad status line {lines[0][:80]!r}")
    return Response(found[1].decode(), int(found[2]), found[3].decode("latin-1"), _take_fields(lines[1:]))


class ResponseStream:
    """Turns the bytes of a connection into responses.

    `methods` are those of the requests, in order (GET when unknown).
    """

    def __init__(self, methods: Sequence[str] = ()) -> None:
        self.methods = list(methods)
        self.data = bytearray()
        self.responses: List[Response] = []
        self.interim: List[Response] = []  # that no final response has followed yet
        self.error: Optional[str] = None
        self.ended = False
        self._open: Optional[Response] = None  # its body runs to the end of the connection

    def feed(self, data: bytes) -> None:
        self.data += data
        try:
            while self.error is None and self._one():
                pass
        except Malformed as e:
            self.error = str(e)

    def end(self) -> None:
        """The connection has ended."""
        self.ended = True
        if self._open is not None:
            self._open.body = bytes(self.data)
            self.data.clear()
            self.responses.append(self._open)
            self._open = None
        elif self.data and self.error is None:
            self.error = f"ended inside a response: {bytes(self.data[:80])!r}"

    @property
    def busy(self) -> bool:
        """A response has begun and is not complete."""
        return bool(self.data) or self._open is not None

    def _one(self) -> bool:
        if self._open is not None:
            return False
        start = b"HTTP/1."
        if not self.data.startswith(start[: len(self.data)]):
            raise Malformed(f"no status line, but {bytes(self.data[:80])!r}")
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return False
        response = _read_head(bytes(self.data[:end]))
        used = self._read_body(response, end + 4)
        if used < 0:
            return False
        del self.data[:used]
        if response.until_close:
            self._open = response
            return False
        if 100 <= response.status < 200:
            self.interim.append(response)
        else:
            self._finish(response)
        return True

    def _finish(self, response: Response) -> None:
        response.interim, self.interim = self.interim, []
        self.responses.append(response)

    def _read_body(self, response: Response, at: int) -> int:
        """Where the message ends; -1 when more bytes are needed. RFC 9112 6.3, as a client that trusts nothing."""
        lengths, codings = response.all("Content-Length"), response.tokens("Transfer-Encoding")
        if len(lengths) > 1:
            raise Malformed("Content-Length more than once")
        if lengths and not re.fullmatch(r"[0-9]+", lengths[0]):
            raise Malformed(f"bad Content-Length {lengths[0]!r}")
        if lengths and codings:
            raise Malformed("Content-Length and Transfer-Encoding together (RFC 9112 6.2)")
        if (response.status < 200 or response.status == 204) and (lengths or codings):
            raise Malformed(f"{response.status} with Content-Length or Transfer-Encoding (RFC 9110 8.6, RFC 9112 6.1)")
        method = self.methods[len(self.responses)] if len(self.responses) < len(self.methods) else "GET"
        if response.status < 200 or response.status in (204, 304) or method == "HEAD":
            return at
        if codings:
            if codings != ["chunked"]:
                raise Malformed(f"transfer codings {codings}")
            response.chunked = True
            return self._read_chunks(response, at)
        if lengths:
            end = at + int(lengths[0])
            response.body = bytes(self.data[at:end])
            return end if len(self.data) >= end else -1
        response.until_close = True
        response.interim, self.interim = self.interim, []
        return at

    def _read_chunks(self, response: Response, at: int) -> int:
        parts = []
        while True:
            end = self.data.find(b"\r\n", at)
            if end < 0:
                return -1
            found = CHUNK_LINE.fullmatch(bytes(self.data[at:end]))
            if not found:
                raise Malformed(f"bad chunk line {bytes(self.data[at:end])[:80]!r}")
            size = int(found[1], 16)
            at = end + 2
            if size == 0:
                break
            if len(self.data) < at + size + 2:
                return -1
            if self.data[at + size : at + size + 2] != b"\r\n":
                raise Malformed("no CRLF behind the data of a chunk")
            parts.append(bytes(self.data[at : at + size]))
            at += size + 2
        lines = []
        while True:
            end = self.data.find(b"\r\n", at)
            if end < 0:
                return -1
            line = bytes(self.data[at:end])
            at = end + 2
            if not line:
                break
            lines.append(line)
        _take_fields(lines)
        response.body = b"".join(parts)
        return at
