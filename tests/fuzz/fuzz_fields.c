/* fuzz_fields.c - field syntax, lists of tokens, Host, Content-Length and the chunked coding, each against a reference
 * that is written from the RFC and not from the code.
 *
 * Input: what to try (1 byte, a letter of `tries`), then the bytes of it. */
#include <arpa/inet.h>
#include <strings.h>

#include "chars.h"
#include "fields.h"
#include "fuzz.h"
#include "http1_chunked.h"
#include "http1_parse.h"

#define SPLITS_MAX 400 /* longer inputs are not cut everywhere */

typedef struct text {
    const char *data;
    size_t len;
} text;

static int is_in(char c, const char *set) { return c != '\0' && strchr(set, c) != NULL; }

#define DIGITS "0123456789"
#define HEX DIGITS "abcdefABCDEF"
#define ALPHA "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TCHARS ALPHA DIGITS "!#$%&'*+-.^_`|~"

static int all_in(text t, const char *set) {
    for (size_t i = 0; i < t.len; i++)
        if (!is_in(t.data[i], set))
            return 0;
    return 1;
}

/* RFC 9110 5.5: HTAB, SP, VCHAR, obs-text. */
static int is_value_char(char byte) {
    unsigned char c = (unsigned char)byte;
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static int is_value(text t) {
    for (size_t i = 0; i < t.len; i++)
        if (!is_value_char(t.data[i]))
            return 0;
    return 1;
}

static int is_token(text t) { return t.len > 0 && all_in(t, TCHARS); }

/* Without the blanks around (RFC 9110 5.6.3). */
static text trim(text t) {
    while (t.len > 0 && is_in(t.data[0], " \t")) {
        t.data++;
        t.len--;
    }
    while (t.len > 0 && is_in(t.data[t.len - 1], " \t"))
        t.len--;
    return t;
}

/* Up to a byte, or all; *t keeps what is behind it. */
static text cut_at(text *t, char byte) {
    const char *at = t->len == 0 ? NULL : memchr(t->data, byte, t->len);
    text first = *t;
    *t = (text){NULL, 0};
    if (at != NULL) {
        size_t len = (size_t)(at - first.data);
        *t = (text){at + 1, first.len - len - 1};
        first.len = len;
    }
    return first;
}

static int is_word(text t, const char *word) {
    return t.len == strlen(word) && strncasecmp(t.data, word, t.len) == 0 && memchr(t.data, '\0', t.len) == NULL;
}

/* ---- one head through the parser ---- */

typedef struct seen {
    int heads, refused;
    uint8_t keep_alive, chunked;
    uint64_t content_length;
    char *names_and_values; /* "name:value\n", one behind the other */
    size_t len;
} seen;

static void note(seen *s, const char *data, size_t len, char end) {
    MUST((s->names_and_values = realloc(s->names_and_values, s->len + len + 1)) != NULL, "out of memory");
    if (len > 0)
        memcpy(s->names_and_values + s->len, data, len);
    s->len += len;
    s->names_and_values[s->len++] = end;
}

static void on_begin(void *user) { (void)user; }

static int on_head(void *user, const turbo__h1_head *head) {
    seen *s = user;
    s->heads++;
    s->keep_alive = head->keep_alive;
    s->chunked = head->chunked;
    s->content_length = head->content_length;
    for (size_t i = 0; i < head->field_count; i++) {
        const turbo__field *f = &head->fields[i];
        note(s, head->raw + f->name.at, f->name.len, ':');
        note(s, head->raw + f->value.at, f->value.len, '\n');
    }
    return 1;
}

static int on_chunk(void *user, uint64_t size) {
    (void)user, (void)size;
    return 1;
}

static int on_body(void *user, const char *data, size_t len) {
    (void)user, (void)data, (void)len;
    return 1;
}

static int on_trailer(void *user, turbo_str name, turbo_str value) {
    (void)user, (void)name, (void)value;
    return 1;
}

static int on_end(void *user) {
    (void)user;
    return 1;
}

static const turbo__h1_events events = {on_begin, on_head, on_chunk, on_body, on_trailer, on_end};

/* before + bytes + after, in a block of that size. */
static text join(const char *before, text t, const char *after) {
    size_t first = strlen(before), last = strlen(after);
    char *all = malloc(first + t.len + last);
    MUST(all != NULL, "out of memory");
    memcpy(all, before, first);
    if (t.len > 0)
        memcpy(all + first, t.data, t.len);
    memcpy(all + first + t.len, after, last);
    return (text){all, first + t.len + last};
}

static seen parse_head(const char *before, text t, const char *after) {
    static const turbo__h1_limits limits = {1 << 20, 10000, 1 << 16};
    seen s = {0};
    turbo__h1_parser *parser;
    text all = join(before, t, after);
    size_t used = 0;
    MUST(turbo__h1_parser_new(&parser, &events, &limits) == 0, "out of memory");
    int rc = turbo__h1_feed(parser, &s, all.data, all.len, &used);
    s.refused = rc == TURBO__H1_ERROR ? turbo__h1_status(parser) : 0;
    MUST((s.heads == 1) == (s.refused == 0), "%d heads, status %d", s.heads, s.refused);
    turbo__h1_parser_free(parser);
    free((char *)all.data);
    return s;
}

/* ---- Host: RFC 3986 3.2.2 ---- */

static int is_reg_name(text t) {
    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] != '%' && !is_in(t.data[i], ALPHA DIGITS "-._~!$&'()*+,;="))
            return 0;
        if (t.data[i] == '%' && (t.len - i < 3 || !is_in(t.data[i + 1], HEX) || !is_in(t.data[i + 2], HEX)))
            return 0;
    }
    return t.len > 0;
}

