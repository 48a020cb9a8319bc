/* conn.c - one connection: read -> parse -> report up -> write -> close. */
#include "conn.h"

#include <string.h>

#include "conn_time.h"
#include "mem.h"
#include "turbo/error.h"

#define READ_BYTES 65536
#define READS_A_TURN 4   /* then the other connections get their turn           */
#define FILE_BYTES_A_TURN 262144 /* of files, sent to one client; then the other connections get their turn, too */
#define IOV_MAX_ 32      /* pieces in one write                                 */
#define PARSERS_MAX 64   /* idle parsers kept a loop                            */

/* -- parser events: forwarded, with the phase kept on the way -- */

static void on_begin(void *user) {
    turbo__conn *conn = user;
    conn->phase = TURBO__PHASE_HEAD;
    conn->head_ms = turbo__conn_now_ms(conn);
    conn->group->events->begin(conn);
}

/* An answer that is made while a message is parsed may end the connection: then nothing behind it may become a message,
 * which nobody would ever be told has gone. */
static int stops(const turbo__conn *conn, int rc) { return rc != 0 || conn->dead; }

static int on_head(void *user, const turbo__h1_head *head) {
    turbo__conn *conn = user;
    conn->phase = TURBO__PHASE_BODY;
    conn->head_ms = turbo__conn_now_ms(conn);
    return stops(conn, conn->group->events->head(conn, head));
}

static int on_chunk(void *user, uint64_t size) {
    turbo__conn *conn = user;
    return stops(conn, conn->group->events->chunk(conn, size));
}

static int on_body(void *user, const char *data, size_t len) {
    turbo__conn *conn = user;
    return stops(conn, conn->group->events->body(conn, data, len));
}

static int on_trailer(void *user, turbo_str name, turbo_str value) {
    turbo__conn *conn = user;
    return stops(conn, conn->group->events->trailer(conn, name, value));
}

static int at_cap(const turbo__conn *conn) {
    return conn->held || conn->owed >= conn->group->settings->pipeline_max || !turbo__conn_has_room(conn);
}

static int on_end(void *user) {
    turbo__conn *conn = user;
    conn->phase = TURBO__PHASE_IDLE;
    conn->feeding = turbo__h1_has_more(conn->parser) != 0;
    int stop = stops(conn, conn->group->events->end(conn));
    if (!stop && !conn->finishing && at_cap(conn))
        conn->paused = 1;
    return stop || conn->finishing || conn->paused;
}

static const turbo__h1_events parser_events = {on_begin, on_head, on_chunk, on_body, on_trailer, on_end};

/* -- parsers and unparsed bytes -- */

static int take_parser(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    const turbo__settings *s = group->settings;
    if (conn->parser != NULL)
        return 0;
    if (group->parser_count > 0) {
        conn->parser = group->parsers[--group->parser_count];
        return 0;
    }
    turbo__h1_limits limits = {s->head_max_bytes, s->fields_max, s->target_max_bytes};
    return turbo__h1_parser_new(&conn->parser, &parser_events, &limits);
}

static void give_parser(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    if (conn->parser == NULL)
        return;
    if (group->parser_count < PARSERS_MAX) {
        turbo__h1_parser_reset(conn->parser);
        group->parsers[group->parser_count++] = conn->parser;
    } else {
        turbo__h1_parser_free(conn->parser);
    }
    conn->parser = NULL;
}

static void drop_tail(turbo__conn *conn) {
    turbo__free(conn->tail);
    conn->tail = NULL;
    conn->tail_at = conn->tail_len = 0;
}

/* Keep what was read but may not be parsed yet. @return TURBO_ENOMEM. */
static int keep_tail(turbo__conn *conn, const char *data, size_t len) {
    if (len == 0)
        return 0;
    char *tail = turbo__malloc(len);
    if (tail == NULL)
        return TURBO_ENOMEM;
    memcpy(tail, data, len);
    conn->tail = tail;
    conn->tail_at = 0;
    conn->tail_len = (uint32_t)len; /* at most READ_BYTES */
    return 0;
}

