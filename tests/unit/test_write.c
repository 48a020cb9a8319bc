/* test_write.c - an answer into the bytes of its connection: framing by RFC 9112 6.3. */
#include "write.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(write, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void start(rig *r, client *c, uint32_t flags) {
    rig_listen(r, flags, "");
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
    client_open(c, turbo_server_port(r->server));
}

/* Send a request. @return what the executor got. */
static turbo_request *ask(rig *r, client *c, const char *text) {
    size_t before = r->seen.count;
    client_send(c, text);
    AWAIT((!r->driven || rig_poll(r) == 0) && r->seen.count == before + 1);
    return r->seen.reqs[before];
}

static turbo_response *response(int32_t status, const char *field, const char *value, const char *body) {
    turbo_response *resp = NULL;
    cr_assert_eq(turbo_response_new(&resp, status), 0);
    if (field != NULL)
        cr_assert_eq(turbo_response_field_add(resp, field, strlen(field), value, strlen(value)), 0);
    if (body != NULL)
        cr_assert_eq(turbo_response_body_copy(resp, body, strlen(body)), 0);
    return resp;
}

static void end(rig *r, client *c) {
    client_close(c, 0);
    rig_end(r);
    cr_expect_not(failing_alloc_leaks());
}

/* The head that ends at the first empty line, and what follows it, of an answer that ends the connection. */
static const char *all_bytes(client *c) {
    client_fin(c);
    (void)client_rest(c);
    return c->data == NULL ? "" : c->data;
}

static const char *behind_head(client *c) {
    const char *at = strstr(all_bytes(c), "\r\n\r\n");
    return at == NULL ? "no head" : at + 4;
}

/* -- trailers -- */

struct trailing {
    const char *request, *field, *value, *rest;
};