static int is_ip_future(text t) {
    text version = cut_at(&t, '.');
    return version.len >= 2 && is_in(version.data[0], "vV") && all_in((text){version.data + 1, version.len - 1}, HEX) &&
           t.len > 0 && all_in(t, ALPHA DIGITS "-._~!$&'()*+,;=:");
}

static int is_ip_literal(text t) {
    char name[64];
    struct in6_addr address;
    if (is_ip_future(t))
        return 1;
    if (t.len >= sizeof name || !all_in(t, HEX ":."))
        return 0;
    if (t.len > 0)
        memcpy(name, t.data, t.len);
    name[t.len] = '\0';
    return inet_pton(AF_INET6, name, &address) == 1;
}

static int is_port(text t) {
    while (t.len > 0 && t.data[0] == '0') {
        t.data++;
        t.len--;
    }
    if (!all_in(t, DIGITS) || t.len > 5)
        return 0;
    char digits[8] = "";
    if (t.len > 0)
        memcpy(digits, t.data, t.len);
    return strtoul(digits, NULL, 10) <= 65535;
}

static int is_host(text t) {
    text host;
    if (t.len > 0 && t.data[0] == '[') {
        text rest = {t.data + 1, t.len - 1};
        if (memchr(rest.data, ']', rest.len) == NULL)
            return 0;
        host = cut_at(&rest, ']');
        return is_ip_literal(host) &&
               (rest.len == 0 || (rest.data[0] == ':' && is_port((text){rest.data + 1, rest.len - 1})));
    }
    host = cut_at(&t, ':');
    return is_reg_name(host) && is_port(t);
}

static int is_one_line(text t) {
    return t.len == 0 || (memchr(t.data, '\r', t.len) == NULL && memchr(t.data, '\n', t.len) == NULL);
}

static void try_host(text t) {
    if (!is_one_line(t))
        return;
    seen s = parse_head("GET / HTTP/1.1\r\nHost:", t, "\r\n\r\n");
    int fine = is_value(t) && is_host(trim(t));
    MUST((s.refused == 0) == fine, "Host \"%.*s\": status %d, but %d", (int)t.len, t.data, s.refused, fine);
    free(s.names_and_values);
}

/* ---- Content-Length, Connection, Transfer-Encoding ---- */

static void try_length(text t) {
    char digits[20] = "";
    if (!is_one_line(t))
        return;
    seen s = parse_head("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:", t, "\r\n\r\n");
    text value = trim(t);
    int fine = value.len >= 1 && value.len <= 18 && all_in(value, DIGITS);
    MUST((s.refused == 0) == fine, "length \"%.*s\": status %d", (int)t.len, t.data, s.refused);
    if (fine) {
        memcpy(digits, value.data, value.len);
        MUST(s.content_length == strtoull(digits, NULL, 10), "length %s", digits);
    }
    MUST(fine || s.refused == 400, "status %d", s.refused);
    free(s.names_and_values);
}

static int list_has(text list, const char *word) {
    while (list.len > 0)
        if (is_word(trim(cut_at(&list, ',')), word))
            return 1;
    return 0;
}

