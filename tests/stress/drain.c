/* drain.c - servers that are stopped when requests wait everywhere: in the accept queue, in sockets, on their way from
 * one I/O loop to another, with shards and with other threads. Whatever was sent before the stop is answered, and the
 * connection ends behind it without a reset. With drain_idle_ms, so is what clients send until they are told to close.
 *
 * The listener is shared by all I/O loops, which are kept busy by a handler while the clients connect: so one finds
 * many connections, and passes a part of them to others that may have none and would be done. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kinds.h"
#include "stress.h"

#define CONNECTIONS 60
#define DEPTH 3
#define ROUNDS 60

static const topology shapes[] = {{"drain.io1", 1, 2, 0},        {"drain.io2", 2, 2, 0},        {"drain.io0", 0, 2, 0},
                                  {"drain.driven.io1", 1, 2, 1}, {"drain.driven.io0", 0, 2, 1}};

static const int kinds[] = {KIND_NOW, KIND_INLINE, KIND_LATER, KIND_TIMER, KIND_POST, KIND_BATCH};

static _Atomic unsigned held; /* I/O loops in on_hold() */
static _Atomic int hold;

static int on_hold(turbo_request *req, void *user) {
    (void)user;
    atomic_fetch_add(&held, 1);
    WAIT_UNTIL(!atomic_load(&hold));
    return turbo_request_reply(req, 200, NULL, "held", 4);
}

/* @return the port of a listener that is one socket for all loops. */
static uint16_t listen_shared(host *h) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    CHECK_EQ(listen(fd, 512), 0);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    CHECK_EQ(turbo_server_listen_fd(h->server, fd), 0);
    return ntohs(at.sin_port);
}

