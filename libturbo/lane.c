/* lane.c - requests that wait for a place of their route. */
#include "lane.h"

#include "mem.h"
#include "queue.h"
#include "turbo/error.h"

int turbo__lanes_open(turbo__lanes *lanes, const turbo__route *routes, uint32_t route_count) {
    size_t limited = 0;
    for (const turbo__route *route = routes; route != NULL; route = route->next)
        limited += route->inflight_max != 0;
    if (limited == 0)
        return 0;
    lanes->list = turbo__calloc(limited, sizeof *lanes->list);
    lanes->by_route = turbo__calloc(route_count, sizeof(turbo__lane *));
    if (lanes->list == NULL || lanes->by_route == NULL) {
        turbo__lanes_free(lanes);
        return TURBO_ENOMEM;
    }
    for (const turbo__route *route = routes; route != NULL; route = route->next) {
        if (route->inflight_max == 0)
            continue;
        turbo__lane *lane = &lanes->list[lanes->count++];
        turbo__gate_init(&lane->gate, route->inflight_max);
        lanes->by_route[route->index] = lane;
    }
    return 0;
}

void turbo__lanes_free(turbo__lanes *lanes) {
    turbo__free(lanes->list);
    turbo__free(lanes->by_route);
    *lanes = (turbo__lanes){0};
}

void turbo__lane_keep(turbo__lanes *lanes, turbo__lane *lane, turbo__mail *mail) {
    mail->next = NULL;
    if (lane->first != NULL)
        lane->last->next = mail;
    else
        lane->first = mail;
    lane->last = mail;
    lanes->waiting++;
}

static turbo__mail *take_from(turbo__lanes *lanes, turbo__lane *lane) {
    turbo__mail *mail = lane->first;
    lane->first = mail->next;
    lanes->waiting--;
    return mail;
}

turbo__mail *turbo__lanes_take(turbo__lanes *lanes) {
    for (size_t i = 0; lanes->waiting > 0 && i < lanes->count; i++)
        if (lanes->list[i].first != NULL && turbo__gate_room(&lanes->list[i].gate) > 0)
            return take_from(lanes, &lanes->list[i]);
    return NULL;
}

int turbo__lanes_wait(turbo__lanes *lanes) {
    int ready = 0;
    for (size_t i = 0; lanes->waiting > 0 && i < lanes->count; i++)
        if (lanes->list[i].first != NULL)
            ready |= turbo__gate_wait(&lanes->list[i].gate);
    return ready;
}

turbo__mail *turbo__lanes_take_any(turbo__lanes *lanes) {
    for (size_t i = 0; lanes->waiting > 0 && i < lanes->count; i++)
        if (lanes->list[i].first != NULL)
            return take_from(lanes, &lanes->list[i]);
    return NULL;
}

/* A lane is one route's: if its oldest is not late, none is. */
turbo__mail *turbo__lanes_take_late(turbo__lanes *lanes, uint64_t now_ns) {
    for (size_t i = 0; lanes->waiting > 0 && i < lanes->count; i++) {
        turbo__mail *mail = lanes->list[i].first;
        if (mail == NULL || !turbo__queue_is_late(TURBO__CONTAINER(mail, turbo_request, to_shard), &now_ns))
            continue;
        (void)take_from(lanes, &lanes->list[i]);
        mail->next = NULL;
        return mail;
    }
    return NULL;
}
