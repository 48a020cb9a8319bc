/* file.c - an open file into a response: validators, preconditions, ranges. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* st_mtim, st_ctim */
#endif
#include "file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "conditional.h"
#include "fields.h"
#include "file_body.h"
#include "http1_write.h"
#include "http_date.h"
#include "media_type.h"
#include "mem.h"
#include "os/os.h"
#include "request.h"
#include "response.h"
#include "turbo/error.h"

#define READ_MAX 16384 /* up to here reading into memory costs less than two system calls to send, and holds no descriptor */
#define ETAG_MAX 64
#define BOUNDARY_BYTES 12

/* What is known while a response is made. */
typedef struct source {
    const turbo_request *req;
    turbo__condition_fields fields;
    turbo__validators validators;
    char etag[ETAG_MAX];
    uint64_t size;
    const char *name;
    int reads; /* the method is GET or HEAD */
    int is_get;
    int has_no_ranges; /* the handler says so */
} source;

int turbo__file_stat(int fd, struct stat *out) {
    if (fstat(fd, out) < 0)
        return TURBO_ESYS;
    return S_ISREG(out->st_mode) || S_ISDIR(out->st_mode) ? 0 : TURBO_ENOENT;
}

static int is_method(const turbo_request *req, const char *name) {
    turbo_str method = turbo_request_method(req);
    return method.len == strlen(name) && memcmp(method.data, name, method.len) == 0;
}

/* -- validators -- */

/* A file that was changed within this second may change again without another time: times of change are as coarse as
 * the file system's clock, at worst a second (RFC 9110 8.8.1, 8.8.2.2). One from the future can do so for long. */
static int is_settled(const struct timespec *changed, int64_t now) { return changed->tv_sec < now - 1; }

/* Of the time of the last change to the inode, which nobody can set back as the file's own time may be, by who copies over it.
 * So that one says, too, whether it may change again and look the same. */
static void make_etag(source *from, const struct stat *info) {
    int is_strong = is_settled(&info->st_ctim, from->validators.now);
    int n = snprintf(from->etag, sizeof from->etag, "%s\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"", is_strong ? "" : "W/",
                     (uint64_t)info->st_ctim.tv_sec * 1000000000u + (uint64_t)info->st_ctim.tv_nsec,
                     (uint64_t)info->st_size, (uint64_t)info->st_ino);
    from->validators.etag = (turbo_str){from->etag, (size_t)n};
}

static int set_etag(turbo_response *resp, source *from, const struct stat *info) {
    turbo_str own = turbo_response_field(resp, "ETag");
    make_etag(from, info);
    if (own.data == NULL)
        return turbo__response_line(resp, "ETag", from->etag);
    if (!turbo__is_etag(own) || own.len >= sizeof from->etag) {
        from->validators.etag = (turbo_str){NULL, 0};
        return 0;
    }
    memcpy(from->etag, own.data, own.len); /* lines that are added may move it */
    from->validators.etag = (turbo_str){from->etag, own.len};
    return 0;
}

static int set_modified(turbo_response *resp, source *from, const struct stat *info) {
    turbo__validators *known = &from->validators;
    char text[TURBO__DATE_LEN + 1];
    turbo_str own = turbo_response_field(resp, "Last-Modified");
    known->has_modified = 1;
    known->modified_is_strong = is_settled(&info->st_mtim, known->now) != 0;
    if (own.data != NULL) {
        known->has_modified = turbo__http_date_parse(&known->modified, own, known->now) == 0;
        return 0;
    }
    /* Not later than Date (RFC 9110 8.8.2.1). */
    known->modified = info->st_mtim.tv_sec > known->now ? known->now : info->st_mtim.tv_sec;
    turbo__date_format(text, known->modified);
    return turbo__response_line(resp, "Last-Modified", text);
}

static int set_validators(turbo_response *resp, source *from, const struct stat *info) {
    from->validators.now = turbo__clock_wall_s();
    int rc = set_etag(resp, from, info);
    return rc < 0 ? rc : set_modified(resp, from, info);
}

