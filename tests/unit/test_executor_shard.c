/* test_executor_shard.c - the built-in executor: handlers on the shard's thread, in order, one call a batch route. */
#include "executor_shard.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/fake_clock.h"
#include "../support/rig.h"
#include "server.h"
#include "turbo/error.h"

TestSuite(executor_shard, .timeout = 60);

static turbo_server *new_server(const char *settings) {
    turbo_server *server = NULL;
    turbo_options *options = options_from(settings);
    cr_assert_eq(turbo_server_new(&server, options), 0);
    turbo_options_free(options);
    cr_assert_eq(turbo_server_set_log(server, 0, NULL, NULL), 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    return server;
}

static void end(turbo_server *server) {
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
}

/* -- handlers -- */

static pthread_t handler_threads[2];

static int note_thread(turbo_request *req, void *user) {
    handler_threads[turbo_shard_index(turbo_request_shard(req))] = pthread_self();
    cr_expect_eq(turbo_request_user(req), user);
    return answer_ok(req, NULL);
}

static int fail(turbo_request *req, void *user) {
    (void)req, (void)user;
    return TURBO_EUSER;
}

static int answer_and_fail(turbo_request *req, void *user) {
    (void)answer_ok(req, user);
    return -1;
}

Test(executor_shard, is_a_plain_table_of_the_public_interface) {
    cr_expect_eq(turbo__executor_shard.size, sizeof(turbo_executor_ops));
    cr_expect_not_null(turbo__executor_shard.batch);
    cr_expect_null(turbo__executor_shard.events);
    cr_expect_eq(turbo__executor_shard.flags, 0);
}

Test(executor_shard, handlers_run_on_the_thread_of_their_shard) {
    turbo_server *server = new_server("shards=2 io_threads=1 placement=round_robin");
    int user;
    client c;
    cr_assert_eq(turbo_server_route(server, "GET", "/", NULL, note_thread, &user), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    for (int i = 0; i < 4; i++)
        cr_expect_eq(client_ask(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_not(pthread_equal(handler_threads[0], handler_threads[1]));
    cr_expect_not(pthread_equal(handler_threads[0], pthread_self()));
    client_close(&c, 0);
    end(server);
}

Test(executor_shard, a_handler_that_fails_is_answered_500_unless_it_has_answered) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    client c;
    cr_assert_eq(turbo_server_route(server, "GET", "/fail", NULL, fail, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/both", NULL, answer_and_fail, NULL), 0);
    cr_assert_eq(turbo_server_route(server, "GET", "/none", NULL, NULL, NULL), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    cr_expect_eq(client_ask(&c, "GET /fail HTTP/1.1\r\nHost: a\r\n\r\n"), 500);
    cr_expect_eq(client_ask(&c, "GET /both HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_eq(client_ask(&c, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"), 500, "a route without a handler");
    client_close(&c, 0);
    end(server);
}

static atomic_int gone;

static void note_gone(turbo_request *req, void *user) {
    cr_expect(turbo_request_cancelled(req));
    atomic_fetch_add((atomic_int *)user, 1);
    (void)answer_ok(req, NULL);
    turbo_request_release(req);
}

static int wait_for_gone(turbo_request *req, void *user) {
    turbo_request_retain(req);
    return turbo_request_on_gone(req, note_gone, user);
}

Test(executor_shard, on_gone_is_called_once_when_the_client_goes) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    client c;
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_route(server, "GET", "/", NULL, wait_for_gone, &gone), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    client_open(&c, turbo_server_port(server));
    client_send(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(turbo_shard_inflight(turbo_server_shard(server, 0)) == 1);
    client_close(&c, 1);
    AWAIT(gone == 1);
    AWAIT(turbo_server_stats(server, &s) == 0 && s.dropped == 1);
    end(server);
    cr_expect_eq(gone, 1);
}

/* -- batch routes; a driven shard that runs handlers, so that the test sees each turn -- */

struct calls {
    size_t sizes[64], count;
};

static void note_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    struct calls *calls = user;
    cr_expect_not_null(shard);
    calls->sizes[calls->count++] = n;
    for (size_t i = 0; i < n; i++)
        (void)answer_ok(reqs[i], NULL);
}

static turbo_shard *new_driven(rig *r, struct calls *calls, const char *settings, const char *option, uint64_t value) {
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    if (option != NULL)
        cr_assert_eq(turbo_route_options_set_u64(options, option, value), 0);
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    r->seen.runs = 1;
    cr_assert_eq(turbo_server_route_batch(r->server, "GET", "/", options, note_batch, calls), 0);
    turbo_route_options_free(options);
    rig_start(r);
    rig_settle(r);
    return turbo_server_shard(r->server, 0);
}

static void submit(turbo_shard *shard, rig *r, outcome *out, size_t n) {
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(submit_to(shard, r->server, "/", out), 0);
}

Test(executor_shard, a_batch_route_gets_what_one_turn_took_in_one_call) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "", NULL, 0);
    submit(shard, &r, &out, 7);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 7);
    cr_expect_eq(out.answered, 7);
    rig_end(&r);
}

Test(executor_shard, batch_max_of_a_route_closes_a_batch) {
    for (size_t n = 2; n <= 4; n++) {
        rig r;
        outcome out = {0};
        struct calls calls = {{0}, 0};
        turbo_shard *shard = new_driven(&r, &calls, "", "batch_max", 3);
        submit(shard, &r, &out, n);
        rig_settle(&r);
        cr_expect_eq(calls.count, n <= 3 ? 1 : 2);
        cr_expect_eq(calls.sizes[0], n < 3 ? n : 3);
        cr_expect_eq(out.answered, n);
        rig_end(&r);
    }
}

Test(executor_shard, batch_wait_us_holds_a_batch_until_its_first_request_has_waited) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    fake_clock_set(1000000000, 0);
    turbo_shard *shard = new_driven(&r, &calls, "", "batch_wait_us", 5000);
    submit(shard, &r, &out, 2);
    rig_settle(&r);
    cr_expect_eq(calls.count, 0);
    cr_expect_eq(turbo_shard_timeout_ms(shard), 5);
    fake_clock_advance_ms(4);
    submit(shard, &r, &out, 1);
    rig_settle(&r);
    cr_expect_eq(calls.count, 0, "one millisecond early");
    cr_expect_eq(turbo_shard_timeout_ms(shard), 1);
    fake_clock_advance_ms(1);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 3, "the third one did not begin a wait of its own");
    cr_expect_eq(out.answered, 3);
    cr_expect_eq(turbo_shard_timeout_ms(shard), -1);
    fake_clock_off();
    rig_end(&r);
}

