/* static_files.h - routes that serve a directory. */
#ifndef TURBO_STATIC_FILES_H
#define TURBO_STATIC_FILES_H

#include <stddef.h>

#include "turbo/types.h"

#define TURBO__STATIC_INDEX_MAX 64
#define TURBO__STATIC_CACHE_MAX 128

/* Route options that only these routes have. All-zero: none set. */
typedef struct turbo__static_options {
    char index[TURBO__STATIC_INDEX_MAX];         /* "": directories are not answered */
    char cache_control[TURBO__STATIC_CACHE_MAX]; /* "": no such field                */
} turbo__static_options;

/** Set index or cache_control.
 *  @return 0; TURBO_ENOENT for another name; TURBO_EINVAL, with a sentence in error. */
int turbo__static_options_set(turbo__static_options *options, const char *name, const char *value, char *error,
                              size_t size);

/**
 * The path of a file below the root, from what a pattern's {name...} bound.
 *
 * @param out       ended by NUL; relative, without empty, "." and ".." components. A "/" at its end, or nothing at all, names
 *                  a directory.
 * @param bound     decoded once.
 * @param raw_path  the request's path, as it came: a "/" or "\" that was escaped there has no place in a file's name.
 * @param dot_files whether names may begin with ".".
 * @return 0; TURBO_ENOENT.
 */
int turbo__static_path(char *out, size_t size, turbo_str bound, turbo_str raw_path, int dot_files);

/** Free the directories that a server's routes serve. */
struct turbo__static;
void turbo__static_free_all(struct turbo__static *first);

#endif
