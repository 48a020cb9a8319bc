"""Write seeds for the fuzz targets: the conformance cases, the raw-socket cases of tests/http1, and some by hand.

usage: seed.py OUT_DIR     (makes OUT_DIR/TARGET/NAME)
"""
import hashlib
import importlib
import pathlib
import pkgutil
import re
import sys
from typing import Iterator, List

TESTS = pathlib.Path(__file__).resolve().parent.parent
LARGEST = 4000  # bytes of a seed; what is longer says nothing that a limit of the target cannot
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescape(line: str) -> bytes:
    line = re.sub(r"\\\{(\d+)\*([^}]*)\}", lambda m: m.group(2) * int(m.group(1)), line)
    out = b""
    while line:
        if line[0] != "\\":
            out, line = out + line[0].encode("latin-1"), line[1:]
        elif line[1] == "x":
            out, line = out + bytes([int(line[2:4], 16)]), line[4:]
        else:
            out, line = out + ESCAPES[line[1]], line[2:]
    return out


def conformance() -> Iterator[bytes]:
    for path in sorted((TESTS / "conformance").glob("*.http")):
        for case in re.split(r"^=== ", path.read_text(), flags=re.M)[1:]:
            data = b"".join(unescape(line[2:]) for line in case.splitlines() if line.startswith("> "))
            if len(data) <= LARGEST:
                yield data


def battery() -> Iterator[List[bytes]]:
    """What each case sends, send by send."""
    sys.path.insert(0, str(TESTS / "http1"))
    import cases
    import model
    for found in pkgutil.iter_modules(cases.__path__):
        module = importlib.import_module("cases." + found.name)
        for topic in [value for value in vars(module).values() if isinstance(value, model.Topic)]:
            for case in topic.cases:
                sends = [step.data for step in case.steps if isinstance(step, (model.Send, model.Splits))]
                if sends and sum(map(len, sends)) <= LARGEST:
                    yield sends


def http1_parse() -> Iterator[bytes]:
    for n, data in enumerate([*conformance(), *(b"".join(sends) for sends in battery())]):
        cuts = bytes([2, 0, n % 40, 0, 3 * n % 200])
        yield bytes([n % 5 if n % 3 == 0 else 0]) + cuts + data


