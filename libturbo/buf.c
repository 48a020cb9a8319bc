/* buf.c - a growable buffer that always has a maximum. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "turbo/error.h"

#define CAP_FIRST 64
#define PRINTF_ON_STACK 512

static size_t next_cap(const turbo__buf *buf, size_t needed) {
    size_t cap = buf->cap < CAP_FIRST ? CAP_FIRST : buf->cap;
    while (cap < needed) {
        if (cap > buf->max / 2)
            return buf->max;
        cap *= 2;
    }
    return cap < buf->max ? cap : buf->max;
}

void turbo__buf_init(turbo__buf *buf, size_t max) { *buf = (turbo__buf){.max = max}; }

int turbo__buf_reserve(turbo__buf *buf, size_t more) {
    if (more <= buf->cap - buf->len)
        return 0;
    if (more > buf->max - buf->len)
        return TURBO_ETOOBIG;
    size_t cap = next_cap(buf, buf->len + more);
    char *data = turbo__realloc(buf->data, cap);
    if (data == NULL)
        return TURBO_ENOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int turbo__buf_append(turbo__buf *buf, const void *data, size_t len) {
    int rc;
    if (len == 0)
        return 0; /* data may be NULL, which memcpy must not see */
    if ((rc = turbo__buf_reserve(buf, len)) < 0)
        return rc;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return 0;
}

int turbo__buf_append_str(turbo__buf *buf, const char *text) { return turbo__buf_append(buf, text, strlen(text)); }

/* Not formatted in place: vsnprintf() ends its text by a NUL, for which a buffer filled to its maximum has no room. */
static __attribute__((format(printf, 3, 0))) int append_long(turbo__buf *buf, size_t len, const char *format,
                                                             va_list args) {
    int rc;
    char *text;
    if (len > buf->max - buf->len)
        return TURBO_ETOOBIG;
    if ((text = turbo__malloc(len + 1)) == NULL)
        return TURBO_ENOMEM;
    (void)vsnprintf(text, len + 1, format, args);
    rc = turbo__buf_append(buf, text, len);
    turbo__free(text);
    return rc;
}

int turbo__buf_printf(turbo__buf *buf, const char *format, ...) {
    char text[PRINTF_ON_STACK];
    va_list args, again;
    int rc;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(text, sizeof text, format, args);
    if (len < 0)
        rc = TURBO_ETOOBIG; /* the only failure of these formats: more than INT_MAX bytes */
    else if ((size_t)len < sizeof text)
        rc = turbo__buf_append(buf, text, (size_t)len);
    else
        rc = append_long(buf, (size_t)len, format, again);
    va_end(again);
    va_end(args);
    return rc;
}

void turbo__buf_clear(turbo__buf *buf) { buf->len = 0; }

void turbo__buf_free(turbo__buf *buf) {
    turbo__free(buf->data);
    turbo__buf_init(buf, buf->max);
}
