/* task_type.c - the protocol of asyncio.Future and asyncio.Task, as turbo.Task offers it. */
#include "task.h"

#include <stddef.h>
#include <structmember.h>

#include "error.h"

/* -- helpers -- */

int turbopy_task_call_soon(TaskObject *self, PyObject *fn, PyObject *arg, PyObject *context) {
    turbopy_state *st = self->shard->st;
    PyObject *call_soon = self->shard->call_soon, *done;
    if (call_soon == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    PyObject *args[4] = {NULL, fn, arg, context}; /* args[0] is the callee's to use */
    if (arg == NULL)
        args[2] = context;
    size_t count = arg == NULL ? 1 : 2;
    done = PyObject_Vectorcall(call_soon, args + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, st->context_kw);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *turbopy_task_cancelled_error(TaskObject *self) {
    turbopy_state *st = self->shard->st;
    if (self->exception != NULL)
        return Py_NewRef(self->exception);
    return self->cancel_message == NULL || self->cancel_message == Py_None
               ? PyObject_CallNoArgs(st->CancelledError)
               : PyObject_CallOneArg(st->CancelledError, self->cancel_message);
}

int turbopy_task_schedule_callbacks(TaskObject *self) {
    PyObject *callbacks = self->callbacks;
    int rc = 0;
    self->callbacks = NULL;
    for (Py_ssize_t i = 0; callbacks != NULL && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *pair = PyList_GET_ITEM(callbacks, i);
        if (turbopy_task_call_soon(self, PyTuple_GET_ITEM(pair, 0), (PyObject *)self, PyTuple_GET_ITEM(pair, 1)) < 0)
            rc = -1;
    }
    Py_XDECREF(callbacks);
    return rc;
}

/* -- life -- */

TaskObject *turbopy_task_new(ShardObject *shard) {
    PyTypeObject *type = (PyTypeObject *)shard->st->task_type;
    TaskObject *self = (TaskObject *)type->tp_alloc(type, 0); /* zeroed and tracked */
    if (self == NULL)
        return NULL;
    self->shard = (ShardObject *)Py_NewRef((PyObject *)shard);
    self->loop = Py_NewRef(shard->loop);
    self->state = TURBOPY_FINISHED;
    return self;
}

static int task_traverse(TaskObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->shard);
    Py_VISIT(self->loop);
    Py_VISIT(self->coro);
    Py_VISIT(self->context);
    Py_VISIT(self->name);
    Py_VISIT(self->owner);
    Py_VISIT(self->result);
    Py_VISIT(self->exception);
    Py_VISIT(self->fut_waiter);
    Py_VISIT(self->cancel_message);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->dict);
    return 0;
}

/* shard stays: methods need its state, and it does not hold tasks by itself. */
static int task_clear(TaskObject *self) {
    Py_CLEAR(self->coro);
    Py_CLEAR(self->context);
    Py_CLEAR(self->name);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->result);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->fut_waiter);
    Py_CLEAR(self->cancel_message);
    Py_CLEAR(self->callbacks);
    Py_CLEAR(self->dict);
    return 0;
}

