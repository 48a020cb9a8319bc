/* stream.h - one connected socket: read, write, close, hang-up; hides what watches it. */
#ifndef TURBO_STREAM_H
#define TURBO_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

#include "os/os.h"

struct turbo__stream;

/* Called on the loop when something happened to a stream; what is TURBO__READY_*. It may close any stream of the set,
 * but the memory of a closed one stays until the loop's turn is over. */
typedef void (*turbo__stream_fn)(struct turbo__stream *stream, uint32_t what);

/*
 * The sockets of one loop. They live in a poll set of their own, which the loop watches as one descriptor: a socket
 * costs no handle, is registered once, and its hang-up is seen also while nobody reads.
 */
typedef struct turbo__stream_set {
    uv_poll_t watch;
    int set;
    uint8_t open;
    turbo__stream_fn fn;
    turbo__ready ready[256];
} turbo__stream_set;

typedef struct turbo__stream {
    int fd;           /* -1 once closed                                       */
    uint8_t readable; /* a read may find something                            */
    uint8_t fin;      /* the peer's end is known, perhaps behind unread bytes */
    uint8_t hup;      /* gone                                                 */
    uint8_t blocked;  /* the last write found no room: TURBO__READY_WRITE will come */
} turbo__stream;

/** @return 0; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS. Thread: setup. */
int turbo__stream_set_open(turbo__stream_set *set, uv_loop_t *loop, turbo__stream_fn fn);
/** Stop watching; every stream is closed. Thread: the loop's. */
void turbo__stream_set_close(turbo__stream_set *set);

/** Watch a connected non-blocking socket. @return as set_open; fd stays the caller's then. Thread: the loop's. */
int turbo__stream_open(turbo__stream *stream, turbo__stream_set *set, int fd);

/** Read once. @return bytes read; 0 at the end of the stream; TURBO_EAGAIN; TURBO_ECLOSED. */
ssize_t turbo__stream_read(turbo__stream *stream, void *out, size_t size);

/** Write once. @param more  other bytes follow at once: the system may wait for them, to send both together.
 *  @return bytes written; TURBO_EAGAIN; TURBO_ENOMEM: the kernel has no memory for it now, and nothing says when it has, so
 *  turbo__stream_again() is due; TURBO_ECLOSED. */
ssize_t turbo__stream_write(turbo__stream *stream, struct iovec *iov, int count, int more);

/** Send bytes of a file. @return bytes sent, at least 1; TURBO_EAGAIN; TURBO_ENOMEM as above; TURBO_ECLOSED also when the
 *  file has ended or cannot be read: what was promised will never come. */
ssize_t turbo__stream_send_file(turbo__stream *stream, int fd, uint64_t offset, size_t len);

/** Report what the stream is ready for again, in the loop's next turn. */
void turbo__stream_again(turbo__stream *stream, turbo__stream_set *set);

/** End our sending side: what was written still arrives. */
void turbo__stream_shutdown(turbo__stream *stream);

void turbo__stream_close(turbo__stream *stream, turbo__stream_set *set);

#endif
