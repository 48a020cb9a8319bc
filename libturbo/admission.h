/* admission.h - who may connect: so many in all (connections_max), and so many from one address. */
#ifndef TURBO_ADMISSION_H
#define TURBO_ADMISSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "request.h"

#define TURBO__ADMISSION_LOCKS 64
#define TURBO__ADMISSION_CHAINS 4096

/* An address that has connections now. */
typedef struct turbo__visitor turbo__visitor;

/*
 * One a server: its I/O loops pass connections on. Every address is in one chain, and a chain under one of the locks, so that
 * loops seldom meet. There are at most as many visitors as connections. All-zero: no limits.
 */
typedef struct turbo__admission {
    uint64_t max, address_max; /* 0: no limit                     */
    uint64_t seed;             /* chains cannot be guessed        */
    _Atomic uint64_t inside;   /* counted only with max           */
    turbo__visitor **chains;   /* NULL without address_max        */
    pthread_mutex_t *locks;
} turbo__admission;

/** @return 0; TURBO_ENOMEM. Thread: setup. */
int turbo__admission_open(turbo__admission *admission, uint64_t max, uint64_t address_max);
/** All have left. An all-zero one is allowed. */
void turbo__admission_free(turbo__admission *admission);

/** A place for a connection that will be accepted. @return 0; TURBO_EAGAIN: there is none. Thread: any. */
int turbo__admission_reserve(turbo__admission *admission);
/** It was not accepted after all. Thread: any. */
void turbo__admission_unreserve(turbo__admission *admission);

/** A connection, whose place is reserved, comes from an address: IPv4, or the /64 of IPv6, which is what one client has.
 *  Unix sockets have none, and no limit. @return 0; TURBO_EAGAIN: it has its share; TURBO_ENOMEM. Thread: any. */
int turbo__admission_enter(turbo__admission *admission, const turbo__peer *peer);
/** The connection has ended; its place is free, too. Thread: any. */
void turbo__admission_leave(turbo__admission *admission, const turbo__peer *peer);

/** Whether there is no place now. Thread: any. */
static inline int turbo__admission_is_full(const turbo__admission *admission) {
    return admission->max != 0 && atomic_load_explicit(&admission->inside, memory_order_relaxed) >= admission->max;
}

#endif
