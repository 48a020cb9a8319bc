/* narrow.c - the two places where one thread waits for exactly one event of another: a shard at a gate of one request,
 * and a streamed answer at a full connection. Both events come as close to the wait as they can, for the other thread
 * spins; one that is lost ends in the phase's deadline. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "stress.h"

#define REQUESTS 90000
#define AHEAD_MAX 32
#define STREAM_BYTES ((uint64_t)12 << 20)
#define PART_BYTES 700
#define PERIOD 251 /* of the streamed bytes */

static const topology gate_shapes[] = {
    {"narrow.gate.io1", 1, 1, 0}, {"narrow.gate.io0", 0, 1, 0}, {"narrow.gate.driven", 1, 1, 1}};
static const topology stream_shapes[] = {
    {"narrow.stream.io1", 1, 1, 0}, {"narrow.stream.io0", 0, 2, 0}, {"narrow.stream.driven", 1, 1, 1}};

/* A request on its way to the thread that spins; that ends when the place holds `over`. */
static _Atomic(turbo_request *) place;
static turbo_request *const over = (turbo_request *)(void *)&place;

static turbo_request *take(void) {
    turbo_request *req;
    while ((req = atomic_exchange(&place, NULL)) == NULL)
        sched_yield();
    return req;
}

static int on_request(turbo_request *req, void *user) {
    (void)user;
    CHECK(atomic_exchange(&place, turbo_request_retain(req)) == NULL); /* one at a time passes the gate */
    return 0;
}

static void end_thread(pthread_t thread) {
    atomic_store(&place, over);
    stress_join(thread);
    atomic_store(&place, NULL);
}

/* -- the gate -- */

static _Atomic uint64_t done;

static void on_done(turbo_request *req, int status, const turbo_response *resp, void *user) {
    (void)req;
    (void)resp;
    (void)user;
    CHECK_EQ(status, 0);
    atomic_fetch_add(&done, 1);
}

/* The shard is on its way to the gate meanwhile, and arrives before, at, or behind the answer. */
static void *answer_at_once(void *arg) {
    chance c = chance_of(1);
    (void)arg;
    for (turbo_request *req; (req = take()) != over;) {
        for (volatile uint64_t spins = chance_below(&c, 400); spins > 0; spins--) {
        }
        CHECK_EQ(turbo_request_reply(req, 200, NULL, "x", 1), 0);
        turbo_request_release(req);
    }
    return NULL;
}

static void submit_one(host *h) {
    turbo_request *req;
    CHECK_EQ(turbo_request_new(&req, h->server, "GET", "/", on_done, NULL), 0);
    CHECK_EQ(turbo_shard_submit(turbo_server_shard(h->server, 0), req), 0);
    turbo_request_release(req);
}

static void run_gate(const topology *shape) {
    static const char *const settings[] = {"inflight_max", "1", NULL};
    host h = {.shape = shape};
    uint64_t count = stress_count(REQUESTS, 2000);
    stress_phase(shape->name, 60);
    atomic_store(&done, 0);
    host_open(&h, settings);
    host_route(&h, "GET", "/", "", on_request, NULL);
    CHECK_EQ(host_start(&h), 0);
    pthread_t answerer = stress_thread(answer_at_once, NULL);
    for (uint64_t i = 0; i < count; i++) {
        WAIT_UNTIL(i - atomic_load(&done) < AHEAD_MAX);
        submit_one(&h);
    }
    WAIT_UNTIL(atomic_load(&done) == count);
    end_thread(answerer);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.answered, count);
    host_release(&h);
    stress_report("%llu requests, one at a time", (unsigned long long)count);
}

/* -- the stream -- */

static char pattern[PERIOD + PART_BYTES];
static _Atomic int writable;
static _Atomic uint64_t waits;

static void on_writable(turbo_request *req, void *user) {
    (void)req;
    (void)user;
    atomic_store(&writable, 1);
}

static int on_stream(turbo_request *req, void *user) {
    CHECK_EQ(turbo_request_on_writable(req, on_writable, NULL), 0);
    return on_request(req, user);
}

static void write_part(turbo_request *req, uint64_t at, size_t len) {
    int rc;
    for (;;) {
        atomic_store(&writable, 0);
        if ((rc = turbo_request_respond_write(req, pattern + at % PERIOD, len)) == 0)
            return;
        CHECK_EQ(rc, TURBO_EAGAIN);
        atomic_fetch_add(&waits, 1);
        while (!atomic_load(&writable))
            sched_yield();
    }
}

static void *write_stream(void *arg) {
    uint64_t len = *(uint64_t *)arg;
    for (turbo_request *req; (req = take()) != over;) {
        turbo_response *resp;
        CHECK_EQ(turbo_response_new(&resp, 200), 0);
        CHECK_EQ(turbo_request_respond_begin(req, resp), 0);
        for (uint64_t at = 0; at < len; at += PART_BYTES)
            write_part(req, at, len - at < PART_BYTES ? (size_t)(len - at) : PART_BYTES);
        CHECK_EQ(turbo_request_respond_end(req), 0);
        turbo_request_release(req);
    }
    return NULL;
}

/* To a client of HTTP/1.0 the bytes come as they are, up to the end of the connection. */
static void read_stream(uint16_t port, uint64_t len) {
    static const char ask[] = "GET / HTTP/1.0\r\n\r\n";
    static char buf[65536];
    uint64_t at = 0;
    int in_body = 0;
    client c;
    CHECK_EQ(client_open(&c, port), 0);
    CHECK_EQ(client_send(&c, ask, sizeof ask - 1), 0);
    for (long n; (n = client_read(&c, buf, sizeof buf)) != 0;) {
        CHECK(n > 0);
        size_t from = 0, to = (size_t)n;
        if (!in_body) {
            const char *end = memmem(buf, to, "\r\n\r\n", 4);
            CHECK(end != NULL); /* a head comes in one piece */
            from = (size_t)(end - buf) + 4;
            in_body = 1;
        }
        for (; from < to; from++, at++)
            CHECK(buf[from] == (char)(at % PERIOD));
    }
    CHECK_EQ(at, len);
    client_close(&c);
}

static void run_stream(const topology *shape) {
    static const char *const settings[] = {"unsent_max_bytes", "1024", NULL};
    host h = {.shape = shape};
    uint64_t len = stress_count(STREAM_BYTES, 100000);
    stress_phase(shape->name, 60);
    atomic_store(&waits, 0);
    host_open(&h, settings);
    host_route(&h, "GET", "/", "", on_stream, NULL);
    CHECK_EQ(host_start(&h), 0);
    pthread_t writer = stress_thread(write_stream, &len);
    read_stream(h.port, len);
    end_thread(writer);
    turbo_stats s = host_stop(&h);
    CHECK_EQ(s.answered, 1);
    host_release(&h);
    stress_report("%llu bytes, %llu waits for room", (unsigned long long)len, (unsigned long long)atomic_load(&waits));
}

int main(int argc, char **argv) {
    stress_begin(argc, argv);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (char)(i % PERIOD);
    for (size_t i = 0; i < COUNT_OF(gate_shapes); i++)
        run_gate(&gate_shapes[i]);
    for (size_t i = 0; i < COUNT_OF(stream_shapes); i++)
        run_stream(&stream_shapes[i]);
    return 0;
}
