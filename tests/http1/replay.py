#!/usr/bin/env python3
"""The text cases of tests/conformance over sockets: whole, byte by byte, and in two pieces for every place to cut.

    replay.py --demo c-shards | c-inline | c-io0 | python      (repeatable; or all)

The server has read a piece before the next one is sent: its sockets' queues are looked at. The answers must be those
that the case's events ask for, and the same bytes (but for Date) however the case was cut.
"""

import argparse
import re
import select
import socket
import sys
import time
from collections import defaultdict
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import conformance
from answers import Response, ResponseStream
from conformance import CUT, OPEN, REFUSED, TOLD, Expected, TextCase
from unread import wait_read

GROUP = 200  # connections at once
LIMIT = 20.0  # seconds that a group may take; nothing takes that long
ABORT = b"\1\0\0\0\0\0\0\0"  # SO_LINGER at 0: close() resets, so that no port stays in TIME_WAIT
PROBE = b"GET /json HTTP/1.1\r\nHost: h\r\n\r\n"
DATE = re.compile(rb"\r\nDate: [^\r\n]*")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
SHOWN = 10  # differences that are printed
LIMITS = {"head": "head_max_bytes", "fields": "fields_max", "target": "target_max_bytes"}


class Plan(NamedTuple):
    """A case with what it must bring."""

    case: TextCase
    expected: Expected
    methods: List[str]

    @property
    def wanted(self) -> int:
        """Answers that come, that of the probe among them."""
        return len(self.expected.statuses) + (self.expected.end == OPEN)


def plan_of(case: TextCase) -> Plan:
    return Plan(case, conformance.expected(case), [message.method or "GET" for message in case.messages])


def cuts_of(data: bytes) -> Iterator[Tuple[str, List[bytes]]]:
    yield "whole", [data]
    for i in range(1, len(data)):
        yield f"cut at {i}", [data[:i], data[i:]]


