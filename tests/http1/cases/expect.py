"""Expect: 100-continue. RFC 9110 10.1.1."""

from model import (ANY_4XX, ECHO_OK, ERRORS, FOLLOW, FOLLOWED, MAY, MUST, R, SHOULD, SMUGGLED, Await, AwaitInterim,
                   EndSending, Outcome, Pause, Send, Topic, answers, at_most_one_interim, body_is, chunked, no_interim,
                   one_interim, post, refuses, req, saw)

T = Topic("expect", "9110 10.1.1")
E = "Expect: 100-continue"


def head(*fields: str, target: str = "/echo", version: str = "HTTP/1.1", method: str = "POST") -> bytes:
    return req(target, method, *fields, version=version)


ECHOED = R(200, body_is(b"abc"), one_interim)
LENGTH = "Content-Length: 3"
T.add("continue", MUST, [Send(head(LENGTH, E)), AwaitInterim(), Send(b"abc")], answers(ECHOED),
      note="an immediate 100 or a final answer, before any of the body")
T.add("case", MUST, [Send(head(LENGTH, "expect: 100-CONTINUE")), AwaitInterim(), Send(b"abc")], answers(ECHOED))
T.add("white-space", MUST, [Send(head(LENGTH, "Expect: \t100-continue ")), AwaitInterim(), Send(b"abc")],
      answers(ECHOED))
T.add("chunked", MUST, [Send(chunked("", E, target="/echo")), AwaitInterim(), Send(b"3\r\nabc\r\n0\r\n\r\n")],
      answers(ECHOED))
T.add("reflect", MUST, [Send(head(LENGTH, E, target="/reflect")), AwaitInterim(), Send(b"abc")],
      answers(R(200, saw("POST", body="abc"), one_interim)))
T.add("put", MUST, [Send(head(LENGTH, E, target="/reflect", method="PUT")), AwaitInterim(), Send(b"abc")],
      answers(R(200, saw("PUT", body="abc"), one_interim)))
T.add("get-with-body", MUST, [Send(head(LENGTH, E, target="/reflect", method="GET")), AwaitInterim(), Send(b"abc")],
      answers(R(200, at_most_one_interim)) + answers(R(200, at_most_one_interim), end="closed") +
      [Outcome((R(200, no_interim), R(400)), "any")] + refuses(400))
T.add("body-at-once", MUST, post("abc", E, target="/echo") + FOLLOW,
      answers(R(200, body_is(b"abc"), at_most_one_interim), FOLLOWED))
T.add("body-in-parts", MUST, [Send(head(LENGTH, E)), AwaitInterim(), Send(b"a"), Pause(0.1), Send(b"b"), Pause(0.1),
      Send(b"c")], answers(ECHOED),
      note="one 100, not one for each part")
T.add("client-does-not-wait", MUST, [Send(head(LENGTH, E)), Pause(0.3), Send(b"abc" + FOLLOW)],
      answers(R(200, body_is(b"abc"), at_most_one_interim), FOLLOWED))
T.add("head-bytewise", MUST, [Send(head(LENGTH, E), 0), AwaitInterim(), Send(b"abc")], answers(ECHOED))
T.add("then-follow", MUST, [Send(head(LENGTH, E)), AwaitInterim(), Send(b"abc" + FOLLOW)], answers(ECHOED, FOLLOWED))
T.add("twice-on-a-connection", MUST, [Send(head(LENGTH, E)), AwaitInterim(), Send(b"abc"), Await(1),
      Send(head(LENGTH, E)), AwaitInterim(), Send(b"abc")],
      answers(ECHOED, ECHOED))
T.add("close", MUST, [Send(head(LENGTH, E, "Connection: close")), AwaitInterim(), Send(b"abc")],
      answers(ECHOED, end="closed"))
T.add("no-body", MUST, head("Content-Length: 0", E, target="/reflect") + FOLLOW,
      answers(R(200, at_most_one_interim), FOLLOWED), note="a final answer must come")
T.add("no-body-get", MUST, req("/json", "GET", E) + FOLLOW, answers(R(200, at_most_one_interim), FOLLOWED))
T.add("no-body-no-100", SHOULD, head("Content-Length: 0", E, target="/reflect"), answers(R(200, no_interim)),
      note="nothing to continue with")
T.add("body-at-once-no-100", MAY, post("abc", E, target="/echo"), answers(R(200, body_is(b"abc"), no_interim)),
      note="a server MAY omit it then")
T.add("1.0-no-100", MUST, [Send(head(LENGTH, E, version="HTTP/1.0")), Pause(0.4), Send(b"abc")],
      answers(R(200, body_is(b"abc"), no_interim), end="closed"),
      note="MUST be ignored in a 1.0 request")
T.add("1.0-no-100-body-at-once", MUST, post("abc", E, target="/echo", version="HTTP/1.0"),
      answers(R(200, body_is(b"abc"), no_interim), end="closed"))
T.add("1.0-unknown-expectation", MAY, post("abc", "Expect: x", target="/echo", version="HTTP/1.0"),
      answers(R({200, 417}), end="any"))
NOT_TAKEN = answers(R(417), end="any")
T.add("unknown", MUST, post("abc", "Expect: x-y", target="/echo"), NOT_TAKEN + answers(R(200, body_is(b"abc"))),
      note="417, or ignored")
