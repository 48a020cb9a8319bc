/* options.h - reading size-prefixed structs from older and newer callers, and turbo_options. */
#ifndef TURBO_OPTIONS_INTERNAL_H
#define TURBO_OPTIONS_INTERNAL_H

#include <stddef.h>

/**
 * Copy a size-prefixed struct of a caller into ours; what an older caller does not know is zero.
 *
 * @param dst     known bytes, ours.
 * @param known   sizeof our struct.
 * @param oldest  size of the struct in the first release; smaller is malformed.
 * @param src     the caller's struct, which begins with its size.
 * @return 0; TURBO_EINVAL; TURBO_ETOONEW when the caller uses members that this build does not know.
 */
int turbo__options_read(void *dst, size_t known, size_t oldest, const void *src);

#endif
