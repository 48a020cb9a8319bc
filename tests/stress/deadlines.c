/* deadlines.c - handlers that answer at about their deadline, from their shard, from threads of its pool and from any
 * other, or that only answer when they are told, or never. Each request gets one answer, the handler's whole or 504, and
 * the flight of each ends once, whoever came first.
 *
 * agreed: clients wait, so what they count must be what the server counts. torn: clients go with a RST, and the server
 * stops, while that goes on. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "stress.h"

#define CLIENTS 3
#define DEPTH 12 /* requests at once, on one connection */
#define TURNS 300 /* of a client and a topology, in the first part */
#define STOPS 40 /* of a topology, in the second */
#define SLOTS (CLIENTS * DEPTH * TURNS)
#define TIMEOUT_MS 3
#define NEAR_US 2000 /* most answers come so near to the deadline, before or behind it */

static const topology shapes[] = {{"deadlines.io1", 1, 2, 0},        {"deadlines.io2", 2, 2, 0},
                                  {"deadlines.io0", 0, 2, 0},        {"deadlines.driven.io1", 1, 2, 1},
                                  {"deadlines.driven.io0", 0, 2, 1}};
static const topology stop_shapes[] = {{"deadlines.torn.io1", 1, 2, 0},
                                       {"deadlines.torn.io0", 0, 2, 0},
                                       {"deadlines.torn.driven.io1", 1, 2, 1},
                                       {"deadlines.torn.driven.io0", 0, 2, 1}};

/* How a handler answers. */
enum {
    WAY_NOW = 0,  /* at once: its shard, which sees to deadlines, is busy with it, so it is in time */
    WAY_TIMER,    /* by a timer of its shard                                                        */
    WAY_REPLY,    /* from another thread                                                            */
    WAY_FEW,      /* the same, of a route that has two at a time                                    */
    WAY_RESPONSE, /* the same, with a body that has to be given back                                */
    WAY_STREAM,   /* the same, streamed: too late is TURBO_ESTATE, and who has begun has all the time */
    WAY_BATCH,    /* the same, of a batch callback                                                  */
    WAY_POOL,     /* on a thread of its shard's pool, which it blocks                               */
    WAY_FORGET,   /* another thread lets go of the request; of one whose client goes, when its time is over */
    WAY_TOLD,     /* when it is told that the time is over                                          */
    WAY_LOOK,     /* from another thread, which looks until the time is over                        */
    WAYS
};
static const char *const way_names[WAYS] = {"now",   "timer", "reply",  "few",  "response", "stream",
                                            "batch", "pool",  "forget", "told", "look"};

static int is_always_late(int way) { return way == WAY_FORGET || way == WAY_TOLD || way == WAY_LOOK; }

/* A request; they are kept until the server has stopped, since a handler may be told behind its answer. */
typedef struct slot {
    turbo_request *req; /* a reference, until `ended` */
    struct slot *next;  /* of those that wait for other threads */
    uint64_t id, due_ns;
    int way;
    _Atomic unsigned asked, begun, told, ended;
} slot;

static slot slots[SLOTS];
static _Atomic uint64_t slot_count, begun, ended, given, came_back;
static _Atomic int torn; /* clients and the server may go */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* -- the end of a flight -- */

static void end(slot *s) {
    turbo_request *req = s->req;
    CHECK_EQ(atomic_fetch_add(&s->ended, 1), 0);
    turbo_request_release(req);
    atomic_fetch_add(&ended, 1);
}

static void reply(slot *s) {
    char body[PAYLOAD_MAX];
    size_t len = payload_of(s->id, body);
    CHECK_EQ(turbo_request_reply(s->req, 200, "text/plain", body, len), 0);
    CHECK_EQ(turbo_request_reply(s->req, 200, "text/plain", body, len), TURBO_ESTATE);
    end(s);
}

static void give_back(void *user) {
    (void)user;
    atomic_fetch_add(&came_back, 1);
}

static void respond(slot *s) {
    static const char body[] = "referred";
    turbo_response *resp;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_body_ref(resp, body, sizeof body - 1, give_back, NULL), 0);
    atomic_fetch_add(&given, 1);
    CHECK_EQ(turbo_request_respond(s->req, resp), 0);
    end(s);
}

