/* upload.c - a server with streamed routes in every topology, and what tests of request bodies do with it. */
#include "upload.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "failing_alloc.h"
#include "io.h"
#include "server.h"

const upload_topology upload_topologies[UPLOAD_TOPOLOGIES] = {
    {0, ""}, {0, "io_threads=0"}, {TURBO_EXECUTOR_DRIVEN, ""}, {TURBO_EXECUTOR_DRIVEN, "io_threads=0"}};

void upload_route(rig *r, const char *path, const char *options, turbo_handler_fn fn, void *user) {
    turbo_route_options *made;
    char text[256], *save = NULL;
    cr_assert_eq(turbo_route_options_new(&made), 0);
    (void)snprintf(text, sizeof text, "%s", options);
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        cr_assert_eq(turbo_route_options_set(made, word, value), 0, "%s", turbo_route_options_error(made));
    }
    cr_assert_eq(turbo_server_route(r->server, NULL, path, made, fn, user), 0, "%s", turbo_server_error(r->server));
    turbo_route_options_free(made);
}

void upload_prepare(rig *r, size_t topology, const char *more) {
    char settings[256];
    (void)snprintf(settings, sizeof settings, "%s body_stall_timeout_ms=0 %s", upload_topologies[topology].settings, more);
    rig_listen(r, upload_topologies[topology].flags, settings);
    upload_route(r, "/", "", answer_ok, NULL);
    upload_route(r, "/up", "body=streamed body_max_bytes=1073741824", answer_ok, NULL);
    upload_route(r, "/small", "body=streamed body_max_bytes=10 body_window_bytes=4", answer_ok, NULL);
    upload_route(r, "/window", "body=streamed body_window_bytes=100", answer_ok, NULL);
}

void upload_start(rig *r, client *c, size_t topology, const char *more) {
    upload_prepare(r, topology, more);
    rig_start(r);
    client_open(c, turbo_server_port(r->server));
}

void upload_end(rig *r, client *c) {
    client_close(c, 0);
    rig_end(r);
    cr_expect_not(failing_alloc_leaks());
}

turbo_stats upload_stats(const rig *r) {
    turbo_stats s = TURBO_STATS_INIT;
    (void)turbo_server_stats(r->server, &s);
    return s;
}

uint64_t upload_bytes_in(const rig *r) {
    uint64_t sum = 0;
    for (size_t i = 0; i < r->server->io_count; i++)
        sum += atomic_load(&r->server->ios[i]->group.bytes_in);
    return sum;
}

turbo_request *upload_request(rig *r, size_t i) {
    RUN_UNTIL(r, r->seen.count > i);
    return r->seen.reqs[i];
}

uint32_t upload_events(rig *r, size_t i) {
    pthread_mutex_lock(&r->seen.lock);
    uint32_t events = r->seen.events[i];
    pthread_mutex_unlock(&r->seen.lock);
    return events;
}

void upload_flush(rig *r) {
    if (r->driven)
        turbo_shard_flush(turbo_server_shard(r->server, 0));
}

void upload_reply(rig *r, size_t i, const char *text) {
    cr_expect_eq(turbo_request_reply(r->seen.reqs[i], 200, NULL, text, strlen(text)), 0);
    upload_flush(r);
}

int upload_answer(rig *r, client *c) {
    char byte;
    RUN_UNTIL(r, c->len > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN);
    return client_answer(c);
}

void upload_settle(rig *r) {
    for (int i = 0; i < 10; i++) {
        if (r->driven)
            rig_settle(r);
        (void)await_longer(UINT64_MAX);
    }
}

int upload_read_part(rig *r, turbo_request *req, turbo_str *out) {
    int rc = TURBO_EAGAIN;
    RUN_UNTIL(r, (rc = turbo_request_body_read(req, out)) != TURBO_EAGAIN);
    return rc;
}

int upload_read_text(rig *r, turbo_request *req, char *text, size_t size) {
    turbo_str part;
    size_t len = 0;
    int rc;
    while ((rc = upload_read_part(r, req, &part)) == 1) {
        cr_assert_gt(part.len, 0);
        cr_assert_lt(len + part.len, size);
        memcpy(text + len, part.data, part.len);
        len += part.len;
    }
    text[len] = '\0';
    return rc;
}

void upload_send_all(rig *r, client *c, const char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        at += client_send_some(c, data + at, len - at);
        if (r->driven)
            (void)rig_poll(r);
    }
}
