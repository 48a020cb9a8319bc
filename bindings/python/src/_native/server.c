/*
 * server.c - turbo.Server: set up, start, stop. The threads and loops around it are Python's (executor.py).
 *
 * A server that other interpreters help to serve has an object in each of them. The one that has made it owns everything;
 * those that have joined it have shards and handlers of their own, and read what the owner does not change any more.
 */
#include "server.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <turbo/error.h>
#include <turbo/file.h>
#include <turbo/log.h>
#include <turbo/server.h>
#include <turbo/stats.h>

#include "error.h"
#include "executor.h"
#include "log.h"
#include "route.h"
#include "settings.h"
#include "shard.h"
#include "stats.h"

typedef struct ServerObject {
    PyObject_HEAD
    turbo_server *server;
    turbopy_route *routes;
    size_t route_count;
    PyObject *shards;         /* tuple of Shard                               */
    ShardObject **shard_list; /* the same for the executor; borrowed pointers */
    turbopy_log *log;         /* apart: the library's threads may outlive us  */
    unsigned long long drain_timeout_ms;
    char started, waited;

    const struct ServerObject *origin; /* that of the interpreter which has made the server; NULL: this one */
    turbopy_calls *calls;              /* with an origin: of its routes, by their number                    */
    size_t call_count;
} ServerObject;

/* -- making -- */

/* A setting that the table has. */
static uint64_t number_of(const turbo_options *options, const char *name) {
    uint64_t value = 0;
    (void)turbo_options_get_u64(options, name, &value);
    return value;
}

static turbo_options *make_options(PyObject *defaults, PyObject *settings) {
    turbo_options *options;
    int rc = turbo_options_new(&options);
    if (rc < 0) {
        turbopy_raise(rc, NULL);
        return NULL;
    }
    if (turbopy_settings_apply(options, defaults) < 0)
        goto fail;
    if ((rc = turbo_options_load_env(options)) < 0) {
        turbopy_raise(rc, turbo_options_error(options));
        goto fail;
    }
    if (turbopy_settings_apply(options, settings) < 0)
        goto fail;
    if (number_of(options, "io_threads") == 0) {
        PyErr_SetString(PyExc_ValueError, "io_threads: 0 is out of range, allowed are 1 to 256: shards that do their own "
                                          "I/O are not possible with Python handlers yet");
        goto fail;
    }
    return options;
fail:
    turbo_options_free(options);
    return NULL;
}

