"""Preconditions and ranges of a file: RFC 9110 8.8, 13, 14, 15.3.7, 15.4.5, 15.5.17. The server serves servers.FILES."""

import email.parser
import re
from typing import Optional

from answers import Response
from model import (FOLLOW, FOLLOWED, MAY, MUST, SHOULD, Check, R, Topic, answers, body_is, has, req)

DATA = bytes(i * 7 % 251 for i in range(100000))
TEN = b"0123456789"
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"  # when both files were changed
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"

P = Topic("preconditions", "9110 13")
T = Topic("ranges", "9110 14")
NEEDS = ("files",)


def field(name: str, value: str) -> Check:
    return has(lambda r: r.get(name) == value, f"{name} is not {value}")


def lacks(*names: str) -> Check:
    return has(lambda r: all(r.get(name) is None for name in names), f"has one of {', '.join(names)}")


def there(*names: str) -> Check:
    return has(lambda r: all(r.get(name) is not None for name in names), f"lacks one of {', '.join(names)}")


WHOLE = R(200, body_is(TEN), lacks("Content-Range"))


def ask(*fields: str, target: str = "/files/ten", method: str = "GET") -> bytes:
    return req(target, method, *fields) + FOLLOW


def add(topic: Topic, id: str, level: str, answer: R, *fields: str, rfc: str = "", target: str = "/files/ten",
        method: str = "GET", note: str = "") -> None:
    topic.add(id, level, ask(*fields, target=target, method=method), answers(answer, FOLLOWED), rfc,
              methods=(method, "GET"), needs=NEEDS, note=note)


# -- validators --

