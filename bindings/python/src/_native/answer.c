/* answer.c - results and exceptions of handlers become answers. */
#include "answer.h"

#include <string.h>
#include <turbo/error.h>
#include <turbo/response.h>

#include "background.h"
#include "error.h"
#include "response.h"
#include "route.h"
#include "stream.h"
#include "task.h"

#define TYPE_BYTES "application/octet-stream"
#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_JSON "application/json"

typedef struct body {
    turbo_str bytes;
    PyObject *keep;   /* owns the bytes; NULL: they are the shard's scratch text */
    const char *type; /* Content-Type unless the answer names one; NULL for none */
} body;

/* -- bodies -- */

static int buffer_bytes(PyObject *object, turbo_str *out, PyObject **keep) {
    PyObject *view = PyMemoryView_GetContiguous(object, PyBUF_READ, 'C');
    if (view == NULL)
        return -1;
    Py_buffer *buffer = PyMemoryView_GET_BUFFER(view);
    *out = (turbo_str){buffer->buf, (size_t)buffer->len};
    *keep = view; /* holds the buffer: a bytearray cannot be resized meanwhile */
    return 0;
}

static int text_bytes(PyObject *object, turbo_str *out, PyObject **keep) {
    Py_ssize_t len;
    const char *data = PyUnicode_AsUTF8AndSize(object, &len);
    if (data == NULL)
        return -1;
    *out = (turbo_str){data, (size_t)len};
    *keep = Py_NewRef(object);
    return 0;
}

int turbopy_body_bytes(PyObject *object, turbo_str *out, PyObject **keep) {
    if (PyBytes_Check(object)) {
        *out = (turbo_str){PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object)};
        *keep = Py_NewRef(object);
        return 0;
    }
    if (PyUnicode_Check(object))
        return text_bytes(object, out, keep);
    if (PyObject_CheckBuffer(object))
        return buffer_bytes(object, out, keep);
    PyErr_Format(PyExc_TypeError, "a body is bytes, bytearray, memoryview or str, not %.100s", Py_TYPE(object)->tp_name);
    return -1;
}

/* The text of value as bytes that are out's own. */
static int json_kept(const turbopy_text *text, int rc, body *out) {
    if (rc == 1 && (out->keep = PyBytes_FromStringAndSize(text->data, (Py_ssize_t)text->len)) == NULL)
        return -1;
    out->bytes = (turbo_str){PyBytes_AS_STRING(out->keep), (size_t)PyBytes_GET_SIZE(out->keep)};
    return 0;
}

/* On the shard's thread the text stays in its scratch memory; another one has none. */
static int json_body(ShardObject *shard, PyObject *object, body *out) {
    turbopy_text own = {0};
    int here = turbopy_shard_is_here(shard);
    turbopy_text *text = here ? &shard->text : &own;
    out->type = TYPE_JSON;
    int rc = turbopy_json_encode(shard->st, text, object, &out->keep);
    if (rc == 1 && here && text->len < TURBOPY_LEND_MIN)
        out->bytes = (turbo_str){text->data, text->len};
    else if (rc >= 0)
        rc = json_kept(text, rc, out);
    turbopy_text_free(&own);
    return rc < 0 ? -1 : 0;
}

static const char *type_or(const turbopy_route *route, const char *usual) {
    return route->content_type != NULL ? route->content_type : usual;
}

