/* test_api_options.c - every error that include/turbo/options.h documents. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo.h"

TestSuite(api_options, .timeout = 30);

static turbo_options *new_options(void) {
    turbo_options *options = NULL;
    cr_assert_eq(turbo_options_new(&options), 0);
    return options;
}

/* errors: turbo_setting_range TURBO_ENOENT */
Test(api_options, range_of_a_setting_that_does_not_exist) {
    cr_expect_eq(turbo_setting_range(turbo_setting_count(), NULL, NULL, NULL), TURBO_ENOENT);
    cr_expect_eq(turbo_setting_range(turbo_setting_count() - 1, NULL, NULL, NULL), 0);
}

/* errors: turbo_options_new TURBO_ENOMEM */
Test(api_options, new_without_memory) {
    turbo_options *options = NULL;
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_options_new(&options), turbo_options_free(options));
}

/* errors: turbo_options_set TURBO_ENOENT, TURBO_EINVAL */
Test(api_options, set_refuses_and_says_why) {
    turbo_options *options = new_options();
    uint64_t value = 0;
    cr_expect_eq(turbo_options_set(options, "batch_maximum", "1"), TURBO_ENOENT);
    cr_expect_not_null(strstr(turbo_options_error(options), "batch_maximum"));
    cr_expect_eq(turbo_options_set(options, "batch_max", "many"), TURBO_EINVAL);
    cr_expect_eq(turbo_options_set(options, "batch_max", "0"), TURBO_EINVAL);
    cr_expect_eq(turbo_options_set(options, "batch_max", "65537"), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_options_error(options), "65537"));
    cr_expect_eq(turbo_options_set(options, "placement", "nowhere"), TURBO_EINVAL);
    cr_expect_eq(turbo_options_get_u64(options, "batch_max", &value), 0);
    cr_expect_eq(value, 128, "a refused value was kept: %llu", (unsigned long long)value);
    turbo_options_free(options);
}

/* errors: turbo_options_set_u64 TURBO_ENOENT, TURBO_EINVAL */
Test(api_options, set_u64_refuses) {
    turbo_options *options = new_options();
    cr_expect_eq(turbo_options_set_u64(options, "nothing", 1), TURBO_ENOENT);
    cr_expect_eq(turbo_options_set_u64(options, "batch_max", 65536), 0);
    cr_expect_eq(turbo_options_set_u64(options, "batch_max", 65537), TURBO_EINVAL);
    cr_expect_eq(turbo_options_set_u64(options, "spill_percent", 99), TURBO_EINVAL);
    turbo_options_free(options);
}

/* errors: turbo_options_get_u64 TURBO_ENOENT */
Test(api_options, get_of_an_unknown_name_changes_nothing) {
    turbo_options *options = new_options();
    uint64_t value = 7;
    cr_expect_eq(turbo_options_get_u64(options, "nothing", &value), TURBO_ENOENT);
    cr_expect_eq(value, 7);
    turbo_options_free(options);
}

/* errors: turbo_options_load_env TURBO_EINVAL */
Test(api_options, environment_with_a_bad_value) {
    turbo_options *options = new_options();
    setenv("TURBO_BATCH_MAX", "-1", 1);
    cr_expect_eq(turbo_options_load_env(options), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_options_error(options), "batch_max"));
    turbo_options_free(options);
}

/* errors: turbo_options_load_args TURBO_EINVAL */
Test(api_options, arguments_with_a_bad_or_missing_value) {
    turbo_options *options = new_options();
    char program[] = "p", flag[] = "--batch-max", bad[] = "--queue-max=x";
    char *missing[] = {program, flag, NULL}, *wrong[] = {program, bad, NULL};
    int argc = 2;
    cr_expect_eq(turbo_options_load_args(options, &argc, missing), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_options_error(options), "batch_max"));
    argc = 2;
    cr_expect_eq(turbo_options_load_args(options, &argc, wrong), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_options_error(options), "queue_max"));
    turbo_options_free(options);
}
