/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan object behind pel_plan: what the planner decided, in words and numbers, completed with the actual times. */
#ifndef PEL_PLANNER_PLAN_H
#define PEL_PLANNER_PLAN_H

#include "planner/planner.h"
#include <pel/plan.h>

/* What the planner cannot know by itself. Texts are copied; NULL: "". */
typedef struct pel_plan_context {
    const char *kernel;
    const char *restriction; /* why it may not be split */
    const char *protection;
    uint32_t split_dimension;
} pel_plan_context;

/* NULL: no memory. The plan is mutable (pel_plan_set_actual) until it is handed out as a snapshot. */
pel_plan *pel_plan_build(const pel_allocator *allocator, const pel_plan_request *request, const pel_plan_result *result,
                         const pel_plan_context *context);

/* What is held back, with its state while the launch runs; NULL: nothing. */
pel_tail *pel_plan_tail(pel_plan *plan);

/* Enters what chunk `index` took. */
void pel_plan_set_actual(pel_plan *plan, uint32_t index, const pel_plan_chunk *measured);
void pel_plan_set_bytes(pel_plan *plan, const pel_plan_bytes *bytes);
/* One more chunk, behind those that there are; OUT_OF_MEMORY. And: chunk `index` failed, so its units are in later chunks
 * again. */
pel_status pel_plan_add_chunk(pel_plan *plan, const char *device, const pel_plan_slice *slice, uint64_t units);
void pel_plan_set_protection(pel_plan *plan, const char *text);
/* Texts are copied. Without memory the plan lacks it. */
void pel_plan_set_verification(pel_plan *plan, const pel_plan_verification *verification);
void pel_plan_chunk_failed(pel_plan *plan, uint32_t index, const char *why);
void pel_plan_set_makespan(pel_plan *plan, double actual_ns);
void pel_plan_set_deprived(pel_plan *plan); /* queue/calm.h */

/* What the models must know of the plan besides its times: fills expected_ns and together_probe. */
void pel_plan_into_lesson(const pel_plan *plan, pel_lesson *lesson);

/* A deep copy with its text composed. NULL: no memory. */
pel_plan *pel_plan_snapshot(const pel_plan *plan);

#endif
