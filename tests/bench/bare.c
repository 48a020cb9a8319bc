/* bare.c - the yardstick: what a request costs when the server does nothing but let it in and its answer out.
 *
 * One thread, one level-triggered epoll set. For each connection that has something: one read of at most 16 KiB, one
 * write of as many copies of a fixed answer as heads ended in what was read. Nothing is parsed; an end of a head is an
 * empty line, found by memchr() for LF, also when it is split between reads. So a client gets as many answers as it
 * sent requests (without bodies), whether it pipelines or not. No method, path, field, limit, timeout or HTTP/1.0 is
 * looked at, nothing is logged, nothing is allocated for a request. The answer is as long as the demo's, so that the
 * kernel copies, and the client reads, the same.
 *
 * What is left is read() and write() of a TCP socket and a share of an epoll_wait(): no server that keeps one request
 * per connection in flight can do with less (short of io_uring), and all that a server costs above it is its own doing.
 *
 * usage: bare [PORT]    on 127.0.0.1; port 0, the default, picks a free one. SIGTERM and SIGINT end it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS_MAX 65536 /* file descriptors */
#define READ_MAX 16384
#define BLOCK_ANSWERS 64 /* answers that one write takes at most */

static const char answer[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                             "Content-Type: application/json\r\n"
                             "Content-Length: 11\r\n"
                             "\r\n"
                             "{\"ok\":true}";
#define ANSWER_LEN (sizeof answer - 1)

typedef struct conn {
    size_t owed;    /* bytes of answers still to be written                            */
    uint8_t line;   /* bytes of the line that is not complete yet, 2 for two and above */
    uint8_t writes; /* watched for writing instead of reading                          */
} conn;

static conn conns[CONNS_MAX];
static char block[ANSWER_LEN * BLOCK_ANSWERS];
static volatile sig_atomic_t ended;

static void on_signal(int number) {
    (void)number;
    ended = 1;
}

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static int open_listener(uint16_t port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof at;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        die("socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 1024) < 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        die("getsockname");
    printf("bare listens on http://127.0.0.1:%u\n", (unsigned)ntohs(at.sin_port));
    (void)fflush(stdout);
    return fd;
}

static void watch(int poll_fd, int what, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poll_fd, what, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(int poll_fd, int listen_fd) {
    int fd, one = 1;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= CONNS_MAX) {
            close(fd);
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd] = (conn){0};
        watch(poll_fd, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

/* How many empty lines, so ends of heads, are in these bytes. */
static size_t count_heads(conn *c, const char *data, size_t len) {
    const char *end = data + len, *lf;
    size_t line = c->line, heads = 0;
    while ((lf = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        heads += line + (size_t)(lf - data) < 2; /* CRLF or LF alone */
        line = 0;
        data = lf + 1;
    }
    line += (size_t)(end - data);
    c->line = (uint8_t)(line < 2 ? line : 2);
    return heads;
}

/* @return 0; -1: the connection is broken. */
static int write_owed(conn *c, int fd) {
    while (c->owed > 0) {
        size_t at = (ANSWER_LEN - c->owed % ANSWER_LEN) % ANSWER_LEN; /* where the next answer was cut */
        size_t most = sizeof block - at, len = c->owed < most ? c->owed : most;
        ssize_t wrote = write(fd, block + at, len);
        if (wrote < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        c->owed -= (size_t)wrote;
        if ((size_t)wrote < len)
            return 0;
    }
    return 0;
}

/* @return 0; -1: the connection is at its end. */
static int serve(conn *c, int fd) {
    char data[READ_MAX];
    if (!c->writes) {
        ssize_t got = read(fd, data, sizeof data);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        c->owed += ANSWER_LEN * count_heads(c, data, (size_t)got);
    }
    return write_owed(c, fd);
}

static void turn(int poll_fd, int fd) {
    conn *c = &conns[fd];
    if (serve(c, fd) < 0) {
        close(fd);
    } else if (c->writes != (c->owed > 0)) { /* a client that does not read is not read from */
        c->writes = c->owed > 0;
        watch(poll_fd, EPOLL_CTL_MOD, fd, c->writes ? EPOLLOUT : EPOLLIN);
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[128];
    struct sigaction action = {.sa_handler = on_signal};
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0)
        die("epoll_create1");
    for (size_t i = 0; i < BLOCK_ANSWERS; i++)
        memcpy(block + i * ANSWER_LEN, answer, ANSWER_LEN);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    int listen_fd = open_listener((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
    watch(poll_fd, EPOLL_CTL_ADD, listen_fd, EPOLLIN);
    while (!ended) {
        int count = epoll_wait(poll_fd, events, sizeof events / sizeof events[0], -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listen_fd)
                accept_all(poll_fd, listen_fd);
            else
                turn(poll_fd, events[i].data.fd);
        }
    }
    return 0;
}
