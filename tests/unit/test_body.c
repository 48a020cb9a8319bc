/* test_body.c - request bodies that are read while they arrive: the flow, the ends, and what stays of the connection. */
#include "body.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "server.h"

TestSuite(body, .timeout = 120);

#define HEAD(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define BIG ((size_t)8 << 20) /* more than the sockets between client and server hold, and than a window */

static const struct topology {
    uint32_t flags;
    const char *settings;
} topologies[] = {
    {0, ""}, {0, "io_threads=0"}, {TURBO_EXECUTOR_DRIVEN, ""}, {TURBO_EXECUTOR_DRIVEN, "io_threads=0"}};
#define TOPOLOGIES (sizeof topologies / sizeof *topologies)

#define RUN_UNTIL(r, condition) AWAIT((!(r)->driven || rig_poll(r) == 0) && (condition))

static void add_route(rig *r, const char *path, const char *options, turbo_handler_fn fn, void *user) {
    turbo_route_options *made;
    char text[256], *save = NULL;
    cr_assert_eq(turbo_route_options_new(&made), 0);
    (void)snprintf(text, sizeof text, "%s", options);
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        cr_assert_eq(turbo_route_options_set(made, word, value), 0, "%s", turbo_route_options_error(made));
    }
    cr_assert_eq(turbo_server_route(r->server, NULL, path, made, fn, user), 0, "%s", turbo_server_error(r->server));
    turbo_route_options_free(made);
}

static void prepare(rig *r, size_t topology, const char *more) {
    char settings[256];
    (void)snprintf(settings, sizeof settings, "%s body_stall_timeout_ms=0 %s", topologies[topology].settings, more);
    rig_listen(r, topologies[topology].flags, settings);
    add_route(r, "/", "", answer_ok, NULL);
    add_route(r, "/up", "body=streamed body_max_bytes=1073741824", answer_ok, NULL);
    add_route(r, "/small", "body=streamed body_max_bytes=10 body_window_bytes=4", answer_ok, NULL);
    add_route(r, "/window", "body=streamed body_window_bytes=100", answer_ok, NULL);
}

static void start_with(rig *r, client *c, size_t topology, const char *more) {
    prepare(r, topology, more);
    rig_start(r);
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

static uint64_t bytes_in(const rig *r) {
    uint64_t sum = 0;
    for (size_t i = 0; i < r->server->io_count; i++)
        sum += atomic_load(&r->server->ios[i]->group.bytes_in);
    return sum;
}

static turbo_request *request(rig *r, size_t i) {
    RUN_UNTIL(r, r->seen.count > i);
    return r->seen.reqs[i];
}

static uint32_t events_of(rig *r, size_t i) {
    pthread_mutex_lock(&r->seen.lock);
    uint32_t events = r->seen.events[i];
    pthread_mutex_unlock(&r->seen.lock);
    return events;
}

static void flush(rig *r) {
    if (r->driven)
        turbo_shard_flush(turbo_server_shard(r->server, 0));
}

static void reply(rig *r, size_t i, const char *text) {
    cr_expect_eq(turbo_request_reply(r->seen.reqs[i], 200, NULL, text, strlen(text)), 0);
    flush(r);
}

static int answer(rig *r, client *c) {
    char byte;
    RUN_UNTIL(r, c->len > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
    return client_answer(c);
}

/* Let the server do what it can, whatever that is. */
static void settle(rig *r) {
    for (int i = 0; i < 10; i++) {
        if (r->driven)
            rig_settle(r);
        (void)await_longer(UINT64_MAX);
    }
}

/* The next part, or the end, when it comes. */
static int read_part(rig *r, turbo_request *req, turbo_str *out) {
    int rc = TURBO_EAGAIN;
    RUN_UNTIL(r, (rc = turbo_request_body_read(req, out)) != TURBO_EAGAIN);
    return rc;
}

/* Read to the end. @return what the last read returned; the text, ended by NUL. */
static int read_text(rig *r, turbo_request *req, char *text, size_t size) {
    turbo_str part;
    size_t len = 0;
    int rc;
    while ((rc = read_part(r, req, &part)) == 1) {
        cr_assert_gt(part.len, 0);
        cr_assert_lt(len + part.len, size);
        memcpy(text + len, part.data, part.len);
        len += part.len;
    }
    text[len] = '\0';
    return rc;
}

#define EXPECT_READ(r, req, rc, expected)                              \
    do {                                                               \
        char text_[512];                                               \
        cr_expect_eq(read_text(r, req, text_, sizeof text_), rc);      \
        cr_expect_str_eq(text_, expected);                             \
    } while (0)

/* Send all of it while the server runs. */
static void send_all(rig *r, client *c, const char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        at += client_send_some(c, data + at, len - at);
        if (r->driven)
            (void)rig_poll(r);
    }
}

/* -- reading -- */

/* errors: turbo_request_body_read TURBO_EAGAIN */
Test(body, a_handler_begins_before_the_body_and_reads_it_while_it_comes) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 6\r\n"));
        turbo_request *req = request(&r, 0);
        cr_expect_eq(turbo_request_body(req).len, 0);
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        client_send(&c, "abc");
        RUN_UNTIL(&r, (events_of(&r, 0) & TURBO_EVENT_BODY) != 0);
        cr_expect_eq(turbo_request_body_read(req, &part), 1);
        cr_expect(part.len == 3 && memcmp(part.data, "abc", 3) == 0);
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        cr_expect_eq(events_of(&r, 0), TURBO_EVENT_BODY);
        client_send(&c, "def");
        EXPECT_READ(&r, req, 0, "def");
        cr_expect_eq(turbo_request_body_read(req, &part), 0, "the end stays the end");
        cr_expect_eq(turbo_request_body(req).len, 0);
        reply(&r, 0, "done");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "done");
        client_send(&c, GET);
        reply(&r, (request(&r, 1), 1), "next");
        cr_expect_eq(answer(&r, &c), 200);
        expect_all_accounted(r.server, 2, 2, 0, 0, 0);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        end(&r, &c);
    }
}

