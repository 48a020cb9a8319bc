/* executor.c - what libturbo calls: batches, events, and the end of a shard. */
#include "executor.h"

#include <turbo/error.h>
#include <turbo/response.h>

#include "answer.h"
#include "error.h"
#include "log.h"
#include "route.h"
#include "shard.h"
#include "stream.h"
#include "task.h"
#include "wait.h"

/* Without the GIL: nothing of Python is touched but the pointer. */
static int start_shard(void *self, turbo_shard *shard) {
    ShardObject *const *shards = self;
    turbo_shard_data_set(shard, shards[turbo_shard_index(shard)]);
    return 0;
}

int turbopy_executor_fail(turbo_request *req, void *route) {
    (void)req, (void)route;
    return TURBO_EUSER;
}

void turbopy_executor_cut_off(turbo_request *req) {
    turbopy_log_mute(1);
    turbo_request_run(req);
    turbopy_log_mute(0);
}

/* There is no object to fail with: the library answers 500. */
static void fail_without_object(turbo_request *req) {
    turbopy_unraisable(NULL);
    turbopy_executor_cut_off(req);
}

static inline PyObject *call_handler(const ShardObject *shard, const turbopy_route *route, RequestObject *request) {
    PyObject *args[] = {NULL, (PyObject *)request}; /* args[0] is the callee's to use */
    return PyObject_Vectorcall(turbopy_calls_of(shard, route)->handler, args + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static void run_one(ShardObject *shard, turbo_request *req, const turbopy_route *route) {
    if (!route->is_async)
        turbopy_task_leave(shard); /* the handler's code runs now, and it is no task's */
    RequestObject *request = turbopy_request_new(shard->st, shard, req);
    if (request == NULL) {
        fail_without_object(req);
        return;
    }
    turbopy_dispatch(shard, TURBOPY_FOR_REQUEST, (PyObject *)request, call_handler(shard, route, request));
    Py_DECREF(request);
}

static void on_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    ShardObject *object = turbo_shard_data(shard);
    (void)self;
    for (size_t i = 0; i < n; i++) {
        const turbopy_route *route = turbo_request_user(reqs[i]);
        if (route->is_batch || route->is_pooled)
            turbo_shard_run(shard, &reqs[i], 1); /* the library gathers them, or has its pool's threads fetch them */
        else
            run_one(object, reqs[i], route);
    }
}

void turbopy_executor_run_pooled(ShardObject *shard, turbo_request *req) {
    const turbopy_route *route = turbo_request_user(req);
    RequestObject *request = turbopy_request_new(shard->st, shard, req);
    if (request == NULL) {
        fail_without_object(req);
        return;
    }
    turbopy_dispatch_anywhere(shard, TURBOPY_FOR_REQUEST, (PyObject *)request, call_handler(shard, route, request));
    Py_DECREF(request);
}

static PyObject *request_list(ShardObject *shard, turbo_request *const *reqs, size_t n) {
    PyObject *list = PyList_New((Py_ssize_t)n);
    for (size_t i = 0; list != NULL && i < n; i++) {
        RequestObject *request = turbopy_request_new(shard->st, shard, reqs[i]);
        if (request == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, (PyObject *)request);
    }
    return list;
}

/* The handler gets a list of its own: what it does to it does not change who is answered. */
static PyObject *call_with_copy(PyObject *handler, PyObject *requests) {
    PyObject *copy = PyList_GetSlice(requests, 0, PyList_GET_SIZE(requests));
    PyObject *result = copy == NULL ? NULL : PyObject_CallOneArg(handler, copy);
    Py_XDECREF(copy);
    return result;
}

void turbopy_executor_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    ShardObject *object = turbo_shard_data(shard);
    const turbopy_route *route = user;
    turbopy_task_leave(object);
    const turbopy_calls *calls = turbopy_calls_of(object, route);
    PyObject *requests =
        calls->weight != NULL ? turbopy_weighed_take(&object->weighed, reqs, n) : request_list(object, reqs, n);
    if (requests == NULL) {
        turbopy_unraisable((PyObject *)object);
        for (size_t i = 0; i < n; i++)
            (void)turbo_request_reply(reqs[i], 500, NULL, NULL, 0);
        return;
    }
    turbopy_dispatch(object, TURBOPY_FOR_BATCH, requests, call_with_copy(calls->handler, requests));
    Py_DECREF(requests);
}

