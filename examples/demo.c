/* demo.c - the routes of the demo, by native handlers; examples/demo.py is its twin in Python. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <turbo.h>
#include <unistd.h>

#define BIG_MAX ((uint64_t)64 << 20)  /* bytes that /big, and a chunk of /stream, may have */
#define ECHO_MAX ((uint64_t)16 << 20) /* bytes that /echo takes                            */
#define UPLOAD_MAX ((uint64_t)1 << 40)
#define JSON "application/json"
#define TEXT "text/plain; charset=utf-8"
#define BYTES "application/octet-stream"

static const char *zeros; /* BIG_MAX bytes to send: mapped, never written, so that they cost no memory */

static const char index_text[] = "libturbo demo\n"
                                 "GET  /            this text\n"
                                 "GET  /json        {\"ok\":true}\n"
                                 "GET  /sync        {\"ok\":true} from a sync handler\n"
                                 "GET  /async       {\"ok\":true} from an async handler that awaits nothing\n"
                                 "GET  /sleep       ?ms=1: awaits a timer\n"
                                 "any  /span        ?ms=1: awaits a timer; counts its beginning and end among all others\n"
                                 "GET  /users/{id}  JSON with the id\n"
                                 "any  /reflect     the request as JSON\n"
                                 "GET  /big         ?bytes=N: N bytes, up to 64 MiB\n"
                                 "GET  /stream      ?chunks=N&bytes=M: N chunks of M bytes\n"
                                 "GET  /nothing     204\n"
                                 "GET  /cached      304\n"
                                 "GET  /fail        the handler fails: 500\n"
                                 "GET  /block       ?ms=1: sleeps in the handler\n"
                                 "GET  /pool        ?ms=1: sleeps in the handler, on one of four threads of the "
                                 "shard's pool\n"
                                 "GET  /spin        ?us=100: computes in the handler\n"
                                 "GET  /r/{n}       {\"ok\":true} from sixteen routes, /r/0 to /r/15\n"
                                 "GET  /files/{path...}  a file of the directory that --files names\n"
                                 "GET  /stats       counters as JSON\n"
                                 "GET  /metrics     counters as Prometheus text\n"
                                 "POST /echo        the body back\n"
                                 "POST /upload      ?ms=0&take=N: waits, reads the body while it comes, at least take bytes; how many, "
                                 "and their Adler-32 sum\n"
                                 "POST /batch       how many requests shared a batch\n";

/* -- numbers in the query -- */

static int is_number(turbo_str text) {
    if (text.len == 0 || text.len > 18)
        return 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
    return 1;
}

