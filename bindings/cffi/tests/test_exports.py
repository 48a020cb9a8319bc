"""Every export of libturbo.map is called by some test of this directory; conftest.py records the calls at run time."""

import re
from pathlib import Path

from conftest import called, real

MAP = Path(__file__).resolve().parents[3] / "libturbo/libturbo.map"


def exports() -> set:
    return set(re.findall(r"^\s+(turbo_\w+);", MAP.read_text(), re.M))


def test_each_export_is_called() -> None:
    missing = sorted(exports() - called)
    assert exports()
    assert not missing, f"no cffi test calls {', '.join(missing)}"


def test_lib_has_the_exports_and_nothing_else() -> None:
    offered = {name for name in dir(real) if re.match(r"turbo_(?!py_)", name)}
    assert offered == exports()