Test(write, trailers_follow_the_last_chunk_where_there_is_one) {
    static const struct trailing cases[] = {
        {ASK, NULL, NULL, "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\nempty: \r\n\r\n"},
        {ASK, "Content-Length", "3", "abc"},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", NULL, NULL, ""},
        {"GET / HTTP/1.0\r\n\r\n", NULL, NULL, "abc"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct trailing *t = &cases[i];
        rig r;
        client c;
        start(&r, &c, 0);
        turbo_request *req = ask(&r, &c, t->request);
        cr_expect_eq(turbo_request_respond_begin(req, response(200, t->field, t->value, NULL)), 0);
        cr_expect_eq(turbo_request_respond_trailer(req, "X-Sum", 5, "1", 1), 0);
        cr_expect_eq(turbo_request_respond_write(req, "abc", 3), 0);
        cr_expect_eq(turbo_request_respond_trailer(req, "X-Sum", 5, "2", 1), 0);
        cr_expect_eq(turbo_request_respond_trailer(req, "empty", 5, NULL, 0), 0);
        cr_expect_eq(turbo_request_respond_end(req), 0);
        cr_expect_str_eq(behind_head(&c), t->rest, "case %zu: %s", i, c.data);
        end(&r, &c);
    }
}

Test(write, an_answer_that_fails_has_no_trailers) {
    rig r;
    client c;
    start(&r, &c, 0);
    turbo_request *req = ask(&r, &c, ASK);
    cr_expect_eq(turbo_request_respond_begin(req, response(200, NULL, NULL, NULL)), 0);
    cr_expect_eq(turbo_request_respond_trailer(req, "X-Sum", 5, "1", 1), 0);
    cr_expect_eq(turbo_request_respond_write(req, "abc", 3), 0);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_str_eq(behind_head(&c), "3\r\nabc\r\n");
    end(&r, &c);
}

/* -- whole answers -- */

struct framing {
    const char *request;
    int32_t status;
    const char *field, *value, *body;
    const char *has, *has_not, *rest; /* lines of the head, and all bytes behind it */
};

Test(write, whole_answers_are_framed_by_method_status_and_version) {
    static const char head[] = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", old[] = "GET / HTTP/1.0\r\n\r\n";
    static const struct framing cases[] = {
        {ASK, 200, NULL, NULL, "body", "\r\nContent-Length: 4\r\n", "Transfer-Encoding", "body"},
        {ASK, 200, NULL, NULL, NULL, "\r\nContent-Length: 0\r\n", "Transfer-Encoding", ""},
        {head, 200, NULL, NULL, "body", "\r\nContent-Length: 4\r\n", "Transfer-Encoding", ""},
        {head, 200, NULL, NULL, NULL, " GMT\r\n", "Content-Length", ""},
        {head, 200, "Content-Length", "99", NULL, "\r\nContent-Length: 99\r\n", "Content-Length: 0", ""},
        {head, 200, "Content-Length", "99", "body", "\r\nContent-Length: 4\r\n", "99", ""},
        {ASK, 200, "Content-Length", "99", "body", "\r\nContent-Length: 4\r\n", "99", "body"},
        {ASK, 204, NULL, NULL, "body", " 204 ", "Content-Length", ""},
        {ASK, 304, NULL, NULL, "body", " 304 ", "Content-Length", ""},
        {ASK, 304, "Content-Length", "7", NULL, "\r\nContent-Length: 7\r\n", "Transfer-Encoding", ""},
        {ASK, 205, NULL, NULL, "body", "\r\nContent-Length: 0\r\n", "Transfer-Encoding", ""},
        {ASK, 205, "Content-Length", "7", NULL, "\r\nContent-Length: 0\r\n", "Content-Length: 7", ""},
        {old, 200, NULL, NULL, "body", "\r\nConnection: close\r\n", "keep-alive", "body"},
        {ASK, 200, "Connection", "close", "body", "\r\nConnection: close\r\n", "keep-alive", "body"},
        {ASK, 426, "upgrade", "x/1", "body", "\r\nupgrade: x/1\r\n", "keep-alive", "body"},
        {old, 200, "Upgrade", "x/1", NULL, "\r\nConnection: close, upgrade\r\n", "keep-alive", ""},
        {ASK, 200, "Date", "then", NULL, "\r\nDate: then\r\n", "GMT", ""},
        {ASK, 200, NULL, NULL, NULL, " GMT\r\n", "Date: then", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct framing *f = &cases[i];
        rig r;
        client c;
        start(&r, &c, 0);
        cr_expect_eq(turbo_request_respond(ask(&r, &c, f->request), response(f->status, f->field, f->value, f->body)),
                     0);
        cr_expect_str_eq(behind_head(&c), f->rest, "case %zu: %s", i, c.data);
        cr_expect_not_null(strstr(c.data, f->has), "case %zu: %s", i, c.data);
        cr_expect_null(strstr(c.data, f->has_not), "case %zu: %s", i, c.data);
        end(&r, &c);
    }
}

Test(write, an_upgrade_is_named_in_connection_and_ends_nothing) {
    rig r;
    client c;
    start(&r, &c, 0);
    client_send(&c, ASK ASK ASK);
    AWAIT(r.seen.count == 3);
    cr_expect_eq(turbo_request_respond(r.seen.reqs[0], response(426, "Upgrade", "x/1", "body")), 0);
    cr_expect_eq(turbo_request_respond_begin(r.seen.reqs[1], response(200, "Upgrade", "x/1", "part")), 0);
    cr_expect_eq(turbo_request_respond_end(r.seen.reqs[1]), 0);
    cr_expect_eq(turbo_request_respond(r.seen.reqs[2], response(200, NULL, NULL, NULL)), 0);
    cr_expect_eq(client_answer(&c), 426);
    cr_expect(client_has(&c, "Upgrade: x/1") && client_has(&c, "Connection: upgrade"));
    cr_expect_eq(client_answer(&c), 200);
    cr_expect(client_has(&c, "Upgrade: x/1") && client_has(&c, "Connection: upgrade"));
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_not(client_has(&c, "Connection: upgrade"));
    end(&r, &c);
}

/* RFC 9112 9.6: what came behind it gets no answer, whoever works on it already. */
Test(write, an_answer_that_says_close_is_the_last) {
    rig r;
    client c;
    start(&r, &c, 0);
    client_send(&c, ASK ASK);
    AWAIT(r.seen.count == 2);
    cr_expect_eq(turbo_request_respond(r.seen.reqs[0], response(200, "Connection", "close", "last")), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "last");
    client_send(&c, ASK);
    AWAIT(turbo_request_cancelled(r.seen.reqs[1]));
    (void)turbo_request_reply(r.seen.reqs[1], 200, NULL, "too late", 8);
    cr_expect_eq(client_answer(&c), 0);
    cr_expect_not(c.reset);
    cr_expect_eq(r.seen.count, 2);
    end(&r, &c);
}

static void count_free(void *user) { atomic_fetch_add((atomic_int *)user, 1); }

Test(write, bodies_around_the_limit_of_copying_arrive_whole_and_are_given_back_once) {
    static const size_t sizes[] = {4095, 4096, 4097, 8192, 100000, 3000000};
    static char data[3000000];
    rig r;
    client c;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 23);
    start(&r, &c, 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        atomic_int freed = 0;
        turbo_response *resp = response(200, NULL, NULL, NULL);
        cr_assert_eq(turbo_response_body_ref(resp, data, sizes[i], count_free, &freed), 0);
        cr_expect_eq(turbo_request_respond(ask(&r, &c, ASK), resp), 0);
        cr_expect_eq(client_answer(&c), 200);
        cr_expect_eq(c.body_len, sizes[i]);
        cr_expect_eq(memcmp(c.body, data, sizes[i]), 0);
        AWAIT(freed == 1);
    }
    end(&r, &c);
}

Test(write, a_referenced_body_of_a_client_that_has_gone_is_given_back) {
    static char data[16 << 20];
    atomic_int freed = 0;
    rig r;
    client c;
    turbo_response *resp = response(200, NULL, NULL, NULL);
    start(&r, &c, 0);
    cr_assert_eq(turbo_response_body_ref(resp, data, sizeof data, count_free, &freed), 0);
    cr_expect_eq(turbo_request_respond(ask(&r, &c, ASK), resp), 0);
    char byte;
    AWAIT(recv(c.fd, &byte, 1, MSG_DONTWAIT) == 1); /* it is being sent */
    cr_expect_eq(freed, 0);
    client_close(&c, 1);
    AWAIT(freed == 1);
    rig_end(&r);
}

Test(write, a_head_larger_than_a_block_arrives_whole) {
    static char value[60000];
    rig r;
    client c;
    turbo_response *resp = response(200, NULL, NULL, "body");
    memset(value, 'v', sizeof value - 1);
    cr_assert_eq(turbo_response_field_add(resp, "X-Large", 7, value, strlen(value)), 0);
    start(&r, &c, 0);
    cr_expect_eq(turbo_request_respond(ask(&r, &c, ASK), resp), 0);
    cr_expect_str_eq(behind_head(&c), "body");
    cr_expect_not_null(strstr(c.data, value));
    end(&r, &c);
}

/* -- streamed answers -- */

static void stream(turbo_request *req, turbo_response *resp, const char *first, const char *second) {
    cr_expect_eq(turbo_request_respond_begin(req, resp), 0);
    if (first != NULL)
        cr_expect_eq(turbo_request_respond_write(req, first, strlen(first)), 0);
    if (second != NULL)
        cr_expect_eq(turbo_request_respond_write(req, second, strlen(second)), 0);
    cr_expect_eq(turbo_request_respond_end(req), 0);
}

struct streaming {
    const char *request;
    const char *field, *value, *body, *first, *second;
    const char *has, *has_not, *rest;
};

Test(write, streamed_answers_are_framed_by_length_chunks_or_the_end) {
    static const char head[] = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", old[] = "GET / HTTP/1.0\r\n\r\n",
                      old_keep[] = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    static const struct streaming cases[] = {
        {ASK, NULL, NULL, NULL, "abc", "0123456789", "Transfer-Encoding: chunked", "Content-Length",
         "3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"},
        {ASK, NULL, NULL, "first", "abc", NULL, "Transfer-Encoding: chunked", "Content-Length",
         "5\r\nfirst\r\n3\r\nabc\r\n0\r\n\r\n"},
        {ASK, NULL, NULL, NULL, NULL, NULL, "Transfer-Encoding: chunked", "Content-Length", "0\r\n\r\n"},
        {ASK, "Content-Length", "5", NULL, "abc", "de", "Content-Length: 5", "Transfer-Encoding", "abcde"},
        {ASK, "Content-Length", "9", NULL, "abc", "de", "Content-Length: 9", "Transfer-Encoding", "abcde"},
        {old, NULL, NULL, NULL, "abc", "de", "Connection: close", "Transfer-Encoding", "abcde"},
        {old_keep, NULL, NULL, NULL, "abc", "de", "Connection: close", "Transfer-Encoding", "abcde"},
        {old_keep, "Content-Length", "5", NULL, "abc", "de", "Content-Length: 5", "Transfer-Encoding", "abcde"},
        {head, NULL, NULL, "first", "abc", "de", " 200 ", "Content-Length", ""},
        {head, "Content-Length", "5", NULL, "abc", "de", "Content-Length: 5", "Transfer-Encoding", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct streaming *s = &cases[i];
        rig r;
        client c;
        start(&r, &c, 0);
        stream(ask(&r, &c, s->request), response(200, s->field, s->value, s->body), s->first, s->second);
        cr_expect_str_eq(behind_head(&c), s->rest, "case %zu: %s", i, c.data);
        cr_expect_not_null(strstr(c.data, s->has), "case %zu: %s", i, c.data);
        cr_expect_null(strstr(c.data, s->has_not), "case %zu: %s", i, c.data);
        end(&r, &c);
    }
}

Test(write, a_streamed_answer_without_content_lives_on_without_it) {
    static const int32_t statuses[] = {204, 205, 304};
    rig r;
    client c;
    start(&r, &c, 0);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        stream(ask(&r, &c, ASK), response(statuses[i], NULL, NULL, "first"), "abc", "de");
        cr_expect_eq(client_answer(&c), statuses[i]);
        cr_expect_eq(c.body_len, 0);
        cr_expect_eq(client_has(&c, "Content-Length: 0"), statuses[i] == 205);
        cr_expect_not(client_has(&c, "Transfer-Encoding: chunked"));
    }
    stream(ask(&r, &c, ASK), response(200, NULL, NULL, NULL), "abc", NULL);
    cr_expect_eq(client_answer(&c), 200);
    end(&r, &c);
}

Test(write, a_connection_lives_on_behind_a_streamed_answer_that_was_whole) {
    rig r;
    client c;
    start(&r, &c, 0);
    stream(ask(&r, &c, ASK), response(200, NULL, NULL, NULL), "abc", NULL);
    cr_expect_eq(client_answer(&c), 200);
    stream(ask(&r, &c, ASK), response(200, "Content-Length", "3", NULL), "abc", NULL);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "abc");
    stream(ask(&r, &c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), response(200, "Content-Length", "3", NULL),
           "abc", NULL);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect(client_has(&c, "Connection: keep-alive"));
    stream(ask(&r, &c, ASK), response(200, "Content-Length", "4", NULL), "abc", NULL);
    cr_expect_gt(client_rest(&c), 0, "less than was promised: the connection is closed");
    cr_expect_str_eq(strstr(c.data, "\r\n\r\n"), "\r\n\r\nabc");
    end(&r, &c);
}

