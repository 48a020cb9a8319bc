/* demo.h - what the parts of the C demo have in common: demo.c, demo_routes.c, demo_json.c. */
#ifndef DEMO_H
#define DEMO_H

#include <stddef.h>
#include <turbo.h>

/** Register every route. @param sync  options of the handlers that answer at once. @param files  a directory to serve
 *  below /files/, or NULL. @return 0; a negative TURBO_E*. */
int demo_add_routes(turbo_server *server, turbo_route_options *sync, const char *files);

/* A growing text; once out of memory it takes nothing more. All-zero is empty. */
typedef struct demo_text {
    char *data;
    size_t len, cap;
    int failed;
} demo_text;

void demo_put(demo_text *out, const char *data, size_t len);
void demo_put_text(demo_text *out, const char *s);

/** Put bytes as a JSON string: each byte a character; UTF-8, of which what is malformed becomes U+FFFD. */
void demo_put_latin1(demo_text *out, turbo_str s);
void demo_put_utf8(demo_text *out, turbo_str s);

/** Answer with the text, and free it. @return as turbo_request_reply(). */
int demo_reply_json(turbo_request *req, demo_text *out);

#endif
