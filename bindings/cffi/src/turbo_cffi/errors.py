"""Errors, and the small values that cross between C and Python."""

from typing import Any, Dict, Optional, Union

from . import _cdef
from ._turbo import ffi, lib

NULL = ffi.NULL
Body = Union[bytes, bytearray, memoryview]


class Error(Exception):
    """A function of libturbo has failed. `code` is TURBO_E*, `name` its name, str() says what was wrong."""

    def __init__(self, code: int, detail: str = "") -> None:
        self.code = code
        self.name: str = ffi.string(lib.turbo_errname(code)).decode()
        self.detail = detail or ffi.string(lib.turbo_strerror(code)).decode()
        super().__init__(f"{self.name}: {self.detail}")


def check(code: int, detail: str = "") -> int:
    """Raise Error for a negative code, else return it."""
    if code < 0:
        raise Error(code, detail)
    return code


def new_struct(name: str) -> Any:
    """A struct that begins with its size, such as "turbo_stats": what TURBO_STATS_INIT is in C."""
    if name not in _cdef.SIZED:
        raise ValueError(f"{name} is none of {', '.join(_cdef.SIZED)}")
    return ffi.new(f"{name} *", {"size": ffi.sizeof(name)})


def text(value: Union[str, bytes]) -> bytes:
    """For a parameter that is ended by NUL."""
    data = value.encode() if isinstance(value, str) else value
    if b"\0" in data:
        raise ValueError(f"{value!r} has a NUL in it")
    return data


def maybe_text(value: Union[str, bytes, None]) -> Any:
    return NULL if value is None else text(value)


def string_of(value: Any) -> str:
    return "" if value == NULL else ffi.string(value).decode(errors="replace")


def bytes_of(value: Any) -> Optional[bytes]:
    """The bytes of a turbo_str; None when it is absent."""
    return None if value.data == NULL else ffi.buffer(value.data, value.len)[:]


def members_of(struct: Any) -> Dict[str, Any]:
    """A snapshot as a dictionary; histograms are lists."""
    names = [name for name, _ in ffi.typeof(struct).item.fields if name != "size"]
    values = [getattr(struct, name) for name in names]
    return {name: value if isinstance(value, int) else list(value) for name, value in zip(names, values)}
