/* conn.h - one connection: read -> parse -> report up -> write -> close. */
#ifndef TURBO_CONN_H
#define TURBO_CONN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "http1_parse.h"
#include "list.h"
#include "outq.h"
#include "settings.h"
#include "stream.h"
#include "timer.h"

typedef struct turbo__conn turbo__conn;

/*
 * What a connection reports to the layer above, on its loop. None of them may free the connection; it goes by itself
 * after `gone`. head, chunk, body, trailer and end return 0, or 1 when nothing behind this point may be parsed any more
 * (the layer above has called turbo__conn_finish()), or, of head and body, not yet (it has set `held` or `full`; not at
 * a message's last byte).
 */
typedef struct turbo__conn_events {
    void (*begin)(turbo__conn *conn);                             /* first byte of a message                */
    int (*head)(turbo__conn *conn, const turbo__h1_head *head);
    int (*chunk)(turbo__conn *conn, uint64_t size);               /* so much body follows                   */
    int (*body)(turbo__conn *conn, const char *data, size_t len);
    int (*trailer)(turbo__conn *conn, turbo_str name, turbo_str value);
    int (*end)(turbo__conn *conn);
    /* The message being read is malformed, or too slow: owe this status for it. The connection is finishing. */
    void (*error)(turbo__conn *conn, int status, const char *reason, int asks_head);
    /* The message being read will never be complete: the client ended its sending side. */
    void (*truncated)(turbo__conn *conn);
    /* The client has ended its sending side, behind all its messages; it may have gone. Told once, when it is noticed. */
    void (*fin)(turbo__conn *conn);
    /* There is room to send, and what could be read was: streamed answers may go on, and what is held may begin. */
    void (*room)(turbo__conn *conn);
    /* Nothing can be sent any more, or everything was: forget the connection. Called once. */
    void (*gone)(turbo__conn *conn);
} turbo__conn_events;

/* What the connections of a loop share. */
typedef struct turbo__conn_group {
    const turbo__conn_events *events;
    const turbo__settings *settings;
    turbo__stream_set streams;
    turbo__wheel wheel;
    uv_timer_t wheel_timer;
    uint64_t wheel_armed_ms;   /* 0: the timer is not armed                      */
    uint64_t drain_ms;         /* when the drain began                           */
    turbo__outpool outpool;
    turbo__h1_parser **parsers; /* not in use, parsers_max places                */
    size_t parser_count;
    char *read_buf;
    size_t file_left;          /* bytes of files that the connection being served may still send in this turn */
    turbo__list conns;         /* all that are open                              */
    turbo__conn *touched;      /* to be served at the end of the turn            */
    turbo__conn *dead;         /* closed, freed at the end of the turn           */
    uint8_t open;
    uint8_t draining;          /* idle connections end, the last answers say so  */
    /* Counters: written by the loop's thread, read by any. */
    _Atomic uint64_t connections, bytes_in, bytes_out, parse_errors, timeouts_head, timeouts_body, timeouts_idle;
} turbo__conn_group;

enum { TURBO__PHASE_IDLE = 0, TURBO__PHASE_HEAD, TURBO__PHASE_BODY };

struct turbo__conn {
    turbo__stream stream;
    turbo__conn_group *group;
    turbo__list link;
    turbo__conn *touched_next;
    turbo__deadline deadline;
    uint64_t mark_ms;         /* when the deadline's time began to run                    */
    uint64_t head_ms;         /* when the head, or the body, being read began, or, behind the last, we ended our side */
    turbo__h1_parser *parser; /* only while a message is in progress                      */
    turbo__outq out;
    char *tail;               /* bytes read but not parsed, while paused                  */
    uint32_t tail_at, tail_len;
    uint32_t owed;            /* messages begun whose answer is not in `out` whole; kept by the layer above */
    /* Bits, as a server may hold very many idle connections; one thread. */
    unsigned phase : 2;       /* TURBO__PHASE_*: what of a message has been read          */
    unsigned waiting : 3;     /* TURBO__WAIT_*: what the deadline is for                  */
    unsigned touched : 1;
    unsigned paused : 1;      /* not read: at the pipeline cap until answers have left, held, or full */
    unsigned finishing : 1;   /* nothing more is parsed; closes when everything was sent  */
    unsigned discarded : 1;   /* bytes behind the last message were thrown away           */
    unsigned polite : 1;      /* the client knows that we close: no need to linger        */
    unsigned fin : 1;         /* the client has ended its sending side                    */
    unsigned fin_told : 1;    /* to the layer above, perhaps before it was read           */
    unsigned shut : 1;        /* we have ended ours and wait for the client's             */
    unsigned dead : 1;
    unsigned feeding : 1;     /* in the parser, and more messages may be in the same bytes */
    /* Kept by the layer above. */
    unsigned unasked : 1;     /* the body is not asked for yet: 100 Continue is due       */
    unsigned held : 1;        /* the last message waits for those before it: not read     */
    unsigned full : 1;        /* its body waits for whoever reads it: not read            */
    unsigned begun : 1;       /* a head is being read: taken, but no request yet          */
};

/** @return 0; TURBO_ENOMEM; TURBO_EMFILE; TURBO_ESYS. Thread: setup. */
int turbo__conn_group_open(turbo__conn_group *group, uv_loop_t *loop, const turbo__conn_events *events,
                           const turbo__settings *settings);

/** Serve every connection that was touched, free the dead ones, set the timer. The last thing of a turn.
 *  @return 1 when a connection has more to read at once. */
int turbo__conn_group_turn(turbo__conn_group *group);

/** No more idle connections: each that is silent for drain_idle_ms is read once more, and closed if nothing came. */
void turbo__conn_group_drain(turbo__conn_group *group);

/** Close every connection at once. */
void turbo__conn_group_kill(turbo__conn_group *group);

/** Close the handles. All connections are gone. Thread: the loop's. */
void turbo__conn_group_close(turbo__conn_group *group);

/** Free memory, after the loop has closed the handles. All-zero is allowed. */
void turbo__conn_group_free(turbo__conn_group *group);

/**
 * Begin a connection.
 * @param conn  the beginning of a zeroed allocation that the layer above made with turbo__malloc(); freed by the group.
 * @param fd    taken on success. @return 0; TURBO_ENOMEM; TURBO_ESYS: conn and fd stay the caller's.
 */
int turbo__conn_open(turbo__conn *conn, turbo__conn_group *group, int fd);

/** Something was put into conn->out, or its state changed: serve it at the end of the turn. */
void turbo__conn_touch(turbo__conn *conn);

/** Parse nothing more; close when everything owed was sent. @param polite the client expects the close. */
void turbo__conn_finish(turbo__conn *conn, int polite);

/** Close now. */
void turbo__conn_kill(turbo__conn *conn);

/** Whether bytes may be added to `out` without passing the setting unsent_max_bytes. */
static inline int turbo__conn_has_room(const turbo__conn *conn) {
    return conn->out.bytes < conn->group->settings->unsent_max_bytes;
}

/** Add to a counter that only this thread writes. */
static inline void turbo__count(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
