/* gate.h - how many requests of a shard may be in flight: given to the executor and not answered. */
#ifndef TURBO_GATE_H
#define TURBO_GATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The shard's thread lets requests in, and most leave on it too: these only move plain counters. Answers from other
 * threads leave by an atomic counter, and wake the shard if it waits at the full gate.
 */
typedef struct turbo__gate {
    uint64_t max;
    uint64_t entered;                /* the shard's                       */
    uint64_t left_here;              /* the shard's                       */
    _Atomic uint64_t most;           /* written by the shard: highest ever inside */
    _Atomic uint64_t left_elsewhere; /* any thread                        */
    _Atomic uint64_t inside;         /* written by the shard, for readers */
    atomic_uint waiting;             /* the shard has requests but no room */
} turbo__gate;

void turbo__gate_init(turbo__gate *gate, uint64_t max);

/** How many more may enter. Thread: the shard. */
size_t turbo__gate_room(turbo__gate *gate);

/** Let n in; n <= room. Thread: the shard. */
void turbo__gate_enter(turbo__gate *gate, size_t n);

/** One leaves, on the shard's thread. @return 1: requests waited for it. */
int turbo__gate_leave(turbo__gate *gate);

/** One leaves, on any other thread. @return 1: requests waited for it, and the shard has to be woken. */
int turbo__gate_leave_elsewhere(turbo__gate *gate);

/** The shard is going to sleep with requests before a full gate. @return 1 when there is room after all. */
int turbo__gate_wait(turbo__gate *gate);

/** How many are inside. Thread: any. */
static inline uint64_t turbo__gate_inside(const turbo__gate *gate) {
    uint64_t inside = atomic_load_explicit(&gate->inside, memory_order_relaxed);
    uint64_t left = atomic_load_explicit(&gate->left_elsewhere, memory_order_relaxed);
    return inside > left ? inside - left : 0; /* the two are not read at once */
}

#endif
