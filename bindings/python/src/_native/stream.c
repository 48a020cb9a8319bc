/* stream.c - answers in parts. The loop over the parts is Python's: turbo/streaming.py. */
#include "stream.h"

#include <turbo/error.h>
#include <turbo/executor.h>
#include <turbo/response.h>

#include "answer.h"
#include "background.h"
#include "error.h"
#include "executor.h"
#include "route.h"
#include "shard.h"
#include "task.h"
#include "wait.h"

/* @return 0; 1: there is an answer already; -1 with an exception. */
static int begin(RequestObject *request, const ResponseObject *response) {
    const turbopy_route *route = turbo_request_user(request->req);
    const char *type = route->content_type != NULL ? route->content_type : "application/octet-stream";
    turbo_response *resp = turbopy_response_head(response, type);
    if (resp == NULL)
        return -1;
    int rc = turbo_request_respond_begin(request->req, resp);
    if (rc == 0) {
        turbopy_shard_answered(request->shard);
        return 0;
    }
    turbo_response_free(resp);
    if (rc == TURBO_ESTATE) /* the handler's time was over: nobody's mistake, as in answer.c */
        return 1;
    turbopy_raise(rc, NULL);
    return -1;
}

/* HTTP has no place for a body there: asking for parts would be work for nothing. */
static int has_no_body(const RequestObject *request, const ResponseObject *response) {
    return response->status == 204 || response->status == 304 || turbopy_request_is(request, "HEAD");
}

static int check_content(const RequestObject *request, const ResponseObject *response) {
    const turbopy_route *route = turbo_request_user(request->req);
    if (!route->is_batch && response->body != NULL)
        return 0;
    PyErr_SetString(PyExc_TypeError, route->is_batch ? "a batch handler cannot answer with a StreamingResponse"
                                                     : "the StreamingResponse has no content");
    return -1;
}

/* Nobody will ask for parts. What the content holds it is to let go all the same; an exception that is set stays. */
static void discard(RequestObject *request, PyObject *content) {
    PyObject *exception = PyErr_GetRaisedException(), *args[] = {(PyObject *)request, content};
    PyObject *done = content == NULL ? NULL : PyObject_Vectorcall(request->shard->st->discard, args, 2, NULL);
    turbopy_unraisable(content);
    Py_XDECREF(done);
    PyErr_SetRaisedException(exception);
}

int turbopy_stream_begin(RequestObject *request, ResponseObject *response) {
    int rc = check_content(request, response);
    if (rc == 0)
        rc = begin(request, response);
    if (rc != 0) {
        discard(request, response->body);
        if (rc > 0)
            turbopy_request_over(request);
        return rc < 0 ? -1 : 0;
    }
    if (has_no_body(request, response)) {
        discard(request, response->body);
        turbopy_stream_end(request, 1);
        return 0;
    }
    turbopy_set(request, &request->content, Py_NewRef(response->body));
    PyObject *args[] = {(PyObject *)request, response->trailers == NULL ? Py_None : response->trailers};
    turbopy_dispatch(request->shard, TURBOPY_FOR_STREAM, (PyObject *)request,
                     PyObject_Vectorcall(request->shard->st->pump, args, 2, NULL));
    return 0;
}

PyObject *turbopy_stream_content(RequestObject *request, PyObject *unused) {
    (void)unused;
    PyObject *content = turbopy_take(request, &request->content);
    return content != NULL ? content : Py_NewRef(Py_None);
}

/* A task of asyncio's that is cancelled before its first step runs nothing of its coroutine. */
static void discard_unbegun(RequestObject *request) {
    PyObject *content = turbopy_take(request, &request->content);
    if (content != NULL)
        discard(request, content);
    Py_XDECREF(content);
}

/* -- answers that their handler writes -- */

PyObject *turbopy_stream_respond(RequestObject *request, PyObject *args, PyObject *kwargs) {
    PyObject *respond = request->shard->st->respond, *all = PyTuple_New(PyTuple_GET_SIZE(args) + 1), *writer;
    if (all == NULL)
        return NULL;
    PyTuple_SET_ITEM(all, 0, Py_NewRef((PyObject *)request));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++)
        PyTuple_SET_ITEM(all, i + 1, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    writer = PyObject_Call(respond, all, kwargs);
    Py_DECREF(all);
    return writer;
}

