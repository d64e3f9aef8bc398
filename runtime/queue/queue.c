/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues, waiting, bringing data home, and the dispatcher's own birth and death. */
#include "backend/host/host.h"
#include "base/barrier.h"
#include "core/lessons.h"
#include "kernel/declaration.h"
#include "queue/awaited.h"
#include "queue/command.h"
#include "queue/hung.h"
#include "queue/bare.h"
#include "queue/isolate.h"
#include "queue/habit.h"
#include "queue/repeat.h"
#include <pel/graph.h>

static pel_status sync_hook(pel_runtime *runtime, pel_allocation *allocation, uint64_t offset, uint64_t bytes) {
    pel_uses uses = {0};
    if (!pel_uses_add(&runtime->allocator, &uses, allocation, offset, offset + bytes, PEL_READ)) {
        return PEL_OUT_OF_MEMORY;
    }
    return pel_bring_home(runtime, &uses);
}

/* A task that is only a node and that uses the bytes: it asks it to tell us when it ends. */
static bool find_running(void *user, const pel_hazard *before) {
    bool *found = user;
    *found = *found || (before->node && pel_node_watch(pel_node_of_hazard(before->node), before->generation));
    return true;
}

static bool busy_hook(pel_runtime *runtime, const pel_allocation *allocation, uint64_t offset, uint64_t bytes) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const pel_hazard_range range = {
        .lo = (uintptr_t)allocation->base + offset, .hi = (uintptr_t)allocation->base + offset + bytes, .mode = PEL_WRITE};
    bool found = false;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    (void)pel_hazards_look(dispatcher->hazards, &range, 1, NULL, find_running, &found);
    pel_hazard_lock_give(&dispatcher->hazard_lock);
    return found;
}

static bool is_idle(void *user) {
    const pel_allocation *allocation = user;
    return allocation->commands == 0 && !busy_hook(allocation->runtime, allocation, 0, allocation->bytes);
}

static pel_status idle_hook(pel_runtime *runtime, pel_allocation *allocation) {
    if (pel_inside_task(runtime)) {
        return PEL_WOULD_DEADLOCK;
    }
    pthread_mutex_lock(&runtime->lock);
    if (pel_mapping_blocks_memory(allocation)) {
        pthread_mutex_unlock(&runtime->lock);
        return PEL_WOULD_DEADLOCK;
    }
    pel_wait_for(runtime, &(pel_waiting){.over = is_idle, .user = allocation, .restless = true});
    pel_status status = is_idle(allocation) ? PEL_OK : PEL_WOULD_DEADLOCK;
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

static void gone_hook(pel_runtime *runtime, const pel_allocation *allocation) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    uint64_t base = (uintptr_t)allocation->base;
    pel_hazard_lock_take(&dispatcher->hazard_lock);
    pel_hazards_forget(dispatcher->hazards, base, base + allocation->bytes);
    pel_hazard_lock_give(&dispatcher->hazard_lock);
}

/* The last buffer goes while tasks use the memory: a marker that comes after them holds it as long. */
static pel_status hold_hook(pel_runtime *runtime, pel_allocation *allocation) {
    pel_error *error = NULL;
    pel_command *command = pel_command_new(&runtime->dispatcher->own, PEL_COMMAND_MARKER, "free", 0, &error);
    if (!command) {
        pel_error_destroy(error);
        return PEL_OUT_OF_MEMORY;
    }
    command->tolerant = true;
    pthread_mutex_lock(&runtime->lock);
    pel_status status = pel_command_use(command, allocation, 0, allocation->bytes, PEL_WRITE);
    pthread_mutex_unlock(&runtime->lock);
    if (status != PEL_OK) {
        pel_command_discard(command);
        return status;
    }
    return pel_command_submit(command, NULL, 0, NULL);
}

const pel_memory_hooks *pel_memory_hooks_get(const pel_runtime *runtime) {
    static const pel_memory_hooks hooks = {sync_hook, idle_hook, gone_hook, busy_hook, hold_hook};
    return runtime->dispatcher ? &hooks : NULL;
}

static void end_queue(pel_queue *queue) {
    if (queue->runtime) {
        pel_free(&queue->runtime->allocator, queue->on_device);
        pel_free(&queue->runtime->allocator, queue->met);
    }
}