Test(body, the_end_is_an_event_for_who_waits) {
    rig r;
    client c;
    turbo_str part;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n"));
    turbo_request *req = request(&r, 0);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
    client_send(&c, "0\r\n\r\n");
    AWAIT(events_of(&r, 0) == TURBO_EVENT_BODY_END);
    cr_expect_eq(turbo_request_body_read(req, &part), 0);
    reply(&r, 0, "done");
    cr_expect_eq(answer(&r, &c), 200);
    end(&r, &c);
}

Test(body, trailers_are_there_at_the_end_and_not_before) {
    rig r;
    client c;
    turbo_str part;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\nSum: 7\r\nHost: evil\r\n\r\n" GET);
    turbo_request *req = request(&r, 0);
    AWAIT(stats_of(&r).taken == 2);
    cr_expect_eq(read_part(&r, req, &part), 1);
    cr_expect_eq(turbo_request_trailer_count(req), 0);
    cr_expect_eq(read_part(&r, req, &part), 0);
    cr_expect_eq(turbo_request_trailer_count(req), 1);
    cr_expect_eq(turbo_request_trailer(req, "sum").len, 1);
    reply(&r, 0, "done");
    reply(&r, (request(&r, 1), 1), "next");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_eq(answer(&r, &c), 200);
    end(&r, &c);
}

Test(body, bytes_that_come_one_by_one_share_a_block) {
    rig r;
    client c;
    char text[501];
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 500\r\n"));
    turbo_request *req = request(&r, 0);
    uint64_t before = bytes_in(&r);
    for (uint64_t n = 1; n <= 500; n++) {
        client_send(&c, "x");
        AWAIT(bytes_in(&r) == before + n);
    }
    cr_expect_lt(atomic_load(&r.server->body_memory), 5000);
    cr_expect_eq(read_text(&r, req, text, sizeof text), 0);
    cr_expect_eq(strspn(text, "x"), 500);
    cr_expect_eq(strlen(text), 500);
    reply(&r, 0, "done");
    cr_expect_eq(answer(&r, &c), 200);
    end(&r, &c);
}

