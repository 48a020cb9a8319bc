"""Files as answers, and directories as routes."""

import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Union
from urllib.parse import quote

from . import _native
from ._types import Headers
from .middleware import Middleware
from .slow import Watch

PathText = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


def content_disposition(filename: str) -> str:
    """The field that has a browser save a file under this name (RFC 6266). ValueError for control characters."""
    if any(ord(c) < 32 or ord(c) == 127 for c in filename):
        raise ValueError(f"filename: {filename!r} has control characters")
    plain = filename.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
    if filename.isascii():
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


class FileResponse(_native.FileResponse):
    """FileResponse(path, status=200, headers=None, content_type=None, filename=None): a file, or the part of it that the
    request asks for.

    With status 200 the library evaluates the request's preconditions and its Range, adds ETag, Last-Modified and
    Accept-Ranges, and answers 200, 206, 304, 412 or 416; with "Accept-Ranges: none" among headers it serves no ranges.
    content_type is that of the file's name unless it is given; with filename the client is asked to save the file under that
    name.

    The file is opened when the handler has returned, on its thread and without the GIL. What is then wrong is raised as
    OSError (FileNotFoundError, PermissionError, ...): 500, unless an exception handler answers otherwise. The bytes are
    sent by the I/O thread, from the system's cache.
    """

    def __init__(
        self,
        path: PathText,
        status: int = 200,
        headers: Optional[Headers] = None,
        content_type: Optional[str] = None,
        filename: Optional[str] = None,
    ) -> None:
        super().__init__(path, status, headers, content_type)
        if filename is not None:
            self.headers.append(("Content-Disposition", content_disposition(filename)))


@dataclass
class StaticRoute:
    """A directory below a path."""

    pattern: str
    root: Union[str, bytes]
    options: Dict[str, Any] = field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        """Nobody reads a request body here."""
        return False

    def describe(self, around: List[Middleware]) -> str:
        """What the library is told of it, to compare with the same route in another interpreter."""
        return " ".join(["static", self.pattern, repr(self.root), *(f"{k}={v}" for k, v in sorted(self.options.items()))])

    def register(self, server: _native.Server, around: List[Middleware], watch: Optional[Watch]) -> None:
        """Hand the route to a server: no middleware and no watch, since none of Python runs."""
        server.route_static(self.pattern, self.root, self.options)


def make_static_route(
    path: str, directory: PathText, index: Optional[str], dot_files: bool, cache_control: Optional[str]
) -> StaticRoute:
    """Check what App.static() was given."""
    root = os.path.abspath(os.fspath(directory))
    os.stat(root)
    if not os.path.isdir(root):
        raise NotADirectoryError(f"not a directory: {root!r}")
    options: Dict[str, Any] = {"dot_files": "yes" if dot_files else "no"}
    if index is not None:
        options["index"] = index
    if cache_control is not None:
        options["cache_control"] = cache_control
    return StaticRoute(path.rstrip("/") + "/{path...}", root, options)
