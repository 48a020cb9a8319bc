/* buf.h - a growable buffer that always has a maximum. */
#ifndef TURBO_BUF_H
#define TURBO_BUF_H

#include <stddef.h>

/* All-zero but for max is an empty buffer. */
typedef struct turbo__buf {
    char *data;
    size_t len; /* bytes in use              */
    size_t cap; /* bytes allocated           */
    size_t max; /* len never passes this     */
} turbo__buf;

/** Make empty with a maximum; allocates nothing. */
void turbo__buf_init(turbo__buf *buf, size_t max);

/** Make room for more bytes behind len (grows by doubling, never above max).
 *  @return 0; TURBO_ETOOBIG above max; TURBO_ENOMEM. The buffer is unchanged after an error. */
int turbo__buf_reserve(turbo__buf *buf, size_t more);

/** Append bytes. @return as turbo__buf_reserve(). */
int turbo__buf_append(turbo__buf *buf, const void *data, size_t len);

/** Append a string ended by NUL. @return as turbo__buf_reserve(). */
int turbo__buf_append_str(turbo__buf *buf, const char *text);

/** Append formatted text. @return as turbo__buf_reserve(). */
int turbo__buf_printf(turbo__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Forget the contents, keep the memory. */
void turbo__buf_clear(turbo__buf *buf);

/** Free the memory; the buffer is empty and usable again. */
void turbo__buf_free(turbo__buf *buf);

#endif
