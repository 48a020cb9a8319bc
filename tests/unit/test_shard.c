/* test_shard.c - a driven shard from outside: its descriptor, queue (queue.c), batches, gate, posts, timers, end. */
#include "shard.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/fake_clock.h"
#include "../support/rig.h"
#include "queue.h"

TestSuite(shard, .timeout = 60);

static turbo_shard *new_driven(rig *r, const char *settings) {
    rig_listen(r, TURBO_EXECUTOR_DRIVEN, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
    turbo_shard *shard = turbo_server_shard(r->server, 0);
    AWAIT(turbo_shard_poll(shard) == 0);
    return shard;
}

static int readable(const turbo_shard *shard) {
    struct pollfd watch = {.fd = turbo_shard_fd(shard), .events = POLLIN};
    return poll(&watch, 1, 0) == 1;
}

static void submit(turbo_shard *shard, rig *r, outcome *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(submit_to(shard, r->server, "/", out), 0);
}

static int reply(turbo_request *req) { return turbo_request_reply(req, 200, NULL, NULL, 0); }

/* -- descriptor, polls, batches -- */

/* A host that does only what it is told, and sleeps until then, has to be told of the first poll. */
Test(shard, the_first_poll_is_due_at_once) {
    rig r;
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1, "not before the start");
    rig_start(&r);
    cr_expect_eq(turbo_shard_timeout_ms(shard), 0);
    AWAIT(turbo_shard_poll(shard) == 0);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    rig_end(&r);
}

Test(shard, descriptor_is_readable_exactly_while_there_is_mail) {
    rig r;
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "");
    cr_expect_not(readable(shard));
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    submit(shard, &r, &out, 1);
    cr_expect(readable(shard));
    cr_expect_eq(turbo_shard_poll(shard), 0);
    cr_expect_not(readable(shard));
    cr_expect_eq(r.seen.count, 1);
    rig_end(&r);
}

Test(shard, a_poll_runs_at_most_one_batch_and_says_that_there_is_more) {
    rig r;
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "batch_max=2");
    submit(shard, &r, &out, 5);
    cr_expect_eq(turbo_shard_poll(shard), 1);
    cr_expect_eq(r.seen.count, 2);
    cr_expect_eq(turbo_shard_poll(shard), 1);
    cr_expect_eq(r.seen.count, 4);
    cr_expect_eq(turbo_shard_poll(shard), 0);
    cr_expect_eq(r.seen.count, 5);
    cr_expect_eq(r.seen.batches, 3);
    cr_expect_eq(turbo_shard_poll(shard), 0);
    cr_expect_eq(r.seen.batches, 3, "an empty batch was given");
    rig_end(&r);
}

Test(shard, a_batch_holds_batch_max_and_not_one_more) {
    for (size_t n = 2; n <= 4; n++) {
        rig r;
        outcome out = {0};
        turbo_shard *shard = new_driven(&r, "batch_max=3");
        submit(shard, &r, &out, n);
        rig_settle(&r);
        cr_expect(r.seen.count == n && r.seen.batches == (n <= 3 ? 1 : 2));
        cr_expect_eq(r.seen.batch_sizes[0], n < 3 ? n : 3);
        rig_end(&r);
    }
}

Test(shard, batches_keep_the_order_of_arrival) {
    rig r;
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "batch_max=3");
    turbo_request *reqs[10];
    for (size_t i = 0; i < 10; i++) {
        reqs[i] = request_to(r.server, "/", &out);
        cr_assert_eq(turbo_shard_submit(shard, reqs[i]), 0);
    }
    rig_settle(&r);
    cr_assert_eq(r.seen.count, 10);
    for (size_t i = 0; i < 10; i++) {
        cr_expect_eq(r.seen.reqs[i], reqs[i]);
        turbo_request_release(reqs[i]);
    }
    rig_end(&r);
}

/* -- gate -- */

Test(shard, gate_lets_in_inflight_max_and_not_one_more) {
    for (size_t given = 2; given <= 4; given++) {
        rig r;
        outcome out = {0};
        turbo_shard *shard = new_driven(&r, "inflight_max=3");
        submit(shard, &r, &out, given);
        rig_settle(&r);
        cr_expect_eq(r.seen.count, given < 3 ? given : 3);
        cr_expect_eq(turbo_shard_inflight(shard), given < 3 ? given : 3);
        cr_expect_eq(turbo_shard_queued(shard), given - r.seen.count);
        rig_end(&r);
    }
}

