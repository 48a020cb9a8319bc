/* test_conn.c - one connection: read, parse, report, write, close. */
#include "conn.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "../support/one_conn.h"
#include "turbo/error.h"

TestSuite(conn, .timeout = 60);

/* -- messages -- */

Test(conn, reports_each_trailer) {
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n");
    one_conn_settle();
    cr_expect(one.seen.trailers == 1 && one.seen.ends == 0);
    one_conn_send("A: b\r\n\r\n");
    one_conn_settle();
    cr_expect(one.seen.trailers == 2 && one.seen.ends == 1);
    one_conn_close();
}

Test(conn, reports_the_size_of_a_chunk_before_its_data) {
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n");
    one_conn_settle();
    cr_expect(one.seen.announced == 3 && one.seen.body_len == 0);
    one_conn_send("abc\r\n10\r\n");
    one_conn_settle();
    cr_expect(one.seen.announced == 19 && one.seen.body_len == 3);
    one_conn_close();
}

Test(conn, reports_a_message_cut_at_every_byte) {
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    one_conn_open();
    for (size_t i = 0; text[i] != '\0'; i++) {
        cr_expect_eq(one.seen.ends, 0);
        cr_assert_eq(write(one.peer, text + i, 1), 1);
        one_conn_settle();
        cr_expect_eq(one.seen.begins, 1, "byte %zu", i);
    }
    cr_expect(one.seen.heads == 1 && one.seen.ends == 1);
    cr_expect(one.seen.body_len == 3 && memcmp(one.seen.body, "abc", 3) == 0);
    cr_expect_null(one.conn->parser, "an idle connection holds no parser");
    cr_expect_eq(one.group.parser_count, 1);
    cr_expect_eq(atomic_load(&one.group.bytes_in), sizeof text - 1);
    one_conn_answer("answer");
    one_conn_settle();
    one_conn_expect_got("answer");
    cr_expect_eq(atomic_load(&one.group.bytes_out), 6);
    one_conn_close();
}

Test(conn, empty_lines_before_a_message_are_counted_over_all_reads) {
    one_conn_open();
    for (int lines = 1; lines <= 8; lines++) {
        one_conn_send("\r\n");
        one_conn_settle();
        cr_expect_eq(one.seen.status, 0, "line %d", lines);
    }
    one_conn_send("\r\n");
    one_conn_settle();
    cr_expect_eq(one.seen.status, 400);
    one_conn_answer("bad");
    one_conn_settle();
    one_conn_expect_got("bad");
    one_conn_close();
}

Test(conn, a_malformed_message_is_reported_and_closes_behind_its_answer) {
    one_conn_open();
    one_conn_send(GET "GE\x01 / HTTP/1.1\r\n\r\n" GET);
    one_conn_settle();
    cr_expect(one.seen.heads == 1 && one.seen.status == 400 && !one.seen.asks_head);
    cr_expect_eq(atomic_load(&one.group.parse_errors), 1);
    one_conn_answer("first");
    one_conn_settle();
    cr_expect_not_null(one.conn);
    one_conn_expect_got("first");
    one_conn_answer("second");
    one_conn_settle();
    one_conn_expect_got("second");
    one_conn_expect_closed();
    cr_expect_eq(one.seen.heads, 1, "nothing behind it is parsed");
    close(one.peer);
    one.peer = -1;
    one_conn_settle();
    cr_expect_null(one.conn, "the client's end was waited for");
    one_conn_close();
}

/* -- pausing -- */

Test(conn, pauses_at_pipeline_max_and_goes_on_at_half) {
    turbo__settings_default(&one.settings);
    one.settings.pipeline_max = 4;
    one_conn_open();
    one_conn_send(GET GET GET GET GET GET);
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 4);
    cr_expect(one.conn->paused);
    one_conn_send(GET);
    one_conn_settle();
    cr_expect_eq(one.seen.begins, 4, "it is not read");
    one_conn_answer("1");
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 4, "three are owed");
    one_conn_answer("2");
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 6, "up to the cap again");
    one_conn_answer("3");
    one_conn_answer("4");
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 7);
    cr_expect_not(one.conn->paused);
    one_conn_expect_got("1234");
    one_conn_close();
}

