"""Several requests on a connection at once: RFC 9112 9.3.2."""

from typing import Sequence

from model import (ECHO_OK, FOLLOW, FOLLOWED, MUST, OK, R, SHOULD, SMUGGLED, Await, EndSending, Hold, Outcome, Pause,
                   Send, Topic, all_at_once, answers, body_is, chunked, one_by_one, post, refuses, req, saw, size_is)

T = Topic("pipelining", "9112 9.3.2")


def get(n: object) -> bytes:
    return req(f"/reflect?{n}")


def got(n: object) -> R:
    return R(200, saw(query=str(n)))


SLOW, SLOW_OK = req("/sleep?ms=300"), ECHO_OK
for n in (2, 3, 10, 50):
    T.add(f"gets-{n}", MUST, b"".join(get(i) for i in range(n)), answers(*(got(i) for i in range(n))))
T.add("gets-300", SHOULD, b"".join(get(i) for i in range(300)), answers(*(got(i) for i in range(300))))
T.add("posts", MUST, post("a") + post("bb") + post("ccc"), answers(*(R(200, saw(body=b)) for b in ("a", "bb", "ccc"))))
T.add("mixed-bodies", MUST, post("a") + chunked("1\r\nb\r\n0\r\n\r\n") + get(1) + post(""),
      answers(R(200, saw(body="a")), R(200, saw(body="b")), got(1), R(200, saw(body=""))))
T.add("slow-first", MUST, SLOW + get(1) + get(2), answers(SLOW_OK, got(1), got(2)),
      note="answers in the order of the requests")
T.add("slow-between", MUST, get(1) + SLOW + get(2) + SLOW + get(3), answers(got(1), SLOW_OK, got(2), SLOW_OK, got(3)))
T.add("async-and-sync", MUST, req("/async") + req("/json") + req("/sync") + req("/async") + get(1),
      answers(ECHO_OK, ECHO_OK, ECHO_OK, ECHO_OK, got(1)))
T.add("head-between", MUST, get(1) + req("/json", "HEAD") + get(2), answers(got(1), R(200, body_is(b"")), got(2)),
      methods=("GET", "HEAD", "GET"))
T.add("204-between", MUST, get(1) + req("/nothing") + get(2), answers(got(1), R(204), got(2)))
T.add("304-between", MUST, get(1) + req("/cached") + get(2), answers(got(1), R(304), got(2)))
T.add("404-between", MUST, get(1) + req("/nosuch") + get(2), answers(got(1), R(404), got(2)))
T.add("405-between", MUST, get(1) + req("/json", "DELETE") + get(2), answers(got(1), R(405), got(2)))
T.add("500-between", MUST, get(1) + req("/fail") + get(2), answers(got(1), R(500), got(2)) +
      refuses(500, after=[got(1)]))
T.add("stream-between", MUST, get(1) + req("/stream?chunks=3&bytes=5") + get(2), answers(got(1), R(200), got(2)))
T.add("big-between", MUST, get(1) + req("/big?bytes=300000") + get(2), answers(got(1), R(200), got(2)))
T.add("options-between", MUST, get(1) + req("/json", "OPTIONS") + get(2), answers(got(1), R({200, 204, 405}), got(2)))
T.add("big-bodies", MUST, b"".join(post(c * 50000, target="/echo") for c in "abc"),
      answers(*(R(200, body_is(c * 50000)) for c in (b"a", b"b", b"c"))))
T.add("crlf-between", SHOULD, get(1) + b"\r\n" + get(2) + b"\r\n" + get(3), answers(got(1), got(2), got(3)), "9112 2.2")
T.add("bytewise", MUST, [Send(get(1) + post("abc") + get(2), 0)], answers(got(1), R(200, saw(body="abc")), got(2)))
T.add("cut-inside-the-second", MUST, [Send(get(1) + get(2)[:20]), Pause(0.2), Send(get(2)[20:] + get(3))],
      answers(got(1), got(2), got(3)))
T.add("cut-at-the-border", MUST, [Send(get(1)), Pause(0.1), Send(get(2)), Pause(0.1), Send(get(3))],
      answers(got(1), got(2), got(3)))

