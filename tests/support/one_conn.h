/* one_conn.h - one connection over a socket pair, below a layer that notes what it is told. */
#ifndef SUPPORT_ONE_CONN_H
#define SUPPORT_ONE_CONN_H

#include <sys/types.h>

#include "conn.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

extern struct one_conn {
    /* What the layer above saw. */
    struct {
        unsigned begins, heads, trailers, ends, truncated, fins, rooms, gones;
        int status, asks_head; /* of error */
        uint64_t announced;    /* by chunks */
        char body[64];         /* its beginning      */
        size_t body_len;
        int stop_at_end; /* what end returns */
        int kill_at_end; /* as an answer does that finds no memory */
        int kill_at_room;
    } seen;
    uv_loop_t loop;
    turbo__settings settings; /* the defaults, unless they were set before the connection is opened */
    turbo__conn_group group;
    turbo__conn *conn; /* NULL once gone */
    int peer;          /* the client's end */
} one;

extern const turbo__conn_events one_conn_events;

void one_conn_open(void);

/** Close what is open. It was told exactly once that it has gone, and nothing leaks. */
void one_conn_close(void);

/** One turn of the loop. @return 1 when there is more to do at once. */
int one_conn_turn(void);

/** Turns until nothing is left to do. */
void one_conn_settle(void);

/** From the client. */
void one_conn_send(const char *text);

/** To the client, from nobody. */
void one_conn_give(const char *text);

/** An answer to the first message owed. */
void one_conn_answer(const char *text);

/** Read at the client's end. @return how many bytes there were; -1 nothing yet; 0 the end. */
ssize_t one_conn_got(char *out, size_t size);

void one_conn_expect_got(const char *text);

void one_conn_expect_closed(void);

/** Bytes lie in the socket when the time of an idle connection is over: the loop was busy, and has not seen them.
 *  @param idle_ms that time, long enough for the client to begin before it is over. */
void one_conn_expect_read_once_more(uint64_t idle_ms);

#endif
