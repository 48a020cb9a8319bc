/* write.c - an answer into the bytes of its connection: framing by RFC 9112 6.3, bodies by copy or by reference. */
#include "write.h"

#include <string.h>

#include "body.h"
#include "clock.h"
#include "http1_write.h"
#include "io.h"
#include "mem.h"
#include "shard.h"
#include "turbo/error.h"

/* An answer may come before its request was read whole. What is left of that is read away when it is little; else the
 * connection ends, and of a whole answer that is known now. So it does when the client was not asked for the body: it
 * may send one or not (RFC 9110 10.1.1). */
static int cuts_request(const turbo__exchange *ex, const turbo_request *req) {
    if (ex->conn.unasked && ex->current == req)
        return 1;
    return !req->streamed && req->incoming != NULL && !turbo__body_rest_is_short(req);
}

/* Whether the connection lives on behind this answer. In a drain the last message says that it does not. */
static int keeps_alive(const turbo__exchange *ex, const turbo_request *req) {
    if (!req->keep_alive || req->resp->close || (!req->complete && cuts_request(ex, req)))
        return 0;
    int is_last = req->next == NULL && ex->conn.phase == TURBO__PHASE_IDLE && ex->conn.tail == NULL && !ex->conn.feeding;
    return !(is_last && (ex->conn.group->draining || ex->conn.finishing));
}

static uint8_t frame_of(const turbo_request *req) {
    const turbo_response *resp = req->resp;
    if (resp->status == 204)
        return TURBO__FRAME_NONE;
    if (resp->status == 205) /* no content, and it says so (RFC 9110 15.3.6) */
        return TURBO__FRAME_LENGTH;
    if (resp->has_length && (req->streamed || req->is_head || resp->status == 304))
        return TURBO__FRAME_LENGTH;
    if (resp->status == 304)
        return TURBO__FRAME_NONE;
    /* A handler that leaves the body of HEAD away does not say how long that of GET is (RFC 9110 8.6). */
    if (!req->streamed)
        return req->is_head && resp->body_len == 0 ? TURBO__FRAME_NONE : TURBO__FRAME_LENGTH;
    if (req->version >= 11)
        return TURBO__FRAME_CHUNKED;
    return req->is_head ? TURBO__FRAME_NONE : TURBO__FRAME_CLOSE;
}

static int sends_body(const turbo_request *req) {
    return !req->is_head && !turbo__status_has_no_body(req->resp->status);
}

/* What Content-Length says: of HEAD and 304, what GET would have sent. */
static uint64_t length_of(const turbo_request *req) {
    const turbo_response *resp = req->resp;
    if (resp->status == 205)
        return 0;
    if (req->is_head && !req->streamed && resp->body_len > 0) /* the body is here: GET would send it as it is */
        return resp->body_len;
    return resp->has_length && (req->streamed || !sends_body(req)) ? resp->length : resp->body_len;
}

/* Write a head, and up to `body` bytes behind it in the same block. @return 0; TURBO_ENOMEM. */
static int put_head(turbo__exchange *ex, const turbo__h1_answer *head, const char *body, size_t len) {
    turbo__outq *out = &ex->conn.out;
    turbo__outpool *pool = &turbo__io_of(&ex->conn)->group.outpool;
    size_t bound = turbo__h1_head_bound(head);
    char *to = turbo__outq_reserve(out, pool, bound + len);
    if (to != NULL) {
        size_t n = turbo__h1_write_head(to, head);
        if (len > 0)
            memcpy(to + n, body, len);
        turbo__outq_commit(out, n + len);
        return 0;
    }
    if ((to = turbo__malloc(bound)) == NULL) /* many fields: larger than a block */
        return TURBO_ENOMEM;
    int rc = turbo__outq_copy(out, pool, to, turbo__h1_write_head(to, head));
    turbo__free(to);
    return rc < 0 ? rc : turbo__outq_copy(out, pool, body, len);
}

static inline turbo__h1_answer head_of(turbo__exchange *ex, turbo_request *req, uint8_t frame, int keep_alive) {
    const turbo_response *resp = req->resp;
    turbo__io *io = turbo__io_of(&ex->conn);
    turbo__h1_answer head = {.status = resp->status, .frame = frame, .version = req->version};
    head.keep_alive = keep_alive != 0;
    head.upgrade = resp->upgrade;
    head.length = length_of(req);
    head.date = resp->has_date ? NULL : turbo__date_text(&io->date, uv_now(&io->loop->uv));
    head.content_type = resp->content_type;
    head.fields = (turbo_str){resp->fields.data, resp->fields.len};
    return head;
}

