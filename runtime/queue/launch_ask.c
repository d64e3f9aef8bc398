/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The question of a launch to the planner, and the answer.
 *
 * The planner is pure, so everything it may know is gathered here: cost models, cores, memory limits, bytes that would have to
 * move. The conflict rule is checked on the actual cuts of every plan; when it fails, the launch is planned again for one device,
 * and the plan says why.
 */
#include "base/checked.h"
#include "base/hash.h"
#include "base/text.h"
#include "core/metering.h"
#include "planner/plan.h"
#include "planner/planner.h"
#include "queue/command.h"
#include "queue/begins.h"
#include "queue/groups.h"
#include "queue/isolate.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "queue/transfers.h"
#include "queue/verify.h"
#include "resilience/health.h"
#include <math.h>
#include <string.h>

enum { FEW = 64 }; /* devices that a question has room for itself */

typedef struct question {
    pel_runtime *runtime;
    const pel_bound *bound;
    pel_model_family family;
    pel_plan_request request;
    pel_plan_device *devices;
    pel_group_choice *groups;
    char **excluded; /* composed reasons, freed after the plan is built */
    void *room;      /* of the three, where there are more devices than here: */
    pel_plan_device few_devices[FEW];
    pel_group_choice few_groups[FEW];
    char *few_excluded[FEW];
} question;

/* Quarter octaves: what every item reads decides what an item costs (all pairs, products), and 19 % is within a model's reach. */
static uint64_t size_bucket(uint64_t bytes) { return (uint64_t)(4.0 * log2((double)bytes + 1.0)); }

pel_model_family pel_launch_family(const pel_bound *bound) {
    pel_model_family family = {.kernel = bound->kernel->model_id, .shape = 1, .items_per_unit = 1.0};
    for (uint32_t d = 0; d < bound->span.dims; d++) {
        bool whole = d != bound->span.split;
        family.shape = pel_mix_u64(family.shape, bound->span.local[d]);
        family.shape = pel_mix_u64(family.shape, whole ? bound->span.global[d] : 0);
        family.items_per_unit *= whole ? (double)bound->span.global[d] : 1.0;
    }
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].param == PEL_PARAM_KIND_WHOLE || bound->args[i].param == PEL_PARAM_KIND_POINTER) {
            family.shape = pel_mix_u64(family.shape, size_bucket(bound->args[i].bytes));
        }
    }
    return family;
}

static double guess_rate(const pel_device_info *info) {
    return (info->device_class == PEL_CLASS_DISCRETE ? 8.0 : 1.0) * (info->compute_units > 0 ? info->compute_units : 1);
}

/* What moving bytes to it and back takes for such launches. */
static pel_line link_of(const pel_device *device, const pel_model_family *family) {
    const pel_line usual = {.start_ns = pel_link_latency_ns(device), .unit_ns = 1.0 / pel_link_bytes_per_ns(device)};
    return pel_models_moving(device->runtime->models, family, device->model_id, usual);
}

/* Bytes that would move if this device did the whole launch: inputs that it lacks, and outputs that the caller's memory wants
 * back. */
static void predict_moves(const question *q, const pel_device *device, pel_plan_device *entry, pel_footprint *footprint) {
    double fixed = 0, scaling = 0;
    if (device->place == 0) {
        return;
    }
    const bool streams = pel_stream_needed(q->bound, device);
    for (uint32_t i = 0; i < q->bound->arg_count; i++) {
        const pel_bound_arg *arg = &q->bound->args[i];
        if (!arg->allocation || pel_footprint_query(q->bound, &q->bound->span, i, footprint) != PEL_OK) {
            continue; /* a failed guess costs a worse plan, not the launch */
        }
        double bytes = 0;
        for (uint32_t k = 0; k < footprint->reads.count; k++) {
            const pel_interval *part = &footprint->reads.data[k];
            bytes += streams ? (double)(part->hi - part->lo)
                             : (double)pel_allocation_missing_bytes(arg->allocation, device->place, arg->offset + part->lo,
                                                                    arg->offset + part->hi);
        }
        bool whole = arg->param == PEL_PARAM_KIND_WHOLE || arg->param == PEL_PARAM_KIND_POINTER;
        *(whole ? &fixed : &scaling) += bytes;
        for (uint32_t k = 0; k < footprint->writes.count && (streams || !arg->allocation->owned); k++) {
            scaling += (double)(footprint->writes.data[k].hi - footprint->writes.data[k].lo);
        }
    }
    const pel_line link = link_of(device, &q->family);
    entry->move_start_ns = (fixed + scaling > 0 ? link.start_ns : 0) + fixed * link.unit_ns;
    entry->move_unit_ns = scaling * link.unit_ns / (double)q->bound->units;
}

