/* fields.c - where the fields of a head lie, and finding one. */
#include "fields.h"

#include <string.h>

/* Bits of char_class. */
enum { TCHAR = 1, VALUE = 2 };

/* tchar: RFC 9110 5.6.2. VALUE: HTAB, SP, VCHAR and obs-text, RFC 9110 5.5. */
#define V VALUE
#define B (TCHAR | VALUE)
static const unsigned char char_class[256] = {
    /* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0,
    /* 10 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* 20 */ V, B, V, B, B, B, B, B, V, V, B, B, V, B, B, V,
    /* 30 */ B, B, B, B, B, B, B, B, B, B, V, V, V, V, V, V,
    /* 40 */ V, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    /* 50 */ B, B, B, B, B, B, B, B, B, B, B, V, V, V, B, B,
    /* 60 */ B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    /* 70 */ B, B, B, B, B, B, B, B, B, B, B, V, B, V, B, 0,
    /* 80 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* 90 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* a0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* b0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* c0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* d0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* e0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
    /* f0 */ V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V,
};
#undef V
#undef B

static unsigned char lower(unsigned char c) { return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c; }

int turbo__ascii_equal(const char *a, size_t a_len, const char *b, size_t b_len) {
    if (a_len != b_len)
        return 0;
    for (size_t i = 0; i < a_len; i++)
        if (lower((unsigned char)a[i]) != lower((unsigned char)b[i]))
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

static int is_blank(char c) { return c == ' ' || c == '\t'; }

int turbo__list_has_token(const char *value, size_t len, const char *token, size_t token_len) {
    const char *at = value, *end = value + len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma == NULL ? end : comma;
        const char *last = stop;
        while (at < last && is_blank(*at))
            at++;
        while (last > at && is_blank(last[-1]))
            last--;
        if (turbo__ascii_equal(at, (size_t)(last - at), token, token_len))
            return 1;
        at = stop + (comma != NULL);
    }
    return 0;
}

static int all_in_class(const char *data, size_t len, unsigned char bit) {
    unsigned char all = bit;
    for (size_t i = 0; i < len; i++)
        all &= char_class[(unsigned char)data[i]];
    return all != 0;
}

int turbo__is_token(const char *data, size_t len) { return len > 0 && all_in_class(data, len, TCHAR); }

/* Whether one of eight bytes may be a control character: below SP, or DEL. */
static int may_have_control(const char *data) {
    const uint64_t ones = UINT64_MAX / 255, highs = ones * 0x80;
    uint64_t eight, del;
    memcpy(&eight, data, sizeof eight);
    del = eight ^ ones * 0x7f; /* zero where DEL is */
    return (((eight - ones * 0x20) & ~eight) | ((del - ones) & ~del)) & highs ? 1 : 0;
}

int turbo__is_field_value(const char *data, size_t len) {
    size_t i = 0;
    for (; len - i >= 8; i += 8)
        if (may_have_control(data + i) && !all_in_class(data + i, 8, VALUE)) /* HTAB is allowed */
            return 0;
    return all_in_class(data + i, len - i, VALUE);
}
