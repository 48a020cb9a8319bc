/* answers.c - a storm of requests with unique ids over real sockets, answered from everywhere: every answer is compared
 * with its id, byte for byte, and the server's counters with the clients'.
 *
 * Topologies: one and two I/O loops, shards that do their own I/O, driven shards of both kinds. Placements: each kind
 * of handler has a route for each. One more round has short queues, so that requests are shed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"
#include "stress.h"

#define REQUESTS 1020000 /* in all rounds */
#define CLIENTS 2        /* threads       */
#define CONNECTIONS 6    /* of a thread   */
#define DEPTH_MAX 24     /* requests of one burst on a connection */

static const topology shapes[] = {{"answers.io1", 1, 2, 0},        {"answers.io2", 2, 3, 0},
                                  {"answers.io0", 0, 2, 0},        {"answers.driven.io1", 1, 2, 1},
                                  {"answers.driven.io0", 0, 2, 1}, {"answers.shed", 1, 2, 0}};
#define ROUNDS COUNT_OF(shapes)

/* -- clients -- */

typedef struct asked {
    uint64_t id;
    int kind;
} asked;

typedef struct line {
    client client;
    asked asked[DEPTH_MAX];
    size_t count;
} line;

typedef struct client_thread {
    unsigned index;
    uint16_t port;
    int kinds; /* the first so many */
    uint64_t requests;
    uint64_t sent, answered, shed, opened;
    chance chance;
    line lines[CONNECTIONS];
    char wire[DEPTH_MAX * (PAYLOAD_MAX + 256)];
    pthread_t thread;
} client_thread;

static size_t put_request(client_thread *t, char *to, const asked *q, int last) {
    char body[PAYLOAD_MAX];
    const char *close = last ? "Connection: close\r\n" : "";
    int placement = (int)chance_below(&t->chance, PLACEMENTS);
    if (q->kind != KIND_ECHO)
        return (size_t)sprintf(to, "GET /%s/%s/%llu HTTP/1.1\r\nHost: a\r\n%s\r\n", kind_names[q->kind],
                               placement_names[placement], (unsigned long long)q->id, close);
    size_t len = payload_of(q->id, body);
    int head = sprintf(to, "POST /echo/%s/%llu HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n%s\r\n",
                       placement_names[placement], (unsigned long long)q->id, len, close);
    memcpy(to + head, body, len);
    return (size_t)head + len;
}

/* A burst in one piece. */
static void send_burst(client_thread *t, line *l, int last) {
    size_t len = 0, count = 1 + (size_t)chance_below(&t->chance, DEPTH_MAX);
    for (l->count = 0; l->count < count && t->sent < t->requests; t->sent++) {
        asked *q = &l->asked[l->count++];
        *q = (asked){((uint64_t)t->index + 1) << 40 | t->sent, (int)chance_below(&t->chance, (uint64_t)t->kinds)};
        len += put_request(t, t->wire + len, q, last && (l->count == count || t->sent + 1 == t->requests));
    }
    CHECK_EQ(client_send(&l->client, t->wire, len), 0);
}

static void check_answer(client_thread *t, const asked *q, const answer *a) {
    if (a->status == 503) {
        CHECK(a->retry_after);
        t->shed++;
        return;
    }
    CHECK_EQ(a->status, 200);
    if (!payload_is(q->id, a->body, a->len))
        stress_fail(__FILE__, __LINE__, "not the answer to %llu (%s): \"%.*s\"", (unsigned long long)q->id,
                    kind_names[q->kind], (int)(a->len < 60 ? a->len : 60), a->body);
    t->answered++;
}

static void take_burst(client_thread *t, line *l, int last) {
    answer a;
    for (size_t i = 0; i < l->count; i++) {
        CHECK_EQ(client_answer(&l->client, &a), 1);
        check_answer(t, &l->asked[i], &a);
        CHECK_EQ(a.close, last && i + 1 == l->count);
    }
    if (!last)
        return;
    if (l->count > 0)
        CHECK_EQ(client_answer(&l->client, &a), 0); /* the server ends the connection, without a reset */
    client_close(&l->client);
}

static void *run_client(void *arg) {
    client_thread *t = arg;
    int last[CONNECTIONS];
    while (t->sent < t->requests) {
        for (size_t i = 0; i < CONNECTIONS; i++) {
            line *l = &t->lines[i];
            if (l->client.buf == NULL) {
                CHECK_EQ(client_open(&l->client, t->port), 0);
                t->opened++;
            }
            last[i] = chance_below(&t->chance, 20) == 0;
            send_burst(t, l, last[i]);
        }
        for (size_t i = 0; i < CONNECTIONS; i++)
            take_burst(t, &t->lines[i], last[i]);
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (t->lines[i].client.buf != NULL)
            client_close(&t->lines[i].client);
    return NULL;
}

/* -- rounds -- */

static void run_clients(client_thread *clients, const host *h, int kinds, uint64_t requests) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (client_thread){.index = i, .port = h->port, .kinds = kinds, .requests = requests / CLIENTS};
        clients[i].chance = chance_of(i);
        clients[i].thread = stress_thread(run_client, &clients[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        stress_join(clients[i].thread);
}

/* Small: answers and streams wait for room all the time. Large: hardly ever. */
static const char *const small[] = {"unsent_max_bytes", "1024", "pipeline_max", "16", NULL};
static const char *const large[] = {"unsent_max_bytes", "65536", NULL};
static const char *const shed_settings[] = {"queue_max", "4", "batch_max", "2", "inflight_max", "4", NULL};

static uint64_t run_round(const topology *shape, client_thread *clients, pool *answerers, int sheds) {
    host h = {.shape = shape};
    uint64_t sent = 0, answered = 0, shed = 0, opened = 0;
    stress_phase(shape->name, 120);
    kinds_begin(&h, answerers, KINDS_TO_THE_END);
    host_open(&h, sheds ? shed_settings : shape->io_threads < 2 ? small : large);
    kinds_route(&h);
    CHECK_EQ(host_start(&h), 0);
    /* Bodies can be lent only to an executor that handles events, which the driven ones do. */
    run_clients(clients, &h, shape->driven ? KINDS : KIND_LEND, stress_count(REQUESTS / ROUNDS, 2000));
    kinds_end();
    turbo_stats s = host_stop(&h);
    for (unsigned i = 0; i < CLIENTS; i++) {
        sent += clients[i].sent;
        answered += clients[i].answered;
        shed += clients[i].shed;
        opened += clients[i].opened;
    }
    CHECK_EQ(s.taken, sent);
    CHECK_EQ(s.answered, answered);
    CHECK_EQ(s.shed, shed);
    CHECK_EQ(s.dropped + s.abandoned, 0);
    CHECK_EQ(s.accepted, opened);
    CHECK((s.shed > 0) == sheds);
    host_release(&h);
    stress_report("%llu requests on %llu connections: %llu answered, %llu shed", (unsigned long long)sent,
                  (unsigned long long)opened, (unsigned long long)answered, (unsigned long long)shed);
    return sent;
}

int main(int argc, char **argv) {
    static client_thread clients[CLIENTS];
    static pool answerers;
    uint64_t sum = 0;
    stress_begin(argc, argv);
    pool_open(&answerers, 2);
    for (size_t i = 0; i < ROUNDS; i++)
        sum += run_round(&shapes[i], clients, &answerers, i == ROUNDS - 1);
    pool_close(&answerers);
    printf("%llu requests in all\n", (unsigned long long)sum);
    return 0;
}
