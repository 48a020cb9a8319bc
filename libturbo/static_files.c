/* static_files.c - routes that serve a directory: which path is a file of it, and what is answered when none is. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* struct stat */
#endif
#include "static_files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "answer.h"
#include "chars.h"
#include "file.h"
#include "loop.h"
#include "mem.h"
#include "os/os.h"
#include "request.h"
#include "response.h"
#include "route.h"
#include "server.h"
#include "turbo/error.h"
#include "turbo/route.h"

typedef struct turbo__static {
    struct turbo__static *next; /* of the server's */
    int root;
    int dot_files;
    turbo__static_options options;
} turbo__static;

/* -- options -- */

static int keep_text(char *to, size_t room, const char *name, const char *value, int is_right, char *error,
                     size_t size) {
    if (!is_right || strlen(value) >= room) {
        (void)snprintf(error, size, "%s: %.80s is not possible", name, value);
        return TURBO_EINVAL;
    }
    memcpy(to, value, strlen(value) + 1);
    return 0;
}

int turbo__static_options_set(turbo__static_options *options, const char *name, const char *value, char *error,
                              size_t size) {
    if (strcmp(name, "index") == 0)
        return keep_text(options->index, sizeof options->index, name, value,
                         strchr(value, '/') == NULL && *value != '.', error, size);
    if (strcmp(name, "cache_control") == 0)
        return keep_text(options->cache_control, sizeof options->cache_control, name, value,
                         turbo__is_field_value(value, strlen(value)), error, size);
    return TURBO_ENOENT;
}

/* -- paths -- */

/* "%2F" and "%5C": the router has refused other escapes that are wrong. */
static int has_escaped_slash(turbo_str raw) {
    const char *at = raw.data, *end = raw.data + raw.len;
    while ((at = memchr(at, '%', (size_t)(end - at))) != NULL) {
        if (end - at >= 3 && ((at[1] == '2' && (at[2] | 0x20) == 'f') || (at[1] == '5' && (at[2] | 0x20) == 'c')))
            return 1;
        at++;
    }
    return 0;
}

