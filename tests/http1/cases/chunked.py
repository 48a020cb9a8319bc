"""The chunked coding: RFC 9112 7.1."""

from model import (ANY_4XX, FOLLOW, FOLLOWED, MAY, MUST, R, SHOULD, SMUGGLED, EndSending, Pause, Send, Topic, answers,
                   body_is, chunked, raw, refuses, req, saw)

T = Topic("chunked", "9112 7.1")
BAD = refuses(400, silent=True)
LAST = "0\r\n\r\n"


def good(name: str, coded: str, body: str, level: str = MUST, rfc: str = "") -> None:
    T.add(name, level, chunked(coded) + FOLLOW, answers(R(200, saw(body=body)), FOLLOWED), rfc)


def either(name: str, coded: str, body: str, rfc: str = "", note: str = "") -> None:
    """Taken for what it says, or refused; never anything else."""
    T.add(name, MUST, chunked(coded) + FOLLOW, answers(R(200, saw(body=body)), FOLLOWED) + BAD, rfc, note=note)


def bad(name: str, coded: str, level: str = MUST, rfc: str = "", note: str = "") -> None:
    """Refused; what is behind it must not run."""
    T.add(name, level, chunked(coded) + SMUGGLED, BAD, rfc, note=note)


good("empty", LAST, "")
good("one", "5\r\nabcde\r\n" + LAST, "abcde")
good("three", "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n" + LAST, "abcdef")
good("hex-lower", "1a\r\n" + "x" * 26 + "\r\n" + LAST, "x" * 26)
good("hex-upper", "1A\r\n" + "x" * 26 + "\r\n" + LAST, "x" * 26)
good("leading-zeros", "0005\r\nabcde\r\n" + LAST, "abcde")
good("last-of-many-zeros", "1\r\na\r\n0000\r\n\r\n", "a")
good("data-of-crlf", "4\r\n\r\n\r\n\r\n" + LAST, "\r\n\r\n")
good("data-like-a-last-chunk", "5\r\n0\r\n\r\n\r\n" + LAST, "0\r\n\r\n")
good("data-like-a-request", f"{len(SMUGGLED):x}\r\n{SMUGGLED.decode()}\r\n" + LAST, SMUGGLED.decode())
good("thousand-chunks", "1\r\na\r\n" * 1000 + LAST, "a" * 1000)
T.add("big-chunk", MUST, chunked(f"{200000:x}\r\n" + "y" * 200000 + "\r\n" + LAST, target="/echo"),
      answers(R(200, body_is(b"y" * 200000))))
T.add("binary", MUST, chunked(b"100\r\n" + bytes(range(256)) + b"\r\n0\r\n\r\n", target="/echo"),
      answers(R(200, body_is(bytes(range(256))))))
T.add("two-in-a-row", MUST, chunked("1\r\na\r\n" + LAST) + chunked("1\r\nb\r\n" + LAST),
      answers(R(200, saw(body="a")), R(200, saw(body="b"))))
either("zeros-1000", "0" * 1000 + "5\r\nabcde\r\n" + LAST, "abcde")

