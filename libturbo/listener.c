/* listener.c - bind and listen. */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop.h"
#include "mem.h"
#include "os/os.h"
#include "settings.h"
#include "turbo/error.h"

#define PROBES 3 /* that are not answered, and the connection is reset */

/* What an address text says. */
typedef struct parsed {
    char host[256]; /* "": every interface */
    char port[6];
} parsed;

__attribute__((format(printf, 4, 5))) static int fail(int rc, char *err, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err, size, format, args);
    va_end(args);
    return rc;
}

/* @param system_error  0: rc says all that is known. */
static int fail_to_listen(int rc, int system_error, const char *address, char *err, size_t size) {
    char cause[128];
    return fail(rc, err, size, "cannot listen on %.150s: %s", address,
                turbo__loop_cause(cause, sizeof cause, system_error, rc));
}

/* @return what is wrong with the text behind the last colon. */
static const char *wrong_with_port(const char *port) {
    int number = *port != '\0' && port[strspn(port, "0123456789")] == '\0';
    return number ? "the port is out of range 0..65535" : "no address: expected host:port or unix:/path";
}

static int parse_address(parsed *out, const char *address, char *err, size_t size) {
    const char *colon = strrchr(address, ':'), *host = address;
    uint64_t port;
    if (colon == NULL || turbo__parse_u64(colon + 1, &port) < 0 || port > 65535)
        return fail(TURBO_EADDR, err, size, "\"%.150s\": %s", address, wrong_with_port(colon == NULL ? "" : colon + 1));
    size_t len = (size_t)(colon - host);
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return fail(TURBO_EADDR, err, size, "\"%.150s\": an IPv6 address stands in brackets: [::1]:8000", address);
    }
    if (len >= sizeof out->host)
        return fail(TURBO_EADDR, err, size, "\"%.150s\": host name too long", address);
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    snprintf(out->port, sizeof out->port, "%u", (unsigned)port);
    return 0;
}

static int add(turbo__listener **list, int fd, const char *path) {
    turbo__listener *listener = turbo__calloc(1, sizeof *listener);
    if (listener == NULL)
        return TURBO_ENOMEM;
    if (path != NULL && (listener->path = turbo__strndup(path, strlen(path))) == NULL) {
        turbo__free(listener);
        return TURBO_ENOMEM;
    }
    listener->fd = fd;
    while (*list != NULL)
        list = &(*list)->next;
    *list = listener;
    return 0;
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

static void set_on(int fd, int level, int option, int value) { (void)setsockopt(fd, level, option, &value, sizeof value); }

/* @return the listening socket, or -1 with errno. TCP_NODELAY is inherited by accepted sockets. */
static int bind_tcp(const struct addrinfo *info, int backlog, int share, int dual) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (share)
        set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (info->ai_family == AF_INET6)
        set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual);
    set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void set_port(struct addrinfo *info, uint16_t port) {
    if (info->ai_family == AF_INET)
        ((struct sockaddr_in *)(void *)info->ai_addr)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)info->ai_addr)->sin6_port = htons(port);
}

/* Sockets that share a port would also share it with a second server by mistake. So the port is first taken alone:
 * that tells whether somebody else has it, and which one it is when any would do. @param system_error  receives why not. */
static int listen_tcp(turbo__listener **out, struct addrinfo *info, int backlog, size_t spread, int dual,
                      int *system_error) {
    int fd = bind_tcp(info, backlog, 0, dual);
    *system_error = fd < 0 ? errno : 0;
    if (fd < 0)
        return turbo__os_error(*system_error);
    uint16_t port = port_of(fd);
    set_port(info, port);
    if (spread > 1) {
        close(fd);
        fd = -1;
    }
    for (size_t i = 0; i < spread; i++) {
        turbo__listener *one = NULL;
        if (fd < 0 && (fd = bind_tcp(info, backlog, 1, dual)) < 0) {
            *system_error = errno;
            return turbo__os_error(*system_error);
        }
        int rc = add(&one, fd, NULL);
        if (rc < 0) {
            close(fd);
            return rc;
        }
        one->port = port;
        one->group = spread > 1;
        one->next = *out;
        *out = one;
        fd = -1;
    }
    return 0;
}

