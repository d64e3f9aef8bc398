/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step function over uint64_t, kept as a treap of its steps: a node says "from `key` on the value is `value`", up to the next
 * node; before the first node it is 0. Gaps are steps to 0, so every operation on [lo, hi) adds at most two nodes (at lo and at
 * hi), however many intervals and gaps it covers. That makes the promise of pel_interval_map_reserve simple: nodes are set aside,
 * two per operation. All operations are split, change, merge: O(log n), plus the parts they touch. Invariant: neighbouring steps
 * differ in value; where values are references, equal neighbours other than 0 may stand side by side. Rejected: a sorted array.
 * Residency would be content, but hazards of many small tasks insert at random places among 10^5 intervals, and moving megabytes
 * for each is slower than everything else a task costs.
 */
#include "base/interval_map.h"

#include "base/alloc.h"

typedef struct node {
    uint64_t key, value;
    struct node *left, *right;
    uint32_t priority; /* a parent's is not below its children's */
} node;

typedef struct slab {
    struct slab *next;
    node nodes[];
} slab;

struct pel_interval_map {
    const pel_allocator *allocator;
    pel_interval_hooks hooks;
    bool references;
    node *root;
    node *free; /* linked through `left` */
    slab *slabs;
    size_t free_count, slab_nodes; /* slab_nodes: size of the next slab */
    size_t mapped;                 /* nodes with a value other than 0 */
    uint32_t random;
};

enum { NODES_PER_OPERATION = 2, FIRST_SLAB = 6, LARGEST_SLAB = 1024 };

pel_interval_map *pel_interval_map_create(const pel_allocator *allocator, const pel_interval_hooks *hooks) {
    pel_interval_map *map = pel_alloc_zero(allocator, 1, sizeof *map);
    if (map == NULL) {
        return NULL;
    }
    map->allocator = allocator;
    map->slab_nodes = FIRST_SLAB;
    map->random = 2463534242u;
    if (hooks != NULL && hooks->retain != NULL && hooks->release != NULL) {
        map->hooks = *hooks;
        map->references = true;
    }
    return map;
}

size_t pel_interval_map_count(const pel_interval_map *map) {
    return map->mapped;
}

/* Gives back all nodes of a subtree, releasing what they refer to. Rotates left children up instead of recursing. */
static void drop_tree(pel_interval_map *map, node *tree) {
    while (tree != NULL) {
        node *next = tree->left;
        if (next != NULL) {
            tree->left = next->right;
            next->right = tree;
            tree = next;
            continue;
        }
        next = tree->right;
        uint64_t value = tree->value;
        tree->left = map->free;
        map->free = tree;
        map->free_count++;
        map->mapped -= value != 0;
        if (map->references && value != 0) {
            map->hooks.release(map->hooks.user, value);
        }
        tree = next;
    }
}

void pel_interval_map_destroy(pel_interval_map *map) {
    if (map == NULL) {
        return;
    }
    drop_tree(map, map->root);
    while (map->slabs != NULL) {
        slab *next = map->slabs->next;
        pel_free(map->allocator, map->slabs);
        map->slabs = next;
    }
    pel_free(map->allocator, map);
}

pel_status pel_interval_map_reserve(pel_interval_map *map, size_t operations) {
    size_t needed, bytes;
    if (__builtin_mul_overflow(operations, (size_t)NODES_PER_OPERATION, &needed)) {
        return PEL_OUT_OF_MEMORY;
    }
    if (needed <= map->free_count) {
        return PEL_OK;
    }
    size_t count = needed - map->free_count;
    count = count > map->slab_nodes ? count : map->slab_nodes;
    if (__builtin_mul_overflow(count, sizeof(node), &bytes) || __builtin_add_overflow(bytes, sizeof(slab), &bytes)) {
        return PEL_OUT_OF_MEMORY;
    }
    slab *fresh = pel_alloc(map->allocator, bytes);
    if (fresh == NULL) {
        return PEL_OUT_OF_MEMORY;
    }
    fresh->next = map->slabs;
    map->slabs = fresh;
    for (size_t i = count; i > 0; i--) {
        fresh->nodes[i - 1].left = map->free;
        map->free = &fresh->nodes[i - 1];
    }
    map->free_count += count;
    map->slab_nodes = map->slab_nodes * 2 < LARGEST_SLAB ? map->slab_nodes * 2 : LARGEST_SLAB;
    return PEL_OK;
}

/* The caller has reserved. */
static node *take_node(pel_interval_map *map, uint64_t key, uint64_t value) {
    node *fresh = map->free;
    map->free = fresh->left;
    map->free_count--;
    map->mapped += value != 0;
    map->random ^= map->random << 13; /* xorshift32 */
    map->random ^= map->random >> 17;
    map->random ^= map->random << 5;
    *fresh = (node){.key = key, .value = value, .priority = map->random};
    return fresh;
}

/* Keys below `key` to *below, the others to *rest. */
static void split(node *tree, uint64_t key, node **below, node **rest) {
    while (tree != NULL) {
        if (tree->key < key) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
        } else {
            *rest = tree;
            rest = &tree->left;
            tree = tree->left;
        }
    }
    *below = NULL;
    *rest = NULL;
}

/* All keys of `low` are below those of `high`. */
static node *merge(node *low, node *high) {
    node *root = NULL, **at = &root;
    while (low != NULL && high != NULL) {
        if (low->priority >= high->priority) {
            *at = low;
            at = &low->right;
            low = low->right;
        } else {
            *at = high;
            at = &high->left;
            high = high->left;
        }
    }
    *at = low != NULL ? low : high;
    return root;
}

