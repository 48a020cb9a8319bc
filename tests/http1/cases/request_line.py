"""The request line: RFC 9112 3, 2.2, 2.3; RFC 9110 2.5, 9.1."""

from model import (ANY_4XX, ECHO_OK, ERRORS, FOLLOW, FOLLOWED, MAY, MUST, OK, R, SHOULD, SMUGGLED, Topic, answers, post,
                   refuses, req, saw)

T = Topic("request-line", "9112 3")
END = b"\r\nHost: h.test\r\n\r\n"

# -- forms of the target --
T.add("origin-form", MUST, req("/reflect?a=b"), answers(R(200, saw("GET", "/reflect", "a=b"))), "9112 3.2.1")
T.add("origin-form-root", MUST, req("/"), answers(OK), "9112 3.2.1")
T.add("origin-form-empty-query", MUST, req("/reflect?"), answers(R(200, saw(path="/reflect", query=""))), "9112 3.2.1")
T.add("query-with-question-marks-and-slashes", MUST, req("/reflect?a?b/c=/?"), answers(R(200, saw(query="a?b/c=/?"))),
      "9112 3.2.1")
T.add("absolute-form", MUST, req("http://h.test/reflect?a"), answers(R(200, saw("GET", "/reflect", "a"))), "9112 3.2.2")
T.add("absolute-form-port", MUST, req("http://h.test:80/reflect?a"), answers(R(200, saw(path="/reflect"))),
      "9112 3.2.2")
T.add("absolute-form-other-host-wins", MUST, req("http://other.test/reflect", host="h.test"), answers(OK), "9112 3.2.2")
T.add("absolute-form-host-empty", MUST, req("http://h.test/reflect?a", host=""), answers(R(200, saw(query="a"))),
      "9112 3.2.2", note="Host does not count there; an empty one is well-formed")
T.add("absolute-form-host-bad", MUST, req("http://h.test/json", host="a b"), refuses(400, end="any"), "9112 3.2")
T.add("absolute-form-without-host", MUST, req("http://h.test/json", host=None), refuses(400, end="any"), "9112 3.2")
T.add("absolute-form-two-hosts", MUST, req("http://h.test/json", "GET", "Host: h.test"), refuses(400, end="any"),
      "9112 3.2")
T.add("absolute-form-scheme-case", MUST, req("HTTP://H.TEST/json"), answers(ECHO_OK), "9110 4.2.3")
T.add("absolute-form-empty-path", SHOULD, req("http://h.test"), answers(OK), "9110 4.2.3")
T.add("absolute-form-query-without-path", SHOULD, req("http://h.test?x=1"), answers(OK), "9110 4.2.3")
T.add("absolute-form-ipv6", MUST, req("http://[::1]:8080/json", host="[::1]:8080"), answers(ECHO_OK), "9112 3.2.2")
T.add("absolute-form-empty-host", MUST, req("http:///json"), refuses(400, end="any"), "9110 4.2.1",
      note="a recipient MUST reject an http URI with an empty host")
T.add("absolute-form-userinfo", SHOULD, req("http://user:secret@h.test/json"), refuses(400, end="any"), "9110 4.2.4")
T.add("absolute-form-bad-port", SHOULD, req("http://h.test:8o/json"), refuses(400, end="any"), "9112 3.2")
T.add("absolute-form-bad-ipv6", SHOULD, req("http://[::1/json"), refuses(400, end="any"), "9112 3.2")
T.add("absolute-form-https", MUST, req("https://h.test/json"), refuses(*ANY_4XX, end="any"), "9110 7.4",
      note="not over a connection without TLS, unless from a gateway that the server trusts")
T.add("absolute-form-https-empty-host", MUST, req("https:///json"), refuses(*ANY_4XX, end="any"), "9110 4.2.2")
T.add("absolute-form-pipelined", MUST, req("http://h.test/reflect?1") + FOLLOW,
      answers(R(200, saw(query="1")), FOLLOWED),
      "9112 3.2.2")
T.add("absolute-form-1.0", MUST, req("http://h.test/json", version="HTTP/1.0"), answers(ECHO_OK, end="closed"),
      "9112 3.2.2")
T.add("asterisk-options", SHOULD, req("*", "OPTIONS"), answers(R({200, 204})), "9112 3.2.4")
T.add("asterisk-get", SHOULD, req("*"), refuses(400, 404, end="any"), "9112 3.2.4")
T.add("asterisk-post", SHOULD, req("*", "POST", "Content-Length: 0"), refuses(400, 404, 405, end="any"), "9112 3.2.4")
T.add("asterisk-and-more", SHOULD, req("*/json", "OPTIONS"), refuses(400, end="any"), "9112 3.2.4")
T.add("authority-form-get", SHOULD, req("h.test:80"), refuses(400, end="any"), "9112 3.2.3")
T.add("authority-form-connect", MUST, req("h.test:80", "CONNECT", host="h.test:80"), refuses(*ERRORS, end="any"),
      "9112 3.2.3",
      note="an origin server that is no proxy must not open a tunnel")