/* "none" advises clients against ranges (RFC 9110 14.3): so those that ask all the same have none. */
static int set_accept_ranges(turbo_response *resp, source *from) {
    turbo_str own = turbo_response_field(resp, "Accept-Ranges");
    if (own.data == NULL)
        return turbo__response_line(resp, "Accept-Ranges", "bytes");
    from->has_no_ranges = turbo__ascii_equal(own.data, own.len, "none", 4);
    return 0;
}

/* -- bodies; each takes fd, whatever it returns -- */

static int set_piece(turbo_response *resp, int fd, uint64_t offset, uint64_t len) {
    turbo__file_body *body = len == 0 ? NULL : turbo__file_body_new(fd, offset, len);
    if (body == NULL) {
        close(fd);
        return len == 0 ? 0 : TURBO_ENOMEM;
    }
    turbo__response_body_take(resp, body);
    return len <= READ_MAX ? turbo__response_load(resp, READ_MAX) : 0;
}

/* All that it says is said: neither a file nor its media type. */
static int set_status_only(turbo_response *resp, int fd, int32_t status) {
    close(fd);
    resp->status = status;
    turbo__response_drop_content(resp);
    if (turbo__status_has_no_body(status))
        return 0;
    /* Not for others either, whom a cache would give it instead of the file (RFC 9111 3, 4.1). */
    turbo__response_drop_line(resp, "Cache-Control");
    turbo__response_drop_line(resp, "Expires");
    turbo__response_drop_line(resp, "Content-Location");
    const char *text = turbo__status_text(status);
    int rc = turbo_response_body_static(resp, text, strlen(text));
    return rc < 0 ? rc : turbo__response_line(resp, "Content-Type", "text/plain; charset=utf-8");
}

static int set_type(turbo_response *resp, const source *from) {
    if (turbo_response_field(resp, "Content-Type").data != NULL)
        return 0;
    return turbo__response_line(resp, "Content-Type", turbo_media_type(from->name));
}

static int set_whole(turbo_response *resp, const source *from, int fd) {
    int rc = set_type(resp, from);
    if (rc == 0 && turbo__status_has_no_body(resp->status))
        rc = set_status_only(resp, fd, resp->status);
    else if (rc < 0 || from->req->is_head)
        close(fd);
    else
        rc = set_piece(resp, fd, 0, from->size);
    resp->has_length = 1; /* also of nothing, and for HEAD */
    resp->length = from->size;
    return rc;
}

static int set_part(turbo_response *resp, const source *from, int fd, const turbo__range *range) {
    char text[80];
    (void)snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range->first,
                   range->first + range->len - 1, from->size);
    int rc = set_type(resp, from);
    rc = rc < 0 ? rc : turbo__response_line(resp, "Content-Range", text);
    if (rc == 0)
        return set_piece(resp, fd, range->first, range->len);
    close(fd);
    return rc;
}

