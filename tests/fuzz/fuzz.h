/* fuzz.h - what the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput(); libFuzzer or driver.c calls
 * it with one input after the other. What must hold is checked by MUST(), which ends the process. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Say what is wrong and abort. */
#define MUST(condition, ...)                                                            \
    do {                                                                                \
        if (!(condition)) {                                                             \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            (void)fprintf(stderr, __VA_ARGS__);                                         \
            (void)fputc('\n', stderr);                                                  \
            abort();                                                                    \
        }                                                                               \
    } while (0)

/* What is left of an input. Behind its end everything reads as 0. */
typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static inline uint8_t take_byte(input *in) {
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

/** A copy of bytes in a block of just their size, so that ASan sees every read behind them. Freed by free(). */
static inline char *copy_of(const void *data, size_t len) {
    char *copy = calloc(1, len); /* gcc does not see that malloc()'s bytes are all written */
    MUST(copy != NULL || len == 0, "out of memory");
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

#endif
