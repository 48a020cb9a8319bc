/* stream.h - answers in parts: begin, write, wait for room, end or cut off. */
#ifndef TURBOPY_STREAM_H
#define TURBOPY_STREAM_H

#include "request.h"
#include "response.h"

/**
 * Send status and fields, and start the coroutine that sends the parts. The content is closed at the end; where no part is
 * sent, as a background call of the request.
 *
 * @return 0; -1 with an exception when nothing was sent. Later failures are reported and cut the connection off.
 */
int turbopy_stream_begin(RequestObject *request, ResponseObject *response);

/** request.respond(...): the Python side's respond(request, ...). */
PyObject *turbopy_stream_respond(RequestObject *request, PyObject *args, PyObject *kwargs);

/** request._begin(response): send status and fields of a turbo.Response; the handler writes the parts. */
PyObject *turbopy_stream_open(RequestObject *request, PyObject *response);

/** request._trailer(name, value): a field behind the body. */
PyObject *turbopy_stream_trailer(RequestObject *request, PyObject *const *args, Py_ssize_t count);

/** The handler that wrote its answer has returned, or failed (result is NULL, with an exception). */
void turbopy_stream_returned(RequestObject *request, PyObject *result);

/** The parts are written (ok), or the exception that is set has ended them: it is logged and the connection cut off. */
void turbopy_stream_end(RequestObject *request, int ok);

/** request._take_content(): what a stream's parts come from, for who is to close it; None: somebody else is. Any thread. */
PyObject *turbopy_stream_content(RequestObject *request, PyObject *unused);

/** request._write(part): None; when the client has to take some first, a future to await before the part is tried again:
 *  the same one for all who write meanwhile. */
PyObject *turbopy_stream_write(RequestObject *request, PyObject *part);

#endif
