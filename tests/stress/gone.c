/* gone.c - clients that go with a RST, and servers that stop, at known places: what becomes of each request is known,
 * so the counters must agree exactly.
 *
 * parked: requests are kept; half of the clients go, which their on_gone is told once each; those requests are answered
 * nevertheless, the rest after the server has stopped. queued: clients go while the shards take their requests from the
 * queue. streamed: the server is aborted while other threads write streamed answers, which they end when they are told
 * that it makes no sense any more. */
#include <stdio.h>
#include <stdlib.h>

#include "stress.h"

#define PARKED 24 /* a round, one on each connection; even */
#define PARK_ROUNDS 40
#define QUEUE_CLIENTS 6
#define QUEUE_DEPTH 60
#define QUEUE_ROUNDS 150
#define STREAMS 16
#define STREAM_ROUNDS 120

static const topology park_shapes[] = {{"gone.parked.io1", 1, 2, 0},
                                       {"gone.parked.io2", 2, 2, 0},
                                       {"gone.parked.io0", 0, 2, 0},
                                       {"gone.parked.driven.io1", 1, 2, 1},
                                       {"gone.parked.driven.io0", 0, 2, 1}};
static const topology queue_shapes[] = {{"gone.queued.io1", 1, 2, 0},
                                        {"gone.queued.io2", 2, 2, 0},
                                        {"gone.queued.driven.io1", 1, 2, 1}};

static const topology stream_shapes[] = {
    {"gone.streamed.io1", 1, 2, 0}, {"gone.streamed.io2", 2, 2, 0}, {"gone.streamed.io0", 0, 2, 0}};

/* -- parked -- */

typedef struct parked {
    job job;
    turbo_request *req;    /* a reference, with which the answer's body is lent; NULL once it was answered */
    _Atomic unsigned gone; /* told so; a stop makes the others gone, too */
} parked;

typedef struct lot {
    parked places[PARKED];
    _Atomic unsigned count, gone, waiting;
} lot;

static void on_gone(turbo_request *req, void *user) {
    parked *p = user;
    CHECK(turbo_request_cancelled(req));
    CHECK_EQ(atomic_fetch_add(&p->gone, 1), 0);
    atomic_fetch_add(&((lot *)turbo_request_user(req))->gone, 1);
}

static int on_park(turbo_request *req, void *user) {
    lot *l = user;
    unsigned place = atomic_fetch_add(&l->count, 1);
    CHECK(place < PARKED);
    l->places[place].req = turbo_request_retain(req);
    CHECK_EQ(turbo_request_on_gone(req, on_gone, &l->places[place]), 0);
    atomic_fetch_add(&l->waiting, 1);
    return 0;
}

/* The body belongs to the request, which is given back with it: what libturbo throws away has to come back, too. */
static void end_parked(void *user) {
    lot *l = turbo_request_user(user);
    turbo_request_release(user);
    atomic_fetch_sub(&l->waiting, 1);
}

static void answer_parked(job *j) {
    parked *p = (parked *)(void *)j;
    turbo_request *req = p->req;
    turbo_str target = turbo_request_target(req);
    turbo_response *resp;
    p->req = NULL;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_body_ref(resp, target.data, target.len, end_parked, req), 0);
    CHECK_EQ(turbo_request_respond(req, resp), 0);
}

/* All that are not answered yet, or only those whose client has gone. */
static void answer_all(lot *l, pool *answerers, int only_gone) {
    for (unsigned i = 0; i < PARKED; i++) {
        parked *p = &l->places[i];
        if (p->req == NULL || (only_gone && p->gone == 0))
            continue;
        p->job.fn = answer_parked;
        pool_add(answerers, &p->job);
    }
}

