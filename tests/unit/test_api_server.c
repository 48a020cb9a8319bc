/* test_api_server.c - every error that include/turbo/server.h documents. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(api_server, .timeout = 60);

static turbo_server *new_server(const char *settings) {
    turbo_server *server = NULL;
    turbo_options *options = options_from(settings);
    cr_assert_eq(turbo_server_new(&server, options), 0);
    cr_assert_eq(turbo_server_set_log(server, 0, NULL, NULL), 0);
    turbo_options_free(options);
    return server;
}

/* Where the next descriptor will be. */
static int lowest_fd(void) {
    int fd = dup(0);
    cr_assert_geq(fd, 0);
    close(fd);
    return fd;
}

static void limit_fds(int max) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int tcp_socket(uint32_t address, int listening) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
    if (listening)
        cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

/* -- new -- */

/* errors: turbo_server_new TURBO_ENOMEM */
Test(api_server, new_without_memory) {
    turbo_server *server = NULL;
    turbo_options *options = options_from("shards=3 io_threads=2");
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_new(&server, options), turbo_server_release(server));
    cr_assert_eq(turbo_options_set(options, "io_threads", "0"), 0);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_new(&server, options), turbo_server_release(server));
    turbo_options_free(options);
    cr_expect_not(failing_alloc_leaks());
}

/* -- listen -- */

/* errors: turbo_server_listen TURBO_EADDR, TURBO_EADDRINUSE, TURBO_ESTATE */
Test(api_server, listen_says_why_not) {
    static const char *const bad[] = {"",          "8000",         "localhost", "127.0.0.1:65536", "127.0.0.1:-1",
                                      "::1:8000",  "unix:",        "[::1]",     "host.invalid:80", "192.0.2.1:0",
                                      "1.2.3.4:x", "unix:/no/dir/s"};
    turbo_server *server = new_server("shards=1 io_threads=1");
    char taken[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(turbo_server_listen(server, bad[i]), TURBO_EADDR, "\"%s\"", bad[i]);
        cr_expect_str_not_empty(turbo_server_error(server));
    }
    cr_expect_eq(turbo_server_port(server), 0);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    snprintf(taken, sizeof taken, "127.0.0.1:%u", (unsigned)turbo_server_port(server));
    cr_expect_eq(turbo_server_listen(server, taken), TURBO_EADDRINUSE);
    cr_expect_not_null(strstr(turbo_server_error(server), taken));
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_listen(server, "127.0.0.1:0"), TURBO_ESTATE);
    cr_expect_str_not_empty(turbo_server_error(server));
    turbo_server_release(server);
}

Test(api_server, listen_does_not_share_a_port_with_another_server_that_shares_its_own) {
    turbo_server *first = new_server("shards=1 io_threads=3"), *second = new_server("shards=1 io_threads=3");
    char taken[64];
    cr_assert_eq(turbo_server_listen(first, "127.0.0.1:0"), 0);
    snprintf(taken, sizeof taken, "127.0.0.1:%u", (unsigned)turbo_server_port(first));
    cr_expect_eq(turbo_server_listen(second, taken), TURBO_EADDRINUSE);
    turbo_server_release(first);
    turbo_server_release(second);
}

/* errors: turbo_server_listen TURBO_EACCES */
Test(api_server, listen_where_the_system_forbids_it) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    char dir[] = "/tmp/turbo-acces-XXXXXX", address[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(address, sizeof address, "unix:%s/s", dir);
    cr_assert_eq(chmod(dir, 0), 0);
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0); /* root may write anywhere */
    cr_expect_eq(turbo_server_listen(server, address), TURBO_EACCES);
    cr_expect_str_not_empty(turbo_server_error(server));
    (void)!seteuid(getuid());
    rmdir(dir);
    turbo_server_release(server);
}

/* errors: turbo_server_listen TURBO_ESYS */
Test(api_server, listen_behind_a_loop_of_links) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    char dir[] = "/tmp/turbo-loop-XXXXXX", link[64], address[128];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/l", dir);
    snprintf(address, sizeof address, "unix:%s/s", link);
    cr_assert_eq(symlink(link, link), 0);
    cr_expect_eq(turbo_server_listen(server, address), TURBO_ESYS);
    unlink(link);
    rmdir(dir);
    turbo_server_release(server);
}

