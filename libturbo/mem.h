/* mem.h - every allocation of the library: mimalloc, or libc malloc where that serves better (sanitizers, static). */
#ifndef TURBO_MEM_H
#define TURBO_MEM_H

#include <stddef.h>

/** As malloc(). @return NULL when out of memory, or when the test hook says so. Thread: any. */
void *turbo__malloc(size_t size);

/** As calloc(). */
void *turbo__calloc(size_t count, size_t size);

/** As realloc(): on NULL the old block is unchanged. */
void *turbo__realloc(void *memory, size_t size);

/** As free(); NULL is allowed. */
void turbo__free(void *memory);

/** A copy of len bytes with a NUL behind. @return NULL when out of memory. */
char *turbo__strndup(const char *data, size_t len);

/**
 * For tests: fail is asked before each allocation and makes it fail by returning non-zero. NULL takes the hook away.
 * Thread: any, while no other thread of the library runs.
 */
void turbo__mem_set_fail(int (*fail)(void *user), void *user);

#endif
