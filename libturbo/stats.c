/* stats.c - per-thread counters summed on read; the same as JSON and as Prometheus text. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "mem.h"
#include "server.h"
#include "turbo/error.h"
#include "turbo/stats.h"

#define TEXT_MAX ((size_t)64 << 20) /* 1,024 shards need less than a tenth of this */

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

/* -- snapshots -- */

static void add_io(turbo_stats *s, const turbo__io *io) {
    s->taken += get(&io->taken);
    s->answered += get(&io->answered);
    s->shed += get(&io->shed);
    s->dropped += get(&io->dropped);
    s->abandoned += get(&io->abandoned);
    s->accepted += get(&io->accepted);
    s->accept_errors += get(&io->accept_errors);
    s->refused += get(&io->refused);
    s->connections += get(&io->group.connections);
    s->bytes_in += get(&io->group.bytes_in);
    s->bytes_out += get(&io->group.bytes_out);
    s->parse_errors += get(&io->group.parse_errors);
    s->timeouts_head += get(&io->group.timeouts_head);
    s->timeouts_body += get(&io->group.timeouts_body);
    s->timeouts_idle += get(&io->group.timeouts_idle);
}

/* Requests without a connection are counted by the shards that they were given to. */
static void add_shard(turbo_stats *s, const turbo_shard *shard) {
    s->taken += get(&shard->taken);
    s->answered += get(&shard->answered);
    s->shed += get(&shard->shed_taken);
    s->abandoned += get(&shard->abandoned);
    s->timeouts_queue += get(&shard->expired);
    s->timeouts_handler += get(&shard->timed_out);
}

int turbo_server_stats(turbo_server *server, turbo_stats *out) {
    turbo_stats s = TURBO_STATS_INIT;
    size_t size = out->size;
    if (size < sizeof size || size > sizeof s)
        return TURBO_EINVAL;
    for (size_t i = 0; i < server->io_count; i++)
        add_io(&s, server->ios[i]);
    for (size_t i = 0; i < server->shard_count; i++)
        add_shard(&s, server->shards[i]);
    s.body_memory = get(&server->body_memory);
    s.size = size;
    memcpy(out, &s, size);
    return 0;
}

static void add_batches(turbo_shard_stats *s, const turbo__batcher *batcher) {
    s->batch_calls = get(&batcher->calls);
    s->batch_call_requests = get(&batcher->requests);
    for (size_t i = 0; i < TURBO_STATS_BATCH_BUCKETS; i++)
        s->batch_call_sizes[i] = get(&batcher->sizes[i]);
    s->closed_full = get(&batcher->closed[TURBO__CLOSED_FULL]);
    s->closed_turn = get(&batcher->closed[TURBO__CLOSED_TURN]);
    s->closed_timer = get(&batcher->closed[TURBO__CLOSED_TIMER]);
    s->closed_gate = get(&batcher->closed[TURBO__CLOSED_GATE]);
    s->closed_drained = get(&batcher->closed[TURBO__CLOSED_DRAINED]);
    s->closed_weight = get(&batcher->closed[TURBO__CLOSED_WEIGHT]);
}

int turbo_shard_stats_get(const turbo_shard *shard, turbo_shard_stats *out) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    size_t size = out->size;
    if (size < sizeof size || size > sizeof s)
        return TURBO_EINVAL;
    s.requests = get(&shard->requests);
    s.batches = get(&shard->batches);
    for (size_t i = 0; i < TURBO_STATS_BATCH_BUCKETS; i++)
        s.batch_sizes[i] = get(&shard->batch_sizes[i]);
    s.queued = get(&shard->queued);
    s.queued_max = get(&shard->queued_most);
    s.inflight = turbo__gate_inside(&shard->gate);
    s.inflight_max = get(&shard->gate.most);
    s.shed = get(&shard->shed);
    s.dropped = get(&shard->dropped);
    s.wakeups = get(&shard->box.wakeups);
    for (size_t i = 0; i < TURBO_STATS_LATENCY_BUCKETS; i++)
        s.latency[i] = get(&shard->latency[i]);
    s.pool_threads = shard->pool.threads;
    s.pool_queued = get(&shard->pool.queued);
    s.pool_busy = get(&shard->pool.busy);
    s.pool_requests = get(&shard->pool.requests);
    s.pool_dropped = get(&shard->pool.dropped);
    s.expired = get(&shard->expired);
    s.timed_out = get(&shard->timed_out);
    s.patience_limit_ms = turbo__patience_limit_ns(&shard->patience) / 1000000;
    add_batches(&s, &shard->batcher);
    s.size = size;
    memcpy(out, &s, size);
    return 0;
}

