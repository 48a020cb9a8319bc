/* test_api_request.c - every error that include/turbo/request.h documents. */
#include <criterion/criterion.h>
#include <string.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(api_request, .timeout = 60);

static void add_routes(rig *r) {
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/users/{id}", NULL, answer_ok, NULL), 0);
}

static void new_driven(rig *r, const char *settings) {
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    add_routes(r);
    rig_start(r);
}

/* errors: turbo_request_param_at TURBO_ENOENT; turbo_request_field_at TURBO_ENOENT;
 * turbo_request_trailer_at TURBO_ENOENT; turbo_request_peer TURBO_ETOOBIG */
Test(api_request, getters_out_of_range_change_nothing) {
    rig r;
    client c;
    turbo_str name = {"n", 1}, value = {"v", 1};
    char peer[64] = "?";
    rig_listen(&r, 0, "");
    add_routes(&r);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, "GET /users/7 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    AWAIT(r.seen.count == 1);
    turbo_request *req = r.seen.reqs[0];
    cr_expect_eq(turbo_request_param_at(req, 1, &name, &value), TURBO_ENOENT);
    cr_expect_eq(turbo_request_field_at(req, 2, &name, &value), TURBO_ENOENT);
    cr_expect_eq(turbo_request_trailer_at(req, 0, &name, &value), TURBO_ENOENT);
    cr_expect(name.data[0] == 'n' && value.data[0] == 'v');
    cr_expect_eq(turbo_request_param_at(req, 0, &name, NULL), 0);
    cr_expect_eq(turbo_request_field_at(req, 1, NULL, &value), 0);
    cr_expect(value.len == 1 && value.data[0] == 'y');
    cr_expect_eq(turbo_request_peer(req, peer, sizeof "127.0.0.1:1" - 1), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_peer(req, peer, sizeof peer), 0);
    cr_expect_eq(strncmp(peer, "127.0.0.1:", 10), 0);
    client_close(&c, 0);
    rig_end(&r);
}

