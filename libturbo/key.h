/* key.h - a part of a request that requests are told apart by: a path parameter, a field or a cookie. */
#ifndef TURBO_KEY_H
#define TURBO_KEY_H

#include "turbo/request.h"

#define TURBO__KEY_NAME_MAX 64 /* bytes, without the NUL */

enum { TURBO__KEY_NONE = 0, TURBO__KEY_PARAM, TURBO__KEY_FIELD, TURBO__KEY_COOKIE };

typedef struct turbo__key {
    uint8_t kind; /* TURBO__KEY_* */
    char name[TURBO__KEY_NAME_MAX + 1];
} turbo__key;

/** Read "param:id", "field:X-User" or "cookie:session". @return 0; TURBO_EINVAL, and *out is as it was. */
int turbo__key_parse(turbo__key *out, const char *text);

/** The request's value; data is NULL when it has none. */
turbo_str turbo__key_value(const turbo__key *key, const turbo_request *req);

/** The first cookie of this name in one Cookie field's value (RFC 6265 4.2.1); data is NULL when it is not there. */
turbo_str turbo__cookie_find(turbo_str cookies, const char *name, size_t name_len);

#endif
