"""Methods and what is answered to them: RFC 9110 9, 15.5.6."""

from typing import Optional

from answers import Response
from model import (ECHO_OK, ERRORS, FOLLOW, FOLLOWED, MAY, MUST, OK, OK_BODY, R, SHOULD, SMUGGLED, Send, Topic,
                   answers, body_is, refuses, req, saw)

T = Topic("methods", "9110 9")


def allows(*methods: str) -> object:
    def check(response: Response) -> Optional[str]:
        if response.get("Allow") is None:
            return "no Allow"
        missing = [m for m in methods if m.lower() not in response.tokens("Allow")]
        return f"Allow {response.get('Allow')!r} without {missing}" if missing else None

    return check


for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
    T.add(f"any-route-{method.lower()}", MUST, req("/reflect", method, "Content-Length: 2", body="ab") + FOLLOW,
          answers(R(200, saw(method)), FOLLOWED), "9110 9.1")
T.add("get", MUST, req("/json"), answers(ECHO_OK), "9110 9.3.1")
T.add("head", MUST, req("/json", "HEAD") + FOLLOW, answers(R(200, body_is(b"")), FOLLOWED), "9110 9.3.2",
      methods=("HEAD", "GET"),
      note="GET and HEAD must be there; no body")
for name, target in (("stream", "/stream"), ("big", "/big?bytes=100000"), ("root", "/"), ("user", "/users/7"),
    ("async", "/async")):
    T.add(f"head-{name}", MUST, req(target, "HEAD") + FOLLOW, answers(R(200, body_is(b"")), FOLLOWED), "9110 9.3.2",
          methods=("HEAD", "GET"))
T.add("head-404", MUST, req("/nosuch", "HEAD") + FOLLOW, answers(R(404, body_is(b"")), FOLLOWED), "9110 9.3.2",
      methods=("HEAD", "GET"))
T.add("head-405", MUST, req("/echo", "HEAD") + FOLLOW, answers(R(405, body_is(b"")), FOLLOWED), "9110 9.3.2",
      methods=("HEAD", "GET"))
T.add("head-500", MUST, req("/fail", "HEAD") + FOLLOW, answers(R(500, body_is(b"")), FOLLOWED) +
      answers(R(500, body_is(b"")), end="closed"), "9110 9.3.2", methods=("HEAD", "GET"))
T.add("head-204", MUST, req("/nothing", "HEAD") + FOLLOW, answers(R(204), FOLLOWED), "9110 9.3.2",
      methods=("HEAD", "GET"))
T.add("head-1.0", MUST, req("/json", "HEAD", version="HTTP/1.0"), answers(R(200, body_is(b"")), end="closed"),
      "9110 9.3.2", methods=("HEAD",))


# What is refused before a handler sees it, too: the answer to HEAD has no body, whatever it says.
for name, wire in (
    ("no-host", req("/json", "HEAD", host=None)), ("two-hosts", req("/json", "HEAD", "Host: b")),
    ("bad-field", req("/json", "HEAD", "Bad Field: x")), ("bad-length", req("/json", "HEAD", "Content-Length: x")),
    ("coding", req("/json", "HEAD", "Transfer-Encoding: gzip")), ("asterisk", req("*", "HEAD")),
    ("two-spaces", req(" /json", "HEAD")), ("no-target", b"HEAD HTTP/1.1\r\nHost: h.test\r\n\r\n"),
    ("version-2", req("/json", "HEAD", version="HTTP/2.0")), ("junk-version", req("/json", "HEAD", version="HTTX/1.1")),
    ("long-target", req("/" + "a" * 9000, "HEAD")), ("large-field", req("/json", "HEAD", "X-A: " + "a" * 70000)),
    ("many-fields", req("/json", "HEAD", *(f"X-{i}: a" for i in range(200)))),
    ("expectation", req("/json", "HEAD", "Expect: x")), ("bad-chunk", req("/json", "HEAD", "Transfer-Encoding: chunked",
    body="x\r\n")), ("lf", b"HEAD /json HTTP/1.1\nHost: h.test\n\n"), ("nul", req("/json\0", "HEAD")),
):
    T.add(f"head-refused-{name}", MUST, wire, answers(R(ERRORS, body_is(b"")), end="closed"), "9110 9.3.2",
          methods=("HEAD",))
    T.add(f"head-refused-behind-get-{name}", MUST, req("/json") + wire,
          answers(ECHO_OK, R(ERRORS, body_is(b"")), end="closed"), "9110 9.3.2", methods=("GET", "HEAD"))
T.add("head-refused-bytewise", MUST, [Send(req("/json", "HEAD", "Content-Length: x"), 0)],
      answers(R(400, body_is(b"")), end="closed"), "9110 9.3.2", methods=("HEAD",))
