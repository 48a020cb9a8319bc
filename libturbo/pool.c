/* pool.c - requests in, one lane a route; threads take from the lanes in turn. What runs here blocks for far longer than
 * a lock takes, so one lock for all of it is enough. */
#include "pool.h"

#include "answer.h"
#include "body.h"
#include "mem.h"
#include "queue.h"
#include "turbo/error.h"

/* -- lanes; lock held -- */

static void make_ready(turbo__pool *pool, turbo__pool_lane *lane) {
    if (lane->is_ready || lane->first == NULL || lane->running == lane->max)
        return;
    lane->is_ready = 1;
    lane->next = NULL;
    if (pool->ready_last != NULL)
        pool->ready_last->next = lane;
    else
        pool->ready = lane;
    pool->ready_last = lane;
}

static turbo_request *take(turbo__pool *pool) {
    turbo__pool_lane *lane = pool->ready;
    turbo_request *req = lane->first;
    pool->ready = lane->next;
    if (pool->ready == NULL)
        pool->ready_last = NULL;
    lane->is_ready = 0;
    lane->first = req->pool_next;
    lane->running++;
    make_ready(pool, lane);
    if (pool->ready != NULL && pool->waiting > 0)
        pthread_cond_signal(&pool->changed);
    return req;
}

static void give_back(turbo__pool *pool, const turbo_request *req) {
    turbo__pool_lane *lane = &pool->lanes[req->route->index];
    lane->running--;
    make_ready(pool, lane);
}

/* Requests were taken from a lane that is in the list of ready ones. */
static void leave_ready_if_empty(turbo__pool *pool, turbo__pool_lane *lane) {
    turbo__pool_lane **link = &pool->ready, *before = NULL;
    if (!lane->is_ready || lane->first != NULL)
        return;
    while (*link != lane) {
        before = *link;
        link = &before->next;
    }
    *link = lane->next;
    if (pool->ready_last == lane)
        pool->ready_last = before;
    lane->is_ready = 0;
}

/* -- in and out -- */

void turbo__pool_put(turbo__pool *pool, turbo_request *req) {
    turbo__pool_lane *lane = &pool->lanes[req->route->index];
    turbo_request_retain(req);
    req->pool_next = NULL;
    pthread_mutex_lock(&pool->lock);
    if (lane->first != NULL)
        lane->last->pool_next = req;
    else
        lane->first = req;
    lane->last = req;
    atomic_fetch_add_explicit(&pool->queued, 1, memory_order_relaxed);
    make_ready(pool, lane);
    if (pool->ready != NULL && pool->waiting > 0)
        pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

/* @return a request; NULL when there will be none. */
static turbo_request *wait_for_one(turbo__pool *pool, const turbo_request *done) {
    turbo_request *req = NULL;
    pthread_mutex_lock(&pool->lock);
    if (done != NULL)
        give_back(pool, done);
    while (pool->ready == NULL && !(pool->closed && atomic_load_explicit(&pool->queued, memory_order_relaxed) == 0)) {
        pool->waiting++;
        pthread_cond_wait(&pool->changed, &pool->lock);
        pool->waiting--;
    }
    if (pool->ready != NULL) {
        req = take(pool);
        atomic_fetch_sub_explicit(&pool->queued, 1, memory_order_relaxed);
    } else {
        pthread_cond_signal(&pool->changed); /* the next one that waits is to see the end, too */
    }
    pthread_mutex_unlock(&pool->lock);
    return req;
}

/* @return 1 when it is to run, from now on; else it has its answer. */
static int is_to_run(turbo__pool *pool, turbo_request *req) {
    uint64_t now_ns = 0;
    if (turbo__request_is_gone(req)) {
        atomic_fetch_add_explicit(&pool->dropped, 1, memory_order_relaxed);
        (void)turbo__answer_status(req, 503, NULL); /* which nobody will read, but ends it */
        return 0;
    }
    if (turbo__queue_is_late(req, &now_ns)) {
        turbo__queue_expire(req);
        return 0;
    }
    if (turbo__body_lacks_memory(req)) {
        (void)turbo__answer_shed(req);
        return 0;
    }
    if (req->route->handler_timeout_ns != 0)
        turbo__overdue_begin(req, &now_ns);
    return 1;
}

int turbo__pool_next(turbo__pool *pool, turbo_request *done, turbo_request **out) {
    for (;;) {
        if (done != NULL)
            atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_relaxed);
        turbo_request *req = wait_for_one(pool, done);
        turbo_request_release(done);
        if (req == NULL)
            return TURBO_ECLOSED;
        atomic_fetch_add_explicit(&pool->busy, 1, memory_order_relaxed);
        if (is_to_run(pool, req)) {
            atomic_fetch_add_explicit(&pool->requests, 1, memory_order_relaxed);
            *out = req;
            return 0;
        }
        done = req;
    }
}

/* A lane is one route's: if its oldest is not late, none is. Lock held. */
static turbo_request *take_late_from(turbo__pool *pool, turbo__pool_lane *lane, uint64_t now_ns) {
    turbo_request *req = lane->first;
    if (req == NULL || !turbo__queue_is_late(req, &now_ns))
        return NULL;
    lane->first = req->pool_next;
    leave_ready_if_empty(pool, lane);
    atomic_fetch_sub_explicit(&pool->queued, 1, memory_order_relaxed);
    return req;
}

turbo_request *turbo__pool_take_late(turbo__pool *pool, uint64_t now_ns) {
    turbo_request *req = NULL;
    if (pool->threads == 0)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; req == NULL && i < pool->lane_count; i++)
        req = take_late_from(pool, &pool->lanes[i], now_ns);
    if (pool->closed)
        pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    return req;
}

/* -- life -- */

int turbo__pool_open(turbo__pool *pool, const turbo__route *routes, uint32_t route_count) {
    for (const turbo__route *route = routes; route != NULL; route = route->next)
        if (route->executor == TURBO__EXECUTOR_POOL && route->threads > pool->threads)
            pool->threads = route->threads;
    if (pool->threads == 0)
        return 0;
    pool->lanes = turbo__calloc(route_count, sizeof *pool->lanes);
    if (pool->lanes == NULL) {
        pool->threads = 0;
        return TURBO_ENOMEM;
    }
    pool->lane_count = route_count;
    for (const turbo__route *route = routes; route != NULL; route = route->next)
        pool->lanes[route->index].max = route->threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, NULL);
    return 0;
}

void turbo__pool_close(turbo__pool *pool) {
    if (pool->threads == 0)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closed = 1;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

void turbo__pool_free(turbo__pool *pool) {
    if (pool->threads == 0)
        return;
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->changed);
    turbo__free(pool->lanes);
    pool->threads = 0;
}
