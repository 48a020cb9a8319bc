/* response.c - status, fields and body sources of one response. */
#include "response.h"

#include <string.h>

#include "chars.h"
#include "fields.h"
#include "mem.h"
#include "settings.h"
#include "turbo/error.h"

int turbo_response_new(turbo_response **out, int32_t status) {
    turbo_response *resp;
    if (status < 200 || status > 599)
        return TURBO_EINVAL;
    if ((resp = turbo__calloc(1, sizeof *resp)) == NULL)
        return TURBO_ENOMEM;
    resp->status = status;
    turbo__buf_init(&resp->fields, TURBO__RESPONSE_FIELDS_MAX);
    *out = resp;
    return 0;
}

static inline void drop_body(turbo_response *resp) {
    switch (resp->body_kind) {
    case TURBO__BODY_OWNED:
        turbo__free(resp->memory);
        break;
    case TURBO__BODY_REF:
        resp->free_fn(resp->free_user);
        break;
    case TURBO__BODY_FILE:
        turbo__file_body_free(resp->memory);
        break;
    default: /* nothing of its own */
        break;
    }
    resp->body_kind = TURBO__BODY_NONE;
    resp->body = NULL;
    resp->body_len = 0;
    resp->memory = NULL;
}

void turbo__response_clear(turbo_response *resp) {
    drop_body(resp);
    turbo__buf_free(&resp->fields);
}

void turbo_response_free(turbo_response *resp) {
    if (resp == NULL)
        return;
    turbo__response_clear(resp);
    if (!resp->embedded)
        turbo__free(resp);
}

int turbo__response_append_line(turbo__buf *lines, const char *name, size_t name_len, const char *value,
                                size_t value_len) {
    int rc = turbo__buf_reserve(lines, name_len + value_len + 4);
    if (rc < 0)
        return rc;
    char *to = lines->data + lines->len;
    memcpy(to, name, name_len);
    memcpy(to + name_len, ": ", 2);
    if (value_len > 0)
        memcpy(to + name_len + 2, value, value_len);
    memcpy(to + name_len + 2 + value_len, "\r\n", 2);
    lines->len += name_len + value_len + 4;
    return 0;
}

int turbo__response_line(turbo_response *resp, const char *name, const char *value) {
    return turbo__response_append_line(&resp->fields, name, strlen(name), value, strlen(value));
}

#define IS(text) turbo__ascii_equal(name, len, text, sizeof(text) - 1)

/* Fields by which the library frames messages and manages connections are not the handler's. */
static int is_forbidden(const char *name, size_t len) {
    return IS("Transfer-Encoding") || IS("Keep-Alive") || IS("Proxy-Connection");
}

static int set_length(turbo_response *resp, const char *value, size_t len) {
    char text[21];
    uint64_t length;
    if (len >= sizeof text)
        return TURBO_EINVAL;
    memcpy(text, value, len);
    text[len] = '\0';
    int rc = turbo__parse_u64(text, &length);
    if (rc < 0)
        return rc;
    resp->has_length = 1;
    resp->length = length;
    return 0;
}

int turbo_response_field_add(turbo_response *resp, const char *name, size_t len, const char *value,
                             size_t value_len) {
    if (!turbo__is_token(name, len) || !turbo__is_field_value(value, value_len) || is_forbidden(name, len))
        return TURBO_EINVAL;
    if (IS("Content-Length"))
        return set_length(resp, value, value_len);
    if (IS("Connection")) {
        if (!turbo__ascii_equal(value, value_len, "close", 5))
            return TURBO_EINVAL;
        resp->close = 1;
        return 0;
    }
    int rc = turbo__response_append_line(&resp->fields, name, len, value, value_len);
    if (rc == 0 && IS("Date"))
        resp->has_date = 1;
    if (rc == 0 && IS("Upgrade"))
        resp->upgrade = 1;
    return rc;
}

