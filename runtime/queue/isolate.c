/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Isolation: a chunk whose device hangs costs a deadline, and whatever it does later lands nowhere.
 *
 * Devices that compute in host memory get private copies of all that the launch writes; when the work returns in time, the thread
 * that brings it copies the results to the user's memory. Devices with memory of their own have private outputs anyhow. One
 * atomic word per job decides: whoever moves it away from RUNNING, the returning work or the watchdog, has the job; so a late
 * return finds ABANDONED and touches nothing but its own. That is the epoch: each job has one.
 *
 * A driver cannot be called off. So what a hung work points to (arguments, private memory, its job, its kernel) stays until it
 * returns: jobs are not moved, and its command is kept on a list beyond its end. The device counts as lost: when the work has
 * returned, quarantine gives it a new driver. Inputs are not copied: who frees memory that a hung device still reads has been
 * warned (pel/launch.h).
 *
 * Time counts from the moment in which the driver begins the work, not from its submission. What the watchdog itself is late was
 * not the device's fault: the process was stopped; all deadlines move by as much. Nor is time in which threads of the process
 * waited for a core (resilience/starvation.h), looked for from a quarter of an allowance on; but that moves a deadline twentyfold
 * at the most, so that a device is found that hangs while somebody starves.
 */
#include "queue/isolate.h"
#include "backend/simulated/machine.h"
#include "queue/retry.h"
#include "queue/stream.h"
#include "resilience/health.h"
#include "resilience/watchdog.h"
#include <string.h>
#include <time.h>

#define LEAST_NS 1000000000ll        /* DESIGN 6.6 */
#define TIMES_PREDICTED                                                                                                          \
    30.0 /* 10 x the 99.9th percentile, which is 3 x the prediction: 2 % of chunks are spikes of 3 to 10 (ANCHORS) */
#define UNKNOWN_NS 600000000000ll    /* never measured: it may be long, and contain a compilation */
#define TICK_NS 50000000ll           /* works begin without telling; deadlines are 20 ticks at least */
#define SLACK_NS 20000000ll          /* lateness that needs no explanation */
#define STARVED_PART 0.95            /* of its time that may not count */

enum { HUNG_MS = 1000, OPENING_MS = 60000 }; /* how long a runtime that goes waits for what hangs, and for a driver that opens */

typedef struct read_range {
    uint64_t lo, hi; /* of the allocation */
} read_range;

struct pel_shadow {
    struct pel_shadow *next;
    pel_allocation *allocation;
    uint64_t lo, bytes, block_bytes;
    unsigned char *data;
    pel_mem *mem;            /* NULL on the host device */
    pel_mem **views;         /* per argument */
    read_range *reads;
    uint32_t read_count;
};

const char *pel_isolate_refusal(const pel_bound *bound, const pel_device *device) {
    if (device->place == 0) {
        return NULL;
    }
    if (pel_device_writes_host_memory(device)) {
        return "an isolated launch cannot be kept out of the program's memory, which it uses in place";
    }
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].param == PEL_PARAM_KIND_PER_GROUP && bound->kernel->image.params[i].op != PEL_REDUCE_NONE) {
            return "an isolated launch cannot have partial results brought home from it";
        }
    }
    return pel_stream_needed(bound, device) ? "an isolated launch cannot go through it in windows" : NULL;
}

static bool writes_to(const pel_bound *bound, const pel_allocation *allocation) {
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        if (bound->args[i].allocation == allocation && bound->args[i].param != PEL_PARAM_KIND_REDUCE_PRIVATE &&
            bound->kernel->image.params[i].mode != PEL_READ) {
            return true;
        }
    }
    return false;
}

bool pel_isolate_wants(const pel_job *job, uint32_t arg) {
    const pel_bound *bound = &job->command->bound;
    const bool isolated = job->command->protection == PEL_PROTECT_ISOLATE && job->device->place == 0;
    return (job->vote || isolated) && bound->args[arg].allocation &&
           bound->args[arg].param != PEL_PARAM_KIND_REDUCE_PRIVATE && writes_to(bound, bound->args[arg].allocation);
}

