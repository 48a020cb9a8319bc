/* demo.c - the routes of the demo, by native handlers; examples/demo.py is its twin in Python. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <turbo.h>

#define BIG_MAX ((uint64_t)64 << 20)
#define STREAM_PART_MAX ((uint64_t)1 << 20)
#define JSON "application/json"
#define TEXT "text/plain; charset=utf-8"

static const char *zeros; /* BIG_MAX zero bytes that /big and /stream send; mapped, so that untouched pages cost nothing */

static const char index_text[] =
    "libturbo demo\n\n"
    "GET  /                        this text\n"
    "GET  /json  /sync             {\"ok\":true} from a sync handler\n"
    "GET  /async                   {\"ok\":true} from an async handler\n"
    "GET  /sleep?ms=1              answers after a timer\n"
    "GET  /users/{id}              the id as JSON\n"
    "ANY  /reflect                 the request as JSON\n"
    "GET  /big?bytes=N             N bytes, up to 64 MiB\n"
    "GET  /stream?chunks=N&bytes=M N chunks of M bytes\n"
    "GET  /nothing                 204\n"
    "GET  /cached                  304\n"
    "GET  /fail                    a handler that fails: 500\n"
    "GET  /stats  /metrics         counters as JSON, as Prometheus text\n"
    "POST /echo                    the body back\n"
    "POST /batch                   how many requests shared the batch\n";

/* -- small helpers -- */

static int text(turbo_request *req, int32_t status, const char *body) {
    return turbo_request_reply(req, status, TEXT, body, strlen(body));
}

/* The value of a query parameter as a number up to max. @return 0; -1 when it is malformed or too large. */
static int query_u64(const turbo_request *req, const char *name, uint64_t fallback, uint64_t max, uint64_t *out) {
    turbo_str value = turbo_request_query_value(req, name);
    *out = 0;
    if (value.data == NULL) {
        *out = fallback;
        return 0;
    }
    if (value.len == 0 || value.len > 18)
        return -1;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -1;
        *out = *out * 10 + (uint64_t)(value.data[i] - '0');
    }
    return *out <= max ? 0 : -1;
}

/* A growing text; out of memory shows in data being NULL at the end. */
typedef struct text_buf {
    char *data;
    size_t len, cap;
    int failed;
} text_buf;

static void put(text_buf *out, const char *data, size_t len) {
    if (out->len + len > out->cap) {
        size_t cap = (out->len + len) * 2;
        char *grown = out->failed ? NULL : realloc(out->data, cap);
        if (grown == NULL) {
            out->failed = 1;
            return;
        }
        out->data = grown;
        out->cap = cap;
    }
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void put_text(text_buf *out, const char *s) { put(out, s, strlen(s)); }

/* Bytes as a JSON string; those from 0x80 on are taken as Latin-1, as header fields are in ASGI. */
static void put_json(text_buf *out, turbo_str s) {
    char escaped[8];
    put(out, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            put(out, escaped, 2);
        } else if (c < 0x20 || c >= 0x7f) {
            put(out, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        } else {
            put(out, &s.data[i], 1);
        }
    }
    put(out, "\"", 1);
}

static int reply_buf(turbo_request *req, text_buf *out) {
    int rc = out->failed ? TURBO_EUSER : turbo_request_reply(req, 200, JSON, out->data, out->len);
    free(out->data);
    return rc;
}

/* -- handlers -- */

static int on_index(turbo_request *req, void *user) {
    (void)user;
    return text(req, 200, index_text);
}

static int on_ok(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, JSON, "{\"ok\":true}", 11);
}

static void sleep_over(turbo_shard *shard, int status, void *user) {
    turbo_request *req = user;
    (void)shard;
    if (status == 0)
        on_ok(req, NULL);
    else
        text(req, 503, "shutting down\n");
    turbo_request_release(req);
}

static int on_sleep(turbo_request *req, void *user) {
    uint64_t ms;
    (void)user;
    if (query_u64(req, "ms", 1, 60000, &ms) < 0)
        return text(req, 400, "ms: a number up to 60000\n");
    int rc = turbo_shard_timer(NULL, turbo_request_shard(req), ms, sleep_over, turbo_request_retain(req));
    if (rc < 0)
        turbo_request_release(req);
    return rc;
}

