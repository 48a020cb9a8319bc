/* queue.h - a shard's queue: requests in from any thread, out within the limits of what is in flight. */
#ifndef TURBO_QUEUE_H
#define TURBO_QUEUE_H

#include "clock.h"
#include "server.h"
#include "shard.h"

/** Make a request ready to be pushed: it gets a reference for the queue. */
void turbo__queue_prepare(turbo_shard *shard, turbo_request *req);
/** Undo that, when it could not be pushed. */
void turbo__queue_unprepare(turbo_request *req);

/** Requests that came in one chain, from an I/O loop: those that do not fit are left in `chain`, newest first.
 *  @return 0; TURBO_EAGAIN when some are left; TURBO_ECLOSED when all are. Thread: any. */
int turbo__queue_push(turbo_shard *shard, turbo__mail_chain *chain);

/** The same for one request, on the shard's own thread: no hand-off. @return 0; TURBO_EAGAIN; TURBO_ECLOSED. */
int turbo__queue_push_here(turbo_shard *shard, turbo_request *req);

/** Put a request that came by mail, or was pushed here, behind the others. Thread: the shard. */
void turbo__queue_append(turbo_shard *shard, turbo__mail *mail);

/** Move the requests of the next batch into shard->reqs; those of clients that have gone are given up. @return how many.
 *  @param now_ns  0; the clock, when there are any. Thread: the shard. */
size_t turbo__queue_gather(turbo_shard *shard, uint64_t *now_ns);

/** Whether requests wait, in the queue or for a place of their route. Thread: the shard. */
static inline int turbo__queue_has_any(const turbo_shard *shard) {
    return turbo__shard_has_line(shard) || shard->lanes.waiting > 0;
}

/** Whether a request has waited longer for its handler than its route allows. The clock is read when it is needed and
 *  *now_ns is 0. */
static inline int turbo__queue_is_late(const turbo_request *req, uint64_t *now_ns) {
    uint64_t most = req->route->queue_timeout_ns;
    if (most == 0)
        return 0;
    if (*now_ns == 0)
        *now_ns = turbo__clock_ns();
    return *now_ns > req->queued_ns && *now_ns - req->queued_ns > most;
}

/** Answer such a request; it is with a shard. Thread: any, before a handler has it. */
void turbo__queue_expire(turbo_request *req);

/** Whether there is a limit to the wait, or was until now. Thread: the shard. */
static inline int turbo__queue_may_expire(const turbo_shard *shard) {
    return shard->sweep_ns != 0 || turbo__patience_limit_ns(&shard->patience) != 0 ||
           shard->server->queue_timeout_least_ns != 0;
}

/** Now and then answer those that have waited too long at a full gate, of the queue, the lanes and the pool: no turn would
 *  look at them. Thread: the shard. */
void turbo__queue_sweep(turbo_shard *shard);

/** Find out whether requests wait longer than their clients: patience.h. Thread: the shard. */
void turbo__queue_learn(turbo_shard *shard);

/** Whether requests wait and there is room for one. If not, whoever leaves wakes the shard. Thread: the shard. */
int turbo__queue_may_go_on(turbo_shard *shard);

/** Give up what is left, at the end. Thread: the shard. */
void turbo__queue_end(turbo_shard *shard);

/** A request without a connection has its answer. @param shed it was answered without having run. Thread: any. */
void turbo__queue_answered(turbo_shard *shard, int shed);

/** What the executor has and has not answered when the shard ends counts as abandoned. Thread: the shard. */
void turbo__queue_abandon(turbo_shard *shard);

#endif
