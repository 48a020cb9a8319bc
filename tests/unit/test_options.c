/* test_options.c - size-prefixed structs of older and newer callers; settings by name, environment and arguments. */
#include "options.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "settings.h"
#include "turbo/error.h"
#include "turbo/executor.h"
#include "turbo/options.h"

TestSuite(options, .timeout = 10);

/* ---- structs that cross the interface ---- */

#define OLDEST offsetof(turbo_executor_ops, flags)

Test(options, older_caller_gets_default_for_newer_member) {
    turbo_executor_ops in = TURBO_EXECUTOR_OPS_INIT, out;
    memset(&out, 0xff, sizeof out);
    in.flags = 99; /* lies past the end of what this caller knows */
    in.size = OLDEST;
    cr_assert_eq(turbo__options_read(&out, sizeof out, OLDEST, &in), 0);
    cr_expect_eq(out.flags, 0);
    cr_expect_eq(out.size, sizeof out);
}

Test(options, struct_is_read_whole_at_its_own_size) {
    turbo_executor_ops in = TURBO_EXECUTOR_OPS_INIT, out;
    in.flags = 99;
    cr_assert_eq(turbo__options_read(&out, sizeof out, OLDEST, &in), 0);
    cr_expect_eq(out.flags, 99);
}

Test(options, struct_below_the_oldest_size_is_refused) {
    turbo_executor_ops in = TURBO_EXECUTOR_OPS_INIT, out;
    const size_t bad[] = {0, 1, OLDEST - 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        in.size = bad[i];
        cr_expect_eq(turbo__options_read(&out, sizeof out, OLDEST, &in), TURBO_EINVAL, "size %zu", bad[i]);
    }
}

Test(options, newer_caller_is_served_unless_it_uses_what_is_new) {
    struct {
        turbo_executor_ops known;
        unsigned char tail[16];
    } in;
    turbo_executor_ops out;
    memset(&in, 0, sizeof in);
    in.known.size = sizeof in;
    in.known.flags = 7;
    cr_expect_eq(turbo__options_read(&out, sizeof out, OLDEST, &in), 0);
    cr_expect(out.flags == 7 && out.size == sizeof out);
    for (size_t i = 0; i < sizeof in.tail; i++) {
        memset(in.tail, 0, sizeof in.tail);
        in.tail[i] = 1;
        cr_expect_eq(turbo__options_read(&out, sizeof out, OLDEST, &in), TURBO_ETOONEW, "byte %zu", i);
    }
}

/* ---- turbo_options ---- */

static turbo_options *options_new(void) {
    turbo_options *options;
    cr_assert_eq(turbo_options_new(&options), 0);
    return options;
}

static uint64_t value_of(const turbo_options *options, const char *name) {
    uint64_t value = 0;
    cr_assert_eq(turbo_options_get_u64(options, name, &value), 0);
    return value;
}

static void expect_sentence(const turbo_options *options, const char *a, const char *b, const char *c) {
    const char *text = turbo_options_error(options);
    cr_expect(strstr(text, a) && strstr(text, b) && strstr(text, c), "\"%s\" lacks one of %s, %s, %s", text, a, b, c);
}

Test(options, unset_is_the_default_and_zero_is_a_value) {
    turbo_options *options = options_new();
    turbo__settings settings;
    cr_expect_eq(value_of(options, "idle_timeout_ms"), 60000);
    cr_assert_eq(turbo_options_set(options, "idle_timeout_ms", "0"), 0);
    cr_expect_eq(value_of(options, "idle_timeout_ms"), 0);
    turbo__options_settings(options, &settings);
    cr_expect_eq(settings.idle_timeout_ms, 0);
    cr_expect_eq(settings.batch_max, 128);
    cr_expect_str_eq(turbo_options_error(options), "");
    turbo_options_free(options);
}

Test(options, no_options_are_all_defaults) {
    turbo__settings settings, defaults;
    turbo__settings_default(&defaults);
    turbo__options_settings(NULL, &settings);
    cr_expect_arr_eq(&settings, &defaults, sizeof settings);
}

Test(options, set_takes_numbers_and_words) {
    turbo_options *options = options_new();
    cr_expect_eq(turbo_options_set(options, "batch_max", "64"), 0);
    cr_expect_eq(value_of(options, "batch_max"), 64);
    cr_expect_eq(turbo_options_set(options, "placement", "local"), 0);
    cr_expect_eq(value_of(options, "placement"), TURBO__PLACEMENT_LOCAL);
    cr_expect_eq(turbo_options_set_u64(options, "placement", TURBO__PLACEMENT_ROUTE), 0);
    cr_expect_eq(value_of(options, "placement"), TURBO__PLACEMENT_ROUTE);
    turbo_options_free(options);
}

