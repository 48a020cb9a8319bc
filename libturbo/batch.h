/* batch.h - gathers the requests of a route with a batch callback into one call. */
#ifndef TURBO_BATCH_H
#define TURBO_BATCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "timer.h"
#include "turbo/request.h"
#include "turbo/stats.h"

struct turbo__route;

/* Why a batch closed. docs/batching.md says when each one does. */
enum {
    TURBO__CLOSED_FULL = 0,
    TURBO__CLOSED_TURN,
    TURBO__CLOSED_TIMER,
    TURBO__CLOSED_GATE,
    TURBO__CLOSED_DRAINED,
    TURBO__CLOSED_WEIGHT,
    TURBO__CLOSED_REASONS
};

/* Requests of one route that wait for their call. */
typedef struct turbo__gathering {
    const struct turbo__route *route;
    turbo_request **reqs; /* route->batch_max places, made at the first request */
    size_t count;
    uint64_t weight;      /* of them all; below route->batch_weight_max, where that is not 0 */
    uint64_t due_ns;      /* 0: at the end of the turn */
} turbo__gathering;

typedef struct turbo__batcher {
    turbo__gathering *gatherings; /* one a batch route that was met */
    size_t count;
    size_t waiting;               /* requests in all of them        */

    /* Counters of calls, written by the shard's thread. */
    _Atomic uint64_t calls, requests, sizes[TURBO_STATS_BATCH_BUCKETS], closed[TURBO__CLOSED_REASONS];
} turbo__batcher;

/** Bucket of a batch of n requests in a histogram of sizes; n > 0. */
static inline unsigned turbo__batch_bucket(size_t n) {
    unsigned bucket = 63 - (unsigned)__builtin_clzll((unsigned long long)n);
    return bucket < TURBO_STATS_BATCH_BUCKETS ? bucket : TURBO_STATS_BATCH_BUCKETS - 1;
}

/** Add a request; a gathering that becomes full, or as heavy as it may be, is called at once, and so is one that it does not
 *  fit into. @return 0, also when its weight function has taken it; TURBO_ENOMEM, or another negative value of that one:
 *  it is to fail. */
int turbo__batcher_add(turbo__batcher *batcher, turbo_shard *shard, turbo_request *req);

/** At the end of a turn: call what does not wait, what is due, and what keeps all others out of the shard, or out of its
 *  lane, and so can never fill; all != 0: everything. */
void turbo__batcher_run(turbo__batcher *batcher, turbo_shard *shard, uint64_t now_ns, int all);

/** When the next gathering is due. @return 0 when none waits. */
uint64_t turbo__batcher_next_ns(const turbo__batcher *batcher);

/** Free the memory; nothing waits. */
void turbo__batcher_free(turbo__batcher *batcher);

#endif
