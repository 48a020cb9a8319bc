/* conn_time.c - what a connection waits for, and until when. */
#include "conn_time.h"

/* How long the client's end is waited for, behind the last answer (RFC 9112 9.6): while it goes on sending what nobody
 * reads any more, and in all. */
#define LINGER_MS 2000
#define LINGER_DRAIN_MS 500
#define LINGER_MAX_MS 30000

/* The message being read has its answer already: the rest of its body is read away, for the sake of what is behind it. */
static int reads_away(const turbo__conn *conn) { return conn->phase == TURBO__PHASE_BODY && conn->owed == 0; }

unsigned turbo__conn_waits_for(const turbo__conn *conn) {
    if (conn->shut)
        return TURBO__WAIT_FIN;
    if (conn->out.bytes > 0)
        return TURBO__WAIT_SEND;
    if (conn->phase == TURBO__PHASE_HEAD)
        return TURBO__WAIT_HEAD;
    if (conn->group->draining && reads_away(conn)) /* nothing is owed: as between two requests */
        return TURBO__WAIT_IDLE;
    if (conn->phase == TURBO__PHASE_BODY) /* nobody is slow who waits to be asked (RFC 9110 10.1.1), or is not read */
        return conn->unasked || conn->paused ? TURBO__WAIT_NOTHING : TURBO__WAIT_BODY;
    return conn->owed > 0 ? TURBO__WAIT_NOTHING : TURBO__WAIT_IDLE;
}

/* Deadlines; 0: never. */
static uint64_t behind(uint64_t from_ms, uint64_t limit_ms) { return limit_ms == 0 ? 0 : from_ms + limit_ms; }

static uint64_t sooner(uint64_t a, uint64_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/* A body has to go on, and to come to an end. */
static uint64_t body_deadline(const turbo__conn *conn) {
    const turbo__settings *s = conn->group->settings;
    return sooner(behind(conn->mark_ms, s->body_stall_timeout_ms), behind(conn->head_ms, s->body_timeout_ms));
}

uint64_t turbo__conn_idle_deadline(const turbo__conn *conn) {
    const turbo__conn_group *group = conn->group;
    uint64_t idle = behind(conn->mark_ms, group->settings->idle_timeout_ms);
    uint64_t from = conn->mark_ms > group->drain_ms ? conn->mark_ms : group->drain_ms;
    return group->draining ? sooner(idle, from + group->settings->drain_idle_ms) : idle;
}

static uint64_t deadline_of(const turbo__conn *conn) {
    const turbo__settings *s = conn->group->settings;
    switch (conn->waiting) {
    case TURBO__WAIT_IDLE:
        return turbo__conn_idle_deadline(conn);
    case TURBO__WAIT_HEAD: /* it is given its time in all, everything else time to go on */
        return behind(conn->head_ms, s->head_timeout_ms);
    case TURBO__WAIT_BODY:
        return body_deadline(conn);
    case TURBO__WAIT_SEND:
        return behind(conn->mark_ms, s->body_stall_timeout_ms);
    case TURBO__WAIT_FIN:
        return conn->mark_ms + (conn->group->draining ? LINGER_DRAIN_MS : LINGER_MS);
    default:
        return 0;
    }
}

void turbo__conn_set_deadline(turbo__conn *conn) {
    unsigned waiting = turbo__conn_waits_for(conn);
    if (waiting != conn->waiting) {
        if (waiting == TURBO__WAIT_BODY && conn->waiting == TURBO__WAIT_NOTHING)
            conn->head_ms = turbo__conn_now_ms(conn); /* only now it was asked for, or is read again */
        conn->waiting = waiting & 7u;
        conn->mark_ms = turbo__conn_now_ms(conn);
    }
    turbo__deadline_set(&conn->group->wheel, &conn->deadline, deadline_of(conn));
}

/* What is only read away must not hold up a drain, nor an end, for as long as the client likes. */
static int counts(const turbo__conn *conn) {
    if (!conn->finishing)
        return !conn->group->draining || !reads_away(conn);
    return conn->shut && !conn->group->draining && turbo__conn_now_ms(conn) - conn->head_ms < LINGER_MAX_MS - LINGER_MS;
}

void turbo__conn_bytes_came(turbo__conn *conn) {
    if (counts(conn))
        conn->mark_ms = turbo__conn_now_ms(conn);
}
