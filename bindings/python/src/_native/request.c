/* request.c - turbo.Request. */
#include "request.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

#include "background.h"
#include "body.h"
#include "error.h"
#include "executor.h"
#include "fields.h"
#include "shard.h"
#include "stream.h"

#define PEER_SIZE 64 /* always enough, says turbo_request_peer() */

/* -- life -- */

static RequestObject *allocate(turbopy_state *st) {
    RequestObject *self;
    if (TURBOPY_RECYCLE && st->spare_count > 0) {
        self = st->spares[--st->spare_count];
        (void)PyObject_Init((PyObject *)self, (PyTypeObject *)st->request_type);
    } else if ((self = PyObject_New(RequestObject, (PyTypeObject *)st->request_type)) == NULL) {
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    return self;
}

RequestObject *turbopy_request_new(turbopy_state *st, ShardObject *shard, turbo_request *req) {
    RequestObject *self = allocate(st);
    if (self == NULL)
        return NULL;
    self->req = turbo_request_retain(req);
    self->shard = (ShardObject *)Py_NewRef((PyObject *)shard);
    return self;
}

static void request_dealloc(RequestObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    turbopy_state *st = turbopy_state_of(self);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    Py_XDECREF(self->path);
    Py_XDECREF(self->query);
    Py_XDECREF(self->headers);
    Py_XDECREF(self->trailers);
    Py_XDECREF(self->params);
    Py_XDECREF(self->body);
    Py_XDECREF(self->task);
    Py_XDECREF(self->writable);
    Py_XDECREF(self->readable);
    Py_XDECREF(self->lent);
    Py_XDECREF(self->background);
    Py_XDECREF(self->parts);
    Py_XDECREF(self->content);
    turbo_request_release(self->req);
    Py_XDECREF(self->shard);
    if (TURBOPY_RECYCLE && st->spare_count < TURBOPY_SPARE_MAX)
        st->spares[st->spare_count++] = self;
    else
        PyObject_Free(self);
    Py_DECREF(type);
}

void turbopy_request_free_spares(turbopy_state *st) {
    while (st->spare_count > 0)
        PyObject_Free(st->spares[--st->spare_count]);
}

int turbopy_request_is(const RequestObject *self, const char *method) {
    turbo_str sent = turbo_request_method(self->req);
    return sent.len == strlen(method) && memcmp(sent.data, method, sent.len) == 0;
}

/* -- text -- */

/* What the library hands over undecoded, or decoded to bytes: UTF-8, else U+FFFD. */
static PyObject *utf8(turbo_str text) { return PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.len, "replace"); }

static int equals(turbo_str text, const char *word, size_t len) {
    return text.len == len && memcmp(text.data, word, len) == 0;
}

