/* submit.c - requests without a connection, from several threads, into short queues: each ends exactly once.
 *
 * First everything is answered, however often TURBO_EAGAIN comes. Then servers are stopped while threads submit: a
 * request that was accepted ends with its answer or with TURBO_ECLOSED, one that was refused never ends. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "kinds.h"
#include "stress.h"

#define SUBMITTERS 3
#define REQUESTS 150000 /* of a topology, in the first part */
#define STOPS 40        /* of a topology, in the second     */
#define STOP_AFTER_MAX 300

static const topology shapes[] = {
    {"submit.io1", 1, 2, 0}, {"submit.io0", 0, 2, 0}, {"submit.driven.io1", 1, 2, 1}, {"submit.driven.io0", 0, 2, 1}};
static const topology stop_shapes[] = {{"submit.stop.io1", 1, 2, 0},
                                       {"submit.stop.io0", 0, 2, 0},
                                       {"submit.stop.driven.io1", 1, 2, 1},
                                       {"submit.stop.driven.io0", 0, 2, 1}};

static const int kinds[] = {KIND_NOW, KIND_LATER, KIND_RESPONSE, KIND_TIMER, KIND_POST, KIND_STREAM, KIND_BATCH,
                            KIND_ECHO, KIND_POOL, KIND_FEW};

/* What is known of one request. */
typedef struct ticket {
    uint64_t id;
    _Atomic unsigned ends; /* calls of its turbo_done_fn */
    int status;            /* given to that              */
} ticket;

typedef struct submitter {
    host *host;
    unsigned index;
    uint64_t requests;
    int stops; /* the server is stopped meanwhile */
    ticket *tickets;
    uint64_t accepted, again, refused, unused;
    chance chance;
    pthread_t thread;
} submitter;

static _Atomic uint64_t answered, closed;

static void on_done(turbo_request *req, int status, const turbo_response *resp, void *user) {
    ticket *t = user;
    (void)req;
    t->status = status;
    CHECK_EQ(atomic_fetch_add(&t->ends, 1), 0);
    if (status == TURBO_ECLOSED) {
        CHECK(resp == NULL);
        atomic_fetch_add(&closed, 1);
        return;
    }
    turbo_str body = turbo_response_body(resp);
    CHECK_EQ(status, 0);
    CHECK_EQ(turbo_response_status(resp), 200);
    CHECK(payload_is(t->id, body.data, body.len));
    atomic_fetch_add(&answered, 1);
}

static void set_body(turbo_request *req, uint64_t id) {
    char body[PAYLOAD_MAX];
    CHECK_EQ(turbo_request_body_set(req, body, payload_of(id + 1, body)), 0); /* replaced by the next */
    CHECK_EQ(turbo_request_body_set(req, body, payload_of(id, body)), 0);
}

static int make(submitter *s, turbo_request **out, ticket *t) {
    char target[64];
    int kind = kinds[chance_below(&s->chance, COUNT_OF(kinds))];
    snprintf(target, sizeof target, "/%s/local/%llu", kind_names[kind], (unsigned long long)t->id);
    int rc = turbo_request_new(out, s->host->server, kind == KIND_ECHO ? "POST" : "GET", target, on_done, t);
    if (rc == 0 && kind == KIND_ECHO)
        set_body(*out, t->id);
    return rc;
}

/* @return 0; TURBO_ECLOSED. */
static int submit(submitter *s, turbo_request *req) {
    turbo_shard *shard = turbo_server_shard(s->host->server, chance_below(&s->chance, s->host->shape->shards));
    for (;;) {
        int rc = turbo_shard_submit(shard, req);
        if (rc != TURBO_EAGAIN)
            return rc;
        s->again++;
        sched_yield();
    }
}

/* @return 0 when the server takes no more. */
static int run_one(submitter *s, ticket *t) {
    turbo_request *req;
    int rc = make(s, &req, t);
    if (rc == TURBO_ECLOSED)
        return 0;
    CHECK_EQ(rc, 0);
    if (chance_below(&s->chance, 50) == 0) { /* given back without having been submitted */
        turbo_request_release(req);
        s->unused++;
        return 1;
    }
    rc = submit(s, req);
    if (rc == 0) {
        s->accepted++;
        if (chance_below(&s->chance, 8) == 0)
            CHECK_EQ(turbo_shard_submit(turbo_server_shard(s->host->server, 0), req), TURBO_ESTATE);
    } else {
        CHECK_EQ(rc, TURBO_ECLOSED);
        s->refused++;
    }
    turbo_request_release(req);
    return rc == 0;
}