/* Blocks its shard, as a handler that computes or waits does. */
static int on_block(turbo_request *req, void *user) {
    uint64_t ms;
    (void)user;
    if (query_u64(req, "ms", 1, 1000, &ms) < 0)
        return text(req, 400, "ms: a number up to 1000\n");
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
    return on_ok(req, NULL);
}

static int on_spin(turbo_request *req, void *user) {
    uint64_t us;
    struct timespec from, now;
    (void)user;
    if (query_u64(req, "us", 100, 1000000, &us) < 0)
        return text(req, 400, "us: a number up to 1000000\n");
    clock_gettime(CLOCK_MONOTONIC, &from);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((uint64_t)((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000) < us);
    return on_ok(req, NULL);
}

static int on_user(turbo_request *req, void *user) {
    text_buf out = {0};
    (void)user;
    put_text(&out, "{\"id\":");
    put_json(&out, turbo_request_param(req, "id"));
    put_text(&out, "}");
    return reply_buf(req, &out);
}

static int on_reflect(turbo_request *req, void *user) {
    text_buf out = {0};
    (void)user;
    put_text(&out, "{\"method\":");
    put_json(&out, turbo_request_method(req));
    put_text(&out, ",\"path\":");
    put_json(&out, turbo_request_path(req));
    put_text(&out, ",\"query\":");
    put_json(&out, turbo_request_query(req));
    put_text(&out, ",\"headers\":[");
    for (size_t i = 0; i < turbo_request_field_count(req); i++) {
        turbo_str name, value;
        (void)turbo_request_field_at(req, i, &name, &value);
        put_text(&out, i == 0 ? "[" : ",[");
        put_json(&out, name);
        put_text(&out, ",");
        put_json(&out, value);
        put_text(&out, "]");
    }
    put_text(&out, "],\"body\":");
    put_json(&out, turbo_request_body(req));
    put_text(&out, "}");
    return reply_buf(req, &out);
}

static int on_big(turbo_request *req, void *user) {
    uint64_t bytes;
    turbo_response *resp;
    (void)user;
    if (query_u64(req, "bytes", 1024, BIG_MAX, &bytes) < 0)
        return text(req, 400, "bytes: a number up to 67108864\n");
    int rc = turbo_response_new(&resp, 200);
    if (rc < 0)
        return rc;
    (void)turbo_response_field_add(resp, "Content-Type", 12, "application/octet-stream", 24);
    (void)turbo_response_body_static(resp, zeros, (size_t)bytes);
    if ((rc = turbo_request_respond(req, resp)) < 0)
        turbo_response_free(resp);
    return rc;
}

/* What is left of a streamed answer. */
typedef struct stream {
    uint64_t chunks, bytes;
} stream;

static void stream_on(turbo_request *req, void *user) {
    stream *s = user;
    int rc = 0;
    while (s->chunks > 0 && (rc = turbo_request_respond_write(req, zeros, (size_t)s->bytes)) == 0)
        s->chunks--;
    if (rc == TURBO_EAGAIN)
        return; /* called again when there is room */
    free(s);
    (void)turbo_request_respond_end(req);
    turbo_request_release(req);
}

static int on_stream(turbo_request *req, void *user) {
    uint64_t chunks, bytes;
    turbo_response *resp = NULL;
    (void)user;
    if (query_u64(req, "chunks", 10, 1000000, &chunks) < 0 || query_u64(req, "bytes", 1024, STREAM_PART_MAX, &bytes) < 0)
        return text(req, 400, "chunks: up to 1000000; bytes: up to 1048576\n");
    stream *s = malloc(sizeof *s);
    int rc = s == NULL ? TURBO_ENOMEM : turbo_response_new(&resp, 200);
    if (rc == 0)
        rc = turbo_response_field_add(resp, "Content-Type", 12, "application/octet-stream", 24);
    if (rc == 0)
        rc = turbo_request_respond_begin(req, resp);
    if (rc < 0) {
        turbo_response_free(resp);
        free(s);
        return rc;
    }
    *s = (stream){chunks, bytes};
    turbo_request_retain(req);
    (void)turbo_request_on_writable(req, stream_on, s);
    stream_on(req, s);
    return 0;
}

static int respond_empty(turbo_request *req, int32_t status) { return turbo_request_reply(req, status, NULL, NULL, 0); }

static int on_nothing(turbo_request *req, void *user) {
    (void)user;
    return respond_empty(req, 204);
}

static int on_cached(turbo_request *req, void *user) {
    (void)user;
    return respond_empty(req, 304);
}

static int on_fail(turbo_request *req, void *user) {
    (void)req;
    (void)user;
    return TURBO_EUSER;
}

static void release_request(void *user) { turbo_request_release(user); }

/* The body goes back from where it lies: the request is kept until it is sent. */
static int on_echo(turbo_request *req, void *user) {
    turbo_str type = turbo_request_field(req, "Content-Type"), body = turbo_request_body(req);
    turbo_response *resp;
    (void)user;
    int rc = turbo_response_new(&resp, 200);
    if (rc < 0)
        return rc;
    if (type.data != NULL)
        rc = turbo_response_field_add(resp, "Content-Type", 12, type.data, type.len);
    if (rc == 0)
        rc = turbo_response_body_ref(resp, body.data, body.len, release_request, turbo_request_retain(req));
    if (rc < 0 || (rc = turbo_request_respond(req, resp)) < 0)
        turbo_response_free(resp);
    return rc;
}

static void on_batch(turbo_shard *shard, turbo_request *const *reqs, size_t n, void *user) {
    char body[32];
    int len = snprintf(body, sizeof body, "{\"batch\":%zu}", n);
    (void)shard;
    (void)user;
    for (size_t i = 0; i < n; i++)
        (void)turbo_request_reply(reqs[i], 200, JSON, body, (size_t)len);
}

/* -- set-up -- */

typedef struct demo {
    const char *host;
    const char *port;
    const char *executor; /* of the sync routes */
    int fd;               /* inherited; -1: none */
} demo;

static int add_routes(turbo_server *server, const demo *d) {
    turbo_route_options *fast, *large;
    if (turbo_route_options_new(&fast) < 0 || turbo_route_options_new(&large) < 0)
        return TURBO_ENOMEM;
    int rc = turbo_route_options_set(fast, "executor", d->executor);
    (void)turbo_route_options_set_u64(large, "body_max_bytes", 16 << 20);
#define ROUTE(method, path, options, fn)                                                                               \
    if (rc == 0)                                                                                                       \
    rc = turbo_server_route(server, method, path, options, fn, NULL)
    ROUTE("GET", "/", fast, on_index);
    ROUTE("GET", "/json", fast, on_ok);
    ROUTE("GET", "/sync", fast, on_ok);
    ROUTE("GET", "/async", NULL, on_ok);
    ROUTE("GET", "/sleep", NULL, on_sleep);
    ROUTE("GET", "/block", NULL, on_block);
    ROUTE("GET", "/spin", NULL, on_spin);
    ROUTE("GET", "/users/{id}", fast, on_user);
    ROUTE(NULL, "/reflect", fast, on_reflect);
    ROUTE("GET", "/big", fast, on_big);
    ROUTE("GET", "/stream", NULL, on_stream);
    ROUTE("GET", "/nothing", fast, on_nothing);
    ROUTE("GET", "/cached", fast, on_cached);
    ROUTE("GET", "/fail", fast, on_fail);
    ROUTE("POST", "/echo", large, on_echo);
#undef ROUTE
    for (int i = 0; rc == 0 && i < 16; i++) { /* sixteen routes alike, to see how they spread over the shards */
        char path[16];
        snprintf(path, sizeof path, "/r/%d", i);
        rc = turbo_server_route(server, "GET", path, NULL, on_ok, NULL);
    }
    if (rc == 0)
        rc = turbo_server_route_batch(server, "POST", "/batch", NULL, on_batch, NULL);
    if (rc == 0)
        rc = turbo_server_route_stats(server, "/stats", "/metrics");
    turbo_route_options_free(fast);
    turbo_route_options_free(large);
    return rc;
}

static void usage(void) {
    puts("usage: demo [--host 127.0.0.1] [--port 8000] [--fd N] [--executor shard|inline] [settings]\n\nsettings:");
    for (size_t i = 0; i < turbo_setting_count(); i++) {
        uint64_t fallback;
        char flag[64] = "--";
        (void)turbo_setting_range(i, NULL, NULL, &fallback);
        snprintf(flag + 2, sizeof flag - 2, "%s", turbo_setting_name(i));
        for (char *c = flag + 2; *c != '\0'; c++)
            if (*c == '_')
                *c = '-';
        printf("  %-26s %s [%llu %s]\n", flag, turbo_setting_doc(i), (unsigned long long)fallback,
               turbo_setting_type(i) == TURBO_SETTING_ENUM ? turbo_setting_choices(i) : turbo_setting_unit(i));
    }
}

/* @return 0; 1: usage was shown; -1. */
static int parse_args(demo *d, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char **value = NULL;
        const char *fd = NULL;
        if (strcmp(argv[i], "--help") == 0) {
            usage();
            return 1;
        }
        if (strcmp(argv[i], "--host") == 0)
            value = &d->host;
        else if (strcmp(argv[i], "--port") == 0)
            value = &d->port;
        else if (strcmp(argv[i], "--executor") == 0)
            value = &d->executor;
        else if (strcmp(argv[i], "--fd") == 0)
            value = &fd;
        if (value == NULL || i + 1 == argc) {
            fprintf(stderr, "demo: %s \"%s\"; see --help\n", value == NULL ? "unknown argument" : "no value for", argv[i]);
            return -1;
        }
        *value = argv[++i];
        if (fd != NULL)
            d->fd = atoi(fd);
    }
    return 0;
}

