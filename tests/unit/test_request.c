/* test_request.c - one request: its block, references, body, accessors. */
#include "request.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/failing_alloc.h"
#include "../support/rig.h"
#include "mem.h"
#include "server.h"

TestSuite(request, .timeout = 30);

#define EXPECT_STR(str, text)                                                                              \
    do {                                                                                                   \
        turbo_str str_ = (str);                                                                            \
        cr_expect(str_.len == strlen(text) && memcmp(str_.data, text, str_.len) == 0, "%s is \"%.*s\"", #str, \
                  (int)str_.len, str_.data);                                                               \
    } while (0)

static void new_driven(rig *r, const char *settings) {
    rig_new(r, TURBO_EXECUTOR_DRIVEN, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/users/{id}/files/{path...}", NULL, answer_ok, r), 0);
    rig_start(r);
}

/* -- references -- */

/* The reference that turbo_request_new() gives is the caller's whatever becomes of the request. */
Test(request, the_callers_reference_is_its_own) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    turbo_shard *shard = turbo_server_shard(r.server, 0);
    turbo_request *early = request_to(r.server, "/", &out), *late = request_to(r.server, "/", &out);
    turbo_request *never = request_to(r.server, "/", &out), *direct = request_to(r.server, "/", &out);
    r.seen.runs = 1;
    cr_assert_eq(turbo_shard_submit(shard, early), 0);
    turbo_request_release(early);
    cr_assert_eq(turbo_shard_submit(shard, late), 0);
    rig_settle(&r);
    cr_expect_eq(out.answered, 2);
    EXPECT_STR(turbo_request_path(late), "/");
    turbo_request_release(late);
    turbo_request_release(never);
    cr_expect_eq(turbo_request_reply(direct, 200, NULL, NULL, 0), 0);
    cr_expect_eq(out.answered, 3);
    EXPECT_STR(turbo_request_path(direct), "/");
    turbo_request_release(direct);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

Test(request, releasing_nothing_is_allowed) { turbo_request_release(NULL); }

Test(request, a_request_keeps_its_server_alive) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    turbo_request *req = request_to(r.server, "/users/7/files/a", &out);
    rig_end(&r);
    EXPECT_STR(turbo_request_param(req, "id"), "7");
    cr_expect_str_eq(turbo_request_route(req), "/users/{id}/files/{path...}");
    turbo_request_release(req);
    cr_expect_not(failing_alloc_leaks());
}

/* -- accessors -- */

Test(request, accessors_of_a_request_without_a_connection) {
    rig r;
    outcome out = {0};
    turbo_str name, value;
    char peer[64] = "x";
    new_driven(&r, "");
    turbo_request *req = request_to(r.server, "/users/a%20b/files/c/d%2Fe?x=1&flag&y=2&empty=&x=3", &out);
    EXPECT_STR(turbo_request_method(req), "GET");
    EXPECT_STR(turbo_request_target(req), "/users/a%20b/files/c/d%2Fe?x=1&flag&y=2&empty=&x=3");
    EXPECT_STR(turbo_request_path(req), "/users/a%20b/files/c/d%2Fe");
    EXPECT_STR(turbo_request_query(req), "x=1&flag&y=2&empty=&x=3");
    EXPECT_STR(turbo_request_query_value(req, "x"), "1");
    EXPECT_STR(turbo_request_query_value(req, "y"), "2");
    EXPECT_STR(turbo_request_query_value(req, "empty"), "");
    EXPECT_STR(turbo_request_query_value(req, "flag"), "");
    cr_expect_not_null(turbo_request_query_value(req, "flag").data);
    cr_expect_null(turbo_request_query_value(req, "fla").data);
    cr_expect_null(turbo_request_query_value(req, "flags").data);
    cr_expect_eq(turbo_request_version(req), 11);
    cr_expect_eq(turbo_request_user(req), &r);
    cr_expect_null(turbo_request_shard(req));
    cr_expect_eq(turbo_request_param_count(req), 2);
    EXPECT_STR(turbo_request_param(req, "id"), "a b");
    EXPECT_STR(turbo_request_param(req, "path"), "c/d/e");
    cr_expect_null(turbo_request_param(req, "pat").data);
    cr_expect_eq(turbo_request_param_at(req, 1, &name, &value), 0);
    EXPECT_STR(name, "path");
    EXPECT_STR(value, "c/d/e");
    cr_expect_eq(turbo_request_field_count(req), 0);
    cr_expect_null(turbo_request_field(req, "Host").data);
    cr_expect_eq(turbo_request_trailer_count(req), 0);
    cr_expect_null(turbo_request_trailer(req, "Host").data);
    cr_expect_eq(turbo_request_body(req).len, 0);
    cr_expect_eq(turbo_request_peer(req, peer, sizeof peer), 0);
    cr_expect_str_empty(peer);
    cr_expect_not(turbo_request_cancelled(req));
    cr_expect_null(turbo_request_data(req));
    turbo_request_data_set(req, &out);
    cr_expect_eq(turbo_request_data(req), &out);
    turbo_request_release(req);
    rig_end(&r);
}