/* -- text: one list of the totals for both formats -- */

typedef struct total {
    const char *name, *type, *help;
    size_t at; /* in turbo_stats */
} total;

#define TOTAL(member, type, help) {#member, type, help, offsetof(turbo_stats, member)}
static const total totals[] = {
    TOTAL(taken, "counter", "Requests whose first byte was read, or that were submitted"),
    TOTAL(answered, "counter", "Answers handed over whole"),
    TOTAL(shed, "counter", "Requests answered without their handler: a queue or the body memory was full, or they waited too long"),
    TOTAL(dropped, "counter", "Requests whose client went before the answer"),
    TOTAL(abandoned, "counter", "Requests not answered when the drain ended"),
    TOTAL(accepted, "counter", "Connections accepted"),
    TOTAL(connections, "gauge", "Connections open now"),
    TOTAL(bytes_in, "counter", "Bytes read from sockets"),
    TOTAL(bytes_out, "counter", "Bytes written to sockets"),
    TOTAL(accept_errors, "counter", "Failed accepts"),
    TOTAL(parse_errors, "counter", "Malformed or refused messages"),
    TOTAL(timeouts_head, "counter", "Heads that were too slow"),
    TOTAL(timeouts_body, "counter", "Bodies or clients that stalled"),
    TOTAL(timeouts_idle, "counter", "Idle connections closed"),
    TOTAL(body_memory, "gauge", "Of body_memory_max_bytes: bytes that bodies hold now"),
    TOTAL(timeouts_queue, "counter", "Requests answered without their handler, because they had waited too long for it"),
    TOTAL(timeouts_handler, "counter", "Requests answered 504 because their handler took longer than handler_timeout_ms"),
    TOTAL(refused, "counter", "Connections closed at once: their address had connections_per_address_max"),
};
#define TOTAL_COUNT (sizeof totals / sizeof totals[0])

static unsigned long long total_value(const turbo_stats *s, const total *t) {
    uint64_t value;
    memcpy(&value, (const char *)s + t->at, sizeof value);
    return value;
}

static int json_list(turbo__buf *out, const char *name, const uint64_t *values, size_t count) {
    int rc = turbo__buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = turbo__buf_printf(out, "%s%llu", i == 0 ? "" : ",", (unsigned long long)values[i]);
    return rc < 0 ? rc : turbo__buf_append_str(out, "]");
}

