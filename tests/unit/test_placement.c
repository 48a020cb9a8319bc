/* test_placement.c - which shard a request goes to. Each placement has a test that fails with round_robin in its
 * place. */
#include "placement.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
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

/* A request for a path, on a connection of this number, with one field. */
static turbo_request *request_for(const char *path, turbo__exchange *ex, const char *name, const char *value) {
    static char raw[128];
    static turbo__field field;
    size_t path_len = strlen(path), name_len = strlen(name), value_len = strlen(value);
    (void)snprintf(raw, sizeof raw, "%s%s%s", path, name, value);
    field = (turbo__field){{(uint32_t)path_len, (uint32_t)name_len},
                           {(uint32_t)(path_len + name_len), (uint32_t)value_len}};
    turbo__h1_head head = {.raw = raw, .raw_len = strlen(raw), .version = 11, .fields = &field, .field_count = 1};
    head.path = head.target = (turbo__span){0, (uint32_t)path_len};
    turbo_request *made = turbo__request_from_head(&head, 0);
    cr_assert_not_null(made);
    made->route = &route;
    made->exchange = ex;
    return made;
}

static uint32_t choose_for(const char *path, uint32_t connection, const char *value) {
    turbo__exchange ex = {.number = connection};
    turbo_request *made = request_for(path, &ex, "X-Key", value);
    uint32_t shard = turbo__placement_choose(&io, made);
    made->exchange = NULL;
    turbo_request_release(made);
    return shard;
}

static unsigned shards_in(unsigned set) { return (unsigned)__builtin_popcount(set); }

Test(placement, path_sends_one_path_to_one_shard_and_paths_to_all) {
    set_up(TURBO__PLACEMENT_PATH);
    unsigned seen = 0;
    for (int i = 0; i < 40; i++) {
        char path[16];
        (void)snprintf(path, sizeof path, "/p/%d", i);
        next_turn();
        uint32_t home = choose_for(path, 0, "");
        seen |= 1u << home;
        for (uint32_t n = 1; n < 5; n++) {
            next_turn();
            cr_expect_eq(choose_for(path, n, "other"), home);
        }
    }
    cr_expect_eq(shards_in(seen), SHARDS);
    tear_down();
}

Test(placement, path_spills_like_route) {
    set_up(TURBO__PLACEMENT_PATH);
    next_turn();
    uint32_t home = choose_for("/p", 0, "");
    atomic_store(&shards[home].queued, 33);
    next_turn();
    cr_expect_eq(choose_for("/p", 0, ""), (home + 1) % SHARDS);
    route.spill_percent = 0;
    cr_expect_eq(choose_for("/p", 0, ""), home);
    tear_down();
}

Test(placement, key_sends_one_key_to_one_shard_whatever_its_load) {
    set_up(TURBO__PLACEMENT_KEY);
    cr_assert_eq(turbo__key_parse(&route.key, "field:x-key"), 0);
    unsigned seen = 0;
    for (int i = 0; i < 40; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "user-%d", i);
        uint32_t home = choose_for("/a", 0, key);
        seen |= 1u << home;
        atomic_store(&shards[home].queued, 20000);
        next_turn();
        cr_expect_eq(choose_for("/b", 1, key), home);
        atomic_store(&shards[home].queued, 0);
    }
    cr_expect_eq(shards_in(seen), SHARDS);
    tear_down();
}

Test(placement, key_that_a_request_lacks_is_route) {
    set_up(TURBO__PLACEMENT_KEY);
    cr_assert_eq(turbo__key_parse(&route.key, "field:other"), 0);
    for (uint32_t i = 0; i < 2 * SHARDS; i++)
        cr_expect_eq(choose_for("/a", i, "x"), 2);
    set_loads(0, 0, 33, 0);
    cr_expect_eq(choose_for("/a", 0, "x"), 3);
    tear_down();
}

Test(placement, key_may_be_empty) {
    set_up(TURBO__PLACEMENT_KEY);
    cr_assert_eq(turbo__key_parse(&route.key, "field:x-key"), 0);
    uint32_t home = choose_for("/a", 0, "");
    atomic_store(&shards[home].queued, 20000);
    next_turn();
    cr_expect_eq(choose_for("/a", 1, ""), home);
    tear_down();
}

Test(placement, connection_stays_on_one_shard_and_connections_take_turns) {
    set_up(TURBO__PLACEMENT_CONNECTION);
    set_loads(0, 5000, 0, 0);
    for (uint32_t connection = 0; connection < 3 * SHARDS; connection++)
        for (int n = 0; n < 3; n++)
            cr_expect_eq(choose_for(n == 0 ? "/a" : "/b", connection, ""), connection % SHARDS);
    tear_down();
}

Test(placement, least_never_takes_the_most_loaded) {
    set_up(TURBO__PLACEMENT_LEAST);
    unsigned seen = 0;
    for (int i = 0; i < 200; i++) {
        set_loads(1, 5000, 2, 3);
        uint32_t shard = choose();
        cr_expect_neq(shard, 1);
        seen |= 1u << shard;
    }
    cr_expect_eq(seen, 1u << 0 | 1u << 2 | 1u << 3, "the others are all taken");
    tear_down();
}

Test(placement, least_evens_a_burst_out) {
    set_up(TURBO__PLACEMENT_LEAST);
    set_loads(40, 0, 40, 0);
    int counts[SHARDS] = {0};
    for (int i = 0; i < 400; i++)
        counts[choose()]++;
    for (int i = 0; i < SHARDS; i++)
        cr_expect(abs(counts[i] + (i % 2 == 0 ? 40 : 0) - 120) < 15, "shard %d: %d", i, counts[i]);
    tear_down();
}

Test(placement, one_shard_needs_no_choice) {
    for (uint32_t placement = TURBO__PLACEMENT_ROUTE; placement <= TURBO__PLACEMENT_LEAST; placement++) {
        set_up(placement);
        server.shard_count = 1;
        for (uint32_t i = 0; i < 4; i++)
            cr_expect_eq(choose_for("/a", i, "x"), 0);
        tear_down();
    }
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
    for (uint32_t placement = TURBO__PLACEMENT_ROUTE; placement <= TURBO__PLACEMENT_LEAST; placement++) {
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