# -- extensions: ignored when not known --
X = "9112 7.1.1"
good("ext-name", "5;a\r\nabcde\r\n" + LAST, "abcde", rfc=X)
good("ext-value", "5;a=b\r\nabcde\r\n" + LAST, "abcde", rfc=X)
good("ext-two", "5;a=b;c=d\r\nabcde\r\n" + LAST, "abcde", rfc=X)
good("ext-quoted", '5;a="b c"\r\nabcde\r\n' + LAST, "abcde", rfc=X)
good("ext-quoted-semicolon", '5;a="b;c"\r\nabcde\r\n' + LAST, "abcde", rfc=X)
good("ext-quoted-escape", '5;a="b\\"c"\r\nabcde\r\n' + LAST, "abcde", rfc=X)
good("ext-on-last", "5\r\nabcde\r\n0;a=b\r\n\r\n", "abcde", rfc=X)
good("ext-white-space", "5 ; a = b\r\nabcde\r\n" + LAST, "abcde", SHOULD, X)
good("ext-long", "5;a=" + "b" * 500 + "\r\nabcde\r\n" + LAST, "abcde", SHOULD, X)
either("ext-empty", "5;\r\nabcde\r\n" + LAST, "abcde", X)
either("ext-empty-value", "5;a=\r\nabcde\r\n" + LAST, "abcde", X)
either("ext-bad-token", "5;a@b\r\nabcde\r\n" + LAST, "abcde", X)
either("ext-tab", "5\t;a\r\nabcde\r\n" + LAST, "abcde", X)
either("ext-obs-text", "5;a=\"\xe9\"\r\nabcde\r\n" + LAST, "abcde", X)
either("ext-quoted-crlf-text", '5;a="\\r\\n"\r\nabcde\r\n' + LAST, "abcde", X)
bad("ext-quote-open", '5;a="b\r\nabcde\r\n' + LAST, SHOULD, X)
bad("ext-nul", "5;a=\0\r\nabcde\r\n" + LAST, SHOULD, X)
bad("ext-control", "5;a=\x01\r\nabcde\r\n" + LAST, SHOULD, X)
bad("ext-lf", "5;a\nabcde\r\n" + LAST, MUST, X, "a bare LF does not end a chunk line (the TERM.EXT attack)")
bad("ext-lf-inside", "5;a\nb\r\nabcde\r\n" + LAST, MUST, X, "nor is it part of an extension (the EXT.TERM attack)")
bad("ext-lf-in-quotes", '5;a="\n"\r\nabcde\r\n' + LAST, MUST, X)
bad("ext-lf-hides-a-request", f"2;\nxx\r\n{len(SMUGGLED):x}\r\n0\r\n\r\n", MUST, X,
    "funky chunks: two readings, one smuggles")
T.add("ext-cr-inside", MUST, chunked("5;a\rb\r\nabcde\r\n" + LAST) + FOLLOW,
      BAD + answers(R(200, saw(body="abcde")), FOLLOWED), "9112 2.2", note="a bare CR is invalid, or a space")
bad("ext-without-semicolon", "5 a\r\nabcde\r\n" + LAST, MUST)
T.add("ext-1-mib", SHOULD, [Send(chunked("5;a=" + "b" * (1 << 20) + "\r\nabcde\r\n" + LAST))],
      refuses(*ANY_4XX, silent=True), X,
      note="a server ought to limit extensions")
T.add("ext-many-1-mib", SHOULD, [Send(chunked(("1;a=" + "b" * 1000 + "\r\nx\r\n") * 1000 + LAST, target="/echo"))],
      refuses(*ANY_4XX, silent=True), X, note="their total too")

# -- sizes that are none --
for name, size in (
    ("minus", "-5"), ("plus", "+5"), ("hex-prefix", "0x5"), ("not-hex", "g"), ("not-hex-behind", "5g"), ("empty", ""),
    ("words", "five"),
    ("underscore", "5_0"), ("dot", "5.0"), ("quoted", '"5"'), ("inner-space", "5 5"), ("comma", "5,5"),
    ("nul-behind", "5\0"),
    ("vt-behind", "5\x0b"), ("nul-before", "\x005"), ("high", "\xb5"), ("minus-zero", "-0"), ("hash", "#5"),
    ("h-behind", "5h"),
):
    bad(f"size-{name}", f"{size}\r\nabcde\r\n" + LAST)
either("size-space-before", " 5\r\nabcde\r\n" + LAST, "abcde")
either("size-space-behind", "5 \r\nabcde\r\n" + LAST, "abcde")
either("size-tab-behind", "5\t\r\nabcde\r\n" + LAST, "abcde")
bad("size-of-last-minus", "5\r\nabcde\r\n-0\r\n\r\n")
bad("size-of-last-hex-prefix", "5\r\nabcde\r\n0x0\r\n\r\n")
for name, size in (("2-64-and-5", "10000000000000005"), ("2-64-minus-1", "ffffffffffffffff"),
    ("2-63", "8000000000000000"),
                   ("2-32-and-5", "100000005"), ("33-digits", "1" + "0" * 31 + "5")):
    T.add(f"size-huge-{name}", MUST, [Send(chunked(f"{size}\r\nabcde\r\n{LAST}") + SMUGGLED), EndSending()],
          refuses(*ANY_4XX, silent=True),
          note="large numbers must not overflow")

