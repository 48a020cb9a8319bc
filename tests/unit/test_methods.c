/* test_methods.c - methods as bits, and the Allow texts of their sets. */
#include "methods.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(methods, .timeout = 20);

static uint64_t find(const turbo__methods *methods, const char *name) {
    return turbo__methods_find(methods, (turbo_str){name, strlen(name)});
}

static uint64_t add(turbo__methods *methods, const char *name) {
    uint64_t bit = 0;
    cr_assert_eq(turbo__methods_add(methods, name, &bit), 0);
    return bit;
}

Test(methods, three_are_known_from_the_start) {
    turbo__methods methods = {0};
    cr_expect_eq(find(&methods, "GET"), TURBO__METHOD_GET);
    cr_expect_eq(find(&methods, "HEAD"), TURBO__METHOD_HEAD);
    cr_expect_eq(find(&methods, "OPTIONS"), TURBO__METHOD_OPTIONS);
    cr_expect_eq(find(&methods, "POST"), 0);
    cr_expect_eq(add(&methods, "GET"), TURBO__METHOD_GET);
    cr_expect_eq(methods.extra_count, 0);
    turbo__methods_free(&methods);
}

Test(methods, names_are_compared_whole_and_with_their_case) {
    turbo__methods methods = {0};
    uint64_t post = add(&methods, "POST");
    cr_expect_eq(add(&methods, "POST"), post);
    cr_expect_eq(find(&methods, "POST"), post);
    cr_expect(find(&methods, "post") == 0 && find(&methods, "POS") == 0 && find(&methods, "POSTS") == 0);
    cr_expect_eq(find(&methods, ""), 0);
    cr_expect_neq(add(&methods, "post"), post);
    turbo__methods_free(&methods);
}

Test(methods, sixty_four_fit_and_no_more) {
    turbo__methods methods = {0};
    uint64_t seen = TURBO__METHOD_GET | TURBO__METHOD_HEAD | TURBO__METHOD_OPTIONS, bit = 5;
    char name[16];
    for (int i = 3; i < TURBO__METHODS_MAX; i++) {
        (void)snprintf(name, sizeof name, "M%d", i);
        bit = add(&methods, name);
        cr_assert(bit != 0 && (bit & (bit - 1)) == 0 && (bit & seen) == 0, "%s", name);
        seen |= bit;
    }
    cr_expect_eq(seen, UINT64_MAX);
    cr_expect_eq(turbo__methods_add(&methods, "MORE", &bit), TURBO_EINVAL);
    cr_expect_eq(find(&methods, name), bit);
    cr_expect_eq(add(&methods, "M3"), (uint64_t)8);
    cr_assert_eq(turbo__methods_add_text(&methods, UINT64_MAX), 0);
    cr_expect_eq(strncmp(turbo__methods_allow(&methods, UINT64_MAX), "GET, HEAD, M10, M11, ", 21), 0);
    turbo__methods_free(&methods);
}

Test(methods, allow_text_is_sorted) {
    turbo__methods methods = {0};
    uint64_t put = add(&methods, "PUT"), del = add(&methods, "DELETE"), set = put | del | TURBO__METHOD_GET;
    cr_expect_null(turbo__methods_allow(&methods, set));
    cr_assert_eq(turbo__methods_add_text(&methods, set), 0);
    cr_expect_str_eq(turbo__methods_allow(&methods, set), "DELETE, GET, PUT");
    cr_assert_eq(turbo__methods_add_text(&methods, 0), 0);
    cr_expect_str_eq(turbo__methods_allow(&methods, 0), "");
    turbo__methods_free(&methods);
}

Test(methods, unions_of_sets_have_texts_too) {
    turbo__methods methods = {0};
    uint64_t a = add(&methods, "A"), b = add(&methods, "B"), c = add(&methods, "C");
    cr_assert_eq(turbo__methods_add_text(&methods, a), 0);
    cr_assert_eq(turbo__methods_add_text(&methods, b), 0);
    cr_assert_eq(turbo__methods_add_text(&methods, c), 0);
    cr_expect_str_eq(turbo__methods_allow(&methods, a | b), "A, B");
    cr_expect_str_eq(turbo__methods_allow(&methods, b | c), "B, C");
    cr_expect_str_eq(turbo__methods_allow(&methods, a | b | c), "A, B, C");
    size_t count = methods.text_count;
    cr_assert_eq(turbo__methods_add_text(&methods, a | b), 0);
    cr_expect_eq(methods.text_count, count);
    turbo__methods_free(&methods);
}

Test(methods, number_of_texts_is_bounded) {
    turbo__methods methods = {0};
    char name[8];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "M%d", i);
        uint64_t bit = add(&methods, name);
        cr_assert_eq(turbo__methods_add_text(&methods, bit), 0);
        cr_expect_str_eq(turbo__methods_allow(&methods, bit), name);
    }
    cr_expect_lt(methods.text_count, 400);
    turbo__methods_free(&methods);
}

Test(methods, failed_allocations_can_be_repeated) {
    for (size_t nth = 1;; nth++) {
        turbo__methods methods = {0};
        uint64_t a = 0, b = 0;
        failing_alloc_arm(nth);
        int rc = turbo__methods_add(&methods, "A", &a);
        if (rc == 0)
            rc = turbo__methods_add(&methods, "B", &b);
        if (rc == 0 && (rc = turbo__methods_add_text(&methods, a)) == 0)
            rc = turbo__methods_add_text(&methods, b);
        int has_failed = failing_alloc_disarm();
        cr_expect_eq(rc, has_failed ? TURBO_ENOMEM : 0);
        a = add(&methods, "A");
        b = add(&methods, "B");
        cr_expect_eq(turbo__methods_add_text(&methods, a), 0);
        cr_expect_eq(turbo__methods_add_text(&methods, b), 0);
        cr_expect_str_eq(turbo__methods_allow(&methods, a | b), "A, B", "allocation %zu", nth);
        turbo__methods_free(&methods);
        if (!has_failed)
            break;
    }
    cr_expect_not(failing_alloc_leaks());
}

Test(methods, four_are_safe) {
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
    static const char *const others[] = {"POST", "PUT", "DELETE", "PATCH", "CONNECT", "QUERY", "get", "GE", "GETS",
                                         "HEADX", "OPTIONS2", "TRACER", ""};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        cr_expect(turbo__methods_is_safe((turbo_str){safe[i], strlen(safe[i])}), "%s", safe[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect_not(turbo__methods_is_safe((turbo_str){others[i], strlen(others[i])}), "%s", others[i]);
}
