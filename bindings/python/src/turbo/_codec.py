"""The JSON library: orjson or msgspec when installed, else json, which is made to agree with them on NaN and infinity.

Plain values (dict, list, str, int, float, bool, None) are written in C without it; it gets what is left, and all parsing.
"""

import json
import math
from typing import Any, Callable, NoReturn, Tuple, Union

Dumps = Callable[[Any], Union[bytes, str]]
Loads = Callable[[bytes], Any]


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _finite(value: Any) -> Any:
    """A copy with None for each number that JSON does not have (RFC 8259 section 6)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _dumps(value: Any) -> str:
    try:
        return _encode(value)
    except ValueError as error:  # such a number, or a value inside itself
        try:
            value = _finite(value)
        except RecursionError:
            raise error from None
        return _encode(value)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def _loads(data: bytes) -> Any:
    return _decode(data.decode("utf-8"))


def _choose() -> Tuple[Dumps, Loads]:
    try:
        import orjson
    except ImportError:
        pass
    else:
        return orjson.dumps, orjson.loads
    try:
        import msgspec
    except ImportError:
        pass
    else:
        return msgspec.json.encode, msgspec.json.decode
    return _dumps, _loads


dumps, loads = _choose()
