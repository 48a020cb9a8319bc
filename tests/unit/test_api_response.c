/* test_api_response.c - every error that include/turbo/response.h documents. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(api_response, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static turbo_response *new_response(int32_t status) {
    turbo_response *resp = NULL;
    cr_assert_eq(turbo_response_new(&resp, status), 0);
    return resp;
}

static int add(turbo_response *resp, const char *name, const char *value) {
    return turbo_response_field_add(resp, name, strlen(name), value, strlen(value));
}

/* A server whose first request waits for the test's answer. */
static turbo_request *ask(rig *r, client *c, uint32_t flags, const char *settings) {
    rig_listen(r, flags, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
    client_open(c, turbo_server_port(r->server));
    client_send(c, ASK);
    AWAIT((!r->driven || rig_poll(r) == 0) && r->seen.count == 1);
    return r->seen.reqs[0];
}

static void end(rig *r, client *c) {
    client_close(c, 0);
    rig_end(r);
}

/* -- building -- */

/* errors: turbo_response_new TURBO_EINVAL, TURBO_ENOMEM */
Test(api_response, new_takes_final_statuses_and_needs_memory) {
    turbo_response *resp = NULL;
    cr_expect_eq(turbo_response_new(&resp, 199), TURBO_EINVAL);
    cr_expect_eq(turbo_response_new(&resp, 600), TURBO_EINVAL);
    cr_expect_eq(turbo_response_new(&resp, 0), TURBO_EINVAL);
    cr_expect_eq(turbo_response_new(&resp, -200), TURBO_EINVAL);
    cr_expect_null(resp);
    turbo_response_free(new_response(200));
    turbo_response_free(new_response(599));
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_response_new(&resp, 200), turbo_response_free(resp));
}

/* errors: turbo_response_field_add TURBO_EINVAL */
Test(api_response, fields_that_are_malformed_or_the_librarys) {
    static const char *const bad[][2] = {
        {"", "x"},           {"a b", "x"},          {"a:", "x"},         {"a\r\n", "x"},          {"\xe4", "x"},
        {"a", "x\r\nb: y"},  {"a", "x\n"},          {"a", "x\x01"},      {"a", "\x7f"},           {"keep-alive", ""},
        {"Keep-Alive", "5"}, {"Connection", "x"}, {"connection", "keep-alive"}, {"Connection", "upgrade"},
        {"Transfer-Encoding", "chunked"},           {"Content-Length", "-1"}, {"content-length", "1x"},
        {"Content-Length", ""}, {"Content-Length", "18446744073709551616"}};
    turbo_response *resp = new_response(200);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(turbo_response_field_add(resp, bad[i][0], strlen(bad[i][0]), bad[i][1], strlen(bad[i][1])),
                     TURBO_EINVAL, "%s: %s", bad[i][0], bad[i][1]);
    cr_expect_eq(turbo_response_field_add(resp, "a", 1, "x\0y", 3), TURBO_EINVAL, "NUL");
    cr_expect_null(turbo_response_field(resp, "a").data);
    cr_expect_eq(add(resp, "a", "x\ty \xe4"), 0);
    cr_expect_eq(add(resp, "Connection", "Close"), 0);
    cr_expect_eq(add(resp, "Upgrade", "h2c"), 0);
    cr_expect_eq(add(resp, "Content-Length", "18446744073709551615"), 0);
    turbo_response_free(resp);
}

/* errors: turbo_response_field_add TURBO_ETOOBIG, TURBO_ENOMEM */
Test(api_response, fields_are_limited_to_64_kib) {
    static char value[65536];
    turbo_response *resp = new_response(200);
    memset(value, 'v', sizeof value);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_response_field_add(resp, "b", 1, "v", 1), );
    size_t room = 65536 - strlen("b: v\r\n") - strlen("a: \r\n");
    cr_expect_eq(turbo_response_field_add(resp, "a", 1, value, room + 1), TURBO_ETOOBIG);
    cr_expect_eq(turbo_response_field_add(resp, "a", 1, value, room), 0);
    cr_expect_eq(turbo_response_field_add(resp, "c", 1, "", 0), TURBO_ETOOBIG);
    cr_expect_eq(turbo_response_field(resp, "a").len, room);
    turbo_response_free(resp);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_response_body_copy TURBO_ENOMEM */
