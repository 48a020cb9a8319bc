"""More than a server wants to take: RFC 9112 3, RFC 9110 5.4, 15.5.14, 15.5.15."""

from model import (ANY_4XX, FOLLOW, FOLLOWED, MAY, MUST, OK, R, SHOULD, Await, Pause, Send, Topic, answers, body_is,
                   chunked, refuses, req, saw, saw_field)

T = Topic("limits", "9110 5.4")
TURBO = ["turbo-limits"]  # the defaults of libturbo's settings
LARGE = refuses(*ANY_4XX, end="any") + answers(OK)  # taken, or an appropriate 4xx
BOUNDED = refuses(*ANY_4XX, end="any")

T.add("target-2000", MUST, req("/reflect?" + "a" * 2000), answers(R(200, saw(query="a" * 2000))), "9112 3")
T.add("request-line-8000", SHOULD, req("/reflect?" + "a" * (8000 - len("GET /reflect? HTTP/1.1"))), answers(OK),
      "9112 3",
      note="8000 bytes are RECOMMENDED as the least")
T.add("target-200000", MUST, req("/reflect?" + "a" * 200000), answers(OK) + answers(R(414), end="any"), "9112 3",
      note="taken, or 414")
T.add("target-4-mib", MUST, req("/reflect?" + "a" * (4 << 20)), answers(OK) + answers(R(414), end="any"), "9112 3")
T.add("target-endless", SHOULD, [Send(b"GET /" + b"a" * (4 << 20))], answers(R(414), end="any"), "9112 3",
      note="no line end in 4 MiB")
T.add("method-endless", SHOULD, [Send(b"G" * (4 << 20))], answers(R({400, 414, 431, 501}), end="closed"), "9112 3")
T.add("field-4000", MUST, req("/reflect", "GET", "X-A: " + "a" * 4000), answers(R(200, saw_field("X-A", "a" * 4000))))
T.add("field-4-mib", MUST, req("/json", "GET", "X-A: " + "a" * (4 << 20)), LARGE, note="an appropriate 4xx")
T.add("field-name-4-mib", MUST, req("/json", "GET", "X" * (4 << 20) + ": a"), LARGE)
for name, send in (("field-4-mib", req("/json", "GET", "X-A: " + "a" * (4 << 20))),
    ("fields-900000", req("/json", "GET", *["A: b"] * 900000))):
    T.add(f"{name}-bounded", SHOULD, send, BOUNDED, note="what a client can make a server keep has an end")
T.add("field-endless", SHOULD, [Send(b"GET /json HTTP/1.1\r\nHost: h.test\r\nX-A: " + b"a" * (4 << 20))], BOUNDED)
T.add("fields-total-4-mib", MUST, req("/json", "GET", *("X-%d: %s" % (i, "a" * 1000) for i in range(4000))), LARGE)
T.add("fields-900000", MUST, req("/json", "GET", *("A: b" for _ in range(900000))), LARGE)
T.add("field-4-mib-431", MAY, req("/json", "GET", "X-A: " + "a" * (4 << 20)), answers(R(431), end="any"), "6585 5")
T.add("large-head-hides-no-request", MUST, req("/json", "GET", "X-A: " + "a" * (4 << 20)) + FOLLOW, refuses(*ANY_4XX) +
      answers(R({200, *ANY_4XX}), FOLLOWED, end="any"))
T.add("head-30000", SHOULD, req("/reflect", "GET", *("X-%d: %s" % (i, "a" * 1000) for i in range(29))),
      answers(R(200, saw_field("X-28", "a" * 1000))))
T.add("body-over-the-limit", MUST, req("/reflect", "POST", "Content-Length: 99999999999"), answers(R(413), end="any"),
      "9110 15.5.14", needs=["body-limit"])
T.add("body-over-the-limit-sent", MUST, req("/reflect", "POST", f"Content-Length: {8 << 20}", body=b"x" * (8 << 20)),
      answers(R(413), end="any"), "9110 15.5.14",
      needs=["body-limit"], note="the answer arrives though the client is still sending")
T.add("chunked-over-the-limit-sent", MUST, chunked(b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(128)) +
      b"0\r\n\r\n"),
      answers(R(413), end="any"), "9110 15.5.14", needs=["body-limit"])
T.add("chunk-size-over-the-limit", MAY, [Send(chunked("7fffffff\r\n"))], answers(R(413), end="any"), "9110 15.5.14",
      needs=["body-limit"],
      note="its size line is enough to know")
T.add("body-at-404-over-the-limit", MUST, [Send(req("/nosuch", "POST", "Content-Length: 99999999999"))],
      answers(R({404, 413}), end="any"), "9110 15.5.14",
      needs=["body-limit"])
