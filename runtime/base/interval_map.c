/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step function over uint64_t, kept as a B+tree of its steps (interval_tree.h): "from this key on the value is this", up to the
 * next step. Gaps are steps to {0, 0}, so an operation on [lo, hi) adds at most two steps, however many intervals and gaps it
 * covers.
 *
 * Two ways through: what lies within one leaf is one splice of its arrays; everything else cuts at lo and at hi, which changes
 * nothing that can be seen and is all that may want memory, and then walks the leaves in between, which cannot fail. Neighbouring
 * steps of one leaf differ; a leaf may begin by repeating the one before, which readers join on the way.
 *
 * Rejected: a treap (twenty dependent cache misses for a random look into 1e6 intervals where this has two), a sorted array (an
 * insertion moves megabytes), a radix tree over pages (ranges are not aligned to anything).
 */
#include "base/interval_map.h"

#include "base/alloc.h"
#include "base/interval_tree.h"
#include <string.h>

enum { MERGE_BELOW = PEL_LEAF_STEPS / 4, MERGED_MOST = PEL_LEAF_STEPS / 2 };

/* What every operation does: a call hands the two words of a value over in memory, which costs an eighth of a hazard's note. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct pel_interval_map {
    pel_interval_tree tree;
    pel_interval_hooks hooks;
    pel_interval_hint last; /* for those who bring no hint; looking changes it, too */
    size_t pieces;          /* steps to other values than 0 */
};

static inline bool is_gap(pel_interval_value value) { return (value.a | value.b) == 0; }
static inline bool same(pel_interval_value x, pel_interval_value y) { return ((x.a ^ y.a) | (x.b ^ y.b)) == 0; }

static inline void retain(const pel_interval_map *map, pel_interval_value value) {
    if ((value.a & map->hooks.references) != 0) {
        map->hooks.retain(map->hooks.user, value);
    }
}

static inline void release(const pel_interval_map *map, pel_interval_value value) {
    if ((value.a & map->hooks.references) != 0) {
        map->hooks.release(map->hooks.user, value);
    }
}

pel_interval_map *pel_interval_map_create(const pel_allocator *allocator, const pel_interval_hooks *hooks) {
    pel_interval_map *map = pel_alloc_zero(allocator, 1, sizeof *map);
    if (map) {
        map->tree.allocator = allocator;
        if (hooks) {
            map->hooks = *hooks;
        }
    }
    return map;
}

void pel_interval_map_destroy(pel_interval_map *map) {
    if (!map) {
        return;
    }
    for (pel_interval_leaf *leaf = map->tree.root ? pel_interval_tree_leaf(&map->tree, 0) : NULL; leaf; leaf = leaf->next) {
        for (uint32_t i = 0; i < leaf->count; i++) {
            release(map, leaf->values[i]);
        }
    }
    pel_interval_tree_destroy(&map->tree);
    pel_free(map->tree.allocator, map);
}

bool pel_interval_map_is_empty(const pel_interval_map *map) { return map->pieces == 0; }

size_t pel_interval_map_pieces(const pel_interval_map *map) { return map->pieces; }

size_t pel_interval_map_count(const pel_interval_map *map) {
    size_t repeated = 0;
    for (const pel_interval_leaf *leaf = map->tree.root ? pel_interval_tree_leaf(&map->tree, 0) : NULL; leaf && leaf->next;
         leaf = leaf->next) {
        repeated += !is_gap(leaf->next->values[0]) && same(leaf->values[leaf->count - 1], leaf->next->values[0]);
    }
    return map->pieces - repeated;
}

/* The leaf of x and, in *at, its step that is in force there. Needs a root. */
ALWAYS_INLINE pel_interval_leaf *locate(const pel_interval_map *map, pel_interval_hint *hint, uint64_t x, uint32_t *at) {
    pel_interval_leaf *leaf = hint->leaf;
    uint32_t i = hint->at;
    if (leaf && leaf->count > 0 && x >= leaf->high && leaf->next) { /* a step ahead, when the series ascends */
        leaf = leaf->next;
        i = 0;
    }
    if (!leaf || !pel_interval_leaf_has(leaf, x)) {
        leaf = pel_interval_tree_leaf(&map->tree, x);
        i = leaf->count;
    }
    if (i < leaf->count && leaf->keys[i] <= x && (i + 2 >= leaf->count || x < leaf->keys[i + 2])) {
        i += i + 1 < leaf->count && leaf->keys[i + 1] <= x;
    } else {
        i = pel_interval_find(leaf->keys, leaf->count, x);
    }
    hint->leaf = leaf;
    hint->at = *at = i;
    return leaf;
}

