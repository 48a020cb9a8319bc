/* files.c - a directory of files for one test. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw, utimensat */
#endif
#include "files.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_AGO 784111777

void files_open(files *f) {
    strcpy(f->root, "/tmp/turbo-files-XXXXXX");
    cr_assert_not_null(mkdtemp(f->root));
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

void files_close(files *f) { cr_expect_eq(nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0); }

const char *files_path(files *f, const char *name) {
    snprintf(f->path, sizeof f->path, "%s/%s", f->root, name);
    return f->path;
}

void files_mkdir(files *f, const char *name) { cr_assert_eq(mkdir(files_path(f, name), 0755), 0); }

void files_link(files *f, const char *target, const char *name) {
    cr_assert_eq(symlink(target, files_path(f, name)), 0);
}

static void age(const char *path) {
    struct timespec times[2] = {{.tv_sec = LONG_AGO}, {.tv_sec = LONG_AGO}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void write_bytes(files *f, const char *name, const void *data, size_t len) {
    FILE *out = fopen(files_path(f, name), "w");
    cr_assert_not_null(out);
    cr_assert_eq(fwrite(data, 1, len, out), len);
    cr_assert_eq(fclose(out), 0);
    age(f->path);
}

void files_write(files *f, const char *name, const char *text) { write_bytes(f, name, text, strlen(text)); }

unsigned char files_byte(size_t i) { return (unsigned char)(i * 7 + i / 251); }

void files_fill(files *f, const char *name, size_t len) {
    unsigned char *bytes = malloc(len == 0 ? 1 : len);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = files_byte(i);
    write_bytes(f, name, bytes, len);
    free(bytes);
}

size_t files_open_count(void) {
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}