Test(request, a_target_without_a_query_has_none_and_an_empty_one_is_empty) {
    rig r;
    outcome out = {0};
    new_driven(&r, "");
    turbo_request *none = request_to(r.server, "/", &out), *empty = request_to(r.server, "/?", &out);
    cr_expect_null(turbo_request_query(none).data);
    cr_expect_null(turbo_request_query_value(none, "a").data);
    cr_expect_not_null(turbo_request_query(empty).data);
    cr_expect_eq(turbo_request_query(empty).len, 0);
    turbo_request_release(none);
    turbo_request_release(empty);
    rig_end(&r);
}

/* -- from a head -- */

static const char raw[] = "GET http://h HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2\r\n\r\n";

static turbo__h1_head some_head(turbo__field fields[3]) {
    turbo__h1_head head = {.raw = raw, .raw_len = sizeof raw - 1, .version = 11};
    static const char *const lines[3][2] = {{"Host", "h"}, {"A", "1"}, {"a", "2"}};
    const char *at = raw;
    for (size_t i = 0; i < 3; i++) {
        at = strstr(at, lines[i][0]);
        if (i > 0)
            at = strstr(strstr(raw, "\r\nA"), i == 1 ? "A" : "a");
        fields[i] = (turbo__field){{(uint32_t)(at - raw), (uint32_t)strlen(lines[i][0])},
                                   {(uint32_t)(at - raw) + (uint32_t)strlen(lines[i][0]) + 2, 1}};
    }
    head.fields = fields;
    head.field_count = 3;
    head.method = (turbo__span){0, 3};
    head.target = (turbo__span){4, 8};
    head.path = (turbo__span){12, 0};
    return head;
}

Test(request, copies_the_head_into_its_block) {
    turbo__field fields[3];
    turbo__h1_head head = some_head(fields);
    turbo_str name, value;
    turbo_request *req = turbo__request_from_head(&head, 2);
    cr_assert_not_null(req);
    memset(fields, 0, sizeof fields);
    cr_expect_neq(turbo_request_method(req).data, raw);
    EXPECT_STR(turbo_request_method(req), "GET");
    EXPECT_STR(turbo_request_target(req), "http://h");
    EXPECT_STR(turbo_request_path(req), "/"); /* RFC 9110 4.2.3: an authority alone means "/" */
    cr_expect_eq(turbo_request_field_count(req), 3);
    EXPECT_STR(turbo_request_field(req, "host"), "h");
    EXPECT_STR(turbo_request_field(req, "a"), "1");
    cr_expect_eq(turbo_request_field_at(req, 2, &name, &value), 0);
    EXPECT_STR(name, "a");
    EXPECT_STR(value, "2");
    cr_expect_eq(turbo_request_field_at(req, 3, &name, &value), TURBO_ENOENT);
    cr_expect_str_eq(turbo_request_route(req), "");
    cr_expect_null(turbo_request_user(req));
    turbo_request_release(req);
}

Test(request, without_memory_there_is_none) {
    turbo__field fields[3];
    turbo__h1_head head = some_head(fields);
    failing_alloc_arm(1);
    cr_expect_null(turbo__request_from_head(&head, 0));
    failing_alloc_arm(1);
    cr_expect_null(turbo__request_bare(10));
    cr_expect(failing_alloc_disarm());
}

