/* http1_write.h - status line, fields and chunk framing to bytes; does no I/O and allocates nothing. */
#ifndef TURBO_HTTP1_WRITE_H
#define TURBO_HTTP1_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "turbo/types.h"

/* How a client finds the end of an answer (RFC 9112 6.3). */
enum {
    TURBO__FRAME_NONE = 0, /* no body and no length: 1xx, 204; 304 without a length */
    TURBO__FRAME_LENGTH,   /* Content-Length: length                                */
    TURBO__FRAME_CHUNKED,  /* Transfer-Encoding: chunked                            */
    TURBO__FRAME_CLOSE     /* the connection's end is the body's end                */
};

typedef struct turbo__h1_answer {
    int32_t status;         /* 100 .. 599                                                 */
    uint8_t frame;          /* TURBO__FRAME_*                                             */
    uint8_t version;        /* of the request, 10 or 11; the answer's line says HTTP/1.1  */
    uint8_t keep_alive;     /* 0 writes "Connection: close"; 1 to 1.0 "Connection: keep-alive" */
    uint8_t upgrade;        /* fields has an Upgrade: "Connection: upgrade" too           */
    uint64_t length;        /* for TURBO__FRAME_LENGTH                                    */
    const char *date;       /* 29 bytes; NULL when fields has one                         */
    turbo_str content_type; /* without a body usually absent; data NULL: no such line     */
    turbo_str fields;       /* ready lines "Name: value\r\n", may be empty                */
} turbo__h1_answer;

#define TURBO__CHUNK_HEAD_MAX 18 /* 16 hex digits and CRLF */

/** The reason phrase of a status code, "" for one without (RFC 9110 15). */
const char *turbo__status_text(int32_t status);

/** No head of this answer is longer than this. */
size_t turbo__h1_head_bound(const turbo__h1_answer *answer);

/** Write the head, up to the empty line. @param out turbo__h1_head_bound() bytes. @return bytes written. */
size_t turbo__h1_write_head(char *out, const turbo__h1_answer *answer);

/** Write "LEN\r\n". @param out TURBO__CHUNK_HEAD_MAX bytes; len > 0. @return bytes written. */
size_t turbo__h1_write_chunk_head(char *out, size_t len);

/** Write decimal digits. @param out 20 bytes. @return bytes written. */
size_t turbo__write_u64(char *out, uint64_t value);

#endif
