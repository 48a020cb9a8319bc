/* test_body.c - request bodies that are read while they arrive: the flow, and who reads it. */
#include "body.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/failing_alloc.h"
#include "../support/upload.h"
#include "server.h"

TestSuite(body, .timeout = 120);

#define BIG ((size_t)8 << 20) /* more than the sockets between client and server hold, and than a window */

/* -- reading -- */

/* errors: turbo_request_body_read TURBO_EAGAIN */
Test(body, a_handler_begins_before_the_body_and_reads_it_while_it_comes) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 6\r\n"));
        turbo_request *req = upload_request(&r, 0);
        cr_expect_eq(turbo_request_body(req).len, 0);
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        client_send(&c, "abc");
        RUN_UNTIL(&r, (upload_events(&r, 0) & TURBO_EVENT_BODY) != 0);
        cr_expect_eq(turbo_request_body_read(req, &part), 1);
        cr_expect(part.len == 3 && memcmp(part.data, "abc", 3) == 0);
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        cr_expect_eq(upload_events(&r, 0), TURBO_EVENT_BODY);
        client_send(&c, "def");
        EXPECT_READ(&r, req, 0, "def");
        cr_expect_eq(turbo_request_body_read(req, &part), 0, "the end stays the end");
        cr_expect_eq(turbo_request_body(req).len, 0);
        upload_reply(&r, 0, "done");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "done");
        client_send(&c, GET);
        upload_reply(&r, (upload_request(&r, 1), 1), "next");
        cr_expect_eq(upload_answer(&r, &c), 200);
        expect_all_accounted(r.server, 2, 2, 0, 0, 0);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        upload_end(&r, &c);
    }
}

Test(body, the_end_is_an_event_for_who_waits) {
    rig r;
    client c;
    turbo_str part;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n"));
    turbo_request *req = upload_request(&r, 0);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
    client_send(&c, "0\r\n\r\n");
    AWAIT(upload_events(&r, 0) == TURBO_EVENT_BODY_END);
    cr_expect_eq(turbo_request_body_read(req, &part), 0);
    upload_reply(&r, 0, "done");
    cr_expect_eq(upload_answer(&r, &c), 200);
    upload_end(&r, &c);
}

Test(body, trailers_are_there_at_the_end_and_not_before) {
    rig r;
    client c;
    turbo_str part;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\nSum: 7\r\nHost: evil\r\n\r\n" GET);
    turbo_request *req = upload_request(&r, 0);
    AWAIT(upload_stats(&r).taken == 2);
    cr_expect_eq(upload_read_part(&r, req, &part), 1);
    cr_expect_eq(turbo_request_trailer_count(req), 0);
    cr_expect_eq(upload_read_part(&r, req, &part), 0);
    cr_expect_eq(turbo_request_trailer_count(req), 1);
    cr_expect_eq(turbo_request_trailer(req, "sum").len, 1);
    upload_reply(&r, 0, "done");
    upload_reply(&r, (upload_request(&r, 1), 1), "next");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect_eq(upload_answer(&r, &c), 200);
    upload_end(&r, &c);
}

Test(body, bytes_that_come_one_by_one_share_a_block) {
    rig r;
    client c;
    char text[501];
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 500\r\n"));
    turbo_request *req = upload_request(&r, 0);
    uint64_t before = upload_bytes_in(&r);
    for (uint64_t n = 1; n <= 500; n++) {
        client_send(&c, "x");
        AWAIT(upload_bytes_in(&r) == before + n);
    }
    cr_expect_lt(atomic_load(&r.server->body_memory), 5000);
    cr_expect_eq(upload_read_text(&r, req, text, sizeof text), 0);
    cr_expect_eq(strspn(text, "x"), 500);
    cr_expect_eq(strlen(text), 500);
    upload_reply(&r, 0, "done");
    cr_expect_eq(upload_answer(&r, &c), 200);
    upload_end(&r, &c);
}

