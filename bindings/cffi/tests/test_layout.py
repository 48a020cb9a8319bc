"""What was compiled into the module is what the library runs: sizes, constants, versions; how the package is made."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import turbo_cffi
from turbo_cffi import Server, _cdef, ffi, lib

ROOT = Path(__file__).resolve().parents[3]


def test_every_struct_with_a_size_is_known() -> None:
    initialised = set()
    for path in (ROOT / "include").rglob("*.h"):
        initialised |= {name.lower() for name in re.findall(r"#define (TURBO_\w+)_INIT\b", path.read_text())}
    assert set(_cdef.SIZED) == initialised
    for name in _cdef.SIZED:
        assert turbo_cffi.new_struct(name).size == ffi.sizeof(name)
    with pytest.raises(ValueError):
        turbo_cffi.new_struct("turbo_str")


def largest(call: object, name: str) -> int:
    """The largest size of a snapshot that the library fills: its own."""
    memory = ffi.new("char[]", 4096)
    struct = ffi.cast(f"{name} *", memory)

    def takes(size: int) -> bool:
        struct.size = size
        return call(struct) == 0  # type: ignore[operator]

    return max(size for size in range(ffi.sizeof("size_t"), 4096) if takes(size))


def test_snapshots_have_the_size_that_the_library_says() -> None:
    server = Server(shards=1)
    shard = server.shards[0].ptr
    assert largest(lambda out: lib.turbo_server_stats(server.ptr, out), "turbo_stats") == ffi.sizeof("turbo_stats")
    size = largest(lambda out: lib.turbo_shard_stats_get(shard, out), "turbo_shard_stats")
    assert size == ffi.sizeof("turbo_shard_stats")


def test_executor_table_has_the_size_that_the_library_says() -> None:
    """A byte set behind what the library knows is TURBO_ETOONEW; one within the table is not."""
    server = Server()
    size = ffi.sizeof("turbo_executor_ops")
    memory = ffi.new("char[]", size + 8)
    ops = ffi.cast("turbo_executor_ops *", memory)
    ops.batch = lib.turbo_py_executor_batch
    ops.size = size + 8
    assert lib.turbo_server_set_executor(server.ptr, ops, ffi.NULL) == 0, "zeros behind it ask for nothing"
    memory[size] = b"\1"
    assert lib.turbo_server_set_executor(server.ptr, ops, ffi.NULL) == lib.TURBO_ETOONEW
    memory[size] = b"\0"
    memory[size - 1] = b"\1"
    assert lib.turbo_server_set_executor(server.ptr, ops, ffi.NULL) == lib.TURBO_EINVAL, "reserved0 is the last member"
    ops.size = size - 1
    assert lib.turbo_server_set_executor(server.ptr, ops, ffi.NULL) == lib.TURBO_EINVAL


def test_names_of_errors_match_their_values() -> None:
    names = [name for name in dir(lib) if re.match(r"TURBO_E[A-Z]+$", name)] or re.findall(
        r"(TURBO_E[A-Z]+) = -", _cdef.DECLARATIONS
    )
    assert len(names) >= 16
    for name in names:
        assert ffi.string(lib.turbo_errname(getattr(lib, name))).decode() == name


def test_error() -> None:
    error = turbo_cffi.Error(lib.TURBO_EAGAIN)
    assert (error.code, error.name) == (-4, "TURBO_EAGAIN")
    assert str(error) == "TURBO_EAGAIN: " + ffi.string(lib.turbo_strerror(-4)).decode()
    assert turbo_cffi.check(5) == 5
    with pytest.raises(turbo_cffi.Error, match="TURBO_EINVAL: why"):
        turbo_cffi.check(lib.TURBO_EINVAL, "why")


@pytest.mark.parametrize("header, runs, fits", [
    (1000, 1000, True), (1000, 1001, True), (1001, 1000, False), (1000, 2000, False), (1000, 1000999, False),
])  # fmt: skip
def test_versions_that_fit(header: int, runs: int, fits: bool) -> None:
    if fits:
        turbo_cffi._check_version(header, "a", runs, "b")
    else:
        with pytest.raises(ImportError, match="built for libturbo a and found libturbo b"):
            turbo_cffi._check_version(header, "a", runs, "b")


def test_import_says_both_versions(tmp_path: Path) -> None:
    """A library of another version is simulated by one that is loaded first."""
    source, other = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(
        'int turbo_version(void) { return 99000; }\nconst char *turbo_version_string(void) { return "0.99.0"; }\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(other), str(source)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", "import turbo_cffi"],
        env={**os.environ, "LD_PRELOAD": str(other)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    built = ffi.string(lib.TURBO_VERSION_STRING).decode()
    assert done.returncode != 0
    assert f"turbo_cffi was built for libturbo {built} and found libturbo 0.99.0" in done.stderr


@pytest.mark.parametrize("change, complaint", [
    (("typedef void (*turbo_free_fn)", "typedef int turbo_odd; typedef void (*turbo_free_fn)"), "not understood"),
    (("TURBO_EINVAL = -1", "TURBO_EINVAL = 1 << 3"), "written out"),
    (("{sizeof(turbo_stats), 0", "{sizeof(turbo_stats), 7"), "more than to set a size"),
    (("#include <stddef.h>", "#include <stdarg.h>"), "unknown header"),
])  # fmt: skip
def test_generator_refuses_what_it_does_not_understand(tmp_path: Path, change: tuple, complaint: str) -> None:
    for path in [ROOT / "include/turbo.h", *(ROOT / "include/turbo").glob("*.h")]:
        copy = tmp_path / path.relative_to(ROOT / "include")
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace(*change))
    command = [sys.executable, str(ROOT / "scripts/gen_cdef.py"), str(tmp_path), str(tmp_path / "out.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and complaint in done.stderr, done.stderr


@pytest.mark.parametrize("change", [
    ("turbo_server_abort(turbo_server *server)", "turbo_server_abort(turbo_server *server, int now)"),
    ("    uint64_t taken; ", "    uint64_t taken; uint64_t more; "),
    ("TURBO_EUSER = -16", "TURBO_EUSER = -17"),
])  # fmt: skip
def test_drift_is_seen(tmp_path: Path, change: tuple) -> None:
    """check_cdef.py on a copy of the tree whose headers have changed."""
    for name in ("include/turbo.h", "scripts/gen_cdef.py", "bindings/cffi/src/turbo_cffi/_cdef.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    changed = 0
    for path in (ROOT / "include/turbo").glob("*.h"):
        copy = tmp_path / "include/turbo" / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace(*change))
        changed += copy.read_text() != path.read_text()
    assert changed == 1
    lint = [sys.executable, str(ROOT / "tests/lint/check_cdef.py")]
    assert subprocess.run([*lint, str(ROOT)], stdout=subprocess.DEVNULL).returncode == 0
    done = subprocess.run([*lint, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and "run: python3 scripts/gen_cdef.py" in done.stdout
