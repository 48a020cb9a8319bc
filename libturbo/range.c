/* range.c - the Range field -> the pieces of a representation that it asks for (RFC 9110 14). */
#include "range.h"

#include "chars.h"
#include "fields.h"

#define GAP_MAX 80 /* a part's head is about as long (RFC 9110 15.3.7.2) */

/* One range-spec as it stands there. */
typedef struct spec {
    uint64_t first, last; /* numbers that are too large are UINT64_MAX                  */
    int has_first;        /* 0: the last `last` bytes                                   */
    int has_last;         /* 0: to the end                                              */
} spec;

static int is_digit(char c) { return c >= '0' && c <= '9'; }

/* @return how many digits there are. */
static size_t read_number(const char *at, const char *end, uint64_t *out) {
    uint64_t value = 0;
    size_t n = 0;
    for (; at + n < end && is_digit(at[n]); n++) {
        unsigned digit = (unsigned)(at[n] - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *out = value;
    return n;
}

/* @return 0 for what is no int-range or suffix-range (RFC 9110 14.1.1). */
static int read_spec(const char *at, const char *end, spec *out) {
    size_t n = read_number(at, end, &out->first);
    out->has_first = n > 0;
    at += n;
    if (at == end || *at++ != '-')
        return 0;
    n = read_number(at, end, &out->last);
    out->has_last = n > 0;
    if (at + n != end || !(out->has_first || out->has_last))
        return 0;
    return !(out->has_first && out->has_last && out->last < out->first);
}

/* @return 0 when it cannot be satisfied. */
static int resolve(const spec *from, uint64_t size, turbo__range *out) {
    if (!from->has_first) {
        out->len = from->last < size ? from->last : size;
        out->first = size - out->len;
        return from->last > 0;
    }
    if (from->first >= size)
        return 0;
    uint64_t last = from->has_last && from->last < size ? from->last : size - 1;
    out->first = from->first;
    out->len = last - from->first + 1;
    return 1;
}

/* Whether so little lies between two ranges that one is cheaper. Both lie within a size, so sums cannot overflow. */
static int are_close(const turbo__range *a, const turbo__range *b) {
    const turbo__range *low = a->first <= b->first ? a : b, *high = low == a ? b : a;
    uint64_t stop = low->first + low->len;
    return high->first <= stop || high->first - stop <= GAP_MAX;
}

static void join(turbo__range *into, const turbo__range *other) {
    uint64_t stop = into->first + into->len, other_stop = other->first + other->len;
    if (other->first < into->first)
        into->first = other->first;
    into->len = (stop > other_stop ? stop : other_stop) - into->first;
}

static void drop(turbo__ranges *ranges, size_t index) {
    for (size_t i = index + 1; i < ranges->count; i++)
        ranges->list[i - 1] = ranges->list[i];
    ranges->count--;
}

/* @return 0 when no two of them are close. */
static int join_two(turbo__ranges *ranges) {
    for (size_t i = 0; i < ranges->count; i++)
        for (size_t k = i + 1; k < ranges->count; k++)
            if (are_close(&ranges->list[i], &ranges->list[k])) {
                join(&ranges->list[i], &ranges->list[k]);
                drop(ranges, k);
                return 1;
            }
    return 0;
}

/* @return how many bytes the value's unit and '=' take; 0 when they are not "bytes=". */
static size_t unit_len(turbo_str value) {
    static const char unit[] = "bytes=";
    size_t len = sizeof unit - 1;
    return value.len >= len && turbo__ascii_equal(value.data, len, unit, len) ? len : 0;
}

/* The next member of a list, without the blanks around it; it may be empty (RFC 9110 5.6.1.2). */
static turbo_str next_member(const char **at, const char *end) {
    const char *from = *at, *stop = from;
    while (stop < end && *stop != ',')
        stop++;
    *at = stop < end ? stop + 1 : end;
    while (from < stop && turbo__is_blank(*from))
        from++;
    while (stop > from && turbo__is_blank(stop[-1]))
        stop--;
    return (turbo_str){from, (size_t)(stop - from)};
}

int turbo__ranges_parse(turbo__ranges *out, turbo_str value, uint64_t size) {
    size_t skip = unit_len(value), specs = 0;
    const char *at = value.data + skip, *end = value.data + value.len;
    out->count = 0;
    if (skip == 0)
        return TURBO__RANGE_IGNORED;
    while (at < end) {
        turbo_str member = next_member(&at, end);
        turbo__range range;
        spec read;
        if (member.len == 0)
            continue;
        if (!read_spec(member.data, member.data + member.len, &read) || ++specs > TURBO__RANGES_MAX)
            return TURBO__RANGE_IGNORED;
        if (!resolve(&read, size, &range))
            continue;
        if (range.len == 0) /* a suffix of nothing: Content-Range has no word for it */
            return TURBO__RANGE_IGNORED;
        out->list[out->count++] = range;
    }
    while (join_two(out)) { /* a range that grew may have come close to another */
    }
    if (out->count > 0)
        return TURBO__RANGE_PARTIAL;
    return specs > 0 ? TURBO__RANGE_UNSATISFIABLE : TURBO__RANGE_IGNORED;
}
