/* io.c - an I/O loop: its listeners, connections, and the mailbox that answers come home to. */
#include "io.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "answer.h"
#include "body.h"
#include "mem.h"
#include "os/os.h"
#include "placement.h"
#include "queue.h"
#include "server.h"
#include "shard.h"
#include "turbo/error.h"

#define ACCEPTS_A_TURN 64
#define ACCEPT_PAUSE_MS 100 /* when the system has no descriptors or memory */
#define PUBLISH_AT 128      /* requests; else at the end of the turn       */

/* A connection that another loop accepted for us. */
typedef struct passed_socket {
    turbo__mail mail;
    int fd;
    turbo__peer peer;
} passed_socket;

/* -- accepting -- */

static turbo__peer peer_of(const struct sockaddr_storage *from) {
    turbo__peer peer = {.family = from->ss_family};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        peer.port = ntohs(in->sin_port);
        memcpy(peer.address, &in->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        peer.port = ntohs(in->sin6_port);
        memcpy(peer.address, &in->sin6_addr, 16);
    }
    return peer;
}

static void resume_accept(turbo__io *io);

static void on_accept_timer(uv_timer_t *timer) { resume_accept(timer->data); }

static void pause_accept(turbo__io *io, int full) {
    if (io->accept_paused || io->accept_closed)
        return;
    io->accept_paused = 1;
    io->full = full != 0;
    for (size_t i = 0; i < io->acceptor_count; i++)
        uv_poll_stop(&io->acceptors[i].watch);
    uv_timer_start(&io->accept_timer, on_accept_timer, ACCEPT_PAUSE_MS, 0);
}

static void adopt_socket(turbo__io *io, int fd, const turbo__peer *peer) {
    turbo__count(&io->accepted, 1);
    if (turbo__exchange_open(io, fd, peer) < 0) {
        turbo__count(&io->accept_errors, 1);
        turbo__admission_leave(&io->server->admission, peer);
        close(fd);
    }
}

static uint64_t connections_of(const turbo__io *io) {
    return atomic_load_explicit(&io->group.connections, memory_order_relaxed) +
           atomic_load_explicit(&io->coming, memory_order_relaxed);
}

/* Connections stay where they were accepted, unless this loop would have clearly more than its share with one more. */
static turbo__io *least_loaded(turbo__io *io) {
    turbo_server *server = io->server;
    uint64_t sum = 1, least = UINT64_MAX; /* with the one that is to be placed */
    turbo__io *best = io;
    if (server->io_count < 2)
        return io;
    for (size_t i = 0; i < server->io_count; i++) {
        uint64_t n = connections_of(server->ios[i]);
        sum += n;
        if (n < least) {
            least = n;
            best = server->ios[i];
        }
    }
    uint64_t own = connections_of(io) + 1;
    return own * 4 * server->io_count > (sum * 5 + 32 * server->io_count) ? best : io;
}

static void place_socket(turbo__io *io, int fd, const turbo__peer *peer) {
    turbo__io *to = least_loaded(io);
    passed_socket *pass = to == io ? NULL : turbo__malloc(sizeof *pass);
    if (pass == NULL) {
        adopt_socket(io, fd, peer);
        return;
    }
    *pass = (passed_socket){.mail = {.kind = TURBO__MAIL_SOCKET}, .fd = fd, .peer = *peer};
    atomic_fetch_add_explicit(&to->coming, 1, memory_order_relaxed);
    if (turbo__mailbox_push_one(&to->box, &pass->mail) < 0) {
        atomic_fetch_sub_explicit(&to->coming, 1, memory_order_relaxed);
        turbo__free(pass);
        adopt_socket(io, fd, peer);
    }
}

/* An address has its share. Whoever opens connections without end is not given an answer's work, too. */
static void refuse_socket(turbo__io *io, int fd) {
    turbo__count(&io->refused, 1);
    turbo__admission_unreserve(&io->server->admission);
    turbo__server_warn(io->server, TURBO__WARN_ADDRESS, "an address has connections_per_address_max connections");
    close(fd);
}

