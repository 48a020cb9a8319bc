/* body.c - a request body that its handler reads while it arrives. */
#include "body.h"

#include <string.h>

#include "exchange.h"
#include "io.h"
#include "mem.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"

#define PIECE_MIN 4096 /* room of a piece, so that a body that comes byte by byte does not cost a block for each */

int turbo__body_open(turbo_request *req) {
    turbo__body *body = turbo__calloc(1, sizeof *body);
    if (body == NULL)
        return TURBO_ENOMEM;
    pthread_mutex_init(&body->lock, NULL);
    body->req = req;
    body->news.kind = TURBO__MAIL_BODY;
    req->incoming = body;
    return 0;
}

/* -- pieces -- */

static uint64_t cost_of(const turbo__piece *piece) { return sizeof *piece + piece->cap; }

static void free_pieces(turbo_request *req, turbo__piece *piece) {
    uint64_t freed = 0;
    while (piece != NULL) {
        turbo__piece *next = piece->next;
        freed += cost_of(piece);
        turbo__free(piece);
        piece = next;
    }
    if (freed > 0)
        atomic_fetch_sub_explicit(&req->server->body_memory, freed, memory_order_relaxed);
}

void turbo__body_free(turbo_request *req) {
    turbo__body *body = req->incoming;
    free_pieces(req, body->first);
    free_pieces(req, body->lent);
    turbo__trailers_free(body->trailers);
    pthread_mutex_destroy(&body->lock);
    turbo__free(body);
}

/* @return NULL without memory, or when the server's memory for bodies is used up. */
static turbo__piece *new_piece(turbo_request *req, const char *data, size_t len) {
    turbo_server *server = req->server;
    size_t cap = len < PIECE_MIN ? PIECE_MIN : len;
    uint64_t cost = sizeof(turbo__piece) + cap;
    if (atomic_fetch_add_explicit(&server->body_memory, cost, memory_order_relaxed) + cost <=
        server->settings.body_memory_max_bytes) {
        turbo__piece *piece = turbo__malloc((size_t)cost);
        if (piece != NULL) {
            *piece = (turbo__piece){.len = len, .cap = cap};
            memcpy(piece->data, data, len);
            return piece;
        }
    }
    atomic_fetch_sub_explicit(&server->body_memory, cost, memory_order_relaxed);
    return NULL;
}

/* Fill the last piece, if the reader has not taken it. @return how many bytes went in. Lock held. */
static size_t fill_last(turbo__body *body, const char *data, size_t len) {
    turbo__piece *last = body->last;
    size_t n = last == NULL ? 0 : last->cap - last->len;
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(last->data + last->len, data, n);
    if (n > 0)
        last->len += n;
    return n;
}

static void hang_up(turbo__body *body, turbo__piece *piece) {
    if (body->last != NULL)
        body->last->next = piece;
    else
        body->first = piece;
    body->last = piece;
}

static turbo__piece *take_first(turbo__body *body) {
    turbo__piece *piece = body->first;
    body->first = piece->next;
    if (body->first == NULL)
        body->last = NULL;
    piece->next = NULL;
    body->unread -= piece->len;
    return piece;
}

/* -- the I/O loop's side -- */

void turbo__body_call(turbo_request *req) {
    turbo__body *body = req->incoming;
    if (body == NULL)
        return;
    pthread_mutex_lock(&body->lock);
    turbo_request_fn fn = body->fn;
    void *user = body->user;
    pthread_mutex_unlock(&body->lock);
    if (fn != NULL)
        fn(req, user);
}

/* Tell a reader that waits, once. The lock is held and given back. @return 1 when its shard is told. */
static int unlock_and_tell(turbo_request *req, uint32_t events) {
    int waiting = req->incoming->waiting;
    req->incoming->waiting = 0;
    pthread_mutex_unlock(&req->incoming->lock);
    if (waiting && req->shard != NULL)
        turbo__shard_event(req->shard, req, events);
    else if (waiting)
        turbo__body_call(req);
    return waiting && req->shard != NULL;
}

int turbo__body_put(turbo_request *req, const char *data, size_t len) {
    turbo__body *body = req->incoming;
    turbo__piece *piece = NULL;
    body->received += len;
    pthread_mutex_lock(&body->lock);
    size_t filled = fill_last(body, data, len);
    body->unread += filled;
    pthread_mutex_unlock(&body->lock);
    if (filled < len && (piece = new_piece(req, data + filled, len - filled)) == NULL)
        return TURBO_ENOMEM;
    pthread_mutex_lock(&body->lock);
    if (piece != NULL) {
        hang_up(body, piece);
        body->unread += piece->len;
    }
    body->full = body->unread >= req->route->body_window;
    (void)unlock_and_tell(req, TURBO_EVENT_BODY);
    return 0;
}

int turbo__body_is_full(turbo_request *req) {
    turbo__body *body = req->incoming;
    pthread_mutex_lock(&body->lock);
    int full = body->full;
    pthread_mutex_unlock(&body->lock);
    return full;
}

/* Lock held. */
static turbo__piece *take_unread(turbo__body *body) {
    turbo__piece *pieces = body->first;
    body->first = body->last = NULL;
    body->unread = 0;
    body->full = 0;
    return pieces;
}

