/* test_conn.c - one connection over a socket pair: read, parse, report, write, close; short deadlines. */
#include "conn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/await.h"
#include "../support/failing_alloc.h"
#include "list.h"
#include "mem.h"
#include "turbo/error.h"

TestSuite(conn, .timeout = 60);

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/* What the layer above saw of its one connection. */
static struct {
    unsigned begins, heads, trailers, ends, truncated, fins, rooms, gones;
    int status, asks_head; /* of error */
    uint64_t announced; /* by chunks */
    char body[64];
    size_t body_len;
    int stop_at_end; /* what end returns */
    int kill_at_end; /* as an answer does that finds no memory */
    int kill_at_room;
} seen;

static uv_loop_t loop;
static turbo__settings settings;
static turbo__conn_group group;
static turbo__conn *conn; /* NULL once gone */
static int peer;

static void on_begin(turbo__conn *c) { (void)c, seen.begins++; }

static int on_head(turbo__conn *c, const turbo__h1_head *head) {
    (void)head;
    c->owed++;
    seen.heads++;
    return 0;
}

static int on_chunk(turbo__conn *c, uint64_t size) {
    (void)c;
    seen.announced += size;
    return 0;
}

static int on_body(turbo__conn *c, const char *data, size_t len) {
    (void)c;
    cr_assert_leq(seen.body_len + len, sizeof seen.body);
    memcpy(seen.body + seen.body_len, data, len);
    seen.body_len += len;
    return 0;
}

static int on_trailer(turbo__conn *c, turbo_str name, turbo_str value) {
    (void)c;
    cr_expect(name.len == 1 && name.data[0] == 'A');
    cr_expect(value.len == 1 && value.data[0] == 'b');
    seen.trailers++;
    return 0;
}

static int on_end(turbo__conn *c) {
    seen.ends++;
    if (seen.stop_at_end)
        turbo__conn_finish(c, 1);
    if (seen.kill_at_end)
        turbo__conn_kill(c);
    return seen.stop_at_end;
}

static void on_error(turbo__conn *c, int status, const char *reason, int asks_head) {
    cr_expect_not_null(reason);
    seen.asks_head = asks_head;
    c->owed += seen.begins > seen.heads; /* a message whose head was not reported is owed an answer from now on */
    seen.status = status;
}

static void on_truncated(turbo__conn *c) {
    seen.truncated++;
    c->owed = 0;
}

static void on_fin(turbo__conn *c) {
    (void)c;
    seen.fins++;
}

static void on_room(turbo__conn *c) {
    seen.rooms++;
    if (seen.kill_at_room)
        turbo__conn_kill(c);
}

static void on_gone(turbo__conn *c) {
    cr_expect_eq(c, conn);
    seen.gones++;
    conn = NULL;
}

static const turbo__conn_events events = {on_begin, on_head,      on_chunk, on_body, on_trailer, on_end,
                                          on_error, on_truncated, on_fin,   on_room, on_gone};

static void open_conn(void) {
    int fds[2];
    cr_assert_eq(uv_loop_init(&loop), 0);
    if (settings.pipeline_max == 0)
        turbo__settings_default(&settings);
    cr_assert_eq(turbo__conn_group_open(&group, &loop, &events, &settings), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    conn = turbo__calloc(1, sizeof *conn);
    cr_assert_not_null(conn);
    cr_assert_eq(turbo__conn_open(conn, &group, fds[0]), 0);
    peer = fds[1];
}

static void close_conn(void) {
    turbo__conn_group_kill(&group);
    (void)turbo__conn_group_turn(&group);
    turbo__conn_group_close(&group);
    uv_run(&loop, UV_RUN_DEFAULT);
    turbo__conn_group_free(&group);
    (void)uv_loop_close(&loop);
    if (peer >= 0)
        close(peer);
    cr_expect_eq(seen.gones, 1, "gone is told exactly once");
    cr_expect_not(failing_alloc_leaks());
}

static int turn(void) {
    uv_run(&loop, UV_RUN_NOWAIT);
    return turbo__conn_group_turn(&group);
}

static void settle(void) {
    (void)turn(); /* the next pass sees what this one made ready */
    while (turn()) {
    }
}

static void send_text(const char *text) { cr_assert_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text)); }

