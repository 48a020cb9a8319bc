/* test_shed.c - what is answered without its handler: how many exactly, and what the route has said of it. */
#include "queue.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(shed, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void end(rig *r, client *c) {
    client_close(c, 0);
    rig_end(r);
    cr_expect_not(failing_alloc_leaks());
}

static turbo_stats stats_of(const rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    (void)turbo_server_stats(r->server, &s);
    return s;
}

static int reply(turbo_request *req, const char *text) {
    return turbo_request_reply(req, 200, NULL, text, strlen(text));
}

static turbo_shard_stats shard_stats(const rig *r) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    (void)turbo_shard_stats_get(turbo_server_shard(r->server, 0), &s);
    return s;
}

/* What came in one read goes to the shard at once: of one chain some fit, and some do not. */
Test(shed, a_burst_above_queue_max_is_cut_exactly_there) {
    static const char *const topologies[] = {"queue_max=4 inflight_max=1", "queue_max=4 inflight_max=1 io_threads=0"};
    for (size_t n = 0; n < 10; n++) {
        rig r;
        client first, c;
        size_t count = n / 2 + 3, fit = count < 4 ? count : 4;
        rig_listen(&r, TURBO_EXECUTOR_DRIVEN, topologies[n % 2]);
        cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
        rig_start(&r);
        client_open(&first, turbo_server_port(r.server));
        client_send(&first, ASK);
        AWAIT(rig_poll(&r) == 0 && r.seen.count == 1);
        client_open(&c, turbo_server_port(r.server));
        char burst[8 * sizeof ASK] = "";
        for (size_t i = 0; i < count; i++)
            strcat(burst, ASK);
        client_send(&c, burst);
        AWAIT(rig_poll(&r) == 0 && shard_stats(&r).queued + shard_stats(&r).shed == count);
        cr_expect(shard_stats(&r).queued == fit && shard_stats(&r).shed == count - fit, "%zu", count);
        for (size_t i = 0; i <= fit; i++) {
            AWAIT(rig_poll(&r) == 0 && r.seen.count == i + 1);
            cr_expect_eq(reply(r.seen.reqs[i], "ok"), 0);
        }
        turbo_shard_flush(turbo_server_shard(r.server, 0));
        AWAIT(rig_poll(&r) == 0 && stats_of(&r).answered + stats_of(&r).shed == count + 1);
        rig_settle(&r);
        for (size_t i = 0; i < count; i++)
            cr_expect_eq(client_answer(&c), i < fit ? 200 : 503, "%zu of %zu", i, count);
        cr_expect_eq(client_answer(&first), 200);
        expect_all_accounted(r.server, count + 1, fit + 1, count - fit, 0, 0);
        client_close(&c, 0);
        end(&r, &first);
    }
}

/* -- route options of what is answered without its handler -- */

static void add_route(rig *r, const char *path, const char *const options[][2]) {
    turbo_route_options *made;
    cr_assert_eq(turbo_route_options_new(&made), 0);
    for (size_t i = 0; options[i][0] != NULL; i++)
        cr_assert_eq(turbo_route_options_set(made, options[i][0], options[i][1]), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", path, made, answer_ok, NULL), 0);
    turbo_route_options_free(made);
}

static void expect_refusal(rig *r, const char *text, int status, const char *retry_after) {
    client c;
    client_open(&c, turbo_server_port(r->server));
    cr_expect_eq(client_ask(&c, text), status, "%s", text);
    cr_expect(retry_after == NULL ? strstr(c.head, "Retry-After") == NULL : client_has(&c, retry_after), "%s%s", text, c.head);
    client_close(&c, 0);
}

#define SAYS(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

Test(shed, a_route_says_what_it_is_shed_with_and_when) {
    static const char *const own[][2] = {{"shed_status", "503"}, {"retry_after_s", "7"}, {"queue_timeout_ms", "1"}, {NULL, NULL}};
    static const char *const none[][2] = {{"retry_after_s", "0"}, {"queue_timeout_ms", "1"}, {NULL, NULL}};
    static const char *const patient[][2] = {{"queue_timeout_ms", "0"}, {NULL, NULL}};
    static const char *const asks[] = {SAYS("/own"), SAYS("/none"), SAYS("/patient")};
    static const char *const says[] = {"Retry-After: 7", NULL, "Retry-After: 5"};
    rig r;
    client first, c[3];
    rig_listen(&r, 0, "queue_max=3 inflight_max=1 shed_status=429 retry_after_s=5 queue_timeout_ms=86400000");
    add_route(&r, "/own", own);
    add_route(&r, "/none", none);
    add_route(&r, "/patient", patient);
    rig_start(&r);
    client_open(&first, turbo_server_port(r.server));
    client_send(&first, SAYS("/patient"));
    AWAIT(r.seen.count == 1);
    for (size_t i = 0; i < 2; i++) /* they wait too long */
        expect_refusal(&r, asks[i], i == 0 ? 503 : 429, says[i]);
    for (size_t i = 0; i < 3; i++) {
        client_open(&c[i], turbo_server_port(r.server));
        client_send(&c[i], SAYS("/patient"));
        AWAIT(shard_stats(&r).queued == i + 1);
    }
    for (size_t i = 0; i < 3; i++) /* the queue is full */
        expect_refusal(&r, asks[i], i == 0 ? 503 : 429, says[i]);
    for (size_t i = 0; i < 4; i++) {
        AWAIT(r.seen.count == i + 1);
        cr_expect_eq(reply(r.seen.reqs[i], "ok"), 0);
        cr_expect_eq(client_answer(i == 0 ? &first : &c[i - 1]), 200);
    }
    for (size_t i = 0; i < 3; i++)
        client_close(&c[i], 0);
    expect_all_accounted(r.server, 9, 4, 5, 0, 0);
    cr_expect_eq(stats_of(&r).timeouts_queue, 2);
    end(&r, &first);
}
