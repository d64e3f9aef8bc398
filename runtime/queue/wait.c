/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting, and what a waiter does meanwhile: it runs tasks, it drives devices, it looks for a moment, it sleeps.
 *
 * Sleeping is on one condition variable of the dispatcher, under the lock. Completions of the lock's commands broadcast it;
 * tasks, which do not take the lock, do so only when a waiter has asked for it: by a mark in the node that it waits for, or by
 * `watches` for a stage.
 */
#include "backend/host/host.h"
#include "backend/simulated/machine.h"
#include "base/barrier.h"
#include "queue/command.h"
#include <sched.h>

/*
 * After a part of its own, a waiter looks for a moment whether the others end, too: they have about as much left, and sleeping
 * costs a wake-up (28-55 us from sleep on a virtual machine, 2026-11).
 */
enum { LOOKS_PER_CLOCK = 32, PATIENCE = 8 };

/*
 * Nobody helps with an isolated launch, because it may hang. Who sleeps meanwhile is woken on a core that sleeps, too, which
 * takes 30 to 60 us on a virtual machine, a tenth of the shortest launches. So where all that runs isolated is on OpenCL devices
 * and predicted to end soon, its waiter gives its core away again and again instead of sleeping, for at most this long in one
 * wait: launches of 350 us on PoCL take 1.01 to 1.08 of unprotected ones, and 1.08 to 1.23 with a waiter that sleeps (2 vCPUs,
 * 2026-11). On the host it is the workers who give way (backend/host/workers.c); a waiter that did so, too, made them 1.4 times
 * as long.
 */
#define YIELD_MOST_NS 1000000
#define YIELD_TIMES_PREDICTED 2

void pel_tell_waiters(pel_runtime *runtime) {
    pthread_mutex_lock(&runtime->lock);
    pel_dispatcher_unlock(runtime, true);
}

bool pel_help_devices(pel_runtime *runtime, const pel_waiting *what) {
    for (uint32_t i = 0; i < runtime->device_count && what->works; i++) {
        pel_backend_device *driver = runtime->devices[i].driver;
        const uint32_t *on_device = what->works(what->user); /* asked anew: the queue may be gone after the lock was given up */
        if (!on_device || on_device[i] == 0 || !driver->backend->help) {
            continue;
        }
        pthread_mutex_unlock(&runtime->lock);
        bool helped = driver->backend->help(driver);
        pthread_mutex_lock(&runtime->lock);
        if (helped) {
            return true;
        }
    }
    return false;
}

/* Until it seems over or nothing is there. Events are asked after each task, sums of counters, which are dearer, less often. */
static void run_some(pel_host_runner *runner, const pel_waiting *what) {
    for (uint32_t i = 0; (i % what->patience != 0 || !what->seems_over(what->user)) && pel_host_runner_work(runner); i++) {
    }
}

/* Runs what there is; looks for more for a while. */
static void run_tasks(pel_host_tasks *tasks, pel_host_runner *runner, const pel_waiting *what, int64_t spin_ns) {
    int64_t until = 0;
    run_some(runner, what);
    if (what->seems_over(what->user)) {
        return;
    }
    pel_host_look_begin(tasks, false);
    for (uint32_t look = 1; !what->seems_over(what->user); look++) {
        if (pel_host_runner_sees_work(runner) || (look % LOOKS_PER_CLOCK == 0 && pel_host_runner_sees_stuck(runner))) {
            pel_host_look_stop(tasks, false);
            run_some(runner, what);
            pel_host_look_begin(tasks, false);
            until = 0;
        }
        pel_host_pause();
        if (look % LOOKS_PER_CLOCK == 0) {
            int64_t now = pel_clock_now(&pel_clock_monotonic);
            until = until == 0 ? now + spin_ns : until;
            if (now > until) {
                break;
            }
        }
    }
    pel_host_look_stop(tasks, false);
}

void pel_help_tasks(pel_runtime *runtime, const pel_waiting *what) {
    pel_host_tasks *tasks = runtime->dispatcher->tasks;
    pel_host_runner *before;
    if (!tasks || !what->seems_over || !pel_host_may_help(runtime->task_device->driver)) {
        return;
    }
    pel_host_runner *runner = pel_host_guest_enter(tasks, &before);
    if (runner) {
        run_tasks(tasks, runner, what, runtime->env.spin_ns);
        pel_host_guest_leave(runner, before);
    }
}

