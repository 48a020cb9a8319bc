/* queue.c - a shard's queue: requests in from any thread, out within the limits of what is in flight. */
#include "queue.h"

#include "answer.h"
#include "body.h"
#include "turbo/error.h"

/* How often those that wait at a full gate are looked at: this often, or eight times in the shortest time allowed. */
#define SWEEP_LEAST_NS 5000000

/* One whose client has most likely left is let in for so many others. */
#define PASSED_BY_MOST 64

/* -- into the queue -- */

void turbo__queue_prepare(turbo_shard *shard, turbo_request *req) {
    turbo_request_retain(req);
    req->to_shard.kind = TURBO__MAIL_REQUEST;
    atomic_store_explicit(&req->events, TURBO_EVENT_NEW, memory_order_relaxed);
    /* Last: its I/O loop, when this is another thread, may have an event for it as soon as it sees the shard, and finds
     * by `events` that it is on its way there. */
    atomic_store_explicit(&req->shard, shard, memory_order_release);
}

void turbo__queue_unprepare(turbo_request *req) {
    atomic_store_explicit(&req->shard, NULL, memory_order_relaxed);
    atomic_store_explicit(&req->events, 0, memory_order_relaxed);
    turbo_request_release(req);
}

static void note_queued(turbo_shard *shard, uint64_t queued) {
    uint64_t most = atomic_load_explicit(&shard->queued_most, memory_order_relaxed);
    while (queued > most && !atomic_compare_exchange_weak_explicit(&shard->queued_most, &most, queued,
                                                                   memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Count n into the queue. @return how many of them do not fit. */
static uint64_t reserve_places(turbo_shard *shard, uint64_t n) {
    uint64_t max = shard->server->settings.queue_max;
    uint64_t queued = atomic_fetch_add_explicit(&shard->queued, n, memory_order_relaxed) + n;
    uint64_t over = queued <= max ? 0 : queued - max < n ? queued - max : n;
    if (over > 0) {
        atomic_fetch_sub_explicit(&shard->queued, over, memory_order_relaxed);
        atomic_fetch_add_explicit(&shard->shed, over, memory_order_relaxed);
    }
    note_queued(shard, queued - over);
    return over;
}

/* Take the newest n mails off a chain. */
static turbo__mail_chain split_newest(turbo__mail_chain *chain, uint64_t n) {
    turbo__mail_chain newest = {0};
    if (n == 0)
        return newest;
    newest.newest = chain->newest;
    for (newest.count = 0; newest.count < n; newest.count++) {
        newest.oldest = chain->newest;
        chain->newest = chain->newest->next;
        chain->count--;
    }
    newest.oldest->next = NULL;
    if (chain->count == 0)
        *chain = (turbo__mail_chain){0};
    return newest;
}

/* Requests that have places. @return 0; TURBO_ECLOSED. */
static int push_counted(turbo_shard *shard, turbo__mail_chain *chain) {
    uint64_t n = chain->count;
    if (turbo__mailbox_push(&shard->box, chain) == 0)
        return 0;
    atomic_fetch_sub_explicit(&shard->queued, n, memory_order_relaxed);
    return TURBO_ECLOSED;
}

int turbo__queue_push(turbo_shard *shard, turbo__mail_chain *chain) {
    turbo__mail_chain over = split_newest(chain, reserve_places(shard, chain->count));
    if (chain->count > 0 && push_counted(shard, chain) < 0) {
        if (over.count > 0) { /* all are refused: put them together again */
            over.oldest->next = chain->newest;
            chain->newest = over.newest;
            chain->count += over.count;
        }
        return TURBO_ECLOSED;
    }
    *chain = over;
    return over.count > 0 ? TURBO_EAGAIN : 0;
}

static void append(turbo__line *line, turbo__mail *mail) {
    mail->next = NULL;
    if (line->first != NULL)
        line->last->next = mail;
    else
        line->first = mail;
    line->last = mail;
}

void turbo__queue_append(turbo_shard *shard, turbo__mail *mail) { append(&shard->line, mail); }

int turbo__queue_push_here(turbo_shard *shard, turbo_request *req) {
    if (atomic_load_explicit(&shard->state, memory_order_relaxed) == TURBO__SHARD_ENDED)
        return TURBO_ECLOSED;
    if (reserve_places(shard, 1) > 0)
        return TURBO_EAGAIN;
    turbo__queue_append(shard, &req->to_shard);
    shard->came_here = 1;
    return 0;
}

/* -- accounts of requests without a connection -- */

/* @return 1 when the end has counted what was unanswered before this one, which then cannot be pushed any more. */
static int count_taken(turbo_shard *shard) {
    atomic_fetch_add_explicit(&shard->taken, 1, memory_order_relaxed);
    return (atomic_fetch_add_explicit(&shard->unanswered, 1, memory_order_relaxed) & TURBO__SHARD_COUNTED) != 0;
}

/* It was not taken after all; the end may have counted it meanwhile. */
static void uncount_taken(turbo_shard *shard, int late) {
    uint64_t before = atomic_fetch_sub_explicit(&shard->unanswered, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shard->taken, 1, memory_order_relaxed);
    if (!late && (before & TURBO__SHARD_COUNTED) != 0)
        atomic_fetch_sub_explicit(&shard->abandoned, 1, memory_order_relaxed);
}

void turbo__queue_answered(turbo_shard *shard, int shed) {
    if ((atomic_fetch_sub_explicit(&shard->unanswered, 1, memory_order_relaxed) & TURBO__SHARD_COUNTED) == 0)
        atomic_fetch_add_explicit(shed ? &shard->shed_taken : &shard->answered, 1, memory_order_relaxed);
}

/* What the executor has and has not answered when the shard ends. */
void turbo__queue_abandon(turbo_shard *shard) {
    uint64_t left = atomic_fetch_or_explicit(&shard->unanswered, TURBO__SHARD_COUNTED, memory_order_relaxed);
    atomic_fetch_add_explicit(&shard->abandoned, left, memory_order_relaxed);
}

int turbo_shard_submit(turbo_shard *shard, turbo_request *req) {
    int late = 0;
    if (req->shard != NULL || atomic_load_explicit(&req->state, memory_order_relaxed) != TURBO__OPEN)
        return TURBO_ESTATE;
    if (reserve_places(shard, 1) > 0) /* before the request is changed: its I/O loop looks at it all the time */
        return TURBO_EAGAIN;
    req->queued_ns = turbo__clock_ns();
    turbo__queue_prepare(shard, req);
    if (req->done != NULL) {
        turbo_request_retain(req); /* the answer path's; one with a connection was born with it */
        late = count_taken(shard);
    }
    turbo__mail_chain chain = {&req->to_shard, &req->to_shard, 1};
    int rc = push_counted(shard, &chain);
    if (rc < 0) {
        if (req->done != NULL) {
            uncount_taken(shard, late);
            turbo_request_release(req);
        }
        turbo__queue_unprepare(req);
    }
    return rc;
}

/* -- out of the queue -- */

/* A request that is given up without having run: nobody answers it. */
static void give_up(turbo_shard *shard, turbo_request *req, _Atomic uint64_t *counter) {
    turbo__count(counter, 1);
    if (turbo__request_claim(req, TURBO__OPEN, TURBO__ENDED) == 0) {
        if (req->done != NULL) {
            atomic_fetch_sub_explicit(&shard->unanswered, 1, memory_order_relaxed);
            turbo__count(&shard->abandoned, 1);
            req->done(req, TURBO_ECLOSED, NULL, req->done_user);
        }
        turbo_request_release(req); /* the answer path's */
    }
    turbo_request_release(req); /* the queue's */
}

void turbo__queue_expire(turbo_request *req) {
    atomic_fetch_add_explicit(&req->shard->expired, 1, memory_order_relaxed);
    (void)turbo__answer_shed(req);
}

/* A request, taken from the queue, that does not run: its client has gone, or it has waited too long. */
static void end_unrun(turbo_shard *shard, turbo_request *req) {
    if (turbo__request_is_gone(req)) {
        give_up(shard, req, &shard->dropped);
        return;
    }
    turbo__queue_expire(req);
    turbo_request_release(req); /* the queue's */
}

static turbo_request *pop(turbo__line *line) {
    turbo_request *req = TURBO__CONTAINER(line->first, turbo_request, to_shard);
    line->first = req->to_shard.next;
    return req;
}

/* Whether what is learned of clients' patience is for this request: it has one, waits in this queue only, and nobody has said
 * how long it may. */
static int is_learned_from(const turbo_request *req) {
    const turbo__route *route = req->route;
    return req->io != NULL && route->queue_timeout_ns == 0 && route->inflight_max == 0 &&
           route->executor != TURBO__EXECUTOR_POOL && req->server->settings.queue_patience == TURBO__PATIENCE_LEARN;
}

/* Half of the queue, and of the memory for bodies, is for clients that are there. */
static int has_place_behind(const turbo_shard *shard) {
    const turbo_server *server = shard->server;
    return atomic_load_explicit(&shard->queued, memory_order_relaxed) <= server->settings.queue_max / 2 &&
           atomic_load_explicit(&server->body_memory, memory_order_relaxed) <= server->settings.body_memory_max_bytes / 2;
}

/* One whose client has most likely left has to wait until nobody else does, if there is a place. */
static void put_behind(turbo_shard *shard, turbo_request *req) {
    if (has_place_behind(shard)) {
        append(&shard->behind, &req->to_shard);
        return;
    }
    atomic_exchange(&req->events, 0);
    atomic_fetch_sub_explicit(&shard->queued, 1, memory_order_relaxed);
    end_unrun(shard, req);
}

/* The oldest whose client has not left, as far as is known; when there is none, and now and then, so that they have an end,
 * one of the others. @return NULL: there is none. */
static turbo_request *pop_live(turbo_shard *shard) {
    if (shard->behind.first != NULL && ++shard->passed_by >= PASSED_BY_MOST) {
        shard->passed_by = 0;
        return pop(&shard->behind);
    }
    while (shard->line.first != NULL) {
        turbo_request *req = pop(&shard->line);
        if (turbo__request_left_ms(req) == 0 || turbo__request_is_gone(req) || !is_learned_from(req))
            return req;
        put_behind(shard, req);
    }
    return shard->behind.first != NULL ? pop(&shard->behind) : NULL;
}

/* The next request that the limits of its route let in; those behind one that has to wait go past it. */
static turbo_request *next_request(turbo_shard *shard) {
    turbo__mail *mail = shard->lanes.waiting > 0 ? turbo__lanes_take(&shard->lanes) : NULL;
    if (mail != NULL)
        return TURBO__CONTAINER(mail, turbo_request, to_shard);
    turbo_request *req;
    while ((req = pop_live(shard)) != NULL) {
        turbo__lane *lane = turbo__lane_of(&shard->lanes, req);
        if (lane == NULL || !turbo__lane_is_full(lane))
            return req;
        turbo__lane_keep(&shard->lanes, lane, &req->to_shard);
    }
    return NULL;
}

/* Those of pools and batches wait for their handler once more: pool.c and batch.c see it begin. */
static int begins_here(const turbo__route *route) {
    return route->executor != TURBO__EXECUTOR_POOL && route->batch_fn == NULL;
}

/* Whether it has waited longer than clients are known to. */
static int is_beyond_patience(turbo_shard *shard, const turbo_request *req, uint64_t now_ns) {
    uint64_t limit = turbo__patience_limit_ns(&shard->patience);
    if (limit == 0 || now_ns < req->queued_ns + limit || !is_learned_from(req))
        return 0;
    shard->patience.shed += turbo__request_left_ms(req) == 0; /* else nobody is refused */
    return 1;
}

/* Its handler begins: remember how long it has waited when that was long, unless its client had left before. */
static void note_wait(turbo_shard *shard, turbo_request *req, uint64_t now_ns) {
    uint64_t ms;
    if (now_ns < req->queued_ns + turbo__patience_least_ns(&shard->patience) || !is_learned_from(req) ||
        turbo__request_left_ms(req) != 0)
        return;
    ms = (now_ns - req->queued_ns) / 1000000;
    req->waited_ms = ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX; /* 50 ms or more: not 0 */
    shard->patience.waited_ms = ms;
}

/* How many may go into a batch. While there is a limit, no more than can be handled in a quarter of it: the last of a batch
 * waits for all before it. */
static size_t batch_room(turbo_shard *shard) {
    uint64_t room = turbo__gate_room(&shard->gate), max = shard->server->settings.batch_max;
    uint64_t limit = turbo__patience_limit_ns(&shard->patience);
    uint64_t each = atomic_load_explicit(&shard->request_ns, memory_order_relaxed);
    if (limit != 0 && each != 0 && limit / 4 / each < max)
        max = limit / 4 / each + 1;
    return (size_t)(max < room ? max : room);
}

/* Move requests from the queue into shard->reqs; those of gone clients, and late ones, aside. @return how many. */
size_t turbo__queue_gather(turbo_shard *shard, uint64_t *now_ns) {
    size_t max = batch_room(shard), n = 0;
    uint64_t taken = 0;
    turbo_request *req;
    while (n < max && (req = next_request(shard)) != NULL) {
        if (taken++ == 0)
            *now_ns = turbo__clock_ns();
        atomic_exchange(&req->events, 0); /* from here on events come by mail */
        if (turbo__request_is_gone(req) || turbo__queue_is_late(req, now_ns) || is_beyond_patience(shard, req, *now_ns)) {
            end_unrun(shard, req);
            continue;
        }
        if (turbo__body_lacks_memory(req)) {
            (void)turbo__answer_shed(req);
            turbo_request_release(req); /* the queue's */
            continue;
        }
        turbo__lane *lane = turbo__lane_of(&shard->lanes, req);
        if (lane != NULL)
            turbo__gate_enter(&lane->gate, 1);
        req->counted = 1;
        req->given = 1;
        note_wait(shard, req, *now_ns);
        if (req->route->handler_timeout_ns != 0 && begins_here(req->route))
            turbo__overdue_begin(req, now_ns);
        shard->reqs[n++] = req;
    }
    if (taken > 0)
        atomic_fetch_sub_explicit(&shard->queued, taken, memory_order_relaxed);
    return n;
}

/* The shortest time that some request may wait; 0: none has a limit. */
static uint64_t least_limit_ns(const turbo_shard *shard) {
    uint64_t least = shard->server->queue_timeout_least_ns, learned = turbo__patience_limit_ns(&shard->patience);
    return least == 0 || (learned != 0 && learned < least) ? learned : least;
}

/* Take the late ones off a line. Behind one that has waited less than any may wait they all have. */
static turbo__mail *cut_late(turbo_shard *shard, turbo__line *line, uint64_t now_ns, uint64_t least) {
    turbo__mail **link = &line->first, *last = NULL, *cut = NULL, **cut_end = &cut;
    while (*link != NULL) {
        turbo__mail *mail = *link;
        turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_shard);
        if (req->queued_ns + least > now_ns)
            return cut;
        if (!turbo__queue_is_late(req, &now_ns) && !is_beyond_patience(shard, req, now_ns)) {
            last = mail;
            link = &mail->next;
            continue;
        }
        *link = mail->next;
        mail->next = NULL;
        *cut_end = mail;
        cut_end = &mail->next;
    }
    line->last = last;
    return cut;
}

/* @return how many mails there were, all of late requests. */
static uint64_t end_late(turbo_shard *shard, turbo__mail *mail) {
    uint64_t n = 0;
    for (; mail != NULL; n++) {
        turbo__mail *next = mail->next;
        turbo_request *req = TURBO__CONTAINER(mail, turbo_request, to_shard);
        atomic_exchange(&req->events, 0);
        end_unrun(shard, req);
        mail = next;
    }
    return n;
}

static void sweep(turbo_shard *shard, uint64_t now_ns, uint64_t least) {
    turbo__mail *mail;
    turbo_request *req;
    uint64_t n = end_late(shard, cut_late(shard, &shard->line, now_ns, least));
    n += end_late(shard, cut_late(shard, &shard->behind, now_ns, least));
    while ((mail = turbo__lanes_take_late(&shard->lanes, now_ns)) != NULL)
        n += end_late(shard, mail);
    if (n > 0)
        atomic_fetch_sub_explicit(&shard->queued, n, memory_order_relaxed);
    while ((req = turbo__pool_take_late(&shard->pool, now_ns)) != NULL) {
        turbo__queue_expire(req);
        turbo_request_release(req); /* the pool's */
    }
}

void turbo__queue_sweep(turbo_shard *shard) {
    uint64_t least = least_limit_ns(shard), every = least / 8 > SWEEP_LEAST_NS ? least / 8 : SWEEP_LEAST_NS, now_ns;
    if (least == 0 || (!turbo__queue_has_any(shard) &&
                       atomic_load_explicit(&shard->pool.queued, memory_order_relaxed) == 0)) {
        shard->sweep_ns = 0;
        return;
    }
    now_ns = turbo__clock_ns();
    if (shard->sweep_ns > now_ns + every)
        shard->sweep_ns = now_ns + every; /* the limit is shorter now */
    if (shard->sweep_ns > now_ns)
        return;
    if (shard->sweep_ns != 0)
        sweep(shard, now_ns, least);
    shard->sweep_ns = now_ns + every;
}

void turbo__queue_learn(turbo_shard *shard) {
    turbo__patience *patience = &shard->patience;
    if (turbo__patience_has_news(patience) && turbo__patience_look(patience, turbo__clock_ns()))
        turbo__server_warn(shard->server, TURBO__WARN_PATIENCE,
                           "shard %u: most clients leave before their answer: what has waited for %llu ms is shed",
                           (unsigned)shard->index,
                           (unsigned long long)(turbo__patience_limit_ns(patience) / 1000000));
}

int turbo__queue_may_go_on(turbo_shard *shard) {
    if (!turbo__queue_has_any(shard) || (turbo__gate_room(&shard->gate) == 0 && !turbo__gate_wait(&shard->gate)))
        return 0;
    return turbo__shard_has_line(shard) || turbo__lanes_wait(&shard->lanes);
}

void turbo__queue_end(turbo_shard *shard) {
    uint64_t n = 0;
    turbo__mail *mail;
    while ((mail = turbo__lanes_take_any(&shard->lanes)) != NULL)
        turbo__queue_append(shard, mail);
    while (turbo__shard_has_line(shard)) {
        give_up(shard, pop(shard->line.first != NULL ? &shard->line : &shard->behind), &shard->dropped);
        n++;
    }
    atomic_fetch_sub_explicit(&shard->queued, n, memory_order_relaxed);
}
