/* test_pool.c - the threads of a shard: order, turns, limits, the end. */
#include "pool.h"

#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "shard.h"

TestSuite(pool, .timeout = 30);

/* -- lanes, on the test's own thread -- */

#define ROUTES 3

static turbo__route routes[ROUTES];
static turbo__pool pool;

static void open_pool(uint32_t a, uint32_t b, uint32_t c) {
    const uint32_t threads[ROUTES] = {a, b, c};
    pool = (turbo__pool){0};
    for (uint32_t i = 0; i < ROUTES; i++)
        routes[i] = (turbo__route){.next = i + 1 < ROUTES ? &routes[i + 1] : NULL,
                                   .executor = threads[i] > 0 ? TURBO__EXECUTOR_POOL : TURBO__EXECUTOR_SHARD,
                                   .threads = threads[i] > 0 ? threads[i] : 99,
                                   .index = i};
    cr_assert_eq(turbo__pool_open(&pool, routes, ROUTES), 0);
}

static turbo_request *put(uint32_t route) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->route = &routes[route];
    turbo__pool_put(&pool, req);
    return req;
}

/* What next() gives; the references of put() are given back. */
static turbo_request *next(turbo_request *done) {
    turbo_request *req = NULL;
    cr_assert_eq(turbo__pool_next(&pool, done, &req), 0);
    turbo_request_release(req);
    return req;
}

Test(pool, has_as_many_threads_as_the_route_that_wants_most) {
    open_pool(2, 0, 5);
    cr_expect_eq(pool.threads, 5);
    turbo__pool_free(&pool);
    open_pool(0, 0, 0);
    cr_expect_eq(pool.threads, 0);
    turbo__pool_close(&pool);
    turbo__pool_free(&pool);
}

Test(pool, requests_of_a_route_come_in_order) {
    open_pool(3, 0, 0);
    turbo_request *reqs[3];
    for (int i = 0; i < 3; i++)
        reqs[i] = put(0);
    cr_expect_eq(atomic_load(&pool.queued), 3);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(next(NULL), reqs[i]);
    cr_expect(atomic_load(&pool.queued) == 0 && atomic_load(&pool.busy) == 3 && atomic_load(&pool.requests) == 3);
    turbo__pool_close(&pool);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(turbo__pool_next(&pool, reqs[i], &reqs[0]), TURBO_ECLOSED);
    cr_expect_eq(atomic_load(&pool.busy), 0);
    turbo__pool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, routes_take_turns) {
    open_pool(9, 9, 9);
    turbo_request *a[3], *b[2], *c = NULL;
    for (int i = 0; i < 3; i++)
        a[i] = put(0);
    for (int i = 0; i < 2; i++)
        b[i] = put(1);
    c = put(2);
    turbo_request *expected[] = {a[0], b[0], c, a[1], b[1], a[2]};
    turbo_request *given[6];
    for (int i = 0; i < 6; i++)
        cr_expect_eq(given[i] = next(NULL), expected[i], "place %d", i);
    turbo__pool_close(&pool);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(turbo__pool_next(&pool, given[i], &given[i]), TURBO_ECLOSED);
    turbo__pool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, route_has_at_most_its_threads_at_once) {
    open_pool(2, 9, 0);
    turbo_request *a[4], *b;
    for (int i = 0; i < 4; i++)
        a[i] = put(0);
    b = put(1);
    cr_expect_eq(next(NULL), a[0]);
    cr_expect_eq(next(NULL), b);
    cr_expect_eq(next(NULL), a[1]);
    cr_expect_null(pool.ready, "two of the first route run");
    cr_expect_eq(next(a[1]), a[2]);
    cr_expect_null(pool.ready);
    cr_expect_eq(next(a[2]), a[3]);
    turbo__pool_close(&pool);
    turbo_request *left[] = {a[0], b, a[3]}, *none;
    for (int i = 0; i < 3; i++)
        cr_expect_eq(turbo__pool_next(&pool, left[i], &none), TURBO_ECLOSED);
    turbo__pool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, late_requests_are_taken_from_wherever_they_wait) {
    open_pool(1, 1, 1);
    turbo_request *a[2] = {put(0), put(0)}, *b[2] = {put(1), put(1)}, *c[2] = {put(2), put(2)}, *none;
    cr_expect_eq(next(NULL), a[0]); /* runs: the other one of its route is not ready */
    routes[0].queue_timeout_ns = routes[1].queue_timeout_ns = routes[2].queue_timeout_ns = 5;
    for (int i = 0; i < 2; i++)
        a[i]->queued_ns = b[i]->queued_ns = c[i]->queued_ns = 10;
    b[1]->queued_ns = 11;
    cr_expect_null(turbo__pool_take_late(&pool, 15));
    turbo_request *late[] = {a[1], b[0], c[0], c[1]};
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(turbo__pool_take_late(&pool, 16), late[i], "place %d", i);
        turbo_request_release(late[i]);
        turbo_request_release(late[i]);
    }
    cr_expect_null(turbo__pool_take_late(&pool, 16));
    cr_expect_eq(atomic_load(&pool.queued), 1);
    routes[1].queue_timeout_ns = 0;
    cr_expect_eq(next(NULL), b[1]);
    cr_expect_null(pool.ready);
    cr_expect_null(pool.ready_last);
    turbo__pool_close(&pool);
    cr_expect_eq(turbo__pool_next(&pool, a[0], &none), TURBO_ECLOSED);
    cr_expect_eq(turbo__pool_next(&pool, b[1], &none), TURBO_ECLOSED);
    turbo__pool_free(&pool);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, failed_allocation_is_reported) {
    turbo__route only = {.executor = TURBO__EXECUTOR_POOL, .threads = 1};
    turbo__pool p = {0};
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__pool_open(&p, &only, 1), turbo__pool_free(&p));
}

