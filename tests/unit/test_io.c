/* test_io.c - an I/O loop: accepting, backing off, spreading connections, handing requests to shards. */
#include "io.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "server.h"

TestSuite(io, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void start(rig *r, const char *settings) {
    rig_listen(r, 0, settings);
    r->seen.runs = 1;
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
}

static turbo_stats stats_of(const rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    (void)turbo_server_stats(r->server, &s);
    return s;
}

static void limit_fds(int max) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The pause is 100 ms: a loop that spun would fail thousands of times in the time of three. */
Test(io, without_descriptors_accepting_pauses_and_goes_on_later) {
    rig r;
    client c, other;
    start(&r, "");
    client_open(&other, turbo_server_port(r.server));
    cr_expect_eq(client_ask(&other, ASK), 200);
    client_over(&c, socket(AF_INET, SOCK_STREAM, 0)); /* a descriptor of ours, taken before there are none */
    int fd = c.fd;
    limit_fds(fd + 1);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(turbo_server_port(r.server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "the backlog takes it");
    client_send(&c, ASK);
    AWAIT(stats_of(&r).accept_errors >= 3);
    cr_expect_lt(stats_of(&r).accept_errors, 50, "%llu errors", (unsigned long long)stats_of(&r).accept_errors);
    cr_expect_eq(client_ask(&other, ASK), 200, "the others are served meanwhile");
    limit_fds(1000);
    cr_expect_eq(client_answer(&c), 200);
    client_close(&c, 0);
    client_close(&other, 0);
    rig_end(&r);
}

Test(io, connections_max_are_served_and_the_next_one_waits) {
    rig r;
    client c[3];
    start(&r, "connections_max=2");
    for (int i = 0; i < 3; i++) {
        client_open(&c[i], turbo_server_port(r.server));
        client_send(&c[i], ASK);
        if (i < 2)
            cr_expect_eq(client_answer(&c[i]), 200);
    }
    for (int i = 0; i < 50; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_eq(stats_of(&r).connections, 2);
    cr_expect_eq(stats_of(&r).taken, 2);
    cr_expect_eq(stats_of(&r).accept_errors, 0);
    client_close(&c[0], 0);
    cr_expect_eq(client_answer(&c[2]), 200, "as soon as there is room");
    client_close(&c[1], 0);
    client_close(&c[2], 0);
    rig_end(&r);
}

/* One listening socket for all loops: without passing on, one loop could take them all. */
Test(io, connections_are_spread_over_loops) {
    enum { COUNT = 90, LOOPS = 3 };
    static client c[COUNT];
    rig r;
    char path[64];
    snprintf(path, sizeof path, "unix:/tmp/turbo-io-%d", (int)getpid());
    rig_new(&r, 0, "io_threads=3");
    r.seen.runs = 1;
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_listen(r.server, path), 0);
    rig_start(&r);
    for (int i = 0; i < COUNT; i++) {
        client_open_unix(&c[i], path + 5);
        cr_expect_eq(client_ask(&c[i], ASK), 200);
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < LOOPS; i++) {
        uint64_t n = atomic_load(&r.server->ios[i]->group.connections);
        cr_expect_leq(n, COUNT / LOOPS * 5 / 4 + 9, "loop %zu has %llu", i, (unsigned long long)n);
        sum += n;
    }
    cr_expect_eq(sum, COUNT);
    cr_expect_eq(stats_of(&r).accepted, COUNT);
    for (int i = 0; i < COUNT; i++)
        client_close(&c[i], 0);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(io, with_no_io_threads_shards_serve_their_own_connections) {
    rig r;
    client c;
    start(&r, "shards=2 io_threads=0");
    for (int i = 0; i < 8; i++) {
        client_open(&c, turbo_server_port(r.server));
        cr_expect_eq(client_ask(&c, ASK), 200);
        cr_expect_eq(client_ask(&c, ASK), 200);
        client_close(&c, 0);
    }
    expect_all_accounted(r.server, 16, 16, 0, 0, 0);
    rig_end(&r);
}

Test(io, with_no_io_threads_a_full_queue_sheds_too) {
    rig r;
    client c;
    rig_listen(&r, 0, "shards=1 io_threads=0 queue_max=2 inflight_max=1");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, ASK);
    AWAIT(r.seen.count == 1);
    client_send(&c, ASK ASK ASK);
    AWAIT(turbo_shard_queued(turbo_server_shard(r.server, 0)) == 2 && stats_of(&r).taken == 4);
    for (size_t i = 0; i < 3; i++) {
        AWAIT(r.seen.count == i + 1);
        cr_expect_eq(turbo_request_reply(r.seen.reqs[i], 200, NULL, "x", 1), 0);
        cr_expect_eq(client_answer(&c), 200);
    }
    cr_expect_eq(client_answer(&c), 503);
    expect_all_accounted(r.server, 4, 3, 1, 0, 0);
    client_close(&c, 0);
    rig_end(&r);
}

static size_t by_last_byte(const turbo_request *req, size_t shards, void *user) {
    turbo_str path = turbo_request_path(req);
    (void)user;
    cr_expect_eq(shards, 3);
    return (size_t)(path.data[path.len - 1] - '0'); /* taken modulo shards */
}

Test(io, a_placement_function_chooses_the_shard) {
    static const char *const asks[] = {"GET /p/0 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /p/4 HTTP/1.1\r\nHost: a\r\n\r\n",
                                       "GET /p/5 HTTP/1.1\r\nHost: a\r\n\r\n"};
    rig r;
    client c;
    turbo_route_options *options = NULL;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set_placement(options, by_last_byte, NULL), 0);
    rig_listen(&r, 0, "shards=3");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/p/{n}", options, answer_ok, NULL), 0);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    for (size_t i = 0; i < 3; i++) {
        client_send(&c, asks[i]);
        AWAIT(r.seen.count == i + 1);
        cr_expect_eq(turbo_shard_index(turbo_request_shard(r.seen.reqs[i])), i);
        cr_expect_eq(turbo_request_reply(r.seen.reqs[i], 200, NULL, NULL, 0), 0);
        cr_expect_eq(client_answer(&c), 200);
    }
    turbo_route_options_free(options);
    client_close(&c, 0);
    rig_end(&r);
}

