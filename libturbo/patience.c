/* patience.c - whether a shard works for clients that have left, and how long a request may wait in its queue so that it does not. */
#include "patience.h"

#define MS_NS ((uint64_t)1000000)

#define WINDOW_NS (100 * MS_NS)        /* the least time between two looks                  */
#define WINDOW_MOST_NS (10000 * MS_NS) /* the most that few outcomes are gathered           */
#define VAIN_LEAST 8                   /* fewer say nothing                                 */
#define LIMIT_LEAST_NS (TURBO__PATIENCE_LEAST_MS * MS_NS / 2)
#define GROW_NS (51200 * MS_NS)        /* the limit grows by itself in this time: it doubles in 36 s */
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

static void set_limit(turbo__patience *patience, uint64_t limit_ns, uint64_t now_ns) {
    atomic_store_explicit(&patience->limit_ns, limit_ns > LIMIT_LEAST_NS ? limit_ns : LIMIT_LEAST_NS,
                          memory_order_relaxed);
    patience->used_ns = now_ns;
}

static void end_limit(turbo__patience *patience) {
    atomic_store_explicit(&patience->limit_ns, 0, memory_order_relaxed);
}

/* Few are served in vain: clients may have become more patient, or fewer. */
static void grow(turbo__patience *patience, uint64_t now_ns, uint64_t elapsed_ns) {
    uint64_t limit = turbo__patience_limit_ns(patience), used_ns = patience->used_ns;
    if (elapsed_ns > GROW_MOST_NS)
        elapsed_ns = GROW_MOST_NS;
    limit += limit / (GROW_NS / MS_NS) * (elapsed_ns / MS_NS);
    if (patience->shed != patience->seen_shed)
        used_ns = now_ns;
    if (limit > LIMIT_MOST_NS || now_ns - used_ns > FORGET_NS)
        end_limit(patience);
    else
        set_limit(patience, limit, used_ns);
}

int turbo__patience_look(turbo__patience *patience, uint64_t now_ns) {
    uint64_t served = atomic_load_explicit(&patience->served, memory_order_relaxed);
    uint64_t vain = atomic_load_explicit(&patience->vain, memory_order_relaxed);
    uint64_t new_served = served - patience->seen_served, new_vain = vain - patience->seen_vain;
    uint64_t limit = turbo__patience_limit_ns(patience), elapsed_ns = now_ns - patience->looked_ns;
    int is_new = 0;
    if (elapsed_ns < WINDOW_NS)
        return 0;
    if (limit == 0) {
        is_new = new_vain >= VAIN_LEAST && new_vain >= new_served;
        if (!is_new && new_vain + new_served < 2 * VAIN_LEAST && elapsed_ns < WINDOW_MOST_NS)
            return 0; /* more will be known */
        if (is_new)
            set_limit(patience, patience->waited_ms * MS_NS / 2, now_ns);
    } else if (elapsed_ns > FORGET_NS) {
        end_limit(patience); /* the shard has slept: what it had shed before is long ago */
    } else if (new_vain >= VAIN_LEAST && new_vain * 3 >= new_served) {
        set_limit(patience, limit / 4 * 3, now_ns);
    } else {
        grow(patience, now_ns, elapsed_ns);
    }
    patience->seen_served = served;
    patience->seen_vain = vain;
    patience->seen_shed = patience->shed;
    patience->looked_ns = now_ns;
    return is_new;
}