Test(options, bad_values_keep_the_old_one_and_say_why) {
    turbo_options *options = options_new();
    cr_assert_eq(turbo_options_set(options, "batch_max", "7"), 0);
    cr_expect_eq(turbo_options_set(options, "batch_max", "x"), TURBO_EINVAL);
    expect_sentence(options, "batch_max", "\"x\"", "65536");
    cr_expect_eq(turbo_options_set(options, "batch_max", "65537"), TURBO_EINVAL);
    expect_sentence(options, "batch_max", "65537", "1 to 65536");
    cr_expect_eq(turbo_options_set_u64(options, "batch_max", 0), TURBO_EINVAL);
    expect_sentence(options, "batch_max", " 0 ", "1 to 65536");
    cr_expect_eq(turbo_options_set(options, "placement", "nowhere"), TURBO_EINVAL);
    expect_sentence(options, "placement", "\"nowhere\"", "route, round_robin, local");
    cr_expect_eq(value_of(options, "batch_max"), 7);
    turbo_options_free(options);
}

Test(options, unknown_names_are_refused_everywhere) {
    turbo_options *options = options_new();
    uint64_t value = 5;
    const char *const unknown[] = {"", "batch", "batch_max_", "Batch_max", "batch-max"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        cr_expect_eq(turbo_options_set(options, unknown[i], "1"), TURBO_ENOENT, "%s", unknown[i]);
        cr_expect_eq(turbo_options_set_u64(options, unknown[i], 1), TURBO_ENOENT, "%s", unknown[i]);
        cr_expect_eq(turbo_options_get_u64(options, unknown[i], &value), TURBO_ENOENT, "%s", unknown[i]);
    }
    cr_expect_eq(value, 5);
    expect_sentence(options, "unknown", "\"batch-max\"", "setting");
    turbo_options_free(options);
}

Test(options, endless_name_and_value_do_not_overflow_the_sentence) {
    turbo_options *options = options_new();
    static char text[5000];
    memset(text, 'a', sizeof text - 1);
    cr_expect_eq(turbo_options_set(options, text, "1"), TURBO_ENOENT);
    cr_expect_lt(strlen(turbo_options_error(options)), 256);
    cr_expect_eq(turbo_options_set(options, "batch_max", text), TURBO_EINVAL);
    cr_expect_lt(strlen(turbo_options_error(options)), 256);
    cr_expect_eq(turbo_options_set(options, "placement", text), TURBO_EINVAL);
    cr_expect_lt(strlen(turbo_options_error(options)), 256);
    turbo_options_free(options);
}

Test(options, failed_allocation_is_reported) {
    turbo_options *options = NULL;
    failing_alloc_arm(1);
    cr_expect_eq(turbo_options_new(&options), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect_null(options);
    turbo_options_free(NULL);
    cr_expect_not(failing_alloc_leaks());
}

/* ---- the environment ---- */

Test(options, environment_sets_what_it_names) {
    turbo_options *options = options_new();
    cr_assert_eq(setenv("TURBO_BATCH_MAX", "33", 1), 0);
    cr_assert_eq(setenv("TURBO_ON_FIN", "cancel", 1), 0);
    cr_assert_eq(setenv("TURBO_UNKNOWN_THING", "1", 1), 0);
    cr_assert_eq(turbo_options_load_env(options), 0);
    cr_expect_eq(value_of(options, "batch_max"), 33);
    cr_expect_eq(value_of(options, "on_fin"), TURBO__ON_FIN_CANCEL);
    cr_expect_eq(value_of(options, "queue_max"), 20000);
    turbo_options_free(options);
}

Test(options, every_setting_has_its_variable) {
    turbo_options *options = options_new();
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        char name[64] = "TURBO_", value[32];
        uint64_t min;
        size_t at = 6;
        for (const char *p = turbo_setting_name(i); *p != '\0'; p++)
            name[at++] = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
        name[at] = '\0';
        cr_assert_eq(turbo_setting_range(i, &min, NULL, NULL), 0);
        if (turbo_setting_choices(i)[0] != '\0') {
            size_t len = strcspn(turbo_setting_choices(i), "|");
            memcpy(value, turbo_setting_choices(i), len);
            value[len] = '\0';
        } else {
            (void)snprintf(value, sizeof value, "%llu", (unsigned long long)min);
        }
        cr_assert_eq(setenv(name, value, 1), 0);
    }
    cr_assert_eq(turbo_options_load_env(options), 0, "%s", turbo_options_error(options));
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t min = 0;
        cr_assert_eq(turbo_setting_range(i, &min, NULL, NULL), 0);
        cr_expect_eq(value_of(options, turbo_setting_name(i)), min, "%s", turbo_setting_name(i));
    }
    turbo_options_free(options);
}

