/* fuzz_router.c - registration and matching against a slow reference that keeps a plain list of patterns.
 *
 * Input: lines. "+METHOD PATTERN" registers (METHOD "*": every method), any other "METHOD PATH" is matched. */
#include "fuzz.h"
#include "pattern.h"
#include "route.h"
#include "router.h"
#include "turbo/error.h"

#define ROUTES_MAX 48
#define LOOKUPS_MAX 64
#define METHODS_FEW 7 /* so many and their unions surely fit among the Allow texts of a router */

typedef struct piece {
    int kind; /* 0: text, 1: {name}, 2: {name...}; the smaller one is preferred */
    char *text;
} piece;

typedef struct rule {
    char *method; /* NULL: every one */
    piece *pieces;
    size_t count;
    turbo__route route; /* its address names the rule */
} rule;

typedef struct model {
    rule rules[ROUTES_MAX];
    size_t count;
    turbo__router *router;
} model;

/* ---- texts ---- */

static char *text_of(const char *data, size_t len) {
    char *text = malloc(len + 1);
    MUST(text != NULL, "out of memory");
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    return text;
}

static int is_all(const char *text, const char *set) { return text[strspn(text, set)] == '\0'; }

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static int is_method(const char *text) {
    return text[0] != '\0' && strlen(text) <= 256 && is_all(text, ALNUM "!#$%&'*+-.^_`|~");
}

/* ---- patterns ---- */

static void free_pieces(piece *pieces, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(pieces[i].text);
    free(pieces);
}

static int parse_piece(const char *at, size_t len, piece *out) {
    char *text = text_of(at, len);
    *out = (piece){0, text};
    if (strpbrk(text, "{}") == NULL)
        return 1;
    if (len < 3 || text[0] != '{' || text[len - 1] != '}')
        return 0;
    text[len - 1] = '\0';
    memmove(text, text + 1, len - 1);
    out->kind = 1;
    if (len >= 5 && strcmp(text + len - 5, "...") == 0) {
        text[len - 5] = '\0';
        out->kind = 2;
    }
    return text[0] != '\0' && is_all(text, ALNUM "_");
}

/* @return whether the pieces make a pattern. */
static int are_fine(const piece *pieces, size_t count) {
    size_t params = 0;
    if (count > 64)
        return 0;
    for (size_t i = 0; i < count; i++) {
        params += pieces[i].kind != 0;
        if (pieces[i].kind == 2 && i + 1 < count)
            return 0;
        for (size_t j = 0; j < i; j++)
            if (pieces[i].kind != 0 && pieces[j].kind != 0 && strcmp(pieces[i].text, pieces[j].text) == 0)
                return 0;
    }
    return params <= 16;
}

static int parse_pattern(const char *text, piece **out, size_t *count) {
    int fine = 1;
    size_t slashes = 0;
    for (const char *p = text; *p != '\0'; p++)
        slashes += *p == '/';
    *count = 0;
    *out = calloc(slashes + 1, sizeof **out);
    MUST(*out != NULL, "out of memory");
    if (text[0] != '/')
        return 0;
    while (*text == '/') {
        size_t len = strcspn(text + 1, "/");
        fine &= parse_piece(text + 1, len, &(*out)[(*count)++]);
        text += 1 + len;
    }
    return fine && are_fine(*out, *count);
}

/* Whether the first n pieces stand for the same texts and parameters, whatever their names. */
static int same_place(const piece *a, const piece *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i].kind != b[i].kind || (a[i].kind == 0 && strcmp(a[i].text, b[i].text) != 0))
            return 0;
    return 1;
}

static int is_same_method(const char *a, const char *b) { return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0; }

static int conflicts(const rule *old, const rule *added) {
    size_t shared = old->count < added->count ? old->count : added->count;
    for (size_t i = 0; i < shared; i++)
        if (same_place(old->pieces, added->pieces, i + 1) && strcmp(old->pieces[i].text, added->pieces[i].text) != 0)
            return 1;
    return old->count == added->count && same_place(old->pieces, added->pieces, shared) &&
           is_same_method(old->method, added->method);
}

