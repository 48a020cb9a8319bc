/* heap_probe.c - preloaded into a program with ASan: SIGUSR2 makes it write how many bytes it has allocated to the file
 * that SOAK_HEAP_FILE names. RSS says little there, since freed memory stays in ASan's quarantine for a while. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

size_t __sanitizer_get_current_allocated_bytes(void);

static const char *path;

/* Only what a signal handler may call. */
static void on_signal(int number) {
    char text[24];
    size_t at = sizeof text;
    size_t bytes = __sanitizer_get_current_allocated_bytes();
    int fd = open(path, O_WRONLY | O_TRUNC);
    (void)number;
    text[--at] = '\n';
    do
        text[--at] = (char)('0' + bytes % 10);
    while ((bytes /= 10) > 0);
    (void)!write(fd, text + at, sizeof text - at);
    close(fd);
}

__attribute__((constructor)) static void install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    path = getenv("SOAK_HEAP_FILE");
    if (path != NULL)
        sigaction(SIGUSR2, &action, NULL);
}
