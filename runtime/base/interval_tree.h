/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The B+tree under interval_map.c: leaves that cut the whole key space into ranges, and the nodes that find them.
 *
 * A leaf holds the steps of its range [keys[0], high): "from keys[i] on the value is values[i]". It always begins with a step of
 * its own, even when that repeats the value of the leaf before; in return an operation inside one leaf looks at nothing else, and
 * a leaf kept from earlier (a hint) is known to be the right one by its own two bounds. Nodes go back to the map's pool, never to
 * the allocator, so a stale hint reads a free leaf (count 0), not foreign memory.
 */
#ifndef PEL_BASE_INTERVAL_TREE_H
#define PEL_BASE_INTERVAL_TREE_H

#include "base/interval_map.h"

/*
 * Leaves of 14 cache lines and inner nodes of 8, fetched whole: 1e6 intervals stand 4 levels high, and the lowest inner level
 * fits the second cache. Of 12, 20, 28, 36 steps and 31, 63 children this was the fastest, by little: docs/design/hazards.md.
 */
enum { PEL_LEAF_STEPS = 36, PEL_INNER_CHILDREN = 31, PEL_TREE_HEIGHT = 16, PEL_TREE_TOGETHER = 8 };

typedef struct pel_interval_leaf {
    _Alignas(64) uint64_t high;
    struct pel_interval_leaf *next, *previous; /* next also links free ones */
    uint32_t count;                            /* 0: free */
    uint64_t keys[PEL_LEAF_STEPS];
    pel_interval_value values[PEL_LEAF_STEPS];
} pel_interval_leaf;

typedef struct pel_interval_inner {
    _Alignas(64) uint64_t count;
    uint64_t keys[PEL_INNER_CHILDREN]; /* where children begin */
    void *children[PEL_INNER_CHILDREN];
} pel_interval_inner;

typedef struct pel_interval_pool { /* of leaves, or of inner nodes */
    void *free;
    size_t slab_nodes;             /* size of the next slab */
    void *slabs;
} pel_interval_pool;

typedef struct pel_interval_tree {
    const pel_allocator *allocator;
    void *root;      /* NULL: one gap */
    uint32_t height; /* inner levels above the leaves */
    pel_interval_pool leaves, inners;
} pel_interval_tree;

/* The last of `count` ascending keys that is not above x; the first one is not. */
static inline uint32_t pel_interval_find(const uint64_t *keys, uint32_t count, uint64_t x) {
    const uint64_t *at = keys;
    while (count > 1) {
        uint32_t half = count / 2;
        at += at[half] <= x ? half : 0;
        count -= half;
    }
    return (uint32_t)(at - keys);
}

static inline bool pel_interval_leaf_has(const pel_interval_leaf *leaf, uint64_t x) {
    return leaf->count > 0 && leaf->keys[0] <= x && x < leaf->high;
}

/* All for a tree with a root. */
pel_interval_leaf *pel_interval_tree_leaf(const pel_interval_tree *tree, uint64_t x);          /* whose range holds x */
/* the same for several, whose cache misses overlap */
void pel_interval_tree_leaves(const pel_interval_tree *tree, const uint64_t *keys, pel_interval_leaf **leaves, uint32_t count);
/* steps from `keep` on move to a new leaf. False: no memory, as it was */
bool pel_interval_tree_split(pel_interval_tree *tree, pel_interval_leaf *leaf, uint32_t keep);
/* the leaf before takes over its range; its steps are the caller's care */
void pel_interval_tree_join(pel_interval_tree *tree, pel_interval_leaf *leaf);

bool pel_interval_tree_plant(pel_interval_tree *tree);  /* makes the first leaf, one gap. False: no memory */
void pel_interval_tree_destroy(pel_interval_tree *tree);

#endif
