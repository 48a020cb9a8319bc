/* test_api_file.c - every error that include/turbo/file.h documents. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* seteuid */
#endif
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/failing_alloc.h"
#include "../support/files.h"
#include "../support/rig.h"

TestSuite(api_file, .timeout = 30);

/* Let no more descriptors be had, or many. */
static void allow_descriptors(int more) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = more ? limit.rlim_max : 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void be_somebody(int root) {
    if (getuid() == 0)
        cr_assert_eq(seteuid(root ? 0 : 65534), 0);
}

typedef struct asked {
    files f;
    turbo_server *server;
    turbo_request *req;
    turbo_response *resp;
    outcome out;
} asked;

static void set_up(asked *a) {
    *a = (asked){.server = NULL};
    files_open(&a->f);
    files_fill(&a->f, "big", 100000);
    cr_assert_eq(turbo_server_new(&a->server, NULL), 0);
    cr_assert_eq(turbo_server_route(a->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_start(a->server), 0);
    a->req = request_to(a->server, "/", &a->out);
    cr_assert_eq(turbo_response_new(&a->resp, 200), 0);
}

static void tear_down(asked *a) {
    turbo_response_free(a->resp);
    (void)turbo_request_fail(a->req);
    turbo_request_release(a->req);
    cr_assert_eq(turbo_server_stop(a->server, NULL, NULL), 0);
    cr_assert_eq(turbo_server_wait(a->server), 0);
    turbo_server_release(a->server);
    files_close(&a->f);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_response_file TURBO_ENOENT, TURBO_EACCES, TURBO_EMFILE, TURBO_ESYS */
Test(api_file, file_that_cannot_be_opened_or_read) {
    asked a;
    set_up(&a);
    files_mkdir(&a.f, "dir");
    files_write(&a.f, "secret", "x");
    cr_assert_eq(chmod(files_path(&a.f, "secret"), 0), 0);
    cr_assert_eq(chmod(a.f.root, 0755), 0);
    cr_assert_eq(mkfifo(files_path(&a.f, "fifo"), 0644), 0);
    static const char *const none[] = {"none", "dir", "dir/none", "big/", "fifo", ""};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_expect_eq(turbo_response_file(a.resp, a.req, files_path(&a.f, none[i])), TURBO_ENOENT, "%s", none[i]);
    cr_expect_eq(turbo_response_file(a.resp, a.req, ""), TURBO_ENOENT);
    cr_expect_eq(turbo_response_file(a.resp, a.req, "/dev/zero"), TURBO_ENOENT);
    be_somebody(0);
    cr_expect_eq(turbo_response_file(a.resp, a.req, files_path(&a.f, "secret")), TURBO_EACCES);
    be_somebody(1);
    allow_descriptors(0);
    cr_expect_eq(turbo_response_file(a.resp, a.req, files_path(&a.f, "big")), TURBO_EMFILE);
    allow_descriptors(1);
    /* A file of sysfs says that it is a page long, and is not. */
    cr_expect_eq(turbo_response_file(a.resp, a.req, "/sys/kernel/profiling"), TURBO_ESYS);
    cr_expect_eq(turbo_response_status(a.resp), 200);
    tear_down(&a);
}

/* errors: turbo_response_file TURBO_ENOMEM, TURBO_ETOOBIG */
Test(api_file, file_without_memory_and_with_too_many_fields) {
    static char value[65536 - 100];
    asked a;
    set_up(&a);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_response_file(a.resp, a.req, files_path(&a.f, "big")), );
    memset(value, 'v', sizeof value);
    turbo_response_free(a.resp);
    cr_assert_eq(turbo_response_new(&a.resp, 200), 0);
    cr_assert_eq(turbo_response_field_add(a.resp, "a", 1, value, sizeof value), 0);
    cr_expect_eq(turbo_response_file(a.resp, a.req, files_path(&a.f, "big")), TURBO_ETOOBIG);
    tear_down(&a);
}

/* errors: turbo_response_body_file TURBO_EINVAL, TURBO_ENOMEM; turbo_request_respond_begin TURBO_EINVAL */
Test(api_file, pieces_that_cannot_be) {
    asked a;
    set_up(&a);
    int fd = open(files_path(&a.f, "big"), O_RDONLY | O_CLOEXEC);
    cr_expect_eq(turbo_response_body_file(a.resp, fd, UINT64_MAX, 1), TURBO_EINVAL);
    cr_expect_eq(turbo_response_body_file(a.resp, fd, INT64_MAX, 1), TURBO_EINVAL);
    cr_expect_eq(turbo_response_body_file(a.resp, fd, 1, INT64_MAX), TURBO_EINVAL);
    failing_alloc_arm(1);
    cr_expect_eq(turbo_response_body_file(a.resp, fd, 0, 1), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "it stays the caller's");
    cr_expect_eq(turbo_response_body_file(a.resp, fd, 1, INT64_MAX - 1), 0);
    cr_expect_eq(turbo_response_body(a.resp).len, 0);
    cr_expect_eq(turbo_request_respond_begin(a.req, a.resp), TURBO_EINVAL);
    cr_expect_eq(turbo_response_body_copy(a.resp, "x", 1), 0);
    cr_expect_eq(fcntl(fd, F_GETFD), -1, "closed with the body that was replaced");
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_expect_eq(turbo_response_body_file(a.resp, fd, 0, 0), 0);
    cr_expect_eq(fcntl(fd, F_GETFD), -1, "nothing is to be sent of it");
    tear_down(&a);
}

static int add(turbo_server *server, const char *pattern, const char *root) {
    return turbo_server_route_static(server, pattern, root, NULL);
}

/* errors: turbo_server_route_static TURBO_EINVAL, TURBO_ENOENT, TURBO_EACCES, TURBO_EMFILE, TURBO_EEXIST, TURBO_ESTATE,
 * TURBO_ENOMEM */
Test(api_file, directories_that_cannot_be_served) {
    files f;
    turbo_server *server;
    files_open(&f);
    files_write(&f, "a", "x");
    files_mkdir(&f, "closed");
    files_mkdir(&f, "closed/dir");
    cr_assert_eq(chmod(files_path(&f, "closed"), 0), 0);
    cr_assert_eq(chmod(f.root, 0755), 0);
    cr_assert_eq(turbo_server_new(&server, NULL), 0);
    cr_expect_eq(turbo_server_route_static(server, "/s/{path}", f.root, NULL), TURBO_EINVAL);
    cr_expect_not_null(strstr(turbo_server_error(server), "/s/{path}"));
    cr_expect_eq(add(server, "...}", f.root), TURBO_EINVAL);
    cr_expect_eq(add(server, "s/{path...}", f.root), TURBO_EINVAL);
    cr_expect_eq(add(server, "/s/{path...}", files_path(&f, "none")), TURBO_ENOENT);
    cr_expect_not_null(strstr(turbo_server_error(server), "/none cannot be opened: no such file or directory"));
    cr_expect_eq(add(server, "/s/{path...}", files_path(&f, "a")), TURBO_ENOENT);
    cr_expect_not_null(strstr(turbo_server_error(server), "/a cannot be opened: not a directory"));
    be_somebody(0);
    cr_expect_eq(add(server, "/s/{path...}", files_path(&f, "closed/dir")), TURBO_EACCES);
    cr_expect_not_null(strstr(turbo_server_error(server), "/closed/dir cannot be opened: permission denied"));
    be_somebody(1);
    allow_descriptors(0);
    cr_expect_eq(add(server, "/s/{path...}", f.root), TURBO_EMFILE);
    allow_descriptors(1);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_server_route_static(server, "/s/{path...}", f.root, NULL), );
    cr_expect_eq(turbo_server_route_static(server, "/s/{path...}", f.root, NULL), TURBO_EEXIST);
    cr_assert_eq(turbo_server_start(server), 0);
    cr_expect_eq(turbo_server_route_static(server, "/t/{path...}", f.root, NULL), TURBO_ESTATE);
    cr_assert_eq(turbo_server_stop(server, NULL, NULL), 0);
    cr_assert_eq(turbo_server_wait(server), 0);
    turbo_server_release(server);
    files_close(&f);
    cr_expect_not(failing_alloc_leaks());
}

