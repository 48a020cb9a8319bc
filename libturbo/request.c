/* request.c - one request: states, its single block of memory, references, accessors. */
#include "request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "body.h"
#include "chars.h"
#include "clock.h"
#include "io.h"
#include "mem.h"
#include "methods.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"

#define SPARE_BYTES 256           /* room for a small answer in the block                */
#define BODY_STEP_BYTES 65536     /* bodies are charged to body_memory_max in this step  */
#define TRAILERS_AT_FIRST 4

static size_t aligned(size_t n) { return (n + 15) & ~(size_t)15; }

/* struct | params | fields | head | decoded path | spare */
static turbo_request *block_new(size_t params, size_t fields, size_t raw_len, size_t scratch) {
    size_t params_at = aligned(sizeof(turbo_request));
    size_t fields_at = params_at + params * sizeof(turbo_str);
    size_t raw_at = fields_at + fields * sizeof(turbo__field);
    size_t spare_at = aligned(raw_at + raw_len + scratch);
    char *block = turbo__malloc(spare_at + SPARE_BYTES);
    turbo_request *req = (turbo_request *)(void *)block;
    if (block == NULL)
        return NULL;
    memset(block, 0, fields_at);
    atomic_init(&req->refs, 1);
    req->params = (turbo_str *)(void *)(block + params_at);
    req->fields = (turbo__field *)(void *)(block + fields_at);
    req->raw = block + raw_at;
    req->spare = block + spare_at;
    req->spare_len = SPARE_BYTES;
    req->own.embedded = 1;
    return req;
}

turbo_request *turbo__request_from_head(const turbo__h1_head *head, size_t params_max) {
    turbo_str path = {head->raw + head->path.at, head->path.len};
    size_t scratch = path.len > 0 && memchr(path.data, '%', path.len) != NULL ? path.len : 0;
    turbo_request *req = block_new(params_max, head->field_count, head->raw_len, scratch);
    if (req == NULL)
        return NULL;
    memcpy((char *)(uintptr_t)req->raw, head->raw, head->raw_len);
    if (head->field_count > 0)
        memcpy((void *)(uintptr_t)req->fields, head->fields, head->field_count * sizeof *head->fields);
    req->raw_len = (uint32_t)head->raw_len;
    req->field_count = (uint32_t)head->field_count;
    req->method = head->method;
    req->target = head->target;
    req->path = head->path;
    req->query = head->query;
    req->has_query = head->has_query;
    req->escaped = scratch > 0;
    req->version = head->version;
    req->keep_alive = head->keep_alive;
    req->is_head = head->is_head;
    req->is_safe = turbo__methods_is_safe((turbo_str){head->raw + head->method.at, head->method.len}) != 0;
    req->chunked = head->chunked;
    req->body_length = head->content_length;
    return req;
}

turbo_request *turbo__request_bare(int version) {
    turbo_request *req = block_new(0, 0, 0, 0);
    if (req != NULL)
        req->version = (uint8_t)version;
    return req;
}

static turbo_str path_of(const turbo_request *req) {
    /* The absolute form of an authority alone means "/" (RFC 9110 4.2.3). */
    return req->path.len == 0 ? (turbo_str){"/", 1} : turbo__request_span(req, req->path);
}

int32_t turbo__request_route(turbo_request *req, const turbo__router *router, turbo__match *match) {
    turbo_str path = path_of(req);
    /* block_new() left path.len bytes behind the head when there is something to decode. */
    char *scratch = req->escaped ? (char *)(uintptr_t)req->raw + req->raw_len : NULL;
    turbo__router_match(router, turbo__request_span(req, req->method), path, req->params, scratch, match);
    req->param_count = match->param_count;
    req->route = match->status == 200 ? match->route : NULL;
    return match->status;
}

/* -- references -- */

turbo_request *turbo_request_retain(turbo_request *req) {
    atomic_fetch_add_explicit(&req->refs, 1, memory_order_relaxed);
    return req;
}

static void free_parts(turbo__part *part) {
    while (part != NULL) {
        turbo__part *next = part->next;
        turbo__free(part);
        part = next;
    }
}

