/* test_batch.c - requests of a route gathered into one call. */
#include "batch.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "request.h"
#include "route.h"
#include "shard.h"
#include "turbo/error.h"

TestSuite(batch, .timeout = 10);

static turbo_shard shard;

typedef struct seen {
    int calls;
    size_t n;              /* of the last call */
    turbo_request *reqs[8];
} seen;

static void on_batch(turbo_shard *at, turbo_request *const *reqs, size_t n, void *user) {
    seen *s = user;
    cr_expect_eq(at, &shard);
    s->calls++;
    s->n = n;
    for (size_t i = 0; i < n && i < 8; i++)
        s->reqs[i] = reqs[i];
}

static turbo__route route_of(seen *s, uint64_t max, uint64_t wait_us) {
    return (turbo__route){.batch_fn = on_batch, .user = s, .batch_max = max, .batch_wait_us = wait_us};
}

static turbo_request *request_of(turbo__route *route) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->route = route;
    return req;
}

static unsigned refs(turbo_request *req) { return atomic_load(&req->refs); }

/* A request that came into the queue at a time. */
static void add(turbo__batcher *b, turbo_request *req, uint64_t queued_ns) {
    req->queued_ns = queued_ns;
    cr_assert_eq(turbo__batcher_add(b, &shard, req), 0);
}

Test(batch, full_batch_is_called_at_once_in_order) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_of(&s, 3, 0);
    turbo_request *reqs[3];
    for (int i = 0; i < 3; i++) {
        reqs[i] = request_of(&route);
        cr_expect_eq(s.calls, 0);
        add(&b, reqs[i], 1);
    }
    cr_expect(s.calls == 1 && s.n == 3 && b.waiting == 0);
    cr_expect_arr_eq(s.reqs, reqs, sizeof reqs);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(refs(reqs[i]), 1, "the batch keeps no reference");
        turbo_request_release(reqs[i]);
    }
    turbo__batcher_free(&b);
}

Test(batch, batch_of_one_is_called_with_each_request) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_of(&s, 1, 1000);
    turbo_request *req = request_of(&route);
    add(&b, req, 1);
    add(&b, req, 1);
    cr_expect(s.calls == 2 && s.n == 1);
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

Test(batch, waiting_requests_are_kept_alive) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_of(&s, 3, 0);
    turbo_request *req = request_of(&route);
    add(&b, req, 1);
    cr_expect(refs(req) == 2 && b.waiting == 1);
    turbo__batcher_run(&b, &shard, 1, 0);
    cr_expect(s.calls == 1 && s.n == 1 && b.waiting == 0 && refs(req) == 1);
    turbo__batcher_run(&b, &shard, 1, 1);
    cr_expect_eq(s.calls, 1, "nothing waits, nothing is called");
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

Test(batch, wait_counts_from_the_first_request) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_of(&s, 10, 5);
    turbo_request *req = request_of(&route);
    cr_expect_eq(turbo__batcher_next_ns(&b), 0);
    add(&b, req, 1000);
    add(&b, req, 4000);
    cr_expect_eq(turbo__batcher_next_ns(&b), 6000);
    turbo__batcher_run(&b, &shard, 5999, 0);
    cr_expect_eq(s.calls, 0);
    turbo__batcher_run(&b, &shard, 6000, 0);
    cr_expect(s.calls == 1 && s.n == 2);
    cr_expect_eq(turbo__batcher_next_ns(&b), 0);
    add(&b, req, 7000);
    cr_expect_eq(turbo__batcher_next_ns(&b), 12000);
    turbo__batcher_run(&b, &shard, 7000, 1);
    cr_expect(s.calls == 2 && s.n == 1, "a drain does not wait");
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