Test(body, of_a_gathered_request_or_of_none_is_one_part) {
    rig r;
    client c;
    turbo_str part;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/", "Content-Length: 3\r\n") "abc");
    cr_expect_eq(turbo_request_body_read(upload_request(&r, 0), &part), 1);
    cr_expect(part.len == 3 && memcmp(part.data, "abc", 3) == 0);
    cr_expect_eq(turbo_request_body_read(upload_request(&r, 0), &part), 0);
    cr_expect_eq(turbo_request_body(upload_request(&r, 0)).len, 3);
    cr_expect_eq(turbo_request_on_body(upload_request(&r, 0), NULL, NULL), 0);
    upload_reply(&r, 0, "0");
    client_send(&c, HEAD("/up", "Content-Length: 0\r\n"));
    cr_expect_eq(turbo_request_body_read(upload_request(&r, 1), &part), 0);
    upload_reply(&r, 1, "1");
    client_send(&c, "GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(turbo_request_body_read(upload_request(&r, 2), &part), 0);
    upload_reply(&r, 2, "2");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(upload_answer(&r, &c), 200);
    upload_end(&r, &c);
}

/* -- the window -- */

static turbo_request *bare(rig *r, uint64_t length) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->server = r->server;
    req->route = r->server->routes; /* the last that was added: /window */
    req->body_length = length;
    cr_assert_eq(turbo__body_open(req), 0);
    return req;
}

static void put(turbo_request *req, size_t len) {
    char data[1000] = "";
    cr_assert_eq(turbo__body_put(req, data, len), 0);
}

Test(body, is_full_at_the_window) {
    static const struct {
        size_t len;
        int full;
    } cases[] = {{1, 0}, {99, 0}, {100, 1}, {101, 1}, {1000, 1}};
    rig r;
    upload_prepare(&r, 0, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        turbo_request *req = bare(&r, 5000);
        cr_expect_eq(turbo__body_is_full(req), 0);
        put(req, cases[i].len);
        cr_expect_eq(turbo__body_is_full(req), cases[i].full, "%zu bytes", cases[i].len);
        turbo_request_release(req);
    }
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    rig_end(&r);
}

/* What a part costs beside its bytes, and the least that it may have. */
#define PIECE_HEAD sizeof(turbo__piece)
#define PIECE_LEAST 4096

Test(body, memory_of_the_server_is_exact_and_a_small_part_costs_as_much_as_4_kib) {
    static const size_t lengths[] = {1, PIECE_LEAST - 1, PIECE_LEAST, PIECE_LEAST + 1, 10000};
    static const char data[10000] = "";
    rig r;
    upload_prepare(&r, 0, "");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = lengths[i], cost = PIECE_HEAD + (len < PIECE_LEAST ? PIECE_LEAST : len);
        for (int more = -1; more <= 1; more++) {
            turbo_request *req = bare(&r, 50000);
            r.server->settings.body_memory_max_bytes = cost + (size_t)more;
            cr_expect_eq(turbo__body_put(req, data, len), more < 0 ? TURBO_ENOMEM : 0, "%zu bytes, %d", len, more);
            cr_expect_eq(atomic_load(&r.server->body_memory), more < 0 ? 0 : cost, "%zu bytes, %d", len, more);
            if (more >= 0 && len < PIECE_LEAST)
                cr_expect_eq(turbo__body_put(req, data, PIECE_LEAST - len), 0, "up to that it costs nothing");
            if (more >= 0)
                cr_expect_eq(turbo__body_put(req, data, 1), TURBO_ENOMEM);
            turbo_request_release(req);
        }
    }
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    rig_end(&r);
}

