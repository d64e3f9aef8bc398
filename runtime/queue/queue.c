/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues, what memory asks of them, and the dispatcher's own birth and death. */
#include "backend/host/host.h"
#include "base/barrier.h"
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
    dispatcher->pools.nodes = pel_pool_create(&runtime->allocator, PEL_NODE_BLOCK);
    dispatcher->pools.scraps = pel_pool_create(&runtime->allocator, PEL_POOL_BLOCK);
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
        status = pel_queue_drain(queue, NULL, NULL);
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
