/* test_http1_chunked.c - the chunked coding, taken off (RFC 9112 7.1). */
#include "http1_chunked.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(http1_chunked, .timeout = 30);

typedef struct decoded {
    char data[4096];
    size_t len;
    size_t used; /* of the bytes */
    int rc;      /* of the last call */
    char lines[64]; /* ended ones: a digit for a size, 't' for a trailer; ended by NUL */
    size_t line_count;
} decoded;

/* Feeds pieces of at most `step` bytes, each from a guarded copy. */
static decoded decode(const char *bytes, size_t len, size_t step, size_t max) {
    decoded out = {.rc = TURBO__CHUNKED_MORE};
    turbo__chunked chunked;
    turbo__chunked_begin(&chunked, max);
    while (out.used < len && out.rc >= TURBO__CHUNKED_MORE && out.rc != TURBO__CHUNKED_END) {
        const char *data;
        size_t used, data_len, n = len - out.used < step ? len - out.used : step;
        guard copy = guard_copy(bytes + out.used, n);
        out.rc = turbo__chunked_next(&chunked, copy.data, n, &used, &data, &data_len);
        cr_assert(used > 0 && used <= n);
        if (out.rc == TURBO__CHUNKED_DATA) {
            cr_assert(data_len > 0 && data >= copy.data && data + data_len == copy.data + used);
            memcpy(out.data + out.len, data, data_len);
            out.len += data_len;
        }
        if (out.rc == TURBO__CHUNKED_MORE)
            cr_assert_eq(used, n);
        if (out.rc == TURBO__CHUNKED_SIZE || out.rc == TURBO__CHUNKED_TRAILER) {
            cr_assert(used > 0 && copy.data[used - 1] == '\n');
            cr_assert_eq(turbo__chunked_in_trailers(&chunked), out.rc == TURBO__CHUNKED_TRAILER || chunked.left == 0);
            out.lines[out.line_count++] = out.rc == TURBO__CHUNKED_SIZE ? (char)('0' + chunked.left) : 't';
        }
        out.used += used;
        guard_free(&copy);
    }
    return out;
}

typedef struct chunked_case {
    const char *bytes;
    const char *data; /* NULL: malformed */
} chunked_case;

static const chunked_case good[] = {
    {"0\r\n\r\n", ""},
    {"000\r\n\r\n", ""},
    {"5\r\nhello\r\n0\r\n\r\n", "hello"},
    {"00000000000005\r\nhello\r\n0\r\n\r\n", "hello"},
    {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
    {"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"},
    {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n"},
    {"5;name=value\r\nhello\r\n0\r\n\r\n", "hello"},
    {"5;a;b=\"q;,\\\"\"\r\nhello\r\n0;last\r\n\r\n", "hello"},
    {"5;a=\"\\\\\";b=\"\"\r\nhello\r\n0\r\n\r\n", "hello"},
    {"5 ;a\r\nhello\r\n0\t;a\r\n\r\n", "hello"},
    {"5 \t ; a = b\r\nhello\r\n0\r\n\r\n", "hello"},
    {"1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", "a"},
    {"1\r\na\r\n0\r\nX: \x80\xff\t\r\n\r\n", "a"},
};

static const chunked_case bad[] = {
    {"\r\n", NULL},
    {" 5\r\nhello\r\n", NULL},
    {"5\nhello\r\n", NULL},
    {"5\r\rhello", NULL},
    {"5\rhello", NULL},
    {"g\r\n", NULL},
    {"-5\r\n", NULL},
    {"+5\r\n", NULL},
    {"0x5\r\n", NULL},
    {"5 \r\nhello\r\n", NULL},
    {"5 5\r\nhello\r\n", NULL},
    {"5,\r\nhello\r\n", NULL},
    {";a\r\n", NULL},
    {"5;a\nhello\r\n", NULL},
    {"5;a\rb\r\nhello\r\n", NULL},
    {"5;a\x01\r\nhello\r\n", NULL},
    {"5;a\x7f\r\nhello\r\n", NULL},
    {"5;a=\"b\r\nhello\r\n", NULL},
    {"5;a=\"b\\\"\r\nhello\r\n", NULL},
    {"5;a=\"b\\\r\n\"\r\nhello\r\n", NULL},
    {"5;a=\"\r\n\"\r\nhello\r\n", NULL},
    {"5\r\nhelloX", NULL},
    {"5\r\nhello\n", NULL},
    {"5\r\nhello\rX", NULL},
    {"5\r\nhello\r\n\r\n", NULL},
    {"3\r\nhello\r\n0\r\n\r\n", NULL},
    {"0\r\nX\r\n\r\n", NULL},
    {"0\r\n: v\r\n\r\n", NULL},
    {"0\r\nX : v\r\n\r\n", NULL},
    {"0\r\n X: v\r\n\r\n", NULL},
    {"0\r\nX: v\r\n folded\r\n\r\n", NULL},
    {"0\r\nX: v\n\r\n", NULL},
    {"0\r\nX: v\rw\r\n\r\n", NULL},
    {"0\r\nX: \x01\r\n\r\n", NULL},
    {"0\r\n\n", NULL},
    {"0\r\n\rX", NULL},
    {"0\n\n", NULL},
};

Test(http1_chunked, data_is_the_same_however_the_bytes_are_cut) {
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t len = strlen(good[i].bytes);
        for (size_t step = 1; step <= len; step++) {
            decoded out = decode(good[i].bytes, len, step, 1000);
            cr_expect_eq(out.rc, TURBO__CHUNKED_END, "case %zu, step %zu", i, step);
            cr_expect_eq(out.used, len, "case %zu, step %zu", i, step);
            cr_expect(out.len == strlen(good[i].data) && memcmp(out.data, good[i].data, out.len) == 0, "case %zu", i);
        }
    }
}

Test(http1_chunked, body_is_not_over_before_its_last_byte) {
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (size_t len = 1; len < strlen(good[i].bytes); len++) {
            int rc = decode(good[i].bytes, len, len, 1000).rc;
            cr_expect(rc >= TURBO__CHUNKED_MORE && rc != TURBO__CHUNKED_END, "case %zu at %zu: %d", i, len, rc);
        }
}

Test(http1_chunked, malformed_coding_is_refused_however_the_bytes_are_cut) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t step = 1; step <= strlen(bad[i].bytes); step++)
            cr_expect_eq(decode(bad[i].bytes, strlen(bad[i].bytes), step, 1000).rc, TURBO__CHUNKED_BAD,
                         "case %zu, step %zu", i, step);
}

