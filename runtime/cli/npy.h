/* SPDX-License-Identifier: BSD-3-Clause */
/* numpy's .npy files, format versions 1 to 3. */
#ifndef PEL_CLI_NPY_H
#define PEL_CLI_NPY_H

#include "cli/array.h"
#include <stdio.h>

/*
 * Reads an array: booleans become uchar, complex numbers become pairs of floats (a last dimension of 2), foreign byte order is
 * swapped. Structured types, objects, text and Fortran order (beyond one dimension) are refused.
 */
bool pel_npy_read(const char *path, pel_array *array, char message[PEL_MESSAGE_BYTES]);

/* Writes version 1.0 in the machine's byte order. False on a write error: errno and the stream tell. */
bool pel_npy_write(FILE *file, const pel_array *array);

#endif
