/* hash.h - a hash of bytes whose every bit depends on all of them, so that hash modulo shards is even. */
#ifndef TURBO_HASH_H
#define TURBO_HASH_H

#include <stddef.h>
#include <stdint.h>

#define TURBO__HASH_FIRST 14695981039346656037u

/** FNV-1a over some bytes, on top of what was hashed before. */
static inline uint64_t turbo__hash_add(uint64_t hash, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)data[i]) * 1099511628211u;
    return hash;
}

/** FNV-1a alone leaves texts that differ in their last byte close together; this is the finish of MurmurHash3. */
static inline uint32_t turbo__hash_end(uint64_t hash) {
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return (uint32_t)(hash >> 32);
}

#endif
