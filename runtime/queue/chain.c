/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains: a launch is queued on a device behind launches that it depends on, instead of waiting for them to be reported.
 *
 * The problem: a report costs a wake-up (50-70 us on PoCL), an empty launch 4 us. So where a device keeps the order of its works by itself
 * (pel_backend.chains), a launch begins when all its unfinished predecessors *lead*: each is a launch whose one work is queued on one and the same
 * device and whose end is that work's end. The invariant: node->pending counts unfinished predecessors, `chained` those of them that lead; only
 * where they are equal may a launch begin early. Commands end under the lock, so both cannot drift apart meanwhile.
 *
 * What residency says is written down when a work ends. A launch that would need any byte moved therefore waits as ever: for the others, what
 * they read is valid on the device now, and a predecessor there leaves it so. Launches that the planner tries something with wait too, as they are
 * there to be learned from. A failure spreads as always, and tells works that are queued already not to run. Rejected: waiting only where the
 * device says so (barriers, markers): it cannot know what other devices and the host do.
 */
#include "planner/plan.h"
#include "queue/stream.h"

static pel_command *command_of(const pel_node *node) { return pel_node_kind_of(node) == PEL_NODE_COMMAND ? node->hazard.user : NULL; }

/* More would gain nothing: a report costs what 16 empty launches cost. */
enum { DEPTH = 512 };

static void add(const pel_command *from, pel_command *to) {
    to->astray = to->astray || (to->track && to->track != from->leads);
    to->track = from->leads;
    to->chained++;
}

void pel_chain_added(pel_node *from, pel_node *to) {
    const pel_command *before = command_of(to) ? from->hazard.user : NULL; /* tasks come here without the lock */
    if (before && before->leads) {
        add(before, command_of(to));
    }
}

void pel_chain_left(const pel_node *from, pel_node *to) {
    const pel_command *before = command_of(from);
    pel_command *after = before && before->leads ? command_of(to) : NULL;
    if (after) {
        after->chained--;
    }
}

bool pel_chain_may_begin(const pel_command *command) {
    return command->chained > 0 && command->asked < PEL_PROTECT_RETRY && !command->astray && !command->early && command->kind == PEL_COMMAND_LAUNCH && command->status == PEL_OK &&
           command->track->running < DEPTH && atomic_load_explicit(&command->node->pending, memory_order_acquire) == command->chained;
}

static void unplan(pel_command *command) {
    const pel_allocator *allocator = &command->runtime->allocator;
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job_clear(&command->jobs[i]);
    }
    if (command->slices) {
        atomic_fetch_sub(&command->bound.kernel->launches, 1);
    }
    pel_command_unpin(command);
    pel_free(allocator, command->jobs);
    pel_free(allocator, command->slices);
    pel_free(allocator, command->tail);
    pel_plan_destroy(command->plan);
    pel_error_destroy(command->error);
    command->jobs = NULL;
    command->job_count = command->slice_count = 0;
    command->slices = NULL;
    command->tail = NULL;
    command->plan = NULL;
    command->error = NULL;
    command->status = PEL_OK;
}

/* Whether the whole launch finds all that it reads on the device. */
static bool finds_all_there(const pel_command *command, const pel_device *device) {
    pel_footprint footprint = {0};
    bool all = true;
    for (uint32_t i = 0; i < command->bound.arg_count && all; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        if (!arg->allocation) {
            continue;
        }
        const uint32_t where = arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE ? 0 : device->place;
        if (where == 0 && pel_interval_map_is_empty(arg->allocation->residency)) {
            continue;
        }
        all = pel_footprint_query(&command->bound, &command->bound.span, i, &footprint) == PEL_OK;
        for (uint32_t k = 0; k < footprint.reads.count && all; k++) {
            all = pel_allocation_missing_bytes(arg->allocation, where, arg->offset + footprint.reads.data[k].lo, arg->offset + footprint.reads.data[k].hi) == 0;
        }
    }
    pel_footprint_free(&command->runtime->allocator, &footprint);
    return all;
}

static bool begin_behind(pel_command *command, const pel_device *device) {
    bool exploring = true;
    if (device->lost || !finds_all_there(command, device)) {
        return false;
    }
    pel_status status = pel_launch_plan_now(command, &exploring);
    if (status == PEL_OK && !exploring && command->slice_count == 1 && !command->tail &&
        &command->runtime->devices[command->slices[0].device] == device && !pel_stream_needed(&command->bound, device) &&
        pel_launch_run(command) == PEL_OK && command->jobs[0].work.status == PEL_OK) { /* else it is not with the device: retry.c */
        command->protection = PEL_PROTECT_NONE; /* what it will read and write is not there yet to be saved */
        pel_plan_set_protection(command->plan, "none: it is queued behind launches that it depends on; ask for retry to have it wait for them");
        return true;
    }
    unplan(command); /* a failure is found again when its turn comes */
    return false;
}

bool pel_chain_begin(pel_command *command) {
    command->early = pel_chain_may_begin(command) && begin_behind(command, command->track);
    command->astray = !command->early;
    return command->early;
}

static void offer(pel_node *to, void *user) {
    pel_command *after = command_of(to);
    if (after) {
        add(user, after);
        if (pel_chain_may_begin(after)) {
            pel_command_make_ready(after);
        }
    }
}

void pel_chain_lead(pel_command *command) {
    if (command->part_of || command->kind != PEL_COMMAND_LAUNCH || command->asked >= PEL_PROTECT_RETRY || command->job_count != 1 || command->tail || command->jobs[0].stream ||
        !command->jobs[0].device->driver->backend->chains || pel_launch_fold_count(command) > 0) {
        return;
    }
    command->leads = command->jobs[0].device;
    pel_node_visit(command->node, offer, command);
}