static struct pel_shadow *shadow_of(const pel_job *job, const pel_allocation *allocation) {
    struct pel_shadow *shadow = job->shadows;
    while (shadow && shadow->allocation != allocation) {
        shadow = shadow->next;
    }
    return shadow;
}

/* One for all arguments on the allocation, so that aliases stay aliases. */
static pel_status make_shadow(pel_job *job, pel_allocation *allocation, bool with_mem, struct pel_shadow **made,
                              pel_error **error) {
    const pel_bound *bound = &job->command->bound;
    const pel_allocator *allocator = &job->command->runtime->allocator;
    uint64_t lo = UINT64_MAX, hi = 0;
    for (uint32_t i = 0; i < bound->arg_count; i++) {
        const pel_bound_arg *arg = &bound->args[i];
        if (arg->allocation == allocation) {
            lo = arg->offset < lo ? arg->offset : lo;
            hi = arg->offset + arg->bytes > hi ? arg->offset + arg->bytes : hi;
        }
    }
    struct pel_shadow *shadow = pel_alloc_zero(allocator, 1, sizeof *shadow);
    if (!shadow) {
        return PEL_OUT_OF_MEMORY;
    }
    shadow->next = job->shadows;
    job->shadows = shadow;
    shadow->allocation = allocation;
    shadow->lo = lo;
    shadow->bytes = hi - lo;
    shadow->views = pel_alloc_zero(allocator, bound->arg_count + 1u, sizeof(pel_mem *));
    shadow->data = shadow->views ? pel_spare_take(job->command->runtime, shadow->bytes, &shadow->block_bytes) : NULL;
    *made = shadow;
    if (!shadow->data) {
        return PEL_OUT_OF_MEMORY;
    }
    return !with_mem || job->device->facts->info.kind == PEL_DEVICE_HOST
               ? PEL_OK
               : job->device->driver->backend->mem_create(job->device->driver, shadow->data, shadow->bytes, &shadow->mem, error);
}

pel_status pel_isolate_arg(pel_job *job, uint32_t index, pel_mem **view, unsigned char **data, pel_error **error) {
    const pel_bound_arg *arg = &job->command->bound.args[index];
    struct pel_shadow *shadow = shadow_of(job, arg->allocation);
    pel_status status = shadow ? PEL_OK : make_shadow(job, arg->allocation, true, &shadow, error);
    if (status != PEL_OK) {
        return status;
    }
    *data = shadow->data + (arg->offset - shadow->lo);
    if (shadow->mem) {
        status = job->device->driver->backend->mem_view(job->device->driver, shadow->mem, arg->offset - shadow->lo, arg->bytes,
                                                        &shadow->views[index], error);
    }
    *view = shadow->views[index];
    return status;
}

pel_status pel_isolate_reads(pel_job *job, pel_allocation *allocation, uint64_t lo, uint64_t hi) {
    struct pel_shadow *shadow = shadow_of(job, allocation);
    read_range *grown = pel_resize(&job->command->runtime->allocator, shadow->reads, (shadow->read_count + 1u) * sizeof *grown);
    if (!grown) {
        return PEL_OUT_OF_MEMORY;
    }
    shadow->reads = grown;
    grown[shadow->read_count++] = (read_range){lo, hi};
    return job->device->place != 0 ? pel_job_transfer_in(job, shadow->mem, lo - shadow->lo, hi - shadow->lo) : PEL_OK;
}

pel_status pel_isolate_bring_out(pel_job *job, pel_allocation *allocation, pel_mem *mem, uint64_t lo, uint64_t hi) {
    struct pel_shadow *shadow = shadow_of(job, allocation);
    pel_status status = shadow ? PEL_OK : make_shadow(job, allocation, false, &shadow, NULL);
    if (status != PEL_OK) {
        return status;
    }
    if (shadow->mem) {
        return pel_job_bring_out(job, shadow->mem, NULL, lo - shadow->lo, hi - shadow->lo);
    }
    status = pel_job_bring_out(job, mem, NULL, lo, hi);
    if (status == PEL_OK) {
        job->out[job->work.out_count - 1].host = shadow->data + (lo - shadow->lo);
    }
    return status;
}

