/* router.c - method + pattern -> route: a table of the paths without parameters, and a tree of segments for the rest. */
#include "router.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chars.h"
#include "mem.h"
#include "methods.h"
#include "pattern.h"
#include "turbo/error.h"

#define TABLE_CAP_FIRST 16

typedef struct pattern_item {
    struct pattern_item *next;
    turbo__pattern pattern;
    char text[];
} pattern_item;

typedef struct handler {
    uint64_t method; /* one bit; 0: every method without a handler of its own */
    struct turbo__route *route;
    const turbo__pattern *pattern;
} handler;

/* A place in the tree: the patterns that begin with the same segments. Texts are pieces of patterns. */
typedef struct node {
    turbo_str text;
    struct node **statics; /* sorted by compare_text() */
    size_t static_count;
    struct node *param, *rest;
    handler *handlers; /* of the patterns that end here */
    size_t handler_count;
    uint64_t allowed;  /* methods that may be used here; 0 without handlers */
    const char *allow; /* the text of allowed */
} node;

typedef struct table_entry {
    uint64_t hash;
    turbo_str path;
    const node *place; /* NULL: empty */
} table_entry;

/* Open addressing with at least half of the entries empty. Keys come from the program, not from clients. */
typedef struct table {
    table_entry *entries;
    size_t cap, count;  /* cap is a power of two */
    size_t path_len_max;
} table;

struct turbo__router {
    node root;
    table statics;
    turbo__methods methods;
    pattern_item *patterns;
    size_t params_max;
    size_t pieces_max;
    uint64_t allowed; /* by any route */
    const char *allow;
};

static __attribute__((format(printf, 4, 5))) int fail(int rc, char *err, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err, size, format, args);
    va_end(args);
    return rc;
}

static pattern_item *pattern_new(const char *text) {
    size_t size = strlen(text) + 1;
    pattern_item *item = turbo__calloc(1, sizeof *item + size);
    if (item == NULL)
        return NULL;
    memcpy(item->text, text, size);
    item->pattern.text = item->text;
    return item;
}

/* ---- the tree ---- */

/* Shorter first: most comparisons end without a look at the bytes. */
static int compare_text(turbo_str a, turbo_str b) {
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return a.len == 0 ? 0 : memcmp(a.data, b.data, a.len);
}

