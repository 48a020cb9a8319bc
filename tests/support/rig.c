/* rig.c - a server with an executor that records what it is given. */
#include "rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "await.h"

/* -- the executor -- */

static int start_shard(void *self, turbo_shard *shard) {
    recorder *seen = self;
    (void)shard;
    return atomic_fetch_add(&seen->started, 1) >= seen->start_ok ? seen->start_rc : 0;
}

static void batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    recorder *seen = self;
    pthread_mutex_lock(&seen->lock);
    seen->batch_sizes[seen->batches++ % RIG_REQUESTS_MAX] = n;
    size_t count = seen->count;
    int runs = seen->runs;
    for (size_t i = 0; !runs && i < n && count < RIG_REQUESTS_MAX; i++)
        seen->reqs[count++] = turbo_request_retain(reqs[i]);
    seen->count = count;
    pthread_mutex_unlock(&seen->lock);
    if (runs)
        turbo_shard_run(shard, reqs, n);
    if (seen->on_batch != NULL)
        seen->on_batch(seen, shard);
}

static void stop_shard(void *self, turbo_shard *shard) {
    (void)shard;
    atomic_fetch_add(&((recorder *)self)->stopped, 1);
}

static void events(void *self, turbo_shard *shard, turbo_request *req, uint32_t what) {
    recorder *seen = self;
    size_t known = 0;
    (void)shard;
    pthread_mutex_lock(&seen->lock);
    for (size_t i = 0; i < seen->count; i++)
        if (seen->reqs[i] == req) {
            seen->events[i] |= what;
            if ((what & TURBO_EVENT_GONE) != 0)
                seen->gone_with[i] = what & ~(uint32_t)TURBO_EVENT_GONE;
            known++;
        }
    pthread_mutex_unlock(&seen->lock);
    atomic_fetch_add(&seen->strays, known == 0);
}

/* -- the server -- */

turbo_options *options_from(const char *settings) {
    turbo_options *options;
    char text[512], *save, *word;
    cr_assert_eq(turbo_options_new(&options), 0);
    cr_assert_lt(strlen(settings), sizeof text);
    strcpy(text, settings);
    for (word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        cr_assert_not_null(value);
        *value++ = '\0';
        cr_assert_eq(turbo_options_set(options, word, value), 0, "%s", turbo_options_error(options));
    }
    return options;
}

void rig_new(rig *r, uint32_t flags, const char *settings) {
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    char all[512];
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->seen.lock, NULL);
    r->driven = (flags & TURBO_EXECUTOR_DRIVEN) != 0;
    cr_assert_lt((size_t)snprintf(all, sizeof all, "shards=1 io_threads=1 %s", settings), sizeof all);
    turbo_options *options = options_from(all);
    cr_assert_eq(turbo_server_new(&r->server, options), 0);
    turbo_options_free(options);
    ops.start_shard = start_shard;
    ops.batch = batch;
    ops.stop_shard = stop_shard;
    ops.events = events;
    ops.flags = flags;
    cr_assert_eq(turbo_server_set_executor(r->server, &ops, &r->seen), 0);
    cr_assert_eq(turbo_server_set_log(r->server, 0, NULL, NULL), 0);
}

void rig_listen(rig *r, uint32_t flags, const char *settings) {
    rig_new(r, flags, settings);
    cr_assert_eq(turbo_server_listen(r->server, "127.0.0.1:0"), 0, "%s", turbo_server_error(r->server));
}

void rig_start(rig *r) { cr_assert_eq(turbo_server_start(r->server), 0); }

/* A shard that has ended is never polled again, as turbo_shard_poll() says. */
size_t rig_poll(rig *r) {
    size_t ended = 0, count = turbo_server_shard_count(r->server);
    for (size_t i = 0; i < count && i < RIG_SHARDS_MAX; i++) {
        if (!r->ended[i])
            r->ended[i] = turbo_shard_poll(turbo_server_shard(r->server, i)) == TURBO_ECLOSED;
        ended += r->ended[i];
    }
    return ended;
}

void rig_settle(rig *r) {
    turbo_shard *shard = turbo_server_shard(r->server, 0);
    while (turbo_shard_poll(shard) == 1) {
    }
}

void rig_end(rig *r) {
    if (turbo_server_abort(r->server) == 0) {
        if (r->driven)
            AWAIT(rig_poll(r) == turbo_server_shard_count(r->server));
        cr_expect_eq(turbo_server_wait(r->server), 0);
    }
    for (size_t i = 0; i < r->seen.count; i++) {
        (void)turbo_request_fail(r->seen.reqs[i]); /* an executor owes each an answer, also when nobody waits */
        turbo_request_release(r->seen.reqs[i]);
    }
    turbo_server_release(r->server);
    pthread_mutex_destroy(&r->seen.lock);
    memset(r, 0, sizeof *r); /* a pointer left here would hide a leak */
}

/* -- handlers -- */

int answer_ok(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, "text/plain", "ok", 2);
}

int keep_request(turbo_request *req, void *user) {
    _Atomic(turbo_request *) *place = user;
    atomic_store(place, turbo_request_retain(req));
    return 0;
}

/* -- requests without a connection -- */

void note_outcome(turbo_request *req, int status, const turbo_response *resp, void *user) {
    outcome *out = user;
    (void)req;
    if (status == 0) {
        turbo_str body = turbo_response_body(resp);
        out->status = turbo_response_status(resp);
        if (body.len < sizeof out->body) {
            if (body.len > 0)
                memcpy(out->body, body.data, body.len);
            out->body[body.len] = '\0';
        }
    }
    atomic_fetch_add(status == 0 ? &out->answered : status == TURBO_ECLOSED ? &out->closed : &out->failed, 1);
}

turbo_request *request_to(turbo_server *server, const char *target, outcome *out) {
    turbo_request *req = NULL;
    cr_assert_eq(turbo_request_new(&req, server, "GET", target, note_outcome, out), 0);
    return req;
}

/* The library keeps the reference that turbo_request_new() gives until the answer; a user needs one of its own only to
 * touch the request later. */
int submit_to(turbo_shard *shard, turbo_server *server, const char *target, outcome *out) {
    turbo_request *req = request_to(server, target, out);
    int rc = turbo_shard_submit(shard, req);
    turbo_request_release(req);
    return rc;
}

void expect_all_accounted(turbo_server *server, uint64_t taken, uint64_t answered, uint64_t shed, uint64_t dropped,
                          uint64_t abandoned) {
    turbo_stats s = TURBO_STATS_INIT;
    cr_assert_eq(turbo_server_stats(server, &s), 0);
    cr_expect_eq(s.taken, taken, "taken %llu", (unsigned long long)s.taken);
    cr_expect_eq(s.answered, answered, "answered %llu", (unsigned long long)s.answered);
    cr_expect_eq(s.shed, shed, "shed %llu", (unsigned long long)s.shed);
    cr_expect_eq(s.dropped, dropped, "dropped %llu", (unsigned long long)s.dropped);
    cr_expect_eq(s.abandoned, abandoned, "abandoned %llu", (unsigned long long)s.abandoned);
    cr_expect_eq(s.taken, s.answered + s.shed + s.dropped + s.abandoned);
}
