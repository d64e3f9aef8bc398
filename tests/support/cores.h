/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of disjoint devices name the first two cores; a process that may not use both leaves them out. */
#ifndef TESTS_SUPPORT_CORES_H
#define TESTS_SUPPORT_CORES_H

#include <sched.h>
#include <stdbool.h>

static inline bool test_has_cores_0_and_1(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(0, &set) && CPU_ISSET(1, &set);
}

#endif
