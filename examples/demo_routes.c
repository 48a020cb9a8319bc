/* demo_routes.c - the handlers of the C demo. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"

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
    demo_text out = {0};
    (void)user;
    demo_put_text(&out, "{\"id\":");
    demo_put_utf8(&out, turbo_request_param(req, "id"));
    demo_put_text(&out, "}");
    return demo_reply_json(req, &out);
}

typedef int (*field_at)(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value);

static void put_fields(demo_text *out, const turbo_request *req, size_t count, field_at at) {
    demo_put_text(out, "[");
    for (size_t i = 0; i < count; i++) {
        turbo_str name, value;
        (void)at(req, i, &name, &value);
        demo_put_text(out, i == 0 ? "[" : ",[");
        demo_put_latin1(out, name);
        demo_put_text(out, ",");
        demo_put_latin1(out, value);
        demo_put_text(out, "]");
    }
    demo_put_text(out, "]");
}

static int on_reflect(turbo_request *req, void *user) {
    demo_text out = {0};
    (void)user;
    demo_put_text(&out, "{\"method\":");
    demo_put_latin1(&out, turbo_request_method(req));
    demo_put_text(&out, ",\"path\":");
    demo_put_latin1(&out, turbo_request_path(req));
    demo_put_text(&out, ",\"query\":");
    demo_put_latin1(&out, turbo_request_query(req));
    demo_put_text(&out, ",\"headers\":");
    put_fields(&out, req, turbo_request_field_count(req), turbo_request_field_at);
    demo_put_text(&out, ",\"body\":");
    demo_put_latin1(&out, turbo_request_body(req));
    demo_put_text(&out, ",\"trailers\":");
    put_fields(&out, req, turbo_request_trailer_count(req), turbo_request_trailer_at);
    demo_put_text(&out, "}");
    return demo_reply_json(req, &out);
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

static int add_files_route(turbo_server *server, const char *files, turbo_route_options *sync) {
    int rc = turbo_route_options_set(sync, "index", "index.html");
    return rc < 0 ? rc : turbo_server_route_static(server, "/files/{path...}", files, sync);
}

int demo_add_routes(turbo_server *server, turbo_route_options *sync, const char *files) {
    zeros = mmap(NULL, BIG_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED)
        return TURBO_ENOMEM;
    int rc = add_plain_routes(server, sync);
    if (rc == 0)
        rc = add_upload_route(server);
    if (rc == 0)
        rc = add_pool_route(server);
    if (rc == 0)
        rc = turbo_server_route_batch(server, "POST", "/batch", NULL, on_batch, NULL);
    if (rc == 0)
        rc = turbo_server_route_stats(server, "/stats", "/metrics");
    if (rc == 0 && files != NULL)
        rc = add_files_route(server, files, sync);
    (void)turbo_route_options_set_u64(sync, "body_max_bytes", ECHO_MAX);
    return rc < 0 ? rc : turbo_server_route(server, "POST", "/echo", sync, on_echo, NULL);
}
