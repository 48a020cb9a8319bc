/* shard.c - turbo.Shard: polling from a loop, late answers, timers. */
#include "shard.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <turbo/error.h>
#include <turbo/stats.h>

#include "answer.h"
#include "error.h"
#include "executor.h"
#include "stats.h"
#include "task.h"

#define POLLS_MAX 4 /* batches before the loop's other callbacks have their turn */

/* -- life -- */

ShardObject *turbopy_shard_new(turbopy_state *st, PyObject *server, turbo_shard *shard, size_t index) {
    PyTypeObject *type = (PyTypeObject *)st->shard_type;
    ShardObject *self = (ShardObject *)type->tp_alloc(type, 0); /* zeroed and tracked */
    if (self == NULL)
        return NULL;
    self->st = st;
    self->shard = shard;
    self->index = (Py_ssize_t)index;
    self->server = Py_NewRef(server);
    self->data = PyDict_New();
    if (self->data == NULL)
        Py_CLEAR(self);
    return self;
}

static int shard_traverse(ShardObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->server);
    Py_VISIT(self->data);
    Py_VISIT(self->loop);
    Py_VISIT(self->post);
    Py_VISIT(self->call_soon);
    Py_VISIT(self->call_later);
    Py_VISIT(self->poll_fn);
    Py_VISIT(self->late_fn);
    Py_VISIT(self->on_timer_fn);
    Py_VISIT(self->on_closed);
    Py_VISIT(self->new_background);
    Py_VISIT(self->exception_handlers);
    Py_VISIT(self->timer);
    Py_VISIT(self->carrier);
    return 0;
}

/* Handlers of the pool may still look at these. */
static void forget_loop(ShardObject *self) {
    PyObject **const places[] = {&self->timer,      &self->loop,        &self->post,
                                 &self->call_soon,  &self->call_later,  &self->poll_fn,
                                 &self->late_fn,    &self->on_timer_fn, &self->on_closed,
                                 &self->new_background, &self->exception_handlers};
    Py_CLEAR(self->carrier);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        turbopy_set(self, places[i], NULL);
}

static int shard_clear(ShardObject *self) {
    forget_loop(self);
    Py_CLEAR(self->data);
    Py_CLEAR(self->server);
    return 0;
}

static void shard_dealloc(ShardObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    turbopy_watch_clear(&self->watch);
    turbopy_weighed_clear(&self->weighed);
    turbopy_text_free(&self->text);
    (void)shard_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- the loop -- */

/* Have the loop call one of our functions soon. @return whether it will. */
static char call_soon(ShardObject *self, PyObject *fn) {
    if (self->call_soon == NULL)
        return 0;
    PyObject *handle = PyObject_CallOneArg(self->call_soon, fn);
    if (handle == NULL) {
        PyErr_Clear(); /* the loop was closed: nothing will be sent any more */
        return 0;
    }
    Py_DECREF(handle);
    return 1;
}

int turbopy_shard_is_here(const ShardObject *self) {
    return __atomic_load_n(&self->thread, __ATOMIC_RELAXED) == PyThread_get_thread_ident();
}

/* @return 0; -1 with RuntimeError: what follows is for the shard's thread. */
static int check_here(const ShardObject *self) {
    if (turbopy_shard_is_here(self))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "this is not the shard's thread");
    return -1;
}

void turbopy_shard_answered(ShardObject *self) {
    if (turbopy_shard_is_here(self) && !self->polling && !self->late_scheduled)
        self->late_scheduled = call_soon(self, self->late_fn);
}

static int loop_time(ShardObject *self, double *out) {
    PyObject *now = PyObject_CallMethodNoArgs(self->loop, self->st->str_time);
    *out = now == NULL ? -1 : PyFloat_AsDouble(now);
    Py_XDECREF(now);
    return PyErr_Occurred() ? -1 : 0;
}

static void cancel_timer(ShardObject *self) {
    PyObject *timer = self->timer, *done;
    if (timer == NULL)
        return;
    self->timer = NULL;
    done = PyObject_CallMethodNoArgs(timer, self->st->str_cancel);
    turbopy_unraisable(timer);
    Py_XDECREF(done);
    Py_DECREF(timer);
}

