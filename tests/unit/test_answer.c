/* test_answer.c - from a handler's answer to the loop that sends it. */
#include "answer.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/await.h"
#include "../support/client.h"
#include "../support/failing_alloc.h"
#include "../support/rig.h"

TestSuite(answer, .timeout = 60);

#define ASK "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void start(rig *r, uint32_t flags, const char *settings) {
    rig_listen(r, flags, settings);
    cr_assert_eq(turbo_server_route(r->server, "GET", "/", NULL, answer_ok, NULL), 0);
    rig_start(r);
}

static turbo_request *ask(rig *r, client *c) {
    size_t before = r->seen.count;
    client_send(c, ASK);
    AWAIT((!r->driven || rig_poll(r) == 0) && r->seen.count == before + 1);
    return r->seen.reqs[before];
}

static turbo_response *with_body(int32_t status, const char *text) {
    turbo_response *resp = NULL;
    cr_assert_eq(turbo_response_new(&resp, status), 0);
    cr_assert_eq(turbo_response_body_copy(resp, text, strlen(text)), 0);
    return resp;
}

/* -- who may answer -- */

struct racer {
    turbo_request *req;
    pthread_barrier_t *gate;
    int rc;
};

static void *race(void *arg) {
    struct racer *racer = arg;
    pthread_barrier_wait(racer->gate);
    racer->rc = turbo_request_reply(racer->req, 200, NULL, "x", 1);
    return NULL;
}

Test(answer, of_many_threads_that_answer_one_wins) {
    rig r;
    client c;
    start(&r, 0, "");
    client_open(&c, turbo_server_port(r.server));
    for (int round = 0; round < 50; round++) {
        struct racer racers[4];
        pthread_t threads[4];
        pthread_barrier_t gate;
        turbo_request *req = ask(&r, &c);
        int winners = 0;
        pthread_barrier_init(&gate, NULL, 4);
        for (int i = 0; i < 4; i++) {
            racers[i] = (struct racer){req, &gate, 1};
            cr_assert_eq(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            cr_expect(racers[i].rc == 0 || racers[i].rc == TURBO_ESTATE);
            winners += racers[i].rc == 0;
        }
        pthread_barrier_destroy(&gate);
        cr_assert_eq(winners, 1);
        cr_assert_eq(client_answer(&c), 200);
    }
    client_close(&c, 0);
    rig_end(&r);
}

Test(answer, status_answers_say_their_reason) {
    rig r;
    client c;
    start(&r, 0, "");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    cr_expect_eq(turbo__answer_status(req, 503, NULL), 0);
    cr_expect_eq(turbo__answer_status(req, 500, NULL), TURBO_ESTATE);
    cr_expect_eq(client_answer(&c), 503);
    cr_expect_str_eq(c.body, "Service Unavailable\n");
    cr_expect(client_has(&c, "Content-Type: text/plain; charset=utf-8"));
    cr_expect_eq(turbo__answer_status(ask(&r, &c), 505, "left out"), 0);
    cr_expect_eq(client_answer(&c), 505);
    cr_expect_str_eq(c.body, "HTTP Version Not Supported: HTTP/1.1 and HTTP/1.0 are\n");
    cr_expect_eq(turbo__answer_status(ask(&r, &c), 400, "no Host"), 0);
    cr_expect_eq(client_answer(&c), 400);
    cr_expect_str_eq(c.body, "Bad Request: no Host\n");
    cr_expect_eq(turbo__answer_status(ask(&r, &c), 204, NULL), 0);
    cr_expect_eq(client_answer(&c), 204);
    cr_expect_eq(c.body_len, 0);
    client_close(&c, 0);
    rig_end(&r);
}

/* -- the way home -- */

Test(answer, on_a_driven_shards_thread_it_waits_for_the_flush) {
    rig r;
    client c;
    char byte;
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "x", 1), 0);
    for (int i = 0; i < 20; i++)
        (void)await_longer(UINT64_MAX);
    cr_expect_lt(recv(c.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK), 0, "nobody has flushed");
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    cr_expect_eq(client_answer(&c), 200);
    client_close(&c, 0);
    rig_end(&r);
}

static void *reply_ok(void *req) { return (void *)(intptr_t)turbo_request_reply(req, 200, NULL, "ok", 2); }

