/* SPDX-License-Identifier: BSD-3-Clause */
#include "backend/host/group.h"
#include "base/barrier.h"

#include <sched.h>
#include <string.h>

static bool try_lock(pel_host_group *group) { return atomic_exchange_explicit(&group->busy, 1, memory_order_acquire) == 0; }

static void unlock(pel_host_group *group) { atomic_store_explicit(&group->busy, 0, memory_order_release); }

bool pel_host_group_settle(pel_host_group *group, uint32_t index) {
    while (!try_lock(group)) { /* a thief takes microseconds, unless it lost its core */
        sched_yield();
    }
    const bool mine = index < atomic_load_explicit(&group->end, memory_order_relaxed);
    if (!mine) {
        atomic_store_explicit(&group->next, index, memory_order_relaxed);
    }
    unlock(group);
    return mine;
}

uint32_t pel_host_group_steal(pel_host_group *from, pel_host_group *into) {
    uint32_t count = 0;
    if (!try_lock(from)) {
        return 0;
    }
    atomic_store_explicit(&from->wish, 1, memory_order_relaxed);
    pel_barrier_heavy();
    const uint32_t next = atomic_load_explicit(&from->next, memory_order_acquire);
    const uint32_t end = atomic_load_explicit(&from->end, memory_order_acquire);
    if (next < end) {
        const uint32_t at = next + (end - next) / 2;
        count = end - at;
        memcpy(into->calls, &from->calls[at], count * sizeof *into->calls);
        into->of = from->of;
        into->order = from->order + at;
        atomic_store_explicit(&from->end, at, memory_order_release); /* the owner may use their places again */
    }
    atomic_store_explicit(&from->wish, 0, memory_order_release);
    unlock(from);
    if (count > 0) {
        pel_host_group_open(into, count);
    }
    return count;
}
