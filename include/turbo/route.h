/* route.h - which handler gets which request, and on what terms. */
#ifndef TURBO_ROUTE_H
#define TURBO_ROUTE_H

#include "turbo/export.h"
#include "turbo/request.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Chooses the shard of a request; runs on I/O loops, several at once, for every request of the route.
 *
 * @param req     routed, its head complete, its body complete unless it is streamed.
 * @param shards  how many shards there are, at least 1.
 * @param user    as given to turbo_route_options_set_placement().
 * @return the index of a shard; it is taken modulo shards.
 */
typedef size_t (*turbo_placement_fn)(const turbo_request *req, size_t shards, void *user);

/**
 * Says how heavy a request is, for batches that are bounded by rows, tokens or bytes and not by requests alone. Runs on
 * the shard's thread, once for each request, when it joins a batch.
 *
 * @param out   receives the weight, any number.
 * @param req   the request, its body complete; not NULL.
 * @param user  as given to turbo_route_options_set_weight().
 * @return 1: *out is set; 0: the request joins no batch, for the function has answered it, or will (then it retains the
 *         request); negative (TURBO_EUSER by custom): it joins no batch, the library answers 500, and logs it. No other values.
 */
typedef int (*turbo_weight_fn)(uint64_t *out, turbo_request *req, void *user);

