/* demo_json.c - JSON texts of the demo. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void demo_put(demo_text *out, const char *data, size_t len) {
    if (out->cap - out->len < len && !out->failed) {
        size_t cap = (out->len + len) * 2;
        char *grown = realloc(out->data, cap);
        out->failed = grown == NULL;
        if (grown != NULL) {
            out->data = grown;
            out->cap = cap;
        }
    }
    if (out->failed)
        return;
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

void demo_put_text(demo_text *out, const char *s) { demo_put(out, s, strlen(s)); }

/* An ASCII character inside a JSON string (RFC 8259 7). */
static void put_ascii(demo_text *out, unsigned char c) {
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = c == 0 ? NULL : strchr(special, c);
    char escape[8];
    if (found != NULL)
        demo_put(out, (char[]){'\\', letters[found - special]}, 2);
    else if (c < 0x20)
        demo_put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    else
        demo_put(out, (const char *)&c, 1);
}

/* Any bytes as a JSON string: each byte from 0x80 on is taken as a character of Latin-1, so that none is lost. */
void demo_put_latin1(demo_text *out, turbo_str s) {
    char escape[8];
    demo_put(out, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x80)
            put_ascii(out, c);
        else
            demo_put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    }
    demo_put(out, "\"", 1);
}

/* How many bytes at s begin a UTF-8 character; *whole says whether they are all of it (Unicode 3.9, table 3-7). */
static size_t utf8_prefix(const unsigned char *s, size_t len, int *whole) {
    size_t want = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2, n = 1;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte: no overlong forms, surrogates, or beyond U+10FFFF */
    *whole = 0;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 1;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (; n < want && n < len && s[n] >= low && s[n] <= high; n++) {
        low = 0x80;
        high = 0xbf;
    }
    *whole = n == want;
    return n;
}

/* UTF-8 text as a JSON string; what is no UTF-8 becomes U+FFFD. */
void demo_put_utf8(demo_text *out, turbo_str s) {
    const unsigned char *bytes = (const unsigned char *)s.data;
    demo_put(out, "\"", 1);
    for (size_t i = 0, n; i < s.len; i += n) {
        int whole;
        n = 1;
        if (bytes[i] < 0x80) {
            put_ascii(out, bytes[i]);
            continue;
        }
        n = utf8_prefix(bytes + i, s.len - i, &whole);
        demo_put(out, whole ? s.data + i : "\xef\xbf\xbd", whole ? n : 3);
    }
    demo_put(out, "\"", 1);
}

int demo_reply_json(turbo_request *req, demo_text *out) {
    int rc = out->failed ? TURBO_ENOMEM : turbo_request_reply(req, 200, "application/json", out->data, out->len);
    free(out->data);
    return rc;
}
