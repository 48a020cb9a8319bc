/* shard.c - a thread or a driven fd, a queue, batches, a gate, an executor. */
#include "shard.h"

#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "body.h"
#include "clock.h"
#include "io.h"
#include "mem.h"
#include "os/os.h"
#include "queue.h"
#include "server.h"
#include "turbo/error.h"

typedef struct post {
    turbo__mail mail;
    turbo_shard_fn fn;
    void *user;
} post;

struct turbo_timer {
    turbo__heap_entry entry;
    turbo_shard *shard;
    turbo_shard_fn fn;
    void *user;
};

void turbo__shard_event(turbo_shard *shard, turbo_request *req, uint32_t events) {
    if (atomic_fetch_or(&req->events, events) != 0)
        return; /* it is with the shard already, which looks at them all */
    turbo_request_retain(req);
    if (turbo__mailbox_push_urgent(&shard->box, &req->to_shard) < 0)
        turbo_request_release(req);
}

/* -- answers -- */

void turbo__shard_send_home(turbo_shard *shard, turbo_request *req) {
    turbo__mail_chain_add(&shard->outboxes[req->io->index], &req->to_home);
}

void turbo_shard_flush(turbo_shard *shard) {
    turbo_server *server = shard->server;
    for (size_t i = 0; i < server->io_count; i++) {
        turbo__mail_chain *chain = &shard->outboxes[i];
        if (chain->newest != NULL && turbo__mailbox_push(&server->ios[i]->box, chain) < 0) {
            turbo__io_refuse(chain->newest);
            *chain = (turbo__mail_chain){0};
        }
    }
}

void turbo__shard_latency(turbo_shard *shard, const turbo_request *req, uint64_t now_ns) {
    uint64_t us64 = now_ns > req->queued_ns ? (now_ns - req->queued_ns) / 64000 : 0;
    unsigned bucket = us64 == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us64);
    if (bucket >= TURBO_STATS_LATENCY_BUCKETS)
        bucket = TURBO_STATS_LATENCY_BUCKETS - 1;
    atomic_fetch_add_explicit(&shard->latency[bucket], 1, memory_order_relaxed);
}

/* -- mail -- */

static void default_events(turbo_request *req, uint32_t events) {
    if ((events & (TURBO_EVENT_WRITABLE | TURBO_EVENT_GONE)) != 0 && req->writable_fn != NULL &&
        atomic_exchange(&req->want_writable, 0) != 0)
        req->writable_fn(req, req->writable_user);
    if ((events & (TURBO_EVENT_BODY | TURBO_EVENT_BODY_END)) != 0)
        turbo__body_call(req);
    if ((events & (TURBO_EVENT_GONE | TURBO_EVENT_DEADLINE)) != 0 && req->gone_fn != NULL &&
        atomic_load_explicit(&req->state, memory_order_relaxed) != TURBO__ENDED) {
        turbo_request_fn fn = req->gone_fn;
        req->gone_fn = NULL;
        fn(req, req->gone_user);
    }
}

/* Also of a request that was dropped from the queue as its client went: the executor knows nothing of that one. */
static void take_events(turbo_shard *shard, turbo_request *req) {
    uint32_t events = atomic_exchange(&req->events, 0);
    if (shard->ops.events == NULL)
        default_events(req, events);
    else if (req->given)
        shard->ops.events(shard->self, shard, req, events);
    turbo_request_release(req);
}

static void take_post(turbo_shard *shard, turbo__mail *mail, int status) {
    post *p = TURBO__CONTAINER(mail, post, mail);
    p->fn(shard, status, p->user);
    turbo__free(p);
}

static void take_mail(turbo_shard *shard) {
    turbo__mail *mail = turbo__mailbox_take(&shard->box);
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        if (mail->kind == TURBO__MAIL_POST) {
            take_post(shard, mail, 0);
        } else {
            turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_shard);
            if (atomic_load_explicit(&req->events, memory_order_relaxed) & TURBO_EVENT_NEW)
                turbo__queue_append(shard, mail);
            else
                take_events(shard, req);
        }
        mail = next;
    }
}

/* -- batches -- */

static void count_batch(turbo_shard *shard, size_t n) {
    turbo__count(&shard->batch_sizes[turbo__batch_bucket(n)], 1);
    turbo__count(&shard->batches, 1);
    turbo__count(&shard->requests, n);
}

