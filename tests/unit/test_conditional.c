/* test_conditional.c - preconditions (RFC 9110 13), alone and in the order of 13.2.2. */
#include "conditional.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(conditional, .timeout = 20);

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define SAME_SECOND 784111777

/* Fields from "Name: value\n" lines. */
typedef struct request {
    turbo__condition_fields view;
    turbo__field fields[16];
} request;

static void read_lines(request *out, const char *text) {
    *out = (request){.view = {text, out->fields, 0}};
    for (const char *at = text; *at != '\0';) {
        const char *colon = strchr(at, ':'), *end = strchr(at, '\n');
        cr_assert(colon != NULL && end != NULL && out->view.count < 16);
        turbo__field *field = &out->fields[out->view.count++];
        field->name = (turbo__span){(uint32_t)(at - text), (uint32_t)(colon - at)};
        field->value = (turbo__span){(uint32_t)(colon + 2 - text), (uint32_t)(end - colon - 2)};
        at = end + 1;
    }
}

static turbo__validators validators(const char *etag, int has_modified, int is_strong) {
    turbo__validators v = {.modified = SAME_SECOND, .has_modified = has_modified != 0, .now = 1790000000};
    v.modified_is_strong = is_strong != 0;
    if (etag != NULL)
        v.etag = (turbo_str){etag, strlen(etag)};
    return v;
}

struct asked {
    const char *lines;
    int reads, others; /* for GET and HEAD, for other methods */
};

static void expect_all(const struct asked *cases, size_t count, const turbo__validators *v) {
    for (size_t i = 0; i < count; i++) {
        request req;
        read_lines(&req, cases[i].lines);
        cr_expect_eq(turbo__conditional(&req.view, 1, v), cases[i].reads, "GET %s", cases[i].lines);
        cr_expect_eq(turbo__conditional(&req.view, 0, v), cases[i].others, "PUT %s", cases[i].lines);
    }
}

Test(conditional, if_match_compares_strongly) {
    static const struct asked cases[] = {
        {"", 0, 0},
        {"If-Match: \"a\"\n", 0, 0},
        {"If-Match: \"b\"\n", 412, 412},
        {"If-Match: W/\"a\"\n", 412, 412},
        {"If-Match: \"b\", \"a\"\n", 0, 0},
        {"If-Match: \"b\",\"a\"\n", 0, 0},
        {"If-Match: ,, \"b\" ,\t\"a\" ,\n", 0, 0},
        {"If-Match: \"b\"\nIf-Match: \"a\"\n", 0, 0},
        {"if-match: \"a\"\n", 0, 0},
        {"If-Match: *\n", 0, 0},
        {"If-Match: *, \"b\"\n", 412, 412},
        {"If-Match: *\nIf-Match: \"b\"\n", 412, 412},
        {"If-Match: \n", 412, 412},
        {"If-Match: a\n", 412, 412},
        {"If-Match: \"a\n", 412, 412},
        {"If-Match: \"a\"x\n", 412, 412},
        {"If-Match: \"A\"\n", 412, 412},
        {"If-Match: x, \"a\"\n", 412, 412}, /* what is no tag ends the list */
    };
    turbo__validators v = validators("\"a\"", 1, 1);
    expect_all(cases, sizeof cases / sizeof *cases, &v);
    v = validators("W/\"a\"", 1, 1);
    static const struct asked weak[] = {{"If-Match: \"a\"\n", 412, 412}, {"If-Match: W/\"a\"\n", 412, 412},
                                        {"If-Match: *\n", 0, 0}};
    expect_all(weak, 3, &v);
}

Test(conditional, if_none_match_compares_weakly) {
    static const struct asked cases[] = {
        {"If-None-Match: \"a\"\n", 304, 412},        {"If-None-Match: W/\"a\"\n", 304, 412},
        {"If-None-Match: w/\"a\"\n", 0, 0},          {"If-None-Match: \"b\"\n", 0, 0},
        {"If-None-Match: \"b\", W/\"a\"\n", 304, 412}, {"If-None-Match: *\n", 304, 412},
        {"If-None-Match: \"b\"\nIf-None-Match: \"a\"\n", 304, 412}, {"If-None-Match: \n", 0, 0},
        {"If-None-Match: a\n", 0, 0},                {"If-None-Match: *, \"b\"\n", 0, 0},
        {"If-None-Match: \"b\" \"a\"\n", 304, 412},  /* a comma is missing */
    };
    turbo__validators v = validators("\"a\"", 1, 1), weak = validators("W/\"a\"", 1, 1);
    expect_all(cases, sizeof cases / sizeof *cases, &v);
    expect_all(cases, sizeof cases / sizeof *cases, &weak);
}

