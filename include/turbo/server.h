/* server.h - the public object: shards, listeners, start, drain, stop. */
#ifndef TURBO_SERVER_H
#define TURBO_SERVER_H

#include "turbo/executor.h"
#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Life of a server: new; set up (routes, executor, listen); start; serve; stop; wait; release. release may come at
 * any time: a server that runs then stops by itself and is freed by its last thread.
 */

/**
 * Tells that a server has stopped: every thread but the calling one has ended, every request is accounted for.
 *
 * @param server  still valid during the call.
 * @param user    as given to turbo_server_stop().
 */
typedef void (*turbo_stopped_fn)(turbo_server *server, void *user);

/**
 * Make a server.
 *
 * @param out      receives the server.
 * @param options  copied; NULL for all defaults.
 * @return 0; TURBO_ENOMEM.
 *
 * Owns: the caller gives the server back with turbo_server_release().
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_server_new(turbo_server **out, const turbo_options *options);

/**
 * Bind and listen on an address; connections are accepted after start. May be called several times.
 *
 * "127.0.0.1:8000", "[::1]:8000", "localhost:8000" (every address that the name has), ":8000" (every interface,
 * IPv6 and IPv4), port 0 for a free one, "unix:/path" (a stale socket file is replaced, and removed at stop).
 *
 * @param server   not NULL, not started.
 * @param address  ended by NUL.
 * @return 0; TURBO_EADDR for an address that cannot be parsed, resolved or bound here; TURBO_EADDRINUSE;
 *         TURBO_EACCES; TURBO_EMFILE; TURBO_ESYS; TURBO_ESTATE after start; TURBO_ENOMEM. turbo_server_error() has
 *         the details.
 *
 * Owns: the string is copied.
 * Thread: setup.   Blocks: while a name is resolved.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_listen(turbo_server *server, const char *address);

/**
 * Accept connections from a socket that listens already (inherited from a supervisor or made by the host).
 *
 * @param server  not NULL, not started.
 * @param fd      a listening stream socket.
 * @return 0; TURBO_EINVAL when fd is no listening stream socket; TURBO_ESTATE after start; TURBO_ENOMEM.
 *
 * Owns: on 0 the library takes fd and closes it at stop.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_listen_fd(turbo_server *server, int fd);

/**
 * Replace the executor that runs requests of routes with executor `shard`.
 *
 * @param server  not NULL, not started.
 * @param ops     read during the call; not NULL.
 * @param self    handed to every function of ops.
 * @return 0; TURBO_EINVAL for a table without batch, or with a bad size; TURBO_ETOONEW; TURBO_ESTATE after start.
 *
 * Owns: self stays the caller's until the server is released and stopped.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_set_executor(turbo_server *server, const turbo_executor_ops *ops, void *self);

/**
 * Be told on every shard when a stop begins. Answers that have no end of their own (events, a log, a long poll) end then: what is
 * unanswered at drain_timeout_ms is abandoned. The same can be asked with turbo_shard_draining().
 *
 * @param server  not NULL, not started.
 * @param fn      called once on each shard's thread, with status 0, when turbo_server_stop(), turbo_server_abort() or a signal in
 *                turbo_server_run() has begun a stop, and before the shard ends; NULL: nobody is told.
 * @param user    handed to fn.
 * @return 0; TURBO_ESTATE after start.
 *
 * Owns: user stays the caller's until the server has stopped.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_on_drain(turbo_server *server, turbo_shard_fn fn, void *user);

/**
 * Serve the counters: JSON at one path, Prometheus text at another. Answered on the I/O loop, also under load.
 *
 * @param server        not NULL, not started.
 * @param json_path     "/stats"; NULL for none.
 * @param metrics_path  "/metrics"; NULL for none.
 * @return as turbo_server_route().
 *
 * Owns: the strings are copied.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_route_stats(turbo_server *server, const char *json_path, const char *metrics_path);

/**
 * Start the threads and accept connections. A server without a listener serves requests that are submitted.
 *
 * @param server  not NULL.
 * @return 0; TURBO_ESTATE when it was started before; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS; what an executor's
 *         start_shard returned. After an error the server can only be released.
 *
 * Owns: nothing.
 * Thread: one.   Blocks: until every thread has started.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_start(turbo_server *server);

/**
 * Start unless it was started, then wait for SIGINT or SIGTERM (or turbo_server_stop() by another thread), drain, and
 * wait for the end. A second signal ends the drain. Both signals are unblocked meanwhile; their former actions and the
 * mask are put back. A program that starts by itself, to say that it accepts, blocks them before the start: then
 * none is lost in between.
 *
 * @param server  not NULL; with an executor whose shards are not driven.
 * @return 0; what turbo_server_start() returned; TURBO_ENOTSUP for driven shards.
 *
 * Owns: nothing.
 * Thread: one; at most one server a process at a time.   Blocks: until the server has stopped.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_run(turbo_server *server);

/**
 * Begin to stop: accept nothing more, answer what was taken, then end all threads. What is not answered within
 * drain_timeout_ms is abandoned and counted. A second call with a server that drains changes nothing.
 *
 * Taken is every request of which at least one byte has arrived; idle connections are closed.
 *
 * Not to be called in a signal handler: it takes a lock, which the thread that the signal interrupts may hold.
 * turbo_server_run() handles SIGINT and SIGTERM. A program that starts and waits by itself has its handler write to a pipe
 * that one of its threads reads, or a thread that waits in sigwait(), and calls this there.
 *
 * @param server  not NULL.
 * @param fn      called once when the server has stopped, on a thread of the library or during the call; may be NULL.
 * @param user    handed to fn.
 * @return 0; TURBO_ESTATE when it was not started, or fn is given and an earlier call gave one.
 *
 * Owns: user stays the caller's until fn was called.
 * Thread: any, also from callbacks.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_server_stop(turbo_server *server, turbo_stopped_fn fn, void *user);

/**
 * End a drain now: what is not answered yet is abandoned. As turbo_server_stop() otherwise, so not in a signal handler.
 *
 * @param server  not NULL.
 * @return 0; TURBO_ESTATE when it was not started.
 *
 * Owns: nothing.
 * Thread: any, also from callbacks.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_server_abort(turbo_server *server);

/**
 * Wait until the server has stopped and its threads have ended.
 *
 * @param server  not NULL.
 * @return 0; TURBO_ESTATE when it was not started, or on a thread of the library or of a driven shard.
 *
 * Owns: nothing.
 * Thread: any but the library's own.   Blocks: until stopped.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_wait(turbo_server *server);

/**
 * Give the server back. One that runs begins to stop and frees itself when it has stopped.
 *
 * @param server  may be NULL.
 *
 * Owns: takes the caller's reference.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_server_release(turbo_server *server);

/**
 * The port of the first TCP listener, for port 0.
 *
 * @param server  not NULL.
 * @return 1 .. 65535; 0 when there is no TCP listener.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API uint16_t turbo_server_port(const turbo_server *server);

/**
 * How many shards the server has.
 *
 * @param server  not NULL.
 * @return at least 1.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_server_shard_count(const turbo_server *server);

/**
 * A shard by its number.
 *
 * @param server  not NULL.
 * @param index   0 .. turbo_server_shard_count() - 1.
 * @return the shard; NULL when index is out of range.
 *
 * Owns: the server keeps the shard; it lives as long as the server.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_shard *turbo_server_shard(turbo_server *server, size_t index);

/**
 * What was wrong with the last set-up call on this server that failed.
 *
 * @param server  not NULL.
 * @return a sentence, "" when nothing has failed; valid until the next set-up call.
 *
 * Owns: the server keeps the string.
 * Thread: setup.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_server_error(const turbo_server *server);

#ifdef __cplusplus
}
#endif
#endif
