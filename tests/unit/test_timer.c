/* test_timer.c - the deadline wheel and the heap of exact timers. */
#include "timer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(timer, .timeout = 30);

#define SLOT TURBO__WHEEL_SLOT_MS
#define ROUND ((uint64_t)TURBO__WHEEL_SLOT_MS * TURBO__WHEEL_SLOTS)

static turbo__wheel wheel;
static uint64_t now;

typedef struct fired {
    turbo__deadline *last;
    int count;
    uint64_t again_ms; /* not 0: set again from inside, so much later */
} fired;

static void on_fire(turbo__deadline *deadline, void *user) {
    fired *f = user;
    f->last = deadline;
    f->count++;
    if (f->again_ms > 0)
        turbo__deadline_set(&wheel, deadline, now + f->again_ms);
}

static void begin(uint64_t at) {
    now = at;
    turbo__wheel_init(&wheel, now);
}

static turbo__deadline *deadline_at(uint64_t at) {
    turbo__deadline *deadline = calloc(1, sizeof *deadline);
    cr_assert_not_null(deadline);
    turbo__deadline_init(deadline);
    turbo__deadline_set(&wheel, deadline, at);
    return deadline;
}

static void advance(uint64_t to, fired *f) {
    now = to;
    turbo__wheel_advance(&wheel, now, on_fire, f);
}

/* Goes from turn to turn as a loop does, by turbo__wheel_next_ms(). @return when the deadline fired. */
static uint64_t run_until_fired(fired *f) {
    while (f->count == 0) {
        uint64_t next = turbo__wheel_next_ms(&wheel);
        cr_assert_gt(next, now, "the wheel stands still");
        advance(next, f);
    }
    return now;
}

Test(timer, empty_wheel_has_nothing_to_wait_for) {
    fired f = {0};
    begin(12345);
    cr_expect_eq(turbo__wheel_next_ms(&wheel), 0);
    advance(12345 + 10 * ROUND, &f);
    cr_expect_eq(f.count, 0);
}

Test(timer, deadline_is_never_early_and_at_most_two_slots_late) {
    const uint64_t delays[] = {1, SLOT - 1, SLOT, SLOT + 1, 2 * SLOT, 1000, ROUND - 3 * SLOT, ROUND - 2 * SLOT,
                               ROUND - SLOT, ROUND - 1, ROUND, ROUND + 1, 2 * ROUND, 86400000};
    for (uint64_t start = 1; start < 3 * SLOT; start += 31)
        for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
            fired f = {0};
            begin(start);
            turbo__deadline *d = deadline_at(start + delays[i]);
            uint64_t at = run_until_fired(&f);
            cr_expect(at >= start + delays[i] && at <= start + delays[i] + 2 * SLOT,
                      "start %llu, delay %llu: %lld late",
                      (unsigned long long)start, (unsigned long long)delays[i], (long long)(at - start - delays[i]));
            cr_expect_eq(f.last, d);
            cr_expect(wheel.count == 0 && d->slot_ms == 0 && d->at_ms == 0);
            free(d);
        }
}

Test(timer, deadline_fires_once) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(1100);
    advance(1000 + 5 * ROUND, &f);
    cr_expect_eq(f.count, 1);
    advance(1000 + 10 * ROUND, &f);
    cr_expect_eq(f.count, 1);
    free(d);
}

Test(timer, deadline_of_the_past_fires_soon) {
    fired f = {0};
    begin(5000);
    turbo__deadline *d = deadline_at(1);
    cr_expect_leq(run_until_fired(&f), 5000 + 2 * SLOT);
    free(d);
}

Test(timer, moved_later_it_does_not_fire_at_the_old_time) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(1100);
    turbo__deadline_set(&wheel, d, 9000);
    advance(8999, &f);
    cr_expect_eq(f.count, 0);
    uint64_t at = run_until_fired(&f);
    cr_expect(at >= 9000 && at <= 9000 + 2 * SLOT);
    free(d);
}

