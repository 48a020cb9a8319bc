/* http1_parse.c - HTTP/1 bytes in, events out.
 *
 * A head is parsed when it is there whole: in place when one read brought it, from a carry buffer when several did.
 * So events never depend on how the bytes were cut. Lines are looked at as they come, though, so that what can never
 * become a request is refused at once. llhttp parses the head; http1_head.c judges it; http1_chunked.c takes the
 * transfer coding off; http1_trailer.c says which trailer fields may be told. */
#include "http1_parse.h"

#include <llhttp.h>
#include <string.h>

#include "buf.h"
#include "chars.h"
#include "http1_chunked.h"
#include "http1_head.h"
#include "http1_trailer.h"
#include "mem.h"
#include "turbo/error.h"

#define FIELDS_AT_FIRST 32
#define CARRY_KEPT 4096   /* of the carry buffer, over a reset                 */
#define EMPTY_LINES_MAX 8 /* before a request line (RFC 9112 2.2 asks for one) */

enum { START = 0, START_LF, HEAD, BODY_LENGTH, BODY_CHUNKED, FAILED };

struct turbo__h1_parser {
    const turbo__h1_events *events;
    turbo__h1_limits limits;
    uint8_t state;
    uint8_t empty_lines;
    uint8_t asks_head; /* the head begins with "HEAD " */
    turbo__refusal refusal;
    llhttp_t behind_line; /* llhttp as it is behind a request line */
    llhttp_t llhttp;
    turbo__field *fields;
    size_t field_count, field_cap;
    const char *raw; /* of the head that llhttp is parsing */
    int field_error; /* TURBO_E* of a callback             */
    /* The head being gathered. */
    turbo__buf carry; /* empty while the head, or a trailer line, lies in the caller's bytes */
    size_t scanned;   /* bytes of the head whose lines were looked at             */
    size_t line_at;   /* where the line begins that is not complete               */
    size_t first_len; /* of the request line, without CRLF; 0: not complete       */
    turbo__h1_head head; /* its request line, once that is complete                  */
    /* The body being read. */
    uint64_t left;
    turbo__chunked chunked;
    size_t trailer_count; /* lines, also of fields that are dropped */
    /* The bytes that the present step may use, and how many it has. */
    size_t step_len;
    const size_t *step_used;
};

/* -- llhttp: where the fields lie -- */

static int on_name(llhttp_t *llhttp, const char *at, size_t len) {
    turbo__h1_parser *p = llhttp->data;
    if (p->field_count == p->limits.fields_max) {
        p->field_error = TURBO_ETOOBIG;
        return HPE_USER;
    }
    if (p->field_count == p->field_cap) {
        size_t cap = p->field_cap * 2 < p->limits.fields_max ? p->field_cap * 2 : p->limits.fields_max;
        turbo__field *fields = turbo__realloc(p->fields, cap * sizeof *fields);
        if (fields == NULL) {
            p->field_error = TURBO_ENOMEM;
            return HPE_USER;
        }
        p->fields = fields;
        p->field_cap = cap;
    }
    p->fields[p->field_count++] =
        (turbo__field){{(uint32_t)(at - p->raw), (uint32_t)len}, {(uint32_t)(at - p->raw + (ptrdiff_t)len + 1), 0}};
    return 0;
}

/* Called in one piece, since the head is whole; blanks around the value are not part of it (RFC 9112 5.1). */
static int on_value(llhttp_t *llhttp, const char *at, size_t len) {
    turbo__h1_parser *p = llhttp->data;
    if (p->field_count == 0)
        return HPE_USER;
    while (len > 0 && turbo__is_blank(at[0])) {
        at++;
        len--;
    }
    while (len > 0 && turbo__is_blank(at[len - 1]))
        len--;
    p->fields[p->field_count - 1].value = (turbo__span){(uint32_t)(at - p->raw), (uint32_t)len};
    return 0;
}

/* The head is all that llhttp is asked for. */
static int on_complete(llhttp_t *llhttp) {
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name, .on_header_value = on_value, .on_headers_complete = on_complete};

/* -- life -- */

