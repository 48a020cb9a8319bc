/* clock.c - monotonic time, and the Date text kept from turn to turn. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#endif
#include "clock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define DATE_CHECK_MS 100
#define SECONDS_A_DAY 86400
#define LAST_SECOND_OF_9999 253402300799

typedef uint64_t (*monotonic_fn)(void);
typedef int64_t (*wall_fn)(void);

/* Set only by tests, while no other thread runs: relaxed loads suffice. */
static _Atomic(monotonic_fn) fake_monotonic;
static _Atomic(wall_fn) fake_wall;

int64_t turbo__clock_wall_s(void) {
    wall_fn fake = atomic_load_explicit(&fake_wall, memory_order_relaxed);
    return fake != NULL ? fake() : (int64_t)time(NULL);
}

uint64_t turbo__clock_ns(void) {
    struct timespec now;
    monotonic_fn fake = atomic_load_explicit(&fake_monotonic, memory_order_relaxed);
    if (fake != NULL)
        return fake();
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock and a valid pointer */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void turbo__clock_set_fake(uint64_t (*monotonic_ns)(void), int64_t (*wall_s)(void)) {
    atomic_store_explicit(&fake_monotonic, monotonic_ns, memory_order_relaxed);
    atomic_store_explicit(&fake_wall, wall_s, memory_order_relaxed);
}

const char *turbo__date_text(turbo__date *date, uint64_t now_ms) {
    int fresh = date->text[0] != '\0';
    /* A clock that goes back wraps around here, and is looked at again. */
    if (fresh && now_ms - date->checked_ms < DATE_CHECK_MS)
        return date->text;
    int64_t wall_s = turbo__clock_wall_s();
    if (!fresh || wall_s != date->wall_s)
        turbo__date_format(date->text, wall_s);
    date->wall_s = wall_s;
    date->checked_ms = now_ms;
    return date->text;
}

typedef struct civil_date {
    unsigned year, month, day; /* month 0 .. 11, day 1 .. 31 */
} civil_date;

/* Gregorian date of a day counted from 1970-01-01, in years that begin in March, so that the leap day is the last
 * (https://howardhinnant.github.io/date_algorithms.html#civil_from_days). gmtime_r() would read time-zone data. */
static civil_date civil_from_days(unsigned days) {
    unsigned shifted = days + 719468; /* from 0000-03-01 */
    unsigned era = shifted / 146097;
    unsigned day_of_era = shifted % 146097;
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0 is March */
    civil_date date;
    date.day = day_of_year - (153 * month + 2) / 5 + 1;
    date.month = (month + 2) % 12;
    date.year = era * 400 + year_of_era + (date.month < 2);
    return date;
}

static void put_digits(char *out, unsigned value, size_t width) {
    while (width-- > 0) {
        out[width] = (char)('0' + value % 10);
        value /= 10;
    }
}

void turbo__date_format(char out[TURBO__DATE_LEN + 1], int64_t wall_s) {
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    /* The format has four digits for the year, and a broken clock must not write past the text. */
    if (wall_s < 0)
        wall_s = 0;
    if (wall_s > LAST_SECOND_OF_9999)
        wall_s = LAST_SECOND_OF_9999;
    unsigned day = (unsigned)(wall_s / SECONDS_A_DAY), second = (unsigned)(wall_s % SECONDS_A_DAY);
    civil_date date = civil_from_days(day);
    memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", TURBO__DATE_LEN + 1);
    memcpy(out, days[(day + 4) % 7], 3); /* 1970 began on a Thursday */
    put_digits(out + 5, date.day, 2);
    memcpy(out + 8, months[date.month], 3);
    put_digits(out + 12, date.year, 4);
    put_digits(out + 17, second / 3600, 2);
    put_digits(out + 20, second / 60 % 60, 2);
    put_digits(out + 23, second % 60, 2);
}