/* Place of a text among the static children, or where it belongs. */
static size_t search_static(const node *at, turbo_str text, int *found) {
    size_t low = 0, high = at->static_count;
    *found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_text(text, at->statics[middle]->text);
        if (order == 0) {
            *found = 1;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static node *find_static(const node *at, turbo_str text) {
    int found;
    size_t place = search_static(at, text, &found);
    return found ? at->statics[place] : NULL;
}

static node *node_new(turbo_str text) {
    node *place = turbo__calloc(1, sizeof *place);
    if (place != NULL)
        place->text = text;
    return place;
}

static void node_free_members(node *place);

static void node_free(node *place) {
    if (place == NULL)
        return;
    node_free_members(place);
    turbo__free(place);
}

static void node_free_members(node *place) {
    for (size_t i = 0; i < place->static_count; i++)
        node_free(place->statics[i]);
    node_free(place->param);
    node_free(place->rest);
    turbo__free(place->statics);
    turbo__free(place->handlers);
}

static node *grow_static(node *at, turbo_str text) {
    int found;
    size_t place = search_static(at, text, &found);
    if (found)
        return at->statics[place];
    node **statics = turbo__realloc(at->statics, (at->static_count + 1) * sizeof(node *));
    if (statics == NULL)
        return NULL;
    at->statics = statics;
    node *child = node_new(text);
    if (child == NULL)
        return NULL;
    memmove(statics + place + 1, statics + place, (at->static_count - place) * sizeof(node *));
    statics[place] = child;
    at->static_count++;
    return child;
}

/* The child for the next piece of a pattern, made when it is missing; NULL when memory is out. */
static node *grow(node *at, const turbo__piece *next) {
    node **slot = next->kind == TURBO__PIECE_PARAM ? &at->param : &at->rest;
    if (next->kind == TURBO__PIECE_STATIC)
        return grow_static(at, next->text);
    if (*slot == NULL)
        *slot = node_new(next->text);
    return *slot;
}

/* Two names for one parameter would give a request other names than its handler's pattern has. */
static int is_renamed(const node *child, const turbo__piece *next) {
    return next->kind != TURBO__PIECE_STATIC && compare_text(child->text, next->text) != 0;
}

static int grow_path(node *at, const turbo__pieces *pieces, node **out, turbo_str *other_name) {
    for (size_t i = 0; i < pieces->count; i++) {
        node *child = grow(at, &pieces->items[i]);
        if (child == NULL)
            return TURBO_ENOMEM;
        if (is_renamed(child, &pieces->items[i])) {
            *other_name = child->text;
            return TURBO_EEXIST;
        }
        at = child;
    }
    *out = at;
    return 0;
}

static int prune(node *place);

static node *prune_child(node *child) {
    if (child == NULL || !prune(child))
        return child;
    node_free(child);
    return NULL;
}

/* Take out what leads to no handler. A registration that failed may have left such nodes, whose texts lie in a pattern
 * about to be freed. Returns whether nothing is left. */
static int prune(node *place) {
    size_t kept = 0;
    for (size_t i = 0; i < place->static_count; i++)
        if ((place->statics[kept] = prune_child(place->statics[i])) != NULL)
            kept++;
    place->static_count = kept;
    place->param = prune_child(place->param);
    place->rest = prune_child(place->rest);
    return kept == 0 && place->param == NULL && place->rest == NULL && place->handler_count == 0;
}

static const handler *find_handler(const node *place, uint64_t method) {
    for (size_t i = 0; i < place->handler_count; i++)
        if (place->handlers[i].method == method)
            return &place->handlers[i];
    return NULL;
}

/* ---- the table of paths without parameters ---- */

static uint64_t mix(uint64_t hash) {
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static uint64_t hash_path(const char *data, size_t len) {
    uint64_t hash = len, word;
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&word, data, sizeof word);
        hash = mix(hash ^ word);
    }
    word = 0;
    for (size_t i = 0; i < len; i++)
        word = word << 8 | (unsigned char)data[i];
    return mix(hash ^ word);
}

/* The entry of a path, or the empty one where it belongs. The table is not empty. */
static table_entry *table_find(const table *in, turbo_str path, uint64_t hash) {
    size_t at = hash & (in->cap - 1);
    while (in->entries[at].place != NULL &&
           (in->entries[at].hash != hash || compare_text(in->entries[at].path, path) != 0))
        at = (at + 1) & (in->cap - 1);
    return &in->entries[at];
}

static int table_reserve(table *in) {
    table bigger = *in;
    if (in->count < in->cap / 2)
        return 0;
    bigger.cap = in->cap == 0 ? TABLE_CAP_FIRST : in->cap * 2;
    if ((bigger.entries = turbo__calloc(bigger.cap, sizeof(table_entry))) == NULL)
        return TURBO_ENOMEM;
    for (size_t i = 0; i < in->cap; i++)
        if (in->entries[i].place != NULL)
            *table_find(&bigger, in->entries[i].path, in->entries[i].hash) = in->entries[i];
    turbo__free(in->entries);
    *in = bigger;
    return 0;
}

/* After table_reserve(). */
static void table_put(table *in, turbo_str path, const node *place) {
    uint64_t hash = hash_path(path.data, path.len);
    table_entry *entry = table_find(in, path, hash);
    if (entry->place != NULL)
        return; /* by an earlier method */
    *entry = (table_entry){hash, path, place};
    in->count++;
    if (path.len > in->path_len_max)
        in->path_len_max = path.len;
}

static const node *table_get(const table *in, turbo_str path) {
    if (path.len > in->path_len_max) /* nor is a long path hashed */
        return NULL;
    return table_find(in, path, hash_path(path.data, path.len))->place;
}

/* ---- registration ---- */

/* GET handlers answer HEAD, and OPTIONS is answered everywhere. */
static uint64_t allowed_with(uint64_t methods) {
    return methods | TURBO__METHOD_OPTIONS | (methods & TURBO__METHOD_GET ? TURBO__METHOD_HEAD : 0);
}

static int reserve_handler(node *place) {
    handler *handlers = turbo__realloc(place->handlers, (place->handler_count + 1) * sizeof *handlers);
    if (handlers == NULL)
        return TURBO_ENOMEM;
    place->handlers = handlers;
    return 0;
}

/* Everything that can fail comes first. */
static int put_handler(turbo__router *router, node *place, const handler *added) {
    /* What has a handler for every method has GET; which others there are, only clients know. */
    uint64_t here = allowed_with(place->allowed | (added->method != 0 ? added->method : TURBO__METHOD_GET));
    uint64_t anywhere = router->allowed | here;
    int rc;
    if ((rc = reserve_handler(place)) < 0 || (rc = table_reserve(&router->statics)) < 0 ||
        (rc = turbo__methods_add_text(&router->methods, here)) < 0 ||
        (rc = turbo__methods_add_text(&router->methods, anywhere)) < 0)
        return rc;
    place->handlers[place->handler_count++] = *added;
    place->allowed = here;
    place->allow = turbo__methods_allow(&router->methods, here);
    router->allowed = anywhere;
    router->allow = turbo__methods_allow(&router->methods, anywhere);
    return 0;
}

static void keep_pattern(turbo__router *router, pattern_item *item, const turbo__pieces *pieces, const node *place) {
    const turbo__pattern *pattern = &item->pattern;
    item->next = router->patterns;
    router->patterns = item;
    if (pattern->param_count == 0)
        table_put(&router->statics, (turbo_str){pattern->text, strlen(pattern->text)}, place);
    if (pattern->param_count > router->params_max)
        router->params_max = pattern->param_count;
    if (pieces->count > router->pieces_max)
        router->pieces_max = pieces->count;
}

static int find_method(turbo__router *router, const char *method, uint64_t *out, char *err, size_t size) {
    int rc;
    *out = 0;
    if (method == NULL)
        return 0;
    if (!turbo__is_token(method, strlen(method)) || strlen(method) > TURBO__METHOD_BYTES_MAX)
        return fail(TURBO_EINVAL, err, size, "method \"%.64s\" is not a token, or too long", method);
    rc = turbo__methods_add(&router->methods, method, out);
    if (rc == TURBO_EINVAL)
        return fail(rc, err, size, "method \"%.64s\": there are more than %d methods", method, TURBO__METHODS_MAX);
    return rc;
}

static int add_item(turbo__router *router, uint64_t method, pattern_item *item, struct turbo__route *route, char *err,
                    size_t size) {
    turbo__pieces pieces;
    handler added = {method, route, &item->pattern};
    turbo_str other_name;
    node *place;
    const char *wrong = turbo__pattern_parse(&item->pattern, &pieces);
    if (wrong != NULL)
        return fail(TURBO_EINVAL, err, size, "pattern \"%.100s\": %s", item->text, wrong);
    int rc = grow_path(&router->root, &pieces, &place, &other_name);
    if (rc == TURBO_EEXIST)
        return fail(rc, err, size, "pattern \"%.100s\": an earlier pattern calls this parameter {%.*s}", item->text,
                    (int)(other_name.len < 64 ? other_name.len : 64), other_name.data);
    if (rc < 0)
        return rc;
    if (find_handler(place, method) != NULL)
        return fail(TURBO_EEXIST, err, size, "pattern \"%.100s\" has a handler for this method already", item->text);
    if ((rc = put_handler(router, place, &added)) == 0)
        keep_pattern(router, item, &pieces, place);
    return rc;
}

int turbo__router_new(turbo__router **out) {
    turbo__router *router = turbo__calloc(1, sizeof *router);
    int rc;
    if (router == NULL)
        return TURBO_ENOMEM;
    router->allowed = allowed_with(0);
    if ((rc = table_reserve(&router->statics)) < 0 ||
        (rc = turbo__methods_add_text(&router->methods, router->allowed)) < 0) {
        turbo__router_free(router);
        return rc;
    }
    router->allow = turbo__methods_allow(&router->methods, router->allowed);
    *out = router;
    return 0;
}

void turbo__router_free(turbo__router *router) {
    if (router == NULL)
        return;
    node_free_members(&router->root);
    turbo__free(router->statics.entries);
    turbo__methods_free(&router->methods);
    while (router->patterns != NULL) {
        pattern_item *next = router->patterns->next;
        turbo__free(router->patterns);
        router->patterns = next;
    }
    turbo__free(router);
}

int turbo__router_add(turbo__router *router, const char *method, const char *pattern, struct turbo__route *route,
                      const turbo__pattern **out, char *err, size_t size) {
    uint64_t bit;
    pattern_item *item = NULL;
    size_t methods = router->methods.extra_count;
    int rc = find_method(router, method, &bit, err, size);
    if (rc == 0 && (item = pattern_new(pattern)) == NULL)
        rc = TURBO_ENOMEM;
    if (rc == 0 && (rc = add_item(router, bit, item, route, err, size)) < 0) {
        (void)prune(&router->root);
        turbo__free(item);
    }
    if (rc == TURBO_ENOMEM) /* the method may be in an Allow text, and stays known */
        return fail(rc, err, size, "pattern \"%.100s\": out of memory", pattern);
    if (rc < 0)
        turbo__methods_forget(&router->methods, methods);
    else
        *out = &item->pattern;
    return rc;
}

size_t turbo__router_params_max(const turbo__router *router) { return router->params_max; }

/* ---- matching ---- */

typedef struct search {
    turbo_str name;  /* of the method                               */
    uint64_t method; /* one bit; 0 for a method that no route names */
    int is_trace;
    turbo_str *params;
    uint64_t allowed;    /* by the patterns that match, but have no handler for the method */
    const node *nearest; /* the most specific of them */
    const char *end;     /* of the path, decoded */
    size_t count;        /* of the path's segments, but none behind the longest pattern's are looked at */
    turbo_str segments[TURBO__SEGMENTS_MAX + 1];
} search;

/* The handler of the patterns that end here. */
static const handler *answer(search *s, const node *place) {
    const handler *found = find_handler(place, s->method);
    if (found == NULL && s->method == TURBO__METHOD_HEAD)
        found = find_handler(place, TURBO__METHOD_GET);
    if (found == NULL && s->method != 0)
        found = find_handler(place, 0);
    if (found != NULL && (found->method != 0 || !s->is_trace))
        return found; /* TRACE would show what a client's fields say (RFC 9110 9.3.8): only to who asks for it by name */
    s->allowed |= place->allowed;
    if (s->nearest == NULL && place->allowed != 0)
        s->nearest = place;
    return NULL;
}

/* Goes down the tree, static before {param} before {rest...}, and comes back where the method is missing. A node stands
 * at one depth, so that none is visited twice: the cost is bounded by the routes, whatever the path. */
static const handler *walk(search *s, const node *at, size_t depth, size_t param) {
    const handler *found;
    const node *child;
    if (depth == s->count)
        return answer(s, at);
    turbo_str segment = s->segments[depth];
    if ((child = find_static(at, segment)) != NULL && (found = walk(s, child, depth + 1, param)) != NULL)
        return found;
    if (at->param != NULL && segment.len > 0) {
        s->params[param] = segment;
        if ((found = walk(s, at->param, depth + 1, param + 1)) != NULL)
            return found;
    }
    if (at->rest != NULL && (found = answer(s, at->rest)) != NULL) {
        s->params[param] = (turbo_str){segment.data, (size_t)(s->end - segment.data)};
        return found;
    }
    return NULL;
}

/* A segment more than the longest pattern has tells that only {rest...} can match; those behind it do not matter. */
static int add_segment(search *s, size_t pieces_max, const char *begin, const char *end) {
    if (s->count > pieces_max)
        return 0;
    s->segments[s->count++] = (turbo_str){begin, (size_t)(end - begin)};
    return 1;
}

static int split(search *s, turbo_str path, size_t pieces_max) {
    const char *begin = path.data + 1, *slash;
    s->end = path.data + path.len;
    if (memchr(path.data, '\0', path.len) != NULL)
        return TURBO_EINVAL;
    while ((slash = memchr(begin, '/', (size_t)(s->end - begin))) != NULL) {
        if (!add_segment(s, pieces_max, begin, slash))
            return 0;
        begin = slash + 1;
    }
    (void)add_segment(s, pieces_max, begin, s->end);
    return 0;
}

/* The byte of the escape behind a '%', of which left bytes are there; negative for a bad one. */
static int decode_escape(const char *data, size_t left) {
    int high, low;
    if (left < 2 || (high = turbo__hex_value(data[0])) < 0 || (low = turbo__hex_value(data[1])) < 0)
        return TURBO_EINVAL;
    return high * 16 + low;
}

/* As split(), but decodes into scratch. A '/' that came as %2F does not separate. */
static int split_decoded(search *s, turbo_str path, size_t pieces_max, char *scratch) {
    char *begin = scratch, *out = scratch;
    for (size_t i = 1; i < path.len; i++) {
        int byte = (unsigned char)path.data[i];
        if (byte == '/') {
            (void)add_segment(s, pieces_max, begin, out);
            begin = out + 1;
        } else if (byte == '%') {
            byte = decode_escape(path.data + i + 1, path.len - i - 1);
            i += 2;
        }
        if (byte <= 0)
            return TURBO_EINVAL;
        *out++ = (char)byte;
    }
    (void)add_segment(s, pieces_max, begin, out);
    s->end = out;
    return 0;
}

static void set_route(turbo__match *out, const handler *found) {
    out->status = 200;
    out->route = found->route;
    out->pattern = found->pattern;
    out->param_count = (uint32_t)found->pattern->param_count;
}

static void set_missing(const turbo__router *router, const search *s, turbo__match *out) {
    if ((s->method & router->allowed) == 0 && !turbo__methods_is_standard(s->name)) {
        out->status = 501; /* nothing here recognizes it (RFC 9110 9.1) */
        return;
    }
    if (s->nearest == NULL) {
        out->status = 404;
        return;
    }
    out->status = s->method == TURBO__METHOD_OPTIONS ? 204 : 405;
    out->allow = turbo__methods_allow(&router->methods, s->allowed);
    if (out->allow == NULL)
        out->allow = s->nearest->allow;
}

/* A target that is no path: "*" asks about the server as a whole (RFC 9110 9.3.7), an authority for a tunnel. */
static void match_other(const turbo__router *router, const search *s, turbo_str path, turbo__match *out) {
    out->status = s->name.len == 7 && memcmp(s->name.data, "CONNECT", 7) == 0 ? 501 : 400;
    if (s->method == TURBO__METHOD_OPTIONS && path.len == 1 && path.data[0] == '*') {
        out->status = 204;
        out->allow = router->allow;
    }
}

static void match_tree(const turbo__router *router, search *s, turbo_str path, char *scratch, turbo__match *out) {
    const handler *found;
    int rc = scratch == NULL ? split(s, path, router->pieces_max) : split_decoded(s, path, router->pieces_max, scratch);
    if (rc < 0)
        out->status = 400;
    else if ((found = walk(s, &router->root, 0, 0)) != NULL)
        set_route(out, found);
    else
        set_missing(router, s, out);
}

void turbo__router_match(const turbo__router *router, turbo_str method, turbo_str path, turbo_str *params,
                         char *scratch, turbo__match *out) {
    const handler *found;
    const node *place;
    search s;
    s.name = method;
    s.method = turbo__methods_find(&router->methods, method);
    s.is_trace = method.len == 5 && memcmp(method.data, "TRACE", 5) == 0;
    s.params = params;
    s.allowed = 0;
    s.nearest = NULL;
    s.count = 0;
    *out = (turbo__match){0};
    if (path.len == 0 || path.data[0] != '/') {
        match_other(router, &s, path, out);
        return;
    }
    if (scratch != NULL && memchr(path.data, '%', path.len) != NULL) {
        match_tree(router, &s, path, scratch, out);
        return;
    }
    /* A path that is a pattern by itself is the most specific match there is. */
    if ((place = table_get(&router->statics, path)) != NULL && (found = answer(&s, place)) != NULL)
        set_route(out, found);
    else
        match_tree(router, &s, path, NULL, out);
}
