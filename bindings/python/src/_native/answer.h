/* answer.h - from what a handler returned, or raised, to the library's answer. Exceptions end here. */
#ifndef TURBOPY_ANSWER_H
#define TURBOPY_ANSWER_H

#include "request.h"
#include "shard.h"

/* Whom a handler's result is for. */
enum {
    TURBOPY_FOR_REQUEST, /* a RequestObject: its answer                             */
    TURBOPY_FOR_BATCH,   /* a list of RequestObjects: a sequence of as many answers */
    TURBOPY_FOR_STREAM,  /* a RequestObject: all parts of its answer were written   */
    TURBOPY_FOR_FAILED   /* a RequestObject: its answer by an exception handler     */
};

/**
 * Deal with a handler's result: run it when it is awaitable, else finish with it.
 *
 * @param owner   a RequestObject or a list of them; borrowed.
 * @param result  the reference is taken; NULL: the exception that is set is the result.
 */
void turbopy_dispatch(ShardObject *shard, int what, PyObject *owner, PyObject *result);

/** The same on any thread: a result that needs the loop is handed to it. */
void turbopy_dispatch_anywhere(ShardObject *shard, int what, PyObject *owner, PyObject *result);

/** As turbopy_dispatch() for a result that is no longer awaitable, on any thread unless it needs the loop. result is
 *  borrowed. */
void turbopy_finish(ShardObject *shard, int what, PyObject *owner, PyObject *result);

/** The body of an answer as bytes: parts of a streamed one too. *keep owns them. @return 0; -1 with TypeError. */
int turbopy_body_bytes(PyObject *body, turbo_str *out, PyObject **keep);

#endif
