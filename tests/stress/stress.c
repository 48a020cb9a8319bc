/* stress.c - counts, checks, deadlines, threads, and the bytes that belong to an id. */
#include "stress.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATTERN_BYTES (2 * PAYLOAD_MAX)
#define DEADLINE_STATUS 3
#define CHECK_STATUS 1

static uint64_t percent = 100, seed = 1;
static const char *_Atomic phase = "begin";
static uint64_t phase_ms;
static char pattern[PATTERN_BYTES];

/* -- the program -- */

static void on_deadline(int number) {
    const char *name = atomic_load(&phase);
    static const char text[] = "\nDEADLINE: not done in time: ";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, name, strlen(name));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(DEADLINE_STATUS);
}

void stress_begin(int argc, char **argv) {
    if (argc > 1)
        percent = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 10);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_deadline);
    chance c = chance_of(1000);
    for (size_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (char)('a' + chance_below(&c, 26));
}

void stress_phase(const char *name, unsigned seconds) {
    atomic_store(&phase, name);
    phase_ms = stress_now_ms();
    alarm(seconds);
}

void stress_report(const char *format, ...) {
    va_list args;
    uint64_t ms = stress_now_ms() - phase_ms;
    printf("%s: ", atomic_load(&phase));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(" (%llu.%03llu s)\n", (unsigned long long)ms / 1000, (unsigned long long)ms % 1000);
    fflush(stdout);
}

uint64_t stress_count(uint64_t full, uint64_t least) {
    uint64_t count = full * percent / 100;
    return count < least ? least : count;
}

void stress_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    fprintf(stderr, "\nFAILED: %s: %s:%d: ", atomic_load(&phase), file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(CHECK_STATUS);
}

void stress_pause(void) { nanosleep(&(struct timespec){0, 100000}, NULL); }

uint64_t stress_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* -- threads and chance -- */

pthread_t stress_thread(void *(*fn)(void *), void *arg) {
    pthread_t thread;
    sigset_t alarm_only, old;
    /* The deadline is the main thread's. */
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, &old);
    CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return thread;
}

void stress_join(pthread_t thread) { CHECK_EQ(pthread_join(thread, NULL), 0); }

chance chance_of(uint64_t thread) { return (chance){(seed * 1000003 + thread) * 0x9e3779b97f4a7c15u + 1}; }

/* splitmix64 */
uint64_t chance_next(chance *c) {
    uint64_t z = c->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static unsigned entries(const char *path) {
    unsigned n = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

unsigned stress_fds(void) { return entries("/proc/self/fd"); }

unsigned stress_threads(void) { return entries("/proc/self/task"); }

/* -- the bytes that belong to an id -- */

static size_t tail_len(chance *c) {
    uint64_t kind = chance_below(c, 100);
    if (kind < 90)
        return (size_t)chance_below(c, 200);
    return (size_t)(kind < 98 ? chance_below(c, 2000) : chance_below(c, PAYLOAD_MAX - 64));
}

/* Where in the pattern the tail lies, and how long it is, follows from the id alone. */
static size_t describe(uint64_t id, char *head, size_t *head_len, const char **tail) {
    chance c = {id * 0xd1342543de82ef95u + 7};
    size_t len = tail_len(&c);
    *head_len = (size_t)snprintf(head, 32, "%llu:", (unsigned long long)id);
    *tail = pattern + chance_below(&c, PATTERN_BYTES - PAYLOAD_MAX);
    return len;
}

size_t payload_of(uint64_t id, char *out) {
    size_t head_len;
    const char *tail;
    size_t len = describe(id, out, &head_len, &tail);
    memcpy(out + head_len, tail, len);
    return head_len + len;
}

int payload_is(uint64_t id, const char *data, size_t len) {
    char head[32];
    size_t head_len;
    const char *tail;
    size_t tail_bytes = describe(id, head, &head_len, &tail);
    return len == head_len + tail_bytes && memcmp(data, head, head_len) == 0 &&
           memcmp(data + head_len, tail, tail_bytes) == 0;
}
