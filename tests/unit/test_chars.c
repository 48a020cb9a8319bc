/* test_chars.c - what the grammars allow, byte by byte. */
#include "chars.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(chars, .timeout = 10);

static int is_alnum(int c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

Test(chars, token_holds_tchar_and_nothing_else) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int expected = is_alnum(c) || (c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        cr_expect_eq(turbo__is_token(&byte, 1), expected, "byte %02x", (unsigned)c);
    }
}

Test(chars, value_holds_blanks_visible_characters_and_obs_text) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int expected = c == '\t' || (c >= ' ' && c != 0x7f);
        cr_expect_eq(turbo__is_field_value(&byte, 1), expected, "byte %02x", (unsigned)c);
    }
}

/* Values are looked at eight bytes at a time: the neighbours of a byte must not change what is said of it. */
static void check_value(char *text, size_t len, char neighbour) {
    for (size_t i = 0; i < len; i++) {
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            cr_expect_eq(turbo__is_field_value(text, len), c == '\t' || (c >= ' ' && c != 0x7f),
                         "byte %02x at %zu of %zu, among %02x", (unsigned)c, i, len, (unsigned char)neighbour);
        }
        text[i] = neighbour;
    }
}

Test(chars, value_is_judged_by_each_byte_wherever_it_stands) {
    static const char neighbours[] = {'a', '\t', ' ', '~', (char)0x80, (char)0xff};
    static const size_t lens[] = {1, 7, 8, 9, 15, 16, 17, 24};
    for (size_t n = 0; n < sizeof neighbours; n++) {
        char text[24];
        memset(text, neighbours[n], sizeof text);
        for (size_t l = 0; l < sizeof lens / sizeof *lens; l++)
            check_value(text, lens[l], neighbours[n]);
    }
}

Test(chars, one_bad_byte_anywhere_spoils_token_and_value) {
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

Test(chars, empty_is_a_value_but_no_token) {
    cr_expect_not(turbo__is_token("", 0));
    cr_expect(turbo__is_field_value("", 0));
    cr_expect(turbo__is_field_value(NULL, 0));
}

Test(chars, a_target_holds_what_is_visible_but_no_number_sign) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        cr_expect_eq(turbo__all_in_class(&byte, 1, TURBO__CHAR_TARGET), c > ' ' && c < 0x7f && c != '#', "byte %02x",
                     (unsigned)c);
    }
}

Test(chars, a_host_holds_unreserved_characters_and_sub_delims) {
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int expected = is_alnum(c) || (c != 0 && c < 128 && strchr("-._~!$&'()*+,;=", c) != NULL);
        cr_expect_eq(turbo__all_in_class(&byte, 1, TURBO__CHAR_HOST), expected, "byte %02x", (unsigned)c);
    }
}

Test(chars, a_class_is_judged_by_each_byte_and_holds_nothing_too) {
    char text[] = "abcdefghijklmnopq";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char old = text[i];
        text[i] = '%'; /* in TOKEN, VALUE and TARGET, not in HOST */
        cr_expect_not(turbo__all_in_class(text, sizeof text - 1, TURBO__CHAR_HOST));
        cr_expect(turbo__all_in_class(text, sizeof text - 1, TURBO__CHAR_TARGET));
        text[i] = old;
    }
    cr_expect(turbo__all_in_class(text, sizeof text - 1, TURBO__CHAR_HOST));
    cr_expect(turbo__all_in_class(NULL, 0, TURBO__CHAR_HOST));
}

Test(chars, a_run_ends_before_the_first_byte_of_another_class) {
    char text[] = "abcdefghijklmnopq";
    size_t len = sizeof text - 1;
    for (size_t i = 0; i < len; i++) {
        char old = text[i];
        text[i] = '%';
        cr_expect_eq(turbo__class_run(text, len, TURBO__CHAR_HOST), i);
        cr_expect_eq(turbo__class_run(text, i, TURBO__CHAR_HOST), i);
        cr_expect_eq(turbo__class_run(text, len, TURBO__CHAR_TARGET), len);
        text[i] = old;
    }
    cr_expect_eq(turbo__class_run(NULL, 0, TURBO__CHAR_HOST), 0);
}

Test(chars, hexadecimal_digits_have_values_and_nothing_else_has) {
    for (int c = 0; c < 256; c++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c == 0 ? NULL : strchr(digits, c);
        cr_expect_eq(turbo__hex_value((char)c), at == NULL ? -1 : (int)(at - digits) % 16, "byte %02x", (unsigned)c);
    }
}

Test(chars, blanks_are_space_and_tab) {
    for (int c = 0; c < 256; c++)
        cr_expect_eq(turbo__is_blank((char)c), c == ' ' || c == '\t', "byte %02x", (unsigned)c);
}
