/* test_pattern.c - patterns of routes and their segments. */
#include "pattern.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(pattern, .timeout = 5);

static turbo__pattern pattern;
static turbo__pieces pieces;

static const char *parse(const char *text) {
    pattern = (turbo__pattern){.text = text};
    memset(&pieces, 0xff, sizeof pieces);
    return turbo__pattern_parse(&pattern, &pieces);
}

/* "s:users p:id r:rest" */
static void expect_pieces(const char *text, const char *expected) {
    char got[200] = "";
    cr_assert_null(parse(text), "\"%s\"", text);
    for (size_t i = 0; i < pieces.count; i++)
        (void)snprintf(got + strlen(got), sizeof got - strlen(got), "%s%c:%.*s", i > 0 ? " " : "",
                       "spr"[pieces.items[i].kind], (int)pieces.items[i].text.len, pieces.items[i].text.data);
    cr_expect_str_eq(got, expected, "\"%s\": \"%s\"", text, got);
}

Test(pattern, segments_are_static_param_or_rest) {
    expect_pieces("/", "s:");
    expect_pieces("/a", "s:a");
    expect_pieces("/a/", "s:a s:");
    expect_pieces("//a", "s: s:a");
    expect_pieces("/users/{id}", "s:users p:id");
    expect_pieces("/users/{id}/x/{n_1}", "s:users p:id s:x p:n_1");
    expect_pieces("/{a}/{b...}", "p:a r:b");
}

Test(pattern, parameters_are_named_in_order) {
    cr_assert_null(parse("/a/{x}/{Y2}/{_z...}"));
    cr_assert_eq(pattern.param_count, 3);
    cr_expect_eq(strncmp(pattern.param_names[0].data, "x}", 2), 0);
    cr_expect_eq(pattern.param_names[1].len, 2);
    cr_expect(pattern.param_names[2].len == 2 && strncmp(pattern.param_names[2].data, "_z", 2) == 0);
}

Test(pattern, text_is_taken_as_it_stands) {
    expect_pieces("/a b/100%/%41/*/..", "s:a b s:100% s:%41 s:* s:..");
}

Test(pattern, malformed_patterns_get_a_sentence) {
    static const char *const bad[] = {
        "", "a", "a/b", "*", "{a}", "/{", "/}", "/{}", "/{...}", "/{a", "/a}", "/x{a}", "/{a}x", "/{a}{b}", "/{{a}}",
        "/{a-b}", "/{a b}", "/{a.b}", "/{a..}", "/{a....}", "/{\xc3\xa4}", "/{a}/{a}", "/{a}/{a...}", "/{a...}/b",
        "/{a...}/",
        "/{a...}/{b}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(parse(bad[i]) != NULL && strlen(parse(bad[i])) > 10, "\"%s\"", bad[i]);
}

static const char *parse_many(const char *segment, int numbered, int count) {
    static char text[1000];
    text[0] = '\0';
    for (int i = 0; i < count; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), numbered ? "/{%s%d}" : "/%s", segment, i);
    return parse(text);
}

Test(pattern, segments_have_a_limit) {
    cr_expect_null(parse_many("a", 0, TURBO__SEGMENTS_MAX - 1));
    cr_expect_null(parse_many("a", 0, TURBO__SEGMENTS_MAX));
    cr_expect_eq(pieces.count, TURBO__SEGMENTS_MAX);
    cr_expect_str_eq(parse_many("a", 0, TURBO__SEGMENTS_MAX + 1), "it has more than 64 segments");
}

Test(pattern, parameters_have_a_limit) {
    cr_expect_null(parse_many("a", 1, TURBO__PARAMS_MAX - 1));
    cr_expect_null(parse_many("a", 1, TURBO__PARAMS_MAX));
    cr_expect_eq(pattern.param_count, TURBO__PARAMS_MAX);
    cr_expect_str_eq(parse_many("a", 1, TURBO__PARAMS_MAX + 1), "it has more than 16 parameters");
}
