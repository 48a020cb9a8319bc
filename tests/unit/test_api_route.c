/* test_api_route.c - every error that include/turbo/route.h documents. */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(api_route, .timeout = 30);

static turbo_server *new_server(void) {
    turbo_server *server = NULL;
    cr_assert_eq(turbo_server_new(&server, NULL), 0);
    return server;
}

static void answer_all(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard;
    for (size_t i = 0; i < n; i++)
        (void)answer_ok(reqs[i], user);
}

static int weigh_one(uint64_t *out, turbo_request *req, void *user) {
    (void)req;
    (void)user;
    *out = 1;
    return 1;
}

/* errors: turbo_route_options_new TURBO_ENOMEM */
Test(api_route, options_without_memory) {
    turbo_route_options *options = NULL;
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_route_options_new(&options), turbo_route_options_free(options));
}

/* errors: turbo_route_options_set TURBO_ENOENT, TURBO_EINVAL; turbo_route_options_set_u64 TURBO_ENOENT, TURBO_EINVAL */
Test(api_route, options_refuse_and_say_why) {
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_expect_str_eq(turbo_route_options_error(options), "");
    cr_expect_eq(turbo_route_options_set(options, "queue_max", "1"), TURBO_ENOENT);
    cr_expect_not_null(strstr(turbo_route_options_error(options), "queue_max"));
    cr_expect_eq(turbo_route_options_set(options, "executor", "own"), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_route_options_error(options), "pool"));
    cr_expect_eq(turbo_route_options_set(options, "batch_max", "65537"), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "head_max_bytes", 1), TURBO_ENOENT);
    cr_expect_eq(turbo_route_options_set_u64(options, "batch_max", 0), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "spill_percent", 1), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "batch_wait_us", 10000000), 0);
    cr_expect_eq(turbo_route_options_set_u64(options, "batch_wait_us", 10000001), TURBO_EINVAL);
    turbo_route_options_free(options);
}

/* errors: turbo_server_route TURBO_EINVAL, TURBO_EEXIST, TURBO_ESTATE */
Test(api_route, route_refuses_and_says_why) {
    turbo_server *server = new_server();
    cr_expect_eq(turbo_server_route(server, "GE T", "/", NULL, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_str_not_empty(turbo_server_error(server));
    cr_expect_eq(turbo_server_route(server, "", "/", NULL, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_route(server, "GET", "users", NULL, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_route(server, "GET", "/{}", NULL, answer_ok, NULL), TURBO_EINVAL);
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_expect_eq(turbo_route_options_set(options, "placement", "key"), 0);
    cr_expect_eq(turbo_server_route(server, "GET", "/key", options, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_str_eq(turbo_server_error(server), "placement key needs the route's option \"key\"");
    cr_expect_eq(turbo_route_options_set(options, "key", "param:id"), 0);
    cr_expect_eq(turbo_route_options_set(options, "inflight_max", "1"), 0);
    cr_expect_eq(turbo_route_options_set(options, "executor", "inline"), 0);
    cr_expect_eq(turbo_server_route(server, "GET", "/in/{id}", options, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_str_eq(turbo_server_error(server),
                     "inflight_max does not go with executor inline, which has nothing in flight on shards");
    turbo_route_options_free(options);
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_expect_eq(turbo_route_options_set_weight(options, weigh_one, NULL), 0);
    cr_expect_eq(turbo_server_route(server, "GET", "/weighed", options, answer_ok, NULL), TURBO_EINVAL);
    cr_expect_str_eq(turbo_server_error(server), "batch_weight_max and weight functions are for batch callbacks");
    turbo_route_options_free(options);
    cr_expect_eq(turbo_server_route(server, "GET", "/users/{id}", NULL, answer_ok, NULL), 0);
    cr_expect_str_empty(turbo_server_error(server));
    cr_expect_eq(turbo_server_route(server, "GET", "/users/{id}", NULL, answer_ok, NULL), TURBO_EEXIST);
    cr_expect_eq(turbo_server_route(server, "POST", "/users/{name}", NULL, answer_ok, NULL), TURBO_EEXIST);
    cr_expect_str_not_empty(turbo_server_error(server));
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_route(server, "GET", "/late", NULL, answer_ok, NULL), TURBO_ESTATE);
    turbo_server_release(server);
}

/* errors: turbo_server_route_batch TURBO_EINVAL, TURBO_EEXIST, TURBO_ESTATE */
Test(api_route, batch_route_refuses_and_says_why) {
    turbo_server *server = new_server();
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "executor", "inline"), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", NULL, NULL, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", options, answer_all, NULL), TURBO_EINVAL);
    cr_expect_str_not_empty(turbo_server_error(server));
    cr_assert_eq(turbo_route_options_set(options, "executor", "shard"), 0);
    cr_assert_eq(turbo_route_options_set(options, "body", "streamed"), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", options, answer_all, NULL), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_server_error(server), "streamed"));
    cr_assert_eq(turbo_route_options_set(options, "body", "gathered"), 0);
    cr_assert_eq(turbo_route_options_set(options, "batch_weight_max", "1"), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", options, answer_all, NULL), TURBO_EINVAL);
    cr_expect_str_eq(turbo_server_error(server), "batch_weight_max and a weight function need each other");
    cr_assert_eq(turbo_route_options_set(options, "batch_weight_max", "0"), 0);
    cr_assert_eq(turbo_route_options_set_weight(options, weigh_one, NULL), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", options, answer_all, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "", NULL, answer_all, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", NULL, answer_all, NULL), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/", NULL, answer_all, NULL), TURBO_EEXIST);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_route_batch(server, "GET", "/b", NULL, answer_all, NULL), TURBO_ESTATE);
    turbo_route_options_free(options);
    turbo_server_release(server);
}

/* errors: turbo_server_route TURBO_ENOMEM; turbo_server_route_batch TURBO_ENOMEM */
Test(api_route, routes_without_memory_can_be_tried_again) {
    turbo_server *server = new_server();
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_route(server, "PURGE", "/a/{b}/{c...}", NULL, answer_ok, NULL), );
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_route_batch(server, NULL, "/b/{d}", NULL, answer_all, NULL), );
    cr_expect_eq(turbo_server_route(server, "PURGE", "/a/{b}/{c...}", NULL, answer_ok, NULL), TURBO_EEXIST);
    turbo_server_release(server);
    cr_expect_not(failing_alloc_leaks());
}