static void free_dispatcher(pel_runtime *runtime, pel_dispatcher *dispatcher) {
    if (dispatcher) {
        pel_hazards_destroy(dispatcher->hazards);
        pel_free(&runtime->allocator, dispatcher->repeats);
        for (pel_command *next, *spare = dispatcher->spare; spare; spare = next) {
            next = spare->next;
            pel_free(&runtime->allocator, spare);
        }
        pel_free(&runtime->allocator, dispatcher->habits);
        pel_stages_free(&dispatcher->stages, &runtime->allocator);
        pel_pool_destroy(dispatcher->pools.nodes);
        pel_pool_destroy(dispatcher->pools.scraps);
        pel_error_destroy(dispatcher->own.error);
        pel_error_destroy(dispatcher->own.refused);
        end_queue(&dispatcher->own);
        pthread_cond_destroy(&dispatcher->changed);
        pel_free(&runtime->allocator, dispatcher);
    }
}

static void destroy_dispatcher(pel_runtime *runtime) {
    pel_hands_end(runtime);
    if (runtime->dispatcher && runtime->dispatcher->tasks) {
        pel_host_tasks_forget(runtime->dispatcher->tasks);
        pel_nests_leave(runtime->dispatcher->tasks);
    }
    if (runtime->dispatcher) {
        pel_spares_free(&runtime->dispatcher->spares);
        pel_repeats_free(runtime, runtime->dispatcher->repeats);
        runtime->dispatcher->repeats = NULL;
    }
    free_dispatcher(runtime, runtime->dispatcher);
    runtime->dispatcher = NULL;
}

static bool begin_queue(pel_dispatcher *dispatcher, pel_runtime *runtime, pel_queue *queue) {
    const uint32_t devices = runtime->device_count + 1; /* and the hidden host */
    queue->runtime = runtime;
    queue->first_failure = UINT64_MAX;
    queue->weight = 1;
    queue->id = pel_runtime_next_id(runtime);
    queue->first_stage = pel_stage_take(&dispatcher->stages, runtime, &runtime->allocator, queue);
    atomic_init(&queue->stage, queue->first_stage);
    queue->on_device = pel_alloc_zero(&runtime->allocator, devices, sizeof *queue->on_device);
    queue->met = pel_alloc_zero(&runtime->allocator, devices, sizeof *queue->met);
    return queue->first_stage && queue->on_device && queue->met;
}

static pel_dispatcher *make_dispatcher(pel_runtime *runtime) {
    pel_dispatcher *dispatcher = pel_alloc_zero(&runtime->allocator, 1, sizeof *dispatcher);
    if (!dispatcher) {
        return NULL;
    }
    pthread_cond_init(&dispatcher->changed, NULL);
    atomic_init(&dispatcher->hazard_lock.taken, 0);
    dispatcher->tasks = runtime->machine ? NULL : pel_host_tasks_of(runtime->task_device->driver);
    atomic_init(&dispatcher->one_share, 1);
    dispatcher->stages.share_count = dispatcher->tasks ? pel_host_tasks_shards(dispatcher->tasks) : 1;
    dispatcher->stages.used = dispatcher->tasks ? &dispatcher->tasks->shards_used : &dispatcher->one_share;
    dispatcher->fence = !pel_barrier_prepare();
    dispatcher->hazards = pel_hazards_create(&runtime->allocator);
    dispatcher->habits = pel_alloc_zero(&runtime->allocator, PEL_HABITS, sizeof *dispatcher->habits);
    dispatcher->repeats = pel_alloc_zero(&runtime->allocator, PEL_REPEATS, sizeof *dispatcher->repeats);
    dispatcher->pools.nodes = pel_pool_create(&runtime->allocator);
    dispatcher->pools.scraps = pel_pool_create(&runtime->allocator);
    if (!dispatcher->hazards || !dispatcher->habits || !dispatcher->repeats || !dispatcher->pools.nodes ||
        !dispatcher->pools.scraps || !begin_queue(dispatcher, runtime, &dispatcher->own)) {
        free_dispatcher(runtime, dispatcher);
        return NULL;
    }
    return dispatcher;
}

pel_status pel_dispatcher_ensure(pel_runtime *runtime, pel_error **error) {
    pel_status status = PEL_OK;
    pthread_mutex_lock(&runtime->lock);
    if (!runtime->dispatcher) {
        runtime->dispatcher = make_dispatcher(runtime);
        runtime->dispatcher_destroy = destroy_dispatcher;
        runtime->quiesce = runtime->dispatcher ? pel_isolate_quiesce : NULL;
        if (!runtime->dispatcher) {
            status = pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for the dispatcher");
        } else if (runtime->dispatcher->tasks) {
            runtime->dispatcher->tasks->run = pel_task_run;
            runtime->dispatcher->tasks->make = pel_bare_make;
            runtime->dispatcher->tasks->go_on = pel_bare_go_on;
            runtime->dispatcher->tasks->relieve = pel_bare_relieve;
            runtime->dispatcher->tasks->owner = runtime;
            pel_hands_begin(runtime);
        }
    }
    pthread_mutex_unlock(&runtime->lock);
    return status;
}

