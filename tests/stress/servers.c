/* servers.c - servers that start and stop under load, hundreds of them, in every way that the interface allows, while
 * clients come, go with a RST in the middle of requests and answers, and find whatever server is there at the time.
 *
 * Checked: whole answers with status 200 are right; the counters of a server that was waited for add up; every start,
 * stop and callback happens as often as it must; and in the end no descriptor and no thread is left. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"
#include "stress.h"

#define CLIENTS 3
#define DEPTH_MAX 12
#define SERVERS 360
#define SERVE_MAX 200 /* requests that a server takes before it ends */

static const topology shapes[] = {{"io1", 1, 2, 0}, {"io2", 2, 2, 0}, {"io0", 0, 2, 0}, {"driven.io1", 1, 2, 1},
                                  {"driven.io0", 0, 2, 1}};

static pool answerers;
static _Atomic unsigned port; /* of the server that runs; 0: none */
static _Atomic int clients_end;

/* -- clients -- */

typedef struct client_thread {
    unsigned index;
    uint64_t next_id;
    uint64_t sent, right, refused, resets;
    chance chance;
    client client;
    pthread_t thread;
} client_thread;

typedef struct asked {
    uint64_t id[DEPTH_MAX];
    size_t count;
} asked;

static size_t put_request(client_thread *t, char *to, uint64_t id) {
    char body[PAYLOAD_MAX];
    int kind = (int)chance_below(&t->chance, KINDS);
    const char *placement = placement_names[chance_below(&t->chance, PLACEMENTS)];
    if (kind != KIND_ECHO)
        return (size_t)sprintf(to, "GET /%s/%s/%llu HTTP/1.1\r\nHost: a\r\n\r\n", kind_names[kind], placement,
                               (unsigned long long)id);
    size_t len = payload_of(id, body);
    int head = sprintf(to, "POST /echo/%s/%llu HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", placement,
                       (unsigned long long)id, len);
    memcpy(to + head, body, len);
    return (size_t)head + len;
}

/* Send a burst, of which the last bytes may be missing. */
static asked send_burst(client_thread *t, int cut) {
    static _Thread_local char wire[DEPTH_MAX * (PAYLOAD_MAX + 256)];
    asked a = {.count = 1 + (size_t)chance_below(&t->chance, DEPTH_MAX)};
    size_t len = 0;
    for (size_t i = 0; i < a.count; i++) {
        a.id[i] = ((uint64_t)t->index + 1) << 40 | t->next_id++;
        len += put_request(t, wire + len, a.id[i]);
    }
    t->sent += a.count;
    (void)client_send(&t->client, wire, cut ? 1 + chance_below(&t->chance, len) : len); /* the server may have gone */
    return a;
}

/* @return 0 when the connection has ended. */
static int take_answer(client_thread *t, uint64_t id) {
    answer a;
    if (client_answer(&t->client, &a) <= 0)
        return 0;
    if (a.status == 200) {
        CHECK(payload_is(id, a.body, a.len));
        t->right++;
    } else {
        CHECK_EQ(a.status, 503);
        t->refused++;
    }
    return !a.close;
}

static int take_all(client_thread *t, const asked *a) {
    for (size_t i = 0; i < a->count; i++)
        if (!take_answer(t, a->id[i]))
            return 0;
    return 1;
}

static void visit(client_thread *t) {
    for (int goes_on = 1; goes_on;) {
        uint64_t way = chance_below(&t->chance, 8);
        asked a = send_burst(t, way == 0);
        goes_on = way >= 3 && take_all(t, &a);
        if (way == 1) /* in the middle of the answers */
            (void)client_skip(&t->client, 1 + chance_below(&t->chance, 3000));
        if (way <= 2) {
            client_reset(&t->client);
            t->resets++;
        }
    }
    client_close(&t->client);
}

static void *run_client(void *arg) {
    client_thread *t = arg;
    while (!atomic_load(&clients_end)) {
        unsigned to = atomic_load(&port);
        if (to == 0 || client_open(&t->client, (uint16_t)to) < 0)
            stress_pause();
        else
            visit(t);
    }
    return NULL;
}

/* -- shards begin and end as often as each other -- */

static _Atomic uint64_t begun, ended;
static _Atomic int fail_start; /* shard that does not begin; -1: none */

