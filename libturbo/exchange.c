/* exchange.c - the messages of one connection: requests in, answers out in the same order. */
#include "exchange.h"

#include <string.h>

#include "answer.h"
#include "body.h"
#include "http1_write.h"
#include "io.h"
#include "mem.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"
#include "write.h"

static turbo__exchange *of(turbo__conn *conn) { return TURBO__CONTAINER(conn, turbo__exchange, conn); }

/* -- the list of messages -- */

static void append(turbo__exchange *ex, turbo_request *req) {
    struct turbo__io *io = turbo__io_of(&ex->conn);
    req->server = io->server;
    req->io = io;
    req->exchange = ex;
    req->peer = ex->peer;
    turbo__io_request_made(io);
    if (ex->last != NULL) {
        ex->last->next = req;
    } else {
        ex->first = req;
        atomic_store_explicit(&req->is_first, 1, memory_order_relaxed); /* nobody else has it yet */
    }
    ex->last = req;
    ex->conn.owed++;
}

static turbo_request *pop(turbo__exchange *ex) {
    turbo_request *req = ex->first;
    ex->first = req->next;
    if (ex->first == NULL)
        ex->last = NULL;
    ex->conn.owed--;
    req->next = NULL;
    req->exchange = NULL;
    return req;
}

/* No more of the current message is read. */
static void end_current(turbo__exchange *ex) {
    turbo_request *req = ex->current;
    ex->current = NULL;
    ex->conn.full = ex->conn.unasked = 0;
    if (req != NULL && req->incoming != NULL)
        turbo_request_release(req);
}

/* An answer whose connection has gone. */
static void drop_answer(turbo_request *req) {
    if (req->streamed && !turbo__request_take_end(req))
        return; /* more is to come, or the end was met before */
    turbo__request_answer_done(req);
    turbo_request_release(req);
}

/* Whether somebody works on it on a shard. */
static int has_worker(const turbo_request *req) {
    if (!req->dispatched || req->shard == NULL)
        return 0;
    return !req->answered || (req->streamed && atomic_load(&req->state) != TURBO__ENDED);
}

/* The client of this message has gone, or so it seems: how long had it waited for the answer? */
static void note_left(turbo_request *req) {
    if (!has_worker(req) || req->answered || turbo__request_left_ms(req) != 0)
        return;
    uint64_t now_ns = turbo__io_now_ns(req->io);
    uint64_t ms = now_ns > req->queued_ns ? (now_ns - req->queued_ns) / 1000000 : 0;
    atomic_store_explicit(&req->left_ms, ms < UINT32_MAX ? (uint32_t)ms + 1 : UINT32_MAX, memory_order_relaxed);
}

/* The client will never see the answer to this message: tell whoever works on it. */
static void abandon(turbo_request *req) {
    struct turbo__io *io = req->io;
    int told = 0;
    note_left(req);
    turbo__count(io->aborting ? &io->abandoned : &io->dropped, 1);
    /* As soon as a shard sees `cancelled` it drops a request from its queue, with the answer path's reference. */
    turbo_request_retain(req);
    (void)atomic_exchange(&req->cancelled, 1); /* and then look for a shard: one that is to come sees it */
    /* Before its reader is told: what it reads then must say that the client has gone. And both at once: a reader that went
     * on with the end of the body would learn it from there. */
    if (req->incoming != NULL && has_worker(req))
        told = turbo__body_drop(req, TURBO_EVENT_GONE);
    else if (req->incoming != NULL)
        (void)turbo__body_drop(req, 0);
    if (req->answered && !req->streamed) {
        turbo__request_answer_done(req);
        turbo_request_release(req);
    } else if (!req->dispatched) {
        /* Unless it was refused, and that answer is on its way through our own mailbox (driven shards): it brings the
         * answer path's reference. */
        if (atomic_load(&req->state) == TURBO__OPEN)
            turbo_request_release(req);
    } else if (req->answered && atomic_load(&req->state) == TURBO__ENDED) {
        drop_answer(req);
    } else if (req->shard != NULL) {
        if (!told)
            turbo__shard_event(req->shard, req, TURBO_EVENT_GONE);
    } else if (req->writable_fn != NULL && atomic_exchange(&req->want_writable, 0) != 0) {
        req->writable_fn(req, req->writable_user); /* its next write finds the client gone */
    }
    turbo_request_release(req);
}

