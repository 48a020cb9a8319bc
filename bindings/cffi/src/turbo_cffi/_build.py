"""Builds the extension module turbo_cffi._turbo against an installed libturbo.

The library is found below the prefix that the environment variable TURBO_PREFIX names, else by pkg-config. The module
remembers its directory, so that nothing has to be set at run time.
"""

import glob
import os
import runpy
import subprocess
from typing import Tuple

import cffi

HERE = os.path.dirname(os.path.abspath(__file__))


def find_below(prefix: str) -> Tuple[str, str]:
    """Directories of the headers and of the library below a prefix."""
    include = os.path.join(prefix, "include")
    places = [place for shape in ("lib", "lib64", "lib/*") for place in glob.glob(os.path.join(prefix, shape))]
    for place in places:
        if os.path.exists(os.path.join(place, "libturbo.so")) and os.path.exists(os.path.join(include, "turbo.h")):
            return include, place
    raise SystemExit(f"turbo_cffi: TURBO_PREFIX is {prefix}, but no libturbo is installed there")


def ask_pkg_config() -> Tuple[str, str]:
    """The same, from turbo.pc."""
    try:
        answers = [
            subprocess.run(
                ["pkg-config", f"--variable={name}", "turbo"],
                check=True,
                stdout=subprocess.PIPE,
                universal_newlines=True,
            ).stdout.strip()
            for name in ("includedir", "libdir")
        ]
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"turbo_cffi: pkg-config knows no libturbo ({error}): set TURBO_PREFIX or PKG_CONFIG_PATH"
        ) from None
    return answers[0], answers[1]


def make() -> cffi.FFI:
    cdef = runpy.run_path(os.path.join(HERE, "_cdef.py"))
    prefix = os.environ.get("TURBO_PREFIX")
    include, library = find_below(os.path.abspath(prefix)) if prefix else ask_pkg_config()
    builder = cffi.FFI()
    builder.cdef(cdef["DECLARATIONS"])
    builder.cdef(cdef["TRAMPOLINES"])
    builder.set_source(
        "turbo_cffi._turbo",
        "#include <turbo.h>",
        include_dirs=[include],
        library_dirs=[library],
        runtime_library_dirs=[library],
        libraries=["turbo"],
    )
    return builder


ffibuilder = make()
