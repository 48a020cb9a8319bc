/* test_clock.c - monotonic time and the Date text. */
#include "clock.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "../support/fake_clock.h"

TestSuite(clock, .timeout = 5);

struct date_case {
    int64_t wall_s;
    char text[TURBO__DATE_LEN + 1];
};

ParameterizedTestParameters(clock, date_is_an_imf_fixdate) {
    static struct date_case cases[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},    /* RFC 9110 5.6.7 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Thu, 01 Jan 1970 00:00:00 GMT"},           /* a broken clock */
        {INT64_MIN, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782399, "Mon, 28 Feb 2000 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},    /* divisible by 400: a leap year */
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {4107542399, "Sun, 28 Feb 2100 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},   /* divisible by 100: none */
        {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"}, /* no room for five digits */
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    return cr_make_param_array(struct date_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct date_case *c, clock, date_is_an_imf_fixdate) {
    char text[TURBO__DATE_LEN + 2];
    memset(text, '#', sizeof text);
    turbo__date_format(text, c->wall_s);
    cr_expect_eq(text[TURBO__DATE_LEN + 1], '#');
    cr_expect_str_eq(text, c->text);
}

Test(clock, date_agrees_with_the_c_library_on_every_day_to_2105) {
    for (int64_t day = 0; day < 49300; day++) {
        char ours[TURBO__DATE_LEN + 1], theirs[64];
        time_t second = (time_t)(day * 86400 + day % 86400);
        turbo__date_format(ours, (int64_t)second);
        strftime(theirs, sizeof theirs, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&second));
        cr_assert_str_eq(ours, theirs);
    }
}

Test(clock, real_time_does_not_go_back) {
    uint64_t before = turbo__clock_ns();
    cr_expect_gt(before, 0);
    cr_expect_geq(turbo__clock_ns(), before);
}

Test(clock, fake_time_moves_only_when_told) {
    fake_clock_set(5, 0);
    cr_expect_eq(turbo__clock_ns(), 5);
    fake_clock_advance_ms(2);
    cr_expect_eq(turbo__clock_ns(), 2000005);
    fake_clock_off();
    cr_expect_neq(turbo__clock_ns(), 2000005);
}

Test(clock, all_zero_date_shows_now_at_once) {
    turbo__date date = {0};
    fake_clock_set(0, 784111777);
    cr_expect_str_eq(turbo__date_text(&date, 0), "Sun, 06 Nov 1994 08:49:37 GMT");
}

Test(clock, date_looks_at_the_wall_clock_after_100_ms) {
    turbo__date date = {0};
    fake_clock_set(0, 784111777);
    (void)turbo__date_text(&date, 1000);
    fake_clock_set(0, 784111778);
    cr_expect_str_eq(turbo__date_text(&date, 1099), "Sun, 06 Nov 1994 08:49:37 GMT");
    cr_expect_eq(fake_clock_wall_reads(), 0);
    cr_expect_str_eq(turbo__date_text(&date, 1100), "Sun, 06 Nov 1994 08:49:38 GMT");
    cr_expect_eq(fake_clock_wall_reads(), 1);
    (void)turbo__date_text(&date, 1199);
    cr_expect_eq(fake_clock_wall_reads(), 1);
}

Test(clock, date_follows_a_wall_clock_that_is_set_back) {
    turbo__date date = {0};
    fake_clock_set(0, 784111777);
    (void)turbo__date_text(&date, 1000);
    fake_clock_set(0, 0);
    cr_expect_str_eq(turbo__date_text(&date, 2000), "Thu, 01 Jan 1970 00:00:00 GMT");
}
