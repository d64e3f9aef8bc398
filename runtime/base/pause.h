/* SPDX-License-Identifier: BSD-3-Clause */
/* The shortest moment between two looks at what another thread writes; tells the processor that somebody spins. */
#ifndef PEL_BASE_PAUSE_H
#define PEL_BASE_PAUSE_H

#include <stdatomic.h>

static inline void pel_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

#endif
