/* fuzz_conn.c - a whole connection with a scripted client, a scripted handler, and time that the script moves.
 *
 * Input: a server (1 byte: SERVERS, bit 6: a small socket buffer, bit 7: the client goes without a word), then the
 * script. Bytes below 0xf0 are what the client sends; the others are operations, some with arguments in the next bytes:
 * run_op(). One thread, one shard that does its own I/O. In the end every request has to be accounted for, and what the
 * client got has to be right: wire.h. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../support/fake_clock.h"
#include "body.h"
#include "clock.h"
#include "exchange.h"
#include "fuzz.h"
#include "server.h"
#include "turbo.h"
#include "wire.h"

#define INPUT_MAX 4096
#define MESSAGES_MAX 512
#define POLLS_MAX 2000    /* a loop that is busy for so long does not sleep any more */
#define LOOKS_MAX 100000
#define SENT_MAX 512      /* bytes that the client gathers before it sends them      */
#define RECEIVED_MAX ((size_t)4 << 20)
#define SLOTS_MS 32768    /* a round of the deadline wheel                           */

#define TIGHT                                                                                             \
    "head_max_bytes=512 fields_max=8 target_max_bytes=64 body_max_bytes=200 body_memory_max_bytes=300 "   \
    "pipeline_max=4 unsent_max_bytes=1024 queue_max=3 inflight_max=2 body_stall_timeout_ms=5000"

static const char *const settings[] = {
    TIGHT,
    "",
    "on_fin=cancel pipeline_max=2 unsent_max_bytes=2048 batch_max=2 head_timeout_ms=1000 idle_timeout_ms=500",
    "inflight_max=1 batch_max=1 pipeline_max=1 head_timeout_ms=0 body_stall_timeout_ms=0 idle_timeout_ms=0",
};
#define SERVERS (sizeof settings / sizeof settings[0])
enum { ON_FIN_CANCELS = 2 };

enum { NONE = 0, OPEN, BEGUN, ENDED };

/* A message of the connection, in the order of arrival; its number is in the answer's X-Id. */
typedef struct message {
    turbo_request *req; /* only compared while state is NONE; else a reference is held */
    int state;
    uint8_t reads_wait; /* a read of its body got TURBO_EAGAIN, and no event since     */
    uint64_t body_read; /* bytes of a streamed body                                    */
    uint8_t waits;      /* a write got TURBO_EAGAIN, and no event since                */
    uint8_t gone;
    uint8_t is_safe;    /* by its method: may be worked on together with others like it */
    uint64_t promised;  /* Content-Length of a streamed answer, or UINT64_MAX          */
} message;

static turbo_server *servers[SERVERS];
static int is_faked;

/* What runs now; zeroed for each input. */
static struct {
    turbo_server *server;
    turbo_shard *shard;
    turbo_stats before;
    int fd; /* the client's end; -1: closed */
    int far; /* the server's, until it closes it */
    int eof, reset;
    message messages[MESSAGES_MAX];
    wire_message wire[MESSAGES_MAX];
    size_t count;
    size_t cut; /* messages that ended before they were whole, with an answer that had begun: dropped */
    int answers_at_once;
    int released; /* the references that were held are given back */
    size_t lent, referred; /* bodies that were not given back yet */
    char sent[SENT_MAX];
    size_t sent_len;
    char *received;
    size_t received_len;
} now;

/* libuv takes its time from here, too: one clock for all. */
int clock_gettime(clockid_t id, struct timespec *out) {
    if (!is_faked || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE))
        return (int)syscall(SYS_clock_gettime, id, out);
    uint64_t ns = turbo__clock_ns();
    out->tv_sec = (time_t)(ns / 1000000000u);
    out->tv_nsec = (long)(ns % 1000000000u);
    return 0;
}

/* ---- the layer between connection and exchange: writes down what comes by ---- */

static void on_begin(turbo__conn *conn) {
    MUST(now.count < MESSAGES_MAX, "more messages than an input can hold");
    now.count++;
    turbo__exchange_events.begin(conn);
}

static int has_method(const turbo__h1_head *head, const char *name) {
    return head->method.len == strlen(name) && memcmp(head->raw + head->method.at, name, strlen(name)) == 0;
}

