/* fuzz_http1_parse.c - events must not depend on how bytes are cut, nor on whether an event stops the parser.
 *
 * Input: limits (1 byte), count of cuts (1 byte, 0 to 7), each cut (2 bytes), then the client's bytes. */
#include "../support/h1_log.h"
#include "fuzz.h"

#define CUTS_MAX 7
#define BYTE_BY_BYTE_MAX 600 /* longer inputs are not fed byte by byte: it would take most of the time */

typedef struct bytes {
    const uint8_t *data;
    size_t len;
    size_t cuts[CUTS_MAX + 1]; /* ascending; the last one is len */
    size_t cut_count;
} bytes;

static const turbo__h1_limits limits[] = {
    {65536, 100, 8192}, {256, 4, 32}, {64, 100, 8192}, {300, 2, 300}, {65536, 33, 8192}};

/* Feed a copy of a piece, in a block of its size. */
static void feed_piece(h1_log *log, turbo__h1_parser *parser, const uint8_t *data, size_t len) {
    char *copy = copy_of(data, len);
    h1_log_feed_in_place(log, parser, copy, len);
    free(copy);
}

static void feed_whole(h1_log *log, turbo__h1_parser *parser, const bytes *in) {
    feed_piece(log, parser, in->data, in->len);
}

static void feed_cut(h1_log *log, turbo__h1_parser *parser, const bytes *in) {
    size_t at = 0;
    for (size_t i = 0; i < in->cut_count; i++) {
        feed_piece(log, parser, in->data + at, in->cuts[i] - at);
        at = in->cuts[i];
    }
}

static void feed_bytes(h1_log *log, turbo__h1_parser *parser, const bytes *in) {
    for (size_t i = 0; i < in->len; i++)
        feed_piece(log, parser, in->data + i, 1);
}

typedef void (*feed_fn)(h1_log *log, turbo__h1_parser *parser, const bytes *in);

/* A parser that has refused takes no more bytes and tells nothing more, until it is reset. */
static void stays_refused(h1_log *log, turbo__h1_parser *parser) {
    static const char more[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    size_t used = 99, before = log->len;
    if (turbo__h1_status(parser) == 0)
        return;
    MUST(turbo__h1_reason(parser)[0] != '\0', "%s", log->text);
    MUST(turbo__h1_feed(parser, log, more, sizeof more - 1, &used) == TURBO__H1_ERROR && used == 0, "%zu used", used);
    MUST(log->len == before, "%s", log->text);
}

static void run(h1_log *log, turbo__h1_parser *parser, const bytes *in, feed_fn feed, int stop) {
    h1_log_clear(log);
    log->stop_everywhere = stop;
    turbo__h1_parser_reset(parser);
    feed(log, parser, in);
    h1_log_finish(log);
    stays_refused(log, parser);
}

static void compare(const bytes *in, turbo__h1_parser *parser, h1_log *expected) {
    static const feed_fn feeds[] = {feed_whole, feed_cut, feed_bytes};
    static const char *const names[] = {"whole", "cut", "byte by byte"};
    h1_log log = {0};
    run(expected, parser, in, feed_whole, 0);
    for (int stop = 0; stop < 2; stop++) {
        for (size_t i = 0; i < 3; i++) {
            if (feeds[i] == feed_bytes && in->len > BYTE_BY_BYTE_MAX)
                continue;
            run(&log, parser, in, feeds[i], stop);
            MUST(strcmp(log.text, expected->text) == 0, "%s%s\n--- whole\n%s--- but\n%s", names[i],
                 stop ? ", stopping" : "", expected->text, log.text);
        }
    }
    h1_log_free(&log);
}

static int ascending(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

static bytes read_cuts(input *in) {
    bytes out = {0};
    size_t places[CUTS_MAX];
    size_t count = take_byte(in) % (CUTS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        unsigned high = take_byte(in);
        places[i] = high << 8 | take_byte(in);
    }
    out.data = in->at;
    out.len = in->left;
    for (size_t i = 0; i < count; i++)
        if (out.len > 0)
            out.cuts[out.cut_count++] = places[i] % out.len;
    out.cuts[out.cut_count++] = out.len;
    qsort(out.cuts, out.cut_count, sizeof out.cuts[0], ascending);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    h1_log expected = {0};
    turbo__h1_parser *parser;
    const turbo__h1_limits *chosen = &limits[take_byte(&in) % (sizeof limits / sizeof limits[0])];
    bytes all = read_cuts(&in);
    MUST(turbo__h1_parser_new(&parser, &h1_log_events, chosen) == 0, "out of memory");
    compare(&all, parser, &expected);
    turbo__h1_parser_free(parser);
    h1_log_free(&expected);
    return 0;
}
