/* test_outq.c - bytes that wait to be sent: order, blocks, references. */
#include "outq.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(outq, .timeout = 20);

#define ROOM (TURBO__OUT_BLOCK_BYTES - sizeof(turbo__outseg))

static int released[8];

static void count_release(void *arg) { released[(size_t)arg]++; }

static void *id(size_t n) { return (void *)n; } /* NOLINT: a number that travels as a pointer */

/* Everything that waits, as one text. */
static size_t gather(const turbo__outq *q, char *out) {
    struct iovec iov[64];
    int n = turbo__outq_iov(q, iov, 64);
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        cr_assert_gt(iov[i].iov_len, 0);
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    cr_expect_eq(q->bytes, len);
    out[len] = '\0';
    return len;
}

static void expect_text(const turbo__outq *q, const char *text) {
    char got[65536];
    gather(q, got);
    cr_expect_str_eq(got, text);
}

Test(outq, copies_and_references_keep_their_order) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_assert_eq(turbo__outq_copy(&q, &pool, "ab", 2), 0);
    cr_assert_eq(turbo__outq_copy(&q, &pool, "cd", 2), 0);
    cr_assert_eq(turbo__outq_ref(&q, "REF", 3, count_release, id(1)), 0);
    cr_assert_eq(turbo__outq_copy(&q, &pool, "ef", 2), 0);
    expect_text(&q, "abcdREFef");
    struct iovec iov[2];
    cr_expect_eq(turbo__outq_iov(&q, iov, 2), 2);
    cr_expect_eq(turbo__outq_iov(&q, iov, 0), 0);
    turbo__outq_clear(&q, &pool);
    cr_expect(q.head == NULL && q.tail == NULL && q.bytes == 0);
    cr_expect_eq(released[1], 1);
    turbo__outpool_free(&pool);
}

Test(outq, nothing_is_copied_from_null) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_expect_eq(turbo__outq_copy(&q, &pool, NULL, 0), 0);
    cr_expect_null(q.head);
}

Test(outq, reserve_and_commit_write_in_place) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    char *to = turbo__outq_reserve(&q, &pool, 10);
    cr_assert_not_null(to);
    memcpy(to, "abc", 3);
    turbo__outq_commit(&q, 3);
    cr_expect_eq(turbo__outq_reserve(&q, &pool, 10), to + 3);
    expect_text(&q, "abc");
    turbo__outq_clear(&q, &pool);
    turbo__outpool_free(&pool);
}

Test(outq, room_that_nothing_was_written_to_is_not_sent) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_assert_not_null(turbo__outq_reserve(&q, &pool, 10));
    expect_text(&q, "");
    cr_assert_eq(turbo__outq_ref(&q, "REF", 3, count_release, id(1)), 0);
    expect_text(&q, "REF");
    turbo__outq_sent(&q, &pool, 3);
    cr_expect(q.head == NULL && released[1] == 1);
    turbo__outpool_free(&pool);
}

Test(outq, reserve_gives_a_block_at_most) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_expect_null(turbo__outq_reserve(&q, &pool, ROOM + 1));
    cr_expect_null(q.head);
    char *to = turbo__outq_reserve(&q, &pool, ROOM);
    cr_assert_not_null(to);
    memset(to, 'x', ROOM);
    turbo__outq_commit(&q, ROOM);
    cr_expect_neq(turbo__outq_reserve(&q, &pool, 1), to + ROOM);
    cr_expect_geq(ROOM, TURBO__OUT_BLOCK_BYTES - 64, "the header promises this much");
    turbo__outq_clear(&q, &pool);
    turbo__outpool_free(&pool);
}

