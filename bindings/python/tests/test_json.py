"""JSON answers: the writer in C against the json module."""

import json
import math
import random
from typing import Any

import pytest
from turbo import _codec, _native

PLAIN = [
    {},
    [],
    {"ok": True},
    {"a": [1, -1, 0, 2**62, -(2**63), 2**63 - 1, None, False]},
    [1.0, 0.1, -1e300, 5e-324, 1e22, 123456789.125],
    ["", "a\"b\\c/d", "\b\f\n\r\t", "\x00\x1f\x7f", "é€😀", "\u2028"],
    (1, (2, [3])),
    {"é": {"\n": []}},
    {"": ""},
    ["x" * 100_000],
    [list(range(10_000))],
]


def compact(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("value", PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    text = _native.json_encode(value)
    assert json.loads(text) == compact(value)
    assert b", " not in text and b'": ' not in text


@pytest.mark.parametrize("value", [{"a": [1, "é", None]}, ["\x01\x1f\"\\"], {"a": 1.5, "b": -7}])
def test_text_is_that_of_json(value: Any) -> None:
    assert _native.json_encode(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def random_value(source: random.Random, depth: int) -> Any:
    kind = source.randrange(8 if depth < 4 else 6)
    if kind == 0:
        return source.choice([True, False, None])
    if kind == 1:
        return source.randrange(-(2**63), 2**63)
    if kind == 2:
        return source.uniform(-1e9, 1e9)
    if kind < 6:
        return "".join(chr(source.choice([source.randrange(128), source.randrange(0x800, 0xD800)])) for _ in range(source.randrange(9)))
    if kind == 6:
        return [random_value(source, depth + 1) for _ in range(source.randrange(5))]
    return {str(source.random()): random_value(source, depth + 1) for _ in range(source.randrange(5))}


def test_random_values_come_back() -> None:
    source = random.Random(7)
    for _ in range(2000):
        value = [random_value(source, 0)]
        assert json.loads(_native.json_encode(value)) == value


class Text(str):
    """A subclass of a plain type."""


LEFT_TO_THE_LIBRARY = [[2**64 - 1], [Text("x")], {"a": [Text("b")]}]


@pytest.mark.parametrize("value", LEFT_TO_THE_LIBRARY)
def test_what_is_not_plain_is_the_librarys_business(value: Any) -> None:
    text = _codec.dumps(value)
    assert _native.json_encode(value) == (text if isinstance(text, bytes) else text.encode())


def test_deep_values_are_the_librarys_business() -> None:
    value: Any = []
    for _ in range(100):
        value = [value]
    assert _native.json_encode(value) == b"[" * 101 + b"]" * 101


def test_values_that_no_library_takes() -> None:
    cycle: Any = []
    cycle.append(cycle)
    for bad in (cycle, [object()], ["\ud800"], {"a": {1, 2}}):
        if bad == {"a": {1, 2}} and _codec.dumps.__module__.startswith("msgspec"):
            continue
        with pytest.raises((TypeError, ValueError, RecursionError)):
            _native.json_encode(bad)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_has_not_are_null(value: float) -> None:
    """Whichever library there is."""
    assert _native.json_encode({"a": [value, (1.5, value)]}) == b'{"a":[null,[1.5,null]]}'
    assert _codec._dumps({"a": [value, (1.5, value)], "b": {"c": value}}) == '{"a":[null,[1.5,null]],"b":{"c":null}}'


@pytest.mark.parametrize("loads", [_codec.loads, _codec._loads])
@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b'{"a":-Infinity}', b"[1", b"\xff", '{"a":1}'.encode("utf-16")])
def test_what_is_not_json_is_refused(loads: Any, text: bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_a_value_inside_itself_is_no_number() -> None:
    cycle: Any = {"a": math.nan}
    cycle["b"] = cycle
    with pytest.raises(ValueError):
        _codec._dumps(cycle)
