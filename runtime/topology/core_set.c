/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sets of logical processors, by operating-system number. A flat bit array rather than hwloc's bitmap: it needs no allocation, is
 * copied by assignment, travels in public structs, and 512 bytes cover every machine that Linux runs on.
 */
#include "topology/core_set.h"
#include <string.h>

enum { WORDS = PEL_CORE_LIMIT / 64 };

void pel_core_set_add(pel_core_set *set, uint32_t core) {
    if (core < PEL_CORE_LIMIT)
        set->bits[core / 64] |= UINT64_C(1) << (core % 64);
}

uint32_t pel_core_set_count(const pel_core_set *set) {
    uint32_t count = 0;
    for (int i = 0; i < WORDS; i++)
        count += (uint32_t)__builtin_popcountll(set->bits[i]);
    return count;
}

void pel_core_set_intersect(pel_core_set *set, const pel_core_set *with) {
    for (int i = 0; i < WORDS; i++)
        set->bits[i] &= with->bits[i];
}

void pel_core_set_unite(pel_core_set *set, const pel_core_set *with) {
    for (int i = 0; i < WORDS; i++)
        set->bits[i] |= with->bits[i];
}

bool pel_core_set_overlaps(const pel_core_set *a, const pel_core_set *b) {
    for (int i = 0; i < WORDS; i++) {
        if ((a->bits[i] & b->bits[i]) != 0)
            return true;
    }
    return false;
}

bool pel_core_set_within(const pel_core_set *part, const pel_core_set *whole) {
    for (int i = 0; i < WORDS; i++) {
        if ((part->bits[i] & ~whole->bits[i]) != 0)
            return false;
    }
    return true;
}

/* One decimal number below PEL_CORE_LIMIT; advances *at. */
static bool parse_core(const char **at, const char *end, uint32_t *core) {
    uint32_t value = 0;
    const char *first = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        value = value * 10 + (uint32_t)(**at - '0');
        if (value >= PEL_CORE_LIMIT)
            return false;
        ++*at;
    }
    *core = value;
    return *at > first;
}

bool pel_core_set_parse(const char *text, size_t length, char separator, pel_core_set *set) {
    memset(set, 0, sizeof *set);
    const char *at = text, *end = text + length;
    for (;;) {
        uint32_t lo, hi;
        if (!parse_core(&at, end, &lo))
            return false;
        hi = lo;
        if (at < end && *at == '-') {
            at++;
            if (!parse_core(&at, end, &hi) || hi < lo)
                return false;
        }
        for (uint32_t core = lo; core <= hi; core++)
            pel_core_set_add(set, core);
        if (at == end)
            return true;
        if (*at++ != separator)
            return false;
    }
}

void pel_core_set_format(const pel_core_set *set, char separator, pel_text *text) {
    bool any = false;
    for (uint32_t lo = 0; lo < PEL_CORE_LIMIT; lo++) {
        if (!pel_core_set_has(set, lo))
            continue;
        uint32_t hi = lo;
        while (pel_core_set_has(set, hi + 1))
            hi++;
        if (any)
            pel_text_append_bytes(text, &separator, 1);
        if (hi > lo) {
            pel_text_format(text, "%u-%u", (unsigned)lo, (unsigned)hi);
        } else {
            pel_text_format(text, "%u", (unsigned)lo);
        }
        any = true;
        lo = hi;
    }
    if (!any)
        pel_text_append(text, "none");
}