static void stream(slot *s) {
    char body[PAYLOAD_MAX];
    size_t len = payload_of(s->id, body);
    turbo_response *resp;
    CHECK_EQ(turbo_response_new(&resp, 200), 0);
    CHECK_EQ(turbo_response_body_copy(resp, body, len), 0);
    int rc = turbo_request_respond_begin(s->req, resp);
    if (rc == 0) {
        CHECK(!turbo_request_timed_out(s->req));
        CHECK_EQ(turbo_request_respond_end(s->req), 0);
    } else {
        CHECK_EQ(rc, TURBO_ESTATE);
        CHECK(turbo_request_timed_out(s->req));
        turbo_response_free(resp);
    }
    end(s);
}

/* -- other threads: whatever is due is answered by whichever comes first -- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static slot *waiting;
static _Atomic int closing;

static void wait_for_others(slot *s) {
    pthread_mutex_lock(&lock);
    s->next = waiting;
    waiting = s;
    pthread_mutex_unlock(&lock);
}

static int is_due(slot *s, uint64_t now) {
    if (s->way == WAY_LOOK || (s->way == WAY_FORGET && torn))
        return turbo_request_cancelled(s->req);
    return s->due_ns <= now;
}

static slot *take_due(void) {
    uint64_t now = now_ns();
    pthread_mutex_lock(&lock);
    slot **link = &waiting;
    while (*link != NULL && !is_due(*link, now))
        link = &(*link)->next;
    slot *s = *link;
    if (s != NULL)
        *link = s->next;
    pthread_mutex_unlock(&lock);
    return s;
}

static void act(slot *s) {
    int64_t left = turbo_request_deadline_ms(s->req);
    CHECK(left >= 0 && left <= TIMEOUT_MS);
    if (s->way == WAY_FORGET && (!torn || turbo_request_timed_out(s->req)))
        end(s);
    else if (s->way == WAY_RESPONSE)
        respond(s);
    else if (s->way == WAY_STREAM)
        stream(s);
    else
        reply(s);
}

static void *run_answerer(void *arg) {
    while (!atomic_load(&closing)) {
        slot *s = take_due();
        if (s != NULL)
            act(s);
        else
            stress_pause();
    }
    return arg;
}

/* -- handlers -- */

static slot *slot_of(const turbo_request *req) {
    turbo_str text = turbo_request_param(req, "id");
    uint64_t id = 0;
    for (size_t i = 0; i < text.len; i++)
        id = id * 10 + (uint64_t)(text.data[i] - '0');
    CHECK(id < SLOTS && slots[id].asked);
    return &slots[id];
}

/* The handler is told that its answer would be thrown away. */
static void tell(turbo_request *req) {
    slot *s = slot_of(req);
    if (s->way != WAY_POOL && s->way != WAY_BATCH) /* which wait once more behind their executor */
        CHECK(s->begun);
    CHECK(turbo_request_cancelled(req));
    CHECK(torn || turbo_request_timed_out(req));
    CHECK(atomic_fetch_add(&s->told, 1) == 0 || torn); /* the time is over, then the client goes: executors hear of both */
    if (s->way != WAY_TOLD || s->ended)
        return;
    CHECK_EQ(turbo_request_fail(req), 0);
    end(s);
}

static void on_gone(turbo_request *req, void *user) {
    (void)user;
    tell(req);
}

static void on_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t events) {
    (void)self;
    (void)shard;
    CHECK((events | TURBO_EVENT_DEADLINE | TURBO_EVENT_GONE) == (TURBO_EVENT_DEADLINE | TURBO_EVENT_GONE));
    tell(req);
}

static void reply_on_timer(turbo_shard *shard, int status, void *user) {
    (void)shard;
    CHECK(status == 0 || (status == TURBO_ECLOSED && torn));
    reply(user);
}

static slot *begin(turbo_request *req) {
    slot *s = slot_of(req);
    CHECK_EQ(atomic_fetch_add(&s->begun, 1), 0);
    s->req = turbo_request_retain(req);
    s->due_ns += now_ns();
    atomic_fetch_add(&begun, 1);
    return s;
}

/* On the shard's thread. */
static void watch(const host *h, slot *s) {
    if (h->ops.events == NULL)
        CHECK_EQ(turbo_request_on_gone(s->req, on_gone, NULL), 0);
}

