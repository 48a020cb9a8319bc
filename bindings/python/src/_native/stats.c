/* stats.c - counters as dicts. */
#include "stats.h"

#include "error.h"

static int put(PyObject *dict, const char *name, uint64_t value) {
    PyObject *number = PyLong_FromUnsignedLongLong(value);
    int rc = number == NULL ? -1 : PyDict_SetItemString(dict, name, number);
    Py_XDECREF(number);
    return rc;
}

static int put_list(PyObject *dict, const char *name, const uint64_t *values, Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(values[i]);
        if (number == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, number);
    }
    int rc = list == NULL ? -1 : PyDict_SetItemString(dict, name, list);
    Py_XDECREF(list);
    return rc;
}

PyObject *turbopy_stats_of_server(turbo_server *server) {
    turbo_stats s = TURBO_STATS_INIT;
    int rc = turbo_server_stats(server, &s);
    if (rc < 0)
        return turbopy_raise(rc, NULL);
    PyObject *dict = PyDict_New();
#define PUT(name) || put(dict, #name, s.name) < 0
    if (dict == NULL PUT(taken) PUT(answered) PUT(shed) PUT(dropped) PUT(abandoned) PUT(accepted) PUT(connections)
            PUT(bytes_in) PUT(bytes_out) PUT(accept_errors) PUT(parse_errors) PUT(timeouts_head) PUT(timeouts_body)
                PUT(timeouts_idle) PUT(body_memory) PUT(timeouts_queue) PUT(timeouts_handler) PUT(refused))
        Py_CLEAR(dict);
#undef PUT
    return dict;
}

PyObject *turbopy_stats_of_shard(const turbo_shard *shard) {
    turbo_shard_stats s = TURBO_SHARD_STATS_INIT;
    int rc = turbo_shard_stats_get(shard, &s);
    if (rc < 0)
        return turbopy_raise(rc, NULL);
    PyObject *dict = PyDict_New();
#define PUT(name) || put(dict, #name, s.name) < 0
    if (dict == NULL PUT(requests) PUT(batches) PUT(queued) PUT(queued_max) PUT(inflight) PUT(inflight_max) PUT(shed)
            PUT(dropped) PUT(wakeups) PUT(pool_threads) PUT(pool_queued) PUT(pool_busy) PUT(pool_requests)
                PUT(pool_dropped) PUT(expired) PUT(timed_out) PUT(batch_calls) PUT(batch_call_requests) PUT(closed_full)
                    PUT(closed_turn) PUT(closed_timer) PUT(closed_gate) PUT(closed_drained) PUT(closed_weight)
                        PUT(patience_limit_ms) ||
        put_list(dict, "batch_sizes", s.batch_sizes, TURBO_STATS_BATCH_BUCKETS) < 0 ||
        put_list(dict, "batch_call_sizes", s.batch_call_sizes, TURBO_STATS_BATCH_BUCKETS) < 0 ||
        put_list(dict, "latency", s.latency, TURBO_STATS_LATENCY_BUCKETS) < 0)
        Py_CLEAR(dict);
#undef PUT
    return dict;
}