T.add("connect-origin-form", SHOULD, req("/json", "CONNECT"), refuses(400, 405, 501, end="any"), "9112 3.2.3")
T.add("connect-without-port", SHOULD, req("h.test", "CONNECT"), refuses(400, 404, 405, 501, end="any"), "9110 9.3.6",
      note="a server MUST reject a CONNECT request that targets an empty or invalid port number")
T.add("connect-empty-port", MUST, req("h.test:", "CONNECT"), refuses(*ERRORS, end="any"), "9110 9.3.6")
T.add("connect-bad-port", MUST, req("h.test:http", "CONNECT"), refuses(*ERRORS, end="any"), "9110 9.3.6")
T.add("relative-target", SHOULD, req("json"), refuses(400, end="any"), "9112 3.2")
T.add("fragment", SHOULD, req("/json#f"), refuses(400, end="any"), "9112 3.2")
T.add("fragment-in-query", SHOULD, req("/reflect?a#f"), refuses(400, end="any"), "9112 3.2")

# -- spaces and missing parts (a recipient MAY split on runs of white space, but must not take the wrong parts) --
T.add("space-in-target", SHOULD, req("/reflect?a b"), refuses(301, 400), "9112 3.2")
T.add("space-in-path", SHOULD, req("/re flect"), refuses(301, 400), "9112 3.2")
T.add("tab-in-target", SHOULD, req("/reflect?a\tb"), refuses(301, 400), "9112 3.2")
EITHER = answers(R(200, saw("GET", "/reflect", "x")), end="any") + refuses(400, silent=True)
T.add("two-spaces-behind-method", MUST, b"GET  /reflect?x HTTP/1.1" + END, EITHER)
T.add("two-spaces-behind-target", MUST, b"GET /reflect?x  HTTP/1.1" + END, EITHER)
T.add("tab-behind-method", MUST, b"GET\t/reflect?x HTTP/1.1" + END, EITHER)
T.add("tab-behind-target", MUST, b"GET /reflect?x\tHTTP/1.1" + END, EITHER)
T.add("space-behind-version", MUST, b"GET /reflect?x HTTP/1.1 " + END, EITHER)
T.add("tab-behind-version", MUST, b"GET /reflect?x HTTP/1.1\t" + END, EITHER)
T.add("vt-behind-method", MUST, b"GET\x0b/reflect?x HTTP/1.1" + END, EITHER)
T.add("cr-behind-method", MUST, b"GET\r/reflect?x HTTP/1.1" + END, EITHER, "9112 2.2")
T.add("cr-behind-target", MUST, b"GET /reflect?x\rHTTP/1.1" + END, EITHER, "9112 2.2")
T.add("space-before-method", SHOULD, b" GET /json HTTP/1.1" + END, refuses(400, silent=True))
T.add("tab-before-method", SHOULD, b"\tGET /json HTTP/1.1" + END, refuses(400, silent=True))
T.add("extra-word", SHOULD, b"GET /json HTTP/1.1 x" + END, refuses(400, silent=True))
T.add("two-versions", SHOULD, b"GET /json HTTP/1.1 HTTP/1.1" + END, refuses(400, silent=True))
T.add("no-version", SHOULD, b"GET /json" + END, refuses(400, 505, silent=True), "9112 2.2")
T.add("no-version-trailing-space", SHOULD, b"GET /json " + END, refuses(400, 505, silent=True), "9112 2.2")
T.add("http-0.9", SHOULD, b"GET /json\r\n", refuses(400, 505, silent=True), "9112 2.2")
T.add("no-target", SHOULD, b"GET HTTP/1.1" + END, refuses(400, silent=True))
T.add("no-target-two-spaces", SHOULD, b"GET  HTTP/1.1" + END, refuses(400, silent=True))
T.add("no-method", SHOULD, b"/json HTTP/1.1" + END, refuses(400, silent=True))
T.add("method-only", SHOULD, b"GET" + END, refuses(400, silent=True))
T.add("response-as-request", SHOULD, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      refuses(400, 501, 505, silent=True))
T.add("garbage", SHOULD, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", refuses(400, silent=True), "9112 2.2")
T.add("http2-preface", SHOULD, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refuses(400, 405, 501, 505, silent=True),
      "9113 3.4")
T.add("nothing-but-crlf-then-request", SHOULD, b"\r\n" + req("/reflect?x"), answers(R(200, saw(query="x"))), "9112 2.2")
T.add("two-empty-lines-before", MUST, b"\r\n\r\n" + req("/reflect?x"),
      answers(R(200, saw(query="x"))) + refuses(400, silent=True), "9112 2.2")
T.add("bare-lf-line-before", MUST, b"\n" + req("/reflect?x"),
      answers(R(200, saw(query="x"))) + refuses(400, silent=True), "9112 2.2")
T.add("bare-cr-before", MUST, b"\r" + req("/reflect?x"),
      answers(R(200, saw(query="x")), end="any") + refuses(400, silent=True), "9112 2.2")
T.add("crlf-behind-a-body", SHOULD, post("abc") + b"\r\n" + FOLLOW, answers(R(200, saw(body="abc")), FOLLOWED),
      "9112 2.2")

# -- bytes that no part may have --
for name, byte in (("nul", b"\0"), ("del", b"\x7f"), ("esc", b"\x1b"), ("high", b"\xe9"), ("soh", b"\x01")):
    T.add(f"{name}-in-target", SHOULD, req(b"/reflect?a" + byte + b"b"), refuses(400, end="any", silent=True),
          "9112 3.2")
for name, byte in (("nul", b"\0"), ("at", b"@"), ("colon", b":"), ("brace", b"{"), ("high", b"\xe9"), ("comma", b","),
                   ("quote", b'"'), ("slash", b"/")):
    T.add(f"{name}-in-method", SHOULD, req("/reflect", b"GE" + byte + b"T"), refuses(400, 501, silent=True), "9110 9.1")
for name, text in (("quote", '"'), ("angle", "<"), ("backslash", "\\"), ("caret", "^"), ("backtick", "`"),
    ("brace", "{"),
                   ("bar", "|")):
    T.add(f"{name}-in-target", MAY, req(f"/reflect?a{text}b"), refuses(400, end="any"), "3986 2",
          note="not allowed in a URI; common clients send some of them")

# -- method --
for name, method in (("lower", "get"), ("mixed", "Get"), ("tail", "GETX"), ("head-of", "GE")):
    T.add(f"method-{name}", MUST, req("/json", method), refuses(400, 405, 501, end="any"), "9110 9.1",
          note="methods are case-sensitive: it must not be taken for GET")
T.add("method-unknown", SHOULD, req("/json", "BREW"), refuses(405, 501, end="any"), "9110 9.1")
T.add("method-unknown-then-follow", MUST, req("/json", "BREW") + FOLLOW,
      answers(R({400, 405, 501}), FOLLOWED, end="any") + refuses(400, 405, 501), "9110 9.1")
T.add("method-token-chars", SHOULD, req("/json", "!#$%&'*+-.^_`|~1"), refuses(400, 405, 501, end="any"), "9110 9.1")
T.add("method-long", SHOULD, req("/json", "M" * 200), refuses(400, 405, 501, end="any"), "9112 3")
T.add("method-very-long", MUST, req("/json", "M" * 100000), refuses(400, 405, 414, 431, 501, silent=True, end="any"),
      "9112 3")

# -- version --
T.add("http-1.0", MUST, req("/json", version="HTTP/1.0"), answers(ECHO_OK, end="closed"), "9110 2.5")
T.add("http-1.0-without-host", MUST, req("/json", version="HTTP/1.0", host=None), answers(ECHO_OK, end="closed"),
      "9112 3.2")
T.add("http-1.2", SHOULD, req("/json", version="HTTP/1.2"), answers(ECHO_OK), "9110 2.5",
      note="a higher minor version SHOULD be processed as the highest one known")
T.add("http-1.9", SHOULD, req("/json", version="HTTP/1.9"), answers(ECHO_OK), "9110 2.5")
T.add("http-1.2-without-host", MUST, req("/json", version="HTTP/1.2", host=None), refuses(400, 505, end="any"),
      "9112 3.2")
for name, version in (("2.0", "HTTP/2.0"), ("3.0", "HTTP/3.0"), ("9.9", "HTTP/9.9")):
    T.add(f"http-{name}", SHOULD, req("/json", version=version), refuses(505, end="any"), "9110 15.6.6")
    T.add(f"http-{name}-not-served", MUST, req("/json", version=version), refuses(400, 505, silent=True, end="any"),
          "9110 2.5")
for name, version in (
    ("lower", "http/1.1"), ("mixed", "Http/1.1"), ("0.9", "HTTP/0.9"), ("two-digits", "HTTP/1.10"),
    ("zeros", "HTTP/01.1"),
    ("no-minor", "HTTP/1"), ("no-minor-dot", "HTTP/1."), ("no-major", "HTTP/.1"), ("comma", "HTTP/1,1"),
    ("letter", "HTTP/1.x"), ("tail", "HTTP/1.1x"), ("three", "HTTP/1.1.1"), ("https", "HTTPS/1.1"), ("htp", "HTP/1.1"),
    ("plus", "HTTP/+1.1"), ("minus", "HTTP/-1.1"), ("no-slash", "HTTP1.1"), ("backslash", "HTTP\\1.1"),
    ("nul", "HTTP/1.1\0"),
    ("hex", "HTTP/0x1.1"), ("name", "ICE/1.0"),
):
    T.add(f"version-{name}", SHOULD, req("/json", version=version), refuses(400, 505, silent=True), "9112 2.3")
T.add("version-space-inside", SHOULD, req("/json", version="HTTP/ 1.1"), refuses(400, 505, silent=True), "9112 2.3")
T.add("version-space-before-slash", SHOULD, req("/json", version="HTTP /1.1"), refuses(400, 505, silent=True),
      "9112 2.3")
T.add("bad-line-hides-no-request", MUST, b"GET /json HTTP/1.1 x" + END + SMUGGLED, refuses(400, silent=True),
      "9112 2.2")

# -- line ends: a recipient MAY take a bare LF as the end of a line --
LENIENT = answers(R(200, saw("GET", "/reflect", "x")), end="any") + refuses(400, silent=True)
T.add("bare-lf-behind-line", MUST, b"GET /reflect?x HTTP/1.1\nHost: h.test\r\n\r\n", LENIENT, "9112 2.2")
T.add("bare-lf-everywhere", MUST, b"GET /reflect?x HTTP/1.1\nHost: h.test\n\n", LENIENT, "9112 2.2")
T.add("bare-cr-behind-line", MUST, b"GET /json HTTP/1.1\rHost: h.test\r\n\r\n", refuses(400, silent=True), "9112 2.2")
T.add("bare-cr-everywhere", MUST, b"GET /json HTTP/1.1\rHost: h.test\r\r" + SMUGGLED, refuses(400, silent=True),
      "9112 2.2")
T.add("cr-cr-lf", MUST, b"GET /reflect?x HTTP/1.1\r\r\nHost: h.test\r\n\r\n", LENIENT, "9112 2.2")

# -- more targets --
T.add("absolute-form-at-in-path", MUST, req("http://h.test/users/a@b"), answers(OK), "9112 3.2.2",
      note="no userinfo: the @ stands behind the /")
T.add("absolute-form-at-in-query", MUST, req("http://h.test/reflect?a@b:c/d"),
      answers(R(200, saw(path="/reflect", query="a@b:c/d"))), "9112 3.2.2")
T.add("absolute-form-url-in-path", MUST, req("http://h.test/users/http:x"), answers(OK), "9112 3.2.2")
T.add("absolute-form-fragment", SHOULD, req("http://h.test/json#f"), refuses(400, end="any"), "9112 3.2.2")
T.add("absolute-form-one-slash", SHOULD, req("http:/json"), refuses(400, end="any"), "9112 3.2.2")
T.add("absolute-form-empty-port", SHOULD, req("http://h.test:/json"), answers(ECHO_OK), "9112 3.2.2")
T.add("absolute-form-port-only", MUST, req("http://:80/json"), refuses(400, end="any"), "9110 4.2.1")
T.add("absolute-form-empty-host-field", MUST, req("http://h.test/json", host=""), answers(ECHO_OK) +
      refuses(400, end="any"), "9112 3.2.2")
T.add("absolute-form-other-scheme", MAY, req("ftp://h.test/json"), refuses(400, 404, 421, 501, end="any"), "9110 7.4")
T.add("absolute-form-options", MAY, req("http://h.test", "OPTIONS"), answers(R({200, 204})), "9112 3.2.4")
T.add("query-only-target", SHOULD, req("?x"), refuses(400, end="any"), "9112 3.2")
T.add("dot-target", SHOULD, req("./json"), refuses(400, end="any"), "9112 3.2")
T.add("percent-target", SHOULD, req("/%"), refuses(400, 404, end="any"), "3986 2.1")
T.add("connect-port-zero", MUST, req("h.test:0", "CONNECT"), refuses(*ERRORS, end="any"), "9110 9.3.6")
T.add("http-1.2-chunked", SHOULD, req("/reflect", "POST", "Transfer-Encoding: chunked", body="1\r\na\r\n0\r\n\r\n",
      version="HTTP/1.2") + FOLLOW,
      answers(R(200, saw(body="a")), FOLLOWED), "9110 2.5")
T.add("http-1.2-te-and-length", MUST, req("/reflect", "POST", "Transfer-Encoding: chunked", "Content-Length: 5",
      body="0\r\n\r\n", version="HTTP/1.2") + SMUGGLED,
      refuses(400, 505) + answers(OK, end="closed"), "9112 6.1")
