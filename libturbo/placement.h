/* placement.h - route + request -> shard. */
#ifndef TURBO_PLACEMENT_H
#define TURBO_PLACEMENT_H

#include <stdint.h>

#include "request.h"

struct turbo__io;

/** The shard for a request by its route's placement. @return its index. Thread: the I/O loop. */
uint32_t turbo__placement_choose(struct turbo__io *io, const turbo_request *req);

/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2018): the home shard, or the next one whose
 * load is not above the limit; the least loaded one when all are.
 *
 * @param loads  of each of n shards. @param limit a shard with more than this passes requests on.
 */
uint32_t turbo__placement_bounded(uint32_t home, const uint64_t *loads, uint32_t n, uint64_t limit);

#endif
