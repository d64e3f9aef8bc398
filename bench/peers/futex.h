/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor of every wake-up: a thread that sleeps in the kernel's futex until it is called, and answers by a store. No library
 * does it faster from a sleeping thread, and on a virtual machine it alone takes 10 to 80 us, so a runtime's latency after
 * idleness means something only beside it. Two kinds must not be mixed: the kernel may put the woken thread on the caller's own
 * core (8 us here) or on another, idle one (57 to 77 us here, an interrupt to a halted virtual processor). The sleeper looks for
 * a while before it sleeps, as every runtime does, which keeps it on a core of its own.
 */
#ifndef PEL_PEERS_FUTEX_H
#define PEL_PEERS_FUTEX_H

#include <stdbool.h>

bool futex_sleeper_start(void);
/* nanoseconds from the call to the answer, and whether it came from another core than the caller's */
double futex_sleeper_call(bool *other_core);
void futex_sleeper_stop(void);

#endif
