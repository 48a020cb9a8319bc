"""Connections that stay and that end: RFC 9112 9, RFC 9110 7.6.1."""

from model import (ECHO_OK, FOLLOW, FOLLOWED, MAY, MUST, OK, R, SHOULD, SMUGGLED, Await, Pause, Send, Topic, answers,
                   post, refuses, req, saw, says_close, says_keep_alive)

T = Topic("connection", "9112 9.3")
CLOSED = answers(ECHO_OK, end="closed")


def get(*fields: str, version: str = "HTTP/1.1") -> bytes:
    return req("/json", "GET", *fields, version=version)


T.add("1.1-persists", MUST, get(), answers(ECHO_OK))
T.add("twenty-in-turn", MUST, [step for i in range(20) for step in (Send(get()), Await(i + 1))],
      answers(*[ECHO_OK] * 20))
T.add("1.1-keep-alive", MUST, get("Connection: keep-alive"), answers(ECHO_OK))
T.add("close", MUST, get("Connection: close"), CLOSED, "9112 9.6")
T.add("close-is-said", SHOULD, get("Connection: close"), answers(R(200, says_close), end="closed"), "9112 9.6")
for name, fields in (
    ("case", ["Connection: CLOSE"]), ("mixed-case", ["connection: ClOsE"]),
    ("last-of-list", ["Connection: x-a, close"]),
    ("first-of-list", ["Connection: close, x-a"]), ("no-space-list", ["Connection: x-a,close,x-b"]),
    ("second-line", ["Connection: x-a", "Connection: close"]),
    ("first-line", ["Connection: close", "Connection: x-a"]), ("empty-members", ["Connection: , ,close,"]),
    ("tabs", ["Connection:\tx-a\t,\tclose\t"]),
    ("with-keep-alive", ["Connection: keep-alive, close"]), ("before-keep-alive", ["Connection: close, keep-alive"]),
    ("lines-with-keep-alive", ["Connection: keep-alive", "Connection: close"]),
    ("white-space", ["Connection:   close   "]),
):
    T.add(f"close-{name}", MUST, get(*fields) + SMUGGLED, CLOSED, "9112 9.6", note="nothing behind it may be done")
for name, value in (("longer", "closed"), ("longer-list", "x-close, closex"), ("shorter", "clos"), ("empty", ""),
    ("only-commas", ",,"), ("unknown", "x-a, x-b"),
                    ("te", "TE"), ("parts", "clo se")):
    T.add(f"no-close-{name}", MUST, get(f"Connection: {value}") + FOLLOW,
          answers(ECHO_OK, FOLLOWED) + (refuses(400) if name == "parts" else []), "9110 7.6.1",
          note="not the token close")
T.add("no-close-many-tokens", SHOULD, get("Connection: " + ", ".join(f"x-{i}" for i in range(200))) + FOLLOW,
      answers(ECHO_OK, FOLLOWED), "9110 7.6.1")
T.add("close-behind-many-tokens", MUST, get("Connection: " + ", ".join(f"x-{i}" for i in range(200)) + ", close") +
      SMUGGLED, CLOSED, "9112 9.6")
T.add("proxy-connection-close-ignored", SHOULD, get("Proxy-Connection: close") + FOLLOW, answers(ECHO_OK, FOLLOWED),
      "9112 C.2.2")
T.add("keep-alive-field-ignored", MUST, get("Keep-Alive: timeout=1, max=1") + FOLLOW, answers(ECHO_OK, FOLLOWED),
      "9112 9.3")
T.add("close-with-post", MUST, post("abc", "Connection: close") + SMUGGLED,
      answers(R(200, saw(body="abc")), end="closed"), "9112 9.6")
T.add("close-with-head", MUST, req("/json", "HEAD", "Connection: close") + SMUGGLED, answers(OK, end="closed"),
      "9112 9.6", methods=("HEAD",))
T.add("close-with-204", MUST, req("/nothing", "GET", "Connection: close") + SMUGGLED, answers(R(204), end="closed"),
      "9112 9.6")
T.add("close-with-304", MUST, req("/cached", "GET", "Connection: close") + SMUGGLED, answers(R(304), end="closed"),
      "9112 9.6")
T.add("close-with-404", MUST, req("/nosuch", "GET", "Connection: close") + SMUGGLED, answers(R(404), end="closed"),
      "9112 9.6")
T.add("close-with-405", MUST, req("/json", "DELETE", "Connection: close") + SMUGGLED, answers(R(405), end="closed"),
      "9112 9.6")
T.add("close-with-500", MUST, req("/fail", "GET", "Connection: close") + SMUGGLED, answers(R(500), end="closed"),
      "9112 9.6")
T.add("close-with-stream", MUST, req("/stream?chunks=3&bytes=5", "GET", "Connection: close") + SMUGGLED,
      answers(OK, end="closed"), "9112 9.6")
