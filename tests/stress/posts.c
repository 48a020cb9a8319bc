/* posts.c - functions posted to shards and timers set on them, from everywhere, with the stop in the middle: each that
 * was accepted is called exactly once, with 0 or with TURBO_ECLOSED, on its shard's thread; a cancelled timer never. */
#include <sched.h>
#include <stdlib.h>

#include "stress.h"

#define POSTERS 3
#define POSTS 240000 /* of a topology, in the first part */
#define STOPS 60     /* of a topology, in the second     */
#define STOP_AFTER_MAX 2000
#define AHEAD_MAX 256
#define TIMER_MS_MAX 4

static const topology shapes[] = {
    {"posts.io1", 1, 2, 0}, {"posts.io0", 0, 2, 0}, {"posts.driven.io1", 1, 2, 1}, {"posts.driven.io0", 0, 2, 1}};
static const topology stop_shapes[] = {{"posts.stop.io1", 1, 2, 0},
                                       {"posts.stop.io0", 0, 2, 0},
                                       {"posts.stop.driven.io1", 1, 2, 1},
                                       {"posts.stop.driven.io0", 0, 2, 1}};

/* One function that was posted or one timer; freed by its call. */
typedef struct call {
    uint64_t what; /* decides what it does besides */
    int is_timer;
} call;

typedef struct poster {
    host *host;
    uint64_t posts;
    uint64_t accepted;
    int refused;
    chance chance;
    pthread_t thread;
} poster;

/* Calls that are owed and calls made. */
static _Atomic uint64_t owed, made, closed, timers, cancelled;
static _Thread_local const turbo_shard *here; /* whose thread it is */

static void on_call(turbo_shard *shard, int status, void *user);

static call *new_call(uint64_t what, int is_timer) {
    call *c = malloc(sizeof *c);
    CHECK(c != NULL);
    *c = (call){what, is_timer};
    atomic_fetch_add(&owed, 1);
    return c;
}

static void drop_call(call *c) {
    free(c);
    atomic_fetch_sub(&owed, 1);
}

/* -- on the shard -- */

static void set_timer(turbo_shard *shard, uint64_t what) {
    call *c = new_call(what / 8, 1);
    turbo_timer *timer = NULL;
    int rc = turbo_shard_timer(&timer, shard, what % TIMER_MS_MAX, on_call, c);
    if (rc < 0) {
        CHECK_EQ(rc, TURBO_ECLOSED);
        drop_call(c);
        return;
    }
    atomic_fetch_add(&timers, 1);
    if (what % 3 == 0) {
        turbo_timer_cancel(timer);
        drop_call(c);
        atomic_fetch_add(&cancelled, 1);
    }
}

static void post_again(turbo_shard *shard, uint64_t what) {
    call *c = new_call(what / 8, 0);
    int rc = turbo_shard_post(shard, on_call, c);
    if (rc < 0) {
        CHECK_EQ(rc, TURBO_ECLOSED);
        drop_call(c);
    }
}

/* A third of the calls leads to another one. */
static void on_call(turbo_shard *shard, int status, void *user) {
    call *c = user;
    CHECK(status == 0 || status == TURBO_ECLOSED);
    if (here == NULL)
        here = shard;
    CHECK(here == shard);
    if (c->what % 6 == 0)
        set_timer(shard, c->what / 6);
    else if (c->what % 6 == 1)
        post_again(shard, c->what / 6);
    if (status == TURBO_ECLOSED) {
        atomic_fetch_add(&closed, 1);
        CHECK_EQ(turbo_shard_timer(NULL, shard, 0, on_call, NULL), TURBO_ECLOSED);
    }
    free(c);
    atomic_fetch_add(&made, 1);
}

/* -- posters -- */

static void *run_poster(void *arg) {
    poster *p = arg;
    for (uint64_t i = 0; i < p->posts && !p->refused; i++) {
        turbo_shard *shard = turbo_server_shard(p->host->server, chance_below(&p->chance, p->host->shape->shards));
        call *c = new_call(chance_next(&p->chance), 0);
        int rc = turbo_shard_post(shard, on_call, c);
        if (rc < 0) {
            CHECK_EQ(rc, TURBO_ECLOSED);
            drop_call(c);
            p->refused = 1;
        } else {
            p->accepted++;
        }
        while (atomic_load(&owed) - atomic_load(&made) > AHEAD_MAX)
            sched_yield();
    }
    return NULL;
}

static void begin_round(host *h, poster *posters, uint64_t posts) {
    atomic_store(&owed, 0);
    atomic_store(&made, 0);
    host_open(h, NULL);
    CHECK_EQ(host_start(h), 0);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (poster){.host = h, .posts = posts / POSTERS, .chance = chance_of(i)};
        posters[i].thread = stress_thread(run_poster, &posters[i]);
    }
}

static void report(uint64_t posts, uint64_t calls) {
    stress_report("%llu posts, %llu calls of which %llu by the end, %llu timers, %llu cancelled",
                  (unsigned long long)posts, (unsigned long long)calls, (unsigned long long)atomic_load(&closed),
                  (unsigned long long)atomic_load(&timers), (unsigned long long)atomic_load(&cancelled));
    atomic_store(&closed, 0);
    atomic_store(&timers, 0);
    atomic_store(&cancelled, 0);
}

static void run_to_end(const topology *shape) {
    host h = {.shape = shape};
    poster posters[POSTERS];
    uint64_t accepted = 0;
    stress_phase(shape->name, 60);
    begin_round(&h, posters, stress_count(POSTS, 3000));
    for (unsigned i = 0; i < POSTERS; i++) {
        stress_join(posters[i].thread);
        CHECK_EQ(posters[i].accepted, posters[i].posts);
        accepted += posters[i].accepted;
    }
    WAIT_UNTIL(atomic_load(&made) == atomic_load(&owed));
    (void)host_stop(&h);
    host_release(&h);
    CHECK_EQ(made, owed);
    CHECK_EQ(closed, 0);
    report(accepted, made);
}

static void run_stops(const topology *shape) {
    poster posters[POSTERS];
    uint64_t rounds = stress_count(STOPS, 4), accepted = 0, calls = 0;
    chance c = chance_of(POSTERS);
    stress_phase(shape->name, 60);
    for (uint64_t i = 0; i < rounds; i++) {
        host h = {.shape = shape};
        uint64_t after = chance_below(&c, STOP_AFTER_MAX);
        begin_round(&h, posters, UINT64_MAX);
        WAIT_UNTIL(atomic_load(&made) >= after);
        (void)host_stop(&h);
        for (unsigned k = 0; k < POSTERS; k++) {
            stress_join(posters[k].thread);
            accepted += posters[k].accepted;
        }
        CHECK_EQ(made, owed);
        calls += made;
        host_release(&h);
    }
    report(accepted, calls);
}

int main(int argc, char **argv) {
    stress_begin(argc, argv);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        run_to_end(&shapes[i]);
    for (size_t i = 0; i < COUNT_OF(stop_shapes); i++)
        run_stops(&stop_shapes[i]);
    return 0;
}