/* Occupy every I/O loop. One that is held accepts nothing, so each connection finds another. */
static unsigned hold_loops(const host *h, uint16_t port, client *holders) {
    unsigned loops = h->shape->io_threads == 0 ? h->shape->shards : h->shape->io_threads;
    atomic_store(&held, 0);
    atomic_store(&hold, 1);
    for (unsigned i = 0; i < loops; i++) {
        CHECK_EQ(client_open(&holders[i], port), 0);
        CHECK_EQ(client_send(&holders[i], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n", 31), 0);
        WAIT_UNTIL(atomic_load(&held) == i + 1);
    }
    return loops;
}

static void send_requests(client *c, uint64_t id, chance *ch) {
    for (uint64_t i = 0; i < DEPTH; i++) {
        char wire[96];
        int len = snprintf(wire, sizeof wire, "GET /%s/%s/%llu HTTP/1.1\r\nHost: a\r\n\r\n",
                           kind_names[kinds[chance_below(ch, COUNT_OF(kinds))]],
                           placement_names[chance_below(ch, PLACEMENTS)], (unsigned long long)(id + i));
        CHECK_EQ(client_send(c, wire, (size_t)len), 0);
    }
}

static void expect_end(client *c) {
    answer a;
    CHECK_EQ(client_answer(c, &a), 0);
    client_close(c);
}

static void expect_answers(client *c, uint64_t id) {
    answer a;
    for (uint64_t i = 0; i < DEPTH; i++) {
        CHECK_EQ(client_answer(c, &a), 1);
        CHECK_EQ(a.status, 200);
        CHECK(payload_is(id + i, a.body, a.len));
        CHECK(!a.close || i == DEPTH - 1);
    }
    expect_end(c);
}

static void run_round(const topology *shape, pool *answerers, chance *ch) {
    host h = {.shape = shape};
    client clients[CONNECTIONS], holders[HOST_SHARDS_MAX];
    kinds_begin(&h, answerers, KINDS_STOPPED);
    host_open(&h, NULL);
    kinds_route(&h);
    host_route(&h, "GET", "/hold", "executor=inline", on_hold, NULL);
    uint16_t port = listen_shared(&h);
    CHECK_EQ(host_start(&h), 0);
    unsigned loops = hold_loops(&h, port, holders);
    for (uint64_t i = 0; i < CONNECTIONS; i++) {
        CHECK_EQ(client_open(&clients[i], port), 0);
        send_requests(&clients[i], i * DEPTH, ch);
    }
    CHECK_EQ(turbo_server_stop(h.server, NULL, NULL), 0);
    atomic_store(&hold, 0);
    answer a;
    for (unsigned i = 0; i < loops; i++) {
        CHECK_EQ(client_answer(&holders[i], &a), 1);
        expect_end(&holders[i]);
    }
    for (uint64_t i = 0; i < CONNECTIONS; i++)
        expect_answers(&clients[i], i * DEPTH);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.answered, loops + CONNECTIONS * DEPTH);
    CHECK_EQ(s.taken, s.answered);
    host_release(&h);
}

/* -- clients go on, and are told to close -- */

#define IDLE_CONNECTIONS 24 /* a thread */
#define IDLE_THREADS 2
#define IDLE_ROUNDS 30
#define IDLE_BEFORE 150 /* answers before the stop */

static const int idle_kinds[] = {KIND_NOW,   KIND_INLINE, KIND_INLINE_LATER, KIND_LATER,         KIND_TIMER, KIND_POST,
                                 KIND_BATCH, KIND_STREAM, KIND_STREAM_LATER, KIND_STREAM_INLINE, KIND_POOL,  KIND_HOP};

static _Atomic uint64_t idle_answers;
static _Atomic unsigned idle_opened; /* threads whose clients are connected, perhaps not accepted yet */

typedef struct idler {
    uint16_t port;
    uint64_t number;
} idler;

/* @return 0 when that was the last answer on this connection. */
static int ask_once(client *c, uint64_t id, chance *ch) {
    answer a;
    char wire[96];
    int len = snprintf(wire, sizeof wire, "GET /%s/%s/%llu HTTP/1.1\r\nHost: a\r\n\r\n",
                       kind_names[idle_kinds[chance_below(ch, COUNT_OF(idle_kinds))]],
                       placement_names[chance_below(ch, PLACEMENTS)], (unsigned long long)id);
    CHECK_EQ(client_send(c, wire, (size_t)len), 0);
    CHECK_EQ(client_answer(c, &a), 1);
    CHECK_EQ(a.status, 200);
    CHECK(payload_is(id, a.body, a.len));
    atomic_fetch_add(&idle_answers, 1);
    return !a.close;
}

/* One connection at a time is asked; all others are idle. */
static void *idle_clients(void *arg) {
    const idler *self = arg;
    client clients[IDLE_CONNECTIONS];
    chance ch = chance_of(self->number);
    unsigned left = IDLE_CONNECTIONS;
    for (unsigned i = 0; i < left; i++)
        CHECK_EQ(client_open(&clients[i], self->port), 0);
    atomic_fetch_add(&idle_opened, 1);
    for (uint64_t id = self->number << 32; left > 0; id++) {
        unsigned i = (unsigned)chance_below(&ch, left);
        if (ask_once(&clients[i], id, &ch))
            continue;
        expect_end(&clients[i]);
        clients[i] = clients[--left];
    }
    return NULL;
}

/* A stop with drain_idle_ms: no request fails, also of those that are sent while it begins, or behind it. */
static uint64_t run_idle(const topology *shape, pool *answerers) {
    static const char *const settings[] = {"drain_idle_ms", "86400000", "idle_timeout_ms", "0", NULL};
    host h = {.shape = shape};
    idler idlers[IDLE_THREADS];
    pthread_t threads[IDLE_THREADS];
    kinds_begin(&h, answerers, KINDS_STOPPED);
    host_open(&h, settings);
    kinds_route(&h);
    CHECK_EQ(host_start(&h), 0);
    atomic_store(&idle_answers, 0);
    atomic_store(&idle_opened, 0);
    for (unsigned i = 0; i < IDLE_THREADS; i++) {
        idlers[i] = (idler){h.port, i + 1};
        threads[i] = stress_thread(idle_clients, &idlers[i]);
    }
    WAIT_UNTIL(atomic_load(&idle_opened) == IDLE_THREADS && atomic_load(&idle_answers) >= IDLE_BEFORE);
    CHECK_EQ(turbo_server_stop(h.server, NULL, NULL), 0);
    for (unsigned i = 0; i < IDLE_THREADS; i++)
        stress_join(threads[i]);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.answered, atomic_load(&idle_answers));
    CHECK_EQ(s.taken, s.answered);
    host_release(&h);
    return s.answered;
}

/* -- one loop is late -- */

#define LATE_CONNECTIONS 80
#define LATE_ROUNDS 4
#define LARGE_MAX 6 /* connections that ask for a large answer, which they read when all else is over */
#define LARGE_BYTES ((size_t)8 << 20)

static char large[LARGE_BYTES];

static int on_large(turbo_request *req, void *user) {
    turbo_response *resp;
    (void)user;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_body_static(resp, large, LARGE_BYTES), 0);
    return turbo_request_respond(req, resp);
}

static void expect_large(client *c) {
    static char buf[1 << 18];
    size_t sum = c->end - c->at; /* read behind the answer before */
    long n;
    while ((n = client_read(c, buf, sizeof buf)) > 0)
        sum += (size_t)n;
    CHECK_EQ(n, 0);
    CHECK(sum > LARGE_BYTES);
    client_close(c);
}

static int on_fast(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, NULL, "fast", 4);
}

static uint64_t open_connections(host *h) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_stats(h->server, &s), 0);
    return s.connections;
}

