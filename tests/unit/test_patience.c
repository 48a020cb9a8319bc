/* test_patience.c - whether a shard works for clients that have left, and how long a request may wait in its queue then. */
#include "patience.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/fake_clock.h"
#include "../support/rig.h"
#include "clock.h"
#include "server.h"
#include "shard.h"

TestSuite(patience, .timeout = 60);

#define MS ((uint64_t)1000000)

static turbo__patience patience;
static uint64_t now_ms = 1000000;

static void outcomes(int n, uint64_t waited_ms, uint64_t left_ms) {
    patience.waited_ms = waited_ms;
    for (int i = 0; i < n; i++)
        turbo__patience_outcome(&patience, waited_ms, left_ms);
}

static void in_vain(int n, uint64_t waited_ms) { outcomes(n, waited_ms, waited_ms + 10); }

static void served(int n, uint64_t waited_ms) { outcomes(n, waited_ms, 0); }

static uint64_t limit_ms(void) { return turbo__patience_limit_ns(&patience) / MS; }

/* As much later as that. @return what turbo__patience_look() returned. */
static int look_after(uint64_t ms) {
    now_ms += ms;
    return turbo__patience_look(&patience, now_ms * MS);
}

Test(patience, when_most_were_in_vain_twice_half_of_the_wait_is_the_limit) {
    cr_expect_not(turbo__patience_has_news(&patience));
    in_vain(8, 1000);
    served(8, 800);
    cr_expect(turbo__patience_has_news(&patience));
    cr_expect(look_after(0) == 0 && limit_ms() == 0);
    in_vain(8, 1000);
    served(8, 800);
    cr_expect_eq(look_after(100), 1);
    cr_expect_eq(limit_ms(), 400);
    cr_expect(turbo__patience_has_news(&patience), "the limit has to be seen to");
}

Test(patience, once_is_not_enough) {
    in_vain(500, 1000);
    (void)look_after(0);
    served(16, 1000);
    in_vain(1, 1000);
    cr_expect(look_after(100) == 0 && limit_ms() == 0);
    in_vain(500, 1000);
    cr_expect(look_after(100) == 0 && limit_ms() == 0, "twice, but not one behind the other");
}

Test(patience, what_was_suspected_long_ago_is_not_any_more) {
    in_vain(500, 1000);
    (void)look_after(0);
    in_vain(500, 1000);
    cr_expect(look_after(10000) == 0 && limit_ms() == 0, "another program may have ended");
    in_vain(500, 1000);
    cr_expect_eq(look_after(100), 1);
}

Test(patience, it_is_none_while_more_were_served) {
    for (int i = 0; i < 5; i++) {
        in_vain(8, 1000);
        served(9, 1000);
        cr_expect(look_after(100) == 0 && limit_ms() == 0);
        cr_expect_not(turbo__patience_has_news(&patience), "that is seen to");
    }
}

static void suspect(void) {
    in_vain(8, 1000);
    cr_expect_eq(look_after(0), 0);
}

Test(patience, few_say_nothing_and_are_gathered_for_ten_seconds, .init = suspect) {
    in_vain(4, 1000);
    cr_expect_eq(look_after(9900), 0);
    in_vain(4, 1000);
    cr_expect(look_after(99) == 1 && limit_ms() == 500);
}

Test(patience, and_no_longer, .init = suspect) {
    in_vain(4, 1000);
    cr_expect_eq(look_after(10000), 0);
    in_vain(4, 1000);
    cr_expect(look_after(100) == 0 && limit_ms() == 0);
}

Test(patience, clients_that_the_handler_was_too_slow_for_say_nothing_of_the_queue, .init = suspect) {
    outcomes(100, 400, 801);
    cr_expect_not(turbo__patience_has_news(&patience));
    outcomes(8, 400, 800);
    cr_expect(look_after(100) == 1 && limit_ms() == 200);
}

static void set_limit_of_500(void) {
    suspect();
    in_vain(8, 1000);
    cr_assert_eq(look_after(100), 1);
    cr_assert_eq(limit_ms(), 500);
}

