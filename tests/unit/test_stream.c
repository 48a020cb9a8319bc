/* test_stream.c - connected sockets in a poll set of their own, over a socket pair. */
#include "stream.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../support/await.h"
#include "list.h"
#include "turbo/error.h"

TestSuite(stream, .timeout = 30);

/* A stream that remembers what was reported, and its peer. */
typedef struct end {
    turbo__stream stream;
    int peer;
    uint32_t seen;
    unsigned reports;
    struct end *closes; /* is closed by this one's report */
} end;

static uv_loop_t loop;
static turbo__stream_set set;

static void on_ready(turbo__stream *stream, uint32_t what) {
    end *e = TURBO__CONTAINER(stream, end, stream);
    e->seen |= what;
    e->reports++;
    if (e->closes != NULL)
        turbo__stream_close(&e->closes->stream, &set);
}

static void open_set(void) {
    set = (turbo__stream_set){0};
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(turbo__stream_set_open(&set, &loop, on_ready), 0);
}

static void close_set(void) {
    turbo__stream_set_close(&set);
    turbo__stream_set_close(&set); /* the second does nothing */
    uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
}

static void turn(void) { uv_run(&loop, UV_RUN_NOWAIT); }

static void open_end(end *e) {
    int fds[2];
    *e = (end){.peer = -1};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    cr_assert_eq(turbo__stream_open(&e->stream, &set, fds[0]), 0);
    e->peer = fds[1];
    turn(); /* room to write is reported at first */
    e->seen = 0;
    e->reports = 0;
}

static void close_end(end *e) {
    turbo__stream_close(&e->stream, &set);
    if (e->peer >= 0)
        close(e->peer);
}

Test(stream, reports_bytes_and_reads_them, .init = open_set, .fini = close_set) {
    end e;
    char buf[16];
    open_end(&e);
    cr_expect_not(e.stream.readable);
    cr_expect_eq(turbo__stream_read(&e.stream, buf, sizeof buf), TURBO_EAGAIN);
    cr_expect_eq(write(e.peer, "abc", 3), 3);
    turn();
    cr_expect(e.seen & TURBO__READY_READ);
    cr_expect(e.stream.readable);
    cr_expect_eq(turbo__stream_read(&e.stream, buf, sizeof buf), 3);
    cr_expect_not(e.stream.readable, "less than was asked for: the socket is empty");
    close_end(&e);
}

Test(stream, stays_readable_while_reads_are_full, .init = open_set, .fini = close_set) {
    end e;
    char buf[2];
    open_end(&e);
    cr_expect_eq(write(e.peer, "abc", 3), 3);
    turn();
    cr_expect_eq(turbo__stream_read(&e.stream, buf, 2), 2);
    cr_expect(e.stream.readable);
    cr_expect_eq(turbo__stream_read(&e.stream, buf, 2), 1);
    cr_expect_not(e.stream.readable);
    close_end(&e);
}

Test(stream, is_silent_while_nothing_happens, .init = open_set, .fini = close_set) {
    end e;
    open_end(&e);
    cr_expect_eq(write(e.peer, "abc", 3), 3);
    turn();
    unsigned reports = e.reports;
    turn();
    turn();
    cr_expect_eq(e.reports, reports, "unread bytes are reported once");
    close_end(&e);
}

Test(stream, end_of_the_peers_side_comes_behind_its_bytes, .init = open_set, .fini = close_set) {
    end e;
    char buf[16];
    open_end(&e);
    cr_expect_eq(write(e.peer, "abc", 3), 3);
    cr_expect_eq(shutdown(e.peer, SHUT_WR), 0);
    turn();
    cr_expect(e.stream.fin);
    cr_expect_eq(turbo__stream_read(&e.stream, buf, sizeof buf), 3);
    cr_expect(e.stream.readable, "the end is still to be read");
    cr_expect_eq(turbo__stream_read(&e.stream, buf, sizeof buf), 0);
    struct iovec iov = {.iov_base = buf, .iov_len = 3};
    cr_expect_eq(turbo__stream_write(&e.stream, &iov, 1, 0), 3, "a half-closed peer still reads");
    close_end(&e);
}

