/* wait.c - futures that an event of a request completes. */
#include "wait.h"

#include <turbo/error.h>

#include "error.h"
#include "shard.h"

PyObject *turbopy_wait_new(RequestObject *request, PyObject **place) {
    if (request->shard->loop == NULL)
        return turbopy_raise(TURBO_ECLOSED, "the shard has ended");
    PyObject *future = PyObject_CallMethodNoArgs(request->shard->loop, request->shard->st->str_create_future);
    if (future == NULL)
        return NULL;
    Py_XSETREF(*place, Py_NewRef(future));
    if (turbopy_watch_add(&request->shard->watch, request) < 0) {
        Py_CLEAR(*place);
        Py_CLEAR(future);
    }
    return future;
}

void turbopy_wait_done(RequestObject *request, PyObject **place) {
    turbopy_state *st = request->shard->st;
    PyObject *future = *place, *done, *set = NULL;
    if (future == NULL)
        return;
    *place = NULL;
    done = PyObject_CallMethodNoArgs(future, st->str_done);
    if (done == Py_False) /* else its waiter was cancelled */
        set = PyObject_CallMethodOneArg(future, st->str_set_result, Py_None);
    turbopy_unraisable(future);
    Py_XDECREF(set);
    Py_XDECREF(done);
    Py_DECREF(future);
}
