/* io.h - an I/O loop: its listeners, connections, and the mailbox that answers come home to. */
#ifndef TURBO_IO_H
#define TURBO_IO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "clock.h"
#include "conn.h"
#include "exchange.h"
#include "listener.h"
#include "loop.h"
#include "mailbox.h"
#include "request.h"

/* What an I/O loop's mailbox holds. */
enum { TURBO__MAIL_HOME = 0, TURBO__MAIL_SOCKET, TURBO__MAIL_BODY };

/* What a loop is told to do; bits of turbo__io.control, each in its time (server.c). */
enum { TURBO__IO_DRAIN = 1, TURBO__IO_ABORT = 2, TURBO__IO_CLOSE = 4 };

struct turbo__io;

/* A listener as one loop watches it. */
typedef struct turbo__acceptor {
    uv_poll_t watch;
    struct turbo__io *io;
    turbo__listener *listener;
} turbo__acceptor;

typedef struct turbo__io {
    turbo_server *server;
    uint32_t index;
    turbo_shard *shard;   /* io_threads 0: the shard on the same loop; else NULL */
    turbo__loop own_loop;
    turbo__loop *loop;    /* own_loop, or the shard's                            */
    turbo__member member;
    turbo__mailbox box;
    turbo__conn_group group;
    turbo__date date;
    pthread_t thread;     /* whose loop it is, while has_thread is set           */
    atomic_uint has_thread;

    turbo__acceptor *acceptors;
    size_t acceptor_count;
    uv_timer_t accept_timer; /* ends a pause                                     */
    uint8_t accept_paused;
    uint8_t accept_closed;
    uint8_t full;         /* paused because of connections_max                   */
    uint8_t aborting;
    uint8_t drained;
    uint8_t joined;
    uint8_t group_open;
    uint8_t timer_open;

    turbo__mail_chain *outboxes; /* requests, one chain a shard                  */
    uint32_t *dirty;             /* shards whose chain is not empty              */
    size_t dirty_count;
    uint64_t *loads;             /* of the shards, read once a turn              */
    uint64_t loads_sum;
    uint64_t turn_ns;            /* turbo__io_now_ns(); 0: not read yet          */
    uint64_t robin;              /* placement round_robin                        */
    uint32_t dice;               /* placement least                              */
    uint32_t opened;             /* connections so far, for their numbers        */
    uint8_t loads_known;

    atomic_uint control; /* TURBO__IO_* */
    uint32_t obeyed;     /* those that were carried out */

    /* Requests that were made here and are not freed: made and freed_here are the loop's, freed elsewhere lowers
     * balance; once the loop has closed, balance counts what is left and the last one lets go of the server. */
    uint64_t made, freed_here;
    _Atomic int64_t balance;

    _Atomic uint64_t coming; /* connections that others pass on to this loop, and that it has not taken yet */

    /* Counters: written by the loop's thread. */
    _Atomic uint64_t taken, answered, shed, dropped, abandoned, accepted, accept_errors, refused;
} turbo__io;

/** The clock, read at most once a turn. Thread: the loop's. */
static inline uint64_t turbo__io_now_ns(turbo__io *io) {
    if (io->turn_ns == 0)
        io->turn_ns = turbo__clock_ns();
    return io->turn_ns;
}

/** The loop that a connection is on. */
static inline turbo__io *turbo__io_of(const turbo__conn *conn) { return TURBO__CONTAINER(conn->group, turbo__io, group); }

/** Set up; the loop is the shard's when shard has one and does I/O. @return 0; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS. */
int turbo__io_open(turbo__io *io, turbo_server *server, uint32_t index, turbo_shard *shard);

/** Watch this loop's share of the server's listeners. Before its thread runs. @return as turbo__io_open(). */
int turbo__io_listen(turbo__io *io);

/** The calling thread is the loop's from now on. */
void turbo__io_adopt_thread(turbo__io *io);

/** Tell the loop to do something: TURBO__IO_*. Thread: any. */
void turbo__io_tell(turbo__io *io, unsigned what);

/** Close the handles of a loop that never ran; nothing to do for one that did. turbo__loop_free() must follow. */
void turbo__io_close_unused(turbo__io *io);

/** Free memory and descriptors; its loop is freed. */
void turbo__io_free(turbo__io *io);

/** Whether the calling thread is the loop's. */
static inline int turbo__io_is_here(turbo__io *io) {
    return atomic_load_explicit(&io->has_thread, memory_order_acquire) != 0 && pthread_equal(io->thread, pthread_self());
}

/** Give a request to the shard that its placement chooses; it leaves at the end of the turn. Thread: the loop. */
void turbo__io_dispatch(turbo__io *io, turbo_request *req);

/** Answers that found their home closed: they are thrown away. Thread: any. */
void turbo__io_refuse(turbo__mail *mails);

/** Keep count of the requests that were made on this loop. Thread: the loop; freed: any. */
static inline void turbo__io_request_made(turbo__io *io) { io->made++; }
void turbo__io_request_freed(turbo__io *io);

#endif
