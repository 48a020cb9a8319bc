/* conditional.h - preconditions of a request against what a representation is now (RFC 9110 13). */
#ifndef TURBO_CONDITIONAL_H
#define TURBO_CONDITIONAL_H

#include <stddef.h>
#include <stdint.h>

#include "fields.h"
#include "turbo/types.h"

/* The fields of a request: as fields.h has them. */
typedef struct turbo__condition_fields {
    const char *base;
    const turbo__field *fields;
    size_t count;
} turbo__condition_fields;

/* The selected representation. */
typedef struct turbo__validators {
    turbo_str etag;             /* an entity-tag with its quotes, weak with W/; data NULL: none            */
    int64_t modified;           /* Last-Modified in seconds since 1970                                     */
    uint8_t has_modified;
    uint8_t modified_is_strong; /* it cannot have changed twice within that second (RFC 9110 8.8.2.2)      */
    int64_t now;                /* for dates with two digits of the year                                   */
} turbo__validators;

/**
 * Evaluate If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since in the order of RFC 9110 13.2.2. Only for
 * answers that would be 200 without them (13.2.1). A date that is malformed, or comes more than once, is not there; an
 * entity-tag that is malformed matches nothing.
 *
 * @param reads  the method is GET or HEAD.
 * @return 0: go on; 304; 412.
 */
int turbo__conditional(const turbo__condition_fields *request, int reads, const turbo__validators *now);

/** Whether a Range field is to be looked at: there is no If-Range, or it names just this representation (13.1.5). */
int turbo__conditional_range(const turbo__condition_fields *request, const turbo__validators *now);

/** Whether the bytes are one entity-tag (RFC 9110 8.8.3). */
int turbo__is_etag(turbo_str text);

#endif