static int json_shard(turbo__buf *out, const turbo_shard *shard) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    (void)turbo_shard_stats_get(shard, &s);
    int rc = turbo__buf_printf(
        out,
        "{\"requests\":%llu,\"batches\":%llu,\"queued\":%llu,\"queued_max\":%llu,\"inflight\":%llu,"
        "\"inflight_max\":%llu,\"shed\":%llu,\"dropped\":%llu,\"wakeups\":%llu,\"pool_threads\":%llu,"
        "\"pool_queued\":%llu,\"pool_busy\":%llu,\"pool_requests\":%llu,\"pool_dropped\":%llu,\"expired\":%llu,"
        "\"timed_out\":%llu,\"batch_calls\":%llu,\"batch_call_requests\":%llu,\"closed_full\":%llu,"
        "\"closed_turn\":%llu,\"closed_timer\":%llu,\"closed_gate\":%llu,\"closed_drained\":%llu,"
        "\"closed_weight\":%llu,\"patience_limit_ms\":%llu",
        (unsigned long long)s.requests, (unsigned long long)s.batches, (unsigned long long)s.queued,
        (unsigned long long)s.queued_max, (unsigned long long)s.inflight, (unsigned long long)s.inflight_max,
        (unsigned long long)s.shed, (unsigned long long)s.dropped, (unsigned long long)s.wakeups,
        (unsigned long long)s.pool_threads, (unsigned long long)s.pool_queued, (unsigned long long)s.pool_busy,
        (unsigned long long)s.pool_requests, (unsigned long long)s.pool_dropped, (unsigned long long)s.expired,
        (unsigned long long)s.timed_out, (unsigned long long)s.batch_calls, (unsigned long long)s.batch_call_requests,
        (unsigned long long)s.closed_full, (unsigned long long)s.closed_turn, (unsigned long long)s.closed_timer,
        (unsigned long long)s.closed_gate, (unsigned long long)s.closed_drained,
        (unsigned long long)s.closed_weight, (unsigned long long)s.patience_limit_ms);
    if (rc == 0)
        rc = json_list(out, "batch_call_sizes", s.batch_call_sizes, TURBO_STATS_BATCH_BUCKETS);
    if (rc == 0)
        rc = json_list(out, "batch_sizes", s.batch_sizes, TURBO_STATS_BATCH_BUCKETS);
    if (rc == 0)
        rc = json_list(out, "latency", s.latency, TURBO_STATS_LATENCY_BUCKETS);
    return rc < 0 ? rc : turbo__buf_append_str(out, "}");
}

static int json_io(turbo__buf *out, const turbo__io *io) {
    turbo_stats s = TURBO_STATS_INIT;
    add_io(&s, io);
    return turbo__buf_printf(
        out, "{\"taken\":%llu,\"answered\":%llu,\"connections\":%llu,\"bytes_in\":%llu,\"bytes_out\":%llu,"
             "\"parse_errors\":%llu}",
        (unsigned long long)s.taken, (unsigned long long)s.answered, (unsigned long long)s.connections,
        (unsigned long long)s.bytes_in, (unsigned long long)s.bytes_out, (unsigned long long)s.parse_errors);
}

static int write_json(turbo__buf *out, turbo_server *server) {
    turbo_stats s = TURBO_STATS_INIT;
    (void)turbo_server_stats(server, &s);
    int rc = turbo__buf_printf(out, "{\"pid\":%ld,", (long)getpid());
    for (size_t i = 0; rc == 0 && i < TOTAL_COUNT; i++)
        rc = turbo__buf_printf(out, "\"%s\":%llu,", totals[i].name, total_value(&s, &totals[i]));
    if (rc == 0)
        rc = turbo__buf_append_str(out, "\"shards\":[");
    for (size_t i = 0; rc == 0 && i < server->shard_count; i++)
        if ((rc = turbo__buf_append_str(out, i == 0 ? "" : ",")) == 0)
            rc = json_shard(out, server->shards[i]);
    if (rc == 0)
        rc = turbo__buf_append_str(out, "],\"io\":[");
    for (size_t i = 0; rc == 0 && i < server->io_count; i++)
        if ((rc = turbo__buf_append_str(out, i == 0 ? "" : ",")) == 0)
            rc = json_io(out, server->ios[i]);
    return rc < 0 ? rc : turbo__buf_append_str(out, "]}");
}

/* -- Prometheus -- */

static int metric_head(turbo__buf *out, const char *name, const char *suffix, const char *type, const char *help) {
    return turbo__buf_printf(out, "# HELP turbo_%s%s %s\n# TYPE turbo_%s%s %s\n", name, suffix, help, name, suffix,
                             type);
}

typedef struct shard_metric {
    const char *name, *type, *help;
    size_t at; /* in turbo_shard_stats */
} shard_metric;