static int listen_host(turbo__listener **out, const char *address, int backlog, size_t spread, char *err,
                       size_t size) {
    parsed where;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int rc = parse_address(&where, address, err, size);
    if (rc < 0)
        return rc;
    int any = where.host[0] == '\0', system_error = 0;
    int no = getaddrinfo(any ? "::" : where.host, where.port, &hints, &found);
    if (no == 0 && any) { /* one socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6 */
        rc = listen_tcp(out, found, backlog, spread, 1, &system_error);
        freeaddrinfo(found);
        if (rc != TURBO_EADDR)
            return rc < 0 ? fail_to_listen(rc, system_error, address, err, size) : 0;
        no = getaddrinfo("0.0.0.0", where.port, &hints, &found);
    }
    if (no != 0)
        return fail(TURBO_EADDR, err, size, "cannot resolve \"%.150s\": %s", where.host, gai_strerror(no));
    int last = TURBO_EADDR;
    size_t bound = 0;
    uint16_t port = 0;
    for (struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        if (port != 0)
            set_port(info, port); /* port 0: every address gets the same free one */
        last = listen_tcp(out, info, backlog, spread, 0, &system_error);
        if (last == 0) {
            bound++;
            port = (*out)->port;
        } else if (last != TURBO_EADDR) {
            break; /* in use, not permitted: not an address that merely does not exist here */
        }
    }
    freeaddrinfo(found);
    if (bound > 0 && (last == 0 || last == TURBO_EADDR))
        return 0;
    return fail_to_listen(last, system_error, address, err, size);
}

/* A socket file that nobody accepts on any more may be replaced. */
static int is_stale(const struct sockaddr_un *address) {
    struct stat info;
    if (lstat(address->sun_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    int stale = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* @return the listening socket, or -1 with errno. */
static int bind_unix(const struct sockaddr_un *address, int backlog) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address), saved = errno;
    if (rc != 0 && saved == EADDRINUSE && is_stale(address)) {
        unlink(address->sun_path);
        rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
        saved = errno;
    }
    if (rc == 0 && listen(fd, backlog) == 0)
        return fd;
    if (rc == 0)
        saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* @param where  "unix:", and the path. */
static int listen_unix(turbo__listener **out, const char *where, int backlog, char *err, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = where + 5;
    if (path[0] == '\0' || strlen(path) >= sizeof address.sun_path)
        return fail(TURBO_EADDR, err, size, "\"%.150s\": a path of 1 to %zu bytes is expected", where,
                    sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    int fd = bind_unix(&address, backlog);
    if (fd < 0) {
        int system_error = errno;
        return fail_to_listen(turbo__os_error(system_error), system_error, where, err, size);
    }
    int rc = add(out, fd, path);
    if (rc < 0) {
        close(fd);
        unlink(path);
    }
    return rc;
}

int turbo__listener_open(turbo__listener **out, const char *address, int backlog, size_t spread, char *err,
                         size_t size) {
    turbo__listener *list = NULL;
    int rc = strncmp(address, "unix:", 5) == 0 ? listen_unix(&list, address, backlog, err, size)
                                               : listen_host(&list, address, backlog, spread, err, size);
    if (rc < 0) {
        turbo__listener_free(list);
        return rc;
    }
    *out = list;
    return 0;
}

int turbo__listener_adopt(turbo__listener **out, int fd) {
    int listening = 0, type = 0;
    socklen_t len = sizeof listening, type_len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 || type != SOCK_STREAM)
        return TURBO_EINVAL;
    turbo__listener *list = NULL;
    int rc = add(&list, fd, NULL);
    if (rc < 0)
        return rc;
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    list->port = port_of(fd);
    if (list->port != 0)
        set_on(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    *out = list;
    return 0;
}

/* Accepted sockets inherit it, so a connection costs no call more. */
void turbo__listener_probe(const turbo__listener *list, int seconds) {
    for (; list != NULL && seconds > 0; list = list->next) {
        if (list->port == 0)
            continue;
        set_on(list->fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
        set_on(list->fd, IPPROTO_TCP, TCP_KEEPINTVL, (seconds + PROBES - 1) / PROBES);
        set_on(list->fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
        set_on(list->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
}

void turbo__listener_free(turbo__listener *list) {
    while (list != NULL) {
        turbo__listener *next = list->next;
        if (list->fd >= 0)
            close(list->fd);
        if (list->path != NULL)
            unlink(list->path);
        turbo__free(list->path);
        turbo__free(list);
        list = next;
    }
}
