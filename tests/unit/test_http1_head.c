/* test_http1_head.c - judging the request line and the fields (RFC 9112 2-6). */
#include "http1_head.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(http1_head, .timeout = 20);

#define TARGET_MAX 64

/* ---- the request line ---- */

static int line_status_max(const char *line, size_t len, size_t target_max, turbo__h1_head *head) {
    guard copy = guard_copy(line, len);
    *head = (turbo__h1_head){.raw = copy.data};
    turbo__refusal no = turbo__h1_request_line(head, len, target_max);
    cr_expect_eq(no.status == 0, no.reason[0] == '\0', "a refusal has a reason, and nothing else has");
    guard_free(&copy);
    return no.status;
}

static int line_status(const char *line) {
    turbo__h1_head head;
    return line_status_max(line, strlen(line), TARGET_MAX, &head);
}

static int span_is(const char *line, turbo__span span, const char *text) {
    return span.len == strlen(text) && memcmp(line + span.at, text, span.len) == 0;
}

typedef struct target_case {
    const char *line, *target, *path, *query; /* query NULL: no '?' */
} target_case;

Test(http1_head, target_forms_are_taken_apart) {
    static const target_case cases[] = {
        {"GET / HTTP/1.1", "/", "/", NULL},
        {"GET /a/b?c=d HTTP/1.1", "/a/b?c=d", "/a/b", "c=d"},
        {"GET /? HTTP/1.1", "/?", "/", ""},
        {"GET /a?b?c HTTP/1.1", "/a?b?c", "/a", "b?c"},
        {"GET //a HTTP/1.1", "//a", "//a", NULL},
        {"GET http://a/b HTTP/1.1", "http://a/b", "/b", NULL},
        {"GET HTTP://a:80/b?c HTTP/1.1", "HTTP://a:80/b?c", "/b", "c"},
        {"GET http://a HTTP/1.1", "http://a", "", NULL},
        {"GET http://a?c HTTP/1.1", "http://a?c", "", "c"},
        {"GET http://[::1]:8/ HTTP/1.1", "http://[::1]:8/", "/", NULL},
        {"OPTIONS * HTTP/1.1", "*", "*", NULL},
        {"OPTIONS /x HTTP/1.1", "/x", "/x", NULL},
        {"CONNECT a:443 HTTP/1.1", "a:443", "a:443", NULL},
        {"CONNECT [::1]:10 HTTP/1.1", "[::1]:10", "[::1]:10", NULL},
        {"M!#$%&'*+-.^_`|~9 /\x21\x7e HTTP/1.1", "/\x21\x7e", "/\x21\x7e", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const target_case *c = &cases[i];
        turbo__h1_head head;
        cr_assert_eq(line_status_max(c->line, strlen(c->line), TARGET_MAX, &head), 0, "%s", c->line);
        cr_expect(span_is(c->line, head.target, c->target), "%s", c->line);
        cr_expect(span_is(c->line, head.path, c->path), "%s", c->line);
        cr_expect_eq(head.has_query, c->query != NULL, "%s", c->line);
        cr_expect(span_is(c->line, head.query, c->query != NULL ? c->query : ""), "%s", c->line);
    }
}

Test(http1_head, malformed_request_lines_are_400) {
    static const char *const lines[] = {
        "", " ", "GET", "GET ", "GET /", "GET / ", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / HTTP/1.1 ",
        " GET / HTTP/1.1", "GET\t/ HTTP/1.1", "GET /\tHTTP/1.1", "G(T / HTTP/1.1", "G\x01T / HTTP/1.1",
        "GET\x80 / HTTP/1.1", "GET /\x01 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\x80 HTTP/1.1", "GET /#a HTTP/1.1",
        "GET /a b HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "GET ? HTTP/1.1", "OPTIONS ** HTTP/1.1",
        "GET ftp://a/ HTTP/1.1", "GET http:/a HTTP/1.1", "GET http:///a HTTP/1.1", "GET http:// HTTP/1.1",
        "GET http://u@a/ HTTP/1.1", "GET http://a:x/ HTTP/1.1", "GET http://a:65536/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET a:80 HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT a HTTP/1.1", "CONNECT http://a:80/ HTTP/1.1",
        "CONNECT :80 HTTP/1.1", "CONNECT a:80/x HTTP/1.1",
        "CONNECT a: HTTP/1.1", "CONNECT a:0 HTTP/1.1", "CONNECT [::1] HTTP/1.1", "CONNECT [::1]: HTTP/1.1",
        "GET / http/1.1", "GET / HTTP/1", "GET / HTTP/1.", "GET / HTTP/11", "GET / HTTP/1.11", "GET / HTTP/01.1",
        "GET / HTTP/a.1", "GET / HTTP/1.a", "GET / HTTP-1.1", "GET / HTTPS/1.1", "GET / HTTP /1.1", "GET / HTTP/1,1",
        "GET / HTTP/-1.1", "GET / /1.1",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_expect_eq(line_status(lines[i]), 400, "\"%s\": %d", lines[i], line_status(lines[i]));
}

Test(http1_head, other_major_versions_are_505) {
    cr_expect_eq(line_status("GET / HTTP/0.9"), 505);
    cr_expect_eq(line_status("GET / HTTP/2.0"), 505);
    cr_expect_eq(line_status("GET / HTTP/9.9"), 505);
    cr_expect_eq(line_status("PRI * HTTP/2.0"), 505);
}

/* RFC 9110 7.4: what is asked for as secured is not served without TLS. */
Test(http1_head, https_targets_are_421) {
    cr_expect_eq(line_status("GET https://a/b HTTP/1.1"), 421);
    cr_expect_eq(line_status("GET HTTPS://a HTTP/1.0"), 421);
    cr_expect_eq(line_status("GET https:///b HTTP/1.1"), 400);
    cr_expect_eq(line_status("GET https://u@a/ HTTP/1.1"), 400);
}

Test(http1_head, versions_of_1_are_10_or_11) {
    turbo__h1_head head;
    cr_assert_eq(line_status_max("GET / HTTP/1.0", 14, TARGET_MAX, &head), 0);
    cr_expect_eq(head.version, 10);
    cr_assert_eq(line_status_max("GET / HTTP/1.1", 14, TARGET_MAX, &head), 0);
    cr_expect_eq(head.version, 11);
    cr_assert_eq(line_status_max("GET / HTTP/1.9", 14, TARGET_MAX, &head), 0);
    cr_expect_eq(head.version, 11); /* RFC 9110 2.5 */
}

Test(http1_head, method_is_compared_with_its_case) {
    turbo__h1_head head;
    cr_assert_eq(line_status_max("HEAD / HTTP/1.1", 15, TARGET_MAX, &head), 0);
    cr_expect_eq(head.is_head, 1);
    cr_assert_eq(line_status_max("head / HTTP/1.1", 15, TARGET_MAX, &head), 0);
    cr_expect_eq(head.is_head, 0);
    cr_expect_eq(line_status("options * HTTP/1.1"), 400);
}

Test(http1_head, target_limit_is_exact) {
    for (size_t max = 1; max < 40; max++)
        for (size_t len = max - (max > 1); len <= max + 1; len++) {
            char line[100] = "GET ";
            turbo__h1_head head;
            memset(line + 4, '/', len);
            memcpy(line + 4 + len, " HTTP/1.1", 10);
            cr_expect_eq(line_status_max(line, strlen(line), max, &head), len <= max ? 0 : 414, "%zu, %zu", len, max);
        }
    turbo__h1_head head;
    cr_expect_eq(line_status_max("GET /toolong", 12, 4, &head), 414); /* whatever else is wrong with it */
}

Test(http1_head, request_line_is_not_read_behind_its_end) {
    static const char line[] = "GET http://[::1]:80/a?b HTTP/1.1";
    turbo__h1_head head;
    for (size_t len = 0; len < sizeof line - 1; len++)
        cr_expect_eq(line_status_max(line, len, TARGET_MAX, &head), 400, "%zu", len);
    cr_expect_eq(line_status_max(line, sizeof line - 1, TARGET_MAX, &head), 0);
}

/* ---- fields ---- */

/* Judges "Name: value\n" lines, names and values taken as they stand. */
static int fields_status(int version, const char *text, turbo__h1_head *head) {
    static turbo__field fields[16];
    guard copy = guard_copy(text, strlen(text));
    *head = (turbo__h1_head){.raw = copy.data, .version = (uint8_t)version, .fields = fields};
    for (const char *at = copy.data, *end = at + copy.len; at < end;) {
        const char *colon = memchr(at, ':', (size_t)(end - at)), *lf = memchr(at, '\n', (size_t)(end - at));
        turbo__span name = {(uint32_t)(at - copy.data), (uint32_t)(colon - at)};
        turbo__span value = {(uint32_t)(colon + 2 - copy.data), (uint32_t)(lf - colon - 2)};
        fields[head->field_count++] = (turbo__field){name, value};
        at = lf + 1;
    }
    int status = turbo__h1_check_fields(head).status;
    guard_free(&copy);
    return status;
}

static int host_status(const char *host) {
    char text[200];
    turbo__h1_head head;
    (void)snprintf(text, sizeof text, "Host: %s\n", host);
    int status = fields_status(11, text, &head);
    cr_expect_eq(fields_status(10, text, &head), status, "\"%s\" in 1.0", host);
    return status;
}

Test(http1_head, valid_hosts_pass) {
    static const char *const hosts[] = {
        "a", "a.b", "A-b_c~d.", "127.0.0.1", "1.2.3.4.5", "a:", "a:0", "a:80", "a:65535", "a:00080", "a:0000000080",
        "!$&'()*+,;=", "%41", "a%2fb", "xn--a", "[::]", "[::1]:80", "[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7::]",
        "[::2:3:4:5:6:7:8]", "[1::8]", "[ABCD:ef01::]", "[::1.2.3.4]", "[1:2:3:4:5:6:255.255.255.255]",
        "[::ffff:0.0.0.0]:",
        "[v1.a]", "[vF.a:b]", "[V1f.!$&'()*+,;=-._~:]:1",
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        cr_expect_eq(host_status(hosts[i]), 0, "\"%s\"", hosts[i]);
}

Test(http1_head, invalid_hosts_are_400) {
    static const char *const hosts[] = {
        "", ":80", "a b", "a,b c", "a/b", "a?b", "a#b", "a@b", "u:p@b", "a\\b", "a\"b", "a<b", "a^b", "a`b", "a{b",
        "a|b",
        "a:b", "a:-1", "a:80a", "a:8 0", "a:65536", "a:99999999999999999999", "a:80:80", "a::80", "%", "%4", "%4g",
        "a%g1",
        "http://a", "a\x01", "a\x7f", "a\x80", "[", "[]", "[::1", "::1", "[::1]80", "[::1]:a", "[::1] ", "[[::1]]",
        "[a]",
        "[1.2.3.4]", "[:]", "[:::]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1::2::3]", "[12345::]", "[g::]",
        "[::1%25eth0]",
        "[:1]", "[1:]", "[1:2:3:4:5:6:7:8::]", "[::256.1.1.1]", "[::1.2.3]", "[::1.2.3.4.5]", "[::01.2.3.4]",
        "[1.2.3.4::]",
        "[1:2:3:4:5:6:7:1.2.3.4]", "[v.a]", "[v1.]", "[v1a]", "[vg.a]", "[v1.a%41]", "[v1.a/b]",
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        cr_expect_eq(host_status(hosts[i]), 400, "\"%s\"", hosts[i]);
}

Test(http1_head, host_is_needed_once_and_only_by_1_1) {
    turbo__h1_head head;
    cr_expect_eq(fields_status(11, "A: b\n", &head), 400);
    cr_expect_eq(fields_status(10, "A: b\n", &head), 0);
    cr_expect_eq(fields_status(10, "", &head), 0);
    cr_expect_eq(fields_status(11, "Host: a\nhOST: a\n", &head), 400);
    cr_expect_eq(fields_status(10, "Host: a\nhost: b\n", &head), 400);
}

Test(http1_head, content_length_is_one_number) {
    static const char *const bad[] = {"", "+1", "-1", "1 ", " 1", "1,1", "1, 1", "0x1", "a", "1a", "1.0", "1e1", "1 1",
                                      "\xb2"};
    char text[100];
    turbo__h1_head head;
    cr_assert_eq(fields_status(11, "Host: a\nContent-Length: 00042\n", &head), 0);
    cr_expect_eq(head.content_length, 42);
    cr_assert_eq(fields_status(11, "Host: a\nContent-Length: 0\n", &head), 0);
    cr_expect_eq(head.content_length, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        (void)snprintf(text, sizeof text, "Host: a\nContent-Length: %s\n", bad[i]);
        cr_expect_eq(fields_status(11, text, &head), 400, "\"%s\"", bad[i]);
    }
    cr_expect_eq(fields_status(11, "Host: a\nContent-Length: 1\nContent-Length: 1\n", &head), 400);
    cr_expect_eq(fields_status(11, "Host: a\nContent-Length: 1\ncontent-length: 2\n", &head), 400);
}

Test(http1_head, content_length_never_overflows) {
    turbo__h1_head head;
    char text[100];
    for (int digits = 1; digits < 60; digits++) {
        (void)snprintf(text, sizeof text, "Host: a\nContent-Length: %0*d\n", digits, 0);
        for (int i = 0; i < digits; i++)
            text[24 + i] = '9';
        cr_expect_eq(fields_status(11, text, &head), digits <= 18 ? 0 : 400, "%d digits", digits);
    }
    cr_assert_eq(fields_status(11, "Host: a\nContent-Length: 999999999999999999\n", &head), 0);
    cr_expect_eq(head.content_length, 999999999999999999u);
}

typedef struct coding_case {
    const char *value;
    int status;
} coding_case;

/* RFC 9112 6.3: a request whose last coding is not chunked is 400; 6.1: an unknown coding below chunked is 501. */
Test(http1_head, transfer_coding_must_be_chunked_alone) {
    static const coding_case cases[] = {
        {"chunked", 0},           {"Chunked", 0},        {"CHUNKED", 0},
        {"", 400},                {"identity", 400},     {"gzip", 400},         {"chunked, gzip", 400},
        {"chunked,chunked", 400}, {"xchunked", 400},     {"chunkedx", 400},     {"chunked;q=1", 400},
        {"\"chunked\"", 400},     {"chunked gzip", 400}, {"gzip chunked", 400}, {"chunked\x0b", 400},
        {"gzip, identity", 400},  {"gzip, xchunked", 400}, {"chunked, gzip, chunked", 400},
        {"gzip, chunked", 501},   {"gzip,\tChunked", 501}, {"a, b;c=d, chunked", 501},
    };
    char text[100];
    turbo__h1_head head;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(text, sizeof text, "Host: a\nTransfer-Encoding: %s\n", cases[i].value);
        cr_expect_eq(fields_status(11, text, &head), cases[i].status, "\"%s\"", cases[i].value);
        cr_expect_eq(head.chunked, cases[i].status == 0);
    }
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n", &head), 400);
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: gzip\nTransfer-Encoding: chunked\n", &head), 501);
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: \nTransfer-Encoding: chunked\n", &head), 501);
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: gzip\n", &head), 400);
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: \n", &head), 400);
    cr_expect_eq(fields_status(10, "Host: a\nTransfer-Encoding: chunked\n", &head), 400);
}

Test(http1_head, length_and_coding_together_are_400) {
    turbo__h1_head head;
    cr_expect_eq(fields_status(11, "Host: a\nContent-Length: 1\nTransfer-Encoding: chunked\n", &head), 400);
    cr_expect_eq(fields_status(11, "Host: a\nTransfer-Encoding: chunked\nContent-Length: 0\n", &head), 400);
}

static int keeps_alive(int version, const char *lines) {
    char text[100];
    turbo__h1_head head;
    (void)snprintf(text, sizeof text, "Host: a\n%s", lines);
    cr_assert_eq(fields_status(version, text, &head), 0);
    return head.keep_alive;
}

Test(http1_head, connection_lives_on_as_the_version_and_the_tokens_say) {
    cr_expect(keeps_alive(11, ""));
    cr_expect_not(keeps_alive(10, ""));
    cr_expect_not(keeps_alive(11, "Connection: close\n"));
    cr_expect_not(keeps_alive(11, "Connection: a, CLOSE\n"));
    cr_expect(keeps_alive(10, "Connection: Keep-Alive\n"));
    cr_expect(keeps_alive(10, "Connection: a\nConnection: b,keep-alive\n"));
    cr_expect_not(keeps_alive(10, "Connection: keep-alive, close\n"));
    cr_expect_not(keeps_alive(11, "Connection: keep-alive\nConnection: close\n"));
    cr_expect(keeps_alive(11, "Connection: closed\n"));
    cr_expect(keeps_alive(11, "Connection: \n"));
}

Test(http1_head, expectations_are_known_or_not_and_ignored_from_1_0) {
    turbo__h1_head head;
    cr_assert_eq(fields_status(11, "Host: a\nExpect: 100-Continue\n", &head), 0);
    cr_expect(head.expect_continue && !head.expect_unknown);
    cr_assert_eq(fields_status(11, "Host: a\nExpect: 200-ok\n", &head), 0);
    cr_expect(!head.expect_continue && head.expect_unknown);
    cr_assert_eq(fields_status(11, "Host: a\nExpect: 100-continue\nExpect: x\n", &head), 0);
    cr_expect(head.expect_unknown);
    cr_assert_eq(fields_status(10, "Host: a\nExpect: 100-continue\n", &head), 0);
    cr_expect(!head.expect_continue && !head.expect_unknown);
}

/* RFC 9110 5.6.1.2: empty elements of a list mean nothing. */
Test(http1_head, expectations_are_a_list) {
    static const struct {
        const char *value;
        int is_continue, is_unknown;
    } cases[] = {{"", 0, 0},          {",", 0, 0},
                 {" ,\t, ", 0, 0},    {"100-continue,", 1, 0},
                 {", 100-continue", 1, 0}, {"100-continue, 100-continue", 1, 0},
                 {"100-continue,x", 1, 1}, {"x,100-continue", 1, 1},
                 {",x,", 0, 1},       {"100-continue x", 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        turbo__h1_head head;
        char fields[64];
        (void)snprintf(fields, sizeof fields, "Host: a\nExpect: %s\n", cases[i].value);
        cr_assert_eq(fields_status(11, fields, &head), 0);
        cr_expect_eq(head.expect_continue, cases[i].is_continue, "%s", cases[i].value);
        cr_expect_eq(head.expect_unknown, cases[i].is_unknown, "%s", cases[i].value);
    }
}

Test(http1_head, fields_of_the_same_length_as_ours_pass) {
    turbo__h1_head head;
    cr_expect_eq(fields_status(11, "Host: a\nHosx: ,\nExpecx: 1\nConnectiox: close\nContent-Lengtx: x\n"
                                   "Transfer-Encodinx: x\n", &head), 0);
    cr_expect(head.keep_alive && !head.chunked && !head.expect_unknown);
}
