/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fence for one side only. Where one side acts millions of times a second and the other is about to sleep, the rare side pays
 * for both: it makes every processor that runs this process pass a full fence (Linux' membarrier), so that the frequent side does
 * with plain stores.
 */
#ifndef PEL_BASE_BARRIER_H
#define PEL_BASE_BARRIER_H

#include <stdbool.h>

/* Whether pel_barrier_heavy works here; otherwise the frequent side must fence itself. Once per process and for good, without
 * effect on anybody else. */
bool pel_barrier_prepare(void);
/* Where the call is refused later on, it takes 200 us. is_refused: that has happened in this process. */
void pel_barrier_heavy(void);
bool pel_barrier_is_refused(void);

/* An ordinary fence, sequentially consistent. Out of line: where GCC inlines one into another function it warns of what
 * ThreadSanitizer does not know. */
void pel_barrier_full(void);

#endif
