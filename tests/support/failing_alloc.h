/* failing_alloc.h - makes one chosen allocation of the library fail. */
#ifndef SUPPORT_FAILING_ALLOC_H
#define SUPPORT_FAILING_ALLOC_H

#include <stddef.h>

/*
 * Every allocation failing in turn:
 *
 *     for (size_t nth = 1;; nth++) {
 *         failing_alloc_arm(nth);
 *         int rc = what_allocates();
 *         if (!failing_alloc_disarm())
 *             break;   // it got by with fewer allocations: all have failed once
 *         cr_assert_eq(rc, TURBO_ENOMEM);
 *     }
 */

/** The loop above for one call that gives `error` without memory; `undo` is run after the call that succeeded. Fails
 *  the test when memory was never asked for, or when something leaks. */
#define FAILS_WITHOUT_MEMORY(error, call, undo)                                              \
    do {                                                                                     \
        for (size_t nth_ = 1;; nth_++) {                                                     \
            failing_alloc_arm(nth_);                                                         \
            int rc_ = (call);                                                                \
            if (!failing_alloc_disarm()) {                                                   \
                cr_expect_gt(nth_, 1, "%s allocates nothing", #call);                        \
                cr_expect_eq(rc_, 0, "%s gives %d", #call, rc_);                             \
                if (rc_ == 0) {                                                              \
                    undo;                                                                    \
                }                                                                            \
                break;                                                                       \
            }                                                                                \
            cr_assert_eq(rc_, error, "allocation %zu of %s: %d", nth_, #call, rc_);          \
        }                                                                                    \
        cr_expect_not(failing_alloc_leaks());                                                \
    } while (0)

/** Let the nth allocation from now on fail (1: the next), and no other. */
void failing_alloc_arm(size_t nth);

/** Let none fail any more. @return 1 when one has failed since failing_alloc_arm(), else 0. */
int failing_alloc_disarm(void);

/** Whether LeakSanitizer finds leaks now; 0 in builds without it. A leak found at exit does not fail a Criterion test. */
int failing_alloc_leaks(void);

#endif