#define SHARD(name, member, type, help) {name, type, help, offsetof(turbo_shard_stats, member)}
static const shard_metric shard_metrics[] = {
    SHARD("shard_requests_total", requests, "counter", "Requests given to the executor"),
    SHARD("shard_batches_total", batches, "counter", "Batches given to the executor"),
    SHARD("shard_queued", queued, "gauge", "Requests waiting now"),
    SHARD("shard_inflight", inflight, "gauge", "Requests with the executor now"),
    SHARD("shard_shed_total", shed, "counter", "Requests refused because the queue was full"),
    SHARD("shard_dropped_total", dropped, "counter", "Requests whose client went before their handler had them"),
    SHARD("shard_expired_total", expired, "counter", "Requests answered without their handler, because they had waited too long for it"),
    SHARD("shard_patience_limit_ms", patience_limit_ms, "gauge", "What has waited longer is shed now, because clients leave; 0: no limit"),
    SHARD("shard_timed_out_total", timed_out, "counter", "Requests whose handler took longer than handler_timeout_ms"),
    SHARD("shard_wakeups_total", wakeups, "counter", "Times that the sleeping shard was woken"),
    SHARD("shard_pool_threads", pool_threads, "gauge", "Threads of the shard's pool"),
    SHARD("shard_pool_queued", pool_queued, "gauge", "Requests waiting for a thread of the pool now"),
    SHARD("shard_pool_busy", pool_busy, "gauge", "Threads of the pool at work now"),
    SHARD("shard_pool_requests_total", pool_requests, "counter", "Requests given to threads of the pool"),
    SHARD("shard_pool_dropped_total", pool_dropped, "counter", "Requests whose client went while they waited for a thread"),
};

static int write_shard_metric(turbo__buf *out, const shard_metric *m, const turbo_shard_stats *stats, size_t count) {
    int rc = metric_head(out, m->name, "", m->type, m->help);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&stats[i] + m->at, sizeof value);
        rc = turbo__buf_printf(out, "turbo_%s{shard=\"%zu\"} %llu\n", m->name, i, (unsigned long long)value);
    }
    return rc;
}

/* A cumulative histogram: bucket i ends at first << i, in units of scale. The exact sum is not kept. */
static int write_histogram(turbo__buf *out, const char *name, size_t shard, const uint64_t *values, size_t count,
                           double first) {
    unsigned long long seen = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < count; i++) {
        seen += values[i];
        rc = turbo__buf_printf(out, "turbo_%s_bucket{shard=\"%zu\",le=\"%.9g\"} %llu\n", name, shard,
                               first * (double)((uint64_t)1 << i), seen);
    }
    seen += values[count - 1];
    if (rc == 0)
        rc = turbo__buf_printf(out, "turbo_%s_bucket{shard=\"%zu\",le=\"+Inf\"} %llu\n", name, shard, seen);
    return rc < 0 ? rc : turbo__buf_printf(out, "turbo_%s_count{shard=\"%zu\"} %llu\n", name, shard, seen);
}

/* Bucket i holds 2^i .. 2^(i+1)-1: its upper bound, inclusive, is 2^(i+1)-1. */
static int write_sizes(turbo__buf *out, const char *name, size_t shard, const uint64_t *values, uint64_t sum) {
    unsigned long long seen = 0;
    int rc = 0;
    for (size_t b = 0; rc == 0 && b + 1 < TURBO_STATS_BATCH_BUCKETS; b++) {
        seen += values[b];
        rc = turbo__buf_printf(out, "turbo_%s_bucket{shard=\"%zu\",le=\"%u\"} %llu\n", name, shard, (2u << b) - 1, seen);
    }
    seen += values[TURBO_STATS_BATCH_BUCKETS - 1];
    if (rc < 0)
        return rc;
    return turbo__buf_printf(out,
                             "turbo_%s_bucket{shard=\"%zu\",le=\"+Inf\"} %llu\n"
                             "turbo_%s_sum{shard=\"%zu\"} %llu\n"
                             "turbo_%s_count{shard=\"%zu\"} %llu\n",
                             name, shard, seen, name, shard, (unsigned long long)sum, name, shard, seen);
}

