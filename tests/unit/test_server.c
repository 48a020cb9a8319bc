/* test_server.c - start, drain, stop, wait and release, in every order; the accounting of what was taken. */
#include "server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <pthread.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(server, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static turbo_server *serving(const char *settings) {
    turbo_server *server = NULL;
    turbo_options *options = options_from(settings);
    cr_assert_eq(turbo_server_new(&server, options), 0);
    turbo_options_free(options);
    cr_assert_eq(turbo_server_set_log(server, 0, NULL, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    return server;
}

static void listening(rig *r, const char *settings) {
    rig_listen(r, 0, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
}

/* How many threads this process has. */
static size_t threads(void) {
    char line[128];
    size_t n = 0;
    FILE *status = fopen("/proc/self/status", "r");
    cr_assert_not_null(status);
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "Threads: %zu", &n) == 1)
            break;
    fclose(status);
    return n;
}

/* -- orders -- */

struct order {
    char steps[16]; /* s start, t stop, a abort, w wait, c a client asks; a release ends each */
};

ParameterizedTestParameters(server, every_order_ends_without_threads_or_memory) {
    static struct order orders[] = {{""},   {"s"},   {"st"},  {"sw"},   {"sa"},    {"stw"},  {"saw"}, {"sc"},  {"sct"},
                                    {"stt"}, {"sta"}, {"sat"}, {"sctw"}, {"stwt"},  {"stww"}, {"ts"},  {"tsw"}, {"w"},
                                    {"ws"},  {"as"},  {"ss"},  {"stws"}, {"scscta"}, {"stwaw"}};
    return cr_make_param_array(struct order, orders, sizeof orders / sizeof *orders);
}

static __attribute__((noinline)) void run_order(const char *steps) {
    static const char *const topologies[] = {"shards=2 io_threads=1", "shards=2 io_threads=0"};
    for (size_t i = 0; i < 2; i++) {
        turbo_server *server = serving(topologies[i]);
        int started = 0, stopping = 0;
        for (const char *step = steps; *step != '\0'; step++) {
            client c;
            switch (*step) {
            case 's':
                cr_expect_eq(turbo_server_start(server), started ? TURBO_ESTATE : 0);
                started = 1;
                break;
            case 't':
                cr_expect_eq(turbo_server_stop(server, NULL, NULL), started ? 0 : TURBO_ESTATE);
                stopping = started;
                break;
            case 'a':
                cr_expect_eq(turbo_server_abort(server), started ? 0 : TURBO_ESTATE);
                stopping = started;
                break;
            case 'w':
                if (started && !stopping)
                    cr_expect_eq(turbo_server_stop(server, NULL, NULL), 0);
                cr_expect_eq(turbo_server_wait(server), started ? 0 : TURBO_ESTATE);
                break;
            default:
                client_open(&c, turbo_server_port(server));
                cr_expect_eq(client_ask(&c, ASK), 200);
                client_close(&c, 0);
            }
        }
        turbo_server_release(server);
    }
}

ParameterizedTest(struct order *order, server, every_order_ends_without_threads_or_memory) {
    size_t before = threads();
    run_order(order->steps);
    AWAIT(threads() == before);
    cr_expect_not(failing_alloc_leaks(), "after \"%s\"", order->steps);
}

/* -- release where it is least expected -- */

static int release_here(turbo_request *req, void *user) {
    turbo_server *server = *(turbo_server **)user;
    turbo_server_release(server);
    return answer_ok(req, NULL);
}

static __attribute__((noinline)) void release_in_a_handler(const char *executor) {
    static turbo_server *server;
    turbo_route_options *options = NULL;
    client c;
    server = serving("shards=1 io_threads=1");
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "executor", executor), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/release", options, release_here, &server), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    cr_expect_eq(client_ask(&c, "GET /release HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_eq(client_answer(&c), 0, "it closes");
    client_close(&c, 0);
    turbo_route_options_free(options);
    server = NULL;
}

Test(server, release_in_a_handler_answers_and_frees_everything) {
    size_t before = threads();
    release_in_a_handler("shard");
    release_in_a_handler("inline");
    AWAIT(threads() == before);
    cr_expect_not(failing_alloc_leaks());
}

static void release_it(turbo_server *server, void *user) {
    turbo_server_release(server);
    atomic_store((atomic_int *)user, 1);
}

