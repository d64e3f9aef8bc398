/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which chunks are computed twice, whether two results are equal, and who is right.
 *
 * Choice: the chunks of a kernel are numbered as they come, and cut into strata of 1 / share; of each stratum one is chosen by a
 * hash. So the rate holds over any stretch, not only on average, and no rhythm of a program (every fourth launch is the small
 * one) falls in with that of the choice. Rejected: every nth, which has such a rhythm, and a coin for each, which may leave a
 * thousand out.
 *
 * Verdict: what two different devices agree on is right. Agreement is not transitive where numbers may differ a little, so what
 * is asked is who agrees with whom, never a majority of equal bytes. Where no two agree, each device is asked again: one that
 * contradicts itself has a fault that comes and goes, and if only one does not, it is believed. A device that repeats itself
 * against all others proves nothing, and then there is no verdict.
 */
#include "resilience/verdict.h"
#include "base/hash.h"
#include <math.h>
#include <string.h>

/* ---- the choice ---- */

/* The smallest shares put it beyond any number: no chunk gets there. */
static uint64_t stratum_begin(double share, uint64_t stratum) {
    const double begin = ceil((double)stratum / share);
    return begin < 0x1p64 ? (uint64_t)begin : UINT64_MAX;
}

bool pel_verdict_chosen(const pel_verification *how, uint64_t sequence, uint64_t index) {
    if (!(how->share > 0) || how->share >= 1) {
        return how->share >= 1;
    }
    uint64_t stratum = (uint64_t)((double)index * how->share);
    while (stratum > 0 && stratum_begin(how->share, stratum) > index) {
        stratum--;
    }
    while (stratum_begin(how->share, stratum + 1) <= index && index < UINT64_MAX) {
        stratum++;
    }
    const uint64_t lo = stratum_begin(how->share, stratum), size = stratum_begin(how->share, stratum + 1) - lo;
    const uint64_t hash = pel_mix_u64(pel_mix_u64(pel_mix_u64(how->seed, 0x7665726966790000u), sequence), stratum);
    return index - lo == hash % size;
}

/* ---- equality ---- */

/* Numbers in the order of their values as integers in the same order; both zeros are one. */
static int64_t place_f32(const void *at) {
    int32_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits < 0 ? -(int64_t)(bits & INT32_MAX) : bits;
}

static int64_t place_f64(const void *at) {
    int64_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits < 0 ? -(bits & INT64_MAX) : bits;
}

static bool is_nan(const void *at, bool wide) {
    return wide ? (place_f64(at) > 0x7ff0000000000000 || place_f64(at) < -0x7ff0000000000000)
                : (place_f32(at) > 0x7f800000 || place_f32(at) < -0x7f800000);
}

static bool near_enough(const unsigned char *a, const unsigned char *b, bool wide, uint64_t ulps) {
    /* NaNs of different makes are the same answer */
    if (memcmp(a, b, wide ? 8 : 4) == 0 || (is_nan(a, wide) && is_nan(b, wide))) {
        return true;
    }
    if (is_nan(a, wide) || is_nan(b, wide)) {
        return false;
    }
    const int64_t x = wide ? place_f64(a) : place_f32(a), y = wide ? place_f64(b) : place_f32(b);
    const uint64_t apart = x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
    return apart <= ulps;
}

bool pel_verdict_equal(const pel_verification *how, const void *a, const void *b, uint64_t bytes, uint64_t *first) {
    const unsigned char *x = a, *y = b;
    const bool wide = how->scalar == PEL_F64;
    const uint64_t size = wide ? 8 : 4;
    const bool numbers = how->scalar != 0 && bytes % size == 0;
    for (uint64_t at = 0; at < bytes;) { /* equal blocks at memory speed */
        const uint64_t block = bytes - at < 4096 ? bytes - at : 4096;
        if (memcmp(x + at, y + at, (size_t)block) == 0) {
            at += block;
            continue;
        }
        for (const uint64_t end = at + block; at < end; at += numbers ? size : 1) {
            if (numbers ? !near_enough(x + at, y + at, wide, how->ulps) : x[at] != y[at]) {
                *first = at;
                return false;
            }
        }
    }
    return true;
}

/* ---- the verdict ---- */

static bool same_device_only(const pel_verdict_votes *v, uint32_t vote) {
    for (uint32_t k = 0; k < v->count; k++) {
        if (v->counts[k] && (v->agrees[vote] >> k & 1u) != 0 && v->device[k] != v->device[vote]) {
            return false;
        }
    }
    return true;
}

static bool has_a_twin(const pel_verdict_votes *v, uint32_t vote) {
    for (uint32_t k = 0; k < v->count; k++) {
        if (k != vote && v->counts[k] && (v->agrees[vote] >> k & 1u) != 0) {
            return true;
        }
    }
    return false;
}

/* Whether all its votes agree; with a second one. */
static bool repeats_itself(const pel_verdict_votes *v, uint32_t vote) {
    uint32_t votes = 0;
    for (uint32_t k = 0; k < v->count; k++) {
        if (v->counts[k] && v->device[k] == v->device[vote]) {
            votes++;
            if (k != vote && (v->agrees[vote] >> k & 1u) == 0) {
                return false;
            }
        }
    }
    return votes > 1;
}

/* The only device that does not contradict itself. */
static bool only_steady(const pel_verdict_votes *v, uint32_t vote) {
    bool others = false;
    for (uint32_t k = 0; k < v->count; k++) {
        if (v->counts[k] && v->device[k] != v->device[vote]) {
            others = true;
            bool contradicts = false;
            for (uint32_t l = 0; l < v->count; l++) {
                contradicts =
                    contradicts || (l != k && v->counts[l] && v->device[l] == v->device[k] && (v->agrees[k] >> l & 1u) == 0);
            }
            if (!contradicts) {
                return false;
            }
        }
    }
    return others && repeats_itself(v, vote);
}

static bool is_right(const pel_verdict_votes *v, uint32_t vote, bool last) {
    if (!v->counts[vote]) {
        return false;
    }
    if (v->checked) {
        return v->passes[vote];
    }
    return !same_device_only(v, vote) || (v->alone && has_a_twin(v, vote)) || (last && only_steady(v, vote));
}

pel_verdict pel_verdict_find(const pel_verdict_votes *v, bool last, uint32_t *winner, uint32_t *wrong) {
    for (uint32_t i = 0; i < v->count; i++) {
        if (!is_right(v, i, last)) {
            continue;
        }
        *winner = i;
        *wrong = 0;
        for (uint32_t k = 0; k < v->count; k++) {
            const bool fine = v->checked ? v->passes[k] : k == i || (v->agrees[i] >> k & 1u) != 0;
            *wrong |= v->counts[k] && !fine ? 1u << k : 0;
        }
        return PEL_VERDICT_RIGHT;
    }
    return PEL_VERDICT_MORE;
}
