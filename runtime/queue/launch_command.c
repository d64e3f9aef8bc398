/* SPDX-License-Identifier: BSD-3-Clause */
/* pel_launch and pel_launch_plan: binding, the launch's accesses from its footprint, and the rest as for any command. */
#include "core/device_set.h"
#include "planner/planner.h"
#include "queue/begins.h"
#include "queue/repeat.h"
#include "queue/short_launch.h"
#include "queue/stream.h"
#include "queue/verify.h"
#include <math.h>
#include <string.h>

enum { ALIKE = 16 }; /* ranges of a launch that are compared; with more of them the search would cost what it saves */

static bool is_objective(const pel_objective *objective) {
    return !objective || (objective->reserved == 0 && (uint32_t)objective->kind <= PEL_OBJECTIVE_ENERGY_DELAY &&
                          isfinite(objective->deadline_ns) && objective->deadline_ns >= 0);
}

static pel_status check_launch(pel_queue *queue, const pel_kernel *kernel, const pel_launch_desc *desc, pel_error **error) {
    const pel_allocator *allocator = &queue->runtime->allocator;
    if (!kernel || !desc) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: the %s is NULL", kernel ? "descriptor" : "kernel");
    }
    if (kernel->runtime != queue->runtime) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: kernel %s belongs to another runtime",
                        kernel->image.name);
    }
    if (!is_objective(desc->objective)) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                        "launch of %s: the objective does not exist, its deadline is no time, or its reserved field is not 0",
                        kernel->image.name);
    }
    if ((uint32_t)desc->protection > PEL_PROTECT_ISOLATE) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch of %s: protection %d does not exist",
                        kernel->image.name, (int)desc->protection);
    }
    return PEL_OK;
}

/* The launch's, or the queue's; after binding. */
static void take_objective(pel_queue *queue, const pel_launch_desc *desc, pel_bound *bound) {
    pthread_mutex_lock(&queue->runtime->lock);
    bound->objective = desc->objective ? *desc->objective : queue->objective;
    pthread_mutex_unlock(&queue->runtime->lock);
}

pel_status pel_queue_set_objective(pel_queue *queue, const pel_objective *objective) {
    if (!queue || !is_objective(objective)) {
        return PEL_INVALID_ARGUMENT;
    }
    pthread_mutex_lock(&queue->runtime->lock);
    queue->objective = objective ? *objective : (pel_objective){PEL_OBJECTIVE_TIME, 0, 0};
    pthread_mutex_unlock(&queue->runtime->lock);
    return PEL_OK;
}

static pel_status check_shares(const pel_queue *queue, const pel_launch_desc *desc, pel_error **error) {
    const pel_allocator *allocator = &queue->runtime->allocator;
    pel_device_set seen = {0};
    double sum = 0;
    if (!desc->shares) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: share_count is %u but shares is NULL",
                        desc->share_count);
    }
    if (desc->share_count > PEL_RUNTIME_DEVICE_LIMIT) {
        return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: %u shares; %d at most", desc->share_count,
                        PEL_RUNTIME_DEVICE_LIMIT);
    }
    for (uint32_t i = 0; i < desc->share_count; i++) {
        const pel_share *share = &desc->shares[i];
        if (!share->device || share->device->runtime != queue->runtime) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: shares[%u]: the device is %s", i,
                            share->device ? "another runtime's" : "NULL");
        }
        if (!isfinite(share->weight) || share->weight < 0) {
            return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                            "launch: shares[%u]: the weight is negative or not a number", i);
        }
        for (uint32_t j = 0; pel_device_set_has(&seen, share->device->index) && j < i; j++) {
            if (desc->shares[j].device == share->device) {
                return pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL,
                                "launch: shares[%u] and shares[%u] are the same device", j, i);
            }
        }
        pel_device_set_add(&seen, share->device->index);
        sum += share->weight;
    }
    return isfinite(sum) && sum > 0
               ? PEL_OK
               : pel_fail(error, allocator, PEL_INVALID_ARGUMENT, NULL, "launch: the weights of the shares add up to nothing");
}