static void give(const char *text) {
    cr_assert_eq(turbo__outq_copy(&conn->out, &group.outpool, text, strlen(text)), 0);
    turbo__conn_touch(conn);
}

/* An answer to the first message owed. */
static void answer(const char *text) {
    conn->owed--;
    give(text);
}

/* @return how many bytes the peer has got; -1 nothing yet; 0 the end. */
static ssize_t got(char *out, size_t size) {
    ssize_t n = read(peer, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

static void expect_got(const char *text) {
    char buf[256];
    (void)got(buf, sizeof buf);
    cr_expect_str_eq(buf, text);
}

static void expect_closed(void) {
    char buf[16];
    cr_expect_eq(got(buf, sizeof buf), 0);
}

/* -- messages -- */

Test(conn, reports_each_trailer) {
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n");
    settle();
    cr_expect(seen.trailers == 1 && seen.ends == 0);
    send_text("A: b\r\n\r\n");
    settle();
    cr_expect(seen.trailers == 2 && seen.ends == 1);
    close_conn();
}

Test(conn, reports_the_size_of_a_chunk_before_its_data) {
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n");
    settle();
    cr_expect(seen.announced == 3 && seen.body_len == 0);
    send_text("abc\r\n10\r\n");
    settle();
    cr_expect(seen.announced == 19 && seen.body_len == 3);
    close_conn();
}

Test(conn, reports_a_message_cut_at_every_byte) {
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    open_conn();
    for (size_t i = 0; text[i] != '\0'; i++) {
        cr_expect_eq(seen.ends, 0);
        cr_assert_eq(write(peer, text + i, 1), 1);
        settle();
        cr_expect_eq(seen.begins, 1, "byte %zu", i);
    }
    cr_expect(seen.heads == 1 && seen.ends == 1);
    cr_expect(seen.body_len == 3 && memcmp(seen.body, "abc", 3) == 0);
    cr_expect_null(conn->parser, "an idle connection holds no parser");
    cr_expect_eq(group.parser_count, 1);
    cr_expect_eq(atomic_load(&group.bytes_in), sizeof text - 1);
    answer("answer");
    settle();
    expect_got("answer");
    cr_expect_eq(atomic_load(&group.bytes_out), 6);
    close_conn();
}

Test(conn, empty_lines_before_a_message_are_counted_over_all_reads) {
    open_conn();
    for (int lines = 1; lines <= 8; lines++) {
        send_text("\r\n");
        settle();
        cr_expect_eq(seen.status, 0, "line %d", lines);
    }
    send_text("\r\n");
    settle();
    cr_expect_eq(seen.status, 400);
    answer("bad");
    settle();
    expect_got("bad");
    close_conn();
}

Test(conn, a_malformed_message_is_reported_and_closes_behind_its_answer) {
    open_conn();
    send_text(GET "GE\x01 / HTTP/1.1\r\n\r\n" GET);
    settle();
    cr_expect(seen.heads == 1 && seen.status == 400 && !seen.asks_head);
    cr_expect_eq(atomic_load(&group.parse_errors), 1);
    answer("first");
    settle();
    cr_expect_not_null(conn);
    expect_got("first");
    answer("second");
    settle();
    expect_got("second");
    expect_closed();
    cr_expect_eq(seen.heads, 1, "nothing behind it is parsed");
    close(peer);
    peer = -1;
    settle();
    cr_expect_null(conn, "the client's end was waited for");
    close_conn();
}

/* -- pausing -- */

Test(conn, pauses_at_pipeline_max_and_goes_on_at_half) {
    turbo__settings_default(&settings);
    settings.pipeline_max = 4;
    open_conn();
    send_text(GET GET GET GET GET GET);
    settle();
    cr_expect_eq(seen.ends, 4);
    cr_expect(conn->paused);
    send_text(GET);
    settle();
    cr_expect_eq(seen.begins, 4, "it is not read");
    answer("1");
    settle();
    cr_expect_eq(seen.ends, 4, "three are owed");
    answer("2");
    settle();
    cr_expect_eq(seen.ends, 6, "up to the cap again");
    answer("3");
    answer("4");
    settle();
    cr_expect_eq(seen.ends, 7);
    cr_expect_not(conn->paused);
    expect_got("1234");
    close_conn();
}

Test(conn, pauses_while_too_much_is_unsent) {
    static char large[2000];
    turbo__settings_default(&settings);
    settings.unsent_max_bytes = 1024;
    open_conn();
    int small = 1;
    (void)setsockopt(conn->stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 10; i++)
        give(large);
    (void)turbo__conn_group_turn(&group);
    cr_assert_gt(conn->out.bytes, 1024, "the kernel took it all");
    cr_expect_not(turbo__conn_has_room(conn));
    send_text(GET GET);
    settle();
    cr_expect_eq(seen.ends, 1);
    cr_expect(conn->paused);
    char buf[4096];
    AWAIT((got(buf, sizeof buf), settle(), seen.ends == 2));
    cr_expect_gt(seen.rooms, 0, "streams are told that there is room");
    close_conn();
}

Test(conn, a_hang_up_while_paused_ends_it) {
    turbo__settings_default(&settings);
    settings.pipeline_max = 1;
    open_conn();
    send_text(GET GET);
    settle();
    cr_expect(conn->paused);
    close(peer);
    peer = -1;
    settle();
    cr_expect_null(conn);
    close_conn();
}

/* -- ends -- */

Test(conn, the_clients_end_finishes_behind_what_is_owed) {
    open_conn();
    send_text(GET);
    cr_assert_eq(shutdown(peer, SHUT_WR), 0);
    settle();
    cr_expect_eq(seen.truncated, 0);
    cr_expect_not_null(conn);
    answer("answer");
    settle();
    cr_expect_null(conn);
    expect_got("answer");
    expect_closed();
    close_conn();
}

Test(conn, the_clients_end_inside_a_message_truncates_it) {
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    cr_assert_eq(shutdown(peer, SHUT_WR), 0);
    settle();
    cr_expect_eq(seen.truncated, 1);
    cr_expect_eq(seen.ends, 0);
    cr_expect_null(conn);
    close_conn();
}

Test(conn, on_fin_cancel_ends_it_at_once) {
    turbo__settings_default(&settings);
    settings.on_fin = TURBO__ON_FIN_CANCEL;
    open_conn();
    send_text(GET);
    cr_assert_eq(shutdown(peer, SHUT_WR), 0);
    settle();
    cr_expect_null(conn);
    close_conn();
}

Test(conn, a_layer_that_stops_is_given_nothing_more) {
    seen.stop_at_end = 1;
    open_conn();
    send_text(GET GET);
    settle();
    cr_expect_eq(seen.ends, 1);
    cr_expect(conn->finishing && conn->discarded);
    answer("last");
    settle();
    expect_got("last");
    expect_closed();
    close_conn();
}

/* A close() with unread bytes would reset the connection, and might destroy the answer (RFC 9112 9.6). */
Test(conn, one_that_ends_while_it_is_parsed_begins_no_message_more, .init = open_conn, .fini = close_conn) {
    seen.kill_at_end = 1;
    send_text(GET GET GET);
    settle();
    cr_expect_eq(seen.begins, 1, "%u", seen.begins);
    cr_expect_null(conn);
}

Test(conn, one_that_ends_while_it_is_paused_begins_no_message_more) {
    turbo__settings_default(&settings);
    settings.pipeline_max = 2;
    open_conn();
    send_text(GET GET GET);
    settle();
    cr_assert_eq(seen.begins, 2);
    seen.kill_at_room = 1;
    conn->owed = 0; /* so that it may go on */
    turbo__conn_touch(conn);
    settle();
    cr_expect_eq(seen.begins, 2, "%u", seen.begins);
    cr_expect_null(conn);
    close_conn();
}

Test(conn, lingers_until_the_client_has_read) {
    open_conn();
    send_text(GET);
    settle();
    turbo__conn_finish(conn, 0);
    answer("last");
    settle();
    cr_expect_not_null(conn, "our side has ended, the client's has not");
    send_text("more that nobody wants");
    settle();
    expect_got("last");
    expect_closed();
    cr_assert_eq(shutdown(peer, SHUT_WR), 0);
    settle();
    cr_expect_null(conn);
    close_conn();
}

Test(conn, a_client_that_expects_the_close_gets_it_at_once) {
    open_conn();
    send_text(GET);
    settle();
    turbo__conn_finish(conn, 1);
    answer("last");
    settle();
    cr_expect_null(conn);
    expect_got("last");
    close_conn();
}

Test(conn, drain_closes_idle_connections_and_reads_the_others_once_more) {
    open_conn();
    send_text(GET); /* in the socket, not read yet */
    turbo__conn_group_drain(&group);
    settle();
    cr_expect_eq(seen.heads, 1);
    answer("answer");
    settle();
    expect_got("answer");
    expect_closed();
    close_conn();
}

/* RFC 9112 9.5: the client may be about to send its next request, and no close of ours may meet it. */
Test(conn, drain_leaves_idle_connections_open_for_drain_idle) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = 0;
    settings.drain_idle_ms = 20002;
    open_conn();
    settle();
    conn->mark_ms -= 5000; /* silent for so long before the drain */
    turbo__conn_group_drain(&group);
    settle();
    cr_assert_not_null(conn);
    cr_expect_eq(group.drain_ms, uv_now(&loop));
    cr_expect_eq(conn->deadline.at_ms, group.drain_ms + 20002);
    send_text(GET);
    settle();
    cr_expect_eq(seen.heads, 1);
    cr_expect_eq(conn->deadline.at_ms, 0, "while an answer is owed there is no deadline");
    group.drain_ms -= 30000; /* as if the drain had begun so long ago */
    answer("begun before the drain, so it does not say close");
    settle();
    cr_assert_not_null(conn);
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 20002);
    turbo__conn_finish(conn, 0); /* as the layer above does when it says so */
    turbo__conn_touch(conn);
    settle();
    expect_got("begun before the drain, so it does not say close");
    expect_closed();
    close_conn();
}