Test(batch, routes_do_not_share_batches) {
    seen a = {0}, c = {0};
    turbo__batcher b = {0};
    turbo__route first = route_of(&a, 2, 9), second = route_of(&c, 2, 3);
    turbo_request *r1 = request_of(&first), *r2 = request_of(&second);
    add(&b, r1, 1000);
    add(&b, r2, 1000);
    cr_expect_eq(b.count, 2);
    cr_expect_eq(turbo__batcher_next_ns(&b), 4000);
    turbo__batcher_run(&b, &shard, 4000, 0);
    cr_expect(a.calls == 0 && c.calls == 1 && c.reqs[0] == r2);
    cr_expect_eq(turbo__batcher_next_ns(&b), 10000);
    add(&b, r1, 1000);
    cr_expect(a.calls == 1 && a.n == 2 && a.reqs[0] == r1);
    turbo_request_release(r1);
    turbo_request_release(r2);
    turbo__batcher_free(&b);
    cr_expect(b.gatherings == NULL && b.count == 0);
}

/* -- weights -- */

static uint64_t weight_of_next;
static int result_of_next = 1;
static int weighed;

static int weigh(uint64_t *out, turbo_request *req, void *user) {
    cr_expect_not_null(req);
    cr_expect_eq(user, &weighed);
    weighed++;
    *out = weight_of_next;
    return result_of_next;
}

static turbo__route route_by_weight(seen *s, uint64_t max) {
    turbo__route route = route_of(s, 4, 5);
    route.weight_fn = weigh;
    route.weight_user = &weighed;
    route.batch_weight_max = max;
    return route;
}

static void add_heavy(turbo__batcher *b, turbo_request *req, uint64_t weight) {
    weight_of_next = weight;
    add(b, req, 1000);
}

Test(batch, closes_before_it_would_be_too_heavy_and_when_it_is_as_heavy_as_it_may_be) {
    for (uint64_t last = 5; last <= 7; last++) { /* 4 + 6 is the limit */
        seen s = {0};
        turbo__batcher b = {0};
        turbo__route route = route_by_weight(&s, 10);
        turbo_request *req = request_of(&route);
        add_heavy(&b, req, 4);
        add_heavy(&b, req, last);
        cr_expect_eq(s.calls, last == 5 ? 0 : 1);
        cr_expect_eq(b.waiting, last == 5 ? 2 : last == 6 ? 0 : 1);
        cr_expect_eq(s.n, last == 5 ? 0 : last == 6 ? 2 : 1);
        cr_expect_eq(atomic_load(&b.closed[TURBO__CLOSED_WEIGHT]), s.calls);
        turbo__batcher_run(&b, &shard, 0, 1);
        turbo_request_release(req);
        turbo__batcher_free(&b);
    }
}

Test(batch, heavier_requests_than_a_batch_may_be_are_alone) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_by_weight(&s, 10);
    turbo_request *req = request_of(&route);
    add_heavy(&b, req, 3);
    add_heavy(&b, req, 11);
    cr_expect(s.calls == 2 && s.n == 1 && b.waiting == 0);
    add_heavy(&b, req, UINT64_MAX);
    cr_expect(s.calls == 3 && s.n == 1 && b.waiting == 0);
    add_heavy(&b, req, 9);
    add_heavy(&b, req, 0);
    cr_expect(s.calls == 3 && b.waiting == 2);
    add_heavy(&b, req, UINT64_MAX); /* no sum overflows */
    cr_expect(s.calls == 5 && b.waiting == 0);
    cr_expect(weighed == 6, "each is weighed once");
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

Test(batch, weighed_requests_are_counted_too_and_each_batch_is_weighed_anew) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_by_weight(&s, 10);
    turbo_request *req = request_of(&route);
    for (int i = 0; i < 4; i++)
        add_heavy(&b, req, 0);
    cr_expect(s.calls == 1 && s.n == 4 && atomic_load(&b.closed[TURBO__CLOSED_FULL]) == 1);
    add_heavy(&b, req, 9);
    turbo__batcher_run(&b, &shard, 6000, 0);
    cr_expect(s.calls == 2 && atomic_load(&b.closed[TURBO__CLOSED_TIMER]) == 1);
    add_heavy(&b, req, 9);
    cr_expect(s.calls == 2 && b.waiting == 1);
    turbo__batcher_run(&b, &shard, 0, 1);
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

