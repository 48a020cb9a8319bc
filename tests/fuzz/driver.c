/* driver.c - runs a fuzz target over files, without libFuzzer. usage: fuzz_TARGET FILE-OR-DIRECTORY ... */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define PATH_MAX_BYTES 4096

static char running[PATH_MAX_BYTES];
static size_t count;

/* Whatever ends the process, the file that did it is named. Sanitizers exit without a signal, but through this. */
static void name_file(void) {
    static const char text[] = "while running ";
    if (running[0] == '\0')
        return;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, running, strlen(running));
    (void)!write(STDERR_FILENO, "\n", 1);
}

static void on_signal(int number) {
    name_file();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void die(const char *path) {
    (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(2);
}

static void run_file(const char *path, size_t size) {
    char *data = malloc(size > 0 ? size : 1);
    FILE *file = fopen(path, "rb");
    if (data == NULL || file == NULL || fread(data, 1, size, file) != size)
        die(path);
    (void)fclose(file);
    char *exact = copy_of(data, size);
    free(data);
    (void)snprintf(running, sizeof running, "%s", path);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)exact, size);
    running[0] = '\0';
    free(exact);
    count++;
}

static int is_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void run(const char *path);

static void run_directory(const char *path) {
    struct dirent **entries;
    int n = scandir(path, &entries, is_visible, alphasort);
    if (n < 0)
        die(path);
    for (int i = 0; i < n; i++) {
        char name[PATH_MAX_BYTES];
        if (snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name) >= (int)sizeof name) {
            errno = ENAMETOOLONG;
            die(path);
        }
        run(name);
        free(entries[i]);
    }
    free(entries);
}

static void run(const char *path) {
    struct stat what;
    if (stat(path, &what) != 0)
        die(path);
    if (S_ISDIR(what.st_mode))
        run_directory(path);
    else
        run_file(path, (size_t)what.st_size);
}

int main(int argc, char **argv) {
    (void)signal(SIGABRT, on_signal);
    (void)atexit(name_file);
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    (void)printf("%zu inputs\n", count);
    return count == 0; /* a corpus that is not there must not pass */
}
