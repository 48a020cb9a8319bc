/* weigh.h - weight functions of batch routes, and the objects of requests that were weighed and wait for their batch. */
#ifndef TURBOPY_WEIGH_H
#define TURBOPY_WEIGH_H

#include "request.h"

/* Objects in order of arrival, of all routes; strong references. All-zero is empty. Some are of requests that were answered
 * without their handler: they go when the list would grow. */
typedef struct turbopy_weighed {
    RequestObject **list;
    size_t count, cap;
} turbopy_weighed;

/**
 * A turbo_weight_fn, whose user is the route. What the Python function raises is answered, as if the handler had raised it.
 */
int turbopy_weigh(uint64_t *out, turbo_request *req, void *route);

/** The objects of a batch as a list: the handler gets those that the weight function got. @return NULL with MemoryError. */
PyObject *turbopy_weighed_take(turbopy_weighed *weighed, turbo_request *const *reqs, size_t n);

/** Let go of every object. */
void turbopy_weighed_clear(turbopy_weighed *weighed);

#endif