Test(conn, in_a_drain_the_idle_timeout_counts_too) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = 10001;
    settings.drain_idle_ms = 20002;
    open_conn();
    turbo__conn_group_drain(&group);
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 10001);
    settings.drain_idle_ms = 3;
    turbo__conn_touch(conn);
    (void)turn();
    cr_expect_eq(conn->deadline.at_ms, group.drain_ms + 3);
    close_conn();
}

Test(conn, a_connection_that_comes_during_a_drain_has_its_time) {
    turbo__settings_default(&settings);
    settings.drain_idle_ms = 20002;
    open_conn();
    group.draining = 1;
    group.drain_ms = uv_now(&loop) - 20002;
    turbo__conn_touch(conn);
    settle();
    cr_assert_not_null(conn);
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 20002);
    close_conn();
}

/* Bytes lie in the socket when the time is over: the loop was busy, and has not seen them. */
static void expect_read_once_more(void) {
    uint64_t over = uv_hrtime() + 1000000 * (2 * TURBO__WHEEL_SLOT_MS + 10);
    settle();
    cr_assert(conn != NULL && seen.begins == 0);
    send_text(GET);
    AWAIT(uv_hrtime() > over);
    settle();
    cr_assert(conn != NULL && seen.heads == 1);
    answer("in time");
    settle();
    expect_got("in time");
}

