/* test_static_files.c - routes that serve a directory: which paths are files of it, whatever is tried to leave it. */
#include "static_files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/files.h"
#include "../support/rig.h"
#include "os/os.h"
#include "turbo/error.h"

TestSuite(static_files, .timeout = 60);

/* -- paths -- */

static int path_of(char *out, size_t size, const char *bound, const char *raw, int dot_files) {
    return turbo__static_path(out, size, (turbo_str){bound, strlen(bound)}, (turbo_str){raw, strlen(raw)}, dot_files);
}

Test(static_files, paths_that_are_none) {
    static const char *const bad[][2] = {
        {"..", "/.."},       {".", "/."},         {"../a", "/../a"},   {"a/..", "/a/.."},     {"a/../b", "/a/../b"}, {"a/./b", "/a/./b"},
        {"/", "//"},         {"/a", "//a"},       {"a//b", "/a//b"},   {"a//", "/a//"},       {"a\\b", "/a\\b"},     {"..\\a", "/..%5ca"},
        {"a/b", "/a%2fb"},   {"a/b", "/a%2Fb"},   {"a\\b", "/a%5Cb"},  {"../a", "/..%2fa"},   {".a", "/.a"},         {"a/.b", "/a/.b"},
        {"...", "/..."},     {"\\", "/%5c"},      {".git/config", "/.git/config"}};
    char out[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(path_of(out, sizeof out, bad[i][0], bad[i][1], 0), TURBO_ENOENT, "%s", bad[i][1]);
    cr_expect_eq(turbo__static_path(out, sizeof out, (turbo_str){"a\0b", 3}, (turbo_str){"/", 1}, 0), TURBO_ENOENT);
    cr_expect_eq(path_of(out, sizeof out, "..", "/..", 1), TURBO_ENOENT, "dot_files is not for these");
    cr_expect_eq(path_of(out, sizeof out, "a/.", "/a/.", 1), TURBO_ENOENT);
}

Test(static_files, paths_of_files) {
    static const char *const good[][2] = {{"a", "/a"}, {"", "/"}, {"a/", "/a/"}, {"a/b.c", "/a/b.c"}, {"a b", "/a%20b"}, {"a..b", "/a..b"},
                                          {"%2f", "/%252f"}, {"%2e%2e", "/%252e%252e"}, {"\xff", "/%ff"}, {"a.", "/a."}};
    char out[64];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq(path_of(out, sizeof out, good[i][0], good[i][1], 0), 0, "%s", good[i][1]);
        cr_expect_str_eq(out, good[i][0]);
    }
    cr_expect_eq(path_of(out, sizeof out, ".a/.b", "/.a/.b", 1), 0);
    cr_expect_eq(path_of(out, 5, "abcd", "/", 0), 0);
    cr_expect_eq(path_of(out, 4, "abcd", "/", 0), TURBO_ENOENT, "with its end it does not fit");
}

/* -- over HTTP -- */

static files f;
static rig r;
static client c;

static turbo_route_options *options_with(const char *name, const char *value) {
    turbo_route_options *options;
    cr_assert_eq(turbo_route_options_new(&options), 0);
    cr_assert_eq(turbo_route_options_set(options, "executor", "inline"), 0);
    if (name != NULL)
        cr_assert_eq(turbo_route_options_set(options, name, value), 0);
    return options;
}

static void add(const char *pattern, const char *name, const char *value) {
    turbo_route_options *options = options_with(name, value);
    cr_assert_eq(turbo_server_route_static(r.server, pattern, files_path(&f, "www"), options), 0);
    turbo_route_options_free(options);
}

