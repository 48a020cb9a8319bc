"""The programs that README.md and bindings/python/README.md print run as printed, but for the port."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import List, Tuple

import pytest

import harness
from harness import ROOT, Client, Server
from test_examples import Example

STAGE = ROOT / "build/stage"  # where scripts/venv.sh installs the library
PRINTED_PORT = "8000"


def snippets(readme: str, language: str) -> List[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)


def on_a_free_port(program: str) -> str:
    """The port is the only thing that a test may not take as printed."""
    assert program.count(PRINTED_PORT) == 1
    return program.replace(PRINTED_PORT, "0")


def compile_as_printed(source: str, to: Path) -> List[str]:
    """By the command that the README prints."""
    printed = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"cc hello\.c \$\(pkg-config --cflags --libs turbo\) -o hello", printed)
    (to / "hello.c").write_text(source)
    (directory,) = STAGE.rglob("turbo.pc")
    env = {**os.environ, "PKG_CONFIG_PATH": str(directory.parent)}
    done = subprocess.run(["sh", "-c", command], cwd=to, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return ["env", f"LD_LIBRARY_PATH={directory.parent.parent}", str(to / "hello")]


@pytest.mark.skipif(harness.SANITIZED, reason="the installed library is the release build")
def test_c(tmp_path: Path) -> None:
    assert shutil.which("cc") and shutil.which("pkg-config"), "scripts/deps.sh build installs them"
    (program,) = snippets("README.md", "c")
    example = Example(compile_as_printed(on_a_free_port(program), tmp_path))
    try:
        assert example.get("/") == b"Hello, world\n"
    finally:
        example.stop()


def python_programs() -> List[Tuple[str, str]]:
    """Those that serve: the others are parts that go on with the one before."""
    readmes = ("README.md", "bindings/python/README.md")
    return [(readme, text) for readme in readmes for text in snippets(readme, "python") if "app.run(" in text]


@pytest.mark.skipif("python" not in harness.KINDS, reason="TURBO_E2E_KINDS leaves python out")
@pytest.mark.parametrize("readme,program", python_programs(), ids=lambda value: value if value.endswith(".md") else "")
def test_python(readme: str, program: str, tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(on_a_free_port(program))
    with Server([harness.PYTHON, "-W", "error", str(script)]) as server:
        found = dict(re.findall(r'@app\.get\("([^"{]*)"[^\n]*\)\n(?:async )?def (\w+)', program))
        assert found, "no route to ask for"
        for path in found:
            assert server.get(path).status == 200
        if readme == "bindings/python/README.md":
            assert server.get("/").body == b"hello\n"
            assert server.get("/users/7?v").json() == {"id": "7", "verbose": True}
            with Client(server.address) as client:
                assert client.request("/predict", "POST", body=b"abc").json() == {"length": 3}


@pytest.mark.skipif("python" not in harness.KINDS, reason="TURBO_E2E_KINDS leaves python out")
def test_python_inside_other_programs() -> None:
    """The README of the binding goes on with app.start()."""
    first, second, *_ = snippets("bindings/python/README.md", "python")
    lines = [first.replace('__name__ == "__main__"', "False"), second]
    done = subprocess.run([harness.PYTHON, "-W", "error", "-c", "\n".join(lines)], capture_output=True, text=True,
                          timeout=harness.TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ \{'taken': 0, .*\}\n", done.stdout), done.stdout
