/* rig.h - a server with an executor that records what it is given, and keeps it until the test answers. */
#ifndef SUPPORT_RIG_H
#define SUPPORT_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "turbo.h"

#define RIG_REQUESTS_MAX 4096
#define RIG_SHARDS_MAX 16

/* What the executor saw. Written on the shards' threads; with a driven executor that is the test's own. */
typedef struct recorder {
    pthread_mutex_t lock;
    turbo_request *reqs[RIG_REQUESTS_MAX]; /* given to batch, in order; a reference is held of each */
    uint32_t events[RIG_REQUESTS_MAX];     /* TURBO_EVENT_* that each has got since                 */
    atomic_size_t count;
    uint32_t gone_with[RIG_REQUESTS_MAX];  /* what the call said, too, that told of TURBO_EVENT_GONE */
    atomic_size_t strays;                  /* events of requests that are not among them            */
    size_t batches, batch_sizes[RIG_REQUESTS_MAX];
    atomic_size_t started, stopped;
    atomic_int runs;                       /* not 0: batch runs the routes' handlers, and keeps nothing */
    void (*on_batch)(struct recorder *seen, turbo_shard *shard); /* called at the end of batch; may be NULL */
    int start_rc;                          /* what start_shard returns, from the start_ok-th shard on   */
    size_t start_ok;
} recorder;

/* What became of requests without a connection. */
typedef struct outcome {
    atomic_size_t answered, closed, failed; /* done() with status 0, TURBO_ECLOSED, anything else */
    int32_t status;
    char body[64];
} outcome;

typedef struct rig {
    turbo_server *server;
    recorder seen;
    int driven;
    uint8_t ended[RIG_SHARDS_MAX]; /* driven shards that said TURBO_ECLOSED */
} rig;

/** A server with the recording executor: flags as turbo_executor_ops.flags, settings as "queue_max=2"; one shard, one
 *  I/O thread unless they say otherwise. */
void rig_new(rig *r, uint32_t flags, const char *settings);

void rig_start(rig *r);

/** rig_new(), listening on 127.0.0.1 at port 0. */
void rig_listen(rig *r, uint32_t flags, const char *settings);

/** Poll each driven shard once. @return how many have ended. */
size_t rig_poll(rig *r);

/** Poll until nothing is due any more. */
void rig_settle(rig *r);

/** Abort, poll to the end, wait; fail what is not answered; release the server and every recorded request. */
void rig_end(rig *r);

/** Options from "name=value name=value". */
turbo_options *options_from(const char *settings);

/** A handler that answers 200 "ok" at once. */
int answer_ok(turbo_request *req, void *user);

/** A handler that keeps the request: *(turbo_request **)user gets a reference. */
int keep_request(turbo_request *req, void *user);

/** A request without a connection that ends in an outcome. */
turbo_request *request_to(turbo_server *server, const char *target, outcome *out);

/** Make one, submit it and let go of it. @return what turbo_shard_submit() returned. */
int submit_to(turbo_shard *shard, turbo_server *server, const char *target, outcome *out);

/** A turbo_done_fn whose user is an outcome. */
void note_outcome(turbo_request *req, int status, const turbo_response *resp, void *user);

/** taken = answered + shed + dropped + abandoned. */
void expect_all_accounted(turbo_server *server, uint64_t taken, uint64_t answered, uint64_t shed, uint64_t dropped,
                          uint64_t abandoned);

#endif