static node *first_of(node *tree) {
    while (tree != NULL && tree->left != NULL) {
        tree = tree->left;
    }
    return tree;
}

static uint64_t last_value(const node *tree, uint64_t otherwise) {
    while (tree != NULL && tree->right != NULL) {
        tree = tree->right;
    }
    return tree != NULL ? tree->value : otherwise;
}

/* Whether a step from value `before` to `after` is none. */
static bool joins(const pel_interval_map *map, uint64_t before, uint64_t after) {
    return before == after && (after == 0 || !map->references);
}

/*
 * Takes the tree apart into steps below lo, within [lo, hi), and from hi on; the last begins with a step at hi unless that step
 * would be none. *before and *after are the values just below lo and from hi on.
 */
static void cut(pel_interval_map *map, uint64_t lo, uint64_t hi, node *parts[3], uint64_t *before, uint64_t *after) {
    node *rest;
    split(map->root, lo, &parts[0], &rest);
    split(rest, hi, &parts[1], &parts[2]);
    *before = last_value(parts[0], 0);
    node *next = first_of(parts[2]);
    if (next != NULL && next->key == hi) {
        *after = next->value;
        return;
    }
    *after = last_value(parts[1], *before);
    if (map->references && *after != 0) {
        map->hooks.retain(map->hooks.user, *after);
    }
    parts[2] = merge(take_node(map, hi, *after), parts[2]);
}

/* Puts the parts together again; drops the step at hi when it joins what ends there, whose value is `last`, or has nothing behind
 * it. */
static void join(pel_interval_map *map, node *parts[3], uint64_t hi, uint64_t last, uint64_t after) {
    if (hi == UINT64_MAX) {
        drop_tree(map, parts[2]);
        parts[2] = NULL;
    } else if (joins(map, last, after)) {
        node *step;
        split(parts[2], hi + 1, &step, &parts[2]);
        drop_tree(map, step);
    }
    map->root = merge(merge(parts[0], parts[1]), parts[2]);
}

pel_status pel_interval_map_set(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t value) {
    if (lo >= hi) {
        if (map->references && value != 0) {
            map->hooks.release(map->hooks.user, value);
        }
        return PEL_OK;
    }
    pel_status status = pel_interval_map_reserve(map, 1);
    if (status != PEL_OK) {
        return status;
    }
    node *parts[3];
    uint64_t before, after;
    cut(map, lo, hi, parts, &before, &after);
    node *old = parts[1];
    parts[1] = joins(map, before, value) ? NULL : take_node(map, lo, value);
    join(map, parts, hi, value, after);
    drop_tree(map, old);
    return PEL_OK;
}

/* Applies the mask to all steps of a tree in order and keeps those that still are steps. */
static node *mask_tree(pel_interval_map *map, node *tree, uint64_t clear, uint64_t set, uint64_t *last) {
    node *kept = NULL;
    while (tree != NULL) {
        node *left = tree->left;
        if (left != NULL) { /* rotate until the first step is on top */
            tree->left = left->right;
            left->right = tree;
            tree = left;
            continue;
        }
        node *rest = tree->right;
        tree->right = NULL;
        uint64_t value = (tree->value & ~clear) | set;
        map->mapped = map->mapped - (tree->value != 0) + (value != 0);
        tree->value = value;
        if (joins(map, *last, value)) {
            drop_tree(map, tree);
        } else {
            kept = merge(kept, tree);
            *last = value;
        }
        tree = rest;
    }
    return kept;
}

pel_status pel_interval_map_mask(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t clear, uint64_t set) {
    if (lo >= hi) {
        return PEL_OK;
    }
    pel_status status = pel_interval_map_reserve(map, 1);
    if (status != PEL_OK) {
        return status;
    }
    node *parts[3];
    uint64_t before, after, last;
    cut(map, lo, hi, parts, &before, &after);
    node *first = first_of(parts[1]);
    if (first == NULL || first->key != lo) {
        parts[1] = merge(take_node(map, lo, before), parts[1]);
    }
    last = before;
    parts[1] = mask_tree(map, parts[1], clear, set, &last);
    join(map, parts, hi, last, after);
    return PEL_OK;
}

typedef struct walk {
    uint64_t lo, hi; /* what is left to visit; the step in force at lo has `value` */
    uint64_t value;
    bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t value);
    void *user;
} walk;

/* In order over the steps within (lo, hi). Recursion is as deep as the treap, some 3 log2 n. */
static bool walk_tree(walk *state, const node *tree) {
    while (tree != NULL) {
        if (tree->key >= state->hi) {
            tree = tree->left;
            continue;
        }
        if (tree->key > state->lo) {
            if (!walk_tree(state, tree->left)) {
                return false;
            }
            if (!state->visit(state->user, state->lo, tree->key, state->value)) {
                return false;
            }
            state->lo = tree->key;
            state->value = tree->value;
        }
        tree = tree->right;
    }
    return true;
}

void pel_interval_map_visit(const pel_interval_map *map, uint64_t lo, uint64_t hi,
                            bool (*visit)(void *user, uint64_t lo, uint64_t hi, uint64_t value), void *user) {
    if (lo >= hi) {
        return;
    }
    walk state = {lo, hi, 0, visit, user};
    for (const node *tree = map->root; tree != NULL;) { /* the last step not above lo */
        if (tree->key <= lo) {
            state.value = tree->value;
            tree = tree->right;
        } else {
            tree = tree->left;
        }
    }
    if (walk_tree(&state, map->root)) {
        visit(user, state.lo, hi, state.value);
    }
}