static int on_head(turbo__conn *conn, const turbo__h1_head *head) {
    wire_message *m = &now.wire[now.count - 1];
    MUST(now.count > 0 && !m->has_head, "a head without a beginning");
    m->has_head = 1;
    m->is_head = head->is_head;
    m->version = head->version;
    m->expects = head->expect_continue;
    now.messages[now.count - 1].is_safe = has_method(head, "GET") || has_method(head, "HEAD") ||
                                          has_method(head, "OPTIONS") || has_method(head, "TRACE");
    int rc = turbo__exchange_events.head(conn, head);
    if (((turbo__exchange *)conn)->current != NULL) /* else it was answered meanwhile, and is_ours */
        now.messages[now.count - 1].req = ((turbo__exchange *)conn)->current;
    return rc;
}

static void on_truncated(turbo__conn *conn) {
    const turbo_request *req = ((turbo__exchange *)conn)->current;
    now.cut += req != NULL && req->exchange != NULL && req->head_sent;
    turbo__exchange_events.truncated(conn);
}

/* ---- the executor ---- */

static message *find(const turbo_request *req) {
    for (size_t i = now.count; i > 0; i--)
        if (now.messages[i - 1].req == req)
            return &now.messages[i - 1];
    MUST(0, "a request that never came");
    return NULL;
}

static wire_message *wire_of(const message *m) { return &now.wire[m - now.messages]; }

static void answer(message *m, uint8_t how);

/* It is given to a handler: what is worked on beside it must be safe, as it must (RFC 9112 9.3.2). */
static void begin_work(message *m) {
    MUST(m->state == NONE, "the same request twice");
    for (const message *other = now.messages; other < m; other++)
        MUST((other->state != OPEN && other->state != BEGUN) || (other->is_safe && m->is_safe),
             "message %zu is worked on beside %zu", (size_t)(m - now.messages), (size_t)(other - now.messages));
    m->state = OPEN;
}

static void take_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self, (void)shard;
    for (size_t i = 0; i < n; i++) {
        message *m = find(reqs[i]);
        begin_work(m);
        m->req = turbo_request_retain(reqs[i]);
        if (now.answers_at_once)
            answer(m, 1);
    }
}

static void take_events(void *self, turbo_shard *shard, turbo_request *req, uint32_t what) {
    message *m = find(req);
    (void)self, (void)shard;
    MUST(m->state != NONE, "an event of a request that was not given");
    if (what & TURBO_EVENT_WRITABLE)
        m->waits = 0;
    if (what & TURBO_EVENT_RELEASE)
        now.lent--;
    if (what & (TURBO_EVENT_BODY | TURBO_EVENT_BODY_END)) /* the script may have read since */
        m->reads_wait = 0;
    m->gone |= (what & TURBO_EVENT_GONE) != 0;
    MUST(!m->gone || turbo_request_cancelled(req), "gone, but not cancelled");
}

/* ---- bodies ---- */

/* Take up to n parts. */
static void read_body(message *m, uint8_t n) {
    turbo_str part;
    int rc = 1;
    if (m->state == NONE)
        return;
    for (; n > 0 && (rc = turbo_request_body_read(m->req, &part)) == 1; n--) {
        MUST(part.len > 0 && part.data != NULL, "an empty part");
        m->body_read += part.len;
        MUST(m->req->route == NULL || m->body_read <= m->req->route->body_max, "more than body_max_bytes");
    }
    m->reads_wait = rc == TURBO_EAGAIN;
    if (rc == 0 && m->req->incoming != NULL)
        MUST(m->body_read == m->req->incoming->received, "%llu bytes of %llu", (unsigned long long)m->body_read,
             (unsigned long long)m->req->incoming->received);
    MUST(rc == 1 || rc == 0 || rc == TURBO_EAGAIN || rc == TURBO_ECLOSED || rc == TURBO_ETOOBIG || rc == TURBO_ENOMEM,
         "read gave %d", rc);
}

/* Of an inline one; the others have events. */
static void take_body(turbo_request *req, void *user) {
    (void)user;
    find(req)->reads_wait = 0;
}

static void take_room(turbo_request *req, void *user) {
    (void)user;
    find(req)->waits = 0;
}

static int read_inline(turbo_request *req, void *user) {
    message *m = &now.messages[now.count - 1];
    if (m->req == NULL)
        m->req = req;
    m = find(req);
    (void)user;
    begin_work(m);
    turbo_request_retain(req);
    MUST(turbo_request_on_body(req, take_body, NULL) == 0, "on_body");
    MUST(turbo_request_on_writable(req, take_room, NULL) == 0, "on_writable");
    read_body(m, 2);
    return 0;
}