/* @return 0 when the accept queue is empty, or accepting has to pause. */
static int accept_one(turbo__acceptor *acceptor) {
    turbo__io *io = acceptor->io;
    turbo__admission *admission = &io->server->admission;
    struct sockaddr_storage from;
    if (turbo__admission_reserve(admission) < 0) {
        pause_accept(io, 1);
        return 0;
    }
    int fd = turbo__os_accept(acceptor->listener->fd, &from);
    if (fd < 0)
        turbo__admission_unreserve(admission);
    if (fd == TURBO_EAGAIN)
        return 0;
    if (fd == TURBO_ECLOSED)
        return 1;
    if (fd < 0) {
        turbo__count(&io->accept_errors, 1);
        turbo__server_warn(io->server, TURBO__WARN_ACCEPT, "cannot accept connections for now: %s",
                           turbo_strerror(fd));
        pause_accept(io, 0);
        return 0;
    }
    turbo__peer peer = peer_of(&from);
    if (turbo__admission_enter(admission, &peer) == 0)
        place_socket(io, fd, &peer);
    else
        refuse_socket(io, fd);
    return 1;
}

static void on_acceptable(uv_poll_t *watch, int status, int events) {
    turbo__acceptor *acceptor = watch->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(acceptor); i++) {
    }
}

static void resume_accept(turbo__io *io) {
    if (!io->accept_paused || io->accept_closed)
        return;
    io->accept_paused = 0;
    io->full = 0;
    uv_timer_stop(&io->accept_timer);
    for (size_t i = 0; i < io->acceptor_count; i++)
        uv_poll_start(&io->acceptors[i].watch, UV_READABLE, on_acceptable);
}

static void close_acceptors(turbo__io *io) {
    if (io->accept_closed)
        return;
    for (size_t i = 0; i < io->acceptor_count; i++) {
        while (!io->accept_paused && accept_one(&io->acceptors[i])) {
            /* who is in the accept queue has connected, and perhaps sent its request, before the stop */
        }
        uv_close((uv_handle_t *)&io->acceptors[i].watch, NULL);
    }
    io->accept_closed = 1;
    if (io->timer_open)
        uv_close((uv_handle_t *)&io->accept_timer, NULL);
    turbo__server_accept_closed(io->server);
}

/* -- requests to shards -- */

static void refuse_chain(turbo__mail_chain *chain) {
    turbo__mail *mail = chain->newest;
    *chain = (turbo__mail_chain){0};
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_shard);
        turbo__queue_unprepare(req);
        (void)turbo__answer_shed(req);
        mail = next;
    }
}

static void publish_to(turbo__io *io, uint32_t index) {
    turbo__mail_chain chain = io->outboxes[index];
    io->outboxes[index] = (turbo__mail_chain){0};
    if (chain.count > 0 && turbo__queue_push(io->server->shards[index], &chain) < 0)
        refuse_chain(&chain);
}

static void publish(turbo__io *io) {
    for (size_t i = 0; i < io->dirty_count; i++)
        publish_to(io, io->dirty[i]);
    io->dirty_count = 0;
}

void turbo__io_dispatch(turbo__io *io, turbo_request *req) {
    uint32_t index = turbo__placement_choose(io, req);
    turbo_shard *shard = io->server->shards[index];
    turbo__mail_chain *chain = &io->outboxes[index];
    req->queued_ns = turbo__io_now_ns(io);
    turbo__queue_prepare(shard, req);
    if (shard == io->shard) { /* the same thread: no hand-off */
        if (turbo__queue_push_here(shard, req) < 0) {
            turbo__queue_unprepare(req);
            (void)turbo__answer_shed(req);
        }
        return;
    }
    if (chain->count == 0)
        io->dirty[io->dirty_count++] = index;
    turbo__mail_chain_add(chain, &req->to_shard);
    if (chain->count >= PUBLISH_AT) {
        publish_to(io, index);
        for (size_t i = 0; i < io->dirty_count; i++)
            if (io->dirty[i] == index)
                io->dirty[i] = io->dirty[--io->dirty_count];
    }
}

/* -- answers home -- */