add(P, "validators-are-sent", SHOULD, R(200, there("ETag", "Last-Modified"), field("Last-Modified", SAME)), rfc="9110 8.8.2.1")
add(P, "etag-is-one", MUST, R(200, has(lambda r: re.fullmatch(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"', r.get("ETag")),
    "ETag is no entity-tag")), rfc="9110 8.8.3")
add(P, "head-has-the-validators", SHOULD, R(200, there("ETag"), field("Last-Modified", SAME)), rfc="9110 9.3.2", method="HEAD")

# -- If-Match --

FAILED = R(412)
for id, value, answer in (
    ("star", "*", WHOLE), ("other", '"nope"', FAILED), ("list-of-others", '"nope", "other"', FAILED), ("weak", 'W/"nope"', FAILED),
    ("no-tag", "nope", FAILED), ("unended", '"nope', FAILED),
):
    add(P, f"if-match-{id}", MUST, answer, f"If-Match: {value}", rfc="9110 13.1.1")
add(P, "if-match-head", MUST, FAILED, 'If-Match: "nope"', rfc="9110 13.1.1", method="HEAD")
add(P, "if-match-lines", MUST, FAILED, 'If-Match: "nope"', 'If-Match: "other"', rfc="9110 13.1.1")

# -- If-None-Match --

NOT_MODIFIED = R(304, lacks("Transfer-Encoding"))
for id, value, answer in (
    ("star", "*", NOT_MODIFIED), ("other", '"nope"', WHOLE), ("weak", 'W/"nope"', WHOLE), ("list-of-others", '"nope","other"', WHOLE),
    ("comma-inside", '"a,b"', WHOLE), ("no-tag", "nope", WHOLE),
):
    add(P, f"if-none-match-{id}", MUST, answer, f"If-None-Match: {value}", rfc="9110 13.1.2")
add(P, "if-none-match-head", MUST, NOT_MODIFIED, "If-None-Match: *", rfc="9110 13.1.2", method="HEAD")
add(P, "304-has-the-etag", MUST, R(304, there("ETag", "Date")), "If-None-Match: *", rfc="9110 15.4.5")
add(P, "304-says-nothing-of-the-content", SHOULD, R(304, lacks("Content-Type", "Content-Range", "Content-Encoding")),
    "If-None-Match: *", rfc="9110 15.4.5")

# -- dates --

for id, value, answer in (
    ("same", SAME, NOT_MODIFIED), ("after", AFTER, NOT_MODIFIED), ("before", BEFORE, WHOLE),
    ("rfc850", "Sunday, 06-Nov-94 08:49:37 GMT", NOT_MODIFIED), ("asctime", "Sun Nov  6 08:49:37 1994", NOT_MODIFIED),
    ("rfc850-before", "Sunday, 06-Nov-94 08:49:36 GMT", WHOLE), ("asctime-before", "Sun Nov  6 08:49:36 1994", WHOLE),
    ("no-date", "yesterday", WHOLE), ("number", "784111777", WHOLE), ("list", f"{SAME}, {SAME}", WHOLE),
    ("bad-month", "Sun, 06 Nvo 1994 08:49:37 GMT", WHOLE), ("bad-day", "Sun, 32 Nov 1994 08:49:37 GMT", WHOLE),
    ("bad-hour", "Sun, 06 Nov 1994 24:49:37 GMT", WHOLE),
):
    add(P, f"if-modified-since-{id}", MUST, answer, f"If-Modified-Since: {value}", rfc="9110 13.1.3")
add(P, "if-modified-since-twice", MUST, WHOLE, f"If-Modified-Since: {SAME}", f"If-Modified-Since: {SAME}", rfc="9110 13.1.3")
add(P, "if-modified-since-behind-if-none-match", MUST, WHOLE, 'If-None-Match: "nope"', f"If-Modified-Since: {AFTER}",
    rfc="9110 13.1.3")
for id, value, answer in (
    ("same", SAME, WHOLE), ("after", AFTER, WHOLE), ("before", BEFORE, FAILED), ("no-date", "yesterday", WHOLE),
    ("list", f"{BEFORE}, {BEFORE}", WHOLE), ("rfc850-before", "Sunday, 06-Nov-94 08:49:36 GMT", FAILED),
    ("asctime-before", "Sun Nov  6 08:49:36 1994", FAILED),
):
    add(P, f"if-unmodified-since-{id}", MUST, answer, f"If-Unmodified-Since: {value}", rfc="9110 13.1.4")
add(P, "if-unmodified-since-behind-if-match", MUST, WHOLE, "If-Match: *", f"If-Unmodified-Since: {BEFORE}", rfc="9110 13.1.4")

# -- order --

for id, fields, answer in (
    ("match-then-none-match", ("If-Match: *", "If-None-Match: *"), NOT_MODIFIED),
    ("failed-match-first", ('If-Match: "nope"', "If-None-Match: *"), FAILED),
    ("failed-match-first-whatever-the-order", ("If-None-Match: *", 'If-Match: "nope"'), FAILED),
    ("unmodified-then-none-match", (f"If-Unmodified-Since: {BEFORE}", "If-None-Match: *"), FAILED),
    ("both-dates", (f"If-Unmodified-Since: {SAME}", f"If-Modified-Since: {SAME}"), NOT_MODIFIED),
    ("range-after-none-match", ("Range: bytes=0-1", "If-None-Match: *"), NOT_MODIFIED),
    ("range-after-match", ("Range: bytes=0-1", 'If-Match: "nope"'), FAILED),
    ("unsatisfiable-after-match", ("Range: bytes=99-", 'If-Match: "nope"'), FAILED),
):
    add(P, f"order-{id}", MUST, answer, *fields, rfc="9110 13.2.2")
add(P, "not-for-404", MUST, R(404), 'If-Match: "nope"', "If-None-Match: *", rfc="9110 13.2.1", target="/files/none")
add(P, "not-for-options", MUST, R({200, 204, 405}), 'If-Match: "nope"', rfc="9110 13.2.1", method="OPTIONS")

# -- one range --


def part(first: int, last: int, of: bytes = TEN) -> R:
    return R(206, body_is(of[first : last + 1]), field("Content-Range", f"bytes {first}-{last}/{len(of)}"),
             field("Content-Length", str(last - first + 1)))


UNSATISFIABLE = R(416, field("Content-Range", "bytes */10"))
for id, value, answer in (
    ("first", "bytes=0-0", part(0, 0)), ("all", "bytes=0-9", part(0, 9)), ("beyond", "bytes=0-10", part(0, 9)),
    ("open", "bytes=4-", part(4, 9)), ("last", "bytes=9-", part(9, 9)), ("suffix", "bytes=-3", part(7, 9)),
    ("suffix-beyond", "bytes=-99", part(0, 9)), ("unit-case", "BYTES=2-3", part(2, 3)),
    ("huge-last", "bytes=5-" + "9" * 40, part(5, 9)), ("huge-suffix", "bytes=-" + "9" * 40, part(0, 9)),
    ("2-64", "bytes=0-18446744073709551616", part(0, 9)), ("blank-behind", "bytes=2-3 ", part(2, 3)),
    ("empty-members", "bytes=,2-3,", part(2, 3)),
):
    T.add(f"one-{id}", SHOULD, ask(f"Range: {value}"), answers(answer, FOLLOWED), "9110 14.2", needs=NEEDS)
for id, value in (("beyond", "bytes=10-"), ("far-beyond", "bytes=99-100"), ("suffix-0", "bytes=-0"),
                  ("huge", "bytes=" + "9" * 40 + "-"), ("several", "bytes=10-,20-")):
    T.add(f"unsatisfiable-{id}", SHOULD, ask(f"Range: {value}"), answers(UNSATISFIABLE, FOLLOWED), "9110 14.2, 15.5.17", needs=NEEDS)
for id, value in (
    ("unit", "lines=0-1"), ("no-unit", "0-1"), ("no-equals", "bytes 0-1"), ("reversed", "bytes=3-2"), ("letters", "bytes=a-b"),
    ("no-dash", "bytes=1"), ("dash", "bytes=-"), ("empty", "bytes="), ("sign", "bytes=+1-2"), ("hex", "bytes=0x1-2"),
    ("one-of-two", "bytes=0-1,x"), ("blank-inside", "bytes=0 -1"), ("two-dashes", "bytes=0-1-2"), ("float", "bytes=0.5-2"),
):
    T.add(f"bad-{id}", MUST, ask(f"Range: {value}"), answers(R({200, 416}, lacks("Transfer-Encoding")), FOLLOWED), "9110 14.2",
          needs=NEEDS, note="ignored, or 416; never a part that nobody asked for")
add(T, "unknown-unit-ignored", MUST, WHOLE, "Range: lines=0-1", rfc="9110 14.2")
add(T, "head-ignores", MUST, R(200, field("Content-Length", "10"), lacks("Content-Range")), "Range: bytes=0-1", rfc="9110 14.2",
    method="HEAD")
add(T, "accept-ranges", MAY, R(200, field("Accept-Ranges", "bytes")), rfc="9110 14.3")
add(T, "206-has-what-200-has", MUST, R(206, there("Date", "ETag", "Content-Type"), field("Last-Modified", SAME)),
    "Range: bytes=0-1", rfc="9110 15.3.7")
add(T, "1.0-too", MAY, R({200, 206}), "Range: bytes=0-1")

# -- If-Range --

for id, value, answer in (
    ("other", '"nope"', WHOLE), ("weak", 'W/"nope"', WHOLE), ("before", BEFORE, WHOLE), ("after", AFTER, WHOLE), ("no-date", "yesterday", WHOLE),
):
    add(T, f"if-range-{id}", MUST, answer, "Range: bytes=0-1", f"If-Range: {value}", rfc="9110 13.1.5")
add(T, "if-range-same-date", SHOULD, part(0, 1), "Range: bytes=0-1", f"If-Range: {SAME}", rfc="9110 13.1.5")
add(T, "if-range-alone-ignored", MUST, WHOLE, 'If-Range: "nope"', rfc="9110 13.1.5")
add(T, "if-range-other-not-416", MUST, WHOLE, "Range: bytes=99-", 'If-Range: "nope"', rfc="9110 13.1.5")

# -- several --


def parts(*ranges: tuple) -> Check:
    """Each part, read by Python's own reader of MIME."""

    def check(response: Response) -> Optional[str]:
        kind = response.get("Content-Type") or ""
        if not kind.startswith("multipart/byteranges"):
            return f"Content-Type {kind}"
        if response.get("Content-Range") is not None:
            return "Content-Range outside of the parts"
        message = email.parser.BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + response.body)
        if not message.is_multipart() or message.defects:
            return "no multipart message"
        seen = [piece["Content-Range"] for piece in message.get_payload()]
        wanted = [f"bytes {a}-{b}/{len(DATA)}" for a, b in ranges]
        if seen != wanted:
            return f"parts {seen}, not {wanted}"
        if any(piece["Content-Type"] is None for piece in message.get_payload()):
            return "a part without the Content-Type of the whole"
        return None if all(b"\r\n\r\n" + DATA[a : b + 1] + b"\r\n--" in response.body for a, b in ranges) else "other bytes"

    return check


