/* http1_chunked.c - the chunked transfer coding, taken off. Every line ends with CRLF, exactly: what lenient readers
 * make of anything else differs, and that is what request smuggling lives on (RFC 9112 11.2). */
#include "http1_chunked.h"

#include "chars.h"

enum {
    SIZE = 0,      /* hexadecimal digits                         */
    SIZE_BLANK,    /* blanks before an extension                 */
    EXTENSION,     /* up to CR                                   */
    QUOTED,        /* a quoted string in it, which no CR may end */
    QUOTED_PAIR,   /* what a backslash escapes                   */
    SIZE_LF,       /* LF of the size line                        */
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START, /* first byte of a trailer line, or the end   */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE
};

void turbo__chunked_begin(turbo__chunked *chunked, size_t max) { *chunked = (turbo__chunked){.max = max}; }

/* 15 digits are more than any body may have, and cannot overflow. */
static int take_size(turbo__chunked *c, char byte) {
    int value = turbo__hex_value(byte);
    if (value >= 0) {
        c->left = c->left << 4 | (uint64_t)value;
        return ++c->digits <= 15 ? SIZE : -1;
    }
    if (c->digits == 0)
        return -1;
    if (byte == '\r')
        return SIZE_LF;
    if (byte == ';')
        return EXTENSION;
    return byte == ' ' || byte == '\t' ? SIZE_BLANK : -1;
}

/* Whoever looks for the end of the string, and not for CRLF, would find another end of the line. */
static int take_quoted(const turbo__chunked *c, char byte) {
    if (!turbo__is_field_value(&byte, 1))
        return -1;
    if (c->state == QUOTED_PAIR)
        return QUOTED;
    return byte == '"' ? EXTENSION : byte == '\\' ? QUOTED_PAIR : QUOTED;
}

static int take_trailer_start(char byte) {
    if (byte == '\r')
        return END_LF;
    return turbo__is_token(&byte, 1) ? TRAILER_NAME : -1;
}

static int end_of_size(const turbo__chunked *c) { return c->left == 0 ? TRAILER_START : DATA; }

/* @return the next state; -1: malformed. */
static int step(turbo__chunked *c, char byte) {
    switch (c->state) {
    case SIZE:
        return take_size(c, byte);
    case SIZE_BLANK:
        return byte == ';' ? EXTENSION : byte == ' ' || byte == '\t' ? SIZE_BLANK : -1;
    case EXTENSION:
        return byte == '\r' ? SIZE_LF : byte == '"' ? QUOTED : turbo__is_field_value(&byte, 1) ? EXTENSION : -1;
    case QUOTED:
    case QUOTED_PAIR:
        return take_quoted(c, byte);
    case SIZE_LF:
        return byte == '\n' ? end_of_size(c) : -1;
    case DATA_CR:
        return byte == '\r' ? DATA_LF : -1;
    case DATA_LF:
        c->left = 0;
        c->digits = 0;
        return byte == '\n' ? SIZE : -1;
    case TRAILER_START:
        return take_trailer_start(byte);
    case TRAILER_NAME:
        return byte == ':' ? TRAILER_VALUE : turbo__is_token(&byte, 1) ? TRAILER_NAME : -1;
    case TRAILER_VALUE:
        return byte == '\r' ? TRAILER_LF : turbo__is_field_value(&byte, 1) ? TRAILER_VALUE : -1;
    case TRAILER_LF:
        return byte == '\n' ? TRAILER_START : -1;
    default: /* END_LF */
        return byte == '\n' ? DONE : -1;
    }
}

static int is_overhead(uint8_t state) {
    return (state >= SIZE_BLANK && state <= QUOTED_PAIR) || state >= TRAILER_START;
}

static int take_data(turbo__chunked *c, const char *at, size_t len, const char **data, size_t *data_len) {
    size_t n = c->left < len ? (size_t)c->left : len;
    *data = at;
    *data_len = n;
    c->left -= n;
    if (c->left == 0)
        c->state = DATA_CR;
    return TURBO__CHUNKED_DATA;
}

int turbo__chunked_next(turbo__chunked *c, const char *bytes, size_t len, size_t *used, const char **data,
                        size_t *data_len) {
    for (size_t i = 0; i < len; i++) {
        if (c->state == DATA) {
            int rc = take_data(c, bytes + i, len - i, data, data_len);
            *used = i + *data_len;
            return rc;
        }
        uint8_t before = c->state;
        int next = step(c, bytes[i]);
        *used = i + 1;
        if (next < 0)
            return TURBO__CHUNKED_BAD;
        c->state = (uint8_t)next;
        if (next == DONE)
            return TURBO__CHUNKED_END;
        if (is_overhead(c->state) && ++c->overhead > c->max)
            return TURBO__CHUNKED_TOO_LARGE;
        if (before == SIZE_LF)
            return TURBO__CHUNKED_SIZE;
        if (before == TRAILER_LF)
            return TURBO__CHUNKED_TRAILER;
    }
    *used = len;
    return TURBO__CHUNKED_MORE;
}

int turbo__chunked_in_trailers(const turbo__chunked *c) { return c->state >= TRAILER_START; }