static void take_home(turbo_request *req) {
    if (!req->streamed) {
        turbo__exchange_deliver(req);
        return;
    }
    atomic_exchange(&req->homing, 0); /* from here on news is sent again */
    turbo__exchange_deliver(req);
    turbo_request_release(req);
}

static void take_body_news(turbo__body *body) {
    turbo_request *req = body->req;
    atomic_exchange(&body->homing, 0); /* from here on news is sent again */
    turbo__exchange_body_news(req);
    turbo_request_release(req);
}

/* Answers are thrown away as those of clients that have gone: what was lent for the body goes back. */
void turbo__io_refuse(turbo__mail *mail) {
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_home);
        int streamed = req->streamed;
        if (streamed)
            atomic_exchange(&req->homing, 0);
        if (!streamed || turbo__request_take_end(req)) {
            turbo__request_answer_done(req);
            turbo_request_release(req);
        }
        if (streamed)
            turbo_request_release(req); /* the news' own */
        mail = next;
    }
}

static void take_mail(turbo__io *io, turbo__mail *mail) {
    while (mail != NULL) {
        turbo__mail *next = mail->next;
        if (mail->kind == TURBO__MAIL_SOCKET) {
            passed_socket *pass = TURBO__CONTAINER(mail, passed_socket, mail);
            adopt_socket(io, pass->fd, &pass->peer);
            atomic_fetch_sub_explicit(&io->coming, 1, memory_order_relaxed);
            turbo__free(pass);
        } else if (mail->kind == TURBO__MAIL_BODY) {
            take_body_news(TURBO__CONTAINER(mail, turbo__body, news));
        } else {
            take_home(TURBO__CONTAINER(mail, turbo_request, to_home));
        }
        mail = next;
    }
}

void turbo__io_request_freed(turbo__io *io) {
    if (turbo__io_is_here(io))
        io->freed_here++;
    else if (atomic_fetch_sub(&io->balance, 1) == 1)
        turbo__server_unref(io->server); /* the loop has closed, and this was the last */
}

/* -- turns and the end -- */

static void obey_close(turbo__io *io) {
    close_acceptors(io);
    publish(io);
    io->aborting = 1;
    turbo__conn_group_kill(&io->group);
    turbo__conn_group_turn(&io->group); /* frees them */
    /* Whatever still comes home finds its connection gone. */
    take_mail(io, turbo__mailbox_seal(&io->box));
    turbo__conn_group_kill(&io->group); /* sockets that were passed on meanwhile */
    turbo__conn_group_turn(&io->group);
    turbo__conn_group_close(&io->group);
    turbo__loop_leave(io->loop, &io->member);
    atomic_store(&io->has_thread, 0);
    int64_t left = (int64_t)(io->made - io->freed_here);
    if (atomic_fetch_add(&io->balance, left) + left == 0)
        turbo__server_unref(io->server);
}

static void obey(turbo__io *io) {
    unsigned todo = atomic_load(&io->control) & ~io->obeyed;
    io->obeyed |= todo;
    if (todo & TURBO__IO_DRAIN) {
        close_acceptors(io);
        turbo__conn_group_drain(&io->group);
    }
    if (todo & TURBO__IO_ABORT) {
        io->aborting = 1;
        turbo__conn_group_kill(&io->group);
    }
}

static int io_turn(void *self) {
    turbo__io *io = self;
    if (io->shard != NULL)
        io->turn_ns = 0; /* its batch has run since */
    int all_closed = turbo__server_all_closed(io->server); /* seen before the mail, all that was passed on is in it */
    take_mail(io, turbo__mailbox_take(&io->box));
    if ((atomic_load_explicit(&io->control, memory_order_relaxed) & ~io->obeyed) != 0)
        obey(io);
    publish(io);
    int more = turbo__conn_group_turn(&io->group);
    publish(io); /* what paused connections had kept back */
    io->turn_ns = 0;
    io->loads_known = 0;
    if (io->full && !turbo__admission_is_full(&io->server->admission))
        resume_accept(io);
    if (io->obeyed & TURBO__IO_CLOSE) {
        obey_close(io);
        return 0;
    }
    if (io->group.draining && all_closed && !io->drained && turbo__list_empty(&io->group.conns)) {
        io->drained = 1;
        turbo__server_io_drained(io->server);
    }
    return more || io->group.touched != NULL || (io->shard != NULL && turbo__shard_wants_turn(io->shard));
}

