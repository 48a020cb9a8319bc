/* test_range.c - the Range field (RFC 9110 14): what it asks for, and what is not worth answering. */
#include "range.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(range, .timeout = 20);

static int parse(turbo__ranges *out, const char *text, uint64_t size) {
    guard copy = guard_copy(text, strlen(text));
    int rc = turbo__ranges_parse(out, (turbo_str){copy.data, copy.len}, size);
    guard_free(&copy);
    return rc;
}

/* "0-4 10-19", or "ignored", or "416". */
static const char *ask(const char *text, uint64_t size) {
    static char out[1024];
    turbo__ranges ranges;
    int n = 0, rc = parse(&ranges, text, size);
    if (rc != TURBO__RANGE_PARTIAL)
        return rc == TURBO__RANGE_IGNORED ? "ignored" : "416";
    for (size_t i = 0; i < ranges.count; i++) {
        cr_assert_gt(ranges.list[i].len, 0);
        cr_assert_leq(ranges.list[i].first, size);
        cr_assert_leq(ranges.list[i].len, size - ranges.list[i].first);
        n += snprintf(out + n, sizeof out - (size_t)n, "%s%llu-%llu", i == 0 ? "" : " ",
                      (unsigned long long)ranges.list[i].first,
                      (unsigned long long)(ranges.list[i].first + ranges.list[i].len - 1));
    }
    return out;
}

struct asked {
    const char *text;
    uint64_t size;
    const char *is;
};

static void expect_all(const struct asked *cases, size_t count) {
    for (size_t i = 0; i < count; i++)
        cr_expect_str_eq(ask(cases[i].text, cases[i].size), cases[i].is, "%s of %llu: %s", cases[i].text,
                         (unsigned long long)cases[i].size, ask(cases[i].text, cases[i].size));
}

Test(range, one_range_of_each_kind_at_its_limits) {
    static const struct asked cases[] = {
        {"bytes=0-0", 10, "0-0"},     {"bytes=0-9", 10, "0-9"},    {"bytes=0-10", 10, "0-9"},   {"bytes=9-9", 10, "9-9"},
        {"bytes=10-10", 10, "416"},   {"bytes=9-", 10, "9-9"},     {"bytes=10-", 10, "416"},    {"bytes=0-", 10, "0-9"},
        {"bytes=-1", 10, "9-9"},      {"bytes=-10", 10, "0-9"},    {"bytes=-11", 10, "0-9"},    {"bytes=-0", 10, "416"},
        {"bytes=3-5", 10, "3-5"},     {"BYTES=3-5", 10, "3-5"},    {"bytes= 3-5 ", 10, "3-5"},  {"bytes=\t3-5", 10, "3-5"},
        {"bytes=0-0", 1, "0-0"},      {"bytes=1-", 1, "416"},      {"bytes=-1", 1, "0-0"},      {"bytes=007-8", 10, "7-8"},
        {"bytes=0-", 0, "416"},       {"bytes=-5", 0, "ignored"},  {"bytes=-0", 0, "416"},      {"bytes=0-0", 0, "416"}};
    expect_all(cases, sizeof cases / sizeof *cases);
}

Test(range, what_is_malformed_is_ignored) {
    static const struct asked cases[] = {
        {"", 10, "ignored"},          {"bytes", 10, "ignored"},      {"bytes=", 10, "ignored"},     {"bytes=,", 10, "ignored"},
        {"bytes=-", 10, "ignored"},   {"bytes=1", 10, "ignored"},    {"bytes=5-3", 10, "ignored"},  {"bytes=a-b", 10, "ignored"},
        {"bytes=1-2-3", 10, "ignored"}, {"bytes=1 -2", 10, "ignored"}, {"bytes =1-2", 10, "ignored"}, {"bytes=+1-2", 10, "ignored"},
        {"bytes=0x1-2", 10, "ignored"}, {"bytes=1-2;", 10, "ignored"}, {"lines=1-2", 10, "ignored"},  {"byte=1-2", 10, "ignored"},
        {"bytes=--1", 10, "ignored"}, {"bytes=1-2,x", 10, "ignored"}, {" bytes=1-2", 10, "ignored"}, {"1-2", 10, "ignored"},
        {"bytes=1-2,5-3", 10, "ignored"}, {"bytes=99-98", 10, "ignored"}};
    expect_all(cases, sizeof cases / sizeof *cases);
}