/* -- answers out -- */

/* Messages behind one whose answer ends the connection: they get none. */
static void drop_rest(turbo__exchange *ex) {
    end_current(ex);
    ex->conn.held = 0;
    while (ex->first != NULL)
        abandon(pop(ex));
}

static void count_answer(const turbo_request *req) {
    turbo__count(req->end == TURBO__END_SHED ? &req->io->shed : &req->io->answered, 1);
}

/* The next message's answer is due: if it is streamed it may now have the whole limit. */
static void promote(turbo__exchange *ex) {
    if (ex->first == NULL)
        return;
    /* Ordered with the writer, which says that it waits before it looks at is_first again. */
    atomic_exchange(&ex->first->is_first, 1);
    turbo__write_tell_room(ex->first);
}

/* The answer to the current message was sent, and its body was not read whole: read it away when it is short.
 * @return 0: it is too long for that. */
static int skip_rest(turbo__exchange *ex, turbo_request *req) {
    int is_short = turbo__body_rest_is_short(req);
    (void)turbo__body_drop(req, 0);
    req->incoming->drop_left = req->route->body_window;
    ex->conn.full = 0;
    turbo__conn_touch(&ex->conn);
    return is_short;
}

/* The client is told to send the body that it asked about (RFC 9110 10.1.1). */
static void say_continue(turbo__exchange *ex) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ex->conn.unasked = 0;
    if (turbo__outq_copy(&ex->conn.out, &turbo__io_of(&ex->conn)->group.outpool, line, sizeof line - 1) < 0)
        turbo__conn_kill(&ex->conn);
}

static void offer_continue(turbo__exchange *ex) {
    if (ex->conn.unasked && ex->first == ex->current &&
        (ex->current->incoming == NULL || ex->current->incoming->wanted))
        say_continue(ex);
}

/* A streamed answer that begins before the body was asked for, and goes on, is most likely made of the body; and behind its
 * head nobody can be told to send it. */
static int begins_before_its_body(const turbo__exchange *ex, const turbo_request *req) {
    return ex->conn.unasked && ex->current == req && req->streamed && !req->head_sent && req->resp->status < 300 &&
           atomic_load(&req->state) != TURBO__ENDED;
}

/* @return 1 when the first message's answer is all in the connection's hands, and popped. */
static int send_first(turbo__exchange *ex) {
    turbo_request *req = ex->first;
    if (begins_before_its_body(ex, req))
        say_continue(ex);
    if (ex->conn.dead)
        return 0;
    int rc = req->streamed ? turbo__write_stream(ex, req) : turbo__write_answer(ex, req);
    if (ex->current == req)
        ex->conn.unasked = 0; /* the head of the answer is there: too late to ask */
    if (rc == TURBO_EAGAIN)
        return 0;
    if (rc < 0) {
        turbo__conn_kill(&ex->conn);
        return 0;
    }
    int last = rc == TURBO__WRITE_LAST;
    count_answer(req);
    if (ex->current == req && !skip_rest(ex, req))
        last = 1;
    pop(ex);
    if (req->streamed) {
        (void)turbo__request_take_end(req); /* the mailbox is open: nobody else can */
        turbo__request_answer_done(req);
        turbo_request_release(req);
    } else if (!req->body_lent_out) { /* else the connection gives it back when the body is sent */
        turbo__request_answer_done(req);
        turbo_request_release(req);
    }
    if (last) {
        turbo__conn_finish(&ex->conn, 0); /* unless on_end() has: then the client expects it */
        drop_rest(ex);
    } else {
        promote(ex);
    }
    return 1;
}

static void pump(turbo__exchange *ex) {
    while (!ex->conn.dead && ex->first != NULL && ex->first->answered && send_first(ex)) {
    }
}

/* The first answer to a request that had waited for long: was it worth it? */
static void note_outcome(turbo_request *req) {
    turbo__patience_outcome(&req->shard->patience, req->waited_ms, turbo__request_left_ms(req));
    req->waited_ms = 0;
}

