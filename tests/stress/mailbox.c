/* mailbox.c - many producers and one receiver that sleeps: nothing lost, doubled or out of order, and no wake-up lost.
 *
 * Now and then a producer waits until all that it sent was received, so that the receiver often sleeps: a lost wake-up
 * ends in the phase's deadline. In the phases named seal the receiver closes the mailbox while all of them push. */
#include "mailbox.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>

#include "loop.h"
#include "stress.h"

#define PRODUCERS 4
#define CHAIN_MAX 6
#define AHEAD_MAX 64    /* messages that a producer may be ahead of the receiver */
#define MESSAGES 400000 /* a phase */
#define SEALS 1000

typedef struct message {
    turbo__mail mail;
    uint32_t producer;
    uint64_t seq;
} message;

typedef struct shared {
    turbo__mailbox box;
    _Atomic uint64_t received[PRODUCERS]; /* highest seq, which is also their number */
    _Atomic uint64_t pushes, pokes, refused;
    _Atomic unsigned done;                /* producers                               */
    uint64_t each;                        /* messages a producer                     */
    uint64_t seal_at;                     /* messages; 0: never                      */
    uint64_t taken;                       /* the receiver's                          */
    turbo__loop loop;
    turbo__member member;
    chance chance;                        /* the receiver's                          */
} shared;

typedef struct producer {
    shared *all;
    uint32_t index;
    uint64_t accepted; /* messages of pushes that succeeded */
    pthread_t thread;
} producer;

/* -- producers -- */

static turbo__mail_chain chain_of(producer *p, uint64_t from, size_t n) {
    turbo__mail_chain chain = {0};
    for (size_t i = 0; i < n; i++) {
        message *m = malloc(sizeof *m);
        CHECK(m != NULL);
        *m = (message){.producer = p->index, .seq = from + i};
        turbo__mail_chain_add(&chain, &m->mail);
    }
    return chain;
}

/* A refused chain is as it was before. */
static void free_chain(turbo__mail_chain *chain, size_t n) {
    size_t found = 0;
    CHECK_EQ(chain->count, n);
    for (turbo__mail *mail = chain->newest; mail != NULL; found++) {
        turbo__mail *next = mail->next;
        CHECK((next == NULL) == (mail == chain->oldest));
        free(mail);
        mail = next;
    }
    CHECK_EQ(found, n);
}

/* @return 0 when the mailbox is closed. */
static int push(producer *p, uint64_t *seq, size_t n) {
    turbo__mail_chain chain = chain_of(p, *seq + 1, n);
    atomic_fetch_add(&p->all->pushes, 1);
    if (turbo__mailbox_push(&p->all->box, &chain) < 0) {
        free_chain(&chain, n);
        return 0;
    }
    CHECK_EQ(chain.count, 0);
    *seq += n;
    return 1;
}

/* Until the receiver has all but `but` of what was sent. */
static void await_receipt(producer *p, uint64_t seq, uint64_t but) {
    while (atomic_load(&p->all->received[p->index]) + but < seq)
        sched_yield();
}

static void *produce(void *arg) {
    producer *p = arg;
    shared *all = p->all;
    chance c = chance_of(p->index);
    uint64_t seq = 0;
    while (seq < all->each) {
        size_t n = 1 + (size_t)chance_below(&c, CHAIN_MAX);
        if (!push(p, &seq, n < all->each - seq ? n : (size_t)(all->each - seq)))
            break;
        await_receipt(p, seq, chance_below(&c, 4) == 0 ? 0 : AHEAD_MAX);
        if (chance_below(&c, 64) == 0) {
            atomic_fetch_add(&all->pokes, 1);
            turbo__mailbox_poke(&all->box);
        }
    }
    p->accepted = seq;
    if (seq < all->each) { /* closed: so it stays */
        uint64_t after = seq;
        CHECK_EQ(push(p, &after, 2), 0);
        atomic_fetch_add(&all->refused, 1);
    }
    atomic_fetch_add(&all->done, 1);
    turbo__mailbox_poke(&all->box);
    return NULL;
}

/* -- the receiver -- */

static void take_list(shared *all, turbo__mail *mail) {
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        message *m = (message *)(void *)mail; /* its first member */
        CHECK_EQ(m->seq, atomic_load(&all->received[m->producer]) + 1);
        atomic_store(&all->received[m->producer], m->seq);
        all->taken++;
        free(m);
        mail = next;
    }
}

static int finished(const shared *all) { return atomic_load(&all->done) == PRODUCERS; }

/* @return 1: all producers are done; what they sent last may still lie in the mailbox. */
static int receive(shared *all) {
    take_list(all, turbo__mailbox_take(&all->box));
    if (all->seal_at != 0 && all->taken >= all->seal_at) {
        take_list(all, turbo__mailbox_seal(&all->box));
        all->seal_at = 0;
    }
    return finished(all); /* behind the take, which takes the poke as well */
}

