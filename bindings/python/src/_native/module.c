/* module.c - turbo._native: makes the module's state. */
#include <turbo/version.h>

#include "error.h"
#include "fields.h"
#include "interpreter.h"
#include "json.h"
#include "request.h"
#include "response.h"
#include "server.h"
#include "settings.h"
#include "shard.h"
#include "state.h"
#include "task.h"

/* -- functions -- */

static turbopy_state *state_of_module(PyObject *module) { return PyModule_GetState(module); }

static PyObject *module_settings(PyObject *module, PyObject *unused) {
    (void)unused;
    return turbopy_settings(state_of_module(module));
}

static PyObject *module_set_hooks(PyObject *module, PyObject *args, PyObject *kwargs) {
    turbopy_state *st = state_of_module(module);
    const struct {
        const char *name;
        PyObject **place;
    } hooks[] = {{"log_failure", &st->log_failure}, {"pump", &st->pump},
                 {"discard", &st->discard},         {"respond", &st->respond},
                 {"await_any", &st->await_any},     {"bad_json", &st->bad_json},
                 {"http_error", &st->HTTPError},    {"json_dumps", &st->json_dumps},
                 {"json_loads", &st->json_loads},   {"body_error", &st->BodyError},
                 {"client_disconnect", &st->ClientDisconnect},
                 {"body_stream", &st->body_stream}, {"body_read", &st->body_read}};
    (void)args;
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        PyObject *hook = kwargs == NULL ? NULL : PyDict_GetItemString(kwargs, hooks[i].name);
        if (hook == NULL)
            return PyErr_Format(PyExc_TypeError, "set_hooks() is missing %s", hooks[i].name);
        if (*hooks[i].place != hook) /* importlib.reload(turbo) gives the same ones while shards use them */
            Py_XSETREF(*hooks[i].place, Py_NewRef(hook));
    }
    Py_RETURN_NONE;
}

static PyObject *module_json_encode(PyObject *module, PyObject *value) {
    turbopy_text text = {0};
    PyObject *bytes = NULL;
    if (turbopy_json_encode(state_of_module(module), &text, value, &bytes) == 1)
        bytes = PyBytes_FromStringAndSize(text.data, (Py_ssize_t)text.len);
    turbopy_text_free(&text);
    return bytes;
}

#ifdef Py_GIL_DISABLED
/* What the definition of an extension module says. @return True or False; None: it has no slots, and may have said so in code. */
static PyObject *stance_of(PyObject *module) {
    const PyModuleDef *def = PyModule_GetDef(module);
    if (def == NULL || def->m_slots == NULL) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    for (const PyModuleDef_Slot *slot = def->m_slots; slot->slot != 0; slot++)
        if (slot->slot == Py_mod_gil)
            return PyBool_FromLong(slot->value == Py_MOD_GIL_USED);
    Py_RETURN_TRUE;
}
#endif

static PyObject *module_needs_gil(PyObject *module, PyObject *other) {
    (void)module;
    if (!PyModule_Check(other))
        return PyErr_Format(PyExc_TypeError, "a module, not %.100s", Py_TYPE(other)->tp_name);
#ifdef Py_GIL_DISABLED
    return stance_of(other);
#else
    Py_RETURN_NONE;
#endif
}

static PyMethodDef module_methods[] = {
    {"settings", module_settings, METH_NOARGS, "settings($module, /)\n--\n\nThe table of settings: a tuple of turbo.Setting."},
    {"set_hooks", (PyCFunction)(void (*)(void))module_set_hooks, METH_VARARGS | METH_KEYWORDS,
     "set_hooks($module, **hooks)\n--\n\nThe parts that are written in Python; turbo/__init__.py gives them,\nbefore there is a server."},
    {"run_interpreter", turbopy_interpreter_run, METH_VARARGS,
     "run_interpreter($module, server, job, /)\n--\n\nCall turbo.inside.main() in a new interpreter: what it returns."},
    {"needs_gil", module_needs_gil, METH_O,
     "needs_gil($module, other, /)\n--\n\nWhether importing an extension module turns the GIL of a free-threaded Python on; None: not known."},
    {"json_encode", module_json_encode, METH_O,
     "json_encode($module, value, /)\n--\n\nAs answers that are dicts and lists are encoded: bytes."},
    {NULL, NULL, 0, NULL},
};

/* -- filling the state -- */

