/* test_conn_time.c - deadlines of one connection: by the real clock of the loop, so short ones; only that they come is tested. */
#include "conn.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/one_conn.h"

TestSuite(conn_time, .timeout = 60);

Test(conn_time, an_idle_connection_is_read_once_more_before_it_is_closed) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = 200;
    one_conn_open();
    one_conn_expect_read_once_more(200);
    AWAIT((one_conn_settle(), atomic_load(&one.group.timeouts_idle) == 1));
    one_conn_close();
}

Test(conn_time, a_slow_head_is_reported_as_408) {
    turbo__settings_default(&one.settings);
    one.settings.head_timeout_ms = 1;
    one_conn_open();
    one_conn_send("GET / HT");
    AWAIT((one_conn_settle(), one.seen.status == 408));
    cr_expect_eq(atomic_load(&one.group.timeouts_head), 1);
    one_conn_answer("too slow");
    one_conn_settle();
    one_conn_expect_got("too slow");
    one_conn_expect_closed();
    one_conn_close();
}

/* RFC 9110 9.3.2: also the answer to a HEAD that is refused has no body. */
Test(conn_time, what_is_refused_is_known_to_be_head_as_soon_as_it_is) {
    static const struct {
        const char *text;
        int asks_head;
    } cases[] = {{"HEAD / HTTP/2.0\r\n", 1}, {"HEAD / HTTP/1.1\r\nHost: \x01", 1}, {"HEAD \x01", 1}, {"HEAD\n", 0},
                 {"HEADER / HTTP/2.0\r\n", 0}, {"head / HTTP/2.0\r\n", 0}, {"GET /HEAD / HTTP/1.1\r\n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 40; step += 38) { /* byte by byte, and whole */
            memset(&one.seen, 0, sizeof one.seen);
            one_conn_open();
            for (const char *at = cases[i].text; *at != '\0' && one.seen.status == 0; at += strnlen(at, step)) {
                char piece[41];
                (void)snprintf(piece, sizeof piece, "%.*s", (int)step, at);
                one_conn_send(piece);
                one_conn_settle();
            }
            if (one.seen.status == 0) {
                one_conn_send("\r\n\r\n");
                one_conn_settle();
            }
            cr_expect(one.seen.status >= 400 && one.seen.asks_head == cases[i].asks_head, "%s: %d", cases[i].text,
                      one.seen.status);
            one_conn_answer("answer");
            one_conn_settle();
            one_conn_close();
        }
    }
}

Test(conn_time, nobody_is_slow_who_waits_to_be_asked) {
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = 1;
    one_conn_open();
    one.conn->unasked = 1; /* before the head: a moment later its time could be over */
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for (int i = 0; i < 300; i++) {
        (void)await_longer(UINT64_MAX);
        one_conn_settle();
    }
    cr_expect(one.conn != NULL && one.seen.status == 0);
    one.conn->unasked = 0;
    turbo__conn_touch(one.conn);
    AWAIT((one_conn_settle(), one.seen.status == 408));
    one_conn_close();
}

Test(conn_time, a_body_that_stalls_is_reported_as_408) {
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = 1;
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    AWAIT((one_conn_settle(), one.seen.status == 408));
    cr_expect_eq(atomic_load(&one.group.timeouts_body), 1);
    one_conn_close();
}

Test(conn_time, an_idle_connection_is_closed_without_a_word) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = 1;
    one_conn_open();
    AWAIT((one_conn_settle(), atomic_load(&one.group.timeouts_idle) == 1));
    one_conn_settle();
    one_conn_expect_closed();
    cr_expect_eq(one.seen.status, 0);
    one_conn_close();
}

/* That the wheel is never early, and how late it may be, is test_timer.c's. */
Test(conn_time, each_deadline_is_exactly_its_setting_later) {
    static char large[65536];
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = 10001;
    one.settings.head_timeout_ms = 20002;
    one.settings.body_stall_timeout_ms = 30003;
    one_conn_open();
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 10001);
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\n");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->head_ms + 20002);
    one_conn_send("Content-Length: 2\r\n\r\na");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30003);
    one_conn_send("b");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0, "while an answer is owed there is none");
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 40; i++)
        one_conn_give(large);
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30003);
    one_conn_close();
}

