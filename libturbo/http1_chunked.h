/* http1_chunked.h - the chunked transfer coding, taken off (RFC 9112 7.1); does no I/O and allocates nothing. */
#ifndef TURBO_HTTP1_CHUNKED_H
#define TURBO_HTTP1_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

typedef struct turbo__chunked {
    uint64_t left;     /* of the chunk's data; while its size is read: the size so far        */
    size_t overhead;   /* bytes of extensions and trailers of this message                    */
    size_t max;        /* of overhead                                                         */
    uint8_t state;
    uint8_t digits;    /* of the size                                                         */
} turbo__chunked;

enum {
    TURBO__CHUNKED_MORE = 0, /* all bytes were used, none is data         */
    TURBO__CHUNKED_DATA = 1, /* *data, *data_len is data                  */
    TURBO__CHUNKED_END = 2,  /* the body, trailers included, has ended    */
    TURBO__CHUNKED_SIZE = 3, /* a chunk's size line was read: chunked->left; 0: the trailer section follows */
    TURBO__CHUNKED_TRAILER = 4, /* the bytes used end a line of the trailer section, CRLF included           */
    TURBO__CHUNKED_BAD = -1,
    TURBO__CHUNKED_TOO_LARGE = -2 /* extensions and trailers above max    */
};

void turbo__chunked_begin(turbo__chunked *chunked, size_t max);

/** Go on as far as the next piece of data, the end of a size or trailer line, the end, or the end of the bytes.
 *  @param used receives how many bytes were used, those of the piece included. @return TURBO__CHUNKED_*. */
int turbo__chunked_next(turbo__chunked *chunked, const char *bytes, size_t len, size_t *used, const char **data,
                        size_t *data_len);

/** Whether the next byte belongs to the trailer section. */
int turbo__chunked_in_trailers(const turbo__chunked *chunked);

#endif