Test(timer, moved_earlier_it_does_not_wait_for_the_old_time) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(30000);
    turbo__deadline_set(&wheel, d, 1500);
    cr_expect_eq(wheel.count, 1);
    uint64_t at = run_until_fired(&f);
    cr_expect(at >= 1500 && at <= 1500 + 2 * SLOT);
    free(d);
}

Test(timer, deadline_taken_back_does_not_fire_and_can_be_set_again) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(1100);
    turbo__deadline_set(&wheel, d, 0);
    turbo__deadline_set(&wheel, d, 0);
    advance(3000, &f);
    cr_expect(f.count == 0 && wheel.count == 0);
    turbo__deadline_set(&wheel, d, 4000);
    turbo__deadline_set(&wheel, d, 0);
    turbo__deadline_set(&wheel, d, 3500); /* while it is still in its slot */
    uint64_t at = run_until_fired(&f);
    cr_expect(at >= 3500 && at <= 3500 + 2 * SLOT);
    free(d);
}

Test(timer, clear_takes_the_deadline_out_at_once) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(1100), *other = deadline_at(1100);
    turbo__deadline_clear(&wheel, d);
    cr_expect_eq(wheel.count, 1);
    turbo__deadline_clear(&wheel, d);
    cr_expect_eq(wheel.count, 1);
    free(d);
    advance(3000, &f);
    cr_expect(f.count == 1 && f.last == other);
    free(other);
}

Test(timer, deadline_may_be_set_again_from_inside) {
    const uint64_t again[] = {1, SLOT, 10 * SLOT, ROUND, ROUND + SLOT};
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) {
        fired f = {.again_ms = again[i]};
        begin(1000);
        turbo__deadline *d = deadline_at(1001);
        for (int n = 0; n < 5; n++) {
            uint64_t set = n == 0 ? 1001 : now + again[i];
            f.count = 0;
            uint64_t at = run_until_fired(&f);
            cr_expect_eq(f.count, 1);
            cr_expect(at >= set && at <= set + 2 * SLOT);
        }
        free(d);
    }
}

static turbo__deadline *victim;

static void clear_victim(turbo__deadline *deadline, void *user) {
    fired *f = user;
    f->count++;
    if (deadline != victim)
        turbo__deadline_clear(&wheel, victim);
}

Test(timer, deadline_cleared_from_inside_does_not_fire) {
    fired f = {0};
    begin(1000);
    turbo__deadline *first = deadline_at(1010);
    victim = deadline_at(1010); /* in the same slot, behind it */
    now = 2000;
    turbo__wheel_advance(&wheel, now, clear_victim, &f);
    cr_expect(f.count == 1 && wheel.count == 0);
    free(first);
    free(victim);
}

Test(timer, time_that_stands_or_goes_back_changes_nothing) {
    fired f = {0};
    begin(1000);
    turbo__deadline *d = deadline_at(1001);
    advance(1000, &f);
    advance(10, &f);
    cr_expect(f.count == 0 && wheel.now_ms == 1000);
    now = 1000;
    cr_expect_leq(run_until_fired(&f), 1001 + 2 * SLOT);
    free(d);
}

Test(timer, thousands_of_deadlines_all_fire_in_time) {
    enum { COUNT = 2000 };
    static turbo__deadline many[COUNT];
    static uint64_t due[COUNT];
    unsigned seed = 1;
    fired f = {0};
    begin(777);
    for (int i = 0; i < COUNT; i++) {
        turbo__deadline_init(&many[i]);
        seed = seed * 1103515245u + 12345u;
        due[i] = now + 1 + (seed >> 8) % (3 * ROUND);
        turbo__deadline_set(&wheel, &many[i], due[i]);
    }
    while (wheel.count > 0) {
        uint64_t next = turbo__wheel_next_ms(&wheel);
        cr_assert_gt(next, now);
        advance(next, &f);
        for (int i = 0; i < COUNT; i++) {
            cr_assert(many[i].at_ms != 0 || now >= due[i], "early");
            cr_assert(many[i].at_ms == 0 || now <= due[i] + 2 * SLOT, "late");
        }
    }
    cr_expect_eq(f.count, COUNT);
}

