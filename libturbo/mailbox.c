/* mailbox.c - a stack that senders push chains on with one CAS and the receiver empties with one exchange. */
#include "mailbox.h"

#include "os/os.h"
#include "turbo/error.h"

static turbo__mail closed_mark;

int turbo__mailbox_open(turbo__mailbox *box) {
    box->fd = -1;
    box->open = 1;
    return turbo__os_event_open(&box->fd);
}

void turbo__mailbox_free(turbo__mailbox *box) {
    if (box->open)
        turbo__os_event_close(box->fd);
    box->open = 0;
}

/* Whoever sleeps at least as lightly as `how` is woken. The plain load spares a locked operation while the receiver is
 * busy. It is ordered behind the sender's own read-modify-write (of head, or poked) by seq_cst, as the receiver's look at
 * both is behind its exchange of sleeping: one of the two always sees the other. */
static void wake(turbo__mailbox *box, unsigned how) {
    unsigned sleeping = atomic_load(&box->sleeping);
    if (sleeping != 0 && sleeping <= how && atomic_exchange(&box->sleeping, 0) != 0)
        turbo__os_event_signal(box->fd);
}

void turbo__mailbox_poke(turbo__mailbox *box) {
    atomic_exchange(&box->poked, 1);
    wake(box, TURBO__SLEEPS_QUIETLY);
}

static int push(turbo__mailbox *box, turbo__mail_chain *chain, unsigned how) {
    /* Acquired for the mark's sake: who is refused sees whatever the receiver did before it closed. */
    turbo__mail *head = atomic_load_explicit(&box->head, memory_order_acquire);
    do {
        if (head == &closed_mark) {
            /* A failed push leaves the chain as it was: the oldest mail ends it. */
            chain->oldest->next = NULL;
            return TURBO_ECLOSED;
        }
        chain->oldest->next = head;
    } while (!atomic_compare_exchange_weak(&box->head, &head, chain->newest));
    *chain = (turbo__mail_chain){0};
    wake(box, how);
    return 0;
}

int turbo__mailbox_push(turbo__mailbox *box, turbo__mail_chain *chain) {
    return push(box, chain, TURBO__SLEEPS_LIGHTLY);
}

int turbo__mailbox_push_one(turbo__mailbox *box, turbo__mail *mail) {
    turbo__mail_chain chain = {mail, mail, 1};
    return push(box, &chain, TURBO__SLEEPS_LIGHTLY);
}

int turbo__mailbox_push_urgent(turbo__mailbox *box, turbo__mail *mail) {
    turbo__mail_chain chain = {mail, mail, 1};
    return push(box, &chain, TURBO__SLEEPS_QUIETLY);
}

static turbo__mail *oldest_first(turbo__mail *newest) {
    turbo__mail *list = NULL;
    while (newest != NULL) {
        turbo__mail *next = newest->next;
        newest->next = list;
        list = newest;
        newest = next;
    }
    return list;
}

turbo__mail *turbo__mailbox_take(turbo__mailbox *box) {
    turbo__mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    if (atomic_load_explicit(&box->poked, memory_order_relaxed) != 0)
        atomic_exchange(&box->poked, 0); /* whoever takes looks around afterwards */
    if (head == NULL || head == &closed_mark)
        return NULL;
    /* Only the receiver closes, so the mark cannot be swapped out here. */
    return oldest_first(atomic_exchange_explicit(&box->head, NULL, memory_order_acquire));
}

int turbo__mailbox_empty(turbo__mailbox *box) {
    turbo__mail *head = atomic_load(&box->head);
    return head == NULL || head == &closed_mark;
}

int turbo__mailbox_arm(turbo__mailbox *box) {
    box->armed = 1;
    atomic_exchange(&box->sleeping, box->quiet ? TURBO__SLEEPS_QUIETLY : TURBO__SLEEPS_LIGHTLY);
    if (turbo__mailbox_empty(box) && atomic_load(&box->poked) == 0)
        return 1;
    turbo__mailbox_disarm(box);
    return 0;
}

void turbo__mailbox_disarm(turbo__mailbox *box) {
    if (box->armed) {
        box->armed = 0;
        /* Only the receiver sets the flag. Finding it cleared means that a sender has signalled or is about to: then
         * the descriptor is read at every disarm until that signal was met. */
        if (atomic_exchange(&box->sleeping, 0) == 0) {
            box->signalled = 1;
            atomic_fetch_add_explicit(&box->wakeups, 1, memory_order_relaxed);
        }
    }
    if (box->signalled && turbo__os_event_clear(box->fd))
        box->signalled = 0;
}

turbo__mail *turbo__mailbox_seal(turbo__mailbox *box) {
    turbo__mail *head = atomic_exchange(&box->head, &closed_mark);
    return head == &closed_mark ? NULL : oldest_first(head);
}