static int write_histograms(turbo__buf *out, const turbo_shard_stats *stats, size_t count) {
    int rc = metric_head(out, "shard_latency_seconds", "", "histogram", "From entering the queue to the answer");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = write_histogram(out, "shard_latency_seconds", i, stats[i].latency, TURBO_STATS_LATENCY_BUCKETS, 64e-6);
    if (rc == 0)
        rc = metric_head(out, "shard_batch_size", "", "histogram", "Requests in a batch of the executor");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = write_sizes(out, "shard_batch_size", i, stats[i].batch_sizes, stats[i].requests);
    if (rc == 0)
        rc = metric_head(out, "shard_batch_call_size", "", "histogram", "Requests in a call of a batch callback");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = write_sizes(out, "shard_batch_call_size", i, stats[i].batch_call_sizes, stats[i].batch_call_requests);
    return rc;
}

static const struct {
    const char *name;
    size_t at; /* in turbo_shard_stats */
} reasons[] = {
    {"full", offsetof(turbo_shard_stats, closed_full)},
    {"turn", offsetof(turbo_shard_stats, closed_turn)},
    {"timer", offsetof(turbo_shard_stats, closed_timer)},
    {"gate", offsetof(turbo_shard_stats, closed_gate)},
    {"drained", offsetof(turbo_shard_stats, closed_drained)},
    {"weight", offsetof(turbo_shard_stats, closed_weight)},
};

static int write_reasons(turbo__buf *out, const turbo_shard_stats *stats, size_t count) {
    int rc = metric_head(out, "shard_batch_closed_total", "", "counter", "Calls of batch callbacks, by why the batch closed");
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; rc == 0 && r < sizeof reasons / sizeof reasons[0]; r++) {
            uint64_t value;
            memcpy(&value, (const char *)&stats[i] + reasons[r].at, sizeof value);
            rc = turbo__buf_printf(out, "turbo_shard_batch_closed_total{shard=\"%zu\",reason=\"%s\"} %llu\n", i,
                                   reasons[r].name, (unsigned long long)value);
        }
    }
    return rc;
}

static int write_prometheus(turbo__buf *out, turbo_server *server) {
    turbo_stats s = TURBO_STATS_INIT;
    turbo_shard_stats *stats = turbo__calloc(server->shard_count, sizeof *stats);
    int rc = stats == NULL ? TURBO_ENOMEM : 0;
    (void)turbo_server_stats(server, &s);
    if (rc == 0)
        rc = metric_head(out, "process_id", "", "gauge", "Of the process whose counters these are");
    if (rc == 0)
        rc = turbo__buf_printf(out, "turbo_process_id %ld\n", (long)getpid());
    for (size_t i = 0; rc == 0 && i < TOTAL_COUNT; i++) {
        const char *suffix = totals[i].type[0] == 'c' ? "_total" : "";
        if ((rc = metric_head(out, totals[i].name, suffix, totals[i].type, totals[i].help)) == 0)
            rc = turbo__buf_printf(out, "turbo_%s%s %llu\n", totals[i].name, suffix, total_value(&s, &totals[i]));
    }
    for (size_t i = 0; rc == 0 && i < server->shard_count; i++) {
        stats[i].size = sizeof stats[i];
        rc = turbo_shard_stats_get(server->shards[i], &stats[i]);
    }
    for (size_t i = 0; rc == 0 && i < sizeof shard_metrics / sizeof shard_metrics[0]; i++)
        rc = write_shard_metric(out, &shard_metrics[i], stats, server->shard_count);
    if (rc == 0)
        rc = write_histograms(out, stats, server->shard_count);
    if (rc == 0)
        rc = write_reasons(out, stats, server->shard_count);
    turbo__free(stats);
    return rc;
}

int turbo_server_stats_text(turbo_server *server, int32_t format, char **out, size_t *len) {
    turbo__buf buf;
    if (format != TURBO_STATS_JSON && format != TURBO_STATS_PROMETHEUS)
        return TURBO_EINVAL;
    turbo__buf_init(&buf, TEXT_MAX);
    int rc = format == TURBO_STATS_JSON ? write_json(&buf, server) : write_prometheus(&buf, server);
    if (rc == 0)
        rc = turbo__buf_append(&buf, "", 1);
    if (rc < 0) {
        turbo__buf_free(&buf);
        return rc;
    }
    *out = buf.data;
    if (len != NULL)
        *len = buf.len - 1;
    return 0;
}

void turbo_free(void *memory) { turbo__free(memory); }
