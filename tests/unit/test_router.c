/* test_router.c - which route a request gets; 404, 405 and Allow; HEAD and OPTIONS; percent-encoding; conflicts. */
#include "router.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_alloc.h"
#include "../support/guard.h"
#include "methods.h"
#include "route.h"
#include "turbo/error.h"

TestSuite(router, .timeout = 30);

/* A route that remembers its own name: "GET /a". */
typedef struct named {
    turbo__route route; /* first */
    char name[80];
} named;

static named nameds[256];
static size_t named_count;
static char err[256];

static int add_to(turbo__router *router, const char *method, const char *pattern) {
    const turbo__pattern *kept = NULL;
    named *n = &nameds[named_count++];
    cr_assert_lt(named_count, sizeof nameds / sizeof *nameds);
    (void)snprintf(n->name, sizeof n->name, "%s %.60s", method != NULL ? method : "any", pattern);
    int rc = turbo__router_add(router, method, pattern, &n->route, &kept, err, sizeof err);
    if (rc == 0)
        cr_expect(kept != NULL && strcmp(kept->text, pattern) == 0);
    return rc;
}

/* Routes as "GET /a", ended by NULL. */
static turbo__router *router_of(const char *const *routes) {
    turbo__router *router;
    cr_assert_eq(turbo__router_new(&router), 0);
    for (; *routes != NULL; routes++) {
        char method[20] = "";
        size_t len = strcspn(*routes, " ");
        memcpy(method, *routes, len);
        cr_assert_eq(add_to(router, strcmp(method, "any") == 0 ? NULL : method, *routes + len + 1), 0, "%s: %s",
                     *routes, err);
    }
    return router;
}
#define ROUTER(...) router_of((const char *const[]){__VA_ARGS__, NULL})

/* "GET /a x=1", "404", "405 GET, HEAD, OPTIONS". */
static const char *match_len(const turbo__router *router, const char *method, const char *path, size_t path_len) {
    static char text[600];
    turbo_str params[TURBO__PARAMS_MAX];
    turbo__match match;
    guard in = guard_copy(path, path_len), scratch = guard_copy(path, path_len);
    turbo_str m = {method, strlen(method)}, p = {in.data, in.len};
    turbo__router_match(router, m, p, params, scratch.data, &match);
    if (match.status != 200) {
        (void)snprintf(text, sizeof text, "%d%s%s", (int)match.status, match.allow != NULL ? " " : "",
                       match.allow != NULL ? match.allow : "");
        cr_expect_null(match.route);
    } else {
        (void)snprintf(text, sizeof text, "%s", ((const named *)(const void *)match.route)->name);
        for (uint32_t i = 0; i < match.param_count; i++)
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), " %.*s=%.*s",
                           (int)match.pattern->param_names[i].len, match.pattern->param_names[i].data,
                           (int)params[i].len, params[i].data);
        cr_expect_null(match.allow);
    }
    guard_free(&in);
    guard_free(&scratch);
    return text;
}

static const char *match(const turbo__router *router, const char *method, const char *path) {
    return match_len(router, method, path, strlen(path));
}
#define EXPECT(router, method, path, expected)                                                                         \
    cr_expect_str_eq(match(router, method, path), expected, "%s %s: %s", method, path, match(router, method, path))

/* ---- precedence ---- */

Test(router, static_wins_over_param_and_that_over_rest) {
    turbo__router *r = ROUTER("GET /a/{p}", "GET /a/{r...}", "GET /a/b", "GET /{r...}", "GET /");
    EXPECT(r, "GET", "/a/b", "GET /a/b");
    EXPECT(r, "GET", "/a/c", "GET /a/{p} p=c");
    EXPECT(r, "GET", "/a/c/d", "GET /a/{r...} r=c/d");
    EXPECT(r, "GET", "/a/b/", "GET /a/{r...} r=b/");
    EXPECT(r, "GET", "/a/", "GET /a/{r...} r=");
    EXPECT(r, "GET", "/a", "GET /{r...} r=a");
    EXPECT(r, "GET", "/x/y", "GET /{r...} r=x/y");
    EXPECT(r, "GET", "/", "GET /");
    turbo__router_free(r);
}