unsigned char *pel_isolate_data(const pel_job *job, const pel_allocation *allocation, uint64_t at) {
    const struct pel_shadow *shadow = shadow_of(job, allocation);
    return shadow ? shadow->data + (at - shadow->lo) : allocation->base + at;
}

void pel_isolate_overlay(const pel_job *job, const unsigned char *at, const unsigned char *bytes, uint64_t count) {
    for (const struct pel_shadow *shadow = job->shadows; shadow; shadow = shadow->next) {
        const unsigned char *base = shadow->allocation->base + shadow->lo;
        if (at >= base && at < base + shadow->bytes) {
            memcpy(shadow->data + (at - base), bytes, (size_t)count);
        }
    }
}

uint64_t pel_isolate_read_bytes(const pel_job *job) {
    uint64_t bytes = 0;
    for (const struct pel_shadow *shadow = job->shadows; shadow; shadow = shadow->next) {
        for (uint32_t i = 0; i < shadow->read_count; i++) {
            bytes += shadow->reads[i].hi - shadow->reads[i].lo;
        }
    }
    return bytes;
}

void pel_isolate_fill(const pel_job *job) {
    for (const struct pel_shadow *shadow = job->shadows; shadow; shadow = shadow->next) {
        for (uint32_t i = 0; i < shadow->read_count; i++) {
            const read_range *r = &shadow->reads[i];
            memcpy(shadow->data + (r->lo - shadow->lo), shadow->allocation->base + r->lo, (size_t)(r->hi - r->lo));
        }
    }
}

static void commit(const pel_job *job) {
    for (uint32_t i = 0; i < job->written.count && job->shadows && job->device->place == 0; i++) {
        const pel_use *use = &job->written.data[i];
        const struct pel_shadow *shadow = shadow_of(job, use->allocation);
        if (shadow) {
            memcpy(use->allocation->base + use->lo, shadow->data + (use->lo - shadow->lo), (size_t)(use->hi - use->lo));
        }
    }
}

void pel_isolate_free(pel_job *job) {
    const pel_backend_device *driver = job->driver;
    while (job->shadows) {
        struct pel_shadow *shadow = job->shadows;
        job->shadows = shadow->next;
        for (uint32_t i = 0; shadow->views && i < job->command->bound.arg_count; i++) {
            if (shadow->views[i]) {
                driver->backend->mem_destroy(job->driver, shadow->views[i]);
            }
        }
        if (shadow->mem) {
            if (job->work.sensitive && job->driver == job->device->driver) { /* one that hung keeps what it has */
                pel_device_wipe(job->device, shadow->mem);
            }
            driver->backend->mem_destroy(job->driver, shadow->mem);
        }
        pel_spare_give(job->command->runtime, shadow->data, shadow->block_bytes, job->work.sensitive);
        pel_free(&job->command->runtime->allocator, shadow->views);
        pel_free(&job->command->runtime->allocator, shadow->reads);
        pel_free(&job->command->runtime->allocator, shadow);
    }
}

/* ---- watching ---- */

void pel_isolate_begin(pel_job *job) {
    pel_dispatcher *dispatcher = job->command->runtime->dispatcher;
    atomic_store(&job->isolation, PEL_ISOLATION_RUNNING);
    atomic_store(&job->work.started, 0);
    job->work.alone = true;
    job->credit = job->starved = 0;
    job->watch_next = dispatcher->watched;
    dispatcher->watched = job;
    pel_watchdog_wake(job->command->runtime, pel_clock_now(job->command->runtime->clock) + TICK_NS);
}

static void unwatch(pel_job *job) {
    for (pel_job **at = &job->command->runtime->dispatcher->watched; *at; at = &(*at)->watch_next) {
        if (*at == job) {
            *at = job->watch_next;
            return;
        }
    }
}

static bool take(pel_job *job, int to) {
    int running = PEL_ISOLATION_RUNNING;
    return atomic_compare_exchange_strong(&job->isolation, &running, to);
}

