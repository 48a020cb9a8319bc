/* micro.c - nanoseconds of CPU for the pieces that every request goes through: parsing a head, writing one, mailboxes.
 *
 * Prints one JSON line for each: the median and the least of ROUNDS rounds, in nanoseconds of this process's CPU time
 * per operation, all threads together (so a neighbour on the machine costs cache misses, not time).
 *
 * usage: micro [WORD]    only the ones whose name contains WORD
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http1_parse.h"
#include "http1_write.h"
#include "mailbox.h"

#define ROUNDS 9
#define ROUND_NS 30000000 /* CPU time that a round takes at least */
#define BURST 64          /* mails of a chain: a full turn at 64 connections */
#define MAILS (BURST * 64)
#define PIPELINED 16

static const char head_wrk[] = "GET /async HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";
static const char head_ab[] = "GET /async HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:8000\r\n"
                              "User-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n";
static const char head_browser[] =
    "GET /async HTTP/1.1\r\n"
    "Host: 127.0.0.1:8000\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: none\r\n"
    "\r\n";

/* Something to measure: `run` does `count` operations. */
typedef struct bench {
    const char *name;
    void (*run)(void *with, size_t count);
    void *with;
    size_t bytes; /* of an operation's input or output; 0: does not apply */
} bench;

static uint64_t cpu_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (uint64_t)at.tv_sec * 1000000000U + (uint64_t)at.tv_nsec;
}

static _Noreturn void die(const char *what) {
    fprintf(stderr, "micro: %s\n", what);
    exit(1);
}

/* -- parsing -- */

typedef struct parse_input {
    const char *data;
    size_t len;
    size_t heads; /* in data */
} parse_input;

static size_t heads_seen;

static int on_head(void *user, const turbo__h1_head *head) {
    (void)user;
    heads_seen += head->keep_alive;
    return 0;
}

static int on_chunk(void *user, uint64_t size) {
    (void)user, (void)size;
    return 0;
}

static int on_body(void *user, const char *data, size_t len) {
    (void)user, (void)data, (void)len;
    return 0;
}

static int on_trailer(void *user, turbo_str name, turbo_str value) {
    (void)user, (void)name, (void)value;
    return 0;
}

static int on_end(void *user) {
    (void)user;
    return 0;
}

static void on_begin(void *user) { (void)user; }

static void run_parse(void *with, size_t count) {
    static const turbo__h1_events events = {on_begin, on_head, on_chunk, on_body, on_trailer, on_end};
    static const turbo__h1_limits limits = {65536, 100, 8192};
    const parse_input *in = with;
    turbo__h1_parser *parser;
    size_t used, rounds = (count + in->heads - 1) / in->heads;
    if (turbo__h1_parser_new(&parser, &events, &limits) < 0)
        die("out of memory");
    heads_seen = 0;
    for (size_t i = 0; i < rounds; i++)
        if (turbo__h1_feed(parser, NULL, in->data, in->len, &used) != TURBO__H1_MORE || used != in->len)
            die("a head was refused");
    if (heads_seen != rounds * in->heads)
        die("heads were lost");
    turbo__h1_parser_free(parser);
}

/* -- writing -- */

static void run_write_head(void *with, size_t count) {
    const turbo__h1_answer *answer = with;
    char out[1024];
    if (turbo__h1_head_bound(answer) > sizeof out)
        die("the head is too long");
    for (size_t i = 0; i < count; i++) {
        size_t len = turbo__h1_write_head(out, answer);
        __asm__ volatile("" : : "r"(out), "r"(len) : "memory"); /* the bytes are wanted */
    }
}

static void run_write_chunk(void *with, size_t count) {
    char out[TURBO__CHUNK_HEAD_MAX];
    (void)with;
    for (size_t i = 0; i < count; i++) {
        size_t len = turbo__h1_write_chunk_head(out, 1024 + i % 1024);
        __asm__ volatile("" : : "r"(out), "r"(len) : "memory");
    }
}

/* -- mailboxes -- */

static turbo__mail mails[MAILS];

static turbo__mailbox *open_box(turbo__mailbox *box) {
    *box = (turbo__mailbox){0};
    if (turbo__mailbox_open(box) < 0)
        die("no mailbox");
    return box;
}

static size_t take_all(turbo__mailbox *box) {
    size_t count = 0;
    for (turbo__mail *mail = turbo__mailbox_take(box); mail != NULL; mail = mail->next)
        count++;
    return count;
}