Test(outq, copy_goes_over_the_end_of_a_block) {
    static char bytes[3 * TURBO__OUT_BLOCK_BYTES + 10], got[sizeof bytes + 100];
    const size_t lens[] = {ROOM - 1, ROOM, ROOM + 1, 2 * ROOM - 1, 2 * ROOM, 2 * ROOM + 1, 3 * TURBO__OUT_BLOCK_BYTES};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        turbo__outpool pool = {0};
        turbo__outq q = {0};
        cr_assert_eq(turbo__outq_copy(&q, &pool, bytes, 10), 0);
        cr_assert_eq(turbo__outq_copy(&q, &pool, bytes + 10, lens[i]), 0);
        cr_assert_eq(gather(&q, got), lens[i] + 10);
        cr_expect_arr_eq(got, bytes, lens[i] + 10, "%zu", lens[i]);
        turbo__outq_clear(&q, &pool);
        turbo__outpool_free(&pool);
    }
}

Test(outq, sent_takes_off_any_number_of_bytes) {
    for (size_t step = 1; step <= 12; step++) {
        turbo__outpool pool = {0};
        turbo__outq q = {0};
        static const char text[] = "abcREFdefXYZ";
        memset(released, 0, sizeof released);
        cr_assert_eq(turbo__outq_copy(&q, &pool, "abc", 3), 0);
        cr_assert_eq(turbo__outq_ref(&q, "REF", 3, count_release, id(1)), 0);
        cr_assert_eq(turbo__outq_copy(&q, &pool, "def", 3), 0);
        cr_assert_eq(turbo__outq_ref(&q, "XYZ", 3, count_release, id(2)), 0);
        for (size_t at = 0; at < 12;) {
            size_t n = 12 - at < step ? 12 - at : step;
            turbo__outq_sent(&q, &pool, n);
            at += n;
            expect_text(&q, text + at);
            cr_expect_eq(released[1], at >= 6);
            cr_expect_eq(released[2], at >= 12);
        }
        cr_expect(q.head == NULL && q.tail == NULL);
        cr_assert_eq(turbo__outq_copy(&q, &pool, "again", 5), 0);
        expect_text(&q, "again");
        turbo__outq_clear(&q, &pool);
        turbo__outpool_free(&pool);
    }
}

Test(outq, block_that_is_partly_sent_is_filled_further) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_assert_eq(turbo__outq_copy(&q, &pool, "abc", 3), 0);
    turbo__outq_sent(&q, &pool, 2);
    cr_assert_eq(turbo__outq_copy(&q, &pool, "def", 3), 0);
    cr_expect_eq(q.head, q.tail);
    expect_text(&q, "cdef");
    turbo__outq_clear(&q, &pool);
    turbo__outpool_free(&pool);
}

Test(outq, blocks_come_back_to_the_pool_up_to_a_limit) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    char *bytes = calloc(300, ROOM);
    cr_assert_not_null(bytes);
    cr_assert_eq(turbo__outq_copy(&q, &pool, bytes, 300 * ROOM), 0);
    cr_expect_eq(pool.count, 0);
    turbo__outq_sent(&q, &pool, ROOM);
    cr_expect_eq(pool.count, 1);
    turbo__outq_clear(&q, &pool);
    cr_expect_eq(pool.count, 256);
    failing_alloc_arm(1); /* a block of the pool needs no allocation */
    cr_expect_eq(turbo__outq_copy(&q, &pool, bytes, 2 * ROOM), 0);
    cr_expect_not(failing_alloc_disarm());
    cr_expect_eq(pool.count, 254);
    turbo__outq_clear(&q, &pool);
    turbo__outpool_free(&pool);
    cr_expect(pool.count == 0 && pool.blocks == NULL);
    free(bytes);
    cr_expect_not(failing_alloc_leaks());
}

