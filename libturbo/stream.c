/* stream.c - connected sockets in a poll set of their own. */
#include "stream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "turbo/error.h"

static void on_ready(uv_poll_t *watch, int status, int events) {
    turbo__stream_set *set = watch->data;
    (void)status;
    (void)events;
    int n = turbo__os_pollset_take(set->set, set->ready, (int)(sizeof set->ready / sizeof set->ready[0]));
    for (int i = 0; i < n; i++) {
        turbo__stream *stream = set->ready[i].user;
        uint32_t what = set->ready[i].what;
        if (stream->fd < 0)
            continue; /* closed by one before it in this round */
        stream->readable |= (what & (TURBO__READY_READ | TURBO__READY_FIN | TURBO__READY_HUP)) != 0;
        stream->fin |= (what & TURBO__READY_FIN) != 0;
        stream->hup |= (what & TURBO__READY_HUP) != 0;
        if (what & TURBO__READY_WRITE)
            stream->blocked = 0;
        set->fn(stream, what);
    }
}

int turbo__stream_set_open(turbo__stream_set *set, uv_loop_t *loop, turbo__stream_fn fn) {
    int rc = turbo__os_pollset_open(&set->set);
    if (rc < 0)
        return rc;
    set->fn = fn;
    set->watch.data = set;
    if ((rc = uv_poll_init(loop, &set->watch, set->set)) < 0) {
        turbo__os_pollset_close(set->set);
        return turbo__loop_error(rc);
    }
    set->open = 1;
    return turbo__loop_error(uv_poll_start(&set->watch, UV_READABLE, on_ready));
}

void turbo__stream_set_close(turbo__stream_set *set) {
    if (!set->open)
        return;
    set->open = 0;
    uv_close((uv_handle_t *)&set->watch, NULL);
    turbo__os_pollset_close(set->set);
}

int turbo__stream_open(turbo__stream *stream, turbo__stream_set *set, int fd) {
    int rc = turbo__os_pollset_add(set->set, fd, stream);
    if (rc < 0)
        return rc;
    *stream = (turbo__stream){.fd = fd};
    return 0;
}

ssize_t turbo__stream_read(turbo__stream *stream, void *out, size_t size) {
    ssize_t n;
    do
        n = recv(stream->fd, out, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        stream->readable = 0;
        return errno == EAGAIN ? TURBO_EAGAIN : TURBO_ECLOSED;
    }
    /* Less than asked for means that the socket is empty: whatever comes later is reported. An end that was reported
     * together with these bytes is not reported again, so it must still be read. */
    if ((size_t)n < size && !stream->fin && !stream->hup)
        stream->readable = 0;
    return n;
}

ssize_t turbo__stream_write(turbo__stream *stream, struct iovec *iov, int count, int more) {
    int flags = more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
    ssize_t n;
    do {
        if (count == 1) {
            n = send(stream->fd, iov->iov_base, iov->iov_len, flags);
        } else {
            struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
            n = sendmsg(stream->fd, &msg, flags);
        }
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
        return TURBO_ECLOSED;
    stream->blocked = 1;
    return errno == EAGAIN ? TURBO_EAGAIN : TURBO_ENOMEM;
}

void turbo__stream_again(turbo__stream *stream, turbo__stream_set *set) {
    turbo__os_pollset_again(set->set, stream->fd, stream);
}

ssize_t turbo__stream_send_file(turbo__stream *stream, int fd, uint64_t offset, size_t len) {
    ssize_t n = turbo__os_sendfile(stream->fd, fd, offset, len);
    stream->blocked |= n == TURBO_EAGAIN || n == TURBO_ENOMEM;
    return n > 0 || n == TURBO_EAGAIN || n == TURBO_ENOMEM ? n : TURBO_ECLOSED;
}

void turbo__stream_shutdown(turbo__stream *stream) { (void)shutdown(stream->fd, SHUT_WR); }

void turbo__stream_close(turbo__stream *stream, turbo__stream_set *set) {
    if (stream->fd < 0)
        return;
    turbo__os_pollset_remove(set->set, stream->fd);
    close(stream->fd);
    stream->fd = -1;
}
