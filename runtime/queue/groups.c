/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/groups.h"
#include "planner/internal.h"

#include <string.h>

#define COMPILES_NS 200e6 /* another size of work-groups, on drivers that compile one variant each: PoCL takes 70 to 300 ms */
enum { DEFAULT_ITEMS = 64 };

/* Nothing is open where the kernel's source demands a size, nor where the caller has sized local memory for its groups. */
static bool is_open(const pel_device *device, const pel_bound *bound) {
    const uint64_t *local = bound->span.local;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].param == PEL_PARAM_KIND_LOCAL) {
            return false;
        }
    }
    return device->facts->info.kind == PEL_DEVICE_OPENCL && local[0] == 0 && local[1] == 0 && local[2] == 0 &&
           (bound->kernel->fixed_group & pel_device_bit(device)) == 0;
}

/* Where the driver takes no group of that size, it is never tried. */
static bool fits(const pel_device *device, const pel_bound *bound, uint32_t arm) {
    const uint64_t largest = bound->kernel->largest_group ? bound->kernel->largest_group[device->index] : 0;
    return largest == 0 || pel_group_sizes[arm] <= largest;
}

void pel_groups_ask(const pel_device *device, const pel_bound *bound, const pel_model_family *family,
                    const pel_plan_request *request, pel_plan_device *entry, pel_group_choice *choice) {
    *choice = (pel_group_choice){0};
    if (!is_open(device, bound) || entry->cost.samples + entry->cost.alone.samples == 0) {
        return;
    }
    pel_group_request question = {.units = (double)request->units,
                                  .launches_seen = request->launches_seen,
                                  .record = request->record,
                                  .variant_ns = COMPILES_NS,
                                  .frozen = !pel_plan_may_try(request),
                                  .costs[0] = entry->cost};
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS; arm++) {
        if (fits(device, bound, arm)) {
            question.allowed |= 1u << arm;
            question.costs[arm] = pel_models_cost(device->runtime->models, family, pel_group_device(device->model_id, arm));
        }
    }
    pel_group_choose(&question, choice);
    entry->cost = question.costs[choice->best];
    entry->model = choice->best != 0 ? pel_group_device(device->model_id, choice->best) : device->model_id;
}

static void say(pel_plan_result *result, const char *device, const pel_group_choice *choice, bool trial) {
    const uint32_t items = pel_group_sizes[trial ? choice->trial : choice->best];
    pel_words words;
    pel_words_begin(&words, result->reason + strlen(result->reason), sizeof result->reason - strlen(result->reason));
    pel_words_put(&words, "; ");
    pel_words_put(&words, device);
    pel_words_put(&words, trial ? " tries work-groups of " : " in work-groups of ");
    pel_words_number(&words, items > 0 ? items : DEFAULT_ITEMS);
    if (!trial) {
        pel_words_put(&words, ", ");
        pel_words_percent(&words, choice->gain);
        pel_words_put(&words, " less than the usual (95 % sure)");
    }
}

/* The sizes that have been seen, as alternatives like any other; nothing where only the usual one has. */
static void list(const pel_plan_request *request, uint32_t device, const pel_group_choice *choice, uint32_t used,
                 pel_plan_result *result) {
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS && result->choice_count < PEL_PLAN_CHOICE_LIMIT; arm++) {
        if (choice->ns[arm] <= 0.0) {
            continue;
        }
        pel_plan_choice *entry = &result->choices[result->choice_count++];
        pel_words words;
        const bool wide = request->device_count > PEL_PLAN_DEVICE_LIMIT;
        *entry = (pel_plan_choice){.device_mask = wide ? 0 : 1ull << device,
                                   .many = wide ? 1 : 0,
                                   .only = device,
                                   .predicted_ns = choice->ns[arm]};
        pel_words_begin(&words, entry->reason, sizeof entry->reason);
        pel_words_put(&words, request->devices[device].id);
        pel_words_put(&words, " alone in work-groups of ");
        pel_words_number(&words, pel_group_sizes[arm]);
        pel_words_put(&words, ": ");
        pel_words_time(&words, choice->ns[arm]);
        pel_words_put(&words, arm == used                    ? "; this size is used"
                              : choice->ns[arm] >= choice->ns[0] ? "; not faster than the usual size"
                              : arm == choice->best          ? "; 95 % sure to be faster than the usual size"
                              : choice->best != 0            ? "; another size is faster, or surer"
                                                             : "; not yet 95 % sure to be faster than the usual size");
    }
}

void pel_groups_apply(const pel_plan_request *request, const pel_group_choice *choices, bool fixed, pel_plan_result *result) {
    bool tried = fixed || result->exploring || !pel_plan_may_try(request);
    for (uint32_t i = 0; i < result->slice_count; i++) {
        pel_plan_slice *slice = result->many ? &result->many[i] : &result->slices[i];
        const pel_group_choice *choice = &choices[slice->device];
        const bool trial = !tried && choice->trial != choice->best;
        slice->group = pel_group_sizes[trial ? choice->trial : choice->best];
        if (trial) {
            tried = result->exploring = result->variant_probe = true;
            result->expected_ns = result->predicted_ns;
        }
        if (trial || choice->best != 0) {
            say(result, request->devices[slice->device].id, choice, trial);
        }
        list(request, slice->device, choice, trial ? choice->trial : choice->best, result);
    }
}

uint64_t pel_groups_model(const pel_device *device, const pel_work *work) {
    for (uint32_t arm = 1; arm < PEL_GROUP_ARMS && work->group != 0; arm++) {
        if (pel_group_sizes[arm] == work->group) {
            return pel_group_device(device->model_id, arm);
        }
    }
    return device->model_id;
}

uint32_t pel_groups_planned(const pel_command *command, uint32_t device) {
    for (uint32_t i = 0; i < command->planned; i++) {
        if (command->slices[i].device == device) {
            return command->slices[i].group;
        }
    }
    return 0;
}
