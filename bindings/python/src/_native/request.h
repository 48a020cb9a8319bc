/* request.h - turbo.Request: a request that a handler looks at. Attributes are made when they are first used. */
#ifndef TURBOPY_REQUEST_H
#define TURBOPY_REQUEST_H

#include <turbo/request.h>

#include "state.h"

struct ShardObject;

typedef struct RequestObject {
    PyObject_HEAD
    turbo_request *req; /* a reference */
    struct ShardObject *shard;

    /* what was asked for already, else NULL */
    PyObject *path, *query, *headers, *trailers, *params, *body;

    /* what goes on with it: while one of these is set, the shard finds this object for events of req (watch.h) */
    PyObject *task;     /* the suspended coroutine's task                          */
    PyObject *writable; /* the future that a writer of a streamed answer waits for */
    PyObject *readable; /* the future that a reader of a streamed body waits for   */
    PyObject *lent;     /* what owns the answer body that the library still reads  */

    PyObject *parts; /* taken of a streamed body: a list, the next read()'s or stream()'s; a tuple, a stream()'s; None */
    PyObject *content; /* of its streamed answer, until the coroutine that sends the parts has begun */
    PyObject *weakrefs;
    PyObject *background; /* what request.background() was given, until the answer is handed over; else NULL */
    char body_taken; /* a part of its streamed body was */
    char knows;      /* that its client has gone, or sends no more: its task is not cancelled for that */
    char in_batch; /* its task answers other requests too */
    char watched;
    char told; /* its task was cancelled, by us */
    char over; /* the answer was handed over, whole */
    char writing; /* its handler writes the answer: it has begun, and ends when the handler does */
} RequestObject;

extern PyType_Spec turbopy_request_spec;

/**
 * Wrap a request; takes a reference of its own to req.
 *
 * @return NULL with an exception.
 */
RequestObject *turbopy_request_new(turbopy_state *st, struct ShardObject *shard, turbo_request *req);

/** Free the objects that are kept for the next requests. */
void turbopy_request_free_spares(turbopy_state *st);

/** Whether the method is this one. */
int turbopy_request_is(const RequestObject *self, const char *method);

#endif