void pel_look_for_completions(pel_runtime *runtime, const pel_waiting *what) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const unsigned before = atomic_load_explicit(&dispatcher->completions, memory_order_relaxed);
    pthread_mutex_unlock(&runtime->lock);
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + runtime->env.spin_ns;
    while (atomic_load_explicit(&dispatcher->completions, memory_order_relaxed) == before &&
           pel_clock_now(&pel_clock_monotonic) < until && !(what->seems_over && what->seems_over(what->user))) {
    }
    pthread_mutex_lock(&runtime->lock);
}

/* When all isolated works, none of them the host's, should have ended for long; 0: that is not known, or far away. */
static int64_t isolated_end(const pel_runtime *runtime) {
    const int64_t now = pel_clock_now(runtime->clock);
    int64_t end = 0;
    bool soon = true;
    for (const pel_job *job = runtime->dispatcher->watched; job && soon; job = job->watch_next) {
        const int64_t started = atomic_load_explicit(&((pel_job *)(uintptr_t)job)->work.started, memory_order_relaxed);
        const double predicted = job->work.predicted_ns;
        soon = job->device->facts->info.kind != PEL_DEVICE_HOST && predicted > 0 && predicted < YIELD_MOST_NS;
        const int64_t due = (started != 0 ? started : now) + (soon ? YIELD_TIMES_PREDICTED * (int64_t)predicted : 0);
        end = due > end ? due : end;
    }
    return soon ? end : 0;
}

/* Until something completes, or for as long as it makes sense. *left: what may still be spent so in this wait. */
static bool give_way(pel_runtime *runtime, int64_t *left) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const int64_t end = dispatcher->watched && runtime->env.spin_ns > 0 && *left > 0 ? isolated_end(runtime) : 0;
    int64_t now = pel_clock_now(&pel_clock_monotonic);
    if (end <= now) {
        return false;
    }
    const int64_t began = now, until = end - now < *left ? end : now + *left;
    const unsigned before = atomic_load_explicit(&dispatcher->completions, memory_order_relaxed);
    pthread_mutex_unlock(&runtime->lock);
    while (atomic_load_explicit(&dispatcher->completions, memory_order_relaxed) == before && now < until) {
        (void)sched_yield();
        now = pel_clock_now(&pel_clock_monotonic);
    }
    *left -= now - began;
    pthread_mutex_lock(&runtime->lock);
    return true;
}

static void help_unlocked(pel_runtime *runtime, const pel_waiting *what) {
    pthread_mutex_unlock(&runtime->lock);
    pel_help_tasks(runtime, what);
    pthread_mutex_lock(&runtime->lock);
}

void pel_wait_for(pel_runtime *runtime, const pel_waiting *what) {
    pel_dispatcher *dispatcher = runtime->dispatcher;
    bool helped = false;
    int64_t may_yield = YIELD_MOST_NS;
    while (!what->over(what->user)) {
        if (runtime->machine) {
            pthread_mutex_unlock(&runtime->lock);
            bool advanced = pel_machine_advance(runtime->machine);
            pthread_mutex_lock(&runtime->lock);
            if (!advanced) {
                return; /* nothing will ever happen: the caller finds its condition unmet and says so */
            }
        } else if (what->works && pel_help_devices(runtime, what)) {
            helped = true;
        } else if (helped) {
            helped = false;
            if (!what->over(what->user)) {
                pel_look_for_completions(runtime, what);
            }
        } else {
            if (dispatcher->tasks && what->seems_over && pel_host_tasks_any_for_sure(dispatcher->tasks)) {
                help_unlocked(runtime, what);
            }
            if (!what->over(what->user) && !give_way(runtime, &may_yield)) {
                dispatcher->waiters++;
                dispatcher->restless += what->restless ? 1u : 0u;
                pthread_cond_wait(&dispatcher->changed, &runtime->lock);
                dispatcher->restless -= what->restless ? 1u : 0u;
                dispatcher->waiters--;
            }
        }
    }
}

/* ---- events ---- */

static bool event_seems_over(void *user) { return pel_event_is_complete(user); }

static bool event_is_over(void *user) {
    pel_event *event = user;
    return pel_event_is_complete(event) || (event->is_node && !pel_event_follow(event)) ||
           !pel_node_watch(event->node, event->generation);
}

static const uint32_t *event_works(void *user) {
    const pel_event *event = user;
    return event->command ? event->command->queue->on_device : NULL;
}