/* Makes room in a full leaf around step `at`. False: no memory, nothing changed. */
static bool split_around(pel_interval_map *map, pel_interval_leaf *leaf, uint32_t at) {
    bool ascends = at + 2 >= leaf->count; /* such series leave full leaves behind */
    return pel_interval_tree_split(&map->tree, leaf, ascends ? leaf->count - 2 : leaf->count / 2);
}

/* The steps of the leaf after `leaf` move into it. */
static void absorb_next(pel_interval_map *map, pel_interval_leaf *leaf) {
    pel_interval_leaf *next = leaf->next;
    uint32_t from = same(leaf->values[leaf->count - 1], next->values[0]) ? 1 : 0, count = next->count - from;
    if (from > 0) {
        map->pieces -= !is_gap(next->values[0]);
        release(map, next->values[0]);
    }
    memcpy(&leaf->keys[leaf->count], &next->keys[from], count * sizeof leaf->keys[0]);
    memcpy(&leaf->values[leaf->count], &next->values[from], count * sizeof leaf->values[0]);
    leaf->count += count;
    pel_interval_tree_join(&map->tree, next);
}

static bool fit_together(const pel_interval_leaf *left, const pel_interval_leaf *right) {
    return left && right &&
           (left->count + right->count <= MERGED_MOST ||
            (right->count == 1 && same(left->values[left->count - 1], right->values[0])));
}

/* After steps went. Half-full leaves stay apart, so that a series that comes and goes does not split and merge all the time. */
static void tidy(pel_interval_map *map, pel_interval_leaf *leaf) {
    if (leaf->count > MERGE_BELOW) {
        return;
    }
    if (fit_together(leaf, leaf->next)) {
        absorb_next(map, leaf);
    }
    if (fit_together(leaf->previous, leaf)) {
        absorb_next(map, leaf->previous);
    }
}

/* Steps [from, to) of a leaf give way to `count` new ones. There is room. */
static void splice(pel_interval_leaf *leaf, uint32_t from, uint32_t to, const uint64_t *keys, const pel_interval_value *values,
                   uint32_t count) {
    uint32_t rest = leaf->count - to, end = from + count;
    if (to != end && rest == 1) { /* as a rule when a series ascends: the gap after it */
        leaf->keys[end] = leaf->keys[to];
        leaf->values[end] = leaf->values[to];
    } else if (to != end && rest > 0) {
        memmove(&leaf->keys[end], &leaf->keys[to], rest * sizeof leaf->keys[0]);
        memmove(&leaf->values[end], &leaf->values[to], rest * sizeof leaf->values[0]);
    }
    leaf->count = end + rest;
    for (uint32_t i = 0; i < count; i++) {
        leaf->keys[from + i] = keys[i];
        leaf->values[from + i] = values[i];
    }
}

/* Puts a value into a step that lasts exactly as long as it shall, releasing nothing; joins it with its neighbours. */
static inline void put_in_place(pel_interval_map *map, pel_interval_leaf *leaf, uint32_t at, pel_interval_value value) {
    bool joins_after = at + 1 < leaf->count && same(leaf->values[at + 1], value),
         joins_before = at > 0 && same(leaf->values[at - 1], value);
    leaf->values[at] = value;
    if (joins_after || joins_before) {
        uint32_t from = joins_before ? at : at + 1, to = joins_after ? at + 2 : at + 1;
        for (uint32_t i = from; i < to; i++) {
            map->pieces -= !is_gap(value);
            release(map, value);
        }
        splice(leaf, from, to, NULL, NULL, 0);
        tidy(map, leaf);
    }
}

/* Whether step `at` is [lo, hi). */
static inline bool is_step(const pel_interval_leaf *leaf, uint32_t at, uint64_t lo, uint64_t hi) {
    return leaf->keys[at] == lo && (at + 1 < leaf->count ? leaf->keys[at + 1] : leaf->high) == hi;
}

