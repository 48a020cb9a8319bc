/* outq.c - bytes that wait to be sent on one connection. */
#include "outq.h"

#include <string.h>

#include "list.h"
#include "mem.h"
#include "turbo/error.h"

#define BLOCK_ROOM (TURBO__OUT_BLOCK_BYTES - sizeof(turbo__outseg))
#define POOL_MAX 256 /* free blocks kept: 2 MiB a loop */

static char *block_start(turbo__outseg *seg) { return (char *)(seg + 1); }

static turbo__outseg *block_new(turbo__outpool *pool) {
    turbo__outseg *seg = pool->blocks;
    if (seg != NULL) {
        pool->blocks = seg->next;
        pool->count--;
    } else if ((seg = turbo__malloc(TURBO__OUT_BLOCK_BYTES)) == NULL) {
        return NULL;
    }
    *seg = (turbo__outseg){.data = block_start(seg), .room = BLOCK_ROOM};
    return seg;
}

static void seg_free(turbo__outpool *pool, turbo__outseg *seg) {
    if (seg->release != NULL || seg->data == NULL) {
        if (seg->release != NULL)
            seg->release(seg->arg);
        turbo__free(seg);
    } else if (pool->count < POOL_MAX) {
        seg->next = pool->blocks;
        pool->blocks = seg;
        pool->count++;
    } else {
        turbo__free(seg);
    }
}

static void append(turbo__outq *q, turbo__outseg *seg) {
    if (q->tail != NULL)
        q->tail->next = seg;
    else
        q->head = seg;
    q->tail = seg;
}

char *turbo__outq_reserve(turbo__outq *q, turbo__outpool *pool, size_t need) {
    turbo__outseg *seg = q->tail;
    if (seg == NULL || seg->room < need) { /* a reference has no room */
        if (need > BLOCK_ROOM || (seg = block_new(pool)) == NULL)
            return NULL;
        append(q, seg);
    }
    return (char *)(uintptr_t)(seg->data + seg->len);
}

void turbo__outq_commit(turbo__outq *q, size_t len) {
    q->tail->len += len;
    q->tail->room -= len;
    q->bytes += len;
}

int turbo__outq_copy(turbo__outq *q, turbo__outpool *pool, const char *data, size_t len) {
    while (len > 0) {
        char *to = turbo__outq_reserve(q, pool, 1);
        if (to == NULL)
            return TURBO_ENOMEM;
        size_t n = len < q->tail->room ? len : q->tail->room;
        memcpy(to, data, n);
        turbo__outq_commit(q, n);
        data += n;
        len -= n;
    }
    return 0;
}

int turbo__outq_ref(turbo__outq *q, const char *data, size_t len, void (*release)(void *arg), void *arg) {
    turbo__outseg *seg = turbo__malloc(sizeof *seg);
    if (seg == NULL)
        return TURBO_ENOMEM;
    *seg = (turbo__outseg){.data = data, .len = len, .release = release, .arg = arg};
    append(q, seg);
    q->bytes += len;
    return 0;
}

int turbo__outq_file(turbo__outq *q, int fd, uint64_t offset, uint64_t len, void (*release)(void *arg), void *arg) {
    turbo__outfile *file = turbo__malloc(sizeof *file);
    if (file == NULL)
        return TURBO_ENOMEM;
    *file = (turbo__outfile){{.len = (size_t)len, .release = release, .arg = arg}, offset, fd};
    append(q, &file->seg);
    q->bytes += TURBO__OUT_FILE_BYTES;
    return 0;
}

int turbo__outq_iov(const turbo__outq *q, struct iovec *iov, int max) {
    int n = 0;
    for (const turbo__outseg *seg = q->head; seg != NULL && n < max; seg = seg->next) {
        if (seg->len == 0)
            continue;
        if (seg->data == NULL)
            break;
        iov[n].iov_base = (void *)(uintptr_t)seg->data;
        iov[n].iov_len = seg->len;
        n++;
    }
    return n;
}

static void drop_first(turbo__outq *q, turbo__outpool *pool) {
    turbo__outseg *seg = q->head;
    q->head = seg->next;
    if (q->head == NULL)
        q->tail = NULL;
    seg_free(pool, seg);
}

turbo__outfile *turbo__outq_first_file(turbo__outq *q, turbo__outpool *pool) {
    while (q->head->len == 0) /* room that nothing was written to */
        drop_first(q, pool);
    return TURBO__CONTAINER(q->head, turbo__outfile, seg);
}

void turbo__outq_file_sent(turbo__outq *q, turbo__outpool *pool, size_t len) {
    turbo__outfile *file = TURBO__CONTAINER(q->head, turbo__outfile, seg);
    file->offset += len;
    file->seg.len -= len;
    if (file->seg.len > 0)
        return;
    q->bytes -= TURBO__OUT_FILE_BYTES;
    drop_first(q, pool);
}

void turbo__outq_sent(turbo__outq *q, turbo__outpool *pool, size_t len) {
    q->bytes -= len;
    while (q->head != NULL && len >= q->head->len) { /* a piece of a file is never empty: it ends the loop */
        len -= q->head->len;
        drop_first(q, pool);
    }
    if (len > 0) {
        q->head->data += len;
        q->head->len -= len;
    }
}

void turbo__outq_clear(turbo__outq *q, turbo__outpool *pool) {
    while (q->head != NULL) {
        turbo__outseg *seg = q->head;
        q->head = seg->next;
        seg_free(pool, seg);
    }
    *q = (turbo__outq){0};
}

void turbo__outpool_free(turbo__outpool *pool) {
    while (pool->blocks != NULL) {
        turbo__outseg *seg = pool->blocks;
        pool->blocks = seg->next;
        turbo__free(seg);
    }
    pool->count = 0;
}
