/* wire.c - a strict reader of the responses that a client got on one connection (RFC 9112 4 to 7). */
#include "wire.h"

#include <strings.h>

#include "fuzz.h"

#define PERIOD 26

/* What is left of the bytes. Readers return 0 when they are cut off, and then nothing is left. */
typedef struct rest {
    const char *at, *end;
} rest;

typedef struct response {
    int status;
    int dates, lengths, codings, closes, keeps, ids;
    uint64_t length;
    size_t id;
} response;

const char *wire_body(size_t index, size_t offset) {
    static char letters[WIRE_BODY_MAX + PERIOD];
    if (letters[0] == 0)
        for (size_t i = 0; i < sizeof letters; i++)
            letters[i] = (char)('a' + i % PERIOD);
    return letters + (index + offset) % PERIOD;
}

static int take_line(rest *r, char *line, size_t size) {
    const char *lf = memchr(r->at, '\n', (size_t)(r->end - r->at));
    size_t shown = (size_t)(r->end - r->at);
    for (const char *p = r->at; p < (lf == NULL ? r->end : lf); p++)
        MUST((unsigned char)*p >= ' ' || *p == '\t' || (*p == '\r' && (p + 1 == lf || p + 1 == r->end)),
             "a control character in a line: %.*s", (int)(shown < 200 ? shown : 200), r->at);
    if (lf == NULL) {
        r->at = r->end;
        return 0;
    }
    size_t len = (size_t)(lf - r->at);
    MUST(len > 0 && lf[-1] == '\r', "a line without CR");
    MUST(len < size, "a line of %zu bytes", len);
    memcpy(line, r->at, len - 1);
    line[len - 1] = '\0';
    r->at = lf + 1;
    return 1;
}

static uint64_t number(const char *text, int base) {
    char *end;
    MUST((text[0] >= '0' && text[0] <= '9') || (base == 16 && text[0] >= 'a' && text[0] <= 'f'), "no number: %s", text);
    unsigned long long value = strtoull(text, &end, base);
    MUST(*end == '\0', "no number: %s", text);
    return value;
}

static void take_field(response *out, char *line) {
    char *value = strstr(line, ": ");
    MUST(value != NULL && value > line, "no field: %s", line);
    *value = '\0';
    value += 2;
    if (strcmp(line, "Date") == 0)
        out->dates++;
    if (strcmp(line, "Content-Length") == 0) {
        out->lengths++;
        out->length = number(value, 10);
    }
    if (strcmp(line, "Transfer-Encoding") == 0) {
        MUST(strcmp(value, "chunked") == 0, "coding %s", value);
        out->codings++;
    }
    if (strcmp(line, "Connection") == 0) {
        out->closes += strcmp(value, "close") == 0;
        out->keeps += strcmp(value, "keep-alive") == 0;
    }
    if (strcmp(line, "X-Id") == 0) {
        out->ids++;
        out->id = (size_t)number(value, 10);
    }
}

static int take_head(rest *r, response *out) {
    char line[1024];
    *out = (response){0};
    if (!take_line(r, line, sizeof line))
        return 0;
    MUST(strncmp(line, "HTTP/1.1 ", 9) == 0 && strlen(line) >= 13 && line[12] == ' ', "status line: %s", line);
    line[12] = '\0';
    out->status = (int)number(line + 9, 10);
    for (;;) {
        if (!take_line(r, line, sizeof line))
            return 0;
        if (line[0] == '\0')
            return 1;
        take_field(out, line);
    }
}

static void check_head(const response *resp, const wire_message *to, size_t index) {
    MUST(resp->status >= 200 && resp->status <= 599, "status %d", resp->status);
    MUST(resp->dates == 1, "%d times Date", resp->dates);
    MUST(resp->lengths + resp->codings <= 1, "Content-Length %d times, Transfer-Encoding %d times", resp->lengths,
         resp->codings);
    MUST(resp->closes + resp->keeps <= 1, "Connection: close %d times, keep-alive %d times", resp->closes, resp->keeps);
    MUST(resp->status != 204 || resp->lengths + resp->codings == 0, "204 with framing");
    MUST(!to->has_head || to->version == 11 || resp->codings == 0, "chunked to HTTP/1.0");
    MUST(!to->has_head || to->version == 11 || resp->keeps + resp->closes == 1, "no Connection to HTTP/1.0");
    MUST(resp->ids == 0 || (to->is_ours && resp->id == index), "the answer to %zu came for %zu", resp->id, index);
    MUST(to->has_head || (resp->closes == 1 && resp->ids == 0), "%d for a head that was not whole", resp->status);
}