static __attribute__((noinline)) void release_in_stopped(void) {
    static atomic_int stopped;
    turbo_server *server = serving("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_start(server), 0);
    cr_assert_eq(turbo_server_stop(server, release_it, &stopped), 0);
    AWAIT(stopped == 1);
}

Test(server, release_in_the_stopped_callback) {
    size_t before = threads();
    release_in_stopped();
    AWAIT(threads() == before);
    cr_expect_not(failing_alloc_leaks());
}

static void release_on_shard(turbo_shard *shard, int status, void *user) {
    (void)shard, (void)status;
    turbo_server_release(user);
}

static __attribute__((noinline)) void release_in_a_post(void) {
    turbo_server *server = serving("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_start(server), 0);
    cr_assert_eq(turbo_shard_post(turbo_server_shard(server, 0), release_on_shard, server), 0);
}

Test(server, release_in_a_posted_function) {
    size_t before = threads();
    release_in_a_post();
    AWAIT(threads() == before);
    cr_expect_not(failing_alloc_leaks());
}

static void release_in_done(turbo_request *req, int status, const turbo_response *resp, void *user) {
    (void)req, (void)status, (void)resp;
    turbo_server_release(user);
}

static __attribute__((noinline)) void release_in_completion(void) {
    turbo_server *server = serving("shards=1 io_threads=1");
    turbo_request *req = NULL;
    cr_assert_eq(turbo_server_start(server), 0);
    cr_assert_eq(turbo_request_new(&req, server, "GET", "/", release_in_done, server), 0);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(server, 0), req), 0);
    turbo_request_release(req);
}

Test(server, release_in_the_completion_of_a_request) {
    size_t before = threads();
    release_in_completion();
    AWAIT(threads() == before);
    cr_expect_not(failing_alloc_leaks());
}

/* -- drain -- */

Test(server, drain_answers_what_was_taken_and_then_closes) {
    rig r;
    client busy, idle, late;
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "");
    uint16_t port = turbo_server_port(r.server);
    client_open(&busy, port);
    client_open(&idle, port);
    cr_expect_eq((client_send(&busy, ASK), 0), 0);
    AWAIT(r.seen.count == 1);
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.connections == 2);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(client_answer(&idle), 0, "an idle connection is closed at once");
    cr_expect_not(idle.reset);
    cr_expect_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, "taken", 5), 0);
    cr_expect_eq(client_answer(&busy), 200);
    cr_expect_str_eq(busy.body, "taken");
    cr_expect(client_has(&busy, "Connection: close"));
    cr_expect_eq(client_answer(&busy), 0);
    cr_expect_not(busy.reset);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 1, 1, 0, 0, 0);
    late.fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_expect_neq(connect(late.fd, (struct sockaddr *)&to, sizeof to), 0, "nobody listens any more");
    close(late.fd);
    client_close(&busy, 0);
    client_close(&idle, 0);
    rig_end(&r);
}

/* -- drain_idle_ms: every place where connections may be served -- */

struct place {
    char settings[80];
    char options[24]; /* of the route */
};

ParameterizedTestParameters(server, drain_idle_answers_the_next_request_and_closes) {
    static struct place places[] = {{"io_threads=1", ""},
                                    {"io_threads=2 shards=2", ""},
                                    {"io_threads=0", ""},
                                    {"io_threads=0 shards=2 placement=round_robin", ""},
                                    {"io_threads=1", "inline"}};
    return cr_make_param_array(struct place, places, sizeof places / sizeof *places);
}

ParameterizedTest(struct place *place, server, drain_idle_answers_the_next_request_and_closes) {
    enum { CLIENTS = 6 };
    client c[CLIENTS], late;
    turbo_stats s = TURBO_STATS_INIT;
    turbo_route_options *options = NULL;
    rig r;
    char settings[160];
    snprintf(settings, sizeof settings, "drain_idle_ms=86400000 idle_timeout_ms=0 %s", place->settings);
    rig_listen(&r, 0, settings);
    r.seen.runs = 1;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    if (*place->options != '\0')
        cr_assert_eq(turbo_route_options_set(options, "executor", place->options), 0);
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", options, answer_ok, NULL), 0);
    turbo_route_options_free(options);
    rig_start(&r);
    uint16_t port = turbo_server_port(r.server);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&c[i], port);
        if (i % 2 == 0) /* the others have asked for nothing yet */
            cr_expect_eq(client_ask(&c[i], ASK), 200);
    }
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.connections == CLIENTS);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    late.fd = socket(AF_INET, SOCK_STREAM, 0);
    while (connect(late.fd, (struct sockaddr *)&to, sizeof to) == 0) { /* until the listeners are closed */
        close(late.fd);
        late.fd = socket(AF_INET, SOCK_STREAM, 0);
    }
    close(late.fd);
    for (int i = 0; i < CLIENTS; i++) {
        cr_expect_eq(atomic_load(&r.server->state), TURBO__SERVER_DRAINING);
        cr_expect_eq(client_ask(&c[i], ASK), 200);
        cr_expect(client_has(&c[i], "Connection: close"));
        cr_expect_eq(client_answer(&c[i]), 0);
        cr_expect_not(c[i].reset);
        client_close(&c[i], 0);
    }
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, CLIENTS + CLIENTS / 2, CLIENTS + CLIENTS / 2, 0, 0, 0);
    rig_end(&r);
}