Test(conn, pauses_while_too_much_is_unsent) {
    static char large[2000];
    turbo__settings_default(&one.settings);
    one.settings.unsent_max_bytes = 1024;
    one_conn_open();
    int small = 1;
    (void)setsockopt(one.conn->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 10; i++)
        one_conn_give(large);
    (void)turbo__conn_group_turn(&one.group);
    cr_assert_gt(one.conn->out.bytes, 1024, "the kernel took it all");
    cr_expect_not(turbo__conn_has_room(one.conn));
    one_conn_send(GET GET);
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 1);
    cr_expect(one.conn->paused);
    char buf[4096];
    AWAIT((one_conn_got(buf, sizeof buf), one_conn_settle(), one.seen.ends == 2));
    cr_expect_gt(one.seen.rooms, 0, "streams are told that there is room");
    one_conn_close();
}

/* What the socket would have taken stays, as if the client did not read. */
Test(conn, unsent_max_is_exact) {
    static char text[1026];
    for (size_t len = 1023; len <= 1025; len++) {
        memset(&one, 0, sizeof one);
        memset(text, 'x', len);
        turbo__settings_default(&one.settings);
        one.settings.unsent_max_bytes = 1024;
        one_conn_open();
        one_conn_give(text);
        one_conn_send(GET GET);
        one.conn->stream.readable = one.conn->stream.blocked = 1;
        (void)turbo__conn_group_turn(&one.group);
        cr_assert_eq(one.conn->out.bytes, len);
        cr_expect_eq(one.seen.ends, len < 1024 ? 2 : 1, "%zu bytes", len);
        cr_expect_eq(one.conn->paused, len >= 1024, "%zu bytes", len);
        cr_expect_eq(one.seen.rooms > 0, len < 1024, "%zu bytes: streamed answers go on", len);
        one_conn_close();
    }
}

Test(conn, a_hang_up_while_paused_ends_it) {
    turbo__settings_default(&one.settings);
    one.settings.pipeline_max = 1;
    one_conn_open();
    one_conn_send(GET GET);
    one_conn_settle();
    cr_expect(one.conn->paused);
    close(one.peer);
    one.peer = -1;
    one_conn_settle();
    cr_expect_null(one.conn);
    one_conn_close();
}

/* -- ends -- */

Test(conn, the_clients_end_finishes_behind_what_is_owed) {
    one_conn_open();
    one_conn_send(GET);
    cr_assert_eq(shutdown(one.peer, SHUT_WR), 0);
    one_conn_settle();
    cr_expect(one.seen.truncated == 0 && one.seen.fins == 1);
    cr_expect_not_null(one.conn);
    one_conn_answer("answer");
    one_conn_settle();
    cr_expect_null(one.conn);
    one_conn_expect_got("answer");
    one_conn_expect_closed();
    one_conn_close();
}

Test(conn, the_clients_end_inside_a_message_truncates_it) {
    one_conn_open();
    one_conn_send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    cr_assert_eq(shutdown(one.peer, SHUT_WR), 0);
    one_conn_settle();
    cr_expect(one.seen.truncated == 1 && one.seen.fins == 1);
    cr_expect_eq(one.seen.ends, 0);
    cr_expect_null(one.conn);
    one_conn_close();
}

Test(conn, on_fin_cancel_ends_it_at_once) {
    turbo__settings_default(&one.settings);
    one.settings.on_fin = TURBO__ON_FIN_CANCEL;
    one_conn_open();
    one_conn_send(GET);
    cr_assert_eq(shutdown(one.peer, SHUT_WR), 0);
    one_conn_settle();
    cr_expect_null(one.conn);
    cr_expect_eq(one.seen.fins, 0, "it is gone");
    one_conn_close();
}

