/* server.c - the public object: start, drain, stop. */
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "os/os.h"
#include "static_files.h"
#include "turbo/error.h"
#include "turbo/log.h"

#define DETACHED_POLL_MS 5 /* how often a drain looks for the end of requests without a connection */

/* -- references -- */

turbo_server *turbo__server_ref(turbo_server *server) {
    atomic_fetch_add_explicit(&server->refs, 1, memory_order_relaxed);
    return server;
}

static void free_loops(turbo_server *server) {
    for (size_t i = 0; i < server->io_count; i++)
        turbo__io_close_unused(server->ios[i]);
    for (size_t i = 0; i < server->shard_count; i++)
        turbo__shard_close_unused(server->shards[i]);
    for (size_t i = 0; i < server->io_count; i++)
        turbo__loop_free(&server->ios[i]->own_loop);
    for (size_t i = 0; i < server->shard_count; i++)
        turbo__loop_free(&server->shards[i]->own_loop);
}

/* Both arrays are whole. */
static void free_members(turbo_server *server) {
    free_loops(server);
    for (size_t i = 0; i < server->io_count; i++)
        turbo__io_free(server->ios[i]);
    for (size_t i = 0; i < server->shard_count; i++)
        turbo__shard_free(server->shards[i]);
}

static void free_routes(turbo_server *server) {
    while (server->routes != NULL) {
        turbo__route *route = server->routes;
        server->routes = route->next;
        turbo__route_free(route);
    }
    turbo__router_free(server->router);
    turbo__static_free_all(server->statics);
}

static void server_free(turbo_server *server) {
    if (server->members_made)
        free_members(server);
    for (size_t i = 0; server->ios != NULL && i < server->io_count; i++)
        turbo__free(server->ios[i]);
    for (size_t i = 0; server->shards != NULL && i < server->shard_count; i++)
        turbo__free(server->shards[i]);
    turbo__free(server->ios);
    turbo__free(server->shards);
    free_routes(server);
    turbo__listener_free(server->listeners);
    turbo__admission_free(&server->admission);
    pthread_mutex_destroy(&server->lock);
    pthread_cond_destroy(&server->changed);
    turbo__free(server);
}

void turbo__server_unref(turbo_server *server) {
    if (atomic_fetch_sub_explicit(&server->refs, 1, memory_order_acq_rel) == 1)
        server_free(server);
}

void turbo_server_release(turbo_server *server) {
    if (server == NULL)
        return;
    (void)turbo_server_stop(server, NULL, NULL); /* TURBO_ESTATE when there is nothing to stop */
    turbo__server_unref(server);
}

/* -- reports of loops and shards -- */