static int put_bytes(turbo__exchange *ex, const char *data, size_t len) {
    return turbo__outq_copy(&ex->conn.out, &turbo__io_of(&ex->conn)->group.outpool, data, len);
}

static void body_sent(void *arg) {
    turbo_request *req = arg;
    turbo__request_answer_done(req);
    turbo_request_release(req);
}

/* The last piece to be sent gives the body back: it is the only one that may have been queued when memory runs out. */
static int put_file(turbo__exchange *ex, turbo_request *req) {
    const turbo__file_body *body = req->resp->memory;
    turbo__outq *out = &ex->conn.out;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < body->count; i++) {
        const turbo__file_piece *piece = &body->pieces[i];
        int is_last = i + 1 == body->count && body->tail.len == 0;
        if ((rc = put_bytes(ex, piece->head.data, piece->head.len)) == 0)
            rc = turbo__outq_file(out, body->fd, piece->offset, piece->len, is_last ? body_sent : NULL, req);
    }
    if (rc == 0 && body->tail.len > 0)
        rc = turbo__outq_ref(out, body->tail.data, body->tail.len, body_sent, req);
    return rc;
}

static int put_body(turbo__exchange *ex, turbo_request *req, size_t len) {
    const turbo_response *resp = req->resp;
    int rc = resp->body_kind == TURBO__BODY_FILE ? put_file(ex, req)
                                                 : turbo__outq_ref(&ex->conn.out, resp->body, len, body_sent, req);
    req->body_lent_out = rc == 0;
    return rc;
}

/* Of what holds a file open, or much memory, a connection gets one answer after the other. What is static is there anyway. */
static void note_cost(const turbo__exchange *ex, turbo_request *req, size_t len) {
    uint8_t kind = req->resp->body_kind;
    int is_dear = kind == TURBO__BODY_FILE ||
                  (len > ex->conn.group->settings->unsent_max_bytes && kind != TURBO__BODY_STATIC);
    if (is_dear && req->route != NULL)
        atomic_store_explicit(&req->route->one_by_one, 1, memory_order_relaxed);
}

int turbo__write_answer(turbo__exchange *ex, turbo_request *req) {
    int keep_alive = keeps_alive(ex, req);
    const turbo_response *resp = req->resp;
    size_t len = sends_body(req) ? resp->body_len : 0;
    int by_copy = len <= TURBO__OUT_COPY_MAX && (resp->body != NULL || len == 0); /* NULL: it lies in a file */
    turbo__h1_answer head = head_of(ex, req, frame_of(req), keep_alive);
    int rc = put_head(ex, &head, resp->body, by_copy ? len : 0);
    if (rc == 0 && !by_copy) {
        note_cost(ex, req, len);
        rc = put_body(ex, req, len);
    }
    if (rc < 0)
        return rc;
    return keep_alive ? TURBO__WRITE_DONE : TURBO__WRITE_LAST;
}

/* -- streamed answers -- */

static void free_part(void *arg) { turbo__free(arg); }

static int put_chunk_head(turbo__exchange *ex, const turbo_request *req, size_t len) {
    char line[TURBO__CHUNK_HEAD_MAX];
    if (req->frame != TURBO__FRAME_CHUNKED)
        return 0;
    return put_bytes(ex, line, turbo__h1_write_chunk_head(line, len));
}

static int put_chunk_end(turbo__exchange *ex, const turbo_request *req) {
    return req->frame != TURBO__FRAME_CHUNKED ? 0 : put_bytes(ex, "\r\n", 2);
}

/* Takes the part. */
static int put_part(turbo__exchange *ex, turbo_request *req, turbo__part *part) {
    int rc = sends_body(req) ? put_chunk_head(ex, req, part->len) : 0;
    if (rc == 0 && sends_body(req) && part->len > TURBO__OUT_COPY_MAX) {
        rc = turbo__outq_ref(&ex->conn.out, part->data, part->len, free_part, part);
        if (rc == 0)
            return put_chunk_end(ex, req);
    } else if (rc == 0 && sends_body(req)) {
        rc = put_bytes(ex, part->data, part->len);
        rc = rc < 0 ? rc : put_chunk_end(ex, req);
    }
    turbo__free(part);
    return rc;
}

