/* server.h - turbo.Server: the library's server object. */
#ifndef TURBOPY_SERVER_H
#define TURBOPY_SERVER_H

#include "state.h"

extern PyType_Spec turbopy_server_spec;

/**
 * The server of another interpreter, as an object of the calling one, whose shards can be attached here. Its route() only takes
 * the handlers, in the order in which they were registered there.
 *
 * @param server  a Server of the interpreter that has made it, with all its routes; it must outlive the new object.
 * @return a Server; NULL with an exception.
 */
PyObject *turbopy_server_join(turbopy_state *st, PyObject *server);

#endif
