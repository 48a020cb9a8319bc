/* fields.c - turbo.Fields. */
#include "fields.h"

#include <string.h>

/* How the library hands over fields of a request. */
typedef struct source {
    size_t (*count)(const turbo_request *req);
    int (*at)(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);
} source;

static const source head = {turbo_request_field_count, turbo_request_field_at};
static const source trailers = {turbo_request_trailer_count, turbo_request_trailer_at};

typedef struct FieldsObject {
    PyObject_HEAD
    turbo_request *req; /* header and trailer fields: where they are; NULL for a query */
    const source *from; /* and which of them                                           */
    PyObject *pairs;    /* list of (name, value), never changed; of a request: made when first wanted whole */
} FieldsObject;

/* -- decoding -- */

static PyObject *latin1(turbo_str text) { return PyUnicode_DecodeLatin1(text.data, (Py_ssize_t)text.len, NULL); }

static PyObject *pair_new(PyObject *name, PyObject *value) {
    PyObject *pair = name != NULL && value != NULL ? PyTuple_Pack(2, name, value) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(value);
    return pair;
}

static int append_pair(PyObject *list, PyObject *pair) {
    int rc = pair == NULL ? -1 : PyList_Append(list, pair);
    Py_XDECREF(pair);
    return rc;
}

static PyObject *pairs_of_request(const source *from, const turbo_request *req) {
    size_t count = from->count(req);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        turbo_str name, value;
        if (from->at(req, i, &name, &value) < 0)
            break;
        if (append_pair(list, pair_new(latin1(name), latin1(value))) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* '+' is a space, %XX a byte; what is no escape stays as it is, bytes that are no UTF-8 become U+FFFD. */
static PyObject *form_decode(turbo_str text) {
    char small[256], *to = text.len <= sizeof small ? small : PyMem_Malloc(text.len);
    size_t len = 0;
    if (to == NULL)
        return PyErr_NoMemory();
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i] == '+' ? ' ' : text.data[i];
        if (c == '%' && i + 2 < text.len && hex_of(text.data[i + 1]) >= 0 && hex_of(text.data[i + 2]) >= 0) {
            c = (char)(hex_of(text.data[i + 1]) * 16 + hex_of(text.data[i + 2]));
            i += 2;
        }
        to[len++] = c;
    }
    PyObject *decoded = PyUnicode_DecodeUTF8(len == 0 ? "" : to, (Py_ssize_t)len, "replace");
    if (to != small)
        PyMem_Free(to);
    return decoded;
}

static int append_parameter(PyObject *list, turbo_str item) {
    const char *equals = memchr(item.data, '=', item.len);
    turbo_str name = {item.data, equals == NULL ? item.len : (size_t)(equals - item.data)}, value = {"", 0};
    if (equals != NULL)
        value = (turbo_str){equals + 1, item.len - name.len - 1};
    return append_pair(list, pair_new(form_decode(name), form_decode(value)));
}

static PyObject *pairs_of_query(turbo_str query) {
    PyObject *list = PyList_New(0);
    const char *at = query.data, *end = query.data == NULL ? NULL : query.data + query.len;
    while (list != NULL && at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        turbo_str item = {at, (size_t)((stop == NULL ? end : stop) - at)};
        if (item.len > 0 && append_parameter(list, item) < 0)
            Py_CLEAR(list);
        at += item.len + 1;
    }
    return list;
}

/* -- life -- */

static PyObject *fields_new(turbopy_state *st, turbo_request *req, const source *from, PyObject *pairs) {
    FieldsObject *self = PyObject_New(FieldsObject, (PyTypeObject *)st->fields_type);
    if (self == NULL) {
        Py_XDECREF(pairs);
        return NULL;
    }
    self->req = req == NULL ? NULL : turbo_request_retain(req);
    self->from = from;
    self->pairs = pairs;
    return (PyObject *)self;
}

PyObject *turbopy_fields_of_head(turbopy_state *st, turbo_request *req) { return fields_new(st, req, &head, NULL); }

PyObject *turbopy_fields_of_trailers(turbopy_state *st, turbo_request *req) {
    return fields_new(st, req, &trailers, NULL);
}

PyObject *turbopy_fields_of_query(turbopy_state *st, turbo_str query) {
    PyObject *pairs = pairs_of_query(query);
    return pairs == NULL ? NULL : fields_new(st, NULL, NULL, pairs);
}

