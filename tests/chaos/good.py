"""Good clients: each request has an id of its own, and every byte of every answer is checked."""

import asyncio
import json
import random
import re
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

ANSWER_SECONDS = 10  # what is not answered by then is lost
CLOSE_SHARE = 0.05  # of the turns: the connection is closed behind it, and a new one opened
Address = Tuple[str, int]


class Wrong(Exception):
    """An answer differs from what it must be."""


class Refused(Exception):
    """The server said that it cannot: 500 or 503."""


class Ask(NamedTuple):
    """A request and what its answer must be."""

    name: str
    wire: bytes
    body: Optional[bytes]  # None: JSON of /reflect that holds `id`
    id: bytes


def _head(line: str, *fields: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: chaos", *fields, "", ""]).encode()


class Maker:
    """Makes requests; `stem` is not used by any other maker, so no id comes twice."""

    def __init__(self, stem: str, seed: int) -> None:
        self.stem = stem
        self.count = 0
        self.chance = random.Random(seed)

    def _id(self) -> bytes:
        self.count += 1
        return f"{self.stem}-{self.count}".encode()

    def user(self) -> Ask:
        id = self._id()
        return Ask("users", _head(f"GET /users/{id.decode()}"), b'{"id":"%b"}' % id, id)

    def echo(self) -> Ask:
        id = self._id()
        body = id + self.chance.randbytes(self.chance.choice((0, 100, 5000, 40000)))
        if self.chance.random() < 0.7:
            return Ask("echo", _head("POST /echo", f"Content-Length: {len(body)}") + body, body, id)
        parts = [body[at : at + 3000] for at in range(0, len(body), 3000)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        return Ask("echo", _head("POST /echo", "Transfer-Encoding: chunked") + chunks, body, id)

    def reflect(self) -> Ask:
        id = self._id()
        return Ask("reflect", _head(f"GET /reflect?id={id.decode()}", f"X-Id: {id.decode()}"), None, id)

    def sleep(self) -> Ask:
        return Ask("sleep", _head("GET /sleep?ms=3"), b'{"ok":true}', self._id())

    def stream(self) -> Ask:
        count, size = self.chance.randint(1, 6), self.chance.choice((1, 100, 3000))
        return Ask("stream", _head(f"GET /stream?chunks={count}&bytes={size}"), bytes(count * size), self._id())

    def big(self) -> Ask:
        size = self.chance.choice((1, 4096, 4097, 200000))
        return Ask("big", _head(f"GET /big?bytes={size}"), bytes(size), self._id())

    def turn(self) -> List[Ask]:
        """What one connection sends at once."""
        which = self.chance.choices((self.user, self.echo, self.reflect, self.sleep, self.stream, self.big),
                                    (30, 20, 15, 10, 10, 5))[0]
        if which is not self.user or self.chance.random() < 0.7:
            return [which()]
        return [self.user() for _ in range(self.chance.choice((2, 8, 16)))]


async def read_answer(reader: asyncio.StreamReader) -> Tuple[int, bytes, bool]:
    """Status, body, and whether it says that it is the last on its connection."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n", head)
    if found is None:
        raise Wrong(f"head of an answer: {head[:100]!r}")
    last = b"\r\nConnection: close\r\n" in head
    lengths = re.findall(rb"\r\nContent-Length: (\d+)\r\n", head)
    if b"\r\nTransfer-Encoding: chunked\r\n" not in head:
        if len(lengths) != 1:
            raise Wrong(f"head of an answer: {head!r}")
        return int(found[1]), await reader.readexactly(int(lengths[0])), last
    parts = []
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        part = await reader.readexactly(size + 2)
        if part[size:] != b"\r\n" or lengths:
            raise Wrong(f"chunk of {size}, {head!r}")
        if size == 0:
            return int(found[1]), b"".join(parts), last
        parts.append(part[:size])


def check(ask: Ask, status: int, body: bytes) -> None:
    if status in (500, 503):
        raise Refused(f"{ask.name} {ask.id!r}: status {status}")
    if status != 200:
        raise Wrong(f"{ask.name} {ask.id!r}: status {status}, {body[:100]!r}")
    if ask.body is not None:
        if body != ask.body:
            raise Wrong(f"{ask.name} {ask.id!r}: {len(body)} bytes {body[:60]!r}, not {len(ask.body)} {ask.body[:60]!r}")
        return
    seen, id = json.loads(body), ask.id.decode()
    fields = {name.lower(): value for name, value in seen["headers"]}
    if (seen["method"], seen["path"], seen["query"], fields) != (
        "GET", "/reflect", f"id={id}", {"host": "chaos", "x-id": id}
    ):
        raise Wrong(f"reflect {ask.id!r}: {body!r}")


class Tally:
    """What became of the good requests of one phase."""

    def __init__(self) -> None:
        self.sent = self.right = 0
        self.wrong: List[str] = []    # answers that differ, or did not come in time
        self.lost: List[str] = []     # the connection ended before them
        self.refused: List[str] = []
        self.turns_ms: List[float] = []  # from sending to the last byte of the last answer of a turn
        self.count_of: Dict[str, int] = {}

    @property
    def failures(self) -> List[str]:
        return self.wrong + self.lost + self.refused

    def percentile(self, share: float) -> float:
        ordered = sorted(self.turns_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Client:
    """One connection at a time."""

    def __init__(self, address: Address, number: int, phase: str, tally: Tally) -> None:
        self.address = address
        self.maker = Maker(f"{phase}{number}", number)
        self.tally = tally
        self.reader: Optional[asyncio.StreamReader] = None
        self.writer: Optional[asyncio.StreamWriter] = None
        self.sent_at = 0.0  # when this turn's requests were sent; 0: not yet
        self.owed = 0       # answers of this turn that have not come
        self.was_told = False  # by this turn's last answer, to close

    async def _turn(self, asks: List[Ask]) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.writer.write(b"".join(ask.wire for ask in asks))
        self.sent_at = time.monotonic()
        for ask in asks:
            status, body, last = await read_answer(self.reader)
            check(ask, status, body)
            self.owed -= 1
            self.tally.right += 1
            self.tally.count_of[ask.name] = self.tally.count_of.get(ask.name, 0) + 1
            self.was_told = last

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort() if self.reader.at_eof() else self.writer.close()
        self.reader = self.writer = None

    def _note(self, where: List[str], asks: List[Ask], error: Exception) -> None:
        where.append(f"{asks[0].name} x {len(asks)}: {type(error).__name__} {error}")
        self.close()

    async def turn(self) -> None:
        asks = self.maker.turn()
        self.tally.sent += len(asks)
        self.sent_at, self.owed, self.was_told = 0.0, len(asks), False
        begun = time.monotonic()
        try:
            await asyncio.wait_for(self._turn(asks), ANSWER_SECONDS)
            self.tally.turns_ms.append((time.monotonic() - begun) * 1000)
        except (asyncio.TimeoutError, Wrong, ValueError, KeyError) as error:  # first: TimeoutError is an OSError, too
            self._note(self.tally.wrong, asks, error)
        except (OSError, EOFError) as error:
            self._note(self.tally.lost, asks, error)
        except Refused as error:
            self._note(self.tally.refused, asks, error)
        if self.was_told or self.maker.chance.random() < CLOSE_SHARE:
            self.close()

    async def run(self, end: float, pause: float) -> None:
        await asyncio.sleep(self.maker.chance.random() * pause)
        while time.monotonic() < end:
            await self.turn()
            await asyncio.sleep(self.maker.chance.uniform(0.5, 1.5) * pause)
        self.close()


async def _run(address: Address, phase: str, seconds: float, clients: int, pause: float, tally: Tally) -> None:
    end = time.monotonic() + seconds
    await asyncio.gather(*(Client(address, i, phase, tally).run(end, pause) for i in range(clients)))


def run(address: Address, phase: str, seconds: float, clients: int = 20, pause: float = 0.05) -> Tally:
    """So many clients, each of which waits `pause` seconds between an answer and its next request."""
    tally = Tally()
    asyncio.run(_run(address, phase, seconds, clients, pause, tally))
    return tally
