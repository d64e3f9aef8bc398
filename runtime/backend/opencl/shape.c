/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: OpenCL 1.2 wants local sizes that divide, CPU drivers compile one variant per local size (70-300 ms on PoCL), and
 * a NULL local size makes them pick odd ones. So the local size is always ours and one of few: 64 items where nobody asked for
 * another.
 *
 * The invariant: pieces are disjoint and cover the span; within each piece global id = group x local + local id + offset holds
 * for whole-launch numbers, because every piece begins at a multiple of its local size.
 *
 * What does not divide by 64 is cut: a short head and tail run with local size 1 through the chunked form, which keeps
 * whole-launch ids. Rejected: the best divisor of each size (a new variant for each size, and 1 for primes); it is what remains
 * when the chunked form cannot be used. Drivers number the work-groups of an enqueue in 32 bits; a piece with more is halved
 * until each part fits. In rows of 2- and 3-D launches a divisor is tried first: a tail of single columns costs 13 ns an item
 * (PoCL 3.1, 2 cores), a variant is paid once.
 */
#include "backend/opencl/shape.h"

#include "base/checked.h"

/* 64: within 10 % of the best of 32..1024 on PoCL for triad, a 3x3 stencil and a 32-step recurrence (2 cores, 2026-11); 32
 * costs up to 1.8x. */
#define PREFERRED_GROUP 64u
#define PLENTY 1024u /* groups: from so many on there are enough to be shared out evenly, also when each is four times as large */
#define LARGEST_ROW 256u  /* longest row of a work-group that is looked for as a divisor */
#define SMALLEST_ROW 16u  /* shorter divisors waste vector lanes: strips are better */

static uint64_t floor_power_of_two(uint64_t n) {
    uint64_t power = 1;
    while (power <= n / 2) {
        power *= 2;
    }
    return power;
}

/* The largest divisor of n up to `limit`, multiples of 16 and 8 (whole vectors) before others unless those are less than a
 * quarter as long. */
static uint64_t good_divisor(uint64_t n, uint64_t limit) {
    static const uint64_t lanes[] = {16, 8, 1};
    uint64_t best = 0;
    for (unsigned k = 0; k < 3 && 4 * best < limit; k++) {
        for (uint64_t d = limit / lanes[k] * lanes[k]; d >= lanes[k] && d > 0; d -= lanes[k]) {
            if (n % d == 0) {
                best = d > 4 * best ? d : best;
                break;
            }
        }
    }
    return best;
}

static void whole(const pel_span *span, const uint64_t local[3], pel_cl_shape *shape) {
    pel_cl_piece *piece = &shape->pieces[0];
    for (uint32_t d = 0; d < 3; d++) {
        piece->lo[d] = d < span->dims ? span->lo[d] : 0;
        piece->hi[d] = d < span->dims ? span->hi[d] : 1;
        piece->local[d] = d < span->dims && local[d] != 0 ? local[d] : 1;
    }
    shape->count = 1;
}

/* Head, bulk and tail along dimension 0, the bulk in groups of `row`. */
static void strips(const pel_span *span, uint64_t row, pel_cl_shape *shape) {
    uint64_t lo = span->lo[0], hi = span->hi[0];
    uint64_t head = lo % row == 0 ? lo : lo - lo % row + row;
    head = head < hi ? head : hi;
    uint64_t bulk = head + (hi - head) / row * row;
    const uint64_t cuts[4] = {lo, head, bulk, hi};
    shape->count = 0;
    for (uint32_t i = 0; i < PEL_CL_PIECES; i++) {
        if (cuts[i] == cuts[i + 1]) {
            continue;
        }
        pel_cl_shape one;
        whole(span, (const uint64_t[3]){i == 1 ? row : 1, 1, 1}, &one);
        one.pieces[0].lo[0] = cuts[i];
        one.pieces[0].hi[0] = cuts[i + 1];
        shape->pieces[shape->count++] = one.pieces[0];
    }
}