static int listen_where(turbo_server *server, const demo *d, char *address, size_t size) {
    int is_unix = strncmp(d->host, "unix:", 5) == 0;
    snprintf(address, size, is_unix ? "%s" : strchr(d->host, ':') != NULL ? "[%s]:%s" : "%s:%s", d->host, d->port);
    return d->fd >= 0 ? turbo_server_listen_fd(server, d->fd) : turbo_server_listen(server, address);
}

/* Says where the server listens once it accepts connections. A signal that comes as soon as that is read must already
 * end the server gracefully: it is held back until turbo_server_run() takes it. */
static int start_and_wait(turbo_server *server, const demo *d) {
    char address[300];
    int rc = listen_where(server, d, address, sizeof address);
    sigset_t signals;
    if (rc < 0)
        return rc;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if ((rc = turbo_server_start(server)) < 0)
        return rc;
    if (strncmp(address, "unix:", 5) == 0)
        printf("%s\n", address);
    else if (strchr(d->host, ':') != NULL)
        printf("http://[%s]:%u\n", d->host, (unsigned)turbo_server_port(server));
    else
        printf("http://%s:%u\n", d->host, (unsigned)turbo_server_port(server));
    fflush(stdout);
    return turbo_server_run(server);
}

int main(int argc, char **argv) {
    demo d = {.host = "127.0.0.1", .port = "8000", .executor = "shard", .fd = -1};
    turbo_options *options;
    turbo_server *server = NULL;
    int rc = turbo_options_new(&options);
    if (rc == 0 && (turbo_options_load_env(options) < 0 || turbo_options_load_args(options, &argc, argv) < 0)) {
        fprintf(stderr, "demo: %s\n", turbo_options_error(options));
        return 2;
    }
    int parsed = parse_args(&d, argc, argv);
    if (parsed != 0)
        return parsed < 0 ? 2 : 0;
    char *region = mmap(NULL, BIG_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return 1;
    zeros = region;
    if (rc == 0)
        rc = turbo_server_new(&server, options);
    if (rc == 0)
        rc = turbo_server_set_log(server, TURBO_LOG_INFO, NULL, NULL);
    if (rc == 0)
        rc = add_routes(server, &d);
    if (rc == 0)
        rc = start_and_wait(server, &d);
    if (rc < 0)
        fprintf(stderr, "demo: %s\n",
                server != NULL && turbo_server_error(server)[0] != '\0' ? turbo_server_error(server) : turbo_strerror(rc));
    turbo_server_release(server);
    turbo_options_free(options);
    return rc < 0;
}