static void set_up(void) {
    files_open(&f);
    files_write(&f, "secret", "SECRET");
    files_mkdir(&f, "www");
    files_mkdir(&f, "www/dir");
    files_mkdir(&f, "www/bare");
    files_mkdir(&f, "outside");
    files_write(&f, "outside/secret", "SECRET");
    files_write(&f, "www/a.txt", "a");
    files_write(&f, "www/a b", "space");
    files_write(&f, "www/%2e", "percent");
    files_write(&f, "www/.hidden", "hidden");
    files_write(&f, "www/dir/index.html", "index");
    files_write(&f, "www/dir/b.txt", "b");
    files_link(&f, "a.txt", "www/in");
    files_link(&f, "../a.txt", "www/dir/up");
    files_link(&f, "../secret", "www/out");
    files_link(&f, "/etc/passwd", "www/absolute");
    files_link(&f, "../outside", "www/outdir");
    files_link(&f, "loop", "www/loop");
    files_link(&f, "/proc/self/root", "www/magic");
    files_link(&f, "dir", "www/indir");
    files_link(&f, "nowhere", "www/dangling");
    cr_assert_eq(mkfifo(files_path(&f, "www/fifo"), 0644), 0);
    rig_listen(&r, 0, "");
    add("/s/{path...}", "index", "index.html");
    add("/bare/{path...}", "cache_control", "max-age=60");
    add("/dots/{path...}", "dot_files", "yes");
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    cr_assert_eq(client_ask(&c, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), 204); /* the connection is accepted */
}

static void tear_down(void) {
    client_close(&c, 0);
    rig_end(&r);
    files_close(&f);
    cr_expect_not(failing_alloc_leaks());
}

static int get(const char *target) {
    char text[20000];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    return client_ask(&c, text);
}

struct asked {
    const char *target;
    int status;
    const char *body;
};

static void expect_all(const struct asked *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(get(cases[i].target), cases[i].status, "%s: %.12s", cases[i].target, c.head);
        cr_expect_null(strstr(c.body, "SECRET"), "%s", cases[i].target);
        cr_expect_null(strstr(c.body, "root:"), "%s", cases[i].target);
        if (cases[i].body != NULL)
            cr_expect_str_eq(c.body, cases[i].body, "%s", cases[i].target);
    }
}

static const struct asked both[] = {
    {"/s/a.txt", 200, "a"},
    {"/s/a%20b", 200, "space"},
    {"/s/%61.txt", 200, "a"},
    {"/s/a.txt?x=../secret", 200, "a"},
    {"/s/%252e", 200, "percent"},
    {"/s/dir/b.txt", 200, "b"},
    {"/s/dir/", 200, "index"},
    {"/s/dir", 301, NULL},
    {"/s/bare/", 404, NULL},
    {"/s/", 404, NULL},
    {"/s", 404, NULL},
    {"/bare/dir/", 404, NULL},
    {"/bare/dir", 404, NULL},
    {"/s/none", 404, NULL},
    {"/s/a.txt/", 404, NULL},
    {"/s/a.txt/b", 404, NULL},
    {"/s/../secret", 404, NULL},
    {"/s/%2e%2e/secret", 404, NULL},
    {"/s/%2E%2e/secret", 404, NULL},
    {"/s/.%2e/secret", 404, NULL},
    {"/s/..%2fsecret", 404, NULL},
    {"/s/..%5csecret", 404, NULL},
    {"/s/%252e%252e/secret", 404, NULL},
    {"/s/dir/../../secret", 404, NULL},
    {"/s/dir/../a.txt", 404, NULL},
    {"/s/dir%2fb.txt", 404, NULL},
    {"/s//etc/passwd", 404, NULL},
    {"/s/%2fetc/passwd", 404, NULL},
    {"/s//a.txt", 404, NULL},
    {"/s/./a.txt", 404, NULL},
    {"/s/a.txt%00", 400, NULL},
    {"/s/a.txt%00.html", 400, NULL},
    {"/s/%", 400, NULL},
    {"/s/%zz", 400, NULL},
    {"/s/%c0%ae%c0%ae/secret", 404, NULL},
    {"/s/out", 404, NULL},
    {"/s/absolute", 404, NULL},
    {"/s/outdir/secret", 404, NULL},
    {"/s/magic/etc/passwd", 404, NULL},
    {"/s/loop", 404, NULL},
    {"/s/dangling", 404, NULL},
    {"/s/fifo", 404, NULL},
    {"/s/.hidden", 404, NULL},
    {"/s/%2ehidden", 404, NULL},
    {"/dots/.hidden", 200, "hidden"},
    {"/dots/../secret", 404, NULL},
    {"/dots/%2e%2e/secret", 404, NULL},
    {"/dots/.", 404, NULL},
    {"http://a/s/a.txt", 200, "a"},
    {"http://a/s/../secret", 404, NULL},
};

