"""How the bytes come: in any pieces, slowly, and with the sending side shut: RFC 9112 2.2, 8, 9.5, 9.6."""

from model import (ANY_4XX, ECHO_OK, FOLLOW, FOLLOWED, MUST, OK, R, SHOULD, Await, AwaitInterim, EndSending, Pause, Send, Splits,
                   Topic, answers, body_is, chunked, post, refuses, req, saw, size_is)

T = Topic("timing", "9112 2.2")
GET = req("/reflect?x", "GET", "X-A: 1", "X-B:  two words ")
CHUNKED = chunked("3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n")
GOT = R(200, saw("GET", "/reflect", "x"))

T.add("bytewise-get", MUST, [Send(GET, 0)], answers(GOT))
T.add("bytewise-get-slow", MUST, [Send(GET, 0.005)], answers(GOT))
T.add("bytewise-post", MUST, [Send(post("abcde"), 0)], answers(R(200, saw(body="abcde"))))
T.add("bytewise-post-slow", MUST, [Send(post("abcde"), 0.005)], answers(R(200, saw(body="abcde"))))
T.add("bytewise-chunked", MUST, [Send(CHUNKED, 0)], answers(R(200, saw(body="abcd"))))
T.add("bytewise-chunked-slow", MUST, [Send(CHUNKED, 0.005)], answers(R(200, saw(body="abcd"))))
T.add("bytewise-bad-length", MUST, [Send(req("/json", "POST", "Content-Length: 5x"), 0.002)], refuses(400), "9112 6.3")
T.add("bytewise-bad-chunk", MUST, [Send(chunked("5\r\nabcdeXX"), 0.002)], refuses(400, silent=True), "9112 7.1")
T.add("bytewise-no-host", MUST, [Send(req("/json", host=None), 0.002)], refuses(400, end="any"), "9112 3.2")
T.add("bytewise-two", MUST, [Send(GET + GET, 0.002)], answers(GOT, GOT))
T.add("bytewise-close", MUST, [Send(req("/json", "GET", "Connection: close"), 0.002)], answers(ECHO_OK, end="closed"))
T.add("every-cut-get", MUST, [Splits(GET)], answers(GOT), note="cut in two at each place")
T.add("every-cut-post", MUST, [Splits(post("abcde"))], answers(R(200, saw(body="abcde"))))
T.add("every-cut-chunked", MUST, [Splits(CHUNKED)], answers(R(200, saw(body="abcd"))))
T.add("every-cut-absolute", MUST, [Splits(req("http://h.test/reflect?x"))], answers(GOT))
T.add("every-cut-leading-crlf", SHOULD, [Splits(b"\r\n" + req("/reflect?x"))], answers(GOT))
T.add("body-later", MUST, [Send(req("/reflect", "POST", "Content-Length: 5")), Pause(0.4), Send(b"abcde")],
      answers(R(200, saw(body="abcde"))))
T.add("body-in-two", MUST, [Send(req("/reflect", "POST", "Content-Length: 5", body="ab")), Pause(0.3),
      Send(b"cde" + FOLLOW)],
      answers(R(200, saw(body="abcde")), FOLLOWED))
T.add("chunks-later", MUST, [Send(chunked("3\r\nabc\r\n")), Pause(0.3), Send(b"2\r\nde\r\n"), Pause(0.3),
      Send(b"0\r\n\r\n")], answers(R(200, saw(body="abcde"))))
T.add("cut-inside-crlf", MUST, [Send(GET[:-3]), Pause(0.1), Send(GET[-3:-2]), Pause(0.1), Send(GET[-2:-1]), Pause(0.1),
      Send(GET[-1:])], answers(GOT))
T.add("cut-inside-crlf-of-chunk", MUST, [Send(chunked("3\r\nabc\r")), Pause(0.1), Send(b"\n0\r"), Pause(0.1),
      Send(b"\n\r"), Pause(0.1), Send(b"\n" + FOLLOW)],
      answers(R(200, saw(body="abc")), FOLLOWED))
T.add("cut-behind-cr-then-no-lf", MUST, [Send(chunked("3\r\nabc\r")), Pause(0.1), Send(b"X0\r\n\r\n")],
      refuses(400, silent=True), "9112 7.1")
T.add("cut-bad-te", MUST, [Send(b"POST /json HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked"), Pause(0.1),
      Send(b"x\r\n\r\n0\r\n\r\n")], refuses(400, 501),
      "9112 6.3")

# -- the client has shut its sending side --
H = "9112 9.6"
NONE = [*answers(end="closed")]
T.add("ended-behind-get", SHOULD, [Send(GET), EndSending()], answers(GOT, end="closed"), H,
      note="the answer still arrives")
T.add("ended-behind-post", SHOULD, [Send(post("abc")), EndSending()], answers(R(200, saw(body="abc")), end="closed"), H)
T.add("ended-behind-chunked", SHOULD, [Send(CHUNKED), EndSending()], answers(R(200, saw(body="abcd")), end="closed"), H)
T.add("ended-behind-slow", SHOULD, [Send(req("/sleep?ms=400")), EndSending()], answers(ECHO_OK, end="closed"), H)
T.add("ended-later-behind-slow", SHOULD, [Send(req("/sleep?ms=500")), Pause(0.2), EndSending()],
      answers(ECHO_OK, end="closed"), H)
T.add("ended-behind-big", SHOULD, [Send(req("/big?bytes=3000000")), EndSending()],
      answers(R(200, size_is(3000000)), end="closed"), H)
