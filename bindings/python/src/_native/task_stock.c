/* task_stock.c - coroutines as tasks of asyncio's, or of the loop's task factory; and which task a request belongs to. */
#include "answer.h"
#include "error.h"
#include "task.h"

/* -- whose task -- */

static int own_one(ShardObject *shard, RequestObject *request, PyObject *task, char in_batch) {
    Py_XSETREF(request->task, Py_XNewRef(task));
    request->in_batch = in_batch;
    if (task != NULL)
        return turbopy_watch_add(&shard->watch, request);
    turbopy_watch_drop_idle(&shard->watch, request);
    return 0;
}

int turbopy_task_own(ShardObject *shard, int what, PyObject *owner, PyObject *task) {
    int rc = 0;
    if (what != TURBOPY_FOR_BATCH)
        return own_one(shard, (RequestObject *)owner, task, 0);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(owner); i++)
        if (own_one(shard, (RequestObject *)PyList_GET_ITEM(owner, i), task, 1) < 0)
            rc = -1;
    return rc;
}

/* -- running -- */

/* Eager where asyncio can (3.12): we are in a callback of the loop, where that is safe. A task factory wins. */
static PyObject *make_task(ShardObject *shard, PyObject *coro) {
    turbopy_state *st = shard->st;
    if (shard->has_factory || st->eager_kw == NULL)
        return PyObject_CallMethodOneArg(shard->loop, st->str_create_task, coro);
    PyObject *args[] = {coro, shard->loop, Py_True};
    return PyObject_Vectorcall(st->stock_task, args, 1, st->eager_kw);
}

/* self is (shard, what, owner). */
static PyObject *on_done(PyObject *self, PyObject *task) {
    ShardObject *shard = (ShardObject *)PyTuple_GET_ITEM(self, 0);
    int what = (int)PyLong_AsLong(PyTuple_GET_ITEM(self, 1));
    PyObject *owner = PyTuple_GET_ITEM(self, 2);
    if (turbopy_task_own(shard, what, owner, NULL) < 0)
        turbopy_unraisable(task);
    PyObject *result = PyObject_CallMethodNoArgs(task, shard->st->str_result);
    turbopy_finish(shard, what, owner, result);
    Py_XDECREF(result);
    Py_RETURN_NONE;
}

static PyMethodDef done_def = {"done", (PyCFunction)on_done, METH_O, NULL};

static int is_done(const turbopy_state *st, PyObject *task) {
    PyObject *done = PyObject_CallMethodNoArgs(task, st->str_done);
    int yes = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return yes;
}

static int follow(ShardObject *shard, int what, PyObject *owner, PyObject *task) {
    PyObject *self = Py_BuildValue("(OiO)", shard, what, owner);
    PyObject *fn = self == NULL ? NULL : PyCFunction_New(&done_def, self);
    PyObject *added = NULL, *now;
    int done = fn == NULL ? -1 : is_done(shard->st, task);
    if (done > 0 && (now = on_done(self, task)) != NULL) {
        Py_DECREF(now);
    } else if (done == 0) {
        added = PyObject_CallMethodOneArg(task, shard->st->str_add_done_callback, fn);
        done = added == NULL || turbopy_task_own(shard, what, owner, task) < 0 ? -1 : 0;
    }
    Py_XDECREF(added);
    Py_XDECREF(fn);
    Py_XDECREF(self);
    return done < 0 ? -1 : 0;
}

void turbopy_task_run_stock(ShardObject *shard, int what, PyObject *owner, PyObject *coro) {
    PyObject *task = make_task(shard, coro);
    if (task == NULL || follow(shard, what, owner, task) < 0)
        turbopy_finish(shard, what, owner, NULL);
    Py_XDECREF(task);
    Py_DECREF(coro);
}

void turbopy_task_run_posted(ShardObject *shard, int what, PyObject *owner, PyObject *coro) {
    PyObject *result = PyObject_CallMethodOneArg(shard->loop, shard->st->str_run_posted, coro);
    turbopy_finish(shard, what, owner, result);
    Py_XDECREF(result);
    Py_DECREF(coro);
}
