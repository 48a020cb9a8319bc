/* faults.c - linked into the demo: calls of the system and of the library's allocator fail when a test says so.
 *
 * The test maps the file that FAULTS_FILE names. It holds a `fault` for each kind, in the order of the enum below, which is
 * also that of test_faults.py. What is defined here comes before libc's in every library of the program, libuv too.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_NEXT */
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem.h"

enum {
    ACCEPT_FULL = 0, /* EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the queue */
    ACCEPT_ABORTED,  /* ECONNABORTED, EINTR, EPROTO */
    RECV_INTR,
    RECV_RESET,      /* ECONNRESET, ETIMEDOUT */
    SEND_SHORT,      /* send() and sendmsg() take some bytes only */
    SEND_INTR,
    SEND_NOBUFS,     /* ENOBUFS, ENOMEM */
    SEND_RESET,      /* ECONNRESET, EPIPE */
    POLL_ADD,        /* epoll_ctl(EPOLL_CTL_ADD): ENOMEM, ENOSPC */
    POLL_INTR,       /* epoll_wait(): EINTR */
    ALLOC,           /* turbo__malloc(), turbo__calloc(), turbo__realloc() */
    OPEN,            /* socket(), eventfd(), epoll_create1(): EMFILE */
    LISTEN,          /* bind(), listen(): EADDRINUSE, EACCES */
    THREAD,          /* pthread_create(): EAGAIN */
    KINDS
};

typedef struct fault {
    _Atomic uint32_t every; /* one call of so many fails, by chance; 0: none does */
    _Atomic uint32_t nth;   /* 1: the next call fails; 0: none does               */
    _Atomic uint32_t fired;
    uint32_t reserved;
} fault;

static fault none[KINDS];
static fault *faults = none;

static uint32_t chance(void) {
    static _Atomic uint32_t seeds = 1;
    static _Thread_local uint32_t state;
    if (state == 0)
        state = 2654435769u * atomic_fetch_add(&seeds, 1) | 1u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* @return 0, or how often a fault of the kind has fired, this time included. */
static uint32_t fires(int kind) {
    fault *f = &faults[kind];
    uint32_t every = atomic_load(&f->every), nth = atomic_load(&f->nth);
    int now = every > 0 && chance() % every == 0;
    while (nth > 0 && !atomic_compare_exchange_weak(&f->nth, &nth, nth - 1)) {
    }
    return now || nth == 1 ? atomic_fetch_add(&f->fired, 1) + 1 : 0;
}

/* Whether a call must fail; sets errno to the kind's errors in turn. */
static int fails(int kind, const int *errors, size_t count) {
    uint32_t n = fires(kind);
    if (n > 0)
        errno = errors[n % count];
    return n > 0;
}

#define FAILS(kind, ...) fails(kind, (const int[]){__VA_ARGS__}, sizeof(int[]){__VA_ARGS__} / sizeof(int))

/* The function behind ours, looked up once; two threads that do it at once find the same. */
#define REAL(name, type, ...)                            \
    static type (*_Atomic known)(__VA_ARGS__);           \
    type (*real)(__VA_ARGS__) = atomic_load(&known);     \
    if (real == NULL) {                                  \
        *(void **)&real = dlsym(RTLD_NEXT, name);        \
        atomic_store(&known, real);                      \
    }

#define HERE __attribute__((visibility("default")))

HERE int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags) {
    REAL("accept4", int, int, __SOCKADDR_ARG, socklen_t *, int)
    if (FAILS(ACCEPT_FULL, EMFILE, ENFILE, ENOBUFS, ENOMEM) || FAILS(ACCEPT_ABORTED, ECONNABORTED, EINTR, EPROTO))
        return -1;
    return real(fd, address, len, flags);
}

HERE ssize_t recv(int fd, void *to, size_t size, int flags) {
    REAL("recv", ssize_t, int, void *, size_t, int)
    if (FAILS(RECV_INTR, EINTR) || FAILS(RECV_RESET, ECONNRESET, ETIMEDOUT))
        return -1;
    return real(fd, to, size, flags);
}

static int send_fails(void) {
    return FAILS(SEND_INTR, EINTR) || FAILS(SEND_NOBUFS, ENOBUFS, ENOMEM) || FAILS(SEND_RESET, ECONNRESET, EPIPE);
}

HERE ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL("send", ssize_t, int, const void *, size_t, int)
    if (send_fails())
        return -1;
    if (size > 1 && fires(SEND_SHORT))
        size = 1 + chance() % (size - 1);
    return real(fd, data, size, flags);
}

HERE ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL("sendmsg", ssize_t, int, const struct msghdr *, int)
    if (send_fails())
        return -1;
    struct msghdr less = *message;
    if (less.msg_iovlen > 1 && fires(SEND_SHORT))
        less.msg_iovlen = 1 + chance() % (less.msg_iovlen - 1);
    return real(fd, &less, flags);
}

/* Only for the library's own sets: libuv ends the program when it cannot watch something. */
HERE int epoll_ctl(int set, int what, int fd, struct epoll_event *event) {
    REAL("epoll_ctl", int, int, int, int, struct epoll_event *)
    if (what == EPOLL_CTL_ADD && (event->events & EPOLLET) && FAILS(POLL_ADD, ENOMEM, ENOSPC))
        return -1;
    return real(set, what, fd, event);
}

HERE int epoll_wait(int set, struct epoll_event *events, int max, int ms) {
    REAL("epoll_wait", int, int, struct epoll_event *, int, int)
    return FAILS(POLL_INTR, EINTR) ? -1 : real(set, events, max, ms);
}

HERE int epoll_pwait(int set, struct epoll_event *events, int max, int ms, const __sigset_t *mask) {
    REAL("epoll_pwait", int, int, struct epoll_event *, int, int, const __sigset_t *)
    return FAILS(POLL_INTR, EINTR) ? -1 : real(set, events, max, ms, mask);
}

HERE int socket(int domain, int type, int protocol) {
    REAL("socket", int, int, int, int)
    return FAILS(OPEN, EMFILE, ENFILE) ? -1 : real(domain, type, protocol);
}

HERE int eventfd(unsigned count, int flags) {
    REAL("eventfd", int, unsigned, int)
    return FAILS(OPEN, EMFILE, ENFILE) ? -1 : real(count, flags);
}

HERE int epoll_create1(int flags) {
    REAL("epoll_create1", int, int)
    return FAILS(OPEN, EMFILE, ENFILE) ? -1 : real(flags);
}

HERE int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t len) {
    REAL("bind", int, int, __CONST_SOCKADDR_ARG, socklen_t)
    return FAILS(LISTEN, EADDRINUSE, EACCES) ? -1 : real(fd, address, len);
}

HERE int listen(int fd, int backlog) {
    REAL("listen", int, int, int)
    return FAILS(LISTEN, EADDRINUSE) ? -1 : real(fd, backlog);
}

HERE int pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*fn)(void *), void *arg) {
    REAL("pthread_create", int, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)
    return fires(THREAD) ? EAGAIN : real(out, how, fn, arg);
}

static int alloc_fails(void *user) {
    (void)user;
    return fires(ALLOC) > 0;
}

__attribute__((constructor)) static void map_faults(void) {
    const char *path = getenv("FAULTS_FILE");
    int fd = path != NULL ? open(path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        abort();
    faults = map;
    turbo__mem_set_fail(alloc_fails, NULL);
}
