/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The problem: programs launch the same kernel on the same buffers again and again, and of the 10 us that a launch took, 8 went
 * into what comes out the same each time: binding and checking arguments, footprints, the choice of a device, the arguments as
 * its driver wants them, and two dozen allocations for all that.
 *
 * So a launch that is met a second time leaves these parts behind when it ends, and the next ones share them. The invariant: what
 * is shared is never written while a command uses it, and nothing of it is believed without a look at what it depends on: kernel
 * and allocations by their serial numbers (an address may come again), every argument by its value, the driver and its memory
 * objects by comparison. Between launches nothing is held: a buffer or kernel goes when its owner lets it go. Decisions live as
 * long as habits do (habit.c), and only where nothing depends on where bytes are.
 *
 * Not for custom accesses (the caller's function may answer differently), cancel flags, devices with memory of their own, fixed
 * shares, isolation, verification, and objectives. Rejected: keys of the caller's own ("prepared launches"): one more object to
 * learn, and the comparison takes 50 ns.
 */
#include "queue/repeat.h"
#include "base/checked.h"
#include "queue/isolate.h"
#include "queue/short_launch.h"
#include "resilience/health.h"
#include <stddef.h>
#include <string.h>

/*
 * KEPT: commands of one kind; launches in a row are as many under way. OLDEST: as habits; where there is one device, nothing but
 * the prediction ages.
 */
enum { KEPT = 512, OLDEST = 16, OLDEST_ALONE = 128 };

/* As many tasks in place of one launch: one that goes the long way in the middle of others costs as much as a hundred of them. */
enum { SHORT_EACH = 8 };

/* Launches in one work, if its device has room for them, and what they are predicted to take: a failure is found, and a place
 * taken by others, only after it. */
enum { BUNDLE = 64, BUNDLE_NS = 500000, BEGUN_EACH = 8 };

/* ALONE: one that is waited for takes as many times what one takes behind others, at most (PoCL: ten). */
enum { ALONE = 16, ROBBED = 4, SEEN_LATELY = 8 };

struct pel_repeat {
    uint64_t key;
    uint32_t in_flight; /* commands that share it; 0: it holds nothing */
    bool forgotten;     /* not in the table any more: goes with the last of them */
    pel_runtime *runtime;
    uint64_t kernel;   /* id */
    uint64_t local[3]; /* as asked: the bound span knows the rest */
    uint32_t dims;
    pel_protection asked;
    bool sensitive;
    pel_bound bound;   /* retained while commands are under way */
    uint64_t *serials; /* of the arguments' allocations */
    pel_uses uses;

    bool decided;
    pel_protection protection;
    uint32_t device, age, group;
    uint64_t lessons;
    double predicted_ns;
    double seen_ns; /* what it takes of late, alone or behind others; 0: unknown */

    pel_short *task; /* NULL: not decided so, or not to be one */

    bool has_job;
    pel_job job; /* as it was before it ran; args and written are ours */

    pel_command *idle; /* through next: nothing in them but memory and an event that nobody has */
    uint32_t idle_count;
};

/* ---- the same launch? ---- */

static uint64_t key_of(const pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args, uint32_t count,
                       uint64_t *place) {
    uint64_t where = kernel->image.id * 0x9e3779b97f4a7c15u,
             rest = desc->global[0] + 31 * desc->global[1] + 961 * desc->global[2];
    for (uint32_t i = 0; i < count; i++) {
        const pel_arg *arg = &args[i];
        uint64_t words[4] = {0};
        if (arg->kind == PEL_ARG_BUFFER || arg->kind == PEL_ARG_RANGE) {
            where = (where ^ (uintptr_t)arg->u.range.buffer) * 0x9e3779b97f4a7c15u;
            where = (where ^ (arg->kind == PEL_ARG_RANGE ? arg->u.range.offset : 0)) * 0x9e3779b97f4a7c15u;
            continue;
        }
        if (arg->kind == PEL_ARG_VALUE || (arg->kind == PEL_ARG_STRUCT && arg->u.pointer)) { /* NULL: binding refuses it */
            memcpy(words, arg->kind == PEL_ARG_VALUE ? arg->u.value : arg->u.pointer,
                   arg->bytes < sizeof words ? (size_t)arg->bytes : sizeof words);
        }
        rest = (rest ^ arg->bytes ^ words[0] ^ words[1] * 3 ^ words[2] * 5 ^ words[3] * 7) * 0x9e3779b97f4a7c15u;
    }
    *place = where >> 32;
    return where ^ (rest + (rest >> 29));
}

static pel_repeat_slot *slot_of(const pel_runtime *runtime, uint64_t place) {
    return &runtime->dispatcher->repeats[place % PEL_REPEATS];
}

static bool same_range(const pel_repeat *r, const pel_launch_desc *desc) {
    const pel_span *span = &r->bound.span;
    for (uint32_t d = 0; d < 3; d++) {
        const uint64_t items = d < r->dims ? span->global[d] : 0;
        if (desc->global[d] != items || desc->local[d] != r->local[d] || desc->offset[d] != span->offset[d]) {
            return false;
        }
    }
    return true;
}

static bool same_memory(const pel_repeat *r, uint32_t i, const pel_arg *arg) {
    const pel_bound_arg *known = &r->bound.args[i];
    const pel_buffer *buffer = arg->u.range.buffer;
    const bool part = arg->kind == PEL_ARG_RANGE;
    return buffer && known->allocation == buffer->allocation && r->serials[i] == buffer->allocation->serial &&
           buffer->allocation->sensitive <= r->sensitive && known->offset == buffer->offset + (part ? arg->u.range.offset : 0) &&
           known->bytes == (part ? arg->bytes : buffer->bytes) &&
           (!part || pel_range_within(arg->u.range.offset, arg->bytes, buffer->bytes)); /* the buffer may be another part of it */
}

static bool same_arg(const pel_repeat *r, uint32_t i, const pel_arg *arg) {
    const pel_bound_arg *known = &r->bound.args[i];
    if (known->kind != (pel_arg_kind)arg->kind) {
        return false;
    }
    switch (known->kind) {
    case PEL_ARG_VALUE:
        return arg->bytes == known->bytes && memcmp(known->value, arg->u.value, (size_t)arg->bytes) == 0;
    case PEL_ARG_STRUCT:
        return arg->bytes == known->bytes && arg->u.pointer && memcmp(known->value, arg->u.pointer, (size_t)arg->bytes) == 0;
    case PEL_ARG_LOCAL:
        return arg->bytes == known->bytes;
    case PEL_ARG_BUFFER:
    case PEL_ARG_RANGE:
        return same_memory(r, i, arg);
    case PEL_ARG_NULL:
        return true;
    case PEL_ARG_IMAGE:
    case PEL_ARG_SAMPLER:
        break;
    }
    return false;
}

static bool is_plain(const pel_queue *queue, const pel_launch_desc *desc) {
    return (desc->size == 0 || desc->size == sizeof *desc) && desc->share_count == 0 && desc->deadline_ns == 0 &&
           !desc->objective && !desc->verification && queue->runtime->verification.share == 0 &&
           desc->protection != PEL_PROTECT_ISOLATE && queue->objective.kind == PEL_OBJECTIVE_TIME &&
           queue->objective.deadline_ns <= 0;
}

static bool is_same(const pel_repeat *r, const pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                    uint32_t count) {
    bool same = r->kernel == kernel->image.id && r->bound.kernel == kernel && r->bound.arg_count == count &&
                r->asked == desc->protection && same_range(r, desc);
    for (uint32_t i = 0; i < count && same; i++) {
        same = same_arg(r, i, &args[i]);
    }
    return same;
}

/* ---- life ---- */

static void hold(pel_repeat *r) {
    if (r->in_flight++ == 0) {
        pel_kernel_retain(r->bound.kernel);
        for (uint32_t i = 0; i < r->bound.arg_count; i++) {
            if (r->bound.args[i].allocation) {
                pel_allocation_retain(r->bound.args[i].allocation);
            }
        }
    }
}

static void free_repeat(pel_repeat *r) {
    const pel_allocator *allocator = &r->runtime->allocator;
    for (pel_command *next, *command = r->idle; command; command = next) {
        next = command->next;
        pel_command_give(command);
    }
    pel_short_destroy(r->task);
    pel_uses_free(allocator, &r->uses);
    pel_free(allocator, r->job.args);
    pel_uses_free(allocator, &r->job.written);
    pel_free(allocator, r->serials);
    pel_free(allocator, r->bound.storage);
    pel_free(allocator, r->bound.single_text);
    pel_free(allocator, r);
}

static void let_go(pel_repeat *r) {
    if (--r->in_flight > 0) {
        return;
    }
    for (uint32_t i = 0; i < r->bound.arg_count; i++) {
        if (r->bound.args[i].allocation) {
            pel_allocation_release(r->bound.args[i].allocation);
        }
    }
    pel_kernel_release_locked(r->bound.kernel);
    if (r->forgotten) {
        free_repeat(r);
    }
}

static void forget(pel_repeat_slot *slot) {
    pel_repeat *r = slot->repeat;
    slot->repeat = NULL;
    if (r) {
        r->forgotten = true;
        if (r->in_flight == 0) {
            free_repeat(r);
        }
    }
}

void pel_repeats_free(pel_runtime *runtime, pel_repeat_slot *slots) {
    for (uint32_t i = 0; slots && i < PEL_REPEATS; i++) {
        forget(&slots[i]);
    }
    pel_free(&runtime->allocator, slots);
}

/* ---- a launch that is met ---- */

static bool at_home(const pel_runtime *runtime) {
    bool home = true;
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        home = home && runtime->devices[i].place == 0;
    }
    return home;
}