Test(executor_shard, a_batch_that_waits_is_closed_by_batch_max) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    fake_clock_set(1000000000, 0);
    turbo_shard *shard = new_driven(&r, &calls, "batch_wait_us=10000000", "batch_max", 3);
    submit(shard, &r, &out, 4);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 3);
    cr_expect_eq(out.answered, 3);
    cr_expect_eq(turbo_shard_inflight(shard), 1);
    fake_clock_off();
    rig_end(&r);
}

Test(executor_shard, a_batch_that_waits_is_closed_by_a_drain) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "", "batch_wait_us", 10000000);
    submit(shard, &r, &out, 2);
    rig_settle(&r);
    cr_expect_eq(calls.count, 0);
    struct pollfd watch = {.fd = turbo_shard_fd(shard), .events = POLLIN};
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(poll(&watch, 1, 0) == 1); /* a host that sleeps has to be woken for it */
    AWAIT(rig_poll(&r) == 1);
    cr_expect(calls.count == 1 && calls.sizes[0] == 2);
    cr_expect_eq(out.answered, 2);
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    cr_expect(turbo_shard_stats_get(shard, &stats) == 0 && stats.closed_drained == 1 && stats.batch_calls == 1);
    expect_all_accounted(r.server, 2, 2, 0, 0, 0);
    rig_end(&r);
}

