/* http1_write.c - status line, fields and chunk framing to bytes (RFC 9112 4, 6, 7.1). */
#include "http1_write.h"

#include <string.h>

#define STATUSES(X)                                                                                                    \
    X(100, "Continue") X(101, "Switching Protocols") X(200, "OK") X(201, "Created") X(202, "Accepted")                 \
    X(203, "Non-Authoritative Information") X(204, "No Content") X(205, "Reset Content") X(206, "Partial Content")     \
    X(300, "Multiple Choices") X(301, "Moved Permanently") X(302, "Found") X(303, "See Other") X(304, "Not Modified")  \
    X(305, "Use Proxy") X(307, "Temporary Redirect") X(308, "Permanent Redirect") X(400, "Bad Request")                \
    X(401, "Unauthorized") X(402, "Payment Required") X(403, "Forbidden") X(404, "Not Found")                          \
    X(405, "Method Not Allowed") X(406, "Not Acceptable") X(407, "Proxy Authentication Required")                      \
    X(408, "Request Timeout") X(409, "Conflict") X(410, "Gone") X(411, "Length Required")                              \
    X(412, "Precondition Failed") X(413, "Content Too Large") X(414, "URI Too Long")                                   \
    X(415, "Unsupported Media Type") X(416, "Range Not Satisfiable") X(417, "Expectation Failed")                      \
    X(421, "Misdirected Request") X(422, "Unprocessable Content") X(426, "Upgrade Required")                           \
    X(428, "Precondition Required") X(429, "Too Many Requests") X(431, "Request Header Fields Too Large")              \
    X(500, "Internal Server Error") X(501, "Not Implemented") X(502, "Bad Gateway") X(503, "Service Unavailable")      \
    X(504, "Gateway Timeout") X(505, "HTTP Version Not Supported") X(511, "Network Authentication Required")

const char *turbo__status_text(int32_t status) {
    switch (status) {
#define X(code, text)                                                                                                  \
    case code:                                                                                                         \
        return text;
        STATUSES(X)
#undef X
    default:
        return "";
    }
}

static char *put(char *out, const char *text, size_t len) {
    if (len > 0)
        memcpy(out, text, len);
    return out + len;
}
#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

size_t turbo__write_u64(char *out, uint64_t value) {
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

/* All that is not the handler's: status line, Date, framing, Connection, empty line. */
#define FIXED_BOUND 256

size_t turbo__h1_head_bound(const turbo__h1_answer *answer) {
    return FIXED_BOUND + answer->content_type.len + answer->fields.len;
}

static char *put_status(char *out, int32_t status) {
    const char *text = turbo__status_text(status);
    out = PUT(out, "HTTP/1.1 ");
    out += turbo__write_u64(out, (uint64_t)status);
    *out++ = ' '; /* also before an empty reason phrase (RFC 9112 4) */
    out = put(out, text, strlen(text));
    return PUT(out, "\r\n");
}

static char *put_framing(char *out, const turbo__h1_answer *answer) {
    if (answer->frame == TURBO__FRAME_CHUNKED)
        return PUT(out, "Transfer-Encoding: chunked\r\n");
    if (answer->frame != TURBO__FRAME_LENGTH)
        return out;
    out = PUT(out, "Content-Length: ");
    out += turbo__write_u64(out, answer->length);
    return PUT(out, "\r\n");
}

/* Upgrade is a field about this connection: Connection has to name it (RFC 9110 7.6.1, 7.8). */
static char *put_upgrade(char *out, const turbo__h1_answer *answer) {
    if (!answer->keep_alive)
        return PUT(out, "Connection: close, upgrade\r\n");
    return answer->version < 11 ? PUT(out, "Connection: keep-alive, upgrade\r\n") : PUT(out, "Connection: upgrade\r\n");
}

static char *put_connection(char *out, const turbo__h1_answer *answer) {
    if (answer->upgrade)
        return put_upgrade(out, answer);
    if (!answer->keep_alive)
        return PUT(out, "Connection: close\r\n");
    /* The default of 1.1 goes without saying; a 1.0 client must be told (RFC 9112 9.3, C.2.2). */
    return answer->version < 11 ? PUT(out, "Connection: keep-alive\r\n") : out;
}

size_t turbo__h1_write_head(char *out, const turbo__h1_answer *answer) {
    char *at = answer->status == 200 ? PUT(out, "HTTP/1.1 200 OK\r\n") : put_status(out, answer->status);
    if (answer->date != NULL) {
        at = PUT(at, "Date: ");
        at = put(at, answer->date, 29);
        at = PUT(at, "\r\n");
    }
    if (answer->content_type.data != NULL) {
        at = PUT(at, "Content-Type: ");
        at = put(at, answer->content_type.data, answer->content_type.len);
        at = PUT(at, "\r\n");
    }
    at = put(at, answer->fields.data, answer->fields.len);
    at = put_framing(at, answer);
    at = put_connection(at, answer);
    return (size_t)(PUT(at, "\r\n") - out);
}

size_t turbo__h1_write_chunk_head(char *out, size_t len) {
    static const char hex[] = "0123456789abcdef";
    unsigned shift = 0;
    size_t n = 0;
    while (shift < 60 && (uint64_t)len >> (shift + 4) != 0)
        shift += 4;
    for (;; shift -= 4) {
        out[n++] = hex[(uint64_t)len >> shift & 15];
        if (shift == 0)
            break;
    }
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}
