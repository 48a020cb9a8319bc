/* weigh.c - weight functions of batch routes, and the objects of requests that were weighed and wait for their batch. */
#include "weigh.h"

#include <assert.h>
#include <turbo/error.h>
#include <turbo/executor.h>
#include <turbo/response.h>

#include "answer.h"
#include "error.h"
#include "route.h"
#include "shard.h"
#include "task.h"

#define CAP_FIRST 64

/* -- the list -- */

/* No Python executor is called back for writes: this only asks. */
static int has_answer(turbo_request *req) { return turbo_request_on_writable(req, NULL, NULL) == TURBO_ESTATE; }

static void drop_answered(turbopy_weighed *weighed) {
    size_t count = weighed->count;
    weighed->count = 0;
    for (size_t i = 0; i < count; i++) {
        RequestObject *request = weighed->list[i];
        if (has_answer(request->req))
            Py_DECREF(request);
        else
            weighed->list[weighed->count++] = request;
    }
}

static int grow(turbopy_weighed *weighed) {
    size_t cap = weighed->cap == 0 ? CAP_FIRST : weighed->cap * 2;
    RequestObject **list = PyMem_Realloc(weighed->list, cap * sizeof *list);
    if (list == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    weighed->list = list;
    weighed->cap = cap;
    return 0;
}

static int keep(turbopy_weighed *weighed, RequestObject *request) {
    if (weighed->count == weighed->cap) {
        drop_answered(weighed);
        if (weighed->count * 2 >= weighed->cap && grow(weighed) < 0)
            return -1;
    }
    weighed->list[weighed->count++] = (RequestObject *)Py_NewRef((PyObject *)request);
    return 0;
}

PyObject *turbopy_weighed_take(turbopy_weighed *weighed, turbo_request *const *reqs, size_t n) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    size_t count = weighed->count, taken = 0;
    if (list == NULL)
        return NULL;
    weighed->count = 0;
    for (size_t i = 0; i < count; i++) {
        RequestObject *request = weighed->list[i];
        if (taken < n && request->req == reqs[taken])
            PyList_SET_ITEM(list, (Py_ssize_t)taken++, (PyObject *)request);
        else
            weighed->list[weighed->count++] = request;
    }
    assert(taken == n); /* a route's batches are gathered in the order in which it was weighed */
    return list;
}

void turbopy_weighed_clear(turbopy_weighed *weighed) {
    turbopy_weighed old = *weighed;
    *weighed = (turbopy_weighed){0};
    for (size_t i = 0; i < old.count; i++)
        Py_DECREF(old.list[i]);
    PyMem_Free(old.list);
}

/* -- weights -- */

/* One that no uint64_t holds is heavier than any limit anyway. @return 0; -1 with an exception. */
static int weight_of(PyObject *weight, uint64_t *out) {
    if (!PyIndex_Check(weight)) {
        PyErr_Format(PyExc_TypeError, "a weight is an int, not %.100s", Py_TYPE(weight)->tp_name);
        return -1;
    }
    PyObject *number = PyNumber_Index(weight);
    int overflow = 0;
    long long value = number == NULL ? -1 : PyLong_AsLongLongAndOverflow(number, &overflow);
    Py_XDECREF(number);
    if (PyErr_Occurred())
        return -1;
    if (overflow < 0 || (overflow == 0 && value < 0)) {
        PyErr_Format(PyExc_ValueError, "a weight is 0 or more, not %R", weight);
        return -1;
    }
    *out = overflow > 0 ? UINT64_MAX : (uint64_t)value;
    return 0;
}

static int weigh_with(PyObject *fn, RequestObject *request, uint64_t *out) {
    PyObject *weight = PyObject_CallOneArg(fn, (PyObject *)request);
    int rc = weight == NULL ? -1 : weight_of(weight, out);
    Py_XDECREF(weight);
    return rc;
}

int turbopy_weigh(uint64_t *out, turbo_request *req, void *route) {
    ShardObject *shard = turbo_shard_data(turbo_request_shard(req));
    turbopy_task_leave(shard);
    RequestObject *request = turbopy_request_new(shard->st, shard, req);
    if (request == NULL) {
        turbopy_unraisable((PyObject *)shard);
        return TURBO_ENOMEM;
    }
    int rc = 1;
    if (weigh_with(turbopy_calls_of(shard, route)->weight, request, out) < 0 || keep(&shard->weighed, request) < 0) {
        turbopy_finish(shard, TURBOPY_FOR_REQUEST, (PyObject *)request, NULL);
        rc = 0;
    }
    Py_DECREF(request);
    return rc;
}
