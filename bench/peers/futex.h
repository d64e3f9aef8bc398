/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor of every wake-up: a thread that sleeps in the kernel's futex until it is called, and answers by a store. No library does it faster
 * from a sleeping thread, and on a virtual machine it alone takes 10 to 50 us, so a runtime's latency after idleness means something only beside it.
 */
#ifndef PEL_PEERS_FUTEX_H
#define PEL_PEERS_FUTEX_H

#include <stdbool.h>

bool futex_sleeper_start(void);
double futex_sleeper_call(void); /* nanoseconds from the call to the answer */
void futex_sleeper_stop(void);

#endif