static void fields_dealloc(FieldsObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    turbo_request_release(self->req);
    Py_XDECREF(self->pairs);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* -- lookup -- */

/* @return the list of pairs, borrowed. */
static PyObject *pairs_of(FieldsObject *self) {
    PyObject *pairs = turbopy_seen(&self->pairs);
    if (pairs == NULL && (pairs = turbopy_made(self, &self->pairs, pairs_of_request(self->from, self->req))) != NULL)
        Py_DECREF(pairs); /* ours to keep */
    return pairs;
}

static int same_name(turbo_str a, const char *b, size_t b_len) {
    if (a.len != b_len)
        return 0;
    for (size_t i = 0; i < b_len; i++)
        if (Py_TOLOWER((unsigned char)a.data[i]) != Py_TOLOWER((unsigned char)b[i]))
            return 0;
    return 1;
}

/* @return the name as text, valid as long as name; NULL with TypeError. */
static const char *name_text(PyObject *name, Py_ssize_t *len) {
    if (PyUnicode_Check(name))
        return PyUnicode_AsUTF8AndSize(name, len);
    PyErr_Format(PyExc_TypeError, "a name is str, not %.100s", Py_TYPE(name)->tp_name);
    return NULL;
}

/* Values of the fields of a name, from number *next on. @return a new value; NULL at the end or with an exception. */
static PyObject *next_in_request(const FieldsObject *self, const char *name, size_t len, size_t *next) {
    turbo_str field, value;
    while (self->from->at(self->req, *next, &field, &value) == 0) {
        ++*next;
        if (same_name(field, name, len))
            return latin1(value);
    }
    return NULL;
}

static PyObject *next_in_pairs(PyObject *pairs, PyObject *name, size_t *next) {
    while (*next < (size_t)PyList_GET_SIZE(pairs)) {
        PyObject *pair = PyList_GET_ITEM(pairs, (Py_ssize_t)*next);
        ++*next;
        int same = PyUnicode_Compare(PyTuple_GET_ITEM(pair, 0), name);
        if (same == 0)
            return Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        if (same == -1 && PyErr_Occurred())
            return NULL;
    }
    return NULL;
}

static PyObject *next_value(FieldsObject *self, PyObject *name, size_t *next) {
    Py_ssize_t len;
    const char *text = name_text(name, &len);
    if (text == NULL)
        return NULL;
    return self->req != NULL ? next_in_request(self, text, (size_t)len, next)
                             : next_in_pairs(self->pairs, name, next);
}

static PyObject *fields_getitem(FieldsObject *self, PyObject *name) {
    size_t next = 0;
    PyObject *value = next_value(self, name, &next);
    if (value == NULL && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, name);
    return value;
}

static PyObject *fields_get(FieldsObject *self, PyObject *const *args, Py_ssize_t count) {
    size_t next = 0;
    if (count < 1 || count > 2)
        return PyErr_Format(PyExc_TypeError, "get() takes a name and a default (%zd given)", count);
    PyObject *value = next_value(self, args[0], &next);
    if (value == NULL && !PyErr_Occurred())
        value = Py_NewRef(count == 2 ? args[1] : Py_None);
    return value;
}

static PyObject *fields_getall(FieldsObject *self, PyObject *name) {
    size_t next = 0;
    PyObject *list = PyList_New(0), *value;
    while (list != NULL && (value = next_value(self, name, &next)) != NULL) {
        if (PyList_Append(list, value) < 0)
            Py_CLEAR(list);
        Py_DECREF(value);
    }
    if (PyErr_Occurred())
        Py_CLEAR(list);
    return list;
}

static int fields_contains(FieldsObject *self, PyObject *name) {
    size_t next = 0;
    PyObject *value = PyUnicode_Check(name) ? next_value(self, name, &next) : NULL;
    Py_XDECREF(value);
    if (PyErr_Occurred())
        return -1;
    return value != NULL;
}

/* -- the whole -- */

static Py_ssize_t fields_len(FieldsObject *self) {
    PyObject *pairs = turbopy_seen(&self->pairs);
    return pairs != NULL ? PyList_GET_SIZE(pairs) : (Py_ssize_t)self->from->count(self->req);
}

static PyObject *fields_items(FieldsObject *self, PyObject *unused) {
    PyObject *pairs = pairs_of(self);
    (void)unused;
    return pairs == NULL ? NULL : PyList_GetSlice(pairs, 0, PyList_GET_SIZE(pairs));
}

static PyObject *column(FieldsObject *self, Py_ssize_t place) {
    PyObject *pairs = pairs_of(self), *list = pairs == NULL ? NULL : PyList_New(PyList_GET_SIZE(pairs));
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++)
        PyList_SET_ITEM(list, i, Py_NewRef(PyTuple_GET_ITEM(PyList_GET_ITEM(pairs, i), place)));
    return list;
}

static PyObject *fields_keys(FieldsObject *self, PyObject *unused) {
    (void)unused;
    return column(self, 0);
}

static PyObject *fields_values(FieldsObject *self, PyObject *unused) {
    (void)unused;
    return column(self, 1);
}

static PyObject *fields_iter(FieldsObject *self) {
    PyObject *names = column(self, 0), *iter = names == NULL ? NULL : PyObject_GetIter(names);
    Py_XDECREF(names);
    return iter;
}

static PyObject *fields_repr(FieldsObject *self) {
    PyObject *pairs = pairs_of(self);
    return pairs == NULL ? NULL : PyUnicode_FromFormat("<turbo.Fields %R>", pairs);
}

static PyMethodDef fields_methods[] = {
    {"get", (PyCFunction)(void (*)(void))fields_get, METH_FASTCALL,
     "get($self, name, default=None, /)\n--\n\nThe first value of a name, or default."},
    {"getall", (PyCFunction)fields_getall, METH_O, "getall($self, name, /)\n--\n\nA list of all values of a name, in order; empty when there is none."},
    {"items", (PyCFunction)fields_items, METH_NOARGS, "items($self, /)\n--\n\nA list of (name, value), in order, repeats included."},
    {"keys", (PyCFunction)fields_keys, METH_NOARGS, "keys($self, /)\n--\n\nA list of the names as they were sent, in order, repeats included."},
    {"values", (PyCFunction)fields_values, METH_NOARGS, "values($self, /)\n--\n\nA list of the values, in order."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, "A read-only mapping of names to str that keeps order and repeats.\n\n"
                "fields[name] and get() give the first value. Names of header and trailer fields are compared\n"
                "without regard to case, names of query parameters exactly. Values of fields are decoded as Latin-1,\n"
                "parameters as UTF-8. Any thread may read it, also after the request was answered."},
    {Py_tp_dealloc, fields_dealloc},
    {Py_tp_methods, fields_methods},
    {Py_tp_repr, fields_repr},
    {Py_tp_iter, fields_iter},
    {Py_mp_subscript, fields_getitem},
    {Py_mp_length, fields_len},
    {Py_sq_contains, fields_contains},
    {0, NULL},
};

PyType_Spec turbopy_fields_spec = {
    .name = "turbo.Fields",
    .basicsize = sizeof(FieldsObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = fields_slots,
};