static void run_batch(turbo_shard *shard, size_t n, uint64_t since) {
    turbo__gate_enter(&shard->gate, n);
    count_batch(shard, n);
    atomic_store_explicit(&shard->batch_since_ns, since, memory_order_relaxed);
    shard->in_batch = 1;
    shard->ops.batch(shard->self, shard, shard->reqs, n);
    shard->in_batch = 0;
    uint64_t now = turbo__clock_ns();
    for (size_t i = 0; i < n; i++) {
        turbo_request *req = shard->reqs[i];
        if (req->answered_in_batch)
            turbo__shard_latency(shard, req, now);
        turbo_request_release(req); /* the queue's */
    }
    atomic_store_explicit(&shard->request_ns, (now - since) / n, memory_order_relaxed);
    atomic_store_explicit(&shard->batch_since_ns, 0, memory_order_relaxed);
}

/* -- handlers -- */

static void run_handler(turbo_request *req) {
    const turbo__route *route = req->route;
    if (route->handler == NULL) {
        turbo__answer_no_handler(req);
        return;
    }
    int rc = route->handler(req, route->user);
    if (rc != 0)
        turbo__answer_failed(req, "the handler returned", rc);
}

void turbo_request_run(turbo_request *req) {
    const turbo__route *route = req->route;
    turbo_request_retain(req); /* the handler may answer it, and then fail */
    if (route->batch_fn != NULL)
        route->batch_fn(req->shard, &req, 1, route->user);
    else
        run_handler(req);
    turbo_request_release(req);
}

static void close_batches(turbo_shard *shard) {
    turbo__batcher_run(&shard->batcher, shard, turbo__clock_ns(), turbo__server_draining(shard->server));
}

void turbo_shard_run(turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const turbo__route *route = reqs[i]->route;
        if (route->executor == TURBO__EXECUTOR_POOL) {
            turbo__pool_put(&shard->pool, reqs[i]);
            continue;
        }
        if (route->batch_fn == NULL) {
            run_handler(reqs[i]);
            continue;
        }
        int rc = turbo__batcher_add(&shard->batcher, shard, reqs[i]);
        if (rc < 0)
            turbo__answer_failed(reqs[i], "it joined no batch:", rc);
    }
    if (!shard->in_batch && shard->batcher.waiting > 0)
        close_batches(shard); /* no end of a turn is to come that would */
}

/* -- the pool's threads -- */

size_t turbo_shard_pool_threads(const turbo_shard *shard) { return shard->pool.threads; }

int turbo_shard_pool_next(turbo_shard *shard, turbo_request *done, turbo_request **out) {
    if ((shard->ops.flags & TURBO_EXECUTOR_HOSTS_POOL) == 0 || shard->pool.threads == 0)
        return TURBO_ESTATE;
    return turbo__pool_next(&shard->pool, done, out);
}

static void *pool_main(void *arg) {
    turbo_shard *shard = arg;
    turbo_request *req = NULL;
    char name[16];
    (void)snprintf(name, sizeof name, "turbo-pool-%u", (unsigned)shard->index % 1000);
    turbo__os_thread_name(name);
    while (turbo__pool_next(&shard->pool, req, &req) == 0)
        turbo_request_run(req);
    return NULL;
}

int turbo__shard_start_pool(turbo_shard *shard, int (*thread_new)(pthread_t *, void *(*)(void *), void *)) {
    uint32_t n = (shard->ops.flags & TURBO_EXECUTOR_HOSTS_POOL) != 0 ? 0 : shard->pool.threads;
    int rc = 0;
    if (n > 0 && (shard->pool_threads = turbo__malloc(n * sizeof *shard->pool_threads)) == NULL)
        return TURBO_ENOMEM;
    while (rc == 0 && shard->pool_started < n)
        if ((rc = thread_new(&shard->pool_threads[shard->pool_started], pool_main, shard)) == 0)
            shard->pool_started++;
    return rc;
}

void turbo__shard_join_pool(turbo_shard *shard) {
    while (shard->pool_started > 0)
        pthread_join(shard->pool_threads[--shard->pool_started], NULL);
}

/* -- timers -- */

static void run_timers(turbo_shard *shard, uint64_t now_ns) {
    turbo__heap_entry *first;
    while ((first = turbo__heap_first(&shard->timers)) != NULL && first->at_ns <= now_ns) {
        turbo_timer *timer = TURBO__CONTAINER(first, turbo_timer, entry);
        turbo__heap_remove(&shard->timers, first);
        timer->fn(shard, 0, timer->user);
        turbo__free(timer);
    }
}