Test(shard, an_answer_between_two_polls_lets_the_next_one_in) {
    rig r;
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "inflight_max=1");
    submit(shard, &r, &out, 3);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 1);
    cr_expect_not(readable(shard), "it would spin at the full gate");
    cr_expect_eq(reply(r.seen.reqs[0]), 0);
    cr_expect(readable(shard));
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 2);
    cr_expect_eq(turbo_shard_inflight(shard), 1);
    rig_end(&r);
}

static void *reply_there(void *req) { return (void *)(intptr_t)reply(req); }

Test(shard, an_answer_from_another_thread_lets_the_next_one_in) {
    rig r;
    outcome out = {0};
    pthread_t thread;
    turbo_shard *shard = new_driven(&r, "inflight_max=1");
    submit(shard, &r, &out, 2);
    rig_settle(&r);
    cr_expect_not(readable(shard));
    cr_assert_eq(pthread_create(&thread, NULL, reply_there, r.seen.reqs[0]), 0);
    AWAIT(readable(shard));
    pthread_join(thread, NULL);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 2);
    rig_end(&r);
}

/* -- queue -- */

Test(shard, queue_takes_queue_max_and_not_one_more) {
    rig r;
    outcome out = {0};
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    turbo_shard *shard = new_driven(&r, "queue_max=3");
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(submit_to(shard, r.server, "/", &out), 0);
        cr_expect_eq(turbo_shard_queued(shard), i + 1);
    }
    cr_expect_eq(submit_to(shard, r.server, "/", &out), TURBO_EAGAIN);
    cr_expect_eq(turbo_shard_queued(shard), 3);
    cr_expect_eq(turbo_shard_stats_get(shard, &stats), 0);
    cr_expect_eq(stats.shed, 1);
    cr_expect_eq(stats.queued_max, 3);
    r.seen.runs = 1;
    rig_settle(&r);
    cr_expect_eq(turbo_shard_queued(shard), 0);
    cr_expect_eq(submit_to(shard, r.server, "/", &out), 0);
    rig_settle(&r);
    cr_expect_eq(out.answered, 4);
    expect_all_accounted(r.server, 4, 4, 0, 0, 0); /* a refused submit was not taken */
    rig_end(&r);
}

