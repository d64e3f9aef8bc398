/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/pool.h"

#include <pthread.h>
#include <stdint.h>

/* blocks: slabs double, so that a small program pays for little and a large one seldom */
enum { FIRST_SLAB = 128, LARGEST_SLAB = 4096, LEAD = 4 };

typedef struct slab {
    struct slab *next;
    unsigned char *at, *end; /* blocks never handed out; the newest slab's only */
} slab;

/* The first block of a chain in the depot: its second word links chains. */
typedef struct chain {
    void *next_block;
    struct chain *next;
} chain;

struct pel_pool {
    pel_allocator allocator;
    pthread_mutex_t lock; /* guards all below */
    chain *depot;
    slab *slabs;
    uint32_t slab_blocks;
};

pel_pool *pel_pool_create(const pel_allocator *allocator) {
    pel_pool *pool = pel_alloc_zero(allocator, 1, sizeof *pool);
    if (pool) {
        pool->allocator = *allocator;
        pool->slab_blocks = FIRST_SLAB;
        pthread_mutex_init(&pool->lock, NULL);
    }
    return pool;
}

void pel_pool_destroy(pel_pool *pool) {
    if (!pool) {
        return;
    }
    pel_allocator allocator = pool->allocator;
    while (pool->slabs) {
        slab *next = pool->slabs->next;
        pel_free(&allocator, pool->slabs);
        pool->slabs = next;
    }
    pthread_mutex_destroy(&pool->lock);
    pel_free(&allocator, pool);
}

/* A slab: its header in the space that alignment leaves before the first block. */
static slab *grow(pel_pool *pool) {
    size_t bytes = (size_t)pool->slab_blocks * PEL_POOL_BLOCK;
    slab *made = pel_alloc_zero(&pool->allocator, 1, sizeof *made + bytes + PEL_POOL_BLOCK - 1);
    if (!made) {
        return NULL;
    }
    uintptr_t first = ((uintptr_t)(made + 1) + PEL_POOL_BLOCK - 1) & ~(uintptr_t)(PEL_POOL_BLOCK - 1);
    made->at = (unsigned char *)first;
    made->end = made->at + bytes;
    made->next = pool->slabs;
    pool->slabs = made;
    pool->slab_blocks = pool->slab_blocks < LARGEST_SLAB ? 2 * pool->slab_blocks : LARGEST_SLAB;
    return made;
}

/* A chain of blocks that were never handed out, in the order of their addresses. */
static void *cut_chain(pel_pool *pool) {
    slab *from = pool->slabs && pool->slabs->at < pool->slabs->end ? pool->slabs : grow(pool);
    if (!from) {
        return NULL;
    }
    void *first = from->at;
    for (int i = 0; i < PEL_POOL_CHAIN && from->at < from->end; i++) {
        unsigned char *next = from->at + PEL_POOL_BLOCK;
        *(void **)(void *)from->at = i + 1 < PEL_POOL_CHAIN && next < from->end ? next : NULL;
        from->at = next;
    }
    return first;
}

void *pel_pool_refill(pel_pool *pool, pel_pool_cache *cache) {
    void *block = cache->first;
    if (block) { /* what the same owner gave up is warm */
        cache->first = cache->last = NULL;
        cache->count = 0;
    } else {
        pthread_mutex_lock(&pool->lock);
        if (pool->depot) {
            chain *first = pool->depot;
            pool->depot = first->next;
            block = first;
        } else {
            block = cut_chain(pool);
        }
        pthread_mutex_unlock(&pool->lock);
    }
    if (block) {
        cache->ready = cache->ahead = *(void **)block;
        for (int i = 0; i < LEAD; i++) {
            pel_pool_walk(cache);
        }
    }
    return block;
}

void pel_pool_ship(pel_pool *pool, pel_pool_cache *cache) {
    chain *first = cache->first;
    if (!first) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    first->next = pool->depot;
    pool->depot = first;
    pthread_mutex_unlock(&pool->lock);
    cache->first = cache->last = NULL;
    cache->count = 0;
}
