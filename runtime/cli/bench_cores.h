/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Does the machine give both cores? On a virtual machine the second one may be late or slow whenever the first is busy, and then
 * no program can show what two devices gain. The control: two threads, asleep and each confined to one core, do plain arithmetic
 * without memory, alone and together, as two devices would: a chain of multiplications, which is late when a core is taken away,
 * and independent divisions, which take twice as long when the two "cores" are two hardware threads of one (a chain never
 * notices; nbody, which divides, then takes as long on both as on one). What it reaches is the limit of any figure that was
 * measured beside it.
 */
#ifndef PEL_CLI_BENCH_CORES_H
#define PEL_CLI_BENCH_CORES_H

#include <stdbool.h>

typedef struct pel_bench_cores pel_bench_cores;

/* NULL: no memory, no threads, or one of the cores is not ours. */
pel_bench_cores *pel_bench_cores_open(unsigned first, unsigned second);
void pel_bench_cores_close(pel_bench_cores *cores); /* NULL is fine */

/* Half of the work on each core against all of it on either one: 1 when both give what they give alone; the worse of both
 * kinds. Takes about 25 ms. */
double pel_bench_cores_efficiency(pel_bench_cores *cores);

#endif
