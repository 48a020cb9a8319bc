/* test_gate.c - how many requests of a shard may be in flight. */
#include "gate.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>

TestSuite(gate, .timeout = 20);

Test(gate, room_is_what_is_left_of_the_maximum) {
    turbo__gate gate = {0};
    turbo__gate_init(&gate, 3);
    cr_expect_eq(turbo__gate_room(&gate), 3);
    turbo__gate_enter(&gate, 2);
    cr_expect_eq(turbo__gate_room(&gate), 1);
    turbo__gate_enter(&gate, 1);
    cr_expect_eq(turbo__gate_room(&gate), 0);
    cr_expect_eq(turbo__gate_inside(&gate), 3);
    turbo__gate_leave(&gate);
    cr_expect_eq(turbo__gate_room(&gate), 1);
    turbo__gate_leave_elsewhere(&gate);
    cr_expect_eq(turbo__gate_room(&gate), 2);
    cr_expect_eq(turbo__gate_inside(&gate), 1);
}

Test(gate, most_is_the_highest_number_ever_inside) {
    turbo__gate gate = {0};
    turbo__gate_init(&gate, 10);
    turbo__gate_enter(&gate, 4);
    turbo__gate_leave(&gate);
    turbo__gate_leave_elsewhere(&gate);
    turbo__gate_enter(&gate, 1);
    cr_expect_eq(atomic_load(&gate.most), 4);
    turbo__gate_enter(&gate, 2);
    cr_expect_eq(atomic_load(&gate.most), 5);
}

Test(gate, leaving_tells_whether_anyone_waits) {
    turbo__gate gate = {0};
    turbo__gate_init(&gate, 2);
    turbo__gate_enter(&gate, 2);
    cr_expect_eq(turbo__gate_leave(&gate), 0);
    turbo__gate_enter(&gate, 1);
    cr_expect_eq(turbo__gate_wait(&gate), 0);
    cr_expect_eq(turbo__gate_leave(&gate), 1);
    cr_expect_eq(turbo__gate_leave(&gate), 0, "one is told, and once");
    turbo__gate_enter(&gate, 2);
    cr_expect_eq(turbo__gate_leave_elsewhere(&gate), 0);
    turbo__gate_enter(&gate, 1);
    cr_expect_eq(turbo__gate_wait(&gate), 0);
    cr_expect_eq(turbo__gate_leave_elsewhere(&gate), 1);
    cr_expect_eq(turbo__gate_leave_elsewhere(&gate), 0);
}

Test(gate, nobody_waits_before_an_open_gate) {
    turbo__gate gate = {0};
    turbo__gate_init(&gate, 2);
    turbo__gate_enter(&gate, 1);
    cr_expect_eq(turbo__gate_wait(&gate), 1);
    cr_expect_eq(turbo__gate_leave(&gate), 0);
}

Test(gate, readers_never_see_less_than_nothing) {
    turbo__gate gate = {0};
    turbo__gate_init(&gate, 2);
    turbo__gate_enter(&gate, 1);
    atomic_store(&gate.inside, 0); /* as a reader sees it that reads the two counters at different times */
    atomic_store(&gate.left_elsewhere, 1);
    cr_expect_eq(turbo__gate_inside(&gate), 0);
}

enum { TURNS = 20000 };

static turbo__gate shared;
static atomic_uint handed;
static sem_t wake;

static void *leave_all(void *arg) {
    for (unsigned left = 0; left < TURNS;)
        if (atomic_load(&handed) > left) {
            left++;
            if (turbo__gate_leave_elsewhere(&shared))
                sem_post(&wake);
        }
    return arg;
}

/* A wake-up that is lost leaves this thread asleep until the test's time is over. */
Test(gate, sleeper_before_a_full_gate_is_always_woken) {
    pthread_t thread;
    turbo__gate_init(&shared, 1);
    cr_assert_eq(sem_init(&wake, 0, 0), 0);
    cr_assert_eq(pthread_create(&thread, NULL, leave_all, NULL), 0);
    for (int i = 0; i < TURNS; i++) {
        while (turbo__gate_room(&shared) == 0)
            if (turbo__gate_wait(&shared) == 0)
                sem_wait(&wake);
        turbo__gate_enter(&shared, 1);
        cr_assert_leq(turbo__gate_inside(&shared), 1);
        atomic_fetch_add(&handed, 1);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(turbo__gate_inside(&shared), 0);
    cr_expect_eq(atomic_load(&shared.most), 1);
}
