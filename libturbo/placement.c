/* placement.c - route + request -> shard. */
#include "placement.h"

#include "clock.h"
#include "hash.h"
#include "io.h"
#include "server.h"
#include "shard.h"

#define SPILL_MIN 32           /* queued requests that are just a burst of a fast handler */
#define SPILL_MIN_SLOW 1       /* behind a handler that takes its time                    */
#define SLOW_BATCH_NS 200000   /* older than this, a running batch is slow                */
#define SLOW_REQUEST_NS 100000 /* so is a shard whose last batch took this for a request  */

uint32_t turbo__placement_bounded(uint32_t home, const uint64_t *loads, uint32_t n, uint64_t limit) {
    uint32_t best = home;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t shard = (home + i) % n;
        if (loads[shard] <= limit)
            return shard;
        if (loads[shard] < loads[best])
            best = shard;
    }
    return best;
}

/* Loads are read once a turn; what this loop adds meanwhile is added by the caller. */
static void read_loads(struct turbo__io *io) {
    turbo_server *server = io->server;
    if (io->loads_known)
        return;
    io->loads_known = 1;
    io->loads_sum = 0;
    for (size_t i = 0; i < server->shard_count; i++) {
        io->loads[i] = turbo__shard_load(server->shards[i]);
        io->loads_sum += io->loads[i];
    }
}

/* The answers of a batch leave together, and clients in step send again together, when no batch runs: so what the last
 * one took counts, too. */
static int is_slow(struct turbo__io *io, uint32_t shard) {
    turbo_shard *home = io->server->shards[shard];
    uint64_t since = atomic_load_explicit(&home->batch_since_ns, memory_order_relaxed);
    if (atomic_load_explicit(&home->request_ns, memory_order_relaxed) >= SLOW_REQUEST_NS)
        return 1;
    if (since == 0)
        return 0;
    return turbo__io_now_ns(io) > since + SLOW_BATCH_NS;
}

/* The request's shard is known to hold one more from now on, before the shard knows. */
static uint32_t charge(struct turbo__io *io, uint32_t shard) {
    io->loads[shard]++;
    io->loads_sum++;
    return shard;
}

static uint32_t by_hash(struct turbo__io *io, const turbo__route *route, uint32_t hash) {
    uint32_t n = (uint32_t)io->server->shard_count, home = hash % n;
    if (route->spill_percent == 0 || n == 1)
        return home;
    read_loads(io);
    uint64_t limit = io->loads_sum * route->spill_percent / (100 * (uint64_t)n);
    uint64_t least = is_slow(io, home) ? SPILL_MIN_SLOW : SPILL_MIN;
    if (route->executor == TURBO__EXECUTOR_POOL) /* they block, whatever the batch says that only passes them on */
        least = route->threads;
    return charge(io, turbo__placement_bounded(home, io->loads, n, limit > least ? limit : least));
}

static uint32_t hash_of(turbo_str text) {
    return turbo__hash_end(turbo__hash_add(TURBO__HASH_FIRST, text.data, text.len));
}

/* What owns state by its key never leaves its shard; a request without one has no state to go to. */
static uint32_t by_key(struct turbo__io *io, const turbo_request *req) {
    turbo_str value = turbo__key_value(&req->route->key, req);
    if (value.data == NULL)
        return by_hash(io, req->route, req->route->hash);
    return hash_of(value) % (uint32_t)io->server->shard_count;
}

/* xorshift (Marsaglia, 2003): good enough to pick two shards. */
static uint32_t draw(struct turbo__io *io, uint32_t n) {
    uint32_t x = io->dice != 0 ? io->dice : io->index + 1;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    io->dice = x;
    return x % n;
}

/* The less loaded of two shards: the longest queue then grows like log log n (Mitzenmacher, 2001), and loops that
 * see the same loads do not all choose the same shard. */
static uint32_t least(struct turbo__io *io) {
    uint32_t n = (uint32_t)io->server->shard_count, one, other;
    if (n == 1)
        return 0;
    read_loads(io);
    one = draw(io, n);
    other = (one + 1 + draw(io, n - 1)) % n;
    return charge(io, io->loads[other] < io->loads[one] ? other : one);
}

/* Where shards do no I/O no shard is nearer than another: each loop then prefers one of its own. */
static uint32_t local(const struct turbo__io *io) {
    return io->shard != NULL ? io->shard->index : io->index % (uint32_t)io->server->shard_count;
}

uint32_t turbo__placement_choose(struct turbo__io *io, const turbo_request *req) {
    const turbo__route *route = req->route;
    uint32_t n = (uint32_t)io->server->shard_count;
    if (route->placement_fn != NULL)
        return (uint32_t)(route->placement_fn(req, n, route->placement_user) % n);
    switch (route->placement) {
    case TURBO__PLACEMENT_ROUND_ROBIN:
        return (uint32_t)(io->robin++ % n);
    case TURBO__PLACEMENT_LOCAL:
        return local(io);
    case TURBO__PLACEMENT_PATH:
        return by_hash(io, route, hash_of(turbo_request_path(req)));
    case TURBO__PLACEMENT_KEY:
        return by_key(io, req);
    case TURBO__PLACEMENT_CONNECTION:
        return req->exchange->number % n;
    case TURBO__PLACEMENT_LEAST:
        return least(io);
    default:
        return by_hash(io, route, route->hash);
    }
}
