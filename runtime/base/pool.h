/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools of blocks of one cache line, for what is made and given up a million times a second.
 *
 * A block is taken from and given to a cache that belongs to whoever calls (a worker, a claimed lane), without any atomic
 * operation. Caches trade chains of blocks through the pool's depot, under a mutex that is touched once in PEL_POOL_CHAIN blocks.
 * Chains keep the order in which blocks were given up, so that memory that was walked through once is walked through in the same
 * order again, which processors prefetch. Blocks stay readable until the pool is destroyed, whatever becomes of them: generations
 * in them can be checked at any time. New blocks are zero.
 */
#ifndef PEL_BASE_POOL_H
#define PEL_BASE_POOL_H

#include "base/alloc.h"

enum { PEL_POOL_BLOCK = 64, PEL_POOL_CHAIN = 128 };

static inline void pel_pool_fetch(const void *block) {
    const char *line = block;
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*line)); /* to be written; processors too old for it take it for a no-op */
#else
    __builtin_prefetch(line, 1);
#endif
}
/* Of a list of blocks in the order in which they were taken, which mostly follow each other in memory. */
enum { PEL_POOL_AHEAD = 10 * PEL_POOL_BLOCK };
static inline void pel_pool_fetch_ahead(const void *block) { pel_pool_fetch((const char *)block + PEL_POOL_AHEAD); }

typedef struct pel_pool pel_pool;

/* Owned by one thread at a time; all zero is empty. */
typedef struct pel_pool_cache {
    void *ready;           /* to be taken; linked through the blocks' first word */
    void *ahead;           /* a few further: that far blocks are near; NULL: the chain ends before */
    void *first, *last;    /* given up */
    uint32_t count;        /* of these */
} pel_pool_cache;

pel_pool *pel_pool_create(const pel_allocator *allocator); /* NULL: no memory */
void pel_pool_destroy(pel_pool *pool);                     /* with all blocks */

/* When the cache has nothing ready. NULL: no memory. */
void *pel_pool_refill(pel_pool *pool, pel_pool_cache *cache);
/* Moves what was given up to the depot. */
void pel_pool_ship(pel_pool *pool, pel_pool_cache *cache);

/*
 * After each take. Links tell where the next block is, but too late where another core has had it: so somebody walks a few blocks
 * in front, who touches only what was asked for one take earlier. Rejected: what lies ten further in memory, which is nothing
 * once blocks have changed hands.
 */
static inline void pel_pool_walk(pel_pool_cache *cache) {
    if (cache->ahead) {
        cache->ahead = *(void **)cache->ahead;
        pel_pool_fetch(cache->ahead); /* NULL does no harm */
    }
}

/* Contents: whatever they were when it was given up, but the first word. */
static inline void *pel_pool_take(pel_pool *pool, pel_pool_cache *cache) {
    void *block = cache->ready;
    if (!block) {
        return pel_pool_refill(pool, cache);
    }
    cache->ready = *(void **)block;
    pel_pool_walk(cache);
    return block;
}

static inline void pel_pool_give(pel_pool *pool, pel_pool_cache *cache, void *block) {
    *(void **)block = (void *)0;
    if (cache->last) {
        *(void **)cache->last = block;
    } else {
        cache->first = block;
    }
    cache->last = block;
    if (++cache->count >= PEL_POOL_CHAIN) {
        pel_pool_ship(pool, cache);
    }
}

#endif
