/* json.c - a JSON writer for plain values; what it does not know goes to orjson, msgspec or json. */
#include "json.h"

#include <string.h>

#define DEPTH_MAX 64       /* deeper values, and cycles, are left to the library */
#define TEXT_SIZE_FIRST 512
#define KEEP_MAX 65536     /* memory that a text may keep for its next use */

enum { WRITTEN = 1, UNKNOWN = 0, FAILED = -1 };

void turbopy_text_free(turbopy_text *text) {
    PyMem_Free(text->data);
    *text = (turbopy_text){0};
}

static int grow(turbopy_text *text, size_t more) {
    size_t size = text->size == 0 ? TEXT_SIZE_FIRST : text->size;
    while (size - text->len < more) {
        if (size > PY_SSIZE_T_MAX / 2) {
            PyErr_NoMemory();
            return FAILED;
        }
        size *= 2;
    }
    char *data = PyMem_Realloc(text->data, size);
    if (data == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    text->data = data;
    text->size = size;
    return WRITTEN;
}

static inline int need(turbopy_text *text, size_t more) {
    return text->size - text->len >= more ? WRITTEN : grow(text, more);
}

static inline int put(turbopy_text *text, const char *data, size_t len) {
    if (need(text, len) < 0)
        return FAILED;
    memcpy(text->data + text->len, data, len);
    text->len += len;
    return WRITTEN;
}

static inline int put_char(turbopy_text *text, char c) { return put(text, &c, 1); }

/* How a byte is written inside a string: 0 as it is, 'u' as \u00XX, else behind a backslash. */
static char escape_of(unsigned char c) {
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : 0;
    }
}

static int write_utf8(turbopy_text *text, const char *data, size_t len) {
    static const char hex[] = "0123456789abcdef";
    if (need(text, len * 6 + 2) < 0)
        return FAILED;
    char *to = text->data + text->len;
    *to++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        char escape = escape_of(c);
        if (escape == 0) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = escape;
        if (escape == 'u') {
            *to++ = '0';
            *to++ = '0';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to++ = '"';
    text->len = (size_t)(to - text->data);
    return WRITTEN;
}

static int write_str(turbopy_text *text, PyObject *value) {
    Py_ssize_t len;
    const char *data = PyUnicode_AsUTF8AndSize(value, &len);
    if (data != NULL)
        return write_utf8(text, data, (size_t)len);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return FAILED;
    PyErr_Clear(); /* lone surrogates: the library decides */
    return UNKNOWN;
}

static int write_int(turbopy_text *text, PyObject *value) {
    char digits[24];
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0)
        return UNKNOWN;
    if (number == -1 && PyErr_Occurred())
        return FAILED;
    int len = PyOS_snprintf(digits, sizeof digits, "%lld", number);
    return put(text, digits, (size_t)len);
}

static int write_float(turbopy_text *text, PyObject *value) {
    double number = PyFloat_AS_DOUBLE(value);
    if (number - number != 0) /* infinite or no number: not JSON, the library decides */
        return UNKNOWN;
    char *digits = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits == NULL)
        return FAILED;
    int rc = put(text, digits, strlen(digits));
    PyMem_Free(digits);
    return rc;
}

static int write_value(turbopy_text *text, PyObject *value, int depth);

static int write_items(turbopy_text *text, PyObject *const *items, Py_ssize_t count, int depth) {
    int rc = put_char(text, '[');
    for (Py_ssize_t i = 0; rc > 0 && i < count; i++) {
        if (i > 0 && (rc = put_char(text, ',')) < 0)
            break;
        rc = write_value(text, items[i], depth + 1);
    }
    return rc > 0 ? put_char(text, ']') : rc;
}

static int write_pair(turbopy_text *text, PyObject *key, PyObject *value, int first, int depth) {
    int rc = first ? WRITTEN : put_char(text, ',');
    if (rc > 0)
        rc = PyUnicode_CheckExact(key) ? write_str(text, key) : UNKNOWN;
    if (rc > 0)
        rc = put_char(text, ':');
    return rc > 0 ? write_value(text, value, depth + 1) : rc;
}

static int write_dict(turbopy_text *text, PyObject *value, int depth) {
    PyObject *key, *item;
    Py_ssize_t place = 0;
    int rc = put_char(text, '{'), first = 1;
    while (rc > 0 && PyDict_Next(value, &place, &key, &item)) {
        rc = write_pair(text, key, item, first, depth);
        first = 0;
    }
    return rc > 0 ? put_char(text, '}') : rc;
}

/* Exact types only: a subclass may mean something else, and nothing here may run Python code (borrowed references). */
static int write_value(turbopy_text *text, PyObject *value, int depth) {
    if (depth > DEPTH_MAX)
        return UNKNOWN;
    if (PyUnicode_CheckExact(value))
        return write_str(text, value);
    if (value == Py_True)
        return put(text, "true", 4);
    if (value == Py_False)
        return put(text, "false", 5);
    if (value == Py_None)
        return put(text, "null", 4);
    if (PyLong_CheckExact(value))
        return write_int(text, value);
    if (PyFloat_CheckExact(value))
        return write_float(text, value);
    if (PyDict_CheckExact(value))
        return write_dict(text, value, depth);
    if (PyList_CheckExact(value))
        return write_items(text, ((PyListObject *)value)->ob_item, PyList_GET_SIZE(value), depth);
    if (PyTuple_CheckExact(value))
        return write_items(text, ((PyTupleObject *)value)->ob_item, PyTuple_GET_SIZE(value), depth);
    return UNKNOWN;
}

/* json gives str, orjson and msgspec bytes. */
static PyObject *encode_by_library(turbopy_state *st, PyObject *value) {
    PyObject *text = PyObject_CallOneArg(st->json_dumps, value);
    if (text == NULL || PyBytes_CheckExact(text))
        return text;
    PyObject *bytes = PyUnicode_AsUTF8String(text);
    Py_DECREF(text);
    return bytes;
}

int turbopy_json_encode(turbopy_state *st, turbopy_text *text, PyObject *value, PyObject **out) {
    if (text->size > KEEP_MAX)
        turbopy_text_free(text);
    text->len = 0;
    int rc = TURBOPY_RECYCLE ? write_value(text, value, 0) : UNKNOWN; /* without a GIL others may change the value */
    if (rc == UNKNOWN)
        *out = encode_by_library(st, value);
    return rc == UNKNOWN && *out == NULL ? -1 : rc;
}