static void read_some_line(llhttp_t *llhttp) {
    static const char line[] = "GET / HTTP/1.1\r\n";
    llhttp_init(llhttp, HTTP_REQUEST, &settings);
    (void)llhttp_execute(llhttp, line, sizeof line - 1);
}

int turbo__h1_parser_new(turbo__h1_parser **out, const turbo__h1_events *events, const turbo__h1_limits *limits) {
    turbo__h1_parser *p = turbo__calloc(1, sizeof *p);
    if (p == NULL)
        return TURBO_ENOMEM;
    p->events = events;
    p->limits = *limits;
    p->field_cap = limits->fields_max < FIELDS_AT_FIRST ? limits->fields_max : FIELDS_AT_FIRST;
    if ((p->fields = turbo__malloc(p->field_cap * sizeof *p->fields)) == NULL) {
        turbo__free(p);
        return TURBO_ENOMEM;
    }
    turbo__buf_init(&p->carry, limits->head_max + 1);
    read_some_line(&p->behind_line);
    *out = p;
    return 0;
}

static void begin_message(turbo__h1_parser *p) {
    p->state = START;
    p->empty_lines = 0;
    p->asks_head = 0;
    p->scanned = p->line_at = p->first_len = 0;
    turbo__buf_clear(&p->carry);
}

void turbo__h1_parser_reset(turbo__h1_parser *p) {
    begin_message(p);
    p->refusal = (turbo__refusal){0, ""};
    if (p->carry.cap > CARRY_KEPT)
        turbo__buf_free(&p->carry);
}

void turbo__h1_parser_free(turbo__h1_parser *p) {
    if (p == NULL)
        return;
    turbo__buf_free(&p->carry);
    turbo__free(p->fields);
    turbo__free(p);
}

static int refuse(turbo__h1_parser *p, int status, const char *reason) {
    p->state = FAILED;
    p->refusal = (turbo__refusal){status, reason};
    return TURBO__H1_ERROR;
}

/* -- the head -- */

static turbo__refusal explain(const turbo__h1_parser *p) {
    if (p->field_error == TURBO_ETOOBIG)
        return (turbo__refusal){431, "too many fields"};
    if (p->field_error == TURBO_ENOMEM)
        return (turbo__refusal){503, "out of memory"};
    return (turbo__refusal){400, "malformed head"};
}

/* The request line was taken apart by http1_head.c, so that methods and minor versions that llhttp does not know are
 * served (RFC 9110 2.5, 9.1): llhttp parses the fields, from the state that any other request line leaves it in. */
static llhttp_errno_t execute(turbo__h1_parser *p, const char *raw, size_t len) {
    size_t at = p->first_len + 2;
    p->raw = raw;
    p->field_count = 0;
    p->field_error = 0;
    p->llhttp = p->behind_line;
    p->llhttp.data = p;
    return llhttp_execute(&p->llhttp, raw + at, len - at);
}

/* llhttp takes no HTAB behind a Content-Length, though it is a blank like SP (RFC 9110 5.6.3): it gets SP for HTAB. */
static llhttp_errno_t execute_without_tabs(turbo__h1_parser *p, const char *raw, size_t len) {
    char *copy = turbo__malloc(len);
    if (copy == NULL) {
        p->field_error = TURBO_ENOMEM;
        return HPE_USER;
    }
    for (size_t i = 0; i < len; i++)
        copy[i] = (char)(raw[i] == '\t' ? ' ' : raw[i]);
    llhttp_errno_t code = execute(p, copy, len);
    turbo__free(copy);
    return code;
}

static turbo__refusal run_llhttp(turbo__h1_parser *p, const char *raw, size_t len) {
    llhttp_errno_t code = execute(p, raw, len);
    if (code == HPE_INVALID_CONTENT_LENGTH && memchr(raw, '\t', len) != NULL)
        code = execute_without_tabs(p, raw, len);
    p->raw = raw;
    return code == HPE_PAUSED ? (turbo__refusal){0, ""} : explain(p);
}

static int end_message(turbo__h1_parser *p, void *user) {
    begin_message(p);
    return p->events->on_end(user) != 0 ? TURBO__H1_STOPPED : TURBO__H1_MORE;
}