Test(request, peer_as_text) {
    turbo_request *req = turbo__request_bare(10);
    char text[64];
    cr_assert_not_null(req);
    cr_expect_eq(turbo_request_version(req), 10);
    req->peer = (turbo__peer){AF_INET, 4711, {127, 0, 0, 1}};
    cr_expect_eq(turbo_request_peer(req, text, sizeof "127.0.0.1:4711"), 0);
    cr_expect_str_eq(text, "127.0.0.1:4711");
    cr_expect_eq(turbo_request_peer(req, text, sizeof "127.0.0.1:4711" - 1), TURBO_ETOOBIG);
    req->peer = (turbo__peer){AF_INET6, 65535, {[15] = 1}};
    cr_expect_eq(turbo_request_peer(req, text, sizeof text), 0);
    cr_expect_str_eq(text, "[::1]:65535");
    memset(req->peer.address, 0xFF, 16);
    cr_expect_eq(turbo_request_peer(req, text, sizeof text), 0, "64 is always enough");
    req->peer = (turbo__peer){.family = AF_UNIX};
    cr_expect_eq(turbo_request_peer(req, text, sizeof text), 0);
    cr_expect_str_eq(text, "unix:");
    turbo_request_release(req);
}

/* -- body -- */

static turbo_request *with_body(turbo_server *server, uint64_t length, int chunked) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    req->server = server;
    req->body_length = length;
    req->chunked = (uint8_t)chunked;
    return req;
}

Test(request, body_grows_to_its_maximum_and_not_above) {
    rig r;
    rig_new(&r, 0, "");
    turbo_request *req = with_body(r.server, 0, 1);
    cr_expect_eq(turbo__request_body_append(req, "abc", 3, 5), 0);
    cr_expect_eq(turbo__request_body_append(req, "def", 3, 5), TURBO_ETOOBIG);
    cr_expect_eq(turbo__request_body_append(req, "de", 2, 5), 0);
    cr_expect_eq(turbo__request_body_append(req, "f", 1, 5), TURBO_ETOOBIG);
    EXPECT_STR(turbo_request_body(req), "abcde");
    turbo_request_release(req);
    rig_end(&r);
}

Test(request, body_memory_is_bounded_and_given_back) {
    rig r;
    rig_new(&r, 0, "body_memory_max_bytes=10");
    turbo_request *a = with_body(r.server, 6, 0), *b = with_body(r.server, 5, 0);
    cr_expect_eq(turbo__request_body_append(a, "123456", 6, 100), 0);
    cr_expect_eq(turbo__request_body_append(b, "12345", 5, 100), TURBO_EAGAIN);
    cr_expect_eq(turbo__request_body_append(b, "1234", 4, 100), 0, "exactly full");
    cr_expect_eq(atomic_load(&r.server->body_memory), 10);
    turbo_request_release(a);
    cr_expect_eq(atomic_load(&r.server->body_memory), 4);
    cr_expect_eq(turbo__request_body_append(b, "5", 1, 100), 0);
    turbo_request_release(b);
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    rig_end(&r);
}