Test(router, order_of_registration_does_not_matter) {
    static const char *const routes[] = {"GET /a/b", "GET /a/{p}", "GET /a/{r...}", "GET /{q}/b"};
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        const char *const *o = (const char *const[]){routes[orders[i][0]], routes[orders[i][1]], routes[orders[i][2]],
                                                    routes[orders[i][3]], NULL};
        turbo__router *r = router_of(o);
        EXPECT(r, "GET", "/a/b", "GET /a/b");
        EXPECT(r, "GET", "/a/c", "GET /a/{p} p=c");
        EXPECT(r, "GET", "/a/b/c", "GET /a/{r...} r=b/c");
        EXPECT(r, "GET", "/z/b", "GET /{q}/b q=z");
        EXPECT(r, "GET", "/z/c", "404");
        turbo__router_free(r);
    }
}

Test(router, search_comes_back_from_a_dead_end) {
    turbo__router *r = ROUTER("GET /a/b/c", "GET /a/{p}/d", "GET /{q}/b/e", "GET /{r...}");
    EXPECT(r, "GET", "/a/b/c", "GET /a/b/c");
    EXPECT(r, "GET", "/a/b/d", "GET /a/{p}/d p=b");
    EXPECT(r, "GET", "/a/b/e", "GET /{q}/b/e q=a");
    EXPECT(r, "GET", "/a/b/f", "GET /{r...} r=a/b/f");
    turbo__router_free(r);
}

Test(router, pattern_with_the_method_wins_over_a_more_specific_one_without) {
    turbo__router *r = ROUTER("GET /users/{id}", "POST /users/me", "PUT /users/{rest...}");
    EXPECT(r, "POST", "/users/me", "POST /users/me");
    EXPECT(r, "GET", "/users/me", "GET /users/{id} id=me");
    EXPECT(r, "PUT", "/users/me", "PUT /users/{rest...} rest=me");
    EXPECT(r, "DELETE", "/users/me", "405 GET, HEAD, OPTIONS, POST, PUT");
    EXPECT(r, "DELETE", "/users/x", "405 GET, HEAD, OPTIONS, PUT");
    EXPECT(r, "DELETE", "/users/x/y", "405 OPTIONS, PUT");
    turbo__router_free(r);
}

Test(router, param_is_one_segment_that_is_not_empty) {
    turbo__router *r = ROUTER("GET /u/{id}", "GET /u/{id}/x");
    EXPECT(r, "GET", "/u/", "404");
    EXPECT(r, "GET", "/u", "404");
    EXPECT(r, "GET", "/u/1/", "404");
    EXPECT(r, "GET", "/u//x", "404");
    EXPECT(r, "GET", "/u/1/x", "GET /u/{id}/x id=1");
    turbo__router_free(r);
}

Test(router, empty_and_dot_segments_are_ordinary) {
    turbo__router *r = ROUTER("GET /a", "GET /a//b", "GET /{p}/..", "GET //", "GET /a/./b");
    EXPECT(r, "GET", "/a/", "404");
    EXPECT(r, "GET", "//a", "404");
    EXPECT(r, "GET", "/a//b", "GET /a//b");
    EXPECT(r, "GET", "//", "GET //");
    EXPECT(r, "GET", "/a/..", "GET /{p}/.. p=a");
    EXPECT(r, "GET", "/a/./b", "GET /a/./b");
    EXPECT(r, "GET", "/a/b", "404");
    turbo__router_free(r);
}

