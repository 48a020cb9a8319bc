"""Field lines: RFC 9112 5, RFC 9110 5."""

from model import (ECHO_OK, FOLLOW, FOLLOWED, MUST, OK, R, SHOULD, SMUGGLED, Send, Topic, answers, refuses, req, saw,
                   saw_field)

T = Topic("fields", "9112 5")
START = b"GET /reflect?x HTTP/1.1\r\nHost: h.test\r\n"
BAD = refuses(400, silent=True)
KEPT = "9110 5.5"


def get(*lines: bytes) -> bytes:
    return START + b"\r\n".join(lines) + b"\r\n\r\n"


# -- what must be understood --
T.add("no-space-behind-colon", MUST, get(b"X-A:1"), answers(R(200, saw_field("X-A", "1"))), "9112 5.1")
T.add("white-space-around", MUST, get(b"X-A: \t 1 \t "), answers(R(200, saw_field("X-A", "1"))), "9112 5.1")
T.add("tab-behind-colon", MUST, get(b"X-A:\t1"), answers(R(200, saw_field("X-A", "1"))), "9112 5.1")
T.add("tab-behind-value", MUST, get(b"X-A: 1\t"), answers(R(200, saw_field("X-A", "1"))), "9112 5.1")
T.add("white-space-inside-kept", MUST, get(b"X-A: a \t b"), answers(R(200, saw_field("X-A", "a \t b"))), KEPT)
T.add("empty-value", MUST, get(b"X-A:"), answers(R(200, saw_field("X-A", ""))), KEPT)
T.add("white-value", MUST, get(b"X-A: \t "), answers(R(200, saw_field("X-A", ""))), KEPT)
T.add("colons-in-value", MUST, get(b"X-A: a:b: c"), answers(R(200, saw_field("X-A", "a:b: c"))), KEPT)
T.add("repeated-in-order", MUST, get(b"X-A: 1", b"X-B: 2", b"x-a: 3", b"X-A: 4"),
      answers(R(200, saw_field("X-A", "1", "3", "4"))), "9110 5.3")
T.add("name-case", MUST, req("/reflect", "POST", "cOnTeNt-LeNgTh: 3", body="abc"), answers(R(200, saw(body="abc"))),
      "9110 5.1")
T.add("obs-text-value", SHOULD, get(b"X-A: caf\xe9 \xc3\xa9"), answers(R(200, saw_field("X-A", "caf\xe9 \xc3\xa9"))),
      KEPT)
T.add("every-visible-character", MUST, get(b"X-A: " + bytes(range(0x21, 0x7F))),
      answers(R(200, saw_field("X-A", bytes(range(0x21, 0x7F)).decode()))), KEPT)
T.add("every-token-character-in-name", SHOULD, get(b"x!#$%&'*+-.^_`|~09: 1"),
      answers(R(200, saw_field("x!#$%&'*+-.^_`|~09", "1"))), "9110 5.1")
T.add("one-letter-name", MUST, get(b"x: 1"), answers(R(200, saw_field("x", "1"))), "9110 5.1")
T.add("unknown-ignored", MUST, get(b"Nobody-Knows-This: 1"), answers(OK), "9110 5.1")
T.add("quoted-string-value", MUST, get(b'X-A: "a, \\"b\\""'), answers(R(200, saw_field("X-A", '"a, \\"b\\""'))), KEPT)
T.add("cookie-4000", SHOULD, get(b"Cookie: " + b"c" * 4000), answers(R(200, saw_field("Cookie", "c" * 4000))),
      "9110 5.4")
T.add("sixty-fields", SHOULD, get(*(b"X-%d: %d" % (i, i) for i in range(60))), answers(R(200, saw_field("X-59", "59"))),
      "9110 5.4")
T.add("te-field-is-no-coding", MUST, get(b"TE: trailers, chunked"), answers(OK), "9110 10.1.4")
T.add("accept-nonsense", SHOULD, get(b"Accept: ////", b"Accept-Language: 123;;;"), answers(OK), "9110 12.1")
T.add("range-nonsense-ignored", SHOULD, get(b"Range: lines=a-b"), answers(OK), "9110 14.2")