/* @return why this request's handler cannot write its answer itself; NULL: it can. */
static const char *cannot_write(const RequestObject *request) {
    const turbopy_route *route = turbo_request_user(request->req);
    if (route->is_batch)
        return "respond(): a batch handler returns its answers";
    if (request->shard->task_mode == TURBOPY_TASK_POSTED)
        return "respond(): in mode=\"single\" nobody waits for room meanwhile; return a turbo.StreamingResponse";
    if (!turbopy_shard_is_here(request->shard))
        return "respond(): only on the shard's thread; elsewhere return a turbo.StreamingResponse";
    return NULL;
}

PyObject *turbopy_stream_open(RequestObject *request, PyObject *response) {
    const char *why = cannot_write(request);
    if (why != NULL) {
        PyErr_SetString(PyExc_RuntimeError, why);
        return NULL;
    }
    int rc = begin(request, (ResponseObject *)response);
    if (rc != 0)
        return rc < 0 ? NULL : turbopy_raise(TURBO_ESTATE, "respond(): the request has an answer already");
    request->writing = 1;
    Py_RETURN_NONE;
}

PyObject *turbopy_stream_trailer(RequestObject *request, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "a trailer field is a name and a value");
        return NULL;
    }
    if (turbopy_response_trailer(request->req, args[0], args[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

void turbopy_stream_returned(RequestObject *request, PyObject *result) {
    request->writing = 0;
    if (result != NULL && result != Py_None)
        PyErr_Format(PyExc_TypeError, "a handler that has called request.respond() returns None, not %.100s",
                     Py_TYPE(result)->tp_name);
    turbopy_stream_end(request, result == Py_None);
}

/* -- both -- */

/* The library closes the connection before the end of the body, so that the client can tell. */
static void cut_off(RequestObject *request) {
    turbopy_executor_cut_off(request->req);
    turbopy_shard_answered(request->shard);
}

static void report(RequestObject *request) {
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *args[] = {(PyObject *)request, exception};
    PyObject *done = PyObject_Vectorcall(request->shard->st->log_failure, args, 2, NULL);
    if (done == NULL)
        turbopy_unraisable((PyObject *)request);
    Py_XDECREF(done);
    Py_DECREF(exception);
}

void turbopy_stream_end(RequestObject *request, int ok) {
    discard_unbegun(request);
    if (ok) {
        (void)turbo_request_respond_end(request->req); /* TURBO_ESTATE: the server gave it up */
        turbopy_shard_answered(request->shard);
        turbopy_request_over(request);
        return;
    }
    if (turbo_request_cancelled(request->req) || TURBOPY_FLAG(request->shard->ending))
        PyErr_Clear(); /* nobody is left to take it: the usual end of many streams */
    else
        report(request);
    cut_off(request);
    turbopy_request_over(request);
}

static int write_part(const RequestObject *request, turbo_str bytes) {
    return turbo_request_respond_write(request->req, bytes.data, bytes.len);
}

/*
 * There was no room. @return as write_part(), with *room set for TURBO_EAGAIN; 1 with an exception.
 *
 * With mode="single" this is not the shard's thread, which may have heard of room before there was a future for it to
 * complete. So the part is tried once more behind that.
 */
static int wait_for_room(RequestObject *request, turbo_str bytes, PyObject **room) {
    *room = turbopy_wait_pending(request, &request->writable); /* another coroutine's that writes, too */
    if (*room == NULL && !PyErr_Occurred())
        *room = turbopy_wait_new(request, &request->writable);
    if (*room == NULL)
        return 1;
    int rc = turbopy_shard_is_here(request->shard) ? TURBO_EAGAIN : write_part(request, bytes);
    if (rc != TURBO_EAGAIN) {
        turbopy_wait_forget(request, &request->writable);
        Py_CLEAR(*room);
    }
    return rc;
}

PyObject *turbopy_stream_write(RequestObject *request, PyObject *part) {
    turbo_str bytes;
    PyObject *keep, *room = NULL;
    if (turbopy_body_bytes(part, &bytes, &keep) < 0)
        return NULL;
    int rc = write_part(request, bytes);
    if (rc == TURBO_EAGAIN)
        rc = wait_for_room(request, bytes, &room);
    Py_DECREF(keep);
    if (rc == TURBO_EAGAIN || rc == 1)
        return room;
    if (rc < 0)
        return turbopy_raise(rc, rc == TURBO_ECLOSED ? "the client has gone" : NULL);
    turbopy_shard_answered(request->shard);
    Py_RETURN_NONE;
}