static int on_request(turbo_request *req, void *user) {
    slot *s = begin(req);
    watch(user, s);
    if (s->way == WAY_NOW) {
        reply(s);
    } else if (s->way == WAY_TIMER) {
        int rc = turbo_shard_timer(NULL, turbo_request_shard(req), s->id % (2 * TIMEOUT_MS), reply_on_timer, s);
        CHECK(rc == 0 || (rc == TURBO_ECLOSED && torn));
        if (rc < 0)
            reply(s);
    } else if (s->way != WAY_TOLD) {
        wait_for_others(s);
    }
    return 0;
}

static void on_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    (void)shard;
    for (size_t i = 0; i < n; i++) {
        slot *s = begin(reqs[i]);
        watch(user, s);
        wait_for_others(s);
    }
}

static int on_pool(turbo_request *req, void *user) {
    slot *s = begin(req);
    (void)user;
    WAIT_UNTIL(now_ns() >= s->due_ns);
    act(s);
    return 0;
}

static void add_routes(host *h) {
    char path[32];
    for (int way = 0; way < WAYS; way++) {
        snprintf(path, sizeof path, "/%s/{id}", way_names[way]);
        if (way == WAY_BATCH)
            host_route_batch(h, "GET", path, "placement=round_robin batch_max=8 batch_wait_us=300", NULL, on_batch, h);
        else if (way == WAY_POOL)
            host_route(h, "GET", path, "placement=round_robin threads=2", on_pool, h);
        else if (way == WAY_FEW)
            host_route(h, "GET", path, "placement=round_robin inflight_max=2", on_request, h);
        else
            host_route(h, "GET", path, "placement=round_robin", on_request, h);
    }
}

static void open_server(host *h) {
    static const char *const settings[] = {"handler_timeout_ms", "3", "drain_timeout_ms", "50", NULL};
    h->ops.events = h->shape->driven ? on_events : NULL;
    host_open(h, settings);
    add_routes(h);
    CHECK_EQ(host_start(h), 0);
}

static void begin_round(void) {
    memset(slots, 0, sizeof slots);
    atomic_store(&slot_count, 0);
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
}

/* -- clients -- */

typedef struct asker {
    const host *host;
    uint64_t turns, answers, late;
    chance chance;
    pthread_t thread;
} asker;

static slot *new_slot(chance *c) {
    uint64_t id = atomic_fetch_add(&slot_count, 1);
    CHECK(id < SLOTS);
    slot *s = &slots[id];
    s->id = id;
    s->way = (int)chance_below(c, WAYS);
    s->due_ns = chance_below(c, 8) == 0 ? 0 : (TIMEOUT_MS * 1000 - NEAR_US + chance_below(c, 2 * NEAR_US)) * 1000;
    atomic_store(&s->asked, 1);
    return s;
}

/* @return -1: the connection is gone. */
static int send_turn(asker *a, client *c, slot **asked) {
    char wire[DEPTH * 64];
    size_t len = 0;
    for (unsigned i = 0; i < DEPTH; i++) {
        asked[i] = new_slot(&a->chance);
        len += (size_t)snprintf(wire + len, sizeof wire - len, "GET /%s/%llu HTTP/1.1\r\nHost: a\r\n\r\n",
                                way_names[asked[i]->way], (unsigned long long)asked[i]->id);
    }
    return client_send(c, wire, len);
}

static void check_answer(asker *a, const slot *s, const answer *got) {
    a->answers++;
    if (got->status == 504) {
        CHECK(s->way != WAY_NOW);
        a->late++;
        return;
    }
    CHECK_EQ(got->status, 200);
    CHECK(!is_always_late(s->way));
    if (s->way == WAY_RESPONSE)
        CHECK(got->len == 8 && memcmp(got->body, "referred", 8) == 0);
    else
        CHECK(payload_is(s->id, got->body, got->len));
}

static void *run_asker(void *arg) {
    asker *a = arg;
    slot *asked[DEPTH];
    client c;
    CHECK_EQ(client_open(&c, a->host->port), 0);
    for (uint64_t turn = 0; turn < a->turns; turn++) {
        CHECK_EQ(send_turn(a, &c, asked), 0);
        for (unsigned i = 0; i < DEPTH; i++) {
            answer got;
            CHECK_EQ(client_answer(&c, &got), 1);
            check_answer(a, asked[i], &got);
        }
    }
    client_close(&c);
    return NULL;
}