Test(patience, between_two_looks_is_a_while, .init = set_limit_of_500) {
    in_vain(8, 400);
    cr_expect(look_after(99) == 0 && limit_ms() == 500);
    cr_expect(look_after(1) == 0 && limit_ms() == 375);
}

Test(patience, it_is_lowered_while_a_quarter_is_in_vain, .init = set_limit_of_500) {
    in_vain(8, 400);
    served(24, 400);
    cr_expect(look_after(100) == 0 && limit_ms() == 375, "and it is no new one");
    in_vain(8, 300);
    served(25, 300);
    (void)look_after(100);
    cr_expect_geq(limit_ms(), 375);
}

/* A shard of slow handlers: five answers a second, all in vain. */
Test(patience, few_in_vain_are_gathered_and_nothing_grows_meanwhile, .init = set_limit_of_500) {
    for (int i = 0; i < 7; i++) {
        in_vain(1, 400);
        patience.shed++;
        (void)look_after(200);
        cr_expect_eq(limit_ms(), 500);
    }
    in_vain(1, 400);
    (void)look_after(200);
    cr_expect_eq(limit_ms(), 375);
}

Test(patience, what_began_before_it_does_not_count, .init = set_limit_of_500) {
    in_vain(100, 501);
    (void)look_after(100);
    cr_expect_geq(limit_ms(), 500);
    in_vain(8, 500);
    (void)look_after(100);
    cr_expect_lt(limit_ms(), 500);
}

Test(patience, it_is_never_below_100_ms_and_short_waits_count_then, .init = set_limit_of_500) {
    cr_expect_eq(turbo__patience_least_ns(&patience), 200 * MS);
    for (int i = 0; i < 20; i++) {
        in_vain(8, 100);
        (void)look_after(100);
        cr_expect_geq(limit_ms(), 100);
    }
    cr_expect_eq(limit_ms(), 100);
    cr_expect_eq(turbo__patience_least_ns(&patience), 50 * MS);
}

/* @return ms after n tenths of a second in which it sheds. */
static uint64_t limit_after(int n, int each_served, int each_in_vain) {
    uint64_t before = limit_ms();
    for (int i = 0; i < n; i++) {
        patience.shed++;
        served(each_served, 100);
        in_vain(each_in_vain, 100);
        (void)look_after(100);
        cr_expect_geq(limit_ms(), before);
        before = limit_ms();
    }
    return before;
}

Test(patience, it_grows_while_it_sheds_and_few_are_in_vain, .init = set_limit_of_500) {
    uint64_t ms = limit_after(355, 8, 1);
    cr_expect(ms > 950 && ms < 1050, "%llu ms after 35.5 s", (unsigned long long)ms);
}

Test(patience, it_grows_faster_while_none_are, .init = set_limit_of_500) {
    uint64_t ms = limit_after(89, 8, 0);
    cr_expect(ms > 950 && ms < 1050, "%llu ms after 8.9 s", (unsigned long long)ms);
}

Test(patience, it_ends_before_it_is_absurd, .init = set_limit_of_500) {
    for (int i = 0; i < 10000; i++) {
        patience.shed++;
        (void)look_after(100);
        cr_assert_leq(limit_ms(), 600000);
        if (limit_ms() == 0)
            return;
    }
    cr_expect_fail("%llu ms after 1,000 s", (unsigned long long)limit_ms());
}

Test(patience, it_is_over_when_it_has_shed_nothing_for_five_seconds, .init = set_limit_of_500) {
    patience.shed++;
    (void)look_after(4900);
    (void)look_after(5000);
    cr_expect_neq(limit_ms(), 0);
    (void)look_after(100);
    cr_expect_eq(limit_ms(), 0);
}

Test(patience, it_is_over_when_the_shard_has_slept, .init = set_limit_of_500) {
    patience.shed++; /* before it slept */
    in_vain(100, 400);
    (void)look_after(5001);
    cr_expect_eq(limit_ms(), 0);
    cr_expect_not(turbo__patience_has_news(&patience));
}

/* -- on a shard -- */

#define CLIENTS 20
#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SIXTY "012345678901234567890123456789012345678901234567890123456789"
#define ONE_WORKS "io_threads=0 inflight_max=1"

static rig r;
static client clients[CLIENTS];

