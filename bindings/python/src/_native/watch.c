/* watch.c - a pointer hash map. */
#include "watch.h"

#define SIZE_FIRST 64

#ifdef Py_GIL_DISABLED
#define LOCK(map) PyMutex_Lock(&(map)->lock)
#define UNLOCK(map) PyMutex_Unlock(&(map)->lock)
#else
#define LOCK(map) (void)(map)
#define UNLOCK(map) (void)(map)
#endif

static size_t home_of(const turbopy_watch *map, const turbo_request *req) {
    uint64_t mixed = (uint64_t)(uintptr_t)req * UINT64_C(0x9E3779B97F4A7C15); /* allocators leave the low bits 0 */
    return (size_t)(mixed >> 32) & (map->size - 1);
}

/* The slot of req, or the empty one where it belongs. */
static size_t slot_of(const turbopy_watch *map, const turbo_request *req) {
    size_t at = home_of(map, req);
    while (map->slots[at] != NULL && map->slots[at]->req != req)
        at = (at + 1) & (map->size - 1);
    return at;
}

static int grow(turbopy_watch *map) {
    turbopy_watch bigger = {.size = map->size == 0 ? SIZE_FIRST : map->size * 2, .count = map->count};
    bigger.slots = PyMem_Calloc(bigger.size, sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < map->size; i++)
        if (map->slots[i] != NULL)
            bigger.slots[slot_of(&bigger, map->slots[i]->req)] = map->slots[i];
    PyMem_Free(map->slots);
    map->slots = bigger.slots;
    map->size = bigger.size;
    return 0;
}

static int add_locked(turbopy_watch *map, RequestObject *request) {
    if (request->watched)
        return 0;
    if (map->count * 2 >= map->size && grow(map) < 0)
        return -1;
    map->slots[slot_of(map, request->req)] = (RequestObject *)Py_NewRef((PyObject *)request);
    map->count++;
    request->watched = 1;
    return 0;
}

int turbopy_watch_add(turbopy_watch *map, RequestObject *request) {
    LOCK(map);
    int rc = add_locked(map, request);
    UNLOCK(map);
    return rc;
}

/* Close the gap at `at`: what was probed past it moves back, so that lookups need no tombstones. */
static void close_gap(turbopy_watch *map, size_t at) {
    size_t mask = map->size - 1;
    for (size_t next = (at + 1) & mask; map->slots[next] != NULL; next = (next + 1) & mask) {
        size_t home = home_of(map, map->slots[next]->req);
        if (((next - home) & mask) >= ((next - at) & mask)) {
            map->slots[at] = map->slots[next];
            at = next;
        }
    }
    map->slots[at] = NULL;
}

void turbopy_watch_drop_idle(turbopy_watch *map, RequestObject *request) {
    LOCK(map);
    int idle = request->watched && request->task == NULL && turbopy_seen(&request->writable) == NULL &&
               request->readable == NULL && request->lent == NULL;
    if (idle) {
        request->watched = 0;
        map->count--;
        close_gap(map, slot_of(map, request->req));
    }
    UNLOCK(map);
    if (idle)
        Py_DECREF(request);
}

RequestObject *turbopy_watch_find(turbopy_watch *map, const turbo_request *req) {
    LOCK(map);
    RequestObject *found = map->count == 0 ? NULL : map->slots[slot_of(map, req)];
    Py_XINCREF(found);
    UNLOCK(map);
    return found;
}

PyObject *turbopy_watch_list(turbopy_watch *map) {
    PyObject *list = PyList_New(0);
    LOCK(map);
    for (size_t i = 0; list != NULL && i < map->size; i++)
        if (map->slots[i] != NULL && PyList_Append(list, (PyObject *)map->slots[i]) < 0)
            Py_CLEAR(list);
    UNLOCK(map);
    return list;
}

void turbopy_watch_clear(turbopy_watch *map) {
    LOCK(map);
    turbopy_watch old = {.slots = map->slots, .size = map->size};
    map->slots = NULL;
    map->size = map->count = 0;
    UNLOCK(map);
    for (size_t i = 0; i < old.size; i++) {
        RequestObject *request = old.slots[i];
        if (request == NULL)
            continue;
        request->watched = 0;
        Py_CLEAR(request->lent);
        Py_CLEAR(request->writable);
        Py_CLEAR(request->readable);
        Py_CLEAR(request->task);
        Py_DECREF(request);
    }
    PyMem_Free(old.slots);
}