T.add("empty-lines-endless", SHOULD, [Send(b"\r\n" * 100000)], refuses(400, 408, silent=True), "9112 2.2",
      note="an endless run of empty lines is no client")
T.add("slow-is-not-large", MUST, [Send(b"GET /json HTTP/1.1\r\n"), Pause(0.3), Send(b"Host: h.test\r\n"), Pause(0.3),
      Send(b"\r\n")], answers(OK))

# -- libturbo's documented defaults, one below, at, and above --
HEAD = len(req("/reflect?"))
T.add("turbo-target-8191", MUST, req("/reflect?" + "a" * (8191 - 9)), answers(OK), "docs/settings.md", needs=TURBO)
T.add("turbo-target-8192", MUST, req("/reflect?" + "a" * (8192 - 9)), answers(OK), "docs/settings.md", needs=TURBO)
T.add("turbo-target-8193", MUST, req("/reflect?" + "a" * (8193 - 9)), answers(R(414), end="any"), "docs/settings.md",
      needs=TURBO)
T.add("turbo-fields-99", MUST, req("/json", "GET", *["X: 1"] * 98), answers(OK), "docs/settings.md", needs=TURBO)
T.add("turbo-fields-100", MUST, req("/json", "GET", *["X: 1"] * 99), answers(OK), "docs/settings.md", needs=TURBO)
T.add("turbo-fields-101", MUST, req("/json", "GET", *["X: 1"] * 100), answers(R(431), end="any"), "docs/settings.md",
      needs=TURBO)
for size, statuses in ((65535, 200), (65536, 200), (65537, 431)):
    pad = size - len(req("/json", "GET", "X: "))
    T.add(f"turbo-head-{size}", MUST, req("/json", "GET", "X: " + "a" * pad), answers(R(statuses), end="any"),
          "docs/settings.md", needs=TURBO,
          note="request line and fields together, with the empty line")
for size, status in (((1 << 20) - 1, 200), (1 << 20, 200), ((1 << 20) + 1, 413)):
    T.add(f"turbo-body-{size}", MUST, req("/reflect", "POST", f"Content-Length: {size}", body=b"x" * size),
          answers(R(status), end="any"), "docs/settings.md",
          needs=TURBO)
    T.add(f"turbo-chunked-{size}", MUST, chunked(b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"),
          answers(R(status), end="any"), "docs/settings.md", needs=TURBO)
MIB = 1 << 20
FULL = b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"  # a chunk of as much as a body may have
for name, sent in (("one", b"%x\r\n" % (MIB + 1)), ("second", FULL + b"1\r\n"),
    ("with-extension", b"%x;a=b\r\n" % (MIB + 1)), ("15-digits", b"f" * 15 + b"\r\n")):
    T.add(f"turbo-chunk-size-{name}", MUST, [Send(chunked(sent))], answers(R(413), end="closed"), "9110 15.5.14",
          needs=TURBO, note="refused when its size line is there, without its data")
T.add("turbo-chunk-size-at-404", MUST, [Send(chunked(b"%x\r\n" % (MIB + 1), target="/nosuch"))],
      answers(R(404), end="closed"), "9110 15.5.14", needs=TURBO)
T.add("turbo-chunk-size-at-404-allowed", MUST, chunked(FULL + b"0\r\n\r\n", target="/nosuch") + FOLLOW,
      answers(R(404), FOLLOWED), "9110 15.5.14", needs=TURBO)
T.add("turbo-chunk-size-route-limit", MUST, chunked(FULL * 2 + b"0\r\n\r\n", target="/echo"),
      answers(R(200, body_is(b"x" * (2 * MIB)))), "docs/settings.md", needs=TURBO,
      note="/echo takes 16 MiB")
T.add("turbo-chunk-size-above-route-limit", MUST, [Send(chunked(b"%x\r\n" % (16 * MIB + 1), target="/echo"))],
      answers(R(413), end="closed"), "docs/settings.md", needs=TURBO)
T.add("turbo-route-body-limit", MUST, req("/echo", "POST", f"Content-Length: {2 << 20}", body=b"x" * (2 << 20)),
      answers(R(200, body_is(b"x" * (2 << 20)))),
      "docs/settings.md", needs=TURBO, note="/echo takes 16 MiB")
T.add("refused-large-then-new-connection", MUST, [Send(req("/json", "GET", "X-A: " + "a" * 200000)), Await(1)],
      answers(R({200, 400, 413, 431}), end="any"))
T.add("follow", MUST, FOLLOW, answers(FOLLOWED))
