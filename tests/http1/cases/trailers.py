"""Trailer sections: RFC 9110 6.5, RFC 9112 7.1.2."""

from model import (ANY_4XX, FOLLOW, FOLLOWED, MUST, R, SHOULD, SMUGGLED, Send, Topic, answers, chunked, post, refuses,
                   saw, saw_field, saw_not, saw_trailers)

T = Topic("trailers", "9110 6.5")
BAD = refuses(400, silent=True)


def with_trailer(lines: str, *fields: str) -> bytes:
    return chunked(f"5\r\nabcde\r\n0\r\n{lines}\r\n", *fields)


GOOD = R(200, saw(body="abcde"))
T.add("one", MUST, with_trailer("X-T: 1\r\n") + FOLLOW, answers(GOOD, FOLLOWED), "9112 7.1.2")
T.add("many", MUST, with_trailer("".join(f"X-{i}: {i}\r\n" for i in range(20))) + FOLLOW, answers(GOOD, FOLLOWED),
      "9112 7.1.2")
T.add("not-merged", MUST, with_trailer("X-T: 1\r\n") + FOLLOW, answers(R(200, saw_field("X-T")), FOLLOWED),
      "9110 6.5.1")
T.add("not-merged-into-same-name", MUST, with_trailer("X-T: 2\r\n", "X-T: 1") + FOLLOW,
      answers(R(200, saw_field("X-T", "1")), FOLLOWED),
      "9110 6.5.1")
T.add("announced", MUST, with_trailer("X-T: 1\r\n", "Trailer: X-T") + FOLLOW,
      answers(R(200, saw_field("X-T")), FOLLOWED), "9110 6.6.2")
T.add("announced-not-sent", MUST, with_trailer("", "Trailer: X-T") + FOLLOW, answers(GOOD, FOLLOWED), "9110 6.6.2")
T.add("empty-value", MUST, with_trailer("X-T:\r\n") + FOLLOW, answers(GOOD, FOLLOWED))
for name, line, check in (
    ("host", "Host: evil.test", saw_field("Host", "h.test")), ("length", "Content-Length: 50",
    saw_not("Content-Length", "50")),
    ("te", "Transfer-Encoding: gzip", saw(body="abcde")), ("close", "Connection: close", saw(body="abcde")),
    ("authorization", "Authorization: Basic eDp5", saw_field("Authorization")),
    ("content-type", "Content-Type: x/y", saw_field("Content-Type")),
    ("expect", "Expect: 100-continue", saw_field("Expect")), ("upgrade", "Upgrade: h2c", saw_field("Upgrade")),
    ("cookie", "Cookie: a=b", saw_field("Cookie")), ("trailer", "Trailer: X", saw_field("Trailer")),
    ("te-chunked", "Transfer-Encoding: chunked", saw(body="abcde")), ("length-bad", "Content-Length: x",
    saw(body="abcde")),
):
    T.add(f"forbidden-{name}", MUST, with_trailer(line + "\r\n") + FOLLOW,
          answers(R(200, check, saw(body="abcde")), FOLLOWED) + BAD, "9110 6.5.1",
          note="dropped or refused; it must not act on the request or the connection")
T.add("no-request-inside", MUST, with_trailer("GET /reflect?smuggled HTTP/1.1\r\nHost: h.test\r\n"),
      refuses(400, silent=True) + answers(GOOD, end="any"),
      note="lines up to the empty one belong to the first request")
for name, lines in (
    ("no-colon", "X-T\r\n"), ("space-before-colon", "X-T : 1\r\n"), ("empty-name", ": 1\r\n"),
    ("bad-name", "X@T: 1\r\n"),
    ("nul-in-value", "X-T: \0\r\n"), ("leading-space", " X-T: 1\r\n"), ("control", "X-T: \x01\r\n"),
    ("nul-in-name", "X\0T: 1\r\n"),
):
    T.add(f"bad-{name}", SHOULD, with_trailer(lines) + SMUGGLED, BAD, "9112 5")
T.add("fold", MUST, with_trailer("X-T: 1\r\n X-U: 2\r\n") + FOLLOW, BAD +
      answers(R(200, saw(body="abcde"), saw_field("X-U")), FOLLOWED), "9112 5.2")
T.add("bad-cr-in-value", MUST, with_trailer("X-T: 1\r2\r\n") + FOLLOW, BAD +
      answers(R(200, saw_field("X-T")), FOLLOWED), "9112 2.2")
