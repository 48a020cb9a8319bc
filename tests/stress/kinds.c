/* kinds.c - the ways in which a request can be answered. */
#include "kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES 1500
#define TIMER_MS_MAX 3

const char *const kind_names[KINDS] = {"now",    "inline",        "inline-later", "later", "response",
                                       "timer",  "post",          "stream",       "stream-inline",
                                       "stream-later", "hop",     "hop-later",    "batch", "echo", "pool", "few",
                                       "lend"};
const char *const placement_names[PLACEMENTS] = {"route", "round_robin", "local"};

static pool *_Atomic later;
static _Atomic int stops;      /* clients and the server may go before all is answered */
static _Atomic int no_lending; /* nobody would know when a lent body is free            */
static _Atomic uint64_t given, came_back;

static uint64_t id_of(const turbo_request *req) {
    turbo_str text = turbo_request_param(req, "id");
    uint64_t id = 0;
    for (size_t i = 0; i < text.len; i++)
        id = id * 10 + (uint64_t)(text.data[i] - '0');
    return id;
}

/* -- whole answers -- */

static int reply(turbo_request *req) {
    char body[PAYLOAD_MAX];
    size_t len = payload_of(id_of(req), body);
    return turbo_request_reply(req, 200, "text/plain", body, len);
}

static int on_now(turbo_request *req, void *user) {
    (void)user;
    return reply(req);
}

/* What belongs to one request while it is answered. */
typedef struct task {
    job job;
    turbo_request *req; /* a reference                              */
    size_t at, len;     /* of a stream                              */
    char *body;
    turbo_shard *shard; /* to which it hops                         */
    int lent;           /* the body is, and waits for its event     */
    struct task *next;  /* of those that are lent                   */
    struct task **link; /* where the list points to this one        */
} task;

static task *task_of(turbo_request *req, void (*fn)(job *)) {
    task *t = malloc(sizeof *t);
    CHECK(t != NULL);
    *t = (task){.job = {.fn = fn}, .req = turbo_request_retain(req)};
    return t;
}

static void task_free(task *t) {
    turbo_request_release(t->req);
    free(t->body);
    free(t);
}

static void reply_later(job *j) {
    task *t = (task *)(void *)j;
    CHECK_EQ(reply(t->req), 0);
    CHECK_EQ(reply(t->req), TURBO_ESTATE); /* a second one */
    task_free(t);
}

static int on_later(turbo_request *req, void *user) {
    (void)user;
    pool_add(later, &task_of(req, reply_later)->job);
    return 0;
}

static void give_back(void *memory) {
    free(memory);
    atomic_fetch_add(&came_back, 1);
}

static turbo_response *response_of(turbo_request *req, char **body, size_t *len) {
    turbo_response *resp;
    *body = malloc(PAYLOAD_MAX);
    CHECK(*body != NULL);
    *len = payload_of(id_of(req), *body);
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_field_add(resp, "X-Kind", 6, "stress", 6), 0);
    return resp;
}

static void respond_later(job *j) {
    task *t = (task *)(void *)j;
    char *body;
    size_t len;
    turbo_response *resp = response_of(t->req, &body, &len);
    atomic_fetch_add(&given, 1);
    CHECK_EQ(turbo_response_body_ref(resp, body, len, give_back, body), 0);
    CHECK_EQ(turbo_request_respond(t->req, resp), 0);
    task_free(t);
}

static int on_response(turbo_request *req, void *user) {
    (void)user;
    pool_add(later, &task_of(req, respond_later)->job);
    return 0;
}

static void reply_posted(turbo_shard *shard, int status, void *user) {
    (void)shard;
    CHECK(status == 0 || (status == TURBO_ECLOSED && stops));
    CHECK_EQ(reply(user), 0);
    turbo_request_release(user);
}

/* A shard that is ending takes no more timers: then the answer is made at once. */
static int start(turbo_request *req, int rc) {
    if (rc == 0)
        return 0;
    CHECK(rc == TURBO_ECLOSED && stops);
    CHECK_EQ(reply(req), 0);
    turbo_request_release(req);
    return 0;
}

static int on_timer(turbo_request *req, void *user) {
    (void)user;
    uint64_t ms = id_of(req) % TIMER_MS_MAX;
    return start(req, turbo_shard_timer(NULL, turbo_request_shard(req), ms, reply_posted, turbo_request_retain(req)));
}

