/* own_executor.c - a host that brings its own executor: a pool of threads that all shards share.
 *
 * libturbo hands each batch to the executor on the shard's thread; the pool runs the handlers, which may block, and the
 * answers leave from the pool's threads.
 *
 *     own_executor [ADDRESS]        then: curl http://127.0.0.1:8000/work */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <turbo.h>

#define THREADS 4

/* A request that waits for a thread of the pool. */
typedef struct job {
    struct job *next;
    turbo_request *req;
} job;

typedef struct pool {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    job *first, **end;
    int closing;
    pthread_t threads[THREADS];
    int started;
} pool;

/* -- the pool -- */

static job *take_job(pool *p) {
    pthread_mutex_lock(&p->lock);
    while (p->first == NULL && !p->closing)
        pthread_cond_wait(&p->changed, &p->lock);
    job *j = p->first;
    if (j != NULL && (p->first = j->next) == NULL)
        p->end = &p->first;
    pthread_mutex_unlock(&p->lock);
    return j;
}

static void *work(void *arg) {
    pool *p = arg;
    job *j;
    while ((j = take_job(p)) != NULL) {
        turbo_request_run(j->req); /* calls the route's handler here */
        turbo_request_release(j->req);
        free(j);
    }
    return NULL;
}

static int open_pool(pool *p) {
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->end = &p->first;
    for (; p->started < THREADS; p->started++)
        if (pthread_create(&p->threads[p->started], NULL, work, p) != 0)
            return TURBO_ENOMEM;
    return 0;
}

/* Runs what is left, then ends the threads. */
static void close_pool(pool *p) {
    pthread_mutex_lock(&p->lock);
    p->closing = 1;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    while (p->started > 0)
        pthread_join(p->threads[--p->started], NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
}

/* -- the executor: what libturbo calls -- */

/* Each request is kept until a thread has run it. One lock and one wake-up a batch. */
static void run_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    pool *p = self;
    (void)shard;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) {
        job *j = malloc(sizeof *j);
        if (j == NULL) {
            (void)turbo_request_reply(reqs[i], 503, "text/plain", "no memory\n", 10);
            continue;
        }
        *j = (job){.req = turbo_request_retain(reqs[i])};
        *p->end = j;
        p->end = &j->next;
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* -- the application -- */

/* Blocks, as a call into a database would. It holds up no other request but those beyond the pool's threads. */
static int on_work(turbo_request *req, void *user) {
    pool *p = user;
    char body[64];
    int number = 0;
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    while (number < THREADS && !pthread_equal(p->threads[number], pthread_self()))
        number++;
    int len = snprintf(body, sizeof body, "done by thread %d of the pool\n", number + 1);
    return turbo_request_reply(req, 200, "text/plain", body, (size_t)len);
}

static int serve(turbo_server *server, const char *address, pool *p) {
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    ops.batch = run_batch;
    int rc = turbo_server_set_executor(server, &ops, p);
    if (rc == 0)
        rc = turbo_server_route(server, "GET", "/work", NULL, on_work, p);
    if (rc == 0)
        rc = turbo_server_listen(server, address);
    return rc < 0 ? rc : turbo_server_run(server);
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:8000";
    turbo_server *server = NULL;
    pool p = {.started = 0};
    int rc = open_pool(&p);
    if (rc == 0 && (rc = turbo_server_new(&server, NULL)) == 0)
        rc = serve(server, address, &p);
    if (rc < 0)
        fprintf(stderr, "own_executor: %s: %s\n", address, turbo_strerror(rc));
    close_pool(&p); /* while the server lives: a drain that ran out of time has left requests here */
    turbo_server_release(server);
    return rc < 0;
}
