/* client.c - an HTTP client on a raw socket. */
#include "client.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 65536

void client_over(client *c, int fd) {
    struct timeval patience = {.tv_sec = 20};
    *c = (client){.fd = fd};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void client_open(client *c, uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client_over(c, socket(AF_INET, SOCK_STREAM, 0));
    cr_assert_geq(c->fd, 0);
    cr_assert_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0, "connect: %s", strerror(errno));
}

void client_open_unix(client *c, const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    client_over(c, socket(AF_UNIX, SOCK_STREAM, 0));
    cr_assert_geq(c->fd, 0);
    cr_assert_eq(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0, "connect: %s", strerror(errno));
}

void client_send_bytes(client *c, const void *data, size_t len) {
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(c->fd, at, len, MSG_NOSIGNAL);
        cr_assert_gt(n, 0, "send: %s", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

size_t client_send_some(client *c, const void *data, size_t len) {
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    cr_assert(n >= 0 || errno == EAGAIN, "send: %s", strerror(errno));
    return n < 0 ? 0 : (size_t)n;
}

void client_send(client *c, const char *text) { client_send_bytes(c, text, strlen(text)); }

void client_fin(client *c) { cr_assert_eq(shutdown(c->fd, SHUT_WR), 0); }

/* @return 0 at the end of the connection. */
static int read_more(client *c) {
    if (c->cap - c->len < READ_BYTES + 1) {
        c->cap = c->cap * 2 + READ_BYTES + 1;
        c->data = realloc(c->data, c->cap);
        cr_assert_not_null(c->data);
    }
    ssize_t n = recv(c->fd, c->data + c->len, READ_BYTES, 0);
    cr_assert(n >= 0 || errno == ECONNRESET || errno == EPIPE, "no answer in time: %s", strerror(errno));
    c->reset |= n < 0;
    c->len += n > 0 ? (size_t)n : 0;
    c->data[c->len] = '\0';
    return n > 0;
}

static int have(client *c, size_t len) {
    while (c->len < len)
        if (!read_more(c))
            return 0;
    return 1;
}

static void use_up(client *c, size_t len) {
    memmove(c->data, c->data + len, c->len - len + 1);
    c->len -= len;
}

static const char *field(const client *c, const char *name) {
    const char *at = strcasestr(c->head, name);
    return at == NULL ? NULL : at + strlen(name);
}

/* @return the length of a line with its CR LF, from data + at. */
static size_t line_len(client *c, size_t at) {
    char *end;
    while (c->data == NULL || c->len <= at || (end = strstr(c->data + at, "\r\n")) == NULL)
        cr_assert(read_more(c), "the connection ended inside a line");
    return (size_t)(end - (c->data + at)) + 2;
}

/* Decode in place, without trailers. */
static void take_chunked(client *c) {
    size_t at = 0, len;
    do {
        size_t line = line_len(c, at);
        len = strtoul(c->data + at, NULL, 16);
        cr_assert(have(c, at + line + len + 2), "the connection ended inside a chunk");
        c->body = realloc(c->body, c->body_len + len + 1);
        memcpy(c->body + c->body_len, c->data + at + line, len);
        c->body_len += len;
        at += line + len + 2;
    } while (len > 0);
    c->body[c->body_len] = '\0';
    use_up(c, at);
}

static void take_body(client *c, int status) {
    const char *length = field(c, "\r\nContent-Length: ");
    free(c->body);
    c->body = NULL;
    c->body_len = 0;
    if (field(c, "\r\nTransfer-Encoding: chunked") != NULL) {
        take_chunked(c);
        return;
    }
    if (length != NULL && status >= 200 && status != 304)
        c->body_len = strtoul(length, NULL, 10);
    cr_assert(have(c, c->body_len), "the connection ended inside a body");
    c->body = malloc(c->body_len + 1);
    memcpy(c->body, c->data, c->body_len);
    c->body[c->body_len] = '\0';
    use_up(c, c->body_len);
}

int client_answer(client *c) {
    char *end;
    while (c->data == NULL || (end = strstr(c->data, "\r\n\r\n")) == NULL)
        if (!read_more(c)) {
            cr_assert_eq(c->len, 0, "the connection ended inside a head");
            return 0;
        }
    size_t len = (size_t)(end - c->data) + 4;
    cr_assert_lt(len, sizeof c->head);
    memcpy(c->head, c->data, len);
    c->head[len] = '\0';
    use_up(c, len);
    cr_assert_eq(strncmp(c->head, "HTTP/1.", 7), 0);
    int status = atoi(c->head + 9);
    take_body(c, status);
    return status;
}

int client_ask(client *c, const char *text) {
    client_send(c, text);
    return client_answer(c);
}

size_t client_rest(client *c) {
    while (read_more(c)) {
    }
    return c->len;
}

int client_has(const client *c, const char *line) {
    size_t len = strlen(line);
    for (const char *at = strstr(c->head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n"))
        if (strncmp(at + 2, line, len) == 0 && strncmp(at + 2 + len, "\r\n", 2) == 0)
            return 1;
    return 0;
}

void client_close(client *c, int hard) {
    struct linger none = {.l_onoff = 1};
    if (hard)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(c->fd);
    free(c->data);
    free(c->body);
    *c = (client){.fd = -1};
}
