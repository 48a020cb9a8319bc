/* test_exchange.c - the messages of one connection: requests in, answers out in the same order. */
#include "exchange.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "server.h"

TestSuite(exchange, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define EXPECTS "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
#define BIG_BYTES ((size_t)16 << 20) /* more than the kernel's buffers of one connection take */

static char big[BIG_BYTES];

static int answer_big(turbo_request *req, void *user) {
    turbo_response *resp = NULL;
    (void)user;
    if (turbo_response_new(&resp, 200) < 0)
        return -1;
    (void)turbo_response_body_static(resp, big, sizeof big);
    return turbo_request_respond(req, resp);
}

static void start(rig *r, client *c, uint32_t flags, const char *settings) {
    turbo_route_options *on_io = NULL;
    cr_assert_eq(turbo_route_options_new(&on_io), 0);
    cr_assert_eq(turbo_route_options_set(on_io, "executor", "inline"), 0);
    rig_listen(r, flags, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "POST", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/inline", on_io, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/big", on_io, answer_big, NULL), 0);
    rig_start(r);
    turbo_route_options_free(on_io);
    client_open(c, turbo_server_port(r->server));
}

static void end(rig *r, client *c) {
    client_close(c, 0);
    rig_end(r);
    cr_expect_not(failing_alloc_leaks());
}

static turbo_stats stats_of(const rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    (void)turbo_server_stats(r->server, &s);
    return s;
}

static int reply(turbo_request *req, const char *text) {
    return turbo_request_reply(req, 200, NULL, text, strlen(text));
}

/* -- trailers -- */

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"

static void expect_trailer(const turbo_request *req, size_t index, const char *name, const char *value) {
    turbo_str n = {NULL, 0}, v = {NULL, 0};
    cr_expect_eq(turbo_request_trailer_at(req, index, &n, &v), 0);
    cr_expect(n.len == strlen(name) && memcmp(n.data, name, n.len) == 0, "%zu", index);
    cr_expect(v.len == strlen(value) && memcmp(v.data, value, v.len) == 0, "%zu", index);
}

Test(exchange, trailers_are_the_handlers_apart_from_the_fields) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    client_send(&c, CHUNKED "X: head\r\n\r\n3\r\nabc\r\n0\r\n"
                            "X: 1\r\nConnection: close\r\nHost: evil\r\nx:  2 \r\n\r\n");
    AWAIT(r.seen.count == 1);
    turbo_request *req = r.seen.reqs[0];
    cr_assert_eq(turbo_request_trailer_count(req), 2, "the others are forbidden");
    expect_trailer(req, 0, "X", "1");
    expect_trailer(req, 1, "x", "2");
    cr_expect_eq(turbo_request_field_count(req), 3);
    turbo_str field = turbo_request_field(req, "X");
    cr_expect(field.len == 4 && memcmp(field.data, "head", 4) == 0);
    cr_expect_eq(reply(req, "x"), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_not(client_has(&c, "Connection: close"), "a trailer field does not act");
    end(&r, &c);
}

Test(exchange, trailers_of_a_refused_message_are_read_over) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    r.seen.runs = 1;
    client_send(&c, "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n" ASK);
    cr_expect_eq(client_answer(&c), 404);
    cr_expect_eq(client_answer(&c), 200);
    end(&r, &c);
}

/* -- order -- */

Test(exchange, answers_leave_in_the_order_of_their_requests) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    client_send(&c, ASK ASK ASK "GET /inline HTTP/1.1\r\nHost: a\r\n\r\n" "GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(r.seen.count == 3);
    cr_expect_eq(reply(r.seen.reqs[2], "2"), 0);
    cr_expect_eq(reply(r.seen.reqs[1], "1"), 0);
    AWAIT(stats_of(&r).taken == 5);
    cr_expect_eq(stats_of(&r).bytes_out, 0, "all wait for the first");
    cr_expect_eq(reply(r.seen.reqs[0], "0"), 0);
    for (char i = '0'; i <= '2'; i++) {
        cr_expect_eq(client_answer(&c), 200);
        cr_expect(c.body_len == 1 && c.body[0] == i, "%s", c.body);
    }
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "ok");
    cr_expect_eq(client_answer(&c), 404);
    expect_all_accounted(r.server, 5, 5, 0, 0, 0);
    end(&r, &c);
}

