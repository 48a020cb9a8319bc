/* test_mailbox.c - many threads to one loop: order, wake-ups, seal. */
#include "mailbox.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>

#include "../support/await.h"
#include "list.h"
#include "os/os.h"
#include "turbo/error.h"

TestSuite(mailbox, .timeout = 30);

typedef struct letter {
    turbo__mail mail;
    unsigned sender, number;
} letter;

static turbo__mailbox box;

static void open_box(void) {
    box = (turbo__mailbox){0};
    cr_assert_eq(turbo__mailbox_open(&box), 0);
}

static void close_box(void) { turbo__mailbox_free(&box); }

static int readable(int fd) {
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    return poll(&watch, 1, 0) == 1;
}

static unsigned number_of(const turbo__mail *mail) { return ((const letter *)(const void *)mail)->number; }

Test(mailbox, takes_oldest_first_over_chains, .init = open_box, .fini = close_box) {
    letter letters[6];
    turbo__mail_chain chain = {0};
    for (unsigned i = 0; i < 6; i++)
        letters[i] = (letter){.number = i};
    for (unsigned i = 0; i < 3; i++)
        turbo__mail_chain_add(&chain, &letters[i].mail);
    cr_expect_eq(chain.count, 3);
    cr_expect_eq(turbo__mailbox_push(&box, &chain), 0);
    cr_expect(chain.newest == NULL && chain.oldest == NULL && chain.count == 0);
    cr_expect_eq(turbo__mailbox_push_one(&box, &letters[3].mail), 0);
    turbo__mail_chain_add(&chain, &letters[4].mail);
    turbo__mail_chain_add(&chain, &letters[5].mail);
    cr_expect_eq(turbo__mailbox_push(&box, &chain), 0);
    cr_expect_not(turbo__mailbox_empty(&box));
    unsigned n = 0;
    for (turbo__mail *mail = turbo__mailbox_take(&box); mail != NULL; mail = mail->next)
        cr_expect_eq(number_of(mail), n++);
    cr_expect_eq(n, 6);
    cr_expect(turbo__mailbox_empty(&box));
    cr_expect_null(turbo__mailbox_take(&box));
}

Test(mailbox, wakes_only_a_sleeper_and_once, .init = open_box, .fini = close_box) {
    letter letters[3] = {0};
    (void)turbo__mailbox_push_one(&box, &letters[0].mail);
    cr_expect_not(readable(box.fd), "nobody sleeps");
    (void)turbo__mailbox_take(&box);
    cr_expect(turbo__mailbox_arm(&box));
    cr_expect_not(readable(box.fd));
    (void)turbo__mailbox_push_one(&box, &letters[1].mail);
    cr_expect(readable(box.fd));
    (void)turbo__os_event_clear(box.fd);
    (void)turbo__mailbox_push_one(&box, &letters[2].mail);
    cr_expect_not(readable(box.fd), "woken already");
    turbo__mailbox_disarm(&box);
    cr_expect_eq(atomic_load(&box.wakeups), 1);
}

Test(mailbox, does_not_arm_with_work, .init = open_box, .fini = close_box) {
    letter one = {0};
    (void)turbo__mailbox_push_one(&box, &one.mail);
    cr_expect_not(turbo__mailbox_arm(&box));
    cr_expect_eq(atomic_load(&box.sleeping), 0);
    (void)turbo__mailbox_take(&box);
    turbo__mailbox_poke(&box);
    cr_expect_not(turbo__mailbox_arm(&box), "a poke is work");
    (void)turbo__mailbox_take(&box);
    cr_expect(turbo__mailbox_arm(&box), "and a look takes it");
    turbo__mailbox_poke(&box);
    cr_expect(readable(box.fd));
    turbo__mailbox_disarm(&box);
    cr_expect_not(readable(box.fd));
}

Test(mailbox, disarm_without_arm_counts_no_wakeup, .init = open_box, .fini = close_box) {
    turbo__mailbox_disarm(&box);
    turbo__mailbox_disarm(&box);
    cr_expect_eq(atomic_load(&box.wakeups), 0);
}

Test(mailbox, seal_hands_over_the_rest_and_closes, .init = open_box, .fini = close_box) {
    letter letters[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    turbo__mail_chain chain = {0};
    cr_expect(turbo__mailbox_arm(&box));
    turbo__mailbox_disarm(&box);
    (void)turbo__mailbox_push_one(&box, &letters[0].mail);
    (void)turbo__mailbox_push_one(&box, &letters[1].mail);
    turbo__mail *rest = turbo__mailbox_seal(&box);
    cr_assert(rest == &letters[0].mail && rest->next == &letters[1].mail && rest->next->next == NULL);
    turbo__mail_chain_add(&chain, &letters[2].mail);
    turbo__mail_chain_add(&chain, &letters[3].mail);
    cr_expect_eq(turbo__mailbox_push(&box, &chain), TURBO_ECLOSED);
    cr_expect(chain.newest == &letters[3].mail && chain.oldest == &letters[2].mail && chain.count == 2);
    cr_expect(chain.newest->next == chain.oldest && chain.oldest->next == NULL);
    cr_expect_eq(turbo__mailbox_push_one(&box, &letters[0].mail), TURBO_ECLOSED);
    cr_expect_null(turbo__mailbox_take(&box));
    cr_expect(turbo__mailbox_empty(&box));
    cr_expect_null(turbo__mailbox_seal(&box), "the second seal finds nothing");
    cr_expect_not(readable(box.fd));
}

Test(mailbox, free_takes_one_that_was_never_opened) {
    turbo__mailbox zero = {0};
    turbo__mailbox_free(&zero);
    cr_expect_not(zero.open);
}

/* -- threads -- */

#define SENDERS 4u
#define LETTERS 20000u

static letter post_office[SENDERS][LETTERS];

static void *send_all(void *arg) {
    letter *letters = arg;
    for (unsigned i = 0; i < LETTERS; i++)
        cr_expect_eq(turbo__mailbox_push_one(&box, &letters[i].mail), 0);
    return NULL;
}

/* A wake-up that is lost makes this hang: the receiver sleeps without a time limit. */
Test(mailbox, loses_nothing_and_keeps_each_senders_order, .init = open_box, .fini = close_box) {
    pthread_t threads[SENDERS];
    unsigned next[SENDERS] = {0}, got = 0;
    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < LETTERS; i++)
            post_office[s][i] = (letter){.sender = s, .number = i};
        cr_assert_eq(pthread_create(&threads[s], NULL, send_all, post_office[s]), 0);
    }
    while (got < SENDERS * LETTERS) {
        turbo__mail *mail = turbo__mailbox_take(&box);
        for (; mail != NULL; mail = mail->next, got++) {
            letter *l = (letter *)(void *)mail;
            cr_assert_eq(l->number, next[l->sender]++);
        }
        if (got < SENDERS * LETTERS && turbo__mailbox_arm(&box)) {
            struct pollfd watch = {.fd = box.fd, .events = POLLIN};
            (void)poll(&watch, 1, -1);
            turbo__mailbox_disarm(&box);
        }
    }
    for (unsigned s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    cr_expect_null(turbo__mailbox_take(&box));
}
