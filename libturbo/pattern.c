/* pattern.c - the text of a route's pattern -> its segments. */
#include "pattern.h"

#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

static int is_name(turbo_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i], lower = (char)(c | 0x20);
        if ((lower < 'a' || lower > 'z') && (c < '0' || c > '9') && c != '_')
            return 0;
    }
    return text.len > 0;
}

static int has_brace(turbo_str text) {
    return text.len > 0 && (memchr(text.data, '{', text.len) != NULL || memchr(text.data, '}', text.len) != NULL);
}

/* Returns what is wrong with the segment; NULL when nothing is. */
static const char *parse_piece(turbo_str text, turbo__piece *out) {
    *out = (turbo__piece){TURBO__PIECE_STATIC, text};
    if (!has_brace(text))
        return NULL;
    if (text.len < 2 || text.data[0] != '{' || text.data[text.len - 1] != '}')
        return "a parameter is a whole segment, {name} or {name...}";
    *out = (turbo__piece){TURBO__PIECE_PARAM, {text.data + 1, text.len - 2}};
    if (out->text.len >= 3 && memcmp(out->text.data + out->text.len - 3, "...", 3) == 0) {
        out->kind = TURBO__PIECE_REST;
        out->text.len -= 3;
    }
    return is_name(out->text) ? NULL : "a parameter's name consists of letters, digits and '_'";
}

static int is_taken(const turbo__pattern *pattern, turbo_str name) {
    for (size_t i = 0; i < pattern->param_count; i++)
        if (pattern->param_names[i].len == name.len && memcmp(pattern->param_names[i].data, name.data, name.len) == 0)
            return 1;
    return 0;
}

static const char *add_piece(turbo__pieces *to, turbo__pattern *pattern, turbo_str text) {
    turbo__piece *last = &to->items[to->count];
    const char *wrong;
    if (to->count == TURBO__SEGMENTS_MAX)
        return "it has more than " TEXT(TURBO__SEGMENTS_MAX) " segments";
    if (to->count > 0 && last[-1].kind == TURBO__PIECE_REST)
        return "{name...} must be the last segment";
    if ((wrong = parse_piece(text, last)) != NULL)
        return wrong;
    to->count++;
    if (last->kind == TURBO__PIECE_STATIC)
        return NULL;
    if (pattern->param_count == TURBO__PARAMS_MAX)
        return "it has more than " TEXT(TURBO__PARAMS_MAX) " parameters";
    if (is_taken(pattern, last->text))
        return "two parameters have the same name";
    pattern->param_names[pattern->param_count++] = last->text;
    return NULL;
}

const char *turbo__pattern_parse(turbo__pattern *pattern, turbo__pieces *out) {
    const char *p = pattern->text, *wrong = NULL;
    out->count = 0;
    pattern->param_count = 0;
    if (*p != '/')
        return "it does not begin with '/'";
    while (wrong == NULL && *p == '/') {
        size_t len = strcspn(++p, "/");
        wrong = add_piece(out, pattern, (turbo_str){p, len});
        p += len;
    }
    return wrong;
}
