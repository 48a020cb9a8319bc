/* compat.h - what newer CPythons have and 3.9 lacks; nothing else looks at PY_VERSION_HEX for a missing function. */
#ifndef TURBOPY_COMPAT_H
#define TURBOPY_COMPAT_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN /* 3.9: lengths of "s#" are Py_ssize_t */
#endif
#include <Python.h>

#if PY_VERSION_HEX < 0x030A0000
static inline PyObject *Py_NewRef(PyObject *object) {
    Py_INCREF(object);
    return object;
}

static inline PyObject *Py_XNewRef(PyObject *object) {
    Py_XINCREF(object);
    return object;
}

typedef enum { PYGEN_RETURN = 0, PYGEN_ERROR = -1, PYGEN_NEXT = 1 } PySendResult;

/* The value of the StopIteration that is set; clears it. A value that was not made an exception yet is taken as it is. */
static inline PyObject *turbopy_stop_value(void) {
    PyObject *type, *value, *traceback, *result;
    PyErr_Fetch(&type, &value, &traceback);
    if (value == NULL) {
        result = Py_NewRef(Py_None);
    } else if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
        result = Py_NewRef(value);
    } else {
        PyErr_NormalizeException(&type, &value, &traceback);
        result = PyObject_GetAttrString(value, "value");
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return result;
}

static inline PySendResult PyIter_Send(PyObject *iter, PyObject *arg, PyObject **result) {
    static const char send[] = "send";
    *result = PyObject_CallMethod(iter, send, "O", arg);
    if (*result != NULL)
        return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return PYGEN_ERROR;
    *result = turbopy_stop_value();
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}
#endif

#ifndef Py_TPFLAGS_DISALLOW_INSTANTIATION
#define Py_TPFLAGS_DISALLOW_INSTANTIATION 0 /* 3.9: module.c takes tp_new away */
#endif
#ifndef Py_TPFLAGS_IMMUTABLETYPE
#define Py_TPFLAGS_IMMUTABLETYPE 0
#endif

#if PY_VERSION_HEX < 0x030C0000
/* The exception that is set, whole and with its traceback; NULL when none is. */
static inline PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
}

static inline void PyErr_SetRaisedException(PyObject *exception) {
    if (exception == NULL) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#endif

#if PY_VERSION_HEX < 0x030D0000
/* 1 and a new reference in *result; 0 and NULL when there is no such attribute; -1 with an exception. */
static inline int PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **result) {
    *result = PyObject_GetAttr(object, name);
    if (*result != NULL)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* 1 and a new reference in *result; 0 and NULL when there is no such key; -1 with an exception. */
static inline int PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result) {
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
}

#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* PySequence_Fast() for a list that other threads may change meanwhile: with a GIL nothing is copied. */
static inline PyObject *turbopy_sequence(PyObject *object, const char *message) {
#ifdef Py_GIL_DISABLED
    if (PyList_Check(object))
        return PyList_AsTuple(object);
#endif
    return PySequence_Fast(object, message);
}

#endif