/* A number from 0 to max; `out` keeps its value when the query has none. @return 0; -1: answered with 400. */
static int read_number(turbo_request *req, const char *name, uint64_t max, uint64_t *out) {
    turbo_str text = turbo_request_query_value(req, name);
    uint64_t value = 0;
    char sentence[96];
    if (text.data == NULL)
        return 0;
    for (size_t i = 0; is_number(text) && i < text.len; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    if (is_number(text) && value <= max) {
        *out = value;
        return 0;
    }
    int len = snprintf(sentence, sizeof sentence, "%s: a number from 0 to %llu\n", name, (unsigned long long)max);
    (void)turbo_request_reply(req, 400, TEXT, sentence, (size_t)len);
    return -1;
}

/* -- JSON -- */

/* A growing text; once out of memory it takes nothing more. */
typedef struct text {
    char *data;
    size_t len, cap;
    int failed;
} text;

static void put(text *out, const char *data, size_t len) {
    if (out->cap - out->len < len && !out->failed) {
        size_t cap = (out->len + len) * 2;
        char *grown = realloc(out->data, cap);
        out->failed = grown == NULL;
        if (grown != NULL) {
            out->data = grown;
            out->cap = cap;
        }
    }
    if (out->failed)
        return;
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void put_text(text *out, const char *s) { put(out, s, strlen(s)); }

/* An ASCII character inside a JSON string (RFC 8259 7). */
static void put_ascii(text *out, unsigned char c) {
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = c == 0 ? NULL : strchr(special, c);
    char escape[8];
    if (found != NULL)
        put(out, (char[]){'\\', letters[found - special]}, 2);
    else if (c < 0x20)
        put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    else
        put(out, (const char *)&c, 1);
}

/* Any bytes as a JSON string: each byte from 0x80 on is taken as a character of Latin-1, so that none is lost. */
static void put_latin1(text *out, turbo_str s) {
    char escape[8];
    put(out, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x80)
            put_ascii(out, c);
        else
            put(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
    }
    put(out, "\"", 1);
}

/* How many bytes at s begin a UTF-8 character; *whole says whether they are all of it (Unicode 3.9, table 3-7). */
static size_t utf8_prefix(const unsigned char *s, size_t len, int *whole) {
    size_t want = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2, n = 1;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte: no overlong forms, surrogates, or beyond U+10FFFF */
    *whole = 0;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 1;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (; n < want && n < len && s[n] >= low && s[n] <= high; n++) {
        low = 0x80;
        high = 0xbf;
    }
    *whole = n == want;
    return n;
}

/* UTF-8 text as a JSON string; what is no UTF-8 becomes U+FFFD. */
static void put_utf8(text *out, turbo_str s) {
    const unsigned char *bytes = (const unsigned char *)s.data;
    put(out, "\"", 1);
    for (size_t i = 0, n; i < s.len; i += n) {
        int whole;
        n = 1;
        if (bytes[i] < 0x80) {
            put_ascii(out, bytes[i]);
            continue;
        }
        n = utf8_prefix(bytes + i, s.len - i, &whole);
        put(out, whole ? s.data + i : "\xef\xbf\xbd", whole ? n : 3);
    }
    put(out, "\"", 1);
}

static int reply_json(turbo_request *req, text *out) {
    int rc = out->failed ? TURBO_ENOMEM : turbo_request_reply(req, 200, JSON, out->data, out->len);
    free(out->data);
    return rc;
}

/* -- handlers that answer at once -- */

static int on_index(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, TEXT, index_text, sizeof index_text - 1);
}

static int on_ok(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, JSON, "{\"ok\":true}", 11);
}

static int on_user(turbo_request *req, void *user) {
    text out = {0};
    (void)user;
    put_text(&out, "{\"id\":");
    put_utf8(&out, turbo_request_param(req, "id"));
    put_text(&out, "}");
    return reply_json(req, &out);
}

typedef int (*field_at)(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);

static void put_fields(text *out, const turbo_request *req, size_t count, field_at at) {
    put_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        turbo_str name, value;
        (void)at(req, i, &name, &value);
        put_text(out, i == 0 ? "[" : ",[");
        put_latin1(out, name);
        put_text(out, ",");
        put_latin1(out, value);
        put_text(out, "]");
    }
    put_text(out, "]");
}

static int on_reflect(turbo_request *req, void *user) {
    text out = {0};
    (void)user;
    put_text(&out, "{\"method\":");
    put_latin1(&out, turbo_request_method(req));
    put_text(&out, ",\"path\":");
    put_latin1(&out, turbo_request_path(req));
    put_text(&out, ",\"query\":");
    put_latin1(&out, turbo_request_query(req));
    put_text(&out, ",\"headers\":");
    put_fields(&out, req, turbo_request_field_count(req), turbo_request_field_at);
    put_text(&out, ",\"body\":");
    put_latin1(&out, turbo_request_body(req));
    put_text(&out, ",\"trailers\":");
    put_fields(&out, req, turbo_request_trailer_count(req), turbo_request_trailer_at);
    put_text(&out, "}");
    return reply_json(req, &out);
}

static int on_nothing(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 204, NULL, NULL, 0);
}

static int on_cached(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 304, NULL, NULL, 0);
}

static int on_fail(turbo_request *req, void *user) {
    (void)req;
    (void)user;
    return TURBO_EUSER;
}

