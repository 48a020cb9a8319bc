/* fuzz_conditional.c - dates, ranges and preconditions against slow references written from RFC 9110.
 *
 * Input: a letter for what is tried, then its bytes. 'd': a date. 'r': a byte for the size, a Range value. Anything else: a byte
 * for the validators, then lines "NAME:VALUE", NAME one letter of m, n, s, u, r (If-Match, ... If-Range). */
#include "conditional.h"
#include "clock.h"
#include "fuzz.h"
#include "http_date.h"
#include "range.h"

#define NOW 1790000000
#define LINES_MAX 8

/* ---- dates ---- */

static void try_date(const char *data, size_t len) {
    int64_t second = -7;
    char text[TURBO__DATE_LEN + 1];
    if (turbo__http_date_parse(&second, (turbo_str){data, len}, NOW) < 0) {
        MUST(second == -7, "a refused date wrote");
        return;
    }
    MUST(second >= -62167219200 && second <= 253402300799, "out of the years 0 to 9999");
    if (second < 0)
        return;
    turbo__date_format(text, second);
    /* Of the fixed format everything but the day's name, and a leap second, comes back. */
    if (len == TURBO__DATE_LEN && data[3] == ',' && memcmp(data + 23, "60", 2) != 0)
        MUST(memcmp(data + 3, text + 3, TURBO__DATE_LEN - 3) == 0, "%.*s is %s", (int)len, data, text);
    int64_t again;
    MUST(turbo__http_date_parse(&again, (turbo_str){text, TURBO__DATE_LEN}, NOW) == 0 && again == second, "%s", text);
}

/* ---- ranges ---- */

/* A decimal number of any length; beyond 64 bits all are the same. @return 0: none there. */
static int slow_number(const char **at, const char *end, __uint128_t *out) {
    const char *from = *at;
    *out = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        if (*out < (__uint128_t)1 << 100)
            *out = *out * 10 + (__uint128_t)(**at - '0');
    }
    if (*out > UINT64_MAX)
        *out = UINT64_MAX;
    return *at > from;
}

typedef struct wish {
    __uint128_t first, last;
    int possible;
} wish;

/* @return 0 for what is malformed. */
static int slow_spec(const char *at, const char *end, __uint128_t size, wish *out) {
    __uint128_t a, b;
    int has_a = slow_number(&at, end, &a);
    if (at == end || *at++ != '-')
        return 0;
    int has_b = slow_number(&at, end, &b);
    if (at != end || (!has_a && !has_b) || (has_a && has_b && b < a))
        return 0;
    if (has_a) {
        *out = (wish){a, has_b && b < size ? b : size - 1, a < size};
    } else {
        *out = (wish){b < size ? size - b : 0, size - 1, b > 0};
    }
    return 1;
}

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static void check_wishes(const turbo__ranges *got, const wish *wishes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int covered = !wishes[i].possible;
        for (size_t k = 0; k < got->count; k++)
            covered |= got->list[k].first <= wishes[i].first && got->list[k].first + got->list[k].len > wishes[i].last;
        MUST(covered, "range %zu is not sent", i);
    }
    for (size_t k = 0; k < got->count; k++) {
        int begins = 0, ends = 0;
        for (size_t i = 0; i < count; i++) {
            begins |= wishes[i].possible && wishes[i].first == got->list[k].first;
            ends |= wishes[i].possible && wishes[i].last == got->list[k].first + got->list[k].len - 1;
        }
        MUST(begins && ends, "part %zu begins or ends where nobody asked", k);
    }
}

static void check_ranges(const turbo__ranges *got, uint64_t size) {
    uint64_t total = 0;
    MUST(got->count >= 1 && got->count <= TURBO__RANGES_MAX, "%zu", got->count);
    for (size_t i = 0; i < got->count; i++) {
        const turbo__range *a = &got->list[i];
        MUST(a->len > 0 && a->first < size && a->len <= size - a->first, "part %zu is not inside", i);
        total += a->len;
        for (size_t k = 0; k < i; k++) {
            const turbo__range *b = &got->list[k];
            MUST(a->first > b->first + b->len || b->first > a->first + a->len, "parts %zu and %zu overlap", i, k);
        }
    }
    MUST(total <= size, "more than the whole");
}