static void refuse(turbo__conn *conn) {
    int status = turbo__h1_status(conn->parser);
    const char *reason = turbo__h1_reason(conn->parser);
    int asks_head = turbo__h1_asks_head(conn->parser);
    turbo__count(&conn->group->parse_errors, 1);
    conn->phase = TURBO__PHASE_IDLE;
    conn->discarded = 1;
    turbo__conn_finish(conn, 0);
    conn->group->events->error(conn, status, reason, asks_head);
}

/* Parse bytes. @return how many were used up; the rest is to be kept while the connection is paused. */
static size_t feed(turbo__conn *conn, const char *data, size_t len) {
    size_t used = 0;
    if (take_parser(conn) < 0) {
        turbo__conn_kill(conn);
        return len;
    }
    conn->feeding = 1;
    int rc = turbo__h1_feed(conn->parser, conn, data, len, &used);
    conn->feeding = 0;
    if (conn->dead)
        return len;
    if (rc == TURBO__H1_ERROR)
        refuse(conn);
    if (rc == TURBO__H1_STOPPED && !conn->finishing)
        conn->paused = 1;
    if (conn->finishing) {
        conn->discarded |= used < len;
        conn->phase = TURBO__PHASE_IDLE;
        used = len;
        give_parser(conn);
    } else if (turbo__h1_idle(conn->parser)) {
        give_parser(conn);
    }
    return used;
}

static void parse(turbo__conn *conn, const char *data, size_t len) {
    size_t used = feed(conn, data, len);
    if (!conn->dead && used < len && keep_tail(conn, data + used, len - used) < 0)
        turbo__conn_kill(conn);
}

/* The tail is taken off while it is parsed: a message that ends the connection throws away what conn->tail holds. */
static void parse_tail(turbo__conn *conn) {
    char *tail = conn->tail;
    size_t at = conn->tail_at, end = conn->tail_len;
    if (tail == NULL)
        return;
    conn->tail = NULL;
    at += feed(conn, tail + at, end - at);
    if (conn->dead || at == end) {
        turbo__free(tail);
        return;
    }
    conn->tail = tail;
    conn->tail_at = (uint32_t)at;
}

/* -- reading -- */

static void tell_fin(turbo__conn *conn) {
    if (!conn->fin_told)
        conn->group->events->fin(conn);
    conn->fin_told = 1;
}

static void on_fin(turbo__conn *conn) {
    conn->fin = 1;
    conn->stream.readable = 0;
    if (conn->shut || conn->group->settings->on_fin == TURBO__ON_FIN_CANCEL) {
        turbo__conn_kill(conn);
        return;
    }
    if (conn->phase != TURBO__PHASE_IDLE) {
        conn->phase = TURBO__PHASE_IDLE;
        give_parser(conn);
        conn->group->events->truncated(conn);
    }
    tell_fin(conn);
    turbo__conn_finish(conn, 1);
}

static void take_bytes(turbo__conn *conn, const char *data, size_t len) {
    turbo__count(&conn->group->bytes_in, len);
    turbo__conn_bytes_came(conn);
    if (conn->finishing)
        conn->discarded = 1;
    else
        parse(conn, data, len);
}

static int may_read(const turbo__conn *conn) {
    return !conn->dead && conn->stream.readable && !conn->paused && !conn->fin;
}

static void read_some(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    for (int i = 0; i < READS_A_TURN && may_read(conn); i++) {
        ssize_t n = turbo__stream_read(&conn->stream, group->read_buf, READ_BYTES);
        if (n > 0)
            take_bytes(conn, group->read_buf, (size_t)n);
        else if (n == 0)
            on_fin(conn);
        else if (n != TURBO_EAGAIN)
            turbo__conn_kill(conn);
    }
}

/* -- writing and closing -- */

/* Send of the file that comes first, within what is left for this turn. @return as turbo__stream_send_file(); also
 * TURBO_EAGAIN when nothing is left: then the connection is served again in the next turn. */
static ssize_t send_file(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    if (group->file_left == 0) {
        turbo__conn_touch(conn);
        return TURBO_EAGAIN;
    }
    turbo__outfile *file = turbo__outq_first_file(&conn->out, &group->outpool);
    size_t len = file->seg.len < group->file_left ? file->seg.len : group->file_left;
    ssize_t n = turbo__stream_send_file(&conn->stream, file->fd, file->offset, len);
    if (n > 0) {
        group->file_left -= (size_t)n;
        turbo__outq_file_sent(&conn->out, &group->outpool, (size_t)n);
    }
    return n;
}

