/* test_settings.c - the table of settings: every row's limits, defaults, and the parsing of values. */
#include "settings.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "os/os.h"
#include "turbo/error.h"
#include "turbo/options.h"

TestSuite(settings, .timeout = 10);

static char err[256];

static int index_of(const char *name) { return turbo__settings_find(name, strlen(name)); }

static int check(size_t row, uint64_t value) { return turbo__settings_check(row, value, err, sizeof err); }

static int parse(const char *name, const char *text, uint64_t *out) {
    int row = index_of(name);
    cr_assert_geq(row, 0);
    return turbo__settings_parse((size_t)row, text, out, err, sizeof err);
}

Test(settings, struct_and_table_have_the_same_order) {
    turbo__settings s;
    const uint64_t *values = (const uint64_t *)&s;
    turbo__settings_default(&s);
    cr_assert_eq(turbo_setting_count() * sizeof(uint64_t), sizeof s);
    cr_expect_eq(&values[index_of("shards")], &s.shards);
    cr_expect_eq(&values[index_of("fields_max")], &s.fields_max);
    cr_expect_eq(&values[index_of("backlog")], &s.backlog);
}

Test(settings, every_limit_holds_at_the_value_before_and_behind_it) {
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t min, max;
        const char *name = turbo_setting_name(i);
        cr_assert_eq(turbo_setting_range(i, &min, &max, NULL), 0);
        cr_expect_eq(check(i, min), 0, "%s: %s", name, err);
        cr_expect_eq(check(i, max), 0, "%s: %s", name, err);
        cr_expect_eq(check(i, max - 1), 0, "%s: %s", name, err);
        cr_expect_eq(check(i, max + 1), TURBO_EINVAL, "%s takes more than its maximum", name);
        if (min > 0)
            cr_expect_eq(check(i, min - 1), TURBO_EINVAL, "%s takes less than its minimum", name);
        cr_expect(strncmp(err, name, strlen(name)) == 0, "\"%s\" does not begin with %s", err, name);
    }
}

Test(settings, defaults_lie_within_their_limits) {
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t value;
        cr_assert_eq(turbo_setting_range(i, NULL, NULL, &value), 0);
        cr_expect_eq(check(i, value), 0, "%s: %s", turbo_setting_name(i), err);
    }
}

Test(settings, defaults_are_those_of_the_design) {
    turbo__settings s;
    uint64_t cpus = turbo__os_cpu_count();
    turbo__settings_default(&s);
    cr_expect_eq(s.shards, cpus);
    cr_expect_eq(s.io_threads, cpus < 4 ? 1 : cpus / 4);
    cr_expect(s.batch_max == 128 && s.batch_wait_us == 0 && s.queue_max == 20000 && s.inflight_max == 512);
    cr_expect(s.placement == TURBO__PLACEMENT_DEFAULT && s.spill_percent == 125 && s.pipeline_max == 64);
    cr_expect(s.head_max_bytes == 65536 && s.fields_max == 100 && s.target_max_bytes == 8192);
    cr_expect(s.body_max_bytes == 1048576 && s.body_memory_max_bytes == 268435456);
    cr_expect(s.head_timeout_ms == 10000 && s.body_stall_timeout_ms == 30000 && s.idle_timeout_ms == 60000);
    cr_expect(s.queue_timeout_ms == 0 && s.handler_timeout_ms == 0 && s.body_timeout_ms == 0 && s.shed_status == 0 && s.retry_after_s == 1);
    cr_expect(s.drain_timeout_ms == 30000 && s.drain_idle_ms == 0 && s.connections_max == 0 && s.connections_per_address_max == 0 && s.backlog == 1024);
}

Test(settings, spill_percent_is_zero_or_at_least_the_mean) {
    size_t row = (size_t)index_of("spill_percent");
    cr_expect_eq(check(row, 0), 0);
    cr_expect_eq(check(row, 1), TURBO_EINVAL);
    cr_expect_eq(check(row, 99), TURBO_EINVAL);
    cr_expect_str_eq(err, "spill_percent: 99 is out of range, allowed are 0 and 100 to 10000");
    cr_expect_eq(check(row, 100), 0);
    cr_expect_eq(check(row, 101), 0);
}

