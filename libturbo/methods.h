/* methods.h - the methods of a router as bits, and the Allow texts made of them. */
#ifndef TURBO_METHODS_H
#define TURBO_METHODS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "turbo/types.h"

#define TURBO__METHODS_MAX 64 /* bits of a set; the IANA registry has about 40 methods */
#define TURBO__METHOD_BYTES_MAX 256 /* of a method's name; a longer one is answered 501 (RFC 9112 3) */

/* A method is a set of one: these are always known, others get their bit when they are added. */
#define TURBO__METHOD_GET ((uint64_t)1)
#define TURBO__METHOD_HEAD ((uint64_t)2)
#define TURBO__METHOD_OPTIONS ((uint64_t)4)

typedef struct turbo__methods_name {
    char *data; /* ended by NUL */
    size_t len;
} turbo__methods_name;

typedef struct turbo__methods_text {
    uint64_t set;
    char *text;
} turbo__methods_text;

/* All-zero knows the three above. */
typedef struct turbo__methods {
    turbo__methods_name extra[TURBO__METHODS_MAX - 3]; /* bit 3 + i */
    size_t extra_count;
    turbo__methods_text *texts;
    size_t text_count, text_cap;
} turbo__methods;

void turbo__methods_free(turbo__methods *methods);

/** The bit of a method, which is added when it is new.
 *  @return 0; TURBO_EINVAL when there are TURBO__METHODS_MAX; TURBO_ENOMEM. Thread: setup. */
int turbo__methods_add(turbo__methods *methods, const char *name, uint64_t *out);

/** Forget the methods added since there were extra_count; no text may name them. Thread: setup. */
void turbo__methods_forget(turbo__methods *methods, size_t extra_count);

/** The bit of a method. @return 0 when it is unknown. Thread: any. */
uint64_t turbo__methods_find(const turbo__methods *methods, turbo_str name);

/** Whether RFC 9110 9.3 or RFC 5789 define a method of this name: an origin server that has no handler for it still
 *  recognizes it. */
int turbo__methods_is_standard(turbo_str name);

/** Whether a request with this method asks for nothing but an answer (RFC 9110 9.2.1). Here, since each request asks. */
static inline int turbo__methods_is_safe(turbo_str name) {
    switch (name.len) {
    case 3:
        return memcmp(name.data, "GET", 3) == 0;
    case 4:
        return memcmp(name.data, "HEAD", 4) == 0;
    case 5:
        return memcmp(name.data, "TRACE", 5) == 0;
    case 7:
        return memcmp(name.data, "OPTIONS", 7) == 0;
    default:
        return 0;
    }
}

/** Make the Allow text of a set, and those of its unions with the sets added before, because patterns that match the
 *  same path share an answer. Unions are left out once there are a few hundred texts.
 *  @return 0; TURBO_ENOMEM. Thread: setup. */
int turbo__methods_add_text(turbo__methods *methods, uint64_t set);

/** "GET, HEAD, OPTIONS", in alphabetical order. @return NULL for a set that was not added. Thread: any. */
const char *turbo__methods_allow(const turbo__methods *methods, uint64_t set);

#endif