void turbo__exchange_deliver(turbo_request *req) {
    turbo__exchange *ex = req->exchange;
    if (req->waited_ms != 0)
        note_outcome(req);
    if (ex == NULL) {
        drop_answer(req);
        return;
    }
    req->answered = 1;
    if (ex->first == req)
        pump(ex);
    turbo__conn_touch(&ex->conn);
}

void turbo__exchange_body_news(turbo_request *req) {
    turbo__exchange *ex = req->exchange;
    if (ex == NULL || ex->current != req)
        return;
    req->incoming->wanted = 1; /* 100 Continue is offered when the turn ends */
    ex->conn.full = turbo__body_is_full(req) != 0;
    turbo__conn_touch(&ex->conn);
}

/* -- refusals -- */

/* The message is read no further, and is the last one. */
static void read_no_more(turbo__exchange *ex, turbo_request *req) {
    req->keep_alive = 0;
    end_current(ex);
    turbo__conn_finish(&ex->conn, 0);
}

/* @param reason  a few words for the client; NULL when the status says it all. */
static void answer_now(turbo__exchange *ex, turbo_request *req, int status, const char *reason) {
    read_no_more(ex, req);
    (void)turbo__answer_status(req, status, reason);
}

static void add_line(turbo_request *req, const char *name, const char *value) {
    turbo__buf_init(&req->own.fields, TURBO__RESPONSE_FIELDS_MAX);
    (void)turbo__response_line(&req->own, name, value); /* without memory the answer goes without the field */
}

static int too_long(const turbo_request *req, uint64_t max) { return !req->chunked && req->body_length > max; }

/* Refuse a message once its body has been read away, or at once when that is not worth it. @return 1: stop. */
static int refuse(turbo__exchange *ex, turbo_request *req, int status, const char *allow, int has_continue) {
    if (allow != NULL)
        add_line(req, "Allow", allow);
    req->refusal = (uint16_t)status;
    if (!has_continue && !too_long(req, turbo__io_of(&ex->conn)->server->settings.body_max_bytes))
        return 0;
    answer_now(ex, req, status, NULL);
    return 1;
}

/* A streamed body will not be whole. Its handler is told, and the answer is its to give; turbo_request_fail() answers
 * with this status. Without memory a handler that has not begun is not begun: its shard sheds the request in its place, as
 * only there is known which comes first. @return 1: stop. */
static int end_streamed(turbo__exchange *ex, turbo_request *req, int status) {
    turbo_request_retain(req);
    req->keep_alive = 0;
    end_current(ex);
    turbo__conn_finish(&ex->conn, 0);
    turbo__body_end(req, (uint32_t)status);
    turbo__conn_touch(&ex->conn);
    turbo_request_release(req);
    return 1;
}

/* -- messages in -- */

static void dispatch(turbo__exchange *ex, turbo_request *req) {
    req->dispatched = 1;
    if (req->route->executor == TURBO__EXECUTOR_INLINE)
        turbo_request_run(req);
    else
        turbo__io_dispatch(turbo__io_of(&ex->conn), req);
}

/* Only safe methods are worked on together (RFC 9112 9.3.2), and answers that hold a file or much memory one by one. What
 * has to wait begins when all answers before it are in the connection's hands, and all but a little of them is sent: so while
 * another method is worked on it is the first, and it is enough to look at that. */
static int must_wait(const turbo__exchange *ex, const turbo_request *req) {
    return ex->first != req &&
           (!(req->is_safe && ex->first->is_safe) || atomic_load_explicit(&req->route->one_by_one, memory_order_relaxed));
}

static int no_memory(turbo__exchange *ex, turbo_request *req) {
    read_no_more(ex, req);
    (void)turbo__answer_shed(req);
    return 1;
}

/* The handler begins now, and not one byte of the body is read before it does. */
static int begin_streamed(turbo__exchange *ex, turbo_request *req) {
    turbo__conn *conn = &ex->conn;
    if (turbo__body_open(req) < 0)
        return no_memory(ex, req);
    turbo_request_retain(req); /* for ex->current */
    if (must_wait(ex, req))
        conn->held = 1;
    else
        dispatch(ex, req);
    return conn->held || conn->dead || conn->finishing;
}

static void on_begin(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    ex->conn.begun = 1;
    turbo__count(&turbo__io_of(&ex->conn)->taken, 1);
}

