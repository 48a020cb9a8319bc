/* http1_head.c - what RFC 9112 2-6 and RFC 9110 ask of a request's head beyond its grammar.
 *
 * llhttp versions differ in what they let pass; everything that decides where a message ends, or whom it is for, is
 * therefore judged here, so that libturbo behaves alike with all of them. */
#include "http1_head.h"

#include <string.h>

#include "chars.h"
#include "methods.h"

static const turbo__refusal fine = {0, ""};

static turbo__refusal bad(const char *reason) { return (turbo__refusal){400, reason}; }

/* As memchr(); what is looked for is most often there at once. */
static const char *find(const char *at, char c, const char *end) {
    return at < end && *at == c ? at : memchr(at, c, (size_t)(end - at));
}

/* -- host and port: RFC 3986 3.2.2, 3.2.3 -- */

static int is_hex(char c) { return turbo__hex_value(c) >= 0; }

/* @param run  how many characters at its beginning are known to be good, and need no escape. */
static int is_reg_name(const char *at, size_t len, size_t run) {
    for (size_t i = run; i < len; i += turbo__class_run(at + i, len - i, TURBO__CHAR_HOST)) {
        if (at[i] != '%' || len - i < 3 || !is_hex(at[i + 1]) || !is_hex(at[i + 2]))
            return 0;
        i += 3;
    }
    return 1;
}

static int is_ipv4(const char *at, size_t len) {
    const char *end = at + len;
    for (int part = 0; part < 4; part++) {
        const char *from = at;
        unsigned value = 0;
        while (at < end && *at >= '0' && *at <= '9' && at - from < 3)
            value = value * 10 + (unsigned)(*at++ - '0');
        if (at == from || value > 255 || (*from == '0' && at - from > 1))
            return 0;
        if (part < 3 && (at == end || *at++ != '.'))
            return 0;
    }
    return at == end;
}

