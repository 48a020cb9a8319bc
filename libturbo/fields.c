/* fields.c - where the fields of a head lie, and finding one. */
#include "fields.h"

#include <string.h>

#include "chars.h"

static unsigned char lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c; }

int turbo__ascii_equal(const char *a, size_t a_len, const char *b, size_t b_len) {
    if (a_len != b_len)
        return 0;
    for (size_t i = 0; i < a_len; i++)
        if (a[i] != b[i] && lower((unsigned char)a[i]) != lower((unsigned char)b[i]))
            return 0;
    return 1;
}

size_t turbo__fields_find(const char *base, const turbo__field *fields, size_t count, size_t from, const char *name,
                          size_t name_len) {
    for (size_t i = from; i < count; i++)
        if (turbo__ascii_equal(base + fields[i].name.at, fields[i].name.len, name, name_len))
            return i;
    return count;
}

int turbo__list_has_token(const char *value, size_t len, const char *token, size_t token_len) {
    const char *at = value, *end = value + len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma == NULL ? end : comma;
        const char *last = stop;
        while (at < last && turbo__is_blank(*at))
            at++;
        while (last > at && turbo__is_blank(last[-1]))
            last--;
        if (turbo__ascii_equal(at, (size_t)(last - at), token, token_len))
            return 1;
        at = stop + (comma != NULL);
    }
    return 0;
}
