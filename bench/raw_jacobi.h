/* SPDX-License-Identifier: BSD-3-Clause */
/* Jacobi's iteration on two OpenCL devices as one would write it by hand: the peer of bench_memory's row. */
#ifndef PEL_BENCH_RAW_JACOBI_H
#define PEL_BENCH_RAW_JACOBI_H

#include <stdbool.h>
#include <stdint.h>

extern const char raw_jacobi_source[]; /* __kernel jacobi(in, out): the mean of four neighbours; the rim stays */

/* Two halves of the first CPU device that can be parted, over two grids of size x size floats. False: there is none. */
bool raw_jacobi_open(uint32_t size, float *grids[2]);
/* So many iterations from grids[0] on; nanoseconds, or a negative number. */
double raw_jacobi_run(uint32_t iterations);
void raw_jacobi_close(void);

#endif