static turbo_shard_stats stats_of_shard(void) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(turbo_server_shard(r.server, 0), &s), 0);
    return s;
}

static turbo_stats stats(void) {
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(r.server, &s), 0);
    return s;
}

/* It is read before the next one is sent. */
static void ask(client *c, const char *text) {
    uint64_t taken = stats().taken;
    client_send(c, text);
    while (stats().taken == taken)
        (void)rig_poll(&r);
    rig_settle(&r);
}

static void route(const char *path, const char *name, const char *value) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    if (name != NULL)
        cr_assert_eq(turbo_route_options_set(options, name, value), 0);
    cr_assert_eq(turbo_server_route(r.server, "GET", path, options, answer_ok, NULL), 0);
    turbo_route_options_free(options);
}

static void start(const char *settings) {
    fake_clock_set(1000000 * MS, 1700000000);
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, settings);
    route("/", NULL, NULL);
    route("/timeout", "queue_timeout_ms", "60000");
    route("/lane", "inflight_max", "100");
    route("/upload", "body", "streamed");
    rig_start(&r);
    turbo_server_shard(r.server, 0)->patience.suspected = 1;
    turbo_server_shard(r.server, 0)->patience.window_ns = turbo__clock_ns();
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i], turbo_server_port(r.server));
}

static void all_ask(const char *text) {
    for (int i = 0; i < CLIENTS; i++)
        ask(&clients[i], text);
}

static void end(void) {
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].fd >= 0)
            client_close(&clients[i], 0);
    rig_end(&r);
    fake_clock_off();
    cr_expect_not(failing_alloc_leaks());
}

/* The handler answers the ith request that it was given. */
static void answer(size_t i) {
    cr_assert_lt(i, r.seen.count);
    cr_expect_eq(turbo_request_reply(r.seen.reqs[i], 200, NULL, NULL, 0), 0);
    rig_settle(&r);
}

static void leave(int i, int reset) {
    client_close(&clients[i], reset);
    rig_settle(&r);
}

/* Each is given to the handler, but late, and its client leaves before the answer. The first had not waited. Another one begins. */
#define ENDED 9
static void eight_in_vain(int reset) {
    fake_clock_advance_ms(1000);
    for (int i = 0; i < ENDED; i++) {
        cr_assert_eq(r.seen.count, (size_t)i + 1);
        leave(i, reset);
        answer((size_t)i);
    }
}

static void limit_comes(int reset) {
    start(ONE_WORKS);
    all_ask(ASK);
    eight_in_vain(reset);
    fake_clock_advance_ms(100);
    client late;
    client_open(&late, turbo_server_port(r.server));
    ask(&late, ASK);
    cr_expect_eq(stats_of_shard().patience_limit_ms, 500);
    answer(ENDED); /* had begun before */
    cr_expect_eq(client_answer(&clients[ENDED]), 200);
    for (int i = ENDED + 1; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 503, "%d", i);
    answer(ENDED + 1);
    cr_expect_eq(client_answer(&late), 200, "it came just now");
    cr_expect(stats().shed == CLIENTS - ENDED - 1 && stats().timeouts_queue == CLIENTS - ENDED - 1);
    client_close(&late, 0);
    end();
}

Test(patience, what_waits_as_long_as_those_who_left_is_shed) { limit_comes(0); }

Test(patience, also_when_they_reset) { limit_comes(1); }

Test(patience, off_nothing_is_shed) {
    start(ONE_WORKS " queue_patience=off");
    all_ask(ASK);
    eight_in_vain(0);
    fake_clock_advance_ms(100);
    for (size_t i = ENDED; i < CLIENTS; i++)
        answer(i);
    for (int i = ENDED; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 200);
    cr_expect(stats().shed == 0 && stats_of_shard().patience_limit_ms == 0);
    end();
}

Test(patience, clients_that_wait_are_served_however_long_it_takes) {
    start(ONE_WORKS);
    all_ask(ASK);
    for (size_t i = 0; i < CLIENTS; i++) {
        fake_clock_advance_ms(60000);
        answer(i);
        cr_expect_eq(client_answer(&clients[i]), 200);
    }
    cr_expect(stats().shed == 0 && stats_of_shard().patience_limit_ms == 0);
    end();
}