/* Sets [lo, hi), which lies within the leaf; lo is in its step `at`. False: no room, nothing done. */
ALWAYS_INLINE bool set_in_leaf(pel_interval_map *map, pel_interval_leaf *leaf, uint32_t at, uint64_t lo, uint64_t hi,
                               pel_interval_value value) {
    if (is_step(leaf, at, lo, hi)) {
        pel_interval_value old = leaf->values[at];
        map->pieces += (size_t)!is_gap(value) - (size_t)!is_gap(old);
        put_in_place(map, leaf, at, value);
        release(map, old);
        return true;
    }
    uint32_t from = leaf->keys[at] == lo ? at : at + 1, to = at + 1, count = 0;
    while (to < leaf->count && leaf->keys[to] < hi) {
        to++;
    }
    pel_interval_value last = leaf->values[to - 1], values[2];
    uint64_t keys[2];
    bool ends = (to < leaf->count ? leaf->keys[to] : leaf->high) == hi;
    bool joins_before = from > 0 && same(leaf->values[from - 1], value);
    bool tail = !ends && !same(last, value);
    if (leaf->count - (to - from) + !joins_before + tail > PEL_LEAF_STEPS) {
        return false;
    }
    if (ends && to < leaf->count && same(leaf->values[to], value)) {
        to++; /* joins what comes after */
    }
    if (joins_before) {
        release(map, value);
    } else {
        keys[count] = lo;
        values[count++] = value;
        map->pieces += !is_gap(value);
    }
    if (tail) {
        retain(map, last);
        keys[count] = hi;
        values[count++] = last;
        map->pieces += !is_gap(last);
    }
    for (uint32_t i = from; i < to; i++) {
        map->pieces -= !is_gap(leaf->values[i]);
        release(map, leaf->values[i]);
    }
    bool shrinks = to - from > count;
    splice(leaf, from, to, keys, values, count);
    if (shrinks) {
        tidy(map, leaf);
    }
    return true;
}

typedef struct constant {
    const pel_interval_map *map;
    pel_interval_value value;
} constant;

static bool change_to_constant(void *user, pel_interval_value *value) {
    const constant *c = user;
    retain(c->map, c->value);
    release(c->map, *value);
    *value = c->value;
    return true;
}

pel_status pel_interval_map_set(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value value,
                                pel_interval_hint *hint) {
    if (lo >= hi || (!map->tree.root && is_gap(value))) {
        release(map, value);
        return PEL_OK;
    }
    if (!map->tree.root && !pel_interval_tree_plant(&map->tree)) {
        return PEL_OUT_OF_MEMORY;
    }
    hint = hint ? hint : &map->last;
    for (;;) {
        uint32_t at;
        pel_interval_leaf *leaf = locate(map, hint, lo, &at);
        if (hi > leaf->high) {
            break;
        }
        if (set_in_leaf(map, leaf, at, lo, hi, value)) {
            return PEL_OK;
        }
        if (!split_around(map, leaf, at)) {
            return PEL_OUT_OF_MEMORY;
        }
    }
    constant c = {map, value};
    pel_status status = pel_interval_map_update(map, lo, hi, change_to_constant, &c, hint);
    if (status == PEL_OK) {
        release(map, value);
    }
    return status;
}

/* Makes a step at x, if there is none, to the value that is in force there. False: no memory, nothing changed. */
static bool cut(pel_interval_map *map, uint64_t x, pel_interval_hint *hint) {
    uint32_t at;
    pel_interval_leaf *leaf = locate(map, hint, x, &at);
    if (leaf->keys[at] == x) {
        return true;
    }
    if (leaf->count == PEL_LEAF_STEPS) {
        if (!split_around(map, leaf, at)) {
            return false;
        }
        leaf = locate(map, hint, x, &at);
    }
    pel_interval_value value = leaf->values[at];
    retain(map, value);
    map->pieces += !is_gap(value);
    splice(leaf, at + 1, at + 1, &x, &value, 1);
    return true;
}

/* Takes a step back that is none. */
static void heal(pel_interval_map *map, uint64_t x, pel_interval_hint *hint) {
    uint32_t at;
    pel_interval_leaf *leaf = locate(map, hint, x, &at);
    if (leaf->keys[at] == x && at > 0 && same(leaf->values[at - 1], leaf->values[at])) {
        map->pieces -= !is_gap(leaf->values[at]);
        release(map, leaf->values[at]);
        splice(leaf, at, at + 1, NULL, NULL, 0);
    }
}

