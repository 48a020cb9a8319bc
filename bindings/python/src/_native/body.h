/* body.h - request bodies that handlers read while they arrive. The loops are Python's: turbo/bodies.py. */
#ifndef TURBOPY_BODY_H
#define TURBOPY_BODY_H

#include "request.h"

/** Whether the request's route has body="streamed". */
int turbopy_body_is_streamed(const RequestObject *request);

/** The body as one object, where it is one: gathered, or read whole before. @return a new reference; NULL without an
 *  exception: it is still to be read. */
PyObject *turbopy_body_whole(RequestObject *request);

/** The same for who cannot wait. @return NULL with a RuntimeError that says what to use. */
PyObject *turbopy_body_now(RequestObject *request);

/** request.stream() and request.read(). */
PyObject *turbopy_body_stream(RequestObject *request, PyObject *unused);
PyObject *turbopy_body_read(RequestObject *request, PyObject *unused);

/** request._read(): the next part, b"" at the end, None when _readable() is to be awaited. */
PyObject *turbopy_body_part(RequestObject *request, PyObject *unused);

/** request._readable(): a future that is done when it is worth while to read again. */
PyObject *turbopy_body_readable(RequestObject *request, PyObject *unused);

/** request._keep(bytes): all of it was read. */
PyObject *turbopy_body_keep(RequestObject *request, PyObject *bytes);

#endif