void turbo__trailers_free(turbo__trailers *trailers) {
    if (trailers == NULL)
        return;
    turbo__buf_free(&trailers->raw);
    turbo__free(trailers->fields);
    turbo__free(trailers);
}

/* Not inlined: most releases are not the last, and need none of its registers. */
static __attribute__((noinline)) void destroy(turbo_request *req) {
    struct turbo__io *io = req->io;
    turbo_server *server = req->server;
    if (req->counted)
        turbo__answer_forgotten(req);
    turbo_response_free(req->resp); /* a lent body is not ours: nobody is left to be told */
    turbo__buf_free(&req->own.fields); /* of a refusal that was never sent: resp was not set */
    free_parts(req->parts);
    free_parts(atomic_load_explicit(&req->new_parts, memory_order_relaxed));
    if (req->body_charged > 0)
        atomic_fetch_sub_explicit(&server->body_memory, req->body_charged, memory_order_relaxed);
    if (req->owns_body)
        turbo__free(req->body);
    turbo__trailers_free(req->trailers);
    if (req->incoming != NULL)
        turbo__body_free(req);
    if (req->resp_trailers != NULL)
        turbo__buf_free(req->resp_trailers);
    turbo__free(req->resp_trailers);
    int detached = req->done != NULL;
    turbo__free(req);
    if (io != NULL)
        turbo__io_request_freed(io);
    else if (detached)
        turbo__server_unref(server);
}

void turbo_request_release(turbo_request *req) {
    if (req == NULL)
        return;
    /* The only reference can only be ours: no locked operation is needed to see that it is the last. */
    if (atomic_load_explicit(&req->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&req->refs, 1, memory_order_acq_rel) == 1)
        destroy(req);
}

int turbo__request_claim(turbo_request *req, unsigned from, unsigned to) {
    unsigned expected = from;
    return atomic_compare_exchange_strong(&req->state, &expected, to) ? 0 : TURBO_ESTATE;
}

/* -- body -- */

static int charge(turbo_request *req, uint64_t bytes) {
    turbo_server *server = req->server;
    uint64_t more;
    if (bytes <= req->body_charged)
        return 0;
    more = bytes - req->body_charged;
    if (atomic_fetch_add_explicit(&server->body_memory, more, memory_order_relaxed) + more >
        server->settings.body_memory_max_bytes) {
        atomic_fetch_sub_explicit(&server->body_memory, more, memory_order_relaxed);
        return TURBO_EAGAIN;
    }
    req->body_charged = bytes;
    return 0;
}

/* A known length is allocated whole at once, so that nothing is copied twice; the system gives memory to it only as
 * bytes arrive, and it is charged as they do. */
static int make_room(turbo_request *req, size_t need, uint64_t max) {
    size_t cap = req->chunked ? req->body_cap * 2 : (size_t)req->body_length;
    if (cap < need)
        cap = need;
    if (req->chunked && cap > max)
        cap = (size_t)max;
    if (req->chunked && cap < 512 && max >= 512)
        cap = 512;
    char *body = turbo__realloc(req->body, cap);
    if (body == NULL)
        return TURBO_ENOMEM;
    req->body = body;
    req->body_cap = cap;
    req->owns_body = 1;
    return 0;
}

int turbo__request_body_append(turbo_request *req, const char *data, size_t len, uint64_t max) {
    size_t need = req->body_len + len;
    int rc;
    if (need > max)
        return TURBO_ETOOBIG;
    uint64_t steps = (need + BODY_STEP_BYTES - 1) / BODY_STEP_BYTES;
    /* The step is to spare the shared counter, not to refuse what fits without it. */
    if (charge(req, need < BODY_STEP_BYTES ? need : steps * BODY_STEP_BYTES) < 0 && (rc = charge(req, need)) < 0)
        return rc;
    if (need > req->body_cap && (rc = make_room(req, need, max)) < 0)
        return rc;
    memcpy(req->body + req->body_len, data, len);
    req->body_len = need;
    return 0;
}

/* -- trailers -- */

static turbo__trailers *made(turbo__trailers **trailers) {
    if (*trailers == NULL && (*trailers = turbo__calloc(1, sizeof **trailers)) != NULL)
        turbo__buf_init(&(*trailers)->raw, UINT32_MAX);
    return *trailers;
}

