/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing a generation: at once, or while the queue goes on.
 *
 * The second takes two steps. A task of the queue copies the items at their moment of program order; a thread that lives as long
 * as the file takes to be written does the rest, so that no worker sleeps in fsync. Where no thread can be made the task writes
 * itself. Waiting is waiting for the task and then for the thread: nothing is shared between them and the caller but that. One
 * checkpoint is under way at a time: a second one could only overtake the disk. Rejected: holding back later writers until the
 * file is written (what pel_checkpoint_write does) costs no copy, but stops an iterated code at its next step.
 */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "core/runtime.h"
#include "resilience/checkpoint.h"
#include <signal.h>
#include <string.h>

#define COST_SMOOTHING                                                                                                           \
    0.3 /* of the newest: a checkpoint's cost varies by less than two between writes, and follows the data's size */

typedef struct target {
    int slot;
    uint64_t generation;
} target;

/* The older generation, and the next number. */
static target next_target(const pel_checkpoint *c) {
    int newest = c->newest != PEL_CHECKPOINT_NO_SLOT ? c->newest : c->generations[1] > c->generations[0];
    return (target){1 - newest, (c->generations[0] > c->generations[1] ? c->generations[0] : c->generations[1]) + 1};
}

/* The new generation is the newest now; its names and sizes are what later notes are checked against. */
static pel_status adopt_slot(pel_checkpoint *c, int slot, pel_error **error) {
    int file;
    pel_checkpoint_forget_newest(c);
    pel_status status = pel_checkpoint_load_header(&c->env, c->paths[slot], &c->header, &file, error);
    if (status == PEL_OK) {
        (void)c->io.close(c->io.state, file);
        c->generations[slot] = c->header.generation;
        c->newest = slot;
    }
    return status;
}

static void learn_cost(pel_checkpoint *c, int64_t nanoseconds) {
    double took = 1e-9 * (double)nanoseconds;
    c->cost = c->cost > 0 ? (1 - COST_SMOOTHING) * c->cost + COST_SMOOTHING * took : took;
}

double pel_checkpoint_cost(const pel_checkpoint *c) { return c ? c->cost : 0; }

/* ---- at once ---- */

typedef struct write_job {
    pel_checkpoint_job base;
    const pel_checkpoint_part *parts;
    target to;
} write_job;

static pel_status save(pel_checkpoint *c, const pel_checkpoint_part *parts, uint32_t count, target to, uint64_t step,
                       pel_error **error) {
    return pel_checkpoint_save(&c->env, c->paths[to.slot], c->temporary, parts, count, to.generation, step,
                               (c->flags & PEL_CHECKPOINT_COMPRESS) != 0, error);
}

static pel_status write_task(void *context) {
    write_job *w = context;
    w->base.status = save(w->base.c, w->parts, w->base.count, w->to, w->base.step, &w->base.error);
    return PEL_OK;
}

pel_status pel_checkpoint_write(pel_checkpoint *c, pel_queue *queue, const pel_checkpoint_item *items, uint32_t count,
                                uint64_t step, pel_error **error) {
    pel_access *accesses;
    pel_checkpoint_part *parts;
    pel_status status = pel_checkpoint_enter(c, queue, "pel_checkpoint_write", error);
    if (status != PEL_OK) {
        return status;
    }
    int64_t began = pel_clock_now(&pel_clock_monotonic);
    write_job w = {.base = {.c = c, .items = items, .count = count, .step = step}, .to = next_target(c)};
    status = pel_checkpoint_describe(c, items, count, PEL_READ, &accesses, &parts, error);
    if (status == PEL_OK) {
        w.parts = parts;
        status = pel_checkpoint_run(queue, write_task, &w.base, accesses, count, "checkpoint", error);
    }
    pel_checkpoint_free_items(c, accesses, parts);
    if (status != PEL_OK) {
        return status;
    }
    learn_cost(c, pel_clock_now(&pel_clock_monotonic) - began);
    return adopt_slot(c, w.to.slot, error);
}

/* ---- while the queue goes on ---- */

typedef struct pel_checkpoint_flight {
    pel_checkpoint *c;
    target to;
    uint64_t step;
    uint32_t count;
    pel_checkpoint_part *parts; /* data: the items' own until the task has copied them */
    char *copy;                 /* of the items' bytes and, behind them, of their names */
    pel_event *copied;
    pthread_t thread;
    bool has_thread;            /* set by the task, read after it */
    atomic_bool written;
    int64_t held;               /* nanoseconds that somebody may have waited: beginning, copying */
    pel_status status;
    pel_error *error;
} pel_checkpoint_flight;

static void *write_out(void *context) {
    pel_checkpoint_flight *f = context;
    f->status = save(f->c, f->parts, f->count, f->to, f->step, &f->error);
    atomic_store_explicit(&f->written, true, memory_order_release);
    return NULL;
}

