/* wait.c - futures that an event of a request completes. */
#include "wait.h"

#include <turbo/error.h>

#include "error.h"
#include "shard.h"

PyObject *turbopy_wait_new(RequestObject *request, PyObject **place) {
    PyObject *loop = turbopy_get(request->shard, &request->shard->loop);
    if (loop == NULL)
        return turbopy_raise(TURBO_ECLOSED, "the shard has ended");
    PyObject *future = PyObject_CallMethodNoArgs(loop, request->shard->st->str_create_future);
    Py_DECREF(loop);
    if (future == NULL)
        return NULL;
    turbopy_set(request, place, Py_NewRef(future)); /* mode="single": not on the shard's thread */
    if (turbopy_watch_add(&request->shard->watch, request) < 0) {
        turbopy_set(request, place, NULL);
        Py_CLEAR(future);
    }
    return future;
}

PyObject *turbopy_wait_pending(RequestObject *request, PyObject **place) {
    PyObject *future = turbopy_get(request, place);
    if (future == NULL)
        return NULL;
    PyObject *done = PyObject_CallMethodNoArgs(future, request->shard->st->str_done);
    if (done != Py_False) /* its waiter was cancelled */
        Py_CLEAR(future);
    Py_XDECREF(done);
    return future;
}

void turbopy_wait_forget(RequestObject *request, PyObject **place) {
    turbopy_set(request, place, NULL);
    turbopy_watch_drop_idle(&request->shard->watch, request);
}

void turbopy_wait_done(RequestObject *request, PyObject **place) {
    turbopy_state *st = request->shard->st;
    PyObject *future = turbopy_take(request, place), *done, *set = NULL;
    if (future == NULL)
        return;
    done = PyObject_CallMethodNoArgs(future, st->str_done);
    if (done == Py_False) /* else its waiter was cancelled */
        set = PyObject_CallMethodOneArg(future, st->str_set_result, Py_None);
    turbopy_unraisable(future);
    Py_XDECREF(set);
    Py_XDECREF(done);
    Py_DECREF(future);
}