/* @return 0 and *out, whose keep is the caller's; -1 with an exception. */
static int body_of(ShardObject *shard, const turbopy_route *route, PyObject *object, body *out) {
    *out = (body){{NULL, 0}, NULL, NULL};
    if (object == Py_None)
        return 0;
    if (PyDict_Check(object) || PyList_Check(object))
        return json_body(shard, object, out);
    if (turbopy_body_bytes(object, &out->bytes, &out->keep) == 0) {
        out->type = type_or(route, PyUnicode_Check(object) ? TYPE_TEXT : TYPE_BYTES);
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    PyErr_Format(PyExc_TypeError,
                 "an answer is bytes, bytearray, memoryview, str, dict, list, None, turbo.Response, "
                 "turbo.StreamingResponse, turbo.EventStream or turbo.FileResponse, not %.100s%s",
                 Py_TYPE(object)->tp_name, PyTuple_Check(object) ? ": a status goes into turbo.Response(body, status)" : "");
    return -1;
}

/* -- sending -- */

/* TURBO_ESTATE: the server gave the request up while the handler worked. That is nobody's fault. (Of one whose time was over
 * the answer is taken, and thrown away.) */
static int sent(RequestObject *request, int rc) {
    if (rc == 0)
        turbopy_shard_answered(request->shard);
    else if (rc != TURBO_ESTATE)
        turbopy_raise(rc, NULL);
    if (rc != 0 && rc != TURBO_ESTATE)
        return -1;
    turbopy_request_over(request);
    return 0;
}

static int set_body(RequestObject *request, turbo_response *resp, const body *content) {
    /* RELEASE comes to the shard's thread, whose list of those that wait for it no other thread may touch. */
    if (content->keep == NULL || content->bytes.len < TURBOPY_LEND_MIN || !turbopy_shard_is_here(request->shard)) {
        int rc = turbo_response_body_copy(resp, content->bytes.data, content->bytes.len);
        if (rc < 0)
            turbopy_raise(rc, NULL);
        return rc;
    }
    Py_XSETREF(request->lent, Py_NewRef(content->keep));
    if (turbopy_watch_add(&request->shard->watch, request) < 0) {
        Py_CLEAR(request->lent);
        return -1;
    }
    return turbo_response_body_lend(resp, content->bytes.data, content->bytes.len);
}

static int send_response(RequestObject *request, turbo_response *resp, const body *content) {
    if (content->bytes.len > 0 && set_body(request, resp, content) < 0) {
        turbo_response_free(resp);
        return -1;
    }
    int rc = turbo_request_respond(request->req, resp);
    if (rc < 0) {
        turbo_response_free(resp);
        Py_CLEAR(request->lent);
        if (request->watched)
            turbopy_watch_drop_idle(&request->shard->watch, request);
    }
    return sent(request, rc);
}

static int reply(RequestObject *request, int32_t status, const char *type, turbo_str bytes) {
    return sent(request, turbo_request_reply(request->req, status, type, bytes.data, bytes.len));
}

/* A big body without a Response around it. */
static int send_lent(RequestObject *request, const body *content) {
    turbo_response *resp;
    int rc = turbo_response_new(&resp, 200);
    if (rc == 0 && (rc = turbo_response_field_add(resp, "Content-Type", 12, content->type, strlen(content->type))) < 0)
        turbo_response_free(resp);
    if (rc < 0) {
        turbopy_raise(rc, NULL);
        return -1;
    }
    return send_response(request, resp, content);
}

static int answer_plain(RequestObject *request, const turbopy_route *route, PyObject *result) {
    body content;
    if (result == Py_None)
        return reply(request, 204, NULL, (turbo_str){NULL, 0});
    if (body_of(request->shard, route, result, &content) < 0)
        return -1;
    int rc = content.bytes.len < TURBOPY_LEND_MIN ? reply(request, 200, content.type, content.bytes)
                                                  : send_lent(request, &content);
    Py_XDECREF(content.keep);
    return rc;
}

static int answer_response(RequestObject *request, const turbopy_route *route, const ResponseObject *response) {
    body content;
    if (response->body == NULL || response->headers == NULL || response->content_type == NULL) {
        PyErr_SetString(PyExc_ValueError, "the response has lost an attribute, or __init__ was not called");
        return -1;
    }
    if (body_of(request->shard, route, response->body, &content) < 0)
        return -1;
    int rc = -1;
    if (content.bytes.len < TURBOPY_LEND_MIN && PyList_CheckExact(response->headers) &&
        PyList_GET_SIZE(response->headers) == 0) {
        const char *type = turbopy_response_type(response, content.type);
        if (type != NULL || !PyErr_Occurred())
            rc = reply(request, (int32_t)response->status, type, content.bytes);
    } else {
        turbo_response *resp = turbopy_response_head(response, content.type);
        if (resp != NULL)
            rc = send_response(request, resp, &content);
    }
    Py_XDECREF(content.keep);
    return rc;
}

static int answer_file(RequestObject *request, const ResponseObject *response) {
    static const body in_file;
    turbo_response *resp = turbopy_response_of_file(response, request->req);
    return resp == NULL ? -1 : send_response(request, resp, &in_file);
}

static int answer(RequestObject *request, PyObject *result) {
    const turbopy_state *st = request->shard->st;
    const turbopy_route *route = turbo_request_user(request->req);
    if (PyBytes_CheckExact(result) && PyBytes_GET_SIZE(result) < TURBOPY_LEND_MIN)
        return reply(request, 200, type_or(route, TYPE_BYTES),
                     (turbo_str){PyBytes_AS_STRING(result), (size_t)PyBytes_GET_SIZE(result)});
    if (!PyObject_TypeCheck(result, (PyTypeObject *)st->response_type))
        return answer_plain(request, route, result);
    ResponseObject held;
    int rc;
    turbopy_response_hold(&held, (ResponseObject *)result);
    if (PyObject_TypeCheck(result, (PyTypeObject *)st->stream_type))
        rc = turbopy_stream_begin(request, &held);
    else if (PyObject_TypeCheck(result, (PyTypeObject *)st->file_type))
        rc = answer_file(request, &held);
    else
        rc = answer_response(request, route, &held);
    turbopy_response_let_go(&held);
    return rc;
}

/* -- failures -- */

static void reply_status(RequestObject *request, int32_t status, const char *text, size_t len) {
    if (reply(request, status, TYPE_TEXT, (turbo_str){text, len}) < 0)
        turbopy_unraisable((PyObject *)request);
}

static void reply_failed(RequestObject *request) {
    static const char text[] = "Internal Server Error\n";
    reply_status(request, 500, text, sizeof text - 1);
}

/* Hand an exception to Python's logging; whatever goes wrong there goes to sys.unraisablehook. */
static void log_failure(const turbopy_state *st, PyObject *owner, PyObject *exception) {
    PyObject *args[] = {owner, exception};
    PyObject *done = PyObject_Vectorcall(st->log_failure, args, 2, NULL);
    if (done == NULL)
        turbopy_unraisable(owner);
    Py_XDECREF(done);
}

/* turbo.HTTPError is an answer, not a failure. */
static int answer_http_error(RequestObject *request, PyObject *exception) {
    PyObject *response = PyObject_CallMethodNoArgs(exception, request->shard->st->str_response);
    int rc = response == NULL ? -1 : answer(request, response);
    Py_XDECREF(response);
    return rc;
}

static void fail_logged(RequestObject *request) {
    PyObject *exception = PyErr_GetRaisedException();
    if (exception == NULL)
        return;
    log_failure(request->shard->st, (PyObject *)request, exception);
    Py_DECREF(exception);
    reply_failed(request);
}

/* The task was cancelled: nothing to report when the client has gone, its time was over or the shard ends, somebody's mistake
 * otherwise. */
static void fail_cancelled(RequestObject *request) {
    static const char text[] = "Service Unavailable\n";
    if (!turbo_request_cancelled(request->req) && !TURBOPY_FLAG(request->shard->ending)) {
        fail_logged(request);
        return;
    }
    PyErr_Clear();
    reply_status(request, 503, text, sizeof text - 1);
}

/* Its body came to no good end: that is no failure of the handler's, and the library knows what to answer. */
static void fail_body(RequestObject *request) {
    PyErr_Clear();
    if (turbo_request_fail(request->req) < 0)
        return; /* the server gave it up */
    turbopy_shard_answered(request->shard);
    turbopy_request_over(request);
}

/* What becomes of an exception that no handler of the app's takes. */
static void fail_default(RequestObject *request) {
    const turbopy_state *st = request->shard->st;
    if (PyErr_ExceptionMatches(st->CancelledError)) {
        fail_cancelled(request);
        return;
    }
    if (PyErr_ExceptionMatches(st->BodyError) || PyErr_ExceptionMatches(st->ClientDisconnect)) {
        fail_body(request);
        return;
    }
    if (PyErr_ExceptionMatches(st->HTTPError)) {
        PyObject *exception = PyErr_GetRaisedException();
        int rc = answer_http_error(request, exception);
        Py_DECREF(exception);
        if (rc == 0)
            return;
    }
    fail_logged(request);
}

/* The handler of the nearest class that has one, by MRO. @return a new reference; NULL: there is none. */
static PyObject *exception_handler(ShardObject *shard, PyObject *exception) {
    PyObject *handlers = turbopy_get(shard, &shard->exception_handlers), *handler = NULL;
    if (handlers == NULL)
        return NULL;
    PyObject *mro = Py_NewRef(Py_TYPE(exception)->tp_mro);
    int found = 0;
    for (Py_ssize_t i = 0; found == 0 && i < PyTuple_GET_SIZE(mro); i++)
        found = PyDict_GetItemRef(handlers, PyTuple_GET_ITEM(mro, i), &handler);
    turbopy_unraisable(exception);
    Py_DECREF(mro);
    Py_DECREF(handlers);
    return handler;
}

static void call_exception_handler(RequestObject *request, PyObject *handler, PyObject *exception) {
    ShardObject *shard = request->shard;
    if (turbopy_shard_is_here(shard))
        turbopy_task_leave(shard); /* the task has ended; this is no part of it */
    PyObject *args[] = {(PyObject *)request, exception};
    PyObject *result = PyObject_Vectorcall(handler, args, 2, NULL);
    turbopy_dispatch_anywhere(shard, TURBOPY_FOR_FAILED, (PyObject *)request, result);
}

/* The exception that is set is answered, by the app's handler for it if there is one. */
static void fail(RequestObject *request) {
    if (turbopy_seen(&request->shard->exception_handlers) == NULL) {
        fail_default(request);
        return;
    }
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *handler = exception_handler(request->shard, exception);
    if (handler == NULL) {
        PyErr_SetRaisedException(exception);
        fail_default(request);
        return;
    }
    call_exception_handler(request, handler, exception);
    Py_DECREF(handler);
    Py_DECREF(exception);
}

static void finish_failed(RequestObject *request, PyObject *result) {
    if (request->writing)
        turbopy_stream_returned(request, result);
    else if (result == NULL || answer(request, result) < 0)
        fail_default(request);
}

static void finish_request(RequestObject *request, PyObject *result) {
    if (request->writing)
        turbopy_stream_returned(request, result);
    else if (result == NULL || answer(request, result) < 0)
        fail(request);
}

/* -- batches -- */

/* Whether the task of a batch was cancelled by us: the shard ends, its time was over, or all clients have gone. */
static int is_told(const ShardObject *shard, PyObject *requests) {
    const RequestObject *first = (RequestObject *)PyList_GET_ITEM(requests, 0);
    return TURBOPY_FLAG(shard->ending) || first->told || turbo_request_timed_out(first->req);
}

/* Log once, answer all. */
static void fail_batch_default(ShardObject *shard, PyObject *requests, PyObject *exception) {
    int quiet = is_told(shard, requests) && PyErr_GivenExceptionMatches(exception, shard->st->CancelledError);
    int http = PyErr_GivenExceptionMatches(exception, shard->st->HTTPError);
    if (!quiet && !http)
        log_failure(shard->st, requests, exception);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(requests); i++) {
        RequestObject *request = (RequestObject *)PyList_GET_ITEM(requests, i);
        if (http && answer_http_error(request, exception) == 0)
            continue;
        if (http)
            fail_logged(request);
        else
            reply_failed(request);
    }
}

