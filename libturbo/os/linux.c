/* linux.c - os.h for Linux. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity, accept4, pthread_setname_np */
#endif
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "turbo/error.h"

uint64_t turbo__os_cpu_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint64_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than cpu_set_t holds */
    return n > 0 ? (uint64_t)n : 1;
}

void turbo__os_thread_name(const char *name) {
    char text[16];
    strncpy(text, name, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)pthread_setname_np(pthread_self(), text);
}

int turbo__os_event_open(int *out) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return turbo__os_error(errno);
    *out = fd;
    return 0;
}

void turbo__os_event_close(int fd) {
    if (fd >= 0)
        close(fd);
}

void turbo__os_event_signal(int fd) {
    /* EAGAIN means that the counter is full, so readable already. */
    while (eventfd_write(fd, 1) != 0 && errno == EINTR) {
    }
}

int turbo__os_event_clear(int fd) {
    eventfd_t value;
    int rc;
    while ((rc = eventfd_read(fd, &value)) != 0 && errno == EINTR) {
    }
    return rc == 0;
}

int turbo__os_accept(int listen_fd, struct sockaddr_storage *peer) {
    socklen_t len = sizeof *peer;
    int fd = accept4(listen_fd, (struct sockaddr *)peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (len < sizeof peer->ss_family)
            peer->ss_family = AF_UNSPEC;
        return fd;
    }
    switch (errno) {
    case EAGAIN:
        return TURBO_EAGAIN;
    case EMFILE:
    case ENFILE:
        return TURBO_EMFILE;
    case ENOBUFS:
    case ENOMEM:
        return TURBO_ENOMEM;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
        return TURBO_ESYS;
    default: /* ECONNABORTED, EINTR, and the network errors of the new connection (accept(2)) */
        return TURBO_ECLOSED;
    }
}

int turbo__os_pollset_open(int *out) {
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set < 0)
        return turbo__os_error(errno);
    *out = set;
    return 0;
}

void turbo__os_pollset_close(int set) {
    if (set >= 0)
        close(set);
}

#define EVERYTHING (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

int turbo__os_pollset_add(int set, int fd, void *user) {
    struct epoll_event event = {.events = EVERYTHING, .data.ptr = user};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : turbo__os_error(errno);
}

void turbo__os_pollset_again(int set, int fd, void *user) {
    struct epoll_event event = {.events = EVERYTHING, .data.ptr = user};
    (void)epoll_ctl(set, EPOLL_CTL_MOD, fd, &event);
}

void turbo__os_pollset_remove(int set, int fd) {
    struct epoll_event event = {0};
    (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, &event);
}

int turbo__os_pollset_take(int set, turbo__ready *out, int max) {
    struct epoll_event events[256];
    int n = epoll_wait(set, events, max < 256 ? max : 256, 0);
    for (int i = 0; i < n; i++) {
        uint32_t is = events[i].events;
        out[i].user = events[i].data.ptr;
        out[i].what = (is & EPOLLIN ? TURBO__READY_READ : 0u) | (is & EPOLLOUT ? TURBO__READY_WRITE : 0u) |
                      (is & EPOLLRDHUP ? TURBO__READY_FIN : 0u) | (is & (EPOLLHUP | EPOLLERR) ? TURBO__READY_HUP : 0u);
    }
    return n < 0 ? 0 : n;
}

int turbo__os_random(void *out, size_t len) {
    ssize_t n;
    do
        n = getrandom(out, len, 0); /* up to 256 bytes it gives all or nothing */
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len ? 0 : TURBO_ESYS;
}

int turbo__os_error(int err) {
    switch (err) {
    case 0:
        return 0;
    case ENOMEM:
    case ENOBUFS:
        return TURBO_ENOMEM;
    case EMFILE:
    case ENFILE:
        return TURBO_EMFILE;
    case EACCES:
    case EPERM:
        return TURBO_EACCES;
    case EADDRINUSE:
        return TURBO_EADDRINUSE;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EINVAL:
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        return TURBO_EADDR;
    default:
        return TURBO_ESYS;
    }
}
