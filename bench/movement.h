/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of bench_memory about what moves: an iterated stencil on two devices, a working set of four times a device's memory. */
#ifndef PEL_BENCH_MOVEMENT_H
#define PEL_BENCH_MOVEMENT_H

#include "harness.h"

/* Each adds its rows; false: a measurement failed. */
bool movement_jacobi_rows(pel_results *results);
bool movement_streaming_rows(pel_results *results);
bool movement_wrapped_row(pel_results *results);
bool movement_launch_row(pel_results *results); /* movement_launch.c */

#endif
