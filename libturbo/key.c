/* key.c - a part of a request that requests are told apart by. */
#include "key.h"

#include <string.h>

#include "chars.h"
#include "fields.h"
#include "turbo/error.h"

static const struct {
    const char *prefix;
    uint8_t kind;
} kinds[] = {{"param:", TURBO__KEY_PARAM}, {"field:", TURBO__KEY_FIELD}, {"cookie:", TURBO__KEY_COOKIE}};

int turbo__key_parse(turbo__key *out, const char *text) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t prefix_len = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, prefix_len) != 0)
            continue;
        const char *name = text + prefix_len;
        size_t len = strlen(name);
        if (len > TURBO__KEY_NAME_MAX || !turbo__is_token(name, len))
            return TURBO_EINVAL;
        out->kind = kinds[i].kind;
        memcpy(out->name, name, len + 1);
        return 0;
    }
    return TURBO_EINVAL;
}

turbo_str turbo__cookie_find(turbo_str cookies, const char *name, size_t name_len) {
    const char *at = cookies.data, *end = at + cookies.len;
    while (at != NULL && at < end) {
        const char *semicolon = memchr(at, ';', (size_t)(end - at)), *stop = semicolon == NULL ? end : semicolon;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        if ((size_t)(stop - at) > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0)
            return (turbo_str){at + name_len + 1, (size_t)(stop - at) - name_len - 1};
        at = stop + 1;
    }
    return (turbo_str){NULL, 0};
}

/* A client may send its cookies in several fields, though it should not (RFC 6265 5.4). */
static turbo_str cookie(const turbo_request *req, const char *name) {
    turbo_str field, value, found = {NULL, 0};
    size_t name_len = strlen(name);
    for (size_t i = 0; found.data == NULL && turbo_request_field_at(req, i, &field, &value) == 0; i++)
        if (turbo__ascii_equal(field.data, field.len, "cookie", 6))
            found = turbo__cookie_find(value, name, name_len);
    return found;
}

turbo_str turbo__key_value(const turbo__key *key, const turbo_request *req) {
    switch (key->kind) {
    case TURBO__KEY_PARAM:
        return turbo_request_param(req, key->name);
    case TURBO__KEY_FIELD:
        return turbo_request_field(req, key->name);
    default:
        return cookie(req, key->name);
    }
}
