/* test_stats.c - counters of threads summed up; JSON and Prometheus text. */
#include "turbo/stats.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/failing_alloc.h"
#include "server.h"
#include "turbo/error.h"

TestSuite(stats, .timeout = 10);

static turbo_shard shards[2];
static turbo_shard *shard_list[] = {&shards[0], &shards[1]};
static turbo__io ios[2];
static turbo__io *io_list[] = {&ios[0], &ios[1]};
static turbo_server server;

/* Every counter has a number of its own, so that none can stand for another. */
static void set_up(void) {
    server = (turbo_server){.shards = shard_list, .shard_count = 2, .ios = io_list, .io_count = 2};
    atomic_store(&server.body_memory, 15);
    for (uint64_t i = 0; i < 2; i++) {
        turbo__io *io = &ios[i];
        _Atomic uint64_t *counters[] = {&io->taken, &io->answered, &io->shed, &io->dropped, &io->abandoned,
                                        &io->accepted, &io->group.connections, &io->group.bytes_in,
                                        &io->group.bytes_out,
                                        &io->accept_errors,
                                        &io->group.parse_errors, &io->group.timeouts_head, &io->group.timeouts_body,
                                        &io->group.timeouts_idle};
        for (uint64_t n = 0; n < sizeof counters / sizeof *counters; n++)
            atomic_store(counters[n], (n + 1) * (i == 0 ? 1 : 100));
        atomic_store(&io->refused, 161 + i);
        turbo_shard *shard = &shards[i];
        shard->index = (uint32_t)i;
        atomic_store(&shard->taken, 10000);
        atomic_store(&shard->answered, 20000);
        atomic_store(&shard->abandoned, 30000);
        atomic_store(&shard->requests, 41 + i);
        atomic_store(&shard->batches, 51 + i);
        atomic_store(&shard->queued, 61 + i);
        atomic_store(&shard->queued_most, 71 + i);
        atomic_store(&shard->shed_taken, 25000);
        atomic_store(&shard->expired, 141 + i);
        atomic_store(&shard->timed_out, 151 + i);
        atomic_store(&shard->patience.limit_ns, (251 + i) * 1000000);
        atomic_store(&shard->shed, 81 + i);
        atomic_store(&shard->dropped, 91 + i);
        atomic_store(&shard->box.wakeups, 101 + i);
        shard->pool.threads = 4;
        atomic_store(&shard->pool.queued, 111 + i);
        atomic_store(&shard->pool.busy, 3);
        atomic_store(&shard->pool.requests, 121 + i);
        atomic_store(&shard->pool.dropped, 131 + i);
        atomic_store(&shard->batcher.calls, 171 + i);
        atomic_store(&shard->batcher.requests, 181 + i);
        for (uint64_t b = 0; b < TURBO_STATS_BATCH_BUCKETS; b++)
            atomic_store(&shard->batcher.sizes[b], b + 2);
        for (uint64_t why = 0; why < TURBO__CLOSED_REASONS; why++)
            atomic_store(&shard->batcher.closed[why], 191 + 10 * why + i);
        turbo__gate_init(&shard->gate, 100);
        turbo__gate_enter(&shard->gate, 9);
        turbo__gate_leave(&shard->gate);
        turbo__gate_leave_elsewhere(&shard->gate);
        for (uint64_t b = 0; b < TURBO_STATS_BATCH_BUCKETS; b++)
            atomic_store(&shard->batch_sizes[b], b + 1);
        for (uint64_t b = 0; b < TURBO_STATS_LATENCY_BUCKETS; b++)
            atomic_store(&shard->latency[b], 2 * b + 1);
    }
}

