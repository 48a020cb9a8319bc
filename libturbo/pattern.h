/* pattern.h - the text of a route's pattern -> its segments. */
#ifndef TURBO_PATTERN_H
#define TURBO_PATTERN_H

#include <stddef.h>

#include "router.h"

typedef enum turbo__piece_kind { TURBO__PIECE_STATIC, TURBO__PIECE_PARAM, TURBO__PIECE_REST } turbo__piece_kind;

/* A segment: its text, or the name of its parameter. */
typedef struct turbo__piece {
    turbo__piece_kind kind;
    turbo_str text;
} turbo__piece;

typedef struct turbo__pieces {
    turbo__piece items[TURBO__SEGMENTS_MAX];
    size_t count;
} turbo__pieces;

/** Parse pattern->text into pieces of it, and set the parameters of pattern.
 *  @return NULL; when the text is malformed a sentence that says what is wrong: a static string. */
const char *turbo__pattern_parse(turbo__pattern *pattern, turbo__pieces *out);

#endif
