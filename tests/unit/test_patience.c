/* test_patience.c - how long clients wait before they leave, and from it how long a request may wait in a queue. */
#include "patience.h"

#include <criterion/criterion.h>
#include <string.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/fake_clock.h"
#include "../support/rig.h"
#include "queue.h"

TestSuite(patience, .timeout = 60);

#define MS ((uint64_t)1000000)

static turbo__patience patience;
static uint64_t now_ms = 1000, begun, shed;

static void leave(int clients, uint64_t waited_ms) {
    for (int i = 0; i < clients; i++)
        turbo__patience_left(&patience, waited_ms * MS);
}

static uint64_t limit_ms(void) { return turbo__patience_limit_ns(&patience) / MS; }

/* As much later as that. @return what turbo__patience_look() returned. */
static uint64_t look_after(uint64_t ms) {
    now_ms += ms;
    return turbo__patience_look(&patience, begun, shed, now_ms * MS);
}

Test(patience, many_who_leave_make_a_limit_of_half_their_wait) {
    cr_expect_not(turbo__patience_has_news(&patience));
    leave(4, 600);
    leave(4, 1000);
    cr_expect(turbo__patience_has_news(&patience));
    begun = 32; /* four for each */
    cr_expect_eq(look_after(0), 800);
    cr_expect_eq(limit_ms(), 400);
    cr_expect(turbo__patience_has_news(&patience), "the limit has to be seen to");
}

Test(patience, few_who_leave_say_nothing) {
    leave(7, 1000);
    cr_expect(look_after(2000) == 0 && limit_ms() == 0);
    leave(8, 1000);
    begun = 33;
    cr_expect(look_after(100) == 0 && limit_ms() == 0, "among many who do not");
    cr_expect_not(turbo__patience_has_news(&patience));
}

Test(patience, they_are_gathered_for_two_seconds) {
    begun = 100;
    (void)look_after(2000);
    leave(4, 1000);
    cr_expect_eq(look_after(1900), 0);
    leave(4, 1000);
    cr_expect(look_after(99) == 1000 && limit_ms() == 500);
}

Test(patience, and_no_longer) {
    (void)look_after(2000);
    leave(4, 1000);
    cr_expect_eq(look_after(2000), 0);
    leave(4, 1000);
    cr_expect(look_after(100) == 0 && limit_ms() == 0);
}

Test(patience, the_first_look_is_not_the_last_one) {
    leave(8, 1000);
    begun = 1000000; /* in the years before */
    cr_expect_eq(look_after(0), 0);
    leave(8, 1000);
    begun += 32;
    cr_expect_eq(look_after(100), 1000);
}

Test(patience, what_begins_between_two_looks_waits_for_the_next) {
    (void)look_after(2000);
    leave(8, 1000);
    cr_expect(look_after(99) == 0 && limit_ms() == 0);
    cr_expect(look_after(1) == 1000 && limit_ms() == 500);
}

Test(patience, short_waits_have_other_reasons) {
    leave(100, TURBO__PATIENCE_LEAST_MS - 1);
    cr_expect_not(turbo__patience_has_news(&patience));
    cr_expect(look_after(0) == 0 && limit_ms() == 0);
    leave(8, TURBO__PATIENCE_LEAST_MS);
    (void)look_after(100);
    cr_expect_eq(limit_ms(), TURBO__PATIENCE_LEAST_MS / 2);
}

static void set_limit_of_500(void) {
    leave(8, 1000);
    cr_assert_eq(look_after(0), 1000);
}

Test(patience, it_is_lowered_by_those_who_leave_earlier_and_not_raised_by_those_who_leave_later, .init = set_limit_of_500) {
    leave(8, 3000);
    cr_expect(look_after(100) == 0 && limit_ms() == 500);
    leave(8, 600);
    cr_expect(look_after(100) == 0 && limit_ms() == 300, "and it is no new one");
}

Test(patience, it_is_raised_while_it_sheds_and_nobody_leaves, .init = set_limit_of_500) {
    uint64_t before = limit_ms();
    for (int i = 0; i < 90; i++) {
        shed++;
        (void)look_after(100);
        cr_expect_geq(limit_ms(), before);
        before = limit_ms();
    }
    cr_expect(before > 900 && before < 1100, "%llu ms after 9 s", (unsigned long long)before);
}

Test(patience, a_look_after_long_raises_it_by_no_more_than_two_seconds, .init = set_limit_of_500) {
    shed++;
    (void)look_after(3600000);
    cr_expect(limit_ms() > 570 && limit_ms() < 580, "%llu ms", (unsigned long long)limit_ms());
}

Test(patience, it_is_over_when_it_has_shed_nothing_for_five_seconds, .init = set_limit_of_500) {
    shed++;
    (void)look_after(4900);
    (void)look_after(5000);
    cr_expect_neq(limit_ms(), 0);
    (void)look_after(100);
    cr_expect_eq(limit_ms(), 0);
    cr_expect_not(turbo__patience_has_news(&patience));
}

Test(patience, looks_between_do_not_keep_it, .init = set_limit_of_500) {
    for (int i = 0; i < 51; i++)
        (void)look_after(100);
    cr_expect_eq(limit_ms(), 0);
    leave(8, 1000);
    cr_expect(look_after(100) == 1000 && limit_ms() == 500, "until clients leave again");
}

/* -- on a shard -- */

#define CLIENTS 12
#define ONE_WORKS "io_threads=0 inflight_max=1"
#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static client clients[CLIENTS];