# -- a bad one in the middle: what was owed arrives, then the refusal, and nothing behind it is done --
for name, bad, statuses in (
    ("garbage", b"\x01\x02\x03\r\n\r\n", (400,)), ("bad-version", req("/json", version="HTTP/x"), (400, 505)),
    ("no-host", req("/json", host=None), (400,)), ("bad-field", req("/json", "GET", "X A: 1"), (400,)),
    ("bad-length", req("/json", "POST", "Content-Length: x"), (400,)), ("bad-te",
    req("/json", "POST", "Transfer-Encoding: x"), (400, 501)),
    ("two-lengths", req("/json", "POST", "Content-Length: 1", "Content-Length: 2"), (400,)),
    ("bad-chunk", chunked("zz\r\n"), (400,)),
):
    level = SHOULD if name in ("garbage", "bad-version", "bad-field") else MUST
    open_too = answers(got(1), got(2), R(400), R(200, saw(query="smuggled")), end="any") if name == "no-host" else []
    T.add(f"{name}-behind-good", level, get(1) + get(2) + bad + SMUGGLED, refuses(*statuses, after=[got(1), got(2)]) +
          open_too, "9112 9.3.2",
          note="earlier answers arrive, then the refusal")
    T.add(f"{name}-behind-slow", MUST, SLOW + get(1) + bad + SMUGGLED,
          refuses(*statuses, silent=True, after=[SLOW_OK, got(1)]) +
          (answers(SLOW_OK, got(1), R(400), R(200, saw(query="smuggled")), end="any")
                                                                     if name == "no-host" else []),
          note="the refusal neither overtakes nor eats the answers due before it")
T.add("garbage-behind-slow-later", MUST, [Send(SLOW + get(1)), Pause(0.1), Send(b"\x01garbage\r\n\r\n")],
      refuses(400, silent=True, after=[SLOW_OK, got(1)]))
T.add("close-in-the-middle", MUST, get(1) + req("/reflect?2", "GET", "Connection: close") + SMUGGLED,
      answers(got(1), got(2), end="closed"), "9112 9.6")
T.add("close-behind-slow", MUST, SLOW + req("/reflect?2", "GET", "Connection: close") + SMUGGLED,
      answers(SLOW_OK, got(2), end="closed"), "9112 9.6")
T.add("close-on-slow", MUST, req("/sleep?ms=300", "GET", "Connection: close") + SMUGGLED,
      answers(SLOW_OK, end="closed"), "9112 9.6")
T.add("garbage-behind-close", MUST, get(1) + req("/reflect?2", "GET", "Connection: close") + b"\x01\x02garbage\r\n\r\n",
      answers(got(1), got(2), end="closed"), "9112 9.6", note="data behind a closing request must not eat its answer")
T.add("garbage-behind-slow-close", MUST, req("/sleep?ms=300", "GET", "Connection: close") + b"\x01\x02garbage\r\n\r\n",
      answers(SLOW_OK, end="closed"), "9112 9.6")
T.add("much-behind-close", MUST, req("/reflect?2", "GET", "Connection: close") + b"x" * 500000,
      answers(got(2), end="closed"), "9112 9.6")
T.add("1.0-in-the-middle", MUST, get(1) + req("/reflect?2", version="HTTP/1.0") + SMUGGLED,
      answers(got(1), got(2), end="closed"), "9112 9.3")
T.add("close-with-body", MUST, req("/reflect", "POST", "Connection: close", "Content-Length: 3", body="abc") + SMUGGLED,
      answers(R(200, saw(body="abc")), end="closed"), "9112 9.6")
T.add("close-with-chunked", MUST, chunked("3\r\nabc\r\n0\r\n\r\n", "Connection: close") + SMUGGLED,
      answers(R(200, saw(body="abc")), end="closed"), "9112 9.6")

# -- the client is done sending --
T.add("ended-behind-three", SHOULD, [Send(get(1) + get(2) + get(3)), EndSending()],
      answers(got(1), got(2), got(3), end="any"), "9112 9.6")
T.add("ended-behind-slow", SHOULD, [Send(SLOW + get(1)), EndSending()], answers(SLOW_OK, got(1), end="any"), "9112 9.6")
T.add("ended-inside-the-second", MUST, [Send(get(1) + get(2)[:25]), Await(1), EndSending()],
      refuses(400, 408, silent=True, after=[got(1)]), "9112 8")
T.add("incomplete-second-waits", MUST, get(1) + get(2)[:-2], answers(got(1), end="any"))
T.add("follow-is-the-same-connection", MUST, [Send(get(1)), Pause(0.3), Send(FOLLOW)], answers(got(1), FOLLOWED))
T.add("head-head-get", MUST, req("/big?bytes=5000", "HEAD") + req("/stream", "HEAD") + get(1), answers(OK, OK, got(1)),
      methods=("HEAD", "HEAD", "GET"))

# -- more than the server reads or sends at once --
T.add("slow-then-200", MUST, SLOW + b"".join(get(i) for i in range(200)),
      answers(SLOW_OK, *(got(i) for i in range(200))))
T.add("slow-then-200-then-ended", SHOULD, [Send(SLOW + b"".join(get(i) for i in range(200))), EndSending()],
      answers(SLOW_OK, *(got(i) for i in range(200)), end="closed"), "9112 9.6")
T.add("slow-then-200-then-garbage", MUST, SLOW + b"".join(get(i) for i in range(200)) + b"\x01\x02\r\n\r\n",
      refuses(400, silent=True, after=[SLOW_OK, *(got(i) for i in range(200))]))
