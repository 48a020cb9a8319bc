/* router.h - method + pattern -> route; params; 404, 405. */
#ifndef TURBO_ROUTER_H
#define TURBO_ROUTER_H

#include <stddef.h>
#include <stdint.h>

#include "turbo/types.h"

#define TURBO__PARAMS_MAX 16   /* of one pattern; registration refuses more */
#define TURBO__SEGMENTS_MAX 64 /* of one pattern; paths may have any number */

/*
 * Choices beyond the text of turbo_server_route():
 * - A pattern's static segments are compared with decoded segments, and are themselves taken as they stand: the
 *   pattern "/a b" matches the path "/a%20b", and "/100%" matches "/100%25".
 * - "/files/{path...}" matches "/files/", with an empty rest, but not "/files".
 * - The most specific pattern that has a handler for the method wins: with GET /users/{id} and POST /users/me both
 *   GET and POST of /users/me are served. HEAD looks at one pattern for HEAD, then GET, then the NULL method.
 * - 405, and OPTIONS without a handler, only when no pattern that matches the path has the method. Their Allow names
 *   the methods of all patterns that match (RFC 9110 15.5.6). Routers that mix so many methods that their unions
 *   exceed a few hundred name those of the most specific one.
 * - A router knows at most TURBO__METHODS_MAX (64) methods; GET, HEAD and OPTIONS are among them.
 */

typedef struct turbo__router turbo__router;
struct turbo__route;

/* What a router knows of a pattern besides its route; kept by the router. */
typedef struct turbo__pattern {
    const char *text; /* as registered, ended by NUL */
    size_t param_count;
    turbo_str param_names[TURBO__PARAMS_MAX];
} turbo__pattern;

typedef struct turbo__match {
    int32_t status;                /* 200: route is set; 204: OPTIONS without a handler (allow is set); 400, 404, 501; 405: allow is set */
    uint32_t param_count;
    struct turbo__route *route;
    const turbo__pattern *pattern; /* of the route */
    const char *allow;             /* "GET, HEAD, OPTIONS", ended by NUL, kept by the router */
} turbo__match;

int turbo__router_new(turbo__router **out);

/** Frees the router, not the routes. NULL is allowed. */
void turbo__router_free(turbo__router *router);

/**
 * Add a route by the rules of turbo_server_route(). After an error the router is as before.
 * @param method   NULL: every method without a handler of its own. @param err receives a sentence on error.
 * @return 0; TURBO_EINVAL; TURBO_EEXIST; TURBO_ENOMEM.
 * Thread: setup.
 */
int turbo__router_add(turbo__router *router, const char *method, const char *pattern, struct turbo__route *route,
                      const turbo__pattern **out, char *err, size_t size);

/** The largest param_count of all patterns. */
size_t turbo__router_params_max(const turbo__router *router);

/**
 * Find the route of a request. Reads only; allocates nothing.
 *
 * @param path     as sent, without the query; "*" only matches for OPTIONS (204 with every method).
 * @param params   turbo__router_params_max() values; receives them, percent-decoded: pieces of path, or of scratch.
 * @param scratch  path.len bytes, used when something had to be decoded; NULL: path has no '%'.
 * Thread: any.
 */
void turbo__router_match(const turbo__router *router, turbo_str method, turbo_str path, turbo_str *params,
                         char *scratch, turbo__match *out);

#endif
