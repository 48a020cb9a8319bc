/* answer.c - from a handler's answer to the loop that sends it: who may answer, the gate, the way home. */
#include "answer.h"

#include <stdio.h>
#include <string.h>

#include "body.h"
#include "chars.h"
#include "clock.h"
#include "exchange.h"
#include "file.h"
#include "http1_trailer.h"
#include "http1_write.h"
#include "io.h"
#include "mem.h"
#include "queue.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"
#include "turbo/log.h"

#define AHEAD_MAX 4096 /* bytes of a streamed answer that is not due yet; response.h names the figure */

/* -- the way home -- */

static void push_home(turbo_request *req) {
    if (req->shard != NULL && turbo__shard_is_here(req->shard)) {
        turbo__shard_send_home(req->shard, req);
        return;
    }
    req->to_home.next = NULL;
    if (turbo__mailbox_push_one(&req->io->box, &req->to_home) < 0)
        turbo__io_refuse(&req->to_home);
}

/* A whole answer carries the answer path's reference home; news of a streamed one carries a reference of its own, and
 * is under way at most once at a time. */
static void send_home(turbo_request *req) {
    if (turbo__io_is_here(req->io)) {
        turbo__exchange_deliver(req);
    } else if (!req->streamed) {
        push_home(req);
    } else if (atomic_exchange(&req->homing, 1) == 0) {
        turbo_request_retain(req);
        push_home(req);
    }
}

static int leave(turbo__gate *gate, int here) {
    return here ? turbo__gate_leave(gate) : turbo__gate_leave_elsewhere(gate);
}

/* The request is no longer in flight on its shard. */
static inline void leave_shard(turbo_request *req) {
    turbo_shard *shard = req->shard;
    if (!req->counted)
        return;
    if (atomic_load_explicit(&req->deadline_ns, memory_order_relaxed) != 0)
        turbo__overdue_end(req);
    int here = turbo__shard_is_here(shard);
    turbo__lane *lane = turbo__lane_of(&shard->lanes, req);
    req->counted = 0;
    int awaited = lane != NULL && leave(&lane->gate, here);
    awaited |= leave(&shard->gate, here);
    if (awaited && !(here && shard->polling)) /* else the poll goes on with those that waited */
        turbo__mailbox_poke(&shard->box);
    if (here && shard->in_batch)
        req->answered_in_batch = 1; /* the clock is read once a batch */
    else
        turbo__shard_latency(shard, req, turbo__clock_ns());
}

static void complete_detached(turbo_request *req) {
    if (req->shard != NULL)
        turbo__queue_answered(req->shard, req->end == TURBO__END_SHED);
    int rc = req->failed ? TURBO_EUSER : turbo__response_load(req->resp, req->server->settings.body_memory_max_bytes);
    req->done(req, rc, rc < 0 ? NULL : req->resp, req->done_user);
    turbo__request_answer_done(req);
    if (req->shard != NULL)
        turbo_request_release(req); /* the answer path's, taken by turbo_shard_submit() */
}

static inline void hand_over(turbo_request *req) {
    if (req->done != NULL)
        complete_detached(req);
    else
        send_home(req);
}

/* The answer is complete: the caller has made the step to ENDED. */
static void finish(turbo_request *req) {
    leave_shard(req);
    hand_over(req);
}

/* There is an answer already. If it is ours, in the place of an overdue handler's, that one is done now, and what it answers
 * is thrown away like what a client that has gone would get. @return 0; TURBO_ESTATE. */
static int come_late(turbo_request *req) {
    int rc = turbo__request_claim(req, TURBO__OVERDUE, TURBO__ENDED);
    if (rc == 0) {
        atomic_store_explicit(&req->timed_out, 1, memory_order_relaxed); /* its shard may be about to */
        leave_shard(req);
    }
    return rc;
}

/* -- whole answers -- */

static int respond_late(turbo_request *req, turbo_response *resp) {
    int rc = come_late(req);
    if (rc < 0)
        return rc;
    if (resp->body_kind == TURBO__BODY_LENT)
        turbo__shard_event(req->shard, req, TURBO_EVENT_RELEASE);
    turbo_response_free(resp);
    return 0;
}

int turbo_request_respond(turbo_request *req, turbo_response *resp) {
    if (turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED) < 0)
        return respond_late(req, resp);
    req->resp = resp;
    finish(req);
    return 0;
}

int turbo_request_reply(turbo_request *req, int32_t status, const char *content_type, const void *data, size_t len) {
    turbo_str type = {content_type, content_type == NULL ? 0 : strlen(content_type)};
    int rc;
    if (status < 200 || status > 599 || !turbo__is_field_value(type.data, type.len))
        return TURBO_EINVAL;
    if (turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED) < 0)
        return come_late(req);
    if ((rc = turbo__request_fill(req, status, type, data, len)) < 0) {
        atomic_store(&req->state, TURBO__OPEN); /* nobody else can have seen the claim succeed */
        return rc;
    }
    finish(req);
    return 0;
}

