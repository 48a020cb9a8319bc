/* request.h - one request: states, its single block of memory, references. */
#ifndef TURBO_REQUEST_INTERNAL_H
#define TURBO_REQUEST_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "buf.h"
#include "fields.h"
#include "http1_parse.h"
#include "list.h"
#include "mailbox.h"
#include "response.h"
#include "route.h"
#include "turbo/request.h"

struct turbo__body;
struct turbo__io;
struct turbo__exchange;

/* State of the answer. OPEN -> BEGUN -> ENDED; a whole answer goes straight to ENDED. Whoever makes the step (one
 * compare-and-swap a request) owns the answer. OPEN -> OVERDUE -> ENDED: the library has answered in the place of a handler
 * that took too long, and then the handler is done. */
enum { TURBO__OPEN = 0, TURBO__BEGUN, TURBO__ENDED, TURBO__OVERDUE };

/* How a request ended without an answer; turbo_request.end. */
enum { TURBO__END_ANSWERED = 0, TURBO__END_SHED, TURBO__END_DROPPED, TURBO__END_ABANDONED };

/* A part of a streamed answer. */
typedef struct turbo__part {
    struct turbo__part *next;
    size_t len;
    char data[];
} turbo__part;

/* Trailer fields: few requests have any. */
typedef struct turbo__trailers {
    turbo__buf raw; /* names and values */
    turbo__field *fields;
    uint32_t count, cap;
} turbo__trailers;

/* The client's address, packed. */
typedef struct turbo__peer {
    uint16_t family; /* AF_*; AF_UNSPEC: unknown */
    uint16_t port;   /* host order               */
    uint8_t address[16];
} turbo__peer;

/*
 * Who may touch what: the head, body and routing are written before the request is handed to a shard, and only read
 * afterwards. (Any thread may hand over one that has a connection, turbo_shard_submit(), while that one's I/O loop works
 * on: so `shard` is atomic, and the last that is written.) The link to the connection and `next` are the I/O loop's. The
 * answer is its owner's until the request is sent home, and the I/O loop's from then on.
 */
struct turbo_request {
    turbo__mail to_shard; /* in a shard's mailbox or queue while events is not 0 */
    turbo__mail to_home;  /* on its way to the I/O loop                          */
    atomic_uint refs;
    atomic_uint state;     /* TURBO__OPEN ...                                     */
    atomic_uint events;    /* TURBO_EVENT_* that the shard has not taken          */
    atomic_uint cancelled; /* the client has gone                                 */
    atomic_uint left_ms;   /* the client has left, or so it seems, after waiting for so long; 0: not */
    atomic_uint timed_out; /* its deadline has passed, and it was answered by us   */
    atomic_uint homing;    /* streamed answers: to_home is in use                 */
    atomic_uint ended;     /* streamed answers: somebody has taken the end        */

    turbo_server *server;
    struct turbo__io *io;         /* home; NULL without a connection              */
    _Atomic(turbo_shard *) shard; /* NULL until submitted, and for executor inline */
    turbo__route *route;

    /* The I/O loop's. */
    struct turbo__exchange *exchange; /* NULL when the connection has gone        */
    turbo_request *next;              /* message behind this one                  */
    uint8_t complete;                 /* the message was read whole               */
    uint8_t answered;                 /* the answer is here, whole or begun       */
    uint8_t head_sent;                /* of a streamed answer                     */
    uint8_t frame;                    /* TURBO__FRAME_* of a streamed answer      */
    uint8_t dispatched;               /* was given to a handler or a shard        */
    uint8_t stream_last;              /* the connection ends behind a streamed answer */
    uint8_t body_lent_out;            /* the out queue holds the body, and our reference */
    uint16_t refusal;                 /* not 0: the body is read and dropped, then this status */
    turbo__part *parts, *parts_last;  /* taken from new_parts, oldest first       */

    /* The head. */
    const char *raw;
    turbo__span method, target, path, query;
    uint8_t has_query;
    uint8_t escaped; /* the path has a '%' */
    uint8_t version; /* 10, 11 */
    uint8_t keep_alive;
    uint8_t is_head;
    uint8_t is_safe; /* the method asks for nothing but an answer (RFC 9110 9.2.1) */
    uint8_t counted; /* in flight on its shard (gate.h) */
    uint8_t given;   /* its shard's executor has, or had, it */
    uint8_t end;     /* TURBO__END_*                    */
    uint8_t chunked;
    uint8_t owns_body;
    uint8_t streamed;          /* the answer is streamed                      */
    uint8_t failed;            /* and its handler failed before its end       */
    uint8_t resp_has_length;   /* and was promised to be resp_length long     */
    uint8_t body_taken;        /* turbo_request_body_read() has given the gathered one */
    uint8_t in_line;
    uint8_t answered_in_batch; /* the shard's thread: latency is counted at the batch's end */
    uint32_t waited_ms; /* in its shard's queue; 0: not for long, or nobody learns from it (patience.h) */
    uint32_t param_count;
    uint32_t field_count;
    const turbo__field *fields;
    turbo_str *params;
    turbo__peer peer;
    uint32_t raw_len;