/* The exception that is set is taken; an exception handler is called for each request. */
static void fail_batch(ShardObject *shard, PyObject *requests) {
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *handler = exception_handler(shard, exception);
    if (handler == NULL)
        fail_batch_default(shard, requests, exception);
    for (Py_ssize_t i = 0; handler != NULL && i < PyList_GET_SIZE(requests); i++)
        call_exception_handler((RequestObject *)PyList_GET_ITEM(requests, i), handler, exception);
    Py_XDECREF(handler);
    Py_DECREF(exception);
}

/* An exception object among the answers fails its own request only. */
static void finish_one_of_batch(RequestObject *request, PyObject *result) {
    if (!PyExceptionInstance_Check(result)) {
        finish_request(request, result);
        return;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(result), result);
    finish_request(request, NULL);
}

static void finish_batch(ShardObject *shard, PyObject *requests, PyObject *result) {
    Py_ssize_t count = PyList_GET_SIZE(requests);
    PyObject *answers = NULL;
    if (result != NULL && !PyList_Check(result) && !PyTuple_Check(result))
        PyErr_Format(PyExc_TypeError, "a batch handler returns a list of answers, not %.100s", Py_TYPE(result)->tp_name);
    else if (result != NULL)
        answers = PySequence_Tuple(result); /* logging may run code that changes the list, as may another thread */
    if (answers != NULL && PyTuple_GET_SIZE(answers) != count) {
        PyErr_Format(PyExc_ValueError, "a batch handler got %zd requests and returned %zd answers", count,
                     PyTuple_GET_SIZE(answers));
        Py_CLEAR(answers);
    }
    if (answers == NULL) {
        fail_batch(shard, requests);
        return;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        finish_one_of_batch((RequestObject *)PyList_GET_ITEM(requests, i), PyTuple_GET_ITEM(answers, i));
    Py_DECREF(answers);
}

/* -- entry -- */

void turbopy_finish(ShardObject *shard, int what, PyObject *owner, PyObject *result) {
    if (what == TURBOPY_FOR_REQUEST)
        finish_request((RequestObject *)owner, result);
    else if (what == TURBOPY_FOR_BATCH)
        finish_batch(shard, owner, result);
    else if (what == TURBOPY_FOR_FAILED)
        finish_failed((RequestObject *)owner, result);
    else
        turbopy_stream_end((RequestObject *)owner, result != NULL);
}

static int is_awaitable(PyObject *result) {
    const PyAsyncMethods *methods = Py_TYPE(result)->tp_as_async;
    return methods != NULL && methods->am_await != NULL;
}

/* Whether only the shard's thread can deal with a result: it is awaitable, or an answer in parts. */
static int needs_loop(const ShardObject *shard, PyObject *result) {
    return PyCoro_CheckExact(result) || is_awaitable(result) ||
           PyObject_TypeCheck(result, (PyTypeObject *)shard->st->stream_type);
}

void turbopy_dispatch(ShardObject *shard, int what, PyObject *owner, PyObject *result) {
    if (result != NULL && !PyCoro_CheckExact(result) && is_awaitable(result)) {
        PyObject *coro = PyObject_CallOneArg(shard->st->await_any, result);
        Py_SETREF(result, coro);
    }
    if (result != NULL && PyCoro_CheckExact(result)) {
        turbopy_task_run(shard, what, owner, result);
    } else {
        turbopy_finish(shard, what, owner, result);
        Py_XDECREF(result);
    }
}

/* @return 0; -1 with an exception: the loop has ended. */
static int dispatch_on_loop(ShardObject *shard, int what, PyObject *owner, PyObject *result) {
    PyObject *post = turbopy_get(shard, &shard->post);
    if (post == NULL) {
        turbopy_raise(TURBO_ECLOSED, "the shard has ended");
        return -1;
    }
    PyObject *fn = PyObject_GetAttr((PyObject *)shard, shard->st->str__finish), *number = PyLong_FromLong(what);
    PyObject *args[] = {fn, number, owner, result}, *done = NULL;
    if (fn != NULL && number != NULL)
        done = PyObject_Vectorcall(post, args, 4, NULL);
    Py_XDECREF(done);
    Py_XDECREF(number);
    Py_XDECREF(fn);
    Py_DECREF(post);
    return done == NULL ? -1 : 0;
}

void turbopy_dispatch_anywhere(ShardObject *shard, int what, PyObject *owner, PyObject *result) {
    if (turbopy_shard_is_here(shard)) {
        turbopy_dispatch(shard, what, owner, result);
        return;
    }
    if (result == NULL || !needs_loop(shard, result))
        turbopy_finish(shard, what, owner, result);
    else if (dispatch_on_loop(shard, what, owner, result) < 0)
        turbopy_finish(shard, what, owner, NULL);
    Py_XDECREF(result);
}
