/* h1_log.h - feeds the HTTP/1 parser and writes its events down as text. */
#ifndef SUPPORT_H1_LOG_H
#define SUPPORT_H1_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "http1_parse.h"

/*
 * One line an event:
 *
 *     begin
 *     head METHOD TARGET HTTP/1.1 [close] [chunked] [length=N] [expect] [expect-unknown]
 *     path PATH              when it is not the whole target
 *     query QUERY            when there is a '?'
 *     field NAME: VALUE      each, in order
 *     body BYTES             all pieces of a message's body, until the next event
 *     trailer NAME: VALUE    each that is not dropped, in order
 *     end
 *     closed                 the client asked for no more messages: bytes behind are not parsed
 *     error STATUS
 *
 * Sizes of chunks are no line of their own: what comes is held against them, and a line in brackets says what is wrong.
 * And at the end of the bytes "more" when a message has begun that is not whole. Bytes but visible ASCII and inner
 * spaces are escaped as in C: \r \n \t \0 \\ \xHH.
 */
typedef struct h1_log {
    char *text; /* ended by NUL */
    size_t len, cap;
    int in_body;
    int begun;           /* a message that is not whole                              */
    int chunked;         /* the message being read is                                */
    uint64_t left;       /* of its chunk                                             */
    int closing;         /* the message being read is the last one                  */
    int stop_everywhere; /* every event stops the parser, which is then fed the rest */
    int ended;           /* closed or error: nothing more is fed                    */
} h1_log;

/** What a connection does: stop behind a message that closes. @param user an h1_log. */
extern const turbo__h1_events h1_log_events;

void h1_log_clear(h1_log *log);
void h1_log_free(h1_log *log);

/** Feed len bytes, each piece from a copy that ends at an unmapped page. */
void h1_log_feed(h1_log *log, turbo__h1_parser *parser, const char *data, size_t len);

/** The same without copies: the caller sees to it that a read behind the bytes is noticed. */
void h1_log_feed_in_place(h1_log *log, turbo__h1_parser *parser, const char *data, size_t len);

/** No more bytes: write "more" when that cuts a message. */
void h1_log_finish(h1_log *log);

/** Append bytes, escaped. */
void h1_log_escape(h1_log *log, const char *data, size_t len);

/** As printf(), not escaped. */
__attribute__((format(printf, 2, 3))) void h1_log_printf(h1_log *log, const char *format, ...);

#endif