static int expected_of_add(const model *m, const rule *added, int fine) {
    if (!fine || (added->method != NULL && !is_method(added->method)))
        return TURBO_EINVAL;
    for (size_t i = 0; i < m->count; i++)
        if (conflicts(&m->rules[i], added))
            return TURBO_EEXIST;
    return 0;
}

static void add(model *m, char *method, const char *pattern) {
    char err[64] = "";
    const turbo__pattern *kept = NULL;
    rule *added = &m->rules[m->count];
    *added = (rule){.method = method};
    int fine = parse_pattern(pattern, &added->pieces, &added->count);
    int expected = expected_of_add(m, added, fine);
    int rc = turbo__router_add(m->router, method, pattern, &added->route, &kept, err, sizeof err);
    MUST(rc == expected, "%s %s: %d, not %d: %s", method == NULL ? "*" : method, pattern, rc, expected, err);
    MUST((rc == 0) == (err[0] == '\0'), "%d: %s", rc, err);
    if (rc == 0) {
        MUST(kept != NULL && strcmp(kept->text, pattern) == 0, "%s is kept as something else", pattern);
        m->count++;
    } else {
        free_pieces(added->pieces, added->count);
        free(method);
    }
}

/* ---- paths ---- */

typedef struct segment {
    char *data;
    size_t len;
} segment;

typedef struct path {
    segment *segments;
    size_t count;
} path;

static void free_path(path *p) {
    for (size_t i = 0; i < p->count; i++)
        free(p->segments[i].data);
    free(p->segments);
}

/* @return -1 for a bad escape. */
static int unescape(const char *at, const char *end) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    if (end - at < 3 || at[1] == '\0' || at[2] == '\0')
        return -1;
    const char *high = strchr(digits, at[1]), *low = strchr(digits, at[2]);
    return high == NULL || low == NULL ? -1 : (int)((high - digits) % 16 * 16 + (low - digits) % 16);
}

/* @return 0 when it is refused. */
static int decode(segment *out, const char *at, const char *end) {
    out->data = text_of("", 0);
    MUST((out->data = realloc(out->data, (size_t)(end - at) + 1)) != NULL, "out of memory");
    while (at < end) {
        int byte = *at == '%' ? unescape(at, end) : (unsigned char)*at;
        if (byte <= 0)
            return 0;
        at += *at == '%' ? 3 : 1;
        out->data[out->len++] = (char)byte;
    }
    return 1;
}

static int parse_path(turbo_str text, path *out) {
    const char *at = text.data, *end = text.data + text.len;
    int fine = 1;
    *out = (path){calloc(text.len, sizeof(segment)), 0};
    MUST(out->segments != NULL, "out of memory");
    while (at < end) {
        const char *stop = memchr(at + 1, '/', (size_t)(end - at - 1));
        stop = stop == NULL ? end : stop;
        fine &= decode(&out->segments[out->count++], at + 1, stop);
        at = stop;
    }
    return fine;
}

static int matches(const rule *r, const path *p) {
    for (size_t i = 0; i < r->count; i++) {
        const piece *want = &r->pieces[i];
        if (i == p->count)
            return 0;
        const segment *have = &p->segments[i];
        if (want->kind == 2)
            return 1;
        if (want->kind == 1 ? have->len == 0
                            : strlen(want->text) != have->len || memcmp(want->text, have->data, have->len) != 0)
            return 0;
    }
    return r->count == p->count;
}

/* Whether a is the more specific pattern; both match the same path. */
static int is_before(const rule *a, const rule *b) {
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (a->pieces[i].kind != b->pieces[i].kind)
            return a->pieces[i].kind < b->pieces[i].kind;
    return 0;
}

