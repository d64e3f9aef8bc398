/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools of blocks of whole cache lines, for what is made and given up a million times a second.
 *
 * A block is taken from and given to a cache that belongs to whoever calls (a worker, a claimed lane), without any atomic
 * operation. A cache has two magazines, arrays of pointers, as in Bonwick's slab allocator (USENIX 2001): one to take from, one
 * to give to. Full ones are traded through the pool's depot, under a mutex that is touched once in PEL_POOL_CHAIN blocks. So
 * neither taking nor giving touches the block, and the lines of blocks that are taken soon, which other cores have had last, can
 * be asked for in time. Blocks stay readable until the pool is destroyed, whatever becomes of them: generations in them can be
 * checked at any time. New blocks are zero. Rejected: links through their first words: the next one's address is in a line that
 * has to come from the other core first.
 */
#ifndef PEL_BASE_POOL_H
#define PEL_BASE_POOL_H

#include "base/alloc.h"

#include <stdbool.h>
#include <stdint.h>

enum { PEL_POOL_BLOCK = 64, PEL_POOL_CHAIN = 128, PEL_POOL_LEAD = 8 };

/* Processors fetch the other line of a pair with the one that is missing: where one thread spins on a line, another thread's are
 * in another pair, or they would be taken from it with each look that finds something new. */
enum { PEL_LINE_PAIR = 128 };

static inline void pel_pool_fetch(const void *block) {
    const char *line = block;
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line)); /* to be written; processors too old for it take it for a no-op */
#else
    __builtin_prefetch(line, 1);
#endif
}
/* Of a list of blocks in the order in which they were taken, which mostly follow each other in memory. A node is two of them, so
 * that is the fifth node from here. */
enum { PEL_POOL_AHEAD = 10 * PEL_POOL_BLOCK };
static inline void pel_pool_fetch_ahead(const void *block) { pel_pool_fetch((const char *)block + PEL_POOL_AHEAD); }

typedef struct pel_pool pel_pool;

typedef struct pel_pool_magazine {
    struct pel_pool_magazine *next;                /* in the depot */
    struct pel_pool_magazine *all;
    uint32_t at, count;                            /* blocks in [at, count) */
    void *blocks[PEL_POOL_CHAIN + PEL_POOL_LEAD];  /* behind the last one that again */
} pel_pool_magazine;

/* Owned by one thread at a time; all zero is empty. */
typedef struct pel_pool_cache {
    pel_pool_magazine *ready; /* to be taken from; NULL: none */
    pel_pool_magazine *given;
} pel_pool_cache;

/* bytes: of a block, a multiple of PEL_POOL_BLOCK and a power of two, to which it is aligned. NULL: no memory. */
pel_pool *pel_pool_create(const pel_allocator *allocator, size_t bytes);
void pel_pool_destroy(pel_pool *pool); /* with all blocks */

/* When the cache has nothing ready: a full one, or what it was given. False: no memory. */
bool pel_pool_refill(pel_pool *pool, pel_pool_cache *cache);
/* When there is no room in `given`. */
void pel_pool_give_other(pel_pool *pool, pel_pool_cache *cache, void *block);

/* How many are ready. */
static inline uint32_t pel_pool_ready(const pel_pool_cache *cache) {
    return cache->ready ? cache->ready->count - cache->ready->at : 0;
}

/* The one that is taken next, of those that are ready, and the one that is taken PEL_POOL_LEAD later, or the last. */
static inline void *pel_pool_next(const pel_pool_cache *cache) { return cache->ready->blocks[cache->ready->at]; }
static inline void *pel_pool_later(const pel_pool_cache *cache) {
    return cache->ready->blocks[cache->ready->at + PEL_POOL_LEAD];
}

/* Contents: whatever they were when it was given up. NULL: no memory. */
static inline void *pel_pool_take(pel_pool *pool, pel_pool_cache *cache) {
    if (pel_pool_ready(cache) == 0 && !pel_pool_refill(pool, cache)) {
        return (void *)0;
    }
    pel_pool_fetch(pel_pool_later(cache));
    return cache->ready->blocks[cache->ready->at++];
}

static inline void pel_pool_give(pel_pool *pool, pel_pool_cache *cache, void *block) {
    if (cache->given && cache->given->count < PEL_POOL_CHAIN) {
        cache->given->blocks[cache->given->count++] = block;
    } else {
        pel_pool_give_other(pool, cache, block);
    }
}

#endif
