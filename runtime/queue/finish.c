/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting for a queue, and what follows: what only devices hold of the caller's memory comes home, and is the caller's again. */
#include "backend/host/host.h"
#include "core/lessons.h"
#include "kernel/declaration.h"
#include "queue/command.h"

enum { PATIENCE = 8 };

typedef struct drain {
    pel_queue *queue;
    uint64_t drained;       /* enough stages */
    const pel_stage *last;  /* of these */
} drain;

static bool is_drained(void *user) {
    const drain *d = user;
    pel_queue_advance(d->queue);
    pel_dispatch(d->queue->runtime); /* markers that followed */
    return d->queue->drained >= d->drained ||
           (d->queue->first_stage->next == NULL && pel_stage_unfinished(d->queue->first_stage) == 0);
}

static bool seems_drained(void *user) { return pel_stage_unfinished(((const drain *)user)->last) == 0; }

static const uint32_t *drain_works(void *user) { return ((const drain *)user)->queue->on_device; }

static uint64_t count_stages(const pel_queue *queue) {
    uint64_t count = 0;
    for (const pel_stage *stage = queue->first_stage; stage; stage = stage->next) {
        count++;
    }
    return count;
}

/* Works on devices come first: each moment of looking for tasks would be one in which nobody drives them. */
static bool drives_devices(const pel_runtime *runtime, const uint32_t *on_device) {
    uint32_t works = 0;
    for (uint32_t i = 0; on_device && i < runtime->device_count; i++) {
        works += on_device[i];
    }
    return works > 0;
}

enum { MOST_HELP = 64 }; /* steps, each as a rule many launches: others may submit for ever */

/* An owned allocation too, when somebody has wrapped a part of it. */
static bool callers_memory(const pel_allocation *allocation) { return !allocation->owned || allocation->wraps > 0; }

/* Whether nothing is left to do after the wait: nobody has to bring bytes of the caller's home or to free kernels. */
static bool is_all_home(const pel_runtime *runtime) {
    const pel_allocation *a = runtime->allocations;
    while (a && (!callers_memory(a) || pel_interval_map_is_empty(a->residency))) {
        a = a->next;
    }
    return !a && !runtime->released_kernels;
}

pel_status pel_queue_drain(pel_queue *queue, bool *home, pel_status *failure) {
    pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const bool inside = pel_inside_task(runtime);
    pel_inner_wait wait;
    pthread_mutex_lock(&runtime->lock);
    if (pel_mapping_blocks_queue(queue) || (inside && pel_inner_wait_begin(runtime, &wait, NULL, queue) != PEL_OK)) {
        pthread_mutex_unlock(&runtime->lock);
        return PEL_WOULD_DEADLOCK;
    }
    pel_submissions_settle(dispatcher);
    pel_status status = PEL_OK;
    drain d = {queue, queue->drained + count_stages(queue), atomic_load_explicit(&queue->stage, memory_order_relaxed)};
    /* What this thread can drive to its end by itself needs no stage of its own, and nobody who tells us: that takes every
     * processor a fence. After a part of its own the others' are about to end (wait.c). */
    bool helped = false;
    for (unsigned i = 0; i < MOST_HELP && !inside && !runtime->machine && !is_drained(&d); i++) {
        const pel_waiting what = {.over = is_drained, .works = drain_works, .user = &d};
        const bool before = helped;
        if (!drives_devices(runtime, drain_works(&d))) {
            break;
        }
        helped = pel_help_devices(runtime, &what);
        if (!helped && !before) {
            break;
        }
        if (!helped && !is_drained(&d)) {
            pel_look_for_completions(runtime, &what);
        }
    }
    if (!is_drained(&d)) {
        pel_stage *before;
        /* no memory for it: then we wait until the queue is empty for once */
        const bool uncut = pel_queue_cut(queue, &before) != PEL_OK;
        const pel_waiting what = {is_drained, seems_drained, drain_works, &d, PATIENCE, uncut};
        /* who looks takes a core from isolated works, with which it cannot help */
        if (!inside && !runtime->machine && !dispatcher->watched && !drives_devices(runtime, drain_works(&d))) {
            pthread_mutex_unlock(&runtime->lock);
            pel_help_tasks(runtime, &what);
            pthread_mutex_lock(&runtime->lock);
        }
        if (!is_drained(&d)) {
            pel_watch_begin(dispatcher);
            if (inside) {
                pthread_mutex_unlock(&runtime->lock);
                status = pel_wait_inside(runtime, &what);
                pthread_mutex_lock(&runtime->lock);
            } else {
                pel_wait_for(runtime, &what);
            }
            atomic_fetch_sub(&dispatcher->watches, 1);
        }
    }
    if (inside) {
        pel_inner_wait_end(runtime, &wait);
    }
    status = is_drained(&d) ? PEL_OK : status != PEL_OK ? status : PEL_WOULD_DEADLOCK;
    if (home) {
        *home = is_all_home(runtime);
        *failure = queue->status;
    }
    pel_dispatcher_unlock(runtime, true);
    return status;
}

