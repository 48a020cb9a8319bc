/* route.c - a route's terms: its options, and what the server's settings say where they are unset. */
#include "route.h"

#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "mem.h"
#include "turbo/error.h"
#include "turbo/options.h"

/* All but executor, threads, batch_weight_max, body, key and those of static routes are settings of the server too, and
 * are checked by their rows. */
enum {
    EXECUTOR,
    THREADS,
    PLACEMENT,
    SPILL_PERCENT,
    BODY,
    BODY_MAX_BYTES,
    BODY_WINDOW_BYTES,
    BATCH_MAX,
    BATCH_WAIT_US,
    BATCH_WEIGHT_MAX,
    INFLIGHT_MAX,
    QUEUE_TIMEOUT_MS,
    HANDLER_TIMEOUT_MS,
    SHED_STATUS,
    RETRY_AFTER_S,
    DOT_FILES,
    OPTION_COUNT
};

static const char *const names[OPTION_COUNT] = {
    "executor",          "threads",   "placement",     "spill_percent",    "body",         "body_max_bytes",
    "body_window_bytes", "batch_max", "batch_wait_us", "batch_weight_max", "inflight_max", "queue_timeout_ms",
    "handler_timeout_ms", "shed_status", "retry_after_s", "dot_files"};

static const turbo__setting executor_row = {
    "executor", TURBO_SETTING_ENUM, "", "shard|inline|pool", TURBO__EXECUTOR_SHARD, TURBO__EXECUTOR_POOL,
    TURBO__EXECUTOR_SHARD, "Where the handler runs: the server's executor, the I/O loop itself, or threads of the shard"};

static const turbo__setting threads_row = {
    "threads", TURBO_SETTING_UINT, "threads", "", 1, 1024, 4, "Executor pool: how many requests of the route run at once"};

static const turbo__setting weight_row = {"batch_weight_max", TURBO_SETTING_UINT, "", "", 0, (uint64_t)1 << 40, 0,
                                          "Most that a batch weighs, by the route's function; 0: no limit"};

static const turbo__setting body_row = {
    "body", TURBO_SETTING_ENUM, "", "gathered|streamed", TURBO__BODIES_GATHERED, TURBO__BODIES_STREAMED,
    TURBO__BODIES_GATHERED, "Whether the handler begins when the body is whole, or reads it while it arrives"};
static const turbo__setting dot_files_row = {
    "dot_files", TURBO_SETTING_ENUM, "", "no|yes", 0, 1, 0, "Static routes: whether names that begin with . are served"};

struct turbo_route_options {
    uint64_t values[OPTION_COUNT];
    uint8_t set[OPTION_COUNT];
    turbo__key key;
    turbo__static_options files;
    turbo_placement_fn placement_fn;
    void *placement_user;
    turbo_weight_fn weight_fn;
    void *weight_user;
    char error[256];
};

static const turbo__setting *row_of(int option) {
    if (option == EXECUTOR)
        return &executor_row;
    if (option == THREADS)
        return &threads_row;
    if (option == BATCH_WEIGHT_MAX)
        return &weight_row;
    if (option == BODY)
        return &body_row;
    if (option == DOT_FILES)
        return &dot_files_row;
    return turbo__settings_row((size_t)turbo__settings_find(names[option], strlen(names[option])));
}