Test(write, a_streamed_answer_waits_for_the_answers_before_it) {
    rig r;
    client c;
    start(&r, &c, 0);
    client_send(&c, ASK ASK);
    AWAIT(r.seen.count == 2);
    cr_expect_eq(turbo_request_respond_begin(r.seen.reqs[1], response(200, NULL, NULL, NULL)), 0);
    cr_expect_eq(turbo_request_respond_write(r.seen.reqs[1], "second", 6), 0);
    cr_expect_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, "first", 5), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "first");
    cr_expect_eq(turbo_request_respond_end(r.seen.reqs[1]), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "second");
    end(&r, &c);
}

/* However many requests a client pipelines, what waits for it stays within about two limits. */
Test(write, a_streamed_answer_that_is_not_due_yet_may_write_4096_bytes) {
    static char part[4096];
    rig r;
    client c;
    memset(part, 'p', sizeof part);
    start(&r, &c, 0);
    client_send(&c, ASK ASK);
    AWAIT(r.seen.count == 2);
    turbo_request *second = r.seen.reqs[1];
    cr_assert_eq(turbo_request_respond_begin(second, response(200, NULL, NULL, NULL)), 0);
    cr_expect_eq(turbo_request_respond_write(second, part, 4095), 0);
    cr_expect_eq(turbo_request_respond_write(second, part, 2), TURBO_EAGAIN);
    cr_expect_eq(turbo_request_respond_write(second, part, 1), 0);
    cr_expect_eq(turbo_request_respond_write(second, part, 1), TURBO_EAGAIN);
    cr_expect_eq(r.seen.events[1] & TURBO_EVENT_WRITABLE, 0);
    cr_assert_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, "first", 5), 0);
    AWAIT((r.seen.events[1] & TURBO_EVENT_WRITABLE) != 0); /* it is due now */
    cr_expect_eq(turbo_request_respond_write(second, part, sizeof part), 0);
    cr_expect_eq(turbo_request_respond_end(second), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(c.body_len, 4096 + sizeof part);
    end(&r, &c);
}