/* The loop sleeps: nobody may wait for what is there. */
static void check_waiting(void) {
    for (size_t i = 0; !now.released && i < now.count; i++) {
        const message *m = &now.messages[i];
        const turbo__body *body = m->state == NONE || m->req == NULL ? NULL : m->req->incoming;
        if (body == NULL)
            continue;
        MUST(!m->reads_wait || (body->first == NULL && body->state == TURBO__BODY_COMING),
             "the reader of message %zu is not told", i);
        turbo__exchange *ex = m->req->exchange;
        MUST(ex == NULL || ex->current != m->req || ex->conn.finishing || ex->conn.full == body->full,
             "message %zu: the connection is %s", i, ex->conn.full ? "not read on" : "read on");
    }
}

/* ---- servers: made once, since inputs leave nothing behind ---- */

static int answer_inline(turbo_request *req, void *user) {
    message *m = &now.messages[now.count - 1];
    if (m->req == NULL)
        m->req = req; /* a streamed one begins while its head is told */
    m = find(req);
    (void)user;
    begin_work(m);
    turbo_request_retain(req);
    answer(m, 2);
    return 0;
}

static void add_routes(turbo_server *server) {
    turbo_route_options *on_io, *small, *up;
    MUST(turbo_route_options_new(&on_io) == 0 && turbo_route_options_new(&small) == 0 &&
             turbo_route_options_new(&up) == 0,
         "out of memory");
    MUST(turbo_route_options_set(up, "body", "streamed") == 0, "body");
    MUST(turbo_route_options_set(up, "body_window_bytes", "20") == 0, "body_window_bytes");
    MUST(turbo_route_options_set(on_io, "executor", "inline") == 0, "inline");
    MUST(turbo_route_options_set(small, "body_max_bytes", "10") == 0, "body_max_bytes");
    MUST(turbo_server_route(server, "GET", "/", NULL, NULL, NULL) == 0, "route");
    MUST(turbo_server_route(server, "POST", "/", NULL, NULL, NULL) == 0, "route");
    MUST(turbo_server_route(server, NULL, "/any/{rest...}", NULL, NULL, NULL) == 0, "route");
    MUST(turbo_server_route(server, NULL, "/small/{id}", small, NULL, NULL) == 0, "route");
    MUST(turbo_server_route(server, NULL, "/io", on_io, answer_inline, NULL) == 0, "route");
    MUST(turbo_server_route(server, NULL, "/up", up, NULL, NULL) == 0, "route");
    MUST(turbo_route_options_set(up, "executor", "inline") == 0, "inline");
    MUST(turbo_server_route(server, NULL, "/in", up, read_inline, NULL) == 0, "route");
    MUST(turbo_server_route(server, NULL, "/now", up, answer_inline, NULL) == 0, "route");
    turbo_route_options_free(on_io);
    turbo_route_options_free(small);
    turbo_route_options_free(up);
}

static void set_all(turbo_options *options, const char *text) {
    char copy[512], *save, *word;
    (void)snprintf(copy, sizeof copy, "shards=1 io_threads=0 %s", text);
    for (word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        MUST(turbo_options_set(options, word, value) == 0, "%s", turbo_options_error(options));
    }
}

static turbo_server *server_new(const char *text) {
    static turbo__conn_events between; /* all servers have the same */
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    turbo_options *options;
    turbo_server *server;
    ops.batch = take_batch;
    ops.events = take_events;
    ops.flags = TURBO_EXECUTOR_DRIVEN;
    MUST(turbo_options_new(&options) == 0, "out of memory");
    set_all(options, text);
    MUST(turbo_server_new(&server, options) == 0, "out of memory");
    turbo_options_free(options);
    MUST(turbo_server_set_executor(server, &ops, NULL) == 0, "executor");
    MUST(turbo_server_set_log(server, 0, NULL, NULL) == 0, "log");
    add_routes(server);
    MUST(turbo_server_start(server) == 0, "start");
    between = turbo__exchange_events;
    between.begin = on_begin;
    between.head = on_head;
    between.truncated = on_truncated;
    server->ios[0]->group.events = &between;
    return server;
}

static void settle(void) {
    int polls = 0, rc;
    while ((rc = turbo_shard_poll(now.shard)) == 1)
        MUST(++polls < POLLS_MAX, "the loop never sleeps");
    MUST(rc == 0, "poll gave %d", rc);
    check_waiting();
}

/* ---- the client ---- */

