/* test_held.c - requests that are not worked on together (RFC 9112 9.3.2): one of them is held until the others are
 * answered, and nothing behind it is read. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "io.h"
#include "server.h"

TestSuite(held, .timeout = 120);

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
#define REQUEST(method, path) method " " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct topology {
    uint32_t flags;
    const char *settings;
} topologies[] = {
    {0, ""}, {0, "io_threads=0"}, {TURBO_EXECUTOR_DRIVEN, ""}, {TURBO_EXECUTOR_DRIVEN, "io_threads=0"}};
#define TOPOLOGIES (sizeof topologies / sizeof *topologies)

static char large[(size_t)16 << 20]; /* more than the kernel's buffers of one connection take */

static _Atomic(turbo_request *) kept; /* by the handler of /kept, on the I/O loop */

/* Poll what the test drives, until a condition is met. */
#define RUN_UNTIL(r, condition) AWAIT((!(r)->driven || rig_poll(r) == 0) && (condition))

static void start_with(rig *r, client *c, size_t topology, const char *more) {
    char settings[256];
    turbo_route_options *on_io = NULL;
    (void)snprintf(settings, sizeof settings, "%s %s", topologies[topology].settings, more);
    cr_assert_eq(turbo_route_options_new(&on_io), 0);
    cr_assert_eq(turbo_route_options_set(on_io, "executor", "inline"), 0);
    rig_listen(r, topologies[topology].flags, settings);
    cr_assert_eq(turbo_server_route(r->server, NULL, "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "TRACE", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/only", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, NULL, "/inline", on_io, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, NULL, "/kept", on_io, keep_request, &kept), 0);
    rig_start(r);
    turbo_route_options_free(on_io);
    client_open(c, turbo_server_port(r->server));
}

static void start(rig *r, client *c, const char *more) { start_with(r, c, 0, more); }

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

/* So many are read, and so many of them worked on, however long one waits; and the loop sleeps meanwhile. */
static void expect_begun(rig *r, size_t count, uint64_t taken) {
    RUN_UNTIL(r, r->seen.count >= count && stats_of(r).taken >= taken);
    for (int i = 0; i < 10; i++) {
        if (r->driven)
            rig_settle(r); /* never comes back from a loop that is busy */
        (void)await_longer(UINT64_MAX);
    }
    cr_expect_eq(r->seen.count, count, "%zu are worked on, not %zu", r->seen.count, count);
    cr_expect_eq(stats_of(r).taken, taken, "%zu are read, not %zu", (size_t)stats_of(r).taken, (size_t)taken);
}

static void flush(rig *r) {
    if (r->driven)
        turbo_shard_flush(turbo_server_shard(r->server, 0));
}

static void reply(rig *r, size_t i, const char *text) {
    cr_expect_eq(turbo_request_reply(r->seen.reqs[i], 200, NULL, text, strlen(text)), 0);
    flush(r);
}

static void reply_large(rig *r, size_t i) {
    cr_expect_eq(turbo_request_reply(r->seen.reqs[i], 200, NULL, large, sizeof large), 0);
}

static void reply_static(rig *r, size_t i) {
    turbo_response *resp = NULL;
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_response_body_static(resp, large, sizeof large), 0);
    cr_expect_eq(turbo_request_respond(r->seen.reqs[i], resp), 0);
}

/* The next answer. @return its status. */
static int answer(rig *r, client *c) {
    char byte;
    RUN_UNTIL(r, c->len > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
    return client_answer(c);
}

static void expect_answer(rig *r, client *c, const char *body) {
    cr_expect_eq(answer(r, c), 200);
    cr_expect_str_eq(c->body, body);
}

/* -- what is held, and until when -- */

Test(held, other_than_safe_methods_are_worked_on_alone) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, POST GET GET POST GET GET);
        expect_begun(&r, 1, 2);
        reply(&r, 0, "0");
        expect_begun(&r, 3, 4);
        reply(&r, 2, "2");
        expect_begun(&r, 3, 4);
        reply(&r, 1, "1");
        expect_begun(&r, 4, 5);
        cr_expect_eq(turbo_request_method(r.seen.reqs[3]).len, 4);
        cr_expect_eq(turbo_request_body(r.seen.reqs[3]).len, 2);
        reply(&r, 3, "3");
        expect_begun(&r, 6, 6);
        reply(&r, 5, "5");
        reply(&r, 4, "4");
        for (char body[2] = "0"; body[0] <= '5'; body[0]++)
            expect_answer(&r, &c, body);
        expect_all_accounted(r.server, 6, 6, 0, 0, 0);
        end(&r, &c);
    }
}

