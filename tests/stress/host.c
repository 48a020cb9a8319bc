/* host.c - servers of the stress programs: any topology, driven shards with their threads, a pool that answers. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stress.h"

/* -- set-up -- */

static void run_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self;
    turbo_shard_run(shard, reqs, n);
}

static void set(turbo_options *options, const char *name, const char *value) {
    if (turbo_options_set(options, name, value) < 0)
        stress_fail(__FILE__, __LINE__, "%s", turbo_options_error(options));
}

void host_open(host *h, const char *const *settings) {
    const topology *shape = h->shape;
    turbo_options *options;
    CHECK_EQ(turbo_options_new(&options), 0);
    CHECK_EQ(turbo_options_set_u64(options, "io_threads", shape->io_threads), 0);
    CHECK_EQ(turbo_options_set_u64(options, "shards", shape->shards), 0);
    for (size_t i = 0; settings != NULL && settings[i] != NULL; i += 2)
        set(options, settings[i], settings[i + 1]);
    CHECK_EQ(turbo_server_new(&h->server, options), 0);
    turbo_options_free(options);
    if (shape->driven || h->ops.events != NULL || h->ops.start_shard != NULL) {
        h->ops.size = sizeof h->ops;
        if (h->ops.batch == NULL)
            h->ops.batch = run_batch;
        h->ops.flags = shape->driven ? TURBO_EXECUTOR_DRIVEN : 0;
        CHECK_EQ(turbo_server_set_executor(h->server, &h->ops, h), 0);
    }
    /* That requests are abandoned is what some programs are for. */
    CHECK_EQ(turbo_server_set_log(h->server, TURBO_LOG_ERROR, NULL, NULL), 0);
    CHECK_EQ(turbo_server_listen(h->server, "127.0.0.1:0"), 0);
    h->port = turbo_server_port(h->server);
}

static turbo_route_options *route_options(const char *text) {
    turbo_route_options *out;
    char words[256], *rest = words;
    CHECK_EQ(turbo_route_options_new(&out), 0);
    snprintf(words, sizeof words, "%s", text);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        CHECK(value != NULL);
        *value++ = '\0';
        if (turbo_route_options_set(out, word, value) < 0)
            stress_fail(__FILE__, __LINE__, "%s", turbo_route_options_error(out));
    }
    return out;
}

void host_route(host *h, const char *method, const char *path, const char *options, turbo_handler_fn fn, void *user) {
    turbo_route_options *o = route_options(options);
    CHECK_EQ(turbo_server_route(h->server, method, path, o, fn, user), 0);
    turbo_route_options_free(o);
}

void host_route_batch(host *h, const char *method, const char *path, const char *options, turbo_weight_fn weight,
                      turbo_batch_fn fn, void *user) {
    turbo_route_options *o = route_options(options);
    CHECK_EQ(turbo_route_options_set_weight(o, weight, user), 0);
    CHECK_EQ(turbo_server_route_batch(h->server, method, path, o, fn, user), 0);
    turbo_route_options_free(o);
}

/* -- life -- */

/* A host's loop: sleeps only when it may, and never calls again once the shard has ended. */
static void *drive(void *arg) {
    turbo_shard *shard = arg;
    struct pollfd watch = {.fd = turbo_shard_fd(shard), .events = POLLIN};
    CHECK(watch.fd >= 0);
    for (;;) {
        int rc = turbo_shard_poll(shard);
        if (rc == TURBO_ECLOSED)
            return NULL;
        CHECK(rc >= 0);
        if (rc == 0)
            (void)poll(&watch, 1, turbo_shard_timeout_ms(shard));
    }
}

int host_start(host *h) {
    int rc = turbo_server_start(h->server);
    for (unsigned i = 0; rc == 0 && h->shape->driven && i < h->shape->shards; i++) {
        h->drivers[i] = stress_thread(drive, turbo_server_shard(h->server, i));
        h->driving++;
    }
    return rc;
}

void host_join(host *h) {
    while (h->driving > 0)
        stress_join(h->drivers[--h->driving]);
}

turbo_stats host_stop(host *h) {
    turbo_stats s = TURBO_STATS_INIT;
    CHECK_EQ(turbo_server_stop(h->server, NULL, NULL), 0);
    CHECK_EQ(turbo_server_wait(h->server), 0);
    host_join(h);
    CHECK_EQ(turbo_server_stats(h->server, &s), 0);
    CHECK_EQ(s.taken, s.answered + s.shed + s.dropped + s.abandoned);
    CHECK_EQ(s.connections, 0);
    return s;
}

void host_release(host *h) {
    turbo_server_release(h->server);
    h->server = NULL;
}

/* -- the pool -- */

/* All that waits at once, so that the threads do not fight for the lock. */
static job *take_jobs(pool *p) {
    pthread_mutex_lock(&p->lock);
    while (p->first == NULL && !p->closed)
        pthread_cond_wait(&p->more, &p->lock);
    job *list = p->first;
    p->first = p->last = NULL;
    pthread_mutex_unlock(&p->lock);
    return list;
}

static void *run_jobs(void *arg) {
    for (job *list; (list = take_jobs(arg)) != NULL;) {
        while (list != NULL) {
            job *next = list->next;
            list->fn(list); /* which frees it, or adds it again */
            list = next;
        }
    }
    return NULL;
}

void pool_open(pool *p, unsigned threads) {
    *p = (pool){.count = threads};
    CHECK(threads <= COUNT_OF(p->threads));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    for (unsigned i = 0; i < threads; i++)
        p->threads[i] = stress_thread(run_jobs, p);
}

void pool_add(pool *p, job *j) {
    j->next = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->last != NULL)
        p->last->next = j;
    else
        p->first = j;
    p->last = j;
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

void pool_close(pool *p) {
    pthread_mutex_lock(&p->lock);
    p->closed = 1;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        stress_join(p->threads[i]);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->more);
}