Test(server, drain_idle_closes_what_stays_silent) {
    rig r;
    client c;
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "drain_idle_ms=30 drain_timeout_ms=86400000");
    client_open(&c, turbo_server_port(r.server));
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.connections == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(client_answer(&c), 0);
    cr_expect_not(c.reset);
    client_close(&c, 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    cr_expect_eq(turbo_server_stats(r.server, &s), 0);
    cr_expect(s.timeouts_idle == 0 && s.taken == 0);
    rig_end(&r);
}

Test(server, drain_idle_ends_with_the_drain) {
    rig r;
    client c;
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "drain_idle_ms=86400000 drain_timeout_ms=20");
    client_open(&c, turbo_server_port(r.server));
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.connections == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    cr_expect_eq(client_answer(&c), 0);
    client_close(&c, 0);
    expect_all_accounted(r.server, 0, 0, 0, 0, 0);
    rig_end(&r);
}

Test(server, abort_ends_drain_idle) {
    rig r;
    client c;
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "drain_idle_ms=86400000 drain_timeout_ms=86400000");
    client_open(&c, turbo_server_port(r.server));
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.connections == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    for (int i = 0; i < 20; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(atomic_load(&r.server->state), TURBO__SERVER_DRAINING);
    cr_expect_eq(turbo_server_abort(r.server), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    cr_expect_eq(client_answer(&c), 0);
    client_close(&c, 0);
    rig_end(&r);
}

/* -- what else is under way -- */

Test(server, a_head_that_was_begun_before_the_stop_is_still_answered) {
    rig r;
    client c;
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "");
    r.seen.runs = 1;
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, "GET / HT");
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.taken == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(turbo__server_draining(r.server));
    client_send(&c, "TP/1.1\r\nHost: a\r\n\r\n");
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 1, 1, 0, 0, 0);
    client_close(&c, 0);
    rig_end(&r);
}

/* -- who is told -- */

struct told {
    rig r;
    atomic_size_t calls, of_shard[4];
};

/* What streams without an end does: it ends. The stop then has nothing to wait for. */
static void end_streams(turbo_shard *shard, int status, void *user) {
    struct told *told = user;
    cr_expect_eq(status, 0);
    cr_expect_eq(turbo_shard_draining(shard), 1);
    atomic_fetch_add(&told->calls, 1);
    atomic_fetch_add(&told->of_shard[turbo_shard_index(shard)], 1);
    pthread_mutex_lock(&told->r.seen.lock);
    for (size_t i = 0; i < told->r.seen.count; i++)
        if (turbo_request_shard(told->r.seen.reqs[i]) == shard)
            cr_expect_eq(turbo_request_respond_end(told->r.seen.reqs[i]), 0);
    pthread_mutex_unlock(&told->r.seen.lock);
}

ParameterizedTestParameters(server, each_shard_is_told_once_that_a_stop_has_begun) {
    static struct place places[] = {{"io_threads=1 shards=2 placement=round_robin", ""},
                                    {"io_threads=0 shards=2 placement=round_robin", ""},
                                    {"io_threads=1 shards=2 placement=round_robin", "driven"},
                                    {"io_threads=0 shards=2 placement=round_robin", "driven"}};
    return cr_make_param_array(struct place, places, sizeof places / sizeof *places);
}

/* errors: turbo_server_on_drain TURBO_ESTATE */
ParameterizedTest(struct place *place, server, each_shard_is_told_once_that_a_stop_has_begun) {
    static struct told told;
    rig *r = &told.r;
    client c;
    char settings[160];
    snprintf(settings, sizeof settings, "drain_timeout_ms=86400000 %s", place->settings);
    rig_listen(r, *place->options != '\0' ? TURBO_EXECUTOR_DRIVEN : 0, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_on_drain(r->server, end_streams, &told), 0);
    rig_start(r);
    cr_expect_eq(turbo_server_on_drain(r->server, NULL, NULL), TURBO_ESTATE);
    client_open(&c, turbo_server_port(r->server));
    client_send(&c, ASK ASK);
    AWAIT(rig_poll(r) == 0 && r->seen.count == 2);
    for (size_t i = 0; i < 2; i++) {
        turbo_response *resp;
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        cr_assert_eq(turbo_request_respond_begin(r->seen.reqs[i], resp), 0);
    }
    cr_expect_eq(told.calls, 0);
    cr_assert_eq(turbo_server_stop(r->server, NULL, NULL), 0);
    AWAIT(rig_poll(r) == (r->driven ? 2 : 0) && atomic_load(&r->server->state) == TURBO__SERVER_STOPPED);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(client_answer(&c), 0);
    cr_expect(told.calls == 2 && told.of_shard[0] == 1 && told.of_shard[1] == 1);
    expect_all_accounted(r->server, 2, 2, 0, 0, 0);
    client_close(&c, 0);
    rig_end(r);
}