static void try_connection(text t) {
    if (!is_one_line(t))
        return;
    for (int version = 10; version <= 11; version++) {
        seen s = parse_head(version == 10 ? "GET / HTTP/1.0\r\nHost: h\r\nConnection:" :
                                            "GET / HTTP/1.1\r\nHost: h\r\nConnection:", t, "\r\n\r\n");
        MUST((s.refused == 0) == is_value(t), "status %d", s.refused);
        int keep = !list_has(t, "close") && (version == 11 || list_has(t, "keep-alive"));
        MUST(s.refused != 0 || s.keep_alive == keep, "HTTP/1.%d, \"%.*s\"", version % 10, (int)t.len, t.data);
        free(s.names_and_values);
    }
}

static void try_coding(text t) {
    if (!is_one_line(t))
        return;
    seen s = parse_head("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:", t, "\r\n\r\n");
    int fine = is_word(trim(t), "chunked");
    MUST((s.refused == 0) == fine, "coding \"%.*s\": status %d", (int)t.len, t.data, s.refused);
    MUST(!fine || s.chunked, "not chunked");
    MUST(fine || s.refused == 400 || (s.refused == 501 && is_value(t) && list_has(t, "chunked")), "status %d",
         s.refused);
    free(s.names_and_values);
}

static void try_list(text t) {
    text token = cut_at(&t, '\n');
    char word[64];
    if (token.len >= sizeof word || memchr(token.len == 0 ? "" : token.data, '\0', token.len) != NULL || token.len == 0)
        return;
    memcpy(word, token.data, token.len);
    word[token.len] = '\0';
    if (!is_token(token)) /* that is what the function is for */
        return;
    char *list = copy_of(t.data, t.len);
    int expected = list_has((text){list, t.len}, word);
    MUST((turbo__list_has_token(list, t.len, word, token.len) != 0) == expected, "%s in \"%.*s\"", word, (int)t.len,
         list);
    free(list);
}

static void try_classes(text t) {
    char *bytes = copy_of(t.data, t.len);
    t.data = bytes;
    MUST((turbo__is_token(bytes, t.len) != 0) == is_token(t), "token");
    MUST((turbo__is_field_value(bytes, t.len) != 0) == is_value(t), "value");
    text rest = t, first = cut_at(&rest, ',');
    int equal = first.len == rest.len && (rest.len == 0 || (memchr(first.data, '\0', first.len) == NULL &&
                                                            strncasecmp(first.data, rest.data, rest.len) == 0));
    if (first.len == 0 || memchr(first.data, '\0', first.len) == NULL)
        MUST((turbo__ascii_equal(first.data, first.len, rest.data, rest.len) != 0) == equal, "equal");
    free(bytes);
}

/* ---- fields: RFC 9112 5 ---- */