Test(api_file, options_of_static_routes_are_checked) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    static const char *const bad[][2] = {{"index", "a/b"}, {"index", ".x"}, {"dot_files", "maybe"}, {"cache_control", "a\r\nb: c"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(turbo_route_options_set(options, bad[i][0], bad[i][1]), TURBO_EINVAL, "%s", bad[i][0]);
        cr_expect_not_null(strstr(turbo_route_options_error(options), bad[i][0]));
    }
    char text[160];
    memset(text, 'x', sizeof text);
    text[128] = '\0';
    cr_expect_eq(turbo_route_options_set(options, "cache_control", text), TURBO_EINVAL);
    text[127] = '\0';
    cr_expect_eq(turbo_route_options_set(options, "cache_control", text), 0);
    text[64] = '\0';
    cr_expect_eq(turbo_route_options_set(options, "index", text), TURBO_EINVAL);
    text[63] = '\0';
    cr_expect_eq(turbo_route_options_set(options, "index", text), 0);
    cr_expect_eq(turbo_route_options_set(options, "dot_files", "yes"), 0);
    cr_expect_eq(turbo_route_options_set_u64(options, "dot_files", 0), 0);
    cr_expect_eq(turbo_route_options_set_u64(options, "dot_files", 2), TURBO_EINVAL);
    cr_expect_eq(turbo_route_options_set_u64(options, "index", 1), TURBO_ENOENT);
    turbo_route_options_free(options);
}