/* How well a rule fits a method: 3 by name, 2 GET for HEAD, 1 every method but TRACE, 0 not. */
static int fitness(const rule *r, turbo_str method) {
    if (r->method == NULL)
        return !(method.len == 5 && memcmp(method.data, "TRACE", 5) == 0);
    if (strlen(r->method) == method.len && memcmp(r->method, method.data, method.len) == 0)
        return 3;
    return method.len == 4 && memcmp(method.data, "HEAD", 4) == 0 && strcmp(r->method, "GET") == 0 ? 2 : 0;
}

static const rule *best(const model *m, const path *p, turbo_str method) {
    const rule *found = NULL;
    for (size_t i = 0; i < m->count; i++) {
        const rule *r = &m->rules[i];
        if (!matches(r, p) || fitness(r, method) == 0)
            continue;
        if (found == NULL || is_before(r, found) ||
            (!is_before(found, r) && fitness(r, method) > fitness(found, method)))
            found = r;
    }
    return found;
}

/* ---- Allow ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int has(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

/* The methods of the rules that match (of all, without a path), sorted. @return how many. */
static size_t allowed(const model *m, const path *p, const char **names) {
    size_t count = 0;
    names[count++] = "OPTIONS";
    for (size_t i = 0; i < m->count; i++) {
        const char *method = m->rules[i].method;
        if (p != NULL && !matches(&m->rules[i], p))
            continue;
        if (method == NULL) /* for every method: that it has GET can be said */
            method = "GET";
        if (!has(names, count, method))
            names[count++] = method;
        if (strcmp(method, "GET") == 0 && !has(names, count, "HEAD"))
            names[count++] = "HEAD";
    }
    qsort(names, count, sizeof names[0], by_text);
    return count;
}

static void expect_allow(const model *m, const path *p, const char *allow) {
    const char *names[2 * ROUTES_MAX + 3], *every[2 * ROUTES_MAX + 3];
    size_t count = allowed(m, p, names), at = 0;
    MUST(allow != NULL, "no Allow");
    if (allowed(m, NULL, every) > METHODS_FEW && p != NULL)
        return; /* it may name those of the most specific pattern only */
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(names[i]);
        MUST(strncmp(allow + at, names[i], len) == 0, "Allow: %s lacks %s", allow, names[i]);
        at += len;
        if (i + 1 < count) {
            MUST(strncmp(allow + at, ", ", 2) == 0, "Allow: %s", allow);
            at += 2;
        }
    }
    MUST(allow[at] == '\0', "Allow: %s names too many", allow);
}

/* ---- matching ---- */

static int is_known(const model *m, turbo_str method) {
    static const char *const standard[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT",
                                           "OPTIONS", "TRACE", "PATCH"};
    for (size_t i = 0; i < sizeof standard / sizeof standard[0]; i++)
        if (strlen(standard[i]) == method.len && memcmp(standard[i], method.data, method.len) == 0)
            return 1;
    for (size_t i = 0; i < m->count; i++)
        if (fitness(&m->rules[i], method) == 3)
            return 1;
    return 0;
}

static int is(turbo_str a, const char *text) { return a.len == strlen(text) && memcmp(a.data, text, a.len) == 0; }

static void expect_param(const path *p, size_t index, int kind, turbo_str value) {
    size_t at = 0, last = kind == 2 ? p->count : index + 1;
    for (size_t i = index; i < last; i++) {
        const segment *s = &p->segments[i];
        MUST(value.len >= at + s->len && memcmp(value.data + at, s->data, s->len) == 0, "parameter at %zu", index);
        at += s->len;
        if (i + 1 < last) {
            MUST(at < value.len && value.data[at] == '/', "parameter at %zu", index);
            at++;
        }
    }
    MUST(value.len == at, "parameter at %zu is too long", index);
}

