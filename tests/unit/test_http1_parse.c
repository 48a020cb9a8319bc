/* test_http1_parse.c - bytes in, events out: limits, cuts, stops, memory. More cases: tests/conformance. */
#include "http1_parse.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "../support/h1_log.h"
#include "turbo/error.h"

TestSuite(http1_parse, .timeout = 60);

static const turbo__h1_limits roomy = {1024, 20, 256};

static turbo__h1_parser *parser_new(turbo__h1_limits limits) {
    turbo__h1_parser *parser;
    cr_assert_eq(turbo__h1_parser_new(&parser, &h1_log_events, &limits), 0);
    return parser;
}

/* Feeds text whole (cut 0), or in two pieces. */
static void run(h1_log *log, turbo__h1_limits limits, const char *text, size_t len, size_t cut, int stop_everywhere) {
    turbo__h1_parser *parser = parser_new(limits);
    log->stop_everywhere = stop_everywhere;
    h1_log_clear(log);
    if (cut > 0)
        h1_log_feed(log, parser, text, cut);
    h1_log_feed(log, parser, text + cut, len - cut);
    h1_log_finish(log);
    turbo__h1_parser_free(parser);
}

static void expect_events(turbo__h1_limits limits, const char *text, const char *events) {
    h1_log log = {0};
    for (int stop = 0; stop < 2; stop++)
        for (size_t cut = 0; cut < strlen(text); cut++) {
            run(&log, limits, text, strlen(text), cut, stop);
            cr_assert_str_eq(log.text, events, "cut at %zu, stopping %d:\n%s", cut, stop, log.text);
        }
    h1_log_free(&log);
}

#define HEAD_A "GET /a?b HTTP/1.1\r\nHost: h\r\nX:  y z\t \r\n\r\n"
#define EVENTS_A "begin\nhead GET /a?b HTTP/1.1\npath /a\nquery b\nfield Host: h\nfield X: y z\nend\n"

Test(http1_parse, request_without_body) { expect_events(roomy, HEAD_A, EVENTS_A); }

Test(http1_parse, requests_follow_each_other_with_and_without_bodies) {
    expect_events(roomy,
                  HEAD_A "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                         "POST /q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "2\r\nde\r\n1\r\nf\r\n0\r\nT: u\r\n\r\n\r\n" HEAD_A,
                  EVENTS_A "begin\nhead POST /p HTTP/1.1 length=3\nfield Host: h\n"
                           "field Content-Length: 3\nbody abc\nend\n"
                           "begin\nhead POST /q HTTP/1.1 chunked\nfield Host: h\n"
                           "field Transfer-Encoding: chunked\nbody def\ntrailer T: u\nend\n" EVENTS_A);
}

Test(http1_parse, nothing_is_parsed_behind_a_message_that_closes) {
    expect_events(roomy, "GET / HTTP/1.0\r\n\r\nGARBAGE\r\n", "begin\nhead GET / HTTP/1.0 close\nend\nclosed\n");
}

Test(http1_parse, higher_minor_version_is_served_as_1_1) {
    expect_events(roomy, "GET / HTTP/1.2\r\nHost: h\r\n\r\nGET / HTTP/1.9\r\nHost: h\r\nA: b\r\n\r\n",
                  "begin\nhead GET / HTTP/1.1\nfield Host: h\nend\n"
                  "begin\nhead GET / HTTP/1.1\nfield Host: h\nfield A: b\nend\n");
}

Test(http1_parse, tab_behind_a_length_is_a_blank) {
    expect_events(roomy, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\t1 \t\r\nA:\tb\tc\r\n\r\nx",
                  "begin\nhead POST / HTTP/1.1 length=1\nfield Host: h\n"
                  "field Content-Length: 1\nfield A: b\\tc\nbody x\nend\n");
}

Test(http1_parse, cut_request_is_never_complete) {
    static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    h1_log log = {0};
    for (size_t len = 1; len < sizeof text - 1; len++) {
        run(&log, roomy, text, len, 0, 0);
        cr_expect(strstr(log.text, "end\n") == NULL && strstr(log.text, "error") == NULL, "%zu:\n%s", len, log.text);
        cr_expect_str_eq(log.text + log.len - 5, "more\n", "%zu", len);
    }
    h1_log_free(&log);
}