int turbo_shard_timer(turbo_timer **out, turbo_shard *shard, uint64_t delay_ms, turbo_shard_fn fn, void *user) {
    if (atomic_load_explicit(&shard->state, memory_order_relaxed) >= TURBO__SHARD_STOPPING)
        return TURBO_ECLOSED;
    turbo_timer *timer = turbo__malloc(sizeof *timer);
    if (timer == NULL)
        return TURBO_ENOMEM;
    *timer = (turbo_timer){.shard = shard, .fn = fn, .user = user};
    timer->entry.at_ns = turbo__clock_ns() + delay_ms * 1000000;
    if (turbo__heap_add(&shard->timers, &timer->entry) < 0) {
        turbo__free(timer);
        return TURBO_ENOMEM;
    }
    if (out != NULL)
        *out = timer;
    return 0;
}

void turbo_timer_cancel(turbo_timer *timer) {
    turbo__heap_remove(&timer->shard->timers, &timer->entry);
    turbo__free(timer);
}

/* 0 means never. */
static uint64_t earlier(uint64_t a, uint64_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/* When the shard must next run though no mail came. @return 0: never. */
static uint64_t next_ns(const turbo_shard *shard) {
    turbo__heap_entry *first = turbo__heap_first(&shard->timers);
    uint64_t at = earlier(first == NULL ? 0 : first->at_ns, turbo__batcher_next_ns(&shard->batcher));
    at = earlier(at, atomic_load_explicit(&shard->overdue.next_ns, memory_order_relaxed));
    return earlier(at, shard->sweep_ns);
}

static int ms_until(uint64_t at_ns) {
    uint64_t now = turbo__clock_ns();
    uint64_t ms = at_ns <= now ? 0 : (at_ns - now + 999999) / 1000000;
    return ms > 86400000 ? 86400000 : (int)ms;
}

static void on_uv_timer(uv_timer_t *timer) { ((turbo_shard *)timer->data)->uv_timer_ns = 0; /* the turn does the rest */ }

static void arm_timer(turbo_shard *shard) {
    uint64_t at = next_ns(shard);
    if (shard->loop == NULL || at == 0 || (shard->uv_timer_ns != 0 && shard->uv_timer_ns <= at))
        return;
    shard->uv_timer_ns = at;
    uv_update_time(&shard->loop->uv);
    uv_timer_start(&shard->uv_timer, on_uv_timer, (uint64_t)ms_until(at), 0);
}

/* -- turns and the end -- */

static void end_timers(turbo_shard *shard) {
    turbo__heap_entry *first;
    while ((first = turbo__heap_first(&shard->timers)) != NULL) {
        turbo_timer *timer = TURBO__CONTAINER(first, turbo_timer, entry);
        turbo__heap_remove(&shard->timers, first);
        timer->fn(shard, TURBO_ECLOSED, timer->user);
        turbo__free(timer);
    }
}

static void end_mail(turbo_shard *shard) {
    turbo__mail *mail = turbo__mailbox_seal(&shard->box);
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_shard);
        if (mail->kind == TURBO__MAIL_POST)
            take_post(shard, mail, TURBO_ECLOSED);
        else if (atomic_load_explicit(&req->events, memory_order_relaxed) & TURBO_EVENT_NEW)
            turbo__queue_append(shard, mail);
        else
            take_events(shard, req);
        mail = next;
    }
}

static void wind_down(turbo_shard *shard) {
    turbo__batcher_run(&shard->batcher, shard, 0, 1);
    turbo__overdue_close(&shard->overdue);
    end_mail(shard);
    turbo__queue_end(shard);
    end_timers(shard);
    if (shard->ops.stop_shard != NULL)
        shard->ops.stop_shard(shard->self, shard);
    turbo_shard_flush(shard);
    turbo__pool_close(&shard->pool);
    turbo__queue_abandon(shard);
    atomic_store(&shard->state, TURBO__SHARD_ENDED);
    turbo__shard_close_unused(shard);
    turbo__server_shard_ended(shard->server);
}

/* The stop has poked the shard, so that it turns. */
static void tell_of_drain(turbo_shard *shard) {
    const turbo_server *server = shard->server;
    shard->drain_told = 1;
    if (server->drain_fn != NULL)
        server->drain_fn(shard, 0, server->drain_user);
}