static void push_burst(turbo__mailbox *box, size_t first, size_t count) {
    turbo__mail_chain chain = {0};
    for (size_t i = 0; i < count; i++)
        turbo__mail_chain_add(&chain, &mails[(first + i) % MAILS]);
    if (turbo__mailbox_push(box, &chain) < 0)
        die("the mailbox is closed");
}

/* Push a chain and take it, on one thread, the receiver awake. */
static void run_mailbox(void *with, size_t count) {
    turbo__mailbox box;
    size_t burst = *(const size_t *)with, taken = 0;
    open_box(&box);
    for (size_t sent = 0; sent < count; sent += burst) {
        push_burst(&box, 0, burst);
        taken += take_all(&box);
    }
    if (taken < count)
        die("mails were lost");
    turbo__mailbox_free(&box);
}

typedef struct crossing {
    turbo__mailbox box;
    _Atomic size_t taken;
    size_t count;
} crossing;

/* Takes like a loop does: arms, blocks, disarms. */
static void *receive(void *user) {
    crossing *c = user;
    struct pollfd readable = {.fd = c->box.fd, .events = POLLIN};
    size_t taken = 0;
    while (taken < c->count) {
        if (turbo__mailbox_arm(&c->box)) {
            (void)poll(&readable, 1, -1);
            turbo__mailbox_disarm(&c->box);
        }
        taken += take_all(&c->box);
        atomic_store(&c->taken, taken);
    }
    return NULL;
}

/* One thread sends bursts as fast as it can, another takes them and sleeps when there is nothing. */
static void run_crossing(void *with, size_t count) {
    crossing c = {.count = (count + BURST - 1) / BURST * BURST};
    pthread_t thread;
    (void)with;
    open_box(&c.box);
    if (pthread_create(&thread, NULL, receive, &c) != 0)
        die("no thread");
    for (size_t sent = 0; sent < c.count; sent += BURST) {
        while (sent + BURST - atomic_load(&c.taken) > MAILS) /* a mail is sent again only after it was taken */
            sched_yield();
        push_burst(&c.box, sent, BURST);
    }
    pthread_join(thread, NULL);
    turbo__mailbox_free(&c.box);
}

/* -- measuring -- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double time_one(const bench *b, size_t count) {
    uint64_t before = cpu_ns();
    b->run(b->with, count);
    return (double)(cpu_ns() - before);
}

static void measure(const bench *b) {
    double ns[ROUNDS];
    size_t count = 1024;
    while (time_one(b, count) < ROUND_NS)
        count *= 2;
    for (size_t i = 0; i < ROUNDS; i++)
        ns[i] = time_one(b, count) / (double)count;
    qsort(ns, ROUNDS, sizeof ns[0], by_value);
    printf("{\"bench\": \"%s\", \"ns\": %.2f, \"ns_least\": %.2f, \"bytes\": %zu, \"operations\": %zu}\n", b->name,
           ns[ROUNDS / 2], ns[0], b->bytes, count);
    (void)fflush(stdout);
}

int main(int argc, char **argv) {
    static char pipelined[PIPELINED * sizeof head_wrk];
    static size_t one = 1, burst = BURST;
    for (size_t i = 0; i < PIPELINED; i++)
        memcpy(pipelined + i * (sizeof head_wrk - 1), head_wrk, sizeof head_wrk - 1);
    parse_input wrk = {head_wrk, sizeof head_wrk - 1, 1}, ab = {head_ab, sizeof head_ab - 1, 1};
    parse_input browser = {head_browser, sizeof head_browser - 1, 1};
    parse_input wrk_x16 = {pipelined, PIPELINED * (sizeof head_wrk - 1), PIPELINED};
    turbo__h1_answer answer = {.status = 200,
                               .frame = TURBO__FRAME_LENGTH,
                               .version = 11,
                               .keep_alive = 1,
                               .length = 11,
                               .date = "Thu, 01 Jan 2026 00:00:00 GMT",
                               .content_type = {"application/json", 16}};
    const bench all[] = {{"parse_wrk", run_parse, &wrk, wrk.len},
                         {"parse_wrk_x16", run_parse, &wrk_x16, wrk.len},
                         {"parse_ab", run_parse, &ab, ab.len},
                         {"parse_browser", run_parse, &browser, browser.len},
                         {"write_head", run_write_head, &answer, 0},
                         {"write_chunk_head", run_write_chunk, NULL, 0},
                         {"mailbox_one", run_mailbox, &one, 0},
                         {"mailbox_burst", run_mailbox, &burst, 0},
                         {"mailbox_two_threads", run_crossing, NULL, 0}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (argc < 2 || strstr(all[i].name, argv[1]) != NULL)
            measure(&all[i]);
    return 0;
}
