/* file_body.c - a response body that lies in a file: one piece of it, or several with heads between them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pread */
#endif
#include "file_body.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "turbo/error.h"

#define FIXED_MAX 160 /* of a part's head: all but Content-Type and boundary; three numbers of 20 digits are in it */

static turbo__file_body *body_new(int fd, size_t count, size_t text) {
    turbo__file_body *body = turbo__calloc(1, sizeof *body + count * sizeof(turbo__file_piece) + text);
    if (body == NULL)
        return NULL;
    body->fd = fd;
    body->count = (uint32_t)count;
    return body;
}

turbo__file_body *turbo__file_body_new(int fd, uint64_t offset, uint64_t len) {
    turbo__file_body *body = body_new(fd, 1, 0);
    if (body != NULL) {
        body->pieces[0] = (turbo__file_piece){{NULL, 0}, offset, len};
        body->len = len;
    }
    return body;
}

static size_t write_head(char *out, size_t size, const turbo__range *range, uint64_t file_size, turbo_str type,
                         const char *boundary) {
    int n = snprintf(out, size,
                     "\r\n--%s\r\n%s%.*s%sContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n", boundary,
                     type.data != NULL ? "Content-Type: " : "", (int)type.len, type.data != NULL ? type.data : "",
                     type.data != NULL ? "\r\n" : "", range->first, range->first + range->len - 1, file_size);
    return (size_t)n;
}

turbo__file_body *turbo__file_body_multipart(int fd, const turbo__ranges *ranges, uint64_t size, turbo_str type,
                                             const char *boundary) {
    size_t room = FIXED_MAX + strlen(boundary) + type.len;
    turbo__file_body *body = body_new(fd, ranges->count, (ranges->count + 1) * room);
    if (body == NULL)
        return NULL;
    char *text = (char *)&body->pieces[ranges->count];
    for (size_t i = 0; i < ranges->count; i++) {
        const turbo__range *range = &ranges->list[i];
        size_t n = write_head(text, room, range, size, type, boundary);
        /* The first boundary needs no line before it: the head of the message has just ended. */
        size_t skip = i == 0 ? 2 : 0;
        body->pieces[i] = (turbo__file_piece){{text + skip, n - skip}, range->first, range->len};
        body->len += n - skip + range->len;
        text += n;
    }
    body->tail = (turbo_str){text, (size_t)snprintf(text, room, "\r\n--%s--\r\n", boundary)};
    body->len += body->tail.len;
    return body;
}

static int read_piece(int fd, const turbo__file_piece *piece, char *out) {
    for (uint64_t at = 0; at < piece->len;) {
        ssize_t n = pread(fd, out + at, (size_t)(piece->len - at), (off_t)(piece->offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* shorter than it was */
            return TURBO_ESYS;
        at += (uint64_t)n;
    }
    return 0;
}

static char *put(char *out, turbo_str text) {
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    return out + text.len;
}

int turbo__file_body_read(const turbo__file_body *body, char *out) {
    for (uint32_t i = 0; i < body->count; i++) {
        const turbo__file_piece *piece = &body->pieces[i];
        out = put(out, piece->head);
        int rc = read_piece(body->fd, piece, out);
        if (rc < 0)
            return rc;
        out += piece->len;
    }
    (void)put(out, body->tail);
    return 0;
}

void turbo__file_body_free(turbo__file_body *body) {
    if (body == NULL)
        return;
    close(body->fd);
    turbo__free(body);
}
