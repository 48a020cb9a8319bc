/* fields.h - where the fields of a head lie, and finding one. */
#ifndef TURBO_FIELDS_H
#define TURBO_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#include "turbo/types.h"

/* A piece of a head: offset from the head's first byte, and length. */
typedef struct turbo__span {
    uint32_t at, len;
} turbo__span;

typedef struct turbo__field {
    turbo__span name, value;
} turbo__field;

/** Whether two runs of bytes are equal but for ASCII case. */
int turbo__ascii_equal(const char *a, size_t a_len, const char *b, size_t b_len);

/** Index of the first field of this name at or behind index `from`. @return count when there is none. */
size_t turbo__fields_find(const char *base, const turbo__field *fields, size_t count, size_t from, const char *name,
                          size_t name_len);

/** Whether a comma-separated list (RFC 9110 5.6.1) holds this token, without regard to case. */
int turbo__list_has_token(const char *value, size_t len, const char *token, size_t token_len);

#endif
