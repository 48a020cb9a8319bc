/* http1_trailer.c - one line of a trailer section: its parts, and whether the field may be one. */
#include "http1_trailer.h"

#include <string.h>

#include "chars.h"
#include "fields.h"

/* RFC 9110 6.5.1 names the kinds: a field of them is needed before the body is read, or would change what was decided
 * by then. docs/http1.md has the same list. */
static const char *const forbidden[] = {
    /* framing */
    "Content-Length", "Transfer-Encoding", "TE", "Trailer",
    /* the connection */
    "Connection", "HTTP2-Settings", "Keep-Alive", "Proxy-Connection", "Upgrade",
    /* routing */
    "Forwarded", "Host", "Max-Forwards", "Via",
    /* request modifiers: controls, conditions, ranges, negotiation */
    "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Expect", "If-Match", "If-Modified-Since",
    "If-None-Match", "If-Range", "If-Unmodified-Since", "Range",
    /* authentication, and state that stands for it */
    "Authorization", "Cookie", "Proxy-Authenticate", "Proxy-Authorization", "Set-Cookie", "WWW-Authenticate",
    /* content format */
    "Content-Encoding", "Content-Language", "Content-Location", "Content-Range", "Content-Type",
    /* caching and response control */
    "Age", "Cache-Control", "Date", "Expires", "Location", "Pragma", "Retry-After", "Vary", "Warning"};

void turbo__h1_trailer_split(const char *line, size_t len, turbo_str *name, turbo_str *value) {
    const char *colon = memchr(line, ':', len), *at = colon + 1, *end = line + len - 2;
    while (at < end && turbo__is_blank(*at))
        at++;
    while (end > at && turbo__is_blank(end[-1]))
        end--;
    *name = (turbo_str){line, (size_t)(colon - line)};
    *value = (turbo_str){at, (size_t)(end - at)};
}

int turbo__h1_trailer_is_forbidden(turbo_str name) {
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        if (turbo__ascii_equal(name.data, name.len, forbidden[i], strlen(forbidden[i])))
            return 1;
    return 0;
}
