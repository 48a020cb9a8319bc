/* range.h - the Range field -> the pieces of a representation that it asks for (RFC 9110 14). */
#ifndef TURBO_RANGE_H
#define TURBO_RANGE_H

#include <stddef.h>
#include <stdint.h>

#include "turbo/types.h"

#define TURBO__RANGES_MAX 16

typedef struct turbo__range {
    uint64_t first, len; /* len is never 0 */
} turbo__range;

typedef struct turbo__ranges {
    size_t count;
    turbo__range list[TURBO__RANGES_MAX];
} turbo__ranges;

enum {
    TURBO__RANGE_IGNORED = 0,  /* answer as if the field were not there          */
    TURBO__RANGE_PARTIAL,      /* 206 with the ranges, which do not overlap      */
    TURBO__RANGE_UNSATISFIABLE /* 416                                            */
};

/**
 * Read the field's value.
 *
 * Ignored (RFC 9110 14.2 allows it): another unit than bytes, anything malformed, more than TURBO__RANGES_MAX ranges,
 * and every range of an empty representation but those that cannot be satisfied. Ranges that overlap, touch, or lie
 * less than a part's head apart become one (15.3.7.2); so what is sent is never much more than the whole (17.15).
 *
 * @param out   receives the ranges, in the order asked for; each lies within size.
 * @param size  of the representation, in bytes.
 * @return TURBO__RANGE_*.
 */
int turbo__ranges_parse(turbo__ranges *out, turbo_str value, uint64_t size);

#endif
