/* demo.c - the routes of demo_routes.c, by native handlers; examples/demo.py is its twin in Python. */
#include "demo.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct arguments {
    const char *host, *port, *executor, *fd, *files;
} arguments;

static void print_help(void) {
    puts("usage: demo [--host 127.0.0.1] [--port 8000] [--fd N] [--executor shard|inline] [--files DIR] "
         "[setting]...\n\n"
         "  --host ADDRESS             to listen on; unix:PATH for a unix socket\n"
         "  --port N                   to listen on; 0 picks a free one\n"
         "  --fd N                     an inherited socket that listens\n"
         "  --executor shard|inline    where the sync handlers run\n"
         "  --files DIR                a directory to serve below /files/\n\n"
         "Settings, also taken from the environment (TURBO_BATCH_MAX=64):\n");
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t min, max, usual;
        char flag[32] = "--";
        snprintf(flag + 2, sizeof flag - 2, "%s", turbo_setting_name(i));
        for (char *c = flag; (c = strchr(c, '_')) != NULL; *c = '-') {
        }
        (void)turbo_setting_range(i, &min, &max, &usual);
        printf("  %-26s %s [", flag, turbo_setting_doc(i));
        if (turbo_setting_type(i) == TURBO_SETTING_ENUM)
            printf("%s]\n", turbo_setting_choices(i));
        else
            printf("%llu..%llu%s%s; %llu]\n", (unsigned long long)min, (unsigned long long)max,
                   *turbo_setting_unit(i) ? " " : "", turbo_setting_unit(i), (unsigned long long)usual);
    }
}

/* @return 0; 1: help was printed; -1. */
static int read_arguments(arguments *out, int argc, char **argv) {
    struct {
        const char *flag, **value;
    } known[] = {{"--host", &out->host},
                 {"--port", &out->port},
                 {"--executor", &out->executor},
                 {"--fd", &out->fd},
                 {"--files", &out->files}};
    for (int i = 1; i < argc; i += 2) {
        const char **value = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 1;
        }
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (strcmp(argv[i], known[k].flag) == 0)
                value = known[k].value;
        if (value == NULL || i + 1 == argc) {
            fprintf(stderr, "demo: %s %s; see --help\n", value == NULL ? "unknown argument" : "no value for", argv[i]);
            return -1;
        }
        *value = argv[i + 1];
    }
    return 0;
}

static int listen_where(turbo_server *server, const arguments *args) {
    char address[256];
    if (args->fd != NULL)
        return turbo_server_listen_fd(server, atoi(args->fd));
    if (strncmp(args->host, "unix:", 5) == 0)
        return turbo_server_listen(server, args->host);
    snprintf(address, sizeof address, strchr(args->host, ':') != NULL ? "[%s]:%s" : "%s:%s", args->host, args->port);
    return turbo_server_listen(server, address);
}

static void print_address(const turbo_server *server, const arguments *args, const turbo_options *options) {
    uint64_t io_threads = 0;
    unsigned port = turbo_server_port(server);
    size_t shards = turbo_server_shard_count(server);
    (void)turbo_options_get_u64(options, "io_threads", &io_threads);
    printf("turbo listens on ");
    if (strncmp(args->host, "unix:", 5) == 0)
        printf("%s", args->host);
    else if (port == 0)
        printf("fd:%s", args->fd);
    else
        printf(strchr(args->host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u",
               *args->host == '\0' ? "0.0.0.0" : args->host, port);
    printf(" (%zu shard%s, %llu I/O thread%s)\n", shards, shards == 1 ? "" : "s", (unsigned long long)io_threads,
           io_threads == 1 ? "" : "s");
    fflush(stdout);
}

#define LOST 3 /* exit code: requests that were taken have had no answer when the drain ended */

/* A signal that comes as soon as the line is read must already end the server gracefully: it is held back until
 * turbo_server_run() takes it. */
static int serve(turbo_server *server, const arguments *args, const turbo_options *options) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int rc = turbo_server_start(server);
    if (rc < 0)
        return rc;
    print_address(server, args, options);
    if ((rc = turbo_server_run(server)) < 0)
        return rc;
    turbo_stats stats = TURBO_STATS_INIT;
    rc = turbo_server_stats(server, &stats);
    return rc == 0 && stats.abandoned > 0 ? LOST : rc;
}

static int run(const arguments *args, const turbo_options *options) {
    turbo_server *server;
    turbo_route_options *sync = NULL;
    int rc = turbo_server_new(&server, options);
    if (rc < 0) {
        fprintf(stderr, "demo: %s\n", turbo_strerror(rc));
        return rc;
    }
    if ((rc = turbo_route_options_new(&sync)) == 0)
        rc = turbo_route_options_set(sync, "executor", args->executor);
    if (rc == 0)
        rc = turbo_server_set_log(server, TURBO_LOG_INFO, NULL, NULL); /* the counts at the end, to standard error */
    if (rc == 0)
        rc = demo_add_routes(server, sync, args->files);
    if (rc == 0)
        rc = listen_where(server, args);
    if (rc == 0)
        rc = serve(server, args, options);
    if (rc < 0) {
        const char *detail = sync != NULL && *turbo_route_options_error(sync) ? turbo_route_options_error(sync)
                                                                              : turbo_server_error(server);
        fprintf(stderr, "demo: %s\n", *detail != '\0' ? detail : turbo_strerror(rc));
    }
    turbo_route_options_free(sync);
    turbo_server_release(server);
    return rc;
}

int main(int argc, char **argv) {
    arguments args = {"127.0.0.1", "8000", "shard", NULL, NULL};
    turbo_options *options;
    if (turbo_options_new(&options) < 0)
        return 1;
    int rc = turbo_options_load_env(options);
    if (rc == 0)
        rc = turbo_options_load_args(options, &argc, argv);
    if (rc < 0)
        fprintf(stderr, "demo: %s\n", turbo_options_error(options));
    else
        rc = read_arguments(&args, argc, argv);
    if (rc == 0) {
        rc = run(&args, options);
        turbo_options_free(options);
        return rc < 0 ? 1 : rc;
    }
    turbo_options_free(options);
    return rc < 0 ? 2 : 0;
}