static void try_ranges(const char *data, size_t len, uint64_t size) {
    turbo__ranges got;
    wish wishes[TURBO__RANGES_MAX];
    size_t count = 0, possible = 0;
    int malformed = len < 6, rc = turbo__ranges_parse(&got, (turbo_str){data, len}, size);
    for (size_t i = 0; !malformed && i < 6; i++)
        malformed = (data[i] | (i < 5 ? 0x20 : 0)) != "bytes="[i];
    for (const char *at = data + 6, *end = data + len; !malformed && at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma == NULL ? end : comma, *from = at;
        at = comma == NULL ? end : comma + 1;
        while (from < stop && is_blank(*from))
            from++;
        while (stop > from && is_blank(stop[-1]))
            stop--;
        if (from == stop)
            continue;
        if (count == TURBO__RANGES_MAX || !slow_spec(from, stop, size, &wishes[count])) {
            malformed = 1;
            break;
        }
        possible += wishes[count++].possible != 0;
    }
    if (malformed || count == 0) {
        MUST(rc == TURBO__RANGE_IGNORED, "%d for what is malformed", rc);
    } else if (possible == 0) {
        MUST(rc == TURBO__RANGE_UNSATISFIABLE, "%d", rc);
    } else if (size == 0) {
        MUST(rc == TURBO__RANGE_IGNORED, "%d of nothing", rc);
    } else {
        MUST(rc == TURBO__RANGE_PARTIAL, "%d", rc);
        check_ranges(&got, size);
        check_wishes(&got, wishes, count);
    }
}

/* ---- preconditions ---- */

static const char *name_of(char letter) {
    switch (letter) {
    case 'm':
        return "If-Match";
    case 'n':
        return "If-None-Match";
    case 's':
        return "If-Modified-Since";
    case 'u':
        return "If-Unmodified-Since";
    case 'r':
        return "If-Range";
    default:
        return "X-Other";
    }
}

typedef struct line {
    char name;
    turbo_str value;
} line;

typedef struct message {
    line lines[LINES_MAX];
    size_t count;
} message;

static size_t count_of(const message *m, char name, turbo_str *first) {
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->lines[i].name == name && n++ == 0)
            *first = m->lines[i].value;
    return n;
}

/* Whether a list has the tag, by a small machine over its bytes: between tags, in one, behind one. */
static int slow_list(turbo_str list, turbo_str etag, int strong) {
    size_t i = 0;
    while (i < list.len) {
        char c = list.data[i];
        if (c == ' ' || c == '\t' || c == ',') {
            i++;
            continue;
        }
        int weak = i + 1 < list.len && c == 'W' && list.data[i + 1] == '/';
        size_t open = i + (weak ? 2 : 0), close = open + 1;
        if (open >= list.len || list.data[open] != '"')
            return 0;
        while (close < list.len && list.data[close] != '"') {
            unsigned char byte = (unsigned char)list.data[close++];
            if (byte <= 0x20 || byte == 0x7f)
                return 0;
        }
        if (close >= list.len)
            return 0;
        i = close + 1;
        if (i < list.len && memchr(" \t,", list.data[i], 3) == NULL)
            return 0;
        int tag_weak = etag.data[0] == 'W';
        turbo_str opaque = tag_weak ? (turbo_str){etag.data + 2, etag.len - 2} : etag;
        if (!(strong && (weak || tag_weak)) && close + 1 - open == opaque.len &&
            memcmp(list.data + open, opaque.data, opaque.len) == 0)
            return 1;
    }
    return 0;
}

/* -1: absent. */
static int slow_match(const message *m, char name, turbo_str etag, int strong) {
    turbo_str first;
    size_t n = count_of(m, name, &first);
    if (n == 0)
        return -1;
    if (n == 1 && first.len == 1 && *first.data == '*')
        return 1;
    for (size_t i = 0; i < m->count; i++)
        if (m->lines[i].name == name && etag.data != NULL && slow_list(m->lines[i].value, etag, strong))
            return 1;
    return 0;
}

