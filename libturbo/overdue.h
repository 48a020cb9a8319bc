/* overdue.h - handler_timeout_ms: requests whose handler has begun, and what happens when it takes too long. */
#ifndef TURBO_OVERDUE_H
#define TURBO_OVERDUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "list.h"
#include "request.h"

/*
 * All requests of a route have the same time, so that they are overdue in the order in which they began: a line a route,
 * no timer a request. Answers come from any thread and take their request out at once, or it would be kept in memory
 * until its time is over; hence the lock, which only routes with a timeout take.
 */
typedef struct turbo__overdue {
    pthread_mutex_t lock;
    turbo__list *lines;       /* by route->index                                         */
    uint32_t line_count;      /* 0: no route has a timeout, and nothing else is set      */
    uint8_t closed;           /* the shard has ended: nobody is looked at any more       */
    _Atomic uint64_t next_ns; /* when to look: no request is overdue before; 0: there is none */
} turbo__overdue;

/** @return 0; TURBO_ENOMEM. */
int turbo__overdue_open(turbo__overdue *overdue, const turbo__route *routes, uint32_t route_count);
void turbo__overdue_free(turbo__overdue *overdue);

/** A handler begins. The request is in flight on its shard and its route has a timeout; the clock is read when *now_ns is
 *  0. Thread: that on which it begins. */
void turbo__overdue_begin(turbo_request *req, uint64_t *now_ns);

/** An answer, or a streamed one's head, was made. Thread: any. */
void turbo__overdue_end(turbo_request *req);

/** Answer the overdue ones of a shard, and tell their handlers. Thread: the shard. */
void turbo__overdue_check(turbo_shard *shard);

/** The shard ends. Thread: the shard. */
void turbo__overdue_close(turbo__overdue *overdue);

#endif