/* @return TURBO_ECLOSED when the client has gone. */
static int send_out(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    struct iovec iov[IOV_MAX_];
    while (conn->out.bytes > 0 && !conn->stream.blocked) {
        int count = turbo__outq_iov(&conn->out, iov, IOV_MAX_);
        int more = conn->out.tail->data == NULL; /* it ends in a file, of which bytes follow at once */
        ssize_t n = count > 0 ? turbo__stream_write(&conn->stream, iov, count, more) : send_file(conn);
        if (n == TURBO_ENOMEM) /* with nothing under way, no room would ever be reported */
            turbo__stream_again(&conn->stream, &group->streams);
        if (n == TURBO_EAGAIN || n == TURBO_ENOMEM)
            return 0;
        if (n < 0)
            return TURBO_ECLOSED;
        conn->mark_ms = turbo__conn_now_ms(conn);
        turbo__count(&group->bytes_out, (uint64_t)n);
        if (count > 0)
            turbo__outq_sent(&conn->out, &group->outpool, (size_t)n);
    }
    return 0;
}

/* The cap has hysteresis: half of what was owed, and of the unsent bytes, has to leave first. */
static int may_resume(const turbo__conn *conn) {
    const turbo__settings *s = conn->group->settings;
    if (conn->dead || !conn->paused || conn->held || conn->full || conn->finishing)
        return 0;
    /* Within a message its reader has made room; it must not depend on the client's reading, who may send first. */
    return conn->phase == TURBO__PHASE_BODY ||
           (conn->owed <= s->pipeline_max / 2 && conn->out.bytes <= s->unsent_max_bytes / 2);
}

static void resume(turbo__conn *conn) {
    conn->paused = 0;
    parse_tail(conn);
    read_some(conn);
}

/* Everything was sent. A close() with unread bytes in the socket would send a reset that can destroy the answer on
 * its way (RFC 9112 9.6), so unless the client is known to be done we end our side and read until its end comes. */
static void close_down(turbo__conn *conn) {
    if (conn->fin || (conn->polite && !conn->discarded && !conn->stream.readable)) {
        turbo__conn_kill(conn);
        return;
    }
    if (conn->shut)
        return;
    conn->shut = 1;
    conn->head_ms = conn->mark_ms = turbo__conn_now_ms(conn);
    turbo__stream_shutdown(&conn->stream);
    read_some(conn);
}

static void end_if_idle_for_long(turbo__conn *conn) {
    uint64_t at_ms = turbo__conn_idle_deadline(conn);
    if (turbo__conn_waits_for(conn) != TURBO__WAIT_IDLE || conn->tail != NULL || conn->stream.readable || at_ms == 0 ||
        turbo__conn_now_ms(conn) < at_ms)
        return;
    if (!conn->group->draining)
        turbo__count(&conn->group->timeouts_idle, 1);
    conn->phase = TURBO__PHASE_IDLE; /* of a body that was read away */
    give_parser(conn);
    turbo__conn_finish(conn, 0);
}

/* Do whatever the connection's state allows now. */
static void serve(turbo__conn *conn) {
    conn->group->file_left = FILE_BYTES_A_TURN;
    read_some(conn);
    while (!conn->dead) {
        if (send_out(conn) < 0) {
            turbo__conn_kill(conn);
            return;
        }
        size_t before = conn->out.bytes;
        if (turbo__conn_has_room(conn))
            conn->group->events->room(conn);
        if (may_resume(conn))
            resume(conn);
        if (conn->dead || conn->out.bytes <= before || conn->stream.blocked)
            break;
    }
    if (conn->dead)
        return;
    if (conn->group->draining)
        end_if_idle_for_long(conn);
    if (conn->finishing && conn->owed == 0 && conn->out.bytes == 0)
        close_down(conn);
    if (!conn->dead)
        turbo__conn_set_deadline(conn);
}

