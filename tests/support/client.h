/* client.h - an HTTP client on a raw socket: sends what a real one would not, reads answers one by one. */
#ifndef SUPPORT_CLIENT_H
#define SUPPORT_CLIENT_H

#include <stddef.h>
#include <stdint.h>

typedef struct client {
    int fd;
    int reset;       /* the connection ended by an error, not by a FIN       */
    char *data;      /* everything that was read and not used, ended by NUL  */
    size_t len, cap;
    char head[8192]; /* of the last answer, status line included             */
    char *body;      /* of the last answer; valid until the next             */
    size_t body_len;
} client;

/** Connect to 127.0.0.1. Fails the test when it cannot, as every function here does on what no test expects. */
void client_open(client *c, uint16_t port);
void client_open_unix(client *c, const char *path);
/** Take a connected socket. */
void client_over(client *c, int fd);

void client_send(client *c, const char *text);
void client_send_bytes(client *c, const void *data, size_t len);
/** Send as much as the socket takes without blocking. @return how much that was. */
size_t client_send_some(client *c, const void *data, size_t len);
/** End the sending side. */
void client_fin(client *c);

/** Read one answer to anything but HEAD; its body by Content-Length or chunked (then decoded).
 *  @return the status; 0 when the connection has ended before it. */
int client_answer(client *c);

/** Send a request and read its answer. @return the status. */
int client_ask(client *c, const char *text);

/** Read to the end of the connection. @return how many bytes are in data. */
size_t client_rest(client *c);

/** Whether the last answer's head has this line. */
int client_has(const client *c, const char *line);

/** Close; with a reset if hard is not 0. */
void client_close(client *c, int hard);

#endif