Test(api_request, host_is_that_of_the_absolute_form_else_that_of_the_field) {
    static const char *const cases[][2] = {
        {"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test"},
        {"GET / HTTP/1.1\r\nX: y\r\nhOST: \tA.test:8080 \r\n\r\n", "A.test:8080"},
        {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]:80"},
        {"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "b.test"},
        {"GET http://b.test:81/?x=http://c/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "b.test:81"},
        {"GET http://b.test HTTP/1.1\r\nHost: a.test\r\n\r\n", "b.test"},
        {"GET http://b.test?x/y HTTP/1.1\r\nHost: a.test\r\n\r\n", "b.test"},
        {"GET HTTP://B.test:/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "B.test:"},
        {"GET /?http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "a.test"},
        {"GET http://b.test/ HTTP/1.0\r\n\r\n", "b.test"},
        {"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n", "a.test"},
        {"GET / HTTP/1.0\r\n\r\n", NULL},
    };
    rig r;
    outcome out = {0};
    rig_listen(&r, 0, "");
    add_routes(&r);
    rig_start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client c;
        client_open(&c, turbo_server_port(r.server));
        client_send(&c, cases[i][0]);
        AWAIT(r.seen.count == i + 1);
        turbo_str host = turbo_request_host(r.seen.reqs[i]);
        const char *wanted = cases[i][1];
        cr_expect_eq(host.data == NULL, wanted == NULL, "%s", cases[i][0]);
        cr_expect(wanted == NULL || (host.len == strlen(wanted) && memcmp(host.data, wanted, host.len) == 0),
                  "%.*s for %s", (int)host.len, host.data, cases[i][0]);
        client_close(&c, 0);
    }
    turbo_request *alone = request_to(r.server, "/", &out);
    cr_expect_null(turbo_request_host(alone).data);
    turbo_request_release(alone);
    rig_end(&r);
}

static int on_gone_rc;

static void ignore_event(turbo_request *req, void *user) { (void)req, (void)user; }

static int ask_for_gone(turbo_request *req, void *user) {
    on_gone_rc = turbo_request_on_gone(req, ignore_event, NULL);
    return answer_ok(req, user);
}

/* errors: turbo_request_on_gone TURBO_ESTATE */
Test(api_request, on_gone_is_not_for_answered_or_inline_requests) {
    rig r;
    client c;
    outcome out = {0};
    turbo_route_options *on_io = NULL;
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, "");
    add_routes(&r);
    cr_assert_eq(turbo_route_options_new(&on_io), 0);
    cr_assert_eq(turbo_route_options_set(on_io, "executor", "inline"), 0);
    cr_assert_eq(turbo_server_route(r.server, "GET", "/inline", on_io, ask_for_gone, NULL), 0);
    rig_start(&r);
    client_open(&c, turbo_server_port(r.server));
    cr_expect_eq(client_ask(&c, "GET /inline HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    cr_expect_eq(on_gone_rc, TURBO_ESTATE);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(r.server, 0), req), 0);
    rig_settle(&r);
    cr_expect_eq(turbo_request_on_gone(req, ignore_event, NULL), 0);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, NULL, 0), 0);
    cr_expect_eq(turbo_request_on_gone(req, ignore_event, NULL), TURBO_ESTATE);
    turbo_request_release(req);
    turbo_route_options_free(on_io);
    client_close(&c, 0);
    rig_end(&r);
}

/* errors: turbo_request_new TURBO_EINVAL, TURBO_ENOENT */
Test(api_request, new_refuses_what_cannot_be_routed) {
    static const char *const malformed[][2] = {{"", "/"},      {"GE T", "/"},  {"GET\r\n", "/"}, {"GET", ""},
                                               {"GET", "x"},   {"GET", "/ "},  {"GET", "/\x7f"}, {"GET", "*"},
                                               {"GET", "/\n"}, {"GET", "/%x0"}, {"GET", "/users/%00"}};
    static const char *const unknown[][2] = {{"GET", "/nothing"}, {"POST", "/"}, {"OPTIONS", "/"}, {"get", "/"},
                                             {"GET", "/users/"}};
    rig r;
    outcome out = {0};
    turbo_request *req = NULL;
    new_driven(&r, "target_max_bytes=12");
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        cr_expect_eq(turbo_request_new(&req, r.server, malformed[i][0], malformed[i][1], note_outcome, &out),
                     TURBO_EINVAL, "%s %s", malformed[i][0], malformed[i][1]);
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        cr_expect_eq(turbo_request_new(&req, r.server, unknown[i][0], unknown[i][1], note_outcome, &out),
                     TURBO_ENOENT, "%s %s", unknown[i][0], unknown[i][1]);
    cr_expect_null(req);
    cr_expect_eq(turbo_request_new(&req, r.server, "GET", "/users/12345", note_outcome, &out), 0);
    turbo_request_release(req);
    cr_expect_eq(turbo_request_new(&req, r.server, "GET", "/users/123456", note_outcome, &out), TURBO_EINVAL);
    cr_expect_eq(turbo_request_new(&req, r.server, "HEAD", "/", note_outcome, &out), 0, "GET answers HEAD");
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_request_new TURBO_ESTATE, TURBO_ECLOSED */
Test(api_request, new_needs_a_server_that_runs) {
    rig r;
    outcome out = {0};
    turbo_request *req = NULL;
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    add_routes(&r);
    cr_expect_eq(turbo_request_new(&req, r.server, "GET", "/", note_outcome, &out), TURBO_ESTATE);
    rig_start(&r);
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    cr_expect_eq(turbo_request_new(&req, r.server, "GET", "/", note_outcome, &out), TURBO_ECLOSED, "it drains");
    AWAIT(rig_poll(&r) == 1);
    cr_expect_eq(turbo_request_new(&req, r.server, "GET", "/", note_outcome, &out), TURBO_ECLOSED, "it has stopped");
    rig_end(&r);
}

/* errors: turbo_request_new TURBO_ENOMEM; turbo_request_body_set TURBO_ENOMEM */
Test(api_request, new_and_body_without_memory) {
    rig r;
    outcome out = {0};
    turbo_request *req = NULL;
    new_driven(&r, "");
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_new(&req, r.server, "GET", "/users/a%20b", note_outcome, &out),
                         turbo_request_release(req));
    req = request_to(r.server, "/", &out);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_body_set(req, "abc", 3), );
    cr_expect_eq(turbo_request_body(req).len, 3);
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_request_body_set TURBO_ETOOBIG, TURBO_ESTATE */
Test(api_request, body_set_is_for_requests_that_wait_to_be_submitted) {
    rig r;
    client c;
    outcome out = {0};
    rig_listen(&r, TURBO_EXECUTOR_DRIVEN, "body_max_bytes=3");
    add_routes(&r);
    rig_start(&r);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_expect_eq(turbo_request_body_set(req, "abc", 3), 0);
    cr_expect_eq(turbo_request_body_set(req, "abcd", 4), TURBO_ETOOBIG);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(r.server, 0), req), 0);
    cr_expect_eq(turbo_request_body_set(req, "a", 1), TURBO_ESTATE);
    client_open(&c, turbo_server_port(r.server));
    client_send(&c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(rig_poll(&r) == 0 && r.seen.count == 2);
    cr_expect_eq(turbo_request_body_set(r.seen.reqs[1], "a", 1), TURBO_ESTATE);
    turbo_request_release(req);
    client_close(&c, 0);
    rig_end(&r);
}