static uint64_t limit_of(rig *r) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    cr_assert_eq(turbo_shard_stats_get(turbo_server_shard(r->server, 0), &s), 0);
    return s.patience_limit_ms;
}

static uint64_t taken(rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(r->server, &s), 0);
    return s.taken;
}

/* Each has sent a request; inflight_max of them are worked on, the others wait. */
static void start(rig *r, const char *settings) {
    fake_clock_set(1000000 * MS, 1700000000);
    rig_listen(r, TURBO_EXECUTOR_DRIVEN, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&clients[i], turbo_server_port(r->server));
        client_send(&clients[i], ASK);
        while (taken(r) <= (uint64_t)i)
            (void)rig_poll(r);
    }
    rig_settle(r);
}

/* The handlers answer one after the other as long as there are any. */
static void work(rig *r) {
    for (size_t i = 0; i < r->seen.count; i++) {
        cr_expect_eq(turbo_request_reply(r->seen.reqs[i], 200, NULL, NULL, 0), 0);
        rig_settle(r);
    }
}

static uint64_t shed_of(rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(r->server, &s), 0);
    cr_expect_eq(s.shed, s.timeouts_queue);
    return s.shed;
}

static void end(rig *r) {
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i], 0);
    rig_end(r);
    fake_clock_off();
    cr_expect_not(failing_alloc_leaks());
}

static void leave_all_but_two(rig *r, int reset) {
    fake_clock_advance_ms(1000);
    for (int i = 2; i < CLIENTS; i++)
        client_close(&clients[i], reset);
    rig_settle(r);
}

/* Those that stay, too, have waited too long then: at once with the others, they would get no answer in time either. */
static void ten_leave_after_a_second(int reset) {
    rig r;
    client late;
    start(&r, ONE_WORKS);
    leave_all_but_two(&r, reset);
    client_open(&late, turbo_server_port(r.server));
    client_send(&late, ASK);
    while (taken(&r) <= CLIENTS)
        (void)rig_poll(&r);
    rig_settle(&r);
    cr_expect_eq(limit_of(&r), 500);
    work(&r);
    cr_expect_eq(client_answer(&clients[0]), 200, "it had begun");
    cr_expect_eq(client_answer(&clients[1]), 503);
    cr_expect_eq(client_answer(&late), 200, "it came just now");
    cr_expect_eq(shed_of(&r), reset ? 1 : 11);
    cr_expect_eq(r.seen.count, 2);
    client_close(&late, 0);
    end(&r);
}

Test(patience, clients_that_close_are_learned_from) { ten_leave_after_a_second(0); }

Test(patience, clients_that_reset_are_learned_from) { ten_leave_after_a_second(1); }

Test(patience, clients_that_close_are_learned_from_with_on_fin_cancel) {
    rig r;
    start(&r, ONE_WORKS " on_fin=cancel");
    leave_all_but_two(&r, 0);
    work(&r);
    cr_expect_eq(limit_of(&r), 500);
    end(&r);
}

Test(patience, off_nobody_is_shed) {
    rig r;
    start(&r, ONE_WORKS " queue_patience=off");
    leave_all_but_two(&r, 0);
    work(&r);
    cr_expect(limit_of(&r) == 0 && shed_of(&r) == 0);
    cr_expect_eq(client_answer(&clients[1]), 200);
    end(&r);
}

Test(patience, clients_that_wait_are_never_shed) {
    rig r;
    start(&r, ONE_WORKS);
    for (int i = 0; i < CLIENTS; i++) {
        fake_clock_advance_ms(60000);
        rig_settle(&r);
    }
    work(&r);
    for (int i = 0; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 200);
    cr_expect(limit_of(&r) == 0 && shed_of(&r) == 0);
    end(&r);
}

Test(patience, clients_that_end_their_side_at_once_are_not_leaving) {
    rig r;
    start(&r, ONE_WORKS);
    for (int i = 0; i < CLIENTS; i++)
        client_fin(&clients[i]);
    rig_settle(&r);
    fake_clock_advance_ms(60000);
    work(&r);
    for (int i = 0; i < CLIENTS; i++)
        cr_expect_eq(client_answer(&clients[i]), 200);
    cr_expect(limit_of(&r) == 0 && shed_of(&r) == 0);
    end(&r);
}

Test(patience, without_a_queue_clients_leave_for_other_reasons) {
    rig r;
    start(&r, "io_threads=0");
    cr_assert_eq(r.seen.count, CLIENTS);
    leave_all_but_two(&r, 0);
    cr_expect_not(turbo__patience_has_news(&turbo_server_shard(r.server, 0)->patience));
    end(&r);
}

static turbo__route route;

Test(patience, the_limit_counts_beside_the_routes_own_and_behind_its_batch_wait) {
    static turbo_shard shard;
    static int home;
    turbo_request req = {.route = &route, .shard = &shard, .io = (struct turbo__io *)&home};
    cr_expect_eq(turbo__queue_limit_ns(&req), 0);
    atomic_store(&shard.patience.limit_ns, 300 * MS);
    cr_expect_eq(turbo__queue_limit_ns(&req), 300 * MS);
    route.batch_wait_us = 200000;
    cr_expect_eq(turbo__queue_limit_ns(&req), 500 * MS);
    route.queue_timeout_ns = 400 * MS;
    cr_expect_eq(turbo__queue_limit_ns(&req), 400 * MS);
    route.queue_timeout_ns = 600 * MS;
    cr_expect_eq(turbo__queue_limit_ns(&req), 500 * MS);
    req.io = NULL; /* nobody's client */
    cr_expect_eq(turbo__queue_limit_ns(&req), 600 * MS);
}
