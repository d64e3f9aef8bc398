/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: a question to the planner costs 2-3 us, and a program that launches one kernel a thousand times in a row gets one
 * answer a thousand times. The invariant: an answer is used again only where the planner would give it again, or where there is
 * nothing to choose: same kernel, range, sizes and protection; no device with memory of its own, so that nothing depends on where
 * bytes are; one device, or nothing learned since; nothing being tried. And not for long, so that predictions follow and turns
 * are taken. A launch that somebody may ask for its plan is planned as ever. Rejected: a hash of the whole question, which costs
 * what it saves.
 */
#include "queue/habit.h"
#include <string.h>

enum { OLDEST = 16 }; /* launches: of 1,000 in a row 63 are planned */

static pel_habit *place_of(const pel_command *command) {
    return &command->runtime->dispatcher->habits[command->bound.kernel->image.id % PEL_HABITS];
}

static bool is_of(const pel_habit *habit, const pel_command *command, const pel_model_family *family) {
    const pel_bound *bound = &command->bound;
    return habit->kernel == bound->kernel->image.id && habit->family.shape == family->shape &&
           habit->family.kernel == family->kernel && habit->granularity == bound->granularity && habit->single == bound->single &&
           habit->asked == command->asked && memcmp(&habit->span, &bound->span, sizeof bound->span) == 0;
}

bool pel_habit_take(pel_command *command, const pel_model_family *family) {
    pel_runtime *runtime = command->runtime;
    pel_habit *habit = place_of(command);
    char *text = NULL;
    if (command->share_count > 0 || !is_of(habit, command, family) || habit->age >= OLDEST ||
        (runtime->device_count > 1 && habit->lessons != runtime->dispatcher->lessons)) {
        return false;
    }
    const char *why = pel_launch_exclusion(&command->bound, &runtime->devices[habit->device], &text);
    pel_free(&runtime->allocator, text);
    command->slices = why ? NULL : pel_alloc(&runtime->allocator, sizeof *command->slices);
    if (!command->slices) {
        return false;
    }
    habit->age++;
    command->slices[0] = (pel_plan_slice){habit->device, 0, command->bound.units, habit->predicted_ns, habit->group};
    command->slice_count = 1;
    command->protection = habit->protection;
    command->expected_ns = 0;
    command->together_probe = command->variant_probe = false;
    return true;
}

void pel_habit_keep(const pel_command *command, const pel_model_family *family, bool exploring) {
    const pel_runtime *runtime = command->runtime;
    const pel_bound *bound = &command->bound;
    bool at_home = true;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        at_home = at_home && runtime->devices[i].place == 0;
    }
    if (!at_home || exploring || command->slice_count != 1 || command->share_count > 0 || bound->single_text) {
        return;
    }
    *place_of(command) = (pel_habit){.kernel = bound->kernel->image.id,
                                     .family = *family,
                                     .span = bound->span,
                                     .granularity = bound->granularity,
                                     .lessons = runtime->dispatcher->lessons,
                                     .single = bound->single,
                                     .asked = command->asked,
                                     .protection = command->protection,
                                     .device = command->slices[0].device,
                                     .group = command->slices[0].group,
                                     .predicted_ns = command->slices[0].predicted_ns};
}
