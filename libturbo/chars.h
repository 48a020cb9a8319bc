/* chars.h - the octets that the grammars of HTTP and of URIs tell apart. */
#ifndef TURBO_CHARS_H
#define TURBO_CHARS_H

#include <stddef.h>

/* Classes; each is a bit. */
enum {
    TURBO__CHAR_TOKEN = 1,  /* tchar (RFC 9110 5.6.2)                                             */
    TURBO__CHAR_VALUE = 2,  /* HTAB, SP, VCHAR, obs-text: what field values hold (RFC 9110 5.5)   */
    TURBO__CHAR_TARGET = 4, /* VCHAR but '#', which begins what is never sent (RFC 9110 7.1)      */
    TURBO__CHAR_HOST = 8    /* unreserved, sub-delims: a reg-name but for escapes (RFC 3986 3.2.2) */
};

/** Whether all bytes are of one class, TURBO__CHAR_*; so they are when there are none. */
int turbo__all_in_class(const char *data, size_t len, unsigned class_bit);

/** How many bytes at the beginning are of one class. */
size_t turbo__class_run(const char *data, size_t len, unsigned class_bit);

/** Whether all bytes are tchar and there is at least one (RFC 9110 5.6.2). */
int turbo__is_token(const char *data, size_t len);

/** Whether the bytes may stand in a field value: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5). */
int turbo__is_field_value(const char *data, size_t len);

/** Optional white space is made of these (RFC 9110 5.6.3). */
static inline int turbo__is_blank(char c) { return c == ' ' || c == '\t'; }

/** Value of a hexadecimal digit; -1 for everything else. */
static inline int turbo__hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