Test(write, large_parts_arrive_in_order) {
    static char data[300000];
    rig r;
    client c;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)('a' + i % 23);
    start(&r, &c, 0);
    turbo_request *req = ask(&r, &c, ASK);
    cr_expect_eq(turbo_request_respond_begin(req, response(200, NULL, NULL, NULL)), 0);
    size_t at = 0;
    for (size_t len = 1; at < sizeof data; len = len * 3 % 40009) {
        if (len > sizeof data - at)
            len = sizeof data - at;
        int rc;
        AWAIT((rc = turbo_request_respond_write(req, data + at, len)) != TURBO_EAGAIN);
        cr_assert_eq(rc, 0);
        at += len;
    }
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(c.body_len, sizeof data);
    cr_expect_eq(memcmp(c.body, data, sizeof data), 0);
    end(&r, &c);
}

/* -- inline streaming: on_writable is called on the I/O loop -- */

static char block[65536];

struct pump {
    size_t left;
    atomic_uint waits;
};

static void pump_on(turbo_request *req, void *user) {
    struct pump *p = user;
    int rc = 0;
    while (p->left > 0 && (rc = turbo_request_respond_write(req, block, sizeof block)) == 0)
        p->left -= sizeof block;
    if (rc == TURBO_EAGAIN)
        atomic_fetch_add(&p->waits, 1);
    else
        (void)turbo_request_respond_end(req);
}

