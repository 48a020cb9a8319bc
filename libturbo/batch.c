/* batch.c - gathers the requests of a route with a batch callback into one call. */
#include "batch.h"

#include "answer.h"
#include "conn.h"
#include "mem.h"
#include "queue.h"
#include "request.h"
#include "shard.h"
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

/* -- calls -- */

/* @return 1 when nothing is left to do for a request: its client has gone, or it has waited too long. */
static int is_over(turbo_shard *shard, turbo_request *req, uint64_t *now_ns) {
    if (turbo__request_is_gone(req)) {
        turbo__count(&shard->dropped, 1);
        (void)turbo__answer_status(req, 503, NULL); /* which nobody will read, but ends it */
        return 1;
    }
    if (!turbo__queue_is_late(req, now_ns))
        return 0;
    turbo__queue_expire(req);
    return 1;
}

/* @return how many are left, in front. */
static size_t leave_out(turbo_shard *shard, turbo_request **reqs, size_t count) {
    uint64_t now_ns = 0;
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_over(shard, reqs[i], &now_ns))
            turbo_request_release(reqs[i]);
        else
            reqs[left++] = reqs[i];
    }
    return left;
}

static void count_call(turbo__batcher *batcher, size_t n, int why) {
    turbo__count(&batcher->calls, 1);
    turbo__count(&batcher->requests, n);
    turbo__count(&batcher->sizes[turbo__batch_bucket(n)], 1);
    turbo__count(&batcher->closed[why], 1);
}

static void call(turbo__batcher *batcher, turbo_shard *shard, turbo__gathering *gathering, int why) {
    const turbo__route *route = gathering->route;
    turbo_request **reqs = gathering->reqs;
    size_t count = gathering->count;
    uint64_t now_ns = 0;
    batcher->waiting -= count;
    gathering->count = 0;
    gathering->weight = 0;
    if ((count = leave_out(shard, reqs, count)) == 0)
        return;
    count_call(batcher, count, why);
    for (size_t i = 0; route->handler_timeout_ns != 0 && i < count; i++)
        turbo__overdue_begin(reqs[i], &now_ns);
    route->batch_fn(shard, reqs, count, route->user);
    for (size_t i = 0; i < count; i++)
        turbo_request_release(reqs[i]);
}

static void join(turbo__batcher *batcher, turbo__gathering *gathering, turbo_request *req) {
    uint64_t wait_ns = gathering->route->batch_wait_us * 1000;
    if (gathering->count == 0) /* the wait in the queue is part of it: behind a busy shard there may be none left */
        gathering->due_ns = wait_ns == 0 ? 0 : req->queued_ns + wait_ns;
    gathering->reqs[gathering->count++] = turbo_request_retain(req);
    batcher->waiting++;
}

/* @return 0, also when the weight function has taken the request; a negative value of its. */
static int join_by_weight(turbo__batcher *batcher, turbo_shard *shard, turbo__gathering *gathering, turbo_request *req) {
    const turbo__route *route = gathering->route;
    uint64_t weight = 0;
    int rc = route->weight_fn(&weight, req, route->weight_user);
    if (rc <= 0)
        return rc;
    if (gathering->count > 0 && weight > route->batch_weight_max - gathering->weight)
        call(batcher, shard, gathering, TURBO__CLOSED_WEIGHT);
    join(batcher, gathering, req);
    if (weight >= route->batch_weight_max - gathering->weight) /* full to the brim, or a heavy one alone */
        call(batcher, shard, gathering, TURBO__CLOSED_WEIGHT);
    else
        gathering->weight += weight;
    return 0;
}

int turbo__batcher_add(turbo__batcher *batcher, turbo_shard *shard, turbo_request *req) {
    turbo__gathering *gathering = gathering_of(batcher, req->route);
    int rc = 0;
    if (gathering == NULL)
        return TURBO_ENOMEM;
    if (req->route->weight_fn != NULL)
        rc = join_by_weight(batcher, shard, gathering, req);
    else
        join(batcher, gathering, req);
    if (gathering->count == req->route->batch_max)
        call(batcher, shard, gathering, TURBO__CLOSED_FULL);
    return rc;
}

/* -- the end of a turn -- */

/* @return why a gathering closes now; -1: it does not. */
static int why_now(const turbo__gathering *gathering, uint64_t now_ns, int all) {
    if (gathering->due_ns == 0)
        return TURBO__CLOSED_TURN;
    if (gathering->due_ns <= now_ns)
        return TURBO__CLOSED_TIMER;
    return all ? TURBO__CLOSED_DRAINED : -1;
}

/* A gate that is full of requests which wait for others: no answer can let one in. */
static int is_stuck(turbo__gate *gate, size_t waiting) {
    return turbo__gate_room(gate) == 0 && turbo__gate_inside(gate) == waiting;
}

static turbo__gathering *first_due(turbo__batcher *batcher) {
    turbo__gathering *first = NULL;
    for (size_t i = 0; i < batcher->count; i++) {
        turbo__gathering *gathering = &batcher->gatherings[i];
        if (gathering->count > 0 && (first == NULL || gathering->due_ns < first->due_ns))
            first = gathering;
    }
    return first;
}

static void call_stuck(turbo__batcher *batcher, turbo_shard *shard) {
    for (size_t i = 0; batcher->waiting > 0 && i < batcher->count; i++) {
        turbo__gathering *gathering = &batcher->gatherings[i];
        turbo__lane *lane = gathering->count == 0 ? NULL : turbo__lane_of(&shard->lanes, gathering->reqs[0]);
        if (lane != NULL && is_stuck(&lane->gate, gathering->count))
            call(batcher, shard, gathering, TURBO__CLOSED_GATE);
    }
    while (batcher->waiting > 0 && is_stuck(&shard->gate, batcher->waiting))
        call(batcher, shard, first_due(batcher), TURBO__CLOSED_GATE);
}

void turbo__batcher_run(turbo__batcher *batcher, turbo_shard *shard, uint64_t now_ns, int all) {
    for (size_t i = 0; batcher->waiting > 0 && i < batcher->count; i++) {
        turbo__gathering *gathering = &batcher->gatherings[i];
        int why = gathering->count == 0 ? -1 : why_now(gathering, now_ns, all);
        if (why >= 0)
            call(batcher, shard, gathering, why);
    }
    call_stuck(batcher, shard);
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
    batcher->gatherings = NULL;
    batcher->count = 0;
}