void turbo__io_tell(turbo__io *io, unsigned what) {
    atomic_fetch_or(&io->control, what);
    turbo__mailbox_poke(&io->box);
}

void turbo__io_adopt_thread(turbo__io *io) {
    io->thread = pthread_self();
    atomic_store_explicit(&io->has_thread, 1, memory_order_release);
}

/* -- life -- */

int turbo__io_open(turbo__io *io, turbo_server *server, uint32_t index, turbo_shard *shard) {
    size_t shards = server->shard_count;
    int rc;
    io->server = server;
    io->index = index;
    io->shard = shard;
    io->outboxes = turbo__calloc(shards, sizeof *io->outboxes);
    io->dirty = turbo__calloc(shards, sizeof *io->dirty);
    io->loads = turbo__calloc(shards, sizeof *io->loads);
    if (io->outboxes == NULL || io->dirty == NULL || io->loads == NULL)
        return TURBO_ENOMEM;
    if ((rc = turbo__mailbox_open(&io->box)) < 0)
        return rc;
    if (shard == NULL && (rc = turbo__loop_open(&io->own_loop, 0)) < 0)
        return rc;
    io->loop = shard == NULL ? &io->own_loop : shard->loop;
    uv_timer_init(&io->loop->uv, &io->accept_timer);
    io->accept_timer.data = io;
    io->timer_open = 1;
    io->member = (turbo__member){.turn = io_turn, .self = io, .box = &io->box};
    io->group_open = 1;
    if ((rc = turbo__conn_group_open(&io->group, &io->loop->uv, &turbo__exchange_events, &server->settings)) < 0)
        return rc;
    if ((rc = turbo__loop_join(io->loop, &io->member)) == 0)
        io->joined = 1;
    return rc;
}

/* Of listeners that share a port each loop watches one; all others are watched by every loop. */
int turbo__io_listen(turbo__io *io) {
    size_t count = 0, shared = 0;
    for (turbo__listener *l = io->server->listeners; l != NULL; l = l->next)
        count++;
    if (count == 0)
        return 0;
    if ((io->acceptors = turbo__calloc(count, sizeof *io->acceptors)) == NULL)
        return TURBO_ENOMEM;
    for (turbo__listener *l = io->server->listeners; l != NULL; l = l->next) {
        turbo__acceptor *acceptor = &io->acceptors[io->acceptor_count];
        if (l->group && shared++ % io->server->io_count != io->index)
            continue;
        acceptor->io = io;
        acceptor->listener = l;
        acceptor->watch.data = acceptor;
        int rc = uv_poll_init(&io->loop->uv, &acceptor->watch, l->fd);
        if (rc < 0)
            return turbo__loop_error(rc);
        io->acceptor_count++;
        if ((rc = uv_poll_start(&acceptor->watch, UV_READABLE, on_acceptable)) < 0)
            return turbo__loop_error(rc);
    }
    return 0;
}

void turbo__io_close_unused(turbo__io *io) {
    if ((io->obeyed & TURBO__IO_CLOSE) || io->loop == NULL || !io->loop->open)
        return;
    for (size_t i = 0; i < io->acceptor_count && !io->accept_closed; i++)
        uv_close((uv_handle_t *)&io->acceptors[i].watch, NULL);
    if (io->timer_open && !io->accept_closed)
        uv_close((uv_handle_t *)&io->accept_timer, NULL);
    turbo__conn_group_close(&io->group);
    if (io->joined)
        turbo__loop_leave(io->loop, &io->member);
}

void turbo__io_free(turbo__io *io) {
    if (io->group_open)
        turbo__conn_group_free(&io->group);
    turbo__mailbox_free(&io->box);
    turbo__free(io->acceptors);
    turbo__free(io->outboxes);
    turbo__free(io->dirty);
    turbo__free(io->loads);
}
