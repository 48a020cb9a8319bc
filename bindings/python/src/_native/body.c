/* body.c - request bodies that handlers read while they arrive. */
#include "body.h"

#include <turbo/error.h>

#include "error.h"
#include "route.h"
#include "shard.h"
#include "wait.h"

int turbopy_body_is_streamed(const RequestObject *request) {
    const turbopy_route *route = turbo_request_user(request->req);
    return route->is_streamed;
}

PyObject *turbopy_body_whole(RequestObject *request) {
    PyObject *seen = turbopy_seen(&request->body);
    if (seen != NULL)
        return Py_NewRef(seen);
    if (turbopy_body_is_streamed(request))
        return NULL;
    turbo_str body = turbo_request_body(request->req);
    if (body.len == 0)
        return Py_NewRef(turbopy_state_of(request)->empty_bytes);
    return turbopy_made(request, &request->body, PyBytes_FromStringAndSize(body.data, (Py_ssize_t)body.len));
}

PyObject *turbopy_body_now(RequestObject *request) {
    PyObject *body = turbopy_body_whole(request);
    if (body == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the bodies of this route are streamed: use \"async for part in request.stream()\", "
                                            "or \"await request.read()\" first");
    return body;
}

/* Call one of the hooks with the request and its whole body, or None. */
static PyObject *call_hook(PyObject *hook, RequestObject *request) {
    PyObject *whole = turbopy_body_whole(request);
    if (whole == NULL && PyErr_Occurred())
        return NULL;
    PyObject *args[] = {(PyObject *)request, whole != NULL ? whole : Py_None};
    PyObject *result = PyObject_Vectorcall(hook, args, 2, NULL);
    Py_XDECREF(whole);
    return result;
}

PyObject *turbopy_body_stream(RequestObject *request, PyObject *unused) {
    (void)unused;
    return call_hook(turbopy_state_of(request)->body_stream, request);
}

PyObject *turbopy_body_read(RequestObject *request, PyObject *unused) {
    (void)unused;
    return call_hook(turbopy_state_of(request)->body_read, request);
}

static PyObject *raise_end(RequestObject *request, int rc) {
    const turbopy_state *st = turbopy_state_of(request);
    if (rc != TURBO_ECLOSED)
        PyErr_SetString(st->BodyError, rc == TURBO_ETOOBIG ? "the request body is longer than body_max_bytes"
                                                           : "no memory for the request body");
    else if (turbo_request_timed_out(request->req) || TURBOPY_FLAG(request->over))
        PyErr_SetString(st->BodyError, "the request was answered before its body was read");
    else if (turbo_request_cancelled(request->req))
        PyErr_SetString(st->ClientDisconnect, "the client has gone");
    else
        PyErr_SetString(st->BodyError, "the request body is malformed, its trailers or chunk extensions are too large, or it has "
                                       "stalled");
    return NULL;
}

/* Parts are taken by one thread at a time, libturbo says. @return 0; -1 with an exception. */
static int check_here(const RequestObject *request) {
    if (turbopy_shard_is_here(request->shard))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "a streamed body is read on the loop of the request's shard");
    return -1;
}

PyObject *turbopy_body_part(RequestObject *request, PyObject *unused) {
    turbo_str part;
    (void)unused;
    if (check_here(request) < 0)
        return NULL;
    request->body_taken = 1;
    int rc = turbo_request_body_read(request->req, &part);
    if (rc == 1)
        return PyBytes_FromStringAndSize(part.data, (Py_ssize_t)part.len);
    if (rc == TURBO_EAGAIN)
        Py_RETURN_NONE;
    return rc == 0 ? Py_NewRef(turbopy_state_of(request)->empty_bytes) : raise_end(request, rc);
}

PyObject *turbopy_body_readable(RequestObject *request, PyObject *unused) {
    (void)unused;
    if (check_here(request) < 0)
        return NULL;
    PyObject *other = turbopy_wait_pending(request, &request->readable);
    if (other != NULL)
        PyErr_SetString(PyExc_RuntimeError, "another coroutine waits for the body already");
    Py_XDECREF(other);
    return PyErr_Occurred() ? NULL : turbopy_wait_new(request, &request->readable);
}

PyObject *turbopy_body_keep(RequestObject *request, PyObject *bytes) {
    PyObject *kept = turbopy_made(request, &request->body, Py_NewRef(bytes)); /* a second one would be the same */
    Py_XDECREF(kept);
    Py_RETURN_NONE;
}
