/* hello.c - the smallest server: cc hello.c $(pkg-config --cflags --libs turbo) && ./a.out */
#include <stdio.h>
#include <turbo.h>

static int hello(turbo_request *req, void *user) {
    (void)user;
    return turbo_request_reply(req, 200, "text/plain", "Hello, world\n", 13);
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:8000";
    turbo_server *server = NULL;
    int rc = turbo_server_new(&server, NULL);
    if (rc == 0)
        rc = turbo_server_route(server, "GET", "/", NULL, hello, NULL);
    if (rc == 0)
        rc = turbo_server_listen(server, address);
    if (rc == 0)
        rc = turbo_server_run(server); /* until SIGINT or SIGTERM */
    if (rc < 0)
        fprintf(stderr, "hello: %s: %s\n", address, turbo_strerror(rc));
    turbo_server_release(server);
    return rc < 0;
}