static int find_option(turbo_route_options *options, const char *name) {
    for (int i = 0; i < OPTION_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    (void)snprintf(options->error, sizeof options->error, "unknown route option \"%.64s\"", name);
    return TURBO_ENOENT;
}

static void keep(turbo_route_options *options, int option, uint64_t value) {
    options->values[option] = value;
    options->set[option] = 1;
    if (option == THREADS && !options->set[EXECUTOR]) /* whoever counts threads wants some */
        keep(options, EXECUTOR, TURBO__EXECUTOR_POOL);
}

int turbo_route_options_new(turbo_route_options **out) {
    turbo_route_options *options = turbo__calloc(1, sizeof *options);
    if (options == NULL)
        return TURBO_ENOMEM;
    *out = options;
    return 0;
}

static int refuse_key(turbo_route_options *options, const char *value) {
    (void)snprintf(options->error, sizeof options->error,
                   "key: %.80s is not param:, field: or cookie: and a name of at most %d characters", value,
                   TURBO__KEY_NAME_MAX);
    return TURBO_EINVAL;
}

/* Whoever names a key wants to be placed by it. */
static int set_key(turbo_route_options *options, const char *value) {
    if (turbo__key_parse(&options->key, value) < 0)
        return refuse_key(options, value);
    if (!options->set[PLACEMENT])
        keep(options, PLACEMENT, TURBO__PLACEMENT_KEY);
    return 0;
}

int turbo_route_options_set(turbo_route_options *options, const char *name, const char *value) {
    uint64_t number;
    if (strcmp(name, "key") == 0)
        return set_key(options, value);
    int rc = turbo__static_options_set(&options->files, name, value, options->error, sizeof options->error);
    if (rc != TURBO_ENOENT)
        return rc;
    int option = find_option(options, name);
    if (option < 0)
        return option;
    if ((rc = turbo__setting_parse(row_of(option), value, &number, options->error, sizeof options->error)) < 0)
        return rc;
    keep(options, option, number);
    return 0;
}

int turbo_route_options_set_u64(turbo_route_options *options, const char *name, uint64_t value) {
    if (strcmp(name, "key") == 0)
        return refuse_key(options, "a number");
    int rc, option = find_option(options, name);
    if (option < 0)
        return option;
    if ((rc = turbo__setting_check(row_of(option), value, options->error, sizeof options->error)) < 0)
        return rc;
    keep(options, option, value);
    return 0;
}

int turbo_route_options_set_placement(turbo_route_options *options, turbo_placement_fn fn, void *user) {
    options->placement_fn = fn;
    options->placement_user = user;
    return 0;
}

int turbo_route_options_set_weight(turbo_route_options *options, turbo_weight_fn fn, void *user) {
    options->weight_fn = fn;
    options->weight_user = user;
    return 0;
}

const char *turbo_route_options_error(const turbo_route_options *options) { return options->error; }

void turbo_route_options_free(turbo_route_options *options) { turbo__free(options); }

static uint64_t value_of(const turbo_route_options *options, int option, uint64_t unset) {
    return options->set[option] ? options->values[option] : unset;
}

static uint64_t resolve_placement(uint64_t placement, const turbo__settings *settings) {
    if (placement == TURBO__PLACEMENT_DEFAULT)
        placement = settings->placement;
    if (placement == TURBO__PLACEMENT_DEFAULT)
        placement = settings->io_threads == 0 ? TURBO__PLACEMENT_LOCAL : TURBO__PLACEMENT_ROUTE;
    return placement;
}

static uint32_t hash_route(const char *method, const char *pattern) {
    uint64_t hash = turbo__hash_add(TURBO__HASH_FIRST, method, strlen(method) + 1); /* with the NUL between them */
    return turbo__hash_end(turbo__hash_add(hash, pattern, strlen(pattern)));
}

int turbo__route_new(turbo__route **out, const char *method, const char *pattern, const turbo_route_options *options,
                     const turbo__settings *settings) {
    static const turbo_route_options none_set;
    turbo__route *route = turbo__calloc(1, sizeof *route);
    if (route == NULL)
        return TURBO_ENOMEM;
    if (options == NULL)
        options = &none_set;
    route->placement_fn = options->placement_fn;
    route->placement_user = options->placement_user;
    route->weight_fn = options->weight_fn;
    route->weight_user = options->weight_user;
    route->body_max = value_of(options, BODY_MAX_BYTES, settings->body_max_bytes);
    route->body = (uint32_t)value_of(options, BODY, TURBO__BODIES_GATHERED);
    route->body_window = value_of(options, BODY_WINDOW_BYTES, settings->body_window_bytes);
    route->batch_max = value_of(options, BATCH_MAX, settings->batch_max);
    route->batch_wait_us = value_of(options, BATCH_WAIT_US, settings->batch_wait_us);
    route->batch_weight_max = value_of(options, BATCH_WEIGHT_MAX, 0);
    route->spill_percent = value_of(options, SPILL_PERCENT, settings->spill_percent);
    route->inflight_max = value_of(options, INFLIGHT_MAX, 0);
    route->queue_timeout_ns = value_of(options, QUEUE_TIMEOUT_MS, settings->queue_timeout_ms) * 1000000;
    route->handler_timeout_ns = value_of(options, HANDLER_TIMEOUT_MS, settings->handler_timeout_ms) * 1000000;
    route->shed_status = turbo__shed_status(value_of(options, SHED_STATUS, settings->shed_status));
    route->retry_after_s = (uint32_t)value_of(options, RETRY_AFTER_S, settings->retry_after_s);
    route->executor = (uint32_t)value_of(options, EXECUTOR, TURBO__EXECUTOR_SHARD);
    route->threads = (uint32_t)value_of(options, THREADS, threads_row.def);
    route->placement = (uint32_t)resolve_placement(value_of(options, PLACEMENT, TURBO__PLACEMENT_DEFAULT), settings);
    route->key = options->key;
    route->hash = hash_route(method != NULL ? method : "", pattern);
    *out = route;
    return 0;
}

void turbo__route_options_static(const turbo_route_options *options, turbo__static_options *files, int *dot_files) {
    if (options == NULL)
        return;
    *files = options->files;
    *dot_files = value_of(options, DOT_FILES, 0) != 0;
}

void turbo__route_free(turbo__route *route) { turbo__free(route); }
