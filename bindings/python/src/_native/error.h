/* error.h - TURBO_E* as Python exceptions. */
#ifndef TURBOPY_ERROR_H
#define TURBOPY_ERROR_H

#include "compat.h"

/**
 * Set the exception that stands for an error code; OSErrors get their errno.
 *
 * @param code    a negative TURBO_E*.
 * @param detail  what turbo_*_error() said; NULL or "" for the general sentence.
 * @return NULL, for `return turbopy_raise(...)`.
 */
PyObject *turbopy_raise(int code, const char *detail);

/**
 * Report an exception that has nowhere to go, naming where it came from; clears it.
 *
 * @param where  may be NULL.
 */
void turbopy_unraisable(PyObject *where);

#endif