static void *run_submitter(void *arg) {
    submitter *s = arg;
    for (uint64_t i = 0; i < s->requests; i++) {
        ticket *t = &s->tickets[i];
        t->id = ((uint64_t)s->index + 1) << 40 | i;
        if (!run_one(s, t)) {
            CHECK(s->stops);
            break;
        }
    }
    return NULL;
}

/* -- rounds -- */

typedef struct totals {
    uint64_t accepted, again, refused, unused, answered, abandoned;
} totals;

static void begin_round(host *h, submitter *submitters, pool *answerers, uint64_t requests, int stops) {
    static const char *const settings[] = {"queue_max", "16", "inflight_max", "24", "batch_max", "8", NULL};
    atomic_store(&answered, 0);
    atomic_store(&closed, 0);
    kinds_begin(h, answerers, stops ? KINDS_STOPPED : KINDS_TO_THE_END);
    host_open(h, settings);
    kinds_route(h);
    CHECK_EQ(host_start(h), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (submitter){.host = h, .index = i, .requests = requests / SUBMITTERS, .stops = stops};
        submitters[i].tickets = calloc(requests / SUBMITTERS, sizeof(ticket));
        CHECK(submitters[i].tickets != NULL);
        submitters[i].chance = chance_of(i);
        submitters[i].thread = stress_thread(run_submitter, &submitters[i]);
    }
}

/* Each that was accepted has ended once, and no other. */
static uint64_t count_ends(const submitter *s) {
    uint64_t ends = 0;
    for (uint64_t i = 0; i < s->requests; i++) {
        CHECK(s->tickets[i].ends <= 1);
        ends += s->tickets[i].ends;
    }
    CHECK_EQ(ends, s->accepted);
    return ends;
}

static void end_round(host *h, submitter *submitters, totals *sum) {
    uint64_t accepted = 0;
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitter *s = &submitters[i];
        accepted += s->accepted;
        sum->again += s->again;
        sum->refused += s->refused;
        sum->unused += s->unused;
    }
    WAIT_UNTIL(atomic_load(&answered) + atomic_load(&closed) == accepted);
    kinds_end();
    turbo_stats s = host_stop(h);
    CHECK_EQ(s.taken, accepted);
    /* What was with another thread when the shard ended counts as abandoned, and is answered nevertheless. */
    CHECK(s.answered <= atomic_load(&answered));
    CHECK(s.abandoned >= atomic_load(&closed));
    host_release(h);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        (void)count_ends(&submitters[i]);
        free(submitters[i].tickets);
    }
    sum->accepted += accepted;
    sum->answered += s.answered;
    sum->abandoned += s.abandoned;
}

static void report(const totals *sum) {
    stress_report("%llu submitted: %llu answered, %llu abandoned; %llu times full, %llu refused, %llu given back",
                  (unsigned long long)sum->accepted, (unsigned long long)sum->answered,
                  (unsigned long long)sum->abandoned, (unsigned long long)sum->again, (unsigned long long)sum->refused,
                  (unsigned long long)sum->unused);
}

static void run_to_end(const topology *shape, pool *answerers) {
    host h = {.shape = shape};
    submitter submitters[SUBMITTERS];
    totals sum = {0};
    stress_phase(shape->name, 120);
    begin_round(&h, submitters, answerers, stress_count(REQUESTS, 3000), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        stress_join(submitters[i].thread);
    end_round(&h, submitters, &sum);
    CHECK_EQ(sum.answered, sum.accepted);
    CHECK_EQ(sum.abandoned, 0);
    CHECK(sum.again > 0);
    report(&sum);
}

static void run_stops(const topology *shape, pool *answerers) {
    submitter submitters[SUBMITTERS];
    totals sum = {0};
    uint64_t rounds = stress_count(STOPS, 4);
    chance c = chance_of(SUBMITTERS);
    stress_phase(shape->name, 120);
    for (uint64_t i = 0; i < rounds; i++) {
        host h = {.shape = shape};
        uint64_t after = chance_below(&c, STOP_AFTER_MAX);
        begin_round(&h, submitters, answerers, 300000, 1);
        WAIT_UNTIL(atomic_load(&answered) >= after);
        CHECK_EQ(i % 2 == 0 ? turbo_server_stop(h.server, NULL, NULL) : turbo_server_abort(h.server), 0);
        for (unsigned k = 0; k < SUBMITTERS; k++)
            stress_join(submitters[k].thread);
        end_round(&h, submitters, &sum);
    }
    report(&sum);
}

int main(int argc, char **argv) {
    static pool answerers;
    stress_begin(argc, argv);
    pool_open(&answerers, 2);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        run_to_end(&shapes[i], &answerers);
    for (size_t i = 0; i < COUNT_OF(stop_shapes); i++)
        run_stops(&stop_shapes[i], &answerers);
    pool_close(&answerers);
    return 0;
}
