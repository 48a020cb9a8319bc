/* test_route.c - options of a route, and the settings that they replace. */
#include "route.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(route, .timeout = 10);

static turbo_route_options *options_new(void) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    return options;
}

static turbo__settings settings_of(uint64_t io_threads) {
    turbo__settings settings;
    turbo__settings_default(&settings);
    settings.io_threads = io_threads;
    return settings;
}

static turbo__route route_with(const turbo_route_options *options, const turbo__settings *settings) {
    turbo__route *route, copy;
    cr_assert_eq(turbo__route_new(&route, "GET", "/", options, settings), 0);
    copy = *route;
    turbo__route_free(route);
    return copy;
}

Test(route, unset_options_are_the_servers_settings) {
    turbo__settings settings = settings_of(1);
    settings.body_max_bytes = 11;
    settings.batch_max = 12;
    settings.batch_wait_us = 13;
    settings.spill_percent = 140;
    turbo_route_options *options = options_new();
    for (int i = 0; i < 2; i++) {
        turbo__route route = route_with(i == 0 ? NULL : options, &settings);
        cr_expect(route.body_max == 11 && route.batch_max == 12 && route.batch_wait_us == 13 &&
                  route.spill_percent == 140);
        cr_expect_eq(route.executor, TURBO__EXECUTOR_SHARD);
        cr_expect_null(route.placement_fn);
    }
    turbo_route_options_free(options);
}

Test(route, bodies_are_gathered_unless_it_says_streamed) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    settings.body_window_bytes = 77;
    turbo__route route = route_with(options, &settings);
    cr_expect_eq(route.body, TURBO__BODIES_GATHERED);
    cr_expect_eq(route.body_window, 77);
    cr_expect_eq(turbo_route_options_set(options, "body", "streaming"), TURBO_EINVAL);
    cr_expect_str_eq(turbo_route_options_error(options), "body: \"streaming\" is not one of gathered, streamed");
    cr_expect_eq(turbo_route_options_set_u64(options, "body_window_bytes", 0), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "body_window_bytes", 1), 0);
    cr_expect_eq(turbo_route_options_set(options, "body", "streamed"), 0);
    route = route_with(options, &settings);
    cr_expect_eq(route.body, TURBO__BODIES_STREAMED);
    cr_expect_eq(route.body_window, 1);
    turbo_route_options_free(options);
}

Test(route, set_options_win_also_when_they_are_zero) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    cr_expect_eq(turbo_route_options_set(options, "body_max_bytes", "0"), 0);
    cr_expect_eq(turbo_route_options_set(options, "batch_max", "7"), 0);
    cr_expect_eq(turbo_route_options_set_u64(options, "batch_wait_us", 8), 0);
    cr_expect_eq(turbo_route_options_set_u64(options, "spill_percent", 0), 0);
    cr_expect_eq(turbo_route_options_set(options, "executor", "inline"), 0);
    cr_expect_eq(turbo_route_options_set(options, "placement", "round_robin"), 0);
    turbo__route route = route_with(options, &settings);
    cr_expect(route.body_max == 0 && route.batch_max == 7 && route.batch_wait_us == 8 && route.spill_percent == 0);
    cr_expect_eq(route.executor, TURBO__EXECUTOR_INLINE);
    cr_expect_eq(route.placement, TURBO__PLACEMENT_ROUND_ROBIN);
    cr_expect_str_eq(turbo_route_options_error(options), "");
    turbo_route_options_free(options);
}

Test(route, what_is_answered_without_a_handler_is_the_routes_to_say) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    turbo__route route = route_with(NULL, &settings);
    cr_expect(route.queue_timeout_ns == 0 && route.shed_status == 503 && route.retry_after_s == 1);
    cr_expect_eq(route.handler_timeout_ns, 0);
    settings.handler_timeout_ms = 6;
    settings.queue_timeout_ms = 5;
    settings.shed_status = 1;
    settings.retry_after_s = 7;
    route = route_with(options, &settings);
    cr_expect(route.queue_timeout_ns == 5000000 && route.shed_status == 429 && route.retry_after_s == 7);
    cr_expect_eq(route.handler_timeout_ns, 6000000);
    cr_expect_eq(turbo_route_options_set(options, "queue_timeout_ms", "0"), 0);
    cr_expect_eq(turbo_route_options_set(options, "shed_status", "503"), 0);
    cr_expect_eq(turbo_route_options_set(options, "retry_after_s", "0"), 0);
    route = route_with(options, &settings);
    cr_expect(route.queue_timeout_ns == 0 && route.shed_status == 503 && route.retry_after_s == 0);
    cr_expect_eq(turbo_route_options_set(options, "shed_status", "500"), TURBO_EINVAL);
    cr_expect_str_eq(turbo_route_options_error(options), "shed_status: \"500\" is not one of 503, 429");
    turbo_route_options_free(options);
}