def bytes_of(data: bytes) -> List[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# -- judging what a connection brought --


def fault_of_served(message: conformance.Message, response: Response) -> Optional[str]:
    """What /reflect says against the events of the case."""
    if message.path != "/reflect" or message.method in ("HEAD", "TRACE"):
        return None
    seen = response.json()
    wanted = {"method": message.method, "path": message.path, "query": message.query,
              "headers": [list(field) for field in message.fields], "body": message.body,
              "trailers": [list(field) for field in message.trailers]}
    return next((f"{key} was {seen.get(key)!r}, not {value!r}" for key, value in wanted.items()
                 if seen.get(key) != value), None)


def fault_of(plan: Plan, responses: Sequence[Response]) -> Optional[str]:
    statuses, end, served = plan.expected
    seen = [response.status for response in responses]
    wanted = [*statuses, 200] if end == OPEN else statuses
    if seen != wanted:
        return f"statuses {seen}, not {wanted}"
    closing = ["close" in response.tokens("Connection") for response in responses]
    if closing != [i == len(seen) - 1 and end in (REFUSED, TOLD) for i in range(len(seen))]:
        return f"Connection: close in {closing}, but it is {end}"
    if end == OPEN and responses[-1].body != b'{"ok":true}':
        return f"the probe got {responses[-1]}"
    answered = [response for response, status in zip(responses, statuses) if status == 200]
    return next(filter(None, map(fault_of_served, served, answered)), None)


class Judge:
    """Knows what the same bytes meant when they came first: most connections of a case bring the same ones."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._seen: Dict[bytes, ResponseStream] = {}
        self.first: Optional[bytes] = None  # what the case brought when it was first run

    def read(self, received: bytes) -> Tuple[int, Optional[str]]:
        """@return how many responses are whole; why they are malformed."""
        if received not in self._seen:
            self._seen[received] = ResponseStream([*self.plan.methods, "GET"])
            self._seen[received].feed(received)
        stream = self._seen[received]
        return 0 if stream.busy else len(stream.responses), stream.error

    def is_wrong(self, received: bytes) -> bool:
        """The statuses cannot become right any more: the end is not waited for."""
        statuses = [response.status for response in self._seen[received].responses]
        return statuses != [*self.plan.expected.statuses, 200][: len(statuses)]

    def verdict(self, received: bytes) -> Optional[str]:
        stream = self._seen[received]
        fault = fault_of(self.plan, stream.responses)
        if fault or stream.busy:
            return fault or f"ended inside a response: {received[-300:]!r}"
        if self.first is None:
            self.first = received
        if received == self.first:
            return None
        return f"other bytes than at first: {received[:300]!r}, not {self.first[:300]!r}"


class Connection:
    def __init__(self, address: Tuple[str, int], judge: Judge, how: str, parts: List[bytes]) -> None:
        self.judge = judge
        self.how = how
        self.parts = parts
        self.received = b""
        self.done = False
        self.fault: Optional[str] = None
        self._follow = True  # a probe, or our end, is still to be sent
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self, data: bytes) -> None:
        """Never more than the socket takes at once. The server may have gone: what it answered tells whether it may."""
        try:
            self.socket.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def take(self) -> None:
        """Read what is there; go on once all answers have come."""
        end = ""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data, end = b"", "reset"
        if data:
            self.received += data
        self._go_on(end if end or data else "ended")

    def _go_on(self, ended: str) -> None:
        plan = self.judge.plan
        received = DATE.sub(b"", self.received).replace(INTERIM, b"")
        whole, error = self.judge.read(received)
        if error:
            self._finish(f"malformed: {error}")
        elif self.judge.is_wrong(received):
            self._finish(self.judge.verdict(received))
        elif ended:
            self._finish(self._judge_end(ended) or self.judge.verdict(received))
        elif plan.expected.end == OPEN and whole >= plan.wanted:
            self._finish(self.judge.verdict(received))
        elif self._follow and whole >= len(plan.expected.statuses):
            self.follow()

    def _judge_end(self, ended: str) -> Optional[str]:
        end = self.judge.plan.expected.end
        if end == OPEN:
            return f"the connection was {ended}, behind {self.received[-300:]!r}"
        return "the connection was reset" if ended == "reset" and end != TOLD else None

    def follow(self) -> None:
        self._follow = False
        end = self.judge.plan.expected.end
        if end == OPEN:
            self.send(PROBE)
        elif end == CUT:
            self.socket.shutdown(socket.SHUT_WR)

    def _finish(self, fault: Optional[str]) -> None:
        self.done = True
        self.fault = fault


# -- running them --


def run_group(address: Tuple[str, int], group: Sequence[Tuple[Judge, str, List[bytes]]]) -> List[Connection]:
    connections = [Connection(address, *what) for what in group]
    try:
        for i in range(max(len(connection.parts) for connection in connections)):
            for connection in connections:
                if i < len(connection.parts):
                    connection.send(connection.parts[i])
            wait_read(address[1], LIMIT)
        read_all(connections)
    finally:
        for connection in connections:
            connection.socket.close()
    return connections


def read_all(connections: Sequence[Connection]) -> None:
    poll = select.epoll()
    by_fd = {connection.socket.fileno(): connection for connection in connections}
    for fd, connection in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        if not connection.judge.plan.expected.statuses:
            connection.follow()
    end = time.monotonic() + LIMIT
    while by_fd and time.monotonic() < end:
        for fd, _ in poll.poll(1.0):
            by_fd[fd].take()
            if by_fd[fd].done:
                poll.unregister(fd)
                del by_fd[fd]
    poll.close()
    for connection in by_fd.values():
        connection.fault = f"not ended, or not answered, in {LIMIT} s: {connection.received[:300]!r}"


class Counts:
    def __init__(self) -> None:
        self.cases = self.cuts = self.connections = self.differences = 0

    def __str__(self) -> str:
        return (f"{self.cases} cases, {self.cuts} cuts, {self.connections} connections, "
                f"{self.differences} differences")


def run_cases(address: Tuple[str, int], cases: Iterable[TextCase], counts: Counts, show: bool = True) -> None:
    judges = [Judge(plan_of(case)) for case in cases]
    # The whole ones first: what they brought is what all others are compared with.
    whole = [(judge, "whole", [judge.plan.case.data]) for judge in judges]
    rest = [(judge, how, parts) for judge in judges for how, parts in cuts_of(judge.plan.case.data) if how != "whole"]
    bytewise = [(judge, "byte by byte", bytes_of(judge.plan.case.data))
                for judge in sorted(judges, key=lambda judge: len(judge.plan.case.data))]
    counts.cases += len(judges)
    for runs in (whole, rest, bytewise):
        counts.cuts += len(runs) if runs is rest else 0
        for i in range(0, len(runs), GROUP):
            for connection in run_group(address, runs[i : i + GROUP]):
                counts.connections += 1
                if connection.fault:
                    tell(connection, counts, show)


def tell(connection: Connection, counts: Counts, show: bool) -> None:
    counts.differences += 1
    if show and counts.differences <= SHOWN:
        plan = connection.judge.plan
        sent = str(connection.parts if connection.how != "byte by byte" else plan.case.data)
        print(f"{plan.case.name}, {connection.how}: {connection.fault[:800]}\n  sent {sent[:400]}")


def by_limits(cases: Iterable[TextCase]) -> Dict[Tuple[str, ...], List[TextCase]]:
    """The cases by the flags that a demo needs for them."""
    out: Dict[Tuple[str, ...], List[TextCase]] = defaultdict(list)
    for case in cases:
        flags = [word for key, value in sorted(case.limits.items())
                 for word in ("--" + LIMITS[key].replace("_", "-"), str(value))]
        out[tuple(flags)].append(case)
    return out


def run_demo(kind: str, start: Callable, cases: Sequence[TextCase], least: Dict[str, int]) -> Counts:
    counts = Counts()
    begin = time.monotonic()
    possible = [case for case in cases if all(case.limits.get(key, least[key]) >= least[key] for key in least)]
    for flags, some in by_limits(possible).items():
        with start(kind, *flags) as server:
            run_cases(server.address, [*some, *filter(None, map(conformance.reflected, some))], counts)
    print(f"{kind}: {counts}, {len(cases) - len(possible)} cases skipped (limits below the settings' ranges), "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="append", default=[],
        help="a demo to start: c-shards, c-inline, c-io0, python; or all")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this in it")
    arguments = parser.parse_args()
    from servers import DEMOS, expand, start_plain

    cases = [case for case in conformance.read_all() if arguments.only in case.name]
    counts = [run_demo(kind, start_plain, cases, {"head": 256, "fields": 1, "target": 1})
              for kind in expand(arguments.demo, DEMOS)]
    return 1 if not counts or any(count.differences or not count.connections for count in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
