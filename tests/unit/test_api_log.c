/* test_api_log.c - every error that include/turbo/log.h documents. */
#include <criterion/criterion.h>

#include "turbo.h"

TestSuite(api_log, .timeout = 30);

/* errors: turbo_server_set_log TURBO_EINVAL, TURBO_ESTATE */
Test(api_log, set_log_refuses_bad_levels_and_a_server_that_runs) {
    turbo_server *server = NULL;
    cr_assert_eq(turbo_server_new(&server, NULL), 0);
    cr_expect_eq(turbo_server_set_log(server, -1, NULL, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_set_log(server, TURBO_LOG_DEBUG + 1, NULL, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_set_log(server, TURBO_LOG_DEBUG, NULL, NULL), 0);
    cr_expect_eq(turbo_server_set_log(server, 0, NULL, NULL), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_set_log(server, TURBO_LOG_WARN, NULL, NULL), TURBO_ESTATE);
    turbo_server_release(server);
}
