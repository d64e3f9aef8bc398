/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/pool.h"

#include <pthread.h>

/* blocks: slabs double, so that a small program pays for little and a large one seldom */
enum { FIRST_SLAB = 128, LARGEST_SLAB = 4096 };

typedef struct slab {
    struct slab *next;
    unsigned char *at, *end; /* blocks never handed out; the newest slab's only */
} slab;

/* A block that was given up when there was no memory for a magazine. */
typedef struct loose {
    struct loose *next;
} loose;

struct pel_pool {
    pel_allocator allocator;
    size_t bytes; /* of a block */
    pthread_mutex_t lock; /* guards all below */
    pel_pool_magazine *full, *empty, *all;
    loose *loose;
    slab *slabs;
    uint32_t slab_blocks;
};

pel_pool *pel_pool_create(const pel_allocator *allocator, size_t bytes) {
    pel_pool *pool = pel_alloc_zero(allocator, 1, sizeof *pool);
    if (pool) {
        pool->allocator = *allocator;
        pool->bytes = bytes;
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
    while (pool->all) {
        pel_pool_magazine *next = pool->all->all;
        pel_free(&allocator, pool->all);
        pool->all = next;
    }
    pthread_mutex_destroy(&pool->lock);
    pel_free(&allocator, pool);
}

/* A slab: its header in the space that alignment leaves before the first block. */
static slab *grow(pel_pool *pool) {
    size_t bytes = (size_t)pool->slab_blocks * pool->bytes;
    slab *made = pel_alloc_zero(&pool->allocator, 1, sizeof *made + bytes + pool->bytes - 1);
    if (!made) {
        return NULL;
    }
    uintptr_t first = ((uintptr_t)(made + 1) + pool->bytes - 1) & ~(uintptr_t)(pool->bytes - 1);
    made->at = (unsigned char *)first;
    made->end = made->at + bytes;
    made->next = pool->slabs;
    pool->slabs = made;
    pool->slab_blocks = pool->slab_blocks < LARGEST_SLAB ? 2 * pool->slab_blocks : LARGEST_SLAB;
    return made;
}

/* Under the lock, like all below but for the two that are called from elsewhere. */
static pel_pool_magazine *take_empty(pel_pool *pool) {
    pel_pool_magazine *magazine = pool->empty;
    if (magazine) {
        pool->empty = magazine->next;
    } else if ((magazine = pel_alloc_zero(&pool->allocator, 1, sizeof *magazine)) != NULL) {
        magazine->all = pool->all;
        pool->all = magazine;
    }
    return magazine;
}

/* Blocks that were never handed out, in the order of their addresses, or loose ones. False: no memory. */
static bool fill(pel_pool *pool, pel_pool_magazine *magazine) {
    magazine->at = magazine->count = 0;
    for (; pool->loose && magazine->count < PEL_POOL_CHAIN; pool->loose = pool->loose->next) {
        magazine->blocks[magazine->count++] = pool->loose;
    }
    slab *from = pool->slabs && pool->slabs->at < pool->slabs->end ? pool->slabs : magazine->count == 0 ? grow(pool) : NULL;
    for (; from && magazine->count < PEL_POOL_CHAIN && from->at < from->end; from->at += pool->bytes) {
        magazine->blocks[magazine->count++] = from->at;
    }
    return magazine->count > 0;
}

/* What may be full in place of what is empty. */
static pel_pool_magazine *trade(pel_pool *pool, pel_pool_magazine *spent) {
    pel_pool_magazine *magazine = pool->full;
    if (!magazine) {
        magazine = spent ? spent : take_empty(pool);
        (void)(magazine && fill(pool, magazine));
        return magazine;
    }
    pool->full = magazine->next;
    if (spent) {
        spent->next = pool->empty;
        pool->empty = spent;
    }
    return magazine;
}

bool pel_pool_refill(pel_pool *pool, pel_pool_cache *cache) {
    pel_pool_magazine *spent = cache->ready;
    if (cache->given && cache->given->count > 0) { /* what the same owner gave up is warm */
        cache->ready = cache->given;
        cache->given = spent;
        if (spent) {
            spent->at = spent->count = 0;
        }
    } else {
        pthread_mutex_lock(&pool->lock);
        cache->ready = trade(pool, spent);
        pthread_mutex_unlock(&pool->lock);
    }
    if (pel_pool_ready(cache) == 0) {
        return false;
    }
    pel_pool_magazine *m = cache->ready;
    for (uint32_t i = 0; i < PEL_POOL_LEAD; i++) {
        m->blocks[m->count + i] = m->blocks[m->count - 1];
        pel_pool_fetch(m->blocks[i]);
    }
    return true;
}

void pel_pool_give_other(pel_pool *pool, pel_pool_cache *cache, void *block) {
    pthread_mutex_lock(&pool->lock);
    pel_pool_magazine *room = take_empty(pool);
    if (!room) {
        loose *given = block;
        given->next = pool->loose;
        pool->loose = given;
    } else if (cache->given) {
        cache->given->next = pool->full;
        pool->full = cache->given;
    }
    pthread_mutex_unlock(&pool->lock);
    if (room) {
        room->at = 0;
        room->count = 1;
        room->blocks[0] = block;
        cache->given = room;
    }
}
