/* test_placement.c - which shard a request goes to. Each placement has a test that fails with round_robin in its
 * place. */
#include "placement.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/fake_clock.h"
#include "io.h"
#include "server.h"
#include "shard.h"

TestSuite(placement, .timeout = 10);

#define SHARDS 4
#define START_NS 1000000000u

static turbo_shard shards[SHARDS];
static turbo_shard *shard_list[SHARDS] = {&shards[0], &shards[1], &shards[2], &shards[3]};
static turbo_server server;
static uint64_t loads[SHARDS];
static turbo__io io;
static turbo__route route;
static turbo_request *req;

static void set_up(uint32_t placement) {
    fake_clock_set(START_NS, 0);
    server.shards = shard_list;
    server.shard_count = SHARDS;
    for (uint32_t i = 0; i < SHARDS; i++)
        shards[i].index = i;
    io.server = &server;
    io.loads = loads;
    route = (turbo__route){.placement = placement, .spill_percent = 125, .hash = 2};
    req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->route = &route;
}

static void tear_down(void) {
    turbo_request_release(req);
    fake_clock_off();
}

/* What the loop does between two turns. */
static void next_turn(void) {
    io.loads_known = 0;
    io.turn_ns = 0;
}

static uint32_t choose(void) { return turbo__placement_choose(&io, req); }

static void set_loads(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    const uint64_t queued[SHARDS] = {a, b, c, d};
    for (size_t i = 0; i < SHARDS; i++)
        atomic_store(&shards[i].queued, queued[i]);
    next_turn();
}

/* ---- route ---- */

Test(placement, route_stays_at_home) {
    set_up(TURBO__PLACEMENT_ROUTE);
    for (uint32_t hash = 0; hash < 3 * SHARDS; hash++) {
        route.hash = hash;
        for (int i = 0; i < 5; i++) {
            next_turn();
            cr_expect_eq(choose(), hash % SHARDS);
        }
    }
    tear_down();
}

Test(placement, default_of_an_unknown_kind_is_route) {
    set_up(TURBO__PLACEMENT_DEFAULT);
    for (int i = 0; i < 2 * SHARDS; i++)
        cr_expect_eq(choose(), 2);
    tear_down();
}

Test(placement, route_spills_when_home_is_above_32) {
    set_up(TURBO__PLACEMENT_ROUTE);
    set_loads(0, 0, 31, 0);
    cr_expect_eq(choose(), 2);
    set_loads(0, 0, 32, 0);
    cr_expect_eq(choose(), 2);
    set_loads(0, 0, 33, 0);
    cr_expect_eq(choose(), 3);
    tear_down();
}

Test(placement, burst_within_a_turn_counts_before_the_shard_sees_it) {
    set_up(TURBO__PLACEMENT_ROUTE);
    int counts[SHARDS] = {0};
    next_turn();
    for (int i = 0; i < 33 + 33 + 5; i++)
        counts[choose()]++;
    cr_expect(counts[2] == 33 && counts[3] == 33 && counts[0] == 5, "%d %d %d %d", counts[0], counts[1], counts[2],
              counts[3]);
    tear_down();
}

Test(placement, loads_are_read_once_a_turn) {
    set_up(TURBO__PLACEMENT_ROUTE);
    set_loads(0, 0, 0, 0);
    cr_expect_eq(choose(), 2);
    atomic_store(&shards[2].queued, 1000);
    cr_expect_eq(choose(), 2);
    next_turn();
    cr_expect_eq(choose(), 3);
    tear_down();
}

Test(placement, load_is_queued_and_in_flight) {
    set_up(TURBO__PLACEMENT_ROUTE);
    turbo__gate_init(&shards[2].gate, 512);
    turbo__gate_enter(&shards[2].gate, 20);
    set_loads(0, 0, 12, 0);
    cr_expect_eq(choose(), 2);
    set_loads(0, 0, 13, 0);
    cr_expect_eq(choose(), 3);
    tear_down();
}

Test(placement, route_allows_home_its_share_above_the_mean) {
    set_up(TURBO__PLACEMENT_ROUTE);
    set_loads(100, 100, 125, 100); /* the mean is 106.25, 125 % of it 132 */
    cr_expect_eq(choose(), 2);
    set_loads(100, 100, 133, 100); /* 108.25: 135 */
    cr_expect_eq(choose(), 2);
    set_loads(100, 100, 136, 100); /* 109: 136 */
    cr_expect_eq(choose(), 2);
    set_loads(100, 100, 137, 100); /* 109.25: 136 */
    cr_expect_eq(choose(), 3);
    route.spill_percent = 200;
    set_loads(100, 100, 137, 100);
    cr_expect_eq(choose(), 2);
    tear_down();
}

Test(placement, spill_percent_zero_never_leaves_home) {
    set_up(TURBO__PLACEMENT_ROUTE);
    route.spill_percent = 0;
    atomic_store(&shards[2].batch_since_ns, 1);
    for (uint64_t load = 0; load < 20000; load += 1000) {
        set_loads(0, 0, load, 0);
        cr_expect_eq(choose(), 2);
    }
    tear_down();
}