/* -- on the pool's own threads -- */

typedef struct gatherer {
    atomic_int inside, most, runs;
    sem_t go; /* each run waits for one */
} gatherer;

static int on_gather(turbo_request *req, void *user) {
    gatherer *g = user;
    int inside = atomic_fetch_add(&g->inside, 1) + 1, most = atomic_load(&g->most);
    while (inside > most && !atomic_compare_exchange_weak(&g->most, &most, inside)) {
    }
    while (sem_wait(&g->go) != 0) {
    }
    atomic_fetch_sub(&g->inside, 1);
    atomic_fetch_add(&g->runs, 1);
    return turbo_request_reply(req, 200, "text/plain", "ok", 2);
}

static void add_route(turbo_server *server, const char *pattern, const char *option, const char *value,
                      turbo_handler_fn fn, void *user) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    if (option != NULL)
        cr_assert_eq(turbo_route_options_set(options, option, value), 0);
    cr_assert_eq(turbo_server_route(server, "GET", pattern, options, fn, user), 0);
    turbo_route_options_free(options);
}

static turbo_server *new_server(const char *settings) {
    turbo_server *server;
    turbo_options *options = options_from(settings);
    cr_assert_eq(turbo_server_new(&server, options), 0);
    turbo_options_free(options);
    return server;
}

static void end_server(turbo_server *server) {
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_assert_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
}

