/* task.h - turbo.Task: the task that runs a handler's coroutine. To asyncio it is one of its own. */
#ifndef TURBOPY_TASK_H
#define TURBOPY_TASK_H

#include "shard.h"
#include "state.h"

enum { TURBOPY_PENDING = 0, TURBOPY_CANCELLED, TURBOPY_FINISHED };

/*
 * For its shard's thread, as asyncio's own is; done(), get_loop() and the name are for any, since asyncio.all_tasks() and
 * debuggers ask for them.
 *
 * A task is a carrier first: the shard keeps one that is entered as the loop's current task, and steps coroutines in it
 * one after the other for as long as they end at their first step and nobody has kept the task. The first coroutine that
 * suspends takes the task with it: it is then registered with asyncio, and the shard makes a new carrier when it needs one.
 */
typedef struct TaskObject {
    PyObject_HEAD
    ShardObject *shard;
    PyObject *loop, *coro, *context;
    PyObject *name;           /* made when asked for            */
    PyObject *owner;          /* for turbopy_finish()           */
    PyObject *result;         /* of a finished one              */
    PyObject *exception;      /* of a finished or cancelled one */
    PyObject *fut_waiter;     /* the future it waits for        */
    PyObject *cancel_message;
    PyObject *callbacks;      /* list of (callback, context)    */
    PyObject *dict, *weakrefs;
    unsigned long cancels;    /* cancel() calls without uncancel() */
    char what;                /* TURBOPY_FOR_*                     */
    char state;
    char must_cancel;         /* throw CancelledError at the next step */
    char blocking;            /* _asyncio_future_blocking              */
    char log_traceback;
} TaskObject;

extern PyType_Spec turbopy_task_spec;

/**
 * Run a handler's coroutine: its first step at once, the rest when the loop says so; then turbopy_finish().
 *
 * @param coro  the reference is taken.
 */
void turbopy_task_run(ShardObject *shard, int what, PyObject *owner, PyObject *coro);

/** The carrier is no longer the current task: before other code than handlers' coroutines runs. */
void turbopy_task_leave(ShardObject *shard);

/* -- between task.c and its parts -- */

/** As turbopy_task_run() with a task of asyncio's, or of the loop's task factory. Takes coro. (task_stock.c) */
void turbopy_task_run_stock(ShardObject *shard, int what, PyObject *owner, PyObject *coro);

/** As turbopy_task_run() on a loop elsewhere, and wait for it: mode="single". Takes coro. (task_stock.c) */
void turbopy_task_run_posted(ShardObject *shard, int what, PyObject *owner, PyObject *coro);

/** The requests of an owner belong to a suspended task now (task), or to none (NULL). (task_stock.c) @return 0; -1 */
int turbopy_task_own(ShardObject *shard, int what, PyObject *owner, PyObject *task);

/** A new, idle task. (task_type.c) */
TaskObject *turbopy_task_new(ShardObject *shard);

/** Have the loop call the callbacks of a task that is done. (task_type.c) @return 0; -1 */
int turbopy_task_schedule_callbacks(TaskObject *self);

/** The exception of a task that was or is to be cancelled; new reference. (task_type.c) */
PyObject *turbopy_task_cancelled_error(TaskObject *self);

/** loop.call_soon(fn, arg, context=context); arg may be NULL. (task_type.c) @return 0; -1 */
int turbopy_task_call_soon(TaskObject *self, PyObject *fn, PyObject *arg, PyObject *context);

#endif