Test(conn, a_layer_that_stops_is_given_nothing_more) {
    one.seen.stop_at_end = 1;
    one_conn_open();
    one_conn_send(GET GET);
    one_conn_settle();
    cr_expect_eq(one.seen.ends, 1);
    cr_expect(one.conn->finishing && one.conn->discarded);
    one_conn_answer("last");
    one_conn_settle();
    one_conn_expect_got("last");
    one_conn_expect_closed();
    one_conn_close();
}

/* A close() with unread bytes would reset the connection, and might destroy the answer (RFC 9112 9.6). */
Test(conn, one_that_ends_while_it_is_parsed_begins_no_message_more, .init = one_conn_open, .fini = one_conn_close) {
    one.seen.kill_at_end = 1;
    one_conn_send(GET GET GET);
    one_conn_settle();
    cr_expect_eq(one.seen.begins, 1, "%u", one.seen.begins);
    cr_expect_null(one.conn);
}

Test(conn, one_that_ends_while_it_is_paused_begins_no_message_more) {
    turbo__settings_default(&one.settings);
    one.settings.pipeline_max = 2;
    one_conn_open();
    one_conn_send(GET GET GET);
    one_conn_settle();
    cr_assert_eq(one.seen.begins, 2);
    one.seen.kill_at_room = 1;
    one.conn->owed = 0; /* so that it may go on */
    turbo__conn_touch(one.conn);
    one_conn_settle();
    cr_expect_eq(one.seen.begins, 2, "%u", one.seen.begins);
    cr_expect_null(one.conn);
    one_conn_close();
}

Test(conn, lingers_until_the_client_has_read) {
    one_conn_open();
    one_conn_send(GET);
    one_conn_settle();
    turbo__conn_finish(one.conn, 0);
    one_conn_answer("last");
    one_conn_settle();
    cr_expect_not_null(one.conn, "our side has ended, the client's has not");
    one_conn_send("more that nobody wants");
    one_conn_settle();
    one_conn_expect_got("last");
    one_conn_expect_closed();
    cr_assert_eq(shutdown(one.peer, SHUT_WR), 0);
    one_conn_settle();
    cr_expect_null(one.conn);
    one_conn_close();
}

Test(conn, a_client_that_expects_the_close_gets_it_at_once) {
    one_conn_open();
    one_conn_send(GET);
    one_conn_settle();
    turbo__conn_finish(one.conn, 1);
    one_conn_answer("last");
    one_conn_settle();
    cr_expect_null(one.conn);
    one_conn_expect_got("last");
    one_conn_close();
}

Test(conn, drain_closes_idle_connections_and_reads_the_others_once_more) {
    one_conn_open();
    one_conn_send(GET); /* in the socket, not read yet */
    turbo__conn_group_drain(&one.group);
    one_conn_settle();
    cr_expect_eq(one.seen.heads, 1);
    one_conn_answer("answer");
    one_conn_settle();
    one_conn_expect_got("answer");
    one_conn_expect_closed();
    one_conn_close();
}

/* RFC 9112 9.5: the client may be about to send its next request, and no close of ours may meet it. */
Test(conn, drain_leaves_idle_connections_open_for_drain_idle) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = 0;
    one.settings.drain_idle_ms = 20002;
    one_conn_open();
    one_conn_settle();
    one.conn->mark_ms -= 5000; /* silent for so long before the drain */
    turbo__conn_group_drain(&one.group);
    one_conn_settle();
    cr_assert_not_null(one.conn);
    cr_expect_eq(one.group.drain_ms, uv_now(&one.loop));
    cr_expect_eq(one.conn->deadline.at_ms, one.group.drain_ms + 20002);
    one_conn_send(GET);
    one_conn_settle();
    cr_expect_eq(one.seen.heads, 1);
    cr_expect_eq(one.conn->deadline.at_ms, 0, "while an answer is owed there is no deadline");
    one.group.drain_ms -= 30000; /* as if the drain had begun so long ago */
    one_conn_answer("begun before the drain, so it does not say close");
    one_conn_settle();
    cr_assert_not_null(one.conn);
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 20002);
    turbo__conn_finish(one.conn, 0); /* as the layer above does when it says so */
    turbo__conn_touch(one.conn);
    one_conn_settle();
    one_conn_expect_got("begun before the drain, so it does not say close");
    one_conn_expect_closed();
    one_conn_close();
}

