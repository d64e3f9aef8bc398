/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/barrier.h"

#include "base/clock.h"
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DRAINED_NS = 200000 };

static atomic_bool refused; /* to be told of only */

bool pel_barrier_prepare(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/*
 * A program may refuse itself the call after it was prepared (seccomp). Nobody can be made to fence then, and the other side,
 * which has begun without fences, cannot be told in time. But its stores leave their processors by themselves, within a
 * microsecond or a few, and what a processor has looked at before it was interrupted it has stored before, too. So time does
 * what the fence did.
 */
void pel_barrier_heavy(void) {
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) {
        return;
    }
    atomic_store_explicit(&refused, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    const int64_t until = pel_clock_now(&pel_clock_monotonic) + DRAINED_NS;
    while (pel_clock_now(&pel_clock_monotonic) < until) {
        (void)nanosleep(&(struct timespec){0, DRAINED_NS}, NULL);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

bool pel_barrier_is_refused(void) { return atomic_load_explicit(&refused, memory_order_relaxed); }

void pel_barrier_full(void) { atomic_thread_fence(memory_order_seq_cst); }
