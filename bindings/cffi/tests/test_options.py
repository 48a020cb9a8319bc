"""Settings, options and their errors."""

import pytest
import turbo_cffi
from turbo_cffi import Options, RouteOptions, Server, lib, settings


def test_settings_are_those_that_options_take() -> None:
    table = {setting.name: setting for setting in settings()}
    assert table["batch_max"].default == 128 and table["batch_max"].minimum == 1
    assert table["head_timeout_ms"].unit == "ms" and table["head_timeout_ms"].doc
    assert "round_robin" in table["placement"].choices
    options = Options()
    for setting in table.values():
        assert options.get(setting.name) == setting.default
        options.set(setting.name, setting.maximum)
        assert options.get(setting.name) == setting.maximum
        if setting.choices:
            options.set(setting.name, setting.choices[0])
            assert options.get(setting.name) == 0


@pytest.mark.parametrize("value", [0, -1, 1 << 64, "x", "", "1e3", True])
def test_bad_value_is_named(value: object) -> None:
    options = Options()
    if value is True:
        options.set("batch_max", value)  # a bool is the number 1
        assert options.get("batch_max") == 1
        return
    with pytest.raises(turbo_cffi.Error) as caught:
        options.set("batch_max", value)  # type: ignore[arg-type]
    assert caught.value.code == lib.TURBO_EINVAL
    assert "batch_max" in str(caught.value) and "1" in str(caught.value)
    assert options.get("batch_max") == 128, "unchanged"


def test_unknown_name() -> None:
    with pytest.raises(turbo_cffi.Error) as caught:
        Server(bach_max=1)
    assert caught.value.name == "TURBO_ENOENT" and "bach_max" in str(caught.value)
    with pytest.raises(turbo_cffi.Error, match="nothing"):
        Options().get("nothing")
    with pytest.raises(TypeError):
        Server(Options(), shards=1)


def test_environment_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(queue_max=7)
    monkeypatch.setenv("TURBO_SHARDS", "3")
    options.load_env()
    rest = options.load_args(["--batch-max", "5", "file", "--placement=local", "--other"])
    assert rest == ["file", "--other"]
    assert [options.get(name) for name in ("queue_max", "shards", "batch_max")] == [7, 3, 5]
    assert len(Server(options).shards) == 3
    with pytest.raises(turbo_cffi.Error, match="batch_max|batch-max"):
        options.load_args(["--batch-max", "no"])
    monkeypatch.setenv("TURBO_SHARDS", "many")
    with pytest.raises(turbo_cffi.Error, match="many"):
        options.load_env()


def test_route_options() -> None:
    options = RouteOptions(executor="inline", body_max_bytes=10)
    with pytest.raises(turbo_cffi.Error, match="body_max_bytes"):
        options.set("body_max_bytes", -5)
    with pytest.raises(turbo_cffi.Error, match="nowhere"):
        options.set("executor", "nowhere")
    with pytest.raises(TypeError, match="executor"):
        options.set("executor", lambda request, shards: 0)
    options.set("placement", lambda request, shards: 0)
    options.set("weight", lambda request: 1)
    assert sorted(options.kept) == ["placement", "weight"]
    options.set_placement(None)
    options.set_weight(None)
    assert not options.kept
