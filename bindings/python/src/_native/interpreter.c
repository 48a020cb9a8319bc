/* interpreter.c - an interpreter for as long as one function runs in it. */
#include "interpreter.h"

#include "server.h"
#include "state.h"

#if TURBOPY_INTERPRETERS
#include <stdlib.h>
#include <string.h>

/* What both interpreters see: no object of one is touched in the other, but for the fields of the server's. */
typedef struct run {
    PyObject *server; /* of the outer one; NULL: none */
    const char *job;  /* UTF-8 */
    char *result;     /* UTF-8, malloc'ed; NULL: None */
    char failed;      /* there is no memory for result */
} run;

/* -- in the new interpreter -- */

/* Its sys.path is that of a Python that has just started. */
static const char find_main[] = "import json, sys\n"
                                "job = json.loads(text)\n"
                                "sys.path[:] = job['path']\n"
                                "from turbo.inside import main\n";

static void set_result(run *self, PyObject *text) {
    const char *utf8 = PyUnicode_AsUTF8(text);
    self->result = utf8 == NULL ? NULL : strdup(utf8);
    self->failed = self->result == NULL;
}

/* The exception that is set, as text. */
static void set_failure(run *self) {
    PyObject *exception = PyErr_GetRaisedException(), *module = PyImport_ImportModule("traceback");
    PyObject *lines = module == NULL ? NULL : PyObject_CallMethod(module, "format_exception", "O", exception);
    PyObject *empty = PyUnicode_FromStringAndSize(NULL, 0);
    PyObject *text = lines == NULL || empty == NULL ? NULL : PyUnicode_Join(empty, lines);
    if (text != NULL)
        set_result(self, text);
    else
        self->failed = 1;
    Py_XDECREF(text);
    Py_XDECREF(empty);
    Py_XDECREF(lines);
    Py_XDECREF(module);
    Py_XDECREF(exception);
    PyErr_Clear();
}

/* @return a dict with "main" and "job"; NULL with an exception. */
static PyObject *prepare(const run *self) {
    PyObject *names = PyDict_New(), *text = PyUnicode_FromString(self->job), *done = NULL;
    if (names != NULL && text != NULL && PyDict_SetItemString(names, "text", text) == 0 &&
        PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyRun_String(find_main, Py_file_input, names, names);
    Py_XDECREF(text);
    if (done == NULL)
        Py_CLEAR(names);
    Py_XDECREF(done);
    return names;
}

static PyObject *join_server(const run *self) {
    PyObject *native, *server = NULL;
    if (self->server == NULL)
        return Py_NewRef(Py_None);
    native = PyImport_ImportModule("turbo._native");
    if (native != NULL)
        server = turbopy_server_join(PyModule_GetState(native), self->server);
    Py_XDECREF(native);
    return server;
}

static void call_main(run *self) {
    PyObject *names = prepare(self), *server = names == NULL ? NULL : join_server(self), *result = NULL;
    if (server != NULL)
        result = PyObject_CallFunction(PyDict_GetItemString(names, "main"), "OO", server,
                                       PyDict_GetItemString(names, "job"));
    Py_XDECREF(server);
    Py_XDECREF(names);
    if (result == NULL)
        set_failure(self);
    else if (result != Py_None)
        set_result(self, result);
    Py_XDECREF(result);
    PyErr_Clear();
}

/* -- in the outer one -- */

/* @return 0; -1 with an exception: there is no new interpreter. */
static int run_inside(run *self) {
    const PyInterpreterConfig config = {
        .use_main_obmalloc = 0,
        .allow_fork = 0,
        .allow_exec = 0,
        .allow_threads = 1,
        .allow_daemon_threads = 0,
        .check_multi_interp_extensions = 1,
        .gil = PyInterpreterConfig_OWN_GIL,
    };
    PyThreadState *outer = PyThreadState_Get(), *inner = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&inner, &config); /* lets go of the outer GIL */
    if (PyStatus_Exception(status)) {
        PyErr_Format(PyExc_RuntimeError, "no new interpreter: %s", status.err_msg == NULL ? "?" : status.err_msg);
        return -1;
    }
    call_main(self);
    Py_EndInterpreter(inner);
    PyEval_RestoreThread(outer);
    return 0;
}

static PyObject *result_of(const run *self) {
    if (self->failed)
        return PyErr_NoMemory();
    if (self->result == NULL)
        Py_RETURN_NONE;
    return PyUnicode_FromString(self->result);
}

PyObject *turbopy_interpreter_run(PyObject *module, PyObject *args) {
    const turbopy_state *st = PyModule_GetState(module);
    PyObject *server, *result;
    run self = {0};
    if (!PyArg_ParseTuple(args, "Os:run_interpreter", &server, &self.job))
        return NULL;
    if (server != Py_None && !Py_IS_TYPE(server, (PyTypeObject *)st->server_type))
        return PyErr_Format(PyExc_TypeError, "not a server: %R", server);
    self.server = server == Py_None ? NULL : server;
    if (run_inside(&self) < 0)
        return NULL;
    result = result_of(&self);
    free(self.result);
    return result;
}

#else

PyObject *turbopy_interpreter_run(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    PyErr_SetString(PyExc_NotImplementedError, "interpreters need CPython 3.13");
    return NULL;
}

#endif
