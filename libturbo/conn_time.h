/* conn_time.h - what a connection waits for, and until when. */
#ifndef TURBO_CONN_TIME_H
#define TURBO_CONN_TIME_H

#include "conn.h"

/* What conn->waiting says the deadline is for. */
enum {
    TURBO__WAIT_NOTHING = 0,
    TURBO__WAIT_IDLE, /* for a request                                            */
    TURBO__WAIT_HEAD, /* for the rest of a head                                   */
    TURBO__WAIT_BODY, /* for more of a body                                       */
    TURBO__WAIT_SEND, /* for the client to take what it is sent                   */
    TURBO__WAIT_FIN   /* for the client's end, behind ours                        */
};

static inline uint64_t turbo__conn_now_ms(const turbo__conn *conn) { return uv_now(conn->group->wheel_timer.loop); }

/** What the connection waits for in its present state: TURBO__WAIT_*. */
unsigned turbo__conn_waits_for(const turbo__conn *conn);

/** When a connection without a request ends, in the loop's time; 0: never. A drain gives it drain_idle_ms from its begin, or
 *  from the connection's last answer, which may not have said that it is the last. */
uint64_t turbo__conn_idle_deadline(const turbo__conn *conn);

/** Set the deadline for what the connection waits for now. */
void turbo__conn_set_deadline(turbo__conn *conn);

/** Bytes have come: what waits for them waits anew, but for a head, which has its time in all. */
void turbo__conn_bytes_came(turbo__conn *conn);

#endif