static int add_names(turbopy_state *st) {
#define TURBOPY_X(name)                                                                                                \
    if ((st->str_##name = PyUnicode_InternFromString(#name)) == NULL)                                                  \
        return -1;
    TURBOPY_NAMES(TURBOPY_X)
#undef TURBOPY_X
    return 0;
}

static int add_type(PyObject *module, PyObject **out, PyType_Spec *spec, PyObject *base) {
    PyObject *bases = base == NULL ? NULL : PyTuple_Pack(1, base);
    if (base != NULL && bases == NULL)
        return -1;
    *out = PyType_FromModuleAndSpec(module, spec, bases);
    Py_XDECREF(bases);
    if (*out == NULL)
        return -1;
#if PY_VERSION_HEX < 0x030A0000
    /* No flag says that a type makes no instances: it would inherit object's way to. */
    if (((PyTypeObject *)*out)->tp_new == PyBaseObject_Type.tp_new)
        ((PyTypeObject *)*out)->tp_new = NULL;
#endif
    return PyModule_AddType(module, (PyTypeObject *)*out);
}

static int add_types(PyObject *module, turbopy_state *st) {
    if (add_type(module, &st->server_type, &turbopy_server_spec, NULL) < 0 ||
        add_type(module, &st->shard_type, &turbopy_shard_spec, NULL) < 0 ||
        add_type(module, &st->request_type, &turbopy_request_spec, NULL) < 0 ||
        add_type(module, &st->fields_type, &turbopy_fields_spec, NULL) < 0 ||
        add_type(module, &st->response_type, &turbopy_response_spec, NULL) < 0 ||
        add_type(module, &st->stream_type, &turbopy_stream_spec, st->response_type) < 0 ||
        add_type(module, &st->file_type, &turbopy_file_spec, st->response_type) < 0 ||
        add_type(module, &st->task_type, &turbopy_task_spec, NULL) < 0)
        return -1;
    st->setting_type = turbopy_setting_type_new();
    return st->setting_type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)st->setting_type);
}

static PyObject *import_name(const char *module_name, const char *name) {
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *object = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return object;
}

/* The hooks of asyncio's "Extending" page, and what our task borrows from asyncio's own. */
static int add_asyncio(turbopy_state *st) {
    st->enter_task = import_name("asyncio.tasks", "_enter_task");
    st->leave_task = import_name("asyncio.tasks", "_leave_task");
    st->register_task = import_name("asyncio.tasks", "_register_task");
    st->stock_task = import_name("asyncio.tasks", "Task");
    st->task_get_stack = import_name("asyncio.base_tasks", "_task_get_stack");
    st->task_print_stack = import_name("asyncio.base_tasks", "_task_print_stack");
    st->CancelledError = import_name("asyncio.exceptions", "CancelledError");
    st->InvalidStateError = import_name("asyncio.exceptions", "InvalidStateError");
    PyObject *future = import_name("asyncio.futures", "_PyFuture");
    st->future_await = future == NULL ? NULL : PyObject_GetAttr(future, st->str___await__);
    Py_XDECREF(future);
#if PY_VERSION_HEX >= 0x030C0000
    st->register_eager_task = import_name("asyncio.tasks", "_register_eager_task");
    st->unregister_eager_task = import_name("asyncio.tasks", "_unregister_eager_task");
    st->eager_kw = PyTuple_Pack(2, st->str_loop, st->str_eager_start);
#endif
    return PyErr_Occurred() ? -1 : 0;
}

static int add_constants(turbopy_state *st) {
    st->empty_bytes = PyBytes_FromStringAndSize(NULL, 0);
    st->empty_str = PyUnicode_FromStringAndSize(NULL, 0);
    st->version_10 = PyUnicode_FromString("1.0");
    st->version_11 = PyUnicode_FromString("1.1");
    st->context_kw = PyTuple_Pack(1, st->str_context);
    st->msg_kw = PyTuple_Pack(1, st->str_msg);
    return PyErr_Occurred() ? -1 : 0;
}

/* Before 1.0 a minor release may change anything. */
static int check_version(void) {
    int runs = turbo_version();
    if (runs / 1000 == TURBO_VERSION_NUMBER / 1000 && runs >= TURBO_VERSION_NUMBER)
        return 0;
    PyErr_Format(PyExc_ImportError, "turbo was built for libturbo %s and found libturbo %s", TURBO_VERSION_STRING,
                 turbo_version_string());
    return -1;
}

static int module_exec(PyObject *module) {
    turbopy_state *st = state_of_module(module);
    if (check_version() < 0 || add_names(st) < 0 || add_types(module, st) < 0 || add_asyncio(st) < 0 ||
        add_constants(st) < 0 || PyModule_AddStringConstant(module, "library_version", turbo_version_string()) < 0)
        return -1;
    if (PyModule_AddIntConstant(module, "main_interpreter", PyInterpreterState_Get() == PyInterpreterState_Main()) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "lend_min", TURBOPY_LEND_MIN);
}

/* -- life -- */

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    turbopy_state *st = state_of_module(module);
#define TURBOPY_X(name) Py_VISIT(st->name);
    TURBOPY_OBJECTS(TURBOPY_X)
#undef TURBOPY_X
    return 0;
}

static int module_clear(PyObject *module) {
    turbopy_state *st = state_of_module(module);
#define TURBOPY_X(name) Py_CLEAR(st->name);
    TURBOPY_OBJECTS(TURBOPY_X)
#undef TURBOPY_X
#define TURBOPY_X(name) Py_CLEAR(st->str_##name);
    TURBOPY_NAMES(TURBOPY_X)
#undef TURBOPY_X
    return 0;
}

static void module_free(void *module) {
    (void)module_clear(module);
    turbopy_request_free_spares(state_of_module(module));
}

/*
 * Stances. Several interpreters may load the module, each has its own state, and from 3.13 on a GIL of its own, too: what
 * they share is C's (server.c, interpreter.c). Free-threaded builds keep the GIL off: docs/threading.md has which objects
 * several threads may share.
 */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if TURBOPY_INTERPRETERS
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#elif PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "turbo._native",
    .m_doc = "libturbo's C side for Python. Use the package turbo.",
    .m_size = sizeof(turbopy_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module_def); }