/* errors: turbo_server_listen TURBO_ENOMEM; turbo_server_listen_fd TURBO_ENOMEM */
Test(api_server, listen_without_memory) {
    turbo_server *server = new_server("shards=3 io_threads=3");
    char dir[] = "/tmp/turbo-nomem-XXXXXX", address[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(address, sizeof address, "unix:%s/s", dir);
    int fd = tcp_socket(INADDR_LOOPBACK, 1);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_listen(server, "127.0.0.1:0"), );
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_listen(server, address), );
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_listen_fd(server, fd), );
    turbo_server_release(server);
    cr_expect_eq(rmdir(dir), 0, "the socket's file is still there");
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_server_listen TURBO_EMFILE */
Test(api_server, listen_without_descriptors) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    limit_fds(lowest_fd());
    cr_expect_eq(turbo_server_listen(server, "127.0.0.1:0"), TURBO_EMFILE);
    cr_expect_eq(turbo_server_listen(server, "unix:/tmp/turbo-none"), TURBO_EMFILE);
    cr_expect_str_not_empty(turbo_server_error(server));
    turbo_server_release(server);
}

/* errors: turbo_server_listen_fd TURBO_EINVAL, TURBO_ESTATE */
Test(api_server, listen_fd_takes_only_a_listening_stream_socket) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    int udp = socket(AF_INET, SOCK_DGRAM, 0), bound = tcp_socket(INADDR_LOOPBACK, 0);
    int good = tcp_socket(INADDR_LOOPBACK, 1), late = tcp_socket(INADDR_LOOPBACK, 1);
    cr_expect_eq(turbo_server_listen_fd(server, -1), TURBO_EINVAL);
    cr_expect_eq(turbo_server_listen_fd(server, STDOUT_FILENO), TURBO_EINVAL);
    cr_expect_eq(turbo_server_listen_fd(server, udp), TURBO_EINVAL);
    cr_expect_eq(turbo_server_listen_fd(server, bound), TURBO_EINVAL);
    cr_expect_str_not_empty(turbo_server_error(server));
    cr_expect_eq(turbo_server_listen_fd(server, good), 0);
    cr_expect_gt(turbo_server_port(server), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_listen_fd(server, late), TURBO_ESTATE);
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    cr_expect_eq(fcntl(good, F_GETFD), -1, "the server took it, and must have closed it");
    cr_expect_geq(fcntl(late, F_GETFD), 0);
    turbo_server_release(server);
    close(udp);
    close(bound);
    close(late);
}

/* -- executor and stats routes -- */

static void ignore_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self, (void)shard, (void)reqs, (void)n;
}

/* errors: turbo_server_set_executor TURBO_EINVAL, TURBO_ETOONEW, TURBO_ESTATE */
Test(api_server, executor_tables_that_are_refused) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    struct {
        turbo_executor_ops ops;
        void *newer;
    } table = {.ops = TURBO_EXECUTOR_OPS_INIT};
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_EINVAL, "no batch");
    table.ops.batch = ignore_batch;
    table.ops.size = sizeof table.ops - 1;
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_EINVAL, "too small");
    table.ops.size = sizeof table;
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), 0, "newer members, all unset");
    table.newer = &table;
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_ETOONEW, "a newer member is set");
    table.ops.size = sizeof table.ops;
    table.ops.flags = 4;
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_ETOONEW, "a newer flag is set");
    table.ops.flags = 0;
    table.ops.reserved0 = 1;
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_EINVAL, "reserved");
    table.ops.reserved0 = 0;
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_set_executor(server, &table.ops, NULL), TURBO_ESTATE);
    turbo_server_release(server);
}

/* errors: turbo_server_route_stats TURBO_EINVAL, TURBO_EEXIST, TURBO_ESTATE, TURBO_ENOMEM */
Test(api_server, stats_routes_that_are_refused) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    cr_expect_eq(turbo_server_route_stats(server, "stats", NULL), TURBO_EINVAL);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_route_stats(server, "/stats", NULL), );
    cr_expect_eq(turbo_server_route_stats(server, "/stats", NULL), TURBO_EEXIST);
    cr_expect_eq(turbo_server_route_stats(server, NULL, "/stats"), TURBO_EEXIST);
    cr_expect_eq(turbo_server_route_stats(server, NULL, "/metrics"), 0);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_route_stats(server, "/late", NULL), TURBO_ESTATE);
    turbo_server_release(server);
}

/* -- start and run -- */

static turbo_server *listening_server(const char *settings) {
    turbo_server *server = new_server(settings);
    cr_assert_eq(turbo_server_listen(server, "127.0.0.1:0"), 0);
    return server;
}

