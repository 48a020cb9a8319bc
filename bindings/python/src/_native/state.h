/* state.h - what one interpreter's copy of the module owns; there are no static variables besides it. */
#ifndef TURBOPY_STATE_H
#define TURBOPY_STATE_H

#include "compat.h"

/*
 * Conventions of this directory. Python's own hold for results (-1 or NULL: an exception is set). Every function runs with the
 * GIL held, or attached where there is none, unless its comment says otherwise. libturbo calls us back only inside
 * turbo_shard_poll(), which poll() calls so; its own threads never enter Python (the log callback, log.c, uses no Python).
 *
 * Without a GIL: what a shard's thread alone touches needs nothing, and methods that touch it refuse other threads. What several
 * threads may touch is read and written by the functions below, or is atomic. docs/threading.md says which is which.
 */

#define TURBOPY_LEND_MIN 16384 /* an answer body from here on is lent to the library instead of copied */

#ifdef Py_GIL_DISABLED
#define TURBOPY_RECYCLE 0 /* reference counts cannot be read there, and lists of spare objects would need locks */
#else
#define TURBOPY_RECYCLE 1
#endif

#define TURBOPY_SPARE_MAX 1024 /* request objects kept for the next requests */

/* Names that are looked up or compared; interned once. */
#define TURBOPY_NAMES(X)                                                                                               \
    X(_asyncio_future_blocking) X(_finish) X(add) X(add_done_callback) X(begin) X(call_later) X(call_soon) X(cancel) X(cancelled) X(close)        \
    X(create_future) X(done) X(eager_start) X(exception) X(get_loop) X(items) X(loop) X(msg) X(result) X(run_posted) X(set_result)   \
    X(throw) X(value) X(context) X(create_task) X(get_task_factory) X(__await__) X(time) X(is_closed) X(response)      \
    X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(PATCH) X(OPTIONS)

/* Everything else that lives as long as the module: types, functions of asyncio, hooks of the Python side. */
#define TURBOPY_OBJECTS(X)                                                                                             \
    X(server_type) X(shard_type) X(request_type) X(fields_type) X(response_type) X(stream_type) X(file_type) X(task_type)           \
    X(setting_type) X(enter_task) X(leave_task) X(register_task) X(unregister_task) X(register_eager_task)             \
    X(unregister_eager_task) X(stock_task) X(future_await) X(task_get_stack) X(task_print_stack) X(CancelledError)     \
    X(InvalidStateError) X(copy_context) X(json_dumps) X(json_loads) X(log_failure) X(pump) X(discard) X(respond) X(await_any)    \
    X(bad_json) X(HTTPError) X(BodyError) X(ClientDisconnect) X(body_stream) X(body_read) X(empty_bytes) X(empty_str)  \
    X(version_10) X(version_11) X(context_kw) X(eager_kw) X(msg_kw)

typedef struct turbopy_state {
#define TURBOPY_X(name) PyObject *str_##name;
    TURBOPY_NAMES(TURBOPY_X)
#undef TURBOPY_X
#define TURBOPY_X(name) PyObject *name;
    TURBOPY_OBJECTS(TURBOPY_X)
#undef TURBOPY_X
    unsigned long long task_names; /* the number in the last task's name; atomic */
    size_t spare_count;
    struct RequestObject *spares[TURBOPY_SPARE_MAX];
} turbopy_state;

/* -- members that several threads read, and one may write: place is a member of owner -- */

/** A reference to what is there now; NULL when there is nothing. */
static inline PyObject *turbopy_get(void *owner, PyObject **place) {
    PyObject *object;
    (void)owner;
    Py_BEGIN_CRITICAL_SECTION((PyObject *)owner);
    object = Py_XNewRef(*place);
    Py_END_CRITICAL_SECTION();
    return object;
}

/** Put something else there, or NULL. Takes object. What was there is let go outside of the lock. */
static inline void turbopy_set(void *owner, PyObject **place, PyObject *object) {
    PyObject *old;
    (void)owner;
    Py_BEGIN_CRITICAL_SECTION((PyObject *)owner);
    old = *place;
    __atomic_store_n(place, object, __ATOMIC_RELEASE);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(old);
}

/** What is there, which is NULL from now on. @return a reference; NULL when there was nothing. */
static inline PyObject *turbopy_take(void *owner, PyObject **place) {
    PyObject *object;
    (void)owner;
    Py_BEGIN_CRITICAL_SECTION((PyObject *)owner);
    object = *place;
    __atomic_store_n(place, NULL, __ATOMIC_RELEASE);
    Py_END_CRITICAL_SECTION();
    return object;
}

/** What was put there by turbopy_made(), borrowed: it stays as long as owner. NULL: nothing was yet. */
static inline PyObject *turbopy_seen(PyObject **place) { return __atomic_load_n(place, __ATOMIC_ACQUIRE); }

/**
 * Something that was made when it was first used: the first one that is put there stays, all threads get that one.
 *
 * @param made  taken; NULL, with an exception, is handed on.
 * @return a new reference.
 */
static inline PyObject *turbopy_made(void *owner, PyObject **place, PyObject *made) {
    PyObject *kept;
    (void)owner;
    if (made == NULL)
        return NULL;
    Py_BEGIN_CRITICAL_SECTION((PyObject *)owner);
    kept = *place;
    if (kept == NULL) {
        __atomic_store_n(place, made, __ATOMIC_RELEASE);
        kept = made;
        made = NULL;
    }
    Py_INCREF(kept);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(made);
    return kept;
}

/* A flag that another thread may read: nothing is published by it. */
#define TURBOPY_FLAG(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define TURBOPY_SET_FLAG(place, value) __atomic_store_n(&(place), (char)(value), __ATOMIC_RELAXED)

/** The state behind an instance of one of our types (not of a subclass of one). */
static inline turbopy_state *turbopy_state_of(const void *object) {
    return (turbopy_state *)PyType_GetModuleState(Py_TYPE((PyObject *)object));
}

#endif
