/* log.h - where the library's own messages go. */
#ifndef TURBO_LOG_H
#define TURBO_LOG_H

#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Levels, the most important first. There is no access log, and no line for a start; what was wrong with a set-up call says
 * turbo_server_error().
 *
 * WARN: a handler has failed; connections cannot be accepted for now, or an address has connections_per_address_max of
 * them; most clients leave before their answer (queue_patience). Of each of these at most one line a second a server. And the
 * end, when requests were left without an answer.
 */
enum {
    TURBO_LOG_ERROR = 1, /* something failed that the operator should look at; nothing so far      */
    TURBO_LOG_WARN = 2,  /* something is wrong but service goes on                                 */
    TURBO_LOG_INFO = 3,  /* the end: how many requests were taken, answered, shed, dropped         */
    TURBO_LOG_DEBUG = 4  /* for people who work on the library: requests that were refused, and why */
};

/**
 * Receives a message.
 *
 * Called on whichever thread has something to say, several at once; it must not block for long
 * and must not call back into the library except for getters.
 *
 * @param user     as given to turbo_server_set_log().
 * @param level    TURBO_LOG_*.
 * @param message  one line ended by NUL, without a line feed; valid during the call.
 */
typedef void (*turbo_log_fn)(void *user, int32_t level, const char *message);

/**
 * Send the server's messages to a function. Without one, ERROR and WARN go to standard error.
 *
 * @param server  not NULL, not started.
 * @param level   the least important level that is still wanted; 0 silences all.
 * @param fn      NULL for standard error.
 * @param user    handed to fn.
 * @return 0; TURBO_ESTATE after start; TURBO_EINVAL for a level out of 0..4.
 *
 * Owns: user stays the caller's until the server is released and stopped.
 * Thread: setup.   Blocks: no.   Reenter: not from fn.
 * Since: 0.1
 */
TURBO_API int turbo_server_set_log(turbo_server *server, int32_t level, turbo_log_fn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