T.add("unknown-417", MAY, post("abc", "Expect: x-y", target="/echo"), NOT_TAKEN)
T.add("unknown-and-known", MUST, post("abc", "Expect: 100-continue, x-y", target="/echo"), NOT_TAKEN +
      answers(R(200, body_is(b"abc"))))
T.add("unknown-without-body", MUST, req("/json", "GET", "Expect: x-y"), NOT_TAKEN + answers(ECHO_OK))
for name, value in (("empty-first", ", 100-continue"), ("empty-last", "100-continue ,"),
                    ("repeated", "100-continue, 100-continue")):
    T.add(f"list-{name}", MUST, [Send(head(LENGTH, f"Expect: {value}")), AwaitInterim(), Send(b"abc")],
          answers(ECHOED), "9110 5.6.1.2", note="a list of no other expectation")
T.add("longer-is-unknown", MUST, post("abc", "Expect: 100-continued", target="/echo"), NOT_TAKEN +
      answers(R(200, body_is(b"abc"), no_interim)))
T.add("417-hides-no-request", MUST, [Send(req("/echo", "POST", "Expect: x-y", f"Content-Length: {len(SMUGGLED)}",
      body=SMUGGLED))],
      answers(R(417), end="any") + answers(R(200, body_is(SMUGGLED))),
      note="the body of a refused request must not run")
T.add("empty-value", MUST, post("abc", "Expect:", target="/echo"), NOT_TAKEN + answers(R(200, body_is(b"abc"))) +
      refuses(400, end="any"))

# -- a final answer instead --
FINAL_404 = answers(R(404, at_most_one_interim), end="any")
T.add("404", MUST, [Send(head(LENGTH, E, target="/nosuch")), AwaitInterim(), Send(b"abc")],
      FINAL_404 + [Outcome((R(404, no_interim), R(400)), "any")], note="a final answer, or 100 first")
T.add("404-no-100", SHOULD, [Send(head(LENGTH, E, target="/nosuch")), Await(1)], answers(R(404, no_interim), end="any"),
      note="the head was enough to know")
T.add("405-no-100", SHOULD, [Send(head(LENGTH, E, target="/json")), Await(1)], answers(R(405, no_interim), end="any"))
T.add("404-body-does-not-run", MUST, [Send(head(f"Content-Length: {len(SMUGGLED)}", E, target="/nosuch")),
      AwaitInterim(), Send(SMUGGLED)], FINAL_404,
      note="what is sent behind the refusal is the body, or goes nowhere")
T.add("405-body-does-not-run", MUST, [Send(head(f"Content-Length: {len(SMUGGLED)}", E, target="/json")), AwaitInterim(),
      Send(SMUGGLED)],
      answers(R(405, at_most_one_interim), end="any"))
T.add("too-large-no-100", SHOULD, [Send(head("Content-Length: 999999999999", E)), Await(1)],
      answers(R(413, no_interim), end="any"), "9110 15.5.14",
      needs=["body-limit"])
T.add("bad-length", MUST, head("Content-Length: x", E), refuses(400), "9112 6.3")
T.add("bad-length-no-100", MUST, head("Content-Length: 3", "Content-Length: 4", E),
      answers(R(400, no_interim), end="closed"), "9112 6.3")
T.add("no-host-no-100", MUST, req("/echo", "POST", LENGTH, E, host=None), answers(R(400, no_interim), end="any"),
      "9112 3.2")
T.add("te-unknown-no-100", MUST, head("Transfer-Encoding: x", E), answers(R({400, 501}, no_interim), end="closed"),
      "9112 6.3")

# -- behind another request --
T.add("behind-good", MUST, [Send(FOLLOW + head(LENGTH, E)), Await(1), AwaitInterim(), Send(b"abc")],
      answers(FOLLOWED, ECHOED))
T.add("behind-slow-in-order", MUST, [Send(req("/sleep?ms=400") + head(LENGTH, E)), Await(1), AwaitInterim(),
      Send(b"abc")],
      answers(R(200, body_is(b'{"ok":true}'), no_interim), ECHOED),
      note="the 100 of the second comes behind the final answer of the first")
T.add("behind-slow-body-at-once", MUST, req("/sleep?ms=300") + post("abc", E, target="/echo") + FOLLOW,
      answers(R(200, no_interim), R(200, body_is(b"abc"), at_most_one_interim), FOLLOWED))
T.add("incomplete", MUST, [Send(head(LENGTH, E)), AwaitInterim(), Send(b"a"), EndSending()],
      refuses(*ANY_4XX, silent=True))
T.add("client-ends-instead", MUST, [Send(head(LENGTH, E)), AwaitInterim(), EndSending()],
      refuses(*ANY_4XX, silent=True))
T.add("twice-the-field", MUST, post("abc", E, E, target="/echo"),
      answers(R(200, body_is(b"abc"), at_most_one_interim)) + answers(R(ERRORS), end="any"))
T.add("with-upgrade", MUST, [Send(head(LENGTH, E, "Connection: Upgrade", "Upgrade: x")), AwaitInterim(), Send(b"abc")],
      answers(ECHOED), "9110 7.8")
