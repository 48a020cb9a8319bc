"""The Host field: RFC 9112 3.2, RFC 9110 7.2, RFC 3986 3.2."""

from model import ECHO_OK, FOLLOWED, FOLLOW, MUST, R, SHOULD, Topic, answers, refuses, req, saw_field

T = Topic("host", "9112 3.2")
BAD = refuses(400, end="any")

T.add("empty", MUST, req("/json", host=""), answers(ECHO_OK) + BAD, "9112 3.3",
      note="a scheme that needs an authority has none: refused, or a default is taken")

T.add("missing", MUST, req("/json", host=None), BAD)
T.add("missing-other-fields", MUST, req("/json", "GET", "Accept: */*", "X-Host: h.test", host=None), BAD)
T.add("missing-post", MUST, req("/echo", "POST", "Content-Length: 3", body="abc", host=None), BAD)
T.add("missing-options-asterisk", MUST, req("*", "OPTIONS", host=None), BAD)
T.add("missing-not-executed-behind", MUST, req("/json", host=None) + FOLLOW,
      refuses(400) + answers(R(400), FOLLOWED, end="any"))
T.add("twice-different", MUST, req("/json", "GET", "Host: other.test"), BAD)
T.add("twice-same", MUST, req("/json", "GET", "Host: h.test"), BAD)
T.add("twice-apart", MUST, req("/json", "GET", "X-A: 1", "X-B: 2", "host: other.test"), BAD)
T.add("twice-second-empty", MUST, req("/json", "GET", "Host:"), BAD)
T.add("twice-first-empty", MUST, req("/json", "GET", "Host: h.test", host=""), BAD)
T.add("twice-1.0", MUST, req("/json", "GET", "Host: other.test", version="HTTP/1.0"), BAD,
      note="'any request message' has more than one: 1.0 too")
T.add("three-times", MUST, req("/json", "GET", "HOST: h.test", "hOsT: h.test"), BAD)

for name, host in (
    ("name", "h.test"), ("port", "h.test:8080"), ("upper", "H.TEST"), ("ipv4", "127.0.0.1"),
    ("ipv4-port", "127.0.0.1:80"),
    ("ipv6", "[::1]"), ("ipv6-port", "[2001:db8::1]:8080"), ("single-label", "localhost"),
):
    T.add(f"good-{name}", MUST, req("/json", host=host), answers(ECHO_OK), "9110 7.2")
for name, host in (
    ("empty-port", "h.test:"), ("ipv6-ipv4", "[::ffff:1.2.3.4]"), ("ipv6-full", "[1:2:3:4:5:6:7:8]"),
    ("underscore", "a_b.test"), ("tilde", "a~b"), ("pct", "a%20b"), ("sub-delims", "a!$&'()*+,;=b"),
    ("trailing-dot", "h.test."),
    ("ipvfuture", "[v1.a:b]"), ("punycode", "xn--bcher-kva.test"),
):
    T.add(f"good-{name}", SHOULD, req("/json", host=host), answers(ECHO_OK), "9110 7.2")

for name, host in (
    ("space", "a b"), ("tab", "a\tb"), ("slash", "h.test/x"), ("url", "http://h.test"), ("userinfo", "user@h.test"),
    ("query", "h.test?x"), ("fragment", "h.test#x"), ("list", "h.test, other.test"), ("port-letters", "h.test:http"),
    ("port-minus", "h.test:-1"), ("port-plus", "h.test:+80"), ("port-space", "h.test:8 0"), ("port-hex", "h.test:0x50"),
    ("two-ports", "h.test:80:80"), ("ipv6-bare", "::1"), ("ipv6-bare-long", "2001:db8::1"), ("ipv6-open", "[::1"),
    ("ipv6-close", "::1]"), ("ipv6-empty", "[]"), ("ipv6-no-hex", "[g::1]"), ("ipv6-tail", "[::1]x"),
    ("ipv6-tail-port", "[::1]x:80"), ("ipv6-two-gaps", "[1::2::3]"), ("ipv6-nine", "[1:2:3:4:5:6:7:8:9]"),
    ("ipv6-five-digits", "[12345::1]"), ("ipv6-ipv4-inside", "[127.0.0.1]"), ("ipv6-name", "[h.test]"),
    ("ipv6-port-letters", "[::1]:x"), ("ipv6-seven", "[1:2:3:4:5:6:7]"), ("ipv6-bad-ipv4", "[::1.2.3.256]"),
    ("pct-bare", "a%b"), ("pct-end", "a%"), ("pct-short", "a%2"), ("pct-letters", "a%zz"), ("backslash", "h.test\\x"),
    ("angle", "<h.test>"), ("quote", '"h.test"'), ("brace", "{h}"), ("bar", "a|b"), ("caret", "a^b"),
    ("backtick", "a`b"),
    ("at-only", "@"), ("high", "h\xe9.test"), ("bracket-inside", "a[b]"), ("ipvfuture-empty", "[v1.]"),
):
    T.add(f"bad-{name}", MUST, req("/json", host=host), BAD)
for name, host in (("nul", b"h\0.test"), ("soh", b"h\x01.test"), ("del", b"h\x7f.test"), ("cr", b"h\r.test"),
    ("vt", b"h\x0b.test")):
    T.add(f"bad-{name}", MUST, req("/json", host=host), refuses(400, silent=True, end="any"))
T.add("bad-1.0", MUST, req("/json", host="a b", version="HTTP/1.0"), BAD)
T.add("bad-first-then-good", MUST, req("/json", host="a/b") + FOLLOW, refuses(400) +
      answers(R(400), FOLLOWED, end="any"))
T.add("space-before-colon", MUST, b"GET /json HTTP/1.1\r\nHost : h.test\r\n\r\n", BAD, "9112 5.1")
T.add("name-case", MUST, b"GET /json HTTP/1.1\r\nhOST:h.test\r\n\r\n", answers(ECHO_OK), "9110 5.1")
T.add("white-space-around", MUST, b"GET /reflect HTTP/1.1\r\nHost: \t h.test \t \r\n\r\n",
      answers(R(200, saw_field("Host", "h.test"))), "9112 5.1")
T.add("last-of-the-fields", MUST, req("/json", "GET", "A: 1", "B: 2", "Host: h.test", host=None), answers(ECHO_OK),
      "9110 7.2")
T.add("folded", MUST, b"GET /json HTTP/1.1\r\nHost:\r\n h.test\r\n\r\n",
      refuses(400, silent=True) + answers(ECHO_OK, end="any"), "9112 5.2")
T.add("folded-two", MUST, b"GET /json HTTP/1.1\r\nHost: h.test\r\n other.test\r\n\r\n", refuses(400, end="any"),
      "9112 5.2",
      note="as a fold it is 'h.test other.test', which is no host")
T.add("first-line-with-space", MUST, b"GET /json HTTP/1.1\r\n Host: h.test\r\n\r\n", refuses(400, silent=True),
      "9112 2.2",
      note="rejected as a whole, or the line is ignored and Host is missing")