Test(router, rest_may_be_empty_but_its_slash_is_needed) {
    turbo__router *r = ROUTER("GET /files/{path...}");
    EXPECT(r, "GET", "/files", "404");
    EXPECT(r, "GET", "/files/", "GET /files/{path...} path=");
    EXPECT(r, "GET", "/files//", "GET /files/{path...} path=/");
    EXPECT(r, "GET", "/files/a/../b//c/", "GET /files/{path...} path=a/../b//c/");
    turbo__router_free(r);
}

Test(router, rest_holds_more_segments_than_any_pattern) {
    turbo__router *r = ROUTER("GET /a/{p}/{rest...}");
    char path[1000] = "/a/b/", expected[1100];
    for (int i = 0; i < 200; i++)
        strcat(path, "x/");
    (void)snprintf(expected, sizeof expected, "GET /a/{p}/{rest...} p=b rest=%s", path + 5);
    EXPECT(r, "GET", path, expected);
    turbo__router_free(r);
}

Test(router, longest_pattern_matches_a_path_of_its_length_only) {
    char pattern[200] = "GET ", path[200];
    for (int i = 0; i < TURBO__SEGMENTS_MAX; i++)
        strcat(pattern, i == 0 ? "/{p}" : "/a");
    turbo__router *r = ROUTER(pattern);
    cr_expect_eq(turbo__router_params_max(r), 1);
    for (int n = TURBO__SEGMENTS_MAX - 1; n <= TURBO__SEGMENTS_MAX + 2; n++) {
        path[0] = '\0';
        for (int i = 0; i < n; i++)
            strcat(path, "/a");
        cr_expect_eq(strcmp(match(r, "GET", path), "404") != 0, n == TURBO__SEGMENTS_MAX, "%d segments", n);
    }
    turbo__router_free(r);
}

/* ---- methods ---- */

Test(router, head_is_answered_by_get_unless_it_has_a_handler) {
    turbo__router *r = ROUTER("GET /a", "GET /b", "HEAD /b", "POST /c", "any /d", "GET /e/{p}", "HEAD /e/{r...}");
    EXPECT(r, "HEAD", "/a", "GET /a");
    EXPECT(r, "HEAD", "/b", "HEAD /b");
    EXPECT(r, "HEAD", "/c", "405 OPTIONS, POST");
    EXPECT(r, "HEAD", "/d", "any /d");
    EXPECT(r, "HEAD", "/e/1", "GET /e/{p} p=1");
    turbo__router_free(r);
}

Test(router, head_looks_for_head_then_get_then_any_at_one_pattern) {
    turbo__router *r = ROUTER("any /a", "GET /a", "any /b", "POST /b");
    EXPECT(r, "HEAD", "/a", "GET /a");
    EXPECT(r, "PUT", "/a", "any /a");
    EXPECT(r, "HEAD", "/b", "any /b");
    EXPECT(r, "POST", "/b", "POST /b");
    turbo__router_free(r);
}

Test(router, options_lists_the_methods_unless_it_has_a_handler) {
    turbo__router *r = ROUTER("GET /a", "PUT /a", "OPTIONS /b", "POST /b", "any /c", "DELETE /d/{x}", "POST /d/e");
    EXPECT(r, "OPTIONS", "/a", "204 GET, HEAD, OPTIONS, PUT");
    EXPECT(r, "OPTIONS", "/b", "OPTIONS /b");
    EXPECT(r, "OPTIONS", "/c", "any /c");
    EXPECT(r, "OPTIONS", "/d/e", "204 DELETE, OPTIONS, POST");
    EXPECT(r, "OPTIONS", "/none", "404");
    turbo__router_free(r);
}

Test(router, missing_method_is_405_with_what_is_allowed) {
    turbo__router *r = ROUTER("GET /a", "POST /a", "PUT /b");
    EXPECT(r, "PUT", "/a", "405 GET, HEAD, OPTIONS, POST");
    EXPECT(r, "GET", "/b", "405 OPTIONS, PUT");
    EXPECT(r, "DELETE", "/a", "405 GET, HEAD, OPTIONS, POST");
    EXPECT(r, "PATCH", "/x", "404");
    turbo__router_free(r);
}