Test(held, only_the_four_safe_methods_are_worked_on_together) {
    static const char *const safe[] = {REQUEST("GET", "/"), REQUEST("HEAD", "/"), REQUEST("OPTIONS", "/"),
                                       REQUEST("TRACE", "/")};
    static const char *const others[] = {REQUEST("PUT", "/"), REQUEST("DELETE", "/"), REQUEST("PATCH", "/"),
                                         REQUEST("POST", "/"), REQUEST("get", "/"), REQUEST("QUERY", "/")};
    rig r;
    client c;
    start(&r, &c, "");
    for (size_t i = 0; i < 4; i++)
        client_send(&c, safe[i]);
    expect_begun(&r, 4, 4);
    client_close(&c, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        size_t before = r.seen.count;
        uint64_t taken = stats_of(&r).taken;
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, others[i]);
        client_send(&c, safe[i % 4]);
        expect_begun(&r, before + 1, taken + 2);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, safe[i % 4]);
        client_send(&c, others[i]);
        expect_begun(&r, before + 2, taken + 4);
        client_close(&c, 0);
    }
    client_open(&c, turbo_server_port(r.server));
    end(&r, &c);
}

Test(held, other_connections_do_not_wait) {
    rig r;
    client c, other;
    start(&r, &c, "");
    client_send(&c, POST GET);
    expect_begun(&r, 1, 2);
    client_open(&other, turbo_server_port(r.server));
    client_send(&other, POST);
    expect_begun(&r, 2, 3);
    client_close(&other, 0);
    end(&r, &c);
}

Test(held, handlers_that_answer_at_once_hold_nothing) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, REQUEST("POST", "/inline") REQUEST("PUT", "/inline") REQUEST("GET", "/inline") GET);
        expect_begun(&r, 1, 4);
        for (int k = 0; k < 3; k++)
            expect_answer(&r, &c, "ok");
        reply(&r, 0, "last");
        expect_answer(&r, &c, "last");
        end(&r, &c);
    }
}

Test(held, inline_handlers_that_answer_later_are_waited_for_and_wait) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, REQUEST("POST", "/kept") GET REQUEST("PUT", "/inline") GET);
        expect_begun(&r, 0, 2);
        turbo_request *req = atomic_load(&kept);
        cr_assert_not_null(req);
        cr_expect_eq(turbo_request_reply(req, 200, NULL, "kept", 4), 0);
        turbo_request_release(req);
        expect_begun(&r, 1, 3);
        reply(&r, 0, "get");
        expect_begun(&r, 2, 4);
        expect_answer(&r, &c, "kept");
        expect_answer(&r, &c, "get");
        expect_answer(&r, &c, "ok");
        reply(&r, 1, "last");
        expect_answer(&r, &c, "last");
        end(&r, &c);
    }
}

Test(held, a_streamed_answer_is_waited_for_to_its_end) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_response *resp = NULL;
        start_with(&r, &c, i, "");
        client_send(&c, POST POST);
        expect_begun(&r, 1, 2);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(r.seen.reqs[0], resp), 0);
        cr_assert_eq(turbo_request_respond_write(r.seen.reqs[0], "part", 4), 0);
        flush(&r);
        RUN_UNTIL(&r, stats_of(&r).bytes_out > 0);
        expect_begun(&r, 1, 2);
        cr_assert_eq(turbo_request_respond_end(r.seen.reqs[0]), 0);
        flush(&r);
        expect_begun(&r, 2, 2);
        expect_answer(&r, &c, "part");
        reply(&r, 1, "next");
        expect_answer(&r, &c, "next");
        end(&r, &c);
    }
}

Test(held, what_the_library_answers_itself_neither_waits_nor_is_waited_for) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, GET REQUEST("POST", "/none") REQUEST("POST", "/only") GET POST);
        expect_begun(&r, 2, 5);
        reply(&r, 1, "1");
        reply(&r, 0, "0");
        expect_begun(&r, 3, 5);
        expect_answer(&r, &c, "0");
        cr_expect_eq(answer(&r, &c), 404);
        cr_expect_eq(answer(&r, &c), 405);
        expect_answer(&r, &c, "1");
        client_send(&c, REQUEST("GET", "/none") GET);
        expect_begun(&r, 3, 7);
        reply(&r, 2, "2");
        expect_begun(&r, 4, 7);
        expect_answer(&r, &c, "2");
        cr_expect_eq(answer(&r, &c), 404);
        end(&r, &c);
    }
}

static void expect_large(rig *r, client *c) {
    cr_expect_eq(answer(r, c), 200);
    cr_expect_eq(c->body_len, sizeof large);
}

