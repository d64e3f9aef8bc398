/* SPDX-License-Identifier: BSD-3-Clause */
#include "queue/event.h"
#include "base/barrier.h"
#include "queue/awaited.h"
#include <string.h>

enum { LINE = 64 };

static void begin(pel_event *event, void *block, pel_runtime *runtime, unsigned references) {
    memset(event, 0, sizeof *event);
    atomic_init(&event->word, references * PEL_EVENT_REFERENCE);
    atomic_init(&event->phase, PEL_EVENT_SUBMITTED);
    atomic_init(&event->wish, 0);
    event->allocator = runtime->allocator;
    event->runtime = runtime;
    event->block = block;
}

static pel_event *make(pel_runtime *runtime, unsigned references) {
    void *block = pel_alloc(&runtime->allocator, sizeof(pel_event) + LINE - 1);
    pel_event *event = (pel_event *)(((uintptr_t)block + LINE - 1) & ~(uintptr_t)(LINE - 1));
    if (!block) {
        return NULL;
    }
    begin(event, block, runtime, references);
    return event;
}

pel_event *pel_event_new(pel_runtime *runtime) {
    pel_event *event = make(runtime, 1);
    if (event) {
        event->timing.submitted = pel_clock_now(runtime->clock);
    }
    return event;
}

pel_event *pel_event_new_for_task(pel_runtime *runtime, bool timed) {
    pel_event *event = make(runtime, 2);
    if (event) {
        event->is_node = true;
        event->untimed = !timed;
        event->timing.submitted = timed ? pel_clock_now(runtime->clock) : 0;
    }
    return event;
}

void pel_event_renew(pel_event *event, pel_runtime *runtime) {
    pel_error_destroy(event->error);
    pel_plan_destroy(event->plan);
    begin(event, event->block, runtime, 1);
    event->timing.submitted = pel_clock_now(runtime->clock);
}

void pel_event_finish(pel_event *event, pel_status status, pel_error *error, pel_plan *plan, int64_t now) {
    event->status = status;
    event->error = error;
    event->plan = plan;
    event->timing.ended = now;
    if (event->command) { /* under the lock then; tasks that are only nodes end without it */
        event->command = NULL;
    }
    (void)atomic_fetch_or_explicit(&event->word, PEL_EVENT_OVER, memory_order_release);
}

static void give_up(pel_event *event) {
    if (event->nested) {
        if (event->error) {
            pel_error_destroy(event->error);
            event->error = NULL;
        }
        pel_nest_give(event);
        return;
    }
    pel_allocator allocator = event->allocator;
    pel_error_destroy(event->error);
    pel_plan_destroy(event->plan);
    pel_free(&allocator, event->block);
}

bool pel_event_over(pel_event *event, int64_t now) {
    event->status = PEL_OK;
    event->timing.ended = now;
    const unsigned before =
        atomic_fetch_sub_explicit(&event->word, PEL_EVENT_REFERENCE - PEL_EVENT_OVER, memory_order_acq_rel);
    if (before < 2 * PEL_EVENT_REFERENCE) {
        give_up(event);
    }
    return (before & PEL_EVENT_FOLLOWED) != 0;
}

bool pel_event_follow(pel_event *event) {
    unsigned word = atomic_load_explicit(&event->word, memory_order_acquire);
    do {
        if ((word & (PEL_EVENT_OVER | PEL_EVENT_FOLLOWED)) != 0) {
            return (word & PEL_EVENT_OVER) == 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&event->word, &word, word + PEL_EVENT_FOLLOWED + PEL_EVENT_REFERENCE,
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

/* Second wishes are too late, whatever became of the first. */
bool pel_event_cancel_task(pel_event *event, bool fence) {
    unsigned char wished = PEL_EVENT_WISHED;
    if (atomic_load(&event->wish) != 0) {
        return false;
    }
    atomic_store(&event->wish, PEL_EVENT_WISHED);
    if (!fence) {
        pel_barrier_heavy();
    }
    return atomic_load(&event->phase) == PEL_EVENT_SUBMITTED && !pel_event_is_complete(event) &&
           atomic_compare_exchange_strong(&event->wish, &wished, PEL_EVENT_CANCELLED);
}

pel_event_state pel_event_get_state(const pel_event *event) {
    if (!event || pel_event_is_complete(event)) {
        return PEL_EVENT_COMPLETE;
    }
    const int phase = atomic_load_explicit(&((pel_event *)(uintptr_t)event)->phase, memory_order_relaxed);
    return phase == PEL_EVENT_RUNNING ? PEL_EVENT_RUNNING : PEL_EVENT_SUBMITTED;
}

pel_status pel_event_status(const pel_event *event) {
    if (!event) {
        return PEL_INVALID_ARGUMENT;
    }
    return pel_event_is_complete(event) ? event->status : PEL_BUSY;
}

const pel_error *pel_event_error(const pel_event *event) {
    return event && pel_event_is_complete(event) ? event->error : NULL;
}

void pel_event_get_timing(const pel_event *event, pel_event_timing *timing) {
    if (!timing) {
        return;
    }
    *timing = (pel_event_timing){0};
    if (event && pel_event_is_complete(event)) {
        *timing = event->timing;
    } else if (event) {
        timing->submitted = event->timing.submitted;
    }
}

pel_status pel_event_get_plan(const pel_event *event, pel_plan **plan) {
    if (!event || !plan) {
        return PEL_INVALID_ARGUMENT;
    }
    *plan = NULL;
    if (!pel_event_is_complete(event)) {
        return PEL_BUSY;
    }
    if (!event->plan) {
        return PEL_NOT_FOUND;
    }
    *plan = pel_plan_snapshot(event->plan);
    return *plan ? PEL_OK : PEL_OUT_OF_MEMORY;
}

pel_event *pel_event_retain(pel_event *event) {
    if (event) {
        atomic_fetch_add_explicit(&event->word, PEL_EVENT_REFERENCE, memory_order_relaxed);
    }
    return event;
}

void pel_event_release(pel_event *event) {
    if (!event) {
        return;
    }
    /* a reference that is the only one is the caller's, and nobody could get another meanwhile: no atomic operation */
    if (!pel_event_is_shared(event) ||
        atomic_fetch_sub_explicit(&event->word, PEL_EVENT_REFERENCE, memory_order_acq_rel) < 2 * PEL_EVENT_REFERENCE) {
        if (event->user && !pel_event_is_complete(event)) { /* nobody could end it any more */
            (void)pel_event_set_status(event, PEL_CANCELLED);
        }
        give_up(event);
    }
}
