/* test_detached.c - requests without a connection: who holds references to them, and how they end. */
#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>

#include "request.h"
#include "turbo.h"

TestSuite(detached, .timeout = 10);

typedef struct fixture {
    turbo_server *server;
    sem_t ended;
    int calls, status, answer;
} fixture;

static int greet(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, "text/plain", "hi", 2);
}

static int fail_late(turbo_request *req, void *user) {
    turbo_response *resp;
    (void)user;
    if (turbo_response_new(&resp, 200) < 0)
        return TURBO_ENOMEM;
    return turbo_request_respond_begin(req, resp) < 0 ? TURBO_ESTATE : TURBO_EUSER;
}

static void on_done(turbo_request *req, int status, const turbo_response *response, void *user) {
    fixture *f = user;
    (void)req;
    f->calls++;
    f->status = status;
    f->answer = response == NULL ? 0 : turbo_response_status(response);
    sem_post(&f->ended);
}

static void set_up(fixture *f) {
    turbo_options *options;
    memset(f, 0, sizeof *f);
    sem_init(&f->ended, 0, 0);
    cr_assert_eq(turbo_options_new(&options), 0);
    cr_assert_eq(turbo_options_set(options, "shards", "1"), 0);
    cr_assert_eq(turbo_options_set(options, "queue_max", "1"), 0);
    cr_assert_eq(turbo_server_new(&f->server, options), 0);
    turbo_options_free(options);
    cr_assert_eq(turbo_server_route(f->server, "GET", "/", NULL, greet, NULL), 0);
    cr_assert_eq(turbo_server_route(f->server, "GET", "/late", NULL, fail_late, NULL), 0);
}

static turbo_request *make(fixture *f, const char *target) {
    turbo_request *req;
    cr_assert_eq(turbo_request_new(&req, f->server, "GET", target, on_done, f), 0);
    return req;
}

static void stop(fixture *f) {
    cr_assert_eq(turbo_server_stop(f->server, NULL, NULL), 0);
    cr_assert_eq(turbo_server_wait(f->server), 0);
}

Test(detached, answered_request_belongs_to_its_maker_alone) {
    fixture f;
    set_up(&f);
    cr_assert_eq(turbo_server_start(f.server), 0);
    turbo_request *req = make(&f, "/?x=1");
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(f.server, 0), req), 0);
    sem_wait(&f.ended);
    stop(&f); /* from here on only the maker has it */
    cr_expect_eq(f.status, 0);
    cr_expect_eq(f.answer, 200);
    cr_expect_eq(atomic_load(&req->refs), 1);
    cr_expect_eq(turbo_request_query(req).len, 3);
    turbo_request_release(req);
    turbo_server_release(f.server);
}

Test(detached, refused_request_belongs_to_its_maker_alone) {
    fixture f;
    set_up(&f);
    cr_assert_eq(turbo_server_start(f.server), 0);
    turbo_request *req = make(&f, "/");
    stop(&f);
    cr_expect_eq(turbo_shard_submit(turbo_server_shard(f.server, 0), req), TURBO_ECLOSED);
    cr_expect_eq(atomic_load(&req->refs), 1);
    cr_expect_null(turbo_request_shard(req));
    turbo_request_release(req);
    cr_expect_eq(f.calls, 0);
    turbo_server_release(f.server);
}

Test(detached, unsubmitted_request_can_be_answered_by_its_maker) {
    fixture f;
    set_up(&f);
    cr_assert_eq(turbo_server_start(f.server), 0);
    turbo_request *req = make(&f, "/");
    cr_assert_eq(turbo_request_reply(req, 204, NULL, NULL, 0), 0);
    cr_expect_eq(f.answer, 204);
    cr_expect_eq(atomic_load(&req->refs), 1);
    cr_expect_eq(turbo_shard_submit(turbo_server_shard(f.server, 0), req), TURBO_ESTATE);
    turbo_request_release(req);
    stop(&f);
    cr_expect_eq(f.calls, 1);
    turbo_server_release(f.server);
}

Test(detached, failure_after_the_answer_began_is_told_by_EUSER) {
    fixture f;
    set_up(&f);
    cr_assert_eq(turbo_server_start(f.server), 0);
    turbo_request *req = make(&f, "/late");
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(f.server, 0), req), 0);
    sem_wait(&f.ended);
    stop(&f);
    cr_expect_eq(f.status, TURBO_EUSER);
    cr_expect_eq(f.answer, 0);
    cr_expect_eq(atomic_load(&req->refs), 1);
    turbo_request_release(req);
    turbo_server_release(f.server);
}

static void run_all(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self;
    turbo_shard_run(shard, reqs, n);
}

Test(detached, full_queue_leaves_the_request_as_it_was) {
    fixture f;
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    ops.batch = run_all;
    ops.flags = TURBO_EXECUTOR_DRIVEN; /* so nothing leaves the queue before this test says so */
    set_up(&f);
    cr_assert_eq(turbo_server_set_executor(f.server, &ops, NULL), 0);
    cr_assert_eq(turbo_server_start(f.server), 0);
    turbo_shard *shard = turbo_server_shard(f.server, 0);
    turbo_request *first = make(&f, "/"), *second = make(&f, "/");
    cr_assert_eq(turbo_shard_submit(shard, first), 0);
    cr_expect_eq(turbo_shard_submit(shard, second), TURBO_EAGAIN);
    cr_expect_eq(atomic_load(&second->refs), 1);
    while (turbo_shard_poll(shard) == 1) {
    }
    cr_expect_eq(f.calls, 1);
    cr_expect_eq(turbo_shard_submit(shard, second), 0, "a request that was refused can be submitted again");
    cr_assert_eq(turbo_server_stop(f.server, NULL, NULL), 0);
    while (turbo_shard_poll(shard) != TURBO_ECLOSED) {
    }
    cr_assert_eq(turbo_server_wait(f.server), 0);
    cr_expect_eq(f.calls, 2);
    cr_expect_eq(atomic_load(&first->refs), 1);
    cr_expect_eq(atomic_load(&second->refs), 1);
    turbo_request_release(first);
    turbo_request_release(second);
    turbo_server_release(f.server);
}
