/* log.c - the user's log callback behind a level. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_MAX 512

static void write_stderr(int32_t level, const char *message) {
    static const char *const names[] = {"", "error", "warning", "info", "debug"};
    (void)fprintf(stderr, "turbo: %s: %s\n", names[level], message);
}

/* Messages quote what clients sent: a line feed in there must not look like a line of ours. */
static void make_one_line(char *message) {
    for (char *p = message; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

void turbo__log_write(const turbo__log *log, int32_t level, const char *format, ...) {
    char message[MESSAGE_MAX];
    va_list args;
    if (level > (log->set ? log->level : TURBO_LOG_WARN))
        return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    make_one_line(message);
    if (log->fn != NULL)
        log->fn(log->user, level, message);
    else
        write_stderr(level, message);
}
