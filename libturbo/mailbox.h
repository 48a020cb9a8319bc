/* mailbox.h - many threads -> one loop (requests to a shard, answers to an I/O loop), a batch at a time. */
#ifndef TURBO_MAILBOX_H
#define TURBO_MAILBOX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in whatever is sent. kind is the sender's and receiver's matter. */
typedef struct turbo__mail {
    struct turbo__mail *next;
    uint32_t kind;
    uint32_t reserved;
} turbo__mail;

/* Mails that leave together: newest first, as the mailbox keeps them. All-zero is empty. */
typedef struct turbo__mail_chain {
    turbo__mail *newest, *oldest;
    size_t count;
} turbo__mail_chain;

/* How a receiver sleeps: woken by every mail; or, when it could do nothing with most, by urgent ones and pokes alone. */
enum { TURBO__SLEEPS_LIGHTLY = 1, TURBO__SLEEPS_QUIETLY };

typedef struct turbo__mailbox {
    _Atomic(turbo__mail *) head; /* newest first; a mark once closed                     */
    atomic_uint sleeping;        /* not 0: the receiver blocks, or is about to: TURBO__SLEEPS_* */
    atomic_uint poked;           /* woken without a mail: the receiver must look around */
    int fd;                      /* becomes readable when a sleeper is woken             */
    uint8_t open;
    uint8_t armed;               /* receiver's: between arm and disarm                   */
    uint8_t signalled;           /* receiver's: the descriptor is, or will be, readable  */
    uint8_t quiet;               /* receiver's: how it sleeps from the next arm on */
    _Atomic uint64_t wakeups;    /* receiver's: how often it was woken                   */
} turbo__mailbox;

/** Make an all-zero mailbox usable. @return 0; TURBO_EMFILE; TURBO_ENOMEM; TURBO_ESYS. */
int turbo__mailbox_open(turbo__mailbox *box);

/** Close the descriptor; nobody may use the mailbox any more. An all-zero mailbox is allowed. */
void turbo__mailbox_free(turbo__mailbox *box);

/** Put a mail into a chain that one thread builds. */
static inline void turbo__mail_chain_add(turbo__mail_chain *chain, turbo__mail *mail) {
    mail->next = chain->newest;
    chain->newest = mail;
    if (chain->oldest == NULL)
        chain->oldest = mail;
    chain->count++;
}

/**
 * Send a chain that is not empty, and wake the receiver if it sleeps: one atomic operation however many mails.
 * @return 0, the chain is empty then; TURBO_ECLOSED, the chain is unchanged.
 * Thread: any.
 */
int turbo__mailbox_push(turbo__mailbox *box, turbo__mail_chain *chain);

/** Send one mail. @return 0; TURBO_ECLOSED. Thread: any. */
int turbo__mailbox_push_one(turbo__mailbox *box, turbo__mail *mail);

/** The same for a mail that a receiver wants however it sleeps. */
int turbo__mailbox_push_urgent(turbo__mailbox *box, turbo__mail *mail);

/** Give the receiver a turn without a mail, however it sleeps. Thread: any. */
void turbo__mailbox_poke(turbo__mailbox *box);

/** Take everything, oldest first. @return NULL when empty or closed. Thread: the receiver. */
turbo__mail *turbo__mailbox_take(turbo__mailbox *box);

/** Whether there is nothing to take. Thread: the receiver. */
int turbo__mailbox_empty(turbo__mailbox *box);

/** Before blocking. @return 1: block; 0: there is work, the mailbox is awake again. Thread: the receiver. */
int turbo__mailbox_arm(turbo__mailbox *box);

/** After blocking, also without an arm before: senders need not wake any more; makes the descriptor unreadable. Thread: the receiver. */
void turbo__mailbox_disarm(turbo__mailbox *box);

/** Take what is left, oldest first; every later push gets TURBO_ECLOSED, and wakes nobody. Thread: the receiver. */
turbo__mail *turbo__mailbox_seal(turbo__mailbox *box);

#endif
