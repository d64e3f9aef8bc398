/* SPDX-License-Identifier: BSD-3-Clause */
/* Results that are compared before a launch is complete. Everything needs runtime->lock unless it says otherwise. */
#ifndef PEL_QUEUE_VERIFY_H
#define PEL_QUEUE_VERIFY_H

#include "base/text.h"
#include "core/device_set.h"
#include "planner/planner.h"
#include "queue/command.h"

/* ---- voters.c ---- */

/* What is asked for, into the bound launch; NO_DEVICE: it cannot be, and was not only the default. Takes the lock. */
pel_status pel_verify_ask(pel_runtime *runtime, const pel_launch_desc *desc, pel_bound *bound, pel_error **error);

/* What it will cost, and who is to do it, into the plan. */
void pel_verify_foresee(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection,
                        const pel_plan_result *result, pel_plan *plan);

/* How often one device may vote on a chunk; a result of its own counts. The third time tells whether it contradicts itself. */
enum { PEL_VOTER_TWICE = 2, PEL_VOTER_THRICE = 3 };

bool pel_voter_may(const pel_bound *bound, const pel_device *device, pel_protection protection);
/* Whoever is done with it first, of those with the fewest votes so far. `load`: what they have to do besides, by index. NULL:
 * nobody is left. */
pel_device *pel_voter_choose(const pel_runtime *runtime, const pel_bound *bound, pel_protection protection, const uint32_t *votes,
                             uint32_t most, const pel_device_set *without, uint64_t units, const double *load);

/* For plans. */
void pel_voters_list(pel_text *text, const pel_runtime *runtime, const pel_device_set *devices);
void pel_verify_say_how(pel_text *text, const pel_verification *how);
void pel_verify_say_ms(pel_text *text, double ns);

/* ---- vote.c ---- */

/* A vote's work has returned. Without the lock. */
void pel_verify_compare(struct pel_vote *vote);

/* ---- verify.c ---- */

/* Before the chunks are built. And whether the next chunk, on this device, is to be verified; once for each. */
pel_status pel_verify_prepare(pel_command *command);
bool pel_verify_samples(pel_command *command, const pel_device *device);

/* All chunks ran. True: works that verify results are under way (PEL_PHASE_VERIFYING). */
bool pel_verify_begin(pel_command *command);
/* These are over. True: others are under way. False: nothing is left to be verified, or the command has failed. */
bool pel_verify_again(pel_command *command);

/* Votes of kernels that poll their cancel flag end soon. */
void pel_verify_cancel(pel_command *command);

void pel_verify_done(pel_command *command); /* what came of it, into the plan */
/* Whether a vote is or was on this device: one that hangs goes on to use what is there. */
bool pel_verify_uses(const pel_command *command, const pel_device *device);
void pel_verify_free(pel_command *command);

#endif