Test(stats, snapshot_is_the_sum_of_all_loops_and_shards, .init = set_up) {
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(&server, &s), 0);
    const uint64_t got[] = {s.taken, s.answered, s.shed, s.dropped, s.abandoned, s.accepted, s.connections, s.bytes_in,
                            s.bytes_out, s.accept_errors, s.parse_errors, s.timeouts_head, s.timeouts_body,
                            s.timeouts_idle};
    const uint64_t shards_add[14] = {20000, 40000, 50000, 0, 60000};
    for (uint64_t n = 0; n < 14; n++)
        cr_expect_eq(got[n], 101 * (n + 1) + shards_add[n], "counter %llu", (unsigned long long)n);
    cr_expect_eq(s.body_memory, 15);
    cr_expect(s.timeouts_queue == 283 && s.timeouts_handler == 303 && s.refused == 323);
    cr_expect_eq(s.size, sizeof s);
}

Test(stats, snapshot_of_an_older_caller_ends_where_it_knows, .init = set_up) {
    turbo_stats s = TURBO_STATS_INIT;
    s.shed = 77;
    s.size = offsetof(turbo_stats, shed);
    cr_assert_eq(turbo_server_stats(&server, &s), 0);
    cr_expect(s.size == offsetof(turbo_stats, shed) && s.answered == 202 + 40000 && s.shed == 77);
    turbo_shard_stats t = TURBO_SHARD_STATS_INIT;
    t.batches = 77;
    t.size = offsetof(turbo_shard_stats, batches);
    cr_assert_eq(turbo_shard_stats_get(&shards[0], &t), 0);
    cr_expect(t.requests == 41 && t.batches == 77);
}

Test(stats, bad_sizes_are_refused, .init = set_up) {
    turbo_stats s = TURBO_STATS_INIT;
    turbo_shard_stats t = TURBO_SHARD_STATS_INIT;
    const size_t bad[] = {0, sizeof(size_t) - 1};
    for (size_t i = 0; i < 2; i++) {
        s.size = t.size = bad[i];
        cr_expect_eq(turbo_server_stats(&server, &s), TURBO_EINVAL);
        cr_expect_eq(turbo_shard_stats_get(&shards[0], &t), TURBO_EINVAL);
    }
    s.size = sizeof s + 1;
    t.size = sizeof t + 1;
    cr_expect_eq(turbo_server_stats(&server, &s), TURBO_EINVAL);
    cr_expect_eq(turbo_shard_stats_get(&shards[0], &t), TURBO_EINVAL);
}

Test(stats, shard_has_its_own_counters, .init = set_up) {
    for (size_t i = 0; i < 2; i++) {
        turbo_shard_stats t = TURBO_SHARD_STATS_INIT;
        cr_assert_eq(turbo_shard_stats_get(&shards[i], &t), 0);
        cr_expect(t.requests == 41 + i && t.batches == 51 + i && t.queued == 61 + i && t.queued_max == 71 + i);
        cr_expect(t.shed == 81 + i && t.dropped == 91 + i && t.wakeups == 101 + i);
        cr_expect(t.inflight == 7 && t.inflight_max == 9);
        cr_expect(t.pool_threads == 4 && t.pool_queued == 111 + i && t.pool_busy == 3);
        cr_expect(t.pool_requests == 121 + i && t.pool_dropped == 131 + i && t.expired == 141 + i);
        cr_expect(t.timed_out == 151 + i && t.patience_limit_ms == 251 + i);
        cr_expect(t.batch_calls == 171 + i && t.batch_call_requests == 181 + i);
        cr_expect(t.batch_call_sizes[0] == 2 &&
                  t.batch_call_sizes[TURBO_STATS_BATCH_BUCKETS - 1] == TURBO_STATS_BATCH_BUCKETS + 1);
        cr_expect(t.closed_full == 191 + i && t.closed_turn == 201 + i && t.closed_timer == 211 + i);
        cr_expect(t.closed_gate == 221 + i && t.closed_drained == 231 + i && t.closed_weight == 241 + i);
        cr_expect(t.batch_sizes[0] == 1 && t.batch_sizes[TURBO_STATS_BATCH_BUCKETS - 1] == TURBO_STATS_BATCH_BUCKETS);
        cr_expect(t.latency[0] == 1 &&
                  t.latency[TURBO_STATS_LATENCY_BUCKETS - 1] == 2 * TURBO_STATS_LATENCY_BUCKETS - 1);
    }
}