static void task_dealloc(TaskObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs((PyObject *)self);
    (void)task_clear(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->shard);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- results -- */

static PyObject *task_done(TaskObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(TURBOPY_FLAG(self->state) != TURBOPY_PENDING);
}

static PyObject *task_cancelled(TaskObject *self, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(self->state == TURBOPY_CANCELLED);
}

/* Raise what reading the outcome of a pending or cancelled task raises. @return 0: finished. */
static int check_finished(TaskObject *self, const char *pending) {
    if (self->state == TURBOPY_FINISHED)
        return 0;
    if (self->state == TURBOPY_PENDING) {
        PyErr_SetString(self->shard->st->InvalidStateError, pending);
        return -1;
    }
    PyObject *error = turbopy_task_cancelled_error(self);
    if (error != NULL)
        PyErr_SetRaisedException(error);
    return -1;
}

static PyObject *task_result(TaskObject *self, PyObject *unused) {
    (void)unused;
    if (check_finished(self, "Result is not set.") < 0)
        return NULL;
    if (self->exception != NULL) {
        PyErr_SetRaisedException(Py_NewRef(self->exception));
        return NULL;
    }
    return Py_NewRef(self->result == NULL ? Py_None : self->result);
}

static PyObject *task_exception(TaskObject *self, PyObject *unused) {
    (void)unused;
    if (check_finished(self, "Exception is not set.") < 0)
        return NULL;
    return Py_NewRef(self->exception == NULL ? Py_None : self->exception);
}

static PyObject *task_set_result(TaskObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyErr_SetString(PyExc_RuntimeError, "Task does not support set_result operation");
    return NULL;
}

static PyObject *task_set_exception(TaskObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyErr_SetString(PyExc_RuntimeError, "Task does not support set_exception operation");
    return NULL;
}

static PyObject *task_make_cancelled_error(TaskObject *self, PyObject *unused) {
    (void)unused;
    return turbopy_task_cancelled_error(self);
}

/* -- callbacks -- */

static int append_callback(TaskObject *self, PyObject *fn, PyObject *context) {
    PyObject *pair = PyTuple_Pack(2, fn, context);
    if (self->callbacks == NULL)
        self->callbacks = PyList_New(0);
    int rc = pair == NULL || self->callbacks == NULL ? -1 : PyList_Append(self->callbacks, pair);
    Py_XDECREF(pair);
    return rc;
}

static PyObject *task_add_done_callback(TaskObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"", "context", NULL};
    PyObject *fn, *context = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:add_done_callback", names, &fn, &context))
        return NULL;
    context = context == NULL || context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
    if (context == NULL)
        return NULL;
    int rc = self->state == TURBOPY_PENDING ? append_callback(self, fn, context)
                                            : turbopy_task_call_soon(self, fn, (PyObject *)self, context);
    Py_DECREF(context);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *task_remove_done_callback(TaskObject *self, PyObject *fn) {
    PyObject *old = self->callbacks, *kept = PyList_New(0);
    Py_ssize_t removed = 0;
    for (Py_ssize_t i = 0; kept != NULL && old != NULL && i < PyList_GET_SIZE(old); i++) {
        PyObject *pair = PyList_GET_ITEM(old, i);
        int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), fn, Py_EQ);
        if (same < 0 || (same == 0 && PyList_Append(kept, pair) < 0))
            Py_CLEAR(kept);
        removed += same > 0;
    }
    if (kept == NULL)
        return NULL;
    Py_XSETREF(self->callbacks, kept);
    return PyLong_FromSsize_t(removed);
}

/* -- cancelling -- */

/* @return 1: what it waits for took the cancellation; 0; -1 */
static int cancel_waiter(TaskObject *self, PyObject *message) {
    turbopy_state *st = self->shard->st;
    if (self->fut_waiter == NULL)
        return 0;
    PyObject *waiter = Py_NewRef(self->fut_waiter);
    PyObject *args[] = {waiter, message};
    PyObject *done = PyObject_VectorcallMethod(st->str_cancel, args, 1, st->msg_kw);
    int yes = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    Py_DECREF(waiter);
    return yes;
}

static PyObject *task_cancel(TaskObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"msg", NULL};
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel", names, &message))
        return NULL;
    if (self->state != TURBOPY_PENDING)
        Py_RETURN_FALSE;
    self->log_traceback = 0;
    self->cancels++;
    int taken = cancel_waiter(self, message);
    if (taken < 0)
        return NULL;
    if (taken == 0) {
        self->must_cancel = 1;
        Py_XSETREF(self->cancel_message, Py_NewRef(message));
    }
    Py_RETURN_TRUE;
}

static PyObject *task_cancelling(TaskObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(self->cancels);
}

static PyObject *task_uncancel(TaskObject *self, PyObject *unused) {
    (void)unused;
    if (self->cancels > 0 && --self->cancels == 0)
        self->must_cancel = 0;
    return PyLong_FromUnsignedLong(self->cancels);
}

/* -- what it is -- */

static PyObject *task_get_loop(TaskObject *self, PyObject *unused) {
    (void)unused;
    return Py_NewRef(self->loop);
}

static PyObject *or_none(PyObject *object) { return Py_NewRef(object == NULL ? Py_None : object); }

static PyObject *task_get_coro(TaskObject *self, PyObject *unused) {
    (void)unused;
    return or_none(self->coro);
}

static PyObject *task_get_context(TaskObject *self, PyObject *unused) {
    (void)unused;
    return or_none(self->context);
}

