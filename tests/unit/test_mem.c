/* test_mem.c - the allocator and its test hook. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

TestSuite(mem, .timeout = 5);

Test(mem, malloc_gives_writable_memory) {
    char *p = turbo__malloc(1000);
    cr_assert_not_null(p);
    memset(p, 'x', 1000);
    turbo__free(p);
}

Test(mem, calloc_gives_zeros) {
    static const char zeros[4096];
    char *p = turbo__calloc(64, 64);
    cr_assert_not_null(p);
    cr_expect_arr_eq(p, zeros, sizeof zeros);
    turbo__free(p);
}

Test(mem, calloc_refuses_a_product_that_overflows) {
    volatile size_t half = SIZE_MAX / 2 + 2; /* volatile: the compiler would warn of it, rightly */
#if !defined(__SANITIZE_ADDRESS__)           /* ASan ends the process instead, unless told otherwise */
    cr_expect_null(turbo__calloc(half, 2));
#else
    (void)half;
#endif
}

Test(mem, realloc_keeps_the_contents) {
    char *p = turbo__malloc(4);
    cr_assert_not_null(p);
    memcpy(p, "abcd", 4);
    char *q = turbo__realloc(p, 100000);
    cr_assert_not_null(q);
    cr_expect_arr_eq(q, "abcd", 4);
    turbo__free(q);
}

Test(mem, free_takes_null) { turbo__free(NULL); }

Test(mem, strndup_ends_the_copy) {
    char *copy = turbo__strndup("abcdef", 3);
    cr_assert_not_null(copy);
    cr_expect_str_eq(copy, "abc");
    turbo__free(copy);
}

Test(mem, strndup_of_nothing_is_the_empty_string) {
    char *copy = turbo__strndup(NULL, 0);
    cr_assert_not_null(copy);
    cr_expect_str_eq(copy, "");
    turbo__free(copy);
}

Test(mem, hook_fails_every_kind_of_allocation) {
    failing_alloc_arm(1);
    cr_expect_null(turbo__malloc(1));
    cr_expect(failing_alloc_disarm());
    failing_alloc_arm(1);
    cr_expect_null(turbo__calloc(1, 1));
    cr_expect(failing_alloc_disarm());
    failing_alloc_arm(1);
    cr_expect_null(turbo__strndup("a", 1));
    cr_expect(failing_alloc_disarm());
}

Test(mem, failed_realloc_leaves_the_block) {
    char *p = turbo__malloc(4);
    cr_assert_not_null(p);
    memcpy(p, "abcd", 4);
    failing_alloc_arm(1);
    cr_expect_null(turbo__realloc(p, 8));
    cr_expect(failing_alloc_disarm());
    cr_expect_arr_eq(p, "abcd", 4);
    turbo__free(p);
}

Test(mem, hook_is_asked_once_an_allocation_and_can_be_taken_away) {
    failing_alloc_arm(3);
    char *first = turbo__malloc(1), *second = turbo__malloc(1), *third = turbo__malloc(1), *fourth = turbo__malloc(1);
    cr_expect(first != NULL && second != NULL && third == NULL && fourth != NULL);
    cr_expect(failing_alloc_disarm());
    char *fifth = turbo__malloc(1);
    cr_expect_not_null(fifth);
    turbo__free(first);
    turbo__free(second);
    turbo__free(fourth);
    turbo__free(fifth);
}

#if defined(__SANITIZE_ADDRESS__)
/* With mimalloc ASan is blind: sanitizer builds must define TURBO_LIBC_MALLOC. */
Test(mem, asan_watches_our_memory) {
    char *p = turbo__malloc(16);
    cr_assert_not_null(p);
    cr_expect(__asan_address_is_poisoned(p + 16));
    turbo__free(p);
    cr_expect(__asan_address_is_poisoned(p));
}
#endif
