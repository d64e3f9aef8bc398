/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conflict rule: what one chunk writes, no other chunk reads or writes.
 *
 * All intervals of all chunks are laid out by host address, so aliases of every sort (two arguments on one buffer, overlapping
 * wraps, sub-ranges) meet by themselves, and one sweep in address order finds any overlap. For each kind of access it is enough
 * to remember the two furthest ends that belong to different chunks: an interval collides with an earlier one of another chunk
 * exactly if it begins before the further of those that is not its own. O(total log total); rejected: comparing chunks
 * pairwise, O(chunks^2).
 */
#include "base/text.h"
#include "kernel/declaration.h"
#include <inttypes.h>

typedef struct access {
    uint64_t lo, hi; /* host addresses */
    uint32_t owner;  /* chunk, or chunks + argument for a private reduction: at odds with everything but itself */
    uint32_t arg;
    bool write;
} access;

typedef struct accesses {
    access *data;
    size_t count, capacity;
} accesses;

static pel_status push(const pel_allocator *allocator, accesses *all, access next) {
    if (all->count == all->capacity) {
        size_t capacity = all->capacity == 0 ? 32 : all->capacity * 2, bytes;
        if (__builtin_mul_overflow(capacity, sizeof(access), &bytes)) {
            return PEL_OUT_OF_MEMORY;
        }
        access *data = pel_resize(allocator, all->data, bytes);
        if (!data) {
            return PEL_OUT_OF_MEMORY;
        }
        all->data = data;
        all->capacity = capacity;
    }
    all->data[all->count++] = next;
    return PEL_OK;
}

static pel_status push_list(const pel_bound *bound, accesses *all, const pel_intervals *list, uint32_t owner, uint32_t arg,
                            bool write) {
    const pel_bound_arg *bound_arg = &bound->args[arg];
    uint64_t base = (uint64_t)(uintptr_t)bound_arg->allocation->base + bound_arg->offset;
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < list->count && status == PEL_OK; i++) {
        access next = {base + list->data[i].lo, base + list->data[i].hi, owner, arg, write};
        status = push(&bound->kernel->runtime->allocator, all, next);
    }
    return status;
}

static int compare_accesses(const void *left, const void *right) {
    const access *a = left, *b = right;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

/* The two furthest-reaching intervals seen so far, of different owners. */
typedef struct reach {
    const access *first, *second;
} reach;

static void extend(reach *seen, const access *next) {
    if (!seen->first || seen->first->owner == next->owner) {
        if (!seen->first || next->hi > seen->first->hi) {
            seen->first = next;
        }
    } else if (next->hi > seen->first->hi) {
        seen->second = seen->first;
        seen->first = next;
    } else if (!seen->second || next->hi > seen->second->hi) {
        seen->second = next;
    }
}

static const access *met(const reach *seen, const access *next) {
    const access *other = seen->first && seen->first->owner != next->owner ? seen->first : seen->second;
    return other && other->owner != next->owner && other->hi > next->lo ? other : NULL;
}

static bool find_collision(const access *data, size_t count, const access **a, const access **b) {
    reach reads = {NULL, NULL}, writes = {NULL, NULL};
    for (size_t i = 0; i < count; i++) {
        const access *other = met(&writes, &data[i]);
        if (!other && data[i].write) {
            other = met(&reads, &data[i]);
        }
        if (other) {
            *a = other->write ? other : &data[i];
            *b = other->write ? &data[i] : other;
            return true;
        }
        extend(data[i].write ? &writes : &reads, &data[i]);
    }
    return false;
}

static void tell_owner(pel_text *text, const access *which, const uint64_t *cuts, uint32_t chunks) {
    if (which->owner >= chunks) {
        pel_text_format(text, "every chunk's reduction (argument %u)", which->arg);
    } else {
        pel_text_format(text, "the chunk of units [%" PRIu64 ", %" PRIu64 ") (argument %u)", cuts[which->owner],
                        cuts[which->owner + 1], which->arg);
    }
}

static pel_status tell(const pel_bound *bound, const uint64_t *cuts, uint32_t chunks, const access *a, const access *b,
                       char **why) {
    const pel_bound_arg *arg = &bound->args[a->arg];
    uint64_t base = (uint64_t)(uintptr_t)arg->allocation->base + arg->offset;
    uint64_t lo = a->lo > b->lo ? a->lo : b->lo, hi = a->hi < b->hi ? a->hi : b->hi;
    pel_text text;
    pel_text_init(&text, &bound->kernel->runtime->allocator);
    pel_text_format(&text, "bytes [%" PRIu64 ", %" PRIu64 ") of argument %u are written by ", lo - base, hi - base, a->arg);
    tell_owner(&text, a, cuts, chunks);
    pel_text_append(&text, b->write ? " and also by " : " and read by ");
    tell_owner(&text, b, cuts, chunks);
    *why = pel_text_take(&text);
    return *why ? PEL_CONFLICT : PEL_OUT_OF_MEMORY;
}

static bool covers(const pel_intervals *whole, const pel_intervals *part) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < part->count; i++) {
        while (at < whole->count && whole->data[at].hi < part->data[i].hi) {
            at++;
        }
        if (at == whole->count || whole->data[at].lo > part->data[i].lo) {
            return false;
        }
    }
    return true;
}

