/* linux_file.c - os.h for Linux: files, and sending them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH, syscall */
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "turbo/error.h"

#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define AGAIN_MAX 16 /* times that a path may change while it is looked up */

/* openat2(2), Linux 5.6; older headers have none of it. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#define BENEATH (0x02u | 0x08u) /* RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH */
struct how {
    uint64_t flags, mode, resolve;
};

/* -- sending -- */

/* sendfile() knows no MSG_NOSIGNAL: the signal is held back, and taken if it came from this call. */
static ssize_t send_quietly(int sock, int fd, off_t at, size_t len) {
    sigset_t pipe_only, before, pending;
    struct timespec no_time = {0, 0};
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    sigpending(&pending);
    ssize_t n = sendfile(sock, fd, &at, len);
    int err = errno;
    if (n < 0 && err == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &no_time) < 0 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = err;
    return n;
}

ssize_t turbo__os_sendfile(int sock, int fd, uint64_t offset, size_t len) {
    ssize_t n;
    do
        n = send_quietly(sock, fd, (off_t)offset, len);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    switch (errno) {
    case EAGAIN:
        return TURBO_EAGAIN;
    case ENOBUFS:
    case ENOMEM:
        return TURBO_ENOMEM;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
    case ETIMEDOUT:
        return TURBO_ECLOSED;
    default:
        return TURBO_ESYS;
    }
}

/* -- opening -- */

static int file_error(int err) {
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV: /* the path would leave its root */
    case ENXIO: /* a socket, a device without a driver */
    case ENODEV:
    case EINVAL:
        return TURBO_ENOENT;
    default:
        return turbo__os_error(err);
    }
}

static int opened(int fd, int *out) {
    if (fd < 0)
        return file_error(errno);
    *out = fd;
    return 0;
}

static int open_at(int dir, const char *path, int flags) {
    int fd;
    do
        fd = openat(dir, path, flags);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int turbo__os_file_open(int *out, const char *path) { return opened(open_at(AT_FDCWD, path, READ_FLAGS), out); }

int turbo__os_root_open(int *out, const char *path) {
    return opened(open_at(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC), out);
}

/* -- below a root -- */

static atomic_int by_steps; /* openat2() is not there, or a test says so */

void turbo__os_beneath_by_steps(int on) { atomic_store_explicit(&by_steps, on, memory_order_relaxed); }

static int is_up(const char *name) { return strcmp(name, "..") == 0 || strcmp(name, ".") == 0 || *name == '\0'; }

/* The first component of *path goes to out. @return 0 for one that no directory can have. */
static int take_component(const char **path, char out[NAME_MAX + 1]) {
    size_t len = strcspn(*path, "/");
    if (len > NAME_MAX)
        return 0;
    memcpy(out, *path, len);
    out[len] = '\0';
    *path += len;
    return !is_up(out);
}

/* Links are never followed, and names never lead up: so each step stays below the directory that it begins in. */
static int walk(int *out, int root, const char *path) {
    char name[NAME_MAX + 1];
    int dir = root, rc;
    for (;;) {
        if (!take_component(&path, name)) {
            rc = TURBO_ENOENT;
            break;
        }
        int is_last = *path == '\0';
        int fd = open_at(dir, name, is_last ? READ_FLAGS | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        rc = fd < 0 ? file_error(errno) : 0;
        if (rc < 0)
            break;
        if (dir != root)
            close(dir);
        if (is_last) {
            *out = fd;
            return 0;
        }
        dir = fd;
        path++;
    }
    if (dir != root)
        close(dir);
    return rc;
}

/* @return the descriptor, or -1 with errno. */
static int open_at2(int root, const char *path) {
    struct how how = {.flags = READ_FLAGS, .resolve = BENEATH};
    long fd = -1;
    for (int i = 0; i < AGAIN_MAX; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) /* EAGAIN: something was renamed meanwhile */
            break;
    }
    return (int)fd;
}

int turbo__os_file_open_beneath(int *out, int root, const char *path) {
    if (atomic_load_explicit(&by_steps, memory_order_relaxed))
        return walk(out, root, path);
    int fd = open_at2(root, path);
    /* A sandbox may refuse the call as it would refuse a file: then the other way tells which it is. */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) {
        if (errno == ENOSYS)
            turbo__os_beneath_by_steps(1);
        return walk(out, root, path);
    }
    return opened(fd, out);
}