Test(body, of_a_gathered_request_or_of_none_is_one_part) {
    rig r;
    client c;
    turbo_str part;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/", "Content-Length: 3\r\n") "abc");
    cr_expect_eq(turbo_request_body_read(request(&r, 0), &part), 1);
    cr_expect(part.len == 3 && memcmp(part.data, "abc", 3) == 0);
    cr_expect_eq(turbo_request_body_read(request(&r, 0), &part), 0);
    cr_expect_eq(turbo_request_body(request(&r, 0)).len, 3);
    cr_expect_eq(turbo_request_on_body(request(&r, 0), NULL, NULL), 0);
    reply(&r, 0, "0");
    client_send(&c, HEAD("/up", "Content-Length: 0\r\n"));
    cr_expect_eq(turbo_request_body_read(request(&r, 1), &part), 0);
    reply(&r, 1, "1");
    client_send(&c, "GET /up HTTP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(turbo_request_body_read(request(&r, 2), &part), 0);
    reply(&r, 2, "2");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(answer(&r, &c), 200);
    end(&r, &c);
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
    prepare(&r, 0, "");
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

Test(body, that_is_not_read_is_not_read_from_the_client_and_goes_on_at_half) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        char *data = calloc(1, BIG);
        uint64_t sum = 0;
        start_with(&r, &c, i, "body_window_bytes=131072");
        cr_assert_not_null(data);
        client_send(&c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
        turbo_request *req = request(&r, 0);
        size_t sent = client_send_some(&c, data, BIG);
        RUN_UNTIL(&r, turbo__body_is_full(req));
        settle(&r);
        uint64_t in = bytes_in(&r);
        cr_expect_leq(in, 131072 + 65536 + 200, "%zu bytes were read", (size_t)in);
        cr_expect_leq(atomic_load(&r.server->body_memory), 131072 + 65536 + 4096 + 200);
        cr_expect_eq(turbo_request_body_read(req, &part), 1);
        sum += part.len;
        if (in - part.len > 65536 + 200) { /* more than half of the window is left */
            settle(&r);
            cr_expect_eq(bytes_in(&r), in, "reading went on too early");
        }
        for (int rc; (rc = turbo_request_body_read(req, &part)) != 0; sum += rc == 1 ? part.len : 0) {
            cr_assert(rc == 1 || rc == TURBO_EAGAIN);
            if (sent < BIG)
                sent += client_send_some(&c, data + sent, BIG - sent);
            if (r.driven)
                (void)rig_poll(&r);
        }
        cr_expect_eq(sum, BIG);
        reply(&r, 0, "done");
        cr_expect_eq(answer(&r, &c), 200);
        free(data);
        end(&r, &c);
    }
}

Test(body, that_waits_for_its_reader_is_not_called_slow) {
    rig r;
    client c;
    char *data = calloc(1, BIG);
    prepare(&r, 0, "body_window_bytes=1000");
    r.server->settings.body_stall_timeout_ms = 50;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n");
    turbo_request *req = request(&r, 0);
    (void)client_send_some(&c, data, BIG);
    AWAIT(turbo__body_is_full(req));
    uint64_t until = uv_hrtime() + 400 * 1000000ull;
    while (uv_hrtime() < until) /* many times the limit */
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(stats_of(&r).timeouts_body, 0);
    cr_expect_eq(turbo_request_cancelled(req), 0);
    free(data);
    end(&r, &c);
}

/* -- ends -- */

/* errors: turbo_request_body_read TURBO_ETOOBIG */
Test(body, above_its_maximum_is_413_unless_the_handler_says_else) {
    rig r;
    client c;
    turbo_str part;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/small", "Content-Length: 11\r\n"));
    cr_expect_eq(answer(&r, &c), 413, "at once");
    cr_expect_eq(r.seen.count, 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/small", "Content-Length: 10\r\n") "0123456789");
    EXPECT_READ(&r, request(&r, 0), 0, "0123456789");
    reply(&r, 0, "fits");
    cr_expect_eq(answer(&r, &c), 200);
    client_send(&c, HEAD("/small", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n8\r\n");
    turbo_request *req = request(&r, 1);
    EXPECT_READ(&r, req, TURBO_ETOOBIG, "abc");
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(answer(&r, &c), 413);
    cr_expect(client_has(&c, "Connection: close"));
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/small", "Transfer-Encoding: chunked\r\n") "b\r\n");
    EXPECT_READ(&r, request(&r, 2), TURBO_ETOOBIG, "");
    reply(&r, 2, "mine");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    expect_all_accounted(r.server, 4, 4, 0, 0, 0);
    end(&r, &c);
}

Test(body, that_is_malformed_is_400) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\nnonsense\r\n");
    turbo_request *req = request(&r, 0);
    EXPECT_READ(&r, req, TURBO_ECLOSED, "abc");
    cr_expect_eq(turbo_request_cancelled(req), 0);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(answer(&r, &c), 400);
    cr_expect_eq(client_rest(&c), 0);
    end(&r, &c);
}

Test(body, that_stalls_is_408) {
    rig r;
    client c;
    prepare(&r, 0, "");
    r.server->settings.body_stall_timeout_ms = 20;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
    turbo_request *req = request(&r, 0);
    EXPECT_READ(&r, req, TURBO_ECLOSED, "abc");
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(answer(&r, &c), 408);
    end(&r, &c);
}

/* errors: turbo_request_body_read TURBO_ENOMEM */
Test(body, above_the_memory_of_the_server_is_503) {
    rig r;
    client c;
    char data[20000] = "";
    start_with(&r, &c, 0, "body_memory_max_bytes=10000");
    client_send(&c, HEAD("/up", "Content-Length: 100000\r\n"));
    turbo_request *req = request(&r, 0);
    client_send_bytes(&c, data, sizeof data);
    turbo_str part;
    int rc;
    while ((rc = read_part(&r, req, &part)) == 1) {
    }
    cr_expect_eq(rc, TURBO_ENOMEM);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ENOMEM);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(answer(&r, &c), 503);
    end(&r, &c);
    cr_expect_eq(failing_alloc_leaks(), 0);
}

static void expect_gone(rig *r, size_t i, int waits) {
    turbo_request *req = request(r, i);
    turbo_str part;
    RUN_UNTIL(r, turbo_request_cancelled(req));
    RUN_UNTIL(r, (events_of(r, i) & TURBO_EVENT_GONE) != 0);
    cr_expect_eq((events_of(r, i) & TURBO_EVENT_BODY_END) != 0, waits);
    cr_expect_eq((r->seen.gone_with[i] & TURBO_EVENT_BODY_END) != 0, waits, "at once: it must not go on with less");
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
}

Test(body, of_a_client_that_goes_is_closed) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
        RUN_UNTIL(&r, bytes_in(&r) > 3 && r.seen.count == 1);
        client_close(&c, 1);
        expect_gone(&r, 0, 0);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n"));
        cr_expect_eq(turbo_request_body_read(request(&r, 1), &part), TURBO_EAGAIN);
        client_fin(&c);
        expect_gone(&r, 1, 1);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server)); /* while it is not read */
        client_send(&c, HEAD("/window", "Content-Length: 200\r\n"));
        client_send_bytes(&c, (char[150]){0}, 150);
        turbo_request *req = request(&r, 2);
        RUN_UNTIL(&r, turbo__body_is_full(req));
        client_close(&c, 1);
        expect_gone(&r, 2, 0);
        expect_all_accounted(r.server, 3, 0, 0, 3, 0);
        client_open(&c, turbo_server_port(r.server));
        end(&r, &c);
    }
}

