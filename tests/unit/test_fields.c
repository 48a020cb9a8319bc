/* test_fields.c - names without regard to case; lookup; lists of tokens. */
#include "fields.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(fields, .timeout = 10);

Test(fields, only_ascii_letters_lose_their_case) {
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            int letters = (a | 0x20) >= 'a' && (a | 0x20) <= 'z' && a < 128 && b < 128 && (a | 0x20) == (b | 0x20);
            cr_expect_eq(turbo__ascii_equal(&x, 1, &y, 1), a == b || letters, "%02x %02x", (unsigned)a, (unsigned)b);
        }
    cr_expect(turbo__ascii_equal("", 0, "", 0));
    cr_expect_not(turbo__ascii_equal("a", 1, "ab", 2));
}

static const char head[] = "host: a\r\nX-A: 1\r\nHOST: b\r\n";
static const turbo__field lines[] = {{{0, 4}, {6, 1}}, {{9, 3}, {14, 1}}, {{17, 4}, {23, 1}}};

Test(fields, find_goes_on_behind_the_last_one) {
    cr_expect_eq(turbo__fields_find(head, lines, 3, 0, "Host", 4), 0);
    cr_expect_eq(turbo__fields_find(head, lines, 3, 1, "Host", 4), 2);
    cr_expect_eq(turbo__fields_find(head, lines, 3, 3, "Host", 4), 3);
    cr_expect_eq(turbo__fields_find(head, lines, 3, 0, "x-a", 3), 1);
    cr_expect_eq(turbo__fields_find(head, lines, 3, 0, "x-ab", 4), 3);
    cr_expect_eq(turbo__fields_find(head, lines, 0, 0, "Host", 4), 0);
}

struct list_case {
    const char *value;
    int has;
};

Test(fields, list_holds_whole_tokens_only) {
    static const struct list_case cases[] = {
        {"close", 1},        {"CLOSE", 1},           {"keep-alive, close", 1}, {"close,x", 1}, {" \tclose\t ", 1},
        {"a,, ,close", 1},   {",close,", 1},         {"", 0},                  {",", 0},       {"closed", 0},
        {"xclose", 0},       {"close x", 0},         {"clo,se", 0},            {"close;q=1", 0}, {"clos", 0},
        {"a\t,\tclose", 1}, {"\"close\"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        guard copy = guard_copy(cases[i].value, strlen(cases[i].value));
        cr_expect_eq(turbo__list_has_token(copy.data, copy.len, "close", 5), cases[i].has, "\"%s\"", cases[i].value);
        guard_free(&copy);
    }
}

Test(fields, list_is_not_read_behind_its_end) {
    static const char text[] = "a , close\t,b";
    for (size_t len = 0; len < sizeof text; len++) {
        guard copy = guard_copy(text, len);
        cr_expect_eq(turbo__list_has_token(copy.data, copy.len, "close", 5), len >= 9, "%zu", len);
        cr_expect_eq(turbo__list_has_token(copy.data, copy.len, "b", 1), len >= 12, "%zu", len);
        guard_free(&copy);
    }
}
