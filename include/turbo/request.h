/* request.h - one request: what it says, how long it lives, and the callbacks that handle it. */
#ifndef TURBO_REQUEST_H
#define TURBO_REQUEST_H

#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Lifetime. The library holds one reference to a request until its answer has been handed over; a callback may use
 * the request until it answers it. Who uses a request after answering it, or keeps it to answer later from another
 * thread, holds a reference of its own (turbo_request_retain).
 *
 * Accessors never write, so any thread that holds a reference may call them at the same time. Every turbo_str that
 * they return points into the request and lives as long as it.
 */

/** What is new with a request, as a bit set: turbo_executor_ops.events. */
enum {
    TURBO_EVENT_NEW = 1,      /* arrived on the shard; goes to turbo_executor_ops.batch instead of events */
    TURBO_EVENT_WRITABLE = 2, /* a streamed answer that got TURBO_EAGAIN may write again                  */
    TURBO_EVENT_GONE = 4,     /* the client has gone; an answer would be thrown away                      */
    TURBO_EVENT_RELEASE = 8,  /* the body lent by turbo_response_body_lend() is no longer used            */
    TURBO_EVENT_BODY = 16,    /* a read of a streamed body that got TURBO_EAGAIN may go on                 */
    TURBO_EVENT_BODY_END = 32,/* the same: what it finds is the end, or why there is none                 */
    TURBO_EVENT_DEADLINE = 64 /* the handler took longer than handler_timeout_ms: the client has 504      */
};

/**
 * Handles a request.
 *
 * It answers now, or later from any thread (then it retains the request). Runs on the shard's thread, or on the I/O
 * loop when the route's executor is `inline`.
 *
 * @param req   the request; not NULL.
 * @param user  as given to turbo_server_route().
 * @return 0: answered, or will be; negative (TURBO_EUSER by custom): failed, the library answers 500 unless an
 *         answer has begun, and logs that as turbo_request_fail() does. No other values: a positive one is a mistake,
 *         and counts as failed too.
 */
typedef int (*turbo_handler_fn)(turbo_request *req, void *user);

/**
 * Handles a batch of requests of one route: each must get its answer, now or later. Of a client that goes meanwhile an
 * answer is thrown away, as usual.
 *
 * @param shard  where the batch runs; NULL when the route's executor is `inline`.
 * @param reqs   n requests in order of arrival; the array is valid during the call.
 * @param n      1 .. the route's batch_max.
 * @param user   as given to turbo_server_route_batch().
 */
typedef void (*turbo_batch_fn)(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user);

/**
 * Tells that something happened to a request (turbo_request_on_writable, turbo_request_on_body, turbo_request_on_gone).
 *
 * @param req   the request.
 * @param user  as registered.
 */
typedef void (*turbo_request_fn)(turbo_request *req, void *user);

/**
 * Tells how a request without a connection ended; called exactly once, on the thread that answered (or that gave the
 * request up), with no lock held.
 *
 * A request that was neither submitted nor answered ends with its last reference, without a call.
 *
 * @param req     the request; the library's reference is dropped after the call.
 * @param status  0: response is the answer; TURBO_ECLOSED: the server stopped before there was one; TURBO_EUSER: the
 *                handler failed when its answer had begun.
 * @param response  the answer, valid during the call; NULL unless status is 0.
 * @param user    as given to turbo_request_new().
 */
typedef void (*turbo_done_fn)(turbo_request *req, int status, const turbo_response *response, void *user);

