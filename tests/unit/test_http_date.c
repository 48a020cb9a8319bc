/* test_http_date.c - the three formats of an HTTP-date (RFC 9110 5.6.7). */
#include "http_date.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/guard.h"
#include "clock.h"
#include "turbo/error.h"

TestSuite(http_date, .timeout = 20);

#define NOW 1790000000 /* 2026-09-21 */

static int parse(const char *text, int64_t now, int64_t *out) {
    guard copy = guard_copy(text, strlen(text));
    int rc = turbo__http_date_parse(out, (turbo_str){copy.data, copy.len}, now);
    guard_free(&copy);
    return rc;
}

Test(http_date, three_formats_mean_the_same_second) {
    static const struct {
        const char *text;
        int64_t second;
    } cases[] = {{"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},   {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
                 {"Sun Nov  6 08:49:37 1994", 784111777},        {"Wed Nov 16 08:49:37 1994", 784975777},
                 {"Thu, 01 Jan 1970 00:00:00 GMT", 0},           {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
                 {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799}, {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
                 {"Tue, 30 Jun 2015 23:59:60 GMT", 1435708799},  {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
                 {"Wednesday, 01-Jan-70 00:00:00 GMT", 3155760000}, {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t got = -99;
        cr_expect_eq(parse(cases[i].text, NOW, &got), 0, "%s", cases[i].text);
        cr_expect_eq(got, cases[i].second, "%s: %lld", cases[i].text, (long long)got);
    }
}

Test(http_date, what_is_formatted_is_read_back) {
    char text[TURBO__DATE_LEN + 1];
    for (int64_t second = 0; second < 253402300799; second += 86400 * 97 + 12345) {
        int64_t got = -1;
        turbo__date_format(text, second);
        cr_assert_eq(parse(text, NOW, &got), 0, "%s", text);
        cr_assert_eq(got, second, "%s", text);
    }
}

Test(http_date, two_digits_are_the_year_that_is_not_50_years_ahead) {
    int64_t got, year_2076 = 3345062400, year_1977 = 220924800; /* January the first */
    cr_assert_eq(parse("Wednesday, 01-Jan-76 00:00:00 GMT", NOW, &got), 0);
    cr_expect_eq(got, year_2076);
    cr_assert_eq(parse("Saturday, 01-Jan-77 00:00:00 GMT", NOW, &got), 0);
    cr_expect_eq(got, year_1977);
    cr_assert_eq(parse("Saturday, 01-Jan-77 00:00:00 GMT", -1, &got), 0);
    cr_expect_eq(got, year_1977, "a clock before 1970");
    cr_assert_eq(parse("Friday, 01-Jan-10 00:00:00 GMT", 3980000000 /* 2096 */, &got), 0);
    cr_expect_eq(got, 4417977600, "2110 is not 50 years ahead of 2096");
}

Test(http_date, anything_else_is_refused_and_writes_nothing) {
    static const char *const bad[] = {
        "", "0", "Sun", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 29 Feb 1900 08:49:37 GMT", "Sun, 29 Feb 2023 08:49:37 GMT",
        "Xxx, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun Nov 06 08:49:37 94", "Sun Nov 6 08:49:37 1994", "Sun Nov  16 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", "784111777",
        "Sun, 06 Nov 1994 08:49:37 GMTGMTGMTGMTGMTGMT"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t got = -99;
        cr_expect_eq(parse(bad[i], NOW, &got), TURBO_EINVAL, "%s", bad[i]);
        cr_expect_eq(got, -99, "%s", bad[i]);
    }
}

Test(http_date, cut_at_every_byte_it_is_refused) {
    static const char *const whole[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < 3; i++)
        for (size_t len = 0; len < strlen(whole[i]); len++) {
            char text[64];
            int64_t got;
            memcpy(text, whole[i], len);
            text[len] = '\0';
            cr_expect_eq(parse(text, NOW, &got), TURBO_EINVAL, "%s", text);
        }
    int64_t got;
    cr_expect_eq(turbo__http_date_parse(&got, (turbo_str){"Sun, 06 Nov 1994 08:49:37 GMT\0", 30}, NOW), TURBO_EINVAL);
}