/* Whoever blocks arms. */
static void receive_by_poll(shared *all) {
    struct pollfd watch = {.fd = all->box.fd, .events = POLLIN};
    while (!receive(all)) {
        if (turbo__mailbox_arm(&all->box))
            (void)poll(&watch, 1, -1);
        turbo__mailbox_disarm(&all->box);
    }
}

static int loop_turn(void *self) {
    shared *all = self;
    if (receive(all))
        turbo__loop_leave(&all->loop, &all->member);
    return 0;
}

static void open_loop(shared *all, int driven) {
    CHECK_EQ(turbo__loop_open(&all->loop, driven), 0);
    all->member = (turbo__member){.turn = loop_turn, .self = all, .box = &all->box};
    CHECK_EQ(turbo__loop_join(&all->loop, &all->member), 0);
}

static void receive_by_loop(shared *all) {
    open_loop(all, 0);
    turbo__loop_run(&all->loop);
    turbo__loop_free(&all->loop);
}

static void receive_driven(shared *all) {
    open_loop(all, 1);
    struct pollfd watch = {.fd = uv_backend_fd(&all->loop.uv), .events = POLLIN};
    while (uv_loop_alive(&all->loop.uv))
        if (turbo__loop_poll(&all->loop) == 0 && uv_loop_alive(&all->loop.uv))
            (void)poll(&watch, 1, turbo__loop_timeout_ms(&all->loop));
    turbo__loop_free(&all->loop);
}

/* -- rounds -- */

typedef struct totals {
    uint64_t messages, pushes, wakeups, refused;
} totals;

static void run_round(shared *all, void (*receiver)(shared *), totals *sum) {
    producer producers[PRODUCERS];
    uint64_t accepted = 0;
    CHECK_EQ(turbo__mailbox_open(&all->box), 0);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){.all = all, .index = i};
        producers[i].thread = stress_thread(produce, &producers[i]);
    }
    receiver(all);
    for (uint32_t i = 0; i < PRODUCERS; i++)
        stress_join(producers[i].thread);
    take_list(all, turbo__mailbox_seal(&all->box));
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        CHECK_EQ(all->received[i], producers[i].accepted);
        accepted += producers[i].accepted;
    }
    CHECK_EQ(all->taken, accepted);
    /* Each push and each poke wakes at most once; each producer pokes once at its end. */
    CHECK(all->box.wakeups <= all->pushes + all->pokes + PRODUCERS);
    *sum = (totals){sum->messages + accepted, sum->pushes + all->pushes, sum->wakeups + all->box.wakeups,
                    sum->refused + all->refused};
    turbo__mailbox_free(&all->box);
}

static void report(const totals *sum) {
    stress_report("%llu messages in %llu pushes, %llu wake-ups, %llu producers refused",
                  (unsigned long long)sum->messages, (unsigned long long)sum->pushes, (unsigned long long)sum->wakeups,
                  (unsigned long long)sum->refused);
}

static const struct receiver_kind {
    const char *name, *seal_name;
    void (*fn)(shared *);
} receivers[] = {{"mailbox.poll", "mailbox.poll.seal", receive_by_poll},
                 {"mailbox.loop", "mailbox.loop.seal", receive_by_loop},
                 {"mailbox.driven", "mailbox.driven.seal", receive_driven}};

static void run_sleeps(const struct receiver_kind *kind) {
    totals sum = {0};
    shared all = {.each = stress_count(MESSAGES, 4000) / PRODUCERS};
    stress_phase(kind->name, 60);
    run_round(&all, kind->fn, &sum);
    CHECK_EQ(sum.messages, all.each * PRODUCERS);
    CHECK_EQ(sum.refused, 0);
    report(&sum);
}

static void run_seals(const struct receiver_kind *kind, chance *c) {
    totals sum = {0};
    uint64_t rounds = stress_count(SEALS, 10);
    stress_phase(kind->seal_name, 60);
    for (uint64_t i = 0; i < rounds; i++) {
        shared all = {.each = UINT64_MAX / 2, .seal_at = 1 + chance_below(c, 500)};
        run_round(&all, kind->fn, &sum);
    }
    CHECK_EQ(sum.refused, rounds * PRODUCERS);
    report(&sum);
}

int main(int argc, char **argv) {
    stress_begin(argc, argv);
    chance c = chance_of(PRODUCERS);
    for (size_t i = 0; i < COUNT_OF(receivers); i++) {
        run_sleeps(&receivers[i]);
        run_seals(&receivers[i], &c);
    }
    return 0;
}
