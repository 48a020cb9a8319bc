/* file.h - answers that are files: pieces of an open one, one by its name, a directory. */
#ifndef TURBO_FILE_H
#define TURBO_FILE_H

#include "turbo/export.h"
#include "turbo/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Set the body to a piece of an open file. The I/O loop sends it from the system's cache, without a copy in this process
 * (sendfile), and bounded a turn, so that a big file holds up nobody. What is not in the cache is read from the disk
 * meanwhile, which the I/O loop waits for.
 *
 * A file that has become shorter when its turn comes, or cannot be read, ends the connection behind what was sent, so
 * that the client can tell. Not for streamed answers.
 *
 * @param resp    not NULL.
 * @param fd      a regular file, open for reading.
 * @param offset  of the first byte.
 * @param len     in bytes.
 * @return 0; TURBO_EINVAL when the piece would end beyond 2^63 - 1; TURBO_ENOMEM.
 *
 * Owns: on 0 the library takes fd, and closes it when the body was sent or thrown away; else it stays the caller's.
 * Thread: one.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_body_file(turbo_response *resp, int fd, uint64_t offset, uint64_t len);

/**
 * Make a response to GET or HEAD that is a file, or the part of it that the request asks for.
 *
 * With status 200 the preconditions of the request (RFC 9110 13) and its Range (14) are evaluated: the status
 * becomes 206, 304, 412 or 416 where they say so. With another status, and for another method, the answer is the whole
 * file. Fields are added: ETag, Last-Modified, Accept-Ranges, Content-Range, and Content-Type by the file's name. An
 * ETag, Last-Modified, Accept-Ranges or Content-Type that resp has already stays, and the first two are what is compared;
 * with "Accept-Ranges: none" no ranges are served. Where Range is evaluated a Content-Range that resp has is removed; of 304,
 * 412 and 416 all fields Content-*, but Content-Location of 304; of 412 and 416 also Cache-Control and Expires.
 *
 * ETag is made of the file's inode, size and time of the last change to the inode (ctime), in nanoseconds. It is weak, and
 * ranges by If-Range are not served, in the second of that time: the file could change again without a new one.
 *
 * @param resp  without a body; not NULL.
 * @param req   whose answer it will be; not NULL.
 * @param path  ended by NUL; symbolic links are followed.
 * @return 0; TURBO_ENOENT when it is not there or no regular file; TURBO_EACCES; TURBO_EMFILE; TURBO_ENOMEM; TURBO_ETOOBIG
 *         when the fields of resp pass 64 KiB; TURBO_ESYS. After an error resp may have some of the fields, and no body.
 *
 * Owns: nothing changes hands: resp is sent by turbo_request_respond().
 * Thread: one.   Blocks: as the file system does.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API int turbo_response_file(turbo_response *resp, const turbo_request *req, const char *path);

/**
 * The media type that answers made of a file of this name have.
 *
 * @param name  ended by NUL; what follows the last '.' decides, without regard to case.
 * @return "application/octet-stream" when it is not known.
 *
 * Owns: the library keeps the string.
 * Thread: any.   Blocks: no.   Reenter: allowed.
 * Since: 0.1
 */
TURBO_API const char *turbo_media_type(const char *name);

/**
 * Register a directory: GET and HEAD of the pattern are answered with the files below it, as by turbo_response_file().
 *
 * The pattern's last segment is {name...}; what it binds, percent-decoded once, is the file's path below root. It never
 * leads out of root: 404 for a path with empty, "." or ".." components, "\", or "/" written as %2F, and for one that goes
 * over a symbolic link that leads out. Symbolic links that stay inside are followed where the system has openat2();
 * elsewhere none is. Names that begin with "." are not served unless the option dot_files says so. A directory is
 * answered with its file named by the option index, after a redirect to the path with a "/" at its end; without the option
 * it is 404. No directory is ever listed.
 *
 * Files are opened by the route's executor: the shard's thread, threads of its pool, or the I/O loop (inline).
 *
 * @param server   not NULL, not started.
 * @param pattern  as turbo_server_route(), with {name...} as its last segment.
 * @param root     a directory, ended by NUL; opened now, and the same one when it is renamed later.
 * @param options  NULL for defaults; index, dot_files and cache_control are for this kind of route.
 * @return 0; TURBO_EINVAL for a pattern without {name...}; TURBO_ENOENT, TURBO_EACCES, TURBO_EMFILE when root cannot be
 *         opened; and as turbo_server_route(). turbo_server_error() has the details.
 *
 * Owns: the strings and options are copied.
 * Thread: setup.   Blocks: as the file system does.   Reenter: no.
 * Since: 0.1
 */
TURBO_API int turbo_server_route_static(turbo_server *server, const char *pattern, const char *root,
                                        const turbo_route_options *options);

#ifdef __cplusplus
}
#endif
#endif