/* @return TURBO__H1_MORE to go on with the next bytes. */
static int take_head(turbo__h1_parser *p, void *user, const char *raw, size_t len) {
    turbo__h1_head *head = &p->head;
    turbo__refusal no = run_llhttp(p, raw, len);
    head->raw = raw;
    head->raw_len = len;
    head->fields = p->fields;
    head->field_count = p->field_count;
    if (no.status == 0)
        no = turbo__h1_check_fields(head);
    if (no.status != 0)
        return refuse(p, no.status, no.reason);
    p->left = head->content_length;
    p->state = head->chunked ? BODY_CHUNKED : BODY_LENGTH;
    p->trailer_count = 0;
    if (head->chunked)
        turbo__chunked_begin(&p->chunked, p->limits.head_max);
    int stop = p->events->on_head(user, head);
    turbo__buf_clear(&p->carry);
    if (stop)
        return TURBO__H1_STOPPED;
    return p->state == BODY_CHUNKED || p->left > 0 ? TURBO__H1_MORE : end_message(p, user);
}

/* What can never become a request line need not be read to its end. @return not 0 when it was refused. */
static int check_partial(turbo__h1_parser *p, const char *raw, size_t len) {
    if (p->first_len != 0)
        return 0;
    const char *space = memchr(raw, ' ', len);
    turbo__refusal no = turbo__h1_check_method(raw, space == NULL ? len : (size_t)(space - raw));
    if (no.status != 0)
        return refuse(p, no.status, no.reason);
    if (space == NULL)
        return 0;
    size_t target = len - (size_t)(space + 1 - raw), max = p->limits.target_max;
    if (target > max && memchr(space + 1, ' ', max + 1) == NULL)
        return refuse(p, 414, "request target too long");
    return 0;
}

/* A line that is not ended by CRLF, or has a CR within. In a request line what is wrong before that CR or LF comes
 * first, as it would have when the bytes had come one by one. @return not 0. */
static int bad_line_end(turbo__h1_parser *p, const char *raw, size_t len) {
    const char *cr = memchr(raw, '\r', len);
    size_t before = cr == NULL ? len : (size_t)(cr - raw);
    if (before > 0 && check_partial(p, raw, before) != 0)
        return TURBO__H1_ERROR;
    return refuse(p, 400, "line not ended by CRLF, or CR within it");
}

/* One that is not refused has no CR within, as nothing in it may hold one. In one that is, a CR may come first. */
static void take_request_line(turbo__h1_parser *p, const char *raw, size_t len) {
    p->head = (turbo__h1_head){.raw = raw};
    turbo__refusal no = turbo__h1_request_line(&p->head, len, p->limits.target_max);
    if (no.status != 0 && memchr(raw, '\r', len) != NULL) {
        bad_line_end(p, raw, len + 1);
        return;
    }
    p->first_len = len;
    if (no.status != 0)
        refuse(p, no.status, no.reason);
}

/* Look at one complete line, from line_at to its LF at `lf`. @return 1 when it is the empty one that ends the head. */
static int take_line(turbo__h1_parser *p, const char *raw, size_t lf) {
    const char *line = raw + p->line_at;
    size_t len = lf - p->line_at;
    if (len == 0 || line[len - 1] != '\r') {
        bad_line_end(p, raw, lf);
        return 0;
    }
    len--;
    if (p->first_len == 0)
        take_request_line(p, raw, len);
    else if (len > 0 && memchr(line, '\r', len) != NULL)
        bad_line_end(p, raw, lf);
    else if (len > 0 && turbo__is_blank(line[0]))
        refuse(p, 400, "folded line"); /* obs-fold, RFC 9112 5.2 */
    p->line_at = lf + 1;
    return len == 0;
}

/* @return NULL when there is none. The last line of a head is empty, and needs no search. */
static const char *next_lf(const char *at, size_t len) {
    return len >= 2 && at[0] == '\r' && at[1] == '\n' ? at + 1 : memchr(at, '\n', len);
}

