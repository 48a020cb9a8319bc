"""What every answer must be: RFC 9110 6.6.1, 8.6, 15; RFC 9112 4, 6."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import Optional

from answers import Response
from model import (ECHO_OK, FOLLOW, FOLLOWED, MAY, MUST, OK, R, SHOULD, Send, Topic, answers, body_is, chunked, has,
                   post, req, size_is)

T = Topic("responses", "9110 6.6.1")
DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
MONTH = "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
FIXDATE = re.compile(DAY + r", \d\d " + MONTH + r" \d{4} \d\d:\d\d:\d\d GMT")


def dated(response: Response) -> Optional[str]:
    dates = response.all("Date")
    if len(dates) != 1:
        return f"Date {len(dates)} times"
    if not FIXDATE.fullmatch(dates[0]):
        return f"Date {dates[0]!r} is no IMF-fixdate"
    off = abs(parsedate_to_datetime(dates[0]).timestamp() - time.time())
    return f"Date is {off:.0f} s off" if off > 60 else None


for name, send, statuses, methods in (
    ("200", req("/json"), 200, ()), ("200-async", req("/async"), 200, ()), ("200-stream", req("/stream"), 200, ()),
    ("200-big", req("/big?bytes=70000"), 200, ()),
    ("200-head", req("/json", "HEAD"), 200, ("HEAD",)), ("200-1.0", req("/json", version="HTTP/1.0"), 200, ()),
    ("204", req("/nothing"), 204, ()),
    ("304", req("/cached"), 304, ()), ("404", req("/nosuch"), 404, ()), ("405", req("/json", "DELETE"), 405, ()),
    ("options", req("/json", "OPTIONS"), {200, 204, 405}, ()), ("400-no-host", req("/json", host=None), 400, ()),
    ("400-bad-length", req("/json", "POST", "Content-Length: x"), 400, ()),
    ("400-space-before-colon", req("/json", "GET", "X : 1"), 400, ()), ("400-bad-te",
    req("/json", "POST", "Transfer-Encoding: identity"), {400, 501}, ()),
    ("400-garbage", b"\x01\x02\r\n\r\n", 400, ()), ("400-bad-line", b"GET /json HTTP/1.1 x\r\nHost: h.test\r\n\r\n",
    400, ()),
    ("414", req("/" + "a" * 200000), {400, 404, 414, 431}, ()), ("431", req("/json", "GET", "X: " + "a" * 2000000),
    {200, 400, 413, 431}, ()),
):
    T.add(f"date-{name}", MUST, send, answers(R(statuses, dated), end="any"), methods=methods,
          note="every 2xx, 3xx and 4xx has a Date")
T.add("date-400-bad-chunk", MUST, chunked("zz\r\n"), answers(R(400, dated), end="any"))
T.add("date-413", MUST, req("/reflect", "POST", "Content-Length: 99999999999"), answers(R(413, dated), end="any"),
      needs=["body-limit"])
T.add("date-500", SHOULD, req("/fail"), answers(R(500, dated), end="any"))
T.add("date-501-505", MAY, req("/json", version="HTTP/2.0"), answers(R({400, 505}, dated), end="any"))


def lacks(*names: str) -> object:
    def check(response: Response) -> Optional[str]:
        there = [name for name in names if response.get(name) is not None]
        return f"has {there}" if there else None

    return check


T.add("204-no-length-no-coding", MUST, req("/nothing") + FOLLOW,
      answers(R(204, lacks("Content-Length", "Transfer-Encoding")), FOLLOWED), "9110 8.6")
T.add("304-no-body", MUST, req("/cached") + FOLLOW, answers(R(304, lacks("Transfer-Encoding")), FOLLOWED),
      "9110 15.4.5")
T.add("304-length-not-0", MUST, req("/cached"),
      answers(R(304,
      has(lambda r: r.get("Content-Length") != "0", "Content-Length 0, but a 200 would have a body"))),
      "9110 8.6", note="a length in a 304 must be that of the 200")
T.add("304-conditional-get", MUST, req("/cached", "GET", 'If-None-Match: "x"') + FOLLOW, answers(R(304), FOLLOWED),
      "9110 15.4.5")
T.add("304-head", MUST, req("/cached", "HEAD") + FOLLOW, answers(R(304), FOLLOWED), "9110 15.4.5",
      methods=("HEAD", "GET"))
T.add("204-head", MUST, req("/nothing", "HEAD") + FOLLOW, answers(R(204, lacks("Content-Length", "Transfer-Encoding")),
      FOLLOWED), "9110 8.6",
      methods=("HEAD", "GET"))
T.add("204-1.0", MUST, req("/nothing", version="HTTP/1.0"),
      answers(R(204, lacks("Content-Length", "Transfer-Encoding")), end="closed"), "9110 8.6")


def framed_for_1_1(response: Response) -> Optional[str]:
    return "not chunked, and ends with the connection" if response.until_close else None


T.add("stream-framed", SHOULD, req("/stream?chunks=4&bytes=100") + FOLLOW,
      answers(R(200, framed_for_1_1, body_is(b"x" * 400)), FOLLOWED) +
      answers(R(200, framed_for_1_1, body_is(b"\0" * 400)), FOLLOWED), "9112 6.3")
T.add("stream-empty", MUST, req("/stream?chunks=0") + FOLLOW, answers(R(200, body_is(b"")), FOLLOWED), "9112 7.1")
T.add("stream-many-chunks", MUST, req("/stream?chunks=500&bytes=1") + FOLLOW, answers(OK, FOLLOWED), "9112 7.1")


def not_chunked(response: Response) -> Optional[str]:
    return "chunked to a 1.0 client" if response.chunked or response.get("Transfer-Encoding") else None


T.add("stream-1.0-not-chunked", MUST, req("/stream?chunks=4&bytes=10", version="HTTP/1.0"),
      answers(R(200, not_chunked), end="closed"), "9112 6.1")
T.add("stream-1.0-whole", MUST, req("/stream?chunks=4&bytes=10", version="HTTP/1.0"),
      answers(R(200, size_is(40)), end="closed"), "9112 6.3")
T.add("json-1.0-not-chunked", MUST, req("/json", version="HTTP/1.0"),
      answers(R(200, not_chunked, body_is(b'{"ok":true}')), end="closed"), "9112 6.1")
T.add("404-1.0-not-chunked", MUST, req("/nosuch", version="HTTP/1.0"), answers(R(404, not_chunked), end="closed"),
      "9112 6.1")
T.add("version-of-1.1", MUST, req("/json"), answers(R(200, has(lambda r: r.version == "1.1", "not HTTP/1.1"))),
      "9110 2.5")
T.add("version-to-1.0", SHOULD, req("/json", version="HTTP/1.0"),
      answers(R(200, has(lambda r: r.version == "1.1", "not HTTP/1.1")), end="closed"),
      "9110 2.5", note="the highest version that the server conforms to, of the major version asked")
T.add("content-type", SHOULD, req("/json"), answers(R(200, has(lambda r: r.get("Content-Type"), "no Content-Type"))),
      "9110 8.3")
T.add("404-with-explanation", SHOULD, req("/nosuch"), answers(R(404, has(lambda r: r.body, "no body"))), "9110 15.5")
T.add("400-with-explanation", SHOULD, req("/json", host=None),
      answers(R(400, has(lambda r: r.body, "no body")), end="any"), "9110 15.5")
T.add("500-with-explanation", SHOULD, req("/fail"), answers(R(500, has(lambda r: r.body, "no body")), end="any"),
      "9110 15.6")
T.add("505-says-what-is-supported", SHOULD, req("/json", version="HTTP/2.0"),
      answers(R(505, has(lambda r: b"1.1" in r.body, "no HTTP/1.1 in the body")), end="any"), "9110 15.6.6")


def once(response: Response) -> Optional[str]:
    for name in ("Content-Length", "Date", "Content-Type", "Transfer-Encoding", "Server"):
        if len(response.all(name)) > 1:
            return f"{name} {len(response.all(name))} times"
    return None


for name, target, status in (("json", "/json", 200), ("stream", "/stream", 200), ("404", "/nosuch", 404),
    ("500", "/fail", 500), ("304", "/cached", 304)):
    T.add(f"single-fields-{name}", MUST, req(target), answers(R(status, once), end="any"), "9110 5.3")
T.add("range-ignored-or-206", MUST, req("/big?bytes=1000", "GET", "Range: bytes=0-9"), answers(R({200, 206})),
      "9110 14.2")
T.add("range-206-is-right", MUST, req("/big?bytes=1000", "GET", "Range: bytes=0-9"),
      answers(R(200, size_is(1000))) + answers(R(206, has(lambda r: r.get("Content-Range"), "no Content-Range"),
      size_is(10))),
      "9110 15.3.7")
T.add("echo-type-kept", MUST, post("abc", "Content-Type: x/y", target="/echo"),
      answers(R(200, has(lambda r: r.get("Content-Type") == "x/y", "another Content-Type"))), "9110 8.3")
T.add("500-hides-the-inside", SHOULD, req("/fail"),
      answers(R(500, has(lambda r: b"Traceback" not in r.body, "a traceback")), end="any"), "9110 15.6.1")
T.add("empty-body-has-length-0", MUST, post("", target="/echo") + FOLLOW, answers(R(200, body_is(b"")), FOLLOWED),
      "9112 6.3")
T.add("big-whole", MUST, req("/big?bytes=5000000") + FOLLOW, answers(R(200, size_is(5000000)), FOLLOWED), "9112 6.3")
T.add("no-stray-bytes-behind-head", MUST, req("/big?bytes=100000", "HEAD"), answers(R(200, body_is(b""))), "9110 9.3.2",
      methods=("HEAD",))
T.add("error-answer-is-flushed", MUST, [Send(req("/json", "POST", "Content-Length: x") + b"x" * 300000)],
      answers(R(400), end="closed"), "9112 9.6",
      note="no reset that eats the answer while the client still sends")
T.add("json-follow", MUST, req("/json") + req("/json"), answers(ECHO_OK, ECHO_OK), "9112 9.3")