Test(placement, slow_batch_at_home_spills_above_1) {
    set_up(TURBO__PLACEMENT_ROUTE);
    atomic_store(&shards[2].batch_since_ns, START_NS - 200000); /* as old as a fast one may be */
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 2);
    atomic_store(&shards[2].batch_since_ns, START_NS - 200001);
    set_loads(0, 0, 1, 0);
    cr_expect_eq(choose(), 2);
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 3);
    atomic_store(&shards[2].batch_since_ns, 0); /* none runs */
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 2);
    tear_down();
}

Test(placement, slow_requests_in_the_last_batch_spill_above_1) {
    set_up(TURBO__PLACEMENT_ROUTE);
    atomic_store(&shards[2].request_ns, 99999);
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 2);
    atomic_store(&shards[2].request_ns, 100000);
    set_loads(0, 0, 1, 0);
    cr_expect_eq(choose(), 2);
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 3);
    tear_down();
}

Test(placement, slow_batch_elsewhere_does_not_matter) {
    set_up(TURBO__PLACEMENT_ROUTE);
    atomic_store(&shards[3].batch_since_ns, 1);
    atomic_store(&shards[3].request_ns, 1000000);
    set_loads(0, 0, 32, 0);
    cr_expect_eq(choose(), 2);
    tear_down();
}

Test(placement, clock_is_read_once_a_turn) {
    set_up(TURBO__PLACEMENT_ROUTE);
    atomic_store(&shards[2].batch_since_ns, START_NS);
    set_loads(0, 0, 2, 0);
    cr_expect_eq(choose(), 2);
    fake_clock_advance_ms(1);
    cr_expect_eq(choose(), 2);
    next_turn();
    cr_expect_eq(choose(), 3);
    tear_down();
}

Test(placement, one_shard_gets_everything) {
    set_up(TURBO__PLACEMENT_ROUTE);
    server.shard_count = 1;
    set_loads(5000, 0, 0, 0);
    cr_expect_eq(choose(), 0);
    tear_down();
}

/* ---- the others ---- */

Test(placement, round_robin_takes_turns_whatever_the_loads) {
    set_up(TURBO__PLACEMENT_ROUND_ROBIN);
    set_loads(0, 5000, 0, 0);
    for (uint32_t i = 0; i < 3 * SHARDS; i++)
        cr_expect_eq(choose(), i % SHARDS);
    tear_down();
}

Test(placement, local_is_the_loops_own_shard) {
    set_up(TURBO__PLACEMENT_LOCAL);
    set_loads(0, 5000, 0, 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        io.shard = &shards[i];
        for (int n = 0; n < 3; n++)
            cr_expect_eq(choose(), i);
    }
    tear_down();
}

Test(placement, local_without_a_shard_is_one_a_loop) {
    set_up(TURBO__PLACEMENT_LOCAL);
    for (uint32_t i = 0; i < 2 * SHARDS; i++) {
        io.index = i;
        for (int n = 0; n < 3; n++)
            cr_expect_eq(choose(), i % SHARDS);
    }
    tear_down();
}

static size_t seen_shards;
static const turbo_request *seen_req;

static size_t by_callback(const turbo_request *r, size_t count, void *user) {
    seen_req = r;
    seen_shards = count;
    return *(size_t *)user;
}

Test(placement, callback_decides_before_every_other_placement) {
    size_t answer;
    for (uint32_t placement = TURBO__PLACEMENT_ROUTE; placement <= TURBO__PLACEMENT_LOCAL; placement++) {
        set_up(placement);
        route.placement_fn = by_callback;
        route.placement_user = &answer;
        for (answer = 0; answer < 3 * SHARDS; answer += 3) {
            cr_expect_eq(choose(), answer % SHARDS);
            cr_expect(seen_req == req && seen_shards == SHARDS);
        }
        answer = SIZE_MAX;
        cr_expect_eq(choose(), SIZE_MAX % SHARDS);
        tear_down();
    }
}

/* ---- bounded loads ---- */

Test(placement, bounded_takes_the_first_shard_that_is_not_above_the_limit) {
    const uint64_t l[] = {5, 6, 7, 8};
    cr_expect_eq(turbo__placement_bounded(2, l, 4, 7), 2);
    cr_expect_eq(turbo__placement_bounded(2, l, 4, 6), 0);
    cr_expect_eq(turbo__placement_bounded(3, l, 4, 6), 0);
    cr_expect_eq(turbo__placement_bounded(1, l, 4, 5), 0);
    cr_expect_eq(turbo__placement_bounded(1, l, 1 + 1, 5), 0);
}

Test(placement, bounded_takes_the_least_loaded_when_all_are_above) {
    const uint64_t l[] = {9, 6, 7, 8}, same[] = {9, 9, 9, 9};
    for (uint32_t home = 0; home < 4; home++) {
        cr_expect_eq(turbo__placement_bounded(home, l, 4, 5), 1);
        cr_expect_eq(turbo__placement_bounded(home, same, 4, 5), home);
    }
    cr_expect_eq(turbo__placement_bounded(0, l, 1, 5), 0);
}
