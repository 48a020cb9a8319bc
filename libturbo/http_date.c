/* http_date.c - the three formats of an HTTP-date -> seconds since 1970 (RFC 9110 5.6.7). */
#include "http_date.h"

#include <string.h>

#include "turbo/error.h"

#define SECONDS_A_DAY 86400
#define SECONDS_A_YEAR 31556952 /* of 365.2425 days */
#define DATE_MAX 40             /* the longest is "Wednesday, 06-Nov-94 08:49:37 GMT" */

typedef struct civil {
    unsigned year, month, day, hour, minute, second; /* month 1 .. 12 */
} civil;

static const char days[7][10] = {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Days from 1970-01-01 (https://howardhinnant.github.io/date_algorithms.html#days_from_civil). */
static int64_t days_from_civil(unsigned year, unsigned month, unsigned day) {
    int64_t y = (int64_t)year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned year_of_era = (unsigned)(y - era * 400);
    unsigned day_of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

/* -- the pieces of a date: each takes what it knows off the text, and fails for anything else -- */

static int take(const char **at, const char *text) {
    size_t len = strlen(text);
    if (strncmp(*at, text, len) != 0)
        return 0;
    *at += len;
    return 1;
}

static int take_number(const char **at, size_t width, unsigned *out) {
    unsigned value = 0;
    for (size_t i = 0; i < width; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return 0;
        value = value * 10 + (unsigned)(c - '0');
    }
    *at += width;
    *out = value;
    return 1;
}

static int take_month(const char **at, unsigned *out) {
    for (unsigned i = 0; i < 12; i++)
        if (take(at, months[i])) {
            *out = i + 1;
            return 1;
        }
    return 0;
}

/* @return 1 for a whole name, or for its first three letters. */
static int take_day(const char **at, int whole) {
    char name[10];
    for (int i = 0; i < 7; i++) {
        memcpy(name, days[i], sizeof name);
        if (!whole)
            name[3] = '\0';
        if (take(at, name))
            return 1;
    }
    return 0;
}

static int take_time(const char **at, civil *c) {
    return take_number(at, 2, &c->hour) && take(at, ":") && take_number(at, 2, &c->minute) && take(at, ":") &&
           take_number(at, 2, &c->second);
}

static int is_end(const char **at, const char *text) { return take(at, text) && **at == '\0'; }

static int read_fixdate(const char *at, civil *c) {
    return take_day(&at, 0) && take(&at, ", ") && take_number(&at, 2, &c->day) && take(&at, " ") &&
           take_month(&at, &c->month) && take(&at, " ") && take_number(&at, 4, &c->year) && take(&at, " ") &&
           take_time(&at, c) && is_end(&at, " GMT");
}

static int read_rfc850(const char *at, civil *c) {
    return take_day(&at, 1) && take(&at, ", ") && take_number(&at, 2, &c->day) && take(&at, "-") &&
           take_month(&at, &c->month) && take(&at, "-") && take_number(&at, 2, &c->year) && take(&at, " ") &&
           take_time(&at, c) && is_end(&at, " GMT");
}

static int read_asctime(const char *at, civil *c) {
    if (!take_day(&at, 0) || !take(&at, " ") || !take_month(&at, &c->month) || !take(&at, " "))
        return 0;
    if (!(take(&at, " ") ? take_number(&at, 1, &c->day) : take_number(&at, 2, &c->day)))
        return 0;
    return take(&at, " ") && take_time(&at, c) && take(&at, " ") && take_number(&at, 4, &c->year) && is_end(&at, "");
}

/* -- all of it -- */

static int is_leap(unsigned year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int is_possible(const civil *c) {
    static const unsigned char lengths[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (c->day < 1 || c->day > lengths[c->month - 1] || (c->month == 2 && c->day == 29 && !is_leap(c->year)))
        return 0;
    return c->hour <= 23 && c->minute <= 59 && c->second <= 60;
}

/* "A timestamp that appears to be more than 50 years in the future" is the most recent past year with these digits. */
static unsigned full_year(unsigned two_digits, int64_t now_s) {
    int64_t now_year = 1970 + now_s / SECONDS_A_YEAR;
    int64_t year = now_year - now_year % 100 + two_digits;
    if (year > now_year + 50)
        year -= 100;
    else if (year <= now_year - 50)
        year += 100;
    return (unsigned)year;
}

int turbo__http_date_parse(int64_t *out, turbo_str text, int64_t now_s) {
    char copy[DATE_MAX + 1];
    civil c = {0, 0, 0, 0, 0, 0};
    if (text.len == 0 || text.len > DATE_MAX)
        return TURBO_EINVAL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    int is_850 = 0;
    if (memchr(copy, '\0', text.len) != NULL ||
        !(read_fixdate(copy, &c) || (is_850 = read_rfc850(copy, &c)) != 0 || read_asctime(copy, &c)))
        return TURBO_EINVAL;
    if (is_850)
        c.year = full_year(c.year, now_s < 0 ? 0 : now_s);
    if (!is_possible(&c))
        return TURBO_EINVAL;
    if (c.second == 60)
        c.second = 59;
    *out = days_from_civil(c.year, c.month, c.day) * SECONDS_A_DAY +
           (int64_t)(c.hour * 3600 + c.minute * 60 + c.second);
    return 0;
}