/* Send a response, or free it. `rc` is the first error of its making. */
static int send_or_free(turbo_request *req, turbo_response *resp, int rc) {
    if (rc == 0)
        rc = turbo_request_respond(req, resp);
    if (rc < 0)
        turbo_response_free(resp);
    return rc;
}

static int new_response(turbo_response **out, const char *type, size_t len) {
    int rc = turbo_response_new(out, 200);
    if (rc == 0 && (rc = turbo_response_field_add(*out, "Content-Type", 12, type, len)) < 0)
        turbo_response_free(*out);
    return rc;
}

static int on_big(turbo_request *req, void *user) {
    uint64_t bytes = 1024;
    turbo_response *resp;
    (void)user;
    if (read_number(req, "bytes", BIG_MAX, &bytes) < 0)
        return 0;
    int rc = new_response(&resp, BYTES, sizeof BYTES - 1);
    return rc < 0 ? rc : send_or_free(req, resp, turbo_response_body_static(resp, zeros, (size_t)bytes));
}

static void release_request(void *user) { turbo_request_release(user); }

/* The body goes back from where it lies: the request is kept until it is sent. */
static int on_echo(turbo_request *req, void *user) {
    turbo_str type = turbo_request_field(req, "Content-Type"), body = turbo_request_body(req);
    turbo_response *resp;
    (void)user;
    int rc = type.data == NULL ? new_response(&resp, BYTES, sizeof BYTES - 1) : new_response(&resp, type.data, type.len);
    if (rc < 0)
        return rc;
    rc = turbo_response_body_ref(resp, body.data, body.len, release_request, turbo_request_retain(req));
    return send_or_free(req, resp, rc);
}

/* -- handlers that keep their shard busy -- */

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Says where it ran. */
static int reply_place(turbo_request *req) {
    char body[64];
    int len = snprintf(body, sizeof body, "{\"shard\":%zu,\"thread\":%ld}", turbo_shard_index(turbo_request_shard(req)),
                       (long)syscall(SYS_gettid));
    return turbo_request_reply(req, 200, JSON, body, (size_t)len);
}

static int on_block(turbo_request *req, void *user) {
    uint64_t ms = 1;
    (void)user;
    if (read_number(req, "ms", 1000, &ms) < 0)
        return 0;
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
    return reply_place(req);
}

static int on_spin(turbo_request *req, void *user) {
    uint64_t us = 100, from = now_us();
    (void)user;
    if (read_number(req, "us", 1000000, &us) < 0)
        return 0;
    while (now_us() - from < us) {
    }
    return reply_place(req);
}

/* -- handlers that answer later -- */

/* A posted function, and a timer's: it is time, or the shard ends first. */
static void answer_later(turbo_shard *shard, int status, void *user) {
    turbo_request *req = user;
    (void)shard;
    if (status == 0)
        (void)on_ok(req, NULL);
    else
        (void)turbo_request_reply(req, 503, TEXT, "stopping\n", 9);
    turbo_request_release(req);
}

static int on_async(turbo_request *req, void *user) {
    (void)user;
    int rc = turbo_shard_post(turbo_request_shard(req), answer_later, turbo_request_retain(req));
    if (rc < 0)
        turbo_request_release(req);
    return rc;
}

/* The client has gone: without this its request would hold a place, and a stop, until the time is over. */
static void cancel_sleep(turbo_request *req, void *user) {
    (void)user;
    turbo_timer_cancel(turbo_request_data(req));
    (void)turbo_request_fail(req); /* an answer would be thrown away */
    turbo_request_release(req);
}

static int on_sleep(turbo_request *req, void *user) {
    uint64_t ms = 1;
    turbo_timer *timer;
    (void)user;
    if (read_number(req, "ms", 60000, &ms) < 0)
        return 0;
    int rc = turbo_shard_timer(&timer, turbo_request_shard(req), ms, answer_later, turbo_request_retain(req));
    if (rc < 0) {
        turbo_request_release(req);
        return rc;
    }
    turbo_request_data_set(req, timer);
    return turbo_request_on_gone(req, cancel_sleep, NULL);
}

