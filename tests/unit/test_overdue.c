/* test_overdue.c - handlers that take too long: the answer in their place, what they are told, when they are done. */
#include "overdue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "clock.h"
#include "server.h"
#include "turbo/error.h"

TestSuite(overdue, .timeout = 30);

#define MS 1000000u

/* -- lines, without a thread -- */

static turbo__route routes[3];
static turbo_shard shard;

static void open_lines(uint64_t a_ns, uint64_t b_ns, uint64_t c_ns) {
    const uint64_t times[] = {a_ns, b_ns, c_ns};
    shard = (turbo_shard){0};
    for (uint32_t i = 0; i < 3; i++)
        routes[i] = (turbo__route){.next = i < 2 ? &routes[i + 1] : NULL, .index = i, .handler_timeout_ns = times[i]};
    cr_assert_eq(turbo__overdue_open(&shard.overdue, routes, 3), 0);
}

static turbo_request *begin(uint32_t route, uint64_t now_ns) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->route = &routes[route];
    req->shard = &shard;
    turbo__overdue_begin(req, &now_ns);
    return req;
}

static uint64_t next_ns(void) { return atomic_load(&shard.overdue.next_ns); }

Test(overdue, costs_nothing_without_a_route_that_has_a_timeout) {
    open_lines(0, 0, 0);
    cr_expect(shard.overdue.line_count == 0 && shard.overdue.lines == NULL && next_ns() == 0);
    turbo__overdue_close(&shard.overdue);
    turbo__overdue_free(&shard.overdue);
}

Test(overdue, is_looked_at_when_the_first_of_any_line_is_due) {
    open_lines(50, 0, 10);
    turbo_request *a = begin(0, 100), *c = begin(2, 130), *d = begin(2, 120);
    cr_expect_eq(next_ns(), 130, "the last to come moved it only to where it is due");
    cr_expect(a->deadline_ns == 150 && c->deadline_ns == 140 && d->deadline_ns == 130);
    turbo__overdue_end(c);
    turbo__overdue_end(c); /* again does nothing */
    turbo__overdue_end(d);
    turbo__overdue_end(a);
    cr_expect(turbo__list_empty(&shard.overdue.lines[0]) && turbo__list_empty(&shard.overdue.lines[2]));
    turbo_request_release(a);
    turbo_request_release(c);
    turbo_request_release(d);
    turbo__overdue_check(&shard);
    cr_expect_eq(next_ns(), 0, "nobody is left");
    turbo__overdue_free(&shard.overdue);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, nobody_joins_when_the_shard_has_ended) {
    open_lines(50, 0, 0);
    turbo_request *a = begin(0, 100);
    turbo__overdue_close(&shard.overdue);
    cr_expect_eq(next_ns(), 0);
    turbo_request *b = begin(0, 101);
    cr_expect(next_ns() == 0 && !a->in_line && !b->in_line);
    turbo__overdue_end(a);
    turbo__overdue_end(b);
    turbo_request_release(a);
    turbo_request_release(b);
    turbo__overdue_free(&shard.overdue);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, failed_allocation_is_reported) {
    turbo__route only = {.handler_timeout_ns = 1};
    turbo__overdue overdue = {0};
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__overdue_open(&overdue, &only, 1), turbo__overdue_free(&overdue));
}

/* -- on a shard that the test drives -- */

