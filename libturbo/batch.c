/* batch.c - gathers the requests of a route with a batch callback into one call. */
#include "batch.h"

#include "mem.h"
#include "queue.h"
#include "request.h"
#include "turbo/error.h"

static turbo__gathering *gathering_of(turbo__batcher *batcher, const turbo__route *route) {
    for (size_t i = 0; i < batcher->count; i++)
        if (batcher->gatherings[i].route == route)
            return &batcher->gatherings[i];
    turbo_request **reqs = turbo__malloc(route->batch_max * sizeof(turbo_request *));
    turbo__gathering *grown = turbo__realloc(batcher->gatherings, (batcher->count + 1) * sizeof *grown);
    if (grown != NULL)
        batcher->gatherings = grown;
    if (grown == NULL || reqs == NULL) {
        turbo__free(reqs);
        return NULL;
    }
    grown[batcher->count] = (turbo__gathering){.route = route, .reqs = reqs};
    return &grown[batcher->count++];
}

/* Those that have waited too long have their answer. @return how many are left, in front. */
static size_t leave_out_late(turbo_request **reqs, size_t count) {
    uint64_t now_ns = 0;
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (!turbo__queue_is_late(reqs[i], &now_ns)) {
            reqs[left++] = reqs[i];
            continue;
        }
        turbo__queue_expire(reqs[i]);
        turbo_request_release(reqs[i]);
    }
    return left;
}

static void call(turbo__batcher *batcher, turbo_shard *shard, turbo__gathering *gathering) {
    const turbo__route *route = gathering->route;
    size_t count = gathering->count;
    uint64_t now_ns = 0;
    batcher->waiting -= count;
    gathering->count = 0;
    if (route->queue_timeout_ns != 0 && (count = leave_out_late(gathering->reqs, count)) == 0)
        return;
    for (size_t i = 0; route->handler_timeout_ns != 0 && i < count; i++)
        turbo__overdue_begin(gathering->reqs[i], &now_ns);
    route->batch_fn(shard, gathering->reqs, count, route->user);
    for (size_t i = 0; i < count; i++)
        turbo_request_release(gathering->reqs[i]);
}

int turbo__batcher_add(turbo__batcher *batcher, turbo_shard *shard, turbo_request *req, uint64_t now_ns) {
    const turbo__route *route = req->route;
    turbo__gathering *gathering = gathering_of(batcher, route);
    if (gathering == NULL)
        return TURBO_ENOMEM;
    if (gathering->count == 0)
        gathering->due_ns = route->batch_wait_us == 0 ? 0 : now_ns + route->batch_wait_us * 1000;
    gathering->reqs[gathering->count++] = turbo_request_retain(req);
    batcher->waiting++;
    if (gathering->count == route->batch_max)
        call(batcher, shard, gathering);
    return 0;
}

void turbo__batcher_run(turbo__batcher *batcher, turbo_shard *shard, uint64_t now_ns, int all) {
    for (size_t i = 0; batcher->waiting > 0 && i < batcher->count; i++) {
        turbo__gathering *gathering = &batcher->gatherings[i];
        if (gathering->count > 0 && (all || gathering->due_ns <= now_ns))
            call(batcher, shard, gathering);
    }
}

uint64_t turbo__batcher_next_ns(const turbo__batcher *batcher) {
    uint64_t next = 0;
    for (size_t i = 0; batcher->waiting > 0 && i < batcher->count; i++) {
        const turbo__gathering *gathering = &batcher->gatherings[i];
        if (gathering->count > 0 && (next == 0 || gathering->due_ns < next))
            next = gathering->due_ns;
    }
    return next;
}

void turbo__batcher_free(turbo__batcher *batcher) {
    for (size_t i = 0; i < batcher->count; i++)
        turbo__free(batcher->gatherings[i].reqs);
    turbo__free(batcher->gatherings);
    *batcher = (turbo__batcher){0};
}
