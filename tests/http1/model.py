"""What a case is: bytes to send, and the outcomes that the RFCs allow."""

from typing import Callable, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from answers import Response

MUST = "MUST"  # counted as required: what the RFC demands, or what is unsafe otherwise
SHOULD = "SHOULD"  # counted as advisory
MAY = "MAY"  # a note: what the server does is told, but is no failure

HOST = "h.test"
OK_BODY = b'{"ok":true}'

# -- steps --


class Send(NamedTuple):
    """Send bytes; with a gap, one by one, so many seconds apart."""

    data: bytes
    gap: Optional[float] = None


class Pause(NamedTuple):
    """Give the server time to act on what it has."""

    seconds: float


class Hold(NamedTuple):
    """Read nothing for a time, so that what the server sends fills the buffers."""

    seconds: float


class Await(NamedTuple):
    """Until so many final responses are here."""

    count: int


class AwaitInterim(NamedTuple):
    """Until a 1xx response, or a final one, is here."""


class EndSending(NamedTuple):
    """Shut the sending side down."""


class Splits(NamedTuple):
    """The same request again and again, cut in two at each place in turn; each must be answered before the next."""

    data: bytes


Step = Union[Send, Pause, Hold, Await, AwaitInterim, EndSending, Splits]

# -- outcomes --

Check = Callable[[Response], Optional[str]]


class R:
    """A response that is allowed."""

    def __init__(self, statuses: Union[int, Iterable[int]], *checks: Check) -> None:
        self.statuses: FrozenSet[int] = frozenset([statuses] if isinstance(statuses, int) else statuses)
        self.checks = checks

    def fault(self, response: Response) -> Optional[str]:
        if response.status not in self.statuses:
            return f"{response.status}, not {_few(self.statuses)}"
        for check in self.checks:
            try:
                fault = check(response)
            except (ValueError, KeyError, TypeError) as e:
                fault = f"body is not the JSON of /reflect ({e})"
            if fault:
                return fault
        return None


def _few(statuses: FrozenSet[int]) -> str:
    shown = sorted(statuses)
    return "/".join(map(str, shown)) if len(shown) <= 6 else f"{shown[0]}..{shown[-1]}"


class Outcome(NamedTuple):
    """All responses of a connection, in order, and how it ends."""

    responses: Tuple[R, ...]
    end: str  # open: a further request is answered; closed: the server has ended it; any
    longer: bool = False  # further responses may follow
    together: Optional[Callable[[Sequence[Response]], Optional[str]]] = None  # what is wrong with all of them


Outcomes = List[Outcome]
ANY_4XX = frozenset(range(400, 500))
ERRORS = frozenset(range(400, 600))


def answers(*responses: R, end: str = "open") -> Outcomes:
    return [Outcome(responses, end)]


def refuses(*statuses: int, silent: bool = False, end: str = "closed", after: Sequence[R] = ()) -> Outcomes:
    """An error answer (behind those due before it) and no more; or none, when closing without one is allowed."""
    outcomes = [Outcome((*after, R(statuses or (400,))), end)]
    if silent:
        outcomes.append(Outcome(tuple(after), "closed"))
    return outcomes


class Case(NamedTuple):
    id: str
    rfc: str
    level: str
    steps: Tuple[Step, ...]
    outcomes: Outcomes
    methods: Tuple[str, ...]  # of the requests sent, for framing the answers to HEAD
    needs: FrozenSet[str]
    note: str


class Topic:
    """Cases of one topic; their ids begin with its name."""

    def __init__(self, name: str, rfc: str) -> None:
        self.name = name
        self.rfc = rfc
        self.cases: List[Case] = []

    def add(self, id: str, level: str, send: Union[bytes, Sequence[Step]], outcomes: Outcomes, rfc: str = "",
            methods: Sequence[str] = (), needs: Iterable[str] = (), note: str = "") -> None:
        steps = (Send(send),) if isinstance(send, bytes) else tuple(send)
        self.cases.append(Case(f"{self.name}.{id}", rfc or self.rfc, level, steps, outcomes, tuple(methods),
                               frozenset(needs), note))


# -- requests --


