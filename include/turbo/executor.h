/* executor.h - shards, and the interface that whatever runs the requests implements; the built-in ones use it too. */
#ifndef TURBO_EXECUTOR_H
#define TURBO_EXECUTOR_H

#include "turbo/export.h"
#include "turbo/request.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** turbo_executor_ops.flags */
enum {
    /*
     * The host gives each shard its thread and its loop: it watches turbo_shard_fd() and turbo_shard_timeout_ms()
     * and calls turbo_shard_poll(). start_shard is then called during turbo_server_start(), on its thread.
     */
    TURBO_EXECUTOR_DRIVEN = 1,

    /*
     * The host gives each shard's pool its threads, too: turbo_shard_pool_threads() of them call turbo_shard_pool_next().
     * Otherwise the library makes them.
     */
    TURBO_EXECUTOR_HOSTS_POOL = 2
};

/**
 * An executor. Zero means default for every member but batch. The table only grows at its end; `size` says what the
 * caller knows.
 */
typedef struct turbo_executor_ops {
    size_t size; /* set by TURBO_EXECUTOR_OPS_INIT */

    /*
     * A shard begins. On its thread, or for driven shards on the thread of turbo_server_start().
     * @return 0; negative ends turbo_server_start() with that value.
     */
    int (*start_shard)(void *self, turbo_shard *shard);

    /*
     * Take a batch of new requests, in order of arrival: answer them, now or later. On the shard's thread. Required.
     * The array is valid during the call. turbo_shard_run() runs the routes' handlers.
     */
    void (*batch)(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n);

    /*
     * A shard has no more requests and will get none. On its thread (driven: inside turbo_shard_poll()).
     */
    void (*stop_shard)(void *self, turbo_shard *shard);

    /*
     * Something happened to a request that batch was given: TURBO_EVENT_*. On the shard's thread. NULL: the functions
     * set by turbo_request_on_writable(), turbo_request_on_body() and turbo_request_on_gone() are called.
     */
    void (*events)(void *self, turbo_shard *shard, turbo_request *req, uint32_t events);

    uint32_t flags;     /* TURBO_EXECUTOR_*; 0 = none */
    uint32_t reserved0; /* must be 0                  */
} turbo_executor_ops;

/** An empty table that knows its size. */
#define TURBO_EXECUTOR_OPS_INIT {sizeof(turbo_executor_ops), NULL, NULL, NULL, NULL, 0, 0}

/**
 * Runs on a shard's thread: turbo_shard_post(), turbo_shard_timer().
 *
 * @param shard   where it runs.
 * @param status  0: it is time; TURBO_ECLOSED: the shard ends, only clean up.
 * @param user    as given.
 */
typedef void (*turbo_shard_fn)(turbo_shard *shard, int status, void *user);

/**
 * Give a request to a shard: one made by turbo_request_new(), or one that a handler on an I/O loop (executor inline)
 * sends on, at once or later.
 *
 * The request goes through the shard's queue, batches, gate and executor like those that I/O loops route there.
 *
 * @param shard  not NULL.
 * @param req    not answered and not with a shard yet; not NULL.
 * @return 0; TURBO_EAGAIN when the queue is full; TURBO_ECLOSED when the shard has ended; TURBO_ESTATE when the
 *         request is with a shard or has an answer. After an error nothing has changed.
 *
 * Owns: the caller's reference stays the caller's.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_shard_submit(turbo_shard *shard, turbo_request *req);

/**
 * Run the handlers of requests: per-request handlers in order, batch callbacks with all their requests; those of routes
 * with executor pool are handed to the pool's threads. What the built-in shard executor does with a batch. Requests of a
 * batch callback join those that wait for it on this shard; called elsewhere than in turbo_executor_ops.batch, it closes
 * the batches that do not wait at its end, and not at that of the turn.
 *
 * @param shard  not NULL.
 * @param reqs   n requests that turbo_executor_ops.batch was given.
 * @param n      number of requests.
 *
 * Owns: nothing.
 * Thread: shard.   Blocks: as the handlers do.   Reenter: no.
 * Since: 0.1
 */
TURBO_API void turbo_shard_run(turbo_shard *shard, turbo_request *const *reqs, size_t n);

