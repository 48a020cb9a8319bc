/* one_conn.c - one connection over a socket pair, below a layer that notes what it is told. */
#include "one_conn.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "await.h"
#include "failing_alloc.h"
#include "mem.h"

struct one_conn one;

static void on_begin(turbo__conn *c) { (void)c, one.seen.begins++; }

static int on_head(turbo__conn *c, const turbo__h1_head *head) {
    (void)head;
    c->owed++;
    one.seen.heads++;
    return 0;
}

static int on_chunk(turbo__conn *c, uint64_t size) {
    (void)c;
    one.seen.announced += size;
    return 0;
}

static int on_body(turbo__conn *c, const char *data, size_t len) {
    (void)c;
    if (one.seen.body_len + len <= sizeof one.seen.body)
        memcpy(one.seen.body + one.seen.body_len, data, len);
    one.seen.body_len += len;
    return 0;
}

static int on_trailer(turbo__conn *c, turbo_str name, turbo_str value) {
    (void)c;
    cr_expect(name.len == 1 && name.data[0] == 'A');
    cr_expect(value.len == 1 && value.data[0] == 'b');
    one.seen.trailers++;
    return 0;
}

static int on_end(turbo__conn *c) {
    one.seen.ends++;
    if (one.seen.stop_at_end)
        turbo__conn_finish(c, 1);
    if (one.seen.kill_at_end)
        turbo__conn_kill(c);
    return one.seen.stop_at_end;
}

static void on_error(turbo__conn *c, int status, const char *reason, int asks_head) {
    cr_expect_not_null(reason);
    one.seen.asks_head = asks_head;
    c->owed += one.seen.begins > one.seen.heads; /* a message whose head was not reported is owed an answer from now on */
    one.seen.status = status;
}

static void on_truncated(turbo__conn *c) {
    one.seen.truncated++;
    c->owed = 0;
}

static void on_fin(turbo__conn *c) {
    (void)c;
    one.seen.fins++;
}

static void on_room(turbo__conn *c) {
    one.seen.rooms++;
    if (one.seen.kill_at_room)
        turbo__conn_kill(c);
}

static void on_gone(turbo__conn *c) {
    cr_expect_eq(c, one.conn);
    one.seen.gones++;
    one.conn = NULL;
}

const turbo__conn_events one_conn_events = {on_begin, on_head,      on_chunk, on_body, on_trailer, on_end,
                                            on_error, on_truncated, on_fin,   on_room, on_gone};

void one_conn_open(void) {
    int fds[2];
    cr_assert_eq(uv_loop_init(&one.loop), 0);
    if (one.settings.pipeline_max == 0)
        turbo__settings_default(&one.settings);
    cr_assert_eq(turbo__conn_group_open(&one.group, &one.loop, &one_conn_events, &one.settings), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    one.conn = turbo__calloc(1, sizeof *one.conn);
    cr_assert_not_null(one.conn);
    cr_assert_eq(turbo__conn_open(one.conn, &one.group, fds[0]), 0);
    one.peer = fds[1];
}

void one_conn_close(void) {
    turbo__conn_group_kill(&one.group);
    (void)turbo__conn_group_turn(&one.group);
    turbo__conn_group_close(&one.group);
    uv_run(&one.loop, UV_RUN_DEFAULT);
    turbo__conn_group_free(&one.group);
    (void)uv_loop_close(&one.loop);
    if (one.peer >= 0)
        close(one.peer);
    cr_expect_eq(one.seen.gones, 1, "gone is told exactly once");
    cr_expect_not(failing_alloc_leaks());
}

int one_conn_turn(void) {
    uv_run(&one.loop, UV_RUN_NOWAIT);
    return turbo__conn_group_turn(&one.group);
}

void one_conn_settle(void) {
    (void)one_conn_turn(); /* the next pass sees what this one made ready */
    while (one_conn_turn()) {
    }
}

void one_conn_send(const char *text) { cr_assert_eq(write(one.peer, text, strlen(text)), (ssize_t)strlen(text)); }

void one_conn_give(const char *text) {
    cr_assert_eq(turbo__outq_copy(&one.conn->out, &one.group.outpool, text, strlen(text)), 0);
    turbo__conn_touch(one.conn);
}

void one_conn_answer(const char *text) {
    one.conn->owed--;
    one_conn_give(text);
}

ssize_t one_conn_got(char *out, size_t size) {
    ssize_t n = read(one.peer, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

void one_conn_expect_got(const char *text) {
    char buf[256];
    (void)one_conn_got(buf, sizeof buf);
    cr_expect_str_eq(buf, text);
}

void one_conn_expect_closed(void) {
    char buf[16];
    cr_expect_eq(one_conn_got(buf, sizeof buf), 0);
}

void one_conn_expect_read_once_more(uint64_t idle_ms) {
    uint64_t over = uv_hrtime() + 1000000 * (idle_ms + 2 * TURBO__WHEEL_SLOT_MS + 10);
    one_conn_settle();
    cr_assert(one.conn != NULL && one.seen.begins == 0);
    one_conn_send(GET);
    AWAIT(uv_hrtime() > over);
    one_conn_settle();
    cr_assert(one.conn != NULL && one.seen.heads == 1);
    one_conn_answer("in time");
    one_conn_settle();
    one_conn_expect_got("in time");
}