static int on_post(turbo_request *req, void *user) {
    (void)user;
    return start(req, turbo_shard_post(turbo_request_shard(req), reply_posted, turbo_request_retain(req)));
}

static void release_request(void *user) {
    turbo_request_release(user);
    atomic_fetch_add(&came_back, 1);
}

static int on_echo(turbo_request *req, void *user) {
    turbo_str body = turbo_request_body(req);
    turbo_response *resp;
    (void)user;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    atomic_fetch_add(&given, 1);
    CHECK_EQ(turbo_response_body_ref(resp, body.data, body.len, release_request, turbo_request_retain(req)), 0);
    return turbo_request_respond(req, resp);
}

static turbo_shard *shard_of(const host *h, const turbo_request *req) {
    return turbo_server_shard(h->server, id_of(req) % h->shape->shards);
}

/* When there is no place it stays where it is. */
static int hop(turbo_shard *shard, turbo_request *req) {
    int rc = turbo_shard_submit(shard, req);
    CHECK(rc == 0 || rc == TURBO_EAGAIN || (rc == TURBO_ECLOSED && stops));
    return rc == 0 ? 0 : reply(req);
}

/* Runs twice: on the I/O loop, and where it was submitted to. */
static int on_hop(turbo_request *req, void *user) {
    return turbo_request_shard(req) != NULL ? reply(req) : hop(shard_of(user, req), req);
}

static void hop_later(job *j) {
    task *t = (task *)(void *)j;
    CHECK_EQ(hop(t->shard, t->req), 0);
    task_free(t);
}

static int on_hop_later(turbo_request *req, void *user) {
    if (turbo_request_shard(req) != NULL)
        return reply(req);
    task *t = task_of(req, hop_later);
    t->shard = shard_of(user, req);
    pool_add(later, &t->job);
    return 0;
}

static void on_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard;
    (void)user;
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(reply(reqs[i]), 0);
}

static int weigh(uint64_t *out, turbo_request *req, void *user) {
    (void)user;
    *out = turbo_request_path(req).len % 4; /* the id's length tells them apart */
    return 1;
}

/* -- lent bodies: a list, since a shard that is stopped does not tell of all of them -- */

static pthread_mutex_t lent_lock = PTHREAD_MUTEX_INITIALIZER;
static task *lent;

static void note_lent(task *t) {
    pthread_mutex_lock(&lent_lock);
    t->next = lent;
    t->link = &lent;
    if (lent != NULL)
        lent->link = &t->next;
    lent = t;
    pthread_mutex_unlock(&lent_lock);
}

static void end_lent(task *t) {
    pthread_mutex_lock(&lent_lock);
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    pthread_mutex_unlock(&lent_lock);
    atomic_fetch_add(&came_back, 1);
    task_free(t);
}

static int on_lend(turbo_request *req, void *user) {
    host *h = user;
    size_t len;
    if (h->ops.events == NULL || no_lending)
        return reply(req);
    task *t = task_of(req, NULL);
    turbo_response *resp = response_of(req, &t->body, &len);
    CHECK_EQ(turbo_response_body_lend(resp, t->body, len), 0);
    t->lent = 1;
    turbo_request_data_set(req, t);
    note_lent(t);
    atomic_fetch_add(&given, 1);
    return turbo_request_respond(req, resp);
}

/* -- streamed answers -- */

/* Write until there is no room. Whoever is told that there is room again owns the stream from then on. */
static void write_parts(task *t) {
    int rc = 0;
    while (t->at < t->len) {
        size_t n = t->len - t->at < PART_BYTES ? t->len - t->at : PART_BYTES;
        if ((rc = turbo_request_respond_write(t->req, t->body + t->at, n)) < 0)
            break;
        t->at += n;
    }
    if (rc == TURBO_EAGAIN)
        return;
    CHECK(rc == 0 || (rc == TURBO_ECLOSED && stops));
    turbo_request_data_set(t->req, NULL);
    CHECK_EQ(turbo_request_respond_end(t->req), 0);
    task_free(t);
}

static void on_writable(turbo_request *req, void *user) {
    (void)req;
    write_parts(user);
}

static void on_writable_later(turbo_request *req, void *user) {
    task *t = user;
    (void)req;
    pool_add(later, &t->job);
}

/* Half of the time the response carries the first part itself. */
static void begin(task *t) {
    turbo_response *resp;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    if (t->len % 2 == 0) {
        t->at = t->len < PART_BYTES ? t->len : PART_BYTES;
        CHECK_EQ(turbo_response_body_copy(resp, t->body, t->at), 0);
    }
    CHECK_EQ(turbo_request_respond_begin(t->req, resp), 0);
    write_parts(t);
}