/* Hazards were computed for the whole launch; a custom function that gives a chunk more than that would break them. */
static pel_status check_covered(const pel_bound *bound, uint32_t arg, const pel_footprint *whole, const pel_footprint *part,
                                uint64_t lo, uint64_t hi, char **why) {
    if (covers(&whole->reads, &part->reads) && covers(&whole->writes, &part->writes)) {
        return PEL_OK;
    }
    pel_text text;
    pel_text_init(&text, &bound->kernel->runtime->allocator);
    pel_text_format(&text,
                    "the access function of argument %u gives units [%" PRIu64 ", %" PRIu64
                    ") bytes that it does not give the whole launch",
                    arg, lo, hi);
    *why = pel_text_take(&text);
    return *why ? PEL_CONFLICT : PEL_OUT_OF_MEMORY;
}

static pel_status gather_chunk(const pel_bound *bound, const uint64_t *cuts, uint32_t chunk, uint32_t arg,
                               const pel_footprint *whole, pel_footprint *scratch, accesses *all, char **why) {
    pel_span span;
    pel_bound_span(bound, cuts[chunk], cuts[chunk + 1], &span);
    pel_status status = pel_footprint_query(bound, &span, arg, scratch);
    if (status == PEL_OK && bound->args[arg].param == PEL_PARAM_KIND_CUSTOM) {
        status = check_covered(bound, arg, whole, scratch, cuts[chunk], cuts[chunk + 1], why);
    }
    if (status == PEL_OK) {
        status = push_list(bound, all, &scratch->reads, chunk, arg, false);
    }
    return status == PEL_OK ? push_list(bound, all, &scratch->writes, chunk, arg, true) : status;
}

static pel_status gather_argument(const pel_bound *bound, const uint64_t *cuts, uint32_t chunks, uint32_t arg,
                                  pel_footprint *whole, pel_footprint *scratch, accesses *all, char **why) {
    pel_status status = pel_footprint_query(bound, &bound->span, arg, whole);
    if (status != PEL_OK) {
        return status;
    }
    if (bound->args[arg].param == PEL_PARAM_KIND_REDUCE_PRIVATE) {
        return push_list(bound, all, &whole->writes, chunks + arg, arg, true);
    }
    for (uint32_t chunk = 0; chunk < chunks && status == PEL_OK; chunk++) {
        status = gather_chunk(bound, cuts, chunk, arg, whole, scratch, all, why);
    }
    return status;
}

static bool anything_written(const pel_bound *bound) {
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].allocation && bound->kernel->image.params[i].mode != PEL_READ) {
            return true;
        }
    }
    return false;
}

pel_status pel_conflict_check(const pel_bound *bound, const uint64_t *cuts, uint32_t chunks, char **why) {
    *why = NULL;
    if (chunks < 2 || !anything_written(bound)) {
        return PEL_OK;
    }
    const pel_allocator *allocator = &bound->kernel->runtime->allocator;
    accesses all = {NULL, 0, 0};
    pel_footprint whole = {0}, scratch = {0};
    pel_status status = PEL_OK;
    for (uint32_t arg = 0; arg < bound->arg_count && status == PEL_OK; arg++) {
        if (bound->args[arg].allocation) {
            status = gather_argument(bound, cuts, chunks, arg, &whole, &scratch, &all, why);
        }
    }
    if (status == PEL_OK && all.count > 0) {
        const access *a, *b;
        pel_heap_sort(all.data, all.count, sizeof *all.data, compare_accesses);
        if (find_collision(all.data, all.count, &a, &b)) {
            status = tell(bound, cuts, chunks, a, b, why);
        }
    }
    pel_footprint_free(allocator, &whole);
    pel_footprint_free(allocator, &scratch);
    pel_free(allocator, all.data);
    return status;
}
