/* test_http1_write.c - heads and chunk heads as bytes (RFC 9112 4, 6, 7.1). */
#include "http1_write.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(http1_write, .timeout = 5);

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

/* Writes into a buffer of exactly the promised size. */
static void expect_head(turbo__h1_answer answer, const char *expected) {
    static const char junk[4096];
    size_t bound = turbo__h1_head_bound(&answer);
    cr_assert_leq(bound, sizeof junk);
    guard room = guard_copy(junk, bound);
    size_t n = turbo__h1_write_head(room.data, &answer);
    cr_assert_leq(n, bound);
    cr_expect(n == strlen(expected) && memcmp(room.data, expected, n) == 0, "\n%.*s", (int)n, room.data);
    guard_free(&room);
}

Test(http1_write, head_has_date_type_fields_and_length_in_this_order) {
    turbo__h1_answer answer = {.status = 200, .frame = TURBO__FRAME_LENGTH, .version = 11, .keep_alive = 1,
                               .length = 11,
                               .date = DATE, .content_type = {"text/plain", 10}, .fields = {"A: 1\r\nB: 2\r\n", 12}};
    expect_head(answer, "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Type: text/plain\r\nA: 1\r\nB: 2\r\n"
                        "Content-Length: 11\r\n\r\n");
}

Test(http1_write, date_and_type_are_left_out_when_absent) {
    turbo__h1_answer answer = {.status = 404, .frame = TURBO__FRAME_LENGTH, .version = 11, .keep_alive = 1};
    expect_head(answer, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    answer.content_type = (turbo_str){"", 0};
    expect_head(answer, "HTTP/1.1 404 Not Found\r\nContent-Type: \r\nContent-Length: 0\r\n\r\n");
}

Test(http1_write, each_frame_has_its_line) {
    turbo__h1_answer answer = {.status = 200, .version = 11, .keep_alive = 1, .length = 5};
    answer.frame = TURBO__FRAME_NONE;
    expect_head(answer, "HTTP/1.1 200 OK\r\n\r\n");
    answer.frame = TURBO__FRAME_CHUNKED;
    expect_head(answer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    answer.frame = TURBO__FRAME_CLOSE;
    expect_head(answer, "HTTP/1.1 200 OK\r\n\r\n");
}

Test(http1_write, connection_is_said_when_it_is_not_the_default_of_the_version) {
    turbo__h1_answer answer = {.status = 204, .frame = TURBO__FRAME_NONE};
    answer.version = 11;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    answer.version = 10;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    answer.keep_alive = 1;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
    answer.version = 11;
    expect_head(answer, "HTTP/1.1 204 No Content\r\n\r\n");
    answer.upgrade = 1;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: upgrade\r\n\r\n");
    answer.version = 10;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: keep-alive, upgrade\r\n\r\n");
    answer.keep_alive = 0;
    expect_head(answer, "HTTP/1.1 204 No Content\r\nConnection: close, upgrade\r\n\r\n");
}

Test(http1_write, unknown_status_has_a_space_and_no_phrase) {
    turbo__h1_answer answer = {.status = 599, .frame = TURBO__FRAME_NONE, .version = 11, .keep_alive = 1};
    expect_head(answer, "HTTP/1.1 599 \r\n\r\n");
    cr_expect_str_eq(turbo__status_text(599), "");
    cr_expect_str_eq(turbo__status_text(0), "");
    cr_expect_str_eq(turbo__status_text(-1), "");
}

Test(http1_write, phrases_are_those_of_the_registry) {
    cr_expect_str_eq(turbo__status_text(100), "Continue");
    cr_expect_str_eq(turbo__status_text(413), "Content Too Large");
    cr_expect_str_eq(turbo__status_text(414), "URI Too Long");
    cr_expect_str_eq(turbo__status_text(431), "Request Header Fields Too Large");
    cr_expect_str_eq(turbo__status_text(505), "HTTP Version Not Supported");
}

Test(http1_write, largest_head_of_every_status_fits_its_bound) {
    for (int32_t status = 100; status < 600; status++) {
        turbo__h1_answer answer = {.status = status, .frame = TURBO__FRAME_LENGTH, .version = 10, .length = UINT64_MAX,
                                   .keep_alive = 1, .upgrade = 1, .date = DATE, .content_type = {"a/b", 3},
                                   .fields = {"A: b\r\n", 6}};
        char expected[512];
        (void)snprintf(expected, sizeof expected,
                       "HTTP/1.1 %d %s\r\nDate: " DATE "\r\nContent-Type: a/b\r\nA: b\r\n"
                       "Content-Length: 18446744073709551615\r\nConnection: keep-alive, upgrade\r\n\r\n",
                       (int)status, turbo__status_text(status));
        expect_head(answer, expected);
    }
}

Test(http1_write, chunk_head_is_hexadecimal_without_zeros_in_front) {
    const uint64_t lens[] = {1, 9, 10, 15, 16, 17, 255, 256, 257, 4095, 4096, 65535, 65536, UINT32_MAX,
                             (uint64_t)UINT32_MAX + 1, UINT64_MAX >> 4, (UINT64_MAX >> 4) + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        char expected[32], out[TURBO__CHUNK_HEAD_MAX];
        int n = snprintf(expected, sizeof expected, "%llx\r\n", (unsigned long long)lens[i]);
        cr_expect_eq(turbo__h1_write_chunk_head(out, (size_t)lens[i]), (size_t)n);
        cr_expect_arr_eq(out, expected, (size_t)n, "%s", expected);
    }
}

Test(http1_write, numbers_are_decimal) {
    uint64_t value = 1;
    for (int i = 0; i < 20; i++, value *= 10)
        for (int by = -1; by <= 1; by++) {
            char expected[32], out[20];
            int n = snprintf(expected, sizeof expected, "%llu", (unsigned long long)(value + (uint64_t)by));
            cr_expect_eq(turbo__write_u64(out, value + (uint64_t)by), (size_t)n);
            cr_expect_arr_eq(out, expected, (size_t)n, "%s", expected);
        }
    char out[20];
    cr_expect_eq(turbo__write_u64(out, UINT64_MAX), 20);
    cr_expect_arr_eq(out, "18446744073709551615", 20);
}