    /* The body. */
    char *body;
    size_t body_len, body_cap;
    uint64_t body_length; /* Content-Length                            */
    uint64_t body_charged; /* counted in the server's body memory      */
    uint64_t queued_ns;   /* when it was given to its shard            */
    _Atomic uint64_t deadline_ns; /* for its handler; 0: none          */
    turbo__list overdue_link;     /* in a line of its shard while in_line is set, both under that one's lock (overdue.h) */
    turbo__trailers *trailers; /* NULL: none                           */
    struct turbo__body *incoming; /* read while it arrives (body.h); NULL: gathered, or none */

    /* The answer. */
    turbo_response *resp;       /* own, or one that respond() took     */
    turbo_response own;
    turbo__buf *resp_trailers;         /* of a streamed one: ready lines; NULL: none */
    _Atomic(turbo__part *) new_parts; /* newest first                  */
    _Atomic uint64_t unsent;    /* bytes of parts that have not reached the connection */
    atomic_uint want_writable;  /* a write got TURBO_EAGAIN            */
    atomic_uint is_first;       /* of its connection's unanswered messages: a streamed answer has the whole limit */
    uint64_t written;           /* by the streaming handler, in all    */
    uint64_t resp_length;
    turbo_request_fn writable_fn, gone_fn;
    void *writable_user, *gone_user;
    void *data;         /* turbo_request_data()  */
    turbo_done_fn done; /* without a connection */
    void *done_user;

    turbo_request *pool_next; /* while it waits for one of the shard's threads (pool.h) */

    char *spare; /* free bytes of the block, for small answers */
    size_t spare_len;
};

/** A request from a head: one block, the head copied once.
 *  @param params_max places for path parameters. @return NULL without memory. Refs: 1, the answer path's. */
turbo_request *turbo__request_from_head(const turbo__h1_head *head, size_t params_max);

/** A request that only carries an error answer of a connection. @return NULL without memory. */
turbo_request *turbo__request_bare(int version);

/** Route by method and path, filling params. @return the status of turbo__match. */
int32_t turbo__request_route(turbo_request *req, const turbo__router *router, turbo__match *match);

/** Append to the body, at most max bytes in all. @return 0; TURBO_ETOOBIG; TURBO_ENOMEM; TURBO_EAGAIN when the
 *  server's memory for bodies is used up. */
int turbo__request_body_append(turbo_request *req, const char *data, size_t len, uint64_t max);

/** Append a trailer field. The parser bounds how many there are, and their bytes.
 *  @param to  NULL at the first. @return 0; TURBO_ENOMEM. */
int turbo__trailers_add(turbo__trailers **to, turbo_str name, turbo_str value);
void turbo__trailers_free(turbo__trailers *trailers);

/** Become the one who answers. @return 0; TURBO_ESTATE. */
int turbo__request_claim(turbo_request *req, unsigned from, unsigned to);

/** Whether the client has gone. (turbo_request_cancelled() is also about the handler's time.) */
static inline int turbo__request_is_gone(const turbo_request *req) {
    return atomic_load_explicit(&req->cancelled, memory_order_relaxed) != 0;
}

/** When the client has gone, or most likely has: it ended its sending side long behind the request. @return how long it had
 *  waited by then, in ms; 0: it has not. */
static inline uint32_t turbo__request_left_ms(const turbo_request *req) {
    return atomic_load_explicit(&req->left_ms, memory_order_relaxed);
}

/** Take the end of a streamed answer, and with it the answer path's reference. The I/O loop does, unless it has closed
 *  its mailbox: then the thread that made the end may come first. @return 1; 0 when it was taken before. */
static inline int turbo__request_take_end(turbo_request *req) {
    return atomic_load(&req->state) == TURBO__ENDED && atomic_exchange(&req->ended, 1) == 0;
}

/** A small answer in the request's own response object, copied into spare memory or allocated.
 *  The caller has claimed. @return 0; TURBO_ENOMEM. */
int turbo__request_fill(turbo_request *req, int32_t status, turbo_str content_type, const void *data, size_t len);

/** The answer was sent or thrown away: give its body back. */
void turbo__request_answer_done(turbo_request *req);

static inline turbo_str turbo__request_span(const turbo_request *req, turbo__span span) {
    return (turbo_str){req->raw + span.at, span.len};
}

#endif