/* Bytes that are read and written are looked for once. */
static bool joins(pel_command *command, const pel_bound_arg *arg, const pel_interval *part, pel_access_mode mode) {
    for (uint32_t i = 0; i < command->uses.count && i < ALIKE && mode == PEL_WRITE; i++) {
        pel_use *use = &command->uses.data[i];
        if (use->allocation == arg->allocation && use->lo == arg->offset + part->lo && use->hi == arg->offset + part->hi &&
            use->pitch == 0) {
            use->mode = (pel_access_mode)(use->mode | mode);
            return true;
        }
    }
    return false;
}

static pel_status add_uses(pel_command *command, const pel_bound_arg *arg, const pel_intervals *list, pel_access_mode mode) {
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < list->count && status == PEL_OK; i++) {
        if (joins(command, arg, &list->data[i], mode)) {
            continue;
        }
        status = pel_command_use(command, arg->allocation, arg->offset + list->data[i].lo, arg->offset + list->data[i].hi, mode);
    }
    return status;
}

/* The whole launch's footprint becomes its accesses: all reads first, then all writes. */
static pel_status use_footprint(pel_command *command) {
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_footprint footprint = {0};
    pel_status status = PEL_OK;
    pthread_mutex_lock(&command->runtime->lock);
    for (int pass = 0; pass < 2 && status == PEL_OK; pass++) {
        for (uint32_t i = 0; i < command->bound.arg_count && status == PEL_OK; i++) {
            const pel_bound_arg *arg = &command->bound.args[i];
            if (!arg->allocation) {
                continue;
            }
            status = pel_footprint_query(&command->bound, &command->bound.span, i, &footprint);
            if (status == PEL_OK) {
                status =
                    add_uses(command, arg, pass == 0 ? &footprint.reads : &footprint.writes, pass == 0 ? PEL_READ : PEL_WRITE);
            }
        }
    }
    pthread_mutex_unlock(&command->runtime->lock);
    pel_footprint_free(allocator, &footprint);
    return status;
}

static pel_status copy_shares(pel_command *command, const pel_launch_desc *desc) {
    if (desc->share_count == 0) {
        return PEL_OK;
    }
    command->shares = pel_alloc(&command->runtime->allocator, desc->share_count * sizeof *command->shares);
    if (!command->shares) {
        return PEL_OUT_OF_MEMORY;
    }
    memcpy(command->shares, desc->shares, desc->share_count * sizeof *command->shares);
    command->share_count = desc->share_count;
    return PEL_OK;
}

/* Where a device's memory is too small for all of it, the launch is planned for once now: what fits nowhere is refused here,
 * with the numbers. */
