/* outq.h - bytes that wait to be sent on one connection: small ones gathered in pooled blocks, large ones by reference,
 * those of files where they are. */
#ifndef TURBO_OUTQ_H
#define TURBO_OUTQ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TURBO__OUT_BLOCK_BYTES 8192 /* of a pooled block, its header included */
#define TURBO__OUT_COPY_MAX 4096    /* bodies up to this size are gathered    */

typedef struct turbo__outseg {
    struct turbo__outseg *next;
    const char *data;              /* first byte that is not sent; NULL: a turbo__outfile */
    size_t len;                    /* bytes from there                                  */
    size_t room;                   /* of a block: bytes still free behind data + len    */
    void (*release)(void *arg);    /* of a reference; NULL: a block                     */
    void *arg;
} turbo__outseg;

/* A piece of a file. It costs a descriptor rather than memory, and counts in `bytes` as a whole for its size: so a client
 * that does not read holds few of them. */
#define TURBO__OUT_FILE_BYTES 131072
typedef struct turbo__outfile {
    turbo__outseg seg;
    uint64_t offset; /* of the first byte that is not sent */
    int fd;
} turbo__outfile;

/* Blocks that a loop's connections share; one thread. All-zero is empty. */
typedef struct turbo__outpool {
    turbo__outseg *blocks; /* free, full size     */
    size_t count;          /* of them             */
} turbo__outpool;

typedef struct turbo__outq {
    turbo__outseg *head, *tail;
    size_t bytes; /* that wait; each piece of a file is TURBO__OUT_FILE_BYTES */
} turbo__outq;

/** Room for up to need bytes (at most TURBO__OUT_BLOCK_BYTES - 64) at the end.
 *  @return where to write; turbo__outq_commit() says how much was; NULL without memory. */
char *turbo__outq_reserve(turbo__outq *q, turbo__outpool *pool, size_t need);
void turbo__outq_commit(turbo__outq *q, size_t len);

/** Append a copy, over several blocks if need be. @return 0; TURBO_ENOMEM, with nothing appended or a part. */
int turbo__outq_copy(turbo__outq *q, turbo__outpool *pool, const char *data, size_t len);

/** Append a reference; release(arg) is called when it is sent or thrown away.
 *  @return 0; TURBO_ENOMEM, release is not called then. */
int turbo__outq_ref(turbo__outq *q, const char *data, size_t len, void (*release)(void *arg), void *arg);

/** Append len > 0 bytes of a file; as turbo__outq_ref(), but release may be NULL. The descriptor stays the caller's. */
int turbo__outq_file(turbo__outq *q, int fd, uint64_t offset, uint64_t len, void (*release)(void *arg), void *arg);

/** The first bytes to send, up to the next piece of a file. @return how many of max places were filled; 0 when that
 *  piece is the first. */
int turbo__outq_iov(const turbo__outq *q, struct iovec *iov, int max);

/** The piece of a file that is to be sent first, once turbo__outq_iov() has returned 0. */
turbo__outfile *turbo__outq_first_file(turbo__outq *q, turbo__outpool *pool);

/** Drop what was sent of memory. */
void turbo__outq_sent(turbo__outq *q, turbo__outpool *pool, size_t len);

/** Drop what was sent of the first piece of a file. */
void turbo__outq_file_sent(turbo__outq *q, turbo__outpool *pool, size_t len);

/** Throw everything away. */
void turbo__outq_clear(turbo__outq *q, turbo__outpool *pool);

void turbo__outpool_free(turbo__outpool *pool);

#endif
