/* mem.c - the only file that names mimalloc; hook for the failing allocator. */
#include "mem.h"

#include <stdatomic.h>
#include <string.h>

#ifdef TURBO_LIBC_MALLOC
#include <stdlib.h>
#define allocate malloc
#define allocate_zeroed calloc
#define reallocate realloc
#define give_back free
#else
#include <mimalloc.h>
#define allocate mi_malloc
#define allocate_zeroed mi_calloc
#define reallocate mi_realloc
#define give_back mi_free
#endif

typedef int (*fail_fn)(void *user);

/* Set only while no other thread runs, so relaxed loads suffice and fail_user needs no order of its own. */
static _Atomic(fail_fn) fail_hook;
static void *fail_user;

static int must_fail(void) {
    fail_fn fail = atomic_load_explicit(&fail_hook, memory_order_relaxed);
    return fail != NULL && fail(fail_user);
}

void *turbo__malloc(size_t size) { return must_fail() ? NULL : allocate(size); }

void *turbo__calloc(size_t count, size_t size) { return must_fail() ? NULL : allocate_zeroed(count, size); }

void *turbo__realloc(void *memory, size_t size) { return must_fail() ? NULL : reallocate(memory, size); }

/* Most that is given back by the way was never there. */
void turbo__free(void *memory) {
    if (memory != NULL)
        give_back(memory);
}

char *turbo__strndup(const char *data, size_t len) {
    char *copy = turbo__malloc(len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0) /* data may be NULL then */
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

void turbo__mem_set_fail(int (*fail)(void *user), void *user) {
    fail_user = user;
    atomic_store_explicit(&fail_hook, fail, memory_order_relaxed);
}