/**
 * Run the handler of one request; a batch callback gets a batch of one. For executors with threads of their own.
 *
 * @param req  given to turbo_executor_ops.batch, not run yet; the caller holds a reference.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: as the handler does.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_request_run(turbo_request *req);

/**
 * How many threads a shard's pool has: the most that any route with executor pool asks for by its option threads.
 *
 * @param shard  of a server that was started; not NULL.
 * @return 0 when no route runs on pools.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_shard_pool_threads(const turbo_shard *shard);

/**
 * For a host that brings the pool's threads: give back the request that was run, and wait for the next one.
 *
 * Each of turbo_shard_pool_threads() threads calls this in a loop, from turbo_server_start() on until it says
 * TURBO_ECLOSED, and has ended before turbo_server_release(). Requests of one route are given out in order of arrival, at
 * most its option threads at once; routes take turns. Requests whose client has gone are not given out.
 *
 * @param shard  of a server whose executor has TURBO_EXECUTOR_HOSTS_POOL; not NULL.
 * @param done   NULL, or what the last call on this thread gave: answered, or retained to be answered later.
 * @param out    receives a request to run: turbo_request_run(), or the host's own way.
 * @return 0; TURBO_ECLOSED when the shard has ended and nothing is left; TURBO_ESTATE when the host does not bring the
 *         threads, or no route runs on pools. After an error done was given back all the same, but for TURBO_ESTATE.
 *
 * Owns: the pool holds a reference to *out until it is given back.
 * Thread: one of the pool's.   Blocks: until there is a request.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_shard_pool_next(turbo_shard *shard, turbo_request *done, turbo_request **out);

/**
 * The number of a shard.
 *
 * @param shard  not NULL.
 * @return 0 .. turbo_server_shard_count() - 1.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_shard_index(const turbo_shard *shard);

/**
 * Keep a pointer with a shard, for the executor or the handlers.
 *
 * @param shard  not NULL.
 * @param data   any.
 *
 * Owns: data stays the caller's.
 * Thread: shard, or start_shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_shard_data_set(turbo_shard *shard, void *data);

/**
 * The pointer kept by turbo_shard_data_set().
 *
 * @param shard  not NULL.
 * @return the pointer; NULL at first.
 *
 * Owns: nothing.
 * Thread: shard, or start_shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void *turbo_shard_data(const turbo_shard *shard);

/**
 * How many requests wait in the shard's queue, at this moment.
 *
 * @param shard  not NULL.
 * @return 0 .. queue_max.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_shard_queued(const turbo_shard *shard);

/**
 * How many requests the executor has that are not answered, at this moment.
 *
 * @param shard  not NULL.
 * @return 0 .. inflight_max.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_shard_inflight(const turbo_shard *shard);

/**
 * Whether a stop of the server has begun. What streams without an end of its own (events, a log) looks at this and ends; at
 * drain_timeout_ms it is cut off, and its handler told as of a client that has gone.
 *
 * @param shard  not NULL.
 * @return 1 when it has, else 0; once 1 it stays 1.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_shard_draining(const turbo_shard *shard);

/**
 * Send the answers made on the shard's thread since the last flush. At the end of a batch, and on shards with a
 * thread of the library's at the end of each loop turn, it happens by itself; a driven shard whose host answers
 * between two polls calls it once for all those answers.
 *
 * @param shard  not NULL.
 *
 * Owns: nothing.
 * Thread: shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_shard_flush(turbo_shard *shard);

/**
 * Run a function on the shard's thread.
 *
 * @param shard  not NULL.
 * @param fn     not NULL; called exactly once when 0 was returned.
 * @param user   handed to fn.
 * @return 0; TURBO_ECLOSED when the shard has ended; TURBO_ENOMEM.
 *
 * Owns: user stays the caller's until fn was called.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_shard_post(turbo_shard *shard, turbo_shard_fn fn, void *user);

/**
 * Run a function on the shard's thread after a time; once.
 *
 * @param out       receives the timer, for turbo_timer_cancel(); may be NULL.
 * @param shard     not NULL.
 * @param delay_ms  0 .. 2^40; at least this long, to the loop's resolution of 1 ms.
 * @param fn        not NULL; called exactly once, with TURBO_ECLOSED when the shard ends first, unless cancelled.
 * @param user      handed to fn.
 * @return 0; TURBO_ENOMEM; TURBO_ECLOSED when the shard is ending.
 *
 * Owns: the library owns the timer until fn was called or it was cancelled.
 * Thread: shard.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_shard_timer(turbo_timer **out, turbo_shard *shard, uint64_t delay_ms, turbo_shard_fn fn,
                                void *user);

/**
 * Cancel a timer whose function has not been called: it will not be.
 *
 * @param timer  not NULL.
 *
 * Owns: frees the timer.
 * Thread: shard.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API void turbo_timer_cancel(turbo_timer *timer);

/**
 * For a driven shard: the file descriptor that becomes readable when turbo_shard_poll() has something to do, also when
 * an answer made between two polls lets a request in that waited for inflight_max. The host never reads from it.
 *
 * @param shard  not NULL.
 * @return the descriptor; TURBO_ESTATE when the shard is not driven or the server not started.
 *
 * Owns: the shard keeps the descriptor; it is closed when turbo_server_wait() returns or the server is freed.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_shard_fd(const turbo_shard *shard);

/**
 * For a driven shard: how long the host may sleep before it calls turbo_shard_poll() again, whatever the descriptor
 * does. Ask after each poll and after turbo_shard_timer().
 *
 * @param shard  not NULL.
 * @return milliseconds; 0: at once; -1: until the descriptor is readable.
 *
 * Owns: nothing.
 * Thread: shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_shard_timeout_ms(const turbo_shard *shard);

/**
 * For a driven shard: do what is due (events, timers, posted functions, at most one batch), and send the answers
 * that were made.
 *
 * @param shard  not NULL.
 * @return 1: call again soon, there is more; 0: sleep until the descriptor is readable or the timeout has passed;
 *         TURBO_ECLOSED: the shard has ended, stop watching and never call again; TURBO_ESTATE when the shard is not
 *         driven, for a call inside itself, or on another thread than the first call.
 *
 * Owns: nothing.
 * Thread: shard (the thread of the first call becomes the shard's).   Blocks: as the executor's batch does.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_shard_poll(turbo_shard *shard);

#ifdef __cplusplus
}
#endif
#endif
