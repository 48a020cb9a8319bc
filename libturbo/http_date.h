/* http_date.h - the three formats of an HTTP-date -> seconds since 1970 (RFC 9110 5.6.7). */
#ifndef TURBO_HTTP_DATE_H
#define TURBO_HTTP_DATE_H

#include <stdint.h>

#include "turbo/types.h"

/**
 * Read a date: "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT" or "Sun Nov  6 08:49:37 1994".
 *
 * The name of the day must be one, but which one is not looked at. A leap second counts as the second before it.
 *
 * @param now_s  the time now: a year of two digits is the one in this or another century that lies nearest below 50
 *               years from now.
 * @return 0; TURBO_EINVAL, with out unchanged.
 */
int turbo__http_date_parse(int64_t *out, turbo_str text, int64_t now_s);

#endif
