/* guard.h - a copy of bytes that ends right at an unmapped page: reading behind it crashes, with or without ASan. */
#ifndef SUPPORT_GUARD_H
#define SUPPORT_GUARD_H

#include <stddef.h>

typedef struct guard {
    char *data; /* len bytes, then nothing; not NULL even for len 0 */
    size_t len;
    void *map;
    size_t map_len;
} guard;

/** Copy len bytes; aborts when memory is out. */
guard guard_copy(const void *data, size_t len);

void guard_free(guard *copy);

#endif