static void on_stream(turbo__stream *stream, uint32_t what) {
    turbo__conn *conn = TURBO__CONTAINER(stream, turbo__conn, stream);
    if (stream->hup && !(what & TURBO__READY_READ)) {
        turbo__conn_kill(conn);
        return;
    }
    read_some(conn);
    /* A hang-up while reading is stopped ends the connection: nothing that is owed can arrive any more. So does the
     * client's end where that is to cancel. */
    int gone = stream->hup || (stream->fin && conn->group->settings->on_fin == TURBO__ON_FIN_CANCEL);
    if (!conn->dead && gone && !may_read(conn))
        turbo__conn_kill(conn);
    else if (!conn->dead && stream->fin && !may_read(conn))
        tell_fin(conn);
    if (!conn->dead)
        turbo__conn_touch(conn);
}

static void on_deadline(turbo__deadline *deadline, void *user) {
    turbo__conn *conn = TURBO__CONTAINER(deadline, turbo__conn, deadline);
    turbo__conn_group *group = user;
    uint8_t phase = conn->phase;
    int asks_head;
    switch (conn->waiting) {
    case TURBO__WAIT_HEAD:
    case TURBO__WAIT_BODY:
        turbo__count(phase == TURBO__PHASE_HEAD ? &group->timeouts_head : &group->timeouts_body, 1);
        conn->phase = TURBO__PHASE_IDLE;
        conn->discarded = 1;
        asks_head = conn->parser != NULL && turbo__h1_asks_head(conn->parser);
        give_parser(conn);
        turbo__conn_finish(conn, 0);
        group->events->error(conn, 408, phase == TURBO__PHASE_HEAD ? "the head took too long" : "the body took too long",
                             asks_head);
        turbo__conn_touch(conn);
        break;
    case TURBO__WAIT_IDLE: /* a request may have come while the loop was busy: look for its bytes once more */
        conn->stream.readable = 1;
        read_some(conn);
        if (!conn->dead)
            end_if_idle_for_long(conn);
        turbo__conn_touch(conn);
        break;
    case TURBO__WAIT_SEND:
        turbo__count(&group->timeouts_body, 1);
        turbo__conn_kill(conn);
        break;
    case TURBO__WAIT_FIN:
        turbo__conn_kill(conn);
        break;
    default:
        break;
    }
}

/* -- what the layer above calls -- */

int turbo__conn_open(turbo__conn *conn, turbo__conn_group *group, int fd) {
    int rc = turbo__stream_open(&conn->stream, &group->streams, fd);
    if (rc < 0)
        return rc;
    conn->group = group;
    conn->stream.readable = group->draining; /* passed on by a loop that drained: look before it counts as idle */
    turbo__deadline_init(&conn->deadline);
    turbo__list_push_back(&group->conns, &conn->link);
    turbo__count(&group->connections, 1);
    conn->mark_ms = turbo__conn_now_ms(conn);
    conn->waiting = TURBO__WAIT_IDLE;
    turbo__conn_touch(conn);
    return 0;
}

void turbo__conn_touch(turbo__conn *conn) {
    if (conn->touched || conn->dead)
        return;
    conn->touched = 1;
    conn->touched_next = conn->group->touched;
    conn->group->touched = conn;
}

void turbo__conn_finish(turbo__conn *conn, int polite) {
    if (!conn->finishing)
        conn->polite = polite != 0;
    conn->finishing = 1;
    conn->paused = 0;
    if (conn->tail != NULL) {
        conn->discarded = 1;
        drop_tail(conn);
    }
}

void turbo__conn_kill(turbo__conn *conn) {
    turbo__conn_group *group = conn->group;
    if (conn->dead)
        return;
    conn->dead = 1;
    group->events->gone(conn);
    turbo__outq_clear(&conn->out, &group->outpool);
    turbo__deadline_clear(&group->wheel, &conn->deadline);
    turbo__stream_close(&conn->stream, &group->streams);
    turbo__list_remove(&conn->link);
    turbo__count(&group->connections, (uint64_t)-1);
    if (!conn->touched) { /* a touched one is found dead when its turn comes */
        conn->touched_next = group->dead;
        group->dead = conn;
    }
}