def fields_of(data: bytes) -> Iterator[bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")[1:]
    yield b"f" + b"\r\n".join(line for line in lines if not line.lower().startswith((b"host:", b"content-length:")))
    letters = {b"host": b"h", b"content-length": b"l", b"connection": b"c", b"transfer-encoding": b"t"}
    for line in lines:
        name, _, value = line.partition(b":")
        letter = letters.get(name.strip().lower())
        if letter:
            yield letter + value
        yield b"b" + value + b"," + name
        yield b"i" + name.strip() + b"\n" + value
    if b"chunked" in head:
        yield b"k" + body
        yield b"K" + body


def fields() -> Iterator[bytes]:
    for data in [*conformance(), *(b"".join(sends) for sends in battery())]:
        yield from fields_of(data)
    for host in ("[::1]:80", "[1:2:3:4:5:6:7::]", "[::1.2.3.4]", "[v1f.a:b]", "a%41b:0", "1.2.3.4:65535", "[1::2::3]", ":1"):
        yield b"h " + host.encode()


ROUTES = """+GET /
+GET /users
+GET /users/{id}
+POST /users/{id}
+* /any/{x}
+GET /users/{id}/posts/{post}
+GET /users/me/posts/new
+GET /files/{path...}
+DELETE /files/keep/{name}
+M-SEARCH /a b/100%
"""
PATHS = ["/", "/users", "/users/", "/users/7", "/users/me/posts/new", "/users/me/posts/old", "/files", "/files/", "/files/a/b",
         "/files/keep/x", "/a%20b/100%25", "/a%2Fb", "/users/a%2fb", "/%zz", "/%", "/%2", "/%00", "//", "/any/", "/any/x/y", "*",
         "h:80", ""]


def router() -> Iterator[bytes]:
    for method in ("GET", "HEAD", "POST", "OPTIONS", "BREW", "CONNECT", "DELETE", "M-SEARCH"):
        yield (ROUTES + "".join(f"{method} {path}\n" for path in PATHS)).encode()
    for path in PATHS:
        yield (f"+GET {path}\nGET {path}\nHEAD {path}\n").encode()
    for pattern in ("/{a}/{a}", "/{a...}/b", "/{}", "/x{a}", "/{a.b}", "{", "/{a}/b\n+GET /{c}/b", "/{a}/{b}/c\n+GET /x/{b...}",
                    "/a" * 65, "/{p}" * 17, "/".join(["", *(f"{{p{i}}}" for i in range(16))])):
        yield (f"+GET {pattern}\nGET /a/b/c\nGET /x/b/c\nPUT /a/b\n").encode()


OPS = {"run": b"\xf1", "read": b"\xf2\x10", "fin": b"\xf3", "reset": b"\xf4", "packet": b"\xff", "flush": b"\xfc"}
ANSWERS = [b"\xf6\x02", b"\xf7\x00\x0b", b"\xf7\x00\x1f", b"\xf8\x00\x00\xf9\x03\xf9\x06\xfa\x00", b"\xf8\x00\x05\xf9\x02\xfb\x00",
           b"\xfb\x00", b"\xf8\x00\x11\xf9\x04\xfa\x00", b"\xf6\x12\xf1\xf6\x02", b"\xf7\x00\x27", b"\xf7\x00\x47",
           b"\xf9\x05\xf8\x10\x01\xf9\x16\xf6\x02\xf1\xf9\x04\xfa\x00"]
ENDS = [b"", OPS["fin"], OPS["reset"], OPS["read"] + OPS["fin"], b"\xf5\x07", b"\xf5\x03\xf1\xf5\x06"]


def as_client(data: bytes) -> bytes:
    """For routes of the target; bytes that look like operations are escaped."""
    for route in (b"/reflect", b"/echo", b"/async", b"/sync"):
        data = data.replace(route, b"/any/r")
    return b"".join(b"\xf0" + bytes([c]) if c >= 0xF0 else bytes([c]) for c in data)


def conn() -> Iterator[bytes]:
    scripts = [[data] for data in conformance()] + list(battery())
    for n, sends in enumerate(scripts):
        server = n % 4 | (n // 4 % 2) << 6 | (n // 8 % 4 == 0) << 7
        steps = (OPS["run"], OPS["packet"], b"\xfe\x00", b"")[n // 2 % 4].join(as_client(data) for data in sends)
        first = b"\xfd\x01" if n % 7 == 0 else b""
        if n % 3 == 0:  # the same with bodies that are read while they come
            steps = steps.replace(b"/any/r", (b"/up", b"/in", b"/now")[n // 3 % 3])
            first += b"\xfd\x06" if n % 2 else b""
            steps += OPS["run"] + b"\xfd\x0e" + OPS["run"] + b"\xfd\x06"
        yield bytes([server]) + first + steps + OPS["run"] + ANSWERS[n % len(ANSWERS)] + OPS["run"] + ENDS[n % len(ENDS)]


CONDITIONS = {b"if-match": b"m", b"if-none-match": b"n", b"if-modified-since": b"s", b"if-unmodified-since": b"u", b"if-range": b"r"}


def conditional() -> Iterator[bytes]:
    """The Range and If- fields of the raw-socket cases, and tags that match."""
    for sends in battery():
        head = b"".join(sends).partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        pairs = [line.partition(b":")[::2] for line in head]
        lines = [CONDITIONS[name.lower()] + value.strip() for name, value in pairs if name.lower() in CONDITIONS]
        for how in (b"\x0d", b"\x0e", b"\x0c") if lines else ():
            yield b"c" + how + b"\n".join(lines)
            yield b"c" + how + b"\n".join(lines).replace(b'"nope"', b'"a"')
        for name, value in pairs:
            if name.lower() == b"range":
                yield from (b"r" + bytes([size]) + value.strip() for size in range(7))
            elif name.lower().endswith(b"since"):
                yield b"d" + value.strip()


def static() -> Iterator[bytes]:
    for path in ("a", "d/a", "d/d/a", ".a", ".h/a", "%25", "a%20b", "l", "x", "u", "u/a", "o/a", "s/etc/passwd", "d/u", "d/p/a", "m/etc", "c", "d",
                 "d/", "", "..", "../a", "%2e%2e/a", "..%2fa", "..%5ca", "d/../a", "./a", "/a", "//", "a%00", "%252e%252e/a", "d//a", "%zz",
                 "a/", "d/p/l", "d/p/p", "..\\a", "%c0%ae%c0%ae/a", "d/d/../../../a", "d%2fa", "o/../a", "l/", "x/a", "aaaaaaaaaaaaaaaaaaaaaaaa"):
        yield from (bytes([dots]) + path.encode("latin-1") for dots in (0, 1))


def main(out: pathlib.Path) -> None:
    for target, seeds in (("http1_parse", http1_parse()), ("fields", fields()), ("router", router()), ("conn", conn()),
                          ("conditional", conditional()), ("static", static())):
        (out / target).mkdir(parents=True, exist_ok=True)
        for seed in set(seeds):
            if len(seed) <= LARGEST:
                (out / target / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        print(target, len(list((out / target).iterdir())), "seeds")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
