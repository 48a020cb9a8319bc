/* test_http1_trailer.c - one line of a trailer section, and which fields may be one (RFC 9110 6.5). */
#include "http1_trailer.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(http1_trailer, .timeout = 20);

static turbo_str str(const char *text) { return (turbo_str){text, strlen(text)}; }

Test(http1_trailer, lines_are_taken_apart_without_the_blanks_around_the_value) {
    static const char *const cases[][3] = {
        {"A: b\r\n", "A", "b"},           {"A:b\r\n", "A", "b"},         {"X-Sum: \t b c\t \r\n", "X-Sum", "b c"},
        {"A:\r\n", "A", ""},              {"A: \t \r\n", "A", ""},       {"A::b:\r\n", "A", ":b:"},
        {"!#$: \x80\xff\r\n", "!#$", "\x80\xff"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        turbo_str name, value;
        guard copy = guard_copy(cases[i][0], strlen(cases[i][0]));
        turbo__h1_trailer_split(copy.data, copy.len, &name, &value);
        cr_expect(name.len == strlen(cases[i][1]) && memcmp(name.data, cases[i][1], name.len) == 0, "case %zu", i);
        cr_expect(value.len == strlen(cases[i][2]) && memcmp(value.data, cases[i][2], value.len) == 0, "case %zu", i);
        cr_expect_not_null(value.data);
        guard_free(&copy);
    }
}

/* Every field of docs/http1.md. */
Test(http1_trailer, fields_that_may_not_be_trailers_are_forbidden_whatever_their_case) {
    static const char *const names[] = {
        "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Connection", "HTTP2-Settings", "Keep-Alive",
        "Proxy-Connection", "Upgrade", "Forwarded", "Host", "Max-Forwards", "Via", "Accept", "Accept-Charset",
        "Accept-Encoding", "Accept-Language", "Expect", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
        "If-Unmodified-Since", "Range", "Authorization", "Cookie", "Proxy-Authenticate", "Proxy-Authorization",
        "Set-Cookie", "WWW-Authenticate", "Content-Encoding", "Content-Language", "Content-Location", "Content-Range",
        "Content-Type", "Age", "Cache-Control", "Date", "Expires", "Location", "Pragma", "Retry-After", "Vary",
        "Warning"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char changed[32];
        strcpy(changed, names[i]);
        cr_expect(turbo__h1_trailer_is_forbidden(str(names[i])), "%s", names[i]);
        for (char *at = changed; *at != '\0'; at++)
            *at = (char)(islower((unsigned char)*at) ? toupper((unsigned char)*at) : tolower((unsigned char)*at));
        cr_expect(turbo__h1_trailer_is_forbidden(str(changed)), "%s", changed);
        cr_expect_not(turbo__h1_trailer_is_forbidden((turbo_str){names[i], strlen(names[i]) - 1}), "%s, cut", names[i]);
        strcat(changed, "x");
        cr_expect_not(turbo__h1_trailer_is_forbidden(str(changed)), "%s", changed);
    }
}

Test(http1_trailer, other_fields_may_be_trailers) {
    static const char *const names[] = {"X", "ETag", "Digest", "Content-Digest", "Content-MD5", "Repr-Digest",
                                        "Server-Timing", "Grpc-Status", "Trailers", "Hosts", "If"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_expect_not(turbo__h1_trailer_is_forbidden(str(names[i])), "%s", names[i]);
}