bool pel_repeat_has_custom(const pel_bound *bound) {
    bool custom = false;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        custom = custom || bound->args[i].param == PEL_PARAM_KIND_CUSTOM ||
                 bound->args[i].param == PEL_PARAM_KIND_CANCEL; /* a flag each */
    }
    return custom;
}

static pel_repeat *make(const pel_command *command, const pel_launch_desc *desc, uint64_t key) {
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_repeat *r = pel_alloc_zero(allocator, 1, sizeof *r);
    uint64_t *serials = pel_alloc_zero(allocator, command->bound.arg_count + 1u, sizeof *serials);
    if (!r || !serials) {
        pel_free(allocator, r);
        pel_free(allocator, serials);
        return NULL;
    }
    r->key = key;
    r->runtime = command->runtime;
    r->kernel = command->bound.kernel->image.id;
    memcpy(r->local, desc->local, sizeof r->local);
    r->dims = command->bound.span.dims;
    r->asked = command->asked;
    r->serials = serials;
    for (uint32_t i = 0; i < command->bound.arg_count; i++) {
        const pel_allocation *allocation = command->bound.args[i].allocation;
        serials[i] = allocation ? allocation->serial : 0;
        r->sensitive = r->sensitive || (allocation && allocation->sensitive);
    }
    return r;
}