Test(exchange, an_error_leaves_behind_the_answers_before_it_and_ends_the_connection) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    client_send(&c, ASK "BAD\r\n\r\n" ASK);
    AWAIT(r.seen.count == 1 && stats_of(&r).parse_errors == 1);
    cr_expect_eq(reply(r.seen.reqs[0], "first"), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 400);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_answer(&c), 0);
    cr_expect_not(c.reset);
    expect_all_accounted(r.server, 2, 2, 0, 0, 0);
    end(&r, &c);
}

/* What answers while it is still being parsed, the inline executor and the library itself, has no request behind it to
 * look at: what lies behind it in the same bytes counts. */
Test(exchange, in_a_drain_the_last_answer_says_close_whoever_makes_it) {
    static const struct {
        const char *rest;
        int statuses[3];
    } cases[] = {{"ET /inline HTTP/1.1\r\nHost: a\r\n\r\n", {200}},
                 {"ET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", {404}},
                 {"ET /inline HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" ASK, {200, 404, 200}},
                 {"ET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /inline HTTP/1.1\r\nHost: a\r\n\r\n", {404, 200}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r;
        client c;
        start(&r, &c, 0, "");
        r.seen.runs = 1;
        client_send(&c, "G");
        AWAIT(stats_of(&r).taken == 1);
        cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
        AWAIT(*(const volatile uint8_t *)&r.server->ios[0]->group.draining);
        client_send(&c, cases[i].rest);
        for (size_t k = 0; k < 3 && cases[i].statuses[k] != 0; k++) {
            int is_last = k == 2 || cases[i].statuses[k + 1] == 0;
            cr_expect_eq(client_answer(&c), cases[i].statuses[k], "case %zu, %zu", i, k);
            cr_expect_eq(client_has(&c, "Connection: close"), is_last, "case %zu, %zu", i, k);
        }
        cr_expect_eq(client_answer(&c), 0);
        end(&r, &c);
    }
}

/* -- pipeline caps -- */

Test(exchange, reads_pipeline_max_messages_and_goes_on_at_half) {
    for (size_t sent = 63; sent <= 65; sent++) {
        rig r;
        client c;
        start(&r, &c, 0, "");
        for (size_t i = 0; i < sent; i++)
            client_send(&c, ASK);
        size_t most = sent < 64 ? sent : 64;
        AWAIT(r.seen.count == most);
        for (int i = 0; i < 20; i++)
            (void)await_longer(UINT64_MAX);
        cr_expect_eq(r.seen.count, most, "%zu were sent", sent);
        for (size_t i = 0; i < 31; i++)
            cr_expect_eq(reply(r.seen.reqs[i], "x"), 0);
        for (size_t i = 0; i < 31; i++)
            cr_expect_eq(client_answer(&c), 200);
        cr_expect_eq(r.seen.count, most, "33 are owed: hysteresis");
        cr_expect_eq(reply(r.seen.reqs[31], "x"), 0);
        AWAIT(r.seen.count == sent);
        for (size_t i = 32; i < sent; i++)
            cr_expect_eq(reply(r.seen.reqs[i], "x"), 0);
        for (size_t i = 31; i < sent; i++)
            cr_expect_eq(client_answer(&c), 200);
        end(&r, &c);
    }
}

Test(exchange, does_not_read_on_while_256_kib_wait_for_the_client) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    for (int i = 0; i < 4; i++)
        client_send(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(stats_of(&r).taken >= 1 && stats_of(&r).bytes_out > 0);
    for (int i = 0; i < 50; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(stats_of(&r).taken, 1, "one answer fills more than the limit");
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(client_answer(&c), 200);
        cr_assert_eq(c.body_len, sizeof big);
    }
    expect_all_accounted(r.server, 4, 4, 0, 0, 0);
    end(&r, &c);
}

Test(exchange, a_client_that_resets_while_it_is_not_read_is_noticed) {
    rig r;
    client c;
    start(&r, &c, 0, "pipeline_max=1");
    client_send(&c, ASK ASK ASK);
    AWAIT(r.seen.count == 1);
    client_close(&c, 1);
    AWAIT(stats_of(&r).connections == 0);
    cr_expect(turbo_request_cancelled(r.seen.reqs[0]));
    expect_all_accounted(r.server, 1, 0, 0, 1, 0);
    rig_end(&r);
}

/* -- full queue, full memory -- */

Test(exchange, requests_above_queue_max_are_answered_503_and_nothing_else_is_lost) {
    for (size_t over = 0; over <= 2; over++) {
        rig r;
        client c[6];
        size_t ok = 0, busy = 0, n = 3 + over; /* one in flight, two in the queue */
        rig_listen(&r, 0, "queue_max=2 inflight_max=1");
        cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
        rig_start(&r);
        turbo_shard *shard = turbo_server_shard(r.server, 0);
        for (size_t i = 0; i < n; i++) {
            client_open(&c[i], turbo_server_port(r.server));
            client_send(&c[i], ASK);
            AWAIT(stats_of(&r).taken == i + 1);
            if (i == 0)
                AWAIT(r.seen.count == 1);
            else if (i < 3)
                AWAIT(turbo_shard_queued(shard) == i);
            else
                AWAIT(stats_of(&r).shed == i - 2);
        }
        for (size_t i = 0; i < 3; i++) {
            AWAIT(r.seen.count == i + 1);
            cr_expect_eq(reply(r.seen.reqs[i], "ok"), 0);
        }
        for (size_t i = 0; i < n; i++) {
            int status = client_answer(&c[i]);
            ok += status == 200;
            busy += status == 503 && client_has(&c[i], "Retry-After: 1");
            cr_expect_eq(client_has(&c[i], "Connection: close"), 0, "the connection lives on");
            client_close(&c[i], 0);
        }
        cr_expect(ok == 3 && busy == over, "%zu and %zu", ok, busy);
        expect_all_accounted(r.server, n, 3, over, 0, 0);
        rig_end(&r);
    }
}

Test(exchange, bodies_above_body_memory_max_are_answered_503) {
    rig r;
    client holds, waits;
    start(&r, &holds, 0, "body_memory_max_bytes=10");
    client_send(&holds, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678");
    AWAIT(r.seen.count == 1);
    client_open(&waits, turbo_server_port(r.server));
    cr_expect_eq(client_ask(&waits, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"), 503);
    cr_expect(client_has(&waits, "Retry-After: 1"));
    cr_expect_eq(client_answer(&waits), 0);
    client_close(&waits, 0);
    client_open(&waits, turbo_server_port(r.server));
    client_send(&waits, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    AWAIT(r.seen.count == 2);
    cr_expect_eq(stats_of(&r).body_memory, 10);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(reply(r.seen.reqs[i], "ok"), 0);
    cr_expect_eq(client_answer(&holds), 200);
    cr_expect_eq(client_answer(&waits), 200);
    expect_all_accounted(r.server, 3, 2, 1, 0, 0);
    client_close(&waits, 0);
    end(&r, &holds);
}

/* -- refusals -- */

struct refusal {
    const char *request;
    int status, closes;
};

Test(exchange, requests_that_are_refused) {
    static const struct refusal cases[] = {
        {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, 0},
        {"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405, 0},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, 0},
        {"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 404, 0},
        {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 404, 0},
        {"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 404, 1},
        {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 404, 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413, 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 413, 1},
        /* Without the data: a size line is enough to know. */
        {CHUNKED "\r\n9\r\n012345678\r\n0\r\n\r\n", 200, 0},
        {CHUNKED "\r\na\r\n0123456789\r\n0\r\n\r\n", 200, 0},
        {CHUNKED "\r\nb\r\n", 413, 1},
        {CHUNKED "\r\nfffffffffffffff\r\n", 413, 1},
        {CHUNKED "\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n", 200, 0},
        {CHUNKED "\r\n4\r\n0123\r\n7\r\n", 413, 1},
        {CHUNKED "\r\na\r\n0123456789\r\n1\r\n", 413, 1},
        {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", 404, 0},
        {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n", 404, 1},
        {"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n7\r\n", 404, 1},
        {"POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", 404, 1},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 3\r\n\r\n", 417, 1},
        {"GET / HTTP/1.1\r\n\r\n", 400, 1},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r;
        client c;
        start(&r, &c, 0, "body_max_bytes=10");
        r.seen.runs = 1;
        cr_expect_eq(client_ask(&c, cases[i].request), cases[i].status, "%s", cases[i].request);
        cr_expect_eq(client_has(&c, "Connection: close"), cases[i].closes, "%s", cases[i].request);
        if (cases[i].status == 405)
            cr_expect_not_null(strstr(c.head, "Allow: "));
        if (cases[i].closes)
            cr_expect_eq(client_answer(&c), 0);
        else
            cr_expect_eq(client_ask(&c, ASK), 200);
        cr_expect_not(c.reset);
        end(&r, &c);
    }
}

Test(exchange, continue_is_offered_once_the_answers_before_it_have_left) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    client_send(&c, ASK EXPECTS);
    AWAIT(r.seen.count == 1 && stats_of(&r).taken == 2);
    cr_expect_eq(stats_of(&r).bytes_out, 0);
    cr_expect_eq(reply(r.seen.reqs[0], "ok"), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 100);
    client_send(&c, "abc");
    AWAIT(r.seen.count == 2);
    cr_expect_eq(reply(r.seen.reqs[1], "ok"), 0);
    cr_expect_eq(client_answer(&c), 200);
    end(&r, &c);
}

Test(exchange, continue_is_not_said_when_a_byte_of_the_body_came_with_the_head) {
    static const char *const parts[][2] = {
        {EXPECTS "abc", ""}, {EXPECTS "a", "bc"},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
         "bc\r\n0\r\n\r\n"}};
    for (size_t i = 0; i < 6; i++) {
        rig r;
        client c;
        start(&r, &c, 0, i < 3 ? "" : "io_threads=0");
        client_send(&c, parts[i % 3][0]);
        AWAIT(stats_of(&r).bytes_in >= strlen(parts[i % 3][0]));
        client_send(&c, parts[i % 3][1]);
        AWAIT(r.seen.count == 1);
        cr_expect_eq(turbo_request_body(r.seen.reqs[0]).len, 3);
        cr_expect_eq(reply(r.seen.reqs[0], "ok"), 0);
        cr_expect_eq(client_answer(&c), 200);
        client_send(&c, EXPECTS); /* and the next time it is */
        cr_expect_eq(client_answer(&c), 100);
        client_send(&c, "abc");
        AWAIT(r.seen.count == 2);
        cr_expect_eq(reply(r.seen.reqs[1], "ok"), 0);
        cr_expect_eq(client_answer(&c), 200);
        end(&r, &c);
    }
}

Test(exchange, continue_is_offered_to_what_was_kept_back) {
    rig r;
    client c;
    start(&r, &c, 0, "pipeline_max=1");
    client_send(&c, ASK EXPECTS);
    AWAIT(r.seen.count == 1);
    cr_expect_eq(reply(r.seen.reqs[0], "ok"), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 100);
    client_send(&c, "abc");
    AWAIT(r.seen.count == 2);
    cr_expect_eq(reply(r.seen.reqs[1], "ok"), 0);
    cr_expect_eq(client_answer(&c), 200);
    end(&r, &c);
}

Test(exchange, slow_messages_are_answered_408_and_idle_connections_closed) {
    static const char *const cases[][2] = {
        {"head_timeout_ms=1", "GET / HT"},
        {"body_stall_timeout_ms=1", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"},
        {"idle_timeout_ms=1", ""}};
    for (size_t i = 0; i < 3; i++) {
        rig r;
        client c;
        start(&r, &c, 0, cases[i][0]);
        client_send(&c, cases[i][1]);
        cr_expect_eq(client_answer(&c), i < 2 ? 408 : 0, "%s", cases[i][0]);
        if (i < 2)
            cr_expect_eq(client_answer(&c), 0);
        cr_expect_not(c.reset);
        turbo_stats s = stats_of(&r);
        cr_expect(s.timeouts_head == (i == 0) && s.timeouts_body == (i == 1) && s.timeouts_idle == (i == 2));
        expect_all_accounted(r.server, i < 2, i < 2, 0, 0, 0);
        end(&r, &c);
    }
}

/* -- clients that go -- */

Test(exchange, a_half_closed_client_is_answered_in_full) {
    rig r;
    client c;
    start(&r, &c, 0, "");
    client_send(&c, ASK ASK);
    client_fin(&c);
    AWAIT(r.seen.count == 2);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(reply(r.seen.reqs[i], "ok"), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 0);
    expect_all_accounted(r.server, 2, 2, 0, 0, 0);
    end(&r, &c);
}

Test(exchange, on_fin_cancel_drops_its_requests) {
    rig r;
    client c;
    start(&r, &c, 0, "on_fin=cancel");
    client_send(&c, ASK);
    AWAIT(r.seen.count == 1);
    client_fin(&c);
    AWAIT(turbo_request_cancelled(r.seen.reqs[0]));
    cr_expect_eq(client_answer(&c), 0);
    expect_all_accounted(r.server, 1, 0, 0, 1, 0);
    end(&r, &c);
}

Test(exchange, a_message_that_will_never_be_whole_is_dropped) {
    static const char *const parts[] = {"GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
                                        "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
                                        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"};
    for (size_t i = 0; i < 4; i++) {
        rig r;
        client c;
        start(&r, &c, 0, "");
        client_send(&c, ASK);
        AWAIT(r.seen.count == 1);
        client_send(&c, parts[i]);
        AWAIT(stats_of(&r).taken == 2);
        client_fin(&c);
        AWAIT(stats_of(&r).dropped == 1);
        cr_expect_eq(reply(r.seen.reqs[0], "ok"), 0);
        cr_expect_eq(client_answer(&c), 200, "the one before it is not");
        cr_expect_eq(client_answer(&c), 0);
        expect_all_accounted(r.server, 2, 1, 0, 1, 0);
        end(&r, &c);
    }
}

Test(exchange, an_executor_is_told_when_the_client_has_gone) {
    rig r;
    client c;
    start(&r, &c, TURBO_EXECUTOR_DRIVEN, "");
    client_send(&c, ASK);
    AWAIT(rig_poll(&r) == 0 && r.seen.count == 1);
    client_close(&c, 1);
    AWAIT(rig_poll(&r) == 0 && r.seen.events[0] == TURBO_EVENT_GONE);
    cr_expect_eq(reply(r.seen.reqs[0], "nobody"), 0, "also when the client has gone");
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    expect_all_accounted(r.server, 1, 0, 0, 1, 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* Refusals of a driven shard go home by mail, too: the connection ends before they are there. */
Test(exchange, a_refused_client_that_resets_at_once_is_dropped) {
    static const char *const requests[] = {"BAD\r\n\r\n", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
                                           "PUT / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"};
    for (size_t i = 0; i < 4; i++) {
        rig r;
        client c;
        start(&r, &c, TURBO_EXECUTOR_DRIVEN, "io_threads=0");
        AWAIT(rig_poll(&r) == 0 && stats_of(&r).connections == 1);
        client_send(&c, requests[i]);
        client_close(&c, 1);
        AWAIT(rig_poll(&r) == 0 && stats_of(&r).connections == 0);
        rig_settle(&r);
        expect_all_accounted(r.server, 1, 0, 0, 1, 0);
        rig_end(&r);
        cr_expect_not(failing_alloc_leaks());
    }
}

/* -- without memory: all on the test's thread, so that it chooses which allocation fails -- */

static int answer_streamed(turbo_request *req, void *user) {
    static char part[5000];
    turbo_response *resp = NULL;
    int rc = turbo_response_new(&resp, 200);
    (void)user;
    if (rc < 0 || (rc = turbo_response_body_copy(resp, "first", 5)) < 0 ||
        (rc = turbo_request_respond_begin(req, resp)) < 0) {
        turbo_response_free(resp);
        return rc;
    }
    memset(part, 'p', sizeof part);
    for (int i = 0; i < 3; i++)
        if ((rc = turbo_request_respond_write(req, part, sizeof part)) < 0)
            return rc;
    return turbo_request_respond_end(req);
}

static int answer_large(turbo_request *req, void *user) {
    static char large[9000];
    (void)user;
    memset(large, 'l', sizeof large);
    return turbo_request_reply(req, 200, "text/plain", large, sizeof large);
}

/* Serve one request whose nth allocation fails, until the connection ends. @return 1 when there were so many. */
static int serve_without_memory(rig *r, const char *request, size_t nth) {
    char buf[65536];
    client c;
    ssize_t n;
    client_open(&c, turbo_server_port(r->server));
    client_send(&c, request);
    client_fin(&c);
    failing_alloc_arm(nth);
    AWAIT(rig_poll(r) == 0 && ((n = recv(c.fd, buf, sizeof buf, MSG_DONTWAIT)) == 0 || (n < 0 && errno != EAGAIN)));
    int failed = failing_alloc_disarm();
    client_close(&c, 0);
    return failed;
}

Test(exchange, whichever_allocation_fails_the_request_is_accounted_for_and_the_server_goes_on) {
    static const char chunked[] = "POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "3\r\nabc\r\n600\r\n";
    static const char trailers[] = "POST /in HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "0\r\nA: b\r\nC: d\r\n\r\n";
    static char body[sizeof chunked + 0x600 + 8];
    static const char *const requests[] = {ASK, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
                                           "GET /streamed HTTP/1.1\r\nHost: a\r\n\r\n" ASK, body, trailers,
                                           "BAD\r\n\r\n", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"};
    rig r;
    strcpy(body, chunked);
    memset(body + sizeof chunked - 1, 'b', 0x600);
    strcpy(body + sizeof chunked - 1 + 0x600, "\r\n0\r\n\r\n");
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, "io_threads=0");
    r.seen.runs = 1;
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r.server, "POST", "/in", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r.server, "GET", "/large", NULL, answer_large, NULL), 0);
    cr_assert_eq(turbo_server_route(r.server, "GET", "/streamed", NULL, answer_streamed, NULL), 0);
    rig_start(&r);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        size_t nth = 1;
        while (serve_without_memory(&r, requests[i], nth))
            cr_assert_lt(nth++, 100);
        cr_expect_gt(nth, 1, "nothing was allocated for %s", requests[i]);
        turbo_stats s = stats_of(&r);
        cr_expect_eq(s.taken, s.answered + s.shed + s.dropped + s.abandoned, "%s", requests[i]);
        cr_expect_eq(s.connections, 0);
        cr_expect_eq(s.body_memory, 0);
        cr_expect_eq(turbo_shard_inflight(turbo_server_shard(r.server, 0)), 0);
    }
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}