/* A chain that an I/O loop pushes: what does not fit stays in it, the newest ones. */
Test(shard, push_leaves_the_newest_over) {
    rig r;
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "queue_max=2");
    turbo__mail_chain chain = {0};
    turbo_request *reqs[4];
    for (size_t i = 0; i < 4; i++) {
        reqs[i] = request_to(r.server, "/", &out);
        turbo__queue_prepare(shard, turbo_request_retain(reqs[i])); /* the retain stands for the answer path */
        turbo__mail_chain_add(&chain, &reqs[i]->to_shard);
    }
    cr_expect_eq(turbo__queue_push(shard, &chain), TURBO_EAGAIN);
    cr_expect_eq(chain.count, 2);
    cr_expect_eq(chain.newest, &reqs[3]->to_shard);
    cr_expect_eq(chain.oldest, &reqs[2]->to_shard);
    cr_expect_null(chain.oldest->next);
    for (size_t i = 2; i < 4; i++) {
        turbo__queue_unprepare(reqs[i]);
        turbo_request_release(reqs[i]);
        turbo_request_release(reqs[i]);
    }
    r.seen.runs = 1;
    rig_settle(&r);
    cr_expect_eq(out.answered, 2);
    turbo_request_release(reqs[0]);
    turbo_request_release(reqs[1]);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(shard, a_request_whose_client_has_gone_is_dropped_before_its_handler_runs) {
    rig r;
    client gone, stays;
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    turbo_stats all = TURBO_STATS_INIT;
    turbo_shard *shard = new_driven(&r, "");
    client_open(&gone, turbo_server_port(r.server));
    client_open(&stays, turbo_server_port(r.server));
    client_send(&gone, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(turbo_shard_queued(shard) == 1);
    client_send(&stays, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(turbo_shard_queued(shard) == 2);
    client_close(&gone, 1);
    AWAIT(turbo_server_stats(r.server, &all) == 0 && all.dropped == 1);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 1);
    cr_expect_eq(turbo_shard_stats_get(shard, &stats), 0);
    cr_expect_eq(stats.dropped, 1);
    cr_expect_eq(reply(r.seen.reqs[0]), 0);
    turbo_shard_flush(shard);
    cr_expect_eq(client_answer(&stays), 200);
    expect_all_accounted(r.server, 2, 1, 0, 1, 0);
    client_close(&stays, 0);
    rig_end(&r);
}

/* -- posts and timers -- */

struct journal {
    int calls[16], statuses[16];
    size_t count;
};

struct entry {
    struct journal *journal;
    int id;
};

static void write_down(turbo_shard *shard, int status, void *user) {
    struct entry *entry = user;
    struct journal *j = entry->journal;
    (void)shard;
    j->statuses[j->count] = status;
    j->calls[j->count++] = entry->id;
}

Test(shard, posts_run_in_order_and_once) {
    rig r;
    struct journal j = {0};
    struct entry entries[3] = {{&j, 0}, {&j, 1}, {&j, 2}};
    turbo_shard *shard = new_driven(&r, "");
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(turbo_shard_post(shard, write_down, &entries[i]), 0);
    cr_expect(readable(shard));
    cr_expect_eq(j.count, 0);
    rig_settle(&r);
    cr_assert_eq(j.count, 3);
    for (int i = 0; i < 3; i++)
        cr_expect(j.calls[i] == i && j.statuses[i] == 0);
    rig_end(&r);
}

Test(shard, timers_fire_when_due_in_the_order_of_their_time) {
    rig r;
    struct journal j = {0};
    struct entry entries[4] = {{&j, 30}, {&j, 10}, {&j, 20}, {&j, 0}};
    turbo_timer *cancelled = NULL;
    turbo_shard *shard = new_driven(&r, "");
    fake_clock_set(1000000000, 0);
    cr_expect_eq(turbo_shard_timer(NULL, shard, 30, write_down, &entries[0]), 0);
    cr_expect_eq(turbo_shard_timer(NULL, shard, 10, write_down, &entries[1]), 0);
    cr_expect_eq(turbo_shard_timer(&cancelled, shard, 20, write_down, &entries[2]), 0);
    cr_expect_eq(turbo_shard_timeout_ms(shard), 10);
    fake_clock_advance_ms(9);
    cr_expect_eq(turbo_shard_timeout_ms(shard), 1);
    rig_settle(&r);
    cr_expect_eq(j.count, 0, "a millisecond early");
    fake_clock_advance_ms(1);
    cr_expect_eq(turbo_shard_timeout_ms(shard), 0);
    rig_settle(&r);
    cr_expect(j.count == 1 && j.calls[0] == 10);
    turbo_timer_cancel(cancelled);
    fake_clock_advance_ms(15);
    rig_settle(&r);
    cr_expect_eq(j.count, 1, "it was cancelled");
    cr_expect_eq(turbo_shard_timeout_ms(shard), 5);
    fake_clock_advance_ms(100);
    cr_expect_eq(turbo_shard_timer(NULL, shard, 0, write_down, &entries[3]), 0);
    rig_settle(&r);
    cr_expect(j.count == 3 && j.calls[1] == 30 && j.calls[2] == 0 && j.statuses[2] == 0);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    fake_clock_off();
    rig_end(&r);
}

Test(shard, what_is_left_at_the_end_is_told_so) {
    rig r;
    struct journal j = {0};
    struct entry posted = {&j, 1}, timed = {&j, 2};
    outcome out = {0};
    turbo_shard *shard = new_driven(&r, "inflight_max=1 drain_timeout_ms=0");
    submit(shard, &r, &out, 3);
    rig_settle(&r);
    cr_assert_eq(r.seen.count, 1);
    cr_assert_eq(turbo_shard_timer(NULL, shard, 1000000, write_down, &timed), 0);
    cr_assert_eq(reply(r.seen.reqs[0]), 0);
    cr_assert_eq(turbo_server_abort(r.server), 0);
    AWAIT(atomic_load(&shard->state) == TURBO__SHARD_STOPPING);
    cr_assert_eq(turbo_shard_post(shard, write_down, &posted), 0);
    AWAIT(rig_poll(&r) == 1);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    cr_expect_eq(out.answered, 1);
    cr_expect_eq(out.closed + r.seen.count - 1, 2, "two were not answered by the test");
    cr_expect_eq(j.count, 2);
    cr_expect(j.calls[j.count - 1] == 2 && j.statuses[j.count - 1] == TURBO_ECLOSED);
    cr_expect_eq(r.seen.stopped, 1);
    rig_end(&r);
}

Test(shard, keeps_a_pointer_and_knows_its_number) {
    rig r;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "shards=3");
    rig_start(&r);
    for (size_t i = 0; i < 3; i++) {
        turbo_shard *shard = turbo_server_shard(r.server, i);
        cr_expect_eq(turbo_shard_index(shard), i);
        cr_expect_null(turbo_shard_data(shard));
        turbo_shard_data_set(shard, &r);
        cr_expect_eq(turbo_shard_data(shard), &r);
    }
    rig_end(&r);
}

