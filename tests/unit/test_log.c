/* test_log.c - levels, the callback, and standard error. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fileno */
#endif
#include "log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(log, .timeout = 5);

struct record {
    int calls;
    int32_t level;
    char text[2048];
};

static void remember(void *user, int32_t level, const char *message) {
    struct record *record = user;
    record->calls++;
    record->level = level;
    (void)snprintf(record->text, sizeof record->text, "%s", message);
}

/* What turbo__log_write() puts on standard error. */
static void capture(char *out, size_t size, const turbo__log *log, int32_t level, const char *message) {
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    cr_assert(file != NULL && saved >= 0);
    cr_assert_geq(dup2(fileno(file), STDERR_FILENO), 0);
    turbo__log_write(log, level, "%s", message);
    cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
    close(saved);
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

Test(log, callback_gets_the_formatted_message_and_its_level) {
    struct record record = {0};
    turbo__log log = {remember, &record, TURBO_LOG_INFO, 1};
    turbo__log_write(&log, TURBO_LOG_INFO, "%s %d", "port", 80);
    cr_expect_eq(record.calls, 1);
    cr_expect_eq(record.level, TURBO_LOG_INFO);
    cr_expect_str_eq(record.text, "port 80");
}

Test(log, less_important_levels_are_left_out) {
    for (int32_t wanted = 0; wanted <= TURBO_LOG_DEBUG; wanted++) {
        struct record record = {0};
        turbo__log log = {remember, &record, wanted, 1};
        for (int32_t level = TURBO_LOG_ERROR; level <= TURBO_LOG_DEBUG; level++)
            turbo__log_write(&log, level, "x");
        cr_expect_eq(record.calls, wanted); /* level 0 silences all */
    }
}

Test(log, message_is_one_line) {
    struct record record = {0};
    turbo__log log = {remember, &record, TURBO_LOG_WARN, 1};
    turbo__log_write(&log, TURBO_LOG_WARN, "a\nb\r\x1b[2Jc\x7f\xc3\xa9");
    cr_expect_str_eq(record.text, "a?b??[2Jc?\xc3\xa9");
}

Test(log, message_is_cut_at_511_bytes) {
    char text[600];
    struct record record = {0};
    turbo__log log = {remember, &record, TURBO_LOG_WARN, 1};
    memset(text, 'x', sizeof text);
    for (int len = 510; len <= 512; len++) {
        turbo__log_write(&log, TURBO_LOG_WARN, "%.*s", len, text);
        cr_expect_eq(strlen(record.text), (size_t)(len < 511 ? len : 511));
    }
}

Test(log, all_zero_writes_warnings_and_errors_to_standard_error) {
    const turbo__log log = {0};
    char text[256];
    capture(text, sizeof text, &log, TURBO_LOG_WARN, "odd");
    cr_expect_str_eq(text, "turbo: warning: odd\n");
    capture(text, sizeof text, &log, TURBO_LOG_ERROR, "bad");
    cr_expect_str_eq(text, "turbo: error: bad\n");
    capture(text, sizeof text, &log, TURBO_LOG_INFO, "fine");
    cr_expect_str_eq(text, "");
}

Test(log, level_counts_without_a_callback_too) {
    const turbo__log silent = {NULL, NULL, 0, 1}, chatty = {NULL, NULL, TURBO_LOG_DEBUG, 1};
    char text[256];
    capture(text, sizeof text, &silent, TURBO_LOG_ERROR, "bad");
    cr_expect_str_eq(text, "");
    capture(text, sizeof text, &chatty, TURBO_LOG_INFO, "fine");
    cr_expect_str_eq(text, "turbo: info: fine\n");
    capture(text, sizeof text, &chatty, TURBO_LOG_DEBUG, "deep");
    cr_expect_str_eq(text, "turbo: debug: deep\n");
}