Test(answer, from_another_thread_it_leaves_at_once) {
    rig r;
    client c;
    pthread_t thread;
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    client_open(&c, turbo_server_port(r.server));
    cr_assert_eq(pthread_create(&thread, NULL, reply_ok, ask(&r, &c)), 0);
    cr_expect_eq(client_answer(&c), 200, "without a poll or a flush");
    pthread_join(thread, NULL);
    client_close(&c, 0);
    rig_end(&r);
}

/* In a frame of its own, so that no pointer is left that would hide the leak. */
static __attribute__((noinline)) void answer_late(void) {
    rig r;
    client c;
    start(&r, TURBO_EXECUTOR_DRIVEN, "drain_timeout_ms=0");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = turbo_request_retain(ask(&r, &c));
    cr_assert_eq(turbo_server_stop(r.server, NULL, NULL), 0);
    AWAIT(rig_poll(&r) == 1);
    cr_expect_eq(turbo_server_wait(r.server), 0);
    expect_all_accounted(r.server, 1, 0, 0, 0, 1);
    cr_expect_eq(turbo_request_reply(req, 200, NULL, "late", 4), 0);
    turbo_request_release(req);
    cr_expect_eq(client_answer(&c), 0);
    client_close(&c, 0);
    rig_end(&r);
}

/* The host of a driven shard that has ended calls neither poll nor flush any more. */
Test(answer, after_the_shard_has_ended_it_is_thrown_away_and_leaks_nothing) {
    answer_late();
    cr_expect_not(failing_alloc_leaks());
}

/* -- failures -- */

Test(answer, fail_answers_500_when_nothing_has_begun) {
    rig r;
    client c;
    start(&r, 0, "");
    client_open(&c, turbo_server_port(r.server));
    cr_expect_eq(turbo_request_fail(ask(&r, &c)), 0);
    cr_expect_eq(client_answer(&c), 500);
    cr_expect_eq(turbo_request_reply(ask(&r, &c), 200, NULL, NULL, 0), 0);
    cr_expect_eq(client_answer(&c), 200, "the connection lives on");
    client_close(&c, 0);
    rig_end(&r);
}

Test(answer, fail_cuts_off_what_has_begun) {
    rig r;
    client c;
    start(&r, 0, "");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    cr_expect_eq(turbo_request_respond_begin(req, with_body(200, "part")), 0);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_gt(client_rest(&c), 0);
    cr_expect_not_null(strstr(c.data, "4\r\npart\r\n"));
    cr_expect_null(strstr(c.data, "\r\n0\r\n"), "it must not look whole");
    client_close(&c, 0);
    rig_end(&r);
}

/* -- without a connection -- */

static turbo_request *submitted(rig *r, outcome *out) {
    turbo_request *req = request_to(r->server, "/", out);
    cr_assert_eq(turbo_shard_submit(turbo_server_shard(r->server, 0), req), 0);
    rig_settle(r);
    return req;
}

Test(answer, without_a_connection_it_goes_to_done_on_the_answering_thread) {
    rig r;
    outcome out = {0};
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    turbo_request *req = submitted(&r, &out);
    cr_expect_eq(turbo_request_respond(req, with_body(404, "no")), 0);
    cr_expect_eq(out.answered, 1, "before respond() has returned");
    cr_expect_eq(out.status, 404);
    cr_expect_str_eq(out.body, "no");
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_eq(out.answered, 1);
}

static void count_free(void *user) { (*(int *)user)++; }

