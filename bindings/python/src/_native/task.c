/* task.c - running coroutines: what asyncio.tasks.Task.__step does, and the carrier that saves most of it. */
#include "task.h"

#include "answer.h"
#include "error.h"

/* -- asyncio's hooks -- */

static int call_hook(PyObject *hook, PyObject *loop, TaskObject *task) {
    PyObject *args[] = {loop, (PyObject *)task};
    PyObject *done = PyObject_Vectorcall(hook, args, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Hooks that only asyncio >= 3.12 has are NULL before; errors leave asyncio's books wrong, not ours. */
static void call_book(PyObject *hook, TaskObject *task) {
    PyObject *done = hook == NULL ? NULL : PyObject_CallOneArg(hook, (PyObject *)task);
    Py_XDECREF(done);
    turbopy_unraisable((PyObject *)task);
}

/* -- what a step may yield -- */

static PyObject *on_wakeup(TaskObject *self, PyObject *future);
static PyObject *on_step(TaskObject *self, PyObject *exception);

/* METH_O and METH_VARARGS would cost a tuple; a step without exception passes None. */
static PyMethodDef wakeup_def = {"wakeup", (PyCFunction)on_wakeup, METH_O, NULL};
static PyMethodDef step_def = {"step", (PyCFunction)on_step, METH_O, NULL};

static int step_soon(TaskObject *self, PyObject *exception) {
    PyObject *fn = PyCFunction_New(&step_def, (PyObject *)self);
    int rc = fn == NULL ? -1 : turbopy_task_call_soon(self, fn, exception == NULL ? Py_None : exception, self->context);
    Py_XDECREF(fn);
    return rc;
}

/* The coroutine yielded what it must not: it gets a RuntimeError at its next step. Takes message. */
static int complain(TaskObject *self, PyObject *message) {
    PyObject *error = message == NULL ? NULL : PyObject_CallOneArg(PyExc_RuntimeError, message);
    Py_XDECREF(message);
    int rc = error == NULL ? -1 : step_soon(self, error);
    Py_XDECREF(error);
    return rc;
}

/* @return 1: the future's loop is ours; 0; -1 */
static int same_loop(TaskObject *self, PyObject *future) {
    PyObject *loop = PyObject_CallMethodNoArgs(future, self->shard->st->str_get_loop);
    int same = loop == NULL ? -1 : loop == self->loop;
    Py_XDECREF(loop);
    return same;
}

static int add_wakeup(TaskObject *self, PyObject *future) {
    turbopy_state *st = self->shard->st;
    PyObject *fn = PyCFunction_New(&wakeup_def, (PyObject *)self);
    if (fn == NULL)
        return -1;
    PyObject *args[] = {future, fn, self->context};
    PyObject *done = PyObject_VectorcallMethod(st->str_add_done_callback, args, 2, st->context_kw);
    Py_DECREF(fn);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* cancel() was called during the step: pass it on to what the task waits for now. */
static int cancel_waiter(TaskObject *self) {
    turbopy_state *st = self->shard->st;
    PyObject *args[] = {self->fut_waiter, self->cancel_message == NULL ? Py_None : self->cancel_message};
    PyObject *done = PyObject_VectorcallMethod(st->str_cancel, args, 1, st->msg_kw);
    int yes = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    if (yes > 0)
        self->must_cancel = 0;
    return yes < 0 ? -1 : 0;
}

static int wait_for(TaskObject *self, PyObject *future) {
    if (future == (PyObject *)self)
        return complain(self, PyUnicode_FromFormat("Task cannot await on itself: %R", self));
    if (PyObject_SetAttr(future, self->shard->st->str__asyncio_future_blocking, Py_False) < 0 ||
        add_wakeup(self, future) < 0)
        return -1;
    Py_XSETREF(self->fut_waiter, Py_NewRef(future));
    return self->must_cancel ? cancel_waiter(self) : 0;
}

static int take_future(TaskObject *self, PyObject *future, PyObject *blocking) {
    int same = same_loop(self, future);
    if (same < 0)
        return -1;
    if (!same)
        return complain(self, PyUnicode_FromFormat("Task %R got Future %R attached to a different loop", self, future));
    int waits = PyObject_IsTrue(blocking);
    if (waits == 0)
        return complain(self, PyUnicode_FromFormat("yield was used instead of yield from in task %R with %R", self, future));
    return waits < 0 ? -1 : wait_for(self, future);
}

static int take_yield(TaskObject *self, PyObject *yielded) {
    PyObject *blocking = NULL;
    if (yielded == Py_None) /* asyncio.sleep(0) */
        return step_soon(self, NULL);
    int found = PyObject_GetOptionalAttr(yielded, self->shard->st->str__asyncio_future_blocking, &blocking);
    if (found < 0)
        return -1;
    int rc;
    if (blocking != NULL && blocking != Py_None)
        rc = take_future(self, yielded, blocking);
    else if (PyGen_CheckExact(yielded))
        rc = complain(self, PyUnicode_FromFormat("yield was used instead of yield from for generator in task %R with %R",
                                                 self, yielded));
    else
        rc = complain(self, PyUnicode_FromFormat("Task got bad yield: %R", yielded));
    Py_XDECREF(blocking);
    return rc;
}

/* -- one step -- */

static void finish_with(TaskObject *self, PyObject *result) {
    if (self->must_cancel) { /* cancelled, and ended before it could notice */
        self->must_cancel = 0;
        Py_DECREF(result);
        Py_XSETREF(self->exception, turbopy_task_cancelled_error(self));
        TURBOPY_SET_FLAG(self->state, TURBOPY_CANCELLED);
        return;
    }
    self->result = result;
    TURBOPY_SET_FLAG(self->state, TURBOPY_FINISHED);
}

static void finish_with_error(TaskObject *self) {
    PyObject *exception = PyErr_GetRaisedException();
    int cancelled = PyErr_GivenExceptionMatches(exception, self->shard->st->CancelledError);
    Py_XSETREF(self->exception, exception);
    TURBOPY_SET_FLAG(self->state, cancelled ? TURBOPY_CANCELLED : TURBOPY_FINISHED);
}

/* Throw exception (borrowed) into the coroutine. */
static PySendResult throw_into(TaskObject *self, PyObject *exception, PyObject **out) {
    turbopy_state *st = self->shard->st;
    *out = PyObject_CallMethodOneArg(self->coro, st->str_throw, exception);
    if (*out != NULL)
        return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return PYGEN_ERROR;
    PyObject *stop = PyErr_GetRaisedException();
    *out = PyObject_GetAttr(stop, st->str_value);
    Py_DECREF(stop);
    return *out == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

static PySendResult advance(TaskObject *self, PyObject *exception, PyObject **out) {
    PyObject *cancelled = NULL;
    if (self->must_cancel) {
        self->must_cancel = 0;
        if (exception == NULL || !PyErr_GivenExceptionMatches(exception, self->shard->st->CancelledError))
            exception = cancelled = turbopy_task_cancelled_error(self);
    }
    Py_CLEAR(self->fut_waiter);
    PySendResult kind = exception == NULL ? PyIter_Send(self->coro, Py_None, out) : throw_into(self, exception, out);
    Py_XDECREF(cancelled);
    return kind;
}

/* Advance the coroutine by a step, in its context and as the current task: both are the caller's business. */
static void step(TaskObject *self, PyObject *exception) {
    PyObject *out = NULL;
    PySendResult kind = advance(self, exception, &out);
    if (kind == PYGEN_RETURN) {
        finish_with(self, out);
        return;
    }
    if (kind == PYGEN_ERROR || take_yield(self, out) < 0)
        finish_with_error(self);
    Py_XDECREF(out);
}

/* -- later steps: a suspended task -- */

/* Its coroutine has ended: it is answered, and everybody who waits for it is told. */
static void settle(TaskObject *self) {
    ShardObject *shard = (ShardObject *)Py_NewRef((PyObject *)self->shard);
    PyObject *owner = self->owner, *result = Py_XNewRef(self->result);
    self->owner = NULL;
    if (turbopy_task_own(shard, self->what, owner, NULL) < 0 || turbopy_task_schedule_callbacks(self) < 0)
        turbopy_unraisable((PyObject *)self);
    if (result == NULL)
        PyErr_SetRaisedException(Py_NewRef(self->exception));
    turbopy_finish(shard, self->what, owner, result);
    Py_XDECREF(result);
    Py_XDECREF(owner);
    Py_DECREF(shard);
}

static PyObject *resume(TaskObject *self, PyObject *exception) {
    turbopy_state *st = self->shard->st;
    if (self->state != TURBOPY_PENDING || self->owner == NULL) {
        PyErr_Format(st->InvalidStateError, "step(): %R is done", self);
        return NULL;
    }
    if (call_hook(st->enter_task, self->loop, self) < 0)
        return NULL;
    step(self, exception);
    int rc = call_hook(st->leave_task, self->loop, self);
    if (rc < 0)
        turbopy_unraisable((PyObject *)self);
    if (self->state != TURBOPY_PENDING)
        settle(self);
    Py_RETURN_NONE;
}

static PyObject *on_step(TaskObject *self, PyObject *exception) {
    return resume(self, exception == Py_None ? NULL : exception);
}

static PyObject *on_wakeup(TaskObject *self, PyObject *future) {
    PyObject *result = PyObject_CallMethodNoArgs(future, self->shard->st->str_result), *done;
    if (result != NULL) {
        Py_DECREF(result); /* the coroutine reads it from the future */
        return resume(self, NULL);
    }
    PyObject *exception = PyErr_GetRaisedException();
    done = resume(self, exception);
    Py_DECREF(exception);
    return done;
}

/* -- the first step: the carrier -- */

/* @return the shard's carrier as the current task, borrowed; NULL with an exception. */
static TaskObject *enter(ShardObject *shard) {
    turbopy_state *st = shard->st;
    if (shard->carrier == NULL && (shard->carrier = turbopy_task_new(shard)) == NULL)
        return NULL;
    TaskObject *task = shard->carrier;
    if (shard->carrier_entered)
        return task;
    if (call_hook(st->enter_task, shard->loop, task) < 0)
        return NULL;
    call_book(st->register_eager_task, task);
    shard->carrier_entered = 1;
    shard->carrier_refs = Py_REFCNT(task);
    return task;
}

void turbopy_task_leave(ShardObject *shard) {
    if (!shard->carrier_entered)
        return;
    PyObject *exception = PyErr_GetRaisedException(); /* handlers' exceptions pass through here */
    shard->carrier_entered = 0;
    call_book(shard->st->unregister_eager_task, shard->carrier);
    if (call_hook(shard->st->leave_task, shard->loop, shard->carrier) < 0)
        turbopy_unraisable((PyObject *)shard->carrier);
    PyErr_SetRaisedException(exception);
}

/* The coroutine has suspended: the carrier becomes its task for good. */
static void park(ShardObject *shard, TaskObject *task) {
    turbopy_task_leave(shard);
    shard->carrier = NULL;
    call_book(shard->st->register_task, task);
    if (turbopy_task_own(shard, task->what, task->owner, (PyObject *)task) < 0)
        turbopy_unraisable((PyObject *)task);
    Py_DECREF(task); /* its requests hold it now */
}

static int is_ours_alone(const ShardObject *shard, const TaskObject *task) {
    return TURBOPY_RECYCLE && Py_REFCNT(task) == shard->carrier_refs && task->weakrefs == NULL && task->dict == NULL &&
           task->callbacks == NULL;
}

static void begin(TaskObject *task, int what, PyObject *owner, PyObject *coro, PyObject *context) {
    TURBOPY_SET_FLAG(task->state, TURBOPY_PENDING);
    task->what = (char)what;
    task->owner = Py_NewRef(owner);
    task->coro = coro;
    task->context = context;
    turbopy_set(task, &task->name, NULL);
}

static void wipe(TaskObject *task) {
    TURBOPY_SET_FLAG(task->state, TURBOPY_FINISHED); /* all_tasks() passes over it */
    task->must_cancel = task->blocking = 0;
    task->cancels = 0;
    Py_CLEAR(task->coro);
    Py_CLEAR(task->context);
    Py_CLEAR(task->cancel_message);
}

/* The coroutine has ended at its first step. Somebody may have kept the task (current_task()): then it is theirs. */
static void unload(ShardObject *shard, TaskObject *task) {
    int what = task->what;
    PyObject *owner = task->owner, *result, *exception;
    task->owner = NULL;
    if (is_ours_alone(shard, task)) {
        result = task->result;
        exception = task->exception;
        task->result = task->exception = NULL;
        wipe(task);
    } else {
        result = Py_XNewRef(task->result);
        exception = Py_XNewRef(task->exception);
        turbopy_task_leave(shard);
        shard->carrier = NULL;
        if (turbopy_task_schedule_callbacks(task) < 0)
            turbopy_unraisable((PyObject *)task);
        Py_DECREF(task);
    }
    if (exception != NULL)
        PyErr_SetRaisedException(exception);
    turbopy_finish(shard, what, owner, result);
    Py_XDECREF(result);
    Py_DECREF(owner);
}

static int first_step(ShardObject *shard, int what, PyObject *owner, PyObject *coro) {
    TaskObject *task = enter(shard);
    PyObject *context = task == NULL ? NULL : PyContext_CopyCurrent();
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return -1;
    }
    begin(task, what, owner, Py_NewRef(coro), context);
    step(task, NULL);
    if (PyContext_Exit(context) < 0) /* the coroutine has left a context of its own entered */
        turbopy_unraisable(coro);
    if (task->state == TURBOPY_PENDING)
        park(shard, task);
    else
        unload(shard, task);
    return 0;
}

void turbopy_task_run(ShardObject *shard, int what, PyObject *owner, PyObject *coro) {
    if (shard->task_mode == TURBOPY_TASK_POSTED && what != TURBOPY_FOR_STREAM) { /* which waits for this very thread */
        turbopy_task_run_posted(shard, what, owner, coro);
        return;
    }
    if (shard->task_mode != TURBOPY_TASK_OWN || shard->has_factory) {
        turbopy_task_run_stock(shard, what, owner, coro);
        return;
    }
    if (first_step(shard, what, owner, coro) < 0)
        turbopy_finish(shard, what, owner, NULL);
    Py_DECREF(coro);
    if (!shard->polling)
        turbopy_task_leave(shard);
}