Test(request, body_without_memory) {
    rig r;
    rig_new(&r, 0, "");
    turbo_request *req = with_body(r.server, 0, 1);
    failing_alloc_arm(1);
    cr_expect_eq(turbo__request_body_append(req, "abc", 3, 5), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(turbo_request_body(req).len, 0);
    cr_expect_eq(turbo__request_body_append(req, "abc", 3, 5), 0);
    turbo_request_release(req);
    cr_expect_eq(atomic_load(&r.server->body_memory), 0);
    rig_end(&r);
}

/* -- trailers -- */

static int add_trailer(turbo_request *req, const char *name, const char *value) {
    return turbo__trailers_add(&req->trailers, (turbo_str){name, strlen(name)}, (turbo_str){value, strlen(value)});
}

Test(request, trailers_are_kept_apart_in_order_with_repeats) {
    turbo__field fields[3];
    turbo__h1_head head = some_head(fields);
    turbo_request *req = turbo__request_from_head(&head, 0);
    turbo_str name = {"n", 1}, value = {"v", 1};
    char text[40];
    cr_assert_not_null(req);
    cr_expect_null(turbo_request_trailer(req, "a").data);
    cr_expect_eq(add_trailer(req, "Sum", "0"), 0);
    cr_expect_eq(add_trailer(req, "Empty", ""), 0);
    for (int i = 1; i < 30; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        cr_expect_eq(add_trailer(req, "sum", text), 0);
    }
    cr_expect_eq(turbo_request_trailer_count(req), 31);
    EXPECT_STR(turbo_request_trailer(req, "SUM"), "0");
    EXPECT_STR(turbo_request_trailer(req, "empty"), "");
    cr_expect_not_null(turbo_request_trailer(req, "empty").data);
    cr_expect_null(turbo_request_trailer(req, "Host").data, "a header field is no trailer");
    cr_expect_eq(turbo_request_trailer_at(req, 30, &name, &value), 0);
    EXPECT_STR(name, "sum");
    EXPECT_STR(value, "29");
    cr_expect_eq(turbo_request_trailer_at(req, 0, &name, NULL), 0);
    EXPECT_STR(name, "Sum");
    cr_expect_eq(turbo_request_field_count(req), 3, "a trailer is no header field");
    cr_expect_null(turbo_request_field(req, "sum").data);
    turbo_request_release(req);
    cr_expect_not(failing_alloc_leaks());
}

static int two_trailers(turbo_request **out) {
    turbo_request *req = turbo__request_bare(11);
    int rc = TURBO_ENOMEM;
    if (req != NULL && (rc = add_trailer(req, "A", "b")) == 0)
        rc = add_trailer(req, "C", "d");
    if (rc == 0)
        *out = req;
    else
        turbo_request_release(req);
    return rc;
}

Test(request, trailers_without_memory) {
    turbo_request *req = NULL;
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, two_trailers(&req), turbo_request_release(req));
    req = turbo__request_bare(11);
    failing_alloc_arm(2); /* the array; what holds it is there */
    cr_expect_eq(add_trailer(req, "A", "b"), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(turbo_request_trailer_count(req), 0);
    cr_expect_null(turbo_request_trailer(req, "A").data);
    cr_expect_eq(add_trailer(req, "A", "b"), 0);
    EXPECT_STR(turbo_request_trailer(req, "A"), "b");
    turbo_request_release(req);
}

Test(request, body_set_replaces) {
    rig r;
    outcome out = {0};
    new_driven(&r, "body_max_bytes=4");
    turbo_request *req = request_to(r.server, "/", &out);
    cr_expect_eq(turbo_request_body_set(req, "abcd", 4), 0);
    EXPECT_STR(turbo_request_body(req), "abcd");
    cr_expect_eq(turbo_request_body_set(req, "abcde", 5), TURBO_ETOOBIG);
    EXPECT_STR(turbo_request_body(req), "abcd");
    cr_expect_eq(turbo_request_body_set(req, NULL, 0), 0);
    cr_expect_eq(turbo_request_body(req).len, 0);
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- one answer -- */

Test(request, only_one_can_claim_the_answer) {
    turbo_request *req = turbo__request_bare(11);
    cr_assert_not_null(req);
    cr_expect_eq(turbo__request_claim(req, TURBO__BEGUN, TURBO__ENDED), TURBO_ESTATE);
    cr_expect_eq(turbo__request_claim(req, TURBO__OPEN, TURBO__BEGUN), 0);
    cr_expect_eq(turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED), TURBO_ESTATE);
    cr_expect_eq(turbo__request_claim(req, TURBO__BEGUN, TURBO__ENDED), 0);
    cr_expect_eq(turbo__request_claim(req, TURBO__BEGUN, TURBO__ENDED), TURBO_ESTATE);
    turbo_request_release(req);
}

Test(request, small_answers_live_in_its_block_and_large_ones_do_not) {
    static const char large[4096] = "x";
    turbo_request *small = turbo__request_bare(11), *big = turbo__request_bare(11);
    cr_assert(small != NULL && big != NULL);
    size_t room = small->spare_len;
    failing_alloc_arm(1); /* none is needed */
    cr_expect_eq(turbo__request_fill(small, 200, (turbo_str){"t", 1}, large, room - 1), 0);
    cr_expect_not(failing_alloc_disarm());
    cr_expect_eq(small->resp->body_kind, TURBO__BODY_INSIDE);
    failing_alloc_arm(1);
    cr_expect_eq(turbo__request_fill(big, 200, (turbo_str){"t", 1}, large, room), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(turbo__request_fill(big, 200, (turbo_str){"t", 1}, large, room), 0);
    cr_expect_eq(big->resp->body_kind, TURBO__BODY_OWNED);
    EXPECT_STR(turbo_response_field(big->resp, "content-type"), "t");
    turbo_request_release(small);
    turbo_request_release(big);
    cr_expect_not(failing_alloc_leaks());
}