/* The library wants to be polled in ms: a batch that waits for more requests. */
static int set_timer(ShardObject *self, int ms) {
    double now, at;
    if (loop_time(self, &now) < 0)
        return -1;
    at = now + ms / 1000.0;
    if (self->timer != NULL && self->timer_at <= at)
        return 0;
    cancel_timer(self);
    self->timer_at = at;
    self->timer = PyObject_CallFunction(self->call_later, "dO", ms / 1000.0, self->on_timer_fn);
    return self->timer == NULL ? -1 : 0;
}

static void plan_next(ShardObject *self, int more) {
    int ms = more ? 0 : turbo_shard_timeout_ms(self->shard);
    if (ms == 0 && !self->poll_scheduled)
        self->poll_scheduled = call_soon(self, self->poll_fn);
    else if (ms > 0 && set_timer(self, ms) < 0)
        turbopy_unraisable((PyObject *)self);
}

/* The task factory may be set at any time; asked once a poll, not once a request. */
static void look_for_factory(ShardObject *self) {
    PyObject *factory = PyObject_CallMethodNoArgs(self->loop, self->st->str_get_task_factory);
    turbopy_unraisable(self->loop);
    self->has_factory = factory != NULL && factory != Py_None;
    Py_XDECREF(factory);
}

static void closed(ShardObject *self) {
    cancel_timer(self);
    PyObject *fn = Py_XNewRef(self->on_closed), *done = fn == NULL ? NULL : PyObject_CallNoArgs(fn);
    turbopy_unraisable(fn);
    Py_XDECREF(done);
    Py_XDECREF(fn);
}

static int poll_some(ShardObject *self) {
    int rc = 1;
    look_for_factory(self);
    self->polling = 1;
    for (int i = 0; i < POLLS_MAX && rc == 1; i++)
        rc = turbo_shard_poll(self->shard);
    turbopy_task_leave(self);
    self->polling = 0;
    return rc;
}

static PyObject *shard_poll(ShardObject *self, PyObject *unused) {
    (void)unused;
    if (check_here(self) < 0)
        return NULL;
    self->poll_scheduled = 0;
    if (self->closed || self->polling || self->loop == NULL)
        Py_RETURN_NONE;
    int rc = poll_some(self);
    if (rc == TURBO_ECLOSED) {
        TURBOPY_SET_FLAG(self->closed, 1);
        closed(self);
    } else if (rc < 0) {
        return turbopy_raise(rc, NULL);
    } else {
        plan_next(self, rc);
    }
    Py_RETURN_NONE;
}

/* Send what was answered since the last poll. The answers may have opened a full gate, and nothing else tells. */
static PyObject *shard_late(ShardObject *self, PyObject *unused) {
    if (check_here(self) < 0)
        return NULL;
    self->late_scheduled = 0;
    turbo_shard_flush(self->shard);
    return turbo_shard_queued(self->shard) > 0 ? shard_poll(self, unused) : Py_NewRef(Py_None);
}

static PyObject *shard_on_timer(ShardObject *self, PyObject *unused) {
    if (check_here(self) < 0)
        return NULL;
    Py_CLEAR(self->timer);
    return shard_poll(self, unused);
}

/* -- attaching -- */

static int keep_methods(ShardObject *self, PyObject *loop) {
    self->call_soon = PyObject_GetAttr(loop, self->st->str_call_soon);
    self->call_later = PyObject_GetAttr(loop, self->st->str_call_later);
    self->poll_fn = PyObject_GetAttrString((PyObject *)self, "poll");
    self->late_fn = PyObject_GetAttrString((PyObject *)self, "_late");
    self->on_timer_fn = PyObject_GetAttrString((PyObject *)self, "_on_timer");
    return PyErr_Occurred() ? -1 : 0;
}

static int set_task_mode(ShardObject *self, const char *tasks) {
    static const char *const names[] = {"turbo", "stock", "posted"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(tasks, names[i]) == 0) {
            self->task_mode = (char)i; /* TURBOPY_TASK_* */
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "no way to run coroutines: \"%.40s\"", tasks);
    return -1;
}

