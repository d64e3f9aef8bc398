/* SPDX-License-Identifier: BSD-3-Clause */
/* How long threads of this process could have run and got no core. One user at a time. */
#ifndef PEL_RESILIENCE_STARVATION_H
#define PEL_RESILIENCE_STARVATION_H

#include <stdbool.h>
#include <stdint.h>

enum { PEL_STARVATION_THREADS = 256 }; /* of a process with more, the others are not looked at */

typedef struct pel_starved_thread {
    int64_t id;
    uint64_t ran_ns, waited_ns;
} pel_starved_thread;

typedef struct pel_starvation {
    pel_starved_thread threads[PEL_STARVATION_THREADS];
    uint32_t count;
    uint64_t busy, stolen; /* of the machine's cores, in ticks of /proc/stat */
    int64_t at;            /* 0: the next look only remembers */
} pel_starvation;

/*
 * Nanoseconds since the last look, by `now`, in which the thread that fared worst did not run although it could; and, where the
 * machine is a virtual one, what was stolen from it while threads ran; not more than has passed. 0 where the system does not
 * tell. `root`: "", or a folder in place of / for tests.
 */
int64_t pel_starvation_look(pel_starvation *starvation, const char *root, int64_t now);

#endif
