/* listener.h - bind, listen, accept. */
#ifndef TURBO_LISTENER_H
#define TURBO_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

/* A listening socket; several I/O loops may watch it. */
typedef struct turbo__listener {
    struct turbo__listener *next;
    int fd;
    uint16_t port;   /* 0: not TCP                              */
    uint8_t group;   /* one of several that share a port        */
    char *path;      /* of a Unix socket that we made; else NULL */
} turbo__listener;

/**
 * Bind and listen by turbo_server_listen()'s rules.
 *
 * @param out      receives one listener an address; with spread > 1, that many for each TCP address, which share its
 *                 port (SO_REUSEPORT), so that every loop has one of its own.
 * @param err      receives a sentence on error.
 * @return 0; TURBO_EADDR; TURBO_EADDRINUSE; TURBO_EACCES; TURBO_EMFILE; TURBO_ENOMEM; TURBO_ESYS.
 */
int turbo__listener_open(turbo__listener **out, const char *address, int backlog, size_t spread, char *err,
                         size_t size);

/** Adopt a listening socket. @return 0; TURBO_EINVAL when it is none; TURBO_ENOMEM. */
int turbo__listener_adopt(turbo__listener **out, int fd);

/** Have connections probed by the system once they are silent for so many seconds (TCP keep-alive, RFC 9293 3.8.4), and reset
 *  when nobody is there for as long again. 0: as the system does. */
void turbo__listener_probe(const turbo__listener *list, int seconds);

/** Close, remove a Unix socket's file, free. NULL is allowed. */
void turbo__listener_free(turbo__listener *list);

#endif