/* It counts as dropped, though its client has the beginning of an answer: found by fuzz_conn. */
Test(body, that_is_cut_off_leaves_an_answer_that_has_begun_without_an_end) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_response *resp;
        char text[1024];
        size_t len = 0;
        ssize_t n = -1;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
        turbo_request *req = request(&r, 0);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
        cr_assert_eq(turbo_request_respond_write(req, "x", 1), 0);
        flush(&r);
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
        end(&r, &c);
    }
}

/* errors: turbo_request_body_read TURBO_ECLOSED */
Test(body, ends_with_an_abort) {
    rig r;
    client c;
    turbo_str part;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 10\r\n") "abc");
    turbo_request *req = request(&r, 0);
    AWAIT(turbo_request_body_read(req, &part) == 1);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
    turbo_server_abort(r.server);
    AWAIT(turbo_request_body_read(req, &part) != TURBO_EAGAIN);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
    end(&r, &c);
}

Test(body, is_read_to_its_end_in_a_drain) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", "Content-Length: 6\r\n") "abc");
    turbo_request *req = request(&r, 0);
    turbo_server_stop(r.server, NULL, NULL);
    client_send(&c, "def");
    EXPECT_READ(&r, req, 0, "abcdef");
    reply(&r, 0, "done");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_eq(client_rest(&c), 0);
    end(&r, &c);
}

