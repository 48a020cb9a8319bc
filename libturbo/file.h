/* file.h - an open file into a response: validators, preconditions, ranges. */
#ifndef TURBO_FILE_INTERNAL_H
#define TURBO_FILE_INTERNAL_H

#include "turbo/file.h"

struct stat;

/** As turbo_response_file(), for a file that is open. @param info  of fd: a regular file. @param name  for Content-Type.
 *  @return as there; fd is taken, also after an error. */
int turbo__response_from_file(turbo_response *resp, const turbo_request *req, int fd, const struct stat *info,
                              const char *name);

/** Stat an open file. @return 0; TURBO_ENOENT when it is neither a regular file nor a directory; TURBO_ESYS. */
int turbo__file_stat(int fd, struct stat *out);

/** Replace a body that lies in a file by its bytes. @return 0; TURBO_ETOOBIG above max; TURBO_ENOMEM; TURBO_ESYS. Blocks. */
int turbo__response_load(turbo_response *resp, uint64_t max);

#endif