for id, value, ranges in (
    ("two", "bytes=0-9,50000-50009", ((0, 9), (50000, 50009))), ("three", "bytes=0-0, 500-600, -10", ((0, 0), (500, 600), (99990, 99999))),
    ("large", "bytes=0-29999,40000-99999", ((0, 29999), (40000, 99999))), ("one-beyond", "bytes=0-9,700-709,100000-", ((0, 9), (700, 709))),
):
    T.add(f"several-{id}", SHOULD, ask(f"Range: {value}", target="/files/data"), answers(R(206, parts(*ranges)), FOLLOWED),
          "9110 15.3.7.2", needs=NEEDS)
add(T, "several-of-which-one-is-left", MUST, part(2, 3), "Range: bytes=2-3,99-", rfc="9110 15.3.7.2",
    note="no multipart when one range was asked for, or one is left")
for id, value in (("overlapping", ",".join(["0-"] * 16)), ("many-small", ",".join(f"{i * 2}-{i * 2}" for i in range(5000))),
                  ("same-thousandfold", ",".join(["0-99999"] * 1000)), ("reversed-overlapping", ",".join(f"{i}-" for i in range(15, 0, -1)))):
    T.add(f"attack-{id}", SHOULD, ask(f"Range: bytes={value}", target="/files/data"),
          answers(R({200, 206, 416}, has(lambda r: len(r.body) <= len(DATA) + 4000, "more bytes than the file and some heads")), FOLLOWED),
          "9110 17.15", needs=NEEDS)