/* The calling thread has a mapping that the event waits for. */
static bool waits_for_itself(const pel_event *event) {
    pel_runtime *runtime = event->runtime;
    if (atomic_load_explicit(&runtime->dispatcher->mapping_count, memory_order_relaxed) == 0) {
        return false;
    }
    pthread_mutex_lock(&runtime->lock);
    bool blocked = event->command && pel_mapping_blocks(event->command);
    pthread_mutex_unlock(&runtime->lock);
    return blocked;
}

static pel_status wait_inside(pel_runtime *runtime, const pel_waiting *what, pel_event *event) {
    const pel_frame *frame = pel_frame_top(runtime);
    const bool child = pel_may_wait_inside(runtime) && frame->scope && event->scope == frame->scope && !frame->foreign_waits;
    pel_inner_wait wait;
    pel_status status = PEL_OK;
    if (!child) {
        pthread_mutex_lock(&runtime->lock);
        status = pel_inner_wait_begin(runtime, &wait, event, NULL);
        pthread_mutex_unlock(&runtime->lock);
    }
    if (status == PEL_OK) {
        status = pel_wait_inside(runtime, what);
        if (!child) {
            pthread_mutex_lock(&runtime->lock);
            pel_inner_wait_end(runtime, &wait);
            pthread_mutex_unlock(&runtime->lock);
        }
    }
    return pel_event_is_complete(event) ? event->status : status != PEL_OK ? status : PEL_WOULD_DEADLOCK;
}

/*
 * What this thread has just submitted and nobody has begun it runs itself, at once: that is what a worker would cost, without a
 * line that travels. Should another task be offered there by now, that one runs instead, which is a waiter's business, too.
 */
static void run_own(pel_runtime *runtime, const pel_event *event) {
    pel_host_tasks *tasks = runtime->dispatcher->tasks;
    pel_host_runner *before, *runner = NULL;
    if (tasks && pel_host_still_offered(tasks, &event->node->item) && pel_host_may_help(runtime->task_device->driver)) {
        runner = pel_host_guest_enter(tasks, &before);
    }
    if (runner) {
        pel_host_item *item = pel_host_take_back(tasks);
        if (item) {
            pel_host_runner_run(runner, item);
        }
        pel_host_guest_leave(runner, before);
    }
}

pel_status pel_event_wait(pel_event *event) {
    if (!event) {
        return PEL_INVALID_ARGUMENT;
    }
    if (pel_event_is_complete(event)) {
        return event->status;
    }
    pel_runtime *runtime = event->runtime;
    pel_status status = pel_runtime_is_ours(runtime) ? PEL_OK : pel_runtime_check(runtime, NULL);
    if (status != PEL_OK) {
        return status;
    }
    if (waits_for_itself(event)) {
        return PEL_WOULD_DEADLOCK;
    }
    if (event->is_node && !pel_inside_task(runtime)) {
        run_own(runtime, event);
        if (pel_event_is_complete(event)) {
            return event->status;
        }
    }
    const pel_waiting what = {event_is_over, event_seems_over, event_works, event, 1, false};
    if (pel_inside_task(runtime)) {
        return wait_inside(runtime, &what, event);
    }
    if (event->is_node || event->user) { /* any other command may need a device to be driven: that comes first */
        pel_help_tasks(runtime, &what);
    }
    if (pel_event_is_complete(event)) {
        return event->status;
    }
    pthread_mutex_lock(&runtime->lock);
    pel_wait_for(runtime, &what);
    pthread_mutex_unlock(&runtime->lock);
    return pel_event_is_complete(event) ? event->status : PEL_WOULD_DEADLOCK;
}

/* ---- stages ---- */

void pel_watch_begin(pel_dispatcher *dispatcher) {
    atomic_fetch_add(&dispatcher->watches, 1);
    if (!dispatcher->fence) {
        pel_barrier_heavy();
    }
}

void pel_queue_advance(pel_queue *queue) {
    pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    const pel_stage *current = atomic_load_explicit(&queue->stage, memory_order_relaxed);
    while (queue->first_stage != current && pel_stage_unfinished(queue->first_stage) == 0) {
        pel_stage *stage = queue->first_stage;
        pel_node *follower = stage->follower;
        queue->first_stage = stage->next;
        queue->drained++;
        dispatcher->news = true;
        pel_stage_give(&dispatcher->stages, stage);
        if (follower) {
            atomic_fetch_sub(&dispatcher->watches, 1);
            if (pel_node_arrive(follower)) {
                pel_start_node(runtime, follower);
            }
        }
    }
}

