/* fake_clock.c - time that moves only when a test says so. */
#include "fake_clock.h"

#include <stdatomic.h>
#include <stddef.h>

#include "clock.h"

/* Atomic, because loops of the server under test read them on their threads. */
static _Atomic uint64_t monotonic;
static _Atomic int64_t wall;
static atomic_uint wall_reads;

static uint64_t read_monotonic(void) { return atomic_load(&monotonic); }

static int64_t read_wall(void) {
    atomic_fetch_add(&wall_reads, 1);
    return atomic_load(&wall);
}

void fake_clock_set(uint64_t monotonic_ns, int64_t wall_s) {
    atomic_store(&monotonic, monotonic_ns);
    atomic_store(&wall, wall_s);
    atomic_store(&wall_reads, 0);
    turbo__clock_set_fake(read_monotonic, read_wall);
}

void fake_clock_advance_ms(uint64_t ms) { atomic_fetch_add(&monotonic, ms * 1000000u); }

unsigned fake_clock_wall_reads(void) { return atomic_load(&wall_reads); }

void fake_clock_off(void) { turbo__clock_set_fake(NULL, NULL); }
