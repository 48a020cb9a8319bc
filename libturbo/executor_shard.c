/* executor_shard.c - the built-in executor: handlers run on the shard's thread; written against turbo/executor.h. */
#include "executor_shard.h"

static void run_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self;
    turbo_shard_run(shard, reqs, n);
}

const turbo_executor_ops turbo__executor_shard = {.size = sizeof(turbo_executor_ops), .batch = run_batch};