static bool start_thread(pel_checkpoint_flight *f) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the process's signals are not for us */
    bool started = pthread_create(&f->thread, NULL, write_out, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static pel_status copy_task(void *context) {
    pel_checkpoint_flight *f = context;
    int64_t began = pel_clock_now(&pel_clock_monotonic);
    char *to = f->copy;
    for (uint32_t i = 0; i < f->count; i++) {
        memcpy(to, f->parts[i].data, (size_t)f->parts[i].bytes);
        f->parts[i].data = to;
        to += f->parts[i].bytes;
    }
    f->held += pel_clock_now(&pel_clock_monotonic) - began;
    f->has_thread = start_thread(f);
    if (!f->has_thread) {
        (void)write_out(f);
    }
    return PEL_OK;
}

static void free_flight(pel_checkpoint_flight *f) {
    const pel_allocator *allocator = f->c->env.allocator;
    pel_event_release(f->copied);
    pel_error_destroy(f->error);
    pel_free(allocator, f->parts);
    pel_free(allocator, f->copy);
    pel_free(allocator, f);
}

/* Room for the bytes and the names, which are the caller's only until pel_checkpoint_begin returns. */
static pel_status make_room(pel_checkpoint_flight *f, pel_error **error) {
    uint64_t bytes = 0, names = 0;
    bool fits = true;
    for (uint32_t i = 0; i < f->count; i++) {
        fits = fits && pel_add_u64(bytes, f->parts[i].bytes, &bytes);
        names += strlen(f->parts[i].name) + 1;
    }
    fits = fits && pel_add_u64(bytes, names, &names) && names <= SIZE_MAX;
    f->copy = fits ? pel_alloc(f->c->env.allocator, (size_t)names) : NULL;
    if (!f->copy) {
        pel_story story = {.advice = "pel_checkpoint_write needs no copy"};
        return pel_fail(error, f->c->env.allocator, PEL_OUT_OF_MEMORY, &story,
                        "no memory for a copy of the %llu bytes of a checkpoint", (unsigned long long)bytes);
    }
    char *name = f->copy + bytes;
    for (uint32_t i = 0; i < f->count; i++) {
        size_t length = strlen(f->parts[i].name) + 1;
        memcpy(name, f->parts[i].name, length);
        f->parts[i].name = name;
        name += length;
    }
    return PEL_OK;
}

pel_status pel_checkpoint_begin(pel_checkpoint *c, pel_queue *queue, const pel_checkpoint_item *items, uint32_t count,
                                uint64_t step, pel_error **error) {
    pel_access *accesses = NULL;
    pel_status status = pel_checkpoint_enter(c, queue, "pel_checkpoint_begin", error);
    if (status != PEL_OK) {
        return status;
    }
    int64_t began = pel_clock_now(&pel_clock_monotonic);
    pel_checkpoint_flight *f = pel_alloc_zero(c->env.allocator, 1, sizeof *f);
    if (!f) {
        return pel_fail(error, c->env.allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a checkpoint");
    }
    *f = (pel_checkpoint_flight){.c = c, .to = next_target(c), .step = step, .count = count};
    status = pel_checkpoint_describe(c, items, count, PEL_READ, &accesses, &f->parts, error);
    if (status == PEL_OK) {
        status = make_room(f, error);
    }
    if (status == PEL_OK) {
        pel_task_desc desc = PEL_TASK_DESC_INIT;
        desc.name = "checkpoint";
        f->held = pel_clock_now(&pel_clock_monotonic) - began;
        status = pel_task(queue, copy_task, f, accesses, count, &desc, &f->copied);
        if (status != PEL_OK) {
            pel_error_hand_over(error, pel_queue_error(queue));
        }
    }
    pel_free(c->env.allocator, accesses);
    if (status != PEL_OK) {
        free_flight(f);
        return status;
    }
    c->flight = f;
    return PEL_OK;
}

int pel_checkpoint_pending(const pel_checkpoint *c) {
    const pel_checkpoint_flight *f = c ? c->flight : NULL;
    return f && !atomic_load_explicit((atomic_bool *)(uintptr_t)&f->written, memory_order_acquire) &&
           (!pel_event_is_complete(f->copied) || pel_event_status(f->copied) == PEL_OK);
}

pel_status pel_checkpoint_wait(pel_checkpoint *c, pel_error **error) {
    if (!c) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_checkpoint_wait: the checkpoint is NULL");
    }
    pel_checkpoint_flight *f = c->flight;
    if (!f) {
        return PEL_OK;
    }
    int64_t began = pel_clock_now(&pel_clock_monotonic);
    pel_status status = pel_event_wait(f->copied);
    if (!pel_event_is_complete(f->copied)) { /* inside a task, or after a fork: it stays under way */
        return pel_fail(error, c->env.allocator, status, NULL, "pel_checkpoint_wait: %s", pel_status_text(status));
    }
    c->flight = NULL;
    if (status != PEL_OK) {
        pel_error_hand_over(error, pel_error_clone(pel_event_error(f->copied), c->env.allocator));
        free_flight(f);
        return status;
    }
    if (f->has_thread) {
        (void)pthread_join(f->thread, NULL);
    }
    target to = f->to;
    status = f->status;
    if (status == PEL_OK) {
        learn_cost(c, f->held + pel_clock_now(&pel_clock_monotonic) - began);
    } else {
        pel_error_hand_over(error, f->error);
        f->error = NULL;
    }
    free_flight(f);
    return status == PEL_OK ? adopt_slot(c, to.slot, error) : status;
}
