/* offer.c - an open-loop load: requests are due at a fixed rate, whatever becomes of those before them.
 *
 * A request that finds no connection free gets a new one, up to a maximum; then it waits. Each is given up `timeout`
 * after it was due, as a client with patience does: its connection is closed, whatever the server does with the request.
 * An answer is good when it has status 200 and comes within that time; its latency runs from when the request was due.
 *
 * usage: offer PORT PATH TIMEOUT_MS CONNECTIONS RATE:MILLISECONDS...
 * Prints JSON: for each 100 ms, by when requests were due: `due`, `good` (of those), and how the others ended; `done`:
 * good answers by when they came; for each phase its percentiles of latency.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX 16000
#define PHASES_MAX 32
#define BINS_MAX 6000
#define BIN_NS 100000000ull
#define SOURCES 16 /* addresses to connect from: each has about 28,000 ports, and one that was closed rests a minute */
#define ANSWER_MAX 2048
#define NOBODY UINT32_MAX

enum { DUE = 0, GOOD, SHED, OTHER_STATUS, LATE, UNSENT, BROKEN, DONE, COUNTS };
static const char *const names[COUNTS] = {"due", "good", "shed", "other", "late", "unsent", "broken", "done"};

enum { CLOSED = 0, CONNECTING, FREE, BUSY };

typedef struct conn {
    int fd;
    uint8_t state;
    uint32_t next;  /* free ones, closed ones                */
    uint64_t job;   /* BUSY, CONNECTING: the request's number */
    size_t len;
    char data[ANSWER_MAX];
} conn;

typedef struct job {
    uint64_t due_ns;
    uint32_t conn;   /* that it is on, or NOBODY */
    uint8_t ended;
} job;

typedef struct phase {
    double rate;
    uint64_t from_ns, ns;
    size_t first, count; /* its jobs */
} phase;

static conn conns[CONNS_MAX];
static phase phases[PHASES_MAX];
static uint32_t counts[BINS_MAX][COUNTS];
static job *jobs;
static uint32_t *latency_us; /* of good jobs; 0: not good */
static size_t jobs_count, next_due, next_sent, next_late, phase_count, conns_max;
static uint32_t free_conns = NOBODY, closed_conns = NOBODY;
static uint64_t timeout_ns, begun_ns;
static unsigned source;
static int poll_fd;
static struct sockaddr_in server;
static char request[512];
static size_t request_len;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "offer: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - begun_ns;
}

static void count(uint64_t at_ns, int what) {
    size_t bin = (size_t)(at_ns / BIN_NS);
    counts[bin < BINS_MAX ? bin : BINS_MAX - 1][what]++;
}

/* -- the schedule -- */

static void add_phase(const char *text) {
    phase *p = &phases[phase_count];
    char *end;
    p->rate = strtod(text, &end);
    if (*end != ':' || p->rate <= 0 || phase_count == PHASES_MAX) {
        fprintf(stderr, "offer: \"%s\" is no RATE:MILLISECONDS\n", text);
        exit(2);
    }
    p->ns = strtoull(end + 1, NULL, 10) * 1000000u;
    p->count = (size_t)(p->rate * (double)p->ns / 1e9);
    if (phase_count > 0) {
        const phase *before = p - 1;
        p->from_ns = before->from_ns + before->ns;
        p->first = before->first + before->count;
    }
    jobs_count += p->count;
    phase_count++;
}

static void make_jobs(void) {
    jobs = calloc(jobs_count + 1, sizeof *jobs);
    latency_us = calloc(jobs_count + 1, sizeof *latency_us);
    if (jobs == NULL || latency_us == NULL)
        die("memory");
    for (size_t i = 0; i < phase_count; i++)
        for (size_t k = 0; k < phases[i].count; k++)
            jobs[phases[i].first + k] =
                (job){.due_ns = phases[i].from_ns + (uint64_t)((double)k * 1e9 / phases[i].rate), .conn = NOBODY};
}

/* -- connections -- */

static void push(uint32_t *list, conn *c, uint8_t state) {
    c->state = state;
    c->next = *list;
    *list = (uint32_t)(c - conns);
}

static conn *pop(uint32_t *list) {
    if (*list == NOBODY)
        return NULL;
    conn *c = &conns[*list];
    *list = c->next;
    return c;
}

static void end_job(conn *c, int how) {
    job *j = &jobs[c->job];
    count(j->due_ns, how);
    j->ended = 1;
    j->conn = NOBODY;
}

static void close_conn(conn *c) {
    close(c->fd);
    push(&closed_conns, c, CLOSED);
}

/* A free one that the server has closed is taken from the middle of the list. */
static void forget_free(conn *c) {
    uint32_t *link = &free_conns;
    while (*link != (uint32_t)(c - conns))
        link = &conns[*link].next;
    *link = c->next;
    close_conn(c);
}

static void send_request(conn *c) {
    c->state = BUSY;
    c->len = 0;
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        end_job(c, BROKEN);
        close_conn(c);
    }
}

static void assign(conn *c, size_t number) {
    c->job = number;
    jobs[number].conn = (uint32_t)(c - conns);
}

static void begin_conn(conn *c, size_t number) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + source++ % SOURCES)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    c->state = CONNECTING;
    assign(c, number);
    /* The port is chosen when the other end is known, so the same one serves many servers. */
    (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) {
        end_job(c, BROKEN);
        close_conn(c);
        return;
    }
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl");
}

/* -- answers -- */