/* What a unit costs a device whose memory lacks it, because it was another one's before: its part of all split arguments, in
 * and back. */
static double piece_cost(const pel_bound *bound, const pel_device *device, const pel_model_family *family) {
    double bytes = 0;
    for (uint32_t i = 0; i < bound->arg_count && device->place != 0; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        bool split = arg->param != PEL_PARAM_KIND_WHOLE && arg->param != PEL_PARAM_KIND_POINTER &&
                     arg->param != PEL_PARAM_KIND_REDUCE_PRIVATE;
        bytes += arg->allocation && split ? (double)arg->bytes : 0;
    }
    return bytes > 0 ? bytes * link_of(device, family).unit_ns / (double)bound->units : 0;
}

/*
 * Pieces of any size: only where a union of parts reads and writes the union of what the parts do, where nothing has to be saved
 * before each, and where no device takes the launch in windows.
 */
static bool may_grow(const pel_runtime *runtime, const pel_bound *bound) {
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].allocation && (bound->args[i].param == PEL_PARAM_KIND_CUSTOM || pel_retry_must_save(bound, i))) {
            return false;
        }
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        if (pel_stream_needed(bound, &runtime->devices[i])) {
            return false;
        }
    }
    return true;
}

/* How much later than the quickest of them each device is at work. Under a virtual clock those of which nothing is known begin at
 * once. */
static void expect_begins(question *q) {
    double least = INFINITY;
    for (uint32_t i = 0; i < q->runtime->device_count; i++) {
        const double begins = pel_begins_ns(&q->runtime->devices[i]);
        least = !q->devices[i].excluded && (begins > 0.0 || q->runtime->machine) && begins < least ? begins : least;
    }
    for (uint32_t i = 0; i < q->runtime->device_count; i++) {
        const double begins = pel_begins_ns(&q->runtime->devices[i]);
        q->devices[i].begins_ns = begins > least ? begins - least : 0.0;
    }
}

/* What its meter told counts before what was declared. */
static void ask_power(const pel_device *device, pel_plan_device *entry, bool matters) {
    entry->busy_watts = device->busy_watts;
    entry->idle_watts = device->idle_watts;
    if (matters) {
        const pel_metering_state state = pel_metering_watts(device, &entry->busy_watts, &entry->idle_watts);
        entry->watts_measured = state == PEL_METERING_KNOWN;
        entry->watts_pending = state == PEL_METERING_LEARNING;
    }
}

static bool make_room(question *q) {
    const uint32_t count = q->runtime->device_count;
    q->room = NULL;
    q->devices = q->few_devices;
    q->groups = q->few_groups;
    q->excluded = q->few_excluded;
    if (count > FEW) {
        q->room = pel_alloc_zero(&q->runtime->allocator, count,
                                 sizeof *q->devices + sizeof *q->groups + sizeof *q->excluded);
        q->devices = q->room;
        q->groups = (pel_group_choice *)(void *)(q->devices + count);
        q->excluded = (char **)(void *)(q->groups + count);
    }
    return count <= FEW || q->room;
}