static int start_shard(void *self, turbo_shard *shard) {
    (void)self;
    if ((int)turbo_shard_index(shard) == atomic_load(&fail_start))
        return TURBO_EUSER;
    atomic_fetch_add(&begun, 1);
    return 0;
}

static void stop_shard(void *self, turbo_shard *shard) {
    (void)self;
    (void)shard;
    atomic_fetch_add(&ended, 1);
}

/* -- servers -- */

/* As long as the program: nobody tells when a server that was released is done with its host. */
static host **hosts;

static host *new_host(chance *c, int lending) {
    static const char *const settings[] = {"unsent_max_bytes", "4096", "drain_timeout_ms", "300", "queue_max", "64",
                                           NULL};
    static const char *const hasty[] = {"unsent_max_bytes", "4096", "drain_timeout_ms", "0", "inflight_max", "8", NULL};
    host *h = calloc(1, sizeof *h);
    CHECK(h != NULL);
    h->shape = &shapes[chance_below(c, COUNT_OF(shapes))];
    h->ops.start_shard = start_shard;
    h->ops.stop_shard = stop_shard;
    kinds_begin(h, &answerers, lending ? KINDS_STOPPED : KINDS_NO_LENDING);
    host_open(h, chance_below(c, 2) == 0 ? settings : hasty);
    kinds_route(h);
    return h;
}

static uint64_t taken(host *h) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_stats(h->server, &s), 0);
    return s.taken;
}

/* Let clients come until so many requests were taken. */
static void serve(host *h, chance *c) {
    uint64_t until = chance_below(c, SERVE_MAX);
    atomic_store(&port, h->port);
    WAIT_UNTIL(taken(h) >= until);
}

static void check_end(host *h) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_wait(h->server), 0);
    CHECK_EQ(turbo_server_stats(h->server, &s), 0);
    CHECK_EQ(s.taken, s.answered + s.shed + s.dropped + s.abandoned);
    CHECK_EQ(s.connections, 0);
    kinds_take_back();
}

/* -- ways to end -- */

static void end_by_stop(host *h) {
    atomic_store(&port, 0);
    CHECK_EQ(turbo_server_stop(h->server, NULL, NULL), 0);
    check_end(h);
    host_release(h);
}

/* The server goes while its clients are there, and nobody waits. */
static void *release_elsewhere(void *arg) {
    turbo_server_release(arg);
    return NULL;
}

static void end_by_release(host *h) {
    stress_join(stress_thread(release_elsewhere, h->server));
    atomic_store(&port, 0);
}

static void on_stopped(turbo_server *server, void *user) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_stats(server, &s), 0);
    CHECK_EQ(s.taken, s.answered + s.shed + s.dropped + s.abandoned);
    CHECK_EQ(atomic_fetch_add((_Atomic unsigned *)user, 1), 0);
}

static void *stop_with_callback(void *arg) {
    static _Thread_local _Atomic unsigned calls;
    host *h = arg;
    atomic_store(&calls, 0);
    int rc = turbo_server_stop(h->server, on_stopped, &calls);
    CHECK(rc == 0 || rc == TURBO_ESTATE);
    CHECK_EQ(turbo_server_wait(h->server), 0);
    if (rc == 0)
        WAIT_UNTIL(atomic_load(&calls) == 1);
    return rc == 0 ? arg : NULL;
}

/* Of two that want to be told one is. */
static void end_by_callback(host *h) {
    void *told = NULL;
    pthread_t other = stress_thread(stop_with_callback, h);
    void *told_here = stop_with_callback(h);
    CHECK_EQ(pthread_join(other, &told), 0);
    CHECK((told == NULL) != (told_here == NULL));
    atomic_store(&port, 0);
    check_end(h);
    host_release(h);
}

static void stop_on_shard(turbo_shard *shard, int status, void *user) {
    host *h = user;
    (void)shard;
    CHECK_EQ(status, 0);
    CHECK_EQ(turbo_server_stop(h->server, NULL, NULL), 0);
    CHECK_EQ(turbo_server_wait(h->server), TURBO_ESTATE);
}

static void end_on_shard(host *h) {
    CHECK_EQ(turbo_shard_post(turbo_server_shard(h->server, 0), stop_on_shard, h), 0);
    check_end(h);
    atomic_store(&port, 0);
    host_release(h);
}

