/* setup.c - the public object before it starts: settings, routes, listeners, executor. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "executor_shard.h"
#include "mem.h"
#include "options.h"
#include "server.h"
#include "turbo/stats.h"
#include "turbo/error.h"

#define OLDEST_EXECUTOR_OPS sizeof(turbo_executor_ops) /* of 0.1 */

/* The control thread's waits are measured by the monotonic clock. */
static int init_lock(turbo_server *server) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->lock, NULL);
    int rc = pthread_cond_init(&server->changed, &attr);
    pthread_condattr_destroy(&attr);
    return rc == 0 ? 0 : TURBO_ENOMEM;
}

static int make_members(turbo_server *server) {
    server->shards = turbo__calloc(server->shard_count, sizeof *server->shards);
    server->ios = turbo__calloc(server->io_count, sizeof *server->ios);
    if (server->shards == NULL || server->ios == NULL)
        return TURBO_ENOMEM;
    for (uint32_t i = 0; i < server->shard_count; i++) {
        if ((server->shards[i] = turbo__calloc(1, sizeof(turbo_shard))) == NULL)
            return TURBO_ENOMEM;
        server->shards[i]->index = i;
    }
    for (size_t i = 0; i < server->io_count; i++)
        if ((server->ios[i] = turbo__calloc(1, sizeof(turbo__io))) == NULL)
            return TURBO_ENOMEM;
    server->members_made = 1;
    return turbo__router_new(&server->router);
}

int turbo_server_new(turbo_server **out, const turbo_options *options) {
    turbo_server *server = turbo__calloc(1, sizeof *server);
    int rc;
    if (server == NULL)
        return TURBO_ENOMEM;
    turbo__options_settings(options, &server->settings);
    server->shard_count = (size_t)server->settings.shards;
    server->io_count = server->settings.io_threads == 0 ? server->shard_count : (size_t)server->settings.io_threads;
    server->executor = turbo__executor_shard;
    server->run_fd = -1;
    atomic_init(&server->refs, 1);
    if ((rc = init_lock(server)) < 0) {
        turbo__free(server);
        return rc;
    }
    if ((rc = turbo__admission_open(&server->admission, server->settings.connections_max,
                                    server->settings.connections_per_address_max)) < 0 ||
        (rc = make_members(server)) < 0) {
        turbo__server_unref(server);
        return rc;
    }
    *out = server;
    return 0;
}

static int in_setup(const turbo_server *server) { return atomic_load(&server->state) == TURBO__SERVER_SETUP; }

static int refuse(turbo_server *server, int rc, const char *text) {
    snprintf(server->error, sizeof server->error, "%s", text);
    return rc;
}

/* -- listeners -- */

static void add_listeners(turbo_server *server, turbo__listener *list) {
    turbo__listener_probe(list, (int)server->settings.tcp_keepalive_s);
    for (turbo__listener *l = list; l != NULL && server->port == 0; l = l->next)
        server->port = l->port; /* kept apart: the listeners go when a stop begins */
    turbo__listener **end = &server->listeners;
    while (*end != NULL)
        end = &(*end)->next;
    *end = list;
}

int turbo_server_listen(turbo_server *server, const char *address) {
    turbo__listener *list;
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    server->error[0] = '\0';
    int rc = turbo__listener_open(&list, address, (int)server->settings.backlog, server->io_count, server->error,
                                  sizeof server->error);
    if (rc < 0) {
        if (server->error[0] == '\0')
            snprintf(server->error, sizeof server->error, "cannot listen on %s: %s", address, turbo_strerror(rc));
        return rc;
    }
    add_listeners(server, list);
    return 0;
}

int turbo_server_listen_fd(turbo_server *server, int fd) {
    turbo__listener *list;
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    int rc = turbo__listener_adopt(&list, fd);
    if (rc < 0)
        return refuse(server, rc, rc == TURBO_EINVAL ? "no listening stream socket" : turbo_strerror(rc));
    add_listeners(server, list);
    return 0;
}

uint16_t turbo_server_port(const turbo_server *server) { return server->port; }

/* -- executor, drain and log -- */

int turbo_server_set_executor(turbo_server *server, const turbo_executor_ops *ops, void *self) {
    turbo_executor_ops read;
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    int rc = turbo__options_read(&read, sizeof read, OLDEST_EXECUTOR_OPS, ops);
    if (rc < 0)
        return refuse(server, rc, "executor table of an unknown size");
    if (read.batch == NULL || read.reserved0 != 0)
        return refuse(server, TURBO_EINVAL, "executor table without batch, or with reserved members set");
    if ((read.flags & ~(uint32_t)(TURBO_EXECUTOR_DRIVEN | TURBO_EXECUTOR_HOSTS_POOL)) != 0)
        return refuse(server, TURBO_ETOONEW, "executor table with flags that this library does not know");
    server->executor = read;
    server->executor_self = self;
    return 0;
}

int turbo_server_on_drain(turbo_server *server, turbo_shard_fn fn, void *user) {
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    server->drain_fn = fn;
    server->drain_user = user;
    return 0;
}

int turbo_server_set_log(turbo_server *server, int32_t level, turbo_log_fn fn, void *user) {
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    if (level < 0 || level > TURBO_LOG_DEBUG)
        return refuse(server, TURBO_EINVAL, "log level out of 0..4");
    server->log = (turbo__log){.fn = fn, .user = user, .level = level, .set = 1};
    return 0;
}