Test(conn, in_a_drain_the_idle_timeout_counts_too) {
    turbo__settings_default(&one.settings);
    one.settings.idle_timeout_ms = 10001;
    one.settings.drain_idle_ms = 20002;
    one_conn_open();
    turbo__conn_group_drain(&one.group);
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 10001);
    one.settings.drain_idle_ms = 5003;
    turbo__conn_touch(one.conn);
    (void)one_conn_turn();
    cr_expect_eq(one.conn->deadline.at_ms, one.group.drain_ms + 5003);
    one_conn_close();
}

Test(conn, a_connection_that_comes_during_a_drain_has_its_time) {
    turbo__settings_default(&one.settings);
    one.settings.drain_idle_ms = 20002;
    one_conn_open();
    one.group.draining = 1;
    one.group.drain_ms = uv_now(&one.loop) - 20002;
    turbo__conn_touch(one.conn);
    one_conn_settle();
    cr_assert_not_null(one.conn);
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 20002);
    one_conn_close();
}

Test(conn, drain_reads_silent_connections_once_more_when_their_time_is_over) {
    turbo__settings_default(&one.settings);
    one.settings.drain_idle_ms = 200;
    one_conn_open();
    turbo__conn_group_drain(&one.group);
    one_conn_expect_read_once_more(200);
    AWAIT((one_conn_settle(), one.conn->shut));
    one_conn_expect_closed();
    cr_expect_eq(atomic_load(&one.group.timeouts_idle), 0, "no timeout");
    one_conn_close();
}

/* -- a drain behind an answer that came before the end of its request's body -- */

#define HEAD_OF(length) "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"

static void open_with_stall(uint64_t ms) {
    turbo__settings_default(&one.settings);
    one.settings.body_stall_timeout_ms = ms;
    one_conn_open();
}

Test(conn, drain_does_not_wait_for_a_body_whose_answer_was_sent) {
    for (int early = 0; early <= 1; early++) {
        memset(&one, 0, sizeof one);
        open_with_stall(30003);
        one_conn_send(HEAD_OF("10") "ab");
        one_conn_settle();
        if (early) {
            one_conn_answer("early");
            one_conn_settle();
            one_conn_expect_got("early");
            cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30003, "without a drain the rest is waited for");
        }
        turbo__conn_group_drain(&one.group);
        one_conn_settle();
        if (!early) {
            cr_expect_not(one.conn->shut, "its answer is owed");
            cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30003);
            one_conn_answer("begun");
            one.conn->owed++; /* there is more to come of it */
            one_conn_settle();
            one_conn_expect_got("begun");
            cr_expect_not(one.conn->shut);
            one_conn_answer("ended");
            one_conn_settle();
            one_conn_expect_got("ended");
        }
        one_conn_expect_closed();
        cr_assert(one.conn != NULL && one.conn->shut && one.seen.status == 0);
        cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 500, "it lingers");
        one_conn_send("cdefghij" GET);
        one_conn_settle();
        cr_expect(one.seen.heads == 1 && one.seen.truncated == 0);
        cr_assert_eq(shutdown(one.peer, SHUT_WR), 0);
        one_conn_settle();
        cr_expect_null(one.conn);
        one_conn_close();
    }
}

