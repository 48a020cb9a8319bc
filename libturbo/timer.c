/* timer.c - deadline wheel and timer heap. */
#include "timer.h"

#include "mem.h"
#include "turbo/error.h"

static size_t slot_of(uint64_t ms) { return (size_t)(ms / TURBO__WHEEL_SLOT_MS) % TURBO__WHEEL_SLOTS; }

void turbo__wheel_init(turbo__wheel *wheel, uint64_t now_ms) {
    for (size_t i = 0; i < TURBO__WHEEL_SLOTS; i++)
        turbo__list_init(&wheel->slots[i]);
    for (size_t i = 0; i < TURBO__WHEEL_SLOTS / 64; i++)
        wheel->used[i] = 0;
    wheel->now_ms = now_ms;
    wheel->count = 0;
}

void turbo__deadline_init(turbo__deadline *deadline) {
    turbo__list_init(&deadline->link);
    deadline->at_ms = 0;
    deadline->slot_ms = 0;
}

/* The slot behind the one that holds at_ms: when it is reached, at_ms has passed. Deadlines further away than one
 * round are put into the last slot of this round and looked at again there. */
static void put(turbo__wheel *wheel, turbo__deadline *deadline) {
    uint64_t furthest = wheel->now_ms + (uint64_t)TURBO__WHEEL_SLOT_MS * (TURBO__WHEEL_SLOTS - 2);
    uint64_t at = deadline->at_ms < wheel->now_ms ? wheel->now_ms : deadline->at_ms;
    if (at > furthest)
        at = furthest;
    deadline->slot_ms = at + TURBO__WHEEL_SLOT_MS;
    size_t slot = slot_of(deadline->slot_ms);
    turbo__list_push_back(&wheel->slots[slot], &deadline->link);
    wheel->used[slot / 64] |= (uint64_t)1 << (slot % 64);
    wheel->count++;
}

static void take_out(turbo__wheel *wheel, turbo__deadline *deadline) {
    turbo__list_remove(&deadline->link);
    deadline->slot_ms = 0;
    wheel->count--;
}

void turbo__deadline_set(turbo__wheel *wheel, turbo__deadline *deadline, uint64_t at_ms) {
    deadline->at_ms = at_ms;
    if (at_ms == 0)
        return; /* the wheel drops it when its slot comes */
    if (deadline->slot_ms != 0) {
        if (deadline->slot_ms <= at_ms + TURBO__WHEEL_SLOT_MS)
            return; /* moved later: looked at in time */
        take_out(wheel, deadline);
    }
    put(wheel, deadline);
}

void turbo__deadline_clear(turbo__wheel *wheel, turbo__deadline *deadline) {
    deadline->at_ms = 0;
    if (deadline->slot_ms != 0)
        take_out(wheel, deadline);
}

static void look_at(turbo__wheel *wheel, turbo__deadline *deadline, uint64_t now_ms,
                    void (*fn)(turbo__deadline *, void *), void *user) {
    take_out(wheel, deadline);
    if (deadline->at_ms == 0)
        return;
    if (deadline->at_ms > now_ms) {
        put(wheel, deadline);
        return;
    }
    deadline->at_ms = 0;
    fn(deadline, user);
}

void turbo__wheel_advance(turbo__wheel *wheel, uint64_t now_ms, void (*fn)(turbo__deadline *, void *), void *user) {
    uint64_t first = wheel->now_ms / TURBO__WHEEL_SLOT_MS, last = now_ms / TURBO__WHEEL_SLOT_MS;
    if (now_ms <= wheel->now_ms)
        return;
    if (last - first >= TURBO__WHEEL_SLOTS)
        first = last - TURBO__WHEEL_SLOTS + 1;
    wheel->now_ms = now_ms;
    for (uint64_t n = first; n <= last; n++) {
        size_t slot = (size_t)(n % TURBO__WHEEL_SLOTS);
        turbo__list due, *head = &wheel->slots[slot];
        if (!(wheel->used[slot / 64] >> (slot % 64) & 1))
            continue;
        wheel->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
        /* Moved to a list of its own first, since fn may put deadlines into this very slot. */
        turbo__list_init(&due);
        while (!turbo__list_empty(head)) {
            turbo__list *link = head->next;
            turbo__list_remove(link);
            turbo__list_push_back(&due, link);
        }
        while (!turbo__list_empty(&due))
            look_at(wheel, TURBO__CONTAINER(due.next, turbo__deadline, link), now_ms, fn, user);
    }
}

uint64_t turbo__wheel_next_ms(const turbo__wheel *wheel) {
    uint64_t first = wheel->now_ms / TURBO__WHEEL_SLOT_MS;
    if (wheel->count == 0)
        return 0;
    for (uint64_t n = first; n < first + TURBO__WHEEL_SLOTS; n++) {
        size_t slot = (size_t)(n % TURBO__WHEEL_SLOTS);
        if (wheel->used[slot / 64] == 0) {
            n |= 63; /* slots are a multiple of 64, so this word's rest is empty too */
            continue;
        }
        if (!turbo__list_empty(&wheel->slots[slot]))
            return n * TURBO__WHEEL_SLOT_MS > wheel->now_ms ? n * TURBO__WHEEL_SLOT_MS : wheel->now_ms + 1;
    }
    return 0;
}

static void place(turbo__heap *heap, size_t i, turbo__heap_entry *entry) {
    heap->items[i] = entry;
    entry->place = i;
}

static void sift_up(turbo__heap *heap, size_t i, turbo__heap_entry *entry) {
    while (i > 0 && heap->items[(i - 1) / 2]->at_ns > entry->at_ns) {
        place(heap, i, heap->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(heap, i, entry);
}

static void sift_down(turbo__heap *heap, size_t i, turbo__heap_entry *entry) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->items[child + 1]->at_ns < heap->items[child]->at_ns)
            child++;
        if (heap->items[child]->at_ns >= entry->at_ns)
            break;
        place(heap, i, heap->items[child]);
        i = child;
    }
    place(heap, i, entry);
}

int turbo__heap_add(turbo__heap *heap, turbo__heap_entry *entry) {
    if (heap->count == heap->cap) {
        size_t cap = heap->cap == 0 ? 16 : heap->cap * 2;
        turbo__heap_entry **items = turbo__realloc(heap->items, cap * sizeof *items);
        if (items == NULL)
            return TURBO_ENOMEM;
        heap->items = items;
        heap->cap = cap;
    }
    sift_up(heap, heap->count++, entry);
    return 0;
}

void turbo__heap_remove(turbo__heap *heap, turbo__heap_entry *entry) {
    size_t i = entry->place;
    turbo__heap_entry *last = heap->items[--heap->count];
    if (last == entry)
        return;
    if (i > 0 && heap->items[(i - 1) / 2]->at_ns > last->at_ns)
        sift_up(heap, i, last);
    else
        sift_down(heap, i, last);
}

turbo__heap_entry *turbo__heap_first(const turbo__heap *heap) { return heap->count == 0 ? NULL : heap->items[0]; }

void turbo__heap_free(turbo__heap *heap) {
    turbo__free(heap->items);
    *heap = (turbo__heap){0};
}