/* When a request of /span began and ended, on a clock that counts only that: two ran together when the spans overlap. */
typedef struct span {
    turbo_request *req;
    turbo_timer *timer;
    unsigned long long begun;
} span;

static atomic_ullong ticks;

static void drop_span(span *s) {
    turbo_request_release(s->req);
    free(s);
}

static void end_span(turbo_shard *shard, int status, void *user) {
    span *s = user;
    char body[80];
    int len = snprintf(body, sizeof body, "{\"begun\":%llu,\"ended\":%llu}", s->begun, atomic_fetch_add(&ticks, 1));
    (void)shard;
    (void)turbo_request_reply(s->req, status == 0 ? 200 : 503, JSON, body, (size_t)len);
    drop_span(s);
}

static void cancel_span(turbo_request *req, void *user) {
    turbo_timer_cancel(((span *)user)->timer);
    (void)turbo_request_fail(req);
    drop_span(user);
}

static int on_span(turbo_request *req, void *user) {
    uint64_t ms = 1;
    span *s;
    (void)user;
    if (read_number(req, "ms", 60000, &ms) < 0)
        return 0;
    if ((s = malloc(sizeof *s)) == NULL)
        return TURBO_ENOMEM;
    *s = (span){.req = turbo_request_retain(req), .begun = atomic_fetch_add(&ticks, 1)};
    int rc = turbo_shard_timer(&s->timer, turbo_request_shard(req), ms, end_span, s);
    if (rc == 0)
        return turbo_request_on_gone(req, cancel_span, s);
    drop_span(s);
    return rc;
}

/* -- a streamed answer -- */

/* What is left to write. */
typedef struct stream {
    uint64_t chunks, bytes;
} stream;

static void write_chunks(turbo_request *req, void *user) {
    stream *left = user;
    int rc = 0;
    while (left->chunks > 0 && (rc = turbo_request_respond_write(req, zeros, (size_t)left->bytes)) == 0)
        left->chunks--;
    if (rc == TURBO_EAGAIN)
        return; /* called again when the client has taken some */
    free(left);
    if (rc < 0)
        (void)turbo_request_fail(req); /* cut, so that nobody takes it for whole */
    else
        (void)turbo_request_respond_end(req);
    turbo_request_release(req);
}

static int begin_stream(turbo_request *req, stream *left) {
    turbo_response *resp;
    int rc = new_response(&resp, BYTES, sizeof BYTES - 1);
    if (rc < 0)
        return rc;
    if ((rc = turbo_request_respond_begin(req, resp)) < 0) {
        turbo_response_free(resp);
        return rc;
    }
    turbo_request_retain(req);
    (void)turbo_request_on_writable(req, write_chunks, left);
    write_chunks(req, left);
    return 0;
}

static int on_stream(turbo_request *req, void *user) {
    stream left = {10, 1024}, *kept;
    (void)user;
    if (read_number(req, "chunks", 1000000, &left.chunks) < 0 || read_number(req, "bytes", BIG_MAX, &left.bytes) < 0)
        return 0;
    if ((kept = malloc(sizeof *kept)) == NULL)
        return TURBO_ENOMEM;
    *kept = left;
    int rc = begin_stream(req, kept);
    if (rc < 0)
        free(kept);
    return rc;
}

/* -- a streamed body -- */

/* What was read: how much, and its sum by RFC 1950. */
typedef struct upload {
    turbo_request *req;
    uint64_t bytes, take; /* answered when so many were read */
    uint32_t a, b;
} upload;

static void add_up(upload *up, turbo_str part) {
    const unsigned char *data = (const unsigned char *)part.data;
    up->bytes += part.len;
    while (part.len > 0) {
        size_t n = part.len < 5552 ? part.len : 5552; /* so many bytes do not pass 32 bits */
        part.len -= n;
        for (; n > 0; n--) {
            up->a += *data++;
            up->b += up->a;
        }
        up->a %= 65521;
        up->b %= 65521;
    }
}