/* All requests of a task were told by it. */
static void mark_told(ShardObject *shard, const PyObject *task) {
    PyObject *requests = turbopy_watch_list(&shard->watch);
    for (Py_ssize_t i = 0; requests != NULL && i < PyList_GET_SIZE(requests); i++) {
        RequestObject *request = (RequestObject *)PyList_GET_ITEM(requests, i);
        if (request->task == task)
            request->told = 1;
    }
    turbopy_unraisable((PyObject *)shard);
    Py_XDECREF(requests);
}

/* Whether nobody waits for what a batch's task answers. */
static int all_gone(ShardObject *shard, const PyObject *task) {
    PyObject *requests = turbopy_watch_list(&shard->watch);
    int gone = requests != NULL;
    for (Py_ssize_t i = 0; gone && i < PyList_GET_SIZE(requests); i++) {
        const RequestObject *request = (RequestObject *)PyList_GET_ITEM(requests, i);
        gone = request->task != task || turbo_request_cancelled(request->req);
    }
    turbopy_unraisable((PyObject *)shard);
    Py_XDECREF(requests);
    return gone;
}

static void cancel_task(RequestObject *request) {
    if (request->task == NULL || (request->in_batch && request->told)) /* once: it may await while it cleans up */
        return;
    PyObject *task = Py_NewRef(request->task);
    request->told = 1;
    if (request->in_batch)
        mark_told(request->shard, task);
    PyObject *done = PyObject_CallMethodNoArgs(task, request->shard->st->str_cancel);
    turbopy_unraisable(task);
    Py_XDECREF(done);
    Py_DECREF(task);
}

PyObject *turbopy_executor_learn(RequestObject *request, PyObject *task) {
    if (task != Py_None && request->task != NULL) {
        if (request->task != task)
            Py_RETURN_NONE;
        if (TURBOPY_FLAG(request->knows) && !request->told)
            cancel_task(request);
    }
    TURBOPY_SET_FLAG(request->knows, 1);
    Py_RETURN_NONE;
}

/* A batch's requests are all overdue at once, but others may still wait for its task when a client goes. */
static int ends_task(ShardObject *shard, const RequestObject *request, uint32_t events) {
    if (events & TURBO_EVENT_DEADLINE)
        return 1;
    return (events & TURBO_EVENT_GONE) && !TURBOPY_FLAG(request->knows) &&
           (!request->in_batch || all_gone(shard, request->task));
}

static void on_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t events) {
    ShardObject *object = turbo_shard_data(shard);
    RequestObject *request = turbopy_watch_find(&object->watch, req);
    (void)self;
    if (request == NULL)
        return; /* nothing goes on with it: a handler that has not suspended cannot be told */
    turbopy_task_leave(object);
    if (events & TURBO_EVENT_RELEASE)
        Py_CLEAR(request->lent);
    if (events & (TURBO_EVENT_WRITABLE | TURBO_EVENT_GONE))
        turbopy_wait_done(request, &request->writable);
    if (events & (TURBO_EVENT_BODY | TURBO_EVENT_BODY_END | TURBO_EVENT_GONE))
        turbopy_wait_done(request, &request->readable);
    if (ends_task(object, request, events))
        cancel_task(request);
    turbopy_watch_drop_idle(&object->watch, request);
    Py_DECREF(request);
}

/* What is still suspended was abandoned by the library; the coroutines are told, and end on the loop. */
static void stop_shard(void *self, turbo_shard *shard) {
    ShardObject *object = turbo_shard_data(shard);
    (void)self;
    if (!object->polling)
        return; /* turbo_server_start() failed: no loop has seen this shard, and the GIL is not held */
    TURBOPY_SET_FLAG(object->ending, 1);
    turbopy_task_leave(object);
    turbopy_shard_cancel_tasks(object);
}

turbo_executor_ops turbopy_executor_ops(void) {
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    ops.start_shard = start_shard;
    ops.batch = on_batch;
    ops.stop_shard = stop_shard;
    ops.events = on_events;
    ops.flags = TURBO_EXECUTOR_DRIVEN | TURBO_EXECUTOR_HOSTS_POOL;
    return ops;
}