void turbo__body_end(turbo_request *req, uint32_t state) {
    turbo__body *body = req->incoming;
    turbo__piece *pieces = NULL;
    pthread_mutex_lock(&body->lock);
    if (body->state == TURBO__BODY_COMING)
        body->state = state;
    if (body->state == TURBO__BODY_NO_MEMORY) /* other bodies can become whole with it */
        pieces = take_unread(body);
    (void)unlock_and_tell(req, TURBO_EVENT_BODY_END);
    free_pieces(req, pieces);
}

int turbo__body_drop(turbo_request *req, uint32_t also) {
    turbo__body *body = req->incoming;
    pthread_mutex_lock(&body->lock);
    turbo__piece *pieces = take_unread(body);
    if (body->state != TURBO__BODY_WHOLE || pieces != NULL)
        body->state = TURBO__BODY_DROPPED;
    int told = unlock_and_tell(req, TURBO_EVENT_BODY_END | also);
    free_pieces(req, pieces);
    return told;
}

int turbo__body_rest_is_short(const turbo_request *req) {
    const turbo__body *body = req->incoming;
    return req->chunked || req->body_length - body->received <= req->route->body_window;
}

static uint32_t state_of(turbo__body *body) {
    pthread_mutex_lock(&body->lock);
    uint32_t state = body->state;
    pthread_mutex_unlock(&body->lock);
    return state;
}

int32_t turbo__body_failure(turbo_request *req) {
    uint32_t state = req->incoming == NULL ? TURBO__BODY_WHOLE : state_of(req->incoming);
    if (state == TURBO__BODY_NO_MEMORY)
        state = req->route->shed_status;
    return state > TURBO__BODY_DROPPED ? (int32_t)state : 500;
}

int turbo__body_lacks_memory(turbo_request *req) {
    return req->incoming != NULL && state_of(req->incoming) == TURBO__BODY_NO_MEMORY;
}

/* -- the reader's side -- */

static void send_news(turbo_request *req) {
    turbo__body *body = req->incoming;
    if (turbo__io_is_here(req->io)) {
        turbo__exchange_body_news(req);
        return;
    }
    if (atomic_exchange(&body->homing, 1) != 0)
        return;
    turbo_request_retain(req);
    body->news.next = NULL;
    if (turbo__mailbox_push_one(&req->io->box, &body->news) < 0)
        turbo_request_release(req); /* the loop has closed, and the connection with it */
}

/* A body that was gathered is one part. */
static int read_gathered(turbo_request *req, turbo_str *out) {
    if (req->body_taken || req->body_len == 0)
        return 0;
    req->body_taken = 1;
    *out = turbo_request_body(req);
    return 1;
}

static int ended_with(uint32_t state) {
    switch (state) {
    case TURBO__BODY_WHOLE:
        return 0;
    case 413:
        return TURBO_ETOOBIG;
    case TURBO__BODY_NO_MEMORY:
        return TURBO_ENOMEM;
    default:
        return TURBO_ECLOSED;
    }
}

/* Nothing is there. Lock held. @return what a read returns. */
static int read_nothing(turbo_request *req, int *is_news) {
    turbo__body *body = req->incoming;
    if (body->state == TURBO__BODY_WHOLE && body->trailers != NULL) {
        req->trailers = body->trailers; /* from here on their accessors find them */
        body->trailers = NULL;
    }
    if (body->state != TURBO__BODY_COMING)
        return ended_with(body->state);
    *is_news = !body->asked;
    body->asked = body->waiting = 1;
    return TURBO_EAGAIN;
}

/* Lock held. @return what a read returns. */
static int read_part(turbo_request *req, turbo_str *out, int *is_news) {
    turbo__body *body = req->incoming;
    body->waiting = 0;
    if (body->first == NULL)
        return read_nothing(req, is_news);
    body->lent = take_first(body);
    *out = (turbo_str){body->lent->data, body->lent->len};
    *is_news = body->full && body->unread <= req->route->body_window / 2;
    if (*is_news)
        body->full = 0;
    return 1;
}

int turbo_request_body_read(turbo_request *req, turbo_str *out) {
    turbo__body *body = req->incoming;
    int is_news = 0;
    if (body == NULL)
        return read_gathered(req, out);
    free_pieces(req, body->lent);
    body->lent = NULL;
    pthread_mutex_lock(&body->lock);
    int rc = read_part(req, out, &is_news);
    if (is_news)
        turbo_request_retain(req); /* behind a TURBO_EAGAIN somebody else may read on, answer, and let go of it */
    pthread_mutex_unlock(&body->lock);
    if (!is_news)
        return rc;
    send_news(req);
    turbo_request_release(req);
    return rc;
}

int turbo_request_on_body(turbo_request *req, turbo_request_fn fn, void *user) {
    turbo__body *body = req->incoming;
    if (body == NULL)
        return 0; /* it is whole: nobody will have to wait */
    pthread_mutex_lock(&body->lock);
    body->fn = fn;
    body->user = user;
    pthread_mutex_unlock(&body->lock);
    return 0;
}
