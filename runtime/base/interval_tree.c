/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/interval_tree.h"

#include "base/alloc.h"
#include <string.h>

enum { CACHE_LINE = 64, LARGEST_SLAB = 256 };

typedef struct slab {
    struct slab *next;
} slab;

/* Which children led to a leaf, from the root (0) down. */
typedef struct path {
    pel_interval_inner *node[PEL_TREE_HEIGHT];
    uint32_t at[PEL_TREE_HEIGHT];
    pel_interval_leaf *leaf;
} path;

/* Where a free node links the next one: not over a leaf's count, which stays 0 for those who kept a hint. */
static void **link_of(void *node, bool leaf) {
    return leaf ? (void **)(void *)&((pel_interval_leaf *)node)->next : &((pel_interval_inner *)node)->children[0];
}

static bool grow(const pel_interval_tree *tree, pel_interval_pool *pool, bool leaf) {
    size_t bytes = leaf ? sizeof(pel_interval_leaf) : sizeof(pel_interval_inner);
    size_t count = pool->slab_nodes ? pool->slab_nodes : 1;
    slab *made = pel_alloc(tree->allocator, sizeof *made + CACHE_LINE + count * bytes);
    if (!made) {
        return false;
    }
    made->next = pool->slabs;
    pool->slabs = made;
    uintptr_t first = ((uintptr_t)(made + 1) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    for (size_t i = count; i > 0; i--) {
        void *node = (void *)(first + (i - 1) * bytes);
        if (leaf) {
            ((pel_interval_leaf *)node)->count = 0;
        }
        *link_of(node, leaf) = pool->free;
        pool->free = node;
    }
    pool->slab_nodes = count * 2 < LARGEST_SLAB ? count * 2 : LARGEST_SLAB;
    return true;
}

static void *take(pel_interval_pool *pool, bool leaf) {
    void *node = pool->free;
    pool->free = *link_of(node, leaf);
    return node;
}

static void give(pel_interval_pool *pool, void *node, bool leaf) {
    *link_of(node, leaf) = pool->free;
    pool->free = node;
}

/* At least one free leaf and as many inner nodes as a split up to the root needs. */
static bool reserve(pel_interval_tree *tree) {
    if (!tree->leaves.free && !grow(tree, &tree->leaves, true)) {
        return false;
    }
    for (;;) {
        uint32_t have = 0;
        for (void *node = tree->inners.free; node && have <= tree->height; node = *link_of(node, false)) {
            have++;
        }
        if (have > tree->height) {
            return true;
        }
        if (!grow(tree, &tree->inners, false)) {
            return false;
        }
    }
}

static uint32_t child_at(const pel_interval_inner *inner, uint64_t x) {
    return pel_interval_find(inner->keys, (uint32_t)inner->count, x);
}

static inline void prefetch(const void *node, size_t bytes) {
    for (size_t at = 0; at < bytes; at += CACHE_LINE) {
        __builtin_prefetch((const char *)node + at);
    }
}

pel_interval_leaf *pel_interval_tree_leaf(const pel_interval_tree *tree, uint64_t x) {
    void *node = tree->root;
    for (uint32_t level = tree->height; level > 0; level--) {
        const pel_interval_inner *inner = node;
        node = inner->children[child_at(inner, x)];
        /* one miss instead of one per step of the search */
        prefetch(node, level > 1 ? sizeof *inner : sizeof(pel_interval_leaf));
    }
    return node;
}

void pel_interval_tree_leaves(const pel_interval_tree *tree, const uint64_t *keys, pel_interval_leaf **leaves, uint32_t count) {
    void *nodes[PEL_TREE_TOGETHER];
    for (uint32_t i = 0; i < count; i++) {
        nodes[i] = tree->root;
    }
    for (uint32_t level = tree->height; level > 0; level--) {
        for (uint32_t i = 0; i < count; i++) {
            const pel_interval_inner *inner = nodes[i];
            nodes[i] = inner->children[child_at(inner, keys[i])];
            prefetch(nodes[i], level > 1 ? sizeof *inner : sizeof(pel_interval_leaf));
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        leaves[i] = nodes[i];
    }
}

static path path_to(const pel_interval_tree *tree, uint64_t x) {
    path p;
    void *node = tree->root;
    for (uint32_t level = 0; level < tree->height; level++) {
        p.node[level] = node;
        p.at[level] = child_at(node, x);
        node = p.node[level]->children[p.at[level]];
    }
    p.leaf = node;
    return p;
}

bool pel_interval_tree_plant(pel_interval_tree *tree) {
    if (!tree->leaves.free && !grow(tree, &tree->leaves, true)) {
        return false;
    }
    pel_interval_leaf *leaf = take(&tree->leaves, true);
    leaf->high = UINT64_MAX;
    leaf->next = leaf->previous = NULL;
    leaf->count = 1;
    leaf->keys[0] = 0;
    leaf->values[0] = (pel_interval_value){0, 0};
    tree->root = leaf;
    tree->height = 0;
    return true;
}

static void insert(pel_interval_inner *inner, uint32_t at, uint64_t key, void *child) {
    memmove(&inner->keys[at + 1], &inner->keys[at], (inner->count - at) * sizeof inner->keys[0]);
    memmove(&inner->children[at + 1], &inner->children[at], (inner->count - at) * sizeof inner->children[0]);
    inner->keys[at] = key;
    inner->children[at] = child;
    inner->count++;
}

/* A new neighbour behind the child of p at `level`. Nodes have been reserved. */
static void add_child(pel_interval_tree *tree, const path *p, uint32_t level, uint64_t key, void *child) {
    pel_interval_inner *inner = p->node[level];
    uint32_t at = p->at[level] + 1;
    if (inner->count < PEL_INNER_CHILDREN) {
        insert(inner, at, key, child);
        return;
    }
    /* Series that ascend leave full nodes behind. */
    uint32_t keep = at == PEL_INNER_CHILDREN ? PEL_INNER_CHILDREN - 1 : PEL_INNER_CHILDREN / 2;
    pel_interval_inner *right = take(&tree->inners, false);
    right->count = PEL_INNER_CHILDREN - keep;
    memcpy(right->keys, &inner->keys[keep], right->count * sizeof right->keys[0]);
    memcpy(right->children, &inner->children[keep], right->count * sizeof right->children[0]);
    inner->count = keep;
    if (at > keep) {
        insert(right, at - keep, key, child);
    } else {
        insert(inner, at, key, child);
    }
    if (level > 0) {
        add_child(tree, p, level - 1, right->keys[0], right);
        return;
    }
    pel_interval_inner *root = take(&tree->inners, false);
    root->count = 2;
    root->keys[0] = inner->keys[0];
    root->keys[1] = right->keys[0];
    root->children[0] = inner;
    root->children[1] = right;
    tree->root = root;
    tree->height++;
}

bool pel_interval_tree_split(pel_interval_tree *tree, pel_interval_leaf *leaf, uint32_t keep) {
    if (!reserve(tree)) {
        return false;
    }
    path p = path_to(tree, leaf->keys[0]);
    pel_interval_leaf *right = take(&tree->leaves, true);
    right->count = leaf->count - keep;
    memcpy(right->keys, &leaf->keys[keep], right->count * sizeof right->keys[0]);
    memcpy(right->values, &leaf->values[keep], right->count * sizeof right->values[0]);
    right->high = leaf->high;
    right->previous = leaf;
    right->next = leaf->next;
    if (right->next) {
        right->next->previous = right;
    }
    leaf->next = right;
    leaf->count = keep;
    leaf->high = right->keys[0];
    if (tree->height > 0) {
        add_child(tree, &p, tree->height - 1, right->keys[0], right);
        return true;
    }
    pel_interval_inner *root = take(&tree->inners, false);
    root->count = 2;
    root->keys[0] = leaf->keys[0];
    root->keys[1] = right->keys[0];
    root->children[0] = leaf;
    root->children[1] = right;
    tree->root = root;
    tree->height = 1;
    return true;
}

/* Takes a child out; where it was the first of its node, the node begins later now, and so do its parents. */
static void remove_child(pel_interval_tree *tree, const path *p) {
    uint32_t level = tree->height;
    while (level > 0) {
        pel_interval_inner *inner = p->node[--level];
        uint32_t at = p->at[level];
        inner->count--;
        if (inner->count == 0) { /* never the root: that would be the last leaf */
            give(&tree->inners, inner, false);
            continue;
        }
        memmove(&inner->keys[at], &inner->keys[at + 1], (inner->count - at) * sizeof inner->keys[0]);
        memmove(&inner->children[at], &inner->children[at + 1], (inner->count - at) * sizeof inner->children[0]);
        while (at == 0 && level > 0) {
            uint64_t begins = p->node[level]->keys[0];
            at = p->at[--level];
            p->node[level]->keys[at] = begins;
        }
        return;
    }
}

void pel_interval_tree_join(pel_interval_tree *tree, pel_interval_leaf *leaf) {
    path p = path_to(tree, leaf->keys[0]);
    leaf->previous->high = leaf->high;
    leaf->previous->next = leaf->next;
    if (leaf->next) {
        leaf->next->previous = leaf->previous;
    }
    leaf->count = 0;
    remove_child(tree, &p);
    give(&tree->leaves, leaf, true);
    while (tree->height > 0 && ((pel_interval_inner *)tree->root)->count == 1) {
        pel_interval_inner *root = tree->root;
        tree->root = root->children[0];
        tree->height--;
        give(&tree->inners, root, false);
    }
}

static void free_slabs(const pel_interval_tree *tree, pel_interval_pool *pool) {
    while (pool->slabs) {
        slab *next = ((slab *)pool->slabs)->next;
        pel_free(tree->allocator, pool->slabs);
        pool->slabs = next;
    }
}

void pel_interval_tree_destroy(pel_interval_tree *tree) {
    free_slabs(tree, &tree->leaves);
    free_slabs(tree, &tree->inners);
}
