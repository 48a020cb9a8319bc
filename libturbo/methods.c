/* methods.c - the methods of a router as bits, and the Allow texts made of them. */
#include "methods.h"

#include <string.h>

#include "mem.h"
#include "turbo/error.h"

#define KNOWN 3
/* Eight methods in every combination: more than applications mix. */
#define TEXTS_MAX 256

static const turbo_str known[KNOWN] = {{"GET", 3}, {"HEAD", 4}, {"OPTIONS", 7}};

static uint64_t bit_of(size_t index) { return (uint64_t)1 << index; }

static size_t method_count(const turbo__methods *methods) { return KNOWN + methods->extra_count; }

static turbo_str name_of(const turbo__methods *methods, size_t index) {
    if (index < KNOWN)
        return known[index];
    const turbo__methods_name *name = &methods->extra[index - KNOWN];
    return (turbo_str){name->data, name->len};
}

static int before(turbo_str a, turbo_str b) { return strcmp(a.data, b.data) < 0; }

/* Collects the names of a set in alphabetical order. Returns how many. */
static size_t sort_names(const turbo__methods *methods, uint64_t set, turbo_str *out) {
    size_t count = 0;
    for (size_t i = 0; i < method_count(methods); i++) {
        turbo_str name = name_of(methods, i);
        size_t at = count;
        if ((set & bit_of(i)) == 0)
            continue;
        for (; at > 0 && before(name, out[at - 1]); at--)
            out[at] = out[at - 1];
        out[at] = name;
        count++;
    }
    return count;
}

static char *make_text(const turbo__methods *methods, uint64_t set) {
    turbo_str names[TURBO__METHODS_MAX];
    size_t count = sort_names(methods, set, names), size = 1;
    char *text, *p;
    for (size_t i = 0; i < count; i++)
        size += names[i].len + 2;
    if ((text = turbo__malloc(size)) == NULL)
        return NULL;
    p = text;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            memcpy(p, ", ", 2);
            p += 2;
        }
        memcpy(p, names[i].data, names[i].len);
        p += names[i].len;
    }
    *p = '\0';
    return text;
}

static int reserve_text(turbo__methods *methods) {
    size_t cap = methods->text_cap == 0 ? 8 : methods->text_cap * 2;
    turbo__methods_text *texts;
    if (methods->text_count < methods->text_cap)
        return 0;
    if ((texts = turbo__realloc(methods->texts, cap * sizeof *texts)) == NULL)
        return TURBO_ENOMEM;
    methods->texts = texts;
    methods->text_cap = cap;
    return 0;
}

static int add_one_text(turbo__methods *methods, uint64_t set) {
    char *text;
    if (turbo__methods_allow(methods, set) != NULL)
        return 0;
    if (reserve_text(methods) < 0 || (text = make_text(methods, set)) == NULL)
        return TURBO_ENOMEM;
    methods->texts[methods->text_count++] = (turbo__methods_text){set, text};
    return 0;
}

void turbo__methods_free(turbo__methods *methods) {
    for (size_t i = 0; i < methods->extra_count; i++)
        turbo__free(methods->extra[i].data);
    for (size_t i = 0; i < methods->text_count; i++)
        turbo__free(methods->texts[i].text);
    turbo__free(methods->texts);
    *methods = (turbo__methods){0};
}

int turbo__methods_add(turbo__methods *methods, const char *name, uint64_t *out) {
    size_t len = strlen(name);
    uint64_t bit = turbo__methods_find(methods, (turbo_str){name, len});
    if (bit == 0) {
        char *copy;
        if (method_count(methods) == TURBO__METHODS_MAX)
            return TURBO_EINVAL;
        if ((copy = turbo__strndup(name, len)) == NULL)
            return TURBO_ENOMEM;
        bit = bit_of(method_count(methods));
        methods->extra[methods->extra_count++] = (turbo__methods_name){copy, len};
    }
    *out = bit;
    return 0;
}

void turbo__methods_forget(turbo__methods *methods, size_t extra_count) {
    while (methods->extra_count > extra_count)
        turbo__free(methods->extra[--methods->extra_count].data);
}

uint64_t turbo__methods_find(const turbo__methods *methods, turbo_str name) {
    for (size_t i = 0; i < method_count(methods); i++) {
        turbo_str candidate = name_of(methods, i);
        if (candidate.len == name.len && memcmp(candidate.data, name.data, name.len) == 0)
            return bit_of(i);
    }
    return 0;
}

int turbo__methods_is_standard(turbo_str name) {
    static const turbo_str names[] = {{"GET", 3},     {"HEAD", 4},    {"POST", 4},  {"PUT", 3},  {"DELETE", 6},
                                      {"CONNECT", 7}, {"OPTIONS", 7}, {"TRACE", 5}, {"PATCH", 5}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].len == name.len && memcmp(names[i].data, name.data, name.len) == 0)
            return 1;
    return 0;
}

int turbo__methods_add_text(turbo__methods *methods, uint64_t set) {
    size_t count = methods->text_count;
    int rc;
    if (turbo__methods_allow(methods, set) != NULL)
        return 0; /* its unions exist too: the sets are closed under union, as far as TEXTS_MAX allows */
    for (size_t i = 0; i < count && methods->text_count < TEXTS_MAX; i++)
        if ((rc = add_one_text(methods, set | methods->texts[i].set)) < 0)
            return rc;
    return add_one_text(methods, set); /* last: after a failure the next try makes the unions that are missing */
}

const char *turbo__methods_allow(const turbo__methods *methods, uint64_t set) {
    for (size_t i = 0; i < methods->text_count; i++)
        if (methods->texts[i].set == set)
            return methods->texts[i].text;
    return NULL;
}
