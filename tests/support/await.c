/* await.c - wait for a condition, not for a time. Reads the system's clock: the library's may be a fake. */
#include "await.h"

#include <poll.h>
#include <time.h>

#define PATIENCE_MS 20000

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t await_deadline(void) { return now_ms() + PATIENCE_MS; }

int await_longer(uint64_t deadline) {
    (void)poll(NULL, 0, 1);
    return now_ms() < deadline;
}