# -- ends of lines and of data --
bad("size-lf", "5\nabcde\r\n" + LAST, MUST, note="CVE-2025-22871: a bare LF ends no chunk line")
bad("size-cr", "5\rabcde\r\n" + LAST)
bad("size-cr-cr-lf", "5\r\r\nabcde\r\n" + LAST)
bad("data-lf", "5\r\nabcde\n" + LAST)
bad("data-cr", "5\r\nabcde\r" + LAST)
bad("data-no-end", "5\r\nabcde" + LAST)
bad("data-two-other-bytes", "5\r\nabcdeXX" + LAST, note="they must be looked at, not skipped")
bad("data-longer", "5\r\nabcdefg\r\n" + LAST)
bad("data-shorter", "5\r\nabc\r\n" + LAST + "xx")
bad("data-lf-cr", "5\r\nabcde\n\r" + LAST)
bad("data-longer-smuggles", f"3\r\nabcGET /reflect?smuggled HTTP/1.1\r\n" + LAST)
bad("crlf-before-size", "\r\n5\r\nabcde\r\n" + LAST)
bad("extra-crlf-between", "2\r\nab\r\n\r\n2\r\ncd\r\n" + LAST)
bad("last-lf", "5\r\nabcde\r\n0\n\r\n", MUST)
bad("last-lf-lf", "5\r\nabcde\r\n0\n\n", MUST)
bad("last-two-other-bytes", "5\r\nabcde\r\n0\r\nXX", MUST, note="no empty line: XX begins a trailer line")
bad("last-cr-then-bytes", "5\r\nabcde\r\n0\r\n\rX", MUST)
T.add("last-bare-lf-end", MUST, chunked("1\r\na\r\n0\r\n\n") + FOLLOW, BAD + answers(R(200, saw(body="a")), FOLLOWED),
      "9112 2.2",
      note="the trailer section is made of field lines, whose end a LF may be")
bad("no-chunks-but-data", "abcde")
bad("binary-garbage", "\xff\xfe\0\1\r\n")
bad("request-instead", "GET /reflect?smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n")
T.add("missing-last-crlf", MAY, [Send(chunked("1\r\na\r\n0\r\n")), EndSending()], refuses(*ANY_4XX, silent=True),
      "9112 8")
T.add("bad-second-chunk-not-run", MUST, [Send(chunked("5\r\nabcde\r\nzz\r\n", target="/echo"))],
      refuses(400, silent=True),
      note="the handler must not be given what came before as a whole body")
T.add("good-then-bad", MUST, chunked("1\r\na\r\n" + LAST) + chunked("zz\r\n") + SMUGGLED,
      refuses(400, silent=True, after=[R(200, saw(body="a"))]))
T.add("raw-bytes-kept", MUST, chunked(raw("3\r\n") + b"\0\r\n" + b"\r\n0\r\n\r\n", target="/echo"),
      answers(R(200, body_is(b"\0\r\n"))))

# -- bounds, and pieces --
for name, piece in (("size", b"0"), ("ext", b"5;" + b"a"), ("trailer", b"0\r\nX"), ("spaces", b"5 ")):
    T.add(f"endless-{name}", SHOULD, [Send(chunked(piece + piece[-1:] * (4 << 20)))], refuses(*ANY_4XX, silent=True),
          note="a line without an end")
T.add("endless-trailers", SHOULD, [Send(chunked("0\r\n" + "X-T: 1\r\n" * 500000))], refuses(*ANY_4XX, silent=True))
T.add("hundred-thousand-chunks", SHOULD, chunked(b"1\r\na\r\n" * 100000 + b"0\r\n\r\n", target="/echo"),
      answers(R(200, body_is(b"a" * 100000))))
T.add("slow-pieces", MUST, [step for i in range(5) for step in (Send(b"1\r\na\r\n" if i else chunked("1\r\na\r\n")),
      Pause(0.1))] + [Send(LAST.encode() + FOLLOW)],
      answers(R(200, saw(body="aaaaa")), FOLLOWED))
T.add("behind-slow", MUST, req("/sleep?ms=200") + chunked("5\r\nabcde\r\n" + LAST) + FOLLOW,
      answers(R(200), R(200, saw(body="abcde")), FOLLOWED))