Test(conn, drain_sends_the_answer_whole_before_it_ends_a_body) {
    static char large[2000];
    open_with_stall(30003);
    int small = 1;
    (void)setsockopt(one.conn->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    memset(large, 'x', sizeof large - 1);
    one_conn_send(HEAD_OF("10") "ab");
    one_conn_settle();
    for (int i = 0; i < 10; i++)
        one_conn_give(large);
    one_conn_answer("end");
    turbo__conn_group_drain(&one.group);
    one_conn_settle();
    cr_assert(one.conn->out.bytes > 0, "the kernel took it all");
    cr_expect_not(one.conn->shut);
    cr_expect_eq(one.conn->deadline.at_ms, one.conn->mark_ms + 30003, "the client has this long to go on reading");
    char buf[4096];
    size_t sum = 0;
    for (ssize_t n = -1; n != 0; sum += n > 0 ? (size_t)n : 0)
        AWAIT((one_conn_settle(), n = one_conn_got(buf, sizeof buf)) >= 0);
    cr_expect_eq(sum, 10 * (sizeof large - 1) + 3);
    one_conn_close();
}

/* More than one turn reads: the client had sent it all before. */
Test(conn, drain_reads_what_is_there_of_a_body_and_answers_what_is_behind_it) {
    static char rest[300000];
    open_with_stall(30003);
    int large = 1 << 20;
    (void)setsockopt(one.peer, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    one_conn_send(HEAD_OF("300000"));
    one_conn_settle();
    one_conn_answer("early");
    one_conn_settle();
    one_conn_expect_got("early");
    for (size_t at = 0; at < sizeof rest; at += 30000)
        cr_assert_eq(write(one.peer, rest + at, 30000), 30000);
    one_conn_send(GET);
    turbo__conn_group_drain(&one.group);
    cr_expect_eq(turbo__conn_group_turn(&one.group), 1);
    cr_expect(one.seen.body_len < sizeof rest && !one.conn->finishing);
    one_conn_settle();
    cr_expect(one.seen.body_len == sizeof rest && one.seen.heads == 2, "%zu bytes", one.seen.body_len);
    one_conn_answer("second");
    one_conn_settle();
    one_conn_expect_got("second");
    one_conn_expect_closed();
    one_conn_close();
}

Test(conn, drain_idle_is_for_a_body_whose_answer_was_sent_too_and_no_byte_of_it_makes_it_longer) {
    open_with_stall(30003);
    one.settings.drain_idle_ms = 20002;
    one_conn_send(HEAD_OF("10") "ab");
    one_conn_settle();
    one_conn_answer("early");
    one_conn_settle();
    turbo__conn_group_drain(&one.group);
    one_conn_settle();
    cr_assert_not_null(one.conn);
    cr_expect_eq(one.conn->deadline.at_ms, one.group.drain_ms + 20002);
    one.group.drain_ms -= 10000; /* as if the drain had begun so long ago */
    one.conn->mark_ms -= 10000;
    one_conn_send("c");
    one_conn_settle();
    cr_expect_eq(one.conn->deadline.at_ms, one.group.drain_ms + 20002);
    one_conn_send("defghij" GET);
    one_conn_settle();
    cr_expect_eq(one.seen.heads, 2);
    one_conn_close();
}

/* -- memory -- */

Test(conn, group_without_memory) {
    turbo__conn_group other;
    cr_assert_eq(uv_loop_init(&one.loop), 0);
    turbo__settings_default(&one.settings);
    for (size_t nth = 1; nth <= 2; nth++) {
        other = (turbo__conn_group){0};
        failing_alloc_arm(nth);
        cr_expect_eq(turbo__conn_group_open(&other, &one.loop, &one_conn_events, &one.settings), TURBO_ENOMEM);
        cr_expect(failing_alloc_disarm());
        turbo__conn_group_close(&other);
        uv_run(&one.loop, UV_RUN_DEFAULT);
        turbo__conn_group_free(&other);
    }
    cr_expect_eq(uv_loop_close(&one.loop), 0);
    cr_expect_not(failing_alloc_leaks());
}

Test(conn, without_memory_for_a_parser_the_connection_ends) {
    one_conn_open();
    one_conn_send(GET);
    failing_alloc_arm(1);
    one_conn_settle();
    cr_expect(failing_alloc_disarm());
    cr_expect_null(one.conn);
    one_conn_close();
}
