/* response.h - answers: whole or streamed, from any thread. */
#ifndef TURBO_RESPONSE_H
#define TURBO_RESPONSE_H

#include "turbo/export.h"
#include "turbo/request.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Framing is the library's: Content-Length, Transfer-Encoding, Date and the Connection field follow from the answer
 * and the request. A body is never sent where HTTP forbids one (HEAD, 204, 205, 304).
 */

/**
 * An empty answer.
 *
 * @param out     receives the response.
 * @param status  200 .. 599 (RFC 9110 15).
 * @return 0; TURBO_EINVAL; TURBO_ENOMEM.
 *
 * Owns: the caller, until turbo_request_respond() or turbo_request_respond_begin() takes it, or turbo_response_free().
 * Thread: any; one response is built by one thread at a time.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_new(turbo_response **out, int32_t status);

/**
 * Free a response that was not sent; a lent body is given back.
 *
 * @param resp  may be NULL.
 *
 * Owns: frees the response.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API void turbo_response_free(turbo_response *resp);

/**
 * Add a field. Repeated names are sent each on a line of its own, in order.
 *
 * Date replaces the library's own. Connection is taken only with the value "close", which ends the
 * connection after this answer. Content-Length is taken for a streamed answer of known length, and for an answer
 * without a body to HEAD or with status 304, where it names what GET would have sent; without it they have none.
 * Upgrade says what else the server speaks, as a 426 must (RFC 9110 7.8): the library then names it in Connection. It
 * never switches.
 *
 * @param resp   not NULL.
 * @param name   a token (RFC 9110 5.6.2), name_len bytes; copied.
 * @param value  a field value (RFC 9110 5.5: no CR, LF, NUL or other control character but HTAB), copied.
 * @return 0; TURBO_EINVAL for a malformed name or value, Transfer-Encoding, Keep-Alive, another Connection,
 *         or a Content-Length that is no number; TURBO_ETOOBIG when all fields pass 64 KiB; TURBO_ENOMEM.
 *
 * Owns: the bytes stay the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_field_add(turbo_response *resp, const char *name, size_t name_len, const char *value,
                                       size_t value_len);

/**
 * Set the body by copying it. A second body of any kind replaces the first.
 *
 * @param resp  not NULL.
 * @param data  len bytes; may be NULL when len is 0.
 * @param len   in bytes.
 * @return 0; TURBO_ENOMEM.
 *
 * Owns: data stays the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_body_copy(turbo_response *resp, const void *data, size_t len);

/**
 * Set the body without copying it: bytes that live at least as long as the server and do not change.
 *
 * @param resp  not NULL.
 * @param data  len bytes; may be NULL when len is 0.
 * @param len   in bytes.
 * @return 0.
 *
 * Owns: data stays the caller's, unchanged, until the server is released and stopped.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_body_static(turbo_response *resp, const void *data, size_t len);

/**
 * Set the body without copying it: bytes that are given back with free_fn once they are sent or thrown away.
 *
 * @param resp     not NULL.
 * @param data     len bytes.
 * @param len      in bytes.
 * @param free_fn  called exactly once, on any of the library's threads, or in turbo_response_free(); not NULL.
 * @param user     handed to free_fn.
 * @return 0.
 *
 * Owns: the library, until it calls free_fn.
 * Thread: one.   Blocks: no.   Reenter: free_fn may call turbo_request_release(), and nothing else of the library.
 * Since: 0.1
 */
TURBO_API int turbo_response_body_ref(turbo_response *resp, const void *data, size_t len, turbo_free_fn free_fn,
                                      void *user);

