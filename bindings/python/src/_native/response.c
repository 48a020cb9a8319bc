/* response.c - turbo.Response and its children turbo.StreamingResponse and turbo.FileResponse. */
#include "response.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <turbo/file.h>
#include <turbo/response.h>

#include <turbo/error.h>

#include "error.h"

#define STATUS_MIN 200
#define STATUS_MAX 599

/* -- header fields to the library -- */

/* The bytes of a name or value. A str that is not ASCII is sent as Latin-1; *keep owns the bytes then. */
static int field_text(PyObject *value, turbo_str *out, PyObject **keep) {
    Py_ssize_t len;
    *keep = NULL;
    if (PyUnicode_Check(value) && PyUnicode_IS_ASCII(value)) {
        out->data = PyUnicode_AsUTF8AndSize(value, &len);
        out->len = (size_t)len;
        return out->data == NULL ? -1 : 0;
    }
    if (PyUnicode_Check(value))
        value = *keep = PyUnicode_AsLatin1String(value);
    else if (!PyBytes_Check(value))
        PyErr_Format(PyExc_TypeError, "a header field is str or bytes, not %.100s", Py_TYPE(value)->tp_name);
    if (PyErr_Occurred())
        return -1;
    *out = (turbo_str){PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value)};
    return 0;
}

typedef int (*take_field)(void *to, turbo_str name, turbo_str value);

static int take_header(void *resp, turbo_str name, turbo_str value) {
    return turbo_response_field_add(resp, name.data, name.len, value.data, value.len);
}

static int take_trailer(void *req, turbo_str name, turbo_str value) {
    return turbo_request_respond_trailer(req, name.data, name.len, value.data, value.len);
}

/* @param wrong  what is said of one that is refused; a format of name and value. */
static int give_field(take_field take, void *to, PyObject *name, PyObject *value, const char *wrong) {
    turbo_str name_text, value_text;
    PyObject *keep_name = NULL, *keep_value = NULL;
    int rc = -1;
    if (field_text(name, &name_text, &keep_name) == 0 && field_text(value, &value_text, &keep_value) == 0) {
        rc = take(to, name_text, value_text);
        if (rc == TURBO_EINVAL)
            PyErr_Format(PyExc_ValueError, wrong, name, value);
        else if (rc < 0)
            turbopy_raise(rc, NULL);
    }
    Py_XDECREF(keep_name);
    Py_XDECREF(keep_value);
    return rc;
}

static int add_field(turbo_response *resp, PyObject *name, PyObject *value) {
    return give_field(take_header, resp, name, value, "header field %R: %R is malformed, or is the library's to send");
}

int turbopy_response_trailer(turbo_request *req, PyObject *name, PyObject *value) {
    return give_field(take_trailer, req, name, value, "trailer field %R: %R is malformed, or may not be a trailer");
}

static int add_pair(turbo_response *resp, PyObject *pair) {
    PyObject *fast = turbopy_sequence(pair, "a header field is a pair of name and value");
    int rc = -1;
    if (fast == NULL)
        return -1;
    if (PySequence_Fast_GET_SIZE(fast) != 2)
        PyErr_SetString(PyExc_ValueError, "a header field is a pair of name and value");
    else
        rc = add_field(resp, PySequence_Fast_GET_ITEM(fast, 0), PySequence_Fast_GET_ITEM(fast, 1));
    Py_DECREF(fast);
    return rc;
}

static int add_pairs(turbo_response *resp, PyObject *headers) {
    PyObject *fast = turbopy_sequence(headers, "headers is a list of pairs");
    int rc = fast == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PySequence_Fast_GET_SIZE(fast); i++)
        rc = add_pair(resp, PySequence_Fast_GET_ITEM(fast, i));
    Py_XDECREF(fast);
    return rc;
}

