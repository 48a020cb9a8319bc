/* test_fields.c - names and values of fields, byte by byte; lookup; lists of tokens. */
#include "fields.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/guard.h"

TestSuite(fields, .timeout = 10);

Test(fields, token_holds_tchar_and_nothing_else) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        int expected = alnum || (c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        cr_expect_eq(turbo__is_token(&byte, 1), expected, "byte %02x", (unsigned)c);
    }
}

Test(fields, value_holds_blanks_visible_characters_and_obs_text) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int expected = c == '\t' || (c >= ' ' && c != 0x7f);
        cr_expect_eq(turbo__is_field_value(&byte, 1), expected, "byte %02x", (unsigned)c);
    }
}

/* Values are looked at eight bytes at a time: the neighbours of a byte must not change what is said of it. */
Test(fields, value_is_judged_by_each_byte_wherever_it_stands) {
    static const char neighbours[] = {'a', '\t', ' ', '~', (char)0x80, (char)0xff};
    for (size_t n = 0; n < sizeof neighbours; n++) {
        for (int c = 0; c < 256; c++) {
            char text[19];
            memset(text, neighbours[n], sizeof text);
            for (size_t i = 0; i < sizeof text; i++) {
                text[i] = (char)c;
                cr_expect_eq(turbo__is_field_value(text, sizeof text), c == '\t' || (c >= ' ' && c != 0x7f),
                             "byte %02x at %zu among %02x", (unsigned)c, i, (unsigned char)neighbours[n]);
                text[i] = neighbours[n];
            }
        }
    }
}

Test(fields, one_bad_byte_anywhere_spoils_token_and_value) {
    char text[] = "abcdefgh";
    for (size_t i = 0; i < 8; i++) {
        char old = text[i];
        text[i] = '\r';
        cr_expect_not(turbo__is_token(text, 8));
        cr_expect_not(turbo__is_field_value(text, 8));
        text[i] = old;
    }
    cr_expect(turbo__is_token(text, 8));
    cr_expect(turbo__is_field_value(text, 8));
}

Test(fields, empty_is_a_value_but_no_token) {
    cr_expect_not(turbo__is_token("", 0));
    cr_expect(turbo__is_field_value("", 0));
    cr_expect(turbo__is_field_value(NULL, 0));
}

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
