/* test_body_end.c - how request bodies that are read while they arrive end, and what stays of the connection. */
#include "body.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/failing_alloc.h"
#include "../support/upload.h"
#include "server.h"

TestSuite(body_end, .timeout = 120);

#define BIG ((size_t)8 << 20) /* more than the sockets between client and server hold, and than a window */

/* -- ends -- */

/* errors: turbo_request_body_read TURBO_ETOOBIG */
Test(body_end, above_its_maximum_is_413_unless_the_handler_says_else) {
    rig r;
    client c;
    turbo_str part;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/small", "Content-Length: 11\r\n"));
    cr_expect_eq(upload_answer(&r, &c), 413, "at once");
    cr_expect_eq(r.seen.count, 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/small", "Content-Length: 10\r\n") "0123456789");
    EXPECT_READ(&r, upload_request(&r, 0), 0, "0123456789");
    upload_reply(&r, 0, "fits");
    cr_expect_eq(upload_answer(&r, &c), 200);
    client_send(&c, HEAD("/small", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n8\r\n");
    turbo_request *req = upload_request(&r, 1);
    EXPECT_READ(&r, req, TURBO_ETOOBIG, "abc");
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(upload_answer(&r, &c), 413);
    cr_expect(client_has(&c, "Connection: close"));
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/small", "Transfer-Encoding: chunked\r\n") "b\r\n");
    EXPECT_READ(&r, upload_request(&r, 2), TURBO_ETOOBIG, "");
    upload_reply(&r, 2, "mine");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    expect_all_accounted(r.server, 4, 4, 0, 0, 0);
    upload_end(&r, &c);
}

Test(body_end, that_is_malformed_is_400) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\nnonsense\r\n");
    turbo_request *req = upload_request(&r, 0);
    EXPECT_READ(&r, req, TURBO_ECLOSED, "abc");
    cr_expect_eq(turbo_request_cancelled(req), 0);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(upload_answer(&r, &c), 400);
    cr_expect_eq(client_rest(&c), 0);
    upload_end(&r, &c);
}

Test(body_end, above_the_limits_of_trailers_and_extensions_is_431) {
    static char extension[4200];
    static const char *const rests[] = {"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n", extension};
    memset(extension, 'e', sizeof extension - 1);
    memcpy(extension, "1;", 2);
    for (size_t i = 0; i < 2; i++) {
        rig r;
        client c;
        upload_start(&r, &c, 0, "fields_max=2 head_max_bytes=4096");
        client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n");
        client_send(&c, rests[i]);
        turbo_request *req = upload_request(&r, 0);
        EXPECT_READ(&r, req, TURBO_ECLOSED, "abc");
        cr_expect_eq(turbo_request_cancelled(req), 0);
        cr_expect_eq(turbo_request_fail(req), 0);
        cr_expect_eq(upload_answer(&r, &c), 431);
        cr_expect_eq(client_rest(&c), 0);
        upload_end(&r, &c);
    }
}

Test(body_end, that_stalls_is_408) {
    rig r;
    client c;
    upload_prepare(&r, 0, "");
    r.server->settings.body_stall_timeout_ms = 20;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
    turbo_request *req = upload_request(&r, 0);
    EXPECT_READ(&r, req, TURBO_ECLOSED, "abc");
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(upload_answer(&r, &c), 408);
    upload_end(&r, &c);
}

/* errors: turbo_request_body_read TURBO_ENOMEM */
Test(body_end, above_the_memory_of_the_server_is_503) {
    rig r;
    client c;
    char data[20000] = "";
    upload_start(&r, &c, 0, "body_memory_max_bytes=10000");
    client_send(&c, HEAD("/up", "Content-Length: 100000\r\n"));
    turbo_request *req = upload_request(&r, 0);
    client_send_bytes(&c, data, sizeof data);
    turbo_str part;
    int rc;
    while ((rc = upload_read_part(&r, req, &part)) == 1) {
    }
    cr_expect_eq(rc, TURBO_ENOMEM);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ENOMEM);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(upload_answer(&r, &c), 503);
    upload_end(&r, &c);
    cr_expect_eq(failing_alloc_leaks(), 0);
}

/* -- no memory: the same status as of a gathered body, and shed if its handler was not run -- */

#define NO_MEMORY "body_memory_max_bytes=1 shed_status=429 retry_after_s=5"

static void expect_shed(rig *r, client *c, int status, const char *retry_after) {
    cr_expect_eq(upload_answer(r, c), status);
    cr_expect(retry_after == NULL ? strstr(c->head, "Retry-After") == NULL : client_has(c, retry_after), "%s", c->head);
    cr_expect(client_has(c, "Connection: close"));
    cr_expect_eq(client_rest(c), 0);
    client_close(c, 0);
}

/* Send a request's head with a part of its body, which has been looked at when the call returns. */
static void send_in_two_parts(rig *r, client *c, const char *head) {
    uint64_t before = upload_bytes_in(r);
    client_send(c, head);
    RUN_UNTIL(r, upload_bytes_in(r) == before + strlen(head));
    client_send(c, "x");
    RUN_UNTIL(r, upload_bytes_in(r) == before + strlen(head) + 1);
}

Test(body_end, without_memory_before_its_handler_begins_is_shed) {
    static const char *const paths[] = {"/", "/up", "/own", "/fails"};
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client first, c;
        upload_prepare(&r, i, NO_MEMORY " inflight_max=1");
        upload_route(&r, "/own", "body=streamed shed_status=503 retry_after_s=7", answer_ok, NULL);
        upload_route(&r, "/fails", "body=streamed retry_after_s=0", NULL, NULL);
        rig_start(&r);
        for (size_t n = 0; n < 4; n++) {
            char head[200];
            client_open(&first, turbo_server_port(r.server));
            client_send(&first, GET);
            upload_request(&r, n);
            client_open(&c, turbo_server_port(r.server));
            (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", paths[n]);
            send_in_two_parts(&r, &c, head);
            upload_reply(&r, n, "first");
            cr_expect_eq(upload_answer(&r, &first), 200);
            client_close(&first, 0);
            expect_shed(&r, &c, n == 2 ? 503 : 429, n == 2 ? "Retry-After: 7" : n == 3 ? NULL : "Retry-After: 5");
        }
        upload_settle(&r);
        cr_expect_eq(r.seen.count, 4, "no handler was run");
        expect_all_accounted(r.server, 8, 4, 4, 0, 0);
        cr_expect_eq(upload_stats(&r).timeouts_queue, 0);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        client_open(&c, turbo_server_port(r.server));
        upload_end(&r, &c);
    }
}

/* Or bodies that will never be whole would keep it from those that could. */
Test(body_end, without_memory_gives_back_what_it_had_before_its_turn_comes) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client first, c;
        char data[8000] = "";
        upload_prepare(&r, i, "body_memory_max_bytes=6000 inflight_max=1");
        rig_start(&r);
        client_open(&first, turbo_server_port(r.server));
        client_send(&first, GET);
        upload_request(&r, 0);
        client_open(&c, turbo_server_port(r.server));
        send_in_two_parts(&r, &c, HEAD("/up", "Content-Length: 9000\r\n") "abc");
        cr_expect_gt(atomic_load(&r.server->body_memory), 4096);
        client_send_bytes(&c, data, sizeof data);
        RUN_UNTIL(&r, atomic_load(&r.server->body_memory) == 0);
        upload_reply(&r, 0, "first");
        cr_expect_eq(upload_answer(&r, &first), 200);
        client_close(&first, 0);
        expect_shed(&r, &c, 503, "Retry-After: 1");
        client_open(&c, turbo_server_port(r.server));
        upload_end(&r, &c);
    }
}