Test(conn, drain_reads_silent_connections_once_more_when_their_time_is_over) {
    turbo__settings_default(&settings);
    settings.drain_idle_ms = 2;
    open_conn();
    turbo__conn_group_drain(&group);
    expect_read_once_more();
    AWAIT((settle(), conn->shut));
    expect_closed();
    cr_expect_eq(atomic_load(&group.timeouts_idle), 0, "no timeout");
    close_conn();
}

/* -- deadlines: the real clock of the loop, so short ones, and only that they come is tested -- */

Test(conn, an_idle_connection_is_read_once_more_before_it_is_closed) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = 2;
    open_conn();
    expect_read_once_more();
    AWAIT((settle(), atomic_load(&group.timeouts_idle) == 1));
    close_conn();
}

Test(conn, a_slow_head_is_reported_as_408) {
    turbo__settings_default(&settings);
    settings.head_timeout_ms = 1;
    open_conn();
    send_text("GET / HT");
    AWAIT((settle(), seen.status == 408));
    cr_expect_eq(atomic_load(&group.timeouts_head), 1);
    answer("too slow");
    settle();
    expect_got("too slow");
    expect_closed();
    close_conn();
}

/* RFC 9110 9.3.2: also the answer to a HEAD that is refused has no body. */
Test(conn, what_is_refused_is_known_to_be_head_as_soon_as_it_is) {
    static const struct {
        const char *text;
        int asks_head;
    } cases[] = {{"HEAD / HTTP/2.0\r\n", 1}, {"HEAD / HTTP/1.1\r\nHost: \x01", 1}, {"HEAD \x01", 1}, {"HEAD\n", 0},
                 {"HEADER / HTTP/2.0\r\n", 0}, {"head / HTTP/2.0\r\n", 0}, {"GET /HEAD / HTTP/1.1\r\n", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 40; step += 38) { /* byte by byte, and whole */
            memset(&seen, 0, sizeof seen);
            open_conn();
            for (const char *at = cases[i].text; *at != '\0' && seen.status == 0; at += strnlen(at, step)) {
                char piece[41];
                (void)snprintf(piece, sizeof piece, "%.*s", (int)step, at);
                send_text(piece);
                settle();
            }
            if (seen.status == 0) {
                send_text("\r\n\r\n");
                settle();
            }
            cr_expect(seen.status >= 400 && seen.asks_head == cases[i].asks_head, "%s: %d", cases[i].text, seen.status);
            answer("answer");
            settle();
            close_conn();
        }
    }
}