Test(body, of_an_overdue_handler_is_closed) {
    rig r;
    client c;
    turbo_str part;
    prepare(&r, 0, "");
    add_route(&r, "/late", "body=streamed handler_timeout_ms=20", answer_ok, NULL);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/late", "Content-Length: 6\r\n") "abc");
    turbo_request *req = request(&r, 0);
    cr_expect_eq(read_part(&r, req, &part), 1);
    AWAIT(turbo_request_body_read(req, &part) != TURBO_EAGAIN);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
    cr_expect_eq(answer(&r, &c), 504);
    (void)turbo_request_fail(req); /* which nobody gets */
    client_send(&c, "def" GET);
    request(&r, 1);
    reply(&r, 1, "next");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_str_eq(c.body, "next");
    expect_all_accounted(r.server, 2, 2, 0, 0, 0);
    end(&r, &c);
}

/* -- 100 Continue -- */

#define EXPECTS "Content-Length: 3\r\nExpect: 100-continue\r\n"

Test(body, is_asked_for_when_it_is_read) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        char byte;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/up", EXPECTS));
        turbo_request *req = request(&r, 0);
        settle(&r);
        cr_expect_lt(recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT), 0, "asked before it was read");
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
        cr_expect_eq(answer(&r, &c), 100);
        client_send(&c, "abc");
        EXPECT_READ(&r, req, 0, "abc");
        reply(&r, 0, "done");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_not(client_has(&c, "Connection: close"));
        end(&r, &c);
    }
}

Test(body, is_not_asked_for_when_the_client_did_not_wait) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", EXPECTS) "abc");
    AWAIT(bytes_in(&r) == sizeof HEAD("/up", EXPECTS) - 1 + 3);
    EXPECT_READ(&r, request(&r, 0), 0, "abc");
    reply(&r, 0, "done");
    cr_expect_eq(answer(&r, &c), 200);
    end(&r, &c);
}

Test(body, that_was_not_asked_for_ends_the_connection) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", EXPECTS));
    request(&r, 0);
    reply(&r, 0, "no");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    end(&r, &c);
}

Test(body, is_not_asked_for_behind_the_head_of_the_answer) {
    rig r;
    client c;
    turbo_str part;
    turbo_response *resp;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/up", EXPECTS));
    turbo_request *req = request(&r, 0);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
    char byte;
    AWAIT(recv(c.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
    cr_expect_eq(turbo_request_body_read(req, &part), TURBO_EAGAIN);
    settle(&r);
    client_send(&c, "abc");
    EXPECT_READ(&r, req, 0, "abc");
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect(client_has(&c, "Connection: close"));
    end(&r, &c);
}

/* -- answers before the end of the body -- */

Test(body, that_is_short_is_read_away_behind_an_early_answer) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
        turbo_request *req = request(&r, 0);
        reply(&r, 0, "early");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_not(client_has(&c, "Connection: close"));
        cr_expect_eq(turbo_request_body_read(req, &part), TURBO_ECLOSED);
        for (int n = 0; n < 100; n++)
            client_send(&c, "G");
        client_send(&c, HEAD("/window", "Transfer-Encoding: chunked\r\n"));
        request(&r, 1);
        reply(&r, 1, "early");
        cr_expect_eq(answer(&r, &c), 200);
        client_send(&c, "3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n" GET);
        request(&r, 2);
        reply(&r, 2, "next");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "next");
        expect_all_accounted(r.server, 3, 3, 0, 0, 0);
        end(&r, &c);
    }
}

