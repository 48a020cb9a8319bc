/* failing_alloc.c - makes one chosen allocation of the library fail. */
#include "failing_alloc.h"

#include "mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#ifdef WITH_ASAN
#include <sanitizer/lsan_interface.h>
#endif

static size_t allocations_left; /* until the one that fails */
static int has_failed;

static int count_down(void *user) {
    (void)user;
    if (allocations_left == 0 || --allocations_left > 0)
        return 0;
    has_failed = 1;
    return 1;
}

void failing_alloc_arm(size_t nth) {
    allocations_left = nth;
    has_failed = 0;
    turbo__mem_set_fail(count_down, NULL);
}

int failing_alloc_disarm(void) {
    turbo__mem_set_fail(NULL, NULL);
    return has_failed;
}

int failing_alloc_leaks(void) {
#ifdef WITH_ASAN
    return __lsan_do_recoverable_leak_check();
#else
    return 0;
#endif
}