Test(patience, who_leaves_the_queue_is_served_behind_the_others_and_teaches_nothing) {
    start(ONE_WORKS);
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    for (int i = 1; i <= 10; i++)
        leave(i, 0);
    for (size_t i = 0; i < 10; i++)
        answer(i);
    cr_expect_eq(client_answer(&clients[0]), 200);
    for (int i = 11; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 200, "%d, before those who left", i);
    for (size_t i = 10; i < CLIENTS; i++)
        answer(i);
    fake_clock_advance_ms(100);
    rig_settle(&r);
    cr_expect(stats().shed == 0 && stats_of_shard().patience_limit_ms == 0);
    expect_all_accounted(r.server, CLIENTS, CLIENTS, 0, 0, 0);
    end();
}

Test(patience, who_ends_his_side_with_the_request_has_not_left) {
    start(ONE_WORKS);
    all_ask(ASK);
    for (int i = 1; i <= 10; i++)
        client_fin(&clients[i]);
    rig_settle(&r);
    fake_clock_advance_ms(60000);
    for (size_t i = 0; i < CLIENTS; i++) {
        answer(i);
        cr_expect_eq(client_answer(&clients[i]), 200, "%zu, in its place", i);
    }
    end();
}

Test(patience, who_ends_his_side_behind_a_long_upload_has_not_left) {
    start(ONE_WORKS);
    ask(&clients[0], ASK);
    ask(&clients[1], "GET /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    ask(&clients[2], ASK);
    fake_clock_advance_ms(1000);
    client_send(&clients[1], "abc");
    client_fin(&clients[1]);
    rig_settle(&r);
    answer(0);
    answer(1);
    cr_expect_eq(client_answer(&clients[1]), 200, "in its place");
    answer(2);
    end();
}

Test(patience, who_ends_his_side_with_a_later_request_has_not_left) {
    start(ONE_WORKS);
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    client_send(&clients[1], ASK);
    client_fin(&clients[1]);
    rig_settle(&r);
    answer(0);
    answer(1);
    cr_expect_eq(client_answer(&clients[1]), 200, "in its place");
    end();
}

Test(patience, who_has_reset_is_dropped_at_once) {
    start(ONE_WORKS);
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    for (int i = 1; i <= 10; i++)
        leave(i, 1);
    answer(0);
    cr_expect_eq(stats_of_shard().queued, CLIENTS - 12);
    cr_expect_eq(stats_of_shard().dropped, 10);
    end();
}

/* Those behind have an end, too. */
Test(patience, one_of_those_who_left_is_let_in_for_64_others) {
    start(ONE_WORKS);
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    leave(1, 0);
    answer(0);
    cr_expect(shard->behind.first != NULL && shard->passed_by == 0, "2 is worked on");
    shard->passed_by = 62;
    answer(1);
    cr_expect(shard->behind.first != NULL && shard->passed_by == 63, "3 is worked on");
    answer(2);
    cr_expect_null(shard->behind.first, "1 is worked on");
    answer(3);
    answer(4);
    cr_expect_eq(client_answer(&clients[4]), 200);
    end();
}

Test(patience, a_paused_connection_that_is_closed_has_left_too) {
    start(ONE_WORKS " pipeline_max=1");
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    leave(1, 0);
    answer(0);
    answer(1);
    cr_expect_eq(client_answer(&clients[2]), 200, "before the one who left");
    end();
}

Test(patience, in_a_queue_that_is_half_full_those_who_left_have_no_place) {
    start(ONE_WORKS " queue_max=19"); /* as many as wait */
    all_ask(ASK);
    fake_clock_advance_ms(1000);
    for (int i = 1; i < CLIENTS; i++)
        leave(i, 0);
    answer(0);
    cr_expect_eq(stats().shed, 10);
    cr_expect_eq(stats_of_shard().queued, 8, "and one is worked on");
    for (size_t i = 1; i <= 9; i++)
        answer(i);
    expect_all_accounted(r.server, CLIENTS, 10, 10, 0, 0);
    end();
}

Test(patience, nor_when_half_of_the_memory_for_bodies_is_used) {
    start(ONE_WORKS " body_memory_max_bytes=100");
    ask(&clients[0], ASK);
    ask(&clients[1], "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n" SIXTY);
    ask(&clients[2], ASK);
    fake_clock_advance_ms(1000);
    leave(1, 0);
    cr_expect_gt(atomic_load(&r.server->body_memory), 50);
    answer(0);
    cr_expect(stats().shed == 1 && atomic_load(&r.server->body_memory) == 0);
    answer(1);
    cr_expect_eq(client_answer(&clients[2]), 200);
    end();
}

/* Nobody learns from them, and they are not shed: the program has said what to do, or they wait elsewhere. */
static void others_are_not_concerned(const char *text) {
    start(ONE_WORKS);
    for (int i = 0; i < 15; i++)
        ask(&clients[i], ASK);
    for (int i = 15; i < CLIENTS; i++)
        ask(&clients[i], text);
    eight_in_vain(0);
    fake_clock_advance_ms(100);
    answer(ENDED);
    for (int i = ENDED + 1; i < 15; i++)
        cr_expect_eq(client_answer(&clients[i]), 503);
    for (size_t i = ENDED + 1; i < ENDED + 6; i++)
        answer(i);
    for (int i = 15; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 200);
    end();
}

Test(patience, a_route_with_a_timeout_keeps_it) {
    others_are_not_concerned("GET /timeout HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(patience, a_route_with_a_limit_of_its_own_waits_elsewhere) {
    others_are_not_concerned("GET /lane HTTP/1.1\r\nHost: a\r\n\r\n");
}

Test(patience, nothing_is_learned_from_a_route_with_a_timeout) {
    start(ONE_WORKS);
    all_ask("GET /timeout HTTP/1.1\r\nHost: a\r\n\r\n");
    eight_in_vain(0);
    fake_clock_advance_ms(100);
    rig_settle(&r);
    cr_expect_not(turbo__patience_has_news(&turbo_server_shard(r.server, 0)->patience));
    end();
}

Test(patience, requests_of_the_program_have_no_client) {
    outcome out = {0};
    start(ONE_WORKS);
    for (int i = 0; i < 15; i++)
        ask(&clients[i], ASK);
    cr_assert_eq(submit_to(turbo_server_shard(r.server, 0), r.server, "/", &out), 0);
    eight_in_vain(0);
    fake_clock_advance_ms(100);
    answer(ENDED);
    answer(ENDED + 1);
    cr_expect(out.answered == 1 && out.status == 200);
    end();
}

static void set_limit(uint64_t ms) {
    turbo__patience *patience_of = &turbo_server_shard(r.server, 0)->patience;
    atomic_store(&patience_of->limit_ns, ms * MS);
    patience_of->looked_ns = patience_of->used_ns = patience_of->grown_ns = turbo__clock_ns();
}

/* Another route has a timeout of a minute, so that the queue was looked at rarely. */
Test(patience, the_limit_is_kept_at_a_full_gate_too) {
    start(ONE_WORKS);
    all_ask(ASK);
    cr_assert_gt(turbo_shard_timeout_ms(turbo_server_shard(r.server, 0)), 5000);
    fake_clock_advance_ms(1000);
    set_limit(500);
    (void)rig_poll(&r);
    cr_expect_leq(turbo_shard_timeout_ms(turbo_server_shard(r.server, 0)), 63);
    fake_clock_advance_ms(63);
    rig_settle(&r);
    for (int i = 1; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 503, "%d", i);
    cr_expect_eq(stats_of_shard().inflight, 1);
    end();
}

Test(patience, with_a_limit_batches_are_no_longer_than_a_quarter_of_it) {
    start("io_threads=0");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    set_limit(400);
    atomic_store(&shard->request_ns, 20 * MS);
    for (int i = 0; i < CLIENTS; i++)
        client_send(&clients[i], ASK);
    while (stats().taken < CLIENTS)
        (void)rig_poll(&r);
    rig_settle(&r);
    cr_expect_leq(r.seen.batch_sizes[0], 6);
    cr_expect_eq(r.seen.count, CLIENTS);
    end();
}