Test(body, that_is_not_read_is_not_read_from_the_client_and_goes_on_at_half) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        char *data = calloc(1, BIG);
        uint64_t sum = 0;
        upload_start(&r, &c, i, "body_window_bytes=131072");
        cr_assert_not_null(data);
        client_send(&c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
        turbo_request *req = upload_request(&r, 0);
        size_t sent = client_send_some(&c, data, BIG);
        RUN_UNTIL(&r, turbo__body_is_full(req));
        upload_settle(&r);
        uint64_t in = upload_bytes_in(&r);
        cr_expect_leq(in, 131072 + 65536 + 200, "%zu bytes were read", (size_t)in);
        cr_expect_leq(atomic_load(&r.server->body_memory), 131072 + 65536 + 4096 + 200);
        cr_expect_eq(turbo_request_body_read(req, &part), 1);
        sum += part.len;
        if (in - part.len > 65536 + 200) { /* more than half of the window is left */
            upload_settle(&r);
            cr_expect_eq(upload_bytes_in(&r), in, "reading went on too early");
        }
        for (int rc; (rc = turbo_request_body_read(req, &part)) != 0; sum += rc == 1 ? part.len : 0) {
            cr_assert(rc == 1 || rc == TURBO_EAGAIN);
            if (sent < BIG)
                sent += client_send_some(&c, data + sent, BIG - sent);
            if (r.driven)
                (void)rig_poll(&r);
        }
        cr_expect_eq(sum, BIG);
        upload_reply(&r, 0, "done");
        cr_expect_eq(upload_answer(&r, &c), 200);
        free(data);
        upload_end(&r, &c);
    }
}

Test(body, that_waits_for_its_reader_is_not_called_slow) {
    rig r;
    client c;
    char *data = calloc(1, BIG);
    upload_prepare(&r, 0, "body_window_bytes=1000");
    r.server->settings.body_stall_timeout_ms = 50;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
    turbo_request *req = upload_request(&r, 0);
    (void)client_send_some(&c, data, BIG);
    AWAIT(turbo__body_is_full(req));
    uint64_t until = uv_hrtime() + 400 * 1000000ull;
    while (uv_hrtime() < until) /* many times the limit */
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(upload_stats(&r).timeouts_body, 0);
    cr_expect_eq(turbo_request_cancelled(req), 0);
    free(data);
    upload_end(&r, &c);
}

/* -- 100 Continue -- */

#define EXPECTS "Content-Length: 3\r\nExpect: 100-continue\r\n"

Test(body, is_asked_for_when_it_is_read) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        char byte;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/up", EXPECTS));
        turbo_request *req = upload_request(&r, 0);
        upload_settle(&r);
        cr_expect_lt(recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), 0, "asked before it was read");
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        cr_expect_eq(upload_answer(&r, &c), 100);
        client_send(&c, "abc");
        EXPECT_READ(&r, req, 0, "abc");
        upload_reply(&r, 0, "done");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_not(client_has(&c, "Connection: close"));
        upload_end(&r, &c);
    }
}

Test(body, is_not_asked_for_when_the_client_did_not_wait) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", EXPECTS) "abc");
    AWAIT(upload_bytes_in(&r) == sizeof HEAD("/up", EXPECTS) - 1 + 3);
    EXPECT_READ(&r, upload_request(&r, 0), 0, "abc");
    upload_reply(&r, 0, "done");
    cr_expect_eq(upload_answer(&r, &c), 200);
    upload_end(&r, &c);
}

Test(body, that_was_not_asked_for_ends_the_connection) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, HEAD("/up", EXPECTS));
    upload_request(&r, 0);
    upload_reply(&r, 0, "no");
    cr_expect_eq(upload_answer(&r, &c), 200);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    upload_end(&r, &c);
}

static void begin_answer(turbo_request *req, int32_t status) {
    turbo_response *resp;
    cr_assert_eq(turbo_response_new(&resp, status), 0);
    cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
}

static void expect_bytes_have_come(const client *c) {
    char byte;
    AWAIT(recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
}

/* Else it would depend on which of the two arrives first, the answer's begin or the wish to read. */
Test(body, is_asked_for_before_the_head_of_an_answer_that_goes_on) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i, "");
        client_send(&c, HEAD("/up", EXPECTS));
        turbo_request *req = upload_request(&r, 0);
        begin_answer(req, 200);
        upload_settle(&r);
        expect_bytes_have_come(&c);
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        cr_expect_eq(upload_answer(&r, &c), 100);
        client_send(&c, "abc");
        EXPECT_READ(&r, req, 0, "abc");
        cr_expect_eq(turbo_request_respond_end(req), 0);
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_not(client_has(&c, "Connection: close"));
        upload_end(&r, &c);
    }
}

