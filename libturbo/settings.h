/* settings.h - the one table of settings: everything else about them is made from it. */
#ifndef TURBO_SETTINGS_H
#define TURBO_SETTINGS_H

#include <stddef.h>
#include <stdint.h>

/*
 * X(name, type, unit, choices, min, max, default, doc). A default of TURBO__AUTO depends on the machine. ENUM values
 * are indexes into choices. Tables in docs/, flags, environment names and Python keyword arguments come from here.
 */
#define TURBO__AUTO UINT64_MAX
#define TURBO__SETTINGS(X)                                                                                             \
    X(shards, UINT, "", "", 1, 1024, TURBO__AUTO, "Shards: threads with a queue and an executor each (default: CPUs)") \
    X(io_threads, UINT, "", "", 0, 256, TURBO__AUTO,                                                                   \
      "I/O loops apart from the shards (default: 1 per 4 CPUs, at least 1); 0: each shard does its own I/O")           \
    X(batch_max, UINT, "requests", "", 1, 65536, 128, "Most requests that a shard takes from its queue at once")       \
    X(batch_wait_us, UINT, "us", "", 0, 10000000, 0, "How long a batch callback's batch may wait for more requests")   \
    X(queue_max, UINT, "requests", "", 1, 16777216, 20000, "Requests that may wait for a shard; above it shed_status") \
    X(queue_timeout_ms, UINT, "ms", "", 0, 86400000, 0,                                                                \
      "A request that has waited longer for its handler is answered shed_status without it; 0: never")                 \
    X(queue_patience, ENUM, "", "learn|off", 0, 1, 0,                                                                  \
      "When most of what had waited is for clients that have left: shed what waits half as long; or never")            \
    X(handler_timeout_ms, UINT, "ms", "", 0, 86400000, 0,                                                              \
      "A handler must answer, or begin to, within this time, else it is told and the client gets 504; 0: never")       \
    X(shed_status, ENUM, "", "503|429", 0, 1, 0,                                                                       \
      "What is answered when the queue or the body memory is full, or a request has waited too long")                  \
    X(retry_after_s, UINT, "s", "", 0, 86400, 1, "Retry-After of those answers; 0: they have none")                    \
    X(inflight_max, UINT, "requests", "", 1, 1048576, 512, "Unanswered requests that a shard's executor may have")     \
    X(placement, ENUM, "", "default|route|round_robin|local|path|key|connection|least", 0, 7, 0,                       \
      "How a request's shard is chosen (default: route; local when io_threads is 0)")                                  \
    X(spill_percent, UINT, "%", "", 0, 10000, 125,                                                                     \
      "Placements route and path: a shard loaded above this share of the mean passes requests on; at least 100, or 0: never")    \
    X(pipeline_max, UINT, "requests", "", 1, 65536, 64, "Unanswered requests of one connection; then it is not read") \
    X(unsent_max_bytes, UINT, "bytes", "", 1024, 1073741824, 262144,                                                   \
      "Answer bytes that wait for one client; then its next requests, and streamed answers, wait")                    \
    X(head_max_bytes, UINT, "bytes", "", 256, 16777216, 65536, "Request line and header fields together; above it 431") \
    X(fields_max, UINT, "fields", "", 1, 10000, 100, "Header fields of a request, and trailer fields; above it 431")   \
    X(target_max_bytes, UINT, "bytes", "", 1, 1048576, 8192, "Request target; above it 414")                           \
    X(body_max_bytes, UINT, "bytes", "", 0, 1099511627776, 1048576, "Request body, unless the route says more; above it 413") \
    X(body_window_bytes, UINT, "bytes", "", 1, 1073741824, 262144,                                                     \
      "Bytes of a streamed body that wait for its handler; then the client waits, until half of it was read")          \
    X(body_memory_max_bytes, UINT, "bytes", "", 0, 1099511627776, 268435456,                                           \
      "Request bodies of the whole server: gathered, and what waits of streamed ones, at least 4 KiB a part; above it shed_status") \
    X(head_timeout_ms, UINT, "ms", "", 0, 86400000, 10000, "A head must be complete in this time, else 408; 0: never") \
    X(body_stall_timeout_ms, UINT, "ms", "", 0, 86400000, 30000,                                                       \
      "A body must go on, and answer bytes must be taken, within this time; 0: never")                                 \
    X(body_timeout_ms, UINT, "ms", "", 0, 86400000, 0,                                                                 \
      "A body must be complete in this time, however it goes on, else 408; 0: never")                                  \
    X(idle_timeout_ms, UINT, "ms", "", 0, 86400000, 60000, "A connection without a request is closed; 0: never")       \
    X(drain_timeout_ms, UINT, "ms", "", 0, 86400000, 30000, "A stop waits this long for answers; then abandons")       \
    X(drain_idle_ms, UINT, "ms", "", 0, 86400000, 0,                                                                   \
      "A stop leaves connections without a request open this long, so that their clients' next requests are answered") \
    X(on_fin, ENUM, "", "answer|cancel", 0, 1, 0, "A client that ends its sending side: answer it, or drop its requests") \
    X(tcp_keepalive_s, UINT, "s", "", 0, 32767, 15,                                                                    \
      "A client that is silent this long is probed, and has gone when it is not there for as long again; 0: never")    \
    X(connections_max, UINT, "connections", "", 0, 16777216, 0, "Open connections; more wait in the backlog; 0: no limit") \
    X(connections_per_address_max, UINT, "connections", "", 0, 16777216, 0,                                            \
      "Open connections of one IPv4 address or IPv6 /64; more are closed at once; 0: no limit")                        \
    X(backlog, UINT, "connections", "", 1, 65535, 1024, "Connections that the system holds until they are accepted")