static int make_log(ServerObject *self, int level) {
    self->log = PyMem_RawCalloc(1, sizeof *self->log);
    if (self->log == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (turbopy_log_open(self->log) < 0) {
        PyMem_RawFree(self->log);
        self->log = NULL;
        return -1;
    }
    int rc = turbo_server_set_log(self->server, level, turbopy_log_put, self->log);
    if (rc < 0)
        turbopy_raise(rc, NULL);
    return rc;
}

static int make_shards(ServerObject *self) {
    turbopy_state *st = turbopy_state_of(self);
    size_t count = turbo_server_shard_count(self->server);
    self->shards = PyTuple_New((Py_ssize_t)count);
    self->shard_list = PyMem_Calloc(count, sizeof *self->shard_list);
    if (self->shards == NULL || self->shard_list == NULL)
        return -1;
    for (size_t i = 0; i < count; i++) {
        ShardObject *shard = turbopy_shard_new(st, (PyObject *)self, turbo_server_shard(self->server, i), i);
        if (shard == NULL)
            return -1;
        shard->calls = self->calls;
        shard->place = self->origin == NULL ? NULL : &self->origin->shard_list[i];
        PyTuple_SET_ITEM(self->shards, (Py_ssize_t)i, (PyObject *)shard);
        self->shard_list[i] = shard;
    }
    return 0;
}

static int make_executor(ServerObject *self) {
    turbo_executor_ops ops = turbopy_executor_ops();
    int rc = turbo_server_set_executor(self->server, &ops, self->shard_list);
    if (rc < 0)
        turbopy_raise(rc, turbo_server_error(self->server));
    return rc;
}

static PyObject *server_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"settings", "defaults", "log_level", NULL};
    PyObject *settings, *defaults;
    int level = TURBO_LOG_INFO;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!|i:Server", names, &PyDict_Type, &settings, &PyDict_Type,
                                     &defaults, &level))
        return NULL;
    turbo_options *options = make_options(defaults, settings);
    if (options == NULL)
        return NULL;
    ServerObject *self = (ServerObject *)type->tp_alloc(type, 0);
    int rc = self == NULL ? 0 : turbo_server_new(&self->server, options);
    if (self != NULL)
        self->drain_timeout_ms = number_of(options, "drain_timeout_ms");
    turbo_options_free(options);
    if (rc < 0)
        turbopy_raise(rc, NULL);
    if (rc < 0 || self == NULL || make_log(self, level) < 0 || make_shards(self) < 0 || make_executor(self) < 0) {
        Py_XDECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyObject *turbopy_server_join(turbopy_state *st, PyObject *server) {
    const ServerObject *origin = (const ServerObject *)server; /* of another interpreter: its fields, not the object */
    PyTypeObject *type = (PyTypeObject *)st->server_type;
    ServerObject *self = (ServerObject *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->origin = origin;
    self->server = origin->server;
    self->log = origin->log;
    self->drain_timeout_ms = origin->drain_timeout_ms;
    self->calls = PyMem_Calloc(origin->route_count + 1, sizeof *self->calls);
    if (self->calls == NULL)
        PyErr_NoMemory();
    if (self->calls == NULL || make_shards(self) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

/* -- life -- */

static int server_traverse(ServerObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->shards);
    for (turbopy_route *route = self->routes; route != NULL; route = route->next) {
        Py_VISIT(route->calls.handler);
        Py_VISIT(route->calls.weight);
    }
    for (size_t i = 0; i < self->call_count; i++) {
        Py_VISIT(self->calls[i].handler);
        Py_VISIT(self->calls[i].weight);
    }
    return 0;
}

/* Only a server that does not run is ever unreachable: threads hold the shards of a running one, and those hold it. */
static int server_clear(ServerObject *self) {
    Py_CLEAR(self->shards);
    for (turbopy_route *route = self->routes; route != NULL; route = route->next) {
        Py_CLEAR(route->calls.handler);
        Py_CLEAR(route->calls.weight);
    }
    for (size_t i = 0; i < self->call_count; i++) {
        Py_CLEAR(self->calls[i].handler);
        Py_CLEAR(self->calls[i].weight);
    }
    return 0;
}

static void free_routes(ServerObject *self) {
    while (self->routes != NULL) {
        turbopy_route *route = self->routes;
        self->routes = route->next;
        PyMem_Free(route->content_type);
        PyMem_Free(route);
    }
}

static void free_server(ServerObject *self) {
    int running = self->started && !self->waited; /* only when the interpreter ends without stop(): leave all in place */
    turbo_server_release(self->server);
    if (running)
        return;
    free_routes(self);
    PyMem_Free(self->shard_list);
    if (self->log != NULL)
        turbopy_log_close(self->log);
    PyMem_RawFree(self->log);
}

static void free_joined(ServerObject *self) {
    PyMem_Free(self->calls);
    PyMem_Free(self->shard_list);
}

static void server_dealloc(ServerObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)server_clear(self);
    if (self->origin == NULL)
        free_server(self);
    else
        free_joined(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* -- set up -- */

static PyObject *result_of(const ServerObject *self, int rc) {
    if (rc < 0)
        return turbopy_raise(rc, turbo_server_error(self->server));
    Py_RETURN_NONE;
}

static PyObject *server_listen(ServerObject *self, PyObject *address) {
    int rc;
    const char *text = PyUnicode_Check(address) ? PyUnicode_AsUTF8(address) : NULL;
    if (text == NULL)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "an address is str, not %.100s",
                                                      Py_TYPE(address)->tp_name);
    Py_BEGIN_ALLOW_THREADS /* a name may be looked up */
    rc = turbo_server_listen(self->server, text);
    Py_END_ALLOW_THREADS
    return result_of(self, rc);
}

static PyObject *server_listen_fd(ServerObject *self, PyObject *number) {
    int fd = PyObject_AsFileDescriptor(number);
    return fd < 0 ? NULL : result_of(self, turbo_server_listen_fd(self->server, fd));
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = PyMem_Malloc(size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
}

/* A new route in front of the server's list. */
static turbopy_route *add_record(ServerObject *self, PyObject *handler, const char *content_type) {
    turbopy_route *route = PyMem_Calloc(1, sizeof *route);
    if (route == NULL || (content_type != NULL && (route->content_type = copy_text(content_type)) == NULL)) {
        PyMem_Free(route);
        PyErr_NoMemory();
        return NULL;
    }
    route->calls.handler = Py_NewRef(handler);
    route->index = self->route_count++;
    route->next = self->routes;
    self->routes = route;
    return route;
}

static void drop_first_record(ServerObject *self) {
    turbopy_route *route = self->routes;
    self->routes = route->next;
    self->route_count--;
    Py_DECREF(route->calls.handler);
    Py_XDECREF(route->calls.weight);
    PyMem_Free(route->content_type);
    PyMem_Free(route);
}

static int register_route(ServerObject *self, const char *method, const char *pattern,
                          turbo_route_options *options) {
    turbopy_route *route = self->routes;
    if (route->calls.weight != NULL)
        (void)turbo_route_options_set_weight(options, turbopy_weigh, route);
    return route->is_batch
               ? turbo_server_route_batch(self->server, method, pattern, options, turbopy_executor_batch, route)
               : turbo_server_route(self->server, method, pattern, options, turbopy_executor_fail, route);
}

/* @return NULL with an exception. */
static turbo_route_options *route_options(PyObject *values) {
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0) {
        turbopy_raise(rc, NULL);
        return NULL;
    }
    if (turbopy_settings_apply_route(options, values) < 0) {
        turbo_route_options_free(options);
        return NULL;
    }
    return options;
}

static PyObject *route_with(ServerObject *self, const char *method, const char *pattern, PyObject *values) {
    turbo_route_options *options = route_options(values);
    if (options == NULL)
        return NULL;
    int rc = register_route(self, method, pattern, options);
    turbo_route_options_free(options);
    return result_of(self, rc);
}

static char is_streamed(PyObject *options) {
    PyObject *body = PyDict_GetItemString(options, "body"); /* route_with() checks it */
    return body != NULL && PyUnicode_Check(body) && PyUnicode_CompareWithASCIIString(body, "streamed") == 0;
}

/* The routes are there already, in this order. */
static PyObject *keep_calls(ServerObject *self, PyObject *handler, PyObject *weight) {
    if (self->call_count == self->origin->route_count)
        return turbopy_raise(TURBO_ESTATE, "the server has no more routes");
    turbopy_calls *calls = &self->calls[self->call_count++];
    calls->handler = Py_NewRef(handler);
    calls->weight = weight == Py_None ? NULL : Py_NewRef(weight);
    Py_RETURN_NONE;
}

static PyObject *server_route(ServerObject *self, PyObject *args) {
    const char *method, *pattern, *content_type;
    PyObject *handler, *options, *weight;
    int is_async, is_batch, is_pooled;
    if (!PyArg_ParseTuple(args, "zsOpppzO!O:route", &method, &pattern, &handler, &is_async, &is_batch, &is_pooled,
                          &content_type, &PyDict_Type, &options, &weight))
        return NULL;
    if (!PyCallable_Check(handler))
        return PyErr_Format(PyExc_TypeError, "the handler of %s is not callable", pattern);
    if (self->origin != NULL)
        return keep_calls(self, handler, weight);
    turbopy_route *route = add_record(self, handler, content_type);
    if (route == NULL)
        return NULL;
    route->calls.weight = weight == Py_None ? NULL : Py_NewRef(weight);
    route->is_async = (char)is_async;
    route->is_batch = (char)is_batch;
    route->is_pooled = (char)is_pooled;
    route->is_streamed = is_streamed(options);
    PyObject *done = route_with(self, method, pattern, options);
    if (done == NULL)
        drop_first_record(self);
    return done;
}

static PyObject *server_route_stats(ServerObject *self, PyObject *args) {
    const char *json_path, *metrics_path;
    if (!PyArg_ParseTuple(args, "zz:route_stats", &json_path, &metrics_path))
        return NULL;
    return result_of(self, turbo_server_route_stats(self->server, json_path, metrics_path));
}

/* Files are opened on I/O threads, which never hold the GIL: the shard's executor runs Python's handlers only. */
static PyObject *server_route_static(ServerObject *self, PyObject *args) {
    const char *pattern;
    PyObject *root, *values;
    if (!PyArg_ParseTuple(args, "sO&O!:route_static", &pattern, PyUnicode_FSConverter, &root, &PyDict_Type, &values))
        return NULL;
    turbo_route_options *options = route_options(values);
    int rc = 0;
    if (options != NULL && (rc = turbo_route_options_set(options, "executor", "inline")) == 0)
        rc = turbo_server_route_static(self->server, pattern, PyBytes_AS_STRING(root), options);
    Py_DECREF(root);
    if (options == NULL)
        return NULL;
    turbo_route_options_free(options);
    return result_of(self, rc);
}

/* -- start and stop -- */

static PyObject *server_start(ServerObject *self, PyObject *unused) {
    int rc;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    rc = turbo_server_start(self->server);
    Py_END_ALLOW_THREADS
    if (rc == 0)
        TURBOPY_SET_FLAG(self->started, 1);
    return result_of(self, rc);
}

static PyObject *server_stop(ServerObject *self, PyObject *unused) {
    (void)unused;
    return result_of(self, turbo_server_stop(self->server, NULL, NULL));
}

static PyObject *server_abort(ServerObject *self, PyObject *unused) {
    (void)unused;
    return result_of(self, turbo_server_abort(self->server));
}

static PyObject *server_wait(ServerObject *self, PyObject *unused) {
    int rc;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    rc = turbo_server_wait(self->server);
    Py_END_ALLOW_THREADS
    if (rc == 0)
        TURBOPY_SET_FLAG(self->waited, 1);
    return result_of(self, rc);
}

/* -- looking -- */

static PyObject *server_stats(ServerObject *self, PyObject *unused) {
    (void)unused;
    return turbopy_stats_of_server(self->server);
}

static PyObject *server_stats_text(ServerObject *self, PyObject *args) {
    int prometheus = 0;
    char *text;
    size_t len;
    if (!PyArg_ParseTuple(args, "|p:stats_text", &prometheus))
        return NULL;
    int rc = turbo_server_stats_text(self->server, prometheus ? TURBO_STATS_PROMETHEUS : TURBO_STATS_JSON, &text, &len);
    if (rc < 0)
        return turbopy_raise(rc, NULL);
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)len, "replace");
    turbo_free(text);
    return result;
}

static PyObject *server_take_logs(ServerObject *self, PyObject *unused) {
    (void)unused;
    return turbopy_log_take(self->log);
}

static PyObject *server_port(ServerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(turbo_server_port(self->server));
}

static PyObject *server_log_fd(ServerObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(self->log->fd);
}

static PyMethodDef server_methods[] = {
    {"listen", (PyCFunction)server_listen, METH_O, "listen($self, address, /)\n--\n\nBind \"host:port\" or \"unix:/path\"."},
    {"listen_fd", (PyCFunction)server_listen_fd, METH_O, "listen_fd($self, fd, /)\n--\n\nUse a listening socket; takes the descriptor."},
    {"route", (PyCFunction)server_route, METH_VARARGS,
     "route($self, method, pattern, handler, is_async, is_batch, is_pooled, content_type, options, weight, /)\n--\n\nRegister a handler."},
    {"route_stats", (PyCFunction)server_route_stats, METH_VARARGS,
     "route_stats($self, json_path, metrics_path, /)\n--\n\nServe the counters."},
    {"route_static", (PyCFunction)server_route_static, METH_VARARGS,
     "route_static($self, pattern, root, options, /)\n--\n\nServe the files below a directory."},
    {"start", (PyCFunction)server_start, METH_NOARGS, "start($self, /)\n--\n\nStart the threads and accept."},
    {"stop", (PyCFunction)server_stop, METH_NOARGS, "stop($self, /)\n--\n\nBegin to stop. Any thread; does not wait."},
    {"abort", (PyCFunction)server_abort, METH_NOARGS, "abort($self, /)\n--\n\nEnd a drain now. Any thread; does not wait."},
    {"wait", (PyCFunction)server_wait, METH_NOARGS, "wait($self, /)\n--\n\nWait until the server has stopped."},
    {"stats", (PyCFunction)server_stats, METH_NOARGS, "stats($self, /)\n--\n\nThe counters: a dict. Any thread."},
    {"stats_text", (PyCFunction)server_stats_text, METH_VARARGS,
     "stats_text($self, prometheus=False, /)\n--\n\nThe counters as JSON or as Prometheus text. Any thread."},
    {"take_logs", (PyCFunction)server_take_logs, METH_NOARGS,
     "take_logs($self, /)\n--\n\nMessages of the library: a list of (level, text), level 1 (error) to 4 (debug)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef server_getset[] = {
    {"port", (getter)server_port, NULL, "The port of the first TCP listener; 0 without one.", NULL},
    {"log_fd", (getter)server_log_fd, NULL, "Readable when take_logs() has something.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef server_members[] = {
    {"shards", T_OBJECT, offsetof(ServerObject, shards), READONLY, "A tuple of turbo.Shard."},
    {"drain_timeout_ms", T_ULONGLONG, offsetof(ServerObject, drain_timeout_ms), READONLY, "The setting."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot server_slots[] = {
    {Py_tp_doc, "Server(settings, defaults, log_level=3)\n--\n\n"
                "libturbo's server with driven shards. defaults are applied first, then the environment (TURBO_*), then\n"
                "settings. Raises ValueError or TypeError naming the setting, the value and the range."},
    {Py_tp_new, server_new},
    {Py_tp_dealloc, server_dealloc},
    {Py_tp_traverse, server_traverse},
    {Py_tp_clear, server_clear},
    {Py_tp_methods, server_methods},
    {Py_tp_getset, server_getset},
    {Py_tp_members, server_members},
    {0, NULL},
};

PyType_Spec turbopy_server_spec = {
    .name = "turbo.Server",
    .basicsize = sizeof(ServerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = server_slots,
};