bool pel_isolate_returns(pel_job *job) {
    if (atomic_load(&job->isolation) == PEL_ISOLATION_NONE) {
        return true;
    }
    pel_command *command = job->command;
    pel_runtime *runtime = command->runtime;
    if (take(job, PEL_ISOLATION_RETURNED)) {
        if (job->work.status == PEL_OK) {
            commit(job);
        }
        pthread_mutex_lock(&runtime->lock);
        unwatch(job);
        pthread_mutex_unlock(&runtime->lock);
        return true;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_log(&runtime->logger, PEL_LOG_INFO, "%s returned from what it had been given up for; nothing of it is used",
            job->device->facts->info.id);
    if (--command->hung == 0 && command->kept) {
        for (pel_command **at = &runtime->dispatcher->kept; *at; at = &(*at)->next) {
            if (*at == command) {
                *at = command->next;
                break;
            }
        }
        pel_command_free(command);
    }
    pthread_mutex_unlock(&runtime->lock);
    return false;
}

int64_t pel_isolate_allowance(const pel_job *job) {
    const double predicted = job->work.predicted_ns;
    if (job->command->deadline_ns > 0) {
        return job->command->deadline_ns < (uint64_t)INT64_MAX / 4 ? (int64_t)job->command->deadline_ns : INT64_MAX / 4;
    }
    if (!(predicted > 0) || atomic_load(&job->compiling)) {
        return UNKNOWN_NS;
    }
    const double ns = TIMES_PREDICTED * predicted;
    return ns < (double)LEAST_NS ? LEAST_NS : ns < 1e18 ? (int64_t)ns : (int64_t)1e18;
}

static void abandon(pel_job *job) {
    pel_command *command = job->command;
    pel_runtime *runtime = command->runtime;
    pel_device *device = job->device;
    if (!take(job, PEL_ISOLATION_ABANDONED)) {
        return; /* it has just returned */
    }
    unwatch(job);
    pel_job_cancel(job);
    command->hung++;
    pel_story story = {.device = device->facts->info.id,
                       .advice = "what it still does is ignored; its device is tested before it works again"};
    pel_fail(&job->verdict_error, &runtime->allocator, PEL_TIMED_OUT, &story, "%s did not end a chunk of %s within %lld ms",
             device->facts->info.id, command->name ? command->name : "a launch",
             (long long)(pel_isolate_allowance(job) / 1000000));
    device->running -= job->data_parallel ? 1u : 0u;
    pel_fair_given_up(job);
    device->lost = true;
    if (job->driver->backend->abort) { /* not the device's: it may have another by now */
        job->driver->backend->abort(job->driver);
    }
    pel_health_note(device, PEL_TIMED_OUT, job->verdict_error, runtime->clock);
    if (!job->vote && !pel_retry_takes(job)) {
        pel_error *copy = pel_error_clone(job->verdict_error, &runtime->allocator);
        pel_command_fail(command, PEL_TIMED_OUT, copy);
    }
    if (--command->outstanding == 0) {
        pel_command_phase_over(command);
    }
}

/* The time in which somebody waited for a core does not count, all but a twentieth of the time. */
static int64_t due_of(const pel_job *job, int64_t started, int64_t now) {
    const double most = STARVED_PART * (double)(now - started - job->credit);
    const int64_t starved = (double)job->starved < most ? job->starved : most > 0 ? (int64_t)most : 0;
    return started + pel_isolate_allowance(job) + job->credit + starved;
}

/* The first one that must be given up, or NULL and *next: when the soonest may have to be. *old: one has used a quarter of
 * what it is allowed. */
static pel_job *overdue(pel_dispatcher *dispatcher, int64_t now, int64_t *next, bool *old) {
    *next = INT64_MAX;
    *old = false;
    for (pel_job *job = dispatcher->watched; job; job = job->watch_next) {
        if (atomic_load(&job->isolation) != PEL_ISOLATION_RUNNING) {
            continue; /* it has just returned, and waits for the lock */
        }
        const int64_t started = atomic_load(&job->work.started);
        const int64_t due = due_of(job, started, now);
        if ((started != 0 && now >= due) || job->device->lost) { /* what is queued behind a hung one will not end either */
            return job;
        }
        const int64_t look = started != 0 && due < now + TICK_NS ? due : now + TICK_NS;
        *next = look < *next ? look : *next;
        *old = *old || (started != 0 && now - started > pel_isolate_allowance(job) / 4);
    }
    return NULL;
}

int64_t pel_isolate_look(pel_runtime *runtime, int64_t now, pel_lateness late, bool *old) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    int64_t next;
    for (pel_job *job = dispatcher->watched; job; job = job->watch_next) {
        job->credit += late.stopped > SLACK_NS ? late.stopped : 0;
        job->starved += late.starved;
    }
    for (pel_job *job; (job = overdue(dispatcher, now, &next, old)) != NULL;) {
        abandon(job);
    }
    return next;
}

