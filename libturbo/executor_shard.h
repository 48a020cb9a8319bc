/* executor_shard.h - the built-in executor: handlers run on the shard's thread. */
#ifndef TURBO_EXECUTOR_SHARD_H
#define TURBO_EXECUTOR_SHARD_H

#include "turbo/executor.h"

extern const turbo_executor_ops turbo__executor_shard;

#endif
