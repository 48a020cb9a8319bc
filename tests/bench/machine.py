"""What a run was made on: machine, versions, commit."""

import datetime
import os
import platform
import subprocess
from typing import Dict, List

from servers import NGINX, PYTHON, ROOT, VENV


def _first_line(argv: List[str]) -> str:
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, timeout=60)
    except OSError:
        return ""
    return done.stdout.splitlines()[0].strip() if done.stdout else ""


def packages(python: str, names: str) -> Dict[str, str]:
    code = f"from importlib.metadata import version as v; print(' '.join(v(n) for n in {names.split()!r}))"
    said = _first_line([python, "-c", code]).split()
    return dict(zip(names.split(), said)) if len(said) == len(names.split()) else {}


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (AttributeError, OSError, KeyError):
        return platform.system()


def describe() -> Dict[str, object]:
    python = str(PYTHON)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": _first_line(["git", "rev-parse", "HEAD"]),
        "changed_files": bool(_first_line(["git", "status", "--porcelain", "--untracked-files=no"])),
        "machine": {"cpu": _cpu_model(), "cpus": os.cpu_count(), "system": _system(), "kernel": platform.release(),
                    "load_average": os.getloadavg()[0]},
        "versions": {"python": _first_line([python, "-V"]), "wrk": _first_line(["wrk", "-v"]).split(" [")[0],
                     "ab": _first_line(["ab", "-V"]), "nginx": _first_line([NGINX, "-v"]),
                     **packages(python, "turbo uvloop orjson"),
                     "beside uvicorn": packages(str(VENV / "bin/python"), "uvicorn uvloop httptools")},
    }
