/* http1_trailer.h - one line of a trailer section: its parts, and whether the field may be one (RFC 9110 6.5). */
#ifndef TURBO_HTTP1_TRAILER_H
#define TURBO_HTTP1_TRAILER_H

#include <stddef.h>

#include "turbo/types.h"

/** Take a line apart that http1_chunked.c has found well formed.
 *  @param line  from its first byte to its CRLF. @param value receives the value without the blanks around it. */
void turbo__h1_trailer_split(const char *line, size_t len, turbo_str *name, turbo_str *value);

/** Whether the field has no meaning behind a body, or a dangerous one: it is dropped. */
int turbo__h1_trailer_is_forbidden(turbo_str name);

#endif
