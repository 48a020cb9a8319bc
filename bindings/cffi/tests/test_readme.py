"""README.md's examples run as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEADLINE

README = Path(__file__).resolve().parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
PRINTED = [r"port \d+\n0 200 b'ABC'\n", ""]


def test_all_are_tested() -> None:
    assert len(EXAMPLES) == len(PRINTED)


@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_example(number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", EXAMPLES[number]], timeout=DEADLINE, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(PRINTED[number], done.stdout)
