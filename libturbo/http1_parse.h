/* http1_parse.h - HTTP/1 bytes in, events out; does no I/O. */
#ifndef TURBO_HTTP1_PARSE_H
#define TURBO_HTTP1_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "fields.h"

typedef struct turbo__h1_parser turbo__h1_parser;

/* A complete head. Everything in it is valid during the on_head call. */
typedef struct turbo__h1_head {
    const char *raw; /* the head's bytes as they came, contiguous: spans count from here */
    size_t raw_len;
    turbo__span method, target;
    turbo__span path, query;  /* parts of target; path of the absolute form may be empty (means "/")     */
    uint8_t has_query;        /* there was a '?'                                                         */
    uint8_t version;          /* 10 or 11                                                                */
    uint8_t keep_alive;       /* the client lets the connection live on (RFC 9112 9.3)                   */
    uint8_t chunked;          /* the body is chunked; else content_length                                */
    uint8_t expect_continue;  /* Expect: 100-continue from an HTTP/1.1 client                            */
    uint8_t is_head;          /* method HEAD                                                             */
    uint8_t expect_unknown;   /* an expectation that is not 100-continue: answer 417                     */
    uint8_t reserved;
    uint64_t content_length;  /* 0 when there is none                                                    */
    const turbo__field *fields;
    size_t field_count;
} turbo__h1_head;

/*
 * Where events go. All but on_begin return 0 to go on, or 1 to stop there: turbo__h1_feed() then returns
 * TURBO__H1_STOPPED and has used the bytes up to that point (on_body: the data of the call included).
 */
typedef struct turbo__h1_events {
    void (*on_begin)(void *user);                                  /* the first byte of a message was seen (not CRLF before it) */
    int (*on_head)(void *user, const turbo__h1_head *head);
    int (*on_chunk)(void *user, uint64_t size);                    /* so much body follows; size > 0     */
    int (*on_body)(void *user, const char *data, size_t len);      /* transfer coding taken off; len > 0 */
    int (*on_trailer)(void *user, turbo_str name, turbo_str value); /* one that is not forbidden: http1_trailer.h */
    int (*on_end)(void *user);                                     /* message complete                   */
} turbo__h1_events;

typedef struct turbo__h1_limits {
    size_t head_max;   /* bytes of request line and fields; also of chunk extensions and trailers of one message */
    size_t fields_max; /* of a head; also of a trailer section */
    size_t target_max;
} turbo__h1_limits;

enum {
    TURBO__H1_MORE = 0,    /* all bytes were used; feed more when there are any     */
    TURBO__H1_STOPPED = 1, /* a callback stopped; feed the rest later to go on      */
    TURBO__H1_ERROR = -1   /* malformed: turbo__h1_status() says what to answer; the parser takes no more bytes */
};

/**
 * A parser, ready for the first message of a connection.
 * @param events  kept by pointer; outlives the parser. @param limits copied.
 * @return 0; TURBO_ENOMEM.
 */
int turbo__h1_parser_new(turbo__h1_parser **out, const turbo__h1_events *events, const turbo__h1_limits *limits);

/** Ready for another connection; keeps memory up to a few KiB. */
void turbo__h1_parser_reset(turbo__h1_parser *parser);

void turbo__h1_parser_free(turbo__h1_parser *parser);

/**
 * Parse bytes of a connection.
 * @param user  handed to the events. @param used receives how many bytes were used.
 * @return TURBO__H1_*.
 */
int turbo__h1_feed(turbo__h1_parser *parser, void *user, const char *data, size_t len, size_t *used);

/** Within on_end: whether bytes lie behind the message, in those that are being fed. */
int turbo__h1_has_more(const turbo__h1_parser *parser);

/** Whether nothing has been seen since the last message ended, not even an empty line (those are counted over all
 *  reads): the parser may be reset and used elsewhere. */
int turbo__h1_idle(const turbo__h1_parser *parser);

/** After TURBO__H1_ERROR: 400, 413, 414, 431, 501 or 505. */
int turbo__h1_status(const turbo__h1_parser *parser);

/** After TURBO__H1_ERROR: a few words for the client and the log. */
const char *turbo__h1_reason(const turbo__h1_parser *parser);

/** Whether the head being read, or refused, begins like one of HEAD: an answer to it has no body (RFC 9110 9.3.2). */
int turbo__h1_asks_head(const turbo__h1_parser *parser);

#endif