/* One turn may bring more requests than are published at once (128), for several shards. */
Test(io, a_long_pipeline_reaches_all_its_shards) {
    rig r;
    client c;
    start(&r, "shards=3 placement=round_robin pipeline_max=2000");
    char *all = malloc(1000 * (sizeof ASK - 1));
    for (size_t i = 0; i < 1000; i++)
        memcpy(all + i * (sizeof ASK - 1), ASK, sizeof ASK - 1);
    client_open(&c, turbo_server_port(r.server));
    client_send_bytes(&c, all, 1000 * (sizeof ASK - 1));
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(client_answer(&c), 200);
    expect_all_accounted(r.server, 1000, 1000, 0, 0, 0);
    for (size_t i = 0; i < 3; i++) {
        turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
        cr_expect_eq(turbo_shard_stats_get(turbo_server_shard(r.server, i), &s), 0);
        cr_expect(s.requests == 333 || s.requests == 334);
    }
    free(all);
    client_close(&c, 0);
    rig_end(&r);
}

Test(io, a_loop_whose_shard_waits_at_a_full_gate_sleeps) {
    rig r;
    client c;
    int polls = 0;
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, "io_threads=0 inflight_max=1");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, NULL, NULL), 0);
    rig_start(&r);
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, ASK ASK);
    AWAIT(rig_poll(&r) == 0 && r.seen.count == 1 && turbo_shard_queued(shard) == 1);
    while (turbo_shard_poll(shard) == 1)
        cr_assert_lt(++polls, 100, "nothing is to be done");
    cr_expect_eq(turbo_request_fail(r.seen.reqs[0]), 0);
    AWAIT(rig_poll(&r) == 0 && r.seen.count == 2);
    cr_expect_eq(turbo_request_fail(r.seen.reqs[1]), 0);
    AWAIT(rig_poll(&r) == 0 && stats_of(&r).answered == 2);
    client_close(&c, 0);
    rig_end(&r);
}
