/* file_body.h - a response body that lies in a file: one piece of it, or several with heads between them. */
#ifndef TURBO_FILE_BODY_H
#define TURBO_FILE_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "range.h"
#include "turbo/types.h"

typedef struct turbo__file_piece {
    turbo_str head; /* sent before it; may be empty */
    uint64_t offset, len;
} turbo__file_piece;

typedef struct turbo__file_body {
    int fd;
    uint32_t count;  /* of pieces, at least 1         */
    turbo_str tail;  /* sent behind the last one      */
    uint64_t len;    /* of heads, pieces and tail     */
    turbo__file_piece pieces[];
} turbo__file_body;

/** One piece; len is not 0. @return NULL without memory; else fd is its own. */
turbo__file_body *turbo__file_body_new(int fd, uint64_t offset, uint64_t len);

/** The ranges of a file as multipart/byteranges (RFC 9110 14.6).
 *  @param type  Content-Type of the parts; data NULL: none. @param size  of the file.
 *  @return NULL without memory; else fd is its own. */
turbo__file_body *turbo__file_body_multipart(int fd, const turbo__ranges *ranges, uint64_t size, turbo_str type,
                                             const char *boundary);

/** Read all of it: the heads, the pieces and the tail. @param out  len bytes. @return 0; TURBO_ESYS. Blocks. */
int turbo__file_body_read(const turbo__file_body *body, char *out);

/** Close the file. */
void turbo__file_body_free(turbo__file_body *body);

#endif