/* It is refused, or already answered: the client need not send it. */
Test(body, is_not_asked_for_before_an_answer_that_needs_none) {
    static const int32_t statuses[] = {300, 413, 200};
    for (size_t i = 0; i < 3; i++) {
        rig r;
        client c;
        turbo_str part;
        upload_start(&r, &c, i == 2 ? 2 : 0, ""); /* driven: what it answers leaves with the next poll */
        client_send(&c, HEAD("/up", EXPECTS));
        turbo_request *req = upload_request(&r, 0);
        begin_answer(req, statuses[i]);
        if (i == 2)
            cr_expect_eq(turbo_request_respond_end(req), 0);
        upload_settle(&r);
        expect_bytes_have_come(&c);
        if (i < 2) {
            cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
            upload_settle(&r);
            client_send(&c, "abc");
            EXPECT_READ(&r, req, 0, "abc");
            cr_expect_eq(turbo_request_respond_end(req), 0);
        }
        cr_expect_eq(upload_answer(&r, &c), statuses[i]);
        cr_expect(client_has(&c, "Connection: close"));
        upload_end(&r, &c);
    }
}

/* -- pipelining -- */

Test(body, of_a_request_that_waits_for_its_turn_is_not_read) {
    for (size_t i = 0; i < UPLOAD_TOPOLOGIES; i++) {
        rig r;
        client c;
        upload_start(&r, &c, i, "");
        client_send(&c, GET HEAD("/up", "Content-Length: 6\r\n") "abcdef" GET);
        upload_request(&r, 0);
        upload_settle(&r);
        cr_expect_eq(r.seen.count, 1);
        cr_expect_eq(upload_stats(&r).taken, 2);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        upload_reply(&r, 0, "0");
        EXPECT_READ(&r, upload_request(&r, 1), 0, "abcdef");
        upload_settle(&r);
        cr_expect_eq(r.seen.count, 2);
        upload_reply(&r, 1, "1");
        upload_request(&r, 2);
        upload_reply(&r, 2, "2");
        for (char body[2] = "0"; body[0] <= '2'; body[0]++) {
            cr_expect_eq(upload_answer(&r, &c), 200);
            cr_expect_str_eq(c.body, body);
        }
        expect_all_accounted(r.server, 3, 3, 0, 0, 0);
        upload_end(&r, &c);
    }
}

Test(body, of_a_held_request_whose_client_goes_is_dropped) {
    rig r;
    client c;
    upload_start(&r, &c, 0, "");
    client_send(&c, GET HEAD("/up", "Content-Length: 6\r\n") "abc");
    upload_request(&r, 0);
    AWAIT(upload_stats(&r).taken == 2);
    client_close(&c, 1);
    AWAIT(turbo_request_cancelled(r.seen.reqs[0]));
    cr_expect_eq(r.seen.count, 1);
    AWAIT(upload_stats(&r).dropped == 2);
    client_open(&c, turbo_server_port(r.server));
    upload_end(&r, &c);
}

/* -- handlers -- */

typedef struct reader {
    uint64_t sum;
    int rounds;
} reader;

/* Adds up what it reads; answers with the sum at the end. The size 'q' ends it early. */
static void sum_up(turbo_request *req, void *user) {
    reader *into = user;
    turbo_str part;
    int rc;
    into->rounds++;
    while ((rc = turbo_request_body_read(req, &part)) == 1)
        for (size_t i = 0; i < part.len; i++)
            into->sum += (unsigned char)part.data[i];
    if (rc == TURBO_EAGAIN)
        return;
    char text[32];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)into->sum);
    if (rc == 0)
        (void)turbo_request_reply(req, 200, NULL, text, (size_t)len);
    else
        (void)turbo_request_fail(req);
    turbo_request_release(req);
}

static int read_sum(turbo_request *req, void *user) {
    *(reader *)user = (reader){0};
    turbo_request_retain(req);
    int rc = turbo_request_on_body(req, sum_up, user);
    sum_up(req, user);
    return rc;
}

static const char *const executors[] = {"executor=inline", "executor=shard", "threads=2"};

