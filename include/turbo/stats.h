/* stats.h - counters: a snapshot, and the same as text. */
#ifndef TURBO_STATS_H
#define TURBO_STATS_H

#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bucket i of a batch-size histogram counts batches of 2^i .. 2^(i+1)-1 requests; the last one all above. */
#define TURBO_STATS_BATCH_BUCKETS 10

/* Bucket i of a latency histogram counts times below 2^i * 64 us; the last one all above. */
#define TURBO_STATS_LATENCY_BUCKETS 20

/**
 * Counters of a whole server since its start. Every request that was taken ends in exactly one of answered, shed,
 * dropped and abandoned: taken - these = requests that are being worked on.
 *
 * The counters are read one after the other while threads count on: sums agree exactly only when nothing moves.
 */
typedef struct turbo_stats {
    size_t size;               /* set by TURBO_STATS_INIT                                        */
    uint64_t taken;            /* requests whose first byte was read, or that were submitted     */
    uint64_t answered;         /* answers handed over whole, error answers included, but not shed */
    uint64_t shed;             /* answered shed_status: a queue or the body memory was full, or they waited too long */
    uint64_t dropped;          /* the client went before the answer                              */
    uint64_t abandoned;        /* not answered when the drain ended                              */
    uint64_t accepted;         /* connections                                                    */
    uint64_t connections;      /* open now                                                       */
    uint64_t bytes_in;         /* read from sockets                                              */
    uint64_t bytes_out;        /* written to sockets                                             */
    uint64_t accept_errors;    /* accept() failed, for example without file descriptors          */
    uint64_t parse_errors;     /* malformed or refused heads and framing                         */
    uint64_t timeouts_head;    /* head not complete in head_timeout_ms                           */
    uint64_t timeouts_body;    /* body stalled for body_stall_timeout_ms                         */
    uint64_t timeouts_idle;    /* connections closed after idle_timeout_ms                       */
    uint64_t body_memory;      /* of body_memory_max_bytes: what bodies hold now                 */
    uint64_t timeouts_queue;   /* waited too long for their handler (queue_timeout_ms, queue_patience): shed, or dropped, when
                                  the client went meanwhile                                      */
    uint64_t timeouts_handler; /* of answered: 504, the handler took longer than handler_timeout_ms */
    uint64_t refused;          /* connections closed at once, by connections_per_address_max       */
    /* -- since 0.1; new members follow here -- */
} turbo_stats;

/** An empty snapshot that knows its size. */
#define TURBO_STATS_INIT {sizeof(turbo_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/** Counters of one shard. */
typedef struct turbo_shard_stats {
    size_t size;             /* set by TURBO_SHARD_STATS_INIT                                   */
    uint64_t requests;       /* given to the executor                                           */
    uint64_t batches;        /* batches given to the executor                                   */
    uint64_t batch_sizes[TURBO_STATS_BATCH_BUCKETS];
    uint64_t queued;         /* waiting now                                                     */
    uint64_t queued_max;     /* most that waited at once                                        */
    uint64_t inflight;       /* with the executor now                                           */
    uint64_t inflight_max;   /* most with the executor at once                                  */
    uint64_t shed;           /* refused because the queue was full                              */
    uint64_t dropped;        /* not given to a handler, because the client had gone             */
    uint64_t wakeups;        /* times that the sleeping shard was woken                         */
    uint64_t latency[TURBO_STATS_LATENCY_BUCKETS]; /* from entering the queue to the answer, by batch clock */
    uint64_t pool_threads;   /* of the shard's pool; 0: it has none                             */
    uint64_t pool_queued;    /* waiting for one of them now                                     */
    uint64_t pool_busy;      /* of them at work now                                             */
    uint64_t pool_requests;  /* that they were given                                            */
    uint64_t pool_dropped;   /* not given to them, because the client had gone                  */
    uint64_t expired;        /* answered without their handler: queue_timeout_ms, queue_patience */
    uint64_t timed_out;      /* answered 504 in the place of their handler, after handler_timeout_ms */
    uint64_t batch_calls;    /* of batch callbacks; the sum of closed_*                         */
    uint64_t batch_call_requests; /* that they were given: / batch_calls is the mean size       */
    uint64_t batch_call_sizes[TURBO_STATS_BATCH_BUCKETS];
    uint64_t closed_full;    /* of batch_calls: the batch had batch_max requests                */
    uint64_t closed_turn;    /* the turn was over, and there was nothing to wait for            */
    uint64_t closed_timer;   /* its first request had waited for batch_wait_us                  */
    uint64_t closed_gate;    /* inflight_max let no more in                                     */
    uint64_t closed_drained; /* a stop had begun                                                */
    uint64_t closed_weight;  /* it weighed batch_weight_max, or would have with the next one    */
    uint64_t patience_limit_ms; /* what waits longer is shed now, by queue_patience; 0: no limit */
    /* -- since 0.1; new members follow here -- */
} turbo_shard_stats;

/** An empty snapshot that knows its size. */
#define TURBO_SHARD_STATS_INIT \
    {sizeof(turbo_shard_stats), 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0}

/** Formats of turbo_server_stats_text(). */
enum {
    TURBO_STATS_JSON = 1,      /* an object: "pid", totals, "shards": [...], "io": [...] */
    TURBO_STATS_PROMETHEUS = 2 /* text exposition format 0.0.4; process_id is the pid     */
};

/**
 * Read the counters of a server.
 *
 * @param server  not NULL.
 * @param out     begun with TURBO_STATS_INIT; not NULL.
 * @return 0; TURBO_EINVAL for a bad size.
 *
 * Owns: out stays the caller's.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_server_stats(turbo_server *server, turbo_stats *out);

/**
 * Read the counters of a shard.
 *
 * @param shard  not NULL.
 * @param out    begun with TURBO_SHARD_STATS_INIT; not NULL.
 * @return 0; TURBO_EINVAL for a bad size.
 *
 * Owns: out stays the caller's.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_shard_stats_get(const turbo_shard *shard, turbo_shard_stats *out);

/**
 * The counters as text.
 *
 * @param server  not NULL.
 * @param format  TURBO_STATS_*.
 * @param out     receives the text, ended by NUL.
 * @param len     receives its length; may be NULL.
 * @return 0; TURBO_EINVAL for an unknown format; TURBO_ENOMEM.
 *
 * Owns: the caller frees the text with turbo_free().
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_server_stats_text(turbo_server *server, int32_t format, char **out, size_t *len);

/**
 * Free memory that a function of the library gave to the caller.
 *
 * @param memory  may be NULL.
 *
 * Owns: frees the memory.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_free(void *memory);

#ifdef __cplusplus
}
#endif
#endif