/* OUT_OF_MEMORY: nothing is to be forgotten. */
static pel_status ask(question *q, pel_runtime *runtime, const pel_bound *bound) {
    pel_footprint footprint = {0};
    pel_health_tend(runtime);
    q->runtime = runtime; /* not all of its 12 KB are cleared: that took a third of an empty launch's instructions */
    if (!make_room(q)) {
        return PEL_OUT_OF_MEMORY;
    }
    q->bound = bound;
    q->family = pel_launch_family(bound);
    if (bound->objective.kind != PEL_OBJECTIVE_TIME) {
        pel_metering_want(runtime);
    }
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        const pel_device *device = &runtime->devices[i];
        pel_plan_device *entry = &q->devices[i];
        *entry = (pel_plan_device){0};
        q->excluded[i] = NULL;
        entry->id = device->facts->info.id;
        entry->cores = device->facts->info.cores_count > 0 ? &device->facts->info.cores : NULL;
        entry->host_memory = device->place == 0;
        entry->excluded = pel_launch_exclusion(bound, device, &q->excluded[i]);
        entry->model = device->model_id;
        entry->cost = pel_models_cost(runtime->models, &q->family, device->model_id);
        entry->prior_rate = guess_rate(&device->facts->info);
        entry->unit_limit = UINT64_MAX;
        predict_moves(q, device, entry, &footprint);
        entry->piece_unit_ns = piece_cost(bound, device, &q->family);
        entry->piece_start_ns = pel_piece_gap_ns(device);
        ask_power(device, entry, bound->objective.kind != PEL_OBJECTIVE_TIME);
    }
    pel_footprint_free(&runtime->allocator, &footprint);
    q->request = (pel_plan_request){.units = bound->units,
                                    .granularity = bound->granularity,
                                    .single_only = bound->single != NULL,
                                    .devices = q->devices,
                                    .device_count = runtime->device_count,
                                    .record = pel_models_record(runtime->models, &q->family),
                                    .objective = (pel_aim)bound->objective.kind,
                                    .deadline_ns = bound->objective.deadline_ns,
                                    .pieces = may_grow(runtime, bound),
                                    .irregular = (bound->kernel->image.flags & PEL_KERNEL_IRREGULAR) != 0,
                                    .frozen = runtime->frozen,
                                    .launches_seen = atomic_load(&bound->kernel->launches),
                                    .allocator = &runtime->allocator};
    expect_begins(q);
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        pel_groups_ask(&runtime->devices[i], bound, &q->family, &q->request, &q->devices[i], &q->groups[i]);
    }
    return PEL_OK;
}

static pel_status answer_fixed(const question *q, const pel_share *shares, uint32_t count, pel_plan_result *result,
                               pel_error **error) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = shares[i].device->index;
        if (shares[i].weight > 0 && q->devices[index].excluded) {
            return pel_fail(error, &q->runtime->allocator, PEL_NO_DEVICE, NULL, "%s cannot run %s: %s", q->devices[index].id,
                            q->bound->kernel->image.name, q->devices[index].excluded);
        }
        used += shares[i].weight > 0 ? 1u : 0u;
    }
    if (used > 1 && q->bound->single) {
        return pel_fail(error, &q->runtime->allocator, PEL_CONFLICT, NULL, "%s may not be split as asked: %s",
                        q->bound->kernel->image.name, q->bound->single);
    }
    double *weights = pel_alloc(&q->runtime->allocator, count * (sizeof *weights + sizeof(uint32_t)));
    if (!weights) {
        return PEL_OUT_OF_MEMORY;
    }
    uint32_t *devices = (uint32_t *)(void *)(weights + count);
    for (uint32_t i = 0; i < count; i++) {
        devices[i] = shares[i].device->index;
        weights[i] = shares[i].weight;
    }
    pel_status status = pel_planner_fixed(&q->request, devices, weights, count, result);
    pel_free(&q->runtime->allocator, weights);
    return status == PEL_OK
               ? PEL_OK
               : pel_fail(error, &q->runtime->allocator, status, NULL, "%s: %s", q->bound->kernel->image.name, result->reason);
}

/* OK: the cuts of this plan break no rule. CONFLICT: they do, and *why says how. OUT_OF_MEMORY: that is not known. */
static pel_status conflict_of(const question *q, const pel_plan_result *result, char **why) {
    const pel_allocator *allocator = &q->runtime->allocator;
    const pel_plan_slice *slices = pel_plan_slices(result);
    uint64_t few[FEW + PEL_TAIL_PIECES + 1], *cuts = few;
    uint32_t count = 0;
    if (result->slice_count > FEW) {
        cuts = pel_alloc(allocator, (result->slice_count + PEL_TAIL_PIECES + 1u) * sizeof *cuts);
    }
    if (!cuts) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < result->slice_count; i++) {
        cuts[count++] = slices[i].lo;
    }
    for (uint64_t at = result->tail.lo; at < result->tail.hi; at += result->tail.grain) { /* wherever its pieces end */
        cuts[count++] = at;
    }
    if (count < 2) {
        return PEL_OK;
    }
    cuts[count] = result->tail.lo < result->tail.hi ? result->tail.hi : slices[result->slice_count - 1].hi;
    const pel_status status = pel_conflict_check(q->bound, cuts, count, why);
    if (cuts != few) {
        pel_free(allocator, cuts);
    }
    return status == PEL_OK ? PEL_OK : *why ? PEL_CONFLICT : PEL_OUT_OF_MEMORY;
}

