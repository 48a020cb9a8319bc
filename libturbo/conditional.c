/* conditional.c - preconditions of a request against what a representation is now (RFC 9110 13). */
#include "conditional.h"

#include <string.h>

#include "http_date.h"

/* -- entity-tags -- */

static int is_etag_char(char c) {
    unsigned char byte = (unsigned char)c;
    return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

/* @return how many bytes at the text's beginning are an entity-tag; 0: none. */
static size_t etag_len(turbo_str text) {
    size_t at = text.len >= 2 && memcmp(text.data, "W/", 2) == 0 ? 2 : 0; /* case matters (RFC 9110 8.8.3) */
    if (at >= text.len || text.data[at++] != '"')
        return 0;
    while (at < text.len && is_etag_char(text.data[at]))
        at++;
    return at < text.len && text.data[at] == '"' ? at + 1 : 0;
}

int turbo__is_etag(turbo_str text) { return text.len > 0 && etag_len(text) == text.len; }

static int is_weak(turbo_str etag) { return etag.data[0] == 'W'; }

static turbo_str opaque_of(turbo_str etag) {
    return is_weak(etag) ? (turbo_str){etag.data + 2, etag.len - 2} : etag;
}

/* RFC 9110 8.8.3.2. */
static int matches(turbo_str a, turbo_str b, int strong) {
    if (strong && (is_weak(a) || is_weak(b)))
        return 0;
    a = opaque_of(a);
    b = opaque_of(b);
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static int is_between(char c) { return c == ' ' || c == '\t' || c == ','; }

/* Whether a list holds the tag. Tags may hold commas, so it is not split at them; what is no tag ends the list. */
static int list_has(turbo_str list, turbo_str etag, int strong) {
    size_t at = 0;
    while (at < list.len) {
        if (is_between(list.data[at])) {
            at++;
            continue;
        }
        turbo_str rest = {list.data + at, list.len - at};
        size_t len = etag_len(rest);
        if (len == 0 || (at + len < list.len && !is_between(list.data[at + len])))
            return 0;
        if (matches((turbo_str){rest.data, len}, etag, strong))
            return 1;
        at += len;
    }
    return 0;
}

/* -- fields -- */

static size_t find(const turbo__condition_fields *in, size_t from, const char *name) {
    return turbo__fields_find(in->base, in->fields, in->count, from, name, strlen(name));
}

static turbo_str value_at(const turbo__condition_fields *in, size_t index) {
    return (turbo_str){in->base + in->fields[index].value.at, in->fields[index].value.len};
}

enum { ABSENT = -1, DIFFERS = 0, MATCHES = 1 };

/* "*" stands alone, and a representation exists here: it matches. */
static int match_field(const turbo__condition_fields *in, const char *name, turbo_str etag, int strong) {
    size_t i = find(in, 0, name);
    if (i == in->count)
        return ABSENT;
    turbo_str first = value_at(in, i);
    if (first.len == 1 && first.data[0] == '*' && find(in, i + 1, name) == in->count)
        return MATCHES;
    for (; i < in->count; i = find(in, i + 1, name))
        if (etag.data != NULL && list_has(value_at(in, i), etag, strong))
            return MATCHES;
    return DIFFERS;
}

/* @return 1 and the date, when the field is there once and has one. */
static int date_field(const turbo__condition_fields *in, const char *name, const turbo__validators *now, int64_t *out) {
    size_t i = find(in, 0, name);
    if (i == in->count || find(in, i + 1, name) != in->count)
        return 0;
    return turbo__http_date_parse(out, value_at(in, i), now->now) == 0;
}

/* -- RFC 9110 13.2.2 -- */

/* Steps 1 and 2. */
static int may_proceed(const turbo__condition_fields *in, const turbo__validators *now) {
    int64_t date;
    int match = match_field(in, "If-Match", now->etag, 1);
    if (match != ABSENT)
        return match == MATCHES;
    if (now->has_modified && date_field(in, "If-Unmodified-Since", now, &date))
        return now->modified <= date;
    return 1;
}

/* Steps 3 and 4. */
static int is_known(const turbo__condition_fields *in, int reads, const turbo__validators *now) {
    int64_t date;
    int match = match_field(in, "If-None-Match", now->etag, 0);
    if (match != ABSENT)
        return match == MATCHES;
    if (reads && now->has_modified && date_field(in, "If-Modified-Since", now, &date))
        return now->modified <= date;
    return 0;
}

int turbo__conditional(const turbo__condition_fields *request, int reads, const turbo__validators *now) {
    if (!may_proceed(request, now))
        return 412;
    if (is_known(request, reads, now))
        return reads ? 304 : 412;
    return 0;
}

int turbo__conditional_range(const turbo__condition_fields *request, const turbo__validators *now) {
    int64_t date;
    size_t i = find(request, 0, "If-Range");
    if (i == request->count)
        return 1;
    turbo_str value = value_at(request, i);
    if (find(request, i + 1, "If-Range") != request->count)
        return 0;
    if (turbo__is_etag(value))
        return now->etag.data != NULL && matches(value, now->etag, 1);
    /* An exact match, of a date that is a strong validator (RFC 9110 13.1.5). */
    return now->has_modified && now->modified_is_strong && turbo__http_date_parse(&date, value, now->now) == 0 &&
           date == now->modified;
}