static int reserve_trailer(turbo__trailers *trailers) {
    if (trailers->count < trailers->cap)
        return 0;
    uint32_t cap = trailers->cap == 0 ? TRAILERS_AT_FIRST : trailers->cap * 2;
    turbo__field *fields = turbo__realloc(trailers->fields, cap * sizeof *fields);
    if (fields == NULL)
        return TURBO_ENOMEM;
    trailers->fields = fields;
    trailers->cap = cap;
    return 0;
}

int turbo__trailers_add(turbo__trailers **to, turbo_str name, turbo_str value) {
    turbo__trailers *trailers = made(to);
    if (trailers == NULL || reserve_trailer(trailers) < 0 ||
        turbo__buf_reserve(&trailers->raw, name.len + value.len) < 0)
        return TURBO_ENOMEM;
    uint32_t at = (uint32_t)trailers->raw.len;
    (void)turbo__buf_append(&trailers->raw, name.data, name.len); /* there is room */
    (void)turbo__buf_append(&trailers->raw, value.data, value.len);
    trailers->fields[trailers->count++] =
        (turbo__field){{at, (uint32_t)name.len}, {at + (uint32_t)name.len, (uint32_t)value.len}};
    return 0;
}

/* -- requests without a connection -- */

static int head_from_text(turbo__h1_head *head, const char *raw, size_t method_len, size_t target_len) {
    const char *target = raw + method_len, *mark = memchr(target, '?', target_len);
    size_t path_len = mark == NULL ? target_len : (size_t)(mark - target);
    if (!turbo__is_token(raw, method_len) || target_len == 0 || target[0] != '/')
        return TURBO_EINVAL;
    for (size_t i = 0; i < target_len; i++)
        if ((unsigned char)target[i] <= ' ' || (unsigned char)target[i] == 127)
            return TURBO_EINVAL;
    *head = (turbo__h1_head){.raw = raw, .raw_len = method_len + target_len, .version = 11, .keep_alive = 1};
    head->method = (turbo__span){0, (uint32_t)method_len};
    head->target = (turbo__span){(uint32_t)method_len, (uint32_t)target_len};
    head->path = (turbo__span){(uint32_t)method_len, (uint32_t)path_len};
    if (mark != NULL) {
        head->has_query = 1;
        head->query = (turbo__span){(uint32_t)(method_len + path_len + 1), (uint32_t)(target_len - path_len - 1)};
    }
    return 0;
}

static int detached_new(turbo_request **out, turbo_server *server, const char *raw, size_t method_len,
                        size_t target_len) {
    turbo__h1_head head;
    turbo__match match;
    int rc = head_from_text(&head, raw, method_len, target_len);
    if (rc < 0)
        return rc;
    turbo_request *req = turbo__request_from_head(&head, turbo__router_params_max(server->router));
    if (req == NULL)
        return TURBO_ENOMEM;
    int32_t status = turbo__request_route(req, server->router, &match);
    if (status != 200) {
        turbo__free(req); /* nothing else hangs on it yet */
        return status == 400 ? TURBO_EINVAL : TURBO_ENOENT;
    }
    req->complete = 1;
    *out = req;
    return 0;
}

int turbo_request_new(turbo_request **out, turbo_server *server, const char *method, const char *target,
                      turbo_done_fn done, void *user) {
    size_t method_len = strlen(method), target_len = strlen(target);
    int rc;
    if ((rc = turbo__server_accepts(server)) < 0)
        return rc;
    if (target_len > server->settings.target_max_bytes || method_len > server->settings.target_max_bytes)
        return TURBO_EINVAL;
    char *raw = turbo__malloc(method_len + target_len + 1);
    if (raw == NULL)
        return TURBO_ENOMEM;
    memcpy(raw, method, method_len);
    memcpy(raw + method_len, target, target_len);
    rc = detached_new(out, server, raw, method_len, target_len);
    turbo__free(raw);
    if (rc < 0)
        return rc;
    (*out)->done = done;
    (*out)->done_user = user;
    (*out)->server = turbo__server_ref(server);
    return 0;
}

