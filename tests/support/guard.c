/* guard.c - a copy of bytes that ends right at an unmapped page. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

guard guard_copy(const void *data, size_t len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t readable = (len + page - 1) / page * page;
    guard copy = {NULL, len, NULL, readable + page};
    copy.map = mmap(NULL, copy.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy.map == MAP_FAILED || mprotect((char *)copy.map + readable, page, PROT_NONE) != 0)
        abort();
    copy.data = (char *)copy.map + readable - len;
    if (len > 0)
        memcpy(copy.data, data, len);
    return copy;
}

void guard_free(guard *copy) {
    (void)munmap(copy->map, copy->map_len);
    copy->data = NULL;
}
