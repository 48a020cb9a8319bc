/* log.h - the library's messages on their way to Python's logging. */
#ifndef TURBOPY_LOG_H
#define TURBOPY_LOG_H

#include <pthread.h>
#include <stdint.h>

#include "compat.h"

/*
 * Any thread puts messages in, and waits for nothing of Python's there; a thread of Python's takes them out when fd is
 * readable. Messages above a thousand that nobody takes are dropped.
 */
typedef struct turbopy_log {
    pthread_mutex_t lock;
    struct turbopy_message *first, **end;
    size_t count;
    int fd; /* an eventfd */
} turbopy_log;

/** @return 0; -1 with OSError. */
int turbopy_log_open(turbopy_log *log);

void turbopy_log_close(turbopy_log *log);

/** A turbo_log_fn; user is the turbopy_log. With or without the GIL. */
void turbopy_log_put(void *user, int32_t level, const char *message);

/** From now on, or no longer: nothing that the library says on this thread is put. For what Python has said already. */
void turbopy_log_mute(int on);

/** Take all messages: a list of (level, text), level as TURBO_LOG_*. */
PyObject *turbopy_log_take(turbopy_log *log);

#endif
