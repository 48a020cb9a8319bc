"""Fails when docs/settings.md is not what the library's table says. usage: check_settings.py PROGRAM PAGE [--write]"""

import subprocess
import sys
from pathlib import Path

made = subprocess.run([sys.argv[1]], stdout=subprocess.PIPE, check=True).stdout.decode()
page = Path(sys.argv[2])
if "--write" in sys.argv[3:]:
    page.write_text(made)
elif not page.exists() or page.read_text() != made:
    sys.exit(f"{page} differs from the table of settings; run `make docs`")