Test(pool, handlers_run_at_once_and_the_shard_goes_on) {
    gatherer g = {0};
    outcome blocked = {0}, quick = {0};
    sem_init(&g.go, 0, 0);
    turbo_server *server = new_server("shards=1 io_threads=1");
    add_route(server, "/block", "threads", "3", on_gather, &g);
    add_route(server, "/quick", NULL, NULL, answer_ok, NULL);
    cr_assert_eq(turbo_server_start(server), 0);
    turbo_shard *shard = turbo_server_shard(server, 0);
    cr_expect_eq(turbo_shard_pool_threads(shard), 3);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(submit_to(shard, server, "/block", &blocked), 0);
    AWAIT(atomic_load(&g.inside) == 3);
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    AWAIT(turbo_shard_stats_get(shard, &s) == 0 && s.pool_queued == 5);
    cr_expect(s.pool_threads == 3 && s.pool_busy == 3 && s.pool_requests == 3 && s.inflight == 8);
    cr_assert_eq(submit_to(shard, server, "/quick", &quick), 0);
    AWAIT(quick.answered == 1); /* while all of the pool's threads are blocked */
    for (int i = 0; i < 8; i++)
        sem_post(&g.go);
    AWAIT(blocked.answered == 8);
    cr_expect(atomic_load(&g.most) == 3 && atomic_load(&g.runs) == 8);
    AWAIT(turbo_shard_stats_get(shard, &s) == 0 && s.pool_busy == 0 && s.inflight == 0);
    end_server(server);
    sem_destroy(&g.go);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, executor_pool_has_four_threads_unless_told) {
    turbo_server *server = new_server("shards=1");
    add_route(server, "/", "executor", "pool", answer_ok, NULL);
    cr_assert_eq(turbo_server_start(server), 0);
    outcome out = {0};
    cr_expect_eq(turbo_shard_pool_threads(turbo_server_shard(server, 0)), 4);
    cr_assert_eq(submit_to(turbo_server_shard(server, 0), server, "/", &out), 0);
    AWAIT(out.answered == 1);
    end_server(server);
}

Test(pool, client_that_went_while_its_request_waited_costs_no_thread) {
    gatherer g = {0};
    outcome first = {0}, gone = {0};
    sem_init(&g.go, 0, 0);
    turbo_server *server = new_server("shards=1");
    add_route(server, "/", "threads", "1", on_gather, &g);
    cr_assert_eq(turbo_server_start(server), 0);
    turbo_shard *shard = turbo_server_shard(server, 0);
    cr_assert_eq(submit_to(shard, server, "/", &first), 0);
    AWAIT(atomic_load(&g.inside) == 1);
    turbo_request *req = request_to(server, "/", &gone);
    cr_assert_eq(turbo_shard_submit(shard, req), 0);
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    AWAIT(turbo_shard_stats_get(shard, &s) == 0 && s.pool_queued == 1);
    atomic_store(&req->cancelled, 1); /* as the I/O loop does */
    turbo_request_release(req);
    sem_post(&g.go);
    AWAIT(first.answered == 1 && gone.answered == 1);
    cr_expect_eq(gone.status, 503);
    AWAIT(turbo_shard_stats_get(shard, &s) == 0 && s.pool_dropped == 1 && s.pool_busy == 0);
    cr_expect(atomic_load(&g.runs) == 1 && s.pool_requests == 1 && s.inflight == 0);
    end_server(server);
    sem_destroy(&g.go);
}