Test(stream, hang_up_is_seen_without_reading, .init = open_set, .fini = close_set) {
    end e;
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    open_end(&e);
    close(e.peer);
    e.peer = -1;
    turn();
    cr_expect(e.stream.hup);
    cr_expect(e.seen & TURBO__READY_HUP);
    cr_expect_eq(turbo__stream_write(&e.stream, &iov, 1, 0), TURBO_ECLOSED);
    close_end(&e);
}

Test(stream, full_socket_blocks_until_there_is_room, .init = open_set, .fini = close_set) {
    static char data[65536], drain[65536];
    struct iovec iov[2] = {{.iov_base = data, .iov_len = 30000}, {.iov_base = data, .iov_len = 30000}};
    end e;
    ssize_t n;
    size_t sent = 0;
    open_end(&e);
    cr_expect_gt(turbo__stream_write(&e.stream, iov, 2, 0), 30000, "both pieces in one call");
    while ((n = turbo__stream_write(&e.stream, iov, 1, 0)) > 0)
        sent += (size_t)n;
    cr_expect_eq(n, TURBO_EAGAIN);
    cr_expect(e.stream.blocked);
    turn();
    e.seen = 0;
    while (read(e.peer, drain, sizeof drain) > 0) {
    }
    turn();
    cr_expect(e.seen & TURBO__READY_WRITE);
    cr_expect_not(e.stream.blocked);
    cr_expect_gt(turbo__stream_write(&e.stream, iov, 1, 0), 0);
    close_end(&e);
}

Test(stream, what_is_ready_is_reported_again_when_asked_for, .init = open_set, .fini = close_set) {
    end e;
    open_end(&e);
    turn();
    cr_expect_eq(e.reports, 0);
    e.stream.blocked = 1; /* as behind a write that the kernel had no memory for */
    turbo__stream_again(&e.stream, &set);
    turn();
    cr_expect_eq(e.seen, TURBO__READY_WRITE);
    cr_expect_eq(e.stream.blocked, 0);
    turn();
    cr_expect_eq(e.reports, 1);
    close_end(&e);
}

Test(stream, shutdown_ends_our_side_behind_what_was_written, .init = open_set, .fini = close_set) {
    end e;
    char buf[8];
    struct iovec iov = {.iov_base = buf, .iov_len = 3};
    memcpy(buf, "abc", 3);
    open_end(&e);
    cr_expect_eq(turbo__stream_write(&e.stream, &iov, 1, 0), 3);
    turbo__stream_shutdown(&e.stream);
    cr_expect_eq(read(e.peer, buf, sizeof buf), 3);
    cr_expect_eq(read(e.peer, buf, sizeof buf), 0);
    close_end(&e);
}

Test(stream, one_closed_by_another_in_the_same_round_is_not_called, .init = open_set, .fini = close_set) {
    end a, b;
    open_end(&a);
    open_end(&b);
    a.closes = &b;
    b.closes = &a;
    cr_expect_eq(write(a.peer, "x", 1), 1);
    cr_expect_eq(write(b.peer, "x", 1), 1);
    turn();
    cr_expect_eq(a.reports + b.reports, 1);
    turbo__stream_close(&a.stream, &set); /* of the closed one it does nothing */
    turbo__stream_close(&b.stream, &set);
    close(a.peer);
    close(b.peer);
}

Test(stream, what_is_no_socket_is_refused, .init = open_set, .fini = close_set) {
    turbo__stream stream = {.fd = -1};
    cr_expect_lt(turbo__stream_open(&stream, &set, -1), 0);
    int file = open("/dev/null", O_RDONLY);
    cr_expect_lt(turbo__stream_open(&stream, &set, file), 0);
    cr_expect_geq(fcntl(file, F_GETFD), 0, "it stays the caller's");
    close(file);
}