/* Goes in the middle of things, until nobody listens. */
static void *run_tearer(void *arg) {
    asker *a = arg;
    slot *asked[DEPTH];
    client c;
    for (uint64_t turn = 0; turn < a->turns && client_open(&c, a->host->port) == 0; turn++) {
        unsigned reads = (unsigned)chance_below(&a->chance, DEPTH + 1);
        answer got;
        if (send_turn(a, &c, asked) == 0)
            for (unsigned i = 0; i < reads && client_answer(&c, &got) == 1; i++)
                check_answer(a, asked[i], &got);
        client_reset(&c);
    }
    return NULL;
}

static void start_clients(asker *askers, const host *h, uint64_t turns, void *(*run)(void *), uint64_t round) {
    for (unsigned i = 0; i < CLIENTS; i++) {
        askers[i] = (asker){.host = h, .turns = turns, .chance = chance_of(round * CLIENTS + i)};
        askers[i].thread = stress_thread(run, &askers[i]);
    }
}

static void join_clients(asker *askers) {
    for (unsigned i = 0; i < CLIENTS; i++)
        stress_join(askers[i].thread);
}

/* -- the two parts -- */

static void run_agreed(const topology *shape) {
    host h = {.shape = shape};
    asker askers[CLIENTS];
    uint64_t turns = stress_count(TURNS, 6), answers = 0, late = 0;
    stress_phase(shape->name, 60);
    begin_round();
    open_server(&h);
    start_clients(askers, &h, turns, run_asker, 0);
    join_clients(askers);
    WAIT_UNTIL(atomic_load(&ended) == CLIENTS * turns * DEPTH);
    for (unsigned i = 0; i < shape->shards; i++)
        WAIT_UNTIL(turbo_shard_inflight(turbo_server_shard(h.server, i)) == 0);
    turbo_stats s = host_stop(&h);
    for (unsigned i = 0; i < CLIENTS; i++) {
        answers += askers[i].answers;
        late += askers[i].late;
    }
    CHECK_EQ(s.taken, answers);
    CHECK_EQ(s.answered, answers);
    CHECK_EQ(s.timeouts_handler, late);
    CHECK_EQ(begun, answers);
    host_release(&h);
    WAIT_UNTIL(atomic_load(&came_back) == atomic_load(&given));
    stress_report("%llu requests, %llu in time, %llu late", (unsigned long long)answers,
                  (unsigned long long)(answers - late), (unsigned long long)late);
}

/* A shard that has ended tells nobody any more. */
static void end_untold(void) {
    for (size_t i = 0; i < SLOTS; i++) {
        slot *s = &slots[i];
        if (s->way != WAY_TOLD || !s->begun || s->ended)
            continue;
        CHECK_EQ(turbo_request_fail(s->req), 0);
        end(s);
    }
}

static void run_torn(const topology *shape) {
    chance c = chance_of(99);
    uint64_t rounds = stress_count(STOPS, 3), requests = 0, late = 0;
    stress_phase(shape->name, 60);
    for (uint64_t i = 0; i < rounds; i++) {
        host h = {.shape = shape};
        asker askers[CLIENTS];
        begin_round();
        open_server(&h);
        start_clients(askers, &h, TURNS, run_tearer, i);
        uint64_t stop_at = 1 + chance_below(&c, 400);
        WAIT_UNTIL(atomic_load(&begun) >= stop_at);
        turbo_stats s = host_stop(&h);
        join_clients(askers);
        end_untold();
        WAIT_UNTIL(atomic_load(&ended) == atomic_load(&begun));
        host_release(&h);
        requests += s.taken;
        late += s.timeouts_handler;
    }
    WAIT_UNTIL(atomic_load(&came_back) == atomic_load(&given));
    stress_report("%llu servers, %llu requests, %llu late", (unsigned long long)rounds, (unsigned long long)requests,
                  (unsigned long long)late);
}

int main(int argc, char **argv) {
    pthread_t answerers[2];
    stress_begin(argc, argv);
    for (unsigned i = 0; i < COUNT_OF(answerers); i++)
        answerers[i] = stress_thread(run_answerer, NULL);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        run_agreed(&shapes[i]);
    atomic_store(&torn, 1);
    for (size_t i = 0; i < COUNT_OF(stop_shapes); i++)
        run_torn(&stop_shapes[i]);
    atomic_store(&closing, 1);
    for (unsigned i = 0; i < COUNT_OF(answerers); i++)
        stress_join(answerers[i]);
    return 0;
}
