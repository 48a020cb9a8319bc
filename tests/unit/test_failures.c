/* test_failures.c - what answer.c logs of handlers that fail, and what not. */
#include "answer.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../support/client.h"
#include "../support/fake_clock.h"
#include "../support/rig.h"
#include "server.h"
#include "turbo/error.h"

TestSuite(failures, .timeout = 60);

static struct {
    pthread_mutex_t lock;
    atomic_int lines;
    char last[512];
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note_line(void *user, int32_t level, const char *message) {
    (void)user;
    cr_expect_eq(level, TURBO_LOG_WARN);
    pthread_mutex_lock(&logged.lock);
    snprintf(logged.last, sizeof logged.last, "%s", message);
    pthread_mutex_unlock(&logged.lock);
    atomic_fetch_add(&logged.lines, 1);
}

/* As if the last line were long ago. */
static void forget_lines(turbo_server *server) {
    atomic_store(&server->warned_ns[TURBO__WARN_HANDLER], 0);
    atomic_store(&logged.lines, 0);
}

static int fail(turbo_request *req, void *user) {
    (void)req, (void)user;
    return TURBO_EUSER;
}

static void end(turbo_server *server) {
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
}

static int reply_badly(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 1000, "text/plain", "", 0);
}

static int return_number(turbo_request *req, void *user) {
    (void)req;
    return *(int *)user;
}

static int begin_and_fail(turbo_request *req, void *user) {
    turbo_response *resp;
    cr_expect(turbo_response_new(&resp, 200) == 0 && turbo_request_respond_begin(req, resp) == 0);
    return fail(req, user);
}

static void fail_with_body(turbo_request *req, void *user) {
    turbo_str part;
    (void)user;
    if (turbo_request_body_read(req, &part) == TURBO_EAGAIN)
        return;
    cr_expect_eq(turbo_request_fail(req), 0);
    turbo_request_release(req);
}

static int read_to_failure(turbo_request *req, void *user) {
    turbo_request_retain(req);
    cr_expect_eq(turbo_request_on_body(req, fail_with_body, user), 0);
    fail_with_body(req, user);
    return 0;
}

static void fail_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard, (void)user;
    for (size_t i = 0; i < n; i++) {
        cr_expect_eq(turbo_request_fail(reqs[i]), 0);
        cr_expect_eq(turbo_request_fail(reqs[i]), TURBO_ESTATE, "and not logged again");
    }
}

static int weigh_badly(uint64_t *out, turbo_request *req, void *user) {
    (void)out, (void)req, (void)user;
    return -100;
}

static turbo_route_options *route_options(const char *name, const char *value) {
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, name, value), 0);
    return options;
}

static void route(turbo_server *server, const char *pattern, const char *name, const char *value, turbo_handler_fn fn, void *user) {
    turbo_route_options *options = route_options(name, value);
    cr_assert_eq(turbo_server_route(server, NULL, pattern, options, fn, user), 0, "%s", turbo_server_error(server));
    turbo_route_options_free(options);
}

static void route_batches(turbo_server *server) {
    turbo_route_options *weighed = route_options("batch_weight_max", "10");
    cr_assert_eq(turbo_route_options_set_weight(weighed, weigh_badly, NULL), 0);
    cr_assert_eq(turbo_server_route_batch(server, "POST", "/batch", NULL, fail_batch, NULL), 0);
    cr_assert_eq(turbo_server_route_batch(server, "GET", "/weighed", weighed, fail_batch, NULL), 0);
    turbo_route_options_free(weighed);
}