static void release_uses(pel_runtime *runtime, pel_uses *uses) {
    pthread_mutex_lock(&runtime->lock);
    for (uint32_t i = 0; i < uses->count; i++) {
        pel_allocation_release(uses->data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_uses_free(&runtime->allocator, uses);
}

/* Whose allocations are retained already. */
static pel_status bring_home_held(pel_runtime *runtime, pel_uses *uses) {
    pel_error *error = NULL;
    pel_event *event = NULL;
    pel_command *command = pel_command_new(&runtime->dispatcher->own, PEL_COMMAND_MARKER, "bring home", 0, &error);
    if (!command) {
        pel_error_destroy(error);
        release_uses(runtime, uses);
        return PEL_OUT_OF_MEMORY;
    }
    command->tolerant = true; /* what a failed command left is undefined, but the rest must come */
    command->uses = *uses; /* with their references */
    *uses = (pel_uses){0};
    pel_status status = pel_command_submit(command, NULL, 0, &event);
    if (status == PEL_OK) {
        status = pel_event_wait(event);
        pel_event_release(event);
    }
    return status;
}

typedef struct homeless {
    pel_runtime *runtime;
    pel_allocation *allocation;
    pel_uses uses;
    bool failed;
} homeless;

static bool add_homeless(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    homeless *h = user;
    if (pel_holder_of(h->runtime, places, NULL)) { /* what was lost with its device cannot come */
        h->failed = !pel_uses_add(&h->runtime->allocator, &h->uses, h->allocation, lo, hi, PEL_READ);
    }
    return !h->failed;
}

/* The caller may look at wrapped memory after finish: whatever only devices hold of it comes home. */
static pel_status bring_wraps_home(pel_runtime *runtime) {
    homeless h = {.runtime = runtime};
    pthread_mutex_lock(&runtime->lock);
    for (h.allocation = runtime->allocations; h.allocation && !h.failed; h.allocation = h.allocation->next) {
        if (callers_memory(h.allocation)) {
            pel_allocation_missing(h.allocation, 0, 0, h.allocation->bytes, add_homeless, &h);
        }
    }
    for (uint32_t i = 0; i < h.uses.count && !h.failed; i++) { /* held until the command holds them */
        pel_allocation_retain(h.uses.data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    if (h.failed || h.uses.count == 0) {
        pel_uses_free(&runtime->allocator, &h.uses);
        return h.failed ? PEL_OUT_OF_MEMORY : PEL_OK;
    }
    return bring_home_held(runtime, &h.uses);
}

pel_status pel_bring_home(pel_runtime *runtime, pel_uses *uses) {
    if (pel_inside_task(runtime)) {
        pel_uses_free(&runtime->allocator, uses);
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    for (uint32_t i = 0; i < uses->count; i++) {
        pel_allocation_retain(uses->data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    return bring_home_held(runtime, uses);
}

static bool add_busy(void *user, uint64_t lo, uint64_t hi, pel_place_set places) {
    homeless *h = user;
    (void)places;
    h->failed = !pel_uses_add(&h->runtime->allocator, &h->uses, h->allocation, lo, hi, PEL_READ);
    return !h->failed;
}

static int by_address(const void *left, const void *right) {
    const pel_use *a = left, *b = right;
    return a->lo < b->lo ? -1 : a->lo > b->lo;
}

/*
 * What cannot be given back: bytes that are not at home, and those that commands of other queues use still. The runtime's own
 * commands only bring bytes home; they do not mind.
 */
static bool find_busy(homeless *h) {
    pel_allocation *a = h->allocation;
    h->uses.count = 0;
    pel_allocation_missing(a, 0, 0, a->bytes, add_busy, h);
    for (pel_queue *queue = h->runtime->dispatcher->queues; queue && a->commands > 0; queue = queue->next) {
        for (pel_command *command = queue->first; command; command = command->after) {
            for (uint32_t i = 0; i < command->uses.count && !h->failed; i++) {
                const pel_use *use = &command->uses.data[i];
                h->failed =
                    use->allocation == a && !pel_uses_add(&h->runtime->allocator, &h->uses, a, use->lo, use->hi, PEL_READ);
            }
        }
    }
    if (h->uses.count > 1 && !h->failed) {
        pel_heap_sort(h->uses.data, h->uses.count, sizeof *h->uses.data, by_address);
    }
    return !h->failed;
}

/* From now on the caller may also change wrapped memory, and nobody will tell: copies on devices no longer count. */
static pel_status give_wraps_back(pel_runtime *runtime) {
    homeless h = {.runtime = runtime};
    pel_status status = PEL_OK;
    pthread_mutex_lock(&runtime->lock);
    for (pel_allocation *a = runtime->allocations; a && status == PEL_OK; a = a->next) {
        if (!callers_memory(a) || pel_interval_map_is_empty(a->residency)) {
            continue;
        }
        h.allocation = a;
        status = find_busy(&h) ? PEL_OK : PEL_OUT_OF_MEMORY;
        uint64_t at = 0;
        for (uint32_t i = 0; i < h.uses.count && status == PEL_OK; i++) {
            status = pel_allocation_written(a, 0, at, h.uses.data[i].lo);
            at = h.uses.data[i].hi > at ? h.uses.data[i].hi : at;
        }
        status = status == PEL_OK ? pel_allocation_written(a, 0, at, a->bytes) : status;
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_uses_free(&runtime->allocator, &h.uses);
    return status;
}

/* It is no command's failure, so it is told as a refusal. */
static pel_status not_home(pel_queue *queue, pel_status status) {
    pel_error *error = NULL;
    pel_story story = {.advice = "pel_queue_finish tries again"};
    pel_fail(&error, &queue->runtime->allocator, status, &story, "what devices wrote to wrapped memory was not brought home: %s",
             pel_status_text(status));
    return pel_refuse(queue, status, error);
}

pel_status pel_queue_finish(pel_queue *queue) {
    if (!queue) {
        return PEL_INVALID_ARGUMENT;
    }
    bool is_home = false;
    pel_status failure = PEL_OK, home = PEL_OK;
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status == PEL_OK) {
        status = pel_queue_drain(queue, &is_home, &failure);
    }
    if (status != PEL_OK) {
        return status;
    }
    /* other tasks use the memory: nothing comes home, nothing is given back */
    const bool inside = pel_inside_task(queue->runtime);
    if (is_home) {
        if (!inside) {
            pel_lessons_keep(queue->runtime);
        }
        return failure;
    }
    if (!inside) {
        pel_kernels_reap(queue->runtime);
        home = bring_wraps_home(queue->runtime);
    }
    if (home == PEL_OK && !inside) {
        home = give_wraps_back(queue->runtime);
    }
    pthread_mutex_lock(&queue->runtime->lock);
    status = queue->status;
    pthread_mutex_unlock(&queue->runtime->lock);
    if (!inside) {
        pel_lessons_keep(queue->runtime);
    }
    return status != PEL_OK ? status : home != PEL_OK ? not_home(queue, home) : PEL_OK;
}