static PyObject *task_get_name(TaskObject *self, PyObject *unused) {
    (void)unused;
    PyObject *name = turbopy_get(self, &self->name);
    if (name != NULL)
        return name;
    unsigned long long number = __atomic_add_fetch(&self->shard->st->task_names, 1, __ATOMIC_RELAXED);
    return turbopy_made(self, &self->name, PyUnicode_FromFormat("Turbo-%llu", number));
}

static PyObject *task_set_name(TaskObject *self, PyObject *value) {
    PyObject *name = PyObject_Str(value);
    if (name == NULL)
        return NULL;
    turbopy_set(self, &self->name, name);
    Py_RETURN_NONE;
}

/* asyncio.base_tasks knows how; it reads _coro and _exception. */
static PyObject *task_get_stack(TaskObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", NULL};
    PyObject *limit = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:get_stack", names, &limit))
        return NULL;
    return PyObject_CallFunctionObjArgs(self->shard->st->task_get_stack, (PyObject *)self, limit, NULL);
}

static PyObject *task_print_stack(TaskObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", "file", NULL};
    PyObject *limit = Py_None, *file = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OO:print_stack", names, &limit, &file))
        return NULL;
    return PyObject_CallFunctionObjArgs(self->shard->st->task_print_stack, (PyObject *)self, limit, file, NULL);
}

/* To await one of our tasks is rare: asyncio's Python future does it, by done(), result() and _asyncio_future_blocking. */
static PyObject *task_await(TaskObject *self) {
    return PyObject_CallOneArg(self->shard->st->future_await, (PyObject *)self);
}

static const char *state_name(const TaskObject *self) {
    static const char *const names[] = {"PENDING", "CANCELLED", "FINISHED"};
    return names[(int)self->state];
}

static PyObject *task_repr(TaskObject *self) {
    static const char *const words[] = {"pending", "cancelled", "finished"};
    const char *word = self->state == TURBOPY_PENDING && self->must_cancel ? "cancelling" : words[(int)self->state];
    PyObject *name = task_get_name(self, NULL), *text = NULL;
    if (name != NULL && self->fut_waiter != NULL)
        text = PyUnicode_FromFormat("<turbo.Task %s name=%R coro=%R wait_for=%R>", word, name, self->coro, self->fut_waiter);
    else if (name != NULL)
        text = PyUnicode_FromFormat("<turbo.Task %s name=%R coro=%R>", word, name, self->coro == NULL ? Py_None : self->coro);
    Py_XDECREF(name);
    return text;
}

/* -- attributes that asyncio, anyio and debuggers read -- */

static PyObject *get_blocking(TaskObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(self->blocking);
}

static int set_blocking(TaskObject *self, PyObject *value, void *unused) {
    int yes = value == NULL ? -1 : PyObject_IsTrue(value);
    (void)unused;
    if (value == NULL)
        PyErr_SetString(PyExc_AttributeError, "cannot delete attribute");
    if (yes < 0)
        return -1;
    self->blocking = (char)yes;
    return 0;
}

static PyObject *get_state(TaskObject *self, void *unused) {
    (void)unused;
    return PyUnicode_FromString(state_name(self));
}

static PyObject *get_object(TaskObject *self, void *offset) {
    return or_none(*(PyObject **)((char *)self + (size_t)offset));
}

static PyObject *get_must_cancel(TaskObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(self->must_cancel);
}

static PyObject *get_cancels(TaskObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(self->cancels);
}

static PyObject *get_flag(TaskObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(self->log_traceback);
}

static int set_flag(TaskObject *self, PyObject *value, void *unused) {
    (void)unused;
    self->log_traceback = value != NULL && PyObject_IsTrue(value) > 0; /* turbo logs what a handler raises anyway */
    return 0;
}

static PyObject *get_none(TaskObject *self, void *unused) {
    (void)self, (void)unused;
    Py_RETURN_NONE;
}

#define METHOD(name, fn, flags, doc) {name, (PyCFunction)(void (*)(void))fn, flags, doc}

