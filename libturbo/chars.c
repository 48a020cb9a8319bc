/* chars.c - the octets that the grammars of HTTP and of URIs tell apart. */
#include "chars.h"

#include <stdint.h>
#include <string.h>

#define V TURBO__CHAR_VALUE
#define TV (TURBO__CHAR_TOKEN | V)
#define VU (V | TURBO__CHAR_TARGET)
#define TVU (TV | TURBO__CHAR_TARGET)
#define VUH (VU | TURBO__CHAR_HOST)
#define ALL (TVU | TURBO__CHAR_HOST)
static const unsigned char char_class[256] = {
    /* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0,
    /* 10 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* 20 */ V, ALL, VU, TV, ALL, TVU, ALL, ALL, VUH, VUH, ALL, ALL, VUH, ALL, ALL, VU,
    /* 30 */ ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, VU, VUH, VU, VUH, VU, VU,
    /* 40 */ VU, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    /* 50 */ ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, VU, VU, VU, TVU, ALL,
    /* 60 */ TVU, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL,
    /* 70 */ ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, VU, TVU, VU, ALL, 0,
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
#undef TV
#undef VU
#undef TVU
#undef VUH
#undef ALL

int turbo__all_in_class(const char *data, size_t len, unsigned class_bit) {
    const unsigned char *at = (const unsigned char *)data, *end = at + len;
    unsigned all = class_bit;
    for (; end - at >= 4; at += 4)
        all &= char_class[at[0]] & char_class[at[1]] & char_class[at[2]] & char_class[at[3]];
    for (; at < end; at++)
        all &= char_class[*at];
    return all != 0;
}

size_t turbo__class_run(const char *data, size_t len, unsigned class_bit) {
    size_t i = 0;
    while (i < len && (char_class[(unsigned char)data[i]] & class_bit) != 0)
        i++;
    return i;
}

int turbo__is_token(const char *data, size_t len) { return len > 0 && turbo__all_in_class(data, len, TURBO__CHAR_TOKEN); }

/* Whether one of eight bytes may be a control character: below SP, or DEL. */
static int may_have_control(const char *data) {
    const uint64_t ones = UINT64_MAX / 255, highs = ones * 0x80;
    uint64_t eight, del;
    memcpy(&eight, data, sizeof eight);
    del = eight ^ ones * 0x7f; /* zero where DEL is */
    return (((eight - ones * 0x20) & ~eight) | ((del - ones) & ~del)) & highs ? 1 : 0;
}

static int are_eight_of_value(const char *data) { /* HTAB is allowed */
    return !may_have_control(data) || turbo__all_in_class(data, 8, TURBO__CHAR_VALUE);
}

/* The last eight bytes may overlap those before them. */
int turbo__is_field_value(const char *data, size_t len) {
    if (len < 8)
        return turbo__all_in_class(data, len, TURBO__CHAR_VALUE);
    for (size_t i = 0; i < len - 8; i += 8)
        if (!are_eight_of_value(data + i))
            return 0;
    return are_eight_of_value(data + len - 8);
}
