/* body.h - a request body that its handler reads while it arrives. */
#ifndef TURBO_BODY_H
#define TURBO_BODY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "mailbox.h"
#include "request.h"

/* What became of a body; above these the status that the library answers, if nobody has answered: 400, 408, 413, ...
 * Without memory that is the route's shed_status, which may be another. */
enum { TURBO__BODY_COMING = 0, TURBO__BODY_WHOLE, TURBO__BODY_DROPPED, TURBO__BODY_NO_MEMORY = 503 };

/* Bytes that wait for the reader. */
typedef struct turbo__piece {
    struct turbo__piece *next;
    size_t len, cap;
    char data[];
} turbo__piece;

/*
 * The I/O loop puts pieces in, any one thread takes them out: where they meet is under the lock, which nobody holds for
 * longer than it takes to hang a piece up or to fill the last one.
 */
typedef struct turbo__body {
    turbo_request *req;
    turbo__mail news;    /* to the I/O loop: the reader asks, or has taken half of the window */
    atomic_uint homing;  /* it is under way */

    pthread_mutex_t lock;
    turbo__piece *first, *last;
    turbo__piece *lent;          /* the one that the reader has           */
    uint64_t unread;             /* bytes in the list                     */
    uint32_t state;              /* TURBO__BODY_*, or a status            */
    uint8_t full;                /* the loop has stopped reading          */
    uint8_t waiting;             /* a read got TURBO_EAGAIN: tell it      */
    uint8_t asked;               /* there was one                         */
    turbo__trailers *trailers;   /* given to the request at its end       */
    turbo_request_fn fn;
    void *user;

    /* The I/O loop's. */
    uint64_t received;  /* bytes in all                                           */
    uint64_t drop_left; /* once nobody reads any more: how much is still read away */
    uint8_t wanted;     /* the reader has asked: 100 Continue may be sent          */
} turbo__body;

/** Give a request whose head was read a body to come. @return 0; TURBO_ENOMEM. */
int turbo__body_open(turbo_request *req);

/** With the request's last reference. */
void turbo__body_free(turbo_request *req);

/** Bytes have come. The reader may be called, and answer, before the call returns.
 *  @return 0; TURBO_ENOMEM, also when the server's memory for bodies is used up. Thread: the I/O loop. */
int turbo__body_put(turbo_request *req, const char *data, size_t len);

/** Whether so much waits that nothing more may be read. It then ends with turbo__exchange_body_news(). */
int turbo__body_is_full(turbo_request *req);

/** Nothing more will come: TURBO__BODY_WHOLE, or the status that says why. What waits may still be read, but without
 *  memory: then it is given back at once. The reader may be called before the call returns. Thread: the I/O loop.
 *  @param req  with a reference that is held over the call. */
void turbo__body_end(turbo_request *req, uint32_t state);

/** Nobody needs it any more: the client has gone, or the answer is complete. A reader that waits on a shard is told of its
 *  end, and of `also` (TURBO_EVENT_*), at once. @return 1 when one was. Thread: the I/O loop. */
int turbo__body_drop(turbo_request *req, uint32_t also);

/** Whether what is to come of a body can be read away rather than end the connection. Thread: the I/O loop. */
int turbo__body_rest_is_short(const turbo_request *req);

/** The status for a handler that failed: the one that its body ended with, else 500. Thread: any. */
int32_t turbo__body_failure(turbo_request *req);

/** Whether there was no memory for a part of it: a handler that has not begun has nothing to begin with. Thread: any. */
int turbo__body_lacks_memory(turbo_request *req);

/** Call what turbo_request_on_body() registered. Thread: the request's shard. */
void turbo__body_call(turbo_request *req);

#endif
