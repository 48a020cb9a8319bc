/* patience.c - a shard that is asked for more than it can do, by clients most of which leave: what it learns from them on its I/O
 * loops limits the queue on its own thread, and who has left goes behind the others. Who waits has an answer. */
#include <poll.h>
#include <stdio.h>

#include "stress.h"

#define CLIENTS 75 /* a thread, at once */
#define EVERY_MS 4 /* between two of them: each has 300 ms */
#define THREADS 4
#define REQUESTS 1000 /* a thread */

static const struct {
    topology shape;
    const char *on_fin;
} shapes[] = {{{"patience.io1", 1, 1, 0}, "answer"},
              {{"patience.io2", 2, 1, 0}, "answer"},
              {{"patience.io2.cancel", 2, 1, 0}, "cancel"},
              {{"patience.io0", 0, 1, 0}, "answer"},
              {{"patience.driven.io1", 1, 1, 1}, "answer"}};

typedef struct guests {
    uint16_t port;
    uint64_t number, requests;
    uint64_t served, shed; /* of those that waited */
} guests;

static int on_slow(turbo_request *req, void *user) {
    (void)user;
    poll(NULL, 0, 5);
    return turbo_request_reply(req, 200, NULL, "slow", 4);
}

static void wait_for_answer(guests *g, client *c) {
    answer a;
    CHECK_EQ(client_answer(c, &a), 1);
    CHECK(a.status == 200 || (a.status == 503 && a.retry_after));
    *(a.status == 200 ? &g->served : &g->shed) += 1;
    client_close(c);
}

/* A request each EVERY_MS; its client leaves CLIENTS requests later. The last of them wait. */
static void visit(guests *g, client *clients, uint64_t n, chance *dice) {
    client *c = &clients[n % CLIENTS];
    if (n >= g->requests)
        wait_for_answer(g, c);
    else if (n >= CLIENTS && chance_below(dice, 8) == 0)
        client_reset(c);
    else if (n >= CLIENTS)
        client_close(c);
    if (n < g->requests) {
        CHECK_EQ(client_open(c, g->port), 0);
        CHECK_EQ(client_send(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", 31), 0);
        poll(NULL, 0, EVERY_MS);
    }
}

static void *guests_main(void *arg) {
    guests *g = arg;
    chance dice = chance_of(g->number);
    client clients[CLIENTS];
    for (uint64_t i = 0; i < g->requests + CLIENTS; i++)
        visit(g, clients, i, &dice);
    return NULL;
}

static void run(const topology *shape, const char *on_fin) {
    const char *const settings[] = {"on_fin", on_fin, NULL};
    host h = {.shape = shape};
    guests all[THREADS];
    pthread_t threads[THREADS];
    uint64_t requests = stress_count(REQUESTS, 300), served = 0, shed = 0;
    stress_phase(shape->name, 120);
    host_open(&h, settings);
    host_route(&h, "GET", "/slow", "", on_slow, NULL);
    CHECK_EQ(host_start(&h), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        all[i] = (guests){.port = h.port, .number = i, .requests = requests};
        threads[i] = stress_thread(guests_main, &all[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        stress_join(threads[i]);
        served += all[i].served;
        shed += all[i].shed;
    }
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.taken, THREADS * requests);
    CHECK_EQ(s.abandoned, 0);
    CHECK(s.shed <= s.timeouts_queue); /* a client may have gone meanwhile: dropped */
    CHECK(s.answered >= served && s.shed >= shed);
    host_release(&h);
    stress_report("%llu requests: %llu answered, %llu shed, %llu dropped; of those that waited %llu and %llu",
                  (unsigned long long)s.taken, (unsigned long long)s.answered, (unsigned long long)s.shed,
                  (unsigned long long)s.dropped, (unsigned long long)served, (unsigned long long)shed);
}

int main(int argc, char **argv) {
    stress_begin(argc, argv);
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        run(&shapes[i].shape, shapes[i].on_fin);
    return 0;
}