static PyMethodDef task_methods[] = {
    METHOD("done", task_done, METH_NOARGS, "done($self, /)\n--\n\nWhether the coroutine has ended."),
    METHOD("cancelled", task_cancelled, METH_NOARGS, "cancelled($self, /)\n--\n\nWhether it ended by being cancelled."),
    METHOD("result", task_result, METH_NOARGS, "result($self, /)\n--\n\nWhat the coroutine returned or raised."),
    METHOD("exception", task_exception, METH_NOARGS, "exception($self, /)\n--\n\nWhat the coroutine raised, or None."),
    METHOD("set_result", task_set_result, METH_O, "set_result($self, result, /)\n--\n\nNot for tasks: RuntimeError."),
    METHOD("set_exception", task_set_exception, METH_O, "set_exception($self, exception, /)\n--\n\nNot for tasks: RuntimeError."),
    METHOD("add_done_callback", task_add_done_callback, METH_VARARGS | METH_KEYWORDS,
           "add_done_callback($self, fn, *, context=None)\n--\n\nHave the loop call fn(task) once it has ended."),
    METHOD("remove_done_callback", task_remove_done_callback, METH_O,
           "remove_done_callback($self, fn, /)\n--\n\nTake callbacks back; returns how many."),
    METHOD("cancel", task_cancel, METH_VARARGS | METH_KEYWORDS,
           "cancel($self, msg=None)\n--\n\nThrow CancelledError into the coroutine; False when it has ended."),
    METHOD("cancelling", task_cancelling, METH_NOARGS, "cancelling($self, /)\n--\n\nHow many cancel() calls are outstanding."),
    METHOD("uncancel", task_uncancel, METH_NOARGS, "uncancel($self, /)\n--\n\nTake one cancel() back; returns how many are left."),
    METHOD("get_loop", task_get_loop, METH_NOARGS, "get_loop($self, /)\n--\n\nThe event loop."),
    METHOD("get_coro", task_get_coro, METH_NOARGS, "get_coro($self, /)\n--\n\nThe coroutine."),
    METHOD("get_context", task_get_context, METH_NOARGS, "get_context($self, /)\n--\n\nThe context that it runs in."),
    METHOD("get_name", task_get_name, METH_NOARGS, "get_name($self, /)\n--\n\nThe name."),
    METHOD("set_name", task_set_name, METH_O, "set_name($self, value, /)\n--\n\nSet the name."),
    METHOD("get_stack", task_get_stack, METH_VARARGS | METH_KEYWORDS, "get_stack($self, *, limit=None)\n--\n\nA list of frames."),
    METHOD("print_stack", task_print_stack, METH_VARARGS | METH_KEYWORDS,
           "print_stack($self, *, limit=None, file=None)\n--\n\nPrint the stack or traceback."),
    METHOD("_make_cancelled_error", task_make_cancelled_error, METH_NOARGS, NULL),
    METHOD("__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "See PEP 585"),
    {NULL, NULL, 0, NULL},
};

#define OBJECT(name, member) {name, (getter)get_object, NULL, NULL, (void *)offsetof(TaskObject, member)}

static PyGetSetDef task_getset[] = {
    {"_asyncio_future_blocking", (getter)get_blocking, (setter)set_blocking, NULL, NULL},
    {"_state", (getter)get_state, NULL, NULL, NULL},
    {"_must_cancel", (getter)get_must_cancel, NULL, NULL, NULL},
    {"_num_cancels_requested", (getter)get_cancels, NULL, NULL, NULL},
    {"_log_traceback", (getter)get_flag, (setter)set_flag, NULL, NULL},
    {"_log_destroy_pending", (getter)get_flag, (setter)set_flag, NULL, NULL},
    {"_source_traceback", (getter)get_none, NULL, NULL, NULL},
    OBJECT("_coro", coro),
    OBJECT("_loop", loop),
    OBJECT("_context", context),
    OBJECT("_result", result),
    OBJECT("_exception", exception),
    OBJECT("_callbacks", callbacks),
    OBJECT("_fut_waiter", fut_waiter),
    OBJECT("_cancel_message", cancel_message),
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef task_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(TaskObject, weakrefs), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(TaskObject, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot task_slots[] = {
    {Py_tp_doc, "The task that runs a handler's coroutine: asyncio.current_task() in a handler. It can do what an\n"
                "asyncio.Task can, on its loop's thread."},
    {Py_tp_dealloc, task_dealloc},
    {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},
    {Py_tp_members, task_members},
    {Py_tp_repr, task_repr},
    {Py_tp_iter, task_await},
    {Py_am_await, task_await},
    {0, NULL},
};

PyType_Spec turbopy_task_spec = {
    .name = "turbo.Task",
    .basicsize = sizeof(TaskObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = task_slots,
};