# -- white space where none may be --
for name, line in (
    ("space-before-colon", b"X-A : 1"), ("tab-before-colon", b"X-A\t: 1"), ("spaces-before-colon", b"X-A   : 1"),
    ("space-before-colon-length", b"Content-Length : 3"), ("space-before-colon-te", b"Transfer-Encoding : chunked"),
):
    T.add(name, MUST, get(line), refuses(400, end="any"), "9112 5.1", note="a server MUST reject it with 400")
T.add("space-before-colon-hides-no-request", MUST,
      req("/reflect", "POST", "Content-Length : %d" % len(SMUGGLED), body=SMUGGLED), refuses(400), "9112 5.1")
T.add("space-before-first-field", MUST, b"GET /reflect HTTP/1.1\r\n X-A: 1\r\nHost: h.test\r\n\r\n",
      BAD + answers(R(200, saw_field("X-A")), end="any"), "9112 2.2", note="rejected, or the line is ignored")
T.add("tab-before-first-field", MUST, b"GET /reflect HTTP/1.1\r\n\tX-A: 1\r\nHost: h.test\r\n\r\n",
      BAD + answers(R(200, saw_field("X-A")), end="any"), "9112 2.2")
T.add("blank-first-line", MUST, b"GET /reflect HTTP/1.1\r\n \r\nHost: h.test\r\n\r\n",
      BAD + answers(OK, end="any"), "9112 2.2")
T.add("blank-line-is-no-end", MUST, START + b" \r\n\r\n" + FOLLOW, BAD + answers(OK, FOLLOWED), "9112 2.2")
T.add("space-in-name", SHOULD, get(b"X A: 1"), BAD)

# -- folds: 400, or white space instead --
FOLDED = refuses(400, silent=False, end="any") + answers(R(200, saw_field("X-A", "1 2"))) + answers(
    R(200, saw_field("X-A", "1   2"))) + answers(R(200, saw_field("X-A", "1  2"))) + answers(R(200,
    saw_field("X-A", "1 \t2")))
T.add("fold-space", MUST, get(b"X-A: 1\r\n 2"), FOLDED, "9112 5.2")
T.add("fold-tab", MUST, get(b"X-A: 1\r\n\t2"), FOLDED, "9112 5.2")
T.add("fold-is-no-field", MUST, get(b"X-A: 1\r\n X-B: 2"),
      refuses(400, end="any") + answers(R(200, saw_field("X-B")), end="any"), "9112 5.2")
T.add("fold-hides-te", MUST, req("/reflect", "POST", "Content-Length: 5", "X-A: 1\r\n Transfer-Encoding: chunked",
      body="0\r\n\r\n"),
      refuses(400, end="any") + answers(R(200, saw(body="0\r\n\r\n"), saw_field("Transfer-Encoding")), end="any"),
      "9112 5.2")
T.add("fold-empty", MUST, get(b"X-A: 1\r\n "), refuses(400, end="any") + answers(R(200, saw_field("X-A", "1"))) +
      answers(R(200, saw_field("X-A", "1 "))), "9112 5.2")
T.add("fold-in-name", SHOULD, get(b"X-\r\n A: 1"), BAD, "9112 5.2")

# -- names --
for name, byte in (
    ("paren", b"("), ("comma", b","), ("slash", b"/"), ("semicolon", b";"), ("less", b"<"), ("equals", b"="),
    ("question", b"?"),
    ("at", b"@"), ("bracket", b"["), ("backslash", b"\\"), ("brace", b"{"), ("quote", b'"'), ("nul", b"\0"),
    ("soh", b"\x01"),
    ("del", b"\x7f"), ("high", b"\xe9"), ("vt", b"\x0b"), ("ff", b"\x0c"),
):
    T.add(f"name-{name}", SHOULD, get(b"X" + byte + b"A: 1"), BAD, "9110 5.1")
T.add("name-empty", SHOULD, get(b": 1"), BAD, "9110 5.1")
T.add("name-empty-space", SHOULD, get(b" : 1"), BAD, "9110 5.1")
T.add("no-colon", SHOULD, get(b"X-A"), BAD)
T.add("no-colon-first", SHOULD, b"GET /json HTTP/1.1\r\nX-A\r\nHost: h.test\r\n\r\n", BAD)
T.add("request-as-field", MUST, get(b"GET /reflect?smuggled HTTP/1.1"), refuses(400, silent=True) +
      answers(OK, end="any"))