/* Changes the steps of one leaf from `at` on that begin below hi. False: `change` refused. */
static bool change_leaf(pel_interval_map *map, pel_interval_leaf *leaf, uint32_t at, uint64_t hi, pel_interval_change_fn change,
                        void *user) {
    uint32_t kept = at, i = at;
    bool more = true;
    for (; more && i < leaf->count && leaf->keys[i] < hi; i++) {
        pel_interval_value value = leaf->values[i];
        map->pieces -= !is_gap(value);
        more = change(user, &value);
        if (kept > 0 && same(leaf->values[kept - 1], value)) {
            release(map, value);
            continue;
        }
        map->pieces += !is_gap(value);
        leaf->keys[kept] = leaf->keys[i];
        leaf->values[kept++] = value;
    }
    if (i < leaf->count && kept > 0 && same(leaf->values[kept - 1], leaf->values[i])) {
        map->pieces -= !is_gap(leaf->values[i]);
        release(map, leaf->values[i]);
        i++;
    }
    splice(leaf, kept, i, NULL, NULL, 0);
    return more;
}

/* From the step in force at lo to the last that begins below hi, leaf by leaf. */
static bool change_all(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user,
                       pel_interval_hint *hint) {
    uint32_t at;
    pel_interval_leaf *leaf = locate(map, hint, lo, &at);
    for (;;) {
        uint32_t before = leaf->count;
        bool more = change_leaf(map, leaf, at, hi, change, user);
        pel_interval_leaf *next = leaf->high < hi ? leaf->next : NULL;
        if (fit_together(leaf->previous, leaf) && (leaf->count < before || at == 0)) {
            leaf = leaf->previous;
            absorb_next(map, leaf);
        }
        if (!more || !next) {
            if (leaf->count < before || at == 0) {
                tidy(map, leaf);
            }
            return more;
        }
        leaf = next;
        at = 0;
    }
}

/* A change of a part of one step, or all of it. 0: refused; 1: done; -1: the leaf is full. */
static int change_step(pel_interval_map *map, pel_interval_leaf *leaf, uint32_t at, uint64_t lo, uint64_t hi,
                       pel_interval_change_fn change, void *user) {
    pel_interval_value value = leaf->values[at];
    if (is_step(leaf, at, lo, hi)) {
        bool was = !is_gap(value), done = change(user, &value);
        map->pieces += (size_t)!is_gap(value) - (size_t)was;
        put_in_place(map, leaf, at, value);
        return done;
    }
    if (leaf->count + 2 > PEL_LEAF_STEPS) {
        return -1;
    }
    retain(map, value); /* the changed part is one more */
    if (!change(user, &value)) {
        release(map, value);
        return 0;
    }
    return set_in_leaf(map, leaf, at, lo, hi, value);
}

pel_status pel_interval_map_update(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user,
                                   pel_interval_hint *hint) {
    if (lo >= hi) {
        return PEL_OK;
    }
    if (!map->tree.root && !pel_interval_tree_plant(&map->tree)) {
        return PEL_OUT_OF_MEMORY;
    }
    hint = hint ? hint : &map->last;
    for (int done = -1; done < 0;) {
        uint32_t at;
        pel_interval_leaf *leaf = locate(map, hint, lo, &at);
        if (hi > (at + 1 < leaf->count ? leaf->keys[at + 1] : leaf->high)) {
            break; /* several steps */
        }
        done = change_step(map, leaf, at, lo, hi, change, user);
        if (done >= 0 || !split_around(map, leaf, at)) {
            return done == 1 ? PEL_OK : PEL_OUT_OF_MEMORY;
        }
    }
    if (!cut(map, lo, hint)) {
        return PEL_OUT_OF_MEMORY;
    }
    if (hi != UINT64_MAX && !cut(map, hi, hint)) {
        heal(map, lo, hint);
        return PEL_OUT_OF_MEMORY;
    }
    if (!change_all(map, lo, hi, change, user, hint)) {
        heal(map, hi, hint);
        return PEL_OUT_OF_MEMORY;
    }
    return PEL_OK;
}

void pel_interval_map_alter(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_change_fn change, void *user) {
    if (lo < hi && map->tree.root) {
        (void)change_all(map, lo, hi, change, user, &map->last);
    }
}

typedef struct masks {
    uint64_t clear, set;
} masks;

static bool change_by_masks(void *user, pel_interval_value *value) {
    const masks *m = user;
    value->a = (value->a & ~m->clear) | m->set;
    return true;
}