static void end_upload(upload *up, int rc) {
    char body[64];
    int len = snprintf(body, sizeof body, "{\"bytes\":%llu,\"sum\":%lu}", (unsigned long long)up->bytes,
                       (unsigned long)up->b << 16 | up->a);
    if (rc >= 0)
        (void)turbo_request_reply(up->req, 200, JSON, body, (size_t)len);
    else
        (void)turbo_request_fail(up->req); /* with the status that fits, if the client is there to read it */
    turbo_request_release(up->req);
    free(up);
}

/* Read what is there; called again when there is more. */
static void read_upload(turbo_request *req, void *user) {
    upload *up = user;
    turbo_str part;
    int rc = 0;
    while (up->bytes < up->take && (rc = turbo_request_body_read(req, &part)) == 1)
        add_up(up, part);
    if (rc != TURBO_EAGAIN)
        end_upload(up, rc);
}

/* It is time, or the shard ends. A client that has gone meanwhile is found by the first read. */
static void begin_upload(turbo_shard *shard, int status, void *user) {
    upload *up = user;
    (void)shard;
    (void)status;
    read_upload(up->req, up);
}

static int on_upload(turbo_request *req, void *user) {
    uint64_t ms = 0, take = UPLOAD_MAX;
    upload *up;
    int rc = 0;
    (void)user;
    if (read_number(req, "ms", 10000, &ms) < 0 || read_number(req, "take", UPLOAD_MAX, &take) < 0)
        return 0;
    if ((up = malloc(sizeof *up)) == NULL)
        return TURBO_ENOMEM;
    *up = (upload){.req = turbo_request_retain(req), .take = take, .a = 1};
    (void)turbo_request_on_body(req, read_upload, up);
    if (ms == 0)
        read_upload(req, up);
    else if ((rc = turbo_shard_timer(NULL, turbo_request_shard(req), ms, begin_upload, up)) < 0)
        end_upload(up, rc);
    return 0;
}

/* -- a batch -- */

static void on_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    char body[32];
    int len = snprintf(body, sizeof body, "{\"batch\":%zu}", n);
    (void)shard;
    (void)user;
    for (size_t i = 0; i < n; i++)
        (void)turbo_request_reply(reqs[i], 200, JSON, body, (size_t)len);
}

/* -- set-up -- */

static const struct {
    const char *method, *pattern;
    turbo_handler_fn fn;
    int on_shard; /* whatever --executor says: it answers later, or keeps a thread busy */
} routes[] = {
    {"GET", "/", on_index, 0},          {"GET", "/json", on_ok, 0},       {"GET", "/sync", on_ok, 0},
    {"GET", "/async", on_async, 1},     {"GET", "/sleep", on_sleep, 1},   {"GET", "/users/{id}", on_user, 0},
    {NULL, "/reflect", on_reflect, 0},  {"GET", "/big", on_big, 0},       {"GET", "/stream", on_stream, 0},
    {"GET", "/nothing", on_nothing, 0}, {"GET", "/cached", on_cached, 0}, {"GET", "/fail", on_fail, 0},
    {"GET", "/block", on_block, 1},     {"GET", "/spin", on_spin, 1},     {NULL, "/span", on_span, 1},
};

static int add_plain_routes(turbo_server *server, const turbo_route_options *sync) {
    int rc = 0;
    char pattern[16];
    for (size_t i = 0; rc == 0 && i < sizeof routes / sizeof routes[0]; i++)
        rc = turbo_server_route(server, routes[i].method, routes[i].pattern, routes[i].on_shard ? NULL : sync,
                                routes[i].fn, NULL);
    for (int i = 0; rc == 0 && i < 16; i++) {
        snprintf(pattern, sizeof pattern, "/r/%d", i);
        rc = turbo_server_route(server, "GET", pattern, sync, on_ok, NULL);
    }
    return rc;
}