/* -- counters -- */

Test(shard, counts_batches_by_size_and_answers_by_latency) {
    rig r;
    outcome out = {0};
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    uint64_t latencies = 0;
    turbo_shard *shard = new_driven(&r, "batch_max=8");
    r.seen.runs = 1;
    submit(shard, &r, &out, 1);
    rig_settle(&r);
    submit(shard, &r, &out, 11); /* 8 and 3 */
    rig_settle(&r);
    cr_expect_eq(turbo_shard_stats_get(shard, &stats), 0);
    cr_expect_eq(stats.requests, 12);
    cr_expect_eq(stats.batches, 3);
    cr_expect(stats.batch_sizes[0] == 1 && stats.batch_sizes[1] == 1 && stats.batch_sizes[3] == 1);
    cr_expect_eq(stats.queued_max, 11);
    cr_expect_eq(stats.inflight_max, 8);
    cr_expect_eq(stats.inflight, 0);
    cr_expect_leq(stats.wakeups, 2, "a wake-up a burst, not a request");
    for (size_t i = 0; i < TURBO_STATS_LATENCY_BUCKETS; i++)
        latencies += stats.latency[i];
    cr_expect_eq(latencies, 12);
    rig_end(&r);
}

Test(shard, latency_is_measured_from_the_queue_to_the_answer) {
    rig r;
    outcome out = {0};
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    turbo_shard *shard = new_driven(&r, "");
    fake_clock_set(1000000000, 0);
    submit(shard, &r, &out, 1);
    rig_settle(&r);
    fake_clock_advance_ms(10); /* 10 ms lie in [2^7 * 64 us, 2^8 * 64 us) */
    cr_expect_eq(reply(r.seen.reqs[0]), 0);
    cr_expect_eq(turbo_shard_stats_get(shard, &stats), 0);
    cr_expect_eq(stats.latency[8], 1);
    fake_clock_off();
    rig_end(&r);
}

/* -- a start that fails -- */

static struct journal early;
static struct entry early_timer = {&early, 1}, early_post = {&early, 2};

static int start_second_fails(void *self, turbo_shard *shard) {
    (void)self;
    if (turbo_shard_index(shard) == 1)
        return TURBO_EUSER;
    cr_expect_eq(turbo_shard_timer(NULL, shard, 0, write_down, &early_timer), 0);
    cr_expect_eq(turbo_shard_post(shard, write_down, &early_post), 0);
    return 0;
}

static void ignore_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self, (void)shard, (void)reqs, (void)n;
}

static __attribute__((noinline)) void fail_to_start(uint32_t flags) {
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    turbo_server *server = NULL;
    turbo_options *options = options_from("shards=2 io_threads=1");
    early.count = 0;
    ops.start_shard = start_second_fails;
    ops.batch = ignore_batch;
    ops.flags = flags;
    cr_assert_eq(turbo_server_new(&server, options), 0);
    cr_assert_eq(turbo_server_set_executor(server, &ops, NULL), 0);
    cr_expect_eq(turbo_server_start(server), TURBO_EUSER);
    turbo_server_release(server);
    turbo_options_free(options);
    cr_expect_eq(early.count, 2, "each is called exactly once");
    cr_expect(early.statuses[0] == TURBO_ECLOSED && early.statuses[1] == TURBO_ECLOSED);
}

Test(shard, timers_and_posts_of_a_start_that_fails_are_told_so) {
    fail_to_start(TURBO_EXECUTOR_DRIVEN);
    fail_to_start(0);
    cr_expect_not(failing_alloc_leaks());
}

Test(shard, a_post_to_a_server_that_never_starts_is_told_so) {
    rig r;
    struct journal j = {0};
    struct entry entry = {&j, 1};
    rig_new(&r, 0, "");
    cr_expect_eq(turbo_shard_post(turbo_server_shard(r.server, 0), write_down, &entry), 0);
    rig_end(&r);
    cr_expect_eq(j.count, 1);
    cr_expect_eq(j.statuses[0], TURBO_ECLOSED);
    cr_expect_not(failing_alloc_leaks());
}
