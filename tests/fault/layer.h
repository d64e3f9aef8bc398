/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts the fault layer in front of the drivers of this process and gets its control. */
#ifndef TESTS_FAULT_LAYER_H
#define TESTS_FAULT_LAYER_H

#include "faults/faults.h"

/* Before the first OpenCL call. NULL: this build has no layer, or it cannot be loaded (said on stderr). */
const pel_faults_control *layer_load(void);

/* Sets a script that must be right. */
void layer_script(const pel_faults_control *faults, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
