/* upload.h - a server with streamed routes in every topology, and what tests of request bodies do with it. */
#ifndef SUPPORT_UPLOAD_H
#define SUPPORT_UPLOAD_H

#include "await.h"
#include "client.h"
#include "rig.h"

#define HEAD(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

typedef struct upload_topology {
    uint32_t flags;
    const char *settings;
} upload_topology;

#define UPLOAD_TOPOLOGIES 4
extern const upload_topology upload_topologies[UPLOAD_TOPOLOGIES];

#define RUN_UNTIL(r, condition) AWAIT((!(r)->driven || rig_poll(r) == 0) && (condition))

/** Register path for every method, with options as "name=value name=value". */
void upload_route(rig *r, const char *path, const char *options, turbo_handler_fn fn, void *user);

/** A server of one of the topologies, with more settings, and the routes: / gathered; /up streamed, up to 1 GiB; /small
 *  streamed, 10 bytes, a window of 4; /window streamed, a window of 100 bytes. Not started. */
void upload_prepare(rig *r, size_t topology, const char *more);

/** The same, started, and a client. */
void upload_start(rig *r, client *c, size_t topology, const char *more);

/** Close both; nothing leaks. */
void upload_end(rig *r, client *c);

turbo_stats upload_stats(const rig *r);

/** Bytes that the server has read from its sockets. */
uint64_t upload_bytes_in(const rig *r);

/** The ith request that the executor was given, when it comes. */
turbo_request *upload_request(rig *r, size_t i);

/** Events that it has got. */
uint32_t upload_events(rig *r, size_t i);

/** Send the answers of a driven shard. */
void upload_flush(rig *r);

/** Answer it with 200 and a text. */
void upload_reply(rig *r, size_t i, const char *text);

/** Read an answer, when it comes. @return its status. */
int upload_answer(rig *r, client *c);

/** Let the server do what it can, whatever that is. */
void upload_settle(rig *r);

/** The next part, or the end, when it comes. @return what turbo_request_body_read() returned. */
int upload_read_part(rig *r, turbo_request *req, turbo_str *out);

/** Read to the end. @return what the last read returned; the text, ended by NUL. */
int upload_read_text(rig *r, turbo_request *req, char *text, size_t size);

/** Send all of it while the server runs. */
void upload_send_all(rig *r, client *c, const char *data, size_t len);

#define EXPECT_READ(r, req, rc, expected)                                \
    do {                                                                 \
        char text_[512];                                                 \
        cr_expect_eq(upload_read_text(r, req, text_, sizeof text_), rc); \
        cr_expect_str_eq(text_, expected);                               \
    } while (0)

#endif