# -- values --
SP = answers(R(200, saw_field("X-A", "1 2")), end="any")
T.add("nul-in-value", MUST, get(b"X-A: 1\x002"), BAD + SP, KEPT, note="rejected, or a space instead")
T.add("nul-in-value-hides-nothing", MUST, get(b"X-A: 1\0") + FOLLOW, BAD +
      answers(R(200, saw_field("X-A", "1")), FOLLOWED), KEPT)
T.add("cr-in-value", MUST, get(b"X-A: 1\r2"), BAD + SP, "9112 2.2", note="rejected, or a space instead")
T.add("cr-in-value-hides-te", MUST, req("/reflect", "POST", "Content-Length: 5", "X-A: 1\rTransfer-Encoding: chunked",
      body="0\r\n\r\n"),
      BAD + answers(R(200, saw(body="0\r\n\r\n"), saw_field("Transfer-Encoding")), end="any"), "9112 2.2")
T.add("cr-before-te", MUST, req("/reflect", "POST", "X-A: \rxTransfer-Encoding: chunked", body="1\r\nA\r\n0\r\n\r\n") +
      SMUGGLED, BAD,
      "9112 2.2", note="CVE-2023-30589: the bare CR must not end the line")
T.add("cr-alone-as-end", MUST, START + b"\r\rX-A: 1\r\n\r\n", BAD, "9112 2.2")
T.add("lf-cr-as-end", MUST, START + b"\n\r\n", BAD + answers(OK, end="any"), "9112 2.2")
T.add("cr-before-crlf", MUST, get(b"X-A: 1\r"), BAD + answers(R(200, saw_field("X-A", "1")), end="any"), "9112 2.2")
T.add("bare-lf-ends-field", MUST, START + b"X-A: 1\nX-B: 2\r\n\r\n",
      BAD + answers(R(200, saw_field("X-A", "1"), saw_field("X-B", "2")), end="any"), "9112 2.2")
T.add("bare-lf-ends-head", MUST, START + b"X-A: 1\r\n\n",
      BAD + answers(R(200, saw_field("X-A", "1")), end="any"), "9112 2.2")
T.add("bare-lf-hides-no-request", MUST, req("/reflect", "POST", "X-A: 1\nContent-Length: %d" % len(SMUGGLED),
      body=SMUGGLED),
      BAD + answers(R(200, saw(body=SMUGGLED)), end="any"), "9112 2.2",
      note="one request, whichever way the LF is taken")
for name, byte in (("vt", b"\x0b"), ("ff", b"\x0c"), ("esc", b"\x1b"), ("soh", b"\x01"), ("bs", b"\x08"),
    ("del", b"\x7f")):
    text = "1" + byte.decode() + "2"
    T.add(f"{name}-in-value", MUST, get(b"X-A: 1" + byte + b"2"), BAD +
          answers(R(200, saw_field("X-A", text)), end="any") + SP, KEPT,
          note="invalid; a recipient MAY keep it, but not as anything else")
    T.add(f"{name}-in-value-refused", SHOULD, get(b"X-A: 1" + byte + b"2"), BAD, KEPT)

# -- a field that may come once --
T.add("content-type-twice", SHOULD, req("/reflect", "POST", "Content-Type: a/b", "Content-Type: c/d",
      "Content-Length: 3", body="abc"),
      answers(R({200, 400}), end="any"), "9110 5.3")
T.add("nothing-applied-before-the-end", MUST, [Send(START + b"X-A: 1\r\n")], refuses(408, silent=True) +
      answers(end="any"), "9112 2.2", note="an unfinished head is no request: no answer but a refusal")
T.add("bad-field-closes", MUST, get(b"X-A : 1") + SMUGGLED, refuses(400) +
      answers(R(400), R(200, saw(query="smuggled")), end="any"),
      "9112 5.1")
T.add("good-behind-good", MUST, get(b"X-A: 1") + get(b"X-A: 2"),
      answers(R(200, saw_field("X-A", "1")), R(200, saw_field("X-A", "2"))), "9112 9.3")
T.add("json-route", MUST, req("/json", "GET", "X-A: 1"), answers(ECHO_OK))
