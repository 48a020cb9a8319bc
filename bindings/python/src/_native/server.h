/* server.h - turbo.Server: the library's server object. */
#ifndef TURBOPY_SERVER_H
#define TURBOPY_SERVER_H

#include "state.h"

extern PyType_Spec turbopy_server_spec;

#endif
