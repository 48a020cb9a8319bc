/* files.h - a directory of files for one test. */
#ifndef SUPPORT_FILES_H
#define SUPPORT_FILES_H

#include <stddef.h>
#include <stdint.h>

typedef struct files {
    char root[64];   /* a new directory below /tmp */
    char path[4400]; /* of files_path()            */
} files;

void files_open(files *f);
/** Remove all of it. */
void files_close(files *f);

/** The path of a name below the root; valid until the next call. */
const char *files_path(files *f, const char *name);

void files_mkdir(files *f, const char *name);
void files_link(files *f, const char *target, const char *name);

/** Make a file of this text, changed long ago (the 6th of November 1994, 08:49:37), so that its ETag is strong. */
void files_write(files *f, const char *name, const char *text);

/** One of len bytes, where byte i is (i * 7 + i / 251) % 256. */
void files_fill(files *f, const char *name, size_t len);
unsigned char files_byte(size_t i);

/** How many descriptors the process has open. */
size_t files_open_count(void);

#endif