static void free_queue(pel_queue *queue) {
    pel_runtime *runtime = queue->runtime;
    if (runtime->dispatcher->tasks) {
        pel_host_feed_close(runtime->dispatcher->tasks, queue);
    }
    (void)pel_graph_end(atomic_load_explicit(&queue->recorder, memory_order_acquire)); /* a graph that still records it */
    pthread_mutex_lock(&runtime->lock);
    while (queue->first_stage) {
        pel_stage *stage = queue->first_stage;
        queue->first_stage = stage->next;
        pel_stage_give(&runtime->dispatcher->stages, stage);
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_event_release(atomic_load_explicit(&queue->gate, memory_order_relaxed));
    pel_event_release(queue->anonymous);
    pel_error_destroy(queue->error);
    pel_error_destroy(queue->refused);
    end_queue(queue);
    pel_free(&runtime->allocator, queue->name);
    pel_free(&runtime->allocator, queue);
}

static pel_event *anonymous_failure(pel_runtime *runtime, uint64_t queue) {
    pel_event *event = pel_event_new(runtime);
    if (event) {
        event->queue = queue;
        pel_event_finish(event, PEL_TASK_FAILED, NULL, NULL, pel_clock_now(runtime->clock));
    }
    return event;
}

/* NULL: no memory. */
static pel_queue *make_queue(pel_runtime *runtime, const pel_queue_desc *desc) {
    pel_queue *made = pel_alloc_zero(&runtime->allocator, 1, sizeof *made);
    if (!made) {
        return NULL;
    }
    made->name = desc ? pel_strdup(&runtime->allocator, desc->name) : NULL;
    made->max_in_flight = desc ? desc->max_in_flight : 0;
    made->priority = desc ? desc->priority : 0;
    made->untimed = desc && (desc->flags & PEL_QUEUE_UNTIMED) != 0;
    made->oldest_first = desc && (desc->flags & PEL_QUEUE_OLDEST_FIRST) != 0;
    pthread_mutex_lock(&runtime->lock);
    bool begun = begin_queue(runtime->dispatcher, runtime, made);
    pthread_mutex_unlock(&runtime->lock);
    made->weight = desc && desc->weight > 0 ? desc->weight : 1;
    made->anonymous = anonymous_failure(runtime, made->id);
    if (!begun || !made->anonymous || (desc && desc->name && !made->name)) {
        free_queue(made);
        return NULL;
    }
    return made;
}

pel_status pel_queue_create(pel_runtime *runtime, const pel_queue_desc *desc, pel_queue **queue, pel_error **error) {
    if (!runtime || !queue) {
        return pel_fail(error, &pel_allocator_default, PEL_INVALID_ARGUMENT, NULL, "pel_queue_create: the %s is NULL",
                        runtime ? "queue" : "runtime");
    }
    *queue = NULL;
    pel_status status = pel_runtime_check(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    if (desc && desc->size != 0 && desc->size != sizeof *desc) {
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_queue_desc.size is %zu; this library knows %zu", desc->size, sizeof *desc);
    }
    if (desc && (desc->flags & ~(uint32_t)(PEL_QUEUE_UNTIMED | PEL_QUEUE_OLDEST_FIRST)) != 0) {
        return pel_fail(error, &runtime->allocator, PEL_INVALID_ARGUMENT, NULL,
                        "pel_queue_desc.flags is 0x%x: flags that this library does not know", (unsigned)desc->flags);
    }
    status = pel_dispatcher_ensure(runtime, error);
    if (status != PEL_OK) {
        return status;
    }
    pel_queue *made = make_queue(runtime, desc);
    if (!made) {
        return pel_fail(error, &runtime->allocator, PEL_OUT_OF_MEMORY, NULL, "no memory for a queue");
    }
    pthread_mutex_lock(&runtime->lock);
    made->next = runtime->dispatcher->queues;
    runtime->dispatcher->queues = made;
    pthread_mutex_unlock(&runtime->lock);
    pel_object_made(runtime, PEL_OBJECT_QUEUE);
    *queue = made;
    return PEL_OK;
}

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

/* Waits for what has been submitted to the queue so far, and for what tasks of that submit to it. *home: all is done with that;
 * *failure: of the queue, then. Both may be NULL. */
static pel_status drain_queue(pel_queue *queue, bool *home, pel_status *failure) {
    pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const bool inside = pel_inside_task(runtime);
    pel_inner_wait wait;
    pthread_mutex_lock(&runtime->lock);
    if (pel_mapping_blocks_queue(queue) || (inside && pel_inner_wait_begin(runtime, &wait, NULL, queue) != PEL_OK)) {
        pthread_mutex_unlock(&runtime->lock);
        return PEL_WOULD_DEADLOCK;
    }
    if (dispatcher->tasks) {
        pel_host_lanes_settle(dispatcher->tasks);
    }
    pel_status status = PEL_OK;
    drain d = {queue, queue->drained + count_stages(queue), atomic_load_explicit(&queue->stage, memory_order_relaxed)};
    /* What this thread can drive to its end by itself needs no stage of its own, and nobody who tells us: that takes every
     * processor a fence. */
    for (unsigned i = 0; i < MOST_HELP && !inside && !runtime->machine && !is_drained(&d); i++) {
        const pel_waiting what = {.over = is_drained, .works = drain_works, .user = &d};
        if (!drives_devices(runtime, drain_works(&d)) || !pel_help_devices(runtime, &what)) {
            break;
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
    return pel_bring_home_held(runtime, &h.uses);
}

static void release_uses(pel_runtime *runtime, pel_uses *uses) {
    pthread_mutex_lock(&runtime->lock);
    for (uint32_t i = 0; i < uses->count; i++) {
        pel_allocation_release(uses->data[i].allocation);
    }
    pthread_mutex_unlock(&runtime->lock);
    pel_uses_free(&runtime->allocator, uses);
}

pel_status pel_bring_home_held(pel_runtime *runtime, pel_uses *uses) {
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
    return pel_bring_home_held(runtime, uses);
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
        status = drain_queue(queue, &is_home, &failure);
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

pel_error *pel_queue_error(pel_queue *queue) {
    if (!queue || pel_runtime_check(queue->runtime, NULL) != PEL_OK) {
        return NULL;
    }
    pthread_mutex_lock(&queue->runtime->lock);
    pel_error *copy = pel_error_clone(queue->error ? queue->error : queue->refused, &queue->runtime->allocator);
    pthread_mutex_unlock(&queue->runtime->lock);
    return copy;
}

/* What was lost with a device counts as host memory's again, whatever that holds. */
static void forgive_losses(pel_runtime *runtime) {
    for (uint32_t i = 0; i < runtime->device_count; i++) {
        for (pel_allocation *a = runtime->allocations; a && runtime->devices[i].lost; a = a->next) {
            pel_allocation_forget_device(a, &runtime->devices[i]);
        }
    }
}

pel_status pel_queue_reset(pel_queue *queue) {
    if (!queue) {
        return PEL_INVALID_ARGUMENT;
    }
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status == PEL_OK) {
        status = drain_queue(queue, NULL, NULL);
    }
    if (status != PEL_OK) {
        return status;
    }
    pel_event *anonymous = anonymous_failure(queue->runtime, queue->id); /* the old one may be forgiven now, and stays so */
    if (!anonymous) {
        return PEL_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&queue->runtime->lock);
    pel_event_release(atomic_exchange_explicit(&queue->gate, NULL, memory_order_relaxed));
    pel_hazard_lock_take(&queue->runtime->dispatcher->hazard_lock);
    pel_event_release(queue->anonymous); /* submitters who lack memory hand it on with that lock alone */
    queue->anonymous = anonymous;
    pel_hazards_forgive(queue->runtime->dispatcher->hazards, queue->id);
    pel_hazard_lock_give(&queue->runtime->dispatcher->hazard_lock);
    forgive_losses(queue->runtime);
    pel_error_destroy(queue->error);
    pel_error_destroy(queue->refused);
    queue->error = queue->refused = NULL;
    queue->status = PEL_OK;
    queue->first_failure = UINT64_MAX;
    pthread_mutex_unlock(&queue->runtime->lock);
    return PEL_OK;
}

pel_status pel_queue_destroy(pel_queue *queue) {
    if (!queue) {
        return PEL_OK;
    }
    pel_status status = pel_runtime_check(queue->runtime, NULL);
    if (status == PEL_OK && pel_queue_outlast(queue) != PEL_OK) {
        return PEL_BUSY;
    }
    status = pel_queue_finish(queue);
    if (status == PEL_AFTER_FORK || status == PEL_WOULD_DEADLOCK) {
        return status;
    }
    pel_runtime *runtime = queue->runtime;
    pthread_mutex_lock(&runtime->lock);
    pel_queue **link = &runtime->dispatcher->queues;
    while (*link != queue) {
        link = &(*link)->next;
    }
    *link = queue->next;
    pthread_mutex_unlock(&runtime->lock);
    free_queue(queue);
    pel_object_gone(runtime, PEL_OBJECT_QUEUE);
    return status;
}
