/* test_queue.c - requests that wait too long for their handler, wherever they wait. */
#include "queue.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"

TestSuite(queue, .timeout = 30);

#define MS 1000000u

static turbo__route route;

static turbo_request waiting_since(uint64_t queued_ns) { return (turbo_request){.route = &route, .queued_ns = queued_ns}; }

Test(queue, a_request_is_late_behind_its_timeout_and_not_at_it) {
    uint64_t now = 100 * MS;
    turbo_request req = waiting_since(90 * MS);
    route.queue_timeout_ns = 10 * MS + 1;
    cr_expect_not(turbo__queue_is_late(&req, &now));
    route.queue_timeout_ns = 10 * MS;
    cr_expect_not(turbo__queue_is_late(&req, &now));
    route.queue_timeout_ns = 10 * MS - 1;
    cr_expect(turbo__queue_is_late(&req, &now));
    req = waiting_since(101 * MS); /* by another thread's clock, which was read later */
    cr_expect_not(turbo__queue_is_late(&req, &now));
}

Test(queue, without_a_timeout_nobody_is_late_and_no_clock_is_read) {
    uint64_t now = 0;
    turbo_request req = waiting_since(1);
    route.queue_timeout_ns = 0;
    cr_expect_not(turbo__queue_is_late(&req, &now));
    cr_expect_eq(now, 0);
    route.queue_timeout_ns = 1;
    cr_expect(turbo__queue_is_late(&req, &now));
    cr_expect_neq(now, 0);
}

/* -- on a shard -- */

static turbo_shard *start(rig *r, const char *settings) {
    static const char *const patterns[] = {"/a", "/slow", "/one"};
    static const char *const options_of[][2] = {{"queue_timeout_ms", "1"}, {"queue_timeout_ms", "0"}, {"inflight_max", "1"}};
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    for (size_t i = 0; i < 3; i++) {
        turbo_route_options *options;
        cr_assert_eq(turbo_route_options_new(&options), 0);
        cr_assert_eq(turbo_route_options_set(options, options_of[i][0], options_of[i][1]), 0);
        if (i == 2)
            cr_assert_eq(turbo_route_options_set(options, "queue_timeout_ms", "1"), 0);
        cr_assert_eq(turbo_server_route(r->server, "GET", patterns[i], options, answer_ok, NULL), 0);
        turbo_route_options_free(options);
    }
    rig_start(r);
    return turbo_server_shard(r->server, 0);
}

static void submit(rig *r, const char *target, outcome *out) {
    cr_assert_eq(submit_to(turbo_server_shard(r->server, 0), r->server, target, out), 0);
}

static uint64_t expired(turbo_shard *shard) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(shard, &s), 0);
    return s.expired;
}

static void pass_ms(uint64_t ms) {
    uint64_t from = turbo__clock_ns();
    AWAIT(turbo__clock_ns() - from > ms * MS);
}