/* Calls by why they came: full, turn, timer, gate, drained. */
static void expect_closed(const turbo_shard *shard, uint64_t full, uint64_t turn, uint64_t timer, uint64_t gate,
                          uint64_t drained) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(shard, &s), 0);
    cr_expect_eq(s.closed_full, full, "full %llu", (unsigned long long)s.closed_full);
    cr_expect_eq(s.closed_turn, turn, "turn %llu", (unsigned long long)s.closed_turn);
    cr_expect_eq(s.closed_timer, timer, "timer %llu", (unsigned long long)s.closed_timer);
    cr_expect_eq(s.closed_gate, gate, "gate %llu", (unsigned long long)s.closed_gate);
    cr_expect_eq(s.closed_drained, drained, "drained %llu", (unsigned long long)s.closed_drained);
    cr_expect_eq(s.batch_calls, full + turn + timer + gate + drained);
}

Test(executor_shard, the_time_in_the_queue_is_part_of_a_batchs_wait) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    fake_clock_set(1000000000, 0);
    turbo_shard *shard = new_driven(&r, &calls, "", "batch_wait_us", 5000);
    submit(shard, &r, &out, 2);
    fake_clock_advance_ms(5); /* a handler of the shard's takes that long */
    submit(shard, &r, &out, 1);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 3, "what is due takes along what has come");
    expect_closed(shard, 0, 0, 1, 0, 0);
    fake_clock_off();
    rig_end(&r);
}

Test(executor_shard, a_batch_without_a_wait_holds_what_a_turn_takes) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "batch_max=2", "batch_max", 10);
    submit(shard, &r, &out, 5);
    rig_settle(&r);
    cr_expect(calls.count == 3 && calls.sizes[0] == 2 && calls.sizes[1] == 2 && calls.sizes[2] == 1);
    expect_closed(shard, 0, 3, 0, 0, 0);
    rig_end(&r);
}

Test(executor_shard, a_batch_that_waits_gathers_over_turns) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "batch_max=2 batch_wait_us=10000000", "batch_max", 5);
    submit(shard, &r, &out, 5);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 5);
    expect_closed(shard, 1, 0, 0, 0, 0);
    rig_end(&r);
}

/* -- batches in front of a full gate -- */

Test(executor_shard, a_batch_that_fills_the_gate_waits_no_longer) {
    for (size_t n = 2; n <= 4; n++) {
        rig r;
        outcome out = {0};
        struct calls calls = {{0}, 0};
        turbo_shard *shard = new_driven(&r, &calls, "inflight_max=3 batch_wait_us=10000000", "batch_max", 10);
        submit(shard, &r, &out, n);
        rig_settle(&r);
        cr_expect_eq(calls.count, n < 3 ? 0 : 1);
        cr_expect_eq(out.answered, n < 3 ? 0 : 3);
        cr_expect_eq(turbo_shard_inflight(shard), n < 3 ? n : n - 3);
        expect_closed(shard, 0, 0, 0, n < 3 ? 0 : 1, 0);
        rig_end(&r);
    }
}

Test(executor_shard, a_batch_that_fills_its_routes_limit_waits_no_longer) {
    for (size_t n = 2; n <= 4; n++) {
        rig r;
        outcome out = {0};
        struct calls calls = {{0}, 0};
        turbo_shard *shard = new_driven(&r, &calls, "batch_wait_us=10000000", "inflight_max", 3);
        submit(shard, &r, &out, n);
        rig_settle(&r);
        cr_expect_eq(out.answered, n < 3 ? 0 : 3);
        expect_closed(shard, 0, 0, 0, n < 3 ? 0 : 1, 0);
        rig_end(&r);
    }
}

