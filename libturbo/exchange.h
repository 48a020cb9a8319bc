/* exchange.h - the messages of one connection: requests in, answers out in the same order (RFC 9112 9.3.2). */
#ifndef TURBO_EXCHANGE_H
#define TURBO_EXCHANGE_H

#include "conn.h"
#include "request.h"

struct turbo__io;

typedef struct turbo__exchange {
    turbo__conn conn; /* first: the allocation is the connection's */
    turbo_request *first, *last; /* messages whose answers are not all in conn.out   */
    turbo_request *current;      /* the one whose body is being read; the last. One whose body is streamed is kept by a
                                    reference: its answer may have left, and it the list */
    uint32_t number;             /* for placement connection                         */
    turbo__peer peer;
} turbo__exchange;

extern const turbo__conn_events turbo__exchange_events;

/** Take a connected socket. @return 0; TURBO_ENOMEM; TURBO_ESYS; on error fd stays the caller's. */
int turbo__exchange_open(struct turbo__io *io, int fd, const turbo__peer *peer);

/** An answer, or news of a streamed one, has come home: send what is due. A whole answer brings the answer path's
 *  reference with it. Thread: the I/O loop. */
void turbo__exchange_deliver(turbo_request *req);

/** The reader of a streamed body asks for it, or has made room. Thread: the I/O loop. */
void turbo__exchange_body_news(turbo_request *req);

#endif