static pel_status decide(question *q, const pel_share *shares, uint32_t share_count, pel_plan_result *result, char **conflict,
                         pel_error **error) {
    const pel_allocator *allocator = &q->runtime->allocator;
    pel_status status;
    if (share_count > 0) {
        status = answer_fixed(q, shares, share_count, result, error);
        const pel_status cuts = status == PEL_OK ? conflict_of(q, result, conflict) : PEL_OK;
        const char *why = *conflict ? *conflict : "no memory to check for conflicts";
        return cuts == PEL_OK ? status
                              : pel_fail(error, allocator, cuts, NULL, "%s may not be split as asked: %s",
                                         q->bound->kernel->image.name, why);
    }
    status = pel_planner_plan(&q->request, result);
    if (status == PEL_OK && conflict_of(q, result, conflict) != PEL_OK) {
        q->request.single_only = true;
        pel_plan_result_free(allocator, result);
        status = pel_planner_plan(&q->request, result);
    }
    return status == PEL_OK ? PEL_OK
                            : pel_fail(error, allocator, status, NULL, "%s: %s", q->bound->kernel->image.name, result->reason);
}

double pel_launch_predict(const pel_runtime *runtime, const pel_bound *bound, const pel_device *device, uint64_t units) {
    const pel_model_family family = pel_launch_family(bound);
    const pel_cost cost = pel_models_cost(runtime->models, &family, device->model_id);
    if (cost.alone.samples > 0) {
        return cost.alone.start_ns + cost.alone.unit_ns * pel_cost_counted(&cost, (double)units);
    }
    return cost.samples > 0 ? cost.start_ns + cost.unit_ns * pel_cost_counted(&cost, (double)units) : 0;
}

static void forget_question(question *q) {
    for (uint32_t i = 0; i < q->runtime->device_count; i++) {
        pel_free(&q->runtime->allocator, q->excluded[i]);
    }
    pel_free(&q->runtime->allocator, q->room);
}

pel_status pel_launch_decide(pel_runtime *runtime, const pel_bound *bound, const pel_share *shares, uint32_t share_count,
                             pel_protection *protection, pel_plan_result *result, pel_plan **plan, pel_error **error) {
    question q;
    char protected_by[PEL_PROTECT_TEXT];
    char *conflict = NULL;
    result->many = NULL;
    if (ask(&q, runtime, bound) != PEL_OK) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to plan %s", bound->kernel->image.name);
    }
    const bool verified = bound->verification.share > 0;
    *protection = verified && *protection != PEL_PROTECT_ISOLATE ? PEL_PROTECT_RETRY : *protection;
    /* what is verified is known before it runs; outputs are committed chunk by chunk, and made room for before */
    q.request.pieces = q.request.pieces && !verified && *protection != PEL_PROTECT_ISOLATE;
    for (uint32_t i = 0; i < runtime->device_count && *protection == PEL_PROTECT_ISOLATE; i++) {
        q.devices[i].excluded = q.devices[i].excluded ? q.devices[i].excluded : pel_isolate_refusal(bound, &runtime->devices[i]);
    }
    pel_status status = decide(&q, shares, share_count, result, &conflict, error);
    if (status == PEL_OK) {
        pel_groups_apply(&q.request, q.groups, share_count > 0 || verified, result);
        *protection = pel_retry_choose(runtime, bound, *protection, share_count > 0, result, plan ? protected_by : NULL);
    }
    if (status == PEL_OK && plan) {
        pel_plan_context context = {.kernel = bound->kernel->image.name,
                                    .restriction = conflict ? conflict : bound->single,
                                    .protection = protected_by,
                                    .split_dimension = bound->span.split};
        *plan = pel_plan_build(&runtime->allocator, &q.request, result, &context);
        if (!*plan) {
            status = pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the plan of %s",
                              bound->kernel->image.name);
        } else {
            pel_verify_foresee(runtime, bound, *protection, result, *plan);
        }
    }
    forget_question(&q);
    pel_free(&runtime->allocator, conflict);
    if (status != PEL_OK) {
        pel_plan_result_free(&runtime->allocator, result);
    }
    return status;
}