/* Impatient: a stop and an abort at once, then nobody waits for the drivers either. */
static void end_by_abort(host *h) {
    CHECK_EQ(turbo_server_stop(h->server, NULL, NULL), 0);
    CHECK_EQ(turbo_server_abort(h->server), 0);
    check_end(h);
    atomic_store(&port, 0);
    host_release(h);
}

static void (*const ends[])(host *) = {end_by_stop, end_by_release, end_by_callback, end_on_shard, end_by_abort};

/* -- starts -- */

static void *stop_early(void *arg) {
    host *h = arg;
    int rc;
    while ((rc = turbo_server_stop(h->server, NULL, NULL)) == TURBO_ESTATE)
        sched_yield();
    CHECK_EQ(rc, 0);
    return NULL;
}

static void stop_during_start(host *h) {
    pthread_t stopper = stress_thread(stop_early, h);
    CHECK_EQ(host_start(h), 0);
    stress_join(stopper);
    check_end(h);
    host_release(h);
}

static void start_that_fails(host *h, chance *c) {
    atomic_store(&fail_start, (int)chance_below(c, h->shape->shards));
    CHECK_EQ(turbo_server_start(h->server), TURBO_EUSER);
    CHECK_EQ(turbo_server_stop(h->server, NULL, NULL), TURBO_ESTATE);
    atomic_store(&fail_start, -1);
    host_release(h);
}

static void start_and_end(host *h, chance *c, uint64_t way) {
    CHECK_EQ(host_start(h), 0);
    CHECK_EQ(turbo_server_start(h->server), TURBO_ESTATE);
    serve(h, c);
    ends[way](h);
}

/* -- the storm -- */

static void run_server(uint64_t i, chance *c) {
    uint64_t way = chance_below(c, COUNT_OF(ends) + 2);
    /* A host that is waited for says when lent bodies are free; those of a released server are with the others'. */
    hosts[i] = new_host(c, way < COUNT_OF(ends) && ends[way] != end_by_release);
    if (way < COUNT_OF(ends))
        start_and_end(hosts[i], c, way);
    else if (way == COUNT_OF(ends))
        stop_during_start(hosts[i]);
    else if (chance_below(c, 2) == 0)
        start_that_fails(hosts[i], c);
    else
        host_release(hosts[i]); /* was never started */
}

static void run_storm(uint64_t count) {
    static client_thread clients[CLIENTS];
    chance c = chance_of(CLIENTS);
    uint64_t right = 0, refused = 0, resets = 0, sent = 0;
    hosts = calloc(count, sizeof *hosts);
    CHECK(hosts != NULL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (client_thread){.index = i, .chance = chance_of(i)};
        clients[i].thread = stress_thread(run_client, &clients[i]);
    }
    for (uint64_t i = 0; i < count; i++)
        run_server(i, &c);
    atomic_store(&clients_end, 1);
    for (unsigned i = 0; i < CLIENTS; i++) {
        stress_join(clients[i].thread);
        sent += clients[i].sent;
        right += clients[i].right;
        refused += clients[i].refused;
        resets += clients[i].resets;
    }
    for (uint64_t i = 0; i < count; i++)
        host_join(hosts[i]);
    stress_report("%llu servers; %llu requests sent, %llu answered, %llu refused, %llu connections reset",
                  (unsigned long long)count, (unsigned long long)sent, (unsigned long long)right,
                  (unsigned long long)refused, (unsigned long long)resets);
}

/* The first loop makes libuv open a pipe for good. */
static void warm_up(void) {
    host h = {.shape = &shapes[0]};
    host_open(&h, NULL);
    CHECK_EQ(host_start(&h), 0);
    (void)host_stop(&h);
    host_release(&h);
}

int main(int argc, char **argv) {
    stress_begin(argc, argv);
    atomic_store(&fail_start, -1);
    stress_phase("servers", 240);
    pool_open(&answerers, 2);
    unsigned threads = stress_threads();
    warm_up();
    WAIT_UNTIL(stress_threads() == threads);
    unsigned fds = stress_fds();
    run_storm(stress_count(SERVERS, 20));
    kinds_end();
    WAIT_UNTIL(stress_fds() == fds && stress_threads() == threads);
    CHECK_EQ(begun, ended);
    pool_close(&answerers);
    return 0;
}
