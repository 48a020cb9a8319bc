/* test_admission.c - places for connections: in all, and for one address. */
#include "admission.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(admission, .timeout = 20);

static turbo__admission door;

static turbo__peer from(const char *text) {
    turbo__peer peer = {.family = AF_INET};
    if (text == NULL)
        peer.family = AF_UNIX;
    else if (inet_pton(AF_INET, text, peer.address) != 1) {
        peer.family = AF_INET6;
        cr_assert_eq(inet_pton(AF_INET6, text, peer.address), 1);
    }
    return peer;
}

static int enter(const char *text) {
    turbo__peer peer = from(text);
    return turbo__admission_enter(&door, &peer);
}

static void leave(const char *text) {
    turbo__peer peer = from(text);
    turbo__admission_leave(&door, &peer);
}

static void close_door(void) {
    turbo__admission_free(&door);
    cr_expect_not(failing_alloc_leaks());
}

Test(admission, places_in_all_are_exact) {
    cr_assert_eq(turbo__admission_open(&door, 3, 0), 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_not(turbo__admission_is_full(&door));
        cr_expect_eq(turbo__admission_reserve(&door), 0);
    }
    cr_expect(turbo__admission_is_full(&door));
    cr_expect_eq(turbo__admission_reserve(&door), TURBO_EAGAIN);
    turbo__admission_unreserve(&door);
    cr_expect_eq(turbo__admission_reserve(&door), 0);
    leave("10.0.0.1");
    cr_expect_not(turbo__admission_is_full(&door));
    close_door();
}

Test(admission, places_of_an_address_are_exact) {
    cr_assert_eq(turbo__admission_open(&door, 0, 2), 0);
    cr_expect(enter("10.0.0.1") == 0 && enter("10.0.0.1") == 0);
    cr_expect_eq(enter("10.0.0.1"), TURBO_EAGAIN);
    cr_expect_eq(enter("10.0.0.2"), 0, "others have their own");
    leave("10.0.0.1");
    cr_expect_eq(enter("10.0.0.1"), 0);
    cr_expect_eq(enter("10.0.0.1"), TURBO_EAGAIN);
    leave("10.0.0.1");
    leave("10.0.0.1");
    leave("10.0.0.2");
    close_door();
}

Test(admission, an_ipv6_client_is_its_64) {
    cr_assert_eq(turbo__admission_open(&door, 0, 1), 0);
    cr_expect_eq(enter("2001:db8:0:1::1"), 0);
    cr_expect_eq(enter("2001:db8:0:1:ffff::2"), TURBO_EAGAIN);
    cr_expect_eq(enter("2001:db8:0:2::1"), 0);
    cr_expect_eq(enter("::ffff:10.0.0.1"), 0);
    cr_expect_eq(enter("10.0.0.1"), TURBO_EAGAIN, "the same by another way");
    cr_expect_eq(enter("::ffff:10.0.0.2"), 0);
    leave("2001:db8:0:1:ffff::2"); /* any of its addresses */
    leave("2001:db8:0:2::1");
    leave("10.0.0.1");
    leave("10.0.0.2");
    close_door();
}

Test(admission, unix_sockets_have_no_limit) {
    cr_assert_eq(turbo__admission_open(&door, 0, 1), 0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(enter(NULL), 0);
    leave(NULL);
    close_door();
}

Test(admission, without_limits_it_costs_nothing) {
    cr_assert_eq(turbo__admission_open(&door, 0, 0), 0);
    cr_expect(door.chains == NULL && door.locks == NULL);
    cr_expect(turbo__admission_reserve(&door) == 0 && enter("10.0.0.1") == 0);
    leave("10.0.0.1");
    cr_expect_eq(atomic_load(&door.inside), 0);
    close_door();
}

Test(admission, very_many_addresses_are_told_apart) {
    char text[20];
    cr_assert_eq(turbo__admission_open(&door, 0, 1), 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 20000; i++) {
            (void)snprintf(text, sizeof text, "10.1.%d.%d", i / 256, i % 256);
            if (round < 2)
                cr_assert_eq(enter(text), round == 0 ? 0 : TURBO_EAGAIN, "%s", text);
            else
                leave(text);
        }
    close_door();
}

static void *come_and_go(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        const char *text = i % 2 == 0 ? "10.0.0.1" : "10.0.0.2";
        if (enter(text) == 0)
            leave(text);
    }
    return NULL;
}

Test(admission, loops_may_come_at_once) {
    pthread_t threads[4];
    cr_assert_eq(turbo__admission_open(&door, 0, 2), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++)
        cr_expect(enter("10.0.0.1") == 0 && enter("10.0.0.2") == 0, "nothing is left of them");
    cr_expect_eq(enter("10.0.0.1"), TURBO_EAGAIN);
    for (int i = 0; i < 2; i++) {
        leave("10.0.0.1");
        leave("10.0.0.2");
    }
    close_door();
}

Test(admission, failed_allocations_are_reported) {
    turbo__admission small = {0};
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__admission_open(&small, 1, 1), turbo__admission_free(&small));
    cr_assert_eq(turbo__admission_open(&door, 0, 1), 0);
    failing_alloc_arm(1);
    cr_expect_eq(enter("10.0.0.1"), TURBO_ENOMEM);
    cr_assert(failing_alloc_disarm());
    cr_expect_eq(enter("10.0.0.1"), 0);
    leave("10.0.0.1");
    close_door();
}