pel_status pel_launch_replan(pel_command *command, uint64_t lo, uint64_t hi, const pel_failures *without, pel_plan_result *result,
                             pel_error **error) {
    pel_runtime *runtime = command->runtime;
    const pel_bound *bound = &command->bound;
    question q;
    result->many = NULL;
    if (ask(&q, runtime, bound) != PEL_OK) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory to plan %s", bound->kernel->image.name);
    }
    q.request.units = hi - lo;
    q.request.frozen = true; /* no time for experiments */
    q.request.pieces = false;
    q.request.record = NULL;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        if (command->protection == PEL_PROTECT_ISOLATE && !q.devices[i].excluded) {
            q.devices[i].excluded = pel_isolate_refusal(bound, &runtime->devices[i]);
        }
        if (without->failures[i] >= without->refused && !q.devices[i].excluded) {
            q.devices[i].excluded = "it failed a chunk of this launch";
        }
    }
    char *conflict = NULL;
    pel_status status = PEL_OK;
    for (int attempt = 0; attempt < 2 && status == PEL_OK; attempt++) {
        status = pel_planner_plan(&q.request, result);
        for (uint32_t i = 0; i < result->slice_count && status == PEL_OK; i++) {
            pel_plan_slice *slice = result->many ? &result->many[i] : &result->slices[i];
            slice->lo += lo;
            slice->hi += lo;
        }
        if (status != PEL_OK || conflict_of(&q, result, &conflict) == PEL_OK) {
            break;
        }
        pel_free(&runtime->allocator, conflict);
        pel_plan_result_free(&runtime->allocator, result);
        q.request.single_only = true; /* then there is nothing to conflict with */
    }
    forget_question(&q);
    return status == PEL_OK ? PEL_OK : pel_fail(error, &runtime->allocator, status, NULL, "%s", result->reason);
}

static void note_estimates(const pel_plan_result *result, pel_launch_estimate *estimate) {
    uint64_t mask = 0;
    for (uint32_t i = 0; i < result->slice_count; i++) {
        mask |= 1ull << result->slices[i].device;
    }
    if (result->slice_count > 1) {
        estimate->divided = result->predicted_ns > 0 ? mask : 0;
        estimate->divided_ns = result->predicted_ns;
    } else if (result->slice_count == 1) {
        estimate->ns[result->slices[0].device] = result->predicted_ns;
    }
    for (uint32_t i = 0; i < result->choice_count; i++) {
        const pel_plan_choice *choice = &result->choices[i];
        if (choice->device_mask != 0 && (choice->device_mask & (choice->device_mask - 1)) == 0) {
            estimate->ns[__builtin_ctzll(choice->device_mask)] = choice->predicted_ns;
        }
    }
}

void pel_launch_estimate_now(const pel_command *command, pel_launch_estimate *estimate) {
    question q;
    pel_plan_result result;
    char *conflict = NULL;
    *estimate = (pel_launch_estimate){.known = true};
    if (ask(&q, command->runtime, &command->bound) != PEL_OK) {
        return; /* nothing is known; graphs are planned for a few devices only */
    }
    q.request.frozen = true;
    q.request.pieces = false;
    for (uint32_t i = 0; i < q.request.device_count; i++) {
        q.devices[i].move_start_ns = q.devices[i].move_unit_ns = 0; /* the graph knows better where bytes will be */
        if (!q.devices[i].excluded && pel_stream_needed(&command->bound, &command->runtime->devices[i])) {
            q.devices[i].excluded = "it would take the launch in windows";
        }
        estimate->known =
            estimate->known && (q.devices[i].excluded || q.devices[i].cost.samples > 0 || q.devices[i].cost.alone.samples > 0);
    }
    if (decide(&q, command->shares, command->share_count, &result, &conflict, NULL) == PEL_OK) {
        note_estimates(&result, estimate);
        if (command->share_count > 0 && result.slice_count == 1) { /* nowhere else */
            const uint32_t only = result.slices[0].device;
            const double ns = estimate->ns[only];
            memset(estimate->ns, 0, sizeof estimate->ns);
            estimate->ns[only] = ns;
        } else if (command->share_count > 0) {
            memset(estimate->ns, 0, sizeof estimate->ns);
        }
    }
    forget_question(&q);
    pel_free(&command->runtime->allocator, conflict);
}