T.add("ended-behind-stream", SHOULD, [Send(req("/stream?chunks=100&bytes=10000")), EndSending()],
      answers(R(200, size_is(1000000)), end="closed"), H)
T.add("ended-behind-1.0", SHOULD, [Send(req("/json", version="HTTP/1.0")), EndSending()],
      answers(ECHO_OK, end="closed"), H)
T.add("ended-behind-error", SHOULD, [Send(req("/json", "POST", "Content-Length: x")), EndSending()],
      answers(R(400), end="closed"), H)
T.add("ended-behind-answer", MUST, [Send(GET), Await(1), EndSending()], answers(GOT, end="closed"), H,
      note="an idle connection that ends is ended")
T.add("ended-at-once", MUST, [EndSending()], NONE + refuses(400, 408), H, note="no request: the server ends it too")
T.add("ended-behind-crlf", MUST, [Send(b"\r\n"), EndSending()], NONE + refuses(400, 408), H)
T.add("ended-inside-line", MUST, [Send(b"GET /jso"), EndSending()], NONE + refuses(400, 408), "9112 8")
T.add("ended-inside-fields", MUST, [Send(GET[:-10]), EndSending()], NONE + refuses(400, 408), "9112 8")
T.add("ended-before-last-lf", MUST, [Send(GET[:-1]), EndSending()], NONE + refuses(400, 408), "9112 8",
      note="an incomplete head is no request")
T.add("ended-before-empty-line", MUST, [Send(GET[:-2]), EndSending()], NONE + refuses(400, 408), "9112 8")
T.add("ended-three-pipelined-slow", SHOULD, [Send(req("/sleep?ms=300") * 2 + GET), EndSending()],
      answers(ECHO_OK, ECHO_OK, GOT, end="closed"), H)

# -- too slow: needs a server that was started with short timeouts --
SLOW = ["timeouts"]
T.add("head-never-ends", SHOULD, [Send(GET[:-4])], refuses(408, silent=True), "9110 15.5.9", needs=SLOW)
T.add("head-drips", SHOULD, [Send(b"GET /json HTTP/1.1\r\nHost: h.test\r\nX-A: " + b"a" * 35, 0.1)],
      refuses(408, silent=True), "9110 15.5.9", needs=SLOW,
      note="bytes now and then do not hold the connection for ever")
T.add("body-never-ends", SHOULD, [Send(req("/reflect", "POST", "Content-Length: 5", body="ab"))],
      refuses(408, silent=True), "9110 15.5.9", needs=SLOW)
T.add("chunk-never-ends", SHOULD, [Send(chunked("5\r\nab"))], refuses(408, silent=True), "9110 15.5.9", needs=SLOW)
T.add("head-never-ends-of-head", MUST, [Send(req("/json", "HEAD")[:-4])],
      answers(R(408, body_is(b"")), end="closed"), "9110 9.3.2", needs=SLOW, methods=("HEAD",))
T.add("continue-waited-for-behind-slow", MUST, [Send(req("/sleep?ms=6000") + req("/echo", "POST", "Content-Length: 3",
      "Expect: 100-continue")), Await(1), AwaitInterim(), Send(b"abc")], answers(ECHO_OK, R(200, body_is(b"abc"))),
      "9110 10.1.1", needs=SLOW, note="nobody is slow who waits for the 100 that is owed")
T.add("continue-then-body-never-comes", SHOULD, [Send(req("/echo", "POST", "Content-Length: 3",
      "Expect: 100-continue")), AwaitInterim()], refuses(408, silent=True), "9110 15.5.9", needs=SLOW)
T.add("idle-is-ended", SHOULD, [Send(GET)], answers(GOT, end="closed"), "9112 9.5", needs=SLOW)
T.add("idle-from-the-start", SHOULD, [Pause(0)], NONE + refuses(408), "9112 9.5", needs=SLOW)
T.add("big-body-in-order", MUST, post(bytes(i % 251 for i in range(300000)), target="/echo"),
      answers(R(200, body_is(bytes(i % 251 for i in range(300000))))))
T.add("four-hundred-then-gone", MUST, [Send(b"\x01\r\n\r\n")], refuses(*ANY_4XX, silent=True), H)
T.add("answer-then-follow-later", MUST, [Send(GET), Await(1), Pause(0.5), Send(FOLLOW)], answers(GOT, FOLLOWED))
T.add("plain", MUST, GET, answers(OK))

# -- a large head in pieces --
HEAD = req("/reflect?x", "GET", *(f"X-{i}: {'a' * 100}" for i in range(50)))
T.add("large-head-in-pieces", MUST, [Send(HEAD[i : i + 700]) for i in range(0, len(HEAD), 700)], answers(GOT))
T.add("large-head-in-slow-pieces", MUST, [step for i in range(0, len(HEAD), 900) for step in (Send(HEAD[i : i + 900]),
      Pause(0.05))], answers(GOT))
T.add("bytewise-pipelined-chunked", MUST, [Send(CHUNKED + GET + post("abc") + CHUNKED, 0)],
      answers(R(200, saw(body="abcd")), GOT, R(200, saw(body="abc")), R(200, saw(body="abcd"))))
T.add("body-never-ends-behind-good", SHOULD, [Send(GET + req("/reflect", "POST", "Content-Length: 5", body="ab"))],
      refuses(408, silent=True, after=[GOT]),
      "9110 15.5.9", needs=SLOW)
T.add("slow-answer-is-no-idleness", MUST, [Send(req("/sleep?ms=6000"))], answers(ECHO_OK), "9112 9.5", needs=SLOW,
      note="longer than every timeout of the server")
