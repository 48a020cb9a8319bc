/* background.c - request.background(). The calls themselves are made in Python: turbo/background.py. */
#include "background.h"

#include <turbo/error.h>

#include "error.h"
#include "shard.h"

/* @return the request's collection of calls, a new reference; NULL with an exception. */
static PyObject *calls_of(RequestObject *request) {
    PyObject *calls = turbopy_get(request, &request->background);
    if (calls != NULL)
        return calls;
    PyObject *make = turbopy_get(request->shard, &request->shard->new_background);
    if (make == NULL)
        return turbopy_raise(TURBO_ECLOSED, "the shard has ended");
    calls = turbopy_made(request, &request->background, PyObject_CallNoArgs(make));
    Py_DECREF(make);
    return calls;
}

PyObject *turbopy_background_add(RequestObject *request, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) == 0 || !PyCallable_Check(PyTuple_GET_ITEM(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "background() takes a function, and its arguments");
        return NULL;
    }
    if (TURBOPY_FLAG(request->over)) {
        PyErr_SetString(PyExc_RuntimeError, "background(): the request has been answered");
        return NULL;
    }
    PyObject *calls = calls_of(request), *kept = kwargs == NULL ? PyDict_New() : Py_NewRef(kwargs), *done = NULL;
    if (calls != NULL && kept != NULL)
        done = PyObject_CallMethodObjArgs(calls, request->shard->st->str_add, args, kept, NULL);
    Py_XDECREF(kept);
    Py_XDECREF(calls);
    return done;
}

void turbopy_background_begin(RequestObject *request) {
    PyObject *calls = turbopy_take(request, &request->background);
    PyObject *done = PyObject_CallMethodOneArg(calls, request->shard->st->str_begin, (PyObject *)request);
    turbopy_unraisable(calls);
    Py_XDECREF(done);
    Py_DECREF(calls);
}
