/* test_file.c - files as answers: validators, preconditions, ranges, and what becomes of the descriptor. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* utimensat */
#endif
#include "file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/files.h"
#include "../support/rig.h"
#include "clock.h"
#include "outq.h"
#include "response.h"

TestSuite(file, .timeout = 60);

#define BIG 1000000
#define HUGE (64 << 20) /* more than the sockets hold */
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static files f;
static rig r;
static client c;
static size_t fds_before;
static const char *extra_name, *extra_value; /* a field of every answer */
static int32_t status_of_answers;
static _Atomic int64_t seconds_later; /* than it is: the time at which an inode was changed cannot be set back */

static int64_t later(void) { return (int64_t)time(NULL) + atomic_load(&seconds_later); }

static int on_file(turbo_request *req, void *user) {
    char path[256];
    turbo_response *resp;
    turbo_str name = turbo_request_param(req, "name");
    (void)user;
    int rc = turbo_response_new(&resp, status_of_answers);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/%.*s", f.root, (int)name.len, name.data);
    if (extra_name != NULL)
        rc = turbo_response_field_add(resp, extra_name, strlen(extra_name), extra_value, strlen(extra_value));
    if (rc == 0 && (rc = turbo_response_file(resp, req, path)) == 0 && (rc = turbo_request_respond(req, resp)) == 0)
        return 0;
    turbo_response_free(resp);
    return rc == TURBO_ENOENT ? turbo_request_reply(req, 404, NULL, NULL, 0) : rc;
}

static void set_up(const char *settings) {
    turbo_route_options *options;
    status_of_answers = 200;
    atomic_store(&seconds_later, 3);
    turbo__clock_set_fake(NULL, later);
    files_open(&f);
    files_write(&f, "a.txt", "0123456789");
    files_write(&f, "empty", "");
    files_fill(&f, "big", BIG);
    files_mkdir(&f, "dir");
    rig_listen(&r, 0, settings);
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "executor", "inline"), 0);
    cr_assert_eq(turbo_server_route(r.server, NULL, "/{name}", options, on_file, NULL), 0);
    turbo_route_options_free(options);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    cr_assert_eq(client_ask(&c, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), 200); /* all threads run */
    fds_before = files_open_count();
}

static void tear_down(void) {
    client_close(&c, 0);
    rig_end(&r);
    files_close(&f);
    turbo__clock_set_fake(NULL, NULL);
    cr_expect_not(failing_alloc_leaks());
}

static int ask(const char *method, const char *name, const char *fields) {
    char text[4096];
    snprintf(text, sizeof text, "%s /%s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, name, fields);
    if (strcmp(method, "HEAD") != 0)
        return client_ask(&c, text);
    snprintf(text, sizeof text, "HEAD /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", name, fields);
    client head;
    client_open(&head, turbo_server_port(r.server));
    client_send(&head, text);
    size_t len = client_rest(&head);
    cr_expect(len > 4 && strcmp(head.data + len - 4, "\r\n\r\n") == 0, "HEAD has no body");
    snprintf(c.head, sizeof c.head, "%s", head.data);
    client_close(&head, 0);
    return atoi(c.head + 9);
}

static void etag_of(char out[80]) {
    const char *at = strstr(c.head, "\r\nETag: ");
    cr_assert_not_null(at);
    snprintf(out, 80, "%.*s", (int)strcspn(at + 8, "\r"), at + 8);
}

static void expect_bytes(size_t first, size_t len) {
    cr_assert_eq(c.body_len, len);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq((unsigned char)c.body[i], files_byte(first + i), "byte %zu", i);
}

Test(file, whole_files_have_validators_and_a_type) {
    set_up("");
    cr_expect_eq(ask("GET", "a.txt", ""), 200);
    cr_expect_str_eq(c.body, "0123456789");
    cr_expect(client_has(&c, "Last-Modified: " DATE));
    cr_expect(client_has(&c, "Accept-Ranges: bytes"));
    cr_expect(client_has(&c, "Content-Type: text/plain; charset=utf-8"));
    cr_expect_not_null(strstr(c.head, "\r\nETag: \""));
    cr_expect_eq(ask("GET", "big", ""), 200);
    expect_bytes(0, BIG);
    cr_expect_eq(ask("GET", "empty", ""), 200);
    cr_expect(client_has(&c, "Content-Length: 0"));
    cr_expect_eq(ask("HEAD", "big", ""), 200);
    cr_expect_not_null(strstr(c.head, "\r\nContent-Length: 1000000\r\n"));
    cr_expect_eq(ask("HEAD", "empty", ""), 200);
    cr_expect_not_null(strstr(c.head, "\r\nContent-Length: 0\r\n"));
    cr_expect_eq(ask("GET", "dir", ""), 404);
    cr_expect_eq(ask("GET", "none", ""), 404);
    AWAIT(files_open_count() == fds_before);
    tear_down();
}

struct asked {
    const char *method, *name, *fields;
    int status;
    const char *line, *body; /* NULL: not looked at */
};

static void expect_all(const struct asked *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct asked *k = &cases[i];
        cr_expect_eq(ask(k->method, k->name, k->fields), k->status, "%s %s %s: %s", k->method, k->name, k->fields, c.head);
        if (k->line != NULL)
            cr_expect_not_null(strstr(c.head, k->line), "%s %s %s: %s", k->method, k->name, k->fields, c.head);
        if (k->body != NULL)
            cr_expect_str_eq(c.body, k->body, "%s %s", k->name, k->fields);
    }
}