static void stop_and_release(turbo_server *server) {
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
}

/* errors: turbo_server_start TURBO_ENOMEM */
Test(api_server, start_without_memory_leaves_a_server_that_can_be_released) {
    static const char *const topologies[] = {"shards=2 io_threads=2", "shards=2 io_threads=0"};
    for (size_t i = 0; i < 2; i++) {
        int failed = 1;
        for (size_t nth = 1; failed; nth++) {
            turbo_server *server = listening_server(topologies[i]);
            failing_alloc_arm(nth);
            int rc = turbo_server_start(server);
            failed = failing_alloc_disarm();
            cr_assert_eq(rc, failed ? TURBO_ENOMEM : 0, "allocation %zu: %d", nth, rc);
            cr_assert(failed || nth > 8, "start allocates nearly nothing");
            if (failed)
                turbo_server_release(server);
            else
                stop_and_release(server);
        }
    }
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_server_run TURBO_ENOMEM */
Test(api_server, run_without_memory) {
    turbo_server *server = listening_server("shards=1 io_threads=1");
    failing_alloc_arm(1);
    cr_expect_eq(turbo_server_run(server), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    turbo_server_release(server);
}

/* errors: turbo_server_start TURBO_EMFILE; turbo_server_run TURBO_EMFILE */
Test(api_server, start_without_descriptors_leaves_a_server_that_can_be_released) {
    turbo_server *server;
    int n = 0, rc;
    do {
        server = listening_server("shards=2 io_threads=2");
        limit_fds(lowest_fd() + n);
        rc = n == 0 ? turbo_server_run(server) : turbo_server_start(server);
        limit_fds(1000);
        cr_assert(rc == 0 || rc == TURBO_EMFILE, "with room for %d: %d", n, rc);
        if (rc < 0)
            turbo_server_release(server);
        n++;
    } while (rc < 0);
    cr_expect_gt(n, 8, "start needs hardly any descriptors: %d", n);
    stop_and_release(server);
    cr_expect_not(failing_alloc_leaks());
}

/* Listen on a descriptor and close it behind the server's back; so high that nothing else takes its number. */
static void listen_on_nothing(turbo_server *server) {
    int fd = tcp_socket(INADDR_LOOPBACK, 1), high = fcntl(fd, F_DUPFD, 600);
    cr_assert_geq(high, 600);
    cr_assert_eq(turbo_server_listen_fd(server, high), 0);
    close(fd);
    close(high);
}

/* errors: turbo_server_start TURBO_ESYS; turbo_server_run TURBO_ESYS */
Test(api_server, start_with_a_listener_that_is_gone) {
    for (int run = 0; run < 2; run++) {
        turbo_server *server = new_server("shards=1 io_threads=1");
        listen_on_nothing(server);
        cr_expect_eq(run ? turbo_server_run(server) : turbo_server_start(server), TURBO_ESYS);
        turbo_server_release(server);
    }
}

/* errors: turbo_server_start TURBO_ESTATE; turbo_server_run TURBO_ESTATE */
Test(api_server, start_is_for_once) {
    turbo_server *server = new_server("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_start(server), TURBO_ESTATE, "runs");
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_start(server), TURBO_ESTATE, "stops");
    cr_expect_eq(turbo_server_wait(server), 0);
    cr_expect_eq(turbo_server_start(server), TURBO_ESTATE, "has stopped");
    turbo_server_release(server);
    server = new_server("shards=1 io_threads=1");
    listen_on_nothing(server);
    cr_expect_eq(turbo_server_start(server), TURBO_ESYS);
    cr_expect_eq(turbo_server_start(server), TURBO_ESTATE, "has failed");
    cr_expect_eq(turbo_server_run(server), TURBO_ESTATE, "has failed");
    turbo_server_release(server);
}

/* errors: turbo_server_run TURBO_ENOTSUP */
Test(api_server, run_cannot_drive_shards) {
    rig r;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    cr_expect_eq(turbo_server_run(r.server), TURBO_ENOTSUP);
    rig_start(&r);
    rig_end(&r);
}

/* -- stop, abort, wait -- */

static void count_stop(turbo_server *server, void *user) {
    (void)server;
    atomic_fetch_add((atomic_int *)user, 1);
}

/* errors: turbo_server_stop TURBO_ESTATE; turbo_server_abort TURBO_ESTATE; turbo_server_wait TURBO_ESTATE */
Test(api_server, nothing_to_stop_before_the_start_or_after_one_that_failed) {
    atomic_int stops = 0;
    turbo_server *server = new_server("shards=1 io_threads=1");
    cr_expect_eq(turbo_server_stop(server, count_stop, &stops), TURBO_ESTATE);
    cr_expect_eq(turbo_server_abort(server), TURBO_ESTATE);
    cr_expect_eq(turbo_server_wait(server), TURBO_ESTATE);
    listen_on_nothing(server);
    cr_assert_eq(turbo_server_start(server), TURBO_ESYS);
    cr_expect_eq(turbo_server_stop(server, count_stop, &stops), TURBO_ESTATE);
    cr_expect_eq(turbo_server_abort(server), TURBO_ESTATE);
    cr_expect_eq(turbo_server_wait(server), TURBO_ESTATE);
    turbo_server_release(server);
    cr_expect_eq(stops, 0);
}

/* errors: turbo_server_stop TURBO_ESTATE */
Test(api_server, stop_takes_one_callback_and_calls_it_once) {
    atomic_int first = 0, second = 0;
    turbo_server *server = new_server("shards=1 io_threads=1");
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_stop(server, count_stop, &first), 0);
    cr_expect_eq(turbo_server_stop(server, count_stop, &second), TURBO_ESTATE);
    cr_expect_eq(turbo_server_stop(server, NULL, NULL), 0, "changes nothing");
    cr_expect_eq(turbo_server_wait(server), 0);
    AWAIT(first == 1);
    cr_expect_eq(turbo_server_stop(server, count_stop, &second), TURBO_ESTATE);
    cr_expect_eq(turbo_server_abort(server), 0);
    cr_expect_eq(second, 0);
    turbo_server_release(server);
}

struct waits {
    turbo_server *server;
    atomic_int on_shard, on_io, on_control;
};

static int wait_on_io(turbo_request *req, void *user) {
    struct waits *waits = user;
    atomic_store(&waits->on_io, turbo_server_wait(waits->server));
    return answer_ok(req, NULL);
}

static void wait_on_shard(turbo_shard *shard, int status, void *user) {
    struct waits *waits = user;
    (void)shard, (void)status;
    atomic_store(&waits->on_shard, turbo_server_wait(waits->server));
}

static void wait_on_control(turbo_server *server, void *user) {
    (void)server;
    atomic_store(&((struct waits *)user)->on_control, 1); /* a wait in here returns 0: the server has stopped */
}

/* errors: turbo_server_wait TURBO_ESTATE */
Test(api_server, wait_is_refused_on_the_librarys_threads) {
    struct waits waits = {.server = new_server("shards=1 io_threads=1")};
    turbo_route_options *on_io = NULL;
    client c;
    cr_assert_eq(turbo_route_options_new(&on_io), 0);
    cr_assert_eq(turbo_route_options_set(on_io, "executor", "inline"), 0);
    cr_assert_eq(turbo_server_route(waits.server, "GET", "/", on_io, wait_on_io, &waits), 0);
    cr_assert_eq(turbo_server_listen(waits.server, "127.0.0.1:0"), 0);
    cr_assert_eq(turbo_server_start(waits.server), 0);
    client_open(&c, turbo_server_port(waits.server));
    cr_expect_eq(client_ask(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_eq(waits.on_io, TURBO_ESTATE);
    cr_assert_eq(turbo_shard_post(turbo_server_shard(waits.server, 0), wait_on_shard, &waits), 0);
    AWAIT(waits.on_shard != 0);
    cr_expect_eq(waits.on_shard, TURBO_ESTATE);
    client_close(&c, 0);
    cr_assert_eq(turbo_server_stop(waits.server, wait_on_control, &waits), 0);
    cr_expect_eq(turbo_server_wait(waits.server), 0);
    AWAIT(waits.on_control == 1);
    turbo_route_options_free(on_io);
    turbo_server_release(waits.server);
}

/* errors: turbo_server_wait TURBO_ESTATE */
Test(api_server, wait_is_refused_on_the_thread_of_a_driven_shard_until_it_has_ended) {
    rig r;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    rig_start(&r);
    (void)rig_poll(&r); /* this thread becomes the shard's */
    cr_expect_eq(turbo_server_wait(r.server), TURBO_ESTATE);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_server_wait(r.server), TURBO_ESTATE, "it would wait for itself");
    rig_end(&r);
}