static turbo_shard *start(rig *r, const char *settings) {
    turbo_route_options *options;
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "handler_timeout_ms", "1"), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", options, answer_ok, NULL), 0);
    cr_assert_eq(turbo_route_options_set(options, "handler_timeout_ms", "0"), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/never", options, answer_ok, NULL), 0);
    cr_assert_eq(turbo_route_options_set(options, "handler_timeout_ms", "60000"), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/long", options, answer_ok, NULL), 0);
    turbo_route_options_free(options);
    rig_start(r);
    return turbo_server_shard(r->server, 0);
}

static turbo_request *give(rig *r, const char *target, outcome *out) {
    size_t before = r->seen.count;
    cr_assert_eq(submit_to(turbo_server_shard(r->server, 0), r->server, target, out), 0);
    rig_settle(r);
    cr_assert_eq(r->seen.count, before + 1);
    return r->seen.reqs[before];
}

/* The host sleeps as long as it is told, and no longer. */
static size_t poll_by_timeout(rig *r, const atomic_size_t *count) {
    if (turbo_shard_timeout_ms(turbo_server_shard(r->server, 0)) == 0)
        rig_settle(r);
    return *count;
}

static turbo_request *give_overdue(rig *r, outcome *out) {
    turbo_request *req = give(r, "/", out);
    AWAIT(poll_by_timeout(r, &out->answered) == 1);
    return req;
}

static void expect_done(rig *r, uint64_t timed_out) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(turbo_server_shard(r->server, 0), &s), 0);
    cr_expect(s.inflight == 0 && s.timed_out == timed_out, "%llu in flight", (unsigned long long)s.inflight);
}

Test(overdue, client_gets_504_and_the_executor_is_told) {
    rig r;
    outcome out = {0};
    turbo_shard *on = start(&r, "");
    turbo_request *req = give_overdue(&r, &out);
    cr_expect_eq(out.status, 504);
    cr_expect_str_eq(out.body, "Gateway Timeout: the handler took too long\n");
    cr_expect_eq(r.seen.events[0], TURBO_EVENT_DEADLINE);
    cr_expect(turbo_request_timed_out(req) && turbo_request_cancelled(req));
    cr_expect_eq(turbo_request_deadline_ms(req), 0);
    cr_expect_eq(turbo_shard_inflight(on), 1, "its handler is not done");
    cr_expect_eq(turbo_shard_timeout_ms(on), -1);
    rig_end(&r);
    cr_expect_eq(out.answered, 1);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, late_answer_is_thrown_away_once_and_ends_the_flight) {
    rig r;
    outcome out = {0};
    start(&r, "");
    turbo_request *req = give_overdue(&r, &out);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "late", 4), 0);
    expect_done(&r, 1);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "late", 4), TURBO_ESTATE);
    cr_expect_eq(turbo_request_fail(req), TURBO_ESTATE);
    cr_expect(out.answered == 1 && out.status == 504);
    rig_end(&r);
}

static void count_free(void *user) { ++*(int *)user; }

Test(overdue, late_response_object_is_taken_and_its_body_given_back) {
    rig r;
    outcome out = {0};
    turbo_response *resp;
    int freed = 0;
    start(&r, "");
    turbo_request *req = give_overdue(&r, &out);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_response_body_ref(resp, "late", 4, count_free, &freed), 0);
    cr_expect_eq(turbo_request_respond(req, resp), 0);
    cr_expect_eq(freed, 1);
    expect_done(&r, 1);
    outcome again = {0};
    req = give_overdue(&r, &again);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_response_body_lend(resp, "late", 4), 0);
    cr_expect_eq(turbo_request_respond(req, resp), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.events[1], TURBO_EVENT_DEADLINE | TURBO_EVENT_RELEASE);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, late_stream_cannot_begin_and_ends_the_flight) {
    rig r;
    outcome out = {0};
    turbo_response *resp;
    start(&r, "");
    turbo_request *req = give_overdue(&r, &out);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_expect_eq(turbo_request_respond_begin(req, resp), TURBO_ESTATE);
    turbo_response_free(resp);
    expect_done(&r, 1);
    rig_end(&r);
}

/* Its shard, on another thread, has made the first step of answering in its place, and nothing else yet. */
Test(overdue, who_comes_late_knows_why_at_once) {
    turbo_response *resp;
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    cr_assert_eq(turbo__request_claim(req, TURBO__OPEN, TURBO__OVERDUE), 0);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_expect_eq(turbo_request_respond_begin(req, resp), TURBO_ESTATE);
    cr_expect(turbo_request_timed_out(req) && turbo_request_cancelled(req));
    turbo_response_free(resp);
    turbo_request_release(req);
}