static PyObject *shard_attach(ShardObject *self, PyObject *args) {
    PyObject *loop, *post, *on_closed, *new_background, *handlers;
    const char *tasks;
    if (!PyArg_ParseTuple(args, "OOOsOO!:attach", &loop, &post, &on_closed, &tasks, &new_background, &PyDict_Type, &handlers))
        return NULL;
    if (self->loop != NULL || self->closed)
        return turbopy_raise(TURBO_ESTATE, "the shard has, or had, a loop");
    if (set_task_mode(self, tasks) < 0 || keep_methods(self, loop) < 0) {
        forget_loop(self);
        return NULL;
    }
    __atomic_store_n(&self->thread, PyThread_get_thread_ident(), __ATOMIC_RELAXED);
    self->on_closed = Py_NewRef(on_closed);
    turbopy_set(self, &self->loop, Py_NewRef(loop));
    turbopy_set(self, &self->post, Py_NewRef(post));
    turbopy_set(self, &self->new_background, Py_NewRef(new_background));
    turbopy_set(self, &self->exception_handlers, PyDict_GET_SIZE(handlers) == 0 ? NULL : Py_NewRef(handlers));
    if (self->place != NULL)
        *self->place = self;
    Py_RETURN_NONE;
}

static PyObject *shard_drive(ShardObject *self, PyObject *unused) {
    (void)unused;
    int fd = turbo_shard_fd(self->shard);
    return fd < 0 ? turbopy_raise(fd, NULL) : PyLong_FromLong(fd);
}

static PyObject *shard_detach(ShardObject *self, PyObject *unused) {
    (void)unused;
    if (self->loop != NULL && check_here(self) < 0)
        return NULL;
    cancel_timer(self);
    forget_loop(self);
    Py_RETURN_NONE;
}

static PyObject *shard_forget(ShardObject *self, PyObject *unused) {
    (void)unused;
    if (turbopy_seen(&self->loop) != NULL)
        return turbopy_raise(TURBO_ESTATE, "the shard has a loop");
    turbopy_watch_clear(&self->watch);
    turbopy_weighed_clear(&self->weighed);
    Py_RETURN_NONE;
}

void turbopy_shard_cancel_tasks(ShardObject *self) {
    PyObject *requests = turbopy_watch_list(&self->watch);
    for (Py_ssize_t i = 0; requests != NULL && i < PyList_GET_SIZE(requests); i++) {
        RequestObject *request = (RequestObject *)PyList_GET_ITEM(requests, i);
        PyObject *task = request->told ? NULL : Py_XNewRef(request->task); /* once: it may await while it cleans up */
        PyObject *done = task == NULL ? NULL : PyObject_CallMethodNoArgs(task, self->st->str_cancel);
        request->told = 1;
        turbopy_unraisable(task);
        Py_XDECREF(done);
        Py_XDECREF(task);
    }
    turbopy_unraisable((PyObject *)self);
    Py_XDECREF(requests);
}

/* Tasks of requests that go on; a batch's is there once for each of its requests. */
static PyObject *shard_tasks(ShardObject *self, PyObject *unused) {
    if (check_here(self) < 0)
        return NULL;
    PyObject *requests = turbopy_watch_list(&self->watch), *tasks = PySet_New(NULL);
    (void)unused;
    for (Py_ssize_t i = 0; requests != NULL && tasks != NULL && i < PyList_GET_SIZE(requests); i++) {
        PyObject *task = ((RequestObject *)PyList_GET_ITEM(requests, i))->task;
        if (task != NULL && PySet_Add(tasks, task) < 0)
            Py_CLEAR(tasks);
    }
    if (requests == NULL)
        Py_CLEAR(tasks);
    Py_XDECREF(requests);
    return tasks;
}

/* -- the pool -- */

static PyObject *shard_run_pool(ShardObject *self, PyObject *unused) {
    turbo_request *req = NULL;
    (void)unused;
    for (;;) {
        int rc;
        Py_BEGIN_ALLOW_THREADS
        rc = turbo_shard_pool_next(self->shard, req, &req);
        Py_END_ALLOW_THREADS
        if (rc < 0)
            break;
        turbopy_executor_run_pooled(self, req);
    }
    Py_RETURN_NONE;
}

static PyObject *shard_finish(ShardObject *self, PyObject *args) {
    PyObject *request, *result;
    int what; /* TURBOPY_FOR_REQUEST or TURBOPY_FOR_FAILED */
    if (!PyArg_ParseTuple(args, "iO!O:_finish", &what, self->st->request_type, &request, &result))
        return NULL;
    if (check_here(self) < 0)
        return NULL;
    turbopy_dispatch(self, what, request, Py_NewRef(result));
    Py_RETURN_NONE;
}