static int add_type(turbo_response *resp, const char *type) {
    static const char name[] = "Content-Type";
    int rc = turbo_response_field_add(resp, name, sizeof name - 1, type, strlen(type));
    if (rc == TURBO_EINVAL)
        PyErr_Format(PyExc_ValueError, "content_type: '%.200s' is no field value", type);
    else if (rc < 0)
        turbopy_raise(rc, NULL);
    return rc;
}

void turbopy_response_hold(ResponseObject *held, ResponseObject *response) {
    Py_BEGIN_CRITICAL_SECTION((PyObject *)response);
    held->body = Py_XNewRef(response->body);
    held->headers = Py_XNewRef(response->headers);
    held->content_type = Py_XNewRef(response->content_type);
    held->trailers = Py_XNewRef(response->trailers);
    held->status = response->status;
    Py_END_CRITICAL_SECTION();
}

void turbopy_response_let_go(ResponseObject *held) {
    Py_XDECREF(held->body);
    Py_XDECREF(held->headers);
    Py_XDECREF(held->content_type);
    Py_XDECREF(held->trailers);
}

const char *turbopy_response_type(const ResponseObject *self, const char *default_type) {
    if (self->content_type == Py_None)
        return default_type;
    if (PyUnicode_Check(self->content_type))
        return PyUnicode_AsUTF8(self->content_type);
    PyErr_Format(PyExc_TypeError, "content_type is str or None, not %.100s", Py_TYPE(self->content_type)->tp_name);
    return NULL;
}

turbo_response *turbopy_response_head(const ResponseObject *self, const char *default_type) {
    turbo_response *resp;
    if (self->headers == NULL || self->content_type == NULL) {
        PyErr_SetString(PyExc_ValueError, "the response has lost an attribute, or __init__ was not called");
        return NULL;
    }
    const char *type = turbopy_response_type(self, default_type);
    if (type == NULL && PyErr_Occurred())
        return NULL;
    int rc = turbo_response_new(&resp, (int32_t)self->status);
    if (rc < 0) {
        turbopy_raise(rc, NULL);
        return NULL;
    }
    if (add_pairs(resp, self->headers) < 0)
        goto fail;
    int has_type = turbo_response_field(resp, "content-type").data != NULL;
    if (has_type && self->content_type != Py_None) { /* it is no list: one line is all there may be (RFC 9110 5.3) */
        PyErr_SetString(PyExc_ValueError, "Content-Type is in headers, and content_type is given too");
        goto fail;
    }
    if (type != NULL && !has_type && add_type(resp, type) < 0)
        goto fail;
    return resp;
fail:
    turbo_response_free(resp);
    return NULL;
}

/* -- files -- */

static int errno_of(int code) {
    switch (code) {
    case TURBO_ENOENT:
        return ENOENT;
    case TURBO_EACCES:
        return EACCES;
    case TURBO_EMFILE:
        return EMFILE;
    case TURBO_ESYS:
        return EIO;
    default:
        return 0;
    }
}

static void raise_for_file(int code, PyObject *path) {
    errno = errno_of(code);
    if (errno != 0)
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    else
        turbopy_raise(code, NULL);
}

turbo_response *turbopy_response_of_file(const ResponseObject *self, const turbo_request *req) {
    PyObject *path;
    int rc;
    turbo_response *resp = turbopy_response_head(self, NULL);
    if (resp == NULL)
        return NULL;
    if (self->body == NULL || !PyUnicode_FSConverter(self->body, &path)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "the response has lost its path");
        turbo_response_free(resp);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS /* the disk may take its time */
    rc = turbo_response_file(resp, req, PyBytes_AS_STRING(path));
    Py_END_ALLOW_THREADS
    if (rc < 0) {
        raise_for_file(rc, self->body == NULL ? path : self->body);
        turbo_response_free(resp);
        resp = NULL;
    }
    Py_DECREF(path);
    return resp;
}

/* -- the type -- */

