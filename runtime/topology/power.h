/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Meters of energy that a machine may have: the Linux powercap folder (intel-rapl, which AMD's processors fill as well), one
 * counter a processor package, and NVML, one a GPU. Both are counters of joules, so the energy of anything is a difference of two
 * readings and nobody has to sample watts. A package's counter is for all that runs on it, ours or not: that is said by whoever
 * shows the figure. NVML is looked for with dlopen when the first GPU is asked for: there is no build dependency, and a machine
 * without it is the usual case. Not thread-safe.
 */
#ifndef PEL_TOPOLOGY_POWER_H
#define PEL_TOPOLOGY_POWER_H

#include "base/alloc.h"
#include <stdbool.h>

typedef struct pel_power pel_power;

/* `root` is put before /sys, `nvml` is the library's file; NULL: the machine's own. NULL: no memory. What cannot be read is
 * found when it is asked for. */
pel_power *pel_power_open(const pel_allocator *allocator, const char *root, const char *nvml);
void pel_power_close(pel_power *power); /* NULL is fine */

/*
 * Joules so far of all packages, from an arbitrary origin; false with the reason. That a counter went round is seen when it is
 * below its last reading: what lies between two readings further apart than its range, 262 kJ as a rule and 65 kJ on some (20 and
 * 5 minutes at 200 W), comes out too small.
 */
bool pel_power_packages(pel_power *power, double *joules, const char **why);

/* The same of the NVIDIA GPU at a PCI address ("0000:01:00.0"). */
bool pel_power_nvidia(pel_power *power, const char *pci, double *joules, const char **why);

#endif