Test(overdue, who_lets_go_without_an_answer_is_done_too) {
    rig r;
    outcome out = {0};
    start(&r, "");
    turbo_request *req = give_overdue(&r, &out);
    r.seen.count = 0; /* the reference is ours now */
    turbo_request_release(req);
    expect_done(&r, 1);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, an_answer_in_time_is_the_answer) {
    rig r;
    outcome out = {0};
    turbo_shard *on = start(&r, "");
    turbo_request *req = give(&r, "/long", &out);
    int64_t left = turbo_request_deadline_ms(req);
    cr_expect(left > 0 && left <= 60000, "%lld", (long long)left);
    cr_expect_gt(turbo_shard_timeout_ms(on), 0);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, NULL, 0), 0);
    cr_expect(out.status == 200 && !turbo_request_timed_out(req));
    expect_done(&r, 0);
    rig_end(&r);
}

Test(overdue, a_stream_that_has_begun_has_all_the_time) {
    rig r;
    outcome out = {0};
    turbo_response *resp;
    start(&r, "");
    turbo_request *req = give(&r, "/long", &out);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
    cr_expect_not(req->in_line);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(out.answered, 1);
    rig_end(&r);
}

Test(overdue, without_a_timeout_there_is_no_deadline) {
    rig r;
    outcome out = {0};
    turbo_shard *on = start(&r, "");
    turbo_request *req = give(&r, "/never", &out);
    cr_expect_eq(turbo_request_deadline_ms(req), -1);
    cr_expect_eq(turbo_shard_timeout_ms(on), -1);
    rig_end(&r);
}

Test(overdue, of_a_gone_client_nothing_more_is_told) {
    rig r;
    outcome out = {0};
    turbo_shard *on = start(&r, "");
    turbo_request *req = give(&r, "/", &out);
    atomic_store(&req->cancelled, 1); /* as the I/O loop does */
    AWAIT((rig_poll(&r), turbo_shard_timeout_ms(on) == -1));
    cr_expect(out.answered == 0 && r.seen.events[0] == 0 && !turbo_request_timed_out(req));
    cr_expect_eq(turbo_request_reply(req, 200, NULL, NULL, 0), 0);
    expect_done(&r, 0);
    rig_end(&r);
}

Test(overdue, flight_of_an_overdue_handler_holds_its_place) {
    rig r;
    outcome out = {0}, next = {0};
    turbo_shard *on = start(&r, "inflight_max=1");
    turbo_request *req = give_overdue(&r, &out);
    cr_assert_eq(submit_to(on, r.server, "/never", &next), 0);
    rig_settle(&r);
    cr_expect(r.seen.count == 1 && turbo_shard_queued(on) == 1);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 2);
    rig_end(&r);
}

/* -- handlers of the library's own executors -- */

static atomic_int told;

static void on_gone(turbo_request *req, void *user) {
    (void)user;
    cr_expect(turbo_request_timed_out(req));
    cr_expect_eq(turbo_request_on_gone(req, NULL, NULL), TURBO_ESTATE, "it comes once");
    cr_expect_eq(turbo_request_fail(req), 0);
    turbo_request_release(req);
    atomic_fetch_add(&told, 1);
}

static int on_slow(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_on_gone(turbo_request_retain(req), on_gone, NULL);
}

static sem_t go;

static int on_block(turbo_request *req, void *user) {
    (void)user;
    while (sem_wait(&go) != 0) {
    }
    cr_expect(turbo_request_timed_out(req), "handlers that look are told, on any thread");
    return turbo_request_reply(req, 200, NULL, NULL, 0);
}

static turbo_request *batch[8];
static atomic_size_t batch_count;

static void on_batch(turbo_shard *on, turbo_request *const *reqs, size_t n, void *user) {
    (void)on;
    (void)user;
    for (size_t i = 0; i < n; i++)
        batch[batch_count++] = turbo_request_retain(reqs[i]);
}

