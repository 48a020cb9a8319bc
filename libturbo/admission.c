/* admission.c - who may connect: so many in all, and so many from one address. */
#include "admission.h"

#include <string.h>

#include "clock.h"
#include "hash.h"
#include "mem.h"
#include "turbo/error.h"

#define KEY_BYTES 9 /* the family, and 8 bytes of an address */

struct turbo__visitor {
    turbo__visitor *next;
    uint64_t connections;
    char key[KEY_BYTES];
};

/* IPv4 clients of a socket for both families look like ::ffff:a.b.c.d, and are counted as what they are.
 * @return 0 when there is nothing to count by. */
static int key_of(char key[KEY_BYTES], const turbo__peer *peer) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    int is_mapped = peer->family == AF_INET6 && memcmp(peer->address, mapped, sizeof mapped) == 0;
    memset(key, 0, KEY_BYTES);
    if (peer->family == AF_INET || is_mapped) {
        key[0] = 4;
        memcpy(key + 1, peer->address + (is_mapped ? sizeof mapped : 0), 4);
        return 1;
    }
    key[0] = 6;
    memcpy(key + 1, peer->address, 8);
    return peer->family == AF_INET6;
}

static uint32_t chain_of(const turbo__admission *admission, const char *key) {
    return turbo__hash_end(turbo__hash_add(admission->seed, key, KEY_BYTES)) % TURBO__ADMISSION_CHAINS;
}

/* @return where the visitor, or the end of its chain, hangs. */
static turbo__visitor **find(turbo__admission *admission, uint32_t chain, const char *key) {
    turbo__visitor **link = &admission->chains[chain];
    while (*link != NULL && memcmp((*link)->key, key, KEY_BYTES) != 0)
        link = &(*link)->next;
    return link;
}

int turbo__admission_open(turbo__admission *admission, uint64_t max, uint64_t address_max) {
    *admission = (turbo__admission){.max = max};
    if (address_max == 0)
        return 0;
    admission->chains = turbo__calloc(TURBO__ADMISSION_CHAINS, sizeof(turbo__visitor *));
    admission->locks = turbo__malloc(TURBO__ADMISSION_LOCKS * sizeof *admission->locks);
    if (admission->chains == NULL || admission->locks == NULL) {
        turbo__free(admission->chains);
        turbo__free(admission->locks);
        *admission = (turbo__admission){.max = max};
        return TURBO_ENOMEM;
    }
    for (size_t i = 0; i < TURBO__ADMISSION_LOCKS; i++)
        pthread_mutex_init(&admission->locks[i], NULL);
    admission->seed = TURBO__HASH_FIRST ^ turbo__clock_ns() ^ (uint64_t)(uintptr_t)admission->chains;
    admission->address_max = address_max;
    return 0;
}

void turbo__admission_free(turbo__admission *admission) {
    if (admission->address_max == 0)
        return;
    for (size_t i = 0; i < TURBO__ADMISSION_LOCKS; i++)
        pthread_mutex_destroy(&admission->locks[i]);
    turbo__free(admission->locks);
    turbo__free(admission->chains);
    admission->address_max = 0;
}

int turbo__admission_reserve(turbo__admission *admission) {
    if (admission->max == 0)
        return 0;
    if (atomic_fetch_add_explicit(&admission->inside, 1, memory_order_relaxed) < admission->max)
        return 0;
    atomic_fetch_sub_explicit(&admission->inside, 1, memory_order_relaxed);
    return TURBO_EAGAIN;
}

void turbo__admission_unreserve(turbo__admission *admission) {
    if (admission->max != 0)
        atomic_fetch_sub_explicit(&admission->inside, 1, memory_order_relaxed);
}

static int add(turbo__visitor **link, const char *key, uint64_t most) {
    turbo__visitor *visitor = *link;
    if (visitor == NULL) {
        if ((visitor = turbo__calloc(1, sizeof *visitor)) == NULL)
            return TURBO_ENOMEM;
        memcpy(visitor->key, key, KEY_BYTES);
        *link = visitor;
    }
    if (visitor->connections == most)
        return TURBO_EAGAIN;
    visitor->connections++;
    return 0;
}

int turbo__admission_enter(turbo__admission *admission, const turbo__peer *peer) {
    char key[KEY_BYTES];
    if (admission->address_max == 0 || !key_of(key, peer))
        return 0;
    uint32_t chain = chain_of(admission, key);
    pthread_mutex_t *lock = &admission->locks[chain % TURBO__ADMISSION_LOCKS];
    pthread_mutex_lock(lock);
    int rc = add(find(admission, chain, key), key, admission->address_max);
    pthread_mutex_unlock(lock);
    return rc;
}

void turbo__admission_leave(turbo__admission *admission, const turbo__peer *peer) {
    char key[KEY_BYTES];
    turbo__admission_unreserve(admission);
    if (admission->address_max == 0 || !key_of(key, peer))
        return;
    uint32_t chain = chain_of(admission, key);
    pthread_mutex_t *lock = &admission->locks[chain % TURBO__ADMISSION_LOCKS];
    pthread_mutex_lock(lock);
    turbo__visitor **link = find(admission, chain, key), *visitor = *link;
    if (--visitor->connections == 0) {
        *link = visitor->next;
        turbo__free(visitor);
    }
    pthread_mutex_unlock(lock);
}
