/* test_os.c - what differs between systems (os/linux.c). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity, pthread_getname_np */
#endif
#include "os/os.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "turbo/error.h"

TestSuite(os, .timeout = 10);

static int is_readable(int fd, int timeout_ms) {
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    return poll(&watch, 1, timeout_ms) == 1 && (watch.revents & POLLIN) != 0;
}

Test(os, cpu_count_is_what_the_process_may_use) {
    cpu_set_t one;
    uint64_t all = turbo__os_cpu_count();
    cr_expect_geq(all, 1);
    cr_expect_leq(all, (uint64_t)sysconf(_SC_NPROCESSORS_CONF));
    CPU_ZERO(&one);
    cr_assert_geq(sched_getcpu(), 0);
    CPU_SET((size_t)sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_expect_eq(turbo__os_cpu_count(), 1);
}

Test(os, thread_name_is_cut_to_what_the_system_takes) {
    char name[32];
    turbo__os_thread_name("short");
    cr_assert_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    cr_expect_str_eq(name, "short");
    turbo__os_thread_name("turbo-shard-12345678");
    cr_assert_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    cr_expect_str_eq(name, "turbo-shard-123");
}

/* ---- events ---- */

Test(os, event_is_readable_from_signal_to_clear) {
    int fd;
    cr_assert_eq(turbo__os_event_open(&fd), 0);
    cr_expect_not(is_readable(fd, 0));
    cr_expect_eq(turbo__os_event_clear(fd), 0);
    turbo__os_event_signal(fd);
    turbo__os_event_signal(fd);
    cr_expect(is_readable(fd, 0));
    cr_expect_eq(turbo__os_event_clear(fd), 1);
    cr_expect_not(is_readable(fd, 0));
    cr_expect_eq(turbo__os_event_clear(fd), 0);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    turbo__os_event_close(fd);
    cr_expect_eq(fcntl(fd, F_GETFD), -1);
    turbo__os_event_close(-1);
}

Test(os, nothing_opens_without_descriptors) {
    struct rlimit old;
    int fd = -7;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {0, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int event = turbo__os_event_open(&fd), pollset = turbo__os_pollset_open(&fd);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    cr_expect_eq(event, TURBO_EMFILE);
    cr_expect_eq(pollset, TURBO_EMFILE);
    cr_expect_eq(fd, -7);
}

/* ---- accept ---- */

static int listener(struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)address, sizeof *address), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}

Test(os, accepted_socket_does_not_block_and_is_not_inherited) {
    struct sockaddr_in address;
    struct sockaddr_storage peer;
    int fd = listener(&address);
    cr_expect_eq(turbo__os_accept(fd, &peer), TURBO_EAGAIN);
    int client = connect_to(&address);
    cr_assert(is_readable(fd, 5000));
    int server = turbo__os_accept(fd, &peer);
    cr_assert_geq(server, 0);
    cr_expect_eq(peer.ss_family, AF_INET);
    cr_expect(fcntl(server, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(server, F_GETFD) & FD_CLOEXEC);
    close(server);
    close(client);
    close(fd);
}

Test(os, unix_client_has_the_family_unix) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr_storage peer;
    socklen_t len = sizeof address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address.sun_family), 0); /* the system finds a name */
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&address, len), 0);
    int server = turbo__os_accept(fd, &peer);
    cr_assert_geq(server, 0);
    cr_expect_eq(peer.ss_family, AF_UNIX);
    close(server);
    close(client);
    close(fd);
}