static int check_status(long status) {
    if (status >= STATUS_MIN && status <= STATUS_MAX)
        return 0;
    PyErr_Format(PyExc_ValueError, "status: %ld is out of range, allowed are %d to %d", status, STATUS_MIN, STATUS_MAX);
    return -1;
}

/* None, a mapping, or an iterable of pairs -> a new list of pairs. */
static PyObject *header_list(PyObject *headers) {
    if (headers == NULL || headers == Py_None)
        return PyList_New(0);
    if (!PyObject_HasAttrString(headers, "items"))
        return PySequence_List(headers);
    PyObject *items = PyMapping_Items(headers), *list = items == NULL ? NULL : PySequence_List(items);
    Py_XDECREF(items);
    return list;
}

static int response_fill(ResponseObject *self, PyObject *body, long status, PyObject *headers, PyObject *type) {
    if (check_status(status) < 0)
        return -1;
    if (type != Py_None && !PyUnicode_Check(type)) {
        PyErr_Format(PyExc_TypeError, "content_type is str or None, not %.100s", Py_TYPE(type)->tp_name);
        return -1;
    }
    PyObject *list = header_list(headers);
    if (list == NULL)
        return -1;
    Py_XSETREF(self->headers, list);
    Py_XSETREF(self->body, Py_NewRef(body));
    Py_XSETREF(self->content_type, Py_NewRef(type));
    self->status = status;
    return 0;
}

static int response_init(ResponseObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"body", "status", "headers", "content_type", NULL};
    PyObject *body = Py_None, *headers = Py_None, *type = Py_None;
    long status = STATUS_MIN;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OlOO:Response", names, &body, &status, &headers, &type))
        return -1;
    return response_fill(self, body, status, headers, type);
}

/* Bytes and text are iterables, too: of numbers, and of text of one character. */
static int check_content(PyObject *content) {
    if (PyBytes_Check(content) || PyByteArray_Check(content) || PyMemoryView_Check(content) || PyUnicode_Check(content)) {
        PyErr_Format(PyExc_TypeError, "content is an iterable of parts, not one part, which is %.100s: use turbo.Response",
                     Py_TYPE(content)->tp_name);
        return -1;
    }
    if (PyIter_Check(content) || PyObject_HasAttrString(content, "__aiter__") || PyObject_HasAttrString(content, "__iter__"))
        return 0;
    PyErr_Format(PyExc_TypeError, "content is an iterable or asynchronous iterable of bytes, not %.100s",
                 Py_TYPE(content)->tp_name);
    return -1;
}

static int stream_init(ResponseObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"content", "status", "headers", "content_type", "trailers", NULL};
    PyObject *content, *headers = Py_None, *type = Py_None, *trailers = Py_None;
    long status = STATUS_MIN;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|lOOO:StreamingResponse", names, &content, &status, &headers, &type,
                                     &trailers))
        return -1;
    if (check_content(content) < 0)
        return -1;
    if (response_fill(self, content, status, headers, type) < 0)
        return -1;
    Py_XSETREF(self->trailers, Py_NewRef(trailers));
    return 0;
}

static int file_init(ResponseObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"path", "status", "headers", "content_type", NULL};
    PyObject *path, *headers = Py_None, *type = Py_None;
    long status = STATUS_MIN;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|lOO:FileResponse", names, &path, &status, &headers, &type))
        return -1;
    PyObject *text = PyOS_FSPath(path);
    int rc = text == NULL ? -1 : response_fill(self, text, status, headers, type);
    Py_XDECREF(text);
    return rc;
}

static int response_traverse(ResponseObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->body);
    Py_VISIT(self->headers);
    Py_VISIT(self->content_type);
    Py_VISIT(self->trailers);
    return 0;
}

static int response_clear(ResponseObject *self) {
    Py_CLEAR(self->body);
    Py_CLEAR(self->headers);
    Py_CLEAR(self->content_type);
    Py_CLEAR(self->trailers);
    return 0;
}