static int add_pool_route(turbo_server *server) {
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0)
        return rc;
    if ((rc = turbo_route_options_set(options, "threads", "4")) == 0)
        rc = turbo_server_route(server, "GET", "/pool", options, on_block, NULL);
    turbo_route_options_free(options);
    return rc;
}

static int add_upload_route(turbo_server *server) {
    turbo_route_options *options;
    int rc = turbo_route_options_new(&options);
    if (rc < 0)
        return rc;
    if ((rc = turbo_route_options_set(options, "body", "streamed")) == 0 &&
        (rc = turbo_route_options_set_u64(options, "body_max_bytes", UPLOAD_MAX)) == 0)
        rc = turbo_server_route(server, "POST", "/upload", options, on_upload, NULL);
    turbo_route_options_free(options);
    return rc;
}

static int add_routes(turbo_server *server, turbo_route_options *sync) {
    int rc = add_plain_routes(server, sync);
    if (rc == 0)
        rc = add_upload_route(server);
    if (rc == 0)
        rc = add_pool_route(server);
    if (rc == 0)
        rc = turbo_server_route_batch(server, "POST", "/batch", NULL, on_batch, NULL);
    if (rc == 0)
        rc = turbo_server_route_stats(server, "/stats", "/metrics");
    (void)turbo_route_options_set_u64(sync, "body_max_bytes", ECHO_MAX);
    return rc < 0 ? rc : turbo_server_route(server, "POST", "/echo", sync, on_echo, NULL);
}

typedef struct arguments {
    const char *host, *port, *executor, *fd, *files;
} arguments;

static int add_files_route(turbo_server *server, const arguments *args, turbo_route_options *sync) {
    if (args->files == NULL)
        return 0;
    int rc = turbo_route_options_set(sync, "index", "index.html");
    return rc < 0 ? rc : turbo_server_route_static(server, "/files/{path...}", args->files, sync);
}

static void print_help(void) {
    puts("usage: demo [--host 127.0.0.1] [--port 8000] [--fd N] [--executor shard|inline] [--files DIR] "
         "[setting]...\n\n"
         "  --host ADDRESS             to listen on; unix:PATH for a unix socket\n"
         "  --port N                   to listen on; 0 picks a free one\n"
         "  --fd N                     an inherited socket that listens\n"
         "  --executor shard|inline    where the sync handlers run\n"
         "  --files DIR                a directory to serve below /files/\n\n"
         "Settings, also taken from the environment (TURBO_BATCH_MAX=64):\n");
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t min, max, usual;
        char flag[32] = "--";
        snprintf(flag + 2, sizeof flag - 2, "%s", turbo_setting_name(i));
        for (char *c = flag; (c = strchr(c, '_')) != NULL; *c = '-') {
        }
        (void)turbo_setting_range(i, &min, &max, &usual);
        printf("  %-26s %s [", flag, turbo_setting_doc(i));
        if (turbo_setting_type(i) == TURBO_SETTING_ENUM)
            printf("%s]\n", turbo_setting_choices(i));
        else
            printf("%llu..%llu%s%s; %llu]\n", (unsigned long long)min, (unsigned long long)max,
                   *turbo_setting_unit(i) ? " " : "", turbo_setting_unit(i), (unsigned long long)usual);
    }
}

/* @return 0; 1: help was printed; -1. */
static int read_arguments(arguments *out, int argc, char **argv) {
    struct {
        const char *flag, **value;
    } known[] = {{"--host", &out->host},
                 {"--port", &out->port},
                 {"--executor", &out->executor},
                 {"--fd", &out->fd},
                 {"--files", &out->files}};
    for (int i = 1; i < argc; i += 2) {
        const char **value = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            print_help();
            return 1;
        }
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            if (strcmp(argv[i], known[k].flag) == 0)
                value = known[k].value;
        if (value == NULL || i + 1 == argc) {
            fprintf(stderr, "demo: %s %s; see --help\n", value == NULL ? "unknown argument" : "no value for", argv[i]);
            return -1;
        }
        *value = argv[i + 1];
    }
    return 0;
}

