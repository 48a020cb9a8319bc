/* types.h - forward declarations and the two small values that cross the interface. */
#ifndef TURBO_TYPES_H
#define TURBO_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct turbo_options turbo_options;
typedef struct turbo_route_options turbo_route_options;
typedef struct turbo_server turbo_server;
typedef struct turbo_shard turbo_shard;
typedef struct turbo_request turbo_request;
typedef struct turbo_response turbo_response;
typedef struct turbo_timer turbo_timer;

/** Bytes that somebody else owns: a pointer and a length, not ended by NUL. Absent is data == NULL. */
typedef struct turbo_str {
    const char *data; /* may be NULL when len is 0 */
    size_t len;       /* in bytes                  */
} turbo_str;

/** Gives back memory that was lent to the library; called exactly once. */
typedef void (*turbo_free_fn)(void *user);

#ifdef __cplusplus
}
#endif
#endif
