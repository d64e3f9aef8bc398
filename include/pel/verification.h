/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verification at run time: some of a launch's chunks, or all, are computed a second time on another device before the launch is
 * complete, and the results are compared. Where they differ a third computation decides; the right bytes land in the buffers, and
 * the plan, the log and the health of the device that was wrong say so. A kernel may carry a check instead
 * (pel_kernel_desc.check), which is cheaper than computing twice.
 */
#ifndef PEL_VERIFICATION_H
#define PEL_VERIFICATION_H

#include <pel/access.h>
#include <pel/export.h>
#include <stdint.h>

PEL_BEGIN_DECLS

enum {
    /* the device itself may be the second one where there is no other: finds faults that come and go, not those that stay */
    PEL_VERIFY_SAME_DEVICE = 1u << 0
};

/*
 * For a launch (pel_launch_desc.verification) or, as a default, for a runtime (pel_runtime_desc.verification, $PEL_VERIFY). A
 * launch that asks for it is refused with NO_DEVICE where no second device can compute it; by default it goes unverified then,
 * and its plan says why.
 *
 * A verified launch has at least the protection "retry": the second computation needs the bytes that the first one began with.
 * All that is declared PEL_WRITE must be written, or it differs.
 *
 * When no two devices agree, each is asked once more, and who contradicts itself is wrong. If that decides nothing either, the
 * launch fails with MISMATCH.
 */
typedef struct pel_verification {
    /* of the chunks, 0 to 1; 0: none. Of 1 / share chunks of a kernel that follow each other one is chosen */
    double share;
    uint64_t seed;             /* of the choice: same seed and same launches, same chunks */
    uint32_t flags;            /* PEL_VERIFY_* */
    /* PEL_F32 or PEL_F64: results are numbers of this kind, and equal when at most `ulps` numbers apart; 0: bit by bit */
    uint32_t scalar;
    uint64_t ulps;
} pel_verification;

#define PEL_VERIFICATION_INIT {0.0, 0, 0, 0, 0}

PEL_END_DECLS
#endif