void pel_repeat_meet(pel_command *command, const pel_launch_desc *desc, const pel_arg *args) {
    pel_runtime *runtime = command->runtime;
    const pel_bound *bound = &command->bound;
    uint64_t place;
    if (!is_plain(command->queue, desc) || !at_home(runtime) || pel_repeat_has_custom(bound) ||
        bound->windows != 0 || bound->no_windows || atomic_load_explicit(&command->queue->recorder, memory_order_relaxed)) {
        return;
    }
    const uint64_t key = key_of(bound->kernel, desc, args, bound->arg_count, &place);
    pel_repeat_slot *slot = slot_of(runtime, place);
    const bool again = slot->key == key;
    forget(slot);
    slot->key = key;
    pel_repeat *r = again ? make(command, desc, key) : NULL;
    if (!r) {
        return;
    }
    r->bound = command->bound; /* with its references */
    r->in_flight = 1;
    r->uses = command->uses;
    r->uses.capacity = 0;
    for (uint32_t i = 0; i < command->uses.count; i++) { /* the arguments hold them */
        pel_allocation_release(command->uses.data[i].allocation);
    }
    pel_free(&runtime->allocator, command->name);
    command->name = (char *)(uintptr_t)bound->kernel->image.name;
    command->repeat = r;
    slot->repeat = r;
}

