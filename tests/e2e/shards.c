/* shards.c - routes that show where requests run: for tests/e2e/test_shards.py and test_placement.py.
 *
 *     shards [--override PLACEMENT] [setting]...
 *
 * GET /r/0 .. /r/15, /hot, /home (spill_percent=0), /route, /round_robin, /local, /path/{x}, /connection, /least,
 * /callback?to=N (placements of these names), /param/{id}, /field (X-User), /cookie (sid) (placement key): all take ?us=N, which computes, and ?wait=N, which sleeps, for N microseconds, and answer where they ran.
 * --override gives every route this placement: the tests of placements must fail then. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <turbo.h>
#include <unistd.h>

#define NUMBER_MAX 1000000

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A number of the query; 0 when there is none. */
static uint64_t number(const turbo_request *req, const char *name) {
    turbo_str text = turbo_request_query_value(req, name);
    uint64_t value = 0;
    for (size_t i = 0; i < text.len && value < NUMBER_MAX; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    return value;
}

static int where(turbo_request *req, void *user) {
    uint64_t us = number(req, "us"), wait = number(req, "wait"), from = now_us();
    char body[64];
    (void)user;
    while (now_us() - from < us) {
    }
    if (wait > 0)
        nanosleep(&(struct timespec){(time_t)(wait / 1000000), (long)(wait % 1000000) * 1000}, NULL);
    int len = snprintf(body, sizeof body, "{\"shard\":%zu,\"thread\":%ld}", turbo_shard_index(turbo_request_shard(req)),
                       (long)syscall(SYS_gettid));
    return turbo_request_reply(req, 200, "application/json", body, (size_t)len);
}

static size_t by_query(const turbo_request *req, size_t shards, void *user) {
    (void)shards;
    (void)user;
    return (size_t)number(req, "to");
}

/* `option` may be NULL; `override` wins over everything. */
static int add(turbo_server *server, const char *pattern, const char *option, const char *value, const char *override) {
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0)
        return rc;
    if (override != NULL)
        rc = turbo_route_options_set(options, "placement", override);
    else if (strcmp(pattern, "/callback") == 0)
        rc = turbo_route_options_set_placement(options, by_query, NULL);
    else if (option != NULL)
        rc = turbo_route_options_set(options, option, value);
    if (rc == 0)
        rc = turbo_server_route(server, "GET", pattern, options, where, NULL);
    turbo_route_options_free(options);
    return rc;
}

static int add_routes(turbo_server *server, const char *override) {
    static const char *const routes[][3] = {
        {"/hot", NULL, NULL},
        {"/home", "spill_percent", "0"},
        {"/route", "placement", "route"},
        {"/round_robin", "placement", "round_robin"},
        {"/local", "placement", "local"},
        {"/path/{x}", "placement", "path"},
        {"/param/{id}", "key", "param:id"},
        {"/field", "key", "field:X-User"},
        {"/cookie", "key", "cookie:sid"},
        {"/connection", "placement", "connection"},
        {"/least", "placement", "least"},
        {"/callback", NULL, NULL},
    };
    char pattern[16];
    int rc = turbo_server_route_stats(server, "/stats", NULL);
    for (size_t i = 0; rc == 0 && i < sizeof routes / sizeof routes[0]; i++)
        rc = add(server, routes[i][0], routes[i][1], routes[i][2], override);
    for (int i = 0; rc == 0 && i < 16; i++) {
        snprintf(pattern, sizeof pattern, "/r/%d", i);
        rc = add(server, pattern, NULL, NULL, override);
    }
    return rc;
}

/* The line that says where it listens comes once connections are accepted; a signal that follows it is not lost. */
static int serve(turbo_server *server) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int rc = turbo_server_start(server);
    if (rc < 0)
        return rc;
    printf("shards listens on http://127.0.0.1:%u\n", (unsigned)turbo_server_port(server));
    fflush(stdout);
    return turbo_server_run(server);
}

int main(int argc, char **argv) {
    turbo_options *options;
    turbo_server *server = NULL;
    int rc = turbo_options_new(&options);
    if (rc == 0)
        rc = turbo_options_load_args(options, &argc, argv);
    const char *override = argc == 3 && strcmp(argv[1], "--override") == 0 ? argv[2] : NULL;
    if (rc == 0)
        rc = turbo_server_new(&server, options);
    if (rc == 0)
        rc = turbo_server_set_log(server, TURBO_LOG_INFO, NULL, NULL); /* the counts at the end */
    if (rc == 0)
        rc = add_routes(server, override);
    if (rc == 0)
        rc = turbo_server_listen(server, "127.0.0.1:0");
    if (rc == 0)
        rc = serve(server);
    if (rc < 0)
        fprintf(stderr, "shards: %s %s\n", turbo_strerror(rc), turbo_options_error(options));
    turbo_server_release(server);
    turbo_options_free(options);
    return rc < 0;
}
