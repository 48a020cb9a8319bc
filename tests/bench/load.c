/* load.c - sends an exact number of requests: to count what each costs (instructions.py), to send very many (count.py).
 *
 * Each of the connections keeps `depth` requests in flight: it sends them in one write, and the next ones when all of
 * those were answered. Every answer is read to its end by its Content-Length. The speed does not matter here, the
 * count does.
 *
 * usage: load PORT PATH CONNECTIONS DEPTH REQUESTS [BODY_BYTES [STATUS]]
 * BODY_BYTES above 0: POST with a body of so many; STATUS: what every answer must have (200).
 * Prints {"requests": answers, "failed": answers with another status}; ends with 0 when none has.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 1024
#define DEPTH_MAX 64
#define REQUEST_MAX 4096
#define TIMEOUT_MS 60000 /* a server under valgrind is slow, but not that slow */

typedef struct conn {
    size_t waiting;    /* answers to come                */
    size_t len;        /* bytes in data                  */
    char data[65536];
} conn;

typedef struct load {
    char request[REQUEST_MAX * DEPTH_MAX];
    size_t request_len; /* of one request */
    char status[16];    /* how an answer begins */
    size_t depth;
    size_t unsent, answered, failed;
} load;

static conn conns[CONNS_MAX];
static load the_load;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
    exit(1);
}

static size_t number(const char *text, size_t min, size_t max) {
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value < min || value > max) {
        fprintf(stderr, "load: \"%s\" is not a number from %zu to %zu\n", text, min, max);
        exit(2);
    }
    return (size_t)value;
}

/* Without a body the same head as wrk's. */
static void make_requests(load *l, const char *port, const char *path, size_t body) {
    char length[64] = "";
    if (body > 0)
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", body);
    int len = snprintf(l->request, REQUEST_MAX, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n%s\r\n",
                       body > 0 ? "POST" : "GET", path, port, length);
    if (len < 0 || (size_t)len + body >= REQUEST_MAX)
        die("path or body too long");
    memset(l->request + len, 'x', body);
    l->request_len = (size_t)len + body;
    for (size_t i = 1; i < DEPTH_MAX; i++)
        memcpy(l->request + i * l->request_len, l->request, l->request_len);
}

static int open_conn(uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        die("connect");
    return fd;
}

static void send_more(load *l, conn *c, int fd) {
    size_t count = l->unsent < l->depth ? l->unsent : l->depth;
    size_t len = count * l->request_len;
    if (count == 0)
        return;
    if (write(fd, l->request, len) != (ssize_t)len)
        die("write");
    l->unsent -= count;
    c->waiting = count;
}

/* The length of the complete answer at `data`, or 0. The data is ended by NUL. */
static size_t answer_len(const char *data, size_t len) {
    const char *end = strstr(data, "\r\n\r\n");
    if (end == NULL)
        return 0;
    const char *field = strcasestr(data, "\r\nContent-Length:");
    if (field == NULL || field > end)
        die("an answer without Content-Length");
    size_t all = (size_t)(end + 4 - data) + strtoul(field + 17, NULL, 10);
    return all <= len ? all : 0;
}

static void take_answers(load *l, conn *c) {
    size_t at = 0, one;
    c->data[c->len] = '\0';
    while (c->waiting > 0 && (one = answer_len(c->data + at, c->len - at)) > 0) {
        l->failed += memcmp(c->data + at, l->status, 12) != 0;
        l->answered++;
        c->waiting--;
        at += one;
    }
    c->len -= at;
    memmove(c->data, c->data + at, c->len);
}

static void on_readable(load *l, conn *c, int fd) {
    ssize_t got = read(fd, c->data + c->len, sizeof c->data - 1 - c->len);
    if (got <= 0)
        die("read");
    c->len += (size_t)got;
    take_answers(l, c);
    if (c->waiting > 0)
        return;
    if (c->len > 0)
        die("more answers than requests");
    send_more(l, c, fd);
}

int main(int argc, char **argv) {
    struct pollfd fds[CONNS_MAX];
    load *l = &the_load;
    if (argc < 6 || argc > 8) {
        fprintf(stderr, "usage: load PORT PATH CONNECTIONS DEPTH REQUESTS [BODY_BYTES [STATUS]]\n");
        return 2;
    }
    uint16_t port = (uint16_t)number(argv[1], 1, UINT16_MAX);
    size_t count = number(argv[3], 1, CONNS_MAX), requests = number(argv[5], 1, SIZE_MAX);
    size_t body = argc > 6 ? number(argv[6], 0, REQUEST_MAX) : 0;
    l->depth = number(argv[4], 1, DEPTH_MAX);
    (void)snprintf(l->status, sizeof l->status, "HTTP/1.1 %03zu", argc > 7 ? number(argv[7], 200, 599) : 200);
    l->unsent = requests;
    make_requests(l, argv[1], argv[2], body);
    for (size_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = open_conn(port), .events = POLLIN};
    for (size_t i = 0; i < count; i++)
        send_more(l, &conns[i], fds[i].fd);
    while (l->answered < requests) {
        errno = 0;
        if (poll(fds, (nfds_t)count, TIMEOUT_MS) <= 0)
            die("waiting for answers");
        for (size_t i = 0; i < count; i++)
            if (fds[i].revents != 0)
                on_readable(l, &conns[i], fds[i].fd);
    }
    printf("{\"requests\": %zu, \"failed\": %zu}\n", l->answered, l->failed);
    return l->failed == 0 ? 0 : 1;
}
