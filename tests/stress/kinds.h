/* kinds.h - the ways in which a request can be answered, each a route: /KIND/PLACEMENT/ID. */
#ifndef KINDS_H
#define KINDS_H

#include "stress.h"

enum {
    KIND_NOW = 0,       /* in the handler, on the shard                                   */
    KIND_INLINE,        /* in the handler, on the I/O loop                                */
    KIND_INLINE_LATER,  /* from another thread, of a request that never had a shard       */
    KIND_LATER,         /* from another thread                                            */
    KIND_RESPONSE,      /* the same, as a response whose body has to be given back        */
    KIND_TIMER,         /* by a timer of the shard                                        */
    KIND_POST,          /* by a posted function                                           */
    KIND_STREAM,        /* in parts, on the shard                                         */
    KIND_STREAM_INLINE, /* in parts, on the I/O loop                                      */
    KIND_STREAM_LATER,  /* in parts, from another thread                                  */
    KIND_HOP,           /* the I/O loop's handler gives it to a shard by turbo_shard_submit() */
    KIND_HOP_LATER,     /* another thread does, behind the I/O loop's back                */
    KIND_BATCH,         /* by a batch callback that waits for more                        */
    KIND_ECHO,          /* POST: the body goes back from where it lies                    */
    KIND_POOL,          /* in the handler, on a thread of the shard's pool                */
    KIND_FEW,           /* from another thread, of a route that has one at a time         */
    KIND_LEND,          /* with a lent body; for executors that handle events             */
    KINDS
};
enum { PLACEMENTS = 3 };

extern const char *const kind_names[KINDS];
extern const char *const placement_names[PLACEMENTS];

/* How a round may end. */
enum {
    KINDS_TO_THE_END, /* all clients wait for their answers                                        */
    KINDS_STOPPED,    /* clients or the server go first; the server is waited for                  */
    KINDS_NO_LENDING  /* the same, but nobody knows when the server has stopped: no bodies are lent */
};

/** Before host_open(): the pool answers what is answered later; driven shards get a function for events. */
void kinds_begin(host *h, pool *answerers, int may_stop);

/** Add the routes. */
void kinds_route(host *h);

/** The server has stopped: what was lent and not given back is free. */
void kinds_take_back(void);

/** Every answer was made, and read or given up: every body that was given away has come back, or does so in time. */
void kinds_end(void);

#endif
