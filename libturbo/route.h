/* route.h - a route: its handler and the terms on which it runs. */
#ifndef TURBO_ROUTE_INTERNAL_H
#define TURBO_ROUTE_INTERNAL_H

#include "key.h"
#include "router.h"
#include "settings.h"
#include "static_files.h"
#include "turbo/route.h"

enum { TURBO__EXECUTOR_SHARD = 0, TURBO__EXECUTOR_INLINE, TURBO__EXECUTOR_POOL };
enum { TURBO__BODIES_GATHERED = 0, TURBO__BODIES_STREAMED };

typedef struct turbo__route {
    struct turbo__route *next;     /* of the server's routes                                */
    const turbo__pattern *pattern; /* kept by the router                                    */
    turbo_handler_fn handler;      /* NULL: batch_fn, or an executor that runs no handlers  */
    turbo_batch_fn batch_fn;
    void *user;
    turbo_placement_fn placement_fn; /* NULL: placement                                     */
    void *placement_user;
    turbo_weight_fn weight_fn;     /* of a batch callback; NULL: its requests are not weighed */
    void *weight_user;
    uint64_t body_max;
    uint64_t body_window;          /* of a streamed body: bytes that may wait for the handler */
    uint64_t batch_max;            /* of a batch callback                                   */
    uint64_t batch_wait_us;
    uint64_t batch_weight_max;     /* 0 without weight_fn                                   */
    uint64_t spill_percent;
    uint64_t inflight_max;         /* on a shard; 0: only the shard's own limit              */
    uint64_t queue_timeout_ns;     /* 0: a request waits for its handler however long it takes */
    uint64_t handler_timeout_ns;   /* from a handler's begin to its answer; 0: none           */
    uint32_t shed_status;          /* 503 or 429                                            */
    uint32_t retry_after_s;        /* of such an answer; 0: none                            */
    uint32_t executor;             /* TURBO__EXECUTOR_*                                     */
    uint32_t threads;              /* for executor pool: at most so many at once on a shard */
    uint32_t body;                 /* TURBO__BODIES_*                                       */
    uint32_t placement;            /* TURBO__PLACEMENT_*, never DEFAULT                     */
    turbo__key key;                /* for placement key                                     */
    uint32_t hash;                 /* of method and pattern                                 */
    uint32_t index;                /* 0, 1, 2, ... in order of registration                 */
    _Atomic uint8_t one_by_one;    /* its answers hold a file open, or one took more than unsent_max_bytes of memory: a
                                      connection's next one is made when what is before it has nearly left */
} turbo__route;

/** Status of ENUM shed_status. */
static inline uint32_t turbo__shed_status(uint64_t choice) { return choice == 0 ? 503 : 429; }

/** A route from its options (NULL: none set) and the server's settings; pattern, handler and user are set by the
 *  caller. @param method NULL for any. @return 0; TURBO_ENOMEM. */
int turbo__route_new(turbo__route **out, const char *method, const char *pattern, const turbo_route_options *options,
                     const turbo__settings *settings);
void turbo__route_free(turbo__route *route);

/** What options say of static routes; NULL leaves both as they are. */
void turbo__route_options_static(const turbo_route_options *options, turbo__static_options *files, int *dot_files);

#endif