/* ---- the heap ---- */

static void expect_heap(const turbo__heap *heap) {
    for (size_t i = 0; i < heap->count; i++) {
        cr_assert_eq(heap->items[i]->place, i);
        cr_assert(i == 0 || heap->items[(i - 1) / 2]->at_ns <= heap->items[i]->at_ns);
    }
}

Test(timer, heap_gives_the_earliest_first) {
    enum { COUNT = 300 };
    static turbo__heap_entry entries[COUNT];
    turbo__heap heap = {0};
    unsigned seed = 7;
    cr_expect_null(turbo__heap_first(&heap));
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1103515245u + 12345u;
        entries[i].at_ns = (seed >> 16) % 100; /* many are equal */
        cr_assert_eq(turbo__heap_add(&heap, &entries[i]), 0);
        expect_heap(&heap);
    }
    uint64_t last = 0;
    for (int i = 0; i < COUNT; i++) {
        turbo__heap_entry *first = turbo__heap_first(&heap);
        cr_assert_geq(first->at_ns, last);
        last = first->at_ns;
        turbo__heap_remove(&heap, first);
        expect_heap(&heap);
    }
    cr_expect_null(turbo__heap_first(&heap));
    turbo__heap_free(&heap);
}

Test(timer, heap_loses_any_entry) {
    enum { COUNT = 60 };
    for (int gone = 0; gone < COUNT; gone++) {
        turbo__heap_entry entries[COUNT];
        turbo__heap heap = {0};
        for (int i = 0; i < COUNT; i++) {
            entries[i].at_ns = (uint64_t)(i * 37 % 101);
            cr_assert_eq(turbo__heap_add(&heap, &entries[i]), 0);
        }
        turbo__heap_remove(&heap, &entries[gone]);
        cr_expect_eq(heap.count, COUNT - 1);
        expect_heap(&heap);
        for (size_t i = 0; i < heap.count; i++)
            cr_expect_neq(heap.items[i], &entries[gone]);
        turbo__heap_free(&heap);
    }
}

Test(timer, heap_stays_in_order_when_the_last_entry_belongs_further_up) {
    const uint64_t at[] = {0, 10, 1, 20, 21, 2, 3}; /* the 3 takes the place of the 20, below the 10 */
    turbo__heap_entry entries[7];
    turbo__heap heap = {0};
    for (size_t i = 0; i < 7; i++) {
        entries[i].at_ns = at[i];
        cr_assert_eq(turbo__heap_add(&heap, &entries[i]), 0);
    }
    turbo__heap_remove(&heap, &entries[3]);
    cr_expect_eq(heap.count, 6);
    expect_heap(&heap);
    turbo__heap_free(&heap);
}

Test(timer, heap_without_memory_is_unchanged) {
    turbo__heap heap = {0};
    turbo__heap_entry entries[18];
    for (size_t i = 0; i < 17; i++) {
        entries[i].at_ns = i;
        failing_alloc_arm(1);
        int rc = turbo__heap_add(&heap, &entries[i]);
        int has_failed = failing_alloc_disarm();
        cr_expect_eq(has_failed, i == 0 || i == 16, "entry %zu", i);
        cr_expect_eq(rc, has_failed ? TURBO_ENOMEM : 0);
        if (has_failed) {
            cr_expect_eq(heap.count, i);
            cr_assert_eq(turbo__heap_add(&heap, &entries[i]), 0);
        }
    }
    expect_heap(&heap);
    turbo__heap_free(&heap);
    cr_expect_null(heap.items);
    cr_expect_not(failing_alloc_leaks());
}