Test(api_response, body_copy_without_memory_keeps_the_body_before) {
    turbo_response *resp = new_response(200);
    cr_expect_eq(turbo_response_body_static(resp, "old", 3), 0);
    failing_alloc_arm(1);
    cr_expect_eq(turbo_response_body_copy(resp, "new!", 4), TURBO_ENOMEM);
    cr_expect(failing_alloc_disarm());
    cr_expect_eq(turbo_response_body(resp).len, 3);
    cr_expect_eq(turbo_response_body_copy(resp, "new!", 4), 0);
    cr_expect_eq(turbo_response_body(resp).len, 4);
    turbo_response_free(resp);
    cr_expect_not(failing_alloc_leaks());
}

/* -- whole answers -- */

/* errors: turbo_request_respond TURBO_ESTATE; turbo_request_reply TURBO_ESTATE;
 * turbo_request_respond_begin TURBO_ESTATE; turbo_request_fail TURBO_ESTATE; turbo_request_on_writable TURBO_ESTATE */
Test(api_response, a_second_answer_of_any_kind) {
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, 0, "");
    turbo_response *resp = new_response(404);
    cr_expect_eq(turbo_request_on_writable(req, NULL, NULL), 0);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "first", 5), 0);
    cr_expect_eq(turbo_request_respond(req, resp), TURBO_ESTATE);
    cr_expect_eq(turbo_request_respond_begin(req, resp), TURBO_ESTATE);
    cr_expect_eq(turbo_response_status(resp), 404, "it is still the caller's");
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "second", 6), TURBO_ESTATE);
    cr_expect_eq(turbo_request_fail(req), TURBO_ESTATE);
    cr_expect_eq(turbo_request_on_writable(req, NULL, NULL), TURBO_ESTATE);
    turbo_response_free(resp);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "first");
    client_fin(&c);
    cr_expect_eq(client_rest(&c), 0, "nothing follows");
    end(&r, &c);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_request_reply TURBO_EINVAL, TURBO_ENOMEM */
Test(api_response, reply_that_is_refused_leaves_the_request_open) {
    static const char large[8192] = "x";
    rig r;
    outcome out = {0};
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(&r);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(r.server, 0), req), 0);
    rig_settle(&r);
    cr_expect_eq(turbo_request_reply(req, 199, NULL, NULL, 0), TURBO_EINVAL);
    cr_expect_eq(turbo_request_reply(req, 600, NULL, NULL, 0), TURBO_EINVAL);
    cr_expect_eq(turbo_request_reply(req, 200, "text/plain\r\nX: y", NULL, 0), TURBO_EINVAL);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_reply(req, 200, "a/b", large, sizeof large), );
    cr_expect_eq(out.answered, 1);
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- streamed answers -- */

/* errors: turbo_request_respond_write TURBO_ESTATE; turbo_request_respond_end TURBO_ESTATE; turbo_request_fail
 * TURBO_ESTATE; turbo_request_respond TURBO_ESTATE */
Test(api_response, streamed_calls_out_of_order) {
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, 0, "");
    turbo_response *other = new_response(200);
    cr_expect_eq(turbo_request_respond_write(req, "x", 1), TURBO_ESTATE);
    cr_expect_eq(turbo_request_respond_end(req), TURBO_ESTATE);
    cr_expect_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    cr_expect_eq(turbo_request_respond(req, other), TURBO_ESTATE);
    cr_expect_eq(turbo_request_respond_write(req, "abc", 3), 0);
    cr_expect_eq(turbo_request_respond_write(req, NULL, 0), 0);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(turbo_request_respond_write(req, "x", 1), TURBO_ESTATE);
    cr_expect_eq(turbo_request_respond_end(req), TURBO_ESTATE);
    cr_expect_eq(turbo_request_fail(req), TURBO_ESTATE);
    turbo_response_free(other);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "abc");
    end(&r, &c);
}

#define TEXT(text) text, strlen(text)

/* errors: turbo_request_respond_trailer TURBO_ESTATE, TURBO_EINVAL, TURBO_ETOOBIG */
Test(api_response, trailers_that_are_refused) {
    static char large[65536];
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, 0, "");
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X-Sum"), TEXT("1")), TURBO_ESTATE);
    cr_assert_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X Sum"), TEXT("1")), TURBO_EINVAL);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT(""), TEXT("1")), TURBO_EINVAL);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X-Sum"), TEXT("1\r\nX: y")), TURBO_EINVAL);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("content-length"), TEXT("1")), TURBO_EINVAL);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("Set-Cookie"), TEXT("a=1")), TURBO_EINVAL);
    memset(large, 'x', sizeof large - 1);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X"), TEXT(large)), TURBO_ETOOBIG);
    large[sizeof large - 6] = '\0'; /* with "X: " and CRLF: 65,535 bytes */
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X"), TEXT(large)), 0);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("Y"), TEXT("")), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(turbo_request_respond_trailer(req, TEXT("X-Sum"), TEXT("1")), TURBO_ESTATE);
    end(&r, &c);
}