void pel_repeat_count_reads(const pel_command *command) {
    for (uint32_t i = 0; i < command->uses.count; i++) {
        const pel_use *use = &command->uses.data[i];
        if ((use->mode & PEL_READ) != 0) {
            pel_count_used_in_place(use->allocation, use->lo, use->hi);
        }
    }
}

/* The newest command of its queue, which makes the same launch, and nothing that came meanwhile follows it. */
static bool may_grow(const pel_command *command, const pel_repeat *r, const pel_queue *queue, const pel_launch_desc *desc) {
    return command && command->repeat == r && command->leads && command->phase == PEL_PHASE_RUNNING &&
           command->status == PEL_OK && command->protection == PEL_PROTECT_NONE && command->job_count == 1 && !command->plan &&
           command->jobs[0].begun && !command->jobs[0].over && command->jobs[0].work.predicted_ns > 0 &&
           command->jobs[0].work.predicted_ns < BUNDLE_NS && queue->max_in_flight == 0 && !r->sensitive &&
           pel_command_has_priority(command, desc->priority) && !pel_frame_top(queue->runtime) &&
           command->node->stage == atomic_load_explicit(&queue->stage, memory_order_relaxed) &&
           !pel_event_is_shared(command->event) &&
           !pel_node_has_successors(command->node);
}

/*
 * The same launch right after itself needs no command of its own where nobody could tell the difference: nobody has an event of
 * either, nothing was submitted in between that follows the first, its device has not begun it, and a failure of the one would
 * fail the other anyway. It becomes one work that runs twice.
 */
static bool join(pel_queue *queue, pel_repeat *r, const pel_launch_desc *desc) {
    pel_command *command = queue->last;
    if (!may_grow(command, r, queue, desc)) {
        return false;
    }
    pel_job *job = &command->jobs[0];
    pel_backend_device *driver = job->device->driver;
    const double before = job->work.predicted_ns;
    if (job->driver != driver || !driver->backend->again || !driver->backend->again(driver, &job->work, BUNDLE)) {
        return false;
    }
    pel_fair_grown(job, job->work.predicted_ns - before);
    pel_repeat_count_reads(command);
    atomic_fetch_add_explicit(&command->bound.kernel->launches, 1, memory_order_relaxed);
    if (job->work.times % BEGUN_EACH == 0) { /* its device looks after what waits by itself, too */
        queue->runtime->dispatcher->fresh |= pel_device_bit(job->device);
    }
    return true;
}

static bool is_home(const pel_repeat *r) {
    bool home = true;
    for (uint32_t i = 0; i < r->bound.arg_count && home; i++) {
        const pel_allocation *allocation = r->bound.args[i].allocation;
        home = !allocation || pel_interval_map_is_empty(allocation->residency);
    }
    return home;
}

/* It is decided, and was so not long ago. */
static bool is_settled(const pel_repeat *r) {
    const pel_runtime *runtime = r->runtime;
    return r->decided && r->age < (runtime->device_count > 1 ? OLDEST : OLDEST_ALONE) &&
           (runtime->device_count == 1 || r->lessons == runtime->dispatcher->lessons);
}

/*
 * One at a time is decided anew, and meanwhile the others go on as before: in a row of launches it waits for all those before it.
 */
static bool stays_short(const pel_repeat *r) {
    const uint32_t oldest = SHORT_EACH * (r->runtime->device_count > 1 ? OLDEST : OLDEST_ALONE);
    return r->task && r->decided && (r->age < oldest || r->in_flight > 0);
}

/* A frame's are its children, and a gate holds what comes later: both are the commands' business. */
static bool goes_short(pel_repeat *r, const pel_queue *queue, const pel_launch_desc *desc) {
    if (!stays_short(r) || desc->priority != 0 || queue->priority != 0 || r->protection != PEL_PROTECT_NONE ||
        pel_frame_top(r->runtime) || atomic_load_explicit(&queue->gate, memory_order_relaxed) ||
        !pel_health_usable(&r->runtime->devices[r->device]) || !is_home(r)) {
        return false;
    }
    r->age++;
    pel_short_take(r->task);
    atomic_fetch_add_explicit(&r->bound.kernel->launches, 1, memory_order_relaxed);
    return true;
}