Test(body, that_is_long_ends_the_connection_behind_an_early_answer) {
    static const char *const bodies[] = {"Content-Length: 101\r\n", "Transfer-Encoding: chunked\r\n"};
    for (size_t i = 0; i < 2; i++) {
        rig r;
        client c;
        start_with(&r, &c, 0, "");
        char head[200];
        (void)snprintf(head, sizeof head, "POST /window HTTP/1.1\r\nHost: a\r\n%s\r\n", bodies[i]);
        client_send(&c, head);
        request(&r, 0);
        reply(&r, 0, "early");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_eq(client_has(&c, "Connection: close") != 0, i == 0);
        client_send(&c, "65\r\n");
        cr_expect_eq(client_rest(&c), 0);
        expect_all_accounted(r.server, 1, 1, 0, 0, 0);
        end(&r, &c);
    }
}

Test(body, that_was_kept_back_is_dropped_with_an_early_answer) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, HEAD("/window", "Content-Length: 300\r\n"));
    client_send_bytes(&c, (char[250]){0}, 250);
    turbo_request *req = request(&r, 0);
    AWAIT(turbo__body_is_full(req));
    AWAIT(bytes_in(&r) > 250);
    reply(&r, 0, "early");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    client_send_bytes(&c, (char[50]){0}, 50);
    client_send(&c, GET);
    request(&r, 1);
    reply(&r, 1, "next");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_str_eq(c.body, "next");
    end(&r, &c);
}

Test(body, that_stalls_behind_its_answer_ends_the_connection_without_another) {
    rig r;
    client c;
    prepare(&r, 0, "");
    r.server->settings.body_stall_timeout_ms = 20;
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
    request(&r, 0);
    reply(&r, 0, "early");
    cr_expect_eq(answer(&r, &c), 200);
    cr_expect_eq(client_rest(&c), 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Transfer-Encoding: chunked\r\n"));
    request(&r, 1);
    reply(&r, 1, "early");
    cr_expect_eq(answer(&r, &c), 200);
    client_send(&c, "nonsense\r\n");
    cr_expect_eq(client_rest(&c), 0);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/window", "Content-Length: 100\r\n"));
    request(&r, 2);
    reply(&r, 2, "early");
    cr_expect_eq(answer(&r, &c), 200);
    client_fin(&c);
    cr_expect_eq(client_rest(&c), 0);
    expect_all_accounted(r.server, 3, 3, 0, 0, 0);
    end(&r, &c);
}

Test(body, may_be_read_while_the_answer_is_written) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        turbo_str part;
        turbo_response *resp;
        start_with(&r, &c, i, "");
        client_send(&c, HEAD("/window", "Content-Length: 600\r\n"));
        turbo_request *req = request(&r, 0);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
        for (int n = 0; n < 6; n++) {
            char data[100];
            memset(data, '0' + n, sizeof data);
            client_send_bytes(&c, data, sizeof data);
            for (size_t got = 0; got < 100; got += part.len) {
                cr_assert_eq(read_part(&r, req, &part), 1);
                cr_assert_eq(turbo_request_respond_write(req, part.data, part.len), 0);
            }
            flush(&r);
        }
        cr_expect_eq(read_part(&r, req, &part), 0);
        cr_expect_eq(turbo_request_respond_end(req), 0);
        flush(&r);
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_eq(c.body_len, 600);
        cr_expect_eq(c.body[599], '5');
        cr_expect_not(client_has(&c, "Connection: close"));
        end(&r, &c);
    }
}

/* -- pipelining -- */

Test(body, of_a_request_that_waits_for_its_turn_is_not_read) {
    for (size_t i = 0; i < TOPOLOGIES; i++) {
        rig r;
        client c;
        start_with(&r, &c, i, "");
        client_send(&c, GET HEAD("/up", "Content-Length: 6\r\n") "abcdef" GET);
        request(&r, 0);
        settle(&r);
        cr_expect_eq(r.seen.count, 1);
        cr_expect_eq(stats_of(&r).taken, 2);
        cr_expect_eq(atomic_load(&r.server->body_memory), 0);
        reply(&r, 0, "0");
        EXPECT_READ(&r, request(&r, 1), 0, "abcdef");
        settle(&r);
        cr_expect_eq(r.seen.count, 2);
        reply(&r, 1, "1");
        request(&r, 2);
        reply(&r, 2, "2");
        for (char body[2] = "0"; body[0] <= '2'; body[0]++) {
            cr_expect_eq(answer(&r, &c), 200);
            cr_expect_str_eq(c.body, body);
        }
        expect_all_accounted(r.server, 3, 3, 0, 0, 0);
        end(&r, &c);
    }
}

