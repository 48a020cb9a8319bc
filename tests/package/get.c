/* Serves one request to itself with the installed library. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <turbo.h>
#include <unistd.h>

static int hello(turbo_request *req, void *user) { return turbo_request_reply(req, 200, "text/plain", user, 5); }

int main(void) {
    turbo_server *server;
    char out[512] = "";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t len = 0;
    ssize_t n;
    if (turbo_server_new(&server, NULL) < 0 || turbo_server_route(server, "GET", "/", NULL, hello, "hello") < 0 ||
        turbo_server_listen(server, "127.0.0.1:0") < 0 || turbo_server_start(server) < 0)
        return 1;
    to.sin_port = htons(turbo_server_port(server));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 || write(fd, "GET / HTTP/1.0\r\n\r\n", 18) != 18)
        return 2;
    while (len < sizeof out - 1 && (n = read(fd, out + len, sizeof out - 1 - len)) > 0)
        len += (size_t)n;
    turbo_server_stop(server, NULL, NULL);
    turbo_server_wait(server);
    turbo_server_release(server);
    return strstr(out, "\r\n\r\nhello") == NULL || turbo_version() != TURBO_VERSION_NUMBER ? 3 : 0;
}