Test(conn, nobody_is_slow_who_waits_to_be_asked) {
    turbo__settings_default(&settings);
    settings.body_stall_timeout_ms = 1;
    open_conn();
    conn->unasked = 1; /* before the head: a moment later its time could be over */
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for (int i = 0; i < 300; i++) {
        (void)await_longer(UINT64_MAX);
        settle();
    }
    cr_expect(conn != NULL && seen.status == 0);
    conn->unasked = 0;
    turbo__conn_touch(conn);
    AWAIT((settle(), seen.status == 408));
    close_conn();
}

Test(conn, a_body_that_stalls_is_reported_as_408) {
    turbo__settings_default(&settings);
    settings.body_stall_timeout_ms = 1;
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    AWAIT((settle(), seen.status == 408));
    cr_expect_eq(atomic_load(&group.timeouts_body), 1);
    close_conn();
}

Test(conn, an_idle_connection_is_closed_without_a_word) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = 1;
    open_conn();
    AWAIT((settle(), atomic_load(&group.timeouts_idle) == 1));
    settle();
    expect_closed();
    cr_expect_eq(seen.status, 0);
    close_conn();
}

/* That the wheel is never early, and how late it may be, is test_timer.c's. */
Test(conn, each_deadline_is_exactly_its_setting_later) {
    static char large[65536];
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = 10001;
    settings.head_timeout_ms = 20002;
    settings.body_stall_timeout_ms = 30003;
    open_conn();
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 10001);
    send_text("POST / HTTP/1.1\r\nHost: a\r\n");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->head_ms + 20002);
    send_text("Content-Length: 2\r\n\r\na");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 30003);
    send_text("b");
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0, "while an answer is owed there is none");
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 40; i++)
        give(large);
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 30003);
    close_conn();
}

Test(conn, a_body_has_to_go_on_and_to_end) {
    turbo__settings_default(&settings);
    settings.body_stall_timeout_ms = 30000;
    settings.body_timeout_ms = 40000;
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->mark_ms + 30000, "the stall comes first");
    conn->head_ms -= 10001; /* it began so long ago, and goes on */
    send_text("b");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->head_ms + 40000, "the end comes first");
    settings.body_stall_timeout_ms = 0;
    send_text("c");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->head_ms + 40000, "the end alone");
    settings.body_timeout_ms = 0;
    send_text("d");
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0);
    close_conn();
}

Test(conn, time_of_a_body_begins_when_it_is_asked_for) {
    turbo__settings_default(&settings);
    settings.body_stall_timeout_ms = 0;
    settings.body_timeout_ms = 40000;
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    settle();
    cr_expect_eq(conn->deadline.at_ms, conn->head_ms + 40000);
    conn->unasked = 1; /* as the layer above says */
    turbo__conn_touch(conn);
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0);
    conn->head_ms -= 50000;
    uint64_t before = conn->head_ms;
    conn->unasked = 0;
    turbo__conn_touch(conn);
    settle();
    cr_expect_geq(conn->head_ms, before + 50000);
    cr_expect_eq(conn->deadline.at_ms, conn->head_ms + 40000);
    close_conn();
}