T.add("close-with-big", MUST, req("/big?bytes=2000000", "GET", "Connection: close") + SMUGGLED,
      answers(OK, end="closed"), "9112 9.6")
T.add("close-with-options", MUST, req("/json", "OPTIONS", "Connection: close") + SMUGGLED,
      answers(R({200, 204, 405}), end="closed"), "9112 9.6")
T.add("close-later-bytes", MUST, [Send(get("Connection: close")), Await(1), Send(SMUGGLED)], CLOSED, "9112 9.6")
T.add("404-persists", SHOULD, req("/nosuch") + FOLLOW, answers(R(404), FOLLOWED))
T.add("405-persists", SHOULD, req("/json", "DELETE") + FOLLOW, answers(R(405), FOLLOWED))
T.add("500-persists", SHOULD, req("/fail") + FOLLOW, answers(R(500), FOLLOWED))
T.add("refusal-says-close", SHOULD, req("/json", "POST", "Content-Length: x"),
      answers(R(400, says_close), end="closed"), "9112 9.6")

# -- HTTP/1.0 --
T.add("1.0-closes", MUST, get(version="HTTP/1.0") + SMUGGLED, CLOSED)
T.add("1.0-close", MUST, get("Connection: close", version="HTTP/1.0") + SMUGGLED, CLOSED)
KEPT = answers(R(200, says_keep_alive))
T.add("1.0-keep-alive", MUST, get("Connection: keep-alive", version="HTTP/1.0"), KEPT + CLOSED,
      note="kept and said, or closed")
T.add("1.0-keep-alive-kept", SHOULD, get("Connection: keep-alive", version="HTTP/1.0"), KEPT, "9112 C.2.2")
T.add("1.0-keep-alive-case", MUST, get("Connection: Keep-Alive", version="HTTP/1.0"), KEPT + CLOSED)
T.add("1.0-keep-alive-and-close", MUST, get("Connection: keep-alive, close", version="HTTP/1.0") + SMUGGLED, CLOSED)
T.add("1.0-keep-alive-then-1.0", MUST, get("Connection: keep-alive", version="HTTP/1.0") + get(version="HTTP/1.0") +
      SMUGGLED,
      answers(ECHO_OK, ECHO_OK, end="closed") + CLOSED)
T.add("1.0-keep-alive-stream", MUST, req("/stream?chunks=3&bytes=5", "GET", "Connection: keep-alive",
      version="HTTP/1.0"),
      answers(R(200, lambda r: "chunked to 1.0" if r.chunked else None), end="any"), "9112 6.1")
T.add("1.0-proxy-connection", MUST, get("Proxy-Connection: keep-alive", version="HTTP/1.0") + SMUGGLED, CLOSED,
      "9112 C.2.2")
T.add("1.0-other-token", MUST, get("Connection: x-a", version="HTTP/1.0") + SMUGGLED, CLOSED)
T.add("1.0-pipelined-not-done", MUST, get(version="HTTP/1.0") * 3, CLOSED)
T.add("1.1-then-1.0-keep-alive", MUST, get() + get("Connection: keep-alive", version="HTTP/1.0") + FOLLOW,
      answers(ECHO_OK, ECHO_OK, FOLLOWED) + answers(ECHO_OK, ECHO_OK, end="closed"))
T.add("pause-between", MUST, [Send(get()), Await(1), Pause(1.0), Send(FOLLOW)], answers(ECHO_OK, FOLLOWED), "9112 9.5")
T.add("pause-before-first", MUST, [Pause(0.7), Send(FOLLOW)], answers(FOLLOWED), "9112 9.5")
T.add("1.2-persists", MAY, get(version="HTTP/1.2") + FOLLOW, answers(ECHO_OK, FOLLOWED), "9112 9.3")

# -- HTTP/1.0 that is kept: each answer must be framed without the end of the connection --
for name, target, method, status in (("204", "/nothing", "GET", 204), ("304", "/cached", "GET", 304),
    ("404", "/nosuch", "GET", 404), ("405", "/json", "DELETE", 405),
                                     ("head", "/json", "HEAD", 200), ("async", "/async", "GET", 200)):
    T.add(f"1.0-keep-alive-{name}", MUST, req(target, method, "Connection: keep-alive", version="HTTP/1.0") +
          get(version="HTTP/1.0"),
          answers(R(status), ECHO_OK, end="closed") + answers(R(status), end="closed"), methods=(method, "GET"))
T.add("1.0-keep-alive-post", MUST, post("abc", "Connection: keep-alive", version="HTTP/1.0") * 2,
      answers(R(200, saw(body="abc")), R(200, saw(body="abc"))) + answers(R(200, saw(body="abc")), end="closed"))
T.add("1.0-refusal", MUST, req("/json", "GET", "X : 1", "Connection: keep-alive", version="HTTP/1.0") + SMUGGLED,
      refuses(400), "9112 5.1")