Test(static_files, nothing_outside_the_root_is_served) {
    static const struct asked links[] = {{"/s/in", 200, "a"}, {"/s/dir/up", 200, "a"}, {"/s/indir/b.txt", 200, "b"}};
    set_up();
    size_t before = files_open_count();
    expect_all(both, sizeof both / sizeof *both);
    expect_all(links, sizeof links / sizeof *links);
    AWAIT(files_open_count() == before);
    tear_down();
}

Test(static_files, nor_where_the_system_has_no_call_for_it) {
    static const struct asked links[] = {{"/s/in", 404, NULL}, {"/s/dir/up", 404, NULL}, {"/s/indir/b.txt", 404, NULL}};
    set_up();
    turbo__os_beneath_by_steps(1);
    size_t before = files_open_count();
    expect_all(both, sizeof both / sizeof *both);
    expect_all(links, sizeof links / sizeof *links);
    AWAIT(files_open_count() == before);
    tear_down();
}

Test(static_files, long_paths_are_not_found) {
    char target[8200] = "/s/";
    set_up();
    memset(target + 3, 'x', 255);
    target[258] = '\0';
    for (int steps = 0; steps < 2; steps++) {
        turbo__os_beneath_by_steps(steps);
        memset(target + 3, 'x', 8100);
        const size_t lens[] = {255, 256, 4094, 4095, 4096, 8000};
        for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
            target[3 + lens[i]] = '\0';
            cr_expect_eq(get(target), 404, "%zu", lens[i]);
            target[3 + lens[i]] = 'x';
        }
    }
    tear_down();
}

Test(static_files, redirects_keep_the_query_and_methods_are_limited) {
    set_up();
    cr_expect_eq(get("/s/dir?a=b"), 301);
    cr_expect(client_has(&c, "Location: /s/dir/?a=b"));
    cr_expect_eq(get("/s/%64ir"), 301);
    cr_expect(client_has(&c, "Location: /s/%64ir/"));
    cr_expect_eq(get("/bare/a.txt"), 200);
    cr_expect(client_has(&c, "Cache-Control: max-age=60"));
    cr_expect(client_has(&c, "Content-Type: text/plain; charset=utf-8"));
    cr_expect_eq(client_ask(&c, "POST /s/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), 405);
    cr_expect(client_has(&c, "Allow: GET, HEAD, OPTIONS"));
    cr_expect_eq(client_ask(&c, "GET /bare/a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n"), 304);
    cr_expect(client_has(&c, "Cache-Control: max-age=60"), "RFC 9110 15.4.5");
    tear_down();
}

Test(static_files, without_descriptors_it_is_503_and_passes) {
    struct rlimit limit;
    set_up();
    cr_expect_eq(get("/s/a.txt"), 200);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t usual = limit.rlim_cur;
    limit.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(get("/s/a.txt"), 503);
    limit.rlim_cur = usual;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(get("/s/a.txt"), 200);
    tear_down();
}

/* A root that is moved is the same root; a file that is replaced is another. */
Test(static_files, the_root_is_the_directory_and_not_its_name) {
    char old[128], moved[128];
    set_up();
    snprintf(old, sizeof old, "%s", files_path(&f, "www"));
    snprintf(moved, sizeof moved, "%s", files_path(&f, "moved"));
    cr_assert_eq(rename(old, moved), 0);
    cr_expect_eq(get("/s/a.txt"), 200);
    cr_assert_eq(rename(moved, old), 0);
    tear_down();
}