pel_status pel_interval_map_mask(pel_interval_map *map, uint64_t lo, uint64_t hi, uint64_t clear, uint64_t set,
                                 pel_interval_hint *hint) {
    masks m = {clear, set};
    return !map->tree.root && set == 0 ? PEL_OK : pel_interval_map_update(map, lo, hi, change_by_masks, &m, hint);
}

void pel_interval_map_visit(const pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_visit_fn visit, void *user,
                            pel_interval_hint *hint) {
    if (lo >= hi) {
        return;
    }
    if (!map->tree.root) {
        visit(user, lo, hi, (pel_interval_value){0, 0});
        return;
    }
    uint32_t at;
    const pel_interval_leaf *leaf = locate(map, hint ? hint : &((pel_interval_map *)(uintptr_t)map)->last, lo, &at);
    pel_interval_value value = leaf->values[at];
    for (;;) {
        while (++at < leaf->count && leaf->keys[at] < hi) {
            if (!same(leaf->values[at], value)) { /* else the head of a leaf that repeats the one before */
                if (!visit(user, lo, leaf->keys[at], value)) {
                    return;
                }
                lo = leaf->keys[at];
                value = leaf->values[at];
            }
        }
        if (leaf->high >= hi) {
            visit(user, lo, hi, value);
            return;
        }
        leaf = leaf->next;
        at = UINT32_MAX; /* 0 next */
    }
}

bool pel_interval_map_one(const pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value *value,
                          pel_interval_hint *hint) {
    if (!map->tree.root) {
        *value = (pel_interval_value){0, 0};
        return true;
    }
    uint32_t at;
    const pel_interval_leaf *leaf = locate(map, hint, lo, &at);
    *value = leaf->values[at];
    return hi <= (at + 1 < leaf->count ? leaf->keys[at + 1] : leaf->high);
}

bool pel_interval_map_replace(pel_interval_map *map, uint64_t lo, uint64_t hi, pel_interval_value value,
                              pel_interval_hint *hint) {
    pel_interval_leaf *leaf = hint->leaf;
    uint32_t at = hint->at;
    if (!map->tree.root) {
        return false;
    }
    if (!leaf || at >= leaf->count || leaf->keys[at] != lo) { /* another range of the same command has moved it */
        leaf = locate(map, hint, lo, &at);
    }
    if (leaf->keys[at] != lo) {
        return false;
    }
    const pel_interval_value old = leaf->values[at];
    const bool last = at + 1 == leaf->count;
    if (((old.a | value.a) & map->hooks.references) != 0 || is_gap(value) || (at > 0 && same(leaf->values[at - 1], value))) {
        return false;
    }
    const uint64_t end = last ? leaf->high : leaf->keys[at + 1];
    if (hi != end) {
        if (!last || hi > end || !is_gap(old) || leaf->count == PEL_LEAF_STEPS) {
            return false;
        }
        leaf->keys[at + 1] = hi;
        leaf->values[at + 1] = old;
        leaf->count++;
    } else if (!last && same(leaf->values[at + 1], value)) {
        return false;
    }
    leaf->values[at] = value;
    map->pieces += is_gap(old);
    return true;
}

void pel_interval_map_seek(const pel_interval_map *map, const uint64_t *keys, pel_interval_hint *hints, uint32_t count) {
    uint64_t wanted[PEL_TREE_TOGETHER];
    uint32_t missing[PEL_TREE_TOGETHER], missed = 0;
    for (uint32_t i = 0; map->tree.root && i < count; i++) {
        const pel_interval_leaf *leaf = hints[i].leaf;
        if (!leaf || leaf->count == 0 || keys[i] < leaf->keys[0] ||
            (keys[i] >= leaf->high && !(leaf->next && keys[i] < leaf->next->high))) {
            wanted[missed] = keys[i];
            missing[missed++] = i;
        }
        if (missed == PEL_TREE_TOGETHER || (i + 1 == count && missed > 1)) {
            pel_interval_leaf *leaves[PEL_TREE_TOGETHER];
            pel_interval_tree_leaves(&map->tree, wanted, leaves, missed);
            for (uint32_t k = 0; k < missed; k++) {
                hints[missing[k]] = (pel_interval_hint){leaves[k], 0};
            }
            missed = 0;
        }
    }
}