/* Sixteen of 64 MiB would hold a GiB, whatever unsent_max_bytes says. */
Test(held, answers_that_hold_much_memory_are_made_one_by_one) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, GET GET); /* nobody knows yet */
        expect_begun(&r, 2, 2);
        reply_large(&r, 0);
        reply_large(&r, 1);
        expect_large(&r, &c);
        expect_large(&r, &c);
        client_send(&c, GET REQUEST("GET", "/only") GET GET GET);
        expect_begun(&r, 4, 5); /* another route does not wait, but what waits is waited for */
        reply_large(&r, 2);
        expect_begun(&r, 4, 5);
        expect_large(&r, &c);
        reply(&r, 3, "3");
        expect_answer(&r, &c, "3");
        expect_begun(&r, 5, 6);
        reply_large(&r, 4);
        expect_begun(&r, 5, 6); /* the client does not read */
        expect_large(&r, &c);
        expect_begun(&r, 6, 7);
        reply(&r, 5, "5");
        expect_begun(&r, 7, 7);
        reply(&r, 6, "6");
        expect_answer(&r, &c, "5");
        expect_answer(&r, &c, "6");
        end(&r, &c);
    }
}

Test(held, answers_that_are_there_anyway_are_not_waited_for) {
    rig r;
    client c;
    start(&r, &c, "");
    client_send(&c, GET);
    expect_begun(&r, 1, 1);
    reply_static(&r, 0);
    expect_large(&r, &c);
    client_send(&c, GET GET GET);
    expect_begun(&r, 4, 4);
    for (size_t i = 1; i < 4; i++)
        reply(&r, i, "static");
    for (size_t i = 1; i < 4; i++)
        expect_answer(&r, &c, "static");
    end(&r, &c);
}

Test(held, what_was_shed_is_waited_for_no_longer) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client busy, queued, c;
        start_with(&r, &busy, i, "queue_max=1 inflight_max=1");
        client_send(&busy, GET);
        expect_begun(&r, 1, 1);
        client_open(&queued, turbo_server_port(r.server));
        client_send(&queued, GET);
        RUN_UNTIL(&r, turbo_shard_queued(turbo_server_shard(r.server, 0)) == 1);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, POST GET POST REQUEST("GET", "/inline"));
        for (int k = 0; k < 3; k++)
            cr_expect_eq(answer(&r, &c), 503);
        expect_answer(&r, &c, "ok");
        reply(&r, 0, "0");
        expect_begun(&r, 2, 6);
        reply(&r, 1, "1");
        expect_answer(&r, &busy, "0");
        expect_answer(&r, &queued, "1");
        expect_all_accounted(r.server, 6, 3, 3, 0, 0);
        client_close(&busy, 0);
        client_close(&queued, 0);
        end(&r, &c);
    }
}

Test(held, continue_is_offered_behind_it) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, POST REQUEST("PUT", "/inline") "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                                       "Content-Length: 2\r\n\r\n");
        expect_begun(&r, 1, 2);
        reply(&r, 0, "0");
        expect_answer(&r, &c, "0");
        expect_answer(&r, &c, "ok");
        cr_expect_eq(answer(&r, &c), 100);
        client_send(&c, "ab");
        expect_begun(&r, 2, 3);
        reply(&r, 1, "1");
        expect_answer(&r, &c, "1");
        end(&r, &c);
    }
}

/* -- bad news -- */

Test(held, an_error_behind_it_comes_behind_its_answer) {
    rig r;
    client c;
    start(&r, &c, "");
    client_send(&c, POST GET "BAD\r\n\r\n" GET);
    expect_begun(&r, 1, 2);
    cr_expect_eq(stats_of(&r).parse_errors, 0, "it is not read yet");
    reply(&r, 0, "0");
    AWAIT(stats_of(&r).parse_errors == 1);
    expect_begun(&r, 2, 3);
    reply(&r, 1, "1");
    expect_answer(&r, &c, "0");
    expect_answer(&r, &c, "1");
    cr_expect_eq(client_answer(&c), 400);
    cr_expect_eq(client_answer(&c), 0);
    cr_expect_not(c.reset);
    expect_all_accounted(r.server, 3, 3, 0, 0, 0);
    end(&r, &c);
}

Test(held, an_answer_that_ends_the_connection_drops_it) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_response *resp = NULL;
        start_with(&r, &c, i, "");
        client_send(&c, GET GET POST GET);
        expect_begun(&r, 2, 3);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_response_field_add(resp, "Connection", 10, "close", 5), 0);
        cr_assert_eq(turbo_request_respond(r.seen.reqs[1], resp), 0);
        flush(&r);
        expect_begun(&r, 2, 3);
        reply(&r, 0, "0");
        expect_answer(&r, &c, "0");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_eq(answer(&r, &c), 0);
        expect_begun(&r, 2, 3);
        expect_all_accounted(r.server, 3, 2, 0, 1, 0);
        end(&r, &c);
    }
}

