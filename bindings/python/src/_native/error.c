/* error.c - one table: TURBO_E* -> exception type -> errno. */
#include "error.h"

#include <errno.h>
#include <turbo/error.h>

typedef struct row {
    int code;
    PyObject **type;
    int number; /* errno for OSError and its children, else 0 */
} row;

static const row *find(int code) {
    static const row table[] = {
        {TURBO_EINVAL, &PyExc_ValueError, 0},
        {TURBO_ENOMEM, &PyExc_MemoryError, 0},
        {TURBO_ESTATE, &PyExc_RuntimeError, 0},
        {TURBO_EAGAIN, &PyExc_OSError, EAGAIN},
        {TURBO_ECLOSED, &PyExc_OSError, ECONNRESET},
        {TURBO_EEXIST, &PyExc_ValueError, 0},
        {TURBO_ENOENT, &PyExc_LookupError, 0},
        {TURBO_EADDRINUSE, &PyExc_OSError, EADDRINUSE},
        {TURBO_EADDR, &PyExc_OSError, EADDRNOTAVAIL},
        {TURBO_EACCES, &PyExc_OSError, EACCES},
        {TURBO_EMFILE, &PyExc_OSError, EMFILE},
        {TURBO_ESYS, &PyExc_OSError, EIO},
        {TURBO_ETOOBIG, &PyExc_ValueError, 0},
        {TURBO_ETOONEW, &PyExc_RuntimeError, 0},
        {TURBO_ENOTSUP, &PyExc_NotImplementedError, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

PyObject *turbopy_raise(int code, const char *detail) {
    const row *found = find(code);
    const char *text = detail != NULL && *detail != '\0' ? detail : turbo_strerror(code);
    if (found == NULL)
        return PyErr_Format(PyExc_SystemError, "%s (%s)", text, turbo_errname(code));
    if (found->number == 0) {
        PyErr_SetString(*found->type, text);
        return NULL;
    }
    /* OSError picks the child that fits the errno; made here, as CPython 3.9 would look for handlers of OSError only. */
    PyObject *error = PyObject_CallFunction(*found->type, "is", found->number, text);
    if (error != NULL)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

void turbopy_unraisable(PyObject *where) {
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(where);
}