Test(os, accept_without_descriptors_says_so_and_works_again_later) {
    struct sockaddr_in address;
    struct sockaddr_storage peer;
    struct rlimit old;
    int fd = listener(&address), client = connect_to(&address);
    cr_assert(is_readable(fd, 5000));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {0, old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = turbo__os_accept(fd, &peer);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    cr_expect_eq(rc, TURBO_EMFILE);
    int server = turbo__os_accept(fd, &peer);
    cr_expect_geq(server, 0);
    close(server);
    close(client);
    close(fd);
}

Test(os, accept_on_what_does_not_listen_is_a_system_error) {
    struct sockaddr_storage peer;
    int pair[2], plain = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(pipe(pair), 0);
    cr_expect_eq(turbo__os_accept(-1, &peer), TURBO_ESYS);
    cr_expect_eq(turbo__os_accept(pair[0], &peer), TURBO_ESYS);
    cr_expect_eq(turbo__os_accept(plain, &peer), TURBO_ESYS);
    close(plain);
}

/* ---- poll sets ---- */

static uint32_t take_one(int set, void *expected_user) {
    turbo__ready ready[4];
    int n = turbo__os_pollset_take(set, ready, 4);
    cr_assert_leq(n, 1);
    if (n == 1)
        cr_expect_eq(ready[0].user, expected_user);
    return n == 1 ? ready[0].what : 0;
}

Test(os, pollset_tells_each_change_once) {
    int set, pair[2], user;
    cr_assert_eq(turbo__os_pollset_open(&set), 0);
    cr_expect(fcntl(set, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    cr_assert_eq(turbo__os_pollset_add(set, pair[0], &user), 0);
    cr_expect(is_readable(set, 0));
    cr_expect_eq(take_one(set, &user), TURBO__READY_WRITE);
    cr_expect_eq(take_one(set, &user), 0);
    cr_expect_not(is_readable(set, 0));
    cr_assert_eq(write(pair[1], "x", 1), 1);
    cr_expect(is_readable(set, 0));
    cr_expect_eq(take_one(set, &user) & TURBO__READY_READ, TURBO__READY_READ);
    cr_expect_eq(take_one(set, &user), 0);
    cr_assert_eq(shutdown(pair[1], SHUT_WR), 0);
    uint32_t what = take_one(set, &user);
    cr_expect(what & TURBO__READY_FIN);
    cr_expect_not(what & TURBO__READY_HUP);
    close(pair[1]);
    cr_expect(take_one(set, &user) & TURBO__READY_HUP);
    turbo__os_pollset_remove(set, pair[0]);
    close(pair[0]);
    turbo__os_pollset_close(set);
    turbo__os_pollset_close(-1);
}

Test(os, removed_socket_is_not_told_of) {
    int set, pair[2], user;
    cr_assert_eq(turbo__os_pollset_open(&set), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(turbo__os_pollset_add(set, pair[0], &user), 0);
    turbo__os_pollset_remove(set, pair[0]);
    cr_assert_eq(write(pair[1], "x", 1), 1);
    cr_expect_eq(take_one(set, &user), 0);
    close(pair[0]);
    close(pair[1]);
    turbo__os_pollset_close(set);
}

Test(os, take_fills_the_places_it_is_given_and_keeps_the_rest) {
    enum { COUNT = 300 };
    int set, pairs[COUNT][2];
    turbo__ready ready[COUNT];
    cr_assert_eq(turbo__os_pollset_open(&set), 0);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        cr_assert_eq(turbo__os_pollset_add(set, pairs[i][0], pairs[i]), 0);
    }
    cr_expect_eq(turbo__os_pollset_take(set, ready, 10), 10);
    int rest = 0, n;
    while ((n = turbo__os_pollset_take(set, ready, COUNT)) > 0)
        rest += n;
    cr_expect_eq(rest, COUNT - 10);
    for (int i = 0; i < COUNT; i++) {
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    turbo__os_pollset_close(set);
}

Test(os, pollset_reports_what_cannot_be_watched) {
    int set, user;
    turbo__ready ready[1];
    cr_assert_eq(turbo__os_pollset_open(&set), 0);
    cr_expect_eq(turbo__os_pollset_add(set, -1, &user), TURBO_ESYS);
    cr_expect_eq(turbo__os_pollset_take(-1, ready, 1), 0);
    turbo__os_pollset_close(set);
}

struct translation {
    int err, code;
};

Test(os, errors_are_translated) {
    static const struct translation table[] = {
        {0, 0}, {ENOMEM, TURBO_ENOMEM}, {ENOBUFS, TURBO_ENOMEM}, {EMFILE, TURBO_EMFILE}, {ENFILE, TURBO_EMFILE},
        {EACCES, TURBO_EACCES}, {EPERM, TURBO_EACCES}, {EADDRINUSE, TURBO_EADDRINUSE}, {EADDRNOTAVAIL, TURBO_EADDR},
        {EAFNOSUPPORT, TURBO_EADDR}, {EINVAL, TURBO_EADDR}, {ENOENT, TURBO_EADDR}, {ENOTDIR, TURBO_EADDR},
        {ENAMETOOLONG, TURBO_EADDR}, {EIO, TURBO_ESYS}, {EBADF, TURBO_ESYS}, {-1, TURBO_ESYS},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(turbo__os_error(table[i].err), table[i].code, "%s", strerror(table[i].err));
}

/* ---- files ---- */

static void pair_of_sockets(int fds[2]) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

Test(os, sendfile_sends_from_an_offset_and_says_how_much) {
    int fds[2];
    char got[16] = "";
    FILE *file = tmpfile();
    cr_assert_not_null(file);
    cr_assert_eq(fwrite("0123456789", 1, 10, file), 10);
    cr_assert_eq(fflush(file), 0);
    pair_of_sockets(fds);
    cr_expect_eq(turbo__os_sendfile(fds[0], fileno(file), 3, 4), 4);
    cr_expect_eq(recv(fds[1], got, sizeof got, 0), 4);
    cr_expect_str_eq(got, "3456");
    cr_expect_eq(turbo__os_sendfile(fds[0], fileno(file), 8, 100), 2, "what there is");
    cr_expect_eq(turbo__os_sendfile(fds[0], fileno(file), 10, 100), 0, "nothing");
    cr_expect_eq(turbo__os_sendfile(fds[0], fds[1], 0, 1), TURBO_ESYS, "no file");
    cr_assert_eq(ftruncate(fileno(file), 4 << 20), 0);
    ssize_t n, sent = 0;
    while ((n = turbo__os_sendfile(fds[0], fileno(file), 0, 4 << 20)) > 0)
        sent += n;
    cr_expect(n == TURBO_EAGAIN && sent > 0);
    close(fds[1]);
    cr_expect_eq(turbo__os_sendfile(fds[0], fileno(file), 0, 10), TURBO_ECLOSED, "and no SIGPIPE");
    close(fds[0]);
    fclose(file);
}

/* One that was pending before is not taken away. */
Test(os, sendfile_leaves_a_signal_of_others_alone) {
    sigset_t pipe_only, pending;
    int fds[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL), 0);
    for (int raised = 0; raised < 2; raised++) {
        pair_of_sockets(fds);
        close(fds[1]);
        if (raised)
            cr_assert_eq(pthread_kill(pthread_self(), SIGPIPE), 0);
        cr_expect_eq(turbo__os_sendfile(fds[0], file, 0, 10), TURBO_ECLOSED);
        cr_assert_eq(sigpending(&pending), 0);
        cr_expect_eq(sigismember(&pending, SIGPIPE), raised);
        close(fds[0]);
    }
    close(file);
}

Test(os, random_bytes_differ) {
    unsigned char a[16] = {0}, b[16] = {0};
    cr_expect_eq(turbo__os_random(a, sizeof a), 0);
    cr_expect_eq(turbo__os_random(b, sizeof b), 0);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
}

Test(os, beneath_a_root_by_both_ways) {
    char root[] = "/tmp/turbo-os-XXXXXX", path[64], name[300];
    int dir, fd;
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/d", root);
    cr_assert_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/d/a", root);
    cr_assert_eq((fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644)) >= 0, 1);
    close(fd);
    cr_assert_eq(turbo__os_root_open(&dir, root), 0);
    memset(name, 'x', sizeof name);
    name[299] = '\0';
    for (int steps = 0; steps < 2; steps++) {
        static const char *const none[] = {"..", "../", "/", "/etc/passwd", "d/../../etc/passwd", "b", "d/b", "d/a/b"};
        turbo__os_beneath_by_steps(steps);
        cr_assert_eq(turbo__os_file_open_beneath(&fd, dir, "d/a"), 0);
        cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
        cr_assert_eq(turbo__os_file_open_beneath(&fd, dir, "d"), 0, "a directory may be opened");
        close(fd);
        for (size_t i = 0; i < sizeof none / sizeof *none; i++)
            cr_expect_eq(turbo__os_file_open_beneath(&fd, dir, none[i]), TURBO_ENOENT, "%d %s", steps, none[i]);
        cr_expect_eq(turbo__os_file_open_beneath(&fd, dir, name), TURBO_ENOENT);
    }
    close(dir);
    cr_expect_eq(turbo__os_root_open(&dir, path), TURBO_ENOENT, "a file is no root");
    cr_expect_eq(unlink(path), 0);
    snprintf(path, sizeof path, "%s/d", root);
    cr_expect_eq(rmdir(path), 0);
    cr_expect_eq(rmdir(root), 0);
}