static void send_bytes(void) {
    if (now.fd >= 0 && now.sent_len > 0)
        (void)!send(now.fd, now.sent, now.sent_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    now.sent_len = 0;
}

static void gather_byte(uint8_t byte) {
    now.sent[now.sent_len++] = (char)byte;
    if (now.sent_len == SENT_MAX)
        send_bytes();
}

/* @return how many bytes came. */
static size_t receive(size_t most) {
    if (now.fd < 0 || now.eof || now.received_len + most > RECEIVED_MAX)
        return 0;
    ssize_t n = recv(now.fd, now.received + now.received_len, most, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return 0;
    now.eof = n <= 0;
    now.received_len += n > 0 ? (size_t)n : 0;
    return n > 0 ? (size_t)n : 0;
}

/* The server's end hears of it at once, unless somebody looks at our descriptors just now (/proc/PID/fd): then that one has the
 * socket for a moment, too. */
static void close_client(void) {
    struct pollfd far = {.fd = now.far};
    if (now.fd < 0)
        return;
    close(now.fd);
    now.fd = -1;
    for (int i = 0; i < LOOKS_MAX && poll(&far, 1, 0) == 0; i++)
        sched_yield();
}

/* ---- answers ---- */

static void given_back(void *user) {
    (void)user;
    now.referred--;
}

static turbo_response *response_to(message *m, int status) {
    char id[24];
    turbo_response *resp;
    int len = snprintf(id, sizeof id, "%zu", (size_t)(m - now.messages));
    MUST(turbo_response_new(&resp, status) == 0, "response");
    MUST(turbo_response_field_add(resp, "X-Id", 4, id, (size_t)len) == 0, "field");
    wire_of(m)->is_ours = 1;
    return resp;
}

static const size_t sizes[] = {0, 1, 10, 300, 4096, 4097, 5000, 20000};
static const int statuses[] = {200, 204, 304, 404, 500, 200, 599, 503};

static void set_body(turbo_response *resp, message *m, size_t size, uint8_t how) {
    const char *body = wire_body((size_t)(m - now.messages), 0);
    int has_shard = turbo_request_shard(m->req) != NULL;
    switch (how % 4) {
    case 0:
        MUST(turbo_response_body_copy(resp, body, size) == 0, "copy");
        break;
    case 1:
        MUST(turbo_response_body_static(resp, body, size) == 0, "static");
        break;
    case 2:
        now.referred++;
        MUST(turbo_response_body_ref(resp, body, size, given_back, NULL) == 0, "ref");
        break;
    default:
        if (has_shard) {
            now.lent++;
            MUST(turbo_response_body_lend(resp, body, size) == 0, "lend");
        } else {
            MUST(turbo_response_body_copy(resp, body, size) == 0, "copy");
        }
    }
}

/* Whole; bits of how: size (3), kind of body (2), status (3). */
static void answer(message *m, uint8_t how) {
    turbo_response *resp;
    if (m->state != OPEN)
        return;
    resp = response_to(m, statuses[how >> 5]);
    wire_of(m)->written = sizes[how & 7];
    set_body(resp, m, sizes[how & 7], how >> 3);
    wire_of(m)->is_ended = 1;
    m->state = ENDED;
    MUST(turbo_request_respond(m->req, resp) == 0, "respond");
}

/* Streamed; bits of how: size of the first part (1), of the promise (3, 0: none), close (1), status (3). */
static void begin(message *m, uint8_t how) {
    size_t first = how & 1, promised = sizes[how >> 1 & 7];
    char text[24];
    if (m->state != OPEN)
        return;
    turbo_response *resp = response_to(m, statuses[how >> 5]);
    m->promised = UINT64_MAX;
    if (promised > 0) {
        int len = snprintf(text, sizeof text, "%zu", promised);
        MUST(turbo_response_field_add(resp, "Content-Length", 14, text, (size_t)len) == 0, "length");
        m->promised = promised;
    }
    if (how & 16)
        MUST(turbo_response_field_add(resp, "Connection", 10, "close", 5) == 0, "close");
    MUST(turbo_response_body_copy(resp, wire_body((size_t)(m - now.messages), 0), first) == 0, "copy");
    wire_of(m)->written = first;
    wire_of(m)->is_streamed = 1;
    m->state = BEGUN;
    MUST(turbo_request_respond_begin(m->req, resp) == 0, "begin");
}

static void write_part(message *m, uint8_t how) {
    wire_message *w = wire_of(m);
    size_t size = sizes[how & 7];
    if (m->state != BEGUN)
        return;
    w->written += size; /* the bytes may leave during the call */
    int rc = turbo_request_respond_write(m->req, wire_body((size_t)(m - now.messages), w->written - size), size);
    if (rc == 0)
        return;
    w->written -= size;
    if (rc == TURBO_EAGAIN)
        m->waits = 1;
    else if (rc == TURBO_ETOOBIG)
        MUST(m->promised - w->written < size, "%zu bytes are too many", size);
    else
        MUST(rc == TURBO_ECLOSED && turbo_request_cancelled(m->req), "write gave %d", rc);
}

static void end_answer(message *m) {
    if (m->state != BEGUN)
        return;
    m->state = ENDED;
    wire_of(m)->is_ended = 1;
    MUST(turbo_request_respond_end(m->req) == 0, "end");
}

static void fail(message *m) {
    if (m->state != OPEN && m->state != BEGUN)
        return;
    wire_of(m)->is_failed = m->state == BEGUN;
    m->state = ENDED;
    MUST(turbo_request_fail(m->req) == 0, "fail");
}

/* The nth of the requests whose answer is not complete. */
static message *pending(uint8_t nth) {
    size_t count = 0;
    for (size_t i = 0; i < now.count; i++)
        count += now.messages[i].state == OPEN || now.messages[i].state == BEGUN;
    if (count == 0)
        return NULL;
    nth = (uint8_t)(nth % count);
    for (size_t i = 0;; i++)
        if ((now.messages[i].state == OPEN || now.messages[i].state == BEGUN) && nth-- == 0)
            return &now.messages[i];
}

/* ---- operations ---- */

static void advance(uint64_t ms) {
    fake_clock_advance_ms(ms);
    settle();
}

static void run_op(uint8_t op, input *in) {
    static const uint64_t times_ms[] = {1, 64, 500, 1000, 2000, 5000, 30000, 60000};
    message *m = NULL;
    uint8_t arg = op == 0xf1 || op == 0xf3 || op == 0xf4 || op == 0xfc || op == 0xff ? 0 : take_byte(in);
    if (op != 0xf0)
        send_bytes();
    if ((op >= 0xf6 && op <= 0xfb) && (m = pending(arg >> 4)) == NULL)
        return;
    switch (op) {
    case 0xf0: /* a byte that looks like an operation, to the server */
        gather_byte(arg);
        break;
    case 0xf1: /* let the server run until it sleeps */
        settle();
        break;
    case 0xf2: /* the client reads some */
        (void)receive((size_t)(arg + 1) * 128);
        break;
    case 0xf3: /* it ends its sending side */
        if (now.fd >= 0)
            (void)shutdown(now.fd, SHUT_WR);
        break;
    case 0xf4: /* it goes, with what it has not read */
        close_client();
        now.reset = 1;
        break;
    case 0xf5:
        advance(times_ms[arg & 7]);
        break;
    case 0xf6: /* answer the nth request (4 bits), size (3) */
        answer(m, arg & 7);
        break;
    case 0xf7: /* the same with every choice */
        answer(m, take_byte(in));
        break;
    case 0xf8:
        begin(m, take_byte(in));
        break;
    case 0xf9:
        write_part(m, arg);
        break;
    case 0xfa:
        end_answer(m);
        break;
    case 0xfb:
        fail(m);
        break;
    case 0xfc:
        turbo_shard_flush(now.shard);
        break;
    case 0xfd: /* read parts of a body, or whether later requests are answered in their batch */
        if ((arg & 2) == 0)
            now.answers_at_once = arg & 1;
        else if ((m = pending(arg >> 4)) != NULL)
            read_body(m, (uint8_t)(1 + (arg >> 2 & 3)));
        break;
    case 0xfe: /* single turns */
        for (int i = 0; i <= (arg & 3); i++)
            MUST(turbo_shard_poll(now.shard) >= 0, "poll");
        break;
    default: /* the end of a packet */
        break;
    }
}

/* ---- one input ---- */

static turbo_stats stats(void) {
    turbo_stats s = TURBO_STATS_INIT;
    MUST(turbo_server_stats(now.server, &s) == 0, "stats");
    return s;
}

static void start(uint8_t which) {
    turbo__peer peer = {0};
    int fds[2], small = 4096;
    if (!is_faked) {
        fake_clock_set((uint64_t)1000 * 1000000000u, 1700000000);
        is_faked = 1;
    }
    if (servers[which % SERVERS] == NULL)
        servers[which % SERVERS] = server_new(settings[which % SERVERS]);
    char *received = now.received;
    memset(&now, 0, sizeof now);
    now.received = received != NULL ? received : malloc(RECEIVED_MAX);
    MUST(now.received != NULL, "out of memory");
    now.server = servers[which % SERVERS];
    now.shard = turbo_server_shard(now.server, 0);
    /* The same place on the wheel for every input, so that one alone does what it did behind others. */
    advance(SLOTS_MS - turbo__clock_ns() / 1000000 % SLOTS_MS);
    now.before = stats();
    int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
    MUST(rc == 0, "socketpair: %s", strerror(errno));
    if (which & 64)
        (void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    now.fd = fds[0];
    now.far = fds[1];
    MUST(turbo__exchange_open(now.server->ios[0], fds[1], &peer) == 0, "open");
}

static uint64_t open_connections(void) { return stats().connections; }

/* The client stays and reads. A first answer that waited for room must hear of it once all was read. */
static void read_all(void) {
    do {
        settle();
    } while (receive(65536) > 0);
}

static void end_politely(void) {
    message *m;
    send_bytes();
    settle();
    if (now.fd >= 0)
        (void)shutdown(now.fd, SHUT_WR);
    read_all();
    while ((m = pending(0)) != NULL) {
        MUST(now.received_len + 65536 > RECEIVED_MAX || !m->waits || m->gone || turbo_request_cancelled(m->req),
             "message %zu is never told that there is room", (size_t)(m - now.messages));
        if (m->state == OPEN)
            answer(m, 2);
        else
            end_answer(m);
        read_all();
    }
    if (now.received_len + 65536 <= RECEIVED_MAX)
        MUST(open_connections() == 0, "the connection stays open");
}

static void end_rudely(void) {
    message *m;
    send_bytes();
    close_client();
    settle();
    while ((m = pending(0)) != NULL)
        fail(m);
    settle();
}

static void check_accounts(int polite) {
    turbo_stats s = stats();
    const turbo_stats *b = &now.before;
    uint64_t taken = s.taken - b->taken, answered = s.answered - b->answered, shed = s.shed - b->shed;
    uint64_t dropped = s.dropped - b->dropped, abandoned = s.abandoned - b->abandoned;
    MUST(taken == now.count, "%llu taken, but %zu came", (unsigned long long)taken, now.count);
    MUST(taken == answered + shed + dropped + abandoned, "taken %llu, answered %llu, shed %llu, dropped %llu",
         (unsigned long long)taken, (unsigned long long)answered, (unsigned long long)shed,
         (unsigned long long)dropped);
    MUST(abandoned == 0, "abandoned without a stop");
    MUST(s.connections == 0, "%llu connections are left", (unsigned long long)s.connections);
    MUST(s.body_memory == 0, "%llu bytes of bodies are left", (unsigned long long)s.body_memory);
    MUST(turbo_shard_queued(now.shard) == 0 && turbo_shard_inflight(now.shard) == 0, "requests are left");
    MUST(now.lent == 0 && now.referred == 0, "%zu and %zu bodies were not given back", now.lent, now.referred);
    wire_result seen = wire_check(now.received, now.received_len, now.wire, now.count);
    MUST(seen.whole <= answered + shed, "%zu answers arrived, of %llu", seen.whole,
         (unsigned long long)(answered + shed));
    if (polite && now.eof && !now.reset && s.timeouts_body == b->timeouts_body)
        MUST(seen.begun == answered + shed + now.cut, "%zu answers arrived, of %llu", seen.begun,
             (unsigned long long)(answered + shed + now.cut));
}

static void finish(uint8_t which) {
    int polite = (which & 128) == 0 && which % SERVERS != ON_FIN_CANCELS;
    if (polite)
        end_politely();
    end_rudely();
    for (size_t i = 0; i < now.count; i++)
        if (now.messages[i].state != NONE)
            turbo_request_release(now.messages[i].req);
    now.released = 1;
    settle();
    check_accounts(polite);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    if (size > INPUT_MAX)
        return 0;
    uint8_t which = take_byte(&in);
    start(which);
    while (in.left > 0) {
        uint8_t byte = take_byte(&in);
        if (byte >= 0xf0)
            run_op(byte, &in);
        else
            gather_byte(byte);
    }
    finish(which);
    return 0;
}