/* Routes "/" and "/b" with batches that wait for very long, and "/one", which keeps its request; inflight_max 3. */
static turbo_shard *new_driven_of_three(rig *r, struct calls *calls, _Atomic(turbo_request *) *kept) {
    rig_new(r, TURBO_EXECUTOR_DRIVEN, "inflight_max=3 batch_wait_us=10000000");
    r->seen.runs = 1;
    cr_assert_eq(turbo_server_route_batch(r->server, "GET", "/", NULL, note_batch, &calls[0]), 0);
    cr_assert_eq(turbo_server_route_batch(r->server, "GET", "/b", NULL, note_batch, &calls[1]), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/one", NULL, keep_request, kept), 0);
    rig_start(r);
    rig_settle(r);
    return turbo_server_shard(r->server, 0);
}

Test(executor_shard, a_batch_waits_while_others_hold_the_gate) {
    rig r;
    outcome out = {0};
    struct calls calls[2] = {{{0}, 0}, {{0}, 0}};
    _Atomic(turbo_request *) kept = NULL;
    turbo_shard *shard = new_driven_of_three(&r, calls, &kept);
    cr_assert_eq(submit_to(shard, r.server, "/one", &out), 0);
    submit(shard, &r, &out, 3);
    rig_settle(&r);
    cr_expect(turbo_shard_inflight(shard) == 3 && turbo_shard_queued(shard) == 1);
    cr_expect_eq(calls[0].count, 0, "an answer will let more in");
    cr_expect_eq(turbo_request_reply(kept, 200, NULL, NULL, 0), 0);
    rig_settle(&r);
    cr_expect(calls[0].count == 1 && calls[0].sizes[0] == 3);
    expect_closed(shard, 0, 0, 0, 1, 0);
    turbo_request_release(kept);
    rig_end(&r);
}

Test(executor_shard, of_several_batches_in_a_full_gate_the_oldest_goes_first) {
    rig r;
    outcome out = {0};
    struct calls calls[2] = {{{0}, 0}, {{0}, 0}};
    _Atomic(turbo_request *) kept = NULL;
    fake_clock_set(1000000000, 0);
    turbo_shard *shard = new_driven_of_three(&r, calls, &kept);
    cr_assert_eq(submit_to(shard, r.server, "/b", &out), 0);
    fake_clock_advance_ms(1);
    submit(shard, &r, &out, 2);
    rig_settle(&r);
    cr_expect(calls[1].count == 1 && calls[1].sizes[0] == 1 && calls[0].count == 0);
    cr_expect_eq(turbo_shard_inflight(shard), 2, "the other one has room again");
    expect_closed(shard, 0, 0, 0, 1, 0);
    fake_clock_off();
    rig_end(&r);
}

/* -- batches and clients that go -- */

static turbo_shard *listen_with_batches(rig *r, struct calls *calls) {
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set_u64(options, "batch_max", 3), 0);
    rig_listen(r, TURBO_EXECUTOR_DRIVEN, "batch_wait_us=10000000");
    r->seen.runs = 1;
    cr_assert_eq(turbo_server_route_batch(r->server, "GET", "/", options, note_batch, calls), 0);
    turbo_route_options_free(options);
    rig_start(r);
    rig_settle(r);
    return turbo_server_shard(r->server, 0);
}

