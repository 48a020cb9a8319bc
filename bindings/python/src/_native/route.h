/* route.h - what a route of the server knows about its Python handler; libturbo's `user` of the route. */
#ifndef TURBOPY_ROUTE_H
#define TURBOPY_ROUTE_H

#include "compat.h"

/* What an interpreter calls for a route. */
typedef struct turbopy_calls {
    PyObject *handler;
    PyObject *weight; /* of a batch handler's requests; NULL: they are not weighed */
} turbopy_calls;

/* Made and freed by server.c, unchanged between: all interpreters that serve it read it, and only its own uses `calls`. */
typedef struct turbopy_route {
    struct turbopy_route *next;
    turbopy_calls calls;
    char *content_type; /* of answers that are bytes or str; NULL for the usual one */
    size_t index;       /* its number in the order of registration, for a table of calls */
    char is_async;      /* calling the handler runs no code of it, it gives a coroutine */
    char is_batch;      /* the handler gets a list of requests                          */
    char is_pooled;     /* the handler runs on threads of the shard's pool               */
    char is_streamed;   /* the handler begins before the body is there                   */
} turbopy_route;

#endif