static void expect_route(const rule *r, const path *p, const turbo_str *params, const turbo__match *got) {
    size_t n = 0;
    MUST(got->status == 200, "%d instead of a route", got->status);
    MUST(got->route == &r->route, "another route: %s", got->pattern->text);
    for (size_t i = 0; i < r->count; i++)
        if (r->pieces[i].kind != 0) {
            turbo_str name = got->pattern->param_names[n];
            MUST(is(name, r->pieces[i].text), "another name");
            expect_param(p, i, r->pieces[i].kind, params[n++]);
        }
    MUST(got->param_count == n, "%u parameters, not %zu", got->param_count, n);
}

/* What is owed for a target that is no path. */
static void expect_other(const model *m, turbo_str method, turbo_str text, const turbo__match *got) {
    int star = is(method, "OPTIONS") && is(text, "*");
    MUST(got->status == (star ? 204 : is(method, "CONNECT") ? 501 : 400), "%d", got->status);
    if (star)
        expect_allow(m, NULL, got->allow);
}

static void expect_match(const model *m, turbo_str method, turbo_str text, const turbo_str *params,
                         const turbo__match *got) {
    path p;
    const rule *found;
    size_t matching = 0;
    if (text.len == 0 || text.data[0] != '/') {
        expect_other(m, method, text, got);
        return;
    }
    int fine = parse_path(text, &p);
    for (size_t i = 0; i < m->count; i++)
        matching += matches(&m->rules[i], &p) != 0;
    if (!fine) {
        MUST(got->status == 400, "%d for a bad path", got->status);
    } else if ((found = best(m, &p, method)) != NULL) {
        expect_route(found, &p, params, got);
    } else if (!is_known(m, method)) {
        MUST(got->status == 501, "%d for an unknown method", got->status);
    } else if (matching == 0) {
        MUST(got->status == 404, "%d for an unknown path", got->status);
    } else {
        MUST(got->status == (is(method, "OPTIONS") ? 204 : 405), "%d for another method", got->status);
        expect_allow(m, &p, got->allow);
    }
    free_path(&p);
}

static void look_up(const model *m, turbo_str method, turbo_str text) {
    size_t places = turbo__router_params_max(m->router);
    turbo_str *params = malloc(places * sizeof *params + 1);
    char *scratch = malloc(text.len + 1);
    turbo__match got;
    MUST(params != NULL && scratch != NULL, "out of memory");
    char *exact = copy_of(text.data, text.len);
    text.data = exact;
    turbo__router_match(m->router, method, text, params, scratch, &got);
    expect_match(m, method, text, params, &got);
    free(exact);
    free(scratch);
    free(params);
}

/* ---- lines ---- */

static void run_line(model *m, const char *at, size_t len, size_t *lookups) {
    int adds = len > 0 && *at == '+';
    at += adds;
    len -= (size_t)adds;
    const char *space = memchr(at, ' ', len);
    if (space == NULL)
        return;
    size_t name_len = (size_t)(space - at);
    const char *rest = space + 1;
    size_t rest_len = len - name_len - 1;
    if (adds && m->count < ROUTES_MAX) {
        char *pattern = text_of(rest, rest_len);
        add(m, name_len == 1 && *at == '*' ? NULL : text_of(at, name_len), pattern);
        free(pattern);
    } else if (!adds && (*lookups)++ < LOOKUPS_MAX) {
        look_up(m, (turbo_str){at, name_len}, (turbo_str){rest, rest_len});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static model m;
    size_t lookups = 0;
    const char *at = (const char *)data, *end = at + size;
    m.count = 0;
    MUST(turbo__router_new(&m.router) == 0, "out of memory");
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        run_line(&m, at, (size_t)(stop - at), &lookups);
        at = stop + 1 <= end ? stop + 1 : end;
    }
    turbo__router_free(m.router);
    for (size_t i = 0; i < m.count; i++) {
        free_pieces(m.rules[i].pieces, m.rules[i].count);
        free(m.rules[i].method);
    }
    return 0;
}