static int on_head(turbo__conn *conn, const turbo__h1_head *head) {
    turbo__exchange *ex = of(conn);
    turbo__router *router = turbo__io_of(&ex->conn)->server->router;
    turbo__match match;
    turbo_request *req = turbo__request_from_head(head, turbo__router_params_max(router));
    if (req == NULL) {
        turbo__conn_kill(conn); /* which counts the message as dropped */
        return 1;
    }
    ex->conn.begun = 0;
    append(ex, req);
    ex->current = req;
    int32_t status = turbo__request_route(req, router, &match);
    if (head->expect_unknown)
        return refuse(ex, req, 417, NULL, 1);
    if (status != 200)
        return refuse(ex, req, status, match.allow, head->expect_continue);
    if (too_long(req, req->route->body_max)) {
        answer_now(ex, req, 413, NULL);
        return 1;
    }
    int has_body = req->chunked || req->body_length > 0;
    conn->unasked = head->expect_continue && has_body;
    if (conn->unasked)
        turbo__conn_touch(conn); /* offered when the turn ends, if no byte of the body was read until then */
    return has_body && req->route->body == TURBO__BODIES_STREAMED ? begin_streamed(ex, req) : 0;
}

/* What nobody reads any more. */
static int skip(turbo__exchange *ex, turbo_request *req, uint64_t len) {
    turbo__body *body = req->incoming;
    if (len <= body->drop_left)
        return 0;
    end_current(ex);
    turbo__conn_finish(&ex->conn, 0);
    return 1;
}

static int on_streamed_chunk(turbo__exchange *ex, turbo_request *req, uint64_t size) {
    if (req->exchange == NULL)
        return skip(ex, req, size);
    ex->conn.unasked = 0;
    if (req->incoming->received + size <= req->route->body_max)
        return 0;
    return end_streamed(ex, req, 413);
}

static int on_streamed_body(turbo__exchange *ex, turbo_request *req, const char *data, size_t len) {
    turbo__conn *conn = &ex->conn;
    turbo__body *body = req->incoming;
    if (req->exchange == NULL) {
        body->drop_left -= len < body->drop_left ? len : body->drop_left;
        return 0;
    }
    conn->unasked = 0;
    turbo_request_retain(req); /* the reader may be called, and answer */
    int rc = turbo__body_put(req, data, len);
    if (rc < 0)
        rc = end_streamed(ex, req, TURBO__BODY_NO_MEMORY);
    else if (ex->current == req && (req->chunked || body->received < req->body_length))
        conn->full = turbo__body_is_full(req) != 0;
    turbo_request_release(req);
    return rc || conn->full || conn->dead || conn->finishing;
}

/* A size line tells enough: a client that stalls behind it has its answer, too. */
static int on_chunk(turbo__conn *conn, uint64_t size) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    if (req->incoming != NULL)
        return on_streamed_chunk(ex, req, size);
    uint64_t max = req->refusal != 0 ? turbo__io_of(&ex->conn)->server->settings.body_max_bytes : req->route->body_max;
    conn->unasked = 0; /* the client did not wait */
    if (req->body_len + size <= max)
        return 0;
    answer_now(ex, req, req->refusal != 0 ? req->refusal : 413, NULL);
    return 1;
}

static int on_body(turbo__conn *conn, const char *data, size_t len) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    if (req->incoming != NULL)
        return on_streamed_body(ex, req, data, len);
    conn->unasked = 0; /* the client did not wait (RFC 9110 10.1.1) */
    if (req->refusal != 0) {
        req->body_len += len;
        return 0;
    }
    /* on_head() and on_chunk() have seen to the maximum: only memory can fail. */
    if (turbo__request_body_append(req, data, len, req->route->body_max) == 0)
        return 0;
    return no_memory(ex, req);
}

static int on_trailer(turbo__conn *conn, turbo_str name, turbo_str value) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    if (req->refusal != 0)
        return 0;
    if (turbo__trailers_add(req->incoming != NULL ? &req->incoming->trailers : &req->trailers, name, value) == 0)
        return 0;
    return req->incoming != NULL ? end_streamed(ex, req, TURBO__BODY_NO_MEMORY) : no_memory(ex, req);
}