static pel_command *renew(pel_queue *queue, pel_repeat *r, const pel_kernel *kernel, int32_t priority) {
    pel_command *command = r->idle;
    if (command) {
        r->idle = command->next;
        r->idle_count--;
    }
    command = pel_command_renew(queue, command, PEL_COMMAND_LAUNCH, priority);
    if (command) {
        queue->runtime->dispatcher->moment = command->event->timing.submitted;
        hold(r);
        command->repeat = r;
        command->name = (char *)(uintptr_t)kernel->image.name;
        command->bound = r->bound;
        command->is_bound = true;
        command->uses = r->uses;
        command->asked = r->asked;
    }
    return command;
}

pel_repeat_way pel_repeat_launch(pel_queue *queue, pel_kernel *kernel, const pel_launch_desc *desc, const pel_arg *args,
                                 uint32_t arg_count, bool wanted, bool may_shorten, pel_repeated *repeated) {
    uint64_t place;
    if (!args || arg_count != kernel->image.param_count || !is_plain(queue, desc)) {
        return PEL_REPEAT_NEW;
    }
    const uint64_t key = key_of(kernel, desc, args, arg_count, &place);
    const pel_repeat_slot *slot = slot_of(queue->runtime, place);
    pel_repeat *r = slot->key == key ? slot->repeat : NULL;
    if (!r || !is_same(r, kernel, desc, args, arg_count)) {
        return PEL_REPEAT_NEW;
    }
    if (!wanted && may_shorten && goes_short(r, queue, desc)) {
        repeated->task = r->task;
        return PEL_REPEAT_SHORT;
    }
    if (!wanted && join(queue, r, desc)) {
        return PEL_REPEAT_JOINED;
    }
    repeated->command = renew(queue, r, kernel, desc->priority);
    return repeated->command ? PEL_REPEAT_COMMAND : PEL_REPEAT_NEW;
}

/* ---- on its way ---- */

/*
 * Models learn from launches that ran alone, of which a row has few: one that was robbed of its core counts for thousands. So
 * what all of them took bounds what the next one is expected to take.
 */
static double expected_of(const pel_repeat *r) {
    const double most = ALONE * r->seen_ns;
    return most > 0 && most < r->predicted_ns ? most : r->predicted_ns;
}

void pel_repeat_saw(pel_command *command, double each_ns) {
    pel_repeat *r = command->repeat;
    if (r && (r->seen_ns <= 0 || each_ns < r->seen_ns)) {
        r->seen_ns = each_ns;
    } else if (r) {
        const double most = ROBBED * r->seen_ns;
        r->seen_ns += ((each_ns < most ? each_ns : most) - r->seen_ns) / SEEN_LATELY;
    }
}

bool pel_repeat_decide(pel_command *command) {
    pel_repeat *r = command->repeat;
    pel_runtime *runtime = command->runtime;
    char *text = NULL;
    if (!r || !is_settled(r)) {
        return false;
    }
    const pel_device *device = &runtime->devices[r->device];
    const char *const *not_on = (const char *const *)command->bound.kernel->not_on;
    /* limits were asked when it was decided */
    const bool well = pel_health_usable(device) && (!not_on || !not_on[device->index]);
    const char *why = well ? NULL : pel_launch_exclusion(&command->bound, device, &text);
    pel_free(&runtime->allocator, text);
    command->slices = why                    ? NULL
                      : command->spare_slice ? command->spare_slice
                                             : pel_alloc(&runtime->allocator, sizeof *command->slices);
    if (!command->slices) {
        return false;
    }
    command->spare_slice = NULL;
    r->age++;
    command->slices[0] = (pel_plan_slice){r->device, 0, command->bound.units, expected_of(r), r->group};
    command->slice_count = command->planned = 1;
    command->protection = r->protection;
    return true;
}

bool pel_repeat_is_home(const pel_command *command) { return command->repeat && is_home(command->repeat); }

/* Decided anew: it may take longer, or go elsewhere. */
static void shorten(pel_repeat *r) {
    const bool suits = r->decided && pel_short_suits(r->runtime, &r->bound, r->device, r->predicted_ns);
    if (suits && !r->task) {
        r->task = pel_short_create(r->runtime, &r->bound, &r->uses);
    } else if (!suits) {
        pel_short_destroy(r->task);
        r->task = NULL;
    }
}

