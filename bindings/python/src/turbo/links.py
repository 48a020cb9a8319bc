"""Words between interpreters of one process, which share no objects."""

import os
from typing import List


class Link:
    """One end of a socket pair: lines of text go both ways.

    From the main interpreter: "drive" (the server has started), "stop" (it has been told to), "abort" (do not wait any longer),
    "cancel" (on_start, if it has not returned), "end" (the start has failed), "others" (all other shards have stopped). From a shard's: "ready LOOP" (on_start has returned),
    "stopped" (on_stop has), "stop" (the app was told to).
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def say(self, line: str) -> None:
        """Any thread. Does nothing when nobody listens any more."""
        try:
            os.write(self.fd, line.encode() + b"\n")
        except OSError:
            pass

    def hear(self) -> List[str]:
        """The lines that have come, once there is something to read; [] at the end."""
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            data = b""
        if not data:
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in lines] or self.hear()