static turbo_server *serve(void) {
    turbo_server *server;
    turbo_route_options *pool;
    turbo_options *options = options_from("shards=1 io_threads=1 handler_timeout_ms=20");
    cr_assert_eq(turbo_server_new(&server, options), 0);
    turbo_options_free(options);
    cr_assert_eq(turbo_route_options_new(&pool), 0);
    cr_assert_eq(turbo_route_options_set(pool, "threads", "1"), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/slow", NULL, on_slow, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/block", pool, on_block, NULL), 0);
    cr_assert_eq(turbo_server_route_batch(server, "GET", "/batch", NULL, on_batch, NULL), 0);
    cr_assert_eq(turbo_server_set_log(server, 0, NULL, NULL), 0);
    turbo_route_options_free(pool);
    cr_assert_eq(turbo_server_start(server), 0);
    return server;
}

static void end(turbo_server *server) {
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_assert_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
    cr_expect_not(failing_alloc_leaks());
}

Test(overdue, handler_is_told_as_of_a_client_that_has_gone) {
    outcome out = {0};
    turbo_server *server = serve();
    turbo_shard *on = turbo_server_shard(server, 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(submit_to(on, server, "/slow", &out), 0);
    AWAIT(out.answered == 3 && atomic_load(&told) == 3);
    cr_expect_eq(out.status, 504);
    AWAIT(turbo_shard_inflight(on) == 0);
    end(server);
}

Test(overdue, time_of_a_pools_handler_begins_with_it) {
    outcome out = {0}, waits = {0};
    sem_init(&go, 0, 0);
    turbo_server *server = serve();
    turbo_shard *on = turbo_server_shard(server, 0);
    cr_assert_eq(submit_to(on, server, "/block", &out), 0);
    AWAIT(out.answered == 1); /* by the shard, which was asleep: the thread still blocks */
    cr_assert_eq(submit_to(on, server, "/block", &waits), 0);
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    AWAIT(turbo_shard_stats_get(on, &s) == 0 && s.pool_queued == 1);
    uint64_t from = turbo__clock_ns();
    AWAIT(turbo__clock_ns() - from > 30 * MS);
    cr_expect(waits.answered == 0 && turbo_shard_inflight(on) == 2);
    sem_post(&go);
    AWAIT(waits.answered == 1);
    sem_post(&go);
    AWAIT(turbo_shard_inflight(on) == 0);
    end(server);
    sem_destroy(&go);
}

Test(overdue, requests_of_a_batch_have_a_deadline_each) {
    outcome out = {0};
    turbo_server *server = serve();
    turbo_shard *on = turbo_server_shard(server, 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(submit_to(on, server, "/batch", &out), 0);
    AWAIT(batch_count == 2);
    AWAIT(out.answered == 2);
    cr_expect_eq(out.status, 504);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(turbo_request_reply(batch[i], 200, NULL, NULL, 0), 0); /* from a foreign thread */
        turbo_request_release(batch[i]);
    }
    AWAIT(turbo_shard_inflight(on) == 0);
    end(server);
}

static void *answer_all(void *arg) {
    rig *r = arg;
    for (size_t i = 0; i < 400;) {
        if (i >= r->seen.count)
            continue;
        cr_expect_eq(turbo_request_reply(r->seen.reqs[i++], 200, NULL, NULL, 0), 0);
    }
    return NULL;
}

/* Answers race with deadlines: each request has one of the two, and each flight ends once. */
Test(overdue, each_request_is_answered_once_however_close_it_is) {
    rig r;
    outcome out = {0};
    pthread_t thread;
    turbo_shard *on = start(&r, "");
    cr_assert_eq(pthread_create(&thread, NULL, answer_all, &r), 0);
    for (int i = 0; i < 400; i++)
        cr_assert_eq(submit_to(on, r.server, "/", &out), 0);
    AWAIT((rig_poll(&r), out.answered == 400));
    pthread_join(thread, NULL);
    cr_expect_eq(turbo_shard_inflight(on), 0);
    cr_expect(out.closed == 0 && out.failed == 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- drains -- */

Test(overdue, handlers_see_that_a_stop_has_begun) {
    rig r;
    outcome out = {0};
    turbo_shard *on = start(&r, "");
    turbo_request *req = give(&r, "/never", &out);
    cr_expect_eq(turbo_shard_draining(on), 0);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_shard_draining(on), 1);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, NULL, 0), 0);
    rig_end(&r);
    cr_expect_eq(out.answered, 1);
}
