/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Retry: a chunk that failed runs again on devices that have not failed it, with the bytes it began with.
 *
 * The invariant: while a protected launch runs, all it reads is valid in host memory as it was before, but for what chunks that
 * compute in host memory read and write in place, and that is saved. Bytes that only a device holds come home before
 * (queue/launch.c). What a chunk only writes is not saved: its next run writes it. By the conflict rule no chunk reads what
 * another one writes, so a failed range can be cut anew and run on its own.
 *
 * Another round begins when all works of the one before are over. With shares that end together the survivors are then free at
 * once, and the lost range over the survivors' summed rates is exactly what they would have had more to do without the lost
 * device. Rejected: handing it out at once; whoever is free early is so because the plan was wrong about it. Launches that others
 * are queued behind are another matter: recall.c. A device gets a second chance in a launch only when no other is left, and a
 * third never.
 */
#include "queue/retry.h"
#include "queue/graph.h"
#include "base/alloc.h"
#include "queue/isolate.h"
#include "queue/stream.h"
#include "resilience/health.h"
#include <string.h>

/*
 * Bytes. SAVED_AT_ONCE: under 10 us, where waking a worker costs 30-50 us. KEPT_BYTES: a place that waits for the same launch;
 * more goes into a spare block, whose pages are warm.
 */
enum { SAVED_AT_ONCE = 65536, KEPT_BYTES = 4096 };

typedef struct saved_range {
    unsigned char *at;   /* in host memory */
    unsigned char *copy;
    uint64_t bytes;
} saved_range;

/* All ranges of one job. */
struct pel_saved {
    struct pel_saved *next;  /* of the command */
    uint32_t job;
    uint32_t count, capacity;
    saved_range *ranges;
    unsigned char *block;
    uint64_t bytes, block_bytes;
    bool secret;
};

static bool reads_elsewhere(const pel_bound *bound, uint32_t arg) {
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (i != arg && bound->args[i].allocation == bound->args[arg].allocation &&
            bound->kernel->image.params[i].mode != PEL_WRITE) {
            return true;
        }
    }
    return false;
}

/* Whether what a chunk writes through this argument is also read: by itself, or through another argument on the same memory. */
bool pel_retry_must_save(const pel_bound *bound, uint32_t i) {
    const pel_bound_arg *arg = &bound->args[i];
    const pel_param *param = &bound->kernel->image.params[i];
    if (!arg->allocation || arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE || param->mode == PEL_READ) {
        return false;
    }
    const bool undeclared = arg->param == PEL_PARAM_KIND_POINTER;
    const bool rows = arg->param == PEL_PARAM_KIND_PER_GROUP;
    return undeclared || (!rows && param->mode != PEL_WRITE) || reads_elsewhere(bound, i);
}

/* ---- the choice ---- */

typedef struct price {
    double copy, fetch, link;
} price;

static void add_price(const pel_runtime *runtime, const pel_bound *bound, const pel_plan_slice *slice, uint32_t i,
                      pel_footprint *footprint, price *p) {
    const pel_device *device = &runtime->devices[slice->device];
    const pel_bound_arg *arg = &bound->args[i];
    const bool in_place = pel_device_writes_host_memory(device) || pel_stream_needed(bound, device);
    const bool copies = in_place && pel_retry_must_save(bound, i),
               fetches = device->place != 0 && !pel_interval_map_is_empty(arg->allocation->residency);
    pel_span span;
    if (!copies && !fetches) {
        return;
    }
    pel_bound_span(bound, slice->lo, slice->hi, &span);
    if (pel_footprint_query(bound, &span, i, footprint) != PEL_OK) {
        return; /* a failed guess; the launch itself will say so */
    }
    for (uint32_t k = 0; copies && k < footprint->writes.count; k++) {
        p->copy += (double)(footprint->writes.data[k].hi - footprint->writes.data[k].lo);
    }
    for (uint32_t k = 0; fetches && k < footprint->reads.count; k++) {
        p->fetch += (double)pel_allocation_missing_bytes(arg->allocation, 0, arg->offset + footprint->reads.data[k].lo,
                                                         arg->offset + footprint->reads.data[k].hi);
    }
    p->link = device->link_bytes_per_ns > 0 ? device->link_bytes_per_ns : p->link;
}

