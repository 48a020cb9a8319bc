/* batch.h - gathers the requests of a route with a batch callback into one call. */
#ifndef TURBO_BATCH_H
#define TURBO_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "timer.h"
#include "turbo/request.h"

struct turbo__route;

/* Requests of one route that wait for their call. */
typedef struct turbo__gathering {
    const struct turbo__route *route;
    turbo_request **reqs; /* route->batch_max places, made at the first request */
    size_t count;
    uint64_t due_ns;      /* 0: at the end of the turn */
} turbo__gathering;

typedef struct turbo__batcher {
    turbo__gathering *gatherings; /* one a batch route that was met */
    size_t count;
    size_t waiting;               /* requests in all of them        */
} turbo__batcher;

/** Add a request; a gathering that becomes full is called at once. @return 0; TURBO_ENOMEM. */
int turbo__batcher_add(turbo__batcher *batcher, turbo_shard *shard, turbo_request *req, uint64_t now_ns);

/** Call what is due; all != 0: everything. */
void turbo__batcher_run(turbo__batcher *batcher, turbo_shard *shard, uint64_t now_ns, int all);

/** When the next gathering is due. @return 0 when none waits. */
uint64_t turbo__batcher_next_ns(const turbo__batcher *batcher);

/** Free the memory; nothing waits. */
void turbo__batcher_free(turbo__batcher *batcher);

#endif
