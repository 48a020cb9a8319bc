/* log.c - a queue of messages behind a mutex, with an eventfd for the loop that takes them. */
#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MESSAGES_MAX 1000

typedef struct turbopy_message {
    struct turbopy_message *next;
    int32_t level;
    char text[];
} turbopy_message;

static _Thread_local int muted;

void turbopy_log_mute(int on) { muted = on; }

int turbopy_log_open(turbopy_log *log) {
    log->first = NULL;
    log->end = &log->first;
    log->count = 0;
    pthread_mutex_init(&log->lock, NULL);
    log->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (log->fd >= 0)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static turbopy_message *take_all(turbopy_log *log) {
    uint64_t signalled;
    pthread_mutex_lock(&log->lock);
    turbopy_message *first = log->first;
    log->first = NULL;
    log->end = &log->first;
    log->count = 0;
    if (log->fd >= 0 && read(log->fd, &signalled, sizeof signalled) < 0)
        signalled = 0; /* it was not readable */
    pthread_mutex_unlock(&log->lock);
    return first;
}

static void free_all(turbopy_message *message) {
    while (message != NULL) {
        turbopy_message *next = message->next;
        free(message);
        message = next;
    }
}

void turbopy_log_close(turbopy_log *log) {
    free_all(take_all(log));
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    pthread_mutex_destroy(&log->lock);
}

void turbopy_log_put(void *user, int32_t level, const char *text) {
    turbopy_log *log = user;
    const uint64_t one = 1;
    size_t size = strlen(text) + 1;
    turbopy_message *message = muted ? NULL : malloc(sizeof *message + size);
    if (message == NULL)
        return;
    message->next = NULL;
    message->level = level;
    memcpy(message->text, text, size);
    pthread_mutex_lock(&log->lock);
    if (log->count < MESSAGES_MAX) {
        *log->end = message;
        log->end = &message->next;
        log->count++;
        message = NULL;
        if (write(log->fd, &one, sizeof one) < 0)
            log->count += 0; /* only when 2^64 writes were not read */
    }
    pthread_mutex_unlock(&log->lock);
    free(message);
}

PyObject *turbopy_log_take(turbopy_log *log) {
    turbopy_message *first = take_all(log);
    PyObject *list = PyList_New(0);
    for (turbopy_message *message = first; list != NULL && message != NULL; message = message->next) {
        PyObject *item = Py_BuildValue("(iN)", (int)message->level,
                                       PyUnicode_DecodeUTF8(message->text, (Py_ssize_t)strlen(message->text), "replace"));
        if (item == NULL || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    free_all(first);
    return list;
}