/* Eight groups of 16 bits, the last two perhaps as an IPv4 address; "::" once for at least one group of zeros. */
static int is_ipv6(const char *at, size_t len) {
    const char *end = at + len;
    int groups = 0, gap = len >= 2 && at[0] == ':' && at[1] == ':';
    if (gap)
        at += 2;
    while (at < end) {
        const char *from = at;
        while (at < end && at - from < 4 && is_hex(*at))
            at++;
        if (at < end && *at == '.')
            return is_ipv4(from, (size_t)(end - from)) && (gap ? groups <= 5 : groups == 6);
        if (at == from || ++groups > 8)
            return 0;
        if (at == end)
            break;
        if (*at++ != ':' || at == end)
            return 0;
        if (*at == ':') {
            if (gap++)
                return 0;
            at++;
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

/* "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static int is_ip_future(const char *at, size_t len) {
    size_t i = 1;
    while (i < len && is_hex(at[i]))
        i++;
    if (i == 1 || i >= len || at[i] != '.' || ++i == len)
        return 0;
    for (; i < len; i++)
        if (at[i] != ':' && !turbo__all_in_class(at + i, 1, TURBO__CHAR_HOST))
            return 0;
    return 1;
}

/* Between the brackets. */
static int is_ip_literal(const char *at, size_t len) {
    return len > 0 && (at[0] | 0x20) == 'v' ? is_ip_future(at, len) : is_ipv6(at, len);
}

static int is_port(const char *at, size_t len) {
    uint32_t port = 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t digit = (uint32_t)(unsigned char)at[i] - '0';
        if (digit > 9 || (port = port * 10 + digit) > 65535)
            return 0;
    }
    return 1;
}

/* uri-host [ ":" port ], the host not empty (RFC 9110 4.2.1, 7.2). */
static int is_host(const char *at, size_t len) {
    const char *end = at + len;
    if (len > 0 && at[0] == '[') {
        const char *close = memchr(at, ']', len);
        if (close == NULL || !is_ip_literal(at + 1, (size_t)(close - at - 1)))
            return 0;
        at = close + 1;
        return at == end || (*at == ':' && is_port(at + 1, (size_t)(end - at - 1)));
    }
    size_t run = turbo__class_run(at, len, TURBO__CHAR_HOST);
    const char *colon = find(at + run, ':', end), *stop = colon == NULL ? end : colon;
    if (stop == at || !is_reg_name(at, (size_t)(stop - at), run))
        return 0;
    return colon == NULL || is_port(colon + 1, (size_t)(end - colon - 1));
}

/* Whether a well-formed host has a port, which is not empty and not 0. */
static int has_port(const char *at, size_t len) {
    size_t digits = 0;
    int is_zero = 1;
    while (digits < len && at[len - digits - 1] >= '0' && at[len - digits - 1] <= '9')
        is_zero &= at[len - ++digits] == '0';
    return !is_zero && digits < len && at[len - digits - 1] == ':';
}

/* -- the request line: RFC 9112 3 -- */

static int is_method(const turbo__h1_head *head, const char *name) {
    return head->method.len == strlen(name) && memcmp(head->raw + head->method.at, name, head->method.len) == 0;
}

static void split_query(turbo__h1_head *head, uint32_t at, uint32_t len) {
    const char *mark = memchr(head->raw + at, '?', len);
    uint32_t path_len = mark == NULL ? len : (uint32_t)(mark - (head->raw + at));
    head->path = (turbo__span){at, path_len};
    head->has_query = mark != NULL;
    head->query = mark == NULL ? (turbo__span){at + len, 0} : (turbo__span){at + path_len + 1, len - path_len - 1};
}

/* http://authority/path?query (RFC 9112 3.2.2). A request for an https resource that came over a connection without
 * TLS has to be refused (RFC 9110 7.4): libturbo has no TLS, and nothing tells it of a gateway that it may trust. */
static turbo__refusal absolute_form(turbo__h1_head *head) {
    const char *at = head->raw + head->target.at;
    uint32_t len = head->target.len;
    uint32_t scheme = len >= 8 && turbo__ascii_equal(at, 8, "https://", 8) ? 8 : 7;
    if (len < 7 || (scheme == 7 && !turbo__ascii_equal(at, 7, "http://", 7)))
        return bad("request target of no known form");
    uint32_t stop = scheme;
    while (stop < len && at[stop] != '/' && at[stop] != '?')
        stop++;
    if (!is_host(at + scheme, stop - scheme))
        return bad("malformed authority in the request target");
    if (scheme == 8)
        return (turbo__refusal){421, "https resource over a connection without TLS"};
    split_query(head, head->target.at + stop, len - stop);
    return fine;
}

static turbo__refusal target_form(turbo__h1_head *head) {
    const char *at = head->raw + head->target.at;
    int connect = is_method(head, "CONNECT");
    split_query(head, head->target.at, head->target.len);
    if (connect) /* authority only (RFC 9112 3.2.3); the router knows no such path */
        return is_host(at, head->target.len) && has_port(at, head->target.len) ? fine
                                                                               : bad("CONNECT without host and port");
    if (head->target.len == 1 && at[0] == '*')
        return is_method(head, "OPTIONS") ? fine : bad("asterisk form without OPTIONS");
    return at[0] == '/' ? fine : absolute_form(head);
}

static turbo__refusal version(turbo__h1_head *head, const char *at, size_t len) {
    head->version = 11;
    if (len == 8 && memcmp(at, "HTTP/1.1", 8) == 0)
        return fine;
    if (len != 8 || memcmp(at, "HTTP/", 5) != 0 || at[5] < '0' || at[5] > '9' || at[6] != '.' || at[7] < '0' ||
        at[7] > '9')
        return bad("malformed HTTP version");
    if (at[5] != '1')
        return (turbo__refusal){505, "HTTP version other than 1"};
    if (at[7] == '0') /* a higher minor version is served as 1.1 (RFC 9110 2.5) */
        head->version = 10;
    return fine;
}

turbo__refusal turbo__h1_check_method(const char *method, size_t len) {
    int too_long = len > TURBO__METHOD_BYTES_MAX;
    if (!turbo__is_token(method, too_long ? TURBO__METHOD_BYTES_MAX + 1 : len))
        return bad("malformed method");
    return too_long ? (turbo__refusal){501, "method too long"} : fine;
}

turbo__refusal turbo__h1_request_line(turbo__h1_head *head, size_t len, size_t target_max) {
    const char *line = head->raw, *end = line + len;
    int is_get = len >= 4 && memcmp(line, "GET ", 4) == 0; /* most are, and need no look at each character */
    const char *space = is_get ? line + 3 : memchr(line, ' ', len);
    turbo__refusal wrong = is_get ? fine : turbo__h1_check_method(line, space == NULL ? len : (size_t)(space - line));
    if (wrong.status != 0)
        return wrong;
    if (space == NULL)
        return bad("request line without target");
    const char *target = space + 1, *stop = target + turbo__class_run(target, (size_t)(end - target), TURBO__CHAR_TARGET);
    const char *last = find(stop, ' ', end);
    if ((size_t)((last == NULL ? end : last) - target) > target_max)
        return (turbo__refusal){414, "request target too long"};
    if (last == NULL)
        return bad("request line without version");
    head->method = (turbo__span){0, (uint32_t)(space - line)};
    head->target = (turbo__span){(uint32_t)(target - line), (uint32_t)(last - target)};
    head->is_head = is_method(head, "HEAD") != 0;
    if (stop != last || stop == target)
        return bad("malformed request target");
    turbo__refusal no = version(head, last + 1, (size_t)(end - last - 1));
    return no.status != 0 ? no : target_form(head);
}

/* -- fields -- */

typedef struct judged {
    turbo__h1_head *head;
    turbo_str coding;     /* the last Transfer-Encoding          */
    uint8_t coding_early; /* chunked is in one of those before it */
    unsigned hosts, lengths, codings;
    uint8_t close, keep;
} judged;

static turbo__refusal take_length(judged *j, const char *at, size_t len) {
    uint64_t value = 0;
    if (j->lengths++ > 0)
        return bad("more than one Content-Length");
    if (len == 0 || len > 18) /* 18 digits cannot overflow */
        return bad("malformed Content-Length");
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return bad("malformed Content-Length");
        value = value * 10 + (uint64_t)(at[i] - '0');
    }
    j->head->content_length = value;
    return fine;
}

/* Whether the last of several codings is chunked, and no other. */
static int ends_chunked(const char *at, size_t len) {
    const char *last = at + len;
    while (last > at && last[-1] != ',')
        last--;
    return last > at && turbo__list_has_token(last, (size_t)(at + len - last), "chunked", 7) &&
           !turbo__list_has_token(at, (size_t)(last - at), "chunked", 7);
}

/* Several lines are one list (RFC 9110 5.3), so it is judged when all of it is here. */
static void take_coding(judged *j, const char *at, size_t len) {
    if (j->codings++ > 0)
        j->coding_early |= turbo__list_has_token(j->coding.data, j->coding.len, "chunked", 7) != 0;
    j->coding = (turbo_str){at, len};
}

static turbo__refusal judge_codings(judged *j) {
    turbo_str last = j->coding;
    if (j->codings == 0)
        return fine;
    if (j->lengths > 0)
        return bad("Content-Length and Transfer-Encoding");
    if (j->head->version < 11)
        return bad("Transfer-Encoding in HTTP/1.0");
    if (j->codings == 1 && turbo__ascii_equal(last.data, last.len, "chunked", 7)) {
        j->head->chunked = 1;
        return fine;
    }
    /* Without chunked last, and once, the body's end cannot be known: that is 400 (RFC 9112 6.3), and an unknown coding
     * below chunked is 501 (6.1). */
    int is_last = ends_chunked(last.data, last.len) ||
                  (j->codings > 1 && turbo__ascii_equal(last.data, last.len, "chunked", 7));
    return is_last && !j->coding_early ? (turbo__refusal){501, "unknown transfer coding"}
                                       : bad("chunked is not the last transfer coding");
}

/* A list, whose empty elements mean nothing (RFC 9110 5.6.1.2, 10.1.1). */
static void take_expect(turbo__h1_head *head, const char *at, size_t len) {
    const char *end = at + len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma == NULL ? end : comma;
        size_t n = (size_t)(stop - at);
        if (turbo__list_has_token(at, n, "100-continue", 12))
            head->expect_continue = 1;
        else if (n > 0 && !turbo__list_has_token(at, n, "", 0))
            head->expect_unknown = 1;
        at = stop + (comma != NULL);
    }
}