Test(held, no_time_limit_is_for_it) {
    rig r;
    client c;
    start(&r, &c, "head_timeout_ms=1 body_stall_timeout_ms=1 idle_timeout_ms=1");
    client_send(&c, POST POST "GET / HT");
    expect_begun(&r, 1, 2); /* for 10 ms */
    reply(&r, 0, "0");
    expect_answer(&r, &c, "0");
    expect_begun(&r, 2, 3);
    reply(&r, 1, "1");
    expect_answer(&r, &c, "1");
    cr_expect_eq(client_answer(&c), 408, "the one behind it is slow");
    turbo_stats s = stats_of(&r);
    cr_expect(s.timeouts_head == 1 && s.timeouts_body == 0 && s.timeouts_idle == 0);
    expect_all_accounted(r.server, 3, 3, 0, 0, 0);
    end(&r, &c);
}

/* -- clients that go -- */

Test(held, a_half_closed_client_gets_its_answer_too) {
    static const char *const wires[] = {
        POST GET, POST "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", POST "GET / HTTP/1.0\r\n\r\n"};
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        for (size_t k = 0; k < 6; k++) {
            rig r;
            client c;
            start_with(&r, &c, i, "");
            client_send(&c, wires[k % 3]);
            if (k < 3) /* the end comes with the bytes */
                client_fin(&c);
            expect_begun(&r, 1, 2);
            if (k >= 3)
                client_fin(&c);
            reply(&r, 0, "0");
            expect_begun(&r, 2, 2);
            reply(&r, 1, "1");
            expect_answer(&r, &c, "0");
            expect_answer(&r, &c, "1");
            cr_expect_eq(answer(&r, &c), 0);
            cr_expect_not(c.reset);
            expect_all_accounted(r.server, 2, 2, 0, 0, 0);
            end(&r, &c);
        }
    }
}

Test(held, it_is_dropped_when_the_client_has_gone) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        for (int cancels = 0; cancels < 2; cancels++) {
            rig r;
            client c;
            start_with(&r, &c, i, cancels ? "on_fin=cancel" : "");
            client_send(&c, POST GET GET);
            expect_begun(&r, 1, 2);
            if (cancels)
                client_fin(&c);
            else
                client_close(&c, 1);
            RUN_UNTIL(&r, stats_of(&r).connections == 0);
            RUN_UNTIL(&r, turbo_request_cancelled(r.seen.reqs[0]));
            reply(&r, 0, "nobody");
            expect_begun(&r, 1, 2);
            expect_all_accounted(r.server, 2, 0, 0, 2, 0);
            if (!cancels)
                client_open(&c, turbo_server_port(r.server));
            end(&r, &c);
        }
    }
}

/* -- stops -- */

/* Whether the stop has come to the loop of the connections. */
static int is_draining(const rig *r) { return *(const volatile uint8_t *)&r->server->ios[0]->group.draining; }

Test(held, a_drain_answers_it) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, POST GET);
        expect_begun(&r, 1, 2);
        cr_expect_eq(turbo_server_stop(r.server, NULL, NULL), 0);
        RUN_UNTIL(&r, is_draining(&r));
        expect_begun(&r, 1, 2);
        reply(&r, 0, "0");
        expect_begun(&r, 2, 2);
        reply(&r, 1, "1");
        expect_answer(&r, &c, "0");
        cr_expect_not(client_has(&c, "Connection: close"));
        expect_answer(&r, &c, "1");
        cr_expect(client_has(&c, "Connection: close"));
        client_close(&c, 0);
        if (r.driven)
            AWAIT(rig_poll(&r) == 1);
        cr_expect_eq(turbo_server_wait(r.server), 0);
        expect_all_accounted(r.server, 2, 2, 0, 0, 0);
        rig_end(&r);
        cr_expect_not(failing_alloc_leaks());
    }
}

Test(held, an_abort_abandons_it) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, POST GET GET);
        expect_begun(&r, 1, 2);
        cr_expect_eq(turbo_server_abort(r.server), 0);
        if (r.driven)
            AWAIT(rig_poll(&r) == 1);
        cr_expect_eq(turbo_server_wait(r.server), 0);
        cr_expect_eq(r.seen.count, 1);
        expect_all_accounted(r.server, 2, 0, 0, 0, 2);
        end(&r, &c);
    }
}