def raw(text: Union[str, bytes]) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def req(target: Union[str, bytes] = "/reflect", method: Union[str, bytes] = "GET", *fields: Union[str, bytes],
        body: Union[str, bytes] = b"", version: Union[str, bytes] = "HTTP/1.1",
        host: Union[str, bytes, None] = HOST) -> bytes:
    """A request, with CRLF and single spaces; a field is a whole line."""
    lines = [raw(method) + b" " + raw(target) + b" " + raw(version)]
    if host is not None:
        lines.append(b"Host: " + raw(host))
    lines += [raw(field) for field in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + raw(body)


def post(body: Union[str, bytes], *fields: Union[str, bytes], target: str = "/reflect",
    version: str = "HTTP/1.1") -> bytes:
    """A POST with a right Content-Length."""
    return req(target, "POST", f"Content-Length: {len(raw(body))}", *fields, body=body, version=version)


def chunked(body: Union[str, bytes], *fields: Union[str, bytes], target: str = "/reflect",
    method: str = "POST") -> bytes:
    """A request with the chunked coding; `body` is the coded one."""
    return req(target, method, "Transfer-Encoding: chunked", *fields, body=body)


SMUGGLED = req("/reflect?smuggled")
FOLLOW = req("/reflect?follow")

# -- checks --


def saw(method: Optional[str] = None, path: Optional[str] = None, query: Optional[str] = None,
        body: Union[str, bytes, None] = None) -> Check:
    """What the handler of /reflect was given."""
    text = None if body is None else raw(body).decode("latin-1")
    wanted = {"method": method, "path": path, "query": query, "body": text}

    def check(response: Response) -> Optional[str]:
        seen = response.json()
        for key, value in wanted.items():
            if value is not None and seen[key] != value:
                return f"the handler saw {key} {seen[key][:80]!r}, not {value[:80]!r}"
        return None

    return check


def saw_field(name: str, *values: str) -> Check:
    """The values of a field, in order, as the handler of /reflect was given them; none: it was given no such field."""

    def check(response: Response) -> Optional[str]:
        seen = [value for key, value in response.json()["headers"] if key.lower() == name.lower()]
        return None if seen == list(values) else f"the handler saw {name} {seen!r}, not {list(values)!r}"

    return check


def saw_trailers(*pairs: Tuple[str, str]) -> Check:
    """All trailer fields, in order, as the handler of /reflect was given them."""

    def check(response: Response) -> Optional[str]:
        seen = [tuple(pair) for pair in response.json()["trailers"]]
        return None if seen == list(pairs) else f"the handler saw trailers {seen!r}, not {list(pairs)!r}"

    return check


def saw_not(name: str, value: str) -> Check:
    """The handler of /reflect was not given this field with this value."""

    def check(response: Response) -> Optional[str]:
        seen = [(key.lower(), text) for key, text in response.json()["headers"]]
        return f"the handler saw {name}: {value}" if (name.lower(), value) in seen else None

    return check


def body_is(body: bytes) -> Check:
    return lambda response: None if response.body == body else f"body {response.body[:80]!r}, not {body[:80]!r}"


def has(test: Callable[[Response], object], otherwise: str) -> Check:
    return lambda response: None if test(response) else otherwise


def size_is(size: int) -> Check:
    return lambda response: None if len(response.body) == size else f"{len(response.body)} bytes, not {size}"


def no_interim(response: Response) -> Optional[str]:
    return f"{response.interim[0].status} came before it" if response.interim else None


def one_interim(response: Response) -> Optional[str]:
    seen = [interim.status for interim in response.interim]
    return None if seen == [100] else f"interim responses {seen}, not one 100"


def at_most_one_interim(response: Response) -> Optional[str]:
    return None if len(response.interim) <= 1 else f"{len(response.interim)} interim responses"


def says_close(response: Response) -> Optional[str]:
    return None if "close" in response.tokens("Connection") else "no Connection: close"


def says_keep_alive(response: Response) -> Optional[str]:
    return None if "keep-alive" in response.tokens("Connection") else "no Connection: keep-alive"


def one_by_one(responses: Sequence[Response]) -> Optional[str]:
    """Answers of /span: each handler began when the one before it had ended."""
    spans = [response.json() for response in responses]
    for i, (a, b) in enumerate(zip(spans, spans[1:])):
        if b["begun"] < a["ended"]:
            return f"request {i + 2} was begun before request {i + 1} was done"
    return None


def all_at_once(responses: Sequence[Response]) -> Optional[str]:
    """Answers of /span: all had begun before one ended."""
    spans = [response.json() for response in responses]
    first = min(span["ended"] for span in spans)
    return None if all(span["begun"] < first for span in spans) else "one was done before another one was begun"


OK = R(200)
ECHO_OK = R(200, body_is(OK_BODY))
FOLLOWED = R(200, saw(query="follow"))