/* Everything that a local size in dimension d must divide. */
static uint64_t extent(const pel_span *span, uint32_t d) {
    return pel_gcd_u64(span->hi[d] - span->lo[d], span->lo[d]);
}

static const char *fixed(const pel_span *span, const uint64_t local[3], const pel_cl_limits *limits, pel_cl_shape *shape,
                         pel_status *status) {
    uint64_t room = limits->max_group;
    whole(span, local, shape);
    const pel_cl_piece *piece = &shape->pieces[0];
    for (uint32_t d = 0; d < 3; d++) {
        if ((piece->hi[d] - piece->lo[d]) % piece->local[d] != 0 || (shape->chunked && piece->lo[d] % piece->local[d] != 0)) {
            *status = PEL_INVALID_ARGUMENT;
            return "its local size does not divide the range";
        }
        if (room < piece->local[d]) {
            *status = PEL_UNSUPPORTED;
            return "its work-group is larger than the device allows for this kernel";
        }
        room /= piece->local[d];
    }
    return NULL;
}

/* 1-D: fixed groups and short ends. */
static void choose_line(const pel_span *span, bool may_cut, uint64_t row, uint64_t max_group, pel_cl_shape *shape) {
    uint64_t items = span->hi[0] - span->lo[0];
    if (extent(span, 0) % row == 0) {
        whole(span, (const uint64_t[3]){row, 1, 1}, shape);
    } else if (!shape->chunked && items < row) {
        whole(span, (const uint64_t[3]){1, 1, 1}, shape);
    } else if (may_cut) {
        shape->chunked = true;
        strips(span, row, shape);
    } else {
        whole(span, (const uint64_t[3]){good_divisor(items, max_group < LARGEST_ROW ? max_group : LARGEST_ROW), 1, 1}, shape);
    }
}

/*
 * Long rows: what PoCL does for each group, and the prelude's share of that, is about a tenth of a Jacobi iteration with groups
 * of 64 items, a quarter of that with 256 (2 cores, 2026-11). In lines it is not: there kernels are written for any local size.
 */
static bool is_plenty(const pel_span *span, uint64_t width) {
    const uint64_t rows = span->hi[1] - span->lo[1];
    return width % LARGEST_ROW == 0 && (rows >= PLENTY || rows * (width / LARGEST_ROW) >= PLENTY);
}

bool pel_cl_shape_is_plenty(const pel_span *span) { return span->dims > 1 && is_plenty(span, extent(span, 0)); }

/* 2- and 3-D: whole vectors along a row, then more rows when rows are short. */
static void choose_rows(const pel_span *span, bool may_cut, uint64_t row, uint64_t asked, uint64_t max_group,
                        pel_cl_shape *shape) {
    uint64_t width = shape->chunked ? extent(span, 0) : span->hi[0] - span->lo[0];
    uint64_t limit = max_group < LARGEST_ROW ? max_group : LARGEST_ROW;
    uint64_t x = asked == 0 && limit == LARGEST_ROW && is_plenty(span, width) ? LARGEST_ROW
                 : width % row == 0                                           ? row
                                                                              : good_divisor(width, limit);
    if (x < SMALLEST_ROW && span->hi[0] - span->lo[0] >= row && may_cut && span->dims == 2) {
        shape->chunked = true;
        strips(span, row, shape);
        return;
    }
    uint64_t y = 1;
    uint64_t height = shape->chunked ? extent(span, 1) : span->hi[1] - span->lo[1];
    while (x * y * 2 <= row && height % (y * 2) == 0) {
        y *= 2;
    }
    whole(span, (const uint64_t[3]){x, y, 1}, shape);
}

static uint64_t groups_along(const pel_cl_piece *piece, uint32_t d) { return (piece->hi[d] - piece->lo[d]) / piece->local[d]; }

static bool has_more_groups(const pel_cl_piece *piece, uint64_t limit) {
    uint64_t groups = 1;
    for (uint32_t d = 0; d < 3; d++) {
        if (!pel_mul_u64(groups, groups_along(piece, d), &groups)) {
            return true;
        }
    }
    return limit != 0 && groups > limit;
}

