/* SPDX-License-Identifier: BSD-3-Clause */
/* Work-groups of launches that leave them open, as part of the plan: what is asked of planner/groups.h, and where its answer
 * goes. Under the lock. */
#ifndef PEL_QUEUE_GROUPS_H
#define PEL_QUEUE_GROUPS_H

#include "planner/groups.h"
#include "planner/planner.h"
#include "queue/command.h"

/* Chooses for one device, whose cost becomes that of the chosen arm. Only OpenCL devices, and launches without a local size,
 * have a choice. */
void pel_groups_ask(const pel_device *device, const pel_bound *bound, const pel_model_family *family,
                    const pel_plan_request *request, pel_plan_device *entry, pel_group_choice *choice);

/* The choices, by device, into the plan's slices and words; at most one is a trial, and none where `fixed` or where the plan
 * tries something else. */
void pel_groups_apply(const pel_plan_request *request, const pel_group_choice *choices, bool fixed, pel_plan_result *result);

/* Under which name the models know what the work taught. */
uint64_t pel_groups_model(const pel_device *device, const pel_work *work);

/* The planned group of a device of a command; for its later pieces. */
uint32_t pel_groups_planned(const pel_command *command, uint32_t device);

#endif
