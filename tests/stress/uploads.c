/* uploads.c - bodies that are read while they come, by shards, I/O loops and foreign threads, with answers before their
 * end and clients that go in the middle: whoever reads to the end has every byte once, and nothing is lost count of.
 *
 * The windows are small, so that reading stops and goes on all the time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress.h"

#define REQUESTS 24000 /* in all rounds */
#define CLIENTS 3      /* threads       */
#define SIZE_MAX_ 60000
#define CHUNK_MAX 9000

enum {
    KIND_SHARD = 0, /* read by the function of on_body, on the shard (driven: by the executor's events) */
    KIND_INLINE,    /* the same on the I/O loop                                                          */
    KIND_LATER,     /* read by another thread each time                                                  */
    KIND_POOL,      /* begun on a thread of the shard's pool                                             */
    KIND_EARLY,     /* answered by another thread while the body comes, and is read                      */
    KINDS
};
static const char *const names[KINDS] = {"shard", "inline", "later", "pool", "early"};

static const topology shapes[] = {{"uploads.io1", 1, 2, 0},
                                  {"uploads.io2", 2, 2, 0},
                                  {"uploads.io0", 0, 2, 0},
                                  {"uploads.driven.io1", 1, 2, 1},
                                  {"uploads.driven.io0", 0, 2, 1}};
#define ROUNDS COUNT_OF(shapes)

static pool readers;
static _Atomic uint64_t cut, open_tasks;

/* -- handlers -- */

typedef struct task {
    job job;
    turbo_request *req;
    uint64_t bytes, sum;
    int kind;
} task;

static void add_up(task *t, turbo_str part) {
    CHECK(part.len > 0);
    for (size_t i = 0; i < part.len; i++)
        t->sum += (uint64_t)(unsigned char)part.data[i] * (1 + (t->bytes + i) % 251);
    t->bytes += part.len;
}

static void end(task *t, int rc) {
    char text[64];
    turbo_str part;
    int len = snprintf(text, sizeof text, "%llu %llu", (unsigned long long)t->bytes, (unsigned long long)t->sum);
    if (rc != 0) {
        CHECK_EQ(rc, TURBO_ECLOSED);
        atomic_fetch_add(&cut, 1);
        CHECK_EQ(turbo_request_fail(t->req), 0);
    } else {
        CHECK_EQ(turbo_request_reply(t->req, 200, NULL, text, (size_t)len), 0);
    }
    rc = turbo_request_body_read(t->req, &part);
    CHECK(rc == 0 || rc == TURBO_ECLOSED);
    turbo_request_release(t->req);
    free(t);
    atomic_fetch_sub(&open_tasks, 1);
}

/* Whoever is told that there is more owns the task from the read on that found nothing. */
static void read_on(task *t) {
    turbo_str part;
    int rc;
    while ((rc = turbo_request_body_read(t->req, &part)) == 1)
        add_up(t, part);
    if (rc != TURBO_EAGAIN)
        end(t, rc);
}

static void read_later(job *j) { read_on((task *)(void *)j); }

static void go_on(task *t) {
    if (t->kind == KIND_LATER)
        pool_add(&readers, &t->job);
    else
        read_on(t);
}

static void on_body(turbo_request *req, void *user) {
    (void)req;
    go_on(user);
}

static void on_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t events) {
    (void)self;
    (void)shard;
    if ((events & (TURBO_EVENT_BODY | TURBO_EVENT_BODY_END)) == 0)
        return; /* a thread of the pool may be about to set the data */
    task *t = turbo_request_data(req);
    if (t != NULL) /* else it was answered early, and nobody waits */
        go_on(t);
}

static int on_upload(turbo_request *req, void *user) {
    task *t = malloc(sizeof *t);
    CHECK(t != NULL);
    *t = (task){.job = {.fn = read_later}, .req = turbo_request_retain(req), .kind = (int)(intptr_t)user};
    atomic_fetch_add(&open_tasks, 1);
    turbo_request_data_set(req, t);
    CHECK_EQ(turbo_request_on_body(req, on_body, t), 0);
    go_on(t);
    return 0;
}

static void answer_early(job *j) {
    task *t = (task *)(void *)j;
    turbo_str part;
    if (turbo_request_body_read(t->req, &part) == 1)
        add_up(t, part);
    CHECK_EQ(turbo_request_reply(t->req, 200, NULL, "early", 5), 0);
    while (turbo_request_body_read(t->req, &part) == 1)
        add_up(t, part);
    turbo_request_release(t->req);
    free(t);
    atomic_fetch_sub(&open_tasks, 1);
}

static int on_early(turbo_request *req, void *user) {
    task *t = malloc(sizeof *t);
    (void)user;
    CHECK(t != NULL);
    *t = (task){.job = {.fn = answer_early}, .req = turbo_request_retain(req)};
    atomic_fetch_add(&open_tasks, 1);
    pool_add(&readers, &t->job);
    return 0;
}

/* -- clients -- */

typedef struct uploader {
    uint16_t port;
    uint64_t requests, sent, whole, early, gone;
    chance chance;
    client client;
    char data[SIZE_MAX_], wire[SIZE_MAX_ * 2 + 4096];
    size_t wire_len;
    pthread_t thread;
} uploader;

static void put(uploader *u, const void *data, size_t len) {
    memcpy(u->wire + u->wire_len, data, len);
    u->wire_len += len;
}

