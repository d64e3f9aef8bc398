/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a launch: the question to the planner, its answer as chunks, the merge of partial results, what was learned.
 *
 * The planner is pure, so everything it may know is gathered here: cost models, cores, memory limits, bytes that would have to
 * move. The conflict rule is checked on the actual cuts of every plan; when it fails, the launch is planned again for one device,
 * and the plan says why.
 */
#include "base/checked.h"
#include "base/hash.h"
#include "base/reduce.h"
#include "base/text.h"
#include "core/metering.h"
#include "planner/plan.h"
#include "planner/planner.h"
#include "queue/command.h"
#include "queue/graph_plan.h"
#include "queue/begins.h"
#include "queue/calm.h"
#include "queue/claim.h"
#include "queue/stream.h"
#include "queue/transfers.h"
#include "queue/isolate.h"
#include "queue/groups.h"
#include "queue/habit.h"
#include "queue/repeat.h"
#include "queue/retry.h"
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

static pel_model_family family_of(const pel_bound *bound) {
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

/* How much later than the quickest of them each device is at work. */
static void expect_begins(question *q) {
    double least = 0.0;
    for (uint32_t i = 0; i < q->runtime->device_count; i++) {
        const double begins = pel_begins_ns(&q->runtime->devices[i]);
        least = begins > 0.0 && !q->devices[i].excluded && (least == 0.0 || begins < least) ? begins : least;
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
    q->family = family_of(bound);
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

/* NULL: the cuts of this plan break no rule. "": no memory to find out. */
static char *conflict_of(const question *q, const pel_plan_result *result) {
    const pel_allocator *allocator = &q->runtime->allocator;
    const pel_plan_slice *slices = pel_plan_slices(result);
    uint64_t few[FEW + PEL_TAIL_PIECES + 1], *cuts = few;
    char *why = NULL;
    uint32_t count = 0;
    if (result->slice_count > FEW) {
        cuts = pel_alloc(allocator, (result->slice_count + PEL_TAIL_PIECES + 1u) * sizeof *cuts);
    }
    if (!cuts) {
        return pel_strdup(allocator, "out of memory while checking for conflicts");
    }
    for (uint32_t i = 0; i < result->slice_count; i++) {
        cuts[count++] = slices[i].lo;
    }
    for (uint64_t at = result->tail.lo; at < result->tail.hi; at += result->tail.grain) { /* wherever its pieces end */
        cuts[count++] = at;
    }
    if (count < 2) {
        return NULL;
    }
    cuts[count] = result->tail.lo < result->tail.hi ? result->tail.hi : slices[result->slice_count - 1].hi;
    pel_status status = pel_conflict_check(q->bound, cuts, count, &why);
    if (status != PEL_OK && !why) {
        why = pel_strdup(allocator, "out of memory while checking for conflicts");
    }
    if (cuts != few) {
        pel_free(allocator, cuts);
    }
    return why;
}

static pel_status decide(question *q, const pel_share *shares, uint32_t share_count, pel_plan_result *result, char **conflict,
                         pel_error **error) {
    const pel_allocator *allocator = &q->runtime->allocator;
    pel_status status;
    if (share_count > 0) {
        status = answer_fixed(q, shares, share_count, result, error);
        *conflict = status == PEL_OK ? conflict_of(q, result) : NULL;
        return *conflict ? pel_fail(error, allocator, PEL_CONFLICT, NULL, "%s may not be split as asked: %s",
                                    q->bound->kernel->image.name, *conflict)
                         : status;
    }
    status = pel_planner_plan(&q->request, result);
    *conflict = status == PEL_OK ? conflict_of(q, result) : NULL;
    if (*conflict) {
        q->request.single_only = true;
        pel_plan_result_free(allocator, result);
        status = pel_planner_plan(&q->request, result);
    }
    return status == PEL_OK ? PEL_OK
                            : pel_fail(error, allocator, status, NULL, "%s: %s", q->bound->kernel->image.name, result->reason);
}

double pel_launch_predict(const pel_runtime *runtime, const pel_bound *bound, const pel_device *device, uint64_t units) {
    const pel_model_family family = family_of(bound);
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
        conflict = status == PEL_OK ? conflict_of(&q, result) : NULL;
        if (!conflict) {
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

pel_status pel_launch_take_device(pel_command *command, uint32_t device, double predicted_ns) {
    pel_runtime *runtime = command->runtime;
    char *text = NULL;
    const char *why = pel_launch_exclusion(&command->bound, &runtime->devices[device], &text);
    pel_free(&runtime->allocator, text);
    if (why) {
        return PEL_NO_DEVICE;
    }
    command->slices = pel_alloc(&runtime->allocator, sizeof *command->slices);
    if (!command->slices) {
        return PEL_OUT_OF_MEMORY;
    }
    const pel_plan_result result = {.slices = {{.device = device, .hi = command->bound.units, .predicted_ns = predicted_ns}},
                                    .slice_count = 1,
                                    .predicted_ns = predicted_ns};
    command->slices[0] = result.slices[0];
    command->slice_count = command->planned = 1;
    command->protection = pel_retry_choose(runtime, &command->bound, command->asked, false, &result, NULL);
    command->expected_ns = 0;
    command->together_probe = command->variant_probe = false;
    return PEL_OK;
}

/* Nobody can ask for the plan of a launch whose event nobody has, now or later. */
static bool is_asked_for(const pel_command *command) {
    return pel_event_is_shared(command->event);
}

/* Planned for something else than time. */
static bool has_aim(const pel_bound *bound) {
    return bound->objective.kind != PEL_OBJECTIVE_TIME || bound->objective.deadline_ns > 0;
}

pel_status pel_launch_plan_now(pel_command *command, bool *exploring) {
    pel_runtime *runtime = command->runtime;
    pel_plan_result result;
    pel_error *error = NULL;
    const bool has_habits = !has_aim(&command->bound) && command->bound.verification.share == 0;
    const bool as_ever = !is_asked_for(command) && has_habits;
    *exploring = false;
    if (command->part_of && pel_graph_plan_take(command)) {
        atomic_fetch_add_explicit(&command->bound.kernel->launches, 1, memory_order_relaxed);
        return PEL_OK;
    }
    if (as_ever && pel_repeat_decide(command)) {
        atomic_fetch_add_explicit(&command->bound.kernel->launches, 1, memory_order_relaxed);
        return PEL_OK;
    }
    const pel_model_family family = family_of(&command->bound);
    if (as_ever && !command->repeat && pel_habit_take(command, &family)) {
        atomic_fetch_add(&command->bound.kernel->launches, 1);
        return PEL_OK;
    }
    command->protection = command->asked;
    pel_status status = pel_launch_decide(runtime, &command->bound, command->shares, command->share_count, &command->protection,
                                          &result, is_asked_for(command) ? &command->plan : NULL, &error);
    if (status == PEL_OK) {
        const bool tailed = pel_tail_left(&result.tail);
        const uint32_t pieces = tailed ? pel_tail_pieces(&result.tail) : 0;
        command->slices = pel_alloc(&runtime->allocator, ((size_t)result.slice_count + pieces) * sizeof *command->slices);
        command->tail = tailed ? pel_alloc(&runtime->allocator, sizeof *command->tail) : NULL;
        status = command->slices && (command->tail || !tailed) ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    if (status != PEL_OK) {
        pel_plan_result_free(&runtime->allocator, &result);
        pel_command_fail(command, status, error);
        return status;
    }
    if (command->tail) {
        *command->tail = result.tail;
    }
    memcpy(command->slices, pel_plan_slices(&result), result.slice_count * sizeof *command->slices);
    pel_plan_result_free(&runtime->allocator, &result);
    command->slice_count = command->planned = result.slice_count;
    command->expected_ns = result.expected_ns;
    command->together_probe = result.together_probe;
    command->variant_probe = result.variant_probe;
    *exploring = result.exploring;
    if (has_habits && !command->tail) {
        pel_habit_keep(command, &family, result.exploring);
        pel_repeat_keep(command, result.exploring);
    }
    atomic_fetch_add(&command->bound.kernel->launches, 1);
    return PEL_OK;
}

typedef struct gather {
    pel_runtime *runtime;
    pel_uses needed;
    pel_allocation *allocation;
    bool failed;
} gather;

static bool gather_missing(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    gather *g = user;
    if (!pel_places_at_home(places)) {
        g->failed = !pel_uses_add(&g->runtime->allocator, &g->needed, g->allocation, lo, hi, PEL_READ);
    }
    return !g->failed;
}

/* What must be in host memory before a device can start with [lo, hi): its inputs that neither it nor the host has. */
static pel_status gather_for(pel_command *command, gather *g, const pel_device *device, uint64_t lo, uint64_t hi) {
    pel_footprint footprint = {0};
    pel_status status = PEL_OK;
    pel_span span;
    /* A protected launch may run again elsewhere, so it begins with all its inputs in host memory. */
    const uint32_t place = command->protection >= PEL_PROTECT_RETRY ? 0 : device->place;
    const bool streams = pel_stream_needed(&command->bound, device);
    pel_bound_span(&command->bound, lo, hi, &span);
    for (uint32_t i = 0; i < command->bound.arg_count && status == PEL_OK; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        if (!arg->allocation) {
            continue;
        }
        g->allocation = arg->allocation;
        bool through = streams && pel_stream_windowed(&command->bound, i);
        uint32_t where = through || arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE ? 0 : place;
        if (where == 0 && pel_interval_map_is_empty(arg->allocation->residency)) { /* all of it is at home */
            continue;
        }
        status = pel_footprint_query(&command->bound, &span, i, &footprint);
        for (uint32_t k = 0; k < footprint.reads.count && status == PEL_OK; k++) {
            pel_allocation_missing(arg->allocation, where, arg->offset + footprint.reads.data[k].lo,
                                   arg->offset + footprint.reads.data[k].hi, gather_missing, g);
            status = g->failed ? PEL_OUT_OF_MEMORY : PEL_OK;
        }
    }
    pel_footprint_free(&command->runtime->allocator, &footprint);
    return status;
}

/* For all slices, and for whoever may take whichever piece of the tail. */
static pel_status gather_needed(pel_command *command, gather *g) {
    const pel_device *devices = command->runtime->devices;
    const pel_tail *tail = command->tail;
    pel_status status = PEL_OK;
    uint64_t asked = 0;
    for (uint32_t s = 0; s < command->slice_count && status == PEL_OK; s++) {
        status = gather_for(command, g, &devices[command->slices[s].device], command->slices[s].lo, command->slices[s].hi);
    }
    for (uint32_t i = 0; tail && i < tail->count && status == PEL_OK; i++) {
        const pel_device *device = &devices[tail->devices[i].device];
        if (device->place >= PEL_PLACE_BITS || (asked >> device->place & 1u) == 0) {
            asked |= device->place < PEL_PLACE_BITS ? 1ull << device->place : 0;
            status = gather_for(command, g, device, tail->lo, tail->hi);
        }
    }
    return status;
}

pel_status pel_launch_start(pel_command *command, bool *stalled) {
    if (!command->slices) { /* else it was planned already and had stalled */
        bool exploring;
        pel_status status = pel_launch_plan_now(command, &exploring);
        if (status != PEL_OK) {
            return status;
        }
    }
    if (pel_repeat_is_home(command)) {
        return PEL_OK;
    }
    gather g = {.runtime = command->runtime};
    pel_status status = pel_launch_claim(command, &g.needed, stalled, &command->makes_room);
    if (status != PEL_OK || *stalled) {
        pel_uses_free(&command->runtime->allocator, &g.needed);
        return status;
    }
    status = command->makes_room ? PEL_OK : gather_needed(command, &g);
    if (status == PEL_OK) {
        status = pel_fetch_home(command, &g.needed, stalled);
    } else {
        pel_command_fail(command, status, NULL);
    }
    pel_uses_free(&command->runtime->allocator, &g.needed);
    return status;
}

pel_status pel_launch_run(pel_command *command) {
    pel_error *error = NULL;
    pel_metering_look(command->runtime);
    command->processor_ns = pel_calm_begin(command);
    pel_begins_note(command);
    if (pel_repeat_run(command)) {
        return PEL_OK;
    }
    command->job_limit = command->slice_count + pel_tail_pieces(command->tail);
    command->jobs = pel_alloc_zero(&command->runtime->allocator, command->job_limit, sizeof *command->jobs);
    pel_status status = command->jobs ? pel_verify_prepare(command) : PEL_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < command->slice_count && status == PEL_OK; i++) {
        pel_device *device = &command->runtime->devices[command->slices[i].device];
        command->jobs[i] = (pel_job){.command = command,
                                     .device = device,
                                     .data_parallel = true,
                                     .sampled = pel_verify_samples(command, device),
                                     .done = command->tail ? pel_launch_chunk_done : NULL};
        command->job_count++;
        status = pel_retry_build(&command->jobs[i], &command->slices[i], &error);
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    } else {
        pel_launch_drain(command);
        pel_repeat_built(command);
        command->built = pel_clock_now(command->runtime->clock);
    }
    pel_launch_tail_begin(command);
    return status;
}

static double compute_ns(const pel_work *work) {
    return (double)(work->step_count > 0 ? work->computed : work->launch_ended - work->launch_began);
}

/* What a chunk's bytes took, in and out; nothing where they moved while others were computed on. */
static void note_moves(const pel_job *job, pel_lesson_chunk *chunk) {
    const pel_work *work = &job->work;
    const bool in = work->in_count > 0, out = work->out_count > 0;
    if (job->device->place == 0 || work->step_count > 0 || (!in && !out)) {
        return;
    }
    chunk->memory = job->device->model_id;
    chunk->bytes = (double)(pel_transfers_bytes(work->in, work->in_count) + pel_transfers_bytes(work->out, work->out_count));
    chunk->move_ns = in ? (double)(work->launch_began - work->began) : 0;
    chunk->move_ns += out ? (double)(work->ended - work->launch_ended) : 0;
}

/* Hands what the chunks took to the models: the kernel's own times, and apart from them what moving their bytes took. */
static void learn(pel_command *command, double makespan_ns) {
    pel_lesson_chunk few[FEW + PEL_TAIL_PIECES], *chunks = few;
    /* one that was cancelled took less than it takes */
    if (command->status != PEL_OK || command->runtime->frozen || pel_repeat_taught(command)) {
        return;
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        /* a share of several launches' time is not what one takes */
        if (job->superseded || job->work.status != PEL_OK || job->work.pooled) {
            return;
        }
    }
    if (command->job_count > FEW + PEL_TAIL_PIECES) {
        chunks = pel_alloc(&command->runtime->allocator, command->job_count * sizeof *chunks);
    }
    if (!chunks) {
        return; /* not learned, nothing broken */
    }
    pel_lesson lesson = {.units = command->bound.units,
                         .chunks = chunks,
                         .makespan_ns = makespan_ns,
                         .expected_ns = command->expected_ns,
                         .together_probe = command->together_probe,
                         .variant_probe = command->variant_probe,
                         .irregular = (command->bound.kernel->image.flags & PEL_KERNEL_IRREGULAR) != 0};
    const pel_tail *tail = command->tail;
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        chunks[lesson.chunk_count++] = (pel_lesson_chunk){.device = pel_groups_model(job->device, &job->work),
                                                          .lo = job->lo,
                                                          .hi = job->hi,
                                                          .ns = compute_ns(&job->work),
                                                          .cold = job->work.cold,
                                                          .piece = i >= command->planned && tail};
        note_moves(job, &chunks[lesson.chunk_count - 1]);
    }
    lesson.deprived = pel_calm_was_deprived(command);
    if (lesson.deprived) {
        pel_plan_set_deprived(command->plan);
    }
    lesson.family = family_of(&command->bound);
    command->runtime->dispatcher->lessons++;
    (void)pel_models_learn(command->runtime->models, &lesson); /* out of memory here: not learned, nothing broken */
    if (chunks != few) {
        pel_free(&command->runtime->allocator, chunks);
    }
}

static uint64_t uses_bytes(const pel_uses *uses) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < uses->count; i++) {
        bytes += uses->data[i].hi - uses->data[i].lo;
    }
    return bytes;
}

void pel_launch_done(pel_command *command) {
    int64_t first = INT64_MAX, last = 0;
    pel_plan_bytes bytes = {.moved = command->fetched};
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job *job = &command->jobs[i];
        const pel_work *work = &job->work;
        if (pel_job_verdict(job) == PEL_TIMED_OUT || (work->status != PEL_OK && work->ended == 0)) {
            continue; /* its device may still write there; or it never had it */
        }
        pel_plan_chunk chunk = {.began_ns = (double)(work->began - command->event->timing.began),
                                .actual_ns = (double)(work->ended - work->began),
                                .compute_ns = compute_ns(work),
                                .bytes_in = pel_transfers_bytes(work->in, work->in_count) + pel_stream_bytes(job, true),
                                .bytes_out = pel_transfers_bytes(work->out, work->out_count) + pel_stream_bytes(job, false),
                                .cold = work->cold};
        pel_plan_set_actual(command->plan, i, &chunk);
        job->device->busy_ns += chunk.actual_ns;
        first = work->began < first ? work->began : first;
        last = work->ended > last ? work->ended : last;
        if (work->status == PEL_OK && !work->cold && job->device->place != 0 && !command->runtime->frozen) {
            pel_link_learn(job->device, work->in_count, chunk.bytes_in, work->launch_began - work->began);
        }
        if (command->repeat && command->job_count == 1 && work->status == PEL_OK && !work->cold) {
            pel_repeat_saw(command, (double)(work->launch_ended - work->launch_began) / (work->times > 1 ? work->times : 1));
        }
        bytes.needed += job->needed;
        bytes.moved += job->device->place != 0 ? chunk.bytes_in + chunk.bytes_out : 0;
        bytes.saved += job->needed - uses_bytes(&job->copied_in) - (job->streamed_in.count > 0 ? job->streamed_needed : 0);
    }
    double makespan = last > first ? (double)(last - first) : 1.0;
    pel_plan_set_makespan(command->plan, makespan);
    pel_plan_set_bytes(command->plan, &bytes);
    learn(command, makespan);
    pel_begins_learn(command);
    pel_metering_look(command->runtime);
}
