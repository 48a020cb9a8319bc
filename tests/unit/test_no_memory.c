/* test_no_memory.c - a conversation in which each allocation fails once: parser, connection, batch, answers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(no_memory, .timeout = 300);

#define LARGE 100000 /* not copied into the connection's blocks */
#define HOST " HTTP/1.1\r\nHost: a\r\n"
#define CLOSE "Connection: close\r\n\r\n"

/* -- handlers: what they cannot do for want of memory they report -- */

static int echo(turbo_request *req, void *user) {
    turbo_str body = turbo_request_body(req);
    (void)user;
    return turbo_request_reply(req, 200, "text/plain", body.data, body.len);
}

static int large(turbo_request *req, void *user) {
    turbo_response *resp;
    int rc = turbo_response_new(&resp, 200);
    if (rc < 0)
        return rc;
    char *bytes = malloc(LARGE);
    memset(bytes, 'x', LARGE);
    if ((rc = turbo_response_field_add(resp, "X-Kind", 6, "large", 5)) == 0)
        rc = turbo_response_body_copy(resp, bytes, LARGE);
    free(bytes);
    if (rc == 0)
        rc = turbo_request_respond(req, resp);
    if (rc < 0)
        turbo_response_free(resp);
    (void)user;
    return rc;
}

static int stream(turbo_request *req, void *user) {
    turbo_response *resp;
    int rc = turbo_response_new(&resp, 200);
    if (rc < 0)
        return rc;
    if ((rc = turbo_request_respond_begin(req, resp)) < 0) {
        turbo_response_free(resp);
        return rc;
    }
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = turbo_request_respond_write(req, "part", 4);
    if (rc == 0)
        rc = turbo_request_respond_trailer(req, "X-Parts", 7, "3", 1);
    (void)user;
    return rc < 0 ? rc : turbo_request_respond_end(req);
}

static void batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard;
    for (size_t i = 0; i < n; i++)
        if (turbo_request_reply(reqs[i], 200, NULL, "batch", 5) < 0)
            (void)turbo_request_fail(reqs[i]);
    (void)user;
}

static void start(rig *r) {
    rig_listen(r, TURBO_EXECUTOR_DRIVEN, "io_threads=0");
    r->seen.runs = 1;
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "POST", "/echo/{name}", NULL, echo, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/large", NULL, large, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/stream", NULL, stream, NULL), 0);
    cr_assert_eq(turbo_server_route_batch(r->server, "GET", "/batch", NULL, batch, NULL), 0);
    rig_start(r);
}

/* -- the conversation -- */

/* What came until the connection's end; everything happens on this thread, so allocations come in the same order. */
static char *talk(rig *r, const char *text) {
    client c;
    size_t len = 0, cap = 1 << 20;
    char *got = malloc(cap);
    cr_assert_not_null(got);
    client_open(&c, turbo_server_port(r->server));
    client_send(&c, text);
    for (uint64_t until = await_deadline();;) {
        rig_settle(r);
        ssize_t n = recv(c.fd, got + len, cap - len - 1, MSG_DONTWAIT);
        if (n > 0)
            len += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            break;
        else
            cr_assert(await_longer(until), "no end of the connection, after %zu bytes", len);
    }
    got[len] = '\0';
    client_close(&c, 0);
    return got;
}

/* Each status line is one of those that may be; @return how many 200 there are. */
static int count_answers(const char *got, size_t nth) {
    int good = 0;
    for (const char *at = got; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9) {
        int status = atoi(at + 9);
        cr_expect(status == 200 || status == 500 || status == 503, "allocation %zu: %d", nth, status);
        good += status == 200;
    }
    return good;
}

static void expect_accounted(const rig *r, size_t nth) {
    turbo_stats stats = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(r->server, &stats), 0);
    cr_expect_eq(stats.taken, stats.answered + stats.shed + stats.dropped + stats.abandoned, "allocation %zu", nth);
}

/* Every allocation from the connection's accept to its end fails once. The server lives on, and serves the next client. */
static void each_allocation_fails(const char *text, int answers) {
    for (size_t nth = 1;; nth++) {
        rig r;
        start(&r);
        failing_alloc_arm(nth);
        char *got = talk(&r, text);
        int failed = failing_alloc_disarm();
        int good = count_answers(got, nth);
        cr_expect(failed ? good <= answers : good == answers, "allocation %zu: %d answers 200\n%s", nth, good, got);
        free(got);
        got = talk(&r, "GET /" HOST CLOSE);
        cr_expect_eq(count_answers(got, nth), 1, "allocation %zu: the next client got %s", nth, got);
        free(got);
        expect_accounted(&r, nth);
        rig_end(&r);
        if (!failed) {
            cr_expect_gt(nth, 2, "only %zu allocations", nth);
            break;
        }
    }
    cr_expect_not(failing_alloc_leaks());
}

Test(no_memory, whole_answers) { each_allocation_fails("GET /" HOST "\r\nGET /?x" HOST "Cookie: a=b\r\n\r\nGET /" HOST CLOSE, 3); }

Test(no_memory, large_answers) { each_allocation_fails("GET /large" HOST "\r\nGET /large" HOST CLOSE, 2); }

Test(no_memory, streamed_answers) { each_allocation_fails("GET /stream" HOST "\r\nGET /stream" HOST CLOSE, 2); }

Test(no_memory, batches) { each_allocation_fails("GET /batch" HOST "\r\nGET /batch" HOST "\r\nGET /batch" HOST CLOSE, 3); }

Test(no_memory, bodies) {
    each_allocation_fails("POST /echo/a" HOST "Content-Length: 5\r\n\r\nhello"
                          "POST /echo/b" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
                          "POST /echo/c" HOST "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                          "5\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
                          3);
}

Test(no_memory, refusals) {
    each_allocation_fails("GET /" HOST "\r\nGET /" HOST CLOSE "GET / HTTP/9.9\r\n\r\n", 2);
}

Test(no_memory, a_head_in_small_pieces) {
    char text[4096] = "GET /" HOST;
    for (int i = 0; i < 60; i++)
        strcat(text, "X-Field-With-A-Name: and a value of some length\r\n");
    strcat(text, CLOSE);
    each_allocation_fails(text, 1);
}