void turbo__response_body_own(turbo_response *resp, char *bytes, size_t len) {
    drop_body(resp);
    resp->body_kind = TURBO__BODY_OWNED;
    resp->memory = bytes;
    resp->body = bytes;
    resp->body_len = len;
}

void turbo__response_body_take(turbo_response *resp, turbo__file_body *body) {
    drop_body(resp);
    resp->body_kind = TURBO__BODY_FILE;
    resp->memory = body;
    resp->body_len = (size_t)body->len;
}

int turbo_response_body_copy(turbo_response *resp, const void *data, size_t len) {
    char *copy = NULL;
    if (len > 0) {
        if ((copy = turbo__malloc(len)) == NULL)
            return TURBO_ENOMEM;
        memcpy(copy, data, len);
    }
    turbo__response_body_own(resp, copy, len);
    return 0;
}

static int set_body(turbo_response *resp, uint8_t kind, const void *data, size_t len) {
    drop_body(resp);
    resp->body_kind = kind;
    resp->body = data;
    resp->body_len = len;
    return 0;
}

int turbo_response_body_static(turbo_response *resp, const void *data, size_t len) {
    return set_body(resp, TURBO__BODY_STATIC, data, len);
}

int turbo_response_body_ref(turbo_response *resp, const void *data, size_t len, turbo_free_fn free_fn, void *user) {
    set_body(resp, TURBO__BODY_REF, data, len);
    resp->free_fn = free_fn;
    resp->free_user = user;
    return 0;
}

int turbo_response_body_lend(turbo_response *resp, const void *data, size_t len) {
    return set_body(resp, TURBO__BODY_LENT, data, len);
}

int32_t turbo_response_status(const turbo_response *resp) { return resp->status; }

/* -- lines; they were made by turbo__response_append_line(), so their shape is known -- */

typedef int (*line_test)(const char *name, size_t len, const char *wanted);

static void drop_lines(turbo__buf *fields, line_test test, const char *wanted) {
    char *at = fields->data, *to = at, *end = at + fields->len;
    while (at < end) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        char *stop = (char *)memchr(at, '\n', (size_t)(end - at)) + 1;
        size_t len = (size_t)(stop - at);
        if (!test(at, (size_t)(colon - at), wanted)) {
            memmove(to, at, len);
            to += len;
        }
        at = stop;
    }
    fields->len = (size_t)(to - fields->data);
}

static int has_name(const char *name, size_t len, const char *wanted) {
    return turbo__ascii_equal(name, len, wanted, strlen(wanted));
}

static int is_of_content(const char *name, size_t len, const char *prefix) {
    size_t prefix_len = strlen(prefix);
    return len > prefix_len && turbo__ascii_equal(name, prefix_len, prefix, prefix_len) && !IS("Content-Location");
}

void turbo__response_drop_line(turbo_response *resp, const char *name) {
    if (resp->fields.len > 0)
        drop_lines(&resp->fields, has_name, name);
}

void turbo__response_drop_content(turbo_response *resp) {
    if (resp->fields.len > 0)
        drop_lines(&resp->fields, is_of_content, "Content-");
}

static turbo_str find_line(const turbo__buf *fields, const char *name, size_t name_len) {
    const char *at = fields->data, *end = at + fields->len;
    while (at < end) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        const char *stop = memchr(colon, '\r', (size_t)(end - colon));
        if (turbo__ascii_equal(at, (size_t)(colon - at), name, name_len))
            return (turbo_str){colon + 2, (size_t)(stop - colon - 2)};
        at = stop + 2;
    }
    return (turbo_str){NULL, 0};
}

turbo_str turbo_response_field(const turbo_response *resp, const char *name) {
    size_t len = strlen(name);
    if (resp->content_type.data != NULL && IS("Content-Type"))
        return resp->content_type;
    return resp->fields.len == 0 ? (turbo_str){NULL, 0} : find_line(&resp->fields, name, len);
}

turbo_str turbo_response_body(const turbo_response *resp) {
    return (turbo_str){resp->body, resp->body_kind == TURBO__BODY_FILE ? 0 : resp->body_len};
}
