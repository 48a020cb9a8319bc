/* shard.h - turbo.Shard: a driven shard and the asyncio loop that drives it. */
#ifndef TURBOPY_SHARD_H
#define TURBOPY_SHARD_H

#include <turbo/executor.h>

#include "json.h"
#include "route.h"
#include "state.h"
#include "watch.h"
#include "weigh.h"

struct TaskObject;

/* How coroutines run. */
enum {
    TURBOPY_TASK_OWN,   /* as tasks of our own type, on the shard's loop            */
    TURBOPY_TASK_STOCK, /* as asyncio's tasks, or those of the loop's task factory  */
    TURBOPY_TASK_POSTED /* elsewhere: loop.run_posted(), which waits for the result */
};

/*
 * Used on the shard's thread only, but for: st, shard, server, data and index, which never change; thread, ending and closed, which
 * are atomic; watch, which has a lock; and loop, post, new_background and exception_handlers, which others read by
 * turbopy_get().
 */
typedef struct ShardObject {
    PyObject_HEAD
    turbopy_state *st;
    turbo_shard *shard; /* the server's */
    PyObject *server;   /* keeps the shard alive */
    const turbopy_calls *calls; /* by the number of the route; NULL: the routes' own */
    struct ShardObject **place; /* where attach() leaves itself for the executor; NULL: it is there */
    PyObject *data;     /* dict for the user: request.shard.state */
    Py_ssize_t index;

    unsigned long thread;                      /* whose shard it is, once it has a loop */
    PyObject *loop;                            /* set by attach(), cleared by detach() */
    PyObject *post;                            /* post(fn, *args): other threads have the loop call fn */
    PyObject *call_soon, *call_later;          /* the loop's bound methods             */
    PyObject *poll_fn, *late_fn, *on_timer_fn; /* ours                                 */
    PyObject *on_closed;                       /* called once when the shard has ended */
    PyObject *new_background;                  /* makes what collects a request's background calls */
    PyObject *exception_handlers;              /* dict of class to handler; NULL: the app has none */
    PyObject *timer;                           /* a handle of the loop; NULL: none     */
    double timer_at;                           /* by the loop's clock                  */

    turbopy_watch watch;     /* requests that wait for events   */
    turbopy_weighed weighed; /* requests that wait for a batch  */
    turbopy_text text;       /* memory for JSON                 */

    struct TaskObject *carrier; /* the task for the next coroutine; task.c */
    Py_ssize_t carrier_refs;    /* its count when nobody else holds it     */
    char carrier_entered;       /* it is the loop's current task           */
    char task_mode;             /* TURBOPY_TASK_*                          */
    char has_factory;           /* the loop has a task factory; looked up once a poll */

    char polling;         /* inside turbo_shard_poll()                 */
    char late_scheduled;  /* late() is on its way                      */
    char poll_scheduled;  /* poll() is on its way, besides the reader  */
    char ending;          /* its last poll: what is suspended is cancelled */
    char closed;          /* the shard has ended                          */
} ShardObject;

extern PyType_Spec turbopy_shard_spec;

/** What the shard's interpreter calls for a route; it need not be that of the server. */
static inline const turbopy_calls *turbopy_calls_of(const ShardObject *self, const turbopy_route *route) {
    return self->calls == NULL ? &route->calls : &self->calls[route->index];
}

/** Make the object of shard number index of a server. */
ShardObject *turbopy_shard_new(turbopy_state *st, PyObject *server, turbo_shard *shard, size_t index);

/** Whether the calling thread is the shard's, and not one of its pool's or another one. */
int turbopy_shard_is_here(const ShardObject *self);

/**
 * Tell that an answer, or a part of one, was made. Those of other threads leave at once. Between two polls the first one asks the loop for one call of late(),
 * which sends them all.
 */
void turbopy_shard_answered(ShardObject *self);

/** Cancel every task of the shard's requests that was not told before. */
void turbopy_shard_cancel_tasks(ShardObject *self);

#endif