Test(body, is_read_by_callbacks_wherever_the_handler_runs) {
    for (size_t i = 0; i < 2 * 3; i++) { /* the library's own executor, on both of its topologies */
        rig r;
        client c;
        reader sums = {0};
        char options[128], text[32];
        char *data = malloc(BIG);
        uint64_t sum = 0;
        for (size_t n = 0; n < BIG; n++)
            sum += (unsigned char)(data[n] = (char)(n * 7 + n / 255));
        turbo_options *settings = options_from(upload_topologies[i % 2].settings);
        memset(&r, 0, sizeof r);
        pthread_mutex_init(&r.seen.lock, NULL);
        cr_assert_eq(turbo_server_new(&r.server, settings), 0);
        turbo_options_free(settings);
        cr_assert_eq(turbo_server_listen(r.server, "127.0.0.1:0"), 0);
        (void)snprintf(options, sizeof options, "%s body=streamed body_max_bytes=10000000", executors[i / 2]);
        upload_route(&r, "/sum", options, read_sum, &sums);
        rig_start(&r);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, "POST /sum HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8388608\r\n\r\n");
        cr_expect_eq(upload_answer(&r, &c), 100);
        upload_send_all(&r, &c, data, BIG);
        cr_expect_eq(upload_answer(&r, &c), 200);
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)sum);
        cr_expect_str_eq(c.body, text, "%s: %s", options, c.body);
        cr_expect_gt(sums.rounds, 1);
        client_send(&c, HEAD("/sum", "Transfer-Encoding: chunked\r\n") "2\r\n\1\2\r\n0\r\n\r\n");
        cr_expect_eq(upload_answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "3");
        client_send(&c, HEAD("/sum", "Transfer-Encoding: chunked\r\n") "2\r\n\1\2\r\n,\r\n\r\n");
        cr_expect_eq(upload_answer(&r, &c), 400);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, HEAD("/sum", "Content-Length: 6\r\n") "abc");
        AWAIT(upload_stats(&r).taken == 4);
        client_close(&c, 1);
        AWAIT(upload_stats(&r).dropped + upload_stats(&r).answered == 4);
        client_open(&c, turbo_server_port(r.server));
        free(data);
        upload_end(&r, &c);
    }
}

static int answer_early(turbo_request *req, void *user) {
    turbo_str part;
    (void)user;
    (void)turbo_request_body_read(req, &part);
    return turbo_request_reply(req, 403, NULL, "no", 2);
}

Test(body, may_be_left_unread_on_the_io_loop) {
    rig r;
    client c;
    upload_prepare(&r, 0, "");
    upload_route(&r, "/early", "body=streamed executor=inline", answer_early, NULL);
    upload_route(&r, "/fails", "body=streamed executor=inline", NULL, NULL);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/early", "Content-Length: 3\r\n") "abc" HEAD("/fails", "Content-Length: 3\r\n") "abc"
                        HEAD("/early", "Content-Length: 999999\r\n") "abc");
    cr_expect_eq(upload_answer(&r, &c), 403);
    cr_expect_eq(upload_answer(&r, &c), 500);
    cr_expect_eq(upload_answer(&r, &c), 403);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    upload_end(&r, &c);
}

/* -- without memory -- */

Test(body, survives_every_allocation_that_fails) {
    for (size_t nth = 1, failed = 1; failed; nth++) {
        rig r;
        client c;
        reader sums;
        upload_prepare(&r, 0, "");
        atomic_store(&r.seen.runs, 1);
        upload_route(&r, "/sum", "body=streamed executor=inline", read_sum, &sums);
        rig_start(&r);
        client_open(&c, turbo_server_port(r.server));
        cr_expect_eq(client_ask(&c, GET), 200); /* the connection is there, and whatever it keeps */
        failing_alloc_arm(nth);
        client_send(&c, HEAD("/sum", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\nA: b\r\n\r\n");
        int status = client_answer(&c);
        failed = failing_alloc_disarm() != 0;
        cr_expect(status == (failed ? 503 : 200) || (failed && status == 0), "allocation %zu: %d", nth, status);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server));
        cr_expect_eq(client_ask(&c, HEAD("/sum", "Content-Length: 3\r\n") "\1\1\1"), 200);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        upload_end(&r, &c);
        cr_expect(failed || nth > 3, "few allocations were met");
    }
}
