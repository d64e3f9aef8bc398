/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The held-back tail of a division: the end of the range, handed out in shrinking pieces to whoever is free.
 *
 * A division ends when its last device does, and each is late or early by luck and by what the models do not know. So a part of
 * about two standard deviations of each device's time stays in one place at the end of the range, and who is done asks for a
 * piece of it. The piece follows from water-filling what is left over all devices, at the times when they are expected to be
 * free: half of the asker's share while much is uncertain, all of it when another start would cost more than the doubt.
 * Invariants: pieces are whole grains, in order, and cover the tail; who is told that it must takes something; the answer depends
 * on the arguments alone. Rejected: packages from the begin of the range on (each costs a start), a tail beside every device's
 * part (who is late is late with its own).
 */
#ifndef PEL_PLANNER_TAIL_H
#define PEL_PLANNER_TAIL_H

#include "model/profile.h"
#include <stdbool.h>
#include <stdint.h>

#define PEL_TAIL_PIECES 128u
#define PEL_TAIL_DEVICES 64u

typedef struct pel_tail_device {
    uint32_t device;
    bool busy, refused;
    double start, unit;     /* ns of a piece: start + unit x work */
    double deviation;       /* relative, of one chunk's time */
    double doubt;           /* relative standard error of the prediction itself */
    double began, expected; /* ns: the chunk that it works on, and its predicted time (0: unknown) */
} pel_tail_device;

typedef struct pel_tail {
    uint64_t lo, hi, grain; /* units; lo == hi: nothing is held back */
    uint64_t at;            /* handed out up to here */
    uint64_t units;         /* of the whole range */
    bool profiled;
    uint32_t count;
    pel_tail_device devices[PEL_TAIL_DEVICES];
    double cumulative[PEL_PROFILE_BINS + 1]; /* of the work, where profiled */
} pel_tail;

typedef struct pel_tail_piece {
    uint32_t device;
    uint64_t lo, hi;
    double predicted_ns;
} pel_tail_piece;

/* The device begins [lo, hi) at `now_ns`. */
void pel_tail_begin(pel_tail *tail, const pel_tail_piece *piece, double now_ns);

/* It ended; `took_ns` corrects what is expected of it in this launch, 0: says nothing (something was compiled in it). */
void pel_tail_end(pel_tail *tail, uint32_t device, double took_ns);

/* The device failed: it gets nothing more unless nobody else is there. */
void pel_tail_refuse(pel_tail *tail, uint32_t device);

/*
 * The next piece for a device that is free; false: none, the others will do it. `must`: nobody else will. Call pel_tail_begin
 * when it starts.
 */
bool pel_tail_next(pel_tail *tail, uint32_t device, double now_ns, bool must, pel_tail_piece *piece);

/* Work in [lo, hi). */
double pel_tail_work(const pel_tail *tail, uint64_t lo, uint64_t hi);

/* Most pieces that it can become; NULL: 0. */
static inline uint32_t pel_tail_pieces(const pel_tail *tail) {
    return tail != 0 ? (uint32_t)((tail->hi - tail->lo + tail->grain - 1) / tail->grain) : 0;
}

static inline bool pel_tail_left(const pel_tail *tail) {
    return tail->at < tail->hi;
}

#endif