static int stream_inline(turbo_request *req, void *user) {
    turbo_response *resp = NULL;
    if (turbo_response_new(&resp, 200) < 0 || turbo_request_respond_begin(req, resp) < 0 ||
        turbo_request_on_writable(req, pump_on, user) < 0)
        return -1;
    pump_on(req, user);
    return 0;
}

static void start_inline(rig *r, client *c, struct pump *p) {
    turbo_route_options *on_io = NULL;
    memset(block, 'b', sizeof block);
    cr_assert_eq(turbo_route_options_new(&on_io), 0);
    cr_assert_eq(turbo_route_options_set(on_io, "executor", "inline"), 0);
    rig_listen(r, 0, "");
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", on_io, stream_inline, p), 0);
    rig_start(r);
    turbo_route_options_free(on_io);
    client_open(c, turbo_server_port(r->server));
}

Test(write, inline_handlers_stream_by_on_writable_as_fast_as_the_client_reads) {
    struct pump p = {.left = 256 * sizeof block};
    rig r;
    client c;
    start_inline(&r, &c, &p);
    cr_expect_eq(client_ask(&c, ASK), 200);
    cr_expect_eq(c.body_len, 256 * sizeof block);
    cr_expect_gt(p.waits, 0, "16 MiB went without a wait");
    end(&r, &c);
}

/* Each waits until it is due, and is then called while the one before it is being finished. */
Test(write, pipelined_inline_streams_follow_each_other) {
    struct pump p = {.left = 0}; /* shared: the one that is due writes what is left */
    rig r;
    client c;
    start_inline(&r, &c, &p);
    p.left = 40 * sizeof block;
    client_send(&c, ASK ASK ASK ASK);
    size_t sum = 0;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(client_answer(&c), 200);
        sum += c.body_len;
    }
    cr_expect_eq(sum, 40 * sizeof block);
    end(&r, &c);
}