/* -- the group -- */

static void free_dead(turbo__conn_group *group) {
    while (group->dead != NULL) {
        turbo__conn *conn = group->dead;
        group->dead = conn->touched_next;
        give_parser(conn);
        drop_tail(conn);
        turbo__free(conn);
    }
}

static void on_wheel_timer(uv_timer_t *timer) {
    turbo__conn_group *group = timer->data;
    group->wheel_armed_ms = 0;
    turbo__wheel_advance(&group->wheel, uv_now(timer->loop), on_deadline, group);
}

static void arm_wheel(turbo__conn_group *group) {
    uint64_t next = turbo__wheel_next_ms(&group->wheel), now = uv_now(group->wheel_timer.loop);
    if (group->wheel_armed_ms != 0 && turbo__list_empty(&group->conns)) { /* or it would wake an idle loop */
        group->wheel_armed_ms = 0;
        uv_timer_stop(&group->wheel_timer);
    }
    /* Armed too early does no harm, and nearly every deadline moves later. */
    if (next == 0 || (group->wheel_armed_ms != 0 && group->wheel_armed_ms <= next))
        return;
    group->wheel_armed_ms = next;
    uv_timer_start(&group->wheel_timer, on_wheel_timer, next > now ? next - now : 0, 0);
}

int turbo__conn_group_turn(turbo__conn_group *group) {
    turbo__conn *list = group->touched;
    group->touched = NULL;
    if (group->wheel.count == 0) /* nobody has advanced it meanwhile */
        group->wheel.now_ms = uv_now(group->wheel_timer.loop);
    while (list != NULL) {
        turbo__conn *conn = list;
        list = conn->touched_next;
        if (conn->dead) {
            conn->touched_next = group->dead;
            group->dead = conn;
            continue;
        }
        conn->touched = 0;
        serve(conn);
        if (may_read(conn))
            turbo__conn_touch(conn); /* it has had its share of this turn */
    }
    free_dead(group);
    arm_wheel(group);
    return group->touched != NULL;
}

void turbo__conn_group_drain(turbo__conn_group *group) {
    group->draining = 1;
    group->drain_ms = uv_now(group->wheel_timer.loop);
    for (turbo__list *link = group->conns.next; link != &group->conns; link = link->next) {
        turbo__conn *conn = TURBO__CONTAINER(link, turbo__conn, link);
        /* A request that was sent before the drain counts as taken: look for its bytes once more. */
        conn->stream.readable = 1;
        turbo__conn_touch(conn);
    }
}

void turbo__conn_group_kill(turbo__conn_group *group) {
    while (!turbo__list_empty(&group->conns))
        turbo__conn_kill(TURBO__CONTAINER(group->conns.next, turbo__conn, link));
}

int turbo__conn_group_open(turbo__conn_group *group, uv_loop_t *loop, const turbo__conn_events *events,
                           const turbo__settings *settings) {
    group->events = events;
    group->settings = settings;
    turbo__list_init(&group->conns);
    turbo__wheel_init(&group->wheel, uv_now(loop));
    if ((group->read_buf = turbo__malloc(READ_BYTES)) == NULL ||
        (group->parsers = turbo__calloc(PARSERS_MAX, sizeof(turbo__h1_parser *))) == NULL)
        return TURBO_ENOMEM;
    int rc = turbo__stream_set_open(&group->streams, loop, on_stream);
    if (rc < 0)
        return rc;
    uv_timer_init(loop, &group->wheel_timer);
    group->wheel_timer.data = group;
    group->open = 1;
    return 0;
}

void turbo__conn_group_close(turbo__conn_group *group) {
    turbo__stream_set_close(&group->streams);
    if (group->open)
        uv_close((uv_handle_t *)&group->wheel_timer, NULL);
    group->open = 0;
}

void turbo__conn_group_free(turbo__conn_group *group) {
    free_dead(group);
    while (group->parser_count > 0)
        turbo__h1_parser_free(group->parsers[--group->parser_count]);
    turbo__free(group->parsers);
    turbo__free(group->read_buf);
    turbo__outpool_free(&group->outpool);
    group->parsers = NULL;
    group->read_buf = NULL;
}