Test(answer, parts_are_gathered_whatever_the_first_one_was) {
    static const char *const kinds[] = {"none", "copy", "static", "ref"};
    rig r;
    int freed = 0;
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    for (size_t i = 0; i < 4; i++) {
        outcome out = {0};
        turbo_response *resp = NULL;
        turbo_request *req = submitted(&r, &out);
        cr_assert_eq(turbo_response_new(&resp, 200), 0);
        if (i == 1)
            (void)turbo_response_body_copy(resp, "1", 1);
        if (i == 2)
            (void)turbo_response_body_static(resp, "1", 1);
        if (i == 3)
            (void)turbo_response_body_ref(resp, "1", 1, count_free, &freed);
        cr_expect_eq(turbo_request_respond_begin(req, resp), 0);
        cr_expect_eq(turbo_request_respond_write(req, "2", 1), 0);
        cr_expect_eq(turbo_request_respond_write(req, "3", 1), 0);
        cr_expect_eq(out.answered, 0);
        cr_expect_eq(turbo_request_respond_end(req), 0);
        cr_expect_eq(out.answered, 1);
        cr_expect_str_eq(out.body, i == 0 ? "23" : "123", "%s", kinds[i]);
        turbo_request_release(req);
    }
    cr_expect_eq(freed, 1);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* All is on the test's thread: between two polls nothing is on its way. */
Test(answer, unsent_max_is_exact_for_streamed_answers) {
    static const char part[3000] = "";
    rig r;
    client c;
    start(&r, TURBO_EXECUTOR_DRIVEN, "io_threads=0 unsent_max_bytes=1024");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    cr_assert_eq(turbo_request_respond_begin(req, with_body(200, "x")), 0);
    cr_expect_eq(turbo_request_respond_write(req, part, 1022), 0);
    cr_expect_eq(turbo_request_respond_write(req, part, 1), 0, "1022 waited");
    cr_expect_eq(turbo_request_respond_write(req, part, 1), 0, "1023");
    cr_expect_eq(turbo_request_respond_write(req, part, 1), TURBO_EAGAIN, "1024");
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    AWAIT(rig_poll(&r) == 0 && (r.seen.events[0] & TURBO_EVENT_WRITABLE) != 0);
    cr_expect_eq(turbo_request_respond_write(req, part, 1023), 0);
    cr_expect_eq(turbo_request_respond_write(req, part, 3000), 0, "below the limit a part is taken whole");
    cr_expect_eq(turbo_request_respond_write(req, part, 1), TURBO_EAGAIN);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    rig_settle(&r);
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(c.body_len, 1 + 1024 + 1023 + 3000);
    client_close(&c, 0);
    rig_end(&r);
}

Test(answer, gathered_parts_are_limited_by_body_memory_max) {
    rig r;
    outcome out = {0};
    start(&r, TURBO_EXECUTOR_DRIVEN, "body_memory_max_bytes=4");
    turbo_request *req = submitted(&r, &out);
    cr_expect_eq(turbo_request_respond_begin(req, with_body(200, "ab")), 0);
    cr_expect_eq(turbo_request_respond_write(req, "cde", 3), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_respond_write(req, "cd", 2), 0);
    cr_expect_eq(turbo_request_respond_write(req, "e", 1), TURBO_ETOOBIG);
    cr_expect_eq(turbo_request_respond_end(req), 0);
    cr_expect_str_eq(out.body, "abcd");
    turbo_request_release(req);
    rig_end(&r);
}

Test(answer, a_streamed_answer_that_fails_is_no_answer) {
    rig r;
    outcome out = {0};
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    turbo_request *req = submitted(&r, &out);
    cr_expect_eq(turbo_request_respond_begin(req, with_body(200, "ab")), 0);
    cr_expect_eq(turbo_request_fail(req), 0);
    cr_expect_eq(out.answered, 0);
    cr_expect_eq(out.failed, 1);
    turbo_request_release(req);
    rig_end(&r);
    cr_expect_not(failing_alloc_leaks());
}

/* -- lent bodies -- */

Test(answer, a_lent_body_comes_back_as_an_event_once_it_was_sent) {
    static char body[100000];
    rig r;
    client c;
    turbo_response *resp = NULL;
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    memset(body, 'b', sizeof body);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_response_body_lend(resp, body, sizeof body), 0);
    cr_expect_eq(turbo_request_respond(req, resp), 0);
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    cr_expect_eq(client_answer(&c), 200);
    cr_expect_eq(c.body_len, sizeof body);
    AWAIT(rig_poll(&r) == 0 && (r.seen.events[0] & TURBO_EVENT_RELEASE) != 0);
    client_close(&c, 0);
    rig_end(&r);
}

Test(answer, a_lent_body_comes_back_when_the_client_has_gone) {
    rig r;
    client c;
    turbo_response *resp = NULL;
    start(&r, TURBO_EXECUTOR_DRIVEN, "");
    client_open(&c, turbo_server_port(r.server));
    turbo_request *req = ask(&r, &c);
    client_close(&c, 1);
    AWAIT(rig_poll(&r) == 0 && (r.seen.events[0] & TURBO_EVENT_GONE) != 0);
    cr_assert_eq(turbo_response_new(&resp, 200), 0);
    cr_assert_eq(turbo_response_body_lend(resp, "x", 1), 0);
    cr_expect_eq(turbo_request_respond(req, resp), 0);
    turbo_shard_flush(turbo_server_shard(r.server, 0));
    AWAIT(rig_poll(&r) == 0 && (r.seen.events[0] & TURBO_EVENT_RELEASE) != 0);
    rig_end(&r);
}
