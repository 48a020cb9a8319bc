/* test_file_body.c - a body that lies in a file: pieces, and the text between them. */
#include "file_body.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/failing_alloc.h"
#include "../support/files.h"
#include "turbo/error.h"

TestSuite(file_body, .timeout = 20);

static int open_fd(files *f, const char *name) {
    int fd = open(files_path(f, name), O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

Test(file_body, one_piece_is_read_from_its_place) {
    files f;
    char got[8] = "";
    files_open(&f);
    files_write(&f, "a", "0123456789");
    turbo__file_body *body = turbo__file_body_new(open_fd(&f, "a"), 3, 5);
    cr_assert_not_null(body);
    cr_expect_eq(body->len, 5);
    cr_expect_eq(turbo__file_body_read(body, got), 0);
    cr_expect_str_eq(got, "34567");
    cr_assert_eq(truncate(files_path(&f, "a"), 7), 0);
    cr_expect_eq(turbo__file_body_read(body, got), TURBO_ESYS, "it has become shorter");
    turbo__file_body_free(body);
    turbo__file_body_free(NULL);
    files_close(&f);
    cr_expect_not(failing_alloc_leaks());
}

static const turbo__ranges two = {2, {{0, 2}, {5, 3}}};

Test(file_body, parts_have_heads_between_them) {
    static const char expected[] = "--bound\r\nContent-Type: text/x\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
                                   "\r\n--bound\r\nContent-Type: text/x\r\nContent-Range: bytes 5-7/10\r\n\r\n567"
                                   "\r\n--bound--\r\n";
    files f;
    char got[512] = "";
    files_open(&f);
    files_write(&f, "a", "0123456789");
    turbo__file_body *body =
        turbo__file_body_multipart(open_fd(&f, "a"), &two, 10, (turbo_str){"text/x", 6}, "bound");
    cr_assert_not_null(body);
    cr_expect_eq(body->len, sizeof expected - 1);
    cr_expect_eq(turbo__file_body_read(body, got), 0);
    cr_expect_str_eq(got, expected);
    turbo__file_body_free(body);
    files_close(&f);
}

Test(file_body, the_longest_numbers_fit_and_a_type_may_be_missing) {
    turbo__ranges ranges = {TURBO__RANGES_MAX, {{0, 0}}};
    for (size_t i = 0; i < TURBO__RANGES_MAX; i++)
        ranges.list[i] = (turbo__range){UINT64_MAX - 2, 1};
    turbo__file_body *body = turbo__file_body_multipart(open("/dev/null", O_RDONLY | O_CLOEXEC), &ranges, UINT64_MAX,
                                                        (turbo_str){NULL, 0}, "b");
    cr_assert_not_null(body);
    char *last = strndup(body->pieces[15].head.data, body->pieces[15].head.len);
    cr_expect_str_eq(last, "\r\n--b\r\nContent-Range: bytes 18446744073709551613-18446744073709551613/18446744073709551615"
                           "\r\n\r\n");
    free(last);
    turbo__file_body_free(body);
}

Test(file_body, without_memory_the_descriptor_stays_the_callers) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    failing_alloc_arm(1);
    cr_expect_null(turbo__file_body_new(fd, 0, 1));
    cr_expect(failing_alloc_disarm());
    failing_alloc_arm(1);
    cr_expect_null(turbo__file_body_multipart(fd, &two, 10, (turbo_str){NULL, 0}, "b"));
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(close(fd), 0);
}