/* A 3-D launch can be cut along dimension 2 only (backend/addressing.h), others along any. */
static uint32_t longest_dimension(const pel_cl_piece *piece, uint32_t dims) {
    return dims == 3 ? 2 : groups_along(piece, 1) > groups_along(piece, 0) ? 1 : 0;
}

bool pel_cl_piece_halve(pel_cl_piece *piece, uint32_t dims, uint64_t max_groups, pel_cl_piece *rest) {
    uint32_t d = longest_dimension(piece, dims);
    uint64_t groups = groups_along(piece, d);
    if (groups < 2 || !has_more_groups(piece, max_groups)) {
        return false;
    }
    *rest = *piece;
    rest->lo[d] = piece->hi[d] = piece->lo[d] + groups / 2 * piece->local[d];
    return true;
}

/* More work-groups than one enqueue takes: several enqueues, which need the whole launch's ids. */
static const char *fit_groups(const pel_span *span, bool cuttable, const char *uncuttable, uint64_t max_groups,
                              pel_cl_shape *shape, pel_status *status) {
    for (uint32_t i = 0; i < shape->count; i++) {
        pel_cl_piece least = shape->pieces[i];
        if (!has_more_groups(&least, max_groups)) {
            continue;
        }
        least.hi[2] = span->dims == 3 ? least.lo[2] + least.local[2] : least.hi[2];
        if (!cuttable || (span->dims == 3 && has_more_groups(&least, max_groups))) {
            *status = PEL_TOO_LARGE;
            return cuttable ? "a slab of it has more work-groups than the device takes at once" : uncuttable;
        }
        shape->chunked = true;
    }
    return NULL;
}

static const char *make(const pel_span *span, bool chunked, bool plain_only, const pel_cl_limits *limits, pel_cl_shape *shape,
                        pel_status *status) {
    bool cuttable = !plain_only && pel_addressing_refusal(span) == NULL;
    const uint64_t *local = span->local;
    bool given = false;

    shape->count = 0;
    shape->chunked = chunked;
    *status = PEL_UNSUPPORTED;
    if (chunked && !cuttable) {
        return plain_only ? "its source changes the functions that tell ids and sizes" : pel_addressing_refusal(span);
    }
    for (uint32_t d = 0; d < span->dims; d++) {
        if (span->hi[d] <= span->lo[d]) {
            return NULL; /* empty: nothing to enqueue */
        }
        given |= span->local[d] != 0;
    }
    if (limits->required[0] != 0) {
        for (uint32_t d = 0; d < 3; d++) {
            uint64_t asked = d < span->dims && given ? (local[d] ? local[d] : 1) : limits->required[d];
            if (asked != limits->required[d] || (d >= span->dims && limits->required[d] > 1)) {
                *status = PEL_INVALID_ARGUMENT;
                return "its local size is not the one that the kernel's reqd_work_group_size demands";
            }
        }
        local = limits->required;
        given = true;
    }
    if (given) {
        return fixed(span, local, limits, shape, status);
    }
    const uint64_t preferred = limits->preferred != 0 ? limits->preferred : PREFERRED_GROUP;
    uint64_t row = floor_power_of_two(limits->max_group < preferred ? limits->max_group : preferred);
    if (span->dims == 1) {
        choose_line(span, cuttable, row, limits->max_group, shape);
    } else {
        choose_rows(span, cuttable, row, limits->preferred != 0 ? row : 0, limits->max_group, shape);
    }
    return NULL;
}

const char *pel_cl_shape_make(const pel_span *span, bool chunked, bool plain_only, const pel_cl_limits *limits,
                              pel_cl_shape *shape, pel_status *status) {
    const char *why = make(span, chunked, plain_only, limits, shape, status);
    const char *refusal = pel_addressing_refusal(span);
    const char *uncuttable =
        plain_only ? "it has more work-groups than the device takes at once, and its source or the device allows no chunks"
                   : refusal;
    return why ? why : fit_groups(span, !plain_only && !refusal, uncuttable, limits->max_groups, shape, status);
}
