/* gate.c - how many requests of a shard may be in flight. */
#include "gate.h"

void turbo__gate_init(turbo__gate *gate, uint64_t max) { gate->max = max; }

/* `inside` leaves out left_elsewhere, which readers subtract: it is then right at every moment. */
static void publish(turbo__gate *gate) {
    atomic_store_explicit(&gate->inside, gate->entered - gate->left_here, memory_order_relaxed);
}

static uint64_t inside_now(turbo__gate *gate) {
    return gate->entered - gate->left_here - atomic_load(&gate->left_elsewhere);
}

size_t turbo__gate_room(turbo__gate *gate) { return (size_t)(gate->max - inside_now(gate)); }

void turbo__gate_enter(turbo__gate *gate, size_t n) {
    gate->entered += n;
    uint64_t inside = inside_now(gate);
    if (inside > atomic_load_explicit(&gate->most, memory_order_relaxed))
        atomic_store_explicit(&gate->most, inside, memory_order_relaxed);
    publish(gate);
}

int turbo__gate_leave(turbo__gate *gate) {
    gate->left_here++;
    publish(gate);
    return atomic_load_explicit(&gate->waiting, memory_order_relaxed) != 0 && atomic_exchange(&gate->waiting, 0) != 0;
}

int turbo__gate_leave_elsewhere(turbo__gate *gate) {
    atomic_fetch_add(&gate->left_elsewhere, 1);
    /* Ordered with turbo__gate_wait() by seq_cst: it sees the request gone, or we see it waiting. */
    return atomic_load(&gate->waiting) != 0 && atomic_exchange(&gate->waiting, 0) != 0;
}

int turbo__gate_wait(turbo__gate *gate) {
    atomic_exchange(&gate->waiting, 1);
    if (inside_now(gate) >= gate->max)
        return 0;
    atomic_exchange(&gate->waiting, 0);
    return 1;
}
