"""Standard output and error: either may be closed (then it is None), or a pipe that nobody reads any more."""

import contextlib
import os
import sys
from typing import Any

from .errors import logger


def hold_descriptors() -> None:
    """Open what is missing of descriptors 0, 1 and 2, as /dev/null: for a program that is a server.

    Else they would be sockets and pipes, which libuv does not close but abort for, and which get what C code prints.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def flush() -> None:
    """Write out what was printed. What cannot be written is nobody's failure here: never raises."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()


def announce(line: str) -> None:
    """Print a line, at once. A server whose line nobody can read serves all the same: that is logged.

    Past the buffer of standard output, where a line that cannot be written would stay, for Python's end to fail with (120).
    """
    out: Any = sys.stdout
    try:
        raw = getattr(getattr(out, "buffer", None), "raw", None)
        if raw is None:
            print(line, flush=True)
        else:
            out.flush()
            raw.write(f"{line}\n".encode(out.encoding, out.errors))
    except (OSError, ValueError) as error:
        logger.warning("standard output does not take it (%s): %s", error, line)