typedef struct turbo__settings {
#define TURBO__X(name, type, unit, choices, min, max, def, doc) uint64_t name;
    TURBO__SETTINGS(TURBO__X)
#undef TURBO__X
} turbo__settings;

enum {
    TURBO__PLACEMENT_DEFAULT = 0,
    TURBO__PLACEMENT_ROUTE,
    TURBO__PLACEMENT_ROUND_ROBIN,
    TURBO__PLACEMENT_LOCAL,
    TURBO__PLACEMENT_PATH,
    TURBO__PLACEMENT_KEY,
    TURBO__PLACEMENT_CONNECTION,
    TURBO__PLACEMENT_LEAST
};
enum { TURBO__ON_FIN_ANSWER = 0, TURBO__ON_FIN_CANCEL };
enum { TURBO__PATIENCE_LEARN = 0, TURBO__PATIENCE_OFF };

/* A row of the table. Options that are not settings of a server (route.c) have rows of their own. */
typedef struct turbo__setting {
    const char *name;
    int32_t type; /* TURBO_SETTING_* */
    const char *unit, *choices;
    uint64_t min, max, def;
    const char *doc;
} turbo__setting;

/** The row of a setting; index is in range. */
const turbo__setting *turbo__settings_row(size_t index);

/** As turbo__settings_check() and turbo__settings_parse(), by row. */
int turbo__setting_check(const turbo__setting *row, uint64_t value, char *err, size_t size);
int turbo__setting_parse(const turbo__setting *row, const char *text, uint64_t *out, char *err, size_t size);

/** All defaults, those of the machine filled in. */
void turbo__settings_default(turbo__settings *out);

/** Index of a setting by name (len bytes); an index is also the setting's place in turbo__settings seen as an array of
 *  uint64_t. @return TURBO_ENOENT when unknown. */
int turbo__settings_find(const char *name, size_t len);

/** Check a value by the table; on error write a sentence to err (size bytes): setting, value, allowed range.
 *  @return 0; TURBO_EINVAL. */
int turbo__settings_check(size_t index, uint64_t value, char *err, size_t size);

/** Parse text by the table (decimal digits, or a word of an ENUM) and check it. @return 0; TURBO_EINVAL. */
int turbo__settings_parse(size_t index, const char *text, uint64_t *out, char *err, size_t size);

/** The values of options (or of NULL: all defaults) as one struct. */
struct turbo_options;
void turbo__options_settings(const struct turbo_options *options, turbo__settings *out);

/** Decimal digits only, no sign, no spaces, no overflow. @return 0; TURBO_EINVAL. */
int turbo__parse_u64(const char *text, uint64_t *out);

/** The place of a word of len bytes in "a|b|c". @return TURBO_ENOENT when it is not there. */
int turbo__parse_choice(const char *choices, const char *word, size_t len);

#endif
