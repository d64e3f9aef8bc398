/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/awaited.h"

#include <stddef.h>

enum {
    PLACES = 16,
    LOOKS = 4, /* at places that may be free, for one submission */
    PAUSE = 32 /* submissions that do not look, once that many were in use */
};

/* Aligned so that both lines that a runner needs are a pair, which processors fetch together. */
typedef struct place {
    _Alignas(128) pel_node node;
    _Alignas(64) pel_event event;
} place;

typedef struct nest {
    pel_allocator allocator;
    void *block;        /* as allocated */
    atomic_uint kept;   /* places that somebody may still give back, once nobody takes any */
    uint32_t next;      /* which was used last: most likely it is free again */
    uint32_t pause;
    /* Of each place: 0, USED, ORPHAN. Apart from the events, whose lines have travelled when they are given back. */
    _Alignas(64) atomic_uint states[PLACES];
    place places[PLACES];
} nest;
enum { USED = 1, ORPHAN = 2 };

static nest *make_nest(pel_runtime *runtime) {
    void *block = pel_alloc_zero(&runtime->allocator, 1, sizeof(nest) + _Alignof(nest) - 1);
    nest *made = (nest *)(((uintptr_t)block + _Alignof(nest) - 1) & ~(uintptr_t)(_Alignof(nest) - 1));
    if (!block) {
        return NULL;
    }
    made->allocator = runtime->allocator;
    made->block = block;
    atomic_init(&made->kept, PLACES);
    for (uint32_t i = 0; i < PLACES; i++) {
        pel_node *node = &made->places[i].node;
        pel_event *event = &made->places[i].event;
        node->event = event;
        node->shared = node->brief = node->nested = true;
        event->node = node;
        event->is_node = event->nested = true;
        event->runtime = runtime;
        event->allocator = runtime->allocator;
        event->block = made;
    }
    return made;
}

/* With the lane's claim. NULL: none is free, or there is no memory. */
static place *take(pel_runtime *runtime, pel_host_self *self) {
    nest *of = self->nest;
    if (!of && !(of = self->nest = make_nest(runtime))) {
        return NULL;
    }
    if (of->pause > 0) {
        of->pause--;
        return NULL;
    }
    for (uint32_t i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(&of->states[of->next], memory_order_acquire) == 0) {
            atomic_store_explicit(&of->states[of->next], USED, memory_order_relaxed);
            return &of->places[of->next];
        }
        of->next = (of->next + 1) % PLACES;
    }
    of->pause = PAUSE;
    return NULL;
}

static void drop(nest *of, uint32_t places) {
    if (atomic_fetch_sub_explicit(&of->kept, places, memory_order_acq_rel) == places) {
        const pel_allocator allocator = of->allocator;
        pel_free(&allocator, of->block);
    }
}

/* After the exchange the place may be another task's, unless nobody takes any: then it is counted. */
void pel_nest_give(pel_event *event) {
    nest *of = event->block;
    const size_t index = (size_t)((const char *)event - (const char *)of->places) / sizeof(place);
    if ((atomic_exchange_explicit(&of->states[index], 0, memory_order_acq_rel) & ORPHAN) != 0) {
        drop(of, 1);
    }
}

static void leave(nest *of) {
    uint32_t free_places = 0;
    for (uint32_t i = 0; i < PLACES; i++) {
        free_places += atomic_fetch_or_explicit(&of->states[i], ORPHAN, memory_order_acq_rel) == 0;
    }
    if (free_places > 0) {
        drop(of, free_places);
    }
}

void pel_nests_leave(pel_host_tasks *tasks) {
    for (uint32_t i = 0; i < PEL_HOST_LANES; i++) {
        nest *of = tasks->lanes[i].self.nest;
        tasks->lanes[i].self.nest = NULL;
        if (of) {
            leave(of);
        }
    }
}

pel_status pel_task_awaited(pel_queue *queue, pel_task_fn function, void *context, pel_event **event) {
    pel_runtime *runtime = queue->runtime;
    pel_host_tasks *tasks = runtime->dispatcher->tasks;
    pel_host_lane *lane = pel_host_lane_claim(tasks);
    place *p = take(runtime, &lane->self);
    if (!p) {
        pel_host_lane_give_back(tasks, lane, false);
        return PEL_UNSUPPORTED;
    }
    pel_node *node = &p->node;
    pel_event *made = &p->event;
    /* others have had all four lines; stores become visible in their order, so each would wait for its line behind the other */
    pel_pool_fetch(node);
    pel_pool_fetch(&made->phase);
    pel_pool_fetch(made);
    pel_pool_fetch(&lane->draining);
    pel_node_renew(node);
    node->stage = atomic_load_explicit(&queue->stage, memory_order_acquire);
    node->task = function;
    node->hazard.user = context;
    atomic_store_explicit(&made->word, 2 * PEL_EVENT_REFERENCE, memory_order_relaxed);
    atomic_store_explicit(&made->phase, PEL_EVENT_SUBMITTED, memory_order_relaxed);
    atomic_store_explicit(&made->wish, 0, memory_order_relaxed);
    made->untimed = queue->untimed;
    made->timing = (pel_event_timing){.submitted = queue->untimed ? 0 : pel_clock_now(runtime->clock)};
    made->forgiven = false;
    made->generation = pel_node_order(node);
    if (made->queue != queue->id) { /* its line stays as it is */
        made->queue = queue->id;
    }
    *event = made;
    pel_stage_begin(node->stage, lane->self.shard);
    pel_host_lane_offer(lane, &node->item, &made->phase); /* the line that its beginning writes is on its way early */
    pel_host_lane_give_back(tasks, lane, true);
    return PEL_OK;
}
