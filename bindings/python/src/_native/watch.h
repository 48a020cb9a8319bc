/* watch.h - from a libturbo request to its Python object, for requests that wait for events. One map a shard. */
#ifndef TURBOPY_WATCH_H
#define TURBOPY_WATCH_H

#include "request.h"

/*
 * Open addressing with linear probing; slots hold strong references. All-zero is empty. For the shard's thread, and in
 * mode="single" for the one that streams its answers: locked where no GIL does it.
 */
typedef struct turbopy_watch {
    RequestObject **slots;
    size_t size, count; /* size is 0 or a power of 2 */
#ifdef Py_GIL_DISABLED
    PyMutex lock;
#endif
} turbopy_watch;

/** Keep the object findable. Does nothing when it is. @return 0; -1 with MemoryError. */
int turbopy_watch_add(turbopy_watch *map, RequestObject *request);

/** Let go of the object when nothing goes on with its request any more. May free it. */
void turbopy_watch_drop_idle(turbopy_watch *map, RequestObject *request);

/** @return the object of a request, a new reference; NULL when it is not watched. */
RequestObject *turbopy_watch_find(turbopy_watch *map, const turbo_request *req);

/** All objects as a list: callbacks may change the map while the caller goes through it. */
PyObject *turbopy_watch_list(turbopy_watch *map);

/** Let go of every object; what is lent is given back. */
void turbopy_watch_clear(turbopy_watch *map);

#endif