/* @return 0: not whole yet; else its status; -1: not HTTP. */
static int whole_answer(conn *c) {
    c->data[c->len] = '\0';
    char *end = strstr(c->data, "\r\n\r\n");
    if (end == NULL)
        return c->len == ANSWER_MAX - 1 ? -1 : 0;
    const char *length = strstr(c->data, "\r\nContent-Length: ");
    if (length == NULL || length > end || strncmp(c->data, "HTTP/1.1 ", 9) != 0)
        return -1;
    size_t size = (size_t)(end + 4 - c->data) + strtoul(length + 18, NULL, 10);
    if (size > ANSWER_MAX - 1 || c->len > size)
        return -1;
    return c->len == size ? atoi(c->data + 9) : 0;
}

static void take_answer(conn *c, int status) {
    uint64_t now = now_ns(), due = jobs[c->job].due_ns;
    if (status == 200) {
        latency_us[c->job] = (uint32_t)((now - due) / 1000) + 1;
        count(now, DONE);
    }
    end_job(c, status == 200 ? GOOD : status == 503 || status == 429 ? SHED : OTHER_STATUS);
    if (strstr(c->data, "\r\nConnection: close\r\n") != NULL)
        close_conn(c);
    else
        push(&free_conns, c, FREE);
}

static void read_conn(conn *c) {
    for (;;) {
        ssize_t n = recv(c->fd, c->data + c->len, ANSWER_MAX - 1 - c->len, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 && c->state == FREE) {
            forget_free(c);
            return;
        }
        if (n > 0 && c->state == BUSY) {
            c->len += (size_t)n;
            int status = whole_answer(c);
            if (status > 0)
                take_answer(c, status);
            if (status == 0)
                continue;
            if (status > 0)
                return;
        }
        if (c->state == FREE)
            die("an answer that nobody asked for");
        end_job(c, BROKEN);
        close_conn(c);
        return;
    }
}

static void on_event(conn *c, uint32_t events) {
    if (c->state == CLOSED)
        return; /* an event of a socket that was closed in the same round */
    if (c->state == CONNECTING && (events & EPOLLERR)) {
        end_job(c, BROKEN);
        close_conn(c);
        return;
    }
    if (c->state == CONNECTING && (events & EPOLLOUT))
        send_request(c);
    if (c->state == BUSY || c->state == FREE)
        read_conn(c);
}

/* -- time -- */

static void send_due(uint64_t now) {
    while (next_due < jobs_count && jobs[next_due].due_ns <= now)
        count(jobs[next_due++].due_ns, DUE);
    for (; next_sent < next_due; next_sent++) {
        conn *c;
        if (jobs[next_sent].ended)
            continue;
        if ((c = pop(&free_conns)) != NULL) {
            assign(c, next_sent);
            send_request(c);
        } else if ((c = pop(&closed_conns)) != NULL) {
            begin_conn(c, next_sent);
        } else {
            return;
        }
    }
}

static void give_up(uint64_t now) {
    for (; next_late < next_due && jobs[next_late].due_ns + timeout_ns <= now; next_late++) {
        job *j = &jobs[next_late];
        if (j->ended)
            continue;
        if (j->conn == NOBODY) {
            count(j->due_ns, UNSENT);
            j->ended = 1;
            continue;
        }
        conn *c = &conns[j->conn];
        end_job(c, LATE);
        close_conn(c);
    }
}

static void run(void) {
    struct epoll_event events[256];
    while (next_late < jobs_count) {
        int n = epoll_wait(poll_fd, events, 256, 1);
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
        uint64_t now = now_ns();
        give_up(now);
        send_due(now);
    }
}

/* -- the result -- */

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_phase(const phase *p) {
    size_t good = 0;
    for (size_t i = 0; i < p->count; i++)
        if (latency_us[p->first + i] != 0)
            latency_us[p->first + good++] = latency_us[p->first + i];
    uint32_t *sorted = latency_us + p->first;
    qsort(sorted, good, sizeof *sorted, by_value);
    printf("{\"rate\": %.1f, \"from_s\": %.3f, \"seconds\": %.3f, \"due\": %zu, \"good\": %zu", p->rate,
           (double)p->from_ns / 1e9, (double)p->ns / 1e9, p->count, good);
    for (int percent = 50; percent <= 99; percent += 49)
        printf(", \"p%d_ms\": %.2f", percent, good > 0 ? sorted[(good - 1) * (size_t)percent / 100] / 1000.0 : 0.0);
    printf("}");
}

static void print_result(void) {
    const phase *last = &phases[phase_count - 1];
    size_t bins = (size_t)((last->from_ns + last->ns + timeout_ns) / BIN_NS) + 1;
    printf("{\"phases\": [");
    for (size_t i = 0; i < phase_count; i++) {
        printf("%s", i > 0 ? ", " : "");
        print_phase(&phases[i]);
    }
    printf("]");
    for (int what = 0; what < COUNTS; what++) {
        printf(", \"%s\": [", names[what]);
        for (size_t i = 0; i < bins && i < BINS_MAX; i++)
            printf("%s%u", i > 0 ? ", " : "", counts[i][what]);
        printf("]");
    }
    printf("}\n");
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: offer PORT PATH TIMEOUT_MS CONNECTIONS RATE:MILLISECONDS...\n");
        return 2;
    }
    timeout_ns = strtoull(argv[3], NULL, 10) * 1000000u;
    conns_max = strtoul(argv[4], NULL, 10);
    if (conns_max == 0 || conns_max > CONNS_MAX)
        die("CONNECTIONS");
    for (int i = 5; i < argc; i++)
        add_phase(argv[i]);
    make_jobs();
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(argv[1]))};
    request_len = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argv[2]);
    for (size_t i = conns_max; i > 0; i--)
        push(&closed_conns, &conns[i - 1], CLOSED);
    if ((poll_fd = epoll_create1(0)) < 0)
        die("epoll_create1");
    begun_ns = now_ns();
    run();
    print_result();
    return 0;
}
