"""README.md's examples run as printed."""

import re
from pathlib import Path
from typing import Any, Dict

import turbo
from conftest import Client

README = Path(__file__).resolve().parent.parent / "README.md"


def test_examples() -> None:
    first, second, third = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: Dict[str, Any] = {"__name__": "readme"}
    exec(first, names)
    exec(second, names)
    exec("import time\n" + third, names)
    app = names["app"]
    with app.start(port=0):
        client = Client(app)
        assert client.get("/").body == b"hello\n"
        assert client.get("/users/7?v").body == b'{"id":"7","verbose":true}'
        assert client.get("/report").body == b"done\n"
        assert client.post("/predict", b"abc").body == b'{"length":3}'


def test_every_setting_that_the_readme_names_exists() -> None:
    names = {setting.name for setting in turbo.settings()}
    assert {"shards", "io_threads", "inflight_max", "batch_max"} <= names
