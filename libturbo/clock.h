/* clock.h - time, read once a turn, and the Date text. */
#ifndef TURBO_CLOCK_H
#define TURBO_CLOCK_H

#include <stdint.h>

#define TURBO__DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7) */

/** Monotonic time in nanoseconds. A test may replace it. Thread: any. */
uint64_t turbo__clock_ns(void);

/** Seconds since 1970. A test may replace it. Thread: any. */
int64_t turbo__clock_wall_s(void);

/** For tests: take the time from here; NULL puts the real clock back. */
void turbo__clock_set_fake(uint64_t (*monotonic_ns)(void), int64_t (*wall_s)(void));

/* One a loop; only the loop's thread touches it. All-zero is valid. */
typedef struct turbo__date {
    int64_t wall_s;                  /* what text shows           */
    uint64_t checked_ms;             /* when it was last compared */
    char text[TURBO__DATE_LEN + 3];  /* ended by NUL              */
} turbo__date;

/** The Date text for now, at most a second old: looks at the wall clock only when now_ms has moved on 100 ms or more.
 *  @return 29 bytes and a NUL, valid until the next call. */
const char *turbo__date_text(turbo__date *date, uint64_t now_ms);

/** Format seconds since 1970 as IMF-fixdate, 29 bytes and a NUL. */
void turbo__date_format(char out[TURBO__DATE_LEN + 1], int64_t wall_s);

#endif