static void put_chunked(uploader *u, size_t size) {
    char line[32];
    for (size_t at = 0; at < size;) {
        size_t n = 1 + (size_t)chance_below(&u->chance, CHUNK_MAX);
        if (n > size - at)
            n = size - at;
        put(u, line, (size_t)sprintf(line, "%zx\r\n", n));
        put(u, u->data + at, n);
        put(u, "\r\n", 2);
        at += n;
    }
    put(u, "0\r\nA: b\r\n\r\n", 11);
}

static uint64_t make(uploader *u, int kind, size_t size) {
    char head[160];
    uint64_t sum = 0;
    int chunked = chance_below(&u->chance, 2) == 0;
    for (size_t i = 0; i < size; i++) {
        u->data[i] = (char)chance_next(&u->chance);
        sum += (uint64_t)(unsigned char)u->data[i] * (1 + i % 251);
    }
    u->wire_len = 0;
    put(u, head, (size_t)sprintf(head, "POST /%s HTTP/1.1\r\nHost: a\r\n", names[kind]));
    if (chunked) {
        put(u, "Transfer-Encoding: chunked\r\n\r\n", 30);
        put_chunked(u, size);
    } else {
        put(u, head, (size_t)sprintf(head, "Content-Length: %zu\r\n\r\n", size));
        put(u, u->data, size);
    }
    return sum;
}

/* @return 0: the connection has ended. */
static int upload(uploader *u, int kind, size_t size, uint64_t sum) {
    char expected[64];
    answer a;
    int ok = client_send(&u->client, u->wire, u->wire_len) == 0;
    if (kind != KIND_EARLY)
        CHECK(ok);
    int rc = client_answer(&u->client, &a);
    CHECK(rc == 1 || kind == KIND_EARLY);
    if (rc != 1)
        return 0;
    CHECK_EQ(a.status, 200);
    if (kind == KIND_EARLY) {
        CHECK(a.len == 5 && memcmp(a.body, "early", 5) == 0);
        u->early++;
        return 0; /* that the connection lives on is not sure */
    }
    int len = snprintf(expected, sizeof expected, "%llu %llu", (unsigned long long)size, (unsigned long long)sum);
    if (a.len != (size_t)len || memcmp(a.body, expected, a.len) != 0)
        stress_fail(__FILE__, __LINE__, "%s: \"%.*s\", not \"%s\"", names[kind], (int)a.len, a.body, expected);
    CHECK(!a.close);
    u->whole++;
    return 1;
}

static void *run_uploader(void *arg) {
    uploader *u = arg;
    for (; u->sent < u->requests; u->sent++) {
        int kind = (int)chance_below(&u->chance, KINDS), goes = chance_below(&u->chance, 10) == 0;
        size_t size = (size_t)chance_below(&u->chance, chance_below(&u->chance, 2) == 0 ? 600 : SIZE_MAX_);
        uint64_t sum = make(u, kind, size);
        if (u->client.buf == NULL)
            CHECK_EQ(client_open(&u->client, u->port), 0);
        if (goes) {
            /* The head may stay behind, too: such a request was never taken, or is dropped. */
            (void)client_send(&u->client, u->wire, (size_t)chance_below(&u->chance, u->wire_len));
            client_reset(&u->client);
            u->gone++;
        } else if (!upload(u, kind, size, sum)) {
            client_close(&u->client);
        }
    }
    if (u->client.buf != NULL)
        client_close(&u->client);
    return NULL;
}

/* -- rounds -- */

static void add_routes(host *h) {
    static const char *const options[KINDS] = {"", "executor=inline", "", "threads=2", ""};
    char path[32], text[128];
    for (int kind = 0; kind < KINDS; kind++) {
        snprintf(path, sizeof path, "/%s", names[kind]);
        snprintf(text, sizeof text, "body=streamed body_window_bytes=%d %s", kind == KIND_EARLY ? 4000 : 700,
                 options[kind]);
        host_route(h, "POST", path, text, kind == KIND_EARLY ? on_early : on_upload, (void *)(intptr_t)kind);
    }
}

static void run_round(const topology *shape, uploader *clients) {
    host h = {.shape = shape};
    uint64_t sent = 0, whole = 0, early = 0, gone = 0, requests = stress_count(REQUESTS / ROUNDS, 200);
    stress_phase(shape->name, 120);
    h.ops.events = shape->driven ? on_events : NULL;
    host_open(&h, NULL);
    add_routes(&h);
    CHECK_EQ(host_start(&h), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (uploader){.port = h.port, .requests = requests / CLIENTS, .chance = chance_of(i)};
        clients[i].thread = stress_thread(run_uploader, &clients[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        stress_join(clients[i].thread);
        sent += clients[i].sent;
        whole += clients[i].whole;
        early += clients[i].early;
        gone += clients[i].gone;
    }
    WAIT_UNTIL(atomic_load(&open_tasks) == 0);
    turbo_stats s = host_stop(&h);
    CHECK(s.taken <= sent && s.taken + gone >= sent);
    CHECK(s.answered >= whole + early);
    CHECK_EQ(s.body_memory, 0);
    CHECK_EQ(s.abandoned, 0);
    host_release(&h);
    stress_report("%llu uploads: %llu read whole, %llu answered early, %llu cut off", (unsigned long long)sent,
                  (unsigned long long)whole, (unsigned long long)early, (unsigned long long)gone);
}

int main(int argc, char **argv) {
    static uploader clients[CLIENTS];
    stress_begin(argc, argv);
    pool_open(&readers, 2);
    for (size_t i = 0; i < ROUNDS; i++)
        run_round(&shapes[i], clients);
    pool_close(&readers);
    CHECK(atomic_load(&cut) > 0);
    return 0;
}