pel_protection pel_retry_choose(const pel_runtime *runtime, const pel_bound *bound, pel_protection asked, bool fixed,
                                const pel_plan_result *result, char *text) {
    pel_footprint footprint = {0};
    price p = {0, 0, 8.0};
    if (!text && asked != PEL_PROTECT_DEFAULT) {
        return asked; /* the price is for the plan's text only */
    }
    for (uint32_t s = 0; s < result->slice_count && asked != PEL_PROTECT_NONE && !(fixed && asked == PEL_PROTECT_DEFAULT); s++) {
        for (uint32_t i = 0; i < bound->arg_count; i++) {
            if (bound->args[i].allocation) {
                add_price(runtime, bound, &pel_plan_slices(result)[s], i, &footprint, &p);
            }
        }
    }
    pel_footprint_free(&runtime->allocator, &footprint);
    const pel_protect_question question = {.asked = asked,
                                           .fixed = fixed,
                                           .verified = bound->verification.share > 0,
                                           .copy_bytes = p.copy,
                                           .fetch_bytes = p.fetch,
                                           .link_bytes_per_ns = p.link,
                                           .predicted_ns = result->predicted_ns};
    return pel_protect_choose(&question, text);
}

/* ---- saving ---- */

static bool add_range(const pel_allocator *allocator, struct pel_saved *saved, unsigned char *at, uint64_t bytes) {
    if (saved->count == saved->capacity) {
        uint32_t capacity = saved->capacity ? 2 * saved->capacity : 4;
        saved_range *grown = pel_resize(allocator, saved->ranges, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        saved->ranges = grown;
        saved->capacity = capacity;
    }
    saved->ranges[saved->count++] = (saved_range){.at = at, .bytes = bytes};
    saved->bytes += bytes;
    return true;
}

static pel_status list_ranges(pel_command *command, const pel_job *job, struct pel_saved *saved) {
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_footprint footprint = {0};
    pel_status status = PEL_OK;
    for (uint32_t i = 0; i < command->bound.arg_count && status == PEL_OK; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        if (!pel_retry_must_save(&command->bound, i)) {
            continue;
        }
        status = pel_footprint_query(&command->bound, &job->work.span, i, &footprint);
        for (uint32_t k = 0; k < footprint.writes.count && status == PEL_OK; k++) {
            const pel_interval *w = &footprint.writes.data[k];
            status = add_range(allocator, saved, arg->allocation->base + arg->offset + w->lo, w->hi - w->lo) ? PEL_OK
                                                                                                             : PEL_OUT_OF_MEMORY;
        }
    }
    pel_footprint_free(allocator, &footprint);
    return status;
}

static void saved_free(pel_runtime *runtime, struct pel_saved *saved) {
    const pel_allocator *allocator = &runtime->allocator;
    if (saved->bytes > KEPT_BYTES) {
        pel_spare_give(runtime, saved->block, saved->block_bytes, saved->secret);
    } else {
        if (saved->secret && saved->block) {
            explicit_bzero(saved->block, (size_t)saved->bytes);
        }
        pel_free(allocator, saved->block);
    }
    pel_free(allocator, saved->ranges);
    pel_free(allocator, saved);
}

static bool is_whole(const pel_command *command, const pel_job *job) { return job->lo == 0 && job->hi == command->bound.units; }

/* The list and the place are the same whenever the same launch is made again: they stay with its memory (queue/repeat.c). */
void pel_retry_leave(pel_command *command) {
    struct pel_saved *saved = command->saved;
    if (saved && !saved->next && saved->job == 0 && saved->bytes <= KEPT_BYTES && !saved->secret && command->job_count == 1 &&
        is_whole(command, command->jobs)) {
        pel_retry_forget(command);
        command->spare_saved = saved;
        command->saved = NULL;
    }
}

void pel_retry_forget(pel_command *command) {
    if (command->spare_saved) {
        saved_free(command->runtime, command->spare_saved);
        command->spare_saved = NULL;
    }
}

/* What job `index` reads and writes in host memory gets a place; not copied yet. */
static pel_status reserve(pel_command *command, uint32_t index) {
    const pel_allocator *allocator = &command->runtime->allocator;
    const pel_job *job = &command->jobs[index];
    const bool spoils = command->protection == PEL_PROTECT_RETRY || (command->protection == PEL_PROTECT_ISOLATE && job->sampled);
    /* steps hand their results to host memory as they go */
    if (!spoils || (!pel_device_writes_host_memory(job->device) && job->work.step_count == 0)) {
        return PEL_OK;
    }
    if (index == 0 && command->spare_saved && !command->saved && job->work.step_count == 0 && is_whole(command, job)) {
        command->saved = command->spare_saved;
        command->spare_saved = NULL;
        return PEL_OK;
    }
    struct pel_saved *saved = pel_alloc_zero(allocator, 1, sizeof *saved);
    pel_status status = saved ? list_ranges(command, job, saved) : PEL_OUT_OF_MEMORY;
    if (status == PEL_OK && saved->bytes > 0) {
        saved->secret = job->work.sensitive;
        /* fresh pages cost 10 us */
        saved->block = saved->bytes > KEPT_BYTES ? pel_spare_take(command->runtime, saved->bytes, &saved->block_bytes)
                                                    : pel_alloc(allocator, (size_t)saved->bytes);
        status = saved->block ? PEL_OK : PEL_OUT_OF_MEMORY;
    }
    if (status != PEL_OK || saved->bytes == 0) {
        if (saved) {
            saved->bytes = saved->block ? saved->bytes : 0;
            saved_free(command->runtime, saved);
        }
        return status;
    }
    unsigned char *at = saved->block;
    for (uint32_t i = 0; i < saved->count; i++) {
        saved->ranges[i].copy = at;
        at += saved->ranges[i].bytes;
    }
    saved->job = index;
    saved->next = command->saved;
    command->saved = saved;
    return PEL_OK;
}

static void copy_saved(const struct pel_saved *saved, bool back) {
    for (uint32_t i = 0; i < saved->count; i++) {
        const saved_range *r = &saved->ranges[i];
        memcpy(back ? r->at : r->copy, back ? r->copy : r->at, (size_t)r->bytes);
    }
}

void pel_retry_overlay(const pel_command *command, uint32_t index, const pel_job *to) {
    for (const struct pel_saved *saved = command->saved; saved; saved = saved->next) {
        for (uint32_t i = 0; saved->job == index && i < saved->count; i++) {
            pel_isolate_overlay(to, saved->ranges[i].at, saved->ranges[i].copy, saved->ranges[i].bytes);
        }
    }
}

static pel_status run_save(void *context) {
    const pel_command *command = context;
    for (const struct pel_saved *saved = command->saved; saved; saved = saved->next) {
        copy_saved(saved, false);
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_isolate_fill(&command->jobs[i]);
    }
    return PEL_OK;
}

bool pel_retry_save(pel_command *command) {
    uint64_t bytes = 0;
    if (command->protection < PEL_PROTECT_RETRY) {
        return false;
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        bytes += pel_isolate_read_bytes(&command->jobs[i]);
        if (reserve(command, i) != PEL_OK) {
            pel_command_fail(command, PEL_OUT_OF_MEMORY, NULL);
            return false;
        }
        bytes += command->saved && command->saved->job == i ? command->saved->bytes : 0;
    }
    if (bytes <= SAVED_AT_ONCE) {
        (void)run_save(command);
        return false;
    }
    command->fold = (pel_job){.command = command, .device = command->runtime->task_device};
    command->fold.work.kind = PEL_WORK_TASK;
    command->fold.work.task = run_save;
    command->fold.work.context = command;
    return true;
}

void pel_retry_free(pel_command *command) {
    while (command->saved) {
        struct pel_saved *saved = command->saved;
        command->saved = saved->next;
        saved_free(command->runtime, saved);
    }
}

/* ---- again ---- */

/* What another device may do better. Not failures of the request, or of the caller's own functions. */
bool pel_retry_is_the_devices(pel_status status) {
    return status == PEL_DEVICE_FAILED || status == PEL_DEVICE_LOST || status == PEL_DEVICE_MEMORY ||
           status == PEL_BUILD_FAILED || status == PEL_TIMED_OUT ||
           status == PEL_OUT_OF_MEMORY; /* drivers say that of memory of their own, too */
}

static void look_behind(pel_command *after, void *user) {
    bool *queued = user;
    *queued = *queued || after->early;
}

/* Launches that are queued behind it run on what it has not computed, and may spoil what it reads: then it is too late. Else
 * nobody may follow any more. */
static bool stops_leading(pel_command *command) {
    bool queued = false;
    if (command->leads) {
        pel_chain_visit(command, look_behind, &queued);
    }
    if (!queued) {
        pel_chain_stop(command);
    }
    return !queued;
}

bool pel_retry_takes(const pel_job *job) {
    const pel_command *command = job->command;
    const bool forgiven = command->protection >= PEL_PROTECT_RETRY || pel_recall_may(command, job);
    return command->kind == PEL_COMMAND_LAUNCH && command->phase == PEL_PHASE_RUNNING && command->status == PEL_OK &&
           (job->work.row || (forgiven && pel_retry_is_the_devices(pel_job_verdict(job))));
}

/* Bytes that only this device has are worth a second try. */
static bool fetches_again(pel_job *job) {
    const bool may = job->command->phase == PEL_PHASE_FETCHING && !job->again && job->work.kind == PEL_WORK_TRANSFER &&
                     !job->device->lost && pel_retry_is_the_devices(job->work.status);
    job->again = job->again || may;
    return may;
}

bool pel_retry_at_once(pel_job *job) {
    pel_command *command = job->command;
    const bool is_task = command->kind == PEL_COMMAND_TASK || command->kind == PEL_COMMAND_LOOP;
    const bool runs_again =
        is_task && command->phase == PEL_PHASE_RUNNING && job->work.status == PEL_TASK_FAILED && command->retries > 0;
    if (!runs_again && !fetches_again(job)) {
        return false;
    }
    command->retries -= runs_again ? 1u : 0u;
    pel_error_destroy(job->work.error);
    job->work.error = NULL;
    job->work.status = PEL_OK;
    return true;
}

/* Failed, or done on a device whose memory went with it. */
static bool must_run_again(const pel_job *job) {
    const bool gone = job->device->lost && job->device->place != 0 && !job->landed;
    return !job->superseded && (pel_job_verdict(job) != PEL_OK || gone);
}

/* The bytes as they were before the job: in host memory, and valid nowhere else. */
static pel_status undo(pel_command *command, uint32_t index) {
    pel_job *job = &command->jobs[index];
    pel_status status = PEL_OK;
    for (const struct pel_saved *saved = command->saved; saved; saved = saved->next) {
        if (saved->job == index && command->protection == PEL_PROTECT_RETRY) { /* isolated ones have not landed */
            copy_saved(saved, true);
        }
    }
    for (uint32_t i = 0; i < job->written.count && status == PEL_OK; i++) {
        const pel_use *use = &job->written.data[i];
        status = pel_allocation_written(use->allocation, 0, use->lo, use->hi);
    }
    if (pel_job_verdict(job) != PEL_TIMED_OUT) {
        pel_privates_free(job);
    }
    return status;
}

/* How many chunks of this launch each device has failed, two at most; NULL: no memory. */
static uint8_t *count_failures(const pel_command *command) {
    uint8_t *failures = pel_alloc_zero(&command->runtime->allocator, command->runtime->device_count + 1u, sizeof *failures);
    for (uint32_t i = 0; i < command->job_count && failures; i++) {
        const pel_job *job = &command->jobs[i];
        if (job->superseded || must_run_again(job)) {
            failures[job->device->index] = failures[job->device->index] > 0 ? 2 : 1;
        }
    }
    return failures;
}

bool pel_retry_may_go_to(const pel_command *command, uint32_t device) {
    char *text = NULL;
    const bool may = pel_health_usable(&command->runtime->devices[device]) &&
                     !pel_launch_exclusion(&command->bound, &command->runtime->devices[device], &text);
    pel_free(&command->runtime->allocator, text);
    return may;
}

/* How many keep a device from running this launch's failed chunks: one, while there are others. */
static uint8_t refused(const pel_command *command, const uint8_t *failures) {
    for (uint32_t i = 0; i < command->runtime->device_count; i++) {
        if (failures[i] == 0 && pel_retry_may_go_to(command, i)) {
            return 1;
        }
    }
    return 2;
}

/* Room for `more` jobs behind those that there are. Nothing of the command is with a device now, so jobs may move. */
static pel_status grow(pel_command *command, uint32_t more) {
    const pel_allocator *allocator = &command->runtime->allocator;
    if (command->hung > 0) {
        pel_status status = pel_isolate_move_jobs(command, more);
        if (status != PEL_OK) {
            return status;
        }
    } else {
        pel_job *jobs = pel_resize(allocator, command->jobs, (command->job_count + more) * sizeof *jobs);
        if (!jobs) {
            return PEL_OUT_OF_MEMORY;
        }
        command->jobs = jobs;
    }
    pel_plan_slice *slices = pel_resize(allocator, command->slices, (command->slice_count + more) * sizeof *slices);
    if (!slices) {
        return PEL_OUT_OF_MEMORY;
    }
    command->slices = slices;
    return PEL_OK;
}

bool pel_retry_forgives(const pel_command *command, pel_status status) {
    return command->protection >= PEL_PROTECT_RETRY && pel_retry_is_the_devices(status);
}

pel_status pel_retry_build(pel_job *job, const pel_plan_slice *slice, pel_error **error) {
    pel_error *why = NULL;
    pel_status status = pel_chunk_build(job, slice, &why);
    if (pel_retry_forgives(job->command, status)) {
        job->work.status = status;
        job->work.error = why;
        return PEL_OK;
    }
    if (why) {
        pel_error_hand_over(error, why);
    }
    return status;
}

static pel_status add_jobs(pel_command *command, const pel_plan_result *result, bool sampled, pel_error **error) {
    pel_status status = grow(command, result->slice_count);
    for (uint32_t i = 0; i < result->slice_count && status == PEL_OK; i++) {
        const uint32_t index = command->job_count;
        const pel_plan_slice *slice = &pel_plan_slices(result)[i];
        pel_job *job = &command->jobs[index];
        *job = (pel_job){
            .command = command, .device = &command->runtime->devices[slice->device], .data_parallel = true, .sampled = sampled};
        command->slices[command->slice_count++] = *slice;
        command->job_count++;
        status = pel_plan_add_chunk(command->plan, job->device->facts->info.id, slice, command->bound.units);
        status = status == PEL_OK ? pel_retry_build(job, slice, error) : status;
        status = status == PEL_OK ? reserve(command, index) : status;
        if (status == PEL_OK) {
            pel_isolate_fill(job);
        }
        if (status == PEL_OK && command->saved && command->saved->job == index) {
            copy_saved(command->saved, false); /* rare, so under the lock */
        }
    }
    return status;
}

static pel_status run_again(pel_command *command, uint32_t index, const pel_failures *without, pel_error **error) {
    pel_plan_result result;
    pel_status status = undo(command, index);
    if (status == PEL_OK) {
        status = pel_launch_replan(command, command->jobs[index].lo, command->jobs[index].hi, without, &result, error);
    }
    if (status == PEL_OK) {
        status = add_jobs(command, &result, command->jobs[index].sampled, error);
        pel_plan_result_free(&command->runtime->allocator, &result);
    }
    return status;
}

/* In the end it is the first failure that is told, and what became of the attempts. */
static void give_up(pel_command *command, uint32_t first, pel_status why, pel_error *error) {
    pel_error_destroy(command->cause);
    command->cause = pel_job_story(&command->jobs[first]);
    pel_command_fail(command, why, error);
}

bool pel_retry_again(pel_command *command, uint32_t *from) {
    const uint32_t count = command->job_count;
    uint32_t first = count;
    pel_error *error = NULL;
    *from = count;
    if (command->status != PEL_OK || command->protection < PEL_PROTECT_RETRY) {
        return false;
    }
    for (uint32_t i = 0; i < count && first == count; i++) {
        first = must_run_again(&command->jobs[i]) ? i : count;
    }
    if (first == count || !stops_leading(command)) {
        return false; /* done, on a device that went since: what is queued behind it there shares its fate */
    }
    uint8_t *failures = count_failures(command);
    pel_status status = failures ? PEL_OK : PEL_OUT_OF_MEMORY;
    const pel_failures without = {failures, failures ? refused(command, failures) : 0};
    for (uint32_t i = first; i < count && status == PEL_OK; i++) {
        if (must_run_again(&command->jobs[i])) {
            command->jobs[i].superseded = true;
            pel_plan_chunk_failed(command->plan, i, pel_error_message(pel_job_verdict_error(&command->jobs[i])));
            status = run_again(command, i, &without, &error);
        }
    }
    pel_free(&command->runtime->allocator, failures);
    if (status != PEL_OK) {
        give_up(command, first, status, error);
        return false;
    }
    pel_log(&command->runtime->logger, PEL_LOG_WARNING, "%s: %s; its units run again elsewhere",
            command->name ? command->name : "launch", pel_error_message(pel_job_verdict_error(&command->jobs[first])));
    return true;
}
