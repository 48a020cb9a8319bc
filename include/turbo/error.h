/* error.h - error codes: every fallible function returns 0 or one of these. */
#ifndef TURBO_ERROR_H
#define TURBO_ERROR_H

#include "turbo/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Error codes. Values are part of the ABI and are never reused. */
enum {
    TURBO_EINVAL = -1,      /* an argument is out of range or malformed                         */
    TURBO_ENOMEM = -2,      /* memory could not be allocated                                    */
    TURBO_ESTATE = -3,      /* not allowed now: already answered, started, on our own thread... */
    TURBO_EAGAIN = -4,      /* full for now: try again later                                    */
    TURBO_ECLOSED = -5,     /* the peer, shard or server is gone                                */
    TURBO_EEXIST = -6,      /* a route, or a name, is already taken                             */
    TURBO_ENOENT = -7,      /* there is no such setting, field or item                          */
    TURBO_EADDRINUSE = -8,  /* the address is in use                                            */
    TURBO_EADDR = -9,       /* the address cannot be parsed, resolved or bound here             */
    TURBO_EACCES = -10,     /* permission denied by the system                                  */
    TURBO_EMFILE = -11,     /* the process or the system is out of file descriptors             */
    TURBO_ESYS = -12,       /* another system call failed                                       */
    TURBO_ETOOBIG = -13,    /* larger than a limit allows                                       */
    TURBO_ETOONEW = -14,    /* the caller was built for a newer library than the one that runs  */
    TURBO_ENOTSUP = -15,    /* this build or this configuration cannot do it                    */
    TURBO_EUSER = -16       /* never made by the library: a callback says "mine failed, stop"   */
};

/**
 * A sentence for an error code, in English, without a full stop.
 *
 * @param code  a TURBO_E* value or 0; anything else gives "unknown error".
 * @return a static string, never NULL.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_strerror(int code);

/**
 * The name of an error code, "TURBO_EINVAL", for logs and bindings.
 *
 * @param code  a TURBO_E* value; 0 gives "0", anything else "TURBO_EUNKNOWN".
 * @return a static string, never NULL.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_errname(int code);

#ifdef __cplusplus
}
#endif
#endif