static uint32_t placement_of(uint64_t io_threads, uint64_t of_server, const char *of_route) {
    turbo__settings settings = settings_of(io_threads);
    turbo_route_options *options = options_new();
    settings.placement = of_server;
    if (of_route != NULL)
        cr_assert_eq(turbo_route_options_set(options, "placement", of_route), 0);
    turbo__route route = route_with(options, &settings);
    turbo_route_options_free(options);
    return route.placement;
}

Test(route, placement_is_the_routes_then_the_servers_then_the_topologys) {
    cr_expect_eq(placement_of(1, TURBO__PLACEMENT_DEFAULT, NULL), TURBO__PLACEMENT_ROUTE);
    cr_expect_eq(placement_of(0, TURBO__PLACEMENT_DEFAULT, NULL), TURBO__PLACEMENT_LOCAL);
    cr_expect_eq(placement_of(0, TURBO__PLACEMENT_DEFAULT, "default"), TURBO__PLACEMENT_LOCAL);
    cr_expect_eq(placement_of(0, TURBO__PLACEMENT_ROUND_ROBIN, NULL), TURBO__PLACEMENT_ROUND_ROBIN);
    cr_expect_eq(placement_of(1, TURBO__PLACEMENT_ROUND_ROBIN, "default"), TURBO__PLACEMENT_ROUND_ROBIN);
    cr_expect_eq(placement_of(1, TURBO__PLACEMENT_ROUND_ROBIN, "local"), TURBO__PLACEMENT_LOCAL);
    cr_expect_eq(placement_of(0, TURBO__PLACEMENT_LOCAL, "route"), TURBO__PLACEMENT_ROUTE);
}

static size_t choose(const turbo_request *req, size_t shards, void *user) {
    (void)req;
    (void)user;
    return shards - 1;
}

Test(route, placement_function_can_be_set_and_taken_back) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    int user;
    cr_assert_eq(turbo_route_options_set_placement(options, choose, &user), 0);
    turbo__route route = route_with(options, &settings);
    cr_expect(route.placement_fn == choose && route.placement_user == &user);
    cr_assert_eq(turbo_route_options_set_placement(options, NULL, NULL), 0);
    route = route_with(options, &settings);
    cr_expect(route.placement_fn == NULL);
    turbo_route_options_free(options);
}

static int weigh(uint64_t *out, turbo_request *req, void *user) {
    (void)req;
    (void)user;
    *out = 1;
    return 1;
}

Test(route, weight_function_can_be_set_and_taken_back) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    int user;
    cr_expect_eq(route_with(options, &settings).batch_weight_max, 0);
    cr_assert_eq(turbo_route_options_set_weight(options, weigh, &user), 0);
    cr_assert_eq(turbo_route_options_set(options, "batch_weight_max", "4096"), 0);
    turbo__route route = route_with(options, &settings);
    cr_expect(route.weight_fn == weigh && route.weight_user == &user && route.batch_weight_max == 4096);
    cr_assert_eq(turbo_route_options_set_weight(options, NULL, NULL), 0);
    route = route_with(options, &settings);
    cr_expect(route.weight_fn == NULL);
    turbo_route_options_free(options);
}

Test(route, bad_options_are_refused_with_a_sentence) {
    turbo_route_options *options = options_new();
    const char *error = turbo_route_options_error(options);
    cr_expect_eq(turbo_route_options_set(options, "queue_max", "5"), TURBO_ENOENT);
    cr_expect(strstr(error, "queue_max") != NULL);
    cr_expect_eq(turbo_route_options_set_u64(options, "", 5), TURBO_ENOENT);
    cr_expect_eq(turbo_route_options_set(options, "executor", "own"), TURBO_EINVAL);
    cr_expect_str_eq(error, "executor: \"own\" is not one of shard, inline, pool");
    cr_expect_eq(turbo_route_options_set(options, "batch_max", "0"), TURBO_EINVAL);
    cr_expect_str_eq(error, "batch_max: 0 is out of range, allowed are 1 to 65536");
    cr_expect_eq(turbo_route_options_set(options, "batch_max", "-1"), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "executor", 3), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set(options, "key", "id"), TURBO_EINVAL);
    cr_expect_str_eq(error, "key: id is not param:, field: or cookie: and a name of at most 64 characters");
    cr_expect_eq(turbo_route_options_set_u64(options, "key", 1), TURBO_EINVAL);
    cr_expect_str_eq(error, "key: a number is not param:, field: or cookie: and a name of at most 64 characters");
    turbo_route_options_free(options);
}