static void park_round(const topology *shape, pool *answerers, uint64_t round) {
    static const char *const settings[] = {"drain_timeout_ms", "10", NULL};
    static lot l;
    host h = {.shape = shape};
    client clients[PARKED];
    l = (lot){0};
    host_open(&h, settings);
    host_route(&h, "GET", "/park", "placement=round_robin", on_park, &l);
    CHECK_EQ(host_start(&h), 0);
    for (unsigned i = 0; i < PARKED; i++) {
        CHECK_EQ(client_open(&clients[i], h.port), 0);
        CHECK_EQ(client_send(&clients[i], "GET /park HTTP/1.1\r\nHost: a\r\n\r\n", 31), 0);
    }
    WAIT_UNTIL(atomic_load(&l.waiting) == PARKED);
    for (unsigned i = 0; i < PARKED; i += 2)
        client_reset(&clients[i]);
    if (round % 2 == 0) { /* else the stop comes at the same time */
        WAIT_UNTIL(atomic_load(&l.gone) == PARKED / 2);
        answer_all(&l, answerers, 1);
        WAIT_UNTIL(atomic_load(&l.waiting) == PARKED / 2);
    }
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.taken, PARKED);
    CHECK_EQ(s.answered + s.shed, 0);
    if (round % 2 == 0)
        CHECK_EQ(s.dropped, PARKED / 2);
    CHECK_EQ(s.dropped + s.abandoned, PARKED);
    if (round % 3 == 0)
        host_release(&h);
    answer_all(&l, answerers, 0);
    WAIT_UNTIL(atomic_load(&l.waiting) == 0);
    if (round % 3 != 0)
        host_release(&h);
    for (unsigned i = 1; i < PARKED; i += 2)
        client_close(&clients[i]);
}

static void run_parked(const topology *shape, pool *answerers) {
    uint64_t rounds = stress_count(PARK_ROUNDS, 3);
    stress_phase(shape->name, 60);
    for (uint64_t i = 0; i < rounds; i++)
        park_round(shape, answerers, i);
    stress_report("%llu servers with %d requests each", (unsigned long long)rounds, PARKED);
}

/* -- queued -- */

static _Atomic int blocked;

static int on_block(turbo_request *req, void *user) {
    (void)user;
    WAIT_UNTIL(!atomic_load(&blocked));
    return turbo_request_reply(req, 200, NULL, "on", 2);
}

static int on_now(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, NULL, "now", 3);
}

static turbo_stats stats_of(host *h) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_stats(h->server, &s), 0);
    return s;
}

static uint64_t ended(host *h) {
    turbo_stats s = stats_of(h);
    return s.answered + s.dropped;
}

/* Fill the queue behind a handler that blocks. */
static void fill_queue(host *h, client *clients, uint64_t taken) {
    char wire[QUEUE_DEPTH * 40];
    size_t len = 0;
    for (unsigned i = 0; i < QUEUE_DEPTH; i++)
        len += (size_t)sprintf(wire + len, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    atomic_store(&blocked, 1);
    CHECK_EQ(client_open(&clients[0], h->port), 0);
    CHECK_EQ(client_send(&clients[0], "GET /block HTTP/1.1\r\nHost: a\r\n\r\n", 32), 0);
    WAIT_UNTIL(stats_of(h).taken == taken + 1);
    for (unsigned i = 1; i <= QUEUE_CLIENTS; i++) {
        CHECK_EQ(client_open(&clients[i], h->port), 0);
        CHECK_EQ(client_send(&clients[i], wire, len), 0);
    }
    WAIT_UNTIL(stats_of(h).taken == taken + 1 + QUEUE_CLIENTS * QUEUE_DEPTH);
}

static uint64_t queue_round(host *h, chance *c, uint64_t taken) {
    client clients[QUEUE_CLIENTS + 1];
    answer a;
    fill_queue(h, clients, taken);
    unsigned open_at = 1 + (unsigned)chance_below(c, QUEUE_CLIENTS); /* behind so many clients that have gone */
    for (unsigned i = 1; i <= QUEUE_CLIENTS; i++) {
        client_reset(&clients[i]);
        if (i == open_at)
            atomic_store(&blocked, 0);
    }
    CHECK_EQ(client_answer(&clients[0], &a), 1);
    CHECK_EQ(a.status, 200);
    client_close(&clients[0]);
    uint64_t all = taken + 1 + QUEUE_CLIENTS * QUEUE_DEPTH;
    WAIT_UNTIL(ended(h) == all);
    CHECK_EQ(stats_of(h).taken, all);
    return all;
}

static void run_queued(const topology *shape) {
    static const char *const settings[] = {"spill_percent", "0", NULL};
    host h = {.shape = shape};
    chance c = chance_of(1);
    uint64_t rounds = stress_count(QUEUE_ROUNDS, 5), taken = 0;
    stress_phase(shape->name, 60);
    host_open(&h, settings);
    /* The same shard for both. */
    host_route(&h, "GET", "/block", "placement=local", on_block, NULL);
    host_route(&h, "GET", "/now", "placement=local", on_now, NULL);
    CHECK_EQ(host_start(&h), 0);
    for (uint64_t i = 0; i < rounds; i++)
        taken = queue_round(&h, &c, taken);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.abandoned + s.shed, 0);
    host_release(&h);
    stress_report("%llu requests: %llu answered, %llu dropped", (unsigned long long)s.taken,
                  (unsigned long long)s.answered, (unsigned long long)s.dropped);
}

