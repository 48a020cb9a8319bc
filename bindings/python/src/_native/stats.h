/* stats.h - counters as dicts. */
#ifndef TURBOPY_STATS_H
#define TURBOPY_STATS_H

#include <turbo/stats.h>

#include "compat.h"

/** Counters of a server: a new dict of int. Any thread that holds the GIL. */
PyObject *turbopy_stats_of_server(turbo_server *server);

/** Counters of a shard: a new dict of int, and of lists of int for histograms. */
PyObject *turbopy_stats_of_shard(const turbo_shard *shard);

#endif
