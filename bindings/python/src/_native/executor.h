/* executor.h - the asyncio executor as libturbo sees it: a table of functions for driven shards. */
#ifndef TURBOPY_EXECUTOR_H
#define TURBOPY_EXECUTOR_H

#include <turbo/executor.h>

#include "shard.h"

/**
 * The table. Its `self` is an array of ShardObject pointers (the server keeps it), by the shard's number.
 *
 * start_shard runs without the GIL inside turbo_server_start(); everything else inside turbo_shard_poll(), with the GIL.
 * The pool's threads are Python's, too: they wait inside turbo_shard_pool_next() without it (shard.c).
 */
turbo_executor_ops turbopy_executor_ops(void);

/** For turbo_server_route(): never runs Python, only fails. */
int turbopy_executor_fail(turbo_request *req, void *route);

/** Have the library answer 500, or cut off an answer that has begun: by that function, and without a word, as Python has
 *  said why. */
void turbopy_executor_cut_off(turbo_request *req);

/**
 * request._learn(asyncio.current_task()): an exception that says that the client has gone is about to be raised. In the
 * handler's own task it is all that there is to tell: that one is not cancelled as well, which would hit whatever it awaits
 * while it cleans up. One that goes on all the same, and comes here again, is. With None: whatever it has learned, it sends no
 * more, and cleans up. Any thread.
 */
PyObject *turbopy_executor_learn(RequestObject *request, PyObject *task);

/** Run the handler of a request on a thread of the pool. */
void turbopy_executor_run_pooled(ShardObject *shard, turbo_request *req);

/** For turbo_server_route_batch(). */
void turbopy_executor_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *route);

#endif