int turbo__shard_turn(void *self) {
    turbo_shard *shard = self;
    shard->came_here = 0;
    if (!shard->drain_told && turbo__server_draining(shard->server))
        tell_of_drain(shard);
    if (shard->timers.count > 0)
        run_timers(shard, turbo__clock_ns());
    take_mail(shard);
    turbo__queue_learn(shard);
    uint64_t now_ns = 0;
    size_t n = turbo__queue_has_any(shard) ? turbo__queue_gather(shard, &now_ns) : 0;
    if (n > 0)
        run_batch(shard, n, now_ns);
    if (shard->batcher.waiting > 0)
        close_batches(shard); /* behind the queue: what is due takes along what has come */
    if (turbo__queue_may_expire(shard))
        turbo__queue_sweep(shard);
    /* Behind the mail: an answer that is in it, or was made by this batch, came in time. */
    if (atomic_load_explicit(&shard->overdue.next_ns, memory_order_relaxed) != 0)
        turbo__overdue_check(shard);
    turbo_shard_flush(shard);
    if (atomic_load_explicit(&shard->state, memory_order_acquire) == TURBO__SHARD_STOPPING) {
        wind_down(shard);
        return 0;
    }
    arm_timer(shard);
    if (turbo__queue_may_go_on(shard))
        return 1;
    /* At a full gate more requests are no reason to wake: whoever leaves pokes. */
    shard->box.quiet = turbo__shard_has_line(shard) != 0;
    return 0;
}

int turbo_shard_post(turbo_shard *shard, turbo_shard_fn fn, void *user) {
    post *p = turbo__malloc(sizeof *p);
    if (p == NULL)
        return TURBO_ENOMEM;
    *p = (post){.mail = {.kind = TURBO__MAIL_POST}, .fn = fn, .user = user};
    int rc = turbo__mailbox_push_urgent(&shard->box, &p->mail);
    if (rc < 0)
        turbo__free(p);
    return rc;
}

/* -- driven shards -- */

int turbo_shard_fd(const turbo_shard *shard) {
    if (!shard->driven || atomic_load_explicit(&shard->state, memory_order_relaxed) == TURBO__SHARD_NEW)
        return TURBO_ESTATE;
    return shard->loop != NULL ? uv_backend_fd(&shard->loop->uv) : shard->box.fd;
}

/* Until its first poll nothing makes the descriptor readable. */
static int is_unpolled(const turbo_shard *shard) {
    return atomic_load_explicit(&shard->state, memory_order_relaxed) != TURBO__SHARD_NEW &&
           atomic_load_explicit(&shard->has_thread, memory_order_relaxed) == 0;
}

int turbo_shard_timeout_ms(const turbo_shard *shard) {
    if (!shard->driven || atomic_load_explicit(&shard->state, memory_order_relaxed) == TURBO__SHARD_ENDED)
        return -1;
    if (is_unpolled(shard))
        return 0;
    uint64_t at = next_ns(shard);
    int own = at == 0 ? -1 : ms_until(at);
    int loop = shard->loop == NULL ? -1 : turbo__loop_timeout_ms(shard->loop);
    return own < 0 || (loop >= 0 && loop < own) ? loop : own;
}

static void adopt_thread(turbo_shard *shard) {
    shard->thread = pthread_self();
    atomic_store_explicit(&shard->has_thread, 1, memory_order_release);
}

/* Without a loop the mailbox is all that has to be armed. @return 1: call again. */
static int poll_mailbox(turbo_shard *shard) {
    turbo__mailbox_disarm(&shard->box);
    return turbo__shard_turn(shard) || !turbo__mailbox_arm(&shard->box);
}

int turbo_shard_poll(turbo_shard *shard) {
    if (!shard->driven || atomic_load_explicit(&shard->state, memory_order_relaxed) == TURBO__SHARD_NEW)
        return TURBO_ESTATE;
    if (atomic_load_explicit(&shard->has_thread, memory_order_relaxed) == 0)
        adopt_thread(shard);
    else if (!pthread_equal(shard->thread, pthread_self()) || shard->polling)
        return TURBO_ESTATE;
    shard->polling = 1;
    int more = shard->loop != NULL ? turbo__loop_poll(shard->loop) : poll_mailbox(shard);
    shard->polling = 0;
    int ended = atomic_load(&shard->state) == TURBO__SHARD_ENDED &&
                (shard->loop == NULL || !uv_loop_alive(&shard->loop->uv));
    if (ended)
        turbo__server_loop_ended(shard->server, shard);
    return ended ? TURBO_ECLOSED : more;
}

