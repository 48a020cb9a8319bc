/* error.c - one table: code -> name -> sentence. */
#include "turbo/error.h"

#define ERRORS(X)                                                                                                      \
    X(TURBO_EINVAL, "an argument is out of range or malformed")                                                        \
    X(TURBO_ENOMEM, "memory could not be allocated")                                                                   \
    X(TURBO_ESTATE, "not allowed in this state")                                                                       \
    X(TURBO_EAGAIN, "full for now, try again later")                                                                   \
    X(TURBO_ECLOSED, "the peer, shard or server is gone")                                                              \
    X(TURBO_EEXIST, "a route or a name is already taken")                                                              \
    X(TURBO_ENOENT, "there is no such setting, field or item")                                                         \
    X(TURBO_EADDRINUSE, "the address is in use")                                                                       \
    X(TURBO_EADDR, "the address cannot be parsed, resolved or bound here")                                             \
    X(TURBO_EACCES, "permission denied by the system")                                                                 \
    X(TURBO_EMFILE, "the process or the system is out of file descriptors")                                            \
    X(TURBO_ESYS, "a system call failed")                                                                              \
    X(TURBO_ETOOBIG, "larger than a limit allows")                                                                     \
    X(TURBO_ETOONEW, "the caller was built for a newer library than the one that runs")                                \
    X(TURBO_ENOTSUP, "this build or this configuration cannot do it")                                                  \
    X(TURBO_EUSER, "a callback failed")

const char *turbo_strerror(int code) {
    switch (code) {
    case 0:
        return "success";
#define SENTENCE(name, sentence)                                                                                       \
    case name:                                                                                                         \
        return sentence;
        ERRORS(SENTENCE)
#undef SENTENCE
    default:
        return "unknown error";
    }
}

const char *turbo_errname(int code) {
    switch (code) {
    case 0:
        return "0";
#define NAME(name, sentence)                                                                                           \
    case name:                                                                                                         \
        return #name;
        ERRORS(NAME)
#undef NAME
    default:
        return "TURBO_EUNKNOWN";
    }
}