/* RFC 9110 9.1 */
Test(router, method_that_nothing_recognizes_is_501) {
    turbo__router *r = ROUTER("GET /a", "BREW /pot");
    EXPECT(r, "BREW", "/pot", "BREW /pot");
    EXPECT(r, "BREW", "/a", "405 GET, HEAD, OPTIONS");
    EXPECT(r, "BREW", "/x", "404");
    EXPECT(r, "STEEP", "/a", "501");
    EXPECT(r, "STEEP", "/x", "501");
    EXPECT(r, "get", "/a", "501");
    EXPECT(r, "TRACE", "/a", "405 GET, HEAD, OPTIONS");
    turbo__router_free(r);
}

Test(router, any_takes_methods_that_no_route_names) {
    turbo__router *r = ROUTER("any /a", "GET /a", "any /b/{p}", "GET /b/c");
    EXPECT(r, "BREW", "/a", "any /a");
    EXPECT(r, "GET", "/a", "GET /a");
    EXPECT(r, "POST", "/b/c", "any /b/{p} p=c");
    turbo__router_free(r);
}

/* RFC 9110 9.3.8: what it would show may be a secret of the client. */
Test(router, any_does_not_mean_trace) {
    turbo__router *r = ROUTER("any /a", "any /b", "TRACE /b", "POST /a");
    EXPECT(r, "TRACE", "/a", "405 GET, HEAD, OPTIONS, POST");
    EXPECT(r, "TRACE", "/b", "TRACE /b");
    EXPECT(r, "TRACER", "/a", "any /a");
    EXPECT(r, "trace", "/a", "any /a");
    EXPECT(r, "OPTIONS", "*", "204 GET, HEAD, OPTIONS, POST, TRACE");
    turbo__router_free(r);
    r = ROUTER("any /a");
    EXPECT(r, "TRACE", "/a", "405 GET, HEAD, OPTIONS");
    turbo__router_free(r);
}

Test(router, asterisk_asks_for_the_methods_of_the_server) {
    turbo__router *r = ROUTER("GET /a", "POST /b");
    EXPECT(r, "OPTIONS", "*", "204 GET, HEAD, OPTIONS, POST");
    EXPECT(r, "GET", "*", "400");
    turbo__router_free(r);
    cr_assert_eq(turbo__router_new(&r), 0);
    EXPECT(r, "OPTIONS", "*", "204 OPTIONS");
    EXPECT(r, "GET", "/", "404");
    turbo__router_free(r);
    turbo__router_free(NULL);
}

Test(router, target_that_is_no_path_is_400_but_501_for_a_tunnel) {
    turbo__router *r = ROUTER("any /{r...}");
    EXPECT(r, "GET", "", "400");
    EXPECT(r, "GET", "a", "400");
    EXPECT(r, "CONNECT", "a:443", "501");
    EXPECT(r, "OPTIONS", "**", "400");
    turbo__router_free(r);
}

/* ---- percent-encoding ---- */

Test(router, segments_are_decoded_behind_the_split) {
    turbo__router *r = ROUTER("GET /a b", "GET /100%", "GET /u/{id}", "GET /f/{r...}", "GET /abc");
    EXPECT(r, "GET", "/a%20b", "GET /a b");
    EXPECT(r, "GET", "/100%25", "GET /100%");
    EXPECT(r, "GET", "/%61%62%63", "GET /abc");
    EXPECT(r, "GET", "/u/a%2Fb", "GET /u/{id} id=a/b");
    EXPECT(r, "GET", "/u/%2f", "GET /u/{id} id=/");
    EXPECT(r, "GET", "/u/a%2fb/c", "404");
    EXPECT(r, "GET", "/u%2fa", "404");
    EXPECT(r, "GET", "/u/%e4%BD%a0", "GET /u/{id} id=\xe4\xbd\xa0");
    EXPECT(r, "GET", "/u/%252F", "GET /u/{id} id=%2F");
    EXPECT(r, "GET", "/u/a+b", "GET /u/{id} id=a+b");
    EXPECT(r, "GET", "/f/a%2Fb/%63", "GET /f/{r...} r=a/b/c");
    EXPECT(r, "GET", "/f/%2e%2e/x", "GET /f/{r...} r=../x");
    turbo__router_free(r);
}