int turbo_request_body_set(turbo_request *req, const void *data, size_t len) {
    if (req->done == NULL || req->shard != NULL)
        return TURBO_ESTATE;
    if (len > req->route->body_max)
        return TURBO_ETOOBIG;
    char *body = turbo__malloc(len == 0 ? 1 : len);
    if (body == NULL)
        return TURBO_ENOMEM;
    if (len > 0)
        memcpy(body, data, len);
    turbo__free(req->body);
    req->body = body;
    req->body_len = req->body_cap = len;
    req->owns_body = 1;
    return 0;
}

/* -- the answer -- */

int turbo__request_fill(turbo_request *req, int32_t status, turbo_str content_type, const void *data, size_t len) {
    turbo_response *resp = &req->own;
    size_t need = content_type.len + len;
    char *to = req->spare;
    resp->status = status;
    resp->body_kind = TURBO__BODY_INSIDE;
    if (need > req->spare_len) {
        if ((to = turbo__malloc(need)) == NULL)
            return TURBO_ENOMEM;
        resp->body_kind = TURBO__BODY_OWNED;
        resp->memory = to;
    }
    if (len > 0)
        memcpy(to, data, len);
    if (content_type.data != NULL) {
        memcpy(to + len, content_type.data, content_type.len);
        resp->content_type = (turbo_str){to + len, content_type.len};
    }
    resp->body = to;
    resp->body_len = len;
    req->resp = resp;
    return 0;
}

void turbo__request_answer_done(turbo_request *req) {
    turbo_response *resp = req->resp;
    if (resp == NULL)
        return;
    if (resp->body_kind == TURBO__BODY_LENT && req->shard != NULL)
        turbo__shard_event(req->shard, req, TURBO_EVENT_RELEASE);
    req->resp = NULL;
    turbo_response_free(resp);
}

/* -- accessors -- */

turbo_str turbo_request_method(const turbo_request *req) { return turbo__request_span(req, req->method); }

turbo_str turbo_request_target(const turbo_request *req) { return turbo__request_span(req, req->target); }

turbo_str turbo_request_path(const turbo_request *req) { return path_of(req); }

turbo_str turbo_request_query(const turbo_request *req) {
    return req->has_query ? turbo__request_span(req, req->query) : (turbo_str){NULL, 0};
}

turbo_str turbo_request_query_value(const turbo_request *req, const char *name) {
    turbo_str query = turbo_request_query(req);
    size_t name_len = strlen(name);
    const char *at = query.data, *end = at + query.len;
    while (at != NULL && at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        if ((size_t)(stop - at) > name_len && memcmp(at, name, name_len) == 0 && at[name_len] == '=')
            return (turbo_str){at + name_len + 1, (size_t)(stop - at) - name_len - 1};
        if ((size_t)(stop - at) == name_len && memcmp(at, name, name_len) == 0)
            return (turbo_str){stop, 0};
        at = stop + 1;
    }
    return (turbo_str){NULL, 0};
}

/* The authority of the absolute form, up to where the parser split path and query off. Other forms have none: https
 * and what CONNECT has are refused. */
static turbo_str authority_of(turbo_str target) {
    static const char scheme[] = "http://";
    size_t at = sizeof scheme - 1, stop = at;
    if (target.len < at || !turbo__ascii_equal(target.data, at, scheme, at))
        return (turbo_str){NULL, 0};
    while (stop < target.len && target.data[stop] != '/' && target.data[stop] != '?')
        stop++;
    return (turbo_str){target.data + at, stop - at};
}

turbo_str turbo_request_host(const turbo_request *req) {
    turbo_str host = authority_of(turbo_request_target(req));
    return host.data != NULL ? host : turbo_request_field(req, "Host");
}

int32_t turbo_request_version(const turbo_request *req) { return req->version; }

const char *turbo_request_route(const turbo_request *req) { return req->route == NULL ? "" : req->route->pattern->text; }

void *turbo_request_user(const turbo_request *req) { return req->route == NULL ? NULL : req->route->user; }

turbo_shard *turbo_request_shard(const turbo_request *req) { return req->shard; }

size_t turbo_request_param_count(const turbo_request *req) { return req->param_count; }

int turbo_request_param_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value) {
    if (index >= req->param_count)
        return TURBO_ENOENT;
    if (name != NULL)
        *name = req->route->pattern->param_names[index];
    if (value != NULL)
        *value = req->params[index];
    return 0;
}

