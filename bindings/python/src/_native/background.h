/* background.h - request.background(): calls that wait for their request's answer. */
#ifndef TURBOPY_BACKGROUND_H
#define TURBOPY_BACKGROUND_H

#include "request.h"

/** request.background(fn, *args, **kwargs). Any thread. */
PyObject *turbopy_background_add(RequestObject *request, PyObject *args, PyObject *kwargs);

/** Have the shard's loop make the calls. Any thread; no exception is set. */
void turbopy_background_begin(RequestObject *request);

/** The answer was handed over, whole; or the server had given the request up, and wanted none. */
static inline void turbopy_request_over(RequestObject *request) {
    TURBOPY_SET_FLAG(request->over, 1);
    if (turbopy_seen(&request->background) != NULL)
        turbopy_background_begin(request);
}

#endif
