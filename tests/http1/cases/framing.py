"""Where a body ends: Content-Length and Transfer-Encoding, RFC 9112 6, RFC 9110 8.6."""

from model import (ANY_4XX, FOLLOW, FOLLOWED, MUST, OK, R, SHOULD, SMUGGLED, Await, EndSending, Send, Topic, answers,
                   body_is, chunked, post, refuses, req, saw, saw_field)

T = Topic("framing", "9112 6.3")
BODY = "0\r\n\r\n"  # five bytes that are also a whole chunked body
BAD = refuses(400)


def with_length(value: str, body: str = "abcde") -> bytes:
    return req("/reflect", "POST", f"Content-Length: {value}", body=body)


# -- lengths that are right --
T.add("length", MUST, with_length("5"), answers(R(200, saw("POST", body="abcde"))), "9112 6.2")
T.add("length-then-follow", MUST, with_length("5") + FOLLOW, answers(R(200, saw(body="abcde")), FOLLOWED), "9112 6.2")
T.add("length-zero", MUST, with_length("0", "") + FOLLOW, answers(R(200, saw(body="")), FOLLOWED), "9112 6.2")
T.add("length-white-space", MUST, with_length(" \t5\t ") + FOLLOW, answers(R(200, saw(body="abcde")), FOLLOWED),
      "9112 5.1")
T.add("length-of-binary", MUST, post(bytes(range(256)), target="/echo"), answers(R(200, body_is(bytes(range(256))))),
      "9112 6.2")
T.add("length-100000", MUST, post("x" * 100000, target="/echo"), answers(R(200, body_is(b"x" * 100000))), "9112 6.2")
T.add("length-body-is-a-request", MUST, post(SMUGGLED) + FOLLOW, answers(R(200, saw(body=SMUGGLED)), FOLLOWED),
      "9112 6.2")
T.add("no-length-no-body", MUST, req("/reflect", "POST") + FOLLOW, answers(R(200, saw(body="")), FOLLOWED) +
      answers(R(411), FOLLOWED, end="any") + refuses(411), "9112 6.3", note="without either field the length is 0")
for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS"):
    T.add(f"length-with-{method.lower()}", MUST, req("/reflect", method, "Content-Length: %d" % len(SMUGGLED),
          body=SMUGGLED) + FOLLOW,
          answers(R(200, saw(method, body=SMUGGLED)), FOLLOWED) + answers(R(200, saw(method)), FOLLOWED) + refuses(400),
          "9112 6.3",
          note="a body is framed by its fields whatever the method")
