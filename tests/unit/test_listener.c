/* test_listener.c - bind and listen. */
#include "listener.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/failing_alloc.h"
#include "turbo/error.h"

TestSuite(listener, .timeout = 30);

static char err[256];

static turbo__listener *open_on(const char *address, size_t spread) {
    turbo__listener *list = NULL;
    cr_assert_eq(turbo__listener_open(&list, address, 8, spread, err, sizeof err), 0, "%s: %s", address, err);
    return list;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    (void)getsockopt(fd, level, name, &value, &len);
    return value;
}

static int family(int fd) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    (void)getsockname(fd, (struct sockaddr *)&address, &len);
    return address.ss_family;
}

static int can_connect(uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
    return rc == 0;
}

/* What the system does for a connection that says nothing; accepted sockets inherit it. */
Test(listener, probes_are_what_connections_inherit) {
    turbo__listener *list = open_on("127.0.0.1:0", 2);
    cr_expect_eq(option(list->fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    turbo__listener_probe(list, 0);
    cr_expect_eq(option(list->fd, SOL_SOCKET, SO_KEEPALIVE), 0, "0 leaves it as it is");
    turbo__listener_probe(list, 10);
    for (const turbo__listener *one = list; one != NULL; one = one->next) {
        cr_expect_eq(option(one->fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        cr_expect_eq(option(one->fd, IPPROTO_TCP, TCP_KEEPIDLE), 10);
        cr_expect_eq(option(one->fd, IPPROTO_TCP, TCP_KEEPINTVL) * option(one->fd, IPPROTO_TCP, TCP_KEEPCNT), 12,
                     "the idle time once more, in whole probes");
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(list->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = socket(AF_INET, SOCK_STREAM, 0), fd = -1;
    cr_assert_eq(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    for (const turbo__listener *one = list; one != NULL && fd < 0; one = one->next)
        fd = accept(one->fd, NULL, NULL);
    cr_assert_geq(fd, 0);
    cr_expect_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 10);
    close(fd);
    close(client);
    turbo__listener_free(list);
}

Test(listener, port_0_finds_a_free_port_that_accepts) {
    turbo__listener *list = open_on("127.0.0.1:0", 1);
    cr_expect_null(list->next);
    cr_expect_gt(list->port, 0);
    cr_expect_eq(list->group, 0);
    cr_expect(can_connect(list->port));
    cr_expect_eq(option(list->fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    cr_expect_eq(option(list->fd, SOL_SOCKET, SO_REUSEPORT), 0);
    cr_expect(fcntl(list->fd, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(list->fd, F_GETFD) & FD_CLOEXEC);
    uint16_t port = list->port;
    turbo__listener_free(list);
    cr_expect_not(can_connect(port));
}

/* What the system counts and what it holds at most, of a listening socket. */
static struct tcp_info queue_of(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info;
}

Test(listener, the_system_holds_backlog_connections) {
    for (int backlog = 1; backlog <= 3; backlog++) {
        turbo__listener *list = NULL;
        cr_assert_eq(turbo__listener_open(&list, "127.0.0.1:0", backlog, 1, err, sizeof err), 0, "%s", err);
        cr_expect_eq(queue_of(list->fd).tcpi_sacked, (uint32_t)backlog);
        cr_expect(can_connect(list->port));
        cr_expect_eq(queue_of(list->fd).tcpi_unacked, 1, "it waits to be accepted");
        turbo__listener_free(list);
    }
}

Test(listener, spread_makes_sockets_that_share_a_port) {
    turbo__listener *list = open_on("127.0.0.1:0", 3);
    size_t n = 0;
    for (turbo__listener *l = list; l != NULL; l = l->next, n++) {
        cr_expect_eq(l->port, list->port);
        cr_expect_eq(l->group, 1);
        cr_expect_eq(option(l->fd, SOL_SOCKET, SO_REUSEPORT), 1);
    }
    cr_expect_eq(n, 3);
    turbo__listener_free(list);
}

Test(listener, a_port_in_use_is_not_shared_by_mistake) {
    turbo__listener *list = open_on("127.0.0.1:0", 2), *second = NULL;
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)list->port);
    cr_expect_eq(turbo__listener_open(&second, address, 8, 1, err, sizeof err), TURBO_EADDRINUSE);
    cr_expect_eq(turbo__listener_open(&second, address, 8, 2, err, sizeof err), TURBO_EADDRINUSE);
    cr_expect_not_null(strstr(err, address));
    cr_expect_null(second);
    turbo__listener_free(list);
}

Test(listener, every_interface_and_every_address_of_a_name) {
    turbo__listener *any = open_on(":0", 1), *name = open_on("localhost:0", 1);
    cr_expect(can_connect(any->port), "IPv4 reaches the socket for both");
    for (turbo__listener *l = name; l != NULL; l = l->next)
        cr_expect_eq(l->port, name->port, "all addresses of a name get one port");
    turbo__listener_free(any);
    turbo__listener_free(name);
}

Test(listener, ipv6_in_brackets) {
    turbo__listener *list = NULL;
    int rc = turbo__listener_open(&list, "[::1]:0", 8, 1, err, sizeof err);
    if (rc == TURBO_EADDR)
        cr_skip_test("no IPv6 here: %s", err);
    cr_assert_eq(rc, 0);
    cr_expect_eq(family(list->fd), AF_INET6);
    cr_expect_eq(option(list->fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    cr_expect_gt(list->port, 0);
    turbo__listener_free(list);
}

Test(listener, addresses_that_are_none) {
    static const char *const bad[] = {"",        ":",         "a",          "a:",        "a:b",       "127.0.0.1:65536",
                                      "::1:80",  "1.2.3.4:-1", "1.2.3.4: 1", "unix:",     "host.invalid:1"};
    turbo__listener *list = NULL;
    char host[400];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err[0] = '\0';
        cr_expect_eq(turbo__listener_open(&list, bad[i], 8, 1, err, sizeof err), TURBO_EADDR, "\"%s\"", bad[i]);
        cr_expect_str_not_empty(err);
    }
    memset(host, 'h', sizeof host);
    strcpy(host + sizeof host - 3, ":1");
    cr_expect_eq(turbo__listener_open(&list, host, 8, 1, err, sizeof err), TURBO_EADDR);
    cr_expect_null(list);
}

/* -- unix -- */

static char dir[] = "/tmp/turbo-listener-XXXXXX", path[64], address[80];

static void make_dir(void) {
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(address, sizeof address, "unix:%s", path);
}

static void remove_dir(void) {
    unlink(path);
    rmdir(dir);
}

Test(listener, unix_socket_file_goes_with_the_listener, .init = make_dir, .fini = remove_dir) {
    struct stat info;
    turbo__listener *list = open_on(address, 3);
    cr_expect_null(list->next, "there is nothing to share");
    cr_expect_eq(list->port, 0);
    cr_expect_eq(family(list->fd), AF_UNIX);
    cr_expect(stat(path, &info) == 0 && S_ISSOCK(info.st_mode));
    turbo__listener_free(list);
    cr_expect_neq(stat(path, &info), 0);
}

Test(listener, stale_unix_socket_is_replaced_and_a_live_one_is_not, .init = make_dir, .fini = remove_dir) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    turbo__listener *second = NULL;
    strcpy(to.sun_path, path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(dead, (struct sockaddr *)&to, sizeof to), 0);
    close(dead); /* leaves its file */
    turbo__listener *list = open_on(address, 1);
    cr_expect_eq(turbo__listener_open(&second, address, 8, 1, err, sizeof err), TURBO_EADDRINUSE);
    cr_expect_not_null(strstr(err, path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_expect_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "the first one still listens");
    close(fd);
    turbo__listener_free(list);
}

Test(listener, a_file_that_is_no_socket_is_left_alone, .init = make_dir, .fini = remove_dir) {
    turbo__listener *list = NULL;
    struct stat info;
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    cr_expect_eq(turbo__listener_open(&list, address, 8, 1, err, sizeof err), TURBO_EADDRINUSE);
    cr_expect(stat(path, &info) == 0 && S_ISREG(info.st_mode));
}

static const struct refused {
    const char *address;
    int rc;
    const char *text;
} refused[] = {
    {"localhost:99999", TURBO_EADDR, "\"localhost:99999\": the port is out of range 0..65535"},
    {":65536", TURBO_EADDR, "\":65536\": the port is out of range 0..65535"},
    {"a:99999999999999999999999", TURBO_EADDR, "\"a:99999999999999999999999\": the port is out of range 0..65535"},
    {"localhost", TURBO_EADDR, "\"localhost\": no address: expected host:port or unix:/path"},
    {"localhost:", TURBO_EADDR, "\"localhost:\": no address: expected host:port or unix:/path"},
    {"localhost:80a", TURBO_EADDR, "\"localhost:80a\": no address: expected host:port or unix:/path"},
    {"unix:/nonexistent/x.sock", TURBO_EADDR, "cannot listen on unix:/nonexistent/x.sock: no such file or directory"},
    {"unix:/dev/null/x.sock", TURBO_EADDR, "cannot listen on unix:/dev/null/x.sock: not a directory"},
    {"192.0.2.1:0", TURBO_EADDR, "cannot listen on 192.0.2.1:0: address not available"},
};

Test(listener, errors_name_the_cause) {
    turbo__listener *list = NULL;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        cr_expect_eq(turbo__listener_open(&list, refused[i].address, 8, 1, err, sizeof err), refused[i].rc);
        cr_expect_str_eq(err, refused[i].text);
    }
    cr_expect_null(list);
}

Test(listener, errors_of_what_is_in_use_name_the_cause, .init = make_dir, .fini = remove_dir) {
    turbo__listener *list = open_on("127.0.0.1:0", 1), *named = open_on(address, 1), *second = NULL;
    char port[64];
    snprintf(port, sizeof port, "127.0.0.1:%u", (unsigned)list->port);
    for (size_t spread = 1; spread <= 2; spread++) {
        cr_expect_eq(turbo__listener_open(&second, port, 8, spread, err, sizeof err), TURBO_EADDRINUSE);
        cr_expect_not_null(strstr(err, ": address already in use"), "%s", err);
    }
    cr_expect_eq(turbo__listener_open(&second, address, 8, 1, err, sizeof err), TURBO_EADDRINUSE);
    cr_expect_not_null(strstr(err, ": address already in use"), "%s", err);
    turbo__listener_free(list);
    turbo__listener_free(named);
}

Test(listener, long_addresses_leave_room_for_the_cause) {
    char address_of_port[400], path_too_long[400] = "unix:/";
    turbo__listener *list = NULL;
    memset(address_of_port, 'h', 390);
    strcpy(address_of_port + 390, ":1");
    memset(path_too_long + 6, 'p', 390);
    cr_expect_eq(turbo__listener_open(&list, address_of_port, 8, 1, err, sizeof err), TURBO_EADDR);
    cr_expect_not_null(strstr(err, "host name too long"), "%s", err);
    cr_expect_eq(turbo__listener_open(&list, path_too_long, 8, 1, err, sizeof err), TURBO_EADDR);
    cr_expect_not_null(strstr(err, "bytes is expected"), "%s", err);
}

Test(listener, unix_path_at_its_longest_and_one_more) {
    char longest[160] = "unix:/tmp/";
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path;
    turbo__listener *list = NULL;
    memset(longest + 10, 'p', room - 1 - 5);
    longest[5 + room - 1] = '\0';
    list = open_on(longest, 1);
    turbo__listener_free(list);
    longest[5 + room - 1] = 'p';
    longest[5 + room] = '\0';
    list = NULL;
    cr_expect_eq(turbo__listener_open(&list, longest, 8, 1, err, sizeof err), TURBO_EADDR);
    cr_expect_null(list);
}

/* -- adopt, memory -- */

Test(listener, adopt_takes_a_listening_stream_socket_only) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    turbo__listener *list = NULL;
    cr_expect_eq(turbo__listener_adopt(&list, -1), TURBO_EINVAL);
    cr_expect_eq(turbo__listener_adopt(&list, udp), TURBO_EINVAL);
    cr_expect_eq(turbo__listener_adopt(&list, fd), TURBO_EINVAL);
    cr_assert_eq(listen(fd, 1), 0);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__listener_adopt(&list, fd), );
    cr_expect_eq(list->fd, fd);
    cr_expect_gt(list->port, 0);
    cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_expect_null(list->path);
    turbo__listener_free(list);
    cr_expect_eq(fcntl(fd, F_GETFD), -1);
    close(udp);
}

Test(listener, open_without_memory_leaves_nothing, .init = make_dir, .fini = remove_dir) {
    struct stat info;
    turbo__listener *list = NULL;
    int before = dup(0);
    close(before);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo__listener_open(&list, "127.0.0.1:0", 8, 3, err, sizeof err),
                         turbo__listener_free(list));
    for (size_t nth = 1; nth <= 2; nth++) {
        failing_alloc_arm(nth);
        cr_expect_eq(turbo__listener_open(&list, address, 8, 1, err, sizeof err), TURBO_ENOMEM);
        cr_expect(failing_alloc_disarm());
        cr_expect_neq(stat(path, &info), 0, "the file is still there");
    }
    int after = dup(0);
    close(after);
    cr_expect_eq(before, after, "a descriptor is still open");
    turbo__listener_free(NULL);
}