Test(conditional, tags_may_hold_commas_and_any_but_controls) {
    static const struct asked cases[] = {{"If-None-Match: \"x\", \"a,b\"\n", 304, 412},
                                         {"If-None-Match: \"a\", \"b\"\n", 0, 0}};
    turbo__validators v = validators("\"a,b\"", 0, 0);
    expect_all(cases, 2, &v);
    static const char *const good[] = {"\"\"", "W/\"\"", "\"!#~\x80\xff\"", "\"\\\""};
    static const char *const bad[] = {"", "\"", "W/", "W/\"", "a", "\"a", "a\"", "\"a\"b", "w/\"a\"", "\"a b\"", "\"a\x7f\"", "\"a\tb\""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(turbo__is_etag((turbo_str){good[i], strlen(good[i])}), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(turbo__is_etag((turbo_str){bad[i], strlen(bad[i])}), "%s", bad[i]);
}

Test(conditional, dates_count_once_and_when_they_are_dates) {
    static const struct asked cases[] = {
        {"If-Modified-Since: " SAME "\n", 304, 0},
        {"If-Modified-Since: " AFTER "\n", 304, 0},
        {"If-Modified-Since: " BEFORE "\n", 0, 0},
        {"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\n", 304, 0},
        {"If-Modified-Since: Sun Nov  6 08:49:37 1994\n", 304, 0},
        {"If-Modified-Since: yesterday\n", 0, 0},
        {"If-Modified-Since: " SAME "\nIf-Modified-Since: " SAME "\n", 0, 0},
        {"If-Unmodified-Since: " SAME "\n", 0, 0},
        {"If-Unmodified-Since: " AFTER "\n", 0, 0},
        {"If-Unmodified-Since: " BEFORE "\n", 412, 412},
        {"If-Unmodified-Since: yesterday\n", 0, 0},
        {"If-Unmodified-Since: " BEFORE ", " BEFORE "\n", 0, 0},
        {"If-Unmodified-Since: " BEFORE "\nIf-Unmodified-Since: " BEFORE "\n", 0, 0},
    };
    turbo__validators v = validators("\"a\"", 1, 1);
    expect_all(cases, sizeof cases / sizeof *cases, &v);
}

/* RFC 9110 13.2.2. */
Test(conditional, order_of_precedence) {
    static const struct asked cases[] = {
        {"If-Match: \"a\"\nIf-Unmodified-Since: " BEFORE "\n", 0, 0},
        {"If-Match: \"b\"\nIf-Unmodified-Since: " AFTER "\n", 412, 412},
        {"If-None-Match: \"b\"\nIf-Modified-Since: " AFTER "\n", 0, 0},
        {"If-None-Match: \"a\"\nIf-Modified-Since: " BEFORE "\n", 304, 412},
        {"If-Match: \"b\"\nIf-None-Match: \"a\"\n", 412, 412},
        {"If-None-Match: \"a\"\nIf-Match: \"b\"\n", 412, 412},
        {"If-Match: \"a\"\nIf-None-Match: \"a\"\n", 304, 412},
        {"If-Unmodified-Since: " BEFORE "\nIf-None-Match: \"a\"\n", 412, 412},
        {"If-Unmodified-Since: " SAME "\nIf-Modified-Since: " SAME "\n", 304, 0},
        {"If-Match: *\nIf-None-Match: *\n", 304, 412},
    };
    turbo__validators v = validators("\"a\"", 1, 1);
    expect_all(cases, sizeof cases / sizeof *cases, &v);
}

Test(conditional, what_the_representation_lacks_matches_nothing) {
    static const struct asked cases[] = {
        {"If-Match: \"a\"\n", 412, 412}, {"If-None-Match: \"a\"\n", 0, 0}, {"If-Match: *\n", 0, 0}, {"If-None-Match: *\n", 304, 412},
        {"If-Modified-Since: " AFTER "\n", 0, 0}, {"If-Unmodified-Since: " BEFORE "\n", 0, 0}};
    turbo__validators v = validators(NULL, 0, 0);
    expect_all(cases, sizeof cases / sizeof *cases, &v);
}

Test(conditional, if_range_needs_a_strong_match) {
    static const struct {
        const char *lines, *etag;
        int is_strong, ranges;
    } cases[] = {
        {"", "\"a\"", 1, 1},
        {"If-Range: \"a\"\n", "\"a\"", 1, 1},
        {"If-Range: \"b\"\n", "\"a\"", 1, 0},
        {"If-Range: W/\"a\"\n", "\"a\"", 1, 0},
        {"If-Range: W/\"a\"\n", "W/\"a\"", 1, 0},
        {"If-Range: \"a\"\n", "W/\"a\"", 1, 0},
        {"If-Range: \"a\"\n", NULL, 1, 0},
        {"If-Range: \"b\", \"a\"\n", "\"a\"", 1, 0},
        {"If-Range: *\n", "\"a\"", 1, 0},
        {"If-Range: \n", "\"a\"", 1, 0},
        {"If-Range: \"a\"\nIf-Range: \"a\"\n", "\"a\"", 1, 0},
        {"If-Range: " SAME "\n", "\"a\"", 1, 1},
        {"If-Range: " SAME "\n", "\"a\"", 0, 0},
        {"If-Range: " BEFORE "\n", "\"a\"", 1, 0},
        {"If-Range: " AFTER "\n", "\"a\"", 1, 0},
        {"If-Range: Sun Nov  6 08:49:37 1994\n", "\"a\"", 1, 1},
        {"If-Range: yesterday\n", "\"a\"", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        turbo__validators v = validators(cases[i].etag, 1, cases[i].is_strong);
        request req;
        read_lines(&req, cases[i].lines);
        cr_expect_eq(turbo__conditional_range(&req.view, &v), cases[i].ranges, "%s", cases[i].lines);
    }
    request req;
    turbo__validators none = validators("\"a\"", 0, 0);
    read_lines(&req, "If-Range: " SAME "\n");
    cr_expect_eq(turbo__conditional_range(&req.view, &none), 0);
}