void pel_repeat_keep(pel_command *command, bool exploring) {
    pel_repeat *r = command->repeat;
    if (!r) {
        return;
    }
    r->decided = !exploring && command->slice_count == 1 && !command->tail;
    if (r->decided) {
        r->device = command->slices[0].device;
        r->group = command->slices[0].group;
        r->predicted_ns = command->slices[0].predicted_ns;
        r->protection = command->protection;
        command->slices[0].predicted_ns = expected_of(r);
        r->lessons = command->runtime->dispatcher->lessons;
        r->age = 0;
    }
    shorten(r);
}

/* One device is predicted for, never chosen: every eighth lesson is enough to follow it. */
bool pel_repeat_taught(const pel_command *command) {
    const pel_repeat *r = command->repeat;
    return r && r->decided && command->runtime->device_count == 1 && r->age % 8 != 0;
}

/* The driver may be another one by now, and so may its objects. */
bool pel_repeat_still_there(const pel_job *job, const pel_bound *bound) {
    bool there = job->driver == job->device->driver;
    for (uint32_t i = 0; i < bound->arg_count && there; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        pel_mem *mem = NULL;
        if (arg->allocation && job->args[i].mem) {
            pel_error *error = NULL;
            there = pel_allocation_view(arg->allocation, job->device, arg->offset, arg->bytes, &mem, &error) == PEL_OK &&
                    mem == job->args[i].mem;
            pel_error_destroy(error);
        }
    }
    return there;
}

/* Unless others use it: then they are the last. */
static void drop_job(pel_repeat *r) {
    if (r->in_flight <= 1) {
        pel_free(&r->runtime->allocator, r->job.args);
        pel_uses_free(&r->runtime->allocator, &r->job.written);
        r->job = (pel_job){0};
        r->has_job = false;
    }
}

bool pel_repeat_run(pel_command *command) {
    pel_repeat *r = command->repeat;
    const pel_plan_slice *slice = command->slices;
    if (!r || !r->has_job || command->slice_count != 1 || command->tail || slice->lo != 0 || slice->hi != command->bound.units) {
        return false;
    }
    if (r->job.device->index != slice->device || !pel_repeat_still_there(&r->job, &r->bound)) {
        drop_job(r);
        return false;
    }
    command->jobs = command->spare_job ? command->spare_job : pel_alloc(&command->runtime->allocator, sizeof *command->jobs);
    if (!command->jobs) {
        return false;
    }
    command->spare_job = NULL;
    command->job_limit = command->job_count = 1;
    command->jobs[0] = r->job;
    command->jobs[0].command = command;
    command->jobs[0].work.predicted_ns = slice->predicted_ns;
    command->jobs[0].work.group = slice->group;
    pel_repeat_count_reads(command);
    return true;
}

bool pel_repeat_may_keep(const pel_command *command) {
    const pel_job *job = command->jobs;
    return command->job_count == 1 && !command->tail && job->work.status == PEL_OK && job->device->place == 0 && job->lo == 0 &&
           job->hi == command->bound.units && !job->privates && !job->shadows && !job->stream && !job->in && !job->out &&
           job->copied_in.count == 0 && job->copied_out.count == 0;
}

void pel_repeat_built(pel_command *command) {
    pel_repeat *r = command->repeat;
    pel_job *job = command->jobs;
    if (r && !r->has_job && pel_repeat_may_keep(command)) {
        job->borrowed = true;
        r->job = *job;
        r->has_job = true;
    }
}

/* ---- its end ---- */

void pel_repeat_leave(pel_command *command) {
    pel_repeat *r = command->repeat;
    command->name = NULL;
    command->uses = (pel_uses){0};
    command->is_bound = false;
    command->repeat = NULL;
    command->kin = r->forgotten ? NULL : r;
    let_go(r);
}

bool pel_repeat_takes_back(pel_command *command) {
    pel_repeat *r = command->kin;
    if (!r || r->idle_count >= KEPT) {
        return false;
    }
    command->next = r->idle;
    r->idle = command;
    r->idle_count++;
    return true;
}