Test(conn_time, a_body_has_to_go_on_and_to_end) {
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = 30000;
    one.settings.body_timeout_ms = 40000;
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30000, "the stall comes first");
    one.conn->head_ms -= 10001; /* it began so long ago, and goes on */
    one_conn_send("b");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->head_ms + 40000, "the end comes first");
    one.settings.body_stall_timeout_ms = 0;
    one_conn_send("c");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->head_ms + 40000, "the end alone");
    one.settings.body_timeout_ms = 0;
    one_conn_send("d");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0);
    one_conn_close();
}

Test(conn_time, time_of_a_body_begins_when_it_is_asked_for) {
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = 0;
    one.settings.body_timeout_ms = 40000;
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->head_ms + 40000);
    one.conn->unasked = 1; /* as the layer above says */
    turbo__conn_touch(one.conn);
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0);
    one.conn->head_ms -= 50000;
    uint64_t before = one.conn->head_ms;
    one.conn->unasked = 0;
    turbo__conn_touch(one.conn);
    one_conn_settle();
    cr_expect_geq(one.conn->head_ms, before + 50000);
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->head_ms + 40000);
    one_conn_close();
}

Test(conn_time, a_body_that_drips_past_its_time_is_408) {
    turbo__settings_default(&one.settings);
    one.settings.body_timeout_ms = 1;
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    AWAIT((one_conn_settle(), one.seen.status == 408));
    cr_expect_eq(atomic_load(&one.group.timeouts_body), 1);
    one_conn_close();
}

Test(conn_time, a_timeout_of_0_is_none) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = one.settings.head_timeout_ms = one.settings.body_stall_timeout_ms = 0;
    one_conn_open();
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0);
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\n");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0);
    one_conn_send("Content-Length: 2\r\n\r\na");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, 0);
    one_conn_close();
}

Test(conn_time, a_client_that_takes_no_answer_bytes_is_given_up) {
    static char large[65536];
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = 1;
    one_conn_open();
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 40; i++)
        one_conn_give(large);
    AWAIT((one_conn_settle(), one.conn == NULL));
    cr_expect_eq(atomic_load(&one.group.timeouts_body), 1);
    one_conn_close();
}

Test(conn_time, a_client_that_does_not_end_is_not_waited_for_for_ever) {
    one_conn_open();
    turbo__conn_finish(one.conn, 0);
    turbo__conn_touch(one.conn);
    one.group.draining = 1; /* 500 ms instead of 2 s */
    one_conn_settle();
    cr_expect_not_null(one.conn);
    AWAIT((one_conn_settle(), one.conn == NULL));
    one_conn_close();
}

Test(conn_time, a_client_that_sends_on_is_not_waited_for_for_ever) {
    one_conn_open();
    turbo__conn_finish(one.conn, 0);
    turbo__conn_touch(one.conn);
    one_conn_settle();
    cr_assert(one.conn != NULL && one.conn->shut);
    one.conn->mark_ms -= 1000;
    one_conn_send("x");
    one_conn_settle();
    cr_expect_eq(one.conn->mark_ms, uv_now(&one.loop), "what still comes gives it time");
    one.conn->head_ms -= 29000; /* as if it had gone on for so long */
    one.conn->mark_ms -= 1000;
    uint64_t before = one.conn->mark_ms;
    one_conn_send("x");
    one_conn_settle();
    cr_expect(one.conn == NULL || one.conn->mark_ms == before, "but not for ever");
    while (one.conn != NULL) {
        one_conn_send("x");
        one_conn_settle();
        (void)await_longer(UINT64_MAX);
    }
    one_conn_close();
}

Test(conn_time, while_an_answer_is_owed_there_is_no_deadline) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = one.settings.head_timeout_ms = one.settings.body_stall_timeout_ms = 1;
    one_conn_open();
    one_conn_send(GET);
    AWAIT((one_conn_settle(), one.seen.ends == 1));
    for (int i = 0; i < 300; i++) {
        (void)await_longer(UINT64_MAX);
        one_conn_settle();
    }
    cr_expect_not_null(one.conn);
    one_conn_close();
}

Test(conn_time, the_timer_goes_with_the_last_connection) {
    one_conn_open();
    one_conn_send("GE"); /* arms the timer for the head's deadline */
    one_conn_settle();
    cr_expect(uv_is_active((uv_handle_t *)&one.group.wheel_timer));
    close(one.peer);
    one.peer = -1;
    one_conn_settle();
    cr_assert_null(one.conn);
    cr_expect_not(uv_is_active((uv_handle_t *)&one.group.wheel_timer), "nobody is left to wake up for");
    one_conn_close();
}
