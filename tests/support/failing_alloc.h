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

/** Let the nth allocation from now on fail (1: the next), and no other. */
void failing_alloc_arm(size_t nth);

/** Let none fail any more. @return 1 when one has failed since failing_alloc_arm(), else 0. */
int failing_alloc_disarm(void);

/** Whether LeakSanitizer finds leaks now; 0 in builds without it. A leak found at exit does not fail a Criterion test. */
int failing_alloc_leaks(void);

#endif