static PyObject *request_method(RequestObject *self, void *unused) {
    turbopy_state *st = turbopy_state_of(self);
    turbo_str sent = turbo_request_method(self->req);
    (void)unused;
#define KNOWN(name)                                                                                                    \
    if (equals(sent, #name, sizeof #name - 1))                                                                         \
        return Py_NewRef(st->str_##name);
    KNOWN(GET) KNOWN(POST) KNOWN(PUT) KNOWN(DELETE) KNOWN(HEAD) KNOWN(PATCH) KNOWN(OPTIONS)
#undef KNOWN
    return utf8(sent);
}

static PyObject *request_path(RequestObject *self, void *unused) {
    (void)unused;
    PyObject *path = turbopy_seen(&self->path);
    return path != NULL ? Py_NewRef(path)
                      : turbopy_made(self, &self->path, utf8(turbo_request_path(self->req)));
}

static PyObject *request_target(RequestObject *self, void *unused) {
    (void)unused;
    return utf8(turbo_request_target(self->req));
}

static PyObject *request_query_string(RequestObject *self, void *unused) {
    turbo_str query = turbo_request_query(self->req);
    (void)unused;
    return query.len == 0 ? Py_NewRef(turbopy_state_of(self)->empty_str) : utf8(query);
}

static PyObject *request_query(RequestObject *self, void *unused) {
    (void)unused;
    PyObject *query = turbopy_seen(&self->query);
    return query != NULL ? Py_NewRef(query)
                      : turbopy_made(self, &self->query, turbopy_fields_of_query(turbopy_state_of(self), turbo_request_query(self->req)));
}

static PyObject *request_headers(RequestObject *self, void *unused) {
    (void)unused;
    PyObject *headers = turbopy_seen(&self->headers);
    return headers != NULL ? Py_NewRef(headers)
                      : turbopy_made(self, &self->headers, turbopy_fields_of_head(turbopy_state_of(self), self->req));
}

static PyObject *request_trailers(RequestObject *self, void *unused) {
    PyObject *trailers = turbopy_seen(&self->trailers);
    (void)unused;
    if (trailers != NULL)
        return Py_NewRef(trailers);
    int all = turbo_request_trailer_count(self->req) > 0; /* else they may come, behind a streamed body */
    trailers = turbopy_fields_of_trailers(turbopy_state_of(self), self->req);
    return all ? turbopy_made(self, &self->trailers, trailers) : trailers;
}

static int add_param(PyObject *dict, const turbo_request *req, size_t index) {
    turbo_str name, value;
    if (turbo_request_param_at(req, index, &name, &value) < 0)
        return 0;
    PyObject *key = utf8(name), *decoded = utf8(value);
    if (key != NULL)
        PyUnicode_InternInPlace(&key);
    int rc = key == NULL || decoded == NULL ? -1 : PyDict_SetItem(dict, key, decoded);
    Py_XDECREF(key);
    Py_XDECREF(decoded);
    return rc;
}

static PyObject *request_path_params(RequestObject *self, void *unused) {
    PyObject *params = turbopy_seen(&self->params);
    (void)unused;
    if (params != NULL)
        return Py_NewRef(params);
    PyObject *dict = PyDict_New();
    size_t count = turbo_request_param_count(self->req);
    for (size_t i = 0; dict != NULL && i < count; i++)
        if (add_param(dict, self->req, i) < 0)
            Py_CLEAR(dict);
    return turbopy_made(self, &self->params, dict);
}

/* -- body -- */

static PyObject *request_body(RequestObject *self, void *unused) {
    (void)unused;
    return turbopy_body_now(self);
}

/* Where it is; kept by the request. @return -1 with an exception: it is streamed, and was not read. */
static int body_in_place(RequestObject *self, turbo_str *out) {
    *out = turbo_request_body(self->req);
    if (!turbopy_body_is_streamed(self))
        return 0;
    PyObject *body = turbopy_body_now(self);
    if (body == NULL)
        return -1;
    *out = (turbo_str){PyBytes_AS_STRING(body), (size_t)PyBytes_GET_SIZE(body)};
    Py_DECREF(body);
    return 0;
}

static PyObject *request_text(RequestObject *self, void *unused) {
    turbo_str body;
    (void)unused;
    return body_in_place(self, &body) < 0 ? NULL : utf8(body);
}

/* memoryview(request): the body where it is. The view holds the request, and that the bytes. */
static int request_getbuffer(RequestObject *self, Py_buffer *view, int flags) {
    turbo_str body;
    if (body_in_place(self, &body) < 0) {
        view->obj = NULL;
        return -1;
    }
    return PyBuffer_FillInfo(view, (PyObject *)self, (void *)(body.len == 0 ? "" : body.data), (Py_ssize_t)body.len, 1,
                             flags);
}

/* The exception of the JSON library becomes one that is answered 400. */
static PyObject *raise_bad_json(turbopy_state *st) {
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_RecursionError))
        return NULL;
    PyObject *cause = PyErr_GetRaisedException();
    PyObject *error = PyObject_CallOneArg(st->bad_json, cause);
    if (error == NULL) {
        Py_DECREF(cause);
        return NULL;
    }
    PyException_SetCause(error, cause); /* takes cause */
    PyErr_SetRaisedException(error);
    return NULL;
}

static PyObject *request_json(RequestObject *self, PyObject *unused) {
    turbopy_state *st = turbopy_state_of(self);
    PyObject *body = request_body(self, NULL);
    (void)unused;
    if (body == NULL)
        return NULL;
    PyObject *value = PyObject_CallOneArg(st->json_loads, body);
    Py_DECREF(body);
    return value != NULL ? value : raise_bad_json(st);
}

/* -- circumstances -- */

static PyObject *request_host(RequestObject *self, void *unused) {
    turbo_str host = turbo_request_host(self->req);
    (void)unused;
    if (host.data == NULL)
        Py_RETURN_NONE;
    return utf8(host);
}

static PyObject *request_version(RequestObject *self, void *unused) {
    turbopy_state *st = turbopy_state_of(self);
    (void)unused;
    return Py_NewRef(turbo_request_version(self->req) == 10 ? st->version_10 : st->version_11);
}

static PyObject *request_route(RequestObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(turbo_request_route(self->req));
}

static PyObject *request_peer(RequestObject *self, void *unused) {
    char text[PEER_SIZE];
    int rc = turbo_request_peer(self->req, text, sizeof text);
    (void)unused;
    return rc < 0 ? turbopy_raise(rc, NULL) : PyUnicode_FromString(text);
}

/* "127.0.0.1:4711" or "[::1]:4711" -> (host, port); anything else has none. */
static PyObject *request_client(RequestObject *self, void *unused) {
    char text[PEER_SIZE], *host = text, *colon;
    (void)unused;
    if (turbo_request_peer(self->req, text, sizeof text) < 0 || (colon = strrchr(text, ':')) == NULL || colon[1] == '\0')
        Py_RETURN_NONE;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && host[0] == '[') {
        host++;
        len -= 2;
    }
    return Py_BuildValue("(s#l)", host, (Py_ssize_t)len, strtol(colon + 1, NULL, 10));
}