static void response_dealloc(ResponseObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    response_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *response_status(ResponseObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(self->status);
}

static int response_set_status(ResponseObject *self, PyObject *value, void *unused) {
    (void)unused;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "status cannot be deleted");
        return -1;
    }
    long status = PyLong_AsLong(value);
    if (status == -1 && PyErr_Occurred())
        return -1;
    if (check_status(status) < 0)
        return -1;
    self->status = status;
    return 0;
}

static PyObject *response_repr(ResponseObject *self) {
    return PyUnicode_FromFormat("<%s %ld>", Py_TYPE(self)->tp_name, self->status);
}

static PyGetSetDef response_getset[] = {
    {"status", (getter)response_status, (setter)response_set_status, "The status code, 200 to 599.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef response_members[] = {
    {"body", T_OBJECT_EX, offsetof(ResponseObject, body), 0, "The body, as given."},
    {"headers", T_OBJECT_EX, offsetof(ResponseObject, headers), 0, "A list of (name, value), sent in order."},
    {"content_type", T_OBJECT_EX, offsetof(ResponseObject, content_type), 0, "str or None."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ResponseObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef stream_members[] = {
    {"content", T_OBJECT_EX, offsetof(ResponseObject, body), 0, "What gives the parts."},
    {"trailers", T_OBJECT, offsetof(ResponseObject, trailers), 0, "Fields behind the body, or a function that makes them."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot response_slots[] = {
    {Py_tp_doc, "Response(body=None, status=200, headers=None, content_type=None)\n--\n\n"
                "An answer with more than a body.\n\n"
                "body is what a handler may return: bytes, bytearray, memoryview, str, dict, list or None. headers is a\n"
                "mapping or an iterable of (name, value), str or bytes. content_type stands above a Content-Type among\n"
                "headers; without either, the body's type decides. Raises ValueError for a status out of 200 to 599."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, response_init},
    {Py_tp_dealloc, response_dealloc},
    {Py_tp_traverse, response_traverse},
    {Py_tp_clear, response_clear},
    {Py_tp_getset, response_getset},
    {Py_tp_members, response_members},
    {Py_tp_repr, response_repr},
    {0, NULL},
};

PyType_Spec turbopy_response_spec = {
    .name = "turbo.Response",
    .basicsize = sizeof(ResponseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = response_slots,
};

static PyType_Slot stream_slots[] = {
    {Py_tp_doc, "StreamingResponse(content, status=200, headers=None, content_type=None, trailers=None)\n--\n\n"
                "An answer that is sent in parts: content is an iterable, or an asynchronous iterable, of bytes-like or\n"
                "str parts. It is asked for the next part only when the client has taken enough of those before. Its aclose()\n"
                "or close() is called at the end, however that comes, also of an answer without a body. With a\n"
                "Content-Length among headers the answer has that length, else it is chunked. trailers are fields behind\n"
                "a chunked body: as headers, or a function that is called when the parts are sent and returns such."},
    {Py_tp_init, stream_init},
    {Py_tp_traverse, response_traverse},
    {Py_tp_clear, response_clear},
    {Py_tp_members, stream_members},
    {0, NULL},
};

PyType_Spec turbopy_stream_spec = {
    .name = "turbo.StreamingResponse",
    .basicsize = sizeof(ResponseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = stream_slots,
};

static PyMemberDef file_members[] = {
    {"path", T_OBJECT_EX, offsetof(ResponseObject, body), 0, "The file, str or bytes."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot file_slots[] = {
    {Py_tp_doc, "FileResponse(path, status=200, headers=None, content_type=None)\n--\n\nSee turbo.FileResponse."},
    {Py_tp_init, file_init},
    {Py_tp_traverse, response_traverse},
    {Py_tp_clear, response_clear},
    {Py_tp_members, file_members},
    {0, NULL},
};

PyType_Spec turbopy_file_spec = {
    .name = "turbo._native.FileResponse",
    .basicsize = sizeof(ResponseObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = file_slots,
};
