/* pool.h - the threads of a shard that run handlers which block, and the requests that wait for them. */
#ifndef TURBO_POOL_H
#define TURBO_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "request.h"

/* The requests of one route: at most `max` run at once, so that one route cannot take every thread. */
typedef struct turbo__pool_lane {
    turbo_request *first, *last;
    struct turbo__pool_lane *next; /* while it is in the list of ready ones */
    uint32_t running, max;
    uint8_t is_ready;
} turbo__pool_lane;

/* All but the counters is guarded by lock. */
typedef struct turbo__pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    turbo__pool_lane *lanes;         /* by route->index                                       */
    turbo__pool_lane *ready, *ready_last; /* have requests, and may run one more; in turn     */
    uint32_t lane_count;
    uint32_t threads;                /* 0: no route runs here, and nothing else is set        */
    uint32_t waiting;                /* threads that have nothing to do                       */
    uint8_t closed;
    _Atomic uint64_t queued, busy, requests, dropped;
} turbo__pool;

/** A pool for the routes of a server; without a route that runs on pools it has no threads. @return 0; TURBO_ENOMEM. */
int turbo__pool_open(turbo__pool *pool, const turbo__route *routes, uint32_t route_count);

/** Have one of the threads run a request's handler. Takes a reference of its own. Thread: the shard. */
void turbo__pool_put(turbo__pool *pool, turbo_request *req);

/**
 * Give back what was run, and wait for the next. Requests of clients that have gone, and those that have waited longer than
 * their route allows, are answered here, and not given out.
 *
 * @param done  NULL, or what the last call on this thread gave.
 * @param out   receives a request, whose reference stays the pool's until it is given back.
 * @return 0; TURBO_ECLOSED when there will be none. Thread: one of the pool's.
 */
int turbo__pool_next(turbo__pool *pool, turbo_request *done, turbo_request **out);

/** Take a request that has waited longer for a thread than its route allows, with the pool's reference. @return NULL when
 *  there is none. Thread: any. */
turbo_request *turbo__pool_take_late(turbo__pool *pool, uint64_t now_ns);

/** No more will be put: the threads end when nothing is left. Thread: any. */
void turbo__pool_close(turbo__pool *pool);

/** Free memory; its threads have ended. */
void turbo__pool_free(turbo__pool *pool);

#endif