static void check_piece(const response *resp, const wire_message *to, size_t index, size_t offset, const char *data,
                        size_t len) {
    if (resp->ids == 0)
        return;
    MUST(offset + len <= to->written, "%zu bytes of body, but %zu were written", offset + len, to->written);
    while (len > 0) {
        size_t n = len < WIRE_BODY_MAX ? len : WIRE_BODY_MAX;
        MUST(memcmp(data, wire_body(index, offset), n) == 0, "other bytes in the body of %zu, from %zu", index, offset);
        data += n;
        offset += n;
        len -= n;
    }
}

static int take_length(rest *r, const response *resp, const wire_message *to, size_t index) {
    size_t left = (size_t)(r->end - r->at), n = left < resp->length ? left : (size_t)resp->length;
    check_piece(resp, to, index, 0, r->at, n);
    r->at += n;
    return n == resp->length;
}

static int take_chunked(rest *r, const response *resp, const wire_message *to, size_t index) {
    char line[32];
    size_t offset = 0;
    for (;;) {
        if (!take_line(r, line, sizeof line))
            return 0;
        size_t size = (size_t)number(line, 16), left = (size_t)(r->end - r->at), n = left < size ? left : size;
        check_piece(resp, to, index, offset, r->at, n);
        r->at += n;
        offset += n;
        if (n < size || !take_line(r, line, sizeof line))
            return 0;
        MUST(line[0] == '\0', "a chunk is not ended by CRLF: %s", line);
        if (size == 0)
            break;
    }
    MUST(!to->is_failed && to->is_ended, "the answer to %zu is whole, though it has %s", index,
         to->is_failed ? "failed" : "not ended");
    MUST(offset == to->written, "%zu bytes of body, but %zu were written", offset, to->written);
    return 1;
}

static int has_no_body(const response *resp, const wire_message *to) {
    return to->is_head || resp->status == 204 || resp->status == 304;
}

/* The bytes of a streamed answer of a known length may be all there before its handler has ended it: then the
 * connection can still end before the answer. */
static int proves_end(const response *resp, const wire_message *to) {
    return !to->is_streamed || (resp->codings > 0 && !has_no_body(resp, to));
}

/* @return whether the body is there whole. */
static int take_body(rest *r, const response *resp, const wire_message *to, size_t index, int *until_close) {
    if (has_no_body(resp, to))
        return 1;
    if (resp->codings > 0)
        return take_chunked(r, resp, to, index);
    if (resp->lengths > 0)
        return take_length(r, resp, to, index);
    MUST(to->has_head && to->version == 10 && resp->closes == 1, "a body that ends with the connection");
    check_piece(resp, to, index, 0, r->at, (size_t)(r->end - r->at));
    r->at = r->end;
    *until_close = 1;
    return 0;
}

/* 100 Continue is for one who asked for it, once, before the final response. */
static void check_continue(const response *resp, const wire_message *to, int continues) {
    MUST(resp->status == 100, "status %d", resp->status);
    MUST(resp->dates + resp->lengths + resp->codings + resp->closes + resp->keeps == 0, "fields with 100");
    MUST(to->has_head && to->expects && to->version == 11 && continues == 1, "100 Continue that nobody asked for");
}

wire_result wire_check(const char *data, size_t len, const wire_message *messages, size_t count) {
    wire_result out = {0};
    rest r = {data, data + len};
    response resp;
    int continues = 0, until_close = 0;
    while (r.at < r.end) {
        MUST(!out.is_closing, "%zu bytes behind the last response", (size_t)(r.end - r.at));
        if (!take_head(&r, &resp))
            return out;
        MUST(out.begun < count, "more responses than requests: %zu", count);
        const wire_message *to = &messages[out.begun];
        if (resp.status < 200) {
            check_continue(&resp, to, ++continues);
            continue;
        }
        continues = 0;
        check_head(&resp, to, out.begun);
        out.is_closing = resp.closes > 0;
        int whole = take_body(&r, &resp, to, out.begun, &until_close);
        out.whole += whole && proves_end(&resp, to);
        out.begun++;
        if (!whole)
            break;
    }
    MUST(r.at == r.end, "%zu bytes behind a response that is not whole", (size_t)(r.end - r.at));
    return out;
}
