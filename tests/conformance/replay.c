/* replay.c - runs conformance cases (README.md) through the HTTP/1 parser, cut in every way. usage: replay FILE ... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/h1_log.h"

#define LINE_MAX_BYTES 4096

typedef struct test_case {
    char name[256];
    h1_log bytes, expected; /* used as growable texts */
    turbo__h1_limits limits;
    int is_open;
} test_case;

static const turbo__h1_limits defaults = {65536, 100, 8192};

static const char *file_name;
static int line_number, failed, passed;

static void die(const char *what) {
    (void)fprintf(stderr, "%s:%d: %s\n", file_name, line_number, what);
    exit(2);
}

/* ---- reading cases ---- */

static void put(h1_log *text, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) { /* h1_log_printf() cannot write a NUL */
        char *grown = text->len + 2 <= text->cap ? text->text : realloc(text->text, (text->len + 2) * 2);
        if (grown == NULL)
            die("out of memory");
        if (grown != text->text)
            text->cap = (text->len + 2) * 2;
        text->text = grown;
        text->text[text->len++] = data[i];
        text->text[text->len] = '\0';
    }
}

static size_t unescape_byte(h1_log *out, const char *at) {
    static const char names[] = "rnt0\\", values[] = "\r\n\t\0\\";
    const char *known = *at == '\0' ? NULL : strchr(names, *at);
    char hex[3] = {0}, *end, byte;
    if (known != NULL) {
        put(out, &values[known - names], 1);
        return 1;
    }
    if (*at != 'x' || at[1] == '\0')
        die("unknown escape");
    memcpy(hex, at + 1, 2);
    byte = (char)strtol(hex, &end, 16);
    if (end != hex + 2)
        die("\\x takes two hexadecimal digits");
    put(out, &byte, 1);
    return 3;
}

static size_t repeat(h1_log *out, const char *at) {
    char *star;
    long count = strtol(at, &star, 10);
    const char *close = strchr(at, '}');
    if (*star != '*' || close == NULL || count < 1)
        die("\\{N*TEXT} is malformed");
    for (long i = 0; i < count; i++)
        put(out, star + 1, (size_t)(close - star - 1));
    return (size_t)(close - at) + 1;
}

/* Events keep their escapes, but for repetitions: that is how they are logged. */
static void add_text(h1_log *out, const char *at, int is_event) {
    while (*at != '\0') {
        if (at[0] == '\\' && at[1] == '{')
            at += 2 + repeat(out, at + 2);
        else if (at[0] == '\\' && !is_event)
            at += 1 + unescape_byte(out, at + 1);
        else
            put(out, at++, 1);
    }
}

static void set_limits(test_case *c, const char *text) {
    if (sscanf(text, "head=%zu fields=%zu target=%zu", &c->limits.head_max, &c->limits.fields_max,
               &c->limits.target_max) != 3)
        die("limits head=N fields=N target=N");
}

/* ---- running them ---- */

typedef struct cut {
    size_t at;   /* the first piece ends here; 0: no cut */
    size_t step; /* not 0: pieces of this size           */
    int stop_everywhere;
} cut;

static void feed(h1_log *log, turbo__h1_parser *parser, const test_case *c, cut how) {
    size_t len = c->bytes.len, step = how.step > 0 ? how.step : len;
    log->stop_everywhere = how.stop_everywhere;
    h1_log_clear(log);
    if (how.at > 0)
        h1_log_feed(log, parser, c->bytes.text, how.at);
    for (size_t at = how.at; at < len; at += step)
        h1_log_feed(log, parser, c->bytes.text + at, len - at < step ? len - at : step);
    h1_log_finish(log);
}

/* @return whether the events are those expected. */
static int try_cut(const test_case *c, h1_log *log, cut how) {
    turbo__h1_parser *parser;
    if (turbo__h1_parser_new(&parser, &h1_log_events, &c->limits) < 0)
        die("out of memory");
    feed(log, parser, c, how);
    turbo__h1_parser_free(parser);
    if (strcmp(log->text, c->expected.text) == 0)
        return 1;
    (void)printf("FAILED %s: %s\n  (cut at %zu of %zu, pieces of %zu%s)\n--- expected\n%s--- got\n%s\n", file_name,
                 c->name, how.at, c->bytes.len, how.step, how.stop_everywhere ? ", stopping" : "", c->expected.text,
                 log->text);
    return 0;
}

static int run_cuts(const test_case *c, h1_log *log) {
    for (int stop = 0; stop < 2; stop++) {
        if (!try_cut(c, log, (cut){0, 0, stop}) || !try_cut(c, log, (cut){0, 1, stop}))
            return 0;
        for (size_t at = 1; at < c->bytes.len; at++)
            if (!try_cut(c, log, (cut){at, 0, stop}))
                return 0;
    }
    return 1;
}

static void finish_case(test_case *c) {
    h1_log log = {0};
    if (!c->is_open)
        return;
    if (c->bytes.len == 0 || c->expected.len == 0)
        die("the case before has no bytes, or no events");
    if (run_cuts(c, &log))
        passed++;
    else
        failed++;
    h1_log_free(&log);
    h1_log_free(&c->bytes);
    h1_log_free(&c->expected);
    *c = (test_case){.is_open = 0};
}

static void take_line(test_case *c, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "=== ", 4) == 0) {
        finish_case(c);
        *c = (test_case){.is_open = 1, .limits = defaults};
        (void)snprintf(c->name, sizeof c->name, "%.200s", line + 4);
    } else if (line[0] == '#' || line[0] == '\0') {
        return;
    } else if (!c->is_open) {
        die("a line before the first case");
    } else if (line[0] == '>') {
        if (line[1] != ' ' || c->expected.len > 0)
            die("bytes begin with \"> \" and come before the events");
        add_text(&c->bytes, line + 2, 0);
    } else if (strncmp(line, "limits ", 7) == 0) {
        set_limits(c, line + 7);
    } else {
        add_text(&c->expected, line, 1);
        put(&c->expected, "\n", 1);
    }
}

static void run_file(const char *name) {
    static char line[LINE_MAX_BYTES];
    test_case c = {.is_open = 0};
    FILE *file = fopen(name, "r");
    file_name = name;
    line_number = 0;
    if (file == NULL)
        die("cannot be read");
    while (fgets(line, sizeof line, file) != NULL) {
        line_number++;
        if (strchr(line, '\n') == NULL)
            die("the line is too long, or not ended");
        take_line(&c, line);
    }
    finish_case(&c);
    (void)fclose(file);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    (void)printf("%d cases passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