/* Names that more is asked of than syntax. */
static int is_judged(text name) {
    static const char *const names[] = {"Host", "Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_word(name, names[i]))
            return 1;
    return 0;
}

/* Take field lines apart, up to the empty one. @return whether they are well-formed. */
static int split_fields(text lines, seen *out, int *judged) {
    for (;;) {
        const char *cr = memchr(lines.data, '\r', lines.len), *lf = memchr(lines.data, '\n', lines.len);
        if (cr == NULL || lf != cr + 1)
            return 0; /* every line ends with CRLF, and holds no CR or LF else */
        text line = {lines.data, (size_t)(cr - lines.data)};
        lines.len -= line.len + 2;
        lines.data = lf + 1;
        if (line.len == 0)
            return 1;
        if (memchr(line.data, ':', line.len) == NULL)
            return 0;
        text name = cut_at(&line, ':');
        if (!is_token(name) || !is_value(line))
            return 0;
        line = trim(line);
        *judged |= is_judged(name);
        note(out, name.data, name.len, ':');
        note(out, line.data, line.len, '\n');
    }
}

static void try_fields(text t) {
    static const char before[] = "GET / HTTP/1.1\r\nHost: h\r\n", after[] = "\r\n\r\n";
    seen s = parse_head(before, t, after), expected = {0};
    text all = join("Host: h\r\n", t, after);
    int judged = 0;
    text lines = {all.data + 9, all.len - 9}; /* our own Host is known to be fine */
    note(&expected, "Host", 4, ':');
    note(&expected, "h", 1, '\n');
    int fine = split_fields(lines, &expected, &judged);
    if (!judged)
        MUST((s.refused == 0) == fine, "fields \"%.*s\": status %d, but %d", (int)t.len, t.data, s.refused, fine);
    MUST(fine || s.refused != 0, "fields \"%.*s\" were taken", (int)t.len, t.data);
    if (s.refused == 0)
        MUST(s.len == expected.len && memcmp(s.names_and_values, expected.names_and_values, s.len) == 0,
             "fields \"%.*s\" are told as \"%.*s\"", (int)t.len, t.data, (int)s.len, s.names_and_values);
    free((char *)all.data);
    free(s.names_and_values);
    free(expected.names_and_values);
}

/* ---- the chunked coding: RFC 9112 7.1 ---- */

typedef struct decoded {
    char *data;
    size_t len;
    size_t used;   /* of the coded bytes: up to the byte that decided, included */
    int rc;        /* MORE, END, BAD or TOO_LARGE */
    int trailers;  /* lines */
} decoded;

/* The reference reads byte by byte with a position; each reader returns 0, or what ends it all. */
typedef struct reader {
    text in;
    size_t at, overhead, max;
    decoded *out;
} reader;

enum { GO_ON = 1 };

static int peek(const reader *r, char *byte) {
    if (r->at == r->in.len)
        return 0;
    *byte = r->in.data[r->at];
    return 1;
}

/* Use the byte up; costs: it counts against the limit. */
static int use(reader *r, int costs) {
    r->at++;
    return costs && ++r->overhead > r->max ? TURBO__CHUNKED_TOO_LARGE : GO_ON;
}

static int bad(reader *r) {
    r->at++;
    return TURBO__CHUNKED_BAD;
}

static int expect(reader *r, char wanted, int costs) {
    char c;
    if (!peek(r, &c))
        return TURBO__CHUNKED_MORE;
    return c == wanted ? use(r, costs) : bad(r);
}

static int read_size(reader *r, uint64_t *size) {
    char c;
    size_t digits = 0;
    *size = 0;
    while (peek(r, &c) && is_in(c, HEX)) {
        char one[2] = {c, '\0'};
        if (++digits > 15)
            return bad(r);
        *size = *size * 16 + strtoul(one, NULL, 16);
        (void)use(r, 0);
    }
    if (!peek(r, &c))
        return TURBO__CHUNKED_MORE;
    return digits > 0 ? GO_ON : bad(r);
}

/* Blanks, then ";" and anything that may stand in a field up to CR, which must not stand within a quoted string. */
static int read_extensions(reader *r) {
    char c, before = 0;
    int quoted = 0, begun = 0, rc;
    while (peek(r, &c)) {
        if (!begun && c == '\r' && before == 0)
            return GO_ON;
        if (begun && c == '\r' && !quoted)
            return GO_ON;
        if (!begun ? !is_in(c, " \t;") : !is_value_char(c))
            return bad(r);
        if (begun && quoted && before == '\\')
            c = ' '; /* escaped: neither ends the string nor escapes */
        else if (begun && c == '"')
            quoted = !quoted;
        begun |= c == ';';
        before = c;
        if ((rc = use(r, 1)) != GO_ON)
            return rc;
    }
    return TURBO__CHUNKED_MORE;
}

static int read_data(reader *r, uint64_t size) {
    size_t left = r->in.len - r->at, n = size < left ? (size_t)size : left;
    if (n > 0)
        memcpy(r->out->data + r->out->len, r->in.data + r->at, n);
    r->out->len += n;
    r->at += n;
    return n < size ? TURBO__CHUNKED_MORE : GO_ON;
}

static int read_trailer_line(reader *r) {
    char c;
    int rc, value = 0;
    size_t name = 0;
    while (peek(r, &c) && !(value && c == '\r')) {
        if (!value && c == ':' && name > 0)
            value = 1;
        else if (value ? !is_value_char(c) : !is_in(c, TCHARS))
            return bad(r);
        name++;
        if ((rc = use(r, 1)) != GO_ON)
            return rc;
    }
    if ((rc = expect(r, '\r', 1)) == GO_ON)
        rc = expect(r, '\n', 1);
    r->out->trailers += rc == GO_ON;
    return rc;
}

static int read_trailers(reader *r) {
    char c;
    int rc;
    while (peek(r, &c)) {
        if (c == '\r') {
            if ((rc = use(r, 1)) == GO_ON && (rc = expect(r, '\n', 0)) == GO_ON)
                rc = TURBO__CHUNKED_END;
            return rc;
        }
        if ((rc = read_trailer_line(r)) != GO_ON)
            return rc;
    }
    return TURBO__CHUNKED_MORE;
}

static int read_chunk(reader *r) {
    uint64_t size;
    int rc;
    if ((rc = read_size(r, &size)) != GO_ON || (rc = read_extensions(r)) != GO_ON ||
        (rc = expect(r, '\r', 0)) != GO_ON || (rc = expect(r, '\n', size == 0)) != GO_ON)
        return rc;
    if (size == 0)
        return read_trailers(r);
    if ((rc = read_data(r, size)) != GO_ON || (rc = expect(r, '\r', 0)) != GO_ON)
        return rc;
    return expect(r, '\n', 0);
}

static decoded reference(text t, size_t max) {
    decoded out = {malloc(t.len + 1), 0, 0, 0, 0};
    reader r = {t, 0, 0, max, &out};
    int rc;
    MUST(out.data != NULL, "out of memory");
    while ((rc = read_chunk(&r)) == GO_ON) {
    }
    out.rc = rc;
    out.used = r.at;
    return out;
}

static int is_on_the_way(int rc) { return rc >= TURBO__CHUNKED_MORE && rc != TURBO__CHUNKED_END; }

static void take_line_end(int rc, const turbo__chunked *c, const char *end, decoded *out) {
    MUST(end[-1] == '\n', "a line that has not ended");
    MUST(turbo__chunked_in_trailers(c) == (rc == TURBO__CHUNKED_TRAILER || c->left == 0), "in trailers, or not");
    out->trailers += rc == TURBO__CHUNKED_TRAILER;
}

/* Feed a piece. @return 0 when nothing more may be fed. */
static int feed(turbo__chunked *c, text piece, decoded *out) {
    char *copy = copy_of(piece.data, piece.len);
    size_t at = 0, used, len;
    const char *data;
    int rc;
    do {
        rc = turbo__chunked_next(c, copy + at, piece.len - at, &used, &data, &len);
        MUST(used <= piece.len - at, "%zu bytes used of %zu", used, piece.len - at);
        if (rc == TURBO__CHUNKED_DATA) {
            MUST(len > 0 && data >= copy + at && data + len == copy + at + used, "a piece of data that is none");
            memcpy(out->data + out->len, data, len);
            out->len += len;
        } else if (rc == TURBO__CHUNKED_SIZE || rc == TURBO__CHUNKED_TRAILER) {
            take_line_end(rc, c, copy + at + used, out);
        }
        at += used;
    } while (is_on_the_way(rc) && at < piece.len);
    free(copy);
    out->used += at;
    out->rc = is_on_the_way(rc) ? TURBO__CHUNKED_MORE : rc;
    return out->rc == TURBO__CHUNKED_MORE;
}

static void compare_cut(text t, size_t max, size_t at, size_t step, const decoded *expected) {
    decoded got = {malloc(t.len + 1), 0, 0, 0, 0};
    turbo__chunked c;
    MUST(got.data != NULL, "out of memory");
    turbo__chunked_begin(&c, max);
    int more = at == 0 || feed(&c, (text){t.data, at}, &got);
    for (; more && at < t.len; at += step)
        more = feed(&c, (text){t.data + at, t.len - at < step ? t.len - at : step}, &got);
    MUST(got.rc == expected->rc && got.used == expected->used, "%d after %zu bytes, not %d after %zu", got.rc, got.used,
         expected->rc, expected->used);
    MUST(got.trailers == expected->trailers, "%d trailers, not %d", got.trailers, expected->trailers);
    MUST(got.len == expected->len && memcmp(got.data, expected->data, got.len) == 0, "other data");
    free(got.data);
}

static void try_chunked(text t, size_t max) {
    decoded expected = reference(t, max);
    if (t.len > 0) {
        compare_cut(t, max, 0, t.len, &expected);
        compare_cut(t, max, 0, 1, &expected);
    }
    for (size_t at = 1; at < t.len && t.len <= SPLITS_MAX; at++)
        compare_cut(t, max, at, t.len, &expected);
    free(expected.data);
}

static void try_chunked_free(text t) { try_chunked(t, 65536); }
static void try_chunked_tight(text t) { try_chunked(t, 12); }

/* ---- */

static const struct {
    char letter;
    void (*fn)(text t);
} tries[] = {{'h', try_host},  {'l', try_length},  {'c', try_connection},   {'t', try_coding},       {'i', try_list},
             {'b', try_classes}, {'f', try_fields}, {'k', try_chunked_free}, {'K', try_chunked_tight}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    char letter = (char)take_byte(&in);
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++)
        if (tries[i].letter == letter)
            tries[i].fn((text){(const char *)in.at, in.left});
    return 0;
}