typedef struct pooled {
    atomic_int begun, go;
} pooled;

static int wait_in_pool(turbo_request *req, void *user) {
    pooled *pool = user;
    atomic_fetch_add(&pool->begun, 1);
    AWAIT(atomic_load(&pool->go));
    return turbo_request_reply(req, 200, NULL, "ok", 2);
}

Test(body_end, without_memory_while_it_waits_for_a_thread_is_shed) {
    rig r;
    client first, c;
    pooled pool = {0};
    upload_prepare(&r, 0, NO_MEMORY);
    upload_route(&r, "/pool", "body=streamed threads=1", wait_in_pool, &pool);
    atomic_store(&r.seen.runs, 1);
    rig_start(&r);
    client_open(&first, turbo_server_port(r.server));
    client_send(&first, "GET /pool HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(atomic_load(&pool.begun) == 1);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/pool", "Content-Length: 9\r\n"));
    AWAIT(turbo_shard_inflight(turbo_server_shard(r.server, 0)) == 2);
    send_in_two_parts(&r, &c, "abc");
    atomic_store(&pool.go, 1);
    cr_expect_eq(upload_answer(&r, &first), 200);
    client_close(&first, 0);
    expect_shed(&r, &c, 429, "Retry-After: 5");
    cr_expect_eq(atomic_load(&pool.begun), 1);
    expect_all_accounted(r.server, 2, 1, 1, 0, 0);
    client_open(&c, turbo_server_port(r.server));
    upload_end(&r, &c);
}