Test(outq, failed_allocations_are_reported_and_leave_the_queue_whole) {
    static char bytes[2 * TURBO__OUT_BLOCK_BYTES];
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    for (size_t nth = 1; nth < 3; nth++) {
        failing_alloc_arm(nth);
        cr_expect_eq(turbo__outq_copy(&q, &pool, bytes, sizeof bytes), TURBO_ENOMEM);
        cr_assert(failing_alloc_disarm());
        cr_expect_eq(q.bytes, (nth - 1) * ROOM);
        turbo__outq_clear(&q, &pool);
        turbo__outpool_free(&pool);
    }
    failing_alloc_arm(1);
    cr_expect_eq(turbo__outq_ref(&q, "x", 1, count_release, id(3)), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect_eq(released[3], 0);
    failing_alloc_arm(1);
    cr_expect_null(turbo__outq_reserve(&q, &pool, 1));
    cr_assert(failing_alloc_disarm());
    cr_expect(q.head == NULL && q.bytes == 0);
    cr_expect_not(failing_alloc_leaks());
}

/* -- pieces of files -- */

Test(outq, files_keep_their_place_between_bytes) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    struct iovec iov[4];
    cr_assert_eq(turbo__outq_copy(&q, &pool, "head", 4), 0);
    cr_assert_eq(turbo__outq_file(&q, 7, 100, 50, count_release, id(1)), 0);
    cr_assert_eq(turbo__outq_file(&q, 8, 0, 1, NULL, NULL), 0);
    cr_assert_eq(turbo__outq_copy(&q, &pool, "tail", 4), 0);
    cr_expect_eq(q.bytes, 8 + 2 * TURBO__OUT_FILE_BYTES, "its size does not count");
    cr_expect_eq(turbo__outq_iov(&q, iov, 4), 1, "not over a file");
    cr_expect_eq(iov[0].iov_len, 4);
    turbo__outq_sent(&q, &pool, 4);
    cr_assert_eq(turbo__outq_iov(&q, iov, 4), 0);
    turbo__outfile *file = turbo__outq_first_file(&q, &pool);
    cr_expect(file->fd == 7 && file->offset == 100 && file->seg.len == 50);
    turbo__outq_file_sent(&q, &pool, 49);
    cr_expect(file->offset == 149 && file->seg.len == 1 && released[1] == 0);
    cr_expect_eq(q.bytes, 4 + 2 * TURBO__OUT_FILE_BYTES);
    turbo__outq_file_sent(&q, &pool, 1);
    cr_expect_eq(released[1], 1);
    cr_assert_eq(turbo__outq_iov(&q, iov, 4), 0);
    cr_expect_eq(turbo__outq_first_file(&q, &pool)->fd, 8);
    turbo__outq_file_sent(&q, &pool, 1);
    cr_expect_eq(q.bytes, 4);
    expect_text(&q, "tail");
    turbo__outq_clear(&q, &pool);
    turbo__outpool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}

Test(outq, room_before_a_file_that_nothing_was_written_to_is_passed_over) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    struct iovec iov[4];
    cr_assert_not_null(turbo__outq_reserve(&q, &pool, 10));
    cr_assert_eq(turbo__outq_file(&q, 7, 0, 5, NULL, NULL), 0);
    cr_expect_eq(turbo__outq_iov(&q, iov, 4), 0);
    cr_expect_eq(turbo__outq_first_file(&q, &pool)->fd, 7);
    turbo__outq_file_sent(&q, &pool, 5);
    cr_expect(q.head == NULL && q.tail == NULL && q.bytes == 0);
    turbo__outpool_free(&pool);
}

Test(outq, files_that_are_thrown_away_are_given_back) {
    turbo__outpool pool = {0};
    turbo__outq q = {0};
    cr_assert_eq(turbo__outq_file(&q, 7, 0, UINT64_C(1) << 40, count_release, id(1)), 0);
    cr_assert_eq(turbo__outq_file(&q, 7, 0, 5, NULL, NULL), 0);
    turbo__outq_clear(&q, &pool);
    cr_expect_eq(released[1], 1);
    cr_expect_eq(q.bytes, 0);
    failing_alloc_arm(1);
    cr_expect_eq(turbo__outq_file(&q, 7, 0, 5, count_release, id(2)), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect(released[2] == 0 && q.bytes == 0 && q.head == NULL);
    turbo__outpool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}
