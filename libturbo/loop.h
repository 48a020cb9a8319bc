/* loop.h - a uv loop with its thread, and what lives on it: an I/O loop, a shard, or both. */
#ifndef TURBO_LOOP_H
#define TURBO_LOOP_H

#include <pthread.h>
#include <stdint.h>
#include <uv.h>

#include "mailbox.h"

#define TURBO__LOOP_MEMBERS_MAX 2

/* Something that lives on a loop and gets mail. */
typedef struct turbo__member {
    int (*turn)(void *self); /* do what is due; 1: more waits, come back without blocking */
    void *self;
    turbo__mailbox *box;     /* armed before the loop blocks, disarmed after               */
    uv_poll_t watch;         /* of the mailbox's descriptor                                */
} turbo__member;

/*
 * One turn of a loop: block for I/O; run what became ready (bytes in, timers); let each member do what is due; arm
 * the mailboxes; block again. The members' turns stand directly before the block, so that everything that the turn
 * made ready leaves together.
 *
 * A driven loop never blocks: its host waits on its descriptor, and arms by turbo__loop_poll() returning 0. (With a
 * flag set in uv_prepare and cleared in uv_check the flag would be clear exactly while the host sleeps.)
 */
typedef struct turbo__loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while there is work: keeps the poll from blocking */
    turbo__member *members[TURBO__LOOP_MEMBERS_MAX];
    uint32_t member_count;
    uint8_t open;    /* uv is initialised         */
    uint8_t driven;
    uint8_t running; /* thread has to be joined   */
    uint8_t sealed;  /* our own handles are closed */
    pthread_t thread;
} turbo__loop;

/** @return 0; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS. Thread: setup. */
int turbo__loop_open(turbo__loop *loop, int driven);

/** Let a member live on the loop; the member's memory outlives the loop. @return as turbo__loop_open(). */
int turbo__loop_join(turbo__loop *loop, turbo__member *member);

/** Take a member off: it gets no more turns. Thread: the loop's. */
void turbo__loop_leave(turbo__loop *loop, turbo__member *member);

/** Run until the last member has left and every handle is closed. Thread: the loop's own. */
void turbo__loop_run(turbo__loop *loop);

/** For a driven loop: one pass. @return 1: more waits; 0: armed, sleep. Thread: the loop's. */
int turbo__loop_poll(turbo__loop *loop);

/** For a driven loop: what its host may sleep, from its uv timers. @return ms; -1: for ever. */
int turbo__loop_timeout_ms(turbo__loop *loop);

/** Free what turbo__loop_open() took; every handle is closed, or none was ever used. All-zero is allowed. */
void turbo__loop_free(turbo__loop *loop);

/** Our code for a libuv code. */
int turbo__loop_error(int uv_code);

/** Why a call failed, in English as turbo_strerror(): what the system says, or without that (0) our own sentence for rc.
 *  strerror() is not for libraries: another thread may call it too.
 *  @return text. Thread: any. */
const char *turbo__loop_cause(char *text, size_t size, int system_error, int rc);

#endif