static char *text_of(int32_t format) {
    char *text = NULL;
    size_t len = 0;
    cr_assert_eq(turbo_server_stats_text(&server, format, &text, &len), 0);
    cr_assert_eq(strlen(text), len);
    return text;
}

static void expect_in(const char *text, const char *part) {
    cr_expect(strstr(text, part) != NULL, "no %s in\n%s", part, text);
}

Test(stats, json_holds_totals_shards_and_loops, .init = set_up) {
    char *text = text_of(TURBO_STATS_JSON), pid[40];
    (void)snprintf(pid, sizeof pid, "{\"pid\":%ld,\"taken\":20101,", (long)getpid());
    expect_in(text, pid);
    expect_in(text, "\"taken\":20101,\"answered\":40202,\"shed\":50303,\"dropped\":404,\"abandoned\":60505,"
                    "\"accepted\":606,"
                    "\"connections\":707,\"bytes_in\":808,\"bytes_out\":909,\"accept_errors\":1010,"
                    "\"parse_errors\":1111,"
                    "\"timeouts_head\":1212,\"timeouts_body\":1313,\"timeouts_idle\":1414,"
                    "\"body_memory\":15,\"timeouts_queue\":283,\"timeouts_handler\":303,\"refused\":323,\"shards\":[{");
    expect_in(text, "{\"requests\":42,\"batches\":52,\"queued\":62,\"queued_max\":72,\"inflight\":7,\"inflight_max\":9,"
                    "\"shed\":82,\"dropped\":92,\"wakeups\":102,"
                    "\"pool_threads\":4,\"pool_queued\":112,\"pool_busy\":3,\"pool_requests\":122,\"pool_dropped\":132,\"expired\":142,\"timed_out\":152,"
                    "\"batch_calls\":172,\"batch_call_requests\":182,\"closed_full\":192,\"closed_turn\":202,"
                    "\"closed_timer\":212,\"closed_gate\":222,\"closed_drained\":232,\"closed_weight\":242,\"patience_limit_ms\":252,"
                    "\"batch_call_sizes\":[2,3,4,5,6,7,8,9,10,11],"
                    "\"batch_sizes\":[1,2,3,4,5,6,7,8,9,10],\"latency\":[1,3,");
    expect_in(text, "37,39]}],\"io\":[{\"taken\":1,");
    expect_in(text, "{\"taken\":100,\"answered\":200,\"connections\":700,\"bytes_in\":800,"
                    "\"bytes_out\":900,\"parse_errors\":1100}]}");
    turbo_free(text);
}

Test(stats, json_is_balanced_without_shards_and_loops) {
    server = (turbo_server){0};
    char *text = text_of(TURBO_STATS_JSON);
    expect_in(text, "\"body_memory\":0,\"timeouts_queue\":0,\"timeouts_handler\":0,\"refused\":0,\"shards\":[],\"io\":[]}");
    turbo_free(text);
}