/* -- life -- */

static int open_loop(turbo_shard *shard) {
    int rc = turbo__loop_open(&shard->own_loop, shard->driven);
    if (rc < 0)
        return rc;
    shard->loop = &shard->own_loop;
    uv_timer_init(&shard->loop->uv, &shard->uv_timer);
    shard->uv_timer.data = shard;
    shard->timer_open = 1;
    shard->member = (turbo__member){.turn = turbo__shard_turn, .self = shard, .box = &shard->box};
    return turbo__loop_join(shard->loop, &shard->member);
}

int turbo__shard_open(turbo_shard *shard, turbo_server *server) {
    int rc;
    shard->server = server;
    shard->ops = server->executor;
    shard->self = server->executor_self;
    shard->driven = (shard->ops.flags & TURBO_EXECUTOR_DRIVEN) != 0;
    turbo__gate_init(&shard->gate, server->settings.inflight_max);
    shard->reqs = turbo__malloc(server->settings.batch_max * sizeof(turbo_request *));
    shard->outboxes = turbo__calloc(server->io_count, sizeof *shard->outboxes);
    if (shard->reqs == NULL || shard->outboxes == NULL)
        return TURBO_ENOMEM;
    if ((rc = turbo__pool_open(&shard->pool, server->routes, server->route_count)) < 0 ||
        (rc = turbo__overdue_open(&shard->overdue, server->routes, server->route_count)) < 0 ||
        (rc = turbo__lanes_open(&shard->lanes, server->routes, server->route_count)) < 0 ||
        (rc = turbo__mailbox_open(&shard->box)) < 0)
        return rc;
    return shard->driven && server->settings.io_threads > 0 ? 0 : open_loop(shard);
}

int turbo__shard_begin(turbo_shard *shard) {
    if (!shard->driven)
        adopt_thread(shard);
    atomic_store(&shard->state, TURBO__SHARD_RUNNING);
    return shard->ops.start_shard == NULL ? 0 : shard->ops.start_shard(shard->self, shard);
}

void turbo__shard_stop(turbo_shard *shard) {
    unsigned running = TURBO__SHARD_RUNNING;
    atomic_compare_exchange_strong(&shard->state, &running, TURBO__SHARD_STOPPING);
    turbo__mailbox_poke(&shard->box);
}

void turbo__shard_close_unused(turbo_shard *shard) {
    if (shard->loop == NULL || !shard->loop->open || !shard->timer_open)
        return;
    shard->timer_open = 0;
    uv_close((uv_handle_t *)&shard->uv_timer, NULL);
    turbo__loop_leave(shard->loop, &shard->member);
}

void turbo__shard_give_up(turbo_shard *shard) {
    atomic_store(&shard->state, TURBO__SHARD_ENDED);
    turbo__pool_close(&shard->pool);
    end_mail(shard);
    end_timers(shard);
}

void turbo__shard_free(turbo_shard *shard) {
    turbo__shard_give_up(shard); /* nothing is left with one that ran */
    turbo__mailbox_free(&shard->box);
    turbo__batcher_free(&shard->batcher);
    turbo__pool_free(&shard->pool);
    turbo__lanes_free(&shard->lanes);
    turbo__overdue_free(&shard->overdue);
    turbo__free(shard->pool_threads);
    turbo__heap_free(&shard->timers);
    turbo__free(shard->reqs);
    turbo__free(shard->outboxes);
}

/* -- getters -- */

size_t turbo_shard_index(const turbo_shard *shard) { return shard->index; }

void turbo_shard_data_set(turbo_shard *shard, void *data) { shard->data = data; }

void *turbo_shard_data(const turbo_shard *shard) { return shard->data; }

size_t turbo_shard_queued(const turbo_shard *shard) {
    return (size_t)atomic_load_explicit(&shard->queued, memory_order_relaxed);
}

size_t turbo_shard_inflight(const turbo_shard *shard) { return (size_t)turbo__gate_inside(&shard->gate); }

int turbo_shard_draining(const turbo_shard *shard) { return turbo__server_draining(shard->server); }