static int is_servable(const char *name, size_t len, int dot_files) {
    if (len == 0 || (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
        return 0;
    return dot_files || name[0] != '.';
}

int turbo__static_path(char *out, size_t size, turbo_str bound, turbo_str raw_path, int dot_files) {
    if (bound.len >= size || has_escaped_slash(raw_path))
        return TURBO_ENOENT;
    if (bound.len > 0 && (memchr(bound.data, '\\', bound.len) != NULL || memchr(bound.data, '\0', bound.len) != NULL))
        return TURBO_ENOENT;
    for (size_t at = 0; at < bound.len;) {
        const char *slash = memchr(bound.data + at, '/', bound.len - at);
        size_t len = slash == NULL ? bound.len - at : (size_t)(slash - (bound.data + at));
        if (!is_servable(bound.data + at, len, dot_files))
            return TURBO_ENOENT;
        at += len + 1;
    }
    if (bound.len > 0)
        memcpy(out, bound.data, bound.len);
    out[bound.len] = '\0';
    return 0;
}

/* -- answers -- */

static int answer_error(turbo_request *req, int rc) {
    switch (rc) {
    case TURBO_ENOENT:
        return turbo__answer_status(req, 404, NULL);
    case TURBO_EACCES:
        return turbo__answer_status(req, 403, NULL);
    case TURBO_EMFILE:
    case TURBO_ENOMEM:
        return turbo__answer_status(req, 503, NULL);
    default:
        return rc; /* 500, and logged */
    }
}

/* Relative links of the index would lead elsewhere without the "/". The path begins with a pattern's text, or with a name
 * that is no empty one: it cannot be taken for another host's. */
static int redirect(turbo_request *req) {
    turbo_str path = turbo_request_path(req), query = turbo_request_query(req);
    turbo_response *resp;
    size_t len = path.len + query.len + 3;
    char *location = turbo__malloc(len);
    if (location == NULL)
        return answer_error(req, TURBO_ENOMEM);
    int n = snprintf(location, len, "%.*s/%s%.*s", (int)path.len, path.data, query.data != NULL ? "?" : "",
                     (int)query.len, query.data != NULL ? query.data : "");
    int rc = turbo_response_new(&resp, 301);
    if (rc == 0 && ((rc = turbo_response_field_add(resp, "Location", 8, location, (size_t)n)) < 0 ||
                    (rc = turbo_request_respond(req, resp)) < 0))
        turbo_response_free(resp);
    turbo__free(location);
    return rc;
}

/* Takes fd. */
static int respond(turbo_request *req, const turbo__static *dir, int fd, const struct stat *info, const char *path) {
    const char *cache = dir->options.cache_control;
    turbo_response *resp;
    int rc = turbo_response_new(&resp, 200);
    if (rc < 0) {
        close(fd);
        return answer_error(req, rc);
    }
    if (*cache != '\0' && (rc = turbo__response_line(resp, "Cache-Control", cache)) < 0)
        close(fd);
    else
        rc = turbo__response_from_file(resp, req, fd, info, path);
    if (rc == 0 && (rc = turbo_request_respond(req, resp)) == 0)
        return 0;
    turbo_response_free(resp);
    return answer_error(req, rc);
}

/* A path that names a directory becomes that of its index. @return 0; TURBO_ENOENT. */
static int add_index(const turbo__static *dir, char *path, size_t size) {
    size_t len = strlen(path), index_len = strlen(dir->options.index);
    if (len > 0 && path[len - 1] != '/')
        return 0;
    if (index_len == 0 || len + index_len >= size)
        return TURBO_ENOENT;
    memcpy(path + len, dir->options.index, index_len + 1);
    return 0;
}

static int on_request(turbo_request *req, void *user) {
    const turbo__static *dir = user;
    char path[PATH_MAX];
    struct stat info;
    int fd = -1;
    int rc = turbo__static_path(path, sizeof path, req->params[req->param_count - 1], turbo_request_path(req),
                                dir->dot_files);
    if (rc < 0 || (rc = add_index(dir, path, sizeof path)) < 0 ||
        (rc = turbo__os_file_open_beneath(&fd, dir->root, path)) < 0)
        return answer_error(req, rc);
    rc = turbo__file_stat(fd, &info);
    if (rc == 0 && S_ISREG(info.st_mode))
        return respond(req, dir, fd, &info, path);
    close(fd);
    if (rc == 0 && dir->options.index[0] != '\0')
        return redirect(req);
    return answer_error(req, rc == 0 ? TURBO_ENOENT : rc);
}

/* -- setup -- */

void turbo__static_free_all(turbo__static *first) {
    while (first != NULL) {
        turbo__static *next = first->next;
        close(first->root);
        turbo__free(first);
        first = next;
    }
}

static int refuse_root(turbo_server *server, const char *root, int system_error, int rc) {
    char cause[128];
    (void)snprintf(server->error, sizeof server->error, "the directory %.128s cannot be opened: %s", root,
                   turbo__loop_cause(cause, sizeof cause, system_error, rc));
    return rc;
}

static int static_new(turbo__static **out, turbo_server *server, const char *root, const turbo_route_options *options) {
    turbo__static *dir = turbo__calloc(1, sizeof *dir);
    if (dir == NULL)
        return refuse_root(server, root, 0, TURBO_ENOMEM);
    int rc = turbo__os_root_open(&dir->root, root);
    if (rc < 0) {
        int system_error = errno;
        turbo__free(dir);
        return refuse_root(server, root, system_error, rc);
    }
    turbo__route_options_static(options, &dir->options, &dir->dot_files);
    *out = dir;
    return 0;
}

static int ends_in_rest(const char *pattern) {
    size_t len = strlen(pattern);
    return len > 4 && strcmp(pattern + len - 4, "...}") == 0;
}

int turbo_server_route_static(turbo_server *server, const char *pattern, const char *root,
                              const turbo_route_options *options) {
    turbo__static *dir;
    turbo__route *route;
    if (!ends_in_rest(pattern)) {
        (void)snprintf(server->error, sizeof server->error, "\"%.64s\" does not end in {name...}", pattern);
        return TURBO_EINVAL;
    }
    int rc = static_new(&dir, server, root, options);
    if (rc < 0)
        return rc;
    if ((rc = turbo__server_route(&route, server, "GET", pattern, options, on_request, dir)) < 0) {
        turbo__static_free_all(dir);
        return rc;
    }
    atomic_init(&route->one_by_one, 1);
    dir->next = server->statics;
    server->statics = dir;
    return 0;
}