static int begin_stream(turbo__exchange *ex, turbo_request *req) {
    const turbo_response *resp = req->resp;
    req->frame = frame_of(req);
    if (req->frame == TURBO__FRAME_CLOSE)
        req->keep_alive = 0;
    req->stream_last = !keeps_alive(ex, req);
    turbo__h1_answer head = head_of(ex, req, req->frame, !req->stream_last);
    int rc = put_head(ex, &head, NULL, 0);
    req->head_sent = 1;
    if (rc < 0 || resp->body_len == 0 || !sends_body(req))
        return rc;
    if ((rc = put_chunk_head(ex, req, resp->body_len)) < 0 || (rc = put_bytes(ex, resp->body, resp->body_len)) < 0)
        return rc;
    return put_chunk_end(ex, req);
}

/* Move what the handler has written since the last time behind the parts that are here. */
static void take_parts(turbo_request *req) {
    turbo__part *part = atomic_exchange_explicit(&req->new_parts, NULL, memory_order_acquire), *list = NULL;
    turbo__part *last = part;
    while (part != NULL) {
        turbo__part *next = part->next;
        part->next = list;
        list = part;
        part = next;
    }
    if (list == NULL)
        return;
    if (req->parts_last != NULL)
        req->parts_last->next = list;
    else
        req->parts = list;
    req->parts_last = last;
}

void turbo__write_tell_room(turbo_request *req) {
    if (atomic_load(&req->want_writable) == 0)
        return;
    if (req->shard != NULL) {
        turbo__shard_event(req->shard, req, TURBO_EVENT_WRITABLE);
    } else if (req->writable_fn != NULL && atomic_exchange(&req->want_writable, 0) != 0) {
        req->writable_fn(req, req->writable_user);
    }
}

static int put_parts(turbo__exchange *ex, turbo_request *req) {
    uint64_t moved = 0;
    int rc = 0;
    while (rc == 0 && req->parts != NULL && turbo__conn_has_room(&ex->conn)) {
        turbo__part *part = req->parts;
        req->parts = part->next;
        if (req->parts == NULL)
            req->parts_last = NULL;
        moved += part->len;
        rc = put_part(ex, req, part);
    }
    if (moved > 0 && atomic_fetch_sub(&req->unsent, moved) - moved <= ex->conn.group->settings->unsent_max_bytes / 2)
        turbo__write_tell_room(req);
    return rc;
}

/* The last chunk, the trailer section and its end (RFC 9112 7.1). */
static int put_last_chunk(turbo__exchange *ex, const turbo_request *req) {
    const turbo__buf *trailers = req->resp_trailers;
    if (trailers == NULL)
        return put_bytes(ex, "0\r\n\r\n", 5);
    int rc = put_bytes(ex, "0\r\n", 3);
    rc = rc < 0 ? rc : put_bytes(ex, trailers->data, trailers->len);
    return rc < 0 ? rc : put_bytes(ex, "\r\n", 2);
}

/* The handler failed, or wrote less than it promised: the client must not take the answer for whole. */
static int is_short(const turbo_request *req) {
    return req->failed || (req->frame == TURBO__FRAME_LENGTH && sends_body(req) && req->written < req->resp_length);
}

int turbo__write_stream(turbo__exchange *ex, turbo_request *req) {
    int rc;
    if (!req->head_sent && (rc = begin_stream(ex, req)) < 0)
        return rc;
    /* Seen in this order, an end has all its parts before it. */
    int ended = atomic_load(&req->state) == TURBO__ENDED;
    take_parts(req);
    if ((rc = put_parts(ex, req)) < 0)
        return rc;
    if (!ended || req->parts != NULL)
        return TURBO_EAGAIN;
    if (is_short(req))
        return TURBO__WRITE_LAST;
    if (req->frame == TURBO__FRAME_CHUNKED && sends_body(req) && (rc = put_last_chunk(ex, req)) < 0)
        return rc;
    return req->stream_last ? TURBO__WRITE_LAST : TURBO__WRITE_DONE;
}