T.add("header-is-not-head", SHOULD, req("/json", "HEADER", "Content-Length: x"),
      answers(R(400, lambda r: None if r.body else "no explanation"), end="closed"), "9110 15.5")


def length_of_get(response: Response) -> Optional[str]:
    length = response.get("Content-Length")
    return None if length in (None, str(len(OK_BODY))) else f"Content-Length {length}, GET has {len(OK_BODY)}"


T.add("head-length-of-get", MUST, req("/json", "HEAD"), answers(R(200, length_of_get)), "9110 8.6", methods=("HEAD",))
T.add("head-says-what-get-says", SHOULD, req("/json", "HEAD"),
      answers(R(200,
      lambda r: None if r.get("Content-Type") and r.get("Content-Length") else "no Content-Type or Content-Length")),
      "9110 9.3.2",
      methods=("HEAD",))

ALLOW_GET = R(405, allows("GET"))
for method in ("POST", "PUT", "DELETE", "PATCH"):
    T.add(f"405-{method.lower()}", MUST, req("/json", method, "Content-Length: 0") + FOLLOW,
          answers(ALLOW_GET, FOLLOWED), "9110 15.5.6",
          note="Allow must list the methods of the target")
T.add("405-get", MUST, req("/echo") + FOLLOW, answers(R(405, allows("POST")), FOLLOWED), "9110 15.5.6")
T.add("405-allows-head", SHOULD, req("/json", "DELETE"), answers(R(405, allows("GET", "HEAD"))), "9110 10.2.1")
T.add("options", SHOULD, req("/json", "OPTIONS") + FOLLOW, answers(R({200, 204}, allows("GET")), FOLLOWED),
      "9110 9.3.7")
T.add("options-post-route", SHOULD, req("/echo", "OPTIONS") + FOLLOW, answers(R({200, 204}, allows("POST")), FOLLOWED),
      "9110 9.3.7")
T.add("options-404", SHOULD, req("/nosuch", "OPTIONS") + FOLLOW, answers(R({200, 204, 404}), FOLLOWED), "9110 9.3.7")
T.add("options-asterisk", SHOULD, req("*", "OPTIONS") + FOLLOW, answers(R({200, 204}), FOLLOWED), "9110 9.3.7")
T.add("options-asterisk-body", MUST, req("*", "OPTIONS", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED) + FOLLOW,
      answers(R({200, 204, 404, 405, 501}), FOLLOWED) + refuses(*ERRORS), "9110 9.3.7")
T.add("options-asterisk-allow", MAY, req("*", "OPTIONS"), answers(R({200, 204}, allows("GET"))), "9110 9.3.7")
T.add("options-empty-has-length-0", MUST, req("/json", "OPTIONS"),
      answers(R({200, 204, 405}, lambda r: "ends with the connection" if r.until_close else None)), "9110 9.3.7")
T.add("404", MUST, req("/nosuch") + FOLLOW, answers(R(404), FOLLOWED), "9110 15.5.5")
T.add("404-post", MUST, req("/nosuch", "POST", "Content-Length: 2", body="ab") + FOLLOW, answers(R(404), FOLLOWED),
      "9110 15.5.5")
T.add("trace", MUST, req("/json", "TRACE", "Cookie: secret=1"),
      answers(R(ERRORS), end="any") + answers(R(200,
      lambda r: "TRACE gives the cookie back" if b"secret" in r.body else None), end="any"), "9110 9.3.8",
      note="fields that likely have secrets must not come back")
T.add("trace-any-route", MUST, req("/reflect", "TRACE", "Cookie: secret=1"),
      answers(R(ERRORS, allows("GET")), end="any") + answers(R(200,
      lambda r: "TRACE gives the cookie back" if b"secret" in r.body else None), end="any"), "9110 9.3.8")
T.add("connect-not-2xx", MUST, req("h.test:443", "CONNECT") + SMUGGLED, refuses(*ERRORS) +
      answers(R(ERRORS), R(200, saw(query="smuggled")), end="any"), "9110 9.3.6")
T.add("unknown-501", SHOULD, req("/json", "BREW"), answers(R(501), end="any"), "9110 9.1")
T.add("webdav-not-as-get", MUST, req("/json", "PROPFIND"), answers(R({400, 405, 501}), end="any"), "9110 9.1")
T.add("m-search-token", MUST, req("/json", "M-SEARCH"), answers(R({400, 405, 501}), end="any"), "9110 9.1")
T.add("query-not-as-get", MUST, req("/json", "QUERY"), answers(R({400, 405, 501}), end="any"), "9110 9.1")
T.add("unknown-at-404", MUST, req("/nosuch", "BREW"), answers(R({400, 404, 405, 501}), end="any"), "9110 9.1")
T.add("head-never-a-body-later", MUST, [Send(req("/sleep?ms=200", "HEAD") + FOLLOW)], answers(OK, FOLLOWED),
      "9110 9.3.2", methods=("HEAD", "GET"))