static int listen_where(turbo_server *server, const arguments *args) {
    char address[256];
    if (args->fd != NULL)
        return turbo_server_listen_fd(server, atoi(args->fd));
    if (strncmp(args->host, "unix:", 5) == 0)
        return turbo_server_listen(server, args->host);
    snprintf(address, sizeof address, strchr(args->host, ':') != NULL ? "[%s]:%s" : "%s:%s", args->host, args->port);
    return turbo_server_listen(server, address);
}

static void print_address(const turbo_server *server, const arguments *args, const turbo_options *options) {
    uint64_t io_threads = 0;
    unsigned port = turbo_server_port(server);
    size_t shards = turbo_server_shard_count(server);
    (void)turbo_options_get_u64(options, "io_threads", &io_threads);
    printf("turbo listens on ");
    if (strncmp(args->host, "unix:", 5) == 0)
        printf("%s", args->host);
    else if (port == 0)
        printf("fd:%s", args->fd);
    else
        printf(strchr(args->host, ':') != NULL ? "http://[%s]:%u" : "http://%s:%u",
               *args->host == '\0' ? "0.0.0.0" : args->host, port);
    printf(" (%zu shard%s, %llu I/O thread%s)\n", shards, shards == 1 ? "" : "s", (unsigned long long)io_threads,
           io_threads == 1 ? "" : "s");
    fflush(stdout);
}

/* A signal that comes as soon as the line is read must already end the server gracefully: it is held back until
 * turbo_server_run() takes it. */
static int serve(turbo_server *server, const arguments *args, const turbo_options *options) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int rc = turbo_server_start(server);
    if (rc < 0)
        return rc;
    print_address(server, args, options);
    return turbo_server_run(server);
}

static int run(const arguments *args, const turbo_options *options) {
    turbo_server *server;
    turbo_route_options *sync = NULL;
    int rc = turbo_server_new(&server, options);
    if (rc < 0) {
        fprintf(stderr, "demo: %s\n", turbo_strerror(rc));
        return rc;
    }
    if ((rc = turbo_route_options_new(&sync)) == 0)
        rc = turbo_route_options_set(sync, "executor", args->executor);
    if (rc == 0)
        rc = turbo_server_set_log(server, TURBO_LOG_INFO, NULL, NULL); /* the counts at the end, to standard error */
    if (rc == 0)
        rc = add_routes(server, sync);
    if (rc == 0)
        rc = add_files_route(server, args, sync);
    if (rc == 0)
        rc = listen_where(server, args);
    if (rc == 0)
        rc = serve(server, args, options);
    if (rc < 0) {
        const char *detail = sync != NULL && *turbo_route_options_error(sync) ? turbo_route_options_error(sync)
                                                                              : turbo_server_error(server);
        fprintf(stderr, "demo: %s\n", *detail != '\0' ? detail : turbo_strerror(rc));
    }
    turbo_route_options_free(sync);
    turbo_server_release(server);
    return rc;
}

int main(int argc, char **argv) {
    arguments args = {"127.0.0.1", "8000", "shard", NULL, NULL};
    turbo_options *options;
    if (turbo_options_new(&options) < 0)
        return 1;
    int rc = turbo_options_load_env(options);
    if (rc == 0)
        rc = turbo_options_load_args(options, &argc, argv);
    if (rc < 0)
        fprintf(stderr, "demo: %s\n", turbo_options_error(options));
    else
        rc = read_arguments(&args, argc, argv);
    if (rc == 0) {
        void *region = mmap(NULL, BIG_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        zeros = region;
        rc = region == MAP_FAILED ? -1 : run(&args, options);
        turbo_options_free(options);
        return rc < 0 ? 1 : 0;
    }
    turbo_options_free(options);
    return rc < 0 ? 2 : 0;
}
