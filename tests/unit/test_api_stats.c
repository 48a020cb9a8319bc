/* test_api_stats.c - every error that include/turbo/stats.h documents. */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo.h"

TestSuite(api_stats, .timeout = 30);

static turbo_server *new_server(void) {
    turbo_server *server = NULL;
    cr_assert_eq(turbo_server_new(&server, NULL), 0);
    return server;
}

/* errors: turbo_server_stats TURBO_EINVAL; turbo_shard_stats_get TURBO_EINVAL */
Test(api_stats, snapshots_refuse_a_size_that_is_none) {
    turbo_server *server = new_server();
    turbo_stats all = TURBO_STATS_INIT;
    turbo_shard_stats one = TURBO_SHARD_STATS_INIT;
    turbo_shard *shard = turbo_server_shard(server, 0);
    cr_expect_eq(turbo_server_stats(server, &all), 0);
    cr_expect_eq(turbo_shard_stats_get(shard, &one), 0);
    all.size = sizeof all + 1;
    one.size = sizeof one + 1;
    cr_expect_eq(turbo_server_stats(server, &all), TURBO_EINVAL);
    cr_expect_eq(turbo_shard_stats_get(shard, &one), TURBO_EINVAL);
    all.size = one.size = 0;
    cr_expect_eq(turbo_server_stats(server, &all), TURBO_EINVAL);
    cr_expect_eq(turbo_shard_stats_get(shard, &one), TURBO_EINVAL);
    turbo_server_release(server);
}

Test(api_stats, an_older_callers_snapshot_is_filled_as_far_as_it_goes) {
    turbo_server *server = new_server();
    turbo_stats all;
    memset(&all, 0xEE, sizeof all);
    all.size = offsetof(turbo_stats, shed);
    cr_expect_eq(turbo_server_stats(server, &all), 0);
    cr_expect_eq(all.answered, 0);
    cr_expect_eq(all.shed, 0xEEEEEEEEEEEEEEEEu);
    turbo_server_release(server);
}

/* errors: turbo_server_stats_text TURBO_EINVAL, TURBO_ENOMEM */
Test(api_stats, text_refuses_unknown_formats_and_needs_memory) {
    turbo_server *server = new_server();
    char *text = NULL;
    size_t len = 0;
    cr_expect_eq(turbo_server_stats_text(server, 0, &text, &len), TURBO_EINVAL);
    cr_expect_eq(turbo_server_stats_text(server, TURBO_STATS_PROMETHEUS + 1, &text, NULL), TURBO_EINVAL);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_stats_text(server, TURBO_STATS_JSON, &text, &len),
                         turbo_free(text));
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_stats_text(server, TURBO_STATS_PROMETHEUS, &text, NULL),
                         turbo_free(text));
    turbo_server_release(server);
    cr_expect_not(failing_alloc_leaks());
}
