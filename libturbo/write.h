/* write.h - an answer into the bytes of its connection. */
#ifndef TURBO_WRITE_H
#define TURBO_WRITE_H

#include "exchange.h"

enum {
    TURBO__WRITE_DONE = 0, /* all of the answer is in the connection's hands           */
    TURBO__WRITE_LAST = 1  /* the same, and the connection ends behind it              */
};

/**
 * Put a whole answer into the connection's out queue. When the body is sent by reference, req->body_lent_out is set
 * and the answer path's reference goes to the queue, which gives body and reference back.
 * @return TURBO__WRITE_*; TURBO_ENOMEM.
 */
int turbo__write_answer(turbo__exchange *ex, turbo_request *req);

/**
 * Put what there is of a streamed answer into the out queue, as long as that has room.
 * @return TURBO__WRITE_* at its end; TURBO_EAGAIN when more is to come; TURBO_ENOMEM.
 */
int turbo__write_stream(turbo__exchange *ex, turbo_request *req);

/** Tell a streaming handler that waits, if it does, that it may write again. It may do so before the call returns. */
void turbo__write_tell_room(turbo_request *req);

#endif