Test(router, bad_escapes_are_400_whatever_the_routes_are) {
    turbo__router *r = ROUTER("GET /{r...}");
    static const char *const bad[] = {"/%", "/%4", "/%g0", "/%0g", "/a%", "/%%41", "/%4%31", "/%00", "/a%00b",
                                      "/x/%zz/y", "/% 1", "/%-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        EXPECT(r, "GET", bad[i], "400");
        EXPECT(r, "OPTIONS", bad[i], "400");
    }
    cr_expect_str_eq(match_len(r, "GET", "/a\0b", 4), "400");
    cr_expect_str_eq(match_len(r, "GET", "/%41\0", 5), "400");
    turbo__router_free(r);
}

Test(router, path_cut_anywhere_is_not_read_behind_its_end) {
    turbo__router *r = ROUTER("GET /abc/{id}/d e/{rest...}", "GET /abc/x");
    static const char path[] = "/abc/%78%2F/d%20e/%41/b%2fc";
    for (size_t len = 1; len < sizeof path - 1; len++) {
        const char *text = match_len(r, "GET", path, len);
        int in_escape = path[len - 1] == '%' || (len > 1 && path[len - 2] == '%');
        cr_expect_eq(strcmp(text, "400") == 0, in_escape, "%zu: %s", len, text);
    }
    EXPECT(r, "GET", path, "GET /abc/{id}/d e/{rest...} id=x/ rest=A/b/c");
    turbo__router_free(r);
}

Test(router, path_without_escapes_needs_no_scratch) {
    turbo__router *r = ROUTER("GET /u/{id}");
    turbo_str params[1], get = {"GET", 3}, path = {"/u/12", 5};
    turbo__match m;
    turbo__router_match(r, get, path, params, NULL, &m);
    cr_assert_eq(m.status, 200);
    cr_expect(params[0].data == path.data + 3 && params[0].len == 2);
    turbo__router_free(r);
}

/* ---- registration ---- */

Test(router, second_handler_for_method_and_pattern_is_refused) {
    turbo__router *r = ROUTER("GET /a", "GET /u/{id}", "any /a");
    cr_expect_eq(add_to(r, "GET", "/a"), TURBO_EEXIST);
    cr_expect(strstr(err, "/a") != NULL);
    cr_expect_eq(add_to(r, "GET", "/u/{id}"), TURBO_EEXIST);
    cr_expect_eq(add_to(r, NULL, "/a"), TURBO_EEXIST);
    cr_expect_eq(add_to(r, "POST", "/a"), 0);
    turbo__router_free(r);
}

Test(router, another_name_for_a_parameter_is_refused) {
    turbo__router *r = ROUTER("GET /u/{id}", "GET /f/{path...}");
    cr_expect_eq(add_to(r, "GET", "/u/{name}"), TURBO_EEXIST);
    cr_expect(strstr(err, "/u/{name}") != NULL && strstr(err, "{id}") != NULL, "%s", err);
    cr_expect_eq(add_to(r, "POST", "/u/{name}/x"), TURBO_EEXIST);
    cr_expect_eq(add_to(r, "POST", "/f/{p...}"), TURBO_EEXIST);
    cr_expect_eq(add_to(r, "POST", "/u/{id}/x"), 0);
    cr_expect_eq(add_to(r, "POST", "/f/{p}"), 0); /* {p} and {path...} are different places */
    turbo__router_free(r);
}