Test(options, bad_environment_is_an_error_that_names_the_setting) {
    turbo_options *options = options_new();
    cr_assert_eq(setenv("TURBO_QUEUE_MAX", "many", 1), 0);
    cr_expect_eq(turbo_options_load_env(options), TURBO_EINVAL);
    expect_sentence(options, "queue_max", "\"many\"", "16777216");
    cr_assert_eq(setenv("TURBO_QUEUE_MAX", "", 1), 0);
    cr_expect_eq(turbo_options_load_env(options), TURBO_EINVAL);
    turbo_options_free(options);
}

/* ---- arguments ---- */

typedef struct args {
    char *argv[12];
    int argc;
} args;

static args args_of(const char *const *words) {
    args a = {.argc = 0};
    for (; words[a.argc] != NULL; a.argc++)
        a.argv[a.argc] = (char *)(uintptr_t)words[a.argc];
    a.argv[a.argc] = NULL;
    return a;
}
#define ARGS(...) args_of((const char *const[]){__VA_ARGS__, NULL})

static void expect_args(const args *a, const char *const *words) {
    int i = 0;
    for (; words[i] != NULL; i++)
        cr_assert(i < a->argc && strcmp(a->argv[i], words[i]) == 0, "argument %d", i);
    cr_expect_eq(a->argc, i);
    cr_expect_null(a->argv[a->argc]);
}
#define EXPECT_ARGS(a, ...) expect_args(a, (const char *const[]){__VA_ARGS__, NULL})

Test(options, arguments_are_taken_in_both_forms_and_the_rest_stays_in_order) {
    turbo_options *options = options_new();
    args a = ARGS("demo", "--port", "8000", "--batch-max", "64", "-v", "--queue-max=9", "file", "--placement=local");
    cr_assert_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    EXPECT_ARGS(&a, "demo", "--port", "8000", "-v", "file");
    cr_expect_eq(value_of(options, "batch_max"), 64);
    cr_expect_eq(value_of(options, "queue_max"), 9);
    cr_expect_eq(value_of(options, "placement"), TURBO__PLACEMENT_LOCAL);
    turbo_options_free(options);
}

Test(options, arguments_behind_two_dashes_are_left_alone) {
    turbo_options *options = options_new();
    args a = ARGS("demo", "--batch-max", "5", "--", "--batch-max", "6");
    cr_assert_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    EXPECT_ARGS(&a, "demo", "--", "--batch-max", "6");
    cr_expect_eq(value_of(options, "batch_max"), 5);
    turbo_options_free(options);
}

Test(options, arguments_that_only_look_like_settings_stay) {
    turbo_options *options = options_new();
    args a = ARGS("--batch-max", "--batch_max", "-batch-max", "--batch-maxi", "--batch", "--=1", "--");
    cr_assert_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    EXPECT_ARGS(&a, "--batch-max", "--batch_max", "-batch-max", "--batch-maxi", "--batch", "--=1", "--");
    turbo_options_free(options);
}

Test(options, endless_argument_is_not_ours) {
    turbo_options *options = options_new();
    static char text[300] = "--";
    memset(text + 2, 'a', sizeof text - 3);
    args a = ARGS("demo", text);
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    cr_expect_eq(a.argc, 2);
    turbo_options_free(options);
}

Test(options, missing_and_bad_argument_values_are_errors) {
    turbo_options *options = options_new();
    args a = ARGS("demo", "-v", "--batch-max");
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), TURBO_EINVAL);
    expect_sentence(options, "batch_max", "missing", "--batch-max");
    a = ARGS("demo", "--queue-max", "5", "--batch-max=x", "more");
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), TURBO_EINVAL);
    expect_sentence(options, "batch_max", "\"x\"", "65536");
    EXPECT_ARGS(&a, "demo", "--batch-max=x", "more");
    a = ARGS("demo", "--batch-max=");
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), TURBO_EINVAL);
    turbo_options_free(options);
}

Test(options, no_arguments_at_all_are_fine) {
    turbo_options *options = options_new();
    args a = {.argc = 0};
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    cr_expect_eq(a.argc, 0);
    a = ARGS("demo");
    cr_expect_eq(turbo_options_load_args(options, &a.argc, a.argv), 0);
    EXPECT_ARGS(&a, "demo");
    turbo_options_free(options);
}