/**
 * Options of a route, all unset. An unset option has the server's setting.
 *
 * | name | values | meaning |
 * |---|---|---|
 * | executor | shard, inline, pool | where the handler runs: the server's executor, the I/O loop, or threads of the shard |
 * | threads | 1 .. 1024 (4) | for executor pool: most requests of the route that run at once on a shard; alone it means pool |
 * | placement | default, route, round_robin, local, path, key, connection, least | how the shard is chosen |
 * | key | param:NAME, field:NAME, cookie:NAME | what placement key looks at; alone it means that placement |
 * | spill_percent | 0, 100 .. 10000 | for placements route and path: load of the home shard that sends requests on; 0 never |
 * | inflight_max | 1 .. 2^20 | most unanswered requests of the route on a shard, within the shard's own limit; others wait, in order |
 * | queue_timeout_ms | 0 .. 86400000 | a request that has waited longer for its handler is answered without it; 0 never |
 * | handler_timeout_ms | 0 .. 86400000 | a handler that has not answered, or begun to, gets 504 in its place; 0 never |
 * | shed_status | 503, 429 | the status of what is answered without its handler, because it waited too long, or a queue or the body memory is full |
 * | retry_after_s | 0 .. 86400 | Retry-After of those answers; 0: they have none |
 * | body | gathered, streamed | whether the handler begins when the body is whole, or reads it while it arrives |
 * | body_max_bytes | 0 .. 2^40 | largest body; above it 413 |
 * | body_window_bytes | 1 .. 2^30 | of a streamed body: bytes that may wait for the handler; then the client waits |
 * | batch_max | 1 .. 65536 | most requests that a batch callback gets at once |
 * | batch_wait_us | 0 .. 10000000 | how long a batch callback's batch may wait for more |
 * | batch_weight_max | 0 .. 2^40 (0) | most that a batch weighs, by turbo_route_options_set_weight(); 0: it is not weighed |
 * | index | a file's name | static routes: what a directory is answered with; unset: 404 |
 * | cache_control | a field value | static routes: Cache-Control of their answers; unset: none |
 * | dot_files | no, yes (no) | static routes: whether names that begin with "." are served |
 *
 * inflight_max does not go with executor inline, which has nothing in flight on shards.
 *
 * @param out  receives the options.
 * @return 0; TURBO_ENOMEM.
 *
 * Owns: the caller frees the result with turbo_route_options_free().
 * Thread: any; one object is used by one thread at a time.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_route_options_new(turbo_route_options **out);

/**
 * Set one option from text.
 *
 * @param options  not NULL.
 * @param name     a name of the table; not NULL.
 * @param value    not NULL.
 * @return 0; TURBO_ENOENT for an unknown name; TURBO_EINVAL for a bad value. After an error
 *         turbo_route_options_error() names the option, the value and what is allowed.
 *
 * Owns: the strings stay the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_route_options_set(turbo_route_options *options, const char *name, const char *value);

/**
 * Set one numeric option.
 *
 * @param options  not NULL.
 * @param name     a name of the table; not NULL.
 * @param value    within the range.
 * @return 0; TURBO_ENOENT; TURBO_EINVAL. As turbo_route_options_set().
 *
 * Owns: the string stays the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_route_options_set_u64(turbo_route_options *options, const char *name, uint64_t value);

/**
 * Choose the shard of each request by a function.
 *
 * @param options  not NULL.
 * @param fn       NULL takes it back.
 * @param user     handed to fn.
 * @return 0.
 *
 * Owns: user stays the caller's until the server is released and stopped.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_route_options_set_placement(turbo_route_options *options, turbo_placement_fn fn, void *user);

/**
 * Weigh the requests of a batch callback by a function, which the option batch_weight_max needs.
 *
 * A batch closes before it would weigh more than batch_weight_max, and when it weighs as much. A request that is heavier
 * by itself has a batch of its own. batch_max, batch_wait_us and all else hold as well.
 *
 * @param options  not NULL.
 * @param fn       NULL takes it back.
 * @param user     handed to fn.
 * @return 0.
 *
 * Owns: user stays the caller's until the server is released and stopped.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_route_options_set_weight(turbo_route_options *options, turbo_weight_fn fn, void *user);

/**
 * What was wrong with the last call on these options that failed.
 *
 * @param options  not NULL.
 * @return a sentence, "" when nothing has failed; valid until the next call on the options.
 *
 * Owns: the library keeps the string.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_route_options_error(const turbo_route_options *options);

/**
 * Free the options; routes made with them keep their own copy.
 *
 * @param options  may be NULL.
 *
 * Owns: frees the options.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_route_options_free(turbo_route_options *options);

/**
 * Register a handler.
 *
 * Patterns begin with '/' and are matched segment by segment: "/users/{id}" binds one non-empty segment,
 * "/files/{path...}" binds the rest, which may be empty and hold '/'. A static segment wins over {param}, and that
 * over {rest...}. Segments are split at '/' first and percent-decoded afterwards, so "%2F" never separates; a bad
 * escape or a decoded NUL is answered 400. Dot segments and empty segments are ordinary segments. GET handlers also
 * answer HEAD unless a HEAD handler exists; OPTIONS is answered with Allow unless a handler exists; a path whose
 * routes lack the method is answered 405 with Allow.
 *
 * A pattern is written decoded: "/a b" is "/a%20b" on the wire. Names of parameters consist of letters, digits and
 * '_'. A pattern has at most 64 segments and 16 parameters; a server has at most 64 methods.
 *
 * @param server   not NULL, not started.
 * @param method   "GET", any token of at most 256 bytes; NULL for every method that has no handler of its own, but TRACE.
 * @param pattern  ended by NUL.
 * @param options  NULL for defaults.
 * @param fn       the handler; NULL only when the server's executor never calls turbo_request_run().
 * @param user     handed to fn; turbo_request_user().
 * @return 0; TURBO_EINVAL for a malformed method or pattern, placement key without a key, or batch_weight_max or a weight
 *         function, which only batch callbacks have; TURBO_EEXIST when the same method and pattern (but for parameter
 *         names) is registered, or a parameter at that place has another name; TURBO_ESTATE after start; TURBO_ENOMEM.
 *         turbo_server_error() has the details.
 *
 * Owns: the strings and options are copied; user stays the caller's until the server is released and stopped.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_route(turbo_server *server, const char *method, const char *pattern,
                                 const turbo_route_options *options, turbo_handler_fn fn, void *user);

/**
 * Register a batch callback: it gets all requests of this route that one batch holds, in one call.
 *
 * A batch closes, and fn is called, when it has batch_max requests or weighs batch_weight_max. Without batch_wait_us it
 * also closes at the end of the shard's turn, which takes at most the server's batch_max requests from the queue. With
 * it, it closes at the end of a turn when its first request has been with the shard for that long; when inflight_max lets
 * no more in because all that are in flight wait in batches; and when a stop has begun. Requests are in order of arrival.
 * Those whose client has gone, and those that queue_timeout_ms is over for, are left out then, and fn is not called for
 * none. Each shard gathers for itself; a request that waits in a batch is in flight. docs/batching.md says all of it.
 *
 * @param server   not NULL, not started.
 * @param method   as turbo_server_route().
 * @param pattern  as turbo_server_route().
 * @param options  NULL for defaults.
 * @param fn       not NULL.
 * @param user     handed to fn; turbo_request_user().
 * @return as turbo_server_route(); TURBO_EINVAL also for body `streamed`, an executor that is not the shard's, or one of
 *         batch_weight_max and a weight function without the other.
 *
 * Owns: the strings and options are copied; user stays the caller's until the server is released and stopped.
 * Thread: setup.   Blocks: no.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_route_batch(turbo_server *server, const char *method, const char *pattern,
                                       const turbo_route_options *options, turbo_batch_fn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