T.add("bare-lf", MUST, with_trailer("X-T: 1\n") + FOLLOW, BAD + answers(GOOD, FOLLOWED), "9112 2.2")
T.add("bare-lf-hides-no-request", MUST,
      chunked("1\r\na\r\n0\r\nX-T: 1\n\nGET /reflect?smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n"),
      BAD + answers(R(200, saw(body="a")), R(200, saw(query="smuggled")), end="any"), "9112 2.2",
      note="a LF may end a line, so two readings are right: but no third one")
LINE, FIELDS = with_trailer("X-T: " + "x" * (4 << 20) + "\r\n"), with_trailer("X-T: 1\r\n" * 600000)
for name, send in (("line-4-mib", LINE), ("fields-600000", FIELDS)):
    T.add(name, MUST, send, refuses(*ANY_4XX, silent=True) + answers(GOOD), "9110 5.4", note="taken, or a 4xx")
    T.add(f"{name}-bounded", SHOULD, send, refuses(*ANY_4XX, silent=True), "9112 7.1.2",
          note="what a client can make a server read has an end")
T.add("pipelined-with-trailers", MUST, with_trailer("X-T: 1\r\n") * 3 + FOLLOW, answers(GOOD, GOOD, GOOD, FOLLOWED))

# -- servers whose /reflect shows the trailer fields --
READABLE = ["trailers"]
T.add("readable", MUST, with_trailer("X-T: 1\r\nX-U:\t a b \t\r\nx-t:\xe9\r\nX-Empty:\r\n", "X-T: head") + FOLLOW,
      answers(R(200, saw_trailers(("X-T", "1"), ("X-U", "a b"), ("x-t", "\xe9"), ("X-Empty", "")),
                saw_field("X-T", "head"), saw(body="abcde")), FOLLOWED), needs=READABLE)
T.add("readable-bytewise", MUST, [Send(with_trailer("X-T: 1\r\nHost: evil\r\nX-U: 2\r\n") + FOLLOW, 0)],
      answers(R(200, saw_trailers(("X-T", "1"), ("X-U", "2"))), FOLLOWED), needs=READABLE)
T.add("readable-none", MUST, with_trailer("") + post("x") + FOLLOW,
      answers(R(200, saw_trailers()), R(200, saw_trailers()), FOLLOWED), needs=READABLE)
T.add("readable-each-its-own", MUST, with_trailer("A: 1\r\n") + with_trailer("") + with_trailer("B: 2\r\n"),
      answers(R(200, saw_trailers(("A", "1"))), R(200, saw_trailers()), R(200, saw_trailers(("B", "2")))),
      needs=READABLE)
T.add("not-joined-by-dropped-ones", MUST, with_trailer("A: 1\r\nTE: x\r\nA: 2\r\n") + FOLLOW,
      answers(R(200, saw_trailers(("A", "1"), ("A", "2"))), FOLLOWED), needs=READABLE)
for name in ("Content-Length", "Transfer-Encoding", "TE", "Trailer", "Connection", "Keep-Alive", "Proxy-Connection",
             "Upgrade", "Host", "Max-Forwards", "Expect", "Range", "If-Match", "If-None-Match", "If-Modified-Since",
             "If-Unmodified-Since", "If-Range", "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
             "Content-Encoding", "Content-Type", "Content-Range", "Cache-Control", "Pragma"):
    T.add(f"dropped-{name.lower()}", MUST, with_trailer(f"X-T: 1\r\n{name}: 7\r\n") + FOLLOW,
          answers(R(200, saw_trailers(("X-T", "1")), saw(body="abcde")), FOLLOWED) + BAD, "9110 6.5.1", needs=READABLE,
          note="dropped or refused: the handler must not be given it")
for count, status in ((99, 200), (100, 200), (101, 431)):
    T.add(f"turbo-{count}", MUST, with_trailer("X-T: 1\r\n" * count), answers(R(status), end="any"), "docs/settings.md",
          needs=["turbo-limits"], note="fields_max is 100")
T.add("te-trailers-asked", MUST, with_trailer("X-T: 1\r\n", "TE: trailers", "Connection: TE") + FOLLOW,
      answers(GOOD, FOLLOWED), "9110 10.1.4")
T.add("bytewise", MUST, [Send(with_trailer("X-T: 1\r\nX-U: 2\r\n") + FOLLOW, 0)], answers(GOOD, FOLLOWED))
