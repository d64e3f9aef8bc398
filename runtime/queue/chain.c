/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains: a launch is queued on devices behind launches that it depends on, instead of waiting for them to be reported.
 *
 * The problem: a report costs a wake-up (50-70 us on PoCL, a millisecond where all cores compute), an empty launch 4 us. So where
 * devices keep the order of their works by themselves (pel_backend.chains), a launch begins when all its unfinished predecessors
 * *lead*: each is a launch whose works are with their devices and whose end is these works' end. Behind a work on the same device
 * the queue keeps the order; behind works on others, where both devices compute in host memory, a gate does (backend/order.h),
 * which every chunk of the one has for all chunks of the other. The invariant: node->pending counts unfinished predecessors,
 * `chained` those of them that lead; only where they are equal may a launch begin early. Commands end under the lock, so both
 * cannot drift apart meanwhile; and in order: one whose works are over sooner than its predecessors is held until these have
 * ended.
 *
 * What residency says is written down when a work ends. A launch that would need any byte moved therefore waits as ever: for the
 * others, what they read is valid where they run now, and predecessors there leave it so. Launches that the planner tries
 * something with wait too, as they are there to be learned from. When one fails, those behind it come back first (recall.c); then
 * the failure spreads as always. Rejected: waiting only where the device says so (barriers, markers): it cannot know what other
 * devices and the host do; gates between overlapping chunks only: for a stencil on two devices that is all of them.
 */
#include "planner/plan.h"
#include "queue/graph_plan.h"
#include "queue/graph_rows.h"
#include "queue/stream.h"

static pel_command *command_of(const pel_node *node) {
    return pel_node_kind_of(node) == PEL_NODE_COMMAND ? node->hazard.user : NULL;
}

/* More would gain nothing: a report costs what 16 empty launches cost. */
enum { DEPTH = 512 };

static void add(pel_command *from, pel_command *to) {
    if (to->chained < PEL_CHAIN_AHEAD) {
        to->ahead[to->chained] = from;
    }
    to->chained++;
}

void pel_chain_added(pel_node *from, pel_node *to) {
    pel_command *before = command_of(to) ? from->hazard.user : NULL; /* tasks come here without the lock */
    if (before && before->leads) {
        add(before, command_of(to));
    }
}

/* Where more lead than there was room for, some that were left out are missing from the list from now on: they count, but it
 * waits for them. */
static void take_away(const pel_command *before, pel_command *after) {
    after->astray = after->astray || after->chained > PEL_CHAIN_AHEAD;
    for (uint32_t i = 0; i < after->chained && i < PEL_CHAIN_AHEAD; i++) {
        if (after->ahead[i] == before) {
            const uint32_t last = after->chained < PEL_CHAIN_AHEAD ? after->chained - 1 : PEL_CHAIN_AHEAD - 1;
            after->ahead[i] = after->ahead[last];
            break;
        }
    }
    after->chained--;
}

void pel_chain_left(const pel_node *from, pel_node *to) {
    const pel_command *before = command_of(from);
    pel_command *after = before && before->leads ? command_of(to) : NULL;
    if (after) {
        take_away(before, after);
    }
}

void pel_chain_left_part(const pel_command *from, pel_command *to) {
    if (from->leads) {
        take_away(from, to);
    }
}

uint32_t pel_chain_pending(const pel_command *command) {
    return command->part_of ? command->part_of->graph->waiting[command->part]
                            : atomic_load_explicit(&command->node->pending, memory_order_acquire);
}

static bool is_deep(const pel_command *command) {
    for (uint32_t i = 0; i < command->chained; i++) {
        const pel_command *before = command->ahead[i];
        for (uint32_t k = 0; k < before->job_count; k++) {
            if (before->jobs[k].device->running >= DEPTH) {
                return true;
            }
        }
    }
    return false;
}

bool pel_chain_may_begin(const pel_command *command) {
    return command->chained > 0 && command->chained <= PEL_CHAIN_AHEAD && command->asked < PEL_PROTECT_RETRY &&
           !command->astray && !command->early && !command->restarted && command->kind == PEL_COMMAND_LAUNCH &&
           command->status == PEL_OK &&
           pel_chain_pending(command) == command->chained && !is_deep(command);
}