void pel_queues_advance(pel_runtime *runtime) {
    pthread_mutex_lock(&runtime->lock);
    for (pel_queue *queue = runtime->dispatcher->queues; queue; queue = queue->next) {
        pel_queue_advance(queue);
    }
    pel_queue_advance(&runtime->dispatcher->own);
    pel_dispatch(runtime);
    pel_dispatcher_unlock(runtime, true);
}

/* Tasks are submitted in a lane's claim, or in the lock of the hazards. */
void pel_submissions_settle(pel_dispatcher *dispatcher) {
    if (dispatcher->tasks) {
        pel_host_lanes_settle(dispatcher->tasks);
        pel_hazard_lock_take(&dispatcher->hazard_lock);
        pel_hazard_lock_give(&dispatcher->hazard_lock);
    }
}

pel_status pel_queue_cut(pel_queue *queue, pel_stage **before) {
    pel_dispatcher *dispatcher = queue->runtime->dispatcher;
    pel_stage *fresh = pel_stage_take(&dispatcher->stages, queue->runtime, &queue->runtime->allocator, queue);
    if (!fresh) {
        return PEL_OUT_OF_MEMORY;
    }
    *before = atomic_load_explicit(&queue->stage, memory_order_relaxed);
    (*before)->next = fresh;
    atomic_store_explicit(&queue->stage, fresh, memory_order_release);
    pel_submissions_settle(dispatcher); /* who has read the old one has counted in it */
    if (dispatcher->tasks) {
        pel_host_feeds_settle(dispatcher->tasks, queue);
    }
    return PEL_OK;
}

static uint64_t unfinished(const pel_queue *queue) {
    uint64_t sum = 0;
    for (const pel_stage *stage = queue->first_stage; stage; stage = stage->next) {
        sum += pel_stage_unfinished(stage);
    }
    return sum;
}

/* Not at once when there is room for one: a producer that is woken for each command costs more than the commands. */
static bool has_room(void *user) {
    const pel_queue *queue = user;
    return unfinished(queue) < queue->max_in_flight - queue->max_in_flight / 4;
}

static bool seems_to_have_room(void *user) {
    pel_queue *queue = user;
    return pel_stage_unfinished(atomic_load_explicit(&queue->stage, memory_order_acquire)) <
           queue->max_in_flight - queue->max_in_flight / 4;
}

static const uint32_t *queue_works(void *user) { return ((const pel_queue *)user)->on_device; }

/* Whoever submits tasks may go on for as many as there is room for now, and looks again then. Under the lock. */
static bool find_room(pel_queue *queue) {
    pel_hazard_lock *lock = &queue->runtime->dispatcher->hazard_lock;
    pel_hazard_lock_take(lock);
    queue->places = 0; /* they are counted anew with all others: nobody waits while somebody keeps some */
    const uint64_t count = unfinished(queue);
    const bool any = count < queue->max_in_flight;
    const uint64_t left = any ? queue->max_in_flight - count - 1 : 0;
    atomic_store_explicit(&queue->room, left < INT32_MAX ? (int)left : INT32_MAX, memory_order_relaxed);
    pel_hazard_lock_give(lock);
    return any;
}

void pel_queue_make_room(pel_queue *queue) {
    pel_runtime *runtime = queue->runtime;
    pel_dispatcher *dispatcher = runtime->dispatcher;
    if (queue->max_in_flight == 0 || pel_inside_task(runtime)) {
        return;
    }
    pthread_mutex_lock(&runtime->lock);
    if (!find_room(queue) && !pel_mapping_mine(runtime)) {
        pthread_mutex_unlock(&runtime->lock);
        const pel_waiting what = {has_room, seems_to_have_room, queue_works, queue, PATIENCE, true};
        pel_help_tasks(runtime, &what);
        pthread_mutex_lock(&runtime->lock);
        if (!has_room(queue)) {
            atomic_fetch_add(&dispatcher->throttled, 1);
            pel_watch_begin(dispatcher);
            pel_wait_for(runtime, &what);
            atomic_fetch_sub(&dispatcher->watches, 1);
            atomic_fetch_sub(&dispatcher->throttled, 1);
        }
        (void)find_room(queue);
    }
    pthread_mutex_unlock(&runtime->lock);
}
