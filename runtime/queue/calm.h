/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a launch's devices had the processors that they were at work on: see calm.c. */
#ifndef PEL_QUEUE_CALM_H
#define PEL_QUEUE_CALM_H

#include "queue/command.h"

/* Under the lock, when it is known who computes what: the processor time of this process, or 0 where it would tell nothing. */
int64_t pel_calm_begin(const pel_command *command);

/* Under the lock, when all chunks are over: they were at work for longer than this process was given processors. */
bool pel_calm_was_deprived(const pel_command *command);

/* The rule of it: `chunks` that were at work for busy_ns in all while the process ran for ran_ns. Pure. */
bool pel_calm_is_deprived(double busy_ns, double ran_ns, uint32_t chunks);

#endif
