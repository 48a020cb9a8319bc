/* overdue.c - handlers that take too long: lines of those that have begun, and the answer in their place. */
#include "overdue.h"

#include "answer.h"
#include "clock.h"
#include "conn.h"
#include "mem.h"
#include "shard.h"
#include "turbo/error.h"

int turbo__overdue_open(turbo__overdue *overdue, const turbo__route *routes, uint32_t route_count) {
    uint32_t timed = 0;
    for (const turbo__route *route = routes; route != NULL; route = route->next)
        timed += route->handler_timeout_ns != 0;
    if (timed == 0)
        return 0;
    if ((overdue->lines = turbo__malloc(route_count * sizeof *overdue->lines)) == NULL)
        return TURBO_ENOMEM;
    for (uint32_t i = 0; i < route_count; i++)
        turbo__list_init(&overdue->lines[i]);
    pthread_mutex_init(&overdue->lock, NULL);
    overdue->line_count = route_count;
    return 0;
}

void turbo__overdue_free(turbo__overdue *overdue) {
    if (overdue->line_count == 0)
        return;
    overdue->line_count = 0;
    pthread_mutex_destroy(&overdue->lock);
    turbo__free(overdue->lines);
}

/* Requests of one route are due in order, so only the first of a line can move next_ns. Lock held.
 * @return 1 when the shard has to look earlier than it knew. */
static int join_line(turbo__overdue *overdue, turbo_request *req, uint64_t due_ns) {
    turbo__list *line = &overdue->lines[req->route->index];
    uint64_t next = atomic_load_explicit(&overdue->next_ns, memory_order_relaxed);
    turbo__list_push_back(line, &req->overdue_link);
    req->in_line = 1;
    if (next != 0 && next <= due_ns)
        return 0;
    atomic_store_explicit(&overdue->next_ns, due_ns, memory_order_relaxed);
    return 1;
}

void turbo__overdue_begin(turbo_request *req, uint64_t *now_ns) {
    turbo_shard *shard = req->shard;
    turbo__overdue *overdue = &shard->overdue;
    if (*now_ns == 0)
        *now_ns = turbo__clock_ns();
    uint64_t due_ns = *now_ns + req->route->handler_timeout_ns;
    atomic_store_explicit(&req->deadline_ns, due_ns, memory_order_relaxed);
    pthread_mutex_lock(&overdue->lock);
    int earlier = !overdue->closed && join_line(overdue, req, due_ns);
    pthread_mutex_unlock(&overdue->lock);
    if (earlier && !turbo__shard_is_here(shard))
        turbo__mailbox_poke(&shard->box); /* or it would sleep over it */
}

void turbo__overdue_end(turbo_request *req) {
    turbo__overdue *overdue = &req->shard->overdue;
    pthread_mutex_lock(&overdue->lock);
    if (req->in_line)
        turbo__list_remove(&req->overdue_link);
    req->in_line = 0;
    pthread_mutex_unlock(&overdue->lock);
}

static turbo_request *first_of(const turbo__list *line) {
    return turbo__list_empty(line) ? NULL : TURBO__CONTAINER(line->next, turbo_request, overdue_link);
}

/* Who answers now waits for the lock before it lets go of the request: it is safe to take a reference. Lock held. */
static void cut_due(turbo__list *line, uint64_t now_ns, turbo__list *out) {
    turbo_request *req;
    while ((req = first_of(line)) != NULL && atomic_load_explicit(&req->deadline_ns, memory_order_relaxed) <= now_ns) {
        turbo__list_remove(&req->overdue_link);
        req->in_line = 0;
        turbo__list_push_back(out, &turbo_request_retain(req)->overdue_link);
    }
}

static void cut_all_due(turbo__overdue *overdue, uint64_t now_ns, turbo__list *out) {
    uint64_t next = 0;
    pthread_mutex_lock(&overdue->lock);
    for (uint32_t i = 0; i < overdue->line_count; i++) {
        cut_due(&overdue->lines[i], now_ns, out);
        const turbo_request *req = first_of(&overdue->lines[i]);
        uint64_t due_ns = req == NULL ? 0 : atomic_load_explicit(&req->deadline_ns, memory_order_relaxed);
        if (due_ns != 0 && (next == 0 || due_ns < next))
            next = due_ns;
    }
    atomic_store_explicit(&overdue->next_ns, next, memory_order_relaxed);
    pthread_mutex_unlock(&overdue->lock);
}

/* Of a gone client the handler knows already, and nobody waits for an answer. */
static void give_up(turbo_shard *shard, turbo_request *req) {
    if (turbo__request_is_gone(req) || turbo__answer_overdue(req) < 0)
        return;
    turbo__count(&shard->timed_out, 1);
    turbo__shard_event(shard, req, TURBO_EVENT_DEADLINE);
}

void turbo__overdue_check(turbo_shard *shard) {
    turbo__list due;
    turbo_request *req;
    uint64_t now_ns = turbo__clock_ns();
    if (atomic_load_explicit(&shard->overdue.next_ns, memory_order_relaxed) > now_ns)
        return;
    turbo__list_init(&due);
    cut_all_due(&shard->overdue, now_ns, &due);
    while ((req = first_of(&due)) != NULL) {
        turbo__list_remove(&req->overdue_link);
        give_up(shard, req);
        turbo_request_release(req);
    }
}

void turbo__overdue_close(turbo__overdue *overdue) {
    if (overdue->line_count == 0)
        return;
    pthread_mutex_lock(&overdue->lock);
    for (uint32_t i = 0; i < overdue->line_count; i++) {
        turbo_request *req;
        while ((req = first_of(&overdue->lines[i])) != NULL) {
            turbo__list_remove(&req->overdue_link);
            req->in_line = 0;
        }
    }
    overdue->closed = 1;
    atomic_store_explicit(&overdue->next_ns, 0, memory_order_relaxed);
    pthread_mutex_unlock(&overdue->lock);
}