Test(batch, a_weight_function_keeps_requests_out) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route route = route_by_weight(&s, 10);
    turbo_request *req = request_of(&route);
    add_heavy(&b, req, 9);
    result_of_next = 0;
    cr_expect_eq(turbo__batcher_add(&b, &shard, req), 0);
    result_of_next = TURBO_EUSER;
    cr_expect_eq(turbo__batcher_add(&b, &shard, req), TURBO_EUSER);
    cr_expect(b.waiting == 1 && s.calls == 0 && refs(req) == 2, "they have not closed the batch either");
    result_of_next = 1;
    turbo__batcher_run(&b, &shard, 0, 1);
    turbo_request_release(req);
    turbo__batcher_free(&b);
}

/* -- counters -- */

static uint64_t closed(const turbo__batcher *b, int why) { return atomic_load(&b->closed[why]); }

Test(batch, calls_are_counted_by_size_and_by_why_they_came) {
    seen s = {0};
    turbo__batcher b = {0};
    turbo__route now = route_of(&s, 3, 0), later = route_of(&s, 3, 5);
    turbo_request *r1 = request_of(&now), *r2 = request_of(&later);
    for (int i = 0; i < 4; i++)
        add(&b, r1, 1000);
    turbo__batcher_run(&b, &shard, 1000, 0);
    add(&b, r2, 1000);
    turbo__batcher_run(&b, &shard, 6000, 0);
    add(&b, r2, 7000);
    add(&b, r2, 7000);
    turbo__batcher_run(&b, &shard, 7000, 1);
    turbo__batcher_run(&b, &shard, 7000, 1);
    cr_expect(closed(&b, TURBO__CLOSED_FULL) == 1 && closed(&b, TURBO__CLOSED_TURN) == 1);
    cr_expect(closed(&b, TURBO__CLOSED_TIMER) == 1 && closed(&b, TURBO__CLOSED_DRAINED) == 1);
    cr_expect_eq(closed(&b, TURBO__CLOSED_GATE), 0);
    cr_expect(atomic_load(&b.calls) == 4 && atomic_load(&b.requests) == 7);
    cr_expect(atomic_load(&b.sizes[0]) == 2 && atomic_load(&b.sizes[1]) == 2);
    turbo_request_release(r1);
    turbo_request_release(r2);
    turbo__batcher_free(&b);
}

Test(batch, sizes_beyond_the_last_bucket_are_in_it) {
    cr_expect_eq(turbo__batch_bucket(1), 0);
    cr_expect(turbo__batch_bucket(3) == 1 && turbo__batch_bucket(4) == 2);
    cr_expect_eq(turbo__batch_bucket(511), TURBO_STATS_BATCH_BUCKETS - 2);
    cr_expect_eq(turbo__batch_bucket(512), TURBO_STATS_BATCH_BUCKETS - 1);
    cr_expect_eq(turbo__batch_bucket(65536), TURBO_STATS_BATCH_BUCKETS - 1);
}

Test(batch, failed_allocations_take_no_request) {
    seen s = {0};
    turbo__route route = route_of(&s, 4, 0);
    turbo_request *req = request_of(&route);
    for (size_t nth = 1;; nth++) {
        turbo__batcher b = {0};
        failing_alloc_arm(nth);
        int rc = turbo__batcher_add(&b, &shard, req);
        int has_failed = failing_alloc_disarm();
        cr_expect_eq(rc, has_failed ? TURBO_ENOMEM : 0);
        if (has_failed) {
            cr_expect(b.waiting == 0 && b.count == 0 && refs(req) == 1);
            add(&b, req, 1);
        }
        turbo__batcher_run(&b, &shard, 1, 1);
        cr_expect_eq(s.n, 1);
        turbo__batcher_free(&b);
        if (!has_failed)
            break;
        cr_expect_leq(nth, 2);
    }
    turbo_request_release(req);
    cr_expect_not(failing_alloc_leaks());
}
