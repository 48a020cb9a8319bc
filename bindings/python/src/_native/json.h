/* json.h - plain Python values to JSON text without creating objects. */
#ifndef TURBOPY_JSON_H
#define TURBOPY_JSON_H

#include "state.h"

/* Growing text; data is PyMem memory. All-zero is empty. */
typedef struct turbopy_text {
    char *data;
    size_t len, size;
} turbopy_text;

/** Give the memory back. */
void turbopy_text_free(turbopy_text *text);

/**
 * Encode as compact JSON, UTF-8. dict (with str keys), list, tuple, str, int of 64 bits, float, bool and None are written
 * here; anything else among them makes the whole value the business of the JSON library (orjson, msgspec, json).
 *
 * @param text  emptied first; holds the result when 1 is returned.
 * @return 1: in text; 0: in *out, a new reference to bytes; -1 with the exception of the JSON library.
 */
int turbopy_json_encode(turbopy_state *st, turbopy_text *text, PyObject *value, PyObject **out);

#endif