Test(http1_chunked, what_follows_the_end_is_not_used) {
    static const char bytes[] = "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    decoded out = decode(bytes, sizeof bytes - 1, sizeof bytes, 1000);
    cr_expect_eq(out.rc, TURBO__CHUNKED_END);
    cr_expect_str_eq(bytes + out.used, "GET / HTTP/1.1\r\n");
}

Test(http1_chunked, size_has_at_most_15_digits) {
    for (int digits = 1; digits <= 40; digits++) {
        char bytes[64];
        turbo__chunked chunked;
        const char *data;
        size_t used, data_len;
        int n = snprintf(bytes, sizeof bytes, "%0*d\r\n", digits, 0);
        memset(bytes, 'f', (size_t)digits);
        turbo__chunked_begin(&chunked, 1000);
        int rc = turbo__chunked_next(&chunked, bytes, (size_t)n, &used, &data, &data_len);
        cr_expect_eq(rc, digits <= 15 ? TURBO__CHUNKED_SIZE : TURBO__CHUNKED_BAD, "%d digits", digits);
        if (digits <= 15)
            cr_expect_eq(chunked.left, ((uint64_t)1 << (4 * digits)) - 1);
    }
}

Test(http1_chunked, stops_behind_each_size_line_and_each_trailer_line) {
    static const char bytes[] = "3;e=f\r\nabc\r\n1\r\n\n\r\n0\r\nA: b\r\nC:\r\n\r\n";
    for (size_t step = 1; step < sizeof bytes; step++)
        cr_expect_str_eq(decode(bytes, sizeof bytes - 1, step, 1000).lines, "310tt", "step %zu", step);
}

/* An extension of n bytes, ';' included, or a trailer line of n bytes, CRLF included. */
static int with_extension(size_t n, size_t max) {
    char bytes[300] = "1";
    memset(bytes + 1, 'x', n);
    bytes[1] = ';';
    memcpy(bytes + 1 + n, "\r\na\r\n0\r\n\r\n", 10);
    return decode(bytes, n + 11, 300, max).rc;
}

static int with_trailer(size_t n, size_t max) {
    char bytes[300] = "0\r\n";
    memset(bytes + 3, 'x', n);
    bytes[4] = ':';
    memcpy(bytes + 3 + n - 2, "\r\n\r\n", 4);
    return decode(bytes, n + 5, 300, max).rc;
}

/* The bytes that count may differ by the line ends; what matters is that there is a limit, and where it is. */
static size_t largest_allowed(int (*try)(size_t, size_t), size_t max) {
    size_t n = 4;
    while (try(n, max) == TURBO__CHUNKED_END)
        n++;
    for (size_t more = n; more < n + 20; more++)
        cr_expect_eq(try(more, max), TURBO__CHUNKED_TOO_LARGE);
    return n - 1;
}

Test(http1_chunked, extensions_and_trailers_have_a_limit) {
    for (size_t max = 40; max < 43; max++) {
        size_t extension = largest_allowed(with_extension, max), trailer = largest_allowed(with_trailer, max);
        cr_expect(extension >= max - 6 && extension <= max, "%zu of %zu", extension, max);
        cr_expect(trailer >= max - 6 && trailer <= max, "%zu of %zu", trailer, max);
    }
    cr_expect_eq(largest_allowed(with_extension, 51), largest_allowed(with_extension, 50) + 1);
    cr_expect_eq(largest_allowed(with_trailer, 51), largest_allowed(with_trailer, 50) + 1);
}

Test(http1_chunked, limit_counts_all_chunks_of_a_message) {
    char bytes[200] = "";
    for (int i = 0; i < 10; i++)
        strcat(bytes, "1;xx\r\na\r\n");
    strcat(bytes, "0\r\n\r\n");
    cr_expect_eq(decode(bytes, strlen(bytes), 7, 10).rc, TURBO__CHUNKED_TOO_LARGE);
    cr_expect_eq(decode(bytes, strlen(bytes), 7, 60).rc, TURBO__CHUNKED_END);
}

Test(http1_chunked, data_does_not_count_towards_the_limit) {
    char bytes[1100];
    size_t len = (size_t)snprintf(bytes, sizeof bytes, "3e8\r\n%01000d\r\n0\r\n\r\n", 0);
    decoded out = decode(bytes, len, 100, 4);
    cr_expect_eq(out.rc, TURBO__CHUNKED_END);
    cr_expect_eq(out.len, 1000);
}