Test(file, preconditions_and_ranges_decide_the_status) {
    static const struct asked cases[] = {
        {"GET", "a.txt", "Range: bytes=2-4\r\n", 206, "\r\nContent-Range: bytes 2-4/10\r\n", "234"},
        {"GET", "a.txt", "Range: bytes=-3\r\n", 206, "\r\nContent-Length: 3\r\n", "789"},
        {"GET", "a.txt", "Range: bytes=10-\r\n", 416, "\r\nContent-Range: bytes */10\r\n", NULL},
        {"GET", "empty", "Range: bytes=0-\r\n", 416, "\r\nContent-Range: bytes */0\r\n", NULL},
        {"GET", "empty", "Range: bytes=-1\r\n", 200, "\r\nContent-Length: 0\r\n", ""},
        {"GET", "a.txt", "Range: bytes=x\r\n", 200, "\r\nContent-Length: 10\r\n", "0123456789"},
        {"GET", "a.txt", "Range: bytes=2-4\r\nRange: bytes=2-4\r\n", 200, NULL, "0123456789"},
        {"HEAD", "a.txt", "Range: bytes=2-4\r\n", 200, "\r\nContent-Length: 10\r\n", NULL},
        {"POST", "a.txt", "Range: bytes=2-4\r\nIf-None-Match: *\r\n", 200, "\r\nContent-Length: 10\r\n", "0123456789"},
        {"GET", "a.txt", "If-None-Match: *\r\n", 304, "\r\nETag: \"", ""},
        {"HEAD", "a.txt", "If-None-Match: *\r\n", 304, "\r\nETag: \"", NULL},
        {"GET", "a.txt", "If-Match: \"x\"\r\n", 412, NULL, "Precondition Failed"},
        {"GET", "a.txt", "If-Match: \"x\"\r\nRange: bytes=99-\r\n", 412, NULL, NULL},
        {"GET", "a.txt", "If-None-Match: *\r\nRange: bytes=2-4\r\n", 304, NULL, ""},
        {"GET", "a.txt", "If-Modified-Since: " DATE "\r\n", 304, "\r\nLast-Modified: " DATE "\r\n", ""},
        {"GET", "a.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 412, NULL, NULL},
        {"GET", "a.txt", "If-Range: " DATE "\r\nRange: bytes=2-4\r\n", 206, NULL, "234"},
        {"GET", "a.txt", "If-Range: \"x\"\r\nRange: bytes=2-4\r\n", 200, NULL, "0123456789"},
        {"GET", "a.txt", "If-Range: \"x\"\r\nRange: bytes=99-\r\n", 200, NULL, "0123456789"},
        {"GET", "a.txt", "If-Range: \"x\"\r\n", 200, NULL, "0123456789"},
    };
    set_up("");
    expect_all(cases, sizeof cases / sizeof *cases);
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: *\r\n"), 304);
    cr_expect_null(strstr(c.head, "Content-"), "%s", c.head);
    AWAIT(files_open_count() == fds_before);
    tear_down();
}

Test(file, its_own_etag_matches_until_the_file_changes) {
    char etag[80], fields[200];
    set_up("");
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    etag_of(etag);
    snprintf(fields, sizeof fields, "If-None-Match: %s\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 304);
    snprintf(fields, sizeof fields, "If-Range: %s\r\nRange: bytes=0-0\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 206);
    files_write(&f, "a.txt", "0123456789x"); /* the same time, another size */
    cr_expect_eq(ask("GET", "a.txt", fields), 200);
    snprintf(fields, sizeof fields, "If-Match: %s\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 412);
    tear_down();
}

/* RFC 9110 8.8.1: as `rsync --inplace --times` and `cp -p` do. */
Test(file, one_of_the_same_size_and_time_has_another_etag) {
    char before[80], fields[200];
    struct timespec tick = {.tv_nsec = 20000000}; /* of the file system's clock, or longer */
    set_up("");
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    etag_of(before);
    nanosleep(&tick, NULL);
    files_write(&f, "a.txt", "9876543210");
    snprintf(fields, sizeof fields, "If-Range: %s\r\nRange: bytes=5-\r\n", before);
    cr_expect_eq(ask("GET", "a.txt", fields), 200);
    cr_expect_str_eq(c.body, "9876543210");
    cr_expect(client_has(&c, "Last-Modified: " DATE));
    tear_down();
}

/* RFC 9110 8.8.1: it may change again within the same time. */
Test(file, a_file_just_changed_has_a_weak_etag_and_no_if_range) {
    char etag[80], fields[200];
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    set_up("");
    atomic_store(&seconds_later, 0);
    cr_assert_eq(utimensat(AT_FDCWD, files_path(&f, "a.txt"), times, 0), 0);
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    etag_of(etag);
    cr_expect_eq(strncmp(etag, "W/\"", 3), 0);
    snprintf(fields, sizeof fields, "If-None-Match: %s\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 304);
    snprintf(fields, sizeof fields, "If-Range: %s\r\nRange: bytes=0-0\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 200);
    times[1] = (struct timespec){.tv_sec = time(NULL) + 86400};
    cr_assert_eq(utimensat(AT_FDCWD, files_path(&f, "a.txt"), times, 0), 0);
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    const char *date = strstr(c.head, "\r\nDate: "), *modified = strstr(c.head, "\r\nLast-Modified: ");
    cr_assert(date != NULL && modified != NULL);
    cr_expect_eq(strncmp(date + 8, modified + 17, 16), 0, "not tomorrow: %s", c.head);
    tear_down();
}

/* Who copies over a file may set its own time back, and do so twice within the file system's clock. */
Test(file, a_file_just_changed_has_a_weak_etag_whatever_time_it_was_given) {
    char etag[80], fields[200];
    set_up("");
    atomic_store(&seconds_later, 0);
    files_write(&f, "a.txt", "9876543210");
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    cr_expect(client_has(&c, "Last-Modified: " DATE));
    etag_of(etag);
    cr_expect_eq(strncmp(etag, "W/\"", 3), 0, "%s", etag);
    snprintf(fields, sizeof fields, "If-Range: %s\r\nRange: bytes=0-0\r\n", etag);
    cr_expect_eq(ask("GET", "a.txt", fields), 200);
    atomic_store(&seconds_later, 3);
    cr_assert_eq(ask("GET", "a.txt", ""), 200);
    cr_expect_not_null(strstr(c.head, etag + 2), "%s in %s", etag, c.head);
    cr_expect_null(strstr(c.head, etag), "strong by now");
    tear_down();
}

Test(file, fields_of_the_handler_stand_and_its_validators_count) {
    set_up("");
    extra_name = "Content-Type";
    extra_value = "x/y";
    cr_expect_eq(ask("GET", "a.txt", ""), 200);
    cr_expect(client_has(&c, "Content-Type: x/y"));
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: *\r\n"), 304);
    cr_expect_null(strstr(c.head, "Content-"));
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=99-\r\n"), 416);
    cr_expect(client_has(&c, "Content-Type: text/plain; charset=utf-8"));
    cr_expect_eq(ask("GET", "big", "Range: bytes=0-1,500-501\r\n"), 206);
    cr_expect_not_null(strstr(c.body, "Content-Type: x/y\r\n"));
    cr_expect_null(strstr(c.head, "x/y"));
    extra_name = "Cache-Control";
    extra_value = "max-age=60";
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: *\r\n"), 304);
    cr_expect(client_has(&c, "Cache-Control: max-age=60"));
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=0-1\r\n"), 206);
    cr_expect(client_has(&c, "Cache-Control: max-age=60"));
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=99-\r\n"), 416);
    cr_expect_null(strstr(c.head, "Cache-Control"), "it is not the file that a cache would keep");
    cr_expect_eq(ask("GET", "a.txt", "If-Match: \"x\"\r\n"), 412);
    cr_expect_null(strstr(c.head, "Cache-Control"));
    extra_name = "ETag";
    extra_value = "\"mine\"";
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: \"mine\"\r\n"), 304);
    extra_value = "no tag";
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: \"no tag\"\r\n"), 200);
    extra_name = "Last-Modified";
    extra_value = "Sun, 06 Nov 1994 08:49:38 GMT";
    cr_expect_eq(ask("GET", "a.txt", "If-Modified-Since: " DATE "\r\n"), 200);
    cr_expect_eq(ask("GET", "a.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n"), 304);
    extra_name = NULL;
    status_of_answers = 404;
    cr_expect_eq(ask("GET", "a.txt", "If-None-Match: *\r\nRange: bytes=0-0\r\n"), 404, "not of another status");
    cr_expect_str_eq(c.body, "0123456789");
    status_of_answers = 204;
    cr_expect_eq(ask("GET", "a.txt", ""), 204);
    tear_down();
}

static int count_lines(const char *name) {
    int count = 0;
    for (const char *at = strstr(c.head, name); at != NULL; at = strstr(at + 1, name))
        count++;
    return count;
}

Test(file, fields_about_ranges_are_sent_once) {
    set_up("");
    extra_name = "accept-ranges";
    extra_value = "None";
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=2-4\r\n"), 200, "it has none");
    cr_expect_str_eq(c.body, "0123456789");
    cr_expect(client_has(&c, "accept-ranges: None"));
    cr_expect_eq(count_lines("Accept-Ranges"), 0);
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=10-\r\n"), 200);
    extra_name = "Accept-Ranges";
    extra_value = "bytes";
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=2-4\r\n"), 206);
    cr_expect_eq(count_lines("Accept-Ranges"), 1);
    extra_name = "Content-Range";
    extra_value = "bytes 0-1/5";
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=2-4\r\n"), 206);
    cr_expect(client_has(&c, "Content-Range: bytes 2-4/10"));
    cr_expect_eq(count_lines("Content-Range"), 1);
    cr_expect_eq(ask("GET", "a.txt", "Range: bytes=10-\r\n"), 416);
    cr_expect_eq(count_lines("Content-Range"), 1);
    cr_expect_eq(ask("GET", "big", "Range: bytes=0-0,-1\r\n"), 206, "the parts have it");
    cr_expect_eq(count_lines("Content-Range"), 0);
    cr_expect_eq(ask("GET", "a.txt", ""), 200);
    cr_expect_eq(count_lines("Content-Range"), 0);
    status_of_answers = 206;
    cr_expect_eq(ask("GET", "a.txt", ""), 206, "the handler knows which part its file is");
    cr_expect(client_has(&c, "Content-Range: bytes 0-1/5"));
    extra_name = NULL;
    tear_down();
}

Test(file, several_ranges_are_parts_large_and_small) {
    set_up("");
    cr_expect_eq(ask("GET", "big", "Range: bytes=0-99999,200000-299999,-1\r\n"), 206);
    const char *at = c.body;
    const size_t parts[][2] = {{0, 100000}, {200000, 100000}, {BIG - 1, 1}};
    for (size_t i = 0; i < 3; i++) {
        at = strstr(at, "\r\n\r\n");
        cr_assert_not_null(at);
        at += 4;
        for (size_t k = 0; k < parts[i][1]; k++)
            cr_assert_eq((unsigned char)at[k], files_byte(parts[i][0] + k));
        at += parts[i][1];
        cr_assert_eq(strncmp(at, "\r\n--", 4), 0);
    }
    cr_expect_eq(ask("GET", "big", "Range: bytes=0-0,500-500\r\n"), 206);
    cr_expect(client_has(&c, "Accept-Ranges: bytes"));
    cr_expect_eq(ask("GET", "a.txt", ""), 200, "the connection goes on");
    AWAIT(files_open_count() == fds_before);
    tear_down();
}

Test(file, pipelined_files_come_whole_and_in_order) {
    set_up("");
    for (int i = 0; i < 40; i++)
        client_send(&c, i % 2 == 0 ? "GET /big HTTP/1.1\r\nHost: a\r\n\r\n" : "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        cr_assert_eq(client_answer(&c), 200);
        if (i % 2 == 0)
            expect_bytes(0, BIG);
        else
            cr_assert_str_eq(c.body, "0123456789");
    }
    AWAIT(files_open_count() == fds_before);
    tear_down();
}

/* A few descriptors, however many are asked for. */
Test(file, a_client_that_does_not_read_holds_few_files) {
    set_up("");
    for (int i = 0; i < 64; i++)
        client_send(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    client other;
    client_open(&other, turbo_server_port(r.server));
    for (int i = 0; i < 3; i++)
        cr_expect_eq(client_ask(&other, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_leq(files_open_count(), fds_before + 2 + 262144 / TURBO__OUT_FILE_BYTES + 1);
    client_close(&other, 0);
    client_close(&c, 1);
    AWAIT(files_open_count() <= fds_before);
    client_open(&c, turbo_server_port(r.server));
    tear_down();
}

Test(file, one_that_shrinks_ends_the_connection_short) {
    set_up("");
    files_fill(&f, "huge", HUGE);
    client_send(&c, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(files_open_count() > fds_before);
    cr_assert_eq(truncate(files_path(&f, "huge"), 1000), 0);
    size_t len = client_rest(&c);
    cr_expect(len > 1000 && len < (size_t)HUGE, "%zu", len);
    cr_expect_null(strstr(c.data + 5, "HTTP/1.1"), "nothing is sent behind it");
    AWAIT(files_open_count() <= fds_before);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    tear_down();
}

Test(file, one_that_is_removed_is_sent_whole) {
    set_up("");
    files_fill(&f, "huge", HUGE);
    client_send(&c, "GET /huge HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(files_open_count() > fds_before);
    cr_assert_eq(unlink(files_path(&f, "huge")), 0);
    cr_expect_eq(client_answer(&c), 200);
    expect_bytes(0, HUGE);
    AWAIT(files_open_count() == fds_before);
    tear_down();
}

Test(file, every_allocation_of_an_answer_may_fail) {
    static const char *const asked[] = {"", "Range: bytes=0-99999,200000-299999\r\n", "Range: bytes=1-50000\r\n",
                                        "Range: bytes=0-0,500-500\r\n", "If-None-Match: *\r\n", "If-Match: \"x\"\r\n"};
    set_up("");
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        for (size_t nth = 1;; nth++) {
            char text[300];
            client once;
            snprintf(text, sizeof text, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", asked[i]);
            client_open(&once, turbo_server_port(r.server));
            failing_alloc_arm(nth);
            client_send(&once, text);
            (void)client_rest(&once);
            client_close(&once, 0);
            if (!failing_alloc_disarm())
                break;
            AWAIT(files_open_count() <= fds_before);
        }
    tear_down();
}

static size_t body_len_seen;
static void note_length(turbo_request *req, int status, const turbo_response *resp, void *user) {
    turbo_str body = status == 0 ? turbo_response_body(resp) : (turbo_str){NULL, 0};
    body_len_seen = body.len;
    note_outcome(req, status, resp, user);
}

Test(file, requests_without_a_connection_get_the_bytes) {
    outcome out = {0};
    turbo_request *req;
    set_up("");
    cr_assert_eq(turbo_request_new(&req, r.server, "GET", "/big", note_length, &out), 0);
    turbo_request_run(req);
    turbo_request_release(req);
    AWAIT(out.answered == 1);
    cr_expect_eq(body_len_seen, BIG);
    AWAIT(files_open_count() == fds_before);
    tear_down();
}
