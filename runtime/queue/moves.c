/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving bytes. Two kinds of movement: *home*, from the device that alone holds bytes into host memory, as works of their own
 * before a command runs; and *in*, from host memory to the device of a chunk, as part of the chunk's work. Device to device is
 * one after the other. Two commands never fetch from one allocation at once: the second stalls until the first is done and then
 * looks again.
 */
#include "queue/command.h"
#include "queue/isolate.h"
#include "queue/stream.h"
#include "queue/transfers.h"
#include <stddef.h>
#include <string.h>

bool pel_uses_append(const pel_allocator *allocator, pel_uses *uses, pel_use use) {
    if (uses->count == uses->capacity) {
        uint32_t capacity = uses->capacity ? 2 * uses->capacity : 4;
        pel_use *grown = pel_resize(allocator, uses->data, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        uses->data = grown;
        uses->capacity = capacity;
    }
    uses->data[uses->count++] = use;
    return true;
}

bool pel_uses_add(const pel_allocator *allocator, pel_uses *uses, pel_allocation *allocation, uint64_t lo, uint64_t hi,
                  pel_access_mode mode) {
    if (lo >= hi) {
        return true;
    }
    if (uses->count > 0) { /* neighbours of one kind grow together */
        pel_use *last = &uses->data[uses->count - 1];
        if (last->allocation == allocation && last->mode == mode && last->hi == lo && last->pitch == 0) {
            last->hi = hi;
            return true;
        }
    }
    return pel_uses_append(allocator, uses, (pel_use){.allocation = allocation, .lo = lo, .hi = hi, .mode = mode});
}

/*
 * What is in host memory alone stays out. A command that has these bytes to itself may rely on that until it ends: nobody copies
 * or writes them elsewhere meanwhile. So a tile of a matrix that no device holds costs one look, not one for each row.
 */
bool pel_uses_add_rows(const pel_allocator *allocator, pel_uses *uses, const pel_use *use, pel_access_mode mode) {
    bool added = true;
    if (use->pitch == 0) {
        return pel_uses_add(allocator, uses, use->allocation, use->lo, use->hi, mode);
    }
    for (uint64_t row = use->lo; row < use->hi && added && !pel_interval_map_is_empty(use->allocation->residency);
         row += use->pitch) {
        if (!pel_allocation_at_home(use->allocation, row, row + use->row_bytes)) {
            added = pel_uses_add(allocator, uses, use->allocation, row, row + use->row_bytes, mode);
        }
    }
    return added;
}

void pel_uses_free(const pel_allocator *allocator, pel_uses *uses) {
    pel_free(allocator, uses->data);
    *uses = (pel_uses){0};
}

enum { FEW = 16 }; /* devices whose lists need no memory of their own */

/* Which parts of what is needed are not at home, sorted by the device that will send them. */
typedef struct fetch_plan {
    pel_runtime *runtime;
    pel_allocation *allocation;
    pel_uses few[FEW], *from; /* by device */
    bool failed;    /* no memory */
    bool gone;      /* only a lost device had it */
} fetch_plan;

pel_device *pel_holder_of(const pel_runtime *runtime, pel_place_set places, bool *any) {
    uint32_t place = pel_places_next(runtime, places, 0);
    if (any) {
        *any = place != 0;
    }
    while (place != 0 && runtime->devices[place - 1].lost) {
        place = pel_places_next(runtime, places, place);
    }
    return place != 0 ? &runtime->devices[place - 1] : NULL;
}

static bool plan_fetch(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    fetch_plan *plan = user;
    bool any;
    const pel_device *holder = pel_holder_of(plan->runtime, places, &any);
    if (!any) { /* valid nowhere: a defect elsewhere must not become a crash here */
        return true;
    }
    if (!holder) {
        plan->gone = true;
        return false;
    }
    plan->failed = !pel_uses_add(&plan->runtime->allocator, &plan->from[holder->index], plan->allocation, lo, hi, PEL_READ);
    return !plan->failed;
}

static void fetch_done(pel_job *job) {
    for (uint32_t i = 0; i < job->copied_out.count; i++) {
        job->copied_out.data[i].allocation->fetching--;
    }
}

/* Groups intervals by allocation, in the order in which these first appear, each group sorted and without overlaps: what two
 * arguments need moves once. */
static void merge_uses(pel_uses *uses) {
    uint32_t kept = 0;
    for (uint32_t from = 0, to; from < uses->count; from = to) {
        to = from + 1;
        for (uint32_t i = to; i < uses->count; i++) {
            if (uses->data[i].allocation == uses->data[from].allocation) {
                pel_use swap = uses->data[to];
                uses->data[to++] = uses->data[i];
                uses->data[i] = swap;
            }
        }
        const uint32_t count = pel_uses_merge(&uses->data[from], to - from);
        memmove(&uses->data[kept], &uses->data[from], count * sizeof *uses->data);
        kept += count;
    }
    uses->count = kept;
}

static uint32_t end_of_allocation(const pel_uses *uses, uint32_t from) {
    uint32_t to = from + 1;
    while (to < uses->count && uses->data[to].allocation == uses->data[from].allocation) {
        to++;
    }
    return to;
}

static pel_status start_fetch(pel_job *job, pel_command *command, pel_device *device, pel_uses *parts, pel_error **error) {
    *job = (pel_job){.command = command, .device = device, .done = fetch_done};
    job->work.kind = PEL_WORK_TRANSFER;
    merge_uses(parts);
    for (uint32_t from = 0, to; from < parts->count; from = to) {
        pel_mem *mem = NULL;
        to = end_of_allocation(parts, from);
        pel_status status = pel_allocation_mem(parts->data[from].allocation, device, &mem, error);
        uint64_t *used = &parts->data[from].allocation->used[device->index];
        const uint64_t before = *used;
        status = status == PEL_OK ? pel_command_pin(command, parts->data[from].allocation, device) : status;
        /* what is written back to go is not needed there: else another would go instead of it */
        *used = command->makes_room ? before : *used;
        job->work.sensitive |= parts->data[from].allocation->sensitive;
        if (status == PEL_OK) {
            status =
                pel_transfers_append(device, &parts->data[from], to - from, mem, 0, NULL, NULL, &job->out, &job->work.out_count);
        }
        job->work.out = job->out;
        if (status != PEL_OK) {
            return status;
        }
    }
    command->fetched += pel_transfers_bytes(job->out, job->work.out_count);
    job->copied_out = *parts;
    *parts = (pel_uses){0};
    return PEL_OK;
}

static pel_status start_fetches(pel_command *command, fetch_plan *plan, uint32_t count, pel_error **error) {
    pel_runtime *runtime = command->runtime;
    command->jobs = pel_alloc_zero(&runtime->allocator, count, sizeof *command->jobs);
    if (!command->jobs) {
        return PEL_OUT_OF_MEMORY;
    }
    for (uint32_t d = 0; d < runtime->device_count; d++) {
        if (plan->from[d].count == 0) {
            continue;
        }
        pel_job *job = &command->jobs[command->job_count++];
        pel_status status = start_fetch(job, command, &runtime->devices[d], &plan->from[d], error);
        if (status != PEL_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < command->job_count; i++) {
        for (uint32_t j = 0; j < command->jobs[i].copied_out.count; j++) {
            command->jobs[i].copied_out.data[j].allocation->fetching++;
        }
    }
    return PEL_OK;
}

static pel_status tell_gone(const pel_command *command, pel_error **error) {
    pel_story story = {.advice = "write these bytes anew, or reset the queue to go on with what host memory holds"};
    return pel_fail(error, &command->runtime->allocator, PEL_DEPENDENCY_FAILED, &story,
                    "%s was not run: bytes that it reads were on a device that is lost",
                    command->name ? command->name : "a command");
}

pel_status pel_fetch_home(pel_command *command, const pel_uses *needed, bool *stalled) {
    if (needed->count == 0) {
        *stalled = false;
        return PEL_OK;
    }
    const uint32_t devices = command->runtime->device_count;
    fetch_plan plan = {.runtime = command->runtime};
    pel_error *error = NULL;
    *stalled = false;
    plan.from = devices <= FEW ? plan.few : pel_alloc_zero(&command->runtime->allocator, devices, sizeof *plan.from);
    plan.failed = !plan.from;
    for (uint32_t i = 0; i < needed->count && !plan.failed && !plan.gone; i++) {
        const pel_use *use = &needed->data[i];
        plan.allocation = use->allocation;
        if (pel_allocation_missing_bytes(use->allocation, 0, use->lo, use->hi) == 0) {
            continue;
        }
        if (use->allocation->fetching > 0) {
            *stalled = true;
            break;
        }
        pel_allocation_missing(use->allocation, 0, use->lo, use->hi, plan_fetch, &plan);
    }
    uint32_t count = 0;
    for (uint32_t d = 0; d < devices && plan.from; d++) {
        count += plan.from[d].count > 0 ? 1u : 0u;
    }
    pel_status status = plan.failed ? PEL_OUT_OF_MEMORY : plan.gone ? tell_gone(command, &error) : PEL_OK;
    if (status == PEL_OK && !*stalled && count > 0) {
        status = start_fetches(command, &plan, count, &error);
    }
    for (uint32_t d = 0; d < devices && plan.from; d++) {
        pel_uses_free(&command->runtime->allocator, &plan.from[d]);
    }
    if (plan.from != plan.few) {
        pel_free(&command->runtime->allocator, plan.from);
    }
    if (status != PEL_OK) {
        pel_command_fail(command, status, error);
    }
    return status;
}

/* To the counters of every buffer that lies over these bytes. */
static void count_bytes(const pel_allocation *allocation, uint64_t lo, uint64_t hi, size_t counter) {
    for (pel_buffer *buffer = allocation->buffers; buffer; buffer = buffer->next) {
        uint64_t from = lo > buffer->offset ? lo : buffer->offset;
        uint64_t to = hi < buffer->offset + buffer->bytes ? hi : buffer->offset + buffer->bytes;
        if (from < to) {
            *(uint64_t *)(void *)((char *)&buffer->counters + counter) += to - from;
        }
    }
}

void pel_count_used_in_place(const pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    count_bytes(allocation, lo, hi, offsetof(pel_buffer_counters, used_in_place));
}

typedef struct bring_in {
    pel_job *job;
    pel_allocation *allocation;
    uint64_t at; /* up to here everything has been seen */
    bool failed;
} bring_in;

static bool add_in(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    bring_in *b = user;
    (void)places;
    count_bytes(b->allocation, b->at, lo, offsetof(pel_buffer_counters, used_in_place));
    b->at = hi;
    b->failed = !pel_uses_add(&b->job->command->runtime->allocator, &b->job->copied_in, b->allocation, lo, hi, PEL_READ);
    return !b->failed;
}

static pel_status append_transfer(const pel_allocator *allocator, pel_transfer **list, uint32_t *count, pel_transfer transfer) {
    pel_transfer *grown = pel_resize(allocator, *list, (*count + 1u) * sizeof *grown);
    if (!grown) {
        return PEL_OUT_OF_MEMORY;
    }
    grown[(*count)++] = transfer;
    *list = grown;
    return PEL_OK;
}

pel_status pel_job_bring_in(pel_job *job, pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    bring_in b = {job, allocation, lo, false};
    if (job->device->place != 0) { /* otherwise what was missing in host memory has been fetched already */
        pel_allocation_missing(allocation, job->device->place, lo, hi, add_in, &b);
    }
    count_bytes(allocation, b.at, hi, offsetof(pel_buffer_counters, used_in_place));
    job->needed += hi - lo;
    return b.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
}

pel_status pel_job_transfer_in(pel_job *job, pel_mem *mem, uint64_t lo, uint64_t hi) {
    pel_status status = append_transfer(&job->command->runtime->allocator, &job->in, &job->work.in_count,
                                        (pel_transfer){.mem = mem, .offset = lo, .bytes = hi - lo});
    job->work.in = job->in;
    return status;
}

/* One that goes before it on its device: what that writes is not noted yet, and the host's bytes must not go over it. */
static bool another_part_writes(const bring_in *b, uint64_t lo, uint64_t hi) {
    const pel_command *command = b->job->command;
    bool writes = false;
    for (uint32_t i = 0; i < command->job_count && !writes; i++) {
        const pel_job *other = &command->jobs[i];
        const uint32_t count = other != b->job && other->device == b->job->device ? other->written.count : 0;
        for (uint32_t k = 0; k < count && !writes; k++) {
            const pel_use *use = &other->written.data[k];
            writes = use->allocation == b->allocation && use->lo < hi && lo < use->hi;
        }
    }
    return writes;
}

/* Nobody else's command is at these bytes, and the host's are the newest. Tasks that only the hazards know leave bytes alone
 * that were ever on a device. */
static bool gap_is_ours(void *user, uint64_t lo, uint64_t hi) {
    const bring_in *b = user;
    const pel_uses *uses = &b->job->command->uses;
    uint32_t own = 0;
    for (uint32_t i = 0; i < uses->count; i++) {
        own += uses->data[i].allocation == b->allocation ? 1u : 0u;
    }
    return own == b->allocation->commands && pel_allocation_missing_bytes(b->allocation, 0, lo, hi) == 0 &&
           !another_part_writes(b, lo, hi);
}

pel_status pel_job_seal_in(pel_job *job, pel_error **error) {
    pel_status status = PEL_OK;
    merge_uses(&job->copied_in);
    for (uint32_t from = 0, to; from < job->copied_in.count && status == PEL_OK; from = to) {
        const pel_use *use = &job->copied_in.data[from];
        bring_in b = {.job = job, .allocation = use->allocation};
        pel_mem *mem = NULL;
        job->work.sensitive |= use->allocation->sensitive;
        to = end_of_allocation(&job->copied_in, from);
        status = pel_allocation_mem(use->allocation, job->device, &mem, error);
        status = status == PEL_OK ? pel_command_pin(job->command, use->allocation, job->device) : status;
        if (status == PEL_OK) {
            status = pel_transfers_append(job->device, use, to - from, mem, 0, gap_is_ours, &b, &job->in, &job->work.in_count);
        }
        job->work.in = job->in;
    }
    return status;
}

pel_status pel_job_bring_out(pel_job *job, pel_mem *mem, pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    const pel_allocator *allocator = &job->command->runtime->allocator;
    pel_status status =
        append_transfer(allocator, &job->out, &job->work.out_count, (pel_transfer){.mem = mem, .offset = lo, .bytes = hi - lo});
    job->work.out = job->out;
    if (status == PEL_OK && allocation && !pel_uses_add(allocator, &job->copied_out, allocation, lo, hi, PEL_READ)) {
        status = PEL_OUT_OF_MEMORY;
    }
    return status;
}

/* A hint: what there is no memory for stays where it is, and is fetched when it is wanted. */
void pel_job_bring_home(pel_job *job) {
    const pel_allocator *allocator = &job->command->runtime->allocator;
    pel_uses *parts = &job->drained;
    const uint32_t certain = job->work.out_count;
    job->certain_out = job->copied_out.count;
    merge_uses(parts);
    for (uint32_t from = 0, to; from < parts->count; from = to) {
        const pel_use *use = &parts->data[from];
        pel_mem *mem = use->allocation->mems ? use->allocation->mems[job->device->index] : NULL;
        bool noted = true;
        to = end_of_allocation(parts, from);
        if (!mem ||
            pel_transfers_append(job->device, use, to - from, mem, 0, NULL, NULL, &job->out, &job->work.out_count) != PEL_OK) {
            break;
        }
        for (uint32_t i = from; i < to && noted; i++) {
            noted = pel_uses_append(allocator, &job->copied_out, parts->data[i]);
        }
    }
    job->work.out = job->out;
    job->work.hint_count = job->work.out_count - certain;
}

void pel_job_apply(pel_job *job) {
    pel_status status = PEL_OK;
    job->device->counters.needed += job->needed * (job->work.times > 1 && !job->work.row ? job->work.times : 1);
    if (job->device->place != 0) {
        job->device->counters.to_device += pel_transfers_bytes(job->work.in, job->work.in_count) + pel_stream_bytes(job, true);
        const uint32_t arrived = job->work.out_count - (job->work.hint_lost ? job->work.hint_count : 0);
        job->device->counters.to_host += pel_transfers_bytes(job->work.out, arrived) + pel_stream_bytes(job, false);
    }
    const uint32_t home = job->work.hint_lost ? job->certain_out : job->copied_out.count;
    for (uint32_t i = 0; i < job->streamed_in.count; i++) {
        const pel_use *use = &job->streamed_in.data[i];
        count_bytes(use->allocation, use->lo, use->hi, offsetof(pel_buffer_counters, to_devices));
    }
    for (uint32_t i = 0; i < job->written_home.count && status == PEL_OK; i++) {
        const pel_use *use = &job->written_home.data[i];
        status = pel_allocation_written(use->allocation, 0, use->lo, use->hi);
        count_bytes(use->allocation, use->lo, use->hi, offsetof(pel_buffer_counters, to_host));
    }
    for (uint32_t i = 0; i < job->copied_in.count && status == PEL_OK; i++) {
        const pel_use *use = &job->copied_in.data[i];
        status = pel_allocation_copied(use->allocation, job->device->place, use->lo, use->hi);
        count_bytes(use->allocation, use->lo, use->hi, offsetof(pel_buffer_counters, to_devices));
    }
    for (uint32_t i = 0; i < job->written.count && status == PEL_OK; i++) {
        const pel_use *use = &job->written.data[i];
        status = pel_allocation_written(use->allocation, job->device->place, use->lo, use->hi);
    }
    for (uint32_t i = 0; i < home && status == PEL_OK; i++) {
        const pel_use *use = &job->copied_out.data[i];
        status = pel_allocation_copied(use->allocation, 0, use->lo, use->hi);
        count_bytes(use->allocation, use->lo, use->hi, offsetof(pel_buffer_counters, to_host));
    }
    if (status != PEL_OK) { /* not knowing where bytes are valid is a failure of the command, never a silent guess */
        pel_command_fail(job->command, status, NULL);
    }
}

void pel_job_clear(pel_job *job) {
    const pel_allocator *allocator = &job->command->runtime->allocator;
    pel_chain_clear(job);
    pel_privates_free(job);
    pel_isolate_free(job);
    pel_error_destroy(job->verdict_error);
    pel_stream_free(job);
    pel_uses_free(allocator, &job->streamed_in);
    pel_uses_free(allocator, &job->written_home);
    pel_uses_free(allocator, &job->copied_in);
    pel_uses_free(allocator, &job->copied_out);
    pel_uses_free(allocator, &job->drained);
    pel_free(allocator, job->in);
    pel_free(allocator, job->out);
    if (!job->borrowed) {
        pel_uses_free(allocator, &job->written);
        pel_free(allocator, job->args);
    }
    pel_error_destroy(job->work.error);
}