/* Look for the end of the head. @return its length; 0 when it is not there yet, or refused. */
static size_t find_end(turbo__h1_parser *p, const char *raw, size_t len) {
    while (p->scanned < len) {
        const char *lf = next_lf(raw + p->scanned, len - p->scanned);
        if (lf == NULL)
            break;
        size_t at = (size_t)(lf - raw);
        p->scanned = at + 1;
        int last = take_line(p, raw, at);
        if (p->state == FAILED)
            return 0;
        if (last)
            return at + 1;
    }
    p->scanned = len;
    return 0;
}

/* The bytes of a head so far. A CR at their end may belong to the line's end. @return not 0 when it was refused. */
static int check_unended(turbo__h1_parser *p, const char *raw, size_t len) {
    const char *line = raw + p->line_at, *end = raw + len;
    const char *cr = memchr(line, '\r', (size_t)(end - line));
    if (cr != NULL && cr + 1 < end)
        return bad_line_end(p, raw, len);
    if (cr == raw)
        return 0;
    return check_partial(p, raw, cr == NULL ? len : len - 1);
}

/* The head is longer than allowed. Which of its parts is to blame decides the status. */
static int too_large(turbo__h1_parser *p, const char *raw, size_t len) {
    if (check_unended(p, raw, len) != 0) /* wrong before it was too long */
        return TURBO__H1_ERROR;
    const char *space = p->first_len == 0 ? memchr(raw, ' ', len) : NULL;
    if (space != NULL && memchr(space + 1, ' ', len - (size_t)(space + 1 - raw)) == NULL)
        return refuse(p, 414, "request target too long");
    return refuse(p, 431, "head too large");
}

static int begins_like_head(const char *raw, size_t len) { return len >= 5 && memcmp(raw, "HEAD ", 5) == 0; }

/* The head lies in data from its first byte. What lies behind head_max is not looked at: it must not matter whether it
 * has come yet. */
static int head_in_place(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    size_t look = len <= p->limits.head_max ? len : p->limits.head_max + 1;
    p->asks_head = begins_like_head(data, len) != 0;
    size_t end = find_end(p, data, look);
    if (p->state == FAILED)
        return TURBO__H1_ERROR;
    if ((end == 0 ? look : end) > p->limits.head_max)
        return too_large(p, data, look);
    if (end > 0) {
        *used = end;
        return take_head(p, user, data, end);
    }
    if (check_unended(p, data, len) != 0)
        return TURBO__H1_ERROR;
    *used = len;
    return turbo__buf_append(&p->carry, data, len) < 0 ? refuse(p, 503, "out of memory") : TURBO__H1_MORE;
}

/* The head began in bytes that were fed before. */
static int head_in_carry(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    size_t before = p->carry.len, room = p->carry.max - before;
    size_t take = len < room ? len : room;
    if (turbo__buf_append(&p->carry, data, take) < 0)
        return refuse(p, 503, "out of memory");
    p->asks_head = begins_like_head(p->carry.data, p->carry.len) != 0;
    size_t end = find_end(p, p->carry.data, p->carry.len);
    if (p->state == FAILED)
        return TURBO__H1_ERROR;
    if ((end == 0 ? p->carry.len : end) > p->limits.head_max)
        return too_large(p, p->carry.data, p->carry.len);
    if (end > 0) {
        *used = end - before;
        return take_head(p, user, p->carry.data, end);
    }
    *used = take;
    return check_unended(p, p->carry.data, p->carry.len) != 0 ? TURBO__H1_ERROR : TURBO__H1_MORE;
}

/* -- between and behind heads -- */

static int skip_empty_lines(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    size_t i = 0;
    for (; i < len; i++) {
        if (p->state == START && data[i] == '\r') {
            p->state = START_LF;
        } else if (p->state == START_LF && data[i] == '\n' && p->empty_lines < EMPTY_LINES_MAX) {
            p->state = START;
            p->empty_lines++;
        } else {
            break;
        }
    }
    *used = i;
    if (i == len)
        return TURBO__H1_MORE;
    p->events->on_begin(user);
    if (p->state == START_LF || data[i] == '\n')
        return refuse(p, 400, "malformed line before the request line");
    p->state = HEAD;
    return TURBO__H1_MORE;
}

static int body_length(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    size_t n = p->left < len ? (size_t)p->left : len;
    p->left -= n;
    *used = n;
    if (n > 0 && p->events->on_body(user, data, n) != 0)
        return TURBO__H1_STOPPED;
    return p->left == 0 ? end_message(p, user) : TURBO__H1_MORE;
}

