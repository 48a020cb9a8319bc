"""The JSON library: orjson or msgspec when installed, else json.

Plain values (dict, list, str, int, float, bool, None) are written in C without it; it gets what is left, and all parsing.
"""

from typing import Any, Callable, Tuple, Union

Dumps = Callable[[Any], Union[bytes, str]]
Loads = Callable[[bytes], Any]


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
    import json

    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode, json.loads


dumps, loads = _choose()