void pel_chain_unplan(pel_command *command) {
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

/* Whether the whole launch finds all that it reads at this place. */
static bool finds_all_there(const pel_command *command, uint32_t place) {
    pel_footprint footprint = {0};
    bool all = true;
    for (uint32_t i = 0; i < command->bound.arg_count && all; i++) {
        const pel_bound_arg *arg = &command->bound.args[i];
        if (!arg->allocation) {
            continue;
        }
        const uint32_t where = arg->param == PEL_PARAM_KIND_REDUCE_PRIVATE ? 0 : place;
        if (where == 0 && pel_interval_map_is_empty(arg->allocation->residency)) {
            continue;
        }
        all = pel_footprint_query(&command->bound, &command->bound.span, i, &footprint) == PEL_OK;
        for (uint32_t k = 0; k < footprint.reads.count && all; k++) {
            all = pel_allocation_missing_bytes(arg->allocation, where, arg->offset + footprint.reads.data[k].lo,
                                               arg->offset + footprint.reads.data[k].hi) == 0;
        }
    }
    pel_footprint_free(&command->runtime->allocator, &footprint);
    return all;
}

/* All that goes before it is at one place, on devices that are well. */
static bool have_one_place(const pel_command *command, uint32_t *place) {
    *place = command->ahead[0]->jobs[0].device->place;
    for (uint32_t i = 0; i < command->chained; i++) {
        if (command->ahead[i]->broken || command->ahead[i]->recalled) {
            return false;
        }
        for (uint32_t k = 0; k < command->ahead[i]->job_count; k++) {
            const pel_device *device = command->ahead[i]->jobs[k].device;
            if (device->lost || device->place != *place) {
                return false;
            }
        }
    }
    return true;
}

static bool has_gates(const pel_device *device) {
    const pel_backend *backend = device->driver->backend;
    return device->place == 0 && backend->gates && backend->gates(device->driver);
}

static bool is_awaited(const pel_job *before, const pel_job *job) { return before->device != job->device && !before->over; }

/* So that others may wait for it; it has not completed. */
static bool give_signal(pel_job *job) {
    if (atomic_load_explicit(&job->work.ends, memory_order_relaxed)) {
        return true;
    }
    pel_signal *signal = pel_signal_create(&job->command->runtime->allocator, job->command->runtime->clock);
    if (signal && job->begun) {
        pel_signal_note_begun(signal);
    }
    atomic_store_explicit(&job->work.ends, signal, memory_order_release);
    return signal != NULL;
}

/* What this job must wait for on other devices. */
static pel_status make_gate(pel_job *job) {
    pel_command *command = job->command;
    const pel_allocator *allocator = &command->runtime->allocator;
    uint32_t count = 0;
    for (uint32_t i = 0; i < command->chained; i++) {
        for (uint32_t k = 0; k < command->ahead[i]->job_count; k++) {
            count += is_awaited(&command->ahead[i]->jobs[k], job) ? 1u : 0u;
        }
    }
    job->work.gate = count > 0 ? pel_gate_create(allocator, count) : NULL;
    bool fine = count == 0 || (job->work.gate && has_gates(job->device));
    for (uint32_t i = 0; i < command->chained && fine && count > 0; i++) {
        for (uint32_t k = 0; k < command->ahead[i]->job_count && fine; k++) {
            pel_job *before = &command->ahead[i]->jobs[k];
            if (is_awaited(before, job)) {
                fine = has_gates(before->device) && give_signal(before);
                if (fine) {
                    pel_gate_add(job->work.gate, atomic_load_explicit(&before->work.ends, memory_order_relaxed));
                }
            }
        }
    }
    return fine ? PEL_OK : PEL_OUT_OF_MEMORY;
}

/* Where the planner wants it, and whether that is where it can follow. */
static bool goes_there(const pel_command *command, uint32_t place) {
    for (uint32_t i = 0; i < command->slice_count; i++) {
        const pel_device *device = &command->runtime->devices[command->slices[i].device];
        if (device->place != place || device->lost || !device->driver->backend->chains ||
            pel_stream_needed(&command->bound, device)) {
            return false;
        }
    }
    return !command->tail;
}

static bool make_works(pel_command *command) {
    bool fine = pel_launch_run(command) == PEL_OK;
    for (uint32_t i = 0; i < command->job_count && fine; i++) {
        /* else it is not with the device: retry.c */
        fine = command->jobs[i].work.status == PEL_OK && make_gate(&command->jobs[i]) == PEL_OK;
    }
    return fine;
}

static bool begin_behind(pel_command *command) {
    bool exploring = true;
    uint32_t place;
    if (!have_one_place(command, &place) || !finds_all_there(command, place) || !pel_graph_row_fits(command)) {
        return false;
    }
    pel_status status = pel_launch_plan_now(command, &exploring);
    if (status == PEL_OK && !exploring && goes_there(command, place) && make_works(command)) {
        command->protection = PEL_PROTECT_NONE; /* what it will read and write is not there yet to be saved */
        pel_plan_set_protection(command->plan,
                                "none: it is queued behind launches that it depends on; ask for retry to have it wait for them");
        return true;
    }
    pel_chain_unplan(command); /* a failure is found again when its turn comes */
    return false;
}

bool pel_chain_begin(pel_command *command) {
    command->early = pel_chain_may_begin(command) && begin_behind(command);
    command->astray = !command->early;
    return command->early;
}

void pel_chain_offer(pel_command *before, pel_command *after) {
    add(before, after);
    if (pel_chain_may_begin(after)) {
        pel_command_make_ready(after);
    }
}

typedef struct visit_to {
    void (*visit)(pel_command *after, void *user);
    void *user;
} visit_to;

static void visit_node(pel_node *to, void *user) {
    const visit_to *v = user;
    pel_command *after = command_of(to);
    if (after) {
        v->visit(after, v->user);
    }
}

void pel_chain_visit(const pel_command *command, void (*visit)(pel_command *after, void *user), void *user) {
    visit_to v = {visit, user};
    if (command->part_of) {
        pel_graph_part_visit(command, visit, user);
    } else {
        pel_node_visit(command->node, visit_node, &v);
    }
}

static void offer(pel_command *after, void *user) { pel_chain_offer(user, after); }

static void leave_behind(pel_command *after, void *user) { pel_chain_left_part(user, after); }

void pel_chain_stop(pel_command *command) {
    if (command->leads) {
        pel_chain_visit(command, leave_behind, command);
        command->leads = false;
    }
}

/* Where a graph's plan is followed, that says what begins when. */
static bool follows_plan(const pel_command *command) { return command->part_of && pel_graph_plan_is_followed(command->part_of); }

/* Several devices: all of them must be able to make others wait. */
static bool may_lead(const pel_command *command) {
    for (uint32_t i = 0; i < command->job_count; i++) {
        const pel_job *job = &command->jobs[i];
        if (job->stream || job->superseded || !job->device->driver->backend->chains ||
            (command->job_count > 1 && !has_gates(job->device))) {
            return false;
        }
    }
    return true;
}

void pel_chain_lead(pel_command *command) {
    if (follows_plan(command) || command->restarted || command->kind != PEL_COMMAND_LAUNCH ||
        command->asked >= PEL_PROTECT_RETRY ||
        command->job_count == 0 || command->tail || !may_lead(command) || pel_launch_fold_count(command) > 0) {
        return;
    }
    for (uint32_t i = 0; i < command->job_count && command->job_count > 1; i++) {
        /* now, so that the device knows from the beginning; else it is tried again when somebody follows */
        (void)give_signal(&command->jobs[i]);
    }
    command->leads = true;
    pel_chain_visit(command, offer, command);
}

void pel_chain_spread_failure(pel_command *command) {
    for (uint32_t i = 0; i < command->job_count && command->early; i++) {
        atomic_store_explicit(&command->jobs[i].work.skip, true, memory_order_release);
    }
}

void pel_chain_job_begun(pel_job *job) {
    pel_signal *ends = atomic_load_explicit(&job->work.ends, memory_order_relaxed);
    job->begun = true;
    if (ends) {
        pel_signal_note_begun(ends);
    }
}

/* A failed one's signal is raised when the command has ended, so that those behind it know; or when they have been told. */
void pel_chain_job_over(pel_job *job) {
    pel_signal *ends = atomic_load_explicit(&job->work.ends, memory_order_relaxed);
    job->over = true;
    if (ends && (job->work.status == PEL_OK || job->command->broken || job->command->recalled)) {
        pel_signal_raise(ends);
    }
}

bool pel_chain_holds(pel_command *command) {
    command->held = command->early && pel_chain_pending(command) > 0;
    return command->held;
}

void pel_chain_clear(pel_job *job) {
    pel_signal *ends = atomic_load_explicit(&job->work.ends, memory_order_relaxed);
    pel_gate_destroy(job->work.gate);
    job->work.gate = NULL;
    if (ends) {
        pel_signal_raise(ends);
        pel_signal_release(ends);
        atomic_store_explicit(&job->work.ends, NULL, memory_order_relaxed);
    }
}
