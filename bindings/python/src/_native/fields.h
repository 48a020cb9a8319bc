/* fields.h - turbo.Fields: header or trailer fields, or the parameters of a query, as a mapping that keeps order and repeats. */
#ifndef TURBOPY_FIELDS_H
#define TURBOPY_FIELDS_H

#include <turbo/request.h>

#include "state.h"

extern PyType_Spec turbopy_fields_spec;

/** The header fields of a request, read from it when asked. Takes a reference of its own. */
PyObject *turbopy_fields_of_head(turbopy_state *st, turbo_request *req);

/** The trailer fields of a request, likewise. */
PyObject *turbopy_fields_of_trailers(turbopy_state *st, turbo_request *req);

/** The parameters of a query, decoded as application/x-www-form-urlencoded. */
PyObject *turbopy_fields_of_query(turbopy_state *st, turbo_str query);

#endif