Test(body_end, without_memory_behind_its_handlers_begin_is_the_handlers_to_answer) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i, NO_MEMORY);
        client_send(&c, HEAD("/up", "Content-Length: 9\r\n"));
        turbo_request *req = upload_request(&r, 0);
        client_send(&c, "abc");
        cr_expect_eq(upload_read_part(&r, req, &part), TURBO_ENOMEM);
        cr_expect_eq(turbo_request_fail(req), 0);
        upload_flush(&r);
        expect_shed(&r, &c, 429, "Retry-After: 5");
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, HEAD("/up", "Content-Length: 9\r\n"));
        req = upload_request(&r, 1);
        client_send(&c, "abc");
        cr_expect_eq(upload_read_part(&r, req, &part), TURBO_ENOMEM);
        upload_reply(&r, 1, "mine");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "mine");
        expect_all_accounted(r.server, 2, 2, 0, 0, 0);
        upload_end(&r, &c);
    }
}

static void expect_gone(rig *r, size_t i, int waits) {
    turbo_request *req = upload_request(r, i);
    turbo_str part;
    RUN_UNTIL(r, turbo_request_cancelled(req));
    RUN_UNTIL(r, (upload_events(r, i) & TURBO_EVENT_GONE) != 0);
    cr_expect_eq((upload_events(r, i) & TURBO_EVENT_BODY_END) != 0, waits);
    cr_expect_eq((r->seen.gone_with[i] & TURBO_EVENT_BODY_END) != 0, waits, "at once: it must not go on with less");
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
}

Test(body_end, of_a_client_that_goes_is_closed) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
        RUN_UNTIL(&r, upload_bytes_in(&r) > 3 && r.seen.count == 1);
        client_close(&c, 1);
        expect_gone(&r, 0, 0);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n"));
        cr_expect_eq(turbo_request_body_read(upload_request(&r, 1), &part), TURBO_EAGAIN);
        client_fin(&c);
        expect_gone(&r, 1, 1);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server)); /* while it is not read */
        client_send(&c, HEAD("/window", "Content-Length: 200\r\n"));
        client_send_bytes(&c, (char[150]){0}, 150);
        turbo_request *req = upload_request(&r, 2);
        RUN_UNTIL(&r, turbo__body_is_full(req));
        client_close(&c, 1);
        expect_gone(&r, 2, 0);
        expect_all_accounted(r.server, 3, 0, 0, 3, 0);
        client_open(&c, turbo_server_port(r.server));
        upload_end(&r, &c);
    }
}

/* It counts as dropped, though its client has the beginning of an answer: found by fuzz_conn. */
Test(body_end, that_is_cut_off_leaves_an_answer_that_has_begun_without_an_end) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_response *resp;
        char text[1024];
        size_t len = 0;
        ssize_t n = -1;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
        turbo_request *req = upload_request(&r, 0);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
        cr_assert_eq(turbo_request_respond_write(req, "x", 1), 0);
        upload_flush(&r);
        RUN_UNTIL(&r, recv(c.fd, text, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
        client_fin(&c);
        expect_gone(&r, 0, 0);
        cr_expect_eq(turbo_request_respond_write(req, "y", 1), TURBO_ECLOSED);
        do {
            RUN_UNTIL(&r, (n = recv(c.fd, text + len, sizeof text - 1 - len, MSG_DONTWAIT)) >= 0);
            len += (size_t)n;
        } while (n > 0);
        text[len] = '\0';
        cr_expect_eq(strncmp(text, "HTTP/1.1 200 ", 13), 0);
        cr_expect_null(strstr(text, "\r\n0\r\n"), "no last chunk");
        expect_all_accounted(r.server, 1, 0, 0, 1, 0);
        upload_end(&r, &c);
    }
}

