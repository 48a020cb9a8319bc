/* await.h - wait for a condition, not for a time. */
#ifndef SUPPORT_AWAIT_H
#define SUPPORT_AWAIT_H

#include <criterion/criterion.h>
#include <stdint.h>

/** Fail the test when the condition does not become true in 20 s; looks about once a millisecond. */
#define AWAIT(condition)                                                     \
    do {                                                                     \
        uint64_t await_until_ = await_deadline();                            \
        while (!(condition))                                                 \
            cr_assert(await_longer(await_until_), "never: %s", #condition);  \
    } while (0)

/** When patience ends. */
uint64_t await_deadline(void);

/** Let others run for a moment. @return 0 when patience is at its end. */
int await_longer(uint64_t deadline);

#endif