Test(route, key_alone_means_placement_key) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = options_new();
    cr_expect_eq(turbo_route_options_set(options, "key", "cookie:sid"), 0);
    turbo__route route = route_with(options, &settings);
    cr_expect(route.placement == TURBO__PLACEMENT_KEY && route.key.kind == TURBO__KEY_COOKIE);
    cr_expect_eq(turbo_route_options_set(options, "placement", "least"), 0);
    cr_expect_eq(turbo_route_options_set(options, "key", "param:id"), 0);
    route = route_with(options, &settings);
    cr_expect(route.placement == TURBO__PLACEMENT_LEAST, "what was said in words stays");
    turbo_route_options_free(options);
}

struct limit {
    const char *name;
    uint64_t min, max;
};

Test(route, every_limit_is_exact) {
    static const struct limit limits[] = {
        {"executor", 0, 2},      {"threads", 1, 1024},           {"placement", 0, 7},            {"body_max_bytes", 0, (uint64_t)1 << 40},
        {"batch_max", 1, 65536}, {"batch_wait_us", 0, 10000000}, {"spill_percent", 100, 10000},
        {"batch_weight_max", 0, (uint64_t)1 << 40},
        {"inflight_max", 1, 1048576}, {"queue_timeout_ms", 0, 86400000}, {"handler_timeout_ms", 0, 86400000},
        {"shed_status", 0, 1},
        {"retry_after_s", 0, 86400},
    };
    turbo_route_options *options = options_new();
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const struct limit *l = &limits[i];
        cr_expect_eq(turbo_route_options_set_u64(options, l->name, l->min), 0, "%s", l->name);
        cr_expect_eq(turbo_route_options_set_u64(options, l->name, l->max - 1), 0, "%s", l->name);
        cr_expect_eq(turbo_route_options_set_u64(options, l->name, l->max), 0, "%s", l->name);
        cr_expect_eq(turbo_route_options_set_u64(options, l->name, l->max + 1), TURBO_EINVAL, "%s", l->name);
        if (l->min > 0)
            cr_expect_eq(turbo_route_options_set_u64(options, l->name, l->min - 1), TURBO_EINVAL, "%s", l->name);
    }
    turbo_route_options_free(options);
}

static uint32_t hash_of(const char *method, const char *pattern) {
    turbo__settings settings = settings_of(1);
    turbo__route *route;
    cr_assert_eq(turbo__route_new(&route, method, pattern, NULL, &settings), 0);
    uint32_t hash = route->hash;
    turbo__route_free(route);
    return hash;
}

Test(route, hash_depends_on_method_and_pattern_alone) {
    cr_expect_eq(hash_of("GET", "/a"), hash_of("GET", "/a"));
    cr_expect_neq(hash_of("GET", "/a"), hash_of("GET", "/b"));
    cr_expect_neq(hash_of("GET", "/a"), hash_of("PUT", "/a"));
    cr_expect_neq(hash_of(NULL, "/a"), hash_of("GET", "/a"));
    cr_expect_eq(hash_of(NULL, "/a"), hash_of("", "/a"));
    cr_expect_neq(hash_of("GET/", "a"), hash_of("GET", "/a"));
}

Test(route, hash_spreads_similar_patterns_evenly) {
    for (unsigned shards = 2; shards <= 16; shards++) {
        int counts[16] = {0};
        for (int i = 0; i < 1000; i++) {
            char pattern[16];
            (void)snprintf(pattern, sizeof pattern, "/r%d", i);
            counts[hash_of("GET", pattern) % shards]++;
        }
        for (unsigned s = 0; s < shards; s++)
            cr_expect(counts[s] > 500 / (int)shards && counts[s] < 1700 / (int)shards, "%d of %u", counts[s], shards);
    }
}

Test(route, failed_allocations_are_reported) {
    turbo__settings settings = settings_of(1);
    turbo_route_options *options = NULL;
    turbo__route *route = NULL;
    failing_alloc_arm(1);
    cr_expect_eq(turbo_route_options_new(&options), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    failing_alloc_arm(1);
    cr_expect_eq(turbo__route_new(&route, "GET", "/", NULL, &settings), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect(options == NULL && route == NULL);
    turbo_route_options_free(NULL);
    turbo__route_free(NULL);
    cr_expect_not(failing_alloc_leaks());
}
