/* shard.h - a thread or a driven fd, a queue, batches, a gate, an executor. */
#ifndef TURBO_SHARD_H
#define TURBO_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "batch.h"
#include "gate.h"
#include "lane.h"
#include "loop.h"
#include "mailbox.h"
#include "overdue.h"
#include "patience.h"
#include "pool.h"
#include "request.h"
#include "timer.h"
#include "turbo/executor.h"
#include "turbo/stats.h"

/* What a shard's mailbox holds. */
enum { TURBO__MAIL_REQUEST = 0, TURBO__MAIL_POST };

/* Life of a shard, in this order. */
enum { TURBO__SHARD_NEW = 0, TURBO__SHARD_RUNNING, TURBO__SHARD_STOPPING, TURBO__SHARD_ENDED };

/* Bit of turbo_shard.unanswered: the end has counted what was left, and later answers count no more. */
#define TURBO__SHARD_COUNTED ((uint64_t)1 << 63)

/* Mails one behind the other. */
typedef struct turbo__line {
    turbo__mail *first, *last; /* last: unless first is NULL */
} turbo__line;

struct turbo_shard {
    turbo_server *server;
    uint32_t index;
    uint8_t driven;
    uint8_t polling;  /* inside turbo_shard_poll()                                  */
    uint8_t in_batch; /* inside ops.batch                                           */
    uint8_t came_here; /* requests came without mail since the last turn            */
    uint8_t timer_open;
    uint8_t drain_told; /* turbo_server_on_drain()'s function was called, or there was none */
    uint8_t begun;         /* driven: start_shard has succeeded */
    uint8_t loop_reported; /* driven: the end of the loop       */
    turbo_executor_ops ops;
    void *self;
    void *data; /* turbo_shard_data()                                               */

    /* Loop and thread. A driven shard that does no I/O has no loop: its mailbox's descriptor is all there is. */
    turbo__loop own_loop;
    turbo__loop *loop; /* NULL, or own_loop                                         */
    turbo__member member;
    turbo__mailbox box;
    uv_timer_t uv_timer; /* for `timers`, where there is a loop                     */
    uint64_t uv_timer_ns; /* what it is set to; 0: not                              */
    pthread_t thread;     /* whose shard it is, once has_thread is set              */
    atomic_uint has_thread;
    atomic_uint state;    /* TURBO__SHARD_*                                         */
    int start_rc;         /* what start_shard returned                              */

    /* The queue: requests taken from the mailbox, waiting for the gate. */
    turbo__line line;
    turbo__line behind; /* those whose client has most likely left: when nobody else waits, or now and then */
    uint32_t passed_by; /* others that were let in before them since */
    _Atomic uint64_t queued; /* these and those in the mailbox                      */
    turbo__gate gate;
    turbo__lanes lanes;
    turbo_request **reqs; /* room for one batch                                     */
    turbo__batcher batcher;
    turbo__pool pool;
    pthread_t *pool_threads; /* ours, running; NULL: there are none, or they are the host's */
    uint32_t pool_started;
    turbo__overdue overdue;
    turbo__heap timers;
    turbo__patience patience;
    uint64_t sweep_ns; /* when turbo__queue_sweep() looks again; 0: nothing waits           */
    _Atomic uint64_t batch_since_ns; /* when the running batch began; 0: none runs  */
    _Atomic uint64_t request_ns;     /* what the last batch took, for each request  */
    turbo__mail_chain *outboxes;     /* answers, one chain an I/O loop              */

    /* Counters; those with one writer are written by the shard's thread. */
    _Atomic uint64_t requests, batches, batch_sizes[TURBO_STATS_BATCH_BUCKETS], dropped, abandoned, timed_out;
    _Atomic uint64_t taken, answered, shed_taken; /* requests without a connection; any thread */
    _Atomic uint64_t unanswered;      /* of these; with TURBO__SHARD_COUNTED: counted as abandoned */
    _Atomic uint64_t queued_most, shed; /* I/O loops and submitters                  */
    _Atomic uint64_t expired;           /* waited too long for their handler; any thread */
    _Atomic uint64_t latency[TURBO_STATS_LATENCY_BUCKETS]; /* any thread             */
};

/** Set up a shard, whose index is set; its thread is not started. @return 0; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS. */
int turbo__shard_open(turbo_shard *shard, turbo_server *server);

/** Run start_shard on the calling thread, which becomes the shard's. @return what it returned. */
int turbo__shard_begin(turbo_shard *shard);

/** Abandon what is left, end the executor and seal the mailbox, at its next turn. Thread: any. */
void turbo__shard_stop(turbo_shard *shard);

/** Tell the posted functions and timers of a shard that will not run that it has ended. */
void turbo__shard_give_up(turbo_shard *shard);

/** Close the handles of a shard that did not run to its end. turbo__loop_free() must follow. */
void turbo__shard_close_unused(turbo_shard *shard);

/** Start the threads of the pool, unless the host brings them. @return 0; TURBO_ENOMEM. */
int turbo__shard_start_pool(turbo_shard *shard, int (*thread_new)(pthread_t *, void *(*)(void *), void *));

/** Wait for them; the pool is closed. */
void turbo__shard_join_pool(turbo_shard *shard);

/** Free memory and descriptors; its loop is freed. */
void turbo__shard_free(turbo_shard *shard);

/** turbo__member.turn of a shard: take mail, run what is due, at most one batch, send the answers. */
int turbo__shard_turn(void *self);

/** Whether the calling thread is the shard's, and the shard has not ended: what it leaves with the shard is still taken
 *  care of. (A thread that was made since may even have the ended one's id.) */
static inline int turbo__shard_is_here(turbo_shard *shard) {
    return atomic_load_explicit(&shard->has_thread, memory_order_acquire) != 0 &&
           pthread_equal(shard->thread, pthread_self()) &&
           atomic_load_explicit(&shard->state, memory_order_relaxed) != TURBO__SHARD_ENDED;
}

/** Whether requests wait for nothing but the gate. Thread: the shard. */
static inline int turbo__shard_has_line(const turbo_shard *shard) {
    return shard->line.first != NULL || shard->behind.first != NULL;
}

/** Whether a turn would do something that no mail tells of: a request came without, or one that waits has room now. A
 *  queue in front of a full gate wants none: whoever leaves wakes the shard. Thread: the shard. */
static inline int turbo__shard_wants_turn(turbo_shard *shard) {
    if (shard->line.first != NULL && shard->came_here)
        return 1;
    return (turbo__shard_has_line(shard) || turbo__lanes_wait(&shard->lanes)) && turbo__gate_room(&shard->gate) > 0;
}

/** Tell the shard that something happened to a request it has. Thread: any that holds a reference. */
void turbo__shard_event(turbo_shard *shard, turbo_request *req, uint32_t events);

/** An answer made on the shard's thread: it leaves at the next flush. */
void turbo__shard_send_home(turbo_shard *shard, turbo_request *req);

/** Load for placement: queued and in flight. Thread: any. */
static inline uint64_t turbo__shard_load(turbo_shard *shard) {
    return atomic_load_explicit(&shard->queued, memory_order_relaxed) + turbo__gate_inside(&shard->gate);
}

/** Count the time from the queue to now_ns. Thread: any. */
void turbo__shard_latency(turbo_shard *shard, const turbo_request *req, uint64_t now_ns);

#endif