T.add("slow-then-200-then-close", MUST, SLOW + b"".join(get(i) for i in range(200)) +
      req("/reflect?c", "GET", "Connection: close") + SMUGGLED,
      answers(SLOW_OK, *(got(i) for i in range(200)), got("c"), end="closed"))
T.add("slow-then-big-body", MUST, SLOW + post("x" * 1000000, target="/echo") + get(1),
      answers(SLOW_OK, R(200, body_is(b"x" * 1000000)), got(1)))


def whole(size: int) -> R:
    return R(200, size_is(size))


T.add("big-not-read-at-once", MUST, [Send(req("/big?bytes=400000") * 20 + get(1)), Hold(1.0)],
      answers(*[whole(400000)] * 20, got(1)))
T.add("big-then-garbage", MUST, [Send(req("/big?bytes=3000000") + b"\x01\x02\r\n\r\n"), Hold(0.5)],
      refuses(400, silent=True, after=[whole(3000000)]),
      note="the refusal cuts no answer short")
T.add("big-then-close", MUST, [Send(req("/big?bytes=3000000", "GET", "Connection: close") + SMUGGLED), Hold(0.5)],
      answers(whole(3000000), end="closed"), "9112 9.6")
T.add("big-then-ended", SHOULD, [Send(req("/big?bytes=3000000") * 3), EndSending(), Hold(0.5)],
      answers(*[whole(3000000)] * 3, end="closed"), "9112 9.6")
T.add("stream-not-read-at-once", MUST, [Send(req("/stream?chunks=300&bytes=10000") + get(1)), Hold(0.7)],
      answers(whole(3000000), got(1)))
T.add("stream-1.0-not-read-at-once", MUST, [Send(req("/stream?chunks=300&bytes=10000", version="HTTP/1.0")), Hold(0.7)],
      answers(whole(3000000), end="closed"))
T.add("two-continue-at-once", MUST, post("abc", "Expect: 100-continue", target="/echo") * 2,
      answers(R(200, body_is(b"abc")), R(200, body_is(b"abc"))), "9110 10.1.1")
T.add("404-behind-slow", MUST, SLOW + req("/nosuch") + req("/json", "DELETE") + get(1),
      answers(SLOW_OK, R(404), R(405), got(1)))
T.add("head-behind-slow", MUST, SLOW + req("/json", "HEAD") + req("/nosuch", "HEAD") + get(1),
      answers(SLOW_OK, OK, R(404), got(1)),
      methods=("GET", "HEAD", "HEAD", "GET"))


# -- worked on one by one, or together: the answers' order does not tell, so the handlers of /span do --
def spans(*requests: Sequence[object]) -> bytes:
    return b"".join(req(f"/span?ms={ms}", str(method), "Content-Length: 0") for method, ms in requests)


def each_alone(count: int) -> list:
    return [Outcome((OK,) * count, "open", together=one_by_one)]


for name, requests in (
    ("post-then-get", (("POST", 200), ("GET", 0))), ("get-then-post", (("GET", 200), ("POST", 0))),
    ("post-post", (("POST", 100), ("POST", 0))), ("put-delete", (("PUT", 100), ("DELETE", 50), ("PUT", 0))),
    ("patch-options", (("PATCH", 100), ("OPTIONS", 0))), ("get-then-get-in-lower-case", (("GET", 100), ("get", 0))),
    ("unknown-then-get", (("FROB", 100), ("GET", 0))),
    ("mixed", (("POST", 100), ("GET", 50), ("POST", 20), ("GET", 50), ("DELETE", 0))),
):
    T.add(f"effect-{name}", MUST, spans(*requests), each_alone(len(requests)),
          note="what has another method than a safe one is done before the next is begun, and behind all before it")
T.add("effect-post-then-get-later", MUST, [Send(spans(("POST", 300))), Pause(0.1), Send(spans(("GET", 0)))],
      each_alone(2))
T.add("effect-post-then-get-then-ended", MUST, [Send(spans(("POST", 200), ("GET", 0))), EndSending()],
      [Outcome((OK, OK), "any", together=one_by_one)])
T.add("effect-post-then-get-then-garbage", MUST, spans(("POST", 200), ("POST", 0)) + b"\x01\x02\r\n\r\n",
      refuses(400, after=[OK, OK]), note="the refusal comes behind what is answered one by one")
T.add("effect-close-on-the-first", MUST, req("/span?ms=200", "POST", "Content-Length: 0", "Connection: close") +
      spans(("GET", 0)), answers(OK, end="closed"), "9112 9.6")
for name, methods in (("gets", ("GET", "GET", "GET")), ("get-options-get", ("GET", "OPTIONS", "GET"))):
    T.add(f"together-{name}", SHOULD, spans(*((method, 400) for method in methods)),
          [Outcome((OK,) * 3, "open", together=all_at_once)], needs=["turbo-limits"],
          note="libturbo's promise: safe methods do not wait for each other")
