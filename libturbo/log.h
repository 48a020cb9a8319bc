/* log.h - the user's log callback behind a level. */
#ifndef TURBO_LOG_INTERNAL_H
#define TURBO_LOG_INTERNAL_H

#include "turbo/log.h"

/* One a server, written before start, read by every thread. All-zero writes ERROR and WARN to standard error. */
typedef struct turbo__log {
    turbo_log_fn fn;
    void *user;
    int32_t level; /* highest level that is wanted; 0 with set == 0 means WARN */
    int32_t set;
} turbo__log;

/** Say something; formats only when the level is wanted; at most 512 bytes. Thread: any. */
void turbo__log_write(const turbo__log *log, int32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