/* -- streamed -- */

typedef struct trickle {
    job job;
    turbo_request *req; /* a reference */
    pool *answerers;
} trickle;

static _Atomic uint64_t streams_begun, streams_ended, bodies_back;

static void body_back(void *user) {
    (void)user;
    atomic_fetch_add(&bodies_back, 1);
}

/* One part, and again, until the server is aborted. */
static void write_part(job *j) {
    trickle *t = (trickle *)(void *)j;
    int rc = turbo_request_respond_write(t->req, "part", 4);
    if (rc == 0 || rc == TURBO_EAGAIN) {
        pool_add(t->answerers, j);
        return;
    }
    CHECK_EQ(rc, TURBO_ECLOSED);
    CHECK_EQ(turbo_request_respond_end(t->req), 0);
    CHECK_EQ(turbo_request_respond_end(t->req), TURBO_ESTATE);
    turbo_request_release(t->req);
    free(t);
    atomic_fetch_add(&streams_ended, 1);
}

static int on_trickle(turbo_request *req, void *user) {
    trickle *t = malloc(sizeof *t);
    turbo_response *resp;
    CHECK(t != NULL);
    *t = (trickle){.job = {.fn = write_part}, .req = turbo_request_retain(req), .answerers = user};
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_body_ref(resp, "first", 5, body_back, NULL), 0);
    CHECK_EQ(turbo_request_respond_begin(req, resp), 0);
    pool_add(user, &t->job);
    atomic_fetch_add(&streams_begun, 1);
    return 0;
}

static void stream_round(const topology *shape, pool *answerers, uint64_t streams_before) {
    static const char *const settings[] = {"unsent_max_bytes", "1024", NULL};
    host h = {.shape = shape};
    client clients[STREAMS];
    host_open(&h, settings);
    host_route(&h, "GET", "/trickle", "placement=round_robin", on_trickle, answerers);
    CHECK_EQ(host_start(&h), 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        CHECK_EQ(client_open(&clients[i], h.port), 0);
        CHECK_EQ(client_send(&clients[i], "GET /trickle HTTP/1.1\r\nHost: a\r\n\r\n", 34), 0);
    }
    WAIT_UNTIL(atomic_load(&streams_begun) == streams_before + STREAMS);
    CHECK_EQ(turbo_server_abort(h.server), 0);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.taken, STREAMS);
    CHECK_EQ(s.abandoned, STREAMS);
    host_release(&h);
    WAIT_UNTIL(atomic_load(&streams_ended) == streams_before + STREAMS);
    WAIT_UNTIL(atomic_load(&bodies_back) == streams_before + STREAMS);
    for (unsigned i = 0; i < STREAMS; i++)
        client_close(&clients[i]);
}

static void run_streamed(const topology *shape, pool *answerers) {
    uint64_t rounds = stress_count(STREAM_ROUNDS, 3);
    stress_phase(shape->name, 60);
    for (uint64_t i = 0; i < rounds; i++)
        stream_round(shape, answerers, atomic_load(&streams_begun));
    stress_report("%llu servers with %d streams each", (unsigned long long)rounds, STREAMS);
}

int main(int argc, char **argv) {
    static pool answerers;
    stress_begin(argc, argv);
    pool_open(&answerers, 2);
    for (size_t i = 0; i < COUNT_OF(queue_shapes); i++)
        run_queued(&queue_shapes[i]);
    for (size_t i = 0; i < COUNT_OF(park_shapes); i++)
        run_parked(&park_shapes[i], &answerers);
    for (size_t i = 0; i < COUNT_OF(stream_shapes); i++)
        run_streamed(&stream_shapes[i], &answerers);
    pool_close(&answerers);
    return 0;
}
