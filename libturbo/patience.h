/* patience.h - how long clients wait before they leave, and from it how long a request may wait in a queue. */
#ifndef TURBO_PATIENCE_H
#define TURBO_PATIENCE_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * A queue that is longer than its clients' patience makes the shard work for nobody: what it takes is so old that its client
 * leaves before the answer. So when many clients leave, requests that have waited half as long as those did are shed; while
 * that goes on, the limit rises slowly, to find out whether clients have become more patient; and when it has shed nothing for
 * a while there is no limit any more. (Additive or slow increase and multiplicative decrease, with leaving clients for lost
 * packets: Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989.) Clients that
 * wait for each answer, however long, never make a limit.
 */
typedef struct turbo__patience {
    _Atomic uint64_t left;     /* clients that left; any thread adds                */
    _Atomic uint64_t left_ms;  /* the sum of what they had waited                   */
    _Atomic uint64_t limit_ns; /* what has waited longer is shed; 0: there is none  */
    /* The shard's: the counters when it looked last, and when that was. */
    uint64_t seen_left, seen_left_ms, seen_begun, seen_shed;
    uint64_t looked_ns;
    uint64_t used_ns; /* when the limit was set, or shed something, last */
} turbo__patience;

/** Shorter waits have other reasons; the limit is at least half of it. */
#define TURBO__PATIENCE_LEAST_MS 200

/** A client has left before its request was answered. Shorter waits than TURBO__PATIENCE_LEAST_MS are not counted.
 *  Thread: any. */
void turbo__patience_left(turbo__patience *patience, uint64_t waited_ns);

/** How long a request may wait; 0: without a limit. Thread: any. */
static inline uint64_t turbo__patience_limit_ns(const turbo__patience *patience) {
    return atomic_load_explicit(&patience->limit_ns, memory_order_relaxed);
}

/** Whether there is a reason to look. Thread: the shard. */
static inline int turbo__patience_has_news(const turbo__patience *patience) {
    return turbo__patience_limit_ns(patience) != 0 ||
           atomic_load_explicit(&patience->left, memory_order_relaxed) != patience->seen_left;
}

/** Set, raise or end the limit.
 *  @param begun  requests that were given to handlers, since the start. @param shed  those that waited too long, likewise.
 *  @return what clients waited on average, in ms, when it has set a limit where there was none; else 0. Thread: the shard. */
uint64_t turbo__patience_look(turbo__patience *patience, uint64_t begun, uint64_t shed, uint64_t now_ns);

#endif
