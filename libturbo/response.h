/* response.h - status, fields and body of one response, until it is bytes. */
#ifndef TURBO_RESPONSE_INTERNAL_H
#define TURBO_RESPONSE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "file_body.h"
#include "turbo/response.h"

#define TURBO__RESPONSE_FIELDS_MAX 65536

enum {
    TURBO__BODY_NONE = 0,
    TURBO__BODY_OWNED,  /* data was allocated for this response */
    TURBO__BODY_INSIDE, /* lives in the request's own block     */
    TURBO__BODY_STATIC,
    TURBO__BODY_REF,    /* free_fn gives it back                */
    TURBO__BODY_LENT,   /* TURBO_EVENT_RELEASE gives it back    */
    TURBO__BODY_FILE    /* memory is a turbo__file_body         */
};

struct turbo_response {
    int32_t status;
    uint8_t body_kind;    /* TURBO__BODY_*                                              */
    uint8_t close;        /* Connection: close was asked for                            */
    uint8_t has_date;     /* fields has one                                             */
    uint8_t has_length;   /* length was given                                           */
    uint8_t embedded;     /* lives in a request: never freed by itself                  */
    uint8_t upgrade;      /* fields has an Upgrade, which Connection must name          */
    uint8_t reserved[6];
    uint64_t length;      /* Content-Length that the handler gave                       */
    turbo_str content_type; /* of turbo_request_reply(): lives in the request's block or behind the body */
    turbo__buf fields;    /* ready lines "Name: value\r\n"                              */
    const char *body;
    size_t body_len;
    turbo_free_fn free_fn;
    void *free_user;
    void *memory;         /* what BODY_OWNED allocated, or the turbo__file_body           */
};

/** Whether a status never has a body (RFC 9110 6.4.1). */
static inline int turbo__status_has_no_body(int32_t status) {
    return status < 200 || status == 204 || status == 205 || status == 304;
}

/** Append "Name: value\r\n", unchecked. @return 0; TURBO_ETOOBIG; TURBO_ENOMEM. */
int turbo__response_append_line(turbo__buf *lines, const char *name, size_t name_len, const char *value,
                                size_t value_len);

/** Give the body back (not a lent one: that is the request's matter) and free the fields; the struct itself stays. */
void turbo__response_clear(turbo_response *resp);

/** Add a field that the library itself makes, unchecked. @return as turbo_response_field_add(). */
int turbo__response_line(turbo_response *resp, const char *name, const char *value);

/** Remove every line of a name. */
void turbo__response_drop_line(turbo_response *resp, const char *name);

/** Remove what tells of a content that is not sent: lines Content-* but Content-Location (RFC 9110 15.4.5). */
void turbo__response_drop_content(turbo_response *resp);

/** Make bytes that turbo__malloc() gave, or a piece of a file, the body; taken. */
void turbo__response_body_own(turbo_response *resp, char *bytes, size_t len);
void turbo__response_body_take(turbo_response *resp, turbo__file_body *body);

#endif
