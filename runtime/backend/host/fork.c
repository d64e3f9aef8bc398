/* SPDX-License-Identifier: BSD-3-Clause */
/* The caller's side of regions: whom there is to call, and how. */
#include "backend/host/workers.h"

static void note_guest(pel_host_device *device, bool outside) {
    if (outside && !atomic_load_explicit(&device->guests, memory_order_relaxed)) {
        atomic_store_explicit(&device->guests, true, memory_order_relaxed);
    }
}

pel_host_team *pel_host_fork(pel_host_device *device, uint32_t wanted, bool outside, pel_host_team_fn run, void *region) {
    /* an owner from outside comes in place of the reserve */
    const uint32_t others = atomic_load_explicit(&device->active, memory_order_relaxed) - 1;
    wanted = wanted < others ? wanted : others;
    wanted = wanted < PEL_HOST_TEAM_MOST ? wanted : PEL_HOST_TEAM_MOST;
    note_guest(device, outside);
    return wanted > 0 ? pel_host_team_open(device->teams, wanted, outside, run, region) : NULL;
}

bool pel_host_take_mailboxes(pel_host_device *device, uint32_t wanted, bool outside, pel_host_mailbox **boxes) {
    uint32_t taken = 0;
    if (atomic_load_explicit(&device->attending, memory_order_relaxed) < wanted || !device->has_barrier) {
        return false;
    }
    /* who sleeps unasked is seen not to attend; in one order for all senders, of whom the first tells */
    if (!atomic_load_explicit(&device->letters, memory_order_seq_cst)) {
        atomic_store_explicit(&device->letters, true, memory_order_seq_cst);
        atomic_thread_fence(memory_order_seq_cst);
    }
    for (uint32_t i = 0; i < device->worker_count - outside && taken < wanted; i++) {
        pel_host_mailbox *box = &device->workers[i].mailbox;
        if (pel_host_mailbox_is_attended(box) && pel_host_mailbox_take(box)) {
            boxes[taken++] = box;
        }
    }
    if (taken == wanted) {
        note_guest(device, outside);
        return true;
    }
    while (taken > 0) {
        pel_host_mailbox_give(boxes[--taken]);
    }
    return false;
}

void pel_host_letters_posted(pel_host_device *device, uint32_t count, pel_host_mailbox *const *boxes) {
    bool attended = true;
    atomic_signal_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < count; i++) {
        attended = attended && atomic_load_explicit(&boxes[i]->attended, memory_order_relaxed);
    }
    if (!attended) {
        pel_host_fork_wake(device, count);
    }
}

bool pel_host_is_attended(const pel_host_device *device) {
    bool attended = atomic_load_explicit(&((pel_host_device *)(uintptr_t)device)->attending, memory_order_relaxed) > 0;
    for (uint32_t i = 0; i < device->worker_count && attended; i++) {
        if (pel_host_mailbox_is_attended(&device->workers[i].mailbox)) {
            return true;
        }
    }
    return false;
}

static bool awaits(const pel_host_mailbox *box) {
    return atomic_load_explicit(&((pel_host_mailbox *)(uintptr_t)box)->awaited, memory_order_relaxed) &&
           pel_host_mailbox_is_attended(box);
}

/*
 * With its box: a letter that is sent later comes with this, and none is under way. The caller has found that nobody looks. A
 * worker that has counted itself since looks by itself; of one that had before, and stopped, it has read with that count that it
 * does not await letters.
 */
uint32_t pel_host_call_back(pel_host_device *device, size_t most) {
    uint32_t called = 0;
    if (atomic_load_explicit(&device->lettered, memory_order_relaxed) == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < device->worker_count && called < most; i++) {
        pel_host_mailbox *box = &device->workers[i].mailbox;
        if (awaits(box) && pel_host_mailbox_take(box)) {
            if (awaits(box)) {
                atomic_store_explicit(&box->look, true, memory_order_release);
                called++;
            }
            pel_host_mailbox_give(box);
        }
    }
    return called;
}
