/* h1_log.c - feeds the HTTP/1 parser and writes its events down as text. */
#include "h1_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"

static void reserve(h1_log *log, size_t more) {
    if (log->len + more + 1 <= log->cap)
        return;
    log->cap = (log->len + more + 1) * 2;
    if ((log->text = realloc(log->text, log->cap)) == NULL)
        abort();
}

static void put(h1_log *log, const char *text, size_t len) {
    reserve(log, len);
    memcpy(log->text + log->len, text, len);
    log->len += len;
    log->text[log->len] = '\0';
}

void h1_log_printf(h1_log *log, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        abort();
    put(log, text, (size_t)n);
}

void h1_log_escape(h1_log *log, const char *data, size_t len) {
    static const char from[] = "\r\n\t\\", to[] = "rnt\\";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        const char *known = c == 0 ? NULL : strchr(from, c);
        if (known != NULL)
            h1_log_printf(log, "\\%c", to[known - from]);
        else if (c == 0)
            put(log, "\\0", 2);
        else if (c < ' ' || c >= 0x7f)
            h1_log_printf(log, "\\x%02x", c);
        else
            put(log, data + i, 1);
    }
}

static void end_line(h1_log *log) {
    if (log->in_body)
        put(log, "\n", 1);
    log->in_body = 0;
}

static void line(h1_log *log, const char *word, const char *data, size_t len) {
    h1_log_printf(log, len > 0 ? "%s " : "%s", word);
    h1_log_escape(log, data, len);
    put(log, "\n", 1);
}

static void on_begin(void *user) {
    h1_log *log = user;
    end_line(log);
    h1_log_printf(log, "begin\n");
    log->begun = 1;
}

static void write_head_line(h1_log *log, const turbo__h1_head *head) {
    h1_log_printf(log, "head ");
    h1_log_escape(log, head->raw + head->method.at, head->method.len);
    put(log, " ", 1);
    h1_log_escape(log, head->raw + head->target.at, head->target.len);
    h1_log_printf(log, " HTTP/%d.%d%s%s", head->version / 10, head->version % 10, head->keep_alive ? "" : " close",
                  head->chunked ? " chunked" : "");
    if (head->content_length > 0)
        h1_log_printf(log, " length=%llu", (unsigned long long)head->content_length);
    h1_log_printf(log, "%s%s\n", head->expect_continue ? " expect" : "", head->expect_unknown ? " expect-unknown" : "");
}

static int on_head(void *user, const turbo__h1_head *head) {
    h1_log *log = user;
    write_head_line(log, head);
    if (head->path.at != head->target.at || head->path.len != head->target.len)
        line(log, "path", head->raw + head->path.at, head->path.len);
    if (head->has_query)
        line(log, "query", head->raw + head->query.at, head->query.len);
    for (size_t i = 0; i < head->field_count; i++) {
        const turbo__field *field = &head->fields[i];
        h1_log_printf(log, "field ");
        h1_log_escape(log, head->raw + field->name.at, field->name.len);
        put(log, ":", 1);
        line(log, "", head->raw + field->value.at, field->value.len);
    }
    log->closing = !head->keep_alive;
    log->chunked = head->chunked;
    log->left = 0;
    return log->stop_everywhere;
}

/* Behind a chunk, or in front of the first. */
static void expect_no_chunk(h1_log *log) {
    if (log->chunked && log->left != 0)
        h1_log_printf(log, "(%llu bytes of a chunk are missing)\n", (unsigned long long)log->left);
}

static int on_chunk(void *user, uint64_t size) {
    h1_log *log = user;
    expect_no_chunk(log);
    if (!log->chunked || size == 0)
        h1_log_printf(log, "(a chunk without bytes, or without the coding)\n");
    log->left = size;
    return log->stop_everywhere;
}

static int on_body(void *user, const char *data, size_t len) {
    h1_log *log = user;
    if (len == 0)
        h1_log_printf(log, "(a piece of body without bytes)\n");
    if (log->chunked && len > log->left)
        h1_log_printf(log, "(more bytes than the chunk has)\n");
    log->left -= len;
    if (!log->in_body)
        h1_log_printf(log, "body ");
    log->in_body = 1;
    h1_log_escape(log, data, len);
    return log->stop_everywhere;
}

static int on_trailer(void *user, turbo_str name, turbo_str value) {
    h1_log *log = user;
    expect_no_chunk(log);
    end_line(log);
    h1_log_printf(log, "trailer ");
    h1_log_escape(log, name.data, name.len);
    put(log, ":", 1);
    line(log, "", value.data, value.len);
    return log->stop_everywhere;
}

static int on_end(void *user) {
    h1_log *log = user;
    expect_no_chunk(log);
    end_line(log);
    h1_log_printf(log, "end\n");
    log->begun = 0;
    if (log->closing) {
        h1_log_printf(log, "closed\n");
        log->ended = 1;
    }
    return log->closing || log->stop_everywhere;
}

const turbo__h1_events h1_log_events = {on_begin, on_head, on_chunk, on_body, on_trailer, on_end};

void h1_log_clear(h1_log *log) {
    log->len = 0;
    log->in_body = log->begun = log->closing = log->ended = 0;
    put(log, "", 0);
}

void h1_log_free(h1_log *log) { free(log->text); }

static void check_used(h1_log *log, int rc, size_t used, size_t len) {
    if (rc != TURBO__H1_ERROR && (used > len || (rc == TURBO__H1_MORE && used != len)))
        h1_log_printf(log, "(%d, but %zu of %zu bytes used)\n", rc, used, len);
}

/* @return whether the parser stopped, and is to be fed the rest. */
static int feed_once(h1_log *log, turbo__h1_parser *parser, const char *data, size_t len, size_t *used) {
    *used = len + 1;
    int rc = turbo__h1_feed(parser, log, data, len, used);
    check_used(log, rc, *used, len);
    if (rc == TURBO__H1_ERROR) {
        end_line(log);
        h1_log_printf(log, "error %d\n", turbo__h1_status(parser));
        log->ended = 1;
    }
    return rc == TURBO__H1_STOPPED && !log->ended && *used <= len;
}

void h1_log_feed(h1_log *log, turbo__h1_parser *parser, const char *data, size_t len) {
    size_t at = 0, used;
    int more = !log->ended;
    while (more) {
        guard copy = guard_copy(data + at, len - at);
        more = feed_once(log, parser, copy.data, copy.len, &used);
        guard_free(&copy);
        at += used;
    }
}

void h1_log_feed_in_place(h1_log *log, turbo__h1_parser *parser, const char *data, size_t len) {
    size_t at = 0, used;
    int more = !log->ended;
    while (more) {
        more = feed_once(log, parser, data + at, len - at, &used);
        at += used;
    }
}

void h1_log_finish(h1_log *log) {
    end_line(log);
    if (!log->ended && log->begun)
        h1_log_printf(log, "more\n");
}
