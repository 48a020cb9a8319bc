/* test_setup.c - a server before it starts: what set-up calls keep, refuse and say. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/rig.h"
#include "server.h"

TestSuite(setup, .timeout = 60);

static turbo_server *new_server(const char *settings) {
    turbo_server *server = NULL;
    turbo_options *options = options_from(settings);
    cr_assert_eq(turbo_server_new(&server, options), 0);
    turbo_options_free(options);
    return server;
}

Test(setup, options_are_copied) {
    turbo_server *server = NULL;
    turbo_options *options = options_from("shards=3 queue_max=7");
    cr_assert_eq(turbo_server_new(&server, options), 0);
    cr_assert_eq(turbo_options_set(options, "queue_max", "9"), 0);
    turbo_options_free(options);
    cr_expect_eq(server->settings.queue_max, 7);
    cr_expect_eq(turbo_server_shard_count(server), 3);
    turbo_server_release(server);
}

Test(setup, without_options_a_server_has_the_defaults) {
    turbo_server *server = NULL;
    turbo__settings settings;
    cr_assert_eq(turbo_server_new(&server, NULL), 0);
    turbo__settings_default(&settings);
    cr_expect_eq(memcmp(&settings, &server->settings, sizeof settings), 0);
    cr_expect_str_empty(turbo_server_error(server));
    turbo_server_release(server);
}

Test(setup, without_io_threads_each_shard_has_its_own_loop) {
    turbo_server *apart = new_server("shards=3 io_threads=2"), *together = new_server("shards=3 io_threads=0");
    cr_expect_eq(apart->io_count, 2);
    cr_expect_eq(together->io_count, 3);
    turbo_server_release(apart);
    turbo_server_release(together);
}

Test(setup, shards_are_found_by_number) {
    turbo_server *server = new_server("shards=2");
    cr_expect_not_null(turbo_server_shard(server, 1));
    cr_expect_eq(turbo_shard_index(turbo_server_shard(server, 1)), 1);
    cr_expect_null(turbo_server_shard(server, 2));
    turbo_server_release(server);
}

Test(setup, port_is_that_of_the_first_tcp_listener_also_after_the_stop) {
    turbo_server *server = new_server("shards=1 io_threads=2");
    char path[64];
    snprintf(path, sizeof path, "unix:/tmp/turbo-setup-%d", (int)getpid());
    cr_expect_eq(turbo_server_port(server), 0);
    cr_assert_eq(turbo_server_listen(server, path), 0);
    cr_expect_eq(turbo_server_port(server), 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    uint16_t port = turbo_server_port(server);
    cr_expect_gt(port, 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    cr_expect_eq(turbo_server_port(server), port);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    cr_expect_eq(turbo_server_port(server), port);
    turbo_server_release(server);
}

Test(setup, every_listener_accepts) {
    rig r;
    client c;
    char path[64];
    snprintf(path, sizeof path, "unix:/tmp/turbo-setup-%d", (int)getpid());
    rig_new(&r, 0, "io_threads=2");
    r.seen.runs = 1;
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_listen(r.server, path), 0);
    cr_assert_eq(turbo_server_listen(r.server, "127.0.0.1:0"), 0);
    rig_start(&r);
    client_open_unix(&c, path + 5);
    cr_expect_eq(client_ask(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    client_close(&c, 0);
    client_open(&c, turbo_server_port(r.server));
    cr_expect_eq(client_ask(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    client_close(&c, 0);
    rig_end(&r);
    cr_expect_neq(access(path + 5, F_OK), 0, "the socket's file is removed at the stop");
}

Test(setup, the_executor_table_is_copied) {
    rig r;
    outcome out = {0};
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    ops = r.server->executor;
    cr_assert_eq(turbo_server_set_executor(r.server, &ops, &r.seen), 0);
    memset(&ops, 0xFF, sizeof ops);
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(&r);
    cr_assert_eq(submit_to(turbo_server_shard(r.server, 0), r.server, "/", &out), 0);
    rig_settle(&r);
    cr_expect_eq(r.seen.count, 1);
    rig_end(&r);
}

static atomic_int lines;

static void count_line(void *user, int32_t level, const char *message) {
    cr_expect_eq(user, &lines);
    cr_expect_eq(level, TURBO_LOG_INFO);
    cr_expect_eq(strncmp(message, "stopped:", 8), 0);
    atomic_fetch_add(&lines, 1);
}

Test(setup, the_end_is_logged_to_the_users_function) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_set_log(server, TURBO_LOG_INFO, count_line, &lines), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    cr_expect_eq(lines, 1);
    turbo_server_release(server);
}

Test(setup, stats_routes_answer_in_both_formats) {
    rig r;
    client c;
    rig_listen(&r, 0, "");
    cr_assert_eq(turbo_server_route_stats(r.server, "/stats", "/metrics"), 0);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    cr_expect_eq(client_ask(&c, "GET /stats HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect(client_has(&c, "Content-Type: application/json"));
    cr_expect(c.body[0] == '{' && strstr(c.body, "\"taken\":1") != NULL, "%s", c.body);
    cr_expect_eq(client_ask(&c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect(client_has(&c, "Content-Type: text/plain; version=0.0.4"));
    cr_expect_not_null(strstr(c.body, "_taken"));
    cr_expect_eq(r.seen.batches, 0, "they run on the I/O loop");
    client_close(&c, 0);
    rig_end(&r);
}
