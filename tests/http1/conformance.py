"""The text cases of tests/conformance (its README has the format), and what a demo has to answer to them."""

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

FILES = Path(__file__).resolve().parents[1] / "conformance"
ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
BODY_MAX = 1 << 20  # the default of body_max_bytes
STANDARD = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}  # RFC 9110 9, RFC 5789

OPEN = "open"  # a further request is answered
REFUSED = "refused"  # the server ends the connection, which the client could not know
TOLD = "told"  # it ends because the client said so: close, or 1.0
CUT = "cut"  # the bytes end within a message: no answer, and the end once the client has ended its side


class Message(NamedTuple):
    """A message of a case, as its events tell."""

    method: str  # "" without a head
    target: str
    path: str
    query: str
    words: List[str]  # of the head line, behind the version
    fields: List[Tuple[str, str]]
    body: str
    trailers: List[Tuple[str, str]]
    end: str  # "end", "closed", "more" or "error N"

    @property
    def length(self) -> int:
        return next((int(word[7:]) for word in self.words if word.startswith("length=")), 0)


class TextCase(NamedTuple):
    name: str  # file: sentence
    data: bytes
    limits: Dict[str, int]  # empty: the defaults
    messages: List[Message]


class Expected(NamedTuple):
    statuses: List[int]
    end: str
    served: List[Message]  # of those answered 200, in order


# -- reading --


def repeated(text: str) -> str:
    return re.sub(r"\\\{(\d+)\*([^}]*)\}", lambda found: found[2] * int(found[1]), text)


def unescaped(text: str) -> str:
    return re.sub(r"\\(?:x(..)|([rnt0\\]))",
                  lambda found: chr(int(found[1], 16)) if found[1] else ESCAPES[found[2]], text)


def read_message(lines: List[str]) -> Message:
    method = target = query = body = end = ""
    path: Optional[str] = None
    words: List[str] = []
    fields: List[Tuple[str, str]] = []
    trailers: List[Tuple[str, str]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "head":
            method, target, _, *words = rest.split(" ")
        elif word == "path":
            path = unescaped(rest)
        elif word == "query":
            query = unescaped(rest)
        elif word in ("field", "trailer"):
            name, _, value = rest.partition(":")
            (fields if word == "field" else trailers).append((name, unescaped(value[1:])))
        elif word == "body":
            body += unescaped(rest)
        elif word not in ("end", "closed", "more", "error"):
            raise ValueError(f"an event that is not known: {line}")
        else:
            end = line if end != "end" else f"{end} {line}"
    return Message(method, target, target if path is None else path, query, words, fields, body, trailers,
                   "closed" if end == "end closed" else end)


def read_case(file: str, text: str) -> TextCase:
    name, *lines = text.splitlines()
    data = ""
    limits: Dict[str, int] = {}
    messages: List[List[str]] = []
    for line in lines:
        if line.startswith("> "):
            data += unescaped(repeated(line[2:]))
        elif line.startswith("limits "):
            limits = {key: int(value) for key, value in (pair.split("=") for pair in line.split()[1:])}
        elif line == "begin":
            messages.append([])
        elif line and not line.startswith("#"):
            if not messages:
                messages.append([])
            messages[-1].append(repeated(line))
    return TextCase(f"{file}: {name}", data.encode("latin-1"), limits, [read_message(lines) for lines in messages])


def read_all() -> Iterator[TextCase]:
    for path in sorted(FILES.glob("*.http")):
        for text in re.split(r"^=== ", path.read_text(), flags=re.M)[1:]:
            yield read_case(path.name, text)


# -- what is expected --


def route_status(message: Message) -> int:
    """What the demos' routes say (docs/routing.md): those that cases ask for are / (GET alone) and /reflect (any but
    TRACE)."""
    if message.method == "CONNECT" or message.method not in STANDARD and message.path != "/reflect":
        return 501
    if message.path == "/reflect":
        return 405 if message.method == "TRACE" else 200
    if message.path not in ("/", "", "*"):
        return 404
    if message.method == "OPTIONS":
        return 204
    return 200 if message.method in ("GET", "HEAD") else 405


def at_head(message: Message, status: int) -> int:
    """The status of a message that is refused without its body being read; 0: it is read."""
    if "expect-unknown" in message.words:
        return 417
    if message.length > BODY_MAX:
        return 413 if status == 200 else status
    return status if status != 200 and "expect" in message.words else 0


def expected(case: TextCase) -> Expected:
    """The statuses, how the connection goes on behind them, and what handlers were given."""
    statuses: List[int] = []
    served: List[Message] = []
    for message in case.messages:
        status = route_status(message) if message.method else 0
        early = at_head(message, status) if message.method else 0
        if early:
            return Expected([*statuses, early], REFUSED, served)
        if message.end.startswith("error"):
            return Expected([*statuses, int(message.end[6:])], REFUSED, served)
        if message.end == "more":
            return Expected(statuses, CUT, served)
        statuses.append(status)
        served += [message] if status == 200 else []
        if "close" in message.words:
            return Expected(statuses, TOLD, served)
    return Expected(statuses, OPEN, served)


# -- the same for a handler that tells what it was given --


def reflected(case: TextCase) -> Optional[TextCase]:
    """The case with /reflect for the target "/": then the answers say what was read. None: nothing of it is served, or
    the case counts bytes."""
    if case.limits:
        return None
    messages = []
    data = case.data
    at = 0
    for message in case.messages:
        line = f"{message.method} / HTTP/1.".encode("latin-1")
        found = data.find(line, at) if message.target == "/" and message.method != "CONNECT" else -1
        if found >= 0:
            data = data[:found] + line.replace(b" / ", b" /reflect ", 1) + data[found + len(line) :]
            at = found + len(line)
            message = message._replace(target="/reflect", path="/reflect")
        messages.append(message)
    changed = case._replace(name=f"{case.name} (reflected)", data=data, messages=messages)
    return changed if data != case.data and expected(changed).served else None