static void report(turbo_server *server, uint32_t *counter) {
    pthread_mutex_lock(&server->lock);
    (*counter)++;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

void turbo__server_io_drained(turbo_server *server) { report(server, &server->drained); }

void turbo__server_shard_ended(turbo_server *server) { report(server, &server->shards_ended); }

void turbo__server_loop_ended(turbo_server *server, turbo_shard *shard) {
    if (shard->loop_reported)
        return;
    shard->loop_reported = 1;
    report(server, &server->loops_ended);
}

void turbo__server_accept_closed(turbo_server *server) {
    pthread_mutex_lock(&server->lock);
    int last = ++server->accept_closed == server->io_count;
    turbo__listener *list = last ? server->listeners : NULL;
    if (last)
        server->listeners = NULL;
    pthread_mutex_unlock(&server->lock);
    turbo__listener_free(list);
    if (!last)
        return;
    atomic_store(&server->all_closed, 1);
    for (size_t i = 0; i < server->io_count; i++)
        turbo__mailbox_poke(&server->ios[i]->box); /* those without connections have waited for this */
}

int turbo__server_accepts(turbo_server *server) {
    unsigned state = atomic_load(&server->state);
    if (state == TURBO__SERVER_RUNNING)
        return 0;
    return state < TURBO__SERVER_RUNNING ? TURBO_ESTATE : TURBO_ECLOSED;
}

void turbo__server_warn(turbo_server *server, unsigned what, const char *format, ...) {
    char text[256];
    uint64_t now = turbo__clock_ns(), last = atomic_load(&server->warned_ns[what]);
    va_list args;
    if (last != 0 && now < last + 1000000000) /* another thread's last may be behind our now */
        return;
    if (!atomic_compare_exchange_strong(&server->warned_ns[what], &last, now))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    turbo__log_write(&server->log, TURBO_LOG_WARN, "%s", text);
}

/* -- threads -- */

/* @return 0 when the start has failed and the thread is to end. */
static int wait_for_go(turbo_server *server) {
    pthread_mutex_lock(&server->lock);
    while (!server->go)
        pthread_cond_wait(&server->changed, &server->lock);
    int failed = server->failed;
    pthread_mutex_unlock(&server->lock);
    return !failed;
}

/* A shard's thread: begin, wait until every shard has begun, run. */
static void *shard_main(void *arg) {
    turbo_shard *shard = arg;
    turbo_server *server = shard->server;
    char name[16];
    snprintf(name, sizeof name, "turbo-shard-%u", (unsigned)shard->index % 1000);
    turbo__os_thread_name(name);
    int rc = turbo__shard_begin(shard);
    pthread_mutex_lock(&server->lock);
    server->begun++;
    if (rc < 0 && server->begin_rc == 0)
        server->begin_rc = rc;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (wait_for_go(server)) {
        if (server->settings.io_threads == 0)
            turbo__io_adopt_thread(server->ios[shard->index]);
        turbo__loop_run(shard->loop);
    } else {
        turbo__shard_give_up(shard);
        if (rc >= 0 && shard->ops.stop_shard != NULL)
            shard->ops.stop_shard(shard->self, shard);
    }
    return NULL;
}

static void *io_main(void *arg) {
    turbo__io *io = arg;
    char name[16];
    snprintf(name, sizeof name, "turbo-io-%u", (unsigned)io->index % 1000);
    turbo__os_thread_name(name);
    if (wait_for_go(io->server)) {
        turbo__io_adopt_thread(io);
        turbo__loop_run(io->loop);
    }
    return NULL;
}

/* Signals are the host's matter: our threads take none, but those that the kernel sends for faults. */
static int thread_new(pthread_t *out, void *(*fn)(void *), void *arg) {
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(out, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : TURBO_ENOMEM;
}

static int loop_thread(turbo__loop *loop, void *(*fn)(void *), void *arg) {
    int rc = thread_new(&loop->thread, fn, arg);
    loop->running = rc == 0;
    return rc;
}

static void join_all(turbo_server *server) {
    for (size_t i = 0; i < server->io_count; i++) {
        turbo__loop *loop = &server->ios[i]->own_loop;
        if (loop->running)
            pthread_join(loop->thread, NULL);
        loop->running = 0;
    }
    for (size_t i = 0; i < server->shard_count; i++) {
        turbo__loop *loop = &server->shards[i]->own_loop;
        if (loop->running)
            pthread_join(loop->thread, NULL);
        loop->running = 0;
        turbo__shard_join_pool(server->shards[i]);
    }
}

/* -- stop: what the control thread leads -- */

static uint64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Wait for a change, until at_ms. */
static void wait_until(turbo_server *server, uint64_t at_ms) {
    struct timespec at = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    pthread_cond_timedwait(&server->changed, &server->lock, &at);
}

static void wait_for(turbo_server *server, const uint32_t *counter, size_t count) {
    while (*counter < count)
        pthread_cond_wait(&server->changed, &server->lock);
}

static int shards_idle(turbo_server *server) {
    for (size_t i = 0; i < server->shard_count; i++)
        if (turbo__shard_load(server->shards[i]) > 0)
            return 0;
    return 1;
}

static void tell_all(turbo_server *server, unsigned what) {
    for (size_t i = 0; i < server->io_count; i++)
        turbo__io_tell(server->ios[i], what);
}

/* Wait until everything taken is answered, the time is over, or somebody loses patience. Lock held. */
static void drain(turbo_server *server) {
    uint64_t limit = wall_ms() + server->settings.drain_timeout_ms;
    tell_all(server, TURBO__IO_DRAIN);
    for (size_t i = 0; i < server->shard_count; i++)
        turbo__mailbox_poke(&server->shards[i]->box); /* a batch that waits for more waits no longer */
    while (!server->abort_wanted) {
        uint64_t now = wall_ms();
        int connected = server->drained < server->io_count;
        if (now >= limit || (!connected && shards_idle(server)))
            break;
        wait_until(server, connected || limit - now < DETACHED_POLL_MS ? limit : now + DETACHED_POLL_MS);
    }
    if (server->drained < server->io_count)
        tell_all(server, TURBO__IO_ABORT);
    wait_for(server, &server->drained, server->io_count);
}

static void end_shards(turbo_server *server) {
    for (size_t i = 0; i < server->shard_count; i++)
        turbo__shard_stop(server->shards[i]);
    wait_for(server, &server->shards_ended, server->shard_count);
}

static void end_io(turbo_server *server) {
    int driven = (server->executor.flags & TURBO_EXECUTOR_DRIVEN) != 0;
    tell_all(server, TURBO__IO_CLOSE);
    if (driven) /* their threads are the host's, and cannot be joined: each is done with its shard when it reports this */
        wait_for(server, &server->loops_ended, server->shard_count);
}

static void log_end(turbo_server *server) {
    turbo_stats s = TURBO_STATS_INIT;
    turbo_server_stats(server, &s);
    turbo__log_write(&server->log, s.abandoned > 0 ? TURBO_LOG_WARN : TURBO_LOG_INFO,
                     "stopped: %llu requests taken, %llu answered, %llu shed, %llu dropped by clients, %llu abandoned",
                     (unsigned long long)s.taken, (unsigned long long)s.answered, (unsigned long long)s.shed,
                     (unsigned long long)s.dropped, (unsigned long long)s.abandoned);
}

static void *control_main(void *arg) {
    turbo_server *server = arg;
    turbo__os_thread_name("turbo-control");
    pthread_mutex_lock(&server->lock);
    while (!server->stop_wanted)
        pthread_cond_wait(&server->changed, &server->lock);
    drain(server);
    end_shards(server);
    end_io(server);
    pthread_mutex_unlock(&server->lock);
    join_all(server);
    log_end(server);
    pthread_mutex_lock(&server->lock);
    atomic_store(&server->state, TURBO__SERVER_STOPPED);
    turbo_stopped_fn fn = server->stopped_fn;
    void *user = server->stopped_user;
    server->stopped_fn = NULL;
    if (server->run_fd >= 0)
        turbo__os_event_signal(server->run_fd);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (fn != NULL)
        fn(server, user);
    turbo__server_unref(server);
    return NULL;
}

/* Lock held. */
static void want_stop(turbo_server *server) {
    unsigned running = TURBO__SERVER_RUNNING;
    atomic_compare_exchange_strong(&server->state, &running, TURBO__SERVER_DRAINING);
    server->stop_wanted = 1;
    pthread_cond_broadcast(&server->changed);
}

int turbo_server_stop(turbo_server *server, turbo_stopped_fn fn, void *user) {
    int rc = 0, call_now = 0;
    pthread_mutex_lock(&server->lock);
    unsigned state = atomic_load(&server->state);
    if (state < TURBO__SERVER_RUNNING || state == TURBO__SERVER_FAILED || (fn != NULL && server->stopped_given)) {
        rc = TURBO_ESTATE;
    } else {
        server->stopped_given |= fn != NULL;
        if (state == TURBO__SERVER_STOPPED) {
            call_now = fn != NULL;
        } else {
            if (fn != NULL) {
                server->stopped_fn = fn;
                server->stopped_user = user;
            }
            want_stop(server);
        }
    }
    pthread_mutex_unlock(&server->lock);
    if (call_now)
        fn(server, user);
    return rc;
}

int turbo_server_abort(turbo_server *server) {
    pthread_mutex_lock(&server->lock);
    server->abort_wanted = 1;
    pthread_mutex_unlock(&server->lock);
    return turbo_server_stop(server, NULL, NULL);
}

static int is_own_thread(turbo_server *server) {
    for (size_t i = 0; i < server->io_count; i++)
        if (turbo__io_is_here(server->ios[i]))
            return 1;
    for (size_t i = 0; i < server->shard_count; i++)
        if (turbo__shard_is_here(server->shards[i]))
            return 1;
    return server->has_control && pthread_equal(server->control, pthread_self());
}

int turbo_server_wait(turbo_server *server) {
    unsigned state = atomic_load(&server->state);
    if (state < TURBO__SERVER_RUNNING || state == TURBO__SERVER_FAILED)
        return TURBO_ESTATE;
    if (state != TURBO__SERVER_STOPPED && is_own_thread(server))
        return TURBO_ESTATE;
    pthread_mutex_lock(&server->lock);
    while (atomic_load(&server->state) != TURBO__SERVER_STOPPED)
        pthread_cond_wait(&server->changed, &server->lock);
    pthread_mutex_unlock(&server->lock);
    return 0;
}

/* -- start -- */

static int open_all(turbo_server *server) {
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < server->shard_count; i++)
        rc = turbo__shard_open(server->shards[i], server);
    for (uint32_t i = 0; rc == 0 && i < server->io_count; i++)
        rc = turbo__io_open(server->ios[i], server, i, server->settings.io_threads == 0 ? server->shards[i] : NULL);
    for (size_t i = 0; rc == 0 && i < server->io_count; i++)
        rc = turbo__io_listen(server->ios[i]);
    return rc;
}

/* Run start_shard of every shard, each on its thread. @return the first error. */
static int begin_shards(turbo_server *server) {
    int rc = 0;
    uint32_t started = 0;
    for (size_t i = 0; rc == 0 && i < server->shard_count; i++) {
        turbo_shard *shard = server->shards[i];
        if (shard->driven) {
            if ((rc = turbo__shard_begin(shard)) == 0)
                shard->begun = 1;
        } else if ((rc = loop_thread(&shard->own_loop, shard_main, shard)) == 0) {
            started++;
        }
    }
    pthread_mutex_lock(&server->lock);
    wait_for(server, &server->begun, started);
    if (rc == 0)
        rc = server->begin_rc;
    pthread_mutex_unlock(&server->lock);
    return rc;
}

static void let_go(turbo_server *server, int failed) {
    pthread_mutex_lock(&server->lock);
    server->failed = failed != 0;
    server->go = 1;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void undo_begin(turbo_server *server) {
    let_go(server, 1);
    for (size_t i = 0; i < server->shard_count; i++) {
        turbo_shard *shard = server->shards[i];
        if (!shard->driven)
            continue; /* its thread does that */
        turbo__shard_give_up(shard);
        if (shard->begun && shard->ops.stop_shard != NULL)
            shard->ops.stop_shard(shard->self, shard);
    }
    join_all(server);
}

/* Every thread waits until all exist, so that a start that fails has served nobody. */
static int start_threads(turbo_server *server) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < server->io_count; i++)
        if (server->settings.io_threads > 0)
            rc = loop_thread(&server->ios[i]->own_loop, io_main, server->ios[i]);
    for (size_t i = 0; rc == 0 && i < server->shard_count; i++)
        rc = turbo__shard_start_pool(server->shards[i], thread_new);
    if (rc < 0)
        return rc;
    unsigned more = 1 + (unsigned)server->io_count; /* the control thread and each I/O loop hold a reference */
    atomic_fetch_add(&server->refs, more);
    if ((rc = thread_new(&server->control, control_main, server)) < 0) {
        atomic_fetch_sub(&server->refs, more);
        return rc;
    }
    server->has_control = 1;
    pthread_detach(server->control);
    atomic_store(&server->state, TURBO__SERVER_RUNNING);
    let_go(server, 0);
    return 0;
}

