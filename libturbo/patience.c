/* patience.c - whether a shard works for clients that have left, and how long a request may wait in its queue so that it does not. */
#include "patience.h"

#define MS_NS ((uint64_t)1000000)

#define WINDOW_NS (100 * MS_NS)        /* the least time that outcomes are gathered         */
#define WINDOW_MOST_NS (10000 * MS_NS) /* and the most                                      */
#define VAIN_LEAST 8                   /* fewer say nothing                                 */
#define OUTCOMES_MOST 32               /* with a limit: what is known of so many is enough  */
#define LIMIT_LEAST_NS (TURBO__PATIENCE_LEAST_MS * MS_NS / 2)
#define GROW_NS (51200 * MS_NS)        /* the limit grows by itself in this time: it doubles in 36 s */
#define GROW_FAST_NS (12800 * MS_NS)   /* while nothing is in vain: in 9 s                  */
#define GROW_MOST_NS (2000 * MS_NS)    /* for no longer than this at a time                 */
#define FORGET_NS (5000 * MS_NS)       /* one that has shed nothing for so long is over     */
#define LIMIT_MOST_NS (600000 * MS_NS) /* and so is one that has grown to this              */

void turbo__patience_outcome(turbo__patience *patience, uint64_t waited_ms, uint64_t left_ms) {
    uint64_t limit = turbo__patience_limit_ns(patience);
    if (limit != 0 && waited_ms > limit / MS_NS)
        return; /* it began before there was this limit */
    if (left_ms == 0)
        atomic_fetch_add_explicit(&patience->served, 1, memory_order_relaxed);
    else if (waited_ms * 2 >= left_ms) /* else it was the handler that took too long */
        atomic_fetch_add_explicit(&patience->vain, 1, memory_order_relaxed);
}

uint64_t turbo__patience_least_ns(const turbo__patience *patience) {
    uint64_t limit = turbo__patience_limit_ns(patience), least = TURBO__PATIENCE_LEAST_MS * MS_NS;
    return limit != 0 && limit / 2 < least ? limit / 2 : least;
}

static void set_limit(turbo__patience *patience, uint64_t limit_ns) {
    atomic_store_explicit(&patience->limit_ns, limit_ns > LIMIT_LEAST_NS ? limit_ns : LIMIT_LEAST_NS,
                          memory_order_relaxed);
}

/* What is known so far has been seen to. */
static void begin_window(turbo__patience *patience, uint64_t now_ns) {
    patience->seen_served = atomic_load_explicit(&patience->served, memory_order_relaxed);
    patience->seen_vain = atomic_load_explicit(&patience->vain, memory_order_relaxed);
    patience->window_ns = now_ns;
}

static void end_limit(turbo__patience *patience, uint64_t now_ns) {
    atomic_store_explicit(&patience->limit_ns, 0, memory_order_relaxed);
    patience->suspected = 0;
    begin_window(patience, now_ns);
}

/* There is none yet. One window alone may be a program that ended, with all its connections. @return 1: there is one now. */
static int suspect(turbo__patience *patience, uint64_t served, uint64_t vain, uint64_t now_ns) {
    int is_old = now_ns - patience->window_ns >= WINDOW_MOST_NS; /* what was suspected is, too */
    int most = vain >= VAIN_LEAST && vain >= served, is_new = most && patience->suspected && !is_old;
    if (!most && served + vain < 2 * VAIN_LEAST && !is_old)
        return 0; /* more will be known */
    patience->suspected = (uint8_t)most;
    if (is_new)
        set_limit(patience, patience->waited_ms * MS_NS / 2);
    patience->used_ns = patience->grown_ns = now_ns;
    begin_window(patience, now_ns);
    return is_new;
}

/* Clients may have become more patient, or fewer. */
static void grow(turbo__patience *patience, uint64_t vain, uint64_t now_ns) {
    uint64_t limit = turbo__patience_limit_ns(patience), elapsed_ns = now_ns - patience->grown_ns;
    uint64_t in_ns = vain == 0 ? GROW_FAST_NS : GROW_NS;
    if (elapsed_ns > GROW_MOST_NS)
        elapsed_ns = GROW_MOST_NS;
    limit += limit / (in_ns / MS_NS) * (elapsed_ns / MS_NS);
    if (limit > LIMIT_MOST_NS)
        end_limit(patience, now_ns);
    else
        set_limit(patience, limit);
}

static void adjust(turbo__patience *patience, uint64_t served, uint64_t vain, uint64_t now_ns) {
    int is_much = vain > 0 && vain * 3 >= served;
    if (patience->shed != patience->seen_shed)
        patience->used_ns = now_ns;
    patience->seen_shed = patience->shed;
    if (now_ns - patience->used_ns > FORGET_NS) {
        end_limit(patience, now_ns);
        return;
    }
    if (is_much && vain >= VAIN_LEAST) {
        set_limit(patience, turbo__patience_limit_ns(patience) / 4 * 3);
        begin_window(patience, now_ns);
    } else {
        if (!is_much)
            grow(patience, vain, now_ns);
        if (served + vain >= OUTCOMES_MOST || now_ns - patience->window_ns >= WINDOW_MOST_NS)
            begin_window(patience, now_ns);
    }
    patience->grown_ns = now_ns;
}

int turbo__patience_look(turbo__patience *patience, uint64_t now_ns) {
    uint64_t served = atomic_load_explicit(&patience->served, memory_order_relaxed) - patience->seen_served;
    uint64_t vain = atomic_load_explicit(&patience->vain, memory_order_relaxed) - patience->seen_vain;
    uint64_t before_ns = patience->looked_ns;
    patience->looked_ns = now_ns;
    if (turbo__patience_limit_ns(patience) == 0)
        return now_ns - patience->window_ns < WINDOW_NS ? 0 : suspect(patience, served, vain, now_ns);
    if (now_ns - before_ns > FORGET_NS) { /* the shard has slept: all that was long ago */
        end_limit(patience, now_ns);
    } else if (now_ns - patience->grown_ns >= WINDOW_NS) {
        adjust(patience, served, vain, now_ns);
    }
    return 0;
}
