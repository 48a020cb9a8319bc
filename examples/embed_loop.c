/* embed_loop.c - a server inside a loop that the program has already: here poll() over standard input and a timer.
 *
 * The shard is driven: the program watches turbo_shard_fd(), obeys turbo_shard_timeout_ms(), and calls
 * turbo_shard_poll(). Handlers therefore run on the program's own thread and need no locks. With --io-threads 0
 * libturbo makes no thread for connections either: they are read and written inside turbo_shard_poll().
 *
 *     embed_loop [ADDRESS] [--io-threads 0] [setting]...        "quit" on standard input, or SIGTERM, ends it */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <turbo.h>
#include <unistd.h>

#define TICK_MS 100
#define SOURCES 3

typedef struct host {
    turbo_server *server;
    turbo_shard *shard;
    int shard_ended;
    uint64_t tick_at; /* when the program's own timer is due */
    unsigned ticks, lines, requests;
    char line[256]; /* of standard input, as far as it has come */
    size_t line_len;
} host;

static int wake_pipe[2]; /* a signal writes a byte */

/* -- the application: only ever on this thread -- */

static int on_status(turbo_request *req, void *user) {
    host *h = user;
    char body[96];
    h->requests++;
    int len = snprintf(body, sizeof body, "ticks %u, lines %u, requests %u\n", h->ticks, h->lines, h->requests);
    return turbo_request_reply(req, 200, "text/plain", body, (size_t)len);
}

/* Answers later, by the shard's timer. */
static void answer_late(turbo_shard *shard, int status, void *user) {
    turbo_request *req = user;
    (void)shard;
    if (status == 0)
        (void)turbo_request_reply(req, 200, "text/plain", "late\n", 5);
    turbo_request_release(req);
}

static int on_late(turbo_request *req, void *user) {
    host *h = user;
    int rc = turbo_shard_timer(NULL, h->shard, 20, answer_late, turbo_request_retain(req));
    if (rc < 0)
        turbo_request_release(req);
    return rc;
}

static void run_batch(void *self, turbo_shard *shard, turbo_request *const *reqs, size_t n) {
    (void)self;
    turbo_shard_run(shard, reqs, n);
}

/* -- what the program's loop watches -- */

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void take_line(host *h) {
    h->lines++;
    h->line[h->line_len] = '\0';
    h->line_len = 0;
    if (strcmp(h->line, "quit") == 0)
        (void)turbo_server_stop(h->server, NULL, NULL);
}

/* @return 0 at the end of standard input: watch it no longer. */
static int read_input(host *h) {
    char bytes[256];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    for (ssize_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            take_line(h);
        else if (h->line_len < sizeof h->line - 1)
            h->line[h->line_len++] = bytes[i];
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void run_timer(host *h) {
    if (now_ms() < h->tick_at)
        return;
    h->ticks++;
    h->tick_at += TICK_MS;
}

static int shorter(int a, int b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

static int sleep_ms(const host *h) {
    uint64_t now = now_ms();
    int own = h->tick_at > now ? (int)(h->tick_at - now) : 0;
    return shorter(own, turbo_shard_timeout_ms(h->shard));
}

/* -- the loop -- */

static void run_loop(host *h) {
    struct pollfd watched[SOURCES] = {{.fd = turbo_shard_fd(h->shard), .events = POLLIN},
                                      {.fd = STDIN_FILENO, .events = POLLIN},
                                      {.fd = wake_pipe[0], .events = POLLIN}};
    int more = 1; /* the first poll makes this thread the shard's */
    h->tick_at = now_ms() + TICK_MS;
    while (!h->shard_ended) {
        if (poll(watched, SOURCES, more ? 0 : sleep_ms(h)) < 0)
            continue; /* a signal: revents say nothing */
        run_timer(h);
        if (watched[1].revents != 0 && !read_input(h))
            watched[1].fd = -1;
        if (watched[2].revents != 0) {
            watched[2].fd = -1;
            (void)turbo_server_stop(h->server, NULL, NULL);
        }
        int rc = turbo_shard_poll(h->shard); /* cheap when there is nothing to do */
        more = rc == 1;
        h->shard_ended = rc < 0;
    }
}

static void on_signal(int number) {
    int saved = errno;
    (void)number;
    (void)!write(wake_pipe[1], "", 1);
    errno = saved;
}

/* -- set-up -- */

static int set_up(host *h, const char *address, const turbo_options *options) {
    turbo_executor_ops ops = TURBO_EXECUTOR_OPS_INIT;
    int rc = turbo_server_new(&h->server, options);
    if (rc < 0)
        return rc;
    ops.batch = run_batch;
    ops.flags = TURBO_EXECUTOR_DRIVEN;
    if ((rc = turbo_server_set_executor(h->server, &ops, h)) == 0 &&
        (rc = turbo_server_route(h->server, "GET", "/", NULL, on_status, h)) == 0 &&
        (rc = turbo_server_route(h->server, "GET", "/late", NULL, on_late, h)) == 0 &&
        (rc = turbo_server_listen(h->server, address)) == 0)
        rc = turbo_server_start(h->server);
    h->shard = turbo_server_shard(h->server, 0);
    return rc;
}

static int serve(const char *address, const turbo_options *options) {
    host h = {.server = NULL};
    int rc = set_up(&h, address, options);
    if (rc == 0) {
        printf("listening on %s\n", address);
        fflush(stdout);
        run_loop(&h);
        rc = turbo_server_wait(h.server);
    }
    if (rc < 0)
        fprintf(stderr, "embed_loop: %s: %s\n", address, turbo_strerror(rc));
    turbo_server_release(h.server);
    return rc;
}

int main(int argc, char **argv) {
    turbo_options *options;
    if (turbo_options_new(&options) < 0 || pipe(wake_pipe) < 0)
        return 1;
    if (turbo_options_load_args(options, &argc, argv) < 0 ||
        turbo_options_set(options, "shards", "1") < 0) { /* one thread drives one shard */
        fprintf(stderr, "embed_loop: %s\n", turbo_options_error(options));
        return 2;
    }
    (void)fcntl(wake_pipe[1], F_SETFL, O_NONBLOCK);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int rc = serve(argc > 1 ? argv[1] : "127.0.0.1:8000", options);
    turbo_options_free(options);
    return rc < 0;
}
