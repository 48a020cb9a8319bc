/* settings.c - settings by name, for servers and routes. */
#include "settings.h"

#include <turbo/error.h>

#include "error.h"

/* -- the table -- */

PyObject *turbopy_setting_type_new(void) {
    static PyStructSequence_Field fields[] = {
        {"name", "\"batch_max\""},       {"type", "\"int\" or \"choice\""},
        {"unit", "\"ms\", \"bytes\", ... or \"\""}, {"choices", "the words of a choice: a tuple of str"},
        {"min", "smallest value of an int"},    {"max", "largest value of an int"},
        {"default", "int, or a word of choices"}, {"doc", "one line"},
        {NULL, NULL},
    };
    static PyStructSequence_Desc desc = {"turbo.Setting", "A row of the table of settings.", fields, 8};
    return (PyObject *)PyStructSequence_NewType(&desc);
}

static PyObject *split_choices(const char *choices) {
    PyObject *text = PyUnicode_FromString(choices), *list = NULL, *words = NULL;
    if (text != NULL)
        list = *choices == '\0' ? PyList_New(0) : PyObject_CallMethod(text, "split", "s", "|");
    if (list != NULL)
        words = PySequence_Tuple(list);
    Py_XDECREF(text);
    Py_XDECREF(list);
    return words;
}

static PyObject *default_of(PyObject *choices, uint64_t value) {
    if (PyTuple_GET_SIZE(choices) == 0)
        return PyLong_FromUnsignedLongLong(value);
    PyObject *word = PySequence_GetItem(choices, (Py_ssize_t)value);
    return word;
}

static PyObject *row(turbopy_state *st, size_t i) {
    uint64_t min = 0, max = 0, value = 0;
    (void)turbo_setting_range(i, &min, &max, &value);
    PyObject *choices = split_choices(turbo_setting_choices(i));
    PyObject *item = choices == NULL ? NULL : PyStructSequence_New((PyTypeObject *)st->setting_type);
    if (item != NULL) {
        int choice = turbo_setting_type(i) == TURBO_SETTING_ENUM;
        PyStructSequence_SetItem(item, 0, PyUnicode_FromString(turbo_setting_name(i)));
        PyStructSequence_SetItem(item, 1, PyUnicode_FromString(choice ? "choice" : "int"));
        PyStructSequence_SetItem(item, 2, PyUnicode_FromString(turbo_setting_unit(i)));
        PyStructSequence_SetItem(item, 3, Py_NewRef(choices));
        PyStructSequence_SetItem(item, 4, PyLong_FromUnsignedLongLong(min));
        PyStructSequence_SetItem(item, 5, PyLong_FromUnsignedLongLong(max));
        PyStructSequence_SetItem(item, 6, default_of(choices, value));
        PyStructSequence_SetItem(item, 7, PyUnicode_FromString(turbo_setting_doc(i)));
    }
    Py_XDECREF(choices);
    if (PyErr_Occurred())
        Py_CLEAR(item);
    return item;
}

PyObject *turbopy_settings(turbopy_state *st) {
    PyObject *rows = PyTuple_New((Py_ssize_t)turbo_setting_count());
    for (Py_ssize_t i = 0; rows != NULL && i < PyTuple_GET_SIZE(rows); i++) {
        PyObject *item = row(st, (size_t)i);
        if (item == NULL)
            Py_CLEAR(rows);
        else
            PyTuple_SET_ITEM(rows, i, item);
    }
    return rows;
}

/* -- values -- */

/* Numbers go as text too: the library then names setting, value and range, also for negative ones. */
static PyObject *value_text(PyObject *name, PyObject *value) {
    if (PyUnicode_Check(value))
        return Py_NewRef(value);
    if (PyLong_Check(value) && !PyBool_Check(value))
        return PyNumber_ToBase(value, 10);
    return PyErr_Format(PyExc_TypeError, "%U: %R is %.100s, expected int or str", name, value, Py_TYPE(value)->tp_name);
}

typedef int (*set_fn)(void *options, const char *name, const char *value);
typedef const char *(*error_fn)(const void *options);

static int apply_one(void *options, set_fn set, error_fn error, PyObject *name, PyObject *value) {
    const char *name_utf8 = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (name_utf8 == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "the name of a setting is str");
        return -1;
    }
    PyObject *text = value_text(name, value);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8(text);
    int rc = utf8 == NULL ? -1 : set(options, name_utf8, utf8);
    if (utf8 != NULL && rc == TURBO_ENOENT)
        PyErr_Format(PyExc_TypeError, "%s", error(options)); /* as for any unexpected keyword argument */
    else if (utf8 != NULL && rc < 0)
        turbopy_raise(rc, error(options));
    Py_XDECREF(text);
    return rc < 0 ? -1 : 0;
}

static int apply(void *options, set_fn set, error_fn error, PyObject *values) {
    PyObject *name, *value;
    Py_ssize_t place = 0;
    int rc = 0;
    Py_BEGIN_CRITICAL_SECTION(values);
    while (rc == 0 && PyDict_Next(values, &place, &name, &value))
        rc = apply_one(options, set, error, name, value);
    Py_END_CRITICAL_SECTION();
    return rc;
}

static int set_server(void *options, const char *name, const char *value) {
    return turbo_options_set(options, name, value);
}

static const char *error_server(const void *options) { return turbo_options_error(options); }

static int set_route(void *options, const char *name, const char *value) {
    return turbo_route_options_set(options, name, value);
}

static const char *error_route(const void *options) { return turbo_route_options_error(options); }

int turbopy_settings_apply(turbo_options *options, PyObject *values) {
    return apply(options, set_server, error_server, values);
}

int turbopy_settings_apply_route(turbo_route_options *options, PyObject *values) {
    return apply(options, set_route, error_route, values);
}
