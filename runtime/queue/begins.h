/* SPDX-License-Identifier: BSD-3-Clause */
/* How long after a launch was planned each of its devices is at work: see begins.c. Under the lock. */
#ifndef PEL_QUEUE_BEGINS_H
#define PEL_QUEUE_BEGINS_H

#include "queue/command.h"

/* All chunks are over: those whose devices had nothing else to do tell how long they were waited for. */
void pel_begins_learn(const pel_command *command);

/* The usual time; 0: not known, or none (under a virtual clock). */
double pel_begins_ns(const pel_device *device);

/* The rule of it: what is known (0: nothing) and the latest observation. Pure. */
double pel_begins_after(double known_ns, double seen_ns);

#endif
