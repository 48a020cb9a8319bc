"""Upgrade that is not taken: RFC 9110 7.8."""

from model import (ECHO_OK, ERRORS, FOLLOW, FOLLOWED, MUST, OK, R, SHOULD, SMUGGLED, Send, Topic, answers, chunked,
                   post, refuses, req, saw)

T = Topic("upgrade", "9110 7.8")
UP = "Connection: Upgrade"
SECOND = [ECHO_OK, FOLLOWED]
H2C = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"]
WS = [UP, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]

for name, fields in (
    ("h2c", H2C), ("websocket", WS), ("unknown", [UP, "Upgrade: x/1"]), ("list", [UP, "Upgrade: x/1, y, z/2.0"]),
    ("tls", [UP, "Upgrade: TLS/1.0"]),
    ("without-connection", ["Upgrade: h2c"]), ("connection-only", [UP]), ("same-version", [UP, "Upgrade: HTTP/1.1"]),
    ("empty", [UP, "Upgrade:"]),
    ("keep-alive-too", ["Connection: keep-alive, Upgrade", "Upgrade: x"]), ("http2", [UP, "Upgrade: HTTP/2.0"]),
    ("bad-value", [UP, "Upgrade: ,,@@"]),
):
    T.add(f"ignored-{name}", MUST, req("/json", "GET", *fields) + FOLLOW, answers(*SECOND),
          note="ignored: answered in 1.1, and what follows too")
T.add("ignored-then-later", MUST, [Send(req("/json", "GET", *WS)), Send(FOLLOW)], answers(*SECOND))
T.add("with-body", MUST, post("abc", UP, "Upgrade: x") + FOLLOW, answers(R(200, saw(body="abc")), FOLLOWED),
      note="the body is read as always")
T.add("with-body-like-a-request", MUST, post(SMUGGLED, UP, "Upgrade: h2c") + FOLLOW,
      answers(R(200, saw(body=SMUGGLED)), FOLLOWED))
T.add("with-chunked", MUST, chunked("3\r\nabc\r\n0\r\n\r\n", UP, "Upgrade: x") + FOLLOW,
      answers(R(200, saw(body="abc")), FOLLOWED))
T.add("with-chunked-bytewise", MUST, [Send(chunked("3\r\nabc\r\n0\r\n\r\n", UP, "Upgrade: x") + FOLLOW, 0)],
      answers(R(200, saw(body="abc")), FOLLOWED))
T.add("with-trailers", MUST, chunked("3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", UP, "Upgrade: x") + FOLLOW,
      answers(R(200, saw(body="abc")), FOLLOWED))
T.add("with-head", MUST, req("/json", "HEAD", UP, "Upgrade: x") + FOLLOW, answers(OK, FOLLOWED),
      methods=("HEAD", "GET"))
T.add("with-options", MUST, req("/json", "OPTIONS", UP, "Upgrade: x") + FOLLOW, answers(R({200, 204, 405}), FOLLOWED))
T.add("with-close", MUST, req("/json", "GET", "Connection: close, Upgrade", "Upgrade: x") + SMUGGLED,
      answers(ECHO_OK, end="closed"), "9112 9.6")
T.add("with-404", MUST, req("/nosuch", "GET", UP, "Upgrade: x") + FOLLOW, answers(R(404), FOLLOWED))
T.add("with-async", MUST, req("/sleep?ms=100", "GET", UP, "Upgrade: x") + FOLLOW, answers(*SECOND))
T.add("1.0-ignored", MUST, req("/json", "GET", UP, "Upgrade: h2c", version="HTTP/1.0") + SMUGGLED,
      answers(ECHO_OK, end="closed"), note="MUST be ignored in 1.0")
T.add("1.0-websocket-ignored", MUST, req("/json", "GET", *WS, version="HTTP/1.0"), answers(ECHO_OK, end="closed"))
T.add("1.0-post", MUST, post("abc", UP, "Upgrade: x", version="HTTP/1.0"),
      answers(R(200, saw(body="abc")), end="closed"))
T.add("bad-length-still-bad", MUST, req("/json", "POST", UP, "Upgrade: x", "Content-Length: x") + SMUGGLED,
      refuses(400), "9112 6.3")
T.add("twice-on-a-connection", MUST, req("/json", "GET", UP, "Upgrade: x") + req("/json", "GET", UP, "Upgrade: x") +
      FOLLOW, answers(ECHO_OK, ECHO_OK, FOLLOWED))
T.add("connect-then-more", MUST, req("h.test:80", "CONNECT") + FOLLOW, refuses(*ERRORS) +
      answers(R(ERRORS), FOLLOWED, end="any"), "9110 9.3.6",
      note="no tunnel: refused, and what follows is HTTP or unread")
T.add("connect-with-length", MUST, req("h.test:80", "CONNECT", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
      refuses(*ERRORS, end="any"), "9110 9.3.6",
      note="the body of a refused CONNECT must not run")
T.add("field-kept-for-the-handler", SHOULD, req("/reflect", "GET", UP, "Upgrade: x"), answers(R(200, saw("GET"))))
