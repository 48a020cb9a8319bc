/* timer.h - time for many: a deadline wheel for connections, and a heap of exact timers for shards. */
#ifndef TURBO_TIMER_H
#define TURBO_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "list.h"

/*
 * Deadline wheel: connections move their deadline on every request, and nearly none is ever reached. Moving one later
 * only writes a number; the wheel looks at it when the slot of its old deadline comes round. Deadlines are met
 * between 0 and 2 slots late.
 */
#define TURBO__WHEEL_SLOT_MS 64
#define TURBO__WHEEL_SLOTS 512

typedef struct turbo__deadline {
    turbo__list link;    /* in a slot while slot_ms is not 0            */
    uint64_t at_ms;      /* 0: none                                     */
    uint64_t slot_ms;    /* when the wheel will look; 0: not in a slot  */
} turbo__deadline;

typedef struct turbo__wheel {
    turbo__list slots[TURBO__WHEEL_SLOTS];
    uint64_t used[TURBO__WHEEL_SLOTS / 64]; /* bit set: the slot may hold deadlines */
    uint64_t now_ms;                        /* everything before has been looked at */
    size_t count;
} turbo__wheel;

void turbo__wheel_init(turbo__wheel *wheel, uint64_t now_ms);

void turbo__deadline_init(turbo__deadline *deadline);

/** Set or move a deadline; at_ms 0 means none. */
void turbo__deadline_set(turbo__wheel *wheel, turbo__deadline *deadline, uint64_t at_ms);

/** Take a deadline out of the wheel. */
void turbo__deadline_clear(turbo__wheel *wheel, turbo__deadline *deadline);

/** Call fn for each deadline that has passed; fn may set or clear any deadline. */
void turbo__wheel_advance(turbo__wheel *wheel, uint64_t now_ms, void (*fn)(turbo__deadline *deadline, void *user),
                          void *user);

/** When turbo__wheel_advance() should next be called. @return 0 when there is no deadline. */
uint64_t turbo__wheel_next_ms(const turbo__wheel *wheel);

/* A heap of timers, the earliest first. All-zero is empty. */
typedef struct turbo__heap_entry {
    uint64_t at_ns;
    size_t place; /* in the heap */
} turbo__heap_entry;

typedef struct turbo__heap {
    turbo__heap_entry **items;
    size_t count, cap;
} turbo__heap;

/** @return 0; TURBO_ENOMEM. */
int turbo__heap_add(turbo__heap *heap, turbo__heap_entry *entry);
void turbo__heap_remove(turbo__heap *heap, turbo__heap_entry *entry);
/** @return the earliest; NULL when empty. */
turbo__heap_entry *turbo__heap_first(const turbo__heap *heap);
/** Free the heap's own memory; the entries are the caller's. */
void turbo__heap_free(turbo__heap *heap);

#endif
