/* stress.h - what the stress programs share: counts, checks, deadlines, threads, servers, clients.
 *
 * A program takes how much it does in percent of its full counts (default 100) and a seed. A check that fails, or a
 * phase that does not end in time, ends the process at once: what the other threads do then is of no interest. */
#ifndef STRESS_H
#define STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <turbo.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* -- the program -- */

/** Read the arguments: [percent] [seed]. */
void stress_begin(int argc, char **argv);

/** A phase begins: it must end within so many seconds. */
void stress_phase(const char *name, unsigned seconds);

/** What the phase did, for the log; then its time. */
void stress_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The given share of a full count, but at least `least`. */
uint64_t stress_count(uint64_t full, uint64_t least);

void stress_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            stress_fail(__FILE__, __LINE__, "%s", #condition);                                                         \
    } while (0)

#define CHECK_EQ(a, b)                                                                                                 \
    do {                                                                                                               \
        unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b);                                 \
        if (a_ != b_)                                                                                                  \
            stress_fail(__FILE__, __LINE__, "%s is %llu, %s is %llu", #a, a_, #b, b_);                                 \
    } while (0)

/** Wait for something that can only be asked for; the phase's deadline is the limit. */
#define WAIT_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            stress_pause();                                                                                            \
    } while (0)
void stress_pause(void);

uint64_t stress_now_ms(void);

/* -- threads and chance -- */

pthread_t stress_thread(void *(*fn)(void *), void *arg);
void stress_join(pthread_t thread);

/** A stream of numbers of its own for each thread. */
typedef struct chance {
    uint64_t state;
} chance;
chance chance_of(uint64_t thread);
uint64_t chance_next(chance *c);
/** 0 .. below-1 */
static inline uint64_t chance_below(chance *c, uint64_t below) { return chance_next(c) % below; }

/** Open descriptors and threads of this process. */
unsigned stress_fds(void);
unsigned stress_threads(void);

/* -- the bytes that belong to an id -- */

#define PAYLOAD_MAX 16384

/** @return how many bytes were written to out (PAYLOAD_MAX): they begin with the id and differ in length. */
size_t payload_of(uint64_t id, char *out);

/** Whether bytes are those of an id. */
int payload_is(uint64_t id, const char *data, size_t len);

/* -- a server of any topology, with the threads that drive it -- */

typedef struct topology {
    const char *name;
    unsigned io_threads, shards;
    int driven;
} topology;

#define HOST_SHARDS_MAX 8

typedef struct host {
    const topology *shape;  /* set before host_open()                                       */
    turbo_executor_ops ops; /* functions may be set before host_open(); batch has a default */
    turbo_server *server;
    uint16_t port;
    pthread_t drivers[HOST_SHARDS_MAX];
    _Atomic unsigned driving;
} host;

/** Make a server on a free port, not started. settings: "name", "value", ..., NULL; may be NULL. */
void host_open(host *h, const char *const *settings);

/** Start it, and drive its shards if it is driven. @return as turbo_server_start(). */
int host_start(host *h);

/** Stop, wait for the end and for the drivers; check the sum of the counters. The server is still there. */
turbo_stats host_stop(host *h);

/** Wait for the threads that drive the shards: the server has been told to stop. */
void host_join(host *h);

void host_release(host *h);

/** Add a route with "name=value" options separated by spaces; "" for none. */
void host_route(host *h, const char *method, const char *pattern, const char *options, turbo_handler_fn fn, void *user);
/** The same for a batch callback; `weight` may be NULL, and has the same user. */
void host_route_batch(host *h, const char *method, const char *pattern, const char *options, turbo_weight_fn weight,
                      turbo_batch_fn fn, void *user);

/* -- threads that answer: jobs in, each run once, on any of them -- */

typedef struct job {
    struct job *next;
    void (*fn)(struct job *job);
} job;

typedef struct pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    job *first, *last;
    int closed;
    unsigned count;
    pthread_t threads[4];
} pool;

void pool_open(pool *p, unsigned threads);
/** Thread: any. */
void pool_add(pool *p, job *j);
/** Run what is left, then end. */
void pool_close(pool *p);

/* -- a client of its own connection -- */

#define CLIENT_BUF_BYTES (256 * 1024)

typedef struct client {
    int fd;
    size_t at, end; /* unread bytes of buf */
    char *buf;
} client;

typedef struct answer {
    int status;
    int close;       /* Connection: close */
    int retry_after; /* the field is there */
    const char *body; /* valid until the next call */
    size_t len;
} answer;

/** @return 0; -1: refused. */
int client_open(client *c, uint16_t port);
/** @return 0; -1: the connection is gone. */
int client_send(client *c, const void *data, size_t len);
/** Read an answer. @return 1; 0: the server ended the connection in order, between two answers; -1: it is gone. */
int client_answer(client *c, answer *out);
/** Read some bytes and throw them away. @return as recv(). */
long client_skip(client *c, size_t len);
/** Read bytes as they come, where no answer is being read. @return as recv(). */
long client_read(client *c, void *out, size_t len);
void client_close(client *c);
/** Go away with a RST. */
void client_reset(client *c);

#endif