Test(conn, a_body_that_drips_past_its_time_is_408) {
    turbo__settings_default(&settings);
    settings.body_timeout_ms = 1;
    open_conn();
    send_text("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    AWAIT((settle(), seen.status == 408));
    cr_expect_eq(atomic_load(&group.timeouts_body), 1);
    close_conn();
}

Test(conn, a_timeout_of_0_is_none) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = settings.head_timeout_ms = settings.body_stall_timeout_ms = 0;
    open_conn();
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0);
    send_text("POST / HTTP/1.1\r\nHost: a\r\n");
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0);
    send_text("Content-Length: 2\r\n\r\na");
    settle();
    cr_expect_eq(conn->deadline.at_ms, 0);
    close_conn();
}

Test(conn, a_client_that_takes_no_answer_bytes_is_given_up) {
    static char large[65536];
    turbo__settings_default(&settings);
    settings.body_stall_timeout_ms = 1;
    open_conn();
    memset(large, 'x', sizeof large - 1);
    for (int i = 0; i < 40; i++)
        give(large);
    AWAIT((settle(), conn == NULL));
    cr_expect_eq(atomic_load(&group.timeouts_body), 1);
    close_conn();
}

Test(conn, a_client_that_does_not_end_is_not_waited_for_for_ever) {
    open_conn();
    turbo__conn_finish(conn, 0);
    turbo__conn_touch(conn);
    group.draining = 1; /* 500 ms instead of 2 s */
    settle();
    cr_expect_not_null(conn);
    AWAIT((settle(), conn == NULL));
    close_conn();
}

Test(conn, a_client_that_sends_on_is_not_waited_for_for_ever) {
    open_conn();
    turbo__conn_finish(conn, 0);
    turbo__conn_touch(conn);
    settle();
    cr_assert(conn != NULL && conn->shut);
    conn->mark_ms -= 1000;
    send_text("x");
    settle();
    cr_expect_eq(conn->mark_ms, uv_now(&loop), "what still comes gives it time");
    conn->head_ms -= 29000; /* as if it had gone on for so long */
    conn->mark_ms -= 1000;
    uint64_t before = conn->mark_ms;
    send_text("x");
    settle();
    cr_expect(conn == NULL || conn->mark_ms == before, "but not for ever");
    while (conn != NULL) {
        send_text("x");
        settle();
        (void)await_longer(UINT64_MAX);
    }
    close_conn();
}

Test(conn, while_an_answer_is_owed_there_is_no_deadline) {
    turbo__settings_default(&settings);
    settings.idle_timeout_ms = settings.head_timeout_ms = settings.body_stall_timeout_ms = 1;
    open_conn();
    send_text(GET);
    AWAIT((settle(), seen.ends == 1));
    for (int i = 0; i < 300; i++) {
        (void)await_longer(UINT64_MAX);
        settle();
    }
    cr_expect_not_null(conn);
    close_conn();
}

Test(conn, the_timer_goes_with_the_last_connection) {
    open_conn();
    send_text("GE"); /* arms the timer for the head's deadline */
    settle();
    cr_expect(uv_is_active((uv_handle_t *)&group.wheel_timer));
    close(peer);
    peer = -1;
    settle();
    cr_assert_null(conn);
    cr_expect_not(uv_is_active((uv_handle_t *)&group.wheel_timer), "nobody is left to wake up for");
    close_conn();
}

/* -- memory -- */

Test(conn, group_without_memory) {
    turbo__conn_group other;
    cr_assert_eq(uv_loop_init(&loop), 0);
    turbo__settings_default(&settings);
    for (size_t nth = 1; nth <= 2; nth++) {
        other = (turbo__conn_group){0};
        failing_alloc_arm(nth);
        cr_expect_eq(turbo__conn_group_open(&other, &loop, &events, &settings), TURBO_ENOMEM);
        cr_expect(failing_alloc_disarm());
        turbo__conn_group_close(&other);
        uv_run(&loop, UV_RUN_DEFAULT);
        turbo__conn_group_free(&other);
    }
    cr_expect_eq(uv_loop_close(&loop), 0);
    cr_expect_not(failing_alloc_leaks());
}

Test(conn, without_memory_for_a_parser_the_connection_ends) {
    open_conn();
    send_text(GET);
    failing_alloc_arm(1);
    settle();
    cr_expect(failing_alloc_disarm());
    cr_expect_null(conn);
    close_conn();
}