Test(server, drain_timeout_abandons_what_is_left) {
    rig r;
    client c;
    listening(&r, "drain_timeout_ms=20");
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, ASK ASK ASK);
    AWAIT(r.seen.count == 3);
    cr_expect_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, "x", 1), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 3, 1, 0, 0, 2);
    cr_expect(turbo_request_cancelled(r.seen.reqs[1]));
    cr_expect_eq(client_answer(&c), 0);
    client_close(&c, 0);
    rig_end(&r);
}

Test(server, abort_ends_a_drain_that_would_last) {
    rig r;
    client c;
    listening(&r, "drain_timeout_ms=86400000");
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, ASK);
    AWAIT(r.seen.count == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_abort(r.server), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 1, 0, 0, 0, 1);
    client_close(&c, 0);
    rig_end(&r);
}

Test(server, drain_waits_for_requests_without_a_connection) {
    rig r;
    outcome out = {0};
    listening(&r, "");
    cr_assert_eq(submit_to(turbo_server_shard(r.server, 0), r.server, "/", &out), 0);
    AWAIT(r.seen.count == 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    for (int i = 0; i < 20; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(atomic_load(&r.server->state), TURBO__SERVER_DRAINING);
    cr_expect_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, "x", 1), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    cr_expect_eq(out.answered, 1);
    expect_all_accounted(r.server, 1, 1, 0, 0, 0);
    rig_end(&r);
}

/* In flight and in the queue, with and without a connection: each is accounted for when the server has stopped. */
Test(server, everything_is_accounted_for_when_a_stop_loses_patience) {
    rig r;
    client c;
    outcome out = {0};
    turbo_stats s = TURBO_STATS_INIT;
    listening(&r, "inflight_max=2 drain_timeout_ms=0");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    client_open(&c, turbo_server_port(r.server));
    cr_assert_eq(submit_to(shard, r.server, "/", &out), 0);
    client_send(&c, ASK ASK);
    AWAIT(turbo_server_stats(r.server, &s) == 0 && s.taken == 3);
    AWAIT(r.seen.count == 2);
    cr_assert_eq(submit_to(shard, r.server, "/", &out), 0);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 4, 0, 0, 0, 4);
    client_close(&c, 0);
    rig_end(&r);
    cr_expect_eq(out.answered + out.closed, 2);
}

/* -- run -- */

static void *run(void *server) { return (void *)(intptr_t)turbo_server_run(server); }

Test(server, run_ends_with_a_stop_by_somebody_else) {
    turbo_server *server = serving("shards=1 io_threads=1");
    pthread_t thread;
    void *rc;
    client c;
    cr_assert_eq(pthread_create(&thread, NULL, run, server), 0);
    client_open(&c, turbo_server_port(server));
    cr_expect_eq(client_ask(&c, ASK), 200);
    cr_expect_eq(turbo_server_stop(server, NULL, NULL), 0);
    pthread_join(thread, &rc);
    cr_expect_null(rc);
    client_close(&c, 0);
    turbo_server_release(server);
}

static void on_old_signal(int number) { (void)number; }

Test(server, run_ends_with_a_signal_and_puts_the_old_action_back) {
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        turbo_server *server = serving("shards=1 io_threads=1");
        struct sigaction old = {.sa_handler = on_old_signal}, now;
        sigset_t mask;
        cr_assert_eq(sigaction(numbers[i], &old, NULL), 0);
        sigemptyset(&mask);
        sigaddset(&mask, numbers[i]);
        cr_assert_eq(pthread_sigmask(SIG_BLOCK, &mask, NULL), 0);
        cr_assert_eq(turbo_server_start(server), 0);
        cr_assert_eq(raise(numbers[i]), 0, "it is pending, and not lost");
        cr_expect_eq(turbo_server_run(server), 0);
        cr_expect_eq(sigaction(numbers[i], NULL, &now), 0);
        cr_expect_eq(now.sa_handler, on_old_signal);
        cr_expect_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
        cr_expect(sigismember(&mask, numbers[i]));
        turbo_server_release(server);
    }
}