static int is_absolute(const turbo__h1_head *head) {
    const char *target = head->raw + head->target.at;
    return head->target.len > 0 && target[0] != '/' && target[0] != '*';
}

/* What a host may hold, a value may hold too: no other check is needed. */
static turbo__refusal take_host(judged *j, const char *at, size_t len) {
    if (j->hosts++ > 0)
        return bad("more than one Host");
    /* The absolute form has a host of its own, and Host does not count: it may be empty (RFC 9112 3.2, 3.2.2). */
    return is_host(at, len) || (len == 0 && is_absolute(j->head)) ? fine : bad("malformed Host");
}

/* llhttp checks the grammar of names; that a value begins right behind "name:" and holds no control characters is checked
 * here, since not every version does. */
static turbo__refusal take_field(judged *j, const turbo__field *field) {
    turbo__h1_head *head = j->head;
    const char *name = head->raw + field->name.at, *value = head->raw + field->value.at;
    size_t name_len = field->name.len, len = field->value.len;
#define IS(text) turbo__ascii_equal(name, name_len, text, sizeof(text) - 1)
    if (!turbo__is_token(name, name_len) || name[name_len] != ':')
        return bad("malformed field name");
    if (IS("Host"))
        return take_host(j, value, len);
    if (!turbo__is_field_value(value, len))
        return bad("malformed field value");
    switch (name_len) {
    case 6:
        if (IS("Expect") && head->version >= 11)
            take_expect(head, value, len);
        return fine;
    case 10:
        if (!IS("Connection"))
            return fine;
        j->close |= turbo__list_has_token(value, len, "close", 5) != 0;
        j->keep |= turbo__list_has_token(value, len, "keep-alive", 10) != 0;
        return fine;
    case 14:
        return IS("Content-Length") ? take_length(j, value, len) : fine;
    case 17:
        if (IS("Transfer-Encoding"))
            take_coding(j, value, len);
        return fine;
    default:
        return fine;
    }
#undef IS
}

turbo__refusal turbo__h1_check_fields(turbo__h1_head *head) {
    judged j = {.head = head};
    for (size_t i = 0; i < head->field_count; i++) {
        turbo__refusal no = take_field(&j, &head->fields[i]);
        if (no.status != 0)
            return no;
    }
    if (j.hosts == 0 && head->version >= 11)
        return bad("no Host");
    turbo__refusal no = judge_codings(&j);
    if (no.status != 0)
        return no;
    head->keep_alive = j.close ? 0 : head->version >= 11 || j.keep;
    return fine;
}