turbo_str turbo_request_param(const turbo_request *req, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < req->param_count; i++) {
        turbo_str known = req->route->pattern->param_names[i];
        if (known.len == len && memcmp(known.data, name, len) == 0)
            return req->params[i];
    }
    return (turbo_str){NULL, 0};
}

size_t turbo_request_field_count(const turbo_request *req) { return req->field_count; }

int turbo_request_field_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value) {
    if (index >= req->field_count)
        return TURBO_ENOENT;
    if (name != NULL)
        *name = turbo__request_span(req, req->fields[index].name);
    if (value != NULL)
        *value = turbo__request_span(req, req->fields[index].value);
    return 0;
}

turbo_str turbo_request_field(const turbo_request *req, const char *name) {
    size_t i = turbo__fields_find(req->raw, req->fields, req->field_count, 0, name, strlen(name));
    return i == req->field_count ? (turbo_str){NULL, 0} : turbo__request_span(req, req->fields[i].value);
}

static turbo_str trailer_span(const turbo_request *req, turbo__span span) {
    return (turbo_str){req->trailers->raw.data + span.at, span.len};
}

size_t turbo_request_trailer_count(const turbo_request *req) {
    return req->trailers == NULL ? 0 : req->trailers->count;
}

int turbo_request_trailer_at(const turbo_request *req, size_t index, turbo_str *name, turbo_str *value) {
    if (index >= turbo_request_trailer_count(req))
        return TURBO_ENOENT;
    if (name != NULL)
        *name = trailer_span(req, req->trailers->fields[index].name);
    if (value != NULL)
        *value = trailer_span(req, req->trailers->fields[index].value);
    return 0;
}

turbo_str turbo_request_trailer(const turbo_request *req, const char *name) {
    size_t count = turbo_request_trailer_count(req);
    if (count == 0)
        return (turbo_str){NULL, 0};
    const turbo__trailers *trailers = req->trailers;
    size_t i = turbo__fields_find(trailers->raw.data, trailers->fields, count, 0, name, strlen(name));
    return i == count ? (turbo_str){NULL, 0} : trailer_span(req, trailers->fields[i].value);
}

turbo_str turbo_request_body(const turbo_request *req) { return (turbo_str){req->body, req->body_len}; }

int turbo_request_peer(const turbo_request *req, char *out, size_t size) {
    char address[INET6_ADDRSTRLEN] = "";
    int n;
    if (req->peer.family == AF_INET || req->peer.family == AF_INET6) {
        inet_ntop(req->peer.family, req->peer.address, address, sizeof address);
        n = snprintf(out, size, req->peer.family == AF_INET ? "%s:%u" : "[%s]:%u", address, (unsigned)req->peer.port);
    } else {
        n = snprintf(out, size, "%s", req->peer.family == AF_UNIX ? "unix:" : "");
    }
    return n >= 0 && (size_t)n < size ? 0 : TURBO_ETOOBIG;
}

int turbo_request_cancelled(const turbo_request *req) {
    return turbo__request_is_gone(req) || atomic_load_explicit(&req->timed_out, memory_order_relaxed) != 0;
}

int turbo_request_timed_out(const turbo_request *req) {
    return atomic_load_explicit(&req->timed_out, memory_order_relaxed) != 0;
}

int64_t turbo_request_deadline_ms(const turbo_request *req) {
    uint64_t at = atomic_load_explicit(&req->deadline_ns, memory_order_relaxed), now;
    if (at == 0)
        return -1;
    now = turbo__clock_ns();
    return at <= now ? 0 : (int64_t)((at - now + 999999) / 1000000);
}

void turbo_request_data_set(turbo_request *req, void *data) { req->data = data; }

void *turbo_request_data(const turbo_request *req) { return req->data; }

int turbo_request_on_gone(turbo_request *req, turbo_request_fn fn, void *user) {
    if (req->shard == NULL || atomic_load_explicit(&req->state, memory_order_relaxed) >= TURBO__ENDED)
        return TURBO_ESTATE;
    req->gone_fn = fn;
    req->gone_user = user;
    return 0;
}