/* The carry buffer, which no head needs now, gathers a line that is not whole in the caller's bytes. The decoder's
 * limit bounds it. */
static int keep_line(turbo__h1_parser *p, const char *bytes, size_t len) {
    return turbo__buf_append(&p->carry, bytes, len) < 0 ? refuse(p, 503, "out of memory") : TURBO__H1_MORE;
}

static int take_trailer(turbo__h1_parser *p, void *user, const char *line, size_t len) {
    turbo_str name, value;
    if (p->trailer_count++ == p->limits.fields_max)
        return refuse(p, 431, "too many trailer fields");
    if (p->carry.len > 0) {
        if (keep_line(p, line, len) != TURBO__H1_MORE)
            return TURBO__H1_ERROR;
        line = p->carry.data;
        len = p->carry.len;
    }
    turbo__h1_trailer_split(line, len, &name, &value);
    int stop = !turbo__h1_trailer_is_forbidden(name) && p->events->on_trailer(user, name, value) != 0;
    turbo__buf_clear(&p->carry);
    return stop ? TURBO__H1_STOPPED : TURBO__H1_MORE;
}

static int body_chunked(turbo__h1_parser *p, void *user, const char *bytes, size_t len, size_t *used) {
    const char *data;
    size_t data_len;
    int in_trailers = turbo__chunked_in_trailers(&p->chunked);
    switch (turbo__chunked_next(&p->chunked, bytes, len, used, &data, &data_len)) {
    case TURBO__CHUNKED_MORE:
        return in_trailers ? keep_line(p, bytes, len) : TURBO__H1_MORE;
    case TURBO__CHUNKED_SIZE:
        return p->chunked.left > 0 && p->events->on_chunk(user, p->chunked.left) ? TURBO__H1_STOPPED : TURBO__H1_MORE;
    case TURBO__CHUNKED_TRAILER:
        return take_trailer(p, user, bytes, *used);
    case TURBO__CHUNKED_DATA:
        return p->events->on_body(user, data, data_len) != 0 ? TURBO__H1_STOPPED : TURBO__H1_MORE;
    case TURBO__CHUNKED_END:
        return end_message(p, user);
    case TURBO__CHUNKED_TOO_LARGE:
        return refuse(p, 431, "chunk extensions and trailers too large");
    default:
        return refuse(p, 400, "malformed chunked coding");
    }
}

static int step(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    switch (p->state) {
    case START:
    case START_LF:
        return skip_empty_lines(p, user, data, len, used);
    case HEAD:
        return p->carry.len == 0 ? head_in_place(p, user, data, len, used) : head_in_carry(p, user, data, len, used);
    case BODY_LENGTH:
        return body_length(p, user, data, len, used);
    case BODY_CHUNKED:
        return body_chunked(p, user, data, len, used);
    default:
        return TURBO__H1_ERROR;
    }
}

/* An event stopped the parser behind the last byte of a message: its end is still to be told, without more bytes. */
static int owes_end(const turbo__h1_parser *p) { return p->state == BODY_LENGTH && p->left == 0; }

int turbo__h1_feed(turbo__h1_parser *p, void *user, const char *data, size_t len, size_t *used) {
    size_t at = 0;
    int rc = TURBO__H1_MORE;
    while (rc == TURBO__H1_MORE && (at < len || owes_end(p))) {
        size_t n = 0;
        p->step_len = len - at;
        p->step_used = &n;
        rc = step(p, user, data + at, len - at, &n);
        at += n;
    }
    *used = at;
    return rc;
}

int turbo__h1_has_more(const turbo__h1_parser *p) { return *p->step_used < p->step_len; }

int turbo__h1_idle(const turbo__h1_parser *p) { return p->state == START && p->empty_lines == 0; }

int turbo__h1_status(const turbo__h1_parser *p) { return p->refusal.status; }

const char *turbo__h1_reason(const turbo__h1_parser *p) { return p->refusal.reason; }

int turbo__h1_asks_head(const turbo__h1_parser *p) { return p->asks_head; }