/* Nobody can know it before, so that no file can have it inside. */
static int make_boundary(char out[2 * BOUNDARY_BYTES + 1]) {
    unsigned char bytes[BOUNDARY_BYTES];
    int rc = turbo__os_random(bytes, sizeof bytes);
    for (size_t i = 0; rc == 0 && i < sizeof bytes; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return rc;
}

static int set_parts(turbo_response *resp, const source *from, int fd, const turbo__ranges *ranges) {
    char boundary[2 * BOUNDARY_BYTES + 1], type[2 * BOUNDARY_BYTES + 40];
    turbo__file_body *body = NULL;
    int rc = set_type(resp, from);
    if (rc < 0 || (rc = make_boundary(boundary)) < 0)
        goto fail;
    turbo_str part_type = turbo_response_field(resp, "Content-Type");
    body = turbo__file_body_multipart(fd, ranges, from->size, part_type, boundary);
    if (body == NULL) {
        rc = TURBO_ENOMEM;
        goto fail;
    }
    turbo__response_body_take(resp, body);
    turbo__response_drop_line(resp, "Content-Type"); /* it is the parts' (RFC 9110 15.3.7.2) */
    (void)snprintf(type, sizeof type, "multipart/byteranges; boundary=%s", boundary);
    rc = turbo__response_line(resp, "Content-Type", type);
    return rc == 0 && body->len <= READ_MAX ? turbo__response_load(resp, READ_MAX) : rc;
fail:
    close(fd);
    return rc;
}

static int set_unsatisfiable(turbo_response *resp, const source *from, int fd) {
    char text[40];
    int rc = set_status_only(resp, fd, 416);
    (void)snprintf(text, sizeof text, "bytes */%" PRIu64, from->size);
    return rc < 0 ? rc : turbo__response_line(resp, "Content-Range", text);
}

/* -- which of them -- */

/* Range is defined for GET only (RFC 9110 14.2), and there is one field of the name, or none that counts. */
static int wanted_ranges(turbo__ranges *out, const source *from) {
    const turbo__condition_fields *in = &from->fields;
    size_t i = turbo__fields_find(in->base, in->fields, in->count, 0, "Range", 5);
    if (!from->is_get || from->has_no_ranges || i == in->count)
        return TURBO__RANGE_IGNORED;
    if (turbo__fields_find(in->base, in->fields, in->count, i + 1, "Range", 5) != in->count)
        return TURBO__RANGE_IGNORED;
    if (!turbo__conditional_range(in, &from->validators))
        return TURBO__RANGE_IGNORED;
    return turbo__ranges_parse(out, turbo__request_span(from->req, in->fields[i].value), from->size);
}

static int set_selected(turbo_response *resp, const source *from, int fd) {
    turbo__ranges ranges;
    switch (wanted_ranges(&ranges, from)) {
    case TURBO__RANGE_PARTIAL:
        resp->status = 206;
        return ranges.count == 1 ? set_part(resp, from, fd, &ranges.list[0]) : set_parts(resp, from, fd, &ranges);
    case TURBO__RANGE_UNSATISFIABLE:
        return set_unsatisfiable(resp, from, fd);
    default:
        return set_whole(resp, from, fd);
    }
}

int turbo__response_from_file(turbo_response *resp, const turbo_request *req, int fd, const struct stat *info,
                              const char *name) {
    source from = {.req = req, .fields = {req->raw, req->fields, req->field_count}, .size = (uint64_t)info->st_size};
    from.name = name;
    from.is_get = is_method(req, "GET");
    from.reads = from.is_get || is_method(req, "HEAD");
    int rc = set_validators(resp, &from, info);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    if (resp->status != 200 || !from.reads)
        return set_whole(resp, &from, fd);
    int status = turbo__conditional(&from.fields, 1, &from.validators);
    if (status != 0)
        return set_status_only(resp, fd, status);
    turbo__response_drop_line(resp, "Content-Range"); /* which range it is follows from the request */
    if ((rc = set_accept_ranges(resp, &from)) == 0)
        return set_selected(resp, &from, fd);
    close(fd);
    return rc;
}

/* -- public -- */

int turbo_response_file(turbo_response *resp, const turbo_request *req, const char *path) {
    struct stat info;
    int fd, rc = turbo__os_file_open(&fd, path);
    if (rc < 0)
        return rc;
    rc = turbo__file_stat(fd, &info);
    if (rc == 0 && !S_ISREG(info.st_mode))
        rc = TURBO_ENOENT;
    if (rc == 0)
        return turbo__response_from_file(resp, req, fd, &info, path);
    close(fd);
    return rc;
}

int turbo_response_body_file(turbo_response *resp, int fd, uint64_t offset, uint64_t len) {
    if (offset > INT64_MAX || len > INT64_MAX - offset || len > SIZE_MAX)
        return TURBO_EINVAL;
    if (len == 0) {
        close(fd);
        return turbo_response_body_static(resp, NULL, 0);
    }
    turbo__file_body *body = turbo__file_body_new(fd, offset, len);
    if (body == NULL)
        return TURBO_ENOMEM;
    turbo__response_body_take(resp, body);
    return 0;
}

int turbo__response_load(turbo_response *resp, uint64_t max) {
    if (resp->body_kind != TURBO__BODY_FILE)
        return 0;
    const turbo__file_body *body = resp->memory;
    if (body->len > max)
        return TURBO_ETOOBIG;
    size_t len = (size_t)body->len;
    char *bytes = turbo__malloc(len);
    int rc = bytes == NULL ? TURBO_ENOMEM : turbo__file_body_read(body, bytes);
    if (rc < 0) {
        turbo__free(bytes);
        (void)turbo_response_body_static(resp, NULL, 0);
        return rc;
    }
    turbo__response_body_own(resp, bytes, len);
    return 0;
}