Test(router, malformed_methods_and_patterns_are_refused) {
    turbo__router *r = ROUTER("GET /a");
    static const char *const methods[] = {"", "G T", "GET ", "G\x01", "G:T", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        cr_expect_eq(add_to(r, methods[i], "/b"), TURBO_EINVAL, "method %zu", i);
    static const char *const patterns[] = {"", "a", "/{", "/{a", "/x{a}", "/{a}/{a}", "/{a...}/b"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        cr_expect_eq(add_to(r, "GET", patterns[i]), TURBO_EINVAL, "pattern %zu", i);
        cr_expect(strstr(err, patterns[i]) != NULL, "%s", err);
    }
    EXPECT(r, "GET", "/b", "404");
    turbo__router_free(r);
}

Test(router, refused_route_leaves_no_trace) {
    turbo__router *r = ROUTER("GET /u/{id}");
    cr_expect_eq(add_to(r, "GET", "/new/{a}/{a}"), TURBO_EINVAL);
    cr_expect_eq(add_to(r, "GET", "/u/{name}/deep/er"), TURBO_EEXIST);
    EXPECT(r, "GET", "/new/1/2", "404");
    cr_expect_eq(add_to(r, "GET", "/new/{b}/{c}"), 0);
    cr_expect_eq(add_to(r, "GET", "/u/{id}/deep/er"), 0);
    EXPECT(r, "GET", "/new/1/2", "GET /new/{b}/{c} b=1 c=2");
    EXPECT(r, "OPTIONS", "*", "204 GET, HEAD, OPTIONS");
    turbo__router_free(r);
}

Test(router, methods_have_a_limit) {
    turbo__router *r;
    cr_assert_eq(turbo__router_new(&r), 0);
    char name[16];
    for (int i = 3; i < TURBO__METHODS_MAX; i++) {
        (void)snprintf(name, sizeof name, "M%d", i);
        cr_assert_eq(add_to(r, name, "/a"), 0);
    }
    cr_expect_eq(add_to(r, "MORE", "/a"), TURBO_EINVAL);
    cr_expect(strstr(err, "64") != NULL, "%s", err);
    cr_expect_eq(add_to(r, "GET", "/a"), 0);
    EXPECT(r, "M63", "/a", "M63 /a");
    turbo__router_free(r);
}

Test(router, a_refused_registration_takes_no_method) {
    turbo__router *r = ROUTER("GET /a");
    char name[16];
    for (int i = 0; i < 2 * TURBO__METHODS_MAX; i++) {
        (void)snprintf(name, sizeof name, "M%d", i);
        cr_assert_eq(add_to(r, name, "no pattern"), TURBO_EINVAL);
    }
    cr_expect_eq(add_to(r, "MORE", "/a"), 0, "%s", err);
    EXPECT(r, "MORE", "/a", "MORE /a");
    EXPECT(r, "M1", "/a", "501");
    turbo__router_free(r);
}

Test(router, parameters_have_a_limit) {
    char pattern[200] = "", path[100] = "";
    turbo__router *r;
    cr_assert_eq(turbo__router_new(&r), 0);
    for (int i = 0; i < TURBO__PARAMS_MAX; i++) {
        (void)snprintf(pattern + strlen(pattern), 10, "/{p%d}", i);
        strcat(path, "/x");
    }
    cr_expect_eq(add_to(r, "GET", pattern), 0);
    cr_expect_eq(turbo__router_params_max(r), TURBO__PARAMS_MAX);
    cr_expect(strstr(match(r, "GET", path), "p15=x") != NULL);
    strcat(pattern, "/{more}");
    cr_expect_eq(add_to(r, "GET", pattern), TURBO_EINVAL);
    cr_expect_eq(turbo__router_params_max(r), TURBO__PARAMS_MAX);
    turbo__router_free(r);
}

Test(router, many_static_routes_are_all_found) {
    turbo__router *r;
    char pattern[32];
    cr_assert_eq(turbo__router_new(&r), 0);
    for (int i = 0; i < 200; i++) {
        (void)snprintf(pattern, sizeof pattern, "/r/%.*s%d", i % 9, "abcdefghi", i);
        cr_assert_eq(add_to(r, "GET", pattern), 0);
    }
    for (int i = 0; i < 200; i++) {
        char expected[40];
        (void)snprintf(pattern, sizeof pattern, "/r/%.*s%d", i % 9, "abcdefghi", i);
        (void)snprintf(expected, sizeof expected, "GET %s", pattern);
        EXPECT(r, "GET", pattern, expected);
        strcat(pattern, "x");
        EXPECT(r, "GET", pattern, "404");
    }
    turbo__router_free(r);
}

Test(router, allow_names_the_nearest_pattern_when_methods_are_mixed_wildly) {
    turbo__router *r;
    char method[16], pattern[32];
    cr_assert_eq(turbo__router_new(&r), 0);
    for (int i = 0; i < 30; i++) {
        (void)snprintf(method, sizeof method, "M%02d", i);
        (void)snprintf(pattern, sizeof pattern, "/x%d", i);
        cr_assert_eq(add_to(r, method, pattern), 0);
    }
    cr_assert_eq(add_to(r, "ZZZ", "/{p}"), 0);
    for (int i = 0; i < 30; i++) {
        (void)snprintf(pattern, sizeof pattern, "/x%d", i);
        (void)snprintf(method, sizeof method, "M%02d", i);
        const char *text = match(r, "GET", pattern);
        cr_expect(strncmp(text, "405 ", 4) == 0 && strstr(text, method) != NULL, "%s", text);
    }
    turbo__router_free(r);
}

/* ---- memory ---- */

Test(router, new_reports_each_failed_allocation) {
    for (size_t nth = 1;; nth++) {
        turbo__router *r = NULL;
        failing_alloc_arm(nth);
        int rc = turbo__router_new(&r);
        if (!failing_alloc_disarm()) {
            cr_expect_eq(rc, 0);
            turbo__router_free(r);
            break;
        }
        cr_expect_eq(rc, TURBO_ENOMEM);
        cr_expect_null(r);
    }
    cr_expect_not(failing_alloc_leaks());
}

static void expect_add_survives(const char *method, const char *pattern, const char *path) {
    for (size_t nth = 1;; nth++) {
        char before[100], expected[100];
        named_count = 0;
        turbo__router *r = ROUTER("GET /a", "GET /a/{p}", "POST /a/b", "GET /1", "GET /2", "GET /3", "GET /4",
                                  "GET /5");
        (void)snprintf(before, sizeof before, "%s", match(r, method, path));
        failing_alloc_arm(nth);
        int rc = add_to(r, method, pattern);
        int has_failed = failing_alloc_disarm();
        if (has_failed) {
            cr_expect_eq(rc, TURBO_ENOMEM);
            cr_expect(strstr(err, pattern) != NULL, "%s", err);
            cr_expect_str_eq(match(r, method, path), before, "allocation %zu left a trace", nth);
            EXPECT(r, "PATCH", "/a", "405 GET, HEAD, OPTIONS");
            cr_expect_eq(add_to(r, method, pattern), 0, "allocation %zu cannot be repeated: %s", nth, err);
        } else {
            cr_expect_eq(rc, 0);
        }
        (void)snprintf(expected, sizeof expected, "%s %s", method, pattern);
        cr_expect_eq(strncmp(match(r, method, path), expected, strlen(expected)), 0, "%s", match(r, method, path));
        turbo__router_free(r);
        if (!has_failed)
            break;
    }
}

Test(router, add_reports_each_failed_allocation_and_changes_nothing) {
    expect_add_survives("GET", "/x/y/z", "/x/y/z");
    expect_add_survives("NEW", "/x/{p}/{r...}", "/x/1/2/3");
    expect_add_survives("DELETE", "/a/b", "/a/b");
    expect_add_survives("GET", "/a/b", "/a/b");
    cr_expect_not(failing_alloc_leaks());
}
