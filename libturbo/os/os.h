/* os.h - what differs between systems; one .c file a system implements all of it. */
#ifndef TURBO_OS_H
#define TURBO_OS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** CPUs that this process may use. @return at least 1. Thread: any. */
uint64_t turbo__os_cpu_count(void);

/** Name the calling thread, for debuggers and top; at most 15 bytes count. */
void turbo__os_thread_name(const char *name);

/** A wake-up descriptor: readable after signal until clear. @return 0; TURBO_EMFILE; TURBO_ENOMEM; TURBO_ESYS. */
int turbo__os_event_open(int *out);
void turbo__os_event_close(int fd);
/** Make readable. Thread: any. */
void turbo__os_event_signal(int fd);
/** Make unreadable. @return 1 when it was readable, else 0. */
int turbo__os_event_clear(int fd);

/** Accept one connection, non-blocking and close-on-exec.
 *  @param peer  receives the client's address, family AF_UNSPEC when it has none.
 *  @return the descriptor; TURBO_EAGAIN when none waits; TURBO_EMFILE, TURBO_ENOMEM when the system is out of
 *          something for now; TURBO_ECLOSED when that one connection failed (try the next); TURBO_ESYS. */
struct sockaddr_storage;
int turbo__os_accept(int listen_fd, struct sockaddr_storage *peer);

/*
 * A poll set: many sockets, each reported once when its readiness changes (edge-triggered), at no cost for those that
 * nothing happens to. It is itself a descriptor, readable while it has something to report.
 */
enum {
    TURBO__READY_READ = 1,  /* bytes or the end of the stream                */
    TURBO__READY_WRITE = 2, /* room to write again                           */
    TURBO__READY_FIN = 4,   /* the peer has ended its sending side           */
    TURBO__READY_HUP = 8    /* the connection is gone: reset, or both sides ended */
};

typedef struct turbo__ready {
    void *user;
    uint32_t what; /* TURBO__READY_* */
} turbo__ready;

/** @return 0; TURBO_EMFILE; TURBO_ENOMEM; TURBO_ESYS. */
int turbo__os_pollset_open(int *out);
void turbo__os_pollset_close(int set);
/** Watch a socket for everything, until it is removed. @return as open. */
int turbo__os_pollset_add(int set, int fd, void *user);
/** Report again what is ready now, as if it had just become so. */
void turbo__os_pollset_again(int set, int fd, void *user);
/** Must come before close(fd): a copy of fd in a forked child would keep it in the set. */
void turbo__os_pollset_remove(int set, int fd);
/** What became ready, without blocking. @return how many of max places were filled. */
int turbo__os_pollset_take(int set, turbo__ready *out, int max);

/** Send bytes of a file to a non-blocking socket, without a copy in this process; raises no SIGPIPE. A file that is not
 *  in the system's cache blocks. What is sent are the cache's pages: a change of the file may still show in them.
 *  @return bytes sent, fewer than len when the socket is full; 0 when the file has none there; TURBO_EAGAIN when the
 *          socket takes nothing now; TURBO_ENOMEM when the kernel has no memory for it; TURBO_ECLOSED when the peer has gone; TURBO_ESYS when the file cannot be read. */
ssize_t turbo__os_sendfile(int sock, int fd, uint64_t offset, size_t len);

/** Open a file to read it, close-on-exec; a FIFO or a device does not block.
 *  @return 0; TURBO_ENOENT: nothing is there, or nothing that can be a file; TURBO_EACCES; TURBO_EMFILE; TURBO_ENOMEM;
 *          TURBO_ESYS. Blocks for the disk. */
int turbo__os_file_open(int *out, const char *path);

/** Open a directory as a root for the next. @return as turbo__os_file_open(); errno says more. */
int turbo__os_root_open(int *out, const char *path);

/** Open a file below a root, never outside it: whatever links and ".." the path goes over.
 *  Where the system has no call for it, every component is opened by itself and no symbolic link is followed.
 *  @param path  relative, ended by NUL, without empty and "." components. @return as turbo__os_file_open(). */
int turbo__os_file_open_beneath(int *out, int root, const char *path);

/** For tests: use what is there for systems without the call. */
void turbo__os_beneath_by_steps(int on);

/** Bytes that nobody can foresee. @return 0; TURBO_ESYS. */
int turbo__os_random(void *out, size_t len);

/** Our code for an errno value. */
int turbo__os_error(int err);

#endif