/* errors: turbo_request_respond_trailer TURBO_ENOMEM */
Test(api_response, trailers_without_memory) {
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, 0, "");
    cr_assert_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_respond_trailer(req, TEXT("X-Sum"), TEXT("1")), );
    cr_expect_eq(turbo_request_respond_end(req), 0);
    end(&r, &c);
}

/* errors: turbo_request_respond_write TURBO_ETOOBIG */
Test(api_response, writing_more_than_was_promised) {
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, 0, "");
    turbo_response *resp = new_response(200);
    cr_assert_eq(add(resp, "Content-Length", "5"), 0);
    cr_assert_eq(turbo_response_body_static(resp, "ab", 2), 0);
    cr_assert_eq(turbo_request_respond_begin(req, resp), 0);
    cr_expect_eq(turbo_request_respond_write(req, "cdef", 4), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_respond_write(req, "cde", 3), 0);
    cr_expect_eq(turbo_request_respond_write(req, "f", 1), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_str_eq(c.body, "abcde");
    end(&r, &c);
}

/* errors: turbo_request_respond_write TURBO_ENOMEM */
Test(api_response, writing_without_memory_takes_nothing) {
    rig r;
    outcome out = {0};
    rig_new(&r, TURBO_EXECUTOR_DRIVEN, "");
    cr_assert_eq(turbo_server_route(r.server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(&r);
    turbo_request *req = request_to(r.server, "/", &out);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(r.server, 0), req), 0);
    rig_settle(&r);
    cr_assert_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_respond_write(req, "abc", 3), );
    FAILS_WITHOUT_MEMORY(TURBO_ENOMEM, turbo_request_respond_write(req, "def", 3), );
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_str_eq(out.body, "abcdef");
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* errors: turbo_request_respond_write TURBO_EAGAIN */
Test(api_response, writing_faster_than_the_client_reads) {
    static char part[65536];
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, TURBO_EXECUTOR_DRIVEN, "unsent_max_bytes=262144");
    size_t written = 0;
    int rc;
    cr_assert_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    for (int round = 0; round < 1000; round++) { /* the kernel's buffers take some megabytes */
        while ((rc = turbo_request_respond_write(req, part, sizeof part)) == 0)
            written += sizeof part;
        cr_assert_eq(rc, TURBO_EAGAIN);
        turbo_shard_flush(turbo_server_shard(r.server, 0));
        for (int i = 0; i < 20 && (r.seen.events[0] & TURBO_EVENT_WRITABLE) == 0; i++) {
            (void)rig_poll(&r);
            (void)await_longer(UINT64_MAX);
        }
        if ((r.seen.events[0] & TURBO_EVENT_WRITABLE) == 0)
            break; /* nothing moves any more: the client has to read */
        r.seen.events[0] = 0;
    }
    cr_assert_eq(turbo_request_respond_write(req, part, 1), TURBO_EAGAIN);
    char buf[65536];
    AWAIT(recv(c.fd, buf, sizeof buf, MSG_DONTWAIT) >= -1 && rig_poll(&r) == 0 &&
          (r.seen.events[0] & TURBO_EVENT_WRITABLE) != 0);
    cr_expect_eq(turbo_request_respond_write(req, part, 1), 0, "the event said so");
    cr_expect_geq(written, 262144);
    end(&r, &c);
}

/* errors: turbo_request_respond_write TURBO_ECLOSED */
Test(api_response, writing_to_a_client_that_has_gone) {
    rig r;
    client c;
    turbo_request *req = ask(&r, &c, TURBO_EXECUTOR_DRIVEN, "");
    cr_assert_eq(turbo_request_respond_begin(req, new_response(200)), 0);
    client_close(&c, 1);
    AWAIT(turbo_request_cancelled(req));
    cr_expect_eq(turbo_request_respond_write(req, "x", 1), TURBO_ECLOSED);
    AWAIT(rig_poll(&r) == 0 && r.seen.events[0] & TURBO_EVENT_GONE);
    cr_expect_eq(turbo_request_respond_end(req), 0, "also when the client has gone");
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}