Test(settings, every_row_can_be_read_and_none_behind_the_last) {
    size_t count = turbo_setting_count();
    for (size_t i = 0; i < count; i++) {
        const turbo__setting *row = turbo__settings_row(i);
        cr_expect_str_eq(turbo_setting_name(i), row->name);
        cr_expect_str_eq(turbo_setting_unit(i), row->unit);
        cr_expect_gt(strlen(turbo_setting_doc(i)), 10);
        cr_expect_eq(index_of(row->name), (int)i);
        cr_expect_eq(turbo_setting_type(i), row->type);
        cr_expect_eq(row->type == TURBO_SETTING_ENUM, turbo_setting_choices(i)[0] != '\0');
    }
    cr_expect_null(turbo_setting_name(count));
    cr_expect_null(turbo_setting_unit(count));
    cr_expect_null(turbo_setting_choices(count));
    cr_expect_null(turbo_setting_doc(count));
    cr_expect_eq(turbo_setting_type(count), 0);
    cr_expect_eq(turbo_setting_range(count, NULL, NULL, NULL), TURBO_ENOENT);
}

Test(settings, find_compares_the_whole_name) {
    cr_expect_geq(turbo__settings_find("batch_max___", 9), 0);
    cr_expect_eq(turbo__settings_find("batch_max", 8), TURBO_ENOENT);
    cr_expect_eq(turbo__settings_find("", 0), TURBO_ENOENT);
    cr_expect_eq(index_of("batch_maxx"), TURBO_ENOENT);
}

Test(settings, words_of_an_enum_are_its_values) {
    uint64_t value = 99;
    cr_expect_eq(parse("placement", "default", &value), 0);
    cr_expect_eq(value, TURBO__PLACEMENT_DEFAULT);
    cr_expect_eq(parse("placement", "round_robin", &value), 0);
    cr_expect_eq(value, TURBO__PLACEMENT_ROUND_ROBIN);
    const char *const bad[] = {"", "rout", "routes", "Route", "1", "default|route", "|"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(parse("placement", bad[i], &value), TURBO_EINVAL, "\"%s\"", bad[i]);
    cr_expect_eq(value, TURBO__PLACEMENT_ROUND_ROBIN);
}

Test(settings, sentence_about_a_bad_word_fits_any_buffer) {
    uint64_t value;
    size_t row = (size_t)index_of("placement");
    for (size_t size = 1; size < 120; size++) {
        char small[121];
        memset(small, 'X', sizeof small);
        cr_expect_eq(turbo__settings_parse(row, "nowhere", &value, small, size), TURBO_EINVAL);
        cr_expect(memchr(small, '\0', size) != NULL && small[size] == 'X', "size %zu", size);
    }
    cr_expect_eq(parse("placement", "nowhere", &value), TURBO_EINVAL);
    cr_expect_str_eq(err, "placement: \"nowhere\" is not one of default, route, round_robin, local, path, key, "
                          "connection, least");
}

Test(settings, numbers_are_digits_only) {
    uint64_t value = 7;
    const char *const bad[] = {"", " ", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "1,0", "a", "18446744073709551616",
                               "99999999999999999999", "340282366920938463463374607431768211456"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(turbo__parse_u64(bad[i], &value), TURBO_EINVAL, "\"%s\"", bad[i]);
    cr_expect_eq(value, 7);
    cr_expect(turbo__parse_u64("0", &value) == 0 && value == 0);
    cr_expect(turbo__parse_u64("007", &value) == 0 && value == 7);
    cr_expect(turbo__parse_u64("18446744073709551614", &value) == 0 && value == UINT64_MAX - 1);
    cr_expect(turbo__parse_u64("18446744073709551615", &value) == 0 && value == UINT64_MAX);
}

Test(settings, number_out_of_range_leaves_the_result_alone) {
    uint64_t value = 3;
    cr_expect_eq(parse("backlog", "65536", &value), TURBO_EINVAL);
    cr_expect_eq(parse("backlog", "ten", &value), TURBO_EINVAL);
    cr_expect_str_eq(err, "backlog: \"ten\" is not a whole number from 1 to 65535");
    cr_expect_eq(value, 3);
    cr_expect_eq(parse("backlog", "65535", &value), 0);
    cr_expect_eq(value, 65535);
}

Test(settings, choice_is_found_by_its_place) {
    cr_expect_eq(turbo__parse_choice("a|bc|d", "a", 1), 0);
    cr_expect_eq(turbo__parse_choice("a|bc|d", "bc", 2), 1);
    cr_expect_eq(turbo__parse_choice("a|bc|d", "d", 1), 2);
    cr_expect_eq(turbo__parse_choice("a|bc|d", "b", 1), TURBO_ENOENT);
    cr_expect_eq(turbo__parse_choice("a|bc|d", "", 0), TURBO_ENOENT);
}
