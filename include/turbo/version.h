/* version.h - compile-time version numbers, and the run-time ones. */
#ifndef TURBO_VERSION_H
#define TURBO_VERSION_H

#include "turbo/export.h"

#define TURBO_VERSION_MAJOR 0
#define TURBO_VERSION_MINOR 1
#define TURBO_VERSION_PATCH 0
#define TURBO_VERSION_STRING "0.1.0"

/** The version as one comparable number: major * 1000000 + minor * 1000 + patch. */
#define TURBO_VERSION_NUMBER \
    (TURBO_VERSION_MAJOR * 1000000 + TURBO_VERSION_MINOR * 1000 + TURBO_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The version of the library that runs, which may be newer than the header that a program was built with.
 *
 * @return TURBO_VERSION_NUMBER of the library.
 *
 * Owns: nothing.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_version(void);

/**
 * The same as text, for messages: "0.1.0".
 *
 * @return a static string, never NULL.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