/**
 * Set the body without copying it, for hosts whose memory may be given back on the shard's thread only: when the
 * bytes are no longer used the request gets TURBO_EVENT_RELEASE on its shard. Not for requests without a shard.
 *
 * The event needs a shard that still runs. What a shard that was stopped has not been told of, the host gives back
 * after turbo_server_wait() has returned: then nothing is used any more.
 *
 * @param resp  not NULL.
 * @param data  len bytes.
 * @param len   in bytes.
 * @return 0.
 *
 * Owns: the library, until TURBO_EVENT_RELEASE, or until the response is freed without having been sent.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_body_lend(turbo_response *resp, const void *data, size_t len);

/**
 * The status of a response.
 *
 * @param resp  not NULL.
 * @return 200 .. 599.
 *
 * Owns: nothing.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int32_t turbo_response_status(const turbo_response *resp);

/**
 * The first field of a name that was added to a response; for turbo_done_fn.
 *
 * @param resp  not NULL.
 * @param name  ended by NUL; compared without regard to case.
 * @return the bytes; data is NULL when there is no such field.
 *
 * Owns: the response keeps the bytes.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_response_field(const turbo_response *resp, const char *name);

/**
 * The body of a response; for turbo_done_fn.
 *
 * @param resp  not NULL.
 * @return the bytes; none while they lie in a file (turbo_done_fn gets them read).
 *
 * Owns: the response keeps the bytes.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API turbo_str turbo_response_body(const turbo_response *resp);

/**
 * Send a response and finish its request.
 *
 * The I/O loop that owns the connection writes it. Answers made on a shard's own thread leave together, at the end
 * of the batch or at turbo_shard_flush(); answers from other threads leave at once. Pipelined answers leave in the
 * order their requests came.
 *
 * @param req   not NULL.
 * @param resp  complete response; not NULL.
 * @return 0, also when the client has gone, or the handler's time was over (turbo_request_timed_out()); TURBO_ESTATE when the
 *         request has an answer already.
 *
 * Owns: on 0 the library takes the response, and drops its own reference to the request; else the response stays the caller's.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_respond(turbo_request *req, turbo_response *resp);

/**
 * Answer in one call, without a response object: the cheapest way for small answers.
 *
 * @param req           not NULL.
 * @param status        200 .. 599.
 * @param content_type  ended by NUL, a field value; NULL for none.
 * @param data          len bytes, copied; may be NULL when len is 0.
 * @param len           in bytes.
 * @return 0, also when the client has gone; TURBO_EINVAL for the status or the content type; TURBO_ESTATE when the
 *         request has an answer already; TURBO_ENOMEM.
 *
 * Owns: data stays the caller's; on 0 the library drops its own reference to the request.
 * Thread: any.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_reply(turbo_request *req, int32_t status, const char *content_type, const void *data,
                                  size_t len);

/**
 * Begin a streamed answer: status and fields now, the body by turbo_request_respond_write(), until
 * turbo_request_respond_end(). A body that resp has is its first part.
 *
 * With a Content-Length field the answer has that length; otherwise it is chunked (RFC 9112 7.1), or ends with the
 * connection for an HTTP/1.0 client. The calls for one request are made by one thread at a time.
 *
 * @param req   not NULL.
 * @param resp  status and fields; not NULL.
 * @return 0, also when the client has gone; TURBO_ESTATE when the request has an answer already, also because the handler's
 *         time was over (turbo_request_timed_out()); TURBO_EINVAL when the body of resp lies in a file.
 *
 * Owns: on 0 the library takes the response. The library keeps its reference to the request until the end.
 * Thread: any, one at a time for one request.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_respond_begin(turbo_request *req, turbo_response *resp);

/**
 * Send a part of a streamed answer.
 *
 * When unsent_max_bytes wait for the client, and as many of this answer behind them, the call takes nothing and returns
 * TURBO_EAGAIN, and the callback set by turbo_request_on_writable() tells when to go on. Below that a part is taken
 * whole, however large. While answers to earlier requests of the connection are still due, 4 KiB may wait, and no part
 * may be larger.
 *
 * @param req   not NULL; its answer has begun.
 * @param data  len bytes, copied.
 * @param len   in bytes; 0 sends nothing.
 * @return 0; TURBO_EAGAIN; TURBO_ECLOSED when the client has gone; TURBO_ESTATE when the answer has not begun or has
 *         ended; TURBO_ETOOBIG for more than the Content-Length said; TURBO_ENOMEM.
 *
 * Owns: data stays the caller's.
 * Thread: any, one at a time for one request.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_respond_write(turbo_request *req, const void *data, size_t len);

/**
 * Add a trailer field to a streamed answer: fields behind the body, such as a checksum of it (RFC 9110 6.5). Repeated
 * names are sent each on a line of its own, in order.
 *
 * They are sent when the answer is chunked and has a body; else (a Content-Length, HTTP/1.0, HEAD, a request without a
 * connection) they are dropped, as recipients may drop them, too: a client that wants them says "TE: trailers". The field
 * Trailer, added to the response, announces them (RFC 9110 6.6.2).
 *
 * @param req    not NULL; its answer has begun.
 * @param name   a token (RFC 9110 5.6.2), name_len bytes; copied.
 * @param value  a field value (RFC 9110 5.5), value_len bytes; copied.
 * @return 0; TURBO_EINVAL for a malformed name or value, or a field that may not be a trailer (RFC 9110 6.5.1: framing,
 *         routing, authentication, content format, caching ...); TURBO_ETOOBIG when all pass 64 KiB; TURBO_ESTATE when the
 *         answer has not begun or has ended; TURBO_ENOMEM.
 *
 * Owns: the bytes stay the caller's.
 * Thread: any, one at a time for one request.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_respond_trailer(turbo_request *req, const char *name, size_t name_len, const char *value,
                                            size_t value_len);

/**
 * End a streamed answer. When less was written than the Content-Length said, the connection is closed so that the
 * client can tell.
 *
 * @param req  not NULL; its answer has begun.
 * @return 0, also when the client has gone; TURBO_ESTATE when the answer has not begun or has ended.
 *
 * Owns: on 0 the library drops its own reference to the request.
 * Thread: any, one at a time for one request.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_respond_end(turbo_request *req);

/**
 * Say that the handler has failed after it returned: what a negative return does. Without an answer the request is
 * answered 500, or, when its streamed body ended badly, with what that calls for (400, 408, 413, 431, shed_status); an
 * answer that has begun is cut off, so that the client does not take it for whole. Logged at level WARN, at most once a
 * second, unless the client has gone, the handler's time was over or its body ended badly.
 *
 * @param req  not NULL.
 * @return 0, also when the client has gone; TURBO_ESTATE when the answer is complete.
 *
 * Owns: on 0 the library drops its own reference to the request.
 * Thread: any, one at a time for one request.   Blocks: no.   Reenter: allowed inside any callback.
 * Since: 0.1
 */
TURBO_API int turbo_request_fail(turbo_request *req);

/**
 * Be told when a streamed answer that got TURBO_EAGAIN may go on. Called on the request's shard, or on the I/O loop
 * for executor `inline`, once for each TURBO_EAGAIN; also when the client has gone, where the next write tells. It may
 * come before the write on another thread has returned TURBO_EAGAIN.
 *
 * @param req   not NULL.
 * @param fn    NULL takes it back.
 * @param user  handed to fn.
 * @return 0; TURBO_ESTATE when the answer has ended.
 *
 * Owns: user stays the caller's.
 * Thread: the shard, or the I/O loop for executor `inline`.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_request_on_writable(turbo_request *req, turbo_request_fn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