T.add("length-with-head", MUST, req("/reflect", "HEAD", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + FOLLOW,
      answers(OK, FOLLOWED) + refuses(400), "9112 6.3", methods=("HEAD", "GET"))
T.add("length-at-404", MUST, req("/nosuch", "POST", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + FOLLOW,
      answers(R(404), FOLLOWED) + refuses(404), "9112 9.3",
      note="the body of a refused request is read, or the connection closed")
T.add("length-at-405", MUST, req("/json", "POST", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + FOLLOW,
      answers(R(405), FOLLOWED) + refuses(405), "9112 9.3")
T.add("length-at-failing-handler", MUST, req("/fail", "GET", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) +
      FOLLOW,
      answers(R(500), FOLLOWED) + refuses(500, 400), "9112 9.3")
T.add("length-not-longer", MUST, with_length("5", "abcdeGET"), answers(R(200, saw(body="abcde")), end="any") +
      answers(R(200, saw(body="abcde")), R(400), end="any"), "9112 6.2",
      note="what is behind the body belongs to the next request")

# -- lengths that are doubtful: valid by the grammar, or MAY be taken --
SAME = answers(R(200, saw(body="abcde")), FOLLOWED) + answers(R(200, saw(body="abcde")), FOLLOWED, end="any") + BAD
T.add("length-leading-zeros", MUST, with_length("005") + FOLLOW, SAME, "9110 8.6")
T.add("length-leading-zeros-no-octal", MUST, with_length("010", "abcdefghij") + FOLLOW,
      answers(R(200, saw(body="abcdefghij")), FOLLOWED) + BAD, "9110 8.6")
T.add("length-list-same", MUST, with_length("5, 5") + FOLLOW, SAME, "9112 6.3")
T.add("length-twice-same", MUST, req("/reflect", "POST", "Content-Length: 5", "Content-Length: 5", body="abcde") +
      FOLLOW, SAME)

# -- lengths that are wrong: 400 and the end --
for name, value in (
    ("list-different", "5, 6"), ("list-different-first-longer", "60, 5"), ("plus", "+5"), ("minus", "-5"),
    ("minus-zero", "-0"),
    ("hex", "0x5"), ("hex-letters", "5a"), ("letters", "five"), ("fraction", "5.0"), ("exponent", "5e0"),
    ("space-inside", "5 5"),
    ("tab-inside", "5\t5"), ("underscore", "5_0"), ("parameter", "5;x"), ("quoted", '"5"'), ("empty", ""),
    ("list-empty-member", "5,,6"),
    ("list-comma-only", ","), ("vt-behind", "5\x0b"), ("ff-before", "\x0c5"), ("nul-behind", "5\0"),
    ("high-digit", "\xb2"),
    ("list-letters", "5, x"), ("cr-inside", "5\r5"), ("bracket", "(5)"), ("arabic", "\xd9\xa5"), ("colon", ":5"),
    ("minus-behind", "5-"),
    ("list-minus", "5, -5"), ("list-three", "5, 5, 6"),
):
    T.add(f"length-bad-{name}", MUST, with_length(value) + SMUGGLED, refuses(400,
          silent=name in ("nul-behind", "cr-inside")), "9112 6.3")
T.add("length-list-trailing-comma", MUST, with_length("5,") + FOLLOW, SAME, "9112 6.3")
T.add("length-twice-different", MUST, req("/reflect", "POST", "Content-Length: 5", "Content-Length: 6", body="abcde") +
      SMUGGLED, BAD)
T.add("length-twice-different-0", MUST, req("/reflect", "POST", "Content-Length: 0", "Content-Length: 50",
      body=SMUGGLED), BAD)
T.add("length-twice-apart", MUST, req("/reflect", "POST", "content-length: 5", "X-A: 1", "CONTENT-LENGTH: 50",
      body="abcde") + SMUGGLED, BAD)
T.add("length-three-last-different", MUST,
      req("/reflect", "POST", "Content-Length: 5", "Content-Length: 5", "Content-Length: 7", body="abcde") + SMUGGLED,
      BAD)
T.add("length-twice-different-get", MUST, req("/reflect", "GET", "Content-Length: 0", "Content-Length: 44",
      body=SMUGGLED), BAD)
T.add("length-bad-1.0", MUST, req("/reflect", "POST", "Content-Length: 5x", body="abcde", version="HTTP/1.0"), BAD)
T.add("length-bad-get", MUST, req("/reflect", "GET", "Content-Length: x") + SMUGGLED, BAD)
T.add("length-bad-at-404", MUST, req("/nosuch", "POST", "Content-Length: -1") + SMUGGLED, BAD)
for name, value in (("2-63", 1 << 63), ("2-64", 1 << 64), ("2-64-and-5", (1 << 64) + 5), ("2-32-and-5", None),
    ("30-digits", 10**30),
                    ("1000-digits", None)):
    if value is None and name.startswith("2"):
        T.add("length-2-32-and-5-no-wrap", MUST, [Send(with_length(str((1 << 32) + 5)) + SMUGGLED), EndSending()],
              refuses(*ANY_4XX, silent=True), "9110 8.6", note="must not be taken for 5")
    else:
        text = "5".rjust(1000, "1") if value is None else str(value)
        T.add(f"length-huge-{name}", MUST, [Send(with_length(text) + SMUGGLED), EndSending()],
              refuses(*ANY_4XX, silent=True),
              "9110 8.6", note="large numbers must not overflow")
T.add("length-folded", MUST, with_length("\r\n 5") + SMUGGLED, refuses(400) +
      answers(R(200, saw(body="abcde")), R(200, saw(query="smuggled"))),
      "9112 5.2")

# -- bodies that end too early --
T.add("incomplete-length", MUST, [Send(req("/echo", "POST", "Content-Length: 10", body="abc")), EndSending()],
      refuses(*ANY_4XX, silent=True), note="incomplete: the handler must not be given it as whole")
T.add("incomplete-behind-good-at-once", SHOULD, [Send(FOLLOW + req("/echo", "POST", "Content-Length: 9", body="abc")),
      EndSending()],
      refuses(*ANY_4XX, silent=True, after=[FOLLOWED]))
T.add("incomplete-nothing", MUST, [Send(req("/echo", "POST", "Content-Length: 10")), EndSending()],
      refuses(*ANY_4XX, silent=True))
T.add("incomplete-chunked", MUST, [Send(chunked("5\r\nabcde\r\n", target="/echo")), EndSending()],
      refuses(*ANY_4XX, silent=True), "9112 8")
T.add("incomplete-inside-chunk", MUST, [Send(chunked("5\r\nab", target="/echo")), EndSending()],
      refuses(*ANY_4XX, silent=True), "9112 8")
T.add("incomplete-chunk-size", MUST, [Send(chunked("5", target="/echo")), EndSending()], refuses(*ANY_4XX, silent=True),
      "9112 8")
T.add("incomplete-behind-good", MUST, [Send(FOLLOW + req("/echo", "POST", "Content-Length: 9", body="abc")), Await(1),
      EndSending()],
      refuses(*ANY_4XX, silent=True, after=[FOLLOWED]))

# -- Transfer-Encoding --
T.add("chunked", MUST, chunked("5\r\nabcde\r\n0\r\n\r\n") + FOLLOW, answers(R(200, saw(body="abcde")), FOLLOWED),
      "9112 7.1")
for name, value in (("upper", "CHUNKED"), ("mixed", "ChunkEd")):
    T.add(f"chunked-{name}", MUST, req("/reflect", "POST", f"Transfer-Encoding: {value}", body="1\r\na\r\n0\r\n\r\n") +
          FOLLOW,
          answers(R(200, saw(body="a")), FOLLOWED), "9112 7", note="coding names are case-insensitive")
T.add("chunked-white-space", MUST, req("/reflect", "POST", "Transfer-Encoding: \tchunked \t",
      body="1\r\na\r\n0\r\n\r\n") + FOLLOW,
      answers(R(200, saw(body="a")), FOLLOWED), "9112 5.1")
T.add("chunked-get", MUST, chunked("1\r\na\r\n0\r\n\r\n", method="GET") + FOLLOW,
      answers(R(200, saw(body="a")), FOLLOWED) + answers(OK, FOLLOWED) + refuses(400), "9112 6.3")
T.add("chunked-options", MUST, chunked("1\r\na\r\n0\r\n\r\n", method="OPTIONS") + FOLLOW,
      answers(OK, FOLLOWED) + refuses(400), "9112 6.3")
T.add("chunked-at-404", MUST, chunked("%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED.decode()), target="/nosuch") +
      FOLLOW,
      answers(R(404), FOLLOWED) + refuses(404), "9112 9.3")


def coded(*values: str) -> bytes:
    """Bodies that are five bytes by length and also whole by the chunked coding; then a request that must not run."""
    return req("/reflect", "POST", *(f"Transfer-Encoding: {value}" for value in values), body=BODY) + SMUGGLED


UNKNOWN = refuses(400, 501)
for name, values in (
    ("identity", ["identity"]), ("gzip", ["gzip"]), ("chunked-identity", ["chunked, identity"]),
    ("chunked-gzip", ["chunked, gzip"]),
    ("lines-chunked-identity", ["chunked", "identity"]), ("x-chunked", ["xchunked"]), ("chunked-x", ["chunkedx"]),
    ("chunk", ["chunk"]),
    ("x-comma", ["chunked, x"]), ("x", ["x"]), ("inner-space", ["chun ked"]), ("quoted", ['"chunked"']),
    ("single-quoted", ["'chunked'"]),
    ("two-words", ["chunked x"]), ("semicolon-list", ["chunked;identity"]), ("zero", ["0"]),
):
    T.add(f"te-not-chunked-last-{name}", MUST, coded(*values), UNKNOWN,
          note="chunked is not the final coding: 400 and close")
for name, values in (("gzip-chunked", ["gzip, chunked"]), ("lines-gzip-chunked", ["gzip", "chunked"]),
    ("identity-chunked", ["identity, chunked"]),
                     ("lines-identity-chunked", ["identity", "chunked"]), ("x-chunked-list", ["x, chunked"])):
    T.add(f"te-unknown-{name}", SHOULD, coded(*values), UNKNOWN, "9112 6.1",
          note="a coding that is not understood: 501")
for name, values in (("gzip-chunked", ["gzip", "chunked"]), ("list", ["gzip, chunked"]), ("three", ["a", "b", "chunked"])):
    T.add(f"te-unknown-501-{name}", SHOULD, coded(*values), refuses(501), "9112 6.1",
          note="several lines are one list (9110 5.3)")
for name, values in (("list", ["chunked, chunked"]), ("lines", ["chunked", "chunked"]), ("case", ["chunked, Chunked"])):
    T.add(f"te-chunked-twice-{name}", MUST, coded(*values), UNKNOWN, "9112 6.1",
          note="chunked must not be applied twice; a body decoded once would be another one")
CHUNKED_OR_CLOSED = answers(R(200, saw(body="")), R(200, saw(query="smuggled")), end="any") + refuses(400, 501,
    silent=True)
T.add("te-parameter", SHOULD, coded("chunked;q=1"), UNKNOWN, "9112 7.1",
      note="parameters SHOULD be treated as an error")
T.add("te-empty-member-first", MUST, coded(", chunked"), CHUNKED_OR_CLOSED, "9110 5.6.1.2")
T.add("te-empty-member-last", MUST, coded("chunked,"), CHUNKED_OR_CLOSED, "9110 5.6.1.2")
T.add("te-empty", MUST, coded(""), UNKNOWN)
T.add("te-empty-with-length", MUST, req("/reflect", "POST", "Transfer-Encoding:", "Content-Length: 5", body=BODY) +
      SMUGGLED,
      refuses(400, 501) + answers(OK, end="closed"), "9112 6.1")
for name, value in (("vt-behind", "chunked\x0b"), ("vt-before", "\x0bchunked"), ("ff-behind", "chunked\x0c"),
    ("nul-behind", "chunked\0"),
                    ("nbsp-behind", "chunked\xa0"), ("soh-before", "\x01chunked"), ("cr-before", "\rchunked"),
                    ("del", "chunked\x7f")):
    T.add(f"te-{name}", MUST, coded(value), refuses(400, 501, silent=True), note="not the token chunked")
T.add("te-folded", MUST, coded("\r\n chunked"), refuses(400) + CHUNKED_OR_CLOSED, "9112 5.2")
T.add("te-space-before-colon", MUST, req("/reflect", "POST", "Transfer-Encoding : chunked", body=BODY) + SMUGGLED, BAD,
      "9112 5.1")
T.add("te-underscore-is-another-field", MUST, req("/reflect", "POST", "Transfer_Encoding: chunked", "Content-Length: 5",
      body=BODY) + FOLLOW,
      answers(R(200, saw(body=BODY)), FOLLOWED) + BAD, "9110 5.1")
T.add("te-first-line-with-space", MUST,
      b"POST /reflect HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: h.test\r\nContent-Length: 5\r\n\r\n" +
      BODY.encode() + FOLLOW, refuses(400, silent=True) + answers(R(200, saw(body=BODY)), FOLLOWED, end="any"),
      "9112 2.2")

# -- both: chunked wins or refused, and the end either way --
BOTH_END = refuses(400) + answers(R(200, saw(body="")), end="closed")
T.add("both-length-first", MUST, req("/reflect", "POST", "Content-Length: 5", "Transfer-Encoding: chunked", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-te-first", MUST, req("/reflect", "POST", "Transfer-Encoding: chunked", "Content-Length: 5", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-length-short", MUST, req("/reflect", "POST", "Content-Length: 3", "Transfer-Encoding: chunked", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-length-long", MUST, req("/reflect", "POST", "Content-Length: %d" % (5 + len(SMUGGLED)),
      "Transfer-Encoding: chunked", body=BODY) + SMUGGLED,
      BOTH_END, "9112 6.1", note="CL.TE: the body must not reach into the next request")
T.add("both-length-zero", MUST, req("/reflect", "POST", "Content-Length: 0", "Transfer-Encoding: chunked", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-get", MUST, req("/reflect", "GET", "Content-Length: 5", "Transfer-Encoding: chunked", body=BODY) + SMUGGLED,
      BOTH_END, "9112 6.1")
T.add("both-length-bad", MUST, req("/reflect", "POST", "Content-Length: x", "Transfer-Encoding: chunked", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-lengths-different", MUST,
      req("/reflect", "POST", "Content-Length: 5", "Content-Length: 6", "Transfer-Encoding: chunked", body=BODY) +
      SMUGGLED, BOTH_END, "9112 6.1")
T.add("both-te-not-chunked", MUST, req("/reflect", "POST", "Content-Length: 5", "Transfer-Encoding: xchunked",
      body=BODY) + SMUGGLED, UNKNOWN)
T.add("both-te-identity", MUST, req("/reflect", "POST", "Content-Length: 5", "Transfer-Encoding: identity", body=BODY) +
      SMUGGLED, UNKNOWN)
T.add("both-next-not-taken-later", MUST,
      [Send(req("/reflect", "POST", "Content-Length: 5", "Transfer-Encoding: chunked", body=BODY)), Await(1),
      Send(SMUGGLED)], BOTH_END, "9112 6.1")

# -- HTTP/1.0 --
T.add("1.0-length", MUST, post("abcde", version="HTTP/1.0"), answers(R(200, saw(body="abcde")), end="closed"),
      "9112 6.2")
T.add("1.0-te", MUST, req("/reflect", "POST", "Transfer-Encoding: chunked", body=BODY, version="HTTP/1.0") + SMUGGLED,
      refuses(400, 501, silent=True) + answers(OK, end="closed"), "9112 6.1", note="faulty framing: close behind it")
T.add("1.0-te-keep-alive", MUST,
      req("/reflect", "POST", "Transfer-Encoding: chunked", "Connection: keep-alive", body=BODY, version="HTTP/1.0") +
      SMUGGLED,
      refuses(400, 501, silent=True) + answers(OK, end="closed"), "9112 6.1")
T.add("1.0-te-and-length-keep-alive", MUST,
      req("/reflect", "POST", "Transfer-Encoding: chunked", "Content-Length: 5", "Connection: keep-alive", body=BODY,
      version="HTTP/1.0") + SMUGGLED,
      refuses(400, 501, silent=True) + answers(OK, end="closed"), "9112 6.1")
T.add("1.0-post-without-length", MUST, req("/reflect", "POST", version="HTTP/1.0"),
      answers(R(200, saw(body="")), end="closed") + refuses(400, 411), "9112 6.3")
T.add("connection-names-length", MUST, req("/reflect", "POST", "Content-Length: 5", "Connection: content-length",
      body="abcde") + FOLLOW,
      answers(R(200, saw(body="abcde")), FOLLOWED) + BAD, "9110 7.6.1")
T.add("connection-names-te", MUST, req("/reflect", "POST", "Connection: transfer-encoding",
      "Transfer-Encoding: chunked", body=BODY) + FOLLOW,
      answers(R(200, saw(body="")), FOLLOWED) + BAD, "9110 7.6.1")
T.add("trailer-field-announces", MUST, chunked("1\r\na\r\n0\r\nX-T: 1\r\n\r\n", "Trailer: X-T") + FOLLOW,
      answers(R(200, saw(body="a"), saw_field("X-T")), FOLLOWED), "9110 6.6.2")

# -- more of both --
T.add("length-same-number-other-text", MUST, req("/reflect", "POST", "Content-Length: 5", "Content-Length: 05",
      body="abcde") + FOLLOW, SAME)
T.add("length-list-same-other-text", MUST, with_length("5, 05") + FOLLOW, SAME)
T.add("length-tab-behind", MUST, with_length("5\t") + FOLLOW, answers(R(200, saw(body="abcde")), FOLLOWED), "9112 5.1")
T.add("length-tab-before", MUST, with_length("\t5") + FOLLOW, answers(R(200, saw(body="abcde")), FOLLOWED), "9112 5.1")
T.add("length-no-space", MUST, b"POST /reflect HTTP/1.1\r\nHost:h.test\r\nContent-Length:5\r\n\r\nabcde" + FOLLOW,
      answers(R(200, saw(body="abcde")), FOLLOWED), "9112 5.1")
T.add("te-no-space", MUST, b"POST /reflect HTTP/1.1\r\nHost:h.test\r\nTransfer-Encoding:chunked\r\n\r\n" +
      BODY.encode() + FOLLOW,
      answers(R(200, saw(body="")), FOLLOWED), "9112 5.1")
T.add("te-twice-1.0", MUST,
      req("/reflect", "POST", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "Connection: keep-alive",
      body=BODY, version="HTTP/1.0") + SMUGGLED,
      refuses(400, 501, silent=True) + answers(OK, end="closed"), "9112 6.1")
T.add("te-and-length-bad-te-line", MUST, req("/reflect", "POST", "Content-Length: 5", "Transfer-Encoding: chunked",
      "Transfer-Encoding: x", body=BODY) + SMUGGLED,
      UNKNOWN)
T.add("te-tabs-between", MUST, coded("gzip\t,\tx"), UNKNOWN)
T.add("te-head", MUST, req("/reflect", "HEAD", "Transfer-Encoding: chunked", body="1\r\na\r\n0\r\n\r\n") + FOLLOW,
      answers(OK, FOLLOWED) + refuses(400), methods=("HEAD", "GET"))
T.add("fifty-bodies-in-turn", MUST,
      b"".join(post(f"{i}") if i % 2 else chunked(f"{len(str(i)):x}\r\n{i}\r\n0\r\n\r\n") for i in range(50)),
      answers(*(R(200, saw(body=str(i))) for i in range(50))))
T.add("length-at-options-asterisk", MUST, req("*", "OPTIONS", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
      answers(R({200, 204, 400, 404, 405, 501}), end="any"), "9112 6.3")
T.add("unknown-method-with-body", MUST, req("/json", "BREW", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) +
      FOLLOW,
      answers(R({400, 405, 501}), FOLLOWED) + refuses(400, 405, 501), "9112 9.3")
T.add("body-of-1.0-does-not-run", MUST, req("/json", "GET", "Content-Length: %d" % len(SMUGGLED), body=SMUGGLED,
      version="HTTP/1.0"),
      answers(R(200), end="closed"), "9112 6.3")