/* ---- what did not return ---- */

pel_status pel_job_verdict(const pel_job *job) {
    return atomic_load(&((pel_job *)(uintptr_t)job)->isolation) == PEL_ISOLATION_ABANDONED ? PEL_TIMED_OUT : job->work.status;
}

const pel_error *pel_job_verdict_error(const pel_job *job) { return job->verdict_error ? job->verdict_error : job->work.error; }

pel_status pel_isolate_move_jobs(pel_command *command, uint32_t more) {
    const pel_allocator *allocator = &command->runtime->allocator;
    pel_job *jobs = pel_alloc_zero(allocator, command->job_count + more, sizeof *jobs);
    pel_moved_jobs *moved = jobs ? pel_alloc_zero(allocator, 1, sizeof *moved) : NULL;
    if (!moved) {
        pel_free(allocator, jobs);
        return PEL_OUT_OF_MEMORY;
    }
    *moved = (pel_moved_jobs){command->moved, command->jobs, command->job_count};
    command->moved = moved;
    for (uint32_t i = 0; i < command->job_count; i++) {
        pel_job *old = &command->jobs[i];
        /* a stone with its name; the job stays where its work points to */
        if (atomic_load(&old->isolation) == PEL_ISOLATION_ABANDONED) {
            jobs[i] = (pel_job){.command = command,
                                .device = old->device,
                                .lo = old->lo,
                                .hi = old->hi,
                                .superseded = old->superseded,
                                .verdict_error = old->verdict_error};
            atomic_store(&jobs[i].isolation, PEL_ISOLATION_ABANDONED);
            old->verdict_error = NULL;
        } else {
            memcpy(&jobs[i], old, sizeof *old);
            memset(old, 0, sizeof *old);
        }
    }
    command->jobs = jobs;
    return PEL_OK;
}

void pel_isolate_forget_moved(pel_command *command) {
    while (command->moved) {
        pel_moved_jobs *moved = command->moved;
        command->moved = moved->next;
        for (uint32_t i = 0; i < moved->count; i++) {
            if (moved->jobs[i].command) {
                pel_job_clear(&moved->jobs[i]);
            }
        }
        pel_free(&command->runtime->allocator, moved->jobs);
        pel_free(&command->runtime->allocator, moved);
    }
}

bool pel_isolate_keeps(pel_command *command) {
    if (command->hung == 0) {
        return false;
    }
    command->kept = true;
    command->next = command->runtime->dispatcher->kept;
    command->runtime->dispatcher->kept = command;
    return true;
}

bool pel_isolate_quiesce(pel_runtime *runtime) {
    const struct timespec nap = {.tv_nsec = 1000000};
    bool waiting = true;
    pel_watchdog_end(runtime);
    if (runtime->machine) {
        do {
            pel_machine_release(runtime->machine);
        } while (pel_machine_advance(runtime->machine));
        return true;
    }
    for (int i = 0; waiting; i++) {
        pthread_mutex_lock(&runtime->lock);
        const bool kept = runtime->dispatcher->kept != NULL, rebuilding = runtime->rebuilding > 0;
        pthread_mutex_unlock(&runtime->lock);
        waiting = kept || rebuilding;
        if (waiting && i >= (kept ? HUNG_MS : OPENING_MS)) {
            break;
        }
        if (waiting) {
            (void)nanosleep(&nap, NULL);
        }
    }
    return !waiting;
}
