/* server.h - the public object: shards, start, drain, stop. */
#ifndef TURBO_SERVER_INTERNAL_H
#define TURBO_SERVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "admission.h"
#include "io.h"
#include "listener.h"
#include "log.h"
#include "route.h"
#include "router.h"
#include "settings.h"
#include "shard.h"
#include "turbo/server.h"

/* Life of a server, in this order; FAILED instead of RUNNING when it could not start. */
enum {
    TURBO__SERVER_SETUP = 0,
    TURBO__SERVER_STARTING,
    TURBO__SERVER_RUNNING,
    TURBO__SERVER_DRAINING,
    TURBO__SERVER_STOPPED,
    TURBO__SERVER_FAILED
};

enum { TURBO__WARN_ACCEPT = 0, TURBO__WARN_ADDRESS, TURBO__WARN_PATIENCE, TURBO__WARN_HANDLER, TURBO__WARNINGS };

struct turbo_server {
    turbo__settings settings;
    turbo__log log;
    turbo__router *router;
    turbo__route *routes;
    struct turbo__static *statics; /* directories that routes serve */
    uint32_t route_count;
    uint64_t queue_timeout_least_ns; /* of the routes that have one; 0: none has */
    turbo__listener *listeners;
    turbo_executor_ops executor;
    void *executor_self;
    turbo_shard_fn drain_fn; /* NULL: nobody is told on the shards that a stop has begun */
    void *drain_user;
    char error[256];
    uint16_t port; /* of the first TCP listener */

    turbo_shard **shards;
    turbo__io **ios;
    size_t shard_count, io_count;
    uint8_t members_made; /* every place of both is filled */

    atomic_uint refs; /* the user's, the control thread's, one an I/O loop, one a request without a connection */
    atomic_uint state;
    atomic_uint all_closed; /* no I/O loop accepts any more, so none passes a connection on */
    turbo__admission admission;
    _Atomic uint64_t body_memory;
    _Atomic uint64_t warned_ns[TURBO__WARNINGS];

    /* The control thread sleeps until a stop, and then leads it. All below is guarded by lock. */
    pthread_t control;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint8_t stop_wanted, abort_wanted;
    uint8_t stopped_given;   /* a turbo_stopped_fn was given, once          */
    uint8_t has_control;
    uint8_t go;              /* threads that have begun may run their loops */
    uint8_t failed;          /* or end at once                              */
    uint32_t begun;          /* shard threads whose start_shard is done     */
    int begin_rc;            /* the first error of one                      */
    uint32_t drained;        /* I/O loops without connections               */
    uint32_t accept_closed;  /* I/O loops that accept no more               */
    uint32_t shards_ended, loops_ended;
    turbo_stopped_fn stopped_fn;
    void *stopped_user;
    int run_fd; /* turbo_server_run() waits on it; else -1 */
};

turbo_server *turbo__server_ref(turbo_server *server);
/** The last reference frees the server; it has stopped, or never started. */
void turbo__server_unref(turbo_server *server);

/** turbo_server_route(), which also tells the route: the server's. */
int turbo__server_route(turbo__route **out, turbo_server *server, const char *method, const char *pattern,
                        const turbo_route_options *options, turbo_handler_fn fn, void *user);

/** Whether requests without a connection may be made. @return 0; TURBO_ESTATE before start; TURBO_ECLOSED. */
int turbo__server_accepts(turbo_server *server);

/** Whether a stop has begun. Thread: any. */
static inline int turbo__server_draining(const turbo_server *server) {
    return atomic_load_explicit(&server->state, memory_order_relaxed) >= TURBO__SERVER_DRAINING;
}

/** Whether every I/O loop accepts no more: what it passed on before lies in the others' mailboxes. Thread: any. */
static inline int turbo__server_all_closed(const turbo_server *server) {
    return atomic_load_explicit(&server->all_closed, memory_order_acquire) != 0;
}

/** Warn of what would otherwise be said on every turn: each TURBO__WARN_* at most once a second a server. Thread: any. */
void turbo__server_warn(turbo_server *server, unsigned what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What loops and shards report to the control thread. Thread: any. */
void turbo__server_io_drained(turbo_server *server);
void turbo__server_accept_closed(turbo_server *server);
void turbo__server_shard_ended(turbo_server *server);
/** A driven shard has ended, and nothing of the library touches it any more: the last that its thread does. */
void turbo__server_loop_ended(turbo_server *server, turbo_shard *shard);

#endif