/**
 * The method, as sent: "GET". Methods are case-sensitive (RFC 9110 9.1).
 *
 * @param req  not NULL.
 * @return the bytes; never empty.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_method(const turbo_request *req);

/**
 * The request target as sent: path and query of the origin form, or the whole absolute form (RFC 9112 3.2).
 *
 * @param req  not NULL.
 * @return the bytes; never empty.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_target(const turbo_request *req);

/**
 * The path of the target, as sent: not percent-decoded, without the query.
 *
 * @param req  not NULL.
 * @return the bytes; "*" for OPTIONS *.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_path(const turbo_request *req);

/**
 * The query of the target, as sent, without the '?'.
 *
 * @param req  not NULL.
 * @return the bytes; data is NULL when the target has no '?', and len is 0 for an empty query.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_query(const turbo_request *req);

/**
 * The first value of a name in the query, as sent: "ms" in "a=1&ms=20" gives "20". Neither name nor value is decoded.
 *
 * @param req   not NULL.
 * @param name  ended by NUL; not NULL.
 * @return the bytes; data is NULL when the name does not occur.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_query_value(const turbo_request *req, const char *name);

/**
 * The host that the request is for, "host[:port]" as sent: that of the target's absolute form when it has one, else the
 * value of Host, which does not count then (RFC 9112 3.2.2). It was checked for its syntax, and is not in lower case;
 * routes do not look at it.
 *
 * @param req  not NULL.
 * @return the bytes, never empty; data is NULL when there is none: from HTTP/1.0, and without a connection.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_host(const turbo_request *req);

/**
 * The HTTP version as major * 10 + minor: 10 or 11. A request without a connection has 11.
 *
 * @param req  not NULL.
 * @return 10 or 11.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int32_t turbo_request_version(const turbo_request *req);

/**
 * The pattern of the route that matched: "/users/{id}".
 *
 * @param req  not NULL.
 * @return a string ended by NUL; "" when no route matched.
 *
 * Owns: the server keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_request_route(const turbo_request *req);

/**
 * The `user` that the matching route was registered with.
 *
 * @param req  not NULL.
 * @return the pointer; NULL when no route matched.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void *turbo_request_user(const turbo_request *req);

/**
 * The shard that the request was given to.
 *
 * @param req  not NULL.
 * @return the shard; NULL when the handler runs on the I/O loop (executor `inline`).
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_shard *turbo_request_shard(const turbo_request *req);

/**
 * How many parameters the route's pattern has.
 *
 * @param req  not NULL.
 * @return the number.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_request_param_count(const turbo_request *req);

/**
 * The value of a path parameter, percent-decoded: "id" of "/users/{id}".
 *
 * @param req   not NULL.
 * @param name  ended by NUL; not NULL.
 * @return the bytes; data is NULL when the pattern has no such parameter.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_param(const turbo_request *req, const char *name);

/**
 * A path parameter by its place in the pattern.
 *
 * @param req    not NULL.
 * @param index  0 .. turbo_request_param_count() - 1.
 * @param name   receives the name; may be NULL.
 * @param value  receives the percent-decoded value; may be NULL.
 * @return 0; TURBO_ENOENT when index is out of range.
 *
 * Owns: the server keeps the name, the request the value.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_param_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);

/**
 * How many header fields came with the head, repeated ones each counted.
 *
 * @param req  not NULL.
 * @return the number.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_request_field_count(const turbo_request *req);

/**
 * A header field by its place: names as sent, values without the white space around them.
 *
 * @param req    not NULL.
 * @param index  0 .. turbo_request_field_count() - 1.
 * @param name   receives the name; may be NULL.
 * @param value  receives the value; may be NULL.
 * @return 0; TURBO_ENOENT when index is out of range.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_field_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);

/**
 * The value of the first header field of a name; names are compared without regard to case (RFC 9110 5.1).
 *
 * @param req   not NULL.
 * @param name  ended by NUL; not NULL.
 * @return the bytes; data is NULL when there is no such field.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_field(const turbo_request *req, const char *name);

/**
 * How many trailer fields came behind a chunked body (RFC 9110 6.5), repeated ones each counted. Those of a streamed
 * body are there when turbo_request_body_read() has returned 0.
 *
 * They are never merged into the header fields. Fields that concern framing, routing, the connection, request
 * modifiers, authentication, content format or response control may not be trailer fields: they are dropped
 * (docs/http1.md lists them).
 *
 * @param req  not NULL.
 * @return the number; 0 for a request that was not chunked.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API size_t turbo_request_trailer_count(const turbo_request *req);

/**
 * A trailer field by its place: names as sent, values without the white space around them.
 *
 * @param req    not NULL.
 * @param index  0 .. turbo_request_trailer_count() - 1.
 * @param name   receives the name; may be NULL.
 * @param value  receives the value; may be NULL.
 * @return 0; TURBO_ENOENT when index is out of range.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_trailer_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);

/**
 * The value of the first trailer field of a name; names are compared without regard to case (RFC 9110 5.1).
 *
 * @param req   not NULL.
 * @param name  ended by NUL; not NULL.
 * @return the bytes; data is NULL when there is no such field.
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_trailer(const turbo_request *req, const char *name);

/**
 * The body, whole: transfer coding taken off, at most the route's body_max_bytes.
 *
 * @param req  not NULL.
 * @return the bytes; len is 0 when there is none, and always on a route with body `streamed`
 *         (turbo_request_body_read()).
 *
 * Owns: the request keeps the bytes.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_request_body(const turbo_request *req);

/**
 * Take the next part of the body.
 *
 * On a route with body `streamed` the handler begins when the head is there, and reads the body while it arrives. When
 * body_window_bytes of it wait to be read, the client has to wait, until half of them were read: pausing is not to
 * read. A client that asked whether it may send (Expect: 100-continue) is told so at the first read that finds nothing,
 * or before a streamed answer (2xx) that begins earlier.
 *
 * Elsewhere the body is one part. Bytes that were taken are not kept: who needs them all gathers them.
 *
 * When a body ends badly and no answer has begun, the answer is the handler's to give; turbo_request_fail(), or a
 * handler that returns a negative number, then answers with the status that fits instead of 500. The connection ends
 * behind it. A request whose body finds no memory before the handler begins is shed, and the handler not run.
 *
 * A request may be answered before its body was read: what is left of it is read away if it is at most
 * body_window_bytes, else the connection ends behind the answer; reads then get TURBO_ECLOSED.
 *
 * @param req  not NULL.
 * @param out  receives the part, never empty; valid until the next call for this request, or its last reference.
 * @return 1: a part; 0: the end of the body, after which trailer fields may be read; TURBO_EAGAIN: nothing is there yet,
 *         turbo_request_on_body() tells when to call again; TURBO_ETOOBIG: longer than the route's body_max_bytes
 *         (413); TURBO_ENOMEM: body_memory_max_bytes is reached, where a part counts at least 4 KiB
 *         (shed_status): what was not read by then is given back; TURBO_ECLOSED: the client has gone, or the answer
 *         was sent, or the body is malformed (400), stalled (408), or has too many trailer fields or chunk extensions
 *         (431). Once it is not 1 or TURBO_EAGAIN, it stays.
 *
 * Owns: the request keeps the bytes.
 * Thread: any; one at a time for one request.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_body_read(turbo_request *req, turbo_str *out);

/**
 * Be told, on the request's shard (on the I/O loop for executor `inline`), that turbo_request_body_read() has something
 * new after it returned TURBO_EAGAIN. For executors that do not handle events themselves.
 *
 * @param req   not NULL.
 * @param fn    called once after a TURBO_EAGAIN, perhaps before the call that got it has returned when that was made
 *              on another thread; NULL takes it back.
 * @param user  handed to fn.
 * @return 0.
 *
 * Owns: user stays the caller's.
 * Thread: shard; or any before the first read.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_on_body(turbo_request *req, turbo_request_fn fn, void *user);

/**
 * The address of the client as text: "127.0.0.1:4711", "[::1]:4711", "unix:"; "" without a connection.
 *
 * @param req   not NULL.
 * @param out   receives the text, ended by NUL; not NULL.
 * @param size  bytes at out; 64 is always enough.
 * @return 0; TURBO_ETOOBIG when it does not fit.
 *
 * Owns: out stays the caller's.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_peer(const turbo_request *req, char *out, size_t size);

/**
 * Whether an answer would be thrown away: the client has gone, or the handler took longer than handler_timeout_ms, which
 * turbo_request_timed_out() tells apart.
 *
 * @param req  not NULL.
 * @return 1 when it would, else 0; once 1 it stays 1.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_cancelled(const turbo_request *req);

/**
 * Whether the handler took longer than handler_timeout_ms and the client was answered 504 in its place. The request stays in
 * flight until the handler is done: it answers (turbo_request_respond(), turbo_request_reply() and turbo_request_fail()
 * return 0 and throw the answer away), tries to begin a streamed answer (TURBO_ESTATE), or lets go of the request.
 *
 * @param req  not NULL.
 * @return 1 when it did, else 0; once 1 it stays 1.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_timed_out(const turbo_request *req);

/**
 * How long the handler still has to answer, or to begin a streamed answer (handler_timeout_ms).
 *
 * @param req  not NULL.
 * @return milliseconds, rounded up; 0 when the time is over; -1 when there is no limit: none is set, the handler has not
 *         begun, or it runs on an I/O loop (executor `inline`).
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int64_t turbo_request_deadline_ms(const turbo_request *req);

/**
 * Be told, on the request's shard, when from now on an answer would be thrown away: the client goes before it was made, or the
 * handler takes longer than handler_timeout_ms (turbo_request_timed_out()). The handler still has to answer, to end the
 * request. For executors that do not handle events themselves (the built-in ones call these functions). A client that
 * closes its connection is known to have gone at once with the setting on_fin = cancel; else a minute later, since its FIN may
 * be a half-close (tcp_keepalive_s; docs/embedding.md, "When a client has gone").
 *
 * @param req   not NULL, not answered.
 * @param fn    called at most once; NULL takes it back.
 * @param user  handed to fn.
 * @return 0; TURBO_ESTATE when the request has been answered, or when it runs on an I/O loop (executor `inline`).
 *
 * Owns: user stays the caller's.
 * Thread: shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_on_gone(turbo_request *req, turbo_request_fn fn, void *user);

/**
 * Keep a pointer with a request, for whoever runs it: an executor finds its own state by it when an event comes.
 *
 * @param req   not NULL.
 * @param data  any.
 *
 * Owns: data stays the caller's.
 * Thread: shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_request_data_set(turbo_request *req, void *data);

/**
 * The pointer kept by turbo_request_data_set().
 *
 * @param req  not NULL.
 * @return the pointer; NULL at first.
 *
 * Owns: nothing.
 * Thread: shard.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void *turbo_request_data(const turbo_request *req);

/**
 * Take a reference.
 *
 * @param req  not NULL.
 * @return req.
 *
 * Owns: the caller gives the reference back with turbo_request_release().
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_request *turbo_request_retain(turbo_request *req);

/**
 * Give a reference back; the last one frees the request.
 *
 * @param req  may be NULL.
 *
 * Owns: takes the caller's reference.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_request_release(turbo_request *req);

/**
 * Make a request that comes from no connection: it is routed like one that does, submitted with
 * turbo_shard_submit(), and its answer goes to `done`.
 *
 * @param out     receives the request.
 * @param server  started; not NULL.
 * @param method  "POST", ended by NUL; a token.
 * @param target  "/predict?x=1", ended by NUL; begins with '/'.
 * @param done    not NULL.
 * @param user    handed to done.
 * @return 0; TURBO_EINVAL for a malformed method or target; TURBO_ENOENT when no route matches;
 *         TURBO_ESTATE before start; TURBO_ECLOSED when the server is stopping; TURBO_ENOMEM.
 *
 * Owns: the caller's reference is given back with turbo_request_release(); the strings are copied.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_new(turbo_request **out, turbo_server *server, const char *method, const char *target,
                                turbo_done_fn done, void *user);

/**
 * Give a request that is not submitted yet a body; a second call replaces it.
 *
 * @param req   made by turbo_request_new(), not submitted.
 * @param data  len bytes, copied; may be NULL when len is 0.
 * @param len   at most the route's body_max_bytes.
 * @return 0; TURBO_ETOOBIG; TURBO_ESTATE when it was submitted or has a connection; TURBO_ENOMEM.
 *
 * Owns: data stays the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_body_set(turbo_request *req, const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