static turbo_server *failing_server(void) {
    static int seven = 7;
    turbo_server *server = NULL;
    turbo_options *settings = options_from("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_new(&server, settings), 0);
    turbo_options_free(settings);
    cr_assert_eq(turbo_server_set_log(server, TURBO_LOG_WARN, note_line, NULL), 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/users/{id}", NULL, reply_badly, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/none", NULL, NULL, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/begun", NULL, begin_and_fail, NULL), 0);
    route(server, "/inline", "executor", "inline", fail, NULL);
    route(server, "/pool", "threads", "1", fail, NULL);
    route(server, "/positive", "executor", "shard", return_number, &seven);
    route(server, "/read", "body", "streamed", read_to_failure, NULL);
    route_batches(server);
    return server;
}

static const struct failure {
    const char *request;
    int status;
    const char *line;
} failures[] = {
    {"GET /users/%0a%1b HTTP/1.1\r\nHost: a\r\n\r\n", 500,
     "GET /users/{id}: the handler returned TURBO_EINVAL (-1: an argument is out of range or malformed)"},
    {"GET /inline HTTP/1.1\r\nHost: a\r\n\r\n", 500, "GET /inline: the handler returned TURBO_EUSER (-16: a callback failed)"},
    {"MY-METHOD-MY-METHOD-MY-METHOD-MY-METHOD /pool HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 500,
     "MY-METHOD-MY-METHOD-MY-METHOD-MY /pool: the handler returned TURBO_EUSER (-16: a callback failed)"},
    {"PUT /pool HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 500,
     "PUT /pool: the handler returned TURBO_EUSER (-16: a callback failed)"},
    {"GET /positive HTTP/1.1\r\nHost: a\r\n\r\n", 500,
     "GET /positive: the handler returned 7, which is neither 0 nor negative"},
    {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 500, "GET /none: the route has no handler"},
    {"POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 500,
     "POST /batch: the handler has failed, says turbo_request_fail()"},
    {"GET /weighed HTTP/1.1\r\nHost: a\r\n\r\n", 500, "GET /weighed: it joined no batch: TURBO_EUNKNOWN (-100: unknown error)"},
};

Test(failures, what_is_answered_500_is_logged) {
    turbo_server *server = failing_server();
    client c;
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        const struct failure *f = &failures[i];
        forget_lines(server);
        cr_expect_eq(client_ask(&c, f->request), f->status, "%s", f->request);
        cr_expect_eq(atomic_load(&logged.lines), 1, "%s: before the answer", f->request);
        cr_expect_str_eq(logged.last, f->line);
        cr_expect_eq(client_ask(&c, f->request), f->status);
        cr_expect_eq(atomic_load(&logged.lines), 1, "at most once a second");
    }
    forget_lines(server);
    client_send(&c, "GET /begun HTTP/1.1\r\nHost: a\r\n\r\n");
    client_rest(&c);
    cr_expect_str_eq(logged.last, "GET /begun: the handler returned TURBO_EUSER (-16: a callback failed)");
    client_close(&c, 0);
    end(server);
}

/* Another thread has read the clock behind this one, and logged before it. */
Test(failures, are_logged_once_when_threads_meet) {
    turbo_server *server = failing_server();
    fake_clock_set(5000000000, 0);
    atomic_store(&server->warned_ns[TURBO__WARN_HANDLER], 5000000001);
    turbo__server_warn(server, TURBO__WARN_HANDLER, "too early");
    cr_expect_eq(atomic_load(&logged.lines), 0);
    fake_clock_set(6000000000, 0);
    turbo__server_warn(server, TURBO__WARN_HANDLER, "too early");
    cr_expect_eq(atomic_load(&logged.lines), 0);
    fake_clock_set(6000000001, 0);
    turbo__server_warn(server, TURBO__WARN_HANDLER, "again");
    cr_expect_eq(atomic_load(&logged.lines), 1);
    fake_clock_off();
    turbo_server_release(server);
}

Test(failures, that_a_body_ends_badly_is_not_logged_as_its_handlers_failure) {
    turbo_server *server = failing_server();
    client c;
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    client_send(&c, "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n");
    cr_expect_eq(client_answer(&c), 400);
    cr_expect_eq(atomic_load(&logged.lines), 0, "%s", logged.last);
    client_close(&c, 0);
    end(server);
}