/* The reason; of 505 also what would have been understood (RFC 9110 15.6.6). */
static const char *explain(int32_t status) {
    return status == 505 ? "HTTP Version Not Supported: HTTP/1.1 and HTTP/1.0 are" : turbo__status_text(status);
}

/* It is only for now. Without memory the answer goes without the field. */
static void add_retry_after(turbo_request *req) {
    char seconds[16];
    if (req->route == NULL || req->route->retry_after_s == 0)
        return;
    (void)snprintf(seconds, sizeof seconds, "%u", (unsigned)req->route->retry_after_s);
    turbo__buf_init(&req->own.fields, TURBO__RESPONSE_FIELDS_MAX);
    (void)turbo__response_line(&req->own, "Retry-After", seconds);
}

/* The caller has claimed. */
static void fill_status(turbo_request *req, int32_t status, const char *reason) {
    static const char type[] = "text/plain; charset=utf-8";
    char body[128];
    int has_reason = reason != NULL && status != 505; /* which has one */
    int len = snprintf(body, sizeof body, "%s%s%s\n", explain(status), has_reason ? ": " : "", has_reason ? reason : "");
    if (len < 0 || turbo__status_has_no_body(status))
        len = 0;
    if (len > (int)sizeof body - 1)
        len = (int)sizeof body - 1;
    /* Spare memory is always enough for this. */
    (void)turbo__request_fill(req, status, len == 0 ? (turbo_str){NULL, 0} : (turbo_str){type, sizeof type - 1}, body,
                              (size_t)len);
}

int turbo__answer_status(turbo_request *req, int32_t status, const char *reason) {
    if (turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED) < 0)
        return come_late(req);
    if (status == 503 || status == 429) /* RFC 9110 15.6.4, RFC 6585 4 */
        add_retry_after(req);
    fill_status(req, status, reason);
    finish(req);
    return 0;
}

int turbo__answer_shed(turbo_request *req) {
    int rc = turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED);
    if (rc < 0)
        return rc;
    req->end = TURBO__END_SHED;
    add_retry_after(req);
    fill_status(req, (int32_t)req->route->shed_status, NULL);
    finish(req);
    return 0;
}

int turbo__answer_overdue(turbo_request *req) {
    int rc = turbo__request_claim(req, TURBO__OPEN, TURBO__OVERDUE);
    if (rc < 0)
        return rc;
    atomic_store_explicit(&req->timed_out, 1, memory_order_relaxed);
    fill_status(req, 504, "the handler took too long");
    hand_over(req);
    return 0;
}

void turbo__answer_forgotten(turbo_request *req) { leave_shard(req); }

/* -- handlers that fail -- */

static unsigned state_of(turbo_request *req) { return atomic_load_explicit(&req->state, memory_order_relaxed); }

/* That a client has gone, or its body came to no good end, is no handler's failure. Nothing here needs an escape: the method
 * is a token, or there would be no request, and the pattern is the program's own. */
static void log_failure(turbo_request *req, const char *what) {
    turbo_str method = turbo_request_method(req);
    if (turbo_request_cancelled(req) || turbo__body_failure(req) != 500)
        return;
    turbo__server_warn(req->server, TURBO__WARN_HANDLER, "%.*s %.100s: %s", (int)(method.len < 32 ? method.len : 32),
                       method.data, req->route == NULL ? "" : req->route->pattern->text, what);
}

static int fail(turbo_request *req) {
    if (turbo__answer_status(req, turbo__body_failure(req), NULL) == 0)
        return 0;
    if (state_of(req) != TURBO__BEGUN)
        return TURBO_ESTATE;
    req->failed = 1; /* read by the I/O loop behind ENDED, which the claim publishes */
    return turbo_request_respond_end(req);
}

int turbo_request_fail(turbo_request *req) {
    if (state_of(req) != TURBO__ENDED) /* before the answer: with it the request may go */
        log_failure(req, "the handler has failed, says turbo_request_fail()");
    return fail(req);
}

void turbo__answer_failed(turbo_request *req, const char *what, int rc) {
    char text[128];
    if (rc > 0)
        (void)snprintf(text, sizeof text, "%s %d, which is neither 0 nor negative", what, rc);
    else
        (void)snprintf(text, sizeof text, "%s %s (%d: %s)", what, turbo_errname(rc), rc, turbo_strerror(rc));
    log_failure(req, text);
    (void)fail(req);
}

void turbo__answer_no_handler(turbo_request *req) {
    log_failure(req, "the route has no handler");
    (void)fail(req);
}

/* -- streamed answers -- */

int turbo_request_respond_begin(turbo_request *req, turbo_response *resp) {
    if (resp->body_kind == TURBO__BODY_FILE)
        return TURBO_EINVAL;
    int rc = turbo__request_claim(req, TURBO__OPEN, TURBO__BEGUN);
    if (rc < 0) {
        (void)come_late(req);
        return rc;
    }
    if (atomic_load_explicit(&req->deadline_ns, memory_order_relaxed) != 0)
        turbo__overdue_end(req);
    req->resp = resp;
    req->streamed = 1;
    req->written = resp->body_len;
    req->resp_has_length = resp->has_length;
    req->resp_length = resp->length;
    if (req->done == NULL)
        send_home(req);
    return 0;
}

