"""Paths and queries: RFC 9110 4.2.3, RFC 3986 2, 6.2.2."""

from typing import Optional

from answers import Response
from model import ECHO_OK, FOLLOW, FOLLOWED, MAY, MUST, OK, R, SHOULD, Topic, answers, refuses, req, saw

T = Topic("paths", "9110 4.2.3")
SAFE = {200, 301, 302, 307, 308, 400, 403, 404}


def user(value: str) -> object:
    def check(response: Response) -> Optional[str]:
        seen = response.json().get("id")
        return None if seen == value else f"id {seen!r}, not {value!r}"

    return check


T.add("case-sensitive", MUST, req("/JSON"), answers(R(404)))
T.add("percent-unreserved", SHOULD, req("/%6Ason"), answers(ECHO_OK),
      note="an encoded unreserved character is the character")
T.add("percent-lower-hex", SHOULD, req("/%6ason"), answers(ECHO_OK))
T.add("param-plain", MUST, req("/users/7"), answers(R(200, user("7"))))
T.add("param-percent", MUST, req("/users/a%20b"), answers(R(200, user("a b"))), "3986 2.4")
T.add("param-percent-utf-8", MUST, req("/users/%C3%A9"), answers(R(200, user("\xe9"))), "3986 2.5")
T.add("param-plus-is-plus", MUST, req("/users/a+b"), answers(R(200, user("a+b"))), "3986 2.2")
T.add("param-percent-once", MUST, req("/users/a%2520b"), answers(R(200, user("a%20b"))), "3986 2.4",
      note="must not be decoded twice")
T.add("param-sub-delims", MUST, req("/users/a;b=c,d!$&'()*"), answers(R(200, user("a;b=c,d!$&'()*"))), "3986 3.3")
T.add("param-slash-encoded", SHOULD, req("/users/a%2Fb"), answers(R(200, user("a/b"))), "3986 2.2",
      note="%2F is data, not a separator")
T.add("param-question-encoded", MUST, req("/users/a%3Fb"), answers(R(200, user("a?b"))), "3986 2.2")
T.add("bad-escape", SHOULD, req("/users/%zz"), answers(R(400), end="any"), "3986 2.1")
T.add("bad-escape-end", SHOULD, req("/users/a%"), answers(R(400), end="any"), "3986 2.1")
T.add("bad-escape-short", SHOULD, req("/users/a%4"), answers(R(400), end="any"), "3986 2.1")
T.add("nul-encoded", MAY, req("/users/a%00b"), answers(R({400, 404}), end="any"), "3986 7.3")
T.add("crlf-encoded", MUST, req("/users/a%0d%0aX-A:%201"),
      answers(R({200, 400, 404}, lambda r: "it became a field" if r.get("X-A") else None), end="any"), "9110 17.5")
T.add("query-kept", MUST, req("/reflect?a=1&b=%20&c=%00&d"),
      answers(R(200, saw(path="/reflect", query="a=1&b=%20&c=%00&d"))), "9110 7.1")
T.add("query-bad-escape", SHOULD, req("/reflect?a=%zz"), answers(R({200, 400}), end="any"), "3986 2.1")
T.add("query-dot-segments", MUST, req("/reflect?/../x"), answers(R(200, saw(path="/reflect", query="/../x"))),
      "3986 5.2.4")
T.add("query-only-slash", MUST, req("/json?/"), answers(ECHO_OK))
T.add("encoded-question-is-no-query", MUST, req("/json%3Fa=b"), answers(R({400, 404})), "3986 2.2")
T.add("encoded-slash-is-no-slash", SHOULD, req("/users%2F7"), answers(R({400, 404}), end="any"), "3986 2.2")
for name, target in (("dot", "/./json"), ("dot-dot", "/x/../json"), ("above-root", "/../json"),
    ("double-slash", "//json"), ("trailing-slash", "/json/"),
                     ("encoded-dots", "/x/%2e%2e/json"), ("backslash", "/x\\..\\json"),
                     ("double-slash-host", "//h.test/json"), ("semicolon", "/json;a=b"),
                     ("overlong-utf-8", "/%c0%ae%c0%ae/json"), ("encoded-backslash", "/%5c..%5cjson")):
    T.add(f"normal-{name}", MUST, req(target) + FOLLOW, answers(R(SAFE), FOLLOWED) + refuses(*SAFE), "3986 6.2.2",
          note="served, moved or refused: one answer, and the connection in step")
T.add("dot-dot-not-above-root", MUST, req("/../../../etc/passwd"),
      answers(R(SAFE, lambda r: "the file!" if b"root:" in r.body else None), end="any"), "9110 17.3")
T.add("encoded-dot-dot-not-above-root", MUST, req("/%2e%2e/%2e%2e/etc/passwd"),
      answers(R(SAFE, lambda r: "the file!" if b"root:" in r.body else None), end="any"), "9110 17.3")
T.add("many-segments", SHOULD, req("/" + "a/" * 1000), answers(R({404, 400, 414}), end="any"))
T.add("many-segments-then-follow", MUST, req("/" + "a/" * 1000) + FOLLOW, answers(R({404, 400, 414}), FOLLOWED) +
      refuses(400, 404, 414))
T.add("long-query", SHOULD, req("/reflect?" + "k=v&" * 1500), answers(R(200, saw(query="k=v&" * 1500))), "9112 3")
T.add("root-with-query", MUST, req("/?a=b"), answers(OK))
T.add("dots-are-segments", MAY, req("/users/.."), answers(R(200, user(".."))), "docs/routing.md")
T.add("options-path-404-ok", MUST, req("/nosuch?x", "OPTIONS"), answers(R({200, 204, 404, 405}), end="any"))