Test(http1_parse, idle_is_between_messages) {
    turbo__h1_parser *parser = parser_new(roomy);
    h1_log log = {0};
    h1_log_clear(&log);
    cr_expect(turbo__h1_idle(parser));
    h1_log_feed(&log, parser, "\r\n", 2);
    cr_expect_not(turbo__h1_idle(parser), "a reset would forget the empty line");
    h1_log_feed(&log, parser, "\r", 1);
    cr_expect_not(turbo__h1_idle(parser));
    h1_log_feed(&log, parser, "\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n", 46);
    cr_expect_not(turbo__h1_idle(parser));
    h1_log_feed(&log, parser, "\r\n", 2);
    cr_expect_not(turbo__h1_idle(parser));
    h1_log_feed(&log, parser, "x", 1);
    cr_expect(turbo__h1_idle(parser));
    h1_log_free(&log);
    turbo__h1_parser_free(parser);
}

Test(http1_parse, error_is_for_good_until_a_reset) {
    turbo__h1_parser *parser = parser_new(roomy);
    h1_log log = {0};
    size_t used;
    h1_log_clear(&log);
    cr_assert_eq(turbo__h1_feed(parser, &log, "G(T / HTTP/1.1\r\n", 16, &used), TURBO__H1_ERROR);
    cr_expect_eq(turbo__h1_status(parser), 400);
    cr_expect_gt(strlen(turbo__h1_reason(parser)), 0);
    cr_expect_not(turbo__h1_idle(parser));
    cr_expect_eq(turbo__h1_feed(parser, &log, HEAD_A, strlen(HEAD_A), &used), TURBO__H1_ERROR);
    turbo__h1_parser_reset(parser);
    cr_expect(turbo__h1_idle(parser));
    cr_expect_eq(turbo__h1_status(parser), 0);
    h1_log_clear(&log);
    h1_log_feed(&log, parser, HEAD_A, strlen(HEAD_A));
    cr_expect_str_eq(log.text, EVENTS_A);
    h1_log_free(&log);
    turbo__h1_parser_free(parser);
}

Test(http1_parse, reset_forgets_a_half_read_message) {
    static const char *const halves[] = {"\r", "GET", "GET / HTTP/1.1\r\nHos",
                                         "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
                                         "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"};
    turbo__h1_parser *parser = parser_new(roomy);
    h1_log log = {0};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        h1_log_clear(&log);
        h1_log_feed(&log, parser, halves[i], strlen(halves[i]));
        turbo__h1_parser_reset(parser);
        h1_log_clear(&log);
        h1_log_feed(&log, parser, HEAD_A, strlen(HEAD_A));
        cr_expect_str_eq(log.text, EVENTS_A, "after \"%s\"", halves[i]);
    }
    h1_log_free(&log);
    turbo__h1_parser_free(parser);
}

Test(http1_parse, reset_gives_a_large_carry_buffer_back) {
    turbo__h1_parser *parser = parser_new((turbo__h1_limits){65536, 20, 60000});
    static char text[20000] = "GET /";
    h1_log log = {0};
    memset(text + 5, 'a', sizeof text - 5);
    h1_log_clear(&log);
    for (int i = 0; i < 2; i++) { /* a head of several pieces is what fills it */
        h1_log_feed(&log, parser, text, 10000);
        h1_log_feed(&log, parser, text + 10000, 10000);
        turbo__h1_parser_reset(parser);
    }
    cr_expect(turbo__h1_idle(parser));
    h1_log_free(&log);
    turbo__h1_parser_free(parser);
    turbo__h1_parser_free(NULL);
}

/* ---- limits ---- */

/* A head of len bytes. */
static const char *head_of(size_t len) {
    static char text[1000];
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    memset(text + n, 'x', len - (size_t)n - 4);
    memcpy(text + len - 4, "\r\n\r\n", 5);
    return text;
}

static int status_of(h1_log *log) {
    const char *at = strstr(log->text, "error ");
    return at == NULL ? 0 : (at[6] - '0') * 100 + (at[7] - '0') * 10 + at[8] - '0';
}

static void expect_status(turbo__h1_limits limits, const char *text, int status) {
    h1_log log = {0};
    for (size_t cut = 0; cut < strlen(text); cut++) {
        run(&log, limits, text, strlen(text), cut, 0);
        cr_assert_eq(status_of(&log), status, "cut at %zu: %d", cut, status_of(&log));
    }
    h1_log_free(&log);
}

