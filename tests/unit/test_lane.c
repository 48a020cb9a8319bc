/* test_lane.c - routes with a limit of their own: who waits, who goes past, who is next. */
#include "lane.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "turbo/error.h"

TestSuite(lane, .timeout = 30);

static void add_route(rig *r, const char *pattern, uint64_t inflight_max) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    if (inflight_max > 0)
        cr_assert_eq(turbo_route_options_set_u64(options, "inflight_max", inflight_max), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", pattern, options, answer_ok, NULL), 0);
    turbo_route_options_free(options);
}

static const struct topology {
    uint32_t flags;
    const char *settings;
} topologies[] = {{TURBO_EXECUTOR_DRIVEN, ""}, {TURBO_EXECUTOR_DRIVEN, "io_threads=0"}};

/* /two has at most 2 in flight, /one 1, /free as many as the shard. */
static turbo_shard *start(rig *r, size_t topology, const char *more) {
    char settings[100];
    (void)snprintf(settings, sizeof settings, "%s %s", topologies[topology].settings, more);
    rig_new(r, topologies[topology].flags, settings);
    add_route(r, "/two", 2);
    add_route(r, "/free", 0);
    add_route(r, "/one", 1);
    rig_start(r);
    return turbo_server_shard(r->server, 0);
}

static outcome out;

static void submit(rig *r, turbo_shard *shard, const char *targets) {
    char copy[200], *rest = copy;
    (void)snprintf(copy, sizeof copy, "%s", targets);
    for (const char *target; (target = strtok_r(rest, " ", &rest)) != NULL;)
        cr_assert_eq(submit_to(shard, r->server, target, &out), 0);
}

/* The targets that the executor was given, from the `from`-th on. */
static void expect_given(rig *r, size_t from, const char *targets) {
    char seen[200] = "";
    rig_settle(r);
    for (size_t i = from; i < r->seen.count; i++) {
        turbo_str path = turbo_request_path(r->seen.reqs[i]);
        size_t len = strlen(seen);
        (void)snprintf(seen + len, sizeof seen - len, "%s%.*s", i > from ? " " : "", (int)path.len, path.data);
    }
    cr_expect_str_eq(seen, targets);
}

static void reply(rig *r, size_t index) {
    cr_assert_eq(turbo_request_reply(r->seen.reqs[index], 200, NULL, NULL, 0), 0);
    turbo_shard_flush(turbo_server_shard(r->server, 0));
}

Test(lane, others_go_past_those_that_wait) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        turbo_shard *shard = start(&r, i, "");
        submit(&r, shard, "/two /two /two /free /one /one /free /two");
        expect_given(&r, 0, "/two /two /free /one /free");
        cr_expect_eq(turbo_shard_queued(shard), 3);
        cr_expect_eq(turbo_shard_inflight(shard), 5);
        rig_end(&r);
        cr_expect_not(failing_alloc_leaks());
    }
}

Test(lane, an_answer_lets_the_oldest_of_its_route_in) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        turbo_shard *shard = start(&r, i, "");
        submit(&r, shard, "/two /two /two /two /one /one");
        expect_given(&r, 0, "/two /two /one");
        turbo_request *waiting = r.seen.reqs[0];
        reply(&r, 2);
        expect_given(&r, 3, "/one");
        reply(&r, 1);
        expect_given(&r, 3, "/one /two");
        reply(&r, 0);
        expect_given(&r, 3, "/one /two /two");
        cr_expect(turbo_shard_queued(shard) == 0 && waiting == r.seen.reqs[0]);
        rig_end(&r);
    }
}

Test(lane, what_comes_later_waits_behind_what_waits) {
    rig r;
    turbo_shard *shard = start(&r, 0, "");
    submit(&r, shard, "/one /one");
    expect_given(&r, 0, "/one");
    cr_expect_eq(turbo_request_reply(r.seen.reqs[0], 200, NULL, NULL, 0), 0);
    submit(&r, shard, "/one /free"); /* there is room, but somebody was here before */
    expect_given(&r, 1, "/one /free");
    cr_expect_eq(turbo_shard_queued(shard), 1);
    rig_end(&r);
}

Test(lane, the_shards_own_limit_holds_too) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        turbo_shard *shard = start(&r, i, "inflight_max=3");
        submit(&r, shard, "/two /two /two /free /free");
        expect_given(&r, 0, "/two /two /free");
        reply(&r, 0);
        expect_given(&r, 3, "/two");
        reply(&r, 2);
        expect_given(&r, 3, "/two /free");
        cr_expect_eq(turbo_shard_queued(shard), 0);
        rig_end(&r);
    }
}

static void *answer_elsewhere(void *req) {
    (void)turbo_request_reply(req, 200, NULL, NULL, 0);
    return NULL;
}

Test(lane, answer_of_another_thread_wakes_the_shard) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        turbo_shard *shard = start(&r, i, "");
        submit(&r, shard, "/one /one /one");
        expect_given(&r, 0, "/one");
        for (size_t n = 0; n < 2; n++) {
            pthread_t thread;
            cr_assert_eq(pthread_create(&thread, NULL, answer_elsewhere, r.seen.reqs[n]), 0);
            AWAIT((rig_poll(&r), r.seen.count == n + 2));
            pthread_join(thread, NULL);
        }
        cr_expect_eq(turbo_shard_queued(shard), 0);
        rig_end(&r);
    }
}

Test(lane, full_lane_lets_the_shard_sleep) {
    for (size_t i = 0; i < 2; i++) {
        rig r;
        turbo_shard *shard = start(&r, i, "");
        submit(&r, shard, "/one /one");
        rig_settle(&r);
        for (int n = 0; n < 20; n++)
            cr_expect_eq(turbo_shard_poll(shard), 0, "nothing is due");
        cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
        rig_end(&r);
    }
}

Test(lane, client_that_went_while_it_waited_takes_no_place) {
    rig r;
    turbo_shard *shard = start(&r, 0, "");
    outcome gone = {0};
    submit(&r, shard, "/one");
    turbo_request *req = request_to(r.server, "/one", &gone);
    cr_assert_eq(turbo_shard_submit(shard, req), 0);
    submit(&r, shard, "/one");
    expect_given(&r, 0, "/one");
    atomic_store(&req->cancelled, 1); /* as the I/O loop does */
    turbo_request_release(req);
    reply(&r, 0);
    expect_given(&r, 1, "/one");
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(shard, &s), 0);
    cr_expect(s.dropped == 1 && s.queued == 0 && gone.closed == 1);
    rig_end(&r);
}

Test(lane, what_waits_at_the_end_is_given_up) {
    rig r;
    outcome before = out;
    turbo_shard *shard = start(&r, 0, "");
    submit(&r, shard, "/one /one /two /two /two /free");
    expect_given(&r, 0, "/one /two /two /free");
    rig_end(&r);
    cr_expect_eq(out.closed - before.closed + (out.answered - before.answered), 6, "each has ended, once");
    cr_expect_not(failing_alloc_leaks());
}

Test(lane, failed_allocations_are_reported) {
    turbo__route limited = {.inflight_max = 3}, free_one = {.next = &limited, .index = 1};
    turbo__lanes lanes = {0};
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__lanes_open(&lanes, &free_one, 2), turbo__lanes_free(&lanes));
    limited.inflight_max = 0;
    cr_expect(turbo__lanes_open(&lanes, &free_one, 2) == 0 && lanes.list == NULL && lanes.by_route == NULL);
}
