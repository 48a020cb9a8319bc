"""A connection that does what a case says, sends and reads at the same time, and never waits without a limit."""

import select
import socket
import time
from typing import Optional, Sequence, Tuple

from answers import ResponseStream
from model import Await, AwaitInterim, EndSending, Hold, Pause, Send, Splits, Step

ANSWER_LIMIT = 10.0  # seconds that an answer, or the end of a connection, may take
QUIET = 0.4  # seconds without a byte: nothing more is coming


class Wire:
    def __init__(self, address: Tuple[str, int], methods: Sequence[str]) -> None:
        self.stream = ResponseStream(methods)
        self.received = bytearray()
        self.sent = bytearray()
        self.reset = False
        self.send_failed = False
        self.socket = socket.create_connection(address, timeout=ANSWER_LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    @property
    def ended(self) -> bool:
        return self.stream.ended

    def close(self) -> None:
        self.socket.close()

    # -- bytes --

    def _read(self) -> None:
        try:
            data = self.socket.recv(262144)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            self.reset = True
            data = b""
        if data:
            self.received += data
            self.stream.feed(data)
        else:
            self.stream.end()

    def pump(self, seconds: float) -> bool:
        """Read what comes within a time. @return whether anything came."""
        if self.ended:
            return False
        readable, _, _ = select.select([self.socket], [], [], max(0.0, seconds))
        if readable:
            self._read()
        return bool(readable)

    def send(self, data: bytes) -> None:
        self.sent += data
        view = memoryview(data)
        end = time.monotonic() + ANSWER_LIMIT
        while view and not self.send_failed and time.monotonic() < end:
            reading = [] if self.ended else [self.socket]
            readable, writable, _ = select.select(reading, [self.socket], [], 0.5)
            if readable:
                self._read()
            if not writable:
                continue
            try:
                view = view[self.socket.send(view[:65536]) :]
            except (BlockingIOError, InterruptedError):
                continue
            except (BrokenPipeError, ConnectionResetError):
                self.send_failed = True

    def end_sending(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    # -- waiting --

    def wait(self, count: int) -> bool:
        """Until so many final responses are here. @return whether they are."""
        end = time.monotonic() + ANSWER_LIMIT
        while len(self.stream.responses) < count and not self.ended and not self.stream.error:
            left = end - time.monotonic()
            if left <= 0:
                break
            self.pump(left)
        return len(self.stream.responses) >= count

    def wait_interim(self) -> None:
        end = time.monotonic() + ANSWER_LIMIT
        before = len(self.stream.responses)
        while not self.ended and not self.stream.error and time.monotonic() < end:
            if self.stream.interim or len(self.stream.responses) > before:
                break
            self.pump(end - time.monotonic())

    def settle(self) -> None:
        """Read until the end or until nothing more comes."""
        end = time.monotonic() + ANSWER_LIMIT
        while not self.ended and time.monotonic() < end and self.pump(QUIET):
            pass

    def wait_end(self) -> bool:
        end = time.monotonic() + ANSWER_LIMIT
        while not self.ended and time.monotonic() < end:
            self.pump(end - time.monotonic())
        return self.ended

    # -- steps --

    def run(self, steps: Sequence[Step]) -> Optional[str]:
        """@return why a step could not be done."""
        for step in steps:
            fault = self._do(step)
            if fault:
                return fault
        return None

    def _do(self, step: Step) -> Optional[str]:
        if isinstance(step, Send):
            if step.gap is None:
                self.send(step.data)
            else:
                self._send_bytewise(step.data, step.gap)
        elif isinstance(step, Pause):
            self._pause(step.seconds)
        elif isinstance(step, Hold):
            time.sleep(step.seconds)
        elif isinstance(step, Await):
            if not self.wait(step.count):
                return f"{len(self.stream.responses)} responses, waited for {step.count}"
        elif isinstance(step, AwaitInterim):
            self.wait_interim()
        elif isinstance(step, EndSending):
            self.end_sending()
        elif isinstance(step, Splits):
            return self._splits(step.data)
        return None

    def _send_bytewise(self, data: bytes, gap: float) -> None:
        for i in range(len(data)):
            if self.ended:
                break
            self.send(data[i : i + 1])
            if gap:
                self.pump(gap)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.ended:
            self.pump(end - time.monotonic())

    def _splits(self, data: bytes) -> Optional[str]:
        for i in range(1, len(data)):
            self.send(data[:i])
            self.pump(0.002)
            self.send(data[i:])
            count = len(self.stream.responses)
            if not self.wait(count + 1):
                return f"cut behind {data[:i][-20:]!r}: no answer"
            if self.stream.responses[-1].status != 200:
                return f"cut behind {data[:i][-20:]!r}: {self.stream.responses[-1]}"
            # The answers so far were looked at; the case judges the last one.
            del self.stream.responses[:-1]
            if i < len(data) - 1:
                self.stream.responses.clear()
        return None
