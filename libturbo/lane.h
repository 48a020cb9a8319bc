/* lane.h - routes that may have only so many requests in flight on a shard: where the others wait, each route's apart, so
 * that they hold up nobody else. */
#ifndef TURBO_LANE_H
#define TURBO_LANE_H

#include "gate.h"
#include "mailbox.h"
#include "request.h"

typedef struct turbo__lane {
    turbo__gate gate;
    turbo__mail *first, *last; /* requests that wait, oldest first */
} turbo__lane;

/* Of one shard, and its thread's alone but for the gates. All-zero when no route has a limit of its own. */
typedef struct turbo__lanes {
    turbo__lane *list;
    size_t count;
    turbo__lane **by_route; /* by route->index; NULL: no limit of its own */
    size_t waiting;         /* in all lanes                               */
} turbo__lanes;

/** @return 0; TURBO_ENOMEM. */
int turbo__lanes_open(turbo__lanes *lanes, const turbo__route *routes, uint32_t route_count);
void turbo__lanes_free(turbo__lanes *lanes);

/** The lane of a request; NULL when its route has no limit of its own. */
static inline turbo__lane *turbo__lane_of(const turbo__lanes *lanes, const turbo_request *req) {
    return req->route->inflight_max == 0 ? NULL : lanes->by_route[req->route->index];
}

/** Whether a request that comes now has to wait: others do, or so many are in flight. */
static inline int turbo__lane_is_full(turbo__lane *lane) {
    return lane->first != NULL || turbo__gate_room(&lane->gate) == 0;
}

/** Let a request wait behind the others of its lane. */
void turbo__lane_keep(turbo__lanes *lanes, turbo__lane *lane, turbo__mail *mail);

/** Take the oldest request of a lane that has room. @return NULL when there is none. */
turbo__mail *turbo__lanes_take(turbo__lanes *lanes);

/** The shard is going to sleep: whoever leaves a lane where requests wait wakes it from now on.
 *  @return 1 when one of them has room after all. */
int turbo__lanes_wait(turbo__lanes *lanes);

/** Take a request, alone, that has waited longer than its route allows. @return NULL when there is none. */
turbo__mail *turbo__lanes_take_late(turbo__lanes *lanes, uint64_t now_ns);

/** Take a request whatever the limits are, at the end. @return NULL when none is left. */
turbo__mail *turbo__lanes_take_any(turbo__lanes *lanes);

#endif