static PyObject *request_cancelled(RequestObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(turbo_request_cancelled(self->req));
}

/* A deadline that has passed is told apart; the library no longer tells then whether the client goes. */
static PyObject *request_is_disconnected(RequestObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(turbo_request_cancelled(self->req) && !turbo_request_timed_out(self->req));
}

static PyObject *request_timed_out(RequestObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(turbo_request_timed_out(self->req));
}

static PyObject *request_time_left(RequestObject *self, void *unused) {
    int64_t ms = turbo_request_deadline_ms(self->req);
    (void)unused;
    if (ms < 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)ms / 1000);
}

static PyObject *request_repr(RequestObject *self) {
    turbo_str method = turbo_request_method(self->req);
    PyObject *name = utf8(method), *target = request_target(self, NULL), *text = NULL;
    if (name != NULL && target != NULL)
        text = PyUnicode_FromFormat("<turbo.Request %U %U>", name, target);
    Py_XDECREF(name);
    Py_XDECREF(target);
    return text;
}

static PyMethodDef request_methods[] = {
    {"json", (PyCFunction)request_json, METH_NOARGS,
     "json($self, /)\n--\n\nThe body, parsed as JSON. Malformed JSON raises turbo.HTTPError, which is answered 400."},
    {"background", (PyCFunction)(void (*)(void))turbopy_background_add, METH_VARARGS | METH_KEYWORDS,
     "background($self, fn, /, *args, **kwargs)\n--\n\nCall fn on the shard's loop once the answer was handed over. fn may be a\n"
     "coroutine function. RuntimeError when the answer was handed over already."},
    {"respond", (PyCFunction)(void (*)(void))turbopy_stream_respond, METH_VARARGS | METH_KEYWORDS,
     "respond($self, /, status=200, headers=None, content_type=None)\n--\n\nBegin an answer that the handler writes part by part: "
     "turbo.ResponseWriter. It ends when the\nhandler returns, None; an exception cuts it off. On the shard's thread only."},
    {"_begin", (PyCFunction)turbopy_stream_open, METH_O, NULL},
    {"_trailer", (PyCFunction)(void (*)(void))turbopy_stream_trailer, METH_FASTCALL, NULL},
    {"stream", (PyCFunction)turbopy_body_stream, METH_NOARGS,
     "stream($self, /)\n--\n\nThe parts of the body, as they come: async for. One part where bodies are gathered."},
    {"read", (PyCFunction)turbopy_body_read, METH_NOARGS,
     "read($self, /)\n--\n\nA coroutine that gives the whole body, at most the route's body_max_bytes; request.body has it then.\n"
     "One that is cancelled leaves what it had to the next read() or stream()."},
    {"_read", (PyCFunction)turbopy_body_part, METH_NOARGS, NULL},
    {"_take_content", (PyCFunction)turbopy_stream_content, METH_NOARGS, NULL},
    {"_readable", (PyCFunction)turbopy_body_readable, METH_NOARGS, NULL},
    {"_keep", (PyCFunction)turbopy_body_keep, METH_O, NULL},
    {"_learn", (PyCFunction)turbopy_executor_learn, METH_O, NULL},
    {"_write", (PyCFunction)turbopy_stream_write, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef request_getset[] = {
    {"method", (getter)request_method, NULL, "The method as sent: \"GET\".", NULL},
    {"path", (getter)request_path, NULL, "The path as sent, percent-escapes kept, without the query.", NULL},
    {"target", (getter)request_target, NULL, "The request target as sent.", NULL},
    {"query_string", (getter)request_query_string, NULL, "The query as sent, without '?'; \"\" without one.", NULL},
    {"query", (getter)request_query, NULL, "The parameters of the query, decoded: turbo.Fields.", NULL},
    {"headers", (getter)request_headers, NULL, "The header fields: turbo.Fields.", NULL},
    {"trailers", (getter)request_trailers, NULL, "The trailer fields of a chunked body: turbo.Fields.", NULL},
    {"path_params", (getter)request_path_params, NULL, "The parameters of the route's pattern, decoded: dict of str to str.", NULL},
    {"body", (getter)request_body, NULL,
     "The body: bytes. memoryview(request) is the same without a copy. RuntimeError where\n"
     "bodies are streamed, before read() has given it.", NULL},
    {"text", (getter)request_text, NULL, "The body decoded as UTF-8; bad bytes become U+FFFD.", NULL},
    {"host", (getter)request_host, NULL, "\"host[:port]\" of an absolute target, else of Host; None without one.", NULL},
    {"version", (getter)request_version, NULL, "\"1.0\" or \"1.1\".", NULL},
    {"route", (getter)request_route, NULL, "The pattern that matched: \"/users/{id}\".", NULL},
    {"peer", (getter)request_peer, NULL, "The client's address: \"127.0.0.1:4711\", \"[::1]:4711\", \"unix:\".", NULL},
    {"client", (getter)request_client, NULL, "The client's address as (host, port); None without one.", NULL},
    {"cancelled", (getter)request_cancelled, NULL,
     "Whether an answer would be thrown away: is_disconnected or timed_out.", NULL},
    {"is_disconnected", (getter)request_is_disconnected, NULL,
     "Whether the client has gone: a bool, also for handlers that cannot await. It changes while the handler runs.", NULL},
    {"timed_out", (getter)request_timed_out, NULL,
     "Whether the handler took longer than handler_timeout_ms, and the client was answered 504.", NULL},
    {"time_left", (getter)request_time_left, NULL,
     "Seconds that handler_timeout_ms leaves the handler, 0.0 when they are over; None without such a limit.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef request_members[] = {
    {"shard", T_OBJECT, offsetof(RequestObject, shard), READONLY, "The turbo.Shard that runs the handler."},
    {"_body_taken", T_BOOL, offsetof(RequestObject, body_taken), READONLY, NULL},
    {"_parts", T_OBJECT, offsetof(RequestObject, parts), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(RequestObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot request_slots[] = {
    {Py_tp_doc, "An HTTP request. Made by the server, read by handlers.\n\n"
                "It may be kept, and read from any thread, for as long as one likes."},
    {Py_tp_dealloc, request_dealloc},
    {Py_tp_methods, request_methods},
    {Py_tp_getset, request_getset},
    {Py_tp_members, request_members},
    {Py_tp_repr, request_repr},
    {Py_bf_getbuffer, request_getbuffer},
    {0, NULL},
};

PyType_Spec turbopy_request_spec = {
    .name = "turbo.Request",
    .basicsize = sizeof(RequestObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = request_slots,
};
