"""The C API of libturbo, one to one, by cffi.

    from turbo_cffi import ffi, lib          # every function, constant and struct of turbo.h
    from turbo_cffi import Server            # the same as objects: errors raise, references are held

`lib` and `ffi` leave everything to the caller, as C does. The classes of turbo_cffi.api are thin, and safe to drop in
any order; turbo_cffi.callbacks has the C functions by which Python callables are called.
"""

from ._turbo import ffi, lib


def _check_version(header: int, header_text: str, runs: int, runs_text: str) -> None:
    """Before 1.0 a minor release may change anything; a patch release only adds."""
    if runs // 1000 != header // 1000 or runs < header:
        raise ImportError(f"turbo_cffi was built for libturbo {header_text} and found libturbo {runs_text}")


_check_version(
    lib.TURBO_VERSION_NUMBER,
    ffi.string(lib.TURBO_VERSION_STRING).decode(),
    lib.turbo_version(),
    ffi.string(lib.turbo_version_string()).decode(),
)

from . import callbacks  # noqa: E402  (only with a library that fits)
from .api import (  # noqa: E402
    Error,
    Executor,
    Options,
    Request,
    Response,
    RouteOptions,
    Server,
    Setting,
    Shard,
    Timer,
    check,
    library_version,
    new_struct,
    settings,
)

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
    "__version__",
    "callbacks",
    "check",
    "ffi",
    "lib",
    "library_version",
    "new_struct",
    "settings",
]

__version__ = "0.1.0"
