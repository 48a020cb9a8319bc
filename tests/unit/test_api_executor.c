/* test_api_executor.c - every error that include/turbo/executor.h documents. */
#include <criterion/criterion.h>
#include <pthread.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(api_executor, .timeout = 60);

static void new_driven(rig *r, const char *settings) {
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
}

/* -- submit -- */

/* errors: turbo_shard_submit TURBO_EAGAIN */
Test(api_executor, submit_to_a_full_queue_changes_nothing) {
    rig r;
    outcome out = {0};
    new_driven(&r, "queue_max=2");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_expect_eq(submit_to(shard, r.server, "/", &out), 0);
    cr_expect_eq(submit_to(shard, r.server, "/", &out), 0);
    cr_expect_eq(turbo_shard_submit(shard, req), TURBO_EAGAIN);
    cr_expect_null(turbo_request_shard(req));
    r.seen.runs = 1;
    rig_settle(&r);
    cr_expect_eq(out.answered, 2);
    cr_expect_eq(turbo_shard_submit(shard, req), 0, "now there is room");
    rig_settle(&r);
    cr_expect_eq(out.answered, 3);
    turbo_request_release(req);
    rig_end(&r);
}

/* errors: turbo_shard_submit TURBO_ECLOSED; turbo_shard_poll TURBO_ECLOSED; turbo_shard_post TURBO_ECLOSED */
Test(api_executor, a_shard_that_has_ended_takes_nothing) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(turbo_shard_poll(shard) == TURBO_ECLOSED);
    cr_expect_eq(turbo_shard_submit(shard, req), TURBO_ECLOSED);
    cr_expect_eq(turbo_shard_post(shard, NULL, NULL), TURBO_ECLOSED);
    cr_expect_null(turbo_request_shard(req));
    turbo_request_release(req);
    cr_expect_eq(out.answered + out.closed + out.failed, 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_shard_submit TURBO_ESTATE */
Test(api_executor, submit_of_what_is_submitted_or_answered) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    turbo_request *twice = request_to(r.server, "/", &out), *answered = request_to(r.server, "/", &out);
    cr_expect_eq(turbo_shard_submit(shard, twice), 0);
    cr_expect_eq(turbo_shard_submit(shard, twice), TURBO_ESTATE, "it is in the queue");
    rig_settle(&r);
    cr_expect_eq(turbo_shard_submit(shard, twice), TURBO_ESTATE, "it is with the executor");
    cr_expect_eq(turbo_request_reply(twice, 200, NULL, NULL, 0), 0);
    cr_expect_eq(turbo_shard_submit(shard, twice), TURBO_ESTATE, "it is answered");
    cr_expect_eq(turbo_request_reply(answered, 200, NULL, NULL, 0), 0);
    cr_expect_eq(turbo_shard_submit(shard, answered), TURBO_ESTATE, "it was answered without a shard");
    cr_expect_eq(out.answered, 2);
    turbo_request_release(twice);
    turbo_request_release(answered);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- post and timer -- */

static void count_call(turbo_shard *shard, int status, void *user) {
    (void)shard;
    atomic_fetch_add(&((atomic_int *)user)[status == 0 ? 0 : 1], 1);
}

/* errors: turbo_shard_post TURBO_ENOMEM; turbo_shard_timer TURBO_ENOMEM */
Test(api_executor, post_and_timer_without_memory) {
    rig r;
    atomic_int calls[2] = {0, 0};
    turbo_timer *timer = NULL;
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    rig_settle(&r);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_shard_post(shard, count_call, calls), );
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_shard_timer(&timer, shard, 1000000, count_call, calls), );
    rig_settle(&r);
    cr_expect_eq(calls[0], 1, "only the post that succeeded");
    turbo_timer_cancel(timer);
    rig_end(&r);
    cr_expect_eq(calls[1], 0);
    cr_expect_not(failing_alloc_leaks());
}

struct late {
    int rc;
    atomic_int calls[2];
};

static void set_timer_at_the_end(turbo_shard *shard, int status, void *user) {
    struct late *late = user;
    if (status == TURBO_ECLOSED)
        late->rc = turbo_shard_timer(NULL, shard, 0, count_call, late->calls);
}

/* errors: turbo_shard_timer TURBO_ECLOSED */
Test(api_executor, timer_of_a_shard_that_is_ending) {
    rig r;
    struct late late = {0};
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    rig_settle(&r);
    cr_assert_eq(turbo_shard_timer(NULL, shard, 1000000, set_timer_at_the_end, &late), 0);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(turbo_shard_poll(shard) == TURBO_ECLOSED);
    cr_expect_eq(late.rc, TURBO_ECLOSED);
    cr_expect_eq(turbo_shard_timer(NULL, shard, 0, count_call, late.calls), TURBO_ECLOSED);
    cr_expect_eq(late.calls[0] + late.calls[1], 0);
    rig_end(&r);
}

/* -- driven -- */

/* errors: turbo_shard_fd TURBO_ESTATE; turbo_shard_poll TURBO_ESTATE */
Test(api_executor, only_a_started_driven_shard_can_be_driven) {
    rig driven, threaded;
    rig_new(&driven, TURBO_EXECUTOR_DRIVEN, "");
    rig_new(&threaded, 0, "");
    turbo_shard *shard = turbo_server_shard(driven.server, 0), *other = turbo_server_shard(threaded.server, 0);
    cr_expect_eq(turbo_shard_fd(shard), TURBO_ESTATE);
    cr_expect_eq(turbo_shard_poll(shard), TURBO_ESTATE);
    rig_start(&driven);
    rig_start(&threaded);
    cr_expect_geq(turbo_shard_fd(shard), 0);
    cr_expect_geq(turbo_shard_poll(shard), 0);
    cr_expect_eq(turbo_shard_fd(other), TURBO_ESTATE);
    cr_expect_eq(turbo_shard_poll(other), TURBO_ESTATE);
    rig_end(&driven);
    rig_end(&threaded);
}

static int inner_rc;

static void poll_again(recorder *seen, turbo_shard *shard) {
    (void)seen;
    inner_rc = turbo_shard_poll(shard);
}

/* errors: turbo_shard_poll TURBO_ESTATE */
Test(api_executor, poll_inside_itself) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    r.seen.runs = 1;
    r.seen.on_batch = poll_again;
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    cr_assert_eq(submit_to(shard, r.server, "/", &out), 0);
    AWAIT(turbo_shard_poll(shard) == 0);
    cr_expect_eq(inner_rc, TURBO_ESTATE);
    cr_expect_eq(out.answered, 1);
    rig_end(&r);
}

static void *poll_here(void *shard) { return (void *)(intptr_t)turbo_shard_poll(shard); }

/* errors: turbo_shard_poll TURBO_ESTATE */
Test(api_executor, poll_on_a_second_thread) {
    rig r;
    pthread_t thread;
    void *rc;
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    cr_assert_geq(turbo_shard_poll(shard), 0);
    cr_assert_eq(pthread_create(&thread, NULL, poll_here, shard), 0);
    pthread_join(thread, &rc);
    cr_expect_eq((intptr_t)rc, TURBO_ESTATE);
    cr_expect_geq(turbo_shard_poll(shard), 0, "the first one goes on");
    rig_end(&r);
}