static pel_status check_memory(pel_runtime *runtime, const pel_launch_desc *desc, const pel_bound *bound, pel_error **error) {
    pel_plan_result result;
    pel_plan *plan = NULL;
    if (bound->windows == 0 && !bound->no_windows) {
        return PEL_OK;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_protection protection = desc->protection;
    pel_status status = pel_launch_decide(runtime, bound, desc->shares, desc->share_count, &protection, &result, &plan, error);
    pthread_mutex_unlock(&runtime->lock);
    pel_plan_destroy(plan);
    if (status == PEL_OK) {
        pel_plan_result_free(&runtime->allocator, &result);
    }
    return status;
}

static pel_status prepare(pel_command *command, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                          uint32_t arg_count, pel_error **error) {
    pel_status status = pel_bind(kernel, desc, args, arg_count, &command->bound, error);
    if (status != PEL_OK) {
        return status;
    }
    command->is_bound = true;
    take_objective(command->queue, desc, &command->bound);
    pel_stream_ask(command->runtime, &command->bound);
    status = pel_verify_ask(command->runtime, desc, &command->bound, error);
    if (status != PEL_OK) {
        return status;
    }
    status = check_memory(command->runtime, desc, &command->bound, error);
    if (status != PEL_OK) {
        return status;
    }
    command->asked =
        command->bound.verification.share > 0 && desc->protection < PEL_PROTECT_RETRY ? PEL_PROTECT_RETRY : desc->protection;
    command->deadline_ns = desc->deadline_ns;
    status = copy_shares(command, desc);
    if (status == PEL_OK) {
        status = use_footprint(command);
    }
    return status == PEL_OK
               ? PEL_OK
               : pel_fail(error, &command->runtime->allocator, status, NULL, "no memory for a launch of %s", kernel->image.name);
}

/* The short way: a launch that was made before. False: nothing has happened. */
static bool launch_again(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                         uint32_t arg_count, pel_event **event, pel_status *status) {
    pel_runtime *runtime = queue->runtime;
    if (desc->wait_count > 0 || atomic_load_explicit(&queue->recorder, memory_order_acquire)) {
        return false;
    }
    pel_queue_make_room(queue);
    pel_repeated repeated;
    pthread_mutex_lock(&runtime->lock);
    pel_repeat_way way = pel_repeat_launch(queue, kernel, desc, args, arg_count, event != NULL, true, &repeated);
    if (way == PEL_REPEAT_SHORT) {
        pthread_mutex_unlock(&runtime->lock);
        *status = pel_short_submit(repeated.task, queue, args);
        if (*status != PEL_UNSUPPORTED) {
            return true;
        }
        pthread_mutex_lock(&runtime->lock);
        way = pel_repeat_launch(queue, kernel, desc, args, arg_count, event != NULL, false, &repeated);
    }
    switch (way) {
    case PEL_REPEAT_JOINED:
        *status = PEL_OK;
        pel_dispatcher_unlock_and_begin(runtime);
        return true;
    case PEL_REPEAT_COMMAND:
        *status = pel_command_submit_locked(repeated.command, NULL, 0, event);
        return true;
    case PEL_REPEAT_SHORT:
    case PEL_REPEAT_NEW:
        break;
    }
    pthread_mutex_unlock(&runtime->lock);
    return false;
}

pel_status pel_launch(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t arg_count,
                      pel_event **event) {
    pel_error *error = NULL;
    if (event) {
        *event = NULL;
    }
    if (!queue) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    status = check_launch(queue, kernel, desc, &error);
    if (status == PEL_OK) {
        pel_begins_rouse(kernel, desc);
    }
    if (status == PEL_OK && launch_again(queue, kernel, desc, args, arg_count, event, &status)) {
        return status;
    }
    if (status == PEL_OK && desc->share_count > 0) {
        status = check_shares(queue, desc, &error);
    }
    if (status != PEL_OK) {
        return pel_refuse(queue, status, error);
    }
    pel_command *command = pel_command_new(queue, PEL_COMMAND_LAUNCH, kernel->image.name, desc->priority, &error);
    if (!command) {
        return pel_refuse(queue, PEL_OUT_OF_MEMORY, error);
    }
    status = prepare(command, kernel, desc, args, arg_count, &error);
    if (status != PEL_OK) {
        pel_command_discard(command);
        return pel_refuse(queue, status, error);
    }
    pthread_mutex_lock(&queue->runtime->lock);
    pel_repeat_meet(command, desc, args);
    pthread_mutex_unlock(&queue->runtime->lock);
    return pel_command_submit(command, desc->waits, desc->wait_count, event);
}

pel_status pel_launch_plan(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                           uint32_t arg_count, pel_plan **plan) {
    pel_error *error = NULL;
    pel_bound bound;
    if (!queue || !plan) {
        return PEL_INVALID_ARGUMENT;
    }
    *plan = NULL;
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    status = check_launch(queue, kernel, desc, &error);
    if (status == PEL_OK && desc->share_count > 0) {
        status = check_shares(queue, desc, &error);
    }
    if (status == PEL_OK) {
        status = pel_bind(kernel, desc, args, arg_count, &bound, &error);
    }
    if (status != PEL_OK) {
        return pel_refuse(queue, status, error);
    }
    take_objective(queue, desc, &bound);
    pel_stream_ask(queue->runtime, &bound);
    pel_plan_result result;
    pel_plan *internal = NULL;
    pel_protection protection = desc->protection;
    status = pel_verify_ask(queue->runtime, desc, &bound, &error);
    pthread_mutex_lock(&queue->runtime->lock);
    if (status == PEL_OK) {
        status =
            pel_launch_decide(queue->runtime, &bound, desc->shares, desc->share_count, &protection, &result, &internal, &error);
    }
    pel_unbind(&bound);
    pthread_mutex_unlock(&queue->runtime->lock);
    if (status == PEL_OK) {
        *plan = pel_plan_snapshot(internal);
        status = *plan ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    pel_plan_destroy(internal);
    return status == PEL_OK ? PEL_OK : pel_refuse(queue, status, error);
}
