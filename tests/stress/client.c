/* client.c - a client of the stress programs: one connection, any bytes, strict about what comes back. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stress.h"

static int connect_to(int fd, uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (const struct sockaddr *)&to, sizeof to);
}

int client_open(client *c, uint16_t port) {
    int one = 1;
    *c = (client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    CHECK(c->fd >= 0);
    if (connect_to(c->fd, port) < 0) {
        close(c->fd);
        c->fd = -1;
        return -1;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->buf = malloc(CLIENT_BUF_BYTES);
    CHECK(c->buf != NULL);
    return 0;
}

int client_send(client *c, const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* -- answers -- */

/* More bytes behind those that are there. @return as recv(). */
static ssize_t fill(client *c) {
    ssize_t n;
    if (c->at > 0 && c->end > CLIENT_BUF_BYTES / 2) {
        memmove(c->buf, c->buf + c->at, c->end - c->at);
        c->end -= c->at;
        c->at = 0;
    }
    CHECK(c->end < CLIENT_BUF_BYTES);
    do
        n = recv(c->fd, c->buf + c->end, CLIENT_BUF_BYTES - c->end, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        c->end += (size_t)n;
    return n;
}

/* Bytes from c->at + offset on, at least len of them. @return NULL: the connection is gone. */
static char *need(client *c, size_t offset, size_t len) {
    while (c->end - c->at < offset + len)
        if (fill(c) <= 0)
            return NULL;
    return c->buf + c->at + offset;
}

/* How many bytes from offset on are a line with its CRLF. @return 0: the connection is gone. */
static size_t line_len(client *c, size_t offset) {
    for (size_t seen = 0;;) {
        const char *from = c->buf + c->at + offset;
        size_t have = c->end - c->at - offset;
        const char *end = have > seen ? memchr(from + seen, '\n', have - seen) : NULL;
        if (end != NULL) {
            CHECK(end > from && end[-1] == '\r');
            return (size_t)(end - from) + 1;
        }
        seen = have;
        if (fill(c) <= 0)
            return 0;
    }
}

typedef struct framing {
    uint64_t length;
    int chunked, has_length;
} framing;

static int is_field(const char *line, const char *name) {
    return strncasecmp(line, name, strlen(name)) == 0;
}

static void take_field(const char *line, answer *out, framing *f) {
    if (is_field(line, "content-length: ")) {
        f->has_length = 1;
        f->length = strtoull(line + 16, NULL, 10);
    } else if (is_field(line, "transfer-encoding: chunked\r\n")) {
        f->chunked = 1;
    } else if (is_field(line, "connection: close\r\n")) {
        out->close = 1;
    } else if (is_field(line, "retry-after: ")) {
        out->retry_after = 1;
    }
}

/* @return the bytes of the head; 0: the connection is gone. */
static size_t read_head(client *c, answer *out, framing *f) {
    size_t at = line_len(c, 0);
    if (at == 0)
        return 0;
    CHECK(at > 14 && memcmp(c->buf + c->at, "HTTP/1.1 ", 9) == 0);
    out->status = atoi(c->buf + c->at + 9);
    for (;;) {
        size_t len = line_len(c, at);
        if (len == 0)
            return 0;
        if (len > 2)
            take_field(c->buf + c->at + at, out, f);
        at += len;
        if (len == 2)
            return at;
    }
}

/* The chunks are moved together, so that the body lies in one piece. @return bytes behind the head; 0: gone. */
static size_t read_chunks(client *c, size_t head, answer *out) {
    size_t at = head, len = 0;
    for (;;) {
        size_t line = line_len(c, at);
        if (line == 0)
            return 0;
        size_t size = strtoul(c->buf + c->at + at, NULL, 16);
        char *chunk = need(c, at + line, size + 2);
        if (chunk == NULL)
            return 0;
        CHECK(memcmp(chunk + size, "\r\n", 2) == 0);
        memmove(c->buf + c->at + head + len, chunk, size);
        len += size;
        at += line + size + 2;
        if (size == 0)
            break;
    }
    out->len = len;
    return at - head;
}

int client_answer(client *c, answer *out) {
    framing f = {0};
    *out = (answer){0};
    if (c->at == c->end) {
        c->at = c->end = 0;
        ssize_t n = fill(c);
        if (n <= 0)
            return n == 0 ? 0 : -1;
    }
    size_t head = read_head(c, out, &f), body = 0;
    if (head == 0)
        return -1;
    CHECK(f.chunked != f.has_length);
    if (f.chunked) {
        if ((body = read_chunks(c, head, out)) == 0)
            return -1;
    } else {
        if (f.length > 0 && need(c, head, (size_t)f.length) == NULL)
            return -1;
        out->len = body = (size_t)f.length;
    }
    out->body = c->buf + c->at + head;
    c->at += head + body;
    return 1;
}

long client_skip(client *c, size_t len) {
    if (c->end > c->at) { /* an answer was begun: these bytes first */
        size_t have = c->end - c->at < len ? c->end - c->at : len;
        c->at += have;
        return (long)have;
    }
    return recv(c->fd, c->buf, len < CLIENT_BUF_BYTES ? len : CLIENT_BUF_BYTES, 0);
}

long client_read(client *c, void *out, size_t len) {
    ssize_t n;
    do
        n = recv(c->fd, out, len, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

void client_close(client *c) {
    if (c->fd >= 0)
        close(c->fd);
    free(c->buf);
    *c = (client){.fd = -1};
}

void client_reset(client *c) {
    struct linger hard = {1, 0};
    if (c->fd >= 0)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_close(c);
}