/* Without a connection the parts are gathered into the body. */
static int gather(turbo_request *req, const void *data, size_t len) {
    turbo_response *resp = req->resp;
    size_t total = resp->body_len + len;
    if (total > req->server->settings.body_memory_max_bytes)
        return TURBO_ETOOBIG;
    char *body = resp->body_kind == TURBO__BODY_OWNED ? turbo__realloc(resp->memory, total) : turbo__malloc(total);
    if (body == NULL)
        return TURBO_ENOMEM;
    if (resp->body_kind != TURBO__BODY_OWNED) {
        if (resp->body_len > 0)
            memcpy(body, resp->body, resp->body_len);
        if (resp->body_kind == TURBO__BODY_REF)
            resp->free_fn(resp->free_user);
    }
    memcpy(body + resp->body_len, data, len);
    resp->body_kind = TURBO__BODY_OWNED;
    resp->memory = body;
    resp->body = body;
    resp->body_len = total;
    return 0;
}

static int push_part(turbo_request *req, const void *data, size_t len) {
    turbo__part *part = turbo__malloc(sizeof *part + len);
    if (part == NULL)
        return TURBO_ENOMEM;
    part->len = len;
    memcpy(part->data, data, len);
    atomic_fetch_add(&req->unsent, len);
    turbo__part *head = atomic_load_explicit(&req->new_parts, memory_order_relaxed);
    do
        part->next = head;
    while (!atomic_compare_exchange_weak(&req->new_parts, &head, part));
    return 0;
}

/* Whether len more bytes may wait. The message whose answer is due has the whole limit, whatever the part's size; those
 * behind it get little, so that all answers of a connection stay within about two limits. */
static int fits(turbo_request *req, size_t len) {
    uint64_t max = req->server->settings.unsent_max_bytes, unsent = atomic_load(&req->unsent);
    return atomic_load(&req->is_first) != 0 ? unsent < max : unsent + len <= AHEAD_MAX;
}

/* If not, the loop tells when they may. From then on somebody else may go on with the answer, and end it, before this
 * call is over: it needs a reference of its own. */
static int has_room(turbo_request *req, size_t len) {
    if (fits(req, len))
        return 1;
    turbo_request_retain(req);
    atomic_store(&req->want_writable, 1);
    /* The loop lowers unsent, or sets is_first, before it looks at want_writable: look again, or both would wait. */
    int room = fits(req, len) && atomic_exchange(&req->want_writable, 0) != 0;
    turbo_request_release(req);
    return room;
}

int turbo_request_respond_write(turbo_request *req, const void *data, size_t len) {
    int rc;
    if (atomic_load_explicit(&req->state, memory_order_relaxed) != TURBO__BEGUN)
        return TURBO_ESTATE;
    if (req->resp_has_length && len > req->resp_length - req->written)
        return TURBO_ETOOBIG;
    if (turbo__request_is_gone(req))
        return TURBO_ECLOSED;
    if (len == 0)
        return 0;
    if (req->done == NULL && !has_room(req, len))
        return TURBO_EAGAIN;
    if ((rc = req->done != NULL ? gather(req, data, len) : push_part(req, data, len)) < 0)
        return rc;
    req->written += len;
    if (req->done == NULL)
        send_home(req);
    return 0;
}

static turbo__buf *trailer_lines(turbo_request *req) {
    if (req->resp_trailers == NULL && (req->resp_trailers = turbo__malloc(sizeof *req->resp_trailers)) != NULL)
        turbo__buf_init(req->resp_trailers, TURBO__RESPONSE_FIELDS_MAX);
    return req->resp_trailers;
}

int turbo_request_respond_trailer(turbo_request *req, const char *name, size_t name_len, const char *value,
                                  size_t value_len) {
    if (atomic_load_explicit(&req->state, memory_order_relaxed) != TURBO__BEGUN)
        return TURBO_ESTATE;
    if (!turbo__is_token(name, name_len) || !turbo__is_field_value(value, value_len) ||
        turbo__h1_trailer_is_forbidden((turbo_str){name, name_len}))
        return TURBO_EINVAL;
    turbo__buf *lines = trailer_lines(req); /* ours until the end, which publishes it */
    return lines == NULL ? TURBO_ENOMEM : turbo__response_append_line(lines, name, name_len, value, value_len);
}

int turbo_request_respond_end(turbo_request *req) {
    int rc = turbo__request_claim(req, TURBO__BEGUN, TURBO__ENDED);
    if (rc < 0)
        return rc;
    finish(req);
    return 0;
}

int turbo_request_on_writable(turbo_request *req, turbo_request_fn fn, void *user) {
    if (atomic_load_explicit(&req->state, memory_order_relaxed) >= TURBO__ENDED)
        return TURBO_ESTATE;
    req->writable_fn = fn;
    req->writable_user = user;
    return 0;
}