/* A client whose request waits in the batch, as the n-th. */
static void ask(client *c, rig *r, size_t n) {
    turbo_shard *shard = turbo_server_shard(r->server, 0);
    client_open(c, turbo_server_port(r->server));
    client_send(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT((rig_settle(r), turbo_shard_inflight(shard) == n));
}

static void leave(client *c, rig *r, uint64_t n) {
    turbo_stats all = TURBO_STATS_INIT;
    client_close(c, 1);
    AWAIT(turbo_server_stats(r->server, &all) == 0 && all.dropped == n);
}

Test(executor_shard, a_batch_leaves_out_those_whose_client_has_gone) {
    rig r;
    client first, stays, last;
    struct calls calls = {{0}, 0};
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    turbo_shard *shard = listen_with_batches(&r, &calls);
    ask(&first, &r, 1);
    ask(&stays, &r, 2);
    leave(&first, &r, 1);
    client_open(&last, turbo_server_port(r.server));
    client_send(&last, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT((rig_settle(&r), calls.count == 1));
    cr_expect_eq(calls.sizes[0], 2);
    cr_expect(client_answer(&stays) == 200 && client_answer(&last) == 200);
    cr_expect_eq(turbo_shard_stats_get(shard, &stats), 0);
    cr_expect(stats.dropped == 1 && stats.batch_call_requests == 2 && stats.inflight == 0);
    expect_closed(shard, 1, 0, 0, 0, 0);
    expect_all_accounted(r.server, 3, 2, 0, 1, 0);
    client_close(&stays, 0);
    client_close(&last, 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(executor_shard, a_batch_of_none_is_not_called) {
    rig r;
    client only;
    struct calls calls = {{0}, 0};
    turbo_shard *shard = listen_with_batches(&r, &calls);
    ask(&only, &r, 1);
    leave(&only, &r, 1);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(rig_poll(&r) == 1);
    cr_expect_eq(calls.count, 0);
    expect_closed(shard, 0, 0, 0, 0, 0);
    expect_all_accounted(r.server, 1, 0, 0, 1, 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- weights -- */

/* By the query: "w=N"; "own" is answered here, anything else fails. */
static int weigh(uint64_t *out, turbo_request *req, void *user) {
    turbo_str query = turbo_request_query(req);
    cr_expect_null(user);
    if (query.len == 3 && memcmp(query.data, "own", 3) == 0)
        return turbo_request_reply(req, 413, NULL, NULL, 0);
    if (query.len != 3 || query.data[0] != 'w')
        return TURBO_EUSER;
    *out = (uint64_t)(query.data[2] - '0');
    return 1;
}

Test(executor_shard, batches_are_bounded_by_weight) {
    rig r;
    outcome out = {0}, own = {0}, bad = {0};
    struct calls calls = {{0}, 0};
    turbo_route_options *options = NULL;
    turbo_shard_stats stats = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set_u64(options, "batch_weight_max", 9), 0);
    cr_assert_eq(turbo_route_options_set_weight(options, weigh, NULL), 0);
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    r.seen.runs = 1;
    cr_assert_eq(turbo_server_route_batch(r.server, "GET", "/", options, note_batch, &calls), 0);
    turbo_route_options_free(options);
    rig_start(&r);
    rig_settle(&r);
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(submit_to(shard, r.server, "/?w=4", &out), 0);
    cr_assert_eq(submit_to(shard, r.server, "/?own", &own), 0);
    cr_assert_eq(submit_to(shard, r.server, "/?what", &bad), 0);
    cr_assert_eq(submit_to(shard, r.server, "/?w=5", &out), 0);
    rig_settle(&r);
    cr_expect(calls.count == 3 && calls.sizes[0] == 2 && calls.sizes[1] == 2 && calls.sizes[2] == 2);
    cr_expect(out.answered == 6 && own.status == 413 && bad.status == 500);
    cr_expect_eq(turbo_shard_inflight(shard), 0);
    cr_expect(turbo_shard_stats_get(shard, &stats) == 0 && stats.closed_weight == 3 && stats.batch_calls == 3);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- runs of one's own -- */

static void run_kept(turbo_shard *shard, int status, void *user) {
    recorder *seen = user;
    if (status == 0)
        turbo_shard_run(shard, seen->reqs, seen->count);
}

Test(executor_shard, run_outside_of_a_batch_closes_its_batches) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "", NULL, 0);
    r.seen.runs = 0;
    submit(shard, &r, &out, 3);
    rig_settle(&r);
    cr_assert_eq(turbo_shard_post(shard, run_kept, &r.seen), 0);
    rig_settle(&r);
    cr_expect(calls.count == 1 && calls.sizes[0] == 3 && out.answered == 3);
    expect_closed(shard, 0, 1, 0, 0, 0);
    rig_end(&r);
}

static void run_each(recorder *seen, turbo_shard *shard) {
    (void)shard;
    for (size_t i = 0; i < seen->count; i++)
        turbo_request_run(seen->reqs[i]);
}

Test(executor_shard, run_of_one_request_is_a_batch_of_one) {
    rig r;
    outcome out = {0};
    struct calls calls = {{0}, 0};
    turbo_shard *shard = new_driven(&r, &calls, "", NULL, 0);
    r.seen.runs = 0;
    r.seen.on_batch = run_each;
    submit(shard, &r, &out, 2);
    rig_settle(&r);
    cr_expect(calls.count == 2 && calls.sizes[0] == 1 && calls.sizes[1] == 1);
    cr_expect_eq(out.answered, 2);
    rig_end(&r);
}