static void write_later(job *j) { write_parts((task *)(void *)j); }

static void begin_later(job *j) {
    j->fn = write_later;
    begin((task *)(void *)j);
}

static task *stream_of(turbo_request *req) {
    task *t = task_of(req, begin_later);
    t->body = malloc(PAYLOAD_MAX);
    CHECK(t->body != NULL);
    t->len = payload_of(id_of(req), t->body);
    return t;
}

static int on_stream(turbo_request *req, void *user) {
    task *t = stream_of(req);
    (void)user;
    turbo_request_data_set(req, t);
    CHECK_EQ(turbo_request_on_writable(req, on_writable, t), 0);
    begin(t);
    return 0;
}

/* Where the executor takes the events there is no callback that could hand the stream back to the pool. */
static int on_stream_later(turbo_request *req, void *user) {
    host *h = user;
    if (h->ops.events != NULL)
        return on_stream(req, user);
    task *t = stream_of(req);
    CHECK_EQ(turbo_request_on_writable(req, on_writable_later, t), 0);
    pool_add(later, &t->job);
    return 0;
}

/* -- what an executor is told -- */

static void on_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t events) {
    task *t = turbo_request_data(req);
    (void)self;
    (void)shard;
    CHECK((events & TURBO_EVENT_NEW) == 0);
    CHECK((events & TURBO_EVENT_GONE) == 0 || stops);
    if ((events & TURBO_EVENT_RELEASE) != 0) {
        CHECK(t != NULL && t->lent);
        turbo_request_data_set(req, NULL);
        end_lent(t);
    } else if (t != NULL && !t->lent) {
        write_parts(t); /* the client takes more, or has gone, which the next write tells */
    }
}

/* -- set-up -- */

static const struct {
    turbo_handler_fn fn;
    const char *options;
} kinds[KINDS] = {[KIND_NOW] = {on_now, ""},
                  [KIND_INLINE] = {on_now, "executor=inline"},
                  [KIND_INLINE_LATER] = {on_later, "executor=inline"},
                  [KIND_LATER] = {on_later, ""},
                  [KIND_RESPONSE] = {on_response, ""},
                  [KIND_TIMER] = {on_timer, ""},
                  [KIND_POST] = {on_post, ""},
                  [KIND_STREAM] = {on_stream, ""},
                  [KIND_STREAM_INLINE] = {on_stream, "executor=inline"},
                  [KIND_STREAM_LATER] = {on_stream_later, ""},
                  [KIND_HOP] = {on_hop, "executor=inline"},
                  [KIND_HOP_LATER] = {on_hop_later, "executor=inline"},
                  [KIND_ECHO] = {on_echo, "body_max_bytes=65536"},
                  [KIND_POOL] = {on_now, "threads=2"},
                  [KIND_FEW] = {on_later, "inflight_max=1"},
                  [KIND_LEND] = {on_lend, ""}};

void kinds_begin(host *h, pool *answerers, int may_stop) {
    later = answerers;
    stops = may_stop != KINDS_TO_THE_END;
    no_lending = may_stop == KINDS_NO_LENDING;
    h->ops.events = h->shape->driven ? on_events : NULL;
}

void kinds_route(host *h) {
    static const char *const batches[PLACEMENTS] = {"batch_max=8 batch_wait_us=300", "batch_max=8 batch_wait_us=300 batch_weight_max=5",
                                                    "batch_max=8"};
    char path[64], options[96];
    for (int kind = 0; kind < KINDS; kind++)
        for (int placement = 0; placement < PLACEMENTS; placement++) {
            snprintf(path, sizeof path, "/%s/%s/{id}", kind_names[kind], placement_names[placement]);
            snprintf(options, sizeof options, "placement=%s %s", placement_names[placement],
                     kind == KIND_BATCH ? batches[placement] : kinds[kind].options);
            if (kind == KIND_BATCH)
                host_route_batch(h, "GET", path, options, placement == 1 ? weigh : NULL, on_batch, h);
            else
                host_route(h, kind == KIND_ECHO ? "POST" : "GET", path, options, kinds[kind].fn, h);
        }
}

void kinds_take_back(void) {
    while (lent != NULL)
        end_lent(lent);
}

void kinds_end(void) { WAIT_UNTIL(atomic_load(&came_back) == atomic_load(&given)); }