Test(http1_parse, head_max_is_exact) {
    for (size_t max = 100; max < 104; max++) {
        expect_status((turbo__h1_limits){max, 10, 50}, head_of(max - 1), 0);
        expect_status((turbo__h1_limits){max, 10, 50}, head_of(max), 0);
        expect_status((turbo__h1_limits){max, 10, 50}, head_of(max + 1), 431);
        expect_status((turbo__h1_limits){max, 10, 50}, head_of(max + 300), 431);
    }
}

Test(http1_parse, head_max_holds_for_each_of_pipelined_requests) {
    char text[210];
    memcpy(text, head_of(100), 100);
    memcpy(text + 100, head_of(100), 101);
    expect_status((turbo__h1_limits){100, 10, 50}, text, 0);
    memcpy(text + 100, head_of(101), 102);
    expect_status((turbo__h1_limits){100, 10, 50}, text, 431);
}

Test(http1_parse, what_lies_behind_head_max_does_not_change_the_answer) {
    char text[400];
    (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nX: %080d\r\n folded\r\n\r\n", 0);
    expect_status((turbo__h1_limits){100, 10, 50}, text, 431);
    (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\nX: %080d\nY: z\r\n\r\n", 0);
    expect_status((turbo__h1_limits){100, 10, 50}, text, 431);
}

Test(http1_parse, request_line_above_head_max_is_414_when_the_target_is_to_blame) {
    char text[400];
    (void)snprintf(text, sizeof text, "GET /%0150d HTTP/1.1\r\n", 0);
    expect_status((turbo__h1_limits){100, 10, 300}, text, 414);
    (void)snprintf(text, sizeof text, "%0150d / HTTP/1.1\r\n", 0);
    expect_status((turbo__h1_limits){100, 10, 300}, text, 431);
}

Test(http1_parse, target_max_is_exact_and_does_not_wait_for_the_end) {
    char text[200];
    for (int more = -1; more <= 1; more++) {
        (void)snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: h\r\n\r\n", 29 + more, 0);
        expect_status((turbo__h1_limits){200, 10, 30}, text, more <= 0 ? 0 : 414);
    }
    (void)snprintf(text, sizeof text, "GET /%030d", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 414);
    (void)snprintf(text, sizeof text, "GET /%029d", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 0);
    /* The first thing that is wrong decides, wherever the bytes are cut. */
    (void)snprintf(text, sizeof text, "G(T /%030d HTTP/1.1\r\n", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 400);
    (void)snprintf(text, sizeof text, "GET /%029d\r\nHost: h\r\n\r\n", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 400);
    (void)snprintf(text, sizeof text, "GET /%030d\n", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 414);
    (void)snprintf(text, sizeof text, "GET /\r%030d HTTP/1.1\r\n", 0);
    expect_status((turbo__h1_limits){200, 10, 30}, text, 400);
}

Test(http1_parse, fields_max_is_exact_also_where_the_array_grows) {
    for (size_t max = 1; max < 70; max += max == 1 ? 30 : 1)
        for (size_t count = max > 1 ? max - 1 : 1; count <= max + 1; count++) {
            char text[1000] = "GET / HTTP/1.1\r\nHost: h\r\n";
            h1_log log = {0};
            for (size_t i = 1; i < count; i++)
                (void)snprintf(text + strlen(text), sizeof text - strlen(text), "N%zu: %zu\r\n", i, i);
            strcat(text, "\r\n");
            run(&log, (turbo__h1_limits){1000, max, 50}, text, strlen(text), 5, 0);
            cr_expect_eq(status_of(&log), count <= max ? 0 : 431, "%zu of %zu", count, max);
            if (count == max && max > 1) {
                char last[40];
                (void)snprintf(last, sizeof last, "field N%zu: %zu\n", count - 1, count - 1);
                cr_expect(strstr(log.text, last) != NULL && strstr(log.text, "field Host: h\n") != NULL);
            }
            h1_log_free(&log);
        }
}

Test(http1_parse, empty_lines_before_a_request_have_a_limit) {
    char text[100] = "";
    for (int lines = 1; lines <= 10; lines++) {
        text[2 * (lines - 1)] = '\0';
        strcat(text, "\r\n");
        strcat(text, "GET / HTTP/1.0\r\n\r\n");
        expect_status(roomy, text, lines <= 8 ? 0 : 400);
    }
}

Test(http1_parse, chunk_extensions_and_trailers_share_head_max) {
    char text[600];
    (void)snprintf(text, sizeof text,
                   "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "1;%0200d\r\na\r\n0\r\nX: %0200d\r\n\r\n", 0, 0);
    expect_status((turbo__h1_limits){500, 10, 50}, text, 0);
    expect_status((turbo__h1_limits){300, 10, 50}, text, 431);
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define EVENTS_CHUNKED "begin\nhead POST / HTTP/1.1 chunked\nfield Host: h\nfield Transfer-Encoding: chunked\n"

Test(http1_parse, trailers_are_told_one_by_one_but_for_forbidden_ones) {
    expect_events(roomy,
                  CHUNKED "1\r\na\r\n0\r\n"
                          "X-Sum: 1\r\nHost: evil\r\nx-sum:\t 2 \t \r\nE:\r\nBlank: \t \r\n\r\n" HEAD_A,
                  EVENTS_CHUNKED "body a\n"
                                 "trailer X-Sum: 1\ntrailer x-sum: 2\ntrailer E:\ntrailer Blank:\nend\n" EVENTS_A);
}

Test(http1_parse, trailers_before_a_malformed_one_are_told) {
    expect_events(roomy, CHUNKED "0\r\nA: 1\r\nB : 2\r\n\r\n", EVENTS_CHUNKED "trailer A: 1\nerror 400\n");
}

/* Forbidden ones count: they cost as much to read. */
Test(http1_parse, fields_max_is_exact_for_trailers_too) {
    static const size_t maxima[] = {2, 31, 100};
    char text[2000];
    h1_log log = {0};
    for (size_t i = 0; i < sizeof maxima / sizeof *maxima; i++)
        for (size_t max = maxima[i], count = max - 1; count <= max + 1; count++) {
            strcpy(text, CHUNKED "0\r\n");
            for (size_t n = 0; n < count; n++)
                strcat(text, n % 2 ? "N: 1\r\n" : "Host: x\r\n");
            strcat(text, "\r\n");
            run(&log, (turbo__h1_limits){2000, max, 50}, text, strlen(text), 0, 0);
            cr_expect_eq(status_of(&log), count <= max ? 0 : 431, "%zu of %zu", count, max);
        }
    h1_log_free(&log);
}

/* ---- stops ---- */

static int stop_at;
static char order[32];

static int note(char what) {
    size_t n = strlen(order);
    order[n] = what;
    order[n + 1] = '\0';
    return (int)n + 1 == stop_at;
}

static void note_begin(void *user) { (void)user; }
static int note_head(void *user, const turbo__h1_head *head) { (void)user; (void)head; return note('h'); }
static int note_chunk(void *user, uint64_t size) {
    (void)user;
    return note((char)('0' + size));
}
static int note_body(void *user, const char *data, size_t len) {
    (void)user;
    (void)data;
    return note(len > 0 ? 'b' : '0');
}
static int note_trailer(void *user, turbo_str name, turbo_str value) {
    (void)user;
    (void)name;
    (void)value;
    return note('t');
}
static int note_end(void *user) { (void)user; return note('e'); }

static const turbo__h1_events noting = {note_begin, note_head, note_chunk, note_body, note_trailer, note_end};

static void expect_resumed(const char *text, const char *expected) {
    for (stop_at = 1; stop_at <= (int)strlen(expected); stop_at++) {
        turbo__h1_parser *parser;
        size_t used = 0, rest = 0;
        order[0] = '\0';
        cr_assert_eq(turbo__h1_parser_new(&parser, &noting, &roomy), 0);
        cr_assert_eq(turbo__h1_feed(parser, NULL, text, strlen(text), &used), TURBO__H1_STOPPED);
        cr_expect_eq((int)strlen(order), stop_at, "an event came behind the stop");
        cr_expect_eq(turbo__h1_feed(parser, NULL, text + used, strlen(text) - used, &rest), TURBO__H1_MORE);
        cr_expect_eq(used + rest, strlen(text));
        cr_expect_str_eq(order, expected, "stopped at %d", stop_at);
        turbo__h1_parser_free(parser);
    }
}

Test(http1_parse, feeding_the_rest_goes_on_where_an_event_stopped) {
    expect_resumed("GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", "hehe");
    expect_resumed("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "hbe");
    expect_resumed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
                   "h1b2be");
    expect_resumed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\nC: d\r\n\r\n", "htte");
}

/* Whether bytes lay behind each message, '+' or '.', as on_end saw it. */
static struct {
    turbo__h1_parser *parser;
    char seen[4];
    int stop;
} more;

static int note_more(void *user) {
    (void)user;
    more.seen[strlen(more.seen)] = turbo__h1_has_more(more.parser) ? '+' : '.';
    return more.stop;
}

static void expect_more(const char *message) {
    turbo__h1_events events = noting;
    size_t len = strlen(message), used;
    char two[512];
    events.on_end = note_more;
    stop_at = 0;
    snprintf(two, sizeof two, "%s%s", message, message);
    for (size_t cut = 0; cut <= len; cut++)
        for (more.stop = 0; more.stop < 2; more.stop++) {
            memset(more.seen, 0, sizeof more.seen);
            order[0] = '\0';
            cr_assert_eq(turbo__h1_parser_new(&more.parser, &events, &roomy), 0);
            cr_assert_geq(turbo__h1_feed(more.parser, NULL, two, cut, &used), 0);
            for (size_t at = cut; at < 2 * len; at += used)
                cr_assert_geq(turbo__h1_feed(more.parser, NULL, two + at, 2 * len - at, &used), 0);
            cr_expect_str_eq(more.seen, cut == len ? ".." : "+.", "cut at %zu, stopping %d:\n%s", cut, more.stop, message);
            turbo__h1_parser_free(more.parser);
        }
}

Test(http1_parse, end_of_a_message_knows_whether_bytes_lie_behind_it) {
    expect_more("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_more("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
    expect_more("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: u\r\n\r\n");
}

/* ---- memory ---- */

Test(http1_parse, parser_new_reports_each_failed_allocation) {
    for (size_t nth = 1;; nth++) {
        turbo__h1_parser *parser = NULL;
        failing_alloc_arm(nth);
        int rc = turbo__h1_parser_new(&parser, &h1_log_events, &roomy);
        if (!failing_alloc_disarm()) {
            cr_expect_eq(rc, 0);
            turbo__h1_parser_free(parser);
            break;
        }
        cr_expect_eq(rc, TURBO_ENOMEM);
        cr_expect_null(parser);
    }
    cr_expect_not(failing_alloc_leaks());
}

Test(http1_parse, message_without_memory_is_refused_with_503) {
    char text[1000] = "GET / HTTP/1.1\r\nHost: h\r\n";
    int failed = 0;
    for (int i = 0; i < 70; i++)
        strcat(text, "N: 1\r\n");
    strcat(text, "Content-Length: 0\t\r\n\r\n"); /* the tab costs an allocation too */
    for (size_t nth = 1;; nth++) {
        turbo__h1_parser *parser = parser_new((turbo__h1_limits){1000, 100, 50});
        h1_log log = {0};
        h1_log_clear(&log);
        failing_alloc_arm(nth);
        h1_log_feed(&log, parser, text, 100);
        h1_log_feed(&log, parser, text + 100, strlen(text) - 100);
        int has_failed = failing_alloc_disarm();
        cr_expect_eq(status_of(&log), has_failed ? 503 : 0);
        failed += has_failed;
        h1_log_free(&log);
        turbo__h1_parser_free(parser);
        if (!has_failed)
            break;
    }
    cr_expect_geq(failed, 4, "the carry buffer twice, the fields and the copy without tabs once each: %d", failed);
    cr_expect_not(failing_alloc_leaks());
}

Test(http1_parse, cut_trailer_without_memory_is_refused_with_503) {
    char text[1000] = CHUNKED "0\r\nA: ";
    int failed = 0;
    memset(text + strlen(text), 'x', 300);
    for (size_t nth = 1;; nth++) {
        turbo__h1_parser *parser = parser_new((turbo__h1_limits){1000, 100, 50});
        h1_log log = {0};
        h1_log_clear(&log);
        h1_log_feed(&log, parser, CHUNKED, sizeof CHUNKED - 1);
        failing_alloc_arm(nth);
        h1_log_feed(&log, parser, text + sizeof CHUNKED - 1, 10); /* so much lies in the first piece of the buffer */
        h1_log_feed(&log, parser, text + sizeof CHUNKED + 9, strlen(text) - sizeof CHUNKED - 9);
        h1_log_feed(&log, parser, "\r\n\r\n", 4);
        int has_failed = failing_alloc_disarm();
        cr_expect_eq(status_of(&log), has_failed ? 503 : 0);
        failed += has_failed;
        h1_log_free(&log);
        turbo__h1_parser_free(parser);
        if (!has_failed)
            break;
    }
    cr_expect_geq(failed, 2, "the carry buffer, twice: %d", failed);
    cr_expect_not(failing_alloc_leaks());
}