/* errors: turbo_request_body_read TURBO_ECLOSED */
Test(body_end, ends_with_an_abort) {
    rig r;
    client c;
    turbo_str part;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
    turbo_request *req = upload_request(&r, 0);
    AWAIT(turbo_request_body_read(req, &part) == 1);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
    turbo_server_abort(r.server);
    AWAIT(turbo_request_body_read(req, &part) != TURBO_EAGAIN);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
    upload_end(&r, &c);
}

Test(body_end, is_read_to_its_end_in_a_drain) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 6\r\n") "abc");
    turbo_request *req = upload_request(&r, 0);
    turbo_server_stop(r.server, NULL, NULL);
    client_send(&c, "def");
    EXPECT_READ(&r, req, 0, "abcdef");
    upload_reply(&r, 0, "done");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_eq(client_rest(&c), 0);
    upload_end(&r, &c);
}

/* The client owes the rest of it, and is owed nothing any more. (conn: with more detail) */
Test(body_end, that_does_not_come_behind_its_answer_holds_no_drain) {
    enum { WHOLE_BEFORE, WHOLE, STREAMED, ALL };
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES * ALL; i++) {
        rig r;
        client c;
        char byte;
        turbo_response *resp;
        size_t how = i % ALL;
        upload_start(&r, &c, i / ALL, "drain_timeout_ms=86400000");
        client_send(&c, HEAD("/window", "Content-Length: 100\r\n") "abc");
        turbo_request *req = upload_request(&r, 0);
        if (how == WHOLE_BEFORE) {
            upload_reply(&r, 0, "ab");
            cr_expect_eq(upload_answer(&r, &c), 200);
        }
        if (how == STREAMED) {
            cr_assert_eq(turbo_response_new(&resp, 200), 0);
            cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
            cr_assert_eq(turbo_request_respond_write(req, "a", 1), 0);
            upload_flush(&r);
            RUN_UNTIL(&r, recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
        }
        turbo_server_stop(r.server, NULL, NULL);
        upload_settle(&r);
        if (how == STREAMED) {
            cr_assert_eq(turbo_request_respond_write(req, "b", 1), 0);
            cr_assert_eq(turbo_request_respond_end(req), 0);
            upload_flush(&r);
        } else if (how == WHOLE) {
            upload_reply(&r, 0, "ab");
        }
        if (how == STREAMED)
            upload_settle(&r); /* client_answer() does not poll */
        if (how != WHOLE_BEFORE)
            cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "ab");
        RUN_UNTIL(&r, recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0);
        expect_all_accounted(r.server, 1, 1, 0, 0, 0);
        upload_end(&r, &c);
    }
}

Test(body_end, of_an_overdue_handler_is_closed) {
    rig r;
    client c;
    turbo_str part;
    upload_prepare(&r, 0, "");
    upload_route(&r, "/late", "body=streamed handler_timeout_ms=20", answer_ok, NULL);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/late", "Content-Length: 6\r\n") "abc");
    turbo_request *req = upload_request(&r, 0);
    cr_expect_eq(upload_read_part(&r, req, &part), 1);
    AWAIT(turbo_request_body_read(req, &part) != TURBO_EAGAIN);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
    cr_expect_eq(upload_answer(&r, &c), 504);
    (void)turbo_request_fail(req); /* which nobody gets */
    client_send(&c, "def" GET);
    upload_request(&r, 1);
    upload_reply(&r, 1, "next");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_str_eq(c.body, "next");
    expect_all_accounted(r.server, 2, 2, 0, 0, 0);
    upload_end(&r, &c);
}

/* -- answers before the end of the body -- */

