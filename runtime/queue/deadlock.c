/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a task may wait for something: not for what cannot end before the task itself.
 *
 * That is found by walking forward from what cannot go on while the task waits: the tasks on this thread's stack, those that
 * submitted them, what comes after any of these (successors, markers), those that submitted that, and tasks elsewhere that wait
 * for any of it, with what lies below them on their stacks. None of these can end, and none that has not begun can begin, while
 * the caller stands still: so their lists of successors only grow at the head, and can be read without their owners. Waits are
 * known to each other (`inner_waits`), so whoever would close a circle sees it.
 *
 * The usual wait, for a child none of whose siblings waits for anything outside of the scope, needs none of this: siblings depend
 * on siblings only.
 */
#include "backend/host/host.h"
#include "queue/command.h"

typedef struct blocked {
    const pel_allocator *allocator;
    pel_node **nodes;       /* to be walked from: all before `walked` have been */
    pel_node **table;       /* the same, by hash; a power of 2 */
    const pel_queue *queue; /* is looked for */
    uint32_t count, walked, capacity;
    bool queue_found, no_memory;
} blocked;

static uint32_t slot_of(const blocked *b, const pel_node *node) {
    uint32_t slot = (uint32_t)(((uintptr_t)node >> 6) * 2654435761u);
    for (;; slot++) {
        slot &= 2 * b->capacity - 1;
        if (!b->table[slot] || b->table[slot] == node) {
            return slot;
        }
    }
}

static bool has(const blocked *b, const pel_node *node) { return b->capacity > 0 && b->table[slot_of(b, node)] == node; }

static bool grow(blocked *b) {
    const uint32_t capacity = b->capacity > 0 ? 2 * b->capacity : 64;
    pel_node **nodes = pel_resize(b->allocator, b->nodes, capacity * sizeof(pel_node *));
    b->nodes = nodes ? nodes : b->nodes;
    pel_node **table = nodes ? pel_alloc_zero(b->allocator, 2 * (size_t)capacity, sizeof(pel_node *)) : NULL;
    if (!table) {
        b->no_memory = true;
        return false;
    }
    pel_free(b->allocator, b->table);
    b->table = table;
    b->capacity = capacity;
    for (uint32_t i = 0; i < b->count; i++) {
        table[slot_of(b, nodes[i])] = nodes[i];
    }
    return true;
}

static void add(blocked *b, pel_node *node) {
    if (has(b, node) || (b->count == b->capacity && !grow(b))) {
        return;
    }
    b->table[slot_of(b, node)] = node;
    b->nodes[b->count++] = node;
}

static void add_stack(blocked *b, const pel_runtime *runtime, const pel_frame *frame) {
    for (; frame; frame = frame->outer) {
        if (frame->runtime == runtime) {
            add(b, frame->node);
        }
    }
}

/* A stage in which something never ends: what follows it, now or later. */
static void add_followers(blocked *b, const pel_stage *stage) {
    b->queue_found = b->queue_found || (!stage->scope && stage->queue == b->queue);
    for (; stage; stage = stage->next) {
        if (stage->follower) {
            add(b, stage->follower);
        }
    }
}

static void add_successor(pel_node *to, void *user) { add(user, to); }

static void walk_from(blocked *b, pel_node *node) {
    pel_node_visit(node, add_successor, b);
    const pel_stage *stage = node->stage;
    if (!stage) {
        return; /* was withdrawn */
    }
    add_followers(b, stage);
    if (stage->scope) {
        add(b, stage->scope->parent);
        if (stage->counted_in) {
            add_followers(b, stage->counted_in);
        }
    }
}

static bool is_blocked(const blocked *b, const pel_event *event) {
    return !pel_event_is_complete(event) && has(b, event->node) && pel_node_order(event->node) == event->generation;
}

static void walk_all(blocked *b) {
    while (b->walked < b->count && !b->no_memory) {
        walk_from(b, b->nodes[b->walked++]);
    }
}