/* -- attributes -- */

static PyObject *shard_stats(ShardObject *self, PyObject *unused) {
    (void)unused;
    return turbopy_stats_of_shard(self->shard);
}

static PyObject *shard_queued(ShardObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(turbo_shard_queued(self->shard));
}

static PyObject *shard_inflight(ShardObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(turbo_shard_inflight(self->shard));
}

static PyObject *shard_repr(ShardObject *self) {
    return PyUnicode_FromFormat("<turbo.Shard %zd>", self->index);
}

static PyMethodDef shard_methods[] = {
    {"stats", (PyCFunction)shard_stats, METH_NOARGS, "stats($self, /)\n--\n\nThe shard's counters: a dict. Any thread."},
    {"attach", (PyCFunction)shard_attach, METH_VARARGS,
     "attach($self, loop, post, on_closed, tasks, new_background, exception_handlers, /)\n--\n\nUse a loop, on its thread."},
    {"drive", (PyCFunction)shard_drive, METH_NOARGS,
     "drive($self, /)\n--\n\nThe descriptor to watch with poll(), once the server has started."},
    {"detach", (PyCFunction)shard_detach, METH_NOARGS, "detach($self, /)\n--\n\nForget the loop."},
    {"forget", (PyCFunction)shard_forget, METH_NOARGS,
     "forget($self, /)\n--\n\nLet go of what requests wait for; after the server has stopped."},
    {"poll", (PyCFunction)shard_poll, METH_NOARGS, "poll($self, /)\n--\n\nDo what is due. Callback of the loop."},
    {"tasks", (PyCFunction)shard_tasks, METH_NOARGS, "tasks($self, /)\n--\n\nA set of the tasks of all requests."},
    {"run_pool", (PyCFunction)shard_run_pool, METH_NOARGS,
     "run_pool($self, /)\n--\n\nRun handlers of routes with threads=; one of the pool's threads, until the shard ends."},
    {"_finish", (PyCFunction)shard_finish, METH_VARARGS, NULL},
    {"_late", (PyCFunction)shard_late, METH_NOARGS, NULL},
    {"_on_timer", (PyCFunction)shard_on_timer, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyObject *shard_pool_threads(ShardObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(turbo_shard_pool_threads(self->shard));
}

static PyObject *shard_draining(ShardObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(turbo_shard_draining(self->shard));
}

static PyObject *shard_loop(ShardObject *self, void *unused) {
    PyObject *loop = turbopy_get(self, &self->loop);
    (void)unused;
    return loop != NULL ? loop : Py_NewRef(Py_None);
}

static PyObject *shard_closed(ShardObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(TURBOPY_FLAG(self->closed));
}

static PyGetSetDef shard_getset[] = {
    {"draining", (getter)shard_draining, NULL,
     "Whether a stop has begun: what streams without an end of its own ends then.", NULL},
    {"pool_threads", (getter)shard_pool_threads, NULL, "Threads of the pool, for routes with threads=.", NULL},
    {"loop", (getter)shard_loop, NULL, "The asyncio loop; None before and after it runs.", NULL},
    {"closed", (getter)shard_closed, NULL, "Whether the shard has ended.", NULL},
    {"queued", (getter)shard_queued, NULL, "Requests that wait.", NULL},
    {"inflight", (getter)shard_inflight, NULL, "Requests that handlers work on.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef shard_members[] = {
    {"index", T_PYSSIZET, offsetof(ShardObject, index), READONLY, "The shard's number, from 0."},
    {"state", T_OBJECT, offsetof(ShardObject, data), READONLY,
     "A dict for handlers: what a shard owns needs no lock, its handlers run on one thread."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot shard_slots[] = {
    {Py_tp_doc, "A shard: a queue of requests with an event loop and a thread of its own."},
    {Py_tp_dealloc, shard_dealloc},
    {Py_tp_traverse, shard_traverse},
    {Py_tp_clear, shard_clear},
    {Py_tp_methods, shard_methods},
    {Py_tp_getset, shard_getset},
    {Py_tp_members, shard_members},
    {Py_tp_repr, shard_repr},
    {0, NULL},
};

PyType_Spec turbopy_shard_spec = {
    .name = "turbo.Shard",
    .basicsize = sizeof(ShardObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = shard_slots,
};
