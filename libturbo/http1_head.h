/* http1_head.h - what RFC 9112 2-6 and RFC 9110 ask of a request's head beyond its grammar. */
#ifndef TURBO_HTTP1_HEAD_H
#define TURBO_HTTP1_HEAD_H

#include "http1_parse.h"

/* Why a head is refused. status 0: it is not. */
typedef struct turbo__refusal {
    int status;
    const char *reason;
} turbo__refusal;

/**
 * Judge the method of a request line, of which `len` bytes are here, the SP behind it not counted: 400 or 501 by the
 * first byte that decides, so that it does not matter how many have come.
 */
turbo__refusal turbo__h1_check_method(const char *method, size_t len);

/**
 * Take the request line apart: method, target, version, path and query (RFC 9112 3).
 * @param line  the line without CRLF, at head->raw. @param target_max largest target; above it 414.
 */
turbo__refusal turbo__h1_request_line(turbo__h1_head *head, size_t line_len, size_t target_max);

/**
 * Judge the fields, and set chunked, content_length, keep_alive and expect_* from them.
 * @param head  with request line and fields set.
 */
turbo__refusal turbo__h1_check_fields(turbo__h1_head *head);

#endif
