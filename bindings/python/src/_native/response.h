/* response.h - turbo.Response, turbo.StreamingResponse and turbo.FileResponse: an answer with a status and header fields. */
#ifndef TURBOPY_RESPONSE_H
#define TURBOPY_RESPONSE_H

#include <turbo/types.h>

#include "state.h"

/* Handlers may change the attributes until they return it; what several of them return, at once or in turn, is only read. */
typedef struct ResponseObject {
    PyObject_HEAD
    PyObject *body;         /* StreamingResponse: what gives the parts; FileResponse: the path, str or bytes */
    PyObject *headers;      /* list of (name, value)                   */
    PyObject *content_type; /* str or None                             */
    PyObject *trailers;     /* StreamingResponse: as given; may be NULL */
    PyObject *weakrefs;
    long status;
} ResponseObject;

extern PyType_Spec turbopy_response_spec;
extern PyType_Spec turbopy_stream_spec; /* its base is Response */
extern PyType_Spec turbopy_file_spec;   /* its base is Response */

/** Copy a response's members, with references, so that they stay while it is answered whoever changes it. */
void turbopy_response_hold(ResponseObject *held, ResponseObject *response);

/** Let go of them. */
void turbopy_response_let_go(ResponseObject *held);

/**
 * The C side of a response: status, Content-Type and fields, without a body.
 *
 * @param default_type  Content-Type when neither content_type nor headers name one; NULL for none.
 * @return NULL with ValueError or TypeError naming the field.
 */
turbo_response *turbopy_response_head(const ResponseObject *self, const char *default_type);

/** Add a trailer field to a streamed answer. @return 0; < 0 with an exception. */
int turbopy_response_trailer(turbo_request *req, PyObject *name, PyObject *value);

/**
 * The C side of a FileResponse, with its body: what the request asks for of the file. The GIL is released meanwhile.
 *
 * @return NULL with OSError when the file cannot be opened, or as turbopy_response_head().
 */
turbo_response *turbopy_response_of_file(const ResponseObject *self, const turbo_request *req);

/** The content type as text: content_type, else default_type; NULL with an exception when it is no text. */
const char *turbopy_response_type(const ResponseObject *self, const char *default_type);

#endif