static int end_of_streamed(turbo__exchange *ex, turbo_request *req) {
    int last = !req->keep_alive;
    if (last)
        turbo__conn_finish(&ex->conn, 1);
    turbo_request_retain(req);
    end_current(ex);
    req->complete = 1;
    turbo__body_end(req, TURBO__BODY_WHOLE);
    turbo_request_release(req);
    return last;
}

static int on_end(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    if (req->incoming != NULL)
        return end_of_streamed(ex, req);
    int last = !req->keep_alive;
    ex->current = NULL;
    req->complete = 1;
    conn->unasked = 0;
    if (last)
        turbo__conn_finish(conn, 1);
    if (req->refusal != 0)
        (void)turbo__answer_status(req, req->refusal, NULL);
    else if (must_wait(ex, req))
        conn->held = 1;
    else
        dispatch(ex, req);
    return last;
}

static void on_error(turbo__conn *conn, int status, const char *reason, int asks_head) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    turbo__log_write(&turbo__io_of(conn)->server->log, TURBO_LOG_DEBUG, "request refused with %d: %s", status, reason);
    if (req != NULL && req->incoming != NULL) {
        end_streamed(ex, req, status);
        return;
    }
    if (req == NULL) {
        if ((req = turbo__request_bare(11)) == NULL) {
            turbo__conn_kill(conn);
            return;
        }
        req->is_head = asks_head != 0;
        append(ex, req);
        ex->conn.begun = 0;
    }
    answer_now(ex, req, status, reason);
    turbo__conn_touch(conn);
}

static void on_truncated(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    turbo_request *req = ex->current;
    if (ex->conn.begun)
        turbo__count(&turbo__io_of(&ex->conn)->dropped, 1);
    ex->conn.begun = 0;
    if (req == NULL)
        return;
    if (req->exchange == NULL) { /* it has its answer */
        end_current(ex);
        return;
    }
    /* It is the last message: take it off the end. */
    turbo_request **link = &ex->first;
    ex->last = NULL;
    while (*link != req) {
        ex->last = *link;
        link = &(*link)->next;
    }
    *link = NULL;
    req->exchange = NULL;
    conn->owed--;
    end_current(ex); /* the answer path's reference is still there */
    abandon(req);
}

/* A client that ends its side long after its last request has most likely gone: a half-close comes with the request. (The end of
 * one whose body is streamed may be long behind its beginning, and says nothing.) */
static void on_fin(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    const turbo_request *last = ex->last;
    uint64_t least_ns = TURBO__PATIENCE_LEAST_MS * (uint64_t)1000000;
    if (last == NULL || !last->dispatched || last->shard == NULL || last->incoming != NULL ||
        turbo__io_now_ns(last->io) < last->queued_ns + least_ns)
        return;
    for (turbo_request *req = ex->first; req != NULL; req = req->next)
        note_left(req);
}

static void on_room(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    /* Until an answer is here, whether it is streamed is its maker's to say. */
    if (ex->first != NULL && ex->first->answered && ex->first->streamed)
        pump(ex);
    if (conn->held && ex->first == ex->last) {
        conn->held = 0;
        dispatch(ex, ex->first);
    }
    if (!conn->dead)
        offer_continue(ex);
}

static void on_gone(turbo__conn *conn) {
    turbo__exchange *ex = of(conn);
    struct turbo__io *io = turbo__io_of(conn);
    if (conn->begun)
        turbo__count(io->aborting ? &io->abandoned : &io->dropped, 1);
    conn->begun = 0;
    drop_rest(ex);
    turbo__admission_leave(&io->server->admission, &ex->peer);
}

const turbo__conn_events turbo__exchange_events = {on_begin, on_head,      on_chunk, on_body, on_trailer, on_end,
                                                   on_error, on_truncated, on_fin,   on_room, on_gone};

int turbo__exchange_open(struct turbo__io *io, int fd, const turbo__peer *peer) {
    turbo__exchange *ex = turbo__calloc(1, sizeof *ex);
    if (ex == NULL)
        return TURBO_ENOMEM;
    ex->peer = *peer;
    ex->number = io->index + io->opened++; /* so that loops do not all begin with the same shard */
    int rc = turbo__conn_open(&ex->conn, &io->group, fd);
    if (rc < 0)
        turbo__free(ex);
    return rc;
}