int turbo_server_start(turbo_server *server) {
    unsigned setup = TURBO__SERVER_SETUP;
    int rc;
    if (!atomic_compare_exchange_strong(&server->state, &setup, TURBO__SERVER_STARTING))
        return TURBO_ESTATE;
    if ((rc = open_all(server)) == 0 &&
        ((rc = begin_shards(server)) < 0 || (rc = start_threads(server)) < 0))
        undo_begin(server);
    if (rc < 0)
        atomic_store(&server->state, TURBO__SERVER_FAILED);
    return rc;
}

/* -- run -- */

static int signal_fd = -1;

static void on_signal(int number) {
    int saved = errno;
    (void)number;
    turbo__os_event_signal(signal_fd);
    errno = saved;
}

static void wait_for_signal(int fd) {
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    while (!turbo__os_event_clear(fd))
        (void)poll(&watch, 1, -1);
}

static void set_run_fd(turbo_server *server, int fd) {
    pthread_mutex_lock(&server->lock);
    server->run_fd = fd;
    pthread_mutex_unlock(&server->lock);
}

/* Wait for the first signal or a stop by somebody else; then for the end or a second signal. */
static void run_until_stopped(turbo_server *server, int fd) {
    if (atomic_load(&server->state) != TURBO__SERVER_STOPPED)
        wait_for_signal(fd);
    (void)turbo_server_stop(server, NULL, NULL);
    while (atomic_load(&server->state) != TURBO__SERVER_STOPPED) {
        wait_for_signal(fd);
        if (atomic_load(&server->state) != TURBO__SERVER_STOPPED)
            (void)turbo_server_abort(server);
    }
}

int turbo_server_run(turbo_server *server) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old_int, old_term;
    int fd, rc;
    if (server->executor.flags & TURBO_EXECUTOR_DRIVEN)
        return TURBO_ENOTSUP;
    if (atomic_load(&server->state) == TURBO__SERVER_FAILED)
        return TURBO_ESTATE;
    if ((rc = turbo__os_event_open(&fd)) < 0)
        return rc;
    sigset_t both, old_mask;
    signal_fd = fd;
    set_run_fd(server, fd);
    sigemptyset(&action.sa_mask);
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigaction(SIGINT, &action, &old_int);
    sigaction(SIGTERM, &action, &old_term);
    pthread_sigmask(SIG_UNBLOCK, &both, &old_mask); /* a caller that started by itself may have held them back */
    if (atomic_load(&server->state) < TURBO__SERVER_RUNNING)
        rc = turbo_server_start(server);
    if (rc == 0) {
        run_until_stopped(server, fd);
        (void)turbo_server_wait(server); /* until the control thread has let go of fd */
    }
    pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    set_run_fd(server, -1);
    signal_fd = -1;
    turbo__os_event_close(fd);
    return rc;
}
