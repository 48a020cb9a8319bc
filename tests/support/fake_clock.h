/* fake_clock.h - time that moves only when a test says so. */
#ifndef SUPPORT_FAKE_CLOCK_H
#define SUPPORT_FAKE_CLOCK_H

#include <stdint.h>

/** Replace the library's clocks by ones that stand at these times. */
void fake_clock_set(uint64_t monotonic_ns, int64_t wall_s);

/** Move the monotonic clock on. */
void fake_clock_advance_ms(uint64_t ms);

/** How often the wall clock was read since fake_clock_set(). */
unsigned fake_clock_wall_reads(void);

/** Put the real clocks back. */
void fake_clock_off(void);

#endif