Test(stats, prometheus_names_each_metric_once, .init = set_up) {
    char *text = text_of(TURBO_STATS_PROMETHEUS);
    expect_in(text, "# HELP turbo_taken_total Requests whose first byte was read, or that were submitted\n"
                    "# TYPE turbo_taken_total counter\nturbo_taken_total 20101\n");
    char pid[100];
    (void)snprintf(pid, sizeof pid, "# TYPE turbo_process_id gauge\nturbo_process_id %ld\n", (long)getpid());
    expect_in(text, pid);
    expect_in(text, "# TYPE turbo_connections gauge\nturbo_connections 707\n");
    expect_in(text, "# TYPE turbo_shard_queued gauge\nturbo_shard_queued{shard=\"0\"} 61\n"
                    "turbo_shard_queued{shard=\"1\"} 62\n");
    int types = 0, helps = 0;
    for (const char *at = text; (at = strstr(at, "# TYPE ")) != NULL; at++) {
        char line[100];
        (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        cr_expect_null(strstr(at + 1, line), "%s is there twice", line);
        types++;
    }
    for (const char *at = text; (at = strstr(at, "# HELP ")) != NULL; at++)
        helps++;
    cr_expect(types == helps && types == 1 + 18 + 15 + 4, "%d %d", types, helps);
    turbo_free(text);
}

Test(stats, prometheus_histograms_are_cumulative, .init = set_up) {
    char *text = text_of(TURBO_STATS_PROMETHEUS);
    expect_in(text, "turbo_shard_latency_seconds_bucket{shard=\"0\",le=\"6.4e-05\"} 1\n"
                    "turbo_shard_latency_seconds_bucket{shard=\"0\",le=\"0.000128\"} 4\n");
    expect_in(text, "turbo_shard_latency_seconds_bucket{shard=\"1\",le=\"+Inf\"} 400\n"
                    "turbo_shard_latency_seconds_count{shard=\"1\"} 400\n");
    expect_in(text, "turbo_shard_batch_size_bucket{shard=\"0\",le=\"1\"} 1\n"
                    "turbo_shard_batch_size_bucket{shard=\"0\",le=\"3\"} 3\n");
    expect_in(text, "turbo_shard_batch_size_bucket{shard=\"1\",le=\"+Inf\"} 55\n"
                    "turbo_shard_batch_size_sum{shard=\"1\"} 42\n"
                    "turbo_shard_batch_size_count{shard=\"1\"} 55\n");
    expect_in(text, "turbo_shard_batch_call_size_bucket{shard=\"1\",le=\"+Inf\"} 65\n"
                    "turbo_shard_batch_call_size_sum{shard=\"1\"} 182\n"
                    "turbo_shard_batch_call_size_count{shard=\"1\"} 65\n");
    turbo_free(text);
}

Test(stats, prometheus_says_why_batches_closed, .init = set_up) {
    char *text = text_of(TURBO_STATS_PROMETHEUS);
    expect_in(text, "# TYPE turbo_shard_batch_closed_total counter\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"full\"} 191\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"turn\"} 201\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"timer\"} 211\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"gate\"} 221\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"drained\"} 231\n"
                    "turbo_shard_batch_closed_total{shard=\"0\",reason=\"weight\"} 241\n"
                    "turbo_shard_batch_closed_total{shard=\"1\",reason=\"full\"} 192\n");
    turbo_free(text);
}

Test(stats, unknown_format_is_refused, .init = set_up) {
    char *text = NULL;
    cr_expect_eq(turbo_server_stats_text(&server, 0, &text, NULL), TURBO_EINVAL);
    cr_expect_eq(turbo_server_stats_text(&server, 3, &text, NULL), TURBO_EINVAL);
    cr_expect_null(text);
    cr_expect_eq(turbo_server_stats_text(&server, TURBO_STATS_JSON, &text, NULL), 0);
    turbo_free(text);
    turbo_free(NULL);
}

Test(stats, each_failed_allocation_is_reported, .init = set_up) {
    for (int32_t format = TURBO_STATS_JSON; format <= TURBO_STATS_PROMETHEUS; format++)
        for (size_t nth = 1;; nth++) {
            char *text = NULL;
            failing_alloc_arm(nth);
            int rc = turbo_server_stats_text(&server, format, &text, NULL);
            int has_failed = failing_alloc_disarm();
            cr_expect_eq(rc, has_failed ? TURBO_ENOMEM : 0, "allocation %zu: %d", nth, rc);
            cr_expect_eq(text == NULL, has_failed);
            turbo_free(text);
            if (!has_failed)
                break;
        }
    cr_expect_not(failing_alloc_leaks());
}
