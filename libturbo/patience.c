/* patience.c - how long clients wait before they leave, and from it how long a request may wait in a queue. */
#include "patience.h"

#define MS_NS 1000000u

#define WINDOW_NS ((uint64_t)100 * MS_NS)       /* the least time between two looks                      */
#define WINDOW_MOST_NS ((uint64_t)2000 * MS_NS) /* the most that few leaving clients are gathered        */
#define LEFT_LEAST 8                            /* fewer of them say nothing                             */
#define BEGUN_FOR_EACH 4                        /* nor does one who leaves for more than so many that do not */
#define RAISE_NS ((uint64_t)12800 * MS_NS)      /* the limit grows by itself in this time: doubled in 9 s */
#define FORGET_NS ((uint64_t)5000 * MS_NS)      /* one that has shed nothing for so long is over         */

void turbo__patience_left(turbo__patience *patience, uint64_t waited_ns) {
    uint64_t ms = waited_ns / MS_NS;
    if (ms < TURBO__PATIENCE_LEAST_MS)
        return;
    atomic_fetch_add_explicit(&patience->left_ms, ms, memory_order_relaxed);
    atomic_fetch_add_explicit(&patience->left, 1, memory_order_release);
}

static void set_limit(turbo__patience *patience, uint64_t limit_ns) {
    atomic_store_explicit(&patience->limit_ns, limit_ns, memory_order_relaxed);
}

/* Clients leave, and many do. @return what they waited on average, in ms. */
static uint64_t lower(turbo__patience *patience, uint64_t left, uint64_t left_ms, uint64_t now_ns) {
    uint64_t limit = turbo__patience_limit_ns(patience), mean_ms = left_ms / left, half = mean_ms * MS_NS / 2;
    if (limit == 0 || half < limit)
        set_limit(patience, half);
    patience->used_ns = now_ns;
    return limit == 0 ? mean_ms : 0;
}

/* They do not, so far. */
static void raise_or_forget(turbo__patience *patience, uint64_t shed, uint64_t now_ns, uint64_t elapsed_ns) {
    uint64_t limit = turbo__patience_limit_ns(patience);
    if (shed != patience->seen_shed)
        patience->used_ns = now_ns;
    if (now_ns - patience->used_ns > FORGET_NS)
        limit = 0;
    else
        limit += limit / (RAISE_NS / MS_NS) * (elapsed_ns / MS_NS);
    set_limit(patience, limit);
}

uint64_t turbo__patience_look(turbo__patience *patience, uint64_t begun, uint64_t shed, uint64_t now_ns) {
    uint64_t left = atomic_load_explicit(&patience->left, memory_order_acquire);
    uint64_t left_ms = atomic_load_explicit(&patience->left_ms, memory_order_relaxed);
    uint64_t n = left - patience->seen_left, elapsed_ns = now_ns - patience->looked_ns, mean_ms = 0;
    int many = n >= LEFT_LEAST && n * BEGUN_FOR_EACH >= begun - patience->seen_begun;
    if (elapsed_ns < WINDOW_NS)
        return 0;
    if (many)
        mean_ms = lower(patience, n, left_ms - patience->seen_left_ms, now_ns);
    else if (turbo__patience_limit_ns(patience) != 0)
        raise_or_forget(patience, shed, now_ns, elapsed_ns < WINDOW_MOST_NS ? elapsed_ns : WINDOW_MOST_NS);
    else if (n < LEFT_LEAST && elapsed_ns < WINDOW_MOST_NS)
        return 0; /* more may leave */
    patience->seen_left = left;
    patience->seen_left_ms = left_ms;
    patience->seen_begun = begun;
    patience->seen_shed = shed;
    patience->looked_ns = now_ns;
    return mean_ms;
}