Test(body_end, that_is_short_is_read_away_behind_an_early_answer) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
        turbo_request *req = upload_request(&r, 0);
        upload_reply(&r, 0, "early");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_not(client_has(&c, "Connection: close"));
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
        for (int n = 0; n < 100; n++)
            client_send(&c, "G");
        client_send(&c, HEAD("/window", "Transfer-Encoding: chunked\r\n"));
        upload_request(&r, 1);
        upload_reply(&r, 1, "early");
        cr_expect_eq(upload_answer(&r, &c), 200);
        client_send(&c, "3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n" GET);
        upload_request(&r, 2);
        upload_reply(&r, 2, "next");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "next");
        expect_all_accounted(r.server, 3, 3, 0, 0, 0);
        upload_end(&r, &c);
    }
}

Test(body_end, that_is_long_ends_the_connection_behind_an_early_answer) {
    static const char *const bodies[] = {"Content-Length: 101\r\n", "Transfer-Encoding: chunked\r\n"};
    for (size_t i = 0; i < 2; i++) {
        rig r;
        client c;
        upload_start(&r, &c, 0, "");
        char head[200];
        (void)snprintf(head, sizeof head, "POST /window HTTP/1.1\r\nHost: a\r\n%s\r\n", bodies[i]);
        client_send(&c, head);
        upload_request(&r, 0);
        upload_reply(&r, 0, "early");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_eq(client_has(&c, "Connection: close") != 0, i == 0);
        client_send(&c, "65\r\n");
        cr_expect_eq(client_rest(&c), 0);
        expect_all_accounted(r.server, 1, 1, 0, 0, 0);
        upload_end(&r, &c);
    }
}

Test(body_end, that_was_kept_back_is_dropped_with_an_early_answer) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/window", "Content-Length: 300\r\n"));
    client_send_bytes(&c, (char[250]){0}, 250);
    turbo_request *req = upload_request(&r, 0);
    AWAIT(turbo__body_is_full(req));
    AWAIT(upload_bytes_in(&r) > 250);
    upload_reply(&r, 0, "early");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    client_send_bytes(&c, (char[50]){0}, 50);
    client_send(&c, GET);
    upload_request(&r, 1);
    upload_reply(&r, 1, "next");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_str_eq(c.body, "next");
    upload_end(&r, &c);
}

Test(body_end, that_stalls_behind_its_answer_ends_the_connection_without_another) {
    rig r;
    client c;
    upload_prepare(&r, 0, "");
    r.server->settings.body_stall_timeout_ms = 20;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
    upload_request(&r, 0);
    upload_reply(&r, 0, "early");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_eq(client_rest(&c), 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Transfer-Encoding: chunked\r\n"));
    upload_request(&r, 1);
    upload_reply(&r, 1, "early");
    cr_expect_eq(upload_answer(&r, &c), 200);
    client_send(&c, "nonsense\r\n");
    cr_expect_eq(client_rest(&c), 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
    upload_request(&r, 2);
    upload_reply(&r, 2, "early");
    cr_expect_eq(upload_answer(&r, &c), 200);
    client_fin(&c);
    cr_expect_eq(client_rest(&c), 0);
    expect_all_accounted(r.server, 3, 3, 0, 0, 0);
    upload_end(&r, &c);
}

Test(body_end, may_be_read_while_the_answer_is_written) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        turbo_response *resp;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/window", "Content-Length: 600\r\n"));
        turbo_request *req = upload_request(&r, 0);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
        for (int n = 0; n < 6; n++) {
            char data[100];
            memset(data, '0' + n, sizeof data);
            client_send_bytes(&c, data, sizeof data);
            for (size_t got = 0; got < 100; got += part.len) {
                cr_assert_eq(upload_read_part(&r, req, &part), 1);
                cr_assert_eq(turbo_request_respond_write(req, part.data, part.len), 0);
            }
            upload_flush(&r);
        }
        cr_expect_eq(upload_read_part(&r, req, &part), 0);
        cr_expect_eq(turbo_request_respond_end(req), 0);
        upload_flush(&r);
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_eq(c.body_len, 600);
        cr_expect_eq(c.body[599], '5');
        cr_expect_not(client_has(&c, "Connection: close"));
        upload_end(&r, &c);
    }
}