Test(range, numbers_of_any_length_do_not_overflow) {
    static const struct asked cases[] = {
        {"bytes=0-18446744073709551615", 10, "0-9"},
        {"bytes=0-18446744073709551616", 10, "0-9"},
        {"bytes=0-99999999999999999999999999999999999", 10, "0-9"},
        {"bytes=18446744073709551616-18446744073709551617", 10, "416"},
        {"bytes=99999999999999999999999999999999999-", 10, "416"},
        {"bytes=-99999999999999999999999999999999999", 10, "0-9"},
        {"bytes=0-", UINT64_MAX, "0-18446744073709551614"},
        {"bytes=18446744073709551614-18446744073709551614", UINT64_MAX, "18446744073709551614-18446744073709551614"},
        {"bytes=-18446744073709551615", UINT64_MAX, "0-18446744073709551614"},
        {"bytes=0-0,-1", UINT64_MAX, "0-0 18446744073709551614-18446744073709551614"}};
    expect_all(cases, sizeof cases / sizeof *cases);
}

Test(range, several_keep_their_order_and_only_those_that_can_be_satisfied) {
    static const struct asked cases[] = {
        {"bytes=0-4,200-204", 1000, "0-4 200-204"},       {"bytes=200-204,0-4", 1000, "200-204 0-4"},
        {"bytes=0-4 , 200-204", 1000, "0-4 200-204"},     {"bytes=,0-4,,200-204,", 1000, "0-4 200-204"},
        {"bytes=0-4,2000-", 1000, "0-4"},                 {"bytes=2000-,3000-", 1000, "416"},
        {"bytes=-0,2000-", 1000, "416"},                  {"bytes=0-0,500-600,-1", 1000, "0-0 500-600 999-999"}};
    expect_all(cases, sizeof cases / sizeof *cases);
}

/* RFC 9110 15.3.7.2, 17.15. */
Test(range, those_that_overlap_or_lie_close_become_one) {
    static const struct asked cases[] = {
        {"bytes=0-4,3-9", 1000, "0-9"},                      {"bytes=0-4,5-9", 1000, "0-9"},
        {"bytes=0-4,85-99", 1000, "0-99"},                   {"bytes=0-4,86-99", 1000, "0-4 86-99"},
        {"bytes=500-599,0-999", 1000, "0-999"},              {"bytes=0-,0-,0-,0-,0-,0-,0-", 1000, "0-999"},
        {"bytes=400-499,0-9,100-399", 1000, "100-499 0-9"},  {"bytes=0-9,300-309,150-159,90-200", 1000, "0-200 300-309"},
        {"bytes=0-9,300-309,150-159,70-220", 1000, "0-309"}, {"bytes=-1000,-1", 1000, "0-999"}};
    expect_all(cases, sizeof cases / sizeof *cases);
}

static void make_many(char *out, size_t count, const char *each) {
    out += sprintf(out, "bytes=");
    for (size_t i = 0; i < count; i++)
        out += each != NULL ? sprintf(out, "%s,", each) : sprintf(out, "%zu-%zu,", i * 1000, i * 1000 + 9);
}

Test(range, more_than_sixteen_are_ignored_however_they_lie) {
    char text[8192];
    turbo__ranges ranges;
    for (size_t count = 1; count <= 18; count++) {
        int is = count <= 16 ? TURBO__RANGE_PARTIAL : TURBO__RANGE_IGNORED;
        make_many(text, count, NULL);
        cr_expect_eq(parse(&ranges, text, 1000000), is, "%zu", count);
        if (is == TURBO__RANGE_PARTIAL)
            cr_expect_eq(ranges.count, count);
        make_many(text, count, "0-"); /* the same one */
        cr_expect_eq(parse(&ranges, text, 1000000), is, "%zu", count);
        make_many(text, count, "1000000-"); /* none that can be satisfied */
        cr_expect_eq(parse(&ranges, text, 1000000), count <= 16 ? TURBO__RANGE_UNSATISFIABLE : TURBO__RANGE_IGNORED);
        make_many(text, count + 200, ""); /* empty members are none */
        cr_expect_eq(parse(&ranges, text, 1000000), TURBO__RANGE_IGNORED);
    }
}