Test(body, of_a_held_request_whose_client_goes_is_dropped) {
    rig r;
    client c;
    start_with(&r, &c, 0, "");
    client_send(&c, GET HEAD("/up", "Content-Length: 6\r\n") "abc");
    request(&r, 0);
    AWAIT(stats_of(&r).taken == 2);
    client_close(&c, 1);
    AWAIT(turbo_request_cancelled(r.seen.reqs[0]));
    cr_expect_eq(r.seen.count, 1);
    AWAIT(stats_of(&r).dropped == 2);
    client_open(&c, turbo_server_port(r.server));
    end(&r, &c);
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
        turbo_options *settings = options_from(topologies[i % 2].settings);
        memset(&r, 0, sizeof r);
        pthread_mutex_init(&r.seen.lock, NULL);
        cr_assert_eq(turbo_server_new(&r.server, settings), 0);
        turbo_options_free(settings);
        cr_assert_eq(turbo_server_listen(r.server, "127.0.0.1:0"), 0);
        (void)snprintf(options, sizeof options, "%s body=streamed body_max_bytes=10000000", executors[i / 2]);
        add_route(&r, "/sum", options, read_sum, &sums);
        rig_start(&r);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, "POST /sum HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8388608\r\n\r\n");
        cr_expect_eq(answer(&r, &c), 100);
        send_all(&r, &c, data, BIG);
        cr_expect_eq(answer(&r, &c), 200);
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)sum);
        cr_expect_str_eq(c.body, text, "%s: %s", options, c.body);
        cr_expect_gt(sums.rounds, 1);
        client_send(&c, HEAD("/sum", "Transfer-Encoding: chunked\r\n") "2\r\n\1\2\r\n0\r\n\r\n");
        cr_expect_eq(answer(&r, &c), 200);
        cr_expect_str_eq(c.body, "3");
        client_send(&c, HEAD("/sum", "Transfer-Encoding: chunked\r\n") "2\r\n\1\2\r\n,\r\n\r\n");
        cr_expect_eq(answer(&r, &c), 400);
        client_close(&c, 0);
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, HEAD("/sum", "Content-Length: 6\r\n") "abc");
        AWAIT(stats_of(&r).taken == 4);
        client_close(&c, 1);
        AWAIT(stats_of(&r).dropped + stats_of(&r).answered == 4);
        client_open(&c, turbo_server_port(r.server));
        free(data);
        end(&r, &c);
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
    prepare(&r, 0, "");
    add_route(&r, "/early", "body=streamed executor=inline", answer_early, NULL);
    add_route(&r, "/fails", "body=streamed executor=inline", NULL, NULL);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, HEAD("/early", "Content-Length: 3\r\n") "abc" HEAD("/fails", "Content-Length: 3\r\n") "abc"
                        HEAD("/early", "Content-Length: 999999\r\n") "abc");
    cr_expect_eq(answer(&r, &c), 403);
    cr_expect_eq(answer(&r, &c), 500);
    cr_expect_eq(answer(&r, &c), 403);
    cr_expect(client_has(&c, "Connection: close"));
    cr_expect_eq(client_rest(&c), 0);
    end(&r, &c);
}

/* -- without memory -- */

Test(body, survives_every_allocation_that_fails) {
    for (size_t nth = 1, failed = 1; failed; nth++) {
        rig r;
        client c;
        reader sums;
        prepare(&r, 0, "");
        atomic_store(&r.seen.runs, 1);
        add_route(&r, "/sum", "body=streamed executor=inline", read_sum, &sums);
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
        end(&r, &c);
        cr_expect(failed || nth > 3, "few allocations were met");
    }
}