/* The one thread is busy for longer than the request may wait: the shard answers it, not the thread. */
Test(pool, request_that_waits_too_long_for_a_thread_is_answered) {
    gatherer g = {0};
    outcome first = {0}, late = {0};
    sem_init(&g.go, 0, 0);
    turbo_server *server = new_server("shards=1 queue_timeout_ms=1");
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "threads", "1"), 0);
    cr_assert_eq(turbo_route_options_set(options, "queue_timeout_ms", "0"), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/first", options, on_gather, &g), 0);
    cr_assert_eq(turbo_route_options_set(options, "queue_timeout_ms", "20"), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/", options, on_gather, &g), 0);
    turbo_route_options_free(options);
    cr_assert_eq(turbo_server_start(server), 0);
    turbo_shard *shard = turbo_server_shard(server, 0);
    cr_assert_eq(submit_to(shard, server, "/first", &first), 0);
    AWAIT(atomic_load(&g.inside) == 1);
    cr_assert_eq(submit_to(shard, server, "/", &late), 0);
    AWAIT(late.answered == 1);
    cr_expect(late.status == 503 && first.answered == 0);
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    AWAIT(turbo_shard_stats_get(shard, &s) == 0 && s.inflight == 1);
    cr_expect(s.expired == 1 && s.pool_queued == 0 && s.pool_requests == 1);
    sem_post(&g.go);
    AWAIT(first.answered == 1);
    end_server(server);
    sem_destroy(&g.go);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, stop_waits_for_what_runs_and_what_waits) {
    gatherer g = {0};
    outcome out = {0};
    sem_init(&g.go, 0, 0);
    turbo_server *server = new_server("shards=1");
    add_route(server, "/", "threads", "2", on_gather, &g);
    cr_assert_eq(turbo_server_start(server), 0);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(submit_to(turbo_server_shard(server, 0), server, "/", &out), 0);
    AWAIT(atomic_load(&g.inside) == 2);
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    for (int i = 0; i < 6; i++)
        sem_post(&g.go);
    cr_assert_eq(turbo_server_wait(server), 0);
    cr_expect_eq(out.answered, 6);
    expect_all_accounted(server, 6, 6, 0, 0, 0);
    turbo_server_release(server);
    sem_destroy(&g.go);
    cr_expect_not(failing_alloc_leaks());
}

Test(pool, abort_still_waits_for_the_threads) {
    gatherer g = {0};
    outcome out = {0};
    sem_init(&g.go, 0, 0);
    turbo_server *server = new_server("shards=1");
    add_route(server, "/", "threads", "2", on_gather, &g);
    cr_assert_eq(turbo_server_start(server), 0);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(submit_to(turbo_server_shard(server, 0), server, "/", &out), 0);
    AWAIT(atomic_load(&g.inside) == 2);
    cr_assert_eq(turbo_server_abort(server), 0);
    for (int i = 0; i < 6; i++)
        sem_post(&g.go);
    cr_assert_eq(turbo_server_wait(server), 0);
    cr_expect_eq(atomic_load(&g.inside), 0);
    cr_expect_eq(out.answered, 6, "every request ends, also those that were given up");
    turbo_server_release(server);
    sem_destroy(&g.go);
    cr_expect_not(failing_alloc_leaks());
}

/* -- threads of the host's -- */

static void *lend(void *arg) {
    turbo_shard *shard = arg;
    turbo_request *req = NULL;
    int rc;
    while ((rc = turbo_shard_pool_next(shard, req, &req)) == 0)
        turbo_request_run(req);
    return (void *)(intptr_t)rc;
}

/* errors: turbo_shard_pool_next TURBO_ECLOSED */
Test(pool, host_may_bring_the_threads) {
    rig r;
    turbo_request *none;
    outcome out = {0};
    pthread_t threads[2];
    rig_new(&r, TURBO_EXECUTOR_DRIVEN | TURBO_EXECUTOR_HOSTS_POOL, "");
    add_route(r.server, "/", "threads", "2", answer_ok, NULL);
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    cr_expect_eq(turbo_shard_pool_threads(shard), 0, "not started");
    rig_start(&r);
    r.seen.runs = 1;
    cr_expect_eq(turbo_shard_pool_threads(shard), 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, lend, shard), 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(submit_to(shard, r.server, "/", &out), 0);
    rig_settle(&r);
    AWAIT(out.answered == 5);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(turbo_shard_poll(shard) == TURBO_ECLOSED);
    r.ended[0] = 1;
    for (int i = 0; i < 2; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        cr_expect_eq((intptr_t)rc, TURBO_ECLOSED);
    }
    cr_expect_eq(turbo_shard_pool_next(shard, NULL, &none), TURBO_ECLOSED);
    rig_end(&r);
}

/* errors: turbo_shard_pool_next TURBO_ESTATE */
Test(pool, threads_are_asked_for_only_where_the_host_brings_them) {
    turbo_request *req;
    turbo_server *server = new_server("shards=1");
    add_route(server, "/", "threads", "2", answer_ok, NULL);
    cr_expect_eq(turbo_shard_pool_next(turbo_server_shard(server, 0), NULL, &req), TURBO_ESTATE, "before the start");
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_shard_pool_next(turbo_server_shard(server, 0), NULL, &req), TURBO_ESTATE);
    end_server(server);
    rig r;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN | TURBO_EXECUTOR_HOSTS_POOL, "");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(&r);
    cr_expect_eq(turbo_shard_pool_next(turbo_server_shard(r.server, 0), NULL, &req), TURBO_ESTATE, "no such route");
    rig_end(&r);
}