static bool in_queue(const pel_stage *stage, const pel_queue *queue) {
    const pel_stage *counted_in = stage && stage->scope ? stage->counted_in : stage;
    return counted_in && counted_in->queue == queue;
}

/* Whether the wait of another task is for any of it. */
static bool never_over(const blocked *b, const pel_inner_wait *wait) {
    bool found = wait->event && is_blocked(b, wait->event);
    for (uint32_t i = 0; i < b->count && wait->queue && !found; i++) {
        found = in_queue(b->nodes[i]->stage, wait->queue);
    }
    return found;
}

/* Everything that cannot end while this thread's tasks stand still. */
static void find_blocked(blocked *b, const pel_runtime *runtime) {
    const pel_dispatcher *dispatcher = runtime->dispatcher;
    uint32_t before;
    add_stack(b, runtime, pel_frames);
    do {
        walk_all(b);
        before = b->count;
        for (const pel_inner_wait *wait = dispatcher->inner_waits; wait && !b->no_memory; wait = wait->next) {
            if (!has(b, wait->frame->node) && never_over(b, wait)) {
                add_stack(b, runtime, wait->frame);
            }
        }
    } while (b->count > before && !b->no_memory);
}

static pel_status check(const pel_runtime *runtime, const pel_event *event, const pel_queue *queue) {
    blocked b = {.allocator = &runtime->allocator, .queue = queue};
    find_blocked(&b, runtime);
    const bool never = queue ? b.queue_found : is_blocked(&b, event);
    pel_free(b.allocator, b.nodes);
    pel_free(b.allocator, b.table);
    return never ? PEL_WOULD_DEADLOCK : b.no_memory ? PEL_OUT_OF_MEMORY : PEL_OK;
}

/* A loop or a launch holds all workers; a virtual machine has one thread. */
bool pel_may_wait_inside(const pel_runtime *runtime) {
    const pel_frame *frame = pel_frame_top(runtime);
    return frame && !frame->loop && !pel_host_in_piece(runtime->task_device->driver) && runtime->dispatcher->tasks;
}

pel_status pel_inner_wait_begin(pel_runtime *runtime, pel_inner_wait *wait, const pel_event *event, const pel_queue *queue) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    if (!pel_may_wait_inside(runtime)) {
        return PEL_WOULD_DEADLOCK;
    }
    pel_status status = check(runtime, event, queue);
    if (status == PEL_OK) {
        *wait = (pel_inner_wait){dispatcher->inner_waits, pel_frame_top(runtime), event, queue};
        dispatcher->inner_waits = wait;
    }
    return status;
}

void pel_inner_wait_end(pel_runtime *runtime, pel_inner_wait *wait) {
    pel_inner_wait **link = &runtime->dispatcher->inner_waits;
    while (*link != wait) {
        link = &(*link)->next;
    }
    *link = wait->next;
}

pel_status pel_check_waits_inside(pel_runtime *runtime, const pel_event *const *waits, uint32_t count, pel_error **error) {
    pel_frame *frame = pel_frame_top(runtime);
    if (!frame || (frame->loop && !frame->node->stage->scope)) {
        return PEL_OK; /* nothing waits for what a loop submits */
    }
    for (uint32_t i = 0; i < count; i++) {
        if (pel_event_is_complete(waits[i]) || (frame->scope && waits[i]->scope == frame->scope)) {
            continue;
        }
        pthread_mutex_lock(&runtime->lock);
        pel_status status = check(runtime, waits[i], NULL);
        pthread_mutex_unlock(&runtime->lock);
        if (status != PEL_OK) {
            return pel_fail(
                error, &runtime->allocator, status, NULL,
                "waits[%u] cannot be complete before the task that submits this command, which ends after the command", i);
        }
        frame->foreign_waits = true;
    }
    return PEL_OK;
}