/* -- routes -- */

static int add_route(turbo_server *server, const char *method, const char *pattern, turbo__route *route) {
    server->error[0] = '\0';
    int rc = turbo__router_add(server->router, method, pattern, route, &route->pattern, server->error,
                               sizeof server->error);
    if (rc < 0) {
        turbo__route_free(route);
        return rc;
    }
    route->index = server->route_count++;
    if (route->queue_timeout_ns != 0 &&
        (server->queue_timeout_least_ns == 0 || route->queue_timeout_ns < server->queue_timeout_least_ns))
        server->queue_timeout_least_ns = route->queue_timeout_ns;
    route->next = server->routes;
    server->routes = route;
    return 0;
}

/* @return what about a route's options makes no sense together; NULL: nothing. */
static const char *wrong_with(const turbo__route *route) {
    if (route->placement == TURBO__PLACEMENT_KEY && route->key.kind == TURBO__KEY_NONE)
        return "placement key needs the route's option \"key\"";
    if (route->executor == TURBO__EXECUTOR_INLINE && route->inflight_max > 0)
        return "inflight_max does not go with executor inline, which has nothing in flight on shards";
    return NULL;
}

static const char *wrong_with_batch(const turbo__route *route, turbo_batch_fn fn) {
    if (fn == NULL || route->executor != TURBO__EXECUTOR_SHARD)
        return "a batch callback is needed, and the executor shard for it";
    if (route->body == TURBO__BODIES_STREAMED)
        return "a batch callback gets whole requests: body streamed is not for it";
    if (route->queue_timeout_ns != 0 && route->batch_wait_us * 1000 >= route->queue_timeout_ns)
        return "batch_wait_us must be shorter than queue_timeout_ms: the wait is part of it";
    if ((route->weight_fn != NULL) != (route->batch_weight_max != 0))
        return "batch_weight_max and a weight function need each other";
    return NULL;
}

static int new_route(turbo__route **out, turbo_server *server, const char *method, const char *pattern,
                     const turbo_route_options *options, void *user) {
    if (!in_setup(server))
        return refuse(server, TURBO_ESTATE, "the server was started already");
    int rc = turbo__route_new(out, method, pattern, options, &server->settings);
    if (rc < 0)
        return refuse(server, rc, turbo_strerror(rc));
    const char *wrong = wrong_with(*out);
    if (wrong != NULL) {
        turbo__route_free(*out);
        return refuse(server, TURBO_EINVAL, wrong);
    }
    (*out)->user = user;
    return 0;
}

int turbo__server_route(turbo__route **out, turbo_server *server, const char *method, const char *pattern,
                        const turbo_route_options *options, turbo_handler_fn fn, void *user) {
    turbo__route *route;
    int rc = new_route(&route, server, method, pattern, options, user);
    if (rc < 0)
        return rc;
    if (route->weight_fn != NULL || route->batch_weight_max != 0) {
        turbo__route_free(route);
        return refuse(server, TURBO_EINVAL, "batch_weight_max and weight functions are for batch callbacks");
    }
    route->handler = fn;
    *out = route; /* add_route() frees it when it fails */
    return add_route(server, method, pattern, route);
}

int turbo_server_route(turbo_server *server, const char *method, const char *pattern,
                       const turbo_route_options *options, turbo_handler_fn fn, void *user) {
    turbo__route *route;
    return turbo__server_route(&route, server, method, pattern, options, fn, user);
}

int turbo_server_route_batch(turbo_server *server, const char *method, const char *pattern,
                             const turbo_route_options *options, turbo_batch_fn fn, void *user) {
    turbo__route *route;
    int rc = new_route(&route, server, method, pattern, options, user);
    if (rc < 0)
        return rc;
    const char *wrong = wrong_with_batch(route, fn);
    if (wrong != NULL) {
        turbo__route_free(route);
        return refuse(server, TURBO_EINVAL, wrong);
    }
    route->batch_fn = fn;
    return add_route(server, method, pattern, route);
}

static int answer_stats(turbo_request *req, void *user) {
    turbo_server *server = req->server;
    int32_t format = user == NULL ? TURBO_STATS_JSON : TURBO_STATS_PROMETHEUS;
    char *text;
    size_t len;
    int rc = turbo_server_stats_text(server, format, &text, &len);
    if (rc < 0)
        return rc;
    rc = turbo_request_reply(req, 200, format == TURBO_STATS_JSON ? "application/json" : "text/plain; version=0.0.4",
                             text, len);
    turbo_free(text);
    return rc;
}

int turbo_server_route_stats(turbo_server *server, const char *json_path, const char *metrics_path) {
    static char prometheus; /* its address says which format */
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0)
        return rc;
    (void)turbo_route_options_set(options, "executor", "inline");
    if (json_path != NULL)
        rc = turbo_server_route(server, "GET", json_path, options, answer_stats, NULL);
    if (rc == 0 && metrics_path != NULL)
        rc = turbo_server_route(server, "GET", metrics_path, options, answer_stats, &prometheus);
    turbo_route_options_free(options);
    return rc;
}

/* -- getters -- */

size_t turbo_server_shard_count(const turbo_server *server) { return server->shard_count; }

turbo_shard *turbo_server_shard(turbo_server *server, size_t index) {
    return index < server->shard_count ? server->shards[index] : NULL;
}

const char *turbo_server_error(const turbo_server *server) { return server->error; }
