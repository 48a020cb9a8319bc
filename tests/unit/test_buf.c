/* test_buf.c - growth, limits and failures of the buffer. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "buf.h"
#include "turbo/error.h"

TestSuite(buf, .timeout = 5);

static char filler[4096];

static void fill(turbo__buf *buf, size_t len) {
    memset(filler, 'x', sizeof filler);
    cr_assert_eq(turbo__buf_append(buf, filler, len), 0);
}

static void expect_text(const turbo__buf *buf, const char *text) {
    cr_assert_eq(buf->len, strlen(text));
    cr_expect_arr_eq(buf->data, text, buf->len);
}

Test(buf, init_allocates_nothing) {
    turbo__buf buf;
    turbo__buf_init(&buf, 10);
    cr_expect_null(buf.data);
    cr_expect(buf.len == 0 && buf.cap == 0 && buf.max == 10);
}

Test(buf, append_keeps_order) {
    turbo__buf buf = {.max = 100};
    cr_assert_eq(turbo__buf_append(&buf, "ab", 2), 0);
    cr_assert_eq(turbo__buf_append_str(&buf, "cd"), 0);
    cr_assert_eq(turbo__buf_printf(&buf, "%d-%s", 42, "e"), 0);
    expect_text(&buf, "abcd42-e");
    turbo__buf_free(&buf);
}

Test(buf, append_of_nothing_takes_null) {
    turbo__buf buf = {.max = 0};
    cr_expect_eq(turbo__buf_append(&buf, NULL, 0), 0);
    cr_expect_null(buf.data);
}

Test(buf, append_stops_at_the_maximum) {
    turbo__buf buf = {.max = 100};
    fill(&buf, 99);
    cr_expect_eq(turbo__buf_append(&buf, "ab", 2), TURBO_ETOOBIG);
    cr_expect_eq(buf.len, 99);
    cr_expect_eq(turbo__buf_append(&buf, "a", 1), 0);
    cr_expect_eq(turbo__buf_append(&buf, "a", 1), TURBO_ETOOBIG);
    cr_expect_eq(buf.len, 100);
    turbo__buf_free(&buf);
}

Test(buf, capacity_doubles_and_never_passes_the_maximum) {
    turbo__buf buf = {.max = 1000};
    fill(&buf, 1);
    size_t first = buf.cap;
    fill(&buf, first);
    cr_expect_eq(buf.cap, 2 * first);
    fill(&buf, 999 - buf.len);
    cr_expect_leq(buf.cap, 1000);
    turbo__buf_free(&buf);
}

Test(buf, reserve_near_size_max_does_not_overflow) {
    turbo__buf buf = {.max = 100};
    fill(&buf, 10);
    cr_expect_eq(turbo__buf_reserve(&buf, SIZE_MAX), TURBO_ETOOBIG);
    cr_expect_eq(turbo__buf_reserve(&buf, SIZE_MAX - 9), TURBO_ETOOBIG);
    cr_expect_eq(buf.len, 10);
    turbo__buf_free(&buf);
}

Test(buf, reserve_makes_room_without_using_it) {
    turbo__buf buf = {.max = 100};
    cr_assert_eq(turbo__buf_reserve(&buf, 100), 0);
    cr_expect_eq(buf.len, 0);
    cr_expect_eq(buf.cap, 100);
    turbo__buf_free(&buf);
}

static void print_filler(size_t len, size_t max, int expected) {
    turbo__buf buf = {.max = max};
    memset(filler, 'x', sizeof filler);
    cr_expect_eq(turbo__buf_printf(&buf, "%.*s", (int)len, filler), expected, "%zu bytes into %zu", len, max);
    cr_assert_eq(buf.len, expected == 0 ? len : 0);
    cr_expect(buf.len == 0 || memcmp(buf.data, filler, len) == 0);
    turbo__buf_free(&buf);
}

Test(buf, printf_fills_to_the_last_byte) {
    const size_t lens[] = {1, 63, 64, 65, 511, 512, 513, 2000}; /* 512: where the text no longer fits the stack */
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        print_filler(lens[i], lens[i] + 1, 0);
        print_filler(lens[i], lens[i], 0);
        print_filler(lens[i], lens[i] - 1, TURBO_ETOOBIG);
    }
}

Test(buf, clear_keeps_the_memory_and_free_gives_it_back) {
    turbo__buf buf = {.max = 100};
    fill(&buf, 50);
    size_t cap = buf.cap;
    turbo__buf_clear(&buf);
    cr_expect(buf.len == 0 && buf.cap == cap && buf.data != NULL);
    turbo__buf_free(&buf);
    cr_expect(buf.len == 0 && buf.cap == 0 && buf.data == NULL && buf.max == 100);
    fill(&buf, 100); /* usable again */
    turbo__buf_free(&buf);
}

Test(buf, failed_allocations_change_nothing) {
    for (size_t nth = 1;; nth++) {
        turbo__buf buf = {.max = 4096};
        fill(&buf, 64);
        failing_alloc_arm(nth);
        int rc = turbo__buf_printf(&buf, "%.*s", 1000, filler);
        if (!failing_alloc_disarm()) {
            cr_expect_eq(rc, 0);
            cr_expect_eq(nth, 3); /* text and growth failed before */
            turbo__buf_free(&buf);
            break;
        }
        cr_expect_eq(rc, TURBO_ENOMEM);
        cr_expect(buf.len == 64 && memcmp(buf.data, filler, 64) == 0);
        turbo__buf_free(&buf);
    }
    cr_expect_not(failing_alloc_leaks());
}