static void ask(client *c, const char *path) {
    char wire[64];
    int len = snprintf(wire, sizeof wire, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    CHECK_EQ(client_send(c, wire, (size_t)len), 0);
}

static void expect_fast(client *c) {
    answer a;
    CHECK_EQ(client_answer(c, &a), 1);
    CHECK_EQ(a.status, 200);
}

static void open_all(host *h, client *holder, client *clients) {
    host_open(h, NULL);
    host_route(h, "GET", "/hold", "executor=inline", on_hold, NULL);
    host_route(h, "GET", "/fast", "placement=local", on_fast, NULL);
    host_route(h, "GET", "/large", "placement=local", on_large, NULL);
    CHECK_EQ(host_start(h), 0);
    atomic_store(&held, 0);
    atomic_store(&hold, 1);
    CHECK_EQ(client_open(holder, h->port), 0);
    ask(holder, "/hold");
    WAIT_UNTIL(atomic_load(&held) == 1);
    for (unsigned i = 0; i < LATE_CONNECTIONS; i++) {
        CHECK_EQ(client_open(&clients[i], h->port), 0);
        ask(&clients[i], "/fast");
    }
}

/* Finish the connections of the loop that is done. @return how many are left; they come first. */
static unsigned finish_answered(client *clients) {
    unsigned left = 0;
    for (unsigned i = 0; i < LATE_CONNECTIONS; i++) {
        struct pollfd watch = {.fd = clients[i].fd, .events = POLLIN};
        if (poll(&watch, 1, 0) == 0) {
            clients[left++] = clients[i];
            continue;
        }
        expect_fast(&clients[i]);
        expect_end(&clients[i]);
    }
    return left;
}

/* Each loop has a listener of its own. One is held until the other has nothing left to do. It then finds a full accept
 * queue, and passes the end of it to the loop that was done, which must not count as done any more. */
static uint64_t run_late(const topology *shape) {
    host h = {.shape = shape};
    client clients[LATE_CONNECTIONS], holder;
    open_all(&h, &holder, clients);
    CHECK_EQ(turbo_server_stop(h.server, NULL, NULL), 0);
    WAIT_UNTIL(open_connections(&h) == 1);
    unsigned left = finish_answered(clients), large_from = left < LARGE_MAX ? 0 : left - LARGE_MAX;
    for (unsigned i = large_from; i < left; i++)
        ask(&clients[i], "/large");
    atomic_store(&hold, 0);
    expect_fast(&holder);
    expect_end(&holder);
    for (unsigned i = 0; i < left; i++) {
        expect_fast(&clients[i]);
        if (i < large_from)
            expect_end(&clients[i]);
    }
    for (unsigned i = large_from; i < left; i++)
        expect_large(&clients[i]);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.answered, LATE_CONNECTIONS + 1 + left - large_from);
    host_release(&h);
    return left;
}

static const topology late_shapes[] = {{"drain.late.io2", 2, 2, 0}, {"drain.late.io0", 0, 2, 0}};

static const topology idle_shapes[] = {{"drain.idle.io1", 1, 2, 0},        {"drain.idle.io2", 2, 2, 0},
                                       {"drain.idle.io0", 0, 2, 0},        {"drain.idle.driven.io1", 1, 2, 1},
                                       {"drain.idle.driven.io0", 0, 2, 1}};

int main(int argc, char **argv) {
    static pool answerers;
    stress_begin(argc, argv);
    pool_open(&answerers, 2);
    chance ch = chance_of(0);
    uint64_t rounds = stress_count(ROUNDS, 3);
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        stress_phase(shapes[i].name, 60);
        for (uint64_t k = 0; k < rounds; k++)
            run_round(&shapes[i], &answerers, &ch);
        stress_report("%llu servers, %d requests on %d connections each", (unsigned long long)rounds,
                      CONNECTIONS * DEPTH, CONNECTIONS);
    }
    rounds = stress_count(IDLE_ROUNDS, 3);
    for (size_t i = 0; i < COUNT_OF(idle_shapes); i++) {
        stress_phase(idle_shapes[i].name, 60);
        uint64_t answered = 0;
        for (uint64_t k = 0; k < rounds; k++)
            answered += run_idle(&idle_shapes[i], &answerers);
        stress_report("%llu servers, %d connections each, %llu requests", (unsigned long long)rounds,
                      IDLE_CONNECTIONS * IDLE_THREADS, (unsigned long long)answered);
    }
    pool_close(&answerers);
    rounds = stress_count(LATE_ROUNDS, 2);
    for (size_t i = 0; i < COUNT_OF(late_shapes); i++) {
        stress_phase(late_shapes[i].name, 60);
        uint64_t late = 0;
        for (uint64_t k = 0; k < rounds; k++)
            late += run_late(&late_shapes[i]);
        stress_report("%llu servers, %d connections each, %llu of them in a late loop's queue",
                      (unsigned long long)rounds, LATE_CONNECTIONS + 1, (unsigned long long)late);
    }
    return 0;
}
