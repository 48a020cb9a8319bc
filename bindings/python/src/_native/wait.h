/* wait.h - futures that an event of a request completes. */
#ifndef TURBOPY_WAIT_H
#define TURBOPY_WAIT_H

#include "request.h"

/**
 * Make the future of one of a request's places (request.h: what goes on with it), and have the shard look for the request
 * when events come. The shard's thread; for writable, the thread that writes.
 *
 * @param place  &request->writable or &request->readable.
 * @return the future; NULL with an exception.
 */
PyObject *turbopy_wait_new(RequestObject *request, PyObject **place);

/** The future that is there and that somebody awaits. The same thread. @return a reference; NULL: none, or an exception is set. */
PyObject *turbopy_wait_pending(RequestObject *request, PyObject **place);

/** Nobody awaits the future that is there. The same thread. */
void turbopy_wait_forget(RequestObject *request, PyObject **place);

/** Complete the future that is there, if it is. The shard's thread. */
void turbopy_wait_done(RequestObject *request, PyObject **place);

#endif