Test(queue, late_ones_are_answered_and_the_others_run) {
    rig r;
    outcome late = {0}, in_time = {0};
    turbo_shard *shard = start(&r, "");
    for (int i = 0; i < 3; i++) {
        submit(&r, "/a", &late);
        submit(&r, "/slow", &in_time);
    }
    pass_ms(2);
    rig_settle(&r);
    cr_expect(late.answered == 3 && late.status == 503 && r.seen.count == 3);
    cr_expect(expired(shard) == 3 && turbo_shard_queued(shard) == 0 && turbo_shard_inflight(shard) == 3);
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(turbo_request_reply(r.seen.reqs[i], 200, NULL, NULL, 0), 0);
    expect_all_accounted(r.server, 6, 3, 3, 0, 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* The host has to be told to poll again: nobody leaves the gate. @return *count. */
static size_t poll_by_timeout(rig *r, const atomic_size_t *count) {
    if (turbo_shard_timeout_ms(turbo_server_shard(r->server, 0)) == 0)
        (void)rig_poll(r);
    return *count;
}

Test(queue, a_full_gate_holds_nobody_for_ever) {
    rig r;
    outcome first = {0}, late = {0}, in_time = {0};
    turbo_shard *shard = start(&r, "inflight_max=1");
    submit(&r, "/slow", &first);
    rig_settle(&r);
    cr_assert_eq(r.seen.count, 1);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    submit(&r, "/slow", &in_time);
    submit(&r, "/a", &late);
    submit(&r, "/a", &late);
    submit(&r, "/slow", &in_time);
    rig_settle(&r);
    AWAIT(poll_by_timeout(&r, &late.answered) == 2);
    cr_expect(late.status == 503 && turbo_shard_queued(shard) == 2 && expired(shard) == 2);
    cr_assert_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 2, "the queue is whole");
    submit(&r, "/slow", &in_time); /* and goes on behind its last */
    cr_assert_eq(turbo_request_reply(r.seen.reqs[1], 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_assert_eq(turbo_request_reply(r.seen.reqs[2], 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 4);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(queue, the_last_of_a_queue_may_be_late_too) {
    rig r;
    outcome first = {0}, late = {0};
    turbo_shard *shard = start(&r, "inflight_max=1");
    submit(&r, "/slow", &first);
    submit(&r, "/a", &late);
    rig_settle(&r);
    AWAIT(poll_by_timeout(&r, &late.answered) == 1);
    cr_expect_eq(turbo_shard_queued(shard), 0);
    submit(&r, "/slow", &first);
    cr_assert_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 2);
    rig_end(&r);
}

Test(queue, a_full_lane_holds_nobody_for_ever) {
    rig r;
    outcome first = {0}, late = {0};
    turbo_shard *shard = start(&r, "");
    submit(&r, "/one", &first);
    rig_settle(&r);
    cr_assert_eq(r.seen.count, 1);
    submit(&r, "/one", &late);
    submit(&r, "/one", &late);
    rig_settle(&r);
    cr_expect_eq(turbo_shard_queued(shard), 2);
    AWAIT(poll_by_timeout(&r, &late.answered) == 2);
    cr_expect(late.status == 503 && turbo_shard_queued(shard) == 0 && expired(shard) == 2);
    AWAIT((rig_poll(&r), turbo_shard_timeout_ms(shard) == -1)); /* nothing waits: no timer */
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(queue, gone_clients_among_the_late_count_as_dropped) {
    rig r;
    outcome first = {0}, gone = {0};
    turbo_shard *shard = start(&r, "inflight_max=1");
    submit(&r, "/slow", &first);
    turbo_request *req = request_to(r.server, "/a", &gone);
    cr_assert_eq(turbo_shard_submit(shard, req), 0);
    atomic_store(&req->cancelled, 1); /* as the I/O loop does */
    turbo_request_release(req);
    rig_settle(&r);
    AWAIT(poll_by_timeout(&r, &gone.closed) == 1);
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(shard, &s), 0);
    cr_expect(s.dropped == 1 && s.expired == 0 && s.queued == 0);
    rig_end(&r);
}

/* A client goes while the shard takes its request from the queue: the I/O loop's second step comes too late. */
Test(queue, executor_hears_nothing_of_a_request_that_it_was_not_given) {
    rig r;
    outcome gone = {0}, kept = {0};
    turbo_shard *shard = start(&r, "");
    turbo_request *req = request_to(r.server, "/slow", &gone);
    cr_assert_eq(turbo_shard_submit(shard, req), 0);
    atomic_store(&req->cancelled, 1);
    rig_settle(&r);
    cr_assert(gone.closed == 1 && r.seen.count == 0);
    turbo__shard_event(shard, req, TURBO_EVENT_GONE);
    submit(&r, "/slow", &kept);
    rig_settle(&r);
    cr_assert_eq(r.seen.count, 1);
    turbo__shard_event(shard, r.seen.reqs[0], TURBO_EVENT_GONE);
    rig_settle(&r);
    cr_expect_eq(r.seen.events[0], TURBO_EVENT_GONE);
    cr_expect_eq(r.seen.strays, 0);
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

static atomic_int batches;

static void answer_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard;
    (void)user;
    atomic_fetch_add(&batches, 1);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(turbo_request_reply(reqs[i], 200, NULL, NULL, 0), 0);
}

Test(queue, a_batch_leaves_the_late_ones_out) {
    rig r;
    outcome late = {0};
    turbo_route_options *options;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "queue_timeout_ms=30 batch_wait_us=25000 batch_max=100");
    r.seen.runs = 1;
    cr_assert_eq(turbo_server_route_batch(r.server, "GET", "/b", NULL, answer_batch, NULL), 0);
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "batch_wait_us", "30000"), 0);
    cr_expect_eq(turbo_server_route_batch(r.server, "GET", "/c", options, answer_batch, NULL), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_server_error(r.server), "batch_wait_us must be shorter"));
    turbo_route_options_free(options);
    rig_start(&r);
    submit(&r, "/b", &late);
    rig_settle(&r);
    cr_expect_eq(late.answered, 0);
    pass_ms(31); /* the host sleeps over it */
    rig_settle(&r);
    cr_expect(late.answered == 1 && late.status == 503 && batches == 0);
    cr_expect_eq(expired(turbo_server_shard(r.server, 0)), 1);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}