static int slow_date(const message *m, char name, const turbo__validators *v, int64_t *out) {
    turbo_str first;
    return v->has_modified && count_of(m, name, &first) == 1 && turbo__http_date_parse(out, first, v->now) == 0;
}

static int slow_status(const message *m, int reads, const turbo__validators *v) {
    int64_t date;
    int match = slow_match(m, 'm', v->etag, 1), none = slow_match(m, 'n', v->etag, 0);
    if (match == 0 || (match < 0 && slow_date(m, 'u', v, &date) && v->modified > date))
        return 412;
    if (none == 1)
        return reads ? 304 : 412;
    if (none < 0 && reads && slow_date(m, 's', v, &date) && v->modified <= date)
        return 304;
    return 0;
}

static void read_lines(input *in, message *out) {
    out->count = 0;
    while (in->left > 0 && out->count < LINES_MAX) {
        line *to = &out->lines[out->count++];
        to->name = (char)take_byte(in);
        const char *from = (const char *)in->at, *stop = in->left == 0 ? NULL : memchr(from, '\n', in->left);
        size_t len = stop == NULL ? in->left : (size_t)(stop - from);
        to->value = (turbo_str){from, len};
        in->at += len;
        in->left -= len;
        (void)take_byte(in);
    }
}

static void try_conditions(input *in) {
    static const char *const tags[] = {NULL, "\"a\"", "W/\"a\"", "\"\""};
    uint8_t how = take_byte(in);
    const char *tag = tags[how & 3];
    turbo__validators v = {{tag, tag == NULL ? 0 : strlen(tag)}, 784111777, how >> 2 & 1, how >> 3 & 1, NOW};
    const char *base = (const char *)in->at;
    char names[LINES_MAX * 24], *all;
    size_t len = in->left, at = 0;
    message m;
    turbo__field fields[LINES_MAX];
    read_lines(in, &m);
    for (size_t i = 0; i < m.count; i++) {
        const char *name = name_of(m.lines[i].name);
        fields[i].name = (turbo__span){(uint32_t)(len + at), (uint32_t)strlen(name)};
        fields[i].value = (turbo__span){(uint32_t)(m.lines[i].value.data - base), (uint32_t)m.lines[i].value.len};
        memcpy(names + at, name, strlen(name));
        at += strlen(name);
    }
    all = calloc(1, len + at + 1);
    MUST(all != NULL, "out of memory");
    if (len > 0)
        memcpy(all, base, len);
    memcpy(all + len, names, at);
    turbo__condition_fields view = {all, fields, m.count};
    for (int reads = 0; reads < 2; reads++)
        MUST(turbo__conditional(&view, reads, &v) == slow_status(&m, reads, &v), "reads %d", reads);
    turbo_str range = {NULL, 0};
    size_t ranges = count_of(&m, 'r', &range);
    int wanted = turbo__conditional_range(&view, &v);
    MUST(ranges != 0 || wanted, "no If-Range");
    MUST(ranges < 2 || !wanted, "two of them");
    if (ranges == 1 && wanted && range.len > 0 && *range.data == '"')
        MUST(tag != NULL && range.len == strlen(tag) && memcmp(range.data, tag, range.len) == 0, "another tag");
    if (ranges == 1 && wanted && range.len > 0 && *range.data != '"')
        MUST(v.has_modified && v.modified_is_strong, "a date that is not strong");
    free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t sizes[] = {0, 1, 10, 1000, 1000000, UINT64_C(1) << 63, UINT64_MAX};
    input in = {data, size};
    uint8_t what = take_byte(&in);
    uint64_t of = what == 'r' ? sizes[take_byte(&in) % 7] : 0;
    if (what == 'd' || what == 'r') {
        char *copy = copy_of(in.at, in.left);
        if (what == 'd')
            try_date(copy, in.left);
        else
            try_ranges(copy, in.left, of);
        free(copy);
    } else {
        try_conditions(&in);
    }
    return 0;
}
