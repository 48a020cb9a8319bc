/* patience.h - whether a shard works for clients that have left, and how long a request may wait in its queue so that it does not. */
#ifndef TURBO_PATIENCE_H
#define TURBO_PATIENCE_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * A queue that is longer than its clients' patience makes the shard work for nobody: what it takes is so old that the client leaves
 * before the answer. So of each request that had waited for long when its handler began it is counted whether the client was there
 * for the answer. When most were not, twice, there is a limit from then on: half of what the last that was begun had waited. It is
 * lowered by a quarter as long as many are still in vain, grows while it sheds and few are, and is over when it sheds nothing. (Slow
 * increase and multiplicative decrease, as in Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion
 * avoidance", 1989.)
 */
typedef struct turbo__patience {
    _Atomic uint64_t served;   /* answers to requests that had waited, for clients that were there; I/O loops add */
    _Atomic uint64_t vain;     /* and for those that had left                                     */
    _Atomic uint64_t limit_ns; /* what has waited longer is shed; 0: there is none                */
    /* The shard's. */
    uint64_t waited_ms; /* by the last request that had waited */
    uint64_t shed;      /* because of the limit                */
    uint64_t seen_served, seen_vain; /* when the window began: what is counted since */
    uint64_t seen_shed;
    uint64_t window_ns;
    uint64_t looked_ns; /* last                                                    */
    uint64_t used_ns;   /* when the limit was set, or had shed something, last     */
    uint64_t grown_ns;  /* when it was set, or could have grown, last              */
    uint8_t suspected;  /* most were in vain in the window before                  */
} turbo__patience;

/** Requests that had waited less than this say nothing; the limit is at least half of it. */
#define TURBO__PATIENCE_LEAST_MS 200

/** An answer is there to a request that had waited for waited_ms, long enough to say something, when its handler began.
 *  @param left_ms  what its client had waited in all when it left; 0: it is there. Thread: an I/O loop. */
void turbo__patience_outcome(turbo__patience *patience, uint64_t waited_ms, uint64_t left_ms);

/** What had waited for less says nothing: TURBO__PATIENCE_LEAST_MS, or less when the limit is that short. Thread: the shard. */
uint64_t turbo__patience_least_ns(const turbo__patience *patience);

/** How long a request may wait; 0: without a limit. Thread: any. */
static inline uint64_t turbo__patience_limit_ns(const turbo__patience *patience) {
    return atomic_load_explicit(&patience->limit_ns, memory_order_relaxed);
}

/** Whether there is a reason to look. Thread: the shard. */
static inline int turbo__patience_has_news(const turbo__patience *patience) {
    return turbo__patience_limit_ns(patience) != 0 ||
           atomic_load_explicit(&patience->vain, memory_order_relaxed) != patience->seen_vain;
}

/** Set, change or end the limit. @return 1 when there is one where there was none. Thread: the shard. */
int turbo__patience_look(turbo__patience *patience, uint64_t now_ns);

#endif
